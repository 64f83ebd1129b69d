//! What the client says, and what the DHT is asked for it.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::backend::Backend;
use super::super::credit::{CREDIT_PROTOCOL, Credit};
use super::super::limits::Refusal;
use super::super::messages::{Message, NoiseStage, SignRequest, StreamAlias};
use super::super::queries::{AnnounceTerms, Greeting, QUERY_PROTOCOL, QueryMessage, SearchEnd};
use super::super::quota::Resource;
use super::super::resume::RESUME_PROTOCOL;
use super::super::{next_number, signing};
use super::{BUSY, Claim, MAX_WAITING, NOT_PERMITTED, Server, Session, Standing, Stream, is_permitted};
use crate::crypto::{self, KeyPair};
use crate::dht::{ConnectionId, OperationId, ServerId};
use crate::protomux::{MuxEvent, OpenChannel};
use crate::time::Instant;

impl Session {
    pub(super) fn handle_mux_event(&mut self, event: MuxEvent, backend: &mut impl Backend, now: Instant) {
        match event {
            MuxEvent::RemoteOpen { protocol, .. } if protocol == CREDIT_PROTOCOL && self.credit.is_none() => {
                self.credit =
                    self.mux.open(&OpenChannel { protocol: CREDIT_PROTOCOL, ..OpenChannel::default() });
            }
            MuxEvent::RemoteOpen { protocol, .. }
                if protocol == QUERY_PROTOCOL && self.questions.is_none() =>
            {
                let handshake = &Greeting { address: backend.public_address() }.encode();
                let channel = OpenChannel { protocol: QUERY_PROTOCOL, handshake, ..OpenChannel::default() };
                self.questions = self.mux.open(&channel);
            }
            MuxEvent::RemoteOpen { open, protocol, handshake, .. } if protocol == RESUME_PROTOCOL => {
                self.resume_opened(open, &handshake);
            }
            MuxEvent::RemoteOpen { open, .. } => self.mux.reject(open),
            MuxEvent::Message { channel, message_type: Credit::TYPE, payload }
                if Some(channel) == self.credit =>
            {
                match Credit::decode(&payload) {
                    Ok(credit) => self.has_read(credit, backend),
                    Err(_) => self.refuse(Refusal::Malformed),
                }
            }
            MuxEvent::Message { channel, message_type, payload } if Some(channel) == self.questions => {
                match QueryMessage::decode(message_type, &payload) {
                    Ok(Some(message)) => self.handle_question(message, backend, now),
                    Ok(None) => {}
                    Err(_) => self.refuse(Refusal::Malformed),
                }
            }
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

    /// Lets a peer send as much more as the client has read, and no more than it was sent.
    fn has_read(&mut self, credit: Credit, backend: &mut impl Backend) {
        let Some(connection) = self.by_own_alias.get(&credit.alias).copied() else { return };
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        let bytes = stream.unread.min(usize::try_from(credit.bytes).unwrap_or(usize::MAX));
        stream.unread -= bytes;
        backend.consumed(connection, bytes);
    }

    pub(super) fn handle(&mut self, message: Message, backend: &mut impl Backend, now: Instant) {
        if message.is_custodial() && self.custody.is_none() {
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
            // No more than came in the same frame, and no bytes, since no stream is open.
            Standing::Introduced { waiting, .. } => {
                if matches!(message, Message::Data { .. }) {
                    return;
                }
                if waiting.len() < MAX_WAITING {
                    waiting.push(message);
                } else {
                    self.refuse(Refusal::TooManyRequests);
                }
                return;
            }
            Standing::Admitted => {}
        }
        match message {
            Message::Ping => self.send(&Message::Pong),
            Message::Lookup { query, topic } => {
                let may = is_permitted(self.permissions.lookup, "lookups", backend);
                self.query(query, may, now, |backend| backend.lookup(topic), backend);
            }
            Message::Announce { query, topic, public_key, secret_key } => {
                let Some(pair) = self.pair_of(public_key, secret_key.as_ref()) else { return };
                self.announce(query, topic, public_key, AnnounceTerms::default(), backend, now);
                self.keep_key(query, pair, topic);
            }
            Message::Unannounce { query, topic, public_key, secret_key } => {
                let Some(pair) = self.pair_of(public_key, secret_key.as_ref()) else { return };
                let may = is_permitted(self.permissions.announce, "announces", backend);
                self.topics.remove(&topic);
                self.query(query, may, now, |backend| backend.unannounce(topic, public_key), backend);
                self.keep_key(query, pair, topic);
            }
            Message::Signature { id, signature } => self.signature(id, &signature, backend),
            Message::Connect { alias, public_key, secret_key, remote_public_key } => {
                let Some(pair) = self.pair_of(public_key, secret_key.as_ref()) else { return };
                self.connect(alias, public_key, remote_public_key, backend, now);
                let connection = self.by_client_alias.get(&alias).copied();
                if let (Some(custody), Some(connection), Some(pair)) = (&mut self.custody, connection, pair)
                    && self.refusal.is_none()
                {
                    custody.dial(connection, pair, remote_public_key);
                }
            }
            Message::Listen { alias, public_key, secret_key } => {
                let Some(pair) = self.pair_of(public_key, secret_key.as_ref()) else { return };
                self.listen(alias, public_key, pair, backend, now);
            }
            Message::Accept { id } | Message::Deny { id } => {
                let is_accepted = matches!(message, Message::Accept { .. });
                let reply = self.custody.as_mut().and_then(|custody| custody.decide(id, is_accepted));
                self.reply(reply, backend);
            }
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
            // Answers, and what only a client is told.
            _ => {}
        }
    }

    pub(super) fn announce(
        &mut self,
        query: u32,
        topic: [u8; 32],
        public_key: [u8; 32],
        terms: AnnounceTerms,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let may = matches!(self.standing, Standing::Admitted)
            && is_permitted(self.permissions.announce, "announces", backend)
            && self.may_announce(topic, backend, now);
        self.query(query, may, now, |backend| backend.announce(topic, public_key, terms), backend);
    }

    fn query<B: Backend>(
        &mut self,
        query: u32,
        may: bool,
        now: Instant,
        start: impl FnOnce(&mut B) -> OperationId,
        backend: &mut B,
    ) {
        if self.queries.values().any(|other| *other == query) {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let has_room = may && self.may_query(backend);
        if self.allows(has_room, backend, now) && backend.take_lookup() {
            let operation = start(backend);
            self.queries.insert(operation, query);
        } else {
            // Upstream's protocol has no word for it; a client that takes questions hears why nothing comes.
            self.answer(&QueryMessage::Done { query, end: SearchEnd::Refused, closest: Vec::new() });
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
        if !is_permitted(self.permissions.dial, "dials", backend) {
            let error = Some(NOT_PERMITTED.to_string());
            self.send(&Message::Destroy { alias: StreamAlias::Remote(alias), error });
            return;
        }
        let has_room = !backend.full(Resource::Streams, self.streams.len())
            && !backend.full(Resource::Handshakes, self.half_open);
        if self.allows(has_room, backend, now) {
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

    /// Signs for a query that has begun, where the client has left that to the relay.
    fn keep_key(&mut self, query: u32, pair: Option<KeyPair>, topic: [u8; 32]) {
        if let (Some(custody), Some(pair)) = (&mut self.custody, pair)
            && self.refusal.is_none()
            && self.queries.values().any(|other| *other == query)
        {
            custody.sign_for(query, pair, topic);
        }
    }

    fn listen(
        &mut self,
        alias: u32,
        public_key: [u8; 32],
        pair: Option<KeyPair>,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let is_taken = self.servers.values().any(|server| server.client_alias == alias)
            || self.claims.values().any(|claim| claim.client_alias == alias);
        if is_taken {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let held = self.servers.len() + self.claims.len();
        let has_room = is_permitted(self.permissions.listen, "listens", backend)
            && !backend.full(Resource::Listens, held);
        if !self.allows(has_room, backend, now) {
            self.turn_away(alias, backend);
        } else if let (Some(custody), Some(pair)) = (&mut self.custody, pair) {
            custody.sign_for(alias, pair, crypto::blake2b_256(&[&public_key]));
            // Whoever has the secret key needs no other proof.
            let server = backend.listen(public_key).or_else(|| {
                backend.take_over(public_key);
                backend.listen(public_key)
            });
            match server {
                Some(server) => self.serve(server, alias),
                None => self.turn_away(alias, backend),
            }
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
    pub(super) fn turn_away(&mut self, client_alias: u32, backend: &mut impl Backend) {
        if let Some(custody) = &mut self.custody {
            custody.forget_signer(client_alias);
        }
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

    pub(super) fn noise_reply(
        &mut self,
        id: u32,
        payload: Bytes,
        stage: NoiseStage,
        backend: &mut impl Backend,
    ) {
        let Some(connection) = self.by_handshake.get(&id).copied() else { return };
        let Some(stream) = self.streams.get(&connection) else { return };
        match (stream.server.is_some(), stage) {
            (false, NoiseStage::Initiated) if payload.is_empty() => backend.noise_refused(connection),
            (false, NoiseStage::Initiated) => backend.noise_sent(connection, payload, None),
            (false, NoiseStage::Complete { is_initiator: true, holepunch_secret, .. }) => {
                backend.noise_received(connection, payload, None, Some(*holepunch_secret));
            }
            (true, NoiseStage::Received { .. }) if payload.is_empty() => {
                self.forget_stream(connection);
                backend.deny(connection);
            }
            (true, NoiseStage::Received { remote_public_key }) => {
                backend.noise_received(connection, payload, Some(remote_public_key), None);
            }
            (true, NoiseStage::Complete { is_initiator: false, holepunch_secret, .. }) => {
                backend.noise_sent(connection, payload, Some(*holepunch_secret));
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
        if !stream.is_open || stream.is_ended || self.clear_write(connection, &bytes, backend, now) {
            return;
        }
        // What waits for a slow peer shall not hold a frame with a hundred times its bytes.
        let is_small_part = bytes.len() < self.frame_len / 2;
        let bytes = if is_small_part { Bytes::copy_from_slice(&bytes) } else { bytes };
        if !bytes.is_empty() {
            self.put(connection, bytes, backend, now);
        }
    }

    /// Hands bytes to a peer, and notes when it has no room for them.
    pub(super) fn put(
        &mut self,
        connection: ConnectionId,
        bytes: Bytes,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        let len = bytes.len();
        if backend.write(connection, bytes) == Some(false) {
            let (since, held) = stream.blocked.unwrap_or((now, 0));
            stream.blocked = Some((since, held.saturating_add(len)));
            self.overrun = self.overrun.saturating_add(len);
            self.check_by(since + self.limits.blocked_timeout);
        }
    }
}
