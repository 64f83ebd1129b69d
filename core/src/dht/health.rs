//! Tells from answers and timeouts whether the network is there.
//!
//! Source: dht-rpc 6.27, `lib/health.js`.

use alloc::collections::VecDeque;

/// Four ticks of answers and timeouts.
#[derive(Debug)]
pub(crate) struct Health {
    /// Answers so far.
    pub(crate) responses: u64,
    /// Timeouts so far.
    pub(crate) timeouts: u64,
    window: VecDeque<Tick>,
    offline_ticks: u32,
    is_online: bool,
    is_degraded: bool,
}

#[derive(Debug)]
struct Tick {
    responses: u64,
    timeouts: u64,
    is_degraded: Option<bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            responses: 0,
            timeouts: 0,
            window: VecDeque::new(),
            offline_ticks: 0,
            is_online: true,
            is_degraded: false,
        }
    }
}

impl Health {
    /// Reports whether answers arrive.
    pub(crate) fn is_online(&self) -> bool {
        self.is_online
    }

    /// Ends a tick and reports whether the verdict changed.
    pub(crate) fn update(&mut self) -> bool {
        let before = (self.is_online, self.is_degraded);
        let last = self.window.back().map_or((0, 0), |tick| (tick.responses, tick.timeouts));
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(Tick { responses: self.responses, timeouts: self.timeouts, is_degraded: None });
        let responses = self.responses.saturating_sub(last.0);
        let timeouts = self.timeouts.saturating_sub(last.1);
        if self.window.len() < WINDOW || responses + timeouts < IDLE {
            return false;
        }
        if responses == 0 {
            self.offline_ticks += 1;
            if self.offline_ticks >= OFFLINE_TICKS {
                self.is_online = false;
            }
        } else {
            self.offline_ticks = 0;
            self.is_online = true;
            if let Some(newest) = self.window.back_mut() {
                newest.is_degraded = Some(timeouts > responses);
            }
        }
        if !self.is_online || self.window.iter().all(|tick| tick.is_degraded == Some(false)) {
            self.is_degraded = false;
        } else if self.window.iter().all(|tick| tick.is_degraded == Some(true)) {
            self.is_degraded = true;
        }
        before != (self.is_online, self.is_degraded)
    }
}

/// Ticks looked at.
const WINDOW: usize = 4;

/// Fewer events in a tick say nothing.
const IDLE: u64 = 4;

/// Ticks without any answer that mean offline.
const OFFLINE_TICKS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_busy_ticks_without_an_answer_mean_offline() {
        let mut health = Health::default();
        for _ in 0..4 {
            health.responses += 10;
            health.update();
        }

        health.timeouts += 10;
        assert!(!health.update());
        health.timeouts += 10;
        assert!(health.update());
        assert!(!health.is_online());

        health.responses += 10;
        assert!(health.update());
        assert!(health.is_online());
    }
}
