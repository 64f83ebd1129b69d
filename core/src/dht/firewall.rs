//! Finds out whether others reach the server socket uninvited.
//!
//! Source: dht-rpc 6.27, `index.js`, `_checkIfFirewalled`.

use super::rpc::{NatSampler, RequestId, SocketId};
use crate::collections::BTreeSet;
use crate::udx::Address;

/// One round of probes: nodes asked from the client socket answer to the server socket.
#[derive(Debug)]
pub(crate) struct FirewallCheck {
    address: Address,
    is_needed: bool,
    asked: usize,
    open: BTreeSet<RequestId>,
    arrived: usize,
    nat: NatSampler,
}

/// What the probes showed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Too few answers, or from another address.
    Firewalled,
    /// Nothing had to be checked.
    Unchecked,
    /// Reachable at what this sampler says.
    Open(NatSampler),
}

impl FirewallCheck {
    /// Nodes that are asked.
    pub(crate) const NODES: usize = 5;

    /// Starts a check of the node seen at `address`; it is complete at once unless it `is_needed`.
    pub(crate) fn new(address: Address, is_needed: bool) -> Self {
        Self { address, is_needed, asked: 0, open: BTreeSet::new(), arrived: 0, nat: NatSampler::default() }
    }

    /// Returns the address that the check started with.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Reports a probe that was sent.
    pub(crate) fn asked(&mut self, probe: RequestId) {
        self.asked += 1;
        self.open.insert(probe);
    }

    /// Takes the answer to a probe.
    pub(crate) fn answered(&mut self, probe: RequestId, seen_as: Address, socket: SocketId) {
        if self.open.remove(&probe) && socket == SocketId::SERVER {
            self.arrived += 1;
            self.nat.add(seen_as);
        }
    }

    /// Takes a probe without answer.
    pub(crate) fn lost(&mut self, probe: RequestId) {
        self.open.remove(&probe);
    }

    /// Reports whether every probe is over.
    pub(crate) fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// Judges a complete check for a server socket bound to `server_port`.
    pub(crate) fn verdict(self, server_port: u16) -> Verdict {
        if !self.is_needed {
            return Verdict::Unchecked;
        }
        let needed = if self.asked >= Self::NODES { 3 } else { 1 };
        let is_same_host = self.nat.host() == Some(self.address.ip());
        if self.arrived < needed || !is_same_host || self.nat.port() != server_port {
            return Verdict::Firewalled;
        }
        Verdict::Open(self.nat)
    }
}
