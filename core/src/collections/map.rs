//! An ordered map: a B-tree of two levels.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cell::Cell;
use core::cmp::Ordering;
use core::fmt;
use core::ops::{Bound, Index, RangeBounds};

/// An ordered map in chunks of bounded size.
///
/// Finding costs two binary searches. Inserting and removing move at most a chunk, and now and then the list of chunks, which
/// stays far below a page for every map that a bound of the engine keeps small.
#[derive(Clone)]
pub struct BTreeMap<K, V> {
    /// In order; none is empty, except one that is alone and waits for the next entry.
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

/// Entries of a map that lie together.
#[derive(Clone)]
pub struct Chunk<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

/// Where an entry lies, or would lie: a chunk, and a place in it.
type Place = (usize, usize);

/// Where a key was found last: whoever handles a message asks a map a dozen times for the same one.
#[derive(Debug, Default)]
pub struct Last(Cell<Place>);

impl<K, V> BTreeMap<K, V> {
    /// Most entries of a chunk: fewer when they are large, as they are moved.
    const CHUNK: usize = {
        let entry = size_of::<K>() + size_of::<V>();
        let fit = CHUNK_BYTES / if entry == 0 { 1 } else { entry };
        if fit < MIN_CHUNK {
            MIN_CHUNK
        } else if fit > MAX_CHUNK {
            MAX_CHUNK
        } else {
            fit
        }
    };

    /// Returns an empty map, which owns no memory.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Returns the entries in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: &self.chunks, front: self.start(), back: self.end() }
    }

    /// Returns the entries in the order of their keys, with values that can be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.chunks.iter_mut().flat_map(Chunk::pairs_mut)
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys(self.iter())
    }

    /// Returns the values in the order of their keys.
    pub fn values(&self) -> Values<'_, K, V> {
        Values(self.iter())
    }

    /// Returns the values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        self.chunks.iter_mut().flat_map(|chunk| chunk.values.iter_mut())
    }

    /// Returns the keys in order, and drops the values.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> + use<K, V> {
        self.chunks.into_iter().flat_map(|chunk| chunk.keys)
    }

    /// Returns the values in the order of their keys.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + use<K, V> {
        self.chunks.into_iter().flat_map(|chunk| chunk.values)
    }

    /// Returns the entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        let chunk = self.chunks.first()?;
        Some((chunk.keys.first()?, chunk.values.first()?))
    }

    /// Returns the entry with the largest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        let chunk = self.chunks.last()?;
        Some((chunk.keys.last()?, chunk.values.last()?))
    }

    /// Removes the entry with the smallest key and returns it.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.len == 0 { None } else { Some(self.remove_at((0, 0))) }
    }

    /// Removes the entry with the largest key and returns it.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        let last = self.chunks.len().checked_sub(1)?;
        let place = self.chunks[last].keys.len().checked_sub(1)?;
        Some(self.remove_at((last, place)))
    }

    /// Keeps the entries that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let mut len = 0;
        self.chunks.retain_mut(|chunk| {
            let mut kept = Vec::with_capacity(chunk.keys.len());
            let keys = chunk.keys.iter();
            kept.extend(keys.zip(&mut chunk.values).map(|(key, value)| keep(key, value)));
            retain_marked(&mut chunk.keys, &kept);
            retain_marked(&mut chunk.values, &kept);
            len += chunk.keys.len();
            !chunk.keys.is_empty()
        });
        self.len = len;
    }

    fn start(&self) -> Place {
        // An empty chunk that is alone is the end as well.
        if self.len == 0 { self.end() } else { (0, 0) }
    }

    fn end(&self) -> Place {
        (self.chunks.len(), 0)
    }

    fn value_at(&self, (chunk, place): Place) -> &V {
        // Built for size, indexing a `Vec` is a call, and a slice's is none.
        &self.chunks.as_slice()[chunk].values.as_slice()[place]
    }

    fn value_at_mut(&mut self, (chunk, place): Place) -> &mut V {
        &mut self.chunks.as_mut_slice()[chunk].values.as_mut_slice()[place]
    }

    fn insert_at(&mut self, (mut chunk, mut place): Place, key: K, value: V) -> Place {
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
        }
        let keys = self.chunks[chunk].keys.len();
        if keys >= Self::CHUNK {
            // Entries that come in order fill their chunks; others find room in both halves.
            let at = if place == keys { keys } else { keys / 2 };
            let upper = self.chunks[chunk].split_off(at);
            self.chunks.insert(chunk + 1, upper);
            if place >= at && at < keys || place == keys {
                chunk += 1;
                place -= at;
            }
        }
        let target = &mut self.chunks[chunk];
        target.keys.insert(place, key);
        target.values.insert(place, value);
        (chunk, place)
    }

    fn remove_at(&mut self, (chunk, place): Place) -> (K, V) {
        self.len -= 1;
        let target = &mut self.chunks[chunk];
        let entry = (target.keys.remove(place), target.values.remove(place));
        let left = target.keys.len();
        if left <= Self::CHUNK / 4 && self.chunks.len() > 1 {
            self.merge(chunk, left);
        }
        entry
    }

    /// Joins a chunk that has become small with a neighbour that has room, so that few entries never hold many chunks.
    fn merge(&mut self, chunk: usize, left: usize) {
        if left == 0 {
            self.chunks.remove(chunk);
            return;
        }
        for lower in [chunk, chunk.wrapping_sub(1)] {
            let Some([first, second]) = self.chunks.get(lower..).and_then(|chunks| chunks.first_chunk::<2>())
            else {
                continue;
            };
            if first.keys.len() + second.keys.len() <= Self::CHUNK / 2 {
                let mut upper = self.chunks.remove(lower + 1);
                let lower = &mut self.chunks[lower];
                lower.keys.append(&mut upper.keys);
                lower.values.append(&mut upper.values);
                return;
            }
        }
    }
}

impl<K, V> BTreeMap<K, V> {
    /// Returns the value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|place| self.value_at(place))
    }

    /// Returns the value of `key`, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|place| self.value_at_mut(place))
    }

    /// As [`get`](Self::get), looks first where a key was found last.
    pub fn get_again(&self, last: &Last, key: &K) -> Option<&V>
    where
        K: Ord,
    {
        self.find_again(last, key).map(|place| self.value_at(place))
    }

    /// As [`get_mut`](Self::get_mut), looks first where a key was found last.
    pub fn get_mut_again(&mut self, last: &Last, key: &K) -> Option<&mut V>
    where
        K: Ord,
    {
        self.find_again(last, key).map(|place| self.value_at_mut(place))
    }

    fn find_again(&self, last: &Last, key: &K) -> Option<Place>
    where
        K: Ord,
    {
        let (chunk, place) = last.0.get();
        if self.chunks.get(chunk).and_then(|chunk| chunk.keys.get(place)) != Some(key) {
            last.0.set(self.find(key).ok()?);
        }
        Some(last.0.get())
    }

    /// Returns whether there is an entry with this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Removes the entry of `key` and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes the entry of `key` and returns it.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.remove_at(place))
    }

    /// Returns the entries with keys inside `bounds`, in order; none when the bounds are crossed.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, bounds: R) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (front, back) = self.places(&bounds);
        Iter { chunks: &self.chunks, front, back }
    }

    /// Returns the entries with keys inside `bounds`, in order, with values that can be changed.
    pub fn range_mut<Q: Ord + ?Sized>(
        &mut self,
        bounds: impl RangeBounds<Q>,
    ) -> impl DoubleEndedIterator<Item = (&K, &mut V)>
    where
        K: Borrow<Q>,
    {
        let (front, back) = self.places(&bounds);
        let last = if back.1 == 0 { back.0 } else { back.0 + 1 };
        let chunks = self.chunks.get_mut(front.0..last).unwrap_or_default();
        chunks.iter_mut().enumerate().flat_map(move |(at, chunk)| {
            let at = front.0 + at;
            let from = if at == front.0 { front.1 } else { 0 };
            let to = if at == back.0 { back.1 } else { chunk.keys.len() };
            chunk.keys[from..to].iter().zip(&mut chunk.values[from..to])
        })
    }

    /// Removes the entries from `key` on and returns them.
    pub fn split_off<Q: Ord + ?Sized>(&mut self, key: &Q) -> Self
    where
        K: Borrow<Q>,
    {
        let (chunk, place) = self.find(key).unwrap_or_else(|place| place);
        if chunk >= self.chunks.len() {
            return Self::new();
        }
        let mut chunks = Vec::new();
        let upper = self.chunks[chunk].split_off(place);
        if !upper.keys.is_empty() {
            chunks.push(upper);
        }
        chunks.extend(self.chunks.drain(chunk + 1..));
        if place == 0 {
            self.chunks.pop();
        }
        let len = chunks.iter().map(|chunk| chunk.keys.len()).sum();
        self.len -= len;
        Self { chunks, len }
    }

    /// Returns where `key` lies, or where it would have to.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        // The last chunk that does not start after the key, or the first.
        let chunks = self.chunks.as_slice();
        let (mut chunk, mut end) = (0, chunks.len());
        while end > chunk + 1 {
            let middle = chunk + (end - chunk) / 2;
            let starts_after =
                chunks[middle].keys.first().is_some_and(|first| first.borrow().cmp(key) == Ordering::Greater);
            if starts_after { end = middle } else { chunk = middle }
        }
        let Some(target) = chunks.get(chunk) else { return Err((0, 0)) };
        match search(&target.keys, key) {
            Ok(place) => Ok((chunk, place)),
            Err(place) => Err((chunk, place)),
        }
    }

    fn places<Q: Ord + ?Sized>(&self, bounds: &impl RangeBounds<Q>) -> (Place, Place)
    where
        K: Borrow<Q>,
    {
        let place = |key: &Q, after: bool| {
            let (chunk, place) = match self.find(key) {
                Ok((chunk, place)) => (chunk, place + usize::from(after)),
                Err(place) => place,
            };
            // Past the last entry of a chunk is the first of the next.
            let ends = self.chunks.get(chunk).is_some_and(|chunk| place >= chunk.keys.len());
            if ends { (chunk + 1, 0) } else { (chunk, place) }
        };
        let front = match bounds.start_bound() {
            Bound::Included(key) => place(key, false),
            Bound::Excluded(key) => place(key, true),
            Bound::Unbounded => self.start(),
        };
        let back = match bounds.end_bound() {
            Bound::Included(key) => place(key, true),
            Bound::Excluded(key) => place(key, false),
            Bound::Unbounded => self.end(),
        };
        if front > back { (back, back) } else { (front, back) }
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    /// Sets the value of `key` and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => Some(core::mem::replace(self.value_at_mut(place), value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    /// As [`insert`](Self::insert), for keys that mostly come in order: looks first where the key before went, which `near` tells
    /// from call to call.
    pub fn insert_near(&mut self, near: &mut usize, key: K, value: V) -> Option<V> {
        match self.find_in(*near, &key).unwrap_or_else(|| self.find(&key)) {
            Ok(place) => {
                *near = place.0;
                Some(core::mem::replace(self.value_at_mut(place), value))
            }
            Err((mut chunk, mut place)) => {
                if place >= Self::CHUNK {
                    (chunk, place) = (chunk + 1, 0);
                    let (keys, values) = (Vec::with_capacity(Self::CHUNK), Vec::with_capacity(Self::CHUNK));
                    self.chunks.insert(chunk, Chunk { keys, values });
                }
                *near = self.insert_at((chunk, place), key, value).0;
                None
            }
        }
    }

    /// Returns where `key` lies in a chunk, or would have to; `None` when it belongs into another.
    fn find_in(&self, chunk: usize, key: &K) -> Option<Result<Place, Place>> {
        let keys = &self.chunks.get(chunk)?.keys;
        let next = self.chunks.get(chunk + 1);
        if keys.first()? > key || next.is_some_and(|next| next.keys.first().is_none_or(|first| first <= key))
        {
            return None;
        }
        let place = if keys.last()? < key { Err(keys.len()) } else { search(keys, key) };
        Some(place.map(|place| (chunk, place)).map_err(|place| (chunk, place)))
    }

    /// Returns the place of `key`, to be filled or changed.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let place = self.find(&key);
        Entry { map: self, key, place }
    }

    /// Moves every entry of `other` into this map.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(core::mem::take(other));
    }
}

/// The place of one key.
pub struct Entry<'a, K, V> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
    place: Result<Place, Place>,
}

impl<'a, K, V> Entry<'a, K, V> {
    /// Returns the value, made by `make` when there is none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let place = match self.place {
            Ok(place) => place,
            Err(place) => self.map.insert_at(place, self.key, make()),
        };
        self.map.value_at_mut(place)
    }

    /// Returns the value, `value` when there is none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// Returns the value, its type's default when there is none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value when there is one.
    #[must_use]
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        if let Ok(place) = self.place {
            change(self.map.value_at_mut(place));
        }
        self
    }
}

/// The entries of a part of a map, in the order of their keys.
pub struct Iter<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    front: Place,
    back: Place,
}

impl<'a, K, V> Iter<'a, K, V> {
    fn at(&self, (chunk, place): Place) -> Option<(&'a K, &'a V)> {
        let chunk = self.chunks.get(chunk)?;
        Some((chunk.keys.get(place)?, chunk.values.get(place)?))
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let entry = self.at(self.front);
        self.front.1 += 1;
        if self.chunks.get(self.front.0).is_none_or(|chunk| self.front.1 >= chunk.keys.len()) {
            self.front = (self.front.0 + 1, 0);
        }
        entry
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let within = self.chunks.get(self.front.0..self.back.0).unwrap_or_default();
        let whole: usize = within.iter().map(|chunk| chunk.keys.len()).sum();
        let len = (whole + self.back.1).saturating_sub(self.front.1);
        (len, Some(len))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        if self.back.1 == 0 {
            self.back.0 -= 1;
            self.back.1 = self.chunks.get(self.back.0).map_or(0, |chunk| chunk.keys.len());
        }
        self.back.1 -= 1;
        self.at(self.back)
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks, front: self.front, back: self.back }
    }
}

/// The keys of a part of a map, in order.
pub struct Keys<'a, K, V>(Iter<'a, K, V>);

impl<'a, K, V> Iterator for Keys<'a, K, V> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        self.0.next().map(|(key, _)| key)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K, V> DoubleEndedIterator for Keys<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(key, _)| key)
    }
}

impl<K, V> ExactSizeIterator for Keys<'_, K, V> {}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, K, V> From<Iter<'a, K, V>> for Keys<'a, K, V> {
    fn from(iter: Iter<'a, K, V>) -> Self {
        Self(iter)
    }
}

/// The values of a part of a map, in the order of their keys.
pub struct Values<'a, K, V>(Iter<'a, K, V>);

impl<'a, K, V> Iterator for Values<'a, K, V> {
    type Item = &'a V;

    fn next(&mut self) -> Option<&'a V> {
        self.0.next().map(|(_, value)| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K, V> DoubleEndedIterator for Values<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(_, value)| value)
    }
}

impl<K, V> ExactSizeIterator for Values<'_, K, V> {}

/// The entries of a map, with values that can be changed.
type IterMut<'a, K, V> = core::iter::FlatMap<
    core::slice::IterMut<'a, Chunk<K, V>>,
    core::iter::Zip<core::slice::Iter<'a, K>, core::slice::IterMut<'a, V>>,
    fn(&'a mut Chunk<K, V>) -> core::iter::Zip<core::slice::Iter<'a, K>, core::slice::IterMut<'a, V>>,
>;

/// The values of a map, to be changed.
type ValuesMut<'a, K, V> = core::iter::FlatMap<
    core::slice::IterMut<'a, Chunk<K, V>>,
    core::slice::IterMut<'a, V>,
    fn(&'a mut Chunk<K, V>) -> core::slice::IterMut<'a, V>,
>;

/// The entries of a map that has been taken apart.
type IntoIter<K, V> = core::iter::FlatMap<
    alloc::vec::IntoIter<Chunk<K, V>>,
    core::iter::Zip<alloc::vec::IntoIter<K>, alloc::vec::IntoIter<V>>,
    fn(Chunk<K, V>) -> core::iter::Zip<alloc::vec::IntoIter<K>, alloc::vec::IntoIter<V>>,
>;

impl<K, V> Chunk<K, V> {
    fn pairs_mut(&mut self) -> core::iter::Zip<core::slice::Iter<'_, K>, core::slice::IterMut<'_, V>> {
        self.keys.iter().zip(&mut self.values)
    }

    fn into_pairs(self) -> core::iter::Zip<alloc::vec::IntoIter<K>, alloc::vec::IntoIter<V>> {
        self.keys.into_iter().zip(self.values)
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { keys: self.keys.split_off(at), values: self.values.split_off(at) }
    }
}

impl<K, V> Default for Chunk<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut BTreeMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flat_map(Chunk::into_pairs)
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for BTreeMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for BTreeMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for BTreeMap<K, V> {}

impl<K: Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for BTreeMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

/// Returns where `key` lies in `keys`, or where it would have to.
// What is built for size would call it, from the one place that it has for each type.
#[inline(always)]
fn search<K: Borrow<Q>, Q: Ord + ?Sized>(keys: &[K], key: &Q) -> Result<usize, usize> {
    // Most keys are counters: the next one goes to the end.
    match keys.last() {
        None => return Err(0),
        Some(last) => match last.borrow().cmp(key) {
            Ordering::Less => return Err(keys.len()),
            Ordering::Equal => return Ok(keys.len() - 1),
            Ordering::Greater => {}
        },
    }
    let (mut low, mut high) = (0, keys.len() - 1);
    while low < high {
        let middle = (low + high) / 2;
        match keys[middle].borrow().cmp(key) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(middle),
            Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

fn retain_marked<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().is_some_and(|kept| *kept));
}

/// Bytes of entries that a chunk may hold: what is moved within the first level cache.
const CHUNK_BYTES: usize = 8192;

const MIN_CHUNK: usize = 16;

const MAX_CHUNK: usize = 128;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::{BTreeMap, Last};

    type Model = std::collections::BTreeMap<u32, u32>;

    #[test]
    fn every_change_and_walk_equals_the_standard_map() {
        for (seed, keys) in [(1, 8), (2, 40), (3, 400), (4, 4000)] {
            let mut random = Random(seed);
            let (mut map, mut model, last) = (BTreeMap::new(), Model::new(), Last::default());
            for step in 0..6000 {
                let (key, value) = (random.below(keys), step);
                // Long runs of one kind, so that the map grows to its full size and shrinks again.
                match (step / 700 % 3, random.below(10)) {
                    (0 | 2, 0..7) | (1, 0..2) => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    (_, 7) => assert_eq!(map.pop_first(), model.pop_first()),
                    (_, 8) => assert_eq!(map.pop_last(), model.pop_last()),
                    (_, 9) => {
                        *map.entry(key).or_insert(7) += *model.entry(key).and_modify(|v| *v += 7).or_insert(7)
                    }
                    _ => assert_eq!(map.remove(&key), model.remove(&key)),
                }
                if let Some(value) = model.get_mut(&key) {
                    *value = map[&key];
                }
                check_chunks(&map);
                assert_eq!(map.get(&key), model.get(&key));
                for key in [key, key, key ^ 1] {
                    assert_eq!(map.get_again(&last, &key), model.get(&key));
                }
                assert_eq!(map.first_key_value(), model.first_key_value());
                assert_eq!(map.last_key_value(), model.last_key_value());
                if step % 50 == 0 {
                    compare(&map, &model, &mut random, keys);
                }
            }
        }
    }

    #[test]
    fn parts_equal_those_of_the_standard_map() {
        for len in [0, 1, 127, 128, 129, 1000] {
            for at in [0, 1, 64, 128, 250, 256, 999, 2000, 5000] {
                let mut map: BTreeMap<u32, u32> = (0..len).map(|key| (key * 2, key)).collect();
                let mut model: Model = (0..len).map(|key| (key * 2, key)).collect();

                let (upper, model_upper) = (map.split_off(&at), model.split_off(&at));
                check_chunks(&map);
                check_chunks(&upper);
                assert!(map.iter().eq(&model) && upper.iter().eq(&model_upper));
                assert_eq!((map.len(), upper.len()), (model.len(), model_upper.len()));

                map.append(&mut upper.clone());
                map.retain(|key, value| {
                    *value += 1;
                    key % 3 == 0
                });
                check_chunks(&map);
                model.extend(model_upper);
                model.retain(|key, value| {
                    *value += 1;
                    key % 3 == 0
                });
                assert!(map.iter().eq(&model));
                assert!(map.clone().into_keys().eq(model.clone().into_keys()));
                assert!(map.clone().into_values().rev().eq(model.clone().into_values().rev()));
                assert!(map.into_iter().eq(model));
            }
        }
    }

    #[test]
    fn few_entries_never_hold_many_chunks() {
        let mut map: BTreeMap<u32, u32> = (0..100_000).map(|key| (key, key)).collect();

        map.clone().into_keys().filter(|key| key % 1000 != 0).for_each(|key| {
            map.remove(&key);
        });

        assert_eq!(map.len(), 100);
        assert!(map.chunks.len() < 10, "{} chunks", map.chunks.len());
    }

    fn compare(map: &BTreeMap<u32, u32>, model: &Model, random: &mut Random, keys: u32) {
        assert_eq!(map.len(), model.len());
        assert!(map.iter().eq(model));
        assert!(map.iter().rev().eq(model.iter().rev()));
        assert_eq!(map.iter().len(), model.len());
        for _ in 0..20 {
            let (a, b) = (random.below(keys + 2), random.below(keys + 2));
            let (from, to) = (a.min(b), a.max(b));
            assert!(map.range(from..to).eq(model.range(from..to)));
            assert_eq!(map.range(from..to).len(), model.range(from..to).count());
            assert!(map.range(from..=to).rev().eq(model.range(from..=to).rev()));
            assert!(map.range(from..).eq(model.range(from..)));
            assert!(map.range(..to).rev().eq(model.range(..to).rev()));
            let (mut changed, mut wanted) = (map.clone(), model.clone());
            changed.range_mut(from..to).for_each(|(_, value)| *value += 1);
            wanted.range_mut(from..to).for_each(|(_, value)| *value += 1);
            assert!(changed.iter().eq(&wanted));
            let (mut ends, mut both) = (Vec::new(), map.range(from..to));
            while let Some(entry) = if random.below(2) == 0 { both.next() } else { both.next_back() } {
                ends.push(entry);
            }
            ends.sort();
            assert!(ends.into_iter().eq(model.range(from..to)));
        }
    }

    fn check_chunks(map: &BTreeMap<u32, u32>) {
        assert_eq!(map.len, map.chunks.iter().map(|chunk| chunk.keys.len()).sum::<usize>());
        for chunk in &map.chunks {
            assert_eq!(chunk.keys.len(), chunk.values.len());
            assert!(chunk.keys.len() <= BTreeMap::<u32, u32>::CHUNK);
            assert!(!chunk.keys.is_empty() || map.chunks.len() == 1);
        }
    }

    struct Random(u32);

    impl Random {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            self.0 % bound
        }
    }
}
