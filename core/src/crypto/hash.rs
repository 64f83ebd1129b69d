//! BLAKE2b and the hashes hypercore builds on it.
//!
//! None of these functions is generic: they are compiled here, at this crate's optimisation level.
//!
//! Source: hypercore-crypto 3.7.0, `index.js`.

use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2b256, Blake2b512, Blake2bMac, Blake2bMac512};

use crate::compact_encoding::{self, Decode, Encode, Reader, Writer, uint_len};
use crate::id::{DiscoveryKey, Hash, PublicKey};

/// The longest BLAKE2b key, in bytes.
const MAX_KEY_LEN: usize = 64;

/// Returns the BLAKE2b-256 digest of the concatenated `parts`.
pub fn blake2b_256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Blake2b256::default();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_fixed().into()
}

/// Returns the BLAKE2b-512 digest of the concatenated `parts`.
pub fn blake2b_512(parts: &[&[u8]]) -> [u8; 64] {
    let mut hasher = Blake2b512::default();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_fixed().into()
}

/// Returns the BLAKE2b-256 digest of the concatenated `parts` under `key`; an empty key is no key.
///
/// # Panics
///
/// Panics when `key` is longer than 64 bytes. Keys are never a peer's choice of length.
pub fn blake2b_256_keyed(key: &[u8], parts: &[&[u8]]) -> Hash {
    assert!(key.len() <= MAX_KEY_LEN, "blake2b key of {} bytes", key.len());
    if key.is_empty() {
        return blake2b_256(parts);
    }
    let mut hasher = Blake2bMac::<blake2::digest::consts::U32>::new_from_slice(key).expect("checked above");
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_fixed().into()
}

/// Returns the BLAKE2b-512 digest of the concatenated `parts` under `key`; an empty key is no key.
///
/// # Panics
///
/// As [`blake2b_256_keyed`].
pub fn blake2b_512_keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    assert!(key.len() <= MAX_KEY_LEN, "blake2b key of {} bytes", key.len());
    if key.is_empty() {
        return blake2b_512(parts);
    }
    let mut hasher = Blake2bMac512::new_from_slice(key).expect("checked above");
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_fixed().into()
}

/// Returns namespace `index` of the protocol `name`: `H(H(name) || index)`.
pub fn namespace(name: &str, index: u8) -> Hash {
    blake2b_256(&[&blake2b_256(&[name.as_bytes()]), &[index]])
}

/// Returns the discovery key of a core key.
pub fn discovery_key(key: &PublicKey) -> DiscoveryKey {
    blake2b_256_keyed(key, &[b"hypercore"])
}

/// Returns the hash of a leaf: `H(00 || u64 length || block)`.
pub fn leaf_hash(block: &[u8]) -> Hash {
    let len = u64::try_from(block.len()).expect("memory is smaller than 2^64 bytes");
    blake2b_256(&[&[0], &len.to_le_bytes(), block])
}

/// Returns the hash of the parent of two nodes, in either order: `H(01 || u64 size || left || right)`.
pub fn parent_hash(left: &Node, right: &Node) -> Hash {
    let (left, right) = if left.index <= right.index { (left, right) } else { (right, left) };
    let size = left.size.saturating_add(right.size);
    blake2b_256(&[&[1], &size.to_le_bytes(), &left.hash, &right.hash])
}

/// Returns the hash of a tree by its full roots, left to right: `H(02 || (hash || u64 index || u64 size)*)`.
pub fn tree_hash(roots: &[Node]) -> Hash {
    let mut hasher = Blake2b256::default();
    hasher.update(&[2]);
    for root in roots {
        hasher.update(&root.hash);
        hasher.update(&root.index.to_le_bytes());
        hasher.update(&root.size.to_le_bytes());
    }
    hasher.finalize_fixed().into()
}

/// One node of a core's Merkle tree.
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | `index` | `uint` | flat-tree position |
/// | `size` | `uint` | bytes of all blocks below, padding included |
/// | `hash` | 32 bytes | [`leaf_hash`] or [`parent_hash`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The flat-tree position.
    pub index: u64,
    /// The bytes of all blocks below.
    pub size: u64,
    /// The hash over what is below.
    pub hash: Hash,
}

impl Node {
    /// The fewest bytes a node takes on the wire.
    pub const MIN_ENCODED_LEN: usize = 34;

    /// Returns the leaf of `block` at tree position `index`.
    pub fn leaf(index: u64, block: &[u8]) -> Self {
        let size = u64::try_from(block.len()).expect("memory is smaller than 2^64 bytes");
        Self { index, size, hash: leaf_hash(block) }
    }

    /// Returns the parent at tree position `index` of two siblings, in either order.
    ///
    /// The size saturates: two sizes off the wire stay far below, and a false sum fails the hash.
    pub fn parent(index: u64, left: &Self, right: &Self) -> Self {
        Self { index, size: left.size.saturating_add(right.size), hash: parent_hash(left, right) }
    }
}

impl Encode for Node {
    fn encoded_len(&self) -> usize {
        uint_len(self.index) + uint_len(self.size) + self.hash.len()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.index);
        writer.uint(self.size);
        writer.fixed(&self.hash);
    }
}

impl<'a> Decode<'a> for Node {
    fn decode(reader: &mut Reader<'a>) -> compact_encoding::Result<Self> {
        Ok(Self { index: reader.uint()?, size: reader.uint()?, hash: reader.fixed()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_concatenated() {
        assert_eq!(blake2b_256(&[b"ab", b"", b"c"]), blake2b_256(&[b"abc"]));
        assert_eq!(blake2b_512_keyed(b"k", &[b"ab", b"c"]), blake2b_512_keyed(b"k", &[b"abc"]));
        assert_eq!(blake2b_256_keyed(b"", &[b"abc"]), blake2b_256(&[b"abc"]));
    }

    #[test]
    fn node_reads_back() {
        let node = Node { index: 300, size: 70_000, hash: [7; 32] };

        assert_eq!(Node::from_slice(&node.to_vec()), Ok(node));
        assert_eq!(Node { index: 0, size: 0, hash: [0; 32] }.encoded_len(), Node::MIN_ENCODED_LEN);
    }
}
