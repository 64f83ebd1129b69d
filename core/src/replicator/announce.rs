//! Telling peers what we have, and answering what they want to know.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `broadcastRange`, `sendSync` and `_onwant`.

use crate::time::Instant;

use super::types::{Action, Local, PeerId};
use super::wire::{BitfieldWords, Message, Range, Sync, Want};
use super::{Replicator, Resolution, WishError};

impl Replicator {
    /// Announces our head to a peer, once nothing about it is being looked up.
    pub(super) fn send_sync(&mut self, id: PeerId, local: &dyn Local) {
        let (downloading, allow_push) = (self.is_downloading(), self.allows_push());
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.evaluating.is_some() {
            peer.needs_sync = true;
            return;
        }
        let same_fork = local.fork() == peer.remote_fork;
        peer.can_upgrade &= same_fork;
        peer.needs_sync = false;
        let sync = Sync {
            fork: local.fork(),
            length: local.length(),
            remote_length: if same_fork { peer.remote_length } else { 0 },
            can_upgrade: peer.can_upgrade,
            uploading: true,
            downloading,
            has_manifest: local.has_manifest() && !local.is_compat(),
            allow_push,
        };
        self.send(id, Message::Sync(sync));
    }

    /// Announces our head after something about it changed.
    pub(super) fn signal(&mut self, id: PeerId, local: &dyn Local) {
        if self.peers.get(&id).is_some_and(|peer| peer.should_evaluate(local)) {
            self.evaluate(id, local);
        }
        self.send_sync(id, local);
    }

    pub(super) fn signal_all(&mut self, local: &dyn Local) {
        for id in self.order.clone() {
            self.signal(id, local);
        }
    }

    /// Finds out whether we can prove an upgrade from a peer's length, now or later.
    pub(super) fn evaluate(&mut self, id: PeerId, local: &dyn Local) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let length = peer.remote_length;
        peer.evaluating = None;
        let answer = if peer.remote_fork != local.fork() {
            Some(false)
        } else if length == 0 {
            Some(true)
        } else if length >= local.length() {
            Some(false)
        } else {
            local.can_upgrade_from(length)
        };
        match answer {
            Some(can_upgrade) => self.evaluated(id, can_upgrade),
            None => {
                peer.evaluating = Some((peer.remote_fork, length));
                self.actions.push_back(Action::CanUpgrade { peer: id, length });
            }
        }
    }

    /// Tells a peer when we can prove it more after all.
    pub(super) fn evaluate_again(&mut self, id: PeerId, local: &dyn Local) {
        if self.peers.get(&id).is_some_and(|peer| peer.should_evaluate(local)) {
            self.evaluate(id, local);
            if self.peers.get(&id).is_some_and(|peer| peer.can_upgrade) {
                self.send_sync(id, local);
            }
        }
    }

    fn evaluated(&mut self, id: PeerId, can_upgrade: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.can_upgrade = can_upgrade;
        if can_upgrade {
            peer.last_upgradable_fork = peer.remote_fork;
            peer.last_upgradable_length = peer.remote_length;
        }
    }

    /// Answers [`Action::CanUpgrade`].
    pub fn can_upgrade(
        &mut self,
        id: PeerId,
        length: u64,
        can_upgrade: bool,
        local: &dyn Local,
        now: Instant,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some((fork, _)) = peer.evaluating.take_if(|(_, asked)| *asked == length) else { return };
        if fork == local.fork() && fork == peer.remote_fork {
            let before = peer.can_upgrade;
            let can_upgrade = can_upgrade && length < local.length();
            let needs_sync = peer.needs_sync || before != can_upgrade;
            self.evaluated(id, can_upgrade);
            if needs_sync {
                self.send_sync(id, local);
            }
        } else {
            self.signal(id, local);
        }
        self.retry(id);
        self.update_peer(id, local, now);
    }

    /// Tells every peer of blocks that were gained or dropped.
    pub(super) fn announce_all(&mut self, start: u64, length: u64, drop: bool, local: &dyn Local) {
        for at in 0..self.order.len() {
            if let Some(&id) = self.order.get(at) {
                self.announce(id, start, length, drop, local);
            }
        }
    }

    /// Tells a peer of blocks that were gained or dropped, unless it knows or does not care.
    pub(super) fn announce(
        &mut self,
        id: PeerId,
        mut start: u64,
        mut length: u64,
        drop: bool,
        local: &dyn Local,
    ) {
        if !self.is_active(id) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if drop {
            peer.full_signaled = peer.full_signaled.min(start);
        } else {
            let is_full = local.contiguous_length() == local.length();
            let is_tail = start.saturating_add(ALWAYS_TOLD) >= local.length();
            if !is_tail && !is_full && !peer.remote_wants.overlaps(start, length) {
                return;
            }
            if is_full {
                (start, length) = (0, local.length());
                if peer.full_signaled >= length {
                    return;
                }
                peer.full_signaled = length;
            } else if peer.blocks.has_all(start, start.saturating_add(length)) {
                return;
            }
        }
        self.send(id, Message::Range(Range { drop, start, length }));
    }

    pub(super) fn on_want(&mut self, id: PeerId, want: Want, local: &dyn Local) {
        let is_active = self.is_active(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.remote_wants.add(want) || !is_active {
            return;
        }
        if peer.serving.is_drained && !peer.serving.owes_wants() {
            self.answer_want(id, want, local);
        } else {
            peer.serving.defer_want(want);
        }
    }

    pub(super) fn on_unwant(&mut self, id: PeerId, want: Want) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.remote_wants.remove(want);
            peer.serving.forget_want(want);
        }
    }

    pub(super) fn answer_want(&mut self, id: PeerId, want: Want, local: &dyn Local) {
        let contiguous = local.contiguous_length().min(local.length());
        let end = want.start.saturating_add(want.length);
        let range = |start, length| Message::Range(Range { drop: false, start, length });
        if end < contiguous || contiguous == local.length() || (want.any && want.start < contiguous) {
            self.send(id, range(0, contiguous));
            return;
        }
        let end = end.min(local.length());
        if want.start >= end {
            return;
        }
        if want.any {
            if let Some(block) = local.bitfield().first_set(want.start).filter(|&block| block < end) {
                self.send(id, range(block, 1));
            }
            return;
        }
        for answer in local.bitfield().want(want.start, end - want.start) {
            let (start, words) = (answer.start, answer.words);
            self.send(id, Message::Bitfield(BitfieldWords { start, words }));
        }
    }

    /// Notes that the blocks `start..end` are stored now, however that came.
    pub(super) fn gained(&mut self, start: u64, end: u64, local: &dyn Local) {
        if let Some(skip) = &mut self.skip {
            skip.set_range(start, end, true);
        }
        for peer in self.peers.values_mut() {
            if end - start == 1 {
                peer.blocks.skip(start, true);
            } else {
                peer.blocks.touch(start, end);
            }
        }
        for index in self.blocks.between(start, end) {
            self.resolve_block(index, &Resolution::Local, local);
        }
        self.range_gained(start, end, local);
    }

    /// Tells peers when we can prove them more: with the last block come the last nodes that anybody may need.
    pub(super) fn evaluate_whole(&mut self, local: &dyn Local) {
        if local.contiguous_length() == local.length() {
            for id in self.order.clone() {
                self.evaluate_again(id, local);
            }
        }
    }

    /// Notes that the blocks `start..end` are not stored any more.
    pub(super) fn lost(&mut self, start: u64, end: u64) {
        if let Some(skip) = &mut self.skip {
            skip.set_range(start, end, false);
            for index in self.blocks.between(start, end) {
                if self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty()) {
                    skip.set(index, true);
                }
            }
        }
        for peer in self.peers.values_mut() {
            peer.blocks.touch(start, end);
        }
    }

    /// Notes that the log was cut from `old_length` to `length` blocks.
    pub(super) fn truncated(&mut self, length: u64, old_length: u64, local: &dyn Local) {
        for index in self.blocks.between(length, u64::MAX) {
            let Some(block) = self.blocks.get_mut(index) else { continue };
            let (rejected, kept) = block.waiting.iter().partition(|waiting| waiting.snapshot);
            block.waiting = kept;
            let rejected: alloc::vec::Vec<super::blocks::Waiting> = rejected;
            for waiting in rejected {
                self.reject(waiting.id, WishError::SnapshotNotAvailable);
            }
        }
        for peer in self.peers.values_mut() {
            peer.full_signaled = peer.full_signaled.min(length);
        }
        self.lost(length, old_length);
        if old_length > length {
            self.announce_all(length, old_length - length, true, local);
        }
    }

    /// Notes a new length, fork or manifest.
    pub(super) fn head_changed(&mut self, local: &dyn Local) {
        for peer in self.peers.values_mut() {
            peer.blocks.local_length(local.length());
        }
        self.signal_all(local);
        // After the sync, so that nobody takes the refusals for lost blocks.
        self.cancel_old_proofs(local);
        self.reset_reminder();
        self.retry_all();
        self.resolve_upgrade(local);
        self.search_seeks();
        self.check_ranges(local);
    }
}

/// Blocks at the end of a log that are always announced. Source: `lib/replicator.js`, `LAST_BLOCKS`.
const ALWAYS_TOLD: u64 = 256;
