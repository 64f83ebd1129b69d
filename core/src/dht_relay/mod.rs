//! The relay protocol: how a tab without UDP uses a HyperDHT node that somebody else runs.
//!
//! Source: @hyperswarm/dht-relay 0.4.3.
//!
//! One Protomux session without encryption of its own runs between the tab and the relay, with one channel of the
//! protocol [`PROTOCOL`] in it. [`Client`] is the tab's machine, `Bridge` (feature `dht`) the relay's, and
//! [`messages`] what they say to each other. Secret keys stay with the client: the relay asks it for signatures, and the
//! Noise handshakes and the secret streams run between the client and its peers, end to end.

#[cfg(feature = "dht")]
mod backend;
#[cfg(feature = "dht")]
mod bridge;
#[cfg(feature = "dht")]
mod bucket;
mod client;
mod credit;
pub mod detour;
mod handshakes;
#[cfg(feature = "dht")]
mod ledger;
#[cfg(feature = "dht")]
mod limits;
pub mod messages;
pub mod queries;
#[cfg(feature = "dht")]
mod quota;
#[cfg(feature = "dht")]
mod reach;
pub mod resume;
#[cfg(feature = "dht")]
mod session;
pub mod signing;
mod window;

#[cfg(feature = "dht")]
pub use backend::Counters;
#[cfg(feature = "dht")]
pub use bridge::{Bridge, BridgeEvent, BridgeOptions, Figures, LinkId};
pub use client::{
    Client, ClientEvent, Failure, IncomingId, MAX_STREAM_QUEUE, QueryError, QueryId, ServerId, Signee,
    Signer, StreamError, StreamId,
};
pub use credit::{CREDIT_PROTOCOL, Credit};
#[cfg(feature = "dht")]
pub use limits::{CloseCode, Limits, Permissions, Refusal};
#[cfg(feature = "dht")]
pub use quota::{Charge, Full, Quota, Quotas, Resource, Scope, Way};
pub(crate) use window::Window;

/// Name of the channel.
pub const PROTOCOL: &str = "@hyperswarm/dht-relay";

/// Most bytes of a frame that this side sends or takes. Longer writes are cut, which means nothing to the protocol.
pub const MAX_FRAME: usize = 1024 * 1024;

/// Returns the next alias or id of one side: they count from 1 and wrap to 1.
fn next_number(last: &mut u32) -> u32 {
    *last = last.checked_add(1).unwrap_or(1);
    *last
}
