//! Checkpoints: the newer entries merged into the leaves that they touch, then a manifest and a header.

use alloc::vec::Vec;

use bytes::Bytes;

use super::leaf::{Leaf, LeafBuilder};
use super::manifest::{self, Fence, Header};
use super::record::{self, Kind};
use super::segments::{SEGMENT, Segments};
use super::{DeviceOp, DeviceReply, Job, LogStore, Memtable, Phase, index, leaf_parts};
use crate::collections::BTreeSet;
use crate::error::StorageFailure;

/// Bytes at which a leaf is closed.
pub(super) const LEAF_TARGET: usize = 16 << 10;
/// Leaves loaded at once.
const BATCH: usize = 64;
/// Bytes of new leaves written at once.
const WRITE_TARGET: usize = 2 << 20;
/// Bytes by which placing a manifest can lengthen it: one entry for each segment that it takes, and one more.
fn slack(len: usize) -> usize {
    const ENTRY: usize = 36;
    ENTRY * (len / (SEGMENT as usize) + 3)
}

/// A checkpoint under way.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The old leaf that comes next.
    next: usize,
    /// The leaves of the new index so far.
    fences: Vec<Fence>,
    builder: LeafBuilder,
    /// New leaves not handed to the device yet, and their bytes.
    records: Vec<(u64, Bytes)>,
    pending: usize,
    /// Old leaves asked for.
    loading: Vec<(u64, u32)>,
    /// Old leaves to write anew although nothing in them changed: their segments shall become free.
    forced: BTreeSet<u64>,
    /// Whether nothing may be written before its header.
    is_exclusive: bool,
    stage: Stage,
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Leaves,
    /// The header is being written.
    Manifest { manifest: (u64, u32) },
}

impl Checkpoint {
    /// Whether all but the header is written.
    pub(super) fn waits_for_header(&self) -> bool {
        matches!(self.stage, Stage::Manifest { .. })
    }
}

impl LogStore {
    pub(super) fn begin_checkpoint(&mut self) {
        let forced = core::mem::take(&mut self.evacuation.leaves);
        self.merge_leaves(Checkpoint { forced, ..Checkpoint::default() });
    }

    /// As [`begin_checkpoint`](Self::begin_checkpoint), and lets nothing be written before its header is.
    pub(super) fn begin_exclusive_checkpoint(&mut self) {
        self.merge_leaves(Checkpoint { is_exclusive: true, ..Checkpoint::default() });
    }

    /// Goes on with a checkpoint after an answer of the device.
    pub(super) fn continue_checkpoint(&mut self, reply: DeviceReply) {
        let Phase::Checkpoint(checkpoint) = &mut self.phase else { return };
        let mut checkpoint = core::mem::take(checkpoint);
        match (&checkpoint.stage, reply) {
            (Stage::Manifest { manifest }, DeviceReply::Written) => {
                self.manifest = Some(*manifest);
                self.published();
                self.resume();
            }
            (Stage::Leaves, DeviceReply::Written) => self.merge_leaves(checkpoint),
            (Stage::Leaves, DeviceReply::Bytes(loaded)) => {
                let records = core::mem::take(&mut checkpoint.loading);
                if self.load_leaves(&records, loaded) {
                    self.merge_leaves(checkpoint);
                } else {
                    self.phase = Phase::Failed(StorageFailure::Corrupted);
                }
            }
            _ => self.phase = Phase::Failed(StorageFailure::Corrupted),
        }
    }

    /// Goes on with commits while the header is on its way to the disk: until it is there, the log is replayed from the
    /// checkpoint before, leaves and manifest of this one included.
    pub(super) fn begin_publishing(&mut self, op: u64) {
        let Phase::Checkpoint(Checkpoint { stage: Stage::Manifest { manifest }, is_exclusive, .. }) =
            &self.phase
        else {
            self.phase = Phase::Failed(StorageFailure::Corrupted);
            return;
        };
        if *is_exclusive || (manifest.1 as usize + record::HEADER) as u64 > SEGMENT {
            // It, or what follows, does not stand where a replay would look for it.
            self.jobs.insert(op, Job::Checkpoint);
            return;
        }
        self.manifest = Some(*manifest);
        self.jobs.insert(op, Job::Publish);
        self.is_publishing = true;
        self.resume();
    }

    /// Takes note that the header is on the disk.
    pub(super) fn published(&mut self) {
        self.generation += 1;
        self.is_publishing = false;
        self.may_give_up = true;
    }

    fn resume(&mut self) {
        self.phase = Phase::Open { writing: false };
        self.review_evacuation();
    }

    fn merge_leaves(&mut self, mut checkpoint: Checkpoint) {
        if self.fences.is_empty() {
            self.push_entries(&mut checkpoint, None, &[], None);
        }
        while checkpoint.next < self.fences.len() {
            if checkpoint.pending >= WRITE_TARGET {
                return self.write_leaves(checkpoint);
            }
            let at = checkpoint.next;
            if !self.is_touched(&checkpoint, at) {
                self.finish_leaf(&mut checkpoint);
                checkpoint.fences.push(self.fences[at].clone());
                checkpoint.next += 1;
                continue;
            }
            let record = self.fences[at].record;
            let Some(leaf) = self.cache.get(record).cloned() else {
                return self.load_touched(checkpoint);
            };
            let (first, next) = index::interval(&self.fences, at);
            let (first, next) = (first.clone(), next.cloned());
            self.push_entries(&mut checkpoint, Some(&leaf), &first, next.as_deref());
            self.segments.remove_live(record, u64::from(self.fences[at].len));
            checkpoint.next += 1;
        }
        self.finish_leaf(&mut checkpoint);
        self.write_manifest(checkpoint);
    }

    fn is_touched(&self, checkpoint: &Checkpoint, at: usize) -> bool {
        let (first, next) = index::interval(&self.fences, at);
        self.memtable.touches(first, next.map(|next| &next[..]))
            || checkpoint.forced.contains(&self.fences[at].record)
    }

    fn load_touched(&mut self, mut checkpoint: Checkpoint) {
        checkpoint.loading = (checkpoint.next..self.fences.len())
            .filter(|&at| self.is_touched(&checkpoint, at))
            .take(BATCH)
            .filter(|&at| !self.cache.contains(self.fences[at].record))
            .map(|at| (self.fences[at].record, self.fences[at].len))
            .collect();
        let parts = leaf_parts(&checkpoint.loading);
        self.phase = Phase::Checkpoint(checkpoint);
        let id = self.start(Job::Checkpoint);
        self.ops.push_back(DeviceOp::Read { id, parts });
    }

    /// Adds the entries of one interval to the new leaves, and counts as dead what they replace.
    fn push_entries(
        &mut self,
        checkpoint: &mut Checkpoint,
        leaf: Option<&Leaf>,
        start: &[u8],
        end: Option<&[u8]>,
    ) {
        if let Some(leaf) = leaf {
            for (key, slot) in (0..leaf.len()).map(|at| leaf.entry(at)) {
                if self.memtable.knows(&key) {
                    self.forget(&slot);
                }
            }
        }
        let memtable = core::mem::take(&mut self.memtable);
        index::merge(&memtable, leaf, start, end, &mut |key, slot| {
            checkpoint.builder.push(key, slot);
            if checkpoint.builder.size() >= LEAF_TARGET {
                self.finish_leaf(checkpoint);
            }
        });
        self.memtable = memtable;
    }

    fn finish_leaf(&mut self, checkpoint: &mut Checkpoint) {
        if checkpoint.builder.is_empty() {
            return;
        }
        let count = checkpoint.builder.len();
        let mut bytes = record::begin(checkpoint.builder.size());
        let first = Bytes::copy_from_slice(&checkpoint.builder.finish(&mut bytes));
        let address = self.place(bytes.len() as u64);
        self.seal(&mut bytes, Kind::Leaf, address);
        let bytes = Bytes::from(bytes);
        let len = u32::try_from(bytes.len() - record::HEADER).expect("leaves are bounded");
        self.segments.add_live(address, u64::from(len));
        self.cache.insert(address, Leaf::built(bytes.slice(record::HEADER..), count));
        checkpoint.fences.push(Fence { first, record: address, len });
        checkpoint.pending += bytes.len();
        checkpoint.records.push((address, bytes));
    }

    fn write_leaves(&mut self, mut checkpoint: Checkpoint) {
        let records = core::mem::take(&mut checkpoint.records);
        checkpoint.pending = 0;
        self.phase = Phase::Checkpoint(checkpoint);
        let id = self.start(Job::Checkpoint);
        self.ops.push_back(DeviceOp::Write { id, records, durable: false, header: None, free: Vec::new() });
    }

    fn write_manifest(&mut self, mut checkpoint: Checkpoint) {
        let mut records = core::mem::take(&mut checkpoint.records);
        self.fences = core::mem::take(&mut checkpoint.fences);
        if let Some(first) = self.fences.first_mut() {
            first.first = Bytes::new();
        }
        self.memtable = Memtable::default();
        if let Some((record, len)) = self.manifest {
            self.segments.remove_live(record, u64::from(len));
        }

        let mut bytes = record::begin(0);
        manifest::encode(&mut bytes, &self.fences, &self.segments);
        let room = bytes.len() + slack(bytes.len());
        let address = self.segments.place_in_a_row(self.tail, room as u64);
        self.tail = Segments::after(address, room as u64);
        let len = u32::try_from(room - record::HEADER).expect("manifests are bounded");
        self.segments.add_live(address, u64::from(len));
        let manifest_slot = self.segments.slot_of(address).expect("placed above");

        let mut bytes = record::begin(room);
        manifest::encode(&mut bytes, &self.fences, &self.segments);
        self.segments.condemn(self.tail);
        self.may_give_up = false;
        debug_assert!(bytes.len() <= room, "the slack covers what placing added");
        bytes.resize(room, 0);
        self.seal(&mut bytes, Kind::Manifest, address);
        records.push((address, Bytes::from(bytes)));

        self.checkpoint_at = self.tail;
        let header = Header {
            generation: self.generation + 1,
            manifest: address,
            manifest_len: len,
            replay_from: self.tail,
            manifest_slot,
        };
        let place = u8::from(header.generation % 2 == 1);
        checkpoint.stage = Stage::Manifest { manifest: (address, len) };
        self.phase = Phase::Checkpoint(checkpoint);
        let id = self.start(Job::Checkpoint);
        let header = Some((place, header.encode()));
        self.ops.push_back(DeviceOp::Write { id, records, durable: true, header, free: Vec::new() });
    }
}
