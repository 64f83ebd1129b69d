//! dht-rpc: datagrams, tokens, requests, and the tables behind them.
//!
//! Source: dht-rpc 6.27.

mod message;
mod nat;
mod requests;
mod table;
mod token;
mod window;

pub use message::{Answer, Incoming, Message, Reply, Request};
pub(crate) use message::{REPLY, REQUEST};
pub use nat::NatSampler;
pub use requests::{Answered, Lapse, Outgoing, RETRIES, RequestId, Requests, TRY_TIMEOUT};
pub use table::{Added, Entry, NodeId, Table};
pub(crate) use token::token_of;
pub use token::{Token, Tokens};
pub use window::SendWindow;

use bytes::Bytes;

use crate::crypto;
use crate::udx::Address;
pub use crate::udx::SocketId;

impl SocketId {
    /// The socket with the known port.
    pub const SERVER: Self = Self(0);
    /// The socket with any port, in use while the node is firewalled.
    pub const CLIENT: Self = Self(1);
    /// The first of the sockets that are opened to punch holes.
    pub const FIRST_PUNCH: Self = Self(2);
}

/// Datagrams to send to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Socket to send from.
    pub socket: SocketId,
    /// Where to.
    pub to: Address,
    /// Content of one datagram, or of several back to back.
    pub bytes: Bytes,
    /// Bytes of each datagram; the last one may be shorter.
    pub segment: usize,
    /// Hops it may take; the usual number if `None`.
    pub ttl: Option<u8>,
}

impl Transmit {
    /// Describes one datagram.
    pub fn single(socket: SocketId, to: Address, bytes: Bytes) -> Self {
        Self { socket, to, segment: bytes.len(), bytes, ttl: None }
    }
}

/// Commands of dht-rpc itself.
pub mod command {
    /// Answer.
    pub const PING: u64 = 0;
    /// Answer to another port.
    pub const PING_NAT: u64 = 1;
    /// Name closer nodes.
    pub const FIND_NODE: u64 = 2;
    /// A node you named is down.
    pub const DOWN_HINT: u64 = 3;
    /// Answer later.
    pub const DELAYED_PING: u64 = 4;
}

/// Error numbers of dht-rpc itself.
pub mod error {
    /// The command is not known here.
    pub const UNKNOWN_COMMAND: u64 = 1;
    /// The token is too old or another host's.
    pub const INVALID_TOKEN: u64 = 2;
}

/// Returns the id of the node at a public address.
pub fn node_id(address: Address) -> NodeId {
    crypto::blake2b_256(&[&address.encode()])
}
