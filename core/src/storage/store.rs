//! Turns reads and batches of many cores into intents for one host.
//!
//! Reads asked for between two polls travel together. So do batches: while a commit is in flight all others wait
//! in one open group, and what several of them would write (heads, bitfield pages) is written once, when the group
//! is sealed. Two groups at most exist, so memory is bounded by [`Store::has_room`].

use crate::collections::{BTreeMap, BTreeSet};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::Cell;

use bytes::Bytes;

use super::overlay::{Group, Overlay, Picture};
use super::records::StoreHead;
use super::{CommitId, Durability, Intent, MAX_READ_KEYS, Op, Outcome, Owner, ReadId, StorageFailure};

/// Names a read until [`StoreEvent`] answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadTicket(pub u64);

/// Whoever stages batches and has something to add when their group is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party(pub u32);

/// What became of reads and commits.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// The values of [`Store::read`], in the order of its keys.
    Values {
        /// Which read.
        ticket: ReadTicket,
        /// A value, or its absence.
        values: Vec<Option<Bytes>>,
    },
    /// The entries of [`Store::scan`].
    Entries {
        /// Which scan.
        ticket: ReadTicket,
        /// Keys and values, in the order asked for.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether the limit left some out.
        more: bool,
    },
    /// A read or scan failed.
    ReadFailed {
        /// Which.
        ticket: ReadTicket,
        /// Why.
        failure: StorageFailure,
    },
    /// Everything staged under this id and before is durable.
    Committed(CommitId),
    /// A commit failed. Nothing more is read or written.
    Stopped(StorageFailure),
}

/// One store as the cores see it: reads see every staged write at once, writes are answered when they are durable.
///
/// After any `&mut self` call: while [`to_seal`](Self::to_seal) names parties, let each stage what it has to add
/// and call [`seal`](Self::seal); then drain [`poll_intent`](Self::poll_intent) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Store {
    /// The record about the store, once it was read. Whoever changes it stages it.
    pub head: Option<StoreHead>,
    owner: Owner,
    claim: Claim,
    overlay: Overlay,
    open: Group,
    parties: BTreeSet<Party>,
    /// The commit that storage works on.
    in_flight: Option<CommitId>,
    /// Keys that no intent has asked for yet: whose, and where the value goes.
    wanted: VecDeque<(Place, Bytes)>,
    scans_wanted: VecDeque<(ReadTicket, Scan)>,
    reads: BTreeMap<ReadTicket, Reading>,
    asked: BTreeMap<ReadId, Asked>,
    intents: VecDeque<Intent>,
    events: VecDeque<StoreEvent>,
    stopped: Option<StorageFailure>,
    /// Somebody was told that there is no room.
    refused: Cell<bool>,
    next_ticket: u64,
    next_read: u64,
}

/// Whether the store is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Wanted,
    Asked,
    Held,
}

/// Whose value it is, and where it goes; of a read of one key there is nothing else to know.
type Place = (ReadTicket, Option<usize>);

/// A read of several keys that waits for some of its values.
#[derive(Debug)]
struct Reading {
    values: Vec<Option<Bytes>>,
    missing: usize,
}

#[derive(Debug)]
struct Scan {
    start: Bytes,
    end: Bytes,
    reverse: bool,
    limit: u32,
}

/// What an intent in flight is for.
#[derive(Debug)]
enum Asked {
    Keys(Vec<Place>),
    Scan { ticket: ReadTicket, picture: Picture, reverse: bool, limit: u32 },
}

impl Store {
    /// Returns the machine of a store about which nothing is known yet. It claims the store for `owner` before
    /// anything else.
    pub fn new(owner: Owner) -> Self {
        Self {
            head: None,
            owner,
            claim: Claim::Wanted,
            overlay: Overlay::default(),
            open: Group::new(CommitId(1)),
            parties: BTreeSet::new(),
            in_flight: None,
            wanted: VecDeque::new(),
            scans_wanted: VecDeque::new(),
            reads: BTreeMap::new(),
            asked: BTreeMap::new(),
            intents: VecDeque::new(),
            events: VecDeque::new(),
            stopped: None,
            refused: Cell::new(false),
            next_ticket: 1,
            next_read: 1,
        }
    }

    /// Returns why the store stopped, if it did.
    pub fn stopped(&self) -> Option<StorageFailure> {
        self.stopped
    }

    /// Returns the staged value of a key: `None` when only storage knows, `Some(None)` when it is deleted.
    pub fn peek(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.overlay.get(key)
    }

    /// Reads keys; the answer is an event, even when nothing has to be asked.
    pub fn read(&mut self, keys: Vec<Bytes>) -> ReadTicket {
        let ticket = self.ticket();
        if let Some(failure) = self.stopped {
            self.events.push_back(StoreEvent::ReadFailed { ticket, failure });
            return ticket;
        }
        if keys.len() == 1 {
            for key in keys {
                match self.overlay.get(&key) {
                    Some(value) => {
                        self.events.push_back(StoreEvent::Values { ticket, values: alloc::vec![value] });
                    }
                    None => self.wanted.push_back(((ticket, None), key)),
                }
            }
            return ticket;
        }
        let mut reading = Reading { values: Vec::with_capacity(keys.len()), missing: 0 };
        for (position, key) in keys.into_iter().enumerate() {
            match self.overlay.get(&key) {
                Some(value) => reading.values.push(value),
                None => {
                    reading.values.push(None);
                    reading.missing += 1;
                    self.wanted.push_back(((ticket, Some(position)), key));
                }
            }
        }
        if reading.missing == 0 {
            self.events.push_back(StoreEvent::Values { ticket, values: reading.values });
        } else {
            self.reads.insert(ticket, reading);
        }
        ticket
    }

    /// Reads the entries of `start..end`; the answer is an event.
    pub fn scan(&mut self, start: Bytes, end: Bytes, reverse: bool, limit: u32) -> ReadTicket {
        let ticket = self.ticket();
        if let Some(failure) = self.stopped {
            self.events.push_back(StoreEvent::ReadFailed { ticket, failure });
        } else {
            self.scans_wanted.push_back((ticket, Scan { start, end, reverse, limit: limit.max(1) }));
        }
        ticket
    }

    /// Returns whether a batch of about `bytes` bytes may be staged. When not, wait for a commit.
    pub fn has_room(&self, bytes: usize) -> bool {
        let has_room = self.stopped.is_none() && self.open.has_room(bytes);
        if !has_room {
            self.refused.set(true);
        }
        has_room
    }

    /// Returns whether somebody was told since the last time that there is no room.
    pub fn take_refusal(&self) -> bool {
        self.refused.take()
    }

    /// Adds a batch to the next commit and returns its id.
    ///
    /// `party` will be asked, once, to add what it has left when the group is sealed.
    pub fn stage(
        &mut self,
        party: Party,
        ops: impl IntoIterator<Item = Op>,
        durability: Durability,
    ) -> CommitId {
        self.parties.insert(party);
        self.open.durability = self.open.durability.max(durability);
        let ops = ops.into_iter();
        self.open.reserve(ops.size_hint().0);
        for op in ops {
            self.overlay.stage(&mut self.open, op);
        }
        self.open.id
    }

    /// Returns who has to add to the open group, when a commit can start now.
    pub fn to_seal(&self) -> Option<Vec<Party>> {
        let ready = self.in_flight.is_none() && self.stopped.is_none() && !self.parties.is_empty();
        ready.then(|| self.parties.iter().copied().collect())
    }

    /// Starts the commit of the open group.
    pub fn seal(&mut self) {
        if self.in_flight.is_some() || self.stopped.is_some() {
            return;
        }
        self.parties.clear();
        let id = self.open.id;
        let durability = self.open.durability;
        let batch = self.open.take_batch();
        self.open = Group::new(CommitId(id.0 + 1));
        if batch.ops.is_empty() {
            self.events.push_back(StoreEvent::Committed(id));
            return;
        }
        self.in_flight = Some(id);
        self.intents.push_back(Intent::Commit { id, owner: self.owner, batch, durability });
    }

    /// Returns whether nothing is staged, in flight or waiting for an answer.
    pub fn is_idle(&self) -> bool {
        let is_writing = self.in_flight.is_some() || !self.parties.is_empty();
        !is_writing && self.reads.is_empty() && self.wanted.is_empty() && self.asked.is_empty()
    }

    /// Takes what the host answered. An outcome that nothing waits for is ignored.
    pub fn handle_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Read { id, values } => self.values_arrived(id, values),
            Outcome::Scan { id, entries, more } => match self.asked.remove(&id) {
                Some(Asked::Scan { ticket, picture, reverse, limit }) => {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                    let (entries, more) = picture.merge(entries, more, reverse, limit);
                    self.events.push_back(StoreEvent::Entries { ticket, entries, more });
                }
                Some(other) => self.fail_read(other, StorageFailure::Corrupted),
                None => {}
            },
            Outcome::ReadFailed { id, failure } => {
                if let Some(asked) = self.asked.remove(&id) {
                    self.fail_read(asked, failure);
                }
            }
            Outcome::Committed(CLAIM) => self.claim = Claim::Held,
            Outcome::CommitFailed { id: CLAIM, failure } => self.stop(failure),
            Outcome::Committed(id) => {
                if self.in_flight.take_if(|in_flight| *in_flight == id).is_some() {
                    self.overlay.confirm(id, &self.open);
                    self.events.push_back(StoreEvent::Committed(id));
                }
            }
            Outcome::CommitFailed { id, failure } => {
                if self.in_flight.take_if(|in_flight| *in_flight == id).is_some() {
                    self.stop(failure);
                }
            }
        }
    }

    /// Returns the next thing to ask the host for.
    pub fn poll_intent(&mut self) -> Option<Intent> {
        match self.claim {
            _ if self.stopped.is_some() => return None,
            Claim::Wanted => {
                self.claim = Claim::Asked;
                return Some(Intent::Claim { id: CLAIM, owner: self.owner });
            }
            Claim::Asked => return None,
            Claim::Held => {}
        }
        if let Some(intent) = self.intents.pop_front() {
            return Some(intent);
        }
        if self.asked.len() >= MAX_READS_IN_FLIGHT {
            return None;
        }
        if let Some((ticket, scan)) = self.scans_wanted.pop_front() {
            let Scan { start, end, reverse, limit } = scan;
            let id = self.read_id();
            let picture = self.overlay.picture(&start, &end);
            self.asked.insert(id, Asked::Scan { ticket, picture, reverse, limit });
            return Some(Intent::Scan { id, start, end, reverse, limit });
        }
        if self.wanted.is_empty() {
            return None;
        }
        let count = self.wanted.len().min(MAX_READ_KEYS);
        let mut keys = Vec::with_capacity(count);
        let mut places = Vec::with_capacity(count);
        for (place, key) in self.wanted.drain(..count) {
            keys.push(key);
            places.push(place);
        }
        let id = self.read_id();
        self.asked.insert(id, Asked::Keys(places));
        Some(Intent::Read { id, keys })
    }

    /// Returns what became of a read or a commit.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        self.events.pop_front()
    }

    fn values_arrived(&mut self, id: ReadId, values: Vec<Option<Bytes>>) {
        let places = match self.asked.remove(&id) {
            Some(Asked::Keys(places)) if places.len() == values.len() => places,
            Some(other) => return self.fail_read(other, StorageFailure::Corrupted),
            None => return,
        };
        if let [(ticket, None)] = places[..] {
            return self.events.push_back(StoreEvent::Values { ticket, values });
        }
        for ((ticket, position), value) in places.into_iter().zip(values) {
            let Some(position) = position else {
                self.events.push_back(StoreEvent::Values { ticket, values: alloc::vec![value] });
                continue;
            };
            let Some(reading) = self.reads.get_mut(&ticket) else { continue };
            if let Some(slot) = reading.values.get_mut(position) {
                *slot = value;
            }
            reading.missing -= 1;
            if reading.missing == 0
                && let Some(reading) = self.reads.remove(&ticket)
            {
                self.events.push_back(StoreEvent::Values { ticket, values: reading.values });
            }
        }
    }

    fn fail_read(&mut self, asked: Asked, failure: StorageFailure) {
        let tickets: BTreeSet<ReadTicket> = match asked {
            Asked::Keys(places) => places.into_iter().map(|(ticket, _)| ticket).collect(),
            Asked::Scan { ticket, .. } => [ticket].into(),
        };
        self.wanted.retain(|((ticket, _), _)| !tickets.contains(ticket));
        for ticket in tickets {
            self.reads.remove(&ticket);
            self.events.push_back(StoreEvent::ReadFailed { ticket, failure });
        }
    }

    fn stop(&mut self, failure: StorageFailure) {
        self.stopped = Some(failure);
        self.intents.clear();
        let mut places: Vec<Place> = self.wanted.drain(..).map(|(place, _)| place).collect();
        let scans = core::mem::take(&mut self.scans_wanted).into_iter().map(|(ticket, _)| ticket);
        let mut asked = Vec::new();
        for intent in core::mem::take(&mut self.asked).into_values() {
            match intent {
                Asked::Scan { ticket, .. } => asked.push(ticket),
                Asked::Keys(keys) => places.extend(keys),
            }
        }
        // Reads of several keys are known by themselves.
        let single = places.into_iter().filter(|(_, position)| position.is_none()).map(|(ticket, _)| ticket);
        let reads = core::mem::take(&mut self.reads).into_keys();
        for ticket in reads.chain(single).chain(scans).chain(asked) {
            self.events.push_back(StoreEvent::ReadFailed { ticket, failure });
        }
        self.events.push_back(StoreEvent::Stopped(failure));
    }

    fn ticket(&mut self) -> ReadTicket {
        let ticket = ReadTicket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    fn read_id(&mut self) -> ReadId {
        let id = ReadId(self.next_read);
        self.next_read += 1;
        id
    }
}

/// The id of the claim; commits count from 1.
const CLAIM: CommitId = CommitId(0);

/// Reads and scans that storage works on at once. More would not make it faster, and those that wait merge.
const MAX_READS_IN_FLIGHT: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    #[test]
    fn batches_wait_for_the_commit_in_flight_and_then_travel_together() {
        let mut store = claimed();
        let party = Party(1);

        assert_eq!(store.stage(party, [put("a", "1")], Durability::Relaxed), CommitId(1));
        assert_eq!(store.to_seal(), Some(alloc::vec![party]));
        store.seal();
        assert_eq!(store.stage(party, [put("a", "2")], Durability::Relaxed), CommitId(2));
        assert_eq!(store.stage(party, [put("a", "3")], Durability::Strict), CommitId(2));
        assert_eq!(store.to_seal(), None);
        assert!(matches!(store.poll_intent(), Some(Intent::Commit { id: CommitId(1), .. })));
        assert_eq!(store.poll_intent(), None);

        store.handle_outcome(Outcome::Committed(CommitId(1)));
        assert_eq!(store.poll_event(), Some(StoreEvent::Committed(CommitId(1))));
        store.seal();
        let Some(Intent::Commit { id, batch, durability, .. }) = store.poll_intent() else {
            panic!("no commit")
        };

        assert_eq!((id, batch.ops), (CommitId(2), alloc::vec![put("a", "3")]));
        assert_eq!(durability, Durability::Strict);
    }

    #[test]
    fn reads_between_two_polls_travel_together_and_staged_values_do_not_travel() {
        let mut store = claimed();
        let mut host = MemoryStore::new();
        host.apply(super::super::Batch { ops: alloc::vec![put("b", "old"), put("c", "old")] });
        store.stage(Party(1), [put("b", "new")], Durability::Relaxed);

        let first = store.read(alloc::vec![key("b"), key("c")]);
        let second = store.read(alloc::vec![key("d")]);
        let intent = store.poll_intent().unwrap();
        assert!(matches!(&intent, Intent::Read { keys, .. } if *keys == [key("c"), key("d")]));
        store.handle_outcome(host.handle_intent(intent));

        let values = alloc::vec![Some(key("new")), Some(key("old"))];
        assert_eq!(store.poll_event(), Some(StoreEvent::Values { ticket: first, values }));
        let values = alloc::vec![None];
        assert_eq!(store.poll_event(), Some(StoreEvent::Values { ticket: second, values }));
    }

    #[test]
    fn failed_commit_stops_everything() {
        let mut store = claimed();
        store.stage(Party(1), [put("a", "1")], Durability::Strict);
        store.seal();
        store.poll_intent();
        let asked = [store.read(alloc::vec![key("x")]), store.read(alloc::vec![key("y"), key("z")])];
        store.poll_intent();
        let wanted = [store.read(alloc::vec![key("x")]), store.read(alloc::vec![key("y"), key("z")])];

        let failure = StorageFailure::Full;
        store.handle_outcome(Outcome::CommitFailed { id: CommitId(1), failure });

        let failed = [(); 4].map(|()| match store.poll_event() {
            Some(StoreEvent::ReadFailed { ticket, failure: StorageFailure::Full }) => ticket,
            other => panic!("{other:?}"),
        });
        assert_eq!(BTreeSet::from(failed), asked.into_iter().chain(wanted).collect());
        assert_eq!(store.poll_event(), Some(StoreEvent::Stopped(failure)));
        store.stage(Party(1), [put("a", "2")], Durability::Strict);
        assert_eq!((store.to_seal(), store.poll_intent()), (None, None));
        assert!(!store.has_room(0));
    }

    #[test]
    fn nothing_is_asked_before_the_store_is_ours() {
        let mut store = Store::new(OWNER);
        let read = store.read(alloc::vec![key("x")]);
        store.stage(Party(1), [put("a", "1")], Durability::Strict);
        store.seal();

        assert_eq!(store.poll_intent(), Some(Intent::Claim { id: CLAIM, owner: OWNER }));
        assert_eq!(store.poll_intent(), None);

        let failure = StorageFailure::Fenced;
        store.handle_outcome(Outcome::CommitFailed { id: CLAIM, failure });
        assert_eq!(store.poll_event(), Some(StoreEvent::ReadFailed { ticket: read, failure }));
        assert_eq!(store.poll_event(), Some(StoreEvent::Stopped(failure)));
        assert_eq!(store.poll_intent(), None);
    }

    const OWNER: Owner = Owner([1; 16]);

    fn claimed() -> Store {
        let mut store = Store::new(OWNER);
        assert_eq!(store.poll_intent(), Some(Intent::Claim { id: CLAIM, owner: OWNER }));
        store.handle_outcome(Outcome::Committed(CLAIM));
        store
    }

    fn put(at: &'static str, value: &'static str) -> Op {
        Op::Put { key: key(at), value: key(value) }
    }

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }
}
