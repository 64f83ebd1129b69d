//! What is known of one peer, and how eagerly it is dialled.
//!
//! Source: hyperswarm 4.17, `lib/peer-info.js` and `lib/retry-timer.js`.

use alloc::vec::Vec;
use core::net::SocketAddrV4;

use crate::collections::BTreeSet;
use crate::time::{Duration, Instant};

/// How soon a queued peer gets its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Failed three times.
    Low,
    /// Not tried yet.
    Normal,
    /// Failed twice.
    High,
    /// Failed once.
    VeryHigh,
}

/// How long to wait before a peer is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryTier {
    /// 1 second.
    Short,
    /// 5 seconds.
    Medium,
    /// 15 seconds.
    Long,
    /// 10 minutes; for explicit peers only.
    VeryLong,
}

/// A peer, connected or not.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Nodes that forward to it, as far as they were announced.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Topics under which it was found.
    pub topics: BTreeSet<[u8; 32]>,
    /// Whether it is wanted by key, whatever its topics.
    pub is_explicit: bool,
    /// Whether it is neither dialled nor let in.
    pub is_banned: bool,
    /// Whether it may be dialled again.
    pub is_reconnecting: bool,
    /// Whether a connection was ever open.
    pub is_proven: bool,
    /// Whether the last connection was dialled here.
    pub is_client: bool,
    /// Failures and ends since it was found, or since a connection that lasted.
    pub attempts: u32,
    /// Turn in the queue.
    pub priority: Priority,
    pub(super) is_queued: bool,
    pub(super) is_waiting: bool,
    pub(super) flush_tick: u64,
    connected_at: Option<Instant>,
    disconnected_at: Option<Instant>,
}

impl PeerInfo {
    /// Describes a peer that was just found.
    pub fn new(relay_addresses: Vec<SocketAddrV4>) -> Self {
        Self {
            relay_addresses,
            topics: BTreeSet::new(),
            is_explicit: false,
            is_banned: false,
            is_reconnecting: true,
            is_proven: false,
            is_client: false,
            attempts: 0,
            priority: Priority::Normal,
            is_queued: false,
            is_waiting: false,
            flush_tick: 0,
            connected_at: None,
            disconnected_at: None,
        }
    }

    /// Sets the priority by the attempts, and reports whether the peer may be queued.
    pub fn update_priority(&mut self) -> bool {
        if self.is_explicit && self.attempts > 3 {
            self.attempts = 3;
        }
        self.priority = match self.attempts {
            _ if self.is_banned || self.is_queued => return false,
            0 => Priority::Normal,
            1 => Priority::VeryHigh,
            2 => Priority::High,
            3 => Priority::Low,
            _ => return false,
        };
        true
    }

    /// Returns when to try again; `None` for never.
    pub fn retry_tier(&self) -> Option<RetryTier> {
        if self.is_banned || !self.is_reconnecting {
            return None;
        }
        match (self.attempts, self.is_proven) {
            (0, _) | (1, true) => Some(RetryTier::Short),
            (1, false) | (2, true) => Some(RetryTier::Medium),
            (2 | 3, _) => Some(RetryTier::Long),
            _ => self.is_explicit.then_some(RetryTier::VeryLong),
        }
    }

    /// Returns whether nothing of it has to be remembered while it is not connected.
    pub fn is_collectable(&self) -> bool {
        !(self.is_banned || self.is_queued || self.is_explicit || self.is_waiting)
    }

    /// Starts over with a peer that was found again.
    pub fn reset(&mut self) {
        self.is_client = false;
        self.is_proven = false;
        self.attempts = 0;
    }

    /// Notes that a connection opened.
    pub fn connected(&mut self, now: Instant) {
        self.is_proven = true;
        self.connected_at = Some(now);
    }

    /// Notes that a connection ended, or did not open.
    pub fn disconnected(&mut self, now: Instant) {
        let lasted = self.connected_at.take().map(|at| now.duration_since(at));
        if lasted.is_some_and(|lasted| lasted >= LASTING) {
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.disconnected_at = Some(now);
    }

    /// Returns whether an explicit peer may be dialled out of turn.
    pub(super) fn may_be_dialled_at_once(&self, now: Instant) -> bool {
        let pause = Duration::from_secs(self.attempts.into());
        let is_rested = self.disconnected_at.is_none_or(|at| now.duration_since(at) >= pause);
        self.attempts < MAX_EXPLICIT_ATTEMPTS && is_rested
    }

    /// Returns whether a lookup that finds it again changes nothing.
    pub(super) fn is_prioritized(&self) -> bool {
        self.priority >= Priority::Normal
    }
}

/// A connection that lasted so long makes up for all failures before.
const LASTING: Duration = Duration::from_secs(15);

/// Attempts after which an explicit peer waits for its turn.
const MAX_EXPLICIT_ATTEMPTS: u32 = 5;
