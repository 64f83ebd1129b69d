//! A UDX stream and a TCP stream in one queue, in virtual time: neither starves the other.
//!
//! The TCP stream is a model of CUBIC after RFC 9438, with its Reno-friendly region and without HyStart, that acknowledges every
//! packet. Its packets and those of the UDX stream wait in the same drop-tail queue.
#![cfg(feature = "dht")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::{
    Address, Event, Options, Remote, SocketId, StreamEvent, StreamId, StreamOptions, Udx,
};

#[test]
fn a_tcp_stream_keeps_a_share_of_every_queue() {
    // Without `Ceiling` it would be a fifth of the short queues.
    for queue in [0.5, 1.0, 2.0, 4.0] {
        for late in [Late::Tcp, Late::Udx] {
            let (udx, tcp) = Net::new(queue).run(late);
            let share = tcp / (tcp + udx);

            println!(
                "queue {queue} × the path, {late:?} late: TCP has {share:.2} of {:.2}",
                (tcp + udx) / RATE
            );
            assert!((0.4..=0.75).contains(&share), "queue {queue}, {late:?} late: {share}");
            assert!(tcp + udx > 0.85 * RATE, "queue {queue}, {late:?} late: {}", tcp + udx);
        }
    }
}

#[test]
fn two_streams_of_ours_share_alike() {
    for queue in [1.0, 2.0] {
        let shares = Net::new(queue).run_pair();
        let share = shares[0] / (shares[0] + shares[1]);

        assert!((0.3..=0.7).contains(&share), "queue {queue}: {share}");
    }
}

/// Which stream starts when the other has filled the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Tcp,
    Udx,
}

/// What arrives somewhere.
enum Arrival {
    /// A datagram at a node.
    Datagram(usize, Vec<u8>),
    /// A packet of the TCP stream at its receiver.
    Segment(u64),
    /// Its acknowledgement at the sender.
    Ack(u64),
}

struct Net {
    now: Instant,
    /// Sender and receiver.
    nodes: [Udx; 2],
    streams: Vec<(StreamId, StreamId)>,
    received: BTreeMap<StreamId, u64>,
    tcp: Cubic,
    busy_until: Instant,
    /// Bytes that may wait.
    queue: f64,
    in_transit: BTreeMap<(Instant, u64), Arrival>,
    counter: u64,
}

impl Net {
    fn new(queue: f64) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self {
            now,
            nodes: [1, 2].map(|byte| Udx::new(Options::default(), [byte; 32])),
            streams: Vec::new(),
            received: BTreeMap::new(),
            tcp: Cubic::new(),
            busy_until: now,
            queue: queue * RATE * 2.0 * DELAY.as_secs_f64(),
            in_transit: BTreeMap::new(),
            counter: 0,
        }
    }

    /// Returns how many bytes per second either stream carried in the second half of a minute.
    fn run(mut self, late: Late) -> (f64, f64) {
        if late == Late::Tcp {
            self.open();
        } else {
            self.tcp.is_open = true;
        }
        self.run_for(Duration::from_secs(5));
        if late == Late::Tcp {
            self.tcp.is_open = true;
        } else {
            self.open();
        }
        self.run_for(Duration::from_secs(25));
        let (udx, tcp) = (self.udx_bytes(0), self.tcp.delivered_bytes());
        self.run_for(HALF);
        let per_second = |after: u64, before: u64| (after - before) as f64 / HALF.as_secs_f64();
        (per_second(self.udx_bytes(0), udx), per_second(self.tcp.delivered_bytes(), tcp))
    }

    fn run_pair(mut self) -> [f64; 2] {
        self.open();
        self.run_for(Duration::from_secs(5));
        self.open();
        self.run_for(Duration::from_secs(25));
        let before = [0, 1].map(|stream| self.udx_bytes(stream));
        self.run_for(HALF);
        [0, 1].map(|stream| (self.udx_bytes(stream) - before[stream]) as f64)
    }

    fn udx_bytes(&self, stream: usize) -> u64 {
        self.received.get(&self.streams[stream].1).copied().unwrap_or(0)
    }

    fn open(&mut self) {
        let now = self.now;
        let [a, b] = [0, 1].map(|node| self.nodes[node].open(StreamOptions::default(), now).unwrap());
        for (node, own, other) in [(0, a, b), (1, b, a)] {
            let remote = Remote { socket: SocketId(0), address: address(1 - node), id: other.0 };
            self.nodes[node].connect(own, remote, now).unwrap();
        }
        self.streams.push((a, b));
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drive();
            let transit = self.in_transit.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.nodes.iter().filter_map(Udx::poll_timeout).chain(self.tcp.timeout_at);
            let Some(next) = timers.chain(transit).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            self.tcp.handle_timeout(self.now);
            while let Some(entry) = self.in_transit.first_entry()
                && entry.key().0 <= self.now
            {
                match entry.remove() {
                    Arrival::Datagram(node, bytes) => {
                        self.nodes[node].handle_datagram(SocketId(0), address(1 - node), &bytes, self.now);
                    }
                    Arrival::Segment(number) => self.arrive(self.now + DELAY, Arrival::Ack(number)),
                    Arrival::Ack(number) => self.tcp.handle_ack(number, self.now),
                }
            }
        }
    }

    fn drive(&mut self) {
        let mut out = Vec::new();
        while let Some(number) = self.tcp.poll(self.now) {
            if let Some(at) = self.enqueue(SEGMENT) {
                self.arrive(at, Arrival::Segment(number));
            }
        }
        for (stream, _) in &self.streams {
            while self.nodes[0].stats(*stream).is_some_and(|stats| stats.queued < CHUNK)
                && self.nodes[0].write(*stream, Bytes::from_static(&[0; CHUNK])).is_ok()
            {}
        }
        for node in 0..2 {
            while let Some((id, event)) = self.nodes[node].poll_event(self.now) {
                if let Event::Stream(StreamEvent::Data(bytes)) = event {
                    *self.received.entry(id).or_default() += bytes.len() as u64;
                    self.nodes[node].consumed(id, bytes.len() as u64).unwrap();
                }
            }
            while let Some(transmit) = self.nodes[node].poll_transmit(16, &mut out, self.now) {
                for datagram in out.chunks(transmit.segment) {
                    let at =
                        if node == 0 { self.enqueue(datagram.len() + 28) } else { Some(self.now + DELAY) };
                    if let Some(at) = at {
                        self.arrive(at, Arrival::Datagram(1 - node, datagram.to_vec()));
                    }
                }
            }
        }
    }

    /// Puts a packet into the queue and returns when it arrives, unless there is no room.
    fn enqueue(&mut self, len: usize) -> Option<Instant> {
        let backlog = self.busy_until.duration_since(self.now).as_secs_f64() * RATE;
        if backlog > self.queue {
            return None;
        }
        self.busy_until = self.busy_until.max(self.now) + Duration::from_secs_f64(len as f64 / RATE);
        Some(self.busy_until + DELAY)
    }

    fn arrive(&mut self, at: Instant, arrival: Arrival) {
        self.counter += 1;
        self.in_transit.insert((at, self.counter), arrival);
    }
}

/// The sender of a TCP stream that always has something to send. Packets are numbered anew when they are sent again.
struct Cubic {
    is_open: bool,
    window: f64,
    threshold: f64,
    before_loss: f64,
    /// The window that Reno would have.
    friendly: f64,
    epoch: Option<Instant>,
    next: u64,
    in_flight: BTreeSet<u64>,
    delivered: u64,
    /// Losses below this number belong to the reduction that was made.
    recovers_at: u64,
    timeout_at: Option<Instant>,
}

impl Cubic {
    fn new() -> Self {
        Self {
            is_open: false,
            window: 10.0,
            threshold: f64::INFINITY,
            before_loss: 0.0,
            friendly: 0.0,
            epoch: None,
            next: 0,
            in_flight: BTreeSet::new(),
            delivered: 0,
            recovers_at: 0,
            timeout_at: None,
        }
    }

    fn delivered_bytes(&self) -> u64 {
        self.delivered * SEGMENT as u64
    }

    fn poll(&mut self, now: Instant) -> Option<u64> {
        if !self.is_open || self.in_flight.len() as f64 >= self.window.max(1.0) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.in_flight.insert(number);
        self.timeout_at.get_or_insert(now + TIMEOUT);
        Some(number)
    }

    fn handle_ack(&mut self, number: u64, now: Instant) {
        if !self.in_flight.remove(&number) {
            return;
        }
        self.delivered += 1;
        self.timeout_at = Some(now + TIMEOUT);
        if number >= self.recovers_at {
            self.grow(now);
        }
        // The path keeps the order, so three packets that overtook one prove that it is lost.
        let lost: Vec<u64> = self.in_flight.range(..number.saturating_sub(2)).copied().collect();
        for lost in lost {
            self.in_flight.remove(&lost);
            if lost >= self.recovers_at {
                self.recovers_at = self.next;
                self.before_loss = if self.window < self.before_loss {
                    self.window * (1.0 + BETA) / 2.0
                } else {
                    self.window
                };
                self.window = (self.window * BETA).max(2.0);
                (self.threshold, self.friendly, self.epoch) = (self.window, self.window, None);
            }
        }
    }

    fn grow(&mut self, now: Instant) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let elapsed = now.duration_since(epoch).as_secs_f64() + 2.0 * DELAY.as_secs_f64();
        let origin = (self.before_loss * (1.0 - BETA) / C).cbrt();
        let target = C * (elapsed - origin).powi(3) + self.before_loss;
        self.friendly += 3.0 * (1.0 - BETA) / (1.0 + BETA) / self.window;
        let step = ((target.min(1.5 * self.window) - self.window) / self.window).max(0.0);
        self.window = (self.window + step).max(self.friendly);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.in_flight.clear();
            (self.threshold, self.window) = ((self.window * BETA).max(2.0), 1.0);
            (self.recovers_at, self.timeout_at) = (self.next, None);
        }
    }
}

fn address(node: usize) -> Address {
    Address::new([10, 0, 0, 1 + u8::try_from(node).unwrap()], 1)
}

/// Bytes per second of the path.
const RATE: f64 = 2_000_000.0;

/// Time from one end to the other.
const DELAY: Duration = Duration::from_millis(20);

const HALF: Duration = Duration::from_secs(30);

/// Bytes of a packet of the TCP stream, with its headers.
const SEGMENT: usize = 1500;

const CHUNK: usize = 65_536;

/// Constants of RFC 9438.
const C: f64 = 0.4;
const BETA: f64 = 0.7;

const TIMEOUT: Duration = Duration::from_secs(1);
