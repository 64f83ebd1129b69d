//! The values that hyperdht commands carry.
//!
//! Source: hyperdht 6.33, `lib/messages.js`.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::wire::{finish, read_address, read_addresses, read_list, write_address, write_addresses};
use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::udx::Address;

/// Stages of a routed message.
pub mod mode {
    /// Client to any node.
    pub const FROM_CLIENT: u64 = 0;
    /// Server to relay.
    pub const FROM_SERVER: u64 = 1;
    /// Relay to server.
    pub const FROM_RELAY: u64 = 2;
    /// Second relay to server.
    pub const FROM_SECOND_RELAY: u64 = 3;
    /// Reply to the client.
    pub const REPLY: u64 = 4;
}

/// How the network around a peer treats uninvited datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firewall {
    /// Not known.
    #[default]
    Unknown,
    /// Reachable.
    Open,
    /// Reachable after a punch: one port for every destination.
    Consistent,
    /// A new port for every destination. Numbers not known here count as this.
    Random,
}

impl Firewall {
    fn from_wire(value: u64) -> Self {
        match value {
            0 => Self::Unknown,
            1 => Self::Open,
            2 => Self::Consistent,
            _ => Self::Random,
        }
    }

    fn to_wire(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::Consistent => 2,
            Self::Random => 3,
        }
    }
}

/// A server and the nodes that forward to it.
///
/// # Wire
///
/// `fixed32 publicKey ‖ array(addr) relayAddresses`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Key of the server.
    pub public_key: [u8; 32],
    /// Nodes to reach it through.
    pub relay_addresses: Vec<Address>,
}

impl Peer {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn write(&self, writer: &mut Writer) {
        writer.fixed(&self.public_key);
        write_addresses(writer, &self.relay_addresses);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { public_key: reader.fixed()?, relay_addresses: read_addresses(reader)? })
    }
}

/// Encodes a list of peers.
pub fn encode_peers(peers: &[Peer]) -> Bytes {
    let mut writer = Writer::new();
    writer.uint(u64::try_from(peers.len()).unwrap_or(0));
    for peer in peers {
        peer.write(&mut writer);
    }
    finish(writer)
}

/// Encodes a lookup reply from records that are encoded peers.
pub fn encode_lookup(records: &[Bytes], bump: u64) -> Bytes {
    let mut writer = Writer::new();
    writer.uint(u64::try_from(records.len()).unwrap_or(0));
    for record in records {
        writer.raw(record);
    }
    writer.uint(bump);
    finish(writer)
}

/// Decodes a lookup reply into peers and bump; older nodes leave the bump out.
///
/// # Errors
///
/// Returns what is malformed.
pub fn decode_lookup(bytes: &[u8]) -> Result<(Vec<Peer>, u64), DecodeError> {
    let mut reader = Reader::new(bytes);
    let peers = read_list(&mut reader, Peer::read)?;
    let bump = if reader.is_empty() { 0 } else { reader.uint()? };
    Ok((peers, bump))
}

/// Decodes the sequence number that a mutable value, or a request for one, starts with.
///
/// # Errors
///
/// Returns what is malformed.
pub fn decode_seq(bytes: &[u8]) -> Result<u64, DecodeError> {
    Reader::new(bytes).uint()
}

/// Encodes the lowest sequence number wanted.
pub fn encode_seq(seq: u64) -> Bytes {
    let mut writer = Writer::new();
    writer.uint(seq);
    finish(writer)
}

/// An announce or unannounce.
///
/// # Wire
///
/// `uint flags ‖ [1: peer] ‖ [2: fixed32 refresh] ‖ [4: fixed64 signature] ‖ [8: uint bump]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// Who is announced.
    pub peer: Option<Peer>,
    /// Token that renews an announce, or by which the next one is renewed.
    pub refresh: Option<[u8; 32]>,
    /// Signature of the peer.
    pub signature: Option<[u8; 64]>,
    /// Unix time in milliseconds of the last change of the topic; 0 for none.
    pub bump: u64,
}

impl Announce {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let flags = flag(1, self.peer.is_some())
            | flag(2, self.refresh.is_some())
            | flag(4, self.signature.is_some())
            | flag(8, self.bump > 0);
        let mut writer = Writer::new();
        writer.uint(flags);
        if let Some(peer) = &self.peer {
            peer.write(&mut writer);
        }
        if let Some(refresh) = &self.refresh {
            writer.fixed(refresh);
        }
        if let Some(signature) = &self.signature {
            writer.fixed(signature);
        }
        if self.bump > 0 {
            writer.uint(self.bump);
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
        let flags = reader.uint()?;
        Ok(Self {
            peer: if flags & 1 == 0 { None } else { Some(Peer::read(&mut reader)?) },
            refresh: if flags & 2 == 0 { None } else { Some(reader.fixed()?) },
            signature: if flags & 4 == 0 { None } else { Some(reader.fixed()?) },
            bump: if flags & 8 == 0 { 0 } else { reader.uint()? },
        })
    }
}

/// A mutable value to store.
///
/// # Wire
///
/// `fixed32 key ‖ uint seq ‖ buffer value ‖ fixed64 signature`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutablePut {
    /// Owner.
    pub public_key: [u8; 32],
    /// Version.
    pub seq: u64,
    /// Content.
    pub value: Bytes,
    /// Signature of the owner over version and content.
    pub signature: [u8; 64],
}

impl MutablePut {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.fixed(&self.public_key);
        writer.uint(self.seq);
        writer.buffer(&self.value);
        writer.fixed(&self.signature);
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            public_key: reader.fixed()?,
            seq: reader.uint()?,
            value: Bytes::copy_from_slice(reader.buffer()?),
            signature: reader.fixed()?,
        })
    }
}

/// A mutable value as it is stored.
///
/// # Wire
///
/// `uint seq ‖ buffer value ‖ fixed64 signature`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableGet {
    /// Version.
    pub seq: u64,
    /// Content.
    pub value: Bytes,
    /// Signature of the owner over version and content.
    pub signature: [u8; 64],
}

impl MutableGet {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.uint(self.seq);
        writer.buffer(&self.value);
        writer.fixed(&self.signature);
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            seq: reader.uint()?,
            value: Bytes::copy_from_slice(reader.buffer()?),
            signature: reader.fixed()?,
        })
    }
}

/// A request to a plugin.
///
/// # Wire
///
/// `string name ‖ uint version ‖ uint command ‖ uint flags ‖ [1: buffer value]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRequest {
    /// Name of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: u64,
    /// What it shall do.
    pub command: u64,
    /// Argument.
    pub value: Option<Bytes>,
}

impl PluginRequest {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.string(&self.plugin);
        writer.uint(self.version);
        writer.uint(self.command);
        writer.uint(flag(1, self.value.is_some()));
        if let Some(value) = &self.value {
            writer.buffer(value);
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
        let plugin = String::from(reader.string()?);
        let (version, command, flags) = (reader.uint()?, reader.uint()?, reader.uint()?);
        let value = if flags & 1 == 0 { None } else { Some(Bytes::copy_from_slice(reader.buffer()?)) };
        Ok(Self { plugin, version, command, value })
    }
}

/// A handshake on its way.
///
/// # Wire
///
/// `uint flags ‖ uint mode ‖ buffer noise ‖ [1: addr peerAddress] ‖ [2: addr relayAddress]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Stage, see [`mode`].
    pub mode: u64,
    /// Noise message.
    pub noise: Bytes,
    /// The other end, as the last hop sees it.
    pub peer_address: Option<Address>,
    /// Node to answer through.
    pub relay_address: Option<Address>,
}

impl Handshake {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.uint(flag(1, self.peer_address.is_some()) | flag(2, self.relay_address.is_some()));
        writer.uint(self.mode);
        writer.buffer(&self.noise);
        for address in [self.peer_address, self.relay_address].into_iter().flatten() {
            write_address(&mut writer, address);
        }
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        let mode = reader.uint()?;
        let noise = bytes.slice_ref(reader.buffer()?);
        let peer_address = if flags & 1 == 0 { None } else { Some(read_address(&mut reader)?) };
        let relay_address = if flags & 2 == 0 { None } else { Some(read_address(&mut reader)?) };
        Ok(Self { mode, noise, peer_address, relay_address })
    }
}

/// A sealed holepunch message on its way.
///
/// # Wire
///
/// `uint flags ‖ uint mode ‖ uint id ‖ buffer payload ‖ [1: addr peerAddress]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holepunch {
    /// Stage, see [`mode`].
    pub mode: u64,
    /// Number of the handshake at the server.
    pub id: u64,
    /// Sealed [`HolepunchPayload`].
    pub payload: Bytes,
    /// The other end, as the last hop sees it.
    pub peer_address: Option<Address>,
}

impl Holepunch {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.uint(flag(1, self.peer_address.is_some()));
        writer.uint(self.mode);
        writer.uint(self.id);
        writer.buffer(&self.payload);
        if let Some(address) = self.peer_address {
            write_address(&mut writer, address);
        }
        finish(writer)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns what is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        let mode = reader.uint()?;
        let id = reader.uint()?;
        let payload = bytes.slice_ref(reader.buffer()?);
        let peer_address = if flags & 1 == 0 { None } else { Some(read_address(&mut reader)?) };
        Ok(Self { mode, id, payload, peer_address })
    }
}

/// What both sides of a punch tell each other.
///
/// # Wire
///
/// `uint flags ‖ uint error ‖ uint firewall ‖ uint round ‖ [4: array(addr) addresses] ‖ [8: addr remoteAddress] ‖
/// [16: fixed32 token] ‖ [32: fixed32 remoteToken]`; flags 1 connected, 2 punching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolepunchPayload {
    /// 0, or why it does not go on.
    pub error: u64,
    /// Kind of the sender's network.
    pub firewall: Firewall,
    /// Counter of the client's messages.
    pub round: u64,
    /// Whether the sender is connected.
    pub is_connected: bool,
    /// Whether the sender punches, or is about to.
    pub is_punching: bool,
    /// Addresses of the sender.
    pub addresses: Option<Vec<Address>>,
    /// Address of the receiver to which the sender opened a path.
    pub remote_address: Option<Address>,
    /// Proof for the receiver that it receives at its address.
    pub token: Option<[u8; 32]>,
    /// The receiver's token, returned.
    pub remote_token: Option<[u8; 32]>,
}

impl HolepunchPayload {
    /// Encodes the value.
    pub fn encode(&self) -> Bytes {
        let flags = flag(1, self.is_connected)
            | flag(2, self.is_punching)
            | flag(4, self.addresses.is_some())
            | flag(8, self.remote_address.is_some())
            | flag(16, self.token.is_some())
            | flag(32, self.remote_token.is_some());
        let mut writer = Writer::new();
        writer.uint(flags);
        writer.uint(self.error);
        writer.uint(self.firewall.to_wire());
        writer.uint(self.round);
        if let Some(addresses) = &self.addresses {
            write_addresses(&mut writer, addresses);
        }
        if let Some(address) = self.remote_address {
            write_address(&mut writer, address);
        }
        for token in [&self.token, &self.remote_token].into_iter().flatten() {
            writer.fixed(token);
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
        let flags = reader.uint()?;
        Ok(Self {
            error: reader.uint()?,
            firewall: Firewall::from_wire(reader.uint()?),
            round: reader.uint()?,
            is_connected: flags & 1 != 0,
            is_punching: flags & 2 != 0,
            addresses: if flags & 4 == 0 { None } else { Some(read_addresses(&mut reader)?) },
            remote_address: if flags & 8 == 0 { None } else { Some(read_address(&mut reader)?) },
            token: if flags & 16 == 0 { None } else { Some(reader.fixed()?) },
            remote_token: if flags & 32 == 0 { None } else { Some(reader.fixed()?) },
        })
    }
}

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

fn flag(bit: u64, is_set: bool) -> u64 {
    if is_set { bit } else { 0 }
}
