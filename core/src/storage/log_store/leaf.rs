//! Leaves: sorted, immutable pieces of the index.
//!
//! # Wire
//!
//! `u32 count | count x u32 offset | entries`, an entry being `u16 key length | key | slot` and an offset counting
//! from the start of the payload. Integers are little-endian. A slot is `0 | u16 length | bytes` for a value that
//! stands in the leaf, or `1 | u64 record | u32 offset | u32 length` for one that stands in the log.

use alloc::vec::Vec;
use core::cell::Cell;

use bytes::Bytes;

/// Where the value of a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Beside the key.
    Inline(Bytes),
    /// In a record of the log.
    Pointer(Pointer),
}

/// The place of a value in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Address of the record.
    pub(super) record: u64,
    /// Bytes from the record's start to the value's.
    pub(super) offset: u32,
    /// Bytes of the value.
    pub(super) len: u32,
}

/// A leaf in memory: its payload, checked once when it was loaded.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    payload: Bytes,
    count: usize,
    /// Behind the entry that was found last: keys are often asked for in order.
    next: Cell<usize>,
}

impl Leaf {
    /// Returns the leaf of a [`LeafBuilder`]'s payload with so many entries.
    pub(super) fn built(payload: Bytes, count: usize) -> Self {
        Leaf { payload, count, next: Cell::new(0) }
    }

    /// Checks every offset, length and the order of keys; `None` when the payload is no leaf.
    pub(super) fn parse(payload: Bytes) -> Option<Self> {
        let count = usize::try_from(u32::from_le_bytes(payload.get(..4)?.try_into().ok()?)).ok()?;
        if count > payload.len() / 4 {
            return None;
        }
        let leaf = Leaf::built(payload, count);
        let mut previous: Option<&[u8]> = None;
        for i in 0..count {
            let (key, _) = leaf.checked_entry(i)?;
            if previous.is_some_and(|previous| previous >= key) {
                return None;
            }
            previous = Some(key);
        }
        Some(leaf)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Returns the slot of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Slot> {
        let is_at = |at: usize| at < self.count && self.key(at) == key;
        let guesses = [Some(self.next.get()), self.guess(key)];
        let at = guesses.into_iter().flatten().find(|&at| is_at(at));
        let at = at.unwrap_or_else(|| self.lower_bound(key));
        is_at(at).then(|| {
            self.next.set(at + 1);
            self.entry(at).1
        })
    }

    /// Where a key stands if keys are numbered in a row, as those of blocks and nodes mostly are.
    fn guess(&self, key: &[u8]) -> Option<usize> {
        let first = (self.count > 0).then(|| self.key(0)).filter(|first| first.len() == key.len())?;
        let number = |key: &[u8]| key.last_chunk().copied().map(u32::from_be_bytes);
        usize::try_from(number(key)?.checked_sub(number(first)?)?).ok()
    }

    /// Returns the position of the first key that is not below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Returns the key at a position below [`len`](Self::len).
    pub(super) fn key(&self, at: usize) -> &[u8] {
        self.checked_key(at).expect("checked by parse").0
    }

    /// Returns the lowest key.
    pub(super) fn first(&self) -> Option<Bytes> {
        (self.count > 0).then(|| self.entry(0).0)
    }

    /// Returns key and slot at a position below [`len`](Self::len), sharing the leaf's bytes.
    pub(super) fn entry(&self, at: usize) -> (Bytes, Slot) {
        let (key, slot) = self.checked_entry(at).expect("checked by parse");
        (self.payload.slice_ref(key), slot)
    }

    /// A key, and where its slot starts.
    fn checked_key(&self, at: usize) -> Option<(&[u8], usize)> {
        let bytes = &self.payload;
        let offset = u32_at(bytes, 4 + 4 * at)?;
        let key_len =
            usize::from(u16::from_le_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?));
        let key_at = offset + 2;
        let slot_at = key_at.checked_add(key_len)?;
        Some((bytes.get(key_at..slot_at)?, slot_at))
    }

    fn checked_entry(&self, at: usize) -> Option<(&[u8], Slot)> {
        let bytes = &self.payload;
        let (key, slot_at) = self.checked_key(at)?;
        let slot = match bytes.get(slot_at)? {
            0 => {
                let len = u16::from_le_bytes(bytes.get(slot_at + 1..slot_at + 3)?.try_into().ok()?);
                Slot::Inline(bytes.slice_ref(bytes.get(slot_at + 3..slot_at + 3 + usize::from(len))?))
            }
            1 => {
                let record = u64::from_le_bytes(bytes.get(slot_at + 1..slot_at + 9)?.try_into().ok()?);
                let offset = u32::try_from(u32_at(bytes, slot_at + 9)?).ok()?;
                let len = u32::try_from(u32_at(bytes, slot_at + 13)?).ok()?;
                Slot::Pointer(Pointer { record, offset, len })
            }
            _ => return None,
        };
        Some((key, slot))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

/// Collects sorted entries into the payload of one leaf.
#[derive(Debug, Default)]
pub(super) struct LeafBuilder {
    offsets: Vec<u32>,
    entries: Vec<u8>,
    first: Bytes,
}

impl LeafBuilder {
    /// Appends an entry; keys must rise.
    pub(super) fn push(&mut self, key: &[u8], slot: &Slot) {
        if self.offsets.is_empty() {
            // A copy: a slice would keep the keys of a whole batch in memory, as long as the leaf is in use.
            self.first = Bytes::copy_from_slice(key);
        }
        self.offsets.push(u32::try_from(self.entries.len()).expect("leaves are bounded"));
        self.entries.extend_from_slice(&u16::try_from(key.len()).expect("keys are bounded").to_le_bytes());
        self.entries.extend_from_slice(key);
        match slot {
            Slot::Inline(value) => {
                self.entries.push(0);
                let len = u16::try_from(value.len()).expect("inline values are bounded");
                self.entries.extend_from_slice(&len.to_le_bytes());
                self.entries.extend_from_slice(value);
            }
            Slot::Pointer(pointer) => {
                self.entries.push(1);
                self.entries.extend_from_slice(&pointer.record.to_le_bytes());
                self.entries.extend_from_slice(&pointer.offset.to_le_bytes());
                self.entries.extend_from_slice(&pointer.len.to_le_bytes());
            }
        }
    }

    /// Bytes of the payload so far.
    pub(super) fn size(&self) -> usize {
        4 + 4 * self.offsets.len() + self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Appends the payload to a record and starts over; returns the first key.
    pub(super) fn finish(&mut self, record: &mut Vec<u8>) -> Bytes {
        let base = 4 + 4 * self.offsets.len();
        record.reserve(self.size());
        record
            .extend_from_slice(&u32::try_from(self.offsets.len()).expect("leaves are bounded").to_le_bytes());
        for offset in &self.offsets {
            record.extend_from_slice(
                &(offset + u32::try_from(base).expect("leaves are bounded")).to_le_bytes(),
            );
        }
        record.extend_from_slice(&self.entries);
        self.offsets.clear();
        self.entries.clear();
        core::mem::take(&mut self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(keys: &[&'static str]) -> Leaf {
        let mut builder = LeafBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            let slot = if i % 2 == 0 {
                Slot::Inline(Bytes::from_static(key.as_bytes()))
            } else {
                Slot::Pointer(Pointer { record: 1 << 40, offset: 24, len: i as u32 })
            };
            builder.push(key.as_bytes(), &slot);
        }
        let mut payload = Vec::new();
        builder.finish(&mut payload);
        Leaf::parse(Bytes::from(payload)).unwrap()
    }

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        let leaf = leaf(&["a", "bb", "c", "d"]);

        assert_eq!(leaf.get(b"a"), Some(Slot::Inline(Bytes::from_static(b"a"))));
        assert_eq!(leaf.get(b"bb"), Some(Slot::Pointer(Pointer { record: 1 << 40, offset: 24, len: 1 })));
        assert_eq!(leaf.get(b"b"), None);
        assert_eq!(leaf.get(b"e"), None);
        assert_eq!((leaf.lower_bound(b"b"), leaf.lower_bound(b"z"), leaf.len()), (1, 4, 4));
    }

    #[test]
    fn damaged_leaf_is_refused_without_a_panic() {
        let whole = leaf(&["a", "bb", "c", "d"]).payload.to_vec();

        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[at] ^= 1 << bit;
                if let Some(leaf) = Leaf::parse(Bytes::from(broken)) {
                    (0..leaf.len()).for_each(|i| drop(leaf.entry(i)));
                }
            }
            assert!(Leaf::parse(Bytes::from(whole[..at].to_vec())).is_none() || at >= whole.len());
        }
    }
}
