//! Asking again a peer that has more than it can prove, or says that it has.
//!
//! Whether a peer can prove the rest of its log to us depends on the nodes that it holds. Upstream looks when a head changes; if it finds that it
//! cannot, it does not even say that its head changed, and it does not look again when the blocks come that bring the nodes (hypercore 11.35,
//! `lib/replicator.js`, `signalUpgrade`). But it looks whenever it hears of our head. Without a reminder the log of a peer between two others
//! stays where it is until somebody appends.

use crate::time::{Duration, Instant};

use super::Replicator;
use super::peer::Peer;
use super::types::{Local, PeerId};

/// When peers that seem stuck hear of our head again.
#[derive(Debug)]
pub(super) struct Reminder {
    at: Option<Instant>,
    /// Grows as long as that changes nothing.
    pause: Duration,
}

impl Default for Reminder {
    fn default() -> Self {
        Self { at: None, pause: FIRST_PAUSE }
    }
}

impl Replicator {
    /// Sees to it that a peer is reminded, if it has more than it can prove, or than it says.
    pub(super) fn remind_later(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        let is_stuck = self.peers.get(&id).is_some_and(|peer| is_stuck(peer, local));
        if is_stuck && self.wants_upgrades() {
            self.reminder.at.get_or_insert(now + self.reminder.pause);
        }
    }

    /// A peer has got more of its log, and with it perhaps the nodes.
    pub(super) fn remind_soon(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        self.reminder.pause = FIRST_PAUSE;
        let soon = now + FIRST_PAUSE;
        self.reminder.at = self.reminder.at.map(|at| at.min(soon));
        self.remind_later(id, local, now);
    }

    /// Our head changed, and everybody hears of it.
    pub(super) fn reset_reminder(&mut self) {
        self.reminder = Reminder::default();
    }

    /// Returns when to remind.
    pub(super) fn reminder_timeout(&self) -> Option<Instant> {
        self.reminder.at
    }

    /// Reminds when it is time.
    pub(super) fn handle_reminder_timeout(&mut self, local: &dyn Local, now: Instant) {
        if self.reminder.at.is_none_or(|at| at > now) {
            return;
        }
        self.reminder.at = None;
        if !self.wants_upgrades() {
            return;
        }
        self.reminder.pause = (self.reminder.pause * 2).min(LONGEST_PAUSE);
        for id in self.order.clone() {
            if self.peers.get(&id).is_some_and(|peer| is_stuck(peer, local)) {
                self.reminder.at = Some(now + self.reminder.pause);
                self.send_sync(id, local);
            }
        }
    }

    fn wants_upgrades(&self) -> bool {
        self.downloading && !self.push_only && (self.options.eager_upgrade || self.upgrade.is_some())
    }
}

fn is_stuck(peer: &Peer, local: &dyn Local) -> bool {
    let can_ask = peer.remote_can_upgrade && peer.length_acked == local.length();
    let has_more = peer.remote_fork == local.fork() && peer.remote_length > local.length();
    let has_untold = peer.announced > peer.remote_length.max(local.length());
    peer.remote_synced && ((has_more && !can_ask) || has_untold)
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
