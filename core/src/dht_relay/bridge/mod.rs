//! A whole relay: one DHT endpoint, and a session for each link.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use bytes::Bytes;

mod held;

use super::backend::{Counters, Port, Routes};
use super::ledger::{Ledger, Native};
use super::limits::{Limits, Permissions, Refusal};
use super::quota::{Charge, Full, Quotas, Way};
use super::reach::{Reach, Verdict};
use super::resume::{Ticket, Token};
use super::session::Session;
use crate::collections::{BTreeMap, BTreeSet};
use crate::crypto::{KeyPair, Secret, blake2b_256, blake2b_256_keyed};
use crate::dht::rpc::{SocketId, Transmit};
use crate::dht::{
    ConnectionId, Endpoint, EndpointOptions, Event, Finished, Misuse, OperationId, ServerId, Signee,
};
use crate::time::Instant;
use crate::udx::Address;

/// Names a link of a relay; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// The relay's node.
    pub endpoint: EndpointOptions,
    /// Bounds of the protocol on each link.
    pub limits: Limits,
    /// Bounds of what links, addresses, keys and everybody together may have.
    pub quotas: Quotas,
    /// Whether peers are told addresses of local networks, and tried at theirs.
    pub allows_lan: bool,
    /// Whether clients are served that give their secret keys away. The relay sees everything that they say.
    pub allows_custodial: bool,
    /// Keys of blind relays that streams go through while there is no direct path to a peer.
    pub relay_through: Vec<[u8; 32]>,
}

/// What a relay tells its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeEvent {
    /// Bind this socket to any port before the next datagram is sent.
    OpenSocket(SocketId),
    /// Close this socket.
    CloseSocket(SocketId),
    /// The node has looked around: queries find what there is.
    Bootstrapped,
    /// The client of this link says that this is its key, which nothing proves yet: [`Bridge::admit`] it or
    /// [`Bridge::refuse`] it. Nothing is done for it before.
    Introduced(LinkId, [u8; 32]),
    /// The client of the first link wants to go on with the second one: [`Bridge::resume`] it or
    /// [`Bridge::deny_resume`]. Its WebSocket carries nothing else meanwhile.
    Resuming(LinkId, LinkId),
    /// This link was held, and its client has not come back: there is none.
    Expired(LinkId),
    /// Native peers find the blind relay that was started with [`Bridge::serve_blind_relay`].
    BlindRelayAnnounced,
    /// Look at this link: it has frames, may be read again, or is to be closed.
    Wake(LinkId),
}

/// What a relay has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Links.
    pub links: usize,
    /// Those among them that are held for clients that are away.
    pub held: usize,
    /// Streams.
    pub streams: u64,
    /// Streams among them that are not open.
    pub half_open: u64,
    /// Keys listened on.
    pub servers: u64,
    /// Topics announced in the last 20 minutes.
    pub topics: u64,
    /// Queries that run.
    pub queries: usize,
    /// Bytes that wait for clients.
    pub queued: usize,
    /// Bytes that are kept for clients that come back.
    pub kept: usize,
    /// Links, addresses and keys whose use of the relay is remembered.
    pub accounts: usize,
}

/// The machine of a relay.
///
/// Links are [opened](Self::open_link) when their WebSocket is, and fed with its binary messages. Take frames with
/// [`poll_frame`](Self::poll_frame) only as fast as they leave: that is what makes peers wait for a slow client. After any
/// `&mut self` call, drain [`poll_event`](Self::poll_event), then [`poll_transmit`](Self::poll_transmit), then arm a timer
/// from [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Bridge {
    endpoint: Endpoint,
    limits: Limits,
    allows_lan: bool,
    relay_through: Vec<[u8; 32]>,
    /// The server of a blind relay for others.
    blind: Option<ServerId>,
    /// Seeds what clients need that give their keys away; absent where those are refused.
    custody: Option<Secret>,
    /// Seeds what clients come back with.
    tickets: Secret,
    /// Links by the hash of what their clients come back with.
    claims: BTreeMap<[u8; 32], LinkId>,
    held: BTreeSet<LinkId>,
    /// Bytes that are kept for clients that come back.
    kept: usize,
    routes: Routes,
    ledger: Ledger,
    counters: Counters,
    reach: Reach,
    sessions: BTreeMap<LinkId, Session>,
    /// Links of the host itself.
    own: BTreeSet<LinkId>,
    timers: BTreeSet<(Instant, LinkId)>,
    /// Links to look at, each once.
    woken: BTreeSet<LinkId>,
    events: VecDeque<BridgeEvent>,
    next_link: u64,
}

impl Bridge {
    /// Creates a relay without links. The seed must never be used twice.
    pub fn new(options: BridgeOptions, seed: [u8; 32], now: Instant) -> Self {
        let reach = Reach::new(options.endpoint.allows_bogons);
        let mut bridge = Self {
            reach,
            endpoint: Endpoint::new(options.endpoint, seed, now),
            limits: options.limits,
            allows_lan: options.allows_lan,
            relay_through: options.relay_through,
            blind: None,
            custody: options
                .allows_custodial
                .then(|| blake2b_256_keyed(&seed, &[b"hypertab/custody"]).into()),
            tickets: blake2b_256_keyed(&seed, &[b"hypertab/relay-resume"]).into(),
            claims: BTreeMap::new(),
            held: BTreeSet::new(),
            kept: 0,
            routes: Routes::default(),
            ledger: Ledger::new(options.quotas),
            counters: Counters::default(),
            sessions: BTreeMap::new(),
            own: BTreeSet::new(),
            timers: BTreeSet::new(),
            woken: BTreeSet::new(),
            events: VecDeque::new(),
            next_link: 0,
        };
        bridge.drain(now);
        bridge
    }

    /// Returns what seeds the keys of the streams of a client that gives its own away.
    fn custody_seed(&self, link: LinkId) -> Option<[u8; 32]> {
        self.custody.as_ref().map(|seed| blake2b_256_keyed(&**seed, &[&link.0.to_le_bytes()]))
    }

    /// Returns what the client of a link may come back with, if links are held here.
    fn ticket(&self, link: LinkId) -> Option<Ticket> {
        let grace = self.limits.resume_grace?;
        let token = Token(blake2b_256_keyed(&*self.tickets, &[&link.0.to_le_bytes()]));
        Some(Ticket { token, grace })
    }

    /// Returns the node and what runs on it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns how many links there are, without the host's own.
    pub fn links(&self) -> usize {
        self.sessions.len() - self.own.len()
    }

    /// Returns what was done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Adds up what there is at the moment. Takes time in proportion to the links.
    pub fn figures(&self) -> Figures {
        let (held, accounts) = (self.held.len(), self.ledger.len());
        let mut figures =
            Figures { links: self.links(), held, accounts, kept: self.kept, ..Figures::default() };
        for session in self.sessions.values() {
            let [streams, half_open, servers, topics] = session.usage();
            figures.streams += streams;
            figures.half_open += half_open;
            figures.servers += servers;
            figures.topics += topics;
            figures.queries += session.queries();
            figures.queued += session.queued();
        }
        figures
    }

    /// Returns whether a link has no streams and no queries.
    pub fn is_idle(&self, link: LinkId) -> bool {
        self.sessions.get(&link).is_none_or(|session| session.usage()[0] == 0 && session.queries() == 0)
    }

    /// Replaces the bounds. Links that are open keep their limits, not their quotas.
    pub fn set_bounds(&mut self, limits: Limits, quotas: Quotas) {
        self.limits = limits;
        self.ledger.set_quotas(quotas);
    }

    /// Is a blind relay for native peers as well, see [`Endpoint::serve_blind_relay`].
    ///
    /// # Errors
    ///
    /// [`Misuse::KeyInUse`] the second time.
    pub fn serve_blind_relay(
        &mut self,
        key_pair: KeyPair,
        max_sessions: usize,
        now: Instant,
    ) -> Result<(), Misuse> {
        self.blind = Some(self.endpoint.serve_blind_relay(key_pair, max_sessions, now)?);
        self.drain(now);
        Ok(())
    }

    /// Starts a link for an address: an IPv4 address mapped to IPv6, or the first half of an IPv6 address.
    ///
    /// # Errors
    ///
    /// Says which account cannot have one more; nothing was changed.
    pub fn open_link(
        &mut self,
        address: [u8; 16],
        permissions: Permissions,
        now: Instant,
    ) -> Result<LinkId, Full> {
        let link = LinkId(self.next_link);
        self.ledger.open(link, address, now)?;
        self.next_link += 1;
        let ticket = self.ticket(link);
        if let Some(ticket) = &ticket {
            self.claims.insert(blake2b_256(&[&ticket.token.0]), link);
        }
        let session = Session::new(self.limits, permissions, self.custody_seed(link), ticket, now);
        self.sessions.insert(link, session);
        self.touch(link);
        Ok(link)
    }

    /// Starts a link for a client that is part of the host: no quota holds for it, and it is none of the links that are
    /// counted. It introduces itself as all do.
    pub fn open_own_link(&mut self, now: Instant) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.sessions.insert(link, Session::new(OWN_LIMITS, Permissions::ALL, None, None, now));
        self.own.insert(link);
        self.touch(link);
        link
    }

    /// Returns whether a link is the host's own.
    pub fn is_own(&self, link: LinkId) -> bool {
        self.own.contains(&link)
    }

    /// Answers [`BridgeEvent::Introduced`] with yes, within the account of the key.
    pub fn admit(&mut self, link: LinkId, public_key: [u8; 32], now: Instant) {
        match self.ledger.introduce(link, public_key, now) {
            Ok(()) => {
                self.make_way(link, now);
                self.with_session(link, now, |session, port| session.admit(port, now));
            }
            Err(Full::Links(_)) => self.refuse(link, Refusal::TooManyLinks, now),
            Err(Full::Rate(_)) => self.refuse(link, Refusal::TooFast, now),
            Err(Full::Spent(_)) => self.refuse(link, Refusal::DaySpent, now),
        }
        self.drain(now);
    }

    /// Has a link closed.
    pub fn refuse(&mut self, link: LinkId, refusal: Refusal, now: Instant) {
        self.with_session(link, now, |session, _| session.refuse(refusal));
    }

    /// Counts bytes of a link. The host waits as long as it says, and closes a link that has used up its day.
    pub fn charge(&mut self, link: LinkId, way: Way, bytes: usize, now: Instant) -> Charge {
        self.ledger.charge(link, way, bytes, now)
    }

    /// Takes a frame of a link. Frames of a link that is to be closed are ignored.
    pub fn handle_frame(&mut self, link: LinkId, frame: Bytes, now: Instant) {
        self.with_session(link, now, |session, port| session.handle_frame(frame, port, now));
        self.drain(now);
    }

    /// Ends a link, whose WebSocket is closed.
    pub fn close_link(&mut self, link: LinkId, now: Instant) {
        let mut streams = 0;
        self.with_session(link, now, |session, port| streams = session.close(port));
        let session = self.sessions.remove(&link);
        self.kept -= session.as_ref().map_or(0, Session::kept);
        if let Some(at) = session.as_ref().and_then(|session| session.armed) {
            self.timers.remove(&(at, link));
        }
        if let Some(token) = session.as_ref().and_then(Session::token) {
            self.claims.remove(&blake2b_256(&[token]));
        }
        self.woken.remove(&link);
        self.own.remove(&link);
        self.held.remove(&link);
        self.ledger.close(link, streams);
        self.drain(now);
    }

    /// Returns the next frame for a link. Call only while there is room for it.
    pub fn poll_frame(&mut self, link: LinkId, now: Instant) -> Option<Bytes> {
        let mut frame = None;
        self.with_session(link, now, |session, port| frame = session.poll_frame(port, now));
        if self.kept > self.limits.resume_bytes {
            self.let_go();
        }
        frame
    }

    /// Returns why a link has to be closed, once its frames are sent.
    pub fn refusal(&self, link: LinkId) -> Option<Refusal> {
        self.sessions.get(&link)?.refusal()
    }

    /// Returns whether the link shall not be read.
    pub fn is_paused(&self, link: LinkId) -> bool {
        self.sessions.get(&link).is_some_and(Session::is_paused)
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        match self.reach.hears(from, bytes.first().copied(), now) {
            Verdict::Pass => {}
            Verdict::Private => return self.counters.private_in += 1,
            Verdict::Excess => return self.counters.excess_in += 1,
        }
        if self.may_pass(socket, from, &bytes, now) {
            self.endpoint.handle_datagram(socket, from, bytes, now);
        }
        self.drain(now);
    }

    /// Reports whether a datagram may go on: those between native peers count for both. Who has used up the day is sent away.
    fn may_pass(&mut self, socket: SocketId, from: Address, bytes: &[u8], now: Instant) -> bool {
        let Some(peers) = self.endpoint.forwards(socket, from, bytes) else { return true };
        let account = |address: Address| Ipv4Addr::from(address.ip()).to_ipv6_mapped().octets();
        let natives = peers.map(|peer| Native { key: peer.public_key, address: account(peer.address) });
        let (at, full) = match self.ledger.forward(natives, bytes.len(), now) {
            Ok(()) => {
                self.counters.forwarded = self.counters.forwarded.saturating_add(bytes.len() as u64);
                return true;
            }
            Err(refused) => refused,
        };
        let (resource, scope) = match full {
            Full::Spent(scope) => ("blind_relay_bytes_per_day", scope),
            Full::Links(scope) | Full::Rate(scope) => ("blind_relay_bytes_per_second", scope),
        };
        self.counters.turn_down(resource, scope.name());
        if let (Full::Spent(_), Some(peer)) = (full, peers.get(at)) {
            self.endpoint.close_blind_relay_session(peer.session, now);
        }
        false
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some((at, link)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, link));
            if let Some(session) = self.sessions.get_mut(&link) {
                session.armed = None;
            }
            self.with_session(link, now, |session, port| session.handle_timeout(port, now));
            let held_until = self.sessions.get(&link).and_then(Session::held_until);
            if held_until.is_some_and(|until| until <= now) {
                self.expire(link, now);
            }
        }
        while let Some(connection) = self.routes.late(now) {
            self.let_go_over(connection);
            self.endpoint.destroy(connection, now);
        }
        self.drain(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [self.endpoint.poll_timeout(), timer, self.routes.let_go_until()].into_iter().flatten().min()
    }

    /// Returns the next datagrams to send; see [`Endpoint::poll_transmit`].
    pub fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        loop {
            let transmit = self.endpoint.poll_transmit(max_segments, now)?;
            let datagrams = transmit.bytes.len().div_ceil(transmit.segment.max(1));
            match self.reach.sends(transmit.to, transmit.bytes.len(), datagrams, now) {
                Verdict::Pass => return Some(transmit),
                Verdict::Private => self.counters.private_out += 1,
                Verdict::Excess => self.counters.excess_out += 1,
            }
        }
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front().or_else(|| self.woken.pop_first().map(BridgeEvent::Wake))
    }

    fn with_session(&mut self, link: LinkId, now: Instant, act: impl FnOnce(&mut Session, &mut Port<'_>)) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let (was_paused, was_refused) = (session.is_paused(), session.refusal().is_some());
        let kept = session.kept();
        let mut port = Port {
            endpoint: &mut self.endpoint,
            routes: &mut self.routes,
            ledger: &mut self.ledger,
            counters: &mut self.counters,
            link,
            now,
            allows_lan: self.allows_lan,
            relay_through: &self.relay_through,
        };
        act(session, &mut port);
        self.kept = self.kept - kept + session.kept();
        if let Some(key) = session.poll_introduction() {
            self.events.push_back(BridgeEvent::Introduced(link, key));
        }
        if let Some(token) = session.poll_claim() {
            match self.claims.get(&blake2b_256(&[token])) {
                Some(of) if *of != link => self.events.push_back(BridgeEvent::Resuming(link, *of)),
                _ => session.reject_claim(),
            }
        }
        self.ledger.set_usage(link, session.usage());
        let is_refused = session.refusal().is_some() && !was_refused;
        if is_refused {
            session.cut_hold(now);
        }
        if session.has_frame() || is_refused || (was_paused && !session.is_paused()) {
            self.woken.insert(link);
        }
        self.arm(link);
    }

    fn with_operation(
        &mut self,
        operation: OperationId,
        now: Instant,
        act: impl FnOnce(&mut Session, &mut Port<'_>),
    ) {
        if let Some(link) = self.routes.operations.get(&operation).copied() {
            self.with_session(link, now, act);
        }
    }

    fn touch(&mut self, link: LinkId) {
        self.woken.insert(link);
        self.arm(link);
    }

    fn arm(&mut self, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let at = session.poll_timeout();
        // A timer that is too early finds nothing to do and is armed anew, which is cheaper than moving it each time.
        if let (Some(armed), Some(at)) = (session.armed, at)
            && armed <= at
        {
            return;
        }
        if let Some(armed) = session.armed {
            self.timers.remove(&(armed, link));
        }
        session.armed = at;
        if let Some(at) = at {
            self.timers.insert((at, link));
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            if let Some((link, server)) = self.routes.replaced.pop() {
                self.with_session(link, now, |session, port| session.server_closed(server, port));
            } else if let Some(event) = self.endpoint.poll_event() {
                self.handle_event(event, now);
            } else {
                return;
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::OpenSocket(socket) => self.events.push_back(BridgeEvent::OpenSocket(socket)),
            Event::CloseSocket(socket) => self.events.push_back(BridgeEvent::CloseSocket(socket)),
            Event::Bootstrapped => self.events.push_back(BridgeEvent::Bootstrapped),
            Event::Found { operation, reply } => {
                self.with_operation(operation, now, |session, _| session.found(operation, reply));
            }
            Event::Reply { operation, answer } => {
                self.with_operation(operation, now, |session, _| session.replied(operation, answer));
            }
            Event::Asked { operation, closest } => {
                self.with_operation(operation, now, |session, port| {
                    session.asked(operation, closest, port, now);
                });
            }
            Event::Written { operation, reply, error } => {
                self.with_operation(operation, now, |session, _| session.written(operation, reply, error));
            }
            Event::Finished { operation, result } => {
                let closest = match result {
                    Ok(Finished::Done { closest }) => closest,
                    _ => Vec::new(),
                };
                if let Some(link) = self.routes.operations.remove(&operation) {
                    self.with_session(link, now, |session, _| session.finished(operation, closest));
                }
            }
            Event::Sign(request) => {
                let link = match request.signee {
                    Signee::Operation(id) => self.routes.operations.get(&id).copied(),
                    Signee::Server(id) => self.routes.servers.get(&id).copied(),
                };
                match link.filter(|link| self.sessions.contains_key(link)) {
                    Some(link) => {
                        self.with_session(link, now, |session, port| session.sign(request, port, now));
                    }
                    None => self.endpoint.signed(request.id, None, now),
                }
            }
            Event::Listening { server } if Some(server) == self.blind => {
                self.events.push_back(BridgeEvent::BlindRelayAnnounced);
            }
            Event::Listening { server } => {
                if let Some(link) = self.routes.servers.get(&server).copied() {
                    self.with_session(link, now, |session, port| session.listening(server, port));
                }
            }
            Event::ServerClosed { server } => {
                let link = self.routes.servers.get(&server).copied();
                self.routes.server_closed(server);
                if let Some(link) = link {
                    self.with_session(link, now, |session, port| session.server_closed(server, port));
                }
            }
            Event::NoiseSend { connection, server, payload } => {
                self.with_connection(connection, server, now, |session, port| {
                    session.noise_send(connection, payload, port, now);
                });
            }
            Event::NoiseReceive { connection, server, message, from } => {
                self.counters.accepts += u64::from(server.is_some());
                self.with_connection(connection, server, now, |session, port| {
                    session.noise_receive(connection, server, message, from, port, now);
                });
            }
            Event::Connected { connection, server, remote_public_key, .. } => {
                match server {
                    Some(_) => self.counters.accepts_connected += 1,
                    None => self.counters.dials_connected += 1,
                }
                self.with_connection(connection, server, now, |session, port| {
                    session.connected(connection, remote_public_key, port, now);
                });
            }
            Event::Failed { connection, server, error } => {
                match server {
                    Some(_) => self.counters.accepts_failed += 1,
                    None => self.counters.dials_failed += 1,
                }
                if let Some(link) = self.routes.connections.remove(&connection) {
                    self.with_session(link, now, |session, _| session.failed(connection, error));
                }
            }
            Event::Data { connection, bytes } => {
                self.with_connection(connection, None, now, |session, port| {
                    session.data(connection, bytes, port, now);
                });
            }
            Event::Drain { connection } => {
                // One that was let go has room for nobody.
                if let Some(link) = self.routes.connections.get(&connection).copied() {
                    self.with_session(link, now, |session, _| session.drain(connection));
                }
            }
            Event::End { connection } => {
                self.with_connection(connection, None, now, |session, _| session.ended(connection));
            }
            Event::Closed { connection, error } => {
                self.let_go_over(connection);
                if let Some(link) = self.routes.connections.remove(&connection) {
                    self.with_session(link, now, |session, _| session.closed(connection, error));
                }
            }
            // Keys of ours, records that nobody asks for here, datagrams that the protocol does not carry.
            _ => {}
        }
    }

    /// Notes that a connection that was let go is over, if it was.
    fn let_go_over(&mut self, connection: ConnectionId) {
        if let Some(link) = self.routes.let_go_over(connection) {
            self.ledger.stream_over(link);
        }
    }

    /// Acts on the session that a connection belongs to; an accepted one belongs to that of its server.
    fn with_connection(
        &mut self,
        connection: ConnectionId,
        server: Option<ServerId>,
        now: Instant,
        act: impl FnOnce(&mut Session, &mut Port<'_>),
    ) {
        let known = self.routes.connections.get(&connection).copied();
        let link = known.or_else(|| self.routes.servers.get(&server?).copied());
        match link.filter(|link| self.sessions.contains_key(link)) {
            Some(link) => {
                self.routes.connections.insert(connection, link);
                self.with_session(link, now, act);
            }
            None => {
                self.routes.connections.remove(&connection);
                self.endpoint.destroy(connection, now);
            }
        }
    }
}

/// Bounds of the host's own links: it paces itself, and reads whatever it is told at once.
const OWN_LIMITS: Limits = Limits {
    burst: u32::MAX,
    per_second: u32::MAX,
    turned_down: u32::MAX,
    control_buffer: usize::MAX,
    ..Limits::DEFAULT
};
