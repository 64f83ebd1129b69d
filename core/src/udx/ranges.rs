//! Sets of packet numbers that are mostly contiguous.

use crate::collections::BTreeMap;
use alloc::vec::Vec;

/// Disjoint half-open ranges of packet numbers, never adjacent to each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// End by start.
    by_start: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds `start..end` and returns the parts of it that were missing, in order.
    pub(super) fn insert(&mut self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut added = Vec::new();
        if start >= end {
            return added;
        }
        let (mut first, mut last, mut at) = (start, end, start);
        if let Some((&before, &until)) = self.by_start.range(..start).next_back()
            && until >= start
        {
            (first, last, at) = (before, last.max(until), until);
        }
        while let Some((&next, &until)) = self.by_start.range(start..=end).next() {
            if at < next {
                added.push((at, next));
            }
            at = at.max(until);
            last = last.max(until);
            self.by_start.remove(&next);
        }
        if at < end {
            added.push((at, end));
        }
        self.by_start.insert(first, last);
        added
    }

    /// Forgets every number below `bound`.
    pub(super) fn remove_below(&mut self, bound: u64) {
        while self.by_start.first_key_value().is_some_and(|(start, _)| *start < bound) {
            if let Some((_, end)) = self.by_start.pop_first()
                && end > bound
            {
                self.by_start.insert(bound, end);
                return;
            }
        }
    }

    /// Iterates over `(start, end)`, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_start.iter().map(|(&start, &end)| (start, end))
    }

    /// Returns the range that holds `number`.
    pub(super) fn containing(&self, number: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.by_start.range(..=number).next_back()?;
        (number < end).then_some((start, end))
    }

    /// Reports whether the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Returns how many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_agree_with_a_set_of_numbers() {
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };

        for round in 0..2000 {
            let start = random(60);
            let end = start + random(9);
            let added: Vec<u64> = ranges.insert(start, end).iter().flat_map(|&(s, e)| s..e).collect();
            let expected: Vec<u64> = (start..end).filter(|number| model.insert(*number)).collect();
            assert_eq!(added, expected, "round {round}");
            if random(20) == 0 {
                let bound = random(70);
                ranges.remove_below(bound);
                model.retain(|number| *number >= bound);
            }

            let all: Vec<u64> = ranges.iter().flat_map(|(s, e)| s..e).collect();
            assert_eq!(all, model.iter().copied().collect::<Vec<_>>(), "round {round}");
            let starts: Vec<_> = ranges.iter().collect();
            assert!(starts.windows(2).all(|pair| pair[0].1 < pair[1].0), "round {round}: {starts:?}");
            let probe = random(70);
            assert_eq!(ranges.containing(probe).is_some(), model.contains(&probe));
        }
    }
}
