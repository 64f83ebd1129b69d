//! The peer's side: a dial of the relay for each stream that shall go through one.

use alloc::collections::VecDeque;

use super::link::Link;
use super::messages::Pair;
use crate::collections::BTreeMap;
use crate::dht::events::ConnectionId;
use crate::time::Instant;

/// A stream that shall go through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallRequest {
    /// Whose stream it is.
    pub outer: ConnectionId,
    /// Key of the relay.
    pub relay: [u8; 32],
    /// What both sides name.
    pub token: [u8; 32],
    /// Whether this side chose it.
    pub is_initiator: bool,
    /// By which id the relay addresses the stream.
    pub stream: u32,
    /// By which id the peer addresses it, once there is a direct path.
    pub direct_id: Option<u32>,
}

impl CallRequest {
    /// Returns what the relay is asked for.
    pub(crate) fn pair(&self) -> Pair {
        Pair { is_initiator: self.is_initiator, token: self.token, id: u64::from(self.stream), seq: 0 }
    }
}

/// A dial of a relay, and the connection with it.
#[derive(Debug)]
pub(crate) struct Call {
    pub request: CallRequest,
    /// Once the relay is reached.
    pub link: Option<Link>,
    /// When to give up, until there is a pair.
    pub deadline: Option<Instant>,
    /// When to hang up: the stream has found another way.
    pub ends_at: Option<Instant>,
}

/// What connections want of relays, and the dials that come of it.
#[derive(Debug, Default)]
pub(crate) struct Relaying {
    /// Streams that wait for their dial, all until the next drain.
    pub requests: VecDeque<CallRequest>,
    /// Streams that need their relay no longer, and whether packets may still be on their way through it.
    pub farewells: VecDeque<(ConnectionId, bool)>,
    /// Dials and connections, by themselves.
    pub calls: BTreeMap<ConnectionId, Call>,
}

impl Relaying {
    /// Returns the connection with the relay of a stream.
    pub(crate) fn call_of(&self, outer: ConnectionId) -> Option<ConnectionId> {
        self.calls.iter().find(|(_, call)| call.request.outer == outer).map(|(inner, _)| *inner)
    }

    /// Reports whether one more stream may go through a relay.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() + self.requests.len() < MAX_CALLS
    }
}

/// Streams through relays at once.
const MAX_CALLS: usize = 4096;
