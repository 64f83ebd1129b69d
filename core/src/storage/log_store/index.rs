//! The index: what changed since the last checkpoint, over the sorted leaves of that checkpoint.

use crate::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::{Bound, Range};

use bytes::Bytes;

use super::fences::{Fences, Missing};
use super::key::Key;
use super::leaf::{Leaf, Pointer, Slot};
use super::record::Kind;
use crate::storage::run::{Numbers, Packed, Runs, place};

/// Newer entries in memory; `None` marks a deleted key.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    entries: BTreeMap<Key, Option<Slot>>,
    /// Where the last entry went: keys of a batch come in order.
    near: usize,
    /// Values of keys in a row. No entry lies among the keys of one.
    runs: Runs<StoredRun>,
    /// Deleted ranges that hide what the leaves say: disjoint, end exclusive, by start.
    cleared: BTreeMap<Bytes, Bytes>,
    /// Estimated bytes in memory.
    size: usize,
}

/// Where the values of a run are.
#[derive(Debug)]
pub(super) enum StoredRun {
    /// In memory.
    Inline(Packed),
    /// In the log, one behind the other from `offset` of a record on; each with where it ends, counted from there.
    Log { record: u64, offset: u32, ends: Vec<u32> },
}

impl StoredRun {
    fn slot(&self, at: usize) -> Slot {
        match self {
            StoredRun::Inline(values) => Slot::Inline(values.bytes.slice(values.place(at))),
            StoredRun::Log { record, offset, ends } => {
                let value = place(ends, at);
                match (u32::try_from(value.start), u32::try_from(value.len())) {
                    (Ok(start), Ok(len @ 1..)) => {
                        Slot::Pointer(Pointer { record: *record, offset: offset + start, len })
                    }
                    _ => Slot::Inline(Bytes::new()),
                }
            }
        }
    }

    /// Estimated bytes in memory.
    fn size(&self) -> usize {
        match self {
            StoredRun::Inline(values) => ENTRY_COST + values.bytes.len() + 4 * values.ends.len(),
            StoredRun::Log { ends, .. } => ENTRY_COST + 4 * ends.len(),
        }
    }
}

/// Estimated overhead of an entry in memory, bytes.
const ENTRY_COST: usize = 96;

impl Memtable {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.runs.is_empty() && self.cleared.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Sets or deletes a key; returns the newer slot that it replaces.
    pub(super) fn insert(&mut self, key: &[u8], slot: Option<Slot>) -> Option<Slot> {
        if !self.runs.is_empty() {
            self.break_up(key, Some(&[key, &[0]].concat()));
        }
        self.insert_entry(key, slot)
    }

    /// Sets values of keys in a row; returns the newer slots that they replace.
    pub(super) fn insert_run(&mut self, keys: Numbers, run: StoredRun) -> Vec<Slot> {
        let (first, last) = (keys.key(0), keys.key(keys.count() - 1));
        let behind = [&last[..], &[0]].concat();
        if self.touches_newer(&first, Some(&behind)) {
            return (0..keys.count())
                .filter_map(|at| self.insert(&keys.key(at), Some(run.slot(at))))
                .collect();
        }
        self.size += run.size();
        self.runs.insert(keys, run);
        Vec::new()
    }

    /// Makes entries of the runs that reach into the keys from `start` to before `end`.
    fn break_up(&mut self, start: &[u8], end: Option<&[u8]>) {
        for (keys, run) in self.runs.remove(start, end) {
            self.size = self.size.saturating_sub(run.size());
            for at in 0..keys.count() {
                self.insert_entry(&keys.key(at), Some(run.slot(at)));
            }
        }
    }

    fn insert_entry(&mut self, key: &[u8], slot: Option<Slot>) -> Option<Slot> {
        self.size += ENTRY_COST + key.len() + slot_size(slot.as_ref());
        let old = self.entries.insert_near(&mut self.near, Key::from(key), slot)?;
        self.size = self.size.saturating_sub(ENTRY_COST + key.len() + slot_size(old.as_ref()));
        old
    }

    /// Deletes every key from `start` to before `end`; returns the newer slots that it replaces.
    pub(super) fn clear(&mut self, start: Bytes, end: Bytes) -> Vec<Slot> {
        if start >= end {
            return Vec::new();
        }
        self.break_up(&start, Some(&end));
        let keys: Vec<Key> = self
            .entries
            .range::<[u8], _>((Bound::Included(&start[..]), Bound::Excluded(&end[..])))
            .map(|(key, _)| key.clone())
            .collect();
        let mut replaced = Vec::new();
        for key in keys {
            if let Some(old) = self.entries.remove(&key) {
                let len = key.as_slice().len();
                self.size = self.size.saturating_sub(ENTRY_COST + len + slot_size(old.as_ref()));
                replaced.extend(old);
            }
        }
        // Join with every range that touches this one.
        let (mut start, mut end) = (start, end);
        let touching: Vec<Bytes> = self
            .cleared
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(&end[..])))
            .rev()
            .take_while(|(_, other_end)| **other_end >= start)
            .map(|(other, _)| other.clone())
            .collect();
        for other in touching {
            let other_end = self.cleared.remove(&other).expect("listed above");
            self.size = self.size.saturating_sub(ENTRY_COST + other.len() + other_end.len());
            start = start.min(other);
            end = end.max(other_end);
        }
        self.size += ENTRY_COST + start.len() + end.len();
        self.cleared.insert(start, end);
        replaced
    }

    /// What is newly known of a key; `None` when the leaves decide.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Slot>> {
        match (self.entries.get(key), self.runs.find(key)) {
            (Some(slot), _) => Some(slot.clone()),
            (None, Some((at, run))) => Some(Some(run.slot(at))),
            (None, None) => self.hides(key).then_some(None),
        }
    }

    /// Whether something is newly known of a key.
    pub(super) fn knows(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key) || self.runs.find(key).is_some() || self.hides(key)
    }

    /// Whether what the leaves say of `key` is deleted.
    pub(super) fn hides(&self, key: &[u8]) -> bool {
        self.cleared
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| &end[..] > key)
    }

    /// Whether anything changed from `start` to before `end` (`None`: to the last key).
    pub(super) fn touches(&self, start: &[u8], end: Option<&[u8]>) -> bool {
        let end_bound = end.map_or(Bound::Unbounded, Bound::Excluded);
        if end.is_some_and(|end| end <= start) {
            return false;
        }
        self.touches_newer(start, end)
            || self
                .cleared
                .range::<[u8], _>((Bound::Unbounded, end_bound))
                .next_back()
                .is_some_and(|(_, cleared_end)| &cleared_end[..] > start)
    }

    /// Whether there are newer values or deleted keys from `start` to before `end`.
    fn touches_newer(&self, start: &[u8], end: Option<&[u8]>) -> bool {
        self.range(start, end).next().is_some() || self.runs.touches(start, end)
    }

    /// Entries from `start` to before `end`, in order.
    fn range(&self, start: &[u8], end: Option<&[u8]>) -> impl Iterator<Item = (&[u8], Option<&Slot>)> {
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.max(start)));
        self.entries
            .range::<[u8], _>((Bound::Included(start), end))
            .map(|(key, slot)| (key.as_slice(), slot.as_ref()))
    }

    /// Hands out what is newly known of the keys from `start` to before `end`, in order.
    fn for_each(&self, start: &[u8], end: Option<&[u8]>, each: &mut dyn FnMut(&[u8], Option<&Slot>)) {
        let mut entries = self.range(start, end).peekable();
        if !self.runs.is_empty() {
            let mut key = Vec::new();
            for (keys, run) in self.runs.range(start, end) {
                for at in keys.within(start, end) {
                    keys.put_key(at, &mut key);
                    while let Some((other, slot)) = entries.next_if(|(other, _)| *other < &key[..]) {
                        each(other, slot);
                    }
                    each(&key, Some(&run.slot(at)));
                }
            }
        }
        entries.for_each(|(key, slot)| each(key, slot));
    }
}

fn slot_size(slot: Option<&Slot>) -> usize {
    match slot {
        Some(Slot::Inline(value)) => value.len(),
        _ => 0,
    }
}

/// Leaves in memory. An approximation of dropping the least recently used: a used one gets a second chance when its turn comes.
#[derive(Debug)]
pub(super) struct LeafCache {
    /// By record, with whether they were used since their last turn.
    leaves: BTreeMap<u64, (Leaf, bool)>,
    /// The record whose turn comes next, or the one behind it.
    turn: u64,
    capacity: usize,
}

impl LeafCache {
    pub(super) fn new(capacity: usize) -> Self {
        LeafCache { leaves: BTreeMap::new(), turn: 0, capacity }
    }

    pub(super) fn get(&mut self, record: u64) -> Option<&Leaf> {
        let (leaf, is_used) = self.leaves.get_mut(&record)?;
        *is_used = true;
        Some(leaf)
    }

    pub(super) fn contains(&self, record: u64) -> bool {
        self.leaves.contains_key(&record)
    }

    pub(super) fn insert(&mut self, record: u64, leaf: Leaf) {
        self.leaves.insert(record, (leaf, true));
    }

    /// Drops what is beyond the capacity. Called between jobs, so that a job never loses what it loaded.
    pub(super) fn trim(&mut self) {
        while self.leaves.len() > self.capacity {
            let Some((&record, (_, is_used))) = self.leaves.range_mut(self.turn..).next() else {
                self.turn = 0;
                continue;
            };
            self.turn = record + 1;
            if !core::mem::take(is_used) {
                self.leaves.remove(&record);
            }
        }
    }
}

/// Live entries, and whether there are more.
type Found = (Vec<(Bytes, Slot)>, bool);

/// Finds at most `limit` live entries of a range; `Err` names the leaves and branches that have to be loaded first.
pub(super) fn scan(
    memtable: &Memtable,
    fences: &Fences,
    cache: &mut LeafCache,
    range: Range<&Bytes>,
    reverse: bool,
    limit: usize,
) -> Result<Found, Vec<Missing>> {
    let mut found = Vec::new();
    let (start, end) = (range.start, range.end);
    if start >= end {
        return Ok((found, false));
    }
    let mut step = |from: &Bytes, to: &Bytes, leaf: Option<&Leaf>| -> bool {
        let mut merged = Vec::new();
        merge(memtable, leaf, from, Some(to), &mut |key, slot| {
            merged.push((Bytes::copy_from_slice(key), slot.clone()));
        });
        let pick = |(key, slot)| {
            found.push((key, slot));
            found.len() > limit
        };
        if reverse { merged.into_iter().rev().any(pick) } else { merged.into_iter().any(pick) }
    };
    let mut more = false;
    if fences.branches().is_empty() {
        more = step(start, end, None);
    } else {
        let mut leaves = fences.range(start, end);
        let mut next = || if reverse { leaves.next_back() } else { leaves.next() };
        while let Some(span) = next().filter(|_| !more) {
            let leaf = match span {
                Ok(span) => cache.get(span.fence.record.0).map(|leaf| (span, leaf)),
                Err(_) => None,
            };
            let Some((span, leaf)) = leaf else {
                let ahead = core::iter::once(span).chain(core::iter::from_fn(next).take(READ_AHEAD - 1));
                let records = ahead
                    .map(|span| span.map_or_else(|branch| branch, |span| (Kind::Leaf, span.fence.record)));
                return Err(records.filter(|(_, (address, _))| !cache.contains(*address)).collect());
            };
            let to = span.next.map_or(end, |next| next.min(end));
            more = step(start.max(&span.fence.first), to, Some(leaf));
        }
    }
    found.truncate(limit);
    Ok((found, more))
}

/// Leaves that a scan loads at once.
const READ_AHEAD: usize = 8;

/// Merges the newer entries of an interval into those of its leaf, and hands them out in order.
pub(super) fn merge(
    memtable: &Memtable,
    leaf: Option<&Leaf>,
    start: &[u8],
    end: Option<&[u8]>,
    each: &mut dyn FnMut(&[u8], &Slot),
) {
    let old = leaf.map_or(0..0, |leaf| {
        let last = end.map_or(leaf.len(), |end| leaf.lower_bound(end));
        leaf.lower_bound(start)..last
    });
    let Some(leaf) = leaf.filter(|_| !old.is_empty()) else {
        return memtable.for_each(start, end, &mut |key, slot| {
            if let Some(slot) = slot {
                each(key, slot);
            }
        });
    };
    let mut at = old.start;
    let show = |at: usize, each: &mut dyn FnMut(&[u8], &Slot)| {
        let (key, slot) = leaf.entry(at);
        if !memtable.hides(&key) {
            each(&key, &slot);
        }
    };
    memtable.for_each(start, end, &mut |key, slot| {
        while at < old.end && leaf.key(at) < key {
            show(at, each);
            at += 1;
        }
        at += usize::from(at < old.end && leaf.key(at) == key);
        if let Some(slot) = slot {
            each(key, slot);
        }
    });
    (at..old.end).for_each(|at| show(at, each));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn value(text: &'static str) -> Option<Slot> {
        Some(Slot::Inline(key(text)))
    }

    #[test]
    fn cleared_ranges_join_and_later_entries_show_through() {
        let mut table = Memtable::default();
        table.insert(&key("c"), value("old"));

        assert_eq!(table.clear(key("b"), key("d")), [Slot::Inline(key("old"))]);
        table.clear(key("f"), key("h"));
        table.clear(key("d"), key("f"));
        table.insert(&key("e"), value("new"));

        assert_eq!(table.cleared.len(), 1);
        assert!(table.hides(b"b") && table.hides(b"g") && !table.hides(b"h") && !table.hides(b"a"));
        assert_eq!(table.get(b"e"), Some(value("new")));
        assert_eq!(table.get(b"c"), Some(None));
        assert_eq!(table.get(b"x"), None);
        assert!(table.touches(b"a", Some(b"bb")) && table.touches(b"g", None) && !table.touches(b"h", None));
        assert!(!table.touches(b"a", Some(b"b")));
    }

    #[test]
    fn what_is_replaced_counts_no_longer() {
        let mut table = Memtable::default();
        table.insert(&key("head"), value("first"));
        table.clear(key("m"), key("p"));
        let before = table.size();

        for _ in 0..1000 {
            table.insert(&key("head"), value("later"));
            table.clear(key("m"), key("p"));
        }

        assert_eq!(table.size(), before);
    }

    #[test]
    fn runs_are_found_replaced_and_merged_in_order() {
        let numbers = |first, count| Numbers::new(key("p"), first, count).unwrap();
        let inline = |count: u32| {
            let bytes = Bytes::from(alloc::vec![7; count as usize]);
            StoredRun::Inline(Packed { bytes, ends: (1..=count).collect() })
        };
        let mut table = Memtable::default();
        table.insert(&key("a"), value("first"));
        assert_eq!(table.insert_run(numbers(10, 5), inline(5)), []);
        assert_eq!(table.insert_run(numbers(30, 5), inline(5)), []);
        let seven = Slot::Inline(Bytes::from_static(&[7]));

        let third = numbers(12, 1).key(0);
        assert_eq!(table.get(&third), Some(Some(seven.clone())));
        assert_eq!(table.insert(&third, value("new")), Some(seven.clone()));
        assert_eq!(table.get(&third), Some(value("new")));
        assert_eq!(table.get(&numbers(14, 1).key(0)), Some(Some(seven.clone())));
        let replaced = table.insert_run(numbers(14, 17), inline(17));
        assert_eq!(replaced, [seven.clone(), seven.clone()]);
        assert_eq!(table.clear(numbers(11, 1).key(0), numbers(13, 1).key(0)).len(), 2);

        let mut found = Vec::new();
        merge(&table, None, b"", None, &mut |key, _| found.push(Bytes::copy_from_slice(key)));
        let expected =
            [key("a"), numbers(10, 1).key(0)].into_iter().chain((13..35).map(|n| numbers(n, 1).key(0)));
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert!(table.touches(&numbers(34, 1).key(0), None) && !table.touches(&numbers(35, 1).key(0), None));
    }
}
