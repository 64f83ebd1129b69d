//! Relays: what a tab that has no UDP asks of them, and the links that run through them.
//!
//! A relay has one control link, whose transport the host has. The streams in it are links of their own, which no host
//! sees: encrypted end to end, so the relay passes on what it cannot read.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::{BTreeMap, BTreeSet};
use crate::crypto::KeyPair;
use crate::dht_relay::detour::Detour;
use crate::dht_relay::queries::{AnnounceTerms, QUERY_PROTOCOL, Question};
use crate::dht_relay::resume::RESUME_PROTOCOL;
use crate::dht_relay::{self, Client, ClientEvent, Credit, QueryId, Signee, Signer, StreamId};
use crate::id::PublicKey;
use crate::noise::Session;
use crate::protomux::{ChannelId, MuxEvent, OpenChannel};
use crate::time::{Duration, Instant};

use super::link::Link;
use super::replication::LinkEntry;
use super::resume::Resumption;
use super::types::{
    CloseReason, Error, Event, LinkId, LinkOptions, Misuse, RequestId, Response, Role, Security, Transport,
};
use super::{Engine, Sleeper};

mod events;

pub use events::{IncomingId, QuestionId, RelayEvent, RelayId, ServerId};

/// A relay and what it does for us.
#[derive(Debug)]
pub(super) struct RelayEntry {
    pub(super) client: Client,
    pub(super) control: LinkId,
    pub(super) resumption: Resumption,
    channel: Option<ChannelId>,
    /// Where the relay hears what was read; absent once it has said that it does not listen.
    credit: Option<ChannelId>,
    /// Bytes of streams whose links have stopped reading.
    unread: BTreeMap<StreamId, usize>,
    pub(super) streams: BTreeMap<StreamId, LinkId>,
    /// Which path the bytes of each open stream take.
    pub(super) detours: BTreeMap<StreamId, Detour>,
    /// Streams whose link is closed and whose bytes are not all here yet, and how long they may take.
    pub(super) ending: BTreeMap<StreamId, Instant>,
    /// Streams that are read, and written to no more once everything is on its way through the relays.
    pub(super) finishing: BTreeSet<StreamId>,
    queries: BTreeMap<QueryId, RequestId>,
    /// Where the relay takes questions; absent once it has said that it takes none.
    asking: Option<ChannelId>,
    questions: BTreeMap<QueryId, QuestionId>,
    servers: BTreeMap<dht_relay::ServerId, Server>,
    incoming: BTreeMap<IncomingId, dht_relay::IncomingId>,
    pub(super) is_closing: bool,
}

#[derive(Debug)]
struct Server {
    id: ServerId,
    public_key: PublicKey,
    /// Who waits for it to be closed.
    closes: Vec<RequestId>,
}

/// A link that the relay has not opened yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialling {
    relay: RelayId,
    stream: StreamId,
    public_key: PublicKey,
}

/// What carries a link that has no transport of the host's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    pub(super) relay: RelayId,
    pub(super) stream: StreamId,
}

/// Upstream's connections send this often, for the NATs between; the relay cannot, as it has no key.
///
/// Source: hyperdht 6.33, `connectionKeepAlive`.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

impl Engine {
    /// Uses a relay. Its control link's transport is the host's: one message of the transport for each of the link's.
    pub fn open_relay(&mut self, public_key: PublicKey, now: Instant) -> (RelayId, LinkId) {
        let id = RelayId(self.next_id());
        let control = self.open_link(
            LinkOptions {
                role: Role::Initiator,
                transport: Transport::Framed,
                security: Security::Plain,
                keep_alive: None,
                timeout: None,
            },
            now,
        );
        let seed = self.next_seed();
        let channels = self.with_link(control, |entry| {
            entry.relay = Some(id);
            [dht_relay::PROTOCOL, dht_relay::CREDIT_PROTOCOL, QUERY_PROTOCOL, RESUME_PROTOCOL].map(
                |protocol| entry.link.mux_mut().open(&OpenChannel { protocol, ..OpenChannel::default() }),
            )
        });
        let [channel, credit, asking, resuming] = channels.unwrap_or_default();
        let mut client = Client::new(public_key, seed, now);
        if asking.is_some() {
            client.await_questions();
        }
        let entry = RelayEntry {
            client,
            control,
            resumption: Resumption::new(resuming),
            channel,
            credit,
            unread: BTreeMap::new(),
            streams: BTreeMap::new(),
            detours: BTreeMap::new(),
            ending: BTreeMap::new(),
            finishing: BTreeSet::new(),
            queries: BTreeMap::new(),
            asking,
            questions: BTreeMap::new(),
            servers: BTreeMap::new(),
            incoming: BTreeMap::new(),
            is_closing: false,
        };
        self.relays.insert(id, entry);
        self.dirty_relays.insert(id);
        (id, control)
    }

    /// Stops using a relay, once what was sent over it is on its way, or cannot be because the transport breaks: its links close,
    /// its servers and queries end.
    pub fn close_relay(&mut self, relay: RelayId) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        entry.is_closing = true;
        if !self.close_interrupted(relay, CloseReason::Local) {
            self.dirty_relays.insert(relay);
        }
    }

    /// Asks a relay for a sign of life: [`RelayEvent::RoundTrip`] follows, once for all that ask meanwhile.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn ping_relay(&mut self, relay: RelayId, now: Instant) -> Result<(), Misuse> {
        self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?.client.ping(now);
        self.dirty_relays.insert(relay);
        Ok(())
    }

    /// Searches the records of a topic: [`RelayEvent::Result`] for each node that has some, then [`Response::Done`], or
    /// [`Response::Updated`] with false where the relay turns it down.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn lookup(&mut self, relay: RelayId, topic: [u8; 32], now: Instant) -> Result<RequestId, Misuse> {
        self.query(relay, |client| client.lookup(topic, now))
    }

    /// Stores a record of the signer's key under a topic. Results as for [`lookup`](Self::lookup).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn announce(
        &mut self,
        relay: RelayId,
        topic: [u8; 32],
        signer: impl Into<Signer>,
        terms: AnnounceTerms,
        now: Instant,
    ) -> Result<RequestId, Misuse> {
        let signer = signer.into();
        self.query(relay, |client| client.announce(topic, signer, terms, now))
    }

    /// Removes the record of the signer's key from a topic. Results as for [`lookup`](Self::lookup).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn unannounce(
        &mut self,
        relay: RelayId,
        topic: [u8; 32],
        signer: impl Into<Signer>,
        now: Instant,
    ) -> Result<RequestId, Misuse> {
        let signer = signer.into();
        self.query(relay, |client| client.unannounce(topic, signer, now))
    }

    /// Dials a peer as `key_pair`. Cores can be attached at once; [`Event::LinkOpened`] or [`Event::LinkClosed`]
    /// follows.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn connect(
        &mut self,
        relay: RelayId,
        remote_public_key: PublicKey,
        key_pair: &KeyPair,
        now: Instant,
    ) -> Result<LinkId, Misuse> {
        let link = LinkId(self.next_id());
        let entry = self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?;
        let stream = entry.client.connect(remote_public_key, key_pair, now);
        entry.streams.insert(stream, link);
        self.dialling.insert(link, Dialling { relay, stream, public_key: key_pair.public_key });
        self.dirty_relays.insert(relay);
        Ok(link)
    }

    /// Listens on a key. With `asks`, [`RelayEvent::Incoming`] asks about each peer.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn listen(&mut self, relay: RelayId, key_pair: &KeyPair, asks: bool) -> Result<ServerId, Misuse> {
        let id = ServerId(self.next_id());
        let entry = self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?;
        let server = entry.client.listen(key_pair, asks);
        entry.servers.insert(server, Server { id, public_key: key_pair.public_key, closes: Vec::new() });
        self.servers.insert(id, (relay, server));
        self.dirty_relays.insert(relay);
        Ok(id)
    }

    /// Asks for the signatures of a server from here on: [`RelayEvent::SignServer`] brings each.
    pub fn sign_elsewhere(&mut self, server: ServerId) {
        let Some((relay, server)) = self.servers.get(&server).copied() else { return };
        if let Some(entry) = self.relays.get_mut(&relay) {
            entry.client.sign_elsewhere(server);
        }
    }

    /// Answers what was to be signed, by the id of the record; `None` when nobody signs.
    pub fn signed(&mut self, relay: RelayId, id: u32, signature: Option<[u8; 64]>) {
        if let Some(entry) = self.relays.get_mut(&relay) {
            entry.client.signed(id, signature);
            self.dirty_relays.insert(relay);
        }
    }

    /// Stops to listen; open links stay. Answered with [`Response::Done`].
    pub fn close_server(&mut self, server: ServerId) -> RequestId {
        let request = self.next_request();
        let found = self.servers.get(&server).copied();
        let entry = found.and_then(|(relay, server)| Some((relay, self.relays.get_mut(&relay)?, server)));
        match entry {
            Some((relay, entry, server)) => {
                entry.client.close_server(server);
                if let Some(state) = entry.servers.get_mut(&server) {
                    state.closes.push(request);
                }
                self.dirty_relays.insert(relay);
            }
            None => self.answer(request, Ok(Response::Done)),
        }
        request
    }

    /// Lets a peer in, or refuses it.
    pub fn decide(&mut self, incoming: IncomingId, lets_in: bool) {
        let entry = self.relays.iter_mut().find_map(|(relay, entry)| {
            let id = entry.incoming.remove(&incoming)?;
            Some((*relay, entry, id))
        });
        let Some((relay, entry, id)) = entry else { return };
        if lets_in {
            entry.client.accept(id);
        } else {
            entry.client.deny(id);
        }
        self.dirty_relays.insert(relay);
    }

    /// Asks the nodes of the DHT that are closest to a target: [`RelayEvent::Reply`] for each that answers, then
    /// [`RelayEvent::Closest`], or [`RelayEvent::QuestionFailed`]. One that may write lasts until it is
    /// [forgotten](Self::forget_question).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn ask(&mut self, relay: RelayId, question: Question, now: Instant) -> Result<QuestionId, Misuse> {
        let id = QuestionId(self.next_id());
        let entry = self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?;
        let query = entry.client.ask(question, now);
        entry.questions.insert(query, id);
        self.dirty_relays.insert(relay);
        Ok(id)
    }

    /// Writes to a node whose reply is among the closest, once for each: [`RelayEvent::Written`] follows, unless the
    /// question is over.
    pub fn write_to_reply(&mut self, question: QuestionId, reply: u32, command: u64, value: Bytes) {
        self.with_question(question, |client, query| client.write_to_reply(query, reply, command, value));
    }

    /// Gives a question up: no event comes for it any more.
    pub fn forget_question(&mut self, question: QuestionId) {
        self.with_question(question, Client::forget_question);
        for entry in self.relays.values_mut() {
            entry.questions.retain(|_, id| *id != question);
        }
    }

    fn with_question(&mut self, question: QuestionId, act: impl FnOnce(&mut Client, QueryId)) {
        let found = self.relays.iter_mut().find_map(|(relay, entry)| {
            let query = entry.questions.iter().find(|(_, id)| **id == question).map(|(query, _)| *query)?;
            Some((*relay, entry, query))
        });
        if let Some((relay, entry, query)) = found {
            act(&mut entry.client, query);
            self.dirty_relays.insert(relay);
        }
    }

    fn query(
        &mut self,
        relay: RelayId,
        begin: impl FnOnce(&mut Client) -> QueryId,
    ) -> Result<RequestId, Misuse> {
        let request = self.next_request();
        let entry = self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?;
        let query = begin(&mut entry.client);
        entry.queries.insert(query, request);
        self.dirty_relays.insert(relay);
        Ok(request)
    }

    /// Takes a query back; false when the request is none.
    pub(super) fn cancel_query(&mut self, request: RequestId) -> bool {
        for entry in self.relays.values_mut() {
            let found = entry.queries.iter().find(|(_, id)| **id == request).map(|(query, _)| *query);
            if let Some(query) = found {
                entry.queries.remove(&query);
                entry.client.cancel_query(query);
                self.answer(request, Err(Error::RequestCancelled));
                return true;
            }
        }
        false
    }

    /// Gives up a link that is being dialled; false when it is none.
    pub(super) fn close_dialling(&mut self, link: LinkId) -> bool {
        let Some(Dialling { relay, stream, .. }) = self.dialling.remove(&link) else { return false };
        if let Some(entry) = self.relays.get_mut(&relay) {
            entry.streams.remove(&stream);
            entry.client.destroy(stream, None);
            self.dirty_relays.insert(relay);
        }
        self.forget_attachments(link);
        self.emit(Event::LinkClosed { link, reason: CloseReason::Local });
        true
    }

    /// Takes an event of a control link's channels.
    pub(super) fn handle_control(&mut self, relay: RelayId, event: MuxEvent, now: Instant) {
        self.dirty_relays.insert(relay);
        if self.handle_resumption(relay, &event) {
            return;
        }
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        match event {
            MuxEvent::Closed { channel } if Some(channel) == entry.credit => entry.credit = None,
            MuxEvent::Opened { channel, .. } | MuxEvent::Message { channel, .. }
                if Some(channel) == entry.credit => {}
            MuxEvent::Closed { channel } if Some(channel) == entry.asking => {
                entry.asking = None;
                entry.client.handle_no_questions();
            }
            MuxEvent::Opened { channel, handshake } if Some(channel) == entry.asking => {
                entry.client.handle_questions(&handshake);
            }
            MuxEvent::Message { channel, message_type, payload } if Some(channel) == entry.asking => {
                entry.client.handle_question_message(message_type, &payload, now);
            }
            MuxEvent::RemoteOpen { open, .. } => {
                if let Some(link) = self.links.get_mut(&entry.control) {
                    link.link.mux_mut().reject(open);
                }
            }
            MuxEvent::Opened { .. } => entry.client.handle_open(now),
            MuxEvent::Message { message_type, payload, .. } => {
                entry.client.handle_message(message_type, &payload, now);
            }
            MuxEvent::Closed { .. } => entry.client.handle_closed(),
        }
    }

    /// A relay's control link is gone.
    pub(super) fn control_closed(&mut self, relay: RelayId, reason: &CloseReason, now: Instant) {
        if let Some(entry) = self.relays.get_mut(&relay) {
            entry.client.handle_closed();
        }
        self.drive_relay(relay, now);
        let Some(entry) = self.relays.remove(&relay) else { return };
        self.wakes.set(Sleeper::Relay(relay), None);
        self.dirty_relays.remove(&relay);
        let reason = (!entry.is_closing).then(|| reason.to_string());
        self.emit(Event::Relay(RelayEvent::Closed { relay, reason }));
    }

    pub(super) fn wake_relay(&mut self, relay: RelayId, now: Instant) {
        if let Some(entry) = self.relays.get_mut(&relay) {
            entry.client.handle_timeout(now);
            self.dirty_relays.insert(relay);
            self.wake_detours(relay, now);
            self.wake_resumption(relay, now);
        }
    }

    /// Passes on what a relay says and what it is to be told.
    pub(super) fn drive_relay(&mut self, id: RelayId, now: Instant) {
        while let Some(event) = self.relays.get_mut(&id).and_then(|entry| entry.client.poll_event()) {
            self.handle_client_event(id, event, now);
        }
        let Some(entry) = self.relays.get_mut(&id) else { return };
        if let (Some(link), Some(channel)) = (self.links.get_mut(&entry.control), entry.channel) {
            while let Some(message) = entry.client.poll_transmit(link.link.is_writable()) {
                link.link.mux_mut().send_encoded(channel, message.message_type(), &message);
                self.dirty_links.insert(entry.control);
                if !link.link.is_writable() {
                    break;
                }
            }
        }
        if let (Some(link), Some(channel)) = (self.links.get_mut(&entry.control), entry.asking) {
            while let Some(message) = entry.client.poll_question() {
                link.link.mux_mut().send_encoded(channel, message.message_type(), &message);
                self.dirty_links.insert(entry.control);
            }
        }
        self.tell_read(id);
        self.tell_received(id);
        let Some(entry) = self.relays.get_mut(&id) else { return };
        let closes = (entry.is_closing && !entry.client.has_data()).then_some(entry.control);
        let detours = entry.detours.values().filter_map(Detour::poll_timeout);
        let next = detours.chain(entry.ending.values().copied()).chain(entry.client.poll_timeout());
        let next = next.chain(entry.resumption.poll_timeout()).min();
        self.wakes.set(Sleeper::Relay(id), next);
        if let Some(control) = closes {
            self.close_link(control);
        }
        // Sending gives credit back, which is an event too.
        while let Some(event) = self.relays.get_mut(&id).and_then(|entry| entry.client.poll_event()) {
            self.handle_client_event(id, event, now);
        }
    }

    /// Tells a relay what was read of streams whose links have not stopped.
    fn tell_read(&mut self, id: RelayId) {
        let Some(entry) = self.relays.get_mut(&id) else { return };
        let RelayEntry { client, streams, unread, .. } = entry;
        let links = &self.links;
        unread.retain(|stream, bytes| {
            let link = streams.get(stream).and_then(|link| links.get(link));
            let is_paused = link.is_some_and(|entry| entry.link.is_paused());
            if !is_paused {
                client.consumed(*stream, *bytes);
            }
            is_paused
        });
        let control = entry.control;
        while let Some(credit) = entry.client.poll_credit() {
            if let (Some(channel), Some(link)) = (entry.credit, self.links.get_mut(&control)) {
                link.link.mux_mut().send_encoded(channel, Credit::TYPE, &credit);
                self.dirty_links.insert(control);
            }
        }
    }

    /// Notes that a link reads again, so that its relay is told.
    pub(super) fn reads_again(&mut self, link: LinkId) {
        if let Some(carrier) = self.links.get(&link).and_then(|entry| entry.carrier) {
            self.dirty_relays.insert(carrier.relay);
        }
    }

    fn handle_client_event(&mut self, relay: RelayId, event: ClientEvent, now: Instant) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        let server_id = |entry: &RelayEntry, server| entry.servers.get(&server).map(|server| server.id);
        match event {
            ClientEvent::Ready { address } => self.emit(Event::Relay(RelayEvent::Opened { relay, address })),
            ClientEvent::RoundTrip { elapsed } => {
                self.emit(Event::Relay(RelayEvent::RoundTrip { relay, elapsed }));
            }
            ClientEvent::Result { query, result } => {
                if let Some(request) = entry.queries.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::Result { request, result }));
                }
            }
            ClientEvent::ClosestNodes { query, nodes } => {
                if let Some(request) = entry.queries.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::ClosestNodes { request, nodes }));
                }
            }
            ClientEvent::Finished { query } => {
                if let Some(request) = entry.queries.remove(&query) {
                    self.answer(request, Ok(Response::Done));
                }
            }
            ClientEvent::Sign { signee: Signee::Query(query), request: record, is_unannounce } => {
                if let Some(request) = entry.queries.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::SignQuery { request, record, is_unannounce }));
                }
            }
            ClientEvent::Sign { signee: Signee::Server(server), request: record, is_unannounce } => {
                if let Some(server) = server_id(entry, server) {
                    self.emit(Event::Relay(RelayEvent::SignServer { server, record, is_unannounce }));
                }
            }
            ClientEvent::Reply { query, reply } => {
                if let Some(question) = entry.questions.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::Reply { question, reply }));
                }
            }
            ClientEvent::Closest { query, closest } => {
                if let Some(question) = entry.questions.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::Closest { question, closest }));
                }
            }
            ClientEvent::Written { query, reply, end } => {
                if let Some(question) = entry.questions.get(&query).copied() {
                    self.emit(Event::Relay(RelayEvent::Written { question, reply, end }));
                }
            }
            ClientEvent::QueryFailed { query, error } => {
                if let Some(request) = entry.queries.remove(&query) {
                    return self.answer(request, Ok(Response::Updated(false)));
                }
                if let Some(question) = entry.questions.remove(&query) {
                    self.emit(Event::Relay(RelayEvent::QuestionFailed { question, error }));
                }
            }
            ClientEvent::Opened { stream, session } => {
                let Some(link) = entry.streams.get(&stream).copied() else { return };
                let Some(dialling) = self.dialling.remove(&link) else { return };
                let carrier = Carrier { relay, stream };
                self.add_carried(link, Role::Initiator, session, dialling.public_key, carrier, now);
            }
            ClientEvent::Listening { server, address, nodes } => {
                if let Some(server) = server_id(entry, server) {
                    self.emit(Event::Relay(RelayEvent::Listening { server, address, nodes }));
                }
            }
            ClientEvent::ServerClosed { server } => {
                let Some(state) = entry.servers.remove(&server) else { return };
                self.servers.remove(&state.id);
                for request in state.closes {
                    self.answer(request, Ok(Response::Done));
                }
                self.emit(Event::Relay(RelayEvent::ServerClosed { server: state.id }));
            }
            ClientEvent::Incoming { incoming, server, remote_public_key, payload, address } => {
                self.last_id += 1;
                let id = IncomingId(self.last_id);
                let Some(server) = server_id(entry, server) else { return };
                entry.incoming.insert(id, incoming);
                // The relay waits 10 seconds for each, and there are only so many at once.
                while entry.incoming.len() > MAX_INCOMING {
                    entry.incoming.pop_first();
                }
                let event =
                    RelayEvent::Incoming { incoming: id, server, remote_public_key, payload, address };
                self.emit(Event::Relay(event));
            }
            ClientEvent::Connection { stream, server, session } => {
                let Some(state) = entry.servers.get(&server) else { return };
                let (server, public_key) = (state.id, state.public_key);
                self.last_id += 1;
                let link = LinkId(self.last_id);
                entry.streams.insert(stream, link);
                let remote_public_key = session.remote_public_key.unwrap_or_default();
                self.emit(Event::Relay(RelayEvent::Connection { server, link, remote_public_key }));
                self.add_carried(link, Role::Responder, session, public_key, Carrier { relay, stream }, now);
            }
            ClientEvent::Data { stream, bytes } => {
                *entry.unread.entry(stream).or_default() += bytes.len();
                self.with_detour(Carrier { relay, stream }, now, |detour| detour.handle_relayed(bytes, now));
            }
            ClientEvent::Sent { stream, bytes } => {
                self.with_detour(Carrier { relay, stream }, now, |detour| {
                    detour.handle_sent(bytes as u64);
                    Ok(())
                });
            }
            ClientEvent::End { stream } => {
                if let Some(link) = entry.streams.get(&stream).copied() {
                    self.with_link(link, |entry| entry.link.handle_end());
                }
            }
            ClientEvent::Closed { stream, error } => {
                entry.detours.remove(&stream);
                entry.ending.remove(&stream);
                entry.finishing.remove(&stream);
                entry.unread.remove(&stream);
                let Some(link) = entry.streams.remove(&stream) else { return };
                let reason = error.map(|error| error.to_string());
                if self.dialling.remove(&link).is_some() {
                    self.forget_attachments(link);
                    self.emit(Event::LinkClosed { link, reason: CloseReason::Remote(reason) });
                } else {
                    self.with_link(link, |entry| entry.link.handle_closed(reason));
                }
            }
            ClientEvent::Failed(failure) => {
                let control = entry.control;
                let reason = CloseReason::Remote(Some(failure.to_string()));
                self.with_link(control, |entry| entry.link.destroy(reason));
            }
        }
    }

    fn add_carried(
        &mut self,
        id: LinkId,
        role: Role,
        session: Session,
        public_key: PublicKey,
        carrier: Carrier,
        now: Instant,
    ) {
        let options = LinkOptions {
            role,
            transport: Transport::Stream,
            security: Security::Established { session, public_key },
            keep_alive: Some(KEEP_ALIVE),
            timeout: None,
        };
        let seed = self.next_seed();
        let mut entry = LinkEntry::new(Link::new(options, seed, now));
        entry.carrier = Some(carrier);
        if let Some(relay) = self.relays.get_mut(&carrier.relay) {
            relay.detours.insert(carrier.stream, Detour::default());
        }
        // Those that were attached while it was dialled open their channels with the link.
        let attached = self.cores.iter().filter(|(_, core)| core.attachments.contains_key(&id));
        entry.cores = attached.map(|(core, _)| *core).collect();
        if !entry.cores.is_empty() {
            entry.link.mux_mut();
        }
        self.links.insert(id, entry);
        self.dirty_links.insert(id);
    }
}

/// Peers that may wait for our decision at once; the oldest gives way.
const MAX_INCOMING: usize = 256;
