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

    /// Returns up to `count` records of a topic, any of those from a random key on.
    pub(crate) fn pick(&self, topic: [u8; 32], count: usize, rng: &mut Rng) -> Vec<Bytes> {
        let from = rng.bytes();
        let (above, below) = ((topic, from)..=(topic, [0xff; 32]), (topic, [0; 32])..(topic, from));
        let records = self.fresh.range(above.clone()).chain(self.fresh.range(below.clone()));
        let records = records.chain(self.stale.range(above)).chain(self.stale.range(below));
        let mut all: Vec<_> = records.map(|(_, record)| record).take(MAX_LOOKED_AT).collect();
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

/// Records that are looked at for a few of them: a topic may have a hundred thousand.
const MAX_LOOKED_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::BTreeSet;

    #[test]
    fn few_records_are_all_picked_and_many_from_everywhere() {
        let mut rng = Rng::new([1; 32]);
        let mut cache = RecordCache::new(65_536, Duration::from_secs(30), Instant::EPOCH);
        let key = |at: u16| crate::crypto::blake2b_256(&[&at.to_le_bytes()]);
        (0..3000).for_each(|at| cache.add([7; 32], key(at), Bytes::copy_from_slice(&at.to_le_bytes())));
        (0..5).for_each(|at| cache.add([8; 32], key(at), Bytes::copy_from_slice(&at.to_le_bytes())));
        cache.add([9; 32], key(0), Bytes::new());

        assert_eq!(cache.pick([8; 32], 20, &mut rng).len(), 5);
        let mut picked = BTreeSet::new();
        for _ in 0..1000 {
            let some = cache.pick([7; 32], 20, &mut rng);
            assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), 20);
            picked.extend(some);
        }
        assert!(picked.len() > 2500, "{}", picked.len());
    }

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
