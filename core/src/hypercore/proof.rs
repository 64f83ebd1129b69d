//! What one peer asks of another and what it gets: requests and proofs, and their layout in messages.
//!
//! Source: hypercore 11.35, `lib/messages.js`, `wire.request` and `wire.data`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{Decode, DecodeError, Encode, Reader, Writer, buffer_len, uint_len};
use crate::crypto::Node;

use super::manifest::Manifest;

/// What a peer asks for, about one fork.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProofRequest {
    /// A block and the nodes that prove it.
    pub block: Option<BlockRequest>,
    /// A tree node and the nodes that prove it.
    pub hash: Option<HashRequest>,
    /// The nodes that lead to a byte offset.
    pub seek: Option<SeekRequest>,
    /// A longer signed head.
    pub upgrade: Option<UpgradeRequest>,
    /// Whether the manifest is wanted too.
    pub manifest: bool,
}

/// Asks for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// Which block.
    pub index: u64,
    /// How many parents to climb until a node that the requester stores.
    pub nodes: u64,
}

/// Asks for a tree node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRequest {
    /// Its tree index.
    pub index: u64,
    /// How many parents to climb until a node that the requester stores.
    pub nodes: u64,
}

/// Asks for the way to a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekRequest {
    /// Bytes of content before it.
    pub bytes: u64,
    /// Bytes of each block that are not content.
    pub padding: u64,
}

/// Asks for a longer head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// Length that the requester has.
    pub start: u64,
    /// Blocks beyond it.
    pub length: u64,
}

/// The answer to a [`ProofRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The fork it is about.
    pub fork: u64,
    /// The block.
    pub block: Option<BlockProof>,
    /// The tree node.
    pub hash: Option<HashProof>,
    /// The way to a byte offset.
    pub seek: Option<SeekProof>,
    /// The longer head.
    pub upgrade: Option<UpgradeProof>,
    /// The manifest.
    pub manifest: Option<Manifest>,
}

/// A block and the siblings on its way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockProof {
    /// Which block.
    pub index: u64,
    /// The stored block, padding included.
    pub value: Bytes,
    /// Siblings, bottom up.
    pub nodes: Vec<Node>,
}

/// A tree node and the siblings on its way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashProof {
    /// Its tree index.
    pub index: u64,
    /// The node, then siblings, bottom up.
    pub nodes: Vec<Node>,
}

/// The way to a byte offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekProof {
    /// The offset that was asked for.
    pub bytes: u64,
    /// The node it lies under, then siblings, bottom up.
    pub nodes: Vec<Node>,
}

/// A longer head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeProof {
    /// Length that it starts from.
    pub start: u64,
    /// Blocks that were asked for.
    pub length: u64,
    /// Nodes that grow the tree to `start + length`.
    pub nodes: Vec<Node>,
    /// Nodes that grow it from there to the signed length.
    pub additional_nodes: Vec<Node>,
    /// The signature over that head.
    pub signature: Option<Bytes>,
}

/// Takes the message `request` apart: its id, fork and priority, and what is asked for.
///
/// # Errors
///
/// [`DecodeError`].
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | flags | `uint` | 1 block, 2 hash, 4 seek, 8 upgrade, 16 manifest, 32 priority |
/// | id, fork | `uint` | the answer repeats the id; 0 asks for a proof outside of the download |
/// | block, hash | 2 `uint` each | index, nodes |
/// | seek | 2 `uint` | bytes, padding |
/// | upgrade | 2 `uint` | start, length |
/// | priority | `uint` | higher first |
pub fn decode_request(message: &[u8]) -> Result<(u64, u64, u64, ProofRequest), DecodeError> {
    let mut reader = Reader::new(message);
    let (flags, id, fork) = (reader.uint()?, reader.uint()?, reader.uint()?);
    let mut request = ProofRequest { manifest: flags & MANIFEST != 0, ..ProofRequest::default() };
    let mut pair = |flag: u64| -> Result<Option<(u64, u64)>, DecodeError> {
        if flags & flag == 0 { Ok(None) } else { Ok(Some((reader.uint()?, reader.uint()?))) }
    };
    request.block = pair(BLOCK)?.map(|(index, nodes)| BlockRequest { index, nodes });
    request.hash = pair(HASH)?.map(|(index, nodes)| HashRequest { index, nodes });
    request.seek = pair(SEEK)?.map(|(bytes, padding)| SeekRequest { bytes, padding });
    request.upgrade = pair(UPGRADE)?.map(|(start, length)| UpgradeRequest { start, length });
    let priority = if flags & PRIORITY == 0 { 0 } else { reader.uint()? };
    Ok((id, fork, priority, request))
}

/// Writes the message `request`.
pub fn encode_request(id: u64, fork: u64, priority: u64, request: &ProofRequest, out: &mut Writer) {
    let pairs = request_pairs(request);
    let mut flags = flags_of(pairs.map(|pair| pair.is_some()), request.manifest);
    if priority > 0 {
        flags |= PRIORITY;
    }
    for value in [flags, id, fork] {
        out.uint(value);
    }
    for (first, second) in pairs.into_iter().flatten() {
        out.uint(first);
        out.uint(second);
    }
    if priority > 0 {
        out.uint(priority);
    }
}

/// Returns the length of the message `request` in bytes.
pub fn request_len(id: u64, fork: u64, priority: u64, request: &ProofRequest) -> usize {
    let pairs = request_pairs(request).into_iter().flatten();
    let pairs: usize = pairs.map(|(first, second)| uint_len(first) + uint_len(second)).sum();
    1 + uint_len(id) + uint_len(fork) + pairs + if priority > 0 { uint_len(priority) } else { 0 }
}

/// Takes the message `data` apart: the id of its request, and the proof. The block shares the memory
/// of the message.
///
/// # Errors
///
/// [`DecodeError`].
///
/// # Wire
///
/// | field | type | meaning |
/// | --- | --- | --- |
/// | flags | `uint` | 1 block, 2 hash, 4 seek, 8 upgrade, 16 manifest |
/// | request, fork | `uint` | id of the request |
/// | block | `uint`, `buffer`, nodes | index, value, siblings |
/// | hash | `uint`, nodes | tree index, node and siblings |
/// | seek | `uint`, nodes | bytes, node and siblings |
/// | upgrade | 2 `uint`, nodes, nodes, `optional_buffer` | start, length, nodes, additional nodes, signature |
/// | manifest | [`Manifest`] | |
pub fn decode_data(message: &Bytes) -> Result<(u64, Proof), DecodeError> {
    let mut reader = Reader::new(message);
    let flags = reader.uint()?;
    let request = reader.uint()?;
    let mut proof = Proof { fork: reader.uint()?, ..Proof::default() };
    if flags & BLOCK != 0 {
        let index = reader.uint()?;
        let value = reader.buffer()?;
        let end = message.len() - reader.remaining();
        let value = message.slice(end - value.len()..end);
        proof.block = Some(BlockProof { index, value, nodes: decode_nodes(&mut reader)? });
    }
    if flags & HASH != 0 {
        proof.hash = Some(HashProof { index: reader.uint()?, nodes: decode_nodes(&mut reader)? });
    }
    if flags & SEEK != 0 {
        proof.seek = Some(SeekProof { bytes: reader.uint()?, nodes: decode_nodes(&mut reader)? });
    }
    if flags & UPGRADE != 0 {
        proof.upgrade = Some(UpgradeProof {
            start: reader.uint()?,
            length: reader.uint()?,
            nodes: decode_nodes(&mut reader)?,
            additional_nodes: decode_nodes(&mut reader)?,
            signature: reader.optional_buffer()?.map(Bytes::copy_from_slice),
        });
    }
    if flags & MANIFEST != 0 {
        proof.manifest = Some(Manifest::decode(&mut reader)?);
    }
    Ok((request, proof))
}

/// Writes the message `data`.
pub fn encode_data(request: u64, proof: &Proof, out: &mut Writer) {
    let parts = [proof.block.is_some(), proof.hash.is_some(), proof.seek.is_some(), proof.upgrade.is_some()];
    for value in [flags_of(parts, proof.manifest.is_some()), request, proof.fork] {
        out.uint(value);
    }
    if let Some(block) = &proof.block {
        out.uint(block.index);
        out.buffer(&block.value);
        encode_nodes(&block.nodes, out);
    }
    if let Some(hash) = &proof.hash {
        out.uint(hash.index);
        encode_nodes(&hash.nodes, out);
    }
    if let Some(seek) = &proof.seek {
        out.uint(seek.bytes);
        encode_nodes(&seek.nodes, out);
    }
    if let Some(upgrade) = &proof.upgrade {
        out.uint(upgrade.start);
        out.uint(upgrade.length);
        encode_nodes(&upgrade.nodes, out);
        encode_nodes(&upgrade.additional_nodes, out);
        out.optional_buffer(upgrade.signature.as_deref());
    }
    if let Some(manifest) = &proof.manifest {
        manifest.encode(out);
    }
}

/// Returns the length of the message `data` in bytes.
pub fn data_len(request: u64, proof: &Proof) -> usize {
    let mut len = 1 + uint_len(request) + uint_len(proof.fork);
    if let Some(block) = &proof.block {
        len += uint_len(block.index) + buffer_len(&block.value) + nodes_len(&block.nodes);
    }
    if let Some(hash) = &proof.hash {
        len += uint_len(hash.index) + nodes_len(&hash.nodes);
    }
    if let Some(seek) = &proof.seek {
        len += uint_len(seek.bytes) + nodes_len(&seek.nodes);
    }
    if let Some(upgrade) = &proof.upgrade {
        len += uint_len(upgrade.start) + uint_len(upgrade.length);
        len += nodes_len(&upgrade.nodes) + nodes_len(&upgrade.additional_nodes);
        len += buffer_len(upgrade.signature.as_deref().unwrap_or_default());
    }
    len + proof.manifest.as_ref().map_or(0, Manifest::encoded_len)
}

fn request_pairs(request: &ProofRequest) -> [Option<(u64, u64)>; 4] {
    [
        request.block.map(|block| (block.index, block.nodes)),
        request.hash.map(|hash| (hash.index, hash.nodes)),
        request.seek.map(|seek| (seek.bytes, seek.padding)),
        request.upgrade.map(|upgrade| (upgrade.start, upgrade.length)),
    ]
}

fn flags_of(parts: [bool; 4], manifest: bool) -> u64 {
    let bits = [BLOCK, HASH, SEEK, UPGRADE].into_iter().zip(parts);
    let flags = bits.filter(|&(_, set)| set).map(|(flag, _)| flag).sum::<u64>();
    if manifest { flags | MANIFEST } else { flags }
}

/// Writes a list of nodes: `uint` count, then the nodes.
pub(super) fn encode_nodes(nodes: &[Node], out: &mut Writer) {
    out.array(nodes, |out, node| node.encode(out));
}

/// Reads a list of nodes.
pub(super) fn decode_nodes(reader: &mut Reader<'_>) -> Result<Vec<Node>, DecodeError> {
    let count = reader.array_len(Node::MIN_ENCODED_LEN)?;
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        nodes.push(Node::decode(reader)?);
    }
    Ok(nodes)
}

fn nodes_len(nodes: &[Node]) -> usize {
    uint_len(nodes.len() as u64) + nodes.iter().map(Node::encoded_len).sum::<usize>()
}

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;
const PRIORITY: u64 = 32;
