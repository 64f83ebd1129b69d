//! Downloading many blocks: which of them to ask which peer for next.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `RangeRequest` and `_requestRange`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::collections::{BTreeMap, BTreeSet};
use crate::time::Instant;

use super::Replicator;
use super::peer::unit;
use super::types::{Local, PeerId, RangeWish, Resolution, WishId};
use super::wants::Holder;

/// All ranges of one replicator.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    entries: BTreeMap<WishId, Range>,
    order: Vec<WishId>,
    live: usize,
    lists: usize,
}

/// A range that is not complete.
#[derive(Debug)]
struct Range {
    wish: RangeWish,
    /// The first block that is missing.
    start: u64,
    /// Behind the last block that is missing; `None` for a live range.
    end: Option<u64>,
    /// Want units that are being worked on, at most [`MAX_UNITS`].
    units: Vec<u64>,
    list: Option<List>,
}

/// A range that is a list of blocks.
#[derive(Debug, Default)]
struct List {
    missing: BTreeSet<u64>,
    /// Those to ask for next. May hold blocks that are stored or in flight by now.
    queue: VecDeque<u64>,
}

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether any range follows the log.
    pub(super) fn is_live(&self) -> bool {
        self.live > 0
    }

    /// Adds a range. Returns whether it is complete already, and then forgets it.
    pub(super) fn add(&mut self, id: WishId, wish: RangeWish, local: &dyn Local) -> bool {
        let mut range = Range { wish, start: 0, end: None, units: Vec::new(), list: None };
        range.restart(local);
        if range.is_complete() {
            return true;
        }
        self.live += usize::from(range.is_live());
        self.lists += usize::from(range.list.is_some());
        if self.entries.insert(id, range).is_none() {
            self.order.push(id);
        }
        false
    }

    fn remove(&mut self, id: WishId) -> Option<Range> {
        let range = self.entries.remove(&id)?;
        self.order.retain(|other| *other != id);
        self.live -= usize::from(range.is_live());
        self.lists -= usize::from(range.list.is_some());
        Some(range)
    }

    /// Lets lists ask for a block again.
    pub(super) fn requeue(&mut self, block: u64) {
        if self.lists == 0 {
            return;
        }
        for list in self.entries.values_mut().filter_map(|range| range.list.as_mut()) {
            if list.missing.contains(&block) && list.queue.len() < 2 * list.missing.len() {
                list.queue.push_front(block);
            }
        }
    }
}

impl Range {
    fn is_live(&self) -> bool {
        self.list.is_none() && self.end.is_none()
    }

    fn is_complete(&self) -> bool {
        match &self.list {
            Some(list) => list.missing.is_empty(),
            None => self.end.is_some_and(|end| self.start >= end),
        }
    }

    /// Begins with what was wished.
    fn restart(&mut self, local: &dyn Local) {
        self.start = self.wish.start;
        self.end = self.wish.end;
        if let Some(blocks) = &self.wish.blocks {
            let queue: VecDeque<u64> = blocks.iter().copied().filter(|&block| !local.has(block)).collect();
            self.list = Some(List { missing: queue.iter().copied().collect(), queue });
        }
        self.clamp(local);
    }

    /// Leaves out what is stored at both ends.
    fn clamp(&mut self, local: &dyn Local) {
        if self.list.is_some() {
            return;
        }
        let field = local.bitfield();
        self.start = field.first_unset(self.start);
        if let Some(end) = &mut self.end {
            let last = end.checked_sub(1).filter(|_| self.start < *end);
            *end = last.and_then(|last| field.last_unset(last)).map_or(self.start, |last| last + 1);
        }
    }

    /// Notes that `start..end` are stored.
    fn gained(&mut self, start: u64, end: u64, local: &dyn Local) {
        let holds = |block: u64| (start..end).contains(&block);
        match &mut self.list {
            Some(list) if end - start == 1 => {
                list.missing.remove(&start);
            }
            Some(list) => list.missing.retain(|&block| !holds(block)),
            None if holds(self.start) || self.end.is_some_and(|end| holds(end - 1)) => self.clamp(local),
            None => {}
        }
    }

    /// Chooses the want units to work on: the last one, and others at random or in order.
    fn choose_units(&mut self, unit: u64, local: &dyn Local, mut random: impl FnMut(u64) -> u64) {
        let field = local.bitfield();
        let (start, end) = (self.start, self.end);
        self.units.retain(|&at| {
            let from = start.max(at * unit);
            let to = end.unwrap_or(u64::MAX).min((at + 1) * unit);
            field.has_unset(from, to)
        });
        let end = end.unwrap_or(local.length());
        if end <= start || self.units.len() >= MAX_UNITS {
            return;
        }
        if let Some(last) = field.last_unset(end - 1).filter(|&last| last >= start)
            && !self.units.contains(&(last / unit))
        {
            self.units.push(last / unit);
        }
        while self.units.len() < MAX_UNITS {
            let offset = start + if self.wish.linear { 0 } else { random(end - start) };
            let picked = self.free_unit(offset, end, unit, local);
            let Some(at) = picked.or_else(|| self.free_unit(start, end, unit, local)) else { return };
            self.units.push(at);
        }
    }

    fn free_unit(&self, mut from: u64, end: u64, unit: u64, local: &dyn Local) -> Option<u64> {
        while from < end {
            let next = local.bitfield().first_unset(from);
            if next >= end {
                return None;
            }
            let at = next / unit;
            if !self.units.contains(&at) {
                return Some(at);
            }
            from = (at + 1) * unit;
        }
        None
    }
}

impl Replicator {
    pub(super) fn drop_range(&mut self, id: WishId) {
        let Some(range) = self.ranges.remove(id) else { return };
        for unit in range.units {
            self.release(Holder::Unit(id, unit));
        }
        if range.list.is_some() {
            self.release(Holder::Wish(id));
        }
    }

    /// Notes that `start..end` are stored, and ends the ranges that are complete with them.
    pub(super) fn range_gained(&mut self, start: u64, end: u64, local: &dyn Local) {
        if self.ranges.is_empty() || start >= end {
            return;
        }
        let mut complete = Vec::new();
        for (&id, range) in &mut self.ranges.entries {
            range.gained(start, end, local);
            if range.is_complete() {
                complete.push(id);
            }
        }
        self.finish_ranges(complete);
    }

    pub(super) fn check_ranges(&mut self, local: &dyn Local) {
        let mut complete = Vec::new();
        for (&id, range) in &mut self.ranges.entries {
            range.clamp(local);
            if range.is_complete() {
                complete.push(id);
            }
        }
        self.finish_ranges(complete);
    }

    /// Begins every range anew: blocks that it counted as done may be gone.
    pub(super) fn restart_ranges(&mut self, local: &dyn Local) {
        for range in self.ranges.entries.values_mut() {
            range.restart(local);
        }
        self.check_ranges(local);
    }

    fn finish_ranges(&mut self, complete: Vec<WishId>) {
        for id in complete {
            self.drop_range(id);
            self.resolve(id, Resolution::Range);
        }
    }

    /// Asks a peer for one block of some range. Returns whether there may be more.
    pub(super) fn request_ranges(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        if self.ranges.is_empty() || peer.evaluating.is_some() || peer.remote_fork != local.fork() {
            return false;
        }
        let count = self.ranges.order.len();
        let offset = self.random.below(count as u64) as usize;
        for turn in 0..count.min(MAX_SCHEDULED) {
            let Some(&range) = self.ranges.order.get((offset + turn) % count) else { return false };
            if self.request_range(id, range, local, now) {
                return true;
            }
        }
        false
    }

    fn request_range(&mut self, id: PeerId, range_id: WishId, local: &dyn Local, now: Instant) -> bool {
        let Self { ranges, random, options, .. } = self;
        let Some(range) = ranges.entries.get_mut(&range_id) else { return false };
        if range.list.is_some() {
            return self.request_list(id, range_id, local, now);
        }
        let unit = unit(options);
        range.choose_units(unit, local, |bound| random.below(bound));
        let (start, linear) = (range.start, range.wish.linear);
        let Some(peer) = self.peers.get(&id) else { return false };
        let end = peer.fitting_end(range.end, local);
        if end <= start {
            return false;
        }
        let mut units = [None; MAX_UNITS];
        for (slot, &at) in units.iter_mut().zip(&range.units) {
            *slot = Some(at);
        }
        for at in units.into_iter().flatten() {
            let from = start.max(at * unit);
            let to = end.min((at + 1) * unit);
            if from >= to {
                continue;
            }
            let offset = from + if linear { 0 } else { self.random.below(to - from) };
            if self.request_between(id, offset, end, local, now)
                || self.request_between(id, from, offset, local, now)
            {
                return true;
            }
            self.want(id, from, Holder::Unit(range_id, at));
        }
        false
    }

    fn request_between(
        &mut self,
        id: PeerId,
        mut from: u64,
        end: u64,
        local: &dyn Local,
        now: Instant,
    ) -> bool {
        self.ensure_skip(local);
        for _ in 0..MAX_TRIES {
            let Self { skip: Some(skip), peers, .. } = self else { return false };
            let Some(peer) = peers.get_mut(&id) else { return false };
            let Some(index) = peer.blocks.next_missing(from, end, skip) else { return false };
            if self.request_range_block(id, index, local, now) {
                return true;
            }
            from = index + 1;
        }
        false
    }

    fn request_range_block(&mut self, id: PeerId, index: u64, local: &dyn Local, now: Instant) -> bool {
        let is_asked = self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty());
        if is_asked || local.has(index) || !self.can_request(id, index, false, local) {
            return false;
        }
        let Some(draft) = self.draft(id, index >= local.length(), index + 1, local, now) else {
            return false;
        };
        self.blocks.add(index, 0, false);
        self.send_block_request(draft, index, local);
        true
    }

    fn request_list(&mut self, id: PeerId, range_id: WishId, local: &dyn Local, now: Instant) -> bool {
        for _ in 0..MAX_TRIES {
            let list = self.ranges.entries.get_mut(&range_id).and_then(|range| range.list.as_mut());
            let Some(list) = list else { return false };
            let Some(index) = list.queue.pop_front() else { return false };
            if !list.missing.contains(&index)
                || self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty())
            {
                continue;
            }
            let has = self.peers.get(&id).is_some_and(|peer| peer.blocks.has(index));
            if has && self.request_range_block(id, index, local, now) {
                return true;
            }
            self.want(id, index, Holder::Wish(range_id));
            let list = self.ranges.entries.get_mut(&range_id).and_then(|range| range.list.as_mut());
            if let Some(list) = list {
                list.queue.push_back(index);
            }
        }
        false
    }
}

/// Want units of one range that are worked on at once. Source: `lib/replicator.js`, `_requestRange`.
const MAX_UNITS: usize = 3;

/// Ranges that are tried at once. Source: `lib/replicator.js`, `MAX_RANGES`.
const MAX_SCHEDULED: usize = 64;

/// Blocks of a range that are passed over before giving up for the moment.
const MAX_TRIES: usize = 64;
