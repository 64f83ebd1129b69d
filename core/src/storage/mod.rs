//! What the core asks of storage, and the machine that asks it.
//!
//! A store is one ordered space of keys and values. The core emits an [`Intent`]; the host carries it out and
//! answers with one [`Outcome`]. A host sees ordered bytes only; [`keys`] and [`records`] say what they are.
//!
//! # What a host owes
//!
//! 1. One outcome for each intent, carrying its id.
//! 2. A commit is atomic. The next one is asked for only after its outcome, so commits are in order.
//! 3. After [`Outcome::Committed`] every later intent sees the batch. A [`Durability::Strict`] one survives loss
//!    of power; a [`Durability::Relaxed`] one may be lost, but then so is every commit after it.
//! 4. Reads and scans may be answered in any order, and may or may not see a commit that is in flight. One read
//!    need not see a single moment.
//! 5. A store has one owner at a time. [`Intent::Claim`] makes it another one's, from one moment on: every commit of
//!    an earlier owner then fails with [`StorageFailure::Fenced`] and changes nothing, and whatever of its was answered
//!    before is there for the new one. The owner is no part of the entries. A host compares it where the entries are,
//!    not in its own memory: the other owner may be another process.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub use crate::error::StorageFailure;
pub use memory::MemoryStore;
pub use overlay::Picture;
pub use run::Run;
pub use store::{Party, ReadTicket, Store, StoreEvent};
pub use view::View;

#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
pub mod keys;
pub mod log_store;
mod memory;
mod overlay;
pub mod records;
pub mod run;
mod store;
mod view;

/// One ordered key-value space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u32);

/// Names a read or a scan of one store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Names a commit of one store; rises from commit to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// One opening of stores by one process or tab. Two never have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub [u8; OWNER_LEN]);

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Bytes that name an owner.
pub const OWNER_LEN: usize = 16;

/// What a commit must outlive before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The end of this process: for what peers can give again.
    Relaxed,
    /// A loss of power: for a head signed here.
    Strict,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores a value, replacing the one before.
    Put {
        /// Where.
        key: Bytes,
        /// What.
        value: Bytes,
    },
    /// Stores values of keys that are numbered in a row.
    PutRun(Arc<Run>),
    /// Removes a value if there is one.
    Delete {
        /// Which.
        key: Bytes,
    },
    /// Removes all values of a range.
    DeleteRange {
        /// First key.
        start: Bytes,
        /// End, exclusive.
        end: Bytes,
    },
}

/// Changes that happen together, in this order, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub ops: Vec<Op>,
}

/// What the core asks of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Give the values of these keys.
    Read {
        /// Repeated by the outcome.
        id: ReadId,
        /// The keys, in no order, at most [`MAX_READ_KEYS`].
        keys: Vec<Bytes>,
    },
    /// Give the entries of a range.
    Scan {
        /// Repeated by the outcome.
        id: ReadId,
        /// First key.
        start: Bytes,
        /// End, exclusive.
        end: Bytes,
        /// From the last entry to the first.
        reverse: bool,
        /// Most entries wanted, at least 1.
        limit: u32,
    },
    /// Make the store this owner's. The first intent of all, answered before the second one comes.
    Claim {
        /// Repeated by the outcome, which is that of a commit.
        id: CommitId,
        /// Whose it is from now on.
        owner: Owner,
    },
    /// Store a batch.
    Commit {
        /// Repeated by the outcome.
        id: CommitId,
        /// Whose the store has to be.
        owner: Owner,
        /// The changes.
        batch: Batch,
        /// What they must outlive.
        durability: Durability,
    },
}

/// What a host answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To [`Intent::Read`]: a value or its absence for each key, in the order of the keys.
    Read {
        /// That of the intent.
        id: ReadId,
        /// The values.
        values: Vec<Option<Bytes>>,
    },
    /// To [`Intent::Scan`].
    Scan {
        /// That of the intent.
        id: ReadId,
        /// Keys and values in the order asked for.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether the limit, the host's or the intent's, left some out.
        more: bool,
    },
    /// To [`Intent::Claim`] and [`Intent::Commit`].
    Committed(CommitId),
    /// To a read or scan that failed.
    ReadFailed {
        /// That of the intent.
        id: ReadId,
        /// Why.
        failure: StorageFailure,
    },
    /// To a commit that may or may not have happened. Nothing else is committed until the store is opened again.
    CommitFailed {
        /// That of the intent.
        id: CommitId,
        /// Why.
        failure: StorageFailure,
    },
}

/// Most keys of one [`Intent::Read`]: enough for the widest proof, few enough for one transaction.
pub const MAX_READ_KEYS: usize = 512;

/// Bytes of keys and values after which a commit takes no further batch. A larger batch travels alone.
pub const MAX_COMMIT_BYTES: usize = 8 << 20;
