//! Hypertrie: reads that stop for blocks, as those of [`bees`](crate::bees).

use bytes::Bytes;
use hypertab_core::hyperbee::LoadedBlocks;
use hypertab_core::hyperbee::hypertrie::{
    ListCursor, ListOptions, TrieHistory, TrieNode, TrieView, decode_header,
};
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::bees::ended;
use crate::events::{bytes, number};
use crate::options::integer;

/// One read or walk, with the blocks that it was given.
#[wasm_bindgen]
#[derive(Debug)]
pub struct TrieWalk {
    loaded: LoadedBlocks,
    length: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Lookup { key: String, hidden: bool },
    List(ListCursor),
    History(TrieHistory),
}

#[wasm_bindgen]
impl TrieWalk {
    /// Makes one over the keys below a prefix in the first `length` blocks, or over the one key: `flags` has bits for recursive,
    /// reverse, gt and hidden, as upstream's iterators, and for a single key.
    #[wasm_bindgen(constructor)]
    pub fn new(length: f64, key: String, flags: u8) -> Result<Self, JsError> {
        let [recursive, reverse, gt, hidden, single] = [1, 2, 4, 8, 16].map(|bit| flags & bit != 0);
        let options = ListOptions { recursive, reverse, gt, hidden };
        let work =
            if single { Work::Lookup { key, hidden } } else { Work::List(ListCursor::new(&key, options)) };
        Ok(Self { loaded: LoadedBlocks::default(), length: integer(length, "length")?, work })
    }

    /// Makes one over the blocks from `gte` to before `length`, or down to it.
    pub fn history(length: f64, gte: f64, reverse: bool) -> Result<Self, JsError> {
        let (length, gte) = (integer(length, "length")?, integer(gte, "gte")?);
        let work = Work::History(TrieHistory::new(Some(gte), None, reverse, length));
        Ok(Self { loaded: LoadedBlocks::default(), length, work })
    }

    /// Adds a block, decrypted.
    pub fn give(&mut self, seq: f64, block: &[u8]) -> Result<(), JsError> {
        self.loaded.give(integer(seq, "seq")?, Bytes::copy_from_slice(block));
        Ok(())
    }

    /// Returns the blocks without which the last step did not go on.
    pub fn needed(&mut self) -> Vec<f64> {
        self.loaded.take_needed().into_iter().map(number).collect()
    }

    /// Forgets the blocks that were given, after a step that ended.
    pub fn clear(&mut self) {
        self.loaded.clear();
    }

    /// Goes on to the next node, `[seq, key, value, flags]`; null where there is none.
    #[wasm_bindgen(js_name = next)]
    pub fn go_on(&mut self) -> Result<JsValue, JsError> {
        let trie = TrieView::new(&self.loaded, self.length);
        let found = match &mut self.work {
            Work::Lookup { key, hidden } => trie.get(key, *hidden),
            Work::List(cursor) => cursor.next(&trie),
            Work::History(cursor) => cursor.next(&trie),
        };
        ended(found.map(|node| node.map_or(JsValue::NULL, |node| node_of(&node))))
    }
}

/// Reads block 0: its metadata and subtype, each null where there is none; nothing when it is not that of a trie.
#[wasm_bindgen(js_name = trieHeader)]
pub fn trie_header(block: &[u8]) -> Option<Array> {
    let header = decode_header(Bytes::copy_from_slice(block))?;
    Some(Array::of2(&bytes_or_null(&header.metadata), &bytes_or_null(&header.subtype)))
}

fn node_of(node: &TrieNode) -> JsValue {
    let (seq, flags) = (number(node.seq).into(), number(node.flags).into());
    Array::of4(&seq, &node.key.as_str().into(), &bytes_or_null(&node.value), &flags).into()
}

fn bytes_or_null(value: &Option<Bytes>) -> JsValue {
    value.as_ref().map_or(JsValue::NULL, |value| bytes(value).into())
}
