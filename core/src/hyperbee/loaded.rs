//! Blocks that a host loaded for one read.

use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use super::error::Missing;
use super::tree::BlockSource;
use crate::collections::{BTreeMap, BTreeSet};

/// The blocks that one read was given so far, and which it still lacks.
///
/// Run the read; when it stops, [`give`](Self::give) what [`take_needed`](Self::take_needed) names and run it again.
/// A cache alone would not do: what a read needs next could push out what it needed before.
#[derive(Debug, Default)]
pub struct LoadedBlocks {
    blocks: BTreeMap<u64, Bytes>,
    needed: RefCell<BTreeSet<u64>>,
    ahead: RefCell<BTreeSet<u64>>,
}

impl LoadedBlocks {
    /// Adds a block, decrypted.
    pub fn give(&mut self, seq: u64, block: Bytes) {
        self.blocks.insert(seq, block);
    }

    /// Returns whether the read could go on, were the blocks there of which `is_here` says so.
    pub fn needs_only(&self, is_here: impl Fn(u64) -> bool) -> bool {
        self.needed.borrow().iter().all(|seq| is_here(*seq))
    }

    /// Returns the blocks without which the read did not go on.
    pub fn take_needed(&mut self) -> Vec<u64> {
        core::mem::take(self.needed.get_mut()).into_iter().collect()
    }

    /// Returns the blocks that the read will need, as far as it knows; it goes on without them.
    pub fn take_ahead(&mut self) -> Vec<u64> {
        let needed = self.needed.get_mut();
        core::mem::take(self.ahead.get_mut()).into_iter().filter(|seq| !needed.contains(seq)).collect()
    }

    /// Forgets the blocks: the read is over.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.needed.get_mut().clear();
        self.ahead.get_mut().clear();
    }
}

impl BlockSource for LoadedBlocks {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        self.blocks.get(&seq).cloned().ok_or_else(|| {
            self.needed.borrow_mut().insert(seq);
            Missing
        })
    }

    fn ahead(&self, seq: u64) -> Option<Bytes> {
        let block = self.blocks.get(&seq).cloned();
        if block.is_none() {
            self.ahead.borrow_mut().insert(seq);
        }
        block
    }
}
