//! What counts as lost, and what is sent to find out.
//!
//! Source: RFC 8985 (loss detection), RFC 9002 (probes in every phase), udx-native 1.21 (what peers acknowledge).

use super::{Sender, State};
use crate::time::{Duration, Instant};
use crate::udx::Phase;

impl Sender {
    /// Marks packets lost by [`Rack`](super::super::rack::Rack).
    pub(super) fn detect_losses(&mut self, now: Instant) {
        let window = self.rack.reordering_window(&self.rtt, self.phase != Phase::Open, self.sacked_count);
        self.reorder_at = None;
        let mut lost = 0;
        while let Some(&(number, transmissions)) = self.order.front() {
            let Some(index) = self.index(number) else {
                self.order.pop_front();
                continue;
            };
            let Some(packet) = self.sent.get_mut(index) else { break };
            if packet.transmissions != transmissions || packet.state != State::InFlight {
                self.order.pop_front();
                continue;
            }
            let Some(due) = self.rack.lost_at(number, packet.sent_at, window) else { break };
            if due > now {
                self.reorder_at = Some(due);
                break;
            }
            self.lose_first(number);
            lost += 1;
        }
        self.note_losses(lost);
    }

    /// Takes note of an acknowledgement of nothing: something arrived at the peer that does not continue what it has.
    ///
    /// libudx tells of packets beyond a gap only once there are as many of them as are missing in front, so the loss of a whole burst
    /// shows in nothing else. What was sent over a round trip ago counts as lost then, as with a time-out, but without waiting for
    /// one. What is sent again comes in order, and so the peer says soon what it has of the rest.
    pub(super) fn handle_duplicate(&mut self, now: Instant) {
        self.duplicates += 1;
        let Some(smoothed) = self.rtt.smoothed() else { return };
        if self.duplicates < DUPLICATES && self.probes == 0 {
            return;
        }
        let mut lost = 0;
        while let Some(&(number, transmissions)) = self.order.front() {
            let packet = self.index(number).and_then(|index| self.sent.get(index));
            let packet = packet
                .filter(|packet| packet.transmissions == transmissions && packet.state == State::InFlight);
            let Some(packet) = packet else {
                self.order.pop_front();
                continue;
            };
            if packet.sent_at + Duration::from_micros(smoothed) > now {
                break;
            }
            self.lose_first(number);
            lost += 1;
        }
        if lost == 0 {
            return;
        }
        self.duplicates = 0;
        self.note_losses(lost);
        self.congestion.handle_loss(self.in_flight, self.delivered);
        self.timeout_at = Some(now + self.rtt.timeout());
        self.arm_probe(now);
    }

    /// Marks the packet lost that was sent first of those in flight.
    fn lose_first(&mut self, number: u64) {
        self.order.pop_front();
        if let Some(packet) = self.index(number).and_then(|index| self.sent.get_mut(index)) {
            packet.state = State::Lost;
            self.lost.insert(number);
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    fn note_losses(&mut self, lost: u64) {
        self.unreported += lost;
        if lost > 0 && self.phase == Phase::Open {
            self.phase = Phase::Recovery;
            self.phase_ends = self.next();
        }
    }

    /// Begins anew after a time-out.
    pub(super) fn lose_everything(&mut self) {
        self.congestion.handle_timeout();
        for (number, packet) in (self.first..).zip(&mut self.sent) {
            if packet.state == State::InFlight {
                packet.state = State::Lost;
                self.lost.insert(number);
            }
        }
        self.order.clear();
        self.in_flight = 0;
        self.phase = Phase::Loss;
        self.phase_ends = self.next();
        (self.reorder_at, self.probe_at, self.pace_at) = (None, None, None);
        self.is_probe_due = false;
    }

    /// Probes what is in flight before it counts as lost, each time after twice as long: where many streams share a short queue, what is
    /// sent again is lost, too, and a recovery would wait for the time-out as the tail of a burst does.
    pub(super) fn arm_probe(&mut self, now: Instant) {
        // Without a measured round trip the time-out is as soon, and sends what is missing first instead of last.
        let is_possible = self.rtt.smoothed().is_some()
            && self.probes < MAX_PROBES
            && self.in_flight > 0
            && self.timeouts == 0;
        self.probe_at =
            is_possible.then(|| now + (1 << self.probes) * self.rtt.probe_timeout(self.in_flight));
    }

    /// Chooses what a probe sends: what is known to be lost or something new if there is any, else the last packet again.
    pub(super) fn probe(&mut self, may_send_new: bool, now: Instant) -> Option<u64> {
        if let Some(number) = self.lost.pop_first() {
            return Some(number);
        }
        if may_send_new {
            return Some(self.make_packet(now));
        }
        let last = self.sent.iter().rposition(|packet| packet.state != State::Acked)?;
        Some(self.first + u64::try_from(last).ok()?)
    }
}

/// Probes without an answer before only the time-out is left, which comes sooner on a long path.
const MAX_PROBES: u32 = 6;

/// So many acknowledgements of nothing are no accident.
const DUPLICATES: u32 = 3;
