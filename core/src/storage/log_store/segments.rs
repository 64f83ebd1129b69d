//! Segments: the log cut into pieces of equal size, the unit in which space is used again.

use crate::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes of a segment. A record never crosses into a segment that another record starts in.
pub(super) const SEGMENT: u64 = 1 << 20;

/// Which segments hold live bytes, and where each stands in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    /// By number: address / [`SEGMENT`].
    used: BTreeMap<u64, Segment>,
    /// Places in the file below the highest used one that hold nothing.
    free_slots: BTreeSet<u64>,
    /// The first place that was never used.
    next_slot: u64,
    /// What held nothing live at the last checkpoint: number and span.
    condemned: Vec<(u64, u32)>,
}

impl Segment {
    /// Records have a header, so that what is alive in one segment never fills it.
    fn is_quarantined(&self) -> bool {
        self.span == 1 && self.live >= SEGMENT
    }
}

/// One segment in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its place in a file, counted in segments.
    pub(super) slot: u64,
    /// Bytes that the index still points at, in records that start here; [`SEGMENT`] more in [quarantine](Segments::quarantine).
    pub(super) live: u64,
    /// How many segments a large record that starts here fills; 1 otherwise.
    pub(super) span: u32,
}

impl Segments {
    /// Rebuilds the table from a manifest; `None` when two segments claim one place.
    pub(super) fn from_parts(parts: impl Iterator<Item = (u64, Segment)>) -> Option<Self> {
        let used: BTreeMap<u64, Segment> = parts.collect();
        let mut taken = BTreeSet::new();
        for segment in used.values() {
            if !taken.insert(segment.slot) {
                return None;
            }
        }
        let next_slot = taken.last().map_or(0, |last| last.saturating_add(1));
        // Holes are as many as segments were freed; a manifest of nonsense must not make a set of billions.
        if next_slot > (used.len() as u64 + 1).saturating_mul(MAX_SPARSENESS) {
            return None;
        }
        let free_slots = (0..next_slot).filter(|slot| !taken.contains(slot)).collect();
        Some(Segments { used, free_slots, next_slot, condemned: Vec::new() })
    }

    /// A table that knows only the segments of one record, which stand in a row from `slot` on.
    pub(super) fn of_record(address: u64, len: u64, slot: u64) -> Self {
        let (first, last) = (address / SEGMENT, (address.saturating_add(len).saturating_sub(1)) / SEGMENT);
        let segment = |number| Segment { slot: slot.saturating_add(number - first), live: 0, span: 1 };
        Segments { used: (first..=last).map(|number| (number, segment(number))).collect(), ..Self::default() }
    }

    /// The place in a file of the segment that holds `address`.
    pub(super) fn slot_of(&self, address: u64) -> Option<u64> {
        self.used.get(&(address / SEGMENT)).map(|segment| segment.slot)
    }

    /// As [`place`](Self::place), but a record of several segments stands in a row, behind everything else.
    pub(super) fn place_in_a_row(&mut self, tail: u64, len: u64) -> u64 {
        if len <= SEGMENT {
            return self.place(tail, len);
        }
        let free_slots = core::mem::take(&mut self.free_slots);
        // A segment that is begun already stays where it is: the record starts in the next one.
        let at = self.place(tail.next_multiple_of(SEGMENT), len);
        self.free_slots = free_slots;
        at
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Segment)> + '_ {
        self.used.iter().map(|(&number, &segment)| (number, segment))
    }

    /// Returns where a record of `len` bytes goes when the log ends at `tail`, and takes the segments for it.
    pub(super) fn place(&mut self, tail: u64, len: u64) -> u64 {
        let left = SEGMENT - tail % SEGMENT;
        let at = if left == SEGMENT || len <= left { tail } else { tail + left };
        let (first, last) = (at / SEGMENT, (at + len - 1) / SEGMENT);
        for number in first..=last {
            if self.used.contains_key(&number) {
                continue;
            }
            let slot = self.free_slots.pop_first().unwrap_or_else(|| {
                self.next_slot += 1;
                self.next_slot - 1
            });
            self.used.insert(number, Segment { slot, live: 0, span: 1 });
        }
        if last > first {
            let segment = self.used.get_mut(&first).expect("taken above");
            segment.span = u32::try_from(last - first + 1).expect("records are bounded");
        }
        at
    }

    /// Returns where the log goes on behind a record; behind a large one in a fresh segment.
    pub(super) fn after(at: u64, len: u64) -> u64 {
        let end = at + len;
        if (end - 1) / SEGMENT > at / SEGMENT { end.next_multiple_of(SEGMENT) } else { end }
    }

    pub(super) fn add_live(&mut self, record: u64, bytes: u64) {
        if let Some(segment) = self.used.get_mut(&(record / SEGMENT)) {
            segment.live = segment.live.saturating_add(bytes);
        }
    }

    pub(super) fn remove_live(&mut self, record: u64, bytes: u64) {
        if let Some(segment) = self.used.get_mut(&(record / SEGMENT)) {
            segment.live = segment.live.saturating_sub(bytes);
        }
    }

    /// Notes every segment that holds nothing live and ends at or before `limit`, to be [given up](Self::release) once the
    /// header of this checkpoint is on the disk: until then the one before is in force, and what it refers to.
    pub(super) fn condemn(&mut self, limit: u64) {
        self.condemned = self
            .used
            .iter()
            .take_while(|(number, _)| **number < limit / SEGMENT)
            .filter(|(number, segment)| segment.live == 0 && !self.is_continuation(**number))
            .filter(|(number, segment)| **number + u64::from(segment.span) <= limit / SEGMENT)
            .map(|(&number, segment)| (number, segment.span))
            .collect();
    }

    pub(super) fn has_condemned(&self) -> bool {
        !self.condemned.is_empty()
    }

    /// Gives up the segments that were condemned; returns their addresses.
    pub(super) fn release(&mut self) -> Vec<Range<u64>> {
        let mut released: Vec<Range<u64>> = Vec::new();
        for (number, span) in core::mem::take(&mut self.condemned) {
            for number in number..number + u64::from(span) {
                if let Some(segment) = self.used.remove(&number) {
                    self.free_slots.insert(segment.slot);
                }
            }
            let range = number * SEGMENT..(number + u64::from(span)) * SEGMENT;
            match released.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => released.push(range),
            }
        }
        while self.next_slot > 0 && self.free_slots.remove(&(self.next_slot - 1)) {
            self.next_slot -= 1;
        }
        released
    }

    /// Puts every place out of use that somebody may still write to who left the log at `tail` and the file with `slots`
    /// places, or one more: the rest of the last segment, what the last checkpoint condemned, what is free. Segments of their own
    /// take the free places, so that the next manifest says so. Returns where the log goes on, and how many places there are.
    pub(super) fn quarantine(&mut self, tail: u64, slots: u64) -> (u64, u64) {
        let condemned = core::mem::take(&mut self.condemned);
        let condemned = condemned.iter().flat_map(|(first, span)| *first..first + u64::from(*span));
        let last = Some(tail / SEGMENT).filter(|_| !tail.is_multiple_of(SEGMENT));
        for number in condemned.chain(last) {
            if let Some(segment) = self.used.get_mut(&number) {
                segment.span = 1;
                segment.live = segment.live.saturating_add(SEGMENT);
            }
        }
        let next_slot = self.next_slot.max(slots) + 1;
        let free = core::mem::take(&mut self.free_slots).into_iter().chain(self.next_slot..next_slot);
        let mut number = tail.div_ceil(SEGMENT);
        for slot in free {
            self.used.insert(number, Segment { slot, live: SEGMENT, span: 1 });
            number += 1;
        }
        self.next_slot = next_slot;
        (number * SEGMENT, next_slot)
    }

    /// Lets the places be used again that [`quarantine`](Self::quarantine) put out of use.
    pub(super) fn lift_quarantine(&mut self) {
        for segment in self.used.values_mut().filter(|segment| segment.is_quarantined()) {
            segment.live -= SEGMENT;
        }
    }

    pub(super) fn has_quarantined(&self) -> bool {
        self.used.values().any(Segment::is_quarantined)
    }

    /// Returns the emptiest segment below `limit` that is less than half live and not in `but`.
    pub(super) fn sparse(&self, limit: u64, but: &BTreeSet<u64>) -> Option<u64> {
        self.used
            .range(..limit / SEGMENT)
            .filter(|(number, segment)| {
                segment.span == 1 && segment.live > 0 && segment.live < SEGMENT / 2 && !but.contains(number)
            })
            .min_by_key(|(_, segment)| segment.live)
            .map(|(&number, _)| number)
    }

    /// Returns bytes in use and bytes still live below `limit`, without what is condemned or in quarantine.
    pub(super) fn usage(&self, limit: u64) -> (u64, u64) {
        let below = self.used.range(..limit / SEGMENT).filter(|(_, segment)| !segment.is_quarantined());
        let condemned: u64 = self.condemned.iter().map(|(_, span)| u64::from(*span) * SEGMENT).sum();
        let (used, live) = below.fold((0, 0), |(used, live), (_, segment)| {
            (used + SEGMENT, u64::saturating_add(live, segment.live))
        });
        (u64::saturating_sub(used, condemned), live)
    }

    /// Returns where `len` bytes at `address` begin in a file, if they lie in one segment.
    pub(super) fn locate_in_segment(&self, address: u64, len: u64) -> Option<u64> {
        let at = address % SEGMENT;
        (len <= SEGMENT - at).then(|| Some(self.used.get(&(address / SEGMENT))?.slot * SEGMENT + at))?
    }

    /// Returns the places in a file of `len` bytes at `address`, in order; `None` where nothing was ever written.
    pub(super) fn locate(&self, address: u64, len: u64) -> Option<Vec<Range<u64>>> {
        let mut places: Vec<Range<u64>> = Vec::new();
        let (mut at, end) = (address, address.checked_add(len)?);
        while at < end {
            let slot = self.used.get(&(at / SEGMENT))?.slot;
            let start = slot * SEGMENT + at % SEGMENT;
            let piece = (SEGMENT - at % SEGMENT).min(end - at);
            match places.last_mut() {
                Some(last) if last.end == start => last.end += piece,
                _ => places.push(start..start + piece),
            }
            at += piece;
        }
        Some(places)
    }

    /// Whether a segment holds the rest of a large record that started before it.
    fn is_continuation(&self, number: u64) -> bool {
        let mut before = self.used.range(..number).rev();
        // Continuations have a span of 1 and nothing live: walk back to the record's first segment.
        loop {
            match before.next() {
                Some((&first, segment)) if segment.span > 1 => {
                    return first + u64::from(segment.span) > number;
                }
                Some((_, segment)) if segment.live == 0 => {}
                _ => return false,
            }
        }
    }
}

/// How many empty places a file may have for each used one before its manifest counts as nonsense.
const MAX_SPARSENESS: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stay_within_a_segment_unless_they_are_larger() {
        let mut segments = Segments::default();

        assert_eq!(segments.place(0, SEGMENT - 10), 0);
        assert_eq!(segments.place(SEGMENT - 10, 10), SEGMENT - 10);
        assert_eq!(segments.place(SEGMENT - 10, 11), SEGMENT);
        let large = segments.place(SEGMENT + 11, 3 * SEGMENT);
        assert_eq!(large, 2 * SEGMENT);
        assert_eq!(Segments::after(large, 3 * SEGMENT), 5 * SEGMENT);
        assert_eq!(Segments::after(large, 2 * SEGMENT + 1), 5 * SEGMENT);
        assert_eq!(Segments::after(7, 10), 17);
    }

    #[test]
    fn dead_segments_are_used_again_and_large_records_go_whole() {
        let mut segments = Segments::default();
        let large = segments.place(0, 2 * SEGMENT + 5);
        segments.add_live(large, 2 * SEGMENT);
        let next = segments.place(Segments::after(large, 2 * SEGMENT + 5), 100);
        segments.add_live(next, 100);

        segments.condemn(4 * SEGMENT);
        assert_eq!(segments.release(), []);
        segments.remove_live(large, 2 * SEGMENT);
        assert_eq!(segments.release(), []);
        segments.condemn(4 * SEGMENT);
        assert!(segments.release().iter().eq([&(0..3 * SEGMENT)]));
        assert_eq!(segments.locate(next, 100), Some(alloc::vec![3 * SEGMENT..3 * SEGMENT + 100]));

        let reused = segments.place(4 * SEGMENT, 50);
        assert_eq!(segments.locate(reused, 50), Some(alloc::vec![0..50]));
        assert_eq!(segments.locate(0, 1), None);
    }

    #[test]
    fn a_table_read_back_hands_out_the_same_places() {
        let mut segments = Segments::default();
        for i in 0..4 {
            let at = segments.place(i * SEGMENT, 10);
            segments.add_live(at, 10);
        }
        segments.remove_live(SEGMENT, 10);
        segments.condemn(3 * SEGMENT);
        segments.release();

        let mut read_back = Segments::from_parts(segments.iter().collect::<Vec<_>>().into_iter()).unwrap();

        for i in 4..8 {
            assert_eq!(segments.place(i * SEGMENT, 1), read_back.place(i * SEGMENT, 1));
            assert_eq!(segments.locate(i * SEGMENT, 1), read_back.locate(i * SEGMENT, 1));
        }
    }
    #[test]
    fn in_quarantine_is_whatever_the_one_before_could_take_next() {
        // Seven segments; what is in three of them died before the last checkpoint, in one of them before the one before that.
        let mut table = Segments::default();
        for number in 0..7 {
            let at = table.place(number * SEGMENT, 100);
            table.add_live(at, 100);
        }
        let tail = 6 * SEGMENT + 100;
        table.remove_live(2 * SEGMENT, 100);
        table.condemn(tail);
        table.release();
        for number in [0, 4] {
            table.remove_live(number * SEGMENT, 100);
        }
        table.condemn(tail);

        let mut theirs = table.clone();
        theirs.release();
        let mut next = tail;
        let mut taken = BTreeSet::new();
        for _ in 0..5 {
            let at = theirs.place(next, SEGMENT / 2 + 1);
            taken.insert(theirs.slot_of(at).unwrap());
            next = at + SEGMENT / 2 + 1;
        }
        // They were stopped before they wrote to the last of them.
        let (mut next, slots) = table.quarantine(tail, taken.last().unwrap() - 1);

        assert_eq!(slots, taken.last().unwrap() + 1);
        for _ in 0..5 {
            let at = table.place(next, SEGMENT / 2 + 1);
            assert!(!taken.contains(&table.slot_of(at).unwrap()));
            next = at + SEGMENT / 2 + 1;
            table.condemn(next);
            table.release();
        }
        table.lift_quarantine();
        table.remove_live(6 * SEGMENT, 100);
        table.condemn(next);
        table.release();
        let at = table.place(next.next_multiple_of(SEGMENT), 1);
        assert_eq!(table.slot_of(at), taken.first().copied());
    }
}
