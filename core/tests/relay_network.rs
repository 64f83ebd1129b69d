//! Clients, a relay and DHT nodes in one simulated network: both machines of the relay protocol against each other,
//! and against clients that break every rule.
#![cfg(feature = "dht")]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::crypto::{KeyPair, blake2b_256};
use hypertab_core::dht::messages::{MutablePut, encode_seq};
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{
    Connect, ConnectionId, Endpoint, EndpointOptions, Event, Finished, Identity, Listen, OperationId,
    command, error, signing,
};
use hypertab_core::dht_relay::messages::Message;
use hypertab_core::dht_relay::queries::{QUERY_PROTOCOL, Question, Reply, WriteEnd};
use hypertab_core::dht_relay::{
    Bridge, BridgeEvent, BridgeOptions, Client, ClientEvent, Failure, Limits, LinkId, PROTOCOL, Permissions,
    QueryError, QueryId, Quota, Quotas, Refusal, ServerId, StreamError, StreamId,
};
use hypertab_core::noise::Session;
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;

#[test]
fn announce_is_signed_by_the_client_and_found_by_all() {
    let mut world = World::new(1, Limits::default());
    let (one, two) = (world.add_tab(), world.add_tab());
    let (pair, topic) = (pair(1), [7; 32]);

    let now = world.now;
    let query = world.tabs[one].client.announce(topic, &pair, now);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[one].is_finished(query));

    let now = world.now;
    let query = world.tabs[two].client.lookup(topic, now);
    let native = world.native(|endpoint, now| endpoint.lookup(topic, now));
    world.run(Duration::from_secs(5));

    assert!(world.tabs[two].is_finished(query));
    let found = world.tabs[two].events.iter().filter_map(|event| match event {
        ClientEvent::Result { result, .. } => Some(result.peers[0].public_key),
        _ => None,
    });
    // The native peer stores as well.
    assert_eq!(found.collect::<Vec<_>>(), [pair.public_key; NODES + 1]);
    assert_eq!(world.found_by_native(native), [pair.public_key; NODES]);

    let now = world.now;
    let query = world.tabs[one].client.unannounce(topic, &pair, now);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[one].is_finished(query));
    let native = world.native(|endpoint, now| endpoint.lookup(topic, now));
    world.run(Duration::from_secs(5));
    assert!(world.found_by_native(native).is_empty());
}

#[test]
fn client_asks_nodes_and_writes_values_that_it_signs() {
    let mut world = World::new(14, Limits::default());
    let tab = world.add_tab();
    let owner = pair(1);
    let (value, target) = (Bytes::from_static(b"kept"), blake2b_256(&[b"kept"]));
    let ask =
        |command, target, value| Question { is_internal: false, may_write: true, command, target, value };

    // A value under its hash. Each node takes it once, and nothing else is passed on.
    let query = world.tabs[tab].ask(ask(command::IMMUTABLE_GET, target, None), world.now);
    world.run(Duration::from_secs(5));
    let closest = world.tabs[tab].closest(query);
    assert_eq!(closest.len(), NODES + 1);
    let replies = world.tabs[tab].replies(query);
    assert!(replies.iter().all(|reply| reply.value.is_none() && reply.token.is_some()));
    let distance = |reply: &u32| -> [u8; 32] {
        let id = replies[*reply as usize].id.unwrap();
        std::array::from_fn(|at| id[at] ^ target[at])
    };
    assert!(closest.is_sorted_by_key(distance));
    let client = &mut world.tabs[tab].client;
    for reply in &closest {
        client.write_to_reply(query, *reply, command::IMMUTABLE_PUT, value.clone());
    }
    client.write_to_reply(query, closest[0], command::IMMUTABLE_PUT, value.clone());
    client.write_to_reply(query, closest[0], command::IMMUTABLE_PUT, Bytes::from_static(b"other"));
    client.write_to_reply(query, 99, command::IMMUTABLE_PUT, value.clone());
    client.write_to_reply(query, closest[0], command::ANNOUNCE, value.clone());
    world.run(Duration::from_secs(5));
    let written = world.tabs[tab].written(query);
    assert_eq!(written.iter().filter(|end| **end == WriteEnd::Answered(0)).count(), closest.len());
    assert_eq!(written.iter().filter(|end| **end == WriteEnd::Refused).count(), 4);
    let native = world.native(|endpoint, now| endpoint.immutable_get(target, now));
    world.run(Duration::from_secs(5));
    assert!(world.events.iter().any(|event| matches!(event,
        Event::Finished { operation, result: Ok(Finished::Immutable(Some(found))) }
            if *operation == native && *found == value)));
    assert_eq!(world.bridge.figures().queries, 1);

    // A value that its owner signed, and an older version of it.
    let target = blake2b_256(&[&owner.public_key]);
    for (seq, end) in [(4, WriteEnd::Answered(0)), (3, WriteEnd::Answered(error::SEQ_TOO_LOW))] {
        let question = ask(command::MUTABLE_GET, target, Some(encode_seq(0)));
        let query = world.tabs[tab].ask(question, world.now);
        world.run(Duration::from_secs(5));
        let value = Bytes::from_static(b"mine");
        let signature = owner.sign(&signing::mutable_signable(seq, &value));
        let put = MutablePut { public_key: owner.public_key, seq, value, signature };
        let closest = world.tabs[tab].closest(query);
        let client = &mut world.tabs[tab].client;
        let forged = MutablePut { signature: [7; 64], ..put.clone() };
        client.write_to_reply(query, closest[1], command::MUTABLE_PUT, forged.encode());
        client.write_to_reply(query, closest[0], command::MUTABLE_PUT, put.encode());
        world.run(Duration::from_secs(5));
        assert_eq!(world.tabs[tab].written(query), [WriteEnd::Refused, end]);
        world.tabs[tab].client.forget_question(query);
        world.run(Duration::from_secs(1));
    }

    // Time to write is limited, and what is not carried is said so.
    world.run(Duration::from_secs(31));
    assert_eq!(world.bridge.figures().queries, 0);
    let late = world.tabs[tab].ask(ask(command::ANNOUNCE, target, None), world.now);
    let internal = Question { is_internal: true, may_write: false, ..ask(2, target, None) };
    let find = world.tabs[tab].ask(internal.clone(), world.now);
    let down_hint = world.tabs[tab].ask(Question { command: 3, ..internal }, world.now);
    world.run(Duration::from_secs(5));
    assert_eq!(world.tabs[tab].failed(late), Some(QueryError::NotSupported));
    assert_eq!(world.tabs[tab].failed(down_hint), Some(QueryError::NotSupported));
    assert_eq!(world.tabs[tab].replies(find).len(), NODES + 1);
    assert_eq!((world.bridge.counters().queries, world.bridge.counters().writes), (4, NODES as u64 + 3));
}

#[test]
fn questions_are_counted_and_end_with_the_link() {
    let limits = Limits { queries: 2, ..Limits::default() };
    let mut world = World::new(15, limits);
    let tab = world.add_tab();
    let question = |topic| Question {
        is_internal: false,
        may_write: true,
        command: command::IMMUTABLE_GET,
        target: [topic; 32],
        value: None,
    };
    let now = world.now;
    let asked: Vec<_> = (0..3).map(|topic| world.tabs[tab].ask(question(topic), now)).collect();
    world.run(Duration::from_secs(5));
    assert_eq!(world.tabs[tab].failed(asked[2]), Some(QueryError::Refused));
    assert_eq!(world.tabs[tab].closest(asked[1]).len(), NODES + 1);
    world.cut(tab);
    world.run(Duration::from_secs(1));
    assert_eq!(world.tabs[tab].failed(asked[0]), Some(QueryError::LinkClosed));
    assert_eq!(world.bridge.figures().queries, 0);
    let late = world.tabs[tab].ask(question(9), world.now);
    world.run(Duration::from_secs(1));
    assert_eq!(world.tabs[tab].failed(late), Some(QueryError::LinkClosed));
}

#[test]
fn dialled_peer_has_the_same_keys_and_gets_the_same_bytes() {
    let mut world = World::new(2, Limits::default());
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);

    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));

    let session = world.tabs[tab].opened(stream);
    let (connection, remote, native) = world.native_connected();
    assert_eq!(remote, own.public_key);
    assert_same(&session, &native);
    exchange(&mut world, tab, stream, connection, 3_000_000);

    world.tabs[tab].client.end(stream);
    world.native(|endpoint, now| endpoint.end(connection, now).unwrap());
    world.run(Duration::from_secs(5));
    assert!(world.tabs[tab].closed(stream, None));
    assert!(world.tabs[tab].events.iter().any(|event| matches!(event, ClientEvent::End { .. })));
}

#[test]
fn server_of_a_client_is_reached_and_asks_about_peers() {
    let mut world = World::new(3, Limits::default());
    let tab = world.add_tab();
    let (own, friend, stranger) = (pair(1), pair(2), pair(3));

    let server = world.tabs[tab].client.listen(&own, true);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[tab].is_listening(server));

    world.tabs[tab].friends.push(friend.public_key);
    let denied = world.native_connect(&stranger, own.public_key);
    let accepted = world.native_connect(&friend, own.public_key);
    world.run(Duration::from_secs(3));

    let (stream, session) = world.tabs[tab].connection(server);
    assert_eq!(session.remote_public_key, Some(friend.public_key));
    let (connection, _, native) = world.native_connected();
    assert_eq!(connection, accepted);
    assert_same(&session, &native);
    exchange(&mut world, tab, stream, connection, 1_000_000);
    world.run(Duration::from_secs(20));
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Failed { connection, .. } if *connection == denied))
    );

    world.tabs[tab].client.close_server(server);
    world.run(Duration::from_secs(5));
    let closed =
        |event: &ClientEvent| matches!(event, ClientEvent::ServerClosed { server: id } if *id == server);
    assert!(world.tabs[tab].events.iter().any(closed));
    // The open stream stays.
    exchange(&mut world, tab, stream, connection, 1000);
}

#[test]
fn peer_that_resets_fails_the_stream_in_words() {
    let mut world = World::new(4, Limits::default());
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));
    let (connection, ..) = world.native_connected();

    world.native(|endpoint, now| endpoint.destroy(connection, now));
    world.run(Duration::from_secs(3));

    let error = StreamError::Remote("ECONNRESET: connection reset by peer".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn unknown_peer_fails_the_dial_in_words() {
    let mut world = World::new(5, Limits::default());
    let tab = world.add_tab();

    let now = world.now;
    let stream = world.tabs[tab].client.connect(pair(9).public_key, &pair(1), now);
    world.run(Duration::from_secs(30));

    let error = StreamError::Remote("PEER_NOT_FOUND: Peer not found".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn key_goes_to_whoever_proves_it_last() {
    let mut world = World::new(6, Limits::default());
    let (old, new, native) = (world.add_tab(), world.add_tab(), pair(2));
    let own = pair(1);
    let first = world.tabs[old].client.listen(&own, false);
    world.run(Duration::from_secs(5));

    let second = world.tabs[new].client.listen(&own, false);
    world.run(Duration::from_secs(5));

    let closed =
        |event: &ClientEvent| matches!(event, ClientEvent::ServerClosed { server } if *server == first);
    assert!(world.tabs[old].events.iter().any(closed));
    assert!(world.tabs[new].is_listening(second));
    world.native_connect(&native, own.public_key);
    world.run(Duration::from_secs(3));
    world.tabs[new].connection(second);

    // A thief knows the public key, and signs with another.
    let thief = world.add_tab();
    let stolen = KeyPair { public_key: own.public_key, secret_key: pair(66).secret_key };
    let third = world.tabs[thief].client.listen(&stolen, false);
    world.run(Duration::from_secs(15));
    let closed =
        |event: &ClientEvent| matches!(event, ClientEvent::ServerClosed { server } if *server == third);
    assert!(world.tabs[thief].events.iter().any(closed));
    world.native_connect(&pair(3), own.public_key);
    world.run(Duration::from_secs(3));
    assert_eq!(world.tabs[new].connections(), 2);
}

#[test]
fn lost_link_ends_everything_on_both_sides() {
    let mut world = World::new(7, Limits::default());
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    let server = world.tabs[tab].client.listen(&own, false);
    world.run(Duration::from_secs(3));
    let (connection, ..) = world.native_connected();
    let now = world.now;
    let query = world.tabs[tab].client.lookup([1; 32], now);

    world.cut(tab);
    world.run(Duration::from_secs(3));

    let tab = &world.tabs[tab];
    assert!(tab.is_finished(query));
    assert!(tab.closed(stream, Some(StreamError::LinkClosed)));
    assert!(
        tab.events
            .iter()
            .any(|event| matches!(event, ClientEvent::ServerClosed { server: id } if *id == server))
    );
    assert!(matches!(tab.events.last(), Some(ClientEvent::Failed(Failure::LinkClosed))));
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Closed { connection: id, .. } if *id == connection))
    );
    assert_eq!(world.bridge.links(), 0);
    // The key is free at once.
    let next = world.add_tab();
    let server = world.tabs[next].client.listen(&own, false);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[next].is_listening(server));
}

#[test]
fn silent_ends_are_noticed() {
    let mut world = World::new(8, Limits::default());
    let (mute, deaf) = (world.add_tab(), world.add_tab());
    world.run(Duration::from_secs(60));
    assert_eq!(world.refusal(mute), None, "pings keep a link");

    world.tabs[mute].is_mute = true;
    world.tabs[deaf].is_deaf = true;
    world.run(Duration::from_secs(50));

    assert_eq!(world.refusal(mute), Some(Refusal::Silent));
    assert_eq!(world.tabs[deaf].client.failure(), Some(Failure::Silent));
}

#[test]
fn peer_waits_for_a_client_that_does_not_read() {
    let mut world = World::new(9, Limits::default());
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));
    let (connection, ..) = world.native_connected();

    world.tabs[tab].is_deaf = true;
    let total = 8_000_000;
    world.native(|endpoint, now| endpoint.write(connection, vec![1; total].into(), now).unwrap());
    world.run(Duration::from_secs(20));
    let waiting = world.native(|endpoint, _| endpoint.queued(connection));
    assert!(waiting > total - 1_500_000, "{waiting}");

    world.tabs[tab].is_deaf = false;
    world.run(Duration::from_secs(20));
    assert_eq!(world.tabs[tab].received(stream).len(), total);
}

#[test]
fn client_waits_for_a_peer_that_does_not_read_and_then_loses_it() {
    let mut world = World::new(10, Limits::default());
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));
    world.native_connected();
    world.reads = false;

    for _ in 0..30 {
        world.tabs[tab].client.write(stream, vec![1; 1_000_000].into()).unwrap();
        world.run(Duration::from_millis(100));
    }
    let link = world.tabs[tab].link;
    assert!(world.bridge.is_paused(link));
    world.run(Duration::from_secs(40));

    assert!(!world.bridge.is_paused(link));
    let error = StreamError::Remote("ETIMEDOUT: connection timed out".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn limits_hold() {
    let limits = Limits { queries: 1, ..Limits::default() };
    let link = Quota { streams: Some(2), listens: Some(1), ..Quota::default() };
    let mut world = World::with_quotas(11, limits, Quotas { link, ..Quotas::default() });
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let client = &mut world.tabs[tab].client;
    let streams: Vec<_> = (0..3).map(|_| client.connect(peer.public_key, &own, now)).collect();
    let queries: Vec<_> = (0..3).map(|topic| client.lookup([topic; 32], now)).collect();
    let servers: Vec<_> = (0..2).map(|key| client.listen(&pair(10 + key), false)).collect();

    world.run(Duration::from_secs(5));

    let tab = &world.tabs[tab];
    tab.opened(streams[0]);
    tab.opened(streams[1]);
    let busy = StreamError::Remote("RELAY_BUSY: Too many streams or requests on this relay".into());
    assert!(tab.closed(streams[2], Some(busy)));
    assert!(queries.iter().all(|query| tab.is_finished(*query)));
    assert!(tab.is_listening(servers[0]));
    assert!(
        tab.events
            .iter()
            .any(|event| matches!(event, ClientEvent::ServerClosed { server } if *server == servers[1]))
    );
}

#[test]
fn same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut world = World::new(seed, Limits::default());
        let tab = world.add_tab();
        let peer = pair(2);
        world.native_listen(&peer);
        let now = world.now;
        let stream = world.tabs[tab].client.connect(peer.public_key, &pair(1), now);
        world.run(Duration::from_secs(3));
        let (connection, ..) = world.native_connected();
        exchange(&mut world, tab, stream, connection, 100_000);
        (world.datagrams, world.frames)
    };

    assert_eq!(history(12), history(12));
    assert!(history(12).0 > 100);
}

#[test]
fn hostile_clients_harm_nobody_else() {
    let mut world = World::new(13, Limits::default());
    let good = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let server = world.tabs[good].client.listen(&own, false);
    let now = world.now;
    let stream = world.tabs[good].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));
    let mut random = Random(0x1234_5678_9abc_def1);

    for round in 0..300 {
        let link = world.bridge.open_link([7; 16], Permissions::ALL, world.now).unwrap();
        for frame in hostile_session(&mut random) {
            world.bridge.handle_frame(link, frame, world.now);
        }
        world.run(Duration::from_millis(30));
        while world.bridge.poll_frame(link, world.now).is_some() {}
        if round % 3 == 0 {
            world.bridge.close_link(link, world.now);
        }
    }
    world.run(Duration::from_secs(60));

    let (connection, ..) = world.native_connected();
    exchange(&mut world, good, stream, connection, 50_000);
    assert!(world.tabs[good].is_listening(server));
    assert_eq!(world.refusal(good), None);
}

#[test]
fn hostile_relays_harm_no_client() {
    let mut random = Random(0x0dd0_feed_beef_1357);
    for seed in 0..300u64 {
        let now = Instant::EPOCH;
        let mut client = Client::new(pair(1).public_key, [seed.to_le_bytes()[0]; 32], now);
        let stream = client.connect(pair(2).public_key, &pair(1), now);
        client.listen(&pair(1), seed % 2 == 0);
        client.announce([1; 32], &pair(1), now);
        for round in 0..200 {
            let (message_type, payload) = hostile_message(&mut random);
            client.handle_message(message_type, &payload, now + Duration::from_millis(round));
            let _ = client.write(stream, Bytes::from_static(b"bytes"));
            while client.poll_transmit(true).is_some() {}
            while let Some(event) = client.poll_event() {
                if let ClientEvent::Incoming { incoming, .. } = event {
                    client.accept(incoming);
                }
            }
        }
    }
}

/// Sends bytes both ways and compares.
fn exchange(world: &mut World, tab: usize, stream: StreamId, connection: ConnectionId, len: usize) {
    let (to_peer, to_tab) = (pattern(len, 1), pattern(len, 2));
    world.received.clear();
    let before = world.tabs[tab].received(stream).len();

    for piece in to_peer.chunks(60_000) {
        world.tabs[tab].client.write(stream, Bytes::copy_from_slice(piece)).unwrap();
    }
    for piece in to_tab.chunks(60_000) {
        let bytes = Bytes::copy_from_slice(piece);
        world.native(|endpoint, now| endpoint.write(connection, bytes, now).unwrap());
    }
    world.run(Duration::from_secs(15));

    assert!(world.received[&connection] == to_peer, "{} bytes of {len}", world.received[&connection].len());
    assert!(world.tabs[tab].received(stream)[before..] == to_tab);
}

fn assert_same(client: &Session, native: &Session) {
    assert_eq!(client.handshake_hash, native.handshake_hash);
    assert_eq!((client.tx, client.rx), (native.rx, native.tx));
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

const NODES: usize = 4;

/// A relay, its tabs, nodes, and one native peer.
struct World {
    now: Instant,
    bridge: Bridge,
    tabs: Vec<Tab>,
    nodes: Vec<Endpoint>,
    /// The native peer's events, and what it received.
    events: Vec<Event>,
    received: BTreeMap<ConnectionId, Vec<u8>>,
    /// Whether the native peer takes what arrives.
    reads: bool,
    network: BTreeMap<(Instant, u64), Datagram>,
    datagrams: u64,
    frames: u64,
    sockets: BTreeMap<Address, (usize, SocketId)>,
    addresses: BTreeMap<(usize, SocketId), Address>,
}

struct Datagram {
    from: Address,
    to: Address,
    bytes: Bytes,
}

/// A client with its link.
struct Tab {
    client: Client,
    mux: Mux,
    channel: ChannelId,
    asking: ChannelId,
    link: LinkId,
    events: Vec<ClientEvent>,
    inbox: VecDeque<Bytes>,
    /// Peers that are let in when the client is asked.
    friends: Vec<[u8; 32]>,
    is_mute: bool,
    is_deaf: bool,
    is_cut: bool,
}

/// Place of the relay's endpoint, and of the native peer's.
const RELAY: usize = usize::MAX;
const NATIVE: usize = NODES;

impl World {
    fn new(seed: u8, limits: Limits) -> Self {
        let many =
            Quota { links: None, links_per_second: None, links_burst: None, ..Quotas::default().address };
        Self::with_quotas(seed, limits, Quotas { address: many, key: many, ..Quotas::default() })
    }

    fn with_quotas(seed: u8, limits: Limits, quotas: Quotas) -> Self {
        let now = Instant::EPOCH + Duration::from_secs(1);
        let first = address(0);
        let options =
            |index, bootstrap| EndpointOptions::bootstrapper(address(index), bootstrap, 1_700_000_000_000);
        let endpoint = |index: u8| {
            let bootstrap = if index == 0 { Vec::new() } else { vec![first] };
            Endpoint::new(options(index, bootstrap), [seed ^ (100 + index); 32], now)
        };
        let nodes: Vec<_> = (0..=NODES).map(|index| endpoint(u8::try_from(index).unwrap())).collect();
        let bridge_options = BridgeOptions {
            endpoint: options(50, vec![first]),
            limits,
            quotas,
            allows_lan: false,
            allows_custodial: false,
            relay_through: Vec::new(),
        };
        let bridge = Bridge::new(bridge_options, [seed ^ 99; 32], now);
        let mut world = Self {
            now,
            bridge,
            tabs: Vec::new(),
            nodes,
            events: Vec::new(),
            received: BTreeMap::new(),
            reads: true,
            network: BTreeMap::new(),
            datagrams: 0,
            frames: 0,
            sockets: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        for index in 0..=NODES {
            world.bind(index, address(u8::try_from(index).unwrap()));
        }
        world.bind(RELAY, address(50));
        world.run(Duration::from_secs(5));
        world
    }

    fn bind(&mut self, owner: usize, server: Address) {
        let client = Address::new(server.host, server.port + 1);
        for (socket, address) in [(SocketId::SERVER, server), (SocketId::CLIENT, client)] {
            self.sockets.insert(address, (owner, socket));
            self.addresses.insert((owner, socket), address);
        }
    }

    fn add_tab(&mut self) -> usize {
        let index = self.tabs.len();
        let link = self.bridge.open_link([1; 16], Permissions::ALL, self.now).unwrap();
        let mut mux = Mux::new();
        let [channel, asking] = [PROTOCOL, QUERY_PROTOCOL]
            .map(|protocol| mux.open(&OpenChannel { protocol, ..OpenChannel::default() }).unwrap());
        let seed = [u8::try_from(index).unwrap(); 32];
        self.tabs.push(Tab {
            client: Client::new(pair(200).public_key, seed, self.now),
            mux,
            channel,
            asking,
            link,
            events: Vec::new(),
            inbox: VecDeque::new(),
            friends: Vec::new(),
            is_mute: false,
            is_deaf: false,
            is_cut: false,
        });
        index
    }

    fn cut(&mut self, tab: usize) {
        self.tabs[tab].is_cut = true;
        self.tabs[tab].client.handle_closed();
        self.bridge.close_link(self.tabs[tab].link, self.now);
    }

    fn refusal(&self, tab: usize) -> Option<Refusal> {
        self.bridge.refusal(self.tabs[tab].link)
    }

    fn native<T>(&mut self, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        act(&mut self.nodes[NATIVE], self.now)
    }

    fn native_listen(&mut self, pair: &KeyPair) {
        let listen = Listen::new(Identity::Local(pair.clone()));
        self.native(|endpoint, now| endpoint.listen(listen, now).unwrap());
        self.run(Duration::from_secs(5));
    }

    fn native_connect(&mut self, pair: &KeyPair, remote_public_key: [u8; 32]) -> ConnectionId {
        let connect =
            Connect { allows_lan: false, ..Connect::new(Identity::Local(pair.clone()), remote_public_key) };
        self.native(|endpoint, now| endpoint.connect(connect, now))
    }

    /// Returns the native peer's last connection.
    fn native_connected(&self) -> (ConnectionId, [u8; 32], Session) {
        let connected = self.events.iter().rev().find_map(|event| match event {
            Event::Connected { connection, remote_public_key, session: Some(session), .. } => {
                Some((*connection, *remote_public_key, session.clone()))
            }
            _ => None,
        });
        connected.expect("the native peer is connected")
    }

    fn found_by_native(&self, id: OperationId) -> Vec<[u8; 32]> {
        let found = self.events.iter().filter_map(|event| match event {
            Event::Found { operation, reply } if *operation == id => Some(reply.peers[0].public_key),
            _ => None,
        });
        found.collect()
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let datagram = self.network.keys().next().map(|(at, _)| *at);
            let nodes = self.nodes.iter().filter_map(Endpoint::poll_timeout);
            let tabs = self.tabs.iter().filter_map(|tab| tab.client.poll_timeout());
            let next = nodes.chain(tabs).chain(self.bridge.poll_timeout()).chain(datagram).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            while let Some(entry) = self.network.first_entry()
                && entry.key().0 <= self.now
            {
                let datagram = entry.remove();
                self.deliver(datagram);
            }
            let now = self.now;
            for node in &mut self.nodes {
                if node.poll_timeout().is_some_and(|at| at <= now) {
                    node.handle_timeout(now);
                }
            }
            if self.bridge.poll_timeout().is_some_and(|at| at <= now) {
                self.bridge.handle_timeout(now);
            }
            for tab in &mut self.tabs {
                tab.client.handle_timeout(now);
            }
        }
        self.now = end;
    }

    /// Carries frames and events until nobody has any more, and puts datagrams on their way.
    fn settle(&mut self) {
        loop {
            let mut is_idle = true;
            for index in 0..self.tabs.len() {
                is_idle &= !self.carry(index);
            }
            while let Some(event) = self.bridge.poll_event() {
                assert!(!matches!(event, BridgeEvent::OpenSocket(_)), "nobody is behind a firewall here");
                if let BridgeEvent::Introduced(link, key) = event {
                    self.bridge.admit(link, key, self.now);
                }
                is_idle = false;
            }
            for index in 0..self.nodes.len() {
                while let Some(event) = self.nodes[index].poll_event() {
                    is_idle = false;
                    if index != NATIVE {
                        continue;
                    }
                    if let Event::Data { connection, bytes } = &event {
                        self.received.entry(*connection).or_default().extend_from_slice(bytes);
                        if self.reads {
                            let _ = self.nodes[index].consumed(*connection, bytes.len() as u64);
                        }
                    } else {
                        self.events.push(event);
                    }
                }
            }
            if is_idle {
                break;
            }
        }
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].poll_transmit(1, self.now) {
                self.send(index, transmit);
            }
        }
        while let Some(transmit) = self.bridge.poll_transmit(1, self.now) {
            self.send(RELAY, transmit);
        }
    }

    /// Carries frames between a tab and the relay, and reports whether there were any.
    fn carry(&mut self, index: usize) -> bool {
        let tab = &mut self.tabs[index];
        let mut is_busy = false;
        while !tab.is_cut
            && !tab.is_deaf
            && let Some(frame) = self.bridge.poll_frame(tab.link, self.now)
        {
            tab.inbox.push_back(frame);
            self.frames += 1;
            is_busy = true;
        }
        while let Some(frame) = tab.inbox.pop_front() {
            tab.mux.handle_message(frame);
            while let Some(event) = tab.mux.poll_event().expect("the relay is ours") {
                match event {
                    MuxEvent::Opened { channel, .. } if channel == tab.asking => {
                        tab.client.handle_questions(true);
                    }
                    MuxEvent::Message { channel, message_type, payload } if channel == tab.asking => {
                        tab.client.handle_question_message(message_type, &payload, self.now);
                    }
                    MuxEvent::Opened { .. } => tab.client.handle_open(self.now),
                    MuxEvent::Message { message_type, payload, .. } => {
                        tab.client.handle_message(message_type, &payload, self.now);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        while let Some(event) = tab.client.poll_event() {
            if let ClientEvent::Incoming { incoming, remote_public_key, .. } = &event {
                if tab.friends.contains(remote_public_key) {
                    tab.client.accept(*incoming);
                } else {
                    tab.client.deny(*incoming);
                }
            }
            tab.events.push(event);
        }
        if tab.is_cut || tab.is_mute {
            return is_busy;
        }
        while !self.bridge.is_paused(tab.link) {
            if let Some(message) = tab.client.poll_transmit(true) {
                tab.mux.send_encoded(tab.channel, message.message_type(), &message);
            }
            if let Some(message) = tab.client.poll_question() {
                tab.mux.send_encoded(tab.asking, message.message_type(), &message);
            }
            let Some(frame) = tab.mux.poll_transmit() else { break };
            self.bridge.handle_frame(tab.link, frame.into_plain(), self.now);
            self.frames += 1;
            is_busy = true;
        }
        is_busy
    }

    fn send(&mut self, owner: usize, transmit: Transmit) {
        let from = self.addresses[&(owner, transmit.socket)];
        self.datagrams += 1;
        let at = self.now + Duration::from_millis(2);
        self.network.insert((at, self.datagrams), Datagram { from, to: transmit.to, bytes: transmit.bytes });
    }

    fn deliver(&mut self, Datagram { from, to, bytes }: Datagram) {
        match self.sockets.get(&to) {
            Some((RELAY, socket)) => self.bridge.handle_datagram(*socket, from, bytes, self.now),
            Some((index, socket)) => self.nodes[*index].handle_datagram(*socket, from, bytes, self.now),
            None => {}
        }
    }
}

impl Tab {
    fn ask(&mut self, question: Question, now: Instant) -> QueryId {
        self.client.ask(question, now)
    }

    fn replies(&self, query: QueryId) -> Vec<Reply> {
        let replies = self.events.iter().filter_map(|event| match event {
            ClientEvent::Reply { query: id, reply } if *id == query => Some(reply.clone()),
            _ => None,
        });
        replies.collect()
    }

    fn closest(&self, query: QueryId) -> Vec<u32> {
        let closest = self.events.iter().find_map(|event| match event {
            ClientEvent::Closest { query: id, closest } if *id == query => Some(closest.clone()),
            _ => None,
        });
        closest.expect("the search is over")
    }

    fn written(&self, query: QueryId) -> Vec<WriteEnd> {
        let written = self.events.iter().filter_map(|event| match event {
            ClientEvent::Written { query: id, end, .. } if *id == query => Some(*end),
            _ => None,
        });
        written.collect()
    }

    fn failed(&self, query: QueryId) -> Option<QueryError> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::QueryFailed { query: id, error } if *id == query => Some(*error),
            _ => None,
        })
    }

    fn is_finished(&self, query: QueryId) -> bool {
        self.events.iter().any(|event| matches!(event, ClientEvent::Finished { query: id } if *id == query))
    }

    fn is_listening(&self, server: ServerId) -> bool {
        let listening =
            |event: &ClientEvent| matches!(event, ClientEvent::Listening { server: id, .. } if *id == server);
        self.events.iter().any(listening)
    }

    fn opened(&self, stream: StreamId) -> Session {
        let opened = self.events.iter().find_map(|event| match event {
            ClientEvent::Opened { stream: id, session } if *id == stream => Some(session.clone()),
            _ => None,
        });
        opened.expect("the stream is open")
    }

    fn connections(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, ClientEvent::Connection { .. })).count()
    }

    fn connection(&self, server: ServerId) -> (StreamId, Session) {
        let connection = self.events.iter().rev().find_map(|event| match event {
            ClientEvent::Connection { stream, server: id, session } if *id == server => {
                Some((*stream, session.clone()))
            }
            _ => None,
        });
        connection.expect("a peer is connected")
    }

    fn received(&self, stream: StreamId) -> Vec<u8> {
        let mut received = Vec::new();
        for event in &self.events {
            if let ClientEvent::Data { stream: id, bytes } = event
                && *id == stream
            {
                received.extend_from_slice(bytes);
            }
        }
        received
    }

    fn closed(&self, stream: StreamId, wanted: Option<StreamError>) -> bool {
        self.events.iter().any(
            |event| matches!(event, ClientEvent::Closed { stream: id, error } if *id == stream && *error == wanted),
        )
    }
}

fn address(index: u8) -> Address {
    Address::new([93, 184, 0, index + 1], 40_000)
}

/// Frames of a client that knows the protocol and does not keep to it.
fn hostile_session(random: &mut Random) -> Vec<Bytes> {
    let mut mux = Mux::new();
    let channel = mux.open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() }).unwrap();
    if random.below(8) != 0 {
        let handshake = Message::Handshake { public_key: [1; 32], secret_key: None };
        mux.send_encoded(channel, 0, &handshake);
    }
    for _ in 0..random.below(40) {
        let (message_type, payload) = hostile_message(random);
        // Signalling custody ends the session at once, which shows little.
        if payload.first() == Some(&1) && matches!(message_type, 0 | 3 | 4 | 10 | 14 | 20 | 21) {
            continue;
        }
        mux.send(channel, message_type, &payload);
    }
    let mut frames: Vec<_> =
        core::iter::from_fn(|| mux.poll_transmit()).map(|frame| frame.into_plain()).collect();
    if random.below(4) == 0 {
        let garbage: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
        frames.push(garbage.into());
    }
    frames
}

/// A message that decodes more often than not: small numbers, plausible flags, keys of all kinds.
fn hostile_message(random: &mut Random) -> (u64, Bytes) {
    let message_type = random.below(29);
    let mut payload = Vec::new();
    if matches!(message_type, 0 | 3 | 4 | 9 | 10 | 14 | 20 | 21 | 25 | 26 | 27) {
        payload.push(random.below(4) as u8);
    }
    for _ in 0..random.below(5) {
        match random.below(6) {
            0 | 1 => payload.extend_from_slice(&(random.below(12) as u32).to_le_bytes()),
            2 => payload.extend_from_slice(&pair(random.below(4) as u8).public_key),
            3 => payload.extend_from_slice(&[random.below(256) as u8; 32]),
            4 => {
                let len = random.below(100);
                payload.push(len as u8);
                payload.extend((0..len).map(|_| random.below(256) as u8));
            }
            _ => payload.push(random.below(256) as u8),
        }
    }
    (message_type, payload.into())
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
