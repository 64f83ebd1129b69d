//! What can be wrong with bytes.

use core::fmt;

/// Bytes that no correct peer sends and no correct writer stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    UnexpectedEnd {
        /// Bytes the value needs at least; saturated.
        needed: u64,
        /// Bytes that were left.
        remaining: u64,
    },
    /// A number is above what its field allows.
    TooLarge {
        /// The largest allowed value.
        limit: u64,
        /// The value found.
        found: u64,
    },
    /// Values are nested too deeply.
    TooDeep {
        /// The deepest allowed nesting.
        limit: u64,
    },
    /// A string is not UTF-8.
    InvalidUtf8 {
        /// Bytes before the first wrong one.
        valid_up_to: u64,
    },
    /// A tag, type, version or flag has no meaning here.
    UnknownTag {
        /// The value found.
        found: u64,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd { needed, remaining } => {
                write!(f, "needs {needed} bytes where {remaining} remain")
            }
            Self::TooLarge { limit, found } => write!(f, "{found} is over the limit of {limit}"),
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit}"),
            Self::InvalidUtf8 { valid_up_to } => write!(f, "string is not utf-8 after {valid_up_to} bytes"),
            Self::UnknownTag { found } => write!(f, "unknown tag {found}"),
        }
    }
}

impl core::error::Error for DecodeError {}
