//! What can be asked of a [`Core`](super::core::Core), and what it answers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::{KeyPair, Secret};
use crate::id::Hash;
use crate::storage::View;

use super::branch::State;
use super::conflict::Verdict;
use super::error::CoreError;
use super::manifest::Manifest;
use super::merkle_tree::{Seek, Tree};
use super::proof::{Proof, ProofRequest};
use super::prove::Refused;
use super::raw::{Record, RecordChange};
use super::reorg::ReorgWant;
use super::upkeep::{AuditOptions, Audited};
use super::verify::VerifyError;

/// Names a job until [`CoreEvent::Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Something for a core to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Appends blocks. Answered once they are durable.
    Append {
        /// The blocks, not encrypted.
        blocks: Vec<Bytes>,
        /// How.
        options: AppendOptions,
    },
    /// Cuts the log. Answered once that is durable.
    Truncate {
        /// Blocks that stay.
        length: u64,
        /// How.
        options: TruncateOptions,
    },
    /// Drops the blocks `start..end` from storage; the log stays as it is.
    Clear {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
    /// Stores or removes a piece of user data.
    PutUserData {
        /// Its name.
        name: String,
        /// Its value; `None` removes it.
        value: Option<Bytes>,
    },
    /// Does something that writes, and records in the same commit that it was done: whoever asks again after a crash
    /// can tell. The record is a piece of user data; what was appended or committed is in it as two numbers of 64
    /// bits, little endian: the length and the byte length after it.
    Recorded {
        /// What is to be done.
        work: Box<Work>,
        /// The name of the record.
        operation: String,
    },
    /// Applies the finished search for the fork point of this fork.
    ApplyReorg {
        /// The fork.
        fork: u64,
    },
    /// Takes blocks of a branch in, and signs them.
    Commit(Box<Committing>),
    /// Lets a branch start over from the log that it branched off.
    CatchUp {
        /// The log.
        source: Box<State>,
        /// Blocks that are shared from then on.
        length: u64,
        /// As if it were made anew: with the fork of the log.
        starts_over: bool,
    },
    /// Takes the blocks that the manifest fixes from another log of the same store.
    CopyPrologue(Box<State>),
    /// Takes the roots that were lost from a peer's proof of the head or of a shorter log.
    Repair(Box<Proof>),
    /// Stores the manifest, unless it is known.
    SetManifest(Box<Manifest>),
    /// Puts the core into a group.
    SetGroup {
        /// The group's topic.
        topic: Hash,
    },
    /// Waits until nothing is staged, and keeps it so until [`Core::release`](super::core::Core::release).
    Hold,
    /// Waits until nothing is staged.
    Settle,
    /// Keeps the blocks from here on for the snapshots that show them.
    Retain {
        /// First block.
        start: u64,
    },
    /// Drops the own blocks `start..length` of a branch, which its parent has now.
    Rebase {
        /// First block.
        start: u64,
        /// End, exclusive.
        length: u64,
    },
    /// Notes that blocks are to stay when the others are dropped.
    Mark {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
    /// Forgets all marks.
    ClearMarks,
    /// Looks for stored blocks without marks.
    Unmarked {
        /// First block.
        from: u64,
    },
    /// Looks whether what is stored fits together, a part of the log at a time.
    Audit(AuditOptions),
    /// Reads records as they are stored.
    ReadRecords(Vec<Record>),
    /// Changes records behind the back of the log.
    WriteRecords(Vec<RecordChange>),
    /// Stores blocks that the tree knows, and leaves out those that it does not.
    Restore(Vec<(u64, Bytes)>),
    /// Looks whether blocks are stored, by reading them.
    Has {
        /// First block.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
    /// Verifies and stores a proof of the local fork.
    Apply(Proof),
    /// Verifies a proof of a higher fork against the search of that fork.
    CheckReorg(Proof),
    /// Compares a peer's head with ours.
    CheckConflict(Proof),
    /// Makes a proof, block included.
    Prove(ProofRequest),
    /// Reads a block as it is stored.
    Get {
        /// Which.
        index: u64,
    },
    /// Reads a piece of user data.
    UserData {
        /// Its name.
        name: String,
    },
    /// Finds the block that holds a byte.
    Seek {
        /// Bytes of content before it.
        bytes: u64,
        /// Bytes of each block that are not content.
        padding: u64,
    },
    /// Computes the tree hash at a length.
    TreeHash {
        /// Blocks.
        length: u64,
    },
    /// Counts the parents to climb from a block's leaf to a stored node.
    MissingNodes {
        /// The block.
        index: u64,
    },
    /// Looks whether all roots of a length are stored.
    CanUpgrade {
        /// Blocks.
        length: u64,
    },
}

impl Work {
    /// Returns what an atom holds of the log that the work reads.
    pub(super) fn unflushed(&self) -> Option<&Arc<View>> {
        match self {
            Self::Commit(commit) => commit.source.unflushed(),
            Self::CopyPrologue(source) => source.unflushed(),
            _ => None,
        }
    }

    /// Whether it waits for those submitted before it.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(
            self,
            Self::Append { .. }
                | Self::Truncate { .. }
                | Self::Clear { .. }
                | Self::PutUserData { .. }
                | Self::Recorded { .. }
                | Self::ApplyReorg { .. }
                | Self::CatchUp { .. }
                | Self::Repair(_)
                | Self::SetManifest(_)
                | Self::SetGroup { .. }
                | Self::Commit(_)
                | Self::CopyPrologue(_)
                | Self::WriteRecords(_)
                | Self::Hold
        )
    }

    /// Whether it changes the log, and is not part of what the log is held for.
    pub(super) fn waits_while_held(&self) -> bool {
        self.is_ordered()
            || matches!(
                self,
                Self::Apply(_) | Self::Restore(_) | Self::Mark { .. } | Self::ClearMarks | Self::Audit(_)
            )
    }

    /// Whether it shortens the log.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Truncate { .. } | Self::ApplyReorg { .. } | Self::CatchUp { .. } => true,
            Self::Recorded { work, .. } => work.is_cut(),
            _ => false,
        }
    }

    /// Whether it changes nothing.
    pub(super) fn is_read(&self) -> bool {
        !self.waits_while_held()
            && !matches!(self, Self::CheckReorg(_) | Self::Rebase { .. } | Self::Settle | Self::Retain { .. })
    }
}

/// How blocks are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionKey {
    /// The key.
    pub key: Secret,
    /// Whether it is the key of the blocks, rather than one that theirs is derived from.
    pub is_block_key: bool,
}

/// How blocks are appended.
#[derive(Clone, Debug, Default)]
pub struct AppendOptions {
    /// Signs instead of the core's own pair.
    pub key_pair: Option<KeyPair>,
    /// The signature over the new head, made elsewhere.
    pub signature: Option<Bytes>,
    /// Appends nothing when the log would be longer.
    pub max_length: Option<u64>,
    /// Encrypts the blocks.
    pub encryption: Option<EncryptionKey>,
    /// The fork that encryption takes into account; that of the log by default, that of the main log for a branch.
    pub encryption_fork: Option<u64>,
}

/// How a log is cut.
#[derive(Clone, Debug, Default)]
pub struct TruncateOptions {
    /// The new fork; one more than the old by default.
    pub fork: Option<u64>,
    /// Signs instead of the core's own pair.
    pub key_pair: Option<KeyPair>,
    /// The signature over the new head, made elsewhere.
    pub signature: Option<Bytes>,
}

/// What is committed to a log.
#[derive(Clone, Debug)]
pub struct Committing {
    /// The branch.
    pub source: State,
    /// How.
    pub options: CommitOptions,
}

/// How a branch is committed.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Blocks of the log afterwards; those of the branch by default.
    pub length: Option<u64>,
    /// First block that is copied; those below must be proven, not stored. What the branch shares by default.
    pub tree_length: Option<u64>,
    /// Signs instead of the core's own pair.
    pub key_pair: Option<KeyPair>,
    /// The signature over the new head, made elsewhere.
    pub signature: Option<Bytes>,
    /// Records it by this name, as [`Work::Recorded`] does.
    pub operation: Option<String>,
}

/// How a job ended well.
#[derive(Clone, Debug)]
pub enum Value {
    /// To [`Work::Append`].
    Appended {
        /// Blocks in the log.
        length: u64,
        /// Stored bytes in the log.
        byte_length: u64,
    },
    /// To [`Work::Apply`].
    Applied(Result<Applied, VerifyError>),
    /// To [`Work::Audit`].
    Audited(Audited),
    /// To [`Work::Get`].
    Block(Option<Bytes>),
    /// To [`Work::CanUpgrade`].
    CanUpgrade(bool),
    /// To [`Work::Commit`]: the length and stored bytes of the log; `None` when the branch does not fit.
    Committed(Option<(u64, u64)>),
    /// To [`Work::CheckConflict`].
    Conflict(Box<Verdict>),
    /// To jobs that have nothing to say.
    Done,
    /// To [`Work::Has`].
    Has(bool),
    /// To [`Work::MissingNodes`].
    MissingNodes(u64),
    /// To [`Work::Prove`].
    Proof(Result<Box<Proof>, Refused>),
    /// To [`Work::ReadRecords`]: their values, in the same order.
    Records(Vec<Option<Bytes>>),
    /// To [`Work::CheckReorg`]: what is still wanted.
    ReorgStep(Result<Option<ReorgWant>, VerifyError>),
    /// To [`Work::Repair`]: whether the roots are there.
    Repaired(bool),
    /// To [`Work::ApplyReorg`]: the shared blocks and the length before; `None` when the log changed meanwhile.
    Reorged(Option<(u64, u64)>),
    /// To [`Work::Seek`].
    Seek(Seek),
    /// To [`Work::TreeHash`]; `None` when a root is not stored.
    TreeHash(Option<Hash>),
    /// To [`Work::Unmarked`].
    Unmarked {
        /// Blocks that may be dropped: first, and end, exclusive.
        ranges: Vec<(u64, u64)>,
        /// Where to go on.
        next: Option<u64>,
    },
    /// To [`Work::UserData`].
    UserData(Option<Bytes>),
}

/// What an applied proof changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The head grew.
    pub upgraded: bool,
    /// The manifest became known.
    pub manifest: bool,
    /// A block is stored.
    pub block: bool,
}

/// How far a log reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Blocks.
    pub length: u64,
    /// Their bytes as they are stored.
    pub byte_length: u64,
    /// Its fork.
    pub fork: u64,
}

impl From<&Tree> for Extent {
    fn from(tree: &Tree) -> Self {
        Self { length: tree.length, byte_length: tree.byte_length, fork: tree.fork }
    }
}

/// What a core has to tell. Whatever it tells is durable.
#[derive(Clone, Debug)]
pub enum CoreEvent {
    /// Blocks were appended here.
    Appended {
        /// First of them.
        start: u64,
        /// How many.
        length: u64,
        /// What the log had come to with each call.
        heads: Vec<Extent>,
    },
    /// A peer proved that the log is longer, and [`Core::admit`](super::core::Core::admit) has to say whether it may grow to that
    /// head. Nothing of it is stored.
    Growing(Box<Tree>),
    /// The log grew because a peer proved it, or its parent had.
    Upgraded(Extent),
    /// The log was cut.
    Truncated {
        /// Blocks that both histories share.
        ancestors: u64,
        /// Length before.
        old_length: u64,
        /// The new fork.
        fork: u64,
        /// Whether a peer proved it, rather than we.
        is_reorg: bool,
        /// What was left, unless it grew again at once.
        head: Option<Extent>,
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
    Manifest {
        /// Whether a peer told it.
        is_remote: bool,
    },
    /// A job ended.
    Done {
        /// Which.
        job: JobId,
        /// How.
        result: Result<Value, CoreError>,
    },
}
