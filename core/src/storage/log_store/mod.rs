//! A key-value store in one append-only log, for hosts that have a file or a table of records.
//!
//! Commits are appended as records with their values; an index of sorted leaves, rewritten where it changed, says
//! where each value stands. Opening reads the header, the manifest and the commits since the last checkpoint,
//! whatever the size of the store. Segments whose bytes are all dead are used again.
//!
//! The machine performs no I/O: it turns each [`Intent`] into [`DeviceOp`]s and their answers into an [`Outcome`].
//! A device is a file (synchronous handle, [`LogStore::locate`] gives the places) or a table whose rows are records
//! keyed by address (IndexedDB).
//!
//! Sources: Rosenblum and Ousterhout, "The design and implementation of a log-structured file system" (1992);
//! Lu et al., "WiscKey: separating keys from values in SSD-conscious storage" (2016).

mod checkpoint;
mod commit;
mod device;
mod evacuate;
mod fences;
mod file;
mod index;
mod key;
mod leaf;
mod manifest;
mod record;
mod recovery;
mod segments;
mod takeover;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use self::checkpoint::Checkpoint;
use self::commit::op_key_len;
use self::evacuate::Evacuation;
use self::fences::{Fences, IndexRecord, Missing};
use self::index::{LeafCache, Memtable};
use self::leaf::{Leaf, Slot};
use self::record::Kind;
use self::recovery::Recovery;
use self::segments::{SEGMENT, Segments};
use self::takeover::Reservation;
use crate::collections::BTreeMap;
use crate::error::StorageFailure;
use crate::storage::{Batch, CommitId, Durability, Intent, Outcome, Owner, ReadId};

pub use self::device::{DeviceOp, DeviceReply, Part};
pub use self::file::{FileStore, SyncFile};
pub use self::manifest::HEADER_LEN;

/// The machine. The device carries out its ops in the order given, or as if. Drain [`poll_op`](Self::poll_op) and [`poll_outcome`](Self::poll_outcome) after every call.
#[derive(Debug)]
pub struct LogStore {
    phase: Phase,
    owner: Option<Owner>,
    /// Where the next record goes, before [`Segments::place`].
    tail: u64,
    epoch: u32,
    /// Checksum of the last record.
    previous: u32,
    generation: u64,
    /// Headers on the disk, two at most.
    headers: usize,
    /// The manifest in force: address and bytes of its payload.
    manifest: Option<IndexRecord>,
    memtable: Memtable,
    fences: Fences,
    segments: Segments,
    /// While opening: the places of segments that are not known to be in use.
    lookahead: Option<Segments>,
    cache: LeafCache,
    /// Intents not started, in order.
    queue: VecDeque<Intent>,
    jobs: BTreeMap<u64, Job>,
    next_op: u64,
    ops: VecDeque<DeviceOp>,
    outcomes: VecDeque<Outcome>,
    /// Where the log ended at the last checkpoint.
    checkpoint_at: u64,
    /// Whether the header of that checkpoint is still on its way to the disk.
    is_publishing: bool,
    /// Checkpoints' worth of log that may be written while the header of the last one is on its way to the disk.
    max_behind: u64,
    /// Whether it is on the disk, and the segments that the checkpoint condemned are still in use.
    may_give_up: bool,
    evacuation: Evacuation,
    /// If somebody else may be in the middle of a write, and nothing was written here yet: segments that the file has room for, the
    /// last one perhaps not wholly.
    takeover: Option<u64>,
    reservation: Option<Reservation>,
    close_requested: bool,
    /// Memory of records that were written.
    spare: Vec<Vec<u8>>,
    /// Estimated bytes of newer entries that start a checkpoint.
    memtable_limit: usize,
    /// Estimated bytes of the longest branch.
    branch_limit: usize,
}

#[derive(Debug)]
enum Phase {
    /// Waiting for whoever it is for.
    Unclaimed,
    Recovering(Recovery),
    /// Serving; at most one commit in flight.
    Open {
        writing: bool,
    },
    /// Writing leaves; commits wait, reads go on.
    Checkpoint(Checkpoint),
    Failed(StorageFailure),
    Closed,
}

/// What an answer of the device belongs to.
#[derive(Debug)]
enum Job {
    Claim(CommitId),
    Recover,
    Commit(CommitId),
    Checkpoint,
    /// The header of a checkpoint whose records are written.
    Publish,
    /// Leaves, and branches of them, for a read or a scan.
    Index {
        intent: Intent,
        records: Vec<Missing>,
    },
    /// Values of a read: those that are known, with holes to fill in order.
    Values {
        id: ReadId,
        values: Vec<Option<Bytes>>,
        holes: Vec<usize>,
    },
    ScanValues {
        id: ReadId,
        entries: Vec<(Bytes, Bytes)>,
        holes: Vec<usize>,
        more: bool,
    },
    /// The segment being emptied, or the leaves that say what of it is in use.
    Evacuate(Vec<Missing>),
    /// Values of the emptied segment at their new place.
    Moved,
}

/// A commit's records fill segments: what a table is given in few rows it takes far sooner. What is left of a segment is not worth a
/// record when it has fewer bytes than this.
const RECORD_LEAST: u64 = 128 << 10;
/// Estimated bytes of newer entries that start a checkpoint.
const MEMTABLE_LIMIT: usize = 8 << 20;
/// Estimated bytes of the longest branch, or of the longest list of leaves in a manifest.
const BRANCH_LIMIT: usize = 12 << 10;
/// Bytes of log since the last checkpoint that start one, so that opening replays little.
const REPLAY_LIMIT: u64 = 16 << 20;
/// Records whose memory is kept, a mebibyte each.
const MAX_SPARE: usize = 4;
/// Bytes of a record whose memory is worth keeping.
const SPARE_LEAST: usize = 64 << 10;
/// Leaves kept in memory; at [`checkpoint::LEAF_TARGET`] bytes each, 16 MiB.
const CACHED_LEAVES: usize = 1024;
/// Longest key, bytes: its length is stored in two.
const MAX_KEY: usize = u16::MAX as usize;

impl LogStore {
    /// Opens what is on the device once it is claimed; intents may be handed in at once.
    pub fn new() -> Self {
        LogStore {
            phase: Phase::Unclaimed,
            owner: None,
            tail: 0,
            epoch: 0,
            previous: 0,
            generation: 0,
            headers: 0,
            manifest: None,
            memtable: Memtable::default(),
            fences: Fences::default(),
            segments: Segments::default(),
            lookahead: None,
            cache: LeafCache::new(CACHED_LEAVES),
            queue: VecDeque::new(),
            jobs: BTreeMap::new(),
            next_op: 0,
            ops: VecDeque::new(),
            outcomes: VecDeque::new(),
            checkpoint_at: 0,
            is_publishing: false,
            max_behind: 1,
            may_give_up: false,
            evacuation: Evacuation::default(),
            takeover: None,
            reservation: None,
            close_requested: false,
            spare: Vec::new(),
            memtable_limit: MEMTABLE_LIMIT,
            branch_limit: BRANCH_LIMIT,
        }
    }

    /// Takes an intent; its outcome comes from [`poll_outcome`](Self::poll_outcome).
    pub fn handle_intent(&mut self, intent: Intent) {
        self.queue.push_back(intent);
        self.advance();
    }

    /// Takes the device's answer to an op. Answers to unknown ops are ignored.
    pub fn handle_reply(&mut self, id: u64, reply: DeviceReply) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let reply = match reply {
            DeviceReply::Failed(failure) => return self.fail_job(job, failure),
            reply => reply,
        };
        match (job, reply) {
            (Job::Claim(id), DeviceReply::Written) => {
                self.outcomes.push_back(Outcome::Committed(id));
                let id = self.start(Job::Recover);
                self.ops.push_back(DeviceOp::ReadHeaders { id });
            }
            (Job::Recover, reply) => self.recover(reply),
            (Job::Commit(id), DeviceReply::Written) => {
                self.outcomes.push_back(Outcome::Committed(id));
                self.phase = Phase::Open { writing: false };
            }
            (Job::Checkpoint, DeviceReply::Placed) => self.begin_publishing(id),
            (Job::Checkpoint, reply) => self.continue_checkpoint(reply),
            (Job::Publish, DeviceReply::Written) => self.published(),
            (Job::Moved, DeviceReply::Written) => self.phase = Phase::Open { writing: false },
            (Job::Evacuate(leaves), DeviceReply::Bytes(loaded)) => self.continue_evacuation(loaded, &leaves),
            (Job::Index { intent, records }, DeviceReply::Bytes(loaded)) => {
                if self.load_index(&records, loaded) {
                    self.queue.push_front(intent);
                } else {
                    self.fail_read(&intent, StorageFailure::Corrupted);
                }
            }
            (Job::Values { id, mut values, holes }, DeviceReply::Bytes(bytes))
                if bytes.len() == holes.len() =>
            {
                for (hole, bytes) in holes.into_iter().zip(bytes) {
                    values[hole] = Some(bytes);
                }
                self.outcomes.push_back(Outcome::Read { id, values });
            }
            (Job::ScanValues { id, mut entries, holes, more }, DeviceReply::Bytes(bytes))
                if bytes.len() == holes.len() =>
            {
                for (hole, bytes) in holes.into_iter().zip(bytes) {
                    entries[hole].1 = bytes;
                }
                self.outcomes.push_back(Outcome::Scan { id, entries, more });
            }
            (job, _) => self.fail_job(job, StorageFailure::Corrupted),
        }
        self.advance();
    }

    /// Asks for a last checkpoint, so that the next opening has nothing to replay. [`is_closed`](Self::is_closed)
    /// turns true once it is written; intents handed in afterwards fail.
    pub fn close(&mut self) {
        self.close_requested = true;
        self.advance();
    }

    /// Whether closing is done: the device may be released.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Failed(_)) && self.ops.is_empty()
    }

    /// Returns the next op for the device.
    pub fn poll_op(&mut self) -> Option<DeviceOp> {
        self.ops.pop_front()
    }

    /// Returns the next outcome.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Returns where `len` bytes at `address` of the log stand behind the headers of a file, as offsets in order.
    /// `None` where nothing was written.
    pub fn locate(&self, address: u64, len: u64) -> Option<Vec<Range<u64>>> {
        self.lookahead.as_ref().unwrap_or(&self.segments).locate(address, len)
    }

    /// As [`locate`](Self::locate), of bytes that lie in one segment, as most do: where they begin.
    fn locate_in_segment(&self, address: u64, len: u64) -> Option<u64> {
        self.lookahead.as_ref().unwrap_or(&self.segments).locate_in_segment(address, len)
    }

    /// Whether reads need not wait for anything but their device.
    fn answers_at_once(&self) -> bool {
        let is_open = matches!(self.phase, Phase::Open { .. } | Phase::Checkpoint(_));
        is_open && self.queue.is_empty() && self.ops.is_empty() && self.outcomes.is_empty()
    }

    /// Takes the memory of a record that was written, for the next ones: the system hands out fresh memory page by page.
    pub(super) fn recycle(&mut self, record: Bytes) {
        if self.spare.len() < MAX_SPARE && record.len() >= SPARE_LEAST && record.is_unique() {
            self.spare.push(record.into());
        }
    }

    fn start(&mut self, job: Job) -> u64 {
        self.next_op += 1;
        self.jobs.insert(self.next_op, job);
        self.next_op
    }

    /// Starts whatever can start.
    fn advance(&mut self) {
        loop {
            match &self.phase {
                Phase::Recovering(_) => return,
                Phase::Unclaimed => {
                    let is_claim = |intent: &Intent| matches!(intent, Intent::Claim { .. });
                    match self.queue.iter().position(is_claim).and_then(|at| self.queue.remove(at)) {
                        Some(Intent::Claim { id, owner }) => {
                            self.owner = Some(owner);
                            self.phase = Phase::Recovering(Recovery::default());
                            let id = self.start(Job::Claim(id));
                            self.ops.push_back(DeviceOp::Claim { id, owner });
                        }
                        _ if self.close_requested => self.phase = Phase::Closed,
                        _ => {}
                    }
                    return;
                }
                Phase::Failed(failure) => {
                    let failure = *failure;
                    while let Some(intent) = self.queue.pop_front() {
                        match intent {
                            Intent::Claim { id, .. } | Intent::Commit { id, .. } => {
                                self.refuse_commit(id, failure);
                            }
                            read => self.fail_read(&read, failure),
                        }
                    }
                    return;
                }
                Phase::Closed => {
                    self.phase = Phase::Failed(StorageFailure::Closed);
                    continue;
                }
                Phase::Open { writing: false } if self.takeover.is_some() => self.take_over(),
                Phase::Open { writing: false } if self.checkpoint_is_due() => self.begin_checkpoint(),
                Phase::Open { writing: false } => self.evacuate(),
                Phase::Open { .. } | Phase::Checkpoint(_) => {}
            }
            match &self.phase {
                Phase::Open { writing: false } if self.close_requested && self.queue.is_empty() => {
                    if self.jobs.is_empty() {
                        self.phase = Phase::Closed;
                    }
                    return;
                }
                _ => {}
            }
            let may_write = matches!(self.phase, Phase::Open { writing: false }) && !self.is_held_up();
            // Reads overtake commits that wait: the contract owes no order between them.
            let next =
                self.queue.iter().position(|intent| may_write || !matches!(intent, Intent::Commit { .. }));
            let Some(intent) = next.and_then(|at| self.queue.remove(at)) else { break };
            match intent {
                // One machine is one owner's: it does not know what others did since it read the log.
                Intent::Claim { id, owner } | Intent::Commit { id, owner, .. }
                    if self.owner != Some(owner) =>
                {
                    self.refuse_commit(id, StorageFailure::Fenced);
                }
                Intent::Claim { id, .. } => self.outcomes.push_back(Outcome::Committed(id)),
                Intent::Commit { id, batch, durability, .. } => self.commit(id, batch, durability),
                Intent::Read { id, keys } => self.read(id, keys),
                Intent::Scan { id, start, end, reverse, limit } => self.scan(id, start, end, reverse, limit),
            }
        }
        self.cache.trim();
    }

    pub(super) fn checkpoint_is_due(&self) -> bool {
        if self.is_publishing {
            return false;
        }
        if self.memtable.is_empty() {
            return self.evacuation.needs_checkpoint();
        }
        self.evacuation.needs_checkpoint()
            || self.checkpoints_worth() >= 1
            || (self.close_requested && self.queue.is_empty())
    }

    /// How many checkpoints what was written since the last one is worth.
    fn checkpoints_worth(&self) -> u64 {
        let entries = self.memtable.size() / self.memtable_limit.max(1);
        (entries as u64).max((self.tail - self.checkpoint_at) / REPLAY_LIMIT)
    }

    /// Whether commits wait for the disk: it takes in less than is written.
    fn is_held_up(&self) -> bool {
        self.is_publishing && self.checkpoints_worth() >= self.max_behind
    }

    /// Whether nothing goes on before the header of a checkpoint is on the disk.
    pub(super) fn needs_publication(&self) -> bool {
        let holds_up = match &self.phase {
            // After a failure there is nothing left to publish.
            Phase::Failed(_) => return false,
            Phase::Checkpoint(checkpoint) if checkpoint.waits_for_header() => true,
            _ if self.is_publishing => self.is_held_up(),
            _ => return false,
        };
        self.close_requested || holds_up && !self.queue.is_empty()
    }

    /// Whether nothing may be written any more.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(_))
    }

    fn read(&mut self, id: ReadId, keys: Vec<Bytes>) {
        let mut values = Vec::with_capacity(keys.len());
        let (mut holes, mut parts, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for key in &keys {
            match self.find(key) {
                Err(record) => missing.push(record),
                Ok(None) => values.push(None),
                Ok(Some(Slot::Inline(value))) => values.push(Some(value)),
                Ok(Some(Slot::Pointer(pointer))) => {
                    holes.push(values.len());
                    parts.push(Part { record: pointer.record, offset: pointer.offset, len: pointer.len });
                    values.push(None);
                }
            }
        }
        if !missing.is_empty() {
            return self.request_index(Intent::Read { id, keys }, missing);
        }
        if parts.is_empty() {
            return self.outcomes.push_back(Outcome::Read { id, values });
        }
        let id = self.start(Job::Values { id, values, holes });
        self.ops.push_back(DeviceOp::Read { id, parts });
    }

    /// Returns where the value of a key stands; `Err` with the leaf or the branch that has to be loaded first.
    fn find(&mut self, key: &[u8]) -> Result<Option<Slot>, Missing> {
        if let Some(slot) = self.memtable.get(key) {
            return Ok(slot);
        }
        let Some(record) = self.fences.find(key)? else { return Ok(None) };
        self.cache.get(record.0).map(|leaf| leaf.get(key)).ok_or((Kind::Leaf, record))
    }

    fn scan(&mut self, id: ReadId, start: Bytes, end: Bytes, reverse: bool, limit: u32) {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let found = index::scan(&self.memtable, &self.fences, &mut self.cache, &start..&end, reverse, most);
        let (found, more) = match found {
            Ok(found) => found,
            Err(missing) => {
                return self.request_index(Intent::Scan { id, start, end, reverse, limit }, missing);
            }
        };
        let (mut entries, mut holes, mut parts) = (Vec::with_capacity(found.len()), Vec::new(), Vec::new());
        for (key, slot) in found {
            let value = match slot {
                Slot::Inline(value) => value,
                Slot::Pointer(pointer) => {
                    holes.push(entries.len());
                    parts.push(Part { record: pointer.record, offset: pointer.offset, len: pointer.len });
                    Bytes::new()
                }
            };
            entries.push((key, value));
        }
        if parts.is_empty() {
            return self.outcomes.push_back(Outcome::Scan { id, entries, more });
        }
        let id = self.start(Job::ScanValues { id, entries, holes, more });
        self.ops.push_back(DeviceOp::Read { id, parts });
    }

    fn request_index(&mut self, intent: Intent, mut records: Vec<Missing>) {
        records.sort_unstable();
        records.dedup();
        let parts = whole_parts(&records);
        let id = self.start(Job::Index { intent, records });
        self.ops.push_back(DeviceOp::Read { id, parts });
    }

    /// Takes leaves and branches that were read; false when one is damaged.
    fn load_index(&mut self, records: &[Missing], loaded: Vec<Bytes>) -> bool {
        let take = |(&(kind, (address, _)), bytes): (&Missing, Bytes)| {
            let record = record::parse(&bytes, address).filter(|record| record.kind == kind)?;
            if kind == Kind::Leaf {
                self.cache.insert(address, Leaf::parse(record.payload)?);
                return Some(());
            }
            self.fences.load(address, &record.payload).then_some(())
        };
        records.len() == loaded.len() && records.iter().zip(loaded).try_for_each(take).is_some()
    }

    fn commit(&mut self, id: CommitId, batch: Batch, durability: Durability) {
        if batch.ops.iter().any(|op| op_key_len(op) > MAX_KEY) {
            return self
                .outcomes
                .push_back(Outcome::CommitFailed { id, failure: StorageFailure::KeyTooLong });
        }
        self.write_commit(batch, durability == Durability::Strict, Job::Commit(id));
    }

    /// Appends a batch to the log, behind what it says about segments.
    fn write_commit(&mut self, batch: Batch, durable: bool, job: Job) {
        let mut records = Vec::new();
        let free = self.give_up_segments(&mut records);
        self.encode_commit(batch, &mut records);
        self.phase = Phase::Open { writing: true };
        let id = self.start(job);
        self.ops.push_back(DeviceOp::Write { id, records, durable, header: None, free });
    }

    /// Gives up the segments that nothing on the disk refers to any more, and notes it in the log: whoever opens the store
    /// has to come to the same places for the segments that follow.
    fn give_up_segments(&mut self, records: &mut Vec<(u64, Bytes)>) -> Vec<Range<u64>> {
        // What the device was asked for, it has to find.
        if !self.may_give_up || !self.ops.is_empty() {
            return Vec::new();
        }
        self.may_give_up = false;
        if !self.segments.has_condemned() {
            return Vec::new();
        }
        let mut bytes = record::begin(0);
        let address = self.place(bytes.len() as u64);
        self.seal(&mut bytes, Kind::GivenUp, address);
        records.push((address, Bytes::from(bytes)));
        self.segments.release()
    }

    /// Bytes that the next record of a commit may have.
    fn record_room(&self) -> usize {
        let left = SEGMENT - self.tail % SEGMENT;
        (if left < RECORD_LEAST { SEGMENT } else { left }) as usize
    }

    fn seal(&mut self, bytes: &mut [u8], kind: Kind, address: u64) {
        self.previous = record::seal(bytes, kind, address, self.epoch, self.previous);
    }

    /// Takes room for a record at the end of the log.
    fn place(&mut self, len: u64) -> u64 {
        let address = self.segments.place(self.tail, len);
        self.tail = Segments::after(address, len);
        address
    }

    /// Counts a slot's value as dead.
    fn forget(&mut self, slot: &Slot) {
        if let Slot::Pointer(pointer) = slot {
            self.segments.remove_live(pointer.record, u64::from(pointer.len));
        }
    }

    fn fail_job(&mut self, job: Job, failure: StorageFailure) {
        match job {
            Job::Recover | Job::Checkpoint | Job::Publish | Job::Moved => self.phase = Phase::Failed(failure),
            Job::Evacuate(_) => self.stop_evacuation(),
            Job::Claim(id) | Job::Commit(id) => {
                self.phase = Phase::Failed(failure);
                self.refuse_commit(id, failure);
            }
            Job::Index { intent, .. } => self.fail_read(&intent, failure),
            Job::Values { id, .. } | Job::ScanValues { id, .. } => {
                self.outcomes.push_back(Outcome::ReadFailed { id, failure });
            }
        }
        self.advance();
    }

    fn refuse_commit(&mut self, id: CommitId, failure: StorageFailure) {
        self.outcomes.push_back(Outcome::CommitFailed { id, failure });
    }

    fn fail_read(&mut self, intent: &Intent, failure: StorageFailure) {
        if let Intent::Read { id, .. } | Intent::Scan { id, .. } = intent {
            self.outcomes.push_back(Outcome::ReadFailed { id: *id, failure });
        }
    }
}

impl Default for LogStore {
    fn default() -> Self {
        Self::new()
    }
}

fn whole_parts(records: &[Missing]) -> Vec<Part> {
    let whole = |&(_, (record, len)): &Missing| Part { record, offset: 0, len: len + record::HEADER as u32 };
    records.iter().map(whole).collect()
}
