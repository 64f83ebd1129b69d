//! Questions about a store as a whole: its primary key, its names, and what cores are in it.
//!
//! Nothing here opens a core, so a store with any number of them answers as fast as one with a few.
//!
//! Source: hypercore-storage 3.2, `index.js`, `getSeed`, `setSeed`, `getAlias`, `getInfos`; `lib/streams.js`.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::compact_encoding::{Decode, Encode};
use crate::error::StorageFailure;
use crate::hypercore::opening::decode;
use crate::id::{DiscoveryKey, Hash};
use crate::storage::keys::{self, DataKeys};
use crate::storage::records::{Alias, Auth, CorePointers, Head, Hints, Sessions, StoreHead};
use crate::storage::{CommitId, Durability, Op, Party, ReadTicket, Store};

/// What is to be known about a store.
#[derive(Clone)]
pub enum Question {
    /// The primary key. A store without one gets this one, if there is one.
    Seed(Option<Zeroizing<[u8; 32]>>),
    /// Makes this the primary key, whatever it was.
    ReplaceSeed(Zeroizing<[u8; 32]>),
    /// The core that is opened when none is named.
    DefaultCore,
    /// The core of a name.
    Alias(Alias),
    /// Whether a core is here, and what it is.
    Infos(Vec<DiscoveryKey>),
    /// Deletes all that is stored of a core, its branches and its name, and answers whether it was here. Not for one
    /// that is open.
    Forget(DiscoveryKey),
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
}

/// What is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The primary key, if there is one.
    Seed(Option<Zeroizing<[u8; 32]>>),
    /// A core, if there is one.
    Core(Option<DiscoveryKey>),
    /// What each core is; `None` for those that are not here.
    Infos(Vec<Option<CoreInfo>>),
    /// Cores, and where to go on.
    Cores(Vec<(DiscoveryKey, CorePointers)>, Option<Bytes>),
    /// Names and their cores, and where to go on.
    Aliases(Vec<(Alias, DiscoveryKey)>, Option<Bytes>),
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
            Self::Cores { .. } => "Cores",
            Self::Aliases { .. } => "Aliases",
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
            (State::Reading, Some(Found::Entries(entries, more))) => self.take_entries(&entries, more),
            (State::Parts(pointers), Some(Found::Values(values))) => take_parts(pointers, &values),
            (State::Branches(pointers), Some(Found::Values(values))) => {
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
            Question::Forget(discovery_key) => alloc::vec![keys::core(discovery_key)],
            Question::Cores { from, limit } => {
                let (start, end) = keys::cores();
                return scan(store, from.as_ref().unwrap_or(&start), end, *limit);
            }
            Question::Aliases { namespace, from, limit } => {
                let (start, end) = keys::aliases(namespace.as_ref());
                return scan(store, from.as_ref().unwrap_or(&start), end, *limit);
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
            Question::Cores { .. } | Question::Aliases { .. } => Err(StorageFailure::Corrupted),
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

    fn take_head(&mut self, party: Party, store: &mut Store) -> Result<Step, StorageFailure> {
        let head = store.head.get_or_insert_default();
        let seed = match (&self.question, head.seed) {
            (Question::Seed(Some(seed)), None) | (Question::ReplaceSeed(seed), _) => seed.clone(),
            (Question::Seed(_), seed) => {
                return Ok(Step::Done(Answer::Seed(seed.map(Zeroizing::new))));
            }
            _ => return Ok(Step::Done(Answer::Core(head.default_discovery_key))),
        };
        head.seed = Some(*seed);
        let op = Op::Put { key: keys::store_head(), value: head.to_vec().into() };
        let commit = store.stage(party, [op], Durability::Strict);
        self.state = State::Committing(commit, Answer::Seed(Some(seed)));
        Ok(Step::Committing)
    }

    fn take_entries(&self, entries: &[(Bytes, Bytes)], more: bool) -> Result<Step, StorageFailure> {
        // The first key after the last one.
        let next = entries.last().filter(|_| more).map(|(key, _)| [&key[..], &[0]].concat().into());
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

fn scan(store: &mut Store, start: &Bytes, end: Bytes, limit: u32) -> Step {
    Step::Reading(store.scan(start.clone(), end, false, limit.min(MAX_ENTRIES)))
}

fn key_of(value: &[u8]) -> Result<DiscoveryKey, StorageFailure> {
    value.try_into().map_err(|_| StorageFailure::Corrupted)
}

/// The most entries of one answer: they are small, and whoever wants more asks again.
const MAX_ENTRIES: u32 = 1024;
