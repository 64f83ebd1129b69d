//! An ordered set: a map without values.

use core::borrow::Borrow;
use core::fmt;
use core::ops::RangeBounds;

use super::map::{BTreeMap, Keys};

/// An ordered set in chunks of bounded size, as [`BTreeMap`] is.
#[derive(Clone)]
pub struct BTreeSet<T>(BTreeMap<T, ()>);

impl<T> BTreeSet<T> {
    /// Returns an empty set, which owns no memory.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the number of items.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no item.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes every item.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the items in order.
    pub fn iter(&self) -> Keys<'_, T, ()> {
        self.0.keys()
    }

    /// Returns the smallest item.
    pub fn first(&self) -> Option<&T> {
        self.0.first_key_value().map(|(item, ())| item)
    }

    /// Returns the largest item.
    pub fn last(&self) -> Option<&T> {
        self.0.last_key_value().map(|(item, ())| item)
    }

    /// Removes the smallest item and returns it.
    pub fn pop_first(&mut self) -> Option<T> {
        self.0.pop_first().map(|(item, ())| item)
    }

    /// Removes the largest item and returns it.
    pub fn pop_last(&mut self) -> Option<T> {
        self.0.pop_last().map(|(item, ())| item)
    }

    /// Keeps the items that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.0.retain(|item, ()| keep(item));
    }

    /// Returns whether `item` is in the set.
    pub fn contains<Q: Ord + ?Sized>(&self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.contains_key(item)
    }

    /// Removes `item` and returns whether it was in the set.
    pub fn remove<Q: Ord + ?Sized>(&mut self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.remove(item).is_some()
    }

    /// Returns the items inside `bounds`, in order.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, bounds: R) -> Keys<'_, T, ()>
    where
        T: Borrow<Q>,
    {
        self.0.range(bounds).into()
    }

    /// Removes the items from `item` on and returns them.
    pub fn split_off<Q: Ord + ?Sized>(&mut self, item: &Q) -> Self
    where
        T: Borrow<Q>,
    {
        Self(self.0.split_off(item))
    }
}

impl<T: Ord> BTreeSet<T> {
    /// Adds `item` and returns whether it is new.
    pub fn insert(&mut self, item: T) -> bool {
        self.0.insert(item, ()).is_none()
    }

    /// Moves every item of `other` into this set.
    pub fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    /// Returns the items that are not in `other`, in order.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a T> {
        self.iter().filter(|item| !other.contains(item))
    }
}

impl<'a, T> IntoIterator for &'a BTreeSet<T> {
    type Item = &'a T;
    type IntoIter = Keys<'a, T, ()>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for BTreeSet<T> {
    type Item = T;
    type IntoIter = core::iter::Map<<BTreeMap<T, ()> as IntoIterator>::IntoIter, fn((T, ())) -> T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(item, ())| item)
    }
}

impl<T: Ord> Extend<T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.insert(item);
        }
    }
}

impl<'a, T: Ord + Copy> Extend<&'a T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, items: I) {
        self.extend(items.into_iter().copied());
    }
}

impl<T: Ord> FromIterator<T> for BTreeSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut set = Self::new();
        set.extend(items);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for BTreeSet<T> {
    fn from(items: [T; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<T> Default for BTreeSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for BTreeSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for BTreeSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for BTreeSet<T> {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::BTreeSet;

    #[test]
    fn set_keeps_items_once_and_in_order() {
        let mut set: BTreeSet<u64> = (0..300).map(|item| item * 7 % 300).collect();

        assert!(!set.insert(7) && set.insert(301) && set.remove(&8) && !set.remove(&8));

        let wanted: Vec<u64> = (0..300).filter(|&item| item != 8).chain([301]).collect();
        assert!(set.iter().eq(&wanted) && set.iter().rev().eq(wanted.iter().rev()));
        assert_eq!((set.first(), set.last(), set.len()), (Some(&0), Some(&301), 300));
        assert_eq!(set.range(7..10).copied().collect::<Vec<_>>(), [7, 9]);
        assert_eq!(set.difference(&(1..302).collect()).copied().collect::<Vec<_>>(), [0]);
        set.retain(|item| item % 2 == 1);
        assert_eq!(set.len(), 151);
        assert!(set.into_iter().eq(wanted.into_iter().filter(|item| item % 2 == 1)));
    }
}
