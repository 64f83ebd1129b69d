//! Lookups that need no more blocks than show the result.
//!
//! A search compares a key with about three others in every node, and each of those is a block. Who knows
//! where the key is needs only the nodes on the way and, at its end, the key itself or its two neighbours:
//! that one key is found by a pointer to it, or that none lies between two neighbours, is all there is to
//! show. So a peer that has the blocks names those few, and the way. Both are hints: what they do not show is
//! searched for.
//!
//! A peer that runs upstream names every block that its search touched, in order, and no way. But the order tells
//! it: which key a binary search compares next says how the one before compared, without reading either.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use super::steps::Steps;
use super::{Entry, Found, MAX_DEPTH, MAX_KEYS, NodeRef, ReadError, Reader, StoredNode, View};
use crate::hyperbee::messages::CacheMessage;

impl View<'_> {
    /// Returns the entry of a key, as [`get`](Self::get) does, with the help of hints.
    ///
    /// All hinted blocks are asked for at once. Those that are wrong cost time, not correctness.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn get_hinted(&mut self, key: &[u8], hints: &CacheMessage) -> Result<Option<Entry>, ReadError> {
        let turns = &hints.turns;
        let blocks = &hints.blocks[..hints.blocks.len().min(MAX_HINTS)];
        let starts_here = blocks.first().copied() == self.version.checked_sub(1);
        let mut steps = (turns.is_empty() && starts_here).then(|| Steps::after_root(blocks));
        if steps.is_none() {
            self.ask_all(blocks);
        }
        let Some(NodeRef::Stored(mut node)) = self.root()? else { return self.get(key) };
        let height = node.own_height();
        // Whether the keys beside the subtree are known to be smaller and larger.
        let (mut before, mut after) = (Neighbour::End, Neighbour::End);
        let mut depth = 0;
        for _ in 0..MAX_DEPTH * (MAX_KEYS + 1) {
            if depth == MAX_DEPTH {
                break;
            }
            // As in `get`, but a hint alone does not show that this is the way to the key.
            if [before, after].iter().all(|neighbour| !matches!(neighbour, Neighbour::Unknown(_)))
                && self.reader.known(node.seq)?.key == key
            {
                return self.own_entry(&node);
            }
            let keys = node.level().keys.len();
            let is_leaf = node.level().children.is_empty();
            let shown = if steps.is_some() { &[] } else { blocks };
            let (mut low, mut high) = match self.narrow(&node, key, shown)? {
                Narrowed::Key(seq) => return self.entry(seq).map(Some),
                Narrowed::Gaps { low, high } => (low, high),
            };
            let mut turn = turns.get(depth).and_then(|turn| usize::try_from(*turn).ok());
            if let Some(known) = steps {
                let mut patience = PATIENCE;
                match self.follow(&node, key, known, 0..keys, &mut patience)? {
                    Some((Turn::Look(seq), _)) => {
                        // Compared with by the next round, as a key that is known.
                        if let Err(error) = self.reader.key(seq) {
                            self.ask_steps(known, &node, node.seq, height.saturating_sub(depth + 1));
                            return Err(error);
                        }
                        continue;
                    }
                    Some((Turn::Gap(gap), after)) => (turn, steps) = (Some(gap), Some(after)),
                    None => steps = None,
                }
            }
            if turn.is_none() {
                turn = self.own_child(&node, key)?;
            }
            let hinted = turn.filter(|turn| !is_leaf && (low..=high).contains(turn));
            if is_leaf && let Some(turn) = turn.filter(|turn| (low..=high).contains(turn)) {
                if turn > 0 {
                    before = Neighbour::Unknown(node.key_seq(turn - 1)?);
                }
                if turn < keys {
                    after = Neighbour::Unknown(node.key_seq(turn)?);
                }
                return self.absent(key, before, after);
            }
            if low < high && hinted.is_none() {
                match self.search(&NodeRef::Stored(node.clone()), key)? {
                    Found::Key(i) => return self.entry(node.key_seq(i)?).map(Some),
                    Found::Gap(i) => (low, high) = (i, i),
                }
            }
            let gap = hinted.unwrap_or(low);
            if gap > 0 {
                before = Neighbour::of(node.key_seq(gap - 1)?, gap <= low);
            }
            if gap < keys {
                after = Neighbour::of(node.key_seq(gap)?, gap >= high);
            }
            if is_leaf {
                return self.absent(key, before, after);
            }
            let (seq, offset) = node.child(gap)?;
            // Also once it is all here: what is kept then tells more of the rest of the way.
            if let Some(steps) = steps
                && !self.reader.cache.contains(seq)
            {
                self.ask_steps(steps, &node, seq, height.saturating_sub(depth + 2));
            }
            node = self.reader.child(node.seq, seq, offset)?;
            depth += 1;
        }
        Err(self.too_deep())
    }

    fn ask_all(&mut self, blocks: &[u64]) {
        for seq in blocks.iter().filter(|seq| (1..self.version).contains(*seq)) {
            self.reader.ask(*seq);
        }
    }

    /// Asks for what is likely to be needed of the rest of the way, at `node`, from the node in block `parent` on.
    fn ask_steps(&mut self, steps: Steps<'_>, node: &StoredNode, parent: u64, below: usize) {
        // After the root's block comes all that is unlikely, too; after any other, what was missed then.
        let room = if node.seq.checked_add(1) == Some(self.version) { FIRST_ASKED } else { 0 };
        self.ask_all(&steps.likely(parent, below, room));
    }

    /// Finds out how a search went on in a node, from the steps that it took, as far as the nodes below are here.
    ///
    /// `patience` is how many more places may be looked at.
    fn follow<'s>(
        &mut self,
        node: &StoredNode,
        key: &[u8],
        steps: Steps<'s>,
        range: Range<usize>,
        patience: &mut usize,
    ) -> Result<Option<(Turn, Steps<'s>)>, ReadError> {
        let Some(left) = patience.checked_sub(1) else { return Ok(None) };
        *patience = left;
        let Range { start, end } = range;
        if start >= end {
            return self.enter(node, key, steps, start, patience);
        }
        let middle = (start + end) / 2;
        let seq = node.key_seq(middle)?;
        let steps = if seq == node.seq { Some(steps) } else { steps.touch(seq) };
        let Some(steps) = steps else { return Ok(None) };
        let look = Some((Turn::Look(seq), steps));
        if let Some(place) = self.reader.cache.find(seq) {
            return match key.cmp(&self.reader.cache.at(place).key) {
                Ordering::Less => self.follow(node, key, steps, start..middle, patience),
                Ordering::Greater => self.follow(node, key, steps, middle + 1..end, patience),
                // A search ends with the key that it is for.
                Ordering::Equal => Ok(look.filter(|_| steps.is_over())),
            };
        }
        if steps.is_over() {
            return Ok(look);
        }
        let less = self.follow(node, key, steps, start..middle, patience)?;
        let greater = self.follow(node, key, steps, middle + 1..end, patience)?;
        Ok(match (less, greater) {
            (None, None) => None,
            // What is named tells more than what would not be named anyway.
            (Some((Turn::Gap(less), a)), Some((Turn::Gap(greater), b)))
                if a.are_after(&b) != b.are_after(&a) =>
            {
                let (gap, steps) = if a.are_after(&b) { (less, a) } else { (greater, b) };
                Some((Turn::Gap(gap), steps))
            }
            (Some(_), Some(_)) => look,
            (less, greater) => less.or(greater),
        })
    }

    /// Finds out whether a search can have gone on into the child at `gap`, or have ended there in a leaf.
    fn enter<'s>(
        &mut self,
        node: &StoredNode,
        key: &[u8],
        steps: Steps<'s>,
        gap: usize,
        patience: &mut usize,
    ) -> Result<Option<(Turn, Steps<'s>)>, ReadError> {
        if node.level().children.is_empty() {
            return Ok(steps.is_over().then_some((Turn::Gap(gap), steps)));
        }
        let (seq, offset) = node.child(gap)?;
        let steps = if seq == node.seq { Some(steps) } else { steps.touch(seq) };
        let Some(steps) = steps.and_then(Steps::descend) else { return Ok(None) };
        let entered = Some((Turn::Gap(gap), steps));
        let Some(place) = self.reader.cache.find(seq) else { return Ok(entered) };
        // A search that is for the key of a node's own block ends there.
        if self.reader.cache.at(place).key == key {
            return Ok(entered.filter(|_| steps.is_over()));
        }
        let child = Reader::node_of(self.reader.cache.at(place), seq, offset)?;
        let keys = child.level().keys.len();
        let goes_on = self.follow(&child, key, steps, 0..keys, patience)?.is_some();
        Ok(entered.filter(|_| goes_on))
    }

    /// Returns the child below which a node's own block put this key.
    fn own_child(&mut self, node: &StoredNode, key: &[u8]) -> Result<Option<usize>, ReadError> {
        let slot = self.reader.known(node.seq)?;
        if slot.key != key {
            return Ok(None);
        }
        for (i, (seq, offset)) in node.children()?.into_iter().enumerate() {
            if seq == node.seq && Reader::node_of(slot, seq, offset)?.holds_own_key() {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// Returns the blocks that show what [`get`](Self::get) returns, and the way through them.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn evidence(&mut self, key: &[u8]) -> Result<CacheMessage, ReadError> {
        let (mut blocks, mut turns) = (Vec::new(), Vec::new());
        let Some(NodeRef::Stored(mut node)) = self.root()? else {
            return Ok(CacheMessage::of(blocks, turns));
        };
        let (mut before, mut after) = (None, None);
        for _ in 0..MAX_DEPTH {
            if blocks.last() != Some(&node.seq) {
                blocks.push(node.seq);
            }
            let gap = match self.search(&NodeRef::Stored(node.clone()), key)? {
                Found::Key(i) => {
                    blocks.push(node.key_seq(i)?);
                    return Ok(CacheMessage::of(blocks, turns));
                }
                Found::Gap(i) => i,
            };
            if let Some(left) = gap.checked_sub(1) {
                before = Some(node.key_seq(left)?);
            }
            if gap < node.level().keys.len() {
                after = Some(node.key_seq(gap)?);
            }
            if node.level().children.is_empty() {
                blocks.extend(before.into_iter().chain(after));
                return Ok(CacheMessage::of(blocks, turns));
            }
            turns.extend(u64::try_from(gap));
            let (seq, offset) = node.child(gap)?;
            node = self.reader.child(node.seq, seq, offset)?;
        }
        Err(self.too_deep())
    }

    /// Compares with those keys of a node that cost nothing.
    fn narrow(&mut self, node: &StoredNode, key: &[u8], hints: &[u64]) -> Result<Narrowed, ReadError> {
        let (mut low, mut high) = (0, node.level().keys.len());
        for i in 0..high {
            let seq = node.key_seq(i)?;
            if !self.reader.cache.contains(seq) && !hints.contains(&seq) {
                continue;
            }
            match key.cmp(&self.reader.key(seq)?.key) {
                Ordering::Equal => return Ok(Narrowed::Key(seq)),
                Ordering::Greater => low = i + 1,
                Ordering::Less => {
                    high = i;
                    break;
                }
            }
        }
        Ok(Narrowed::Gaps { low, high })
    }

    /// Returns that a key is not there, once the keys beside its gap are known to be on their sides.
    fn absent(
        &mut self,
        key: &[u8],
        before: Neighbour,
        after: Neighbour,
    ) -> Result<Option<Entry>, ReadError> {
        let unknown = [before, after].map(|neighbour| match neighbour {
            Neighbour::Unknown(seq) => Some(seq),
            Neighbour::End | Neighbour::Known => None,
        });
        if unknown == [None, None] {
            return Ok(None);
        }
        let loaded =
            unknown.map(|seq| seq.map(|seq| self.reader.key(seq).map(|slot| slot.key.clone())).transpose());
        let [before, after] = loaded;
        let (before, after) = (before?, after?);
        let is_right = before.is_none_or(|before| *before < *key) && after.is_none_or(|after| *key < *after);
        // Hints that lead to the wrong leaf are of no use at all.
        if is_right { Ok(None) } else { self.get(key) }
    }
}

/// How a search went on.
enum Turn {
    /// Into the child here, or to the end in a leaf.
    Gap(usize),
    /// It compared with the key in this block, and what came of it is not known.
    Look(u64),
}

enum Narrowed {
    /// The key is in this block.
    Key(u64),
    /// It would be before one of the keys from `low` to `high`, both inclusive.
    Gaps { low: usize, high: usize },
}

/// The next key on one side of a subtree.
#[derive(Clone, Copy)]
enum Neighbour {
    /// There is none.
    End,
    /// It was compared with, or one that is nearer was.
    Known,
    /// It is in this block.
    Unknown(u64),
}

impl Neighbour {
    fn of(seq: u64, is_known: bool) -> Self {
        if is_known { Self::Known } else { Self::Unknown(seq) }
    }
}

/// Hints that are used: an upstream peer names about three blocks for each level of the tree.
const MAX_HINTS: usize = 128;

/// Places that are looked at to find out how a search went on; one that is told of rightly takes about a hundred.
const PATIENCE: usize = 2000;

/// Blocks that are asked for at once for the steps of a search, if some of them are unlikely to be needed. With the root,
/// its child and one that was missed, that is no more than twelve.
const FIRST_ASKED: usize = 9;
