//! Several replicators over links that delay and break, with a writer that appends and truncates: in the
//! end everybody has everything. Every failure names the seed that repeats it.

use std::collections::BTreeMap;

use hypertab_core::compact_encoding::Encode;
use hypertab_core::replicator::wire::Message;
use hypertab_core::replicator::{Local, PeerId, RangeWish, ReplicatorOptions, WishId};
use hypertab_core::time::{Duration, Instant};

use crate::support::replicator::{Job, Log, Node, content};

#[test]
fn everybody_ends_with_everything() {
    for seed in 0..150 {
        Simulation::new(seed).run();
    }
}

#[test]
fn a_sparse_swarm_completes_a_reader_that_no_one_can_serve_alone() {
    for seed in 0..20 {
        let mut simulation = Simulation::quiet(seed, 5, 700);
        let full = simulation.nodes[0].log.clone();
        for at in 1..4 {
            let log = &mut simulation.nodes[at].log;
            *log = full.clone();
            log.pair = None;
            for index in 0..700 {
                if index % 3 != at as u64 - 1 {
                    log.clear(index, 1);
                }
            }
        }
        let links = (1..4).map(|at| (at, 4)).collect();
        simulation.start(links);
        simulation.download(4);
        simulation.drive();

        assert_eq!(simulation.nodes[4].log.contiguous, 700, "seed {seed}");
        let work: usize = (1..4).map(|at| simulation.nodes[at].log.blocks.len()).sum();
        assert!(work < 800, "holders were not asked to download: seed {seed}");
    }
}

#[test]
fn a_list_of_blocks_and_single_blocks_are_found_wherever_they_are() {
    for seed in 0..20 {
        let mut simulation = Simulation::quiet(seed, 4, 300);
        let full = simulation.nodes[0].log.clone();
        for at in 1..3 {
            let log = &mut simulation.nodes[at].log;
            *log = full.clone();
            log.pair = None;
            log.clear(if at == 1 { 0 } else { 150 }, 150);
        }
        simulation.start(vec![(1, 3), (2, 3)]);
        let node = &mut simulation.nodes[3];
        let blocks = Some(vec![299, 3, 150, 149, 7, 3]);
        node.replicator.range(WishId(1), RangeWish { blocks, ..RangeWish::default() }, &node.log, node.now);
        node.pump();
        for (wish, block) in [(2, 0), (3, 298)] {
            simulation.nodes[3].get(wish, block);
        }
        simulation.drive();

        let have: Vec<u64> = simulation.nodes[3].log.blocks.keys().copied().collect();
        assert_eq!(have, [0, 3, 7, 149, 150, 298, 299], "seed {seed}");
        assert_eq!(simulation.nodes[3].resolved.len(), 3, "seed {seed}");
    }
}

#[test]
fn a_seek_ends_at_the_right_block() {
    for seed in 0..20 {
        let mut simulation = Simulation::quiet(seed, 3, 0);
        let blocks: Vec<_> = (0..300).map(|index| content(index, 1 + index as usize % 9)).collect();
        simulation.nodes[0].append(&blocks);
        simulation.start(vec![(0, 1), (0, 2), (1, 2)]);
        simulation.drive();
        let bytes = simulation.random.below(simulation.nodes[0].log.tree.byte_length);

        simulation.nodes[2].seek(9, bytes);
        simulation.drive();

        let mut rest = bytes as usize;
        let block = blocks.iter().take_while(|block| {
            block.len() <= rest && {
                rest -= block.len();
                true
            }
        });
        let block = block.count() as u64;
        let expected = hypertab_core::replicator::Resolution::Seek { block, offset: rest as u64 };
        assert_eq!(simulation.nodes[2].resolved[&WishId(9)], expected, "seed {seed} byte {bytes}");
    }
}

struct Simulation {
    seed: u64,
    random: Random,
    now: Instant,
    nodes: Vec<Node>,
    links: Vec<Link>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    next_peer: u64,
    has_job_event: Vec<bool>,
    bytes: usize,
}

struct Link {
    ends: [usize; 2],
    /// The channel at both ends; 0 while it is down.
    peer: u64,
    last: [Instant; 2],
}

#[allow(clippy::large_enum_variant)]
enum Event {
    Deliver { link: usize, to: usize, peer: u64, message: Message },
    Work { node: usize },
    Break { link: usize },
    Connect { link: usize },
    Append { count: u64 },
    Truncate,
    Clear { node: usize },
    Timer { node: usize },
}

impl Simulation {
    /// A random network and a random fate.
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let count = 2 + random.below(4) as usize;
        let blocks = random.below(400);
        let mut this = Self::with(seed, random, count, blocks);
        let mut links = Vec::new();
        for to in 1..count {
            links.push((this.random.below(to as u64) as usize, to));
        }
        for _ in 0..this.random.below(3) {
            let ends = (this.random.below(count as u64) as usize, this.random.below(count as u64) as usize);
            if ends.0 != ends.1 && !links.contains(&ends) && !links.contains(&(ends.1, ends.0)) {
                links.push(ends);
            }
        }
        this.start(links);
        for node in 1..count {
            this.download(node);
        }
        for _ in 0..this.random.below(8) {
            let count = 1 + this.random.below(40);
            this.schedule(5_000_000, Event::Append { count });
        }
        for _ in 0..this.random.below(3) {
            this.schedule(5_000_000, Event::Truncate);
        }
        for _ in 0..this.random.below(6) {
            let link = this.random.below(this.links.len() as u64) as usize;
            this.schedule(5_000_000, Event::Break { link });
        }
        if this.random.below(2) == 0 && count > 2 {
            let node = 1 + this.random.below(count as u64 - 1) as usize;
            this.schedule(3_000_000, Event::Clear { node });
        }
        this
    }

    fn quiet(seed: u64, count: usize, blocks: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self::with(seed, random, count, blocks)
    }

    fn with(seed: u64, mut random: Random, count: usize, blocks: u64) -> Self {
        let mut writer = Log::writer(1, random.below(3) == 0);
        if blocks > 0 {
            writer.append(&(0..blocks).map(|index| content(index, 3)).collect::<Vec<_>>());
        }
        let key = writer.key;
        let small_wants = random.below(2) == 0;
        let mut nodes = Vec::new();
        for at in 0..count {
            let mut log = if at == 0 { writer.clone() } else { Log::reader(key) };
            log.is_lazy = random.below(2) == 0;
            let options = ReplicatorOptions { small_wants, ..ReplicatorOptions::default() };
            let mut node = Node::new(log, options, seed as u8 ^ at as u8);
            node.replicator.set_active(true, &node.log, node.now);
            node.pump();
            nodes.push(node);
        }
        Self {
            seed,
            random,
            now: Instant::EPOCH,
            has_job_event: vec![false; count],
            nodes,
            links: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_peer: 0,
            bytes: 0,
        }
    }

    fn start(&mut self, links: Vec<(usize, usize)>) {
        for (at, ends) in links.into_iter().enumerate() {
            let last = [Instant::EPOCH; 2];
            self.links.push(Link { ends: [ends.0, ends.1], peer: 0, last });
            self.schedule(100_000, Event::Connect { link: at });
        }
    }

    fn download(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let linear = self.random.below(2) == 0;
        let range = RangeWish { linear, ..RangeWish::default() };
        node.replicator.range(WishId(1), range, &node.log, node.now);
        node.pump();
    }

    fn run(&mut self) {
        self.drive();
        let writer = &self.nodes[0].log;
        let cleared = self.nodes.iter().any(|node| node.log.contiguous != writer.contiguous);
        for (at, node) in self.nodes.iter().enumerate() {
            let (log, seed) = (&node.log, self.seed);
            assert_eq!(log.tree, writer.tree, "node {at} of seed {seed}");
            assert!(node.closed.is_empty(), "node {at} of seed {seed}: {:?}", node.closed);
            assert!(node.rejected.is_empty(), "node {at} of seed {seed}");
            for status in node.replicator.peers() {
                assert!(!status.is_paused && status.in_flight == 0, "node {at} of seed {seed}: {status:?}");
            }
            if !cleared || at == 0 {
                assert_eq!(log.blocks, writer.blocks, "node {at} of seed {seed}");
            }
            let verification = node.events.iter().find(|event| {
                matches!(event, hypertab_core::replicator::ReplicatorEvent::VerificationError { .. })
            });
            assert!(verification.is_none(), "node {at} of seed {seed}: {verification:?}");
        }
        if cleared {
            // Only what a node cleared itself may be missing, there and behind it: ranges count it as done.
            let missing: u64 =
                self.nodes.iter().map(|node| node.log.length() - node.log.blocks.len() as u64).sum();
            assert!(missing <= 30 * (self.nodes.len() as u64 - 1), "seed {} lacks {missing}", self.seed);
        }
    }

    fn drive(&mut self) {
        let mut steps = 0u64;
        self.collect();
        while let Some(((at, _), event)) = self.events.pop_first() {
            steps += 1;
            assert!(steps < 400_000, "seed {} never ends", self.seed);
            self.now = at;
            for node in &mut self.nodes {
                node.now = at;
            }
            self.handle(event);
            self.collect();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { link, to, peer, message } => {
                if self.links[link].peer == peer {
                    let node = self.links[link].ends[to];
                    self.nodes[node].receive(peer, message);
                }
            }
            Event::Work { node } => {
                self.has_job_event[node] = false;
                let count = 1 + self.random.below(8);
                for _ in 0..count {
                    if self.nodes[node].jobs.len() > 1 && self.random.below(4) == 0 {
                        self.shuffle_job(node);
                    }
                    self.nodes[node].work();
                }
            }
            Event::Break { link } => {
                let peer = std::mem::take(&mut self.links[link].peer);
                if peer == 0 {
                    return;
                }
                for node in self.links[link].ends {
                    let node = &mut self.nodes[node];
                    node.replicator.remove_peer(PeerId(peer), false, &node.log, node.now);
                    node.pump();
                }
                self.schedule(500_000, Event::Connect { link });
            }
            Event::Connect { link } => {
                if self.links[link].peer == 0 {
                    self.next_peer += 1;
                    self.links[link].peer = self.next_peer;
                    for node in self.links[link].ends {
                        self.nodes[node].add_peer(self.next_peer);
                    }
                }
            }
            Event::Append { count } => {
                let start = self.random.next();
                let blocks: Vec<_> = (0..count).map(|at| content(start.wrapping_add(at) % 1000, 4)).collect();
                self.nodes[0].append(&blocks);
            }
            Event::Truncate => {
                let length = self.nodes[0].log.tree.length;
                // Nobody can prove an empty log, so that readers would keep the old one until the next append.
                if length > 1 {
                    let length = 1 + self.random.below(length - 1);
                    self.nodes[0].truncate(length);
                }
            }
            Event::Clear { node } => {
                let length = self.nodes[node].log.tree.length;
                let start = self.random.below(length.max(1));
                let count = self.random.below(30).min(length - start);
                if count > 0 {
                    let change = self.nodes[node].log.clear(start, count);
                    self.nodes[node].changed(change);
                }
            }
            Event::Timer { node } => {
                let node = &mut self.nodes[node];
                node.replicator.handle_timeout(&node.log, node.now);
                node.pump();
            }
        }
    }

    /// Independent work may finish in another order.
    fn shuffle_job(&mut self, node: usize) {
        let jobs = &mut self.nodes[node].jobs;
        let is_free = |job: &Job| matches!(job, Job::Prove(..) | Job::CanUpgrade(..));
        if is_free(&jobs[0]) && is_free(&jobs[1]) {
            jobs.swap(0, 1);
        }
    }

    /// Puts what the nodes sent onto the links and lets them work.
    fn collect(&mut self) {
        for at in 0..self.nodes.len() {
            for (peer, message) in std::mem::take(&mut self.nodes[at].sent) {
                let link = self.links.iter().position(|link| link.peer == peer.0);
                let Some(link) = link else { continue };
                self.bytes += message.encoded_len();
                let to = usize::from(self.links[link].ends[0] == at);
                let delay = Duration::from_micros(1_000 + self.random.below(60_000));
                let due = (self.now + delay).max(self.links[link].last[to]);
                self.links[link].last[to] = due;
                self.next_event += 1;
                let event = Event::Deliver { link, to, peer: peer.0, message };
                self.events.insert((due, self.next_event), event);
            }
            if !self.nodes[at].jobs.is_empty() && !self.has_job_event[at] {
                self.has_job_event[at] = true;
                self.schedule(5_000, Event::Work { node: at });
            }
            if let Some(due) = self.nodes[at].replicator.poll_timeout() {
                self.next_event += 1;
                let due = due.max(self.now + Duration::from_micros(1));
                self.events.insert((due, self.next_event), Event::Timer { node: at });
            }
        }
    }

    fn schedule(&mut self, within: u64, event: Event) {
        self.next_event += 1;
        let due = self.now + Duration::from_micros(1 + self.random.below(within));
        self.events.insert((due, self.next_event), event);
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { (self.next() >> 11) % bound }
    }
}
