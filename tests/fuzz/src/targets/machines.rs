//! Machines of the network as a whole, fed with a script: datagrams and messages that are nearly right, calls, and steps
//! of time of any length.

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode;
use hypertab_core::crypto::{KeyPair, blake2b_256};
use hypertab_core::dht::rpc::{self, SocketId, node_id};
use hypertab_core::dht::{Announce, Connect, Endpoint, EndpointOptions, Event, Identity, Listen, Mode};
use hypertab_core::dht_relay::messages::Message;
use hypertab_core::dht_relay::queries::{AnnounceTerms, QUERY_PROTOCOL, Question};
use hypertab_core::dht_relay::resume::{Claim, RESUME_PROTOCOL, Ticket, Token};
use hypertab_core::dht_relay::{
    Bridge, BridgeEvent, BridgeOptions, CREDIT_PROTOCOL, Client, ClientEvent, Credit, Limits, LinkId,
    PROTOCOL, Permissions, Quota, Quotas, Refusal, StreamId as RelayStreamId,
};
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::packet::{Header, Kind};
use hypertab_core::udx::{self, Address, Options, Remote, StreamEvent, StreamId, StreamOptions, Udx};

use super::take;

/// More outputs than that for one input mean a machine that never comes to rest.
const MAX_OUTPUTS: usize = 100_000;

/// Streams of UDX, one with a peer and one without.
pub fn udx_streams(mut data: &[u8]) {
    let data = &mut data;
    let (peer, stranger) = (Address::new([1, 1, 1, 1], 1), Address::new([6, 6, 6, 6], 6));
    let mut now = Instant::EPOCH;
    let mut udx = Udx::new(Options::default(), [take(data); 32]);
    let start = u32::MAX - u32::from(take(data));
    let options = StreamOptions { seq: start, remote_seq: start, receive_limit: 100_000 };
    let ids = [(); 2].map(|()| udx.open(options, now).expect("there is room"));
    udx.connect(ids[0], Remote { socket: SocketId(0), address: peer, id: 77 }, now).expect("it is new");
    let (mut held, mut out) = ([0_u64; 2], Vec::new());
    while !data.is_empty() {
        let op = take(data);
        let which = usize::from(op >> 7);
        let (id, from) = (ids[which], if op & 0x40 == 0 { peer } else { stranger });
        match op % 16 {
            0..=5 => {
                let packet = packet(id, start, data);
                udx.handle_datagram(SocketId(0), from, &packet, now);
            }
            6 => {
                let bytes = piece(data, 64);
                udx.handle_datagram(SocketId(u32::from(op >> 6)), from, &bytes, now);
            }
            7 => now += Duration::from_millis(u64::from(take(data)) * 10),
            8 => now = now.max(udx.poll_timeout().unwrap_or(now)),
            9 => drop(udx.write(id, vec![op; usize::from(take(data)) * 64].into())),
            10 => drop(udx.send_message(id, vec![op; usize::from(take(data)) * 8].into())),
            11 => {
                let taken = held[which].min(u64::from(take(data)) * 256);
                held[which] -= taken;
                let _ = udx.consumed(id, taken);
            }
            12 => drop(udx.set_receive_limit(id, u32::from(take(data)) * 512)),
            13 => {
                let remote = Remote { socket: SocketId(0), address: from, id: u32::from(take(data)) };
                let _ = if op & 0x20 == 0 {
                    udx.change_remote(id, remote, now)
                } else {
                    udx.connect(id, remote, now)
                };
            }
            14 => drop(udx.accept(id, SocketId(0), from, now)),
            _ => match take(data) % 8 {
                0 => drop(udx.end(id)),
                1 => drop(udx.destroy(id)),
                2 => drop(udx.relay_to(id, ids[1 - which])),
                _ => drop(udx.refuse(id, SocketId(0), from)),
            },
        }
        udx.handle_timeout(now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            if let Some((id, event)) = udx.poll_event(now) {
                if let udx::Event::Stream(StreamEvent::Data(bytes)) = event {
                    held[usize::from(id == ids[1])] += bytes.len() as u64;
                }
            } else if udx.poll_transmit(4, &mut out, now).is_none() {
                break;
            }
        }
        assert!(udx.len() <= 2 && held.iter().all(|held| *held < 1 << 20), "{held:?} bytes nobody took");
    }
}

/// A packet that is nearly right: numbers around those that are due.
fn packet(id: StreamId, start: u32, data: &mut &[u8]) -> Vec<u8> {
    let kind = Kind(take(data));
    let number = |data: &mut &[u8]| match take(data) {
        255 => u32::from_le_bytes([take(data), take(data), take(data), take(data)]),
        near => start.wrapping_add(u32::from(near)).wrapping_sub(16),
    };
    let window = u32::from(take(data)) << 12;
    let mut bytes = Vec::new();
    let (seq, ack) = (number(data), number(data));
    Header { kind, id: id.0, window, seq, ack }.encode(&mut bytes);
    if kind.has(Kind::SACK) {
        // Where the payload begins: after the ranges.
        bytes[3] = 8 * (take(data) % 4);
        for _ in 0..bytes[3] / 4 {
            bytes.extend_from_slice(&number(data).to_le_bytes());
        }
    }
    bytes.extend(vec![7; usize::from(take(data)) * 6]);
    bytes
}

/// A node of the DHT with a server, a dial and every operation, among nodes that say what they like.
pub fn dht_node(mut data: &[u8]) {
    let data = &mut data;
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let own = Address::new([20, 0, 0, 1], 49_737);
    let friends = [2, 3, 4].map(|host| Address::new([20, 0, 0, host], 49_737));
    let (mode, key_pair) = (take(data), KeyPair::from_seed(&[7; 32]));
    let options = match mode % 3 {
        0 => EndpointOptions::bootstrapper(own, friends.to_vec(), 0),
        1 => EndpointOptions { mode: Mode::Ephemeral, ..EndpointOptions::new(friends.to_vec(), 49_737, 0) },
        _ => EndpointOptions::new(friends.to_vec(), 49_737, 0),
    };
    let mut endpoint = Endpoint::new(options, [mode; 32], now);
    let mut node = Node { asked: Vec::new(), tokens: Vec::new(), connections: Vec::new() };
    let listen = Listen { relay_through: vec![[2; 32]], ..Listen::new(Identity::Local(key_pair.clone())) };
    let _ = endpoint.listen(listen, now);
    if mode & 0x40 != 0 {
        let _ = endpoint.serve_blind_relay(KeyPair::from_seed(&[8; 32]), 4, now);
    }
    node.drain(&mut endpoint, now);
    let topics = [[9; 32], blake2b_256(&[&key_pair.public_key]), node_id(own)];
    while !data.is_empty() {
        let op = take(data);
        let from = friends[usize::from(op >> 4) % friends.len()];
        let topic = topics[usize::from(op >> 5) % topics.len()];
        let identity = Identity::Local(key_pair.clone());
        match op % 16 {
            0..=3 => {
                let request = node.request(own, from, topic, data);
                endpoint.handle_datagram(SocketId(u32::from(op >> 7)), from, request, now);
            }
            4..=8 => {
                if let Some((socket, from, reply)) = node.reply(own, data) {
                    endpoint.handle_datagram(socket, from, reply, now);
                }
            }
            9 => {
                let bytes = piece(data, 255).into();
                endpoint.handle_datagram(SocketId(u32::from(op >> 6)), from, bytes, now);
            }
            10 => now += Duration::from_millis(1 << (take(data) % 20)),
            11 => now = now.max(endpoint.poll_timeout().unwrap_or(now)),
            12 => drop(endpoint.lookup(topic, now)),
            13 => {
                let remote_public_key = [take(data) % 3; 32];
                let relay_addresses = vec![from];
                let options = Connect {
                    relay_addresses,
                    allows_lan: op > 127,
                    relay_through: (op & 0x40 != 0).then_some(key_pair.public_key),
                    ..Connect::new(identity, remote_public_key)
                };
                node.connections.push(endpoint.connect(options, now));
            }
            14 => match take(data) % 6 {
                0 => {
                    let record = Announce {
                        relay_addresses: vec![from],
                        clears: now.as_micros().is_multiple_of(2),
                        bump: 0,
                    };
                    endpoint.announce(topic, identity, record, now);
                }
                1 => drop(endpoint.immutable_put(Bytes::from(piece(data, 64)), now)),
                2 => drop(endpoint.immutable_get(topic, now)),
                3 => drop(endpoint.mutable_put(&key_pair, u64::from(op), Bytes::from(piece(data, 64)), now)),
                4 => drop(endpoint.mutable_get(key_pair.public_key, 0, true, now)),
                _ => endpoint.set_local_addresses(friends.to_vec(), now),
            },
            _ => {
                let Some(connection) = node.connections.pop() else { continue };
                if op > 127 {
                    let _ = endpoint.write(connection, Bytes::from(piece(data, 64)), now);
                }
                endpoint.destroy(connection, now);
            }
        }
        endpoint.handle_timeout(now);
        node.drain(&mut endpoint, now);
        assert!(endpoint.node().known() <= 1 + friends.len() + 1024, "{} nodes", endpoint.node().known());
    }
}

/// What the nodes around know.
struct Node {
    /// The last requests: from which socket, to whom, and the number that the reply repeats.
    asked: Vec<(SocketId, Address, u16)>,
    /// Tokens that the machine gave out.
    tokens: Vec<[u8; 32]>,
    connections: Vec<hypertab_core::dht::ConnectionId>,
}

impl Node {
    fn request(&mut self, to: Address, from: Address, topic: [u8; 32], data: &mut &[u8]) -> Bytes {
        let flags = take(data);
        let value = match flags >> 6 {
            0 => None,
            1 => Some(KeyPair::from_seed(&[7; 32]).public_key.to_vec()),
            _ => Some(piece(data, 200)),
        };
        let request = rpc::Request {
            tid: u16::from(take(data)),
            to,
            id: (flags & 1 != 0).then(|| node_id(from)),
            token: self.tokens.last().copied().filter(|_| flags & 2 != 0),
            internal: flags & 4 != 0,
            command: u64::from(take(data) % 12),
            target: (flags & 8 != 0).then_some(topic),
            value: value.map(Bytes::from),
        };
        request.encode()
    }

    fn reply(&mut self, own: Address, data: &mut &[u8]) -> Option<(SocketId, Address, Bytes)> {
        let at = usize::from(take(data)) % self.asked.len().max(1);
        let (socket, from, tid) = self.asked.get(at).copied()?;
        let flags = take(data);
        let mut closer = Vec::new();
        if flags & 4 != 0 {
            closer = (0..take(data) % 24).map(|host| Address::new([21, 0, flags, host], 1000)).collect();
        }
        let reply = rpc::Reply {
            tid,
            to: if flags & 32 == 0 { own } else { Address::new([20, 0, 1, flags], 7) },
            id: (flags & 1 != 0).then(|| node_id(from)),
            token: (flags & 2 != 0).then_some([flags; 32]),
            closer,
            error: if flags & 8 == 0 { 0 } else { u64::from(take(data) % 20) },
            value: (flags & 16 != 0).then(|| Bytes::from(piece(data, 250))),
        };
        Some((socket, from, reply.encode()))
    }

    fn drain(&mut self, endpoint: &mut Endpoint, now: Instant) {
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            if let Some(event) = endpoint.poll_event() {
                match event {
                    Event::Incoming { connection, .. } => endpoint.accept(connection, now),
                    Event::Connected { connection, .. } => self.connections.push(connection),
                    Event::Sign(request) => endpoint.signed(request.id, Some([1; 64]), now),
                    _ => {}
                }
                continue;
            }
            let Some(transmit) = endpoint.poll_transmit(4, now) else { break };
            for bytes in transmit.bytes.chunks(transmit.segment) {
                self.note(transmit.socket, transmit.to, bytes);
            }
        }
        self.connections.truncate(64);
    }

    fn note(&mut self, socket: SocketId, to: Address, bytes: &[u8]) {
        match rpc::Message::decode(&Bytes::copy_from_slice(bytes)) {
            Ok(rpc::Message::Request(request)) => {
                self.asked.insert(0, (socket, to, request.tid));
                self.asked.truncate(40);
            }
            Ok(rpc::Message::Reply(reply)) => {
                self.tokens.extend(reply.token);
                let spare = self.tokens.len().saturating_sub(4);
                self.tokens.drain(..spare);
            }
            Err(_) => {}
        }
    }
}

/// A relay with links whose clients say what they like, when they like.
pub fn relay(mut data: &[u8]) {
    let data = &mut data;
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let own = Address::new([20, 0, 0, 1], 49_737);
    let endpoint = EndpointOptions::bootstrapper(own, vec![Address::new([20, 0, 0, 2], 49_737)], 0);
    let limits = Limits { queries: 4, ..Limits::default() };
    let few = Some(4);
    let link = Quota { streams: few, handshakes: few, listens: few, topics: few, ..Quota::default() };
    let quotas = Quotas { link, ..Quotas::default() };
    let kind = take(data);
    let options = BridgeOptions {
        endpoint,
        limits,
        quotas,
        allows_lan: kind & 1 == 0,
        allows_custodial: kind & 2 == 0,
        relay_through: if kind & 4 == 0 { Vec::new() } else { vec![[2; 32]] },
    };
    let mut bridge = Bridge::new(options, [3; 32], now);
    let mut links: Vec<Link> = Vec::new();
    while !data.is_empty() {
        let op = take(data);
        let at = usize::from(op >> 5) % links.len().max(1);
        match op % 32 {
            0 | 1 if links.len() < 8 => links.extend(Link::new(&mut bridge, take(data), now)),
            2 if !links.is_empty() => bridge.close_link(links.swap_remove(at).id, now),
            3..=19 => {
                if let Some(link) = links.get_mut(at) {
                    let (message_type, payload) = relay_message(data);
                    link.mux.send(link.channel, message_type, &payload);
                    link.flush(&mut bridge, now);
                }
            }
            20 if !data.is_empty() && data[0] & 1 == 0 => {
                if let Some(link) = links.get_mut(at) {
                    let (message_type, payload) = question_message(data);
                    link.mux.send(link.asking, message_type, &payload);
                    link.flush(&mut bridge, now);
                }
            }
            20 => {
                if let Some(link) = links.get(at) {
                    bridge.handle_frame(link.id, piece(data, 255).into(), now);
                }
            }
            29 => {
                if let Some(link) = links.get_mut(at) {
                    link.say_read(data);
                    link.flush(&mut bridge, now);
                }
            }
            21 | 22 => {
                let from = Address::new([20, 0, 0, op], 7);
                bridge.handle_datagram(SocketId(u32::from(op >> 7)), from, piece(data, 255).into(), now);
            }
            23..=26 => now += Duration::from_millis(1 << (take(data) % 17)),
            27 | 28 => now = now.max(bridge.poll_timeout().unwrap_or(now)),
            30 => {
                let kind = take(data);
                if let Some(link) = links.get(at) {
                    match (kind % 4, link.ticket.clone()) {
                        (0, Some(token)) if links.len() < 8 => {
                            let claim = Claim { token, received: u64::from(kind >> 3) };
                            links.extend(Link::claim(&mut bridge, &claim, now));
                        }
                        (1, _) => bridge.drop_held(now),
                        _ => drop(bridge.hold_link(link.id, now)),
                    }
                }
            }
            // A client that reads.
            _ => {
                if let Some(link) = links.get(at) {
                    while bridge.poll_frame(link.id, now).is_some() {}
                }
            }
        }
        bridge.handle_timeout(now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            match bridge.poll_event() {
                Some(BridgeEvent::Introduced(link, _)) if op == 255 => {
                    bridge.refuse(link, Refusal::TooFast, now)
                }
                Some(BridgeEvent::Introduced(link, key)) => bridge.admit(link, key, now),
                Some(BridgeEvent::Resuming(link, _)) if op > 127 => bridge.deny_resume(link, now),
                Some(BridgeEvent::Resuming(link, of)) if bridge.resume(link, of, now) => {
                    links.retain(|other| other.id != link);
                }
                Some(BridgeEvent::Expired(link)) => links.retain(|other| other.id != link),
                Some(_) => {}
                None if bridge.poll_transmit(4, now).is_none() => break,
                None => {}
            }
        }
        links.retain(|link| {
            let is_welcome = bridge.refusal(link.id).is_none();
            if !is_welcome {
                bridge.close_link(link.id, now);
            }
            is_welcome
        });
        assert_eq!(bridge.links(), links.len());
    }
}

struct Link {
    id: LinkId,
    mux: Mux,
    channel: ChannelId,
    asking: ChannelId,
    credit: Option<ChannelId>,
    /// What its client may come back with.
    ticket: Option<Token>,
}

impl Link {
    /// `None` when the relay is full.
    fn new(bridge: &mut Bridge, kind: u8, now: Instant) -> Option<Self> {
        let mut mux = Mux::new();
        let [channel, asking] = [PROTOCOL, QUERY_PROTOCOL].map(|protocol| {
            let channel = mux.open(&OpenChannel { protocol, ..OpenChannel::default() });
            channel.expect("it is the first of its kind")
        });
        if !kind.is_multiple_of(8) {
            let handshake = Message::Handshake { public_key: [1; 32], secret_key: None };
            mux.send_encoded(channel, 0, &handshake);
        }
        let id = bridge.open_link([kind % 4; 16], Permissions::ALL, now).ok()?;
        let resuming = match kind & 16 {
            0 => None,
            _ => mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, ..OpenChannel::default() }),
        };
        let mut link = Self { id, mux, channel, asking, credit: None, ticket: None };
        link.flush(bridge, now);
        while resuming.is_some()
            && let Some(frame) = bridge.poll_frame(id, now)
        {
            link.mux.handle_message(frame);
            while let Some(event) = link.mux.poll_event().expect("the relay is ours") {
                if let MuxEvent::Opened { channel, handshake } = event
                    && Some(channel) == resuming
                {
                    link.ticket = Ticket::decode(&handshake).ok().map(|ticket| ticket.token);
                }
            }
        }
        Some(link)
    }

    /// Comes back in the place of a client.
    fn claim(bridge: &mut Bridge, claim: &Claim, now: Instant) -> Option<Self> {
        let mut mux = Mux::new();
        let handshake = &claim.to_vec()[..];
        let channel =
            mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() })?;
        let id = bridge.open_link([0; 16], Permissions::ALL, now).ok()?;
        let mut link = Self { id, mux, channel, asking: channel, credit: None, ticket: None };
        link.flush(bridge, now);
        Some(link)
    }

    /// Says that something was read, which may be nonsense.
    fn say_read(&mut self, data: &mut &[u8]) {
        if self.credit.is_none() {
            self.credit = self.mux.open(&OpenChannel { protocol: CREDIT_PROTOCOL, ..OpenChannel::default() });
        }
        let Some(channel) = self.credit else { return };
        let (kind, alias) = (take(data), u32::from(take(data) % 8));
        match kind % 4 {
            0 => drop(self.mux.send(channel, u64::from(kind >> 7), &piece(data, 12))),
            1 => self.mux.close(channel),
            _ => {
                let credit = Credit { alias, bytes: u32::MAX >> (kind >> 3) };
                self.mux.send_encoded(channel, Credit::TYPE, &credit);
            }
        }
    }

    fn flush(&mut self, bridge: &mut Bridge, now: Instant) {
        while let Some(frame) = self.mux.poll_transmit() {
            bridge.handle_frame(self.id, frame.into_plain(), now);
        }
    }
}

/// A client whose relay says what it likes.
pub fn relay_client(mut data: &[u8]) {
    let data = &mut data;
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let pairs = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let mut client = Client::new(pairs[0].public_key, [take(data); 32], now);
    let mut streams: Vec<RelayStreamId> = Vec::new();
    client.handle_open(now);
    while !data.is_empty() {
        let op = take(data);
        match op % 16 {
            0..=8 => {
                let (message_type, payload) = relay_message(data);
                client.handle_message(message_type, &payload, now);
                if op & 64 == 0 {
                    let (message_type, payload) = question_message(data);
                    client.handle_question_message(message_type, &payload, now);
                }
            }
            9 => now += Duration::from_millis(1 << (take(data) % 17)),
            10 => now = now.max(client.poll_timeout().unwrap_or(now)),
            11 => match take(data) % 4 {
                0 => drop(client.listen(&pairs[0], op & 32 == 0)),
                1 => drop(client.announce(
                    [1; 32],
                    &pairs[0],
                    AnnounceTerms { bump: 1, ..AnnounceTerms::default() },
                    now,
                )),
                2 if op & 32 == 0 => match op & 64 {
                    0 => client.handle_questions(&question_message(data).1),
                    _ => client.handle_no_questions(),
                },
                2 => {
                    let question = Question {
                        is_internal: false,
                        may_write: op & 64 == 0,
                        command: 9,
                        target: [1; 32],
                        value: None,
                    };
                    let query = client.ask(question, now);
                    client.write_to_reply(query, u32::from(op), 8, vec![op].into());
                    if op & 128 == 0 {
                        client.forget_question(query);
                    }
                    let _ = client.lookup([1; 32], now);
                }
                _ => streams.push(client.connect(pairs[1].public_key, &pairs[0], now)),
            },
            12 | 13 => {
                let Some(stream) = streams.last().copied() else { continue };
                match take(data) % 8 {
                    0 => client.end(stream),
                    1 => client.destroy(stream, None),
                    2 => client.consumed(stream, usize::from(op) << 9),
                    _ => drop(client.write(stream, vec![op; usize::from(op) * 16].into())),
                }
            }
            14 => {
                while client.poll_transmit(op & 32 == 0).is_some() {}
                while client.poll_credit().is_some() {}
                while client.poll_question().is_some() {}
            }
            15 if op & 16 == 0 => client.ping(now),
            _ if op == 255 => client.handle_closed(),
            _ => {}
        }
        client.handle_timeout(now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            match client.poll_event() {
                Some(ClientEvent::Incoming { incoming, .. }) if op & 16 == 0 => client.accept(incoming),
                Some(ClientEvent::Incoming { incoming, .. }) => client.deny(incoming),
                Some(ClientEvent::Connection { stream, .. }) => streams.push(stream),
                Some(_) => {}
                None => break,
            }
        }
        streams.truncate(32);
    }
}

/// A message between client and relay that decodes more often than not: small numbers, plausible flags, known keys.
pub(super) fn relay_message(data: &mut &[u8]) -> (u64, Bytes) {
    let message_type = u64::from(take(data) % 29);
    let mut payload = Vec::new();
    if matches!(message_type, 0 | 3 | 4 | 9 | 10 | 14 | 20 | 21 | 25 | 26 | 27) {
        payload.push(take(data) % 4);
    }
    for _ in 0..take(data) % 6 {
        match take(data) % 8 {
            0..=2 => payload.extend_from_slice(&u32::from(take(data) % 12).to_le_bytes()),
            3 => payload.extend_from_slice(&KeyPair::from_seed(&[take(data) % 3; 32]).public_key),
            4 => payload.extend_from_slice(&[take(data); 32]),
            5 => {
                let bytes = piece(data, 200);
                payload.push(u8::try_from(bytes.len()).unwrap_or(0));
                payload.extend(bytes);
            }
            _ => payload.push(take(data)),
        }
    }
    (message_type, payload.into())
}

/// A message of the channel for questions: what is asked is plausible more often than not.
pub(super) fn question_message(data: &mut &[u8]) -> (u64, Bytes) {
    let message_type = u64::from(take(data) % 10);
    let mut payload = u32::from(take(data) % 6).to_le_bytes().to_vec();
    match message_type {
        0 => {
            let flags = take(data) % 8;
            payload.extend([flags, [2, 3, 7, 9, 8][usize::from(take(data)) % 5]]);
            payload.extend([take(data) % 3; 32]);
            if flags & 4 != 0 {
                payload.extend([1, take(data)]);
            }
        }
        2 => payload.extend([take(data) % 3, 2, take(data) % 8, take(data) % 8]),
        3 => {
            let value = piece(data, 100);
            payload.extend([take(data) % 8, [6, 8][usize::from(take(data)) % 2]]);
            payload.push(u8::try_from(value.len()).unwrap_or(0));
            payload.extend(value);
        }
        7 => {
            payload.push(take(data) % 2);
            for _ in 0..2 {
                payload.extend([take(data) % 3; 32]);
            }
            let count = take(data) % 4;
            payload.extend([take(data) % 0xfd, count]);
            payload.extend(core::iter::repeat_n(9, usize::from(count) * 6));
        }
        6 | 8 if take(data) < 200 => {
            let count = take(data) % 4;
            payload.push(count);
            payload.extend(core::iter::repeat_n(9, usize::from(count) * 6));
        }
        9 => payload.extend([9; 6]),
        _ => payload.extend(piece(data, 100)),
    }
    (message_type, payload.into())
}

/// Takes up to that many bytes off the front.
pub(super) fn piece(data: &mut &[u8], most: u8) -> Vec<u8> {
    let len = usize::from(take(data).min(most)).min(data.len());
    let (piece, rest) = data.split_at(len);
    *data = rest;
    piece.to_vec()
}
