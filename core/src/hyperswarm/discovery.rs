//! One topic: who wants it, in which mode, and when to look again.
//!
//! Source: hyperswarm 4.17, `lib/peer-discovery.js`.

use super::Random;
use super::swarm::QueryId;
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};

/// Names one interest in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// How a topic is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinOptions {
    /// Announce, so that others connect to us.
    pub server: bool,
    /// Look up, and connect to others.
    pub client: bool,
    /// Peers to queue from one lookup, connected ones included; `None` for all.
    pub limit: Option<usize>,
}

impl Default for JoinOptions {
    fn default() -> Self {
        Self { server: true, client: true, limit: None }
    }
}

/// What goes on with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicStatus {
    /// Whether it is announced.
    pub is_server: bool,
    /// Whether peers are looked for.
    pub is_client: bool,
    /// Whether a query runs or is about to.
    pub is_refreshing: bool,
}

/// What the swarm has to do for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Announce, removing what was announced before if `clear`.
    Announce {
        clear: bool,
    },
    Lookup,
    Unannounce,
}

#[derive(Debug)]
pub(super) struct Discovery {
    sessions: BTreeMap<SessionId, JoinOptions>,
    pub(super) is_server: bool,
    pub(super) is_client: bool,
    limit: Option<usize>,
    /// A query of this round runs, or waits for the server.
    pub(super) round: Round,
    has_announced: bool,
    needs_unannounce: bool,
    is_leaving: bool,
    refresh_at: Option<Instant>,
    /// Peers that the last round found, where their number is limited.
    discovered: BTreeSet<[u8; 32]>,
    /// Peers that this round may still queue.
    left: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Idle,
    /// The swarm starts it when it can.
    Wanted,
    Running(QueryId),
}

impl Discovery {
    pub(super) fn new() -> Self {
        Self {
            sessions: BTreeMap::new(),
            is_server: false,
            is_client: false,
            limit: None,
            round: Round::Idle,
            has_announced: false,
            needs_unannounce: false,
            is_leaving: false,
            refresh_at: None,
            discovered: BTreeSet::new(),
            left: None,
        }
    }

    pub(super) fn status(&self) -> TopicStatus {
        TopicStatus {
            is_server: self.is_server,
            is_client: self.is_client,
            is_refreshing: self.round != Round::Idle,
        }
    }

    /// Adds a session, or changes one. Returns the query to cancel.
    pub(super) fn set(&mut self, session: SessionId, options: JoinOptions) -> Option<QueryId> {
        self.sessions.insert(session, options);
        self.limit = options.limit;
        if self.is_leaving {
            // The record is being removed; the announce that follows must not overtake that.
            return None;
        }
        self.refresh()
    }

    /// Removes a session. Returns the query to cancel.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<QueryId> {
        self.sessions.remove(&session)?;
        let no_server = !self.sessions.values().any(|options| options.server);
        if self.sessions.is_empty() {
            return self.leave();
        }
        if no_server && self.needs_unannounce { self.refresh() } else { None }
    }

    /// Removes all sessions. Returns the query to cancel.
    pub(super) fn leave(&mut self) -> Option<QueryId> {
        self.sessions.clear();
        self.is_server = false;
        self.is_client = false;
        self.is_leaving = true;
        self.refresh_at = None;
        let running = self.running();
        self.round = if self.needs_unannounce { Round::Wanted } else { Round::Idle };
        running
    }

    /// Returns whether nothing more is to be done and nobody wants it.
    pub(super) fn is_over(&self) -> bool {
        self.sessions.is_empty() && self.round == Round::Idle
    }

    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Starts a round, unless one for the same modes is under way. Returns the query to cancel.
    pub(super) fn refresh(&mut self) -> Option<QueryId> {
        let server = self.sessions.values().any(|options| options.server);
        let client = self.sessions.values().any(|options| options.client);
        if (server, client) == (self.is_server, self.is_client) && self.round != Round::Idle {
            return None;
        }
        (self.is_server, self.is_client) = (server, client);
        let running = self.running();
        self.round = Round::Wanted;
        running
    }

    /// Returns what to do; the caller has made sure that the server listens, where that is needed.
    pub(super) fn start(&mut self, query: QueryId, connected: impl Fn(&[u8; 32]) -> bool) -> Wish {
        self.round = Round::Running(query);
        self.refresh_at = None;
        self.left = self.limit.map(|limit| {
            let kept = self.discovered.iter().filter(|peer| connected(peer)).count();
            limit.saturating_sub(kept)
        });
        self.discovered.clear();
        if self.is_server {
            let clear = !self.has_announced;
            self.has_announced = true;
            self.needs_unannounce = true;
            Wish::Announce { clear }
        } else if self.needs_unannounce {
            Wish::Unannounce
        } else {
            Wish::Lookup
        }
    }

    /// Takes a peer that was found, and reports whether it may be queued.
    pub(super) fn found(&mut self, peer: [u8; 32], is_connected: bool) -> bool {
        if !self.is_client {
            return false;
        }
        let Some(left) = &mut self.left else { return true };
        if self.discovered.len() < MAX_DISCOVERED {
            self.discovered.insert(peer);
        }
        if *left == 0 {
            return false;
        }
        if !is_connected {
            *left -= 1;
        }
        true
    }

    /// Takes the end of a round. Returns whether another one is due at once.
    pub(super) fn finished(&mut self, is_complete: bool, random: &mut Random, now: Instant) -> bool {
        self.round = Round::Idle;
        if !self.is_server && is_complete {
            self.needs_unannounce = false;
        }
        if self.is_leaving {
            self.is_leaving = false;
            self.has_announced = false;
            return self.has_sessions();
        }
        self.refresh_at = Some(now + REFRESH + random.up_to(REFRESH_JITTER));
        false
    }

    /// Forgets the query of a round, whose carrier is gone; it starts again with the next.
    pub(super) fn interrupt(&mut self) {
        if matches!(self.round, Round::Running(_)) {
            self.round = Round::Wanted;
        }
    }

    /// Reports whether it is time for another round, and puts it off when the machine slept.
    pub(super) fn is_due(&mut self, random: &mut Random, now: Instant) -> bool {
        let Some(at) = self.refresh_at.filter(|at| *at <= now) else { return false };
        if now.duration_since(at) > OVERDUE {
            // Everybody who woke up at the same time would look at the same time.
            self.refresh_at = Some(now + random.up_to(REFRESH_JITTER));
            return false;
        }
        self.refresh_at = None;
        true
    }

    pub(super) fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at
    }

    fn running(&self) -> Option<QueryId> {
        match self.round {
            Round::Running(query) => Some(query),
            _ => None,
        }
    }
}

/// How often a topic is looked up and announced again: records live 13 to 27 minutes.
const REFRESH: Duration = Duration::from_secs(10 * 60);

/// What is added to that, at random.
const REFRESH_JITTER: Duration = Duration::from_secs(2 * 60);

/// A timer that is late by more than this was not late: the machine slept.
const OVERDUE: Duration = Duration::from_secs(30);

/// Most peers remembered from the last round of a limited topic, as upstream.
const MAX_DISCOVERED: usize = 64;
