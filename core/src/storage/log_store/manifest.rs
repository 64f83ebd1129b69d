//! The manifest: which leaves make up the index, and which segments are in use.
//!
//! # Wire
//!
//! List: `uint count | count x (buffer first key | uint record | uint payload length)`.
//!
//! Manifest: `uint version | list | uint count | count x (uint segment | uint place | uint live bytes | uint span)`. The list is of
//! leaves in version 2, and in version 3, where [a takeover](super::takeover) left segments out of use; of branches in version 4.
//!
//! Branch: `uint 0 | list`, of leaves. It has the kind of a manifest, which those who know no branches replay as dead bytes.
//!
//! Header, in two places written in turn: `"hypertab" | u32 CRC-32 of what follows | u64 generation |
//! u64 manifest record | u32 manifest payload length | u64 where replay starts | u64 place of the manifest's segment`,
//! 48 bytes. A file has 32 copies of each, 64 bytes from one to the next, of which an owner that is alone writes the first.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::fences::{Branch, Fence, Fences};
use super::segments::{Segment, Segments};
use crate::compact_encoding::{Reader, Writer};
use crate::error::StorageFailure;

/// Bytes of a header.
pub const HEADER_LEN: usize = 48;

const MAGIC: &[u8; 8] = b"hypertab";
/// Versions that are read; the first has no [`Kind::GivenUp`](super::record::Kind::GivenUp) behind it.
const VERSIONS: RangeInclusive<u64> = 1..=4;
/// The first whose list is of branches.
const BRANCHES: u64 = 4;
/// In the place of a version: a branch.
const BRANCH: u64 = 0;

/// Appends the manifest's payload to a record.
pub(super) fn encode(record: &mut Vec<u8>, fences: &Fences, segments: &Segments) {
    let mut writer = Writer::from_vec(core::mem::take(record));
    let leaves = match fences.branches() {
        [] => Some(&[][..]),
        [Branch { record: None, leaves: Some(leaves), .. }] => Some(&leaves[..]),
        _ => None,
    };
    if let Some(leaves) = leaves {
        writer.uint(if segments.has_quarantined() { 3 } else { 2 });
        encode_list(&mut writer, leaves);
    } else {
        let named = |branch: &Branch| Some(Fence { first: branch.first.clone(), record: branch.record? });
        let branches: Vec<Fence> = fences.branches().iter().filter_map(named).collect();
        writer.uint(BRANCHES);
        encode_list(&mut writer, &branches);
    }
    writer.uint(segments.iter().count() as u64);
    for (number, segment) in segments.iter() {
        writer.uint(number);
        writer.uint(segment.slot);
        writer.uint(segment.live);
        writer.uint(u64::from(segment.span));
    }
    *record = writer.into_vec();
}

/// Appends a branch's payload to a record.
pub(super) fn encode_branch(record: &mut Vec<u8>, leaves: &[Fence]) {
    let mut writer = Writer::from_vec(core::mem::take(record));
    writer.uint(BRANCH);
    encode_list(&mut writer, leaves);
    *record = writer.into_vec();
}

fn encode_list(writer: &mut Writer, list: &[Fence]) {
    writer.uint(list.len() as u64);
    for Fence { first, record: (address, len) } in list {
        writer.buffer(first);
        writer.uint(*address);
        writer.uint(u64::from(*len));
    }
}

/// Reads a list whose keys rise.
fn decode_list(reader: &mut Reader<'_>, payload: &Bytes) -> Option<Vec<Fence>> {
    let count = reader.array_len(3).ok()?;
    let mut list: Vec<Fence> = Vec::with_capacity(count);
    for _ in 0..count {
        let first = payload.slice_ref(reader.buffer().ok()?);
        let record = (reader.uint().ok()?, u32::try_from(reader.uint().ok()?).ok()?);
        if list.last().is_some_and(|before| before.first >= first) {
            return None;
        }
        list.push(Fence { first, record });
    }
    Some(list)
}

/// Reads a branch's payload: its leaves, of which there is at least one.
pub(super) fn decode_branch(payload: &Bytes) -> Option<Vec<Fence>> {
    let mut reader = Reader::new(payload);
    if reader.uint().ok()? != BRANCH {
        return None;
    }
    decode_list(&mut reader, payload).filter(|leaves| !leaves.is_empty())
}

/// Reads a manifest's payload.
pub(super) fn decode(payload: &Bytes) -> Result<(Fences, Segments), StorageFailure> {
    if Reader::new(payload).uint().is_ok_and(|version| version > *VERSIONS.end()) {
        return Err(StorageFailure::TooNew);
    }
    decode_known(payload).ok_or(StorageFailure::Corrupted)
}

fn decode_known(payload: &Bytes) -> Option<(Fences, Segments)> {
    let mut reader = Reader::new(payload);
    let version = reader.uint().ok().filter(|version| VERSIONS.contains(version))?;
    let list = decode_list(&mut reader, payload)?;
    let branch = |Fence { first, record }| Branch { first, record: Some(record), leaves: None };
    let fences = match version {
        BRANCHES.. => Fences::new(list.into_iter().map(branch).collect()),
        _ => Fences::of_leaves(list),
    };
    let mut segments = Vec::new();
    for _ in 0..reader.uint().ok()? {
        let mut next = || reader.uint().ok();
        let (number, slot, live, span) = (next()?, next()?, next()?, next()?);
        segments.push((number, Segment { slot, live, span: u32::try_from(span).ok()? }));
    }
    Some((fences, Segments::from_parts(segments.into_iter())?))
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts checkpoints; the higher of two headers is the current one.
    pub(super) generation: u64,
    pub(super) manifest: u64,
    pub(super) manifest_len: u32,
    pub(super) replay_from: u64,
    /// Where in a file the first segment of the manifest stands.
    pub(super) manifest_slot: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.manifest.to_le_bytes());
        bytes.extend_from_slice(&self.manifest_len.to_le_bytes());
        bytes.extend_from_slice(&self.replay_from.to_le_bytes());
        bytes.extend_from_slice(&self.manifest_slot.to_le_bytes());
        let checksum = hypertab_crypto::crc32(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        Bytes::from(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if &bytes[..8] != MAGIC || u32_at(8) != hypertab_crypto::crc32(&bytes[12..]) {
            return None;
        }
        // More than any store comes to.
        let generation = Some(u64_at(12)).filter(|&generation| generation < u64::MAX / 2)?;
        Some(Header {
            generation,
            manifest: u64_at(20),
            manifest_len: u32_at(28),
            replay_from: u64_at(32),
            manifest_slot: u64_at(40),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_and_header_come_back() {
        let mut segments = Segments::default();
        segments.place(0, 10);
        segments.add_live(0, 10);
        let leaves = [
            Fence { first: Bytes::new(), record: (0, 5) },
            Fence { first: Bytes::from_static(b"m"), record: (40, 9) },
        ];
        let branch =
            |fence: &Fence| Branch { first: fence.first.clone(), record: Some(fence.record), leaves: None };
        let header =
            Header { generation: 3, manifest: 70, manifest_len: 21, replay_from: 1 << 33, manifest_slot: 4 };

        for fences in [Fences::of_leaves(leaves.to_vec()), Fences::new(leaves.iter().map(branch).collect())] {
            let mut payload = Vec::new();
            encode(&mut payload, &fences, &segments);
            let (fences_back, segments_back) = decode(&Bytes::from(payload.clone())).unwrap();

            assert_eq!(fences_back.branches(), fences.branches());
            assert_eq!(segments_back.iter().collect::<Vec<_>>(), segments.iter().collect::<Vec<_>>());
            for cut in 0..payload.len() {
                assert!(decode(&Bytes::from(payload[..cut].to_vec())).is_err());
            }
            payload[0] = 5;
            assert_eq!(decode(&Bytes::from(payload)).err(), Some(StorageFailure::TooNew));
        }
        assert_eq!(Header::decode(&header.encode()), Some(header));
        let mut broken = header.encode().to_vec();
        broken[20] ^= 1;
        assert_eq!(Header::decode(&broken), None);
    }
}
