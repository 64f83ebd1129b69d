//! Hyperbee: reads and writes that stop for blocks, which TypeScript gets from its session of the core.
//!
//! A session has encryption, snapshots, timeouts and peers of its own, so blocks come from there and nothing here
//! touches the engine. A step returns `undefined` when blocks are missing: give what [`BeeWalk::needed`] names and
//! take it again. It returns `false` when it only wants others to have their turn.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::hyperbee::extension::{self, Answering, ask_evidence, ask_get, ask_range};
use hypertab_core::hyperbee::messages::{CacheMessage, Metadata};
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, Change, DiffCursor, Entry, HistoryCursor, HistoryRange, LoadedBlocks, Range,
    RangeCursor, ReadError, Trace, View, decode_header, header_block,
};
use js_sys::{Array, Float64Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::events::{bytes, number, object};
use crate::options::{Options, integer};

/// Bytes of entries after which no more are given along.
const ENTRY_BYTES: usize = 64 << 10;

/// Decoded blocks of one core and fork, shared by everything that reads it.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct BeeCache(Rc<RefCell<BlockCache>>);

#[wasm_bindgen]
impl BeeCache {
    /// Makes an empty one.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the blocks from `length` on. A walk from before, which may read what was cut, has an empty one from now on.
    pub fn truncate(&mut self, length: f64) -> Result<(), JsError> {
        let length = integer(length, "length")?;
        let mut kept = self.0.take();
        kept.truncate(length);
        self.0 = Rc::new(RefCell::new(kept));
        Ok(())
    }

    /// Keeps a block that was appended, decrypted.
    pub fn keep(&self, seq: f64, block: &[u8]) -> Result<(), JsError> {
        self.0.borrow_mut().keep(integer(seq, "seq")?, Bytes::copy_from_slice(block));
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0 = Rc::default();
    }
}

/// One read, walk or batch, with the blocks that it was given.
#[wasm_bindgen]
#[derive(Debug)]
pub struct BeeWalk {
    cache: Rc<RefCell<BlockCache>>,
    loaded: LoadedBlocks,
    version: u64,
    asks_ahead: bool,
    hints: Option<CacheMessage>,
    trace: Option<Trace>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Lookup,
    Range(Box<RangeStart>),
    History(HistoryCursor),
    Diff { cursor: Box<DiffCursor>, right: u64 },
    Batch(Box<BatchWriter>),
    Answer(Box<Option<Answering>>),
}

/// A walk over a range, and where it begins.
#[derive(Debug)]
struct RangeStart {
    range: Range,
    checkpoint: Vec<u64>,
    /// Once the blocks of the checkpoint are there.
    cursor: Option<RangeCursor>,
}

#[wasm_bindgen]
impl BeeWalk {
    /// Makes one that looks things up in a version.
    #[wasm_bindgen(constructor)]
    pub fn new(cache: &BeeCache, version: f64) -> Result<Self, JsError> {
        Self::with(cache, version, Work::Lookup)
    }

    /// Makes one over a range: `{ gt, gte, lt, lte, reverse, limit, checkpoint }`.
    pub fn range(cache: &BeeCache, version: f64, options: JsValue) -> Result<Self, JsError> {
        let range = range_of(&options)?;
        let checkpoint = Options(&options).list("checkpoint").map_or(Ok(Vec::new()), |list| {
            list.iter().map(|value| integer(value.as_f64().unwrap_or(-1.0), "checkpoint")).collect()
        })?;
        let start = RangeStart { range, checkpoint, cursor: None };
        Self::with(cache, version, Work::Range(Box::new(start)))
    }

    /// Makes one over the blocks from `start` to before `end`, or down from there.
    pub fn history(
        cache: &BeeCache,
        start: f64,
        end: f64,
        reverse: bool,
        limit: f64,
    ) -> Result<Self, JsError> {
        let (start, end) = (integer(start, "start")?, integer(end, "end")?);
        let range = HistoryRange {
            gte: i64::try_from(start).ok(),
            reverse,
            limit: (limit >= 0.0).then_some(limit as u64),
            ..HistoryRange::default()
        };
        Self::with(cache, number(end), Work::History(HistoryCursor::new(&range, end)))
    }

    /// Makes one over the differences of two versions in a range.
    pub fn diff(cache: &BeeCache, left: f64, right: f64, options: JsValue) -> Result<Self, JsError> {
        let cursor = Box::new(DiffCursor::new(&range_of(&options)?));
        Self::with(cache, left, Work::Diff { cursor, right: integer(right, "right")? })
    }

    /// Makes one that changes a version, for a core of `length` blocks.
    pub fn batch(
        cache: &BeeCache,
        length: f64,
        version: f64,
        always_duplicate: bool,
    ) -> Result<Self, JsError> {
        let writer = BatchWriter::new(integer(length, "length")?, always_duplicate)
            .based_on(integer(version, "version")?);
        Self::with(cache, version, Work::Batch(Box::new(writer)))
    }

    /// Makes one that answers a peer's question; nothing when the message asks for nothing.
    pub fn answer(cache: &BeeCache, version: f64, message: &[u8]) -> Result<Option<Self>, JsError> {
        let newest = integer(version, "version")?;
        let question = extension::decode_extension(Bytes::copy_from_slice(message));
        let answering = question.map(|question| Answering::new(&question, newest));
        let Some(answering) = answering.filter(Answering::is_question) else { return Ok(None) };
        Self::with(cache, version, Work::Answer(Box::new(Some(answering)))).map(Some)
    }

    fn with(cache: &BeeCache, version: f64, work: Work) -> Result<Self, JsError> {
        let version = integer(version, "version")?;
        let (cache, loaded) = (cache.0.clone(), LoadedBlocks::default());
        Ok(Self { cache, loaded, version, asks_ahead: false, hints: None, trace: None, work })
    }

    /// Adds a block, decrypted. It is kept at once: a walk needs what it asked for ahead only after steps that end before.
    pub fn give(&mut self, seq: f64, block: &[u8]) -> Result<(), JsError> {
        let (seq, block) = (integer(seq, "seq")?, Bytes::copy_from_slice(block));
        self.cache.borrow_mut().keep(seq, block.clone());
        self.loaded.give(seq, block);
        Ok(())
    }

    /// Returns the blocks without which the last step did not go on.
    pub fn needed(&mut self) -> Vec<f64> {
        self.loaded.take_needed().into_iter().map(number).collect()
    }

    /// Returns the blocks that will be needed later, as far as is known.
    pub fn ahead(&mut self) -> Vec<f64> {
        self.loaded.take_ahead().into_iter().map(number).collect()
    }

    /// Forgets the blocks that were given, after a step that ended.
    pub fn clear(&mut self) {
        self.loaded.clear();
    }

    /// Asks for all keys of a node at once from now on.
    #[wasm_bindgen(js_name = askAhead)]
    pub fn ask_ahead(&mut self) {
        self.asks_ahead = true;
    }

    /// Notes from now on which blocks are read, for [`touched`](Self::touched).
    #[wasm_bindgen(js_name = startTrace)]
    pub fn start_trace(&mut self) {
        self.trace = Some(Trace::of_lookup());
    }

    /// Returns the blocks that the last step read, in order.
    pub fn touched(&self) -> Vec<f64> {
        let touched = self.trace.as_ref().map(Trace::touched).unwrap_or_default();
        touched.iter().copied().map(number).collect()
    }

    /// Takes what a peer says about the key of a lookup. Returns whether it says anything.
    pub fn hint(&mut self, message: &[u8]) -> bool {
        let cache = extension::decode_extension(Bytes::copy_from_slice(message)).map(extension::hints);
        self.hints = cache.filter(|cache| !cache.blocks.is_empty());
        self.hints.is_some()
    }

    /// Returns the entry of a key as `[seq, key, value]`, or null.
    pub fn get(&mut self, key: &[u8]) -> Result<JsValue, JsError> {
        if let Some(trace) = &mut self.trace {
            *trace = Trace::of_lookup();
        }
        let hints = self.hints.take();
        let found = match &hints {
            Some(hints) => self.view(|view| view.get_hinted(key, hints)),
            None => self.view(|view| view.get(key)),
        };
        self.hints = hints;
        ended(found.map(|entry| entry.map_or(JsValue::NULL, |entry| entry_of(&entry))))
    }

    /// Returns what a block put or deleted.
    #[wasm_bindgen(js_name = getBySeq)]
    pub fn get_by_seq(&mut self, seq: f64) -> Result<JsValue, JsError> {
        let seq = integer(seq, "seq")?;
        ended(self.view(|view| view.get_by_seq(seq)).map(|entry| entry_of(&entry)))
    }

    /// Returns 1 when the version still points to a block, else 0.
    #[wasm_bindgen(js_name = isLinked)]
    pub fn is_linked(&mut self, seq: f64, skip_missing: bool) -> Result<JsValue, JsError> {
        let seq = integer(seq, "seq")?;
        ended(self.view(|view| view.is_linked(seq, skip_missing)).map(boolean))
    }

    /// Goes to where a range begins, ahead of the first step. Returns 1.
    pub fn open(&mut self) -> Result<JsValue, JsError> {
        let mut cache = self.cache.borrow_mut();
        let mut view = View::new(&self.loaded, &mut cache, self.version);
        if let Some(trace) = &mut self.trace {
            *trace = Trace::default();
            view = view.traced(trace);
        }
        let Work::Range(start) = &mut self.work else { return Ok(boolean(false)) };
        ended(start.cursor(&mut view).and_then(|cursor| cursor.open(&mut view)).map(|()| boolean(true)))
    }

    /// Goes on to the next entry, change or difference; null at the end. An answer ends with its payloads.
    #[wasm_bindgen(js_name = next)]
    pub fn go_on(&mut self) -> Result<JsValue, JsError> {
        let mut cache = self.cache.borrow_mut();
        if let Work::Answer(answering) = &mut self.work {
            let run = answering.as_mut().as_mut();
            let run = run.map_or(Ok(()), |answer| answer.run(&self.loaded, &mut cache));
            return ended(run.map(|()| JsValue::from(payloads(answering.take()))));
        }
        let mut view = View::new(&self.loaded, &mut cache, self.version);
        if let Some(trace) = &mut self.trace {
            *trace = Trace::default();
            view = view.traced(trace);
        }
        let none = JsValue::NULL;
        ended(match &mut self.work {
            Work::Range(start) => {
                start.next(&mut view).map(|entry| entry.map_or(none, |entry| entry_of(&entry)))
            }
            Work::History(cursor) => {
                cursor.next(&mut view).map(|change| change.map_or(none, |change| change_of(&change)))
            }
            Work::Diff { cursor, right } => cursor.next(&mut view, (self.version, *right)).map(|found| {
                let side = |entry: &Option<Entry>| entry.as_ref().map_or(JsValue::NULL, entry_of);
                found.map_or(none, |found| Array::of2(&side(&found.left), &side(&found.right)).into())
            }),
            Work::Lookup | Work::Batch(_) | Work::Answer(_) => Ok(none),
        })
    }

    /// Goes on to the next entries of a range, up to so many, as far as their blocks are here; null at the end. Of each come its block, the length
    /// of its key, and that of its value, or -1 without one, and after them all keys and values in one array.
    #[wasm_bindgen(js_name = nextEntries)]
    pub fn next_entries(&mut self, most: usize) -> Result<JsValue, JsError> {
        let Work::Range(start) = &mut self.work else { return Ok(JsValue::NULL) };
        let mut cache = self.cache.borrow_mut();
        let mut view = View::new(&self.loaded, &mut cache, self.version);
        let (mut numbers, mut packed) = (Vec::new(), Vec::new());
        while numbers.len() < 3 * most && packed.len() < ENTRY_BYTES {
            let entry = match start.next(&mut view) {
                Ok(Some(entry)) => entry,
                // Whoever asks again is told.
                _ if !numbers.is_empty() => break,
                other => return ended(other.map(|_| JsValue::NULL)),
            };
            let value = entry.value.as_deref();
            let value_len = value.map_or(-1.0, |value| value.len() as f64);
            numbers.extend([number(entry.seq), entry.key.len() as f64, value_len]);
            packed.extend_from_slice(&entry.key);
            packed.extend_from_slice(value.unwrap_or_default());
        }
        Ok(Array::of2(&Float64Array::from(&numbers[..]), &bytes(&packed)).into())
    }

    /// Ends an answer with what was found so far.
    pub fn finish(&mut self) -> Array {
        match &mut self.work {
            Work::Answer(answering) => payloads(answering.take()),
            _ => Array::new(),
        }
    }

    /// Makes the question of a lookup that waits, for all peers.
    #[wasm_bindgen(js_name = askGet)]
    pub fn ask_get(version: f64, key: &[u8], evidence: bool) -> Result<Uint8Array, JsError> {
        let (version, key) = (integer(version, "version")?, Bytes::copy_from_slice(key));
        Ok(bytes(&if evidence { ask_evidence(version, &key) } else { ask_get(version, &key) }))
    }

    /// Makes the question of a walk that waits; nothing when it is over.
    #[wasm_bindgen(js_name = askRange)]
    pub fn ask_range(&self, version: f64) -> Result<Option<Uint8Array>, JsError> {
        let version = integer(version, "version")?;
        let Work::Range(start) = &self.work else { return Ok(None) };
        let fresh = RangeCursor::new(start.range.clone());
        Ok(ask_range(version, start.cursor.as_ref().unwrap_or(&fresh)).map(|question| bytes(&question)))
    }

    /// Returns where a walk is, for one that goes on from there.
    pub fn checkpoint(&self) -> Vec<f64> {
        let Work::Range(start) = &self.work else { return Vec::new() };
        let checkpoint = start.cursor.as_ref().map_or(start.checkpoint.clone(), RangeCursor::checkpoint);
        checkpoint.into_iter().map(number).collect()
    }

    /// Lets a walk over history go on to blocks that were appended since.
    pub fn extend(&mut self, version: f64) -> Result<(), JsError> {
        self.version = integer(version, "version")?;
        if let Work::History(cursor) = &mut self.work {
            cursor.extend(self.version);
        }
        Ok(())
    }

    /// Returns the entry of a key that a put or delete would replace, or null.
    pub fn current(&mut self, key: &[u8]) -> Result<JsValue, JsError> {
        self.write(|writer, loaded, cache| {
            let entry = writer.current(loaded, cache, key)?;
            Ok(entry.map_or(JsValue::NULL, |entry| entry_of(&entry)))
        })
    }

    /// Puts a key. Returns 1 when that will append a block, else 0.
    pub fn put(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<JsValue, JsError> {
        let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::from));
        self.write(|writer, loaded, cache| writer.put(loaded, cache, key, value).map(boolean))
    }

    /// Leaves a key as it is, after all.
    #[wasm_bindgen(js_name = refusePut)]
    pub fn refuse_put(&mut self, key: &[u8]) -> Result<JsValue, JsError> {
        self.write(|writer, loaded, cache| writer.refuse_put(loaded, cache, key).map(|()| boolean(false)))
    }

    /// Deletes a key. Returns 1 when that will append a block, else 0.
    pub fn del(&mut self, key: &[u8]) -> Result<JsValue, JsError> {
        let key = Bytes::copy_from_slice(key);
        self.write(|writer, loaded, cache| writer.delete(loaded, cache, key).map(boolean))
    }

    /// Returns the blocks to append; the batch is over.
    #[wasm_bindgen(js_name = takeBlocks)]
    pub fn take_blocks(&mut self) -> Array {
        match core::mem::replace(&mut self.work, Work::Lookup) {
            Work::Batch(writer) => writer.finish().iter().map(|block| bytes(block)).collect(),
            work => {
                self.work = work;
                Array::new()
            }
        }
    }

    /// Returns the blocks that a batch would append as it is; it can be changed on.
    #[wasm_bindgen(js_name = pendingBlocks)]
    pub fn pending_blocks(&self) -> Array {
        match &self.work {
            Work::Batch(writer) => {
                writer.as_ref().clone().finish().iter().map(|block| bytes(block)).collect()
            }
            _ => Array::new(),
        }
    }

    /// Begins to walk a range of what a batch would leave.
    #[wasm_bindgen(js_name = nextPending)]
    pub fn next_pending(&mut self, batch: &mut BeeWalk) -> Result<JsValue, JsError> {
        let (Work::Range(start), Work::Batch(writer)) = (&mut self.work, &batch.work) else {
            return Ok(JsValue::NULL);
        };
        let mut cache = self.cache.borrow_mut();
        let mut view = View::of_batch(&self.loaded, &mut cache, writer);
        ended(start.next(&mut view).map(|entry| entry.map_or(JsValue::NULL, |entry| entry_of(&entry))))
    }

    fn view<R>(&mut self, read: impl FnOnce(&mut View<'_>) -> R) -> R {
        let mut cache = self.cache.borrow_mut();
        let mut view = match &self.work {
            Work::Batch(writer) => View::of_batch(&self.loaded, &mut cache, writer),
            _ => View::new(&self.loaded, &mut cache, self.version),
        };
        view = view.asking_ahead(self.asks_ahead);
        if let Some(trace) = &mut self.trace {
            view = view.traced(trace);
        }
        read(&mut view)
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut BatchWriter, &LoadedBlocks, &mut BlockCache) -> Result<JsValue, ReadError>,
    ) -> Result<JsValue, JsError> {
        let Work::Batch(writer) = &mut self.work else { return Err(JsError::new("this is no batch")) };
        ended(write(writer, &self.loaded, &mut self.cache.borrow_mut()))
    }
}

impl RangeStart {
    fn next(&mut self, view: &mut View<'_>) -> Result<Option<Entry>, ReadError> {
        self.cursor(view)?.next(view)
    }

    fn cursor(&mut self, view: &mut View<'_>) -> Result<&mut RangeCursor, ReadError> {
        if self.cursor.is_none() {
            self.cursor = Some(RangeCursor::resume(self.range.clone(), &self.checkpoint, view)?);
        }
        Ok(self.cursor.as_mut().expect("made above"))
    }
}

/// Makes block 0.
#[wasm_bindgen(js_name = beeHeader)]
pub fn bee_header(metadata: JsValue) -> Result<Uint8Array, JsError> {
    if metadata.is_null() || metadata.is_undefined() {
        return Ok(bytes(&header_block(None)));
    }
    let options = Options(&metadata);
    let field = |name: &'static str| match options.get(name).and_then(|value| value.as_string()) {
        Some(text) => Ok(Some(Bytes::from(text))),
        None => options.bytes(name).map(|value| value.map(Bytes::from)),
    };
    let metadata = Metadata { content_feed: field("contentFeed")?, user_data: field("userData")? };
    Ok(bytes(&header_block(Some(metadata))))
}

/// Reads block 0; nothing when it is no header of anything.
#[wasm_bindgen(js_name = beeDecodeHeader)]
pub fn bee_decode_header(block: &[u8]) -> JsValue {
    let Ok(header) = decode_header(Bytes::copy_from_slice(block)) else { return JsValue::UNDEFINED };
    let field = |value: &Option<Bytes>| value.as_ref().map_or(JsValue::NULL, |value| bytes(value).into());
    let metadata = header.metadata.as_ref().map_or(JsValue::NULL, |metadata| {
        object(&[("contentFeed", field(&metadata.content_feed)), ("userData", field(&metadata.user_data))])
            .into()
    });
    object(&[("protocol", header.protocol().into()), ("metadata", metadata)]).into()
}

/// Reads a message of a peer that names blocks: `[version, key or null, blocks]`. Nothing when it names none.
#[wasm_bindgen(js_name = beeHints)]
pub fn bee_hints(message: &[u8]) -> Option<Array> {
    let cache = extension::hints(extension::decode_extension(Bytes::copy_from_slice(message))?);
    let first = cache.blocks.first()?;
    let key = cache.key.as_ref().map_or(JsValue::NULL, |key| bytes(key).into());
    let blocks: Array = cache.blocks.iter().map(|seq| JsValue::from(number(*seq))).collect();
    Some(Array::of3(&number(first.saturating_add(1)).into(), &key, &blocks))
}

fn range_of(options: &JsValue) -> Result<Range, JsError> {
    let options = Options(options);
    let bound = |name: &'static str| options.bytes(name).map(|bound| bound.map(Bytes::from));
    let limit = options.get("limit").and_then(|limit| limit.as_f64()).filter(|limit| *limit >= 0.0);
    Ok(Range {
        gt: bound("gt")?,
        gte: bound("gte")?,
        lt: bound("lt")?,
        lte: bound("lte")?,
        reverse: options.flag("reverse").unwrap_or(false),
        limit: limit.map(|limit| limit as u64),
    })
}

pub(crate) fn ended(result: Result<JsValue, ReadError>) -> Result<JsValue, JsError> {
    match result {
        Ok(value) => Ok(value),
        Err(ReadError::Missing) => Ok(JsValue::UNDEFINED),
        Err(ReadError::Paused) => Ok(JsValue::FALSE),
        Err(error) => Err(JsError::new(&error.to_string())),
    }
}

fn boolean(value: bool) -> JsValue {
    JsValue::from(u32::from(value))
}

fn entry_of(entry: &Entry) -> JsValue {
    let value = entry.value.as_ref().map_or(JsValue::NULL, |value| bytes(value).into());
    Array::of3(&number(entry.seq).into(), &bytes(&entry.key), &value).into()
}

fn change_of(change: &Change) -> JsValue {
    Array::of2(&entry_of(&change.entry), &change.is_deletion.into()).into()
}

fn payloads(answering: Option<Answering>) -> Array {
    let payloads = answering.map(Answering::finish).unwrap_or_default();
    payloads.iter().map(|payload| bytes(payload)).collect()
}
