//! The relay's side of one link.
//!
//! Source: @hyperswarm/dht-relay 0.4.3, `lib/node-proxy.js`, `lib/server-proxy.js`, `lib/stream-proxy.js`.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::backend::Backend;
use super::limits::{Limits, Permissions, Refusal};
use super::messages::{
    HandshakeRef, LookupResult, Message, Node, NoiseStage, Peer, SignRequest, StreamAlias,
};
use super::quota::{Bucket, Rate, Resource, TOPIC_LIFE, Usage};
use super::{PROTOCOL, next_number, signing};
use crate::collections::BTreeMap;
use crate::compact_encoding::{Encode, uint_len};
use crate::crypto;
use crate::dht::{
    ConnectError, ConnectionId, LookupReply, OperationId, ServerId, SignatureId, SignatureRequest, Signee,
    StreamError,
};
use crate::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use crate::time::{Duration, Instant};

/// One client of a relay.
///
/// Everything that a client names is looked up among what this session made, so no client reaches another's.
#[derive(Debug)]
pub(super) struct Session {
    limits: Limits,
    mux: Mux,
    channel: ChannelId,
    permissions: Permissions,
    standing: Standing,
    /// Announced topics, and until when they count.
    topics: BTreeMap<[u8; 32], Instant>,
    /// Streams that are not open.
    half_open: usize,
    last_number: u32,
    queries: BTreeMap<OperationId, u32>,
    servers: BTreeMap<ServerId, Server>,
    streams: BTreeMap<ConnectionId, Stream>,
    by_client_alias: BTreeMap<u32, ConnectionId>,
    by_own_alias: BTreeMap<u32, ConnectionId>,
    by_handshake: BTreeMap<u32, ConnectionId>,
    signatures: BTreeMap<u32, (SignatureId, Instant)>,
    claims: BTreeMap<u32, Claim>,
    bucket: Bucket,
    /// Requests turned down, less those taken since.
    turned_down: u32,
    outbox: VecDeque<Outbound>,
    /// Bytes in `outbox` that are no stream's.
    control_bytes: usize,
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
    /// When the client has to name a connection.
    named_by: Option<Instant>,
    /// The peer has taken nothing since then, and these bytes came from the client nevertheless.
    blocked: Option<(Instant, usize)>,
}

#[derive(Debug)]
enum Outbound {
    Frame(Bytes),
    /// Bytes of a stream that go into one message.
    Data {
        connection: ConnectionId,
        alias: u32,
        chunks: Vec<Bytes>,
        len: usize,
    },
}

impl Session {
    pub(super) fn new(limits: Limits, permissions: Permissions, now: Instant) -> Self {
        let mut mux = Mux::new();
        let channel = mux
            .open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() })
            .expect("first channel of a new mux");
        let mut session = Self {
            limits,
            mux,
            channel,
            permissions,
            standing: Standing::Unknown,
            topics: BTreeMap::new(),
            half_open: 0,
            last_number: 0,
            queries: BTreeMap::new(),
            servers: BTreeMap::new(),
            streams: BTreeMap::new(),
            by_client_alias: BTreeMap::new(),
            by_own_alias: BTreeMap::new(),
            by_handshake: BTreeMap::new(),
            signatures: BTreeMap::new(),
            claims: BTreeMap::new(),
            bucket: Bucket::new(now),
            turned_down: 0,
            outbox: VecDeque::new(),
            control_bytes: 0,
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
        self.queries.len()
    }

    /// Returns how many bytes wait for the client.
    pub(super) fn queued(&self) -> usize {
        let data = self.outbox.iter().map(|item| match item {
            Outbound::Frame(_) => 0,
            Outbound::Data { len, .. } => *len,
        });
        self.control_bytes + data.sum::<usize>()
    }

    /// Returns whether there is a frame to send.
    pub(super) fn has_frame(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Returns the next frame. Whoever takes it has room for it on the wire: that is what lets the peers send more.
    pub(super) fn poll_frame(&mut self, backend: &mut impl Backend) -> Option<Bytes> {
        match self.outbox.pop_front()? {
            Outbound::Frame(bytes) => {
                self.control_bytes -= bytes.len();
                Some(bytes)
            }
            Outbound::Data { connection, alias, chunks, len } => {
                backend.consumed(connection, len);
                let data_len = buffer_len_of(len);
                self.mux.send_with(self.channel, DATA, 4 + 1 + data_len, |writer| {
                    writer.u32(alias);
                    writer.uint(1);
                    writer.uint(len as u64);
                    for chunk in &chunks {
                        writer.raw(chunk);
                    }
                });
                self.mux.poll_transmit().map(|frame| frame.into_plain())
            }
        }
    }

    /// Takes a frame.
    pub(super) fn handle_frame(&mut self, frame: Bytes, backend: &mut impl Backend, now: Instant) {
        if self.refusal.is_some() {
            return;
        }
        self.heard = now;
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

    /// Lets go of everything. Announced keys are left to expire: their owner cannot sign any more.
    pub(super) fn close(&mut self, backend: &mut impl Backend) {
        for operation in core::mem::take(&mut self.queries).into_keys() {
            backend.cancel(operation);
        }
        for (id, _) in core::mem::take(&mut self.signatures).into_values() {
            backend.signed(id, None);
        }
        for server in core::mem::take(&mut self.servers).into_keys() {
            backend.close_server(server, false);
        }
        for connection in core::mem::take(&mut self.streams).into_keys() {
            backend.destroy(connection);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, backend: &mut impl Backend, now: Instant) {
        if self.refusal.is_some() {
            return;
        }
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
            return None;
        }
        [Some(self.ping_at), Some(self.heard + self.limits.idle_timeout), self.check_at]
            .into_iter()
            .flatten()
            .min()
    }

    // What the DHT says.

    pub(super) fn found(&mut self, operation: OperationId, reply: LookupReply) {
        let Some(query) = self.queries.get(&operation).copied() else { return };
        let peers = reply.peers.into_iter().map(|peer| Peer {
            public_key: peer.public_key,
            relay_addresses: peer.relay_addresses.into_iter().map(Into::into).collect(),
        });
        let result = LookupResult {
            token: reply.token.unwrap_or_default(),
            from: Node { id: reply.from_id, address: reply.from.into() },
            to: Node { id: None, address: reply.to.into() },
            peers: peers.collect(),
        };
        self.send(&Message::Result { query, data: result.to_vec().into() });
    }

    pub(super) fn finished(&mut self, operation: OperationId) {
        if let Some(query) = self.queries.remove(&operation) {
            self.send(&Message::Finished { query });
        }
    }

    pub(super) fn sign(&mut self, request: SignatureRequest, backend: &mut impl Backend, now: Instant) {
        let signee = match request.signee {
            Signee::Operation(id) => self.queries.get(&id).copied(),
            Signee::Server(id) => self.servers.get(&id).map(|server| server.client_alias),
        };
        let Some(signee) = signee.filter(|_| self.signatures.len() < self.limits.signatures) else {
            backend.signed(request.id, None);
            return;
        };
        let id = next_number(&mut self.last_number);
        self.signatures.insert(id, (request.id, now + self.limits.answer_timeout));
        self.check_by(now + self.limits.answer_timeout);
        let message = SignRequest {
            id,
            signee,
            token: request.token,
            node_id: Bytes::copy_from_slice(&request.node_id),
            relay_addresses: request.relay_addresses.into_iter().map(Into::into).collect(),
        };
        self.send(&if request.is_unannounce {
            Message::SignUnannounce(message)
        } else {
            Message::SignAnnounce(message)
        });
    }

    pub(super) fn listening(&mut self, id: ServerId, backend: &mut impl Backend) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if !server.is_listening {
            server.is_listening = true;
            let (alias, remote_alias) = (server.alias, server.client_alias);
            self.send(&Message::Listening { alias, remote_alias, address: backend.public_address() });
        }
    }

    /// Takes the end of a server: on demand, or because the key went to another link.
    pub(super) fn server_closed(&mut self, id: ServerId, backend: &mut impl Backend) {
        // A client knows our alias, which is what `closed` names, from `listening` only.
        self.listening(id, backend);
        if let Some(server) = self.servers.remove(&id) {
            self.send(&Message::Closed { alias: server.alias });
        }
    }

    pub(super) fn noise_send(
        &mut self,
        connection: ConnectionId,
        payload: Bytes,
        backend: &mut impl Backend,
    ) {
        let Some(stream) = self.streams.get_mut(&connection) else {
            backend.destroy(connection);
            return;
        };
        if stream.handshake == 0 {
            stream.handshake = next_number(&mut self.last_number);
            self.by_handshake.insert(stream.handshake, connection);
        }
        let initiator = if stream.server.is_none() { stream.client_alias } else { None };
        let id = stream.handshake;
        self.send(&Message::NoiseSend { id, initiator, payload });
    }

    pub(super) fn noise_receive(
        &mut self,
        connection: ConnectionId,
        server: Option<ServerId>,
        message: Bytes,
        backend: &mut impl Backend,
    ) {
        let Some(server) = server else {
            match self.streams.get(&connection) {
                Some(stream) if stream.handshake != 0 => {
                    let id = stream.handshake;
                    self.send(&Message::NoiseReceive { id, server_alias: None, message });
                }
                _ => backend.deny(connection),
            }
            return;
        };
        let is_full = backend.full(Resource::Streams, self.streams.len())
            || backend.full(Resource::Handshakes, self.half_open);
        let Some(server_alias) = self.servers.get(&server).map(|server| server.alias).filter(|_| !is_full)
        else {
            backend.deny(connection);
            return;
        };
        let id = next_number(&mut self.last_number);
        self.by_handshake.insert(id, connection);
        let stream = Stream { server: Some(server), handshake: id, ..Stream::new() };
        self.streams.insert(connection, stream);
        self.half_open += 1;
        self.send(&Message::NoiseReceive { id, server_alias: Some(server_alias), message });
    }

    pub(super) fn connected(
        &mut self,
        connection: ConnectionId,
        remote_public_key: [u8; 32],
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let share = self.limits.receive_buffer / self.streams.len().max(1);
        let server_alias = |id: &ServerId| self.servers.get(id).map(|server| server.alias);
        let Some(stream) = self.streams.get_mut(&connection) else {
            backend.destroy(connection);
            return;
        };
        let alias = next_number(&mut self.last_number);
        stream.alias = alias;
        stream.is_open = true;
        self.half_open = self.half_open.saturating_sub(1);
        let handshake = HandshakeRef::Id(stream.handshake);
        self.by_handshake.remove(&stream.handshake);
        self.by_own_alias.insert(alias, connection);
        let message = match (stream.server, stream.client_alias) {
            (Some(server), _) => {
                // A server that was closed meanwhile has no alias any more.
                let Some(server_alias) = server_alias(&server) else {
                    self.drop_stream(connection, backend);
                    return;
                };
                stream.named_by = Some(now + self.limits.answer_timeout);
                Message::Connection { alias, server_alias, remote_public_key, handshake }
            }
            (None, Some(remote_alias)) => Message::Open { alias, remote_alias, handshake },
            (None, None) => return,
        };
        if stream.named_by.is_some() {
            self.check_by(now + self.limits.answer_timeout);
        }
        let limit = share.clamp(MIN_RECEIVE_LIMIT, MAX_RECEIVE_LIMIT);
        backend.set_receive_limit(connection, u32::try_from(limit).unwrap_or(u32::MAX));
        self.send(&message);
    }

    pub(super) fn failed(&mut self, connection: ConnectionId, error: ConnectError) {
        self.stream_over(connection, Some(error.to_string()));
    }

    pub(super) fn data(&mut self, connection: ConnectionId, bytes: Bytes, backend: &mut impl Backend) {
        let Some(alias) = self.open_alias(connection) else {
            backend.destroy(connection);
            return;
        };
        match self.outbox.back_mut() {
            Some(Outbound::Data { connection: last, chunks, len, .. })
                if *last == connection && *len + bytes.len() <= MAX_DATA =>
            {
                *len += bytes.len();
                chunks.push(bytes);
            }
            _ => {
                let len = bytes.len();
                let chunks = alloc::vec![bytes];
                self.outbox.push_back(Outbound::Data { connection, alias, chunks, len });
            }
        }
    }

    pub(super) fn drain(&mut self, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&connection)
            && let Some((_, bytes)) = stream.blocked.take()
        {
            self.overrun = self.overrun.saturating_sub(bytes);
        }
    }

    pub(super) fn ended(&mut self, connection: ConnectionId) {
        if let Some(alias) = self.open_alias(connection) {
            self.send(&Message::End { alias });
        }
    }

    pub(super) fn closed(&mut self, connection: ConnectionId, error: Option<StreamError>) {
        let error = error.map(|error| match error {
            StreamError::TimedOut => TIMED_OUT.to_string(),
            _ => RESET.to_string(),
        });
        self.stream_over(connection, error);
    }

    // What the client says.

    fn handle_mux_event(&mut self, event: MuxEvent, backend: &mut impl Backend, now: Instant) {
        match event {
            MuxEvent::RemoteOpen { open, .. } => self.mux.reject(open),
            MuxEvent::Message { channel, message_type, payload } if channel == self.channel => {
                match Message::decode(message_type, &payload) {
                    Ok(Some(message)) => self.handle(message, backend, now),
                    Ok(None) => {}
                    Err(_) => self.refuse(Refusal::Malformed),
                }
            }
            MuxEvent::Closed { channel } if channel == self.channel => self.refuse(Refusal::ChannelClosed),
            MuxEvent::Opened { .. } | MuxEvent::Message { .. } | MuxEvent::Closed { .. } => {}
        }
    }

    fn handle(&mut self, message: Message, backend: &mut impl Backend, now: Instant) {
        if message.is_custodial() {
            self.refuse(Refusal::Custodial);
            return;
        }
        // Upstream's relay hears nothing before the handshake either.
        match &mut self.standing {
            Standing::Unknown => {
                match message {
                    Message::Handshake { public_key, .. } => {
                        let waiting = Vec::new();
                        self.standing = Standing::Introduced { public_key, is_told: false, waiting };
                    }
                    Message::Ping => self.send(&Message::Pong),
                    _ => {}
                }
                return;
            }
            // No more than came in the same frame.
            Standing::Introduced { waiting, .. } => {
                waiting.push(message);
                return;
            }
            Standing::Admitted => {}
        }
        match message {
            Message::Ping => self.send(&Message::Pong),
            Message::Lookup { query, topic } => {
                let is_permitted = self.permissions.lookup;
                self.query(query, is_permitted, now, |backend| backend.lookup(topic), backend);
            }
            Message::Announce { query, topic, public_key, .. } => {
                let is_permitted = self.permissions.announce && self.may_announce(topic, backend, now);
                self.query(query, is_permitted, now, |backend| backend.announce(topic, public_key), backend);
            }
            Message::Unannounce { query, topic, public_key, .. } => {
                let is_permitted = self.permissions.announce;
                self.topics.remove(&topic);
                self.query(
                    query,
                    is_permitted,
                    now,
                    |backend| backend.unannounce(topic, public_key),
                    backend,
                );
            }
            Message::Signature { id, signature } => self.signature(id, &signature, backend),
            Message::Connect { alias, public_key, remote_public_key, .. } => {
                self.connect(alias, public_key, remote_public_key, backend, now);
            }
            Message::Listen { alias, public_key, .. } => self.listen(alias, public_key, backend, now),
            Message::Close { alias } => self.close_server(alias, backend),
            Message::NoiseReply { id, payload, stage } => self.noise_reply(id, payload, stage, backend),
            Message::Connected { alias, remote_alias } => self.name(alias, remote_alias, backend),
            Message::Data { alias, chunks } => {
                let Some(connection) = self.by_client_alias.get(&alias).copied() else { return };
                for chunk in chunks {
                    self.write(connection, chunk, backend, now);
                }
            }
            Message::End { alias } => {
                let Some(connection) = self.by_client_alias.get(&alias).copied() else { return };
                let Some(stream) = self.streams.get_mut(&connection) else { return };
                if stream.is_open && !stream.is_ended {
                    stream.is_ended = true;
                    backend.end(connection);
                }
            }
            Message::Destroy { alias, .. } => {
                let connection = match alias {
                    StreamAlias::Own(alias) => self.by_client_alias.get(&alias).copied(),
                    StreamAlias::Remote(alias) => self.by_own_alias.get(&alias).copied(),
                };
                if let Some(connection) = connection {
                    self.drop_stream(connection, backend);
                }
            }
            // Answers, what custodial servers are told, and what only a client is told.
            _ => {}
        }
    }

    fn query<B: Backend>(
        &mut self,
        query: u32,
        is_permitted: bool,
        now: Instant,
        start: impl FnOnce(&mut B) -> OperationId,
        backend: &mut B,
    ) {
        if self.queries.values().any(|other| *other == query) {
            self.refuse(Refusal::NumberInUse);
        } else if self.allows(is_permitted && self.queries.len() < self.limits.queries, now)
            && backend.take_lookup()
        {
            let operation = start(backend);
            self.queries.insert(operation, query);
        } else {
            self.send(&Message::Finished { query });
        }
    }

    fn connect(
        &mut self,
        alias: u32,
        public_key: [u8; 32],
        remote_public_key: [u8; 32],
        backend: &mut impl Backend,
        now: Instant,
    ) {
        if self.by_client_alias.contains_key(&alias) {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let has_room = !backend.full(Resource::Streams, self.streams.len())
            && !backend.full(Resource::Handshakes, self.half_open);
        if !self.permissions.dial {
            let error = Some(NOT_PERMITTED.to_string());
            self.send(&Message::Destroy { alias: StreamAlias::Remote(alias), error });
        } else if self.allows(has_room, now) {
            let connection = backend.connect(public_key, remote_public_key);
            let stream = Stream { client_alias: Some(alias), ..Stream::new() };
            self.streams.insert(connection, stream);
            self.half_open += 1;
            self.by_client_alias.insert(alias, connection);
        } else {
            let error = Some(BUSY.to_string());
            self.send(&Message::Destroy { alias: StreamAlias::Remote(alias), error });
        }
    }

    fn listen(&mut self, alias: u32, public_key: [u8; 32], backend: &mut impl Backend, now: Instant) {
        let is_taken = self.servers.values().any(|server| server.client_alias == alias)
            || self.claims.values().any(|claim| claim.client_alias == alias);
        if is_taken {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let held = self.servers.len() + self.claims.len();
        let has_room = self.permissions.listen && !backend.full(Resource::Listens, held);
        if !self.allows(has_room, now) {
            self.turn_away(alias, backend);
        } else if let Some(server) = backend.listen(public_key) {
            self.serve(server, alias);
        } else {
            self.claim(alias, public_key, now);
        }
    }

    fn serve(&mut self, server: ServerId, client_alias: u32) {
        let alias = next_number(&mut self.last_number);
        self.servers.insert(server, Server { alias, client_alias, is_listening: false });
    }

    /// Refuses a listen in the way that upstream's client understands.
    fn turn_away(&mut self, client_alias: u32, backend: &mut impl Backend) {
        let alias = next_number(&mut self.last_number);
        let address = backend.public_address();
        self.send(&Message::Listening { alias, remote_alias: client_alias, address });
        self.send(&Message::Closed { alias });
    }

    /// Asks for a proof that the client owns a key that another link listens on: a signature that no node would take.
    fn claim(&mut self, client_alias: u32, public_key: [u8; 32], now: Instant) {
        let id = next_number(&mut self.last_number);
        let target = crypto::blake2b_256(&[&public_key]);
        // Neither is secret, but no claim is like another: time and number differ.
        let token =
            crypto::blake2b_256(&[b"hypertab/claim", &now.as_micros().to_le_bytes(), &id.to_le_bytes()]);
        let node_id = crypto::blake2b_256(&[b"hypertab/claim", &token, &public_key]);
        let signable = signing::announce_signable(false, &target, &node_id, &token, &public_key, &[]);
        let expires = now + self.limits.answer_timeout;
        self.claims.insert(id, Claim { client_alias, public_key, signable, expires });
        self.check_by(expires);
        self.send(&Message::SignAnnounce(SignRequest {
            id,
            signee: client_alias,
            token,
            node_id: Bytes::copy_from_slice(&node_id),
            relay_addresses: Vec::new(),
        }));
    }

    fn signature(&mut self, id: u32, signature: &[u8], backend: &mut impl Backend) {
        let signature: Option<[u8; 64]> = signature.try_into().ok();
        if let Some((id, _)) = self.signatures.remove(&id) {
            backend.signed(id, signature);
            return;
        }
        let Some(claim) = self.claims.remove(&id) else { return };
        let is_proven =
            signature.is_some_and(|signature| crypto::verify(&claim.signable, &signature, &claim.public_key));
        if is_proven {
            backend.take_over(claim.public_key);
        }
        match backend.listen(claim.public_key).filter(|_| is_proven) {
            Some(server) => self.serve(server, claim.client_alias),
            None => self.turn_away(claim.client_alias, backend),
        }
    }

    fn close_server(&mut self, client_alias: u32, backend: &mut impl Backend) {
        let claim = self.claims.iter().find(|(_, claim)| claim.client_alias == client_alias);
        if let Some(id) = claim.map(|(id, _)| *id) {
            self.claims.remove(&id);
            self.turn_away(client_alias, backend);
        }
        let server = self.servers.iter().find(|(_, server)| server.client_alias == client_alias);
        if let Some(id) = server.map(|(id, _)| *id) {
            backend.close_server(id, true);
        }
    }

    fn noise_reply(&mut self, id: u32, payload: Bytes, stage: NoiseStage, backend: &mut impl Backend) {
        let Some(connection) = self.by_handshake.get(&id).copied() else { return };
        let Some(stream) = self.streams.get(&connection) else { return };
        match (stream.server.is_some(), stage) {
            (false, NoiseStage::Initiated) => backend.noise_sent(connection, payload, None),
            (false, NoiseStage::Complete { is_initiator: true, holepunch_secret, .. }) => {
                backend.noise_received(connection, payload, None, Some(holepunch_secret));
            }
            (true, NoiseStage::Received { .. }) if payload.is_empty() => {
                self.forget_stream(connection);
                backend.deny(connection);
            }
            (true, NoiseStage::Received { remote_public_key }) => {
                backend.noise_received(connection, payload, Some(remote_public_key), None);
            }
            (true, NoiseStage::Complete { is_initiator: false, holepunch_secret, .. }) => {
                backend.noise_sent(connection, payload, Some(holepunch_secret));
            }
            _ => {}
        }
    }

    /// Takes the client's alias for a connection.
    fn name(&mut self, alias: u32, own_alias: u32, backend: &mut impl Backend) {
        let Some(connection) = self.by_own_alias.get(&own_alias).copied() else { return };
        if self.by_client_alias.contains_key(&alias) {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let Some(stream) = self.streams.get_mut(&connection) else {
            backend.destroy(connection);
            return;
        };
        if stream.client_alias.is_none() {
            stream.client_alias = Some(alias);
            stream.named_by = None;
            self.by_client_alias.insert(alias, connection);
        }
    }

    fn write(&mut self, connection: ConnectionId, bytes: Bytes, backend: &mut impl Backend, now: Instant) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        if !stream.is_open || stream.is_ended || bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        if backend.write(connection, bytes) == Some(false) {
            let (since, held) = stream.blocked.unwrap_or((now, 0));
            stream.blocked = Some((since, held.saturating_add(len)));
            self.overrun = self.overrun.saturating_add(len);
            self.check_by(since + self.limits.blocked_timeout);
        }
    }

    // Inside.

    fn check(&mut self, backend: &mut impl Backend, now: Instant) {
        if matches!(self.standing, Standing::Unknown) {
            self.refuse(Refusal::NoHandshake);
            return;
        }
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
        self.topics.retain(|_, until| *until > now);
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
    fn allows(&mut self, has_room: bool, now: Instant) -> bool {
        let Limits { burst, per_second, .. } = self.limits;
        let rate = Rate { burst: burst.into(), per_second: per_second.into(), seconds: 1 };
        let is_allowed = has_room && self.bucket.has(rate, now);
        if is_allowed {
            self.bucket.take(rate, 1, now);
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
            self.outbox.retain(
                |item| !matches!(item, Outbound::Data { connection: other, .. } if *other == connection),
            );
            backend.destroy(connection);
        }
    }

    fn forget_stream(&mut self, connection: ConnectionId) -> Option<Stream> {
        let stream = self.streams.remove(&connection)?;
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
            let bytes = frame.into_plain();
            self.control_bytes += bytes.len();
            self.outbox.push_back(Outbound::Frame(bytes));
        }
        if self.control_bytes > self.limits.control_buffer {
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
            named_by: None,
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

/// Most bytes of one data message, so that streams take turns.
const MAX_DATA: usize = 64 * 1024;

/// How often the relay pings, as upstream.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Bytes that a peer may always send ahead.
const MIN_RECEIVE_LIMIT: usize = 64 * 1024;

/// Bytes that a peer may send ahead at most: 20 MB/s at 50 ms.
const MAX_RECEIVE_LIMIT: usize = 1024 * 1024;

/// Error of a dial that the limits do not allow.
const BUSY: &str = "RELAY_BUSY: Too many streams or requests on this relay";

/// Error of a dial that the client has no right to.
const NOT_PERMITTED: &str = "RELAY_NOT_PERMITTED: What let this client in does not let it dial";

/// Error of a stream that a peer broke off.
const RESET: &str = "ECONNRESET: connection reset by peer";

/// Error of a stream that a peer let lie.
const TIMED_OUT: &str = "ETIMEDOUT: connection timed out";
