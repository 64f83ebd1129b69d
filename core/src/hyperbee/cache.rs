//! Decoded blocks, kept for the next read.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::MAX_KEYS;
use super::error::{BadBlock, Problem};
use super::messages::{Level, Node, YoloIndex};

/// The decoded blocks of one core that were read last.
///
/// A block has one place, by the low bits of its index, so the cache never holds more than it has places and
/// any run of that many blocks fits whole. Values keep the memory they are slices of.
#[derive(Debug, Default)]
pub struct BlockCache {
    /// A power of two of places, or none yet.
    slots: Vec<Option<Slot>>,
    /// Bytes of all cached blocks.
    bytes: usize,
    /// Where the next search for something to drop starts.
    hand: usize,
}

impl BlockCache {
    /// Forgets the blocks from `length` on: the core was truncated.
    pub fn truncate(&mut self, length: u64) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|slot| slot.seq >= length) {
                self.bytes -= slot.take().map_or(0, |slot| slot.size);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps a block that was written, if it is one of a bee.
    pub fn keep(&mut self, seq: u64, block: Bytes) {
        // A read that needs it will say what is wrong with it.
        let _ = self.insert(seq, block);
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.find(seq).is_some()
    }

    /// Returns the place of a block, for [`at`](Self::at).
    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        let place = self.place(seq)?;
        self.slots.get(place)?.as_ref().filter(|slot| slot.seq == seq)?;
        Some(place)
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Slot {
        self.slots[place].as_mut().expect("found just before")
    }

    /// Decodes a block and keeps it.
    ///
    /// # Errors
    ///
    /// [`BadBlock`] when it is none of a bee. Its index is looked at only when a tree node is wanted.
    pub(super) fn insert(&mut self, seq: u64, block: Bytes) -> Result<&mut Slot, BadBlock> {
        let size = block.len();
        let undecodable = BadBlock { seq, problem: Problem::Undecodable };
        let node = Node::decode(block).map_err(|_| undecodable)?;
        let (Some(index), Some(key)) = (node.index, node.key) else { return Err(undecodable) };

        self.make_room(seq);
        let place = self.place(seq).expect("there is room");
        self.bytes += size;
        let old = self.slots[place].replace(Slot { seq, size, key, value: node.value, index, levels: None });
        self.bytes -= old.map_or(0, |slot| slot.size);
        self.drop_excess(place);
        Ok(self.slots[place].as_mut().expect("placed above"))
    }

    /// Grows while another block is in the place of this one.
    fn make_room(&mut self, seq: u64) {
        while self.slots.len() < MAX_SLOTS {
            match self.place(seq).map(|place| &self.slots[place]) {
                Some(None) => return,
                Some(Some(slot)) if slot.seq == seq => return,
                _ => {}
            }
            let len = (self.slots.len() * 2).max(MIN_SLOTS);
            let old = core::mem::take(&mut self.slots);
            self.slots.resize_with(len, || None);
            for slot in old.into_iter().flatten() {
                let place = self.place(slot.seq).expect("resized above");
                self.slots[place] = Some(slot);
            }
        }
    }

    /// Drops blocks, but not the one at `keep`, until few enough bytes are left.
    fn drop_excess(&mut self, keep: usize) {
        for _ in 0..self.slots.len() {
            if self.bytes <= MAX_BYTES {
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            if self.hand != keep {
                self.bytes -= self.slots[self.hand].take().map_or(0, |slot| slot.size);
            }
        }
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let mask = u64::try_from(self.slots.len()).ok()?.checked_sub(1)?;
        usize::try_from(seq & mask).ok()
    }
}

/// A decoded block.
#[derive(Debug)]
pub(super) struct Slot {
    seq: u64,
    /// Bytes of the block.
    size: usize,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
    /// Encoded [`YoloIndex`].
    index: Bytes,
    /// The decoded index, from the first time a tree node of it was wanted.
    levels: Option<Arc<[Level]>>,
}

impl Slot {
    /// Returns the tree nodes of this block.
    ///
    /// # Errors
    ///
    /// [`BadBlock`] when they cannot be decoded or are more than any writer makes.
    pub(super) fn levels(&mut self) -> Result<&Arc<[Level]>, BadBlock> {
        if self.levels.is_none() {
            self.levels = Some(
                decode_index(self.index.clone()).map_err(|problem| BadBlock { seq: self.seq, problem })?,
            );
        }
        Ok(self.levels.as_ref().expect("set above"))
    }

    /// Returns whether the block took its key away. A put of null looks the same but for the index.
    pub(super) fn is_deletion(&mut self) -> Result<bool, BadBlock> {
        if self.value.is_some() {
            return Ok(false);
        }
        let seq = self.seq;
        Ok(!self.levels()?.iter().any(|level| level.keys.contains(&seq)))
    }
}

fn decode_index(index: Bytes) -> Result<Arc<[Level]>, Problem> {
    if index.len() > MAX_INDEX_LEN {
        return Err(Problem::TooLarge { limit: MAX_INDEX_LEN, found: index.len() });
    }
    let index = YoloIndex::decode(index).map_err(|_| Problem::Undecodable)?;
    Ok(index.levels.into())
}

/// Places at first.
const MIN_SLOTS: usize = 64;

/// Places at most: what fits in [`MAX_BYTES`] when the blocks of a bee are small.
const MAX_SLOTS: usize = 65_536;

/// Bytes of blocks at most, or one block.
const MAX_BYTES: usize = 16 << 20;

/// Bytes of an index at most: three nodes on each level of the deepest tree, each number of nine bytes.
const MAX_INDEX_LEN: usize = 3 * super::MAX_DEPTH * (3 * MAX_KEYS + 4) * 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(value: usize) -> Bytes {
        let node = Node {
            index: Some(Bytes::new()),
            key: Some(Bytes::new()),
            value: Some(alloc::vec![0; value].into()),
        };
        node.encode_to_vec().into()
    }

    #[test]
    fn run_of_blocks_stays_and_others_make_way() {
        let mut cache = BlockCache::default();
        let places = u64::try_from(MAX_SLOTS).unwrap();

        for seq in 0..3 * places {
            cache.insert(seq, block(1)).unwrap();
        }

        assert_eq!(cache.slots.len(), MAX_SLOTS);
        assert!((2 * places..3 * places).all(|seq| cache.contains(seq)));
        assert!(!cache.contains(places));
        cache.truncate(2 * places);
        assert!(cache.slots.iter().all(Option::is_none));
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn bytes_stay_below_their_limit() {
        let mut cache = BlockCache::default();

        for seq in 0..40 {
            cache.insert(seq, block(1 << 20)).unwrap();
            assert!(cache.contains(seq));
            assert!(cache.bytes <= MAX_BYTES);
        }
        cache.insert(40, block(MAX_BYTES)).unwrap();

        assert!(cache.contains(40));
        assert_eq!(cache.slots.iter().flatten().count(), 1);
    }

    #[test]
    fn block_without_key_or_index_is_refused() {
        let mut cache = BlockCache::default();
        let problem = Problem::Undecodable;

        for bytes in [&b""[..], b"\x0a\x00", b"\x12\x00", b"\xff\xff"] {
            assert_eq!(cache.insert(3, Bytes::from_static(bytes)).err(), Some(BadBlock { seq: 3, problem }));
        }
        assert!(cache.insert(3, Bytes::from_static(b"\x0a\x00\x12\x00")).is_ok());
    }
}
