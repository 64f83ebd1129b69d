//! Commits: a batch cut into records, and the index made to show what stands in them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::LogStore;
use super::index::StoredRun;
use super::leaf::{Pointer, Slot};
use super::record::{self, Kind};
use crate::storage::run::{Packed, Run};
use crate::storage::{Batch, Op};

impl LogStore {
    /// Cuts a batch into records, and makes the index say where its values will be.
    pub(super) fn encode_commit(&mut self, batch: Batch, records: &mut Vec<(u64, Bytes)>) {
        let mut left: usize = batch.ops.iter().map(op_size).sum();
        let mut ops = batch.ops.into_iter();
        // The op that comes next, and how many values of it, if it is a run, are written.
        let mut next = ops.next().map(|op| (op, 0));
        loop {
            let target = self.record_room();
            let mut bytes = record::begin_in(self.spare.pop().unwrap_or_default(), left.min(target));
            let mut placed = Vec::with_capacity((ops.len() + 1).min(MAX_PLACED));
            while let Some((op, from)) = next.take() {
                let room = (bytes.len() > record::HEADER).then(|| target.saturating_sub(bytes.len()));
                let Some(part) = fitting(&op, from, target, room) else {
                    next = Some((op, from));
                    break;
                };
                next = match &op {
                    Op::PutRun(run) if part.end < run.keys().count() => {
                        Some((Op::PutRun(Arc::clone(run)), part.end))
                    }
                    _ => ops.next().map(|op| (op, 0)),
                };
                let value_at = record::push_op(&mut bytes, &op, &part);
                placed.push(Placed { op, part, value_at });
            }
            left = left.saturating_sub(bytes.len());
            let address = self.place(bytes.len() as u64);
            self.seal(&mut bytes, if next.is_none() { Kind::Commit } else { Kind::Part }, address);
            self.apply(placed, address);
            records.push((address, Bytes::from(bytes)));
            if next.is_none() {
                return;
            }
        }
    }

    /// Makes the index show the operations of the record at `address`.
    pub(super) fn apply(&mut self, placed: Vec<Placed>, address: u64) {
        // Small values are copied into one buffer: slices would keep the whole batch in memory.
        let mut bytes = Vec::with_capacity(placed.iter().map(|placed| kept_len(&placed.op)).sum());
        for Placed { op, .. } in &placed {
            match op {
                Op::Put { value, .. } => {
                    bytes.extend_from_slice(if value.len() <= INLINE { &value[..] } else { &[] });
                }
                Op::DeleteRange { start, end } => {
                    bytes.extend_from_slice(start);
                    bytes.extend_from_slice(end);
                }
                Op::Delete { .. } | Op::PutRun(_) => {}
            }
        }
        let mut kept = Bytes::from(bytes);
        let mut keep = |bytes: Bytes| kept.split_to(bytes.len());
        for Placed { op, part, value_at } in placed {
            let replaced = match op {
                Op::Put { key, value } => {
                    let slot = if value.len() <= INLINE {
                        Slot::Inline(keep(value))
                    } else {
                        let len = u32::try_from(value.len()).expect("blocks are bounded");
                        self.segments.add_live(address, u64::from(len));
                        let offset = u32::try_from(value_at).expect("records are bounded");
                        Slot::Pointer(Pointer { record: address, offset, len })
                    };
                    self.memtable.insert(&key, Some(slot))
                }
                Op::Delete { key } => self.memtable.insert(&key, None),
                Op::DeleteRange { start, end } => {
                    let (start, end) = (keep(start), keep(end));
                    let replaced = self.memtable.clear(start, end);
                    replaced.iter().for_each(|slot| self.forget(slot));
                    None
                }
                Op::PutRun(run) => {
                    self.apply_run(&run, &part, address, value_at);
                    None
                }
            };
            if let Some(slot) = replaced {
                self.forget(&slot);
            }
        }
    }

    fn apply_run(&mut self, run: &Run, part: &Range<usize>, address: u64, value_at: usize) {
        let mut end = 0_u32;
        let ends = part.clone().map(|at| {
            end += u32::try_from(run.bytes(at).len()).expect("records are bounded");
            end
        });
        let ends: Vec<u32> = ends.collect();
        let stored = if is_inline(run, part) {
            let mut bytes = Vec::with_capacity(end as usize);
            run.pieces(part.clone()).for_each(|piece| bytes.extend_from_slice(piece));
            StoredRun::Inline(Packed { bytes: bytes.into(), ends })
        } else {
            self.segments.add_live(address, u64::from(end));
            let offset = u32::try_from(value_at).expect("records are bounded");
            StoredRun::Log { record: address, offset, ends }
        };
        let replaced = self.memtable.insert_run(run.keys().part(part), stored);
        replaced.iter().for_each(|slot| self.forget(slot));
    }
}

/// An operation that stands in a record.
#[derive(Debug)]
pub(super) struct Placed {
    pub op: Op,
    /// Of a run: the positions of its values that stand there.
    pub part: Range<usize>,
    /// Where its value, or the first of them, stands in the record.
    pub value_at: usize,
}

/// What of an operation comes next, if it fits into what is left of a record; an empty record takes at least something, and
/// of a run no more than fits.
fn fitting(op: &Op, from: usize, target: usize, room: Option<usize>) -> Option<Range<usize>> {
    let Op::PutRun(run) = op else { return room.is_none_or(|room| op_size(op) <= room).then_some(0..0) };
    let empty = target.saturating_sub(record::HEADER);
    let mut left = room.unwrap_or(empty).saturating_sub(FRAMING + run.keys().prefix().len());
    let fits = |at: &usize| {
        let size = RUN_FRAMING + run.bytes(*at).len();
        let fits = size <= left || (room.is_none() && *at == from);
        left = left.saturating_sub(size);
        fits
    };
    let end = from + (from..run.keys().count()).take_while(fits).count();
    (end > from).then_some(from..end)
}

/// Whether values of a run stand in the index: all of them or none.
pub(super) fn is_inline(run: &Run, part: &Range<usize>) -> bool {
    part.clone().all(|at| run.bytes(at).len() <= INLINE)
}

pub(super) fn op_key_len(op: &Op) -> usize {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key.len(),
        Op::PutRun(run) => run.keys().key(run.keys().count() - 1).len(),
        Op::DeleteRange { start, end } => start.len().max(end.len()),
    }
}

/// Bytes of an operation that stay in memory.
fn kept_len(op: &Op) -> usize {
    match op {
        Op::Put { value, .. } if value.len() <= INLINE => value.len(),
        Op::Put { .. } | Op::PutRun(_) | Op::Delete { .. } => 0,
        Op::DeleteRange { start, end } => start.len() + end.len(),
    }
}

/// Upper bound of an encoded operation.
fn op_size(op: &Op) -> usize {
    FRAMING
        + match op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::PutRun(run) => run.keys().prefix().len() + RUN_FRAMING * run.keys().count() + run.len(),
            Op::Delete { key } => key.len(),
            Op::DeleteRange { start, end } => start.len() + end.len(),
        }
}

/// Most bytes of an encoded operation besides keys and values.
const FRAMING: usize = 28;

/// Most bytes of a value's length.
const RUN_FRAMING: usize = 9;

/// Values up to this many bytes stand beside their key.
pub(super) const INLINE: usize = 160;

/// Operations of one record that room is made for in advance.
const MAX_PLACED: usize = 4096;
