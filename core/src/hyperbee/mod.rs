//! Hyperbee: an append-only B-tree of keys and values in a core.
//!
//! Every put and delete appends one block: the key, the value and the tree nodes on the path that changed.
//! Old blocks stay, so every length of the core at which a write ended is a version that can be read.
//!
//! Nothing here does I/O. Reads run over a [`BlockSource`] and stop with [`ReadError::Missing`] when it has
//! not loaded what they need; run them again once it has. A [`BatchWriter`] turns puts and deletes into the
//! blocks to append, byte for byte those of upstream.
//!
//! - [`tree`] reads: [`View`] and the cursors over ranges, history and differences.
//! - [`batch`] writes.
//! - [`keys`] puts keys under prefixes and in order.
//! - [`extension`] tells peers which blocks they will need.
//! - [`hypertrie`] reads the structure that came before.
//!
//! Source: hyperbee 2.27.

pub use batch::BatchWriter;
pub use cache::BlockCache;
pub use error::{BadBlock, Missing, Problem, ReadError};
pub use keys::{Prefix, Range};
pub use loaded::LoadedBlocks;
pub use messages::{Header, Metadata, decode_header, header_block, is_hyperbee};
pub use tree::{
    BlockSource, Change, DiffCursor, Difference, Entry, HistoryCursor, HistoryRange, RangeCursor, Trace, View,
};

pub mod batch;
pub mod cache;
pub mod error;
pub mod extension;
pub mod hypertrie;
pub mod keys;
pub mod loaded;
pub mod messages;
pub mod tree;

/// Most keys of a tree node at rest; one more and it splits.
const MAX_KEYS: usize = 8;

/// Fewest keys of a tree node that is not the root; one less and it takes from a neighbour.
const MIN_KEYS: usize = 4;

/// Deepest tree that is followed: with 5 children to a node, 23 levels hold a key for each of 2^53 blocks.
const MAX_DEPTH: usize = 32;
