//! The kinds of error every module shares, sorted by who must act.
//!
//! | kind | meaning | reaction |
//! | --- | --- | --- |
//! | [`DecodeError`] | bytes that no correct peer sends | close the channel |
//! | [`PeerMisbehaved`] | well-formed but false | close the link, count it |
//! | [`Misuse`] | our caller broke the contract | return it and change nothing |
//! | [`StorageFailure`] | storage lost or corrupted data | stop committing until reopened |
//!
//! A module with more to say defines its own enum of the same kind.

use core::fmt;

pub use crate::compact_encoding::DecodeError;

/// A peer sent something well-formed that is false or over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A public key is not a canonical point of the prime-order group.
    InvalidPublicKey,
    /// A signature does not fit its message and key.
    InvalidSignature,
    /// More of something arrived than the protocol or this side allows.
    LimitExceeded {
        /// The most that is allowed.
        limit: u64,
        /// What arrived.
        found: u64,
    },
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPublicKey => f.write_str("public key is not a point of the prime-order group"),
            Self::InvalidSignature => f.write_str("signature does not match"),
            Self::LimitExceeded { limit, found } => write!(f, "{found} is over the limit of {limit}"),
        }
    }
}

impl core::error::Error for PeerMisbehaved {}

/// The caller broke a contract; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// A block index is not below the length of the core.
    BeyondLength {
        /// The block index.
        index: u64,
        /// The length of the core, in blocks.
        length: u64,
    },
    /// The object is closed.
    Closed,
    /// The two halves of a secret key do not belong together.
    MismatchedSecretKey,
    /// The core cannot be written without a secret key.
    NotWritable,
    /// A value is over what the format can carry.
    TooLarge {
        /// The most that is allowed.
        limit: u64,
        /// What was given.
        found: u64,
    },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondLength { index, length } => write!(f, "block {index} is beyond length {length}"),
            Self::Closed => f.write_str("already closed"),
            Self::MismatchedSecretKey => f.write_str("secret key does not end with its public key"),
            Self::NotWritable => f.write_str("not writable without a secret key"),
            Self::TooLarge { limit, found } => write!(f, "{found} is over the limit of {limit}"),
        }
    }
}

impl core::error::Error for Misuse {}

/// Storage did not do what was asked, or returned what was never stored.
///
/// Nothing more is written afterwards: a store that half works is worse than one that stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageFailure {
    /// The store was closed.
    Closed,
    /// A stored value cannot be what was written.
    Corrupted,
    /// Another tab or process took the store over.
    Fenced,
    /// There is no room left.
    Full,
    /// A key is longer than the backend can hold.
    KeyTooLong,
    /// Another tab or process has the store open.
    Locked,
    /// A value that must exist is absent.
    Missing,
    /// Reading failed.
    ReadFailed,
    /// A later version of this software wrote the store.
    TooNew,
    /// A commit did not become durable.
    WriteFailed,
}

impl StorageFailure {
    /// Returns a stable name for programs to compare.
    pub fn code(self) -> &'static str {
        match self {
            Self::Closed => "STORAGE_CLOSED",
            Self::Corrupted => "STORAGE_CORRUPTED",
            Self::Fenced => "STORAGE_TAKEN_OVER",
            Self::Full => "STORAGE_FULL",
            Self::KeyTooLong => "STORAGE_KEY_TOO_LONG",
            Self::Locked => "STORAGE_LOCKED",
            Self::Missing => "STORAGE_INCOMPLETE",
            Self::ReadFailed => "STORAGE_READ_FAILED",
            Self::TooNew => "STORAGE_TOO_NEW",
            Self::WriteFailed => "STORAGE_WRITE_FAILED",
        }
    }
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "storage is closed",
            Self::Corrupted => "stored data is corrupted",
            Self::Fenced => "storage was taken over by another tab or process",
            Self::Full => "storage is full",
            Self::KeyTooLong => "storage key is too long",
            Self::Locked => "storage is open in another tab or process",
            Self::Missing => "stored data is missing",
            Self::ReadFailed => "read failed",
            Self::TooNew => "storage was written by a later version",
            Self::WriteFailed => "write failed",
        })
    }
}

impl core::error::Error for StorageFailure {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn text_carries_the_numbers() {
        let error = Misuse::BeyondLength { index: 7, length: 5 };

        assert_eq!(error.to_string(), "block 7 is beyond length 5");
    }
}
