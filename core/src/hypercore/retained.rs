//! Blocks that are dropped from a log while a snapshot of it still shows them.
//!
//! Upstream's snapshots are those of its database, which keeps all of them; here they are kept in memory, and only so
//! many. A snapshot refuses the rest.

use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::storage::Store;

use super::core::{Core, Step};
use super::nodes::ReadSet;

/// Blocks by snapshot. One that several snapshots show is in memory once.
#[derive(Debug, Default)]
pub(super) struct Retained {
    blocks: BTreeMap<u32, BTreeMap<u64, Bytes>>,
    bytes: usize,
}

impl Retained {
    pub(super) fn get(&self, snapshot: u32, index: u64) -> Option<Bytes> {
        self.blocks.get(&snapshot)?.get(&index).cloned()
    }

    pub(super) fn release(&mut self, snapshot: u32) {
        for (index, block) in self.blocks.remove(&snapshot).unwrap_or_default() {
            let mut others = self.blocks.values().filter_map(|blocks| blocks.get(&index));
            if !others.any(|other| other.as_ptr() == block.as_ptr()) {
                self.bytes = self.bytes.saturating_sub(cost(&block));
            }
        }
    }

    fn insert(&mut self, snapshots: impl Iterator<Item = u32>, index: u64, block: &Bytes) {
        let cost = cost(block);
        if self.bytes.saturating_add(cost) > MAX_BYTES {
            return;
        }
        let mut is_new = false;
        for snapshot in snapshots {
            self.blocks.entry(snapshot).or_default().entry(index).or_insert_with(|| {
                is_new = true;
                block.clone()
            });
        }
        if is_new {
            self.bytes += cost;
        }
    }
}

impl Core {
    /// Keeps the blocks `start..end` for the snapshots that show them.
    ///
    /// # Errors
    ///
    /// The step that has to happen first.
    pub(super) fn retain(
        &mut self,
        start: u64,
        end: u64,
        loaded: &ReadSet,
        store: &Store,
    ) -> Result<(), Step> {
        let shown = self.snapshots().map(|(_, snapshot)| snapshot.compat_length).max().unwrap_or(0);
        let end = end.min(shown);
        // Whoever signs a head may sign any length: gaps are passed over.
        let next = |at| if self.is_branch() { Some(at) } else { self.bitfield.first_set(at) };
        let doomed = core::iter::successors(next(start), |at| next(at + 1)).take_while(|at| *at < end);
        let doomed = doomed.take(MAX_BLOCKS);
        let wanted = RefCell::default();
        let blocks: Vec<(u64, Option<Bytes>)> = doomed
            .filter_map(|index| Some((index, loaded.value(store, self.layers.block(index), &wanted).ok()?)))
            .collect();
        if !wanted.borrow().is_empty() {
            return Err(Step::Read(wanted.take()));
        }
        let snapshots: Vec<_> = self.snapshots().collect();
        for (index, block) in blocks {
            let showing = snapshots.iter().filter(|(_, snapshot)| index < snapshot.compat_length);
            if let Some(block) = block {
                self.retained.insert(showing.map(|(id, _)| *id), index, &block);
            }
        }
        Ok(())
    }
}

fn cost(block: &Bytes) -> usize {
    block.len().saturating_add(BLOCK_COST)
}

/// Most blocks that one truncation keeps for snapshots.
const MAX_BLOCKS: usize = 4096;

/// Most bytes that one core keeps for snapshots.
const MAX_BYTES: usize = 32 << 20;

/// What a block costs besides its bytes.
const BLOCK_COST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_with_the_last_snapshot_that_shows_a_block() {
        let mut retained = Retained::default();
        let block = Bytes::from(alloc::vec![7; 1000]);
        retained.insert([1, 2].into_iter(), 5, &block);
        retained.insert([2, 3].into_iter(), 6, &block.slice(..500));
        let both = retained.bytes;

        retained.release(1);
        assert_eq!(retained.bytes, both);
        retained.release(2);
        assert_eq!(retained.bytes, 500 + BLOCK_COST);
        assert_eq!(retained.get(3, 6), Some(block.slice(..500)));
        retained.release(3);
        assert_eq!(retained.bytes, 0);
    }
}
