//! Maps that forget: two generations, the older of which is dropped at regular times.
//!
//! Source: xache 1.3 and record-cache 1.2.

use alloc::vec::Vec;

use bytes::Bytes;

use super::rng::Rng;
use crate::collections::BTreeMap;
use crate::time::{Duration, Instant};

/// When a generation ends: at two thirds of the age, so that entries live 0.67 to 1.33 times that long.
#[derive(Debug)]
struct Clock {
    period: Duration,
    next: Instant,
    /// Whether the generation was ended early because it was full.
    is_swapped: bool,
}

impl Clock {
    fn new(max_age: Duration, now: Instant) -> Self {
        let period = max_age.saturating_mul(2) / 3;
        Self { period, next: now + period, is_swapped: false }
    }

    /// Returns how many generations ended until `now`; more than two are no different from two.
    fn advance(&mut self, now: Instant) -> usize {
        let mut ended = 0;
        while self.next <= now && ended < 2 {
            ended += usize::from(!core::mem::take(&mut self.is_swapped));
            self.next += self.period;
        }
        if self.next <= now {
            self.next = now + self.period;
        }
        ended
    }
}

/// A map whose entries age unless they are set or read.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    latest: BTreeMap<K, V>,
    oldest: BTreeMap<K, V>,
    max_len: usize,
    clock: Clock,
}

impl<K: Ord + Copy, V> Cache<K, V> {
    /// Creates a map of generations of `max_len` entries, which live about `max_age`.
    pub(crate) fn new(max_len: usize, max_age: Duration, now: Instant) -> Self {
        Self { latest: BTreeMap::new(), oldest: BTreeMap::new(), max_len, clock: Clock::new(max_age, now) }
    }

    /// Drops what is too old.
    pub(crate) fn advance(&mut self, now: Instant) {
        for _ in 0..self.clock.advance(now) {
            self.oldest = core::mem::take(&mut self.latest);
        }
    }

    /// Sets an entry.
    pub(crate) fn set(&mut self, key: K, value: V) {
        self.oldest.remove(&key);
        self.latest.insert(key, value);
        if self.latest.len() >= self.max_len {
            self.clock.is_swapped = true;
            self.oldest = core::mem::take(&mut self.latest);
        }
    }

    /// Returns an entry and makes it young again.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        if let Some(value) = self.oldest.remove(key) {
            self.latest.insert(*key, value);
        }
        self.latest.get(key)
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        self.latest.remove(key);
        self.oldest.remove(key);
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.latest.len() + self.oldest.len()
    }
}

/// Records by topic and by the key that announced them.
#[derive(Debug)]
pub(crate) struct RecordCache {
    fresh: BTreeMap<([u8; 32], [u8; 32]), Bytes>,
    stale: BTreeMap<([u8; 32], [u8; 32]), Bytes>,
    max_len: usize,
    clock: Clock,
}

impl RecordCache {
    /// Creates an empty cache of generations of `max_len` records, which live about `max_age`.
    pub(crate) fn new(max_len: usize, max_age: Duration, now: Instant) -> Self {
        Self { fresh: BTreeMap::new(), stale: BTreeMap::new(), max_len, clock: Clock::new(max_age, now) }
    }

    /// Drops what is too old.
    pub(crate) fn advance(&mut self, now: Instant) {
        for _ in 0..self.clock.advance(now) {
            self.stale = core::mem::take(&mut self.fresh);
        }
    }

    /// Adds a record; a fresh one of the same key stays as it is.
    pub(crate) fn add(&mut self, topic: [u8; 32], key: [u8; 32], record: Bytes) {
        self.stale.remove(&(topic, key));
        self.fresh.entry((topic, key)).or_insert(record);
        if self.fresh.len() > self.max_len {
            self.clock.is_swapped = true;
            self.stale = core::mem::take(&mut self.fresh);
        }
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, topic: [u8; 32], key: [u8; 32]) {
        self.fresh.remove(&(topic, key));
        self.stale.remove(&(topic, key));
    }

    /// Returns up to `count` records of a topic, any of them.
    pub(crate) fn pick(&self, topic: [u8; 32], count: usize, rng: &mut Rng) -> Vec<Bytes> {
        let range = (topic, [0; 32])..=(topic, [0xff; 32]);
        let mut all: Vec<_> = self
            .fresh
            .range(range.clone())
            .chain(self.stale.range(range))
            .map(|(_, record)| record)
            .collect();
        let mut picked = Vec::new();
        while picked.len() < count && !all.is_empty() {
            picked.push(all.swap_remove(rng.index(all.len())).clone());
        }
        picked
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.stale.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_survives_one_generation_and_not_two() {
        let mut cache = Cache::new(10, Duration::from_secs(30), Instant::EPOCH);
        cache.set(1, 'a');
        cache.set(2, 'b');

        cache.advance(Instant::EPOCH + Duration::from_secs(20));
        assert_eq!(cache.get(&1), Some(&'a'));

        cache.advance(Instant::EPOCH + Duration::from_secs(40));
        assert_eq!(cache.get(&1), Some(&'a'));
        assert_eq!(cache.get(&2), None);
    }

    #[test]
    fn full_generation_ages_at_once() {
        let mut cache = Cache::new(2, Duration::from_secs(30), Instant::EPOCH);

        for key in 0..5 {
            cache.set(key, ());
        }

        assert_eq!(cache.len(), 3);
    }
}
