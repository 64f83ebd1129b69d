//! Arithmetic on the in-order numbering of a binary tree.
//!
//! Block `b` is leaf `2b`; parents sit at the odd numbers between their children:
//!
//! ```text
//!        3
//!    1       5
//!  0   2   4   6
//! ```
//!
//! A node's depth is the number of its trailing one bits, so every step is a bit operation. All functions
//! are total over `u64`: where the true answer does not fit, they say what they return, and none panics.
//! Positions on the wire stay below 2^54, where every answer is exact.
//!
//! Source: flat-tree 1.13.0, `index.js`.

use alloc::vec::Vec;
use core::iter::FusedIterator;

/// Returns the node at `offset` from the left among those of `depth`; `u64::MAX` if beyond it.
pub const fn index(depth: u32, offset: u64) -> u64 {
    if depth >= 64 || offset > (u64::MAX >> depth) / 2 {
        return u64::MAX;
    }
    // `offset * 2^(depth + 1)` in two steps: a shift by 64 is not allowed, even of zero.
    ((offset << depth) << 1) | ((1 << depth) - 1)
}

/// Returns the distance from the leaves: 0 for a leaf, at most 64.
pub const fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// Returns how many nodes of the same depth lie to the left.
pub const fn offset(index: u64) -> u64 {
    match index.checked_shr(depth(index) + 1) {
        Some(offset) => offset,
        None => 0,
    }
}

/// Returns whether the node is the left child of its parent.
pub const fn is_left(index: u64) -> bool {
    offset(index) & 1 == 0
}

/// Returns the parent; `u64::MAX` is its own.
pub const fn parent(index: u64) -> u64 {
    (index | depth_bit(index)) & !parent_bit(index)
}

/// Returns the other child of the parent; the two topmost nodes are their own.
pub const fn sibling(index: u64) -> u64 {
    index ^ parent_bit(index)
}

/// Returns the left child, or `None` for a leaf.
pub const fn left_child(index: u64) -> Option<u64> {
    match child_distance(index) {
        Some(distance) => Some(index - distance),
        None => None,
    }
}

/// Returns the right child, or `None` for a leaf and where it is beyond `u64`.
pub const fn right_child(index: u64) -> Option<u64> {
    match child_distance(index) {
        Some(distance) => index.checked_add(distance),
        None => None,
    }
}

/// Returns the left and right child, or `None` for a leaf.
pub const fn children(index: u64) -> Option<(u64, u64)> {
    match (left_child(index), right_child(index)) {
        (Some(left), Some(right)) => Some((left, right)),
        _ => None,
    }
}

/// Returns the leftmost leaf below the node, itself for a leaf.
pub const fn left_span(index: u64) -> u64 {
    index - span(index)
}

/// Returns the rightmost leaf below the node, itself for a leaf; saturates.
pub const fn right_span(index: u64) -> u64 {
    index.saturating_add(span(index))
}

/// Returns the leftmost and the rightmost leaf below the node, both inclusive.
pub const fn spans(index: u64) -> (u64, u64) {
    (left_span(index), right_span(index))
}

/// Returns whether `other` is the node itself or lies below it.
pub const fn contains(index: u64, other: u64) -> bool {
    left_span(index) <= other && other <= right_span(index)
}

/// Returns the number of nodes in the subtree, leaves and parents; saturates.
pub const fn count(index: u64) -> u64 {
    span(index).saturating_mul(2).saturating_add(1)
}

/// Returns the number of leaves, hence blocks, in the subtree; saturates.
pub const fn count_leaves(index: u64) -> u64 {
    span(index).saturating_add(1)
}

/// Returns the roots of the complete subtrees that make up a tree of `length` blocks, left to right.
///
/// There are as many as `length` has one bits.
pub const fn full_roots(length: u64) -> FullRoots {
    FullRoots { start: 0, remaining: length }
}

/// Returns the nodes that come into being when a tree grows from `from` to `to` blocks, leaving out those
/// below a listed sibling. Empty when `from` is 0 or not below `to`.
///
/// Ordered as a peer with the tree of `from` needs them: from its last root upwards, then the roots to the
/// right. At most 192 nodes.
pub fn patch(from: u64, to: u64) -> Vec<u64> {
    let mut nodes = Vec::new();
    if from == 0 || from >= to {
        return nodes;
    }

    let mut old: Vec<u64> = full_roots(from).collect();
    let mut new = full_roots(to).peekable();
    let kept = full_roots(from).zip(full_roots(to)).take_while(|(a, b)| a == b).count();
    new.by_ref().take(kept).for_each(drop);

    if old.len() > kept
        && let (Some(mut node), Some(root)) = (old.pop(), new.next())
    {
        while node != root {
            let sibling = sibling(node);
            if old.last() == Some(&sibling) {
                old.pop();
            } else {
                nodes.push(sibling);
            }
            node = parent(node);
            nodes.push(node);
        }
    }
    nodes.extend(new);
    nodes
}

/// The iterator behind [`full_roots`].
#[derive(Clone, Debug)]
pub struct FullRoots {
    /// First block not covered yet.
    start: u64,
    /// Blocks not covered yet.
    remaining: u64,
}

impl Iterator for FullRoots {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let depth = self.remaining.checked_ilog2()?;
        let leaves = 1 << depth;
        let root = self.start.saturating_mul(2).saturating_add(leaves - 1);
        self.start += leaves;
        self.remaining -= leaves;
        Some(root)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ones = usize::try_from(self.remaining.count_ones()).unwrap_or(64);
        (ones, Some(ones))
    }
}

impl ExactSizeIterator for FullRoots {}
impl FusedIterator for FullRoots {}

/// A position that walks over the tree; upstream's `Iterator`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    index: u64,
}

impl Cursor {
    /// Returns a cursor at `index`.
    pub const fn new(index: u64) -> Self {
        Self { index }
    }

    /// Returns the current node.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Returns the depth of the current node.
    pub const fn depth(&self) -> u32 {
        depth(self.index)
    }

    /// Returns the offset of the current node among those of its depth.
    pub const fn offset(&self) -> u64 {
        offset(self.index)
    }

    /// Returns whether the current node is a left child.
    pub const fn is_left(&self) -> bool {
        is_left(self.index)
    }

    /// Returns whether the current node is a right child.
    pub const fn is_right(&self) -> bool {
        !is_left(self.index)
    }

    /// Returns whether `index` is the current node or lies below it.
    pub const fn contains(&self, index: u64) -> bool {
        contains(self.index, index)
    }

    /// Returns the number of nodes in the current subtree.
    pub const fn count(&self) -> u64 {
        count(self.index)
    }

    /// Returns the number of leaves in the current subtree.
    pub const fn count_leaves(&self) -> u64 {
        count_leaves(self.index)
    }

    /// Moves to `index`.
    pub const fn seek(&mut self, index: u64) {
        self.index = index;
    }

    /// Moves to the parent and returns it.
    pub const fn parent(&mut self) -> u64 {
        self.index = parent(self.index);
        self.index
    }

    /// Moves to the sibling and returns it.
    pub const fn sibling(&mut self) -> u64 {
        self.index = sibling(self.index);
        self.index
    }

    /// Moves to the left child and returns it; stays at a leaf.
    pub fn left_child(&mut self) -> u64 {
        self.index = left_child(self.index).unwrap_or(self.index);
        self.index
    }

    /// Moves to the right child and returns it; stays at a leaf.
    pub fn right_child(&mut self) -> u64 {
        self.index = right_child(self.index).unwrap_or(self.index);
        self.index
    }

    /// Moves to the leftmost leaf below and returns it.
    pub const fn left_span(&mut self) -> u64 {
        self.index = left_span(self.index);
        self.index
    }

    /// Moves to the rightmost leaf below and returns it.
    pub const fn right_span(&mut self) -> u64 {
        self.index = right_span(self.index);
        self.index
    }

    /// Moves to the leaf just right of the current subtree and returns it.
    pub const fn next_tree(&mut self) -> u64 {
        self.index = right_span(self.index).saturating_add(2);
        self.index
    }

    /// Moves to the leaf just left of the current subtree and returns it; stays within 0.
    pub const fn previous_tree(&mut self) -> u64 {
        self.index = left_span(self.index).saturating_sub(2);
        self.index
    }

    /// Climbs from a leaf to the full root that starts there, in a tree whose next free leaf is `head`
    /// (`2 * length`). Returns `false` and stays when the leaf is not in such a tree or is no leaf.
    pub const fn full_root(&mut self, head: u64) -> bool {
        if self.index & 1 == 1 || head & 1 == 1 || head <= self.index {
            return false;
        }
        // A left child whose parent still ends before `head` has room to climb.
        while is_left(self.index) && right_span(parent(self.index)) < head {
            self.index = parent(self.index);
        }
        true
    }
}

/// Distance from a node to either end of its span: `2^depth - 1`.
const fn span(index: u64) -> u64 {
    index & !index.wrapping_add(1)
}

/// Distance from a parent to its children: `2^(depth - 1)`.
const fn child_distance(index: u64) -> Option<u64> {
    if index & 1 == 0 { None } else { Some(1 << (depth(index) - 1)) }
}

/// The lowest zero bit, which the parent has set; 0 when there is none.
const fn depth_bit(index: u64) -> u64 {
    !index & index.wrapping_add(1)
}

/// The bit above [`depth_bit`], which tells left from right; 0 when there is none.
const fn parent_bit(index: u64) -> u64 {
    depth_bit(index) << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_total() {
        let edges = [0, 1, 2, u64::MAX, u64::MAX - 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX / 4];

        for node in edges {
            let _ = (parent(node), sibling(node), children(node), spans(node), count(node), offset(node));
            let _ = (count_leaves(node), is_left(node), index(depth(node), offset(node)));
            let mut cursor = Cursor::new(node);
            let _ = (cursor.next_tree(), cursor.previous_tree(), cursor.full_root(u64::MAX - 1));
            assert_eq!(full_roots(node).count() as u32, node.count_ones());
            let _ = patch(node, u64::MAX);
        }
        assert_eq!(index(70, 0), u64::MAX);
        assert_eq!(index(1, u64::MAX), u64::MAX);
    }

    #[test]
    fn index_undoes_depth_and_offset() {
        for node in (0..5000).chain((1 << 45)..(1 << 45) + 5000).chain(u64::MAX - 100..=u64::MAX) {
            assert_eq!(index(depth(node), offset(node)), node);
        }
    }

    #[test]
    fn relatives_agree_with_the_definition() {
        for node in 0..5000 {
            let (depth, offset) = (depth(node), offset(node));

            assert_eq!(parent(node), index(depth + 1, offset / 2));
            assert_eq!(sibling(node), index(depth, offset ^ 1));
            assert_eq!(children(parent(node)), Some((node.min(sibling(node)), node.max(sibling(node)))));
            assert_eq!(spans(node), (offset << (depth + 1), ((offset + 1) << (depth + 1)) - 2));
        }
    }

    #[test]
    fn cursor_walks_from_root_to_root() {
        for length in 0..300 {
            let mut cursor = Cursor::new(0);
            let mut roots = Vec::new();

            while cursor.full_root(2 * length) {
                roots.push(cursor.index());
                cursor.next_tree();
            }

            assert_eq!(roots, full_roots(length).collect::<Vec<_>>());
        }
    }
}
