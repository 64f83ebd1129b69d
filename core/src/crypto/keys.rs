//! Ed25519 key pairs and signatures.
//!
//! Source: hypercore-crypto 3.7.0, `index.js`; libsodium, `crypto_sign_ed25519`; RFC 8032, section 5.1.6.

use core::fmt;

use curve25519_dalek::Scalar;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

#[cfg(not(feature = "precomputed-tables"))]
use super::base::mul_base;
use super::is_canonical_point;
use crate::error::Misuse;
use crate::id::PublicKey;

/// An Ed25519 key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The public half.
    pub public_key: PublicKey,
    /// The secret half, which knows the public one.
    pub secret_key: SecretKey,
}

impl KeyPair {
    /// Returns the key pair of a 32 byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // By the table that signatures are made with: without one of its own, the crate takes four times as long.
        let public_key = mul_base(&scalar(&expand(seed))).compress().to_bytes();
        let mut secret_key = SecretKey([0; 64]);
        secret_key.0[..32].copy_from_slice(seed);
        secret_key.0[32..].copy_from_slice(&public_key);
        Self { public_key, secret_key }
    }

    /// Returns the key pair of a secret key in libsodium's form, seed and public key, 64 bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Misuse::MismatchedSecretKey`] when the public key is not the seed's: signing with such a
    /// pair would reveal the seed.
    pub fn from_secret_key(secret_key: &[u8; 64]) -> Result<Self, Misuse> {
        let (seed, public_key) = secret_key.split_first_chunk().expect("it is longer");
        let pair = Self::from_seed(seed);
        if pair.public_key == *public_key { Ok(pair) } else { Err(Misuse::MismatchedSecretKey) }
    }

    /// Returns the signature of `message`, which is the same every time.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let secret = expand(self.secret_key.seed());
        let mut nonce = Sha512::new();
        nonce.update(&secret[32..]);
        nonce.update(message);
        let nonce = Zeroizing::new(scalar_of(nonce));
        let commitment = mul_base(&nonce).compress().to_bytes();
        let mut challenge = Sha512::new();
        challenge.update(commitment);
        // Not the field: another public key would give the secret away.
        challenge.update(&self.secret_key.0[32..]);
        challenge.update(message);
        let proof = scalar_of(challenge) * *scalar(&secret) + *nonce;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&commitment);
        signature[32..].copy_from_slice(proof.as_bytes());
        signature
    }

    /// Returns the clamped private scalar, little-endian, for [`dh`](super::dh()).
    pub fn scalar(&self) -> Zeroizing<[u8; 32]> {
        clamped(&expand(self.secret_key.seed()))
    }
}

/// The secret half of a [`KeyPair`]; wiped on drop, printed as `..`, compared in constant time.
#[derive(Clone)]
pub struct SecretKey([u8; 64]);

impl SecretKey {
    /// Returns libsodium's form: the seed, then the public key.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0)
    }

    /// Returns the seed.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("it is longer")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.seed().ct_eq(other.seed()).into()
    }
}

impl Eq for SecretKey {}

#[cfg(feature = "precomputed-tables")]
fn mul_base(scalar: &Scalar) -> curve25519_dalek::EdwardsPoint {
    curve25519_dalek::EdwardsPoint::mul_base(scalar)
}

/// What a seed becomes: a scalar that is not clamped yet, and what nonces are made with.
fn expand(seed: &[u8; 32]) -> Zeroizing<[u8; 64]> {
    let mut digest: [u8; 64] = Sha512::digest(seed).into();
    let expanded = Zeroizing::new(digest);
    digest.zeroize();
    expanded
}

fn clamped(expanded: &[u8; 64]) -> Zeroizing<[u8; 32]> {
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(&expanded[..32]);
    scalar[0] &= 248;
    scalar[31] &= 127;
    scalar[31] |= 64;
    scalar
}

fn scalar(expanded: &[u8; 64]) -> Zeroizing<Scalar> {
    Zeroizing::new(Scalar::from_bytes_mod_order(*clamped(expanded)))
}

fn scalar_of(hash: Sha512) -> Scalar {
    let digest = Zeroizing::new(<[u8; 64]>::from(hash.finalize()));
    Scalar::from_bytes_mod_order_wide(&digest)
}

/// Returns whether `signature` is `public_key`'s over `message`.
///
/// Refuses what libsodium refuses: a scalar that is not reduced, a key that is not canonical or of small
/// order, an `R` that is not canonical or of small order. The equation is checked without the cofactor.
pub fn verify(message: &[u8], signature: &[u8; 64], public_key: &PublicKey) -> bool {
    // With y canonical, only a small-order point has two encodings, and those are refused anyway.
    is_canonical_point(public_key)
        && VerifyingKey::from_bytes(public_key)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn signature_fits_only_its_message_and_key() {
        let pair = KeyPair::from_seed(&[1; 32]);
        let signature = pair.sign(b"message");

        assert!(verify(b"message", &signature, &pair.public_key));
        assert!(!verify(b"massage", &signature, &pair.public_key));
        assert!(!verify(b"message", &signature, &KeyPair::from_seed(&[2; 32]).public_key));
        for bit in 0..512 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(b"message", &changed, &pair.public_key), "bit {bit}");
        }
    }

    #[test]
    fn scalar_above_the_group_order_is_refused() {
        // The order of the group, little-endian, added to S: the same scalar, written differently.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let pair = KeyPair::from_seed(&[1; 32]);
        let mut signature = pair.sign(b"message");

        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }

        assert!(!verify(b"message", &signature, &pair.public_key));
    }

    /// The answers of libsodium as sodium-native 5.1.0 carries it. A verifier that multiplies by the cofactor
    /// accepts all of these; one that wants keys of prime order accepts only the first.
    #[test]
    fn torsion_is_neither_cleared_nor_refused() {
        let prime = "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572";
        let mixed = "6a84d583f06569edb3f5ed77df65544b27d6948b4f0b2cb76f33dd8413b20719";
        let cases = [
            (
                prime,
                concat!(
                    "6b12d4d055bd943206034b402ebe601bf715a3bbe772cdac6ab65b94d9a07bf6",
                    "0e9b9e29c958b5b8a32e70a87fce728bc5914e48ac3ce43b2d7b2d85babdd304"
                ),
                true,
            ),
            (
                prime,
                concat!(
                    "e9c6aa47f2c1dc30d08679feb45162ca38dfa1e557af575b803e03f30110eff5",
                    "8e230b8a1895f14953b91226e07f6de021123f66651d2f6f203f960b7292a108"
                ),
                false,
            ),
            (
                mixed,
                concat!(
                    "6b12d4d055bd943206034b402ebe601bf715a3bbe772cdac6ab65b94d9a07bf6",
                    "3d699830b76a38e98b1b6ca9e2c61b796535f3e83d835579c99ab7c7a93a930b"
                ),
                false,
            ),
            (
                mixed,
                concat!(
                    "78021b25eb446235a4af5246fa0f72589a72c7d78f77da0bb35c8cefd541819a",
                    "277401f61267a545827ddc0fac7a76bf6f8eb2b7b5960ea46409c6348320f30b"
                ),
                true,
            ),
        ];

        for (key, signature, expected) in cases {
            let (key, signature) = (hex(key).try_into().unwrap(), hex(signature).try_into().unwrap());
            assert_eq!(verify(b"message", &signature, &key), expected);
        }
    }

    #[test]
    fn small_order_key_is_refused() {
        // With the neutral point as key and as R, and S = 0, the bare equation holds for any message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;

        assert!(!verify(b"anything", &signature, &neutral));
    }

    #[test]
    fn secret_key_must_end_with_its_public_key() {
        let pair = KeyPair::from_seed(&[1; 32]);
        let mut bytes = pair.secret_key.to_bytes();

        assert_eq!(KeyPair::from_secret_key(&bytes), Ok(pair));
        bytes[40] ^= 1;
        assert_eq!(KeyPair::from_secret_key(&bytes), Err(Misuse::MismatchedSecretKey));
    }

    #[test]
    fn secret_key_prints_nothing() {
        assert_eq!(format!("{:?}", KeyPair::from_seed(&[1; 32]).secret_key), "..");
    }

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }
}
