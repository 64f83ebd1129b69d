//! The values that hyperdht commands carry.
//!
//! Source: hyperdht 6.33, `lib/messages.js`.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::wire::{finish, read_address, read_addresses, read_list, write_address, write_addresses};
mod payload;

pub use payload::{HolepunchInfo, NoisePayload, RelayInfo, RelayThrough, UdxInfo};

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

fn flag(bit: u64, is_set: bool) -> u64 {
    if is_set { bit } else { 0 }
}
