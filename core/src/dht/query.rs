//! An iterative query: asks ever closer nodes until the closest have answered.
//!
//! Source: dht-rpc 6.27, `lib/query.js`. The query decides whom to ask; [`Node`](super::Node) asks. The commit that
//! may follow is a request to each of the closest replies, made by whoever owns the query.

use alloc::vec::Vec;

use bytes::Bytes;

use super::rpc::{Answer, NodeId, RequestId, node_id};
use crate::collections::BTreeMap;
use crate::udx::Address;

/// Names one query of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// What a query asks.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Asks those closest to this.
    pub target: [u8; 32],
    /// Whether `command` is one of dht-rpc itself.
    pub internal: bool,
    /// Command sent to every node.
    pub command: u64,
    /// Its argument.
    pub value: Option<Bytes>,
    /// Nodes to start from, before those of the table.
    pub nodes: Vec<Address>,
    /// Repetitions of each request.
    pub retries: u32,
    /// Whether other traffic goes first.
    pub is_background: bool,
}

impl QueryOptions {
    /// Describes a query for an application command with the usual five repetitions.
    pub fn new(target: [u8; 32], command: u64) -> Self {
        Self {
            target,
            internal: false,
            command,
            value: None,
            nodes: Vec::new(),
            retries: QUERY_RETRIES,
            is_background: false,
        }
    }
}

/// What a query wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this node and report the request with [`Query::asked`].
    Ask(NodeId, Address),
    /// Offer nodes of the table with [`Query::add_table`].
    Refill,
    /// Nothing until an answer or a timeout.
    Wait,
    /// It is over.
    Finished,
}

/// A node that someone named and that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownHint {
    /// Who named it.
    pub to: Address,
    /// The dead node.
    pub down: Address,
}

/// One running query.
#[derive(Debug)]
pub struct Query {
    options: QueryOptions,
    k: usize,
    /// Most requests at once; the node lowers it for background queries.
    pub concurrency: usize,
    pending: BTreeMap<NodeId, (NodeId, Address)>,
    seen: BTreeMap<Address, Seen>,
    in_flight: BTreeMap<RequestId, Asked>,
    closest: Vec<Answer>,
    is_from_table: bool,
    is_slowed_down: bool,
    successes: usize,
    errors: usize,
}

#[derive(Debug)]
enum Seen {
    /// Asked or about to be; named by these nodes.
    Open(Vec<Address>),
    Answered,
    Down,
}

#[derive(Debug)]
struct Asked {
    address: Address,
    is_slow: bool,
}

impl Query {
    /// Creates a query that keeps the `k` closest replies.
    pub fn new(options: QueryOptions, k: usize, concurrency: usize) -> Self {
        let nodes = options.nodes.clone();
        let mut query = Self {
            options,
            k,
            concurrency,
            pending: BTreeMap::new(),
            seen: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            closest: Vec::new(),
            is_from_table: false,
            is_slowed_down: false,
            successes: 0,
            errors: 0,
        };
        for address in nodes {
            query.add(node_id(address), address, None);
        }
        query
    }

    /// Returns what is asked.
    pub fn options(&self) -> &QueryOptions {
        &self.options
    }

    /// Returns how many nodes of the table are wanted to fill up.
    pub fn missing(&self) -> usize {
        self.k.saturating_sub(self.pending.len())
    }

    /// Adds nodes of the table, or bootstrap nodes.
    pub fn add_table(&mut self, nodes: impl IntoIterator<Item = Address>) {
        self.is_from_table = true;
        for address in nodes {
            self.add(node_id(address), address, None);
        }
    }

    /// Returns what to do; call until it is [`Step::Wait`] or [`Step::Finished`].
    pub fn step(&mut self) -> Step {
        let slow = self.in_flight.values().filter(|asked| asked.is_slow).count();
        let limit = if self.is_slowed_down { REUSED_CONCURRENCY } else { self.concurrency } + slow;
        if self.in_flight.len() < limit {
            while let Some((_, (id, address))) = self.pending.pop_first() {
                if self.is_closer(&id) {
                    return Step::Ask(id, address);
                }
            }
        }
        if !self.is_from_table && self.successes == 0 && self.errors == 0 && !self.in_flight.is_empty() {
            self.is_slowed_down = true;
        }
        if !self.pending.is_empty() {
            return Step::Wait;
        }
        if self.in_flight.is_empty() || (slow == self.in_flight.len() && self.closest.len() >= self.k) {
            if !self.is_from_table && self.successes < self.k / 4 {
                return Step::Refill;
            }
            return Step::Finished;
        }
        Step::Wait
    }

    /// Reports the request that a [`Step::Ask`] became.
    pub fn asked(&mut self, request: RequestId, address: Address) {
        self.in_flight.insert(request, Asked { address, is_slow: false });
    }

    /// Takes an answer and the closer nodes in it that `filter` lets pass.
    pub fn answered(
        &mut self,
        request: RequestId,
        answer: &Answer,
        mut filter: impl FnMut(&NodeId, Address) -> bool,
    ) -> Vec<DownHint> {
        let mut hints = Vec::new();
        let Some(asked) = self.in_flight.remove(&request) else { return hints };
        self.seen.insert(asked.address, Seen::Answered);
        if answer.error == 0 {
            self.successes += 1;
            if answer.id.is_some_and(|id| self.is_closer(&id)) {
                self.keep(answer.clone());
            }
        } else {
            self.errors += 1;
        }
        for address in answer.closer.iter().copied().take(self.k) {
            let id = node_id(address);
            if !filter(&id, address) {
                continue;
            }
            if matches!(self.seen.get(&address), Some(Seen::Down)) {
                hints.push(DownHint { to: answer.from, down: address });
            }
            if !self.add(id, address, Some(answer.from)) {
                break;
            }
        }
        if !self.is_from_table && self.successes + self.errors >= self.concurrency {
            self.is_slowed_down = false;
        }
        hints
    }

    /// Takes a node that did not answer and returns who is to be told.
    pub fn timed_out(&mut self, request: RequestId) -> Vec<DownHint> {
        let Some(asked) = self.in_flight.remove(&request) else { return Vec::new() };
        self.errors += 1;
        match self.seen.insert(asked.address, Seen::Down) {
            Some(Seen::Open(refs)) => {
                refs.into_iter().map(|to| DownHint { to, down: asked.address }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes a request whose first try was late.
    pub fn slow(&mut self, request: RequestId) {
        if let Some(asked) = self.in_flight.get_mut(&request) {
            asked.is_slow = true;
        }
    }

    /// Returns the requests still in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.in_flight.keys().copied()
    }

    /// Returns the closest replies, closest first.
    pub fn closest(&self) -> &[Answer] {
        &self.closest
    }

    /// Returns the closest replies, closest first.
    pub fn into_closest(self) -> Vec<Answer> {
        self.closest
    }

    /// Takes a node up unless it is known, and reports whether it is closer than the worst reply kept.
    fn add(&mut self, id: NodeId, address: Address, named_by: Option<Address>) -> bool {
        let is_closer = self.is_closer(&id);
        let has_room = self.seen.len() < MAX_SEEN;
        match self.seen.get_mut(&address) {
            Some(Seen::Open(refs)) => {
                if let Some(named_by) = named_by
                    && refs.len() < MAX_REFS
                {
                    refs.push(named_by);
                }
            }
            Some(Seen::Answered | Seen::Down) => {}
            None if is_closer && has_room => {
                self.seen.insert(address, Seen::Open(named_by.into_iter().collect()));
                self.pending.insert(self.distance(&id), (id, address));
            }
            None => return false,
        }
        is_closer
    }

    fn is_closer(&self, id: &NodeId) -> bool {
        if self.closest.len() < self.k {
            return true;
        }
        let worst = self.closest.last().and_then(|answer| answer.id);
        worst.is_none_or(|worst| self.distance(id) < self.distance(&worst))
    }

    fn keep(&mut self, answer: Answer) {
        let Some(id) = answer.id else { return };
        let distance = self.distance(&id);
        let place =
            self.closest.partition_point(|kept| kept.id.is_some_and(|id| self.distance(&id) < distance));
        if self.closest.get(place).is_some_and(|kept| kept.id == answer.id) {
            return;
        }
        self.closest.insert(place, answer);
        self.closest.truncate(self.k);
    }

    fn distance(&self, id: &NodeId) -> NodeId {
        core::array::from_fn(|i| id[i] ^ self.options.target[i])
    }
}

/// Repetitions of a request inside a query.
const QUERY_RETRIES: u32 = 5;

/// Requests at once while only nodes of an earlier query were asked and none answered.
const REUSED_CONCURRENCY: usize = 3;

/// Most nodes one query hears of; twenty names in each of fifty replies.
const MAX_SEEN: usize = 1000;

/// Most nodes told that one they named is down.
const MAX_REFS: usize = 20;
