//! Dialling: find nodes that know the peer, shake hands through them, find a path.
//!
//! Source: hyperdht 6.33, `lib/connect.js`.

mod punch_call;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use punch_call::PunchCall;

use super::address::{is_bogon, is_reserved, match_address};
use super::blind_relay::CallRequest;
use super::command;
use super::context::{Context, Purpose, QueryOwner, Timer};
use super::events::{ConnectError, ConnectionId, Event};
use super::messages::{Firewall, Handshake, NoisePayload, Peer, RelayThrough, UdxInfo, mode};
use super::noise_seat::{Identity, LocalHandshake, Outcome};
use super::query::{QueryId, QueryOptions};
use super::rpc::{self, Answer, RequestId, SocketId};
use crate::collections::BTreeMap;
use crate::noise::Session;
use crate::time::{Duration, Instant};
use crate::udx::{Address, Remote};

/// One connection that this node dials, until it is open.
#[derive(Debug)]
pub(crate) struct Dial {
    id: ConnectionId,
    remote_public_key: [u8; 32],
    target: [u8; 32],
    allows_lan: bool,
    stage: Stage,
    noise: Option<LocalHandshake>,
    is_external: bool,
    stream: u32,
    own_firewall: Firewall,
    /// Nodes to shake hands through, in order.
    candidates: VecDeque<Address>,
    asked: Vec<Address>,
    in_flight: BTreeMap<RequestId, Address>,
    parallel: usize,
    query: Option<QueryId>,
    /// When a search begins although nodes were known beforehand.
    search_at: Option<Instant>,
    queries_left: u32,
    attempts: usize,
    /// A packet of the peer that came before its handshake.
    early: Option<(SocketId, Address)>,
    session: Option<Session>,
    deadline: Option<Instant>,
    /// Blind relay that this side wants to go through.
    relay_through: Option<RelayThrough>,
    /// Whether it may go through one at all.
    may_relay: bool,
    relayed: Relayed,
}

/// How far the way through a blind relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relayed {
    /// There is none.
    No,
    /// The relay is dialled; the direct way may have failed meanwhile.
    Pending(Option<ConnectError>),
    /// The stream goes through it.
    Open,
}

/// How far a dial is.
#[derive(Debug)]
enum Stage {
    /// No node was found yet.
    Searching,
    /// The holder of the key makes message 1.
    AwaitingMessage,
    /// Nodes are asked with message 1.
    Asking { message: Bytes },
    /// The holder of the key opens what may be message 2. More of them wait, for that one may be made up by a node.
    AwaitingPayload { message: Bytes, route: Route, answers: VecDeque<(Route, Bytes)> },
    /// The peer is known; a path to it is not.
    Routing { route: Route, payload: Box<NoisePayload>, path: Path },
    /// Over.
    Ended,
}

/// How message 2 came.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// The node that was asked.
    relay: Address,
    /// Where the peer is.
    server: Address,
    /// Where we are, as that node sees us.
    client: Address,
    is_relayed: bool,
}

/// What is done to get a path.
#[derive(Debug)]
enum Path {
    /// The peer comes to us.
    Passive,
    /// Only the local network is tried.
    Lan,
    /// A punch.
    Punch(Box<PunchCall>),
}

/// How to dial.
#[derive(Debug)]
pub(crate) struct DialOptions {
    pub remote_public_key: [u8; 32],
    pub relay_addresses: Vec<Address>,
    pub allows_lan: bool,
    /// Address of the peer, if it announced itself to this very node.
    pub forward: Option<Address>,
    /// Blind relay to go through while there is no other path, or for good.
    pub relay_through: Option<[u8; 32]>,
    /// Whether the peer may ask for one. A dial of a relay goes through no other.
    pub may_relay: bool,
}

/// What became of a dial.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It goes on.
    Pending,
    /// It is open.
    Connected,
    /// It failed.
    Failed(ConnectError),
}

impl Dial {
    /// Starts to dial.
    pub(crate) fn new(
        id: ConnectionId,
        identity: &Identity,
        options: DialOptions,
        context: &mut Context,
        now: Instant,
    ) -> Self {
        let target = crate::crypto::blake2b_256(&[&options.remote_public_key]);
        let noise = match identity {
            Identity::Local(key_pair) => {
                LocalHandshake::new(key_pair, Some(options.remote_public_key), &mut context.rng)
            }
            Identity::External(_) => None,
        };
        let mut known = options.relay_addresses;
        if known.is_empty() {
            known = context.routes.get(&options.remote_public_key).cloned().unwrap_or_default();
        }
        if let Some(forward) = options.forward {
            known = alloc::vec![forward];
        }
        let has_known = !known.is_empty();
        let mut dial = Self {
            id,
            remote_public_key: options.remote_public_key,
            target,
            allows_lan: options.allows_lan,
            stage: Stage::Searching,
            noise,
            is_external: matches!(identity, Identity::External(_)),
            stream: context.streams.open(id, now),
            own_firewall: Firewall::Unknown,
            candidates: known.iter().copied().collect(),
            asked: Vec::new(),
            in_flight: BTreeMap::new(),
            parallel: if has_known { PARALLEL_WITH_KNOWN } else { PARALLEL },
            query: None,
            search_at: has_known.then(|| now + SEARCH_DELAY),
            queries_left: if has_known { 1 } else { 0 },
            attempts: 0,
            early: None,
            session: None,
            deadline: None,
            relay_through: options.relay_through.map(|public_key| RelayThrough {
                version: 1,
                public_key,
                token: context.rng.bytes(),
            }),
            may_relay: options.may_relay,
            relayed: Relayed::No,
        };
        match dial.search_at {
            Some(at) => context.wake_at(Timer::Connection(id), at),
            None => dial.find(Vec::new(), context, now),
        }
        dial
    }

    /// Starts what can be started; the first call comes right after [`new`](Self::new).
    pub(crate) fn advance(&mut self, context: &mut Context, now: Instant) -> Progress {
        match &self.stage {
            Stage::Searching if !self.candidates.is_empty() => {
                let payload = self.own_payload(context).encode();
                if self.is_external {
                    self.stage = Stage::AwaitingMessage;
                    self.arm(now + NOISE_TIMEOUT, context);
                    context.events.push_back(Event::NoiseSend { connection: self.id, server: None, payload });
                    return Progress::Pending;
                }
                let Some(message) = self.noise.as_mut().and_then(|noise| noise.write(&payload)) else {
                    return self.fail(ConnectError::HandshakeInvalid, context, now);
                };
                self.stage = Stage::Asking { message };
                self.ask(context, now)
            }
            Stage::Searching | Stage::Asking { .. } => self.ask(context, now),
            _ => Progress::Pending,
        }
    }

    /// Takes message 1 from the holder of the key.
    pub(crate) fn noise_sent(&mut self, message: Bytes, context: &mut Context, now: Instant) -> Progress {
        if !matches!(self.stage, Stage::AwaitingMessage) {
            return Progress::Pending;
        }
        self.deadline = None;
        self.stage = Stage::Asking { message };
        self.ask(context, now)
    }

    /// Takes payload and secret of message 2 from the holder of the key; `None` if it does not open.
    pub(crate) fn noise_received(
        &mut self,
        opened: Option<(Bytes, [u8; 32])>,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Stage::AwaitingPayload { message, route, answers } = &mut self.stage else {
            return Progress::Pending;
        };
        self.deadline = None;
        let Some((payload, holepunch_secret)) = opened else {
            let message = core::mem::take(message);
            if let Some((route, noise)) = answers.pop_front() {
                let answers = core::mem::take(answers);
                self.await_payload(message, (route, noise), answers, context, now);
                return Progress::Pending;
            }
            self.stage = Stage::Asking { message };
            return self.ask(context, now);
        };
        let route = *route;
        self.stop_asking(context);
        let outcome = Outcome { holepunch_secret: holepunch_secret.into(), session: None };
        self.handshake_finished(route, &payload, outcome, context, now)
    }

    /// Takes a reply of the search.
    pub(crate) fn query_reply(&mut self, answer: &Answer, context: &mut Context, now: Instant) -> Progress {
        let Some(peer) = answer.value.as_ref().and_then(|value| Peer::decode(value).ok()) else {
            return Progress::Pending;
        };
        if peer.public_key != self.remote_public_key
            || self.asked.contains(&answer.from)
            || self.candidates.contains(&answer.from)
            || self.candidates.len() >= MAX_CANDIDATES
        {
            return Progress::Pending;
        }
        self.candidates.push_back(answer.from);
        self.advance(context, now)
    }

    /// Takes the end of the search.
    pub(crate) fn query_finished(&mut self, context: &mut Context, now: Instant) -> Progress {
        self.query = None;
        self.advance(context, now)
    }

    /// Takes the answer to a handshake, or its absence.
    pub(crate) fn handshake_answered(
        &mut self,
        request: RequestId,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Some(relay) = self.in_flight.remove(&request) else { return Progress::Pending };
        if !matches!(self.stage, Stage::Asking { .. } | Stage::AwaitingPayload { .. }) {
            return Progress::Pending;
        }
        let reply = answer.and_then(|answer| {
            let handshake = Handshake::decode(answer.value.as_ref()?).ok()?;
            (handshake.mode == mode::REPLY && !handshake.noise.is_empty()).then_some((answer, handshake))
        });
        let Some((answer, handshake)) = reply else { return self.advance(context, now) };
        let route = Route {
            relay,
            server: handshake.peer_address.unwrap_or(relay),
            client: answer.to,
            is_relayed: handshake.peer_address.is_some(),
        };
        match &mut self.stage {
            // Bounded by the requests that are under way at once.
            Stage::AwaitingPayload { answers, .. } => {
                answers.push_back((route, handshake.noise));
                return Progress::Pending;
            }
            Stage::Asking { message } if self.is_external => {
                let message = core::mem::take(message);
                self.await_payload(message, (route, handshake.noise), VecDeque::new(), context, now);
                return Progress::Pending;
            }
            _ => {}
        }
        let opened = self.noise.as_mut().and_then(|noise| noise.read(&handshake.noise));
        let Some((payload, _)) = opened else { return self.ask(context, now) };
        let Some(outcome) = self.noise.take().and_then(LocalHandshake::finish) else {
            return self.fail(ConnectError::HandshakeInvalid, context, now);
        };
        self.stop_asking(context);
        self.handshake_finished(route, &payload, outcome, context, now)
    }

    /// Reports whether nodes are asked with this message 1.
    pub(crate) fn asks_with(&self, noise: &[u8]) -> bool {
        matches!(&self.stage, Stage::Asking { message } if *message == noise)
    }

    /// Takes its own message 1, which a node has brought to this very node: whoever was announced there was here, and is gone.
    pub(crate) fn came_back(&mut self, from: Address, context: &mut Context, now: Instant) -> Progress {
        let asked = self.in_flight.iter().find(|(_, to)| **to == from).map(|(request, _)| *request);
        let Some(request) = asked else { return Progress::Pending };
        self.in_flight.remove(&request);
        context.cancel_request(request);
        self.ask(context, now)
    }

    /// Has the holder of the key open what may be message 2.
    fn await_payload(
        &mut self,
        message: Bytes,
        (route, noise): (Route, Bytes),
        answers: VecDeque<(Route, Bytes)>,
        context: &mut Context,
        now: Instant,
    ) {
        self.stage = Stage::AwaitingPayload { message, route, answers };
        self.arm(now + NOISE_TIMEOUT, context);
        context.events.push_back(Event::NoiseReceive {
            connection: self.id,
            server: None,
            message: noise,
            from: route.server,
        });
    }

    /// Takes a packet for the stream from an address that it is not connected to.
    pub(crate) fn knocked(
        &mut self,
        socket: SocketId,
        from: Address,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        if matches!(self.stage, Stage::Routing { .. }) {
            return self.connect(socket, from, context, now);
        }
        self.early = Some((socket, from));
        Progress::Pending
    }

    /// Takes the answer to a ping in the local network, or its absence.
    pub(crate) fn lan_answered(
        &mut self,
        to: Address,
        is_there: bool,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Stage::Routing { path, .. } = &self.stage else { return Progress::Pending };
        if is_there {
            return self.connect(SocketId::SERVER, to, context, now);
        }
        if matches!(path, Path::Lan) {
            return self.fail(ConnectError::HolepunchAborted, context, now);
        }
        Progress::Pending
    }

    /// Takes a one byte datagram.
    pub(crate) fn handle_punch(
        &mut self,
        socket: SocketId,
        from: Address,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage else {
            return Progress::Pending;
        };
        match call.puncher.handle_punch(socket, from, context) {
            Some((socket, from)) => self.connect(socket, from, context, now),
            None => Progress::Pending,
        }
    }

    /// Takes the answer to a ping from the punch socket, or its absence.
    pub(crate) fn sampled(
        &mut self,
        request: RequestId,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        if let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage {
            call.puncher.sampled(request, answer, context, now);
        }
        self.advance_punch(context, now)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context, now: Instant) -> Progress {
        if self.deadline.is_some_and(|at| at <= now) {
            let error = match &self.stage {
                Stage::AwaitingMessage | Stage::AwaitingPayload { .. } => ConnectError::HandshakeUnfinished,
                _ => ConnectError::HolepunchAborted,
            };
            return self.fail(error, context, now);
        }
        // While the holder of the key is at it, nodes that were known have led to the peer, it seems.
        let is_asking = matches!(self.stage, Stage::Searching | Stage::Asking { .. });
        if is_asking && self.search_at.is_some_and(|at| at <= now) {
            self.search(context, now);
        }
        if let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage {
            call.puncher.handle_timeout(context, now);
        }
        self.advance_punch(context, now)
    }

    /// Gives the dial up and frees what it holds.
    pub(crate) fn close(&mut self, context: &mut Context, now: Instant) {
        self.stop_asking(context);
        if let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage {
            call.puncher.close(None, context, now);
        }
        self.stage = Stage::Ended;
    }

    fn own_payload(&mut self, context: &Context) -> NoisePayload {
        let public = context.node.public_address();
        self.own_firewall = if public.is_some() { Firewall::Open } else { Firewall::Unknown };
        let local = if self.allows_lan { &context.local_addresses[..] } else { &[] };
        NoisePayload {
            firewall: self.own_firewall,
            addresses4: public.into_iter().chain(local.iter().copied()).collect(),
            udx: Some(UdxInfo { version: 1, is_reusable: false, id: u64::from(self.stream), seq: 0 }),
            secret_stream: Some(1),
            relay_through: self.relay_through,
            ..NoisePayload::default()
        }
    }

    fn find(&mut self, nodes: Vec<Address>, context: &mut Context, now: Instant) {
        let options = QueryOptions {
            nodes,
            retries: rpc::RETRIES,
            ..QueryOptions::new(self.target, command::FIND_PEER)
        };
        self.query = Some(context.query(options, QueryOwner::Dial(self.id), now));
    }

    /// Searches from the nodes that were known, which did not lead to the peer.
    fn search(&mut self, context: &mut Context, now: Instant) {
        self.search_at = None;
        self.find(self.asked.clone(), context, now);
    }

    /// Asks as many nodes as may be asked at once, and notices when there are none left.
    fn ask(&mut self, context: &mut Context, now: Instant) -> Progress {
        if let Stage::Asking { message } = &self.stage {
            let value = Handshake {
                mode: mode::FROM_CLIENT,
                noise: message.clone(),
                peer_address: None,
                relay_address: None,
            }
            .encode();
            while self.in_flight.len() < self.parallel
                && let Some(to) = self.candidates.pop_front()
            {
                if self.asked.contains(&to) {
                    continue;
                }
                self.asked.push(to);
                self.attempts += 1;
                let mut outgoing = context.node.outgoing(to, false, command::PEER_HANDSHAKE);
                outgoing.target = Some(self.target);
                outgoing.value = Some(value.clone());
                let request = context.request(outgoing, Purpose::Handshake(self.id), now);
                self.in_flight.insert(request, to);
            }
        }
        if self.query.is_some() || !self.in_flight.is_empty() || !self.candidates.is_empty() {
            return Progress::Pending;
        }
        if self.search_at.is_some() {
            self.search(context, now);
            return Progress::Pending;
        }
        if self.queries_left > 0 {
            self.queries_left -= 1;
            self.find(Vec::new(), context, now);
            return Progress::Pending;
        }
        let error =
            if self.attempts > 0 { ConnectError::PeerConnectionFailed } else { ConnectError::PeerNotFound };
        self.fail(error, context, now)
    }

    fn stop_asking(&mut self, context: &mut Context) {
        for request in core::mem::take(&mut self.in_flight).into_keys() {
            context.cancel_request(request);
        }
        if let Some(query) = self.query.take() {
            context.cancel_query(query);
        }
        self.search_at = None;
        self.candidates.clear();
    }

    fn handshake_finished(
        &mut self,
        route: Route,
        payload: &[u8],
        outcome: Outcome,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Ok(payload) = NoisePayload::decode(payload) else {
            return self.fail(ConnectError::HandshakeInvalid, context, now);
        };
        if payload.version != 1 {
            return self.fail(ConnectError::ServerIncompatible, context, now);
        }
        if payload.error != 0 || payload.udx.is_none() {
            return self.fail(ConnectError::ServerError, context, now);
        }
        self.session = outcome.session;
        let (path, is_direct) = (Path::Passive, !route.is_relayed);
        let is_open = payload.firewall == Firewall::Open;
        let relays = payload.holepunch.as_ref().map_or(0, |holepunch| holepunch.relays.len());
        let public = payload.addresses4.iter().copied().find(|address| !is_bogon(address.ip()));
        self.stage = Stage::Routing { route, payload: Box::new(payload), path };
        if let Some((socket, from)) = self.early {
            return self.connect(socket, from, context, now);
        }
        if is_direct {
            return self.connect(context.node.socket(), route.relay, context, now);
        }
        let is_relayed = route.server != route.relay;
        if is_open || (is_relayed && relays == 0) {
            let to = public.unwrap_or(route.server);
            return self.connect(context.node.socket(), to, context, now);
        }
        if self.own_firewall == Firewall::Open {
            self.arm(now + PASSIVE_TIMEOUT, context);
            return Progress::Pending;
        }
        self.call_relay(context);
        let has_lan = self.try_lan(route, is_relayed, context, now);
        if relays == 0 {
            if has_lan {
                self.set_path(Path::Lan);
                return Progress::Pending;
            }
            return self.fail(ConnectError::CannotHolepunch, context, now);
        }
        self.start_punch(*outcome.holepunch_secret, context, now)
    }

    /// Starts to dial the blind relay that the peer asks for, or else this side.
    fn call_relay(&mut self, context: &mut Context) {
        let Stage::Routing { payload, .. } = &self.stage else { return };
        let wanted = payload.relay_through.or(self.relay_through);
        let Some(relay) = wanted.filter(|_| self.may_relay && context.relaying.has_room()) else { return };
        self.relayed = Relayed::Pending(None);
        context.relaying.requests.push_back(CallRequest {
            outer: self.id,
            relay: relay.public_key,
            token: relay.token,
            is_initiator: payload.relay_through.is_none(),
            stream: self.stream,
            direct_id: payload.udx.and_then(|udx| u32::try_from(udx.id).ok()),
        });
    }

    /// Takes the pair that the blind relay has made: the stream opens through it, and moves when a punch succeeds.
    pub(crate) fn relay_paired(&mut self, relay: Remote, context: &mut Context, now: Instant) -> Progress {
        let Relayed::Pending(error) = self.relayed else { return Progress::Pending };
        self.relayed = Relayed::Open;
        self.deadline = None;
        context.remember_route(self.remote_public_key, self.asked.clone());
        context.streams.connect(self.id, relay, now);
        self.opened(relay.socket, relay.address, context);
        if error.is_some() { Progress::Connected } else { Progress::Pending }
    }

    /// Takes the end of the way through the blind relay.
    pub(crate) fn relay_failed(&mut self, context: &mut Context, now: Instant) -> Progress {
        let Relayed::Pending(error) = self.relayed else { return Progress::Pending };
        self.relayed = Relayed::No;
        match error {
            Some(_) => self.fail(ConnectError::RelayAborted, context, now),
            None => Progress::Pending,
        }
    }

    /// Reports whether the stream is open, though not directly.
    pub(crate) fn is_relayed(&self) -> bool {
        self.relayed == Relayed::Open
    }

    /// Tells the host that the stream is open.
    fn opened(&mut self, socket: SocketId, remote: Address, context: &mut Context) {
        context.events.push_back(Event::Connected {
            connection: self.id,
            server: None,
            remote_public_key: self.remote_public_key,
            session: self.session.take(),
            socket,
            remote,
        });
    }

    /// Pings the peer inside the local network if both sides share a public host.
    fn try_lan(&mut self, route: Route, is_relayed: bool, context: &mut Context, now: Instant) -> bool {
        let Stage::Routing { payload, .. } = &self.stage else { return false };
        if !self.allows_lan || !is_relayed || route.client.ip() != route.server.ip() {
            return false;
        }
        let remote: Vec<_> =
            payload.addresses4.iter().copied().filter(|address| !is_reserved(address.ip())).collect();
        let matched = match_address(&context.local_addresses, &remote).or_else(|| remote.first().copied());
        let Some(to) = matched else { return false };
        let outgoing = context.node.outgoing(to, true, rpc::command::PING);
        context.request(outgoing, Purpose::Lan(self.id, to), now);
        true
    }

    fn set_path(&mut self, new: Path) {
        if let Stage::Routing { path, .. } = &mut self.stage {
            *path = new;
        }
    }

    /// Opens the stream on a path.
    fn connect(&mut self, socket: SocketId, to: Address, context: &mut Context, now: Instant) -> Progress {
        let stage = core::mem::replace(&mut self.stage, Stage::Ended);
        let Stage::Routing { payload, path, .. } = stage else {
            self.stage = stage;
            return Progress::Pending;
        };
        if let Path::Punch(mut call) = path {
            call.puncher.close(Some(socket), context, now);
        }
        self.deadline = None;
        let remote_id = payload.udx.map(|udx| udx.id).and_then(|id| u32::try_from(id).ok());
        let Some(remote_id) = remote_id else {
            return self.fail(ConnectError::HandshakeInvalid, context, now);
        };
        let nodes = payload.relay_addresses.filter(|nodes| !nodes.is_empty());
        context.remember_route(self.remote_public_key, nodes.unwrap_or_else(|| self.asked.clone()));
        let remote = Remote { socket, address: to, id: remote_id };
        if !context.go_directly(self.id, self.relayed == Relayed::Open, remote, now) {
            self.opened(socket, to, context);
        }
        Progress::Connected
    }

    /// Gives the direct way up, and with it the dial unless there is another one.
    fn fail(&mut self, error: ConnectError, context: &mut Context, now: Instant) -> Progress {
        self.stop_asking(context);
        if self.relayed == Relayed::No {
            return Progress::Failed(error);
        }
        self.deadline = None;
        if let Stage::Routing { path, .. } = &mut self.stage
            && let Path::Punch(mut call) = core::mem::replace(path, Path::Passive)
        {
            call.puncher.close(None, context, now);
        }
        if self.relayed == Relayed::Open {
            return Progress::Connected;
        }
        self.relayed = Relayed::Pending(Some(error));
        Progress::Pending
    }

    fn arm(&mut self, at: Instant, context: &mut Context) {
        self.deadline = Some(at);
        context.wake_at(Timer::Connection(self.id), at);
    }
}

/// Nodes asked at once.
const PARALLEL: usize = 2;

/// Nodes asked at once when some were known beforehand.
const PARALLEL_WITH_KNOWN: usize = 3;

/// How long nodes that were known get before others are searched for. Upstream searches at once: a dozen requests more for each
/// dial, nearly always for nothing.
const SEARCH_DELAY: Duration = Duration::from_millis(250);

/// Nodes that wait to be asked.
const MAX_CANDIDATES: usize = 64;

/// Time for the holder of a key to answer.
const NOISE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the peer to come to us.
const PASSIVE_TIMEOUT: Duration = Duration::from_secs(10);
