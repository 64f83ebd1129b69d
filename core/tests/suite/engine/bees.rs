//! Bees of an engine: against an ordered map while the machine crashes, and fetched from a peer.
#![cfg(feature = "bee")]

use std::collections::BTreeMap;

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::hyperbee::{HistoryRange, Range};
use hypertab_core::storage::MemoryStore;

use crate::support::sim::{Host, Pair, Random};

type Model = BTreeMap<Bytes, Option<Bytes>>;

/// A store, the log in it and the bee over that.
struct Scene {
    host: Host,
    store: hypertab_core::storage::StoreId,
    core: CoreId,
    bee: BeeId,
}

impl Scene {
    fn open(seed: u8, data: MemoryStore, encryption: Option<EncryptionKey>) -> Self {
        let mut host = Host::new(seed);
        let store = host.store(data);
        let core = host.open(store, OpenCore::default());
        let bee = host.engine.open_bee(core, BeeOptions { encryption, ..BeeOptions::default() }).unwrap();
        Self { host, store, core, bee }
    }

    fn length(&mut self) -> u64 {
        self.host.engine.core(self.core).unwrap().length()
    }

    fn ask(&mut self, request: RequestId) -> BeeResponse {
        match self.host.settled(request) {
            Ok(Response::Bee(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, changes: Vec<BeeChange>) -> u64 {
        let now = self.host.now;
        let request = self.host.engine.bee_write(self.bee, changes, now);
        let BeeResponse::Written { version, .. } = self.ask(request) else { panic!("a write was asked for") };
        version
    }

    fn read(version: Option<u64>, page: usize) -> BeeRead {
        BeeRead { version, page, ..BeeRead::default() }
    }

    fn get(&mut self, key: &Bytes, version: Option<u64>) -> Option<Option<Bytes>> {
        let now = self.host.now;
        let request = self.host.engine.bee_get(self.bee, key.clone(), Self::read(version, 1), now);
        let BeeResponse::Entry(entry) = self.ask(request) else { panic!("a key was asked for") };
        entry.map(|entry| entry.value)
    }

    fn all(&mut self, mut range: Range, version: Option<u64>, page: usize) -> Model {
        let mut all = Model::new();
        loop {
            let now = self.host.now;
            let options = Self::read(version, page);
            let request = self.host.engine.bee_range(self.bee, range.clone(), options, now);
            let BeeResponse::Entries(entries, more) = self.ask(request) else { panic!("a range") };
            range.gt = entries.last().map(|entry| entry.key.clone());
            all.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
            if !more {
                return all;
            }
        }
    }

    fn diff(&mut self, left: u64, right: u64) -> Vec<(Option<Bytes>, Option<Bytes>)> {
        let now = self.host.now;
        let options = Self::read(Some(left), usize::MAX);
        let request = self.host.engine.bee_diff(self.bee, right, Range::default(), options, now);
        let BeeResponse::Differences(found, false) = self.ask(request) else { panic!("all differences") };
        found
            .into_iter()
            .map(|one| (one.left.map(|entry| entry.key), one.right.map(|entry| entry.key)))
            .collect()
    }
}

/// `BEE_OPS` and `SEED` choose a longer run: `npm run soak -- bee 100000 7`.
#[test]
fn bee_is_an_ordered_map_that_outlives_crashes() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (operations, seed) = (number("BEE_OPS", 4000), number("SEED", 0xbee));
    println!("SEED={seed} BEE_OPS={operations}");
    let mut random = Random(seed);
    let mut scene = Scene::open(1, MemoryStore::new(), None);
    let mut model = Model::new();
    let mut versions = vec![(1, Model::new())];
    let (mut done, mut crashes, mut lost, mut kept) = (0, 0, 0, 0);

    while done < operations {
        let before = (scene.length(), model.clone());
        let count = [1, 1, 1 + random.below(50)][random.below(3) as usize];
        let changes: Vec<_> = (0..count).map(|_| change(&mut random)).collect();
        for change in &changes {
            apply(&mut model, change);
        }
        done += count;
        if random.below(12) > 0 {
            let version = scene.write(changes);
            assert_eq!(version, scene.length().max(version));
        } else {
            // The power goes while it is written: all of it is there afterwards, or nothing.
            crashes += 1;
            let now = scene.host.now;
            scene.host.engine.bee_write(scene.bee, changes, now);
            scene.host.drain();
            for _ in 0..random.below(8) {
                scene.host.step_disk(&mut random);
            }
            let data = scene.host.disks.remove(&scene.store).unwrap().data;
            scene = Scene::open(2, data, None);
            let length = scene.length();
            let wrote = if length > before.0.max(1) { &model } else { &before.1 };
            assert_eq!(&scene.all(Range::default(), None, 64), wrote);
            if length > before.0.max(1) {
                kept += 1;
            } else {
                lost += 1;
                model = before.1;
            }
            versions.retain(|(version, _)| *version <= length.max(1));
        }

        if random.below(15) == 0 {
            versions.push((scene.length().max(1), model.clone()));
            if versions.len() > 24 {
                versions.swap_remove(random.below(24) as usize);
            }
        }
        if random.below(25) == 0 {
            let (version, old) = versions[random.below(versions.len() as u64) as usize].clone();
            let (right, other) = versions[random.below(versions.len() as u64) as usize].clone();
            let key = key(&mut random);
            assert_eq!(scene.get(&key, Some(version)), old.get(&key).cloned());
            assert_eq!(scene.all(Range::default(), Some(version), 50), old);
            for (left, right) in scene.diff(version, right) {
                let key = left.clone().or(right.clone()).unwrap();
                assert_eq!(
                    (left.is_some(), right.is_some()),
                    (old.contains_key(&key), other.contains_key(&key))
                );
            }
        }
        let key = key(&mut random);
        assert_eq!(scene.get(&key, None), model.get(&key).cloned());
    }

    println!("{crashes} crashes, {lost} writes lost, {kept} kept");
    // A run of a few operations may meet none.
    assert!(operations < 4000 || (crashes > 10 && lost > 0 && kept > 0));
    assert_eq!(scene.all(Range::default(), None, 100), model);
    let (gte, lt) = (Some(Bytes::from("k02")), Some(Bytes::from("k3")));
    let within = model.range(gte.clone().unwrap()..lt.clone().unwrap());
    let within: Model = within.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(scene.all(Range { gte, lt, ..Range::default() }, None, 7), within);
}

#[test]
fn peer_is_read_while_it_goes_on_writing() {
    for encryption in [None, Some(EncryptionKey { key: [5; 32].into(), is_block_key: false })] {
        let mut writer = Scene::open(1, MemoryStore::new(), encryption.clone());
        let put = |i: u64| BeeChange::Put(format!("k{i:05}").into(), Some(format!("v{i}").into()));
        writer.write((0..2000).map(put).collect());
        let key = writer.host.engine.core(writer.core).unwrap().key();
        let mut reader = Host::new(2);
        let store = reader.store(MemoryStore::new());
        let core = OpenOptions { key: Some(key), ..OpenOptions::default() };
        let copy = reader.open(store, OpenCore { core, ..OpenCore::default() });
        let bee = reader.engine.open_bee(copy, BeeOptions { encryption, ..BeeOptions::default() }).unwrap();
        let (core, source) = (writer.core, writer.bee);
        let mut pair = Pair::new(writer.host, reader, 3);
        let now = pair.a.now;
        pair.a.engine.attach(core, pair.link_a, now).unwrap();
        pair.b.engine.attach(copy, pair.link_b, now).unwrap();
        pair.run_until("the head", |pair| pair.b.engine.core(copy).unwrap().length() >= 2001);

        for i in [0, 777, 1999, 5000] {
            let now = pair.b.now;
            let request = pair.b.engine.bee_get(bee, format!("k{i:05}").into(), BeeRead::default(), now);
            pair.a.engine.bee_write(source, vec![put(10_000 + i)], now);
            pair.run_until("an entry", |pair| pair.b.done.contains_key(&request));
            let Ok(Response::Bee(BeeResponse::Entry(entry))) = pair.b.done.remove(&request).unwrap() else {
                panic!("an entry");
            };
            let expected = (i < 2000).then(|| Some(Bytes::from(format!("v{i}"))));
            assert_eq!(entry.map(|entry| entry.value), expected);
        }
        assert!(!pair.b.engine.core(copy).unwrap().has(1, 200), "only what was needed");

        let now = pair.b.now;
        let range = HistoryRange { gte: Some(-3), ..HistoryRange::default() };
        let request = pair.b.engine.bee_history(bee, range, BeeRead::default(), now);
        pair.run_until("history", |pair| pair.b.done.contains_key(&request));
        let Ok(Response::Bee(BeeResponse::Changes(changes, false))) = pair.b.done.remove(&request).unwrap()
        else {
            panic!("changes");
        };
        assert_eq!(changes.len(), 3);

        let now = pair.b.now;
        let away = BeeRead { wait: false, ..BeeRead::default() };
        let request = pair.b.engine.bee_get(bee, "k01234".into(), away, now);
        pair.run_until("a refusal", |pair| pair.b.done.contains_key(&request));
        assert!(matches!(pair.b.done.remove(&request).unwrap(), Err(Error::BlockNotAvailable { .. })));
        let request = pair.b.engine.bee_get(bee, "k00100".into(), BeeRead::default(), now);
        pair.b.engine.cancel(request, now);
        pair.run_until("an end", |pair| pair.b.done.contains_key(&request));
        assert_eq!(pair.b.done.remove(&request), Some(Err(Error::RequestCancelled)));
    }
}

#[test]
fn change_that_does_not_find_what_it_expects_is_refused() {
    let mut scene = Scene::open(1, MemoryStore::new(), None);
    let put_if = |value: &'static str, expected| BeeChange::PutIf("k".into(), Some(value.into()), expected);
    let changes = vec![
        put_if("too early", Expected::Seq(1)),
        put_if("first", Expected::Absent),
        put_if("too late", Expected::Absent),
        put_if("second", Expected::Value(Some("first".into()))),
        put_if("third", Expected::Seq(2)),
        BeeChange::DeleteIf("k".into(), Expected::Value(None)),
        BeeChange::Put("other".into(), None),
    ];

    let now = scene.host.now;
    let request = scene.host.engine.bee_write(scene.bee, changes, now);
    assert_eq!(scene.ask(request), BeeResponse::Written { version: 5, refused: vec![0, 2, 5] });
    assert_eq!(scene.get(&"k".into(), None), Some(Some("third".into())));

    let changes = vec![BeeChange::DeleteIf("k".into(), Expected::Seq(3)), BeeChange::Delete("none".into())];
    let request = scene.host.engine.bee_write(scene.bee, changes, now);
    assert_eq!(scene.ask(request), BeeResponse::Written { version: 6, refused: vec![] });
    assert_eq!(scene.get(&"k".into(), None), None);
}

#[test]
fn deleted_key_stays_away_when_a_node_of_its_put_is_met() {
    let mut scene = Scene::open(1, MemoryStore::new(), None);
    let put = |key: &'static str| BeeChange::Put(key.into(), Some(format!("value {key}").into()));
    // The put of 4 splits the root, and 4 goes up: the new leaf of 5 to 8 is in its block.
    for key in ["0", "1", "2", "3", "5", "6", "7", "8", "4", "05"] {
        scene.write(vec![put(key)]);
    }
    scene.write(vec![BeeChange::Delete("4".into())]);
    assert_eq!(scene.get(&"4".into(), None), None);

    // 3 took its place, so the way to 4 leads to that leaf.
    scene.write(vec![put("06")]);
    assert_eq!(scene.get(&"4".into(), None), None);
    scene.write(vec![put("4")]);
    assert_eq!(scene.get(&"4".into(), None), Some(Some("value 4".into())));
}

#[test]
fn cut_log_is_read_as_it_is_then() {
    let mut scene = Scene::open(1, MemoryStore::new(), None);
    let put = |i: u64, value: &'static str| BeeChange::Put(format!("k{i}").into(), Some(value.into()));
    for i in 0..30 {
        scene.write(vec![put(i, "old")]);
    }
    assert_eq!(scene.get(&"k29".into(), None), Some(Some("old".into())));

    let request = scene.host.engine.core(scene.core).unwrap().truncate(11, TruncateOptions::default());
    assert_eq!(scene.host.settled(request), Ok(Response::Done));
    assert_eq!(scene.get(&"k29".into(), None), None);
    for i in 0..30 {
        scene.write(vec![put(i, "new")]);
    }

    assert_eq!(scene.all(Range::default(), None, 9).len(), 30);
    assert!(scene.all(Range::default(), None, 9).values().all(|value| value.as_deref() == Some(b"new")));
    let now = scene.host.now;
    scene.host.engine.close_bee(scene.bee, now);
    let request = scene.host.engine.bee_get(scene.bee, "k1".into(), BeeRead::default(), now);
    assert_eq!(scene.host.settled(request), Err(Error::Closed));
}

fn key(random: &mut Random) -> Bytes {
    let space = [30, 900, 9000][random.below(3) as usize];
    format!("k{:04}", random.below(space)).into()
}

fn change(random: &mut Random) -> BeeChange {
    match random.below(12) {
        0..4 => BeeChange::Delete(key(random)),
        4 => BeeChange::Put(key(random), None),
        5 => BeeChange::DeleteIf(key(random), expected(random)),
        6 => BeeChange::PutIf(key(random), Some("if".into()), expected(random)),
        _ => BeeChange::Put(key(random), Some(random.below(1000).to_string().into())),
    }
}

fn expected(random: &mut Random) -> Expected {
    match random.below(3) {
        0 => Expected::Absent,
        1 => Expected::Value(None),
        _ => Expected::Value(Some("if".into())),
    }
}

fn apply(model: &mut Model, change: &BeeChange) {
    let is_met = |model: &Model, key: &Bytes, expected: &Expected| match expected {
        Expected::Absent => !model.contains_key(key),
        Expected::Value(value) => model.get(key) == Some(value),
        Expected::Seq(_) => unreachable!("the model knows no blocks"),
    };
    match change {
        BeeChange::PutIf(key, value, expected) => {
            if is_met(model, key, expected) {
                model.insert(key.clone(), value.clone());
            }
        }
        BeeChange::DeleteIf(key, expected) => {
            if is_met(model, key, expected) {
                model.remove(key);
            }
        }
        BeeChange::Put(key, value) => drop(model.insert(key.clone(), value.clone())),
        BeeChange::Delete(key) => drop(model.remove(key)),
    }
}
