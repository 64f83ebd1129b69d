//! A message buffer with room around it.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::cipher::{OVERHEAD, Push, Tag};
use super::framer::PREFIX_LEN;
use crate::compact_encoding::Writer;

/// A message under construction, laid out so that sealing and framing happen where it lies.
///
/// The buffer is `3 bytes for the length ‖ 1 for the tag ‖ message`, with capacity for the mac behind.
pub struct Outgoing(Writer);

impl Outgoing {
    /// Creates an empty message with room for `len` bytes; more may be written at the price of a copy.
    pub fn with_capacity(len: usize) -> Self {
        let mut writer = Writer::with_capacity(HEADROOM + len + TAILROOM);
        writer.raw(&[0; HEADROOM]);
        Self(writer)
    }

    /// Returns the writer to append the message to. What is in it already must stay.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.0
    }

    /// Returns the bytes of the message.
    pub fn message(&self) -> &[u8] {
        self.0.as_slice().get(HEADROOM..).unwrap_or_default()
    }

    /// Returns the length of the message in bytes.
    pub fn len(&self) -> usize {
        self.message().len()
    }

    /// Returns whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the message as it is, for a transport that needs neither sealing nor framing.
    pub fn into_plain(self) -> Bytes {
        let buffer = self.0.into_vec();
        let start = HEADROOM.min(buffer.len());
        Bytes::from(buffer).slice(start..)
    }

    /// Returns the message as one sealed frame.
    pub(super) fn into_sealed(self, push: &mut Push) -> Bytes {
        let mut buffer = self.0.into_vec();
        buffer.resize(buffer.len() + TAILROOM, 0);
        push.seal(Tag::MESSAGE, &mut buffer[PREFIX_LEN..]);
        into_frame(buffer)
    }
}

impl From<&[u8]> for Outgoing {
    fn from(message: &[u8]) -> Self {
        let mut outgoing = Self::with_capacity(message.len());
        outgoing.0.raw(message);
        outgoing
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("len", &self.len()).finish()
    }
}

/// Writes the length of the body into the first three bytes of `buffer`.
pub(super) fn into_frame(mut buffer: Vec<u8>) -> Bytes {
    let len = buffer.len() - PREFIX_LEN;
    buffer[..PREFIX_LEN].copy_from_slice(&(len as u32).to_le_bytes()[..PREFIX_LEN]);
    buffer.into()
}

/// Bytes in front of the message.
const HEADROOM: usize = PREFIX_LEN + 1;

/// Bytes behind the message.
const TAILROOM: usize = OVERHEAD - 1;
