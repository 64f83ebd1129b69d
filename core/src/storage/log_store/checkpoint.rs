//! Checkpoints: the newer entries merged into the leaves that they touch, then the branches of these, a manifest and a header.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::fences::{Branch, Fence, Fences, IndexRecord, Missing};
use super::leaf::{Leaf, LeafBuilder};
use super::manifest::{self, Header};
use super::record::{self, Kind};
use super::segments::{SEGMENT, Segments};
use super::{DeviceOp, DeviceReply, Job, LogStore, Memtable, Phase, index, whole_parts};
use crate::collections::BTreeSet;
use crate::error::StorageFailure;

/// Bytes at which a leaf is closed.
pub(super) const LEAF_TARGET: usize = 16 << 10;
/// Leaves, or branches, loaded at once.
const BATCH: usize = 64;
/// Bytes of new leaves written at once.
const WRITE_TARGET: usize = 2 << 20;
/// Bytes by which placing a manifest can lengthen it: one entry for each segment that it takes, and one more.
fn slack(len: usize) -> usize {
    const ENTRY: usize = 36;
    ENTRY * (len / (SEGMENT as usize) + 3)
}

/// About what a leaf takes in a list.
fn fence_size(fence: &Fence) -> usize {
    fence.first.len() + 16
}

/// A checkpoint under way.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The old leaf that comes next: its branch, and its place there.
    next: (usize, usize),
    /// The branches of the new index so far.
    branches: Vec<Branch>,
    /// The leaves behind them.
    leaves: Vec<Fence>,
    builder: LeafBuilder,
    /// New leaves not handed to the device yet, and their bytes.
    records: Vec<(u64, Bytes)>,
    pending: usize,
    /// Old leaves and branches asked for.
    loading: Vec<Missing>,
    /// Those to write anew although nothing in them changed, by their first key: their segments shall become free.
    forced: BTreeSet<(Bytes, u64)>,
    /// Whether nothing may be written before its header.
    is_exclusive: bool,
    stage: Stage,
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Leaves,
    /// The header is being written.
    Manifest { manifest: IndexRecord },
}

impl Checkpoint {
    fn push_branch(&mut self, mut branch: Branch) {
        if self.branches.is_empty() {
            branch.begin_with_everything();
        }
        self.branches.push(branch);
    }

    /// Records to write anew whose first key lies from `first` to before `next`.
    fn forced_in(&self, first: &Bytes, next: Option<&Bytes>) -> impl Iterator<Item = u64> {
        let end = next.map_or(Bound::Unbounded, |next| Bound::Excluded((next.clone(), 0)));
        self.forced.range((Bound::Included((first.clone(), 0)), end)).map(|(_, record)| *record)
    }

    /// Whether all but the header is written.
    pub(super) fn waits_for_header(&self) -> bool {
        matches!(self.stage, Stage::Manifest { .. })
    }
}

impl LogStore {
    pub(super) fn begin_checkpoint(&mut self) {
        let forced = core::mem::take(&mut self.evacuation.index);
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
                if self.load_index(&records, loaded) {
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
        self.headers = (self.headers + 1).min(2);
        // While there is one only, and it may be damaged, all of the log has to be there.
        self.may_give_up = self.headers == 2;
    }

    fn resume(&mut self) {
        self.phase = Phase::Open { writing: false };
        self.review_evacuation();
    }

    fn merge_leaves(&mut self, mut checkpoint: Checkpoint) {
        if self.fences.branches().is_empty() {
            self.push_entries(&mut checkpoint, None, &[], None);
        }
        while let Some(branch) = self.fences.branches().get(checkpoint.next.0) {
            if checkpoint.pending >= WRITE_TARGET {
                return self.write_leaves(checkpoint);
            }
            if checkpoint.next.1 == 0 && self.branch_is_touched(&checkpoint, checkpoint.next.0) == Some(false)
            {
                let branch = branch.clone();
                self.finish_leaf(&mut checkpoint);
                self.finish_branches(&mut checkpoint);
                checkpoint.push_branch(branch);
                checkpoint.next.0 += 1;
                continue;
            }
            if branch.missing().is_some() {
                return self.load_touched(checkpoint);
            }
            let Some(span) = self.fences.span(checkpoint.next.0, checkpoint.next.1) else {
                if let Some((record, len)) = branch.record {
                    self.segments.remove_live(record, u64::from(len));
                }
                checkpoint.next = (checkpoint.next.0 + 1, 0);
                continue;
            };
            let fence = span.fence.clone();
            checkpoint.next.1 += 1;
            if !self.is_touched(&checkpoint, &fence.first, span.next, fence.record.0) {
                self.finish_leaf(&mut checkpoint);
                checkpoint.leaves.push(fence);
                continue;
            }
            let Some(leaf) = self.cache.get(fence.record.0).cloned() else {
                checkpoint.next.1 -= 1;
                return self.load_touched(checkpoint);
            };
            let next = span.next.cloned();
            self.push_entries(&mut checkpoint, Some(&leaf), &fence.first, next.as_deref());
            self.segments.remove_live(fence.record.0, u64::from(fence.record.1));
        }
        self.finish_leaf(&mut checkpoint);
        self.finish_branches(&mut checkpoint);
        self.write_manifest(checkpoint);
    }

    /// Whether what stands at `record` and has these keys is to be written anew.
    fn is_touched(&self, checkpoint: &Checkpoint, first: &Bytes, next: Option<&Bytes>, record: u64) -> bool {
        self.memtable.touches(first, next.map(|next| &next[..]))
            || checkpoint.forced_in(first, next).any(|forced| forced == record)
    }

    /// Whether a branch or a leaf of it is to be written anew; `None` when that shows in the branch only.
    fn branch_is_touched(&self, checkpoint: &Checkpoint, at: usize) -> Option<bool> {
        let (branch, next) = (&self.fences.branches()[at], self.fences.end(at));
        // The leaves of the manifest may have become too many for it.
        let Some((record, _)) = branch.record else { return Some(true) };
        if self.is_touched(checkpoint, &branch.first, next, record) {
            return Some(true);
        }
        if checkpoint.forced_in(&branch.first, next).next().is_none() {
            return Some(false);
        }
        let leaves = branch.leaves.as_ref()?;
        let is_forced =
            |leaf: &Fence| checkpoint.forced_in(&leaf.first, next).any(|forced| forced == leaf.record.0);
        Some(leaves.iter().any(is_forced))
    }

    /// Asks for what the next steps need: leaves of a branch, or that one and others behind it.
    fn load_touched(&mut self, mut checkpoint: Checkpoint) {
        let (at, from) = checkpoint.next;
        let branches = self.fences.branches();
        checkpoint.loading = if branches[at].missing().is_some() {
            let touched =
                (at..branches.len()).filter(|&at| self.branch_is_touched(&checkpoint, at) != Some(false));
            touched.take(BATCH).filter_map(|at| branches[at].missing()).collect()
        } else {
            let leaves = (from..).map_while(|leaf| self.fences.span(at, leaf));
            leaves
                .filter(|span| {
                    self.is_touched(&checkpoint, &span.fence.first, span.next, span.fence.record.0)
                })
                .take(BATCH)
                .map(|span| (Kind::Leaf, span.fence.record))
                .filter(|(_, (record, _))| !self.cache.contains(*record))
                .collect()
        };
        let parts = whole_parts(&checkpoint.loading);
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
        checkpoint.leaves.push(Fence { first, record: (address, len) });
        checkpoint.pending += bytes.len();
        checkpoint.records.push((address, bytes));
    }

    /// Makes branches of the leaves so far, of about the same length each. If they are all there are, and few, the manifest
    /// has them.
    fn finish_branches(&mut self, checkpoint: &mut Checkpoint) {
        let leaves = core::mem::take(&mut checkpoint.leaves);
        let mut left: usize = leaves.iter().map(fence_size).sum();
        let is_all = checkpoint.branches.is_empty() && checkpoint.next.0 >= self.fences.branches().len();
        let mut parts = left.div_ceil(self.branch_limit.max(1));
        let in_manifest = is_all && parts == 1;
        let mut leaves = leaves.into_iter().peekable();
        while leaves.peek().is_some() {
            let (mut size, target) = (0, left / parts.max(1));
            let mut part = Vec::new();
            while let Some(leaf) = leaves.next_if(|_| part.is_empty() || size < target) {
                size += fence_size(&leaf);
                part.push(leaf);
            }
            left = left.saturating_sub(size);
            parts = parts.saturating_sub(1);
            let record = (!in_manifest).then(|| self.write_branch(checkpoint, &part));
            let first = part[0].first.clone();
            checkpoint.push_branch(Branch { first, record, leaves: Some(Arc::new(part)) });
        }
    }

    fn write_branch(&mut self, checkpoint: &mut Checkpoint, leaves: &[Fence]) -> IndexRecord {
        let mut bytes = record::begin(0);
        manifest::encode_branch(&mut bytes, leaves);
        let address = self.place(bytes.len() as u64);
        self.seal(&mut bytes, Kind::Manifest, address);
        let len = u32::try_from(bytes.len() - record::HEADER).expect("branches are bounded");
        self.segments.add_live(address, u64::from(len));
        checkpoint.pending += bytes.len();
        checkpoint.records.push((address, Bytes::from(bytes)));
        (address, len)
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
        self.fences = Fences::new(core::mem::take(&mut checkpoint.branches));
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

        let mut bytes = record::begin(room);
        manifest::encode(&mut bytes, &self.fences, &self.segments);
        self.segments.condemn(self.tail);
        self.may_give_up = false;
        debug_assert!(bytes.len() <= room, "the slack covers what placing added");
        bytes.resize(room, 0);
        self.seal(&mut bytes, Kind::Manifest, address);
        records.push((address, Bytes::from(bytes)));

        self.checkpoint_at = self.tail;
        let manifest = (address, len);
        let header = self.header(self.generation + 1, manifest).expect("placed above");
        checkpoint.stage = Stage::Manifest { manifest };
        self.phase = Phase::Checkpoint(checkpoint);
        let id = self.start(Job::Checkpoint);
        let header = Some(header);
        self.ops.push_back(DeviceOp::Write { id, records, durable: true, header, free: Vec::new() });
    }

    /// The header of the last checkpoint, with its place.
    pub(super) fn header(&self, generation: u64, manifest: IndexRecord) -> Option<(u8, Bytes)> {
        let header = Header {
            generation,
            manifest: manifest.0,
            manifest_len: manifest.1,
            replay_from: self.checkpoint_at,
            manifest_slot: self.segments.slot_of(manifest.0)?,
        };
        Some((u8::from(generation % 2 == 1), header.encode()))
    }
}
