//! Two UDX nodes over a seeded network in virtual time: integrity, throughput, bounds and endings.
#![cfg(feature = "dht")]

use std::collections::BTreeMap;

use bytes::Bytes;
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::packet::{Header, Kind, Packet};
use hypertab_core::udx::{
    Address, Close, Event, Options, Remote, SocketId, StreamEvent, StreamId, StreamOptions, Udx,
};

const MIB: usize = 1 << 20;

#[test]
fn clean_path_is_filled() {
    let path = Path { rate: 10 * MIB as u64, ..Path::delay(10) };
    let report = transfer(1, path, path, 16 * MIB, 0);

    // 1172 of 1200 bytes are counted by the path here; startup and four quiet round trips cost the rest.
    assert!(report.rate > 8.5 * MIB as f64, "{report:?}");
    assert!(report.retransmits < 400, "{report:?}");
}

#[test]
fn random_loss_does_not_stop_the_flow() {
    let path = Path { rate: 20 * MIB as u64, loss: 0.01, ..Path::delay(10) };
    let report = transfer(2, path, path, 16 * MIB, 0);

    assert!(report.rate > 14.0 * MIB as f64, "{report:?}");
}

#[test]
fn heavy_loss_is_survived() {
    let path = Path { rate: 4 * MIB as u64, loss: 0.15, ..Path::delay(20) };
    let report = transfer(3, path, path, 2 * MIB, MIB / 2);

    assert!(report.rate > 0.5 * MIB as f64, "{report:?}");
}

#[test]
fn reordering_and_duplicates_are_not_losses() {
    let path = Path {
        rate: 20 * MIB as u64,
        jitter: Duration::from_millis(2),
        duplication: 0.02,
        ..Path::delay(10)
    };
    let report = transfer(4, path, path, 8 * MIB, 8 * MIB);

    assert!(report.rate > 8.0 * MIB as f64, "{report:?}");
}

#[test]
fn shallow_queue_is_not_flooded() {
    let path = Path { rate: 2 * MIB as u64, queue: 32 * 1200, ..Path::delay(25) };
    let report = transfer(5, path, path, 8 * MIB, 0);

    assert!(report.rate > 1.4 * MIB as f64, "{report:?}");
    assert!(report.retransmits < 3000, "{report:?}");
}

#[test]
fn long_fat_path_is_filled_within_the_window_of_the_peer() {
    let path = Path { rate: 100 * MIB as u64, ..Path::delay(50) };
    let report = transfer(6, path, path, 128 * MIB, 0);

    // 4 MiB per 100 ms.
    assert!(report.rate > 25.0 * MIB as f64, "{report:?}");
}

#[test]
fn every_seed_delivers_every_byte() {
    for seed in 100..160 {
        let mut random = Random(seed);
        let path = |random: &mut Random| Path {
            rate: 100_000 + random.next() % (20 * MIB as u64),
            queue: 20_000 + (random.next() % 2_000_000) as usize,
            delay: Duration::from_micros(random.next() % 80_000),
            jitter: Duration::from_micros(random.next() % 20_000),
            loss: (random.next() % 12) as f64 / 100.0,
            duplication: (random.next() % 5) as f64 / 100.0,
        };
        let (there, back) = (path(&mut random), path(&mut random));
        let size = 100_000 + (random.next() % 400_000) as usize;

        transfer(seed, there, back, size, size / 3);
    }
}

#[test]
fn numbers_wrap_in_the_middle_of_a_transfer() {
    let path = Path { rate: 20 * MIB as u64, loss: 0.02, jitter: Duration::from_millis(1), ..Path::delay(5) };
    let mut net = Net::new(7, path, path);
    let start = u32::MAX - 700;
    net.open(StreamOptions { seq: start, remote_seq: start, ..Default::default() });

    net.write_all(4 * MIB, 4 * MIB);
    net.run(Duration::from_secs(60));

    net.assert_delivered();
    assert_eq!(net.closes(), [Some(Close::Finished); 2]);
}

#[test]
fn slow_reader_bounds_what_waits() {
    let path = Path { rate: 20 * MIB as u64, ..Path::delay(5) };
    let mut net = Net::new(8, path, path);
    net.open(StreamOptions { receive_limit: 100_000, ..Default::default() });
    net.nodes[1].consumes_per_tick = Some(0);

    net.write_all(MIB, 0);
    net.run(Duration::from_secs(5));
    let stalled = net.nodes[1].received.len();
    assert!((80_000..=110_000).contains(&stalled), "{stalled}");
    assert_eq!(net.closes(), [None; 2], "probes keep the stream alive");

    net.nodes[1].consumes_per_tick = Some(20_000);
    net.run(Duration::from_secs(60));
    net.assert_delivered();
    assert_eq!(net.closes(), [Some(Close::Finished); 2]);
}

#[test]
fn dead_path_times_out() {
    let mut net = Net::new(9, Path::delay(10), Path::delay(10));
    net.open(StreamOptions::default());
    net.keep_open = true;
    net.write_all(5000, 0);
    net.run_until(Duration::from_secs(1), |net| !net.nodes[1].received.is_empty());
    net.paths[0].loss = 1.0;
    net.paths[1].loss = 1.0;
    let started = net.now;
    net.nodes[0].to_write.extend_from_slice(&[0; 10]);

    net.run(Duration::from_secs(60));

    assert!(net.nodes[0].events.contains(&StreamEvent::Closed(Close::TimedOut)), "{:?}", net.nodes[0].events);
    assert!(net.now > started);
}

#[test]
fn lost_last_acknowledgement_is_repeated() {
    let mut net = Net::new(10, Path::delay(10), Path::delay(10));
    net.open(StreamOptions::default());
    net.write_all(10, 10);
    // Whichever side closes first has its last packet dropped.
    net.drop_after_close = 1;

    net.run(Duration::from_secs(30));

    assert_eq!(net.closes(), [Some(Close::Finished); 2]);
}

#[test]
fn reset_reaches_the_peer() {
    let mut net = Net::new(11, Path::delay(10), Path::delay(10));
    net.open(StreamOptions::default());
    net.write_all(1000, 1000);
    net.keep_open = true;
    net.run(Duration::from_secs(1));

    let id = net.nodes[0].id;
    net.udx(0).destroy(id).unwrap();
    net.run(Duration::from_secs(1));

    assert_eq!(net.closes(), [Some(Close::Destroyed), Some(Close::Reset)]);
}

#[test]
fn remote_changes_in_the_middle_of_a_transfer() {
    let path = Path { rate: 10 * MIB as u64, ..Path::delay(10) };
    let mut net = Net::new(12, path, path);
    net.open(StreamOptions::default());
    net.write_all(4 * MIB, 4 * MIB);
    net.run(Duration::from_millis(150));
    assert!(!net.nodes[1].received.is_empty());

    // Node 0 is reachable at a second address and tells node 1 so; the first one dies soon after.
    let moved = Address::new([10, 0, 0, 1], 9999);
    let (a, b) = (net.nodes[0].id, net.nodes[1].id);
    let now = net.now;
    net.udx(1).change_remote(b, Remote { socket: SocketId(0), address: moved, id: a.0 }, now).unwrap();
    net.addresses.insert(moved, 0);
    net.run(Duration::from_millis(300));
    assert!(net.nodes[1].events.contains(&StreamEvent::RemoteChanged));
    net.addresses.remove(&address(0));
    net.run(Duration::from_secs(30));

    net.assert_delivered();
    assert_eq!(net.closes(), [Some(Close::Finished); 2]);
}

#[test]
fn unknown_address_waits_for_the_owner() {
    let now = Instant::EPOCH;
    let mut udx = Udx::new(Options::default(), [3; 32]);
    let id = udx.open(StreamOptions::default(), now).unwrap();
    let packet = |seq: u32| {
        let mut bytes = Vec::new();
        Header { kind: Kind::DATA, id: id.0, window: 1000, seq, ack: 0 }.encode(&mut bytes);
        bytes.push(b'a' + seq as u8);
        bytes
    };
    let (good, bad) = (Address::new([1, 1, 1, 1], 1), Address::new([6, 6, 6, 6], 6));

    for seq in 0..100 {
        assert!(udx.handle_datagram(SocketId(0), bad, &packet(seq), now));
    }
    assert!(udx.handle_datagram(SocketId(0), good, &packet(1), now));
    assert!(udx.handle_datagram(SocketId(0), good, &packet(0), now));
    let mut incoming = Vec::new();
    while let Some((_, event)) = udx.poll_event(now) {
        incoming.push(event);
    }
    assert_eq!(
        incoming,
        [bad, good].map(|from| Event::Incoming { socket: SocketId(0), from }),
        "one event per address"
    );

    udx.refuse(id, SocketId(0), bad).unwrap();
    udx.accept(id, SocketId(0), good, now).unwrap();
    assert_eq!(udx.poll_event(now), Some((id, Event::Stream(StreamEvent::Data("ab".into())))));
    udx.handle_datagram(SocketId(0), bad, &packet(2), now);
    assert_eq!(udx.poll_event(now), None);
}

#[test]
fn forwarded_streams_keep_everything_but_the_id() {
    let now = Instant::EPOCH;
    let mut relay = Udx::new(Options::default(), [4; 32]);
    let (left, right) = (Address::new([1, 1, 1, 1], 1), Address::new([2, 2, 2, 2], 2));
    let [a, b] = [left, right].map(|address| {
        let id = relay.open(StreamOptions::default(), now).unwrap();
        relay.connect(id, Remote { socket: SocketId(7), address, id: u32::from(address.port) }, now).unwrap();
        id
    });
    relay.relay_to(a, b).unwrap();
    relay.relay_to(b, a).unwrap();
    let mut packet = Vec::new();
    Header { kind: Kind::DATA, id: a.0, window: 9, seq: 8, ack: 7 }.encode(&mut packet);
    packet.push(42);

    relay.handle_datagram(SocketId(7), left, &packet, now);
    relay.handle_datagram(SocketId(7), left, &packet, now);

    let mut out = Vec::new();
    let transmit = relay.poll_transmit(16, &mut out, now).unwrap();
    assert_eq!((transmit.to, transmit.segment, out.len()), (right, 21, 42));
    let forwarded = Packet::decode(&out[..21]).unwrap();
    assert_eq!(forwarded.header, Header { kind: Kind::DATA, id: 2, window: 9, seq: 8, ack: 7 });
    assert_eq!(forwarded.payload, [42]);
    packet[2] = Kind::DESTROY.0;
    relay.handle_datagram(SocketId(7), left, &packet, now);
    assert!(relay.poll_transmit(16, &mut out, now).is_some());
    assert_eq!(relay.poll_event(now), Some((a, Event::Stream(StreamEvent::Closed(Close::Reset)))));
}

#[test]
fn forwarded_packets_wait_for_a_peer_that_has_not_come() {
    let now = Instant::EPOCH;
    let mut relay = Udx::new(Options::default(), [4; 32]);
    let (left, right) = (Address::new([1, 1, 1, 1], 1), Address::new([2, 2, 2, 2], 2));
    let [a, b] = [0, 1].map(|_| relay.open(StreamOptions::default(), now).unwrap());
    relay.relay_to(a, b).unwrap();
    relay.relay_to(b, a).unwrap();
    relay.connect(a, Remote { socket: SocketId(7), address: left, id: 1 }, now).unwrap();
    for seq in 0..100 {
        let mut packet = Vec::new();
        Header { kind: Kind::DATA, id: a.0, window: 9, seq, ack: 0 }.encode(&mut packet);
        packet.push(seq as u8);
        relay.handle_datagram(SocketId(7), left, &packet, now);
    }
    let mut out = Vec::new();
    assert!(relay.poll_transmit(64, &mut out, now).is_none());

    relay.connect(b, Remote { socket: SocketId(7), address: right, id: 2 }, now).unwrap();

    let transmit = relay.poll_transmit(64, &mut out, now).unwrap();
    assert_eq!((transmit.to, transmit.segment), (right, 21));
    let forwarded: Vec<_> = out.chunks(21).map(|packet| Packet::decode(packet).unwrap().header).collect();
    assert_eq!(forwarded.len(), 16, "an initial window, and no more");
    let expected = |seq| Header { kind: Kind::DATA, id: 2, window: 9, seq, ack: 0 };
    assert_eq!(forwarded, (0..16).map(expected).collect::<Vec<_>>());
    assert!(relay.poll_transmit(64, &mut out, now).is_none());
}

#[test]
fn a_stream_that_forwards_ends_without_a_word() {
    let now = Instant::EPOCH;
    let mut relay = Udx::new(Options::default(), [4; 32]);
    let peer = Address::new([1, 1, 1, 1], 1);
    let [a, b] = [1, 2].map(|remote_id| {
        let id = relay.open(StreamOptions::default(), now).unwrap();
        relay.connect(id, Remote { socket: SocketId(7), address: peer, id: remote_id }, now).unwrap();
        id
    });
    relay.relay_to(a, b).unwrap();
    let mut packet = Vec::new();
    Header { kind: Kind::DATA, id: a.0, window: 9, seq: 0, ack: 0 }.encode(&mut packet);
    let mut out = Vec::new();

    relay.destroy(a).unwrap();
    assert!(relay.poll_transmit(16, &mut out, now).is_none());
    assert_eq!(relay.poll_event(now), Some((a, Event::Stream(StreamEvent::Closed(Close::Destroyed)))));
    assert_eq!(relay.poll_event(now), None);
    assert!(
        !relay.handle_datagram(SocketId(7), peer, &packet, now),
        "forgotten, and no answer to what comes late"
    );
    assert!(relay.poll_transmit(16, &mut out, now).is_none());

    relay.destroy(b).unwrap();
    assert!(relay.poll_transmit(16, &mut out, now).is_some(), "one that does not forward says so");
}

#[test]
fn a_first_flight_that_is_lost_is_sent_again_from_its_start() {
    let mut now = Instant::EPOCH;
    let mut udx = Udx::new(Options::default(), [4; 32]);
    let peer = Address::new([1, 1, 1, 1], 1);
    let id = udx.open(StreamOptions::default(), now).unwrap();
    udx.connect(id, Remote { socket: SocketId(0), address: peer, id: 9 }, now).unwrap();
    udx.write(id, Bytes::from_static(&[1; 100_000])).unwrap();
    let mut out = Vec::new();
    while udx.poll_transmit(1, &mut out, now).is_some() {}

    let transmit = loop {
        now = udx.poll_timeout().unwrap();
        udx.handle_timeout(now);
        if let Some(transmit) = udx.poll_transmit(1, &mut out, now) {
            break transmit;
        }
    };

    assert_eq!(Packet::decode(&out[..transmit.segment]).unwrap().header.seq, 0);
    assert_eq!(now, Instant::EPOCH + Duration::from_secs(1));
}

/// libudx names packets beyond a gap only once there are as many of them as are missing.
#[test]
fn a_burst_that_is_lost_is_sent_again_once_the_peer_hears_of_what_follows() {
    let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
    let mut udx = Udx::new(Options::default(), [4; 32]);
    let peer = Address::new([1, 1, 1, 1], 1);
    let id = udx.open(StreamOptions::default(), at(0)).unwrap();
    udx.connect(id, Remote { socket: SocketId(0), address: peer, id: 9 }, at(0)).unwrap();
    udx.write(id, Bytes::from_static(&[1; 100_000])).unwrap();
    let sent = |udx: &mut Udx, now| {
        let mut numbers = Vec::new();
        let mut out = Vec::new();
        while let Some(transmit) = udx.poll_transmit(1, &mut out, now) {
            numbers.push(Packet::decode(&out[..transmit.segment]).unwrap().header.seq);
            out.clear();
        }
        numbers
    };
    let mut ack = Vec::new();
    Header { kind: Kind::ACK, id: id.0, window: 4 << 20, seq: 0, ack: 1 }.encode(&mut ack);

    assert_eq!(sent(&mut udx, at(0))[..2], [0, 1]);
    udx.handle_datagram(SocketId(0), peer, &ack, at(10));
    let young = sent(&mut udx, at(38));
    assert!(young.len() > 1 && young[0] > 1, "the rest of the window: {young:?}");
    for _ in 0..2 {
        udx.handle_datagram(SocketId(0), peer, &ack, at(40));
        assert_eq!(sent(&mut udx, at(40)), Vec::<u32>::new());
    }
    udx.handle_datagram(SocketId(0), peer, &ack, at(40));
    let again = sent(&mut udx, at(40));
    assert!(again.len() > 1 && again.iter().copied().eq(1..=again.len() as u32), "{again:?}");
    assert!(again.last() < young.first(), "what is younger than a round trip may still arrive");
}

#[test]
fn hostile_packets_change_nothing_but_their_own_stream() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut now = Instant::from_micros(1);
        let mut udx = Udx::new(Options::default(), [5; 32]);
        let peer = Address::new([1, 1, 1, 1], 1);
        let id = udx.open(StreamOptions { receive_limit: 50_000, ..Default::default() }, now).unwrap();
        udx.connect(id, Remote { socket: SocketId(0), address: peer, id: 9 }, now).unwrap();
        let mut out = Vec::new();
        let mut received = 0;

        for _ in 0..2000 {
            now += Duration::from_micros(random.next() % 5000);
            let kind = (random.next() % 64) as u8
                & !if random.next().is_multiple_of(50) { 0 } else { Kind::DESTROY.0 };
            let near = |random: &mut Random| match random.next() % 4 {
                0 => random.next() as u32,
                1 => (random.next() % 40) as u32,
                2 => (random.next() % 40) as u32 ^ u32::MAX,
                _ => 0x8000_0000 ^ (random.next() % 4) as u32,
            };
            let header = Header {
                kind: Kind(kind),
                id: id.0,
                window: near(&mut random),
                seq: near(&mut random),
                ack: near(&mut random),
            };
            let mut packet = Vec::new();
            header.encode(&mut packet);
            packet[3] = if random.next().is_multiple_of(3) { (random.next() % 64) as u8 } else { 0 };
            for _ in 0..random.next() % 100 {
                packet.extend_from_slice(&near(&mut random).to_le_bytes());
            }
            udx.handle_datagram(SocketId(0), peer, &packet, now);
            let _ = udx.write(id, Bytes::from_static(&[1; 700]));
            udx.handle_timeout(now);
            while let Some(transmit) = udx.poll_transmit(8, &mut out, now) {
                assert!(out.len() <= 8 * 1172 && transmit.segment <= 1172);
            }
            while let Some((_, event)) = udx.poll_event(now) {
                if let Event::Stream(StreamEvent::Data(bytes)) = event {
                    received += bytes.len();
                }
            }
        }
        assert!(received <= 50_000 + 65_536 + 1172, "{received}");
    }
}

#[test]
fn streams_share_the_turns() {
    let path = Path { rate: 10 * MIB as u64, ..Path::delay(10) };
    let mut net = Net::new(13, path, path);
    net.open(StreamOptions::default());
    net.write_all(2 * MIB, 0);
    let small = net.open_more(StreamOptions::default());
    let now = net.now;
    net.run(Duration::from_millis(100));
    net.udx(0).write(small.0, Bytes::from_static(b"hello")).unwrap();

    net.run_until(Duration::from_secs(5), |net| net.nodes[1].others.contains_key(&small.1));

    assert!(net.now < now + Duration::from_millis(400), "{:?}", net.now);
}

/// What one direction of a path does to datagrams.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// Bytes per second.
    rate: u64,
    /// Bytes that wait at the bottleneck.
    queue: usize,
    delay: Duration,
    jitter: Duration,
    loss: f64,
    duplication: f64,
}

impl Path {
    fn delay(millis: u64) -> Self {
        Self {
            rate: 1 << 30,
            queue: MIB,
            delay: Duration::from_millis(millis),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
        }
    }
}

#[derive(Debug)]
struct Report {
    /// Bytes per second of virtual time.
    rate: f64,
    retransmits: u64,
}

fn transfer(seed: u64, there: Path, back: Path, sent: usize, returned: usize) -> Report {
    let mut net = Net::new(seed, there, back);
    net.open(StreamOptions::default());
    net.write_all(sent, returned);
    let started = net.now;
    net.run_until(Duration::from_secs(600), |net| {
        net.nodes[1].received.len() == sent && net.nodes[0].received.len() == returned
    });
    let elapsed = net.now.duration_since(started);
    let stats = net.nodes[0].last_stats;
    net.run(Duration::from_secs(60));
    net.assert_delivered();
    assert_eq!(net.closes(), [Some(Close::Finished); 2], "seed {seed}");
    Report { rate: sent as f64 / elapsed.as_secs_f64(), retransmits: stats.retransmits }
}

struct Node {
    udx: Udx,
    id: StreamId,
    to_write: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    unconsumed: u64,
    /// Bytes that the reader takes per millisecond; all at once without.
    consumes_per_tick: Option<u64>,
    events: Vec<StreamEvent>,
    others: BTreeMap<StreamId, Vec<u8>>,
    last_stats: hypertab_core::udx::Stats,
}

struct Net {
    now: Instant,
    random: Random,
    nodes: [Node; 2],
    /// From node 0 to 1, and back.
    paths: [Path; 2],
    busy_until: [Instant; 2],
    in_transit: BTreeMap<(Instant, u64), (usize, Address, Vec<u8>)>,
    counter: u64,
    addresses: BTreeMap<Address, usize>,
    drop_after_close: u32,
    keep_open: bool,
}

impl Net {
    fn new(seed: u64, there: Path, back: Path) -> Self {
        let node = |byte| Node {
            udx: Udx::new(Options::default(), [byte; 32]),
            id: StreamId(0),
            to_write: Vec::new(),
            written: 0,
            received: Vec::new(),
            unconsumed: 0,
            consumes_per_tick: None,
            events: Vec::new(),
            others: BTreeMap::new(),
            last_stats: Default::default(),
        };
        let now = Instant::from_micros(1_000_000);
        Self {
            now,
            random: Random(seed),
            nodes: [node(1), node(2)],
            paths: [there, back],
            busy_until: [now; 2],
            in_transit: BTreeMap::new(),
            counter: 0,
            addresses: [0, 1].map(|node| (address(node), node)).into(),
            drop_after_close: 0,
            keep_open: false,
        }
    }

    fn udx(&mut self, node: usize) -> &mut Udx {
        &mut self.nodes[node].udx
    }

    fn open(&mut self, options: StreamOptions) {
        let (a, b) = self.open_more(options);
        (self.nodes[0].id, self.nodes[1].id) = (a, b);
    }

    fn open_more(&mut self, options: StreamOptions) -> (StreamId, StreamId) {
        let now = self.now;
        let a = self.udx(0).open(options, now).unwrap();
        let b = self.udx(1).open(options, now).unwrap();
        self.udx(0).connect(a, Remote { socket: SocketId(0), address: address(1), id: b.0 }, now).unwrap();
        self.udx(1).connect(b, Remote { socket: SocketId(0), address: address(0), id: a.0 }, now).unwrap();
        (a, b)
    }

    fn write_all(&mut self, there: usize, back: usize) {
        self.nodes[0].to_write = pattern(there, 1);
        self.nodes[1].to_write = pattern(back, 2);
    }

    fn run(&mut self, limit: Duration) {
        self.run_until(limit, |_| false);
    }

    fn run_until(&mut self, limit: Duration, is_done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        loop {
            for node in 0..2 {
                self.drive(node);
            }
            if is_done(self) {
                return;
            }
            let transit = self.in_transit.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.nodes.iter().filter_map(|node| node.udx.poll_timeout());
            let reading =
                self.nodes.iter().any(|node| node.consumes_per_tick.is_some() && node.unconsumed > 0);
            let tick = reading.then(|| self.now + Duration::from_millis(1));
            let Some(next) = timers.chain(transit).chain(tick).min().filter(|next| *next <= end) else {
                return;
            };
            self.now = self.now.max(next);
            self.read();
            for node in 0..2 {
                let now = self.now;
                self.udx(node).handle_timeout(now);
            }
            while let Some(entry) = self.in_transit.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let (node, from, bytes) = entry.remove();
                let now = self.now;
                self.udx(node).handle_datagram(SocketId(0), from, &bytes, now);
            }
        }
    }

    fn read(&mut self) {
        for node in &mut self.nodes {
            let taken = node.consumes_per_tick.unwrap_or(u64::MAX).min(node.unconsumed);
            if taken > 0 && node.udx.consumed(node.id, taken).is_ok() {
                node.unconsumed -= taken;
            }
        }
    }

    fn drive(&mut self, index: usize) {
        let now = self.now;
        let mut out = Vec::new();
        loop {
            let node = &mut self.nodes[index];
            while node.written < node.to_write.len() {
                let end = node.to_write.len().min(node.written + 50_000);
                let chunk = Bytes::copy_from_slice(&node.to_write[node.written..end]);
                let Ok(has_room) = node.udx.write(node.id, chunk) else { break };
                node.written = end;
                if !has_room {
                    break;
                }
            }
            if node.written == node.to_write.len() && !self.keep_open {
                let _ = node.udx.end(node.id);
            }
            if let Some(stats) = node.udx.stats(node.id) {
                node.last_stats = stats;
            }
            let mut is_idle = true;
            while let Some((id, event)) = self.nodes[index].udx.poll_event(now) {
                is_idle = false;
                let node = &mut self.nodes[index];
                match event {
                    Event::Stream(StreamEvent::Data(bytes)) if id == node.id => {
                        node.received.extend_from_slice(&bytes);
                        node.unconsumed += bytes.len() as u64;
                        if node.consumes_per_tick.is_none() {
                            let _ = node.udx.consumed(id, node.unconsumed);
                            node.unconsumed = 0;
                        }
                    }
                    Event::Stream(StreamEvent::Data(bytes)) => {
                        node.others.entry(id).or_default().extend_from_slice(&bytes);
                    }
                    Event::Stream(event) if id == node.id => node.events.push(event),
                    Event::Stream(_) => {}
                    Event::Incoming { socket, from } => node.udx.accept(id, socket, from, now).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            while let Some(transmit) = self.nodes[index].udx.poll_transmit(16, &mut out, now) {
                is_idle = false;
                for datagram in out.chunks(transmit.segment) {
                    self.send(index, transmit.to, datagram);
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn send(&mut self, from: usize, to: Address, datagram: &[u8]) {
        let Some(&node) = self.addresses.get(&to) else { return };
        let is_closed = self.nodes[from].events.iter().any(|event| matches!(event, StreamEvent::Closed(_)));
        if is_closed && self.drop_after_close > 0 {
            self.drop_after_close -= 1;
            return;
        }
        let path = self.paths[from];
        let backlog = self.busy_until[from].duration_since(self.now);
        if backlog.as_secs_f64() * path.rate as f64 > path.queue as f64 {
            return;
        }
        let cost = Duration::from_secs_f64((datagram.len() + 28) as f64 / path.rate as f64);
        self.busy_until[from] = self.busy_until[from].max(self.now) + cost;
        if self.random.chance(path.loss) {
            return;
        }
        for _ in 0..1 + u32::from(self.random.chance(path.duplication)) {
            let jitter = self.random.next() % (path.jitter.as_micros() as u64 + 1);
            let at = self.busy_until[from] + path.delay + Duration::from_micros(jitter);
            self.counter += 1;
            self.in_transit.insert((at, self.counter), (node, address(from), datagram.to_vec()));
        }
    }

    fn assert_delivered(&self) {
        for (sender, receiver) in [(0, 1), (1, 0)] {
            let (sent, received) = (&self.nodes[sender].to_write, &self.nodes[receiver].received);
            assert_eq!(sent.len(), received.len());
            assert!(sent == received, "bytes differ");
        }
    }

    fn closes(&self) -> [Option<Close>; 2] {
        [0, 1].map(|node| {
            self.nodes[node].events.iter().find_map(|event| match event {
                StreamEvent::Closed(close) => Some(*close),
                _ => None,
            })
        })
    }
}

fn address(node: usize) -> Address {
    Address::new([10, 0, 0, node as u8 + 1], 1000)
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(len).collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / ((1u64 << 53) as f64) < probability
    }
}
