//! Queries of any kind, and values, which the protocol of upstream's has not.
//!
//! The relay searches, and hands over what every node answers, so that the client decides what it means. When the search is
//! over, the client may write to the nodes that were closest, each once: a value under its hash, or one that its owner has
//! signed. The relay sends nothing to an address that the client names, and no value that nodes would not take, so it
//! can be turned against nobody. The channel is the client's to open; a relay that does not know it rejects it.
//!
//! # Wire
//!
//! Channel [`QUERY_PROTOCOL`]. Numbers are `u32` little-endian where they name a query, which the client does, and `uint`
//! elsewhere; replies are counted from 0 in the order in which they come.
//!
//! | type | name | from | payload |
//! |---|---|---|---|
//! | 0 | ask | client | `u32 query ‖ u8 flags(1 internal, 2 writes, 4 value) ‖ uint command ‖ fixed32 target ‖ [4: buffer value]` |
//! | 1 | reply | relay | `u32 query ‖ u8 flags(1 id, 2 token, 4 value) ‖ addr from ‖ addr to ‖ [1: fixed32 id] ‖ [2: fixed32 token] ‖ [4: buffer value] ‖ array(addr) closer nodes ‖ uint round trip, ms` |
//! | 2 | done | relay | `u32 query ‖ u8 status(0 over, 1 refused, 2 not done here) ‖ array(uint) closest replies, closest first` |
//! | 3 | write | client | `u32 query ‖ uint reply ‖ uint command ‖ buffer value` |
//! | 4 | written | relay | `u32 query ‖ uint reply ‖ u8 status(0 answered, 1 not answered, 2 refused) ‖ uint error of the node` |
//! | 5 | forget | client | `u32 query` |
//! | 6 | closest | relay | `u32 query ‖ array(addr) nodes` |
//! | 7 | announce | client | `u32 query ‖ u8 flags(1 clear) ‖ fixed32 topic ‖ fixed32 key ‖ uint bump ‖ array(addr) relays` |
//! | 8 | reachable | relay | `u32 server ‖ array(addr) nodes` |
//! | 9 | caller | relay | `u32 handshake ‖ addr peer` |
//!
//! The relay opens the channel with `u8 version ‖ addr relay`: 1, and where the DHT sees it. One that says nothing there is older and
//! knows the types 0 to 6 only.
//!
//! Closest is about a lookup, announce or unannounce of upstream's protocol: the nodes that were closest, closest first, before
//! that says that it has finished. Announce is upstream's with what that has no words for: what was announced before is taken
//! back first, attention is asked for, and the record names these nodes; without any, those that know a key that is listened on
//! at the relay. Reachable names those, before upstream's protocol says that it is listened on. Caller says where somebody is who
//! asks to connect, as far as the relay knows, before upstream's protocol brings the handshake. Done says of a query of upstream's
//! protocol that it is refused, before that says that it has finished.
//!
//! Without the flag for writes a query is over with done. With it, it is over with forget, or 30 s after done. Commands are
//! those of hyperdht: find peer, lookup, immutable get, and mutable get with the least version as its value; with the
//! internal flag, find node. A write is answered once.

use alloc::vec::Vec;
use core::net::SocketAddrV4;

use bytes::Bytes;

use super::messages::{
    Node, addresses_len, buffer, read_address, read_addresses, write_address, write_addresses,
};
use crate::compact_encoding::{DecodeError, Encode, Reader, Result, Writer, buffer_len, uint_len};
use crate::time::Duration;

/// Name of the channel.
pub const QUERY_PROTOCOL: &str = "hypertab/relay-queries";

/// What a relay says of itself when it opens the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Where the DHT sees the relay.
    pub address: SocketAddrV4,
}

impl Greeting {
    /// Reads what a relay said; `None` of an older one. What later ones add is not looked at.
    ///
    /// # Errors
    ///
    /// Returns a [`DecodeError`] when the bytes are no such thing.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        let reader = &mut Reader::new(bytes);
        if reader.is_empty() || reader.u8()? == 0 {
            return Ok(None);
        }
        Ok(Some(Self { address: read_address(reader)? }))
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(GREETING_VERSION);
        write_address(&mut writer, &self.address);
        writer.into_vec()
    }
}

const GREETING_VERSION: u8 = 1;

/// Most bytes of a value that is written, with its signature: what fits one datagram everywhere.
pub const MAX_VALUE: usize = 1200;

/// What nodes are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whether the command is one of dht-rpc itself.
    pub is_internal: bool,
    /// Whether something is written to the closest nodes afterwards.
    pub may_write: bool,
    /// The command.
    pub command: u64,
    /// Those closest to this are asked.
    pub target: [u8; 32],
    /// Argument of the command.
    pub value: Option<Bytes>,
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The node.
    pub from: SocketAddrV4,
    /// The relay, as the node saw it.
    pub to: SocketAddrV4,
    /// Id of a node that keeps things for others.
    pub id: Option<[u8; 32]>,
    /// What a write to the node needs, for some seconds.
    pub token: Option<[u8; 32]>,
    /// Result.
    pub value: Option<Bytes>,
    /// Nodes closer to the target.
    pub closer: Vec<SocketAddrV4>,
    /// How long the node took.
    pub round_trip: Duration,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// Every node was asked.
    Over,
    /// The relay allows no more at the moment, or not to this client.
    Refused,
    /// The relay does not carry this command.
    Unknown,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// The node answered: 0, or the number of its error.
    Answered(u64),
    /// The node did not answer.
    Silent,
    /// The relay did not pass it on: the value is not what it should be, or it came too late, or twice.
    Refused,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the protocol, listed at the module")]
pub enum QueryMessage {
    Ask { query: u32, question: Question },
    Reply { query: u32, reply: Reply },
    Done { query: u32, end: SearchEnd, closest: Vec<u32> },
    Write { query: u32, reply: u32, command: u64, value: Bytes },
    Written { query: u32, reply: u32, end: WriteEnd },
    Forget { query: u32 },
    Closest { query: u32, nodes: Vec<SocketAddrV4> },
    Announce { query: u32, topic: [u8; 32], public_key: [u8; 32], terms: AnnounceTerms },
    Reachable { server: u32, nodes: Vec<SocketAddrV4> },
    Caller { handshake: u32, address: SocketAddrV4 },
}

/// What an announce has beyond a topic and a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceTerms {
    /// Whether what the key announced before is taken back first.
    pub clears: bool,
    /// Asks for attention to the topic: milliseconds of the epoch, 0 for none.
    pub bump: u64,
    /// Nodes to reach the key through; without any, those that the relay knows.
    pub relay_addresses: Vec<SocketAddrV4>,
}

impl QueryMessage {
    /// Returns the number of the message in the channel.
    pub fn message_type(&self) -> u64 {
        match self {
            Self::Ask { .. } => 0,
            Self::Reply { .. } => 1,
            Self::Done { .. } => 2,
            Self::Write { .. } => 3,
            Self::Written { .. } => 4,
            Self::Forget { .. } => 5,
            Self::Closest { .. } => 6,
            Self::Announce { .. } => 7,
            Self::Reachable { .. } => 8,
            Self::Caller { .. } => 9,
        }
    }

    /// Reads a message of a type; `None` for a type that is not known, which is to be ignored.
    ///
    /// # Errors
    ///
    /// Returns a [`DecodeError`] when the bytes are no such message.
    pub fn decode(message_type: u64, bytes: &Bytes) -> Result<Option<Self>> {
        let reader = &mut Reader::new(bytes);
        if message_type > LAST_TYPE {
            return Ok(None);
        }
        let query = reader.u32()?;
        Ok(Some(match message_type {
            0 => {
                let flags = reader.u8()?;
                let question = Question {
                    is_internal: flags & INTERNAL != 0,
                    may_write: flags & WRITES != 0,
                    command: reader.uint()?,
                    target: reader.fixed()?,
                    value: if flags & VALUE != 0 { Some(buffer(reader)?) } else { None },
                };
                Self::Ask { query, question }
            }
            1 => {
                let flags = reader.u8()?;
                let reply = Reply {
                    from: read_address(reader)?,
                    to: read_address(reader)?,
                    id: if flags & ID != 0 { Some(reader.fixed()?) } else { None },
                    token: if flags & TOKEN != 0 { Some(reader.fixed()?) } else { None },
                    value: if flags & VALUE != 0 { Some(buffer(reader)?) } else { None },
                    closer: read_addresses(reader)?,
                    round_trip: Duration::from_millis(reader.uint()?),
                };
                Self::Reply { query, reply }
            }
            2 => {
                let end = match reader.u8()? {
                    0 => SearchEnd::Over,
                    1 => SearchEnd::Refused,
                    _ => SearchEnd::Unknown,
                };
                let count = reader.array_len(1)?;
                if count > MAX_CLOSEST {
                    let found = u64::try_from(count).unwrap_or(u64::MAX);
                    return Err(DecodeError::TooLarge { limit: MAX_CLOSEST as u64, found });
                }
                let closest = (0..count).map(|_| number(reader)).collect::<Result<_>>()?;
                Self::Done { query, end, closest }
            }
            3 => {
                Self::Write { query, reply: number(reader)?, command: reader.uint()?, value: buffer(reader)? }
            }
            4 => {
                let reply = number(reader)?;
                let status = reader.u8()?;
                let error = reader.uint()?;
                let end = match status {
                    0 => WriteEnd::Answered(error),
                    1 => WriteEnd::Silent,
                    _ => WriteEnd::Refused,
                };
                Self::Written { query, reply, end }
            }
            5 => Self::Forget { query },
            6 => Self::Closest { query, nodes: read_addresses(reader)? },
            7 => {
                let clears = reader.u8()? & CLEARS != 0;
                let (topic, public_key) = (reader.fixed()?, reader.fixed()?);
                let terms =
                    AnnounceTerms { clears, bump: reader.uint()?, relay_addresses: read_addresses(reader)? };
                Self::Announce { query, topic, public_key, terms }
            }
            8 => Self::Reachable { server: query, nodes: read_addresses(reader)? },
            _ => Self::Caller { handshake: query, address: read_address(reader)? },
        }))
    }
}

impl Encode for QueryMessage {
    fn encoded_len(&self) -> usize {
        let value_len = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| buffer_len(value));
        4 + match self {
            Self::Ask { question, .. } => 1 + uint_len(question.command) + 32 + value_len(&question.value),
            Self::Reply { reply, .. } => {
                let fixed = [reply.id, reply.token].into_iter().flatten().count() * 32;
                let round_trip = uint_len(millis(reply.round_trip));
                13 + fixed + value_len(&reply.value) + addresses_len(&reply.closer) + round_trip
            }
            Self::Done { closest, .. } => {
                let numbers = closest.iter().map(|number| uint_len(u64::from(*number)));
                1 + uint_len(closest.len() as u64) + numbers.sum::<usize>()
            }
            Self::Write { reply, command, value, .. } => {
                uint_len(u64::from(*reply)) + uint_len(*command) + buffer_len(value)
            }
            Self::Written { reply, end, .. } => uint_len(u64::from(*reply)) + 1 + uint_len(end.error()),
            Self::Forget { .. } => 0,
            Self::Closest { nodes, .. } | Self::Reachable { nodes, .. } => addresses_len(nodes),
            Self::Caller { .. } => Node::ADDRESS_LEN,
            Self::Announce { terms, .. } => {
                1 + 64 + uint_len(terms.bump) + addresses_len(&terms.relay_addresses)
            }
        }
    }

    fn encode(&self, writer: &mut Writer) {
        let flag = |flag, is_set: bool| if is_set { flag } else { 0 };
        match self {
            Self::Ask { query, question } => {
                let Question { is_internal, may_write, command, target, value } = question;
                writer.u32(*query);
                writer.u8(flag(INTERNAL, *is_internal)
                    | flag(WRITES, *may_write)
                    | flag(VALUE, value.is_some()));
                writer.uint(*command);
                writer.fixed(target);
                if let Some(value) = value {
                    writer.buffer(value);
                }
            }
            Self::Reply { query, reply } => {
                let Reply { from, to, id, token, value, closer, round_trip } = reply;
                writer.u32(*query);
                writer
                    .u8(flag(ID, id.is_some()) | flag(TOKEN, token.is_some()) | flag(VALUE, value.is_some()));
                write_address(writer, from);
                write_address(writer, to);
                for fixed in [id, token].into_iter().flatten() {
                    writer.fixed(fixed);
                }
                if let Some(value) = value {
                    writer.buffer(value);
                }
                write_addresses(writer, closer);
                writer.uint(millis(*round_trip));
            }
            Self::Done { query, end, closest } => {
                writer.u32(*query);
                writer.u8(match end {
                    SearchEnd::Over => 0,
                    SearchEnd::Refused => 1,
                    SearchEnd::Unknown => 2,
                });
                writer.array(closest, |writer, number| writer.uint(u64::from(*number)));
            }
            Self::Write { query, reply, command, value } => {
                writer.u32(*query);
                writer.uint(u64::from(*reply));
                writer.uint(*command);
                writer.buffer(value);
            }
            Self::Written { query, reply, end } => {
                writer.u32(*query);
                writer.uint(u64::from(*reply));
                writer.u8(match end {
                    WriteEnd::Answered(_) => 0,
                    WriteEnd::Silent => 1,
                    WriteEnd::Refused => 2,
                });
                writer.uint(end.error());
            }
            Self::Forget { query } => writer.u32(*query),
            Self::Caller { handshake, address } => {
                writer.u32(*handshake);
                write_address(writer, address);
            }
            Self::Closest { query, nodes } | Self::Reachable { server: query, nodes } => {
                writer.u32(*query);
                write_addresses(writer, nodes);
            }
            Self::Announce { query, topic, public_key, terms } => {
                writer.u32(*query);
                writer.u8(flag(CLEARS, terms.clears));
                writer.fixed(topic);
                writer.fixed(public_key);
                writer.uint(terms.bump);
                write_addresses(writer, &terms.relay_addresses);
            }
        }
    }
}

impl WriteEnd {
    const fn error(self) -> u64 {
        match self {
            Self::Answered(error) => error,
            Self::Silent | Self::Refused => 0,
        }
    }
}

fn number(reader: &mut Reader<'_>) -> Result<u32> {
    let number = reader.uint()?;
    u32::try_from(number).map_err(|_| DecodeError::TooLarge { limit: u64::from(u32::MAX), found: number })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Number of the last message that is known.
const LAST_TYPE: u64 = 9;

const CLEARS: u8 = 1;
const INTERNAL: u8 = 1;
const WRITES: u8 = 2;
const ID: u8 = 1;
const TOKEN: u8 = 2;
const VALUE: u8 = 4;

/// Most nodes that a search ends with; the DHT has 20.
const MAX_CLOSEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_these_bytes() {
        let address = |last, port| SocketAddrV4::new([10, 0, 0, last].into(), port);
        let ask = Question {
            is_internal: false,
            may_write: true,
            command: 7,
            target: [0xaa; 32],
            value: Some(Bytes::from_static(&[5])),
        };
        let reply = Reply {
            from: address(1, 1),
            to: address(2, 256),
            id: Some([0xbb; 32]),
            token: None,
            value: Some(Bytes::from_static(b"hi")),
            closer: alloc::vec![address(3, 2)],
            round_trip: Duration::from_millis(300),
        };
        let find_node =
            Question { is_internal: true, may_write: false, command: 2, value: None, ..ask.clone() };
        let cases: [(QueryMessage, u64, Vec<u8>); 12] = [
            (
                QueryMessage::Ask { query: 1, question: ask },
                0,
                [&[1, 0, 0, 0, 6, 7][..], &[0xaa; 32], &[1, 5]].concat(),
            ),
            (
                QueryMessage::Ask { query: 258, question: find_node },
                0,
                [&[2, 1, 0, 0, 1, 2][..], &[0xaa; 32]].concat(),
            ),
            (
                QueryMessage::Reply { query: 1, reply },
                1,
                [
                    &[1, 0, 0, 0, 5, 10, 0, 0, 1, 1, 0, 10, 0, 0, 2, 0, 1][..],
                    &[0xbb; 32],
                    &[2, b'h', b'i', 1, 10, 0, 0, 3, 2, 0, 0xfd, 0x2c, 1],
                ]
                .concat(),
            ),
            (
                QueryMessage::Done { query: 1, end: SearchEnd::Over, closest: alloc::vec![3, 300] },
                2,
                [1, 0, 0, 0, 0, 2, 3, 0xfd, 0x2c, 1].to_vec(),
            ),
            (
                QueryMessage::Done { query: 1, end: SearchEnd::Refused, closest: Vec::new() },
                2,
                [1, 0, 0, 0, 1, 0].to_vec(),
            ),
            (
                QueryMessage::Write { query: 1, reply: 4, command: 8, value: Bytes::from_static(b"v") },
                3,
                [1, 0, 0, 0, 4, 8, 1, b'v'].to_vec(),
            ),
            (
                QueryMessage::Written { query: 1, reply: 4, end: WriteEnd::Answered(17) },
                4,
                [1, 0, 0, 0, 4, 0, 17].to_vec(),
            ),
            (QueryMessage::Forget { query: 9 }, 5, [9, 0, 0, 0].to_vec()),
            (
                QueryMessage::Closest { query: 9, nodes: alloc::vec![address(3, 2)] },
                6,
                [9, 0, 0, 0, 1, 10, 0, 0, 3, 2, 0].to_vec(),
            ),
            (
                QueryMessage::Announce {
                    query: 9,
                    topic: [0xaa; 32],
                    public_key: [0xbb; 32],
                    terms: AnnounceTerms {
                        clears: true,
                        bump: 300,
                        relay_addresses: alloc::vec![address(3, 2)],
                    },
                },
                7,
                [&[9, 0, 0, 0, 1][..], &[0xaa; 32], &[0xbb; 32], &[0xfd, 0x2c, 1, 1, 10, 0, 0, 3, 2, 0]]
                    .concat(),
            ),
            (
                QueryMessage::Reachable { server: 9, nodes: alloc::vec![address(3, 2)] },
                8,
                [9, 0, 0, 0, 1, 10, 0, 0, 3, 2, 0].to_vec(),
            ),
            (
                QueryMessage::Caller { handshake: 9, address: address(3, 2) },
                9,
                [9, 0, 0, 0, 10, 0, 0, 3, 2, 0].to_vec(),
            ),
        ];
        for (message, message_type, bytes) in cases {
            assert_eq!(message.message_type(), message_type);
            assert_eq!(message.to_vec(), bytes);
            assert_eq!(message.encoded_len(), bytes.len());
            assert_eq!(QueryMessage::decode(message_type, &bytes.into()), Ok(Some(message)));
        }
    }

    #[test]
    fn a_greeting_says_where_the_relay_is() {
        let greeting = Greeting { address: SocketAddrV4::new([10, 0, 0, 3].into(), 2) };

        assert_eq!(greeting.encode(), [1, 10, 0, 0, 3, 2, 0]);
        assert_eq!(Greeting::decode(&[2, 10, 0, 0, 3, 2, 0, 7]), Ok(Some(greeting)), "a later one");
        assert_eq!(Greeting::decode(&[]), Ok(None), "an older one");
        assert!(Greeting::decode(&[1, 10, 0]).is_err());
    }

    #[test]
    fn short_and_endless_messages_are_refused() {
        for message_type in 0..=LAST_TYPE {
            for len in 0..120 {
                for fill in [0, 1, 0xff] {
                    let bytes = Bytes::from(alloc::vec![fill; len]);
                    if let Ok(Some(message)) = QueryMessage::decode(message_type, &bytes) {
                        assert_eq!(message.message_type(), message_type);
                        assert_eq!(message.to_vec().len(), message.encoded_len());
                    }
                }
            }
        }
        assert_eq!(QueryMessage::decode(LAST_TYPE + 1, &Bytes::new()), Ok(None));
    }
}
