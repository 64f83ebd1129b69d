//! Credit for each stream, which the protocol of upstream's has not.
//!
//! A WebSocket cannot be stopped for one stream alone: a client that does not read one of many would have to take what comes
//! for it, or to stop all. With this channel the client says what it has read, and the relay lets a peer send no more than
//! fits, so that a slow reader slows its peer and nobody else. The channel is the client's to open; without it, bytes
//! count as read once they have left for the client.
//!
//! # Wire
//!
//! Channel [`CREDIT_PROTOCOL`], message 0 from the client: `u32 the relay's alias of the stream ‖ u32 bytes`, little endian.

use crate::compact_encoding::{DecodeError, Encode, Reader, Writer};

/// Name of the channel.
pub const CREDIT_PROTOCOL: &str = "hypertab/relay-credit";

/// Says that bytes of a stream were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The relay's alias of the stream.
    pub alias: u32,
    /// How many more.
    pub bytes: u32,
}

impl Credit {
    /// Number of the message.
    pub const TYPE: u64 = 0;

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self { alias: reader.u32()?, bytes: reader.u32()? })
    }
}

impl Encode for Credit {
    fn encoded_len(&self) -> usize {
        8
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.alias);
        writer.u32(self.bytes);
    }
}

/// Bytes that gather before the relay is told: half of what a peer may always send ahead.
pub(super) const STEP: u32 = 32 * 1024;
