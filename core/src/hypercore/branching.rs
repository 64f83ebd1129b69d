//! Opening a branch of a log: one that is stored under its name, or a new one.
//!
//! Source: hypercore-storage 3.2, `index.js`, `resumeSession` and `createSession`; hypercore 11.35,
//! `lib/session-state.js`, `createSession`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::Encode;
use crate::error::StorageFailure;
use crate::storage::keys::{self, DataKeys};
use crate::storage::records::{Dependency, Head, Hints, SessionPointer, Sessions};
use crate::storage::{Durability, Op, Party, Store};

use super::bitfield::Bitfield;
use super::core::{Core, Parts, put};
use super::error::CoreError;
use super::layers::Layers;
use super::merkle_tree::Tree;
use super::opening::{OpenOptions, Opening, Progress, State, decode};

/// Which branch to open.
#[derive(Clone, Debug, Default)]
pub struct BranchOptions {
    /// Its name.
    pub name: String,
    /// Starts over from the head of its parent, also for those who have it open.
    pub overwrite: bool,
    /// Of a branch that starts over: blocks that it has of its parent, all by default.
    pub checkout: Option<u64>,
    /// The store has moved under those who have it open: it has the fork that it had. Otherwise a branch that is found again has
    /// that of its parent, as upstream's.
    pub moved: bool,
}

/// A branch being opened.
#[derive(Debug)]
pub(super) struct Branching {
    options: BranchOptions,
    /// The parent, with the branch's name.
    parts: Parts,
}

/// What was read of a branch that is stored.
#[derive(Debug)]
pub(super) struct Chain {
    own: u64,
    head: Option<Option<Head>>,
    /// Newest first.
    below: Vec<Dependency>,
}

impl Opening {
    /// Prepares to open a branch; it waits for [`begin`](Self::begin).
    pub fn orphan(party: Party) -> Self {
        // The pair is never used: a branch is not signed.
        let mut opening = Self::new(party, OpenOptions::default(), &[0; 32]);
        opening.state = State::Orphan;
        opening
    }

    /// Opens the branch of a log that stands still until it is open.
    pub fn begin(
        &mut self,
        parent: &Core,
        party: Party,
        options: BranchOptions,
        store: &mut Store,
    ) -> Progress {
        let parts = Parts {
            branch: Some(options.name.clone()),
            bitfield: Bitfield::new(),
            hints: Hints::default(),
            ..parent.parts(party)
        };
        let ticket = store.read(alloc::vec![keys::sessions(parent.core_pointer())]);
        self.state = State::Names(Box::new(Branching { options, parts }));
        Progress::Reading(ticket)
    }

    pub(super) fn take_names(
        &mut self,
        branching: Box<Branching>,
        values: Vec<Option<Bytes>>,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let sessions = decode(&values.into_iter().next().flatten())?;
        let mut sessions: Sessions = sessions.unwrap_or_default();
        let known = sessions.0.iter().find(|session| session.name == branching.options.name);
        if let Some(&SessionPointer { data, .. }) = known {
            if branching.options.overwrite {
                return self.create_branch(*branching, data, None, store);
            }
            let keys = DataKeys { data };
            let ticket = store.read(alloc::vec![keys.dependency(), keys.head()]);
            self.state = State::Chain(branching, Chain { own: data, head: None, below: Vec::new() });
            return Ok(Progress::Reading(ticket));
        }
        let Some(head) = &mut store.head else {
            return Err(CoreError::InvalidOperation("a branch cannot be made in an atom"));
        };
        let data = head.datas;
        head.datas += 1;
        sessions.0.push(SessionPointer { name: branching.options.name.clone(), data });
        self.create_branch(*branching, data, Some(&sessions), store)
    }

    pub(super) fn take_chain(
        &mut self,
        branching: Box<Branching>,
        mut chain: Chain,
        values: &[Option<Bytes>],
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        if chain.head.is_none() {
            chain.head = Some(values.get(1).map(decode).transpose()?.flatten());
        }
        if let Some(dependency) = values.first().map(decode::<Dependency>).transpose()?.flatten() {
            if chain.below.len() >= MAX_DEPTH {
                return Err(StorageFailure::Corrupted.into());
            }
            chain.below.push(dependency);
            let ticket = store.read(alloc::vec![DataKeys { data: dependency.data }.dependency()]);
            self.state = State::Chain(branching, chain);
            return Ok(Progress::Reading(ticket));
        }
        let mut parts = branching.parts;
        let mut layers = Layers::new(chain.below.last().map_or(chain.own, |dependency| dependency.data));
        for (at, dependency) in chain.below.iter().enumerate().rev() {
            let own = at.checked_sub(1).and_then(|above| chain.below.get(above));
            layers = layers.branch(own.map_or(chain.own, |above| above.data), dependency.length);
        }
        parts.layers = layers;
        let Tree { prologue, fork, .. } = parts.tree;
        let head = chain.head.flatten().filter(|head| head.length > 0 || branching.options.moved);
        let head = head.map(|head| if branching.options.moved { head } else { Head { fork, ..head } });
        match head {
            Some(head) if head.length > 0 => Ok(self.read_roots(parts, head, store)),
            head => {
                parts.tree = Tree::empty(head.map_or(fork, |head| head.fork), prologue);
                self.finish(parts)
            }
        }
    }

    /// Starts a branch at the head of its parent.
    fn create_branch(
        &mut self,
        branching: Branching,
        data: u64,
        sessions: Option<&Sessions>,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let mut parts = branching.parts;
        let Tree { fork, length, .. } = parts.tree;
        parts.layers = parts.layers.branch(data, length);
        if parts.layers.is_circular() {
            return Err(CoreError::InvalidOperation(OF_ITSELF));
        }
        let keys = DataKeys { data };
        let mut ops = Vec::new();
        if let (Some(sessions), Some(head)) = (sessions, &store.head) {
            ops.push(put(keys::store_head(), head.to_vec()));
            ops.push(put(keys::sessions(parts.core_pointer), sessions.to_vec()));
        }
        let root_hash = parts.tree.tree_hash();
        let head = Head { fork, length, root_hash, signature: parts.tree.signature.clone(), timestamp: 0 };
        if length > 0 || fork > 0 {
            ops.push(put(keys.head(), head.to_vec()));
        } else {
            ops.push(Op::Delete { key: keys.head() });
        }
        ops.extend(parts.layers.dependency().map(|dependency| put(keys.dependency(), dependency.to_vec())));
        if sessions.is_none() {
            ops.push(Op::DeleteRange { start: keys.block(0), end: keys.blocks_end() });
            ops.push(Op::DeleteRange { start: keys.node(0), end: keys.nodes_end() });
            ops.push(Op::DeleteRange { start: keys.page(0), end: keys.pages_end() });
        }
        let commit = store.stage(parts.party, ops, Durability::Relaxed);
        self.state = State::Committing(commit, parts);
        Ok(Progress::Waiting)
    }
}

/// What is said where a branch would be read in the blocks that it drops.
pub const OF_ITSELF: &str = "a branch cannot start over from itself";

/// Branches of branches of branches: more than that is no store of ours.
const MAX_DEPTH: usize = 64;
