//! The layout of UDX datagrams, and how they are told from the others on the same socket.
//!
//! Source: udx-native 1.21, recorded datagrams (`tests/vectors/dht-udx.json`).

use bytes::BufMut;

/// What a datagram on a socket of a HyperDHT node carries, judged by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// One byte that opens a path through a NAT; its value means nothing.
    Punch,
    /// A packet of a UDX stream, provided that its id belongs to a stream.
    Stream,
    /// A dht-rpc request.
    Request,
    /// A dht-rpc reply.
    Reply,
    /// Anything else: to be dropped.
    Unknown,
}

impl Datagram {
    /// Classifies `bytes`.
    pub fn classify(bytes: &[u8]) -> Self {
        match bytes {
            [_] => Self::Punch,
            [MAGIC, VERSION, ..] if bytes.len() >= HEADER_LEN => Self::Stream,
            [0x03, ..] => Self::Request,
            [0x13, ..] => Self::Reply,
            _ => Self::Unknown,
        }
    }
}

/// What a packet is, as a set of bits; the empty set is a plain acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// A plain acknowledgement.
    pub const ACK: Self = Self(0);
    /// Carries ordered bytes and takes a sequence number.
    pub const DATA: Self = Self(1);
    /// The sender will write no more; takes a sequence number.
    pub const END: Self = Self(2);
    /// Selective acknowledgements follow the header.
    pub const SACK: Self = Self(4);
    /// Carries an unordered message.
    pub const MESSAGE: Self = Self(8);
    /// The sender forgot the stream.
    pub const DESTROY: Self = Self(16);
    /// Asks for an acknowledgement.
    pub const HEARTBEAT: Self = Self(32);

    /// Reports whether any bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Joins two sets.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The fixed part of every packet.
///
/// # Wire
///
/// | field | type | bytes | meaning |
/// | --- | --- | --- | --- |
/// | magic, version | `u8`, `u8` | 2 | `ff 01` |
/// | kind | `u8` | 1 | [`Kind`] |
/// | data offset | `u8` | 1 | bytes between header and payload; 0 with `SACK`: all that follows is ranges |
/// | id | `u32` | 4 | stream id of the receiver |
/// | window | `u32` | 4 | bytes that the sender of the packet can still take |
/// | seq | `u32` | 4 | number of this packet, or the next one for kinds that take none |
/// | ack | `u32` | 4 | next number expected |
///
/// All numbers are little-endian. Ranges are pairs of `u32`, first number and the one after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What the packet is.
    pub kind: Kind,
    /// Stream id of the receiver.
    pub id: u32,
    /// Bytes that the sender of the packet can still take.
    pub window: u32,
    /// Number of this packet modulo 2^32, or the next one.
    pub seq: u32,
    /// Next packet number expected, modulo 2^32.
    pub ack: u32,
}

impl Header {
    /// Appends the 20 bytes of a header whose payload, or ranges, follow at once.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[MAGIC, VERSION, self.kind.0, 0]);
        for number in [self.id, self.window, self.seq, self.ack] {
            out.put_u32_le(number);
        }
    }
}

/// A datagram taken apart; borrows the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part.
    pub header: Header,
    /// Selective acknowledgements, 8 bytes each.
    ranges: &'a [u8],
    /// The bytes after header, ranges and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a datagram apart; `None` when it is not a UDX packet or its data offset lies beyond its end.
    pub fn decode(datagram: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let [MAGIC, VERSION, kind, offset, numbers @ ..] = fixed else {
            return None;
        };
        let header = Header {
            kind: Kind(*kind),
            id: number(numbers, 0)?,
            window: number(numbers, 4)?,
            seq: number(numbers, 8)?,
            ack: number(numbers, 12)?,
        };
        let has_ranges = header.kind.has(Kind::SACK);
        let (between, payload) = match usize::from(*offset) {
            0 if has_ranges => (rest, [].as_slice()),
            offset => rest.split_at_checked(offset)?,
        };
        let ranges = if has_ranges { between } else { &[] };
        Some(Self { header, ranges, payload })
    }

    /// Iterates over the selectively acknowledged ranges, `(first, one after the last)`, at most
    /// [`MAX_RANGES`] of them.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        self.ranges
            .chunks_exact(RANGE_LEN)
            .take(MAX_RANGES)
            .filter_map(|pair| Some((number(pair, 0)?, number(pair, 4)?)))
    }

    /// Reads the id of the receiving stream from a datagram, or `None` when it is not a UDX packet.
    pub fn peek_id(datagram: &[u8]) -> Option<u32> {
        match Datagram::classify(datagram) {
            Datagram::Stream => number(datagram, ID_AT),
            _ => None,
        }
    }
}

/// Appends one range to a packet of kind [`Kind::SACK`].
pub fn encode_range(start: u32, end: u32, out: &mut impl BufMut) {
    out.put_u32_le(start);
    out.put_u32_le(end);
}

/// Replaces the receiver of an encoded packet, which is all that forwarding changes.
pub fn replace_id(datagram: &mut [u8], id: u32) {
    if let Some(place) = datagram.get_mut(ID_AT..ID_AT + 4) {
        place.copy_from_slice(&id.to_le_bytes());
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

const MAGIC: u8 = 0xff;
const VERSION: u8 = 1;
const ID_AT: usize = 4;
const RANGE_LEN: usize = 8;

/// Bytes of the fixed part of a packet.
pub const HEADER_LEN: usize = 20;

/// Most ranges written to, or read from, one packet; libudx writes no more either.
pub const MAX_RANGES: usize = 50;

/// Most payload bytes of one packet: 1200 bytes less the headers of IPv4, UDP and UDX.
pub const MAX_PAYLOAD: usize = 1152;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn header_encodes_and_decodes() {
        let header = Header { kind: Kind::DATA, id: 2, window: 4_194_304, seq: 0x0403_0201, ack: 7 };
        let mut bytes = Vec::new();

        header.encode(&mut bytes);
        bytes.extend_from_slice(b"hi");

        assert_eq!(bytes[..HEADER_LEN], [255, 1, 1, 0, 2, 0, 0, 0, 0, 0, 64, 0, 1, 2, 3, 4, 7, 0, 0, 0]);
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!((packet.header, packet.payload, packet.ranges().count()), (header, b"hi".as_slice(), 0));
    }

    #[test]
    fn ranges_without_an_offset_reach_to_the_end() {
        let mut bytes = Vec::new();
        Header { kind: Kind::SACK.with(Kind::DATA), ..Header::default() }.encode(&mut bytes);
        encode_range(2, 4, &mut bytes);
        encode_range(u32::MAX, 1, &mut bytes);
        bytes.push(9);

        let packet = Packet::decode(&bytes).unwrap();

        assert_eq!(packet.ranges().collect::<Vec<_>>(), [(2, 4), (u32::MAX, 1)]);
        assert!(packet.payload.is_empty());
    }

    #[test]
    fn padding_is_skipped_and_an_offset_beyond_the_end_refused() {
        let mut bytes = Vec::new();
        Header { kind: Kind::DATA, ..Header::default() }.encode(&mut bytes);
        bytes.extend_from_slice(b"...x");
        bytes[3] = 3;

        assert_eq!(Packet::decode(&bytes).unwrap().payload, b"x");
        bytes[3] = 5;
        assert_eq!(Packet::decode(&bytes), None);
    }

    #[test]
    fn ranges_are_capped() {
        let mut bytes = Vec::new();
        Header { kind: Kind::SACK, ..Header::default() }.encode(&mut bytes);
        bytes.extend_from_slice(&vec![0; 100 * RANGE_LEN]);

        assert_eq!(Packet::decode(&bytes).unwrap().ranges().count(), MAX_RANGES);
    }

    #[test]
    fn datagrams_are_told_apart_by_their_first_bytes() {
        let mut packet = vec![0; HEADER_LEN];
        packet[..2].copy_from_slice(&[255, 1]);

        assert_eq!(Datagram::classify(&packet), Datagram::Stream);
        assert_eq!(Datagram::classify(&packet[..19]), Datagram::Unknown);
        assert_eq!(Datagram::classify(&[255]), Datagram::Punch);
        assert_eq!(Datagram::classify(&[3, 0]), Datagram::Request);
        assert_eq!(Datagram::classify(&[0x13, 0]), Datagram::Reply);
        assert_eq!(Datagram::classify(&[]), Datagram::Unknown);
        assert_eq!(Packet::peek_id(&packet), Some(0));
        assert_eq!(Packet::peek_id(&packet[..19]), None);
    }
}
