//! Links that outlive their WebSocket, which the protocol of upstream's has not.
//!
//! A WebSocket breaks when a tab changes its network, and a proxy between breaks it when it likes. Everything that the link
//! carries would end with it, though neither the tab nor the relay has gone. With this channel both ends count the frames of
//! the link and keep those that the other one may lack, and the client goes on with the same link over another WebSocket:
//! what was lost is sent again, and the streams notice nothing but a pause.
//!
//! The relay holds a link whose WebSocket broke for as long as it has said, or whose client closed it with the status
//! [`LEFT`] because nothing came over it any more. A WebSocket that was closed in another way has ended its link. A second claim takes over from the first, which may be a connection that only the relay believes in.
//!
//! # Wire
//!
//! Channel [`RESUME_PROTOCOL`], which the client opens among the first things on each WebSocket; it has no messages.
//!
//! | handshake of | on a new link | on a WebSocket that goes on with one |
//! |---|---|---|
//! | client | nothing | `fixed32 token ‖ uint frames received` |
//! | relay | `fixed32 token ‖ uint milliseconds that it holds the link` | `uint frames received` |
//!
//! A relay that cannot go on, or does not know the channel, rejects it. Frames are counted on each side from the first one
//! of the first WebSocket. Those with which a link is claimed do not count, nor do acknowledgements: frames
//! `uint 0 ‖ uint 250 ‖ uint frames received`, which Protomux has no meaning for. Right after the relay's open of a claim each
//! side sends what the other has not received, and goes on.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use crate::compact_encoding::{Encode, Reader, Result, Writer, uint_len};
use crate::time::Duration;

/// Name of the channel.
pub const RESUME_PROTOCOL: &str = "hypertab/relay-resume";

/// Status with which a client closes a WebSocket that it goes on without.
pub const LEFT: u16 = 4000;

/// What goes on with a link: whoever has it has the link.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub [u8; 32]);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// How a link may be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What to show.
    pub token: Token,
    /// How long the relay holds the link.
    pub grace: Duration,
}

impl Ticket {
    /// Decodes a relay's handshake.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let token = Token(reader.fixed()?);
        Ok(Self { token, grace: Duration::from_millis(reader.uint()?.min(MAX_GRACE)) })
    }
}

impl Encode for Ticket {
    fn encoded_len(&self) -> usize {
        32 + uint_len(millis(self.grace))
    }

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.token.0);
        writer.uint(millis(self.grace));
    }
}

/// Goes on with a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub token: Token,
    /// Frames of the relay's that the client has.
    pub received: u64,
}

impl Claim {
    /// Decodes a client's handshake; `None` when a new link begins.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        Ok(Some(Self { token: Token(reader.fixed()?), received: reader.uint()? }))
    }
}

impl Encode for Claim {
    fn encoded_len(&self) -> usize {
        32 + uint_len(self.received)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.token.0);
        writer.uint(self.received);
    }
}

/// Encodes the relay's answer to a claim.
pub fn encode_count(received: u64) -> Vec<u8> {
    let mut writer = Writer::with_capacity(uint_len(received));
    writer.uint(received);
    writer.into_vec()
}

/// Decodes the relay's answer to a claim.
///
/// # Errors
///
/// Returns what is malformed.
pub fn decode_count(bytes: &[u8]) -> Result<u64> {
    Reader::new(bytes).uint()
}

/// Makes the frame that says how many have come.
pub fn encode_ack(received: u64) -> Vec<u8> {
    let mut writer = Writer::with_capacity(ACK.len() + uint_len(received));
    writer.raw(&ACK);
    writer.uint(received);
    writer.into_vec()
}

/// Reads how many frames have come; `None` for any other frame.
///
/// # Errors
///
/// Returns what is malformed.
pub fn decode_ack(frame: &[u8]) -> Result<Option<u64>> {
    frame.strip_prefix(&ACK).map(decode_count).transpose()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(MAX_GRACE)
}

/// What an acknowledgement begins with: Protomux's own channel, and a number that it has no message for.
const ACK: [u8; 2] = [0, 250];

/// Longest time that a relay may speak of, in milliseconds: a client should not wait any longer for what is not there.
const MAX_GRACE: u64 = 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_and_acknowledgements_are_read_as_they_were_written() {
        let token = Token([7; 32]);
        let ticket = Ticket { token: token.clone(), grace: Duration::from_secs(10) };
        assert_eq!(Ticket::decode(&ticket.to_vec()), Ok(ticket.clone()));
        let claim = Claim { token, received: 70_000 };
        assert_eq!(Claim::decode(&claim.to_vec()), Ok(Some(claim.clone())));
        assert_eq!(Claim::decode(&[]), Ok(None));
        assert_eq!(decode_count(&encode_count(300)), Ok(300));
        assert_eq!(decode_ack(&encode_ack(300)), Ok(Some(300)));
        assert_eq!(decode_ack(&[1, 250, 3]), Ok(None));
        assert!(decode_ack(&[0, 250]).is_err());
        assert!(Claim::decode(&[1; 32]).is_err() && Ticket::decode(&[1; 31]).is_err());
        assert!(!alloc::format!("{ticket:?} {claim:?}").contains("7, 7"), "a token is shown to nobody");
    }
}
