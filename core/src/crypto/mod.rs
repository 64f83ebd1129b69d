//! Hashes, keys, signatures, key agreement, ciphers and text ids.
//!
//! Everything computes what libsodium computes for upstream, including what it refuses.

pub use dh::dh;
pub use hash::{
    Node, discovery_key, leaf_hash, leaf_hashes, namespace, parent_hash, parent_hashes, tree_hash,
};
pub use hypertab_crypto::{
    SECRETBOX_MAC_LEN, blake2b_256, blake2b_256_keyed, blake2b_512, blake2b_512_keyed, secretbox_open,
    secretbox_seal, xsalsa20_xor,
};
pub use id_encoding::{IdError, encode_hex, encode_key, parse_key};
pub use keys::{KeyPair, SecretKey, verify};
pub use secret::Secret;

#[cfg(any(test, not(feature = "precomputed-tables")))]
mod base;
mod dh;
mod hash;
mod id_encoding;
mod keys;
pub mod namespaces;
mod secret;

use subtle::ConstantTimeEq;

/// Returns whether two byte strings are equal, in a time that depends on their lengths alone.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Returns whether `point` encodes its y coordinate below the field prime, 2^255 - 19.
///
/// Every other encoding has a second, canonical form, and libsodium refuses it.
///
/// Source: libsodium, `ge25519_is_canonical`.
fn is_canonical_point(point: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = point;
    *low < 0xed || (high & 0x7f) != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_looks_at_length_and_every_byte() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"ab"));
    }

    #[test]
    fn only_coordinates_below_the_prime_are_canonical() {
        let mut point = [0xff; 32];
        point[0] = 0xec;
        assert!(is_canonical_point(&point));

        for low in 0xed..=0xff {
            point[0] = low;
            assert!(!is_canonical_point(&point));
        }
        point[31] = 0x7f;
        assert!(!is_canonical_point(&point));
        point[31] = 0x7e;
        assert!(is_canonical_point(&point));
    }
}
