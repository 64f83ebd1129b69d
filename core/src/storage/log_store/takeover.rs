//! Taking a file over from somebody who may still write to it.
//!
//! A file has no transactions: an owner looks who owns the file, and then writes. If its process is stopped in between and
//! goes on when another one owns the file, that write happens all the same; the next look tells it that it has lost the file. So
//! each process is late with one write at most, of one segment or one header, and whoever takes the file over, unless all before
//! it are known to be gone, leaves to each of them every place where that write can go:
//!
//! - The log goes on in a segment behind all that the file has, and a checkpoint says so before anything else is written. The rest
//!   of the last segment, and what the others could have taken next, stay [out of use](super::segments::Segments::quarantine) until somebody
//!   opens the file alone.
//! - The file is made longer than what stays out of use before anything else is written, so that the next one leaves that, too.
//! - Each header is written in many copies, with a look before each, and so is, before the first of its own, the header that it went on from.
//!
//! # Why the newest header stays
//!
//! Who owns the file is one write, which may be late, too: it makes its process the owner then, and what that one knows of the
//! file it reads afterwards. So owners follow one another, whoever began to claim first, and whatever an owner wrote, but for
//! one write, stands before the next one reads.
//!
//! *One that is late is never newer.* No write makes a file shorter, late or not. An owner makes it longer before it has a header to write, and sees
//! that it still owns the file then; so the next one, which asks for the length once it owns the file, comes to more segments. That number is added to the
//! generation that was read, twice, as the half of the page has to stay the one whose turn it is. A count in the file that each claim reads
//! and writes would go back with a claim that is late.
//!
//! *None that is late takes the last copy.* As long as a header is the newest, only late writes go to its half of the page, and each
//! takes one copy. Nobody comes to write another one there without having written all copies of this one anew, or of one that is
//! newer. So what can be lost in between is as many copies as others have the file, and [there are more](super::file::HEADER_COPIES).
//! No number of fixed places is enough for any number of writes that may be late: each of them could be waiting before another place.

use bytes::Bytes;

use super::LogStore;
use crate::storage::Intent;

/// What is written to a file before anything else.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Segments that the file has to have room for.
    pub(super) slots: u64,
    /// The header that was read, and its half of the page: perhaps somebody was stopped before all its copies were written.
    pub(super) header: Option<(u8, Bytes)>,
}

impl LogStore {
    /// Leaves to the others what they may still write, once there is something to be written here.
    pub(super) fn take_over(&mut self) {
        let is_commit =
            |intent: &Intent| matches!(intent, Intent::Commit { owner, .. } if self.owner == Some(*owner));
        if !self.queue.iter().any(is_commit) && !self.checkpoint_is_due() {
            return;
        }
        let Some(slots) = self.takeover.take() else { return };
        let header = self.manifest.and_then(|manifest| self.header(self.generation, manifest));
        let (tail, slots) = self.segments.quarantine(self.tail, slots);
        self.tail = tail;
        self.reservation = Some(Reservation { slots, header });
        self.generation = self.generation.saturating_add(2 * slots);
        self.begin_exclusive_checkpoint();
    }
}
