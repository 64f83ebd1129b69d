//! Congestion control: BBR version 1, with packets as the unit, below a [`Ceiling`] that overflowing queues lower.
//!
//! Source: N. Cardwell et al., "BBR: Congestion-Based Congestion Control", and Linux `net/ipv4/tcp_bbr.c`.

use super::ceiling::Ceiling;
use super::filter::WindowedMax;
use super::packet::{HEADER_LEN, MAX_PAYLOAD};
use super::{Phase, micros};
use crate::time::{Duration, Instant};

/// What one acknowledgement taught the sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Packets delivered during `interval`.
    pub(super) delivered: u64,
    /// Microseconds over which they were delivered; 0 when no rate can be told.
    pub(super) interval: u64,
    /// Packets delivered before the sampled one was sent.
    pub(super) prior_delivered: u64,
    /// The sender had nothing to send at that time.
    pub(super) is_app_limited: bool,
    /// Packets that this acknowledgement reported for the first time.
    pub(super) acked: u64,
    /// Packets found lost by it.
    pub(super) lost: u64,
    /// Packets in flight before it.
    pub(super) prior_in_flight: u64,
    /// Packets in flight after it.
    pub(super) in_flight: u64,
    /// Round trip time in microseconds, from packets sent once.
    pub(super) rtt: Option<u64>,
    /// All packets delivered so far.
    pub(super) total_delivered: u64,
}

/// A model of the path: bottleneck bandwidth and round trip time, and how much to send by it.
#[derive(Clone, Debug)]
pub(super) struct Bbr {
    mode: Mode,
    /// Packets per microsecond, [`BANDWIDTH_SHIFT`] binary places, over [`BANDWIDTH_ROUNDS`].
    bandwidth: WindowedMax,
    round: u64,
    is_round_start: bool,
    /// A round ends when a packet sent after so many deliveries is acknowledged.
    round_ends_at: u64,
    /// Microseconds; `u64::MAX` before the first sample.
    min_rtt: u64,
    min_rtt_at: Instant,
    /// When the round trip time has been measured with a nearly empty path.
    probe_rtt_ends: Option<Instant>,
    probe_rtt_round_done: bool,
    cycle: usize,
    cycle_at: Instant,
    full_bandwidth: u64,
    full_rounds: u8,
    is_full: bool,
    /// Most packets in flight.
    window: u64,
    /// The window to return to after a recovery.
    prior_window: u64,
    ceiling: Ceiling,
    conserves_packets: bool,
    restarted_idle: bool,
    phase: Phase,
    /// Packets acknowledged beyond what the bandwidth explains, maximum of two alternating periods.
    extra_acked: [u64; 2],
    extra_index: usize,
    extra_rounds: u8,
    epoch_at: Instant,
    epoch_acked: u64,
    /// Bytes per second.
    pacing_rate: u64,
    has_seen_rtt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Doubling per round until the bandwidth stops growing.
    Startup,
    /// Emptying the queue that startup built.
    Drain,
    /// Cruising, with a little more and then a little less every eight round trips.
    ProbeBandwidth,
    /// Nearly silent, to see the round trip time without a queue.
    ProbeRtt,
}

impl Bbr {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            mode: Mode::Startup,
            bandwidth: WindowedMax::default(),
            round: 0,
            is_round_start: false,
            round_ends_at: 0,
            min_rtt: u64::MAX,
            min_rtt_at: now,
            probe_rtt_ends: None,
            probe_rtt_round_done: false,
            cycle: 0,
            cycle_at: now,
            full_bandwidth: 0,
            full_rounds: 0,
            is_full: false,
            window: INITIAL_WINDOW,
            prior_window: 0,
            ceiling: Ceiling::new(),
            conserves_packets: false,
            restarted_idle: false,
            phase: Phase::Open,
            extra_acked: [0; 2],
            extra_index: 0,
            extra_rounds: 0,
            epoch_at: now,
            epoch_acked: 0,
            pacing_rate: rate_of(INITIAL_WINDOW << BANDWIDTH_SHIFT, HIGH_GAIN) / INITIAL_RTT,
            has_seen_rtt: false,
        }
    }

    /// One that has found the fastest path there is.
    #[cfg(test)]
    pub(super) fn widest() -> Self {
        Self { window: MAX_WINDOW, ..Self::new(Instant::EPOCH) }
    }

    /// Returns how many packets may be in flight.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Returns the pacing rate in bytes per second.
    pub(super) fn pacing_rate(&self) -> u64 {
        self.pacing_rate
    }

    /// Reports whether the path is being measured with a nearly empty queue, when the sender counts as
    /// having nothing to send.
    pub(super) fn is_probing_rtt(&self) -> bool {
        self.mode == Mode::ProbeRtt
    }

    /// Reacts to an acknowledgement; `smoothed` is the smoothed round trip time in microseconds.
    pub(super) fn handle_ack(&mut self, sample: &Sample, phase: Phase, smoothed: Option<u64>, now: Instant) {
        self.update_bandwidth(sample);
        self.update_ceiling(sample);
        self.update_aggregation(sample, now);
        self.update_cycle(sample, now);
        self.check_full(sample);
        self.check_drain(sample, now);
        self.update_min_rtt(sample, now);
        self.update_pacing_rate(smoothed);
        self.update_window(sample, phase);
    }

    /// Reacts to a retransmission timeout that found everything lost.
    pub(super) fn handle_timeout(&mut self) {
        self.save_window();
        self.phase = Phase::Loss;
        self.full_bandwidth = 0;
        self.is_round_start = true;
        self.window = 1;
    }

    /// Reacts to losses of which no acknowledgement told: what is left in flight is all that leaves until one comes.
    pub(super) fn handle_loss(&mut self, in_flight: u64, total_delivered: u64) {
        if self.phase == Phase::Open {
            self.save_window();
            self.phase = Phase::Recovery;
            self.conserves_packets = true;
            self.round_ends_at = total_delivered;
        }
        self.window = self.window.min(in_flight).max(MIN_WINDOW);
    }

    /// Reacts to the first packet after a silence during which there was nothing to send.
    pub(super) fn handle_restart(&mut self, now: Instant) {
        self.restarted_idle = true;
        (self.epoch_at, self.epoch_acked) = (now, 0);
        match self.mode {
            Mode::ProbeBandwidth => self.pacing_rate = rate_of(self.bandwidth.get(), UNIT).max(MIN_RATE),
            Mode::ProbeRtt => self.check_probe_rtt_done(now),
            Mode::Startup | Mode::Drain => {}
        }
    }

    fn update_bandwidth(&mut self, sample: &Sample) {
        self.is_round_start = false;
        if sample.interval == 0 {
            return;
        }
        if sample.prior_delivered >= self.round_ends_at {
            self.round_ends_at = sample.total_delivered;
            self.round += 1;
            self.is_round_start = true;
            self.conserves_packets = false;
        }
        let bandwidth = (sample.delivered << BANDWIDTH_SHIFT) / sample.interval;
        if !sample.is_app_limited || bandwidth >= self.bandwidth.get() {
            self.bandwidth.add(BANDWIDTH_ROUNDS, self.round, bandwidth);
        }
    }

    fn update_ceiling(&mut self, sample: &Sample) {
        self.ceiling.count(sample.acked, sample.lost, sample.rtt);
        if self.is_round_start && self.ceiling.end_round(self.window, MIN_WINDOW) {
            // Whoever fills the queue has found the bandwidth.
            self.is_full = true;
        }
    }

    fn update_aggregation(&mut self, sample: &Sample, now: Instant) {
        if sample.acked == 0 || sample.interval == 0 {
            return;
        }
        if self.is_round_start {
            self.extra_rounds += 1;
            if self.extra_rounds >= EXTRA_ROUNDS {
                self.extra_rounds = 0;
                self.extra_index ^= 1;
                self.extra_acked[self.extra_index] = 0;
            }
        }
        let elapsed = micros(now.duration_since(self.epoch_at));
        let mut expected = packets_in(self.bandwidth.get(), elapsed, UNIT);
        if self.epoch_acked <= expected || self.epoch_acked + sample.acked >= MAX_EPOCH {
            (self.epoch_at, self.epoch_acked, expected) = (now, 0, 0);
        }
        self.epoch_acked += sample.acked;
        let extra = (self.epoch_acked - expected).min(self.window);
        self.extra_acked[self.extra_index] = self.extra_acked[self.extra_index].max(extra);
    }

    fn update_cycle(&mut self, sample: &Sample, now: Instant) {
        if self.mode != Mode::ProbeBandwidth {
            return;
        }
        let was_full_length = micros(now.duration_since(self.cycle_at)) > self.min_rtt;
        let gain = CYCLE[self.cycle];
        let is_over = if gain > UNIT {
            was_full_length && (sample.lost > 0 || sample.prior_in_flight >= self.target(gain))
        } else if gain < UNIT {
            was_full_length || sample.prior_in_flight <= self.target(UNIT)
        } else {
            was_full_length
        };
        if is_over {
            self.advance_cycle(now);
        }
    }

    fn advance_cycle(&mut self, now: Instant) {
        self.cycle = (self.cycle + 1) % CYCLE.len();
        self.cycle_at = now;
    }

    fn check_full(&mut self, sample: &Sample) {
        if self.is_full || !self.is_round_start || sample.is_app_limited {
            return;
        }
        let bandwidth = self.bandwidth.get();
        if bandwidth >= self.full_bandwidth + self.full_bandwidth / 4 {
            (self.full_bandwidth, self.full_rounds) = (bandwidth, 0);
            return;
        }
        self.full_rounds += 1;
        self.is_full = self.full_rounds >= FULL_ROUNDS;
    }

    fn check_drain(&mut self, sample: &Sample, now: Instant) {
        if self.mode == Mode::Startup && self.is_full {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && sample.in_flight <= self.target(UNIT) {
            self.cruise(now);
        }
    }

    fn cruise(&mut self, now: Instant) {
        self.mode = Mode::ProbeBandwidth;
        // Streams that start together must not probe together; any phase but the draining one will do.
        let skipped = usize::try_from(self.round % 7).unwrap_or(0);
        self.cycle = CYCLE.len() - 1 - skipped;
        self.advance_cycle(now);
    }

    fn update_min_rtt(&mut self, sample: &Sample, now: Instant) {
        let is_old = now > self.min_rtt_at + MIN_RTT_WINDOW;
        if let Some(rtt) = sample.rtt
            && (rtt < self.min_rtt || is_old)
        {
            (self.min_rtt, self.min_rtt_at) = (rtt, now);
        }
        if is_old && !self.restarted_idle && self.mode != Mode::ProbeRtt {
            self.mode = Mode::ProbeRtt;
            self.save_window();
            self.probe_rtt_ends = None;
        }
        if self.mode == Mode::ProbeRtt {
            if self.probe_rtt_ends.is_none() {
                if sample.in_flight <= MIN_WINDOW {
                    self.probe_rtt_ends = Some(now + PROBE_RTT);
                    self.probe_rtt_round_done = false;
                    self.round_ends_at = sample.total_delivered;
                }
            } else {
                self.probe_rtt_round_done |= self.is_round_start;
                if self.probe_rtt_round_done {
                    self.check_probe_rtt_done(now);
                }
            }
        }
        if sample.delivered > 0 {
            self.restarted_idle = false;
        }
    }

    fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.probe_rtt_ends.is_none_or(|at| now <= at) {
            return;
        }
        self.min_rtt_at = now;
        self.window = self.window.max(self.prior_window);
        if self.is_full {
            self.cruise(now);
        } else {
            self.mode = Mode::Startup;
        }
    }

    fn update_pacing_rate(&mut self, smoothed: Option<u64>) {
        if !self.has_seen_rtt
            && let Some(smoothed) = smoothed
        {
            self.has_seen_rtt = true;
            self.pacing_rate = rate_of(self.window << BANDWIDTH_SHIFT, HIGH_GAIN) / smoothed.max(INITIAL_RTT);
        }
        let gain = match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => DRAIN_GAIN,
            Mode::ProbeBandwidth => CYCLE[self.cycle],
            Mode::ProbeRtt => UNIT,
        };
        let rate = rate_of(self.bandwidth.get(), gain).max(MIN_RATE);
        if self.is_full || rate > self.pacing_rate {
            self.pacing_rate = rate;
        }
    }

    fn update_window(&mut self, sample: &Sample, phase: Phase) {
        let before = core::mem::replace(&mut self.phase, phase);
        if sample.acked > 0 && !self.recover(sample, before, phase) {
            let gain = match self.mode {
                Mode::Startup | Mode::Drain => HIGH_GAIN,
                Mode::ProbeBandwidth => WINDOW_GAIN,
                Mode::ProbeRtt => UNIT,
            };
            let bandwidth = self.bandwidth.get();
            let mut target = packets_in(bandwidth, self.floored_rtt(), gain);
            if self.is_full {
                let extra = self.extra_acked[0].max(self.extra_acked[1]);
                target += extra.min(packets_in(bandwidth, self.floored_rtt().min(MAX_EXTRA), UNIT));
            }
            target += self.quantum();
            if self.is_full {
                self.window = (self.window + sample.acked).min(target);
            } else if self.window < target || sample.total_delivered < INITIAL_WINDOW {
                self.window += sample.acked;
            }
        }
        self.window = self.window.min(self.ceiling.get()).clamp(MIN_WINDOW, MAX_WINDOW);
        if self.mode == Mode::ProbeRtt {
            self.window = self.window.min(MIN_WINDOW);
        }
    }

    /// Adjusts the window to a loss; returns whether that settles it for this acknowledgement.
    fn recover(&mut self, sample: &Sample, before: Phase, phase: Phase) -> bool {
        if sample.lost > 0 {
            self.window = self.window.saturating_sub(sample.lost).max(1);
        }
        if phase == Phase::Recovery && before == Phase::Open {
            self.phase = before;
            self.save_window();
            self.phase = phase;
            self.conserves_packets = true;
            self.round_ends_at = sample.total_delivered;
            self.window = sample.in_flight + sample.acked;
        } else if before != Phase::Open && phase == Phase::Open {
            self.window = self.window.max(self.prior_window);
            self.conserves_packets = false;
        }
        if self.conserves_packets {
            self.window = self.window.max(sample.in_flight + sample.acked);
        }
        self.conserves_packets
    }

    fn save_window(&mut self) {
        if self.phase == Phase::Open && self.mode != Mode::ProbeRtt {
            self.prior_window = self.window;
        } else {
            self.prior_window = self.prior_window.max(self.window);
        }
    }

    /// Packets in flight at which the path is full, times `gain`.
    fn target(&self, gain: u64) -> u64 {
        packets_in(self.bandwidth.get(), self.floored_rtt(), gain) + self.quantum()
    }

    /// Room for what leaves and is acknowledged in one go at both ends.
    fn quantum(&self) -> u64 {
        let batch = (self.pacing_rate / 1000).min(MAX_BATCH) / PACKET;
        let probing = if self.mode == Mode::ProbeBandwidth && self.cycle == 0 { 2 } else { 0 };
        3 * batch.max(2) + probing
    }

    fn floored_rtt(&self) -> u64 {
        if self.min_rtt == u64::MAX { INITIAL_RTT } else { self.min_rtt.max(MIN_RTT) }
    }
}

/// Returns how many packets `bandwidth` carries in `micros`, times `gain`, rounded up.
fn packets_in(bandwidth: u64, micros: u64, gain: u64) -> u64 {
    let product =
        (u128::from(bandwidth) * u128::from(micros)).saturating_mul(u128::from(gain)) / u128::from(UNIT);
    u64::try_from(product.div_ceil(1 << BANDWIDTH_SHIFT)).unwrap_or(MAX_WINDOW).min(MAX_WINDOW)
}

/// Returns bytes per second, 1 % below what `bandwidth` times `gain` would be.
fn rate_of(bandwidth: u64, gain: u64) -> u64 {
    let product = u128::from(bandwidth) * u128::from(PACKET * gain) * (1_000_000 / 100 * 99);
    u64::try_from((product / u128::from(UNIT)) >> BANDWIDTH_SHIFT).unwrap_or(u64::MAX)
}

/// Bytes of a full packet, from the UDX header on.
const PACKET: u64 = (HEADER_LEN + MAX_PAYLOAD) as u64;

const BANDWIDTH_SHIFT: u32 = 24;

/// Gains have 8 binary places.
const UNIT: u64 = 256;

/// 2 / ln 2, the smallest gain that doubles the rate every round.
const HIGH_GAIN: u64 = 739;

/// Its inverse.
const DRAIN_GAIN: u64 = 88;

const WINDOW_GAIN: u64 = 512;

/// Pacing gains of one cycle: 1.25, 0.75, then 1.
const CYCLE: [u64; 8] = [320, 192, 256, 256, 256, 256, 256, 256];

const BANDWIDTH_ROUNDS: u64 = 10;
const FULL_ROUNDS: u8 = 3;
const EXTRA_ROUNDS: u8 = 5;
const MAX_EPOCH: u64 = 1 << 20;

/// Microseconds of acknowledgements that may come at once, and no more than a round trip: on a short path
/// a peer that reads in bursts would otherwise be sent more than its socket holds.
const MAX_EXTRA: u64 = 100_000;

const INITIAL_WINDOW: u64 = 10;
const MIN_WINDOW: u64 = 4;

/// 18 MiB in flight; more would only matter beyond 10 Gbit/s at 15 ms.
const MAX_WINDOW: u64 = 16_384;

/// Microseconds assumed before the first measurement.
const INITIAL_RTT: u64 = 1000;

/// Microseconds. Peers work in event loops with a millisecond clock: a shorter path is never the limit.
const MIN_RTT: u64 = 1000;

const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const PROBE_RTT: Duration = Duration::from_millis(200);

/// Bytes; a rate of 0 would never send the packet that raises it.
const MIN_RATE: u64 = 4 * PACKET;

/// Bytes handed to the kernel in one call.
const MAX_BATCH: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_and_packets_convert_into_each_other() {
        let bandwidth = (100 << BANDWIDTH_SHIFT) / 10_000; // 100 packets in 10 ms

        assert_eq!(packets_in(bandwidth, 10_000, UNIT), 100);
        assert_eq!(packets_in(bandwidth, 10_000, WINDOW_GAIN), 200);
        let rate = rate_of(bandwidth, UNIT);
        assert!((11_595_000..=11_603_000).contains(&rate), "{rate}");
        assert_eq!(packets_in(u64::MAX, u64::MAX, HIGH_GAIN), MAX_WINDOW);
    }

    #[test]
    fn startup_ends_when_the_bandwidth_stops_growing() {
        let mut bbr = Bbr::new(Instant::EPOCH);
        let mut delivered = 0;

        for round in 1..12 {
            let now = Instant::EPOCH + Duration::from_millis(20 * round);
            let prior_delivered = delivered;
            delivered += 50;
            let sample = Sample {
                delivered: 50,
                interval: 20_000,
                prior_delivered,
                is_app_limited: false,
                acked: 50,
                lost: 0,
                prior_in_flight: 50,
                in_flight: 0,
                rtt: Some(20_000),
                total_delivered: delivered,
            };
            bbr.handle_ack(&sample, Phase::Open, Some(20_000), now);
        }

        assert_eq!(bbr.mode, Mode::ProbeBandwidth);
        assert!((100..165).contains(&bbr.window()), "{}", bbr.window());
    }

    #[test]
    fn a_timeout_closes_the_window_and_recovery_reopens_it() {
        let mut bbr = Bbr::new(Instant::EPOCH);
        bbr.window = 80;

        bbr.handle_timeout();
        assert_eq!(bbr.window(), 1);

        let sample = Sample {
            delivered: 1,
            interval: 20_000,
            prior_delivered: 0,
            is_app_limited: false,
            acked: 1,
            lost: 0,
            prior_in_flight: 1,
            in_flight: 0,
            rtt: Some(20_000),
            total_delivered: 1,
        };
        bbr.handle_ack(&sample, Phase::Open, Some(20_000), Instant::EPOCH + Duration::from_millis(20));
        assert!(bbr.window() >= 80);
    }
}
