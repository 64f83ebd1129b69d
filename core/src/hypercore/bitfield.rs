//! One bit per block: which blocks are stored, here or at a peer.
//!
//! Source: hypercore 11.35, `lib/bitfield.js` and `lib/remote-bitfield.js`.

use crate::collections::{BTreeMap, BTreeSet};
use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

/// Bits of one page, the unit of storage.
pub const BITS_PER_PAGE: u64 = 32768;

/// Bytes of one page: 1024 little-endian `u32`, lowest bit first.
pub const BYTES_PER_PAGE: usize = 4096;

/// Bits of one segment, the unit of `want`.
pub const BITS_PER_SEGMENT: u64 = 2_097_152;

/// A set of block indexes, paged; pages that are all ones or all zeros take no memory of their own.
#[derive(Clone, Debug)]
pub struct Bitfield {
    /// Pages by index. A missing page is all zeros.
    pages: BTreeMap<u64, Page>,
    changes: Changes,
    /// Bits at or above this index are never set.
    limit: u64,
}

/// Which pages changed.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// Since [`Bitfield::take_dirty`].
    dirty: BTreeSet<u64>,
    /// When, as counted by `revision`.
    revisions: BTreeMap<u64, u64>,
    revision: u64,
}

impl Changes {
    fn note(&mut self, page: u64) {
        self.dirty.insert(page);
        self.note_loaded(page);
    }

    fn note_loaded(&mut self, page: u64) {
        self.revision += 1;
        self.revisions.insert(page, self.revision);
    }
}

/// Returns how a page is stored: without the zeros at its end and, where many bytes at its start are all ones, without those. A log that
/// is appended to writes a page each time.
///
/// | bytes | |
/// | --- | --- |
/// | any | from behind the ones to the last that is not zero |
/// | 2 | how many bytes of ones are left out, a multiple of eight, little-endian |
/// | 1 | zero, which is not the last byte of a page with its ones |
#[must_use]
pub fn pack_page(page: &[u8]) -> Bytes {
    // By eight at first, in which most of a page is the same.
    let zeros = page.as_rchunks::<8>().1.iter().rev().take_while(|word| **word == [0; 8]).count() * 8;
    let end = page[..page.len() - zeros].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let ones = page.as_chunks::<8>().0.iter().take_while(|word| **word == [0xff; 8]).count() * 8;
    let page = &page[..end];
    if ones == 0 {
        return Bytes::copy_from_slice(page);
    }
    let mut stored = Vec::with_capacity(page.len() - ones + 3);
    stored.extend_from_slice(&page[ones..]);
    stored.extend_from_slice(&(ones as u16).to_le_bytes());
    stored.push(0);
    stored.into()
}

/// Returns the bytes of a page that is stored, [packed](pack_page) or as upstream stores it; `None` when it is neither.
#[must_use]
pub fn unpack_page(stored: &[u8]) -> Option<Bytes> {
    let (ones, rest) = match stored {
        [rest @ .., low, high, 0] if stored.len() < BYTES_PER_PAGE => {
            (usize::from(u16::from_le_bytes([*low, *high])), rest)
        }
        whole => (0, whole),
    };
    if ones + rest.len() > BYTES_PER_PAGE {
        return None;
    }
    let mut page = Vec::with_capacity(BYTES_PER_PAGE);
    page.resize(ones, 0xff);
    page.extend_from_slice(rest);
    page.resize(BYTES_PER_PAGE, 0);
    Some(page.into())
}

/// A change of the bits `start..end` to `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitChange {
    /// First bit.
    pub start: u64,
    /// End, exclusive.
    pub end: u64,
    /// The new value.
    pub value: bool,
}

/// One `bitfield` message that answers a `want`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantAnswer {
    /// First bit, a multiple of 32.
    pub start: u64,
    /// The bits, in little-endian `u32` words: a multiple of 4 bytes.
    pub words: Bytes,
}

impl Default for Bitfield {
    fn default() -> Self {
        Self::new()
    }
}

impl Bitfield {
    /// Returns an empty bitfield for the blocks of a local core.
    pub fn new() -> Self {
        Self::bounded(MAX_BITS)
    }

    /// Returns an empty bitfield that ignores every bit at or above `limit`, whatever a peer claims.
    pub fn bounded(limit: u64) -> Self {
        Self { pages: BTreeMap::new(), changes: Changes::default(), limit: limit.min(MAX_BITS) }
    }

    /// Changes the limit. Bits beyond a lower one are cleared.
    pub fn set_limit(&mut self, limit: u64) {
        let limit = limit.min(MAX_BITS);
        if limit < self.limit {
            self.set_range(limit, self.limit, false);
        }
        self.limit = limit;
    }

    /// Returns whether the bit is set.
    pub fn get(&self, index: u64) -> bool {
        let (page, bit) = split(index);
        self.pages.get(&page).is_some_and(|page| page.get(bit))
    }

    /// Sets or clears one bit.
    pub fn set(&mut self, index: u64, value: bool) {
        self.set_range(index, index.saturating_add(1), value);
    }

    /// Sets or clears the bits `start..end`; whole pages cost nothing.
    pub fn set_range(&mut self, start: u64, end: u64, value: bool) {
        let end = end.min(self.limit);
        if start >= end {
            return;
        }
        let (first, last) = (start / BITS_PER_PAGE, (end - 1) / BITS_PER_PAGE);
        if value {
            for index in first..=last {
                let (from, to) = clip(index, start, end);
                if self.pages.entry(index).or_default().fill(from, to, true) {
                    self.changes.note(index);
                }
            }
        } else {
            for (&index, page) in self.pages.range_mut(first..=last) {
                let (from, to) = clip(index, start, end);
                if page.fill(from, to, false) {
                    self.changes.note(index);
                }
            }
        }
    }

    /// Overwrites the bits from `start` on with `words` (little-endian `u32`), as a `bitfield` message
    /// says. Returns false and changes nothing when `start` is not a multiple of 32.
    pub fn insert(&mut self, start: u64, words: &[u8]) -> bool {
        if !start.is_multiple_of(32) {
            return false;
        }
        let bits = (words.len() as u64).saturating_mul(8);
        let end = start.saturating_add(bits).min(self.limit);
        let mut at = start;
        let mut rest = words;
        while at < end && !rest.is_empty() {
            let (index, bit) = split(at);
            let room = (BITS_PER_PAGE - u64::from(bit)) / 8;
            let take = usize::try_from(room).map_or(rest.len(), |room| room.min(rest.len()));
            let (head, tail) = rest.split_at(take);
            if self.pages.contains_key(&index) || head.iter().any(|&byte| byte != 0) {
                let page = self.pages.entry(index).or_default();
                let mut bytes = page.to_bytes();
                let offset = bit as usize / 8;
                if let Some(target) = bytes.get_mut(offset..offset + take) {
                    target.copy_from_slice(head);
                }
                page.load(&bytes);
                if index == self.limit / BITS_PER_PAGE {
                    page.fill((self.limit % BITS_PER_PAGE) as u32, BITS_PER_PAGE as u32, false);
                }
                self.changes.note(index);
            }
            at += take as u64 * 8;
            rest = tail;
        }
        true
    }

    /// Makes the bits `start..end` those that are set in `these` and not in `those`, up to the limit.
    pub fn set_difference(&mut self, these: &Self, those: &Self, start: u64, end: u64) {
        let end = end.min(self.limit);
        if start >= end {
            return;
        }
        self.set_range(start, end, false);
        for (&index, page) in these.pages.range(start / BITS_PER_PAGE..=(end - 1) / BITS_PER_PAGE) {
            if matches!(page.bits, Bits::Empty) {
                continue;
            }
            let (from, to) = clip(index, start, end);
            let mut page = page.clone();
            if let Some(other) = those.pages.get(&index) {
                page.remove(other);
            }
            page.fill(0, from, false);
            page.fill(to, FULL, false);
            if let Some(target) = self.pages.get(&index).filter(|target| target.set > 0) {
                page.add(target);
            }
            self.pages.insert(index, page);
            self.changes.note(index);
        }
    }

    /// Returns the first set bit at or after `from`.
    pub fn first_set(&self, from: u64) -> Option<u64> {
        let (first, bit) = split(from);
        self.pages.range(first..).find_map(|(&index, page)| {
            let from = if index == first { bit } else { 0 };
            page.find_first(true, from).map(|bit| join(index, bit))
        })
    }

    /// Returns the first bit at or after `from` that is not set.
    pub fn first_unset(&self, from: u64) -> u64 {
        let (first, bit) = split(from);
        let mut expected = first;
        for (&index, page) in self.pages.range(first..) {
            if index != expected {
                break;
            }
            let from = if index == first { bit } else { 0 };
            if let Some(bit) = page.find_first(false, from) {
                return join(index, bit);
            }
            expected += 1;
        }
        join(expected, 0).max(from)
    }

    /// Returns the last set bit at or before `from`.
    pub fn last_set(&self, from: u64) -> Option<u64> {
        let (last, bit) = split(from);
        self.pages.range(..=last).rev().find_map(|(&index, page)| {
            let from = if index == last { bit } else { LAST_BIT };
            page.find_last(true, from).map(|bit| join(index, bit))
        })
    }

    /// Returns the last bit at or before `from` that is not set.
    pub fn last_unset(&self, from: u64) -> Option<u64> {
        let (mut index, mut bit) = split(from);
        loop {
            let Some(page) = self.pages.get(&index) else {
                return Some(join(index, bit));
            };
            if let Some(bit) = page.find_last(false, bit) {
                return Some(join(index, bit));
            }
            index = index.checked_sub(1)?;
            bit = LAST_BIT;
        }
    }

    /// Returns how many bits of `start..end` are set.
    pub fn count(&self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let range = start / BITS_PER_PAGE..=(end - 1) / BITS_PER_PAGE;
        self.pages
            .range(range)
            .map(|(&index, page)| {
                let (from, to) = clip(index, start, end);
                u64::from(page.count(from, to))
            })
            .sum()
    }

    /// Returns whether any bit of `start..end` is set.
    pub fn has_set(&self, start: u64, end: u64) -> bool {
        start < end && self.first_set(start).is_some_and(|bit| bit < end)
    }

    /// Returns whether any bit of `start..end` is not set.
    pub fn has_unset(&self, start: u64, end: u64) -> bool {
        start < end && self.first_unset(start) < end
    }

    /// Returns the contiguous length: the first unset bit, searched from `hint` up, below which
    /// every bit is known to be set.
    pub fn contiguous_length(&self, hint: u64) -> u64 {
        self.first_unset(hint)
    }

    /// Answers a `want` of `length` bits from `start`: both ends rounded outwards to 32 bits, one
    /// message per segment that exists, without the words past its last page.
    pub fn want(&self, start: u64, length: u64) -> impl Iterator<Item = WantAnswer> + '_ {
        let end = start.saturating_add(length).min(MAX_BITS);
        let end = end.next_multiple_of(32);
        let mut at = start - start % 32;
        core::iter::from_fn(move || {
            while at < end {
                let segment = at / BITS_PER_SEGMENT;
                let first_page = segment * PAGES_PER_SEGMENT;
                let next_page = first_page + PAGES_PER_SEGMENT;
                let from = at;
                let last = self.pages.range(first_page..next_page).next_back().map(|(&index, _)| index);
                // Upstream allocates the first page of the first segment from the start.
                let Some(last) = last.or((segment == 0).then_some(0)) else {
                    let (&page, _) = self.pages.range(next_page..).next()?;
                    at = page / PAGES_PER_SEGMENT * BITS_PER_SEGMENT;
                    continue;
                };
                let to = end.min((last + 1) * BITS_PER_PAGE);
                at = next_page * BITS_PER_PAGE;
                if from < to {
                    return Some(WantAnswer { start: from, words: self.words(from, to) });
                }
            }
            None
        })
    }

    /// Takes in the bytes of a page; what they lack of 4096 is zero. It is not dirty.
    pub fn load_page(&mut self, index: u64, bytes: &[u8]) {
        if index >= MAX_BITS / BITS_PER_PAGE {
            return;
        }
        let mut page = Page::default();
        let mut full = [0; BYTES_PER_PAGE];
        let length = bytes.len().min(BYTES_PER_PAGE);
        full[..length].copy_from_slice(&bytes[..length]);
        page.load(&full);
        self.pages.insert(index, page);
        self.changes.note_loaded(index);
    }

    /// Returns how often anything has changed.
    pub fn revision(&self) -> u64 {
        self.changes.revision
    }

    /// Returns the pages from one on that have changed after a revision.
    pub fn changed_after(&self, revision: u64, first: u64) -> impl Iterator<Item = u64> + '_ {
        let pages = self.changes.revisions.range(first..);
        pages.filter(move |(_, at)| **at > revision).map(|(page, _)| *page)
    }

    /// Returns the 4096 bytes of a page.
    pub fn page(&self, index: u64) -> Bytes {
        let bytes = self.pages.get(&index).map_or([0; BYTES_PER_PAGE], Page::to_bytes);
        Bytes::copy_from_slice(&bytes)
    }

    /// Returns the pages changed since the last call, with their bytes.
    pub fn take_dirty(&mut self) -> Vec<(u64, Bytes)> {
        let dirty = core::mem::take(&mut self.changes.dirty);
        dirty.into_iter().map(|index| (index, self.page(index))).collect()
    }

    /// Returns the pages that `changes` would change and how they would be [stored](pack_page), in page order: what
    /// a commit has to write before the bits may be shown to anyone.
    pub fn pages_after(&self, changes: &[BitChange]) -> Vec<(u64, Bytes)> {
        let mut after = Self::bounded(self.limit);
        for change in changes {
            if change.start >= change.end {
                continue;
            }
            let range = change.start / BITS_PER_PAGE..=(change.end - 1) / BITS_PER_PAGE;
            for (&index, page) in self.pages.range(range) {
                after.pages.entry(index).or_insert_with(|| page.clone());
            }
            after.set_range(change.start, change.end, change.value);
        }
        let dirty = core::mem::take(&mut after.changes.dirty);
        dirty.into_iter().map(|index| (index, pack_page(&after.page(index)))).collect()
    }

    /// Forgets every bit.
    pub fn clear(&mut self) {
        let touched: Vec<u64> = self.pages.keys().copied().collect();
        self.pages.clear();
        touched.into_iter().for_each(|page| self.changes.note(page));
    }

    fn words(&self, start: u64, end: u64) -> Bytes {
        let mut out = Vec::with_capacity(usize::try_from((end - start) / 8).unwrap_or(0));
        for index in start / BITS_PER_PAGE..=(end - 1) / BITS_PER_PAGE {
            let (from, to) = clip(index, start, end);
            let bytes = self.pages.get(&index).map_or([0; BYTES_PER_PAGE], Page::to_bytes);
            out.extend_from_slice(&bytes[from as usize / 8..to as usize / 8]);
        }
        Bytes::from(out)
    }
}

/// 32768 bits.
#[derive(Clone, Debug, Default)]
struct Page {
    bits: Bits,
    /// How many bits are set.
    set: u32,
}

#[derive(Clone, Debug, Default)]
enum Bits {
    #[default]
    Empty,
    Full,
    Mixed(Box<[u64; WORDS_PER_PAGE]>),
}

impl Page {
    fn get(&self, bit: u32) -> bool {
        match &self.bits {
            Bits::Empty => false,
            Bits::Full => true,
            Bits::Mixed(words) => words[bit as usize / 64] >> (bit % 64) & 1 == 1,
        }
    }

    /// Fills `from..to` and returns whether any bit changed.
    fn fill(&mut self, from: u32, to: u32, value: bool) -> bool {
        let wanted = if value { to - from } else { 0 };
        let before = self.count(from, to);
        if before == wanted {
            return false;
        }
        self.set = self.set - before + wanted;
        if self.normalize() {
            return true;
        }
        let words = match &mut self.bits {
            Bits::Mixed(words) => words,
            other => {
                let word = if matches!(other, Bits::Full) { u64::MAX } else { 0 };
                *other = Bits::Mixed(Box::new([word; WORDS_PER_PAGE]));
                let Bits::Mixed(words) = other else { return true };
                words
            }
        };
        each_word(from, to, |index, mask| {
            if value {
                words[index] |= mask;
            } else {
                words[index] &= !mask;
            }
        });
        true
    }

    /// Drops the words of a page that is all ones or all zeros, and returns whether it is.
    fn normalize(&mut self) -> bool {
        match self.set {
            0 => self.bits = Bits::Empty,
            FULL => self.bits = Bits::Full,
            _ => return false,
        }
        true
    }

    fn count(&self, from: u32, to: u32) -> u32 {
        match &self.bits {
            Bits::Empty => 0,
            Bits::Full => to - from,
            Bits::Mixed(_) if from == 0 && to == FULL => self.set,
            Bits::Mixed(words) => {
                let mut count = 0;
                each_word(from, to, |index, mask| count += (words[index] & mask).count_ones());
                count
            }
        }
    }

    fn find_first(&self, value: bool, from: u32) -> Option<u32> {
        match &self.bits {
            Bits::Empty => (!value).then_some(from),
            Bits::Full => value.then_some(from),
            Bits::Mixed(words) => {
                let first = from as usize / 64;
                words.iter().enumerate().skip(first).find_map(|(index, &word)| {
                    let word = if value { word } else { !word };
                    let word = if index == first { word & (u64::MAX << (from % 64)) } else { word };
                    (word != 0).then(|| index as u32 * 64 + word.trailing_zeros())
                })
            }
        }
    }

    fn find_last(&self, value: bool, from: u32) -> Option<u32> {
        match &self.bits {
            Bits::Empty => (!value).then_some(from),
            Bits::Full => value.then_some(from),
            Bits::Mixed(words) => {
                let last = from as usize / 64;
                words.iter().enumerate().take(last + 1).rev().find_map(|(index, &word)| {
                    let word = if value { word } else { !word };
                    let word = if index == last { word & (u64::MAX >> (63 - from % 64)) } else { word };
                    (word != 0).then(|| index as u32 * 64 + 63 - word.leading_zeros())
                })
            }
        }
    }

    /// Clears the bits that are set in another page.
    fn remove(&mut self, other: &Self) {
        match &other.bits {
            Bits::Empty => {}
            Bits::Full => *self = Self::default(),
            Bits::Mixed(those) => self.combine(|index, word| word & !those[index]),
        }
    }

    /// Sets the bits that are set in another page.
    fn add(&mut self, other: &Self) {
        match &other.bits {
            Bits::Empty => {}
            Bits::Full => *self = other.clone(),
            Bits::Mixed(those) => self.combine(|index, word| word | those[index]),
        }
    }

    fn combine(&mut self, word_at: impl Fn(usize, u64) -> u64) {
        let mut words = match core::mem::take(&mut self.bits) {
            Bits::Mixed(words) => words,
            Bits::Empty => Box::new([0; WORDS_PER_PAGE]),
            Bits::Full => Box::new([u64::MAX; WORDS_PER_PAGE]),
        };
        for (index, word) in words.iter_mut().enumerate() {
            *word = word_at(index, *word);
        }
        self.set = words.iter().map(|word| word.count_ones()).sum();
        self.bits = Bits::Mixed(words);
        self.normalize();
    }

    fn load(&mut self, bytes: &[u8; BYTES_PER_PAGE]) {
        let mut words = Box::new([0; WORDS_PER_PAGE]);
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        self.set = words.iter().map(|word| word.count_ones()).sum();
        self.bits = Bits::Mixed(words);
        self.normalize();
    }

    fn to_bytes(&self) -> [u8; BYTES_PER_PAGE] {
        match &self.bits {
            Bits::Empty => [0; BYTES_PER_PAGE],
            Bits::Full => [0xff; BYTES_PER_PAGE],
            Bits::Mixed(words) => {
                let mut bytes = [0; BYTES_PER_PAGE];
                for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words.iter()) {
                    *chunk = word.to_le_bytes();
                }
                bytes
            }
        }
    }
}

/// Calls `visit` with every word index that `from..to` touches and the mask of its bits.
fn each_word(from: u32, to: u32, mut visit: impl FnMut(usize, u64)) {
    if from >= to {
        return;
    }
    let (first, last) = (from as usize / 64, (to as usize - 1) / 64);
    let head = u64::MAX << (from % 64);
    let tail = u64::MAX >> (63 - (to - 1) % 64);
    if first == last {
        return visit(first, head & tail);
    }
    visit(first, head);
    for index in first + 1..last {
        visit(index, u64::MAX);
    }
    visit(last, tail);
}

fn split(index: u64) -> (u64, u32) {
    (index / BITS_PER_PAGE, (index % BITS_PER_PAGE) as u32)
}

fn join(page: u64, bit: u32) -> u64 {
    page.saturating_mul(BITS_PER_PAGE).saturating_add(u64::from(bit))
}

/// Returns the part of `start..end` inside a page, relative to the page.
fn clip(page: u64, start: u64, end: u64) -> (u32, u32) {
    let offset = page * BITS_PER_PAGE;
    let from = start.saturating_sub(offset).min(BITS_PER_PAGE);
    let to = end.saturating_sub(offset).min(BITS_PER_PAGE);
    (from as u32, to as u32)
}

const WORDS_PER_PAGE: usize = BYTES_PER_PAGE / 8;
const PAGES_PER_SEGMENT: u64 = BITS_PER_SEGMENT / BITS_PER_PAGE;
const FULL: u32 = BITS_PER_PAGE as u32;
const LAST_BIT: u32 = FULL - 1;

/// Most bits of any bitfield; block indexes fit 53 bits.
const MAX_BITS: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pages_are_told_that_changed_after_a_revision() {
        let mut field = Bitfield::new();
        field.set_range(10, 20, true);
        field.set(3 * BITS_PER_PAGE, true);
        let before = field.revision();
        assert!(field.changed_after(0, 0).eq([0, 3]));
        assert!(field.changed_after(0, 1).eq([3]));
        assert_eq!(field.changed_after(before, 0).count(), 0);

        field.set_range(10, 20, true);
        assert_eq!(field.revision(), before);
        field.set(15, false);
        field.load_page(5, &[1]);
        assert!(field.changed_after(before, 0).eq([0, 5]));
        let before = field.revision();
        field.clear();
        assert!(field.changed_after(before, 0).eq([0, 3, 5]));
        assert_eq!(field.take_dirty().len(), 3);
    }

    #[test]
    fn agrees_with_a_set_of_bits() {
        for seed in 1..=20u64 {
            let mut random = Random(seed);
            let mut field = Bitfield::new();
            let mut model = vec![false; 4 * BITS_PER_PAGE as usize];
            for _ in 0..60 {
                let start = random.below(model.len() as u64);
                let length = if random.below(3) == 0 { random.below(90_000) } else { random.below(100) };
                let end = (start + length).min(model.len() as u64);
                let value = random.below(3) > 0;
                let change = BitChange { start, end, value };
                let promised = field.pages_after(&[change]);
                field.take_dirty();
                field.set_range(start, end, value);
                model[start as usize..end as usize].fill(value);
                let promised = promised.iter().map(|(index, page)| (*index, unpack_page(page).unwrap()));
                assert!(field.take_dirty().into_iter().eq(promised), "seed {seed}");

                let at = random.below(model.len() as u64);
                let (from, to) = (at as usize, model.len());
                assert_eq!(field.get(at), model[from], "seed {seed}");
                let first = (from..to).find(|&bit| model[bit]).map(|bit| bit as u64);
                assert_eq!(field.first_set(at), first, "seed {seed}");
                let unset = (from..to).find(|&bit| !model[bit]).unwrap_or(to) as u64;
                assert_eq!(field.first_unset(at), unset, "seed {seed}");
                let last = (0..=from).rev().find(|&bit| model[bit]).map(|bit| bit as u64);
                assert_eq!(field.last_set(at), last, "seed {seed}");
                let unset = (0..=from).rev().find(|&bit| !model[bit]).map(|bit| bit as u64);
                assert_eq!(field.last_unset(at), unset, "seed {seed}");
                let until = at + random.below(model.len() as u64 - at) + 1;
                let count = model[from..until as usize].iter().filter(|&&bit| bit).count() as u64;
                assert_eq!(field.count(at, until), count, "seed {seed}");
                assert_eq!(field.has_set(at, until), count > 0, "seed {seed}");
                assert_eq!(field.has_unset(at, until), count < until - at, "seed {seed}");

                let mut difference = Bitfield::new();
                difference.set_range(at.saturating_sub(40_000), until + 40_000, true);
                let other = copy_of_every_third(&field);
                difference.set_difference(&field, &other, at, until);
                let rest = (at..until).filter(|&bit| field.get(bit) && bit % 3 != 0).count() as u64;
                assert_eq!(difference.count(at, until), rest, "seed {seed}");
                assert_eq!(difference.count(0, at), at.min(40_000), "seed {seed}");
                assert_eq!(difference.count(until, u64::MAX >> 1), 40_000, "seed {seed}");

                let mut copy = Bitfield::new();
                for answer in field.want(at, until - at) {
                    assert!(copy.insert(answer.start, &answer.words), "seed {seed}");
                }
                assert_eq!(copy.count(at, until), count, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_limit_keeps_hostile_ranges_out() {
        let mut field = Bitfield::bounded(40_000);

        field.set_range(0, u64::MAX, true);
        assert!(field.insert(39_968, &[0xff; 64]));
        assert!(field.insert(1 << 52, &[0xff; 64]));

        assert_eq!(field.count(0, u64::MAX), 40_000);
        assert_eq!(field.pages.len(), 2);
        assert_eq!(field.first_unset(0), 40_000);
        field.set_limit(10);
        assert_eq!(field.first_unset(0), 10);
    }

    #[test]
    fn a_want_without_end_is_answered_per_page() {
        let mut field = Bitfield::new();
        field.set(1 << 40, true);

        let answers: Vec<_> = field.want(3, u64::MAX).collect();

        assert_eq!(answers.len(), 2);
        assert_eq!((answers[0].start, answers[0].words.len()), (0, 4096));
        assert_eq!(answers[1].start, 1 << 40);
    }

    #[test]
    fn a_loaded_page_reads_back() {
        let mut field = Bitfield::new();
        field.set_range(3, 70, true);
        let page = field.page(0);

        let mut loaded = Bitfield::new();
        loaded.load_page(0, &page[..16]);

        assert_eq!(loaded.page(0), page);
        assert_eq!(loaded.take_dirty(), vec![]);
    }

    #[test]
    fn a_page_is_stored_without_what_it_begins_and_ends_with() {
        let page = |ones: usize, rest: &[u8]| {
            let mut page = [0; BYTES_PER_PAGE];
            page[..ones].fill(0xff);
            page[ones..ones + rest.len()].copy_from_slice(rest);
            page
        };
        let stored: [(_, &[u8]); 8] = [
            (page(0, &[]), &[]),
            (page(0, &[0, 0, 3]), &[0, 0, 3]),
            (page(2, &[7]), &[0xff, 0xff, 7]),
            (page(2500, &[]), &[255, 255, 255, 255, 0xc0, 9, 0]),
            (page(2496, &[1]), &[1, 0xc0, 9, 0]),
            (page(256, &[0, 0, 255]), &[0, 0, 255, 0, 1, 0]),
            (page(4096, &[]), &[0, 16, 0]),
            (page(4095, &[1]), &[255, 255, 255, 255, 255, 255, 255, 1, 248, 15, 0]),
        ];
        for (page, stored) in stored {
            assert_eq!(pack_page(&page), stored);
            assert_eq!(unpack_page(stored).unwrap(), page[..]);
            // As upstream stores it.
            assert_eq!(unpack_page(&page).unwrap(), page[..]);
        }
        // Of a program.
        assert_eq!(pack_page(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), [0, 0, 0, 0, 0, 0, 0, 0, 1][..]);
        assert_eq!(pack_page(&[0xff; 9]), [0xff, 8, 0, 0][..]);
        let one = page(0, &[1]);
        assert_eq!(unpack_page(&one[..1]).unwrap(), one[..]);
        for nothing in [&[1, 0, 16, 0][..], &[255, 255, 0], &[0; 4097]] {
            assert_eq!(unpack_page(nothing), None);
        }
    }

    fn copy_of_every_third(field: &Bitfield) -> Bitfield {
        let mut copy = Bitfield::new();
        let mut bit = 0;
        while bit < 5 * BITS_PER_PAGE {
            if field.get(bit) {
                copy.set(bit, true);
            }
            bit += 3;
        }
        copy
    }

    /// xorshift64
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
        }
    }
}
