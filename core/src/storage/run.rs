//! Values whose keys are numbered in a row, as the blocks and the nodes of an append are.
//!
//! A thousand of them are one change: staged, written and found as one, not each for itself.

use alloc::vec::Vec;
use core::ops::{Bound, Range};

use bytes::Bytes;

use super::keys::{put_uint, take_uint, uint_len};
use crate::collections::BTreeMap;

/// Keys `prefix ‖ first`, `prefix ‖ first + 1` and so on, in the encoding of numbers of [`keys`](super::keys).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    prefix: Bytes,
    first: u64,
    count: usize,
}

impl Numbers {
    /// Returns `count` keys; `None` for none, or when they pass the last number.
    pub fn new(prefix: Bytes, first: u64, count: usize) -> Option<Self> {
        first.checked_add(u64::try_from(count).ok()?)?;
        (count > 0).then_some(Self { prefix, first, count })
    }

    /// Returns what all keys begin with.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Returns the first number.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns how many keys there are; never 0.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Replaces the content of `key` with the key at a position.
    pub fn put_key(&self, at: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.prefix);
        put_uint(key, self.first + at as u64);
    }

    /// Returns the key at a position.
    pub fn key(&self, at: usize) -> Bytes {
        let mut key = Vec::with_capacity(self.prefix.len() + MAX_NUMBER);
        self.put_key(at, &mut key);
        key.into()
    }

    /// Returns the position of a key, if it is one of these.
    pub fn position(&self, key: &[u8]) -> Option<usize> {
        let mut digits = key.strip_prefix(&self.prefix[..])?;
        let number = take_uint(&mut digits)?;
        let at = usize::try_from(number.checked_sub(self.first)?).ok().filter(|&at| at < self.count)?;
        // Nothing behind the number, and no longer encoding of it.
        (digits.is_empty() && key.len() == self.prefix.len() + uint_len(number)).then_some(at)
    }

    /// Returns the keys of some positions, which must be there.
    pub fn part(&self, range: &Range<usize>) -> Self {
        Self { prefix: self.prefix.clone(), first: self.first + range.start as u64, count: range.len() }
    }

    /// Returns the positions of keys from `start` to before `end`.
    pub fn within(&self, start: &[u8], end: Option<&[u8]>) -> Range<usize> {
        let mut key = Vec::new();
        let mut first_not_below = |bound: &[u8]| {
            let (mut low, mut high) = (0, self.count);
            while low < high {
                let middle = (low + high) / 2;
                self.put_key(middle, &mut key);
                if &key[..] < bound { low = middle + 1 } else { high = middle }
            }
            low
        };
        let from = first_not_below(start);
        from..end.map_or(self.count, first_not_below).max(from)
    }
}

/// Bytes of the longest number.
const MAX_NUMBER: usize = 9;

/// Values in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The values, one behind the other.
    pub bytes: Bytes,
    /// Where each ends.
    pub ends: Vec<u32>,
}

impl Packed {
    /// Returns where a value is.
    pub fn place(&self, at: usize) -> Range<usize> {
        place(&self.ends, at)
    }
}

/// Returns where the value at a position is when values end at `ends`.
pub fn place(ends: &[u32], at: usize) -> Range<usize> {
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    start as usize..ends[at] as usize
}

/// Numbered keys and their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    keys: Numbers,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Apart(Vec<Bytes>),
    Packed(Packed),
}

impl Run {
    /// Returns values from number `first` on; `None` for none, or when they pass the last number.
    pub fn new(prefix: Bytes, first: u64, values: Vec<Bytes>) -> Option<Self> {
        let keys = Numbers::new(prefix, first, values.len())?;
        Some(Self { keys, values: Values::Apart(values) })
    }

    /// As [`new`](Self::new), with values in one buffer; `None` also when they are not inside of it in order.
    pub fn packed(prefix: Bytes, first: u64, values: Packed) -> Option<Self> {
        let keys = Numbers::new(prefix, first, values.ends.len())?;
        let is_inside = values.ends.is_sorted()
            && values.ends.last().is_some_and(|&end| end as usize <= values.bytes.len());
        is_inside.then_some(Self { keys, values: Values::Packed(values) })
    }

    /// Returns the keys.
    pub fn keys(&self) -> &Numbers {
        &self.keys
    }

    /// Returns the value at a position.
    pub fn value(&self, at: usize) -> Bytes {
        match &self.values {
            Values::Apart(values) => values[at].clone(),
            Values::Packed(values) => values.bytes.slice(values.place(at)),
        }
    }

    /// Returns the bytes of the value at a position.
    pub fn bytes(&self, at: usize) -> &[u8] {
        match &self.values {
            Values::Apart(values) => &values[at],
            Values::Packed(values) => &values.bytes[values.place(at)],
        }
    }

    /// Returns the bytes of values at some positions, in one piece if they are.
    pub fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let (apart, packed) = match &self.values {
            Values::Apart(values) => (&values[range], None),
            Values::Packed(values) => {
                let start = values.place(range.start).start;
                let end = range.end.checked_sub(1).map_or(start, |last| values.place(last).end);
                (&[][..], values.bytes.get(start..end))
            }
        };
        packed.into_iter().chain(apart.iter().map(|value| &value[..]))
    }

    /// Returns keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        (0..self.keys.count).map(|at| (self.keys.key(at), self.value(at)))
    }

    /// Returns the bytes of all values.
    pub fn len(&self) -> usize {
        self.pieces(0..self.keys.count).map(<[u8]>::len).sum()
    }

    /// Returns whether all values are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Runs in order, none of which reaches into another.
#[derive(Debug)]
pub(super) struct Runs<T> {
    /// By first key.
    runs: BTreeMap<Bytes, (Numbers, T)>,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<T> Runs<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a run that [`touches`](Self::touches) no other.
    pub(super) fn insert(&mut self, keys: Numbers, run: T) {
        self.runs.insert(keys.key(0), (keys, run));
    }

    /// Returns the run that has a key, and the key's position in it.
    pub(super) fn find(&self, key: &[u8]) -> Option<(usize, &T)> {
        if self.runs.is_empty() {
            return None;
        }
        let upto: (Bound<&[u8]>, _) = (Bound::Unbounded, Bound::Included(key));
        let (_, (keys, run)) = self.runs.range::<[u8], _>(upto).next_back()?;
        Some((keys.position(key)?, run))
    }

    /// Whether a run has keys on both sides of some key from `start` to before `end`, or between.
    pub(super) fn touches(&self, start: &[u8], end: Option<&[u8]>) -> bool {
        !self.runs.is_empty() && self.range(start, end).next().is_some()
    }

    /// The runs that [`touch`](Self::touches) keys from `start` to before `end`, in order.
    pub(super) fn range<'a>(
        &'a self,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a (Numbers, T)> {
        let upto = |bound| (Bound::Unbounded, bound);
        // The last run that begins before `start` may reach beyond it.
        let before = self.runs.range::<[u8], _>(upto(Bound::Excluded(start))).next_back();
        let before = before.filter(|(_, (keys, _))| &keys.key(keys.count - 1)[..] >= start);
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.max(start)));
        let inside = self.runs.range::<[u8], _>((Bound::Included(start), end));
        before.into_iter().chain(inside).map(|(_, run)| run)
    }

    /// Removes the runs that [`touch`](Self::touches) keys from `start` to before `end`.
    pub(super) fn remove(&mut self, start: &[u8], end: Option<&[u8]>) -> Vec<(Numbers, T)> {
        if self.runs.is_empty() {
            return Vec::new();
        }
        let found: Vec<Bytes> = self.range(start, end).map(|(keys, _)| keys.key(0)).collect();
        found.iter().filter_map(|first| self.runs.remove(first)).collect()
    }
}

/// Fewest values that are worth a run.
pub const RUN_LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(first: u64, count: usize) -> Numbers {
        Numbers::new(Bytes::from_static(b"p"), first, count).unwrap()
    }

    #[test]
    fn keys_of_a_run_are_found_and_no_others() {
        for first in [0, 240, 65_530, u64::from(u32::MAX) - 5] {
            let keys = numbers(first, 30);
            for at in 0..30 {
                assert_eq!(keys.position(&keys.key(at)), Some(at));
                assert!(at == 0 || keys.key(at - 1) < keys.key(at));
                let longer = [&keys.key(at)[..], b"\0"].concat();
                assert_eq!(keys.position(&longer), None);
                assert_eq!(keys.within(&keys.key(at), Some(&longer)), at..at + 1);
            }
            assert_eq!(keys.position(&numbers(first + 30, 1).key(0)), None);
            assert_eq!(keys.position(b"p"), None);
        }
        assert_eq!(numbers(0, 5).position(b"p\xfc\0\x03"), None, "a longer encoding of 3");
        assert_eq!(Numbers::new(Bytes::new(), u64::MAX, 2), None);
    }

    #[test]
    fn runs_know_what_they_reach_into() {
        let mut runs = Runs::default();
        runs.insert(numbers(10, 10), "a");
        runs.insert(numbers(40, 10), "b");
        let key = |number| numbers(number, 1).key(0);
        let touched = |start: u64, end: u64| {
            let (start, end) = (key(start), key(end));
            runs.range(&start, Some(&end)).map(|(_, run)| *run).collect::<Vec<_>>()
        };

        assert_eq!(runs.find(&key(19)), Some((9, &"a")));
        assert_eq!(runs.find(&key(20)), None);
        assert_eq!(touched(0, 10), [""; 0]);
        assert_eq!(touched(19, 40), ["a"]);
        assert_eq!(touched(19, 41), ["a", "b"]);
        assert_eq!(touched(20, 40), [""; 0]);
        assert_eq!(touched(45, 46), ["b"]);
        assert!(runs.touches(&key(49), None) && !runs.touches(&key(50), None));

        assert_eq!(runs.remove(&key(15), Some(&key(16))), [(numbers(10, 10), "a")]);
        assert_eq!(runs.find(&key(12)), None);
    }

    #[test]
    fn values_are_the_same_apart_and_packed() {
        let values: Vec<Bytes> =
            [&b"one"[..], b"", b"three"].iter().map(|&v| Bytes::copy_from_slice(v)).collect();
        let apart = Run::new(Bytes::from_static(b"p"), 250, values.clone()).unwrap();
        let packed = Packed { bytes: Bytes::from_static(b"onethree"), ends: [3, 3, 8].into() };
        let packed = Run::packed(Bytes::from_static(b"p"), 250, packed).unwrap();

        assert!(apart.iter().eq(packed.iter()));
        for range in [0..3, 1..2, 1..3, 2..2] {
            let join = |run: &Run| run.pieces(range.clone()).collect::<Vec<_>>().concat();
            assert_eq!(join(&apart), join(&packed));
        }
        assert_eq!((apart.len(), packed.len(), packed.bytes(2)), (8, 8, &b"three"[..]));
        let outside = Packed { bytes: Bytes::new(), ends: [1].into() };
        assert_eq!(Run::packed(Bytes::new(), 0, outside), None);
    }
}
