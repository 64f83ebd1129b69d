//! Keeps a listening key findable: announces it at the three closest nodes, which then forward to us.
//!
//! Source: hyperdht 6.33, `lib/announcer.js`.

use alloc::vec::Vec;

use super::command;
use super::context::{Context, Purpose, QueryOwner, Timer, Write};
use super::events::{ServerId, Signee};
use super::messages::RelayInfo;
use super::noise_seat::Identity;
use super::query::{QueryId, QueryOptions};
use super::rpc::Answer;
use crate::collections::BTreeSet;
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// The announcing of one server.
#[derive(Debug)]
pub(crate) struct Announcer {
    server: ServerId,
    identity: Identity,
    target: [u8; 32],
    phase: Phase,
    /// Nodes that forward to us and our address as they see it.
    pub relays: Vec<RelayInfo>,
    /// What to publish: the own address when open, then those nodes.
    pub relay_addresses: Vec<Address>,
    fresh: Vec<RelayInfo>,
    closest: Vec<Address>,
    /// Forwarding nodes of the last three rounds, newest last.
    rounds: [BTreeSet<Address>; 3],
    /// Nodes to say farewell to.
    farewells: usize,
    next_round: Option<Instant>,
    is_stale: bool,
    is_listening: bool,
    is_closing: bool,
}

#[derive(Debug)]
enum Phase {
    Finding(QueryId),
    Announcing { pending: usize, closest: Vec<Address> },
    Resting,
}

/// What an announcer reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// The first round is over.
    Listening,
    /// Everything that could be taken back is.
    Closed,
}

impl Announcer {
    /// Starts the first round.
    pub(crate) fn new(
        server: ServerId,
        identity: Identity,
        target: [u8; 32],
        context: &mut Context,
        now: Instant,
    ) -> Self {
        let mut announcer = Self {
            server,
            identity,
            target,
            phase: Phase::Resting,
            relays: Vec::new(),
            relay_addresses: Vec::new(),
            fresh: Vec::new(),
            closest: Vec::new(),
            rounds: Default::default(),
            farewells: 0,
            next_round: None,
            is_stale: false,
            is_listening: false,
            is_closing: false,
        };
        announcer.start_round(context, now);
        announcer
    }

    /// Reports whether an address forwarded to us in one of the last three rounds.
    pub(crate) fn is_relay(&self, address: Address) -> bool {
        self.rounds.iter().any(|round| round.contains(&address))
    }

    /// Announces anew, as soon as the round under way is over.
    pub(crate) fn refresh(&mut self, context: &mut Context, now: Instant) {
        self.is_stale = true;
        if matches!(self.phase, Phase::Resting) && !self.is_closing {
            let at = now + REFRESH_DELAY;
            self.next_round = Some(self.next_round.map_or(at, |next| next.min(at)));
            context.wake_at(Timer::Server(self.server), at);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context, now: Instant) {
        if self.next_round.is_some_and(|at| at <= now) && !self.is_closing {
            self.next_round = None;
            self.start_round(context, now);
        }
    }

    /// Takes the end of the search for the closest nodes.
    pub(crate) fn query_finished(
        &mut self,
        closest: &[Answer],
        context: &mut Context,
        now: Instant,
    ) -> Option<Milestone> {
        if !matches!(self.phase, Phase::Finding(_)) {
            return None;
        }
        let mut pending = 0;
        for answer in closest.iter().take(MAX_RELAYS) {
            let (Some(token), Some(node_id)) = (answer.token, answer.id) else { continue };
            let relay = RelayInfo { relay_address: answer.from, peer_address: answer.to };
            let write = Write {
                command: command::ANNOUNCE,
                to: answer.from,
                node_id,
                token,
                target: self.target,
                relay_addresses: Vec::new(),
                bump: 0,
                purpose: Purpose::SelfAnnounce(self.server, relay),
            };
            context.write(&self.identity, Signee::Server(self.server), write, now);
            pending += 1;
        }
        let closest = closest.iter().map(|answer| answer.from).collect();
        self.phase = Phase::Announcing { pending, closest };
        self.finish_round(context, now)
    }

    /// Takes the answer of a node to an announce, or its absence.
    pub(crate) fn announced(
        &mut self,
        relay: RelayInfo,
        is_taken: bool,
        context: &mut Context,
        now: Instant,
    ) -> Option<Milestone> {
        let Phase::Announcing { pending, .. } = &mut self.phase else { return None };
        *pending = pending.saturating_sub(1);
        if is_taken {
            self.fresh.push(relay);
            self.rounds[2].insert(relay.relay_address);
            if let Some(at) = context.keepalive.add(relay.relay_address, self.server, now) {
                context.wake_at(Timer::Keepalive, at);
            }
        }
        self.finish_round(context, now)
    }

    /// Takes the token of a node that shall forget us.
    pub(crate) fn farewell(
        &mut self,
        answer: Option<&Answer>,
        context: &mut Context,
        now: Instant,
    ) -> Option<Milestone> {
        if let Some(answer) = answer
            && let (Some(token), Some(node_id), Some(_)) = (answer.token, answer.id, &answer.value)
        {
            let write = Write {
                command: command::UNANNOUNCE,
                to: answer.from,
                node_id,
                token,
                target: self.target,
                relay_addresses: Vec::new(),
                bump: 0,
                purpose: Purpose::SelfUnannounce(self.server),
            };
            context.write(&self.identity, Signee::Server(self.server), write, now);
            return None;
        }
        self.unannounced()
    }

    /// Takes the end of an unannounce.
    pub(crate) fn unannounced(&mut self) -> Option<Milestone> {
        self.farewells = self.farewells.saturating_sub(1);
        (self.is_closing && self.farewells == 0).then_some(Milestone::Closed)
    }

    /// Ends the announcing and, if `is_polite`, has the nodes forget the key.
    pub(crate) fn close(
        &mut self,
        is_polite: bool,
        context: &mut Context,
        now: Instant,
    ) -> Option<Milestone> {
        self.is_closing = true;
        self.next_round = None;
        if let Phase::Finding(query) = &self.phase {
            context.cancel_query(*query);
        }
        self.phase = Phase::Resting;
        for relay in self.rounds.iter().flatten() {
            context.keepalive.remove(*relay, self.server);
        }
        if is_polite {
            for relay in self.rounds[2].clone() {
                self.say_farewell(relay, context, now);
            }
        } else {
            self.farewells = 0;
        }
        (self.farewells == 0).then_some(Milestone::Closed)
    }

    fn start_round(&mut self, context: &mut Context, now: Instant) {
        self.is_stale = false;
        self.rounds.rotate_left(1);
        self.rounds[2].clear();
        self.fresh.clear();
        let options = QueryOptions {
            nodes: self.closest.clone(),
            ..QueryOptions::new(self.target, command::FIND_PEER)
        };
        self.phase = Phase::Finding(context.query(options, QueryOwner::Announcer(self.server), now));
    }

    fn finish_round(&mut self, context: &mut Context, now: Instant) -> Option<Milestone> {
        let Phase::Announcing { pending: 0, closest } = &mut self.phase else { return None };
        self.closest = core::mem::take(closest);
        self.phase = Phase::Resting;
        self.relays = core::mem::take(&mut self.fresh);
        let own = context.node.public_address();
        let nodes = self.relays.iter().map(|relay| relay.relay_address);
        self.relay_addresses = own.into_iter().chain(nodes).take(MAX_RELAYS).collect();
        let dropped: Vec<_> = self.rounds[1].difference(&self.rounds[2]).copied().collect();
        for relay in dropped {
            context.keepalive.remove(relay, self.server);
            self.say_farewell(relay, context, now);
        }
        let is_lonely = self.relays.is_empty();
        let pause = if self.is_stale || is_lonely { RETRY } else { ROUND };
        let at = now + pause;
        self.next_round = Some(at);
        context.wake_at(Timer::Server(self.server), at);
        (!core::mem::replace(&mut self.is_listening, true)).then_some(Milestone::Listening)
    }

    fn say_farewell(&mut self, relay: Address, context: &mut Context, now: Instant) {
        self.farewells += 1;
        let mut outgoing = context.node.outgoing(relay, false, command::FIND_PEER);
        outgoing.target = Some(self.target);
        context.request(outgoing, Purpose::Farewell(self.server), now);
    }
}

/// Nodes that forward to a server, and relay addresses in its record.
const MAX_RELAYS: usize = 3;

/// Time between two rounds; upstream counts 100 pings of 3 s.
const ROUND: Duration = Duration::from_secs(300);

/// Time to the next round when no node took the announce, or one was lost meanwhile.
const RETRY: Duration = Duration::from_secs(3);

/// Time in which several reasons for a new round are taken together.
const REFRESH_DELAY: Duration = Duration::from_millis(100);
