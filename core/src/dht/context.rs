//! What the parts of an endpoint share.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::blind_relay::Relaying;
use super::events::{ConnectionId, Event, OperationId, ServerId, SignatureId, SignatureRequest, Signee};
use super::keepalive::Keepalive;
use super::messages::{Announce, Peer, RelayInfo};
use super::node::Node;
use super::noise_seat::Identity;
use super::query::{QueryId, QueryOptions};
use super::rng::Rng;
use super::rpc::{NodeId, Outgoing, RequestId, SocketId, Token, Transmit};
use super::streams::Streams;
use super::{command, signing};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};
use crate::udx::{Address, Remote};

/// Who waits for the answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The write that ends an operation.
    Commit(OperationId),
    /// A write to the reply with this number.
    Write(OperationId, u32),
    /// An unannounce that an operation makes on its way.
    Unannounce(OperationId),
    /// A handshake through this node.
    Handshake(ConnectionId),
    /// A ping within the local network.
    Lan(ConnectionId, Address),
    /// A holepunch message.
    Punch(ConnectionId),
    /// A ping that shows how a punch socket is seen.
    Sample(ConnectionId),
    /// A server's announce of itself at this node.
    SelfAnnounce(ServerId, RelayInfo),
    /// A search for the token that an unannounce needs.
    Farewell(ServerId),
    /// A server's unannounce.
    SelfUnannounce(ServerId),
    /// A sign of life of a node that forwards for us.
    Keepalive(Address),
}

/// Who waits for a query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueryOwner {
    Operation(OperationId),
    Dial(ConnectionId),
    Announcer(ServerId),
}

/// Who is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Connection(ConnectionId),
    Server(ServerId),
    Signature(SignatureId),
    /// A socket whose connection is over.
    Socket(SocketId),
    Keepalive,
    /// A connection with a blind relay, or of one.
    Relay(ConnectionId),
}

/// A signed write to one node.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub command: u64,
    pub to: Address,
    pub node_id: NodeId,
    pub token: Token,
    pub target: [u8; 32],
    pub relay_addresses: Vec<Address>,
    pub bump: u64,
    pub purpose: Purpose,
}

/// The node, the streams, and the books of who waits for what.
#[derive(Debug)]
pub(crate) struct Context {
    pub node: Node,
    pub streams: Streams,
    pub rng: Rng,
    pub events: VecDeque<Event>,
    pub requests: BTreeMap<RequestId, Purpose>,
    pub queries: BTreeMap<QueryId, QueryOwner>,
    pub timers: BTreeSet<(Instant, Timer)>,
    pub signatures: BTreeMap<SignatureId, ([u8; 32], Write)>,
    pub keepalive: Keepalive,
    pub relaying: Relaying,
    /// Addresses of this machine with the port of the server socket.
    pub local_addresses: Vec<Address>,
    /// Nodes through which a peer was reached, for the next time.
    pub routes: BTreeMap<[u8; 32], Vec<Address>>,
    pub random_punches: usize,
    /// Connections that opened a socket to punch.
    pub punch_sockets: BTreeMap<SocketId, ConnectionId>,
    pub last_random_punch: Option<Instant>,
    next_signature: u64,
    next_socket: u32,
}

impl Context {
    pub(crate) fn new(node: Node, streams: Streams, rng: Rng, local_addresses: Vec<Address>) -> Self {
        Self {
            node,
            streams,
            rng,
            events: VecDeque::new(),
            requests: BTreeMap::new(),
            queries: BTreeMap::new(),
            timers: BTreeSet::new(),
            signatures: BTreeMap::new(),
            keepalive: Keepalive::default(),
            relaying: Relaying::default(),
            local_addresses,
            routes: BTreeMap::new(),
            random_punches: 0,
            punch_sockets: BTreeMap::new(),
            last_random_punch: None,
            next_signature: 0,
            next_socket: SocketId::FIRST_PUNCH.0,
        }
    }

    /// Sends a request whose answer goes to `purpose`.
    pub(crate) fn request(&mut self, outgoing: Outgoing, purpose: Purpose, now: Instant) -> RequestId {
        let id = self.node.request(outgoing, now);
        self.requests.insert(id, purpose);
        id
    }

    pub(crate) fn cancel_request(&mut self, id: RequestId) {
        self.node.cancel_request(id);
        self.requests.remove(&id);
    }

    pub(crate) fn query(&mut self, options: QueryOptions, owner: QueryOwner, now: Instant) -> QueryId {
        let id = self.node.query(options, now);
        self.queries.insert(id, owner);
        id
    }

    pub(crate) fn cancel_query(&mut self, id: QueryId) {
        self.node.cancel_query(id);
        self.queries.remove(&id);
    }

    pub(crate) fn wake_at(&mut self, timer: Timer, at: Instant) {
        self.timers.insert((at, timer));
    }

    /// Signs a write and sends it, or asks the holder of the key first.
    pub(crate) fn write(&mut self, identity: &Identity, signee: Signee, write: Write, now: Instant) {
        let peer = Peer { public_key: identity.public_key(), relay_addresses: write.relay_addresses.clone() };
        if let Identity::Local(key_pair) = identity {
            let signable = signing::announce_signable(
                write.command,
                &write.target,
                &write.node_id,
                &write.token,
                &peer,
                None,
            );
            let signature = key_pair.sign(&signable);
            self.send_write(peer.public_key, write, signature, now);
            return;
        }
        let id = SignatureId(self.next_signature);
        self.next_signature += 1;
        self.events.push_back(Event::Sign(SignatureRequest {
            id,
            signee,
            is_unannounce: write.command == command::UNANNOUNCE,
            target: write.target,
            token: write.token,
            node_id: write.node_id,
            public_key: peer.public_key,
            relay_addresses: peer.relay_addresses,
        }));
        self.signatures.insert(id, (peer.public_key, write));
        self.wake_at(Timer::Signature(id), now + SIGNATURE_TIMEOUT);
    }

    /// Sends a write that is signed.
    pub(crate) fn send_write(
        &mut self,
        public_key: [u8; 32],
        write: Write,
        signature: [u8; 64],
        now: Instant,
    ) {
        let value = Announce {
            peer: Some(Peer { public_key, relay_addresses: write.relay_addresses }),
            refresh: None,
            signature: Some(signature),
            bump: write.bump,
        };
        let mut outgoing = self.node.outgoing(write.to, false, write.command);
        outgoing.target = Some(write.target);
        outgoing.token = Some(write.token);
        outgoing.value = Some(value.encode());
        self.request(outgoing, write.purpose, now);
    }

    /// Has the host open one more socket.
    pub(crate) fn open_socket(&mut self, connection: ConnectionId) -> SocketId {
        let socket = SocketId(self.next_socket);
        self.next_socket = self.next_socket.checked_add(1).unwrap_or(SocketId::FIRST_PUNCH.0);
        self.punch_sockets.insert(socket, connection);
        self.events.push_back(Event::OpenSocket(socket));
        socket
    }

    /// Has the host close a socket that [`open_socket`](Self::open_socket) opened.
    pub(crate) fn close_socket(&mut self, socket: SocketId) {
        if self.punch_sockets.remove(&socket).is_some() {
            self.events.push_back(Event::CloseSocket(socket));
        }
    }

    /// Has the host close the socket of a connection that is over, once the peer had time to ask for what it missed.
    pub(crate) fn close_socket_later(&mut self, socket: SocketId, now: Instant) {
        if self.punch_sockets.contains_key(&socket) {
            self.wake_at(Timer::Socket(socket), now + SOCKET_LINGER);
        }
    }

    /// Sends the single zero byte that opens a path, or one that only gets as far as the own firewall.
    pub(crate) fn send_punch(&mut self, socket: SocketId, to: Address, is_short: bool) {
        if to.port() != 0 {
            let ttl = is_short.then_some(SHORT_TTL);
            self.node
                .transmit_raw(Transmit { ttl, ..Transmit::single(socket, to, Bytes::from_static(&[0])) });
        }
    }

    /// Opens a stream on a direct path, or moves it there from a blind relay; returns whether it went through one.
    pub(crate) fn go_directly(
        &mut self,
        connection: ConnectionId,
        is_relayed: bool,
        remote: Remote,
        now: Instant,
    ) -> bool {
        if is_relayed {
            self.streams.change_remote(connection, remote, now);
            self.events.push_back(Event::Upgraded { connection, remote: remote.address });
        } else {
            self.streams.connect(connection, remote, now);
        }
        self.relaying.farewells.push_back((connection, is_relayed));
        is_relayed
    }

    /// Remembers through which nodes a peer can be reached.
    pub(crate) fn remember_route(&mut self, key: [u8; 32], nodes: Vec<Address>) {
        if nodes.is_empty() {
            return;
        }
        if self.routes.len() >= MAX_ROUTES && !self.routes.contains_key(&key) {
            let drawn = self.rng.index(self.routes.len());
            if let Some(old) = self.routes.keys().nth(drawn).copied() {
                self.routes.remove(&old);
            }
        }
        self.routes.insert(key, nodes);
    }

    /// Reports whether a punch with random ports may start: one at a time, and not too often.
    pub(crate) fn may_punch_randomly(&self, now: Instant) -> bool {
        self.random_punches == 0
            && self.last_random_punch.is_none_or(|at| now.duration_since(at) >= RANDOM_PUNCH_PAUSE)
    }
}

/// Time for a signature; the token it signs is good for about 15 s.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the last packets of a connection to arrive, and to be sent again.
const SOCKET_LINGER: Duration = Duration::from_secs(15);

/// Hops of a datagram that shall not arrive (hyperdht `HOLEPUNCH_TTL`).
const SHORT_TTL: u8 = 5;

/// Peers whose relays are remembered (hyperdht `relayAddresses`).
const MAX_ROUTES: usize = 512;

/// Time between two punches with random ports (hyperdht `randomPunchInterval`).
const RANDOM_PUNCH_PAUSE: Duration = Duration::from_secs(20);
