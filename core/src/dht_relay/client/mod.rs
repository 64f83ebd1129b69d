//! The tab's side of a relay.
//!
//! Source: @hyperswarm/dht-relay 0.4.3, `lib/node.js`, `lib/stream.js`, `lib/server.js`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddrV4;

use bytes::Bytes;
use zeroize::Zeroize;

mod events;
mod questions;

pub use events::{
    ClientEvent, Failure, IncomingId, QueryError, QueryId, ServerId, Signee, Signer, StreamError, StreamId,
};

use questions::Questions;

use super::credit::{Credit, STEP};
use super::handshakes::{Handshakes, Owner};
use super::messages::{HandshakeRef, LookupResult, Message, SignRequest, StreamAlias};
use super::queries::AnnounceTerms;
use super::{next_number, signing};
use crate::collections::BTreeMap;
use crate::compact_encoding::Decode;
use crate::crypto::{self, KeyPair};
use crate::error::Misuse;
use crate::time::{Duration, Instant};

/// One relay, as a client sees it.
///
/// Carries no bytes: its owner opens the channel, hands messages in and takes messages out, and keeps the link. After any
/// `&mut self` call, drain [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit), then arm a timer
/// from [`poll_timeout`](Self::poll_timeout). Streams carry the frames of secret streams: whoever owns them writes as many
/// bytes as fit its credit, and [`ClientEvent::Sent`] gives the credit back.
pub struct Client {
    seed: [u8; 32],
    /// Ephemeral keys made from the seed so far.
    ephemerals: u64,
    last_number: u32,
    queries: BTreeMap<u32, Query>,
    questions: Questions,
    streams: BTreeMap<u32, Stream>,
    /// Our alias for each alias of the relay's.
    streams_by_remote: BTreeMap<u32, u32>,
    servers: BTreeMap<u32, Server>,
    servers_by_remote: BTreeMap<u32, u32>,
    handshakes: Handshakes,
    control: VecDeque<Message>,
    /// What the relay is to be told of streams that were read.
    credits: VecDeque<Credit>,
    /// Streams with something to write, in turn.
    ready: VecDeque<u32>,
    events: VecDeque<ClientEvent>,
    heard: Instant,
    /// When the relay was asked for a sign of life that is not here yet.
    pinged: Option<Instant>,
    /// The relay opened the channel.
    is_open: bool,
    /// The owner knows that the relay is there.
    is_ready: bool,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Query {
    target: [u8; 32],
    signer: Option<Signer>,
    expires: Instant,
}

#[derive(Debug)]
struct Server {
    key_pair: KeyPair,
    target: [u8; 32],
    asks: bool,
    signs_elsewhere: bool,
    remote_alias: Option<u32>,
    /// Nodes through which it is reached, from a relay that names them.
    nodes: Vec<SocketAddrV4>,
    is_closing: bool,
}

#[derive(Debug)]
struct Stream {
    state: StreamState,
    /// Not sent yet. Bounded by the writer's credit and [`MAX_STREAM_QUEUE`].
    queue: VecDeque<Bytes>,
    /// Bytes in `queue`.
    queued: usize,
    end: End,
    has_remote_ended: bool,
    /// Bytes that were read and the relay was not told of.
    read: u32,
}

#[derive(Debug)]
enum StreamState {
    Dialling { key_pair: Box<KeyPair>, remote_public_key: [u8; 32], expires: Instant },
    Open { remote_alias: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// Due once the queue is empty.
    Wanted,
    Sent,
}

impl Client {
    /// Introduces the client by its default key. `seed` serves no other purpose and is never used twice.
    pub fn new(public_key: [u8; 32], seed: [u8; 32], now: Instant) -> Self {
        let mut client = Self {
            seed,
            ephemerals: 0,
            last_number: 0,
            queries: BTreeMap::new(),
            questions: Questions::default(),
            streams: BTreeMap::new(),
            streams_by_remote: BTreeMap::new(),
            servers: BTreeMap::new(),
            servers_by_remote: BTreeMap::new(),
            handshakes: Handshakes::default(),
            control: VecDeque::new(),
            credits: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            heard: now,
            pinged: None,
            is_open: false,
            is_ready: false,
            failure: None,
        };
        client.control.push_back(Message::Handshake { public_key, secret_key: None });
        client
    }

    /// Returns whether the relay is of no further use.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Asks the relay for a sign of life, unless one is on its way: [`ClientEvent::RoundTrip`] follows.
    pub fn ping(&mut self, now: Instant) {
        if self.pinged.is_none() && self.failure.is_none() {
            self.pinged = Some(now);
            self.send(Message::Ping);
        }
    }

    /// Searches the records of a topic.
    pub fn lookup(&mut self, topic: [u8; 32], now: Instant) -> QueryId {
        let query = self.query(topic, None, now);
        self.send(Message::Lookup { query, topic });
        QueryId(query)
    }

    /// Stores a record of the signer's key under a topic. Of the terms, a relay that has no words for them keeps the default.
    pub fn announce(
        &mut self,
        topic: [u8; 32],
        signer: impl Into<Signer>,
        terms: AnnounceTerms,
        now: Instant,
    ) -> QueryId {
        let signer = signer.into();
        let public_key = signer.public_key();
        let query = self.query(topic, Some(signer), now);
        if self.failure.is_none() && !self.announce_on(query, topic, public_key, terms) {
            self.send(Message::Announce { query, topic, public_key, secret_key: None });
        }
        QueryId(query)
    }

    /// Removes the record of the signer's key from a topic.
    pub fn unannounce(&mut self, topic: [u8; 32], signer: impl Into<Signer>, now: Instant) -> QueryId {
        let signer = signer.into();
        let public_key = signer.public_key();
        let query = self.query(topic, Some(signer), now);
        self.send(Message::Unannounce { query, topic, public_key, secret_key: None });
        QueryId(query)
    }

    /// Forgets a query: no event comes for it any more. The relay cannot be told.
    pub fn cancel_query(&mut self, query: QueryId) {
        self.queries.remove(&query.0);
    }

    /// Dials a peer as `key_pair`: [`ClientEvent::Opened`] or [`ClientEvent::Closed`] follows.
    pub fn connect(&mut self, remote_public_key: [u8; 32], key_pair: &KeyPair, now: Instant) -> StreamId {
        let alias = next_number(&mut self.last_number);
        let expires = now + CONNECT_TIMEOUT;
        let state =
            StreamState::Dialling { key_pair: Box::new(key_pair.clone()), remote_public_key, expires };
        self.streams.insert(alias, Stream::new(state));
        if self.failure.is_some() {
            self.close_stream(alias, Some(StreamError::LinkClosed));
        } else {
            let public_key = key_pair.public_key;
            self.send(Message::Connect { alias, public_key, secret_key: None, remote_public_key });
        }
        StreamId(alias)
    }

    /// Listens on a key: [`ClientEvent::Listening`] follows once it is announced. With `asks`,
    /// [`ClientEvent::Incoming`] asks about each peer; otherwise every peer is let in.
    pub fn listen(&mut self, key_pair: &KeyPair, asks: bool) -> ServerId {
        let alias = next_number(&mut self.last_number);
        if self.failure.is_some() {
            self.events.push_back(ClientEvent::ServerClosed { server: ServerId(alias) });
            return ServerId(alias);
        }
        let target = crypto::blake2b_256(&[&key_pair.public_key]);
        let key_pair = key_pair.clone();
        self.send(Message::Listen { alias, public_key: key_pair.public_key, secret_key: None });
        let server = Server {
            key_pair,
            target,
            asks,
            signs_elsewhere: false,
            remote_alias: None,
            nodes: Vec::new(),
            is_closing: false,
        };
        self.servers.insert(alias, server);
        ServerId(alias)
    }

    /// Asks for the signatures of a server from here on: [`ClientEvent::Sign`] brings each.
    pub fn sign_elsewhere(&mut self, server: ServerId) {
        if let Some(state) = self.servers.get_mut(&server.0) {
            state.signs_elsewhere = true;
        }
    }

    /// Answers [`ClientEvent::Sign`] by the id of its request; `None` when nobody signs.
    pub fn signed(&mut self, id: u32, signature: Option<[u8; 64]>) {
        let signature = signature.map_or_else(Bytes::new, |signature| Bytes::copy_from_slice(&signature));
        self.send(Message::Signature { id, signature });
    }

    /// Stops to listen: [`ClientEvent::ServerClosed`] follows. Open streams stay.
    pub fn close_server(&mut self, server: ServerId) {
        let Some(state) = self.servers.get_mut(&server.0) else { return };
        if !state.is_closing {
            state.is_closing = true;
            self.handshakes.forget(Owner::Server(server.0));
            self.send(Message::Close { alias: server.0 });
        }
    }

    /// Lets a peer in.
    pub fn accept(&mut self, incoming: IncomingId) {
        self.decide(incoming.0, true);
    }

    /// Refuses a peer, which hears nothing.
    pub fn deny(&mut self, incoming: IncomingId) {
        self.decide(incoming.0, false);
    }

    /// Queues bytes for an open stream. Bytes for a stream that is not open, or ended, go nowhere.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`] when the stream is not open for writing, [`Misuse::TooLarge`] beyond [`MAX_STREAM_QUEUE`].
    pub fn write(&mut self, stream: StreamId, bytes: Bytes) -> Result<(), Misuse> {
        let state = self.streams.get_mut(&stream.0).ok_or(Misuse::Closed)?;
        if state.end != End::Open || matches!(state.state, StreamState::Dialling { .. }) {
            return Err(Misuse::Closed);
        }
        let total = state.queued.saturating_add(bytes.len());
        if total > MAX_STREAM_QUEUE {
            let found = u64::try_from(total).unwrap_or(u64::MAX);
            return Err(Misuse::TooLarge { limit: MAX_STREAM_QUEUE as u64, found });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if state.queue.is_empty() {
            self.ready.push_back(stream.0);
        }
        state.queued = total;
        state.queue.push_back(bytes);
        Ok(())
    }

    /// Notes that so many bytes of a stream were read: as many more may come, from a relay that counts them.
    pub fn consumed(&mut self, stream: StreamId, bytes: usize) {
        let Some(state) = self.streams.get_mut(&stream.0) else { return };
        let StreamState::Open { remote_alias: alias } = state.state else { return };
        state.read = state.read.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if state.read >= STEP {
            self.credits.push_back(Credit { alias, bytes: core::mem::take(&mut state.read) });
        }
    }

    /// Returns what the relay is to be told next, in the channel of [`CREDIT_PROTOCOL`](super::CREDIT_PROTOCOL).
    pub fn poll_credit(&mut self) -> Option<Credit> {
        self.credits.pop_front()
    }

    /// Writes nothing more after what is queued.
    pub fn end(&mut self, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream.0) else { return };
        if matches!(state.state, StreamState::Dialling { .. }) {
            self.destroy(stream, None);
            return;
        }
        if state.end == End::Open {
            state.end = End::Wanted;
            if state.queue.is_empty() {
                self.ready.push_back(stream.0);
            }
        }
    }

    /// Breaks a stream off, or gives it up. No event comes for it any more.
    pub fn destroy(&mut self, stream: StreamId, error: Option<String>) {
        let Some(state) = self.streams.get_mut(&stream.0) else { return };
        if matches!(state.state, StreamState::Dialling { .. }) && self.handshakes.has_begun(stream.0) {
            // A peer that has answered already takes it for open. Only a stream can tell it that nobody is there.
            state.end = End::Sent;
            return;
        }
        self.forget_stream(stream.0);
        self.send(Message::Destroy { alias: StreamAlias::Own(stream.0), error });
    }

    /// Notes a sign of life that is no message.
    pub fn handle_alive(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Notes that the relay opened the channel.
    pub fn handle_open(&mut self, now: Instant) {
        self.heard = now;
        self.is_open = true;
        self.tell_ready();
    }

    /// Takes a message.
    pub fn handle_message(&mut self, message_type: u64, payload: &Bytes, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.heard = now;
        match Message::decode(message_type, payload) {
            Ok(Some(message)) => self.handle(message, now),
            Ok(None) => {}
            Err(error) => self.fail(Failure::Malformed(error)),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        if self.heard + SILENCE <= now {
            self.fail(Failure::Silent);
            return;
        }
        self.handshakes.handle_timeout(now);
        let late: Vec<u32> =
            self.queries.iter().filter(|(_, query)| query.expires <= now).map(|(id, _)| *id).collect();
        for query in late {
            self.finish_query(query);
        }
        self.expire_questions(now);
        let is_late = |stream: &Stream| match stream.state {
            StreamState::Dialling { expires, .. } => expires <= now,
            StreamState::Open { .. } => false,
        };
        let late: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| is_late(stream)).map(|(alias, _)| *alias).collect();
        for alias in late {
            self.send(Message::Destroy { alias: StreamAlias::Own(alias), error: None });
            self.close_stream(alias, Some(StreamError::TimedOut));
        }
    }

    /// Notes that the link is gone.
    pub fn handle_closed(&mut self) {
        self.fail(Failure::LinkClosed);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        let queries = self.queries.values().map(|query| query.expires);
        let streams = self.streams.values().filter_map(|stream| match stream.state {
            StreamState::Dialling { expires, .. } => Some(expires),
            StreamState::Open { .. } => None,
        });
        let queries = queries.chain(self.questions.expires());
        queries.chain(streams).chain(self.handshakes.poll_timeout()).chain([self.heard + SILENCE]).min()
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Returns the next message for the relay. Bytes of streams only `with_data`: leave it out while the link has no room,
    /// and what the streams write waits in them.
    pub fn poll_transmit(&mut self, with_data: bool) -> Option<Message> {
        if let Some(message) = self.control.pop_front() {
            return Some(message);
        }
        while with_data && let Some(alias) = self.ready.pop_front() {
            let Some(stream) = self.streams.get_mut(&alias) else { continue };
            let mut chunks = Vec::new();
            let mut len = 0;
            while len < MAX_DATA
                && let Some(first) = stream.queue.front_mut()
            {
                let chunk = first.split_to(first.len().min(MAX_DATA - len));
                if first.is_empty() {
                    stream.queue.pop_front();
                }
                len += chunk.len();
                chunks.push(chunk);
            }
            if len > 0 {
                stream.queued -= len;
                if !stream.queue.is_empty() || stream.end == End::Wanted {
                    self.ready.push_back(alias);
                }
                self.events.push_back(ClientEvent::Sent { stream: StreamId(alias), bytes: len });
                return Some(Message::Data { alias, chunks });
            }
            if stream.end == End::Wanted {
                stream.end = End::Sent;
                if stream.has_remote_ended {
                    self.close_stream(alias, None);
                }
                return Some(Message::End { alias });
            }
        }
        None
    }

    /// Returns whether streams have something to send, an end included.
    pub fn has_data(&self) -> bool {
        !self.ready.is_empty()
    }

    fn handle(&mut self, message: Message, now: Instant) {
        if message.is_custodial() {
            self.fail(Failure::Custodial);
            return;
        }
        match message {
            Message::Ping => self.send(Message::Pong),
            Message::Pong => {
                if let Some(at) = self.pinged.take() {
                    self.events.push_back(ClientEvent::RoundTrip { elapsed: now.duration_since(at) });
                }
            }
            Message::Result { query, data } => {
                if !self.queries.contains_key(&query) {
                    return;
                }
                match LookupResult::from_slice(&data) {
                    Ok(result) => {
                        self.events.push_back(ClientEvent::Result { query: QueryId(query), result });
                    }
                    Err(error) => self.fail(Failure::Malformed(error)),
                }
            }
            Message::Finished { query } => self.finish_query(query),
            Message::SignAnnounce(request) => self.sign(request, false),
            Message::SignUnannounce(request) => self.sign(request, true),
            Message::NoiseSend { id, initiator: Some(alias), payload } => {
                self.initiate(id, alias, &payload, now);
            }
            Message::NoiseSend { id, initiator: None, payload } => {
                let reply = self.handshakes.complete_responder(id, &payload);
                self.control.extend(reply);
            }
            Message::NoiseReceive { id, server_alias: None, message } => {
                let reply = self.handshakes.complete_initiator(id, &message);
                self.control.extend(reply);
            }
            Message::NoiseReceive { id, server_alias: Some(alias), message } => {
                self.respond(id, alias, &message, now);
            }
            Message::Open { alias, remote_alias, handshake } => self.opened(alias, remote_alias, handshake),
            Message::Listening { alias, remote_alias, address } => {
                self.listening(alias, remote_alias, address)
            }
            Message::Closed { alias } => {
                if let Some(own) = self.servers_by_remote.remove(&alias) {
                    self.close_server_state(own);
                }
            }
            Message::Connection { alias, server_alias, remote_public_key, handshake } => {
                self.connection(alias, server_alias, &remote_public_key, handshake);
            }
            Message::Data { alias, chunks } => {
                let Some(own) = self.open_stream(alias) else { return };
                let stream = StreamId(own);
                let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
                self.events.extend(chunks.map(|bytes| ClientEvent::Data { stream, bytes }));
            }
            Message::End { alias } => {
                let Some(own) = self.open_stream(alias) else { return };
                let Some(stream) = self.streams.get_mut(&own) else { return };
                stream.has_remote_ended = true;
                let is_over = stream.end == End::Sent;
                self.events.push_back(ClientEvent::End { stream: StreamId(own) });
                if is_over {
                    self.close_stream(own, None);
                }
            }
            Message::Destroy { alias, error } => {
                let own = match alias {
                    StreamAlias::Own(alias) => self.streams_by_remote.get(&alias).copied(),
                    StreamAlias::Remote(alias) => Some(alias),
                };
                // A relay that ends a stream without words did not end it in order either.
                let error = error.unwrap_or_else(|| RESET.into());
                if let Some(own) = own.filter(|own| self.streams.contains_key(own)) {
                    self.close_stream(own, Some(StreamError::Remote(error)));
                }
            }
            // Answers, and what only a relay is told.
            _ => {}
        }
    }

    fn sign(&mut self, request: SignRequest, is_unannounce: bool) {
        let signee = request.signee;
        let (key_pair, target) = match (self.queries.get(&signee), self.servers.get(&signee)) {
            (Some(Query { signer: Some(Signer::Here(key_pair)), target, .. }), _) => (key_pair, target),
            (Some(Query { signer: Some(Signer::Elsewhere(_)), .. }), _) => {
                let signee = Signee::Query(QueryId(signee));
                self.events.push_back(ClientEvent::Sign { signee, request, is_unannounce });
                return;
            }
            (_, Some(server)) if server.signs_elsewhere => {
                let signee = Signee::Server(ServerId(signee));
                self.events.push_back(ClientEvent::Sign { signee, request, is_unannounce });
                return;
            }
            (_, Some(server)) => (&server.key_pair, &server.target),
            _ => return,
        };
        let signable = signing::announce_signable(
            is_unannounce,
            target,
            &request.node_id,
            &request.token,
            &key_pair.public_key,
            &request.relay_addresses,
        );
        let signature = key_pair.sign(&signable);
        self.signed(request.id, Some(signature));
    }

    fn initiate(&mut self, id: u32, alias: u32, payload: &[u8], now: Instant) {
        let ephemeral = self.ephemeral();
        let Some(Stream { state: StreamState::Dialling { key_pair, remote_public_key, .. }, .. }) =
            self.streams.get(&alias)
        else {
            return;
        };
        let keys = (&**key_pair, *remote_public_key);
        let reply = self.handshakes.initiate(id, alias, keys, payload, ephemeral, now);
        self.control.extend(reply);
    }

    fn respond(&mut self, id: u32, server_alias: u32, message: &[u8], now: Instant) {
        let ephemeral = self.ephemeral();
        let address = self.caller(id);
        let Some(own) = self.servers_by_remote.get(&server_alias).copied() else { return };
        let Some(server) = self.servers.get(&own).filter(|server| !server.is_closing) else { return };
        let key_pair = &server.key_pair;
        let Some(incoming) = self.handshakes.respond(id, own, key_pair, message, ephemeral, now) else {
            return;
        };
        if !server.asks {
            self.decide(id, true);
            return;
        }
        self.events.push_back(ClientEvent::Incoming {
            incoming: IncomingId(id),
            server: ServerId(own),
            remote_public_key: incoming.remote_public_key,
            payload: incoming.payload,
            address,
        });
    }

    fn decide(&mut self, id: u32, is_accepted: bool) {
        let reply = self.handshakes.decide(id, is_accepted);
        self.control.extend(reply);
    }

    fn opened(&mut self, alias: u32, own: u32, handshake: HandshakeRef) {
        let HandshakeRef::Id(id) = handshake else { return };
        let Some(session) = self.handshakes.take(id, Owner::Stream(own)) else { return };
        let Some(stream) = self.streams.get_mut(&own) else { return };
        if !matches!(stream.state, StreamState::Dialling { .. })
            || self.streams_by_remote.contains_key(&alias)
        {
            return;
        }
        stream.state = StreamState::Open { remote_alias: alias };
        let is_given_up = stream.end != End::Open;
        self.streams_by_remote.insert(alias, own);
        if is_given_up {
            self.destroy(StreamId(own), None);
        } else {
            self.events.push_back(ClientEvent::Opened { stream: StreamId(own), session });
        }
    }

    fn listening(&mut self, alias: u32, own: u32, address: SocketAddrV4) {
        let Some(server) = self.servers.get_mut(&own) else { return };
        if server.remote_alias.is_none() {
            server.remote_alias = Some(alias);
            self.servers_by_remote.insert(alias, own);
            let nodes = core::mem::take(&mut server.nodes);
            self.events.push_back(ClientEvent::Listening { server: ServerId(own), address, nodes });
        }
    }

    fn connection(
        &mut self,
        alias: u32,
        server_alias: u32,
        remote_public_key: &[u8; 32],
        handshake: HandshakeRef,
    ) {
        let HandshakeRef::Id(id) = handshake else { return };
        if self.streams_by_remote.contains_key(&alias) {
            return;
        }
        let own = next_number(&mut self.last_number);
        self.send(Message::Connected { alias: own, remote_alias: alias });
        let server = self.servers_by_remote.get(&server_alias).copied();
        let session = server.and_then(|server| {
            debug_assert!(self.handshakes.server(id).is_none_or(|other| other == server));
            self.handshakes.take(id, Owner::Server(server))
        });
        let proven = session.as_ref().and_then(|session| session.remote_public_key);
        let (Some(server), Some(session), true) = (server, session, proven == Some(*remote_public_key))
        else {
            self.send(Message::Destroy { alias: StreamAlias::Own(own), error: None });
            return;
        };
        self.streams.insert(own, Stream::new(StreamState::Open { remote_alias: alias }));
        self.streams_by_remote.insert(alias, own);
        let (stream, server) = (StreamId(own), ServerId(server));
        self.events.push_back(ClientEvent::Connection { stream, server, session });
    }

    /// Returns our alias of a stream of the relay's that the peer has not ended.
    fn open_stream(&self, alias: u32) -> Option<u32> {
        let own = self.streams_by_remote.get(&alias).copied()?;
        self.streams.get(&own).filter(|stream| !stream.has_remote_ended).map(|_| own)
    }

    fn query(&mut self, target: [u8; 32], signer: Option<Signer>, now: Instant) -> u32 {
        let id = next_number(&mut self.last_number);
        let expires = now + QUERY_TIMEOUT;
        self.queries.insert(id, Query { target, signer, expires });
        if self.failure.is_some() {
            self.finish_query(id);
        }
        id
    }

    fn finish_query(&mut self, query: u32) {
        if self.queries.remove(&query).is_some() {
            self.events.push_back(ClientEvent::Finished { query: QueryId(query) });
        }
    }

    fn close_stream(&mut self, alias: u32, error: Option<StreamError>) {
        if self.forget_stream(alias) {
            self.events.push_back(ClientEvent::Closed { stream: StreamId(alias), error });
        }
    }

    /// Forgets a stream, and returns whether its owner still waits for events of it.
    fn forget_stream(&mut self, alias: u32) -> bool {
        let Some(stream) = self.streams.remove(&alias) else { return false };
        match stream.state {
            StreamState::Open { remote_alias } => {
                self.streams_by_remote.remove(&remote_alias);
                true
            }
            StreamState::Dialling { .. } => {
                self.handshakes.forget(Owner::Stream(alias));
                stream.end == End::Open
            }
        }
    }

    fn close_server_state(&mut self, own: u32) {
        if self.servers.remove(&own).is_some() {
            self.handshakes.forget(Owner::Server(own));
            self.events.push_back(ClientEvent::ServerClosed { server: ServerId(own) });
        }
    }

    fn fail(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        self.failure = Some(failure);
        self.control.clear();
        self.ready.clear();
        for query in self.queries.keys().copied().collect::<Vec<_>>() {
            self.finish_query(query);
        }
        self.end_questions(QueryError::LinkClosed);
        for alias in self.streams.keys().copied().collect::<Vec<_>>() {
            self.close_stream(alias, Some(StreamError::LinkClosed));
        }
        for alias in self.servers.keys().copied().collect::<Vec<_>>() {
            self.close_server_state(alias);
        }
        self.servers_by_remote.clear();
        self.events.push_back(ClientEvent::Failed(failure));
    }

    fn send(&mut self, message: Message) {
        if self.failure.is_none() {
            self.control.push_back(message);
        }
    }

    fn ephemeral(&mut self) -> [u8; 32] {
        self.ephemerals += 1;
        crypto::blake2b_256_keyed(
            &self.seed,
            &[b"hypertab/dht-relay/ephemeral", &self.ephemerals.to_le_bytes()],
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("queries", &self.queries.len())
            .field("streams", &self.streams.len())
            .field("servers", &self.servers.len())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Stream {
    fn new(state: StreamState) -> Self {
        Self { state, queue: VecDeque::new(), queued: 0, end: End::Open, has_remote_ended: false, read: 0 }
    }
}

/// Most bytes that wait in one stream: a secret stream frame of the largest size, and one more of usual ones.
pub const MAX_STREAM_QUEUE: usize = 32 * 1024 * 1024;

/// Most bytes of one data message, so that streams take turns.
const MAX_DATA: usize = 64 * 1024;

/// How long a relay may say nothing, as upstream; it pings every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// How long a relay may take to connect: search, two rounds to the client, and a path, of 10 s each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a query may take. Nodes that do not answer cost several seconds each.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// What a stream failed of when nobody says.
const RESET: &str = "ECONNRESET: stream was destroyed by the remote peer";
