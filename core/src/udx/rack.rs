//! Recent acknowledgement: a packet is lost when one sent sufficiently later has arrived.
//!
//! Source: RFC 8985, sections 5 and 6; the reordering window as observed in libudx (udx-native 1.21).

use super::micros_between;
use super::rtt::Rtt;
use crate::time::{Duration, Instant};

/// What the acknowledgements so far say about packets still in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Rack {
    /// The packet sent last among those delivered: when it was sent, and its number.
    latest: Option<(Instant, u64)>,
    /// Round trip time of that packet, microseconds.
    rtt: u64,
    /// One past the highest number delivered.
    highest: u64,
    /// A packet that was sent once arrived after one sent later.
    has_reordering: bool,
}

impl Rack {
    /// Records that a packet arrived.
    pub(super) fn delivered(
        &mut self,
        number: u64,
        sent_at: Instant,
        sent_once: bool,
        rtt: &Rtt,
        now: Instant,
    ) {
        if sent_once && number < self.highest {
            self.has_reordering = true;
        }
        self.highest = self.highest.max(number + 1);
        let elapsed = micros_between(sent_at, now);
        // The acknowledgement of a packet sent twice may belong to the first copy.
        if !sent_once && rtt.minimum().is_some_and(|minimum| elapsed < minimum) {
            return;
        }
        if self.latest.is_none_or(|latest| (sent_at, number) > latest) {
            self.latest = Some((sent_at, number));
            self.rtt = elapsed;
        }
    }

    /// Returns when a packet in flight counts as lost; `None` while nothing sent after it has arrived.
    pub(super) fn lost_at(&self, number: u64, sent_at: Instant, window: Duration) -> Option<Instant> {
        let latest = self.latest?;
        ((sent_at, number) < latest).then(|| sent_at + Duration::from_micros(self.rtt) + window)
    }

    /// Returns how much longer than a round trip a packet may take.
    ///
    /// `sacked` is the number of packets that arrived beyond a missing one.
    pub(super) fn reordering_window(&self, rtt: &Rtt, in_recovery: bool, sacked: u64) -> Duration {
        if !self.has_reordering && (in_recovery || sacked >= DUPLICATES) {
            return Duration::ZERO;
        }
        let window = rtt.minimum().unwrap_or(0) / 4;
        Duration::from_micros(window.min(rtt.smoothed().unwrap_or(0)))
    }
}

/// So many packets beyond a missing one prove a loss on a path that keeps the order.
const DUPLICATES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_sent_earlier_can_be_lost() {
        let (mut rack, rtt) = (Rack::default(), Rtt::default());
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);

        rack.delivered(5, at(10), true, &rtt, at(30));

        assert_eq!(rack.lost_at(4, at(9), Duration::ZERO), Some(at(29)));
        assert_eq!(rack.lost_at(4, at(10), Duration::ZERO), Some(at(30)));
        assert_eq!(rack.lost_at(6, at(10), Duration::ZERO), None);
        assert_eq!(rack.lost_at(1, at(11), Duration::ZERO), None);
    }

    #[test]
    fn reordering_keeps_the_window_open() {
        let (mut rack, mut rtt) = (Rack::default(), Rtt::default());
        rtt.sample(20_000, Instant::EPOCH);
        assert_eq!(rack.reordering_window(&rtt, true, 0), Duration::ZERO);
        assert_eq!(rack.reordering_window(&rtt, false, 0), Duration::from_millis(5));

        rack.delivered(5, Instant::EPOCH, true, &rtt, Instant::EPOCH);
        rack.delivered(4, Instant::EPOCH, true, &rtt, Instant::EPOCH);

        assert_eq!(rack.reordering_window(&rtt, true, 9), Duration::from_millis(5));
    }
}
