//! Taking a file over from somebody who may still write to it.
//!
//! A file has no transactions: an owner looks who owns the file, and then writes. If its process is stopped in between and
//! goes on when another one owns the file, that write happens all the same; the next look tells it that it has lost the file. So
//! each write is bounded to one segment or one header, and whoever takes the file over, unless all before it are known to be
//! gone, leaves to each of them every place where that write can go:
//!
//! - The log goes on in a segment behind all that the file has, and a checkpoint says so before anything else is written. The rest
//!   of the last segment, and what the others could have taken next, stay [out of use](super::segments::Segments::quarantine) until somebody
//!   opens the file alone.
//! - Its headers stand in places of their own, by the number of its claim, and are newer than what any earlier claim can write.
//! - The file is made longer than what stays out of use before anything is written behind it, so that the next one leaves that, too.

use super::LogStore;
use crate::storage::Intent;

/// What a device found when it claimed a file that somebody else may still write to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takeover {
    /// How often the file was claimed.
    pub(super) claims: u32,
    /// Segments that the file has room for, the last one perhaps not wholly.
    pub(super) slots: u64,
}

impl LogStore {
    /// Leaves to the others what they may still write, once there is something to be written here.
    pub(super) fn take_over(&mut self) {
        let is_commit =
            |intent: &Intent| matches!(intent, Intent::Commit { owner, .. } if self.owner == Some(*owner));
        if !self.queue.iter().any(is_commit) && !self.checkpoint_is_due() {
            return;
        }
        let Some(Takeover { claims, slots }) = self.takeover.take() else { return };
        let (tail, slots) = self.segments.quarantine(self.tail, slots);
        self.tail = tail;
        self.reserved = Some(slots);
        // Of two claims that read the same header, the later one's is newer; and the half of the page stays the one whose turn it is.
        self.generation = self.generation.saturating_add(2 * u64::from(claims));
        self.begin_exclusive_checkpoint();
    }
}
