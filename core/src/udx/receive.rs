//! The receiving half of a stream: order restored, acknowledgements, and a window that tells the truth.

use crate::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::packet::{MAX_PAYLOAD, MAX_RANGES};
use super::ranges::Ranges;
use super::{expand, narrow, widen};

/// Packets that wait for an earlier one, and bytes that wait for the reader.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The number expected next.
    next: u64,
    /// Packets beyond `next`.
    held: BTreeMap<u64, Held>,
    held_bytes: u64,
    held_ranges: Ranges,
    latest: u64,
    /// Bytes in order that nobody took yet.
    ready: Vec<u8>,
    /// Bytes in order that the reader has not consumed, taken or not.
    unconsumed: u64,
    /// Most bytes that may wait here and at the reader.
    limit: u32,
    /// The window that the last packet carried.
    advertised: u32,
    has_ended: bool,
}

#[derive(Debug)]
struct Held {
    payload: Bytes,
    is_end: bool,
}

impl Receiver {
    /// Expects packet number `seq` first and lets `limit` bytes wait.
    pub(super) fn new(seq: u32, limit: u32) -> Self {
        Self {
            next: widen(seq),
            held: BTreeMap::new(),
            held_bytes: 0,
            held_ranges: Ranges::default(),
            latest: 0,
            ready: Vec::new(),
            unconsumed: 0,
            limit,
            advertised: limit,
            has_ended: false,
        }
    }

    /// The number expected next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reports whether everything up to the peer's end has arrived.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes in a packet that carries a number. Repeated packets, and those that a peer sends beyond the
    /// window, are dropped.
    pub(super) fn handle(&mut self, seq: u32, payload: &[u8], is_end: bool) {
        let number = expand(seq, self.next);
        let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let most = u64::from(self.limit) + SLACK;
        if number < self.next || self.has_ended || self.unconsumed + len > most {
            return;
        }
        if number == self.next {
            self.take(payload, is_end);
            self.advance();
            return;
        }
        let is_far = number - self.next > MAX_AHEAD;
        let held = self.held_bytes.max(HELD_COST * u64::try_from(self.held.len()).unwrap_or(u64::MAX));
        if is_far || self.unconsumed + held + len > most || self.held.contains_key(&number) {
            return;
        }
        self.held.insert(number, Held { payload: Bytes::copy_from_slice(payload), is_end });
        self.held_ranges.insert(number, number + 1);
        self.held_bytes += len;
        self.latest = number;
    }

    fn take(&mut self, payload: &[u8], is_end: bool) {
        self.next += 1;
        self.ready.extend_from_slice(payload);
        self.unconsumed += u64::try_from(payload.len()).unwrap_or(0);
        self.has_ended = is_end;
    }

    fn advance(&mut self) {
        while !self.has_ended
            && let Some(held) = self.held.remove(&self.next)
        {
            self.held_bytes -= u64::try_from(held.payload.len()).unwrap_or(0);
            self.take(&held.payload, held.is_end);
        }
        if self.has_ended {
            self.held.clear();
            self.held_bytes = 0;
            self.held_ranges = Ranges::default();
        }
        self.held_ranges.remove_below(self.next);
    }

    /// Returns the bytes that arrived in order since the last call.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        (!self.ready.is_empty()).then(|| core::mem::take(&mut self.ready).into())
    }

    /// Gives back the room of `bytes` bytes that the reader is done with.
    pub(super) fn consumed(&mut self, bytes: u64) {
        let waiting = u64::try_from(self.ready.len()).unwrap_or(u64::MAX);
        self.unconsumed = self.unconsumed.saturating_sub(bytes).max(waiting);
    }

    /// Changes how many bytes may wait.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        self.ready = Vec::new();
        self.held.clear();
        self.held_bytes = 0;
        self.held_ranges = Ranges::default();
    }

    /// Bytes that may still come.
    pub(super) fn window(&self) -> u32 {
        let used = u32::try_from(self.unconsumed + self.held_bytes).unwrap_or(u32::MAX);
        self.limit.saturating_sub(used)
    }

    /// Returns the window for a packet that leaves, and remembers it.
    pub(super) fn advertise(&mut self) -> u32 {
        self.advertised = self.window();
        self.advertised
    }

    /// Reports whether the peer should hear of a window that opened without waiting for its probe.
    pub(super) fn has_opened(&self) -> bool {
        let is_low = self.advertised < self.limit / 2;
        let grown = self.window().saturating_sub(self.advertised);
        let payload = u32::try_from(MAX_PAYLOAD).unwrap_or(u32::MAX);
        is_low && !self.has_ended && grown >= (self.limit / 4).min(MAX_UPDATE).max(payload.min(self.limit))
    }

    /// Reports whether packets wait for an earlier one.
    pub(super) fn has_gap(&self) -> bool {
        !self.held_ranges.is_empty()
    }

    /// Iterates over the ranges to acknowledge selectively: the lowest, and the one that grew last.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        let is_cut = self.held_ranges.len() > MAX_RANGES;
        let lowest = if is_cut { MAX_RANGES - 1 } else { MAX_RANGES };
        let last = self.held_ranges.iter().nth(lowest.saturating_sub(1)).map_or(0, |(start, _)| start);
        let latest = self.held_ranges.containing(self.latest).filter(|(start, _)| is_cut && *start > last);
        self.held_ranges.iter().take(lowest).chain(latest).map(|(start, end)| (narrow(start), narrow(end)))
    }
}

/// Bytes accepted beyond the window: a sender counts packets in flight, not bytes, and learns of a smaller
/// window only after a round trip.
const SLACK: u64 = 65_536;

/// How far ahead a packet may be; four times what a window of 4 MiB holds.
const MAX_AHEAD: u64 = 16_384;

/// Bytes that a packet takes at least while it is held, however few it has.
const HELD_COST: u64 = 128;

/// A window that grew by so much is always worth a packet.
const MAX_UPDATE: u32 = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(limit: u32) -> Receiver {
        Receiver::new(u32::MAX, limit)
    }

    #[test]
    fn order_is_restored_across_the_wrap_of_numbers() {
        let mut receiver = receiver(1000);

        receiver.handle(1, b"c", true);
        receiver.handle(0, b"b", false);
        assert_eq!(receiver.read(), None);
        assert_eq!(receiver.ranges().collect::<Vec<_>>(), [(0, 2)]);
        receiver.handle(u32::MAX, b"a", false);

        assert_eq!(receiver.read().unwrap(), "abc");
        assert!(receiver.has_ended() && !receiver.has_gap());
        assert_eq!(narrow(receiver.next()), 2);
    }

    #[test]
    fn window_shrinks_until_the_reader_consumes() {
        let mut receiver = receiver(10_000);

        receiver.handle(u32::MAX, &[1; 6000], false);
        receiver.handle(1, &[1; 1000], false);
        assert_eq!(receiver.advertise(), 3000);

        receiver.consumed(9999);
        assert_eq!(receiver.window(), 3000, "bytes not read yet cannot be consumed");
        receiver.read();
        assert!(!receiver.has_opened());
        receiver.consumed(6000);
        assert_eq!(receiver.window(), 9000);
        assert!(receiver.has_opened());
    }

    #[test]
    fn a_peer_that_ignores_the_window_cannot_fill_memory() {
        let mut receiver = receiver(4000);

        for seq in 1..20_000 {
            receiver.handle(seq, &[1; 1000], false);
            receiver.handle(seq.wrapping_mul(0x9e37_79b9), &[1; 1000], false);
        }
        assert!(receiver.held_bytes <= 4000 + SLACK);
        receiver.handle(u32::MAX, &[1; 1000], false);
        receiver.handle(0, &[1; 1000], false);

        assert!(receiver.unconsumed <= 2 * (4000 + SLACK));
        assert!(receiver.unconsumed > 60_000, "the missing packet is always taken");
    }

    #[test]
    fn small_packets_that_wait_count_for_what_it_takes_to_keep_them() {
        let mut receiver = receiver(65_536);

        for seq in 1..10_000 {
            receiver.handle(seq, b"x", false);
        }

        assert!(receiver.held.len() <= 1024, "{} packets are held", receiver.held.len());
        assert!(receiver.held.len() > 500);
        assert!(receiver.window() > 64_000, "bytes are what a window is about");
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut receiver = receiver(1000);

        receiver.handle(1, b"late", false);
        receiver.handle(u32::MAX, b"a", false);
        receiver.handle(0, b"b", true);
        receiver.handle(2, b"later", false);

        assert_eq!(receiver.read().unwrap(), "ab");
        assert!(!receiver.has_gap());
    }

    #[test]
    fn the_newest_of_many_ranges_is_reported_too() {
        let mut receiver = receiver(1_000_000);
        for gap in 0..80 {
            receiver.handle(gap * 2, b"x", false);
        }

        let ranges: Vec<_> = receiver.ranges().collect();

        assert_eq!(ranges.len(), MAX_RANGES);
        assert_eq!((ranges[0], ranges[48], ranges[49]), ((0, 1), (96, 97), (158, 159)));
    }
}
