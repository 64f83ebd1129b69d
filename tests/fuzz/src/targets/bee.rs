//! Blocks of a Hyperbee and of a hypertrie, from a writer who may be anybody.

use bytes::Bytes;
use hypertab_core::hyperbee::extension::{answer, decode_extension};
use hypertab_core::hyperbee::hypertrie::{
    ListCursor, ListOptions, TrieHistory, TrieView, decode_header as decode_trie,
};
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, BlockSource, DiffCursor, HistoryCursor, HistoryRange, Missing, Range,
    RangeCursor, ReadError, View, decode_header, header_block, is_hyperbee,
};

use super::{pieces, take};

struct Blocks(Vec<Bytes>);

impl BlockSource for Blocks {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        usize::try_from(seq).ok().and_then(|seq| self.0.get(seq)).cloned().ok_or(Missing)
    }
}

/// A tree: a good one of which blocks are replaced, or one of these blocks alone.
pub fn bee(mut data: &[u8]) {
    let is_grown = take(&mut data) & 1 == 0;
    let found: Vec<Bytes> = pieces(data).into_iter().map(Bytes::copy_from_slice).collect();
    for block in &found {
        let _ = decode_header(block.clone());
        is_hyperbee(block.clone());
    }
    let mut blocks = Blocks(vec![header_block(None)]);
    let mut cache = BlockCache::default();
    for (index, key) in ["a", "m", "z", "k"].into_iter().enumerate().filter(|_| is_grown) {
        let mut batch = BatchWriter::new(index as u64 + 1, true);
        batch.put(&blocks, &mut cache, key.into(), Some(key.into())).expect("good blocks");
        blocks.0.extend(batch.finish());
    }
    if blocks.0.len() > 2 && found.len() == 1 {
        blocks.0[2] = found[0].clone();
    } else {
        blocks.0.extend(found);
    }
    read(&blocks);
}

fn read(blocks: &Blocks) {
    let length = blocks.0.len() as u64;
    let mut cache = BlockCache::default();
    for key in [&b""[..], b"m", b"zz"] {
        let _ = View::new(blocks, &mut cache, length).get(key);
        let mut batch = BatchWriter::new(length, true);
        let key = Bytes::copy_from_slice(key);
        let _ = batch.put(blocks, &mut cache, key.clone(), None);
        let _ = batch.delete(blocks, &mut cache, key);
        batch.finish();
    }
    for reverse in [false, true] {
        let mut cursor = RangeCursor::new(Range { reverse, ..Range::default() });
        end(|| cursor.next(&mut View::new(blocks, &mut cache, length)));
        let mut cursor = HistoryCursor::new(&HistoryRange { reverse, ..HistoryRange::default() }, length);
        end(|| cursor.next(&mut View::new(blocks, &mut cache, length)));
    }
    let mut cursor = DiffCursor::new(&Range::default());
    end(|| cursor.next(&mut View::new(blocks, &mut cache, 0), (length, length / 2)));
    for block in &blocks.0 {
        if let Some(question) = decode_extension(block.clone()) {
            answer(&question, blocks, &mut BlockCache::default(), length);
        }
    }
}

/// A hypertrie.
pub fn hypertrie(data: &[u8]) {
    let mut blocks: Vec<Bytes> = pieces(data).into_iter().map(Bytes::copy_from_slice).collect();
    blocks.push(Bytes::copy_from_slice(data));
    for block in &blocks {
        let _ = decode_trie(block.clone());
    }
    blocks.insert(0, Bytes::from_static(b"\x0a\x09hypertrie"));
    let blocks = Blocks(blocks);
    let length = blocks.0.len() as u64;
    let _ = TrieView::new(&blocks, length).get("a/b", false);
    for reverse in [false, true] {
        let mut history = TrieHistory::new(None, None, reverse, length);
        end(|| history.next(&TrieView::new(&blocks, length)));
        let mut list = ListCursor::new("", ListOptions { reverse, ..ListOptions::default() });
        end(|| list.next(&TrieView::new(&blocks, length)));
    }
}

/// Runs a walk to its end, which must come.
fn end<T>(mut next: impl FnMut() -> Result<Option<T>, ReadError>) {
    for _ in 0..5000 {
        match next() {
            Ok(Some(_)) | Err(ReadError::Paused) => {}
            Ok(None) | Err(_) => return,
        }
    }
    panic!("a walk has no end");
}
