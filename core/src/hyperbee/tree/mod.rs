//! Reading: lookups, and cursors over ranges, history and differences.
//!
//! The root of version `v` is tree node 0 of block `v - 1`; versions 0 and 1 are the empty tree. A tree node
//! has the blocks that hold its keys and, unless it is a leaf, one child more than keys.
//!
//! Source: hyperbee 2.27, `index.js` (`Batch`, `TreeNode`).

pub use diff::{DiffCursor, Difference};
pub use history::{Change, HistoryCursor, HistoryRange};
pub use range::{Checkpoint, RangeCursor};

mod diff;
mod hinted;
mod history;
mod linked;
mod range;
mod steps;

use crate::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::batch::{BatchWriter, NodeId};
use super::cache::{BlockCache, Slot};
use super::error::{BadBlock, Missing, Problem, ReadError};
use super::messages::Level;
use super::{MAX_DEPTH, MAX_KEYS};

/// The blocks of one core, as far as they are loaded.
pub trait BlockSource {
    /// Returns a block, decrypted.
    ///
    /// Blocks that are asked for are below the version that is read. What is sure to be needed is asked for
    /// together, before a read stops.
    ///
    /// # Errors
    ///
    /// [`Missing`] when it is not loaded; the source records the index.
    fn block(&self, seq: u64) -> Result<Bytes, Missing>;

    /// Returns a block that will be needed soon, if it is loaded. The read goes on without it.
    fn ahead(&self, seq: u64) -> Option<Bytes> {
        self.block(seq).ok()
    }
}

/// One key of a bee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block that put it.
    pub seq: u64,
    /// The key, with all prefixes.
    pub key: Bytes,
    /// The value; `None` is upstream's null.
    pub value: Option<Bytes>,
}

/// One version of a bee, for the time of one read.
///
/// Every read is restartable: after [`ReadError::Missing`] it has changed nothing but the cache.
pub struct View<'a> {
    reader: Reader<'a>,
    version: u64,
    pending: Option<&'a BatchWriter>,
    asks_ahead: bool,
}

impl<'a> View<'a> {
    /// Reads `version`, the length of the core when its last write ended.
    ///
    /// The cache belongs to the core and fork that the source reads.
    pub fn new(source: &'a dyn BlockSource, cache: &'a mut BlockCache, version: u64) -> Self {
        Self { reader: Reader { source, cache, trace: None }, version, pending: None, asks_ahead: false }
    }

    /// Reads what a batch would leave, were it written.
    pub fn of_batch(source: &'a dyn BlockSource, cache: &'a mut BlockCache, batch: &'a BatchWriter) -> Self {
        let version = batch.version();
        Self {
            reader: Reader { source, cache, trace: None },
            version,
            pending: Some(batch),
            asks_ahead: false,
        }
    }

    /// Notes the blocks that are read.
    pub fn traced(mut self, trace: &'a mut Trace) -> Self {
        self.reader.trace = Some(trace);
        self
    }

    /// Asks for all keys of a node once one of them is missing: more blocks, and fewer times to wait.
    pub fn asking_ahead(mut self, asks_ahead: bool) -> Self {
        self.asks_ahead = asks_ahead;
        self
    }

    /// Returns the version that is read, at least 1.
    pub fn version(&self) -> u64 {
        self.version.max(1)
    }

    /// Returns the entry of a key.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        let Some(mut node) = self.root()? else { return Ok(None) };
        for _ in 0..MAX_DEPTH {
            if let NodeRef::Stored(stored) = &node
                && self.reader.known(stored.seq)?.key == key
            {
                return self.own_entry(stored);
            }
            match self.search(&node, key)? {
                Found::Key(i) => return self.entry_at(&node, i).map(Some),
                Found::Gap(_) if self.is_leaf(&node) => return Ok(None),
                Found::Gap(i) => node = self.child(&node, i)?,
            }
        }
        Err(self.too_deep())
    }

    /// Returns the entry of the key that the block of a node is about, if the node is on the way to that key.
    ///
    /// A write rewrites its whole way, so the key is below the node through nodes of this block alone, or nowhere: it was
    /// deleted, then or later. Later means that a neighbour took the key's place further up, and the way to where the key
    /// was leads through a node that the key's own put left behind; upstream's `get` takes that put for the entry.
    fn own_entry(&mut self, node: &StoredNode) -> Result<Option<Entry>, ReadError> {
        if node.holds_own_key() { self.reader.entry_again(node.seq).map(Some) } else { Ok(None) }
    }

    /// Returns what a block put or deleted, in whatever version.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the block is missing or wrong.
    pub fn get_by_seq(&mut self, seq: u64) -> Result<Entry, ReadError> {
        self.entry(seq)
    }

    /// Returns the root, or `None` of the empty tree.
    fn root(&mut self) -> Result<Option<NodeRef>, ReadError> {
        if let Some(root) = self.pending.and_then(BatchWriter::root) {
            return Ok(Some(NodeRef::Pending(root)));
        }
        let Some(seq) = self.version.checked_sub(1).filter(|seq| *seq > 0) else { return Ok(None) };
        self.reader.node(seq, 0).map(|node| Some(NodeRef::Stored(node)))
    }

    /// Looks for a key in one node.
    fn search(&mut self, node: &NodeRef, key: &[u8]) -> Result<Found, ReadError> {
        let (mut low, mut high) = (0, self.key_count(node));
        while low < high {
            let middle = (low + high) / 2;
            match self.compare(key, node, middle) {
                Ok(Ordering::Equal) => return Ok(Found::Key(middle)),
                Ok(Ordering::Less) => high = middle,
                Ok(Ordering::Greater) => low = middle + 1,
                Err(error) => {
                    if self.asks_ahead {
                        self.ask_ahead(node, low..high, 0..0);
                    }
                    return Err(error);
                }
            }
        }
        Ok(Found::Gap(low))
    }

    /// Compares a key with the key at `i` of a node.
    fn compare(&mut self, key: &[u8], node: &NodeRef, i: usize) -> Result<Ordering, ReadError> {
        match node {
            NodeRef::Stored(stored) => {
                let seq = stored.key_seq(i)?;
                let slot = if seq == stored.seq { self.reader.known(seq)? } else { self.reader.key(seq)? };
                Ok(key.cmp(&slot.key))
            }
            NodeRef::Pending(id) => {
                let batch = self.batch();
                let (seq, bytes) = batch.key(*id, i);
                match bytes {
                    Some(bytes) => Ok(key.cmp(bytes)),
                    None => Ok(key.cmp(&self.reader.key(seq)?.key)),
                }
            }
        }
    }

    /// Returns the key at `i` of a node.
    fn key_at(&mut self, node: &NodeRef, i: usize) -> Result<Bytes, ReadError> {
        match node {
            NodeRef::Stored(stored) => {
                let seq = stored.key_seq(i)?;
                let slot = if seq == stored.seq { self.reader.known(seq)? } else { self.reader.key(seq)? };
                Ok(slot.key.clone())
            }
            NodeRef::Pending(id) => {
                let (seq, bytes) = self.batch().key(*id, i);
                match bytes {
                    Some(bytes) => Ok(bytes.clone()),
                    None => Ok(self.reader.key(seq)?.key.clone()),
                }
            }
        }
    }

    fn entry_at(&mut self, node: &NodeRef, i: usize) -> Result<Entry, ReadError> {
        let seq = self.key_seq(node, i)?;
        self.entry(seq)
    }

    fn key_seq(&self, node: &NodeRef, i: usize) -> Result<u64, ReadError> {
        match node {
            NodeRef::Stored(stored) => Ok(stored.key_seq(i)?),
            NodeRef::Pending(id) => Ok(self.batch().key(*id, i).0),
        }
    }

    fn entry(&mut self, seq: u64) -> Result<Entry, ReadError> {
        if let Some(entry) = self.pending.and_then(|batch| batch.pending_entry(seq)) {
            return Ok(entry);
        }
        self.reader.entry(seq)
    }

    fn child(&mut self, node: &NodeRef, i: usize) -> Result<NodeRef, ReadError> {
        match node {
            NodeRef::Stored(stored) => {
                let (seq, offset) = stored.child(i)?;
                self.reader.child(stored.seq, seq, offset).map(NodeRef::Stored)
            }
            NodeRef::Pending(id) => match self.batch().child(*id, i) {
                PendingChild::Loaded(id) => Ok(NodeRef::Pending(id)),
                PendingChild::Stored { seq, offset } => self.reader.node(seq, offset).map(NodeRef::Stored),
            },
        }
    }

    fn key_count(&self, node: &NodeRef) -> usize {
        match node {
            NodeRef::Stored(stored) => stored.level().keys.len(),
            NodeRef::Pending(id) => self.batch().key_count(*id),
        }
    }

    fn child_count(&self, node: &NodeRef) -> usize {
        match node {
            NodeRef::Stored(stored) => stored.level().children.len() / 2,
            NodeRef::Pending(id) => self.batch().child_count(*id),
        }
    }

    fn is_leaf(&self, node: &NodeRef) -> bool {
        self.child_count(node) == 0
    }

    /// Asks for the blocks of the keys and children of a node from `key` and `child` on.
    fn ask_ahead(
        &mut self,
        node: &NodeRef,
        keys: core::ops::Range<usize>,
        children: core::ops::Range<usize>,
    ) {
        let NodeRef::Stored(node) = node else { return };
        let level = node.level();
        let wanted = level.keys.iter().skip(keys.start).take(keys.len());
        let children = level.children.iter().step_by(2).skip(children.start).take(children.len());
        for seq in wanted.chain(children).filter(|seq| **seq < node.seq) {
            self.reader.ask(*seq);
        }
    }

    fn batch(&self) -> &'a BatchWriter {
        self.pending.expect("only a batch has nodes in memory")
    }

    fn too_deep(&self) -> ReadError {
        BadBlock { seq: self.version.saturating_sub(1), problem: Problem::TooDeep }.into()
    }
}

/// Where a key is in a node.
enum Found {
    /// It is the key here.
    Key(usize),
    /// It would be before the key here, in the child here.
    Gap(usize),
}

/// A tree node: of a block, or rewritten by a batch and not appended yet.
#[derive(Clone, Debug)]
pub(super) enum NodeRef {
    Stored(StoredNode),
    Pending(NodeId),
}

/// A child of a node in memory.
pub(super) enum PendingChild {
    Loaded(NodeId),
    Stored { seq: u64, offset: u64 },
}

/// A tree node of a block.
#[derive(Clone, Debug)]
pub(super) struct StoredNode {
    pub(super) seq: u64,
    offset: u64,
    levels: Arc<[Level]>,
    /// `offset`, checked to be one of `levels`.
    place: usize,
}

impl StoredNode {
    fn level(&self) -> &Level {
        &self.levels[self.place]
    }

    /// Returns the block of a key, which is never younger than the node.
    fn key_seq(&self, i: usize) -> Result<u64, BadBlock> {
        let seq = self
            .level()
            .keys
            .get(i)
            .copied()
            .ok_or(self.bad(Problem::NoSuchLevel { offset: self.offset }))?;
        if seq > self.seq { Err(self.bad(Problem::Cycle)) } else { Ok(seq) }
    }

    /// Returns block and place of a child, which is never younger than the node.
    fn child(&self, i: usize) -> Result<(u64, u64), BadBlock> {
        let Some(&[seq, offset]) = self.level().children.get(2 * i..2 * i + 2) else {
            return Err(self.bad(Problem::NoSuchLevel { offset: self.offset }));
        };
        let is_older = seq < self.seq || (seq == self.seq && offset != self.offset);
        if is_older { Ok((seq, offset)) } else { Err(self.bad(Problem::Cycle)) }
    }

    /// Returns whether the key that its block put is in it, or below it.
    fn holds_own_key(&self) -> bool {
        let mut seen = alloc::vec![false; self.levels.len()];
        let mut places = alloc::vec![self.place];
        while let Some(place) = places.pop() {
            let Some(level) = self.levels.get(place) else { continue };
            if core::mem::replace(&mut seen[place], true) {
                continue;
            }
            if level.keys.contains(&self.seq) {
                return true;
            }
            let own = level.children.chunks_exact(2).filter(|child| child[0] == self.seq);
            places.extend(own.filter_map(|child| usize::try_from(child[1]).ok()));
        }
        false
    }

    /// Returns how many nodes there are on the way that was written together with this one, with its leaf.
    ///
    /// All leaves are as deep. A write that ended further up mostly ended right above the leaves.
    fn own_height(&self) -> usize {
        let mut place = self.place;
        for height in 1..=MAX_DEPTH {
            let Some(level) = self.levels.get(place).filter(|level| !level.children.is_empty()) else {
                return height;
            };
            let own = level.children.chunks_exact(2).find(|child| child[0] == self.seq);
            let Some(offset) = own.and_then(|child| usize::try_from(child[1]).ok()) else {
                return height + 1;
            };
            place = offset;
        }
        MAX_DEPTH
    }

    /// Returns the blocks of all keys.
    pub(super) fn keys(&self) -> Result<Vec<u64>, BadBlock> {
        (0..self.level().keys.len()).map(|i| self.key_seq(i)).collect()
    }

    /// Returns block and place of all children.
    pub(super) fn children(&self) -> Result<Vec<(u64, u64)>, BadBlock> {
        (0..self.level().children.len() / 2).map(|i| self.child(i)).collect()
    }

    fn bad(&self, problem: Problem) -> BadBlock {
        BadBlock { seq: self.seq, problem }
    }
}

/// The blocks behind a read.
pub(super) struct Reader<'a> {
    source: &'a dyn BlockSource,
    cache: &'a mut BlockCache,
    trace: Option<&'a mut Trace>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn BlockSource, cache: &'a mut BlockCache) -> Self {
        Self { source, cache, trace: None }
    }

    /// Returns a block that is read as a whole.
    pub(super) fn block(&mut self, seq: u64) -> Result<&mut Slot, ReadError> {
        if let Some(trace) = &mut self.trace {
            trace.block(seq);
        }
        self.known(seq)
    }

    /// Returns a block that is read for its key.
    pub(super) fn key(&mut self, seq: u64) -> Result<&mut Slot, ReadError> {
        if let Some(trace) = &mut self.trace {
            trace.key(seq);
        }
        self.known(seq)
    }

    /// Returns a block that was read before, as far as a trace is concerned.
    fn known(&mut self, seq: u64) -> Result<&mut Slot, ReadError> {
        if let Some(place) = self.cache.find(seq) {
            return Ok(self.cache.at(place));
        }
        let block = self.source.block(seq)?;
        Ok(self.cache.insert(seq, block)?)
    }

    /// Returns the entry of a block that was read before, as far as a trace is concerned.
    fn entry_again(&mut self, seq: u64) -> Result<Entry, ReadError> {
        Ok(self.known(seq)?.entry(seq))
    }

    pub(super) fn entry(&mut self, seq: u64) -> Result<Entry, ReadError> {
        Ok(self.block(seq)?.entry(seq))
    }

    pub(super) fn node(&mut self, seq: u64, offset: u64) -> Result<StoredNode, ReadError> {
        let slot = self.block(seq)?;
        Self::node_of(slot, seq, offset)
    }

    /// Returns a child of a node of block `parent`.
    fn child(&mut self, parent: u64, seq: u64, offset: u64) -> Result<StoredNode, ReadError> {
        let slot = if seq == parent { self.known(seq)? } else { self.block(seq)? };
        Self::node_of(slot, seq, offset)
    }

    fn node_of(slot: &mut Slot, seq: u64, offset: u64) -> Result<StoredNode, ReadError> {
        let bad = |problem| ReadError::Invalid(BadBlock { seq, problem });
        let levels = slot.levels()?.clone();
        let place = usize::try_from(offset).ok().filter(|place| *place < levels.len());
        let place = place.ok_or(bad(Problem::NoSuchLevel { offset }))?;
        let (keys, numbers) = (levels[place].keys.len(), levels[place].children.len());
        if keys > MAX_KEYS {
            return Err(bad(Problem::TooLarge { limit: MAX_KEYS, found: keys }));
        }
        if numbers != 0 && numbers != 2 * (keys + 1) {
            return Err(bad(Problem::Children { keys, numbers }));
        }
        Ok(StoredNode { seq, offset, levels, place })
    }

    /// Asks for a block that will be needed.
    pub(super) fn ask(&mut self, seq: u64) {
        if !self.cache.contains(seq)
            && let Some(block) = self.source.ahead(seq)
        {
            // If it is no block of a bee, the read that needs it will say so.
            let _ = self.cache.insert(seq, block);
        }
    }
}

impl Slot {
    fn entry(&self, seq: u64) -> Entry {
        Entry { seq, key: self.key.clone(), value: self.value.clone() }
    }
}

/// The blocks that a read touches, in order, as upstream's `onseq` sees them.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Whether a block counts only once. An iterator keeps nothing but keys.
    once: bool,
    pub(super) touched: Vec<u64>,
    seen: BTreeSet<u64>,
}

impl Trace {
    /// Makes the trace of a lookup, which keeps the blocks that it read.
    pub fn of_lookup() -> Self {
        Self { once: true, ..Self::default() }
    }

    /// Returns the blocks, in order.
    pub fn touched(&self) -> &[u64] {
        &self.touched
    }

    /// Forgets a step that did not end.
    pub(super) fn rewind(&mut self) {
        for seq in self.touched.drain(..) {
            self.seen.remove(&seq);
        }
    }

    fn block(&mut self, seq: u64) {
        if !self.once || self.seen.insert(seq) {
            self.touched.push(seq);
        }
    }

    fn key(&mut self, seq: u64) {
        if self.seen.insert(seq) {
            self.touched.push(seq);
        }
    }
}
