//! A writer and readers that are cut off, crash, lose commits and meet again: in the end all agree, and no reader ever
//! knows of a block that its writer forgot.

use std::collections::BTreeMap;

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::{Intent, MemoryStore, StoreId};
use hypertab_core::time::{Duration, Instant};

use crate::support::sim::{Host, Random, block};

#[test]
fn everybody_agrees_after_crashes_and_cuts() {
    for seed in 1..=100 {
        Network::new(seed).run(150);
    }
}

struct Network {
    seed: u64,
    random: Random,
    now: Instant,
    key: [u8; 32],
    nodes: Vec<Node>,
    /// Wires by their two ends, node and link.
    wires: Vec<((usize, LinkId), (usize, LinkId))>,
    next_seed: u8,
    /// The log as its writer meant it.
    appended: u64,
}

struct Node {
    host: Host,
    store: StoreId,
    core: CoreId,
}

impl Network {
    fn new(seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut writer = Host::new(1);
        let store = writer.store(MemoryStore::new());
        let core = writer.open(store, OpenCore::default());
        let key = writer.engine.core(core).unwrap().key();
        let now = writer.now;
        let mut network = Self {
            seed,
            random,
            now,
            key,
            nodes: vec![Node { host: writer, store, core }],
            wires: Vec::new(),
            next_seed: 10,
            appended: 0,
        };
        for _ in 0..2 {
            network.start(None, MemoryStore::new());
        }
        network
    }

    /// Starts a node, in the place of another or in a new one.
    fn start(&mut self, place: Option<usize>, data: MemoryStore) {
        self.next_seed = self.next_seed.wrapping_add(1);
        let mut host = Host::new(self.next_seed);
        host.now = self.now;
        let store = host.store(data);
        let key = if place == Some(0) { None } else { Some(self.key) };
        let core = OpenOptions { key, ..OpenOptions::default() };
        let core = host.open(store, OpenCore { core, ..OpenCore::default() });
        if place != Some(0) {
            let now = host.now;
            host.engine.core(core).unwrap().download(RangeWish::default(), now);
        }
        let node = Node { host, store, core };
        match place {
            Some(place) => self.nodes[place] = node,
            None => self.nodes.push(node),
        }
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            match self.random.below(12) {
                0..=2 => self.append(),
                3 if self.random.below(3) == 0 => self.truncate(),
                4 | 5 => self.connect(),
                6 if self.random.below(3) == 0 => self.cut(),
                7 if self.random.below(3) == 0 => {
                    let place = self.random.below(3) as usize;
                    self.crash(place);
                }
                8 => self.clear(),
                _ => {}
            }
            for _ in 0..self.random.below(30) {
                self.step();
            }
            if self.random.below(5) == 0 {
                self.wait(Duration::from_millis(self.random.clone().below(3000)));
            }
        }
        self.converge();
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(12);
        let blocks: Vec<Bytes> = (0..count).map(|at| block(self.appended + at, 20)).collect();
        self.appended += count;
        let writer = &mut self.nodes[0];
        writer.host.engine.core(writer.core).unwrap().append(blocks, AppendOptions::default());
    }

    fn truncate(&mut self) {
        let writer = &mut self.nodes[0];
        let mut handle = writer.host.engine.core(writer.core).unwrap();
        let length = self.random.below(handle.staged_length() + 1);
        handle.truncate(length, TruncateOptions::default());
    }

    fn clear(&mut self) {
        let place = 1 + self.random.below(2) as usize;
        let reader = &mut self.nodes[place];
        let mut handle = reader.host.engine.core(reader.core).unwrap();
        let start = self.random.below(handle.length() + 1);
        let end = start + self.random.below(5);
        handle.clear(start, end);
    }

    fn connect(&mut self) {
        let left = self.random.below(3) as usize;
        let right = (left + 1 + self.random.below(2) as usize) % 3;
        let is_there = |((a, _), (b, _)): &((usize, LinkId), (usize, LinkId))| {
            (*a == left && *b == right) || (*a == right && *b == left)
        };
        if !self.wires.iter().any(is_there) {
            self.wire(left, right);
        }
    }

    fn wire(&mut self, left: usize, right: usize) {
        let (seed, now) = (self.next_seed, self.now);
        self.next_seed = self.next_seed.wrapping_add(2);
        let ends = [(left, Role::Initiator, seed), (right, Role::Responder, seed.wrapping_add(1))];
        let [a, b] = ends.map(|(place, role, seed)| {
            let node = &mut self.nodes[place];
            let link = node.host.link(role, seed);
            node.host.engine.attach(node.core, link, now).unwrap();
            (place, link)
        });
        self.wires.push((a, b));
    }

    fn cut(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let index = self.random.below(self.wires.len() as u64) as usize;
        let (a, b) = self.wires.swap_remove(index);
        for (place, link) in [a, b] {
            self.nodes[place].host.engine.handle_input(Input::LinkClosed { link, reason: None }, self.now);
        }
    }

    /// Ends a process. The commit in flight is lost, or stored without anybody knowing.
    fn crash(&mut self, place: usize) {
        let gone: Vec<_> =
            self.wires.iter().filter(|((a, _), (b, _))| *a == place || *b == place).copied().collect();
        self.wires.retain(|wire| !gone.contains(wire));
        for end in gone.into_iter().flat_map(|(a, b)| [a, b]).filter(|(other, _)| *other != place) {
            let input = Input::LinkClosed { link: end.1, reason: None };
            self.nodes[end.0].host.engine.handle_input(input, self.now);
        }
        let node = &mut self.nodes[place];
        node.host.drain();
        let disk = node.host.disks.remove(&node.store).unwrap();
        let mut data = disk.data;
        if self.random.below(2) == 0 {
            for intent in disk.waiting {
                if let Intent::Commit { batch, .. } = intent {
                    data.apply(batch);
                }
            }
        }
        self.start(Some(place), data);
        self.check_heads();
    }

    /// No reader knows more than its writer.
    fn check_heads(&mut self) {
        let heads: Vec<(u64, u64)> = self.nodes.iter_mut().map(Node::head).collect();
        for head in &heads[1..] {
            assert!(*head <= heads[0], "seed {}: {head:?} after {:?}", self.seed, heads[0]);
        }
    }

    fn step(&mut self) -> bool {
        for node in &mut self.nodes {
            node.host.drain();
            // A truncation fails when one before it left less than it wanted to keep.
            let failed = node.host.done.values().filter_map(|result| result.as_ref().err());
            let failed: Vec<_> =
                failed.filter(|error| !matches!(error, Error::InvalidOperation(_))).collect();
            assert!(failed.is_empty(), "seed {}: {failed:?}", self.seed);
        }
        let choices = self.nodes.len() + 2 * self.wires.len();
        let start = self.random.below(choices as u64) as usize;
        (0..choices).any(|turn| {
            let choice = (start + turn) % choices;
            match choice.checked_sub(self.nodes.len()) {
                None => self.nodes[choice].host.step_disk(&mut self.random),
                Some(end) => {
                    let (a, b) = self.wires[end / 2];
                    if end % 2 == 0 { self.carry(a, b) } else { self.carry(b, a) }
                }
            }
        })
    }

    fn carry(&mut self, from: (usize, LinkId), to: (usize, LinkId)) -> bool {
        let wire = self.nodes[from.0].host.wires.entry(from.1).or_default();
        let Some(mut bytes) = wire.pop_front() else { return false };
        if bytes.len() > 1 && self.random.below(3) == 0 {
            wire.push_front(bytes.split_off(1 + self.random.below(bytes.len() as u64 - 1) as usize));
        }
        let credit = Input::Credit { link: from.1, bytes: bytes.len() as u64 };
        self.nodes[from.0].host.engine.handle_input(credit, self.now);
        self.nodes[to.0].host.engine.handle_input(Input::Bytes { link: to.1, bytes }, self.now);
        true
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        for node in &mut self.nodes {
            node.host.now = self.now;
            node.host.engine.handle_input(Input::Timeout, self.now);
        }
    }

    /// Connects everybody and waits until all have what the writer has.
    fn converge(&mut self) {
        while !self.wires.is_empty() {
            self.cut();
        }
        for place in [1, 2] {
            self.crash(place);
        }
        // A log that was emptied proves nothing to anybody until it grows again.
        self.append();
        for (left, right) in [(0, 1), (1, 2), (2, 0)] {
            self.wire(left, right);
        }
        let deadline = self.now + Duration::from_secs(300);
        loop {
            while self.step() {}
            let heads: Vec<(u64, u64)> = self.nodes.iter_mut().map(Node::head).collect();
            let whole = self.nodes.iter_mut().all(|node| {
                let core = node.core;
                let handle = node.host.engine.core(core).unwrap();
                handle.contiguous_length() == handle.length()
            });
            if whole && heads.iter().all(|head| *head == heads[0]) {
                break;
            }
            let wake = self.nodes.iter().filter_map(|node| node.host.wake_at).min();
            let wake = wake.filter(|at| *at < deadline);
            let wake = wake.unwrap_or_else(|| panic!("seed {}: {heads:?} and nothing happens", self.seed));
            self.wait(wake.duration_since(self.now).max(Duration::from_micros(1)));
        }
        let hash = self.nodes[0].tree_hash();
        let log = self.nodes[0].log();
        for node in &mut self.nodes[1..] {
            assert_eq!(node.tree_hash(), hash, "seed {}", self.seed);
            assert_eq!(node.log(), log, "seed {}", self.seed);
            let liars = node.host.events.iter().filter(|event| {
                matches!(event, Event::VerificationError { error, .. } if *error == ApplyError::Invalid)
            });
            assert_eq!(liars.count(), 0, "seed {}: an honest peer was blamed", self.seed);
        }
    }
}

impl Node {
    fn head(&mut self) -> (u64, u64) {
        let handle = self.host.engine.core(self.core).unwrap();
        (handle.fork(), handle.length())
    }

    fn tree_hash(&mut self) -> [u8; 32] {
        self.host.tree_hash(self.core)
    }

    fn log(&mut self) -> BTreeMap<u64, Bytes> {
        let (_, length) = self.head();
        (0..length).map(|index| (index, self.host.get_now(self.core, index).unwrap())).collect()
    }
}
