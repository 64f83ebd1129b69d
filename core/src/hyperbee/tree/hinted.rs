//! Lookups that need no more blocks than show the result.
//!
//! A search compares a key with about three others in every node, and each of those is a block. Who knows
//! where the key is needs only the nodes on the way and, at its end, the key itself or its two neighbours:
//! that one key is found by a pointer to it, or that none lies between two neighbours, is all there is to
//! show. So a peer that has the blocks names those few, and the way. Both are hints: what they do not show is
//! searched for.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Entry, Found, MAX_DEPTH, NodeRef, ReadError, StoredNode, View};
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
        let hints = &hints.blocks[..hints.blocks.len().min(MAX_HINTS)];
        for seq in hints.iter().filter(|seq| (1..self.version).contains(*seq)) {
            self.reader.ask(*seq);
        }
        let Some(NodeRef::Stored(mut node)) = self.root()? else { return self.get(key) };
        // Whether the keys beside the subtree are known to be smaller and larger.
        let (mut before, mut after) = (Neighbour::End, Neighbour::End);
        for depth in 0..MAX_DEPTH {
            // As in `get`, but a hint alone does not show that this is the way to the key.
            if [before, after].iter().all(|neighbour| !matches!(neighbour, Neighbour::Unknown(_))) {
                let slot = self.reader.known(node.seq)?;
                if slot.key == key {
                    return if slot.is_deletion()? { Ok(None) } else { Ok(Some(slot.entry(node.seq))) };
                }
            }
            let keys = node.level().keys.len();
            let is_leaf = node.level().children.is_empty();
            let (mut low, mut high) = match self.narrow(&node, key, hints)? {
                Narrowed::Key(seq) => return self.entry(seq).map(Some),
                Narrowed::Gaps { low, high } => (low, high),
            };
            let turn = turns.get(depth).and_then(|turn| usize::try_from(*turn).ok());
            let hinted = turn.filter(|turn| !is_leaf && (low..=high).contains(turn));
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
            node = self.reader.child(node.seq, seq, offset)?;
        }
        Err(self.too_deep())
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
