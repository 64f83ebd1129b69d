//! Engines with disks and wires that a test controls, in virtual time.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::*;
use hypertab_core::storage::{Intent, MemoryStore, StoreId};
use hypertab_core::time::{Duration, Instant};

/// xorshift64*
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound
    }
}

/// A disk: intents wait until the test lets them happen.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) data: MemoryStore,
    pub(crate) waiting: VecDeque<Intent>,
}

/// One engine and its surroundings.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) disks: BTreeMap<StoreId, Disk>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) done: BTreeMap<RequestId, Result<Response, Error>>,
    /// Bytes on their way out.
    pub(crate) wires: BTreeMap<LinkId, VecDeque<Bytes>>,
    pub(crate) closed: Vec<LinkId>,
    pub(crate) wake_at: Option<Instant>,
    pub(crate) commits: u64,
    pub(crate) reads: u64,
}

impl Host {
    pub(crate) fn new(seed: u8) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self {
            engine: Engine::new(Config::default(), [seed; 32], now),
            now,
            disks: BTreeMap::new(),
            events: VecDeque::new(),
            done: BTreeMap::new(),
            wires: BTreeMap::new(),
            closed: Vec::new(),
            wake_at: None,
            commits: 0,
            reads: 0,
        }
    }

    pub(crate) fn store(&mut self, data: MemoryStore) -> StoreId {
        let id = self.engine.create_store();
        self.disks.insert(id, Disk { data, waiting: VecDeque::new() });
        id
    }

    /// Takes what a peer sent over a link, and does what follows.
    pub(crate) fn receive(&mut self, link: LinkId, bytes: Bytes) {
        self.engine.handle_input(Input::Bytes { link, bytes }, self.now);
        self.settle();
    }

    /// Carries outputs away until the engine is idle.
    pub(crate) fn drain(&mut self) {
        loop {
            match self.engine.poll_output(self.now) {
                Output::Transmit { link, bytes } => self.wires.entry(link).or_default().push_back(bytes),
                Output::Storage { store, intent } => {
                    match &intent {
                        Intent::Commit { .. } => self.commits += 1,
                        _ => self.reads += 1,
                    }
                    self.disks.get_mut(&store).unwrap().waiting.push_back(intent);
                }
                Output::FinishLink { .. } => {}
                Output::CloseLink { link, .. } => self.closed.push(link),
                Output::Event(Event::Done { request, result }) => {
                    assert!(self.done.insert(request, result).is_none(), "{request:?} is done twice");
                }
                Output::Event(event) => self.events.push_back(event),
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
            }
        }
    }

    /// Carries out one waiting intent, chosen at random. Returns whether there was one.
    pub(crate) fn step_disk(&mut self, random: &mut Random) -> bool {
        let Some((id, disk)) = self.disks.iter_mut().find(|(_, disk)| !disk.waiting.is_empty()) else {
            return false;
        };
        let index = random.below(disk.waiting.len() as u64) as usize;
        let intent = disk.waiting.remove(index).unwrap();
        let outcome = disk.data.handle_intent(intent);
        let id = *id;
        self.engine.handle_input(Input::Storage { store: id, outcome }, self.now);
        self.drain();
        true
    }

    /// Runs until nothing moves, storage answering at once. Time stands still.
    pub(crate) fn settle(&mut self) {
        let mut random = Random(7);
        self.drain();
        while self.step_disk(&mut random) {}
    }

    pub(crate) fn settled(&mut self, request: RequestId) -> Result<Response, Error> {
        self.settle();
        self.done.remove(&request).unwrap_or_else(|| panic!("{request:?} is not done"))
    }

    pub(crate) fn open(&mut self, store: StoreId, options: OpenCore) -> CoreId {
        let (core, request) = self.engine.open_core(store, options, self.now);
        assert_eq!(self.settled(request), Ok(Response::Opened));
        core
    }

    pub(crate) fn append(&mut self, core: CoreId, blocks: &[&[u8]]) -> u64 {
        let blocks = blocks.iter().map(|block| Bytes::copy_from_slice(block)).collect();
        let request = self.engine.core(core).unwrap().append(blocks, AppendOptions::default());
        match self.settled(request) {
            Ok(Response::Appended { length, .. }) => length,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn get(&mut self, core: CoreId, index: u64) -> RequestId {
        let now = self.now;
        self.engine.core(core).unwrap().get(index, GetOptions::default(), now)
    }

    pub(crate) fn get_now(&mut self, core: CoreId, index: u64) -> Option<Bytes> {
        let now = self.now;
        let options = GetOptions { wait: false, ..GetOptions::default() };
        let request = self.engine.core(core).unwrap().get(index, options, now);
        match self.settled(request) {
            Ok(Response::Block(block)) => block,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn tree_hash(&mut self, core: CoreId) -> [u8; 32] {
        let now = self.now;
        let mut handle = self.engine.core(core).unwrap();
        let length = handle.length();
        let request = handle.tree_hash(length, now);
        match self.settled(request) {
            Ok(Response::TreeHash(hash)) => hash,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn link(&mut self, role: Role, seed: u8) -> LinkId {
        let options = LinkOptions {
            role,
            transport: Transport::Stream,
            security: Security::Noise { key_pair: KeyPair::from_seed(&[seed; 32]) },
            keep_alive: Some(Duration::from_secs(5)),
            timeout: None,
        };
        self.engine.open_link(options, self.now)
    }
}

/// Two hosts and a wire between them.
pub(crate) struct Pair {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) link_a: LinkId,
    pub(crate) link_b: LinkId,
    pub(crate) random: Random,
}

impl Pair {
    pub(crate) fn new(mut a: Host, mut b: Host, seed: u64) -> Self {
        let link_a = a.link(Role::Initiator, 101);
        let link_b = b.link(Role::Responder, 102);
        Self { a, b, link_a, link_b, random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) }
    }

    /// A writer with these blocks, and a reader that knows the key of its log: nothing is attached yet.
    pub(crate) fn of_log(blocks: Vec<Bytes>, seed: u64) -> (Self, CoreId, CoreId) {
        let mut writer = Host::new(1);
        let store = writer.store(MemoryStore::new());
        let core = writer.open(store, OpenCore::default());
        if !blocks.is_empty() {
            writer.engine.core(core).unwrap().append(blocks, AppendOptions::default());
            writer.settle();
        }
        let key = writer.engine.core(core).unwrap().key();
        let mut reader = Host::new(2);
        let store = reader.store(MemoryStore::new());
        let options = OpenOptions { key: Some(key), ..OpenOptions::default() };
        let copy = reader.open(store, OpenCore { core: options, ..OpenCore::default() });
        (Self::new(writer, reader, seed), core, copy)
    }

    /// Replicates a core of each over the wire.
    pub(crate) fn attach(&mut self, core: CoreId, copy: CoreId) {
        let now = self.a.now;
        self.a.engine.attach(core, self.link_a, now).unwrap();
        self.b.engine.attach(copy, self.link_b, now).unwrap();
    }

    /// Lets one random thing happen. Returns whether anything could.
    pub(crate) fn step(&mut self) -> bool {
        self.a.drain();
        self.b.drain();
        let start = self.random.below(4);
        for turn in 0..4 {
            let moved = match (start + turn) % 4 {
                0 => carry(&mut self.a, self.link_a, &mut self.b, self.link_b, &mut self.random),
                1 => carry(&mut self.b, self.link_b, &mut self.a, self.link_a, &mut self.random),
                2 => self.a.step_disk(&mut self.random),
                _ => self.b.step_disk(&mut self.random),
            };
            if moved {
                return true;
            }
        }
        false
    }

    /// Runs until `is_done`, letting time pass when nothing else happens.
    pub(crate) fn run_until(&mut self, what: &str, mut is_done: impl FnMut(&mut Self) -> bool) {
        let deadline = self.a.now + Duration::from_secs(120);
        loop {
            if is_done(self) {
                return;
            }
            if self.step() {
                continue;
            }
            let wake = self.a.wake_at.into_iter().chain(self.b.wake_at).min();
            let wake = wake.unwrap_or_else(|| panic!("{what}: nothing will ever happen"));
            assert!(wake < deadline, "{what}: not within two minutes");
            let now = wake.max(self.a.now);
            self.a.now = now;
            self.b.now = now;
            self.a.engine.handle_input(Input::Timeout, now);
            self.b.engine.handle_input(Input::Timeout, now);
        }
    }

    /// Runs until nothing moves at this moment.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }
}

/// Moves a random piece of what `from` wrote, and gives the credit back.
fn carry(from: &mut Host, from_link: LinkId, to: &mut Host, to_link: LinkId, random: &mut Random) -> bool {
    let Some(wire) = from.wires.get_mut(&from_link) else { return false };
    let Some(mut bytes) = wire.pop_front() else { return false };
    if bytes.len() > 1 && random.below(3) == 0 {
        let rest = bytes.split_off(1 + random.below(bytes.len() as u64 - 1) as usize);
        wire.push_front(rest);
    }
    let len = bytes.len() as u64;
    to.engine.handle_input(Input::Bytes { link: to_link, bytes }, to.now);
    from.engine.handle_input(Input::Credit { link: from_link, bytes: len }, from.now);
    from.drain();
    to.drain();
    true
}

pub(crate) fn block(index: u64, size: usize) -> Bytes {
    let mut bytes = vec![(index % 251) as u8; size];
    bytes[..8.min(size)].copy_from_slice(&index.to_le_bytes()[..8.min(size)]);
    bytes.into()
}
