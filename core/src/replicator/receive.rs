//! What peers tell us, and the way of data from a message to a stored block.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `onsync`, `onrange`, `onbitfield`, `ondata`, `onnodata`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::hypercore::proof::{Proof, ProofRequest, UpgradeRequest};
use crate::time::Instant;

use super::requests::{Request, RequestKey};
use super::types::{
    Action, Applied, ApplyError, ApplyTicket, ConflictFinding, Local, PeerId, ReplicatorEvent, Resolution,
};
use super::wire::{self, BitfieldWords, Data, INVALID_REQUEST, Message, NOT_AVAILABLE, NoData, Range, Sync};
use super::{Replicator, stored_len};

/// Data that the owner verifies and stores.
#[derive(Debug)]
pub(super) struct Applying {
    pub(super) peer: PeerId,
    /// The request that it answers; `None` for a push.
    pub(super) key: Option<RequestKey>,
    pub(super) fork: u64,
    block: Option<(u64, Bytes)>,
    bytes: usize,
    /// A conflict claim, to be used as data when it turns out to be none.
    claim: Option<Data>,
}

impl Replicator {
    pub(super) fn on_sync(&mut self, id: PeerId, sync: Sync, local: &dyn Local, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let length_changed = sync.length != peer.remote_length;
        let fork_changed = sync.fork != peer.remote_fork;
        let same_fork = sync.fork == local.fork();
        peer.remote_synced = true;
        peer.remote_fork = sync.fork;
        peer.remote_length = sync.length;
        peer.announced = 0;
        peer.remote_can_upgrade = sync.can_upgrade;
        peer.remote_uploading = sync.uploading;
        peer.remote_downloading = sync.downloading;
        peer.remote_has_manifest = sync.has_manifest;
        peer.remote_allow_push = sync.allow_push;
        if self.close_if_idle(id, local, now) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.length_acked = if same_fork { sync.remote_length } else { 0 };
        let has_more = sync.length > local.length() && peer.length_acked == local.length();
        self.update_fork(id, local, now);
        if has_more && self.options.eager_upgrade {
            self.upgrade(local);
        }
        if same_fork && length_changed {
            self.evaluate(id, local);
        } else if let Some(peer) = self.peers.get_mut(&id) {
            if fork_changed {
                peer.evaluating = None;
            }
            if same_fork && peer.evaluating.is_none() && peer.can_upgrade {
                peer.last_upgradable_fork = sync.fork;
                peer.last_upgradable_length = sync.length;
            }
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.needs_sync |= same_fork && local.length() > sync.length;
            if peer.needs_sync && peer.evaluating.is_none() {
                self.signal(id, local);
            }
        }
        self.remind_later(id, local, now);
        self.retry(id);
        self.update_peer(id, local, now);
    }

    pub(super) fn on_bitfield(
        &mut self,
        id: PeerId,
        message: &BitfieldWords,
        local: &dyn Local,
        now: Instant,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.blocks.bitfield(message.start, &message.words);
        self.retry(id);
        self.update_peer(id, local, now);
    }

    pub(super) fn on_range(&mut self, id: PeerId, range: Range, local: &dyn Local, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let grown = peer.blocks.range(range.drop, range.start, range.length);
        if let Some(length) = grown.filter(|_| peer.remote_fork == local.fork()) {
            self.actions.push_back(Action::Event(ReplicatorEvent::RemoteContiguousLength { length }));
        }
        if !range.drop {
            peer.announced = peer.announced.max(range.start.saturating_add(range.length));
            self.remind_soon(id, local, now);
            self.retry(id);
            self.update_peer(id, local, now);
        }
    }

    pub(super) fn on_no_data(&mut self, id: PeerId, refusal: NoData, local: &dyn Local, now: Instant) {
        match refusal.reason {
            NOT_AVAILABLE => self.count_detour(id, |detours| detours.not_available += 1),
            INVALID_REQUEST => self.count_detour(id, |detours| detours.refused += 1),
            _ => {}
        }
        if let Some(key) = self.requests.find(id, refusal.request) {
            self.answered(key, local);
            self.count_refusal(id, key, refusal.reason);
            if self.manifest_peer == Some(id) {
                self.manifest_peer = None;
            }
            self.clear_request(key, local);
        }
        self.update_all(local, now);
    }

    /// Counts refusals of what the peer should have: many of them mean that asking again is no use.
    fn count_refusal(&mut self, id: PeerId, key: RequestKey, reason: u64) {
        let Some(request) = self.requests.get(key) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_overtaken =
            request.fork != peer.remote_fork || request.block.is_some_and(|block| !peer.blocks.has(block));
        if is_overtaken {
            return;
        }
        let count = match reason {
            INVALID_REQUEST => &mut peer.refused,
            _ => &mut peer.not_available,
        };
        *count += 1;
        peer.is_paused |= *count >= MAX_REFUSALS;
    }

    pub(super) fn on_data(&mut self, id: PeerId, data: Data, local: &dyn Local, now: Instant) {
        if data.request != 0 && data.proof.upgrade.is_none() {
            self.take_data(id, data, local, now);
            self.refill(id, local, now);
            return;
        }
        let key = self.requests.find(id, data.request);
        if self.exclusive.len() >= MAX_QUEUED {
            if let Some(key) = key {
                self.answered(key, local);
                self.clear_request(key, local);
            }
            return;
        }
        self.exclusive.push_back((id, data));
        self.next_exclusive(local, now);
    }

    /// Begins with data that has to be handled alone, unless some is being handled.
    fn next_exclusive(&mut self, local: &dyn Local, now: Instant) {
        while self.exclusive_busy.is_none()
            && let Some((id, data)) = self.exclusive.pop_front()
        {
            self.exclusive_busy = match is_claim(&data, local) {
                true => self.check_claim(id, data),
                false => self.take_data(id, data, local, now),
            };
        }
    }

    pub(super) fn exclusive_done(&mut self, ticket: ApplyTicket, local: &dyn Local, now: Instant) {
        if self.exclusive_busy.take_if(|busy| *busy == ticket).is_some() {
            self.next_exclusive(local, now);
        }
    }

    fn check_claim(&mut self, id: PeerId, data: Data) -> Option<ApplyTicket> {
        if !self.peers.contains_key(&id) || self.is_frozen {
            return None;
        }
        let proof = data.proof.clone();
        let ticket = self.begin(id, None, &proof, Some(data));
        self.actions.push_back(Action::CheckConflict { peer: id, ticket, proof });
        Some(ticket)
    }

    /// Answers [`Action::CheckConflict`].
    pub fn conflict_checked(
        &mut self,
        ticket: ApplyTicket,
        finding: ConflictFinding,
        local: &dyn Local,
        now: Instant,
    ) {
        let Some(applying) = self.take_applying(ticket) else { return };
        self.exclusive_busy.take_if(|busy| *busy == ticket);
        match finding {
            ConflictFinding::None => {
                if let Some(peer) = self.peers.get_mut(&applying.peer)
                    && core::mem::take(&mut peer.suspects_conflict)
                {
                    peer.is_paused = false;
                }
                if let Some(data) = applying.claim {
                    self.exclusive_busy = self.take_data(applying.peer, data, local, now);
                }
            }
            ConflictFinding::Bogus => {}
            ConflictFinding::Proven => self.freeze(local, now),
        }
        self.next_exclusive(local, now);
    }

    /// Hands data to the owner, if we asked for it or take pushes. Returns the ticket it got.
    fn take_data(&mut self, id: PeerId, data: Data, local: &dyn Local, now: Instant) -> Option<ApplyTicket> {
        let proof = data.proof;
        let key = self.requests.find(id, data.request);
        let is_reorg = proof.fork > local.fork();
        let peer = self.peers.get(&id)?;
        if self.is_frozen {
            return None;
        }
        let Some(key) = key else {
            let is_known = proof.block.as_ref().is_some_and(|block| {
                local.has(block.index) || self.blocks.get(block.index).is_some_and(|b| b.processing > 0)
            });
            let is_taken = if is_reorg {
                self.takes_fork(proof.fork, proof.upgrade.is_some())
            } else {
                self.options.allow_push
                    && proof.fork == local.fork()
                    && !(is_known && proof.upgrade.is_none())
            };
            if !is_taken || peer.unsolicited >= MAX_UNSOLICITED {
                return None;
            }
            if let Some(block) = proof.block.as_ref().filter(|_| !is_reorg) {
                self.mark(block.index);
            }
            return Some(self.hand_over(id, None, proof, is_reorg));
        };
        self.answered(key, local);
        let request = self.requests.get(key)?;
        let fits = if is_reorg {
            self.takes_fork(proof.fork, proof.upgrade.is_some())
        } else {
            (self.options.allow_push || is_answer(request, &proof)) && proof.fork == local.fork()
        };
        if !fits || is_empty(&proof) {
            // Nothing of use, over and over, is as good as a refusal, or asking would never end.
            if !is_reorg && proof.fork == local.fork() && !is_answer(request, &proof) {
                let block = request.block;
                self.blame_answer(id, block);
            } else {
                self.count_refusal(id, key, wire::NOT_AVAILABLE);
            }
            self.clear_request(key, local);
            self.update_all(local, now);
            return None;
        }
        let wait = now.duration_since(request.sent_at);
        if let Some(block) = &proof.block
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.pace.answered(block.value.len(), wait);
        }
        Some(self.hand_over(id, Some(key), proof, is_reorg))
    }

    fn hand_over(
        &mut self,
        id: PeerId,
        key: Option<RequestKey>,
        proof: Proof,
        is_reorg: bool,
    ) -> ApplyTicket {
        let ticket = self.begin(id, key, &proof, None);
        self.actions.push_back(match is_reorg {
            true => Action::CheckReorg { peer: id, ticket, proof },
            false => Action::Apply { peer: id, ticket, proof },
        });
        ticket
    }

    fn begin(
        &mut self,
        id: PeerId,
        key: Option<RequestKey>,
        proof: &Proof,
        claim: Option<Data>,
    ) -> ApplyTicket {
        let ticket = ApplyTicket(self.ticket());
        let block = proof.block.as_ref().map(|block| (block.index, block.value.clone()));
        if let Some((index, _)) = &block
            && let Some(block) = self.blocks.get_mut(*index)
        {
            block.processing += 1;
        }
        if key.is_none()
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.unsolicited += 1;
        }
        let bytes = stored_len(proof);
        self.applying_bytes += bytes;
        self.applying.insert(ticket, Applying { peer: id, key, fork: proof.fork, block, bytes, claim });
        ticket
    }

    pub(super) fn take_applying(&mut self, ticket: ApplyTicket) -> Option<Applying> {
        let applying = self.applying.remove(&ticket)?;
        self.applying_bytes -= applying.bytes;
        if let Some((index, _)) = &applying.block
            && let Some(block) = self.blocks.get_mut(*index)
        {
            block.processing = block.processing.saturating_sub(1);
        }
        if applying.key.is_none()
            && let Some(peer) = self.peers.get_mut(&applying.peer)
        {
            peer.unsolicited = peer.unsolicited.saturating_sub(1);
        }
        Some(applying)
    }

    /// Answers [`Action::Apply`]; [`Local`] shows what changed already.
    pub fn applied(
        &mut self,
        ticket: ApplyTicket,
        result: Result<Applied, ApplyError>,
        local: &dyn Local,
        now: Instant,
    ) {
        let was_full = self.is_applying_much();
        let Some(applying) = self.take_applying(ticket) else { return };
        match result {
            Ok(applied) => self.data_applied(&applying, applied, local, now),
            Err(error) => {
                self.blame(&applying, error, local);
                if let Some(key) = applying.key {
                    self.clear_request(key, local);
                } else if let Some((index, _)) = applying.block {
                    self.unmark(index, local);
                }
                self.update_all(local, now);
            }
        }
        self.exclusive_done(ticket, local, now);
        if was_full {
            self.update_all(local, now);
        }
    }

    fn data_applied(&mut self, applying: &Applying, applied: Applied, local: &dyn Local, now: Instant) {
        let id = applying.peer;
        if applied.upgraded || applied.manifest {
            self.head_changed(local);
        }
        if let Some((index, value)) = &applying.block {
            let index = *index;
            if applied.block {
                let request = applying.key.and_then(|key| self.requests.get(key));
                let elapsed = request.map(|request| now.duration_since(request.sent_at));
                if let Some(key) = applying.key {
                    self.blocks.finished(index, key);
                }
                self.resolve_block(index, &Resolution::Block(value.clone()), local);
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.not_available = 0;
                }
                let byte_length = value.len() as u64;
                let event = ReplicatorEvent::Download { peer: id, index, byte_length, elapsed };
                self.actions.push_back(Action::Event(event));
                self.gained(index, index.saturating_add(1), local);
                self.announce_all(index, 1, false, local);
                self.evaluate_whole(local);
            } else if applying.key.is_none() {
                self.unmark(index, local);
            }
        }
        if let Some(key) = applying.key {
            self.clear_request(key, local);
        }
        if self.manifest_peer == Some(id) && local.has_manifest() {
            self.manifest_peer = None;
        }
        self.search_seeks();
        if applied.upgraded || applied.manifest {
            self.update_all(local, now);
        }
        self.update_peer(id, local, now);
        self.evaluate_again(id, local);
    }

    /// Draws the consequences for a peer whose data was not applied.
    pub(super) fn blame(&mut self, applying: &Applying, error: ApplyError, local: &dyn Local) {
        let allow_push = self.options.allow_push;
        let Some(peer) = self.peers.get_mut(&applying.peer) else { return };
        match error {
            ApplyError::Stale | ApplyError::Closed => return,
            ApplyError::Storage => {
                peer.is_paused = true;
                return;
            }
            ApplyError::Malformed | ApplyError::Invalid => {}
        }
        peer.invalid_data += 1;
        let is_reorg = applying.fork != local.fork();
        peer.is_paused |= !allow_push || is_reorg;
        if error == ApplyError::Invalid && !is_reorg {
            self.suspect_conflict(applying.peer, local);
        }
        let block = applying.block.as_ref().map(|(index, _)| *index);
        let event = ReplicatorEvent::VerificationError { peer: applying.peer, error, block };
        self.actions.push_back(Action::Event(event));
    }

    /// Leaves a peer alone that answers what it was not asked, once too often.
    fn blame_answer(&mut self, id: PeerId, block: Option<u64>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.refused += 1;
        if peer.refused < MAX_REFUSALS {
            return;
        }
        peer.invalid_data += 1;
        peer.is_paused = true;
        let error = ApplyError::Malformed;
        self.actions.push_back(Action::Event(ReplicatorEvent::VerificationError { peer: id, error, block }));
    }

    /// Asks every peer for the head of the same length, to compare with ours or to repair it.
    pub fn ask_heads(&mut self, local: &dyn Local) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let upgrade = Some(UpgradeRequest { start: 0, length: local.length() });
            let what = ProofRequest { upgrade, ..ProofRequest::default() };
            self.send(peer, Message::Request(wire::Request { id: 0, fork: local.fork(), what, priority: 0 }));
        }
    }

    /// Asks a peer whose data does not fit for its signed head, to compare it with ours.
    fn suspect_conflict(&mut self, id: PeerId, local: &dyn Local) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_paused = true;
        let length = local.length().min(peer.remote_length);
        if length == 0 {
            return;
        }
        peer.suspects_conflict = true;
        let upgrade = Some(UpgradeRequest { start: 0, length });
        let what = ProofRequest { upgrade, ..ProofRequest::default() };
        let fork = peer.remote_fork;
        self.send(id, Message::Request(wire::Request { id: 0, fork, what, priority: 0 }));
    }
}

/// Whether data may be the signed head of another history.
fn is_claim(data: &Data, local: &dyn Local) -> bool {
    data.request == 0
        && data.proof.fork == local.fork()
        && local.has_manifest()
        && data.proof.upgrade.as_ref().is_some_and(|upgrade| {
            upgrade.start == 0 && upgrade.length > 0 && upgrade.length <= local.length()
        })
}

fn is_answer(request: &Request, proof: &Proof) -> bool {
    request.fork == proof.fork
        && proof.block.as_ref().is_none_or(|block| request.block == Some(block.index))
        && proof.hash.as_ref().is_none_or(|hash| request.hash == Some(hash.index))
        && proof.seek.as_ref().is_none_or(|seek| request.seek == Some(seek.bytes))
        && (proof.upgrade.is_none() || request.upgrade)
}

fn is_empty(proof: &Proof) -> bool {
    proof.block.is_none()
        && proof.hash.is_none()
        && proof.seek.is_none()
        && proof.upgrade.is_none()
        && proof.manifest.is_none()
}

/// Refusals of one kind, without a block in between, after which a peer is left alone. Source: `lib/replicator.js`, `MAX_BACKOFFS`.
const MAX_REFUSALS: u32 = 32;

/// Data with upgrades that waits its turn, over all peers; what does not fit is dropped.
pub(super) const MAX_QUEUED: usize = 256;

/// Pushes of one peer that are being applied at once; more are dropped.
const MAX_UNSOLICITED: u32 = 64;
