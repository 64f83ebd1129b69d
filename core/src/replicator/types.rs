//! What the replicator and its owner say to each other.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::hypercore::bitfield::Bitfield;
use crate::hypercore::proof::Proof;
use crate::time::Duration;

use super::wire;

/// One replication channel, named by the owner; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// One wish, named by the owner; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WishId(pub u64);

/// Names a [`Action::Prove`] until [`Replicator::proved`](super::Replicator::proved) answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProveTicket(pub u64);

/// Names data that the owner verifies and stores, until it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplyTicket(pub u64);

/// What the replicator must know about the local log; all of it is resident. It shows what is
/// durable: a peer is told whatever it says.
pub trait Local {
    /// How often the log was truncated.
    fn fork(&self) -> u64;
    /// Blocks of the signed head.
    fn length(&self) -> u64;
    /// Blocks stored without a gap from the start.
    fn contiguous_length(&self) -> u64;
    /// The blocks that are stored.
    fn bitfield(&self) -> &Bitfield;
    /// Whether a block is stored.
    fn has(&self, block: u64) -> bool {
        self.bitfield().get(block)
    }
    /// Whether the manifest is known.
    fn has_manifest(&self) -> bool;
    /// Whether the manifest, if any, is one that never travels.
    fn is_compat(&self) -> bool;
    /// Whether the log can be appended to here.
    fn is_writable(&self) -> bool;
    /// Parents to climb from a tree index to a node that is known to be stored. Climbing to the root
    /// is right when that is not known, only larger; 0 beyond the length.
    fn missing_nodes(&self, tree_index: u64) -> u64;
    /// Whether all roots of `length` are stored; `None` when storage has to be asked.
    fn can_upgrade_from(&self, length: u64) -> Option<bool>;
}

/// How a replicator behaves.
#[derive(Clone, Debug)]
pub struct ReplicatorOptions {
    /// Upgrades whenever a peer has more, rather than when something waits for it.
    pub eager_upgrade: bool,
    /// Follows a peer to a higher fork.
    pub allow_fork: bool,
    /// Accepts data that nobody asked for.
    pub allow_push: bool,
    /// Fetches the last block along with every upgrade.
    pub allow_latest_block: bool,
    /// Requests in flight at one peer: least and most.
    pub in_flight: (u32, u32),
    /// How long to stay active after the last session left; `None` for the random default.
    pub linger: Option<Duration>,
    /// Wants 4096 blocks at a time and asks for "any block of a range"; hypercore 10 cannot answer.
    pub small_wants: bool,
}

impl Default for ReplicatorOptions {
    fn default() -> Self {
        Self {
            eager_upgrade: true,
            allow_fork: true,
            allow_push: false,
            allow_latest_block: false,
            in_flight: (MIN_IN_FLIGHT, MAX_IN_FLIGHT),
            linger: None,
            small_wants: false,
        }
    }
}

/// How a block is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetWish {
    /// 0 normal, 1 high, 2 very high.
    pub priority: u8,
    /// Asks even when only pushes are taken.
    pub force: bool,
    /// Gives up with [`WishError::SnapshotNotAvailable`] when a truncation removes the block.
    pub snapshot: bool,
}

impl Default for GetWish {
    fn default() -> Self {
        Self { priority: 1, force: false, snapshot: true }
    }
}

/// Which blocks are to be downloaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeWish {
    /// First block.
    pub start: u64,
    /// End, exclusive; `None` follows the log until cancelled.
    pub end: Option<u64>,
    /// These blocks instead of a range.
    pub blocks: Option<Vec<u64>>,
    /// In order rather than at random.
    pub linear: bool,
}

/// Which byte is sought, and between which blocks the local search says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekWish {
    /// Bytes of content before it.
    pub bytes: u64,
    /// Bytes of each block that are not content.
    pub padding: u64,
    /// First block that it can be in.
    pub start: u64,
    /// End of those blocks, exclusive. Start and end equal the length, or exceed it, when the byte
    /// is beyond the log.
    pub end: u64,
}

/// Where a local search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekStep {
    /// At a block, `offset` content bytes into it.
    Found {
        /// The block.
        block: u64,
        /// Bytes into it.
        offset: u64,
    },
    /// Somewhere in these blocks; see [`SeekWish`].
    Narrowed {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
}

/// Where the search for the fork point stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReorgStep {
    /// The node of any one of these blocks is needed.
    Want {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
        /// Parents to climb.
        nodes: u64,
    },
    /// The fork point is found.
    Finished,
    /// The data did not belong to this search.
    Ignored,
}

/// What a checked conflict claim turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictFinding {
    /// Nothing to compare, or both trees agree: the data may be used as usual.
    None,
    /// The claim is worthless.
    Bogus,
    /// Two valid heads contradict each other; the owner froze the log.
    Proven,
}

/// A finished wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The block arrived, as stored.
    Block(Bytes),
    /// The block became available locally by other means: read it.
    Local,
    /// Whether the log changed.
    Update(bool),
    /// Where the byte is.
    Seek {
        /// The block.
        block: u64,
        /// Content bytes into it.
        offset: u64,
    },
    /// All blocks of the range are stored.
    Range,
}

/// Why a wish failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WishError {
    /// The block was truncated away.
    SnapshotNotAvailable,
    /// The owner could not apply a reorg that the wish waited for.
    ReorgFailed,
}

/// Why a request got no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProveError {
    /// The block or a node is not stored.
    NotAvailable,
    /// No correct peer asks that.
    Invalid,
}

/// What applied data changed. All of it is durable and shown by [`Local`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The head grew.
    pub upgraded: bool,
    /// The manifest became known.
    pub manifest: bool,
    /// The block is stored; it may have been before.
    pub block: bool,
}

/// Why data was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Honest but useless: another peer was faster, or the log changed meanwhile.
    Stale,
    /// It does not hold together; no sign of another history.
    Malformed,
    /// A hash, manifest or signature is wrong.
    Invalid,
    /// Storage refused it.
    Storage,
    /// The log is closing.
    Closed,
}

/// A reorg that was applied: what [`Local`] showed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorged {
    /// Blocks that both histories share.
    pub ancestors: u64,
    /// Length before.
    pub old_length: u64,
}

/// A durable change of the local log that no peer caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalChange {
    /// Blocks were appended and are stored.
    Appended {
        /// First of them.
        start: u64,
        /// How many.
        length: u64,
    },
    /// The head grew without blocks.
    Upgraded,
    /// The log was cut; the fork is higher.
    Truncated {
        /// Length after.
        length: u64,
        /// Length before.
        old_length: u64,
    },
    /// Blocks below the head were stored.
    Gained {
        /// First of them.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Blocks were dropped.
    Dropped {
        /// First of them.
        start: u64,
        /// How many.
        length: u64,
    },
    /// The manifest became known.
    Manifest,
}

/// What the owner has to do. Drained with [`Replicator::poll_action`](super::Replicator::poll_action).
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a message on the channel.
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        message: wire::Message,
    },
    /// Close the channel, or the whole link when a reason is given. The replicator has already
    /// forgotten the peer: do not call `remove_peer`.
    ClosePeer {
        /// Whom.
        peer: PeerId,
        /// What it did, if anything.
        reason: Option<PeerMisbehaved>,
    },
    /// Open a channel on every attached link that has none, because the core became active.
    OpenChannels,
    /// Make a proof, reading the block from the same snapshot; answer with `proved`.
    Prove {
        /// For whom.
        peer: PeerId,
        /// Repeat this.
        ticket: ProveTicket,
        /// What is asked. Its fork is the local one, except for a bare manifest.
        request: wire::Request,
    },
    /// The proof is no longer wanted; an answer is ignored.
    CancelProve {
        /// Its ticket.
        ticket: ProveTicket,
    },
    /// Verify and store data of the local fork; answer with `applied`, in any order.
    Apply {
        /// Whose data.
        peer: PeerId,
        /// Repeat this.
        ticket: ApplyTicket,
        /// The data.
        proof: Proof,
    },
    /// Verify data of a higher fork against the search of that fork, starting it, or starting it
    /// again, when the data carries an upgrade; answer with `reorg_checked`.
    CheckReorg {
        /// Whose data.
        peer: PeerId,
        /// Repeat this.
        ticket: ApplyTicket,
        /// The data; its fork names the search.
        proof: Proof,
    },
    /// Apply the finished search of this fork, forget all others; answer with `reorged`.
    ApplyReorg {
        /// The fork.
        fork: u64,
    },
    /// Forget the search of this fork.
    ForgetReorg {
        /// The fork.
        fork: u64,
    },
    /// Compare a signed head with ours; answer with `conflict_checked`. On a proven conflict freeze
    /// the log first.
    CheckConflict {
        /// Whose claim.
        peer: PeerId,
        /// Repeat this.
        ticket: ApplyTicket,
        /// The claim.
        proof: Proof,
    },
    /// Look whether all roots of a length are stored; answer with `can_upgrade`.
    CanUpgrade {
        /// For whom.
        peer: PeerId,
        /// The length.
        length: u64,
    },
    /// Search the local tree again; answer with `sought`.
    Seek {
        /// The wish.
        id: WishId,
        /// Bytes of content before the target.
        bytes: u64,
        /// Bytes of each block that are not content.
        padding: u64,
    },
    /// A wish is fulfilled.
    Resolved {
        /// The wish.
        id: WishId,
        /// How.
        value: Resolution,
    },
    /// A wish failed.
    Rejected {
        /// The wish.
        id: WishId,
        /// Why.
        error: WishError,
    },
    /// Something to tell the user.
    Event(ReplicatorEvent),
}

/// Something to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicatorEvent {
    /// A block went to a peer.
    Upload {
        /// To whom.
        peer: PeerId,
        /// Which block.
        index: u64,
        /// Stored length.
        byte_length: u64,
    },
    /// A block came from a peer and is stored.
    Download {
        /// From whom.
        peer: PeerId,
        /// Which block.
        index: u64,
        /// Stored length.
        byte_length: u64,
        /// From request to answer.
        elapsed: Option<Duration>,
    },
    /// A peer asked for something impossible.
    InvalidRequest {
        /// Who.
        peer: PeerId,
    },
    /// A peer sent data that does not verify.
    VerificationError {
        /// Who.
        peer: PeerId,
        /// What is wrong with it.
        error: ApplyError,
        /// The block, when there was one.
        block: Option<u64>,
    },
    /// A peer of our fork has the blocks `0..length`: the hint to persist when it is larger.
    RemoteContiguousLength {
        /// Blocks.
        length: u64,
    },
    /// A peer sent an extension message.
    Extension {
        /// Who.
        peer: PeerId,
        /// The extension.
        name: String,
        /// Its payload, in the extension's own encoding.
        payload: Bytes,
    },
    /// The core became active or idle towards its peers.
    Downloading(bool),
}

/// What a peer did that no correct peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Its capability does not prove that it knows the key.
    InvalidCapability,
    /// It kept asking for what cannot be proven.
    InvalidRequests,
    /// It has more requests open than any peer needs.
    TooManyRequests,
}

impl core::fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::InvalidCapability => "remote sent an invalid replication capability",
            Self::InvalidRequests => "remote sent too many invalid requests",
            Self::TooManyRequests => "remote has too many requests open",
        })
    }
}

impl core::error::Error for PeerMisbehaved {}

/// How often something took another way than asking once and getting it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detours {
    /// Requests for blocks that somebody else was asked for already.
    pub hotswaps: u64,
    /// Requests that were refused as impossible.
    pub refused: u64,
    /// Requests that were refused because the block was not there.
    pub not_available: u64,
}

/// What is known about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// Its fork.
    pub remote_fork: u64,
    /// Its length.
    pub remote_length: u64,
    /// Blocks it has without a gap from the start.
    pub remote_contiguous_length: u64,
    /// Whether it can prove an upgrade from our length.
    pub remote_can_upgrade: bool,
    /// Whether it answers requests.
    pub remote_uploading: bool,
    /// Whether it wants anything.
    pub remote_downloading: bool,
    /// Whether it can send the manifest.
    pub remote_has_manifest: bool,
    /// Whether it takes pushes.
    pub remote_allow_push: bool,
    /// Whether it said how long its log is.
    pub remote_synced: bool,
    /// Whether we can prove an upgrade from its length.
    pub can_upgrade: bool,
    /// The length of ours that it has seen.
    pub length_acked: u64,
    /// Detours of requests to it.
    pub detours: Detours,
    /// Requests in flight at it.
    pub in_flight: u32,
    /// Whether we stopped talking to it.
    pub is_paused: bool,
    /// Requests of ours that it answered with bad data.
    pub invalid_data: u32,
    /// Requests of its that were impossible.
    pub invalid_requests: u32,
}

/// Source: hypercore 11.35, `lib/replicator.js`, `DEFAULT_MAX_INFLIGHT`.
const MIN_IN_FLIGHT: u32 = 16;
const MAX_IN_FLIGHT: u32 = 512;
