//! HyperDHT: finding, storing, announcing, and connecting over UDP.
//!
//! [`Endpoint`] is the whole: a [`Node`] that takes part in the DHT, the operations on it, servers, connections and
//! their UDX streams, all over the same sockets. It does no I/O: datagrams and time go in, datagrams and events
//! come out.
//!
//! Source: dht-rpc 6.27 and hyperdht 6.33.

mod address;
mod announcer;
pub mod blind_relay;
mod cache;
mod client;
mod connect;
mod context;
mod endpoint;
mod events;
mod firewall;
mod health;
mod keepalive;
pub mod messages;
mod node;
mod noise_seat;
mod persistent;
pub mod punch;
mod query;
mod rate;
mod rng;
mod router;
pub mod rpc;
mod server;
pub mod signing;
mod streams;
mod wire;

pub use address::{is_bogon, is_private, is_reserved, match_address};
pub use endpoint::{Announce, Connect, Endpoint, EndpointOptions, Listen, Misuse};
pub use events::{
    ConnectError, ConnectionId, Event, Finished, LookupReply, OperationError, OperationId, ServerId,
    SignatureId, SignatureRequest, Signee, StreamError,
};
pub use node::{K, Mode, Node, NodeEvent, NodeOptions, ReplyOptions};
pub use noise_seat::{Identity, holepunch_secret};
pub use persistent::{Persistent, Response};
pub use query::{DownHint, Query, QueryId, QueryOptions, Step};
pub use rng::Rng;
pub use router::{Hop, Route, answer_handshake, answer_holepunch, route_handshake, route_holepunch};

/// Commands of hyperdht.
pub mod command {
    /// Pass a handshake on.
    pub const PEER_HANDSHAKE: u64 = 0;
    /// Pass a holepunch message on.
    pub const PEER_HOLEPUNCH: u64 = 1;
    /// Name the record of a server.
    pub const FIND_PEER: u64 = 2;
    /// Name the records of a topic.
    pub const LOOKUP: u64 = 3;
    /// Store a record.
    pub const ANNOUNCE: u64 = 4;
    /// Drop a record.
    pub const UNANNOUNCE: u64 = 5;
    /// Store a mutable value.
    pub const MUTABLE_PUT: u64 = 6;
    /// Return a mutable value.
    pub const MUTABLE_GET: u64 = 7;
    /// Store an immutable value.
    pub const IMMUTABLE_PUT: u64 = 8;
    /// Return an immutable value.
    pub const IMMUTABLE_GET: u64 = 9;
    /// Ask a plugin.
    pub const PLUGIN: u64 = 10;
}

/// Error numbers of hyperdht.
pub mod error {
    /// In a noise or holepunch payload: it does not go on.
    pub const ABORTED: u64 = 1;
    /// In a noise payload: another version.
    pub const VERSION_MISMATCH: u64 = 2;
    /// In a holepunch payload: not now.
    pub const TRY_LATER: u64 = 3;
    /// Another value is stored under this version.
    pub const SEQ_REUSED: u64 = 16;
    /// A newer version is stored.
    pub const SEQ_TOO_LOW: u64 = 17;
}
