//! Deciding what to ask of whom.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `updatePeer`, `updateAll` and the `_request` methods.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hypercore::bitfield::Bitfield;
use crate::hypercore::proof::{BlockRequest, ProofRequest, UpgradeRequest};
use crate::time::{Duration, Instant};

use super::requests::{Request, RequestKey};
use super::types::{Local, PeerId, Resolution};
use super::wants::Holder;
use super::{MAX_APPLYING, MAX_APPLYING_BYTES, Replicator, wire};

/// A request that is being put together.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) request: Request,
    pub(super) what: ProofRequest,
    pub(super) priority: u8,
}

impl Replicator {
    /// Asks a peer for whatever it can be asked for.
    pub(super) fn update_peer(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        if self.applying_reorg.is_some() {
            return;
        }
        while self.update_primary(id, local, now) {}
        let asks_ranges = self.has_much_room(id);
        while self.update_secondary(id, asks_ranges, local, now) {}
        if self.peers.len() > 1 && !self.blocks.is_empty() {
            self.update_hotswap(id, local, now);
        }
        self.check_upgrade(local);
    }

    /// Asks all peers, or some at once and all a little later when there are many.
    pub(super) fn update_all(&mut self, local: &dyn Local, now: Instant) {
        if self.peers.len() < MANY_PEERS {
            self.update_every_peer(usize::MAX, local, now);
            return;
        }
        self.update_every_peer(MANY_PEERS, local, now);
        if self.update_all_at.is_none() {
            let above = u32::try_from(self.peers.len() - MANY_PEERS).unwrap_or(u32::MAX);
            let delay = UPDATE_ALL_STEP.saturating_mul(above).clamp(UPDATE_ALL_MIN, UPDATE_ALL_MAX);
            self.update_all_at = Some(now + delay);
        }
    }

    /// Asks up to `limit` peers, turn by turn from a random one on.
    pub(super) fn update_every_peer(&mut self, limit: usize, local: &dyn Local, now: Instant) {
        if self.applying_reorg.is_some() {
            return;
        }
        let count = self.order.len();
        let offset = self.random.below(count as u64) as usize;
        let peers = self.order.iter().cycle().skip(offset).take(count.min(limit));
        let peers: Vec<PeerId> = peers.copied().collect();
        let mut turns: VecDeque<PeerId> = peers.iter().copied().collect();
        while let Some(id) = turns.pop_front() {
            if self.update_primary(id, local, now) {
                turns.push_back(id);
            }
        }
        if self.needs_upgrade_request() || !self.ranges.is_empty() || !self.searches.is_empty() {
            turns.extend(peers);
            while let Some(id) = turns.pop_front() {
                if self.update_secondary(id, true, local, now) {
                    turns.push_back(id);
                }
            }
        }
        self.check_upgrade(local);
    }

    /// Something changed that lets a peer answer what it could not before.
    pub(super) fn retry(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.tried = 0;
        }
    }

    pub(super) fn retry_all(&mut self) {
        for peer in self.peers.values_mut() {
            peer.tried = 0;
        }
    }

    fn has_room(&self, id: PeerId) -> bool {
        if self.is_frozen || self.is_applying_much() {
            return false;
        }
        self.peers.get(&id).is_some_and(|peer| {
            let most = peer.max_in_flight(&self.options);
            !peer.is_paused && peer.remote_uploading && peer.in_flight < most
        })
    }

    /// Whether so many answers came that asking for what ranges want next is worth a message: one for each answer keeps both ends and
    /// what is between them busier than the blocks do.
    fn has_much_room(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(|peer| {
            let most = peer.max_in_flight(&self.options);
            peer.in_flight + most / STEPS <= most
        })
    }

    /// Asks for more when answers came that are not stored yet: while a slow disk writes, the link does not wait.
    pub(super) fn refill(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        if self.has_much_room(id) {
            self.update_peer(id, local, now);
        }
    }

    pub(super) fn is_applying_much(&self) -> bool {
        self.applying.len() >= MAX_APPLYING || self.applying_bytes >= MAX_APPLYING_BYTES
    }

    /// Asks for one thing that somebody waits for. Returns whether there may be more.
    fn update_primary(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        if !self.has_room(id) {
            return false;
        }
        let Some(peer) = self.peers.get(&id) else { return false };
        if self.manifest_peer.is_none() && peer.remote_length == 0 && self.wants_manifest(peer, local) {
            self.manifest_peer = Some(id);
            if let Some(draft) = self.draft(id, false, 0, local, now) {
                self.send_request(draft, local);
            }
        }
        if !self.seeks.is_empty() && self.request_seeks(id, local, now) {
            return true;
        }
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return false };
            let Some((number, index)) = self.blocks.next_queued(peer.tried) else { return false };
            if self.request_block(id, index, local, now) {
                return true;
            }
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.tried = number + 1;
            }
        }
    }

    /// Asks for one thing that can wait. Returns whether there may be more.
    fn update_secondary(&mut self, id: PeerId, asks_ranges: bool, local: &dyn Local, now: Instant) -> bool {
        self.has_room(id)
            && ((asks_ranges && self.request_ranges(id, local, now))
                || self.request_searches(id, local, now)
                || (self.needs_upgrade_request() && self.request_upgrade(id, local, now)))
    }

    /// Asks an idle peer for blocks that others were asked for already.
    fn update_hotswap(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        let idle = |this: &Self| {
            this.has_room(id)
                && this.peers.get(&id).is_some_and(|peer| peer.in_flight < peer.max_hotswap(&this.options))
        };
        if !idle(self) {
            return;
        }
        for index in self.blocks.hotswap_candidates(&mut self.random) {
            let Some(block) = self.blocks.get(index) else { continue };
            let is_asked = |key: &RequestKey| self.requests.get(*key).is_none_or(|sent| sent.peer == id);
            if block.processing > 0 || block.in_flight.iter().any(is_asked) {
                continue;
            }
            if self.request_block(id, index, local, now) {
                self.count_detour(id, |detours| detours.hotswaps += 1);
                if !idle(self) {
                    return;
                }
            }
        }
    }

    /// Starts a request, with an upgrade when that is needed or due. `None` when it is needed and cannot
    /// be had, or when the peer did not announce `min_length`.
    pub(super) fn draft(
        &self,
        id: PeerId,
        needs_upgrade: bool,
        min_length: u64,
        local: &dyn Local,
        now: Instant,
    ) -> Option<Draft> {
        let peer = self.peers.get(&id)?;
        let can_upgrade = self.should_upgrade(id, peer, local);
        if (needs_upgrade && !can_upgrade) || peer.remote_length < min_length {
            return None;
        }
        let is_due = self.upgrade.is_some() && peer.remote_fork == local.fork() && !self.push_only;
        let mut request = Request::new(id, peer.remote_fork, now);
        let mut what = ProofRequest { manifest: self.wants_manifest(peer, local), ..ProofRequest::default() };
        if can_upgrade && (needs_upgrade || is_due) {
            request.upgrade = true;
            let (start, length) = (local.length(), peer.remote_length - local.length());
            what.upgrade = Some(UpgradeRequest { start, length });
        }
        Some(Draft { request, what, priority: 0 })
    }

    pub(super) fn send_request(&mut self, draft: Draft, local: &dyn Local) -> RequestKey {
        let Draft { request, mut what, priority } = draft;
        let (id, fork) = (request.peer, request.fork);
        let is_ours = fork == local.fork();
        let now = request.sent_at;
        if let Some(block) = what.block.as_mut().filter(|_| is_ours) {
            block.nodes = local.missing_nodes(block.index.saturating_mul(2));
        }
        let is_upgrade = request.upgrade && is_ours;
        let empty = Default::default();
        let cancelled = self.peers.get(&id).map_or(&empty, |peer| &peer.cancelled);
        let key = self.requests.start(request, cancelled);
        if is_upgrade {
            self.upgrade_requested(key, local, now);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.in_flight += 1;
        }
        let id_on_wire = self.requests.get(key).map_or(0, |request| request.id);
        let request = wire::Request { id: id_on_wire, fork, what, priority: priority.into() };
        self.send(id, wire::Message::Request(request));
        key
    }

    pub(super) fn send_block_request(&mut self, mut draft: Draft, index: u64, local: &dyn Local) {
        draft.request.block = Some(index);
        draft.what.block = Some(BlockRequest { index, nodes: 0 });
        draft.priority = self.blocks.get(index).map_or(0, |block| block.priority);
        let key = self.send_request(draft, local);
        self.blocks.requested(index, key);
        self.mark(index);
    }

    /// Whether a block may be asked of a peer, as far as heads go.
    pub(super) fn can_request(&self, id: PeerId, index: u64, force: bool, local: &dyn Local) -> bool {
        (force || !self.push_only) && self.peers.get(&id).is_some_and(|peer| peer.fits(index, local))
    }

    fn request_block(&mut self, id: PeerId, index: u64, local: &dyn Local, now: Instant) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let force = self.blocks.get(index).is_some_and(|block| block.force);
        if !peer.blocks.has(index) || peer.remote_fork != local.fork() {
            if !local.has(index) {
                self.want(id, index, Holder::Block(index));
            }
            return false;
        }
        if !self.can_request(id, index, force, local) {
            return false;
        }
        let min_length = index.saturating_add(1);
        let Some(draft) = self.draft(id, index >= local.length(), min_length, local, now) else {
            return false;
        };
        self.send_block_request(draft, index, local);
        true
    }

    /// Asks which blocks around `index` a peer has, unless that is known.
    pub(super) fn want(&mut self, id: PeerId, index: u64, holder: Holder) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if index < peer.blocks.contiguous_length() {
            return;
        }
        if let Holder::Block(block) = holder
            && let Some(block) = self.blocks.get_mut(block)
        {
            block.is_wanted = true;
        }
        let Some((unwant, want)) = peer.wants.add(index, holder) else { return };
        if let Some(unwant) = unwant {
            self.send(id, wire::Message::Unwant(unwant));
        }
        self.send(id, wire::Message::Want(want));
    }

    /// Asks for any one block of a range that a peer has, instead of what the holder asked for before.
    pub(super) fn want_any(&mut self, id: PeerId, start: u64, length: u64, holder: Holder) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let unwants = peer.wants.remove_any(holder, Some((start, length)));
        let is_known = start.saturating_add(length) <= peer.blocks.contiguous_length();
        let want = if is_known { None } else { peer.wants.add_any(start, length, holder) };
        for unwant in unwants {
            self.send(id, wire::Message::Unwant(unwant));
        }
        if let Some(want) = want {
            self.send(id, wire::Message::Want(want));
        }
    }

    /// Lets go of what a holder wants to hear of, everywhere.
    pub(super) fn release(&mut self, holder: Holder) {
        for id in self.order.clone() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if match holder {
                Holder::Block(index) => peer.wants.remove(index, holder),
                _ => peer.wants.remove_all(holder),
            } {
                peer.tried = 0;
            }
            for unwant in peer.wants.remove_any(holder, None) {
                self.send(id, wire::Message::Unwant(unwant));
            }
        }
    }

    /// Returns the blocks not to ask for, made from the local ones the first time.
    pub(super) fn ensure_skip(&mut self, local: &dyn Local) {
        if self.skip.is_some() {
            return;
        }
        let mut skip: Bitfield = local.bitfield().clone();
        for index in self.blocks.between(0, u64::MAX) {
            if self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty()) {
                skip.set(index, true);
            }
        }
        self.skip = Some(skip);
        for peer in self.peers.values_mut() {
            peer.blocks.touch(0, u64::MAX);
        }
    }

    /// Keeps a block from being asked for again.
    pub(super) fn mark(&mut self, index: u64) {
        if let Some(skip) = &mut self.skip {
            skip.set(index, true);
        }
        for peer in self.peers.values_mut() {
            peer.blocks.skip(index, true);
        }
    }

    /// Lets a block be asked for again, unless it is stored or in flight elsewhere.
    pub(super) fn unmark(&mut self, index: u64, local: &dyn Local) {
        if self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty()) {
            return;
        }
        let skip = local.has(index);
        if let Some(field) = &mut self.skip {
            field.set(index, skip);
        }
        for peer in self.peers.values_mut() {
            peer.blocks.skip(index, skip);
        }
        if !skip {
            self.ranges.requeue(index);
        }
    }

    /// Everything that waited for a request may be asked for again.
    pub(super) fn clear_request(&mut self, key: RequestKey, local: &dyn Local) {
        let Some(request) = self.requests.forget(key) else { return };
        if let Some(index) = request.block {
            if self.blocks.finished(index, key)
                && let Some(block) = self.blocks.get(index)
                && block.in_flight.is_empty()
            {
                if !block.waiting.is_empty() {
                    self.blocks.enqueue(index);
                } else if block.processing == 0 {
                    self.forget_block(index);
                }
            }
            self.unmark(index, local);
        }
        if let Some(block) = request.hash.map(|index| index / 2)
            && self.hashes.get(&block) == Some(&key)
        {
            self.hashes.remove(&block);
        }
        if request.upgrade {
            self.upgrade_request_done(key);
        }
        if let Some(seek) = request.seek_wish.and_then(|wish| self.seeks.get_mut(&wish)) {
            seek.in_flight.take_if(|sent| *sent == key);
        }
        if let Some(search) = request.reorg.and_then(|fork| self.searches.get_mut(&fork)) {
            search.in_flight.take_if(|sent| *sent == key);
        }
    }

    /// Notes that a request is answered, or will never be. Its effects are cleared separately.
    pub(super) fn answered(&mut self, key: RequestKey, local: &dyn Local) {
        let Some(id) = self.requests.get(key).map(|request| request.peer) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if self.requests.answered(key, &mut peer.cancelled) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            self.request_over(local);
        }
    }

    /// Takes a request back.
    pub(super) fn cancel_request(&mut self, key: RequestKey, local: &dyn Local) {
        let Some(id) = self.requests.get(key).map(|request| request.peer) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some(request) = self.requests.cancelled(key, &mut peer.cancelled) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            self.send(id, wire::Message::Cancel { request });
            self.clear_request(key, local);
            self.request_over(local);
        }
    }

    fn request_over(&mut self, local: &dyn Local) {
        if !self.is_downloading() {
            self.signal_all(local);
        }
    }

    /// Hands a block to all who wait for it and takes back the requests that are still out.
    pub(super) fn resolve_block(&mut self, index: u64, value: &Resolution, local: &dyn Local) {
        let Some(block) = self.blocks.remove(index) else { return };
        for waiting in block.waiting {
            self.resolve(waiting.id, value.clone());
        }
        for key in block.in_flight {
            self.cancel_request(key, local);
        }
        if block.is_wanted {
            self.release(Holder::Block(index));
        }
    }

    /// Drops a block that nobody waits for any more, with its requests.
    pub(super) fn drop_block(&mut self, index: u64, local: &dyn Local) {
        let Some(block) = self.blocks.remove(index) else { return };
        for key in block.in_flight {
            self.cancel_request(key, local);
        }
        self.unmark(index, local);
        if block.is_wanted {
            self.release(Holder::Block(index));
        }
    }

    /// Drops a block that nobody waits for and that nobody was asked for.
    pub(super) fn forget_block(&mut self, index: u64) {
        if let Some(block) = self.blocks.remove(index)
            && block.is_wanted
        {
            self.release(Holder::Block(index));
        }
    }
}

/// The share of requests in flight that ranges ask for at a time: one part in this many.
const STEPS: u32 = 8;

/// Source: `lib/replicator.js`, `MIN_PEER_UPDATE_ALL` and `getUpdateAllDelay`.
const MANY_PEERS: usize = 40;
const UPDATE_ALL_STEP: Duration = Duration::from_millis(5);
const UPDATE_ALL_MIN: Duration = Duration::from_millis(100);
const UPDATE_ALL_MAX: Duration = Duration::from_secs(3);
