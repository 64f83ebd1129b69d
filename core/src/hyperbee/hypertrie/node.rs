//! The blocks of a hypertrie.
//!
//! Source: hypertrie 5.1, `lib/node.js`, `lib/trie.js`, `schema.proto`.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::Hasher;

use bytes::Bytes;
use prost::Message;

use super::super::error::{BadBlock, Problem};

/// Block 0 of a hypertrie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrieHeader {
    /// A drive puts the key of its content core here.
    pub metadata: Option<Bytes>,
    /// What the application says.
    pub subtype: Option<Bytes>,
}

/// Reads block 0, or returns `None` when it is not that of a hypertrie.
pub fn decode_header(block: Bytes) -> Option<TrieHeader> {
    let WireNode { key, value, trie, .. } = WireNode::decode(block).ok()?;
    (key? == TYPE).then_some(TrieHeader { metadata: value, subtype: trie })
}

/// Any block: the fields of block 0 have the numbers and types of others in a node.
#[derive(Clone, PartialEq, Eq, Message)]
struct WireNode {
    /// In block 0, [`TYPE`].
    #[prost(string, optional, tag = "1")]
    key: Option<String>,
    /// In block 0, the metadata.
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    /// In block 0, the subtype, which is text.
    #[prost(bytes = "bytes", optional, tag = "3")]
    trie: Option<Bytes>,
    #[prost(uint64, optional, tag = "4")]
    seq: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    flags: Option<u64>,
}

/// Positions, ascending, each with its slots and blocks in the order of the slots.
pub type Trie = Vec<(usize, Vec<(u8, u64)>)>;

/// What one block put.
#[derive(Debug, PartialEq, Eq)]
pub struct TrieNode {
    /// The block.
    pub seq: u64,
    /// The key, without a slash in front.
    pub key: String,
    /// The value; `None` is upstream's null.
    pub value: Option<Bytes>,
    /// Bit 0 is [`is_hidden`](Self::is_hidden), the upper ones from bit 8 on are the application's.
    pub flags: u64,
    path: Path,
    trie: Trie,
    trie_len: u64,
}

impl TrieNode {
    pub(super) fn decode(seq: u64, block: Bytes) -> Result<Self, BadBlock> {
        let bad = |problem| BadBlock { seq, problem };
        let node = WireNode::decode(block).map_err(|_| bad(Problem::Undecodable))?;
        let key = String::from(normalize(&node.key.ok_or(bad(Problem::Undecodable))?));
        if key.len() > MAX_KEY_LEN {
            return Err(bad(Problem::TooLarge { limit: MAX_KEY_LEN, found: key.len() }));
        }
        let flags = node.flags.unwrap_or(0);
        let path = Path::new(&key, flags & HIDDEN != 0);
        let (trie_len, trie) = match node.trie {
            Some(trie) => decode_trie(&trie).ok_or(bad(Problem::Undecodable))?,
            None => (0, Trie::new()),
        };
        Ok(Self { seq, key, value: node.value, flags, path, trie, trie_len })
    }

    /// Returns whether only lookups of hidden keys see it.
    pub fn is_hidden(&self) -> bool {
        self.flags & HIDDEN != 0
    }

    /// Returns the flags of the application.
    pub fn user_flags(&self) -> u64 {
        self.flags >> 8
    }

    /// Returns the SipHash of each part of the key, 8 bytes each.
    pub fn hash(&self) -> &[u8] {
        &self.path.hash
    }

    /// Returns the positions with other ways to go: slot and block of each way. A slot is a digit, or a
    /// multiple of 5 more when parts collide.
    pub fn trie(&self) -> &Trie {
        &self.trie
    }

    /// Returns how many positions the trie was written with.
    pub fn trie_len(&self) -> u64 {
        self.trie_len
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the slots at a position that stand for a digit.
    pub(super) fn slots(&self, i: usize, digit: u8) -> Vec<(u8, u64)> {
        let Ok(at) = self.trie.binary_search_by_key(&i, |bucket| bucket.0) else { return Vec::new() };
        self.trie[at].1.iter().filter(|(slot, _)| slot % 5 == digit).copied().collect()
    }
}

/// The way to a key: a digit for hidden or not, 32 for each part, and an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    key: String,
    hash: Vec<u8>,
    is_hidden: bool,
}

impl Path {
    /// `key` is [`normalize`]d.
    pub(super) fn new(key: &str, is_hidden: bool) -> Self {
        let mut hash = Vec::new();
        parts(key).for_each(|part| hash.extend_from_slice(&siphash(part)));
        Self { key: String::from(key), hash, is_hidden }
    }

    pub(super) fn len(&self) -> usize {
        self.hash.len() * 4 + 2
    }

    pub(super) fn digit(&self, i: usize) -> u8 {
        let Some(i) = i.checked_sub(1) else { return u8::from(self.is_hidden) };
        self.hash.get(i / 4).map_or(4, |byte| byte >> (2 * (i % 4)) & 3)
    }

    /// Returns whether equal digits up to `i` can still be another part.
    pub(super) fn is_part_end(i: usize) -> bool {
        i > 0 && i.is_multiple_of(32)
    }

    /// Returns whether the part that ends at `i` only has the same hash.
    pub(super) fn collides(&self, other: &Self, i: usize) -> bool {
        if i == self.len() - 1 {
            return self.key != other.key;
        }
        let part = i.saturating_sub(1) / 32;
        parts(&self.key).nth(part) != parts(&other.key).nth(part)
    }
}

/// Takes away one slash in front.
pub(super) fn normalize(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}

fn parts(key: &str) -> impl Iterator<Item = &[u8]> {
    // An empty first or last part does not count, one in the middle does.
    let key = key.as_bytes();
    let most = if key.is_empty() || key == b"/" { 0 } else { usize::MAX };
    let key = key.strip_prefix(b"/").unwrap_or(key);
    let key = key.strip_suffix(b"/").unwrap_or(key);
    key.split(|byte| *byte == b'/').take(most)
}

#[expect(
    deprecated,
    reason = "the one SipHash-2-4 in the standard library; its successors promise no algorithm"
)]
fn siphash(part: &[u8]) -> [u8; 8] {
    let mut hasher = core::hash::SipHasher::new();
    hasher.write(part);
    hasher.finish().to_le_bytes()
}

/// Reads the trie of a node: its length, then for each position its slots as bits and a block for each.
fn decode_trie(mut bytes: &[u8]) -> Option<(u64, Trie)> {
    let len = varint(&mut bytes)?;
    let mut trie = Trie::new();
    while !bytes.is_empty() {
        let position = usize::try_from(varint(&mut bytes)?).ok()?;
        let slots = varint(&mut bytes)?;
        let mut bucket = Vec::new();
        for slot in (0..64).filter(|slot| slots >> slot & 1 == 1) {
            bucket.push((slot, varint(&mut bytes)?));
        }
        if trie.last().is_some_and(|last| last.0 >= position) {
            return None;
        }
        trie.push((position, bucket));
    }
    Some((len, trie))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte >> 7 == 0 {
            return Some(value);
        }
    }
    None
}

/// What block 0 of a trie begins with.
const TYPE: &str = "hypertrie";

const HIDDEN: u64 = 1;

/// Bytes of a key at most; paths are walked digit by digit.
const MAX_KEY_LEN: usize = 1 << 16;
