//! Hints between peers: which blocks a sparse reader will need.
//!
//! A reader that has to wait for a block tells all peers what it is looking for. Each walks the same way over
//! the blocks it has and answers with their indexes, and the reader downloads those at once. Nothing here is
//! needed for a correct result.
//!
//! Source: hyperbee 2.27, `lib/extension.js`.

use crate::collections::BTreeSet;
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

/// Returns the payloads that answer a question, often none, from what is loaded.
///
/// `source` gives what is stored here and fetches nothing; `version` is the newest there is here.
pub fn answer(
    question: &Extension,
    source: &dyn BlockSource,
    cache: &mut BlockCache,
    version: u64,
) -> Vec<Bytes> {
    let mut answering = Answering::new(question, version);
    // Wherever it ends: as far as it came is what can be told.
    let _ = answering.run(source, cache);
    answering.finish()
}

/// The work on the answer to one question, which can stop for blocks to be read from storage.
#[derive(Debug)]
pub struct Answering {
    get: Option<(u64, GetMessage)>,
    iterator: Option<Iterating>,
    answers: Vec<Bytes>,
    touched: Vec<u64>,
}

impl Answering {
    /// Begins. `version` is the newest there is here; what asks for another is not answered.
    pub fn new(question: &Extension, version: u64) -> Self {
        let known = |asked: Option<u64>| asked.filter(|asked| (1..=version).contains(asked));
        let get = question.get.clone().and_then(|get| Some((known(get.version)?, get)));
        let iterator = question.iterator.as_ref();
        let iterator = iterator.and_then(|iterator| Some(Iterating::new(iterator, known(iterator.version)?)));
        Self { get, iterator, answers: Vec::new(), touched: Vec::new() }
    }

    /// Returns whether there is something to answer.
    pub fn is_question(&self) -> bool {
        self.get.is_some() || self.iterator.is_some()
    }

    /// Goes on until everything is found.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. Run it again once more blocks are loaded, or
    /// [`finish`](Self::finish).
    pub fn run(&mut self, source: &dyn BlockSource, cache: &mut BlockCache) -> Result<(), ReadError> {
        if let Some((version, get)) = &self.get {
            let key = get.key.as_deref().unwrap_or_default();
            if get.evidence() {
                let mut evidence = View::new(source, cache, *version).evidence(key)?;
                evidence.key = get.key.clone();
                self.answers.push(payload(evidence));
            } else {
                let mut trace = Trace::of_lookup();
                let found = View::new(source, cache, *version).traced(&mut trace).get(key);
                self.touched = trace.touched;
                found?;
            }
            self.finish_get();
        }
        match &mut self.iterator {
            Some(iterator) => iterator.run(source, cache),
            None => Ok(()),
        }
    }

    /// Returns the payloads to send, with what was found so far.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.finish_get();
        let Self { iterator, mut answers, .. } = self;
        answers.extend(iterator.iter().flat_map(|iterator| encode(&iterator.blocks)));
        answers
    }

    fn finish_get(&mut self) {
        self.get = None;
        let touched = core::mem::take(&mut self.touched);
        self.answers.extend(encode(&touched));
    }
}

/// A walk over a range for a peer.
#[derive(Debug)]
struct Iterating {
    version: u64,
    range: Range,
    checkpoint: Vec<u64>,
    cursor: Option<RangeCursor>,
    /// Touches that the peer knows of.
    skip: usize,
    blocks: Vec<u64>,
    told: BTreeSet<u64>,
    trace: Trace,
}

impl Iterating {
    fn new(question: &IteratorMessage, version: u64) -> Self {
        let range = Range {
            gt: question.gt.clone(),
            gte: question.gte.clone(),
            lt: question.lt.clone(),
            lte: question.lte.clone(),
            reverse: question.reverse(),
            limit: question.limit.filter(|limit| *limit > 0),
        };
        let checkpoint = question.checkpoint[..question.checkpoint.len().min(MAX_CHECKPOINT)].to_vec();
        Self {
            version,
            range,
            skip: checkpoint.len(),
            checkpoint,
            cursor: None,
            blocks: Vec::new(),
            told: BTreeSet::new(),
            trace: Trace::default(),
        }
    }

    fn run(&mut self, source: &dyn BlockSource, cache: &mut BlockCache) -> Result<(), ReadError> {
        while self.blocks.len() < MAX_BLOCKS {
            let mut view = View::new(source, cache, self.version).traced(&mut self.trace);
            let step = match &mut self.cursor {
                Some(cursor) => cursor.next(&mut view).map(|entry| entry.is_none()),
                None => RangeCursor::resume(self.range.clone(), &self.checkpoint, &mut view).map(|cursor| {
                    self.cursor = Some(cursor);
                    false
                }),
            };
            match step {
                // A step that stopped touches its blocks once more when it is taken again.
                Err(error) => {
                    self.trace.rewind();
                    return Err(error);
                }
                Ok(is_done) => {
                    self.collect();
                    if is_done {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn collect(&mut self) {
        for seq in self.trace.touched.drain(..) {
            if self.skip > 0 {
                self.skip -= 1;
            } else if self.told.insert(seq) {
                self.blocks.push(seq);
            }
        }
    }
}

/// Returns what a peer says is worth downloading; nothing if it says nothing.
pub fn hints(message: Extension) -> CacheMessage {
    message.cache.unwrap_or_default()
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
