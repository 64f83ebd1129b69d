//! One owner of a store, for tests.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Backend, Verdict};
use crate::storage::{Batch, CommitId, Durability, Intent, Op, Outcome, Owner, ReadId, StorageFailure};

/// Entries as a map.
pub(super) type Entries = BTreeMap<Bytes, Bytes>;

/// A store that was claimed.
pub(super) struct Session<'a, B> {
    pub(super) backend: &'a mut B,
    pub(super) owner: Owner,
    ids: u64,
}

impl<'a, B: Backend> Session<'a, B> {
    /// Claims the store for an owner that had it never before.
    pub(super) async fn claim(backend: &'a mut B, number: u32) -> Verdict<Self> {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let (id, owner) = (CommitId(0), Owner(bytes));
        match backend.handle_intents([Intent::Claim { id, owner }].into()).await.as_slice() {
            [Outcome::Committed(CommitId(0))] => Ok(Self { backend, owner, ids: 1 }),
            other => Err(format!("claim {number}: {other:?}")),
        }
    }

    pub(super) fn commit_intent(&mut self, ops: Vec<Op>, durability: Durability) -> Intent {
        self.ids += 1;
        Intent::Commit { id: CommitId(self.ids), owner: self.owner, batch: Batch { ops }, durability }
    }

    /// Commits; the failure when the store has one.
    pub(super) async fn try_commit(
        &mut self,
        ops: Vec<Op>,
        durability: Durability,
    ) -> Verdict<Result<(), StorageFailure>> {
        let intent = self.commit_intent(ops, durability);
        let wanted = CommitId(self.ids);
        match self.backend.handle_intents([intent].into()).await.as_slice() {
            [Outcome::Committed(id)] if *id == wanted => Ok(Ok(())),
            [Outcome::CommitFailed { id, failure }] if *id == wanted => Ok(Err(*failure)),
            other => Err(format!("commit {wanted:?}: {} outcomes", other.len())),
        }
    }

    pub(super) async fn commit(&mut self, ops: Vec<Op>, durability: Durability) -> Verdict {
        self.try_commit(ops, durability).await?.map_err(|failure| format!("a commit failed: {failure}"))
    }

    pub(super) fn read_intent(&mut self, keys: Vec<Bytes>) -> Intent {
        self.ids += 1;
        Intent::Read { id: ReadId(self.ids), keys }
    }

    pub(super) async fn read(&mut self, keys: Vec<Bytes>) -> Verdict<Vec<Option<Bytes>>> {
        let (intent, count) = (self.read_intent(keys.clone()), keys.len());
        let wanted = ReadId(self.ids);
        let outcome = self.backend.handle_intents([intent].into()).await.pop();
        match outcome {
            Some(Outcome::Read { id, values }) if id == wanted && values.len() == count => Ok(values),
            Some(Outcome::ReadFailed { failure, .. }) => Err(format!("a read failed: {failure}")),
            _ => Err(format!("a read of {count} keys has another answer")),
        }
    }

    /// Returns entries of a range as the backend gives them, and whether there are more.
    pub(super) async fn scan(
        &mut self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        limit: u32,
    ) -> Verdict<(Vec<(Bytes, Bytes)>, bool)> {
        self.ids += 1;
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let intent = Intent::Scan { id: ReadId(self.ids), start, end, reverse, limit };
        match self.backend.handle_intents([intent].into()).await.pop() {
            Some(Outcome::Scan { id, entries, more }) if id == ReadId(self.ids) => Ok((entries, more)),
            Some(Outcome::ReadFailed { failure, .. }) => Err(format!("a scan failed: {failure}")),
            _ => Err("a scan has another answer".into()),
        }
    }

    /// Returns all entries.
    pub(super) async fn all(&mut self) -> Verdict<Entries> {
        let (mut all, mut start) = (Entries::new(), Vec::new());
        loop {
            let (entries, more) = self.scan(&start, &[0xff; 8], false, 1000).await?;
            let Some((last, _)) = entries.last() else { return Ok(all) };
            start = last.to_vec();
            start.push(0);
            all.extend(entries);
            if !more {
                return Ok(all);
            }
        }
    }
}

pub(super) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Op {
    Op::Put { key: Bytes::copy_from_slice(key.as_ref()), value: Bytes::copy_from_slice(value.as_ref()) }
}

pub(super) fn delete(key: impl AsRef<[u8]>) -> Op {
    Op::Delete { key: Bytes::copy_from_slice(key.as_ref()) }
}

pub(super) fn delete_range(start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Op {
    Op::DeleteRange {
        start: Bytes::copy_from_slice(start.as_ref()),
        end: Bytes::copy_from_slice(end.as_ref()),
    }
}

/// Does to a map what a commit does to a store.
pub(super) fn apply(entries: &mut Entries, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { key, value } => {
                entries.insert(key.clone(), value.clone());
            }
            Op::PutRun(run) => entries.extend(run.iter()),
            Op::Delete { key } => {
                entries.remove(key);
            }
            Op::DeleteRange { start, end } => entries.retain(|key, _| key < start || key >= end),
        }
    }
}

/// Ends a test with what was found.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(alloc::format!($($message)*));
        }
    };
}

pub(super) use ensure;
