//! Priorities, retries, duplicates and limits of the swarm against upstream's.

mod common;

use hypertab_core::hyperswarm::{
    Admission, Command, DestroyReason, Established, JoinOptions, PeerInfo, Priority, RetryTier, Swarm,
    SwarmOptions,
};
use hypertab_core::time::{Duration, Instant};
use serde_json::Value;

#[test]
fn attempts_set_priority_and_pause_as_upstream() {
    for case in common::entries(&common::load("dht-swarm"), "priorities") {
        let name = &case["name"];
        let mut peer = PeerInfo::new(Vec::new());
        peer.is_explicit = case["explicit"] == true;
        peer.is_banned = case["banned"] == true;
        peer.is_reconnecting = case["reconnecting"] != false;
        let mut now = Instant::EPOCH;

        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            match step["event"].as_str().unwrap() {
                "found" => {}
                "failed" => peer.disconnected(now),
                "connected" => peer.connected(now),
                "reset" => peer.reset(),
                lasted => {
                    let millis = lasted.strip_prefix("lasted ").unwrap().strip_suffix(" ms").unwrap();
                    now += Duration::from_millis(millis.parse().unwrap());
                    peer.disconnected(now);
                }
            }

            let name = format!("{name}, step {index}");
            assert_eq!(step["retryTier"], tier(peer.retry_tier()), "{name}");
            assert_eq!(step["mayConnect"], peer.update_priority(), "{name}");
            assert_eq!(step["attempts"], peer.attempts, "{name}");
            assert_eq!(step["proven"], peer.is_proven, "{name}");
            assert_eq!(step["priority"], priority(peer.priority), "{name}");
            assert_eq!(step["collectable"], peer.is_collectable(), "{name}");
        }
    }
}

#[test]
fn both_ends_keep_the_same_of_two_connections() {
    let vectors = common::load("dht-swarm");
    let (low, high) =
        (common::hex_fixed(&vectors["keys"]["low"]), common::hex_fixed(&vectors["keys"]["high"]));
    for case in common::entries(&vectors, "duplicates") {
        let is_larger = case["keys"] == "local key is larger";
        let (local, remote) = if is_larger { (high, low) } else { (low, high) };
        let mut swarm = online(SwarmOptions::new(local));
        let existing = if case["existingInitiatedByUs"] == true {
            swarm.join_peer(remote, Instant::EPOCH);
            let id = swarm.connection(&remote).unwrap();
            swarm.handle_opened(id, Instant::EPOCH);
            id
        } else {
            let Admission::Taken(id) = swarm.handle_incoming(remote, |_| Established::default()) else {
                panic!("the first connection is taken");
            };
            id
        };
        while swarm.poll_command().is_some() {}

        let admission = swarm.handle_incoming(remote, |id| {
            assert_eq!(id, existing);
            Established {
                has_read: case["existingBytesRead"] != 0,
                has_written: case["existingBytesWritten"] != 0,
            }
        });

        let commands: Vec<_> = std::iter::from_fn(|| swarm.poll_command()).collect();
        let sent = commands.contains(&Command::KeepAlive { connection: existing });
        assert_eq!(case["keepAliveSentOnExisting"], sent, "{case}");
        if case["keep"] == "new" {
            assert!(matches!(admission, Admission::Replaces(_)), "{case}");
            let reason = DestroyReason::Duplicate;
            assert!(commands.contains(&Command::Destroy { connection: existing, reason }), "{case}");
        } else {
            assert_eq!(admission, Admission::Refused(DestroyReason::Duplicate), "{case}");
        }
    }
}

#[test]
fn explicit_peers_leave_less_room_for_others() {
    for case in common::entries(&common::load("dht-swarm"), "maxPeers") {
        let number = |field: &str| usize::try_from(case[field].as_u64().unwrap()).unwrap();
        let options = SwarmOptions {
            max_peers: number("maxPeers"),
            max_parallel: 1000,
            ..SwarmOptions::new([0xff; 32])
        };
        let mut swarm = online(options);
        let now = Instant::EPOCH;
        for index in 0..number("explicitPeers") {
            let key = key(1000 + index);
            swarm.join_peer(key, now);
            // They count as connections while they last, so none does here.
            let id = swarm.connection(&key).unwrap();
            swarm.handle_closed(id, now);
        }
        while swarm.poll_command().is_some() {}

        swarm.join([1; 32], JoinOptions { server: false, ..JoinOptions::default() }, now);
        let Some(Command::Lookup { query, .. }) = swarm.poll_command() else { panic!() };
        for index in 0..200 {
            swarm.handle_found(query, key(index), Vec::new(), now);
        }

        let dials = std::iter::from_fn(|| swarm.poll_command());
        let count = dials.filter(|command| matches!(command, Command::Dial { .. })).count();
        assert_eq!(count, number("connectionsAllowed"), "{case}");
    }
}

fn online(options: SwarmOptions) -> Swarm {
    let mut swarm = Swarm::new(options, [1; 32]);
    swarm.set_online(true, Instant::EPOCH);
    swarm
}

fn key(index: usize) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&u64::try_from(index).unwrap().to_be_bytes());
    key
}

fn tier(tier: Option<RetryTier>) -> Value {
    match tier {
        None => Value::Null,
        Some(RetryTier::Short) => "1 s".into(),
        Some(RetryTier::Medium) => "5 s".into(),
        Some(RetryTier::Long) => "15 s".into(),
        Some(RetryTier::VeryLong) => "10 min".into(),
    }
}

fn priority(priority: Priority) -> u64 {
    match priority {
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
        Priority::VeryHigh => 4,
    }
}
