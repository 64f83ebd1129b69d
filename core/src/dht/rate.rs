//! Limits what one host can make this node do: each new handshake costs a scalar multiplication, and each message
//! passed on goes to an address of the sender's choice.

use crate::collections::BTreeMap;
use crate::time::Instant;

/// One bucket per host.
#[derive(Debug, Default)]
pub(crate) struct SourceRate {
    buckets: BTreeMap<[u8; 4], Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of a message.
    level: u64,
    updated: Instant,
}

impl SourceRate {
    /// Takes one message of a host from its bucket and reports whether there was one left.
    pub(crate) fn allows(&mut self, host: [u8; 4], now: Instant) -> bool {
        if host[0] == 127 {
            return true;
        }
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.retain(|_, bucket| bucket.filled(now) < BURST);
            if self.buckets.len() >= MAX_BUCKETS {
                self.buckets.pop_first();
            }
        }
        let bucket = self.buckets.entry(host).or_insert(Bucket { level: BURST, updated: now });
        bucket.level = bucket.filled(now);
        bucket.updated = now;
        let is_allowed = bucket.level >= MESSAGE;
        if is_allowed {
            bucket.level -= MESSAGE;
        }
        is_allowed
    }
}

impl Bucket {
    fn filled(&self, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.duration_since(self.updated).as_millis()).unwrap_or(u64::MAX);
        self.level.saturating_add(elapsed.saturating_mul(PER_SECOND)).min(BURST)
    }
}

/// One message.
const MESSAGE: u64 = 1000;

/// Messages per second of one host; the unit is thousandths per millisecond.
const PER_SECOND: u64 = 50;

/// Messages at once of one host.
const BURST: u64 = 100 * MESSAGE;

/// Hosts remembered.
const MAX_BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn host_is_limited_and_recovers() {
        let mut rate = SourceRate::default();
        let host = [9, 9, 9, 9];

        let burst = (0..200).filter(|_| rate.allows(host, Instant::EPOCH)).count();
        let later = Instant::EPOCH + Duration::from_secs(1);
        let refilled = (0..200).filter(|_| rate.allows(host, later)).count();

        assert_eq!((burst, refilled), (100, 50));
        assert!(rate.allows([8, 8, 8, 8], later));
    }
}
