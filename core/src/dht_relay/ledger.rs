//! The accounts of a relay: how much links, addresses and keys have, and who may have more.

use alloc::vec::Vec;

use super::bridge::LinkId;
use super::bucket::Bucket;
use super::quota::{Charge, Full, Quota, Quotas, Resource, Scope, Usage, Way};
use crate::collections::BTreeMap;
use crate::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Link(LinkId),
    Address([u8; 16]),
    Key([u8; 32]),
    Total,
}

impl Id {
    const fn scope(&self) -> Scope {
        match self {
            Self::Link(_) => Scope::Link,
            Self::Address(_) => Scope::Address,
            Self::Key(_) => Scope::Key,
            Self::Total => Scope::Total,
        }
    }
}

/// A peer that comes without a link, over UDP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native {
    pub(super) key: [u8; 32],
    pub(super) address: [u8; 16],
}

/// The accounts of a relay.
#[derive(Debug)]
pub(super) struct Ledger {
    quotas: Quotas,
    accounts: BTreeMap<Id, Account>,
    links: BTreeMap<LinkId, Entry>,
    /// How many accounts there are when they are looked through next.
    forget_at: usize,
}

/// One link in the books.
#[derive(Debug)]
struct Entry {
    accounts: Vec<Id>,
    usage: Usage,
    /// Its client is away.
    is_held: bool,
}

#[derive(Debug)]
struct Account {
    links: u64,
    /// Those among them whose client is away. Whoever comes may be one of them, so as many more may come.
    held: u64,
    usage: Usage,
    openings: Bucket,
    lookups: Bucket,
    bytes: [Bucket; 2],
    day: (u64, u64),
    touched: Instant,
}

impl Ledger {
    pub(super) fn new(quotas: Quotas) -> Self {
        Self { quotas, accounts: BTreeMap::new(), links: BTreeMap::new(), forget_at: FEW_ACCOUNTS }
    }

    /// Returns how many accounts there are.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Replaces the bounds. What is beyond them already stays.
    pub(super) fn set_quotas(&mut self, quotas: Quotas) {
        self.quotas = quotas;
    }

    /// Opens a link for an address, if it and everybody together may have one more.
    pub(super) fn open(&mut self, link: LinkId, address: [u8; 16], now: Instant) -> Result<(), Full> {
        let ids = [Id::Address(address), Id::Total];
        for id in ids {
            self.may_open(id, now)?;
        }
        let mut accounts = Vec::with_capacity(4);
        accounts.push(Id::Link(link));
        self.account(Id::Link(link), now);
        for id in ids {
            self.enter(id, now);
            accounts.push(id);
        }
        self.links.insert(link, Entry { accounts, usage: [0; 4], is_held: false });
        Ok(())
    }

    /// Adds a link to the account of its key, if that may have one more.
    pub(super) fn introduce(&mut self, link: LinkId, key: [u8; 32], now: Instant) -> Result<(), Full> {
        self.may_open(Id::Key(key), now)?;
        let Some(entry) = self.links.get_mut(&link) else { return Ok(()) };
        entry.accounts.push(Id::Key(key));
        let usage = entry.usage;
        self.enter(Id::Key(key), now);
        if let Some(account) = self.accounts.get_mut(&Id::Key(key)) {
            shift(&mut account.usage, [0; 4], usage);
        }
        Ok(())
    }

    /// Notes that the client of a link is away, or is back.
    pub(super) fn set_held(&mut self, link: LinkId, is_held: bool) {
        let Some(entry) = self.links.get_mut(&link).filter(|entry| entry.is_held != is_held) else { return };
        entry.is_held = is_held;
        for id in &entry.accounts {
            if let Some(account) = self.accounts.get_mut(id) {
                account.held = if is_held { account.held + 1 } else { account.held.saturating_sub(1) };
            }
        }
    }

    /// Returns whether a link is in an account that has more links than it may have with another one, which is held.
    pub(super) fn is_in_the_way(&self, held: LinkId, of: LinkId) -> bool {
        let (Some(held), Some(entry)) = (self.links.get(&held), self.links.get(&of)) else { return false };
        let is_over = |id: &&Id| {
            let links = self.accounts.get(id).map_or(0, |account| account.links);
            self.quota(id.scope()).links.is_some_and(|limit| links > limit)
        };
        held.is_held
            && entry
                .accounts
                .iter()
                .any(|id| !matches!(id, Id::Link(_)) && is_over(&id) && held.accounts.contains(id))
    }

    /// Moves a link to the address of another one.
    pub(super) fn move_link(&mut self, link: LinkId, to: LinkId, now: Instant) {
        let is_address = |id: &&Id| matches!(id, Id::Address(_));
        let new = self.links.get(&to).and_then(|entry| entry.accounts.iter().find(is_address).copied());
        let Some((new, entry)) = new.zip(self.links.get_mut(&link)) else { return };
        let (usage, is_held) = (entry.usage, u64::from(entry.is_held));
        let Some(place) = entry.accounts.iter_mut().find(|id| is_address(&&**id)) else { return };
        let old = core::mem::replace(place, new);
        if let Some(account) = self.accounts.get_mut(&old) {
            account.links = account.links.saturating_sub(1);
            account.held = account.held.saturating_sub(is_held);
            shift(&mut account.usage, usage, [0; 4]);
        }
        let account = self.account(new, now);
        account.links += 1;
        account.held += is_held;
        shift(&mut account.usage, [0; 4], usage);
    }

    /// Closes a link. So many of its streams go on without it, and count until they are [over](Self::stream_over).
    pub(super) fn close(&mut self, link: LinkId, streams: usize) {
        self.set_held(link, false);
        self.set_usage(link, [streams as u64, 0, 0, 0]);
        self.accounts.remove(&Id::Link(link));
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.accounts.retain(|id| !matches!(id, Id::Link(_)));
        for id in &entry.accounts {
            if let Some(account) = self.accounts.get_mut(id) {
                account.links = account.links.saturating_sub(1);
            }
        }
        if streams == 0 {
            self.links.remove(&link);
        }
    }

    /// Notes the end of a stream that went on without its link.
    pub(super) fn stream_over(&mut self, link: LinkId) {
        let Some(entry) = self.links.get(&link) else { return };
        let streams = entry.usage.first().map_or(0, |streams| streams.saturating_sub(1));
        self.set_usage(link, [streams, 0, 0, 0]);
        if streams == 0 {
            self.links.remove(&link);
        }
    }

    /// Records what a link holds.
    pub(super) fn set_usage(&mut self, link: LinkId, usage: Usage) {
        let Some(entry) = self.links.get_mut(&link).filter(|entry| entry.usage != usage) else { return };
        let before = core::mem::replace(&mut entry.usage, usage);
        for id in &entry.accounts {
            if let Some(account) = self.accounts.get_mut(id) {
                shift(&mut account.usage, before, usage);
            }
        }
    }

    /// Returns whose account keeps a link that holds so many from one more.
    pub(super) fn full(&self, link: LinkId, resource: Resource, held: usize) -> Option<Scope> {
        let entry = self.links.get(&link)?;
        let at = resource as usize;
        let held = held as u64;
        entry.accounts.iter().find_map(|id| {
            let quota = self.quota(id.scope());
            let limit =
                [quota.streams, quota.handshakes, quota.listens, quota.topics].get(at).copied().flatten()?;
            let recorded = self.accounts.get(id).and_then(|account| account.usage.get(at)).copied();
            let own = entry.usage.get(at).copied().unwrap_or_default();
            let others = recorded.unwrap_or_default().saturating_sub(own);
            (others.saturating_add(held) >= limit).then(|| id.scope())
        })
    }

    /// Takes one lookup from all accounts of a link, or says whose has none left.
    pub(super) fn take_lookup(&mut self, link: LinkId, now: Instant) -> Option<Scope> {
        let entry = self.links.get(&link)?;
        let rate = |quotas: &Quotas, id: &Id| quotas.of(id.scope()).lookup_rate();
        let empty = entry.accounts.iter().find(|id| {
            rate(&self.quotas, id).zip(self.accounts.get_mut(id)).is_some_and(|(rate, account)| {
                account.touched = now;
                !account.lookups.has(rate, now)
            })
        });
        if let Some(id) = empty {
            return Some(id.scope());
        }
        for id in &entry.accounts {
            if let Some((rate, account)) = rate(&self.quotas, id).zip(self.accounts.get_mut(id)) {
                account.lookups.take(rate, 1, now);
            }
        }
        None
    }

    /// Counts bytes that came or go.
    pub(super) fn charge(&mut self, link: LinkId, way: Way, bytes: usize, now: Instant) -> Charge {
        let Some(entry) = self.links.get(&link) else { return Charge::Wait(Duration::ZERO) };
        let bytes = bytes as u64;
        let mut wait = Duration::ZERO;
        for id in &entry.accounts {
            let quota = self.quotas.of(id.scope());
            let Some(account) = self.accounts.get_mut(id) else { continue };
            account.touched = now;
            if let Some(rate) = quota.byte_rate() {
                let bucket = match way {
                    Way::In => &mut account.bytes[0],
                    Way::Out => &mut account.bytes[1],
                };
                wait = wait.max(bucket.take(rate, bytes, now));
            }
            if account.spend(bytes, quota.bytes_per_day, now) {
                return Charge::Spent(id.scope());
            }
        }
        Charge::Wait(wait)
    }

    /// Counts a packet of one native peer for another that is forwarded unread, or says whose account has no room for it and
    /// which of the two is to blame. It is lost then: that is what slows a stream down that nobody here can ask to wait.
    pub(super) fn forward(
        &mut self,
        peers: [Native; 2],
        bytes: usize,
        now: Instant,
    ) -> Result<(), (usize, Full)> {
        let quotas = self.quotas;
        let accounts = |peer: &Native| {
            let ids = [Id::Address(peer.address), Id::Key(peer.key), Id::Total];
            ids.into_iter().filter(move |id| quotas.of(id.scope()).bounds_bytes())
        };
        for (at, peer) in peers.iter().enumerate() {
            for id in accounts(peer) {
                self.may_forward(id, at, now).map_err(|full| (at, full))?;
            }
        }
        let bytes = bytes as u64;
        for (at, peer) in peers.iter().enumerate() {
            for id in accounts(peer) {
                let quota = quotas.of(id.scope());
                let account = self.account(id, now);
                account.touched = now;
                if let Some((rate, bucket)) = quota.byte_rate().zip(account.bytes.get_mut(at)) {
                    bucket.take(rate, bytes, now);
                }
                account.spend(bytes, quota.bytes_per_day, now);
            }
        }
        Ok(())
    }

    fn may_forward(&mut self, id: Id, way: usize, now: Instant) -> Result<(), Full> {
        let (scope, quota) = (id.scope(), *self.quotas.of(id.scope()));
        let account = self.account(id, now);
        if account.spend(0, quota.bytes_per_day, now) {
            return Err(Full::Spent(scope));
        }
        let bucket = quota.byte_rate().zip(account.bytes.get_mut(way));
        match bucket.is_some_and(|(rate, bucket)| !bucket.has(rate, now)) {
            true => Err(Full::Rate(scope)),
            false => Ok(()),
        }
    }

    fn may_open(&mut self, id: Id, now: Instant) -> Result<(), Full> {
        let (scope, quota) = (id.scope(), *self.quotas.of(id.scope()));
        let account = self.account(id, now);
        if quota.links.is_some_and(|limit| account.links >= limit.saturating_add(account.held)) {
            return Err(Full::Links(scope));
        }
        if quota.link_rate().is_some_and(|rate| !account.openings.has(rate, now)) {
            return Err(Full::Rate(scope));
        }
        if account.spend(0, quota.bytes_per_day, now) {
            return Err(Full::Spent(scope));
        }
        Ok(())
    }

    fn enter(&mut self, id: Id, now: Instant) {
        let rate = self.quotas.of(id.scope()).link_rate();
        let account = self.account(id, now);
        account.links += 1;
        if let Some(rate) = rate {
            account.openings.take(rate, 1, now);
        }
    }

    fn account(&mut self, id: Id, now: Instant) -> &mut Account {
        if self.accounts.len() >= self.forget_at && !self.accounts.contains_key(&id) {
            self.forget(now);
        }
        self.accounts.entry(id).or_insert_with(|| Account::new(now))
    }

    /// Makes room: accounts that are as good as new go. If there are too many others, those without links go that did
    /// nothing for a while, the oldest eighth if all did something.
    fn forget(&mut self, now: Instant) {
        let is_idle = |id: &Id, account: &Account| {
            id.scope() != Scope::Link && account.links == 0 && account.usage == [0; 4]
        };
        let quotas = self.quotas;
        self.accounts.retain(|id, account| !is_idle(id, account) || account.owes(quotas.of(id.scope()), now));
        if self.accounts.len() >= MAX_ACCOUNTS {
            self.accounts.retain(|id, account| !is_idle(id, account) || account.touched + MINUTE > now);
        }
        if self.accounts.len() >= MAX_ACCOUNTS {
            let idle = self.accounts.iter().filter(|(id, account)| is_idle(id, account));
            let mut ages: Vec<_> = idle.map(|(_, account)| account.touched).collect();
            ages.sort_unstable();
            if let Some(newest) = ages.get(ages.len() / 8).copied() {
                self.accounts.retain(|id, account| !is_idle(id, account) || account.touched > newest);
            }
        }
        // Each account is looked at about twice in its life, however many there are.
        self.forget_at = (self.accounts.len() * 2).clamp(FEW_ACCOUNTS, MAX_ACCOUNTS);
    }

    fn quota(&self, scope: Scope) -> &Quota {
        self.quotas.of(scope)
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            links: 0,
            held: 0,
            usage: [0; 4],
            openings: Bucket::new(now),
            lookups: Bucket::new(now),
            bytes: [Bucket::new(now), Bucket::new(now)],
            day: (0, 0),
            touched: now,
        }
    }

    /// Reports whether it remembers something that a new account would not.
    fn owes(&mut self, quota: &Quota, now: Instant) -> bool {
        let [bytes_in, bytes_out] = &mut self.bytes;
        let buckets = [
            (&mut self.openings, quota.link_rate()),
            (&mut self.lookups, quota.lookup_rate()),
            (bytes_in, quota.byte_rate()),
            (bytes_out, quota.byte_rate()),
        ];
        let spent = quota.bytes_per_day.is_some() && self.day.0 == day(now) && self.day.1 > 0;
        spent || buckets.into_iter().any(|(bucket, rate)| rate.is_some_and(|rate| bucket.owes(rate, now)))
    }

    /// Counts bytes of the day, and reports whether there are too many.
    fn spend(&mut self, bytes: u64, limit: Option<u64>, now: Instant) -> bool {
        let Some(limit) = limit else { return false };
        let day = day(now);
        if self.day.0 != day {
            self.day = (day, 0);
        }
        self.day.1 = self.day.1.saturating_add(bytes);
        self.day.1 > limit || (bytes == 0 && self.day.1 == limit)
    }
}

fn day(now: Instant) -> u64 {
    now.as_micros() / u64::try_from(DAY.as_micros()).unwrap_or(u64::MAX)
}

fn shift(usage: &mut Usage, before: Usage, after: Usage) {
    for ((held, before), after) in usage.iter_mut().zip(before).zip(after) {
        *held = held.saturating_sub(before).saturating_add(after);
    }
}

/// How long an announced topic counts: nodes keep a record no longer than that.
pub(super) const TOPIC_LIFE: Duration = Duration::from_secs(20 * 60);

/// Accounts kept, with those of links.
const MAX_ACCOUNTS: usize = 65_536;

/// Accounts that are not worth a look.
const FEW_ACCOUNTS: usize = 1024;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Quotas = Quotas { link: EMPTY, address: EMPTY, key: EMPTY, total: EMPTY };
    const EMPTY: Quota = Quota {
        links: None,
        links_per_second: None,
        links_burst: None,
        streams: None,
        handshakes: None,
        listens: None,
        topics: None,
        lookups_per_minute: None,
        bytes_per_second: None,
        bytes_burst: None,
        bytes_per_day: None,
    };

    #[test]
    fn links_are_counted_by_address_key_and_in_total() {
        let one = Quota { links: Some(1), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address: one, key: one, ..NONE });
        let now = Instant::EPOCH;

        assert_eq!(ledger.open(LinkId(1), [1; 16], now), Ok(()));
        assert_eq!(ledger.open(LinkId(2), [1; 16], now), Err(Full::Links(Scope::Address)));
        assert_eq!(ledger.open(LinkId(3), [2; 16], now), Ok(()));
        assert_eq!(ledger.introduce(LinkId(1), [9; 32], now), Ok(()));
        assert_eq!(ledger.introduce(LinkId(3), [9; 32], now), Err(Full::Links(Scope::Key)));
        ledger.close(LinkId(1), 0);
        assert_eq!(ledger.introduce(LinkId(3), [9; 32], now), Ok(()));

        let mut ledger = Ledger::new(Quotas { total: one, ..NONE });
        assert_eq!(ledger.open(LinkId(1), [1; 16], now), Ok(()));
        assert_eq!(ledger.open(LinkId(2), [2; 16], now), Err(Full::Links(Scope::Total)));
    }

    #[test]
    fn new_links_have_a_rate() {
        let address = Quota { links_per_second: Some(2), links_burst: Some(3), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address, ..NONE });
        let mut id = 0;
        let mut opened = |at| {
            let tries = (0..10).filter(|_| {
                id += 1;
                ledger.open(LinkId(id), [1; 16], at).is_ok()
            });
            tries.count()
        };

        assert_eq!(opened(Instant::EPOCH), 3);
        assert_eq!(opened(Instant::EPOCH + Duration::from_secs(1)), 2);
        assert_eq!(opened(Instant::EPOCH + Duration::from_secs(100)), 3);
    }

    #[test]
    fn what_links_of_an_account_hold_is_added_up() {
        let three = Quota { streams: Some(3), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address: three, ..NONE });
        let now = Instant::EPOCH;
        for link in [LinkId(1), LinkId(2)] {
            ledger.open(link, [1; 16], now).unwrap();
        }

        ledger.set_usage(LinkId(1), [2, 0, 0, 0]);
        assert_eq!(ledger.full(LinkId(2), Resource::Streams, 0), None);
        assert_eq!(ledger.full(LinkId(2), Resource::Streams, 1), Some(Scope::Address));
        assert_eq!(ledger.full(LinkId(1), Resource::Streams, 2), None);
        ledger.close(LinkId(1), 1);
        assert_eq!(ledger.full(LinkId(2), Resource::Streams, 1), None);
        assert_eq!(ledger.full(LinkId(2), Resource::Streams, 2), Some(Scope::Address));
        ledger.stream_over(LinkId(1));
        assert_eq!(ledger.full(LinkId(2), Resource::Streams, 2), None);
        assert_eq!(ledger.full(LinkId(2), Resource::Listens, 100), None);
    }

    #[test]
    fn lookups_are_counted_by_the_minute() {
        let link = Quota { lookups_per_minute: Some(60), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { link, ..NONE });
        ledger.open(LinkId(1), [1; 16], Instant::EPOCH).unwrap();
        let mut taken = |at| (0..100).filter(|_| ledger.take_lookup(LinkId(1), at).is_none()).count();

        assert_eq!(taken(Instant::EPOCH), 60);
        assert_eq!(taken(Instant::EPOCH + Duration::from_secs(2)), 2);
    }

    #[test]
    fn bytes_wait_their_turn_and_end_with_the_day() {
        let address = Quota {
            bytes_per_second: Some(1000),
            bytes_burst: Some(2000),
            bytes_per_day: Some(5000),
            ..EMPTY
        };
        let mut ledger = Ledger::new(Quotas { address, ..NONE });
        let now = Instant::EPOCH;
        ledger.open(LinkId(1), [1; 16], now).unwrap();

        assert_eq!(ledger.charge(LinkId(1), Way::In, 2000, now), Charge::Wait(Duration::ZERO));
        assert_eq!(ledger.charge(LinkId(1), Way::Out, 2500, now), Charge::Wait(Duration::from_millis(500)));
        assert_eq!(ledger.charge(LinkId(1), Way::In, 501, now), Charge::Spent(Scope::Address));
        ledger.close(LinkId(1), 0);
        assert_eq!(ledger.open(LinkId(2), [1; 16], now), Err(Full::Spent(Scope::Address)));
        assert_eq!(ledger.open(LinkId(2), [1; 16], now + DAY), Ok(()));
    }

    #[test]
    fn packets_of_native_peers_count_for_who_sends_and_who_gets_them() {
        let native = |key| Native { key: [key; 32], address: [key; 16] };
        let now = Instant::EPOCH;
        let key = Quota { bytes_per_second: Some(1000), bytes_burst: Some(2000), ..EMPTY };
        let address = Quota { bytes_per_day: Some(5000), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address, key, ..NONE });

        assert_eq!(ledger.forward([native(1), native(2)], 1500, now), Ok(()));
        assert_eq!(ledger.forward([native(1), native(3)], 1500, now), Ok(()));
        assert_eq!(ledger.forward([native(1), native(4)], 1, now), Err((0, Full::Rate(Scope::Key))));
        // The other way has a rate of its own; the day is for both.
        assert_eq!(ledger.forward([native(2), native(1)], 1500, now), Ok(()));
        assert_eq!(ledger.forward([native(2), native(1)], 1500, now + Duration::from_secs(1)), Ok(()));
        let later = now + Duration::from_secs(3);
        assert_eq!(ledger.forward([native(1), native(4)], 1, later), Err((0, Full::Spent(Scope::Address))));
        assert_eq!(ledger.forward([native(4), native(1)], 1, later), Err((1, Full::Spent(Scope::Address))));
        assert_eq!(ledger.forward([native(3), native(4)], 1500, later), Ok(()));
        assert_eq!(ledger.forward([native(1), native(4)], 1, now + DAY), Ok(()));

        let mut ledger = Ledger::new(NONE);
        assert_eq!(ledger.forward([native(1), native(2)], usize::MAX, now), Ok(()));
        assert_eq!(ledger.len(), 0, "nothing is remembered that bounds nothing");
    }

    #[test]
    fn accounts_are_bounded() {
        let address = Quota { bytes_per_day: Some(5000), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address, ..NONE });

        for id in 0..(MAX_ACCOUNTS as u64 + 100) {
            visit(&mut ledger, id, Instant::EPOCH + Duration::from_millis(id));
        }

        assert!(ledger.accounts.len() <= MAX_ACCOUNTS + 2, "{}", ledger.accounts.len());
        assert!(ledger.accounts.len() > MAX_ACCOUNTS / 2, "{}", ledger.accounts.len());
    }

    #[test]
    fn accounts_that_owe_nothing_are_forgotten_and_others_are_not() {
        let address = Quota { links_per_second: Some(1), lookups_per_minute: Some(1), ..EMPTY };
        let mut ledger = Ledger::new(Quotas { address, ..NONE });
        let spent = [0xff; 16];
        ledger.open(LinkId(u64::MAX), spent, Instant::EPOCH).unwrap();
        assert_eq!(ledger.take_lookup(LinkId(u64::MAX), Instant::EPOCH), None);
        ledger.close(LinkId(u64::MAX), 0);

        // A second gives back a link, a minute the lookup.
        let mut now = Instant::EPOCH;
        for id in 0..10 * FEW_ACCOUNTS as u64 {
            now = Instant::EPOCH + Duration::from_millis(id * 5);
            visit(&mut ledger, id, now);
        }
        assert!(ledger.accounts.len() <= FEW_ACCOUNTS + 2, "{}", ledger.accounts.len());
        ledger.open(LinkId(u64::MAX), spent, now).unwrap();
        assert_eq!(ledger.take_lookup(LinkId(u64::MAX), now), Some(Scope::Address));
    }

    /// A link of an address of its own that comes, says something and goes.
    fn visit(ledger: &mut Ledger, id: u64, now: Instant) {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&id.to_le_bytes());
        ledger.open(LinkId(id), address, now).unwrap();
        ledger.charge(LinkId(id), Way::In, 1, now);
        ledger.close(LinkId(id), 0);
    }
}
