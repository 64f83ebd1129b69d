//! A blind relay whose clients say what they like, on connections that are as they should be.

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::blind_relay::{Figures, PROTOCOL, Pair, Unpair};
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{Connect, ConnectionId, Endpoint, EndpointOptions, Event, Identity, Mode};
use hypertab_core::noise::{Role, Session};
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::secret_stream::{self, Entropy, SecretStream};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;
use hypertab_core::udx::packet::{Header, Kind};

use super::take;

/// Connections that the relay takes: one fewer than are dialled.
const MAX_SESSIONS: usize = 2;

/// A relay, and a node whose connections with it name tokens, take them back, and talk nonsense.
pub fn blind_relay(mut data: &[u8]) {
    let data = &mut data;
    let mut net = Net::new(take(data));
    (1..=3).for_each(|seed| net.dial(seed));
    net.settle();
    if data.len() > 4 {
        assert!(net.clients.len() >= MAX_SESSIONS, "{} of them reach the relay", net.clients.len());
    }
    let mut is_paired = false;
    while !data.is_empty() {
        let op = take(data);
        let at = usize::from(op >> 4) % net.clients.len().max(1);
        let token = [op >> 6; 32];
        match op % 16 {
            0..=4 => {
                let (is_initiator, id) = (op & 1 == 0, u64::from(take(data)) << (op & 0x20));
                let pair = Pair { is_initiator, token, id, seq: 0 };
                net.say(at, Pair::TYPE, &pair.to_vec());
            }
            5 | 6 => net.say(at, Unpair::TYPE, &[&[0], &token[..]].concat()),
            7 => {
                let kind = u64::from(take(data) % 4);
                let nonsense: Vec<u8> = (0..take(data) % 48).map(|_| take(data)).collect();
                net.say(at, kind, &nonsense);
            }
            8 => net.open_another(at, take(data)),
            // Packets for the streams that forward, from the client and from strangers.
            9..=11 => net.knock(op, data),
            12 => net.now += Duration::from_millis(1 << (take(data) % 16)),
            13 => net.now = net.now.max(net.relay.poll_timeout().unwrap_or(net.now)),
            14 if at < net.clients.len() => {
                let gone = net.clients.swap_remove(at);
                net.node.destroy(gone.connection, net.now);
            }
            _ => net.is_lossy = op & 0x10 != 0,
        }
        net.settle();
        let Figures { sessions, pairs, .. } = net.relay.blind_relay_figures();
        assert!(sessions <= MAX_SESSIONS && pairs <= 16 * MAX_SESSIONS, "{sessions} sessions, {pairs} pairs");
        is_paired |= pairs > 0;
        assert!(is_paired || net.answers.is_empty(), "an answer without a pair");
    }
}

struct Net {
    now: Instant,
    relay: Endpoint,
    node: Endpoint,
    clients: Vec<Client>,
    /// Streams that the relay has named.
    answers: Vec<u32>,
    /// Whether nothing of the relay arrives.
    is_lossy: bool,
}

/// A connection with the relay.
struct Client {
    connection: ConnectionId,
    secret: SecretStream,
    mux: Mux,
    channel: Option<ChannelId>,
}

impl Net {
    fn new(seed: u8) -> Self {
        let now = Instant::EPOCH + Duration::from_secs(1);
        let mut relay = Endpoint::new(EndpointOptions::bootstrapper(RELAY, Vec::new(), 0), [seed; 32], now);
        relay.serve_blind_relay(KeyPair::from_seed(&[9; 32]), MAX_SESSIONS, now).expect("it is the first");
        let options =
            EndpointOptions { mode: Mode::Ephemeral, ..EndpointOptions::new(vec![RELAY], NODE.port(), 0) };
        let node = Endpoint::new(options, [!seed; 32], now);
        Self { now, relay, node, clients: Vec::new(), answers: Vec::new(), is_lossy: false }
    }

    fn dial(&mut self, seed: u8) {
        let identity = Identity::Local(KeyPair::from_seed(&[seed; 32]));
        let key = KeyPair::from_seed(&[9; 32]).public_key;
        let options = Connect { relay_addresses: vec![RELAY], ..Connect::new(identity, key) };
        self.node.connect(options, self.now);
    }

    /// Lets everything happen that can without waiting.
    fn settle(&mut self) {
        self.relay.handle_timeout(self.now);
        self.node.handle_timeout(self.now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            if let Some(event) = self.node.poll_event() {
                self.handle_event(event);
            } else if self.relay.poll_event().is_some() {
            } else if let Some(transmit) = self.node.poll_transmit(4, self.now) {
                carry(&transmit, NODE, &mut self.relay, self.now);
            } else if let Some(transmit) = self.relay.poll_transmit(4, self.now) {
                if !self.is_lossy {
                    carry(&transmit, RELAY, &mut self.node, self.now);
                }
            } else {
                return;
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected { connection, session: Some(session), .. } => {
                self.clients.push(Client::new(connection, session, self.now));
            }
            Event::Data { connection, bytes } => {
                let _ = self.node.consumed(connection, bytes.len() as u64);
                if let Some(client) = self.clients.iter_mut().find(|client| client.connection == connection) {
                    client.hear(bytes, &mut self.answers, self.now);
                    self.answers.truncate(8);
                }
            }
            Event::Closed { connection, .. } => self.clients.retain(|client| client.connection != connection),
            _ => {}
        }
    }

    fn say(&mut self, at: usize, message_type: u64, payload: &[u8]) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if let Some(channel) = client.channel {
            client.mux.send(channel, message_type, payload);
        }
        self.flush(at);
    }

    fn open_another(&mut self, at: usize, key: u8) {
        let Some(client) = self.clients.get_mut(at) else { return };
        let protocol = if key & 1 == 0 { PROTOCOL } else { "another" };
        let channel = client.mux.open(&OpenChannel { protocol, key: &[key; 32], ..OpenChannel::default() });
        if let Some(channel) = channel.filter(|_| key & 2 == 0) {
            client.mux.close(channel);
        }
        self.flush(at);
    }

    fn flush(&mut self, at: usize) {
        let client = &mut self.clients[at];
        while let Some(frame) = client.mux.poll_transmit() {
            client.secret.send(frame, self.now);
        }
        while let Some(bytes) = client.secret.poll_transmit() {
            let _ = self.node.write(client.connection, bytes, self.now);
        }
    }

    fn knock(&mut self, op: u8, data: &mut &[u8]) {
        let stream = self.answers.get(usize::from(op >> 5)).copied().unwrap_or_default();
        let from = if op & 0x10 == 0 { NODE } else { Address::new([66, 0, 0, op], 7) };
        let mut bytes = Vec::new();
        let (kind, seq) = (Kind(take(data)), u32::from(take(data) % 4));
        Header { kind, id: stream, window: 1 << 16, seq, ack: 0 }.encode(&mut bytes);
        bytes.extend(vec![7; usize::from(take(data)) * 4]);
        self.relay.handle_datagram(SocketId::SERVER, from, bytes.into(), self.now);
    }
}

impl Client {
    fn new(connection: ConnectionId, session: Session, now: Instant) -> Self {
        let options = secret_stream::Options::default();
        let entropy = Entropy::from_seed(&[5; 32]);
        let secret = SecretStream::established(Role::Initiator, session, options, entropy, now);
        let mut mux = Mux::new();
        let channel = mux.open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() });
        Self { connection, secret, mux, channel }
    }

    /// Notes which streams the relay names.
    fn hear(&mut self, bytes: Bytes, answers: &mut Vec<u32>, now: Instant) {
        self.secret.handle_bytes(bytes, now);
        while let Ok(Some(event)) = self.secret.poll_event() {
            if let secret_stream::Event::Message(message) = event {
                self.mux.handle_message(message);
            }
            while let Ok(Some(event)) = self.mux.poll_event() {
                match event {
                    MuxEvent::Message { message_type: Pair::TYPE, payload, .. } => {
                        let pair = Pair::decode(&payload).expect("the relay talks no nonsense");
                        answers.insert(0, u32::try_from(pair.id).expect("ids of streams are as long"));
                    }
                    MuxEvent::RemoteOpen { open, .. } => self.mux.reject(open),
                    _ => {}
                }
            }
        }
    }
}

/// Carries datagrams to the other end; every socket has a port of its own.
fn carry(transmit: &Transmit, from: Address, to: &mut Endpoint, now: Instant) {
    let port = |socket: SocketId| from.port().wrapping_add(u16::try_from(socket.0).unwrap_or(u16::MAX));
    let source = Address::new(from.ip(), port(transmit.socket));
    let other = if from == RELAY { NODE } else { RELAY };
    if transmit.to.ip() != other.ip() {
        return;
    }
    let socket = SocketId(u32::from(transmit.to.port().wrapping_sub(other.port())));
    for datagram in transmit.bytes.chunks(transmit.segment.max(1)) {
        to.handle_datagram(socket, source, Bytes::copy_from_slice(datagram), now);
    }
}

const RELAY: Address = Address::new([20, 0, 0, 1], 40_000);
const NODE: Address = Address::new([20, 0, 0, 2], 40_000);

/// More outputs than that for one input mean a machine that never comes to rest.
const MAX_OUTPUTS: usize = 100_000;
