//! Moves a stream that runs through relays onto a direct path, and back, without losing a byte.
//!
//! The bytes are those of a secret stream: frames, each with its length in front. The path through the relays stays, and
//! carries frames of length 0 besides, which a secret stream never has; they are only understood where both ends have
//! agreed on that inside the stream. What was sent directly is kept until the other end says that it has it, so that
//! either end can fall back at any time: it says how much it has and takes nothing more from the direct path, the other end
//! says the same, and each goes on through the relays with the first byte that the other has not.
//!
//! # Wire
//!
//! Through the relays, `u24 0 ‖ u8 kind ‖ u64 count`:
//!
//! | kind | name | meaning |
//! | --- | --- | --- |
//! | 0 | alive | nothing |
//! | 1 | move | what follows is on the direct path; here come only frames like this one |
//! | 2 | return | `count` bytes have come directly since the move; once both ends have said so, the rest comes here |
//!
//! Directly, in messages of at most [`MAX_MESSAGE`] bytes: `0 ‖ bytes`, or `1 ‖ u64 count` for how many have come.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

mod cursor;
mod flight;
#[cfg(test)]
mod world;

use cursor::{Cursor, PREFIX_LEN};
use flight::Flight;

use crate::time::{Duration, Instant};

/// What a detour wants of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetourOutput {
    /// Send this through the relays.
    Relay(Bytes),
    /// Send this message directly.
    Direct(Bytes),
    /// This came from the other end.
    Received(Bytes),
    /// As many bytes more may be [written](Detour::write).
    Credit(u64),
    /// Both ways are direct.
    Moved,
    /// Both ways lead through the relays again, or will as soon as the other end has answered.
    Returned(Return),
}

/// Why a stream is on the relays' path again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Our direct path broke, or was given up.
    Local,
    /// The other end wanted it.
    Remote,
    /// Nothing that was sent arrived for too long.
    Silent,
}

/// The other end sent what makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misled;

/// One end of a stream with two paths.
///
/// After any `&mut self` call, drain [`poll_output`](Self::poll_output), then arm a timer from
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug, Default)]
pub struct Detour {
    /// Frames without length are understood, since both ends have agreed.
    is_allowed: bool,
    /// The other end may move before our direct path is open.
    is_expected: bool,
    /// Our direct path is open.
    is_live: bool,
    /// The room on the direct path was granted.
    has_room: bool,
    out: Out,
    /// Where the frame ends that is being written.
    outgoing: Cursor,
    /// Where the frame ends that is being received.
    incoming: Cursor,
    /// The start of what may be a frame without length.
    held: Vec<u8>,
    /// Frames of our own that wait for the end of the one that is being written. Bounded by [`MAX_DEFERRED`].
    deferred: Vec<(u8, u64)>,
    /// The other end's bytes come directly.
    has_moved: bool,
    sent_return: bool,
    got_return: bool,
    /// Sent directly and not acknowledged, or held back while we return.
    flight: Flight,
    /// Bytes received directly, early ones too.
    received: u64,
    /// Those among them that we have acknowledged.
    confirmed: u64,
    /// Received directly before the move, which is still on its way.
    early: VecDeque<Bytes>,
    early_len: usize,
    /// Bytes of our own on the relays' path that are nobody's credit.
    overhead: u64,
    stalls_at: Option<Instant>,
    confirms_at: Option<Instant>,
    speaks_at: Option<Instant>,
    outputs: VecDeque<DetourOutput>,
}

/// Where our bytes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Out {
    #[default]
    Relay,
    /// Directly, as soon as the frame that is being written ends.
    Moving,
    Direct,
    /// Nowhere, until the other end says where to go on.
    Returning,
}

impl Detour {
    /// Understands what the other end says about its path from here on, and waits for its move.
    pub fn expect(&mut self) {
        self.is_allowed = true;
        self.is_expected = true;
    }

    /// Goes on directly: the direct path is open.
    pub fn open(&mut self, now: Instant) {
        if !self.is_allowed || self.is_live || self.sent_return || self.out != Out::Relay {
            return;
        }
        self.is_live = true;
        self.out = Out::Moving;
        self.start_moving(now);
    }

    /// Goes back: the direct path is broken, is given up, or will not be there.
    pub fn close(&mut self, now: Instant) {
        self.is_expected = false;
        if self.is_live || self.has_moved {
            self.go_back(Return::Local, now);
        }
    }

    /// Returns whether everything is, or will go, through the relays, and nothing is owed.
    pub fn is_plain(&self) -> bool {
        self.out == Out::Relay && !self.is_live && !self.has_moved && !self.sent_return
    }

    /// Takes bytes for the other end.
    pub fn write(&mut self, bytes: Bytes, now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.outgoing.pass(&bytes);
        match self.out {
            Out::Relay | Out::Moving => {
                self.outputs.push_back(DetourOutput::Relay(bytes));
                if self.outgoing.is_between_frames() {
                    for (kind, count) in core::mem::take(&mut self.deferred) {
                        self.control(kind, count);
                    }
                }
                self.start_moving(now);
            }
            Out::Direct => self.send_directly(bytes, now),
            Out::Returning => self.flight.hold(bytes),
        }
    }

    /// Notes that the relays' path took bytes.
    pub fn handle_sent(&mut self, bytes: u64) {
        let ours = self.overhead.min(bytes);
        self.overhead -= ours;
        self.credit(bytes - ours);
    }

    /// Takes what came through the relays.
    ///
    /// # Errors
    ///
    /// When it makes no sense; the stream is of no further use then.
    pub fn handle_relayed(&mut self, mut bytes: Bytes, now: Instant) -> Result<(), Misled> {
        while !bytes.is_empty() {
            if self.has_moved || !self.held.is_empty() {
                self.hold(&mut bytes, now)?;
                continue;
            }
            let passed = self.incoming.scan(&bytes, self.is_allowed);
            if passed > 0 {
                self.outputs.push_back(DetourOutput::Received(bytes.split_to(passed)));
            }
            if !bytes.is_empty() {
                self.hold(&mut bytes, now)?;
            }
        }
        Ok(())
    }

    /// Takes a message of the direct path.
    ///
    /// # Errors
    ///
    /// When it makes no sense; the stream is of no further use then.
    pub fn handle_direct(&mut self, mut message: Bytes, now: Instant) -> Result<(), Misled> {
        // What comes after we have said how much we have is sent again.
        if !self.is_live || self.sent_return || message.is_empty() {
            return Ok(());
        }
        if message.split_to(1)[..] == [ACKNOWLEDGEMENT] {
            let count = message.try_get_u64_le().map_err(|_| Misled)?;
            return self.acknowledge(count, now);
        }
        let len = message.len();
        self.received += len as u64;
        if self.has_moved {
            self.incoming.pass(&message);
            self.outputs.push_back(DetourOutput::Received(message));
        } else {
            self.early_len += len;
            if self.early_len > MAX_EARLY {
                return Err(Misled);
            }
            self.early.push_back(message);
        }
        if self.received - self.confirmed >= CONFIRM_AFTER {
            self.confirm();
        } else if self.confirms_at.is_none() {
            self.confirms_at = Some(now + CONFIRM_DELAY);
        }
        Ok(())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.confirms_at.is_some_and(|at| at <= now) {
            self.confirm();
        }
        if self.stalls_at.is_some_and(|at| at <= now) {
            self.go_back(Return::Silent, now);
        }
        if self.speaks_at.is_some_and(|at| at <= now) {
            self.speaks_at = Some(now + ALIVE_INTERVAL);
            self.control(ALIVE, 0);
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.stalls_at, self.confirms_at, self.speaks_at].into_iter().flatten().min()
    }

    /// Returns what to do next.
    pub fn poll_output(&mut self) -> Option<DetourOutput> {
        self.outputs.pop_front()
    }

    /// Takes bytes of what may be a frame without length, which begins here.
    fn hold(&mut self, bytes: &mut Bytes, now: Instant) -> Result<(), Misled> {
        let wanted = if self.held.len() < PREFIX_LEN { PREFIX_LEN } else { CONTROL_LEN };
        let part = bytes.split_to(bytes.len().min(wanted - self.held.len()));
        self.held.extend_from_slice(&part);
        if self.held.len() == PREFIX_LEN && self.held[..] != [0; PREFIX_LEN] {
            if self.has_moved {
                return Err(Misled);
            }
            let start = Bytes::from(core::mem::take(&mut self.held));
            self.incoming.pass(&start);
            self.outputs.push_back(DetourOutput::Received(start));
        } else if let Some((&[_, _, _, kind], count)) = self.held.split_first_chunk::<4>()
            && let Ok(count) = count.try_into()
        {
            let control = (kind, u64::from_le_bytes(count));
            self.held.clear();
            return self.handle_control(control, now);
        }
        Ok(())
    }

    fn handle_control(&mut self, (kind, count): (u8, u64), now: Instant) -> Result<(), Misled> {
        match kind {
            ALIVE => Ok(()),
            // Each of theirs is answered with one of ours.
            _ if self.deferred.len() >= MAX_DEFERRED => Err(Misled),
            MOVE if !self.has_moved && !self.got_return => {
                self.has_moved = true;
                self.early_len = 0;
                for bytes in core::mem::take(&mut self.early) {
                    self.incoming.pass(&bytes);
                    self.outputs.push_back(DetourOutput::Received(bytes));
                }
                if self.is_live || self.is_expected || self.sent_return {
                    self.tell_moved();
                } else {
                    self.go_back(Return::Local, now);
                }
                Ok(())
            }
            RETURN => self.returned(count, now),
            _ => Err(Misled),
        }
    }

    fn returned(&mut self, count: u64, now: Instant) -> Result<(), Misled> {
        let had = self.flight.acknowledge(count)?;
        self.got_return = true;
        if !self.sent_return {
            self.go_back(Return::Remote, now);
        }
        self.credit(had);
        self.finish();
        Ok(())
    }

    /// Says how much came directly, and takes nothing more from there.
    fn go_back(&mut self, why: Return, now: Instant) {
        if self.sent_return {
            return;
        }
        self.is_live = false;
        self.is_expected = false;
        self.sent_return = true;
        self.stalls_at = None;
        self.confirms_at = None;
        if self.out == Out::Direct {
            self.out = Out::Returning;
        } else {
            self.out = Out::Relay;
        }
        self.speaks_at = Some(now + ALIVE_INTERVAL);
        self.control(RETURN, self.received);
        self.outputs.push_back(DetourOutput::Returned(why));
    }

    /// Goes on through the relays with the first byte that the other end has not.
    fn finish(&mut self) {
        let waiting = self.flight.end();
        if self.out == Out::Returning {
            self.outputs.extend(waiting.map(DetourOutput::Relay));
            self.out = Out::Relay;
        }
        self.has_moved = false;
        self.sent_return = false;
        self.got_return = false;
        self.received = 0;
        self.confirmed = 0;
        self.speaks_at = None;
    }

    fn start_moving(&mut self, now: Instant) {
        if self.out != Out::Moving || !self.outgoing.is_between_frames() {
            return;
        }
        self.out = Out::Direct;
        self.speaks_at = Some(now + ALIVE_INTERVAL);
        self.control(MOVE, 0);
        if !self.has_room {
            self.has_room = true;
            self.credit(ROOM);
        }
        self.tell_moved();
    }

    fn tell_moved(&mut self) {
        if self.out == Out::Direct && self.has_moved && self.is_live {
            self.outputs.push_back(DetourOutput::Moved);
        }
    }

    fn send_directly(&mut self, bytes: Bytes, now: Instant) {
        let mut rest = bytes.clone();
        self.flight.send(bytes);
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(MAX_MESSAGE - 1));
            let mut message = Vec::with_capacity(1 + part.len());
            message.push(DATA);
            message.extend_from_slice(&part);
            self.outputs.push_back(DetourOutput::Direct(message.into()));
        }
        self.stalls_at.get_or_insert(now + STALL);
    }

    fn acknowledge(&mut self, count: u64, now: Instant) -> Result<(), Misled> {
        let had = self.flight.acknowledge(count)?;
        self.credit(had);
        self.stalls_at = (!self.flight.is_empty()).then_some(now + STALL);
        Ok(())
    }

    fn confirm(&mut self) {
        self.confirms_at = None;
        self.confirmed = self.received;
        let mut message = Vec::with_capacity(9);
        message.push(ACKNOWLEDGEMENT);
        message.extend_from_slice(&self.received.to_le_bytes());
        self.outputs.push_back(DetourOutput::Direct(message.into()));
    }

    fn control(&mut self, kind: u8, count: u64) {
        if matches!(self.out, Out::Relay | Out::Moving) && !self.outgoing.is_between_frames() {
            // What waits says that we are here, too.
            if kind != ALIVE {
                self.deferred.push((kind, count));
            }
            return;
        }
        let mut frame = Vec::with_capacity(CONTROL_LEN);
        frame.extend_from_slice(&[0, 0, 0, kind]);
        frame.extend_from_slice(&count.to_le_bytes());
        self.overhead += CONTROL_LEN as u64;
        self.outputs.push_back(DetourOutput::Relay(frame.into()));
    }

    fn credit(&mut self, bytes: u64) {
        if bytes > 0 {
            self.outputs.push_back(DetourOutput::Credit(bytes));
        }
    }
}

/// Kinds of frames without length.
const ALIVE: u8 = 0;
const MOVE: u8 = 1;
const RETURN: u8 = 2;

/// Kinds of messages of the direct path.
const DATA: u8 = 0;
const ACKNOWLEDGEMENT: u8 = 1;

/// Bytes of a frame without length.
const CONTROL_LEN: usize = 12;

/// Largest message of the direct path: what every browser sends as one.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Bytes that may be on their way directly, besides what the relays' path may hold: 20 MB/s at 50 ms.
pub const ROOM: u64 = 1024 * 1024;

/// Most bytes that may come directly before the other end's move has come: a frame of the largest size, and the rest.
const MAX_EARLY: usize = 32 * 1024 * 1024;

/// Most frames of our own that wait for the end of another: the paths change no oftener while a frame is being written.
const MAX_DEFERRED: usize = 16;

/// How many bytes, or how long, are received before the other end is told.
const CONFIRM_AFTER: u64 = 32 * 1024;
const CONFIRM_DELAY: Duration = Duration::from_millis(20);

/// How long nothing that was sent may be acknowledged. Browsers take longer to notice a network that is gone.
const STALL: Duration = Duration::from_secs(5);

/// How often something goes through the relays meanwhile, for the NATs between: as often as upstream's connections do.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::world::World;
    use super::*;

    #[test]
    fn stream_moves_and_returns_without_losing_a_byte() {
        let mut world = World::new(7);
        world.exchange(20);
        world.expect_both();
        world.open(0);
        world.exchange(5);
        world.open(1);
        world.exchange(200);
        assert!(world.ends.iter().all(|end| end.events.last() == Some(&DetourOutput::Moved)));
        assert!(world.direct_bytes > world.relayed_bytes);

        world.breaks();
        world.exchange(50);

        world.settle();
        assert!(world.ends.iter().all(|end| end.detour.is_plain()));
        let returns: Vec<_> = world.ends.iter().map(|end| end.events.last()).collect();
        assert!(returns.iter().all(|event| matches!(event, Some(DetourOutput::Returned(_)))), "{returns:?}");
    }

    #[test]
    fn any_course_of_moves_and_breaks_keeps_the_bytes_in_order() {
        for seed in 1..400 {
            let mut world = World::new(seed);
            world.exchange(3);
            for _ in 0..4 {
                world.expect_both();
                for _ in 0..world.random(30) {
                    match world.random(8) {
                        0 => world.open(0),
                        1 => world.open(1),
                        2 if world.random(3) == 0 => world.breaks(),
                        3 if world.random(6) == 0 => {
                            let at = world.random(2);
                            world.close(at);
                        }
                        _ => world.exchange(2),
                    }
                }
                world.breaks();
                world.exchange(4);
                world.settle();
                assert!(world.ends.iter().all(|end| end.detour.is_plain()), "seed {seed}");
            }
        }
    }

    #[test]
    fn silence_of_the_direct_path_is_noticed_by_who_sends() {
        let mut world = World::new(3);
        world.expect_both();
        world.open(0);
        world.open(1);
        world.settle();
        world.is_silent = true;
        world.write(0, 1000);
        world.settle();
        assert_eq!(world.ends[0].events, [DetourOutput::Moved]);

        world.now += STALL;
        world.settle();

        assert_eq!(world.ends[0].events.last(), Some(&DetourOutput::Returned(Return::Silent)));
        assert_eq!(world.ends[1].events.last(), Some(&DetourOutput::Returned(Return::Remote)));
        assert_eq!(world.ends[1].received, world.ends[0].written);
    }

    #[test]
    fn credit_comes_back_once_for_each_byte() {
        let mut world = World::new(11);
        world.exchange(30);
        world.expect_both();
        world.open(0);
        world.open(1);
        world.exchange(100);
        world.breaks();
        world.exchange(30);
        world.settle();

        for end in &world.ends {
            assert_eq!(end.credit, end.written.len() as u64 + ROOM);
        }
    }

    #[test]
    fn without_consent_a_frame_without_length_is_bytes_as_any() {
        let mut detour = Detour::default();
        let bytes = Bytes::from_static(&[0, 0, 0, MOVE, 0, 0, 0, 0, 0, 0, 0, 0]);

        detour.handle_relayed(bytes.clone(), Instant::EPOCH).unwrap();

        assert_eq!(detour.poll_output(), Some(DetourOutput::Received(bytes)));
    }

    #[test]
    fn nonsense_ends_the_stream() {
        let control = |kind, count: u64| {
            let mut frame = vec![0, 0, 0, kind];
            frame.extend_from_slice(&count.to_le_bytes());
            Bytes::from(frame)
        };
        for frames in [
            vec![control(3, 0)],
            vec![control(MOVE, 0), control(MOVE, 0)],
            vec![control(RETURN, 1)],
            vec![control(MOVE, 0), Bytes::from_static(&[1, 0, 0, 7])],
        ] {
            let mut detour = Detour::default();
            detour.expect();
            let taken: Vec<_> =
                frames.into_iter().map(|frame| detour.handle_relayed(frame, Instant::EPOCH)).collect();
            assert_eq!(taken.last(), Some(&Err(Misled)));
        }
        let mut detour = Detour::default();
        detour.expect();
        detour.open(Instant::EPOCH);
        let forged = Bytes::from_static(&[ACKNOWLEDGEMENT, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(detour.handle_direct(forged, Instant::EPOCH), Err(Misled));
    }

    #[test]
    fn an_end_that_returns_again_and_again_is_refused_before_the_answers_pile_up() {
        let mut detour = Detour::default();
        detour.expect();
        detour.write(Bytes::from_static(&[200, 0, 0, 1]), Instant::EPOCH);

        let frame = Bytes::from_static(&[0, 0, 0, RETURN, 0, 0, 0, 0, 0, 0, 0, 0]);
        let taken = (0..1000).take_while(|_| detour.handle_relayed(frame.clone(), Instant::EPOCH).is_ok());

        assert_eq!(taken.count(), MAX_DEFERRED);
    }
}
