//! The manifest: which leaves make up the index, and which segments are in use.
//!
//! # Wire
//!
//! Manifest: `uint version (2, or 3 where [a takeover](super::takeover) left segments out of use) | uint count | count x (buffer first key | uint record | uint payload length) |
//! uint count | count x (uint segment | uint place | uint live bytes | uint span)`.
//!
//! Header, in two copies written in turn: `"hypertab" | u32 CRC-32 of what follows | u64 generation |
//! u64 manifest record | u32 manifest payload length | u64 where replay starts | u64 place of the manifest's segment`,
//! 48 bytes.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::segments::{Segment, Segments};
use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::error::StorageFailure;

/// Bytes of a header.
pub const HEADER_LEN: usize = 48;

const MAGIC: &[u8; 8] = b"hypertab";
/// Versions that are read; the first has no [`Kind::GivenUp`](super::record::Kind::GivenUp) behind it.
const VERSIONS: RangeInclusive<u64> = 1..=3;

/// One leaf of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    /// The lowest key that belongs into the leaf. Empty for the first leaf.
    pub(super) first: Bytes,
    /// Address of its record.
    pub(super) record: u64,
    /// Bytes of its payload.
    pub(super) len: u32,
}

/// Appends the manifest's payload to a record.
pub(super) fn encode(record: &mut Vec<u8>, fences: &[Fence], segments: &Segments) {
    let mut writer = Writer::from_vec(core::mem::take(record));
    writer.uint(if segments.has_quarantined() { 3 } else { 2 });
    writer.uint(fences.len() as u64);
    for fence in fences {
        writer.buffer(&fence.first);
        writer.uint(fence.record);
        writer.uint(u64::from(fence.len));
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

/// Reads a manifest's payload.
pub(super) fn decode(payload: &Bytes) -> Result<(Vec<Fence>, Segments), StorageFailure> {
    if Reader::new(payload).uint().is_ok_and(|version| version > *VERSIONS.end()) {
        return Err(StorageFailure::TooNew);
    }
    decode_known(payload).ok_or(StorageFailure::Corrupted)
}

fn decode_known(payload: &Bytes) -> Option<(Vec<Fence>, Segments)> {
    let mut reader = Reader::new(payload);
    let parsed = (|| -> Result<_, DecodeError> {
        let version = reader.uint()?;
        let mut fences = Vec::new();
        for _ in 0..reader.uint()? {
            let first = payload.slice_ref(reader.buffer()?);
            fences.push((first, reader.uint()?, reader.uint()?));
        }
        let mut segments = Vec::new();
        for _ in 0..reader.uint()? {
            segments.push((reader.uint()?, reader.uint()?, reader.uint()?, reader.uint()?));
        }
        Ok((version, fences, segments))
    })();
    let (version, fences, segments) = parsed.ok()?;
    if !VERSIONS.contains(&version) || fences.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return None;
    }
    let fences = fences
        .into_iter()
        .map(|(first, record, len)| Some(Fence { first, record, len: u32::try_from(len).ok()? }))
        .collect::<Option<_>>()?;
    let segments = segments
        .into_iter()
        .map(|(number, slot, live, span)| {
            Some((number, Segment { slot, live, span: u32::try_from(span).ok()? }))
        })
        .collect::<Option<Vec<_>>>()?;
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
        let fences = [
            Fence { first: Bytes::new(), record: 0, len: 5 },
            Fence { first: Bytes::from_static(b"m"), record: 40, len: 9 },
        ];
        let header =
            Header { generation: 3, manifest: 70, manifest_len: 21, replay_from: 1 << 33, manifest_slot: 4 };

        let mut payload = Vec::new();
        encode(&mut payload, &fences, &segments);
        let (fences_back, segments_back) = decode(&Bytes::from(payload.clone())).unwrap();

        assert_eq!(fences_back, fences);
        assert_eq!(segments_back.iter().collect::<Vec<_>>(), segments.iter().collect::<Vec<_>>());
        assert_eq!(Header::decode(&header.encode()), Some(header));
        for cut in 0..payload.len() {
            assert!(decode(&Bytes::from(payload[..cut].to_vec())).is_err());
        }
        payload[0] += 2;
        assert_eq!(decode(&Bytes::from(payload)).err(), Some(StorageFailure::TooNew));
        let mut broken = header.encode().to_vec();
        broken[20] ^= 1;
        assert_eq!(Header::decode(&broken), None);
    }
}
