//! What differs between two versions, without reading what they share.
//!
//! Source: hyperbee 2.27, `iterators/diff.js`.

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::{Entry, Found, NodeRef, ReadError, View};
use crate::hyperbee::MAX_DEPTH;
use crate::hyperbee::error::{BadBlock, Problem};
use crate::hyperbee::keys::Range;

/// A key whose entries differ. An equal value that was put again differs: its block is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The entry of the left version.
    pub left: Option<Entry>,
    /// The entry of the right version.
    pub right: Option<Entry>,
}

/// A walk over the differences of two versions, in key order.
///
/// It belongs to two versions of one core: give every [`next`](Self::next) the same ones.
#[derive(Debug)]
pub struct DiffCursor {
    left: Side,
    right: Side,
    /// Differences still wanted; `None` is all.
    limit: Option<u64>,
}

impl DiffCursor {
    /// Makes a cursor at the start of a range. Its direction is always up.
    pub fn new(range: &Range) -> Self {
        Self { left: Side::new(range), right: Side::new(range), limit: range.limit }
    }

    /// Returns the next difference, or `None` at the end.
    ///
    /// `versions` are left and right; they read the source of `view`, whose own version does not matter.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong, or after many steps without a difference. The cursor
    /// has lost nothing.
    pub fn next(
        &mut self,
        view: &mut View<'_>,
        versions: (u64, u64),
    ) -> Result<Option<Difference>, ReadError> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        let (left, right) = (&mut self.left, &mut self.right);
        let opened = (left.open(view, versions.0), right.open(view, versions.1));
        opened.0.and(opened.1)?;

        for _ in 0..MAX_STEPS {
            let (moves_left, moves_right) = match (left.top(), right.top()) {
                (None, None) => return Ok(None),
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(l), Some(r)) if l.spot == r.spot => {
                    left.skip(view)?;
                    right.skip(view)?;
                    continue;
                }
                // A child goes before a key: what the key compares with may be inside.
                (Some(l), Some(r)) if l.spot.is_key != r.spot.is_key => (!l.spot.is_key, !r.spot.is_key),
                (Some(l), Some(_)) => match (compare(left, right, view)?, l.spot.is_key) {
                    (Ordering::Equal, _) => (true, true),
                    // The side that ends first is behind as a key, but wider or the same as a child.
                    (Ordering::Less, is_key) => (is_key, !is_key),
                    (Ordering::Greater, is_key) => (!is_key, is_key),
                },
            };
            let ahead = (left.load(view, moves_left), right.load(view, moves_right));
            ahead.0.and(ahead.1)?;
            let found =
                Difference { left: left.step(view, moves_left)?, right: right.step(view, moves_right)? };
            if found.left.is_none() && found.right.is_none() {
                continue;
            }
            let difference = Difference {
                left: found.left.filter(|entry| left.admit(entry)),
                right: found.right.filter(|entry| right.admit(entry)),
            };
            if difference.left.is_none() && difference.right.is_none() {
                self.limit = Some(0);
                return Ok(None);
            }
            if let Some(limit) = &mut self.limit {
                *limit -= 1;
            }
            return Ok(Some(difference));
        }
        Err(ReadError::Paused)
    }
}

/// Compares where two sides are. A side with nothing above it is last.
fn compare(left: &Side, right: &Side, view: &mut View<'_>) -> Result<Ordering, ReadError> {
    let (left, right) = (left.bound(view), right.bound(view));
    Ok(match (left?, right?) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(left), Some(right)) => left.cmp(&right),
    })
}

/// One version on the way through a range.
#[derive(Debug)]
struct Side {
    start: Option<(Bytes, bool)>,
    end: Option<(Bytes, bool)>,
    stack: Vec<Frame>,
    is_open: bool,
    /// Whether the start of the range is still further down.
    is_seeking: bool,
    /// Keys passed so far; there are no more than blocks.
    passed: u64,
    version: u64,
}

#[derive(Clone, Debug)]
struct Frame {
    node: NodeRef,
    /// Even is a child, odd is a key.
    i: usize,
    /// What is at `i`.
    spot: Spot,
    /// The block of the first key after this node, if any.
    above: Option<u64>,
}

/// A key or a subtree, the same wherever it is pointed to from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    is_key: bool,
    seq: u64,
    offset: u64,
}

impl Side {
    fn new(range: &Range) -> Self {
        let up = Range { reverse: false, ..range.clone() };
        let own =
            |bound: Option<(&Bytes, bool)>| bound.map(|(key, is_inclusive)| (key.clone(), is_inclusive));
        let (start, end) = (own(up.start()), own(up.end()));
        let is_seeking = start.is_some();
        Self { start, end, stack: Vec::new(), is_open: false, is_seeking, passed: 0, version: 0 }
    }

    fn open(&mut self, view: &mut View<'_>, version: u64) -> Result<(), ReadError> {
        if self.is_open {
            return Ok(());
        }
        self.version = version;
        let root = match version.checked_sub(1).filter(|seq| *seq > 0) {
            Some(seq) => Some(NodeRef::Stored(view.reader.node(seq, 0)?)),
            None => None,
        };
        if let Some(node) = root.filter(|node| view.key_count(node) > 0) {
            self.push(view, node, None)?;
        }
        self.is_open = true;
        Ok(())
    }

    fn top(&self) -> Option<&Frame> {
        self.stack.last()
    }

    /// Goes into a node, at the start of the range if that is in it.
    fn push(&mut self, view: &mut View<'_>, node: NodeRef, above: Option<u64>) -> Result<(), ReadError> {
        let is_leaf = view.is_leaf(&node);
        let mut i = usize::from(is_leaf);
        let mut is_found = false;
        if self.is_seeking
            && let Some((start, is_inclusive)) = &self.start
        {
            (i, is_found) = match view.search(&node, start)? {
                Found::Key(n) if *is_inclusive => (2 * n + 1, true),
                Found::Key(n) => (2 * n + if is_leaf { 3 } else { 2 }, true),
                Found::Gap(n) => (2 * n + usize::from(is_leaf), is_leaf),
            };
        }
        let spot = spot(view, &node, i)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(view.too_deep());
        }
        if is_found || spot.is_none() {
            self.is_seeking = false;
        }
        if let Some(spot) = spot {
            self.stack.push(Frame { node, i, spot, above });
        }
        Ok(())
    }

    /// Loads what [`step`](Self::step) reads, so that it cannot stop half way.
    fn load(&mut self, view: &mut View<'_>, moves: bool) -> Result<(), ReadError> {
        let Some(top) = self.stack.last().filter(|_| moves) else { return Ok(()) };
        if top.spot.is_key {
            return view.entry(top.spot.seq).map(drop);
        }
        let child = view.child(&top.node, top.i / 2)?;
        match &self.start {
            Some((start, _)) if self.is_seeking => view.search(&child, start).map(drop),
            _ => Ok(()),
        }
    }

    /// Moves past the key here and returns it, or goes into the child here.
    fn step(&mut self, view: &mut View<'_>, moves: bool) -> Result<Option<Entry>, ReadError> {
        let Some(top) = self.stack.last().filter(|_| moves) else { return Ok(None) };
        let (is_key, seq) = (top.spot.is_key, top.spot.seq);
        if is_key {
            let entry = view.entry(seq)?;
            self.skip(view)?;
            self.is_seeking = false;
            return Ok(Some(entry));
        }
        let n = top.i / 2;
        let child = view.child(&top.node, n)?;
        let above = if n < view.key_count(&top.node) { Some(view.key_seq(&top.node, n)?) } else { top.above };
        self.skip(view)?;
        self.push(view, child, above)?;
        Ok(None)
    }

    /// Moves past what is here.
    fn skip(&mut self, view: &mut View<'_>) -> Result<(), ReadError> {
        let Some(top) = self.stack.last_mut() else { return Ok(()) };
        let i = top.i + if view.is_leaf(&top.node) { 2 } else { 1 };
        let next = spot(view, &top.node, i)?;
        if top.spot.is_key {
            self.passed += 1;
            if self.passed > self.version {
                return Err(BadBlock { seq: top.spot.seq, problem: Problem::Cycle }.into());
            }
        }
        match next {
            Some(spot) => (top.i, top.spot) = (i, spot),
            None => drop(self.stack.pop()),
        }
        Ok(())
    }

    /// Returns the key here, or the first key after the child here.
    fn bound(&self, view: &mut View<'_>) -> Result<Option<Bytes>, ReadError> {
        let Some(top) = self.stack.last() else { return Ok(None) };
        let n = top.i / 2;
        if n < view.key_count(&top.node) {
            return view.key_at(&top.node, n).map(Some);
        }
        match top.above {
            Some(seq) => Ok(Some(view.reader.key(seq)?.key.clone())),
            None => Ok(None),
        }
    }

    /// Returns whether an entry is in the range; the first one that is not ends this side.
    fn admit(&mut self, entry: &Entry) -> bool {
        let Some((end, is_inclusive)) = &self.end else { return true };
        let is_in = match entry.key.cmp(end) {
            Ordering::Less => true,
            Ordering::Equal => *is_inclusive,
            Ordering::Greater => false,
        };
        if !is_in {
            self.stack.clear();
        }
        is_in
    }
}

/// Returns what is at position `i` of a node, or `None` beyond its end.
fn spot(view: &View<'_>, node: &NodeRef, i: usize) -> Result<Option<Spot>, ReadError> {
    let (is_key, n) = (i % 2 == 1, i / 2);
    let NodeRef::Stored(stored) = node else { unreachable!("both sides are stored") };
    if is_key {
        if n >= view.key_count(node) {
            return Ok(None);
        }
        return Ok(Some(Spot { is_key, seq: stored.key_seq(n)?, offset: 0 }));
    }
    if n >= view.child_count(node) {
        return Ok(None);
    }
    let (seq, offset) = stored.child(n)?;
    Ok(Some(Spot { is_key, seq, offset }))
}

/// Steps without a difference before others get their turn.
const MAX_STEPS: usize = 4096;
