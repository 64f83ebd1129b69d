//! The records that results carry, and addresses.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

use crate::compact_encoding::{Decode, DecodeError, Encode, Reader, Result, Writer, uint_len};

/// A DHT node in a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id, if it has one.
    pub id: Option<[u8; 32]>,
    /// Where it is.
    pub address: SocketAddrV4,
}

impl Node {
    /// Bytes of an encoded address.
    pub(in super::super) const ADDRESS_LEN: usize = 6;

    fn encoded_len(&self) -> usize {
        Self::ADDRESS_LEN + if self.id.is_some() { 33 } else { 1 }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.buffer(self.id.as_ref().map_or(&[][..], |id| id));
        write_address(writer, &self.address);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let id = reader.optional_buffer()?.and_then(|id| id.try_into().ok());
        Ok(Self { id, address: read_address(reader)? })
    }
}

/// A peer that announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub public_key: [u8; 32],
    /// Nodes to reach it through.
    pub relay_addresses: Vec<SocketAddrV4>,
}

/// What one DHT node answered to a query.
///
/// # Wire
///
/// `fixed32 token ‖ node from ‖ node to ‖ array(peer)`; node = `buffer id ‖ addr`, peer = `fixed32 key ‖ array(addr)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResult {
    /// Token for a write to that node.
    pub token: [u8; 32],
    /// The node.
    pub from: Node,
    /// The relay, as the node saw it.
    pub to: Node,
    /// The records.
    pub peers: Vec<Peer>,
}

impl Encode for LookupResult {
    fn encoded_len(&self) -> usize {
        let peers: usize = self.peers.iter().map(|peer| 32 + addresses_len(&peer.relay_addresses)).sum();
        32 + self.from.encoded_len() + self.to.encoded_len() + count_len(self.peers.len()) + peers
    }

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.token);
        self.from.encode(writer);
        self.to.encode(writer);
        writer.array(&self.peers, |writer, peer| {
            writer.fixed(&peer.public_key);
            write_addresses(writer, &peer.relay_addresses);
        });
    }
}

impl<'a> Decode<'a> for LookupResult {
    fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(Self {
            token: reader.fixed()?,
            from: Node::decode(reader)?,
            to: Node::decode(reader)?,
            peers: reader.array(|reader| {
                Ok(Peer { public_key: reader.fixed()?, relay_addresses: read_addresses(reader)? })
            })?,
        })
    }
}

pub(in super::super) fn write_addresses(writer: &mut Writer, addresses: &[SocketAddrV4]) {
    writer.array(addresses, write_address);
}

pub(in super::super) fn write_address(writer: &mut Writer, address: &SocketAddrV4) {
    writer.fixed(&address.ip().octets());
    writer.u16(address.port());
}

pub(in super::super) fn read_address(reader: &mut Reader<'_>) -> Result<SocketAddrV4> {
    let host: [u8; 4] = reader.fixed()?;
    Ok(SocketAddrV4::new(Ipv4Addr::from(host), reader.u16()?))
}

pub(in super::super) fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<SocketAddrV4>> {
    let count = reader.array_len(Node::ADDRESS_LEN)?;
    if count > MAX_ADDRESSES {
        let found = u64::try_from(count).unwrap_or(u64::MAX);
        return Err(DecodeError::TooLarge { limit: MAX_ADDRESSES as u64, found });
    }
    (0..count).map(|_| read_address(reader)).collect()
}

pub(in super::super) fn addresses_len(addresses: &[SocketAddrV4]) -> usize {
    count_len(addresses.len()) + addresses.len() * Node::ADDRESS_LEN
}

pub(super) fn count_len(count: usize) -> usize {
    uint_len(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Most addresses in one list. Nodes keep three relays of a peer.
const MAX_ADDRESSES: usize = 32;
