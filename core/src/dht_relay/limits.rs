//! How much one link may ask of a relay.

use core::fmt;

use crate::time::{Duration, Instant};

/// Bounds of one link, from its first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams, from the first message of a handshake to the end.
    pub streams: usize,
    /// Handshakes among them that wait for the client.
    pub handshakes: usize,
    /// Keys that are listened on.
    pub servers: usize,
    /// Queries at once.
    pub queries: usize,
    /// Signatures that the client owes.
    pub signatures: usize,
    /// Requests that start something, at once.
    pub burst: u32,
    /// Requests that start something, per second.
    pub per_second: u32,
    /// Bytes from peers that wait for the client, over all streams.
    pub receive_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 512,
            handshakes: 64,
            servers: 32,
            queries: 64,
            // Twenty nodes store each record.
            signatures: 64 * 20,
            burst: 200,
            per_second: 20,
            receive_buffer: 16 * 1024 * 1024,
        }
    }
}

/// Why a relay closes a link, as a WebSocket status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The relay stops, or the client is silent.
    GoingAway,
    /// Bytes that no correct client sends.
    Protocol,
    /// Text, where only bytes have a meaning.
    Unsupported,
    /// Something that this relay does not do, or too much of it.
    Policy,
    /// A frame beyond the limit.
    TooBig,
    /// The relay is full.
    TryAgainLater,
}

impl CloseCode {
    /// Returns the number of the status.
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::TryAgainLater => 1013,
        }
    }
}

/// Why a relay closes a link, in words that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The client offers its secret key.
    Custodial,
    /// The client did not introduce itself in time.
    NoHandshake,
    /// A frame is no Protomux frame, or a message is none of the protocol.
    Malformed,
    /// The client closed the channel, without which the link is of no use.
    ChannelClosed,
    /// An alias or id is in use already.
    NumberInUse,
    /// More requests than the limits allow, again and again.
    TooManyRequests,
    /// The client does not read what it asked for.
    NotReading,
    /// Nothing came for too long.
    Silent,
}

impl Refusal {
    /// Returns the status.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Malformed | Self::NumberInUse => CloseCode::Protocol,
            Self::ChannelClosed | Self::Silent => CloseCode::GoingAway,
            Self::Custodial | Self::NoHandshake | Self::TooManyRequests | Self::NotReading => {
                CloseCode::Policy
            }
        }
    }

    /// Returns a sentence of less than 124 bytes, as a WebSocket takes it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Custodial => "this relay takes no secret keys, connect with custodial: false",
            Self::NoHandshake => "no handshake message in time",
            Self::Malformed => "malformed message",
            Self::ChannelClosed => "channel closed",
            Self::NumberInUse => "alias or id is in use",
            Self::TooManyRequests => "too many requests",
            Self::NotReading => "messages are not read",
            Self::Silent => "nothing was heard for too long",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Counts requests against a burst and a rate.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Millionths of a request that are left.
    left: u64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self { left: u64::from(limits.burst) * MILLION, at: now }
    }

    /// Takes one request, if there is one left.
    pub(super) fn take(&mut self, limits: &Limits, now: Instant) -> bool {
        let elapsed = now.duration_since(self.at).min(Duration::from_secs(3600));
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let full = u64::from(limits.burst) * MILLION;
        self.at = now;
        self.left = self.left.saturating_add(micros * u64::from(limits.per_second)).min(full);
        let Some(left) = self.left.checked_sub(MILLION) else { return false };
        self.left = left;
        true
    }
}

const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_allows_the_burst_and_then_the_rate() {
        let limits = Limits { burst: 3, per_second: 2, ..Limits::default() };
        let mut bucket = Bucket::new(&limits, Instant::EPOCH);
        let mut taken = |at| (0..10).filter(|_| bucket.take(&limits, at)).count();

        assert_eq!(taken(Instant::EPOCH), 3);
        assert_eq!(taken(Instant::EPOCH + Duration::from_millis(499)), 0);
        assert_eq!(taken(Instant::EPOCH + Duration::from_secs(1)), 2);
        assert_eq!(taken(Instant::EPOCH + Duration::from_secs(100)), 3);
    }

    #[test]
    fn reasons_fit_a_close_frame() {
        assert!(Refusal::Custodial.reason().len() < 124);
    }
}
