//! The stored nodes of one core, as far as they are in memory.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Range;

use bytes::Bytes;

use crate::compact_encoding::Decode;
use crate::crypto::Node;
use crate::id::Hash;
use crate::storage::{Store, View};

use super::layers::Layers;
use super::merkle_tree::{Missing, NodeSource};

/// Nodes known to be stored or staged; forgets what was not used for long.
///
/// A table in which every index has a few places: each block of a download asks for some nodes, and a map would compare a dozen
/// keys for each. Of the nodes of a set, one that was not used since all others of it were makes way.
#[derive(Debug, Default)]
pub(super) struct NodeCache {
    /// A power of two of sets of [`WAYS`] places each; empty before the first node.
    places: Vec<Option<(Node, Cell<bool>)>>,
    count: usize,
    /// Where the search for a node to forget begins.
    turn: usize,
}

impl NodeCache {
    pub(super) fn get(&self, index: u64) -> Option<Node> {
        let set = self.places.get(self.set_of(index))?;
        let (node, used) = set.iter().flatten().find(|(node, _)| node.index == index)?;
        used.set(true);
        Some(*node)
    }

    pub(super) fn insert(&mut self, node: Node) {
        if self.count >= self.places.len() / 4 * 3 && self.places.len() < MAX_NODES {
            self.grow();
        }
        let turn = self.turn;
        let range = self.set_of(node.index);
        let set = &mut self.places[range];
        let is_same =
            |place: &Option<(Node, _)>| place.as_ref().is_some_and(|(known, _)| known.index == node.index);
        let place = set.iter().position(is_same).or_else(|| set.iter().position(Option::is_none));
        let place = place.unwrap_or_else(|| {
            let mut turns = (turn..turn + WAYS).map(|at| at % WAYS);
            let unused = turns.find(|&at| set[at].as_ref().is_some_and(|(_, used)| !used.get()));
            unused.unwrap_or_else(|| {
                set.iter().flatten().for_each(|(_, used)| used.set(false));
                turn % WAYS
            })
        });
        self.count += usize::from(set[place].is_none());
        set[place] = Some((node, Cell::new(false)));
        self.turn = (turn + 1) % WAYS;
    }

    /// Notes whether a node will be used, or was used for the last time.
    pub(super) fn expect(&self, index: u64, is_wanted: bool) {
        let set = self.places.get(self.set_of(index)).unwrap_or_default();
        if let Some((_, used)) = set.iter().flatten().find(|(node, _)| node.index == index) {
            used.set(is_wanted);
        }
    }

    /// Forgets all nodes but those that `keep` names.
    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        for place in &mut self.places {
            self.count -= usize::from(place.take_if(|(node, _)| !keep(node.index)).is_some());
        }
    }

    fn set_of(&self, index: u64) -> Range<usize> {
        // Fibonacci hashing: neighbours in the tree get sets far apart.
        let hash = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let start = ((hash * (self.places.len() / WAYS) as u64) >> 32) as usize * WAYS;
        start..start + WAYS
    }

    fn grow(&mut self) {
        let len = (self.places.len() * 2).max(MIN_NODES);
        let known = core::mem::take(&mut self.places);
        self.places.resize_with(len, || None);
        self.count = 0;
        for (node, used) in known.into_iter().flatten() {
            self.insert(node);
            self.expect(node.index, used.get());
        }
    }
}

/// What was read for one job, and what is known besides.
#[derive(Debug, Default)]
pub(super) struct ReadSet {
    /// The hash of the block that the job brings, if it was computed in advance.
    pub(super) leaf: Option<Hash>,
    /// What an atom holds of the log that the job reads: nobody else knows better.
    unflushed: Option<Arc<View>>,
    /// In the order of keys: most jobs read one or a few.
    values: Vec<(Bytes, Option<Bytes>)>,
}

impl ReadSet {
    pub(super) fn with(unflushed: Option<Arc<View>>) -> Self {
        Self { unflushed, ..Self::default() }
    }

    pub(super) fn insert(&mut self, key: Bytes, value: Option<Bytes>) {
        match self.place(&key) {
            Ok(at) => self.values[at].1 = value,
            Err(at) => self.values.insert(at, (key, value)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }

    fn place(&self, key: &Bytes) -> Result<usize, usize> {
        self.values.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Returns the value of a key, staged or read. Otherwise notes that it is wanted.
    pub(super) fn value(
        &self,
        store: &Store,
        key: Bytes,
        wanted: &RefCell<Vec<Bytes>>,
    ) -> Result<Option<Bytes>, Missing> {
        if let Some(unflushed) = self.unflushed.as_ref().and_then(|view| view.get(&key)) {
            return Ok(unflushed);
        }
        if let Some(staged) = store.peek(&key) {
            return Ok(staged);
        }
        match self.place(&key) {
            Ok(at) => Ok(self.values[at].1.clone()),
            Err(_) => {
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

/// Places of one set.
const WAYS: usize = 4;

/// Places to begin with: most cores of many are small.
const MIN_NODES: usize = 16;

/// Longest record of a node.
pub(super) const MAX_NODE: usize = 9 + 9 + 32;

/// Half a MiB a core at most.
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

        assert_eq!((cache.places.len(), cache.count), (MAX_NODES, MAX_NODES));
        assert!(cache.get(199_999).is_some());
        cache.retain(|index| index == 7);
        assert!(cache.get(199_999).is_none() && cache.get(7).is_some());
        assert_eq!(cache.count, 1);
    }

    #[test]
    fn what_is_expected_to_be_used_outlives_others() {
        let mut cache = NodeCache::default();
        let node = |index| Node { index, size: 1, hash: [0; 32] };
        let wanted = 2000;

        for index in 0..200_000 {
            cache.insert(node(index));
            cache.expect(index, index < wanted);
        }
        let kept = (0..wanted).filter(|&index| cache.get(index).is_some()).count();
        assert!(kept > 1900, "{kept} are kept");

        (0..wanted).for_each(|index| cache.expect(index, false));
        (200_000..300_000).for_each(|index| cache.insert(node(index)));
        assert!((0..wanted).all(|index| cache.get(index).is_none()));
    }

    #[test]
    fn cache_of_a_small_core_is_small_and_forgets_little() {
        let mut cache = NodeCache::default();
        assert_eq!(cache.get(0), None);

        for index in 0..2000 {
            cache.insert(Node { index, size: 1, hash: [0; 32] });
            cache.insert(Node { index, size: 2, hash: [0; 32] });
        }

        assert!(cache.places.len() <= 4096 && cache.count <= 2000);
        let known = (0..2000).filter_map(|index| cache.get(index));
        assert!(known.filter(|node| node.size == 2).count() > 1800);
    }
}
