//! Listening: one message 2 for all copies of a message 1, then a path to the peer.
//!
//! Source: hyperdht 6.33, `lib/server.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use super::address::{is_private, match_address};
use super::announcer::Announcer;
use super::blind_relay::CallRequest;
use super::context::{Context, Timer};
use super::error;
use super::events::{ConnectError, ConnectionId, Event, ServerId};
use super::messages::{
    Firewall, Handshake, Holepunch, HolepunchInfo, HolepunchPayload, NoisePayload, RelayThrough, UdxInfo,
};
use super::node::ReplyOptions;
use super::noise_seat::{Identity, LocalHandshake};
use super::punch::{Puncher, Sealer};
use super::router::{Hop, answer_handshake};
use super::rpc::{Answer, Incoming, RequestId, SocketId};
use crate::collections::BTreeMap;
use crate::noise::Session;
use crate::time::{Duration, Instant};
use crate::udx::{Address, Remote};

mod punching;

/// One listening key.
#[derive(Debug)]
pub(crate) struct Server {
    pub identity: Identity,
    pub target: [u8; 32],
    /// Its record for nodes that ask this one.
    pub record: Bytes,
    pub announcer: Announcer,
    /// Whether the host decides about each peer.
    pub asks: bool,
    pub shares_local_addresses: bool,
    pub may_punch: bool,
    /// Blind relays that peers are asked to come to, one drawn for each.
    pub relay_through: Vec<[u8; 32]>,
    /// Handshakes by their message 1, byte for byte.
    pub by_message: BTreeMap<Bytes, ConnectionId>,
    /// Handshakes by the number that holepunch messages carry.
    pub by_number: BTreeMap<u64, ConnectionId>,
}

/// What this node says about itself to every peer of a server.
#[derive(Debug)]
pub(crate) struct Standing {
    pub shares_local_addresses: bool,
    pub may_punch: bool,
    pub relays: Vec<super::messages::RelayInfo>,
    pub relay_addresses: Vec<Address>,
    pub relay_through: Vec<[u8; 32]>,
}

impl Server {
    /// Returns what a handshake needs to know.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            shares_local_addresses: self.shares_local_addresses,
            may_punch: self.may_punch,
            relays: self.announcer.relays.clone(),
            relay_addresses: self.announcer.relay_addresses.clone(),
            relay_through: self.relay_through.clone(),
        }
    }

    /// Returns the lowest number that no handshake uses.
    pub(crate) fn free_number(&self) -> u64 {
        let mut number = 0;
        for used in self.by_number.keys() {
            if *used != number {
                break;
            }
            number += 1;
        }
        number
    }

    /// Reports whether another handshake can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.by_message.len() < MAX_HANDSHAKES
    }
}

/// One connection that a peer dials, from message 1 to 10 s after its end.
#[derive(Debug)]
pub(crate) struct Accept {
    id: ConnectionId,
    pub server: ServerId,
    pub number: u64,
    pub message: Bytes,
    stage: Stage,
    /// Copies of the handshake that wait for message 2.
    waiting: Vec<(Handshake, Incoming)>,
    client: Address,
    own: Address,
    socket: SocketId,
    is_direct: bool,
    noise: Option<LocalHandshake>,
    is_external: bool,
    remote_public_key: [u8; 32],
    payload: NoisePayload,
    error: u64,
    has_stream: bool,
    is_connected: bool,
    session: Option<Session>,
    sealer: Option<Sealer>,
    puncher: Option<Puncher>,
    answers_from_punch: bool,
    round: u64,
    /// Holepunch messages that wait until the own network is understood.
    punches: Vec<PendingPunch>,
    /// When to give up on a path.
    deadline: Option<Instant>,
    /// When to forget the handshake.
    clear_at: Option<Instant>,
    /// Id of its stream.
    stream: u32,
    /// Blind relay that this side asks the peer to come to.
    relay_through: Option<RelayThrough>,
    relayed: Relayed,
}

/// How far the way through a blind relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relayed {
    /// There is none.
    No,
    /// The relay is dialled.
    Pending,
    /// The stream goes through it.
    Open,
}

#[derive(Debug)]
enum Stage {
    /// Message 1 is being opened by the holder of the key.
    AwaitingPayload,
    /// The host decides.
    AwaitingVerdict,
    /// Message 2 is being made by the holder of the key.
    AwaitingMessage,
    /// This is message 2.
    Answered(Bytes),
    /// Nothing is answered.
    Silent,
}

#[derive(Debug)]
struct PendingPunch {
    message: Holepunch,
    request: Incoming,
    remote: HolepunchPayload,
    token: Option<[u8; 32]>,
    may_reopen: bool,
}

/// What became of an incoming connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AcceptProgress {
    /// It goes on.
    Pending,
    /// It will not open.
    Failed(ConnectError),
}

impl Accept {
    /// Takes a message 1 that was not seen before.
    pub(crate) fn new(
        id: ConnectionId,
        server: ServerId,
        number: u64,
        handshake: Handshake,
        request: Incoming,
        identity: &Identity,
    ) -> Self {
        Self {
            id,
            server,
            number,
            message: handshake.noise.clone(),
            stage: Stage::AwaitingPayload,
            client: handshake.peer_address.unwrap_or(request.from),
            own: request.to,
            socket: request.socket,
            is_direct: handshake.peer_address.is_none(),
            noise: None,
            is_external: matches!(identity, Identity::External(_)),
            remote_public_key: [0; 32],
            payload: NoisePayload::default(),
            error: 0,
            has_stream: false,
            is_connected: false,
            session: None,
            sealer: None,
            puncher: None,
            answers_from_punch: false,
            round: 0,
            punches: Vec::new(),
            deadline: None,
            clear_at: None,
            stream: 0,
            relay_through: None,
            relayed: Relayed::No,
            waiting: alloc::vec![(handshake, request)],
        }
    }

    /// Opens message 1, or has it opened.
    pub(crate) fn start(
        &mut self,
        identity: &Identity,
        asks: bool,
        standing: Standing,
        context: &mut Context,
        now: Instant,
    ) -> AcceptProgress {
        let Identity::Local(key_pair) = identity else {
            self.arm(now + NOISE_TIMEOUT, context);
            context.events.push_back(Event::NoiseReceive {
                connection: self.id,
                server: Some(self.server),
                message: self.message.clone(),
                from: self.client,
            });
            return AcceptProgress::Pending;
        };
        self.noise = LocalHandshake::new(key_pair, None, &mut context.rng);
        let opened = self.noise.as_mut().and_then(|noise| noise.read(&self.message));
        let decoded = opened.and_then(|(payload, key)| Some((NoisePayload::decode(&payload).ok()?, key)));
        let Some((payload, remote_public_key)) = decoded else {
            self.silence(context, now);
            return AcceptProgress::Pending;
        };
        self.payload = payload;
        self.remote_public_key = remote_public_key;
        if asks {
            self.stage = Stage::AwaitingVerdict;
            self.arm(now + NOISE_TIMEOUT, context);
            context.events.push_back(Event::Incoming {
                connection: self.id,
                server: self.server,
                remote_public_key,
                from: self.client,
            });
            return AcceptProgress::Pending;
        }
        self.reply(standing, context, now)
    }

    /// Takes one more copy of message 1.
    pub(crate) fn copy(&mut self, handshake: Handshake, request: Incoming, context: &mut Context) {
        match &self.stage {
            Stage::Silent => {}
            Stage::Answered(reply) => {
                let reply = reply.clone();
                self.send_reply(&handshake, &request, reply, context);
            }
            _ if self.waiting.len() < MAX_COPIES => self.waiting.push((handshake, request)),
            _ => {}
        }
    }

    /// Takes payload and sender of message 1 from the holder of the key.
    pub(crate) fn noise_received(
        &mut self,
        payload: &[u8],
        remote_public_key: [u8; 32],
        standing: Standing,
        context: &mut Context,
        now: Instant,
    ) -> AcceptProgress {
        if !matches!(self.stage, Stage::AwaitingPayload) {
            return AcceptProgress::Pending;
        }
        let Ok(payload) = NoisePayload::decode(payload) else {
            self.silence(context, now);
            return AcceptProgress::Failed(ConnectError::HandshakeInvalid);
        };
        self.payload = payload;
        self.remote_public_key = remote_public_key;
        self.reply(standing, context, now)
    }

    /// Goes on with a peer that the host lets in.
    pub(crate) fn accepted(
        &mut self,
        standing: Standing,
        context: &mut Context,
        now: Instant,
    ) -> AcceptProgress {
        if !matches!(self.stage, Stage::AwaitingVerdict) {
            return AcceptProgress::Pending;
        }
        self.reply(standing, context, now)
    }

    /// Answers nothing to a peer that the host keeps out.
    pub(crate) fn denied(&mut self, context: &mut Context, now: Instant) {
        if matches!(self.stage, Stage::AwaitingPayload | Stage::AwaitingVerdict) {
            self.silence(context, now);
        }
    }

    /// Takes message 2 and the holepunch secret from the holder of the key.
    pub(crate) fn noise_sent(
        &mut self,
        message: Bytes,
        holepunch_secret: [u8; 32],
        standing: &Standing,
        context: &mut Context,
        now: Instant,
    ) -> AcceptProgress {
        if !matches!(self.stage, Stage::AwaitingMessage) {
            return AcceptProgress::Pending;
        }
        self.answered(message, holepunch_secret, standing, context, now)
    }

    /// Takes a packet for the stream from an address that it is not connected to.
    pub(crate) fn knocked(&mut self, socket: SocketId, from: Address, context: &mut Context, now: Instant) {
        if from.port() != 0 && !self.is_connected && matches!(self.stage, Stage::Answered(_)) {
            self.connect(socket, from, context, now);
        }
    }

    /// Takes a one byte datagram.
    pub(crate) fn handle_punch(&mut self, socket: SocketId, from: Address, context: &mut Context) {
        if let Some(puncher) = &mut self.puncher {
            puncher.handle_punch(socket, from, context);
        }
    }

    /// Takes the answer to a ping from the punch socket, or its absence.
    pub(crate) fn sampled(
        &mut self,
        request: RequestId,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) {
        if let Some(puncher) = &mut self.puncher {
            puncher.sampled(request, answer, context, now);
        }
        self.advance_punches(context, now);
    }

    /// Takes a holepunch message of the peer.
    pub(crate) fn handle_holepunch(
        &mut self,
        message: Holepunch,
        request: Incoming,
        from_relay: bool,
        context: &mut Context,
        now: Instant,
    ) {
        let (Some(sealer), Some(peer)) = (&self.sealer, message.peer_address) else { return };
        let Some(remote) = sealer.open(&message.payload) else { return };
        let Some(puncher) = &mut self.puncher else { return };
        if remote.error != 0 {
            self.round = self.round.max(remote.round);
            self.abort(&message, &request, error::ABORTED, context, now);
            return;
        }
        let token = sealer.token(peer.ip());
        let is_echoed = from_relay && remote.remote_token == Some(token);
        if request.socket == puncher.socket() {
            puncher.observe(request.to, request.from);
        }
        if remote.round >= self.round {
            self.round = remote.round;
            let verified = is_echoed.then(|| peer.ip());
            puncher.update_remote(remote.is_punching, remote.firewall, remote.addresses.as_deref(), verified);
        }
        if self.punches.len() < MAX_COPIES {
            let token = from_relay.then_some(token);
            self.punches.push(PendingPunch { message, request, remote, token, may_reopen: false });
        }
        self.advance_punches(context, now);
    }

    /// Does what is due; returns whether it failed.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context, now: Instant) -> AcceptProgress {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            let error = match &self.stage {
                Stage::AwaitingPayload | Stage::AwaitingVerdict | Stage::AwaitingMessage => {
                    ConnectError::HandshakeUnfinished
                }
                _ => ConnectError::HolepunchAborted,
            };
            return self.abandon(error, context, now);
        }
        if let Some(puncher) = &mut self.puncher {
            puncher.handle_timeout(context, now);
            if puncher.is_over() && !self.is_connected {
                return self.abandon(ConnectError::HolepunchAborted, context, now);
            }
        }
        self.advance_punches(context, now);
        AcceptProgress::Pending
    }

    /// Reports whether the handshake can be forgotten.
    pub(crate) fn is_clear(&self, now: Instant) -> bool {
        self.clear_at.is_some_and(|at| at <= now)
    }

    /// Gives the direct way up, and with it the connection unless there is another one.
    fn abandon(&mut self, error: ConnectError, context: &mut Context, now: Instant) -> AcceptProgress {
        if self.relayed == Relayed::No {
            self.give_up(context, now);
            return AcceptProgress::Failed(error);
        }
        self.deadline = None;
        self.punches.clear();
        if let Some(mut puncher) = self.puncher.take() {
            puncher.close(None, context, now);
        }
        if self.relayed == Relayed::Open {
            self.clear_later(context, now);
        }
        AcceptProgress::Pending
    }

    /// Takes the pair that the blind relay has made: the stream opens through it, and moves when a punch succeeds.
    pub(crate) fn relay_paired(&mut self, relay: Remote, context: &mut Context, now: Instant) {
        if self.relayed != Relayed::Pending || self.is_connected || !self.has_stream {
            return;
        }
        self.relayed = Relayed::Open;
        // A punch that is under way ends by itself; one that was never wanted is not waited for.
        if self.puncher.is_none() {
            self.deadline = None;
            self.clear_later(context, now);
        }
        context.streams.connect(self.id, relay, now);
        self.opened(relay.socket, relay.address, context);
    }

    /// Takes the end of the way through the blind relay.
    pub(crate) fn relay_failed(&mut self, context: &mut Context, now: Instant) -> AcceptProgress {
        if self.relayed != Relayed::Pending {
            return AcceptProgress::Pending;
        }
        self.relayed = Relayed::No;
        if self.is_connected || self.puncher.is_some() || self.deadline.is_some() {
            return AcceptProgress::Pending;
        }
        self.give_up(context, now);
        AcceptProgress::Failed(ConnectError::RelayAborted)
    }

    /// Takes the end of a stream that goes through a blind relay.
    pub(crate) fn closed(&mut self, context: &mut Context, now: Instant) {
        self.has_stream = false;
        self.give_up(context, now);
    }

    /// Gives up what is not open.
    pub(crate) fn give_up(&mut self, context: &mut Context, now: Instant) {
        if let Some(mut puncher) = self.puncher.take() {
            puncher.close(None, context, now);
        }
        if self.has_stream && !self.is_open() {
            context.streams.forget(self.id);
            self.has_stream = false;
        }
        if !matches!(self.stage, Stage::Answered(_)) {
            self.stage = Stage::Silent;
        }
        self.waiting.clear();
        self.punches.clear();
        self.clear_later(context, now);
    }

    /// Reports whether its stream is open.
    pub(crate) fn is_open(&self) -> bool {
        self.is_connected || self.relayed == Relayed::Open
    }

    /// Reports whether its stream is open, though not directly.
    pub(crate) fn is_relayed(&self) -> bool {
        self.relayed == Relayed::Open && !self.is_connected
    }

    fn silence(&mut self, context: &mut Context, now: Instant) {
        self.stage = Stage::Silent;
        self.deadline = None;
        self.waiting.clear();
        self.clear_later(context, now);
    }

    /// Makes payload 2 and message 2, or has it made.
    fn reply(&mut self, standing: Standing, context: &mut Context, now: Instant) -> AcceptProgress {
        self.error = match (self.payload.version, &self.payload.udx) {
            (1, Some(_)) => 0,
            (1, None) => error::ABORTED,
            _ => error::VERSION_MISMATCH,
        };
        let public = context.node.public_address();
        let mut stream = 0;
        if self.error == 0 {
            stream = context.streams.open(self.id, now);
            self.has_stream = true;
            self.stream = stream;
            let drawn = context.rng.index(standing.relay_through.len());
            self.relay_through = standing.relay_through.get(drawn).map(|public_key| RelayThrough {
                version: 1,
                public_key: *public_key,
                token: context.rng.bytes(),
            });
        }
        let local = if standing.shares_local_addresses { &context.local_addresses[..] } else { &[] };
        let holepunch = HolepunchInfo { id: self.number, relays: standing.relays.clone() };
        let payload = NoisePayload {
            error: self.error,
            firewall: if public.is_some() { Firewall::Open } else { Firewall::Unknown },
            holepunch: public.is_none().then_some(holepunch),
            addresses4: public.into_iter().chain(local.iter().copied()).collect(),
            udx: Some(UdxInfo { version: 1, is_reusable: false, id: u64::from(stream), seq: 0 }),
            secret_stream: Some(1),
            relay_through: self.relay_through,
            relay_addresses: Some(standing.relay_addresses.clone()).filter(|list| !list.is_empty()),
            ..NoisePayload::default()
        };
        let payload = payload.encode();
        if self.is_external {
            self.stage = Stage::AwaitingMessage;
            self.arm(now + NOISE_TIMEOUT, context);
            context.events.push_back(Event::NoiseSend {
                connection: self.id,
                server: Some(self.server),
                payload,
            });
            return AcceptProgress::Pending;
        }
        let message = self.noise.as_mut().and_then(|noise| noise.write(&payload));
        let finished = self.noise.take().and_then(LocalHandshake::finish);
        let (Some(message), Some(finished)) = (message, finished) else {
            self.give_up(context, now);
            return AcceptProgress::Failed(ConnectError::HandshakeInvalid);
        };
        self.session = finished.session;
        self.answered(message, *finished.holepunch_secret, &standing, context, now)
    }

    /// Sends message 2 to whoever waits for it and starts to find a path.
    fn answered(
        &mut self,
        message: Bytes,
        holepunch_secret: [u8; 32],
        standing: &Standing,
        context: &mut Context,
        now: Instant,
    ) -> AcceptProgress {
        self.deadline = None;
        self.stage = Stage::Answered(message.clone());
        let is_open = context.node.public_address().is_some();
        let mut progress = AcceptProgress::Pending;
        if self.error != 0 {
            self.clear_later(context, now);
            progress = AcceptProgress::Failed(ConnectError::ServerError);
        } else if self.payload.firewall == Firewall::Open || self.is_direct {
            let socket = if self.is_direct { self.socket } else { context.node.socket() };
            self.connect(socket, self.client, context, now);
        } else {
            self.call_relay(context);
            let has_lan = self.shares_network(standing, context);
            if has_lan || (!is_open && standing.may_punch) {
                self.sealer = Some(Sealer::new(holepunch_secret, context.rng.bytes()));
                self.puncher = Some(Puncher::new(self.id, false, self.payload.firewall, context, now));
                self.answers_from_punch = !has_lan;
            }
            self.arm(now + PATH_TIMEOUT, context);
        }
        for (handshake, request) in core::mem::take(&mut self.waiting) {
            self.send_reply(&handshake, &request, message.clone(), context);
        }
        progress
    }

    /// Starts to dial the blind relay that this side asks for, or else the peer.
    fn call_relay(&mut self, context: &mut Context) {
        let wanted = self.relay_through.or(self.payload.relay_through);
        let Some(relay) = wanted.filter(|_| context.relaying.has_room()) else { return };
        self.relayed = Relayed::Pending;
        context.relaying.requests.push_back(CallRequest {
            outer: self.id,
            relay: relay.public_key,
            token: relay.token,
            is_initiator: self.relay_through.is_some(),
            stream: self.stream,
            direct_id: self.payload.udx.and_then(|udx| u32::try_from(udx.id).ok()),
        });
    }

    /// Tells the host that the stream is open.
    fn opened(&mut self, socket: SocketId, remote: Address, context: &mut Context) {
        context.events.push_back(Event::Connected {
            connection: self.id,
            server: Some(self.server),
            remote_public_key: self.remote_public_key,
            session: self.session.take(),
            socket,
            remote,
        });
    }

    /// Reports whether the peer may be inside the same local network.
    fn shares_network(&self, standing: &Standing, context: &Context) -> bool {
        if !standing.shares_local_addresses || self.client.ip() != self.own.ip() {
            return false;
        }
        let remote: Vec<_> =
            self.payload.addresses4.iter().copied().filter(|address| is_private(address.ip())).collect();
        match_address(&context.local_addresses, &remote).is_some()
    }

    fn send_reply(&self, handshake: &Handshake, request: &Incoming, reply: Bytes, context: &mut Context) {
        let punch_socket = self.puncher.as_ref().filter(|_| self.answers_from_punch).map(Puncher::socket);
        forward(answer_handshake(handshake, reply, request.from), request, punch_socket, context);
    }

    fn connect(&mut self, socket: SocketId, to: Address, context: &mut Context, now: Instant) {
        let remote_id = self.payload.udx.map(|udx| udx.id).and_then(|id| u32::try_from(id).ok());
        let Some(remote_id) = remote_id.filter(|_| self.has_stream) else { return };
        self.is_connected = true;
        self.deadline = None;
        if let Some(mut puncher) = self.puncher.take() {
            puncher.close(Some(socket), context, now);
        }
        self.punches.clear();
        let remote = Remote { socket, address: to, id: remote_id };
        if !context.go_directly(self.id, self.relayed == Relayed::Open, remote, now) {
            self.opened(socket, to, context);
        }
        self.clear_later(context, now);
    }

    fn clear_later(&mut self, context: &mut Context, now: Instant) {
        if self.clear_at.is_none() {
            let at = now + CLEAR_WAIT;
            self.clear_at = Some(at);
            context.wake_at(Timer::Connection(self.id), at);
        }
    }

    fn arm(&mut self, at: Instant, context: &mut Context) {
        self.deadline = Some(at);
        context.wake_at(Timer::Connection(self.id), at);
    }
}

/// Sends a routed message on.
pub(crate) fn forward(hop: Hop, request: &Incoming, socket: Option<SocketId>, context: &mut Context) {
    match hop {
        Hop::Reply { value, to } => {
            let options = ReplyOptions { to: Some(to), socket, ..ReplyOptions::BARE };
            context.node.reply(request, 0, Some(value), options);
        }
        Hop::Relay { value, to } => context.node.relay(request, value, to, socket),
        Hop::Unknown => {
            context.node.reply(request, 0, None, ReplyOptions { closer: true, ..ReplyOptions::BARE });
        }
        Hop::Drop | Hop::Serve => {}
    }
}

/// Handshakes of one server at once, those of the last 10 s included.
const MAX_HANDSHAKES: usize = 1024;

/// Copies of one handshake, or holepunch messages, that wait for an answer.
const MAX_COPIES: usize = 8;

/// Time for the holder of a key or the host to answer.
const NOISE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a path (hyperdht `HANDSHAKE_INITIAL_TIMEOUT`).
const PATH_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a handshake is remembered after its end (hyperdht `HANDSHAKE_CLEAR_WAIT`).
const CLEAR_WAIT: Duration = Duration::from_secs(10);
