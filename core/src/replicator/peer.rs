//! What is known about one peer, and what follows from it.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `Peer`.

use alloc::string::String;

use crate::hypercore::bitfield::Bitfield;

use super::pace::Pace;
use super::requests::Cancelled;
use super::serve::Serving;
use super::types::{Detours, Local, PeerId, PeerStatus, ReplicatorOptions};
use super::wants::{LocalWants, RemoteWants, SMALL_UNIT, UNIT};

/// One replication channel.
#[derive(Debug)]
pub(super) struct Peer {
    /// Whether it understands padding in seeks.
    pub(super) remote_seeks: bool,
    pub(super) is_paused: bool,

    /// Requests whose answer is awaited.
    pub(super) in_flight: u32,
    pub(super) pace: Pace,
    pub(super) cancelled: Cancelled,
    /// Unsolicited data that is being applied.
    pub(super) unsolicited: u32,
    pub(super) not_available: u32,
    pub(super) refused: u32,
    pub(super) detours: Detours,
    pub(super) invalid_data: u32,
    /// It was asked for its signed head because its data did not fit.
    pub(super) suspects_conflict: bool,
    /// Queued blocks below this number were tried since the last news from or for this peer.
    pub(super) tried: u64,

    /// Whether we can prove an upgrade from its length.
    pub(super) can_upgrade: bool,
    /// The fork and length for which that is being looked up.
    pub(super) evaluating: Option<(u64, u64)>,
    /// A sync is to follow the evaluation.
    pub(super) needs_sync: bool,
    pub(super) last_upgradable_fork: u64,
    pub(super) last_upgradable_length: u64,

    pub(super) remote_fork: u64,
    pub(super) remote_length: u64,
    pub(super) remote_can_upgrade: bool,
    pub(super) remote_uploading: bool,
    pub(super) remote_downloading: bool,
    pub(super) remote_has_manifest: bool,
    pub(super) remote_allow_push: bool,
    /// Whether a sync arrived.
    pub(super) remote_synced: bool,
    /// The length of ours that it has seen.
    pub(super) length_acked: u64,
    /// The end of what it announced since it last told its length.
    pub(super) announced: u64,
    pub(super) blocks: RemoteBlocks,

    pub(super) serving: Serving,
    pub(super) wants: LocalWants,
    pub(super) remote_wants: RemoteWants,
    /// The length up to which it was told that we have everything.
    pub(super) full_signaled: u64,
    pub(super) last_extension_sent: String,
    pub(super) last_extension_received: String,
}

impl Peer {
    pub(super) fn new(remote_seeks: bool, options: &ReplicatorOptions, local: &dyn Local) -> Self {
        Self {
            remote_seeks,
            is_paused: false,
            in_flight: 0,
            pace: Pace::default(),
            cancelled: Cancelled::default(),
            unsolicited: 0,
            not_available: 0,
            refused: 0,
            detours: Detours::default(),
            invalid_data: 0,
            suspects_conflict: false,
            tried: 0,
            can_upgrade: true,
            evaluating: None,
            needs_sync: false,
            last_upgradable_fork: 0,
            last_upgradable_length: 0,
            remote_fork: 0,
            remote_length: 0,
            remote_can_upgrade: false,
            remote_uploading: true,
            remote_downloading: true,
            remote_has_manifest: false,
            remote_allow_push: false,
            remote_synced: false,
            length_acked: 0,
            announced: 0,
            blocks: RemoteBlocks::new(local.length()),
            serving: Serving::default(),
            wants: LocalWants::new(unit(options)),
            remote_wants: RemoteWants::default(),
            full_signaled: 0,
            last_extension_sent: String::new(),
            last_extension_received: String::new(),
        }
    }

    pub(super) fn max_in_flight(&self, options: &ReplicatorOptions) -> u32 {
        self.pace.in_flight(options.in_flight)
    }

    pub(super) fn max_hotswap(&self, options: &ReplicatorOptions) -> u32 {
        (self.max_in_flight(options) / 2).max(MIN_HOTSWAP)
    }

    /// Whether a proof of this block from this peer will match our tree.
    pub(super) fn fits(&self, block: u64, local: &dyn Local) -> bool {
        self.remote_length >= local.length()
            || (block < self.last_upgradable_length && self.last_upgradable_fork == local.fork())
            || (self.can_upgrade && self.evaluating.is_none())
    }

    /// The end of the blocks below both lengths that fit our tree.
    pub(super) fn fitting_end(&self, end: Option<u64>, local: &dyn Local) -> u64 {
        let ours = if self.can_upgrade || self.remote_length >= local.length() {
            local.length()
        } else if self.last_upgradable_fork == local.fork() {
            self.last_upgradable_length.min(local.length())
        } else {
            0
        };
        ours.min(self.remote_length).min(end.unwrap_or(u64::MAX))
    }

    /// Whether we can prove more to it than we told it.
    pub(super) fn should_evaluate(&self, local: &dyn Local) -> bool {
        local.fork() == self.remote_fork
            && local.length() > self.remote_length
            && !self.can_upgrade
            && self.evaluating.is_none()
    }

    pub(super) fn status(&self, peer: PeerId) -> PeerStatus {
        PeerStatus {
            peer,
            remote_fork: self.remote_fork,
            remote_length: self.remote_length,
            remote_contiguous_length: self.blocks.contiguous_length(),
            remote_can_upgrade: self.remote_can_upgrade,
            remote_uploading: self.remote_uploading,
            remote_downloading: self.remote_downloading,
            remote_has_manifest: self.remote_has_manifest,
            remote_allow_push: self.remote_allow_push,
            remote_synced: self.remote_synced,
            can_upgrade: self.can_upgrade,
            length_acked: self.length_acked,
            detours: self.detours,
            in_flight: self.in_flight,
            is_paused: self.is_paused,
            invalid_data: self.invalid_data,
            invalid_requests: self.serving.invalid,
        }
    }
}

pub(super) fn unit(options: &ReplicatorOptions) -> u64 {
    if options.small_wants { SMALL_UNIT } else { UNIT }
}

/// The blocks that a peer says it has, and those of them that we could ask for.
#[derive(Debug)]
pub(super) struct RemoteBlocks {
    /// It has everything below this.
    contiguous: u64,
    has: Bitfield,
    /// What it has above `contiguous`, we lack, and nobody is asked for.
    missing: Bitfield,
    /// Where `missing` has to be computed again.
    stale: Option<(u64, u64)>,
    limit: u64,
}

impl RemoteBlocks {
    fn new(local_length: u64) -> Self {
        let limit = local_length.min(MAX_KEPT) + LOOKAHEAD;
        let field = || Bitfield::bounded(limit);
        Self { contiguous: 0, has: field(), missing: field(), stale: None, limit }
    }

    /// Makes room for what the peer may say about a longer log.
    pub(super) fn local_length(&mut self, length: u64) {
        let limit = length.min(MAX_KEPT) + LOOKAHEAD;
        if limit > self.limit {
            self.limit = limit;
            self.has.set_limit(limit);
            self.missing.set_limit(limit);
        }
    }

    pub(super) fn has(&self, block: u64) -> bool {
        block < self.contiguous || self.has.get(block)
    }

    /// Those above the prefix, and any that were announced one by one.
    pub(super) fn announced(&self) -> &Bitfield {
        &self.has
    }

    pub(super) fn contiguous_length(&self) -> u64 {
        self.has.first_unset(self.contiguous)
    }

    /// Whether it is known to have all of `start..end`.
    pub(super) fn has_all(&self, start: u64, end: u64) -> bool {
        self.contiguous >= end || !self.has.has_unset(start.max(self.contiguous), end)
    }

    /// Applies a `range` message. Returns the new prefix when that grew.
    pub(super) fn range(&mut self, drop: bool, start: u64, length: u64) -> Option<u64> {
        let end = start.saturating_add(length);
        if drop {
            if start < self.contiguous {
                let rest = (end.min(self.contiguous), self.contiguous);
                self.contiguous = start;
                self.set(rest.0, rest.1, true);
            }
            self.set(start, end, false);
            return None;
        }
        if start > 0 {
            self.set(start, end, true);
            return None;
        }
        if length <= self.contiguous {
            return None;
        }
        self.contiguous = length;
        Some(length)
    }

    /// Applies a `bitfield` message.
    pub(super) fn bitfield(&mut self, start: u64, words: &[u8]) {
        if !start.is_multiple_of(32) {
            return;
        }
        self.contiguous = self.contiguous.min(start);
        self.has.insert(start, words);
        let bits = (words.len() as u64).saturating_mul(8);
        self.touch(start, start.saturating_add(bits));
    }

    fn set(&mut self, start: u64, end: u64, value: bool) {
        if value {
            let first = self.has.first_unset(start);
            if first < end {
                self.has.set_range(first, end, true);
                self.touch(first, end);
            }
        } else if self.has.has_set(start, end) {
            self.has.set_range(start, end, false);
            self.touch(start, end);
        }
    }

    /// Notes that `missing` may be wrong about these blocks.
    pub(super) fn touch(&mut self, start: u64, end: u64) {
        let end = end.min(self.limit);
        if start >= end {
            return;
        }
        self.stale = Some(match self.stale {
            Some((from, to)) => (from.min(start), to.max(end)),
            None => (start, end),
        });
    }

    /// Notes that a block is stored or asked for now, or no longer.
    pub(super) fn skip(&mut self, block: u64, skip: bool) {
        if skip {
            if self.missing.get(block) {
                self.missing.set(block, false);
            }
        } else if self.has.get(block) {
            self.missing.set(block, true);
        }
    }

    /// Returns the first block in `from..end` that it has and that is not in `skip`.
    pub(super) fn next_missing(&mut self, from: u64, end: u64, skip: &Bitfield) -> Option<u64> {
        let mut from = from;
        if from < self.contiguous {
            let prefix = self.contiguous.min(end);
            let block = skip.first_unset(from);
            if block < prefix {
                return Some(block);
            }
            from = prefix;
        }
        if from >= end {
            return None;
        }
        if let Some((start, end)) = self.stale.take() {
            self.missing.set_difference(&self.has, skip, start, end);
        }
        self.missing.first_set(from).filter(|&block| block < end)
    }

    /// Returns the first block in `from..end` that it has.
    pub(super) fn next_present(&self, from: u64, end: u64) -> Option<u64> {
        if from >= end {
            return None;
        }
        if from < self.contiguous {
            return Some(from);
        }
        self.has.first_set(from).filter(|&block| block < end)
    }
}

/// How far beyond our own, proven length a peer's claims are kept: a fresh reader learns of 16 million
/// blocks, and lies cost at most 4 MiB a peer.
const LOOKAHEAD: u64 = 1 << 24;

/// How far a peer's claims are kept in any log: who signs a head may sign any length, and the claim to have all of it would
/// cost memory for each of its pages.
const MAX_KEPT: u64 = 1 << 32;

/// Source: `lib/replicator.js`, `getMaxHotswapInflight`.
const MIN_HOTSWAP: u32 = 16;
