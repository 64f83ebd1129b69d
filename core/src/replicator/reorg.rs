//! Following a peer to a higher fork: its proof, the search for the fork point, the switch.
//!
//! The owner holds the state of each search, named by its fork; here is who is asked for what.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `ForkRequest`, `_onreorgdata` and `_applyReorg`.

use crate::collections::BTreeSet;
use crate::hypercore::proof::{HashRequest, UpgradeRequest};
use crate::time::{Duration, Instant};

use super::Replicator;
use super::requests::RequestKey;
use super::schedule::Draft;
use super::types::{Action, ApplyError, ApplyTicket, Local, PeerId, ReorgStep, Reorged, WishError};
use super::wants::Holder;

/// A search for the point where a higher fork left our log.
#[derive(Debug)]
pub(super) struct Search {
    /// What comes next; `None` until the proof of the fork was verified.
    step: Option<ReorgStep>,
    pub(super) in_flight: Option<RequestKey>,
    /// Who was asked for it, and has not answered.
    asked: BTreeSet<PeerId>,
    /// How long one of them is waited for.
    patience: Duration,
    /// When whoever was asked last has had long enough; `None` once that is over.
    patient_until: Option<Instant>,
}

impl Default for Search {
    fn default() -> Self {
        Self { step: None, in_flight: None, asked: BTreeSet::new(), patience: PATIENCE, patient_until: None }
    }
}

impl Search {
    /// Whether to ask this peer.
    fn is_due(&self, id: PeerId) -> bool {
        self.in_flight.is_none() || (self.patient_until.is_none() && !self.asked.contains(&id))
    }

    fn requested(&mut self, id: PeerId, key: RequestKey, now: Instant) {
        self.in_flight = Some(key);
        self.asked.insert(id);
        self.patient_until = Some(now + self.patience);
    }

    fn go_on(&mut self, step: ReorgStep) {
        *self = Self { step: Some(step), in_flight: self.in_flight, ..Self::default() };
    }
}

impl Replicator {
    /// Asks a peer for the proof of its fork when that is higher than ours.
    pub(super) fn update_fork(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        let fork = peer.remote_fork;
        if fork > local.fork() && self.applying_reorg.is_none() && self.add_search(fork) {
            self.request_fork_proof(id, fork, local, now);
        }
    }

    /// Starts a search unless a better one is under way. Returns whether there is one for this fork.
    fn add_search(&mut self, fork: u64) -> bool {
        if !self.options.allow_fork {
            return false;
        }
        let mut higher = self.searches.range(fork.saturating_add(1)..);
        if self.searches.contains_key(&fork) {
            return true;
        }
        if higher.any(|(_, search)| search.step.is_some()) {
            return false;
        }
        if self.searches.len() >= MAX_SEARCHES {
            let idle = self.searches.iter().find(|(fork, search)| self.is_idle(**fork, search));
            let Some(idle) = idle.map(|(fork, _)| *fork) else { return false };
            self.searches.remove(&idle);
        }
        self.searches.insert(fork, Search::default());
        true
    }

    /// Whether nobody is asked, or only somebody who says by now that it has another fork.
    fn is_idle(&self, fork: u64, search: &Search) -> bool {
        let asked = search.in_flight.and_then(|key| self.requests.get(key));
        let peer = asked.and_then(|request| self.peers.get(&request.peer));
        search.step.is_none() && peer.is_none_or(|peer| peer.remote_fork != fork)
    }

    fn request_fork_proof(&mut self, id: PeerId, fork: u64, local: &dyn Local, now: Instant) -> bool {
        let is_due = self.searches.get(&fork).is_some_and(|s| s.step.is_none() && s.is_due(id));
        let Some(peer) = self.peers.get(&id) else { return false };
        let length = peer.remote_length;
        if !is_due || length == 0 || peer.remote_fork != fork || self.push_only || !self.is_active(id) {
            return false;
        }
        let Some(mut draft) = self.draft(id, false, 0, local, now) else { return false };
        draft.request.reorg = Some(fork);
        draft.request.upgrade = true;
        draft.what.upgrade = Some(UpgradeRequest { start: 0, length });
        draft.what.manifest = !local.has_manifest();
        self.send_search(id, fork, draft, local, now);
        true
    }

    /// Sends a request for a search. One to a peer that was too slow is taken back.
    fn send_search(&mut self, id: PeerId, fork: u64, draft: Draft, local: &dyn Local, now: Instant) {
        let slow = self.searches.get(&fork).and_then(|search| search.in_flight);
        if let Some(slow) = slow {
            self.cancel_request(slow, local);
            self.clear_request(slow, local);
        }
        let key = self.send_request(draft, local);
        if let Some(search) = self.searches.get_mut(&fork) {
            search.requested(id, key, now);
        }
    }

    /// Returns when to ask somebody else.
    pub(super) fn search_timeout(&self) -> Option<Instant> {
        let waiting = self.searches.values().filter(|search| search.in_flight.is_some());
        waiting.filter_map(|search| search.patient_until).min()
    }

    /// Asks somebody else when it is time. Once all were asked in vain, each is given longer.
    pub(super) fn handle_search_timeout(&mut self, local: &dyn Local, now: Instant) {
        if self.search_timeout().is_none_or(|at| at > now) {
            return;
        }
        for (fork, search) in &mut self.searches {
            if search.patient_until.is_none_or(|at| at > now) {
                continue;
            }
            search.patient_until = None;
            let mut others =
                self.peers.iter().filter(|(_, peer)| peer.remote_fork == *fork && !peer.is_paused);
            if others.all(|(id, _)| search.asked.contains(id)) {
                search.patience = search.patience.saturating_mul(2);
                let last = search.in_flight.and_then(|key| self.requests.get(key));
                search.asked = last.map(|request| request.peer).into_iter().collect();
            }
        }
        self.retry_all();
        self.update_every_peer(usize::MAX, local, now);
    }

    /// Asks a peer for what a search of its fork needs, highest fork first.
    pub(super) fn request_searches(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        let Some(fork) = self.peers.get(&id).map(|peer| peer.remote_fork) else { return false };
        let Some(search) = self.searches.get(&fork).filter(|search| search.is_due(id)) else {
            return false;
        };
        match search.step {
            None => self.request_fork_proof(id, fork, local, now),
            Some(ReorgStep::Want { start, end, nodes }) => {
                self.request_fork_node(id, fork, (start, end, nodes), local, now)
            }
            Some(_) => false,
        }
    }

    fn request_fork_node(
        &mut self,
        id: PeerId,
        fork: u64,
        (start, end, nodes): (u64, u64, u64),
        local: &dyn Local,
        now: Instant,
    ) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let end = end.min(peer.remote_length);
        if self.push_only || end <= start {
            return false;
        }
        let offset = start + self.random.below(end - start);
        let picked = peer.blocks.next_present(offset, end);
        let Some(index) = picked.or_else(|| peer.blocks.next_present(start, offset)) else {
            self.want_any(id, start, end - start, Holder::Reorg(fork));
            return false;
        };
        let Some(mut draft) = self.draft(id, false, 0, local, now) else { return false };
        let index = index.saturating_mul(2);
        draft.request.reorg = Some(fork);
        draft.request.hash = Some(index);
        draft.what.hash = Some(HashRequest { index, nodes });
        self.send_search(id, fork, draft, local, now);
        true
    }

    /// Whether data of a fork can be of use.
    pub(super) fn takes_fork(&self, fork: u64, has_upgrade: bool) -> bool {
        let is_known = self.searches.get(&fork).is_some_and(|search| search.step.is_some());
        self.options.allow_fork && self.applying_reorg.is_none() && (has_upgrade || is_known)
    }

    /// Answers [`Action::CheckReorg`].
    pub fn reorg_checked(
        &mut self,
        ticket: ApplyTicket,
        result: Result<ReorgStep, ApplyError>,
        local: &dyn Local,
        now: Instant,
    ) {
        let Some(applying) = self.take_applying(ticket) else { return };
        if let Some(key) = applying.key {
            self.clear_request(key, local);
        }
        let fork = applying.fork;
        match result {
            Err(error) => self.blame(&applying, error, local),
            Ok(ReorgStep::Ignored) => {}
            Ok(step) if self.applying_reorg.is_none() && self.add_search(fork) => {
                self.searches.entry(fork).or_default().go_on(step);
                while let Some((&older, _)) = self.searches.range(..fork).next() {
                    self.drop_search(older);
                }
                if step == ReorgStep::Finished && (self.options.eager_upgrade || self.upgrade.is_some()) {
                    self.upgrade(local);
                    self.apply_reorg(fork);
                }
            }
            Ok(_) => self.actions.push_back(Action::ForgetReorg { fork }),
        }
        self.exclusive_done(ticket, local, now);
        self.update_all(local, now);
    }

    fn drop_search(&mut self, fork: u64) {
        if self.searches.remove(&fork).is_some_and(|search| search.step.is_some()) {
            self.actions.push_back(Action::ForgetReorg { fork });
        }
        self.release(Holder::Reorg(fork));
    }

    /// The highest fork whose search is over but which nobody wanted yet.
    pub(super) fn finished_search(&self) -> Option<u64> {
        let mut searches = self.searches.iter().rev();
        searches.find(|(_, search)| search.step == Some(ReorgStep::Finished)).map(|(fork, _)| *fork)
    }

    pub(super) fn apply_reorg(&mut self, fork: u64) {
        if self.applying_reorg.is_some() {
            return;
        }
        self.applying_reorg = Some(fork);
        for fork in core::mem::take(&mut self.searches).into_keys() {
            self.release(Holder::Reorg(fork));
        }
        self.actions.push_back(Action::ApplyReorg { fork });
    }

    /// Answers [`Action::ApplyReorg`]; [`Local`] shows the new log already.
    pub fn reorged(&mut self, result: Result<Reorged, ApplyError>, local: &dyn Local, now: Instant) {
        self.applying_reorg = None;
        match result {
            Ok(Reorged { ancestors, old_length }) => {
                self.truncated(ancestors, old_length, local);
                self.head_changed(local);
            }
            Err(_) => self.reject_upgrade(WishError::ReorgFailed),
        }
        for id in self.order.clone() {
            self.update_fork(id, local, now);
        }
        self.restart_ranges(local);
        self.update_all(local, now);
    }
}

/// Forks that are looked at at once; upstream has no limit.
const MAX_SEARCHES: usize = 16;

/// How long one peer is waited for before another is asked: one that never answers must not keep everybody on an old fork.
const PATIENCE: Duration = Duration::from_secs(5);
