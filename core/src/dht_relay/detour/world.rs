//! Two ends of a stream and what is between them, for tests: it delays, cuts and loses as its seed says.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{CONFIRM_DELAY, Detour, DetourOutput, MAX_MESSAGE};
use crate::time::{Duration, Instant};

/// Two ends and what is between them, which delays and cuts as it likes.
pub(super) struct World {
    pub(super) ends: [End; 2],
    /// By the end that sent it.
    relayed: [VecDeque<Bytes>; 2],
    direct: [VecDeque<Bytes>; 2],
    /// The direct path, at each end.
    is_open: [bool; 2],
    pub(super) is_silent: bool,
    pub(super) relayed_bytes: usize,
    pub(super) direct_bytes: usize,
    pub(super) now: Instant,
    random: u64,
}

#[derive(Default)]
pub(super) struct End {
    pub(super) detour: Detour,
    pub(super) written: Vec<u8>,
    pub(super) received: Vec<u8>,
    pub(super) events: Vec<DetourOutput>,
    pub(super) credit: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            ends: Default::default(),
            relayed: Default::default(),
            direct: Default::default(),
            is_open: [false; 2],
            is_silent: false,
            relayed_bytes: 0,
            direct_bytes: 0,
            now: Instant::EPOCH,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub(super) fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as usize % below
    }

    pub(super) fn expect_both(&mut self) {
        self.ends.iter_mut().for_each(|end| end.detour.expect());
    }

    pub(super) fn open(&mut self, at: usize) {
        // Another attempt is agreed on inside the stream, which both have on the relays' path by then.
        let is_agreed = self.is_open[1 - at] || self.ends.iter().all(|end| end.detour.is_plain());
        if self.ends[at].detour.is_expected && is_agreed {
            self.ends[at].detour.open(self.now);
            self.is_open[at] = self.ends[at].detour.is_live;
            self.collect(at);
        }
    }

    pub(super) fn close(&mut self, at: usize) {
        self.is_open[at] = false;
        self.direct = Default::default();
        self.ends[at].detour.close(self.now);
        self.collect(at);
    }

    /// What is on its way is lost, and both ends hear of it.
    pub(super) fn breaks(&mut self) {
        self.direct = Default::default();
        self.close(0);
        self.close(1);
    }

    /// Writes a frame, in pieces now and then.
    pub(super) fn write(&mut self, at: usize, len: usize) {
        let mut frame = vec![len as u8, (len >> 8) as u8, (len >> 16) as u8];
        frame.extend((0..len).map(|byte| (byte * 7 + self.ends[at].written.len()) as u8));
        self.ends[at].written.extend_from_slice(&frame);
        let mut rest = Bytes::from(frame);
        while !rest.is_empty() {
            let part = if self.random(4) == 0 { 1 + self.random(rest.len()) } else { rest.len() };
            let part = rest.split_to(part);
            self.ends[at].detour.write(part, self.now);
            self.collect(at);
        }
    }

    /// Writes, and carries some of what is under way.
    pub(super) fn exchange(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let (at, len) = (self.random(2), 1 + self.random(3000));
            let len = if self.random(12) == 0 { len * 60 } else { len };
            self.write(at, len);
            for _ in 0..self.random(6) {
                self.carry();
            }
            let pause = Duration::from_millis(self.random(9) as u64);
            self.now += pause;
            self.wake();
        }
    }

    pub(super) fn settle(&mut self) {
        while (0..2).any(|at| !self.relayed[at].is_empty() || !self.direct[at].is_empty()) {
            self.carry();
        }
        self.now += CONFIRM_DELAY;
        self.wake();
        while (0..2).any(|at| !self.relayed[at].is_empty() || !self.direct[at].is_empty()) {
            self.carry();
        }
        if !self.is_silent {
            for at in 0..2 {
                assert!(self.ends[1 - at].received == self.ends[at].written, "bytes differ");
            }
        }
    }

    fn wake(&mut self) {
        for at in 0..2 {
            self.ends[at].detour.handle_timeout(self.now);
            self.collect(at);
        }
    }

    fn carry(&mut self) {
        let at = self.random(2);
        if self.random(2) == 0 {
            let Some(mut bytes) = self.relayed[at].pop_front() else { return };
            let rest = bytes.split_off(1 + self.random(bytes.len()));
            if !rest.is_empty() {
                self.relayed[at].push_front(rest);
            }
            let sent = bytes.len() as u64;
            self.ends[1 - at].detour.handle_relayed(bytes, self.now).unwrap();
            self.ends[at].detour.handle_sent(sent);
        } else if self.is_open[1 - at]
            && let Some(message) = self.direct[at].pop_front()
            && !self.is_silent
        {
            self.ends[1 - at].detour.handle_direct(message, self.now).unwrap();
        }
        self.collect(0);
        self.collect(1);
    }

    fn collect(&mut self, at: usize) {
        while let Some(output) = self.ends[at].detour.poll_output() {
            match output {
                DetourOutput::Relay(bytes) => {
                    self.relayed_bytes += bytes.len();
                    self.relayed[at].push_back(bytes);
                }
                DetourOutput::Direct(bytes) => {
                    assert!(bytes.len() <= MAX_MESSAGE);
                    self.direct_bytes += bytes.len();
                    if self.is_open[at] {
                        self.direct[at].push_back(bytes);
                    }
                }
                DetourOutput::Received(bytes) => self.ends[at].received.extend_from_slice(&bytes),
                DetourOutput::Credit(bytes) => self.ends[at].credit += bytes,
                event => {
                    if matches!(event, DetourOutput::Returned(_)) {
                        self.is_open[at] = false;
                        self.direct[at].clear();
                    }
                    self.ends[at].events.push(event);
                }
            }
        }
    }
}
