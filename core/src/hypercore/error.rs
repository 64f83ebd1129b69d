//! Why an operation on a core failed, with upstream's codes.
//!
//! Source: hypercore-errors 1.5, `index.js`.

use core::fmt;

use crate::error::StorageFailure;

use super::manifest::BadManifest;
use super::prove::Refused;
use super::verifier::NotASigner;
use super::verify::VerifyError;

/// Why an operation on a core failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreError {
    /// An argument makes no sense.
    BadArgument(&'static str),
    /// A block is not here, and was not to be waited for.
    BlockNotAvailable {
        /// Which.
        index: u64,
    },
    /// A block is larger than [`MAX_BLOCK_SIZE`](super::core::MAX_BLOCK_SIZE).
    BlockTooLarge {
        /// Its stored bytes.
        found: u64,
    },
    /// The core is closed or closing.
    Closed,
    /// A block is not of the form that it should have.
    Decoding,
    /// A node does not have the hash or size that is stored.
    InvalidChecksum {
        /// Tree index.
        index: u64,
    },
    /// The operation does not fit the log.
    InvalidOperation(&'static str),
    /// A proof does not prove what it contains.
    InvalidProof,
    /// A signature does not fit.
    InvalidSignature,
    /// The core cannot be written without a secret key.
    NotWritable,
    /// Whoever asked gave up.
    RequestCancelled,
    /// Nobody answered in time.
    RequestTimeout,
    /// The block of a snapshot was truncated away.
    SnapshotNotAvailable {
        /// The block.
        index: u64,
        /// Blocks that the snapshot still shares with the log.
        length: u64,
    },
    /// Storage failed. Nothing more is read or written.
    Storage(StorageFailure),
    /// Another core is stored there.
    StorageConflict(&'static str),
    /// No core is stored there, and none was to be made.
    StorageEmpty,
}

impl CoreError {
    /// Returns upstream's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadArgument(_) | Self::BlockTooLarge { .. } => "BAD_ARGUMENT",
            Self::BlockNotAvailable { .. } => "BLOCK_NOT_AVAILABLE",
            Self::Closed => "SESSION_CLOSED",
            Self::Decoding => "DECODING_ERROR",
            Self::InvalidChecksum { .. } => "INVALID_CHECKSUM",
            Self::InvalidOperation(_) => "INVALID_OPERATION",
            Self::InvalidProof => "INVALID_PROOF",
            Self::InvalidSignature => "INVALID_SIGNATURE",
            Self::NotWritable => "SESSION_NOT_WRITABLE",
            Self::RequestCancelled => "REQUEST_CANCELLED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::SnapshotNotAvailable { .. } => "SNAPSHOT_NOT_AVAILABLE",
            Self::Storage(_) => "WRITE_FAILED",
            Self::StorageConflict(_) => "STORAGE_CONFLICT",
            Self::StorageEmpty => "STORAGE_EMPTY",
        }
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadArgument(what) | Self::InvalidOperation(what) | Self::StorageConflict(what) => {
                f.write_str(what)
            }
            Self::BlockTooLarge { found } => {
                write!(f, "block of {found} bytes is over the limit of {}", super::core::MAX_BLOCK_SIZE)
            }
            Self::BlockNotAvailable { index } => write!(f, "block {index} is not available"),
            Self::Closed => f.write_str("core is closed"),
            Self::Decoding => f.write_str("block cannot be decoded"),
            Self::InvalidChecksum { index } => write!(f, "invalid checksum at node {index}"),
            Self::InvalidProof => f.write_str("proof does not prove what it contains"),
            Self::InvalidSignature => f.write_str("invalid signature"),
            Self::NotWritable => f.write_str("core is not writable"),
            Self::RequestCancelled => f.write_str("request was cancelled"),
            Self::RequestTimeout => f.write_str("request timed out"),
            Self::SnapshotNotAvailable { index, length } => {
                write!(f, "block {index} of the snapshot is gone, {length} are left")
            }
            Self::Storage(failure) => failure.fmt(f),
            Self::StorageEmpty => f.write_str("no hypercore is stored here"),
        }
    }
}

impl core::error::Error for CoreError {}

impl From<StorageFailure> for CoreError {
    fn from(failure: StorageFailure) -> Self {
        Self::Storage(failure)
    }
}

impl From<BadManifest> for CoreError {
    fn from(_: BadManifest) -> Self {
        Self::BadArgument("manifest contradicts itself")
    }
}

impl From<NotASigner> for CoreError {
    fn from(_: NotASigner) -> Self {
        Self::BadArgument("public key is not a declared signer")
    }
}

impl From<Refused> for CoreError {
    fn from(_: Refused) -> Self {
        Self::InvalidOperation("proof cannot be made")
    }
}

impl From<VerifyError> for CoreError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::InvalidChecksum { index } => Self::InvalidChecksum { index },
            VerifyError::InvalidManifest | VerifyError::InvalidSignature => Self::InvalidSignature,
            VerifyError::InvalidProof | VerifyError::Refused => Self::InvalidProof,
            _ => Self::InvalidOperation("proof does not fit the log"),
        }
    }
}
