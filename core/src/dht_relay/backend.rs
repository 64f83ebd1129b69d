//! What a session needs of the DHT, and how an [`Endpoint`] gives it.

use alloc::vec::Vec;
use core::net::SocketAddrV4;

use bytes::Bytes;

use super::bridge::LinkId;
use super::ledger::Ledger;
use super::queries::{AnnounceTerms, Question};
use super::quota::Resource;
use crate::collections::{BTreeMap, BTreeSet};
use crate::dht::{
    Announce, Connect, ConnectionId, Endpoint, Identity, Listen, OperationId, ServerId, SignatureId,
};
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// The DHT, as one session sees it. Keys are always held by the client.
pub(super) trait Backend {
    /// Reports whether a client that holds so many may have no more, and counts that.
    fn full(&mut self, resource: Resource, held: usize) -> bool;
    /// Reports whether the client may search once more.
    fn take_lookup(&mut self) -> bool;
    /// Counts a request that is turned down for another reason.
    fn turned_down(&mut self, resource: &'static str, scope: &'static str);

    fn lookup(&mut self, topic: [u8; 32]) -> OperationId;
    fn announce(&mut self, topic: [u8; 32], public_key: [u8; 32], terms: AnnounceTerms) -> OperationId;
    fn unannounce(&mut self, topic: [u8; 32], public_key: [u8; 32]) -> OperationId;
    fn ask(&mut self, question: Question) -> OperationId;
    /// Reports whether the reply is one that can be written to, and was not yet.
    fn write_to_reply(&mut self, operation: OperationId, reply: u32, command: u64, value: Bytes) -> bool;
    fn cancel(&mut self, operation: OperationId);
    fn signed(&mut self, id: SignatureId, signature: Option<[u8; 64]>);

    fn connect(&mut self, public_key: [u8; 32], remote_public_key: [u8; 32]) -> ConnectionId;
    /// Returns `None` when somebody else listens on the key.
    fn listen(&mut self, public_key: [u8; 32]) -> Option<ServerId>;
    /// Returns the nodes through which a key is reached that is listened on.
    fn reachable(&self, server: ServerId) -> Vec<SocketAddrV4>;
    /// Takes a key away from whoever listens on it, and tells them.
    fn take_over(&mut self, public_key: [u8; 32]);
    fn close_server(&mut self, server: ServerId, is_polite: bool);
    fn noise_sent(&mut self, connection: ConnectionId, message: Bytes, holepunch_secret: Option<[u8; 32]>);
    fn noise_received(
        &mut self,
        connection: ConnectionId,
        payload: Bytes,
        remote_public_key: Option<[u8; 32]>,
        holepunch_secret: Option<[u8; 32]>,
    );
    /// Says that what came as message 2 of a dial is not the peer's. The dial goes on.
    fn noise_refused(&mut self, connection: ConnectionId);
    fn deny(&mut self, connection: ConnectionId);

    /// Reports whether there is room for more; `None` when the connection is gone.
    fn write(&mut self, connection: ConnectionId, bytes: Bytes) -> Option<bool>;
    fn end(&mut self, connection: ConnectionId);
    fn destroy(&mut self, connection: ConnectionId);
    /// Leaves a connection that both sides have ended to bring what is on its way, for nobody.
    fn let_go(&mut self, connection: ConnectionId);
    fn consumed(&mut self, connection: ConnectionId, bytes: usize);
    fn set_receive_limit(&mut self, connection: ConnectionId, bytes: u32);

    fn public_address(&self) -> SocketAddrV4;
}

/// Which link each thing of the endpoint belongs to.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) operations: BTreeMap<OperationId, LinkId>,
    pub(super) servers: BTreeMap<ServerId, LinkId>,
    pub(super) connections: BTreeMap<ConnectionId, LinkId>,
    keys: BTreeMap<[u8; 32], ServerId>,
    /// Servers whose key was taken over.
    pub(super) replaced: Vec<(LinkId, ServerId)>,
    /// Connections that bring the rest of what a client has sent that is gone, which link was theirs, and how long they may take.
    let_go: BTreeMap<ConnectionId, (LinkId, Instant)>,
    /// The same in the order of time.
    let_go_until: BTreeSet<(Instant, ConnectionId)>,
}

impl Routes {
    /// Returns when the first of the connections that were let go has had its time.
    pub(super) fn let_go_until(&self) -> Option<Instant> {
        self.let_go_until.first().map(|(until, _)| *until)
    }

    /// Returns a connection that was let go and has had its time.
    pub(super) fn late(&self, now: Instant) -> Option<ConnectionId> {
        let (until, connection) = self.let_go_until.first()?;
        (*until <= now).then_some(*connection)
    }

    /// Forgets a connection that was let go, and returns whose it was.
    pub(super) fn let_go_over(&mut self, connection: ConnectionId) -> Option<LinkId> {
        let (link, until) = self.let_go.remove(&connection)?;
        self.let_go_until.remove(&(until, connection));
        Some(link)
    }

    /// Forgets a server that is closed.
    pub(super) fn server_closed(&mut self, server: ServerId) {
        self.servers.remove(&server);
        self.keys.retain(|_, other| *other != server);
    }
}

/// What a relay has done since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lookups.
    pub lookups: u64,
    /// Announces.
    pub announces: u64,
    /// Unannounces.
    pub unannounces: u64,
    /// Other searches.
    pub queries: u64,
    /// Values written to a node.
    pub writes: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that became streams.
    pub dials_connected: u64,
    /// Dials that failed, were given up, or did not get through.
    pub dials_failed: u64,
    /// Handshakes of peers that were brought to a client.
    pub accepts: u64,
    /// Those that became streams.
    pub accepts_connected: u64,
    /// Those that failed or were denied.
    pub accepts_failed: u64,
    /// Datagrams that came from private or reserved addresses and were dropped.
    pub private_in: u64,
    /// Datagrams that would have gone to such addresses.
    pub private_out: u64,
    /// Requests dropped because their host sends too many.
    pub excess_in: u64,
    /// Datagrams that would have gone to a host that does not answer.
    pub excess_out: u64,
    /// Bytes of packets between native peers that were forwarded unread.
    pub forwarded: u64,
    /// Links that their clients went on with over another WebSocket.
    pub resumed: u64,
    /// Links that were held for clients that did not come back.
    pub resume_expired: u64,
    /// Links whose frames were let go because so many were kept.
    pub resume_lost: u64,
    /// Requests, and packets between native peers, turned down, by what there was too much of and whose account was full.
    pub turned_down: BTreeMap<(&'static str, &'static str), u64>,
}

impl Counters {
    /// What requests may be turned down for, and on whose account.
    pub const TURNED_DOWN: [(&'static str, &'static [&'static str]); 12] = [
        ("announces", &["token"]),
        ("blind_relay_bytes_per_day", &["address", "key", "total"]),
        ("blind_relay_bytes_per_second", &["address", "key", "total"]),
        ("dials", &["token"]),
        ("handshakes", &["link", "address", "key", "total"]),
        ("listens", &["link", "address", "key", "token", "total"]),
        ("lookups", &["link", "address", "key", "token", "total"]),
        ("queries", &["link"]),
        ("requests", &["link"]),
        ("signatures", &["link"]),
        ("streams", &["link", "address", "key", "total"]),
        ("topics", &["link", "address", "key", "total"]),
    ];

    /// Counts a request, or a packet between native peers, that is turned down.
    pub(super) fn turn_down(&mut self, resource: &'static str, scope: &'static str) {
        *self.turned_down.entry((resource, scope)).or_default() += 1;
    }
}

/// The endpoint for one link.
pub(super) struct Port<'a> {
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) routes: &'a mut Routes,
    pub(super) ledger: &'a mut Ledger,
    pub(super) counters: &'a mut Counters,
    pub(super) link: LinkId,
    pub(super) now: Instant,
    pub(super) allows_lan: bool,
    pub(super) relay_through: &'a [[u8; 32]],
}

impl Backend for Port<'_> {
    fn full(&mut self, resource: Resource, held: usize) -> bool {
        let scope = self.ledger.full(self.link, resource, held);
        if let Some(scope) = scope {
            self.counters.turn_down(resource.name(), scope.name());
        }
        scope.is_some()
    }

    fn take_lookup(&mut self) -> bool {
        let scope = self.ledger.take_lookup(self.link, self.now);
        if let Some(scope) = scope {
            self.counters.turn_down("lookups", scope.name());
        }
        scope.is_none()
    }

    fn turned_down(&mut self, resource: &'static str, scope: &'static str) {
        self.counters.turn_down(resource, scope);
    }

    fn lookup(&mut self, topic: [u8; 32]) -> OperationId {
        self.counters.lookups += 1;
        let id = self.endpoint.lookup(topic, self.now);
        self.routes.operations.insert(id, self.link);
        id
    }

    fn announce(&mut self, topic: [u8; 32], public_key: [u8; 32], terms: AnnounceTerms) -> OperationId {
        self.counters.announces += 1;
        let AnnounceTerms { clears, bump, relay_addresses } = terms;
        let mut relay_addresses: Vec<_> = relay_addresses.into_iter().map(Address::from).collect();
        // Peers find a key that is listened on here without a search of their own.
        if relay_addresses.is_empty()
            && let Some(server) = self.routes.keys.get(&public_key)
        {
            relay_addresses = self.endpoint.relay_addresses(*server);
        }
        let identity = Identity::External(public_key);
        let record = Announce { relay_addresses, bump, clears };
        let id = self.endpoint.announce(topic, identity, record, self.now);
        self.routes.operations.insert(id, self.link);
        id
    }

    fn unannounce(&mut self, topic: [u8; 32], public_key: [u8; 32]) -> OperationId {
        self.counters.unannounces += 1;
        let id = self.endpoint.unannounce(topic, Identity::External(public_key), self.now);
        self.routes.operations.insert(id, self.link);
        id
    }

    fn ask(&mut self, question: Question) -> OperationId {
        self.counters.queries += 1;
        let Question { is_internal, command, target, value, .. } = question;
        let id = self.endpoint.ask(target, is_internal, command, value, self.now);
        self.routes.operations.insert(id, self.link);
        id
    }

    fn write_to_reply(&mut self, operation: OperationId, reply: u32, command: u64, value: Bytes) -> bool {
        let is_sent = self.endpoint.write_to_reply(operation, reply, command, value, self.now);
        self.counters.writes += u64::from(is_sent);
        is_sent
    }

    fn cancel(&mut self, operation: OperationId) {
        self.routes.operations.remove(&operation);
        self.endpoint.cancel(operation, self.now);
    }

    fn signed(&mut self, id: SignatureId, signature: Option<[u8; 64]>) {
        self.endpoint.signed(id, signature, self.now);
    }

    fn connect(&mut self, public_key: [u8; 32], remote_public_key: [u8; 32]) -> ConnectionId {
        let turn = self.counters.dials.checked_rem(self.relay_through.len() as u64).unwrap_or(0) as usize;
        self.counters.dials += 1;
        let options = Connect {
            allows_lan: self.allows_lan,
            // Each in its turn.
            relay_through: self.relay_through.get(turn).copied(),
            ..Connect::new(Identity::External(public_key), remote_public_key)
        };
        let id = self.endpoint.connect(options, self.now);
        self.routes.connections.insert(id, self.link);
        id
    }

    fn listen(&mut self, public_key: [u8; 32]) -> Option<ServerId> {
        let options = Listen {
            shares_local_addresses: self.allows_lan,
            relay_through: self.relay_through.to_vec(),
            ..Listen::new(Identity::External(public_key))
        };
        match self.endpoint.listen(options, self.now) {
            Ok(id) => {
                self.routes.servers.insert(id, self.link);
                self.routes.keys.insert(public_key, id);
                Some(id)
            }
            Err(_) => None,
        }
    }

    fn reachable(&self, server: ServerId) -> Vec<SocketAddrV4> {
        self.endpoint.relay_addresses(server).into_iter().map(Into::into).collect()
    }

    fn take_over(&mut self, public_key: [u8; 32]) {
        let Some(server) = self.routes.keys.remove(&public_key) else { return };
        if let Some(link) = self.routes.servers.remove(&server) {
            self.routes.replaced.push((link, server));
        }
        self.endpoint.close_server(server, false, self.now);
    }

    fn close_server(&mut self, server: ServerId, is_polite: bool) {
        // The key is free from here on; the server ends when it is taken out of the DHT.
        self.routes.keys.retain(|_, other| *other != server);
        if !is_polite {
            self.routes.servers.remove(&server);
        }
        self.endpoint.close_server(server, is_polite, self.now);
    }

    fn noise_sent(&mut self, connection: ConnectionId, message: Bytes, holepunch_secret: Option<[u8; 32]>) {
        self.endpoint.noise_sent(connection, message, holepunch_secret, self.now);
    }

    fn noise_received(
        &mut self,
        connection: ConnectionId,
        payload: Bytes,
        remote_public_key: Option<[u8; 32]>,
        holepunch_secret: Option<[u8; 32]>,
    ) {
        self.endpoint.noise_received(connection, payload, remote_public_key, holepunch_secret, self.now);
    }

    fn noise_refused(&mut self, connection: ConnectionId) {
        self.endpoint.deny(connection, self.now);
    }

    fn deny(&mut self, connection: ConnectionId) {
        self.routes.connections.remove(&connection);
        self.endpoint.deny(connection, self.now);
    }

    fn write(&mut self, connection: ConnectionId, bytes: Bytes) -> Option<bool> {
        self.endpoint.write(connection, bytes, self.now).ok()
    }

    fn end(&mut self, connection: ConnectionId) {
        // Gone is as good as ended.
        let _ = self.endpoint.end(connection, self.now);
    }

    fn destroy(&mut self, connection: ConnectionId) {
        self.routes.connections.remove(&connection);
        self.endpoint.destroy(connection, self.now);
    }

    fn let_go(&mut self, connection: ConnectionId) {
        self.routes.connections.remove(&connection);
        let until = self.now + LET_GO;
        self.routes.let_go.insert(connection, (self.link, until));
        self.routes.let_go_until.insert((until, connection));
    }

    fn consumed(&mut self, connection: ConnectionId, bytes: usize) {
        // The connection may be gone: its last bytes are still on their way to the client.
        let _ = self.endpoint.consumed(connection, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn set_receive_limit(&mut self, connection: ConnectionId, bytes: u32) {
        let _ = self.endpoint.set_receive_limit(connection, bytes);
    }

    fn public_address(&self) -> SocketAddrV4 {
        let node = self.endpoint.node();
        node.public_address().unwrap_or(Address::new([0; 4], node.server_port())).into()
    }
}

/// How long a connection may bring what a client has left that is gone: as long as a blocked one is kept for a client, twice.
const LET_GO: Duration = Duration::from_secs(60);
