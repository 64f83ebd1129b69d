//! What a client tells its owner, and the names of what it talks about.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddrV4;

use bytes::Bytes;

use super::super::messages::{LookupResult, SignRequest};
use super::super::queries::{Reply, WriteEnd};
use crate::compact_encoding::DecodeError;
use crate::crypto::KeyPair;
use crate::noise::Session;
use crate::time::Duration;

/// Names a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(pub u32);

/// Names a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Names a listening key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub u32);

/// Names a peer that asks to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncomingId(pub u32);

/// Who signs for a record.
#[derive(Clone, Debug)]
pub enum Signer {
    /// The client.
    Here(KeyPair),
    /// Whoever has the secret of this public key: [`ClientEvent::Sign`] asks for each signature.
    Elsewhere([u8; 32]),
}

impl Signer {
    /// Returns the key that signatures are of.
    pub fn public_key(&self) -> [u8; 32] {
        match self {
            Self::Here(key_pair) => key_pair.public_key,
            Self::Elsewhere(public_key) => *public_key,
        }
    }
}

impl From<&KeyPair> for Signer {
    fn from(key_pair: &KeyPair) -> Self {
        Self::Here(key_pair.clone())
    }
}

/// What is signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signee {
    /// An announcement, or its opposite.
    Query(QueryId),
    /// A key that is listened on.
    Server(ServerId),
}

/// What a client tells its owner.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// The relay is there.
    Ready {
        /// Where the DHT sees it, if it says so.
        address: Option<SocketAddrV4>,
    },
    /// The relay has answered a [`ping`](super::Client::ping).
    RoundTrip {
        /// After so long.
        elapsed: Duration,
    },
    /// One DHT node answered a query.
    Result {
        /// Query.
        query: QueryId,
        /// What it answered.
        result: LookupResult,
    },
    /// The nodes that were closest to what a query is about, closest first, from a relay that says so.
    ClosestNodes {
        /// Query.
        query: QueryId,
        /// Where they are.
        nodes: Vec<SocketAddrV4>,
    },
    /// A query is over.
    Finished {
        /// Query.
        query: QueryId,
    },
    /// A record is to be signed: answer with [`Client::signed`](super::Client::signed).
    Sign {
        /// What for.
        signee: Signee,
        /// What.
        request: SignRequest,
        /// Whether the record is to be removed.
        is_unannounce: bool,
    },
    /// One node answered a question; the replies are counted from 0.
    Reply {
        /// Query.
        query: QueryId,
        /// What it answered.
        reply: Reply,
    },
    /// The search of a question is over. It stays where something may be written.
    Closest {
        /// Query.
        query: QueryId,
        /// Numbers of the closest replies, closest first.
        closest: Vec<u32>,
    },
    /// What became of a write to a reply.
    Written {
        /// Query.
        query: QueryId,
        /// Number of the reply.
        reply: u32,
        /// What became of it.
        end: WriteEnd,
    },
    /// A question, or a query that a relay of ours turns down, ended without what was asked for.
    QueryFailed {
        /// Query.
        query: QueryId,
        /// Why.
        error: QueryError,
    },
    /// A dialled stream is open: start the secret stream as initiator.
    Opened {
        /// Stream.
        stream: StreamId,
        /// Keys of the secret stream.
        session: Session,
    },
    /// A server is announced.
    Listening {
        /// Server.
        server: ServerId,
        /// Public address of the relay.
        address: SocketAddrV4,
        /// Nodes through which the key is reached, from a relay that names them.
        nodes: Vec<SocketAddrV4>,
    },
    /// A server is closed: on demand, or because the key is listened on elsewhere.
    ServerClosed {
        /// Server.
        server: ServerId,
    },
    /// A peer asks to connect; answer with [`Client::accept`](super::Client::accept) or [`Client::deny`](super::Client::deny) within 10 seconds.
    Incoming {
        /// Names the peer in the answer.
        incoming: IncomingId,
        /// Server.
        server: ServerId,
        /// The peer's key.
        remote_public_key: [u8; 32],
        /// What the peer's relay says about it: an encoded noise payload.
        payload: Bytes,
        /// Where the peer is, from a relay that says so.
        address: Option<SocketAddrV4>,
    },
    /// A peer has connected: start the secret stream as responder.
    Connection {
        /// Stream.
        stream: StreamId,
        /// Server.
        server: ServerId,
        /// Keys of the secret stream.
        session: Session,
    },
    /// Bytes of a stream arrived.
    Data {
        /// Stream.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The peer writes nothing more.
    End {
        /// Stream.
        stream: StreamId,
    },
    /// Bytes of a stream have left: as many more may be written.
    Sent {
        /// Stream.
        stream: StreamId,
        /// How many.
        bytes: usize,
    },
    /// A stream is over, or did not come about.
    Closed {
        /// Stream.
        stream: StreamId,
        /// `None` after an orderly end.
        error: Option<StreamError>,
    },
    /// The relay is of no further use: close the link. All streams, queries and servers have ended before.
    Failed(Failure),
}

/// Why a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// The relay does not carry it.
    NotSupported,
    /// The relay allows no more at the moment, or not to us.
    Refused,
    /// The relay did not answer in time.
    TimedOut,
    /// The link to the relay is gone.
    LinkClosed,
}

impl QueryError {
    /// Returns it as a code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotSupported => "NOT_SUPPORTED",
            Self::Refused => "RELAY_BUSY",
            Self::TimedOut => "QUERY_TIMEOUT",
            Self::LinkClosed => "RELAY_CLOSED",
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSupported => "the relay does not carry this query",
            Self::Refused => {
                "the relay allows no more queries at the moment, or none of this kind to this client"
            }
            Self::TimedOut => "the relay did not answer the query in time",
            Self::LinkClosed => "the relay was lost during the query",
        })
    }
}

impl core::error::Error for QueryError {}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The relay or the peer broke it off, in upstream's words: `CODE: text`.
    Remote(String),
    /// The relay did not open it in time.
    TimedOut,
    /// The link to the relay is gone.
    LinkClosed,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(text) => f.write_str(text),
            Self::TimedOut => f.write_str("relay did not connect in time"),
            Self::LinkClosed => f.write_str("link to the relay is closed"),
        }
    }
}

impl core::error::Error for StreamError {}

/// Why a relay is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It has been silent for too long.
    Silent,
    /// It sent what is no message.
    Malformed(DecodeError),
    /// It shook hands in the client's place.
    Custodial,
    /// The link closed.
    LinkClosed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("relay is silent"),
            Self::Malformed(error) => write!(f, "malformed message of the relay: {error}"),
            Self::Custodial => f.write_str("relay shook hands in the client's place"),
            Self::LinkClosed => f.write_str("link to the relay is closed"),
        }
    }
}

impl core::error::Error for Failure {}
