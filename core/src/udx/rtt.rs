//! Round trip times of one stream, and the timeouts that follow from them.
//!
//! Source: RFC 6298; bounds as observed in libudx (udx-native 1.21).

use super::filter::WindowedMax;
use super::micros;
use crate::time::{Duration, Instant};

/// Smoothed round trip time, its variation and its recent minimum.
#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    /// Microseconds; `None` before the first sample.
    smoothed: Option<u64>,
    /// Microseconds.
    variation: u64,
    /// Distance from `u64::MAX`, so that the maximum is the minimum.
    minimum: WindowedMax,
}

impl Rtt {
    /// Adds the round trip time of a packet that was sent once.
    pub(super) fn sample(&mut self, rtt: u64, now: Instant) {
        self.minimum.add(micros(MINIMUM_WINDOW), now.as_micros(), u64::MAX - rtt);
        let Some(smoothed) = self.smoothed else {
            (self.smoothed, self.variation) = (Some(rtt), rtt / 2);
            return;
        };
        let mut rtt = rtt;
        let plausible = smoothed + 5 * self.variation;
        if rtt > micros(SUSPICIOUS) && rtt > plausible {
            rtt = plausible.max(micros(SUSPICIOUS));
        }
        self.variation = (3 * self.variation + smoothed.abs_diff(rtt)) / 4;
        self.smoothed = Some((7 * smoothed + rtt) / 8);
    }

    /// Returns the smoothed round trip time in microseconds.
    pub(super) fn smoothed(&self) -> Option<u64> {
        self.smoothed
    }

    /// Returns the smallest round trip time of the last five minutes in microseconds.
    pub(super) fn minimum(&self) -> Option<u64> {
        self.smoothed.map(|_| u64::MAX - self.minimum.get())
    }

    /// Returns how long an acknowledgement may take before everything in flight counts as lost.
    pub(super) fn timeout(&self) -> Duration {
        let Some(smoothed) = self.smoothed else {
            return MIN_TIMEOUT;
        };
        Duration::from_micros(smoothed + 4 * self.variation).clamp(MIN_TIMEOUT, MAX_TIMEOUT)
    }

    /// Returns how long the tail of a burst may stay unacknowledged before it is probed.
    pub(super) fn probe_timeout(&self, in_flight: u64) -> Duration {
        let Some(smoothed) = self.smoothed else {
            return MIN_TIMEOUT;
        };
        let lonely = if in_flight == 1 { LONELY } else { Duration::ZERO };
        (Duration::from_micros(2 * smoothed) + lonely).max(MIN_PROBE)
    }
}

const MIN_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// A single packet may be acknowledged late by a peer that waits for its event loop.
const LONELY: Duration = Duration::from_millis(2);

/// Below this the scheduling of either side looks like a loss.
const MIN_PROBE: Duration = Duration::from_millis(10);

/// A longer sample far outside the variation comes from a machine that slept.
const SUSPICIOUS: Duration = Duration::from_secs(5);

/// How long a minimum is believed.
const MINIMUM_WINDOW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_the_samples_within_its_bounds() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), MIN_TIMEOUT);

        rtt.sample(20_000, Instant::EPOCH);
        assert_eq!(rtt.timeout(), MIN_TIMEOUT);
        assert_eq!(rtt.probe_timeout(1), Duration::from_millis(42));

        for _ in 0..100 {
            rtt.sample(4_000_000, Instant::EPOCH);
        }
        assert!(rtt.timeout() > Duration::from_secs(3));
        assert_eq!(rtt.minimum(), Some(20_000));
    }

    #[test]
    fn a_machine_that_slept_does_not_spoil_the_estimate() {
        let mut rtt = Rtt::default();
        rtt.sample(20_000, Instant::EPOCH);

        rtt.sample(3_600_000_000, Instant::EPOCH);

        assert!(rtt.smoothed().unwrap() < 1_000_000);
    }
}
