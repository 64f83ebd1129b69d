//! Questions about a store as a whole: its primary key, its names, and what cores are in it.
//!
//! Nothing here opens a core, so a store with any number of them answers as fast as one with a few.
//!
//! Source: hypercore-storage 3.2, `index.js`, `getSeed`, `setSeed`, `getAlias`, `getInfos`, `getGroup`, `export`;
//! `lib/streams.js`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::compact_encoding::{Decode, Encode, Reader};
use crate::crypto::Secret;
use crate::error::StorageFailure;
use crate::hypercore::bitfield::unpack_page;
use crate::hypercore::opening::decode;
use crate::id::{DiscoveryKey, Hash, PublicKey};
use crate::storage::keys::{self, DataKeys};
use crate::storage::records::{Alias, Auth, CorePointers, Head, Hints, SessionPointer, Sessions, StoreHead};
use crate::storage::{CommitId, Durability, Op, Party, ReadTicket, Store};

/// What is to be known about a store.
#[derive(Clone)]
pub enum Question {
    /// The primary key. A store without one gets this one, if there is one.
    Seed(Option<Secret>),
    /// Makes this the primary key, whatever it was.
    ReplaceSeed(Secret),
    /// The core that is opened when none is named.
    DefaultCore,
    /// The core of a name.
    Alias(Alias),
    /// Whether a core is here, and what it is.
    Infos(Vec<DiscoveryKey>),
    /// Deletes all that is stored of a core, its branches and its name, and answers whether it was here. Not for one
    /// that is open.
    Forget(DiscoveryKey),
    /// Makes cores that were opened as incoming ones part of the store, all at once, and answers which are left because
    /// there is one of that name already.
    TakeIn(Box<Intake>),
    /// Deletes some cores that are incoming, and answers which: none when there are no more. Not for any that is open.
    DropIncoming,
    /// Cores in the order of their discovery keys, some at a time.
    Cores {
        /// Where the answer before this one ended.
        from: Option<Bytes>,
        /// The most that are wanted.
        limit: u32,
    },
    /// Names in their order, of one namespace or of all, some at a time.
    Aliases {
        /// Only of this namespace.
        namespace: Option<Hash>,
        /// Where the answer before this one ended.
        from: Option<Bytes>,
        /// The most that are wanted.
        limit: u32,
    },
    /// The number of a group.
    Group(Hash),
    /// Cores of a group in the order in which they changed last, some at a time.
    GroupUpdates {
        /// The number of the group.
        group: u64,
        /// Only those that changed at this time or later, in milliseconds of Unix time.
        since: u64,
        /// Newest first.
        reverse: bool,
        /// Where the answer before this one ended.
        from: Option<Bytes>,
        /// The most that are wanted.
        limit: u32,
    },
    /// Where a core and its branches are.
    Branches(DiscoveryKey),
    /// Records of a log in their order, some at a time.
    Records {
        /// Names the log: [`CorePointers::data`] or a branch's.
        data: u64,
        /// Which records.
        kind: RecordKind,
        /// Where the answer before this one ended.
        from: Option<Bytes>,
        /// The most that are wanted.
        limit: u32,
    },
}

/// What becomes part of a store.
#[derive(Clone)]
pub struct Intake {
    /// Incoming cores.
    pub cores: Vec<DiscoveryKey>,
    /// The primary key from then on.
    pub seed: Option<Secret>,
    /// The core that is opened when none is named, unless there is one.
    pub default: Option<DiscoveryKey>,
}

/// What is stored of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Blocks, padding included.
    Blocks,
    /// Encoded nodes of the tree.
    Nodes,
    /// Pages of the bitfield.
    Pages,
}

/// What is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The primary key, if there is one.
    Seed(Option<Secret>),
    /// A core, if there is one.
    Core(Option<DiscoveryKey>),
    /// What each core is; `None` for those that are not here.
    Infos(Vec<Option<CoreInfo>>),
    /// Cores, and where to go on.
    Cores(Vec<(DiscoveryKey, CorePointers)>, Option<Bytes>),
    /// Names and their cores, and where to go on.
    Aliases(Vec<(Alias, DiscoveryKey)>, Option<Bytes>),
    /// The number of a group, if it is known.
    Group(Option<u64>),
    /// Keys of cores, and where to go on.
    Keys(Vec<PublicKey>, Option<Bytes>),
    /// Where a core is, and its branches, if it is here.
    Branches(Option<(CorePointers, Vec<SessionPointer>)>),
    /// Numbers of blocks, nodes or pages with their values, and where to go on.
    Records(Vec<(u64, Bytes)>, Option<Bytes>),
}

/// What is stored about a core, besides its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreInfo {
    /// Where it is.
    pub pointers: CorePointers,
    /// Who it is.
    pub auth: Auth,
    /// How long it is, if it has blocks.
    pub head: Option<Head>,
    /// What of it is here.
    pub hints: Option<Hints>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A primary key opens everything, so none is ever printed.
        f.write_str(match self {
            Self::Seed(_) => "Seed",
            Self::ReplaceSeed(_) => "ReplaceSeed",
            Self::DefaultCore => "DefaultCore",
            Self::Alias(_) => "Alias",
            Self::Infos(_) => "Infos",
            Self::Forget(_) => "Forget",
            Self::TakeIn(_) => "TakeIn",
            Self::DropIncoming => "DropIncoming",
            Self::Cores { .. } => "Cores",
            Self::Aliases { .. } => "Aliases",
            Self::Group(_) => "Group",
            Self::GroupUpdates { .. } => "GroupUpdates",
            Self::Branches(_) => "Branches",
            Self::Records { .. } => "Records",
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(_) => f.write_str("Seed"),
            Self::Core(core) => f.debug_tuple("Core").field(core).finish(),
            Self::Infos(infos) => f.debug_tuple("Infos").field(&infos.len()).finish(),
            Self::Cores(cores, _) => f.debug_tuple("Cores").field(&cores.len()).finish(),
            Self::Aliases(aliases, _) => f.debug_tuple("Aliases").field(&aliases.len()).finish(),
            Self::Group(group) => f.debug_tuple("Group").field(group).finish(),
            Self::Keys(keys, _) => f.debug_tuple("Keys").field(&keys.len()).finish(),
            Self::Branches(branches) => f.debug_tuple("Branches").field(branches).finish(),
            Self::Records(records, _) => f.debug_tuple("Records").field(&records.len()).finish(),
        }
    }
}

/// A question being answered.
///
/// Call [`run`](Self::run) at first, and whenever storage answered the read that it returned; a commit it waits for is
/// told by [`committed`](Self::committed).
#[derive(Debug)]
pub struct Query {
    question: Question,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Reading,
    /// The parts of those cores that are here.
    Parts(Vec<Option<CorePointers>>),
    /// The branches of a core that is to be forgotten.
    Branches(CorePointers),
    Committing(CommitId, Answer),
}

/// What a store answered to a read.
#[derive(Debug)]
pub enum Found {
    /// The values of keys.
    Values(Vec<Option<Bytes>>),
    /// Entries of a range, and whether there are more.
    Entries(Vec<(Bytes, Bytes)>, bool),
}

/// How far a query got.
#[derive(Debug)]
pub enum Step {
    /// It waits for a read.
    Reading(ReadTicket),
    /// It waits for a commit.
    Committing,
    /// It is over.
    Done(Answer),
}

impl Query {
    /// Returns a query that has not begun.
    pub fn new(question: Question) -> Self {
        Self { question, state: State::Start }
    }

    /// Goes on as far as possible. `found` is what the last read brought.
    ///
    /// # Errors
    ///
    /// [`StorageFailure::Corrupted`] when a record cannot be read.
    pub fn run(
        &mut self,
        found: Option<Found>,
        party: Party,
        store: &mut Store,
    ) -> Result<Step, StorageFailure> {
        match (core::mem::replace(&mut self.state, State::Reading), found) {
            (State::Start, _) => Ok(self.start(store)),
            (State::Reading, Some(Found::Values(values))) => self.take_values(&values, party, store),
            (State::Reading, Some(Found::Entries(entries, _)))
                if matches!(self.question, Question::DropIncoming) =>
            {
                self.drop_incoming(&entries, party, store)
            }
            (State::Reading, Some(Found::Entries(entries, more))) => self.take_entries(&entries, more),
            (State::Parts(pointers), Some(Found::Values(values))) => take_parts(pointers, &values),
            (State::Branches(pointers), Some(Found::Values(values))) => {
                if let (Question::Branches(_), [sessions]) = (&self.question, &values[..]) {
                    let branches = decode::<Sessions>(sessions)?.map_or_else(Vec::new, |sessions| sessions.0);
                    return Ok(Step::Done(Answer::Branches(Some((pointers, branches)))));
                }
                self.forget(&pointers, &values, party, store)
            }
            (State::Committing(commit, answer), _) => {
                self.state = State::Committing(commit, answer);
                Ok(Step::Committing)
            }
            _ => Err(StorageFailure::Corrupted),
        }
    }

    /// Returns the answer, if it waited for this commit or one before.
    pub fn committed(&self, commit: CommitId) -> Option<&Answer> {
        match &self.state {
            State::Committing(waiting, answer) if *waiting <= commit => Some(answer),
            _ => None,
        }
    }

    fn start(&self, store: &mut Store) -> Step {
        let wanted = match &self.question {
            Question::Seed(_) | Question::ReplaceSeed(_) | Question::DefaultCore => {
                alloc::vec![keys::store_head()]
            }
            Question::Alias(alias) => alloc::vec![keys::alias(&alias.namespace, &alias.name)],
            Question::Infos(discovery_keys) => discovery_keys.iter().map(keys::core).collect(),
            Question::Forget(discovery_key) | Question::Branches(discovery_key) => {
                alloc::vec![keys::core(discovery_key)]
            }
            Question::TakeIn(intake) => {
                let cores = intake.cores.iter().flat_map(|core| [keys::incoming(core), keys::core(core)]);
                core::iter::once(keys::store_head()).chain(cores).collect()
            }
            Question::DropIncoming => {
                let (start, end) = keys::all_incoming();
                return scan(store, &start, end, false, DROPPED_AT_ONCE);
            }
            Question::Group(topic) => alloc::vec![keys::group(topic)],
            Question::GroupUpdates { group, since, reverse, from, limit } => {
                let (start, end) = keys::group_updates(*group, *since);
                return match from {
                    Some(from) if *reverse => scan(store, &start, from.clone(), true, *limit),
                    from => scan(store, from.as_ref().unwrap_or(&start), end, *reverse, *limit),
                };
            }
            Question::Records { data, kind, from, limit } => {
                let (start, end) = kind.keys(*data);
                return scan(store, from.as_ref().unwrap_or(&start), end, false, *limit);
            }
            Question::Cores { from, limit } => {
                let (start, end) = keys::cores();
                return scan(store, from.as_ref().unwrap_or(&start), end, false, *limit);
            }
            Question::Aliases { namespace, from, limit } => {
                let (start, end) = keys::aliases(namespace.as_ref());
                return scan(store, from.as_ref().unwrap_or(&start), end, false, *limit);
            }
        };
        Step::Reading(store.read(wanted))
    }

    fn take_values(
        &mut self,
        values: &[Option<Bytes>],
        party: Party,
        store: &mut Store,
    ) -> Result<Step, StorageFailure> {
        let first = values.first().cloned().flatten();
        match &self.question {
            Question::Alias(_) => Ok(Step::Done(Answer::Core(first.as_deref().map(key_of).transpose()?))),
            Question::Infos(_) => {
                let pointers: Vec<Option<CorePointers>> =
                    values.iter().map(decode).collect::<Result<_, _>>()?;
                let wanted = pointers.iter().flatten().flat_map(|pointers| {
                    let data = DataKeys { data: pointers.data };
                    [keys::auth(pointers.core), data.head(), data.hints()]
                });
                let ticket = store.read(wanted.collect());
                self.state = State::Parts(pointers);
                Ok(Step::Reading(ticket))
            }
            Question::Group(_) => {
                let number = |value: &[u8]| Reader::new(value).uint().map_err(|_| StorageFailure::Corrupted);
                Ok(Step::Done(Answer::Group(first.as_deref().map(number).transpose()?)))
            }
            Question::Branches(_) => match decode::<CorePointers>(&first)? {
                Some(pointers) => {
                    let ticket = store.read(alloc::vec![keys::sessions(pointers.core)]);
                    self.state = State::Branches(pointers);
                    Ok(Step::Reading(ticket))
                }
                None => Ok(Step::Done(Answer::Branches(None))),
            },
            Question::Forget(_) => match decode::<CorePointers>(&first)? {
                Some(pointers) => {
                    let ticket = store.read(alloc::vec![keys::sessions(pointers.core), keys::store_head()]);
                    self.state = State::Branches(pointers);
                    Ok(Step::Reading(ticket))
                }
                None => Ok(Step::Done(Answer::Core(None))),
            },
            Question::Seed(_) | Question::ReplaceSeed(_) | Question::DefaultCore => {
                load_head(store, first)?;
                self.take_head(party, store)
            }
            Question::TakeIn(_) => self.take_in(values, party, store),
            Question::DropIncoming
            | Question::Cores { .. }
            | Question::Aliases { .. }
            | Question::GroupUpdates { .. }
            | Question::Records { .. } => Err(StorageFailure::Corrupted),
        }
    }

    fn forget(
        &mut self,
        pointers: &CorePointers,
        values: &[Option<Bytes>],
        party: Party,
        store: &mut Store,
    ) -> Result<Step, StorageFailure> {
        let (Question::Forget(discovery_key), [sessions, head]) = (&self.question, values) else {
            return Err(StorageFailure::Corrupted);
        };
        let branches = decode::<Sessions>(sessions)?.map_or_else(Vec::new, |sessions| sessions.0);
        load_head(store, head.clone())?;
        let mut ops = alloc::vec![Op::Delete { key: keys::core(discovery_key) }];
        if let Some(alias) = &pointers.alias {
            ops.push(Op::Delete { key: keys::alias(&alias.namespace, &alias.name) });
        }
        let (start, end) = keys::core_parts(pointers.core);
        ops.push(Op::DeleteRange { start, end });
        for data in branches.iter().map(|branch| branch.data).chain([pointers.data]) {
            let (start, end) = DataKeys { data }.all();
            ops.push(Op::DeleteRange { start, end });
        }
        if let Some(head) =
            store.head.as_mut().filter(|head| head.default_discovery_key == Some(*discovery_key))
        {
            head.default_discovery_key = None;
            ops.push(Op::Put { key: keys::store_head(), value: head.to_vec().into() });
        }
        let commit = store.stage(party, ops, Durability::Strict);
        self.state = State::Committing(commit, Answer::Core(Some(*discovery_key)));
        Ok(Step::Committing)
    }

    fn take_in(
        &mut self,
        values: &[Option<Bytes>],
        party: Party,
        store: &mut Store,
    ) -> Result<Step, StorageFailure> {
        let (Question::TakeIn(intake), [head, cores @ ..]) = (&self.question, values) else {
            return Err(StorageFailure::Corrupted);
        };
        load_head(store, head.clone())?;
        let mut ops = Vec::new();
        let mut left = Vec::new();
        for (discovery_key, pair) in intake.cores.iter().zip(cores.chunks_exact(2)) {
            let [Some(pointers), existing] = pair else { return Err(StorageFailure::Missing) };
            if existing.is_some() {
                left.push(*discovery_key);
                continue;
            }
            ops.push(Op::Delete { key: keys::incoming(discovery_key) });
            ops.push(Op::Put { key: keys::core(discovery_key), value: pointers.clone() });
            let pointers = CorePointers::from_slice(pointers).map_err(|_| StorageFailure::Corrupted)?;
            if let Some(alias) = pointers.alias {
                let value = Bytes::copy_from_slice(discovery_key);
                ops.push(Op::Put { key: keys::alias(&alias.namespace, &alias.name), value });
            }
        }
        let head = store.head.get_or_insert_default();
        if let Some(seed) = &intake.seed {
            head.seed = Some(seed.clone());
        }
        head.default_discovery_key = head.default_discovery_key.or(intake.default);
        ops.push(Op::Put { key: keys::store_head(), value: head.to_vec().into() });
        let commit = store.stage(party, ops, Durability::Strict);
        self.state = State::Committing(commit, Answer::Keys(left, None));
        Ok(Step::Committing)
    }

    fn drop_incoming(
        &mut self,
        entries: &[(Bytes, Bytes)],
        party: Party,
        store: &mut Store,
    ) -> Result<Step, StorageFailure> {
        let mut ops = Vec::new();
        let mut dropped = Vec::new();
        for (key, pointers) in entries {
            let pointers = CorePointers::from_slice(pointers).map_err(|_| StorageFailure::Corrupted)?;
            dropped.push(keys::incoming_discovery_key(key).ok_or(StorageFailure::Corrupted)?);
            ops.push(Op::Delete { key: key.clone() });
            for (start, end) in [keys::core_parts(pointers.core), DataKeys { data: pointers.data }.all()] {
                ops.push(Op::DeleteRange { start, end });
            }
        }
        if ops.is_empty() {
            return Ok(Step::Done(Answer::Keys(dropped, None)));
        }
        let commit = store.stage(party, ops, Durability::Strict);
        self.state = State::Committing(commit, Answer::Keys(dropped, None));
        Ok(Step::Committing)
    }

    fn take_head(&mut self, party: Party, store: &mut Store) -> Result<Step, StorageFailure> {
        let head = store.head.get_or_insert_default();
        let seed = match (&self.question, &head.seed) {
            (Question::Seed(Some(seed)), None) | (Question::ReplaceSeed(seed), _) => seed.clone(),
            (Question::Seed(_), seed) => return Ok(Step::Done(Answer::Seed(seed.clone()))),
            _ => return Ok(Step::Done(Answer::Core(head.default_discovery_key))),
        };
        head.seed = Some(seed.clone());
        let op = Op::Put { key: keys::store_head(), value: head.to_vec().into() };
        let commit = store.stage(party, [op], Durability::Strict);
        self.state = State::Committing(commit, Answer::Seed(Some(seed)));
        Ok(Step::Committing)
    }

    fn take_entries(&self, entries: &[(Bytes, Bytes)], more: bool) -> Result<Step, StorageFailure> {
        let last = entries.last().filter(|_| more).map(|(key, _)| key);
        let next = match self.question {
            Question::GroupUpdates { reverse: true, .. } => last.cloned(),
            // The first key after the last one.
            _ => last.map(|key| [&key[..], &[0]].concat().into()),
        };
        if let Question::GroupUpdates { .. } = self.question {
            let keys = entries.iter().map(|(_, key)| key_of(key));
            return Ok(Step::Done(Answer::Keys(keys.collect::<Result<_, _>>()?, next)));
        }
        if let Question::Records { data, kind, .. } = self.question {
            let data = DataKeys { data };
            let numbered = |(key, value): &(Bytes, Bytes)| {
                let index = match kind {
                    RecordKind::Blocks => data.block_index(key),
                    RecordKind::Nodes => data.node_index(key),
                    RecordKind::Pages => data.page_index(key),
                };
                let value = match kind {
                    RecordKind::Pages => unpack_page(value).ok_or(StorageFailure::Corrupted)?,
                    RecordKind::Blocks | RecordKind::Nodes => value.clone(),
                };
                Ok((index.ok_or(StorageFailure::Corrupted)?, value))
            };
            let records = entries.iter().map(numbered).collect::<Result<_, StorageFailure>>()?;
            return Ok(Step::Done(Answer::Records(records, next)));
        }
        if let Question::Aliases { .. } = self.question {
            let aliases = entries.iter().map(|(key, value)| {
                let (namespace, name) = keys::alias_parts(key).ok_or(StorageFailure::Corrupted)?;
                Ok((Alias { name, namespace }, key_of(value)?))
            });
            return Ok(Step::Done(Answer::Aliases(aliases.collect::<Result<_, _>>()?, next)));
        }
        let cores = entries.iter().map(|(key, value)| {
            let discovery_key = keys::discovery_key(key).ok_or(StorageFailure::Corrupted)?;
            let pointers = CorePointers::from_slice(value).map_err(|_| StorageFailure::Corrupted)?;
            Ok((discovery_key, pointers))
        });
        Ok(Step::Done(Answer::Cores(cores.collect::<Result<_, _>>()?, next)))
    }
}

fn load_head(store: &mut Store, value: Option<Bytes>) -> Result<(), StorageFailure> {
    if store.head.is_none() {
        let head = value.map(|value| StoreHead::from_slice(&value)).transpose();
        store.head = Some(head.map_err(|_| StorageFailure::Corrupted)?.unwrap_or_default());
    }
    Ok(())
}

fn take_parts(pointers: Vec<Option<CorePointers>>, values: &[Option<Bytes>]) -> Result<Step, StorageFailure> {
    let mut parts = values.chunks_exact(3);
    let infos = pointers.into_iter().map(|pointers| {
        let Some(pointers) = pointers else { return Ok(None) };
        let Some([auth, head, hints]) = parts.next() else { return Err(StorageFailure::Corrupted) };
        let auth = decode(auth)?.ok_or(StorageFailure::Missing)?;
        Ok(Some(CoreInfo { pointers, auth, head: decode(head)?, hints: decode(hints)? }))
    });
    Ok(Step::Done(Answer::Infos(infos.collect::<Result<_, _>>()?)))
}

impl RecordKind {
    /// Returns the keys of all such records of a log: first and end, exclusive.
    fn keys(self, data: u64) -> (Bytes, Bytes) {
        let data = DataKeys { data };
        match self {
            Self::Blocks => (data.block(0), data.blocks_end()),
            Self::Nodes => (data.node(0), data.nodes_end()),
            Self::Pages => (data.page(0), data.pages_end()),
        }
    }
}

fn scan(store: &mut Store, start: &Bytes, end: Bytes, reverse: bool, limit: u32) -> Step {
    Step::Reading(store.scan(start.clone(), end, reverse, limit.min(MAX_ENTRIES)))
}

fn key_of(value: &[u8]) -> Result<DiscoveryKey, StorageFailure> {
    value.try_into().map_err(|_| StorageFailure::Corrupted)
}

/// The most incoming cores that are deleted in one commit.
const DROPPED_AT_ONCE: u32 = 64;

/// The most entries of one answer: they are small, and whoever wants more asks again.
const MAX_ENTRIES: u32 = 1024;
