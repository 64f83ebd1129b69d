//! The values of a store that are not plain bytes, in the encoding of hypercore-storage.
//!
//! Source: hypercore-storage 3.2, `encoding/spec/hyperschema`, version 2.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::compact_encoding::{
    Decode, DecodeError, Encode, Reader, Result, Writer, buffer_len, string_len, uint_len,
};
use crate::crypto::{KeyPair, Secret};
use crate::hypercore::manifest::Manifest;
use crate::id::{DiscoveryKey, Hash, PublicKey};

/// What a store knows about itself.
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | version | `uint` | 2 |
/// | cores, datas, groups | `uint` | pointers handed out so far |
/// | flags | `uint` | 1 seed, 2 default discovery key |
/// | seed | `fixed32` | primary key of a corestore |
/// | default discovery key | `fixed32` | the core opened when none is named |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHead {
    /// Core pointers handed out.
    pub cores: u64,
    /// Data pointers handed out.
    pub datas: u64,
    /// Group pointers handed out.
    pub groups: u64,
    /// The primary key of a corestore.
    pub seed: Option<Secret>,
    /// The core that is opened when none is named.
    pub default_discovery_key: Option<DiscoveryKey>,
}

/// Where a core is stored.
///
/// # Wire
///
/// `uint version ‖ uint core ‖ uint data ‖ uint flags ‖ [1: string name ‖ fixed32 namespace]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePointers {
    /// Names the records about the core.
    pub core: u64,
    /// Names the records of its log.
    pub data: u64,
    /// The name under which a corestore made it.
    pub alias: Option<Alias>,
}

/// A name in a corestore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// Where it is unique.
    pub namespace: Hash,
}

/// Who a core is and who signs it.
///
/// # Wire
///
/// `fixed32 key ‖ fixed32 discovery key ‖ uint flags ‖ [1: frame(manifest)] ‖ [2: buffer public key ‖ optional
/// buffer secret key] ‖ [4: buffer encryption key]`; the manifest always in the layout of version 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The core's key.
    pub key: PublicKey,
    /// The core's discovery key.
    pub discovery_key: DiscoveryKey,
    /// The manifest, once known.
    pub manifest: Option<Manifest>,
    /// The key pair that signs here.
    pub key_pair: Option<StoredKeyPair>,
    /// Opaque; kept when an upstream store has one.
    pub encryption_key: Option<Bytes>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("key", &self.key)
            .field("manifest", &self.manifest)
            .field("key_pair", &self.key_pair)
            .finish_non_exhaustive()
    }
}

/// A key pair of which the secret half may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeyPair {
    /// The public key.
    pub public_key: PublicKey,
    /// Both halves.
    pub key_pair: Option<KeyPair>,
}

/// The signed head of a log.
///
/// # Wire
///
/// `uint fork ‖ uint length ‖ fixed32 root hash ‖ optional buffer signature ‖ uint flags ‖ [1: u64 milliseconds]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// How often the log was truncated.
    pub fork: u64,
    /// Blocks.
    pub length: u64,
    /// The tree hash.
    pub root_hash: Hash,
    /// The signature over it.
    pub signature: Option<Bytes>,
    /// When it was stored, in milliseconds of Unix time; 0 for unknown.
    pub timestamp: u64,
}

/// What would otherwise have to be searched for.
///
/// # Wire
///
/// `uint flags ‖ [1: uint] ‖ [2: uint] ‖ [4: uint]`; 0 is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Blocks stored without a gap from the start, or fewer.
    pub contiguous_length: u64,
    /// The longest such prefix a peer of this fork had.
    pub remote_contiguous_length: u64,
    /// When the store was repaired, in milliseconds of Unix time, until the log is known to be whole.
    pub recovering: u64,
}

/// The group that a core belongs to.
///
/// # Wire
///
/// `uint flags ‖ [1: fixed32 key] ‖ [2: uint pointer]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPointer {
    /// Its topic.
    pub key: Hash,
    /// Names the records of its changes.
    pub pointer: u64,
}

/// The branches of a core, by name.
///
/// # Wire
///
/// `array(string name ‖ uint data)`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(pub Vec<SessionPointer>);

/// Where a branch is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPointer {
    /// Its name.
    pub name: String,
    /// Names the records of its log.
    pub data: u64,
}

/// What a branch shares with its parent: the first `length` blocks of another log.
///
/// # Wire
///
/// `uint data ‖ uint length`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Names the records of the other log.
    pub data: u64,
    /// Blocks that are read there.
    pub length: u64,
}

impl Encode for StoreHead {
    fn encoded_len(&self) -> usize {
        2 + uint_len(self.cores)
            + uint_len(self.datas)
            + uint_len(self.groups)
            + 32 * usize::from(self.seed.is_some())
            + 32 * usize::from(self.default_discovery_key.is_some())
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(VERSION);
        writer.uint(self.cores);
        writer.uint(self.datas);
        writer.uint(self.groups);
        writer.uint(flag(self.seed.is_some(), 1) | flag(self.default_discovery_key.is_some(), 2));
        if let Some(seed) = &self.seed {
            writer.fixed(seed);
        }
        if let Some(key) = &self.default_discovery_key {
            writer.fixed(key);
        }
    }
}

impl Decode<'_> for StoreHead {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let version = reader.uint()?;
        if version != VERSION {
            return Err(DecodeError::UnknownTag { found: version });
        }
        let (cores, datas, groups) = (reader.uint()?, reader.uint()?, reader.uint()?);
        let flags = reader.uint()?;
        let seed = if flags & 1 != 0 { Some(Secret::from(reader.fixed()?)) } else { None };
        let default_discovery_key = if flags & 2 != 0 { Some(reader.fixed()?) } else { None };
        Ok(Self { cores, datas, groups, seed, default_discovery_key })
    }
}

impl Encode for CorePointers {
    fn encoded_len(&self) -> usize {
        let alias = self.alias.as_ref().map_or(0, |alias| string_len(&alias.name) + 32);
        2 + uint_len(self.core) + uint_len(self.data) + alias
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(VERSION);
        writer.uint(self.core);
        writer.uint(self.data);
        writer.uint(flag(self.alias.is_some(), 1));
        if let Some(alias) = &self.alias {
            writer.string(&alias.name);
            writer.fixed(&alias.namespace);
        }
    }
}

impl Decode<'_> for CorePointers {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let version = reader.uint()?;
        if version > VERSION {
            return Err(DecodeError::UnknownTag { found: version });
        }
        let (core, data) = (reader.uint()?, reader.uint()?);
        let alias = if reader.uint()? & 1 != 0 {
            Some(Alias { name: String::from(reader.string()?), namespace: reader.fixed()? })
        } else {
            None
        };
        Ok(Self { core, data, alias })
    }
}

impl Encode for Auth {
    fn encoded_len(&self) -> usize {
        let manifest = self.manifest.as_ref().map_or(0, |manifest| {
            let len = manifest_len(manifest);
            uint_len(len as u64) + len
        });
        let key_pair =
            self.key_pair.as_ref().map_or(0, |pair| 33 + if pair.key_pair.is_some() { 65 } else { 1 });
        let encryption_key = self.encryption_key.as_ref().map_or(0, |key| buffer_len(key));
        65 + manifest + key_pair + encryption_key
    }

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.key);
        writer.fixed(&self.discovery_key);
        let flags = flag(self.manifest.is_some(), 1)
            | flag(self.key_pair.is_some(), 2)
            | flag(self.encryption_key.is_some(), 4);
        writer.uint(flags);
        if let Some(manifest) = &self.manifest {
            writer.buffer(&encode_manifest(manifest));
        }
        if let Some(pair) = &self.key_pair {
            writer.buffer(&pair.public_key);
            let secret = pair.key_pair.as_ref().map(|pair| pair.secret_key.to_bytes());
            writer.optional_buffer(secret.as_ref().map(|secret| secret.as_slice()));
        }
        if let Some(key) = &self.encryption_key {
            writer.buffer(key);
        }
    }
}

impl Decode<'_> for Auth {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let (key, discovery_key) = (reader.fixed()?, reader.fixed()?);
        let flags = reader.uint()?;
        let manifest = if flags & 1 != 0 { Some(decode_manifest(reader.buffer()?)?) } else { None };
        let key_pair = if flags & 2 != 0 { Some(decode_key_pair(reader)?) } else { None };
        let encryption_key =
            if flags & 4 != 0 { Some(Bytes::copy_from_slice(reader.buffer()?)) } else { None };
        Ok(Self { key, discovery_key, manifest, key_pair, encryption_key })
    }
}

impl Encode for Head {
    fn encoded_len(&self) -> usize {
        let signature = self.signature.as_ref().map_or(1, |signature| buffer_len(signature));
        uint_len(self.fork) + uint_len(self.length) + 33 + signature + if self.timestamp == 0 { 0 } else { 8 }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.fork);
        writer.uint(self.length);
        writer.fixed(&self.root_hash);
        writer.optional_buffer(self.signature.as_deref());
        writer.uint(flag(self.timestamp != 0, 1));
        if self.timestamp != 0 {
            writer.u64(self.timestamp);
        }
    }
}

impl Decode<'_> for Head {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let (fork, length, root_hash) = (reader.uint()?, reader.uint()?, reader.fixed()?);
        let signature = reader.optional_buffer()?.map(Bytes::copy_from_slice);
        let flags = if reader.is_empty() { 0 } else { reader.uint()? };
        let timestamp = if flags & 1 != 0 { reader.u64()? } else { 0 };
        Ok(Self { fork, length, root_hash, signature, timestamp })
    }
}

impl Encode for Hints {
    fn encoded_len(&self) -> usize {
        let len = |value| if value == 0 { 0 } else { uint_len(value) };
        1 + len(self.contiguous_length) + len(self.remote_contiguous_length) + len(self.recovering)
    }

    fn encode(&self, writer: &mut Writer) {
        let values = [self.contiguous_length, self.remote_contiguous_length, self.recovering];
        writer.uint(flag(values[0] != 0, 1) | flag(values[1] != 0, 2) | flag(values[2] != 0, 4));
        for value in values {
            if value != 0 {
                writer.uint(value);
            }
        }
    }
}

impl Decode<'_> for Hints {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.uint()?;
        let mut take = |bit| if flags & bit != 0 { reader.uint() } else { Ok(0) };
        Ok(Self { contiguous_length: take(1)?, remote_contiguous_length: take(2)?, recovering: take(4)? })
    }
}

impl Encode for GroupPointer {
    fn encoded_len(&self) -> usize {
        33 + if self.pointer == 0 { 0 } else { uint_len(self.pointer) }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(1 | flag(self.pointer != 0, 2));
        writer.fixed(&self.key);
        if self.pointer != 0 {
            writer.uint(self.pointer);
        }
    }
}

impl Decode<'_> for GroupPointer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.uint()?;
        let key = if flags & 1 != 0 { reader.fixed()? } else { [0; 32] };
        Ok(Self { key, pointer: if flags & 2 != 0 { reader.uint()? } else { 0 } })
    }
}

impl Encode for Sessions {
    fn encoded_len(&self) -> usize {
        let entries = self.0.iter().map(|session| string_len(&session.name) + uint_len(session.data));
        uint_len(self.0.len() as u64) + entries.sum::<usize>()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.0.len() as u64);
        for session in &self.0 {
            writer.string(&session.name);
            writer.uint(session.data);
        }
    }
}

impl Decode<'_> for Sessions {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut sessions = Vec::new();
        for _ in 0..reader.uint()? {
            sessions.push(SessionPointer { name: String::from(reader.string()?), data: reader.uint()? });
        }
        Ok(Self(sessions))
    }
}

impl Encode for Dependency {
    fn encoded_len(&self) -> usize {
        uint_len(self.data) + uint_len(self.length)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.data);
        writer.uint(self.length);
    }
}

impl Decode<'_> for Dependency {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { data: reader.uint()?, length: reader.uint()? })
    }
}

/// A key pair as headers of version 10 and version 11 both keep it: the secret key may be missing.
pub(crate) fn decode_key_pair(reader: &mut Reader<'_>) -> Result<StoredKeyPair> {
    let public_key = sized(reader.buffer()?)?;
    let key_pair = match reader.optional_buffer()? {
        None => None,
        Some(secret) => {
            let pair = KeyPair::from_secret_key(&sized(secret)?);
            Some(pair.map_err(|_| DecodeError::UnknownTag { found: 0 })?)
        }
    };
    Ok(StoredKeyPair { public_key, key_pair })
}

/// Exactly `N` bytes.
pub(crate) fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| DecodeError::TooLarge { limit: N as u64, found: bytes.len() as u64 })
}

/// Encodes a manifest in the layout of version 1, whatever its version.
fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    if manifest.version != 0 {
        return manifest.to_vec();
    }
    let mut bytes = Manifest { version: 1, ..manifest.clone() }.to_vec();
    if let Some(version) = bytes.first_mut() {
        *version = 0;
    }
    bytes
}

fn manifest_len(manifest: &Manifest) -> usize {
    encode_manifest(manifest).len()
}

fn decode_manifest(bytes: &[u8]) -> Result<Manifest> {
    if bytes.first() != Some(&0) {
        return Manifest::from_slice(bytes);
    }
    let mut bytes = bytes.to_vec();
    if let Some(version) = bytes.first_mut() {
        *version = 1;
    }
    Ok(Manifest { version: 0, ..Manifest::from_slice(&bytes)? })
}

fn flag(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

/// The layout of all records.
const VERSION: u64 = 2;
