//! The peers whose turn comes, and those that wait to be tried again.
//!
//! Source: shuffled-priority-queue 2.1; hyperswarm 4.17, `lib/retry-timer.js`.

use alloc::vec::Vec;

use super::Random;
use super::peer::{Priority, RetryTier};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};

type Key = [u8; 32];

/// Peers by priority, at random inside one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ranks: BTreeMap<Priority, Vec<Key>>,
    len: usize,
}

impl Queue {
    pub(super) fn push(&mut self, peer: Key, priority: Priority) {
        self.ranks.entry(priority).or_default().push(peer);
        self.len += 1;
    }

    pub(super) fn pop(&mut self, random: &mut Random) -> Option<Key> {
        let (priority, mut peers) = self.ranks.pop_last()?;
        let index = random.below(peers.len() as u64);
        let peer = peers.swap_remove(usize::try_from(index).ok()?);
        if !peers.is_empty() {
            self.ranks.insert(priority, peers);
        }
        self.len -= 1;
        Some(peer)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.ranks.clear();
        self.len = 0;
    }
}

/// Peers that are tried again later.
#[derive(Debug)]
pub(super) struct Retries {
    due: BTreeSet<(Instant, Key)>,
    backoffs: [Duration; 4],
    jitter: Duration,
}

impl Retries {
    pub(super) fn new(backoffs: [Duration; 4], jitter: Duration) -> Self {
        Self { due: BTreeSet::new(), backoffs, jitter }
    }

    pub(super) fn add(&mut self, peer: Key, tier: RetryTier, random: &mut Random, now: Instant) {
        let [short, medium, long, very_long] = self.backoffs;
        let (backoff, spread) = match tier {
            RetryTier::Short => (short, 1),
            RetryTier::Medium => (medium, 2),
            RetryTier::Long => (long, 4),
            RetryTier::VeryLong => (very_long, 240),
        };
        let jitter = random.up_to(self.jitter.saturating_mul(spread));
        self.due.insert((now + backoff + jitter, peer));
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Key> {
        let (at, peer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, peer));
        Some(peer)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_go_first_and_equal_ones_at_random() {
        let mut orders = BTreeSet::new();
        for seed in 0..20 {
            let mut random = Random::new(&[seed; 32]);
            let mut queue = Queue::default();
            for (peer, priority) in [
                (1, Priority::Low),
                (2, Priority::Normal),
                (3, Priority::Normal),
                (4, Priority::Normal),
                (5, Priority::VeryHigh),
                (6, Priority::High),
            ] {
                queue.push([peer; 32], priority);
            }
            let order: Vec<_> = core::iter::from_fn(|| queue.pop(&mut random)).map(|peer| peer[0]).collect();

            assert_eq!((order[0], order[1], order[5]), (5, 6, 1));
            assert_eq!(queue.len(), 0);
            orders.insert(order);
        }
        assert!(orders.len() > 3);
    }

    #[test]
    fn retries_wait_for_their_tier_and_a_jitter() {
        let seconds = Duration::from_secs;
        let backoffs = [seconds(1), seconds(5), seconds(15), seconds(600)];
        let mut retries = Retries::new(backoffs, Duration::from_millis(500));
        let mut random = Random::new(&[1; 32]);
        let tiers = [RetryTier::Short, RetryTier::Medium, RetryTier::Long, RetryTier::VeryLong];
        let most = [1.5, 6.0, 17.0, 720.0];

        for (index, tier) in tiers.into_iter().enumerate() {
            for _ in 0..100 {
                retries.add([1; 32], tier, &mut random, Instant::EPOCH);
                let at = retries.next().unwrap().duration_since(Instant::EPOCH);
                assert!(at >= backoffs[index] && at.as_secs_f64() <= most[index], "{tier:?} {at:?}");
                assert_eq!(retries.pop(Instant::EPOCH), None);
                assert_eq!(retries.pop(Instant::EPOCH + at), Some([1; 32]));
            }
        }
    }
}
