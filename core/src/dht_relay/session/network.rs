//! What the DHT says, and what a client hears of it.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::backend::Backend;
use super::super::handshakes::Owner;
use super::super::messages::{HandshakeRef, LookupResult, Message, Node, Peer, SignRequest};
use super::super::next_number;
use super::super::queries::QueryMessage;
use super::super::quota::{Resource, Scope};
use super::{MAX_RECEIVE_LIMIT, MIN_RECEIVE_LIMIT, RESET, Session, Stream, TIMED_OUT};
use crate::compact_encoding::Encode;
use crate::dht::{
    ConnectError, ConnectionId, LookupReply, OperationId, ServerId, SignatureRequest, Signee, StreamError,
};
use crate::time::Instant;
use crate::udx::Address;

impl Session {
    pub(in super::super) fn found(&mut self, operation: OperationId, reply: LookupReply) {
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

    pub(in super::super) fn finished(&mut self, operation: OperationId, closest: Vec<Address>) {
        if let Some(query) = self.queries.remove(&operation) {
            if !closest.is_empty() {
                let nodes = closest.into_iter().map(Into::into).collect();
                self.answer(&QueryMessage::Closest { query, nodes });
            }
            if let Some(custody) = &mut self.custody {
                custody.forget_signer(query);
            }
            self.send(&Message::Finished { query });
        }
    }

    pub(in super::super) fn sign(
        &mut self,
        request: SignatureRequest,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let signee = match request.signee {
            Signee::Operation(id) => self.queries.get(&id).copied(),
            Signee::Server(id) => self.servers.get(&id).map(|server| server.client_alias),
        };
        let signature = signee.and_then(|number| self.custody.as_ref()?.sign(number, &request));
        if signature.is_some() {
            backend.signed(request.id, signature);
            return;
        }
        let Some(signee) = signee else {
            backend.signed(request.id, None);
            return;
        };
        if self.signatures.len() >= self.limits.signatures {
            backend.turned_down("signatures", Scope::Link.name());
            backend.signed(request.id, None);
            return;
        }
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

    pub(in super::super) fn listening(&mut self, id: ServerId, backend: &mut impl Backend) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if !server.is_listening {
            server.is_listening = true;
            let (alias, remote_alias) = (server.alias, server.client_alias);
            self.answer(&QueryMessage::Reachable { server: remote_alias, nodes: backend.reachable(id) });
            self.send(&Message::Listening { alias, remote_alias, address: backend.public_address() });
        }
    }

    /// Takes the end of a server: on demand, or because the key went to another link.
    pub(in super::super) fn server_closed(&mut self, id: ServerId, backend: &mut impl Backend) {
        // A client knows our alias, which is what `closed` names, from `listening` only.
        self.listening(id, backend);
        if let Some(server) = self.servers.remove(&id) {
            if let Some(custody) = &mut self.custody {
                custody.forget_signer(server.client_alias);
            }
            self.send(&Message::Closed { alias: server.alias });
        }
    }

    pub(in super::super) fn noise_send(
        &mut self,
        connection: ConnectionId,
        payload: Bytes,
        backend: &mut impl Backend,
        now: Instant,
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
        let server = stream.server.and_then(|id| self.servers.get(&id)).map(|server| server.client_alias);
        if let Some(custody) = &mut self.custody
            && let Some(reply) = custody.noise_send(id, connection, (initiator, server), &payload, now)
        {
            return self.reply(Some(reply), backend);
        }
        self.send(&Message::NoiseSend { id, initiator, payload });
    }

    pub(in super::super) fn noise_receive(
        &mut self,
        connection: ConnectionId,
        server: Option<ServerId>,
        message: Bytes,
        from: Address,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let Some(server) = server else {
            match self.streams.get(&connection) {
                Some(stream) if stream.handshake != 0 => {
                    let id = stream.handshake;
                    if let Some(reply) = self.custody.as_mut().and_then(|own| own.complete(id, &message)) {
                        return self.reply(Some(reply), backend);
                    }
                    self.send(&Message::NoiseReceive { id, server_alias: None, message });
                }
                _ => backend.destroy(connection),
            }
            return;
        };
        let is_full = backend.full(Resource::Streams, self.streams.len())
            || backend.full(Resource::Handshakes, self.half_open);
        let aliases = self.servers.get(&server).map(|server| (server.alias, server.client_alias));
        let Some((server_alias, client_alias)) = aliases.filter(|_| !is_full) else {
            backend.deny(connection);
            return;
        };
        let id = next_number(&mut self.last_number);
        self.by_handshake.insert(id, connection);
        let stream = Stream { server: Some(server), handshake: id, ..Stream::new() };
        self.streams.insert(connection, stream);
        self.half_open += 1;
        if let Some(custody) = self.custody.as_mut().filter(|custody| custody.signs_for(client_alias)) {
            // What makes no sense is left to run out, as a client would.
            if let Some((remote_public_key, payload)) = custody.respond(id, client_alias, &message, now) {
                self.send(&Message::Incoming { id, server_alias, remote_public_key, payload });
            }
            return;
        }
        self.answer(&QueryMessage::Caller { handshake: id, address: from.into() });
        self.send(&Message::NoiseReceive { id, server_alias: Some(server_alias), message });
    }

    pub(in super::super) fn connected(
        &mut self,
        connection: ConnectionId,
        remote_public_key: [u8; 32],
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let share = self.limits.receive_buffer / self.streams.len().max(1);
        let server_aliases =
            |id: &ServerId| self.servers.get(id).map(|server| (server.alias, server.client_alias));
        let Some(stream) = self.streams.get_mut(&connection) else {
            backend.destroy(connection);
            return;
        };
        let alias = next_number(&mut self.last_number);
        stream.alias = alias;
        stream.is_open = true;
        self.half_open = self.half_open.saturating_sub(1);
        let owner = match stream.server {
            Some(server) => server_aliases(&server).map(|(_, alias)| Owner::Server(alias)),
            None => stream.client_alias.map(Owner::Stream),
        };
        let opened = owner.zip(self.custody.as_mut());
        let opened = opened.and_then(|(owner, custody)| custody.open(stream.handshake, owner, now));
        let handshake = match opened {
            Some((clear, hash)) => {
                stream.clear = Some(clear);
                HandshakeRef::Hash(hash)
            }
            None => HandshakeRef::Id(stream.handshake),
        };
        self.by_handshake.remove(&stream.handshake);
        self.by_own_alias.insert(alias, connection);
        let message = match (stream.server, stream.client_alias) {
            (Some(server), _) => {
                // A server that was closed meanwhile has no alias any more.
                let Some((server_alias, _)) = server_aliases(&server) else {
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
        self.flush_clear(connection, backend, now);
    }

    pub(in super::super) fn failed(&mut self, connection: ConnectionId, error: ConnectError) {
        self.stream_over(connection, Some(error.to_string()));
    }

    pub(in super::super) fn data(
        &mut self,
        connection: ConnectionId,
        bytes: Bytes,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let Some(alias) = self.open_alias(connection) else {
            backend.destroy(connection);
            return;
        };
        if self.streams.get(&connection).is_some_and(|stream| stream.clear.is_some()) {
            return self.clear_data(connection, bytes, backend, now);
        }
        let credit = bytes.len();
        self.outbox.push_data(connection, alias, bytes, credit, false);
    }

    pub(in super::super) fn drain(&mut self, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&connection)
            && let Some((_, bytes)) = stream.blocked.take()
        {
            self.overrun = self.overrun.saturating_sub(bytes);
        }
    }

    pub(in super::super) fn ended(&mut self, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&connection).filter(|stream| stream.is_open) {
            stream.has_remote_ended = true;
            let alias = stream.alias;
            self.send(&Message::End { alias });
        }
    }

    pub(in super::super) fn closed(&mut self, connection: ConnectionId, error: Option<StreamError>) {
        let error = error.map(|error| match error {
            StreamError::TimedOut => TIMED_OUT.to_string(),
            _ => RESET.to_string(),
        });
        self.stream_over(connection, error);
    }
}
