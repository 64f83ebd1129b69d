//! Following a peer to a higher fork: its proof, the search for the fork point, the switch.
//!
//! The owner holds the state of each search, named by its fork; here is who is asked for what.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `ForkRequest`, `_onreorgdata` and `_applyReorg`.

use crate::hypercore::proof::{HashRequest, UpgradeRequest};
use crate::time::Instant;

use super::Replicator;
use super::requests::RequestKey;
use super::types::{Action, ApplyError, ApplyTicket, Local, PeerId, ReorgStep, Reorged, WishError};
use super::wants::Holder;

/// A search for the point where a higher fork left our log.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// What comes next; `None` until the proof of the fork was verified.
    step: Option<ReorgStep>,
    pub(super) in_flight: Option<RequestKey>,
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
            let is_idle = |search: &Search| search.step.is_none() && search.in_flight.is_none();
            let idle = self.searches.iter().find(|(_, search)| is_idle(search)).map(|(fork, _)| *fork);
            let Some(idle) = idle else { return false };
            self.searches.remove(&idle);
        }
        self.searches.insert(fork, Search::default());
        true
    }

    fn request_fork_proof(&mut self, id: PeerId, fork: u64, local: &dyn Local, now: Instant) -> bool {
        let is_due = self.searches.get(&fork).is_some_and(|s| s.step.is_none() && s.in_flight.is_none());
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
        let key = self.send_request(draft, local);
        if let Some(search) = self.searches.get_mut(&fork) {
            search.in_flight = Some(key);
        }
        true
    }

    /// Asks a peer for what a search of its fork needs, highest fork first.
    pub(super) fn request_searches(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        let Some(fork) = self.peers.get(&id).map(|peer| peer.remote_fork) else { return false };
        let Some(search) = self.searches.get(&fork).filter(|search| search.in_flight.is_none()) else {
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
        let key = self.send_request(draft, local);
        if let Some(search) = self.searches.get_mut(&fork) {
            search.in_flight = Some(key);
        }
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
                self.searches.entry(fork).or_default().step = Some(step);
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
