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

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::storage::Op;
use crate::storage::run::{Packed, Run};

/// Bytes in front of each payload.
pub(super) const HEADER: usize = 28;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Operations of a commit that goes on in the next record.
    Part,
    /// The last operations of a commit.
    Commit,
    /// A sorted piece of the index.
    Leaf,
    /// The list of leaves and segments, or a branch: a piece of the list.
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
    begin_in(Vec::new(), capacity)
}

/// As [`begin`], in the memory of a record that was written, if it is enough.
pub(super) fn begin_in(mut bytes: Vec<u8>, capacity: usize) -> Vec<u8> {
    if bytes.capacity() < HEADER + capacity {
        bytes = Vec::with_capacity(HEADER + capacity);
    }
    bytes.clear();
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

/// Appends one operation, of a run the values at these positions; returns where its value starts, or the first of them,
/// counted from the start of the record.
pub(super) fn push_op(record: &mut Vec<u8>, op: &Op, part: &Range<usize>) -> usize {
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
        Op::PutRun(run) => {
            let keys = run.keys().part(part);
            writer.u8(3);
            writer.buffer(keys.prefix());
            writer.uint(keys.first());
            writer.array_len(keys.count() as u64);
            part.clone().for_each(|at| writer.uint(run.bytes(at).len() as u64));
            value_at = writer.as_slice().len();
            run.pieces(part.clone()).for_each(|piece| writer.raw(piece));
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
            3 => {
                let first = reader.uint()?;
                let too_large = || DecodeError::TooLarge { limit: u32::MAX.into(), found: first };
                let count = reader.array_len(1)?;
                let mut ends = Vec::with_capacity(count);
                let mut end = 0_u32;
                for _ in 0..count {
                    let len = u32::try_from(reader.uint()?).map_err(|_| too_large())?;
                    end = end.checked_add(len).ok_or_else(too_large)?;
                    ends.push(end);
                }
                value_at = HEADER + payload.len() - reader.remaining();
                let bytes = payload.slice_ref(reader.bytes(end as usize)?);
                let run = Run::packed(key, first, Packed { bytes, ends }).ok_or_else(too_large)?;
                Op::PutRun(Arc::new(run))
            }
            2 => Op::DeleteRange { start: key, end: payload.slice_ref(reader.buffer()?) },
            kind => return Err(DecodeError::UnknownTag { found: kind.into() }),
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
        push_op(&mut bytes, &range, &(0..0));
        let at = push_op(&mut bytes, &put, &(0..0));
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
    fn part_of_a_run_comes_back_as_a_run() {
        let values = (0..5_u8).map(|i| Bytes::from(alloc::vec![i; 10 * usize::from(i)])).collect();
        let op = Op::PutRun(Arc::new(Run::new(Bytes::from_static(b"p"), 250, values).unwrap()));

        let mut bytes = begin(0);
        let at = push_op(&mut bytes, &op, &(1..4));
        seal(&mut bytes, Kind::Commit, 0, 0, 0);
        let bytes = Bytes::from(bytes);

        let ops = parse_ops(&parse(&bytes, 0).unwrap().payload).unwrap();
        let [(Op::PutRun(found), value_at)] = &ops[..] else { panic!("{ops:?}") };
        let Op::PutRun(whole) = op else { unreachable!() };
        assert!(found.iter().eq(whole.iter().skip(1).take(3)));
        assert_eq!((*value_at, &bytes[at..at + 10]), (at, &[1; 10][..]));
    }

    #[test]
    fn damaged_or_displaced_record_is_absent() {
        let mut bytes = begin(0);
        push_op(&mut bytes, &Op::Delete { key: Bytes::from_static(b"key") }, &(0..0));
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
