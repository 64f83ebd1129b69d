//! What the tests of the relay share: a relay, clients, DHT nodes and a native peer in one simulated network.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::messages::{Handshake, mode};
use hypertab_core::dht::rpc::{Message, Reply as RpcReply, Request, SocketId, Transmit};
use hypertab_core::dht::{
    Connect, ConnectionId, Endpoint, EndpointOptions, Event, Identity, Listen, OperationId, command,
};
use hypertab_core::dht_relay::queries::{QUERY_PROTOCOL, Question, Reply, WriteEnd};
use hypertab_core::dht_relay::{
    Bridge, BridgeEvent, BridgeOptions, Client, ClientEvent, Limits, LinkId, PROTOCOL, Permissions,
    QueryError, QueryId, Quota, Quotas, Refusal, ServerId, StreamError, StreamId,
};
use hypertab_core::noise::Session;
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;

/// Sends bytes both ways and compares.
pub fn exchange(world: &mut World, tab: usize, stream: StreamId, connection: ConnectionId, len: usize) {
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

pub fn assert_same(client: &Session, native: &Session) {
    assert_eq!(client.handshake_hash, native.handshake_hash);
    assert_eq!((client.tx, client.rx), (native.rx, native.tx));
}

pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

pub fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

pub const NODES: usize = 4;

/// A relay, its tabs, nodes, and one native peer.
pub struct World {
    pub now: Instant,
    pub bridge: Bridge,
    pub tabs: Vec<Tab>,
    pub nodes: Vec<Endpoint>,
    /// The native peer's events, and what it received.
    pub events: Vec<Event>,
    pub received: BTreeMap<ConnectionId, Vec<u8>>,
    /// Whether the native peer takes what arrives.
    pub reads: bool,
    /// Nodes that answer handshakes in the peers' place, with what no peer has made. Where there are some, the relay and the
    /// native peer keep no records: they would know each other's address, and ask no node.
    pub forgers: BTreeSet<usize>,
    pub forged: usize,
    network: BTreeMap<(Instant, u64), Datagram>,
    pub datagrams: u64,
    pub frames: u64,
    sockets: BTreeMap<Address, (usize, SocketId)>,
    addresses: BTreeMap<(usize, SocketId), Address>,
}

struct Datagram {
    from: Address,
    to: Address,
    bytes: Bytes,
}

/// A client with its link.
pub struct Tab {
    pub client: Client,
    pub mux: Mux,
    pub channel: ChannelId,
    pub asking: ChannelId,
    pub link: LinkId,
    pub events: Vec<ClientEvent>,
    pub inbox: VecDeque<Bytes>,
    /// Peers that are let in when the client is asked.
    pub friends: Vec<[u8; 32]>,
    pub is_mute: bool,
    pub is_deaf: bool,
    pub is_cut: bool,
}

/// Place of the relay's endpoint, and of the native peer's.
const RELAY: usize = usize::MAX;
pub const NATIVE: usize = NODES;

impl World {
    pub fn new(seed: u8, limits: Limits) -> Self {
        let many =
            Quota { links: None, links_per_second: None, links_burst: None, ..Quotas::default().address };
        Self::with_quotas(seed, limits, Quotas { address: many, key: many, ..Quotas::default() })
    }

    pub fn with_quotas(seed: u8, limits: Limits, quotas: Quotas) -> Self {
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
            forgers: BTreeSet::new(),
            forged: 0,
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

    /// A world in which a tab has dialled the native peer.
    pub fn connected(seed: u8) -> (Self, usize, StreamId, ConnectionId) {
        let mut world = Self::new(seed, Limits::default());
        let tab = world.add_tab();
        let (own, peer) = (pair(1), pair(2));
        world.native_listen(&peer);
        let now = world.now;
        let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
        world.run(Duration::from_secs(3));
        let (connection, ..) = world.native_connected();
        (world, tab, stream, connection)
    }

    pub fn bind(&mut self, owner: usize, server: Address) {
        let client = Address::new(server.host, server.port + 1);
        for (socket, address) in [(SocketId::SERVER, server), (SocketId::CLIENT, client)] {
            self.sockets.insert(address, (owner, socket));
            self.addresses.insert((owner, socket), address);
        }
    }

    pub fn add_tab(&mut self) -> usize {
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

    pub fn cut(&mut self, tab: usize) {
        self.tabs[tab].is_cut = true;
        self.tabs[tab].client.handle_closed();
        self.bridge.close_link(self.tabs[tab].link, self.now);
    }

    pub fn refusal(&self, tab: usize) -> Option<Refusal> {
        self.bridge.refusal(self.tabs[tab].link)
    }

    pub fn native<T>(&mut self, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        act(&mut self.nodes[NATIVE], self.now)
    }

    pub fn native_listen(&mut self, pair: &KeyPair) {
        let listen = Listen::new(Identity::Local(pair.clone()));
        self.native(|endpoint, now| endpoint.listen(listen, now).unwrap());
        self.run(Duration::from_secs(5));
    }

    pub fn native_connect(&mut self, pair: &KeyPair, remote_public_key: [u8; 32]) -> ConnectionId {
        let connect =
            Connect { allows_lan: false, ..Connect::new(Identity::Local(pair.clone()), remote_public_key) };
        self.native(|endpoint, now| endpoint.connect(connect, now))
    }

    /// Returns the native peer's last connection.
    pub fn native_connected(&self) -> (ConnectionId, [u8; 32], Session) {
        let connected = self.events.iter().rev().find_map(|event| match event {
            Event::Connected { connection, remote_public_key, session: Some(session), .. } => {
                Some((*connection, *remote_public_key, session.clone()))
            }
            _ => None,
        });
        connected.expect("the native peer is connected")
    }

    pub fn found_by_native(&self, id: OperationId) -> Vec<[u8; 32]> {
        let found = self.events.iter().filter_map(|event| match event {
            Event::Found { operation, reply } if *operation == id => Some(reply.peers[0].public_key),
            _ => None,
        });
        found.collect()
    }

    pub fn run(&mut self, duration: Duration) {
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
                    MuxEvent::Opened { channel, handshake } if channel == tab.asking => {
                        tab.client.handle_questions(&handshake);
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
        if let Some((index, _)) = self.sockets.get(&to)
            && self.forgers.contains(index)
            && let Some(answer) = forge(&bytes, from, *index)
        {
            self.forged += 1;
            self.datagrams += 1;
            let at = self.now + Duration::from_millis(1);
            self.network.insert((at, self.datagrams), Datagram { from: to, to: from, bytes: answer });
            return;
        }
        if let Some((RELAY | NATIVE, _)) = self.sockets.get(&to)
            && !self.forgers.is_empty()
            && request(&bytes).is_some_and(|request| request.command == command::ANNOUNCE)
        {
            return;
        }
        match self.sockets.get(&to) {
            Some((RELAY, socket)) => self.bridge.handle_datagram(*socket, from, bytes, self.now),
            Some((index, socket)) => self.nodes[*index].handle_datagram(*socket, from, bytes, self.now),
            None => {}
        }
    }
}

/// Returns the request in a datagram, unless it is one of every DHT node.
fn request(datagram: &Bytes) -> Option<Request> {
    match Message::decode(datagram) {
        Ok(Message::Request(request)) if !request.internal => Some(request),
        _ => None,
    }
}

/// Answers a handshake at once, as a node that was never a peer's.
fn forge(datagram: &Bytes, from: Address, node: usize) -> Option<Bytes> {
    let request = request(datagram).filter(|request| request.command == command::PEER_HANDSHAKE)?;
    let handshake = Handshake::decode(request.value.as_ref()?).ok()?;
    let noise = match node {
        // The client's own message.
        0 => handshake.noise,
        // An ephemeral key that is none.
        1 => Bytes::from(vec![0xff; 80]),
        _ => Bytes::from([&pair(77).public_key[..], &pattern(48, 3)].concat()),
    };
    let value = Handshake { mode: mode::REPLY, noise, peer_address: Some(address(99)), relay_address: None };
    let (tid, value) = (request.tid, Some(value.encode()));
    let reply = RpcReply { tid, to: from, id: None, token: None, closer: Vec::new(), error: 0, value };
    Some(reply.encode())
}

impl Tab {
    pub fn ask(&mut self, question: Question, now: Instant) -> QueryId {
        self.client.ask(question, now)
    }

    pub fn replies(&self, query: QueryId) -> Vec<Reply> {
        let replies = self.events.iter().filter_map(|event| match event {
            ClientEvent::Reply { query: id, reply } if *id == query => Some(reply.clone()),
            _ => None,
        });
        replies.collect()
    }

    pub fn closest(&self, query: QueryId) -> Vec<u32> {
        let closest = self.events.iter().find_map(|event| match event {
            ClientEvent::Closest { query: id, closest } if *id == query => Some(closest.clone()),
            _ => None,
        });
        closest.expect("the search is over")
    }

    pub fn written(&self, query: QueryId) -> Vec<WriteEnd> {
        let written = self.events.iter().filter_map(|event| match event {
            ClientEvent::Written { query: id, end, .. } if *id == query => Some(*end),
            _ => None,
        });
        written.collect()
    }

    pub fn failed(&self, query: QueryId) -> Option<QueryError> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::QueryFailed { query: id, error } if *id == query => Some(*error),
            _ => None,
        })
    }

    pub fn is_finished(&self, query: QueryId) -> bool {
        self.events.iter().any(|event| matches!(event, ClientEvent::Finished { query: id } if *id == query))
    }

    pub fn is_listening(&self, server: ServerId) -> bool {
        let listening =
            |event: &ClientEvent| matches!(event, ClientEvent::Listening { server: id, .. } if *id == server);
        self.events.iter().any(listening)
    }

    /// Whether a server of it was closed.
    pub fn has_lost(&self, server: ServerId) -> bool {
        let closed =
            |event: &ClientEvent| matches!(event, ClientEvent::ServerClosed { server: id } if *id == server);
        self.events.iter().any(closed)
    }

    pub fn opened(&self, stream: StreamId) -> Session {
        let opened = self.events.iter().find_map(|event| match event {
            ClientEvent::Opened { stream: id, session } if *id == stream => Some(session.clone()),
            _ => None,
        });
        opened.expect("the stream is open")
    }

    pub fn connections(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, ClientEvent::Connection { .. })).count()
    }

    pub fn connection(&self, server: ServerId) -> (StreamId, Session) {
        let connection = self.events.iter().rev().find_map(|event| match event {
            ClientEvent::Connection { stream, server: id, session } if *id == server => {
                Some((*stream, session.clone()))
            }
            _ => None,
        });
        connection.expect("a peer is connected")
    }

    pub fn received(&self, stream: StreamId) -> Vec<u8> {
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

    pub fn closed(&self, stream: StreamId, wanted: Option<StreamError>) -> bool {
        self.events.iter().any(
            |event| matches!(event, ClientEvent::Closed { stream: id, error } if *id == stream && *error == wanted),
        )
    }
}

pub fn address(index: u8) -> Address {
    Address::new([93, 184, 0, index + 1], 40_000)
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
