//! Meeting nodes, checking on them, and what happens every five seconds.
//!
//! Source: dht-rpc 6.27, `index.js`, `_addNodeFromNetwork`, `_onfullrow` and `_ontick`.

use alloc::vec::Vec;

use super::{K, MORE_STABLE_TICKS, Mode, Node, NodeEvent, Purpose, TICK, is_excluded};
use crate::dht::health::Health;
use crate::dht::rpc::{Added, Entry, NodeId, SocketId, command};
use crate::time::{Duration, Instant};
use crate::udx::Address;

impl Node {
    pub(super) fn meet(
        &mut self,
        id: Option<NodeId>,
        from: Address,
        to: Address,
        socket: SocketId,
        now: Instant,
    ) {
        if is_excluded(from) {
            return;
        }
        let is_sample = socket == self.socket();
        let Some(id) = id else {
            if self.sampled_anonymous.len() < self.options.bootstrap.len().max(1)
                && !self.sampled_anonymous.contains(&from)
            {
                self.sampled_anonymous.push(from);
                self.sample(to);
            }
            return;
        };
        let tick = self.tick;
        if let Some(entry) = self.table.get_mut(&id) {
            let is_due = is_sample && (entry.sampled == 0 || tick.saturating_sub(entry.sampled) >= OLD_NODE);
            if is_due {
                entry.sampled = tick;
            }
            entry.pinged = tick;
            entry.seen = tick;
            self.table.touch(&id);
            if is_due {
                self.sample(to);
            }
            return;
        }
        let full = self.add_entry(Entry::new(id, from, tick), Some(to));
        if let Some((row, entry)) = full {
            self.row_full(row, entry, now);
        }
    }

    pub(super) fn add_entry(&mut self, mut entry: Entry, to: Option<Address>) -> Option<(usize, Entry)> {
        if entry.id == *self.table.id() {
            return None;
        }
        if to.is_some() {
            entry.sampled = self.tick;
        }
        match self.table.add(entry.clone()) {
            Added::Yes => {
                if let Some(to) = to {
                    self.sample(to);
                }
                None
            }
            Added::Known => None,
            Added::RowFull(row) => Some((row, entry)),
        }
    }

    fn sample(&mut self, to: Address) {
        let before = (self.nat.host(), self.nat.port());
        self.nat.add(to);
        if before != (self.nat.host(), self.nat.port()) {
            self.events.push_back(NodeEvent::NetworkChanged);
        }
    }

    fn row_full(&mut self, row: usize, new: Entry, now: Instant) {
        if !self.is_bootstrapped || self.swaps >= MAX_SWAPS {
            return;
        }
        let tick = self.tick;
        let oldest = self
            .table
            .row(row)
            .filter(|entry| entry.pinged != tick)
            .min_by_key(|entry| (entry.pinged, entry.added))
            .map(|entry| (entry.id, entry.address, entry.pinged, entry.added, entry.seen));
        let Some((old, address, pinged, added, seen)) = oldest else { return };
        if tick.saturating_sub(pinged) < RECENT_NODE && tick.saturating_sub(added) > OLD_NODE {
            return;
        }
        if let Some(entry) = self.table.get_mut(&old) {
            entry.pinged = tick;
        }
        self.swaps += 1;
        let outgoing = self.outgoing(address, true, command::PING);
        self.send(outgoing, Purpose::Swap { old, seen, new }, now);
    }

    pub(super) fn finish_swap(&mut self, old: NodeId, answered_seen: Option<u64>, new: Entry) {
        self.swaps = self.swaps.saturating_sub(1);
        let is_alive =
            answered_seen.is_some_and(|seen| self.table.get(&old).is_some_and(|entry| entry.seen > seen));
        if !is_alive {
            self.table.remove(&old);
            self.add_entry(new, None);
        }
    }

    pub(super) fn check(&mut self, id: NodeId, now: Instant) {
        let tick = self.tick;
        let Some(entry) = self.table.get_mut(&id) else { return };
        entry.pinged = tick;
        let (address, seen) = (entry.address, entry.seen);
        self.checks += 1;
        let outgoing = self.outgoing(address, true, command::PING);
        self.send(outgoing, Purpose::Check { id, seen }, now);
    }

    pub(super) fn handle_tick(&mut self, now: Instant) {
        if now.duration_since(self.last_tick) > SLEEPING {
            self.wake_up();
        } else {
            self.tick += 1;
        }
        self.last_tick = now;
        self.next_tick = now + TICK;
        if !self.is_bootstrapped {
            return;
        }
        if self.options.mode == Mode::Adaptive && self.is_ephemeral {
            self.stable_ticks = self.stable_ticks.saturating_sub(1);
            if self.stable_ticks == 0 {
                if self.last_host.is_some() && self.last_host == self.nat.host() {
                    self.stable_ticks = MORE_STABLE_TICKS;
                } else {
                    self.update_network_state(false, now);
                }
            }
        }
        if self.tick & 7 == 0 {
            self.ping_some(now);
        }
        self.refresh_ticks = self.refresh_ticks.saturating_sub(1);
        if (self.tick & 63 == 0 && self.table.len() < K) || self.refresh_ticks == 0 {
            self.refresh(now);
        }
        self.down_hints = 0;
        if self.health.update() {
            self.events.push_back(NodeEvent::NetworkChanged);
        }
    }

    fn wake_up(&mut self) {
        self.tick += 2 * OLD_NODE;
        self.tick = self.tick + 6 - (self.tick & 7);
        self.stable_ticks = MORE_STABLE_TICKS;
        self.refresh_ticks = 1;
        self.last_host = None;
        self.health = Health::default();
        if self.options.mode == Mode::Adaptive && !self.is_ephemeral {
            self.is_ephemeral = true;
            self.events.push_back(NodeEvent::Ephemeral);
        }
        self.events.push_back(NodeEvent::Woke);
    }

    fn ping_some(&mut self, now: Instant) {
        let Some(oldest) = self.table.oldest().next() else { return self.refresh(now) };
        let mut count = if self.requests.len() > 2 { 3 } else { 5 };
        if self.tick.saturating_sub(oldest.pinged) < RECENT_NODE {
            count = 2;
        }
        let tick = self.tick;
        let due: Vec<_> = self
            .table
            .oldest()
            .take(count)
            .filter(|entry| entry.pinged != tick)
            .map(|entry| entry.id)
            .collect();
        for id in due {
            self.check(id, now);
        }
    }
}

/// A gap between ticks that means the machine slept.
const SLEEPING: Duration = Duration::from_secs(15);

/// A node pinged within this many ticks is not pinged again for a newcomer.
const RECENT_NODE: u64 = 12;

/// A node known for more ticks than this has proven itself.
const OLD_NODE: u64 = 360;

/// Most pings at once on behalf of newcomers to full rows.
const MAX_SWAPS: usize = 3;
