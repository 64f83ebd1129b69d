//! Opening a path between two peers behind firewalls.
//!
//! Source: hyperdht 6.33, `lib/holepuncher.js` and `lib/nat.js`.

mod nat;
mod sealed;

pub use nat::{ENOUGH_SAMPLES, Nat};
pub use sealed::Sealer;

use alloc::vec::Vec;

use super::context::{Context, Purpose, Timer};
use super::events::ConnectionId;
use super::messages::Firewall;
use super::rpc::{Answer, Outgoing, RequestId, SocketId, command};
use crate::collections::BTreeSet;
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// Whether the own network is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Analysis {
    /// More observations are on their way.
    Pending,
    /// It is, and a punch can work.
    Stable,
    /// It is not, or both sides have random ports.
    Unstable,
}

/// One side of a punch: a socket of its own, what is known of both networks, and the punching.
#[derive(Debug)]
pub(crate) struct Puncher {
    connection: ConnectionId,
    is_initiator: bool,
    socket: SocketId,
    nat: Nat,
    samples: BTreeSet<RequestId>,
    is_sampled_again: bool,
    reopens: u32,
    pub remote_firewall: Firewall,
    remote_addresses: Vec<Remote>,
    pub remote_is_punching: bool,
    course: Option<Course>,
    /// Sockets besides the first one.
    holders: Vec<SocketId>,
    is_randomized: bool,
    is_connected: bool,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Remote {
    address: Address,
    /// Whether the peer proved that it receives at this host.
    is_verified: bool,
}

/// A punch under way.
#[derive(Debug)]
enum Course {
    /// Every address of the peer, once a second.
    Consistent { tries: u32, next: Instant },
    /// Ports of the peer's host at random.
    RandomPorts { host: [u8; 4], tries: u32, next: Instant },
    /// One address of the peer from many sockets, each of which has a port of its own outside.
    RandomSockets { to: Address, tries: u32, next: Instant },
}

impl Puncher {
    /// Opens a socket and starts to find out how it is seen.
    pub(crate) fn new(
        connection: ConnectionId,
        is_initiator: bool,
        remote_firewall: Firewall,
        context: &mut Context,
        now: Instant,
    ) -> Self {
        let mut puncher = Self {
            connection,
            is_initiator,
            socket: context.open_socket(connection),
            nat: unknown_nat(),
            samples: BTreeSet::new(),
            is_sampled_again: false,
            reopens: 0,
            remote_firewall,
            remote_addresses: Vec::new(),
            remote_is_punching: false,
            course: None,
            holders: Vec::new(),
            is_randomized: false,
            is_connected: false,
            is_over: false,
        };
        puncher.sample(context, now);
        puncher
    }

    /// Returns the socket of the punch.
    pub(crate) fn socket(&self) -> SocketId {
        self.socket
    }

    /// Returns what is known of the own network.
    pub(crate) fn nat(&self) -> &Nat {
        &self.nat
    }

    /// Reports whether punches are sent.
    pub(crate) fn is_punching(&self) -> bool {
        self.course.is_some()
    }

    /// Counts what somebody saw of the socket.
    pub(crate) fn observe(&mut self, seen: Address, observer: Address) {
        self.nat.add(seen, observer);
    }

    /// Keeps what the other side was told about the own network.
    pub(crate) fn freeze(&mut self) {
        self.nat.freeze();
    }

    /// Takes the answer to one of its pings, or its absence, and reports whether it was one.
    pub(crate) fn sampled(
        &mut self,
        request: RequestId,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) -> bool {
        if !self.samples.remove(&request) {
            return false;
        }
        if let Some(answer) = answer {
            self.nat.add(answer.to, answer.from);
        }
        if self.samples.is_empty() && !self.nat.is_decided() && !self.is_sampled_again {
            self.is_sampled_again = true;
            self.sample(context, now);
        }
        true
    }

    /// Judges the own network; with `may_reopen` a socket that is not understood is replaced, three times.
    pub(crate) fn analyze(&mut self, may_reopen: bool, context: &mut Context, now: Instant) -> Analysis {
        loop {
            if !self.nat.is_decided() && !self.samples.is_empty() {
                return Analysis::Pending;
            }
            let firewall = self.nat.firewall();
            let is_unstable = firewall == Firewall::Unknown
                || (firewall >= Firewall::Random && self.remote_firewall >= Firewall::Random);
            if !is_unstable {
                return Analysis::Stable;
            }
            if !may_reopen || self.reopens >= MAX_REOPENS || self.is_punching() {
                return Analysis::Unstable;
            }
            self.reopens += 1;
            self.reset(context, now);
        }
    }

    /// Takes what the other side says about itself; `verified` is a host it proved to be at.
    pub(crate) fn update_remote(
        &mut self,
        is_punching: bool,
        firewall: Firewall,
        addresses: Option<&[Address]>,
        verified: Option<[u8; 4]>,
    ) {
        let remotes = addresses.unwrap_or_default().iter().map(|address| Remote {
            address: *address,
            is_verified: verified == Some(address.ip())
                || self
                    .remote_addresses
                    .iter()
                    .any(|old| old.is_verified && old.address.ip() == address.ip()),
        });
        self.remote_addresses = remotes.collect();
        self.remote_firewall = firewall;
        self.remote_is_punching = is_punching;
    }

    /// Sends one punch.
    pub(crate) fn ping(&self, to: Address, context: &mut Context) {
        context.send_punch(self.socket, to, false);
    }

    /// Sends a punch that opens the own firewall and does not arrive.
    pub(crate) fn open_session(&self, to: Address, context: &mut Context) {
        context.send_punch(self.socket, to, true);
    }

    /// Reports whether random ports are involved.
    pub(crate) fn is_random(&self) -> bool {
        self.remote_firewall >= Firewall::Random || self.nat.firewall() >= Firewall::Random
    }

    /// Starts to punch and reports whether that is possible.
    pub(crate) fn punch(&mut self, context: &mut Context, now: Instant) -> bool {
        if self.course.is_some() {
            return true;
        }
        if self.is_over || self.is_connected || self.remote_addresses.is_empty() {
            return false;
        }
        let (local, remote) = (coerce(self.nat.firewall()), coerce(self.remote_firewall));
        let verified = self.remote_addresses.iter().find(|remote| remote.is_verified);
        self.course = match (local, remote, verified) {
            (Firewall::Consistent, Firewall::Consistent, _) => {
                // The other side's fast path may have got through already: give it a second.
                let next = if self.is_initiator { now } else { now + PUNCH_PAUSE };
                Some(Course::Consistent { tries: 0, next })
            }
            (Firewall::Consistent, Firewall::Random, Some(verified)) => {
                self.is_randomized = true;
                context.random_punches += 1;
                Some(Course::RandomPorts { host: verified.address.ip(), tries: 0, next: now })
            }
            (Firewall::Random, Firewall::Consistent, Some(verified)) => {
                let to = verified.address;
                self.is_randomized = true;
                context.random_punches += 1;
                self.open_holders(to, context);
                Some(Course::RandomSockets { to, tries: 0, next: now + RANDOM_PAUSE })
            }
            _ => None,
        };
        self.handle_timeout(context, now);
        self.course.is_some()
    }

    /// Sends what is due.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context, now: Instant) {
        match &mut self.course {
            Some(Course::Consistent { tries, next }) if *next <= now => {
                *tries += 1;
                let round = *tries;
                *next = now + PUNCH_PAUSE;
                if round > MAX_ROUNDS {
                    self.is_over = true;
                    self.course = None;
                } else {
                    for remote in &self.remote_addresses {
                        if remote.is_verified || round.is_multiple_of(UNVERIFIED_EACH) {
                            context.send_punch(self.socket, remote.address, false);
                        }
                    }
                }
            }
            Some(Course::RandomPorts { host, tries, next }) if *next <= now => {
                *tries += 1;
                *next = now + RANDOM_PAUSE;
                let host = *host;
                if *tries > MAX_RANDOM_TRIES {
                    self.is_over = true;
                    self.course = None;
                } else {
                    let port = FIRST_RANDOM_PORT + context.rng.below(RANDOM_PORTS);
                    let to = Address::new(host, u16::try_from(port).unwrap_or(u16::MAX));
                    context.send_punch(self.socket, to, false);
                }
            }
            Some(Course::RandomSockets { to, tries, next }) if *next <= now => {
                let (to, turn) = (*to, usize::try_from(*tries).unwrap_or(0));
                *tries += 1;
                *next = now + RANDOM_PAUSE;
                if *tries > MAX_RANDOM_TRIES {
                    self.is_over = true;
                    self.course = None;
                } else if let Some(holder) =
                    turn.checked_rem(self.holders.len()).and_then(|at| self.holders.get(at))
                {
                    // The first time round, the other side may not be open: a packet that arrives there could close it.
                    context.send_punch(*holder, to, turn < self.holders.len());
                }
            }
            _ => {}
        }
        if let Some(
            Course::Consistent { next, .. }
            | Course::RandomPorts { next, .. }
            | Course::RandomSockets { next, .. },
        ) = &self.course
        {
            context.wake_at(Timer::Connection(self.connection), *next);
        }
    }

    /// Reports whether the punch ended without a connection.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over && !self.is_connected
    }

    /// Takes a punch of the other side. The initiator connects to where the first one came from, which is
    /// returned; the responder only answers.
    pub(crate) fn handle_punch(
        &mut self,
        socket: SocketId,
        from: Address,
        context: &mut Context,
    ) -> Option<(SocketId, Address)> {
        if socket != self.socket && !self.holders.contains(&socket) {
            return None;
        }
        if !self.is_initiator {
            context.send_punch(socket, from, false);
            return None;
        }
        if self.is_connected {
            return None;
        }
        self.is_connected = true;
        self.course = None;
        Some((socket, from))
    }

    /// Ends the punch; its socket is closed unless the connection goes on over it.
    pub(crate) fn close(&mut self, used: Option<SocketId>, context: &mut Context, now: Instant) {
        self.is_over = true;
        self.course = None;
        for request in core::mem::take(&mut self.samples) {
            context.cancel_request(request);
        }
        if core::mem::take(&mut self.is_randomized) {
            context.random_punches = context.random_punches.saturating_sub(1);
            context.last_random_punch = Some(now);
        }
        for socket in core::mem::take(&mut self.holders).into_iter().chain([self.socket]) {
            if used != Some(socket) {
                context.close_socket(socket);
            }
        }
    }

    /// Opens so many sockets that one of their ports outside is likely to be among those that the other side tries.
    fn open_holders(&mut self, to: Address, context: &mut Context) {
        while self.holders.len() < HOLDERS {
            let socket = context.open_socket(self.connection);
            context.send_punch(socket, to, true);
            self.holders.push(socket);
        }
    }

    fn reset(&mut self, context: &mut Context, now: Instant) {
        for request in core::mem::take(&mut self.samples) {
            context.cancel_request(request);
        }
        context.close_socket(self.socket);
        self.socket = context.open_socket(self.connection);
        self.nat = unknown_nat();
        self.is_sampled_again = false;
        self.sample(context, now);
    }

    /// Pings nodes from the socket; the latest ones are spared, they may be part of this very connection.
    fn sample(&mut self, context: &mut Context, now: Instant) {
        let skipped = if context.node.known() >= 8 { 5 } else { 0 };
        let wanted = ENOUGH_SAMPLES.saturating_sub(self.nat.sampled());
        let nodes: Vec<_> = context
            .node
            .latest()
            .skip(skipped)
            .filter(|node| !self.nat.has_observer(*node))
            .take(wanted)
            .collect();
        for to in nodes {
            let mut outgoing = Outgoing::new(self.socket, to, true, command::PING);
            outgoing.retries = 0;
            self.samples.insert(context.request(outgoing, Purpose::Sample(self.connection), now));
        }
    }
}

/// Starts to classify the network around a socket.
///
/// A side that punches has told the other that it is not open. If the node finds out meanwhile that it is, that is no news for
/// this punch: it would name no addresses then, as upstream does, and the other side would give up.
fn unknown_nat() -> Nat {
    Nat::new(false)
}

/// An open network can be punched like a consistent one.
fn coerce(firewall: Firewall) -> Firewall {
    if firewall == Firewall::Open { Firewall::Consistent } else { firewall }
}

/// Sockets tried when the network is not understood.
const MAX_REOPENS: u32 = 3;

/// Time between two rounds of punches.
const PUNCH_PAUSE: Duration = Duration::from_secs(1);

/// Rounds of punches.
const MAX_ROUNDS: u32 = 10;

/// Addresses that are not verified are tried in each fourth round.
const UNVERIFIED_EACH: u32 = 4;

/// Time between two punches to random ports.
const RANDOM_PAUSE: Duration = Duration::from_millis(20);

/// Punches to random ports, about 35 s of them.
const MAX_RANDOM_TRIES: u32 = 1750;

/// Sockets on the side with random ports (hyperdht `BIRTHDAY_SOCKETS`): with as many, each port that the other side tries
/// hits one of them with a chance of 1 in 250.
const HOLDERS: usize = 256;

/// Lowest port tried.
const FIRST_RANDOM_PORT: u64 = 1000;

/// Ports tried from there on.
const RANDOM_PORTS: u64 = 64_536;
