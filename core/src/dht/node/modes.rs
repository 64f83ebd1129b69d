//! Bootstrapping, and the way from an ephemeral to a persistent node.
//!
//! Source: dht-rpc 6.27, `index.js`, `_bootstrap` and `_updateNetworkState`.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{MORE_STABLE_TICKS, Mode, Node, NodeEvent, Purpose};
use crate::dht::firewall::{FirewallCheck, Verdict};
use crate::dht::query::QueryId;
use crate::dht::rpc::{Outgoing, RequestId, SocketId, command, node_id};
use crate::time::Instant;
use crate::udx::Address;

impl Node {
    pub(super) fn bootstrap_round(&mut self, now: Instant) {
        let id = QueryId(self.next_query);
        self.boot.query = Some(id);
        let target = *self.table.id();
        self.background_query(target, now);
    }

    pub(super) fn finish_bootstrap_round(&mut self, now: Instant) {
        let is_forced = self.options.mode == Mode::Persistent;
        self.boot.round += 1;
        if self.is_bootstrapped || !(self.boot.is_reachable || is_forced) {
            self.finish_bootstrap();
        } else {
            self.update_network_state(!is_forced, now);
        }
    }

    fn finish_bootstrap(&mut self) {
        if !self.is_bootstrapped {
            self.is_bootstrapped = true;
            self.events.push_back(NodeEvent::Bootstrapped);
        }
    }

    /// Finds out whether the node can be reached and, unless `only_firewall`, turns persistent if so.
    pub(super) fn update_network_state(&mut self, only_firewall: bool, now: Instant) {
        if self.check.is_some() {
            return;
        }
        if !self.is_ephemeral || (only_firewall && !self.is_firewalled) {
            self.after_update(false, now);
            return;
        }
        if !only_firewall {
            self.stable_ticks = MORE_STABLE_TICKS;
            self.last_host = self.nat.host();
        }
        let Some(address) = self.nat.address() else {
            self.after_update(false, now);
            return;
        };
        let mut nodes: Vec<_> = Vec::new();
        if self.is_firewalled {
            nodes.extend(self.latest().take(FirewallCheck::NODES));
            if nodes.len() < FirewallCheck::NODES {
                let more: Vec<_> =
                    self.options.bootstrap.iter().filter(|node| !nodes.contains(node)).copied().collect();
                nodes.extend(more);
            }
        }
        let mut check = FirewallCheck::new(address, self.is_firewalled);
        for to in nodes {
            check.asked(self.probe(to, Purpose::FirewallProbe, now));
        }
        self.check = Some((check, only_firewall));
        self.finish_check(now);
    }

    pub(super) fn probe(&mut self, to: Address, purpose: Purpose, now: Instant) -> RequestId {
        let mut outgoing = Outgoing::new(SocketId::CLIENT, to, true, command::PING_NAT);
        outgoing.value = Some(Bytes::copy_from_slice(&self.options.server_port.to_le_bytes()));
        self.send(outgoing, purpose, now)
    }

    pub(super) fn finish_check(&mut self, now: Instant) {
        let Some((check, _)) = &self.check else { return };
        if !check.is_complete() {
            return;
        }
        let Some((check, only_firewall)) = self.check.take() else { return };
        let is_moved = self.nat.address() != Some(check.address());
        let was_firewalled = self.is_firewalled;
        let nat = match check.verdict(self.options.server_port) {
            Verdict::Firewalled => return self.after_update(false, now),
            Verdict::Unchecked => None,
            Verdict::Open(nat) => Some(nat),
        };
        self.is_firewalled = false;
        if was_firewalled {
            self.events.push_back(NodeEvent::NetworkChanged);
        }
        if !self.is_ephemeral || is_moved {
            return self.after_update(false, now);
        }
        if let Some(nat) = nat {
            self.sampled_anonymous.clear();
            self.nat = nat;
        }
        let Some(address) = self.nat.address() else { return self.after_update(false, now) };
        let id = node_id(address);
        if !only_firewall {
            self.is_ephemeral = false;
        }
        if *self.table.id() != id {
            self.table = self.table.rebuilt(id);
            if self.is_bootstrapped {
                self.refresh(now);
            }
        }
        if !self.is_ephemeral {
            self.events.push_back(NodeEvent::Persistent);
        }
        self.after_update(true, now);
    }

    /// Goes on bootstrapping after a check, if that asked for it.
    fn after_update(&mut self, is_changed: bool, now: Instant) {
        if self.is_bootstrapped || self.boot.query.is_some() {
            return;
        }
        if is_changed && self.boot.round < 2 {
            self.bootstrap_round(now);
        } else {
            self.finish_bootstrap();
        }
    }
}
