//! The Merkle tree over the blocks: growing it, and walking its stored nodes.
//!
//! Walks are restartable: they run over a [`NodeSource`] and stop with [`Missing`] when it has not
//! loaded what they need. Where several nodes are sure to be needed, a walk names them all first.
//!
//! Source: hypercore 11.35, `lib/merkle-tree.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::{self, Node};
use crate::flat_tree;
use crate::id::Hash;

use super::manifest::Prologue;

/// The walk needs nodes that are not loaded. The source recorded which: load them, run it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// The tree nodes that are stored, as far as they are loaded.
pub trait NodeSource {
    /// Returns a node, or `None` when it is known not to be stored.
    ///
    /// # Errors
    ///
    /// [`Missing`] when that is not known yet; the source records the index.
    fn node(&self, index: u64) -> Result<Option<Node>, Missing>;
}

/// A node that a walk needs is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotStored {
    /// Its tree index.
    pub index: u64,
}

/// The head of a log: everything its signature covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// How often the log was truncated.
    pub fork: u64,
    /// Blocks.
    pub length: u64,
    /// Bytes of all blocks, padding included.
    pub byte_length: u64,
    /// Full roots, left to right.
    pub roots: Vec<Node>,
    /// The signature over this head; absent below a prologue and on drafts.
    pub signature: Option<Bytes>,
    /// The blocks that the manifest fixes.
    pub prologue: Option<Prologue>,
}

impl Tree {
    /// Returns the tree of `length` blocks with these full roots, unsigned.
    pub fn from_roots(fork: u64, length: u64, roots: Vec<Node>, prologue: Option<Prologue>) -> Self {
        let byte_length = roots.iter().fold(0u64, |sum, root| sum.saturating_add(root.size));
        Self { fork, length, byte_length, roots, signature: None, prologue }
    }

    /// Returns the empty tree of a fork.
    pub fn empty(fork: u64, prologue: Option<Prologue>) -> Self {
        Self::from_roots(fork, 0, Vec::new(), prologue)
    }

    /// Returns the hash that signatures cover.
    pub fn tree_hash(&self) -> Hash {
        crypto::tree_hash(&self.roots)
    }
}

/// A tree that grows: the new head and every node that came into being on the way.
#[derive(Clone, Debug)]
pub struct TreeBatch {
    /// The head so far. Its signature is stale once a block was appended.
    pub tree: Tree,
    /// New nodes in the order of their making: leaves, and every parent formed.
    pub nodes: Vec<Node>,
}

impl TreeBatch {
    /// Starts from a head.
    pub fn new(tree: Tree) -> Self {
        Self { tree, nodes: Vec::new() }
    }

    /// Appends a stored block (with its padding) and returns its leaf.
    pub fn append(&mut self, block: &[u8]) -> Node {
        let leaf = block_node(self.tree.length, block);
        self.push(leaf, parent_node);
        leaf
    }

    /// Appends stored blocks (with their padding), as one after the other: but leaves are hashed together, and then the parents
    /// of each level.
    pub fn append_all(&mut self, blocks: &[Bytes]) {
        self.nodes.reserve(blocks.len().saturating_mul(2));
        let bodies: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
        let hashes = crypto::leaf_hashes(&bodies);
        let leaf = |((index, body), hash): ((u64, &[u8]), Hash)| Node {
            index: 2 * index,
            size: body.len() as u64,
            hash,
        };
        let leaves: Vec<Node> = (self.tree.length..).zip(bodies).zip(hashes).map(leaf).collect();
        let mut levels = parents_above(&self.tree.roots, &leaves);
        for leaf in leaves {
            self.push(leaf, |left, right| {
                let known = levels.get_mut(flat_tree::depth(left.index) as usize).and_then(Iterator::next);
                known.unwrap_or_else(|| parent_node(left, right))
            });
        }
    }

    /// Appends a subtree that starts exactly at the end of this tree.
    ///
    /// # Errors
    ///
    /// [`Unfit`] when it starts elsewhere or the tree would outgrow 2^53 - 1 blocks or bytes.
    pub fn append_root(&mut self, node: Node) -> Result<(), Unfit> {
        let unfit = Unfit { index: node.index };
        if node.index > MAX_INDEX || flat_tree::left_span(node.index) != 2 * self.tree.length {
            return Err(unfit);
        }
        let size = self.tree.byte_length.checked_add(node.size).filter(|&size| size <= MAX_SIZE);
        if size.is_none() || flat_tree::right_span(node.index) > MAX_INDEX {
            return Err(unfit);
        }
        self.push(node, parent_node);
        Ok(())
    }

    fn push(&mut self, node: Node, mut parent: impl FnMut(&Node, &Node) -> Node) {
        let tree = &mut self.tree;
        tree.length += flat_tree::count_leaves(node.index);
        tree.byte_length += node.size;
        self.nodes.push(node);
        let mut last = node;
        while let Some(left) = tree.roots.pop_if(|left| flat_tree::sibling(last.index) == left.index) {
            last = parent(&left, &last);
            self.nodes.push(last);
        }
        tree.roots.push(last);
    }
}

/// Returns the parents that come into being when `leaves` follow the blocks below `roots`, level by level, left to right.
fn parents_above(roots: &[Node], leaves: &[Node]) -> Vec<alloc::vec::IntoIter<Node>> {
    let mut levels = Vec::new();
    let mut roots = roots;
    let mut level = leaves.to_vec();
    loop {
        let mut pairs = Vec::with_capacity(level.len() / 2 + 1);
        let mut rest = &level[..];
        if let ([first, behind @ ..], [before @ .., root]) = (rest, roots)
            && root.index == flat_tree::sibling(first.index)
        {
            pairs.push((*root, *first));
            (rest, roots) = (behind, before);
        }
        pairs.extend(rest.as_chunks().0.iter().map(|[left, right]| (*left, *right)));
        if pairs.is_empty() {
            return levels;
        }
        let hashes = crypto::parent_hashes(&pairs);
        let parent = |((left, right), hash): ((Node, Node), Hash)| {
            let size = left.size.saturating_add(right.size);
            Node { index: flat_tree::parent(left.index), size, hash }
        };
        level = pairs.into_iter().zip(hashes).map(parent).collect();
        levels.push(level.clone().into_iter());
    }
}

/// A node that does not continue the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its tree index.
    pub index: u64,
}

/// Returns the leaf of a stored block.
pub fn block_node(index: u64, block: &[u8]) -> Node {
    Node::leaf(index.saturating_mul(2), block)
}

/// Returns the parent of two siblings, given in any order.
pub fn parent_node(a: &Node, b: &Node) -> Node {
    Node::parent(flat_tree::parent(a.index), a, b)
}

/// Loads several nodes, all of which must be stored. Asks for all before it gives up.
///
/// # Errors
///
/// [`Missing`], or inside [`NotStored`].
pub fn nodes_at(
    source: &dyn NodeSource,
    indexes: impl IntoIterator<Item = u64>,
) -> Result<Result<Vec<Node>, NotStored>, Missing> {
    let mut nodes = Ok(Vec::new());
    let mut missing = false;
    for index in indexes {
        match (source.node(index), &mut nodes) {
            (Ok(Some(node)), Ok(nodes)) => nodes.push(node),
            (Ok(None), Ok(_)) => nodes = Err(NotStored { index }),
            (Err(Missing), _) => missing = true,
            (Ok(_), Err(_)) => {}
        }
    }
    if missing { Err(Missing) } else { Ok(nodes) }
}

/// Returns the full roots of the first `length` blocks.
///
/// # Errors
///
/// [`Missing`], or inside [`NotStored`] when one of them never was received.
pub fn roots_at(source: &dyn NodeSource, length: u64) -> Result<Result<Vec<Node>, NotStored>, Missing> {
    nodes_at(source, flat_tree::full_roots(length))
}

/// Returns whether a peer can be given an upgrade that starts or ends at `length`: whether all of
/// its roots are stored.
///
/// # Errors
///
/// [`Missing`].
pub fn can_upgrade(source: &dyn NodeSource, length: u64) -> Result<bool, Missing> {
    Ok(roots_at(source, length)?.is_ok())
}

/// Returns the tree after truncation to `length` blocks, unsigned.
///
/// # Errors
///
/// [`Missing`], or inside [`NotStored`].
pub fn truncated(
    source: &dyn NodeSource,
    tree: &Tree,
    length: u64,
    fork: u64,
) -> Result<Result<Tree, NotStored>, Missing> {
    let roots = roots_at(source, length)?;
    Ok(roots.map(|roots| Tree::from_roots(fork, length, roots, tree.prologue)))
}

/// Returns the nodes below `2 * length` that a truncation to `length` invalidates: the ancestors of
/// the last leaf whose span reaches beyond it. All nodes from `2 * length` on go as well.
pub fn truncated_ancestors(length: u64) -> Vec<u64> {
    let mut nodes = Vec::new();
    if length == 0 {
        return nodes;
    }
    let head = 2 * length;
    let mut index = head - 2;
    loop {
        if index < head && flat_tree::right_span(index) >= head {
            nodes.push(index);
        }
        // Upstream stops at offset 0 already and so leaves the parent of a tree of 2^k blocks behind.
        if index >= head && flat_tree::offset(index) == 0 {
            return nodes;
        }
        index = flat_tree::parent(index);
    }
}

/// Returns how many parents to climb from a node until one is stored; 0 for a node beyond the tree.
///
/// # Errors
///
/// [`Missing`], after asking for the whole way up.
pub fn missing_nodes(source: &dyn NodeSource, index: u64, length: u64) -> Result<u64, Missing> {
    let mut count = 0;
    let mut missing = false;
    for index in climb(index, length) {
        match source.node(index) {
            Ok(Some(_)) => break,
            Ok(None) => count += 1,
            Err(Missing) => missing = true,
        }
    }
    if missing { Err(Missing) } else { Ok(count) }
}

/// Returns how many parents to climb from a node when only the roots are known to be stored.
pub fn max_missing_nodes(index: u64, length: u64) -> u64 {
    (climb(index, length).count() as u64).saturating_sub(1)
}

/// Returns a node and its ancestors up to the root that holds it; nothing when it is beyond the tree.
fn climb(index: u64, length: u64) -> impl Iterator<Item = u64> {
    let fits = move |&index: &u64| index <= MAX_INDEX && flat_tree::right_span(index) < 2 * length;
    core::iter::successors(Some(index).filter(fits), move |&index| {
        Some(flat_tree::parent(index)).filter(fits)
    })
}

/// Returns the byte offset of the first block under a node. `2 * length` is the end of the tree.
///
/// # Errors
///
/// [`Missing`], or inside [`NotStored`]; a node beyond the tree is never stored.
pub fn byte_offset(
    source: &dyn NodeSource,
    tree: &Tree,
    index: u64,
) -> Result<Result<u64, NotStored>, Missing> {
    let beyond = Ok(Err(NotStored { index }));
    if index == 2 * tree.length {
        return Ok(Ok(tree.byte_length));
    }
    if index > MAX_INDEX {
        return beyond;
    }
    let leaf = flat_tree::left_span(index);
    let mut offset = 0u64;
    for root in &tree.roots {
        if leaf > flat_tree::right_span(root.index) {
            offset = offset.saturating_add(root.size);
            continue;
        }
        let mut lefts = Vec::new();
        let mut at = root.index;
        while at != leaf {
            let Some((left, right)) = flat_tree::children(at) else {
                return beyond;
            };
            if leaf < at {
                at = left;
            } else {
                lefts.push(left);
                at = right;
            }
        }
        return Ok(nodes_at(source, lefts)?
            .map(|lefts| lefts.iter().fold(offset, |offset, left| offset.saturating_add(left.size))));
    }
    beyond
}

/// Returns the byte offset and the size of a node.
///
/// # Errors
///
/// As [`byte_offset`].
pub fn byte_range(
    source: &dyn NodeSource,
    tree: &Tree,
    index: u64,
) -> Result<Result<(u64, u64), NotStored>, Missing> {
    if index > MAX_INDEX || flat_tree::right_span(index) >= 2 * tree.length {
        return Ok(Err(NotStored { index }));
    }
    let node = match tree.roots.iter().find(|root| root.index == index) {
        Some(root) => Ok(Some(*root)),
        None => source.node(index),
    };
    let offset = byte_offset(source, tree, index)?;
    let Some(node) = node? else {
        return Ok(Err(NotStored { index }));
    };
    Ok(offset.map(|offset| (offset, node.size)))
}

/// Where a byte offset lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// In this block, at this offset inside it. The end of the tree is block `length`, offset 0.
    Found {
        /// The block.
        block: u64,
        /// Bytes into its unpadded content.
        offset: u64,
    },
    /// Somewhere in the blocks `start..end`: a peer must be asked for the nodes below.
    Inside {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
    /// After the last byte.
    Beyond,
}

/// Finds the block that holds a byte, where every block has `padding` bytes that do not count.
///
/// # Errors
///
/// [`Missing`].
pub fn seek(source: &dyn NodeSource, tree: &Tree, bytes: u64, padding: u64) -> Result<Seek, Missing> {
    if bytes == 0 {
        return Ok(Seek::Found { block: 0, offset: 0 });
    }
    let mut rest = bytes;
    for root in &tree.roots {
        let size = unpadded_size(root, padding);
        if rest > size {
            rest -= size;
            continue;
        }
        if rest == size {
            return Ok(Seek::Found { block: flat_tree::right_span(root.index) / 2 + 1, offset: 0 });
        }
        return seek_root(source, root.index, rest, padding);
    }
    Ok(Seek::Beyond)
}

fn seek_root(source: &dyn NodeSource, root: u64, bytes: u64, padding: u64) -> Result<Seek, Missing> {
    let mut rest = bytes;
    let mut at = root;
    while let Some((left, right)) = flat_tree::children(at) {
        let Some(node) = source.node(left)? else {
            let start = flat_tree::left_span(at) / 2;
            return Ok(Seek::Inside { start, end: flat_tree::right_span(at) / 2 + 1 });
        };
        let size = unpadded_size(&node, padding);
        if rest == size {
            return Ok(Seek::Found { block: flat_tree::right_span(left) / 2 + 1, offset: 0 });
        }
        if rest < size {
            at = left;
        } else {
            rest -= size;
            at = right;
        }
    }
    Ok(Seek::Found { block: at / 2, offset: rest })
}

/// Returns the bytes under a node that are content.
pub(super) fn unpadded_size(node: &Node, padding: u64) -> u64 {
    node.size.saturating_sub(flat_tree::count_leaves(node.index).saturating_mul(padding))
}

/// Largest tree index: the last leaf of 2^53 - 1 blocks would not fit what JavaScript peers accept.
pub(super) const MAX_INDEX: u64 = (1 << 53) - 1;

/// Largest byte length.
const MAX_SIZE: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_appended_together_make_the_nodes_of_blocks_appended_one_by_one() {
        for before in 0..20 {
            for count in 0..40 {
                let block = |i: usize| Bytes::from(alloc::vec![i as u8; i * 5]);
                let mut one_by_one = TreeBatch::new(Tree::empty(0, None));
                for i in 0..before {
                    one_by_one.append(&block(i));
                }
                let mut together = TreeBatch::new(one_by_one.tree.clone());
                one_by_one.nodes.clear();
                let blocks: Vec<Bytes> = (before..before + count).map(block).collect();

                for block in &blocks {
                    one_by_one.append(block);
                }
                together.append_all(&blocks);

                assert_eq!(together.nodes, one_by_one.nodes, "{count} behind {before}");
                assert_eq!(together.tree, one_by_one.tree, "{count} behind {before}");
            }
        }
    }
}
