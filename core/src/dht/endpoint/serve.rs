//! What others ask of this node: storage, handshakes for its servers, and messages to pass on.

use super::Endpoint;
use crate::dht::events::{ConnectionId, ServerId};
use crate::dht::messages::{Handshake, Holepunch, mode};
use crate::dht::node::ReplyOptions;
use crate::dht::persistent::Response;
use crate::dht::router::{Hop, Route, route_handshake, route_holepunch};
use crate::dht::rpc::{self, Incoming};
use crate::dht::server::{Accept, forward};
use crate::dht::{command, is_bogon};
use crate::time::{Duration, Instant};

impl Endpoint {
    pub(super) fn handle_request(&mut self, request: Incoming, now: Instant) {
        match request.command {
            command::PEER_HANDSHAKE => self.handle_handshake(request, now),
            command::PEER_HOLEPUNCH => self.handle_holepunch(request, now),
            _ => self.handle_storage(&request, now),
        }
    }

    fn handle_storage(&mut self, request: &Incoming, now: Instant) {
        let own_record = request
            .target
            .and_then(|target| self.by_target.get(&target))
            .and_then(|id| self.servers.get(id))
            .map(|server| server.record.clone());
        let (Some(store), Some(own_id)) = (&mut self.store, self.context.node.id()) else {
            let options = ReplyOptions { closer: true, ..ReplyOptions::BARE };
            self.context.node.reply(request, rpc::error::UNKNOWN_COMMAND, None, options);
            return;
        };
        let elapsed = u64::try_from(now.duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        let clock = self.clock.saturating_add(elapsed);
        let node = &mut self.context.node;
        match store.handle(request, &own_id, own_record, clock, &mut self.context.rng) {
            Response::Silent => {}
            Response::Full(value) => node.reply(request, 0, value, ReplyOptions::FULL),
            Response::Bare => node.reply(request, 0, None, ReplyOptions::BARE),
            Response::Error(error) => {
                node.reply(request, error, None, ReplyOptions { closer: true, ..ReplyOptions::BARE });
            }
        }
    }

    fn route(&mut self, target: Option<[u8; 32]>) -> (Route, Option<ServerId>) {
        let Some(target) = target else { return (Route::Unknown, None) };
        if let Some(server) = self.by_target.get(&target) {
            return (Route::Server, Some(*server));
        }
        let forward = self.store.as_mut().and_then(|store| store.forward(&target));
        (forward.map_or(Route::Unknown, Route::Forward), None)
    }

    fn handle_handshake(&mut self, request: Incoming, now: Instant) {
        let Some(handshake) = request.value.as_ref().and_then(|value| Handshake::decode(value).ok()) else {
            return;
        };
        let (route, server) = self.route(request.target);
        if server.is_none() && handshake.mode == mode::FROM_RELAY {
            self.handshake_came_back(&handshake.noise, &request, now);
        }
        match (route_handshake(&handshake, route, request.from), server) {
            (Hop::Serve, Some(server)) => self.serve_handshake(server, handshake, request, now),
            (Hop::Serve, None) => {}
            (hop, _) => self.pass_on(hop, &request, now),
        }
    }

    /// Has a dial of this node not wait for a server that was here: its nodes bring the handshake back, where upstream waits for
    /// all of its time.
    fn handshake_came_back(&mut self, noise: &[u8], request: &Incoming, now: Instant) {
        let gone = request.target.and_then(|target| self.gone.get(&target).copied());
        if gone.is_none_or(|since| now < since + COMING_BACK) {
            return;
        }
        let Some((id, dial)) = self.dials.iter_mut().find(|(_, dial)| dial.asks_with(noise)) else { return };
        let id = *id;
        let progress = dial.came_back(request.from, &mut self.context, now);
        self.settle_dial(id, progress, now);
    }

    fn serve_handshake(&mut self, id: ServerId, handshake: Handshake, request: Incoming, now: Instant) {
        if !matches!(handshake.mode, mode::FROM_CLIENT | mode::FROM_RELAY | mode::FROM_SECOND_RELAY) {
            return;
        }
        let Some(server) = self.servers.get_mut(&id) else { return };
        if let Some(connection) = server.by_message.get(&handshake.noise) {
            if let Some(accept) = self.accepts.get_mut(connection) {
                accept.copy(handshake, request, &mut self.context);
            }
            return;
        }
        let client = handshake.peer_address.unwrap_or(request.from);
        if !server.has_room() || !self.rate.allows(client.ip(), now) {
            return;
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let number = server.free_number();
        server.by_message.insert(handshake.noise.clone(), connection);
        server.by_number.insert(number, connection);
        let mut accept = Accept::new(connection, id, number, handshake, request, &server.identity);
        let progress = accept.start(&server.identity, server.asks, server.standing(), &mut self.context, now);
        self.accepts.insert(connection, accept);
        self.settle_accept(connection, id, progress, now);
    }

    fn handle_holepunch(&mut self, request: Incoming, now: Instant) {
        let Some(message) = request.value.as_ref().and_then(|value| Holepunch::decode(value).ok()) else {
            return;
        };
        let (route, server) = self.route(request.target);
        match (route_holepunch(&message, route, request.from), server) {
            (Hop::Serve, Some(id)) => {
                let Some(server) = self.servers.get(&id) else { return };
                let is_relay = server.announcer.is_relay(request.from);
                let Some(connection) = server.by_number.get(&message.id) else { return };
                if let Some(accept) = self.accepts.get_mut(connection) {
                    accept.handle_holepunch(message, request, is_relay, &mut self.context, now);
                }
            }
            (Hop::Serve, None) => {}
            (hop, _) => self.pass_on(hop, &request, now),
        }
    }

    /// Passes a message on for others, within limits.
    fn pass_on(&mut self, hop: Hop, request: &Incoming, now: Instant) {
        if let Hop::Reply { to, .. } | Hop::Relay { to, .. } = &hop {
            let is_refused = to.port() == 0 || (!self.allows_bogons && is_bogon(to.ip()));
            if is_refused || !self.serves_others || !self.rate.allows(request.from.ip(), now) {
                return;
            }
        }
        forward(hop, request, None, &mut self.context);
    }
}

/// How long a server that was closed may take to listen again, as that of a page that is loaded anew does.
const COMING_BACK: Duration = Duration::from_secs(10);
