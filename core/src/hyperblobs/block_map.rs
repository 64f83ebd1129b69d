//! Blobs that share blocks: the list of blocks that make one up, and how a writer finds what is there already.
//!
//! # Wire
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | version | uint | 0 |
//! | blocks | array of (uint index, uint byte length) | in the order of the content, at most [`MAX_ENTRIES`] a block |
//!
//! Source: hyperblobs 2.12, `lib/block-map.js`, `lib/streams.js` (`seekBlockMap`).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::range::Window;
use crate::collections::BTreeMap;
use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::crypto::blake2b_256;
use crate::id::Hash;

/// Most entries in one block of a map.
pub const MAX_ENTRIES: usize = 8192;

/// Most blocks of a map; upstream refuses to read more.
pub const MAX_BLOCKS: u64 = 64;

/// One block of a blob's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedBlock {
    /// Its index in the core.
    pub index: u64,
    /// Its bytes, without what encryption adds.
    pub byte_length: u64,
}

/// A block map that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadBlockMap {
    /// Not the bytes of a map.
    Undecodable(DecodeError),
    /// More than [`MAX_BLOCKS`] blocks.
    TooLarge {
        /// Blocks that the id names.
        found: u64,
    },
    /// A layout of later.
    UnknownVersion(u64),
}

impl fmt::Display for BadBlockMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(error) => write!(f, "block map: {error}"),
            // Upstream's words for these two.
            Self::TooLarge { .. } => f.write_str("Block map is too large"),
            Self::UnknownVersion(_) => f.write_str("Unsupported block map version"),
        }
    }
}

impl core::error::Error for BadBlockMap {}

impl From<DecodeError> for BadBlockMap {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

/// Returns the blocks of a map. A blob without content has a map without blocks.
pub fn encode(map: &[MappedBlock]) -> Vec<Bytes> {
    let encode = |entries: &[MappedBlock]| {
        let mut writer = Writer::default();
        writer.uint(0);
        writer.array(entries, |writer, entry| {
            writer.uint(entry.index);
            writer.uint(entry.byte_length);
        });
        Bytes::from(writer.into_vec())
    };
    map.chunks(MAX_ENTRIES).map(encode).collect()
}

/// Reads the blocks of a map.
///
/// # Errors
///
/// [`BadBlockMap`] when they are none.
pub fn decode<'a>(blocks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<MappedBlock>, BadBlockMap> {
    let mut map = Vec::new();
    for (count, block) in (1..).zip(blocks) {
        if count > MAX_BLOCKS {
            return Err(BadBlockMap::TooLarge { found: count });
        }
        let mut reader = Reader::new(block);
        match reader.uint()? {
            0 => {}
            version => return Err(BadBlockMap::UnknownVersion(version)),
        }
        map.extend(
            reader.array(|reader| Ok(MappedBlock { index: reader.uint()?, byte_length: reader.uint()? }))?,
        );
    }
    Ok(map)
}

/// Returns the bytes of the content.
pub fn byte_length(map: &[MappedBlock]) -> u64 {
    map.iter().fold(0, |sum, entry| sum.saturating_add(entry.byte_length))
}

/// Returns which entries hold a window of the content, and what is cut off the first and the last one.
pub fn locate(map: &[MappedBlock], window: &Window) -> Located {
    let mut located = Located { first: map.len(), end: map.len(), skip: 0, drop: 0 };
    if window.start >= window.end {
        return located;
    }
    let mut offset = 0u64;
    for (i, entry) in map.iter().enumerate() {
        let end = offset.saturating_add(entry.byte_length);
        if located.first == map.len() && window.start < end {
            located.first = i;
            located.skip = window.start - offset;
        }
        if window.end <= end {
            located.end = i + 1;
            located.drop = end - window.end;
            return located;
        }
        offset = end;
    }
    located
}

/// A part of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// First entry.
    pub first: usize,
    /// The entry after the last one.
    pub end: usize,
    /// Bytes of the first entry that come before the window.
    pub skip: u64,
    /// Bytes of the last entry that come after it.
    pub drop: u64,
}

/// A write that stores each different chunk once.
///
/// Chunks of the blob that is replaced are told first with [`known`](Self::known).
#[derive(Debug, Default)]
pub struct Dedup {
    stored: BTreeMap<Hash, MappedBlock>,
    map: Vec<MappedBlock>,
}

impl Dedup {
    /// Tells of a block that is stored already.
    pub fn known(&mut self, content: &[u8], block: MappedBlock) {
        self.stored.insert(blake2b_256(&[content]), block);
    }

    /// Adds a chunk, and returns whether it has to be appended as block `index`.
    pub fn write(&mut self, chunk: &[u8], index: u64) -> bool {
        let hash = blake2b_256(&[chunk]);
        if let Some(block) = self.stored.get(&hash) {
            self.map.push(*block);
            return false;
        }
        let block = MappedBlock { index, byte_length: chunk.len() as u64 };
        self.stored.insert(hash, block);
        self.map.push(block);
        true
    }

    /// Returns the map of what was written, to be appended after the chunks.
    pub fn finish(self) -> Vec<MappedBlock> {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn map(lengths: &[u64]) -> Vec<MappedBlock> {
        (10..).zip(lengths).map(|(index, &byte_length)| MappedBlock { index, byte_length }).collect()
    }

    #[test]
    fn maps_of_every_size_come_back() {
        for count in [0, 1, MAX_ENTRIES - 1, MAX_ENTRIES, MAX_ENTRIES + 1, 3 * MAX_ENTRIES] {
            let map: Vec<_> =
                (0..count as u64).map(|index| MappedBlock { index, byte_length: index * 3 }).collect();

            let blocks = encode(&map);

            assert_eq!(blocks.len(), count.div_ceil(MAX_ENTRIES));
            assert_eq!(decode(blocks.iter().map(|block| &block[..])), Ok(map));
        }
    }

    #[test]
    fn hostile_maps_are_refused() {
        assert_eq!(decode([&[1, 0][..]]), Err(BadBlockMap::UnknownVersion(1)));
        assert!(decode([&[0, 0xff, 0xff][..]]).is_err());
        assert!(decode([&[0, 0xfe, 0xff, 0xff, 0xff, 0xff][..]]).is_err());
        assert!(decode([&[][..]]).is_err());
        assert_eq!(decode(vec![&[0, 0][..]; 65]), Err(BadBlockMap::TooLarge { found: 65 }));
    }

    #[test]
    fn windows_are_found_as_in_a_plain_string() {
        let map = map(&[3, 0, 5, 1, 4]);
        for start in 0..=13 {
            for end in start..=13 {
                let part = locate(&map, &Window { start, end });

                let taken = byte_length(&map[part.first..part.end]);
                let before = byte_length(&map[..part.first]);
                assert_eq!(taken - part.skip - part.drop, end - start, "{start}..{end}");
                if start < end {
                    assert_eq!(before + part.skip, start, "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn each_different_chunk_is_stored_once() {
        let mut dedup = Dedup::default();
        dedup.known(b"old", MappedBlock { index: 2, byte_length: 3 });

        assert!(dedup.write(b"new", 7));
        assert!(!dedup.write(b"old", 8));
        assert!(!dedup.write(b"new", 8));
        assert!(dedup.write(b"", 8));

        let indexes: Vec<_> = dedup.finish().iter().map(|block| block.index).collect();
        assert_eq!(indexes, [7, 2, 7, 8]);
    }
}
