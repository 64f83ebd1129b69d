//! Growing to a longer head, and telling who waits for that.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `UpgradeRequest`, `_shouldUpgrade` and
//! `_checkUpgradeIfAvailable`.

use alloc::vec::Vec;

use crate::time::{Duration, Instant};

use super::Replicator;
use super::peer::Peer;
use super::requests::RequestKey;
use super::types::{Local, PeerId, Resolution, WishError, WishId};

/// The wish for a head other than this one.
#[derive(Debug)]
pub(super) struct Upgrade {
    fork: u64,
    length: u64,
    pub(super) waiting: Vec<WishId>,
    pub(super) in_flight: Vec<RequestKey>,
    /// When whoever was asked last has had long enough.
    pub(super) patient_until: Option<Instant>,
    /// All who were asked have had long enough: another one may be asked too.
    pub(super) is_overdue: bool,
}

impl Replicator {
    /// Returns the pending upgrade, starting one from the current head when there is none.
    pub(super) fn upgrade(&mut self, local: &dyn Local) -> &mut Upgrade {
        self.upgrade.get_or_insert_with(|| Upgrade {
            fork: local.fork(),
            length: local.length(),
            waiting: Vec::new(),
            in_flight: Vec::new(),
            patient_until: None,
            is_overdue: false,
        })
    }

    /// Whether an upgrade is wanted and nobody was asked for it, or nobody who answers.
    pub(super) fn needs_upgrade_request(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.in_flight.is_empty() || upgrade.is_overdue)
    }

    /// Whether to upgrade from this peer: it has more, it knows our length, and it can prove the rest.
    pub(super) fn should_upgrade(&self, id: PeerId, peer: &Peer, local: &dyn Local) -> bool {
        let is_asked = |key: &RequestKey| self.requests.get(*key).is_none_or(|sent| sent.peer == id);
        self.upgrade.as_ref().is_none_or(|upgrade| {
            upgrade.in_flight.is_empty() || (upgrade.is_overdue && !upgrade.in_flight.iter().any(is_asked))
        }) && peer.remote_can_upgrade
            && peer.remote_length > local.length()
            && peer.length_acked == local.length()
    }

    /// Notes that an upgrade was asked for.
    pub(super) fn upgrade_requested(&mut self, key: RequestKey, local: &dyn Local, now: Instant) {
        let upgrade = self.upgrade(local);
        upgrade.in_flight.push(key);
        upgrade.patient_until = Some(now + PATIENCE);
        upgrade.is_overdue = false;
    }

    /// Returns when to ask somebody else.
    pub(super) fn upgrade_timeout(&self) -> Option<Instant> {
        self.upgrade.as_ref().filter(|upgrade| !upgrade.in_flight.is_empty())?.patient_until
    }

    /// Asks somebody else when it is time.
    pub(super) fn handle_upgrade_timeout(&mut self, local: &dyn Local, now: Instant) {
        if self.upgrade_timeout().is_none_or(|at| at > now) {
            return;
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.patient_until = None;
            upgrade.is_overdue = true;
        }
        self.retry_all();
        self.update_every_peer(usize::MAX, local, now);
    }

    pub(super) fn request_upgrade(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        if self.push_only {
            return false;
        }
        let Some(draft) = self.draft(id, true, 0, local, now) else { return false };
        match self.latest_block(id, local) {
            Some(index) => {
                self.blocks.add(index, 0, false);
                self.send_block_request(draft, index, local);
            }
            None => {
                self.send_request(draft, local);
            }
        }
        true
    }

    /// The last block of the peer, when it is to come along with the upgrade.
    fn latest_block(&self, id: PeerId, local: &dyn Local) -> Option<u64> {
        if !self.options.allow_latest_block && !self.ranges.is_live() {
            return None;
        }
        let peer = self.peers.get(&id)?;
        let index = peer.remote_length.checked_sub(1).filter(|&index| index >= local.length())?;
        let is_asked = self.blocks.get(index).is_some_and(|block| !block.in_flight.is_empty());
        let fits = peer.blocks.has(index) && self.can_request(id, index, false, local);
        (fits && !is_asked && peer.remote_fork == local.fork()).then_some(index)
    }

    /// Ends the pending upgrade when the head changed.
    pub(super) fn resolve_upgrade(&mut self, local: &dyn Local) {
        let changed =
            |upgrade: &mut Upgrade| (upgrade.fork, upgrade.length) != (local.fork(), local.length());
        let Some(upgrade) = self.upgrade.take_if(changed) else { return };
        for id in upgrade.waiting {
            self.resolve(id, Resolution::Update(true));
        }
    }

    pub(super) fn reject_upgrade(&mut self, error: WishError) {
        let Some(upgrade) = self.upgrade.take() else { return };
        for id in upgrade.waiting {
            self.reject(id, error);
        }
    }

    pub(super) fn upgrade_request_done(&mut self, key: RequestKey) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.in_flight.retain(|sent| *sent != key);
        }
        self.drop_unneeded_upgrade();
        self.retry_all();
    }

    pub(super) fn drop_unneeded_upgrade(&mut self) {
        if !self.options.eager_upgrade {
            self.upgrade.take_if(|upgrade| upgrade.waiting.is_empty() && upgrade.in_flight.is_empty());
        }
    }

    /// Tells those who wait that there is nothing newer, once no peer can say otherwise.
    pub(super) fn check_upgrade(&mut self, local: &dyn Local) {
        let Some(upgrade) = &self.upgrade else { return };
        if upgrade.waiting.is_empty()
            || !upgrade.in_flight.is_empty()
            || (self.pending_opens > 0 && self.peers.len() < ENOUGH_PEERS)
            || (!self.had_peers && self.finding_peers)
            || self.applying_reorg.is_some()
            || self.searches.values().any(|search| search.in_flight.is_some())
        {
            return;
        }
        let peers = self.order.iter().filter_map(|id| self.peers.get(id));
        for peer in peers.filter(|peer| !peer.is_paused).take(ENOUGH_PEERS) {
            if !peer.remote_synced || (local.length() == 0 && peer.remote_length > 0) {
                return;
            }
            if peer.remote_length <= upgrade.length || peer.remote_fork != upgrade.fork {
                continue;
            }
            let is_acked = peer.length_acked == local.length() || peer.remote_fork != local.fork();
            if peer.evaluating.is_some() || !is_acked || peer.remote_can_upgrade {
                return;
            }
        }
        let Some(upgrade) = self.upgrade.take() else { return };
        for id in upgrade.waiting {
            self.resolve(id, Resolution::Update(false));
        }
    }
}

/// Peers that are asked before `update` gives up. Source: `lib/replicator.js`, `MAX_PEERS_UPGRADE`.
const ENOUGH_PEERS: usize = 3;

/// How long one peer is waited for before another is asked too: one that never answers must not keep a log from growing.
const PATIENCE: Duration = Duration::from_secs(5);
