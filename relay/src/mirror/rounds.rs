//! When which copy is announced: all of them again and again, a few at a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hypertab_core::id::PublicKey;
use hypertab_core::time::{Duration, Instant};

/// The rounds of all copies that can be found.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    due: BTreeSet<(Instant, PublicKey)>,
    /// When each is due; `None` while it is announced.
    by_key: BTreeMap<PublicKey, Option<Instant>>,
    running: usize,
}

impl Rounds {
    /// Adds a copy, to be announced at once unless it was lately.
    pub(super) fn add(&mut self, key: PublicKey, now: Instant) {
        if let Entry::Vacant(place) = self.by_key.entry(key) {
            place.insert(Some(now));
            self.due.insert((now, key));
        }
    }

    /// Leaves a copy out from here on, and reports whether it was there.
    pub(super) fn remove(&mut self, key: &PublicKey) -> bool {
        match self.by_key.remove(key) {
            None => return false,
            Some(Some(at)) => drop(self.due.remove(&(at, *key))),
            Some(None) => self.running = self.running.saturating_sub(1),
        }
        true
    }

    /// Returns a copy whose turn it is.
    pub(super) fn next(&mut self, now: Instant) -> Option<PublicKey> {
        let (at, key) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        if self.running >= AT_ONCE {
            return None;
        }
        self.due.remove(&(at, key));
        self.by_key.insert(key, None);
        self.running += 1;
        Some(key)
    }

    /// Takes the end of an announcement.
    pub(super) fn finished(&mut self, key: &PublicKey, now: Instant) {
        if let Some(at @ None) = self.by_key.get_mut(key) {
            *at = Some(now + AGAIN);
            self.due.insert((now + AGAIN, *key));
            self.running = self.running.saturating_sub(1);
        }
    }

    /// Forgets everything: whoever announces is gone.
    pub(super) fn interrupt(&mut self) {
        *self = Self::default();
    }

    /// Returns when there may be something to do; not while as many run as may.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at).filter(|_| self.running < AT_ONCE)
    }
}

/// Announcements at once. A search takes up to a second on the public DHT.
const AT_ONCE: usize = 8;

/// Records are kept for 20 minutes by those who store them.
const AGAIN: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_has_its_turn_and_no_more_run_than_may() {
        let mut rounds = Rounds::default();
        let now = Instant::EPOCH;
        for key in 0..20 {
            rounds.add([key; 32], now);
        }

        let first: Vec<_> = std::iter::from_fn(|| rounds.next(now)).collect();
        assert_eq!(first.len(), AT_ONCE);
        assert_eq!(rounds.poll_timeout(), None);
        rounds.finished(&[0; 32], now);
        rounds.finished(&[0; 32], now);
        assert!(rounds.remove(&[1; 32]) && !rounds.remove(&[1; 32]));
        let second: Vec<_> = std::iter::from_fn(|| rounds.next(now)).collect();
        assert_eq!(second, [[8; 32], [9; 32]]);
        rounds.add([0; 32], now);
        rounds.finished(&[2; 32], now);
        assert_eq!(rounds.next(now), Some([10; 32]));
        for key in 3..20 {
            rounds.finished(&[key; 32], now);
            rounds.next(now);
        }
        for key in 3..20 {
            rounds.finished(&[key; 32], now);
        }
        assert_eq!(rounds.poll_timeout(), Some(now + AGAIN));
        assert_eq!(rounds.next(now + AGAIN), Some([0; 32]));
        rounds.interrupt();
        assert_eq!(rounds.poll_timeout(), None);
    }
}
