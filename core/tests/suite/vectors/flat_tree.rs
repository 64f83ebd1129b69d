//! Compares tree positions with those upstream's flat-tree computed.

use hypertab_core::flat_tree::{self, Cursor};
use serde_json::Value;

use crate::support::common::{entries, load};

#[test]
fn nodes_have_upstream_relatives() {
    for node in entries(&load("core-flat-tree"), "nodes") {
        let index = number(&node["index"]);
        let spans = numbers(&node["spans"]);
        let (depth, offset) = (flat_tree::depth(index), number(&node["offset"]));

        assert_eq!(u64::from(depth), number(&node["depth"]), "{node}");
        assert_eq!(flat_tree::offset(index), offset, "{node}");
        assert_eq!(flat_tree::index(depth, offset), index, "{node}");
        assert_eq!(flat_tree::parent(index), number(&node["parent"]), "{node}");
        assert_eq!(flat_tree::sibling(index), number(&node["sibling"]), "{node}");
        assert_eq!([flat_tree::left_span(index), flat_tree::right_span(index)], spans[..], "{node}");
        assert_eq!(flat_tree::count(index), number(&node["count"]), "{node}");
        if let Some(children) = node.get("children") {
            let expected = (!children.is_null()).then(|| numbers(children));
            assert_eq!(flat_tree::children(index).map(|(left, right)| vec![left, right]), expected, "{node}");
        }
        if let Some(leaves) = node.get("leaves") {
            assert_eq!(flat_tree::count_leaves(index), number(leaves), "{node}");
        }
    }
}

#[test]
fn full_roots_are_upstreams() {
    for entry in entries(&load("core-flat-tree"), "fullRoots") {
        let (length, expected) = (number(&entry["length"]), numbers(&entry["roots"]));

        assert_eq!(flat_tree::full_roots(length).collect::<Vec<_>>(), expected, "{entry}");

        let mut cursor = Cursor::new(0);
        for root in expected {
            assert!(cursor.full_root(2 * length));
            assert_eq!(cursor.index(), root, "{entry}");
            cursor.next_tree();
        }
        assert!(!cursor.full_root(2 * length));
    }
}

#[test]
fn patches_are_upstreams() {
    for entry in entries(&load("core-flat-tree"), "patches") {
        let (from, to) = (number(&entry["from"]), number(&entry["to"]));

        assert_eq!(flat_tree::patch(from, to), numbers(&entry["nodes"]), "{entry}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(number).collect()
}
