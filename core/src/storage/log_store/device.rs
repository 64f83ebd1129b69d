//! What the machine and its device say to each other.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::error::StorageFailure;
use crate::storage::Owner;

/// What the machine asks of its device. Each op has an `id` that the answer repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceOp {
    /// Note that the store is this owner's: a write of whoever was it before fails from now on.
    Claim {
        /// Repeated by [`DeviceReply::Written`].
        id: u64,
        /// Whose writes happen.
        owner: Owner,
    },
    /// Give both headers, as written last into each place; an absent one is empty.
    ReadHeaders {
        /// Repeated by [`DeviceReply::Headers`].
        id: u64,
    },
    /// Give the bytes of each part. Answered by [`DeviceReply::Bytes`], in order.
    Read {
        /// Repeated by the answer.
        id: u64,
        /// Pieces of records; any number of them, each inside one record.
        parts: Vec<Part>,
    },
    /// Give `len` bytes of the log from an address on, fewer where it ends. A table gives the records from `from`
    /// to before `from + len`, joined, if there is one that starts at `from`; more than `len` bytes do no harm.
    Replay {
        /// Repeated by [`DeviceReply::Bytes`] with one element, empty when nothing is there.
        id: u64,
        /// Address of the first byte.
        from: u64,
        /// Bytes wanted.
        len: u64,
    },
    /// Append records, in order and as one transaction where the device has them, unless the store was claimed by
    /// another owner since: then nothing is written, and [`StorageFailure::Fenced`] is the answer.
    Write {
        /// Repeated by [`DeviceReply::Written`].
        id: u64,
        /// Records with their addresses, which rise. Adjacent ones may be written at once.
        records: Vec<(u64, Bytes)>,
        /// Whether the records must be on the disk, not just in the system's cache, before the answer.
        durable: bool,
        /// A new header with its place (0 or 1): written, and made durable, once the records are durable.
        header: Option<(u8, Bytes)>,
        /// Ranges of the log that nothing refers to once this op is done.
        free: Vec<Range<u64>>,
    },
}

impl DeviceOp {
    /// The id that the reply repeats.
    pub const fn id(&self) -> u64 {
        let (DeviceOp::Claim { id, .. }
        | DeviceOp::ReadHeaders { id }
        | DeviceOp::Read { id, .. }
        | DeviceOp::Replay { id, .. }
        | DeviceOp::Write { id, .. }) = self;
        *id
    }
}

/// A piece of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Address of the record.
    pub record: u64,
    /// Bytes from the record's start.
    pub offset: u32,
    /// Bytes wanted.
    pub len: u32,
}

/// What a device answers.
#[derive(Debug, Clone)]
pub enum DeviceReply {
    /// To [`DeviceOp::ReadHeaders`].
    Headers([Bytes; 2]),
    /// To [`DeviceOp::Read`] and [`DeviceOp::Replay`].
    Bytes(Vec<Bytes>),
    /// To [`DeviceOp::Write`].
    Written,
    /// To a [`DeviceOp::Write`] with a header: the records are written, and the rest goes on while other ops are carried
    /// out. [`Written`](Self::Written) follows. Only for devices that keep what is written afterwards even if the rest fails.
    Placed,
    /// To any op that failed.
    Failed(StorageFailure),
}
