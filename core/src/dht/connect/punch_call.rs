//! The client's messages of a punch: probe, understand both networks, agree on the moment.
//!
//! Source: hyperdht 6.33, `lib/connect.js`, `probeRound` and `roundPunch`.

use alloc::boxed::Box;

use super::{Dial, Path, Progress, Stage};
use crate::dht::context::{Context, Purpose, Timer};
use crate::dht::events::{ConnectError, ConnectionId};
use crate::dht::messages::{Firewall, Holepunch, HolepunchPayload, RelayInfo, mode};
use crate::dht::punch::{Analysis, Puncher, Sealer};
use crate::dht::rpc::{Answer, Outgoing, RequestId};
use crate::dht::{command, error};
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// The client's side of a punch.
#[derive(Debug)]
pub(super) struct PunchCall {
    pub(super) puncher: Puncher,
    sealer: Sealer,
    number: u64,
    server_relay: RelayInfo,
    server: Address,
    round: u64,
    may_retry: bool,
    step: PunchStep,
    request: Option<RequestId>,
    sent_token: Option<[u8; 32]>,
    asked_about: Address,
}

#[derive(Debug)]
enum PunchStep {
    /// Round 0 is on its way.
    Probing,
    /// The server gets time to learn about its network.
    Settling { token: Option<[u8; 32]>, peer: Address, until: Instant },
    /// Our network is not understood yet.
    Analyzing { token: Option<[u8; 32]>, peer: Address, may_reopen: bool },
    /// Round 1 is on its way.
    Announcing,
    /// Both sides punch.
    Punching,
    /// We told the server that we give up, for this reason.
    Aborting(ConnectError),
}

impl Dial {
    pub(super) fn start_punch(&mut self, secret: [u8; 32], context: &mut Context, now: Instant) -> Progress {
        let Stage::Routing { route, payload, .. } = &self.stage else { return Progress::Pending };
        let Some(holepunch) = &payload.holepunch else {
            return self.fail(ConnectError::CannotHolepunch, context, now);
        };
        let same = holepunch.relays.iter().find(|relay| relay.relay_address == route.relay);
        let Some(server_relay) = same.or(holepunch.relays.first()).copied() else {
            return self.fail(ConnectError::CannotHolepunch, context, now);
        };
        let puncher = Puncher::new(self.id, true, payload.firewall, context, now);
        let call = PunchCall {
            puncher,
            sealer: Sealer::new(secret, context.rng.bytes()),
            number: holepunch.id,
            server_relay,
            server: route.server,
            round: 0,
            may_retry: true,
            step: PunchStep::Probing,
            request: None,
            sent_token: None,
            asked_about: server_relay.peer_address,
        };
        let path = Path::Punch(Box::new(call));
        self.set_path(path);
        self.probe(context, now)
    }

    /// Sends round 0: what we know, and where we opened a path to.
    fn probe(&mut self, context: &mut Context, now: Instant) -> Progress {
        let (id, target) = (self.id, self.target);
        let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage else {
            return Progress::Pending;
        };
        call.puncher.open_session(call.server, context);
        call.step = PunchStep::Probing;
        let payload = HolepunchPayload {
            firewall: call.puncher.nat().firewall(),
            addresses: call.puncher.nat().addresses().map(<[_]>::to_vec),
            remote_address: Some(call.server),
            ..HolepunchPayload::default()
        };
        let (peer, relay) = (call.server_relay.peer_address, call.server_relay.relay_address);
        call.send(id, target, payload, peer, relay, context, now);
        Progress::Pending
    }

    /// Takes the answer to a holepunch message, or its absence.
    pub(crate) fn punch_answered(
        &mut self,
        request: RequestId,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage else {
            return Progress::Pending;
        };
        if call.request != Some(request) {
            return Progress::Pending;
        }
        call.request = None;
        if let PunchStep::Aborting(error) = call.step {
            return self.fail(error, context, now);
        }
        let Some(answer) = answer else { return self.fail(ConnectError::RequestTimeout, context, now) };
        let message = answer.value.as_ref().and_then(|value| Holepunch::decode(value).ok());
        let Some(message) = message.filter(|message| message.mode == mode::REPLY) else {
            return self.fail(ConnectError::HolepunchInvalid, context, now);
        };
        let Some(remote) = call.sealer.open(&message.payload) else {
            return self.fail(ConnectError::HolepunchInvalid, context, now);
        };
        if remote.error != 0 {
            let error = if remote.error == error::TRY_LATER {
                ConnectError::HolepunchAborted
            } else {
                ConnectError::RemoteAborted
            };
            return self.fail(error, context, now);
        }
        let is_echoed = remote.remote_token.is_some() && remote.remote_token == call.sent_token;
        let verified = is_echoed.then(|| call.asked_about.ip());
        call.puncher.update_remote(
            remote.is_punching,
            remote.firewall,
            remote.addresses.as_deref(),
            verified,
        );
        match call.step {
            PunchStep::Probing => {
                call.puncher.observe(answer.to, answer.from);
                let (token, peer) = (remote.token, message.peer_address.unwrap_or(answer.from));
                if call.puncher.remote_firewall == Firewall::Unknown {
                    let until = now + SETTLE_PAUSE;
                    call.step = PunchStep::Settling { token, peer, until };
                    context.wake_at(Timer::Connection(self.id), until);
                    return Progress::Pending;
                }
                call.step = PunchStep::Analyzing { token, peer, may_reopen: false };
                self.advance_punch(context, now)
            }
            PunchStep::Announcing => {
                if !call.puncher.remote_is_punching {
                    return self.fail(ConnectError::RemoteNotHolepunching, context, now);
                }
                if !call.puncher.punch(context, now) {
                    return self.fail(ConnectError::RemoteNotHolepunchable, context, now);
                }
                call.step = PunchStep::Punching;
                Progress::Pending
            }
            _ => Progress::Pending,
        }
    }

    /// Goes on with a punch as far as it is known how.
    pub(super) fn advance_punch(&mut self, context: &mut Context, now: Instant) -> Progress {
        loop {
            let Stage::Routing { path: Path::Punch(call), .. } = &mut self.stage else {
                return Progress::Pending;
            };
            match call.step {
                PunchStep::Settling { token, peer, until } if until <= now => {
                    call.step = PunchStep::Analyzing { token, peer, may_reopen: false };
                }
                PunchStep::Analyzing { token, peer, may_reopen } => {
                    match call.puncher.analyze(may_reopen, context, now) {
                        Analysis::Pending => return Progress::Pending,
                        Analysis::Unstable if !may_reopen => {
                            call.step = PunchStep::Analyzing { token, peer, may_reopen: true };
                        }
                        Analysis::Stable if may_reopen && call.may_retry => {
                            call.may_retry = false;
                            return self.probe(context, now);
                        }
                        _ => return self.analyzed(token, peer, context, now),
                    }
                }
                PunchStep::Punching if call.puncher.is_over() => {
                    return self.fail(ConnectError::HolepunchAborted, context, now);
                }
                _ => return Progress::Pending,
            }
        }
    }

    /// Decides whether a punch can work, and sends round 1.
    fn analyzed(
        &mut self,
        token: Option<[u8; 32]>,
        peer: Address,
        context: &mut Context,
        now: Instant,
    ) -> Progress {
        let (id, target) = (self.id, self.target);
        let Stage::Routing { path: Path::Punch(call), route, .. } = &mut self.stage else {
            return Progress::Pending;
        };
        let (local, remote) = (call.puncher.nat().firewall(), call.puncher.remote_firewall);
        if (remote == Firewall::Unknown || token.is_none()) && call.may_retry {
            call.may_retry = false;
            return self.probe(context, now);
        }
        let obstacle = if remote == Firewall::Unknown || local == Firewall::Unknown {
            Some(ConnectError::HolepunchProbeTimeout)
        } else if remote >= Firewall::Random && local >= Firewall::Random {
            Some(ConnectError::HolepunchDoubleRandomizedNats)
        } else if call.puncher.is_random() && !context.may_punch_randomly(now) {
            Some(ConnectError::HolepunchAborted)
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            call.step = PunchStep::Aborting(obstacle);
            let payload = HolepunchPayload { error: error::ABORTED, ..HolepunchPayload::default() };
            let (peer, relay) = (call.server_relay.peer_address, call.server_relay.relay_address);
            call.send(id, target, payload, peer, relay, context, now);
            return Progress::Pending;
        }
        // With one relay for both sides, it told us where the server's punch socket is.
        if call.server_relay.relay_address == route.relay && peer != call.server {
            call.server = peer;
            call.puncher.open_session(peer, context);
        }
        call.puncher.freeze();
        call.step = PunchStep::Announcing;
        let payload = HolepunchPayload {
            firewall: call.puncher.nat().firewall(),
            is_punching: true,
            addresses: call.puncher.nat().addresses().map(<[_]>::to_vec),
            token: Some(call.sealer.token(call.server.ip())),
            remote_token: token,
            ..HolepunchPayload::default()
        };
        let (server, relay) = (call.server, route.relay);
        call.send(id, target, payload, server, relay, context, now);
        Progress::Pending
    }
}

impl PunchCall {
    /// Sends a sealed message about `peer` through `relay`.
    #[expect(clippy::too_many_arguments, reason = "the call is split off its dial to be borrowed apart")]
    fn send(
        &mut self,
        id: ConnectionId,
        target: [u8; 32],
        mut payload: HolepunchPayload,
        peer: Address,
        relay: Address,
        context: &mut Context,
        now: Instant,
    ) {
        payload.round = self.round;
        self.round += 1;
        self.sent_token = payload.token;
        self.asked_about = peer;
        let message = Holepunch {
            mode: mode::FROM_CLIENT,
            id: self.number,
            payload: self.sealer.seal(&payload, context.rng.bytes()),
            peer_address: Some(peer),
        };
        let mut outgoing = Outgoing::new(self.puncher.socket(), relay, false, command::PEER_HOLEPUNCH);
        outgoing.target = Some(target);
        outgoing.value = Some(message.encode());
        self.request = Some(context.request(outgoing, Purpose::Punch(id), now));
    }
}

/// Time that a server gets to learn about its network.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);
