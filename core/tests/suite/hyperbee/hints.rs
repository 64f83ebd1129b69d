//! Counts what a lookup in a bee of another peer costs.
#![cfg(feature = "bee")]

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use hypertab_core::hyperbee::extension::{answer, ask_evidence, ask_get, ask_range, decode_extension, hints};
use hypertab_core::hyperbee::messages::CacheMessage;
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, BlockSource, Entry, Missing, Range, RangeCursor, ReadError, View, header_block,
};

#[test]
fn hints_make_a_lookup_one_round_trip_of_a_few_blocks() {
    let keys = std::env::var("BEE_KEYS").map_or(50_000, |keys| keys.parse().unwrap());
    for order in [Order::Sorted, Order::Reversed, Order::Steps(7919), Order::Scattered] {
        let owner = bee(keys, order);
        let version = owner.length();
        let mut cache = BlockCache::default();
        let (mut most, mut most_searched, mut most_trips, mut searched) = (0, 0, 0, 0);
        // Of keys that are there, and of others: how many took more than one wait.
        let mut late = [0, 0];

        for i in 0..1000 {
            let place = i * 104_729 % keys;
            let key = if i % 4 == 0 { Bytes::from(format!("k{place:09}x")) } else { key_of(place) };
            let expected = View::new(&owner, &mut cache, version).get(&key).unwrap();
            assert_eq!(expected.is_some(), i % 4 != 0);

            let ask = |question: Bytes, cache: &mut BlockCache| -> CacheMessage {
                let question = decode_extension(question).unwrap();
                let answers = answer(&question, &owner, cache, version);
                hints(decode_extension(answers[0].clone()).unwrap())
            };
            let evidence = ask(ask_evidence(version, &key), &mut cache);
            let touched = ask(ask_get(version, &key), &mut cache);

            let (found, trips, blocks) = remote_get(&owner, &key, &evidence);
            assert_eq!((&found, trips), (&expected, 1), "{key:?}");
            most = most.max(blocks);
            let (found, trips, blocks) = remote_get(&owner, &key, &touched);
            assert_eq!(&found, &expected, "{key:?}");
            most_searched = most_searched.max(blocks);
            most_trips = most_trips.max(trips);
            searched += blocks;
            late[usize::from(i % 4 == 0)] += usize::from(trips > 1);

            // Hints for another key, and those of a liar.
            let other = ask(ask_evidence(version, &key_of(place * 31 % keys)), &mut cache);
            assert_eq!(remote_get(&owner, &key, &other).0, expected);
            let lie = |n: u64| (n + 1) * 7_368_787 * (u64::try_from(i).unwrap() + 1) % version;
            let lies = CacheMessage {
                blocks: (0..40).map(lie).collect(),
                turns: (40..50).map(|n| lie(n) % 6).collect(),
                ..CacheMessage::default()
            };
            assert_eq!(remote_get(&owner, &key, &lies).0, expected);
            assert_eq!(remote_get(&owner, &key, &CacheMessage::default()).0, expected);
        }
        println!(
            "{keys} keys, {order:?}: {most} blocks; as searched: {most_searched} in {most_trips} trips at most, \
             {searched} for 1000; late {late:?} of [750, 250]"
        );
        assert!(most <= 12, "{most}");
        assert!(most_searched <= 12 && most_trips <= 2, "{most_searched} {most_trips}");
        // With the one for the root, that is two round trips in all but a few.
        assert!(late[0] <= 8 && late[1] <= 40, "{late:?}");
    }
}

#[test]
fn hints_make_a_short_list_one_round_trip() {
    let owner = bee(20_000, Order::Steps(7919));
    let version = owner.length();
    for reverse in [false, true] {
        let bound = Some(key_of(10_000));
        let (gte, lte) = if reverse { (None, bound) } else { (bound, None) };
        let range = Range { gte, lte, reverse, limit: Some(20), ..Range::default() };
        let mut cursor = RangeCursor::new(range);
        let question = decode_extension(ask_range(version, &cursor).unwrap()).unwrap();
        let answers = answer(&question, &owner, &mut BlockCache::default(), version);

        let reader = owner.sparse();
        for bytes in answers {
            reader.loaded.borrow_mut().extend(hints(decode_extension(bytes).unwrap()).blocks);
        }
        let mut cache = BlockCache::default();
        let mut found = Vec::new();
        while let Some(entry) = cursor.next(&mut View::new(&reader, &mut cache, version)).unwrap() {
            found.push(entry.key);
        }

        let expected = (0..20).map(|i| key_of(if reverse { 10_000 - i } else { 10_000 + i }));
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert!(ask_range(version, &cursor).is_none());
    }
}

#[test]
fn list_without_hints_asks_for_many_blocks_at_once() {
    let owner = bee(2000, Order::Steps(7));
    let reader = owner.sparse();
    let mut cache = BlockCache::default();
    let mut cursor = RangeCursor::new(Range::default());

    let (mut trips, mut count) = (0, 0);
    loop {
        match cursor.next(&mut View::new(&reader, &mut cache, owner.length())) {
            Ok(Some(_)) => count += 1,
            Ok(None) => break,
            Err(ReadError::Missing) => {
                trips += 1;
                reader.arrive();
            }
            Err(error) => panic!("{error}"),
        }
    }

    assert_eq!(count, 2000);
    assert!(trips < 500, "{trips}");
}

/// Looks up with hints. Returns the entry, the waits and the blocks.
fn remote_get(owner: &Core, key: &[u8], hints: &CacheMessage) -> (Option<Entry>, usize, usize) {
    let reader = owner.sparse();
    let mut cache = BlockCache::default();
    // It comes with the hints: it is asked for together with the question.
    reader.loaded.borrow_mut().insert(owner.length() - 1);
    for trips in 0.. {
        match View::new(&reader, &mut cache, owner.length()).get_hinted(key, hints) {
            Ok(found) => return (found, trips, reader.loaded.borrow().len()),
            Err(ReadError::Missing) => reader.arrive(),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it ends")
}

/// In which order keys are put.
#[derive(Clone, Copy, Debug)]
enum Order {
    Sorted,
    Reversed,
    Steps(usize),
    Scattered,
}

impl Order {
    fn place(self, i: usize, keys: usize) -> usize {
        match self {
            Self::Sorted => i,
            Self::Reversed => keys - 1 - i,
            Self::Steps(step) => i * step % keys,
            Self::Scattered => {
                let bits = usize::BITS - (keys - 1).leading_zeros();
                let mut place = i;
                // Walks the cycle of a permutation of a power of two until it is back among the keys.
                loop {
                    for round in 0..4 {
                        place = place.wrapping_mul(0x9e37_79b1 | 1).wrapping_add(round) & ((1 << bits) - 1);
                        place ^= place >> (bits / 2);
                    }
                    if place < keys {
                        return place;
                    }
                }
            }
        }
    }
}

fn bee(keys: usize, order: Order) -> Core {
    let mut core = Core { blocks: vec![header_block(None)] };
    let mut cache = BlockCache::default();
    for first in (0..keys).step_by(500) {
        let mut batch = BatchWriter::new(core.length(), true);
        for i in first..keys.min(first + 500) {
            batch
                .put(&core, &mut cache, key_of(order.place(i, keys)), Some(Bytes::from_static(b"value")))
                .unwrap();
        }
        core.blocks.extend(batch.finish());
    }
    core
}

fn key_of(i: usize) -> Bytes {
    format!("k{i:09}").into()
}

struct Core {
    blocks: Vec<Bytes>,
}

impl Core {
    fn length(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap()
    }

    fn sparse(&self) -> Sparse<'_> {
        Sparse { core: self, loaded: RefCell::default(), wanted: RefCell::default() }
    }
}

impl BlockSource for Core {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        usize::try_from(seq).ok().and_then(|seq| self.blocks.get(seq)).cloned().ok_or(Missing)
    }
}

/// A peer of a core that has no blocks at first.
struct Sparse<'a> {
    core: &'a Core,
    loaded: RefCell<BTreeSet<u64>>,
    wanted: RefCell<BTreeSet<u64>>,
}

impl Sparse<'_> {
    fn arrive(&self) {
        let wanted = self.wanted.take();
        assert!(!wanted.is_empty());
        self.loaded.borrow_mut().extend(wanted);
    }
}

impl BlockSource for Sparse<'_> {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        if self.loaded.borrow().contains(&seq) {
            return self.core.block(seq);
        }
        self.wanted.borrow_mut().insert(seq);
        Err(Missing)
    }
}
