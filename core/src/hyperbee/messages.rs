//! The bytes of blocks and of extension messages.
//!
//! All of it is Protocol Buffers. Repeated numbers are packed, fields go out in the order of their numbers,
//! and what upstream requires is checked on the way in.
//!
//! Source: hyperbee 2.27, `lib/messages.js`.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::error::{BadBlock, Problem};

/// Block 0 of a bee.
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | 1 | string | [`PROTOCOL`]; required |
/// | 2 | [`Metadata`] | what the application adds |
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Header {
    /// Which structure the core holds.
    #[prost(string, optional, tag = "1")]
    pub protocol: Option<String>,
    /// What the application adds.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
}

/// What an application says about its bee.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Metadata {
    /// The key of a core with the contents that entries refer to.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub content_feed: Option<Bytes>,
    /// Anything.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub user_data: Option<Bytes>,
}

/// Every block after the header: one put or delete.
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | 1 | [`YoloIndex`] as bytes | the tree nodes that this change rewrote; required |
/// | 2 | bytes | the key that was put or deleted; required |
/// | 3 | bytes | its value |
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Node {
    /// An encoded [`YoloIndex`].
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub index: Option<Bytes>,
    /// The key that was put or deleted.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub key: Option<Bytes>,
    /// The value; absent means null.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub value: Option<Bytes>,
}

/// The tree nodes of one block, the root of its version first.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct YoloIndex {
    /// The nodes; pointers name them by their place here.
    #[prost(message, repeated, tag = "1")]
    pub levels: Vec<Level>,
}

/// One tree node.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Level {
    /// The blocks that hold the keys, in key order.
    #[prost(uint64, repeated, tag = "1")]
    pub keys: Vec<u64>,
    /// Block and place in its index of each child, one after the other; none in a leaf.
    #[prost(uint64, repeated, tag = "2")]
    pub children: Vec<u64>,
}

/// A payload of the core extension named [`EXTENSION`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Extension {
    /// Blocks worth downloading: the answer.
    #[prost(message, optional, tag = "1")]
    pub cache: Option<CacheMessage>,
    /// A lookup of one key.
    #[prost(message, optional, tag = "2")]
    pub get: Option<GetMessage>,
    /// A walk over a range.
    #[prost(message, optional, tag = "3")]
    pub iterator: Option<IteratorMessage>,
}

/// Asks which blocks a lookup reads.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetMessage {
    /// The version to look in.
    #[prost(uint64, optional, tag = "1")]
    pub version: Option<u64>,
    /// The key, with all prefixes.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub key: Option<Bytes>,
    /// Whether the blocks that show the result are enough, see [`View::evidence`](super::View::evidence).
    ///
    /// Ours; upstream skips fields it does not know and answers with all blocks that a search touches.
    #[prost(bool, optional, tag = "100")]
    pub evidence: Option<bool>,
}

/// Asks which blocks the rest of a walk reads.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IteratorMessage {
    /// The version to walk.
    #[prost(uint64, optional, tag = "1")]
    pub version: Option<u64>,
    /// First key.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub gte: Option<Bytes>,
    /// The key before the first one.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub gt: Option<Bytes>,
    /// Last key.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub lte: Option<Bytes>,
    /// The key after the last one.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub lt: Option<Bytes>,
    /// Most entries; 0 means all.
    #[prost(uint64, optional, tag = "6")]
    pub limit: Option<u64>,
    /// Whether the walk goes down.
    #[prost(bool, optional, tag = "7")]
    pub reverse: Option<bool>,
    /// Where the walk is: block, place in its index and position in the node, for each node on the path.
    #[prost(uint64, repeated, tag = "8")]
    pub checkpoint: Vec<u64>,
}

/// Names blocks.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheMessage {
    /// The lowest block; required.
    #[prost(uint64, optional, tag = "1")]
    pub start: Option<u64>,
    /// The block after the highest; required.
    #[prost(uint64, optional, tag = "2")]
    pub end: Option<u64>,
    /// The blocks, in the order they were read.
    #[prost(uint64, repeated, tag = "3")]
    pub blocks: Vec<u64>,
    /// Which child to take in each node, from the root on; only as answer to [`GetMessage::evidence`]. Ours.
    #[prost(uint64, repeated, tag = "100")]
    pub turns: Vec<u64>,
    /// The key that was asked for; only as answer to [`GetMessage::evidence`]. Ours.
    #[prost(bytes = "bytes", optional, tag = "101")]
    pub key: Option<Bytes>,
}

impl CacheMessage {
    /// Makes a message that names blocks.
    pub(super) fn of(blocks: Vec<u64>, turns: Vec<u64>) -> Self {
        let end = blocks.iter().max().map(|last| last.saturating_add(1));
        Self { start: blocks.iter().min().copied(), end, blocks, turns, key: None }
    }
}

/// Returns block 0 of a new bee.
pub fn header_block(metadata: Option<Metadata>) -> Bytes {
    Header { protocol: Some(String::from(PROTOCOL)), metadata }.encode_to_vec().into()
}

/// Reads block 0.
///
/// # Errors
///
/// [`BadBlock`] when it is no header at all. A header of another protocol is no error.
pub fn decode_header(block: Bytes) -> Result<Header, BadBlock> {
    match Header::decode(block) {
        Ok(header) if header.protocol.is_some() => Ok(header),
        _ => Err(BadBlock { seq: 0, problem: Problem::Undecodable }),
    }
}

/// Returns whether a core with this block 0 is a bee.
pub fn is_hyperbee(block: Bytes) -> bool {
    decode_header(block).is_ok_and(|header| header.protocol() == PROTOCOL)
}

/// Reads an extension payload, or returns `None` when it is to be ignored.
pub fn decode_extension(payload: Bytes) -> Option<Extension> {
    let message = Extension::decode(payload).ok()?;
    let complete = message.cache.as_ref().is_none_or(|cache| cache.start.is_some() && cache.end.is_some());
    complete.then_some(message)
}

/// What [`Header::protocol`] says in a bee.
pub const PROTOCOL: &str = "hyperbee";

/// The name of the extension that asks for hints.
pub const EXTENSION: &str = "hyperbee";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_without_protocol_is_refused() {
        assert!(decode_header(Bytes::new()).is_err());
        assert!(decode_header(Bytes::from_static(b"\x12\x00")).is_err());
        assert!(decode_header(Bytes::from_static(b"\x0a\x05other")).is_ok());
        assert!(!is_hyperbee(Bytes::from_static(b"\x0a\x05other")));
        assert!(is_hyperbee(header_block(None)));
    }

    #[test]
    fn answer_without_bounds_is_ignored() {
        assert!(decode_extension(Bytes::from_static(b"\x0a\x02\x08\x01")).is_none());
        assert!(decode_extension(Bytes::from_static(b"\xff")).is_none());
        assert!(decode_extension(Bytes::new()).is_some());
    }
}
