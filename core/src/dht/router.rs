//! Where a handshake or holepunch message goes next. Every node routes them, persistent or not.
//!
//! Source: hyperdht 6.33, `lib/router.js`.

use bytes::Bytes;

use super::messages::{Handshake, Holepunch, mode};
use crate::udx::Address;

/// What this node knows of the target of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A server of this node.
    Server,
    /// A server that announced itself here, from this address.
    Forward(Address),
    /// Nothing.
    Unknown,
}

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Nothing.
    Drop,
    /// The server decides; its answer goes where [`answer_handshake`] or [`answer_holepunch`] say.
    Serve,
    /// An empty reply with closer nodes.
    Unknown,
    /// A reply, without token and closer nodes.
    Reply {
        /// Value of the message.
        value: Bytes,
        /// Where to.
        to: Address,
    },
    /// A request under the same number.
    Relay {
        /// Value of the message.
        value: Bytes,
        /// Where to.
        to: Address,
    },
}

/// Routes a handshake that came from `from`.
pub fn route_handshake(message: &Handshake, route: Route, from: Address) -> Hop {
    let Handshake { mode, noise, peer_address, relay_address } = message;
    let relay = match route {
        Route::Server => return if noise.is_empty() { Hop::Drop } else { Hop::Serve },
        Route::Forward(relay) => Some(relay),
        Route::Unknown => None,
    };
    if noise.is_empty() {
        return Hop::Drop;
    }
    let passed_on = |mode, peer_address, relay_address| {
        Handshake { mode, noise: noise.clone(), peer_address, relay_address }.encode()
    };
    match (*mode, relay, peer_address) {
        (mode::FROM_CLIENT, relay, _) => match relay_address.or(relay) {
            Some(to) => Hop::Relay { value: passed_on(mode::FROM_RELAY, Some(from), None), to },
            None => Hop::Unknown,
        },
        (mode::FROM_RELAY, Some(to), peer) => {
            Hop::Relay { value: passed_on(mode::FROM_SECOND_RELAY, *peer, Some(from)), to }
        }
        (mode::FROM_SERVER, _, Some(to)) => {
            Hop::Reply { value: passed_on(mode::REPLY, Some(from), None), to: *to }
        }
        _ => Hop::Drop,
    }
}

/// Sends message 2 of a server of this node back the way the handshake came.
pub fn answer_handshake(message: &Handshake, noise: Bytes, from: Address) -> Hop {
    let reply = |mode, peer_address| Handshake { mode, noise, peer_address, relay_address: None }.encode();
    match (message.mode, message.relay_address) {
        (mode::FROM_CLIENT, _) => Hop::Reply { value: reply(mode::REPLY, None), to: from },
        (mode::FROM_RELAY, _) => {
            Hop::Relay { value: reply(mode::FROM_SERVER, message.peer_address), to: from }
        }
        (mode::FROM_SECOND_RELAY, Some(to)) => {
            Hop::Relay { value: reply(mode::FROM_SERVER, message.peer_address), to }
        }
        _ => Hop::Drop,
    }
}

/// Routes a holepunch message that came from `from`.
pub fn route_holepunch(message: &Holepunch, route: Route, from: Address) -> Hop {
    let Holepunch { mode, id, payload, peer_address } = message;
    let passed_on =
        |mode| Holepunch { mode, id: *id, payload: payload.clone(), peer_address: Some(from) }.encode();
    let relay = match route {
        Route::Forward(relay) => Some(relay),
        Route::Server | Route::Unknown => None,
    };
    match (*mode, peer_address.or(relay)) {
        (mode::FROM_CLIENT, Some(to)) => Hop::Relay { value: passed_on(mode::FROM_RELAY), to },
        (mode::FROM_RELAY, _) if route == Route::Server && peer_address.is_some() => Hop::Serve,
        (mode::FROM_SERVER, _) => match peer_address {
            Some(to) => Hop::Reply { value: passed_on(mode::REPLY), to: *to },
            None => Hop::Drop,
        },
        _ => Hop::Drop,
    }
}

/// Sends the sealed answer of a server of this node back to the relay.
pub fn answer_holepunch(message: &Holepunch, payload: Bytes, from: Address) -> Hop {
    let answer = Holepunch { mode: mode::FROM_SERVER, id: 0, payload, peer_address: message.peer_address };
    Hop::Relay { value: answer.encode(), to: from }
}
