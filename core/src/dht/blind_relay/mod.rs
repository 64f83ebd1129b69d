//! Streams between peers whose networks cannot be punched, through a node that both reach.
//!
//! Each of the two dials the relay like any peer and says under which token it wants to be paired, and how its stream is
//! called. The relay forwards packets between the two streams unread: it knows neither who talks nor what is said.
//!
//! Source: blind-relay 1.6, and hyperdht 6.33, `lib/relay-connection.js`.

mod call;
mod link;
mod messages;
mod service;

pub use messages::{Pair, Unpair};
pub use service::{Figures, Peer};

pub(crate) use call::{Call, CallRequest, Relaying};
pub(crate) use link::{Link, LinkEvent};
pub(crate) use service::Service;

/// Name of the protocol.
pub const PROTOCOL: &str = "blind-relay";
