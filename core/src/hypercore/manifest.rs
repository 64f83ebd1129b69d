//! Manifests: who may sign a core. The core's key is the hash of its manifest.
//!
//! Source: hypercore 11.35, `lib/messages.js` (`manifest`), `lib/verifier.js` (`createManifest`).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::compact_encoding::{Decode, DecodeError, Encode, Reader, Writer, buffer_len, uint_len};
use crate::crypto::blake2b_256;
use crate::crypto::namespaces::{DEFAULT_NAMESPACE, MANIFEST};

/// Who can sign a core, and what is fixed from the start. Hashes are BLAKE2b, signatures Ed25519.
///
/// Encoding what was decoded gives the bytes that the key was derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Layout: 0, 1 or 2.
    pub version: u64,
    /// Whether a signer's signature over a longer tree counts, given the nodes in between.
    pub allow_patch: bool,
    /// How many signers must agree.
    pub quorum: u64,
    /// The signers.
    pub signers: Vec<Signer>,
    /// Blocks that are fixed.
    pub prologue: Option<Prologue>,
    /// Keys of related cores; opaque here.
    pub linked: Option<Vec<[u8; 32]>>,
    /// Opaque bytes.
    pub user_data: Option<Bytes>,
}

/// One signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Part of the manifest hash, and of what a version 0 signer signs.
    pub namespace: [u8; 32],
    /// Ed25519 public key.
    pub public_key: [u8; 32],
}

/// The first blocks of a core, fixed by its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prologue {
    /// Tree hash at `length`.
    pub hash: [u8; 32],
    /// Blocks; 0 when a version 0 manifest did not say.
    pub length: u64,
}

impl Manifest {
    /// Returns the manifest of a core that one key pair signs.
    pub fn single_signer(public_key: [u8; 32]) -> Self {
        Self {
            version: 1,
            allow_patch: false,
            quorum: 1,
            signers: alloc::vec![Signer { namespace: DEFAULT_NAMESPACE, public_key }],
            prologue: None,
            linked: None,
            user_data: None,
        }
    }

    /// Builds a manifest from what a caller gave, filling in the defaults.
    ///
    /// # Errors
    ///
    /// [`BadManifest`] when the parts contradict each other.
    pub fn create(input: ManifestInput) -> Result<Self, BadManifest> {
        let linked = input.linked.filter(|linked| !linked.is_empty());
        let needs_v2 = linked.is_some() || input.user_data.is_some();
        if input.quorum.is_some_and(|quorum| quorum < 0) {
            return Err(BadManifest::NegativeQuorum);
        }
        if input.hash.is_some_and(|hash| hash != "blake2b") {
            return Err(BadManifest::UnknownHash);
        }
        let signers: Vec<Signer> =
            input.signers.into_iter().map(SignerInput::parse).collect::<Result<_, _>>()?;
        let majority = if signers.is_empty() { 0 } else { signers.len() as u64 / 2 + 1 };
        let prologue = match input.prologue {
            None => None,
            Some((hash, length)) => {
                let hash = hash.as_slice().try_into().map_err(|_| BadManifest::InvalidPrologue)?;
                Some(Prologue { hash, length })
            }
        };
        let linked = match linked {
            None => None,
            Some(keys) => {
                let keys = keys.iter().map(|key| key.as_slice().try_into());
                Some(keys.collect::<Result<_, _>>().map_err(|_| BadManifest::InvalidKey)?)
            }
        };
        let manifest = Self {
            version: input.version.unwrap_or(if needs_v2 { 2 } else { 1 }),
            allow_patch: input.allow_patch,
            quorum: input.quorum.map_or(majority, i64::unsigned_abs),
            signers,
            prologue,
            linked,
            user_data: input.user_data,
        };
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks what a decoder lets through and signing must not.
    ///
    /// # Errors
    ///
    /// [`BadManifest`] says what is wrong.
    pub fn validate(&self) -> Result<(), BadManifest> {
        if self.version > MAX_VERSION {
            return Err(BadManifest::UnknownVersion);
        }
        if self.quorum > self.signers.len() as u64 {
            return Err(BadManifest::QuorumTooHigh);
        }
        if self.version < 2 && self.user_data.is_some() {
            return Err(BadManifest::UserDataBelowV2);
        }
        if self.version < 2 && self.linked.as_ref().is_some_and(|linked| !linked.is_empty()) {
            return Err(BadManifest::LinkedBelowV2);
        }
        Ok(())
    }

    /// Returns the key of the core that this manifest describes, unless it is a compat core.
    pub fn key(&self) -> [u8; 32] {
        blake2b_256(&[&MANIFEST, &self.to_vec()])
    }

    /// Returns whether the core with this key is a compat core: signed by the key itself.
    pub fn is_compat(&self, key: &[u8; 32]) -> bool {
        matches!(self.signers.as_slice(), [signer] if signer.public_key == *key)
    }

    /// Returns whether this manifest belongs to the core with this key.
    pub fn belongs_to(&self, key: &[u8; 32]) -> bool {
        self.is_compat(key) || self.key() == *key
    }
}

/// # Wire
///
/// | version | fields |
/// | --- | --- |
/// | 1, 2 | version, flags, hash, quorum, signers, [prologue], [linked], [user data] |
/// | 0, type 0 | version, hash, 0, `fixed32` prologue hash |
/// | 0, type 1 | version, hash, 1, one signer |
/// | 0, type 2 | version, hash, 2, flags, quorum, signers |
///
/// Flags: 1 patches allowed, 2 prologue, 4 linked, 8 user data. A signer is its signature type, namespace
/// and public key.
impl Encode for Manifest {
    fn encoded_len(&self) -> usize {
        let signers = uint_len(self.signers.len() as u64) + self.signers.len() * SIGNER_LEN;
        if self.version == 0 {
            return match self.v0_type() {
                0 => 3 + 32,
                1 => 3 + SIGNER_LEN,
                _ => 4 + uint_len(self.quorum) + signers,
            };
        }
        let prologue = self.prologue.map_or(0, |prologue| 32 + uint_len(prologue.length));
        let linked = self.linked.as_ref().map_or(0, |keys| uint_len(keys.len() as u64) + 32 * keys.len());
        let user_data = self.user_data.as_ref().map_or(0, |data| buffer_len(data));
        uint_len(self.version) + 2 + uint_len(self.quorum) + signers + prologue + linked + user_data
    }

    fn encode(&self, out: &mut Writer) {
        out.uint(self.version);
        if self.version == 0 {
            return self.encode_v0(out);
        }
        let flags =
            [self.allow_patch, self.prologue.is_some(), self.linked.is_some(), self.user_data.is_some()];
        out.uint(flags.into_iter().rev().fold(0, |flags, flag| flags << 1 | u64::from(flag)));
        out.uint(BLAKE2B);
        out.uint(self.quorum);
        out.array(&self.signers, |out, signer| signer.encode(out));
        if let Some(prologue) = self.prologue {
            out.fixed(&prologue.hash);
            out.uint(prologue.length);
        }
        if let Some(linked) = &self.linked {
            out.array(linked, |out, key| out.fixed(key));
        }
        if let Some(user_data) = &self.user_data {
            out.buffer(user_data);
        }
    }
}

impl Decode<'_> for Manifest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = known(reader.uint()?, MAX_VERSION)?;
        if version == 0 {
            return Self::decode_v0(reader);
        }
        let flags = reader.uint()?;
        known(reader.uint()?, BLAKE2B)?;
        let mut manifest = Self {
            version,
            allow_patch: flags & 1 != 0,
            quorum: reader.uint()?,
            signers: decode_signers(reader)?,
            prologue: None,
            linked: None,
            user_data: None,
        };
        if flags & 2 != 0 {
            manifest.prologue = Some(Prologue { hash: reader.fixed()?, length: reader.uint()? });
        }
        if flags & 4 != 0 {
            let count = reader.array_len(32)?;
            manifest.linked = Some((0..count).map(|_| reader.fixed()).collect::<Result<_, _>>()?);
        }
        if flags & 8 != 0 {
            manifest.user_data = Some(Bytes::copy_from_slice(reader.buffer()?));
        }
        Ok(manifest)
    }
}

impl Manifest {
    fn v0_type(&self) -> u64 {
        match (self.prologue, self.signers.len()) {
            (Some(_), 0) => 0,
            (_, 1) if self.quorum == 1 && !self.allow_patch => 1,
            _ => 2,
        }
    }

    fn encode_v0(&self, out: &mut Writer) {
        out.uint(BLAKE2B);
        out.uint(self.v0_type());
        match (self.v0_type(), self.prologue, self.signers.as_slice()) {
            (0, Some(prologue), _) => out.fixed(&prologue.hash),
            (1, _, [signer]) => signer.encode(out),
            _ => {
                out.uint(u64::from(self.allow_patch));
                out.uint(self.quorum);
                out.array(&self.signers, |out, signer| signer.encode(out));
            }
        }
    }

    fn decode_v0(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        known(reader.uint()?, BLAKE2B)?;
        let kind = known(reader.uint()?, 2)?;
        let mut manifest = Self {
            version: 0,
            allow_patch: false,
            quorum: 0,
            signers: Vec::new(),
            prologue: None,
            linked: None,
            user_data: None,
        };
        match kind {
            0 => manifest.prologue = Some(Prologue { hash: reader.fixed()?, length: 0 }),
            1 => {
                manifest.quorum = 1;
                manifest.signers.push(Signer::decode(reader)?);
            }
            _ => {
                manifest.allow_patch = reader.uint()? & 1 != 0;
                manifest.quorum = reader.uint()?;
                manifest.signers = decode_signers(reader)?;
            }
        }
        Ok(manifest)
    }
}

impl Encode for Signer {
    fn encoded_len(&self) -> usize {
        SIGNER_LEN
    }

    fn encode(&self, out: &mut Writer) {
        out.uint(ED25519);
        out.fixed(&self.namespace);
        out.fixed(&self.public_key);
    }
}

impl Decode<'_> for Signer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        known(reader.uint()?, ED25519)?;
        Ok(Self { namespace: reader.fixed()?, public_key: reader.fixed()? })
    }
}

fn decode_signers(reader: &mut Reader<'_>) -> Result<Vec<Signer>, DecodeError> {
    let count = reader.array_len(SIGNER_LEN)?;
    (0..count).map(|_| Signer::decode(reader)).collect()
}

fn known(found: u64, last: u64) -> Result<u64, DecodeError> {
    if found > last { Err(DecodeError::UnknownTag { found }) } else { Ok(found) }
}

/// A manifest as a caller gives it: everything optional, nothing checked.
#[derive(Clone, Debug, Default)]
pub struct ManifestInput {
    /// Layout; 1 by default, 2 when something needs it.
    pub version: Option<u64>,
    /// `blake2b`, or nothing.
    pub hash: Option<String>,
    /// See [`Manifest::allow_patch`].
    pub allow_patch: bool,
    /// More than half of the signers by default.
    pub quorum: Option<i64>,
    /// The signers.
    pub signers: Vec<SignerInput>,
    /// Tree hash and length.
    pub prologue: Option<(Vec<u8>, u64)>,
    /// Keys of related cores.
    pub linked: Option<Vec<Vec<u8>>>,
    /// Opaque bytes.
    pub user_data: Option<Bytes>,
}

/// A signer as a caller gives it.
#[derive(Clone, Debug, Default)]
pub struct SignerInput {
    /// `ed25519`, or nothing.
    pub signature: Option<String>,
    /// The default namespace by default.
    pub namespace: Option<Vec<u8>>,
    /// Required.
    pub public_key: Option<Vec<u8>>,
}

impl SignerInput {
    fn parse(self) -> Result<Signer, BadManifest> {
        let public_key = self.public_key.ok_or(BadManifest::MissingPublicKey)?;
        if self.signature.is_some_and(|signature| signature != "ed25519") {
            return Err(BadManifest::UnknownSignature);
        }
        let namespace = match self.namespace {
            None => DEFAULT_NAMESPACE,
            Some(namespace) => namespace.as_slice().try_into().map_err(|_| BadManifest::InvalidKey)?,
        };
        let public_key = public_key.as_slice().try_into().map_err(|_| BadManifest::InvalidKey)?;
        Ok(Signer { namespace, public_key })
    }
}

/// What is wrong with a manifest. All of it is upstream's `BAD_ARGUMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadManifest {
    /// A key or namespace is not 32 bytes.
    InvalidKey,
    /// The prologue hash is not 32 bytes.
    InvalidPrologue,
    /// `linked` needs version 2.
    LinkedBelowV2,
    /// A signer has no public key.
    MissingPublicKey,
    /// The quorum is below zero.
    NegativeQuorum,
    /// The quorum is higher than the number of signers.
    QuorumTooHigh,
    /// Not BLAKE2b.
    UnknownHash,
    /// Not Ed25519.
    UnknownSignature,
    /// Neither 0, 1 nor 2.
    UnknownVersion,
    /// `user_data` needs version 2.
    UserDataBelowV2,
}

impl BadManifest {
    /// Returns upstream's error code.
    pub fn code(&self) -> &'static str {
        "BAD_ARGUMENT"
    }
}

impl fmt::Display for BadManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidKey => "a key is not 32 bytes",
            Self::InvalidPrologue => "the prologue hash is not 32 bytes",
            Self::LinkedBelowV2 => "linked needs manifest version 2",
            Self::MissingPublicKey => "a signer has no public key",
            Self::NegativeQuorum => "the quorum is negative",
            Self::QuorumTooHigh => "the quorum is higher than the number of signers",
            Self::UnknownHash => "only blake2b hashes are supported",
            Self::UnknownSignature => "only ed25519 signatures are supported",
            Self::UnknownVersion => "the manifest version is unknown",
            Self::UserDataBelowV2 => "user data needs manifest version 2",
        })
    }
}

impl core::error::Error for BadManifest {}

const MAX_VERSION: u64 = 2;
const BLAKE2B: u64 = 0;
const ED25519: u64 = 0;
const SIGNER_LEN: usize = 65;
