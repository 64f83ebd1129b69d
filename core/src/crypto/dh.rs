//! Diffie-Hellman over the Ed25519 group, with signing keys.
//!
//! Source: noise-curve-ed 2.1.0, `index.js`; libsodium, `crypto_scalarmult_ed25519_noclamp`.

use curve25519_dalek::Scalar;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use zeroize::Zeroizing;

use super::is_canonical_point;
use crate::error::PeerMisbehaved;
use crate::id::PublicKey;

/// Returns the secret that the owner of `scalar` shares with the owner of `public_key`: the encoding of
/// their product, 32 bytes.
///
/// `scalar` is little-endian, as from [`KeyPair::scalar`](super::KeyPair::scalar); it is not clamped again.
///
/// # Errors
///
/// Returns [`PeerMisbehaved::InvalidPublicKey`] when the key is no canonical point of the prime-order group
/// or when the product is the neutral point.
pub fn dh(scalar: &[u8; 32], public_key: &PublicKey) -> Result<Zeroizing<[u8; 32]>, PeerMisbehaved> {
    let point =
        if is_canonical_point(public_key) { CompressedEdwardsY(*public_key).decompress() } else { None };
    let Some(point) = point.filter(|point| !point.is_small_order() && point.is_torsion_free()) else {
        return Err(PeerMisbehaved::InvalidPublicKey);
    };

    let mut masked = Zeroizing::new(*scalar);
    masked[31] &= 127;
    // The point has prime order, so reducing the scalar does not change the product.
    let scalar = Zeroizing::new(Scalar::from_bytes_mod_order(*masked));
    let shared = Zeroizing::new(point * *scalar);
    if shared.is_identity() {
        return Err(PeerMisbehaved::InvalidPublicKey);
    }
    Ok(Zeroizing::new(shared.compress().to_bytes()))
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};

    use super::*;
    use crate::crypto::KeyPair;

    #[test]
    fn both_sides_get_the_same_secret() {
        let (a, b) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));

        assert_eq!(dh(&a.scalar(), &b.public_key), dh(&b.scalar(), &a.public_key));
    }

    #[test]
    fn points_outside_the_prime_order_group_are_refused() {
        let scalar = KeyPair::from_seed(&[1; 32]).scalar();

        for torsion in EIGHT_TORSION {
            let small = torsion.compress().to_bytes();
            let mixed = (ED25519_BASEPOINT_POINT + torsion).compress().to_bytes();

            assert_eq!(dh(&scalar, &small), Err(PeerMisbehaved::InvalidPublicKey));
            assert_eq!(dh(&scalar, &mixed).is_ok(), torsion.is_identity());
        }
    }

    #[test]
    fn encodings_that_are_no_canonical_point_are_refused() {
        let scalar = KeyPair::from_seed(&[1; 32]).scalar();
        let mut above_prime = [0xff; 32];
        above_prime[31] = 0x7f;
        // y = 2 is on no point of the curve.
        let mut off_curve = [0; 32];
        off_curve[0] = 2;

        for low in 0xed..=0xff {
            above_prime[0] = low;
            assert!(dh(&scalar, &above_prime).is_err());
        }
        assert!(dh(&scalar, &off_curve).is_err());
    }

    #[test]
    fn zero_scalar_is_refused() {
        assert!(dh(&[0; 32], &KeyPair::from_seed(&[1; 32]).public_key).is_err());
    }
}
