//! Writes that storage has not confirmed, which every read must see.

use crate::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::run::Run;
use super::{Batch, CommitId, Durability, Op};

/// The newest unconfirmed change of each key, and the ranges deleted meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    entries: BTreeMap<Bytes, Entry>,
    /// Where the last change went: keys of a batch come in order.
    near: usize,
    /// In the order of staging, bounded by [`MAX_RUNS`]: few enough to look through.
    runs: Vec<(Position, Arc<Run>)>,
    /// Bounded by [`MAX_RANGES`] for each of two groups.
    ranges: Vec<DeletedRange>,
}

/// Batches that will be committed together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: CommitId,
    pub(super) durability: Durability,
    /// In order; a hole is an op that a later one of the same key made pointless.
    ops: Vec<Option<Op>>,
    bytes: usize,
    ranges: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    at: Position,
    /// `None` is a deletion.
    value: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct DeletedRange {
    at: Position,
    start: Bytes,
    end: Bytes,
}

/// When an op was staged: its group, then its place in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    group: CommitId,
    op: usize,
}

/// The part of an overlay that concerns one scan, kept while storage answers.
#[derive(Debug, Default)]
pub struct Picture {
    entries: BTreeMap<Bytes, Option<Bytes>>,
    deleted: Vec<(Bytes, Bytes)>,
}

impl Group {
    pub(super) fn new(id: CommitId) -> Self {
        Self { id, durability: Durability::Relaxed, ops: Vec::new(), bytes: 0, ranges: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.is_empty()
            || (self.bytes.saturating_add(bytes) <= super::MAX_COMMIT_BYTES && self.ranges < MAX_RANGES)
    }

    /// Makes room for more ops.
    pub(super) fn reserve(&mut self, ops: usize) {
        self.ops.reserve(ops);
    }

    /// Takes the ops out.
    pub(super) fn take_batch(&mut self) -> Batch {
        Batch { ops: core::mem::take(&mut self.ops).into_iter().flatten().collect() }
    }
}

impl Overlay {
    /// Records an op at the end of a group.
    pub(super) fn stage(&mut self, group: &mut Group, op: Op) {
        let at = Position { group: group.id, op: group.ops.len() };
        group.bytes = group.bytes.saturating_add(cost(&op));
        let (key, value) = match &op {
            Op::Put { key, value } => (key.clone(), Some(value.clone())),
            Op::Delete { key } => (key.clone(), None),
            Op::PutRun(run) => {
                if self.runs.len() >= MAX_RUNS {
                    group.bytes = group.bytes.saturating_sub(cost(&op));
                    return run.iter().for_each(|(key, value)| self.stage(group, Op::Put { key, value }));
                }
                self.runs.push((at, Arc::clone(run)));
                group.ops.push(Some(op));
                return;
            }
            Op::DeleteRange { start, end } => {
                self.ranges.push(DeletedRange { at, start: start.clone(), end: end.clone() });
                group.ranges += 1;
                group.ops.push(Some(op));
                return;
            }
        };
        if let Some(before) = self.entries.insert_near(&mut self.near, key, Entry { at, value })
            && before.at.group == group.id
            && let Some(slot) = group.ops.get_mut(before.at.op)
            && let Some(before) = slot.take()
        {
            group.bytes = group.bytes.saturating_sub(cost(&before));
        }
        group.ops.push(Some(op));
    }

    /// Returns the unconfirmed value of a key, `Some(None)` when it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let entry = self.entries.get(key).map(|entry| (entry.at, entry.value.clone()));
        let newest_run =
            |(at, run): &(Position, Arc<Run>)| Some((*at, Some(run.value(run.keys().position(key)?))));
        let run = self.runs.iter().rev().find_map(newest_run);
        let deleted = self
            .ranges
            .iter()
            .rev()
            .find(|range| range.start.as_ref() <= key && key < range.end.as_ref())
            .map(|range| (range.at, None));
        let newest = [entry, run, deleted].into_iter().flatten().max_by_key(|(at, _)| *at);
        newest.map(|(_, value)| value)
    }

    /// Forgets what a commit stored; `open` is all there is besides. Looking for each of its keys would take longer.
    pub(super) fn confirm(&mut self, id: CommitId, open: &Group) {
        if open.is_empty() {
            *self = Self::default();
            return;
        }
        self.entries.retain(|_, entry| entry.at.group != id);
        self.runs.retain(|(at, _)| at.group != id);
        self.ranges.retain(|range| range.at.group != id);
    }

    /// Returns what storage does not know about the keys `start..end`.
    pub(super) fn picture(&self, start: &Bytes, end: &Bytes) -> Picture {
        if start >= end {
            return Picture::default();
        }
        let entries = self.entries.range(start.clone()..end.clone());
        let single = entries.map(|(key, _)| key.clone());
        let numbered = self.runs.iter().flat_map(|(_, run)| {
            let keys = run.keys();
            keys.within(start, Some(end)).map(|at| keys.key(at))
        });
        let with_value = |key: Bytes| {
            let value = self.get(&key).flatten();
            (key, value)
        };
        let entries = single.chain(numbered).map(with_value).collect();
        let overlaps = |range: &&DeletedRange| range.start < *end && *start < range.end;
        let deleted = self.ranges.iter().filter(overlaps);
        Picture { entries, deleted: deleted.map(|range| (range.start.clone(), range.end.clone())).collect() }
    }
}

impl Picture {
    /// Merges a host's answer with what it could not know. `more` says that the host left entries out.
    pub fn merge(
        mut self,
        stored: Vec<(Bytes, Bytes)>,
        more: bool,
        reverse: bool,
        limit: usize,
    ) -> (Vec<(Bytes, Bytes)>, bool) {
        if more && let Some((last, _)) = stored.last() {
            // Nothing is known about keys after the last one.
            let beyond = |key: &Bytes| if reverse { key < last } else { key > last };
            self.entries.retain(|key, _| !beyond(key));
        }
        let Self { entries: unconfirmed, deleted } = self;
        let gone = |key: &Bytes| deleted.iter().any(|(start, end)| start <= key && key < end);
        let mut merged: BTreeMap<Bytes, Bytes> =
            stored.into_iter().filter(|(key, _)| !gone(key) && !unconfirmed.contains_key(key)).collect();
        merged.extend(unconfirmed.into_iter().filter_map(|(key, value)| Some((key, value?))));
        let cut = merged.len() > limit;
        let entries = if reverse {
            merged.into_iter().rev().take(limit).collect()
        } else {
            merged.into_iter().take(limit).collect()
        };
        (entries, more || cut)
    }
}

/// What an op counts against the size of a commit.
fn cost(op: &Op) -> usize {
    OP_COST
        + match op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::PutRun(run) => run.keys().count() * (RUN_COST + run.keys().prefix().len()) + run.len(),
            Op::Delete { key } => key.len(),
            Op::DeleteRange { start, end } => start.len() + end.len(),
        }
}

/// What an op costs besides its bytes, here and in a host.
const OP_COST: usize = 64;

/// What a value of a run costs besides its bytes.
const RUN_COST: usize = 32;

/// Most runs, of two groups together: each is compared with every key read. What is beyond is staged value by value.
const MAX_RUNS: usize = 64;

/// Most ranges of one group: each is compared with every key read.
const MAX_RANGES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_change_wins_between_values_and_ranges() {
        let mut overlay = Overlay::default();
        let mut group = Group::new(CommitId(1));

        overlay.stage(&mut group, put("b", "1"));
        overlay.stage(&mut group, Op::DeleteRange { start: key("a"), end: key("c") });
        assert_eq!(overlay.get(b"a"), Some(None));
        assert_eq!(overlay.get(b"b"), Some(None));
        assert_eq!(overlay.get(b"c"), None);

        overlay.stage(&mut group, put("b", "2"));
        assert_eq!(overlay.get(b"b"), Some(Some(key("2"))));
        assert_eq!(
            group.take_batch().ops,
            [Op::DeleteRange { start: key("a"), end: key("c") }, put("b", "2")],
        );
    }

    #[test]
    fn values_of_a_run_are_seen_until_something_newer_comes() {
        let run = |first, text: &'static str| {
            let values = (0..10).map(|_| key(text)).collect();
            Op::PutRun(Arc::new(Run::new(key("n"), first, values).unwrap()))
        };
        let Op::PutRun(keys) = run(5, "") else { unreachable!() };
        let at = |number: usize| keys.keys().key(number - 5);
        let mut overlay = Overlay::default();
        let (mut first, mut second) = (Group::new(CommitId(1)), Group::new(CommitId(2)));

        overlay.stage(&mut first, Op::Put { key: at(6), value: key("old") });
        overlay.stage(&mut first, run(5, "run"));
        overlay.stage(&mut first, Op::Delete { key: at(7) });
        overlay.stage(&mut first, Op::DeleteRange { start: at(9), end: at(11) });
        overlay.stage(&mut second, run(12, "late"));

        let seen = [6, 7, 8, 9, 11, 12].map(|number| overlay.get(&at(number)).unwrap());
        let [run, late] = [Some(key("run")), Some(key("late"))];
        assert_eq!(seen, [run.clone(), None, run.clone(), None, run.clone(), late.clone()]);
        let (entries, _) = overlay.picture(&at(6), &at(13)).merge(Vec::new(), false, false, 10);
        let expected = [(at(6), "run"), (at(8), "run"), (at(11), "run"), (at(12), "late")];
        assert_eq!(entries, expected.map(|(at, text)| (at, key(text))));
        first.take_batch();
        overlay.confirm(CommitId(1), &second);
        assert_eq!([6, 12].map(|number| overlay.get(&at(number))), [None, Some(late)]);
    }

    #[test]
    fn confirming_a_group_keeps_what_a_later_one_changed() {
        let mut overlay = Overlay::default();
        let (mut first, mut second) = (Group::new(CommitId(1)), Group::new(CommitId(2)));

        overlay.stage(&mut first, put("a", "1"));
        overlay.stage(&mut first, put("b", "1"));
        overlay.stage(&mut second, put("b", "2"));
        first.take_batch();
        overlay.confirm(CommitId(1), &second);

        assert_eq!(overlay.get(b"a"), None);
        assert_eq!(overlay.get(b"b"), Some(Some(key("2"))));
    }

    #[test]
    fn scan_sees_unconfirmed_changes_only_where_the_host_has_looked() {
        let mut overlay = Overlay::default();
        let mut group = Group::new(CommitId(1));
        overlay.stage(&mut group, put("b", "new"));
        overlay.stage(&mut group, put("z", "new"));
        overlay.stage(&mut group, Op::Delete { key: key("a") });

        let picture = overlay.picture(&key("a"), &key("zz"));
        let stored = alloc::vec![(key("a"), key("old")), (key("c"), key("old"))];
        let (entries, more) = picture.merge(stored, true, false, 10);

        assert_eq!(entries, [(key("b"), key("new")), (key("c"), key("old"))]);
        assert!(more);
    }

    fn put(at: &'static str, value: &'static str) -> Op {
        Op::Put { key: key(at), value: key(value) }
    }

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }
}
