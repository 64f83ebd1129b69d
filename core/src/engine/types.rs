//! What a host says to the engine, and what the engine says to its host.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::corestore::query::Answer;
use crate::hypercore::jobs::Extent;
use crate::hypercore::merkle_tree::Tree;
use crate::hypercore::proof::Proof;
use crate::id::{DiscoveryKey, Hash, PublicKey};
use crate::protomux::{ChannelId, RemoteOpenId};
use crate::storage::{Intent, Outcome, StorageFailure, StoreId};
use crate::time::{Duration, Instant};

pub use super::link::{CloseReason, LinkOptions, Role, Security, Transport};
pub use crate::dht_relay::detour::Return;
pub use crate::hypercore::branching::BranchOptions;
pub use crate::hypercore::core::{MAX_BLOCK_SIZE, Snapshot};
pub use crate::hypercore::error::CoreError as Error;
pub use crate::hypercore::jobs::{AppendOptions, CommitOptions, EncryptionKey, TruncateOptions};
pub use crate::hypercore::opening::OpenOptions;
pub use crate::hypercore::upkeep::{AuditOptions, Audited};
pub use crate::replicator::{ApplyError, Detours, PeerId, PeerStatus, RangeWish, ReplicatorOptions};

/// One core of one store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u32);

/// One link; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// One command; repeated by the one [`Event::Done`] that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One snapshot of one core; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u32);

/// How an engine behaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Milliseconds of Unix time at [`Instant::EPOCH`]; heads carry no time when it is 0.
    pub unix_millis: u64,
}

impl Config {
    /// Returns a config of an engine that knows what time it was at [`Instant::EPOCH`].
    pub fn with_unix_millis(unix_millis: u64) -> Self {
        Self { unix_millis }
    }
}

/// What happened outside. What concerns something that is gone is ignored.
#[derive(Debug)]
pub enum Input {
    /// Bytes arrived on a link.
    Bytes {
        /// Which link.
        link: LinkId,
        /// The bytes, of any length; one message on a framed link.
        bytes: Bytes,
    },
    /// A link's transport can take more.
    Credit {
        /// Which link.
        link: LinkId,
        /// Bytes that left it since the last time.
        bytes: u64,
    },
    /// A link's transport brings nothing more, and still takes bytes.
    LinkEnded {
        /// Which link.
        link: LinkId,
    },
    /// A link's transport is gone. Not after [`Output::CloseLink`].
    LinkClosed {
        /// Which link.
        link: LinkId,
        /// Why, if the host knows.
        reason: Option<String>,
    },
    /// A link's transport broke, rather than being closed at the other end. A relay may go on with the link over another
    /// one, see [`Engine::resume_relay`](super::Engine::resume_relay); any other link is closed.
    LinkLost {
        /// Which link.
        link: LinkId,
        /// Why, if the host knows.
        reason: Option<String>,
    },
    /// A store answered.
    Storage {
        /// Which store.
        store: StoreId,
        /// Its answer.
        outcome: Outcome,
    },
    /// The time of [`Output::Idle`] came.
    Timeout,
}

/// What the host has to do.
#[derive(Debug)]
pub enum Output {
    /// Write to a link's transport; never more than its credit and one frame.
    Transmit {
        /// Which link.
        link: LinkId,
        /// The bytes; one message on a framed link.
        bytes: Bytes,
    },
    /// Carry out an intent.
    Storage {
        /// Which store.
        store: StoreId,
        /// What to do.
        intent: Intent,
    },
    /// End our side of a link's transport once everything before is on its way: nothing more is written, and it is read on.
    FinishLink {
        /// Which link.
        link: LinkId,
    },
    /// Close a link's transport once everything before is on its way; nothing follows.
    CloseLink {
        /// Which link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Tell the user.
    Event(Event),
    /// Nothing more to do until an input or command, or until this moment: then give [`Input::Timeout`].
    Idle {
        /// When, if ever.
        wake_at: Option<Instant>,
    },
}

/// How far a repair came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairStage {
    /// The proof is looked at.
    Begun,
    /// The roots are there.
    Done,
    /// They are not in the proof.
    Failed,
}

/// Something to tell the user.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A command ended.
    Done {
        /// Which.
        request: RequestId,
        /// How.
        result: Result<Response, Error>,
    },
    /// A core grew, by us or by peers. What it holds now is durable.
    CoreAppend {
        /// Which core.
        core: CoreId,
        /// What it had come to then: more may have been stored since.
        head: Extent,
    },
    /// A peer proved that a core is longer, and the host wanted to be asked before that is stored:
    /// [`CoreHandle::admit`](super::CoreHandle::admit) answers.
    CoreGrowing {
        /// Which core.
        core: CoreId,
        /// The head that it would have.
        tree: Box<Tree>,
    },
    /// A core was cut, by us or by peers.
    CoreTruncate {
        /// Which core.
        core: CoreId,
        /// Blocks that both histories share.
        ancestors: u64,
        /// The new fork.
        fork: u64,
        /// What was left then, unless it grew again at once.
        head: Option<Extent>,
    },
    /// The manifest of a core became known.
    Manifest {
        /// Which core.
        core: CoreId,
    },
    /// A block came from a peer and is stored.
    Download {
        /// Which core.
        core: CoreId,
        /// From whom.
        peer: PeerId,
        /// Which block.
        index: u64,
        /// Stored bytes.
        byte_length: u64,
        /// From request to answer.
        elapsed: Option<Duration>,
    },
    /// A block went to a peer.
    Upload {
        /// Which core.
        core: CoreId,
        /// To whom.
        peer: PeerId,
        /// Which block.
        index: u64,
        /// Stored bytes.
        byte_length: u64,
    },
    /// A peer replicates a core from now on.
    PeerAdd {
        /// Which core.
        core: CoreId,
        /// Who.
        peer: PeerId,
        /// On which link.
        link: LinkId,
    },
    /// A peer is gone.
    PeerRemove {
        /// Which core.
        core: CoreId,
        /// Who.
        peer: PeerId,
        /// On which link it was.
        link: LinkId,
    },
    /// A peer sent data that does not verify.
    VerificationError {
        /// Which core.
        core: CoreId,
        /// Who.
        peer: PeerId,
        /// What is wrong.
        error: ApplyError,
        /// Which block, if it was one.
        block: Option<u64>,
    },
    /// A peer asked for something impossible.
    InvalidRequest {
        /// Which core.
        core: CoreId,
        /// Who.
        peer: PeerId,
    },
    /// Two valid signatures exist for one length. The core no longer replicates.
    Conflict {
        /// Which core.
        core: CoreId,
        /// The length.
        length: u64,
        /// The fork.
        fork: u64,
        /// The other history.
        proof: Box<Proof>,
    },
    /// A core that has lost roots of its tree takes them from a peer.
    Repair {
        /// Which core.
        core: CoreId,
        /// How far it came.
        stage: RepairStage,
        /// What they are taken from.
        proof: Box<Proof>,
    },
    /// A peer has more blocks from the start without a gap than any before.
    RemoteContiguousLength {
        /// Which core.
        core: CoreId,
        /// Blocks.
        length: u64,
    },
    /// A peer sent a message of an extension.
    Extension {
        /// Which core.
        core: CoreId,
        /// Who.
        peer: PeerId,
        /// The extension.
        name: String,
        /// In its own encoding.
        payload: Bytes,
    },
    /// A store failed. Its cores neither read nor write from now on.
    StoreFailed {
        /// Which.
        store: StoreId,
        /// Why.
        failure: StorageFailure,
    },
    /// A peer wants to replicate a core that is not attached to its link. Attach one, or reject it.
    DiscoveryKey {
        /// Which link.
        link: LinkId,
        /// Which core.
        discovery_key: DiscoveryKey,
    },
    /// Something happened at a relay.
    Relay(super::RelayEvent),
    /// A link's handshake is done.
    LinkOpened {
        /// Which link.
        link: LinkId,
        /// Our key on it.
        public_key: PublicKey,
        /// The peer's key, proven.
        remote_public_key: PublicKey,
        /// Names the link to both ends.
        handshake_hash: [u8; 64],
    },
    /// A message arrived on a link without channels; see [`Engine::read_messages`](super::Engine::read_messages).
    LinkMessage {
        /// Which link.
        link: LinkId,
        /// The message.
        bytes: Bytes,
    },
    /// A peer opened a channel that is no core's; see [`Engine::expose_channels`](super::Engine::expose_channels). Open
    /// one of the same name, or reject it.
    RemoteChannel {
        /// Which link.
        link: LinkId,
        /// What to reject.
        open: RemoteOpenId,
        /// The protocol's name.
        protocol: String,
        /// Tells channels of one protocol apart; empty for none.
        key: Bytes,
    },
    /// Both ends opened a channel that is no core's.
    ChannelOpened {
        /// Which link.
        link: LinkId,
        /// Which channel.
        channel: ChannelId,
        /// What the peer sent with its open.
        handshake: Bytes,
    },
    /// A message arrived on a channel that is no core's.
    ChannelMessage {
        /// Which link.
        link: LinkId,
        /// Which channel.
        channel: ChannelId,
        /// Which kind of message of the protocol.
        message_type: u64,
        /// The message in the protocol's own encoding.
        payload: Bytes,
    },
    /// The peer closed or refused a channel that is no core's.
    ChannelClosed {
        /// Which link.
        link: LinkId,
        /// Which channel.
        channel: ChannelId,
    },
    /// A link that had no room has some again.
    LinkDrain {
        /// Which link.
        link: LinkId,
    },
    /// Send this message on a link's direct path; see [`Engine::open_direct`](super::Engine::open_direct).
    DirectBytes {
        /// Which link.
        link: LinkId,
        /// The message.
        bytes: Bytes,
    },
    /// A link that runs through relays goes another way from here on.
    Path {
        /// Which link.
        link: LinkId,
        /// Which way.
        path: LinkPath,
    },
    /// The remote end of a link that is read message by message writes nothing more; the link can be written to until
    /// [`Engine::finish_link`](super::Engine::finish_link).
    LinkEnded {
        /// Which link.
        link: LinkId,
    },
    /// A link is over.
    LinkClosed {
        /// Which link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
}

/// Which way the bytes of a link go that runs through relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPath {
    /// On the host's direct path, both ways.
    Direct,
    /// Through the relays, since the direct path is given up.
    Relayed(Return),
}

/// How a command ended well.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Response {
    /// Blocks are appended, and durable.
    Appended {
        /// Blocks in the log.
        length: u64,
        /// Stored bytes in the log.
        byte_length: u64,
    },
    /// A proof was taken in; false when it came too late to matter.
    Applied(bool),
    /// What an audit found in a part of the log.
    Audited(Audited),
    /// What a bee answers.
    #[cfg(feature = "bee")]
    Bee(super::BeeResponse),
    /// A block, decrypted when the command said so; `None` when it is not here and was not to be waited for.
    Block(Option<Bytes>),
    /// The length and stored bytes of a log that took a branch's blocks; `None` when the branch does not fit.
    Committed(Option<(u64, u64)>),
    /// It is done.
    Done,
    /// Whether blocks are stored.
    Has(bool),
    /// How many parents to climb from a block's leaf to a stored node.
    MissingNodes(u64),
    /// The core is open: its getters work.
    Opened,
    /// A proof.
    Proof(Box<Proof>),
    /// Records as they are stored, in the order that they were asked for.
    Records(Vec<Option<Bytes>>),
    /// A block, and bytes into its content; `None` when the byte is beyond the end, or unknown and not to be waited
    /// for.
    Seek(Option<(u64, u64)>),
    /// The bytes to sign.
    Signable(Bytes),
    /// What is known about a store.
    Store(Box<Answer>),
    /// The hash of a tree.
    TreeHash(Hash),
    /// Stored blocks without marks, and where to go on looking.
    Unmarked {
        /// First, and end, exclusive.
        ranges: Vec<(u64, u64)>,
        /// Where to go on.
        next: Option<u64>,
    },
    /// Whether the log changed; false for a query that a relay turned down.
    Updated(bool),
    /// What programs keep for themselves, in the order of keys.
    Locals {
        /// Key and value.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// A piece of user data.
    UserData(Option<Bytes>),
    /// Pieces of user data in the order of their names.
    UserDataList {
        /// Name and value.
        entries: Vec<(String, Bytes)>,
        /// Whether there are more behind the last.
        more: bool,
    },
}

/// Which core to open, and how it replicates.
#[derive(Clone, Debug)]
pub struct OpenCore {
    /// Which core.
    pub core: OpenOptions,
    /// How it replicates.
    pub replication: ReplicatorOptions,
    /// Whether it tells peers from the start that it wants something.
    pub is_active: bool,
}

impl Default for OpenCore {
    fn default() -> Self {
        Self { core: OpenOptions::default(), replication: ReplicatorOptions::default(), is_active: true }
    }
}

/// How a block is got.
#[derive(Clone, Debug)]
pub struct GetOptions {
    /// Waits for peers when the block is not here.
    pub wait: bool,
    /// How long.
    pub timeout: Option<Duration>,
    /// Asks even when only pushes are taken.
    pub force: bool,
    /// 0 normal, 1 high, 2 very high.
    pub priority: u8,
    /// The block of this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Decrypts the block.
    pub encryption: Option<EncryptionKey>,
}

impl Default for GetOptions {
    fn default() -> Self {
        Self { wait: true, timeout: None, force: false, priority: 1, snapshot: None, encryption: None }
    }
}

/// How peers are asked for a longer log.
#[derive(Clone, Copy, Debug)]
pub struct UpdateOptions {
    /// Waits for peers.
    pub wait: bool,
    /// Asks although the core is written here.
    pub force: bool,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self { wait: true, force: false }
    }
}

/// How a byte is sought.
#[derive(Clone, Copy, Debug)]
pub struct SeekOptions {
    /// Waits for peers when the way to it is not here.
    pub wait: bool,
    /// How long.
    pub timeout: Option<Duration>,
    /// Bytes of each block that are not content: 8 when encrypted.
    pub padding: u64,
}

impl Default for SeekOptions {
    fn default() -> Self {
        Self { wait: true, timeout: None, padding: 0 }
    }
}

/// The caller named something that is not there; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The core is not open yet.
    NotOpened,
    /// There is no such core, or it is closed.
    UnknownCore,
    /// There is no such link, or it is closed.
    UnknownLink,
    /// There is no such relay, or it is closed.
    UnknownRelay,
    /// There is no such store, or it is closed.
    UnknownStore,
}

impl core::fmt::Display for Misuse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotOpened => "core is not open yet",
            Self::UnknownCore => "no such core",
            Self::UnknownLink => "no such link",
            Self::UnknownRelay => "no such relay",
            Self::UnknownStore => "no such store",
        })
    }
}

impl core::error::Error for Misuse {}
