//! Signs of life of the nodes that forward to our servers, one ping for all servers of a node.
//!
//! Source: hyperdht 6.33, `lib/announcer.js`, which pings every 3 s for each server. A firewalled node keeps its
//! path open that way; an open node has none to keep and pings less often.

use alloc::vec::Vec;

use super::events::ServerId;
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// Nodes to ping and for whom.
#[derive(Debug, Default)]
pub(crate) struct Keepalive {
    nodes: BTreeMap<Address, Forwarder>,
    next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Forwarder {
    servers: BTreeSet<ServerId>,
    is_asked: bool,
}

impl Keepalive {
    /// Has a node pinged for a server, and returns when the next round is if it was not set.
    pub(crate) fn add(&mut self, node: Address, server: ServerId, now: Instant) -> Option<Instant> {
        self.nodes.entry(node).or_default().servers.insert(server);
        if self.next.is_some() {
            return None;
        }
        self.next = Some(now + FIREWALLED_PERIOD);
        self.next
    }

    /// Stops pinging for a server.
    pub(crate) fn remove(&mut self, node: Address, server: ServerId) {
        if let Some(forwarder) = self.nodes.get_mut(&node) {
            forwarder.servers.remove(&server);
            if forwarder.servers.is_empty() {
                self.nodes.remove(&node);
            }
        }
    }

    /// Returns who is to be pinged and when the next round is.
    pub(crate) fn round(&mut self, is_firewalled: bool, now: Instant) -> (Vec<Address>, Option<Instant>) {
        if self.next.is_none_or(|at| at > now) {
            return (Vec::new(), None);
        }
        if self.nodes.is_empty() {
            self.next = None;
            return (Vec::new(), None);
        }
        let period = if is_firewalled { FIREWALLED_PERIOD } else { OPEN_PERIOD };
        self.next = Some(now + period);
        let mut due = Vec::new();
        for (address, forwarder) in &mut self.nodes {
            if !core::mem::replace(&mut forwarder.is_asked, true) {
                due.push(*address);
            }
        }
        (due, self.next)
    }

    /// Takes the answer of a node.
    pub(crate) fn answered(&mut self, node: Address) {
        if let Some(forwarder) = self.nodes.get_mut(&node) {
            forwarder.is_asked = false;
        }
    }

    /// Takes the silence of a node and returns the servers that lost it.
    pub(crate) fn lost(&mut self, node: Address) -> Vec<ServerId> {
        let Some(forwarder) = self.nodes.remove(&node) else { return Vec::new() };
        forwarder.servers.into_iter().collect()
    }
}

/// Time between pings that keep a path through the own firewall open.
const FIREWALLED_PERIOD: Duration = Duration::from_secs(3);

/// Time between pings of an open node; forwarding entries live 13 to 27 minutes.
const OPEN_PERIOD: Duration = Duration::from_secs(30);
