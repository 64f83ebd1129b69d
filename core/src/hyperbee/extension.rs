//! Hints between peers: which blocks a sparse reader will need.
//!
//! A reader that has to wait for a block tells all peers what it is looking for. Each walks the same way over
//! the blocks it has and answers with their indexes, and the reader downloads those at once. Nothing here is
//! needed for a correct result.
//!
//! Source: hyperbee 2.27, `lib/extension.js`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::cache::BlockCache;
use super::error::ReadError;
use super::keys::Range;
use super::messages::{CacheMessage, Extension, GetMessage, IteratorMessage};
use super::tree::{BlockSource, RangeCursor, Trace, View};

pub use super::messages::{EXTENSION, decode_extension};

/// Returns the question of a lookup that waits, to be sent once, as upstream puts it.
pub fn ask_get(version: u64, key: &Bytes) -> Bytes {
    let get = GetMessage { version: Some(version), key: Some(key.clone()), evidence: None };
    Extension { get: Some(get), ..Extension::default() }.encode_to_vec().into()
}

/// Returns the question of a lookup that will use the answer in [`View::get_hinted`], to be sent once.
///
/// The answer is a third of what [`ask_get`] gets, or the same from a peer that runs upstream.
pub fn ask_evidence(version: u64, key: &Bytes) -> Bytes {
    let get = GetMessage { version: Some(version), key: Some(key.clone()), evidence: Some(true) };
    Extension { get: Some(get), ..Extension::default() }.encode_to_vec().into()
}

/// Returns the question of a walk that waits, or `None` when the walk is over.
///
/// To be sent at its first wait, and again at a wait after [`BLOCKS_PER_QUESTION`] more blocks.
pub fn ask_range(version: u64, cursor: &RangeCursor) -> Option<Bytes> {
    if cursor.is_done() {
        return None;
    }
    let Range { gt, gte, lt, lte, reverse, limit } = cursor.rest();
    let iterator = IteratorMessage {
        version: Some(version),
        gte: gte.filter(|_| gt.is_none()),
        gt,
        lte: lte.filter(|_| lt.is_none()),
        lt,
        limit: Some(limit.unwrap_or(0)),
        reverse: Some(reverse),
        checkpoint: cursor.checkpoint(),
    };
    Some(Extension { iterator: Some(iterator), ..Extension::default() }.encode_to_vec().into())
}

/// Returns the payloads that answer a question, often none.
///
/// `source` gives what is stored here and fetches nothing; `version` is the newest there is here.
pub fn answer(
    question: &Extension,
    source: &dyn BlockSource,
    cache: &mut BlockCache,
    version: u64,
) -> Vec<Bytes> {
    let is_known = |asked: Option<u64>| asked.filter(|asked| (1..=version).contains(asked));
    let mut answers = Vec::new();
    if let Some(get) = &question.get
        && let Some(version) = is_known(get.version)
    {
        let key = get.key.as_deref().unwrap_or_default();
        if get.evidence() {
            answers.extend(View::new(source, cache, version).evidence(key).ok().map(payload));
        } else {
            answers.extend(encode(&blocks_of_get(source, cache, version, key)));
        }
    }
    if let Some(iterator) = &question.iterator
        && let Some(version) = is_known(iterator.version)
    {
        answers.extend(encode(&blocks_of_range(source, cache, version, iterator)));
    }
    answers
}

/// Returns what a peer says is worth downloading; nothing if it says nothing.
pub fn hints(message: Extension) -> CacheMessage {
    message.cache.unwrap_or_default()
}

fn blocks_of_get(source: &dyn BlockSource, cache: &mut BlockCache, version: u64, key: &[u8]) -> Vec<u64> {
    let mut trace = Trace::of_lookup();
    // Wherever it ends: as far as it came is what can be told.
    let _ = View::new(source, cache, version).traced(&mut trace).get(key);
    trace.touched
}

fn blocks_of_range(
    source: &dyn BlockSource,
    cache: &mut BlockCache,
    version: u64,
    question: &IteratorMessage,
) -> Vec<u64> {
    let range = Range {
        gt: question.gt.clone(),
        gte: question.gte.clone(),
        lt: question.lt.clone(),
        lte: question.lte.clone(),
        reverse: question.reverse(),
        limit: question.limit.filter(|limit| *limit > 0),
    };
    let checkpoint = &question.checkpoint[..question.checkpoint.len().min(MAX_CHECKPOINT)];
    let mut blocks = Vec::new();
    let mut told = BTreeSet::new();
    let mut skip = checkpoint.len();
    let mut collect = |trace: &mut Trace| {
        for seq in trace.touched.drain(..) {
            if skip > 0 {
                skip -= 1;
            } else if told.insert(seq) {
                blocks.push(seq);
            }
        }
        blocks.len()
    };

    let mut trace = Trace::default();
    let cursor =
        RangeCursor::resume(range, checkpoint, &mut View::new(source, cache, version).traced(&mut trace));
    let mut count = collect(&mut trace);
    if let Ok(mut cursor) = cursor {
        while count < MAX_BLOCKS {
            let next = cursor.next(&mut View::new(source, cache, version).traced(&mut trace));
            count = collect(&mut trace);
            match next {
                Ok(Some(_)) | Err(ReadError::Paused) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    blocks
}

fn encode(blocks: &[u64]) -> impl Iterator<Item = Bytes> {
    blocks.chunks(BLOCKS_PER_ANSWER).map(|blocks| payload(CacheMessage::of(blocks.to_vec(), Vec::new())))
}

fn payload(cache: CacheMessage) -> Bytes {
    Extension { cache: Some(cache), ..Extension::default() }.encode_to_vec().into()
}

/// Blocks that a walk reads before it asks again; `MAX_PASSIVE_BATCH` upstream.
pub const BLOCKS_PER_QUESTION: usize = 2048;

/// Blocks in one answer; `FLUSH_BATCH` upstream.
const BLOCKS_PER_ANSWER: usize = 128;

/// Blocks in all answers to one question; `MAX_ACTIVE_BATCH` upstream.
const MAX_BLOCKS: usize = BLOCKS_PER_QUESTION + BLOCKS_PER_ANSWER;

/// Numbers of a checkpoint that are looked at: three for each level of the deepest tree.
const MAX_CHECKPOINT: usize = 3 * super::MAX_DEPTH;
