//! The swarm: topics, peers, connections.
//!
//! Source: hyperswarm 4.17, `index.js`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddrV4;

use super::Random;
use super::discovery::{Discovery, JoinOptions, Round, SessionId, TopicStatus, Wish};
use super::peer::PeerInfo;
use super::queue::{Queue, Retries};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};

type Key = [u8; 32];
type Topic = [u8; 32];

/// Names a connection, dialled or accepted, from its first moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Names a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushId(pub u64);

/// How a swarm is set up.
#[derive(Clone, Debug)]
pub struct SwarmOptions {
    /// Our key, under which we listen and dial.
    pub public_key: Key,
    /// Connections at most, divided by more the more explicit peers there are.
    pub max_peers: usize,
    /// Dialled connections at most.
    pub max_client_connections: usize,
    /// Accepted connections at most.
    pub max_server_connections: usize,
    /// Dials at once.
    pub max_parallel: usize,
    /// Pauses before a peer is dialled again: short, medium, long, very long.
    pub backoffs: [Duration; 4],
    /// What is added to those at most, at random: once, twice, 4 and 240 times.
    pub jitter: Duration,
}

impl SwarmOptions {
    /// Describes a swarm with upstream's defaults.
    pub fn new(public_key: Key) -> Self {
        Self {
            public_key,
            max_peers: 64,
            max_client_connections: usize::MAX,
            max_server_connections: usize::MAX,
            max_parallel: 3,
            backoffs: [1, 5, 15, 600].map(Duration::from_secs),
            jitter: Duration::from_millis(500),
        }
    }
}

/// Something to do for a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Listen on our key; answer with [`Swarm::handle_listening`].
    Listen,
    /// Stop to listen.
    CloseServer,
    /// Look a topic up; answer with [`Swarm::handle_found`] and [`Swarm::handle_finished`], as the next two.
    Lookup {
        /// Query.
        query: QueryId,
        /// Topic.
        topic: Topic,
    },
    /// Announce a topic; what the lookup before it finds counts as well.
    Announce {
        /// Query.
        query: QueryId,
        /// Topic.
        topic: Topic,
        /// Remove a record of ours first.
        clear: bool,
    },
    /// Remove our record from a topic; what the lookup before it finds counts as well.
    Unannounce {
        /// Query.
        query: QueryId,
        /// Topic.
        topic: Topic,
    },
    /// Give a query up; nothing more is heard of it.
    Cancel {
        /// Query.
        query: QueryId,
    },
    /// Dial; answer with [`Swarm::handle_opened`] or [`Swarm::handle_closed`].
    Dial {
        /// Connection.
        connection: ConnectionId,
        /// Peer.
        public_key: Key,
        /// Nodes that forward to it.
        relay_addresses: Vec<SocketAddrV4>,
    },
    /// End a connection; answer with [`Swarm::handle_closed`].
    Destroy {
        /// Connection.
        connection: ConnectionId,
        /// Why.
        reason: DestroyReason,
    },
    /// Send an empty message, to find out whether the other end is still there.
    KeepAlive {
        /// Connection.
        connection: ConnectionId,
    },
}

/// Why the swarm ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestroyReason {
    /// The peer has another connection.
    Duplicate,
    /// The swarm is suspended or over.
    Stopped,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmEvent {
    /// A connection is open and the only one of its peer.
    Connection {
        /// Connection.
        connection: ConnectionId,
        /// Peer.
        public_key: Key,
        /// Whether it was dialled here.
        is_client: bool,
    },
    /// The connections, or those that are being made, changed.
    Update,
    /// Topics are announced and looked up and peers found are tried; or the swarm stopped before.
    Flushed {
        /// Which.
        flush: FlushId,
        /// Whether it came so far.
        is_complete: bool,
    },
}

/// What becomes of a connection that a peer made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is taken: [`SwarmEvent::Connection`] follows.
    Taken(ConnectionId),
    /// It takes the place of another one: [`SwarmEvent::Connection`] follows when that is closed.
    Replaces(ConnectionId),
    /// Destroy it.
    Refused(DestroyReason),
}

/// What a connection has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// Whether bytes of the peer arrived.
    pub has_read: bool,
    /// Whether bytes were sent.
    pub has_written: bool,
}

/// Which peers to look for, dial, keep and try again.
///
/// After any `&mut self` call, drain [`poll_command`](Self::poll_command) and [`poll_event`](Self::poll_event), then arm a
/// timer from [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Swarm {
    options: SwarmOptions,
    random: Random,
    topics: BTreeMap<Topic, Discovery>,
    sessions: BTreeMap<SessionId, Topic>,
    queries: BTreeMap<QueryId, Topic>,
    peers: BTreeMap<Key, PeerInfo>,
    explicit: BTreeSet<Key>,
    queue: Queue,
    retries: Retries,
    connections: BTreeMap<ConnectionId, Connection>,
    by_key: BTreeMap<Key, ConnectionId>,
    /// Accepted connections that wait for the one that they replace.
    successors: BTreeMap<ConnectionId, ConnectionId>,
    connecting: usize,
    client_connections: usize,
    server_connections: usize,
    listening: Listening,
    is_online: bool,
    is_suspended: bool,
    flushes: Vec<Flush>,
    flush_tick: u64,
    commands: VecDeque<Command>,
    events: VecDeque<SwarmEvent>,
    next_id: u64,
}

#[derive(Debug)]
struct Connection {
    public_key: Key,
    is_client: bool,
    is_open: bool,
    /// Came out of the queue, so flushes wait for it.
    is_queued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    Asked,
    Yes,
}

#[derive(Debug)]
struct Flush {
    id: FlushId,
    stage: FlushStage,
}

#[derive(Debug)]
enum FlushStage {
    /// Waits for the rounds of these topics.
    Discovering(BTreeSet<Topic>),
    /// Waits for so many of the peers that were queued before.
    Dialling { missing: usize, tick: u64 },
}

impl Swarm {
    /// Creates a swarm whose carrier is not there yet; see [`set_online`](Self::set_online).
    pub fn new(options: SwarmOptions, seed: [u8; 32]) -> Self {
        let retries = Retries::new(options.backoffs, options.jitter);
        Self {
            options,
            random: Random::new(&seed),
            topics: BTreeMap::new(),
            sessions: BTreeMap::new(),
            queries: BTreeMap::new(),
            peers: BTreeMap::new(),
            explicit: BTreeSet::new(),
            queue: Queue::default(),
            retries,
            connections: BTreeMap::new(),
            by_key: BTreeMap::new(),
            successors: BTreeMap::new(),
            connecting: 0,
            client_connections: 0,
            server_connections: 0,
            listening: Listening::No,
            is_online: false,
            is_suspended: false,
            flushes: Vec::new(),
            flush_tick: 0,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            next_id: 0,
        }
    }

    // What the owner wants.

    /// Joins a topic. Announces and lookups of all sessions of a topic are one.
    pub fn join(&mut self, topic: Topic, options: JoinOptions, now: Instant) -> SessionId {
        let session = SessionId(self.next_id());
        self.sessions.insert(session, topic);
        let cancelled = self.topics.entry(topic).or_insert_with(Discovery::new).set(session, options);
        self.cancel(cancelled);
        self.start_rounds(now);
        session
    }

    /// Changes a session, and looks again.
    pub fn refresh(&mut self, session: SessionId, options: JoinOptions, now: Instant) {
        let Some(topic) = self.sessions.get(&session) else { return };
        let Some(discovery) = self.topics.get_mut(topic) else { return };
        let cancelled = discovery.set(session, options);
        self.cancel(cancelled);
        self.start_rounds(now);
    }

    /// Ends a session. With the last one of a topic, the topic is left.
    pub fn end_session(&mut self, session: SessionId, now: Instant) {
        let Some(topic) = self.sessions.remove(&session) else { return };
        let Some(discovery) = self.topics.get_mut(&topic) else { return };
        let cancelled = discovery.remove(session);
        self.cancel(cancelled);
        self.start_rounds(now);
        self.forget_topic(&topic);
    }

    /// Leaves a topic: its sessions end and our record is removed. Connections stay.
    pub fn leave(&mut self, topic: &Topic, now: Instant) {
        self.sessions.retain(|_, other| other != topic);
        let Some(discovery) = self.topics.get_mut(topic) else { return };
        let cancelled = discovery.leave();
        self.cancel(cancelled);
        self.start_rounds(now);
        self.forget_topic(topic);
    }

    /// Wants a connection to a peer, whatever its topics.
    pub fn join_peer(&mut self, public_key: Key, now: Instant) {
        if public_key == self.options.public_key {
            return;
        }
        let peer = self.peers.entry(public_key).or_insert_with(|| PeerInfo::new(Vec::new()));
        peer.is_explicit = true;
        self.explicit.insert(public_key);
        if !self.by_key.contains_key(&public_key) {
            self.enqueue(public_key);
        }
        self.dial(now);
    }

    /// Stops to want it. An open connection stays.
    pub fn leave_peer(&mut self, public_key: &Key) {
        if let Some(peer) = self.peers.get_mut(public_key) {
            peer.is_explicit = false;
        }
        self.explicit.remove(public_key);
        self.forget_peer(public_key);
    }

    /// Refuses a peer from here on, or takes that back.
    pub fn ban(&mut self, public_key: Key, is_banned: bool) {
        let peer = self.peers.entry(public_key).or_insert_with(|| PeerInfo::new(Vec::new()));
        peer.is_banned = is_banned;
        self.forget_peer(&public_key);
    }

    /// Decides whether a peer is dialled again after its connection closed.
    pub fn set_reconnecting(&mut self, public_key: &Key, is_reconnecting: bool) {
        if let Some(peer) = self.peers.get_mut(public_key) {
            peer.is_reconnecting = is_reconnecting;
        }
    }

    /// Asks to hear when all topics are announced and looked up, and all peers found so far tried.
    pub fn flush(&mut self) -> FlushId {
        let id = FlushId(self.next_id());
        let busy = self.topics.iter().filter(|(_, discovery)| discovery.round != Round::Idle);
        let topics = busy.map(|(topic, _)| *topic).collect();
        self.flushes.push(Flush { id, stage: FlushStage::Discovering(topics) });
        self.advance_flushes();
        id
    }

    /// Closes everything and does nothing more, until [`resume`](Self::resume).
    pub fn suspend(&mut self) {
        if core::mem::replace(&mut self.is_suspended, true) {
            return;
        }
        self.stop_queries();
        if self.listening != Listening::No {
            self.listening = Listening::No;
            self.commands.push_back(Command::CloseServer);
        }
        for connection in self.connections.keys() {
            let (connection, reason) = (*connection, DestroyReason::Stopped);
            self.commands.push_back(Command::Destroy { connection, reason });
        }
        self.queue.clear();
        self.retries.clear();
        for peer in self.peers.values_mut() {
            peer.is_queued = false;
            peer.is_waiting = false;
        }
        for flush in core::mem::take(&mut self.flushes) {
            self.events.push_back(SwarmEvent::Flushed { flush: flush.id, is_complete: false });
        }
    }

    /// Goes on after [`suspend`](Self::suspend).
    pub fn resume(&mut self, now: Instant) {
        if core::mem::replace(&mut self.is_suspended, false) {
            self.refresh_all(now);
            self.dial(now);
        }
    }

    // What is known.

    /// Returns what goes on with a topic; `None` for one that is not joined.
    pub fn status(&self, topic: &Topic) -> Option<TopicStatus> {
        self.topics.get(topic).filter(|discovery| discovery.has_sessions()).map(Discovery::status)
    }

    /// Returns the topics that are joined.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().filter(|(_, discovery)| discovery.has_sessions()).map(|(topic, _)| topic)
    }

    /// Returns a peer.
    pub fn peer(&self, public_key: &Key) -> Option<&PeerInfo> {
        self.peers.get(public_key)
    }

    /// Returns the dials under way.
    pub fn connecting(&self) -> usize {
        self.connecting
    }

    /// Returns the connection of a peer, open or being dialled.
    pub fn connection(&self, public_key: &Key) -> Option<ConnectionId> {
        self.by_key.get(public_key).copied()
    }

    /// Returns whether a peer may connect: not we ourselves, and nobody banned.
    pub fn is_welcome(&self, public_key: &Key) -> bool {
        let is_banned = self.peers.get(public_key).is_some_and(|peer| peer.is_banned);
        *public_key != self.options.public_key && !is_banned && !self.is_suspended
    }

    // What the carrier says.

    /// Notes whether there is a carrier. When it goes, its queries and its server are gone with it; its connections are
    /// reported one by one.
    pub fn set_online(&mut self, is_online: bool, now: Instant) {
        if core::mem::replace(&mut self.is_online, is_online) == is_online {
            return;
        }
        if is_online {
            self.refresh_all(now);
            self.dial(now);
        } else {
            self.listening = Listening::No;
            self.queries.clear();
            for discovery in self.topics.values_mut() {
                discovery.interrupt();
            }
        }
    }

    /// Notes that the network is another one: connections are tested, and topics looked up again.
    pub fn handle_network_change(&mut self, now: Instant) {
        if self.is_suspended {
            return;
        }
        for connection in self.connections.keys() {
            self.commands.push_back(Command::KeepAlive { connection: *connection });
        }
        self.refresh_all(now);
    }

    /// Takes the answer to [`Command::Listen`]. A key that cannot be listened on is announced nevertheless: whoever finds
    /// it may find a way.
    pub fn handle_listening(&mut self, now: Instant) {
        if self.listening == Listening::Asked {
            self.listening = Listening::Yes;
            self.start_rounds(now);
        }
    }

    /// Notes that our key is not listened on any more, though nobody asked for that.
    pub fn handle_server_closed(&mut self) {
        self.listening = Listening::No;
    }

    /// Takes a peer that a query found.
    pub fn handle_found(
        &mut self,
        query: QueryId,
        public_key: Key,
        relay_addresses: Vec<SocketAddrV4>,
        now: Instant,
    ) {
        let Some(topic) = self.queries.get(&query).copied() else { return };
        if public_key == self.options.public_key || self.is_suspended {
            return;
        }
        let connection = self.by_key.get(&public_key).and_then(|id| self.connections.get(id));
        let (is_connected, is_open) = (connection.is_some(), connection.is_some_and(|found| found.is_open));
        let Some(discovery) = self.topics.get_mut(&topic) else { return };
        if !discovery.found(public_key, is_open) {
            return;
        }
        if self.peers.len() >= MAX_PEERS_KNOWN && !self.peers.contains_key(&public_key) {
            return;
        }
        let peer = self.peers.entry(public_key).or_insert_with(|| PeerInfo::new(Vec::new()));
        peer.relay_addresses = relay_addresses;
        peer.topics.insert(topic);
        if is_connected {
            return;
        }
        if !peer.is_prioritized() || !peer.is_client {
            peer.reset();
        }
        self.enqueue(public_key);
        self.dial(now);
    }

    /// Takes the end of a query.
    pub fn handle_finished(&mut self, query: QueryId, is_complete: bool, now: Instant) {
        let Some(topic) = self.queries.remove(&query) else { return };
        let Some(discovery) = self.topics.get_mut(&topic) else { return };
        if discovery.finished(is_complete, &mut self.random, now) {
            let cancelled = discovery.refresh();
            self.cancel(cancelled);
        }
        self.start_rounds(now);
        self.forget_topic(&topic);
        self.advance_flushes();
    }

    /// Notes that a dialled connection is open.
    pub fn handle_opened(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_open) else {
            return;
        };
        connection.is_open = true;
        let (public_key, is_queued) = (connection.public_key, connection.is_queued);
        self.connecting -= 1;
        if let Some(peer) = self.peers.get_mut(&public_key) {
            peer.connected(now);
            peer.is_client = true;
        }
        self.events.push_back(SwarmEvent::Connection { connection: id, public_key, is_client: true });
        if is_queued {
            self.peer_tried(&public_key);
        }
        self.dial(now);
        self.events.push_back(SwarmEvent::Update);
    }

    /// Takes a connection that a peer made, whose key is proven. `established` tells of the connection that the peer has
    /// already, where it has one.
    pub fn handle_incoming(
        &mut self,
        public_key: Key,
        established: impl FnOnce(ConnectionId) -> Established,
    ) -> Admission {
        if !self.is_welcome(&public_key) || self.server_connections >= self.options.max_server_connections {
            return Admission::Refused(DestroyReason::Stopped);
        }
        let id = ConnectionId(self.next_id());
        let connection = Connection { public_key, is_client: false, is_open: true, is_queued: false };
        let Some(existing) = self.by_key.get(&public_key).copied() else {
            self.take_incoming(id, connection);
            return Admission::Taken(id);
        };
        // Both ends know the rule. A peer whose connection worked and that dials again has lost it.
        let Established { has_read, has_written } = established(existing);
        if !(has_read && has_written) && self.options.public_key > public_key {
            self.commands.push_back(Command::KeepAlive { connection: existing });
            return Admission::Refused(DestroyReason::Duplicate);
        }
        let reason = DestroyReason::Duplicate;
        self.commands.push_back(Command::Destroy { connection: existing, reason });
        if let Some(earlier) = self.successors.insert(existing, id) {
            self.connections.remove(&earlier);
            self.commands.push_back(Command::Destroy { connection: earlier, reason });
        }
        self.connections.insert(id, connection);
        Admission::Replaces(id)
    }

    /// Takes the end of a connection, or of the attempt to make one.
    pub fn handle_closed(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.successors.retain(|_, successor| *successor != id);
        let Connection { public_key, is_client, is_open, is_queued } = connection;
        if self.by_key.get(&public_key) != Some(&id) {
            return;
        }
        self.by_key.remove(&public_key);
        if is_client {
            self.client_connections -= 1;
            if !is_open {
                self.connecting -= 1;
            }
            self.try_later(&public_key, now);
        } else {
            self.server_connections -= 1;
        }
        if let Some(successor) = self.successors.remove(&id)
            && let Some(connection) = self.connections.remove(&successor)
        {
            self.take_incoming(successor, connection);
        }
        if is_queued && !is_open {
            self.peer_tried(&public_key);
        }
        self.forget_peer(&public_key);
        self.dial(now);
        self.events.push_back(SwarmEvent::Update);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_suspended {
            return;
        }
        while let Some(key) = self.retries.pop(now) {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.is_waiting = false;
                if !self.by_key.contains_key(&key) {
                    self.enqueue(key);
                }
                self.forget_peer(&key);
            }
        }
        let mut cancelled = Vec::new();
        for discovery in self.topics.values_mut() {
            if discovery.is_due(&mut self.random, now) {
                cancelled.push(discovery.refresh());
            }
        }
        for query in cancelled {
            self.cancel(query);
        }
        self.start_rounds(now);
        self.dial(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_suspended {
            return None;
        }
        self.topics.values().filter_map(Discovery::refresh_at).chain(self.retries.next()).min()
    }

    /// Returns what to do next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<SwarmEvent> {
        self.events.pop_front()
    }

    // Inside.

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn cancel(&mut self, query: Option<QueryId>) {
        if let Some(query) = query
            && self.queries.remove(&query).is_some()
        {
            self.commands.push_back(Command::Cancel { query });
        }
    }

    fn refresh_all(&mut self, now: Instant) {
        let sessions = self.topics.values_mut().filter(|discovery| discovery.has_sessions());
        let cancelled: Vec<_> = sessions.map(Discovery::refresh).collect();
        for query in cancelled {
            self.cancel(query);
        }
        self.start_rounds(now);
    }

    fn stop_queries(&mut self) {
        for discovery in self.topics.values_mut() {
            discovery.interrupt();
        }
        for query in core::mem::take(&mut self.queries).into_keys() {
            self.commands.push_back(Command::Cancel { query });
        }
    }

    /// Starts the rounds that are wanted, listening first where they announce.
    fn start_rounds(&mut self, _now: Instant) {
        if !self.is_online || self.is_suspended {
            return;
        }
        let wanted = self.topics.iter().filter(|(_, discovery)| discovery.round == Round::Wanted);
        for topic in wanted.map(|(topic, _)| *topic).collect::<Vec<_>>() {
            let query = QueryId(self.next_id());
            let Some(discovery) = self.topics.get_mut(&topic) else { continue };
            if discovery.is_server && self.listening != Listening::Yes {
                if self.listening == Listening::No {
                    self.listening = Listening::Asked;
                    self.commands.push_back(Command::Listen);
                }
                continue;
            }
            let is_open = |key: &Key| {
                let connection = self.by_key.get(key).and_then(|id| self.connections.get(id));
                connection.is_some_and(|connection| connection.is_open)
            };
            let command = match discovery.start(query, is_open) {
                Wish::Announce { clear } => Command::Announce { query, topic, clear },
                Wish::Lookup => Command::Lookup { query, topic },
                Wish::Unannounce => Command::Unannounce { query, topic },
            };
            self.queries.insert(query, topic);
            self.commands.push_back(command);
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.update_priority() {
            peer.is_queued = true;
            peer.flush_tick = self.flush_tick;
            self.queue.push(key, peer.priority);
        }
    }

    /// Dials as many peers as may be dialled at once.
    fn dial(&mut self, now: Instant) {
        if self.is_suspended || !self.is_online {
            return;
        }
        for key in self.explicit.iter().copied().collect::<Vec<_>>() {
            if self.connecting >= self.options.max_parallel {
                break;
            }
            if self.peers.get(&key).is_some_and(|peer| peer.may_be_dialled_at_once(now)) {
                self.connect(key, false);
            }
        }
        while self.connecting < self.options.max_parallel
            && self.has_room()
            && let Some(key) = self.queue.pop(&mut self.random)
        {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.is_queued = false;
            }
            self.connect(key, true);
        }
        self.advance_flushes();
    }

    fn connect(&mut self, public_key: Key, is_queued: bool) {
        let is_wanted = self.is_welcome(&public_key) && !self.by_key.contains_key(&public_key);
        let Some(peer) = self.peers.get(&public_key).filter(|_| is_wanted) else {
            if is_queued {
                self.peer_tried(&public_key);
            }
            return;
        };
        let relay_addresses = peer.relay_addresses.clone();
        let id = ConnectionId(self.next_id());
        let connection = Connection { public_key, is_client: true, is_open: false, is_queued };
        self.connections.insert(id, connection);
        self.by_key.insert(public_key, id);
        self.connecting += 1;
        self.client_connections += 1;
        self.commands.push_back(Command::Dial { connection: id, public_key, relay_addresses });
        self.events.push_back(SwarmEvent::Update);
    }

    fn take_incoming(&mut self, id: ConnectionId, connection: Connection) {
        let public_key = connection.public_key;
        self.connections.insert(id, connection);
        self.by_key.insert(public_key, id);
        self.server_connections += 1;
        let peer = self.peers.entry(public_key).or_insert_with(|| PeerInfo::new(Vec::new()));
        peer.is_client = false;
        self.events.push_back(SwarmEvent::Connection { connection: id, public_key, is_client: false });
        self.events.push_back(SwarmEvent::Update);
    }

    /// Puts a peer whose dialled connection ended on the list of those to try again, if it is still wanted.
    fn try_later(&mut self, key: &Key, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.disconnected(now);
        let is_joined = |topic: &Topic| self.topics.get(topic).is_some_and(Discovery::has_sessions);
        let is_wanted = peer.is_explicit || peer.topics.iter().any(is_joined);
        if is_wanted
            && !self.is_suspended
            && let Some(tier) = peer.retry_tier()
        {
            peer.is_waiting = true;
            self.retries.add(*key, tier, &mut self.random, now);
        }
    }

    fn has_room(&self) -> bool {
        let factor = match self.explicit.len() {
            0 => 1,
            1 => 2,
            2 | 3 => 3,
            _ => 4,
        };
        self.by_key.len().saturating_mul(factor) < self.options.max_peers
            && self.client_connections < self.options.max_client_connections
    }

    fn forget_peer(&mut self, key: &Key) {
        let is_free = self.peers.get(key).is_some_and(PeerInfo::is_collectable);
        if is_free && !self.by_key.contains_key(key) {
            self.peers.remove(key);
        }
    }

    fn forget_topic(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(Discovery::is_over) {
            self.topics.remove(topic);
        }
        self.advance_flushes();
    }

    /// Notes that a peer that came out of the queue is connected, or not to be had.
    fn peer_tried(&mut self, key: &Key) {
        let peer_tick = self.peers.get(key).map_or(0, |peer| peer.flush_tick);
        for flush in &mut self.flushes {
            if let FlushStage::Dialling { missing, tick } = &mut flush.stage
                && peer_tick <= *tick
            {
                *missing = missing.saturating_sub(1);
            }
        }
        self.advance_flushes();
    }

    fn advance_flushes(&mut self) {
        let is_full = self.connecting == 0 && !self.has_room();
        let pending = self.connections.values().filter(|connection| !connection.is_open).count();
        let (queued, mut tick) = (self.queue.len(), self.flush_tick);
        for flush in &mut self.flushes {
            if let FlushStage::Discovering(topics) = &mut flush.stage {
                topics.retain(|topic| {
                    self.topics.get(topic).is_some_and(|discovery| discovery.round != Round::Idle)
                });
                if topics.is_empty() {
                    flush.stage = FlushStage::Dialling { missing: queued + pending, tick };
                    tick += 1;
                }
            }
        }
        self.flush_tick = tick;
        let events = &mut self.events;
        self.flushes.retain(|flush| {
            let is_complete = match flush.stage {
                FlushStage::Discovering(_) => false,
                FlushStage::Dialling { missing, .. } => missing == 0 || is_full,
            };
            if is_complete {
                events.push_back(SwarmEvent::Flushed { flush: flush.id, is_complete });
            }
            !is_complete
        });
    }
}

/// Most peers remembered. A topic with more has others to tell of them.
const MAX_PEERS_KNOWN: usize = 16 * 1024;
