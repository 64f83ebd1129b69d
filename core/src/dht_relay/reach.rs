//! Keeps a relay from being a weapon: what leaves it for addresses that never asked for it, and what it answers.
//!
//! A client chooses whom its relay dials, and a peer says in its handshake where it is reached. Neither proves that
//! whoever is there wants to hear of it. So each host gets little until it has said something itself.

use crate::collections::BTreeMap;

use super::bucket::{Bucket, Rate};
use crate::dht::{is_bogon, rpc};
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes its way.
    Pass,
    /// It would go to, or came from, an address that is nobody's on the internet.
    Private,
    /// The host has had enough.
    Excess,
}

/// What is known of hosts.
#[derive(Debug)]
pub(super) struct Reach {
    allows_private: bool,
    hosts: BTreeMap<[u8; 4], Host>,
}

#[derive(Debug)]
struct Host {
    /// Bytes sent since it was heard last.
    unanswered: Bucket,
    /// Requests that it sent.
    requests: Bucket,
    touched: Instant,
}

impl Reach {
    pub(super) fn new(allows_private: bool) -> Self {
        Self { allows_private, hosts: BTreeMap::new() }
    }

    /// Judges datagrams to an address.
    pub(super) fn sends(&mut self, to: Address, bytes: usize, datagrams: usize, now: Instant) -> Verdict {
        if is_bogon(to.ip()) {
            return if self.allows_private { Verdict::Pass } else { Verdict::Private };
        }
        let host = self.host(to.ip(), now);
        if !host.unanswered.has(UNANSWERED, now) {
            return Verdict::Excess;
        }
        let bytes = bytes.saturating_add(datagrams.saturating_mul(HEADERS));
        host.unanswered.take(UNANSWERED, bytes as u64, now);
        Verdict::Pass
    }

    /// Judges a datagram from an address.
    pub(super) fn hears(&mut self, from: Address, first: Option<u8>, now: Instant) -> Verdict {
        if is_bogon(from.ip()) {
            return if self.allows_private { Verdict::Pass } else { Verdict::Private };
        }
        let host = self.host(from.ip(), now);
        host.unanswered = Bucket::new(now);
        if first == Some(rpc::REQUEST) {
            if !host.requests.has(REQUESTS, now) {
                return Verdict::Excess;
            }
            host.requests.take(REQUESTS, 1, now);
        }
        Verdict::Pass
    }

    fn host(&mut self, ip: [u8; 4], now: Instant) -> &mut Host {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&ip) {
            self.hosts.retain(|_, host| host.touched + FORGOTTEN > now);
            if self.hosts.len() >= MAX_HOSTS {
                self.hosts.pop_first();
            }
        }
        let new = || Host { unanswered: Bucket::new(now), requests: Bucket::new(now), touched: now };
        let host = self.hosts.entry(ip).or_insert_with(new);
        host.touched = now;
        host
    }
}

/// Bytes for a host that does not answer: enough for the punches of a connection and the first flight of its data.
const UNANSWERED: Rate = Rate { burst: 128 * 1024, per_second: 4 * 1024, seconds: 1 };

/// Requests of a host. Nodes at work in the DHT send a few per second to each other.
const REQUESTS: Rate = Rate { burst: 400, per_second: 100, seconds: 1 };

/// Bytes of IP and UDP around each datagram.
const HEADERS: usize = 28;

/// After so long, both buckets are full again.
const FORGOTTEN: Duration = Duration::from_secs(32);

/// Hosts remembered.
const MAX_HOSTS: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: Address = Address::new([9, 9, 9, 9], 53);

    #[test]
    fn a_silent_host_is_left_alone_until_it_speaks() {
        let mut reach = Reach::new(false);
        let sent = |reach: &mut Reach, now| {
            (0..1000).filter(|_| reach.sends(VICTIM, 1172, 1, now) == Verdict::Pass).count()
        };
        let now = Instant::EPOCH;

        assert!((105..=110).contains(&sent(&mut reach, now)));
        assert!(sent(&mut reach, now + Duration::from_secs(3)) <= 11);
        assert_eq!(reach.hears(VICTIM, Some(0xff), now), Verdict::Pass);
        assert!(sent(&mut reach, now + Duration::from_secs(3)) > 100);
    }

    #[test]
    fn private_addresses_hear_and_say_nothing() {
        let mut reach = Reach::new(false);
        let now = Instant::EPOCH;

        for ip in
            [[127, 0, 0, 1], [10, 1, 1, 1], [192, 168, 1, 1], [169, 254, 169, 254], [224, 0, 0, 1], [255; 4]]
        {
            assert_eq!(reach.sends(Address::new(ip, 80), 1, 1, now), Verdict::Private);
            assert_eq!(reach.hears(Address::new(ip, 80), None, now), Verdict::Private);
        }
        assert_eq!(Reach::new(true).sends(Address::new([10, 0, 0, 1], 80), 1, 1, now), Verdict::Pass);
    }

    #[test]
    fn a_flood_of_requests_is_not_answered() {
        let mut reach = Reach::new(false);
        let now = Instant::EPOCH;
        let mut heard =
            |from| (0..1000).filter(|_| reach.hears(from, Some(rpc::REQUEST), now) == Verdict::Pass).count();

        assert_eq!(heard(VICTIM), 400);
        assert_eq!(heard(Address::new([8, 8, 8, 8], 1)), 400);
    }

    #[test]
    fn memory_is_bounded() {
        let mut reach = Reach::new(false);
        for host in 0..40_000_u32 {
            let [_, b, c, d] = host.to_be_bytes();
            reach.sends(Address::new([9, b, c, d], 1), 1, 1, Instant::EPOCH);
        }
        assert!(reach.hosts.len() <= MAX_HOSTS);
    }
}
