//! Positions and identities, as types that cannot be swapped unnoticed.

use crate::flat_tree;

/// The 32 byte identity of a core: an Ed25519 public key or the hash of a manifest.
pub type PublicKey = [u8; 32];

/// The keyed hash of a [`PublicKey`], safe to show to those who do not know the key.
pub type DiscoveryKey = [u8; 32];

/// A BLAKE2b-256 digest.
pub type Hash = [u8; 32];

/// The position of a block in a core, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex(pub u64);

impl BlockIndex {
    /// Returns the tree position of the block's leaf, `2 * index`.
    ///
    /// Saturates above 2^63 - 1, ten binary orders beyond what the wire can express.
    pub const fn tree_index(self) -> TreeIndex {
        TreeIndex(self.0.saturating_mul(2))
    }
}

/// A position in the flat tree of a core; see [`flat_tree`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeIndex(pub u64);

impl TreeIndex {
    /// Returns the block of a leaf, or `None` for a parent.
    pub const fn block_index(self) -> Option<BlockIndex> {
        if self.0 & 1 == 0 { Some(BlockIndex(self.0 / 2)) } else { None }
    }

    /// Returns the first and last block below this node, both inclusive.
    pub const fn blocks(self) -> (BlockIndex, BlockIndex) {
        let (first, last) = flat_tree::spans(self.0);
        (BlockIndex(first / 2), BlockIndex(last / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leaves_have_a_block() {
        assert_eq!(BlockIndex(3).tree_index(), TreeIndex(6));
        assert_eq!(TreeIndex(6).block_index(), Some(BlockIndex(3)));
        assert_eq!(TreeIndex(5).block_index(), None);
        assert_eq!(TreeIndex(11).blocks(), (BlockIndex(4), BlockIndex(7)));
    }
}
