//! The stored nodes of one core, as far as they are in memory.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::compact_encoding::Decode;
use crate::crypto::Node;
use crate::storage::Store;

use super::layers::Layers;
use super::merkle_tree::{Missing, NodeSource};

/// Nodes known to be stored or staged; forgets what was not used for long.
///
/// An approximation of least recently used: a used node gets a second chance when its turn comes.
#[derive(Debug, Default)]
pub(super) struct NodeCache {
    nodes: BTreeMap<u64, (Node, Cell<bool>)>,
    /// Indexes in the order of their turn. May name nodes that are gone.
    turns: VecDeque<u64>,
}

impl NodeCache {
    pub(super) fn get(&self, index: u64) -> Option<Node> {
        let (node, used) = self.nodes.get(&index)?;
        used.set(true);
        Some(*node)
    }

    pub(super) fn insert(&mut self, node: Node) {
        if self.nodes.insert(node.index, (node, Cell::new(false))).is_some() {
            return;
        }
        self.turns.push_back(node.index);
        while self.turns.len() > MAX_NODES {
            let Some(index) = self.turns.pop_front() else { return };
            match self.nodes.get(&index) {
                Some((_, used)) if used.take() => self.turns.push_back(index),
                _ => {
                    self.nodes.remove(&index);
                }
            }
        }
    }

    /// Forgets all nodes but those that `keep` names.
    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.nodes.retain(|&index, _| keep(index));
        self.turns.retain(|&index| keep(index));
    }
}

/// What was read for one job.
#[derive(Debug, Default)]
pub(super) struct ReadSet {
    values: BTreeMap<Bytes, Option<Bytes>>,
}

impl ReadSet {
    pub(super) fn insert(&mut self, key: Bytes, value: Option<Bytes>) {
        self.values.insert(key, value);
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }

    /// Returns the value of a key, staged or read. Otherwise notes that it is wanted.
    pub(super) fn value(
        &self,
        store: &Store,
        key: Bytes,
        wanted: &RefCell<Vec<Bytes>>,
    ) -> Result<Option<Bytes>, Missing> {
        if let Some(staged) = store.peek(&key) {
            return Ok(staged);
        }
        match self.values.get(&key) {
            Some(value) => Ok(value.clone()),
            None => {
                wanted.borrow_mut().push(key);
                Err(Missing)
            }
        }
    }
}

/// The nodes that one job sees.
pub(super) struct Nodes<'a> {
    pub(super) roots: &'a [Node],
    pub(super) cache: &'a NodeCache,
    pub(super) store: &'a Store,
    pub(super) layers: &'a Layers,
    pub(super) loaded: &'a ReadSet,
    /// Keys that the job has to read before it runs again.
    pub(super) wanted: &'a RefCell<Vec<Bytes>>,
}

impl NodeSource for Nodes<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>, Missing> {
        if let Some(root) = self.roots.iter().find(|root| root.index == index) {
            return Ok(Some(*root));
        }
        if let Some(node) = self.cache.get(index) {
            return Ok(Some(node));
        }
        let value = self.loaded.value(self.store, self.layers.node(index), self.wanted)?;
        // A value that is no node is as good as none: what needs it fails.
        Ok(value.and_then(|value| Node::from_slice(&value).ok()).filter(|node| node.index == index))
    }
}

/// About 1 MiB a core at most.
const MAX_NODES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_stays_bounded_and_keeps_what_is_used() {
        let mut cache = NodeCache::default();
        let node = |index| Node { index, size: 1, hash: [0; 32] };

        cache.insert(node(7));
        for index in 100..200_000 {
            cache.insert(node(index));
            if index % 1000 == 0 {
                assert!(cache.get(7).is_some(), "{index}");
            }
        }

        assert!(cache.nodes.len() <= MAX_NODES && cache.turns.len() <= MAX_NODES);
        assert!(cache.get(199_999).is_some());
        cache.retain(|index| index == 7);
        assert!(cache.get(199_999).is_none() && cache.get(7).is_some());
    }
}
