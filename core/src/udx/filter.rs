//! The best value of a sliding window, in constant space.
//!
//! Source: K. Nichols' windowed minimum, as in Linux `lib/win_minmax.c`.

/// The largest value seen in the last `window` units of a clock that the caller chooses.
///
/// Keeps the best, second best and third best of successive parts of the window, so that an old best
/// gives way to a younger one instead of to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowedMax {
    best: [Entry; 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    at: u64,
    value: u64,
}

impl WindowedMax {
    /// Returns the largest value; 0 before the first one.
    pub(super) fn get(&self) -> u64 {
        self.best[0].value
    }

    /// Adds a value seen at `at`, which never decreases, and forgets those older than `window`.
    pub(super) fn add(&mut self, window: u64, at: u64, value: u64) {
        let entry = Entry { at, value };
        let [first, second, third] = &mut self.best;
        if value >= first.value || at - third.at > window {
            self.best = [entry; 3];
            return;
        }
        if value >= second.value {
            (*second, *third) = (entry, entry);
        } else if value >= third.value {
            *third = entry;
        }
        let age = at - first.at;
        if age > window {
            (*first, *second, *third) = (*second, *third, entry);
            if at - first.at > window {
                (*first, *second, *third) = (*second, *third, entry);
            }
        } else if second.at == first.at && age > window / 4 {
            (*second, *third) = (entry, entry);
        } else if third.at == second.at && age > window / 2 {
            *third = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn maximum_leaves_the_window_and_is_never_below_a_recent_value() {
        let mut filter = WindowedMax::default();
        let mut seen: Vec<(u64, u64)> = Vec::new();
        let mut state = 1u64;

        for at in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = state >> 54;
            filter.add(100, at, value);
            seen.push((at, value));

            let exact = seen.iter().filter(|(then, _)| at - then <= 100).map(|entry| entry.1).max();
            assert!(filter.get() <= exact.unwrap());
            assert!(filter.get() >= value);
        }
    }

    #[test]
    fn an_old_best_is_replaced() {
        let mut filter = WindowedMax::default();

        filter.add(10, 0, 9);
        filter.add(10, 6, 5);
        assert_eq!(filter.get(), 9);

        filter.add(10, 11, 4);
        assert_eq!(filter.get(), 5);
    }
}
