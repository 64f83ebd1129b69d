//! What peers tell each other inside their handshake.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::wire::{finish, read_address, read_addresses, read_list, write_address, write_addresses};
use super::{Firewall, flag};
use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::udx::Address;

/// Payload of both Noise messages of a connection.
///
/// # Wire
///
/// `uint version(1) ‖ uint flags ‖ uint error ‖ uint firewall ‖ [1: holepunch] ‖ [2: array(addr) addresses4] ‖
/// [4: array(addr6) addresses6] ‖ [8: udx] ‖ [16: uint secretStreamVersion] ‖ [32: relayThrough] ‖
/// [64: array(addr) relayAddresses]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisePayload {
    /// Version; the rest is absent when it is not 1.
    pub version: u64,
    /// 0, or why there is no connection.
    pub error: u64,
    /// Kind of the sender's network.
    pub firewall: Firewall,
    /// How the sender can be punched.
    pub holepunch: Option<HolepunchInfo>,
    /// Addresses of the sender.
    pub addresses4: Vec<Address>,
    /// Addresses of the sender, 16 bytes of host and two of port.
    pub addresses6: Vec<[u8; 18]>,
    /// Stream of the sender.
    pub udx: Option<UdxInfo>,
    /// Version of the secret stream.
    pub secret_stream: Option<u64>,
    /// Blind relay that the sender wants to use.
    pub relay_through: Option<RelayThrough>,
    /// Nodes through which the sender can be reached again.
    pub relay_addresses: Option<Vec<Address>>,
}

impl Default for NoisePayload {
    fn default() -> Self {
        Self {
            version: 1,
            error: 0,
            firewall: Firewall::Unknown,
            holepunch: None,
            addresses4: Vec::new(),
            addresses6: Vec::new(),
            udx: None,
            secret_stream: None,
            relay_through: None,
            relay_addresses: None,
        }
    }
}

/// How a server can be punched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolepunchInfo {
    /// Number of the handshake at the server.
    pub id: u64,
    /// Nodes that pass messages on.
    pub relays: Vec<RelayInfo>,
}

/// A node that passes holepunch messages on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayInfo {
    /// Where it is.
    pub relay_address: Address,
    /// The server's address as it sees it.
    pub peer_address: Address,
}

/// A UDX stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdxInfo {
    /// Version, 1.
    pub version: u64,
    /// Whether the socket may be used for further connections.
    pub is_reusable: bool,
    /// Id by which the receiver addresses the sender's stream.
    pub id: u64,
    /// First packet number.
    pub seq: u64,
}

/// A blind relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayThrough {
    /// Version, 1.
    pub version: u64,
    /// Key of the relay.
    pub public_key: [u8; 32],
    /// Pairs the two sides.
    pub token: [u8; 32],
}

impl NoisePayload {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let flags = flag(1, self.holepunch.is_some())
            | flag(2, !self.addresses4.is_empty())
            | flag(4, !self.addresses6.is_empty())
            | flag(8, self.udx.is_some())
            | flag(16, self.secret_stream.is_some())
            | flag(32, self.relay_through.is_some())
            | flag(64, self.relay_addresses.is_some());
        let mut writer = Writer::new();
        for field in [1, flags, self.error, self.firewall.to_wire()] {
            writer.uint(field);
        }
        if let Some(holepunch) = &self.holepunch {
            writer.uint(holepunch.id);
            writer.uint(u64::try_from(holepunch.relays.len()).unwrap_or(0));
            for relay in &holepunch.relays {
                write_address(&mut writer, relay.relay_address);
                write_address(&mut writer, relay.peer_address);
            }
        }
        if !self.addresses4.is_empty() {
            write_addresses(&mut writer, &self.addresses4);
        }
        if !self.addresses6.is_empty() {
            writer.uint(u64::try_from(self.addresses6.len()).unwrap_or(0));
            for address in &self.addresses6 {
                writer.fixed(address);
            }
        }
        if let Some(udx) = &self.udx {
            for field in [1, u64::from(udx.is_reusable), udx.id, udx.seq] {
                writer.uint(field);
            }
        }
        if let Some(version) = self.secret_stream {
            writer.uint(version);
        }
        if let Some(relay) = &self.relay_through {
            writer.uint(1);
            writer.uint(0);
            writer.fixed(&relay.public_key);
            writer.fixed(&relay.token);
        }
        if let Some(addresses) = &self.relay_addresses {
            write_addresses(&mut writer, addresses);
        }
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.uint()?;
        if version != 1 {
            return Ok(Self { version, ..Self::default() });
        }
        let flags = reader.uint()?;
        let reader = &mut reader;
        Ok(Self {
            version,
            error: reader.uint()?,
            firewall: Firewall::from_wire(reader.uint()?),
            holepunch: if flags & 1 == 0 { None } else { Some(read_holepunch(reader)?) },
            addresses4: if flags & 2 == 0 { Vec::new() } else { read_addresses(reader)? },
            addresses6: if flags & 4 == 0 { Vec::new() } else { read_list(reader, |reader| reader.fixed())? },
            udx: if flags & 8 == 0 { None } else { Some(read_udx(reader)?) },
            secret_stream: if flags & 16 == 0 { None } else { Some(reader.uint()?) },
            relay_through: if flags & 32 == 0 { None } else { Some(read_relay_through(reader)?) },
            relay_addresses: if flags & 64 == 0 { None } else { Some(read_addresses(reader)?) },
        })
    }
}

fn read_holepunch(reader: &mut Reader<'_>) -> Result<HolepunchInfo, DecodeError> {
    let id = reader.uint()?;
    let relays = read_list(reader, |reader| {
        Ok(RelayInfo { relay_address: read_address(reader)?, peer_address: read_address(reader)? })
    })?;
    Ok(HolepunchInfo { id, relays })
}

fn read_udx(reader: &mut Reader<'_>) -> Result<UdxInfo, DecodeError> {
    let version = reader.uint()?;
    let is_reusable = reader.uint()? & 1 != 0;
    Ok(UdxInfo { version, is_reusable, id: reader.uint()?, seq: reader.uint()? })
}

fn read_relay_through(reader: &mut Reader<'_>) -> Result<RelayThrough, DecodeError> {
    let version = reader.uint()?;
    reader.uint()?;
    Ok(RelayThrough { version, public_key: reader.fixed()?, token: reader.fixed()? })
}
