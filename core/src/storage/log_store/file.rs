//! Carries out the ops of a [`LogStore`] on a file: a headers' page, then segments in their places.

use alloc::vec::Vec;

use bytes::Bytes;

use super::leaf::{Pointer, Slot};
use super::manifest::Header;
use super::segments::SEGMENT;
use super::takeover::Reservation;
use super::{DeviceOp, DeviceReply, HEADER_LEN, LogStore};
use crate::error::StorageFailure;
use crate::storage::{Intent, OWNER_LEN, Outcome, Owner, ReadId};

/// A file with synchronous access, as a native file or the sync access handle of the origin private file system.
pub trait SyncFile {
    /// Reads up to `buffer.len()` bytes at an offset; fewer only at the end of the file. Returns their number.
    ///
    /// # Errors
    ///
    /// Returns the failure as the host names it.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure>;

    /// Writes all bytes at an offset, growing the file.
    ///
    /// # Errors
    ///
    /// Returns the failure as the host names it; [`StorageFailure::Full`] when there is no room.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure>;

    /// Returns once everything written is on the disk.
    ///
    /// # Errors
    ///
    /// Returns the failure as the host names it.
    fn sync(&mut self) -> Result<(), StorageFailure>;

    /// Starts what [`sync`](Self::sync) does, to go on beside other calls. Returns false where that is not possible.
    fn begin_sync(&mut self) -> bool {
        false
    }

    /// Checkpoints of [16 MiB of log](LogStore) that may be written while a sync goes on: all of it is read when the file is opened
    /// after a crash.
    fn max_behind(&self) -> u64 {
        2
    }

    /// Returns how the sync that was begun ended; `None` while it goes on, which never is the answer to `wait`.
    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        let _ = wait;
        Some(self.sync())
    }

    /// Returns the length of the file if somebody who claimed the store before may still be in the middle of a write, as a
    /// process that was stopped there and goes on later. `None` where all of them are known to be gone. There must not be more than 31 of them.
    ///
    /// # Errors
    ///
    /// Returns the failure as the host names it.
    fn len_if_shared(&mut self) -> Result<Option<u64>, StorageFailure> {
        Ok(None)
    }
}

/// Offset of the first segment. Each header has half of the page, so that one torn write spoils one of them.
pub(super) const PAGE: u64 = 8192;

/// Offset of the owner, between the headers.
const OWNER: u64 = PAGE / 4;

/// Bytes from one copy of a header to the next in each half of the page.
const HEADER_STEP: u64 = 64;
/// How many copies there is room for in front of the owner: more than [others](SyncFile::len_if_shared) may have the file.
pub(super) const HEADER_COPIES: u64 = OWNER / HEADER_STEP;

/// A store in a file: intents in, outcomes out, at once.
#[derive(Debug)]
pub struct FileStore<F> {
    pub(super) store: LogStore,
    pub(super) file: F,
    owner: Option<Owner>,
    ahead: Ahead,
    publication: Option<Publication>,
    /// How many copies of a header are written: one where [nobody can be late](super::takeover), which versions that know no others look at.
    copies: u64,
}

/// A header that is written once the records before it are on the disk.
#[derive(Debug)]
struct Publication {
    /// Of the op that asked for it.
    id: u64,
    place: u8,
    /// `None` once it is written.
    header: Option<Bytes>,
}

/// What was read beyond what was asked for, because values are read in order.
#[derive(Debug, Default)]
struct Ahead {
    /// Where the last value ended.
    last: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Ahead {
    fn get(&mut self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// Forgets bytes that are written anew.
    fn written(&mut self, offset: u64, len: usize) {
        if offset < self.start + self.bytes.len() as u64 && self.start < offset + len as u64 {
            self.bytes.clear();
        }
    }
}

/// Bytes read at once when one value after the other is asked for.
const READ_AHEAD: usize = 64 << 10;

/// Longest value that is read with those behind it.
const SMALL: usize = READ_AHEAD / 8;

/// Bytes between two values that count as neighbours: a key, and what frames it.
const GAP: u64 = 256;

/// Records from this size on are written by themselves: joining them with their neighbours would take longer than a system call.
const LARGE: usize = 64 << 10;

impl<F: SyncFile> FileStore<F> {
    /// Returns the store that is in the file, or a new one when the file is empty. Claiming it opens it.
    pub fn open(file: F) -> Self {
        let mut store = LogStore::new();
        store.max_behind = file.max_behind();
        FileStore { store, file, owner: None, ahead: Ahead::default(), publication: None, copies: 1 }
    }

    /// Carries out an intent, and whatever it entails.
    pub fn handle_intent(&mut self, intent: Intent) {
        if let Intent::Read { id, keys } = &intent
            && self.read_at_once(*id, keys)
        {
            return;
        }
        self.store.handle_intent(intent);
        self.drain();
    }

    /// Answers a read if all that says where its values are is in memory: a file answers at once, so nothing has to be noted
    /// until it does. Returns whether it did.
    fn read_at_once(&mut self, id: ReadId, keys: &[Bytes]) -> bool {
        if self.publication.is_some() || !self.store.answers_at_once() {
            return false;
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = match self.store.find(key) {
                Err(_) => return false,
                Ok(None) => None,
                Ok(Some(Slot::Inline(value))) => Some(value),
                Ok(Some(Slot::Pointer(Pointer { record, offset, len }))) => {
                    match self.read_part(super::Part { record, offset, len }) {
                        Ok(value) => Some(value),
                        Err(failure) => {
                            self.store.outcomes.push_back(Outcome::ReadFailed { id, failure });
                            return true;
                        }
                    }
                }
            };
            values.push(value);
        }
        self.store.outcomes.push_back(Outcome::Read { id, values });
        true
    }

    fn read_part(&mut self, part: super::Part) -> Result<Bytes, StorageFailure> {
        let bytes = self.read_log(part.record + u64::from(part.offset), u64::from(part.len))?;
        if bytes.len() as u64 == u64::from(part.len) { Ok(bytes) } else { Err(StorageFailure::Corrupted) }
    }

    /// Returns the next outcome.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.store.poll_outcome()
    }

    /// Writes a last checkpoint; intents handed in afterwards fail.
    pub fn close(&mut self) {
        self.store.close();
        self.drain();
    }

    /// Returns once everything that was answered is on the disk, for hosts that let their system carry it there in its own time.
    ///
    /// # Errors
    ///
    /// Returns the failure as the host names it.
    pub fn sync(&mut self) -> Result<(), StorageFailure> {
        self.file.sync()
    }

    /// Whether a sync goes on.
    pub fn is_syncing(&self) -> bool {
        self.publication.is_some()
    }

    /// Waits for the sync that goes on.
    pub fn finish_sync(&mut self) {
        self.publish(true);
        self.drain();
    }

    /// Makes checkpoints come sooner than the size of a test would let them.
    #[cfg(any(test, feature = "test-support"))]
    pub fn set_memtable_limit(&mut self, bytes: usize) {
        self.store.memtable_limit = bytes;
    }

    /// Makes branches shorter than the size of a test would have them.
    #[cfg(any(test, feature = "test-support"))]
    pub fn set_branch_limit(&mut self, bytes: usize) {
        self.store.branch_limit = bytes;
    }

    /// Gives the file back as it is.
    pub fn into_file(self) -> F {
        self.file
    }

    fn drain(&mut self) {
        loop {
            self.publish(self.store.needs_publication());
            let Some(op) = self.store.poll_op() else {
                if self.publication.is_some() && self.store.needs_publication() {
                    continue;
                }
                return;
            };
            let id = op.id();
            let reply = self.carry_out(op).unwrap_or_else(DeviceReply::Failed);
            self.store.handle_reply(id, reply);
        }
    }

    /// Goes on with a header whose records are on their way to the disk.
    fn publish(&mut self, wait: bool) {
        if self.store.has_failed() {
            // A sync that failed is reported once only: the one that goes on here may say that all is well.
            self.publication = None;
        }
        while let Some(publication) = &mut self.publication {
            let Some(synced) = self.file.end_sync(wait) else { return };
            let (id, place) = (publication.id, publication.place);
            let header = publication.header.take();
            let is_last = header.is_none();
            let written =
                synced.and_then(|()| header.map_or(Ok(()), |header| self.write_header(place, &header)));
            if written.is_ok() && !is_last && self.file.begin_sync() {
                continue;
            }
            self.publication = None;
            let synced = written.and_then(|()| if is_last { Ok(()) } else { self.file.sync() });
            self.store.handle_reply(id, synced.map_or_else(DeviceReply::Failed, |()| DeviceReply::Written));
        }
    }

    fn write_header(&mut self, place: u8, header: &[u8]) -> Result<(), StorageFailure> {
        let half = u64::from(place) * (PAGE / 2);
        // The first one last: where it is damaged, and there is no other, the log is expected to begin where an owner that is alone begins it.
        for copy in (0..self.copies).rev() {
            // Whoever claims the file reads it afterwards; who is stopped here spoils one copy.
            self.check_owner()?;
            self.file.write_at(half + copy * HEADER_STEP, header)?;
        }
        Ok(())
    }

    /// Reads the newest header of one half of the page.
    fn read_header(&mut self, half: u64) -> Result<Bytes, StorageFailure> {
        let all = self.read(half * (PAGE / 2), HEADER_COPIES * HEADER_STEP)?;
        let places = (0..all.len()).step_by(HEADER_STEP as usize);
        let bytes = places.map(|at| all.slice(at..all.len().min(at + HEADER_LEN)));
        let newest = bytes.filter_map(|bytes| Some((Header::decode(&bytes)?.generation, bytes)));
        let newest = newest.max_by_key(|(generation, _)| *generation);
        Ok(newest.map_or_else(|| all.slice(..all.len().min(HEADER_LEN)), |(_, bytes)| bytes))
    }

    fn claim(&mut self, owner: Owner) -> Result<(), StorageFailure> {
        self.owner = Some(owner);
        let found = self.read(OWNER, OWNER_LEN as u64)?;
        // A store that is full opens for reading.
        if found[..] != owner.0 {
            self.file.write_at(OWNER, &owner.0)?;
        }
        // Not before the file is ours: from here on, whoever had it is late with one write at most.
        let len = self.file.len_if_shared()?;
        self.store.takeover = len.map(|len| len.saturating_sub(PAGE).div_ceil(SEGMENT));
        self.copies = if len.is_some() { HEADER_COPIES } else { 1 };
        Ok(())
    }

    fn carry_out(&mut self, op: DeviceOp) -> Result<DeviceReply, StorageFailure> {
        match op {
            DeviceOp::Claim { owner, .. } => self.claim(owner).map(|()| DeviceReply::Written),
            DeviceOp::ReadHeaders { .. } => {
                Ok(DeviceReply::Headers([self.read_header(0)?, self.read_header(1)?]))
            }
            DeviceOp::Read { parts, .. } => {
                let values = parts.into_iter().map(|part| self.read_part(part));
                Ok(DeviceReply::Bytes(values.collect::<Result<_, _>>()?))
            }
            DeviceOp::Replay { from, len, .. } => Ok(DeviceReply::Bytes([self.read_log(from, len)?].into())),
            DeviceOp::Write { id, records, durable, header, .. } => {
                let mut left: usize = records.iter().map(|(_, bytes)| bytes.len()).sum();
                let mut records = records.into_iter().peekable();
                while let Some((address, bytes)) = records.next() {
                    left -= bytes.len();
                    if bytes.len() >= LARGE {
                        self.write_log(address, &bytes)?;
                        self.store.recycle(bytes);
                        continue;
                    }
                    // Neighbours go out in one write: a write is a system call, or crosses into another process.
                    let mut run = Vec::from(bytes);
                    while let Some((_, next)) = records
                        .next_if(|(next, bytes)| *next == address + run.len() as u64 && bytes.len() < LARGE)
                    {
                        run.reserve_exact(left);
                        run.extend_from_slice(&next);
                        left -= next.len();
                    }
                    self.write_log(address, &run)?;
                }
                if header.is_some() && self.file.begin_sync() {
                    self.publication =
                        header.map(|(place, header)| Publication { id, place, header: Some(header) });
                    return Ok(DeviceReply::Placed);
                }
                if durable || header.is_some() {
                    self.file.sync()?;
                }
                // Once more: whoever claims the file reads it afterwards, so what is answered here it has seen.
                self.check_owner()?;
                if let Some((place, bytes)) = header {
                    self.write_header(place, &bytes)?;
                    self.file.sync()?;
                }
                Ok(DeviceReply::Written)
            }
        }
    }

    /// Compares the owner in the file with ours. A file knows no transaction: whoever is held up between comparing and
    /// writing still does that one write, so [whoever follows](super::takeover) leaves to it where it can be.
    fn check_owner(&mut self) -> Result<(), StorageFailure> {
        let found = self.read(OWNER, OWNER_LEN as u64)?;
        match self.owner {
            Some(owner) if found[..] == owner.0 => Ok(()),
            _ => Err(StorageFailure::Fenced),
        }
    }

    fn read_log(&mut self, address: u64, len: u64) -> Result<Bytes, StorageFailure> {
        if let Some(start) = self.store.locate_in_segment(address, len) {
            return self.read_piece(PAGE + start, len);
        }
        let places = self.store.locate(address, len).ok_or(StorageFailure::Corrupted)?;
        let mut whole = Vec::new();
        for place in places {
            let piece = self.read_piece(PAGE + place.start, place.end - place.start)?;
            let is_short = (piece.len() as u64) < place.end - place.start;
            if whole.is_empty() && (is_short || piece.len() as u64 == len) {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
            if is_short {
                break;
            }
        }
        Ok(Bytes::from(whole))
    }

    fn write_log(&mut self, address: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        let places = self.store.locate(address, bytes.len() as u64).ok_or(StorageFailure::Corrupted)?;
        if let Some(Reservation { slots, header }) = self.store.reservation.take() {
            // Whoever comes next sees by the length where this owner may still be writing.
            self.check_owner()?;
            self.file.write_at(PAGE + slots * SEGMENT - 1, &[0])?;
            if let Some((place, header)) = header {
                self.write_header(place, &header)?;
            }
        }
        let mut rest = bytes;
        for place in places {
            let mut at = place.start;
            while at < place.end {
                // One segment at once, so that a write that is late is in one place.
                let end = place.end.min((at + 1).next_multiple_of(SEGMENT));
                let len = usize::try_from(end - at).map_err(|_| StorageFailure::Corrupted)?;
                let (piece, behind) = rest.split_at(len);
                self.check_owner()?;
                self.ahead.written(PAGE + at, len);
                self.file.write_at(PAGE + at, piece)?;
                (at, rest) = (end, behind);
            }
        }
        Ok(())
    }

    /// Reads bytes of the log; whoever goes on behind a small piece gets the next ones from memory.
    fn read_piece(&mut self, offset: u64, len: u64) -> Result<Bytes, StorageFailure> {
        let is_next = offset.checked_sub(self.ahead.last).is_some_and(|gap| gap <= GAP);
        self.ahead.last = offset + len;
        let Some(small) = usize::try_from(len).ok().filter(|&len| is_next && len <= SMALL) else {
            return self.read(offset, len);
        };
        if let Some(bytes) = self.ahead.get(offset, small) {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let Ahead { start, bytes, .. } = &mut self.ahead;
        bytes.resize(READ_AHEAD, 0);
        *start = offset;
        let count = self.file.read_at(offset, bytes);
        bytes.truncate(count.unwrap_or(0));
        count?;
        Ok(Bytes::copy_from_slice(&bytes[..small.min(bytes.len())]))
    }

    fn read(&mut self, offset: u64, len: u64) -> Result<Bytes, StorageFailure> {
        let mut buffer = alloc::vec![0; usize::try_from(len).map_err(|_| StorageFailure::Corrupted)?];
        let count = self.file.read_at(offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(Bytes::from(buffer))
    }
}
