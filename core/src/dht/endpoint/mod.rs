//! The whole of a HyperDHT peer over two sockets, and more while punching.

mod dispatch;
mod relays;
mod serve;

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::announcer::Announcer;
use super::blind_relay::Service;
use super::cache::Cache;
use super::client::{self, Kind, Operation};
use super::connect::{Dial, DialOptions};
use super::context::Context;
use super::events::{ConnectionId, Event, OperationId, ServerId, SignatureId};
use super::messages::Peer;
use super::node::{Mode, Node, NodeOptions};
use super::noise_seat::Identity;
use super::persistent::{Persistent, RECORD_AGE};
use super::rate::SourceRate;
use super::rng::Rng;
use super::rpc::{self, SocketId, Transmit};
use super::server::{Accept, Server};
use super::streams::Streams;
use super::{is_bogon, signing};
use crate::collections::BTreeMap;
use crate::crypto::{self, KeyPair};
use crate::time::Instant;
use crate::udx::{self, Address};

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// Nodes to start from, names resolved; see [`Endpoint::set_bootstrap`].
    pub bootstrap: Vec<Address>,
    /// Part it takes in the DHT.
    pub mode: Mode,
    /// Whether to assume that nobody reaches the server socket uninvited, until a check shows otherwise.
    pub is_firewalled: bool,
    /// Whether one early probe may trigger that check.
    pub quick_firewall: bool,
    /// Public address, where it is known beforehand: makes a node that others can bootstrap from.
    pub public_address: Option<Address>,
    /// Port that the server socket is bound to.
    pub server_port: u16,
    /// Addresses of this machine in local networks, with the port of the server socket; told to peers.
    pub local_addresses: Vec<Address>,
    /// Whether messages may be passed on to private and reserved addresses: for networks on one machine.
    pub allows_bogons: bool,
    /// Whether to store for others and pass their handshakes on.
    pub serves_others: bool,
    /// Unix time at `now` of the creation, in milliseconds.
    pub clock: u64,
}

impl EndpointOptions {
    /// Describes an adaptive node behind a firewall, on the public network.
    pub fn new(bootstrap: Vec<Address>, server_port: u16, clock: u64) -> Self {
        Self {
            bootstrap,
            mode: Mode::Adaptive,
            is_firewalled: true,
            quick_firewall: true,
            public_address: None,
            server_port,
            local_addresses: Vec::new(),
            allows_bogons: false,
            serves_others: true,
            clock,
        }
    }

    /// Describes a node at a known public address that others can bootstrap from.
    pub fn bootstrapper(public_address: Address, bootstrap: Vec<Address>, clock: u64) -> Self {
        Self {
            mode: Mode::Persistent,
            is_firewalled: false,
            public_address: Some(public_address),
            local_addresses: Vec::new(),
            allows_bogons: is_bogon(public_address.ip()),
            ..Self::new(bootstrap, public_address.port(), clock)
        }
    }
}

/// What is stored under a topic.
#[derive(Clone, Debug, Default)]
pub struct Announce {
    /// Nodes to reach the key through, of which those of the DHT keep three.
    pub relay_addresses: Vec<Address>,
    /// Asks for attention to the topic: milliseconds of the epoch, 0 for none.
    pub bump: u64,
    /// Whether what was stored before is removed first.
    pub clears: bool,
}

/// How to dial.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Who dials.
    pub identity: Identity,
    /// Key of the peer.
    pub remote_public_key: [u8; 32],
    /// Nodes that are known to forward to it.
    pub relay_addresses: Vec<Address>,
    /// Whether to tell local addresses to the peer, and to try its own.
    pub allows_lan: bool,
    /// Key of a blind relay to go through while there is no direct path, or for good.
    pub relay_through: Option<[u8; 32]>,
}

impl Connect {
    /// Describes a dial of a peer of whom no more is known than its key.
    pub fn new(identity: Identity, remote_public_key: [u8; 32]) -> Self {
        Self {
            identity,
            remote_public_key,
            relay_addresses: Vec::new(),
            allows_lan: true,
            relay_through: None,
        }
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Who listens.
    pub identity: Identity,
    /// Whether [`Event::Incoming`] asks the host about each peer. With an external identity the host is asked anyway.
    pub asks: bool,
    /// Whether to tell local addresses to peers.
    pub shares_local_addresses: bool,
    /// Whether to punch while firewalled.
    pub may_punch: bool,
    /// Keys of blind relays that peers are asked to come to while there is no direct path, one drawn for each.
    pub relay_through: Vec<[u8; 32]>,
}

impl Listen {
    /// Describes a server that takes every peer.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            asks: false,
            shares_local_addresses: true,
            may_punch: true,
            relay_through: Vec::new(),
        }
    }
}

/// A call that breaks the contract; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The key is listened on already.
    KeyInUse,
    /// There is no such connection, or it is over.
    UnknownConnection,
    /// The connection was ended, nothing can be written.
    Ended,
    /// So many bytes wait already; the limit.
    QueueFull(usize),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyInUse => f.write_str("key is listened on already"),
            Self::UnknownConnection => f.write_str("connection does not exist"),
            Self::Ended => f.write_str("connection was ended"),
            Self::QueueFull(limit) => write!(f, "more than {limit} bytes would wait"),
        }
    }
}

impl core::error::Error for Misuse {}

impl From<udx::Misuse> for Misuse {
    fn from(misuse: udx::Misuse) -> Self {
        match misuse {
            udx::Misuse::Ended => Self::Ended,
            udx::Misuse::QueueFull(limit) => Self::QueueFull(limit),
            _ => Self::UnknownConnection,
        }
    }
}

/// A DHT peer: node, storage, operations, servers, connections and their streams.
///
/// After any `&mut self` call, drain [`poll_event`](Self::poll_event), then [`poll_transmit`](Self::poll_transmit),
/// then arm a timer from [`poll_timeout`](Self::poll_timeout). Sockets that an event opens must be there before the
/// next datagram is sent. `now` never decreases.
#[derive(Debug)]
pub struct Endpoint {
    context: Context,
    store: Option<Persistent>,
    operations: BTreeMap<OperationId, Operation>,
    servers: BTreeMap<ServerId, Server>,
    by_target: BTreeMap<[u8; 32], ServerId>,
    /// When servers were closed that nodes may still forward to.
    gone: Cache<[u8; 32], Instant>,
    dials: BTreeMap<ConnectionId, Dial>,
    accepts: BTreeMap<ConnectionId, Accept>,
    rate: SourceRate,
    /// Who this node is to blind relays.
    own: KeyPair,
    /// What it is to others as one.
    service: Option<Service>,
    allows_bogons: bool,
    serves_others: bool,
    /// How the node could be reached when servers were told last.
    standing: (bool, Option<Address>),
    clock: u64,
    started: Instant,
    next_operation: u64,
    next_server: u64,
    next_connection: u64,
}

impl Endpoint {
    /// Creates an endpoint and starts to bootstrap. The seed must never be used twice.
    pub fn new(options: EndpointOptions, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let node_options = NodeOptions {
            bootstrap: options.bootstrap,
            mode: options.mode,
            is_firewalled: options.is_firewalled,
            quick_firewall: options.quick_firewall,
            public_address: options.public_address,
            server_port: options.server_port,
        };
        let node = Node::new(node_options, rng.bytes(), now);
        let streams = Streams::new(rng.bytes());
        let own = KeyPair::from_seed(&rng.bytes());
        let mut endpoint = Self {
            context: Context::new(node, streams, rng, options.local_addresses),
            store: None,
            operations: BTreeMap::new(),
            servers: BTreeMap::new(),
            by_target: BTreeMap::new(),
            gone: Cache::new(MAX_GONE, RECORD_AGE, now),
            dials: BTreeMap::new(),
            accepts: BTreeMap::new(),
            rate: SourceRate::default(),
            own,
            service: None,
            allows_bogons: options.allows_bogons,
            serves_others: options.serves_others,
            standing: (options.is_firewalled, None),
            clock: options.clock,
            started: now,
            next_operation: 0,
            next_server: 0,
            next_connection: 0,
        };
        endpoint.drain(now);
        endpoint
    }

    /// Returns the node: its id, its address, what it knows.
    pub fn node(&self) -> &Node {
        &self.context.node
    }

    /// Returns what is stored for others, while persistent.
    pub fn store(&self) -> Option<&Persistent> {
        self.store.as_ref()
    }

    /// Replaces the nodes to start from, once their names are resolved.
    pub fn set_bootstrap(&mut self, nodes: Vec<Address>, now: Instant) {
        self.context.node.set_bootstrap(nodes, now);
        self.drain(now);
    }

    /// Replaces the addresses of this machine, with the port of the server socket.
    pub fn set_local_addresses(&mut self, addresses: Vec<Address>, now: Instant) {
        self.context.local_addresses = addresses;
        self.refresh_servers(now);
    }

    // Operations.

    /// Searches the records of a topic: [`Event::Found`] for each node that has some, then [`Event::Finished`].
    pub fn lookup(&mut self, topic: [u8; 32], now: Instant) -> OperationId {
        self.operate(topic, Kind::Lookup, now)
    }

    /// Stores a record of `identity` under a topic; the lookup before it gives [`Event::Found`].
    pub fn announce(
        &mut self,
        topic: [u8; 32],
        identity: Identity,
        record: Announce,
        now: Instant,
    ) -> OperationId {
        let Announce { relay_addresses, bump, clears: is_clearing } = record;
        self.operate(topic, Kind::Announce { identity, relay_addresses, bump, is_clearing }, now)
    }

    /// Removes the records of `identity` under a topic; the lookup gives [`Event::Found`].
    pub fn unannounce(&mut self, topic: [u8; 32], identity: Identity, now: Instant) -> OperationId {
        self.operate(topic, Kind::Unannounce { identity }, now)
    }

    /// Searches the nodes that forward to a server: [`Event::FoundPeer`], then [`Event::Finished`].
    pub fn find_peer(&mut self, public_key: [u8; 32], now: Instant) -> OperationId {
        self.operate(crypto::blake2b_256(&[&public_key]), Kind::FindPeer { public_key }, now)
    }

    /// Searches the value with this hash.
    pub fn immutable_get(&mut self, target: [u8; 32], now: Instant) -> OperationId {
        self.operate(target, Kind::ImmutableGet, now)
    }

    /// Stores a value under its hash.
    pub fn immutable_put(&mut self, value: Bytes, now: Instant) -> OperationId {
        self.operate(crypto::blake2b_256(&[&value]), Kind::ImmutablePut { value }, now)
    }

    /// Searches the value of a key, at least version `seq`; the newest that any node has, or the first one found.
    pub fn mutable_get(
        &mut self,
        public_key: [u8; 32],
        seq: u64,
        is_latest: bool,
        now: Instant,
    ) -> OperationId {
        let target = crypto::blake2b_256(&[&public_key]);
        self.operate(target, Kind::MutableGet { public_key, seq, is_latest }, now)
    }

    /// Stores version `seq` of the value of a key pair.
    pub fn mutable_put(&mut self, key_pair: &KeyPair, seq: u64, value: Bytes, now: Instant) -> OperationId {
        let signature = key_pair.sign(&signing::mutable_signable(seq, &value));
        self.mutable_put_signed(key_pair.public_key, seq, value, signature, now)
    }

    /// Stores a value that is signed already, see [`signing::mutable_signable`].
    pub fn mutable_put_signed(
        &mut self,
        public_key: [u8; 32],
        seq: u64,
        value: Bytes,
        signature: [u8; 64],
        now: Instant,
    ) -> OperationId {
        let (target, value) = client::mutable_put(public_key, seq, value, signature);
        self.operate(target, Kind::MutablePut { value }, now)
    }

    /// Asks the nodes closest to a target something: [`Event::Reply`] for each that answers, then [`Event::Asked`]. Lasts
    /// until it is [cancelled](Self::cancel).
    pub fn ask(
        &mut self,
        target: [u8; 32],
        is_internal: bool,
        command: u64,
        value: Option<Bytes>,
        now: Instant,
    ) -> OperationId {
        self.operate(target, Kind::Ask { is_internal, command, value }, now)
    }

    /// Writes to a node whose reply is among the closest of an [`ask`](Self::ask), once for each, and reports whether it
    /// does: [`Event::Written`] follows.
    pub fn write_to_reply(
        &mut self,
        operation: OperationId,
        reply: u32,
        command: u64,
        value: Bytes,
        now: Instant,
    ) -> bool {
        let operation = self.operations.get_mut(&operation);
        let is_sent =
            operation.is_some_and(|operation| operation.write(reply, command, value, &mut self.context, now));
        self.drain(now);
        is_sent
    }

    /// Gives an operation up: no event comes for it any more.
    pub fn cancel(&mut self, operation: OperationId, now: Instant) {
        if let Some(operation) = self.operations.remove(&operation) {
            operation.cancel(&mut self.context);
        }
        self.drain(now);
    }

    /// Answers [`Event::Sign`]; `None` refuses.
    pub fn signed(&mut self, id: SignatureId, signature: Option<[u8; 64]>, now: Instant) {
        if let Some((public_key, write)) = self.context.signatures.remove(&id) {
            match signature {
                Some(signature) => self.context.send_write(public_key, write, signature, now),
                None => self.dispatch(write.purpose, None, None, now),
            }
        }
        self.drain(now);
    }

    // Connections.

    /// Dials a peer: [`Event::Connected`] or [`Event::Failed`] follows.
    pub fn connect(&mut self, options: Connect, now: Instant) -> ConnectionId {
        let id = self.dial(options, true, now);
        self.drain(now);
        id
    }

    /// Starts to dial, without a look at what comes of it.
    fn dial(&mut self, options: Connect, may_relay: bool, now: Instant) -> ConnectionId {
        let id = self.connection_id();
        let target = crypto::blake2b_256(&[&options.remote_public_key]);
        let dial_options = DialOptions {
            remote_public_key: options.remote_public_key,
            relay_addresses: options.relay_addresses,
            allows_lan: options.allows_lan,
            forward: self.store.as_mut().and_then(|store| store.forward(&target)),
            relay_through: options.relay_through,
            may_relay,
        };
        let mut dial = Dial::new(id, &options.identity, dial_options, &mut self.context, now);
        let progress = dial.advance(&mut self.context, now);
        self.dials.insert(id, dial);
        self.settle_dial(id, progress, now);
        id
    }

    /// Listens on a key: [`Event::Listening`] follows once it is announced.
    ///
    /// # Errors
    ///
    /// [`Misuse::KeyInUse`] when another server of this endpoint has the key.
    pub fn listen(&mut self, options: Listen, now: Instant) -> Result<ServerId, Misuse> {
        let public_key = options.identity.public_key();
        let target = crypto::blake2b_256(&[&public_key]);
        if self.by_target.contains_key(&target) {
            return Err(Misuse::KeyInUse);
        }
        let id = ServerId(self.next_server);
        self.next_server += 1;
        self.by_target.insert(target, id);
        let announcer = Announcer::new(id, options.identity.clone(), target, &mut self.context, now);
        let server = Server {
            identity: options.identity,
            target,
            record: Peer { public_key, relay_addresses: Vec::new() }.encode(),
            announcer,
            asks: options.asks,
            shares_local_addresses: options.shares_local_addresses,
            may_punch: options.may_punch,
            relay_through: options.relay_through,
            by_message: BTreeMap::new(),
            by_number: BTreeMap::new(),
        };
        self.servers.insert(id, server);
        self.drain(now);
        Ok(id)
    }

    /// Stops to listen. If `is_polite`, nodes are told, which takes signatures; [`Event::ServerClosed`] follows.
    /// The key can be listened on again at once. Open connections stay.
    pub fn close_server(&mut self, id: ServerId, is_polite: bool, now: Instant) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if self.by_target.get(&server.target) == Some(&id) {
            self.by_target.remove(&server.target);
            self.gone.advance(now);
            self.gone.set(server.target, now);
        }
        let connections: Vec<_> = core::mem::take(&mut server.by_message).into_values().collect();
        server.by_number.clear();
        let milestone = server.announcer.close(is_polite, &mut self.context, now);
        for connection in connections {
            if let Some(mut accept) = self.accepts.remove(&connection) {
                accept.give_up(&mut self.context, now);
            }
        }
        self.reach(id, milestone);
        self.drain(now);
    }

    /// Returns the addresses under which a server can be reached, as they are told to others.
    pub fn relay_addresses(&self, server: ServerId) -> Vec<Address> {
        self.servers.get(&server).map(|server| server.announcer.relay_addresses.clone()).unwrap_or_default()
    }

    /// Answers [`Event::NoiseSend`]. The listening side ends its handshake thereby and has to give the
    /// [`holepunch_secret`](super::holepunch_secret) as well.
    pub fn noise_sent(
        &mut self,
        connection: ConnectionId,
        message: Bytes,
        holepunch_secret: Option<[u8; 32]>,
        now: Instant,
    ) {
        if let Some(dial) = self.dials.get_mut(&connection) {
            let progress = dial.noise_sent(message, &mut self.context, now);
            self.settle_dial(connection, progress, now);
        } else if let Some(secret) = holepunch_secret {
            self.with_accept(connection, now, |accept, server, context| {
                accept.noise_sent(message, secret, &server.standing(), context, now)
            });
        }
        self.drain(now);
    }

    /// Answers [`Event::NoiseReceive`]: on the dialling side with `holepunch_secret`, which ends the handshake, on
    /// the listening side with the key of the peer.
    pub fn noise_received(
        &mut self,
        connection: ConnectionId,
        payload: Bytes,
        remote_public_key: Option<[u8; 32]>,
        holepunch_secret: Option<[u8; 32]>,
        now: Instant,
    ) {
        if let Some(dial) = self.dials.get_mut(&connection) {
            let opened = holepunch_secret.map(|secret| (payload, secret));
            let progress = dial.noise_received(opened, &mut self.context, now);
            self.settle_dial(connection, progress, now);
        } else if let Some(key) = remote_public_key {
            self.with_accept(connection, now, |accept, server, context| {
                accept.noise_received(&payload, key, server.standing(), context, now)
            });
        }
        self.drain(now);
    }

    /// Answers [`Event::Incoming`] with yes.
    pub fn accept(&mut self, connection: ConnectionId, now: Instant) {
        self.with_accept(connection, now, |accept, server, context| {
            accept.accepted(server.standing(), context, now)
        });
        self.drain(now);
    }

    /// Answers [`Event::Incoming`] or [`Event::NoiseReceive`] with no. The peer hears nothing; a dial goes on with what other
    /// nodes answer.
    pub fn deny(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(dial) = self.dials.get_mut(&connection) {
            let progress = dial.noise_received(None, &mut self.context, now);
            self.settle_dial(connection, progress, now);
        } else if let Some(accept) = self.accepts.get_mut(&connection) {
            accept.denied(&mut self.context, now);
        }
        self.drain(now);
    }

    // Streams.

    /// Queues bytes for a peer and reports whether there is room for more; if not, [`Event::Drain`] tells when.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownConnection`], [`Misuse::Ended`], [`Misuse::QueueFull`].
    pub fn write(&mut self, connection: ConnectionId, bytes: Bytes, now: Instant) -> Result<bool, Misuse> {
        let has_room = self.context.streams.write(connection, bytes)?;
        self.drain(now);
        Ok(has_room)
    }

    /// Returns how many bytes of a connection wait to be sent.
    pub fn queued(&self, connection: ConnectionId) -> usize {
        self.context.streams.queued(connection)
    }

    /// Adds up the figures of all streams.
    pub fn stream_totals(&self) -> udx::Totals {
        self.context.streams.totals()
    }

    /// Sends one unordered and unacknowledged datagram on a connection, and reports whether it left.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownConnection`].
    pub fn send_message(&mut self, connection: ConnectionId, bytes: Bytes) -> Result<bool, Misuse> {
        Ok(self.context.streams.send_message(connection, bytes)?)
    }

    /// Sends nothing more after what is queued. Both sides do so for an orderly end.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownConnection`], [`Misuse::Ended`].
    pub fn end(&mut self, connection: ConnectionId, now: Instant) -> Result<(), Misuse> {
        self.context.streams.end(connection)?;
        self.drain(now);
        Ok(())
    }

    /// Breaks a connection off, or gives up dialling or accepting it. No event comes for it any more.
    pub fn destroy(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(mut dial) = self.dials.remove(&connection) {
            dial.close(&mut self.context, now);
        } else if let Some(accept) = self.accepts.get_mut(&connection)
            && (!accept.is_open() || accept.is_relayed())
        {
            accept.closed(&mut self.context, now);
        }
        self.context.relaying.farewells.push_back((connection, false));
        if let Some(socket) = self.context.streams.socket(connection) {
            self.context.close_socket_later(socket, now);
        }
        self.context.streams.forget(connection);
        self.drain(now);
    }

    /// Gives back bytes that [`Event::Data`] handed out: the peer may send as many more.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownConnection`].
    pub fn consumed(&mut self, connection: ConnectionId, bytes: u64) -> Result<(), Misuse> {
        Ok(self.context.streams.consumed(connection, bytes)?)
    }

    /// Sets how many bytes a peer may send before they are [`consumed`](Self::consumed).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownConnection`].
    pub fn set_receive_limit(&mut self, connection: ConnectionId, bytes: u32) -> Result<(), Misuse> {
        Ok(self.context.streams.set_receive_limit(connection, bytes)?)
    }

    // Inputs and outputs.

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        match bytes.first() {
            None => return,
            Some(_) if bytes.len() == 1 => self.handle_punch(socket, from, now),
            Some(&(rpc::REQUEST | rpc::REPLY)) => {
                self.context.node.handle_datagram(socket, from, &bytes, now);
            }
            Some(_) => {
                self.context.streams.handle_datagram(socket, from, &bytes, now);
            }
        }
        self.drain(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.context.node.handle_timeout(now);
        self.context.streams.handle_timeout(now);
        if let Some(store) = &mut self.store {
            store.advance(now);
        }
        while let Some((at, timer)) = self.context.timers.first().copied()
            && at <= now
        {
            self.context.timers.remove(&(at, timer));
            self.handle_timer(timer, now);
        }
        self.drain(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.context.timers.first().map(|(at, _)| *at);
        [self.context.node.poll_timeout(), self.context.streams.poll_timeout(), timer]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the next datagrams to send, up to `max_segments` of one stream back to back; 1 for a host that sends
    /// them one by one.
    pub fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        self.context.node.poll_transmit().or_else(|| self.context.streams.poll_transmit(max_segments, now))
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.context.events.pop_front()
    }
}

/// Closed servers that are remembered, in either of two generations.
const MAX_GONE: usize = 4096;
