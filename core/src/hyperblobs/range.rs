//! Parts of a blob: from which byte to which, and which blocks hold them.
//!
//! Source: hyperblobs 2.12, `lib/streams.js` (`BlobReadStream`). Upstream reads on beyond the end of a blob when asked
//! to; here a part ends with it.

use super::BlobId;

/// The part of a blob that a reader asks for; all of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: Option<u64>,
    /// Last byte, inclusive.
    pub end: Option<u64>,
    /// Bytes; counts before [`end`](Self::end).
    pub length: Option<u64>,
}

impl ByteRange {
    /// Returns the window that this is in a blob of `byte_length` bytes.
    pub fn window(&self, byte_length: u64) -> Window {
        let start = self.start.unwrap_or(0).min(byte_length);
        let end = match (self.length, self.end) {
            (Some(length), _) => self.start.unwrap_or(0).saturating_add(length),
            (None, Some(end)) => end.saturating_add(1),
            (None, None) => byte_length,
        };
        Window { start, end: end.min(byte_length).max(start) }
    }
}

/// Bytes of a blob, counted from its first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First byte.
    pub start: u64,
    /// The byte after the last one.
    pub end: u64,
}

/// Which byte of the core has to be looked for to find an edge of a window; `None` when its block is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeks {
    /// For the first block.
    pub start: Option<u64>,
    /// For the last block: the last byte of the window.
    pub last: Option<u64>,
}

/// A byte that was found: block, and bytes of it before that byte.
pub type Sought = (u64, u64);

/// The blocks to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// First block.
    pub start: u64,
    /// The block after the last one.
    pub end: u64,
    /// Bytes of the first block that come before the window.
    pub skip: u64,
}

impl Window {
    /// Returns what has to be looked for before [`blocks`](Self::blocks) can tell.
    pub fn seeks(&self, id: &BlobId) -> Seeks {
        let is_empty = self.start >= self.end;
        let inside =
            |byte: u64| (!is_empty && id.block_length > 1).then(|| id.byte_offset.saturating_add(byte));
        Seeks {
            start: if self.start == 0 { None } else { inside(self.start) },
            last: if self.end >= id.byte_length { None } else { inside(self.end.saturating_sub(1)) },
        }
    }

    /// Returns the blocks that hold the window, given what the seeks found.
    pub fn blocks(&self, id: &BlobId, start: Option<Sought>, last: Option<Sought>) -> Blocks {
        if self.start >= self.end {
            return Blocks { start: id.block_offset, end: id.block_offset, skip: 0 };
        }
        // In a blob of one block, the offset in the blob is that in the block.
        let (first, skip) = start.unwrap_or((id.block_offset, self.start));
        let end = last.map_or(id.block_end(), |(block, _)| block.saturating_add(1));
        Blocks { start: first, end: end.min(id.block_end()), skip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: Option<u64>, end: Option<u64>, length: Option<u64>) -> ByteRange {
        ByteRange { start, end, length }
    }

    #[test]
    fn ranges_end_with_the_blob() {
        assert_eq!(range(None, None, None).window(10), Window { start: 0, end: 10 });
        assert_eq!(range(Some(2), Some(4), None).window(10), Window { start: 2, end: 5 });
        assert_eq!(range(Some(2), Some(4), Some(1)).window(10), Window { start: 2, end: 3 });
        assert_eq!(range(Some(8), None, Some(9)).window(10), Window { start: 8, end: 10 });
        assert_eq!(range(Some(12), None, None).window(10), Window { start: 10, end: 10 });
        assert_eq!(range(Some(5), Some(3), None).window(10), Window { start: 5, end: 5 });
        assert_eq!(range(Some(5), Some(u64::MAX), Some(u64::MAX)).window(10), Window { start: 5, end: 10 });
    }

    #[test]
    fn only_edges_inside_the_blob_are_looked_for() {
        let id =
            BlobId { block_offset: 5, byte_offset: 100, block_length: 4, byte_length: 40, block_map: false };

        let all = Window { start: 0, end: 40 };
        assert_eq!(all.seeks(&id), Seeks { start: None, last: None });
        assert_eq!(all.blocks(&id, None, None), Blocks { start: 5, end: 9, skip: 0 });

        let middle = Window { start: 12, end: 20 };
        assert_eq!(middle.seeks(&id), Seeks { start: Some(112), last: Some(119) });
        assert_eq!(middle.blocks(&id, Some((6, 2)), Some((6, 9))), Blocks { start: 6, end: 7, skip: 2 });

        let one = BlobId { block_length: 1, ..id };
        assert_eq!(middle.seeks(&one), Seeks { start: None, last: None });
        assert_eq!(middle.blocks(&one, None, None), Blocks { start: 5, end: 6, skip: 12 });
    }
}
