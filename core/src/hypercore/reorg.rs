//! Follows a log that was truncated and rewritten: finds what the old and the new fork share.
//!
//! Source: hypercore 11.35, `lib/merkle-tree.js`, `ReorgBatch`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::Node;
use crate::flat_tree;

use super::manifest::Manifest;
use super::merkle_tree::{Missing, NodeSource, Tree};
use super::proof::{HashRequest, Proof, ProofRequest};
use super::verify::{Grown, Identity, VerifyError, block_of, check_signature, prologue_of, verify_subtree};

/// A reorg under way. Its signature is verified; what is left is to find the common prefix.
///
/// While [`want`](Self::want) is not `None`, ask a peer for [`request`](Self::request) at the new
/// fork and give the answer to [`update`](Self::update); then [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct Reorg {
    old_fork: u64,
    old_length: u64,
    tree: Tree,
    nodes: Vec<Node>,
    block: Option<(u64, Bytes)>,
    manifest: Option<Manifest>,
    ancestors: u64,
    diff: Option<Node>,
    want: Option<ReorgWant>,
}

/// The blocks among which the first difference lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReorgWant {
    /// First block.
    pub start: u64,
    /// End, exclusive.
    pub end: u64,
    /// Levels from a block up to the node that differs.
    pub nodes: u64,
}

/// A reorg ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorged {
    /// Fork and length that the log must still have.
    pub old: (u64, u64),
    /// Blocks below this are kept; the others are deleted, with their nodes, before `nodes` are put.
    pub ancestors: u64,
    /// The new head.
    pub tree: Tree,
    /// Nodes to store.
    pub nodes: Vec<Node>,
    /// A block to store.
    pub block: Option<(u64, Bytes)>,
    /// The manifest to store, when none was known.
    pub manifest: Option<Manifest>,
}

impl Reorg {
    /// Verifies the first proof of a newer fork, an upgrade from 0.
    ///
    /// # Errors
    ///
    /// [`Missing`], or inside [`VerifyError`].
    pub fn start(
        source: &dyn NodeSource,
        tree: &Tree,
        identity: &Identity<'_>,
        proof: &Proof,
    ) -> Result<Result<Self, VerifyError>, Missing> {
        if proof.fork <= tree.fork {
            return Ok(Err(VerifyError::WrongFork { expected: tree.fork, found: proof.fork }));
        }
        let prologue =
            if identity.manifest.is_none() { prologue_of(identity.key, proof) } else { tree.prologue };
        let verified = Grown::from(Tree::empty(proof.fork, prologue), proof, None).and_then(|grown| {
            if grown.unproven.is_some() {
                return Err(VerifyError::InvalidProof);
            }
            let manifest = check_signature(identity, proof, &grown.batch.tree)?;
            Ok((grown, manifest))
        });
        let (mut grown, manifest) = match verified {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error)),
        };
        grown.nodes.append(&mut grown.batch.nodes);
        let mut reorg = Self {
            old_fork: tree.fork,
            old_length: tree.length,
            ancestors: grown.batch.tree.length,
            tree: grown.batch.tree,
            nodes: grown.nodes,
            block: block_of(proof),
            manifest,
            diff: None,
            want: None,
        };
        if let Some(diff) = reorg.first_different_root(source)? {
            let diff = descend(source, diff, &reorg.nodes)?;
            reorg.set_diff(diff);
        }
        Ok(Ok(reorg))
    }

    /// Returns where the first difference may be; `None` once it is found.
    pub fn want(&self) -> Option<ReorgWant> {
        self.want
    }

    /// Returns what to ask a peer for; `None` once the difference is found.
    pub fn request(&self) -> Option<ProofRequest> {
        let want = self.want?;
        let hash = Some(HashRequest { index: 2 * want.start, nodes: want.nodes });
        Some(ProofRequest { hash, ..ProofRequest::default() })
    }

    /// Returns the head that the log will have.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns how many blocks both forks share, as far as that is known.
    pub fn ancestors(&self) -> u64 {
        self.ancestors
    }

    /// Returns the highest node known to differ.
    pub fn diff(&self) -> Option<u64> {
        self.diff.map(|diff| diff.index)
    }

    /// Takes an answer to [`request`](Self::request). An answer to an earlier one does no harm.
    ///
    /// # Errors
    ///
    /// [`Missing`], or inside [`VerifyError`] when it does not lead to the node that differs.
    pub fn update(
        &mut self,
        source: &dyn NodeSource,
        proof: &Proof,
    ) -> Result<Result<(), VerifyError>, Missing> {
        let Some(diff) = self.diff.filter(|_| self.want.is_some()) else {
            return Ok(Ok(()));
        };
        if proof.fork != self.tree.fork {
            let error = VerifyError::WrongFork { expected: self.tree.fork, found: proof.fork };
            return Ok(Err(error));
        }
        let (root, mut nodes) = match verify_subtree(proof, None) {
            Ok((Some(root), nodes)) => (root, nodes),
            Ok((None, _)) => return Ok(Err(VerifyError::InvalidOperation { index: diff.index })),
            Err(error) => return Ok(Err(error)),
        };
        if root != diff {
            return Ok(Err(VerifyError::InvalidChecksum { index: root.index }));
        }
        let next = descend(source, diff, &nodes)?;
        self.nodes.append(&mut nodes);
        self.set_diff(next);
        Ok(Ok(()))
    }

    /// Returns what to store, or `None` while something is wanted.
    pub fn finish(self) -> Option<Reorged> {
        if self.want.is_some() {
            return None;
        }
        Some(Reorged {
            old: (self.old_fork, self.old_length),
            ancestors: self.ancestors.min(self.old_length),
            tree: self.tree,
            nodes: self.nodes,
            block: self.block,
            manifest: self.manifest,
        })
    }

    fn first_different_root(&self, source: &dyn NodeSource) -> Result<Option<Node>, Missing> {
        for root in &self.tree.roots {
            if source.node(root.index)? != Some(*root) {
                return Ok(Some(*root));
            }
        }
        Ok(None)
    }

    fn set_diff(&mut self, diff: Node) {
        let start = flat_tree::left_span(diff.index) / 2;
        let end = (flat_tree::right_span(diff.index) / 2 + 1).min(self.old_length);
        self.ancestors = start;
        self.diff = Some(diff);
        let nodes = u64::from(flat_tree::depth(diff.index));
        self.want = (nodes > 0 && start < end).then_some(ReorgWant { start, end, nodes });
    }
}

/// Walks down from a node that differs, as far as `nodes` tell.
fn descend(source: &dyn NodeSource, diff: Node, nodes: &[Node]) -> Result<Node, Missing> {
    let find = |index: u64| nodes.iter().find(|node| node.index == index).copied();
    let mut diff = diff;
    while let Some((left, right)) = flat_tree::children(diff.index) {
        let (Some(left), Some(right)) = (find(left), find(right)) else {
            break;
        };
        let same = source.node(left.index)? == Some(left);
        diff = if same { right } else { left };
    }
    Ok(diff)
}
