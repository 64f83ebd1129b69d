//! How fast two engines are without a network and a disk: `engine-speed [blocks] [bytes of a block]`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant as Clock;

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    AppendOptions, Config, CoreId, Engine, Event, GetOptions, Input, LinkId, LinkOptions, OpenCore,
    OpenOptions, Output, RangeWish, RequestId, Response, Role, Security, Transport,
};
use hypertab_core::storage::{MemoryStore, StoreId};
use hypertab_core::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let count = arguments.next().unwrap_or(20_000);
    let size = arguments.next().unwrap_or(1024);
    let block = Bytes::from(vec![7; size]);

    let mut writer = Host::new(1);
    let core = writer.open(OpenOptions::default());
    let key = writer.engine.core(core).expect("just opened").key();
    measure("append, one call a block", count, size, || {
        for _ in 0..count {
            let mut handle = writer.engine.core(core).expect("open");
            handle.append(vec![block.clone()], AppendOptions::default());
        }
        writer.drain();
    });
    measure("append, one commit a block", count / 10, size, || {
        for _ in 0..count / 10 {
            let mut handle = writer.engine.core(core).expect("open");
            handle.append(vec![block.clone()], AppendOptions::default());
            writer.drain();
        }
    });
    measure("get, sequential", count, size, || {
        for index in 0..count as u64 {
            let now = writer.now();
            writer.engine.core(core).expect("open").get(index, GetOptions::default(), now);
            writer.drain();
        }
    });

    let mut reader = Host::new(2);
    let copy = reader.open(OpenOptions { key: Some(key), ..OpenOptions::default() });
    let (ours, theirs) = (writer.link(Role::Responder, core), reader.link(Role::Initiator, copy));
    let now = reader.now();
    let range = RangeWish { end: Some(count as u64), ..RangeWish::default() };
    let request = reader.engine.core(copy).expect("just opened").download(range, now);
    measure("replicate", count, size, || {
        while !reader.done.contains_key(&request) {
            writer.drain();
            writer.carry(ours, &mut reader, theirs);
            reader.drain();
            reader.carry(theirs, &mut writer, ours);
        }
    });
}

fn measure(what: &str, count: usize, size: usize, run: impl FnOnce()) {
    let start = Clock::now();
    run();
    let seconds = start.elapsed().as_secs_f64();
    let (blocks, bytes) = (count as f64 / seconds, (count * size) as f64 / seconds / 1e6);
    println!("{what:<28} {blocks:>10.0} blocks/s {bytes:>8.1} MB/s");
}

struct Host {
    engine: Engine,
    start: Clock,
    stores: BTreeMap<StoreId, MemoryStore>,
    wires: BTreeMap<LinkId, VecDeque<Bytes>>,
    done: BTreeMap<RequestId, Response>,
}

impl Host {
    fn new(seed: u8) -> Self {
        Self {
            engine: Engine::new(Config::default(), [seed; 32], Instant::EPOCH),
            start: Clock::now(),
            stores: BTreeMap::new(),
            wires: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.start.elapsed()
    }

    fn open(&mut self, core: OpenOptions) -> CoreId {
        let store = self.engine.create_store();
        self.stores.insert(store, MemoryStore::new());
        let now = self.now();
        let (core, _) = self.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, now);
        self.drain();
        core
    }

    fn link(&mut self, role: Role, core: CoreId) -> LinkId {
        let key_pair = KeyPair::from_seed(&[if role == Role::Initiator { 3 } else { 4 }; 32]);
        let (transport, security) = (Transport::Stream, Security::Noise { key_pair });
        let options = LinkOptions { role, transport, security, keep_alive: None, timeout: None };
        let now = self.now();
        let link = self.engine.open_link(options, now);
        self.engine.attach(core, link, now).expect("both are there");
        link
    }

    fn carry(&mut self, link: LinkId, other: &mut Self, other_link: LinkId) {
        while let Some(bytes) = self.wires.get_mut(&link).and_then(VecDeque::pop_front) {
            let credit = bytes.len() as u64;
            let now = other.now();
            other.engine.handle_input(Input::Bytes { link: other_link, bytes }, now);
            self.engine.handle_input(Input::Credit { link, bytes: credit }, now);
        }
    }

    fn drain(&mut self) {
        loop {
            let now = self.now();
            match self.engine.poll_output(now) {
                Output::Transmit { link, bytes } => self.wires.entry(link).or_default().push_back(bytes),
                Output::Storage { store, intent } => {
                    let disk = self.stores.get_mut(&store).expect("made with the store");
                    let outcome = disk.handle_intent(intent);
                    self.engine.handle_input(Input::Storage { store, outcome }, now);
                }
                Output::Event(Event::Done { request, result }) => {
                    self.done.insert(request, result.expect("nothing fails here"));
                }
                Output::Idle { .. } => return,
                _ => {}
            }
        }
    }
}
