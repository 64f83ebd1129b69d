//! The UDX streams of connections.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::events::{ConnectionId, StreamError};
use super::rng::Rng;
use super::rpc::{SocketId, Transmit};
use crate::time::Instant;
use crate::udx::Address;

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// A packet came from an address that the stream is not connected to.
    Knock(ConnectionId, SocketId, Address),
    Data(ConnectionId, Bytes),
    Message(ConnectionId, Bytes),
    Drain(ConnectionId),
    End(ConnectionId),
    Closed(ConnectionId, SocketId, Option<StreamError>),
}

/// Streams by connection.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    ids: BTreeMap<u32, ConnectionId>,
    connections: BTreeMap<ConnectionId, u32>,
    events: VecDeque<StreamEvent>,
}

impl Streams {
    /// Creates an empty set.
    pub(crate) fn new(_seed: [u8; 32]) -> Self {
        Self::default()
    }

    /// Creates a stream that is not connected and returns the id that packets for it carry.
    pub(crate) fn open(&mut self, connection: ConnectionId, rng: &mut Rng, _now: Instant) -> u32 {
        let mut id = u32::from_le_bytes(rng.bytes());
        while id == 0 || self.ids.contains_key(&id) {
            id = u32::from_le_bytes(rng.bytes());
        }
        self.ids.insert(id, connection);
        self.connections.insert(connection, id);
        id
    }

    /// Connects a stream.
    pub(crate) fn connect(&mut self, _: ConnectionId, _: SocketId, _: Address, _remote: u32, _: Instant) {}

    /// Removes a stream that was never connected.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        if let Some(id) = self.connections.remove(&connection) {
            self.ids.remove(&id);
        }
    }

    pub(crate) fn contains(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(crate) fn write(&mut self, _: ConnectionId, _: Bytes, _: Instant) -> bool {
        true
    }

    pub(crate) fn send_message(&mut self, _: ConnectionId, _: Bytes, _: Instant) {}

    pub(crate) fn end(&mut self, _: ConnectionId, _: Instant) {}

    pub(crate) fn destroy(&mut self, _: ConnectionId, _: Instant) {}

    pub(crate) fn consumed(&mut self, _: ConnectionId, _bytes: u64, _: Instant) {}

    pub(crate) fn set_receive_limit(&mut self, _: ConnectionId, _bytes: u32, _: Instant) {}

    /// Takes a datagram and reports whether it belonged to a stream.
    pub(crate) fn handle_datagram(&mut self, _: SocketId, _: Address, _: Bytes, _: Instant) -> bool {
        false
    }

    pub(crate) fn handle_timeout(&mut self, _now: Instant) {}

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_transmit(&mut self, _: usize, _now: Instant) -> Option<Transmit> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }
}
