//! The relay's side of one link: what is kept of a client, and what is sent to it.
//!
//! [`network`] takes what the DHT says, [`client`] what the client says, [`custody`] stands in for clients that give their
//! keys away, and [`resume`] keeps what a client lacks that comes back.
//!
//! Source: @hyperswarm/dht-relay 0.4.3, `lib/node-proxy.js`, `lib/server-proxy.js`, `lib/stream-proxy.js`.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::PROTOCOL;
use super::backend::Backend;
use super::bucket::{Bucket, Rate};
use super::ledger::TOPIC_LIFE;
use super::limits::{Limits, Permissions, Refusal};
use super::messages::{Message, StreamAlias};
use super::quota::{Resource, Scope, Usage};
use super::resume::Ticket;
use super::window::Window;
use crate::collections::BTreeMap;
use crate::compact_encoding::uint_len;
use crate::dht::{ConnectionId, OperationId, ServerId, SignatureId};
use crate::protomux::{ChannelId, Mux, OpenChannel};
use crate::time::{Duration, Instant};

mod client;
mod custody;
mod network;
mod outbox;
mod questions;
mod resume;

use custody::{Clear, Custody};
use outbox::{Data, Outbound, Outbox};
use questions::Asked;
use resume::Claimed;

/// One client of a relay.
///
/// Everything that a client names is looked up among what this session made, so no client reaches another's.
#[derive(Debug)]
pub(super) struct Session {
    limits: Limits,
    mux: Mux,
    channel: ChannelId,
    /// The client says what it has read.
    credit: Option<ChannelId>,
    /// The client asks what upstream's protocol has no words for.
    questions: Option<ChannelId>,
    /// What the client may come back with, if this relay holds links.
    ticket: Option<Ticket>,
    /// The link that the client wants to go on with instead.
    claimed: Option<Claimed>,
    window: Window,
    /// What goes out before everything else.
    first: Option<Bytes>,
    /// The WebSocket is gone, and the client may come back until then.
    held_until: Option<Instant>,
    permissions: Permissions,
    standing: Standing,
    /// Announced topics, and until when they count.
    topics: BTreeMap<[u8; 32], Instant>,
    /// Streams that are not open.
    half_open: usize,
    last_number: u32,
    queries: BTreeMap<OperationId, u32>,
    asked: BTreeMap<OperationId, Asked>,
    servers: BTreeMap<ServerId, Server>,
    streams: BTreeMap<ConnectionId, Stream>,
    by_client_alias: BTreeMap<u32, ConnectionId>,
    by_own_alias: BTreeMap<u32, ConnectionId>,
    by_handshake: BTreeMap<u32, ConnectionId>,
    signatures: BTreeMap<u32, (SignatureId, Instant)>,
    claims: BTreeMap<u32, Claim>,
    /// The keys of a client that gives them away; absent where that is refused.
    custody: Option<Box<Custody>>,
    bucket: Bucket,
    /// Requests turned down, less those taken since.
    turned_down: u32,
    outbox: Outbox,
    /// Bytes of the frame that is being read.
    frame_len: usize,
    /// Bytes that streams hold beyond what they asked for.
    overrun: usize,
    heard: Instant,
    ping_at: Instant,
    /// When something else may be due.
    check_at: Option<Instant>,
    refusal: Option<Refusal>,
    pub(super) armed: Option<Instant>,
}

/// How far a client has come.
#[derive(Debug)]
enum Standing {
    /// It has not introduced itself.
    Unknown,
    /// The host decides about its key. What it says meanwhile waits; it is not read further.
    Introduced { public_key: [u8; 32], is_told: bool, waiting: Vec<Message> },
    /// It is served.
    Admitted,
}

/// A key that is listened on.
#[derive(Debug)]
struct Server {
    alias: u32,
    client_alias: u32,
    is_listening: bool,
}

/// A key that the client wants to listen on, and somebody else does. Goes to the client once it has signed.
#[derive(Debug)]
struct Claim {
    client_alias: u32,
    public_key: [u8; 32],
    signable: [u8; 64],
    expires: Instant,
}

#[derive(Debug)]
struct Stream {
    /// 0 before the stream is open.
    alias: u32,
    client_alias: Option<u32>,
    server: Option<ServerId>,
    handshake: u32,
    is_open: bool,
    /// The client writes nothing more.
    is_ended: bool,
    /// Neither does the peer.
    has_remote_ended: bool,
    /// When the client has to name a connection.
    named_by: Option<Instant>,
    /// The encryption, where the client has left it to the relay.
    clear: Option<Clear>,
    /// Bytes that have left for the client, which has not said that it read them.
    unread: usize,
    /// The peer has taken nothing since then, and these bytes came from the client nevertheless.
    blocked: Option<(Instant, usize)>,
}

impl Session {
    /// Begins with a client. With a seed, clients that give their keys away are served; with a ticket, those that come back.
    pub(super) fn new(
        limits: Limits,
        permissions: Permissions,
        custody: Option<[u8; 32]>,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Self {
        let mut mux = Mux::new();
        let channel = mux
            .open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() })
            .expect("first channel of a new mux");
        let mut session = Self {
            limits,
            mux,
            channel,
            credit: None,
            questions: None,
            ticket,
            claimed: None,
            window: Window::new(false),
            first: None,
            held_until: None,
            permissions,
            standing: Standing::Unknown,
            topics: BTreeMap::new(),
            half_open: 0,
            last_number: 0,
            queries: BTreeMap::new(),
            asked: BTreeMap::new(),
            servers: BTreeMap::new(),
            streams: BTreeMap::new(),
            by_client_alias: BTreeMap::new(),
            by_own_alias: BTreeMap::new(),
            by_handshake: BTreeMap::new(),
            signatures: BTreeMap::new(),
            claims: BTreeMap::new(),
            custody: custody.map(|seed| Box::new(Custody::new(seed))),
            bucket: Bucket::new(now),
            turned_down: 0,
            outbox: Outbox::default(),
            frame_len: 0,
            overrun: 0,
            heard: now,
            ping_at: now + PING_INTERVAL,
            check_at: Some(now + limits.handshake_timeout),
            refusal: None,
            armed: None,
        };
        session.collect();
        session
    }

    /// Returns why the link has to be closed.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Returns whether the client has to wait with more frames.
    pub(super) fn is_paused(&self) -> bool {
        self.overrun > self.limits.send_buffer || matches!(self.standing, Standing::Introduced { .. })
    }

    /// Returns the key that the host has to decide about, once.
    pub(super) fn poll_introduction(&mut self) -> Option<[u8; 32]> {
        match &mut self.standing {
            Standing::Introduced { public_key, is_told, .. } if !*is_told => {
                *is_told = true;
                Some(*public_key)
            }
            _ => None,
        }
    }

    /// Serves the client from here on.
    pub(super) fn admit(&mut self, backend: &mut impl Backend, now: Instant) {
        if let Standing::Introduced { waiting, .. } =
            core::mem::replace(&mut self.standing, Standing::Admitted)
        {
            for message in waiting {
                self.handle(message, backend, now);
            }
        }
    }

    /// Returns how much this link holds of each resource.
    pub(super) fn usage(&self) -> Usage {
        [self.streams.len(), self.half_open, self.servers.len() + self.claims.len(), self.topics.len()]
            .map(|held| held as u64)
    }

    /// Returns how many queries run.
    pub(super) fn queries(&self) -> usize {
        self.queries.len() + self.asked.len()
    }

    /// Returns how many bytes wait for the client.
    pub(super) fn queued(&self) -> usize {
        self.outbox.queued()
    }

    /// Returns whether there is a frame to send.
    pub(super) fn has_frame(&self) -> bool {
        self.held_until.is_none() && (self.has_urgent() || self.next_len().is_some())
    }

    /// Returns the length of the next frame, about, if there is one and it may be sent.
    fn next_len(&self) -> Option<usize> {
        let len = self.outbox.next_len()?;
        (len <= self.window.room()).then_some(len)
    }

    /// Returns the next frame. Whoever takes it has room for it on the wire: that is what lets the peers send more.
    pub(super) fn poll_frame(&mut self, backend: &mut impl Backend, now: Instant) -> Option<Bytes> {
        if self.held_until.is_some() {
            return None;
        }
        if let Some(frame) = self.poll_urgent() {
            return Some(frame);
        }
        self.next_len()?;
        let frame = self.pop_frame(backend)?;
        self.window.handle_sent(&frame, now);
        Some(frame)
    }

    fn pop_frame(&mut self, backend: &mut impl Backend) -> Option<Bytes> {
        let data = match self.outbox.pop()? {
            Outbound::Frame(bytes) => return Some(bytes),
            Outbound::Data(data) => data,
        };
        match self.streams.get_mut(&data.connection) {
            Some(stream) if self.credit.is_some() => stream.unread += data.credit,
            _ => backend.consumed(data.connection, data.credit),
        }
        let Data { alias, chunks, tail, len, is_whole, .. } = *data;
        if is_whole {
            let count = chunks.len() as u64;
            let data_len = chunks.iter().map(|chunk| buffer_len_of(chunk.len())).sum::<usize>();
            self.mux.send_with(self.channel, DATA, 4 + uint_len(count) + data_len, |writer| {
                writer.u32(alias);
                writer.uint(count);
                for chunk in &chunks {
                    writer.uint(chunk.len() as u64);
                    writer.raw(chunk);
                }
            });
        } else {
            let data_len = buffer_len_of(len);
            self.mux.send_with(self.channel, DATA, 4 + 1 + data_len, |writer| {
                writer.u32(alias);
                writer.uint(1);
                writer.uint(len as u64);
                for chunk in &chunks {
                    writer.raw(chunk);
                }
                writer.raw(&tail);
            });
        }
        self.mux.poll_transmit().map(|frame| frame.into_plain())
    }

    /// Takes a frame.
    pub(super) fn handle_frame(&mut self, frame: Bytes, backend: &mut impl Backend, now: Instant) {
        if self.refusal.is_some() {
            return;
        }
        self.heard = now;
        self.frame_len = frame.len();
        if self.takes_ack(&frame) {
            return;
        }
        self.window.handle_received(frame.len(), now);
        if !self.mux.is_ready() {
            // Channels that we do not know are rejected at once, so nothing stays undecided.
            self.refuse(Refusal::Malformed);
            return;
        }
        self.mux.handle_message(frame);
        loop {
            match self.mux.poll_event() {
                Ok(None) => break,
                Ok(Some(event)) => self.handle_mux_event(event, backend, now),
                Err(_) => self.refuse(Refusal::Malformed),
            }
            if self.refusal.is_some() {
                return;
            }
        }
        self.collect();
    }

    /// Lets go of everything, and returns how many streams go on. Announced keys are left to expire: their owner cannot sign any
    /// more.
    pub(super) fn close(&mut self, backend: &mut impl Backend) -> usize {
        for operation in core::mem::take(&mut self.queries).into_keys() {
            backend.cancel(operation);
        }
        for operation in core::mem::take(&mut self.asked).into_keys() {
            backend.cancel(operation);
        }
        for (id, _) in core::mem::take(&mut self.signatures).into_values() {
            backend.signed(id, None);
        }
        for server in core::mem::take(&mut self.servers).into_keys() {
            backend.close_server(server, false);
        }
        let mut streams = 0;
        for (connection, stream) in core::mem::take(&mut self.streams) {
            // Whoever ends a stream and goes does not mean to take back what it has sent: it is on its way until the peer has
            // it, or is not heard any more.
            if stream.is_ended && stream.has_remote_ended {
                backend.let_go(connection);
                streams += 1;
            } else {
                backend.destroy(connection);
            }
        }
        streams
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, backend: &mut impl Backend, now: Instant) {
        if self.refusal.is_some() {
            return;
        }
        self.window.handle_timeout(now);
        if self.is_paused() {
            // Nothing is read, so nothing can be heard.
            self.heard = now;
        }
        if self.heard + self.limits.idle_timeout <= now {
            self.refuse(Refusal::Silent);
            return;
        }
        if self.ping_at <= now {
            self.ping_at = now + PING_INTERVAL;
            self.send(&Message::Ping);
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check_at = None;
            self.check(backend, now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.refusal.is_some() {
            return self.held_until;
        }
        let heard_until = self.heard + self.limits.idle_timeout;
        [Some(self.ping_at), Some(heard_until), self.check_at, self.held_until, self.window.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn check(&mut self, backend: &mut impl Backend, now: Instant) {
        if matches!(self.standing, Standing::Unknown) {
            self.refuse(Refusal::NoHandshake);
            return;
        }
        self.check_custody(backend, now);
        let mut next = None;
        let mut later = |at: Instant| next = Some(next.map_or(at, |other: Instant| other.min(at)));
        let mut late_signatures = Vec::new();
        for (id, (_, expires)) in &self.signatures {
            if *expires <= now { late_signatures.push(*id) } else { later(*expires) }
        }
        let mut late_claims = Vec::new();
        for (id, claim) in &self.claims {
            if claim.expires <= now { late_claims.push(*id) } else { later(claim.expires) }
        }
        let mut late_streams = Vec::new();
        for (connection, stream) in &self.streams {
            let blocked_until = stream.blocked.map(|(since, _)| since + self.limits.blocked_timeout);
            for at in [stream.named_by, blocked_until].into_iter().flatten() {
                if at <= now { late_streams.push(*connection) } else { later(at) }
            }
        }
        let mut late_questions = Vec::new();
        for (operation, asked) in &self.asked {
            match asked.expires {
                Some(at) if at <= now => late_questions.push(*operation),
                Some(at) => later(at),
                None => {}
            }
        }
        self.topics.retain(|_, until| *until > now);
        for operation in late_questions {
            self.asked.remove(&operation);
            backend.cancel(operation);
        }
        for id in late_signatures {
            if let Some((id, _)) = self.signatures.remove(&id) {
                backend.signed(id, None);
            }
        }
        for id in late_claims {
            if let Some(claim) = self.claims.remove(&id) {
                self.turn_away(claim.client_alias, backend);
            }
        }
        for connection in late_streams {
            backend.destroy(connection);
            self.stream_over(connection, Some(TIMED_OUT.to_string()));
        }
        if let Some(at) = next {
            self.check_by(at);
        }
    }

    /// Reports whether the client may search once more beside the searches that run.
    fn may_query(&self, backend: &mut impl Backend) -> bool {
        let may = self.queries() < self.limits.queries;
        if !may {
            backend.turned_down("queries", Scope::Link.name());
        }
        may
    }

    /// Counts a topic that the client announces, and reports whether it may.
    fn may_announce(&mut self, topic: [u8; 32], backend: &mut impl Backend, now: Instant) -> bool {
        self.topics.retain(|_, until| *until > now);
        let may = self.topics.contains_key(&topic) || !backend.full(Resource::Topics, self.topics.len());
        if may {
            self.topics.insert(topic, now + TOPIC_LIFE);
        }
        may
    }

    fn check_by(&mut self, at: Instant) {
        self.check_at = Some(self.check_at.map_or(at, |other| other.min(at)));
    }

    /// Counts a request that starts something, and reports whether it may.
    fn allows(&mut self, has_room: bool, backend: &mut impl Backend, now: Instant) -> bool {
        let Limits { burst, per_second, .. } = self.limits;
        let rate = Rate { burst: burst.into(), per_second: per_second.into(), seconds: 1 };
        let is_allowed = has_room && self.bucket.has(rate, now);
        if is_allowed {
            self.bucket.take(rate, 1, now);
        } else if has_room {
            backend.turned_down("requests", Scope::Link.name());
        }
        // A balance, not a run: on a slow machine the bucket gains a request now and then in the middle of a flood.
        self.turned_down = if is_allowed { self.turned_down.saturating_sub(1) } else { self.turned_down + 1 };
        if self.turned_down > self.limits.turned_down {
            self.refuse(Refusal::TooManyRequests);
        }
        is_allowed
    }

    fn open_alias(&self, connection: ConnectionId) -> Option<u32> {
        self.streams.get(&connection).filter(|stream| stream.is_open).map(|stream| stream.alias)
    }

    /// Ends a stream that the other side ended, and tells the client unless it ended in order.
    fn stream_over(&mut self, connection: ConnectionId, error: Option<String>) {
        let Some(stream) = self.forget_stream(connection) else { return };
        let alias = match (stream.is_open, stream.client_alias) {
            (true, _) => StreamAlias::Own(stream.alias),
            (false, Some(alias)) => StreamAlias::Remote(alias),
            // The client has not heard of it as a stream.
            (false, None) => return,
        };
        if error.is_some() {
            self.send(&Message::Destroy { alias, error });
        }
    }

    /// Ends a stream that the client gave up.
    fn drop_stream(&mut self, connection: ConnectionId, backend: &mut impl Backend) {
        if self.forget_stream(connection).is_some() {
            // What waits for the client is of no use, and its bytes are nobody's credit any more.
            self.outbox.forget(connection);
            backend.destroy(connection);
        }
    }

    fn forget_stream(&mut self, connection: ConnectionId) -> Option<Stream> {
        let stream = self.streams.remove(&connection)?;
        if let Some(custody) = &mut self.custody {
            custody.forget_stream(connection, stream.client_alias);
        }
        if !stream.is_open {
            self.half_open = self.half_open.saturating_sub(1);
        }
        self.by_handshake.remove(&stream.handshake);
        if let Some(alias) = stream.client_alias {
            self.by_client_alias.remove(&alias);
        }
        if stream.alias != 0 {
            self.by_own_alias.remove(&stream.alias);
        }
        if let Some((_, bytes)) = stream.blocked {
            self.overrun = self.overrun.saturating_sub(bytes);
        }
        Some(stream)
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    fn send(&mut self, message: &Message) {
        self.mux.send_encoded(self.channel, message.message_type(), message);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(frame) = self.mux.poll_transmit() {
            self.outbox.push_frame(frame.into_plain());
        }
        if self.outbox.frames() > self.limits.control_buffer {
            self.refuse(Refusal::NotReading);
        }
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            alias: 0,
            client_alias: None,
            server: None,
            handshake: 0,
            is_open: false,
            is_ended: false,
            has_remote_ended: false,
            named_by: None,
            clear: None,
            unread: 0,
            blocked: None,
        }
    }
}

/// Returns the bytes of a buffer of `len` bytes with its length.
fn buffer_len_of(len: usize) -> usize {
    uint_len(len as u64) + len
}

/// Number of the data message.
const DATA: u64 = 16;

/// Messages of a client that wait until the host has decided about it: one frame holds half a million.
const MAX_WAITING: usize = 4096;

/// How often the relay pings, as upstream.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Bytes that a peer may always send ahead.
const MIN_RECEIVE_LIMIT: usize = 64 * 1024;

/// Bytes that a peer may send ahead at most: 20 MB/s at 50 ms.
const MAX_RECEIVE_LIMIT: usize = 1024 * 1024;

/// Error of a dial that the limits do not allow.
const BUSY: &str = "RELAY_BUSY: Too many streams or requests on this relay";

/// Counts what the client has no right to, and reports whether it has.
fn is_permitted(right: bool, resource: &'static str, backend: &mut impl Backend) -> bool {
    if !right {
        backend.turned_down(resource, "token");
    }
    right
}

/// Error of a dial that the client has no right to.
const NOT_PERMITTED: &str = "RELAY_NOT_PERMITTED: What let this client in does not let it dial";

/// Error of a stream that a peer broke off.
const RESET: &str = "ECONNRESET: connection reset by peer";

/// Error of a stream that a peer let lie.
const TIMED_OUT: &str = "ETIMEDOUT: connection timed out";
