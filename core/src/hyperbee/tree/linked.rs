//! Which blocks a version still needs, so that the others can be cleared.
//!
//! Source: hyperbee 2.27, `index.js` (`clearUnlinked`, `isLinked`, `links`).

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::{MAX_DEPTH, NodeRef, ReadError, View};

impl View<'_> {
    /// Returns whether the tree of this version points to the block `seq`.
    ///
    /// Every node of a block is on the way to the block's own key or to the first key of that node, so the
    /// ways to those are all that is read. Old blocks can name keys that are cleared: with `skip_missing` these
    /// do not count. Load what can be loaded first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn is_linked(&mut self, seq: u64, skip_missing: bool) -> Result<bool, ReadError> {
        let slot = self.reader.block(seq)?;
        let own = slot.key.clone();
        let first: Vec<u64> = slot.levels()?.iter().filter_map(|level| level.keys.first().copied()).collect();
        if self.is_on_way(&own, seq)? {
            return Ok(true);
        }
        let version = self.version;
        for key in first.into_iter().filter(|key| *key < version) {
            let key: Bytes = match self.reader.key(key) {
                Err(ReadError::Missing) if skip_missing => continue,
                slot => slot?.key.clone(),
            };
            if self.is_on_way(&key, seq)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether a lookup of `key` meets the block `seq`, as node or as key.
    fn is_on_way(&mut self, key: &[u8], seq: u64) -> Result<bool, ReadError> {
        let Some(mut node) = self.root()? else { return Ok(false) };
        for _ in 0..MAX_DEPTH {
            if let NodeRef::Stored(stored) = &node
                && stored.seq == seq
            {
                return Ok(true);
            }
            let (mut low, mut high) = (0, self.key_count(&node));
            while low < high {
                let middle = (low + high) / 2;
                if self.key_seq(&node, middle)? == seq {
                    return Ok(true);
                }
                match self.compare(key, &node, middle)? {
                    Ordering::Equal => return Ok(false),
                    Ordering::Less => high = middle,
                    Ordering::Greater => low = middle + 1,
                }
            }
            if self.is_leaf(&node) {
                return Ok(false);
            }
            node = self.child(&node, low)?;
        }
        Err(self.too_deep())
    }
}
