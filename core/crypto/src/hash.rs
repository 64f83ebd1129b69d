//! BLAKE2b.

use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2b256, Blake2b512, Blake2bMac, Blake2bMac512};

/// The longest BLAKE2b key, in bytes.
const MAX_KEY_LEN: usize = 64;

/// Returns the BLAKE2b-256 digest of the concatenated `parts`.
pub fn blake2b_256(parts: &[&[u8]]) -> [u8; 32] {
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
pub fn blake2b_256_keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_concatenated() {
        assert_eq!(blake2b_256(&[b"ab", b"", b"c"]), blake2b_256(&[b"abc"]));
        assert_eq!(blake2b_512_keyed(b"k", &[b"ab", b"c"]), blake2b_512_keyed(b"k", &[b"abc"]));
        assert_eq!(blake2b_256_keyed(b"", &[b"abc"]), blake2b_256(&[b"abc"]));
    }
}
