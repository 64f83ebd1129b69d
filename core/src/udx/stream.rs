//! One UDX stream: ordered bytes both ways and unordered messages, without addresses.
//!
//! Source: udx-native 1.21, `lib/stream.js` (behaviour), recorded datagrams (`tests/vectors/dht-udx.json`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::packet::{HEADER_LEN, Header, Kind, MAX_PAYLOAD, Packet, encode_range};
use super::receive::Receiver;
use super::send::{Outgoing, Sender};
use super::{expand, narrow};
use crate::time::{Duration, Instant};

/// How a stream starts.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Number of the first packet sent.
    pub seq: u32,
    /// Number of the first packet of the peer.
    pub remote_seq: u32,
    /// Most bytes that may wait for the reader, here and after they were handed out.
    pub receive_limit: u32,
}

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The first packet of the peer arrived after [`Stream::connect`].
    Connected,
    /// Bytes in order. Their room in the window returns with [`Stream::consumed`].
    Data(Bytes),
    /// An unordered message.
    Message(Bytes),
    /// The peer will send no more bytes.
    End,
    /// A writer that was told to wait may go on.
    Drain,
    /// Everything sent before [`Stream::change_remote`] was acknowledged.
    RemoteChanged,
    /// The stream is over; nothing follows.
    Closed(Close),
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Both ends were sent and acknowledged.
    Finished,
    /// This side destroyed it.
    Destroyed,
    /// The peer destroyed it.
    Reset,
    /// The peer did not answer for too long.
    TimedOut,
}

/// Figures of a stream, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Smoothed round trip time.
    pub rtt: Option<Duration>,
    /// Packets that may be in flight.
    pub congestion_window: u64,
    /// Packets in flight.
    pub in_flight: u64,
    /// Bytes per second.
    pub pacing_rate: u64,
    /// Packets sent again.
    pub retransmits: u64,
    /// Bytes written and not yet sent.
    pub queued: usize,
}

/// A stream without its addresses.
///
/// After any `&mut self` call, drain [`poll_event`](Self::poll_event) and
/// [`poll_transmit`](Self::poll_transmit), then arm a timer from [`poll_timeout`](Self::poll_timeout).
/// `now` never decreases. Nothing is sent before [`connect`](Self::connect).
#[derive(Debug)]
pub struct Stream {
    /// Stream id of the peer.
    remote_id: Option<u32>,
    sender: Sender,
    receiver: Receiver,
    messages_in: VecDeque<Bytes>,
    messages_out: VecDeque<Bytes>,
    is_ack_due: bool,
    is_destroy_due: bool,
    /// Packet number at the change of remote.
    remote_changes_at: Option<u64>,
    heard: Told,
    end: Told,
    drain: Told,
    remote_change: Told,
    close: Option<Close>,
    is_close_told: bool,
}

/// Whether an event happened, and whether the owner knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    No,
    Pending,
    Yes,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { seq: 0, remote_seq: 0, receive_limit: DEFAULT_RECEIVE_LIMIT }
    }
}

impl Stream {
    /// Starts a stream that is not connected.
    pub fn new(options: StreamOptions, now: Instant) -> Self {
        Self {
            remote_id: None,
            sender: Sender::new(options.seq, now),
            receiver: Receiver::new(options.remote_seq, options.receive_limit),
            messages_in: VecDeque::new(),
            messages_out: VecDeque::new(),
            is_ack_due: false,
            is_destroy_due: false,
            remote_changes_at: None,
            heard: Told::No,
            end: Told::No,
            drain: Told::Yes,
            remote_change: Told::No,
            close: None,
            is_close_told: false,
        }
    }

    /// Lets packets leave for the peer's stream `remote_id`.
    pub fn connect(&mut self, remote_id: u32) {
        self.remote_id = Some(remote_id);
    }

    /// Directs all further packets to `remote_id`; [`StreamEvent::RemoteChanged`] follows once everything in
    /// flight is acknowledged.
    pub fn change_remote(&mut self, remote_id: u32) {
        self.remote_id = Some(remote_id);
        self.remote_changes_at = Some(self.sender.next());
        self.check_remote_change();
    }

    /// Queues bytes and returns whether more may follow at once; otherwise wait for [`StreamEvent::Drain`].
    ///
    /// Bytes written after the end or the close are dropped.
    pub fn write(&mut self, bytes: Bytes) -> bool {
        if self.close.is_some() || self.sender.has_ended() {
            return false;
        }
        self.sender.write(bytes);
        let has_room = self.sender.has_room();
        if !has_room {
            self.drain = Told::No;
        }
        has_room
    }

    /// Ends the stream after what was written.
    pub fn end(&mut self) {
        if self.close.is_none() {
            self.sender.end();
        }
    }

    /// Forgets the stream at once and tells the peer.
    pub fn destroy(&mut self) {
        if self.close.is_none() {
            self.is_destroy_due = self.remote_id.is_some();
            self.finish(Close::Destroyed);
            self.receiver.clear();
            self.messages_in.clear();
        }
    }

    /// Forgets the stream at once and tells the peer nothing: what it forwarded may go on by another way.
    pub(super) fn vanish(&mut self) {
        self.destroy();
        self.is_destroy_due = false;
    }

    /// Queues an unordered message that may get lost; returns false when it was dropped, because it is longer
    /// than [`MAX_PAYLOAD`] or too many wait.
    pub fn send_message(&mut self, message: Bytes) -> bool {
        let fits =
            message.len() <= MAX_PAYLOAD && self.messages_out.len() < MAX_MESSAGES && self.close.is_none();
        if fits {
            self.messages_out.push_back(message);
        }
        fits
    }

    /// Gives back the room in the window of `bytes` bytes that came as [`StreamEvent::Data`].
    pub fn consumed(&mut self, bytes: u64) {
        self.receiver.consumed(bytes);
        self.announce_window();
    }

    /// Changes how many bytes may wait for the reader.
    pub fn set_receive_limit(&mut self, bytes: u32) {
        self.receiver.set_limit(bytes);
        self.announce_window();
    }

    fn announce_window(&mut self) {
        if self.close.is_none() && self.heard != Told::No && self.receiver.has_opened() {
            self.is_ack_due = true;
        }
    }

    /// Takes in a packet of the peer.
    pub fn handle_packet(&mut self, packet: &Packet<'_>, now: Instant) {
        let header = &packet.header;
        let seq = expand(header.seq, self.receiver.next());
        let has_number = header.kind.has(Kind::DATA.with(Kind::END));
        match self.close {
            None => {}
            Some(Close::Finished) => {
                self.is_ack_due |= has_number || header.kind.has(Kind::HEARTBEAT);
                return;
            }
            Some(_) => return,
        }
        if header.kind.has(Kind::DESTROY) {
            if seq >= self.receiver.next() {
                self.finish(Close::Reset);
            }
            return;
        }
        self.sender.handle_alive();
        if self.heard == Told::No {
            self.heard = Told::Pending;
        }
        if header.kind.has(Kind::HEARTBEAT) {
            self.is_ack_due = true;
            return;
        }
        if header.kind.has(Kind::MESSAGE) && self.messages_in.len() < MAX_MESSAGES {
            self.messages_in.push_back(Bytes::copy_from_slice(packet.payload));
        }
        if has_number {
            let payload = if header.kind.has(Kind::DATA) { packet.payload } else { &[] };
            self.receiver.handle(header.seq, payload, header.kind.has(Kind::END));
            if self.receiver.has_ended() && self.end == Told::No {
                self.end = Told::Pending;
            }
        }
        let is_bare = !has_number && packet.payload.is_empty();
        if !self.sender.handle_ack(seq, header.ack, header.window, packet.ranges(), is_bare, now) {
            return;
        }
        self.is_ack_due |= has_number;
        self.check_remote_change();
        if self.sender.is_finished() && self.receiver.has_ended() {
            self.finish(Close::Finished);
        }
    }

    fn check_remote_change(&mut self) {
        if self.remote_changes_at.is_some_and(|at| self.sender.first() >= at) {
            self.remote_changes_at = None;
            self.remote_change = Told::Pending;
        }
    }

    fn finish(&mut self, close: Close) {
        self.close = Some(close);
        self.sender.clear();
        self.messages_out.clear();
        if close != Close::Finished {
            self.is_ack_due = false;
        }
    }

    /// Reacts to the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.close.is_none() && self.sender.handle_timeout(now).is_err() {
            self.finish(Close::TimedOut);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.close.is_some() { None } else { self.sender.poll_timeout() }
    }

    /// Appends the next packet to `out` and returns whether there was one.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        let Some(id) = self.remote_id else { return false };
        if self.close.is_some() {
            return self.poll_last(id, out);
        }
        let mut header = Header {
            kind: Kind::ACK,
            id,
            window: self.receiver.window(),
            seq: narrow(self.sender.next()),
            ack: narrow(self.receiver.next()),
        };
        if self.is_ack_due && self.receiver.has_gap() {
            return self.write_ack(header, out);
        }
        if let Some(message) = self.messages_out.pop_front() {
            header.kind = Kind::MESSAGE;
            header.encode(out);
            out.extend_from_slice(&message);
            return true;
        }
        match self.sender.poll(now) {
            Some(Outgoing::Numbered { number, kind, payload }) => {
                (header.kind, header.seq) = (kind, narrow(number));
                header.encode(out);
                out.extend_from_slice(payload);
                // It carries the acknowledgement too.
                self.is_ack_due = false;
                self.receiver.advertise();
                if self.drain == Told::No && self.sender.has_room() {
                    self.drain = Told::Pending;
                }
                true
            }
            Some(Outgoing::Heartbeat) => {
                header.kind = Kind::HEARTBEAT;
                header.encode(out);
                true
            }
            None if self.is_ack_due => self.write_ack(header, out),
            None => false,
        }
    }

    fn write_ack(&mut self, mut header: Header, out: &mut Vec<u8>) -> bool {
        self.is_ack_due = false;
        header.window = self.receiver.advertise();
        if self.receiver.has_gap() {
            header.kind = Kind::SACK;
        }
        header.encode(out);
        for (start, end) in self.receiver.ranges() {
            encode_range(start, end, out);
        }
        true
    }

    fn poll_last(&mut self, id: u32, out: &mut Vec<u8>) -> bool {
        let is_due = core::mem::take(&mut self.is_destroy_due) | core::mem::take(&mut self.is_ack_due);
        if is_due {
            out.extend_from_slice(&self.last_packet(id));
        }
        is_due
    }

    /// Returns what a peer that has not noticed the close should hear again.
    pub(super) fn farewell(&self) -> Option<[u8; HEADER_LEN]> {
        match self.close? {
            Close::Finished | Close::Destroyed => Some(self.last_packet(self.remote_id?)),
            Close::Reset | Close::TimedOut => None,
        }
    }

    fn last_packet(&self, id: u32) -> [u8; HEADER_LEN] {
        let kind = if self.close == Some(Close::Finished) { Kind::ACK } else { Kind::DESTROY };
        let (seq, ack) = (narrow(self.sender.next()), narrow(self.receiver.next()));
        let mut bytes = [0; HEADER_LEN];
        Header { kind, id, window: self.receiver.window(), seq, ack }.encode(&mut bytes.as_mut_slice());
        bytes
    }

    /// Returns the next event. Bytes come before the end, and both before the close.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        if self.heard == Told::Pending && self.remote_id.is_some() {
            self.heard = Told::Yes;
            return Some(StreamEvent::Connected);
        }
        if let Some(bytes) = self.receiver.read() {
            return Some(StreamEvent::Data(bytes));
        }
        if let Some(message) = self.messages_in.pop_front() {
            return Some(StreamEvent::Message(message));
        }
        let is_destroyed = self.close == Some(Close::Destroyed);
        for (told, event) in [
            (&mut self.end, StreamEvent::End),
            (&mut self.drain, StreamEvent::Drain),
            (&mut self.remote_change, StreamEvent::RemoteChanged),
        ] {
            if *told == Told::Pending && !is_destroyed {
                *told = Told::Yes;
                return Some(event);
            }
        }
        let close = self.close.filter(|_| !self.is_close_told)?;
        self.is_close_told = true;
        Some(StreamEvent::Closed(close))
    }

    /// Reports whether nothing will come of this stream any more.
    pub fn is_over(&self) -> bool {
        self.is_close_told && !self.is_ack_due && !self.is_destroy_due
    }

    /// Reports whether bytes can be written.
    pub fn is_writable(&self) -> bool {
        self.close.is_none() && !self.sender.has_ended()
    }

    /// Closes the stream because the peer destroyed what it forwards.
    pub(super) fn reset(&mut self) {
        if self.close.is_none() {
            self.finish(Close::Reset);
        }
    }

    /// Returns figures of this stream.
    pub fn stats(&self) -> Stats {
        Stats {
            rtt: self.sender.rtt().smoothed().map(Duration::from_micros),
            congestion_window: self.sender.congestion_window(),
            in_flight: self.sender.in_flight(),
            pacing_rate: self.sender.pacing_rate(),
            retransmits: self.sender.retransmits(),
            queued: self.sender.queued(),
        }
    }
}

/// What JavaScript peers let wait.
const DEFAULT_RECEIVE_LIMIT: u32 = 4_194_304;

/// Most messages that wait on either side; they may get lost anyway.
const MAX_MESSAGES: usize = 64;
