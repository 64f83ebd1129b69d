//! The hashes that hypercore builds on BLAKE2b.
//!
//! Source: hypercore-crypto 3.7.0, `index.js`.

use alloc::vec::Vec;

use hypertab_crypto::{PREFIX_LEN, blake2b_256, blake2b_256_keyed, blake2b_256_many};

use crate::compact_encoding::{self, Decode, Encode, Reader, Writer, uint_len};
use crate::id::{DiscoveryKey, Hash, PublicKey};

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

/// Returns the [`leaf_hash`] of each block: together they take less time than one after the other.
pub fn leaf_hashes(blocks: &[&[u8]]) -> Vec<Hash> {
    let messages: Vec<_> = blocks.iter().map(|block| (prefix(0, block.len() as u64), *block)).collect();
    blake2b_256_many(&messages)
}

/// Returns the [`parent_hash`] of each pair of siblings, left before right.
pub fn parent_hashes(pairs: &[(Node, Node)]) -> Vec<Hash> {
    let bodies: Vec<[u8; 64]> = pairs
        .iter()
        .map(|(left, right)| {
            let mut body = [0; 64];
            body[..32].copy_from_slice(&left.hash);
            body[32..].copy_from_slice(&right.hash);
            body
        })
        .collect();
    let sizes = pairs.iter().map(|(left, right)| left.size.saturating_add(right.size));
    let messages: Vec<_> = sizes.zip(&bodies).map(|(size, body)| (prefix(1, size), &body[..])).collect();
    blake2b_256_many(&messages)
}

/// Returns what stands in front of everything that is hashed for a node.
fn prefix(kind: u8, size: u64) -> [u8; PREFIX_LEN] {
    let mut prefix = [kind; PREFIX_LEN];
    prefix[1..].copy_from_slice(&size.to_le_bytes());
    prefix
}

/// Returns the hash of a tree by its full roots, left to right: `H(02 || (hash || u64 index || u64 size)*)`.
pub fn tree_hash(roots: &[Node]) -> Hash {
    let mut bytes = Vec::with_capacity(1 + 48 * roots.len());
    bytes.push(2);
    for root in roots {
        bytes.extend_from_slice(&root.hash);
        bytes.extend_from_slice(&root.index.to_le_bytes());
        bytes.extend_from_slice(&root.size.to_le_bytes());
    }
    blake2b_256(&[&bytes])
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
    fn hashes_of_many_are_those_of_each() {
        let blocks: Vec<Vec<u8>> = (0..21u8).map(|i| alloc::vec![i; 50 * usize::from(i)]).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let leaves: Vec<Node> =
            (0..).step_by(2).zip(&blocks).map(|(index, block)| Node::leaf(index, block)).collect();
        let pairs: Vec<(Node, Node)> = leaves.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();

        assert_eq!(leaf_hashes(&blocks), leaves.iter().map(|leaf| leaf.hash).collect::<Vec<_>>());
        let parents = pairs.iter().map(|(left, right)| parent_hash(left, right));
        assert_eq!(parent_hashes(&pairs), parents.collect::<Vec<_>>());
    }

    #[test]
    fn node_reads_back() {
        let node = Node { index: 300, size: 70_000, hash: [7; 32] };

        assert_eq!(Node::from_slice(&node.to_vec()), Ok(node));
        assert_eq!(Node { index: 0, size: 0, hash: [0; 32] }.encoded_len(), Node::MIN_ENCODED_LEN);
    }
}
