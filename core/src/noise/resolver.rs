//! The primitives that snow works with.

use alloc::boxed::Box;

use blake2::digest::{Digest, FixedOutputReset};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::crypto::{self, KeyPair};

/// Gives snow the Ed25519 group, BLAKE2b-512 and ChaCha20-Poly1305, and one seed instead of a random number generator.
pub(super) struct Resolver {
    ephemeral: [u8; 32],
}

impl Resolver {
    pub(super) fn new(ephemeral: [u8; 32]) -> Self {
        Self { ephemeral }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.ephemeral.zeroize();
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Seed(Some(self.ephemeral))))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Ed25519 { scalar: [0; 32], public_key: [0; 32] }))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Blake2b512(blake2::Blake2b512::new())))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly { key: [0; 32] }))
    }
}

/// Returns what [`Ed25519::set`] takes: the scalar, then the public key that belongs to it.
pub(super) fn static_secret(key_pair: &KeyPair) -> [u8; 64] {
    let mut secret = [0; 64];
    secret[..32].copy_from_slice(&*key_pair.scalar());
    secret[32..].copy_from_slice(&key_pair.public_key);
    secret
}

/// Gives out its seed once: a handshake makes one ephemeral key.
struct Seed(Option<[u8; 32]>);

impl Random for Seed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let mut seed = self.0.take().ok_or(Error::Rng)?;
        let filled = dest.len() == seed.len();
        if filled {
            dest.copy_from_slice(&seed);
        }
        seed.zeroize();
        if filled { Ok(()) } else { Err(Error::Rng) }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

struct Ed25519 {
    scalar: [u8; 32],
    public_key: [u8; 32],
}

impl Dh for Ed25519 {
    fn name(&self) -> &'static str {
        "Ed25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        64
    }

    fn set(&mut self, secret: &[u8]) {
        if let (Some(scalar), Some(public_key)) = (secret.first_chunk(), secret.last_chunk()) {
            self.scalar = *scalar;
            self.public_key = *public_key;
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut seed = [0; 32];
        rng.try_fill_bytes(&mut seed)?;
        let key_pair = KeyPair::from_seed(&seed);
        seed.zeroize();
        self.scalar = *key_pair.scalar();
        self.public_key = key_pair.public_key;
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public_key
    }

    fn privkey(&self) -> &[u8] {
        &self.scalar
    }

    fn dh(&self, public_key: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public_key = public_key.first_chunk().ok_or(Error::Dh)?;
        let shared = crypto::dh(&self.scalar, public_key).map_err(|_| Error::Dh)?;
        *out.first_chunk_mut().ok_or(Error::Dh)? = *shared;
        Ok(())
    }
}

impl Drop for Ed25519 {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

struct Blake2b512(blake2::Blake2b512);

impl Hash for Blake2b512 {
    fn name(&self) -> &'static str {
        "BLAKE2b"
    }

    fn block_len(&self) -> usize {
        128
    }

    fn hash_len(&self) -> usize {
        64
    }

    fn reset(&mut self) {
        self.0 = blake2::Blake2b512::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = self.0.finalize_fixed_reset();
        out[..64].copy_from_slice(&hash);
    }
}

/// ChaCha20-Poly1305 of RFC 8439. The nonce is 4 zero bytes and the 64-bit little-endian counter.
struct ChaChaPoly {
    key: [u8; 32],
}

impl ChaChaPoly {
    fn cipher(&self, nonce: u64) -> (ChaCha20, Poly1305) {
        let mut iv = [0; 12];
        iv[4..].copy_from_slice(&nonce.to_le_bytes());
        let mut cipher = ChaCha20::new((&self.key).into(), (&iv).into());
        let mut block = [0; 64];
        cipher.apply_keystream(&mut block);
        let mut key = [0; 32];
        key.copy_from_slice(&block[..32]);
        let poly = Poly1305::new((&key).into());
        key.zeroize();
        block.zeroize();
        (cipher, poly)
    }
}

fn mac(mut poly: Poly1305, authtext: &[u8], ciphertext: &[u8]) -> [u8; TAG_LEN] {
    poly.update_padded(authtext);
    poly.update_padded(ciphertext);
    let mut lengths = [0; 16];
    lengths[..8].copy_from_slice(&(authtext.len() as u64).to_le_bytes());
    lengths[8..].copy_from_slice(&(ciphertext.len() as u64).to_le_bytes());
    poly.update_padded(&lengths);
    poly.finalize().into()
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = *key;
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (mut cipher, poly) = self.cipher(nonce);
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        cipher.apply_keystream(text);
        rest[..TAG_LEN].copy_from_slice(&mac(poly, authtext, text));
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (text, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(Error::Decrypt)?;
        let (mut cipher, poly) = self.cipher(nonce);
        if !bool::from(mac(poly, authtext, text).ct_eq(tag)) {
            return Err(Error::Decrypt);
        }
        out.copy_from_slice(text);
        cipher.apply_keystream(out);
        Ok(text.len())
    }
}

impl Drop for ChaChaPoly {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/wire-noise.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn keyed_hashes_and_derived_keys_equal_upstreams() {
        let vectors = vectors();
        let (macs, derivations) =
            (vectors["hmacBlake2b"].as_array().unwrap(), vectors["hkdf"].as_array().unwrap());
        assert!(!macs.is_empty() && !derivations.is_empty());

        for case in macs {
            let mut mac = [0; 64];
            Blake2b512(Default::default()).hmac(&hex(&case["key"]), &hex(&case["data"]), &mut mac);
            assert_eq!(mac[..], hex(&case["hmac"]));
        }
        for case in derivations {
            let wanted: Vec<Vec<u8>> = case["outputs"].as_array().unwrap().iter().map(hex).collect();
            let mut found = [[0; 64]; 3];
            let [first, second, third] = &mut found;
            let (key, input) = (hex(&case["chainingKey"]), hex(&case["input"]));
            Blake2b512(Default::default()).hkdf(&key, &input, wanted.len(), first, second, third);
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_eq!(found[..], wanted[..]);
            }
        }
    }
}
