//! Block encryption: 8 bytes of padding in front of each block, then XSalsa20.
//!
//! There is no authentication besides the tree.
//!
//! Source: hypercore 11.35, `lib/default-encryption.js`.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use crate::crypto::namespaces::DEFAULT_ENCRYPTION;
use crate::crypto::{blake2b_256, blake2b_256_keyed, xsalsa20_xor};

/// Bytes in front of each stored block.
pub const PADDING: usize = 8;

/// How the key of the blocks follows from the encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// The given key is that of the blocks.
    BlockKey,
    /// As compat cores and hypercore 10 do it.
    Compat,
    /// As every core with a manifest does it.
    Normal,
}

/// The keys that encrypt the blocks of one core.
#[derive(Clone)]
pub struct BlockEncryption {
    block_key: [u8; 32],
    blinding_key: [u8; 32],
}

impl BlockEncryption {
    /// Derives the keys. A core that turns out to be compat needs them derived again.
    pub fn new(encryption_key: &[u8; 32], core_key: &[u8; 32], mode: KeyMode) -> Self {
        let block_key = match mode {
            KeyMode::BlockKey => *encryption_key,
            KeyMode::Compat => blake2b_256_keyed(core_key, &[encryption_key]),
            KeyMode::Normal => blake2b_256(&[&DEFAULT_ENCRYPTION, core_key, encryption_key]),
        };
        Self { block_key, blinding_key: blake2b_256(&[&block_key]) }
    }

    /// Returns the key of the blocks, which alone can decrypt them.
    pub fn block_key(&self) -> &[u8; 32] {
        &self.block_key
    }

    /// Encrypts a block as it is stored: [`PADDING`] bytes longer. `fork` is that of the main head.
    pub fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(PADDING + block.len());
        stored.extend_from_slice(&fork.to_le_bytes());
        stored.extend_from_slice(block);
        let (padding, content) = stored.split_at_mut(PADDING);
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&index.to_le_bytes());
        xsalsa20_xor(&self.blinding_key, &nonce, padding);
        nonce[8..16].copy_from_slice(padding);
        xsalsa20_xor(&self.block_key, &nonce, content);
        stored
    }

    /// Decrypts a stored block. `None` when it is shorter than its padding.
    pub fn decrypt(&self, index: u64, stored: &[u8]) -> Option<Vec<u8>> {
        let (padding, content) = stored.split_at_checked(PADDING)?;
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&index.to_le_bytes());
        nonce[8..16].copy_from_slice(padding);
        let mut content = content.to_vec();
        xsalsa20_xor(&self.block_key, &nonce, &mut content);
        Some(content)
    }
}

impl Drop for BlockEncryption {
    fn drop(&mut self) {
        self.block_key.zeroize();
        self.blinding_key.zeroize();
    }
}

impl fmt::Debug for BlockEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockEncryption(..)")
    }
}
