//! All streams of a node: who a datagram belongs to, whose turn it is, and when the next timer fires.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

use super::batch::{MAX_BATCH, fill};
use super::entry::{Entry, MAX_STRAY_PACKETS};
use super::packet::{HEADER_LEN, Kind, Packet, replace_id};
use super::stream::{Stats, Stream, StreamEvent, StreamOptions};
use super::{Address, SocketId};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};

/// A stream of this node, by the id that peers put into packets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// Where the packets of a stream go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The local socket to send from.
    pub socket: SocketId,
    /// The address to send to.
    pub address: Address,
    /// The peer's id of the stream.
    pub id: u32,
}

/// Limits of all streams together.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most streams open at once.
    pub max_streams: usize,
    /// Most bytes of one stream written and not yet sent.
    pub max_queued: usize,
}

/// What happened to a stream of a [`Udx`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Packets for the stream come from an address that it does not know. They wait, a few of them, for
    /// [`Udx::accept`] or [`Udx::refuse`].
    Incoming {
        /// The local socket they came to.
        socket: SocketId,
        /// Where they came from.
        from: Address,
    },
    /// The stream itself has something to tell. After [`StreamEvent::Closed`] its id is free.
    Stream(StreamEvent),
}

/// Datagrams to send, back to back in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The local socket to send from.
    pub socket: SocketId,
    /// The address to send to.
    pub to: Address,
    /// Bytes of every datagram; the last one may be shorter.
    pub segment: usize,
}

/// The caller broke the contract of a [`Udx`]; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// [`Udx::connect`] was called before, or never.
    Connected(bool),
    /// The stream was ended or is closed.
    Ended,
    /// So many bytes wait already; the limit.
    QueueFull(usize),
    /// So many streams are open already; the limit.
    TooManyStreams(usize),
    /// The id is taken.
    Taken(StreamId),
    /// There is no such stream.
    Unknown(StreamId),
}

/// All streams of a node.
///
/// After any `&mut self` call, drain [`poll_event`](Self::poll_event) and
/// [`poll_transmit`](Self::poll_transmit), in turns until both are empty, then arm a timer from
/// [`poll_timeout`](Self::poll_timeout). A driver that has other work may stop early and come back.
pub struct Udx {
    options: Options,
    ids: ChaCha20,
    streams: BTreeMap<StreamId, Entry>,
    timers: BTreeSet<(Instant, StreamId)>,
    /// Streams that may have packets, in the order of their turns.
    ready: VecDeque<StreamId>,
    /// Streams that may have events, in the order of their turns.
    eventful: VecDeque<StreamId>,
    incoming: VecDeque<(StreamId, Event)>,
    /// Forwarded packets and last words.
    outgoing: VecDeque<(SocketId, Address, Vec<u8>)>,
    /// A packet that was too large for the batch before it.
    carried: Option<(SocketId, Address, Vec<u8>)>,
    graves: BTreeMap<StreamId, Grave>,
    /// Closed streams in the order in which they are forgotten.
    buried: VecDeque<(Instant, StreamId)>,
    /// Retransmissions of streams that are gone.
    retransmits: u64,
    /// Bytes of all packets that wait to be forwarded.
    waiting: usize,
}

/// Figures of all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams there are.
    pub streams: usize,
    /// Packets sent again since the beginning.
    pub retransmits: u64,
    /// Mean round trip of the streams that have measured one.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be sent or acknowledged.
    pub queued: usize,
}

/// A closed stream whose peer may not know yet.
struct Grave {
    remote: Remote,
    farewell: [u8; HEADER_LEN],
}

impl Default for Options {
    fn default() -> Self {
        Self { max_streams: 65_536, max_queued: 16 << 20 }
    }
}

impl Udx {
    /// Creates an empty node; `seed` decides the ids of its streams.
    pub fn new(options: Options, seed: [u8; 32]) -> Self {
        Self {
            options,
            ids: ChaCha20::new(&seed.into(), &[0; 12].into()),
            streams: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            eventful: VecDeque::new(),
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            carried: None,
            graves: BTreeMap::new(),
            buried: VecDeque::new(),
            retransmits: 0,
            waiting: 0,
        }
    }

    /// Opens a stream under an unpredictable id.
    ///
    /// # Errors
    ///
    /// [`Misuse::TooManyStreams`].
    pub fn open(&mut self, options: StreamOptions, now: Instant) -> Result<StreamId, Misuse> {
        loop {
            let mut id = [0; 4];
            self.ids.apply_keystream(&mut id);
            match self.open_as(StreamId(u32::from_le_bytes(id)), options, now) {
                Err(Misuse::Taken(_)) => {}
                result => return result,
            }
        }
    }

    /// Opens a stream under a given id.
    ///
    /// # Errors
    ///
    /// [`Misuse::TooManyStreams`], [`Misuse::Taken`].
    pub fn open_as(
        &mut self,
        id: StreamId,
        options: StreamOptions,
        now: Instant,
    ) -> Result<StreamId, Misuse> {
        if self.streams.len() >= self.options.max_streams {
            return Err(Misuse::TooManyStreams(self.options.max_streams));
        }
        if self.streams.contains_key(&id) || self.graves.contains_key(&id) {
            return Err(Misuse::Taken(id));
        }
        self.streams.insert(
            id,
            Entry {
                stream: Stream::new(options, now),
                remote: None,
                allowed: VecDeque::new(),
                strays: VecDeque::new(),
                forwards_to: None,
                waiting: Vec::new(),
                armed: None,
                is_ready: false,
                is_eventful: false,
            },
        );
        Ok(id)
    }

    /// Tells a stream its peer: packets from there are accepted, and packets leave.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`], [`Misuse::Connected`].
    pub fn connect(&mut self, id: StreamId, remote: Remote, now: Instant) -> Result<(), Misuse> {
        let entry = self.entry(id)?;
        if entry.remote.is_some() {
            return Err(Misuse::Connected(true));
        }
        entry.remote = Some(remote);
        entry.stream.connect(remote.id);
        let waiting = core::mem::take(&mut entry.waiting);
        self.waiting -= waiting.iter().map(Vec::len).sum::<usize>();
        for datagram in waiting {
            self.forward(id, datagram);
        }
        self.replay(id, remote.socket, remote.address, now);
        self.touch(id);
        Ok(())
    }

    /// Moves a connected stream to another peer address, socket or id. Packets from the former address stay
    /// welcome.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`], [`Misuse::Connected`].
    pub fn change_remote(&mut self, id: StreamId, remote: Remote, now: Instant) -> Result<(), Misuse> {
        let entry = self.entry(id)?;
        let Some(before) = entry.remote else {
            return Err(Misuse::Connected(false));
        };
        entry.allow(before.socket, before.address);
        entry.remote = Some(remote);
        entry.stream.change_remote(remote.id);
        self.replay(id, remote.socket, remote.address, now);
        self.touch(id);
        Ok(())
    }

    /// Accepts packets for a stream from one more address, those that waited first.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn accept(
        &mut self,
        id: StreamId,
        socket: SocketId,
        from: Address,
        now: Instant,
    ) -> Result<(), Misuse> {
        self.entry(id)?.allow(socket, from);
        self.replay(id, socket, from, now);
        Ok(())
    }

    /// Drops the packets for a stream that came from an address, and those to come.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn refuse(&mut self, id: StreamId, socket: SocketId, from: Address) -> Result<(), Misuse> {
        let strays = &mut self.entry(id)?.strays;
        if let Some(stray) = strays.iter_mut().find(|stray| (stray.socket, stray.from) == (socket, from)) {
            stray.is_refused = true;
            stray.packets = Vec::new();
        }
        Ok(())
    }

    /// Forwards every packet that arrives for `id` to the peer of `target`, unread.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn relay_to(&mut self, id: StreamId, target: StreamId) -> Result<(), Misuse> {
        self.entry(target)?;
        self.entry(id)?.forwards_to = Some(target);
        Ok(())
    }

    /// Queues bytes and returns whether more may follow at once; otherwise wait for [`StreamEvent::Drain`].
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`], [`Misuse::Ended`], [`Misuse::QueueFull`].
    pub fn write(&mut self, id: StreamId, bytes: Bytes) -> Result<bool, Misuse> {
        let max_queued = self.options.max_queued;
        let stream = self.open_stream(id)?;
        if stream.stats().queued.saturating_add(bytes.len()) > max_queued {
            return Err(Misuse::QueueFull(max_queued));
        }
        let has_room = stream.write(bytes);
        self.touch(id);
        Ok(has_room)
    }

    /// Ends a stream after what was written.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`], [`Misuse::Ended`].
    pub fn end(&mut self, id: StreamId) -> Result<(), Misuse> {
        self.open_stream(id)?.end();
        self.touch(id);
        Ok(())
    }

    /// Forgets a stream at once and tells the peer, unless it forwards: as libudx, such a stream ends without a word, because its
    /// peers may have found another way meanwhile, and the last word would end their stream there too.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn destroy(&mut self, id: StreamId) -> Result<(), Misuse> {
        let entry = self.entry(id)?;
        if entry.forwards_to.is_some() {
            entry.stream.vanish();
        } else {
            entry.stream.destroy();
        }
        self.touch(id);
        Ok(())
    }

    /// Sends an unordered message that may get lost; returns false when it was dropped at once.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn send_message(&mut self, id: StreamId, message: Bytes) -> Result<bool, Misuse> {
        let is_queued = self.entry(id)?.stream.send_message(message);
        self.touch(id);
        Ok(is_queued)
    }

    /// Gives back room in a stream's window; see [`Stream::consumed`].
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn consumed(&mut self, id: StreamId, bytes: u64) -> Result<(), Misuse> {
        self.entry(id)?.stream.consumed(bytes);
        self.touch(id);
        Ok(())
    }

    /// Changes how many bytes of a stream may wait for the reader.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unknown`].
    pub fn set_receive_limit(&mut self, id: StreamId, bytes: u32) -> Result<(), Misuse> {
        self.entry(id)?.stream.set_receive_limit(bytes);
        self.touch(id);
        Ok(())
    }

    /// Adds up the figures of all streams. Takes time in proportion to them.
    pub fn totals(&self) -> Totals {
        let mut totals =
            Totals { streams: self.streams.len(), retransmits: self.retransmits, ..Totals::default() };
        let (mut sum, mut measured) = (Duration::ZERO, 0_u32);
        for entry in self.streams.values() {
            let stats = entry.stream.stats();
            totals.retransmits += stats.retransmits;
            totals.queued += stats.queued;
            if let Some(rtt) = stats.rtt {
                sum += rtt;
                measured += 1;
            }
        }
        totals.rtt = sum.checked_div(measured);
        totals
    }

    /// Returns figures of a stream.
    pub fn stats(&self, id: StreamId) -> Option<Stats> {
        Some(self.streams.get(&id)?.stream.stats())
    }

    /// Returns where the packets of a stream go.
    pub fn remote(&self, id: StreamId) -> Option<Remote> {
        self.streams.get(&id)?.remote
    }

    /// Returns how many streams there are.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Reports whether there are no streams.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Returns the stream on which a datagram comes in that is to be forwarded.
    pub fn forwards(&self, socket: SocketId, from: Address, datagram: &[u8]) -> Option<StreamId> {
        let id = Packet::peek_id(datagram).map(StreamId)?;
        let entry = self.streams.get(&id)?;
        (entry.forwards_to.is_some() && entry.accepts(socket, from)).then_some(id)
    }

    /// Takes in a datagram and returns whether it belonged to a stream; otherwise it is somebody else's.
    pub fn handle_datagram(
        &mut self,
        socket: SocketId,
        from: Address,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let Some(id) = Packet::peek_id(datagram).map(StreamId) else {
            return false;
        };
        let Some(entry) = self.streams.get_mut(&id) else {
            return self.handle_late(id, socket, from, datagram);
        };
        if entry.accepts(socket, from) {
            self.handle_known(id, datagram, now);
        } else if entry.hold(socket, from, datagram) {
            self.incoming.push_back((id, Event::Incoming { socket, from }));
        }
        true
    }

    fn handle_known(&mut self, id: StreamId, datagram: &[u8], now: Instant) {
        let Some(packet) = Packet::decode(datagram) else { return };
        let Some(entry) = self.streams.get_mut(&id) else { return };
        if let Some(target) = entry.forwards_to {
            if packet.header.kind.has(Kind::DESTROY) {
                entry.stream.reset();
            }
            self.forward(target, datagram.to_vec());
        } else {
            entry.stream.handle_packet(&packet, now);
        }
        self.touch(id);
    }

    /// Passes a packet on. Where the target's peer has not come yet, the first ones wait for it: it would take their sender a
    /// second or two to send them again.
    fn forward(&mut self, target: StreamId, mut datagram: Vec<u8>) {
        let Some(entry) = self.streams.get_mut(&target) else { return };
        match entry.remote {
            Some(remote) if self.outgoing.len() < MAX_OUTGOING => {
                replace_id(&mut datagram, remote.id);
                self.outgoing.push_back((remote.socket, remote.address, datagram));
            }
            None if entry.waiting.len() < MAX_STRAY_PACKETS
                && self.waiting + datagram.len() <= MAX_WAITING =>
            {
                self.waiting += datagram.len();
                entry.waiting.push(datagram);
            }
            _ => {}
        }
    }

    /// Repeats the last packet of a closed stream to a peer that did not get it.
    fn handle_late(&mut self, id: StreamId, socket: SocketId, from: Address, datagram: &[u8]) -> bool {
        let Some(grave) = self.graves.get(&id) else { return false };
        let (remote, farewell) = (grave.remote, grave.farewell);
        let asks = Kind::DATA.with(Kind::END).with(Kind::HEARTBEAT);
        let is_asking = Packet::decode(datagram).is_some_and(|packet| packet.header.kind.has(asks));
        if is_asking
            && (remote.socket, remote.address) == (socket, from)
            && self.outgoing.len() < MAX_OUTGOING
        {
            self.outgoing.push_back((socket, from, farewell.to_vec()));
        }
        true
    }

    /// Takes in the packets that waited for a verdict.
    fn replay(&mut self, id: StreamId, socket: SocketId, from: Address, now: Instant) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        let position = entry.strays.iter().position(|stray| (stray.socket, stray.from) == (socket, from));
        let Some(stray) = position.and_then(|at| entry.strays.remove(at)) else { return };
        for packet in stray.packets {
            self.handle_known(id, &packet, now);
        }
    }

    /// Reacts to the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.armed = None;
                entry.stream.handle_timeout(now);
                self.touch(id);
            }
        }
        self.forget_buried(now);
    }

    fn forget_buried(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.buried.front()
            && (at <= now || self.buried.len() > MAX_GRAVES)
        {
            self.buried.pop_front();
            self.graves.remove(&id);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Returns the next event of any stream, streams taking turns.
    pub fn poll_event(&mut self, now: Instant) -> Option<(StreamId, Event)> {
        if let Some(event) = self.incoming.pop_front() {
            return Some(event);
        }
        while let Some(&id) = self.eventful.front() {
            self.eventful.pop_front();
            let Some(entry) = self.streams.get_mut(&id) else { continue };
            if let Some(event) = entry.stream.poll_event() {
                self.eventful.push_back(id);
                return Some((id, Event::Stream(event)));
            }
            entry.is_eventful = false;
            self.reap(id, now);
        }
        None
    }

    /// Fills `out` with up to `max_segments` datagrams of one stream, streams taking turns.
    ///
    /// All have the same length but the last, which may be shorter, so that one call to the kernel can send
    /// them.
    pub fn poll_transmit(
        &mut self,
        max_segments: usize,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Transmit> {
        out.clear();
        if let Some((socket, to, bytes)) = self.carried.take().or_else(|| self.outgoing.pop_front()) {
            out.extend_from_slice(&bytes);
            let segment = bytes.len();
            self.fill_outgoing(max_segments, (socket, to), segment, out);
            return Some(Transmit { socket, to, segment });
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(entry) = self.streams.get_mut(&id) else { continue };
            entry.is_ready = false;
            let Some(remote) = entry.remote else { continue };
            let (socket, to) = (remote.socket, remote.address);
            let batch = fill(&mut entry.stream, max_segments, out, now);
            self.carried = batch.carried.map(|bytes| (socket, to, bytes));
            // When it was asked last and had nothing, its turn comes with its next input or timer.
            if !batch.is_drained {
                self.wake(id);
            }
            self.arm(id);
            self.reap(id, now);
            if batch.segment > 0 {
                return Some(Transmit { socket, to, segment: batch.segment });
            }
        }
        None
    }

    /// Adds queued datagrams of the same length to the same address.
    fn fill_outgoing(
        &mut self,
        max_segments: usize,
        to: (SocketId, Address),
        segment: usize,
        out: &mut Vec<u8>,
    ) {
        let most = (max_segments * segment).min(MAX_BATCH);
        while let Some((socket, address, bytes)) = self.outgoing.front()
            && (*socket, *address) == to
            && bytes.len() <= segment
            && out.len().is_multiple_of(segment)
            && out.len() + bytes.len() <= most
        {
            out.extend_from_slice(bytes);
            self.outgoing.pop_front();
        }
    }

    fn entry(&mut self, id: StreamId) -> Result<&mut Entry, Misuse> {
        self.streams.get_mut(&id).ok_or(Misuse::Unknown(id))
    }

    fn open_stream(&mut self, id: StreamId) -> Result<&mut Stream, Misuse> {
        let stream = &mut self.entry(id)?.stream;
        if stream.is_writable() { Ok(stream) } else { Err(Misuse::Ended) }
    }

    /// Gives a stream its turns and arms its timer after a change.
    fn touch(&mut self, id: StreamId) {
        self.wake(id);
        self.arm(id);
    }

    fn wake(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !core::mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    fn arm(&mut self, id: StreamId) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        if !core::mem::replace(&mut entry.is_eventful, true) {
            self.eventful.push_back(id);
        }
        let Some(at) = entry.stream.poll_timeout() else { return };
        // A timer that fires early finds nothing due and is armed again: cheaper than moving it every time.
        if entry.armed.is_none_or(|armed| at < armed) {
            if let Some(armed) = entry.armed.replace(at) {
                self.timers.remove(&(armed, id));
            }
            self.timers.insert((at, id));
        }
    }

    /// Forgets a stream that is over.
    fn reap(&mut self, id: StreamId, now: Instant) {
        if !self.streams.get(&id).is_some_and(|entry| entry.stream.is_over()) {
            return;
        }
        let Some(entry) = self.streams.remove(&id) else { return };
        self.retransmits += entry.stream.stats().retransmits;
        self.waiting -= entry.waiting.iter().map(Vec::len).sum::<usize>();
        if let Some(armed) = entry.armed {
            self.timers.remove(&(armed, id));
        }
        if entry.forwards_to.is_some() {
            return;
        }
        if let (Some(remote), Some(farewell)) = (entry.remote, entry.stream.farewell()) {
            self.graves.insert(id, Grave { remote, farewell });
            self.buried.push_back((now + LINGER, id));
            self.forget_buried(now);
        }
    }
}

impl fmt::Debug for Udx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udx").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(true) => f.write_str("already connected"),
            Self::Connected(false) => f.write_str("not connected"),
            Self::Ended => f.write_str("stream is ended"),
            Self::QueueFull(limit) => write!(f, "more than {limit} bytes would wait"),
            Self::TooManyStreams(limit) => write!(f, "{limit} streams are open"),
            Self::Taken(id) => write!(f, "stream {} exists", id.0),
            Self::Unknown(id) => write!(f, "no stream {}", id.0),
        }
    }
}

impl core::error::Error for Misuse {}

/// Forwarded packets that wait for the driver; more are dropped, as a full socket would.
const MAX_OUTGOING: usize = 1024;

/// Bytes of packets that wait for the peers of the streams that they are forwarded to, in all.
const MAX_WAITING: usize = 4 << 20;

/// How long a closed stream answers its peer; libudx gives up after 13 s.
const LINGER: Duration = Duration::from_secs(15);

/// Closed streams remembered.
const MAX_GRAVES: usize = 4096;
