//! Rates: so many at once, then so many per some seconds.

use crate::time::{Duration, Instant};

/// So many at once, then so many per some seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: u64,
    pub(super) per_second: u64,
    pub(super) seconds: u64,
}

/// Counts what was taken beyond what has come back since: empty at the start, never more than the burst.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Millionths of a unit.
    taken: u128,
    at: Instant,
}

impl Bucket {
    pub(super) const fn new(now: Instant) -> Self {
        Self { taken: 0, at: now }
    }

    /// Reports whether not all that was taken has come back.
    pub(super) fn owes(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.taken > 0
    }

    /// Reports whether one more may be taken at once.
    pub(super) fn has(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.taken + MILLION <= u128::from(rate.burst) * MILLION
    }

    /// Takes some, into debt if need be, and returns how long it takes to get out of it.
    pub(super) fn take(&mut self, rate: Rate, units: u64, now: Instant) -> Duration {
        self.refill(rate, now);
        self.taken += u128::from(units) * MILLION;
        let debt = self.taken.saturating_sub(u128::from(rate.burst) * MILLION);
        let micros = debt * u128::from(rate.seconds) / u128::from(rate.per_second.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let micros = now.duration_since(self.at).as_micros();
        self.at = now;
        let back = micros * u128::from(rate.per_second) / u128::from(rate.seconds.max(1));
        self.taken = self.taken.saturating_sub(back);
    }
}

const MILLION: u128 = 1_000_000;
