//! Links whose WebSocket broke, and what is kept for clients that come back.

use alloc::vec::Vec;

use super::super::session::Session;
use super::super::window::AT_REST;
use super::{Bridge, BridgeEvent, LinkId};
use crate::time::Instant;

impl Bridge {
    /// Keeps a link whose WebSocket broke, for a client that goes on with it, and reports whether that is of use; otherwise
    /// [close](Self::close_link) it. A link that is kept has no frames, and ends by [`BridgeEvent::Expired`].
    pub fn hold_link(&mut self, link: LinkId, now: Instant) -> bool {
        let has_room = self.held.len() < MAX_HELD;
        let session = self.sessions.get_mut(&link).filter(|_| has_room);
        let is_held = session.is_some_and(|session| session.hold(now));
        if is_held {
            self.held.insert(link);
            self.ledger.set_held(link, true);
            self.arm(link);
        }
        is_held
    }

    /// Ends the links that are held.
    pub fn drop_held(&mut self, now: Instant) {
        for link in core::mem::take(&mut self.held) {
            self.expire(link, now);
        }
    }

    /// Answers [`BridgeEvent::Resuming`] with yes: the WebSocket of the first link carries the second one from here on, and
    /// that of the second one, if there still is one, is to be closed. The first link is over then. Returns false where that
    /// cannot be, and tells the client.
    pub fn resume(&mut self, link: LinkId, of: LinkId, now: Instant) -> bool {
        let count = self.sessions.get(&link).and_then(Session::claimed_count);
        let claimed = self.sessions.get(&of).zip(count).filter(|(session, count)| session.can_resume(*count));
        let Some((received, count)) = claimed.map(|(session, count)| (session.received(), count)) else {
            self.deny_resume(link, now);
            return false;
        };
        let Some(session) = self.sessions.get_mut(&link) else { return false };
        let permissions = session.permissions();
        let Some(first) = session.answer_claim(received) else { return false };
        self.held.remove(&of);
        self.ledger.set_held(of, false);
        self.ledger.move_link(of, link, now);
        self.close_link(link, now);
        self.counters.resumed += 1;
        self.with_session(of, now, |session, _| session.resume(count, first, permissions, now));
        self.touch(of);
        true
    }

    /// Answers [`BridgeEvent::Resuming`] with no.
    pub fn deny_resume(&mut self, link: LinkId, now: Instant) {
        self.with_session(link, now, |session, _| session.reject_claim());
    }

    /// Ends a link whose client has not come back.
    pub(super) fn expire(&mut self, link: LinkId, now: Instant) {
        self.counters.resume_expired += 1;
        self.events.push_back(BridgeEvent::Expired(link));
        self.close_link(link, now);
    }

    /// Ends links that are held and without which a new one would not be beyond the bounds: most likely its client had them.
    pub(super) fn make_way(&mut self, link: LinkId, now: Instant) {
        loop {
            let ledger = &self.ledger;
            let in_the_way = self.held.iter().filter(|held| ledger.is_in_the_way(**held, link));
            let oldest = in_the_way.min_by_key(|held| self.sessions.get(held).and_then(Session::held_until));
            let Some(oldest) = oldest.copied() else { return };
            self.expire(oldest, now);
        }
    }

    /// Lets go of what is kept for some clients, beginning with those that have been silent about it for longest: who reads and
    /// says so has nothing that is old, except the little that a client at rest leaves unsaid, which goes last. Goes below the
    /// bound, so that looking through all links is rare.
    pub(super) fn let_go(&mut self) {
        let order = |(link, session): (&LinkId, &Session)| {
            Some((session.kept() < AT_REST, session.kept_since()?, *link))
        };
        let mut links: Vec<_> = self.sessions.iter().filter_map(order).collect();
        links.sort_unstable();
        for (_, _, link) in links {
            if self.kept <= self.limits.resume_bytes / 8 * 7 {
                return;
            }
            if let Some(session) = self.sessions.get_mut(&link) {
                self.kept -= session.kept();
                session.lose_kept();
                self.counters.resume_lost += 1;
            }
        }
    }
}

/// Links that are held at once: beyond that they end with their WebSocket.
const MAX_HELD: usize = 1024;
