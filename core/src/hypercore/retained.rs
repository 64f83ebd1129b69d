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
        self.blocks.remove(&snapshot);
        if self.blocks.is_empty() {
            self.bytes = 0;
        }
    }

    fn insert(&mut self, snapshots: impl Iterator<Item = u32>, index: u64, block: &Bytes) {
        let cost = block.len().saturating_add(BLOCK_COST);
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
        let doomed = (start..end.min(shown)).filter(|index| self.may_have(*index)).take(MAX_BLOCKS);
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

/// Most blocks that one truncation keeps for snapshots.
const MAX_BLOCKS: usize = 4096;

/// Most bytes that one core keeps for snapshots.
const MAX_BYTES: usize = 32 << 20;

/// What a block costs besides its bytes.
const BLOCK_COST: usize = 64;
