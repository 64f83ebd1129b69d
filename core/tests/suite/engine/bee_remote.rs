//! What reads of a large remote bee fetch: blocks and round trips, between two engines.
#![cfg(feature = "bee")]

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::hyperbee::Range;
use hypertab_core::storage::MemoryStore;
use hypertab_core::time::Duration;

use crate::support::sim::{Host, Pair, Random};

/// Keys of the bee; `KEYS=1000000 cargo test -p hypertab-core --features bee --test suite engine::bee_remote` for more.
fn keys() -> u64 {
    std::env::var("KEYS").map_or(50_000, |keys| keys.parse().unwrap())
}

/// Blocks that a lookup fetches at most, however many keys there are below some millions: the nodes on the way, and the
/// key, or the keys beside the place where it is not.
const MOST_BLOCKS: usize = 12;

#[test]
fn lookup_fetches_about_the_height_of_the_tree_in_two_round_trips() {
    let count = keys();
    let mut scene = Scene::new(count, true);
    let mut random = Random(11);

    for i in 0..60 {
        let is_there = i % 4 > 0;
        let number = random.below(count);
        let key = if is_there { key(number) } else { [&key(number)[..], b"x"].concat().into() };
        let (entry, cost) = scene.get(key);
        assert_eq!(entry.is_some(), is_there);
        assert!(cost.blocks <= MOST_BLOCKS, "{cost:?} for {number}");
        assert!(cost.trips <= 2, "{cost:?} for {number}");
    }
}

#[test]
fn lookup_without_hints_goes_on_after_a_while_and_waits_for_none_again() {
    let mut scene = Scene::new(2000, false);

    let (entry, first) = scene.get(key(77));
    assert_eq!(entry.unwrap().value.as_deref(), Some(&b"value 77"[..]));
    assert!(first.took >= Duration::from_millis(30), "{first:?}");
    let now = scene.pair.b.now;
    let request = scene.pair.b.engine.bee_get(scene.bee, key(1999), BeeRead::default(), now);
    let (entry, second) = scene.measure(request);
    assert!(matches!(entry, BeeResponse::Entry(Some(_))));
    assert!(second.took < Duration::from_millis(30), "{second:?}");
}

#[test]
fn folder_of_a_bee_is_read_with_what_the_peer_names() {
    let count = keys();
    let mut scene = Scene::new(count, true);
    let range = Range { gte: Some(key(4000)), lt: Some(key(4020)), ..Range::default() };

    let (entries, cost) = scene.range(range);

    let expected: Vec<Bytes> = (4000..4020).map(key).collect();
    assert_eq!(entries, expected);
    assert!(cost.blocks <= 70, "{cost:?}");
    assert!(cost.trips <= 8, "{cost:?}");
}

#[test]
fn hints_that_are_wrong_cost_time_only() {
    let mut scene = Scene::new(2000, false);
    // Each with its length before it. A cache of the blocks 2000, 1, 7, 1999, 5 and one that there is not; bytes that are
    // no message; one that is shorter than it says.
    let lies = [
        Bytes::from_static(&[
            0x12, 0x0a, 0x10, 8, 1, 0x10, 0xff, 0x7f, 0x1a, 9, 0xd0, 0x0f, 1, 7, 0xcf, 0x0f, 5, 0xfe, 0x7f,
        ]),
        Bytes::from_static(b"\x08nonsense"),
        Bytes::from_static(b"nonsense"),
    ];
    for number in [0, 777, 1999] {
        let now = scene.pair.b.now;
        let request = scene.pair.b.engine.bee_get(scene.bee, key(number), BeeRead::default(), now);
        let peers = scene.pair.a.engine.core(scene.source).unwrap().peers();
        for lie in &lies {
            let mut core = scene.pair.a.engine.core(scene.source).unwrap();
            peers.iter().for_each(|(_, peer)| core.send_extension(peer.peer, "hyperbee", lie.clone()));
        }
        let found = scene.wait(request);
        let BeeResponse::Entry(Some(entry)) = found else { panic!("{found:?}") };
        assert_eq!(entry.value.as_deref(), Some(format!("value {number}").as_bytes()));
    }
}

/// What a read cost.
#[derive(Debug)]
struct Cost {
    blocks: usize,
    trips: usize,
    took: Duration,
}

/// A bee, and an empty copy of it at a distance.
struct Scene {
    pair: Pair,
    source: CoreId,
    copy: CoreId,
    bee: BeeId,
}

impl Scene {
    fn new(count: u64, extension: bool) -> Self {
        let mut writer = Host::new(1);
        let store = writer.store(MemoryStore::new());
        let source = writer.open(store, OpenCore::default());
        let options = BeeOptions { extension, ..BeeOptions::default() };
        let bee = writer.engine.open_bee(source, options).unwrap();
        // In the order of a shuffle: 7,919 is a prime.
        for start in (0..count).step_by(10_000) {
            let put = |i: u64| {
                let number = i * 7919 % count;
                BeeChange::Put(key(number), Some(format!("value {number}").into()))
            };
            let changes = (start..count.min(start + 10_000)).map(put).collect();
            let now = writer.now;
            let request = writer.engine.bee_write(bee, changes, now);
            writer.settled(request).unwrap();
        }
        let key = writer.engine.core(source).unwrap().key();
        let mut reader = Host::new(2);
        let store = reader.store(MemoryStore::new());
        let core = OpenOptions { key: Some(key), ..OpenOptions::default() };
        let copy = reader.open(store, OpenCore { core, ..OpenCore::default() });
        let bee = reader.engine.open_bee(copy, BeeOptions::default()).unwrap();
        let mut pair = Pair::new(writer, reader, 3);
        let now = pair.a.now;
        pair.a.engine.attach(source, pair.link_a, now).unwrap();
        pair.b.engine.attach(copy, pair.link_b, now).unwrap();
        pair.run_until("the head", |pair| pair.b.engine.core(copy).unwrap().length() > count);
        pair.settle();
        Self { pair, source, copy, bee }
    }

    fn get(&mut self, key: Bytes) -> (Option<hypertab_core::hyperbee::Entry>, Cost) {
        let now = self.begin();
        let request = self.pair.b.engine.bee_get(self.bee, key, BeeRead::default(), now);
        match self.measure(request) {
            (BeeResponse::Entry(entry), cost) => (entry, cost),
            other => panic!("{other:?}"),
        }
    }

    fn range(&mut self, range: Range) -> (Vec<Bytes>, Cost) {
        let now = self.begin();
        let request = self.pair.b.engine.bee_range(self.bee, range, BeeRead::default(), now);
        match self.measure(request) {
            (BeeResponse::Entries(entries, false), cost) => {
                (entries.into_iter().map(|entry| entry.key).collect(), cost)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Begins with a bee that knows nothing, over a core without blocks.
    fn begin(&mut self) -> hypertab_core::time::Instant {
        let host = &mut self.pair.b;
        let length = host.engine.core(self.copy).unwrap().length();
        let request = host.engine.core(self.copy).unwrap().clear(0, length);
        host.settled(request).unwrap();
        host.engine.close_bee(self.bee, host.now);
        self.bee = host.engine.open_bee(self.copy, BeeOptions::default()).unwrap();
        host.events.clear();
        self.pair.settle();
        self.pair.b.now
    }

    fn wait(&mut self, request: RequestId) -> BeeResponse {
        self.pair.run_until("an answer", |pair| pair.b.done.contains_key(&request));
        match self.pair.b.done.remove(&request).unwrap() {
            Ok(Response::Bee(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Carries messages only once their sender has nothing more to say, and counts how often the reader has.
    fn measure(&mut self, request: RequestId) -> (BeeResponse, Cost) {
        let begun = self.pair.b.now;
        let mut trips = 0;
        let mut is_done = false;
        while !is_done {
            self.pair.b.settle();
            is_done = self.pair.b.done.contains_key(&request);
            if is_done {
                break;
            }
            let sent = take(&mut self.pair.b, self.pair.link_b);
            if sent.is_empty() {
                self.pass_time();
                continue;
            }
            trips += 1;
            give(&mut self.pair.b, self.pair.link_b, &mut self.pair.a, self.pair.link_a, sent);
            self.pair.a.settle();
            let answer = take(&mut self.pair.a, self.pair.link_a);
            give(&mut self.pair.a, self.pair.link_a, &mut self.pair.b, self.pair.link_b, answer);
        }
        let took = self.pair.b.now.duration_since(begun);
        let response = self.wait(request);
        // What comes late counts too.
        self.pair.settle();
        let blocks =
            self.pair.b.events.iter().filter(|event| matches!(event, Event::Download { .. })).count();
        (response, Cost { blocks, trips, took })
    }

    fn pass_time(&mut self) {
        let wake = self.pair.a.wake_at.into_iter().chain(self.pair.b.wake_at).min();
        let now = wake.expect("something will happen").max(self.pair.b.now);
        for host in [&mut self.pair.a, &mut self.pair.b] {
            host.now = now;
            host.engine.handle_input(Input::Timeout, now);
            host.settle();
        }
    }
}

fn take(host: &mut Host, link: LinkId) -> Vec<Bytes> {
    host.wires.get_mut(&link).map(|wire| wire.drain(..).collect()).unwrap_or_default()
}

fn give(from: &mut Host, from_link: LinkId, to: &mut Host, to_link: LinkId, sent: Vec<Bytes>) {
    for bytes in sent {
        let len = bytes.len() as u64;
        to.engine.handle_input(Input::Bytes { link: to_link, bytes }, to.now);
        from.engine.handle_input(Input::Credit { link: from_link, bytes: len }, from.now);
    }
    from.drain();
    to.drain();
}

fn key(i: u64) -> Bytes {
    format!("key-{i:07}").into()
}
