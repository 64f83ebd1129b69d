//! What a core asks of storage, and how storage answers.
//!
//! A store is one ordered space of keys and values, both plain bytes. Hosts carry out [`Intent`]s and hand back one
//! [`Outcome`] for each. Commits are atomic and take effect in the order given; hosts owe no order between reads and
//! commits.

pub mod log_store;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::StorageFailure;

/// Identifies a read or scan of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Identifies a commit of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What a commit has to survive before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The end of the process. For what can be fetched again.
    Relaxed,
    /// A power failure. For a signed head, which must never be signed twice.
    Strict,
}

/// One change of a batch. Later ones of a batch see the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a value, replacing what the key had.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes every key of a range.
    DeleteRange {
        /// The first key.
        start: Bytes,
        /// The first key that stays.
        end: Bytes,
    },
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// What a store asks of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Give the values of some keys.
    Read {
        /// Repeated by the outcome.
        id: ReadId,
        /// The keys, in the order of the values.
        keys: Vec<Bytes>,
    },
    /// Give the entries of a range.
    Scan {
        /// Repeated by the outcome.
        id: ReadId,
        /// The lowest key.
        start: Bytes,
        /// The first key beyond.
        end: Bytes,
        /// Whether to begin at the high end.
        reverse: bool,
        /// Most entries to give.
        limit: u32,
    },
    /// Carry out a batch.
    Commit {
        /// Repeated by the outcome.
        id: CommitId,
        /// The changes.
        batch: Batch,
        /// When the outcome may be given.
        durability: Durability,
    },
}

/// What a host answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To [`Intent::Read`].
    Read {
        /// As asked.
        id: ReadId,
        /// A value for each key, `None` where there is none.
        values: Vec<Option<Bytes>>,
    },
    /// To [`Intent::Scan`].
    Scan {
        /// As asked.
        id: ReadId,
        /// Keys and values, in the direction asked for.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether the limit cut off at least one entry.
        more: bool,
    },
    /// To [`Intent::Commit`]: as durable as was asked.
    Committed(CommitId),
    /// A read or scan failed.
    ReadFailed {
        /// As asked.
        id: ReadId,
        /// Why.
        failure: StorageFailure,
    },
    /// A commit failed. Whether its changes are on the disk is not known.
    CommitFailed {
        /// As asked.
        id: CommitId,
        /// Why.
        failure: StorageFailure,
    },
}
