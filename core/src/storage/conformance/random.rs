//! Random batches against an ordered map.

use alloc::vec::Vec;

use bytes::Bytes;

use super::session::{Entries, Session, apply, ensure};
use super::{Backend, Verdict};
use crate::storage::{Durability, Op, Run};

/// Runs `rounds` random intents drawn from `seed`, crashes among them, on a new store.
///
/// # Errors
///
/// Says where the backend differs from an ordered map.
pub async fn run<B: Backend>(backend: &mut B, seed: u64, rounds: u32) -> Verdict {
    let mut random = Random(seed | 1);
    // The map after each commit since the last strict one: any of them may be what a crash leaves.
    let mut states: Vec<Entries> = alloc::vec![Entries::new()];
    let mut session = Session::claim(backend, 0).await?;
    for round in 0..rounds {
        let state = states.last().cloned().unwrap_or_default();
        let at = |what: &str| alloc::format!("seed {seed}, round {round}: {what}");
        match random.below(8) {
            0..=3 => {
                let ops = random_ops(&mut random);
                let mut next = state;
                apply(&mut next, &ops);
                let durability = random_durability(&mut random);
                session.commit(ops, durability).await.map_err(|found| at(&found))?;
                if durability == Durability::Strict {
                    states.clear();
                }
                states.push(next);
            }
            4 | 5 => {
                let keys: Vec<Bytes> = (0..random.below(20)).map(|_| random_key(&mut random)).collect();
                let expected: Vec<Option<Bytes>> = keys.iter().map(|key| state.get(key).cloned()).collect();
                let values = session.read(keys).await.map_err(|found| at(&found))?;
                ensure!(values == expected, "{}", at("a read gives other values"));
            }
            6 => check_scan(&mut session, &state, &mut random).await.map_err(|found| at(&found))?,
            _ if random.below(4) == 0 => {
                let mut next = state;
                let during = (random.below(2) == 0).then(|| {
                    let ops = random_ops(&mut random);
                    apply(&mut next, &ops);
                    session.commit_intent(ops, random_durability(&mut random))
                });
                let may_lose = session.backend.crash(during).await;
                session = Session::claim(session.backend, round + 1).await.map_err(|found| at(&found))?;
                let found = session.all().await.map_err(|found| at(&found))?;
                let kept = states.iter().rposition(|state| *state == found);
                ensure!(kept.is_some() || found == next, "{}", at("a crash left what was never there"));
                let is_last = kept == Some(states.len() - 1) || found == next;
                ensure!(may_lose || is_last, "{}", at("commits are lost"));
                states = alloc::vec![found];
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes commits drawn from `seed` for as long as `told` wants more. It is told how many are answered, after each; whoever ends the
/// writer looks at the store with [`check_sequence`].
///
/// # Errors
///
/// Says when a commit fails.
pub async fn write_sequence<B: Backend>(
    backend: &mut B,
    seed: u64,
    mut told: impl FnMut(u32) -> bool,
) -> Verdict {
    let mut random = Random(seed | 1);
    let mut session = Session::claim(backend, 0).await?;
    let mut answered = 0;
    while told(answered) {
        session.commit(random_ops(&mut random), Durability::Relaxed).await?;
        answered += 1;
    }
    Ok(())
}

/// Looks at a store that [`write_sequence`] wrote until it was ended. Returns how many of its commits are there.
///
/// # Errors
///
/// Says when what is there is no whole number of commits, or fewer than `answered`, of which whoever counts may have missed the last ones.
/// Only the process was ended, not the system: relaxed commits have to be there, too.
pub async fn check_sequence<B: Backend>(backend: &mut B, seed: u64, answered: u32) -> Verdict<u32> {
    let mut random = Random(seed | 1);
    let mut session = Session::claim(backend, 1).await?;
    let found = session.all().await?;
    let mut state = Entries::new();
    for count in 0..=answered + MISSED {
        if count >= answered && state == found {
            session.commit(random_ops(&mut random), Durability::Strict).await?;
            return Ok(count);
        }
        apply(&mut state, &random_ops(&mut random));
    }
    Err(alloc::format!("seed {seed}: not the state after {answered} commits, nor after some more"))
}

/// Commits that may be answered without whoever counts them having heard of it.
const MISSED: u32 = 5000;

async fn check_scan<B: Backend>(
    session: &mut Session<'_, B>,
    state: &Entries,
    random: &mut Random,
) -> Verdict {
    let (mut start, mut end) = (random_key(random), random_key(random));
    if end < start {
        core::mem::swap(&mut start, &mut end);
    }
    let reverse = random.below(2) == 0;
    let limit = 1 + random.below(10);
    let range = state.range(start.clone()..end.clone());
    let mut expected: Vec<(Bytes, Bytes)> = range.map(|(key, value)| (key.clone(), value.clone())).collect();
    if reverse {
        expected.reverse();
    }
    let (entries, more) = session.scan(&start, &end, reverse, limit).await?;
    ensure!(expected.starts_with(&entries), "a scan gives other entries");
    ensure!(more == (entries.len() < expected.len()), "a scan says that there are more: {more}");
    ensure!(entries.len() <= limit as usize, "a scan gives more than its limit");
    ensure!(!more || !entries.is_empty(), "a scan gives nothing of more");
    Ok(())
}

fn random_durability(random: &mut Random) -> Durability {
    if random.below(3) == 0 { Durability::Strict } else { Durability::Relaxed }
}

fn random_ops(random: &mut Random) -> Vec<Op> {
    let count = 1 + random.below(30);
    let op = |_| match random.below(11) {
        0 => Op::DeleteRange { start: random_key(random), end: random_key(random) },
        1 | 2 => Op::Delete { key: random_key(random) },
        3 => Op::PutRun(random_run(random).into()),
        _ => {
            let len = if random.below(20) == 0 { 70_000 } else { random.below(300) } as usize;
            let byte = random.below(256) as u8;
            Op::Put { key: random_key(random), value: alloc::vec![byte; len].into() }
        }
    };
    (0..count).map(op).collect()
}

fn random_run(random: &mut Random) -> Run {
    let prefix = Bytes::from(alloc::vec![4, random.below(3) as u8, random.below(4) as u8]);
    let most = if random.below(4) == 0 { 5000 } else { 100 };
    let value = |_| Bytes::from(alloc::vec![random.below(256) as u8; random.below(most) as usize]);
    let values: Vec<Bytes> = (0..20).map(value).collect();
    Run::new(prefix, [0, 10, 30, 240][random.below(4) as usize], values).expect("a few values")
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
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Draws a number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % u64::from(bound)) as u32
    }
}
