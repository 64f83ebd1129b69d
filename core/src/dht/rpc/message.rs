//! The two datagrams of dht-rpc.
//!
//! Source: dht-rpc 6.27, `lib/io.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{NodeId, SocketId, Token, node_id};
use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::dht::wire::{finish, read_address, read_addresses, write_address, write_addresses};
use crate::time::Duration;
use crate::udx::Address;

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A question.
    Request(Request),
    /// Its answer.
    Reply(Reply),
}

/// A question.
///
/// # Wire
///
/// `03 ‖ flags ‖ u16 tid ‖ addr to ‖ [1: fixed32 id] ‖ [2: fixed32 token] ‖ uint command ‖ [8: fixed32 target] ‖
/// [16: buffer value]`; flag 4 marks an internal command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number that the reply repeats.
    pub tid: u16,
    /// Address the request is sent to.
    pub to: Address,
    /// Id of a persistent sender.
    pub id: Option<NodeId>,
    /// Token that the receiver gave out.
    pub token: Option<Token>,
    /// Whether the command is one of dht-rpc.
    pub internal: bool,
    /// What to do.
    pub command: u64,
    /// What it is about.
    pub target: Option<[u8; 32]>,
    /// Argument.
    pub value: Option<Bytes>,
}

/// An answer.
///
/// # Wire
///
/// `13 ‖ flags ‖ u16 tid ‖ addr to ‖ [1: fixed32 id] ‖ [2: fixed32 token] ‖ [4: array(addr) closer] ‖
/// [8: uint error] ‖ [16: buffer value]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Number of the request.
    pub tid: u16,
    /// Address the reply is sent to: the public address of the requester.
    pub to: Address,
    /// Id of a persistent sender.
    pub id: Option<NodeId>,
    /// Token for a write.
    pub token: Option<Token>,
    /// Nodes closer to the target.
    pub closer: Vec<Address>,
    /// 0, or what went wrong.
    pub error: u64,
    /// Result.
    pub value: Option<Bytes>,
}

impl Message {
    /// Decodes a datagram; what follows the fields is ignored.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a datagram that is neither request nor reply.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let flags = reader.uint()?;
        let tid = reader.u16()?;
        let to = read_address(&mut reader)?;
        let id = if flags & 1 == 0 { None } else { Some(reader.fixed()?) };
        let token = if flags & 2 == 0 { None } else { Some(reader.fixed()?) };
        match kind {
            REQUEST => {
                let command = reader.uint()?;
                let target = if flags & 8 == 0 { None } else { Some(reader.fixed()?) };
                let value = read_value(&mut reader, flags, bytes)?;
                Ok(Self::Request(Request {
                    tid,
                    to,
                    id,
                    token,
                    internal: flags & 4 != 0,
                    command,
                    target,
                    value,
                }))
            }
            REPLY => {
                let closer = if flags & 4 == 0 { Vec::new() } else { read_addresses(&mut reader)? };
                let error = if flags & 8 == 0 { 0 } else { reader.uint()? };
                let value = read_value(&mut reader, flags, bytes)?;
                Ok(Self::Reply(Reply { tid, to, id, token, closer, error, value }))
            }
            _ => Err(DecodeError::UnknownTag { found: u64::from(kind) }),
        }
    }
}

impl Request {
    /// Encodes the datagram.
    pub fn encode(&self) -> Bytes {
        let flags = flag(1, self.id.is_some())
            | flag(2, self.token.is_some())
            | flag(4, self.internal)
            | flag(8, self.target.is_some())
            | flag(16, self.value.is_some());
        let mut writer = head(REQUEST, flags, self.tid, self.to, self.id.as_ref(), self.token.as_ref());
        writer.uint(self.command);
        if let Some(target) = &self.target {
            writer.fixed(target);
        }
        if let Some(value) = &self.value {
            writer.buffer(value);
        }
        finish(writer)
    }
}

impl Reply {
    /// Encodes the datagram.
    pub fn encode(&self) -> Bytes {
        let flags = flag(1, self.id.is_some())
            | flag(2, self.token.is_some())
            | flag(4, !self.closer.is_empty())
            | flag(8, self.error > 0)
            | flag(16, self.value.is_some());
        let mut writer = head(REPLY, flags, self.tid, self.to, self.id.as_ref(), self.token.as_ref());
        if !self.closer.is_empty() {
            write_addresses(&mut writer, &self.closer);
        }
        if self.error > 0 {
            writer.uint(self.error);
        }
        if let Some(value) = &self.value {
            writer.buffer(value);
        }
        finish(writer)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Number that the reply repeats.
    pub tid: u16,
    /// Who asks.
    pub from: Address,
    /// Id of a persistent requester, checked.
    pub from_id: Option<NodeId>,
    /// Our address as the requester knows it.
    pub to: Address,
    /// Token that the requester presents.
    pub token: Option<Token>,
    /// Whether the command is one of dht-rpc.
    pub internal: bool,
    /// What to do.
    pub command: u64,
    /// What it is about.
    pub target: Option<[u8; 32]>,
    /// Argument.
    pub value: Option<Bytes>,
    /// Socket it came to.
    pub socket: SocketId,
}

impl Incoming {
    /// Adds the circumstances of its arrival to a request; an id that does not belong to the sender is dropped.
    pub fn new(request: Request, from: Address, socket: SocketId) -> Self {
        Self {
            tid: request.tid,
            from,
            from_id: request.id.filter(|id| *id == node_id(from)),
            to: request.to,
            token: request.token,
            internal: request.internal,
            command: request.command,
            target: request.target,
            value: request.value,
            socket,
        }
    }
}

/// A reply as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub from: Address,
    /// Id of a persistent node, checked.
    pub id: Option<NodeId>,
    /// Our address as the node saw it.
    pub to: Address,
    /// Token for a write to that node.
    pub token: Option<Token>,
    /// Nodes closer to the target.
    pub closer: Vec<Address>,
    /// 0, or what went wrong.
    pub error: u64,
    /// Result.
    pub value: Option<Bytes>,
    /// Socket it came to.
    pub socket: SocketId,
    /// Time from the last sending of the request.
    pub round_trip: Duration,
}

impl Answer {
    /// Adds the circumstances of its arrival to a reply; an id that does not belong to the sender is dropped.
    pub fn new(reply: Reply, from: Address, socket: SocketId, round_trip: Duration) -> Self {
        Self {
            from,
            id: reply.id.filter(|id| *id == node_id(from)),
            to: reply.to,
            token: reply.token,
            closer: reply.closer,
            error: reply.error,
            value: reply.value,
            socket,
            round_trip,
        }
    }
}

fn head(kind: u8, flags: u8, tid: u16, to: Address, id: Option<&NodeId>, token: Option<&Token>) -> Writer {
    let mut writer = Writer::new();
    writer.u8(kind);
    writer.u8(flags);
    writer.u16(tid);
    write_address(&mut writer, to);
    if let Some(id) = id {
        writer.fixed(id);
    }
    if let Some(token) = token {
        writer.fixed(token);
    }
    writer
}

fn read_value(reader: &mut Reader<'_>, flags: u64, bytes: &Bytes) -> Result<Option<Bytes>, DecodeError> {
    if flags & 16 == 0 {
        return Ok(None);
    }
    let value = reader.buffer()?;
    // The reference to an empty slice lies outside of the datagram.
    Ok(Some(if value.is_empty() { Bytes::new() } else { bytes.slice_ref(value) }))
}

fn flag(bit: u8, is_set: bool) -> u8 {
    if is_set { bit } else { 0 }
}

/// First byte of a request.
pub(crate) const REQUEST: u8 = 0x03;

/// First byte of a reply.
pub(crate) const REPLY: u8 = 0x13;
