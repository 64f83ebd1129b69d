//! How far a stream steps back when a queue on the path overflows, so that others get their share of it.
//!
//! BBR version 1 keeps twice what the path holds in flight and pays no heed to losses, so a queue of that size belongs to it
//! alone. Here a round trip with many losses, all of whose packets waited in a queue, lowers the window, which then grows back as
//! a TCP stream's would: quickly to where it was, and slowly beyond. Losses without a queue are those of a bad radio, not of others
//! who want their share.
//!
//! Source: RFC 9438 (the factor), L. Xu et al., "Binary Increase Congestion Control" (the growth), BBR version 2 (the threshold
//! in place of single losses).

/// An upper bound of the window in packets, besides the one of the model.
#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    /// `None` until a queue overflows.
    limit: Option<u64>,
    /// The window at the last overflow.
    origin: u64,
    /// Round trips since the limit grew beyond the origin.
    rounds_beyond: u64,
    acked: u64,
    lost: u64,
    /// The shortest round trips, of this one and of all, in microseconds.
    shortest: u64,
    shortest_ever: u64,
}

impl Ceiling {
    pub(super) const fn new() -> Self {
        Self {
            limit: None,
            origin: 0,
            rounds_beyond: 0,
            acked: 0,
            lost: 0,
            shortest: u64::MAX,
            shortest_ever: u64::MAX,
        }
    }

    /// Returns the most packets that may be in flight.
    pub(super) fn get(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX)
    }

    /// Counts what an acknowledgement reported.
    pub(super) fn count(&mut self, acked: u64, lost: u64, rtt: Option<u64>) {
        self.acked += acked;
        self.lost += lost;
        self.shortest = self.shortest.min(rtt.unwrap_or(u64::MAX));
    }

    /// Ends a round trip with this window, and reports whether a queue overflowed in it.
    pub(super) fn end_round(&mut self, window: u64, least: u64) -> bool {
        let (acked, lost) = (core::mem::take(&mut self.acked), core::mem::take(&mut self.lost));
        let shortest = core::mem::replace(&mut self.shortest, u64::MAX);
        self.shortest_ever = self.shortest_ever.min(shortest);
        let has_waited =
            shortest < u64::MAX && shortest - self.shortest_ever > self.shortest_ever / QUEUE_PART;
        let has_overflowed = has_waited && lost >= MIN_LOST && lost * MAX_LOSS_PART > acked + lost;
        if has_overflowed {
            self.origin = window.min(self.get());
            self.limit = Some((self.origin * 7 / 10).max(least));
            self.rounds_beyond = 0;
        } else if let Some(limit) = &mut self.limit {
            let step = if *limit < self.origin {
                ((self.origin - *limit) / APPROACH).max(1)
            } else {
                self.rounds_beyond += 1;
                1 + self.rounds_beyond / ROUNDS_PER_STEP
            };
            // A limit that nothing reaches need not grow away from the window.
            if *limit < 2 * window {
                *limit += step;
            }
        }
        has_overflowed
    }
}

/// One packet in so many may get lost by chance.
const MAX_LOSS_PART: u64 = 25;

/// Fewer losses in a round trip prove nothing.
const MIN_LOST: u64 = 4;

/// A queue holds at least this part of what the path does.
const QUEUE_PART: u64 = 8;

/// Part of the way back to the origin that is gone in a round trip.
const APPROACH: u64 = 32;

/// Round trips beyond the origin after which steps are larger by one.
const ROUNDS_PER_STEP: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_does_not_lower_the_window() {
        let mut ceiling = Ceiling::new();

        for round in 0..100 {
            // Few losses behind a queue, many without one.
            let (lost, rtt) = if round % 2 == 0 { (6, 30_000) } else { (60, 20_000) };
            ceiling.count(300, lost, Some(rtt));
            assert!(!ceiling.end_round(300, 4));
        }

        assert_eq!(ceiling.get(), u64::MAX);
    }

    #[test]
    fn an_overflow_does_and_the_way_back_is_slow() {
        let mut ceiling = Ceiling::new();
        ceiling.count(100, 0, Some(20_000));
        ceiling.end_round(100, 4);

        ceiling.count(90, 10, Some(30_000));
        assert!(ceiling.end_round(100, 4));
        assert_eq!(ceiling.get(), 70);

        let mut rounds = 0;
        while ceiling.get() < 100 {
            ceiling.count(100, 0, Some(20_000));
            ceiling.end_round(ceiling.get(), 4);
            rounds += 1;
        }
        assert_eq!(rounds, 30);
    }
}
