//! The UDX streams of connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::events::{ConnectionId, StreamError};
use super::rpc::{SocketId, Transmit};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::Instant;
use crate::udx::{
    self, Address, Close, Misuse, Options, Remote, StreamEvent as Told, StreamId, StreamOptions, Udx,
};

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// A packet came from an address that the stream is not connected to.
    Knock(ConnectionId, SocketId, Address),
    Data(ConnectionId, Bytes),
    Message(ConnectionId, Bytes),
    Drain(ConnectionId),
    End(ConnectionId),
    Closed(ConnectionId, Option<SocketId>, Option<StreamError>),
}

/// Streams by connection.
#[derive(Debug)]
pub(crate) struct Streams {
    udx: Udx,
    ids: BTreeMap<ConnectionId, StreamId>,
    connections: BTreeMap<StreamId, ConnectionId>,
    /// Connections whose end is of no interest any more.
    forgotten: BTreeSet<StreamId>,
    /// Connections that could not be opened because there were too many.
    refused: VecDeque<ConnectionId>,
    buffer: Vec<u8>,
}

impl Streams {
    /// Creates an empty set; `seed` decides the ids of streams.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            udx: Udx::new(Options::default(), seed),
            ids: BTreeMap::new(),
            connections: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            refused: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Creates a stream that is not connected and returns the id that packets for it carry; 0 with too many open.
    pub(crate) fn open(&mut self, connection: ConnectionId, now: Instant) -> u32 {
        let Ok(id) = self.udx.open(StreamOptions::default(), now) else {
            self.refused.push_back(connection);
            return 0;
        };
        self.ids.insert(connection, id);
        self.connections.insert(id, connection);
        id.0
    }

    /// Connects a stream.
    pub(crate) fn connect(&mut self, connection: ConnectionId, remote: Remote, now: Instant) {
        if let Some(stream) = self.ids.get(&connection) {
            // It cannot be connected already: a connection opens once.
            let _ = self.udx.connect(*stream, remote, now);
        }
    }

    /// Moves a connected stream to another path.
    pub(crate) fn change_remote(&mut self, connection: ConnectionId, remote: Remote, now: Instant) {
        if let Some(stream) = self.ids.get(&connection) {
            // It is connected: there was a path to move from.
            let _ = self.udx.change_remote(*stream, remote, now);
            // Shows the peer the new path before there is something to say.
            let _ = self.udx.send_message(*stream, Bytes::new());
        }
    }

    /// Forwards the packets of two streams to each other's peers, unread.
    pub(crate) fn join(&mut self, one: ConnectionId, other: ConnectionId) {
        if let (Some(one), Some(other)) = (self.ids.get(&one).copied(), self.ids.get(&other).copied()) {
            let _ = self.udx.relay_to(one, other);
            let _ = self.udx.relay_to(other, one);
        }
    }

    /// Returns the connection on which a datagram comes in that is to be forwarded.
    pub(crate) fn forwards(&self, socket: SocketId, from: Address, datagram: &[u8]) -> Option<ConnectionId> {
        self.connections.get(&self.udx.forwards(socket, from, datagram)?).copied()
    }

    /// Drops packets for a stream that is not connected from an address that has no business there.
    pub(crate) fn refuse(&mut self, connection: ConnectionId, socket: SocketId, from: Address) {
        if let Some(stream) = self.ids.get(&connection) {
            let _ = self.udx.refuse(*stream, socket, from);
        }
    }

    /// Removes a stream without a further event.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        if let Some(stream) = self.ids.remove(&connection) {
            self.connections.remove(&stream);
            if self.udx.destroy(stream).is_ok() {
                self.forgotten.insert(stream);
            }
        }
    }

    /// Returns the socket that a connection uses, once it is open.
    pub(crate) fn socket(&self, connection: ConnectionId) -> Option<SocketId> {
        Some(self.udx.remote(*self.ids.get(&connection)?)?.socket)
    }

    /// Returns where a connection goes, once it is open.
    pub(crate) fn remote(&self, connection: ConnectionId) -> Option<Address> {
        Some(self.udx.remote(*self.ids.get(&connection)?)?.address)
    }

    /// Takes packets for an open connection from one more address.
    pub(crate) fn accept(&mut self, connection: ConnectionId, socket: SocketId, from: Address, now: Instant) {
        if let Some(stream) = self.ids.get(&connection) {
            let _ = self.udx.accept(*stream, socket, from, now);
        }
    }

    /// Adds up the figures of all streams.
    pub(crate) fn totals(&self) -> udx::Totals {
        self.udx.totals()
    }

    /// Returns the number of bytes that wait to be sent.
    pub(crate) fn queued(&self, connection: ConnectionId) -> usize {
        let stats = self.ids.get(&connection).and_then(|stream| self.udx.stats(*stream));
        stats.map_or(0, |stats| stats.queued)
    }

    /// Queues bytes.
    pub(crate) fn write(&mut self, connection: ConnectionId, bytes: Bytes) -> Result<bool, Misuse> {
        self.udx.write(self.id(connection)?, bytes)
    }

    /// Sends an unordered message.
    pub(crate) fn send_message(&mut self, connection: ConnectionId, bytes: Bytes) -> Result<bool, Misuse> {
        self.udx.send_message(self.id(connection)?, bytes)
    }

    /// Sends nothing more after what is queued.
    pub(crate) fn end(&mut self, connection: ConnectionId) -> Result<(), Misuse> {
        self.udx.end(self.id(connection)?)
    }

    /// Opens the window.
    pub(crate) fn consumed(&mut self, connection: ConnectionId, bytes: u64) -> Result<(), Misuse> {
        self.udx.consumed(self.id(connection)?, bytes)
    }

    /// Limits the window.
    pub(crate) fn set_receive_limit(&mut self, connection: ConnectionId, bytes: u32) -> Result<(), Misuse> {
        self.udx.set_receive_limit(self.id(connection)?, bytes)
    }

    /// Takes a datagram and reports whether it belonged to a stream.
    pub(crate) fn handle_datagram(
        &mut self,
        socket: SocketId,
        from: Address,
        bytes: &[u8],
        now: Instant,
    ) -> bool {
        self.udx.handle_datagram(socket, from, bytes, now)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.udx.handle_timeout(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.udx.poll_timeout()
    }

    /// Returns the next datagrams to send.
    pub(crate) fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        let transmit = self.udx.poll_transmit(max_segments, &mut self.buffer, now)?;
        Some(Transmit {
            socket: transmit.socket,
            to: transmit.to,
            bytes: self.take_buffer(),
            segment: transmit.segment,
            ttl: None,
        })
    }

    /// Hands over what the buffer holds: a large batch as it is, a small one as a copy that is no larger than it has to be.
    fn take_buffer(&mut self) -> Bytes {
        if self.buffer.len() < LARGE {
            return Bytes::copy_from_slice(&self.buffer);
        }
        let next = Vec::with_capacity(self.buffer.len());
        core::mem::replace(&mut self.buffer, next).into()
    }

    /// Returns what happened next.
    pub(crate) fn poll_event(&mut self, now: Instant) -> Option<StreamEvent> {
        if let Some(connection) = self.refused.pop_front() {
            return Some(StreamEvent::Closed(connection, None, Some(StreamError::Reset)));
        }
        loop {
            let (id, event) = self.udx.poll_event(now)?;
            if self.forgotten.contains(&id) {
                if matches!(event, udx::Event::Stream(Told::Closed(_))) {
                    self.forgotten.remove(&id);
                }
                continue;
            }
            let Some(connection) = self.connections.get(&id).copied() else { continue };
            let event = match event {
                udx::Event::Incoming { socket, from } => StreamEvent::Knock(connection, socket, from),
                udx::Event::Stream(Told::Data(bytes)) => StreamEvent::Data(connection, bytes),
                udx::Event::Stream(Told::Message(bytes)) => StreamEvent::Message(connection, bytes),
                udx::Event::Stream(Told::Drain) => StreamEvent::Drain(connection),
                udx::Event::Stream(Told::End) => StreamEvent::End(connection),
                udx::Event::Stream(Told::Closed(close)) => {
                    let socket = self.udx.remote(id).map(|remote| remote.socket);
                    self.connections.remove(&id);
                    self.ids.remove(&connection);
                    StreamEvent::Closed(connection, socket, error(close))
                }
                _ => continue,
            };
            return Some(event);
        }
    }

    fn id(&self, connection: ConnectionId) -> Result<StreamId, Misuse> {
        self.ids.get(&connection).copied().ok_or(Misuse::Unknown(StreamId(0)))
    }
}

fn error(close: Close) -> Option<StreamError> {
    match close {
        Close::Finished => None,
        Close::Destroyed | Close::Reset => Some(StreamError::Reset),
        Close::TimedOut => Some(StreamError::TimedOut),
    }
}

/// Bytes of a batch that are not worth copying.
const LARGE: usize = 8192;
