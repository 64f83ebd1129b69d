//! Limits how many requests leave in a short time.
//!
//! Source: dht-rpc 6.27, `lib/io.js`, `CongestionWindow`.

use crate::time::{Duration, Instant};

/// Counts unanswered requests in four slots of [`SLOT`] each.
#[derive(Debug)]
pub struct SendWindow {
    slots: [u32; 4],
    current: usize,
    total: u32,
    /// When the current slot ends.
    next_drain: Instant,
}

impl SendWindow {
    /// Creates an empty window whose first slot starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { slots: [0; 4], current: 0, total: 0, next_drain: now + SLOT }
    }

    /// Reports whether the next request has to wait.
    pub fn is_full(&self) -> bool {
        self.total >= 2 * PER_SLOT || self.slots[self.current] >= PER_SLOT
    }

    /// Counts one request.
    pub fn sent(&mut self) {
        self.total += 1;
        self.slots[self.current] += 1;
    }

    /// Gives one request of the current slot back.
    pub fn answered(&mut self) {
        if self.slots[self.current] > 0 {
            self.slots[self.current] -= 1;
            self.total -= 1;
        }
    }

    /// Starts the next slot and forgets the oldest.
    pub fn drain(&mut self) {
        self.current = (self.current + 1) & 3;
        self.total -= self.slots[self.current];
        self.slots[self.current] = 0;
    }

    /// Starts as many slots as have passed until `now`.
    pub fn advance(&mut self, now: Instant) {
        for _ in 0..self.slots.len() {
            if self.next_drain > now {
                return;
            }
            self.drain();
            self.next_drain += SLOT;
        }
        if self.next_drain <= now {
            self.next_drain = now + SLOT;
        }
    }

    /// Returns when the next slot starts.
    pub fn next_slot(&self) -> Instant {
        self.next_drain
    }

    /// Returns the four counters and their sum.
    pub fn counters(&self) -> ([u32; 4], u32) {
        (self.slots, self.total)
    }
}

/// Length of a slot.
const SLOT: Duration = Duration::from_millis(750);

/// Requests in one slot (dht-rpc `DEFAULT_MAX_WINDOW`); all slots together hold twice as many.
const PER_SLOT: u32 = 80;
