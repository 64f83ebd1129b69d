//! Asking the host before the log grows because a peer proved it.
//!
//! Source: hypercore 11.35, `lib/session-state.js`, `_verifyBlock`, which calls `core.preupdate`.

use alloc::boxed::Box;

use super::core::Core;
use super::jobs::CoreEvent;
use super::merkle_tree::Tree;

/// Whether the host is asked, and what it said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nobody wants to know.
    #[default]
    Off,
    /// The next head has to be asked about.
    On,
    /// The host thinks about a head: its fork and length.
    Asked(u64, u64),
    /// What it said of that head.
    Answered(u64, u64, bool),
}

impl Core {
    /// Says whether [`CoreEvent::Growing`] asks before a proof makes the log longer. What waits for an answer goes on when
    /// nobody is asked any more.
    pub fn guard(&mut self, is_guarded: bool) {
        match (is_guarded, self.guard) {
            (true, Guard::Off) => self.guard = Guard::On,
            (true, _) => {}
            (false, _) => {
                self.guard = Guard::Off;
                self.wake_parked();
            }
        }
    }

    /// Answers [`CoreEvent::Growing`].
    pub fn admit(&mut self, is_admitted: bool) {
        if let Guard::Asked(fork, length) = self.guard {
            self.guard = Guard::Answered(fork, length, is_admitted);
            self.wake_parked();
        }
    }

    /// Returns whether a proven head may be taken; `None` while the host has not answered.
    pub(super) fn admits(&mut self, tree: &Tree) -> Option<bool> {
        match self.guard {
            Guard::Off => Some(true),
            Guard::Asked(..) => None,
            Guard::Answered(fork, length, is_admitted) if (fork, length) == (tree.fork, tree.length) => {
                self.guard = Guard::On;
                Some(is_admitted)
            }
            // An answer about a head that did not come is worth nothing.
            Guard::On | Guard::Answered(..) => {
                self.guard = Guard::Asked(tree.fork, tree.length);
                self.tell(CoreEvent::Growing(Box::new(tree.clone())));
                None
            }
        }
    }
}
