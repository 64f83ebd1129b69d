//! Why a read stops.

use core::fmt;

/// The read needs blocks that are not loaded. The source recorded which: load them, run it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// A read did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// A block is not what a correct writer appends.
    Invalid(BadBlock),
    /// Blocks are missing: load what the source recorded and run the read again.
    Missing,
    /// Nothing is missing, but much was read without a result: let others run, then go on.
    Paused,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(bad) => bad.fmt(f),
            Self::Missing => f.write_str("blocks are not available"),
            Self::Paused => f.write_str("read is not finished"),
        }
    }
}

impl core::error::Error for ReadError {}

impl From<Missing> for ReadError {
    fn from(Missing: Missing) -> Self {
        Self::Missing
    }
}

impl From<BadBlock> for ReadError {
    fn from(bad: BadBlock) -> Self {
        Self::Invalid(bad)
    }
}

/// A block that no correct writer appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// Its index in the core.
    pub seq: u64,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} {}", self.seq, self.problem)
    }
}

impl core::error::Error for BadBlock {}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A pointer leads to itself, to a later block or, by detours, to the same key again.
    Cycle,
    /// A tree node has children, but not one more than it has keys.
    Children {
        /// How many keys.
        keys: usize,
        /// How many numbers, two to a child.
        numbers: usize,
    },
    /// A pointer names a tree node that its block does not have.
    NoSuchLevel {
        /// The place in the index.
        offset: u64,
    },
    /// The tree is deeper than any tree with as many keys as a core can have blocks.
    TooDeep,
    /// Something is larger than any correct writer makes it.
    TooLarge {
        /// The most that is accepted.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// The bytes are not of the right form.
    Undecodable,
    /// Two tree nodes side by side are a leaf and not a leaf.
    Uneven,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle => f.write_str("is reached twice"),
            Self::Children { keys, numbers } => {
                write!(f, "has {keys} keys and {numbers} numbers for children")
            }
            Self::NoSuchLevel { offset } => write!(f, "has no tree node {offset}"),
            Self::TooDeep => f.write_str("is in too deep a tree"),
            Self::TooLarge { limit, found } => write!(f, "holds {found} of something limited to {limit}"),
            Self::Undecodable => f.write_str("cannot be decoded"),
            Self::Uneven => f.write_str("is in a tree whose leaves are not on one level"),
        }
    }
}
