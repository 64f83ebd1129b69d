//! Checks a [`Proof`] against what is stored and against the signers.
//!
//! Everything a peer sends passes here before it is stored. Structure is checked before anything is
//! hashed or a signature verified, and every list has a bound.
//!
//! Source: hypercore 11.35, `lib/merkle-tree.js` (`verifyTree`, `verifyUpgrade`) and `lib/core.js`
//! (`verify`, `_verifyBatchUpgrade`).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::crypto::Node;
use crate::flat_tree;
use crate::id::Hash;

use super::manifest::{Manifest, Prologue};
use super::merkle_tree::{
    MAX_INDEX, Missing, NodeSource, Tree, TreeBatch, Unfit, block_node, parent_node, roots_at,
};
use super::proof::{Proof, UpgradeProof};
use super::verifier::Verifier;

/// What a correct proof brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Nodes to store.
    pub nodes: Vec<Node>,
    /// A block to store.
    pub block: Option<(u64, Bytes)>,
    /// The new head. It holds only while the log is still at the length and fork it was verified at.
    pub upgraded: Option<Tree>,
    /// The manifest to store, when none was known. A compat core has the one with its key as signer.
    pub manifest: Option<Manifest>,
}

/// Why a proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A node does not have the hash or size that is stored.
    InvalidChecksum {
        /// Tree index.
        index: u64,
    },
    /// The manifest is not the one that the key commits to.
    InvalidManifest,
    /// The nodes do not form the tree they should.
    InvalidOperation {
        /// Tree index where they stop doing so.
        index: u64,
    },
    /// The upgrade contradicts the prologue, or a reorg proves a block that is not part of it.
    InvalidProof,
    /// The signature does not fit.
    InvalidSignature,
    /// The host does not want the log to grow so.
    Refused,
    /// The log moved on while the proof was under way. Nobody is to blame: ask again.
    Stale,
    /// The proof is about another fork.
    WrongFork {
        /// Ours.
        expected: u64,
        /// Theirs.
        found: u64,
    },
}

impl VerifyError {
    /// Returns upstream's error code; `None` where upstream drops the proof without an error.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::InvalidChecksum { .. } => Some("INVALID_CHECKSUM"),
            Self::InvalidManifest | Self::InvalidSignature => Some("INVALID_SIGNATURE"),
            Self::InvalidOperation { .. } => Some("INVALID_OPERATION"),
            Self::InvalidProof | Self::Refused => Some("INVALID_PROOF"),
            Self::Stale | Self::WrongFork { .. } => None,
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidChecksum { index } => write!(f, "invalid checksum at node {index}"),
            Self::InvalidManifest => f.write_str("proof contains an invalid manifest"),
            Self::InvalidOperation { index } => write!(f, "the proof does not fit at node {index}"),
            Self::InvalidProof => f.write_str("the proof does not prove what it contains"),
            Self::InvalidSignature => f.write_str("proof contains an invalid signature"),
            Self::Refused => f.write_str("the log is not to grow so"),
            Self::Stale => f.write_str("the log moved on"),
            Self::WrongFork { expected, found } => write!(f, "proof is for fork {found}, not {expected}"),
        }
    }
}

impl core::error::Error for VerifyError {}

impl From<Unfit> for VerifyError {
    fn from(Unfit { index }: Unfit) -> Self {
        Self::InvalidOperation { index }
    }
}

/// What a peer's proofs are verified against.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The core's key.
    pub key: &'a [u8; 32],
    /// The manifest that is stored, if any.
    pub manifest: Option<&'a Manifest>,
    /// Whether a core whose key itself signs does so as very old versions did.
    pub is_legacy: bool,
}

impl<'a> Identity<'a> {
    /// Returns what proofs of any but very old cores are verified against.
    pub fn new(key: &'a [u8; 32], manifest: Option<&'a Manifest>) -> Self {
        Self { key, manifest, is_legacy: false }
    }
}

/// Verifies a proof for the fork of `tree`.
///
/// # Errors
///
/// [`Missing`], or inside [`VerifyError`].
pub fn verify(
    source: &dyn NodeSource,
    tree: &Tree,
    identity: &Identity<'_>,
    proof: &Proof,
) -> Result<Result<Verified, VerifyError>, Missing> {
    verify_hashed(source, tree, identity, proof, None)
}

/// As [`verify`]; `leaf` is the hash of the proof's block, where that was computed already.
pub(super) fn verify_hashed(
    source: &dyn NodeSource,
    tree: &Tree,
    identity: &Identity<'_>,
    proof: &Proof,
    leaf: Option<Hash>,
) -> Result<Result<Verified, VerifyError>, Missing> {
    if proof.fork != tree.fork {
        return Ok(Err(VerifyError::WrongFork { expected: tree.fork, found: proof.fork }));
    }
    let Some(upgrade) = &proof.upgrade else {
        return verify_plain(source, identity, proof, leaf);
    };
    let late = upgrade.start < tree.length;
    let mut base = tree.clone();
    if late {
        // Another peer was faster. Check the proof from where it was asked for.
        let Ok(roots) = roots_at(source, upgrade.start)? else {
            return Ok(Err(VerifyError::Stale));
        };
        base = Tree::from_roots(tree.fork, upgrade.start, roots, tree.prologue);
    }
    if identity.manifest.is_none() {
        base.prologue = prologue_of(identity.key, proof);
    }
    let mut grown = match Grown::from(base, proof, leaf) {
        Ok(grown) => grown,
        Err(error) => return Ok(Err(error)),
    };
    if late && !(grown.batch.tree.length > tree.length && grown.roots_asked == tree.roots) {
        return late_upgrade(source, tree, proof, grown);
    }
    if let Some(sub) = grown.unproven
        && let Err(error) = check_stored(source, &sub)?
    {
        return Ok(Err(error));
    }
    Ok(check_signature(identity, proof, &grown.batch.tree).map(|manifest| {
        grown.nodes.append(&mut grown.batch.nodes);
        Verified { nodes: grown.nodes, block: block_of(proof), upgraded: Some(grown.batch.tree), manifest }
    }))
}

/// Returns whether every one of these roots is stored as it is: whether a head that was overtaken is
/// a part of the log.
///
/// # Errors
///
/// [`Missing`].
pub fn roots_stored(source: &dyn NodeSource, roots: &[Node]) -> Result<bool, Missing> {
    let stored = super::merkle_tree::nodes_at(source, roots.iter().map(|root| root.index))?;
    Ok(stored.is_ok_and(|stored| stored == roots))
}

/// A tree grown from a base as a proof says, its signature not verified.
pub(super) struct Grown {
    /// The new head and the nodes of the upgrade.
    pub(super) batch: TreeBatch,
    /// Nodes of the block, hash and seek parts.
    pub(super) nodes: Vec<Node>,
    /// Their common root, when the upgrade does not contain it.
    pub(super) unproven: Option<Node>,
    /// Full roots at the length that was asked for, before additional nodes.
    pub(super) roots_asked: Vec<Node>,
}

impl Grown {
    /// Applies all parts of a proof that has an upgrade.
    pub(super) fn from(base: Tree, proof: &Proof, leaf: Option<Hash>) -> Result<Self, VerifyError> {
        let Some(upgrade) = &proof.upgrade else {
            return Err(VerifyError::InvalidOperation { index: 0 });
        };
        let (sub, nodes) = verify_subtree(proof, leaf)?;
        let mut batch = TreeBatch::new(base);
        let (unproven, roots_asked) = apply_upgrade(&mut batch, upgrade, sub)?;
        batch.tree.fork = proof.fork;
        batch.tree.signature = upgrade.signature.clone();
        Ok(Self { batch, nodes, unproven, roots_asked })
    }
}

fn verify_plain(
    source: &dyn NodeSource,
    identity: &Identity<'_>,
    proof: &Proof,
    leaf: Option<Hash>,
) -> Result<Result<Verified, VerifyError>, Missing> {
    let (sub, nodes) = match verify_subtree(proof, leaf) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(sub) = sub
        && let Err(error) = check_stored(source, &sub)?
    {
        return Ok(Err(error));
    }
    let manifest = match &proof.manifest {
        Some(new) if identity.manifest.is_none() => {
            if new.key() != *identity.key || new.validate().is_err() {
                return Ok(Err(VerifyError::InvalidManifest));
            }
            Some(new.clone())
        }
        _ => None,
    };
    Ok(Ok(Verified { nodes, block: block_of(proof), upgraded: None, manifest }))
}

/// Accepts the block part of an upgrade that was overtaken, if its whole tree is part of ours.
fn late_upgrade(
    source: &dyn NodeSource,
    tree: &Tree,
    proof: &Proof,
    grown: Grown,
) -> Result<Result<Verified, VerifyError>, Missing> {
    let new = &grown.batch.tree;
    if new.length > tree.length {
        return Ok(Err(VerifyError::Stale));
    }
    for root in new.roots.iter().chain(&grown.unproven) {
        match check_stored(source, root)? {
            Ok(()) => {}
            // We jumped over that length and cannot tell.
            Err(VerifyError::InvalidOperation { .. }) => return Ok(Err(VerifyError::Stale)),
            Err(error) => return Ok(Err(error)),
        }
    }
    let mut nodes = grown.nodes;
    nodes.extend(grown.batch.nodes);
    Ok(Ok(Verified { nodes, block: block_of(proof), upgraded: None, manifest: None }))
}

/// Returns the prologue that the manifest of a proof fixes, if that manifest is the core's.
pub(super) fn prologue_of(key: &[u8; 32], proof: &Proof) -> Option<Prologue> {
    proof.manifest.as_ref().filter(|manifest| manifest.belongs_to(key))?.prologue
}

pub(super) fn block_of(proof: &Proof) -> Option<(u64, Bytes)> {
    proof.block.as_ref().map(|block| (block.index, block.value.clone()))
}

/// Checks that a node is stored with the same hash and size.
pub(super) fn check_stored(source: &dyn NodeSource, node: &Node) -> Result<Result<(), VerifyError>, Missing> {
    Ok(match source.node(node.index)? {
        None => Err(VerifyError::InvalidOperation { index: node.index }),
        Some(stored) if stored != *node => Err(VerifyError::InvalidChecksum { index: node.index }),
        Some(_) => Ok(()),
    })
}

/// Verifies the signature of a new head, and the manifest if none is known. Returns the manifest to
/// store.
pub(super) fn check_signature(
    &Identity { key, manifest: known, is_legacy }: &Identity<'_>,
    proof: &Proof,
    tree: &Tree,
) -> Result<Option<Manifest>, VerifyError> {
    let new = match known {
        Some(_) => None,
        None => Some(match &proof.manifest {
            Some(manifest) if manifest.belongs_to(key) => manifest.clone(),
            Some(_) => return Err(VerifyError::InvalidManifest),
            None => Manifest::single_signer(*key),
        }),
    };
    let Some(manifest) = known.or(new.as_ref()) else {
        return Err(VerifyError::InvalidManifest);
    };
    let mut verifier = Verifier::new(*key, manifest).map_err(|_| VerifyError::InvalidManifest)?;
    if is_legacy {
        verifier = verifier.legacy();
    }
    if !verifier.verify(tree, tree.signature.as_deref()) {
        return Err(VerifyError::InvalidSignature);
    }
    Ok(new)
}

/// Verifies the block, hash and seek parts as far as they go: returns their common root, which is
/// still to be proven, and the nodes below it.
pub(super) fn verify_subtree(
    proof: &Proof,
    leaf: Option<Hash>,
) -> Result<(Option<Node>, Vec<Node>), VerifyError> {
    let seek = proof.seek.as_ref().map_or(&[][..], |seek| &seek.nodes);
    let mut nodes = Vec::new();

    // Structure first: a wrong index costs no hash of a large block.
    let seek_end = match seek.split_first() {
        None => None,
        Some((first, rest)) => Some(climb(first.index, rest, None)?),
    };
    if let Some(block) = &proof.block {
        climb(block.index.saturating_mul(2), &block.nodes, seek_end)?;
    }
    let mut root = match seek.split_first() {
        None => None,
        Some((first, rest)) => Some(merge(*first, rest, None, &mut nodes)?),
    };
    if let Some(block) = &proof.block {
        let leaf = match leaf {
            Some(hash) => Node { index: block.index * 2, size: block.value.len() as u64, hash },
            None => block_node(block.index, &block.value),
        };
        root = Some(merge(leaf, &block.nodes, root, &mut nodes)?);
    } else if let Some(hash) = &proof.hash {
        let mut queue = Queue { nodes: &hash.nodes, extra: root };
        let first = queue.take(hash.index)?;
        climb(first.index, queue.nodes, queue.extra.map(|extra| extra.index))?;
        root = Some(merge(first, queue.nodes, queue.extra, &mut nodes)?);
    }
    Ok((root, nodes))
}

/// Follows the indexes of a climb without hashing, and returns where it ends.
fn climb(first: u64, siblings: &[Node], extra: Option<u64>) -> Result<u64, VerifyError> {
    let mut extra = extra;
    let mut siblings = siblings;
    let mut at = first;
    if siblings.len() > MAX_LIST {
        return Err(VerifyError::InvalidOperation { index: first });
    }
    while extra.is_some() || !siblings.is_empty() {
        if at > MAX_INDEX {
            return Err(VerifyError::InvalidOperation { index: at });
        }
        let index = flat_tree::sibling(at);
        if extra == Some(index) {
            extra = None;
        } else {
            match siblings.split_first() {
                Some((node, rest)) if node.index == index => siblings = rest,
                _ => return Err(VerifyError::InvalidOperation { index }),
            }
        }
        at = flat_tree::parent(at);
    }
    Ok(at)
}

/// Hashes a climb. Collects every node but the last, which it returns.
fn merge(
    first: Node,
    siblings: &[Node],
    extra: Option<Node>,
    nodes: &mut Vec<Node>,
) -> Result<Node, VerifyError> {
    let mut queue = Queue { nodes: siblings, extra };
    let mut root = first;
    while !queue.is_empty() {
        let node = queue.take(flat_tree::sibling(root.index))?;
        nodes.push(root);
        nodes.push(node);
        root = parent_node(&root, &node);
        if root.size > MAX_SIZE {
            return Err(VerifyError::InvalidOperation { index: root.index });
        }
    }
    Ok(root)
}

/// Grows a tree by an upgrade. Returns `sub` if the upgrade did not contain it, and the roots at the
/// length that was asked for.
pub(super) fn apply_upgrade(
    batch: &mut TreeBatch,
    upgrade: &UpgradeProof,
    sub: Option<Node>,
) -> Result<(Option<Node>, Vec<Node>), VerifyError> {
    let invalid = VerifyError::InvalidOperation { index: 2 * upgrade.start.min(MAX_INDEX) };
    let end = upgrade.start.checked_add(upgrade.length).filter(|&end| end <= MAX_INDEX / 2);
    let Some(end) = end else {
        return Err(invalid);
    };
    if upgrade.length == 0
        || upgrade.nodes.len() > MAX_LIST
        || upgrade.additional_nodes.len() > MAX_LIST
        || end < batch.tree.length
    {
        return Err(invalid);
    }
    let prologue = batch.tree.prologue;
    if let Some(Prologue { length, .. }) = prologue
        && upgrade.start < length
        && (upgrade.start != 0 || upgrade.length < length)
    {
        return Err(VerifyError::InvalidProof);
    }

    let mut queue = Queue { nodes: &upgrade.nodes, extra: sub };
    let mut kept = 0;
    let mut grow = true;
    for root in flat_tree::full_roots(end) {
        if batch.tree.roots.get(kept).is_some_and(|existing| existing.index == root) {
            kept += 1;
            continue;
        }
        if core::mem::replace(&mut grow, false) && kept < batch.tree.roots.len() {
            while let Some(last) = batch.tree.roots.last().filter(|last| last.index != root) {
                let sibling = flat_tree::sibling(last.index);
                batch.append_root(queue.take(sibling)?)?;
            }
            continue;
        }
        batch.append_root(queue.take(root)?)?;
    }
    if batch.tree.length != end {
        return Err(invalid);
    }
    if prologue.is_some_and(|prologue| prologue.length == end && prologue.hash != batch.tree.tree_hash()) {
        return Err(VerifyError::InvalidProof);
    }
    let roots_asked = batch.tree.roots.clone();
    for node in &upgrade.additional_nodes {
        batch.append_root(*node)?;
    }
    Ok((queue.extra, roots_asked))
}

/// The nodes of a list in their order, and one more that may be taken when its turn comes.
struct Queue<'a> {
    nodes: &'a [Node],
    extra: Option<Node>,
}

impl Queue<'_> {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.extra.is_none()
    }

    fn take(&mut self, index: u64) -> Result<Node, VerifyError> {
        if let Some(extra) = self.extra.take_if(|extra| extra.index == index) {
            return Ok(extra);
        }
        match self.nodes.split_first() {
            Some((node, rest)) if node.index == index => {
                self.nodes = rest;
                Ok(*node)
            }
            _ => Err(VerifyError::InvalidOperation { index }),
        }
    }
}

/// Most nodes of one list. An honest one has at most a sibling per level and a root per bit: 2 * 53.
const MAX_LIST: usize = 128;

/// Largest size of a subtree in bytes.
const MAX_SIZE: u64 = (1 << 53) - 1;
