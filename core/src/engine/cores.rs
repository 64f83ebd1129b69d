//! Stores and cores: opening and closing them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::collections::BTreeMap;
use crate::corestore::query::Query;
use crate::hypercore::core::Core;
use crate::hypercore::jobs::{JobId, Work};
use crate::hypercore::opening::{Opening, Progress};
use crate::hypercore::proof::Proof;
use crate::id::DiscoveryKey;
use crate::replicator::{ApplyTicket, ProveTicket, Replicator, WishId};
use crate::storage::keys::DataKeys;
use crate::storage::{Owner, Party, ReadTicket, Store, StoreId};
use crate::time::Instant;

use super::atoms::{Atom, Twin};
use super::channels::Traffic;
use super::replication::Attachment;
use super::requests::Pending;
use super::types::{CoreId, Error, Event, LinkId, OpenCore, PeerId, RequestId, Response};
use super::{Engine, Output, Sleeper};

mod commits;
mod jobs;

/// A store, and whose reads it works on.
#[derive(Debug)]
pub(super) struct StoreEntry {
    pub(super) machine: Store,
    pub(super) reads: BTreeMap<ReadTicket, Reader>,
    /// Questions about it that are not answered yet.
    pub(super) queries: BTreeMap<RequestId, Query>,
    /// Set when it is an atom.
    pub(super) atom: Option<Atom>,
    /// Whose changes the commit in flight holds.
    sealed: Vec<Party>,
}

impl StoreEntry {
    pub(super) fn new(owner: Owner) -> Self {
        Self {
            machine: Store::new(owner),
            reads: BTreeMap::new(),
            atom: None,
            queries: Default::default(),
            sealed: Vec::new(),
        }
    }
}

/// Who waits for a read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    Atom(StoreId),
    /// A block that was asked for when the log had been cut so often.
    Block {
        core: CoreId,
        request: RequestId,
        cuts: u64,
    },
    Core(CoreId),
    Query(RequestId),
    /// A list of user data that was asked for.
    UserData(RequestId, DataKeys),
    /// A list of what programs keep for themselves.
    Locals(RequestId, DataKeys),
}

/// A core and all that belongs to it.
#[derive(Debug)]
pub(super) struct CoreEntry {
    pub(super) store: StoreId,
    pub(super) state: CoreState,
    pub(super) replicator: Replicator,
    /// Known before the core is open, in most cases.
    pub(super) discovery_key: Option<DiscoveryKey>,
    is_active: bool,
    /// It is not in its store yet: nobody finds it by its discovery key.
    is_incoming: bool,
    /// Times it was opened, less those it was closed.
    pub(super) handles: u32,
    /// Whose branch it is, and under which name.
    pub(super) branch: Option<(CoreId, String)>,
    /// Set when it is the second core over a log.
    pub(super) twin: Option<Twin>,
    /// Who waits for it to be open.
    pub(super) opens: Vec<RequestId>,
    /// Who waits for it to be closed.
    closes: Vec<RequestId>,
    /// What each job of the core is for.
    pub(super) jobs: BTreeMap<JobId, Purpose>,
    proofs: BTreeMap<ProveTicket, JobId>,
    pub(super) requests: BTreeMap<RequestId, Pending>,
    pub(super) attachments: BTreeMap<LinkId, Attachment>,
    pub(super) peers: BTreeMap<PeerId, LinkId>,
    /// Messages of each peer that is there.
    pub(super) traffic: BTreeMap<PeerId, Traffic>,
    /// Messages of all peers there ever were.
    pub(super) total_traffic: Traffic,
}

#[derive(Debug)]
pub(super) enum CoreState {
    Opening(Box<Opening>),
    Open(Box<Core>),
}

/// What a job is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Request(RequestId),
    Prove(ProveTicket),
    Apply(ApplyTicket),
    CheckReorg(ApplyTicket),
    ApplyReorg,
    CheckConflict(ApplyTicket, Box<Proof>),
    Repair(Option<RequestId>, Box<Proof>),
    CanUpgrade(PeerId, u64),
    Seek(WishId),
    Flow,
}

impl CoreEntry {
    /// Returns the entry of a core that one request opens.
    pub(super) fn new(store: StoreId, state: CoreState, replicator: Replicator, request: RequestId) -> Self {
        Self {
            store,
            state,
            replicator,
            discovery_key: None,
            is_active: false,
            is_incoming: false,
            handles: 1,
            branch: None,
            twin: None,
            opens: alloc::vec![request],
            closes: Vec::new(),
            jobs: BTreeMap::new(),
            proofs: BTreeMap::new(),
            requests: BTreeMap::new(),
            attachments: BTreeMap::new(),
            peers: BTreeMap::new(),
            traffic: BTreeMap::new(),
            total_traffic: Traffic::default(),
        }
    }

    /// Returns the core, if it is open, and its replicator.
    pub(super) fn parts(&mut self) -> Option<(&mut Core, &mut Replicator)> {
        match &mut self.state {
            CoreState::Open(core) => Some((core, &mut self.replicator)),
            CoreState::Opening(_) => None,
        }
    }

    pub(super) fn open(&self) -> Option<&Core> {
        match &self.state {
            CoreState::Open(core) => Some(core),
            CoreState::Opening(_) => None,
        }
    }

    /// Gives the core a job. Mark it dirty afterwards.
    pub(super) fn submit(&mut self, work: Work, purpose: Purpose) {
        let CoreState::Open(core) = &mut self.state else { return };
        let job = core.submit(work);
        if let Purpose::Prove(ticket) = purpose {
            self.proofs.insert(ticket, job);
        }
        self.jobs.insert(job, purpose);
    }

    pub(super) fn cancel_proof(&mut self, ticket: ProveTicket) {
        if let Some(job) = self.proofs.remove(&ticket) {
            self.jobs.remove(&job);
            if let CoreState::Open(core) = &mut self.state {
                core.cancel(job);
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        !self.closes.is_empty()
    }
}

impl Engine {
    /// Opens a core. The request is answered with [`Response::Opened`].
    ///
    /// A core that is open already is shared: every opening needs its own [`close_core`](Self::close_core).
    pub fn open_core(&mut self, store: StoreId, options: OpenCore, now: Instant) -> (CoreId, RequestId) {
        let request = self.next_request();
        let seed = self.next_seed();
        let party = Party(self.next_id());
        let id = CoreId(party.0);
        if !self.stores.contains_key(&store) {
            self.answer(request, Err(Error::Closed));
            return (id, request);
        }
        let OpenCore { core, replication, is_active } = options;
        let is_incoming = core.incoming.is_some();
        let opening = Opening::new(party, core, &seed);
        let discovery_key = opening.discovery_key().copied().filter(|_| !is_incoming);
        if let Some(shared) = self.shared_core(store, discovery_key) {
            self.join_core(shared, request, is_active, now);
            return (shared, request);
        }
        let state = CoreState::Opening(Box::new(opening));
        let replicator = Replicator::new(replication, self.next_seed());
        let entry = CoreEntry {
            discovery_key,
            is_active,
            is_incoming,
            ..CoreEntry::new(store, state, replicator, request)
        };
        self.cores.insert(id, entry);
        self.discovery_keys.extend(discovery_key.map(|discovery_key| (discovery_key, id)));
        self.dirty_cores.insert(id);
        (id, request)
    }

    /// Closes a core once, and for good with the last of those who opened it: jobs that have not begun fail, what is
    /// staged is still committed. Answered with [`Response::Done`].
    pub fn close_core(&mut self, core: CoreId, now: Instant) -> RequestId {
        let request = self.next_request();
        let Some(entry) = self.cores.get_mut(&core) else {
            self.answer(request, Ok(Response::Done));
            return request;
        };
        entry.handles = entry.handles.saturating_sub(1);
        if entry.handles > 0 {
            self.answer(request, Ok(Response::Done));
            return request;
        }
        entry.closes.push(request);
        self.detach_all(core, now);
        self.fail_requests(core, Error::Closed, now);
        if let Some(entry) = self.cores.get_mut(&core) {
            match &mut entry.state {
                CoreState::Open(core) => core.close(),
                CoreState::Opening(_) => return self.abandon_closed(core, request, now),
            }
        }
        self.dirty_cores.insert(core);
        request
    }

    fn abandon_closed(&mut self, core: CoreId, request: RequestId, now: Instant) -> RequestId {
        self.abandon_core(core, Error::Closed, now);
        request
    }

    fn shared_core(&self, store: StoreId, discovery_key: Option<DiscoveryKey>) -> Option<CoreId> {
        self.cores_named(&discovery_key?)
            .find(|id| self.cores.get(id).is_some_and(|entry| entry.store == store && !entry.is_closing()))
    }

    /// Returns whether a core of a store is open, or not yet closed.
    pub(super) fn has_core(&self, store: StoreId, discovery_key: &DiscoveryKey) -> bool {
        self.cores_named(discovery_key)
            .any(|id| self.cores.get(&id).is_some_and(|entry| entry.store == store))
    }

    /// Returns the cores of all stores that have a discovery key.
    pub(super) fn cores_named(&self, discovery_key: &DiscoveryKey) -> impl Iterator<Item = CoreId> + '_ {
        let range = (*discovery_key, CoreId(0))..=(*discovery_key, CoreId(u32::MAX));
        self.discovery_keys.range(range).map(|(_, id)| *id)
    }

    fn join_core(&mut self, core: CoreId, request: RequestId, is_active: bool, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        entry.handles += 1;
        let activates = is_active && !entry.is_active;
        entry.is_active |= is_active;
        match entry.parts() {
            Some((core, replicator)) => {
                if activates {
                    replicator.set_active(true, core, now);
                }
                self.answer(request, Ok(Response::Opened));
            }
            None => entry.opens.push(request),
        }
        self.dirty_cores.insert(core);
    }

    /// Drops a core at once and tells everybody who waits for it.
    pub(super) fn abandon_core(&mut self, core: CoreId, error: Error, now: Instant) {
        self.detach_all(core, now);
        self.fail_requests(core, error, now);
        let Some(entry) = self.cores.remove(&core) else { return };
        self.flow_child_ready(core);
        let steps = entry.jobs.values().filter(|purpose| matches!(purpose, Purpose::Flow)).count();
        self.flow_core_gone(steps);
        self.twin_closed(&entry);
        if let Some(discovery_key) = entry.discovery_key {
            self.discovery_keys.remove(&(discovery_key, core));
        }
        self.dirty_cores.remove(&core);
        self.wakes.set(Sleeper::Core(core), None);
        for request in entry.opens {
            self.answer(request, Err(error));
        }
        for request in entry.closes {
            self.answer(request, Ok(Response::Done));
        }
    }

    pub(super) fn answer(&mut self, request: RequestId, result: Result<Response, Error>) {
        #[cfg(feature = "bee")]
        if self.answer_bee(request, &result) {
            return;
        }
        self.outputs.push_back(Output::Event(Event::Done { request, result }));
    }

    pub(super) fn wake_core(&mut self, core: CoreId, now: Instant) {
        if let Some((core, replicator)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) {
            replicator.handle_timeout(core, now);
        }
        self.dirty_cores.insert(core);
    }

    /// Lets a core and its replicator go on until both have nothing more to do.
    pub(super) fn drive_core(&mut self, id: CoreId, now: Instant) {
        loop {
            let Some(entry) = self.cores.get_mut(&id) else { return };
            let Some(store) = self.stores.get_mut(&entry.store) else { return };
            self.dirty_stores.insert(entry.store);
            match &mut entry.state {
                CoreState::Opening(opening) => match opening.run(&mut store.machine) {
                    Progress::Reading(ticket) => {
                        store.reads.insert(ticket, Reader::Core(id));
                        return;
                    }
                    Progress::Waiting => return,
                    Progress::Opened(core) => self.core_opened(id, core, now),
                    Progress::Failed(error) => return self.abandon_core(id, error, now),
                },
                CoreState::Open(core) => {
                    for ticket in core.run(&mut store.machine) {
                        store.reads.insert(ticket, Reader::Core(id));
                    }
                }
            }
            let mut is_quiet = true;
            while let Some(event) = self.next_core_event(id) {
                is_quiet = false;
                self.handle_core_event(id, event, now);
            }
            while let Some(action) = self.cores.get_mut(&id).and_then(|entry| entry.replicator.poll_action())
            {
                is_quiet = false;
                self.handle_action(id, action, now);
            }
            let is_restless = self.cores.get(&id).and_then(CoreEntry::open).is_none_or(Core::is_restless);
            if is_quiet || !is_restless {
                break;
            }
        }
        let Some(entry) = self.cores.get(&id) else { return };
        self.wakes.set(Sleeper::Core(id), entry.replicator.poll_timeout());
        if entry.is_closing() && entry.open().is_none_or(Core::is_idle) {
            self.abandon_core(id, Error::Closed, now);
        }
    }

    fn core_opened(&mut self, id: CoreId, core: Box<Core>, now: Instant) {
        let Some(entry) = self.cores.get_mut(&id) else { return };
        if entry.branch.is_some() || entry.twin.is_some() {
            return self.child_opened(id, core);
        }
        let (store, discovery_key) = (entry.store, *core.discovery_key());
        let is_incoming = entry.is_incoming;
        if !is_incoming && self.shared_core(store, Some(discovery_key)).is_some_and(|other| other != id) {
            // Opened without naming it, while it was open under its name.
            return self.abandon_core(id, Error::StorageConflict("this hypercore is open already"), now);
        }
        let Some(entry) = self.cores.get_mut(&id) else { return };
        if !is_incoming {
            entry.discovery_key = Some(discovery_key);
            self.discovery_keys.insert((discovery_key, id));
        }
        let is_lost = core.is_lost();
        entry.state = CoreState::Open(core);
        let is_active = entry.is_active;
        if is_lost && let Some((core, replicator)) = entry.parts() {
            replicator.set_push_only(true, core, now);
        }
        if let Some((core, replicator)) = entry.parts()
            && is_active
        {
            replicator.set_active(true, core, now);
        }
        for request in core::mem::take(&mut entry.opens) {
            self.answer(request, Ok(Response::Opened));
        }
        self.open_channels(id, now);
    }

    /// Takes in a core that has no peers. Its flow says when it can be used.
    pub(super) fn child_opened(&mut self, id: CoreId, core: Box<Core>) {
        self.flow_child_ready(id);
        self.dirty_cores.insert(id);
        if let Some(entry) = self.cores.get_mut(&id) {
            entry.state = CoreState::Open(core);
        }
    }
}
