//! Taking a key away, and keeping nodes large enough.
//!
//! Everything that may be needed is loaded first, so that a missing block leaves the batch as it was.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{BatchWriter, NodeId, Path, Place};
use crate::hyperbee::cache::BlockCache;
use crate::hyperbee::error::{BadBlock, Problem, ReadError};
use crate::hyperbee::tree::{BlockSource, Reader};
use crate::hyperbee::{MAX_DEPTH, MIN_KEYS};

impl BatchWriter {
    /// Deletes a key. Returns whether that will append a block: not when the key is not there.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The batch has not changed.
    pub fn delete(
        &mut self,
        source: &dyn BlockSource,
        cache: &mut BlockCache,
        key: Bytes,
    ) -> Result<bool, ReadError> {
        let mut reader = Reader::new(source, cache);
        let Some(Path { mut steps, node, place: Place::Key(i) }) = self.find(&mut reader, &key)? else {
            return Ok(false);
        };
        let mut leaf = node;
        if self.child_count(node) > 0 {
            leaf = self.nearest_leaf(&mut reader, &mut steps, node, i)?;
        }
        self.load_siblings(&mut reader, &steps, leaf)?;

        if leaf == node {
            self.node_mut(leaf).keys.remove(i);
        } else {
            // The leaf is on the side of the child that was taken.
            let is_right = steps.iter().any(|(step, taken)| *step == node && *taken == i + 1);
            let keys = &mut self.node_mut(leaf).keys;
            let moved = if is_right { keys.remove(0) } else { keys.pop().expect("a leaf in use has a key") };
            self.node_mut(node).keys[i] = moved;
        }
        for (node, _) in &steps {
            self.node_mut(*node).changed = true;
        }
        self.node_mut(leaf).changed = true;

        let root = self.rebalance(steps, leaf);
        self.append(root, key, None);
        Ok(true)
    }

    /// Goes from key `i` of an inner node to the larger of the two leaves beside it, the left one if equal.
    fn nearest_leaf(
        &mut self,
        reader: &mut Reader<'_>,
        steps: &mut Vec<(NodeId, usize)>,
        node: NodeId,
        i: usize,
    ) -> Result<NodeId, ReadError> {
        let left = self.descend(reader, node, i, true);
        let right = self.descend(reader, node, i + 1, false);
        let ((left_steps, left), (right_steps, right)) = (left?, right?);

        let is_right = self.key_count(left) < self.key_count(right);
        let (more, leaf) = if is_right { (right_steps, right) } else { (left_steps, left) };
        if self.key_count(leaf) == 0 {
            let (seq, _) = self.key(node, i);
            return Err(BadBlock { seq, problem: Problem::Children { keys: 0, numbers: 0 } }.into());
        }
        steps.extend(more);
        Ok(leaf)
    }

    /// Goes into a child and from there to its last or first leaf.
    fn descend(
        &mut self,
        reader: &mut Reader<'_>,
        node: NodeId,
        child: usize,
        to_last: bool,
    ) -> Result<(Vec<(NodeId, usize)>, NodeId), ReadError> {
        let mut steps = alloc::vec![(node, child)];
        let mut node = self.load_child(reader, node, child)?;
        while let Some(last) = self.child_count(node).checked_sub(1) {
            if steps.len() >= MAX_DEPTH {
                return Err(BadBlock { seq: self.length.saturating_sub(1), problem: Problem::TooDeep }.into());
            }
            let i = if to_last { last } else { 0 };
            steps.push((node, i));
            node = self.load_child(reader, node, i)?;
        }
        Ok((steps, node))
    }

    /// Loads the neighbours that will give keys or be merged once `leaf` has one key less.
    fn load_siblings(
        &mut self,
        reader: &mut Reader<'_>,
        steps: &[(NodeId, usize)],
        leaf: NodeId,
    ) -> Result<(), ReadError> {
        let mut node = leaf;
        let mut left = self.key_count(leaf).saturating_sub(1);
        for (parent, i) in steps.iter().rev() {
            if left >= MIN_KEYS {
                return Ok(());
            }
            let siblings = self.siblings(*parent, *i);
            let loaded = siblings.map(|i| i.map(|i| self.load_child(reader, *parent, i)).transpose());
            let mut can_give = false;
            for sibling in loaded {
                let Some(sibling) = sibling? else { continue };
                // Between a leaf and another node nothing can move.
                if (self.child_count(sibling) == 0) != (self.child_count(node) == 0) {
                    let seq = self.length.saturating_sub(1);
                    return Err(BadBlock { seq, problem: Problem::Uneven }.into());
                }
                can_give |= self.key_count(sibling) > MIN_KEYS;
            }
            if can_give {
                return Ok(());
            }
            node = *parent;
            left = self.key_count(node).saturating_sub(1);
        }
        Ok(())
    }

    /// Returns the places of the children left and right of child `i`.
    fn siblings(&self, parent: NodeId, i: usize) -> [Option<usize>; 2] {
        [i.checked_sub(1), Some(i + 1).filter(|right| *right < self.child_count(parent))]
    }

    /// Fills up nodes with too few keys, from the leaf up, and returns the root.
    fn rebalance(&mut self, mut steps: Vec<(NodeId, usize)>, leaf: NodeId) -> NodeId {
        let root = steps.first().map_or(leaf, |(node, _)| *node);
        let mut node = leaf;
        while let Some((parent, i)) = steps.pop() {
            if self.key_count(node) >= MIN_KEYS {
                return root;
            }
            let [left, right] = self.siblings(parent, i).map(|i| i.and_then(|i| self.loaded(parent, i)));
            if let Some(left) = left.filter(|left| self.key_count(*left) > MIN_KEYS) {
                self.take_from_left(parent, i, left, node);
                return root;
            }
            if let Some(right) = right.filter(|right| self.key_count(*right) > MIN_KEYS) {
                self.take_from_right(parent, i, right, node);
                return root;
            }
            match (left, right) {
                (Some(left), _) => self.merge(parent, i - 1, left, node),
                (None, Some(right)) => self.merge(parent, i, node, right),
                // An only child, which no correct writer makes.
                (None, None) => {}
            }
            node = parent;
        }
        let is_empty = self.key_count(root) == 0 && self.child_count(root) > 0;
        if is_empty { self.loaded(root, 0).unwrap_or(root) } else { root }
    }

    fn take_from_left(&mut self, parent: NodeId, i: usize, left: NodeId, node: NodeId) {
        let source = self.node_mut(left);
        source.changed = true;
        let (key, child) = (source.keys.pop().expect("it has more than enough"), source.children.pop());
        let key = core::mem::replace(&mut self.node_mut(parent).keys[i - 1], key);
        let node = self.node_mut(node);
        node.keys.insert(0, key);
        if let Some(child) = child {
            node.children.insert(0, child);
        }
    }

    fn take_from_right(&mut self, parent: NodeId, i: usize, right: NodeId, node: NodeId) {
        let source = self.node_mut(right);
        source.changed = true;
        let key = source.keys.remove(0);
        let child = if source.children.is_empty() { None } else { Some(source.children.remove(0)) };
        let key = core::mem::replace(&mut self.node_mut(parent).keys[i], key);
        let node = self.node_mut(node);
        node.keys.push(key);
        node.children.extend(child);
    }

    /// Makes one node of two neighbours and the key `i` between them.
    fn merge(&mut self, parent: NodeId, i: usize, left: NodeId, right: NodeId) {
        let source = self.node_mut(right);
        // What a dead index still lists keeps its contents, as upstream's does.
        let (keys, children) = (source.keys.clone(), source.children.clone());
        let parent = self.node_mut(parent);
        let median = parent.keys.remove(i);
        let freed = parent.children.remove(i + 1);
        parent.changed = true;
        self.children[freed.0].seq = 0;

        let target = self.node_mut(left);
        target.changed = true;
        target.keys.push(median);
        target.keys.extend(keys);
        target.children.extend(children);
    }

    fn loaded(&self, node: NodeId, i: usize) -> Option<NodeId> {
        let id = self.nodes.get(node.0)?.children.get(i)?;
        self.children.get(id.0)?.node
    }
}
