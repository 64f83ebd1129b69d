//! What relays tell, and the names of what runs over them.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddrV4;

use bytes::Bytes;

use crate::dht_relay::QueryError;
use crate::dht_relay::messages::{LookupResult, SignRequest};
use crate::dht_relay::queries::{Reply, WriteEnd};
use crate::id::PublicKey;
use crate::time::Duration;

use super::super::types::{LinkId, RequestId};

/// One relay; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u32);

/// One key that a relay listens on for us; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

/// One question that a relay carries to the DHT; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u32);

/// One peer that asks to connect; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncomingId(pub u32);

/// Something that happened at a relay.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayEvent {
    /// The relay answers.
    Opened {
        /// Which.
        relay: RelayId,
        /// Where the DHT sees it, if it says so.
        address: Option<SocketAddrV4>,
    },
    /// The relay has answered a [`ping`](Engine::ping_relay).
    RoundTrip {
        /// Which.
        relay: RelayId,
        /// After so long.
        elapsed: Duration,
    },
    /// The connection to the relay broke, and the relay holds what runs through it for a while. Give it another one by
    /// [`resume_relay`](Engine::resume_relay); what is asked of the relay meanwhile waits.
    Interrupted {
        /// Which.
        relay: RelayId,
        /// Why; `None` if the host does not know.
        reason: Option<String>,
        /// How long there is to come back.
        grace: Duration,
    },
    /// The relay goes on where it was interrupted: nothing is lost.
    Resumed {
        /// Which.
        relay: RelayId,
    },
    /// The relay is of no further use. Its links, queries and servers have ended before.
    Closed {
        /// Which.
        relay: RelayId,
        /// Why; `None` when we closed it.
        reason: Option<String>,
    },
    /// One DHT node answered a query.
    Result {
        /// The query; it ends with [`Event::Done`].
        request: RequestId,
        /// What the node answered.
        result: LookupResult,
    },
    /// The nodes that were closest to the topic of a query, closest first, from a relay that says so.
    ClosestNodes {
        /// The query; it ends with [`Event::Done`].
        request: RequestId,
        /// Where they are.
        nodes: Vec<SocketAddrV4>,
    },
    /// A record of an announcement, or of its opposite, is to be signed: answer with [`Engine::signed`](super::super::Engine::signed).
    SignQuery {
        /// The query.
        request: RequestId,
        /// What is to be signed.
        record: SignRequest,
        /// Whether the record is to be removed.
        is_unannounce: bool,
    },
    /// A record of a key that is listened on is to be signed, as above.
    SignServer {
        /// The server.
        server: ServerId,
        /// What is to be signed.
        record: SignRequest,
        /// Whether the record is to be removed.
        is_unannounce: bool,
    },
    /// One DHT node answered a question; its replies are counted from 0.
    Reply {
        /// The question.
        question: QuestionId,
        /// What the node answered.
        reply: Reply,
    },
    /// The search of a question is over. The question stays where something may be written.
    Closest {
        /// The question.
        question: QuestionId,
        /// Numbers of the closest replies, closest first.
        closest: Vec<u32>,
    },
    /// What became of a write to a reply.
    Written {
        /// The question.
        question: QuestionId,
        /// Number of the reply.
        reply: u32,
        /// What became of it.
        end: WriteEnd,
    },
    /// A question is over without what it was asked for.
    QuestionFailed {
        /// The question.
        question: QuestionId,
        /// Why.
        error: QueryError,
    },
    /// A key is announced: peers can connect.
    Listening {
        /// Which.
        server: ServerId,
        /// Where the relay is, as the DHT sees it.
        address: SocketAddrV4,
        /// Nodes through which the key is reached, from a relay that names them.
        nodes: Vec<SocketAddrV4>,
    },
    /// A peer asks to connect. Answer within 10 seconds.
    Incoming {
        /// Names the peer in the answer.
        incoming: IncomingId,
        /// The key that it asks for.
        server: ServerId,
        /// Its own key, proven.
        remote_public_key: PublicKey,
        /// What it says about itself: an encoded noise payload.
        payload: Bytes,
        /// Where it is, from a relay that says so.
        address: Option<SocketAddrV4>,
    },
    /// A peer has connected. [`Event::LinkOpened`] follows.
    Connection {
        /// The key that it asked for.
        server: ServerId,
        /// The new link.
        link: LinkId,
        /// Its own key, proven.
        remote_public_key: PublicKey,
    },
    /// A key is no longer listened on: on demand, or because it is elsewhere now.
    ServerClosed {
        /// Which.
        server: ServerId,
    },
}
