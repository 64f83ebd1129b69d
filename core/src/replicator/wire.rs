//! The messages of a replication channel.
//!
//! # Wire
//!
//! | type | name | payload |
//! | --- | --- | --- |
//! | 0 | [`Sync`] | flags, fork, length, remote length |
//! | 1 | [`Request`] | flags, id, fork, then by flag: block, hash, seek, upgrade, priority |
//! | 2 | cancel | request id |
//! | 3 | [`Data`] | flags, request id, fork, then by flag: block, hash, seek, upgrade, manifest |
//! | 4 | [`NoData`] | request id, flags, reason |
//! | 5, 6 | [`Want`] | start, length, flags when not 0 |
//! | 7 | [`BitfieldWords`] | start, words |
//! | 8 | [`Range`] | flags, start, length when not 1 |
//! | 9 | [`Extension`] | name, payload to the end |
//!
//! All numbers are `uint`. Source: hypercore 11.35, `lib/messages.js`, `wire`.

use alloc::string::String;

use bytes::Bytes;

use crate::compact_encoding::{Decode, DecodeError, Encode, Reader, Result, Writer, string_len, uint_len};
use crate::hypercore::proof::{
    Proof, ProofRequest, data_len, decode_data, decode_request, encode_data, encode_request, request_len,
};

/// The Protomux protocol name of a channel.
pub const PROTOCOL: &str = "hypercore/alpha";

/// The other name under which peers may open one.
pub const PROTOCOL_ALIAS: &str = "hypercore";

/// How many message types there are.
pub const MESSAGE_TYPES: u64 = 10;

/// What each side sends with its open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Whether the sender understands padding in seeks. Always set by this implementation.
    pub seeks: bool,
    /// Proof that the sender knows the key; see [`capability`](super::capability).
    pub capability: [u8; 32],
}

/// A message of a replication channel.
#[allow(
    clippy::large_enum_variant,
    reason = "data is what nearly all messages are; not large where usize is 32 bits"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The sender's head and wishes.
    Sync(Sync),
    /// Asks for data.
    Request(Request),
    /// Takes a request back.
    Cancel {
        /// Its id.
        request: u64,
    },
    /// Answers a request.
    Data(Data),
    /// Refuses a request.
    NoData(NoData),
    /// Asks which blocks of a range the peer has, and to be told of more.
    Want(Want),
    /// Takes a want back.
    Unwant(Want),
    /// Which blocks the sender has.
    Bitfield(BitfieldWords),
    /// Blocks that the sender gained or dropped.
    Range(Range),
    /// A message of an extension.
    Extension(Extension),
}

/// The sender's head and wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Its fork.
    pub fork: u64,
    /// Its length.
    pub length: u64,
    /// The last length the receiver announced on this fork, else 0.
    pub remote_length: u64,
    /// Whether the sender can prove an upgrade from the receiver's length.
    pub can_upgrade: bool,
    /// Whether it answers requests.
    pub uploading: bool,
    /// Whether it wants anything.
    pub downloading: bool,
    /// Whether it can send the manifest.
    pub has_manifest: bool,
    /// Whether it takes data it did not ask for.
    pub allow_push: bool,
}

/// Asks for data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the sender; 0 asks for a conflict proof.
    pub id: u64,
    /// Which fork it is about.
    pub fork: u64,
    /// What is wanted.
    pub what: ProofRequest,
    /// 0 normal, 1 high, 2 very high.
    pub priority: u64,
}

/// Answers a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// The id of the request; 0 for conflict proofs and pushes.
    pub request: u64,
    /// The answer.
    pub proof: Proof,
}

/// Refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoData {
    /// Its id.
    pub request: u64,
    /// Why; 0 when the peer does not say.
    pub reason: u64,
}

/// A [`NoData`] reason: the block is not stored, or the fork is another.
pub const NOT_AVAILABLE: u64 = 1;

/// A [`NoData`] reason: the request makes no sense.
pub const INVALID_REQUEST: u64 = 2;

/// A range of blocks that a peer is interested in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// Whether one block of them is enough.
    pub any: bool,
}

/// Which blocks the sender has, from `start` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitfieldWords {
    /// First block, a multiple of 32.
    pub start: u64,
    /// Little-endian `u32`, lowest bit first: a multiple of 4 bytes.
    pub words: Bytes,
}

/// Blocks that the sender gained or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whether they are gone.
    pub drop: bool,
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// A message of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The extension; empty means the one before.
    pub name: String,
    /// In the extension's own encoding.
    pub payload: Bytes,
}

impl Encode for Handshake {
    fn encoded_len(&self) -> usize {
        1 + self.capability.len()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(flag(self.seeks, 1));
        writer.fixed(&self.capability);
    }
}

impl Decode<'_> for Handshake {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.uint()?;
        Ok(Self { seeks: flags & 1 != 0, capability: reader.fixed()? })
    }
}

impl Message {
    /// Returns the Protomux type of the message.
    pub fn message_type(&self) -> u64 {
        match self {
            Self::Sync(_) => 0,
            Self::Request(_) => 1,
            Self::Cancel { .. } => 2,
            Self::Data(_) => 3,
            Self::NoData(_) => 4,
            Self::Want(_) => 5,
            Self::Unwant(_) => 6,
            Self::Bitfield(_) => 7,
            Self::Range(_) => 8,
            Self::Extension(_) => 9,
        }
    }

    /// Reads the payload of a message; blocks and words share its memory. `None` for a type that no
    /// one has defined yet, which is to be ignored.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that no correct peer sends.
    pub fn decode(message_type: u64, payload: &Bytes) -> Result<Option<Self>> {
        let reader = &mut Reader::new(payload);
        Ok(Some(match message_type {
            0 => Self::Sync(Sync::decode(reader)?),
            1 => {
                let (id, fork, priority, what) = decode_request(payload)?;
                Self::Request(Request { id, fork, what, priority })
            }
            2 => Self::Cancel { request: reader.uint()? },
            3 => {
                let (request, proof) = decode_data(payload)?;
                Self::Data(Data { request, proof })
            }
            4 => Self::NoData(NoData::decode(reader)?),
            5 => Self::Want(Want::decode(reader)?),
            6 => Self::Unwant(Want::decode(reader)?),
            7 => Self::Bitfield(BitfieldWords::decode(reader, payload)?),
            8 => Self::Range(Range::decode(reader)?),
            9 => Self::Extension(Extension::decode(reader, payload)?),
            _ => return Ok(None),
        }))
    }
}

/// The payload alone, without the type.
impl Encode for Message {
    fn encoded_len(&self) -> usize {
        match self {
            Self::Sync(message) => message.encoded_len(),
            Self::Request(message) => message.encoded_len(),
            Self::Cancel { request } => uint_len(*request),
            Self::Data(message) => message.encoded_len(),
            Self::NoData(message) => message.encoded_len(),
            Self::Want(message) | Self::Unwant(message) => message.encoded_len(),
            Self::Bitfield(message) => message.encoded_len(),
            Self::Range(message) => message.encoded_len(),
            Self::Extension(message) => message.encoded_len(),
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Sync(message) => message.encode(writer),
            Self::Request(message) => message.encode(writer),
            Self::Cancel { request } => writer.uint(*request),
            Self::Data(message) => message.encode(writer),
            Self::NoData(message) => message.encode(writer),
            Self::Want(message) | Self::Unwant(message) => message.encode(writer),
            Self::Bitfield(message) => message.encode(writer),
            Self::Range(message) => message.encode(writer),
            Self::Extension(message) => message.encode(writer),
        }
    }
}

impl Encode for Sync {
    fn encoded_len(&self) -> usize {
        1 + uint_len(self.fork) + uint_len(self.length) + uint_len(self.remote_length)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(
            flag(self.can_upgrade, 1)
                | flag(self.uploading, 2)
                | flag(self.downloading, 4)
                | flag(self.has_manifest, 8)
                | flag(self.allow_push, 16),
        );
        writer.uint(self.fork);
        writer.uint(self.length);
        writer.uint(self.remote_length);
    }
}

impl Decode<'_> for Sync {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.uint()?;
        Ok(Self {
            fork: reader.uint()?,
            length: reader.uint()?,
            remote_length: reader.uint()?,
            can_upgrade: flags & 1 != 0,
            uploading: flags & 2 != 0,
            downloading: flags & 4 != 0,
            has_manifest: flags & 8 != 0,
            allow_push: flags & 16 != 0,
        })
    }
}

impl Encode for Request {
    fn encoded_len(&self) -> usize {
        request_len(self.id, self.fork, self.priority, &self.what)
    }

    fn encode(&self, writer: &mut Writer) {
        encode_request(self.id, self.fork, self.priority, &self.what, writer);
    }
}

impl Encode for Data {
    fn encoded_len(&self) -> usize {
        data_len(self.request, &self.proof)
    }

    fn encode(&self, writer: &mut Writer) {
        encode_data(self.request, &self.proof, writer);
    }
}

impl Encode for NoData {
    fn encoded_len(&self) -> usize {
        uint_len(self.request) + 1 + if self.reason == 0 { 0 } else { uint_len(self.reason) }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.request);
        writer.uint(flag(self.reason != 0, 1));
        if self.reason != 0 {
            writer.uint(self.reason);
        }
    }
}

impl Decode<'_> for NoData {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let request = reader.uint()?;
        let flags = optional_flags(reader)?;
        Ok(Self { request, reason: if flags & 1 == 0 { 0 } else { reader.uint()? } })
    }
}

impl Encode for Want {
    fn encoded_len(&self) -> usize {
        pair_len(self.start, self.length) + usize::from(self.any)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.start);
        writer.uint(self.length);
        if self.any {
            writer.uint(1);
        }
    }
}

impl Decode<'_> for Want {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let (start, length) = (reader.uint()?, reader.uint()?);
        Ok(Self { start, length, any: optional_flags(reader)? & 1 != 0 })
    }
}

impl Encode for BitfieldWords {
    fn encoded_len(&self) -> usize {
        uint_len(self.start) + uint_len(word_count(&self.words)) + self.words.len()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.start);
        writer.uint(word_count(&self.words));
        writer.raw(&self.words);
    }
}

impl BitfieldWords {
    fn decode<'a>(reader: &mut Reader<'a>, payload: &'a Bytes) -> Result<Self> {
        let start = reader.uint()?;
        let count = reader.uint()?;
        let len = count.saturating_mul(4);
        let short = DecodeError::UnexpectedEnd { needed: len, remaining: reader.remaining() as u64 };
        let words = reader.bytes(usize::try_from(len).map_err(|_| short)?)?;
        Ok(Self { start, words: payload.slice_ref(words) })
    }
}

impl Encode for Range {
    fn encoded_len(&self) -> usize {
        1 + uint_len(self.start) + if self.length == 1 { 0 } else { uint_len(self.length) }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.uint(flag(self.drop, 1) | flag(self.length == 1, 2));
        writer.uint(self.start);
        if self.length != 1 {
            writer.uint(self.length);
        }
    }
}

impl Decode<'_> for Range {
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.uint()?;
        let start = reader.uint()?;
        let length = if flags & 2 == 0 { reader.uint()? } else { 1 };
        Ok(Self { drop: flags & 1 != 0, start, length })
    }
}

impl Encode for Extension {
    fn encoded_len(&self) -> usize {
        string_len(&self.name) + self.payload.len()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.string(&self.name);
        writer.raw(&self.payload);
    }
}

impl Extension {
    fn decode<'a>(reader: &mut Reader<'a>, payload: &'a Bytes) -> Result<Self> {
        let name = reader.string()?.into();
        Ok(Self { name, payload: payload.slice_ref(reader.raw()) })
    }
}

fn flag(is_set: bool, mask: u64) -> u64 {
    if is_set { mask } else { 0 }
}

/// Flags that older peers leave out when they are 0.
fn optional_flags(reader: &mut Reader<'_>) -> Result<u64> {
    if reader.is_empty() { Ok(0) } else { reader.uint() }
}

fn pair_len(a: u64, b: u64) -> usize {
    uint_len(a) + uint_len(b)
}

fn word_count(words: &Bytes) -> u64 {
    words.len() as u64 / 4
}
