//! A simulated network of DHT peers: bootstrapping, announcing, storing, dialling and listening, with loss.
#![cfg(feature = "dht")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{
    Announce, Connect, ConnectError, ConnectionId, Endpoint, EndpointOptions, Event, Finished, Identity,
    Listen, Mode, Rng, ServerId, holepunch_secret, signing,
};
use hypertab_core::noise::{Handshake, Keys, Pattern, Role};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;

#[test]
fn nodes_turn_persistent_and_find_each_other() {
    let mut network = Network::new(1, 0);
    let nodes = network.testnet(20);

    for node in nodes {
        assert!(network.peers[node].endpoint.node().id().is_some(), "node {node}");
        assert!(network.peers[node].endpoint.node().known() > 10, "node {node}");
    }
}

#[test]
fn announced_record_is_found_until_it_is_removed() {
    for loss in [0, 10] {
        let mut network = Network::new(2, loss);
        network.testnet(20);
        let (a, b) = (network.peer(Kind::Open), network.peer(Kind::Open));
        let key_pair = KeyPair::from_seed(&[5; 32]);
        let (topic, relay) = ([9; 32], Address::new([5, 5, 5, 5], 555));

        let identity = Identity::Local(key_pair.clone());
        let at = |relay| Announce { relay_addresses: vec![relay], ..Announce::default() };
        let announce =
            network.act(a, |endpoint, now| endpoint.announce(topic, identity.clone(), at(relay), now));
        network.until(|peers| peers[a].finished(announce).is_some());
        let lookup = network.act(b, |endpoint, now| endpoint.lookup(topic, now));
        network.until(|peers| peers[b].finished(lookup).is_some());

        let found = network.peers[b].found(lookup);
        assert!(found.len() > 10, "{} nodes know it", found.len());
        assert!(found.iter().all(|peer| *peer == (key_pair.public_key, vec![relay])));

        let unannounce = network.act(a, |endpoint, now| endpoint.unannounce(topic, identity, now));
        network.until(|peers| peers[a].finished(unannounce).is_some());
        let again = network.act(b, |endpoint, now| endpoint.lookup(topic, now));
        network.until(|peers| peers[b].finished(again).is_some());

        assert!(network.peers[b].found(again).is_empty());
    }
}

#[test]
fn announce_is_signed_by_whoever_holds_the_key() {
    let mut network = Network::new(3, 0);
    network.testnet(10);
    let (a, b) = (network.peer(Kind::Open), network.peer(Kind::Open));
    let key_pair = KeyPair::from_seed(&[5; 32]);
    network.peers[a].keys.insert(key_pair.public_key, key_pair.clone());

    let identity = Identity::External(key_pair.public_key);
    let announce =
        network.act(a, |endpoint, now| endpoint.announce([9; 32], identity, Announce::default(), now));
    network.until(|peers| peers[a].finished(announce).is_some());
    let lookup = network.act(b, |endpoint, now| endpoint.lookup([9; 32], now));
    network.until(|peers| peers[b].finished(lookup).is_some());

    assert!(matches!(network.peers[a].finished(announce), Some(Ok(Finished::Done { .. }))));
    assert!(network.peers[b].found(lookup).len() > 5);
}

#[test]
fn values_are_stored_and_found() {
    let mut network = Network::new(4, 5);
    network.testnet(20);
    let (a, b) = (network.peer(Kind::Open), network.peer(Kind::Open));
    let key_pair = KeyPair::from_seed(&[5; 32]);
    let value = Bytes::from_static(b"some value");

    let put = network.act(a, |endpoint, now| endpoint.immutable_put(value.clone(), now));
    network.until(|peers| peers[a].finished(put).is_some());
    let Some(Ok(Finished::Stored { target, nodes })) = network.peers[a].finished(put) else { panic!() };
    assert!(*nodes > 10);
    let target = *target;
    let get = network.act(b, |endpoint, now| endpoint.immutable_get(target, now));
    network.until(|peers| peers[b].finished(get).is_some());
    let Some(Ok(Finished::Immutable(Some(found)))) = network.peers[b].finished(get) else { panic!() };
    assert_eq!(*found, value);

    for seq in [1, 2] {
        let put = network.act(a, |endpoint, now| endpoint.mutable_put(&key_pair, seq, value.clone(), now));
        network.until(|peers| peers[a].finished(put).is_some());
        assert!(matches!(network.peers[a].finished(put), Some(Ok(Finished::Stored { .. }))));
    }
    let get = network.act(b, |endpoint, now| endpoint.mutable_get(key_pair.public_key, 0, true, now));
    network.until(|peers| peers[b].finished(get).is_some());
    let Some(Ok(Finished::Mutable(Some(found)))) = network.peers[b].finished(get) else { panic!() };
    assert_eq!((found.seq, &found.value), (2, &value));

    let stale = network.act(a, |endpoint, now| endpoint.mutable_put(&key_pair, 1, value.clone(), now));
    network.until(|peers| peers[a].finished(stale).is_some());
    assert!(network.peers[a].finished(stale).unwrap().is_err());
}

#[test]
fn peers_connect_through_every_kind_of_network() {
    for (seed, (server, client)) in
        (0..).zip([Kind::Open, Kind::Firewalled].into_iter().flat_map(|server| {
            [Kind::Open, Kind::Firewalled].into_iter().map(move |client| (server, client))
        }))
    {
        for is_external in [false, true] {
            for loss in [0, 5] {
                let place =
                    format!("{client:?} dials {server:?}, external keys {is_external}, loss {loss} %");
                let mut network = Network::new(10 + seed, loss);
                network.testnet(12);
                let (server, client) = (network.peer(server), network.peer(client));
                network.run(Duration::from_secs(20));

                let key = network.listen(server, 7, is_external);
                let connection = network.dial(client, 8, key, is_external);
                network.until(|peers| {
                    peers[client].opened.contains_key(&connection) || !peers[client].failed.is_empty()
                });

                assert_eq!(network.peers[client].failed, [], "{place}");
                assert!(network.echo(client, server, connection, 100_000), "{place}");
                network.run(Duration::from_secs(20));
                assert_eq!(network.peers[server].closed.len(), 1, "{place}");
                assert_eq!(network.sockets.len(), 2 * network.peers.len(), "{place}");
            }
        }
    }
}

#[test]
fn a_dial_survives_that_its_node_turns_out_to_be_open() {
    let mut network = Network::new(19, 0);
    network.testnet(12);
    let server = network.peer(Kind::Firewalled);
    network.peers[server].echoes = true;
    let key = network.listen(server, 1, false);

    for millis in (0..600).step_by(20) {
        let options = EndpointOptions {
            mode: Mode::Ephemeral,
            allows_bogons: true,
            ..EndpointOptions::new(network.bootstrap.clone(), 49737, 0)
        };
        let client = network.add(options, Kind::Open);
        network.run(Duration::from_millis(millis));
        let connection = network.dial(client, 2, key, false);
        let done = |peers: &[Peer]| {
            peers[client].opened.contains_key(&connection) || !peers[client].failed.is_empty()
        };
        network.until(done);

        assert!(network.echo(client, server, connection, 2000), "dialled after {millis} ms");
    }
}

#[test]
fn dial_of_an_unknown_key_fails() {
    let mut network = Network::new(20, 0);
    network.testnet(8);
    let client = network.peer(Kind::Open);

    let connection = network.dial(client, 8, [3; 32], false);
    network.until(|peers| !peers[client].failed.is_empty());

    assert_eq!(network.peers[client].failed, [(connection, ConnectError::PeerNotFound)]);
}

#[test]
fn closed_server_is_not_found_and_its_key_can_listen_again() {
    let mut network = Network::new(21, 0);
    network.testnet(12);
    let (server, client) = (network.peer(Kind::Open), network.peer(Kind::Open));

    let key = network.listen(server, 7, true);
    let id = *network.peers[server].servers.first().unwrap();
    network.act(server, |endpoint, now| endpoint.close_server(id, true, now));
    network.until(|peers| peers[server].closed_servers == 1);
    let connection = network.dial(client, 8, key, false);
    network.until(|peers| !peers[client].failed.is_empty());
    assert_eq!(network.peers[client].failed, [(connection, ConnectError::PeerNotFound)]);

    network.listen(server, 7, true);
    let connection = network.dial(client, 8, key, false);
    network.until(|peers| peers[client].opened.contains_key(&connection));
}

#[test]
fn server_survives_the_loss_of_its_forwarding_nodes() {
    let mut network = Network::new(22, 0);
    network.testnet(16);
    let (server, client) = (network.peer(Kind::Firewalled), network.peer(Kind::Open));
    network.run(Duration::from_secs(10));
    let key = network.listen(server, 7, false);
    let id = *network.peers[server].servers.first().unwrap();
    let relays: Vec<_> = network.peers[server].endpoint.relay_addresses(id);

    for relay in &relays {
        network.dead.insert(relay.ip());
    }
    network.run(Duration::from_secs(60));
    let connection = network.dial(client, 8, key, false);
    network.until(|peers| peers[client].opened.contains_key(&connection) || !peers[client].failed.is_empty());

    assert_eq!(network.peers[client].failed, []);
    let renewed = network.peers[server].endpoint.relay_addresses(id);
    assert!(renewed.iter().all(|relay| !relays.contains(relay)));
}

#[test]
fn host_is_asked_once_for_all_copies_of_a_handshake() {
    let mut network = Network::new(23, 0);
    network.testnet(12);
    let (server, client) = (network.peer(Kind::Open), network.peer(Kind::Open));
    let key = network.listen(server, 7, true);

    let connection = network.dial(client, 8, key, false);
    network.until(|peers| peers[client].opened.contains_key(&connection));
    network.run(Duration::from_secs(20));

    assert_eq!(network.peers[server].opened.len(), 1);
    assert_eq!(network.peers[server].asked, 1);
}

#[test]
fn peer_that_is_kept_out_hears_nothing() {
    for is_external in [false, true] {
        let mut network = Network::new(24, 0);
        network.testnet(12);
        let (server, client) = (network.peer(Kind::Open), network.peer(Kind::Open));
        network.peers[server].verdict = Some(false);
        let key = network.listen(server, 7, is_external);

        let connection = network.dial(client, 8, key, false);
        network.until(|peers| !peers[client].failed.is_empty());

        assert_eq!(network.peers[client].failed, [(connection, ConnectError::PeerConnectionFailed)]);
        assert!(network.peers[server].opened.is_empty());
    }
}

#[test]
fn peer_that_is_let_in_connects() {
    let mut network = Network::new(25, 0);
    network.testnet(12);
    let (server, client) = (network.peer(Kind::Open), network.peer(Kind::Open));
    network.peers[server].verdict = Some(true);
    let key = network.listen(server, 7, false);

    let connection = network.dial(client, 8, key, false);
    network.until(|peers| peers[client].opened.contains_key(&connection));

    assert_eq!(network.peers[server].asked, 1);
}

#[test]
fn dial_fails_when_the_holder_of_the_key_is_gone() {
    let mut network = Network::new(26, 0);
    network.testnet(12);
    let (server, client) = (network.peer(Kind::Open), network.peer(Kind::Open));
    let key = network.listen(server, 7, false);
    network.peers[client].is_gone = true;

    let connection = network.dial(client, 8, key, true);
    network.until(|peers| !peers[client].failed.is_empty());

    assert_eq!(network.peers[client].failed, [(connection, ConnectError::HandshakeUnfinished)]);
}

#[test]
fn listen_ends_without_relays_when_nobody_signs() {
    let mut network = Network::new(27, 0);
    network.testnet(12);
    let server = network.peer(Kind::Open);
    network.peers[server].is_gone = true;

    network.listen(server, 7, true);

    let id = network.peers[server].servers[0];
    // Its own address is all that is left to publish.
    assert_eq!(network.peers[server].endpoint.relay_addresses(id).len(), 1);
}

#[test]
fn sleeping_machine_is_noticed() {
    let mut network = Network::new(28, 0);
    network.testnet(8);
    let options =
        EndpointOptions { allows_bogons: true, ..EndpointOptions::new(network.bootstrap.clone(), 49737, 0) };
    let peer = network.add(options, Kind::Open);
    network.run(Duration::from_secs(3600));
    assert!(!network.peers[peer].endpoint.node().is_ephemeral(), "an hour is enough to turn persistent");

    network.asleep.insert(peer);
    network.run(Duration::from_secs(600));
    network.asleep.clear();
    network.run(Duration::from_secs(6));

    assert!(network.peers[peer].endpoint.node().is_ephemeral());
}

#[test]
fn hostile_datagrams_do_no_harm() {
    let mut network = Network::new(29, 0);
    network.testnet(6);
    let peer = network.peer(Kind::Open);
    network.listen(peer, 7, false);
    let mut rng = Rng::new([77; 32]);
    let target = hypertab_core::crypto::blake2b_256(&[&KeyPair::from_seed(&[7; 32]).public_key]);

    for round in 0..20_000u32 {
        let mut bytes: Vec<u8> = (0..rng.below(300)).map(|_| rng.bytes::<1>()[0]).collect();
        // Half of them get past the first checks: a kind, flags, and a target that is served here.
        if round % 2 == 0 && bytes.len() > 60 {
            bytes[0] = if round % 4 == 0 { 0x03 } else { 0x13 };
            bytes[1] = [8 | 16, 4 | 16, 8 | 2 | 16, 31][usize::try_from(rng.below(4)).unwrap()];
            if bytes[1] & 7 == 0 {
                bytes[10] = u8::try_from(rng.below(12)).unwrap();
                bytes[11..43].copy_from_slice(&target);
                bytes[43] = u8::try_from(bytes.len() - 44).unwrap_or(0xfc);
            }
        }
        let from = Address::new([30, 0, 0, rng.bytes::<1>()[0]], 1 + u16::from(rng.bytes::<1>()[0]));
        let socket = SocketId(u32::try_from(rng.below(2)).unwrap());
        network.act(peer, |endpoint, now| endpoint.handle_datagram(socket, from, bytes.into(), now));
    }
    network.run(Duration::from_secs(30));

    assert!(network.peers[peer].opened.is_empty());
}

#[test]
fn same_seed_gives_the_same_network() {
    let run = || {
        let mut network = Network::new(30, 10);
        network.testnet(8);
        network.run(Duration::from_secs(60));
        network.log
    };

    assert_eq!(run(), run());
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By anybody.
    Open,
    /// By those it sent something to.
    Firewalled,
}

struct Network {
    now: Instant,
    rng: Rng,
    loss: u64,
    peers: Vec<Peer>,
    sockets: BTreeMap<Address, (usize, SocketId)>,
    flying: BTreeMap<(Instant, u64), (Address, Address, Bytes)>,
    next_datagram: u64,
    bootstrap: Vec<Address>,
    dead: BTreeSet<[u8; 4]>,
    /// Peers whose machine sleeps.
    asleep: BTreeSet<usize>,
    /// Digest of everything sent.
    log: u64,
}

struct Peer {
    endpoint: Endpoint,
    kind: Kind,
    ip: [u8; 4],
    addresses: BTreeMap<SocketId, Address>,
    next_port: u16,
    /// Destinations that each socket has sent to.
    sent_to: BTreeSet<(SocketId, Address)>,
    finished: Vec<(hypertab_core::dht::OperationId, Result<Finished, hypertab_core::dht::OperationError>)>,
    records: Vec<(hypertab_core::dht::OperationId, [u8; 32], Vec<Address>)>,
    keys: BTreeMap<[u8; 32], KeyPair>,
    handshakes: BTreeMap<ConnectionId, Handshake>,
    dialled: BTreeMap<ConnectionId, ([u8; 32], [u8; 32])>,
    served: BTreeMap<ServerId, [u8; 32]>,
    servers: Vec<ServerId>,
    listening: usize,
    closed_servers: usize,
    opened: BTreeMap<ConnectionId, [u8; 32]>,
    failed: Vec<(ConnectionId, ConnectError)>,
    received: BTreeMap<ConnectionId, Vec<u8>>,
    closed: BTreeSet<ConnectionId>,
    echoes: bool,
    /// Whether peers are let in, if the host decides.
    verdict: Option<bool>,
    /// Handshakes that the host was asked about.
    asked: usize,
    /// Whether the holder of external keys does not answer.
    is_gone: bool,
}

impl Network {
    fn new(seed: u8, loss: u64) -> Self {
        Self {
            now: Instant::EPOCH,
            rng: Rng::new([seed; 32]),
            loss,
            peers: Vec::new(),
            sockets: BTreeMap::new(),
            flying: BTreeMap::new(),
            next_datagram: 0,
            bootstrap: Vec::new(),
            dead: BTreeSet::new(),
            asleep: BTreeSet::new(),
            log: 0,
        }
    }

    /// Starts persistent nodes, the first of which the others bootstrap from.
    fn testnet(&mut self, size: usize) -> Vec<usize> {
        (0..size)
            .map(|_| {
                let address = Address::new(self.next_ip(), 49737);
                let options = EndpointOptions::bootstrapper(address, self.bootstrap.clone(), 0);
                let peer = self.add(options, Kind::Open);
                if self.bootstrap.is_empty() {
                    self.bootstrap.push(address);
                }
                self.run(Duration::from_secs(2));
                peer
            })
            .collect()
    }

    /// Starts a peer that knows nothing about its address.
    fn peer(&mut self, kind: Kind) -> usize {
        let options = EndpointOptions {
            mode: Mode::Ephemeral,
            allows_bogons: true,
            ..EndpointOptions::new(self.bootstrap.clone(), 49737, 0)
        };
        // The probe that decides about the firewall is sent once.
        let loss = std::mem::take(&mut self.loss);
        let peer = self.add(options, kind);
        self.run(Duration::from_secs(5));
        self.loss = loss;
        assert_eq!(self.peers[peer].endpoint.node().is_firewalled(), kind == Kind::Firewalled);
        peer
    }

    fn next_ip(&self) -> [u8; 4] {
        [20, 0, 0, 1 + u8::try_from(self.peers.len()).unwrap()]
    }

    fn add(&mut self, options: EndpointOptions, kind: Kind) -> usize {
        let (index, ip) = (self.peers.len(), self.next_ip());
        let endpoint = Endpoint::new(options, self.rng.bytes(), self.now);
        let mut peer = Peer {
            endpoint,
            kind,
            ip,
            addresses: BTreeMap::new(),
            next_port: 10_000,
            sent_to: BTreeSet::new(),
            finished: Vec::new(),
            records: Vec::new(),
            keys: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            dialled: BTreeMap::new(),
            served: BTreeMap::new(),
            servers: Vec::new(),
            listening: 0,
            closed_servers: 0,
            opened: BTreeMap::new(),
            failed: Vec::new(),
            received: BTreeMap::new(),
            closed: BTreeSet::new(),
            echoes: false,
            verdict: None,
            asked: 0,
            is_gone: false,
        };
        for (socket, port) in [(SocketId::SERVER, 49737), (SocketId::CLIENT, 5000)] {
            peer.addresses.insert(socket, Address::new(ip, port));
            self.sockets.insert(Address::new(ip, port), (index, socket));
        }
        self.peers.push(peer);
        self.drain(index);
        index
    }

    fn act<T>(&mut self, peer: usize, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let result = act(&mut self.peers[peer].endpoint, self.now);
        self.drain(peer);
        result
    }

    fn listen(&mut self, peer: usize, seed: u8, is_external: bool) -> [u8; 32] {
        let key_pair = KeyPair::from_seed(&[seed; 32]);
        let public_key = key_pair.public_key;
        self.peers[peer].keys.insert(public_key, key_pair.clone());
        self.peers[peer].echoes = true;
        let identity = if is_external { Identity::External(public_key) } else { Identity::Local(key_pair) };
        let before = self.peers[peer].listening;
        let asks = self.peers[peer].verdict.is_some();
        let listen = Listen { asks, ..Listen::new(identity) };
        let id = self.peers[peer].endpoint.listen(listen, self.now).unwrap();
        self.peers[peer].served.insert(id, public_key);
        self.peers[peer].servers.insert(0, id);
        self.drain(peer);
        self.until(|peers| peers[peer].listening > before);
        public_key
    }

    fn dial(&mut self, peer: usize, seed: u8, key: [u8; 32], is_external: bool) -> ConnectionId {
        let key_pair = KeyPair::from_seed(&[seed; 32]);
        let public_key = key_pair.public_key;
        self.peers[peer].keys.insert(public_key, key_pair.clone());
        let identity = if is_external { Identity::External(public_key) } else { Identity::Local(key_pair) };
        let options = Connect::new(identity, key);
        let connection = self.peers[peer].endpoint.connect(options, self.now);
        self.peers[peer].dialled.insert(connection, (public_key, key));
        self.drain(peer);
        connection
    }

    /// Sends bytes, which the server returns, and ends the connection.
    fn echo(&mut self, client: usize, server: usize, connection: ConnectionId, len: usize) -> bool {
        let sent: Vec<u8> = (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let bytes = Bytes::from(sent.clone());
        self.act(client, |endpoint, now| endpoint.write(connection, bytes, now).unwrap());
        self.until(|peers| {
            peers[client].closed.contains(&connection)
                || peers[client]
                    .received
                    .get(&connection)
                    .is_some_and(|bytes| bytes.len() >= HEADER.len() + len)
        });
        self.act(client, |endpoint, now| endpoint.end(connection, now).unwrap());
        self.until(|peers| !peers[client].closed.is_empty() && !peers[server].closed.is_empty());
        self.peers[client].received.get(&connection).is_some_and(|bytes| bytes[HEADER.len()..] == sent)
    }

    fn until(&mut self, done: impl Fn(&[Peer]) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !done(&self.peers) {
            assert!(self.step(end), "nothing happened in time");
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Moves to the next datagram or timer before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.peers.iter().enumerate().filter(|(index, _)| !self.asleep.contains(index));
        let timer = timers.filter_map(|(index, peer)| Some((peer.endpoint.poll_timeout()?, index))).min();
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        if arrival.is_some_and(|arrival| arrival <= at) {
            let (_, (from, to, bytes)) = self.flying.pop_first().unwrap();
            self.arrive(from, to, bytes);
        } else if let Some((_, index)) = timer {
            self.peers[index].endpoint.handle_timeout(self.now);
            self.drain(index);
        }
        true
    }

    fn arrive(&mut self, from: Address, to: Address, bytes: Bytes) {
        let Some((index, socket)) = self.sockets.get(&to).copied() else { return };
        let peer = &mut self.peers[index];
        let is_stopped = peer.kind == Kind::Firewalled && !peer.sent_to.contains(&(socket, from));
        if is_stopped
            || self.asleep.contains(&index)
            || self.dead.contains(&to.ip())
            || self.dead.contains(&from.ip())
        {
            return;
        }
        peer.endpoint.handle_datagram(socket, from, bytes, self.now);
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        loop {
            while let Some(event) = self.peers[index].endpoint.poll_event() {
                self.handle_event(index, event);
            }
            let Some(transmit) = self.peers[index].endpoint.poll_transmit(4, self.now) else { return };
            self.transmit(index, &transmit);
        }
    }

    fn transmit(&mut self, index: usize, transmit: &Transmit) {
        let peer = &mut self.peers[index];
        let from = peer.addresses[&transmit.socket];
        peer.sent_to.insert((transmit.socket, transmit.to));
        for datagram in transmit.bytes.chunks(transmit.segment) {
            for byte in datagram {
                self.log = self.log.wrapping_mul(31).wrapping_add(u64::from(*byte));
            }
            let is_lost = transmit.ttl.is_some() || self.rng.below(100) < self.loss;
            let delay = Duration::from_millis(10 + self.rng.below(5));
            if !is_lost {
                let key = (self.now + delay, self.next_datagram);
                self.flying.insert(key, (from, transmit.to, Bytes::copy_from_slice(datagram)));
                self.next_datagram += 1;
            }
        }
    }

    fn handle_event(&mut self, index: usize, event: Event) {
        let (now, ephemeral) = (self.now, self.rng.bytes());
        let peer = &mut self.peers[index];
        match event {
            Event::Sign(_) | Event::NoiseSend { .. } | Event::NoiseReceive { .. } if peer.is_gone => {}
            Event::NoiseReceive { connection, server: Some(_), .. } if peer.verdict == Some(false) => {
                peer.endpoint.deny(connection, now);
            }
            Event::Incoming { connection, .. } => {
                peer.asked += 1;
                if peer.verdict == Some(true) {
                    peer.endpoint.accept(connection, now);
                } else {
                    peer.endpoint.deny(connection, now);
                }
            }
            Event::OpenSocket(socket) => {
                let address = Address::new(peer.ip, peer.next_port);
                peer.next_port += 1;
                peer.addresses.insert(socket, address);
                self.sockets.insert(address, (index, socket));
            }
            Event::CloseSocket(socket) => {
                if let Some(address) = peer.addresses.get(&socket) {
                    self.sockets.remove(address);
                }
            }
            Event::Found { operation, reply } => {
                for found in reply.peers {
                    peer.records.push((operation, found.public_key, found.relay_addresses));
                }
            }
            Event::Finished { operation, result } => peer.finished.push((operation, result)),
            Event::Sign(request) => {
                let signed = hypertab_core::dht::messages::Peer {
                    public_key: request.public_key,
                    relay_addresses: request.relay_addresses,
                };
                let number = if request.is_unannounce { 5 } else { 4 };
                let (target, node_id, token) = (request.target, request.node_id, request.token);
                let signable = signing::announce_signable(number, &target, &node_id, &token, &signed, None);
                let signature = peer.keys[&request.public_key].sign(&signable);
                peer.endpoint.signed(request.id, Some(signature), now);
            }
            Event::NoiseSend { connection, server: None, payload } => {
                let (own, remote) = peer.dialled[&connection];
                let mut handshake = start(&peer.keys[&own], Some(remote), ephemeral);
                let message = handshake.write(&payload).unwrap();
                peer.handshakes.insert(connection, handshake);
                peer.endpoint.noise_sent(connection, message.into(), None, now);
            }
            Event::NoiseReceive { connection, server: Some(server), message, .. } => {
                peer.asked += 1;
                let mut handshake = start(&peer.keys[&peer.served[&server]], None, ephemeral);
                let payload = handshake.read(&message).unwrap();
                let remote = handshake.remote_public_key();
                peer.handshakes.insert(connection, handshake);
                peer.endpoint.noise_received(connection, payload.into(), remote, None, now);
            }
            Event::NoiseSend { connection, server: Some(_), payload } => {
                let mut handshake = peer.handshakes.remove(&connection).unwrap();
                let message = handshake.write(&payload).unwrap();
                let secret = holepunch_secret(&handshake.finish().unwrap().handshake_hash);
                peer.endpoint.noise_sent(connection, message.into(), Some(secret), now);
            }
            Event::NoiseReceive { connection, server: None, message, .. } => {
                let mut handshake = peer.handshakes.remove(&connection).unwrap();
                let payload = handshake.read(&message).unwrap();
                let secret = holepunch_secret(&handshake.finish().unwrap().handshake_hash);
                peer.endpoint.noise_received(connection, payload.into(), None, Some(secret), now);
            }
            Event::Listening { .. } => peer.listening += 1,
            Event::ServerClosed { .. } => peer.closed_servers += 1,
            Event::Connected { connection, remote_public_key, .. } => {
                peer.opened.insert(connection, remote_public_key);
                // As the header of a secret stream does, so that the other side learns where this one is.
                peer.endpoint.write(connection, Bytes::from_static(HEADER), now).unwrap();
            }
            Event::Failed { connection, server: None, error } => peer.failed.push((connection, error)),
            Event::Data { connection, bytes } => {
                peer.endpoint.consumed(connection, u64::try_from(bytes.len()).unwrap()).unwrap();
                let received = peer.received.entry(connection).or_default();
                let header = HEADER.len().saturating_sub(received.len()).min(bytes.len());
                received.extend_from_slice(&bytes);
                if peer.echoes {
                    peer.endpoint.write(connection, bytes.slice(header..), now).unwrap();
                }
            }
            Event::End { connection } if peer.echoes => peer.endpoint.end(connection, now).unwrap(),
            Event::Closed { connection, .. } => {
                peer.closed.insert(connection);
            }
            _ => {}
        }
    }
}

impl Peer {
    fn finished(
        &self,
        operation: hypertab_core::dht::OperationId,
    ) -> Option<&Result<Finished, hypertab_core::dht::OperationError>> {
        self.finished.iter().find(|(id, _)| *id == operation).map(|(_, result)| result)
    }

    fn found(&self, operation: hypertab_core::dht::OperationId) -> Vec<([u8; 32], Vec<Address>)> {
        let records = self.records.iter().filter(|(id, ..)| *id == operation);
        records.map(|(_, key, relays)| (*key, relays.clone())).collect()
    }
}

fn start(key_pair: &KeyPair, remote: Option<[u8; 32]>, ephemeral: [u8; 32]) -> Handshake {
    let role = if remote.is_some() { Role::Initiator } else { Role::Responder };
    let keys = Keys { key_pair, remote_public_key: remote, psk: None };
    Handshake::new(Pattern::Ik, role, keys, &signing::namespace(0), ephemeral).unwrap()
}

const HEADER: &[u8] = b"header";
