//! Compares bees with upstream's: blocks, lookups, walks, differences, history and hints.
#![cfg(feature = "bee")]

use bytes::Bytes;
use hypertab_core::corestore::keys::{Namespace, key_pair, manifest};
use hypertab_core::crypto::{Node, blake2b_256, tree_hash};
use hypertab_core::hyperbee::extension::{answer, ask_get, decode_extension, hints};
use hypertab_core::hyperbee::keys::SEPARATOR;
use hypertab_core::hyperbee::messages::{CacheMessage, Extension, GetMessage, IteratorMessage, Metadata};
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, DiffCursor, HistoryCursor, HistoryRange, Prefix, Range, RangeCursor, View,
    decode_header, header_block, is_hyperbee,
};
use hypertab_core::hypercore::encryption::{BlockEncryption, KeyMode};
use prost::Message;
use serde_json::Value;

use crate::support::bee::{Blocks, apply, bytes, entry, optional, range};
use crate::support::common::{entries, hex, hex_fixed, load};

#[test]
fn scripted_blocks_are_the_same() {
    let vectors = load("hyperbee-basic");
    let mut blocks = Blocks::default();

    for op in entries(&vectors, "ops").iter().chain(entries(&vectors, "tail")) {
        apply(&mut blocks, op);
        assert_eq!(u64::try_from(blocks.len()).unwrap(), op["length"].as_u64().unwrap(), "{op}");
    }

    let expected = entries(&vectors, "blocks");
    for (seq, (found, expected)) in blocks.all().iter().zip(expected).enumerate() {
        assert_eq!(found, &hex(expected), "block {seq}");
    }
    assert_eq!(blocks.len(), expected.len());
    assert_eq!(tree_hash(&roots(&blocks)), hex_fixed(&vectors["core"]["treeHash"]));
}

#[test]
fn versions_list_their_entries() {
    let vectors = load("hyperbee-basic");
    let (blocks, mut cache) = (Blocks::of(entries(&vectors, "blocks")), BlockCache::default());

    for case in entries(&vectors, "iterations") {
        let version = case["version"].as_u64().unwrap();
        let expected = case["entries"].as_array().unwrap();

        let mut view = View::new(&blocks, &mut cache, version);
        let found = collect(&mut view, Range::default());
        assert_eq!(found, *expected, "version {version}");

        for expected in expected {
            let found = view.get(&hex(&expected[1])).unwrap().unwrap();
            assert_eq!(entry(&found), *expected, "version {version}");
            assert_eq!(entry(&view.get_by_seq(found.seq).unwrap()), *expected);
        }
        assert_eq!(view.get(b"never put").unwrap(), None);
    }
}

#[test]
fn differences_between_versions() {
    let vectors = load("hyperbee-basic");
    let (blocks, mut cache) = (Blocks::of(entries(&vectors, "blocks")), BlockCache::default());

    for case in entries(&vectors, "diffs") {
        let versions = (case["left"].as_u64().unwrap(), case["right"].as_u64().unwrap());
        let mut cursor = DiffCursor::new(&Range::default());
        let mut found = Vec::new();
        let mut view = View::new(&blocks, &mut cache, versions.0);
        while let Some(difference) = cursor.next(&mut view, versions).unwrap() {
            let side = |side: &Option<_>| side.as_ref().map_or(Value::Null, entry);
            found.push(serde_json::json!({
                "left": side(&difference.left),
                "right": side(&difference.right),
            }));
        }
        assert_eq!(found, *case["entries"].as_array().unwrap(), "{versions:?}");
    }
}

#[test]
fn history_tells_puts_from_deletes() {
    let vectors = load("hyperbee-basic");
    let (blocks, mut cache) = (Blocks::of(entries(&vectors, "blocks")), BlockCache::default());
    let version = u64::try_from(blocks.len()).unwrap();
    let mut view = View::new(&blocks, &mut cache, version);

    let mut cursor = HistoryCursor::new(&HistoryRange::default(), version);
    for expected in entries(&vectors, "history") {
        let change = cursor.next(&mut view).unwrap().unwrap();
        let Value::Array(mut found) = entry(&change.entry) else { unreachable!() };
        found.insert(1, if change.is_deletion { "del" } else { "put" }.into());
        assert_eq!(Value::Array(found), *expected);
    }
    assert_eq!(cursor.next(&mut view), Ok(None));

    for case in entries(&vectors, "historyOptions") {
        let options = &case["options"];
        let bound = |name: &str| options[name].as_i64();
        let range = HistoryRange {
            gt: bound("gt"),
            gte: bound("gte"),
            lt: bound("lt"),
            lte: bound("lte"),
            reverse: options["reverse"] == true,
            limit: options["limit"].as_u64(),
        };
        let mut cursor = HistoryCursor::new(&range, version);
        let mut found = Vec::new();
        while let Some(change) = cursor.next(&mut view).unwrap() {
            found.push(Value::from(change.entry.seq));
        }
        assert_eq!(found, *case["seqs"].as_array().unwrap(), "{options}");
    }
}

#[test]
fn ranges_and_parts() {
    let vectors = load("hyperbee-basic");
    let (blocks, mut cache) = (Blocks::of(entries(&vectors, "blocks")), BlockCache::default());

    for case in entries(&vectors, "ranges") {
        let mut view = View::new(&blocks, &mut cache, case["version"].as_u64().unwrap());
        let found = collect(&mut view, range(&case["options"]));
        let keys: Vec<_> = found.iter().map(|entry| entry[1].clone()).collect();
        assert_eq!(keys, *case["keys"].as_array().unwrap(), "{}", case["options"]);
    }
    for case in entries(&vectors, "subs") {
        let path = case["path"].as_array().unwrap();
        let prefix = path.iter().fold(Prefix::default(), |prefix, name| {
            prefix.sub(name.as_str().unwrap().as_bytes(), &SEPARATOR)
        });
        assert_eq!(prefix.as_bytes(), &hex(&case["prefix"]));

        let mut view = View::new(&blocks, &mut cache, case["version"].as_u64().unwrap());
        let mut cursor = RangeCursor::new(prefix.range(&Range::default()));
        let mut found = Vec::new();
        while let Some(mut next) = cursor.next(&mut view).unwrap() {
            next.key = prefix.decode(&next.key).unwrap();
            found.push(entry(&next));
        }
        assert_eq!(found, *case["entries"].as_array().unwrap(), "{path:?}");
    }
}

#[test]
fn cold_lookups_touch_the_same_blocks() {
    let vectors = load("hyperbee-basic");

    for case in entries(&vectors, "traces") {
        let (blocks, mut cache) = (Blocks::of(entries(&vectors, "blocks")), BlockCache::default());
        let mut view = View::new(&blocks, &mut cache, case["version"].as_u64().unwrap());

        let found = view.get(&hex(&case["key"])).unwrap();

        assert_eq!(found.as_ref().map_or(Value::Null, entry), case["result"]);
        assert_eq!(Value::from(blocks.asked()), case["seqs"], "{case}");
    }
}

#[test]
fn stress_runs_hash_the_same() {
    for run in entries(&load("hyperbee-stress"), "runs") {
        let number = |name: &str| u32::try_from(run[name].as_u64().unwrap()).unwrap();
        let mut random = xorshift32(number("seed"));
        let (mut blocks, mut cache) = (Blocks::default(), BlockCache::default());
        blocks.append([header_block(None)]);
        let mut batch = None;

        for i in 0..number("ops") {
            let writer = batch.get_or_insert_with(|| BatchWriter::new(blocks.version(), true));
            let key = format!("key-{}", random(number("space"))).into();
            if random(number("delOneIn")) == 0 {
                writer.delete(&blocks, &mut cache, key).unwrap();
            } else {
                writer.put(&blocks, &mut cache, key, Some(format!("value-{i}").into())).unwrap();
            }
            if (i + 1) % number("batch") == 0 {
                append(&mut blocks, batch.take());
            }
            for checkpoint in run["checkpoints"].as_array().unwrap() {
                if checkpoint["ops"] == i + 1 && batch.is_none() {
                    assert_eq!(checkpoint["length"], blocks.len());
                    assert_eq!(
                        tree_hash(&roots(&blocks)),
                        hex_fixed(&checkpoint["treeHash"]),
                        "{checkpoint}"
                    );
                }
            }
        }
        append(&mut blocks, batch);

        assert_blocks(&blocks, run);
        let mut view = View::new(&blocks, &mut cache, u64::try_from(blocks.len()).unwrap());
        let mut cursor = RangeCursor::new(Range::default());
        let (mut listed, mut count) = (Vec::new(), 0);
        while let Some(entry) = cursor.next(&mut view).unwrap() {
            listed.extend([&entry.key[..], &[0], &entry.value.unwrap()[..], &[0]].concat());
            count += 1;
        }
        assert_eq!(run["count"], count);
        assert_eq!(blake2b_256(&[&listed]), hex_fixed(&run["entriesHash"]));
    }
}

#[test]
fn refused_and_equal_puts_leave_the_same_marks() {
    for run in entries(&load("hyperbee-batches"), "runs") {
        let number = |name: &str| u32::try_from(run[name].as_u64().unwrap()).unwrap();
        let mut random = xorshift32(number("seed"));
        let (mut blocks, mut cache) = (Blocks::default(), BlockCache::default());
        blocks.append([header_block(None)]);
        let mut batch = None;

        for i in 0..number("ops") {
            let writer = batch
                .get_or_insert_with(|| BatchWriter::new(blocks.version(), run["alwaysDuplicate"] == true));
            let key: Bytes = format!("key-{}", random(number("space"))).into();
            let is_delete = random(number("delOneIn")) == 0;
            let is_refused = random(number("refuseOneIn")) == 0;
            let value = Some(format!("value-{}", random(number("values"))).into());

            let is_there = writer.current(&blocks, &mut cache, &key).unwrap().is_some();
            match (is_refused && is_there, is_delete) {
                (true, true) => {}
                (true, false) => writer.refuse_put(&blocks, &mut cache, &key).unwrap(),
                (false, true) => drop(writer.delete(&blocks, &mut cache, key).unwrap()),
                (false, false) => drop(writer.put(&blocks, &mut cache, key, value).unwrap()),
            }
            if (i + 1) % number("batch") == 0 {
                append(&mut blocks, batch.take());
            }
        }
        append(&mut blocks, batch);

        assert_blocks(&blocks, run);
        assert_eq!(tree_hash(&roots(&blocks)), hex_fixed(&run["treeHash"]), "seed {}", run["seed"]);
    }
}

fn append(blocks: &mut Blocks, batch: Option<BatchWriter>) {
    if let Some(batch) = batch {
        blocks.append(batch.finish());
    }
}

/// Checks that there are as many blocks as upstream wrote in a run, and that they are the same.
fn assert_blocks(blocks: &Blocks, run: &Value) {
    assert_eq!(run["length"], blocks.len());
    let parts: Vec<&[u8]> = blocks.all().iter().map(|block| &block[..]).collect();
    assert_eq!(blake2b_256(&parts), hex_fixed(&run["blocksHash"]), "seed {}", run["seed"]);
}

#[test]
fn headers_and_other_options() {
    let vectors = load("hyperbee-variants");
    for case in entries(&vectors, "headers") {
        let metadata = (case["hasMetadata"] == true).then(|| Metadata {
            content_feed: optional(&case["contentFeed"]),
            user_data: optional(&case["userData"]),
        });
        let block = header_block(metadata.clone());
        assert_eq!(block, hex(&case["encoded"]));
        assert_eq!(decode_header(block.clone()).unwrap().metadata, metadata);
        assert!(is_hyperbee(block));
    }

    let trees = entries(&vectors, "trees");
    type Puts<'a> = &'a [(&'a str, Option<&'a str>)];
    let puts: [(&str, bool, Puts<'_>); 3] = [
        (
            "json",
            true,
            &[
                ("a", Some(r#"{"hello":"world","n":1.5,"list":[1,null,true]}"#)),
                ("ünï", Some(r#""text""#)),
                ("s\0k", Some("plain")),
            ],
        ),
        ("dedup", false, &[("a", Some("x")), ("a", Some("x")), ("a", Some("y")), ("b", None), ("b", None)]),
        ("encrypted", true, &[("a", Some("x")), ("b", Some("y"))]),
    ];
    assert_eq!(trees.len(), puts.len());
    for (tree, (name, always_duplicate, puts)) in trees.iter().zip(puts) {
        assert_eq!(tree["name"], name);
        let (mut blocks, mut cache) = (Blocks::default(), BlockCache::default());
        blocks.append([header_block(None)]);
        for (key, value) in puts {
            let mut batch = BatchWriter::new(u64::try_from(blocks.len()).unwrap(), always_duplicate);
            batch.put(&blocks, &mut cache, (*key).into(), value.map(Into::into)).unwrap();
            blocks.append(batch.finish());
        }
        if name == "encrypted" {
            let key = hex_fixed(&tree["key"]);
            let cipher = BlockEncryption::new(&hex_fixed(&tree["encryptionKey"]), &key, KeyMode::Normal);
            let sealed: Vec<_> =
                (0..).zip(blocks.all()).map(|(i, block)| cipher.encrypt(i, 0, block)).collect();
            blocks = Blocks::default();
            blocks.append(sealed.into_iter().map(Into::into));
        }
        assert_eq!(blocks, Blocks::of(entries(tree, "blocks")), "{name}");
        assert_eq!(tree_hash(&roots(&blocks)), hex_fixed(&tree["treeHash"]), "{name}");
    }
}

#[test]
fn extension_messages() {
    let vectors = load("hyperbee-extension");
    assert_eq!(vectors["name"], hypertab_core::hyperbee::extension::EXTENSION);
    for case in entries(&vectors, "messages") {
        let (get, iterator, cache) =
            (&case["message"]["get"], &case["message"]["iterator"], &case["message"]["cache"]);
        let list = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        let message = Extension {
            cache: cache.is_object().then(|| CacheMessage {
                start: cache["start"].as_u64(),
                end: cache["end"].as_u64(),
                blocks: list(&cache["blocks"]),
                turns: Vec::new(),
                key: None,
            }),
            get: get.is_object().then(|| GetMessage {
                version: get["version"].as_u64(),
                key: optional(&get["key"]),
                evidence: None,
            }),
            iterator: iterator.is_object().then(|| IteratorMessage {
                version: iterator["version"].as_u64(),
                gte: optional(&iterator["gte"]),
                gt: optional(&iterator["gt"]),
                lte: optional(&iterator["lte"]),
                lt: optional(&iterator["lt"]),
                limit: iterator["limit"].as_u64(),
                reverse: iterator["reverse"].as_bool(),
                checkpoint: list(&iterator["checkpoint"]),
            }),
        };
        assert_eq!(message.encode_to_vec(), hex(&case["encoded"]), "{case}");
        assert_eq!(decode_extension(bytes(&case["encoded"])), Some(message));
        if get.is_object() {
            let asked = ask_get(get["version"].as_u64().unwrap(), &bytes(&get["key"]));
            assert_eq!(asked, hex(&case["encoded"]));
        }
    }
}

#[test]
fn hints_of_a_full_peer() {
    let basic = load("hyperbee-basic");
    let version = u64::try_from(entries(&basic, "blocks").len()).unwrap();
    let (blocks, mut cache) = (Blocks::of(entries(&basic, "blocks")), BlockCache::default());

    for case in entries(&load("hyperbee-extension"), "exchanges") {
        let question = decode_extension(bytes(&case["request"])).unwrap();
        let answers = answer(&question, &blocks, &mut cache, version);

        let expected = case["replies"].as_array().unwrap();
        for (found, expected) in answers.iter().zip(expected) {
            let blocks = hints(decode_extension(found.clone()).unwrap()).blocks;
            assert_eq!(Value::from(blocks), expected["cache"]["blocks"]);
            assert_eq!(found, &hex(&expected["encoded"]), "{case}");
        }
        assert_eq!(answers.len(), expected.len());
    }
}

#[test]
fn core_keys_come_from_the_store() {
    let vectors = load("hyperbee-basic");
    let pair = key_pair(&hex_fixed(&vectors["primaryKey"]), &Namespace::ROOT, b"bee");

    assert_eq!(manifest(pair.public_key, 1).key(), hex_fixed::<32>(&vectors["core"]["key"]));
}

fn collect(view: &mut View<'_>, range: Range) -> Vec<Value> {
    let mut cursor = RangeCursor::new(range);
    let mut found = Vec::new();
    while let Some(next) = cursor.next(view).unwrap() {
        found.push(entry(&next));
    }
    found
}

/// Returns the random numbers of the runs, below what they are asked for.
fn xorshift32(mut state: u32) -> impl FnMut(u32) -> u32 {
    move |below| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    }
}

/// Returns the roots of the Merkle tree over the blocks.
fn roots(blocks: &Blocks) -> Vec<Node> {
    let mut roots: Vec<Node> = Vec::new();
    for (index, block) in (0..).step_by(2).zip(blocks.all()) {
        let mut node = Node::leaf(index, block);
        let mut width = 2;
        while let Some(left) = roots.last().copied() {
            if left.index + width != node.index {
                break;
            }
            node = Node::parent(left.index + width / 2, &left, &node);
            width *= 2;
            roots.pop();
        }
        roots.push(node);
    }
    roots
}
