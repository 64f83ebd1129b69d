//! Bees against an ordered map: random writes, old versions, ranges and differences, over blocks that arrive
//! only once they were asked for.
#![cfg(feature = "bee")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use hypertab_core::hyperbee::messages::{Node, YoloIndex};
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, BlockSource, Change, DiffCursor, Difference, Entry, HistoryCursor, HistoryRange,
    Missing, Range, RangeCursor, ReadError, View, header_block,
};
use prost::Message;

use crate::support::bee::Random;

/// Key to block and value.
type Model = BTreeMap<Bytes, (u64, Option<Bytes>)>;

#[test]
fn bee_is_an_ordered_map_with_a_memory() {
    let seed = std::env::var("SEED").map_or(0xbee, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Random(seed);
    let mut core = Core::default();
    core.blocks.push(header_block(None));
    let mut cache = BlockCache::default();
    let mut model = Model::new();
    let mut versions = vec![(1, Model::new())];
    let mut changes = Vec::new();
    let mut operations = 0;

    while operations < 20_000 {
        let space = [20, 300, 3000][random.below(3)];
        let mut batch = BatchWriter::new(core.length(), random.below(8) > 0);
        for _ in 0..[1, 1, 1, random.below(60) + 1][random.below(4)] {
            operations += 1;
            write(&core, &mut cache, &mut batch, &mut model, &mut changes, &mut random, space);
        }
        if random.below(20) == 0 {
            check_reads(&core, &mut cache, &model, &mut random, Target::Batch(&batch));
        }
        core.blocks.extend(batch.finish());

        if random.below(40) == 0 {
            versions.push((core.length(), model.clone()));
            if versions.len() > 60 {
                versions.swap_remove(random.below(60));
            }
        }
        if random.below(10) == 0 {
            core.forget();
            cache.clear();
        }
        if random.below(10) == 0 {
            let (version, model) = &versions[random.below(versions.len())];
            check_reads(&core, &mut cache, model, &mut random, Target::Version(*version));
            check_difference(
                &core,
                &mut cache,
                &versions[random.below(versions.len())],
                &versions[random.below(versions.len())],
                &mut random,
            );
        }
    }

    for (version, _) in versions.iter().filter(|(version, _)| *version > 1).take(5) {
        let reachable = reachable(&core, *version);
        for seq in version.saturating_sub(500).max(1)..*version {
            let is_linked = core.wait(|| View::new(&core, &mut cache, *version).is_linked(seq, false));
            assert_eq!(is_linked, reachable.contains(&seq), "{seq} in {version}");
        }
    }

    let mut history = HistoryCursor::new(&HistoryRange::default(), core.length());
    for expected in changes {
        let version = core.length();
        let change = core.wait(|| history.next(&mut View::new(&core, &mut cache, version)));
        assert_eq!(change.map(|Change { is_deletion, entry }| (is_deletion, entry.key)), Some(expected));
    }
}

/// Returns the blocks that a version points to.
fn reachable(core: &Core, version: u64) -> BTreeSet<u64> {
    let level = |(seq, offset): (u64, u64)| {
        let node = Node::decode(core.blocks[usize::try_from(seq).unwrap()].clone()).unwrap();
        let index = YoloIndex::decode(node.index.unwrap()).unwrap();
        index.levels[usize::try_from(offset).unwrap()].clone()
    };
    let mut blocks = BTreeSet::new();
    let mut nodes = vec![(version - 1, 0)];
    while let Some(node) = nodes.pop() {
        let level = level(node);
        blocks.insert(node.0);
        blocks.extend(level.keys);
        nodes.extend(level.children.chunks(2).map(|child| (child[0], child[1])));
    }
    blocks
}

fn write(
    core: &Core,
    cache: &mut BlockCache,
    batch: &mut BatchWriter,
    model: &mut Model,
    changes: &mut Vec<(bool, Bytes)>,
    random: &mut Random,
    space: usize,
) {
    let key = Bytes::from(format!("{}", random.below(space)));
    let seq = batch.next_seq();
    let current = core.wait(|| batch.current(core, cache, &key));
    let expected =
        model.get(&key).map(|(seq, value)| Entry { seq: *seq, key: key.clone(), value: value.clone() });
    assert_eq!(current, expected);

    if random.below(10) == 0 && current.is_some() {
        core.wait(|| batch.refuse_put(core, cache, &key));
    } else if random.below(5) < 2 {
        let written = core.wait(|| batch.delete(core, cache, key.clone()));
        assert_eq!(written, model.remove(&key).is_some());
        if written {
            changes.push((true, key));
        }
    } else {
        let value = Some(Bytes::from(format!("{}", random.below(4))));
        let written = core.wait(|| batch.put(core, cache, key.clone(), value.clone()));
        if written {
            model.insert(key.clone(), (seq, value));
            changes.push((false, key));
        } else {
            assert_eq!(model[&key].1, value);
        }
    }
}

/// What to read.
#[derive(Clone, Copy)]
enum Target<'a> {
    Version(u64),
    Batch(&'a BatchWriter),
}

impl<'a> Target<'a> {
    fn view(self, core: &'a Core, cache: &'a mut BlockCache) -> View<'a> {
        match self {
            Self::Version(version) => View::new(core, cache, version),
            Self::Batch(batch) => View::of_batch(core, cache, batch),
        }
    }
}

fn check_reads(core: &Core, cache: &mut BlockCache, model: &Model, random: &mut Random, target: Target<'_>) {
    for _ in 0..10 {
        let key = Bytes::from(format!("{}", random.below(400)));
        let found = core.wait(|| target.view(core, cache).get(&key));
        assert_eq!(found.map(|entry| (entry.seq, entry.value)), model.get(&key).cloned(), "{key:?}");
    }
    for _ in 0..4 {
        let range = random_range(random);
        let bounds = bounds(&range);
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| is_in(&bounds, key))
            .map(|(key, (seq, value))| Entry { seq: *seq, key: key.clone(), value: value.clone() })
            .collect();
        if range.reverse {
            expected.reverse();
        }
        expected.truncate(range.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));

        let mut cursor = RangeCursor::new(range.clone());
        let mut found = Vec::new();
        while let Some(entry) = core.wait(|| cursor.next(&mut target.view(core, cache))) {
            found.push(entry);
            if let Target::Version(_) = target
                && random.below(20) == 0
            {
                let (rest, checkpoint) = (cursor.rest(), cursor.checkpoint());
                if cursor.is_done() {
                    break;
                }
                cursor = core
                    .wait(|| RangeCursor::resume(rest.clone(), &checkpoint, &mut target.view(core, cache)));
            }
        }
        assert_eq!(found, expected, "{range:?}");
    }
}

fn check_difference(
    core: &Core,
    cache: &mut BlockCache,
    (left_version, left): &(u64, Model),
    (right_version, right): &(u64, Model),
    random: &mut Random,
) {
    let range = Range { reverse: false, ..random_range(random) };
    let bounds = bounds(&range);
    let keys: BTreeSet<_> = left.keys().chain(right.keys()).filter(|key| is_in(&bounds, key)).collect();
    let entry = |model: &Model, key: &Bytes| {
        model.get(key).map(|(seq, value)| Entry { seq: *seq, key: key.clone(), value: value.clone() })
    };
    let expected: Vec<_> = keys
        .into_iter()
        .map(|key| Difference { left: entry(left, key), right: entry(right, key) })
        .filter(|difference| difference.left != difference.right)
        .take(range.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()))
        .collect();

    let mut cursor = DiffCursor::new(&range);
    let mut found = Vec::new();
    while let Some(difference) =
        core.wait(|| cursor.next(&mut View::new(core, cache, 0), (*left_version, *right_version)))
    {
        found.push(difference);
    }
    assert_eq!(found, expected, "{left_version} {right_version} {range:?}");
}

fn random_range(random: &mut Random) -> Range {
    let mut bound = |one_in: usize| {
        let key = random.below(3100);
        (random.below(one_in) == 0).then(|| Bytes::from(format!("{key}")))
    };
    let (gt, gte, lt, lte) = (bound(4), bound(4), bound(4), bound(4));
    let limit = (random.below(4) == 0).then(|| u64::try_from(random.below(30)).unwrap());
    Range {
        gte: gte.filter(|_| gt.is_none()),
        gt,
        lte: lte.filter(|_| lt.is_none()),
        lt,
        reverse: random.below(2) == 0,
        limit,
    }
}

fn bounds(range: &Range) -> (Bound<Bytes>, Bound<Bytes>) {
    let up = Range { reverse: false, ..range.clone() };
    let bound = |bound: Option<(&Bytes, bool)>| match bound {
        None => Bound::Unbounded,
        Some((key, true)) => Bound::Included(key.clone()),
        Some((key, false)) => Bound::Excluded(key.clone()),
    };
    (bound(up.start()), bound(up.end()))
}

fn is_in(bounds: &(Bound<Bytes>, Bound<Bytes>), key: &Bytes) -> bool {
    std::ops::RangeBounds::<Bytes>::contains(bounds, key)
}

/// A core whose blocks are loaded once they were asked for.
#[derive(Default)]
struct Core {
    blocks: Vec<Bytes>,
    loaded: RefCell<BTreeSet<u64>>,
    wanted: RefCell<BTreeSet<u64>>,
}

impl Core {
    fn length(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap()
    }

    fn forget(&self) {
        self.loaded.borrow_mut().clear();
    }

    /// Runs a read until it has all its blocks.
    fn wait<T>(&self, mut read: impl FnMut() -> Result<T, ReadError>) -> T {
        loop {
            match read() {
                Ok(done) => return done,
                Err(ReadError::Paused) => {}
                Err(ReadError::Missing) => {
                    let wanted = self.wanted.take();
                    assert!(!wanted.is_empty(), "missing what was not asked for");
                    self.loaded.borrow_mut().extend(wanted);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl BlockSource for Core {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        assert!(seq > 0 && seq < self.length(), "{seq}");
        if self.loaded.borrow().contains(&seq) {
            return Ok(self.blocks[usize::try_from(seq).unwrap()].clone());
        }
        self.wanted.borrow_mut().insert(seq);
        Err(Missing)
    }
}
