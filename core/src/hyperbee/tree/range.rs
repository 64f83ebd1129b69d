//! A walk over the entries of a range, in either direction.
//!
//! Source: hyperbee 2.27, `iterators/range.js`.

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::{Entry, Found, NodeRef, ReadError, View};
use crate::hyperbee::MAX_DEPTH;
use crate::hyperbee::error::{BadBlock, Problem};
use crate::hyperbee::keys::Range;

/// A walk over a [`Range`] that can be stopped and gone on with.
///
/// It belongs to one version: give every [`next`](Self::next) a [`View`] of that version.
#[derive(Debug)]
pub struct RangeCursor {
    range: Range,
    /// Nodes from the root down, with the position in each: even is a child, odd is a key.
    stack: Vec<Frame>,
    is_open: bool,
    /// Entries still wanted; `None` is all.
    left: Option<u64>,
    /// The key given last.
    last: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Frame {
    node: NodeRef,
    /// -1 when a walk down has left the node.
    i: i64,
}

/// Where a cursor is, for a peer that is to read ahead: block, place in its index and position, per node.
pub type Checkpoint = Vec<u64>;

impl RangeCursor {
    /// Makes a cursor at the start of a range.
    pub fn new(range: Range) -> Self {
        let left = range.limit;
        Self { range, stack: Vec::new(), is_open: false, left, last: None }
    }

    /// Goes to where the range begins, as the first [`next`](Self::next) does otherwise.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The cursor has not moved.
    pub fn open(&mut self, view: &mut View<'_>) -> Result<(), ReadError> {
        if !self.is_open {
            self.stack = self.seek(view)?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The cursor has not moved.
    pub fn next(&mut self, view: &mut View<'_>) -> Result<Option<Entry>, ReadError> {
        if self.left == Some(0) {
            return Ok(None);
        }
        self.open(view)?;
        while let Some(top) = self.stack.last_mut() {
            let reverse = self.range.reverse;
            let keys = view.key_count(&top.node);
            let n = usize::try_from(top.i >> 1).unwrap_or(keys);
            let next = if reverse { top.i - 1 } else { top.i + 1 };

            if top.i & 1 == 0 {
                if view.is_leaf(&top.node) {
                    top.i = next;
                    continue;
                }
                let child = match view.child(&top.node, n) {
                    Err(ReadError::Missing) => return Err(self.ask_ahead(view)),
                    child => child?,
                };
                top.i = next;
                if self.stack.len() >= MAX_DEPTH {
                    return Err(view.too_deep());
                }
                let i = if reverse { last_position(view, &child) } else { 0 };
                self.stack.push(Frame { node: child, i });
                continue;
            }

            if n >= keys {
                self.stack.pop();
                continue;
            }
            let entry = match view.entry_at(&top.node, n) {
                Err(ReadError::Missing) => return Err(self.ask_ahead(view)),
                entry => entry?,
            };
            top.i = next;
            if self.is_beyond(&entry.key) {
                self.left = Some(0);
                return Ok(None);
            }
            self.check_order(&entry)?;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Returns where the cursor is; empty before it was opened.
    ///
    /// Nodes that only a batch knows are left out.
    pub fn checkpoint(&self) -> Checkpoint {
        let mut numbers = Vec::new();
        for frame in &self.stack {
            if let (NodeRef::Stored(node), Ok(i)) = (&frame.node, u64::try_from(frame.i)) {
                numbers.extend([node.seq, node.offset, i]);
            }
        }
        numbers
    }

    /// Returns whether the walk is over.
    pub fn is_done(&self) -> bool {
        self.left == Some(0) || (self.is_open && self.stack.is_empty())
    }

    /// Returns the range, with the limit that is left.
    pub fn rest(&self) -> Range {
        Range { limit: self.left, ..self.range.clone() }
    }

    /// Makes a cursor where another one was.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn resume(range: Range, checkpoint: &[u64], view: &mut View<'_>) -> Result<Self, ReadError> {
        let mut cursor = Self::new(range);
        if checkpoint.is_empty() {
            return Ok(cursor);
        }
        for place in checkpoint.chunks_exact(3) {
            let &[seq, offset, i] = place else { break };
            let bad = |problem| ReadError::Invalid(BadBlock { seq, problem });
            if cursor.stack.len() >= MAX_DEPTH {
                return Err(bad(Problem::TooDeep));
            }
            if seq >= view.version {
                return Err(bad(Problem::Cycle));
            }
            let node = view.reader.node(seq, offset)?;
            let positions = u64::try_from(2 * node.level().keys.len() + 1).unwrap_or(u64::MAX);
            let i = i64::try_from(i.min(positions)).unwrap_or(0);
            cursor.stack.push(Frame { node: NodeRef::Stored(node), i });
        }
        cursor.is_open = true;
        Ok(cursor)
    }

    /// Goes down to the first entry of the range.
    fn seek(&self, view: &mut View<'_>) -> Result<Vec<Frame>, ReadError> {
        let mut stack = Vec::new();
        let reverse = self.range.reverse;
        let Some(mut node) = view.root()? else { return Ok(stack) };
        let Some((start, is_inclusive)) = self.range.start() else {
            let i = if reverse { last_position(view, &node) } else { 0 };
            stack.push(Frame { node, i });
            return Ok(stack);
        };
        for _ in 0..MAX_DEPTH {
            let n = match view.search(&node, start)? {
                Found::Gap(n) => n,
                Found::Key(n) => {
                    let i = match (is_inclusive, reverse) {
                        (true, _) => position(n) + 1,
                        (false, true) => position(n),
                        (false, false) => position(n) + 2,
                    };
                    stack.push(Frame { node, i });
                    return Ok(stack);
                }
            };
            let i = position(n) + if reverse { -1 } else { 1 };
            let child = if view.is_leaf(&node) { None } else { Some(view.child(&node, n)?) };
            if (0..=last_position(view, &node)).contains(&i) {
                stack.push(Frame { node, i });
            }
            match child {
                Some(child) => node = child,
                None => return Ok(stack),
            }
        }
        Err(view.too_deep())
    }

    /// Asks for what the walk will read of the node it is in, once a block of it is missing.
    fn ask_ahead(&self, view: &mut View<'_>) -> ReadError {
        let Some(top) = self.stack.last() else { return ReadError::Missing };
        let keys = view.key_count(&top.node);
        let most =
            self.left.map_or(keys + 1, |left| usize::try_from(left).unwrap_or(usize::MAX).min(keys + 1));
        let n = usize::try_from(top.i >> 1).unwrap_or(0);
        // Which children are in the range is known only once their keys are.
        let is_bounded = self.range.end().is_some();
        let (near, far) = if self.range.reverse {
            let children = if is_bounded { n..n + 1 } else { (n + 1).saturating_sub(most)..n + 1 };
            (n.saturating_sub(most)..n + 1, children)
        } else {
            let first = n + usize::from(top.i & 1 == 1);
            let children = if is_bounded { first..first + 1 } else { first..first + most };
            (n..n + most, children)
        };
        view.ask_ahead(&top.node, near, far);
        ReadError::Missing
    }

    fn is_beyond(&self, key: &[u8]) -> bool {
        let Some((end, is_inclusive)) = self.range.end() else { return false };
        match key.cmp(end) {
            Ordering::Equal => !is_inclusive,
            Ordering::Less => self.range.reverse,
            Ordering::Greater => !self.range.reverse,
        }
    }

    /// Refuses keys that do not go on in order: a tree that leads in a circle would never end.
    fn check_order(&mut self, entry: &Entry) -> Result<(), ReadError> {
        let in_order = self
            .last
            .as_ref()
            .is_none_or(|last| if self.range.reverse { entry.key < *last } else { entry.key > *last });
        if !in_order {
            return Err(BadBlock { seq: entry.seq, problem: Problem::Cycle }.into());
        }
        self.last = Some(entry.key.clone());
        Ok(())
    }
}

fn position(n: usize) -> i64 {
    2 * i64::try_from(n).expect("a node has few keys")
}

/// Returns the position of the last child.
fn last_position(view: &View<'_>, node: &NodeRef) -> i64 {
    position(view.key_count(node))
}
