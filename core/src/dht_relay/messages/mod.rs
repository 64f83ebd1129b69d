//! The 28 messages.
//!
//! Source: @hyperswarm/dht-relay 0.4.3, `lib/messages.js` and `lib/codecs.js`.
//!
//! Numbers called alias or id are `u32` little-endian, counted by each side for itself; a message names objects by the
//! sender's number unless the field says remote. Flags are one byte. A secret key in a message means that the relay
//! shall act with it (*custodial*).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddrV4;

use bytes::Bytes;
use zeroize::Zeroize;

mod records;

pub use records::{LookupResult, Node, Peer};
pub(super) use records::{addresses_len, read_address, read_addresses, write_address, write_addresses};

use crate::compact_encoding::{Encode, Reader, Result, Writer, buffer_len, string_len};
use crate::crypto::Secret;
use records::count_len;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the protocol, listed at the module")]
pub enum Message {
    /// The client's first message: its default key, for information.
    Handshake { public_key: [u8; 32], secret_key: Option<SecretKey> },
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Dials `remote_public_key` as `public_key`.
    Connect { alias: u32, public_key: [u8; 32], secret_key: Option<SecretKey>, remote_public_key: [u8; 32] },
    /// A peer has connected to a server; `server_alias` is the relay's.
    Connection { alias: u32, server_alias: u32, remote_public_key: [u8; 32], handshake: HandshakeRef },
    /// The client's alias for a connection.
    Connected { alias: u32, remote_alias: u32 },
    /// A peer asks to connect to a custodial server.
    Incoming { id: u32, server_alias: u32, remote_public_key: [u8; 32], payload: Bytes },
    /// Answers no to incoming.
    Deny { id: u32 },
    /// Answers yes to incoming.
    Accept { id: u32 },
    /// Breaks a stream off.
    Destroy { alias: StreamAlias, error: Option<String> },
    /// Listens on a key.
    Listen { alias: u32, public_key: [u8; 32], secret_key: Option<SecretKey> },
    /// A server is announced; the relay's alias for it, and the relay's public address.
    Listening { alias: u32, remote_alias: u32, address: SocketAddrV4 },
    /// Closes a server.
    Close { alias: u32 },
    /// A server is closed.
    Closed { alias: u32 },
    /// A dialled stream is open.
    Open { alias: u32, remote_alias: u32, handshake: HandshakeRef },
    /// The sender writes nothing more to a stream.
    End { alias: u32 },
    /// Bytes of a stream.
    Data { alias: u32, chunks: Vec<Bytes> },
    /// One answer to a query: an encoded [`LookupResult`].
    Result { query: u32, data: Bytes },
    /// A query is over.
    Finished { query: u32 },
    /// Searches the records of a topic.
    Lookup { query: u32, topic: [u8; 32] },
    /// Stores a record under a topic.
    Announce { query: u32, topic: [u8; 32], public_key: [u8; 32], secret_key: Option<SecretKey> },
    /// Removes a record from a topic.
    Unannounce { query: u32, topic: [u8; 32], public_key: [u8; 32], secret_key: Option<SecretKey> },
    /// Asks for the signature of an announce.
    SignAnnounce(SignRequest),
    /// Asks for the signature of an unannounce.
    SignUnannounce(SignRequest),
    /// Answers a request for a signature.
    Signature { id: u32, signature: Bytes },
    /// Asks for the next Noise message around `payload`; the dialling client's alias when it is the initiator.
    NoiseSend { id: u32, initiator: Option<u32>, payload: Bytes },
    /// Hands a Noise message over; the relay's alias of the server unless the client is the initiator.
    NoiseReceive { id: u32, server_alias: Option<u32>, message: Bytes },
    /// Answers the two before.
    NoiseReply { id: u32, payload: Bytes, stage: NoiseStage },
}

/// A secret key that a custodial client gives away.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(pub Box<[u8; 64]>);

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// How a finished handshake is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeRef {
    /// The relay shook hands: the hash of the handshake.
    Hash([u8; 64]),
    /// The client did: the relay's id of it.
    Id(u32),
}

/// How a stream to destroy is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamAlias {
    /// By the sender's alias, once both sides have one.
    Own(u32),
    /// By the receiver's alias.
    Remote(u32),
}

/// What a client has to tell besides a Noise message or payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoiseStage {
    /// Message 1 of the dialling client. An empty payload refuses message 2: it is not the peer's.
    Initiated,
    /// Payload of message 1 for a server, with the key that the peer proved. An empty payload denies the peer.
    Received {
        /// The peer's key.
        remote_public_key: [u8; 32],
    },
    /// Payload of message 2 for the dialling client, or message 2 of a server.
    Complete {
        /// Whether the client dials.
        is_initiator: bool,
        /// Id of the initiator's secret stream; nobody uses it.
        remote_id: [u8; 32],
        /// Seals holepunch messages.
        holepunch_secret: Secret,
    },
}

/// What is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Names the request.
    pub id: u32,
    /// The client's query or server.
    pub signee: u32,
    /// Token of the storing node.
    pub token: [u8; 32],
    /// Id of the storing node.
    pub node_id: Bytes,
    /// Relay addresses of the record.
    pub relay_addresses: Vec<SocketAddrV4>,
}

impl Message {
    /// Returns the number of the message in the channel.
    pub fn message_type(&self) -> u64 {
        match self {
            Self::Handshake { .. } => 0,
            Self::Ping => 1,
            Self::Pong => 2,
            Self::Connect { .. } => 3,
            Self::Connection { .. } => 4,
            Self::Connected { .. } => 5,
            Self::Incoming { .. } => 6,
            Self::Deny { .. } => 7,
            Self::Accept { .. } => 8,
            Self::Destroy { .. } => 9,
            Self::Listen { .. } => 10,
            Self::Listening { .. } => 11,
            Self::Close { .. } => 12,
            Self::Closed { .. } => 13,
            Self::Open { .. } => 14,
            Self::End { .. } => 15,
            Self::Data { .. } => 16,
            Self::Result { .. } => 17,
            Self::Finished { .. } => 18,
            Self::Lookup { .. } => 19,
            Self::Announce { .. } => 20,
            Self::Unannounce { .. } => 21,
            Self::SignAnnounce(_) => 22,
            Self::SignUnannounce(_) => 23,
            Self::Signature { .. } => 24,
            Self::NoiseSend { .. } => 25,
            Self::NoiseReceive { .. } => 26,
            Self::NoiseReply { .. } => 27,
        }
    }

    /// Returns whether the message gives a secret key away, or asks to do without the client's handshake.
    pub fn is_custodial(&self) -> bool {
        match self {
            Self::Handshake { secret_key, .. }
            | Self::Connect { secret_key, .. }
            | Self::Listen { secret_key, .. }
            | Self::Announce { secret_key, .. }
            | Self::Unannounce { secret_key, .. } => secret_key.is_some(),
            Self::Connection { handshake, .. } | Self::Open { handshake, .. } => {
                matches!(handshake, HandshakeRef::Hash(_))
            }
            _ => false,
        }
    }

    /// Reads a message of a type; `None` for a type that is not known, which is to be ignored.
    ///
    /// # Errors
    ///
    /// Returns a [`DecodeError`](crate::compact_encoding::DecodeError) when the bytes are no such message.
    pub fn decode(message_type: u64, bytes: &Bytes) -> Result<Option<Self>> {
        let reader = &mut Reader::new(bytes);
        Ok(Some(match message_type {
            0 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                Self::Handshake { public_key: reader.fixed()?, secret_key: secret_key(reader, is_custodial)? }
            }
            1 => Self::Ping,
            2 => Self::Pong,
            3 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                Self::Connect {
                    alias: reader.u32()?,
                    public_key: reader.fixed()?,
                    secret_key: secret_key(reader, is_custodial)?,
                    remote_public_key: reader.fixed()?,
                }
            }
            4 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                Self::Connection {
                    alias: reader.u32()?,
                    server_alias: reader.u32()?,
                    remote_public_key: reader.fixed()?,
                    handshake: handshake_ref(reader, is_custodial)?,
                }
            }
            5 => Self::Connected { alias: reader.u32()?, remote_alias: reader.u32()? },
            6 => Self::Incoming {
                id: reader.u32()?,
                server_alias: reader.u32()?,
                remote_public_key: reader.fixed()?,
                payload: buffer(reader)?,
            },
            7 => Self::Deny { id: reader.u32()? },
            8 => Self::Accept { id: reader.u32()? },
            9 => {
                let flags = reader.u8()?;
                let alias = reader.u32()?;
                let alias =
                    if flag(flags, PAIRED) { StreamAlias::Own(alias) } else { StreamAlias::Remote(alias) };
                let error = if flag(flags, ERROR) { Some(reader.string()?.into()) } else { None };
                Self::Destroy { alias, error }
            }
            10 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                Self::Listen {
                    alias: reader.u32()?,
                    public_key: reader.fixed()?,
                    secret_key: secret_key(reader, is_custodial)?,
                }
            }
            11 => Self::Listening {
                alias: reader.u32()?,
                remote_alias: reader.u32()?,
                address: read_address(reader)?,
            },
            12 => Self::Close { alias: reader.u32()? },
            13 => Self::Closed { alias: reader.u32()? },
            14 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                Self::Open {
                    alias: reader.u32()?,
                    remote_alias: reader.u32()?,
                    handshake: handshake_ref(reader, is_custodial)?,
                }
            }
            15 => Self::End { alias: reader.u32()? },
            16 => Self::Data { alias: reader.u32()?, chunks: reader.array(|reader| chunk(reader, bytes))? },
            17 => Self::Result { query: reader.u32()?, data: buffer(reader)? },
            18 => Self::Finished { query: reader.u32()? },
            19 => Self::Lookup { query: reader.u32()?, topic: reader.fixed()? },
            20 | 21 => {
                let is_custodial = flag(reader.u8()?, CUSTODIAL);
                let query = reader.u32()?;
                let topic = reader.fixed()?;
                let public_key = reader.fixed()?;
                let secret_key = secret_key(reader, is_custodial)?;
                match message_type {
                    20 => Self::Announce { query, topic, public_key, secret_key },
                    _ => Self::Unannounce { query, topic, public_key, secret_key },
                }
            }
            22 => Self::SignAnnounce(SignRequest::decode(reader)?),
            23 => Self::SignUnannounce(SignRequest::decode(reader)?),
            24 => Self::Signature { id: reader.u32()?, signature: buffer(reader)? },
            25 => {
                let is_initiator = flag(reader.u8()?, INITIATOR);
                Self::NoiseSend {
                    id: reader.u32()?,
                    initiator: if is_initiator { Some(reader.u32()?) } else { None },
                    payload: buffer(reader)?,
                }
            }
            26 => {
                let is_initiator = flag(reader.u8()?, INITIATOR);
                Self::NoiseReceive {
                    id: reader.u32()?,
                    server_alias: if is_initiator { None } else { Some(reader.u32()?) },
                    message: buffer(reader)?,
                }
            }
            27 => {
                let flags = reader.u8()?;
                let id = reader.u32()?;
                let payload = buffer(reader)?;
                let is_initiator = flag(flags, INITIATOR);
                let stage = if flag(flags, COMPLETE) {
                    NoiseStage::Complete {
                        is_initiator,
                        remote_id: reader.fixed()?,
                        holepunch_secret: Secret::from(reader.fixed::<32>()?),
                    }
                } else if is_initiator {
                    NoiseStage::Initiated
                } else {
                    NoiseStage::Received { remote_public_key: reader.fixed()? }
                };
                Self::NoiseReply { id, payload, stage }
            }
            _ => return Ok(None),
        }))
    }
}

impl Encode for Message {
    fn encoded_len(&self) -> usize {
        let secret = |key: &Option<SecretKey>| if key.is_some() { 64 } else { 0 };
        let handshake = |handshake: &HandshakeRef| match handshake {
            HandshakeRef::Hash(_) => 64,
            HandshakeRef::Id(_) => 4,
        };
        match self {
            Self::Handshake { secret_key, .. } => 1 + 32 + secret(secret_key),
            Self::Ping | Self::Pong => 0,
            Self::Connect { secret_key, .. } => 1 + 4 + 32 + secret(secret_key) + 32,
            Self::Connection { handshake: by, .. } => 1 + 4 + 4 + 32 + handshake(by),
            Self::Connected { .. } => 4 + 4,
            Self::Incoming { payload, .. } => 4 + 4 + 32 + buffer_len(payload),
            Self::Deny { .. }
            | Self::Accept { .. }
            | Self::Close { .. }
            | Self::Closed { .. }
            | Self::End { .. }
            | Self::Finished { .. } => 4,
            Self::Destroy { error, .. } => 1 + 4 + error.as_deref().map_or(0, string_len),
            Self::Listen { secret_key, .. } => 1 + 4 + 32 + secret(secret_key),
            Self::Listening { .. } => 4 + 4 + Node::ADDRESS_LEN,
            Self::Open { handshake: by, .. } => 1 + 4 + 4 + handshake(by),
            Self::Data { chunks, .. } => {
                4 + count_len(chunks.len()) + chunks.iter().map(|chunk| buffer_len(chunk)).sum::<usize>()
            }
            Self::Result { data, .. } => 4 + buffer_len(data),
            Self::Lookup { .. } => 4 + 32,
            Self::Announce { secret_key, .. } | Self::Unannounce { secret_key, .. } => {
                1 + 4 + 32 + 32 + secret(secret_key)
            }
            Self::SignAnnounce(request) | Self::SignUnannounce(request) => request.encoded_len(),
            Self::Signature { signature, .. } => 4 + buffer_len(signature),
            Self::NoiseSend { initiator, payload, .. } => {
                1 + 4 + if initiator.is_some() { 4 } else { 0 } + buffer_len(payload)
            }
            Self::NoiseReceive { server_alias, message, .. } => {
                1 + 4 + if server_alias.is_some() { 4 } else { 0 } + buffer_len(message)
            }
            Self::NoiseReply { payload, stage, .. } => {
                let tail = match stage {
                    NoiseStage::Initiated => 0,
                    NoiseStage::Received { .. } => 32,
                    NoiseStage::Complete { .. } => 64,
                };
                1 + 4 + buffer_len(payload) + tail
            }
        }
    }

    fn encode(&self, writer: &mut Writer) {
        let custody = |writer: &mut Writer, key: &Option<SecretKey>| {
            writer.u8(if key.is_some() { CUSTODIAL } else { 0 });
        };
        let secret = |writer: &mut Writer, key: &Option<SecretKey>| {
            if let Some(key) = key {
                writer.fixed(&key.0);
            }
        };
        let head = |writer: &mut Writer, by: &HandshakeRef| {
            writer.u8(if matches!(by, HandshakeRef::Hash(_)) { CUSTODIAL } else { 0 });
        };
        let tail = |writer: &mut Writer, by: &HandshakeRef| match by {
            HandshakeRef::Hash(hash) => writer.fixed(hash),
            HandshakeRef::Id(id) => writer.u32(*id),
        };
        match self {
            Self::Handshake { public_key, secret_key } => {
                custody(writer, secret_key);
                writer.fixed(public_key);
                secret(writer, secret_key);
            }
            Self::Ping | Self::Pong => {}
            Self::Connect { alias, public_key, secret_key, remote_public_key } => {
                custody(writer, secret_key);
                writer.u32(*alias);
                writer.fixed(public_key);
                secret(writer, secret_key);
                writer.fixed(remote_public_key);
            }
            Self::Connection { alias, server_alias, remote_public_key, handshake } => {
                head(writer, handshake);
                writer.u32(*alias);
                writer.u32(*server_alias);
                writer.fixed(remote_public_key);
                tail(writer, handshake);
            }
            Self::Connected { alias, remote_alias } => {
                writer.u32(*alias);
                writer.u32(*remote_alias);
            }
            Self::Incoming { id, server_alias, remote_public_key, payload } => {
                writer.u32(*id);
                writer.u32(*server_alias);
                writer.fixed(remote_public_key);
                writer.buffer(payload);
            }
            Self::Deny { id } | Self::Accept { id } | Self::Finished { query: id } => writer.u32(*id),
            Self::Close { alias } | Self::Closed { alias } | Self::End { alias } => writer.u32(*alias),
            Self::Destroy { alias, error } => {
                let (paired, alias) = match alias {
                    StreamAlias::Own(alias) => (PAIRED, alias),
                    StreamAlias::Remote(alias) => (0, alias),
                };
                writer.u8(paired | if error.is_some() { ERROR } else { 0 });
                writer.u32(*alias);
                if let Some(error) = error {
                    writer.string(error);
                }
            }
            Self::Listen { alias, public_key, secret_key } => {
                custody(writer, secret_key);
                writer.u32(*alias);
                writer.fixed(public_key);
                secret(writer, secret_key);
            }
            Self::Listening { alias, remote_alias, address } => {
                writer.u32(*alias);
                writer.u32(*remote_alias);
                write_address(writer, address);
            }
            Self::Open { alias, remote_alias, handshake } => {
                head(writer, handshake);
                writer.u32(*alias);
                writer.u32(*remote_alias);
                tail(writer, handshake);
            }
            Self::Data { alias, chunks } => {
                writer.u32(*alias);
                writer.array(chunks, |writer, chunk| writer.buffer(chunk));
            }
            Self::Result { query, data } => {
                writer.u32(*query);
                writer.buffer(data);
            }
            Self::Lookup { query, topic } => {
                writer.u32(*query);
                writer.fixed(topic);
            }
            Self::Announce { query, topic, public_key, secret_key }
            | Self::Unannounce { query, topic, public_key, secret_key } => {
                custody(writer, secret_key);
                writer.u32(*query);
                writer.fixed(topic);
                writer.fixed(public_key);
                secret(writer, secret_key);
            }
            Self::SignAnnounce(request) | Self::SignUnannounce(request) => request.encode(writer),
            Self::Signature { id, signature } => {
                writer.u32(*id);
                writer.buffer(signature);
            }
            Self::NoiseSend { id, initiator, payload } => {
                writer.u8(if initiator.is_some() { INITIATOR } else { 0 });
                writer.u32(*id);
                if let Some(alias) = initiator {
                    writer.u32(*alias);
                }
                writer.buffer(payload);
            }
            Self::NoiseReceive { id, server_alias, message } => {
                writer.u8(if server_alias.is_none() { INITIATOR } else { 0 });
                writer.u32(*id);
                if let Some(alias) = server_alias {
                    writer.u32(*alias);
                }
                writer.buffer(message);
            }
            Self::NoiseReply { id, payload, stage } => {
                writer.u8(match stage {
                    NoiseStage::Initiated => INITIATOR,
                    NoiseStage::Received { .. } => 0,
                    NoiseStage::Complete { is_initiator: true, .. } => INITIATOR | COMPLETE,
                    NoiseStage::Complete { is_initiator: false, .. } => COMPLETE,
                });
                writer.u32(*id);
                writer.buffer(payload);
                match stage {
                    NoiseStage::Initiated => {}
                    NoiseStage::Received { remote_public_key } => writer.fixed(remote_public_key),
                    NoiseStage::Complete { remote_id, holepunch_secret, .. } => {
                        writer.fixed(remote_id);
                        writer.fixed(holepunch_secret);
                    }
                }
            }
        }
    }
}

impl SignRequest {
    fn encoded_len(&self) -> usize {
        4 + 4 + 32 + buffer_len(&self.node_id) + addresses_len(&self.relay_addresses)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.id);
        writer.u32(self.signee);
        writer.fixed(&self.token);
        writer.buffer(&self.node_id);
        write_addresses(writer, &self.relay_addresses);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            id: reader.u32()?,
            signee: reader.u32()?,
            token: reader.fixed()?,
            node_id: buffer(reader)?,
            relay_addresses: read_addresses(reader)?,
        })
    }
}

fn handshake_ref(reader: &mut Reader<'_>, is_custodial: bool) -> Result<HandshakeRef> {
    Ok(if is_custodial { HandshakeRef::Hash(reader.fixed()?) } else { HandshakeRef::Id(reader.u32()?) })
}

fn secret_key(reader: &mut Reader<'_>, is_custodial: bool) -> Result<Option<SecretKey>> {
    if !is_custodial {
        return Ok(None);
    }
    // Where it is copied to, it is wiped: not on the stack.
    let mut key = Box::new([0; 64]);
    key.copy_from_slice(reader.bytes(64)?);
    Ok(Some(SecretKey(key)))
}

/// Takes a buffer as a copy: it may be kept for long, and shall not hold all that came with it.
pub(super) fn buffer(reader: &mut Reader<'_>) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(reader.buffer()?))
}

/// Takes bytes of a stream without copying them: `reader` reads from `bytes`.
fn chunk(reader: &mut Reader<'_>, bytes: &Bytes) -> Result<Bytes> {
    let chunk = reader.buffer()?;
    Ok(if chunk.is_empty() { Bytes::new() } else { bytes.slice_ref(chunk) })
}

fn flag(flags: u8, flag: u8) -> bool {
    flags & flag != 0
}

const CUSTODIAL: u8 = 1;
const PAIRED: u8 = 1;
const ERROR: u8 = 2;
const INITIATOR: u8 = 1;
const COMPLETE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_endless_messages_are_refused() {
        for message_type in 0..28 {
            for len in 0..80 {
                for fill in [0, 1, 0xff] {
                    let bytes = Bytes::from(alloc::vec![fill; len]);
                    if let Ok(Some(message)) = Message::decode(message_type, &bytes) {
                        assert_eq!(message.message_type(), message_type);
                        assert_eq!(message.to_vec().len(), message.encoded_len());
                    }
                }
            }
        }
        assert_eq!(Message::decode(28, &Bytes::new()), Ok(None));
    }

    #[test]
    fn chunks_share_the_bytes_of_the_frame() {
        let bytes = Bytes::from_static(&[3, 0, 0, 0, 2, 1, b'a', 2, b'b', b'c']);

        let Ok(Some(Message::Data { alias: 3, chunks })) = Message::decode(16, &bytes) else { panic!() };

        assert_eq!(chunks, [&b"a"[..], b"bc"]);
        assert_eq!(chunks[1].as_ptr(), bytes[8..].as_ptr());
    }

    #[test]
    fn secrets_are_not_printed() {
        let key =
            Message::Handshake { public_key: [1; 32], secret_key: Some(SecretKey(Box::new([0xee; 64]))) };
        let stage = NoiseStage::Complete {
            is_initiator: true,
            remote_id: [1; 32],
            holepunch_secret: Secret::from([0xee; 32]),
        };
        let reply = Message::NoiseReply { id: 1, payload: Bytes::new(), stage };

        for message in [key, reply] {
            assert!(!alloc::format!("{message:?}").contains("238"));
        }
    }
}
