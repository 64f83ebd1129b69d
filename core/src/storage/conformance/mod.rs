//! The suite that every backend passes: random batches against an ordered map, with crashes.

mod crash_file;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

pub use crash_file::CrashFile;

use super::{Batch, CommitId, Durability, Intent, Op, Outcome, Owner, ReadId, StorageFailure};

/// A store that a test can run and crash.
pub trait Backend {
    /// Carries out one intent.
    fn handle_intent(&mut self, intent: Intent) -> Outcome;

    /// Loses what was not durable and opens again. Returns whether [`Durability::Relaxed`] commits since the last
    /// strict one may be lost.
    fn crash(&mut self) -> bool;
}

impl Backend for super::MemoryStore {
    fn handle_intent(&mut self, intent: Intent) -> Outcome {
        Self::handle_intent(self, intent)
    }

    fn crash(&mut self) -> bool {
        false
    }
}

/// Runs `rounds` random intents drawn from `seed`.
///
/// # Panics
///
/// When the backend differs from an ordered map.
pub fn run(backend: &mut dyn Backend, seed: u64, rounds: u32) {
    let mut random = Random(seed | 1);
    // The map after each commit since the last strict one: any of them may be what a crash leaves.
    let mut states: Vec<BTreeMap<Bytes, Bytes>> = alloc::vec![BTreeMap::new()];
    let mut owner = claim(backend, 0);
    for round in 0..rounds {
        let state = states.last().expect("never empty").clone();
        match random.below(8) {
            0..=3 => {
                let batch = random_batch(&mut random);
                let mut next = state;
                apply(&mut next, &batch);
                let durability = if random.below(3) == 0 { Durability::Strict } else { Durability::Relaxed };
                let id = CommitId(u64::from(round));
                let outcome = backend.handle_intent(Intent::Commit { id, owner, batch, durability });
                assert_eq!(outcome, Outcome::Committed(id), "seed {seed}, round {round}");
                if durability == Durability::Strict {
                    states.clear();
                }
                states.push(next);
            }
            4 | 5 => {
                let keys: Vec<Bytes> = (0..random.below(20)).map(|_| random_key(&mut random)).collect();
                let id = ReadId(u64::from(round));
                let values = keys.iter().map(|key| state.get(key).cloned()).collect();
                let outcome = backend.handle_intent(Intent::Read { id, keys });
                assert_eq!(outcome, Outcome::Read { id, values }, "seed {seed}, round {round}");
            }
            6 => check_scan(backend, &state, &mut random, seed, round),
            _ if random.below(4) == 0 => {
                let may_lose = backend.crash();
                owner = claim(backend, round + 1);
                let found = read_all(backend);
                let kept = states.iter().rposition(|state| *state == found);
                assert!(kept.is_some(), "seed {seed}, round {round}: a crash left what was never there");
                assert!(
                    may_lose || kept == Some(states.len() - 1),
                    "seed {seed}, round {round}: commits lost"
                );
                states = alloc::vec![found];
            }
            _ => {}
        }
    }
}

/// Claims the store for one that had it never before.
fn claim(backend: &mut dyn Backend, number: u32) -> Owner {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let (id, owner) = (CommitId(0), Owner(bytes));
    assert_eq!(backend.handle_intent(Intent::Claim { id, owner }), Outcome::Committed(id));
    owner
}

/// Opens one store twice: whoever claims it last writes it, and the other one is told and changes nothing.
///
/// `first` and `second` are two openings of the same new store. A backend that cannot be opened twice is given as
/// `first` alone, claimed twice.
///
/// # Panics
///
/// When both write, or none.
pub fn run_fence<'a>(first: &'a mut dyn Backend, mut second: Option<&'a mut dyn Backend>) {
    let commit = |owner, value: &'static str| {
        let put = Op::Put { key: Bytes::from_static(&[4, 1]), value: Bytes::from_static(value.as_bytes()) };
        let batch = Batch { ops: [put].into() };
        Intent::Commit { id: CommitId(1), owner, batch, durability: Durability::Strict }
    };
    let earlier = claim(first, 1);
    assert_eq!(first.handle_intent(commit(earlier, "before")), Outcome::Committed(CommitId(1)));
    let later = match &mut second {
        Some(second) => claim(*second, 2),
        None => claim(first, 2),
    };
    for _ in 0..2 {
        let failure = StorageFailure::Fenced;
        let outcome = first.handle_intent(commit(earlier, "never"));
        assert_eq!(outcome, Outcome::CommitFailed { id: CommitId(1), failure });
    }
    let owner = second.unwrap_or(first);
    assert_eq!(read_all(owner).into_values().collect::<Vec<_>>(), ["before"]);
    assert_eq!(owner.handle_intent(commit(later, "after")), Outcome::Committed(CommitId(1)));
    assert_eq!(read_all(owner).into_values().collect::<Vec<_>>(), ["after"]);
}

fn check_scan(
    backend: &mut dyn Backend,
    state: &BTreeMap<Bytes, Bytes>,
    random: &mut Random,
    seed: u64,
    round: u32,
) {
    let (mut start, mut end) = (random_key(random), random_key(random));
    if end < start {
        core::mem::swap(&mut start, &mut end);
    }
    let reverse = random.below(2) == 0;
    let limit = 1 + random.below(10);
    let id = ReadId(u64::from(round));
    let mut expected: Vec<(Bytes, Bytes)> =
        state.range(start.clone()..end.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
    if reverse {
        expected.reverse();
    }
    let outcome = backend.handle_intent(Intent::Scan { id, start, end, reverse, limit });
    let Outcome::Scan { id: found, entries, more } = outcome else {
        panic!("seed {seed}, round {round}: {outcome:?}")
    };
    assert_eq!(found, id);
    assert_eq!(entries.as_slice(), &expected[..entries.len()], "seed {seed}, round {round}");
    assert_eq!(more, entries.len() < expected.len(), "seed {seed}, round {round}");
    assert!(entries.len() <= limit as usize && (!more || !entries.is_empty()), "seed {seed}, round {round}");
}

fn read_all(backend: &mut dyn Backend) -> BTreeMap<Bytes, Bytes> {
    let mut all = BTreeMap::new();
    let mut start = Bytes::new();
    loop {
        let id = ReadId(u64::MAX);
        let end = Bytes::from_static(&[0xff; 8]);
        let outcome = backend.handle_intent(Intent::Scan { id, start, end, reverse: false, limit: 1000 });
        let Outcome::Scan { entries, more, .. } = outcome else { panic!("{outcome:?}") };
        let Some((last, _)) = entries.last() else { return all };
        let mut next = last.to_vec();
        next.push(0);
        start = next.into();
        all.extend(entries);
        if !more {
            return all;
        }
    }
}

fn apply(state: &mut BTreeMap<Bytes, Bytes>, batch: &Batch) {
    for op in &batch.ops {
        match op {
            Op::Put { key, value } => {
                state.insert(key.clone(), value.clone());
            }
            Op::Delete { key } => {
                state.remove(key);
            }
            Op::DeleteRange { start, end } => state.retain(|key, _| key < start || key >= end),
        }
    }
}

fn random_batch(random: &mut Random) -> Batch {
    let count = 1 + random.below(30);
    let ops = (0..count).map(|_| match random.below(10) {
        0 => {
            let (start, end) = (random_key(random), random_key(random));
            Op::DeleteRange { start, end }
        }
        1 | 2 => Op::Delete { key: random_key(random) },
        _ => {
            let len = if random.below(20) == 0 { 70_000 } else { random.below(300) } as usize;
            let byte = random.below(256) as u8;
            Op::Put { key: random_key(random), value: alloc::vec![byte; len].into() }
        }
    });
    Batch { ops: ops.collect() }
}

/// Few distinct keys, of the shapes the core uses: short prefixes, numbers, runs of 0 and 255.
fn random_key(random: &mut Random) -> Bytes {
    let mut key = alloc::vec![4, random.below(3) as u8, random.below(4) as u8];
    match random.below(4) {
        0 => key.push(random.below(40) as u8),
        1 => key.extend([0xfc, 0, 0xfc + random.below(4) as u8]),
        2 => key.extend([0xfe, 0xff, 0xff, random.below(5) as u8]),
        _ => {}
    }
    key.into()
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % u64::from(bound)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_store_behaves_like_an_ordered_map() {
        for seed in 1..20 {
            run(&mut super::super::MemoryStore::new(), seed, 500);
        }
        run_fence(&mut super::super::MemoryStore::new(), None);
    }
}
