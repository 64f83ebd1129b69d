//! What an endpoint tells its host, and the names of what it talks about.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::messages::{MutableGet, Peer};
use super::rpc::{Answer, NodeId, SocketId, Token};
use crate::noise::Session;
use crate::udx::Address;

/// Names one DHT operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// Names one listening key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub u64);

/// Names one connection, dialled or accepted, from its first handshake message to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Names one signature that the host was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureId(pub u64);

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signee {
    /// An announce or unannounce of a topic.
    Operation(OperationId),
    /// A listening key.
    Server(ServerId),
}

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The first look around is over: operations find what there is.
    Bootstrapped,
    /// The node stores for others from here on.
    Persistent,
    /// The node stopped to store for others.
    Ephemeral,
    /// The public address changed, or whether the node can be reached, or whether the network is there.
    NetworkChanged,
    /// The host shall bind this socket to any port before it sends the next datagram.
    OpenSocket(SocketId),
    /// The host shall close this socket.
    CloseSocket(SocketId),

    /// A node answered a lookup, announce or unannounce with records.
    Found {
        /// Operation.
        operation: OperationId,
        /// Who answered and with what.
        reply: LookupReply,
    },
    /// A node answered a search for a server.
    FoundPeer {
        /// Operation.
        operation: OperationId,
        /// Node that knows the server.
        from: Address,
        /// Its record.
        peer: Peer,
    },
    /// A node answered an [`ask`](super::Endpoint::ask); the replies are counted from 0.
    Reply {
        /// Operation.
        operation: OperationId,
        /// What it answered.
        answer: Answer,
    },
    /// The search of an [`ask`](super::Endpoint::ask) is over.
    Asked {
        /// Operation.
        operation: OperationId,
        /// Numbers of the closest replies, closest first.
        closest: Vec<u32>,
    },
    /// A [`write`](super::Endpoint::write_to_reply) was answered.
    Written {
        /// Operation.
        operation: OperationId,
        /// Number of the reply that it went to.
        reply: u32,
        /// 0, or the error of the node; `None` when it did not answer.
        error: Option<u64>,
    },
    /// An operation is over.
    Finished {
        /// Operation.
        operation: OperationId,
        /// Its result.
        result: Result<Finished, OperationError>,
    },

    /// The holder of an external key shall sign; answer with [`Endpoint::signed`](super::Endpoint::signed).
    Sign(SignatureRequest),

    /// The holder of an external key shall put `payload` into its next Noise message; answer with
    /// [`Endpoint::noise_sent`](super::Endpoint::noise_sent). The dialling side creates message 1, the listening
    /// side message 2 and thereby ends the handshake.
    NoiseSend {
        /// Connection.
        connection: ConnectionId,
        /// Server, on the listening side.
        server: Option<ServerId>,
        /// Encoded noise payload.
        payload: Bytes,
    },
    /// The holder of an external key shall open a Noise message; answer with
    /// [`Endpoint::noise_received`](super::Endpoint::noise_received) or [`Endpoint::deny`](super::Endpoint::deny).
    /// The listening side opens message 1, the dialling side message 2 and thereby ends the handshake.
    NoiseReceive {
        /// Connection.
        connection: ConnectionId,
        /// Server, on the listening side.
        server: Option<ServerId>,
        /// Noise message.
        message: Bytes,
        /// The other side, as far as its address is known.
        from: Address,
    },

    /// A server announced itself for the first time, at as many nodes as took it.
    Listening {
        /// Server.
        server: ServerId,
    },
    /// A peer wants to connect; answer with [`Endpoint::accept`](super::Endpoint::accept) or
    /// [`Endpoint::deny`](super::Endpoint::deny). Only for servers that asked for it.
    Incoming {
        /// Connection.
        connection: ConnectionId,
        /// Server.
        server: ServerId,
        /// Key of the peer.
        remote_public_key: [u8; 32],
        /// Address of the peer.
        from: Address,
    },
    /// A connection is open: its stream carries the secret stream from here on.
    Connected {
        /// Connection.
        connection: ConnectionId,
        /// Server, on the listening side.
        server: Option<ServerId>,
        /// Key of the peer.
        remote_public_key: [u8; 32],
        /// Keys of the secret stream, unless they are known elsewhere only.
        session: Option<Session>,
        /// Socket in use.
        socket: SocketId,
        /// Where the peer is.
        remote: Address,
    },
    /// A connection that began through a blind relay goes directly.
    Upgraded {
        /// Connection.
        connection: ConnectionId,
        /// Where the peer is.
        remote: Address,
    },
    /// A connection did not come about.
    Failed {
        /// Connection.
        connection: ConnectionId,
        /// Server, on the listening side.
        server: Option<ServerId>,
        /// Reason.
        error: ConnectError,
    },
    /// A server is closed and taken out of the DHT as far as possible.
    ServerClosed {
        /// Server.
        server: ServerId,
    },

    /// Bytes arrived, in order; give them back with [`Endpoint::consumed`](super::Endpoint::consumed).
    Data {
        /// Connection.
        connection: ConnectionId,
        /// Bytes.
        bytes: Bytes,
    },
    /// An unordered datagram of the stream arrived.
    Message {
        /// Connection.
        connection: ConnectionId,
        /// Content.
        bytes: Bytes,
    },
    /// The queue of a connection has room again.
    Drain {
        /// Connection.
        connection: ConnectionId,
    },
    /// The peer sends nothing more.
    End {
        /// Connection.
        connection: ConnectionId,
    },
    /// A connection is over.
    Closed {
        /// Connection.
        connection: ConnectionId,
        /// `None` after an orderly end.
        error: Option<StreamError>,
    },
}

impl Event {
    /// Returns the connection that it is about.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::NoiseSend { connection, .. }
            | Self::NoiseReceive { connection, .. }
            | Self::Incoming { connection, .. }
            | Self::Connected { connection, .. }
            | Self::Upgraded { connection, .. }
            | Self::Failed { connection, .. }
            | Self::Data { connection, .. }
            | Self::Message { connection, .. }
            | Self::Drain { connection }
            | Self::End { connection }
            | Self::Closed { connection, .. } => Some(*connection),
            _ => None,
        }
    }
}

/// Records that one node returned.
#[derive(Clone, Debug)]
pub struct LookupReply {
    /// Token for a write to that node.
    pub token: Option<Token>,
    /// The node.
    pub from: Address,
    /// Its id, if it has one.
    pub from_id: Option<NodeId>,
    /// Our address as it saw it.
    pub to: Address,
    /// The records.
    pub peers: Vec<Peer>,
    /// Unix time in milliseconds of the last change of the topic; 0 for none.
    pub bump: u64,
}

/// Result of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finished {
    /// Nothing but an end; the nodes that were closest.
    Done {
        /// Closest nodes.
        closest: Vec<Address>,
    },
    /// A value was stored.
    Stored {
        /// What to ask for.
        target: [u8; 32],
        /// Nodes that took it.
        nodes: usize,
    },
    /// The immutable value, if one was found.
    Immutable(Option<Bytes>),
    /// The mutable value with the highest version, if one was found.
    Mutable(Option<MutableGet>),
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationError {
    /// No node that can store answered.
    TooFewNodes,
    /// No node took the write.
    Refused,
    /// A newer version is stored (error 17), or another value under this version (error 16).
    Outdated(u64),
}

/// A signature that is wanted.
#[derive(Clone, Debug)]
pub struct SignatureRequest {
    /// Name for the answer.
    pub id: SignatureId,
    /// What it is for.
    pub signee: Signee,
    /// Whether an unannounce is signed, rather than an announce.
    pub is_unannounce: bool,
    /// Topic, or hash of the public key for a server.
    pub target: [u8; 32],
    /// Token of the storing node.
    pub token: Token,
    /// Id of the storing node.
    pub node_id: NodeId,
    /// Who signs.
    pub public_key: [u8; 32],
    /// Relay addresses in the record.
    pub relay_addresses: Vec<Address>,
}

/// How a stream came to an end too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer, or this side, broke it off.
    Reset,
    /// The peer does not answer.
    TimedOut,
}

/// Why a connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody knows the peer.
    PeerNotFound,
    /// Nodes know the peer but no handshake came about.
    PeerConnectionFailed,
    /// The peer's handshake is wrong.
    HandshakeInvalid,
    /// The holder of the key did not answer in time, or refused.
    HandshakeUnfinished,
    /// The peer speaks another version.
    ServerIncompatible,
    /// The peer refuses.
    ServerError,
    /// No path was found in time.
    HolepunchAborted,
    /// The peer's holepunch message is wrong.
    HolepunchInvalid,
    /// The kind of network on one side stayed unknown.
    HolepunchProbeTimeout,
    /// Both sides have a new port for every destination.
    HolepunchDoubleRandomizedNats,
    /// There is no relay to arrange a punch.
    CannotHolepunch,
    /// The peer does not punch.
    RemoteNotHolepunching,
    /// The peer's network cannot be punched.
    RemoteNotHolepunchable,
    /// The peer gave up.
    RemoteAborted,
    /// A request of the handshake timed out.
    RequestTimeout,
    /// The blind relay was not reached, or the peer did not come there.
    RelayAborted,
    /// This side has too many connections.
    TooManyConnections,
}

impl ConnectError {
    /// Returns the code that hyperdht gives to this error.
    pub const fn code(self) -> &'static str {
        match self {
            Self::PeerNotFound => "PEER_NOT_FOUND",
            Self::PeerConnectionFailed => "PEER_CONNECTION_FAILED",
            Self::HandshakeInvalid => "HANDSHAKE_INVALID",
            Self::HandshakeUnfinished => "HANDSHAKE_UNFINISHED",
            Self::ServerIncompatible => "SERVER_INCOMPATIBLE",
            Self::ServerError => "SERVER_ERROR",
            Self::HolepunchAborted => "HOLEPUNCH_ABORTED",
            Self::HolepunchInvalid => "HOLEPUNCH_INVALID",
            Self::HolepunchProbeTimeout => "HOLEPUNCH_PROBE_TIMEOUT",
            Self::HolepunchDoubleRandomizedNats => "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS",
            Self::CannotHolepunch => "CANNOT_HOLEPUNCH",
            Self::RemoteNotHolepunching => "REMOTE_NOT_HOLEPUNCHING",
            Self::RemoteNotHolepunchable => "REMOTE_NOT_HOLEPUNCHABLE",
            Self::RemoteAborted => "REMOTE_ABORTED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::RelayAborted => "RELAY_ABORTED",
            Self::TooManyConnections => "TOO_MANY_CONNECTIONS",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::PeerNotFound => "Peer not found",
            Self::PeerConnectionFailed => "Could not connect to peer",
            Self::HandshakeInvalid => "Received invalid handshake",
            Self::HandshakeUnfinished => "Handshake did not finish",
            Self::ServerIncompatible => "Server is using an incompatible version",
            Self::ServerError => "Server returned an error",
            Self::HolepunchAborted => "Holepunch aborted",
            Self::HolepunchInvalid => "Received invalid holepunch payload",
            Self::HolepunchProbeTimeout => "Holepunching probe timed out",
            Self::HolepunchDoubleRandomizedNats => "Both networks are randomized, cannot holepunch",
            Self::CannotHolepunch => "Cannot holepunch to remote",
            Self::RemoteNotHolepunching => "Remote is not holepunching",
            Self::RemoteNotHolepunchable => "Remote is not holepunchable",
            Self::RemoteAborted => "Remote aborted",
            Self::RequestTimeout => "Request timed out",
            Self::RelayAborted => "Relay aborted",
            Self::TooManyConnections => "Too many connections",
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.text())
    }
}

impl core::error::Error for ConnectError {}
