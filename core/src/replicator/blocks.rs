//! The blocks that are wanted: who waits for each, where it was asked for, and what comes next.
//!
//! Source: hypercore 11.35, `lib/replicator.js` (`BlockRequest`, `BlockTracker`) and
//! `lib/hotswap-queue.js`.

use crate::collections::{BTreeMap, Last};
use alloc::vec::Vec;

use super::random::Random;
use super::requests::RequestKey;
use super::types::WishId;

/// A block that somebody waits for or that was asked for.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) priority: u8,
    pub(super) force: bool,
    pub(super) waiting: Vec<Waiting>,
    pub(super) in_flight: Vec<RequestKey>,
    /// Whether a peer may have been sent a want for it.
    pub(super) is_wanted: bool,
    /// Its answer is being applied.
    pub(super) processing: u32,
    /// Its number in the queue.
    queued: Option<u64>,
    /// Where it is among the candidates for a second request.
    hotswap: Option<(usize, usize)>,
}

/// Who waits for a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) id: WishId,
    pub(super) snapshot: bool,
}

/// All wanted blocks of one replicator.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    entries: BTreeMap<u64, Block>,
    last: Last,
    /// Blocks that somebody waits for and nobody was asked for, in the order they came.
    queue: BTreeMap<u64, u64>,
    next_number: u64,
    /// Blocks with one or two requests in flight.
    hotswaps: [Vec<u64>; 2],
}

impl Blocks {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, index: u64) -> Option<&Block> {
        self.entries.get_again(&self.last, &index)
    }

    pub(super) fn get_mut(&mut self, index: u64) -> Option<&mut Block> {
        self.entries.get_mut_again(&self.last, &index)
    }

    /// Returns the entry of a block, making one of this priority when there is none.
    pub(super) fn add(&mut self, index: u64, priority: u8, force: bool) -> &mut Block {
        self.entries.entry(index).or_insert_with(|| Block { priority, force, ..Block::default() })
    }

    /// Forgets a block and returns what was known.
    pub(super) fn remove(&mut self, index: u64) -> Option<Block> {
        self.unlist(index);
        let block = self.entries.remove(&index)?;
        if let Some(number) = block.queued {
            self.queue.remove(&number);
        }
        Some(block)
    }

    /// Returns the wanted blocks in `start..end`.
    pub(super) fn between(&self, start: u64, end: u64) -> Vec<u64> {
        if start >= end {
            return Vec::new();
        }
        self.entries.range(start..end).map(|(&index, _)| index).collect()
    }

    /// Queues a block that is in flight nowhere.
    pub(super) fn enqueue(&mut self, index: u64) {
        let Some(block) = self.entries.get_mut_again(&self.last, &index) else { return };
        if block.queued.is_none() && block.in_flight.is_empty() {
            block.queued = Some(self.next_number);
            self.queue.insert(self.next_number, index);
            self.next_number += 1;
        }
    }

    /// Takes a block out of the queue.
    pub(super) fn dequeue(&mut self, index: u64) {
        if let Some(number) =
            self.entries.get_mut_again(&self.last, &index).and_then(|block| block.queued.take())
        {
            self.queue.remove(&number);
        }
    }

    /// Returns the first queued block whose number is at least `number`, and its number.
    pub(super) fn next_queued(&self, number: u64) -> Option<(u64, u64)> {
        self.queue.range(number..).next().map(|(&number, &index)| (number, index))
    }

    /// Notes a request for a block.
    pub(super) fn requested(&mut self, index: u64, key: RequestKey) {
        self.dequeue(index);
        if let Some(block) = self.entries.get_mut_again(&self.last, &index) {
            block.in_flight.push(key);
        }
        self.relist(index);
    }

    /// Notes that a request for a block is over. Returns whether it was one.
    pub(super) fn finished(&mut self, index: u64, key: RequestKey) -> bool {
        let Some(block) = self.entries.get_mut_again(&self.last, &index) else { return false };
        let Some(at) = block.in_flight.iter().position(|&other| other == key) else { return false };
        block.in_flight.swap_remove(at);
        self.relist(index);
        true
    }

    /// Returns a few blocks, those with fewer requests first, that more peers might be asked for.
    pub(super) fn hotswap_candidates(&self, random: &mut Random) -> Vec<u64> {
        let mut picked = Vec::new();
        for (list, tries) in self.hotswaps.iter().zip([3 * HOTSWAP_TRIES, 2 * HOTSWAP_TRIES]) {
            if list.len() <= tries {
                picked.extend(list);
            } else {
                let offset = random.below(list.len() as u64) as usize;
                picked.extend(list.iter().cycle().skip(offset).take(tries));
            }
        }
        picked
    }

    fn relist(&mut self, index: u64) {
        self.unlist(index);
        let Some(block) = self.entries.get_mut_again(&self.last, &index) else { return };
        let Some(level) = block.in_flight.len().checked_sub(1) else { return };
        let Some(list) = self.hotswaps.get_mut(level) else { return };
        block.hotswap = Some((level, list.len()));
        list.push(index);
    }

    fn unlist(&mut self, index: u64) {
        let place = self.entries.get_mut_again(&self.last, &index).and_then(|block| block.hotswap.take());
        let Some((level, at)) = place else { return };
        let Some(list) = self.hotswaps.get_mut(level) else { return };
        if at < list.len() {
            list.swap_remove(at);
        }
        let moved = list.get(at).and_then(|moved| self.entries.get_mut(moved));
        if let Some(moved) = moved {
            moved.hotswap = Some((level, at));
        }
    }
}

/// Source: `lib/hotswap-queue.js`, `TICKS`.
const HOTSWAP_TRIES: usize = 16;
