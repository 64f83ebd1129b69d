//! A tab that loses its WebSocket and comes back: nothing is lost, repeated or told to the streams; or, where it may not
//! come back, everything ends as if there were no coming back.
#![cfg(feature = "dht")]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::rpc::SocketId;
use hypertab_core::dht::{ConnectionId, Endpoint, EndpointOptions, Event as DhtEvent, Identity, Listen};
use hypertab_core::dht_relay::messages::Message;
use hypertab_core::dht_relay::resume::{Claim, RESUME_PROTOCOL, Ticket, Token};
use hypertab_core::dht_relay::{self, Bridge, BridgeEvent, BridgeOptions, Full, Limits, Permissions, Quotas};
use hypertab_core::engine::*;
use hypertab_core::noise::Role as NoiseRole;
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::secret_stream::{self, Entropy, Outgoing, SecretStream};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;

#[test]
fn a_cut_at_any_frame_is_noticed_by_nobody_above() {
    let mut cuts = 0;
    for at in 0.. {
        let mut world = World::new(Limits::default());
        world.connect();
        world.cut_after = Some(at);
        for _ in 0..12 {
            world.send_both(3, 900);
            world.run(Duration::from_millis(20));
        }
        world.run(Duration::from_secs(2));
        let was_cut = world.cut_after.is_none();
        world.assert_all_arrived();
        assert_eq!(world.bridge.counters().resumed, u64::from(was_cut));
        if !was_cut {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 20, "{cuts} places to cut at");
}

#[test]
fn cuts_that_follow_each_other_and_those_of_coming_back_are_healed() {
    let mut resumed = 0;
    for seed in 1..40_u64 {
        let mut world = World::new(Limits::default());
        world.connect();
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..6 {
            // Two or three frames after coming back, the next cut may hit the claim, its answer, or what is sent again.
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                world.cut_after = Some((random % 7) as usize);
                world.send_both(12, 700);
                world.run(Duration::from_millis(random % 300));
            }
        }
        world.cut_after = None;
        world.run(Duration::from_secs(5));
        world.assert_all_arrived();
        resumed += world.bridge.counters().resumed;
        assert_eq!((world.bridge.links(), world.bridge.figures().held), (1, 0));
    }
    assert!(resumed > 200, "{resumed} times");
}

#[test]
fn a_connection_that_only_the_relay_believes_in_does_not_hold_its_client_up() {
    let mut world = World::new(Limits::default());
    world.connect();
    world.send_both(20, 900);
    world.run(Duration::from_millis(5));
    // The relay hears nothing of it.
    world.lose(false);
    world.run(Duration::from_secs(2));
    world.assert_all_arrived();
    assert_eq!((world.bridge.links(), world.bridge.counters().resumed), (1, 1));
}

#[test]
fn whoever_does_not_come_back_in_time_is_gone() {
    let mut world = World::new(Limits::default());
    let native = world.connect();
    world.comes_back = false;
    world.lose(true);
    world.run(Duration::from_secs(9));
    assert_eq!((world.bridge.links(), world.bridge.figures().held), (1, 1));
    assert!(!world.is_closed() && !world.closed_at_native(native));

    world.run(Duration::from_secs(3));
    assert_eq!((world.bridge.links(), world.bridge.counters().resume_expired), (0, 1));
    assert!(world.closed_at_native(native));
    assert!(world.is_closed(), "the tab waits no longer than the relay");
}

#[test]
fn a_relay_that_has_let_go_says_so_and_the_tab_ends_what_ran_through_it() {
    let mut world = World::new(Limits::default());
    world.connect();
    world.comes_back = false;
    world.lose(true);
    world.run(Duration::from_secs(1));
    // As a relay does that is about to stop.
    world.bridge.drop_held(world.now);
    world.run(Duration::from_millis(10));
    world.come_back();
    world.run(Duration::from_secs(1));
    assert!(world.is_closed());
    assert_eq!((world.bridge.counters().resumed, world.bridge.counters().resume_expired), (0, 1));

    // One that never holds links is left as it always was.
    let mut world = World::new(Limits { resume_grace: None, ..Limits::default() });
    let native = world.connect();
    world.lose(true);
    world.run(Duration::from_secs(1));
    assert!(world.is_closed() && world.closed_at_native(native));
}

#[test]
fn a_tab_that_leaves_waits_for_no_connection_that_breaks() {
    let mut world = World::new(Limits::default());
    world.connect();
    world.is_deaf = true;
    world.send_both(400, 10_000);
    world.run(Duration::from_secs(1));
    world.engine.close_relay(world.relay.unwrap());
    world.run(Duration::from_secs(1));
    assert!(!world.is_closed(), "it has something to send");

    world.lose(true);

    assert!(world.is_closed());
}

#[test]
fn nobody_else_comes_back_in_the_place_of_a_client() {
    let mut world = World::new(Limits::default());
    world.connect();
    world.comes_back = false;
    world.lose(true);
    for claim in
        [Claim { token: Token([7; 32]), received: 0 }, Claim { token: Token([0; 32]), received: 1 << 50 }]
    {
        assert!(!world.claim(&claim));
    }
    assert!(!world.is_closed());
    world.come_back();
    world.run(Duration::from_secs(1));
    world.send_both(3, 100);
    world.run(Duration::from_secs(1));
    world.assert_all_arrived();
}

#[test]
fn as_much_is_kept_as_the_bound_says_and_the_rest_waits_where_it_is() {
    let mut world = World::new(Limits::default());
    world.connect();
    // Frames leave, and no acknowledgement comes.
    world.is_deaf = true;
    world.send_both(400, 10_000);
    world.run(Duration::from_secs(3));
    let (up, down) = world.in_flight();
    // Peers send only as much as they were given credit for, which is less.
    assert!(up <= KEPT + 64 && up > KEPT - 70_000, "{up} bytes of the tab's are on their way");
    assert!(down <= KEPT + 64 && down > 100_000, "{down} bytes of the relay's are on their way");

    world.is_deaf = false;
    world.lose(true);
    world.run(Duration::from_secs(5));
    world.assert_all_arrived();
}

#[test]
fn who_acknowledges_nothing_cannot_come_back_when_much_is_kept_and_who_does_can() {
    let mut world = World::new(Limits { resume_bytes: 100_000, ..Limits::default() });
    world.connect();
    let mut silent = [world.open_silent(1), world.open_silent(2)];
    for link in &mut silent {
        world.ping(link, 600);
    }
    let kept = world.bridge.figures().kept;
    assert!(kept <= 100_000 && kept > 75_000, "{kept} bytes");
    assert_eq!(world.bridge.counters().resume_lost, 0);

    // The first of them goes for what the others are sent, and the tab is as it was.
    world.run(Duration::from_secs(1));
    world.ping(&mut silent[1], 360);
    assert_eq!(world.bridge.counters().resume_lost, 1);
    assert!(world.bridge.figures().kept <= 100_000);
    world.send_both(30, 900);
    world.run(Duration::from_millis(7));
    world.lose(true);
    world.run(Duration::from_secs(2));
    world.send_both(30, 900);
    world.run(Duration::from_secs(2));
    world.assert_all_arrived();
    assert_eq!(world.bridge.counters().resumed, 1);

    // Nobody keeps more than that, whatever they do.
    for turn in 0..20 {
        world.ping(&mut silent[turn % 2], 300);
        world.run(Duration::from_millis(100));
        assert!(world.bridge.figures().kept <= 100_000);
    }
    assert!(world.bridge.hold_link(silent[0].at_relay, world.now));
    let claim = Claim { token: Token(silent[0].token), received: 1 };
    assert!(!world.resumes(&claim), "what it lacks is not here");
    for link in silent {
        world.bridge.close_link(link.at_relay, world.now);
    }
    world.run(Duration::from_secs(3));
    assert!(world.bridge.figures().kept < 1_000, "the tab has acknowledged");
}

#[test]
fn links_that_are_held_count_and_give_way_to_whoever_comes() {
    let mut quotas = Quotas::default();
    quotas.address.links = Some(1);
    let mut world = World::with_quotas(Limits::default(), quotas);
    world.connect();
    world.comes_back = false;
    world.lose(true);
    // Its client gets in although the account is full, and there is no room for a third.
    world.come_back();
    assert!(matches!(world.open_other(), Err(Full::Links(_))));
    world.run(Duration::from_secs(1));
    assert_eq!((world.bridge.links(), world.bridge.counters().resumed), (1, 1));
    assert!(matches!(world.open_other(), Err(Full::Links(_))));
    world.send_both(3, 100);
    world.run(Duration::from_secs(1));
    world.assert_all_arrived();

    // Somebody who is no client of it takes its place once it is let in, not before.
    world.lose(true);
    let other = world.open_other().unwrap();
    assert_eq!((world.bridge.links(), world.bridge.figures().held), (2, 1));
    world.bridge.admit(other, [9; 32], world.now);
    assert_eq!((world.bridge.links(), world.bridge.figures().held), (1, 0));
    assert_eq!(world.bridge.counters().resume_expired, 1);
}

/// A tab, a relay and a native peer that the tab has dialled.
struct World {
    now: Instant,
    engine: Engine,
    relay: Option<RelayId>,
    link: Option<LinkId>,
    events: Vec<Event>,
    wake_at: Option<Instant>,
    bridge: Bridge,
    nodes: Vec<Endpoint>,
    native: Option<(ConnectionId, Box<SecretStream>)>,
    native_events: Vec<DhtEvent>,
    /// The WebSocket: which link it carries at the relay, and the frames on their way.
    wire: Option<Wire>,
    /// Frames that still arrive before the WebSocket breaks.
    cut_after: Option<usize>,
    comes_back: bool,
    /// No frame arrives.
    is_deaf: bool,
    network: BTreeMap<(Instant, u64), (Address, Address, Bytes)>,
    sockets: BTreeMap<Address, (usize, SocketId)>,
    sequence: u64,
    sent: u32,
    received: [Vec<Bytes>; 2],
    wanted: [Vec<Bytes>; 2],
}

/// A client that comes back with nothing that it has.
struct Silent {
    at_relay: dht_relay::LinkId,
    mux: Mux,
    channel: ChannelId,
    token: [u8; 32],
}

struct Wire {
    control: LinkId,
    at_relay: dht_relay::LinkId,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
}

/// What either end keeps for the other at most.
const KEPT: usize = 2 * 1024 * 1024;

/// Place of the relay's endpoint.
const RELAY: usize = usize::MAX;

const ACCOUNT: [u8; 16] = [1; 16];

impl World {
    fn new(limits: Limits) -> Self {
        Self::with_quotas(limits, Quotas::default())
    }

    fn with_quotas(limits: Limits, quotas: Quotas) -> Self {
        let now = Instant::EPOCH + Duration::from_secs(1);
        let options =
            |index, bootstrap| EndpointOptions::bootstrapper(address(index), bootstrap, 1_700_000_000_000);
        let nodes = vec![
            Endpoint::new(options(0, Vec::new()), [100; 32], now),
            Endpoint::new(options(1, vec![address(0)]), [101; 32], now),
        ];
        let bridge = BridgeOptions {
            endpoint: options(50, vec![address(0)]),
            limits,
            quotas,
            allows_lan: false,
            allows_custodial: false,
            relay_through: Vec::new(),
        };
        let mut sockets = BTreeMap::new();
        for (owner, index) in [(0, 0), (1, 1), (RELAY, 50)] {
            let server: Address = address(index);
            sockets.insert(server, (owner, SocketId::SERVER));
            sockets.insert(Address::new(server.host, server.port + 1), (owner, SocketId::CLIENT));
        }
        Self {
            now,
            engine: Engine::new(Config::default(), [5; 32], now),
            relay: None,
            link: None,
            events: Vec::new(),
            wake_at: None,
            bridge: Bridge::new(bridge, [99; 32], now),
            nodes,
            native: None,
            native_events: Vec::new(),
            wire: None,
            cut_after: None,
            comes_back: true,
            is_deaf: false,
            network: BTreeMap::new(),
            sockets,
            sequence: 0,
            sent: 0,
            received: Default::default(),
            wanted: Default::default(),
        }
    }

    /// Dials the native peer through the relay.
    fn connect(&mut self) -> ConnectionId {
        let pair = KeyPair::from_seed(&[2; 32]);
        let now = self.now;
        self.nodes[1].listen(Listen::new(Identity::Local(pair.clone())), now).unwrap();
        let (relay, control) = self.engine.open_relay([200; 32], now);
        self.relay = Some(relay);
        self.open_wire(control);
        self.run(Duration::from_secs(3));
        let own = KeyPair::from_seed(&[1; 32]);
        let link = self.engine.connect(relay, pair.public_key, &own, self.now).unwrap();
        self.link = Some(link);
        self.run(Duration::from_secs(3));
        self.engine.read_messages(link).unwrap();
        self.run(Duration::from_secs(1));
        self.native.as_ref().expect("the native peer is connected").0
    }

    fn open_wire(&mut self, control: LinkId) {
        let at_relay = self.bridge.open_link(ACCOUNT, Permissions::ALL, self.now).unwrap();
        self.engine.handle_input(Input::Credit { link: control, bytes: 8 << 20 }, self.now);
        self.wire = Some(Wire { control, at_relay, up: VecDeque::new(), down: VecDeque::new() });
    }

    fn open_other(&mut self) -> Result<dht_relay::LinkId, Full> {
        self.bridge.open_link(ACCOUNT, Permissions::ALL, self.now)
    }

    /// Breaks the WebSocket, with what is on its way.
    fn lose(&mut self, relay_notices: bool) {
        let wire = self.wire.take().expect("there is a WebSocket");
        if relay_notices && !self.bridge.hold_link(wire.at_relay, self.now) {
            self.bridge.close_link(wire.at_relay, self.now);
        }
        let reason = Some("cut".to_string());
        self.engine.handle_input(Input::LinkLost { link: wire.control, reason }, self.now);
        self.drain_engine();
    }

    fn come_back(&mut self) {
        let Ok(control) = self.engine.resume_relay(self.relay.unwrap()) else { return };
        self.open_wire(control);
    }

    /// Claims a link in the name of somebody, and returns whether the relay gives it away.
    fn claim(&mut self, claim: &Claim) -> bool {
        let link = self.open_other().unwrap();
        let mut mux = Mux::new();
        let handshake = &claim.to_vec()[..];
        mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() }).unwrap();
        let frame = mux.poll_transmit().unwrap().into_plain();
        self.bridge.handle_frame(link, frame, self.now);
        while let Some(event) = self.bridge.poll_event() {
            assert!(!matches!(event, BridgeEvent::Resuming(..)));
        }
        let mut is_rejected = false;
        while let Some(frame) = self.bridge.poll_frame(link, self.now) {
            mux.handle_message(frame);
            while let Some(event) = mux.poll_event().unwrap() {
                is_rejected |= matches!(event, MuxEvent::Closed { .. });
            }
        }
        self.bridge.close_link(link, self.now);
        !is_rejected
    }

    /// A client that takes all frames and acknowledges none.
    fn open_silent(&mut self, number: u8) -> Silent {
        let at_relay = self.bridge.open_link([number + 10; 16], Permissions::ALL, self.now).unwrap();
        let mut mux = Mux::new();
        let protocol = dht_relay::PROTOCOL;
        let channel = mux.open(&OpenChannel { protocol, ..OpenChannel::default() }).unwrap();
        mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, ..OpenChannel::default() }).unwrap();
        let hello = Message::Handshake { public_key: [number; 32], secret_key: None };
        mux.send(channel, hello.message_type(), &hello.to_vec());
        let mut token = None;
        while let Some(frame) = mux.poll_transmit() {
            self.bridge.handle_frame(at_relay, frame.into_plain(), self.now);
            self.drain_bridge();
        }
        while let Some(frame) = self.bridge.poll_frame(at_relay, self.now) {
            mux.handle_message(frame);
            while let Some(event) = mux.poll_event().unwrap() {
                if let MuxEvent::Opened { handshake, .. } = event
                    && let Ok(ticket) = Ticket::decode(&handshake)
                {
                    token = Some(ticket.token.0);
                }
            }
        }
        Silent { at_relay, mux, channel, token: token.expect("the relay holds links") }
    }

    /// Has the relay answer so often.
    fn ping(&mut self, silent: &mut Silent, count: usize) {
        let mux = &mut silent.mux;
        for _ in 0..count {
            mux.send(silent.channel, Message::Ping.message_type(), &[]);
            while let Some(frame) = mux.poll_transmit() {
                self.bridge.handle_frame(silent.at_relay, frame.into_plain(), self.now);
            }
            while self.bridge.poll_frame(silent.at_relay, self.now).is_some() {}
        }
    }

    /// Returns whether somebody goes on with a link.
    fn resumes(&mut self, claim: &Claim) -> bool {
        let link = self.bridge.open_link([30; 16], Permissions::ALL, self.now).unwrap();
        let mut mux = Mux::new();
        let handshake = &claim.to_vec()[..];
        mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() }).unwrap();
        let frame = mux.poll_transmit().unwrap().into_plain();
        self.bridge.handle_frame(link, frame, self.now);
        let mut is_claimed = None;
        while let Some(event) = self.bridge.poll_event() {
            if let BridgeEvent::Resuming(link, of) = event {
                is_claimed = Some(self.bridge.resume(link, of, self.now));
            }
        }
        self.bridge.close_link(link, self.now);
        is_claimed.expect("the link is there")
    }

    /// Sends so many messages each way.
    fn send_both(&mut self, count: usize, size: usize) {
        for _ in 0..count {
            self.sent += 1;
            let mut message = vec![self.sent as u8; size];
            message[..4].copy_from_slice(&self.sent.to_le_bytes());
            let message = Bytes::from(message);
            self.engine.link_send(self.link.unwrap(), &message, self.now).unwrap();
            let (_, stream) = self.native.as_mut().unwrap();
            stream.send(Outgoing::from(&message[..]), self.now);
            self.wanted[0].push(message.clone());
            self.wanted[1].push(message);
        }
    }

    fn in_flight(&self) -> (usize, usize) {
        let wire = self.wire.as_ref().unwrap();
        let sum = |frames: &VecDeque<Bytes>| frames.iter().map(Bytes::len).sum();
        (sum(&wire.up), sum(&wire.down))
    }

    fn assert_all_arrived(&self) {
        for (received, wanted) in self.received.iter().zip(&self.wanted) {
            assert_eq!(received.len(), wanted.len());
            assert!(received == wanted, "what arrived is what was sent, in order");
        }
        assert!(!self.is_closed());
    }

    fn is_closed(&self) -> bool {
        let is_link =
            |event: &Event| matches!(event, Event::LinkClosed { link, .. } if Some(*link) == self.link);
        let is_relay = |event: &Event| matches!(event, Event::Relay(RelayEvent::Closed { .. }));
        let closed = self.events.iter().any(is_link);
        assert_eq!(closed, self.events.iter().any(is_relay), "a stream ends with its relay");
        closed
    }

    fn closed_at_native(&self, connection: ConnectionId) -> bool {
        let closed =
            |event: &DhtEvent| matches!(event, DhtEvent::Closed { connection: id, .. } if *id == connection);
        self.native_events.iter().any(closed)
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let datagram = self.network.keys().next().map(|(at, _)| *at);
            let nodes = self.nodes.iter().filter_map(Endpoint::poll_timeout);
            let next = nodes.chain(self.bridge.poll_timeout()).chain(self.wake_at).chain(datagram).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            let now = self.now;
            while let Some(entry) = self.network.first_entry()
                && entry.key().0 <= now
            {
                let (from, to, bytes) = entry.remove();
                match self.sockets.get(&to) {
                    Some((RELAY, socket)) => self.bridge.handle_datagram(*socket, from, bytes, now),
                    Some((index, socket)) => self.nodes[*index].handle_datagram(*socket, from, bytes, now),
                    None => {}
                }
            }
            self.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
            self.bridge.handle_timeout(now);
            self.engine.handle_input(Input::Timeout, now);
        }
        self.now = end;
    }

    fn settle(&mut self) {
        while self.drain_engine() | self.drain_bridge() | self.drain_nodes() | self.carry() {}
    }

    fn drain_engine(&mut self) -> bool {
        let mut is_busy = false;
        loop {
            match self.engine.poll_output(self.now) {
                Output::Transmit { link, bytes } => {
                    let wire = self.wire.as_mut().filter(|wire| wire.control == link);
                    wire.expect("there is a WebSocket").up.push_back(bytes);
                }
                Output::CloseLink { .. } => {
                    if let Some(wire) = self.wire.take() {
                        self.bridge.close_link(wire.at_relay, self.now);
                    }
                }
                Output::Event(Event::LinkMessage { bytes, .. }) => self.received[1].push(bytes),
                Output::Event(Event::Relay(RelayEvent::Interrupted { .. })) if self.comes_back => {
                    self.come_back()
                }
                Output::Event(event) => self.events.push(event),
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return is_busy;
                }
                Output::Storage { .. } | Output::FinishLink { .. } => unreachable!("there is no store"),
            }
            is_busy = true;
        }
    }

    fn drain_bridge(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(event) = self.bridge.poll_event() {
            is_busy = true;
            match event {
                BridgeEvent::Introduced(link, key) => self.bridge.admit(link, key, self.now),
                BridgeEvent::Resuming(link, of) => {
                    if self.bridge.resume(link, of, self.now)
                        && let Some(wire) = self.wire.as_mut().filter(|wire| wire.at_relay == link)
                    {
                        wire.at_relay = of;
                    }
                }
                _ => {}
            }
        }
        while let Some(transmit) = self.bridge.poll_transmit(1, self.now) {
            self.put(RELAY, transmit.socket, transmit.to, transmit.bytes);
            is_busy = true;
        }
        is_busy
    }

    fn drain_nodes(&mut self) -> bool {
        let (mut is_busy, now) = (false, self.now);
        while let Some(event) = self.nodes[1].poll_event() {
            is_busy = true;
            match event {
                DhtEvent::Connected { connection, session: Some(session), .. } => {
                    let options = secret_stream::Options { keep_alive: None, timeout: None };
                    let entropy = Entropy::from_seed(&[77; 32]);
                    let stream =
                        SecretStream::established(NoiseRole::Responder, session, options, entropy, now);
                    self.native = Some((connection, Box::new(stream)));
                }
                DhtEvent::Data { connection, bytes } => {
                    let _ = self.nodes[1].consumed(connection, bytes.len() as u64);
                    let (_, stream) = self.native.as_mut().unwrap();
                    stream.handle_bytes(bytes, now);
                    while let Some(event) = stream.poll_event().expect("not a byte is lost or repeated") {
                        if let secret_stream::Event::Message(message) = event
                            && !message.is_empty()
                        {
                            self.received[0].push(message);
                        }
                    }
                }
                event => self.native_events.push(event),
            }
        }
        while self.nodes[0].poll_event().is_some() {}
        if let Some((connection, stream)) = &mut self.native {
            while let Some(frame) = stream.poll_transmit() {
                let _ = self.nodes[1].write(*connection, frame, now);
                is_busy = true;
            }
        }
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].poll_transmit(1, now) {
                self.put(index, transmit.socket, transmit.to, transmit.bytes);
                is_busy = true;
            }
        }
        is_busy
    }

    fn put(&mut self, owner: usize, socket: SocketId, to: Address, bytes: Bytes) {
        let from = self.sockets.iter().find(|(_, place)| **place == (owner, socket)).map(|(from, _)| *from);
        self.sequence += 1;
        self.network.insert((self.now + Duration::from_millis(2), self.sequence), (from.unwrap(), to, bytes));
    }

    /// Carries frames between tab and relay, each way in turn, until the WebSocket breaks.
    fn carry(&mut self) -> bool {
        let Some(wire) = &mut self.wire else { return false };
        let mut is_busy = false;
        while let Some(frame) = self.bridge.poll_frame(wire.at_relay, self.now) {
            wire.down.push_back(frame);
            is_busy = true;
        }
        if self.is_deaf {
            return is_busy;
        }
        for goes_up in [true, false] {
            let Some(wire) = &mut self.wire else { return true };
            if goes_up && self.bridge.is_paused(wire.at_relay) {
                continue;
            }
            let Some(frame) = (if goes_up { wire.up.pop_front() } else { wire.down.pop_front() }) else {
                continue;
            };
            match &mut self.cut_after {
                Some(0) => {
                    self.cut_after = None;
                    self.lose(true);
                    return true;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            is_busy = true;
            if goes_up {
                self.bridge.handle_frame(wire.at_relay, frame, self.now);
            } else {
                let control = wire.control;
                let len = frame.len() as u64;
                self.engine.handle_input(Input::Bytes { link: control, bytes: frame }, self.now);
                self.engine.handle_input(Input::Credit { link: control, bytes: len.max(64 << 10) }, self.now);
            }
            // What the relay makes of a claim decides which link its next frames are of.
            self.drain_bridge();
        }
        is_busy
    }
}

fn address(index: u8) -> Address {
    Address::new([93, 184, 0, index + 1], 40_000)
}
