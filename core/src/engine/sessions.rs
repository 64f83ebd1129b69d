//! What needs several cores to stand still: opening branches and atomic cores, commits, flushes.
//!
//! One flow runs at a time, so that no two of them wait for each other's cores. It holds the cores that must not
//! change, does its work, and lets go of them.
//!
//! Source: hypercore 11.35, `lib/session-state.js`, `createSession`, `commit` and `_commit`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::hypercore::branch::State;
use crate::hypercore::branching::{BranchOptions, OF_ITSELF};
use crate::hypercore::core::Core;
use crate::hypercore::jobs::{CommitOptions, Committing, Value, Work};
use crate::hypercore::opening::{Opening, Progress};
use crate::replicator::{Replicator, ReplicatorOptions};
use crate::storage::{Party, StoreId};
use crate::time::Instant;

use super::Engine;
use super::atoms::Twin;
use super::cores::{CoreEntry, CoreState, Purpose, Reader};
use super::types::{CoreId, Error, RequestId, Response};

/// Something that needs cores to stand still.
#[derive(Debug)]
pub(super) enum Flow {
    /// Opens a branch; one that is open already starts over, for the sake of that request.
    Branch {
        parent: CoreId,
        child: CoreId,
        options: BranchOptions,
        restart: Option<RequestId>,
    },
    Atomic {
        parent: CoreId,
        child: CoreId,
    },
    Commit {
        request: RequestId,
        target: CoreId,
        source: CoreId,
        options: Box<CommitOptions>,
    },
    Flush {
        request: RequestId,
        atom: StoreId,
    },
    Prologue {
        request: RequestId,
        target: CoreId,
        source: CoreId,
    },
    CatchUp {
        request: RequestId,
        branch: CoreId,
        source: CoreId,
        length: u64,
    },
}

/// The flow that runs.
#[derive(Debug)]
pub(super) struct Running {
    flow: Flow,
    stage: Stage,
    held: Vec<CoreId>,
    /// Jobs that have not ended.
    waiting: usize,
    failed: Option<Error>,
}

#[derive(Debug)]
enum Stage {
    Holding,
    /// Keeps for snapshots what is about to be cut.
    Retaining,
    Working,
    /// Shortens a branch that was made anew.
    Cutting,
    /// Drops from a branch what was committed.
    Rebasing((u64, u64)),
}

impl Engine {
    /// Opens a branch of an open core, or joins those who have it open. The request is answered with
    /// [`Response::Opened`].
    ///
    /// A branch shares the blocks of its parent up to where it started, is written without a key, and is found again
    /// by its name. Its [`CoreHandle`](super::CoreHandle) works as any other, but for peers: it has none.
    ///
    /// All who open a name work on one branch, whichever branch of the log they open it from. When it starts over it does so for all
    /// of them, between two of their writes: what is written afterwards is found under the name, whoever wrote it. Upstream's sessions
    /// that were open before go on with lengths and roots of their own over the same records, which fits only while they have no block
    /// of their own and nobody else writes; else what is stored cannot be opened any more.
    ///
    /// Who waits for a branch to start over has opened it, also when that fails, and has to close it.
    pub fn open_branch(&mut self, parent: CoreId, options: BranchOptions) -> (CoreId, RequestId) {
        if let Some(shared) = self.branch_named(parent, &options.name) {
            let request = self.next_request();
            if options.overwrite {
                if let Some(entry) = self.cores.get_mut(&shared) {
                    entry.handles += 1;
                }
                self.start_flow(Flow::Branch { parent, child: shared, options, restart: Some(request) });
            } else {
                self.join_branch(shared, request);
            }
            return (shared, request);
        }
        let (child, request) = self.add_child(parent, None);
        if let Some(entry) = self.cores.get_mut(&child) {
            entry.branch = Some((parent, options.name.clone()));
        }
        self.start_flow(Flow::Branch { parent, child, options, restart: None });
        (child, request)
    }

    /// Opens a second core over the log of an open core, or over a branch, in an atom. The request is answered with
    /// [`Response::Opened`].
    pub fn open_atomic(&mut self, parent: CoreId, atom: StoreId) -> (CoreId, RequestId) {
        let is_known = self.twins(atom).iter().any(|(_, known)| *known == parent);
        let (child, request) = self.add_child(parent, Some(atom));
        if is_known {
            self.abandon_core(
                child,
                Error::InvalidOperation("session is in an atom already"),
                Instant::EPOCH,
            );
        } else {
            self.start_flow(Flow::Atomic { parent, child });
        }
        (child, request)
    }

    /// Takes the blocks of a branch into the log that it branched off, and signs them. Answered with
    /// [`Response::Committed`].
    pub fn commit(&mut self, target: CoreId, source: CoreId, options: CommitOptions) -> RequestId {
        let request = self.next_request();
        self.start_flow(Flow::Commit { request, target, source, options: Box::new(options) });
        request
    }

    /// Takes the blocks that the manifest of a core fixes from another core of its store. Answered with
    /// [`Response::Done`], also when there is nothing to take.
    pub fn copy_prologue(&mut self, target: CoreId, source: CoreId) -> RequestId {
        let request = self.next_request();
        self.start_flow(Flow::Prologue { request, target, source });
        request
    }

    /// Lets a branch start over from the first `length` blocks of the log that it branched off. Answered with
    /// [`Response::Done`].
    pub fn catch_up(&mut self, branch: CoreId, source: CoreId, length: u64) -> RequestId {
        let request = self.next_request();
        self.start_flow(Flow::CatchUp { request, branch, source, length });
        request
    }

    /// Writes all that an atom holds in one commit. Answered with [`Response::Done`].
    pub fn flush_atom(&mut self, atom: StoreId) -> RequestId {
        let request = self.next_request();
        self.start_flow(Flow::Flush { request, atom });
        request
    }

    /// Returns the fork of the main log, for another core over it.
    pub(super) fn main_fork(&self, core: CoreId) -> Option<u64> {
        let main = self.main_of(core);
        self.cores.get(&main).filter(|_| main != core)?.open().map(|core| core.tree().fork)
    }

    fn branch_named(&self, parent: CoreId, name: &str) -> Option<CoreId> {
        let store = self.cores.get(&parent)?.store;
        let main = self.main_of(parent);
        let mut branches = self.cores.iter().filter(|(_, entry)| entry.store == store && !entry.is_closing());
        // A log has one branch of a name, wherever it branched off.
        let is_it = |id: CoreId, entry: &CoreEntry| {
            entry.branch.as_ref().is_some_and(|(_, of)| of == name) && self.main_of(id) == main
        };
        branches.find(|(id, entry)| is_it(**id, entry)).map(|(id, _)| *id)
    }

    /// Returns the main log that a core is one more of, or a branch of.
    fn main_of(&self, core: CoreId) -> CoreId {
        let above = |core: &CoreId| {
            let entry = self.cores.get(core)?;
            let twin = entry.twin.as_ref().map(|twin| twin.parent);
            twin.or(entry.branch.as_ref().map(|(parent, _)| *parent))
        };
        core::iter::successors(Some(core), above).take(MAX_DEPTH).last().unwrap_or(core)
    }

    fn join_branch(&mut self, core: CoreId, request: RequestId) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        entry.handles += 1;
        if entry.open().is_some() {
            self.answer(request, Ok(Response::Opened));
        } else {
            entry.opens.push(request);
        }
    }

    /// Adds a core that will be opened by a flow.
    fn add_child(&mut self, parent: CoreId, atom: Option<StoreId>) -> (CoreId, RequestId) {
        let request = self.next_request();
        let party = Party(self.next_id());
        let id = CoreId(party.0);
        let seed = self.next_seed();
        let store = atom.or_else(|| self.cores.get(&parent).map(|entry| entry.store));
        let Some(store) = store.filter(|store| self.stores.contains_key(store)) else {
            self.answer(request, Err(Error::Closed));
            return (id, request);
        };
        let state = CoreState::Opening(Box::new(Opening::orphan(party)));
        let entry =
            CoreEntry::new(store, state, Replicator::new(ReplicatorOptions::default(), seed), request);
        self.cores.insert(id, entry);
        (id, request)
    }

    fn start_flow(&mut self, flow: Flow) {
        self.flows.push_back(flow);
        self.next_flow();
    }

    /// Starts the next flow, unless one runs.
    pub(super) fn next_flow(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some(flow) = self.flows.pop_front() else { return };
        let held = match &flow {
            Flow::Branch { parent, .. } | Flow::Atomic { parent, .. } => alloc::vec![*parent],
            Flow::Commit { source, .. } | Flow::Prologue { source, .. } | Flow::CatchUp { source, .. } => {
                alloc::vec![*source]
            }
            Flow::Flush { atom, .. } => {
                let mut cores: Vec<CoreId> =
                    self.twins(*atom).into_iter().flat_map(|(twin, parent)| [twin, parent]).collect();
                cores.sort_unstable();
                cores.dedup();
                cores
            }
        };
        self.running =
            Some(Running { flow, stage: Stage::Holding, held: held.clone(), waiting: 0, failed: None });
        for core in held {
            self.submit_step(core, Work::Hold);
        }
        self.dirty_flow = true;
    }

    /// Gives a core a job that the flow waits for.
    fn submit_step(&mut self, core: CoreId, work: Work) {
        let is_open =
            self.cores.get(&core).is_some_and(|entry| entry.open().is_some() && !entry.is_closing());
        let Some(running) = &mut self.running else { return };
        if !is_open {
            running.failed = Some(Error::Closed);
            return;
        }
        running.waiting += 1;
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.submit(work, Purpose::Flow);
        }
        self.dirty_cores.insert(core);
    }

    /// Takes what a job of the flow came to.
    pub(super) fn flow_job_done(&mut self, result: Result<Value, Error>, now: Instant) {
        let Some(running) = &mut self.running else { return };
        running.waiting = running.waiting.saturating_sub(1);
        self.dirty_flow = true;
        match result {
            Err(error) => running.failed = Some(error),
            Ok(Value::Committed(committed)) => self.committed_branch(committed, now),
            Ok(_) => {}
        }
    }

    /// Notes that the core which a flow opens is open, or will never be.
    pub(super) fn flow_child_ready(&mut self, core: CoreId) {
        let Some(running) = &mut self.running else { return };
        let (Flow::Branch { child, .. } | Flow::Atomic { child, .. }) = &running.flow else { return };
        if *child == core && matches!(running.stage, Stage::Working) {
            running.waiting = running.waiting.saturating_sub(1);
            self.dirty_flow = true;
        }
    }

    /// Notes that a core is gone: jobs of it never end.
    pub(super) fn flow_core_gone(&mut self, jobs: usize) {
        if let Some(running) = &mut self.running
            && jobs > 0
        {
            running.waiting = running.waiting.saturating_sub(jobs);
            running.failed = Some(Error::Closed);
            self.dirty_flow = true;
        }
    }

    /// Lets the flow go on once all that it waits for has happened.
    pub(super) fn drive_flow(&mut self, now: Instant) {
        self.dirty_flow = false;
        let Some(running) = &mut self.running else { return };
        if running.waiting > 0 {
            return;
        }
        if running.failed.is_none()
            && let (Flow::Flush { atom, .. }, Stage::Holding) = (&running.flow, &running.stage)
        {
            let atom = *atom;
            running.stage = Stage::Retaining;
            for (core, start) in self.cuts(atom) {
                self.submit_step(core, Work::Retain { start });
            }
            self.dirty_flow = true;
            return;
        }
        if running.failed.is_none()
            && let (Flow::Branch { parent, child, options, restart: None }, Stage::Working) =
                (&running.flow, &running.stage)
            && let Some(length) = options.checkout.filter(|_| options.overwrite)
        {
            let (parent, child) = (*parent, *child);
            running.stage = Stage::Cutting;
            self.start_over(child, parent, Some(length), true);
            self.dirty_flow = true;
            return;
        }
        if running.failed.is_none() && matches!(running.stage, Stage::Holding | Stage::Retaining) {
            running.stage = Stage::Working;
            self.work(now);
            self.dirty_flow |= self.running.as_ref().is_some_and(|running| running.waiting == 0);
            return;
        }
        let Some(Running { flow, stage, held, failed, .. }) = self.running.take() else { return };
        for core in held {
            if let Some((core, _)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) {
                core.release();
            }
            self.dirty_cores.insert(core);
        }
        match (flow, failed) {
            (Flow::Branch { child, restart: None, .. } | Flow::Atomic { child, .. }, Some(error)) => {
                self.abandon_core(child, error, now);
            }
            (Flow::Branch { restart: Some(request), .. }, None) => self.answer(request, Ok(Response::Opened)),
            (Flow::Branch { child, .. } | Flow::Atomic { child, .. }, None) => {
                let entry = self.cores.get_mut(&child);
                for request in entry.map(|entry| core::mem::take(&mut entry.opens)).unwrap_or_default() {
                    self.answer(request, Ok(Response::Opened));
                }
            }
            (
                Flow::Branch { restart: Some(request), .. }
                | Flow::Commit { request, .. }
                | Flow::Flush { request, .. }
                | Flow::Prologue { request, .. }
                | Flow::CatchUp { request, .. },
                Some(error),
            ) => {
                self.answer(request, Err(error));
            }
            (Flow::Commit { request, .. }, None) => {
                let committed = match stage {
                    Stage::Rebasing(committed) => Some(committed),
                    _ => None,
                };
                self.answer(request, Ok(Response::Committed(committed)));
            }
            (
                Flow::Flush { request, .. } | Flow::Prologue { request, .. } | Flow::CatchUp { request, .. },
                None,
            ) => self.answer(request, Ok(Response::Done)),
        }
        self.next_flow();
    }

    fn fail_flow(&mut self, error: Error) {
        if let Some(running) = &mut self.running {
            running.failed = Some(error);
        }
    }

    /// Returns the store of a core, or that below its atom.
    fn store_of(&self, core: CoreId) -> Option<StoreId> {
        let store = self.cores.get(&core)?.store;
        let atom = self.stores.get(&store).and_then(|entry| entry.atom.as_ref());
        Some(atom.map_or(store, |atom| atom.parent))
    }

    /// Returns the state of a log for another core to read, with what is in an atom that the other one does not see.
    fn state_for(&self, source: CoreId, reader: CoreId) -> Option<State> {
        let entry = self.cores.get(&source)?;
        let state = entry.open().map(Core::state)?;
        let is_same = self.cores.get(&reader)?.store == entry.store;
        let atom = self.stores.get(&entry.store).and_then(|store| store.atom.as_ref());
        Some(match atom.filter(|_| !is_same) {
            Some(atom) => state.within(atom.contents()),
            None => state,
        })
    }

    /// Does what the cores are held for.
    fn work(&mut self, now: Instant) {
        let Some(running) = &mut self.running else { return };
        match &running.flow {
            Flow::Branch { parent, child, options, restart: Some(_) } => {
                let (parent, child, length) = (*parent, *child, options.checkout);
                self.start_over(child, parent, length, true);
            }
            Flow::Branch { parent, child, options, .. } => {
                let (parent, child, options) = (*parent, *child, options.clone());
                running.waiting += 1;
                self.begin_branch(parent, child, options);
            }
            Flow::Atomic { parent, child } => {
                let (parent, child) = (*parent, *child);
                running.waiting += 1;
                let twin = self.cores.get(&parent).and_then(CoreEntry::open);
                match twin.map(|core| (core.atomic(Party(child.0)), core.base())) {
                    Some((Ok(core), base)) if self.cores.contains_key(&child) => {
                        if let Some(entry) = self.cores.get_mut(&child) {
                            entry.twin = Some(Twin::new(parent, base));
                        }
                        self.child_opened(child, Box::new(core));
                    }
                    Some((Err(error), _)) => self.abandon_core(child, error, now),
                    _ => self.abandon_core(child, Error::Closed, now),
                }
            }
            Flow::Commit { target, source, options, .. } => {
                let (target, source, options) = (*target, *source, CommitOptions::clone(options));
                let Some(state) = self.state_for(source, target) else {
                    return self.fail_flow(Error::Closed);
                };
                if target == source {
                    return self.fail_flow(Error::InvalidOperation("a log cannot be committed to itself"));
                }
                let operation = options.operation.clone();
                let commit = Work::Commit(Box::new(Committing { source: state, options }));
                let work = match operation {
                    Some(operation) => Work::Recorded { work: Box::new(commit), operation },
                    None => commit,
                };
                self.submit_step(target, work);
            }
            Flow::Prologue { target, source, .. } => {
                let (target, source) = (*target, *source);
                let is_near = target != source && self.store_of(source) == self.store_of(target);
                match self.state_for(source, target).filter(|_| is_near) {
                    Some(state) => self.submit_step(target, Work::CopyPrologue(Box::new(state))),
                    None => self.fail_flow(Error::InvalidOperation(
                        "a prologue is copied from a log of the same store",
                    )),
                }
            }
            Flow::CatchUp { branch, source, length, .. } => {
                let (branch, source, length) = (*branch, *source, *length);
                self.start_over(branch, source, Some(length), false);
            }
            Flow::Flush { atom, .. } => {
                let atom = *atom;
                match self.hand_over(atom) {
                    Ok(cores) => {
                        for core in cores {
                            self.submit_step(core, Work::Settle);
                        }
                    }
                    Err(error) => {
                        if let Some(running) = &mut self.running {
                            running.failed = Some(error);
                        }
                    }
                }
            }
        }
    }

    /// Lets a branch share blocks with a log, all of them unless it is said how many; as a new branch does or as one that catches up.
    fn start_over(&mut self, branch: CoreId, source: CoreId, length: Option<u64>, starts_over: bool) {
        match self.cores.get(&source).and_then(CoreEntry::open).map(Core::state) {
            Some(state) if branch != source => {
                let length = length.unwrap_or(state.tree.length);
                self.submit_step(branch, Work::CatchUp { source: Box::new(state), length, starts_over });
            }
            _ => self.fail_flow(Error::InvalidOperation(OF_ITSELF)),
        }
    }

    fn begin_branch(&mut self, parent: CoreId, child: CoreId, options: BranchOptions) {
        let Some(mut entry) = self.cores.remove(&child) else { return self.flow_child_ready(child) };
        let open = self.cores.get(&parent).and_then(CoreEntry::open);
        if let (CoreState::Opening(opening), Some(core), Some(store)) =
            (&mut entry.state, open, self.stores.get_mut(&entry.store))
            && let Progress::Reading(ticket) =
                opening.begin(core, Party(child.0), options, &mut store.machine)
        {
            store.reads.insert(ticket, Reader::Core(child));
            self.dirty_stores.insert(entry.store);
        }
        self.cores.insert(child, entry);
    }

    /// Goes on after the log has taken a branch's blocks, or refused them.
    fn committed_branch(&mut self, committed: Option<(u64, u64)>, _now: Instant) {
        let Some(Running { flow: Flow::Commit { source, options, .. }, stage, .. }) = &mut self.running
        else {
            return;
        };
        let Some(committed) = committed else { return };
        *stage = Stage::Rebasing(committed);
        let source = *source;
        let Some(core) = self.cores.get(&source).and_then(CoreEntry::open) else { return };
        let start = options.tree_length.unwrap_or(core.shared_length());
        let length = options.length.unwrap_or(core.tree().length);
        // In an atom, the branch outside learns when it is flushed that it shares more.
        if let Some(twin) = self.cores.get_mut(&source).and_then(|entry| entry.twin.as_mut()) {
            twin.note_change();
        }
        self.submit_step(source, Work::Rebase { start, length });
    }
}

/// Branches of branches that are looked through.
const MAX_DEPTH: usize = 64;
