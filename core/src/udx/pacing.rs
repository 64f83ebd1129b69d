//! Spreads packets over time, so that a burst does not overflow the queue of a router.

use super::{micros, micros_between};
use crate::time::{Duration, Instant};

/// A bucket of bytes refilled at the pacing rate, at most once per [`QUANTUM`].
///
/// What is left over is not saved up: a refill holds what the time since the last one was worth.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    /// Bytes; below 0 after a packet larger than what was left.
    budget: i64,
    refilled_at: Instant,
}

impl Pacer {
    /// Starts with one burst of `budget` bytes.
    pub(super) fn new(budget: i64, now: Instant) -> Self {
        Self { budget, refilled_at: now }
    }

    /// Returns when a packet may leave at `rate` bytes per second; `None` means at once.
    pub(super) fn poll(&mut self, rate: u64, now: Instant) -> Option<Instant> {
        let elapsed = micros_between(self.refilled_at, now);
        if elapsed >= micros(QUANTUM) {
            let worth = rate.saturating_mul(elapsed.min(micros(MAX_REFILL))) / 1_000_000;
            self.budget = self.budget.min(0).saturating_add(i64::try_from(worth).unwrap_or(i64::MAX));
            self.refilled_at = now;
        }
        if self.budget > 0 {
            return None;
        }
        let debt = self.budget.unsigned_abs();
        let wait = Duration::from_micros((debt + 1).saturating_mul(1_000_000) / rate.max(1));
        Some(self.refilled_at + wait.clamp(QUANTUM, MAX_REFILL))
    }

    /// Takes the bytes of a packet that left.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Shorter waits cost more wake-ups than they smooth.
const QUANTUM: Duration = Duration::from_millis(1);

/// A driver that was late, or a stream that was idle, gets no more than this much time back.
const MAX_REFILL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_kept_over_time_and_idleness_is_not_saved_up() {
        let rate = 1_000_000;
        let mut now = Instant::EPOCH;
        let mut pacer = Pacer::new(0, now);
        let mut sent = 0;

        while micros_between(Instant::EPOCH, now) < 1_000_000 {
            match pacer.poll(rate, now) {
                None => {
                    pacer.spend(1200);
                    sent += 1200;
                }
                Some(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        assert!((980_000..=1_003_000).contains(&sent), "{sent}");

        now += Duration::from_secs(60);
        let mut burst = 0;
        while pacer.poll(rate, now).is_none() {
            pacer.spend(1200);
            burst += 1200;
        }
        assert!(burst <= 52_000, "{burst}");
    }
}
