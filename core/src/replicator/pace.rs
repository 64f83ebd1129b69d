//! How much a peer is asked for at once.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `getMaxInflight`: it counts requests, three times the least for streams whose round
//! trip is not measured. Here answers tell what requests bring and how long they take: 48 small blocks keep no link busy, and 48
//! large ones fill a tab's memory.

use crate::time::Duration;

/// What the answers of one peer are like.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes of a block, averaged; 0 before the first.
    block: u64,
    /// The shortest wait for an answer among the last ones, and among those before.
    waits: [Option<Duration>; 2],
    answers: u32,
}

impl Pace {
    /// Takes an answer with a block of `bytes` bytes that came after `wait`.
    pub(super) fn answered(&mut self, bytes: usize, wait: Duration) {
        let bytes = (bytes as u64).max(1);
        self.block = if self.block == 0 { bytes } else { (7 * self.block + bytes).div_ceil(8) };
        if self.answers.is_multiple_of(WINDOW) {
            self.waits = [None, self.waits[0]];
        }
        self.answers = self.answers.wrapping_add(1);
        self.waits[0] = Some(self.waits[0].map_or(wait, |shortest| shortest.min(wait)));
    }

    /// Returns how many requests may be in flight, given the least and the most.
    pub(super) fn in_flight(&self, (least, most): (u32, u32)) -> u32 {
        if self.block == 0 {
            return most.min(least.saturating_mul(3));
        }
        // Answers wait for each other: the shortest wait is closest to what the path takes.
        let wait = self.waits.iter().flatten().min().copied().unwrap_or_default().max(ROUND_TRIP);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bytes = BYTES.saturating_mul(micros(wait)) / micros(ROUND_TRIP);
        let count = bytes.min(MAX_BYTES) / self.block;
        u32::try_from(count).unwrap_or(u32::MAX).min(most).max(least)
    }
}

/// Answers that count as the last ones.
const WINDOW: u32 = 256;

/// The round trip of a fast link; source: `lib/replicator.js`, `SCALE_LATENCY`.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Bytes of blocks that are asked for at once over a fast link.
const BYTES: u64 = 4 << 20;

/// The same over any link: half of what may wait in a link to be read.
const MAX_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_asked_for_where_blocks_are_small_or_the_way_is_long() {
        let in_flight = |bytes: usize, millis: u64| {
            let mut pace = Pace::default();
            (0..600).for_each(|at| pace.answered(bytes, Duration::from_millis(millis + at % 90)));
            pace.in_flight((16, 512))
        };

        assert_eq!(Pace::default().in_flight((16, 512)), 48);
        assert_eq!(Pace::default().in_flight((16, 20)), 20);
        assert_eq!(in_flight(100, 1), 512);
        assert_eq!(in_flight(65536, 1), 64);
        assert_eq!(in_flight(65536, 100), 128);
        assert_eq!(in_flight(65536, 10_000), 256);
        assert_eq!(in_flight(1 << 20, 1), 16);
    }

    #[test]
    fn a_way_that_becomes_longer_is_noticed() {
        let mut pace = Pace::default();
        pace.answered(65536, Duration::from_millis(1));
        assert_eq!(pace.in_flight((16, 512)), 64);

        (0..2 * WINDOW).for_each(|_| pace.answered(65536, Duration::from_millis(100)));

        assert_eq!(pace.in_flight((16, 512)), 128);
    }
}
