//! What a peer and a blind relay say to each other.

use crate::compact_encoding::{DecodeError, Encode, Reader, Writer, uint_len};

/// Asks to be paired, and answers once both sides have asked.
///
/// # Wire
///
/// Message 0: `u8 flags(1 initiator) ‖ fixed32 token ‖ uint id ‖ uint seq(0)`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Which of the two sides it is: that which chose the token.
    pub is_initiator: bool,
    /// What both sides name.
    pub token: [u8; 32],
    /// By which id the receiver addresses the sender's stream.
    pub id: u64,
    /// First packet number.
    pub seq: u64,
}

/// Takes the wish to be paired back.
///
/// # Wire
///
/// Message 1: `u8 flags(0) ‖ fixed32 token`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpair {
    /// What both sides name.
    pub token: [u8; 32],
}

impl Pair {
    /// Number of the message.
    pub const TYPE: u64 = 0;

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            is_initiator: reader.u8()? & 1 != 0,
            token: reader.fixed()?,
            id: reader.uint()?,
            seq: reader.uint()?,
        })
    }
}

impl Encode for Pair {
    fn encoded_len(&self) -> usize {
        1 + 32 + uint_len(self.id) + uint_len(self.seq)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.is_initiator));
        writer.fixed(&self.token);
        writer.uint(self.id);
        writer.uint(self.seq);
    }
}

impl Unpair {
    /// Number of the message.
    pub const TYPE: u64 = 1;

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        Ok(Self { token: reader.fixed()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_upstreams() {
        // `dht-messages.json`, `blindRelayPair` and `blindRelayUnpair`.
        let mut bytes = alloc::vec![1];
        bytes.extend([9; 32]);
        bytes.extend([77, 0]);
        let pair = Pair { is_initiator: true, token: [9; 32], id: 77, seq: 0 };
        let mut writer = Writer::with_capacity(pair.encoded_len());
        pair.encode(&mut writer);

        assert_eq!(writer.as_slice(), bytes);
        assert_eq!(pair.encoded_len(), bytes.len());
        assert_eq!(Pair::decode(&bytes), Ok(pair));
        bytes[0] = 0;
        assert_eq!(Unpair::decode(&bytes), Ok(Unpair { token: [9; 32] }));
        assert!(Pair::decode(&bytes[..34]).is_err() && Unpair::decode(&bytes[..32]).is_err());
    }
}
