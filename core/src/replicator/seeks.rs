//! Finding the block that a byte is in when the nodes on the way are not stored.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `SeekRequest` and `_requestSeek`.

use alloc::vec::Vec;

use crate::flat_tree;
use crate::hypercore::proof::{HashRequest, SeekRequest};
use crate::time::Instant;

use super::Replicator;
use super::requests::RequestKey;
use super::types::{Action, Local, PeerId, Resolution, SeekStep, SeekWish, WishId};
use super::wants::Holder;

/// A byte that somebody looks for.
#[derive(Debug)]
pub(super) struct Seek {
    wish: SeekWish,
    pub(super) in_flight: Option<RequestKey>,
    /// The owner searches the local tree.
    is_searching: bool,
    /// More nodes arrived meanwhile.
    search_again: bool,
}

impl Seek {
    pub(super) fn new(wish: SeekWish) -> Self {
        Self { wish, in_flight: None, is_searching: false, search_again: false }
    }
}

impl Replicator {
    /// Has every seek try again locally: nodes arrived.
    pub(super) fn search_seeks(&mut self) {
        for (&id, seek) in &mut self.seeks {
            if seek.is_searching {
                seek.search_again = true;
                continue;
            }
            seek.is_searching = true;
            let SeekWish { bytes, padding, .. } = seek.wish;
            self.actions.push_back(Action::Seek { id, bytes, padding });
        }
    }

    /// Answers [`Action::Seek`].
    pub fn sought(&mut self, id: WishId, step: SeekStep, local: &dyn Local, now: Instant) {
        let Some(seek) = self.seeks.get_mut(&id) else { return };
        seek.is_searching = false;
        match step {
            SeekStep::Found { block, offset } => {
                self.drop_seek(id);
                self.resolve(id, Resolution::Seek { block, offset });
            }
            SeekStep::Narrowed { start, end } => {
                seek.wish.start = start;
                seek.wish.end = end;
                if core::mem::take(&mut seek.search_again) {
                    seek.is_searching = true;
                    let SeekWish { bytes, padding, .. } = seek.wish;
                    self.actions.push_back(Action::Seek { id, bytes, padding });
                }
            }
        }
        self.update_all(local, now);
    }

    pub(super) fn drop_seek(&mut self, id: WishId) {
        if self.seeks.remove(&id).is_some() {
            self.release(Holder::Wish(id));
        }
    }

    pub(super) fn request_seeks(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        let idle = self.seeks.iter().filter(|(_, seek)| seek.in_flight.is_none() && !seek.is_searching);
        let idle: Vec<(WishId, SeekWish)> = idle.map(|(id, seek)| (*id, seek.wish)).collect();
        idle.into_iter().any(|(wish_id, wish)| self.request_seek(id, wish_id, wish, local, now))
    }

    fn request_seek(
        &mut self,
        id: PeerId,
        wish_id: WishId,
        wish: SeekWish,
        local: &dyn Local,
        now: Instant,
    ) -> bool {
        if self.push_only || self.peers.get(&id).is_none_or(|peer| peer.remote_fork != local.fork()) {
            return false;
        }
        let mut hash = None;
        if wish.start < local.length() {
            let Some(index) = self.pick_block(id, wish, local) else {
                self.want_any(id, wish.start, wish.end.saturating_sub(wish.start), Holder::Wish(wish_id));
                return false;
            };
            let nodes = flat_tree::depth(wish.start.saturating_add(wish.end).saturating_sub(1)).into();
            hash = Some((index, HashRequest { index: index.saturating_mul(2), nodes }));
        }
        let min_length = hash.map_or(0, |(index, _)| index + 1);
        let Some(mut draft) = self.draft(id, hash.is_none(), min_length, local, now) else { return false };
        draft.request.seek_wish = Some(wish_id);
        draft.request.seek = Some(wish.bytes);
        draft.request.hash = hash.map(|(_, hash)| hash.index);
        draft.what.hash = hash.map(|(_, hash)| hash);
        if self.peers.get(&id).is_some_and(|peer| peer.remote_seeks) {
            draft.what.seek = Some(SeekRequest { bytes: wish.bytes, padding: wish.padding });
        }
        let key = self.send_request(draft, local);
        if let Some((index, _)) = hash {
            self.hashes.insert(index, key);
        }
        if let Some(seek) = self.seeks.get_mut(&wish_id) {
            seek.in_flight = Some(key);
        }
        true
    }

    /// Picks a block among those sought that the peer has, we lack, and nobody is asked for.
    fn pick_block(&mut self, id: PeerId, wish: SeekWish, local: &dyn Local) -> Option<u64> {
        self.ensure_skip(local);
        let end = wish.end.min(local.length());
        let offset = wish.start + self.random.below(end.saturating_sub(wish.start));
        let skip = self.skip.as_ref()?;
        let blocks = &mut self.peers.get_mut(&id)?.blocks;
        let mut picked = None;
        for (mut from, to) in [(offset, end), (wish.start, offset)] {
            for _ in 0..MAX_TRIES {
                let Some(index) = blocks.next_missing(from, to, skip) else { break };
                if !self.hashes.contains_key(&index) {
                    picked = Some(index);
                    break;
                }
                from = index + 1;
            }
            if picked.is_some() {
                break;
            }
        }
        picked.filter(|&index| self.can_request(id, index, false, local))
    }
}

/// Blocks whose hash is in flight already that are passed over before giving up for the moment.
const MAX_TRIES: usize = 32;
