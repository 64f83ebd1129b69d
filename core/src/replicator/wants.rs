//! Which parts of a log the two sides of a channel tell each other about.
//!
//! Source: hypercore 11.35, `lib/wants.js`.

use crate::collections::{BTreeMap, BTreeSet};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::types::WishId;
use super::wire::Want;

/// What a want is for; it is held until nothing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A block that somebody waits for.
    Block(u64),
    /// A unit of a range.
    Unit(WishId, u64),
    /// A list of blocks, or a seek.
    Wish(WishId),
    /// The search of a fork.
    Reorg(u64),
}

/// What we want to hear from one peer.
#[derive(Debug)]
pub(super) struct LocalWants {
    /// Blocks in a unit.
    unit: u64,
    units: BTreeMap<u64, BTreeSet<Holder>>,
    /// Units that nothing needs but that the peer still reports, longest unneeded first.
    released: VecDeque<u64>,
    any: BTreeMap<Want, BTreeSet<Holder>>,
}

impl LocalWants {
    pub(super) fn new(unit: u64) -> Self {
        Self { unit, units: BTreeMap::new(), released: VecDeque::new(), any: BTreeMap::new() }
    }

    /// Wants the unit that contains a block. Returns what to send: an unwant, a want.
    pub(super) fn add(&mut self, block: u64, holder: Holder) -> Option<(Option<Want>, Want)> {
        let unit = block / self.unit;
        if let Some(holders) = self.units.get_mut(&unit) {
            holders.insert(holder);
            return None;
        }
        if let Some(at) = self.released.iter().position(|&released| released == unit) {
            self.released.remove(at);
            self.units.insert(unit, BTreeSet::from([holder]));
            return None;
        }
        let mut unwant = None;
        if self.units.len() + self.released.len() >= MAX_UNITS {
            let released = self.released.pop_front()?;
            unwant = Some(self.want(released));
        }
        self.units.insert(unit, BTreeSet::from([holder]));
        Some((unwant, self.want(unit)))
    }

    /// Lets go of a unit. Returns whether that makes room where there was none.
    pub(super) fn remove(&mut self, block: u64, holder: Holder) -> bool {
        let unit = block / self.unit;
        let Some(holders) = self.units.get_mut(&unit) else { return false };
        holders.remove(&holder);
        if !holders.is_empty() {
            return false;
        }
        self.units.remove(&unit);
        self.released.push_back(unit);
        self.released.len() == 1 && self.units.len() == MAX_UNITS - 1
    }

    /// Lets go of every unit that a holder wants. Returns whether that makes room where there was none.
    pub(super) fn remove_all(&mut self, holder: Holder) -> bool {
        let held = self.units.iter().filter(|(_, holders)| holders.contains(&holder));
        let held: Vec<u64> = held.map(|(unit, _)| unit * self.unit).collect();
        held.into_iter().map(|block| self.remove(block, holder)).filter(|made_room| *made_room).count() > 0
    }

    /// Wants to hear of any one block of a range. Returns the want to send.
    pub(super) fn add_any(&mut self, start: u64, length: u64, holder: Holder) -> Option<Want> {
        let want = self.any_want(start, length);
        if let Some(holders) = self.any.get_mut(&want) {
            holders.insert(holder);
            return None;
        }
        if self.any.len() >= MAX_ANY {
            return None;
        }
        self.any.insert(want, BTreeSet::from([holder]));
        Some(want)
    }

    /// Lets go of every range that a holder wants any block of, except one. Returns the unwants to send.
    pub(super) fn remove_any(&mut self, holder: Holder, except: Option<(u64, u64)>) -> Vec<Want> {
        let except = except.map(|(start, length)| self.any_want(start, length));
        let mut unwants = Vec::new();
        self.any.retain(|want, holders| {
            if Some(*want) == except || !holders.remove(&holder) || !holders.is_empty() {
                return true;
            }
            unwants.push(*want);
            false
        });
        unwants
    }

    fn want(&self, unit: u64) -> Want {
        Want { start: unit * self.unit, length: self.unit, any: false }
    }

    /// Peers that understand only whole units get them.
    fn any_want(&self, start: u64, length: u64) -> Want {
        if self.unit != UNIT {
            return Want { start, length, any: true };
        }
        let from = start - start % UNIT;
        let to = start.saturating_add(length).next_multiple_of(UNIT);
        Want { start: from, length: to - from, any: false }
    }
}

/// What one peer wants to hear from us.
#[derive(Debug, Default)]
pub(super) struct RemoteWants {
    /// By length, a power of two: the multiples of it. Together at most [`MAX_UNITS`].
    units: BTreeMap<u64, BTreeSet<u64>>,
    count: usize,
    any: Vec<Want>,
    /// It wants more than we keep track of: everything.
    all: bool,
}

impl RemoteWants {
    /// Registers a want. Returns false when it is too long to be answered.
    pub(super) fn add(&mut self, want: Want) -> bool {
        if want.any {
            if self.any.len() < MAX_ANY {
                self.any.push(want);
            } else {
                self.all = true;
            }
            return true;
        }
        if want.length > MAX_LENGTH {
            return false;
        }
        let has_room = self.units.contains_key(&want.length) || self.units.len() < MAX_LENGTHS;
        if !is_unit(want) || self.count >= MAX_UNITS || !has_room {
            self.all = true;
            return true;
        }
        if self.units.entry(want.length).or_default().insert(want.start / want.length) {
            self.count += 1;
        }
        true
    }

    /// Removes a want.
    pub(super) fn remove(&mut self, want: Want) {
        if want.any {
            if let Some(at) = self.any.iter().position(|any| *any == want) {
                self.any.swap_remove(at);
            }
            return;
        }
        if !is_unit(want) {
            return;
        }
        let Some(units) = self.units.get_mut(&want.length) else { return };
        if units.remove(&(want.start / want.length)) {
            self.count -= 1;
        }
        if units.is_empty() {
            self.units.remove(&want.length);
        }
    }

    /// Returns whether it wants to hear of any block in `start..start + length`.
    pub(super) fn overlaps(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length);
        let hits = |any: &Want| any.start < end && start < any.start.saturating_add(any.length);
        self.all
            || self.any.iter().any(hits)
            || self.units.iter().any(|(unit, starts)| {
                starts.range(start / unit..=end.saturating_sub(1).max(start) / unit).next().is_some()
            })
    }
}

fn is_unit(want: Want) -> bool {
    (MIN_LENGTH..=MAX_LENGTH).contains(&want.length)
        && want.length.is_power_of_two()
        && want.start.is_multiple_of(want.length)
}

/// Blocks in a want that every peer understands.
pub(super) const UNIT: u64 = 2_097_152;

/// Blocks in a want between peers that agreed on small ones.
pub(super) const SMALL_UNIT: u64 = 4096;

/// Units that one side reports to the other. Source: `lib/wants.js`, `MAX`.
const MAX_UNITS: usize = 512;

/// Wants for any block of a range. Source: `lib/wants.js`, `MAX_ANY`.
const MAX_ANY: usize = 16;

/// Different lengths of units. Source: `lib/wants.js`, `MAX_REMOTE_BATCHES`.
const MAX_LENGTHS: usize = 4;

/// Source: `lib/wants.js`, `MIN_RANGE` and `MAX_RANGE`.
const MIN_LENGTH: u64 = 32;
const MAX_LENGTH: u64 = 2_097_152;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_wanted_once_and_reused_after_release() {
        let mut wants = LocalWants::new(UNIT);
        let want = Want { start: UNIT, length: UNIT, any: false };

        assert_eq!(wants.add(UNIT + 5, Holder::Block(5)), Some((None, want)));
        assert_eq!(wants.add(UNIT + 6, Holder::Block(6)), None);
        assert!(!wants.remove(UNIT + 5, Holder::Block(5)));
        assert!(!wants.remove(UNIT + 6, Holder::Block(6)));

        assert_eq!(wants.add(UNIT + 7, Holder::Block(7)), None);
    }

    #[test]
    fn a_full_list_makes_room_only_by_released_units() {
        let mut wants = LocalWants::new(SMALL_UNIT);
        for unit in 0..512 {
            assert!(wants.add(unit * SMALL_UNIT, Holder::Block(unit)).is_some());
        }

        assert_eq!(wants.add(512 * SMALL_UNIT, Holder::Block(512)), None);
        assert!(wants.remove(3 * SMALL_UNIT, Holder::Block(3)));
        let (unwant, want) = wants.add(512 * SMALL_UNIT, Holder::Block(512)).unwrap();

        assert_eq!(unwant, Some(Want { start: 3 * SMALL_UNIT, length: SMALL_UNIT, any: false }));
        assert_eq!(want.start, 512 * SMALL_UNIT);
    }

    #[test]
    fn any_block_of_a_range_is_wanted_in_whole_units_unless_small_ones_are_agreed() {
        let mut wants = LocalWants::new(UNIT);
        let holder = Holder::Reorg(1);
        assert_eq!(wants.add_any(100, 50, holder), Some(Want { start: 0, length: UNIT, any: false }));

        let mut wants = LocalWants::new(SMALL_UNIT);
        let want = Want { start: 100, length: 50, any: true };
        assert_eq!(wants.add_any(100, 50, holder), Some(want));
        assert_eq!(wants.add_any(100, 50, holder), None);
        assert_eq!(wants.remove_any(holder, Some((100, 50))), []);
        assert_eq!(wants.remove_any(holder, None), [want]);
    }

    #[test]
    fn a_peer_is_told_only_of_what_it_wants() {
        let mut wants = RemoteWants::default();

        assert!(!wants.overlaps(0, u64::MAX));
        assert!(wants.add(Want { start: 4096, length: 4096, any: false }));
        assert!(wants.add(Want { start: 7, length: 2, any: true }));

        assert!(wants.overlaps(8, 1));
        assert!(!wants.overlaps(9, 4087));
        assert!(wants.overlaps(9, 4088));
        assert!(wants.overlaps(8191, 1) && !wants.overlaps(8192, 1));
        wants.remove(Want { start: 4096, length: 4096, any: false });
        assert!(!wants.overlaps(4096, 1));
    }

    #[test]
    fn odd_or_many_wants_count_as_wanting_everything() {
        for odd in [(0, 33), (32, 64), (5, 1), (0, 0)] {
            let mut wants = RemoteWants::default();
            assert!(wants.add(Want { start: odd.0, length: odd.1, any: false }));
            assert!(wants.overlaps(1 << 40, 1));
        }
        let mut many = RemoteWants::default();
        for unit in 0..513 {
            many.add(Want { start: unit * 32, length: 32, any: false });
        }
        assert!(many.overlaps(1 << 40, 1));
        let mut lengths = RemoteWants::default();
        for shift in 5..10 {
            lengths.add(Want { start: 0, length: 1 << shift, any: false });
        }
        assert!(lengths.overlaps(1 << 40, 1));

        let mut long = RemoteWants::default();
        assert!(!long.add(Want { start: 0, length: MAX_LENGTH * 2, any: false }));
        assert!(!long.overlaps(0, 1));
    }
}
