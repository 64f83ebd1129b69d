//! How much one link may ask of a relay.

use core::fmt;

use crate::time::Duration;

/// Bounds of the protocol on one link, from its first byte on. How much it may have, see [`Quota`](super::Quota).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries at once.
    pub queries: usize,
    /// Signatures that the client owes.
    pub signatures: usize,
    /// Requests that start something, at once.
    pub burst: u32,
    /// Requests that start something, per second.
    pub per_second: u32,
    /// Requests turned down, beyond those taken, before the link is closed.
    pub turned_down: u32,
    /// Bytes from peers that wait for the client, over all streams.
    pub receive_buffer: usize,
    /// Bytes that the client may send to streams that asked it to wait, before the link is not read any more. The
    /// protocol cannot ask, so a client finds out in this way only.
    pub send_buffer: usize,
    /// Bytes of messages, other than those of streams, that wait for the client. A lookup result has about 2 KiB.
    pub control_buffer: usize,
    /// How long a client may take to introduce itself.
    pub handshake_timeout: Duration,
    /// How long a client may say nothing.
    pub idle_timeout: Duration,
    /// How long a client may take to sign, or to name a connection. Tokens are good for 15 s.
    pub answer_timeout: Duration,
    /// How long a peer may take nothing while the client sends to it. Longer would hold up all other streams of the link.
    pub blocked_timeout: Duration,
    /// How long a link is held whose WebSocket broke, for a client that goes on with it; `None` holds none.
    pub resume_grace: Option<Duration>,
    /// Bytes that are kept for clients that come back, over all links of the relay; those that have waited longest go first.
    pub resume_bytes: usize,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self {
        queries: 64,
        // Twenty nodes store each record.
        signatures: 64 * 20,
        burst: 200,
        per_second: 20,
        turned_down: 256,
        receive_buffer: 16 * 1024 * 1024,
        send_buffer: 1024 * 1024,
        control_buffer: 4 * 1024 * 1024,
        handshake_timeout: Duration::from_secs(10),
        // As upstream.
        idle_timeout: Duration::from_secs(45),
        answer_timeout: Duration::from_secs(10),
        blocked_timeout: Duration::from_secs(30),
        resume_grace: Some(Duration::from_secs(10)),
        resume_bytes: 256 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Dial peers.
    pub dial: bool,
    /// Listen on keys.
    pub listen: bool,
    /// Look up topics.
    pub lookup: bool,
    /// Announce keys under topics, and take them back.
    pub announce: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self { dial: true, listen: true, lookup: true, announce: true };
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
    /// The client sends text.
    Text,
    /// A WebSocket message is larger than it may be.
    TooBig,
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
    /// The operator does not serve this key.
    KeyDenied,
    /// The key has as many links as it may have.
    TooManyLinks,
    /// New links come too fast.
    TooFast,
    /// As many bytes went through as may go in a day.
    DaySpent,
    /// The link is as old as it may become, or what let it in has expired.
    Expired,
    /// The relay is going to stop.
    Draining,
}

impl Refusal {
    /// All there are.
    pub const ALL: [Self; 16] = [
        Self::Custodial,
        Self::NoHandshake,
        Self::Malformed,
        Self::Text,
        Self::TooBig,
        Self::ChannelClosed,
        Self::NumberInUse,
        Self::TooManyRequests,
        Self::NotReading,
        Self::Silent,
        Self::KeyDenied,
        Self::TooManyLinks,
        Self::TooFast,
        Self::DaySpent,
        Self::Expired,
        Self::Draining,
    ];

    /// Returns the status.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Malformed | Self::NumberInUse => CloseCode::Protocol,
            Self::Text => CloseCode::Unsupported,
            Self::TooBig => CloseCode::TooBig,
            Self::ChannelClosed | Self::Silent | Self::Draining => CloseCode::GoingAway,
            Self::TooManyLinks | Self::TooFast | Self::DaySpent => CloseCode::TryAgainLater,
            Self::Custodial
            | Self::NoHandshake
            | Self::TooManyRequests
            | Self::NotReading
            | Self::KeyDenied
            | Self::Expired => CloseCode::Policy,
        }
    }

    /// Returns a sentence of less than 124 bytes, as a WebSocket takes it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Custodial => "this relay takes no secret keys, connect with custodial: false",
            Self::NoHandshake => "no handshake message in time",
            Self::Malformed => "malformed message",
            Self::Text => "only binary messages are understood",
            Self::TooBig => "this message is larger than one may be",
            Self::ChannelClosed => "channel closed",
            Self::NumberInUse => "alias or id is in use",
            Self::TooManyRequests => "too many requests",
            Self::NotReading => "messages are not read",
            Self::Silent => "nothing was heard for too long",
            Self::KeyDenied => "this relay does not serve this key",
            Self::TooManyLinks => "this key has too many connections to this relay",
            Self::TooFast => "this key connects too often",
            Self::DaySpent => "the traffic of today is used up, come back tomorrow",
            Self::Expired => "the time of this connection is over, connect again",
            Self::Draining => "the relay stops, connect again or to another one",
        }
    }

    /// Returns it as a word, for figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Custodial => "custodial",
            Self::NoHandshake => "no_handshake",
            Self::Malformed => "malformed",
            Self::Text => "text",
            Self::TooBig => "too_big",
            Self::ChannelClosed => "channel_closed",
            Self::NumberInUse => "number_in_use",
            Self::TooManyRequests => "too_many_requests",
            Self::NotReading => "not_reading",
            Self::Silent => "silent",
            Self::KeyDenied => "key_denied",
            Self::TooManyLinks => "too_many_links",
            Self::TooFast => "too_fast",
            Self::DaySpent => "day_spent",
            Self::Expired => "expired",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame() {
        for refusal in Refusal::ALL {
            assert!(refusal.reason().len() < 124, "{refusal}");
        }
        for (at, refusal) in Refusal::ALL.iter().enumerate() {
            assert!(!Refusal::ALL[..at].iter().any(|other| other.name() == refusal.name()));
        }
    }
}
