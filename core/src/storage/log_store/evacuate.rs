//! Evacuation: what lives in a mostly dead segment moves to the end of the log, so that the segment can be used again.

use alloc::vec::Vec;

use bytes::Bytes;

use super::commit::{INLINE, is_inline};
use super::fences::Missing;
use super::leaf::{Leaf, Pointer, Slot};
use super::record::{self, Kind};
use super::segments::SEGMENT;
use super::{DeviceOp, Job, LogStore, manifest, whole_parts};
use crate::collections::BTreeSet;
use crate::storage::{Batch, Op};

/// Dead bytes below which space is not worth the work, as a share of what lives: one half, and at least this much.
const MIN_GARBAGE: u64 = 4 * SEGMENT;

/// Segments emptied between two checkpoints: each checkpoint writes anew the leaves that name them.
const MAX_AT_ONCE: usize = 16;

/// What is being emptied.
#[derive(Debug, Default)]
pub(super) struct Evacuation {
    /// Whether the share of dead bytes has to be looked at: it changes with each checkpoint only.
    pub(super) review: bool,
    current: Option<Segment>,
    /// Segments emptied since the last checkpoint.
    done: BTreeSet<u64>,
    /// What of the index stands in them, by its first key: the next checkpoint writes it anew.
    pub(super) index: BTreeSet<(Bytes, u64)>,
}

/// A segment being emptied.
#[derive(Debug)]
struct Segment {
    number: u64,
    /// Values that stand in the segment and may still be in use.
    values: Vec<(Bytes, Bytes, Pointer)>,
    is_read: bool,
    /// Whether leaves were asked for and not yet given.
    is_loading: bool,
}

impl Evacuation {
    /// Whether only a checkpoint can make the emptied segments free.
    pub(super) fn needs_checkpoint(&self) -> bool {
        self.current.is_none() && !self.review && !self.done.is_empty()
    }
}

impl LogStore {
    /// Goes on with emptying segments; called when no commit is in flight.
    pub(super) fn evacuate(&mut self) {
        if let Some(segment) = &self.evacuation.current {
            if segment.is_read && !segment.is_loading {
                self.move_values();
            }
            return;
        }
        if !self.evacuation.review || self.close_requested {
            return;
        }
        let (used, live) = self.segments.usage(self.checkpoint_at);
        let is_worth_it = used.saturating_sub(live) > MIN_GARBAGE.max(live / 2);
        let next = self.segments.sparse(self.checkpoint_at, &self.evacuation.done);
        let Some(number) = next.filter(|_| is_worth_it && self.evacuation.done.len() < MAX_AT_ONCE) else {
            self.evacuation.review = false;
            return;
        };
        let segment = Segment { number, values: Vec::new(), is_read: false, is_loading: false };
        self.evacuation.current = Some(segment);
        let id = self.start(Job::Evacuate(Vec::new()));
        self.ops.push_back(DeviceOp::Replay { id, from: number * SEGMENT, len: SEGMENT });
    }

    /// Gives up on emptying until the next checkpoint: nothing is lost but space.
    pub(super) fn stop_evacuation(&mut self) {
        self.evacuation.current = None;
        self.evacuation.review = false;
    }

    /// Takes the bytes of the segment, or what of the index says which of them are in use.
    pub(super) fn continue_evacuation(&mut self, loaded: Vec<Bytes>, records: &[Missing]) {
        let Some(mut segment) = self.evacuation.current.take() else { return };
        if segment.is_read {
            if !self.load_index(records, loaded) {
                return self.stop_evacuation();
            }
            segment.is_loading = false;
        } else {
            segment.is_read = true;
            self.list_contents(&mut segment, loaded.into_iter().next().unwrap_or_default());
        }
        self.evacuation.current = Some(segment);
    }

    fn list_contents(&mut self, segment: &mut Segment, mut rest: Bytes) {
        let mut at = segment.number * SEGMENT;
        while let Some(record) = record::parse(&rest, at) {
            match record.kind {
                Kind::Part | Kind::Commit => {
                    for (op, offset) in record::parse_ops(&record.payload).unwrap_or_default() {
                        let mut put = |key: Bytes, value: Bytes, offset: usize| {
                            if let (Ok(offset), Ok(len)) = (offset.try_into(), value.len().try_into()) {
                                segment.values.push((key, value, Pointer { record: at, offset, len }));
                            }
                        };
                        match op {
                            Op::Put { key, value } if value.len() > INLINE => put(key, value, offset),
                            Op::PutRun(run) if !is_inline(&run, &(0..run.keys().count())) => {
                                let mut offset = offset;
                                for (key, value) in run.iter() {
                                    let len = value.len();
                                    put(key, value, offset);
                                    offset += len;
                                }
                            }
                            _ => {}
                        }
                    }
                }
                Kind::Leaf => {
                    self.note_index(Leaf::parse(record.payload.clone()).and_then(|leaf| leaf.first()), at)
                }
                Kind::Manifest => {
                    let leaves = manifest::decode_branch(&record.payload);
                    self.note_index(leaves.map(|leaves| leaves[0].first.clone()), at);
                }
                Kind::GivenUp => {}
            }
            let len = record::HEADER + record.payload.len();
            rest = rest.slice(len..);
            at += len as u64;
        }
    }

    fn note_index(&mut self, first: Option<Bytes>, address: u64) {
        // A copy: a slice would keep the whole segment in memory.
        self.evacuation.index.extend(first.map(|first| (Bytes::copy_from_slice(&first), address)));
    }

    /// Writes anew what of the segment is still in use.
    fn move_values(&mut self) {
        let Some(mut segment) = self.evacuation.current.take() else { return };
        let mut missing = Vec::new();
        let mut ops = Vec::new();
        for (key, value, pointer) in &segment.values {
            match self.find(key) {
                Ok(Some(Slot::Pointer(found))) if found == *pointer => {
                    ops.push(Op::Put { key: key.clone(), value: value.clone() });
                }
                Ok(_) => {}
                Err(record) => missing.push(record),
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            segment.is_loading = true;
            self.evacuation.current = Some(segment);
            let parts = whole_parts(&missing);
            let id = self.start(Job::Evacuate(missing));
            return self.ops.push_back(DeviceOp::Read { id, parts });
        }
        self.evacuation.done.insert(segment.number);
        if ops.is_empty() {
            return;
        }
        self.write_commit(Batch { ops }, false, Job::Moved);
    }

    /// To be called when a checkpoint is done.
    pub(super) fn review_evacuation(&mut self) {
        self.evacuation.done.clear();
        self.evacuation.review = true;
    }
}
