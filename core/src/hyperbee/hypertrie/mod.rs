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
    pub fn get(&self, key: &str, hidden: bool) -> Result<Option<TrieNode>, ReadError> {
        let path = Path::new(normalize(key), hidden);
        let found = self.closest(&path, path.len())?;
        Ok(found.map(|node| (*node).clone()))
    }

    /// Returns what a block put, or `None` for the marker that a trie became empty.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the block is missing or wrong.
    pub fn get_by_seq(&self, seq: u64) -> Result<Option<TrieNode>, ReadError> {
        Ok(self.node(seq)?.map(|node| (*node).clone()))
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
            let slots = node.slots(i, digit);
            if !is_part_end {
                let Some(seq) = slots.first().filter(|slot| slot.0 == digit).map(|slot| slot.1) else {
                    return Ok(None);
                };
                head = self.node(seq)?;
                continue;
            }
            // Parts with equal hashes share a digit; which of them is ours shows only when they are loaded.
            let loaded = self.nodes(run(&slots, digit))?;
            head = loaded.into_iter().rev().find(|node| !node.path().collides(path, i));
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
    fn nodes(&self, seqs: impl Iterator<Item = u64>) -> Result<Vec<Arc<TrieNode>>, ReadError> {
        let loaded: Vec<_> = seqs.map(|seq| self.node(seq)).collect();
        Ok(loaded.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

/// Returns the blocks in the slots `digit`, `digit + 5` and so on, up to the first that is empty.
fn run(slots: &[(u8, u64)], digit: u8) -> impl Iterator<Item = u64> + '_ {
    let expected = (digit..).step_by(5);
    slots.iter().zip(expected).take_while(|(slot, expected)| slot.0 == *expected).map(|(slot, _)| slot.1)
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
        let prefix = String::from(normalize(prefix));
        Self { prefix, options, start: 0, stack: Vec::new(), is_open: false, given: 0 }
    }

    /// Returns the next node, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The cursor has lost nothing.
    pub fn next(&mut self, trie: &TrieView<'_>) -> Result<Option<TrieNode>, ReadError> {
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
                return Ok(Some((*node).clone()));
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
        let is_wanted = |digit: &u8| !(*digit == 4 && self.options.gt && i == self.start);

        let asked: Vec<_> = order
            .into_iter()
            .filter(is_wanted)
            .map(|digit| {
                let slots = top.node.slots(i, digit);
                (digit, trie.nodes(slots.into_iter().map(|slot| slot.1)))
            })
            .collect();
        for (digit, nodes) in asked {
            let from = frames.len();
            if top.node.path().digit(i) == digit {
                frames.push(Frame { i: i + 1, node: top.node.clone() });
            }
            frames.extend(nodes?.into_iter().map(|node| Frame { i: i + 1, node }));
            // Several with one digit collide; their order is that of their keys.
            frames[from..].sort_by(|a, b| b.node.key.cmp(&a.node.key));
        }
        Ok(frames)
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
    pub fn next(&mut self, trie: &TrieView<'_>) -> Result<Option<TrieNode>, ReadError> {
        while self.next < self.end {
            let seq = if self.reverse { self.end - 1 } else { self.next };
            let node = trie.node(seq)?;
            if self.reverse {
                self.end -= 1;
            } else {
                self.next += 1;
            }
            if let Some(node) = node {
                return Ok(Some((*node).clone()));
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
