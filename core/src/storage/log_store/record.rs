//! Records of the log: framing, checksums, and the operations of a commit.
//!
//! # Wire
//!
//! | field | type | bytes | meaning |
//! | --- | --- | --- | --- |
//! | checksum | u32 | 4 | CRC-32 (IEEE) of everything behind this field |
//! | length | u32 | 4 | bytes of the payload |
//! | address | u64 | 8 | where the record starts in the log |
//! | epoch | u32 | 4 | how often the store was opened when it was written |
//! | previous | u32 | 4 | checksum of the record before it in the log |
//! | kind | u8 | 1 | see [`Kind`] |
//! | reserved | | 3 | zero |
//! | payload | | length | |

use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::storage::Op;

/// Bytes in front of each payload.
pub(super) const HEADER: usize = 28;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Operations of a commit that goes on in the next record.
    Part,
    /// The last operations of a commit.
    Commit,
    /// A sorted piece of the index.
    Leaf,
    /// The list of leaves and segments.
    Manifest,
    /// A note that the segments in which the last checkpoint found nothing alive are used again from here on.
    GivenUp,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Part,
            2 => Kind::Commit,
            3 => Kind::Leaf,
            4 => Kind::Manifest,
            5 => Kind::GivenUp,
            _ => return None,
        })
    }

    fn to_byte(self) -> u8 {
        match self {
            Kind::Part => 1,
            Kind::Commit => 2,
            Kind::Leaf => 3,
            Kind::Manifest => 4,
            Kind::GivenUp => 5,
        }
    }
}

/// A record read back and found whole.
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) epoch: u32,
    /// Checksum of the record before it: without it, a record behind a lost one would pass as its successor.
    pub(super) previous: u32,
    pub(super) checksum: u32,
    pub(super) payload: Bytes,
}

/// Starts a record: the caller appends the payload and calls [`seal`].
pub(super) fn begin(capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + capacity);
    bytes.resize(HEADER, 0);
    bytes
}

/// Fills in the header of a record made by [`begin`]; returns its checksum.
pub(super) fn seal(bytes: &mut [u8], kind: Kind, address: u64, epoch: u32, previous: u32) -> u32 {
    let length = u32::try_from(bytes.len() - HEADER).expect("payloads are bounded well below 4 GiB");
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&address.to_le_bytes());
    bytes[16..20].copy_from_slice(&epoch.to_le_bytes());
    bytes[20..24].copy_from_slice(&previous.to_le_bytes());
    bytes[24] = kind.to_byte();
    let checksum = hypertab_crypto::crc32(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Reads the record at the start of `bytes`; `None` when none that belongs at `address` is there whole.
pub(super) fn parse(bytes: &Bytes, address: u64) -> Option<Record> {
    let header: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = usize::try_from(u32_at(4)).ok()?;
    let end = HEADER.checked_add(length)?;
    if header[8..16] != address.to_le_bytes() || bytes.len() < end {
        return None;
    }
    let kind = Kind::from_byte(header[24])?;
    let checksum = u32_at(0);
    if hypertab_crypto::crc32(&bytes[4..end]) != checksum {
        return None;
    }
    Some(Record {
        kind,
        epoch: u32_at(16),
        previous: u32_at(20),
        checksum,
        payload: bytes.slice(HEADER..end),
    })
}

/// Bytes, header included, of the record that seems to start `bytes` and to belong at `address`.
pub(super) fn claimed_len(bytes: &[u8], address: u64) -> Option<u64> {
    let header = bytes.get(..HEADER)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    (header[8..16] == address.to_le_bytes()).then_some(HEADER as u64 + u64::from(length))
}

/// Appends one operation; returns where its value starts, counted from the start of the record.
pub(super) fn push_op(record: &mut Vec<u8>, op: &Op) -> usize {
    let mut writer = Writer::from_vec(core::mem::take(record));
    let mut value_at = 0;
    match op {
        Op::Put { key, value } => {
            writer.u8(0);
            writer.buffer(key);
            writer.uint(value.len() as u64);
            value_at = writer.as_slice().len();
            writer.raw(value);
        }
        Op::Delete { key } => {
            writer.u8(1);
            writer.buffer(key);
        }
        Op::DeleteRange { start, end } => {
            writer.u8(2);
            writer.buffer(start);
            writer.buffer(end);
        }
    }
    *record = writer.into_vec();
    value_at
}

/// Reads the operations of a commit's payload; each comes with the place of its value as [`push_op`] counts it.
pub(super) fn parse_ops(payload: &Bytes) -> Result<Vec<(Op, usize)>, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut ops = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let key = payload.slice_ref(reader.buffer()?);
        let mut value_at = 0;
        let op = match kind {
            0 => {
                let value = payload.slice_ref(reader.buffer()?);
                value_at = HEADER + payload.len() - reader.remaining() - value.len();
                Op::Put { key, value }
            }
            1 => Op::Delete { key },
            _ => Op::DeleteRange { start: key, end: payload.slice_ref(reader.buffer()?) },
        };
        ops.push((op, value_at));
    }
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_with_the_place_of_their_value() {
        let put = Op::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"value") };
        let range = Op::DeleteRange { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"b") };

        let mut bytes = begin(0);
        push_op(&mut bytes, &range);
        let at = push_op(&mut bytes, &put);
        seal(&mut bytes, Kind::Commit, 77, 3, 5);
        let bytes = Bytes::from(bytes);

        let record = parse(&bytes, 77).unwrap();
        assert_eq!((record.kind, record.epoch, record.previous), (Kind::Commit, 3, 5));
        assert_eq!(parse_ops(&record.payload).unwrap(), [(range, 0), (put, at)]);
        assert_eq!(&bytes[at..at + 5], b"value");
        assert_eq!(claimed_len(&bytes, 77), Some(bytes.len() as u64));
        assert_eq!(claimed_len(&bytes, 78), None);
    }

    #[test]
    fn damaged_or_displaced_record_is_absent() {
        let mut bytes = begin(0);
        push_op(&mut bytes, &Op::Delete { key: Bytes::from_static(b"key") });
        seal(&mut bytes, Kind::Commit, 0, 0, 0);

        assert!(parse(&Bytes::from(bytes.clone()), 1).is_none());
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x40;
            assert!(parse(&Bytes::from(broken), 0).is_none(), "byte {at}");
        }
        assert!(parse(&Bytes::from(bytes[..bytes.len() - 1].to_vec()), 0).is_none());
    }
}
