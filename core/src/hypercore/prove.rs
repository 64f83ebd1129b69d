//! Answers a [`ProofRequest`] from the stored nodes.
//!
//! Source: hypercore 11.35, `lib/merkle-tree.js`, `generateProof`.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::crypto::Node;
use crate::flat_tree::{self, contains};

use super::merkle_tree::{
    self, MAX_INDEX, Missing, NodeSource, NotStored, Tree, byte_offset, nodes_at, unpadded_size,
};
use super::proof::{BlockProof, HashProof, Proof, ProofRequest, SeekProof, SeekRequest, UpgradeProof};

/// Why a request is not answered. All of it is upstream's `INVALID_OPERATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The block or node is beyond the tree, or lies across the start of the upgrade.
    BeyondTree {
        /// Tree index.
        index: u64,
    },
    /// The upgrade is empty or ends after the head.
    InvalidUpgrade {
        /// Length that it starts from.
        start: u64,
        /// Blocks.
        length: u64,
    },
    /// More parents than there are below the root.
    NodesOutOfBounds {
        /// Parents asked for.
        nodes: u64,
    },
    /// A node that the proof needs is not stored.
    NotStored {
        /// Tree index.
        index: u64,
    },
    /// The byte offset is not under the requested node.
    SeekOutOfBounds {
        /// The offset.
        bytes: u64,
    },
    /// An upgrade carries either a seek or a new block, not both.
    SeekWithBlock,
}

impl Refused {
    /// Returns upstream's error code.
    pub fn code(&self) -> &'static str {
        "INVALID_OPERATION"
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondTree { index } => write!(f, "node {index} is beyond the tree"),
            Self::InvalidUpgrade { start, length } => write!(f, "no upgrade of {length} blocks from {start}"),
            Self::NodesOutOfBounds { nodes } => write!(f, "{nodes} parents reach out of the tree"),
            Self::NotStored { index } => write!(f, "node {index} is not stored"),
            Self::SeekOutOfBounds { bytes } => write!(f, "byte {bytes} is not under the requested node"),
            Self::SeekWithBlock => f.write_str("cannot both seek and request a block when upgrading"),
        }
    }
}

impl core::error::Error for Refused {}

impl From<NotStored> for Refused {
    fn from(NotStored { index }: NotStored) -> Self {
        Self::NotStored { index }
    }
}

/// Answers a request at the head `tree`. The value of a block proof is left empty, and so is the
/// manifest: the caller fills them in. A proof without any part says that nothing is known.
///
/// # Errors
///
/// [`Missing`], or inside [`Refused`].
pub fn prove(
    source: &dyn NodeSource,
    tree: &Tree,
    request: &ProofRequest,
) -> Result<Result<Proof, Refused>, Missing> {
    let mut proof = Proof { fork: tree.fork, ..Proof::default() };
    if tree.length == 0 {
        return Ok(Ok(proof));
    }
    let lists = match plan(source, tree, request)? {
        Ok(lists) => lists,
        Err(refused) => return Ok(Err(refused)),
    };
    let nodes = match nodes_at(source, lists.indexes())? {
        Ok(nodes) => nodes,
        Err(NotStored { index }) => return Ok(Err(Refused::NotStored { index })),
    };
    let mut nodes = nodes.into_iter();
    let mut take = |list: &Vec<u64>| -> Vec<Node> { nodes.by_ref().take(list.len()).collect() };

    if let Some(list) = &lists.node {
        let nodes = take(list);
        if let Some(block) = request.block {
            proof.block = Some(BlockProof { index: block.index, value: Bytes::new(), nodes });
        } else if let Some(hash) = request.hash {
            proof.hash = Some(HashProof { index: hash.index, nodes });
        }
    }
    if let (Some(list), Some(seek)) = (&lists.seek, request.seek) {
        proof.seek = Some(SeekProof { bytes: seek.bytes, nodes: take(list) });
    }
    if let Some((start, length)) = lists.span {
        proof.upgrade = Some(UpgradeProof {
            start,
            length,
            nodes: take(&lists.upgrade),
            additional_nodes: take(&lists.additional),
            signature: tree.signature.clone(),
        });
    }
    Ok(Ok(proof))
}

/// Returns the nodes that grow a tree of `start` blocks to `end` blocks, in the order of a proof.
pub fn upgrade_nodes(start: u64, end: u64) -> Vec<u64> {
    let mut nodes = Vec::new();
    each_upgrade_node(start, end, |index| nodes.push(index));
    nodes
}

/// The tree indexes of every part of a proof, in their order.
#[derive(Default)]
struct Lists {
    node: Option<Vec<u64>>,
    seek: Option<Vec<u64>>,
    /// Start and length of the upgrade.
    span: Option<(u64, u64)>,
    upgrade: Vec<u64>,
    additional: Vec<u64>,
}

impl Lists {
    fn indexes(&self) -> impl Iterator<Item = u64> {
        let optional = [&self.node, &self.seek].into_iter().flatten().flatten();
        optional.chain(&self.upgrade).chain(&self.additional).copied()
    }

    /// Lists what proves `target` under `root`, and on the way the seek root.
    fn prove_under(&mut self, target: Option<Target>, seek_root: Option<u64>, root: u64) {
        let Some(target) = target else {
            if let Some(seek_root) = seek_root {
                self.seek = Some(seek_list(seek_root, root));
            }
            return;
        };
        let mut list = Vec::new();
        if !target.is_block {
            list.push(target.index);
        }
        let mut at = target.index;
        while at != root && at <= MAX_INDEX {
            let sibling = flat_tree::sibling(at);
            match seek_root {
                Some(seek_root) if seek_root != sibling && contains(sibling, seek_root) => {
                    self.seek = Some(seek_list(seek_root, sibling));
                }
                _ => list.push(sibling),
            }
            at = flat_tree::parent(at);
        }
        self.node = Some(list);
    }
}

/// The block or node that is asked for.
#[derive(Clone, Copy)]
struct Target {
    index: u64,
    parents: u64,
    is_block: bool,
}

fn plan(
    source: &dyn NodeSource,
    tree: &Tree,
    request: &ProofRequest,
) -> Result<Result<Lists, Refused>, Missing> {
    let target = match (request.block, request.hash) {
        (Some(block), _) => {
            Some(Target { index: block.index.saturating_mul(2), parents: block.nodes, is_block: true })
        }
        (None, Some(hash)) => Some(Target { index: hash.index, parents: hash.nodes, is_block: false }),
        (None, None) => None,
    };
    let upgrade = request.upgrade.map(|upgrade| match tree.prologue {
        Some(prologue) if upgrade.start < prologue.length => (0, prologue.length),
        _ => (upgrade.start, upgrade.length),
    });
    let mut lists = Lists { span: upgrade, ..Lists::default() };
    let (start, end) = match upgrade {
        None => (0, tree.length),
        Some((start, length)) => match start.checked_add(length) {
            Some(end) if start < end && end <= tree.length => (start, end),
            _ => return Ok(Err(Refused::InvalidUpgrade { start, length })),
        },
    };
    if let Some(target) = target {
        if target.index > MAX_INDEX {
            return Ok(Err(Refused::BeyondTree { index: target.index }));
        }
        if request.seek.is_some() && upgrade.is_some() && target.index >= 2 * start {
            return Ok(Err(Refused::SeekWithBlock));
        }
    }

    // The node whose proof replaces a node of the upgrade.
    let mut inside = None;
    match target {
        Some(target) if upgrade.is_none() || flat_tree::right_span(target.index) < 2 * start => {
            let Some(root) = climb(target, 2 * end) else {
                return Ok(Err(Refused::NodesOutOfBounds { nodes: target.parents }));
            };
            let seek_root = match request.seek {
                None => None,
                Some(seek) => match seek_under(source, tree, root, seek)? {
                    Ok(seek_root) => Some(seek_root),
                    Err(refused) => return Ok(Err(refused)),
                },
            };
            lists.prove_under(Some(target), seek_root, root);
        }
        _ if upgrade.is_some() => {
            inside = match (request.seek, target) {
                (Some(seek), _) => match seek_from_roots(source, end, seek)? {
                    Ok(seek_root) => seek_root,
                    Err(refused) => return Ok(Err(refused)),
                },
                (None, target) => target.map(|target| target.index),
            };
        }
        _ => {}
    }

    if upgrade.is_some() {
        let mut nodes = Vec::new();
        each_upgrade_node(start, end, |index| match inside {
            Some(sub) if lists.node.is_none() && lists.seek.is_none() && contains(index, sub) => {
                lists.prove_under(target, request.seek.and(inside), index);
            }
            _ => nodes.push(index),
        });
        lists.upgrade = nodes;
        lists.additional = upgrade_nodes(end, tree.length);
    }
    if let (Some(target), None) = (target, &lists.node) {
        return Ok(Err(Refused::BeyondTree { index: target.index }));
    }
    Ok(Ok(lists))
}

/// Visits the nodes that grow a tree of `start` blocks to `end` blocks.
fn each_upgrade_node(start: u64, end: u64, mut visit: impl FnMut(u64)) {
    if start >= end {
        return;
    }
    let from = 2 * start;
    for root in flat_tree::full_roots(end) {
        if flat_tree::right_span(root) < from {
            continue;
        }
        if start == 0 || !contains(root, from - 2) {
            visit(root);
            continue;
        }
        // The last leaf of the shorter tree is below: only what lies right of it is new.
        let mut at = from - 2;
        while at != root {
            let sibling = flat_tree::sibling(at);
            if sibling > from - 2 {
                visit(sibling);
            }
            at = flat_tree::parent(at);
        }
    }
}

/// Climbs from the target; `None` when a parent would reach beyond `head`.
fn climb(target: Target, head: u64) -> Option<u64> {
    let mut at = target.index;
    if flat_tree::right_span(at) >= head {
        return None;
    }
    for _ in 0..target.parents {
        at = flat_tree::parent(at);
        if contains(at, head) {
            return None;
        }
    }
    Some(at)
}

/// Finds the seek root under a node that may not hold the byte at all.
fn seek_under(
    source: &dyn NodeSource,
    tree: &Tree,
    root: u64,
    seek: SeekRequest,
) -> Result<Result<u64, Refused>, Missing> {
    let out_of_bounds = Ok(Err(Refused::SeekOutOfBounds { bytes: seek.bytes }));
    let offset = match byte_offset(source, tree, root)? {
        Ok(offset) => offset,
        Err(NotStored { index }) => return Ok(Err(Refused::NotStored { index })),
    };
    let padding = seek.padding.saturating_mul(flat_tree::left_span(root) / 2);
    let Some(rest) = seek.bytes.checked_sub(offset.saturating_sub(padding)) else {
        return out_of_bounds;
    };
    if rest == 0 {
        return Ok(Ok(root));
    }
    let Some(node) = source.node(root)? else {
        return Ok(Err(Refused::NotStored { index: root }));
    };
    if unpadded_size(&node, seek.padding) <= rest {
        return out_of_bounds;
    }
    Ok(Ok(descend(source, root, rest, seek.padding)?))
}

/// Finds the seek root from the full roots of `end` blocks; `None` when the byte is beyond them.
fn seek_from_roots(
    source: &dyn NodeSource,
    end: u64,
    seek: SeekRequest,
) -> Result<Result<Option<u64>, Refused>, Missing> {
    let roots = match merkle_tree::roots_at(source, end)? {
        Ok(roots) => roots,
        Err(NotStored { index }) => return Ok(Err(Refused::NotStored { index })),
    };
    let mut rest = seek.bytes;
    for root in &roots {
        let size = unpadded_size(root, seek.padding);
        if rest == size {
            return Ok(Ok(Some(root.index)));
        }
        if rest < size {
            return Ok(Ok(Some(descend(source, root.index, rest, seek.padding)?)));
        }
        rest -= size;
    }
    Ok(Ok(None))
}

/// Walks down to the node that starts, or holds, the byte `bytes` of `root`.
fn descend(source: &dyn NodeSource, root: u64, bytes: u64, padding: u64) -> Result<u64, Missing> {
    let mut rest = bytes;
    let mut at = root;
    if rest == 0 {
        return Ok(at);
    }
    while let Some((left, right)) = flat_tree::children(at) {
        let Some(node) = source.node(left)? else {
            return Ok(at);
        };
        let size = unpadded_size(&node, padding);
        if size == rest {
            return Ok(left);
        }
        if size > rest {
            at = left;
        } else {
            rest -= size;
            at = right;
        }
    }
    Ok(at)
}

/// Returns the seek root and its siblings up to `root`.
fn seek_list(seek_root: u64, root: u64) -> Vec<u64> {
    let mut list = alloc::vec![seek_root];
    let mut at = seek_root;
    while at != root && at <= MAX_INDEX {
        list.push(flat_tree::sibling(at));
        at = flat_tree::parent(at);
    }
    list
}
