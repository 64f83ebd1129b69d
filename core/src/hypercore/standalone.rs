//! A proof in one piece, verifiable with nothing but the core's manifest.
//!
//! Source: hypercore 11.35, `lib/fully-remote-proof.js`.

use bytes::Bytes;

use crate::compact_encoding::{DecodeError, Reader, Writer};

use super::conflict::{FromEmpty, verify_from_empty};
use super::manifest::Manifest;
use super::proof::{Proof, data_len, decode_data, encode_data};
use super::verify::{Identity, VerifyError};

/// A stand-alone proof.
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | discovery key | `fixed32` | of the core |
/// | data | wire message `data` | request 0, an upgrade from 0, maybe a block, and the manifest |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandaloneProof {
    /// Which core it is about.
    pub discovery_key: [u8; 32],
    /// The proof.
    pub proof: Proof,
}

impl StandaloneProof {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(32 + data_len(0, &self.proof));
        out.fixed(&self.discovery_key);
        encode_data(0, &self.proof, &mut out);
        Bytes::from(out.into_vec())
    }

    /// Decodes it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let discovery_key: [u8; 32] = Reader::new(bytes).fixed()?;
        let (_, proof) = decode_data(&bytes.slice(discovery_key.len()..))?;
        Ok(Self { discovery_key, proof })
    }

    /// Verifies it against the manifest that is stored for its core.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn verify(&self, key: &[u8; 32], manifest: &Manifest) -> Result<FromEmpty, VerifyError> {
        verify_from_empty(&Identity::new(key, Some(manifest)), &self.proof)
    }
}
