//! Blind relays: dials of one for streams that find no other path, and being one for others.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Connect, Endpoint, Listen, Misuse};
use crate::crypto::KeyPair;
use crate::dht::blind_relay::{Call, CallRequest, Figures, Link, LinkEvent, Pair, Peer, Service};
use crate::dht::context::Timer;
use crate::dht::events::{ConnectionId, Event, ServerId};
use crate::dht::noise_seat::Identity;
use crate::dht::rpc::SocketId;
use crate::noise::{Role, Session};
use crate::time::{Duration, Instant};
use crate::udx::{Address, Remote};

impl Endpoint {
    /// Is a blind relay for others, under a key: [`Event::Listening`] follows once it is announced. It carries at most so
    /// many sessions; packets between the two sides of a pair pass unread.
    ///
    /// # Errors
    ///
    /// [`Misuse::KeyInUse`] when the key is listened on, or there is such a relay already.
    pub fn serve_blind_relay(
        &mut self,
        key_pair: KeyPair,
        max_sessions: usize,
        now: Instant,
    ) -> Result<ServerId, Misuse> {
        if self.service.is_some() {
            return Err(Misuse::KeyInUse);
        }
        let server = self.listen(Listen::new(Identity::Local(key_pair)), now)?;
        self.service = Some(Service::new(server, max_sessions));
        Ok(server)
    }

    /// Returns what there is, being a blind relay.
    pub fn blind_relay_figures(&self) -> Figures {
        self.service.as_ref().map(Service::figures).unwrap_or_default()
    }

    /// Returns who sends a datagram that is to be forwarded unread, and who gets it; `None` for all others.
    pub fn forwards(&self, socket: SocketId, from: Address, datagram: &[u8]) -> Option<[Peer; 2]> {
        let service = self.service.as_ref()?;
        service.ends(self.context.streams.forwards(socket, from, datagram)?)
    }

    /// Sends a peer of the blind relay away, and ends its pairs.
    pub fn close_blind_relay_session(&mut self, session: ConnectionId, now: Instant) {
        if self.service.as_ref().is_some_and(|service| service.has(session)) {
            self.relay_over(session, now);
            self.drain(now);
        }
    }

    /// Reports whether a connection is open, though not directly.
    pub(super) fn is_relayed(&self, id: ConnectionId) -> bool {
        self.dials.get(&id).is_some_and(|dial| dial.is_relayed())
            || self.accepts.get(&id).is_some_and(|accept| accept.is_relayed())
    }

    /// Does what connections want of relays, and takes the events that are not for the host; reports whether there were
    /// any.
    pub(super) fn drive_relays(&mut self, now: Instant) -> bool {
        let mut has_worked = false;
        for request in core::mem::take(&mut self.context.relaying.requests) {
            self.call(request, now);
            has_worked = true;
        }
        while let Some((outer, is_upgraded)) = self.context.relaying.farewells.pop_front() {
            self.hang_up(outer, is_upgraded, now);
        }
        if self.service.is_none() && self.context.relaying.calls.is_empty() {
            return has_worked;
        }
        let events = core::mem::take(&mut self.context.events);
        for event in events {
            match event.connection().filter(|id| self.is_own(*id, &event)) {
                Some(id) => {
                    self.handle_relay_event(id, event, now);
                    has_worked = true;
                }
                None => self.context.events.push_back(event),
            }
        }
        has_worked
    }

    /// Takes a packet from an unknown address for a stream that forwards, or that goes through a relay and has nobody
    /// left who looks for another path; reports whether it was one.
    pub(super) fn relays_knock(
        &mut self,
        id: ConnectionId,
        socket: SocketId,
        from: Address,
        now: Instant,
    ) -> bool {
        let is_connected = self.context.streams.remote(id).is_some();
        let remote_id = self.service.as_ref().and_then(|service| service.remote_id(id));
        if let Some(remote_id) = remote_id.filter(|_| !is_connected) {
            self.context.streams.connect(id, Remote { socket, address: from, id: remote_id }, now);
            return true;
        }
        let Some(inner) = self.context.relaying.call_of(id) else { return false };
        let call = self.context.relaying.calls.get(&inner).filter(|call| call.ends_at.is_none());
        let direct_id = call.and_then(|call| call.request.direct_id);
        let Some(direct_id) = direct_id.filter(|_| is_connected && !self.is_relayed(id)) else {
            return false;
        };
        self.context.streams.change_remote(id, Remote { socket, address: from, id: direct_id }, now);
        self.context.events.push_back(Event::Upgraded { connection: id, remote: from });
        self.hang_up(id, true, now);
        true
    }

    pub(super) fn handle_relay_timeout(&mut self, id: ConnectionId, now: Instant) {
        if let Some(call) = self.context.relaying.calls.get_mut(&id) {
            if call.deadline.is_some_and(|at| at <= now) || call.ends_at.is_some_and(|at| at <= now) {
                return self.end_call(id, now);
            }
            if let Some(link) = &mut call.link {
                link.handle_timeout(now);
            }
        } else if let Some(link) = self.service.as_mut().and_then(|service| service.link(id)) {
            link.handle_timeout(now);
        }
        self.drive_link(id, now);
    }

    /// Reports whether an event is about a connection of ours with a relay, or as one.
    fn is_own(&self, id: ConnectionId, event: &Event) -> bool {
        let is_service = |service: &Service| {
            let is_new = matches!(event, Event::Connected { server, .. } | Event::Failed { server, .. }
                if *server == Some(service.server));
            is_new || service.has(id) || service.forwards(id)
        };
        self.context.relaying.calls.contains_key(&id) || self.service.as_ref().is_some_and(is_service)
    }

    /// Dials a relay.
    fn call(&mut self, request: CallRequest, now: Instant) {
        let options = Connect::new(Identity::Local(self.own.clone()), request.relay);
        let id = self.dial(options, false, now);
        let deadline = now + PAIR_TIMEOUT;
        let call = Call { request, link: None, deadline: Some(deadline), ends_at: None };
        self.context.relaying.calls.insert(id, call);
        self.context.wake_at(Timer::Relay(id), deadline);
    }

    /// Ends the call of a stream that is over, or has another path: then what is on its way gets time to arrive.
    fn hang_up(&mut self, outer: ConnectionId, is_upgraded: bool, now: Instant) {
        let Some(inner) = self.context.relaying.call_of(outer) else { return };
        if !is_upgraded {
            return self.end_call(inner, now);
        }
        let at = now + UPGRADE_LINGER;
        if let Some(call) = self.context.relaying.calls.get_mut(&inner) {
            call.ends_at.get_or_insert(at);
            self.context.wake_at(Timer::Relay(inner), at);
        }
    }

    fn end_call(&mut self, inner: ConnectionId, now: Instant) {
        let Some(call) = self.context.relaying.calls.remove(&inner) else { return };
        self.release(inner, now);
        let outer = call.request.outer;
        if self.dials.contains_key(&outer) {
            self.with_dial(outer, now, |dial, context| dial.relay_failed(context, now));
        } else {
            self.with_accept(outer, now, |accept, _, context| accept.relay_failed(context, now));
        }
    }

    /// Breaks a connection of ours off.
    fn release(&mut self, id: ConnectionId, now: Instant) {
        if let Some(mut dial) = self.dials.remove(&id) {
            dial.close(&mut self.context, now);
        }
        if let Some(socket) = self.context.streams.socket(id) {
            self.context.close_socket_later(socket, now);
        }
        self.context.streams.forget(id);
    }

    fn handle_relay_event(&mut self, id: ConnectionId, event: Event, now: Instant) {
        match event {
            Event::Connected { session: Some(session), remote_public_key, server, .. } => {
                if server.is_some() {
                    self.open_session(id, session, &remote_public_key, now);
                } else {
                    self.open_call(id, session, now);
                }
            }
            Event::Data { bytes, .. } => self.handle_relay_bytes(id, bytes, now),
            // The other end of a forwarded stream hears of its end from the peer itself.
            Event::Failed { .. } | Event::Closed { .. } | Event::End { .. } => self.relay_over(id, now),
            _ => {}
        }
    }

    fn open_call(&mut self, id: ConnectionId, session: Session, now: Instant) {
        let (key, seed) = (self.own.public_key, self.context.rng.bytes());
        if let Some(call) = self.context.relaying.calls.get_mut(&id) {
            let mut link = Link::new(Role::Initiator, session, &key, &seed, now);
            link.send_pair(&call.request.pair());
            call.link = Some(link);
            self.drive_link(id, now);
        }
    }

    fn open_session(&mut self, id: ConnectionId, session: Session, key: &[u8; 32], now: Instant) {
        let link = Link::new(Role::Responder, session, key, &self.context.rng.bytes(), now);
        let address = self.context.streams.remote(id);
        let peer = address.map(|address| Peer { session: id, public_key: *key, address });
        if peer.zip(self.service.as_mut()).is_some_and(|(peer, service)| service.open(peer, link)) {
            self.drive_link(id, now);
        } else {
            self.release(id, now);
        }
    }

    fn handle_relay_bytes(&mut self, id: ConnectionId, bytes: Bytes, now: Instant) {
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        if let Some(link) = self.link(id) {
            link.handle_bytes(bytes, now);
            self.drive_link(id, now);
        }
        // It may have been closed for what it said.
        let _ = self.context.streams.consumed(id, len);
    }

    fn link(&mut self, id: ConnectionId) -> Option<&mut Link> {
        match self.context.relaying.calls.get_mut(&id) {
            Some(call) => call.link.as_mut(),
            None => self.service.as_mut()?.link(id),
        }
    }

    /// Takes what the other end of a link says, sends what it shall hear, and arms its timer.
    fn drive_link(&mut self, id: ConnectionId, now: Instant) {
        while let Some(event) = self.link(id).and_then(Link::poll_event) {
            match event {
                LinkEvent::Pair(pair) => self.paired(id, &pair, now),
                LinkEvent::Unpair(token) => {
                    let streams = self.service.as_mut().map(|service| service.withdraw(id, &token));
                    self.close_forwards(streams.unwrap_or_default(), now);
                }
                LinkEvent::Over => return self.relay_over(id, now),
            }
        }
        while let Some(bytes) = self.link(id).and_then(|link| link.poll_transmit(now)) {
            if self.context.streams.write(id, bytes).is_err() {
                return self.relay_over(id, now);
            }
        }
        if let Some(at) = self.link(id).and_then(|link| link.poll_timeout()) {
            self.context.wake_at(Timer::Relay(id), at);
        }
    }

    /// Takes a pair that a relay has made for us, or that is wanted of us.
    fn paired(&mut self, id: ConnectionId, pair: &Pair, now: Instant) {
        let Some(call) = self.context.relaying.calls.get_mut(&id) else {
            return self.match_pair(id, pair, now);
        };
        let request = call.request;
        let is_ours = pair.token == request.token && pair.is_initiator == request.is_initiator;
        let (Ok(remote_id), true, Some(_)) = (u32::try_from(pair.id), is_ours, call.deadline) else { return };
        call.deadline = None;
        let (socket, remote) = (self.context.streams.socket(id), self.context.streams.remote(id));
        let (Some(socket), Some(address), outer) = (socket, remote, request.outer) else { return };
        let relay = Remote { socket, address, id: remote_id };
        if self.dials.contains_key(&outer) {
            self.with_dial(outer, now, |dial, context| dial.relay_paired(relay, context, now));
        } else if let Some(accept) = self.accepts.get_mut(&outer) {
            accept.relay_paired(relay, &mut self.context, now);
        } else {
            self.end_call(id, now);
        }
    }

    fn match_pair(&mut self, id: ConnectionId, pair: &Pair, now: Instant) {
        let Some(found) = self.service.as_mut().and_then(|service| service.pair(id, pair)) else { return };
        let ends = [self.connection_id(), self.connection_id()];
        let ids = ends.map(|end| self.context.streams.open(end, now));
        let Some(service) = &mut self.service else { return };
        service.connect(found.token, ends);
        if ids.contains(&0) {
            let streams = service.unpair(&found.token);
            return self.close_forwards(streams, now);
        }
        let [one, other] = ends;
        self.context.streams.join(one, other);
        for (side, session) in found.sessions.into_iter().enumerate() {
            let stream = ids.get(side).copied().unwrap_or_default();
            let answer = Pair { is_initiator: side == 1, token: found.token, id: u64::from(stream), seq: 0 };
            if let Some(link) = self.service.as_mut().and_then(|service| service.link(session)) {
                link.send_pair(&answer);
            }
            if session != id {
                self.drive_link(session, now);
            }
        }
    }

    /// Takes the end of a connection with a relay, of a session, or of a stream that forwards.
    fn relay_over(&mut self, id: ConnectionId, now: Instant) {
        if self.context.relaying.calls.contains_key(&id) {
            return self.end_call(id, now);
        }
        let Some(service) = &mut self.service else { return };
        if service.forwards(id) {
            let streams = service.stream_closed(id);
            return self.close_forwards(streams, now);
        }
        let streams = service.close(id);
        self.close_forwards(streams, now);
        self.release(id, now);
    }

    fn close_forwards(&mut self, streams: Vec<ConnectionId>, now: Instant) {
        for stream in streams {
            self.release(stream, now);
        }
    }
}

/// Time for both sides to come to a relay.
const PAIR_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for packets on their way through a relay to arrive, once a stream has left it.
const UPGRADE_LINGER: Duration = Duration::from_secs(5);
