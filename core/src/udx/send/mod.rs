//! The sending half of a stream: what is queued, in flight, lost, and when the next packet may leave.
//!
//! Source: RFC 8985 (loss detection), Linux `net/ipv4/tcp_rate.c` (delivery rate), udx-native 1.21 (limits).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use super::congestion::{Bbr, Sample};
use super::pacing::Pacer;
use super::packet::{HEADER_LEN, Kind, MAX_PAYLOAD};
use super::rack::Rack;
use super::ranges::Ranges;
use super::rtt::Rtt;
use super::{Phase, expand, micros, widen};
use crate::collections::BTreeSet;
use crate::time::Instant;

mod losses;

/// Queue, packets in flight and timers of the sending half.
///
/// Packet numbers are 64 bits wide inside and only cut to 32 bits on the wire.
#[derive(Debug)]
pub(super) struct Sender {
    /// Bytes written and not yet cut into packets.
    queue: VecDeque<Bytes>,
    /// Small writes after those, joined: a byte of its own would take thirty times its size.
    gathered: Vec<u8>,
    queued: usize,
    end: End,
    /// Packets sent and not acknowledged in order, from number `first` on.
    sent: VecDeque<Sent>,
    first: u64,
    /// Numbers above `first` that were acknowledged.
    sacked: Ranges,
    sacked_count: u64,
    /// Numbers to send again.
    lost: BTreeSet<u64>,
    /// Numbers in the order they were sent, with the count of transmissions at that time. Entries of
    /// packets acknowledged or sent again are stale and dropped at the front.
    order: VecDeque<(u64, u32)>,
    in_flight: u64,

    delivered: u64,
    delivered_at: Instant,
    /// When the packet acknowledged last was sent.
    first_sent_at: Instant,
    /// Samples are limited by the application until so many packets are delivered; 0 when they are not.
    app_limited_until: u64,

    rtt: Rtt,
    rack: Rack,
    congestion: Bbr,
    pacer: Pacer,
    phase: Phase,
    phase_ends: u64,

    /// Bytes that the peer can take, and the packet that said so.
    window: u32,
    window_from: (u64, u64),

    reorder_at: Option<Instant>,
    probe_at: Option<Instant>,
    timeout_at: Option<Instant>,
    window_probe_at: Option<Instant>,
    pace_at: Option<Instant>,
    /// Probes since something new was acknowledged.
    probes: u32,
    /// Acknowledgements of nothing since then.
    duplicates: u32,
    /// Packets found lost that congestion control was not told of.
    unreported: u64,
    is_probe_due: bool,
    is_window_probe_due: bool,
    /// Consecutive timeouts of the oldest packet.
    timeouts: u32,
    /// Window probes since the peer was last heard.
    window_probes: u32,
    retransmits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The last packet is still to be made.
    Queued,
    Sent,
}

#[derive(Debug)]
struct Sent {
    payload: Bytes,
    kind: Kind,
    state: State,
    transmissions: u32,
    sent_at: Instant,
    /// The sender's counters when it was sent.
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    is_app_limited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    Lost,
    Acked,
}

/// A packet that leaves.
#[derive(Debug)]
pub(super) enum Outgoing<'a> {
    /// Carries a number.
    Numbered { number: u64, kind: Kind, payload: &'a [u8] },
    /// Asks the peer for its window.
    Heartbeat,
}

/// The peer did not answer for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimedOut;

/// Collects what one acknowledgement reports.
#[derive(Default)]
struct Progress {
    acked: u64,
    rtt: Option<u64>,
    /// The packet sent last: counters at its sending.
    newest: Option<Newest>,
}

struct Newest {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    sent_at: Instant,
    is_app_limited: bool,
}

impl Sender {
    /// Starts at packet number `seq`.
    pub(super) fn new(seq: u32, now: Instant) -> Self {
        let congestion = Bbr::new(now);
        Self {
            queue: VecDeque::new(),
            gathered: Vec::new(),
            queued: 0,
            end: End::Open,
            sent: VecDeque::new(),
            first: widen(seq),
            sacked: Ranges::default(),
            sacked_count: 0,
            lost: BTreeSet::new(),
            order: VecDeque::new(),
            in_flight: 0,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            app_limited_until: 0,
            rtt: Rtt::default(),
            rack: Rack::default(),
            congestion,
            pacer: Pacer::new(INITIAL_BURST, now),
            phase: Phase::Open,
            phase_ends: 0,
            window: INITIAL_REMOTE_WINDOW,
            window_from: (0, 0),
            reorder_at: None,
            probe_at: None,
            timeout_at: None,
            window_probe_at: None,
            pace_at: None,
            probes: 0,
            duplicates: 0,
            unreported: 0,
            is_probe_due: false,
            is_window_probe_due: false,
            timeouts: 0,
            window_probes: 0,
            retransmits: 0,
        }
    }

    /// Queues bytes.
    pub(super) fn write(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len();
        let is_first = self.queue.is_empty() && self.gathered.is_empty();
        if is_first || bytes.len() >= MAX_PAYLOAD / 2 {
            self.flush();
            self.queue.push_back(bytes);
            return;
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= MAX_PAYLOAD {
            self.flush();
        }
    }

    /// Queues what was gathered.
    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.queue.push_back(core::mem::take(&mut self.gathered).into());
        }
    }

    /// Ends the stream after the bytes queued so far.
    pub(super) fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Queued;
        }
    }

    /// Forgets everything queued or in flight.
    pub(super) fn clear(&mut self) {
        self.first = self.next();
        self.queue.clear();
        self.gathered = Vec::new();
        self.queued = 0;
        self.sent.clear();
        self.lost.clear();
        self.order.clear();
        self.sacked = Ranges::default();
        self.in_flight = 0;
        (self.reorder_at, self.probe_at, self.timeout_at) = (None, None, None);
        (self.window_probe_at, self.pace_at) = (None, None);
        (self.is_probe_due, self.is_window_probe_due) = (false, false);
    }

    /// Bytes queued and not yet sent.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Reports whether a writer may go on.
    pub(super) fn has_room(&self) -> bool {
        let window = usize::try_from(self.congestion.window()).unwrap_or(usize::MAX);
        self.queued < HIGH_WATER_MARK + window.saturating_mul(MAX_PAYLOAD).min(MAX_BACKLOG)
    }

    /// The number of the next new packet.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::try_from(self.sent.len()).unwrap_or(0)
    }

    /// The oldest number not acknowledged.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Reports whether the end was sent and everything acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.end == End::Sent && self.sent.is_empty()
    }

    /// Reports whether [`end`](Self::end) was called.
    pub(super) fn has_ended(&self) -> bool {
        self.end != End::Open
    }

    pub(super) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(super) fn congestion_window(&self) -> u64 {
        self.congestion.window()
    }

    pub(super) fn pacing_rate(&self) -> u64 {
        self.congestion.pacing_rate()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn retransmits(&self) -> u64 {
        self.retransmits
    }

    /// Takes note of a sign of life.
    pub(super) fn handle_alive(&mut self) {
        self.window_probes = 0;
    }

    /// Reacts to the acknowledgement in a packet with number `seq` of the peer, which is `bare` when it carries nothing else.
    ///
    /// Returns false, and changes nothing, when it acknowledges packets that were never sent.
    pub(super) fn handle_ack(
        &mut self,
        seq: u64,
        ack: u32,
        window: u32,
        ranges: impl Iterator<Item = (u32, u32)>,
        bare: bool,
        now: Instant,
    ) -> bool {
        let ack = expand(ack, self.first);
        if ack > self.next() {
            return false;
        }
        let is_duplicate = bare && ack == self.first && window == self.window && self.in_flight > 0;
        if (seq, ack) >= self.window_from {
            self.window_from = (seq, ack);
            self.window = window;
            if window > 0 {
                self.window_probe_at = None;
                self.is_window_probe_due = false;
            }
        }

        let prior_in_flight = self.in_flight;
        let mut progress = Progress::default();
        let advanced = self.first < ack;
        while self.first < ack {
            let Some(packet) = self.sent.pop_front() else { break };
            if packet.state == State::Acked {
                self.sacked_count = self.sacked_count.saturating_sub(1);
            } else {
                self.account(self.first, &packet, &mut progress, now);
            }
            self.first += 1;
        }
        if advanced {
            self.sacked.remove_below(self.first);
            self.timeouts = 0;
        }
        for (start, end) in ranges {
            let start = expand(start, self.first).max(self.first);
            let end = expand(end, self.first).min(self.next());
            for (start, end) in self.sacked.insert(start, end) {
                for number in start..end {
                    self.sack(number, &mut progress, now);
                }
            }
        }
        if progress.acked > 0 {
            self.finish_ack(progress, prior_in_flight, now);
        } else if is_duplicate {
            self.handle_duplicate(now);
        }
        true
    }

    fn sack(&mut self, number: u64, progress: &mut Progress, now: Instant) {
        let Some(index) = self.index(number) else { return };
        let Some(packet) = self.sent.get_mut(index) else { return };
        let mut taken = Sent { payload: Bytes::new(), state: State::Acked, ..*packet };
        core::mem::swap(packet, &mut taken);
        self.sacked_count += 1;
        self.account(number, &taken, progress, now);
    }

    /// Books a packet acknowledged for the first time.
    fn account(&mut self, number: u64, packet: &Sent, progress: &mut Progress, now: Instant) {
        if packet.state == State::InFlight {
            self.in_flight = self.in_flight.saturating_sub(1);
        } else {
            self.lost.remove(&number);
        }
        progress.acked += 1;
        self.delivered += 1;
        self.delivered_at = now;
        let sent_once = packet.transmissions == 1;
        if sent_once {
            let rtt = micros(now.duration_since(packet.sent_at));
            progress.rtt = Some(progress.rtt.map_or(rtt, |least| least.min(rtt)));
        }
        self.rack.delivered(number, packet.sent_at, sent_once, &self.rtt, now);
        if progress.newest.as_ref().is_none_or(|newest| packet.delivered > newest.delivered) {
            progress.newest = Some(Newest {
                delivered: packet.delivered,
                delivered_at: packet.delivered_at,
                first_sent_at: packet.first_sent_at,
                sent_at: packet.sent_at,
                is_app_limited: packet.is_app_limited,
            });
            self.first_sent_at = packet.sent_at;
        }
    }

    fn finish_ack(&mut self, progress: Progress, prior_in_flight: u64, now: Instant) {
        if let Some(rtt) = progress.rtt {
            self.rtt.sample(rtt, now);
        }
        (self.probes, self.duplicates) = (0, 0);
        self.detect_losses(now);
        let lost = core::mem::take(&mut self.unreported);
        if self.phase != Phase::Open && self.first >= self.phase_ends {
            self.phase = Phase::Open;
        }
        if self.app_limited_until > 0 && self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        if let Some(newest) = progress.newest {
            let sending = micros(newest.sent_at.duration_since(newest.first_sent_at));
            let acking = micros(now.duration_since(newest.delivered_at));
            let interval = sending.max(acking);
            // Shorter than any round trip: the packet was acknowledged by a copy sent before.
            let is_sound = self.rtt.minimum().is_none_or(|minimum| interval >= minimum);
            let sample = Sample {
                delivered: self.delivered - newest.delivered,
                interval: if is_sound { interval } else { 0 },
                prior_delivered: newest.delivered,
                is_app_limited: newest.is_app_limited,
                acked: progress.acked,
                lost,
                prior_in_flight,
                in_flight: self.in_flight,
                rtt: progress.rtt,
                total_delivered: self.delivered,
            };
            self.congestion.handle_ack(&sample, self.phase, self.rtt.smoothed(), now);
            if self.congestion.is_probing_rtt() {
                self.app_limited_until = (self.delivered + self.in_flight).max(1);
            }
        }
        self.arm_after_ack(now);
    }

    fn arm_after_ack(&mut self, now: Instant) {
        if self.sent.is_empty() {
            (self.timeout_at, self.probe_at, self.reorder_at) = (None, None, None);
            self.is_probe_due = false;
            return;
        }
        self.timeout_at = Some(now + self.rtt.timeout());
        self.arm_probe(now);
    }

    /// Reacts to the passing of time.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), TimedOut> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.pace_at) {
            self.pace_at = None;
        }
        if is_due(self.reorder_at) {
            self.detect_losses(now);
        }
        if is_due(self.probe_at) {
            self.probe_at = None;
            self.is_probe_due = true;
            self.probes += 1;
            if self.probes == 1 {
                self.timeout_at = Some(now + self.rtt.timeout());
            }
        }
        if is_due(self.window_probe_at) {
            self.window_probes += 1;
            if self.window_probes > MAX_WINDOW_PROBES {
                return Err(TimedOut);
            }
            self.window_probe_at = Some(now + 2 * self.rtt.timeout());
            self.is_window_probe_due = true;
        }
        if is_due(self.timeout_at) {
            self.timeouts += 1;
            if self.timeouts > MAX_TIMEOUTS {
                return Err(TimedOut);
            }
            self.lose_everything();
            self.timeout_at = Some(now + 2 * self.rtt.timeout());
        }
        Ok(())
    }

    /// Returns the earliest moment at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.reorder_at, self.probe_at, self.timeout_at, self.window_probe_at, self.pace_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the next packet to send; `None` until an acknowledgement, a write or a timeout.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Outgoing<'_>> {
        if core::mem::take(&mut self.is_window_probe_due) {
            return Some(Outgoing::Heartbeat);
        }
        let has_new = self.queued > 0 || self.end == End::Queued;
        let is_blocked = has_new && self.window == 0;
        if is_blocked && self.window_probe_at.is_none() {
            self.window_probe_at = Some(now + 2 * self.rtt.timeout());
            return Some(Outgoing::Heartbeat);
        }
        let may_send_new =
            has_new && self.in_flight < self.remote_packets() && self.sent.len() < MAX_UNACKNOWLEDGED;
        if core::mem::take(&mut self.is_probe_due)
            && let Some(number) = self.probe(may_send_new, now)
        {
            return self.transmit(number, now);
        }
        if self.in_flight >= self.congestion.window() {
            return None;
        }
        if self.lost.is_empty() && !may_send_new {
            self.app_limited_until = (self.delivered + self.in_flight).max(1);
            self.pace_at = None;
            return None;
        }
        self.pace_at = self.pacer.poll(self.congestion.pacing_rate(), now);
        if self.pace_at.is_some() {
            return None;
        }
        let number = match self.lost.pop_first() {
            Some(number) => number,
            None => self.make_packet(now),
        };
        self.transmit(number, now)
    }

    /// Packets that the peer's window allows in flight.
    fn remote_packets(&self) -> u64 {
        let payload = u32::try_from(MAX_PAYLOAD).unwrap_or(u32::MAX);
        u64::from((self.window / payload).max(u32::from(self.window > 0)))
    }

    /// Cuts the next packet from the queue and returns its number.
    fn make_packet(&mut self, now: Instant) -> u64 {
        let number = self.next();
        let payload = self.take_payload();
        let mut kind = if payload.is_empty() { Kind::ACK } else { Kind::DATA };
        if self.queue.is_empty() && self.end == End::Queued {
            kind = kind.with(Kind::END);
            self.end = End::Sent;
        }
        self.sent.push_back(Sent {
            payload,
            kind,
            state: State::Lost,
            transmissions: 0,
            sent_at: now,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            is_app_limited: false,
        });
        number
    }

    fn take_payload(&mut self) -> Bytes {
        self.flush();
        let Some(front) = self.queue.front_mut() else {
            return Bytes::new();
        };
        let payload = if front.len() > MAX_PAYLOAD {
            front.split_to(MAX_PAYLOAD)
        } else if front.len() == MAX_PAYLOAD || self.queue.len() == 1 {
            self.queue.pop_front().unwrap_or_default()
        } else {
            let mut gathered = BytesMut::with_capacity(MAX_PAYLOAD.min(self.queued));
            while let Some(front) = self.queue.front_mut() {
                let room = MAX_PAYLOAD - gathered.len();
                if front.len() > room {
                    gathered.put(front.split_to(room));
                    break;
                }
                gathered.put_slice(front);
                self.queue.pop_front();
            }
            gathered.freeze()
        };
        self.queued -= payload.len();
        payload
    }

    /// Books the sending of `number` and returns it.
    fn transmit(&mut self, number: u64, now: Instant) -> Option<Outgoing<'_>> {
        if self.in_flight == 0 {
            if self.app_limited_until > 0 {
                self.congestion.handle_restart(now);
            }
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        let index = self.index(number)?;
        let packet = self.sent.get_mut(index)?;
        if packet.state != State::InFlight {
            packet.state = State::InFlight;
            self.in_flight += 1;
        }
        packet.transmissions = packet.transmissions.saturating_add(1);
        packet.sent_at = now;
        packet.delivered = self.delivered;
        packet.delivered_at = self.delivered_at;
        packet.first_sent_at = self.first_sent_at;
        packet.is_app_limited = self.app_limited_until > 0;
        let is_new = packet.transmissions == 1;
        self.retransmits += u64::from(!is_new);
        self.order.push_back((number, packet.transmissions));
        self.pacer.spend(HEADER_LEN + packet.payload.len());
        if self.timeout_at.is_none() {
            self.timeout_at = Some(now + self.rtt.timeout());
        }
        self.arm_probe(now);
        let packet = self.sent.get(index)?;
        Some(Outgoing::Numbered { number, kind: packet.kind, payload: &packet.payload })
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok().filter(|index| *index < self.sent.len())
    }
}

/// Bytes queued beyond the congestion window before a writer is told to wait, as in libudx.
const HIGH_WATER_MARK: usize = 262_144;

/// Most of the congestion window that is queued beyond that. On a fast path the window grows to more than what a node lets one stream
/// queue, and a writer that was told to go on would be refused.
const MAX_BACKLOG: usize = 4 * 1024 * 1024;

/// The window of a peer that was not heard yet, as in libudx.
const INITIAL_REMOTE_WINDOW: u32 = 4_194_304;

/// Packets beyond the first that was not acknowledged: as many as a receiver keeps ahead of one that is missing. A peer that says to
/// have every packet but one would otherwise be sent any number of them, all of which are remembered.
const MAX_UNACKNOWLEDGED: usize = 16_384;

/// Timeouts of one packet before the stream fails, as in libudx; 13 s on a short path.
const MAX_TIMEOUTS: u32 = 6;

/// Window probes without any answer before the stream fails; 24 s on a short path.
const MAX_WINDOW_PROBES: u32 = 12;

/// Bytes that leave unpaced at the start.
const INITIAL_BURST: i64 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use crate::udx::{Options, narrow};

    #[test]
    fn a_writer_is_told_to_wait_before_it_would_be_refused() {
        let mut sender = Sender::new(0, Instant::EPOCH);
        sender.congestion = Bbr::widest();

        while sender.has_room() {
            sender.write(Bytes::from_static(&[0; 65_536]));
        }

        assert!(sender.queued() > HIGH_WATER_MARK + MAX_BACKLOG / 2);
        assert!(sender.queued() + 65_536 < Options::default().max_queued, "{}", sender.queued());
    }

    #[test]
    fn small_writes_take_no_more_than_their_bytes() {
        let mut sender = Sender::new(0, Instant::EPOCH);
        let written: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();

        for bytes in written.chunks(3) {
            sender.write(Bytes::copy_from_slice(bytes));
        }
        sender.write(Bytes::from(written.clone()));
        assert!(sender.queue.len() <= 3 + written.len() / MAX_PAYLOAD, "{} pieces", sender.queue.len());

        let mut sent = Vec::new();
        while sender.queued() > 0 {
            sent.extend_from_slice(&sender.take_payload());
        }
        assert_eq!(sent, written.repeat(2));
    }

    #[test]
    fn a_peer_that_lacks_one_packet_for_ever_is_not_sent_all_there_is() {
        let mut sender = Sender::new(0, Instant::EPOCH);
        let mut now = Instant::EPOCH;
        let mut most = 0;

        for _ in 0..40_000 {
            while sender.has_room() {
                sender.write(Bytes::from_static(&[0; MAX_PAYLOAD]));
            }
            while sender.poll(now).is_some() {}
            now += Duration::from_millis(1);
            let range = (1, narrow(sender.next()));
            assert!(sender.handle_ack(0, 0, u32::MAX, [range].into_iter(), true, now));
            sender.handle_timeout(now).expect("the peer answers");
            most = most.max(sender.sent.len());
        }

        assert_eq!(most, MAX_UNACKNOWLEDGED);
    }
}
