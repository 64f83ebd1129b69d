//! One DHT node: sockets, routing table, queries, modes, and the requests that dht-rpc answers itself.
//!
//! Source: dht-rpc 6.27, `index.js`.

mod modes;
mod upkeep;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::firewall::FirewallCheck;
use super::health::Health;
use super::query::{DownHint, Query, QueryId, QueryOptions, Step};
use super::rng::Rng;
use super::rpc::{
    Answer, Entry, Incoming, Lapse, Message, NatSampler, NodeId, Outgoing, Reply, RequestId, Requests,
    SocketId, Table, Tokens, Transmit, command, error, node_id,
};
use crate::collections::BTreeMap;
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// How a node takes part in the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Ephemeral until it proved stable and reachable.
    #[default]
    Adaptive,
    /// Never in anybody's table.
    Ephemeral,
    /// Persistent as soon as its address is known.
    Persistent,
}

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Nodes to start from.
    pub bootstrap: Vec<Address>,
    /// Part it takes.
    pub mode: Mode,
    /// Whether to assume that nobody reaches the server socket uninvited, until a check shows otherwise.
    pub is_firewalled: bool,
    /// Whether one early probe may trigger the firewall check.
    pub quick_firewall: bool,
    /// Public address, where it is known beforehand: makes a node that others can bootstrap from.
    pub public_address: Option<Address>,
    /// Port the server socket is bound to.
    pub server_port: u16,
}

/// What a node tells its owner.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// A request with an application command arrived.
    Request(Incoming),
    /// A request of the owner was answered.
    Answered(RequestId, Answer),
    /// A request of the owner timed out.
    TimedOut(RequestId),
    /// A node answered a query without error.
    QueryReply(QueryId, Answer),
    /// A query is over; the closest replies, closest first.
    QueryFinished(QueryId, Vec<Answer>),
    /// The first bootstrap query is over.
    Bootstrapped,
    /// The node is persistent from here on.
    Persistent,
    /// The node is ephemeral again.
    Ephemeral,
    /// The public address, or whether it can be reached, changed.
    NetworkChanged,
    /// The machine slept.
    Woke,
}

/// Parts of a reply that can be left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyOptions {
    /// Carry a token.
    pub token: bool,
    /// Carry closer nodes.
    pub closer: bool,
    /// Send to this address instead of the requester.
    pub to: Option<Address>,
    /// Send from this socket instead of the one asked.
    pub socket: Option<SocketId>,
}

impl ReplyOptions {
    /// A token and closer nodes, as for a query.
    pub const FULL: Self = Self { token: true, closer: true, to: None, socket: None };
    /// Neither.
    pub const BARE: Self = Self { token: false, closer: false, to: None, socket: None };
}

/// One DHT node, see the module documentation.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    rng: Rng,
    tokens: Tokens,
    requests: Requests,
    table: Table,
    nat: NatSampler,
    /// Nodes without id whose observation of us was counted.
    sampled_anonymous: Vec<Address>,
    health: Health,
    is_ephemeral: bool,
    is_firewalled: bool,
    is_bootstrapped: bool,
    boot: Boot,
    check: Option<(FirewallCheck, bool)>,
    queries: BTreeMap<QueryId, Query>,
    next_query: u64,
    purposes: BTreeMap<RequestId, Purpose>,
    delayed: BTreeMap<(Instant, u64), Incoming>,
    next_delayed: u64,
    tick: u64,
    refresh_ticks: u64,
    stable_ticks: u64,
    last_tick: Instant,
    next_tick: Instant,
    last_host: Option<[u8; 4]>,
    checks: usize,
    swaps: usize,
    down_hints: usize,
    transmits: VecDeque<Transmit>,
    events: VecDeque<NodeEvent>,
}

/// Who waits for the answer to a request.
#[derive(Debug)]
enum Purpose {
    /// The owner of the node.
    Owner,
    Query(QueryId),
    /// A ping that removes the node unless it was heard of after tick `seen`.
    Check {
        id: NodeId,
        seen: u64,
    },
    /// A ping that replaces `old` by `new` unless `old` was heard of after tick `seen`.
    Swap {
        old: NodeId,
        seen: u64,
        new: Entry,
    },
    QuickProbe,
    FirewallProbe,
    Nobody,
}

/// The course of bootstrapping.
#[derive(Debug)]
struct Boot {
    query: Option<QueryId>,
    round: u32,
    /// Whether the first reply still triggers a probe of the firewall.
    is_probing: bool,
    /// Whether that probe came through.
    is_reachable: bool,
}

impl Node {
    /// Creates a node and starts to bootstrap.
    pub fn new(options: NodeOptions, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let tokens = Tokens::new(&mut rng, now);
        let first_number = u16::from_le_bytes(rng.bytes());
        let table = Table::new(rng.bytes(), K);
        let tick = 100 - rng.below(50);
        let is_forced = options.mode == Mode::Persistent;
        let mut node = Self {
            tokens,
            requests: Requests::new(first_number, now),
            table,
            nat: NatSampler::default(),
            sampled_anonymous: Vec::new(),
            health: Health::default(),
            is_ephemeral: true,
            is_firewalled: options.is_firewalled,
            is_bootstrapped: false,
            boot: Boot {
                query: None,
                round: 0,
                is_probing: options.is_firewalled && options.quick_firewall && !is_forced,
                is_reachable: false,
            },
            check: None,
            queries: BTreeMap::new(),
            next_query: 0,
            purposes: BTreeMap::new(),
            delayed: BTreeMap::new(),
            next_delayed: 0,
            tick,
            refresh_ticks: REFRESH_TICKS - rng.below(REFRESH_TICKS / 2),
            stable_ticks: STABLE_TICKS,
            last_tick: now,
            next_tick: now + TICK,
            last_host: None,
            checks: 0,
            swaps: 0,
            down_hints: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            options,
            rng,
        };
        if let Some(address) = node.options.public_address {
            node.nat.add(address);
        }
        node.bootstrap_round(now);
        node
    }

    /// Returns the id that this node answers under; `None` while ephemeral.
    pub fn id(&self) -> Option<NodeId> {
        (!self.is_ephemeral).then(|| *self.table.id())
    }

    /// Reports whether the node is in nobody's table.
    pub fn is_ephemeral(&self) -> bool {
        self.is_ephemeral
    }

    /// Reports whether uninvited datagrams are believed not to reach the server socket.
    pub fn is_firewalled(&self) -> bool {
        self.is_firewalled
    }

    /// Reports whether the first bootstrap query is over.
    pub fn is_bootstrapped(&self) -> bool {
        self.is_bootstrapped
    }

    /// Reports whether answers arrive.
    pub fn is_online(&self) -> bool {
        self.health.is_online()
    }

    /// Returns the number of nodes known.
    pub fn known(&self) -> usize {
        self.table.len()
    }

    /// Returns the nodes known, latest contact first.
    pub fn latest(&self) -> impl Iterator<Item = Address> + '_ {
        self.table.oldest().rev().map(|entry| entry.address)
    }

    /// Returns the socket that requests leave from.
    pub fn socket(&self) -> SocketId {
        if self.is_firewalled { SocketId::CLIENT } else { SocketId::SERVER }
    }

    /// Returns the public host and port as others see them; port 0 when it differs from peer to peer.
    pub fn seen_as(&self) -> (Option<[u8; 4]>, u16) {
        (self.nat.host(), self.nat.port())
    }

    /// Returns the address at which anybody reaches the server socket.
    pub fn public_address(&self) -> Option<Address> {
        if self.is_firewalled {
            return None;
        }
        self.nat.address().filter(|address| address.port() == self.options.server_port)
    }

    /// Returns the port of the server socket.
    pub fn server_port(&self) -> u16 {
        self.options.server_port
    }

    /// Replaces the nodes to start from, once their names are resolved.
    pub fn set_bootstrap(&mut self, nodes: Vec<Address>, now: Instant) {
        self.options.bootstrap = nodes;
        if self.table.is_empty() {
            self.refresh(now);
        }
    }

    /// Adds nodes known from an earlier run.
    pub fn add_nodes(&mut self, nodes: impl IntoIterator<Item = Address>) {
        for address in nodes {
            self.add_entry(Entry::new(node_id(address), address, self.tick), None);
        }
    }

    /// Describes a request from the socket that suits the mode.
    pub fn outgoing(&self, to: Address, internal: bool, command: u64) -> Outgoing {
        Outgoing::new(self.socket(), to, internal, command)
    }

    /// Sends a request; the answer comes as an event.
    pub fn request(&mut self, outgoing: Outgoing, now: Instant) -> RequestId {
        self.send(outgoing, Purpose::Owner, now)
    }

    /// Forgets a request: no event comes for it.
    pub fn cancel_request(&mut self, request: RequestId) {
        self.requests.cancel(request);
        self.purposes.remove(&request);
    }

    /// Starts a query.
    pub fn query(&mut self, options: QueryOptions, now: Instant) -> QueryId {
        self.refresh_ticks = REFRESH_TICKS;
        let id = QueryId(self.next_query);
        self.next_query += 1;
        let concurrency = if options.is_background { BACKGROUND_CONCURRENCY } else { CONCURRENCY };
        let mut query = Query::new(options, K, concurrency);
        self.fill(&mut query);
        self.queries.insert(id, query);
        self.advance_query(id, now);
        id
    }

    /// Ends a query: no event comes for it.
    pub fn cancel_query(&mut self, id: QueryId) {
        if let Some(query) = self.queries.remove(&id) {
            for request in query.in_flight() {
                self.cancel_request(request);
            }
        }
    }

    /// Answers a request.
    pub fn reply(&mut self, request: &Incoming, error: u64, value: Option<Bytes>, options: ReplyOptions) {
        let socket = options.socket.unwrap_or(request.socket);
        let to = options.to.unwrap_or(request.from);
        let closer = match request.target {
            Some(target) if options.closer => {
                self.table.closest(&target, K).into_iter().map(|entry| entry.address).collect()
            }
            _ => Vec::new(),
        };
        let reply = Reply {
            tid: request.tid,
            to,
            id: self.own_id(socket),
            token: options.token.then(|| self.tokens.token(to.ip())),
            closer,
            error,
            value,
        };
        self.transmit(socket, to, reply.encode());
    }

    /// Passes a request on under the same number, with another value.
    pub fn relay(&mut self, request: &Incoming, value: Bytes, to: Address, socket: Option<SocketId>) {
        let socket = socket.unwrap_or(request.socket);
        let relayed = super::rpc::Request {
            tid: request.tid,
            to,
            id: self.own_id(socket),
            token: None,
            internal: request.internal,
            command: request.command,
            target: request.target,
            value: Some(value),
        };
        self.transmit(socket, to, relayed.encode());
    }

    /// Queues a datagram that is no request.
    pub fn transmit_raw(&mut self, transmit: Transmit) {
        self.transmits.push_back(transmit);
    }

    /// Takes a datagram that is neither UDX nor a punch.
    pub fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: &Bytes, now: Instant) {
        if from.port() == 0 {
            return;
        }
        self.tokens.advance(now);
        match Message::decode(bytes) {
            Ok(Message::Request(request)) => {
                let incoming = Incoming::new(request, from, socket);
                if let Some(token) = incoming.token
                    && !self.tokens.accepts(from.ip(), &token)
                {
                    self.reply(&incoming, error::INVALID_TOKEN, None, ReplyOptions::FULL);
                    return;
                }
                self.handle_request(incoming, now);
            }
            Ok(Message::Reply(reply)) => self.handle_reply(reply, from, socket, now),
            Err(_) => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tokens.advance(now);
        for lapse in self.requests.handle_timeout(now, &mut self.transmits) {
            match lapse {
                Lapse::Slow(id) => {
                    if let Some(Purpose::Query(query)) = self.purposes.get(&id) {
                        let query = *query;
                        if let Some(query) = self.queries.get_mut(&query) {
                            query.slow(id);
                        }
                        self.advance_query(query, now);
                    }
                }
                Lapse::TimedOut(id, to) => self.handle_lost(id, to, now),
            }
        }
        while self.delayed.first_key_value().is_some_and(|((due, _), _)| *due <= now)
            && let Some((_, request)) = self.delayed.pop_first()
        {
            self.reply(&request, 0, None, ReplyOptions::BARE);
        }
        if self.next_tick <= now {
            self.handle_tick(now);
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        [Some(self.next_tick), self.requests.poll_timeout(), delayed].into_iter().flatten().min()
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<NodeEvent> {
        self.events.pop_front()
    }

    // Requests and replies.

    fn send(&mut self, outgoing: Outgoing, purpose: Purpose, now: Instant) -> RequestId {
        let own_id = self.own_id(outgoing.socket);
        let id = self.requests.start(outgoing, own_id, now, &mut self.transmits);
        self.purposes.insert(id, purpose);
        id
    }

    fn own_id(&self, socket: SocketId) -> Option<NodeId> {
        self.id().filter(|_| socket == SocketId::SERVER)
    }

    fn transmit(&mut self, socket: SocketId, to: Address, bytes: Bytes) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(Transmit::single(socket, to, bytes));
        }
    }

    fn handle_request(&mut self, mut request: Incoming, now: Instant) {
        if let Some(id) = request.from_id {
            self.meet(Some(id), request.from, request.to, request.socket, now);
        }
        if !request.internal {
            self.events.push_back(NodeEvent::Request(request));
            return;
        }
        let value = request.value.clone().unwrap_or_default();
        match request.command {
            command::PING => self.reply(&request, 0, None, ReplyOptions::BARE),
            command::PING_NAT => {
                let Some(port) = value.first_chunk().map(|port| u16::from_le_bytes(*port)) else { return };
                if port != 0 {
                    request.from = Address::new(request.from.ip(), port);
                    self.reply(&request, 0, None, ReplyOptions::BARE);
                }
            }
            command::FIND_NODE if request.target.is_some() => {
                self.reply(&request, 0, None, ReplyOptions { closer: true, ..ReplyOptions::BARE });
            }
            command::FIND_NODE => {}
            command::DOWN_HINT => {
                let Some(address) = value.first_chunk::<6>() else { return };
                if self.checks < MAX_CHECKS {
                    let id = crate::crypto::blake2b_256(&[address]);
                    let tick = self.tick;
                    if let Some(entry) = self.table.get_mut(&id)
                        && (entry.pinged < tick || entry.down_hints == 0)
                    {
                        entry.down_hints += 1;
                        self.check(id, now);
                    }
                }
                self.reply(&request, 0, None, ReplyOptions::BARE);
            }
            command::DELAYED_PING => {
                let Some(delay) = value.first_chunk().map(|delay| u32::from_le_bytes(*delay)) else { return };
                let delay = Duration::from_millis(u64::from(delay));
                if delay <= MAX_PING_DELAY && self.delayed.len() < MAX_DELAYED {
                    self.delayed.insert((now + delay, self.next_delayed), request);
                    self.next_delayed += 1;
                }
            }
            _ => {
                let closer = request.target.is_some();
                self.reply(
                    &request,
                    error::UNKNOWN_COMMAND,
                    None,
                    ReplyOptions { closer, ..ReplyOptions::BARE },
                );
            }
        }
    }

    fn handle_reply(&mut self, reply: Reply, from: Address, socket: SocketId, now: Instant) {
        let answered = self.requests.answer(reply.tid, from, now, &mut self.transmits);
        let Some(answered) = answered else { return };
        self.health.responses += 1;
        let answer = Answer::new(reply, from, socket, answered.round_trip);
        self.meet(answer.id, from, answer.to, socket, now);
        let id = answered.id;
        match self.purposes.remove(&id) {
            Some(Purpose::Owner) => self.events.push_back(NodeEvent::Answered(id, answer)),
            Some(Purpose::Query(query_id)) => self.handle_query_answer(query_id, id, answer, now),
            Some(Purpose::Check { id, seen }) => {
                self.checks = self.checks.saturating_sub(1);
                if self.table.get(&id).is_some_and(|entry| entry.seen <= seen) {
                    self.table.remove(&id);
                }
            }
            Some(Purpose::Swap { old, seen, new }) => self.finish_swap(old, Some(seen), new),
            Some(Purpose::QuickProbe) => {
                self.boot.is_reachable = true;
                // The answer may come just too late for the round that asked.
                if self.is_bootstrapped {
                    self.update_network_state(true, now);
                }
            }
            Some(Purpose::FirewallProbe) => {
                if let Some((check, _)) = &mut self.check {
                    check.answered(id, answer.to, socket);
                }
                self.finish_check(now);
            }
            Some(Purpose::Nobody) | None => {}
        }
    }

    fn handle_lost(&mut self, id: RequestId, to: Address, now: Instant) {
        self.health.timeouts += 1;
        match self.purposes.remove(&id) {
            Some(Purpose::Owner) => self.events.push_back(NodeEvent::TimedOut(id)),
            Some(Purpose::Query(query_id)) => {
                self.table.remove(&node_id(to));
                if let Some(query) = self.queries.get_mut(&query_id) {
                    let hints = query.timed_out(id);
                    self.send_hints(hints, now);
                }
                self.advance_query(query_id, now);
            }
            Some(Purpose::Check { id, .. }) => {
                self.checks = self.checks.saturating_sub(1);
                self.table.remove(&id);
            }
            Some(Purpose::Swap { old, new, .. }) => self.finish_swap(old, None, new),
            Some(Purpose::FirewallProbe) => {
                if let Some((check, _)) = &mut self.check {
                    check.lost(id);
                }
                self.finish_check(now);
            }
            Some(Purpose::QuickProbe | Purpose::Nobody) | None => {}
        }
    }

    // Queries.

    fn fill(&mut self, query: &mut Query) {
        let missing = query.missing();
        if missing == 0 {
            return;
        }
        let target = query.options().target;
        let nodes: Vec<_> =
            self.table.closest(&target, missing).into_iter().map(|entry| entry.address).collect();
        query.add_table(nodes);
        if query.missing() > 0 {
            query.add_table(self.options.bootstrap.iter().copied());
        }
    }

    fn advance_query(&mut self, id: QueryId, now: Instant) {
        let Some(mut query) = self.queries.remove(&id) else { return };
        loop {
            match query.step() {
                Step::Ask(_, to) => {
                    let options = query.options();
                    let mut outgoing = Outgoing::new(self.socket(), to, options.internal, options.command);
                    outgoing.target = Some(options.target);
                    outgoing.value = options.value.clone();
                    outgoing.retries = options.retries;
                    let request = self.send(outgoing, Purpose::Query(id), now);
                    query.asked(request, to);
                }
                Step::Refill => self.fill(&mut query),
                Step::Wait => {
                    self.queries.insert(id, query);
                    return;
                }
                Step::Finished => break,
            }
        }
        for request in query.in_flight() {
            self.cancel_request(request);
        }
        if self.boot.query == Some(id) {
            self.boot.query = None;
            self.finish_bootstrap_round(now);
        } else if !query.options().is_background {
            self.events.push_back(NodeEvent::QueryFinished(id, query.into_closest()));
        }
    }

    fn handle_query_answer(&mut self, id: QueryId, request: RequestId, answer: Answer, now: Instant) {
        let own = *self.table.id();
        let Some(query) = self.queries.get_mut(&id) else { return };
        let hints = query.answered(request, &answer, |id, address| *id != own && !is_excluded(address));
        let is_background = query.options().is_background;
        if is_background {
            query.concurrency = if self.requests.len() < 3 { CONCURRENCY } else { BACKGROUND_CONCURRENCY };
        }
        self.send_hints(hints, now);
        if self.boot.query == Some(id) && self.boot.is_probing && answer.error == 0 {
            self.boot.is_probing = false;
            self.probe(answer.from, Purpose::QuickProbe, now);
        }
        if !is_background && answer.error == 0 {
            self.events.push_back(NodeEvent::QueryReply(id, answer));
        }
        self.advance_query(id, now);
    }

    fn send_hints(&mut self, hints: Vec<DownHint>, now: Instant) {
        for DownHint { to, down } in hints {
            if self.down_hints >= MAX_DOWN_HINTS {
                return;
            }
            self.down_hints += 1;
            let mut outgoing = self.outgoing(to, true, command::DOWN_HINT);
            outgoing.value = Some(Bytes::copy_from_slice(&down.encode()));
            self.send(outgoing, Purpose::Nobody, now);
        }
    }

    /// Looks around a random node, or around the own id.
    fn refresh(&mut self, now: Instant) {
        let target = self.table.random(&mut self.rng).map_or(*self.table.id(), |entry| entry.id);
        self.background_query(target, now);
    }

    fn background_query(&mut self, target: NodeId, now: Instant) -> QueryId {
        let options = QueryOptions {
            internal: true,
            is_background: true,
            ..QueryOptions::new(target, command::FIND_NODE)
        };
        self.query(options, now)
    }
}

/// Test nodes that got into the public network by accident (hyperdht 6.33, `filterNode`).
fn is_excluded(address: Address) -> bool {
    matches!(
        (address.ip(), address.port()),
        ([134, 209, 28, 98] | [167, 99, 142, 185], 49738)
            | ([35, 233, 47, 252], 9400)
            | ([150, 136, 142, 116], _)
    )
}

/// Nodes in a row, closer nodes in a reply, replies a query keeps.
pub const K: usize = 20;

/// Requests of a query at once.
const CONCURRENCY: usize = 10;

/// Requests of a background query at once while there is other traffic.
const BACKGROUND_CONCURRENCY: usize = 2;

/// Time between two rounds of upkeep.
const TICK: Duration = Duration::from_secs(5);

/// Ticks before an adaptive node tries to turn persistent; about 20 minutes.
const STABLE_TICKS: u64 = 240;

/// Ticks before it tries again.
const MORE_STABLE_TICKS: u64 = 3 * STABLE_TICKS;

/// Idle ticks before a refresh; about 5 minutes.
const REFRESH_TICKS: u64 = 60;

/// Longest delay that is granted to a delayed ping.
const MAX_PING_DELAY: Duration = Duration::from_secs(10);

/// Most delayed pings waiting.
const MAX_DELAYED: usize = 1024;

/// Most pings at once that were caused by down hints.
const MAX_CHECKS: usize = 10;

/// Down hints sent per tick.
const MAX_DOWN_HINTS: usize = 50;

/// Datagrams that wait for the sockets; answers beyond are dropped, as a full socket buffer would.
const MAX_TRANSMITS: usize = 8192;
