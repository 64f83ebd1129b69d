//! What users wait for, from command to answer.

use bytes::Bytes;

use crate::compact_encoding::Writer;
use crate::crypto::namespaces::TREE;
use crate::error::StorageFailure;
use crate::hypercore::core::Core;
use crate::hypercore::jobs::{EncryptionKey, Value, Work};
use crate::hypercore::merkle_tree::Seek;
use crate::replicator::{GetWish, LocalChange, RangeWish, Resolution, SeekWish, WishError, WishId};
use crate::storage::keys::DataKeys;
use crate::time::{Duration, Instant};

use super::cores::{CoreEntry, Purpose, Reader};
use super::types::{CoreId, Error, GetOptions, RequestId, Response, SeekOptions, SnapshotId};
use super::{Engine, Sleeper};

/// A command that is not answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    /// A job answers it.
    Job,
    /// A wish of the replicator answers it.
    Wish,
    Get {
        index: u64,
        options: GetOptions,
        /// A job reads the block; else it is read without one, or fetched.
        has_job: bool,
    },
    Seek {
        bytes: u64,
        options: SeekOptions,
        is_wish: bool,
    },
    TreeHash {
        length: u64,
        /// The fork, when the bytes to sign are wanted.
        signable: Option<u64>,
        is_wish: bool,
        /// The last block was got, which brings the roots.
        has_asked: bool,
    },
}

impl Engine {
    /// Begins a command that one job answers.
    pub(super) fn request_job(&mut self, core: CoreId, work: Work) -> RequestId {
        let request = self.begin(core, Pending::Job);
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.submit(work, Purpose::Request(request));
        }
        request
    }

    pub(super) fn request_user_data_list(
        &mut self,
        core: CoreId,
        from: &str,
        to: Option<&str>,
        limit: u32,
    ) -> RequestId {
        self.request_list(core, limit, Reader::UserData, |keys| keys.user_data_range(from, to))
    }

    pub(super) fn request_local_list(
        &mut self,
        core: CoreId,
        from: &[u8],
        to: Option<&[u8]>,
        limit: u32,
    ) -> RequestId {
        self.request_list(core, limit, Reader::Locals, |keys| keys.local_range(from, to))
    }

    /// Reads the records of a range of a core's keys.
    fn request_list(
        &mut self,
        core: CoreId,
        limit: u32,
        reader: fn(RequestId, DataKeys) -> Reader,
        range: impl FnOnce(&DataKeys) -> (Bytes, Bytes),
    ) -> RequestId {
        let request = self.next_request();
        let entry = self.cores.get(&core);
        let keys = entry.and_then(CoreEntry::open).map(|core| core.data_keys());
        let Some((keys, id)) = keys.zip(entry.map(|entry| entry.store)) else {
            self.answer(request, Err(Error::Closed));
            return request;
        };
        if let Some(store) = self.stores.get_mut(&id) {
            let (start, end) = range(&keys);
            let ticket = store.machine.scan(start, end, false, limit);
            store.reads.insert(ticket, reader(request, keys));
            self.dirty_stores.insert(id);
        }
        request
    }

    pub(super) fn request_get(
        &mut self,
        core: CoreId,
        index: u64,
        options: GetOptions,
        now: Instant,
    ) -> RequestId {
        let timeout = options.timeout;
        let request = self.note(core, Pending::Get { index, options, has_job: false });
        self.start_get(core, request, now);
        self.set_timeout(request, timeout, now);
        request
    }

    pub(super) fn request_seek(
        &mut self,
        core: CoreId,
        bytes: u64,
        options: SeekOptions,
        now: Instant,
    ) -> RequestId {
        let work = Work::Seek { bytes, padding: options.padding };
        let request = self.begin(core, Pending::Seek { bytes, options, is_wish: false });
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.submit(work, Purpose::Request(request));
        }
        self.set_timeout(request, options.timeout, now);
        request
    }

    pub(super) fn request_tree_hash(
        &mut self,
        core: CoreId,
        length: u64,
        signable: Option<u64>,
        now: Instant,
    ) -> RequestId {
        let pending = Pending::TreeHash { length, signable, is_wish: false, has_asked: false };
        let request = self.begin(core, pending);
        self.start_tree_hash(core, request, now);
        request
    }

    pub(super) fn request_update(&mut self, core: CoreId, force: bool, now: Instant) -> RequestId {
        let request = self.begin(core, Pending::Wish);
        if let Some((core, replicator)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) {
            replicator.update(wish_of(request), force, core, now);
        }
        request
    }

    pub(super) fn request_range(&mut self, core: CoreId, wish: RangeWish, now: Instant) -> RequestId {
        let request = self.begin(core, Pending::Wish);
        if let Some((core, replicator)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) {
            replicator.range(wish_of(request), wish, core, now);
        }
        request
    }

    /// Takes a command back: it is answered with [`Error::RequestCancelled`]. One that writes goes on.
    pub fn cancel(&mut self, request: RequestId, now: Instant) {
        if self.cancel_query(request) {
            return;
        }
        #[cfg(feature = "bee")]
        if self.cancel_bee(request, now) {
            return;
        }
        self.give_up(request, Error::RequestCancelled, now);
    }

    pub(super) fn give_up(&mut self, request: RequestId, error: Error, now: Instant) {
        let Some(core) = self.requests.get(&request).copied() else { return };
        let Some(entry) = self.cores.get_mut(&core) else { return };
        match entry.requests.get(&request) {
            None | Some(Pending::Job) => return,
            Some(_) => {}
        }
        self.dirty_cores.insert(core);
        if let Some((core, replicator)) = entry.parts() {
            replicator.cancel(wish_of(request), core, now);
        }
        let jobs = entry.jobs.iter();
        let mut jobs = jobs.filter(|(_, purpose)| matches!(purpose, Purpose::Request(id) if *id == request));
        if let Some(job) = jobs.next().map(|(job, _)| *job) {
            entry.jobs.remove(&job);
            if let Some((core, _)) = entry.parts() {
                core.cancel(job);
            }
        }
        self.finish(core, request, Err(error));
    }

    /// Fails everything that waits for the store or for a core's replicator; jobs fail by themselves.
    pub(super) fn fail_requests(&mut self, core: CoreId, error: Error, now: Instant) {
        let Some(entry) = self.cores.get(&core) else { return };
        let requests: alloc::vec::Vec<RequestId> =
            entry.requests.iter().filter(|(_, pending)| !pending.has_job()).map(|(id, _)| *id).collect();
        for request in requests {
            self.give_up(request, error, now);
        }
    }

    fn begin(&mut self, core: CoreId, pending: Pending) -> RequestId {
        self.dirty_cores.insert(core);
        self.note(core, pending)
    }

    /// As [`begin`](Self::begin), for a command that may not concern the core's jobs and peers.
    fn note(&mut self, core: CoreId, pending: Pending) -> RequestId {
        let request = self.next_request();
        self.requests.insert(request, core);
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.requests.insert(request, pending);
        }
        request
    }

    fn finish(&mut self, core: CoreId, request: RequestId, result: Result<Response, Error>) {
        self.requests.remove(&request);
        self.wakes.set(Sleeper::Request(request), None);
        let pending = self.cores.get_mut(&core).and_then(|entry| entry.requests.remove(&request));
        if !matches!(pending, Some(Pending::Get { .. })) {
            self.dirty_cores.insert(core);
        }
        self.answer(request, result);
    }

    fn set_timeout(&mut self, request: RequestId, timeout: Option<Duration>, now: Instant) {
        if self.requests.contains_key(&request) {
            self.wakes.set(Sleeper::Request(request), timeout.map(|timeout| now + timeout));
        }
    }

    /// Reads a block, or has it fetched.
    fn start_get(&mut self, core: CoreId, request: RequestId, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(Pending::Get { index, options, .. }) = entry.requests.get(&request) else { return };
        let (index, options) = (*index, options.clone());
        let Some((open, _)) = entry.parts() else { return };
        let retained = options.snapshot.and_then(|SnapshotId(snapshot)| open.retained(snapshot, index));
        if let Some(block) = retained {
            let block = decrypt(open, index, block, options.encryption.as_ref());
            return self.finish(core, request, block.map(|block| Response::Block(Some(block))));
        }
        if let Err(error) = check_snapshot(open, index, options.snapshot) {
            return self.finish(core, request, Err(error));
        }
        if open.may_have(index) {
            self.read_block(core, request, index);
        } else {
            self.fetch(core, request, now);
        }
    }

    /// Reads a block that the log has. Most need no job: there is one place to look, and nothing to be done with it.
    fn read_block(&mut self, core: CoreId, request: RequestId, index: u64) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let found = entry.open().and_then(|open| Some((open.place_of(index)?, open.cuts())));
        if let Some((key, cuts)) = found
            && let Some(store) = self.stores.get_mut(&entry.store)
        {
            match store.machine.peek(&key) {
                Some(Some(block)) => return self.deliver(core, request, block),
                // It is being dropped.
                Some(None) => {}
                None => {
                    let ticket = store.machine.read(alloc::vec![key]);
                    store.reads.insert(ticket, Reader::Block { core, request, cuts });
                    self.dirty_stores.insert(entry.store);
                    return;
                }
            }
        }
        self.read_block_by_job(core, request);
    }

    fn read_block_by_job(&mut self, core: CoreId, request: RequestId) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        if let Some(Pending::Get { index, has_job, .. }) = entry.requests.get_mut(&request) {
            *has_job = true;
            let index = *index;
            entry.submit(Work::Get { index }, Purpose::Request(request));
            self.dirty_cores.insert(core);
        }
    }

    /// Takes a block that was read without a job; `cuts` is how often the log had been cut when it was asked for.
    pub(super) fn block_read(
        &mut self,
        core: CoreId,
        request: RequestId,
        cuts: u64,
        block: Result<Option<Bytes>, StorageFailure>,
    ) {
        let is_uncut =
            self.cores.get(&core).and_then(CoreEntry::open).is_some_and(|core| core.cuts() == cuts);
        match block {
            Ok(Some(block)) if is_uncut => self.deliver(core, request, block),
            Ok(_) => self.read_block_by_job(core, request),
            Err(failure) if self.requests.contains_key(&request) => {
                self.finish(core, request, Err(failure.into()));
            }
            Err(_) => {}
        }
    }

    /// Has a block fetched from peers, if it is to be waited for.
    fn fetch(&mut self, core: CoreId, request: RequestId, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let wish = match entry.requests.get_mut(&request) {
            Some(Pending::Get { index, options, has_job }) => {
                if !options.wait {
                    return self.finish(core, request, Ok(Response::Block(None)));
                }
                *has_job = false;
                (*index, options.priority, options.force)
            }
            Some(Pending::TreeHash { length, is_wish, has_asked, .. }) => {
                *is_wish = true;
                *has_asked = true;
                (length.saturating_sub(1), 1, false)
            }
            _ => return,
        };
        let (index, priority, force) = wish;
        self.dirty_cores.insert(core);
        if let Some((core, replicator)) = entry.parts() {
            let wish = GetWish { priority, force, snapshot: index < core.tree().length };
            replicator.get(wish_of(request), index, wish, core, now);
        }
    }

    fn start_tree_hash(&mut self, core: CoreId, request: RequestId, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(Pending::TreeHash { length, .. }) = entry.requests.get(&request) else { return };
        let length = *length;
        if entry.open().is_some_and(|core| length > core.tree().length) {
            self.fetch(core, request, now);
        } else {
            entry.submit(Work::TreeHash { length }, Purpose::Request(request));
        }
    }

    /// Takes what a job found.
    pub(super) fn request_done(
        &mut self,
        core: CoreId,
        request: RequestId,
        result: Result<Value, Error>,
        now: Instant,
    ) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let value = match result {
            Ok(value) => value,
            Err(error) => return self.finish(core, request, Err(error)),
        };
        let Some(pending) = entry.requests.get_mut(&request) else { return };
        let response = match (value, pending) {
            (Value::Block(Some(block)), Pending::Get { .. }) => return self.deliver(core, request, block),
            (Value::Block(None), Pending::Get { .. }) => return self.fetch(core, request, now),
            (Value::Seek(seek), Pending::Seek { bytes, options, is_wish }) => {
                let (bytes, padding) = (*bytes, options.padding);
                *is_wish = options.wait && !matches!(seek, Seek::Found { .. });
                let is_wish = *is_wish;
                let Some((open, replicator)) = entry.parts() else { return };
                let length = open.tree().length;
                let (start, end) = match seek {
                    Seek::Found { block, offset } => {
                        return self.finish(core, request, Ok(Response::Seek(Some((block, offset)))));
                    }
                    _ if !is_wish => return self.finish(core, request, Ok(Response::Seek(None))),
                    Seek::Inside { start, end } => (start, end),
                    Seek::Beyond => (length, length),
                };
                replicator.seek(wish_of(request), SeekWish { bytes, padding, start, end }, open, now);
                return;
            }
            (Value::TreeHash(None), Pending::TreeHash { has_asked, .. }) => {
                // Peers are those of the log itself, who would bring what is in it.
                if *has_asked || entry.branch.is_some() || entry.twin.is_some() {
                    let error = Error::InvalidOperation("the roots at that length are not stored");
                    return self.finish(core, request, Err(error));
                }
                return self.fetch(core, request, now);
            }
            (Value::TreeHash(Some(hash)), Pending::TreeHash { length, signable, .. }) => match *signable {
                None => Response::TreeHash(hash),
                Some(fork) => {
                    let length = *length;
                    let Some(open) = entry.open() else { return };
                    let mut out = Writer::with_capacity(112);
                    out.fixed(&TREE);
                    out.fixed(open.key());
                    out.fixed(&hash);
                    out.u64(length);
                    out.u64(fork);
                    Response::Signable(out.into_vec().into())
                }
            },
            (Value::Appended { length, byte_length }, _) => Response::Appended { length, byte_length },
            (Value::Audited(found), _) => Response::Audited(found),
            (Value::Unmarked { ranges, next }, _) => Response::Unmarked { ranges, next },
            (Value::Has(has), _) => Response::Has(has),
            (Value::Records(values), _) => Response::Records(values),
            (Value::UserData(value), _) => Response::UserData(value),
            (Value::MissingNodes(count), _) => Response::MissingNodes(count),
            (Value::Proof(Ok(proof)), _) => Response::Proof(proof),
            (Value::Proof(Err(refused)), _) => return self.finish(core, request, Err(refused.into())),
            (Value::Applied(Ok(applied)), _) => {
                if let Some((open, replicator)) = entry.parts() {
                    let change = if applied.upgraded { LocalChange::Upgraded } else { LocalChange::Manifest };
                    replicator.local_changed(change, open, now);
                }
                Response::Applied(true)
            }
            (Value::Reorged(Some((length, old_length))), _) => {
                if let Some((open, replicator)) = entry.parts() {
                    replicator.local_changed(LocalChange::Truncated { length, old_length }, open, now);
                    replicator.local_changed(LocalChange::Upgraded, open, now);
                }
                Response::Applied(true)
            }
            (Value::Reorged(None), _) => Response::Applied(false),
            (Value::ReorgStep(Ok(want)), _) => Response::Applied(want.is_none()),
            (Value::Applied(Err(error)) | Value::ReorgStep(Err(error)), _) => {
                let answer =
                    if error.code().is_none() { Ok(Response::Applied(false)) } else { Err(error.into()) };
                return self.finish(core, request, answer);
            }
            _ => Response::Done,
        };
        self.finish(core, request, Ok(response));
    }

    /// Takes what the replicator found.
    pub(super) fn wish_resolved(&mut self, core: CoreId, wish: WishId, value: Resolution, now: Instant) {
        let request = RequestId(wish.0);
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(pending) = entry.requests.get_mut(&request) else { return };
        let response = match (value, pending) {
            (Resolution::Block(block), Pending::Get { .. }) => return self.deliver(core, request, block),
            (Resolution::Local, Pending::Get { .. }) => return self.start_get(core, request, now),
            (Resolution::Block(_) | Resolution::Local, Pending::TreeHash { is_wish, .. }) => {
                *is_wish = false;
                return self.start_tree_hash(core, request, now);
            }
            (Resolution::Update(changed), _) => Response::Updated(changed),
            (Resolution::Seek { block, offset }, _) => Response::Seek(Some((block, offset))),
            _ => Response::Done,
        };
        self.finish(core, request, Ok(response));
    }

    /// Takes the replicator's regrets.
    pub(super) fn wish_rejected(&mut self, core: CoreId, wish: WishId, error: WishError) {
        let request = RequestId(wish.0);
        let Some(entry) = self.cores.get(&core) else { return };
        let error = match (error, entry.requests.get(&request)) {
            (WishError::SnapshotNotAvailable, Some(Pending::Get { index, .. })) => {
                let length = entry.open().map_or(0, |core| core.tree().length);
                Error::SnapshotNotAvailable { index: *index, length }
            }
            _ => Error::InvalidOperation("the log changed meanwhile"),
        };
        self.finish(core, request, Err(error));
    }

    /// Answers with a block, decrypted if that was asked for.
    fn deliver(&mut self, core: CoreId, request: RequestId, stored: Bytes) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(Pending::Get { index, options, .. }) = entry.requests.get(&request) else { return };
        let (index, snapshot, key) = (*index, options.snapshot, options.encryption.clone());
        let Some((open, _)) = entry.parts() else { return };
        let block =
            check_snapshot(open, index, snapshot).and_then(|()| decrypt(open, index, stored, key.as_ref()));
        self.finish(core, request, block.map(|block| Response::Block(Some(block))));
    }
}

impl Pending {
    fn has_job(&self) -> bool {
        match self {
            Self::Job => true,
            Self::Wish => false,
            Self::Get { has_job, .. } => *has_job,
            Self::Seek { is_wish, .. } | Self::TreeHash { is_wish, .. } => !is_wish,
        }
    }
}

/// A request has at most one wish, under its own number.
fn wish_of(request: RequestId) -> WishId {
    WishId(request.0)
}

fn check_snapshot(core: &Core, index: u64, snapshot: Option<SnapshotId>) -> Result<(), Error> {
    let Some(SnapshotId(snapshot)) = snapshot else { return Ok(()) };
    let length = core.snapshot_at(snapshot).map_or(0, |snapshot| snapshot.compat_length);
    if index < length { Ok(()) } else { Err(Error::SnapshotNotAvailable { index, length }) }
}

fn decrypt(core: &mut Core, index: u64, stored: Bytes, key: Option<&EncryptionKey>) -> Result<Bytes, Error> {
    match key {
        None => Ok(stored),
        Some(key) => core.decrypt(index, &stored, key),
    }
}
