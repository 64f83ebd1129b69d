//! The encoding of every message and every stored record: compact-encoding.
//!
//! [`Reader`] takes values off the front of a byte slice, [`Writer`] puts them at the end of a vector, and
//! both name their methods after upstream's codecs. A type with a fixed layout implements [`Encode`] and
//! [`Decode`] side by side.
//!
//! # Wire
//!
//! | method | bytes |
//! | --- | --- |
//! | `uint` | up to 0xfc: itself; then `fd u16`, `fe u32`, `ff u64` |
//! | `int` | zig-zag, then `uint` |
//! | `u8` .. `u64` | that many bits, little-endian |
//! | `buffer`, `string` | `uint` length, then bytes |
//! | `optional_buffer` | as `buffer`; empty means absent |
//! | `fixed`, `bytes` | that many bytes |
//! | `raw` | all the rest |
//! | `array` | `uint` count, then items |
//! | `frame` | `uint` length, then a value that ends there |
//!
//! Longer widths than needed are accepted in a `uint`. Bytes after the last field are ignored, which is how
//! a format grows: a decoder reads an optional tail only while [`Reader::is_empty`] is false.
//!
//! Source: compact-encoding 3.3.2, `index.js` and `lexint.js`.

use alloc::vec::Vec;

pub use any::Any;
pub use error::DecodeError;
pub use reader::Reader;
pub use writer::{Writer, buffer_len, string_len, uint_len};

pub mod any;
mod error;
mod reader;
mod writer;

/// The largest `uint`, 2^53 - 1: what a JavaScript number holds exactly.
pub const MAX_UINT: u64 = (1 << 53) - 1;

/// The most items an `array` may announce; upstream's limit.
pub const MAX_ARRAY_LEN: u64 = 0x10_0000;

/// The result of taking a value off a [`Reader`].
pub type Result<T> = core::result::Result<T, DecodeError>;

/// A value with a byte form.
pub trait Encode {
    /// Returns the exact number of bytes [`encode`](Self::encode) appends.
    fn encoded_len(&self) -> usize;

    /// Appends the byte form.
    fn encode(&self, writer: &mut Writer);

    /// Returns the byte form alone.
    fn to_vec(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_len());
        self.encode(&mut writer);
        debug_assert_eq!(writer.as_slice().len(), self.encoded_len());
        writer.into_vec()
    }
}

/// A value that can be read back from its byte form, borrowing from it where it can.
pub trait Decode<'a>: Sized {
    /// Takes the value off the front of `reader`.
    ///
    /// # Errors
    ///
    /// Returns a [`DecodeError`] when the bytes are no such value; `reader` is then of no further use.
    fn decode(reader: &mut Reader<'a>) -> Result<Self>;

    /// Reads the value at the front of `bytes` and ignores what follows it.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    fn from_slice(bytes: &'a [u8]) -> Result<Self> {
        Self::decode(&mut Reader::new(bytes))
    }
}
