//! Addresses on the wire.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::udx::Address;

/// Reads four bytes of host and two of port.
pub(crate) fn read_address(reader: &mut Reader<'_>) -> Result<Address, DecodeError> {
    let ip = reader.fixed()?;
    Ok(Address::new(ip, reader.u16()?))
}

/// Writes what [`read_address`] reads.
pub(crate) fn write_address(writer: &mut Writer, address: Address) {
    writer.fixed(&address.encode());
}

/// Reads a counted list of addresses and keeps the first [`MAX_ADDRESSES`].
pub(crate) fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<Address>, DecodeError> {
    read_list(reader, read_address)
}

/// Writes what [`read_addresses`] reads.
pub(crate) fn write_addresses(writer: &mut Writer, addresses: &[Address]) {
    writer.uint(u64::try_from(addresses.len()).unwrap_or(0));
    for address in addresses {
        write_address(writer, *address);
    }
}

/// Reads a counted list and keeps the first [`MAX_ADDRESSES`] elements. Elements take at least one byte each, so
/// that a lying count ends with the datagram.
pub(crate) fn read_list<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.uint()?;
    let mut list = Vec::new();
    for _ in 0..count {
        let element = read(reader)?;
        if list.len() < MAX_ADDRESSES {
            list.push(element);
        }
    }
    Ok(list)
}

/// Elements kept of a list: the format has no bound, and a correct peer sends at most twenty.
const MAX_ADDRESSES: usize = 32;

/// Returns what was written.
pub(crate) fn finish(writer: Writer) -> Bytes {
    Bytes::from(writer.into_vec())
}
