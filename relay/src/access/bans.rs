//! Addresses that misbehaved again and again, and are not served for a while.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Ban;

/// Offences and bans by account; see [`account`](super::account).
#[derive(Debug, Default)]
pub(crate) struct Bans {
    offences: BTreeMap<[u8; 16], (u64, u32)>,
    bans: BTreeMap<[u8; 16], u64>,
}

impl Bans {
    /// Creates it with bans of an earlier run: accounts and seconds of Unix time when they end.
    pub(crate) fn new(bans: impl IntoIterator<Item = ([u8; 16], u64)>) -> Self {
        Self { offences: BTreeMap::new(), bans: bans.into_iter().take(MAX_BANS).collect() }
    }

    /// Counts an offence; returns when the ban that it brings about ends.
    pub(crate) fn offend(&mut self, account: [u8; 16], settings: &Ban, now: u64) -> Option<u64> {
        let after = settings.after?;
        if self.offences.len() >= MAX_OFFENDERS && !self.offences.contains_key(&account) {
            self.offences.retain(|_, (since, _)| since.saturating_add(seconds(settings.window)) > now);
            if self.offences.len() >= MAX_OFFENDERS {
                self.offences.pop_first();
            }
        }
        let (since, count) = self.offences.entry(account).or_insert((now, 0));
        if since.saturating_add(seconds(settings.window)) <= now {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count < after {
            return None;
        }
        self.offences.remove(&account);
        self.bans.retain(|_, until| *until > now);
        if self.bans.len() >= MAX_BANS {
            return None;
        }
        let until = now.saturating_add(seconds(settings.time));
        self.bans.insert(account, until);
        Some(until)
    }

    /// Reports whether an account is banned.
    pub(crate) fn is_banned(&self, account: &[u8; 16], now: u64) -> bool {
        self.bans.get(account).is_some_and(|until| *until > now)
    }

    /// Returns how many are.
    pub(crate) fn count(&self, now: u64) -> usize {
        self.bans.values().filter(|until| **until > now).count()
    }
}

/// Returns seconds of Unix time.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

const fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

/// Accounts whose offences are counted.
const MAX_OFFENDERS: usize = 16_384;

/// Accounts banned at once.
const MAX_BANS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn offences_add_up_to_a_ban_that_ends() {
        let ban = Ban { after: Some(3), window: Duration::from_secs(10), time: Duration::from_secs(100) };
        let mut bans = Bans::default();
        let (one, other) = ([1; 16], [2; 16]);

        assert_eq!([0, 0, 11, 12].map(|now| bans.offend(one, &ban, now)), [None; 4]);
        assert_eq!(bans.offend(other, &ban, 12), None);
        assert_eq!(bans.offend(one, &ban, 13), Some(113));
        assert!(bans.is_banned(&one, 112) && !bans.is_banned(&one, 113) && !bans.is_banned(&other, 20));
        assert_eq!(bans.count(50), 1);
        assert!(Bans::new([(one, 113)]).is_banned(&one, 112));
        assert_eq!(Bans::default().offend(one, &Ban { after: None, ..ban }, 0), None);
    }

    #[test]
    fn memory_is_bounded() {
        let ban = Ban { after: Some(2), ..Settings::default().ban };
        let mut bans = Bans::default();

        for id in 0..40_000_u64 {
            let mut account = [0; 16];
            account[..8].copy_from_slice(&id.to_le_bytes());
            bans.offend(account, &ban, 0);
            bans.offend(account, &ban, 0);
            account[15] = 1;
            bans.offend(account, &ban, 0);
        }

        assert!(bans.offences.len() <= MAX_OFFENDERS && bans.bans.len() <= MAX_BANS);
    }
}
