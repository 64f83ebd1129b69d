//! One ordered byte path to one peer: encryption, messages, and the channels on it.
//!
//! A link starts out *held*: after [`LinkOutput::Opened`] nothing is read until the owner says what the messages are, by
//! [`read_messages`](Link::read_messages) or by starting channels with [`mux_mut`](Link::mux_mut). So a peer that speaks first is
//! heard whole.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::protomux::Mux;
use crate::secret_stream::{self, Entropy, Event, MAX_MESSAGE, Outgoing, SecretStream};
use crate::time::{Duration, Instant};

mod types;

pub use super::channels::LinkStats;
pub use crate::noise::Role;
pub use types::{CloseReason, LinkOptions, LinkOutput, Security, Transport};

/// One end of a link.
///
/// After any `&mut self` call, that of a channel included, poll [`poll_output`](Self::poll_output) until `None`, acting on each
/// output before the next, then arm a timer from [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Link {
    role: Role,
    transport: Transport,
    public_key: [u8; 32],
    handshake_hash: Option<[u8; 64]>,
    remote_public_key: Option<[u8; 32]>,
    layer: Layer,
    reading: Reading,
    /// The owner takes no messages for the time being.
    is_stopped: bool,
    /// The message that the owner gets next, when it takes none. Without one nothing waits but signs of life, and an end is told.
    ahead: Option<Bytes>,
    /// The transport is gone and the owner may not have taken all messages.
    has_ended: bool,
    /// Why it is, unless it ended in order.
    broken_by: Option<String>,
    /// Whether the remote end writes more.
    remote: Flow,
    /// Whether we do.
    own: Flow,
    outbox: VecDeque<Bytes>,
    /// Bytes in `outbox`.
    queued: usize,
    stats: LinkStats,
    /// Bytes that the transport takes; below zero by what the last frame was too long.
    credit: i64,
    /// Longest frame that may go to the transport now.
    room: usize,
    /// The owner has seen, or could have seen, that there is no room.
    full: bool,
    state: State,
}

#[derive(Debug)]
enum Layer {
    Secret(Box<SecretStream>),
    /// Messages in clear that were not read, and whether `Opened` is due.
    Clear {
        inbox: VecDeque<Bytes>,
        unread: usize,
        opened: bool,
    },
}

/// What messages are taken for.
#[derive(Debug)]
enum Reading {
    Held,
    Messages,
    Channels(Box<Mux>),
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// It ends with what is still on its way within the link.
    Ending,
    Ended,
}

#[derive(Debug)]
enum State {
    Open,
    /// Close once everything was sent.
    Ending,
    Failed(CloseReason),
    Closed,
}

impl Link {
    /// Starts a link over a transport that is ready for [`INITIAL_CREDIT`] bytes. `seed` serves no other purpose.
    pub fn new(options: LinkOptions, seed: [u8; 32], now: Instant) -> Self {
        let LinkOptions { role, transport, security, keep_alive, timeout } = options;
        let stream = secret_stream::Options { keep_alive, timeout };
        let clear = |opened| Layer::Clear { inbox: VecDeque::new(), unread: 0, opened };
        let mut hash = None;
        let mut remote = None;
        let (layer, public_key) = match security {
            Security::Noise { key_pair } => {
                let entropy = Entropy::from_seed(&seed);
                (
                    Layer::Secret(Box::new(SecretStream::new(role, &key_pair, stream, entropy, now))),
                    key_pair.public_key,
                )
            }
            Security::Established { session, public_key } => {
                let entropy = Entropy::from_seed(&seed);
                (
                    Layer::Secret(Box::new(SecretStream::established(role, session, stream, entropy, now))),
                    public_key,
                )
            }
            Security::External { handshake_hash, remote_public_key, public_key } => {
                hash = Some(handshake_hash);
                remote = Some(remote_public_key);
                (clear(false), public_key)
            }
            Security::Plain => (clear(true), [0; 32]),
        };
        Self {
            role,
            transport,
            public_key,
            handshake_hash: hash,
            remote_public_key: remote,
            layer,
            reading: Reading::Held,
            is_stopped: false,
            ahead: None,
            has_ended: false,
            broken_by: None,
            remote: Flow::Open,
            own: Flow::Open,
            outbox: VecDeque::new(),
            queued: 0,
            stats: LinkStats::default(),
            credit: INITIAL_CREDIT,
            room: usize::MAX,
            full: false,
            state: State::Open,
        }
    }

    /// Returns which end we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns our own key; zeros on a [`Plain`](Security::Plain) link.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// Returns the remote end's key once it is proven.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        self.remote_public_key
    }

    /// Returns what names this link once the handshake is done.
    pub fn handshake_hash(&self) -> Option<[u8; 64]> {
        self.handshake_hash
    }

    /// Returns the channels, if there are any.
    pub fn mux(&self) -> Option<&Mux> {
        match &self.reading {
            Reading::Channels(mux) => Some(mux),
            _ => None,
        }
    }

    /// Returns the channels; from the first call on all messages belong to them.
    pub fn mux_mut(&mut self) -> &mut Mux {
        if !matches!(self.reading, Reading::Channels(_)) {
            self.reading = Reading::Channels(Box::default());
            // With channels, an end of one is an end of both.
            self.has_ended |= self.remote == Flow::Ended;
        }
        match &mut self.reading {
            Reading::Channels(mux) => mux,
            _ => unreachable!("set above"),
        }
    }

    /// Hands messages out as they are from here on, unless channels were started.
    pub fn read_messages(&mut self) {
        if matches!(self.reading, Reading::Held) {
            self.reading = Reading::Messages;
        }
    }

    /// Takes no messages for the time being, or takes them again; means nothing on a link with channels.
    pub fn stop_messages(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    fn is_paused_by_owner(&self) -> bool {
        match self.reading {
            Reading::Held => true,
            Reading::Messages => self.is_stopped,
            Reading::Channels(_) => false,
        }
    }

    /// Sends an application message; returns false when the link is closed or channels were started.
    pub fn send(&mut self, message: &[u8], now: Instant) -> bool {
        let is_over = !matches!(self.state, State::Open) || self.own != Flow::Open;
        if is_over || matches!(self.reading, Reading::Channels(_)) {
            return false;
        }
        self.write(message.into(), now);
        true
    }

    /// Sends an empty message whenever nothing was sent for that long. Where the host encrypts, it does this too.
    pub fn set_keep_alive(&mut self, delay: Option<Duration>, now: Instant) {
        if let (Flow::Open, Layer::Secret(stream)) = (self.own, &mut self.layer) {
            stream.set_keep_alive(delay, now);
        }
    }

    /// Sends an empty message, which peers ignore.
    pub fn send_keep_alive(&mut self, now: Instant) {
        if let (State::Open, Flow::Open, Layer::Secret(stream)) = (&self.state, self.own, &mut self.layer) {
            stream.send(Outgoing::with_capacity(0), now);
        }
    }

    /// Returns what went over the transport so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Takes bytes from the transport: a piece of the stream, or one message.
    pub fn handle_bytes(&mut self, bytes: Bytes, now: Instant) {
        if !matches!(self.state, State::Open) {
            return;
        }
        self.stats.bytes_in += bytes.len() as u64;
        let found = match &mut self.layer {
            Layer::Secret(stream) => {
                stream.handle_bytes(bytes, now);
                stream.buffered()
            }
            Layer::Clear { inbox, unread, .. } => {
                *unread += bytes.len() + MESSAGE_COST;
                inbox.push_back(bytes);
                *unread
            }
        };
        if found > MAX_UNREAD {
            self.destroy(CloseReason::Flooded { found });
        }
    }

    /// Lets the transport take this many bytes more: usually as many as have left it.
    pub fn handle_credit(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Notes that the owner has written so many bytes to the transport itself.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Lets frames of up to this length go to the transport.
    pub(super) fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Notes that the transport is gone and that another one follows: nothing goes out until there is room again.
    pub(super) fn interrupt(&mut self) {
        self.credit = INITIAL_CREDIT;
        self.room = 0;
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let (false, Layer::Secret(stream)) = (self.has_ended, &mut self.layer) {
            stream.handle_timeout(now);
        }
    }

    /// Notes that the transport brings nothing more, and still takes bytes. Messages that came before wait for the owner, and
    /// [`LinkOutput::Ended`] follows once they are taken. A link with channels is over then.
    pub fn handle_end(&mut self) {
        if self.remote == Flow::Open {
            self.remote = Flow::Ending;
        }
    }

    /// Notes that the transport is gone, for a reason if the host has one. What it has brought is read before the link is
    /// over; after an orderly end, messages that wait for the owner are taken, too.
    pub fn handle_closed(&mut self, reason: Option<String>) {
        self.has_ended = matches!(self.state, State::Open);
        if self.has_ended {
            self.broken_by = reason;
        } else {
            self.destroy(CloseReason::Remote(reason));
        }
    }

    /// Sends nothing more, and goes on reading: [`LinkOutput::Finished`] follows. The link is over once the remote end does
    /// the same. One with channels is closed.
    pub fn finish(&mut self, now: Instant) {
        if matches!(self.reading, Reading::Channels(_)) {
            self.close();
        } else if self.own == Flow::Open {
            self.set_keep_alive(None, now);
            self.own = Flow::Ending;
        }
    }

    /// Closes the link once all that was sent is on its way.
    pub fn close(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Ending;
        }
    }

    /// Closes the link and drops what was sent.
    pub fn destroy(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Open | State::Ending) {
            self.state = State::Failed(reason);
        }
    }

    /// Returns whether the link is closed or about to be.
    pub fn is_closed(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// Returns whether what is sent leaves at once. Whoever sends bulk waits for [`LinkOutput::Writable`] otherwise.
    pub fn is_writable(&self) -> bool {
        let pending = self.pending();
        pending < self.room && i64::try_from(pending).is_ok_and(|pending| pending < self.credit)
    }

    /// Returns whether reading has stopped. A transport that can pause should, and poll this after each drain.
    pub fn is_paused(&self) -> bool {
        self.mux().is_some_and(Mux::is_paused) || self.is_held()
    }

    /// Returns whether messages stay where they are. Replies to an end that is gone keep nothing back.
    fn is_held(&self) -> bool {
        let replies = self.queued + self.outbox.len() * MESSAGE_COST;
        (replies > MAX_REPLIES && !self.has_ended) || (self.ahead.is_some() && self.is_paused_by_owner())
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (&self.state, &self.layer) {
            (State::Open, Layer::Secret(stream)) if !self.has_ended => stream.poll_timeout(),
            _ => None,
        }
    }

    /// Returns what the link wants next.
    pub fn poll_output(&mut self, now: Instant) -> Option<LinkOutput> {
        match self.state {
            State::Open => {}
            State::Ending => return Some(self.end(now)),
            State::Failed(_) => return self.fail(),
            State::Closed => return None,
        }
        self.collect(now);
        // Replies gather while there is input, so that they leave together; but not without bound.
        if self.queued <= GATHER || self.credit <= 0 || self.has_ended {
            match self.read() {
                Ok(Some(output)) => return Some(output),
                Ok(None) if self.has_ended && (self.ahead.is_none() || self.broken_by.is_some()) => {
                    let reason = self.broken_by.take();
                    self.destroy(CloseReason::Remote(reason));
                    return self.fail();
                }
                Ok(None) if self.remote == Flow::Ending && self.ahead.is_none() && !self.is_held() => {
                    self.remote = Flow::Ended;
                    if matches!(self.reading, Reading::Channels(_)) || self.own == Flow::Ended {
                        self.destroy(CloseReason::Remote(None));
                        return self.fail();
                    }
                    return Some(LinkOutput::Ended);
                }
                Ok(None) => self.collect(now),
                Err(reason) => {
                    self.destroy(reason);
                    return self.fail();
                }
            }
        }
        if matches!(self.state, State::Failed(_)) {
            return self.fail();
        }
        if self.credit > 0
            && self.outbox.front().is_some_and(|frame| frame.len() <= self.room)
            && let Some(bytes) = self.transmit()
        {
            return Some(LinkOutput::Transmit(bytes));
        }
        if self.own == Flow::Ending && self.pending() == 0 {
            self.own = Flow::Ended;
            if self.remote == Flow::Ended {
                // What both have ended is over in order, and the transport is told so.
                self.state = State::Closed;
                return Some(LinkOutput::Closed { reason: CloseReason::Local });
            }
            return Some(LinkOutput::Finished);
        }
        let writable = self.is_writable();
        if self.full != writable {
            return None;
        }
        self.full = !writable;
        writable.then_some(LinkOutput::Writable)
    }

    /// Reads until something happens that the owner must know.
    fn read(&mut self) -> Result<Option<LinkOutput>, CloseReason> {
        loop {
            if let Reading::Channels(mux) = &mut self.reading {
                if let Some(event) = mux.poll_event().map_err(CloseReason::Protomux)? {
                    return Ok(Some(LinkOutput::Channel(event)));
                }
                if !mux.is_ready() {
                    return Ok(None);
                }
            }
            let held = self.is_held();
            let message = match &mut self.layer {
                _ if !held && self.ahead.is_some() => self.ahead.take().expect("checked in the guard"),
                Layer::Secret(stream) if held && self.handshake_hash.is_some() => {
                    return stream.error().map_or(Ok(None), |error| Err(CloseReason::SecretStream(error)));
                }
                Layer::Secret(stream) => match stream.poll_event().map_err(CloseReason::SecretStream)? {
                    None => return Ok(None),
                    Some(Event::Message(message)) => message,
                    Some(Event::Opened { remote_public_key, handshake_hash }) => {
                        self.handshake_hash = Some(handshake_hash);
                        self.remote_public_key = Some(remote_public_key);
                        let public_key = self.public_key;
                        return Ok(Some(LinkOutput::Opened {
                            public_key,
                            remote_public_key,
                            handshake_hash,
                        }));
                    }
                },
                Layer::Clear { opened, .. } if !*opened => {
                    *opened = true;
                    let (Some(handshake_hash), Some(remote_public_key)) =
                        (self.handshake_hash, self.remote_public_key)
                    else {
                        continue;
                    };
                    let public_key = self.public_key;
                    return Ok(Some(LinkOutput::Opened { public_key, remote_public_key, handshake_hash }));
                }
                Layer::Clear { .. } if held => return Ok(None),
                Layer::Clear { inbox, unread, .. } => {
                    let Some(message) = inbox.pop_front() else { return Ok(None) };
                    *unread -= message.len() + MESSAGE_COST;
                    message
                }
            };
            if self.is_paused_by_owner() {
                self.ahead = Some(message);
                return Ok(None);
            }
            match &mut self.reading {
                Reading::Channels(mux) => mux.handle_message(message),
                Reading::Held | Reading::Messages => return Ok(Some(LinkOutput::Message(message))),
            }
        }
    }

    /// Seals what the channels send.
    fn collect(&mut self, now: Instant) {
        while let Reading::Channels(mux) = &mut self.reading
            && let Some(frame) = mux.poll_transmit()
        {
            self.write(frame, now);
        }
        if let Layer::Secret(stream) = &mut self.layer {
            while let Some(bytes) = stream.poll_transmit() {
                self.queued += bytes.len();
                self.outbox.push_back(bytes);
            }
        }
    }

    fn write(&mut self, message: Outgoing, now: Instant) {
        match &mut self.layer {
            Layer::Secret(stream) => {
                if message.len() > MAX_MESSAGE {
                    self.destroy(CloseReason::MessageTooLong);
                } else {
                    stream.send(message, now);
                }
            }
            Layer::Clear { .. } => {
                self.queued += message.len();
                self.outbox.push_back(message.into_plain());
            }
        }
    }

    /// Takes the next bytes for the transport: a frame, or some small ones glued.
    fn transmit(&mut self) -> Option<Bytes> {
        let first = self.outbox.pop_front()?;
        let small = |bytes: Option<&Bytes>| bytes.is_some_and(|bytes| bytes.len() <= GLUED);
        let bytes =
            if self.transport == Transport::Stream && small(Some(&first)) && small(self.outbox.front()) {
                let mut glued = Vec::with_capacity(self.queued.min(GATHER));
                glued.extend_from_slice(&first);
                while small(self.outbox.front())
                    && let Some(next) = self.outbox.pop_front_if(|next| glued.len() + next.len() <= GATHER)
                {
                    glued.extend_from_slice(&next);
                }
                glued.into()
            } else {
                first
            };
        self.queued -= bytes.len();
        self.stats.bytes_out += bytes.len() as u64;
        self.credit = self.credit.saturating_sub(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        Some(bytes)
    }

    /// Returns how many bytes wait anywhere in the link.
    fn pending(&self) -> usize {
        let waiting = if let Layer::Secret(stream) = &self.layer { stream.waiting() } else { 0 };
        self.queued + waiting + self.mux().map_or(0, Mux::queued)
    }

    fn end(&mut self, now: Instant) -> LinkOutput {
        self.collect(now);
        if let Some(bytes) = self.transmit() {
            return LinkOutput::Transmit(bytes);
        }
        self.state = State::Closed;
        LinkOutput::Closed { reason: CloseReason::Local }
    }

    fn fail(&mut self) -> Option<LinkOutput> {
        match core::mem::replace(&mut self.state, State::Closed) {
            State::Failed(reason) => {
                self.outbox.clear();
                self.queued = 0;
                Some(LinkOutput::Closed { reason })
            }
            _ => None,
        }
    }
}

/// Bytes that a transport takes before the host says anything.
pub const INITIAL_CREDIT: i64 = 65536;

/// Bytes received that may wait: two frames of the largest size, because a tab cannot pause a WebSocket.
const MAX_UNREAD: usize = 32 * 1024 * 1024;

/// What a waiting message costs besides its bytes.
const MESSAGE_COST: usize = 64;

/// Bytes queued beyond which nothing is read: a peer that asks and never reads answers must not fill our memory.
/// It holds the largest frame, so that two honest ends never wait for each other.
const MAX_REPLIES: usize = 32 * 1024 * 1024;

/// Bytes gathered for one write. Browsers handle some ten thousand messages a second, of any size up to here.
const GATHER: usize = 65536;

/// Longest frame that is copied to leave together with others.
const GLUED: usize = 16384;

#[cfg(test)]
mod tests;
