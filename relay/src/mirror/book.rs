//! Who asked for which copies, until when, and how much of everything is left.

use std::collections::BTreeMap;
use std::time::Duration;

use hypertab_core::compact_encoding::{DecodeError, Reader, Writer};
use hypertab_core::crypto::discovery_key;
use hypertab_core::id::{DiscoveryKey, PublicKey};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of all copies.
    pub(super) bytes: u64,
    /// Bytes of one copy.
    pub(super) core_bytes: u64,
    /// Copies.
    pub(super) cores: u64,
    /// Copies for one key, and for one address.
    pub(super) client_cores: u64,
    /// Bytes for one key, and for one address.
    pub(super) client_bytes: u64,
    /// How long a copy is kept after somebody asked for it last.
    pub(super) retention: Duration,
}

/// Why something that a client wants is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The copy is just being dropped.
    Busy,
    /// The client has as many copies, or bytes, as one may have.
    ClientFull,
    /// Whoever asks is none of those who may.
    Denied,
    /// The disk does not work.
    Failed,
    /// There is no room for anybody.
    Full,
    /// Somebody else asked for the copy.
    NotYours,
    /// The core is larger than one may be.
    TooLarge,
    /// The client asks too often, or for too much at once.
    TooMany,
}

impl Refusal {
    /// All there are.
    pub(crate) const ALL: [Self; 8] = [
        Self::Busy,
        Self::ClientFull,
        Self::Denied,
        Self::Failed,
        Self::Full,
        Self::NotYours,
        Self::TooLarge,
        Self::TooMany,
    ];

    /// Returns it as a word, for figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::ClientFull => "client_full",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Full => "full",
            Self::NotYours => "not_yours",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
        }
    }

    /// Returns it as clients get it.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Busy => "MIRROR_BUSY",
            Self::ClientFull => "MIRROR_CLIENT_FULL",
            Self::Denied => "MIRROR_DENIED",
            Self::Failed => "MIRROR_FAILED",
            Self::Full => "MIRROR_FULL",
            Self::NotYours => "MIRROR_NOT_YOURS",
            Self::TooLarge => "MIRROR_TOO_LARGE",
            Self::TooMany => "MIRROR_TOO_MANY",
        }
    }

    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Busy => "the copy is just being dropped, ask again in a moment",
            Self::ClientFull => "this client has as many copies here as one may have",
            Self::Denied => "this mirror keeps nothing for this key",
            Self::Failed => "the disk of the mirror does not work",
            Self::Full => "the mirror is full",
            Self::NotYours => "somebody else asked for this copy",
            Self::TooLarge => "the core is larger than this mirror keeps",
            Self::TooMany => "too many requests, ask again in a minute",
        }
    }
}

/// One core that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Blocks.
    pub(super) length: u64,
    /// What it counts for.
    pub(super) bytes: u64,
    /// Whether it can be found on the DHT.
    pub(super) announce: bool,
    /// When it was asked for last, in milliseconds of Unix time.
    pub(super) updated: u64,
    askers: Vec<Asker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) key: PublicKey,
    /// The account of its address, where that is known.
    pub(super) account: Option<[u8; 16]>,
    /// Milliseconds of Unix time.
    until: u64,
}

impl Asker {
    pub(super) fn new(key: PublicKey, account: Option<[u8; 16]>) -> Self {
        Self { key, account, until: 0 }
    }

    fn accounts(&self) -> impl Iterator<Item = Account> {
        [Some(Account::Key(self.key)), self.account.map(Account::Address)].into_iter().flatten()
    }
}

impl Copy {
    /// Returns when it is dropped, in milliseconds of Unix time.
    pub(super) fn until(&self) -> u64 {
        self.askers.iter().map(|asker| asker.until).max().unwrap_or_default()
    }

    /// Returns which asker gives way to another at the same address, if all places are taken: a page that makes itself a new
    /// key each time comes back as somebody else.
    fn predecessor(&self, asker: &Asker) -> Option<usize> {
        let account = asker.account?;
        let same = self.askers.iter().enumerate().filter(|(_, other)| other.account == Some(account));
        same.min_by_key(|(_, other)| other.until).map(|(at, _)| at)
    }

    /// Returns it as it is stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.uint(u64::from(self.announce));
        writer.uint(self.length);
        writer.uint(self.bytes);
        writer.uint(self.updated);
        writer.array(&self.askers, |writer, asker| {
            writer.fixed(&asker.key);
            writer.buffer(asker.account.as_ref().map_or(&[][..], |account| &account[..]));
            writer.uint(asker.until);
        });
        writer.into_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            announce: reader.uint()? & 1 != 0,
            length: reader.uint()?,
            bytes: reader.uint()?,
            updated: reader.uint()?,
            askers: reader.array(|reader| {
                let key = reader.fixed()?;
                let account = reader.buffer()?.try_into().ok();
                Ok(Asker { key, account, until: reader.uint()? })
            })?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    Key(PublicKey),
    Address([u8; 16]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    cores: u64,
    bytes: u64,
}

/// All copies.
#[derive(Debug)]
pub(super) struct Book {
    bounds: Bounds,
    copies: BTreeMap<PublicKey, Copy>,
    by_discovery_key: BTreeMap<DiscoveryKey, PublicKey>,
    accounts: BTreeMap<Account, Usage>,
    bytes: u64,
}

impl Book {
    /// Opens the book with what was kept so far.
    pub(super) fn new(bounds: Bounds, copies: impl IntoIterator<Item = (PublicKey, Copy)>) -> Self {
        let mut book = Self {
            bounds,
            copies: BTreeMap::new(),
            by_discovery_key: BTreeMap::new(),
            accounts: BTreeMap::new(),
            bytes: 0,
        };
        for (key, copy) in copies {
            for asker in &copy.askers {
                book.shift(asker, (0, 0), (1, copy.bytes));
            }
            book.bytes = book.bytes.saturating_add(copy.bytes);
            book.by_discovery_key.insert(discovery_key(&key), key);
            book.copies.insert(key, copy);
        }
        book
    }

    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn get(&self, key: &PublicKey) -> Option<&Copy> {
        self.copies.get(key)
    }

    pub(super) fn named(&self, discovery_key: &DiscoveryKey) -> Option<PublicKey> {
        self.by_discovery_key.get(discovery_key).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Copy)> {
        self.copies.iter()
    }

    /// Returns how many copies there are.
    pub(super) fn cores(&self) -> u64 {
        self.copies.len() as u64
    }

    /// Returns what they count for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a core for somebody, or keeps it for longer.
    ///
    /// # Errors
    ///
    /// Says what is full; nothing was changed.
    pub(super) fn ask(
        &mut self,
        key: PublicKey,
        asker: Asker,
        announce: bool,
        now: u64,
    ) -> Result<(), Refusal> {
        let until = now.saturating_add(millis(self.bounds.retention));
        let asker = Asker { until, ..asker };
        let known = self.copies.get(&key);
        let has_asked = known.is_some_and(|copy| copy.askers.iter().any(|other| other.key == asker.key));
        if !has_asked {
            if known.is_none() && (self.cores() >= self.bounds.cores || self.bytes >= self.bounds.bytes) {
                return Err(Refusal::Full);
            }
            if known.is_some_and(|copy| copy.askers.len() >= MAX_ASKERS && copy.predecessor(&asker).is_none())
            {
                return Err(Refusal::TooMany);
            }
            let bytes = known.map_or(0, |copy| copy.bytes);
            if !self.has_room(&asker, 1, bytes) {
                return Err(Refusal::ClientFull);
            }
        }
        let new = || Copy { length: 0, bytes: 0, announce: false, updated: now, askers: Vec::new() };
        let copy = self.copies.entry(key).or_insert_with(new);
        copy.updated = now;
        copy.announce |= announce;
        let bytes = copy.bytes;
        match copy.askers.iter_mut().find(|other| other.key == asker.key) {
            Some(other) => other.until = until,
            None => {
                let predecessor = copy.predecessor(&asker).filter(|_| copy.askers.len() >= MAX_ASKERS);
                let replaced = predecessor.map(|at| copy.askers.remove(at));
                copy.askers.push(asker);
                self.shift(&asker, (0, 0), (1, bytes));
                if let Some(replaced) = replaced {
                    self.shift(&replaced, (1, bytes), (0, 0));
                }
            }
        }
        self.by_discovery_key.insert(discovery_key(&key), key);
        Ok(())
    }

    /// Notes how long a log is and how many bytes its blocks have.
    ///
    /// # Errors
    ///
    /// Says what is full: no more of it may be stored.
    pub(super) fn resize(&mut self, key: &PublicKey, length: u64, byte_length: u64) -> Result<(), Refusal> {
        let Some(copy) = self.copies.get(key) else { return Err(Refusal::Busy) };
        let bytes = cost(length, byte_length);
        let before = copy.bytes;
        let more = bytes.saturating_sub(before);
        if bytes > self.bounds.core_bytes {
            return Err(Refusal::TooLarge);
        }
        if more > 0 && self.bytes.saturating_add(more) > self.bounds.bytes {
            return Err(Refusal::Full);
        }
        if more > 0 && !copy.askers.iter().any(|asker| self.has_room(asker, 0, more)) {
            return Err(Refusal::ClientFull);
        }
        let askers = copy.askers.clone();
        for asker in &askers {
            self.shift(asker, (1, before), (1, bytes));
        }
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
        if let Some(copy) = self.copies.get_mut(key) {
            (copy.length, copy.bytes) = (length, bytes);
        }
        Ok(())
    }

    /// Takes back what somebody asked for, and returns whether nobody else wants the copy.
    ///
    /// # Errors
    ///
    /// Only who asked takes back.
    pub(super) fn let_go(&mut self, key: &PublicKey, asker: &PublicKey) -> Result<bool, Refusal> {
        let Some(copy) = self.copies.get_mut(key) else { return Ok(false) };
        let at = copy.askers.iter().position(|other| other.key == *asker).ok_or(Refusal::NotYours)?;
        let asker = copy.askers.remove(at);
        let (bytes, is_last) = (copy.bytes, copy.askers.is_empty());
        self.shift(&asker, (1, bytes), (0, 0));
        Ok(is_last)
    }

    /// Forgets askers whose time is over. Returns the copies that changed; those that nobody asks for any more are to be
    /// [removed](Self::remove).
    pub(super) fn expire(&mut self, now: u64) -> Vec<PublicKey> {
        let mut over = Vec::new();
        let mut changed = Vec::new();
        for (key, copy) in &mut self.copies {
            let before = copy.askers.len();
            let bytes = copy.bytes;
            copy.askers.retain(|asker| {
                let stays = asker.until > now;
                if !stays {
                    over.push((*asker, bytes));
                }
                stays
            });
            if copy.askers.len() < before {
                changed.push(*key);
            }
        }
        for (asker, bytes) in over {
            self.shift(&asker, (1, bytes), (0, 0));
        }
        changed
    }

    /// Returns whether nobody asks for a copy any more.
    pub(super) fn is_orphan(&self, key: &PublicKey) -> bool {
        self.copies.get(key).is_none_or(|copy| copy.askers.is_empty())
    }

    /// Forgets a copy.
    pub(super) fn remove(&mut self, key: &PublicKey) -> Option<Copy> {
        let copy = self.copies.remove(key)?;
        self.by_discovery_key.remove(&discovery_key(key));
        self.bytes = self.bytes.saturating_sub(copy.bytes);
        for asker in &copy.askers {
            self.shift(asker, (1, copy.bytes), (0, 0));
        }
        Some(copy)
    }

    fn has_room(&self, asker: &Asker, cores: u64, bytes: u64) -> bool {
        asker.accounts().all(|account| {
            let usage = self.accounts.get(&account).copied().unwrap_or_default();
            usage.cores + cores <= self.bounds.client_cores
                && usage.bytes.saturating_add(bytes) <= self.bounds.client_bytes
        })
    }

    fn shift(&mut self, asker: &Asker, before: (u64, u64), after: (u64, u64)) {
        for account in asker.accounts() {
            let usage = self.accounts.entry(account).or_default();
            usage.cores = usage.cores.saturating_sub(before.0).saturating_add(after.0);
            usage.bytes = usage.bytes.saturating_sub(before.1).saturating_add(after.1);
            if *usage == Usage::default() {
                self.accounts.remove(&account);
            }
        }
    }
}

/// Returns what a log counts for: a block of one byte takes a hundred times as much on disk.
fn cost(length: u64, byte_length: u64) -> u64 {
    length.saturating_mul(BLOCK_COST).saturating_add(byte_length)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Two nodes of the tree, with their keys, and the block's.
const BLOCK_COST: u64 = 128;

/// Clients that one copy is kept for.
const MAX_ASKERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        bytes: 10_000,
        core_bytes: 5_000,
        cores: 4,
        client_cores: 2,
        client_bytes: 6_000,
        retention: Duration::from_secs(10),
    };

    fn asker(of: u8) -> Asker {
        Asker::new([of; 32], Some([of / 10; 16]))
    }

    #[test]
    fn a_client_gets_its_share_by_key_and_by_address() {
        let mut book = Book::new(BOUNDS, []);

        assert_eq!(book.ask([1; 32], asker(11), true, 0), Ok(()));
        assert_eq!(book.ask([2; 32], asker(12), true, 0), Ok(()));
        assert_eq!(book.ask([3; 32], asker(13), true, 0), Err(Refusal::ClientFull));
        assert_eq!(book.ask([1; 32], asker(11), true, 5), Ok(()));
        assert_eq!(book.ask([3; 32], asker(21), true, 0), Ok(()));
        assert_eq!(book.ask([4; 32], asker(21), true, 0), Ok(()));
        assert_eq!(book.ask([5; 32], asker(31), true, 0), Err(Refusal::Full));
        assert_eq!(book.cores(), 4);
    }

    #[test]
    fn what_grows_beyond_a_bound_says_beyond_which() {
        let mut book = Book::new(BOUNDS, []);
        for (core, of) in [(1, 11), (2, 11), (3, 21), (4, 21)] {
            book.ask([core; 32], asker(of), true, 0).unwrap();
        }

        assert_eq!(book.resize(&[1; 32], 10, 3_000), Ok(()));
        assert_eq!(book.bytes(), 3_000 + 10 * BLOCK_COST);
        assert_eq!(book.resize(&[2; 32], 1, 4_900), Err(Refusal::TooLarge));
        assert_eq!(book.resize(&[2; 32], 1, 4_000), Err(Refusal::ClientFull));
        assert_eq!(book.resize(&[3; 32], 1, 4_800), Ok(()));
        assert_eq!(book.resize(&[4; 32], 1, 1_000), Err(Refusal::Full));
        assert_eq!(book.resize(&[1; 32], 1, 100), Ok(()));
        assert_eq!(book.resize(&[4; 32], 1, 900), Ok(()));
        assert_eq!(book.resize(&[9; 32], 1, 1), Err(Refusal::Busy));
    }

    #[test]
    fn a_copy_stays_as_long_as_somebody_wants_it() {
        let mut book = Book::new(BOUNDS, []);
        book.ask([1; 32], asker(11), false, 0).unwrap();
        book.ask([1; 32], asker(21), true, 5_000).unwrap();
        book.ask([2; 32], asker(11), false, 0).unwrap();
        assert_eq!(book.get(&[1; 32]).unwrap().until(), 15_000);
        assert!(book.get(&[1; 32]).unwrap().announce);

        assert_eq!(book.let_go(&[1; 32], &[31; 32]), Err(Refusal::NotYours));
        assert_eq!(book.let_go(&[9; 32], &[11; 32]), Ok(false));
        assert_eq!(book.expire(9_999), Vec::<PublicKey>::new());
        assert_eq!(book.expire(10_000), [[1; 32], [2; 32]]);
        assert!(!book.is_orphan(&[1; 32]) && book.is_orphan(&[2; 32]));
        book.remove(&[2; 32]).unwrap();
        assert_eq!(book.let_go(&[1; 32], &[21; 32]), Ok(true));
        book.remove(&[1; 32]).unwrap();
        assert_eq!((book.cores(), book.bytes(), book.accounts.len()), (0, 0, 0));
        assert_eq!(book.named(&discovery_key(&[1; 32])), None);
    }

    #[test]
    fn an_address_takes_one_place_after_another_and_nobody_elses() {
        let mut book = Book::new(Bounds { client_cores: 100, ..BOUNDS }, []);
        book.ask([1; 32], asker(21), false, 0).unwrap();
        for of in 100..120 {
            book.ask([1; 32], Asker::new([of; 32], Some([10; 16])), false, of.into()).unwrap();
        }

        let copy = book.get(&[1; 32]).unwrap();
        assert_eq!(copy.askers.len(), MAX_ASKERS);
        assert_eq!((copy.askers[0].key, copy.askers[1].key), ([21; 32], [113; 32]));
        assert_eq!(book.accounts.get(&Account::Address([10; 16])).unwrap().cores, MAX_ASKERS as u64 - 1);
        assert_eq!(book.ask([1; 32], asker(31), false, 0), Err(Refusal::TooMany));
        assert_eq!(book.ask([1; 32], Asker::new([9; 32], None), false, 0), Err(Refusal::TooMany));
    }

    #[test]
    fn a_book_is_the_same_after_it_was_stored() {
        let mut book = Book::new(BOUNDS, []);
        book.ask([1; 32], asker(11), true, 7).unwrap();
        book.ask([1; 32], Asker::new([9; 32], None), false, 8).unwrap();
        book.resize(&[1; 32], 3, 300).unwrap();

        let stored: Vec<_> =
            book.iter().map(|(key, copy)| (*key, Copy::decode(&copy.encode()).unwrap())).collect();
        let again = Book::new(BOUNDS, stored);

        assert_eq!(again.copies, book.copies);
        assert_eq!((again.accounts, again.bytes), (book.accounts, book.bytes));
        assert!(Copy::decode(&[1, 2]).is_err());
    }
}
