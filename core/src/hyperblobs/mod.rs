//! Hyperblobs: byte strings as consecutive blocks of a core.
//!
//! A blob has no header and no framing: its [`BlobId`] says where it is, and whoever stored it keeps the id. A blob
//! whose chunks are shared with others is a [`block_map`] instead, which lists the blocks that make it up.
//!
//! Source: hyperblobs 2.12.

pub use block_map::{BadBlockMap, Dedup, MappedBlock};
pub use range::{ByteRange, Window};

pub mod block_map;
pub mod rabin;
pub mod range;

/// Bytes of a block, unless the writer chooses: a put is cut into pieces of this size.
pub const BLOCK_SIZE: usize = 1 << 16;

/// Blocks that a write stream appends together.
pub const APPEND_BLOCKS: usize = 16;

/// Where a blob is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobId {
    /// First block.
    pub block_offset: u64,
    /// Bytes before it in the core, without what encryption adds.
    pub byte_offset: u64,
    /// Blocks.
    pub block_length: u64,
    /// Bytes, without what encryption adds.
    pub byte_length: u64,
    /// Whether these are the blocks of a block map, and not the content.
    pub block_map: bool,
}

impl BlobId {
    /// Returns the block after the last one.
    pub fn block_end(&self) -> u64 {
        self.block_offset.saturating_add(self.block_length)
    }

    /// Returns the byte of the core after the last one.
    pub fn byte_end(&self) -> u64 {
        self.byte_offset.saturating_add(self.byte_length)
    }
}
