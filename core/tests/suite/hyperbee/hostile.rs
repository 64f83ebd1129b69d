//! Bees that no correct writer makes: every read and write ends, with a result or an error.
#![cfg(feature = "bee")]

use bytes::Bytes;
use hypertab_core::hyperbee::extension::{answer, decode_extension};
use hypertab_core::hyperbee::hypertrie::{ListCursor, ListOptions, TrieHistory, TrieView};
use hypertab_core::hyperbee::messages::{CacheMessage, Extension, IteratorMessage, Level, Node, YoloIndex};
use hypertab_core::hyperbee::{
    BadBlock, BatchWriter, BlockCache, BlockSource, DiffCursor, HistoryCursor, HistoryRange, Missing,
    Problem, Range, RangeCursor, ReadError, View,
};
use prost::Message;

use crate::support::bee::Random;

#[test]
fn random_blocks_end_every_read() {
    let mut random = Random(0x5eed);
    for round in 0..3000 {
        let blocks = (0..8).map(|_| random.bytes(40)).collect();
        exercise(&Blocks(blocks), &format!("round {round}"));
    }
}

#[test]
fn damaged_trees_end_every_read() {
    let mut random = Random(0xbad);
    let good = good_blocks();
    for round in 0..3000 {
        let mut blocks = good.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(blocks.len() - 1) + 1;
            let mut block = blocks[place].to_vec();
            let at = random.below(block.len());
            block[at] = u8::try_from(random.below(256)).unwrap();
            blocks[place] = block.into();
        }
        exercise(&Blocks(blocks), &format!("round {round}"));
    }
}

#[test]
fn random_indexes_end_every_read() {
    let mut random = Random(0x1dea);
    for round in 0..3000 {
        let mut blocks = vec![Bytes::new()];
        for _ in 1..12 {
            let mut number = |below: usize| u64::try_from(random.below(below)).unwrap();
            let levels = (0..number(4) + 1)
                .map(|_| {
                    let keys: Vec<_> = (0..number(4)).map(|_| number(13)).collect();
                    let children = if number(3) == 0 { 0 } else { keys.len() + 1 };
                    Level {
                        keys,
                        children: (0..2 * children)
                            .map(|i| number(if i % 2 == 0 { 13 } else { 4 }))
                            .collect(),
                    }
                })
                .collect();
            blocks.push(block(&random.bytes(2), None, levels));
        }
        exercise(&Blocks(blocks), &format!("round {round}"));
    }
}

#[test]
fn node_that_is_its_own_child_is_refused() {
    let levels = vec![Level { keys: vec![], children: vec![1, 0] }];
    let blocks = Blocks(vec![Bytes::new(), block(b"k", Some(b"v"), levels)]);

    let found = View::new(&blocks, &mut BlockCache::default(), 2).get(b"other");

    assert_eq!(found, Err(ReadError::Invalid(BadBlock { seq: 1, problem: Problem::Cycle })));
}

#[test]
fn pointer_to_a_later_block_is_refused() {
    for levels in [
        vec![Level { keys: vec![9], children: vec![] }],
        vec![Level { keys: vec![], children: vec![u64::MAX, 0] }],
    ] {
        let blocks = Blocks(vec![Bytes::new(), block(b"k", None, levels)]);
        let found = View::new(&blocks, &mut BlockCache::default(), 2).get(b"other");
        assert_eq!(found, Err(ReadError::Invalid(BadBlock { seq: 1, problem: Problem::Cycle })));
    }
}

#[test]
fn circle_within_a_block_is_too_deep() {
    let level = |to| Level { keys: vec![], children: vec![1, to] };
    let blocks = Blocks(vec![Bytes::new(), block(b"k", Some(b"v"), vec![level(1), level(2), level(1)])]);
    let mut cache = BlockCache::default();

    let found = View::new(&blocks, &mut cache, 2).get(b"other");
    let hints = CacheMessage { blocks: vec![1], turns: vec![], ..CacheMessage::default() };
    let hinted = View::new(&blocks, &mut cache, 2).get_hinted(b"other", &hints);
    let listed = RangeCursor::new(Range::default()).next(&mut View::new(&blocks, &mut cache, 2));

    let error = ReadError::Invalid(BadBlock { seq: 1, problem: Problem::TooDeep });
    assert_eq!((found, hinted, listed), (Err(error), Err(error), Err(error)));
}

#[test]
fn tree_that_repeats_its_keys_does_not_go_on_for_ever() {
    // Each level has the next one as both its children: 2^20 ways, one key.
    let level = |to| Level { keys: vec![1], children: vec![1, to, 1, to] };
    let mut levels: Vec<_> = (1..20).map(level).collect();
    levels.push(Level { keys: vec![1], children: vec![] });
    let blocks = Blocks(vec![Bytes::new(), block(b"k", Some(b"v"), levels)]);
    let mut cache = BlockCache::default();
    let mut cursor = RangeCursor::new(Range::default());

    assert!(cursor.next(&mut View::new(&blocks, &mut cache, 2)).unwrap().is_some());
    let error = ReadError::Invalid(BadBlock { seq: 1, problem: Problem::Cycle });
    assert_eq!(cursor.next(&mut View::new(&blocks, &mut cache, 2)), Err(error));
}

#[test]
fn too_many_of_anything_is_refused() {
    let many = vec![Level { keys: vec![1; 1000], children: vec![] }];
    let uneven = vec![Level { keys: vec![1], children: vec![1, 1, 1] }];
    let long = vec![Level::default(); 100_000];
    let problems = [many, uneven, long].map(|levels| {
        let blocks = Blocks(vec![Bytes::new(), block(b"k", None, levels)]);
        View::new(&blocks, &mut BlockCache::default(), 2).get(b"other")
    });

    let [many, uneven, long] = problems.map(|found| match found {
        Err(ReadError::Invalid(bad)) => bad.problem,
        found => panic!("{found:?}"),
    });
    assert_eq!(many, Problem::TooLarge { limit: 8, found: 1000 });
    assert_eq!(uneven, Problem::Children { keys: 1, numbers: 3 });
    assert!(matches!(long, Problem::TooLarge { found: 200_000, .. }));
}

/// Runs everything that reads.
fn exercise(blocks: &Blocks, what: &str) {
    let length = u64::try_from(blocks.0.len()).unwrap();
    for version in [2, length - 1, length] {
        let mut cache = BlockCache::default();
        for key in [&b""[..], b"\x01", b"5", b"zz"] {
            let _ = View::new(blocks, &mut cache, version).get(key);
            let _ = View::new(blocks, &mut cache, version).evidence(key);
            let hints = CacheMessage {
                blocks: (0..length).collect(),
                turns: vec![1, 0, 9, 2],
                ..CacheMessage::default()
            };
            let _ = View::new(blocks, &mut cache, version).get_hinted(key, &hints);
            let mut batch = BatchWriter::new(version, true);
            let key = Bytes::copy_from_slice(key);
            let _ = batch.put(blocks, &mut cache, key.clone(), None);
            let _ = batch.delete(blocks, &mut cache, key.clone());
            let _ = batch.delete(blocks, &mut cache, "5".into());
            let _ = batch.put(blocks, &mut cache, "6".into(), Some(key));
            let _ = View::of_batch(blocks, &mut cache, &batch).get(b"5");
            let mut cursor = RangeCursor::new(Range::default());
            end(what, || cursor.next(&mut View::of_batch(blocks, &mut cache, &batch)));
            batch.finish();
        }
        for reverse in [false, true] {
            for start in [None, Some(Bytes::from_static(b"3"))] {
                let mut cursor = RangeCursor::new(Range { gte: start.clone(), reverse, ..Range::default() });
                end(what, || cursor.next(&mut View::new(blocks, &mut cache, version)));
                let mut cursor = DiffCursor::new(&Range { gt: start, ..Range::default() });
                end(what, || cursor.next(&mut View::new(blocks, &mut cache, 0), (version, length / 2)));
            }
            let mut cursor =
                HistoryCursor::new(&HistoryRange { reverse, ..HistoryRange::default() }, version);
            end(what, || cursor.next(&mut View::new(blocks, &mut cache, version)));
            let mut history = TrieHistory::new(None, None, reverse, version);
            end(what, || history.next(&TrieView::new(blocks, version)));
            let mut list = ListCursor::new("", ListOptions { reverse, ..ListOptions::default() });
            end(what, || list.next(&TrieView::new(blocks, version)));
        }
        for seq in 0..length {
            let _ = View::new(blocks, &mut cache, version).is_linked(seq, true);
        }
        let _ = TrieView::new(blocks, version).get("a/b", false);
        let iterator = IteratorMessage {
            version: Some(version),
            checkpoint: vec![version - 1, 0, 1, 1, 0, u64::MAX, u64::MAX, 7],
            ..IteratorMessage::default()
        };
        answer(&Extension { iterator: Some(iterator), ..Extension::default() }, blocks, &mut cache, version);
    }
    for block in &blocks.0 {
        if let Some(question) = decode_extension(block.clone()) {
            answer(&question, blocks, &mut BlockCache::default(), length);
        }
    }
}

/// Runs a walk to its end, which must come.
fn end<T>(what: &str, mut next: impl FnMut() -> Result<Option<T>, ReadError>) {
    for _ in 0..1000 {
        match next() {
            Ok(Some(_)) | Err(ReadError::Paused) => {}
            Ok(None) | Err(_) => return,
        }
    }
    panic!("{what}: no end");
}

fn good_blocks() -> Vec<Bytes> {
    let mut blocks = Blocks(vec![hypertab_core::hyperbee::header_block(None)]);
    let mut cache = BlockCache::default();
    for i in 0..40_u64 {
        let mut batch = BatchWriter::new(i + 1, true);
        let key = Bytes::from(format!("{}", i * 7 % 40));
        batch.put(&blocks, &mut cache, key.clone(), Some(key)).unwrap();
        blocks.0.extend(batch.finish());
    }
    blocks.0
}

fn block(key: &[u8], value: Option<&[u8]>, levels: Vec<Level>) -> Bytes {
    let bytes = Bytes::copy_from_slice;
    let index = Some(YoloIndex { levels }.encode_to_vec().into());
    Node { index, key: Some(bytes(key)), value: value.map(bytes) }.encode_to_vec().into()
}

struct Blocks(Vec<Bytes>);

impl BlockSource for Blocks {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        usize::try_from(seq).ok().and_then(|seq| self.0.get(seq)).cloned().ok_or(Missing)
    }
}
