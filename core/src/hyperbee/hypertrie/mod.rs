//! Hypertrie, the structure that drives had before Hyperbee. It can be read, not written.
//!
//! A key is the digits of the hashes of its parts between slashes. Every block holds one key and, for each
//! position of its digits, the newest blocks whose keys turn another way there.
//!
//! Source: hypertrie 5.1, `lib/get.js`, `lib/iterator.js`, `lib/history.js`.

mod node;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use node::{Trie, TrieHeader, TrieNode, decode_header};

use super::error::{BadBlock, Problem, ReadError};
use super::tree::BlockSource;
use node::{Path, normalize};

/// A trie at one length of its core, for the time of one read.
///
/// Reads are restartable, as those of [`View`](super::View).
#[derive(Clone, Copy)]
pub struct TrieView<'a> {
    source: &'a dyn BlockSource,
    length: u64,
}

impl<'a> TrieView<'a> {
    /// Reads the first `length` blocks, header included.
    pub fn new(source: &'a dyn BlockSource, length: u64) -> Self {
        Self { source, length }
    }

    /// Returns the node of a key; `hidden` keys are a world of their own.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn get(&self, key: &str, hidden: bool) -> Result<Option<Arc<TrieNode>>, ReadError> {
        let path = Path::new(normalize(key), hidden);
        self.closest(&path, path.len())
    }

    /// Returns what a block put, or `None` for the marker that a trie became empty.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the block is missing or wrong.
    pub fn get_by_seq(&self, seq: u64) -> Result<Option<Arc<TrieNode>>, ReadError> {
        self.node(seq)
    }

    /// Follows the first `len` digits of a path.
    fn closest(&self, path: &Path, len: usize) -> Result<Option<Arc<TrieNode>>, ReadError> {
        let Some(newest) = self.length.checked_sub(1).filter(|seq| *seq > 0) else { return Ok(None) };
        let mut head = self.node(newest)?;
        for i in 0..len {
            let Some(node) = &head else { return Ok(None) };
            let digit = path.digit(i);
            let is_part_end = Path::is_part_end(i);
            if node.path().digit(i) == digit && !(is_part_end && path.collides(node.path(), i)) {
                continue;
            }
            let mut slots = node.slots(i, digit);
            // Up to the first that is empty.
            let expected = (digit..).step_by(5);
            let filled =
                slots.iter().zip(expected).take_while(|(slot, expected)| slot.0 == *expected).count();
            // Only parts with equal hashes share a digit; which of them is ours shows when they are loaded.
            slots.truncate(if is_part_end { filled } else { filled.min(1) });
            let mut loaded = self.nodes(slots)?;
            loaded.retain(|node| !is_part_end || !node.path().collides(path, i));
            head = loaded.pop();
        }
        Ok(head)
    }

    fn node(&self, seq: u64) -> Result<Option<Arc<TrieNode>>, ReadError> {
        if !(1..self.length).contains(&seq) {
            return Err(BadBlock { seq, problem: Problem::Cycle }.into());
        }
        let node = TrieNode::decode(seq, self.source.block(seq)?)?;
        Ok(if node.key.is_empty() { None } else { Some(Arc::new(node)) })
    }

    /// Loads nodes, asking for all before it gives up.
    fn nodes(&self, slots: Vec<(u8, u64)>) -> Result<Vec<Arc<TrieNode>>, ReadError> {
        let (mut nodes, mut stopped) = (Vec::new(), None);
        for (_, seq) in slots {
            match self.node(seq) {
                Ok(node) => nodes.extend(node),
                Err(error) => stopped = stopped.or(Some(error)),
            }
        }
        stopped.map_or(Ok(nodes), Err)
    }
}

/// What to list of a trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// Whether folders are entered; else each gives one of its keys.
    pub recursive: bool,
    /// Whether the order is turned around.
    pub reverse: bool,
    /// Whether the key that is the prefix is left out.
    pub gt: bool,
    /// Whether hidden keys are listed, instead of all others.
    pub hidden: bool,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { recursive: true, reverse: false, gt: false, hidden: false }
    }
}

/// A walk over the keys below a prefix, in the order of their hashes.
#[derive(Debug)]
pub struct ListCursor {
    prefix: String,
    options: ListOptions,
    /// The position after the prefix.
    start: usize,
    stack: Vec<Frame>,
    is_open: bool,
    /// Keys given so far; there are no more than blocks.
    given: u64,
}

#[derive(Clone, Debug)]
struct Frame {
    i: usize,
    node: Arc<TrieNode>,
}

impl ListCursor {
    /// Makes a cursor over everything below `prefix`.
    pub fn new(prefix: &str, options: ListOptions) -> Self {
        // Twice, as upstream: once as a prefix, and once as a key.
        let prefix = String::from(normalize(normalize(prefix)));
        Self { prefix, options, start: 0, stack: Vec::new(), is_open: false, given: 0 }
    }

    /// Returns the next node, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The cursor has lost nothing.
    pub fn next(&mut self, trie: &TrieView<'_>) -> Result<Option<Arc<TrieNode>>, ReadError> {
        if !self.is_open {
            let path = Path::new(&self.prefix, self.options.hidden);
            self.start = path.len() - 1;
            let first = trie.closest(&path, self.start)?;
            self.stack.extend(first.map(|node| Frame { i: self.start, node }));
            self.is_open = true;
        }
        while let Some(top) = self.stack.last() {
            let end = if self.options.recursive { usize::MAX } else { self.start + DIGITS_PER_PART };
            if top.i >= top.node.path().len().min(end) {
                let node = top.node.clone();
                self.given += 1;
                if self.given > trie.length {
                    return Err(BadBlock { seq: node.seq, problem: Problem::Cycle }.into());
                }
                self.stack.pop();
                return Ok(Some(node));
            }
            let frames = self.turns(top, trie)?;
            self.stack.pop();
            if self.stack.len() + frames.len() > MAX_FRAMES {
                let found = self.stack.len() + frames.len();
                let problem = Problem::TooLarge { limit: MAX_FRAMES, found };
                return Err(BadBlock { seq: trie.length.saturating_sub(1), problem }.into());
            }
            self.stack.extend(frames);
        }
        Ok(None)
    }

    /// Returns the ways on from one position, the first to go last.
    fn turns(&self, top: &Frame, trie: &TrieView<'_>) -> Result<Vec<Frame>, ReadError> {
        let (i, mut frames) = (top.i, Vec::new());
        let order: [u8; 5] = if self.options.reverse { [4, 0, 1, 2, 3] } else { [3, 2, 1, 0, 4] };
        let mut stopped = None;
        for digit in order {
            if digit == 4 && self.options.gt && i == self.start {
                continue;
            }
            let from = frames.len();
            if top.node.path().digit(i) == digit {
                frames.push(Frame { i: i + 1, node: top.node.clone() });
            }
            // Asks for all before it gives up.
            match trie.nodes(top.node.slots(i, digit)) {
                Ok(nodes) => frames.extend(nodes.into_iter().map(|node| Frame { i: i + 1, node })),
                Err(error) => stopped = stopped.or(Some(error)),
            }
            // Several with one digit collide; their order is that of their keys. They are few.
            for end in from..frames.len() {
                let mut at = end;
                while at > from && frames[at].node.key > frames[at - 1].node.key {
                    frames.swap(at, at - 1);
                    at -= 1;
                }
            }
        }
        stopped.map_or(Ok(frames), Err)
    }
}

/// A walk over all blocks from `gte` to `lte`, both inclusive.
#[derive(Clone, Debug)]
pub struct TrieHistory {
    next: u64,
    end: u64,
    reverse: bool,
}

impl TrieHistory {
    /// Makes a cursor over the blocks of a trie of `length` blocks; no bounds means all of them.
    pub fn new(gte: Option<u64>, lte: Option<u64>, reverse: bool, length: u64) -> Self {
        let end = lte.map_or(length, |lte| lte.saturating_add(1).min(length));
        Self { next: gte.unwrap_or(1).max(1), end, reverse }
    }

    /// Returns what the next block put, or `None` at the end. A delete puts a neighbour again.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when a block is missing or wrong. The cursor has not moved.
    pub fn next(&mut self, trie: &TrieView<'_>) -> Result<Option<Arc<TrieNode>>, ReadError> {
        while self.next < self.end {
            let seq = if self.reverse { self.end - 1 } else { self.next };
            let node = trie.node(seq)?;
            if self.reverse {
                self.end -= 1;
            } else {
                self.next += 1;
            }
            if node.is_some() {
                return Ok(node);
            }
        }
        Ok(None)
    }
}

/// A hypertrie was asked for something that only a bee can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hypertrie is read only: it has get, list and history")
    }
}

impl core::error::Error for Unsupported {}

/// Digits of the hash of one part.
const DIGITS_PER_PART: usize = 32;

/// Nodes that wait their turn in one walk. Each position of a path leaves a few behind.
const MAX_FRAMES: usize = 1 << 16;
