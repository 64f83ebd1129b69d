//! The bytes of Protomux frames.
//!
//! # Wire
//!
//! `uint channel ‖ uint type ‖ payload`, with the sender's number of the channel. Channel 0 is control:
//!
//! | type | payload | meaning |
//! | --- | --- | --- |
//! | 0 | `uint channel`, then items `uint len ‖ uint type ‖ payload`; an item of length 0 and a `uint channel` switch the channel | batch |
//! | 1 | `uint id ‖ string protocol ‖ buffer key ‖ handshake` | the sender opens its channel `id` |
//! | 2 | `uint id` | the sender refuses the receiver's channel `id` |
//! | 3 | `uint id` | the sender closed its channel `id` |

use alloc::string::{String, ToString};

use bytes::Bytes;

use super::PeerMisbehaved;
use crate::compact_encoding::{Reader, Writer, buffer_len, string_len, uint_len};

pub(super) const CONTROL: u64 = 0;
pub(super) const BATCH: u64 = 0;
pub(super) const OPEN: u64 = 1;
pub(super) const REJECT: u64 = 2;
pub(super) const CLOSE: u64 = 3;

/// A remote end's wish to open a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) protocol: String,
    pub(super) key: Option<Bytes>,
    pub(super) handshake: Bytes,
}

impl Open {
    /// Decodes what follows the type.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, PeerMisbehaved> {
        let mut reader = Reader::new(bytes);
        let id = reader.uint()?;
        let protocol = reader.string()?.to_string();
        let key = reader.optional_buffer()?.map(|key| bytes.slice_ref(key));
        for found in [protocol.len(), key.as_ref().map_or(0, Bytes::len)] {
            if found > MAX_NAME {
                return Err(PeerMisbehaved::NameTooLong { found });
            }
        }
        Ok(Self { id, protocol, key, handshake: bytes.slice_ref(reader.raw()) })
    }
}

/// Returns how many bytes [`put_open`] appends.
pub(super) fn open_len(id: u64, protocol: &str, key: &[u8], handshake: &[u8]) -> usize {
    uint_len(OPEN) + uint_len(id) + string_len(protocol) + buffer_len(key) + handshake.len()
}

/// Appends the control message that opens the sender's channel `id`, from its type on.
pub(super) fn put_open(writer: &mut Writer, id: u64, protocol: &str, key: &[u8], handshake: &[u8]) {
    writer.uint(OPEN);
    writer.uint(id);
    writer.string(protocol);
    writer.buffer(key);
    writer.raw(handshake);
}

/// Takes a `uint` off the front.
pub(super) fn take_uint(bytes: &mut Bytes) -> Result<u64, PeerMisbehaved> {
    let mut reader = Reader::new(bytes);
    let value = reader.uint()?;
    *bytes = bytes.slice_ref(reader.raw());
    Ok(value)
}

/// Takes bytes with their length before them off the front.
pub(super) fn take_buffer(bytes: &mut Bytes) -> Result<Bytes, PeerMisbehaved> {
    let mut reader = Reader::new(bytes);
    let value = bytes.slice_ref(reader.buffer()?);
    *bytes = bytes.slice_ref(reader.raw());
    Ok(value)
}

/// Longest protocol name and longest channel key, in bytes. Real ones have some 30.
const MAX_NAME: usize = 1024;
