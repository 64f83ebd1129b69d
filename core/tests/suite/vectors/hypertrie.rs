//! Reads a hypertrie that upstream wrote.
#![cfg(feature = "bee")]

use hypertab_core::hyperbee::hypertrie::{ListCursor, ListOptions, TrieHistory, TrieView, decode_header};
use hypertab_core::hyperbee::is_hyperbee;
use serde_json::Value;

use crate::support::bee::{Blocks, bytes, optional};
use crate::support::common::{entries, hex, load};

#[test]
fn nodes_decode() {
    let vectors = load("hyperbee-legacy-hypertrie");
    let blocks = Blocks::of(entries(&vectors, "blocks"));
    let trie = TrieView::new(&blocks, blocks.version());

    assert!(decode_header(bytes(&vectors["blocks"][0])).is_some());
    assert!(!is_hyperbee(bytes(&vectors["blocks"][0])));
    for case in entries(&vectors, "nodes") {
        let node = trie.get_by_seq(case["seq"].as_u64().unwrap()).unwrap().unwrap();

        assert_eq!(case["key"], node.key, "{case}");
        assert_eq!(node.value, optional(&case["value"]), "{case}");
        assert_eq!(case["flags"], node.flags, "{case}");
        assert_eq!(node.hash(), hex(&case["hash"]), "{case}");
        assert_eq!(case["trieLength"], node.trie_len(), "{case}");
        let found: Vec<_> =
            node.trie().iter().map(|(position, slots)| serde_json::json!([position, slots])).collect();
        assert_eq!(found, *case["trie"].as_array().unwrap(), "{case}");
    }
}

#[test]
fn keys_are_found() {
    let vectors = load("hyperbee-legacy-hypertrie");
    let blocks = Blocks::of(entries(&vectors, "blocks"));
    let trie = TrieView::new(&blocks, blocks.version());

    for case in entries(&vectors, "gets") {
        let found = trie.get(case["key"].as_str().unwrap(), case["hidden"] == true).unwrap();

        assert_eq!(found.as_ref().map_or(Value::Null, |node| node.seq.into()), case["seq"], "{case}");
        let value = found.and_then(|node| node.value.clone());
        assert_eq!(value.as_deref(), case["value"].as_str().map(str::as_bytes), "{case}");
    }
}

#[test]
fn folders_are_listed_in_order() {
    let vectors = load("hyperbee-legacy-hypertrie");
    let blocks = Blocks::of(entries(&vectors, "blocks"));
    let trie = TrieView::new(&blocks, blocks.version());

    for case in entries(&vectors, "lists") {
        let list = |options| {
            let mut cursor = ListCursor::new(case["prefix"].as_str().unwrap(), options);
            let mut found = Vec::new();
            while let Some(node) = cursor.next(&trie).unwrap() {
                found.push(Value::from(node.key.clone()));
            }
            found
        };
        let mut expected = case["keys"].as_array().unwrap().clone();

        assert_eq!(list(ListOptions::default()), expected, "{case}");
        expected.reverse();
        assert_eq!(list(ListOptions { reverse: true, ..ListOptions::default() }), expected, "{case}");
    }
    let mut hidden = ListCursor::new("", ListOptions { hidden: true, ..ListOptions::default() });
    assert_eq!(hidden.next(&trie).unwrap().unwrap().key, "secret");
}

#[test]
fn history_is_every_block() {
    let vectors = load("hyperbee-legacy-hypertrie");
    let blocks = Blocks::of(entries(&vectors, "blocks"));
    let trie = TrieView::new(&blocks, blocks.version());

    for reverse in [false, true] {
        let mut history = TrieHistory::new(None, None, reverse, blocks.version());
        let mut nodes = entries(&vectors, "nodes").to_vec();
        if reverse {
            nodes.reverse();
        }
        for case in nodes {
            assert_eq!(case["seq"], history.next(&trie).unwrap().unwrap().seq);
        }
        assert_eq!(history.next(&trie), Ok(None));
    }
}
