//! What one end of a link knows of its frames: how many went each way, and those that the other end may lack.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::resume::encode_ack;
use crate::time::{Duration, Instant};

/// The frames of one link, over all its WebSockets.
#[derive(Debug)]
pub(crate) struct Window {
    /// Whether frames are kept.
    keeps: bool,
    /// Frames sent.
    sent: u64,
    /// The last of them, up to [`MAX_KEPT`] bytes: those that the other end has not acknowledged, and when they were sent.
    kept: VecDeque<(Bytes, Instant)>,
    /// The first frames of those were let go: others are kept once all that were sent are acknowledged.
    has_lost: bool,
    /// Bytes that `kept` takes.
    bytes: usize,
    /// How many of the last ones of `kept` are to be sent again.
    lacking: usize,
    /// Frames received.
    received: u64,
    /// Those among them that the other end knows about.
    told: u64,
    /// Bytes of the others.
    untold: usize,
    /// When the other end is to be told, if nothing makes it so before.
    ack_at: Option<Instant>,
    /// The other end is to be told.
    is_ack_due: bool,
}

/// The other end counts frames that there never were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Miscounted;

impl Window {
    /// Begins with a link. Without `keeps`, frames are only counted, until [`keep`](Self::keep).
    pub(crate) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            sent: 0,
            kept: VecDeque::new(),
            has_lost: false,
            bytes: 0,
            lacking: 0,
            received: 0,
            told: 0,
            untold: 0,
            ack_at: None,
            is_ack_due: false,
        }
    }

    /// Keeps frames from here on.
    #[cfg(feature = "dht")]
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Keeps none: the link ends with its WebSocket.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(false);
    }

    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Returns the frames received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Returns how many bytes the next frame may have.
    pub(crate) fn room(&self) -> usize {
        match self.bytes {
            // The largest frame there is leaves some time.
            0 => usize::MAX,
            bytes => MAX_KEPT.saturating_sub(bytes + FRAME_COST),
        }
    }

    /// Notes that a frame is sent.
    pub(crate) fn handle_sent(&mut self, frame: &Bytes, now: Instant) {
        self.sent += 1;
        if self.keeps && !self.has_lost {
            self.bytes += cost(frame);
            self.kept.push_back((frame.clone(), now));
        }
    }

    /// Returns the bytes that the frames take that are kept.
    #[cfg(feature = "dht")]
    pub(crate) fn kept(&self) -> usize {
        self.bytes
    }

    /// Returns when the first of them was sent.
    #[cfg(feature = "dht")]
    pub(crate) fn kept_since(&self) -> Option<Instant> {
        self.kept.front().map(|(_, sent)| *sent)
    }

    /// Lets go of all of them. Until the other end has acknowledged every frame, it cannot come back.
    #[cfg(feature = "dht")]
    pub(crate) fn lose(&mut self) {
        self.has_lost |= !self.kept.is_empty();
        self.kept = VecDeque::new();
        self.bytes = 0;
        self.lacking = 0;
    }

    /// Notes that a frame has come.
    pub(crate) fn handle_received(&mut self, len: usize, now: Instant) {
        self.received += 1;
        if !self.keeps {
            return;
        }
        self.untold += len;
        if self.untold >= ACK_BYTES || self.received - self.told >= ACK_FRAMES {
            self.is_ack_due = true;
        } else if self.untold >= ACK_SOON {
            self.ack_at.get_or_insert(now + ACK_DELAY);
        }
    }

    /// Takes an acknowledgement.
    pub(crate) fn handle_ack(&mut self, received: u64) -> Result<(), Miscounted> {
        if received > self.sent {
            return Err(Miscounted);
        }
        while self.sent - (self.kept.len() as u64) < received
            && let Some((frame, _)) = self.kept.pop_front()
        {
            self.bytes -= cost(&frame);
        }
        self.has_lost &= received < self.sent;
        if self.kept.is_empty() && self.kept.capacity() > FEW {
            self.kept = VecDeque::new();
        }
        self.lacking = self.lacking.min(self.kept.len());
        Ok(())
    }

    /// Returns whether everything is here that an end with so many frames lacks.
    pub(crate) fn has_all_after(&self, received: u64) -> bool {
        self.keeps && (self.sent - self.kept.len() as u64..=self.sent).contains(&received)
    }

    /// Goes on over another WebSocket, with an end that has so many frames and was told how many are here.
    pub(crate) fn resume(&mut self, received: u64) -> Result<(), Miscounted> {
        if !self.has_all_after(received) {
            return Err(Miscounted);
        }
        self.handle_ack(received)?;
        self.lacking = self.kept.len();
        self.told();
        Ok(())
    }

    fn told(&mut self) {
        self.told = self.received;
        self.untold = 0;
        self.ack_at = None;
        self.is_ack_due = false;
    }

    /// Returns whether frames wait to be sent again.
    #[cfg(feature = "dht")]
    pub(crate) fn has_lacking(&self) -> bool {
        self.lacking > 0
    }

    /// Returns the next frame that is to be sent again; it is not counted anew.
    pub(crate) fn poll_lacking(&mut self) -> Option<Bytes> {
        let (frame, _) = self.kept.get(self.kept.len().checked_sub(self.lacking)?)?.clone();
        self.lacking -= 1;
        Some(frame)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.is_ack_due |= self.ack_at.take_if(|at| *at <= now).is_some();
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ack_at
    }

    /// Returns whether an acknowledgement is due.
    #[cfg(feature = "dht")]
    pub(crate) fn is_ack_due(&self) -> bool {
        self.is_ack_due
    }

    /// Returns an acknowledgement, if one is due. It is not counted.
    pub(crate) fn poll_ack(&mut self) -> Option<Bytes> {
        if !self.is_ack_due {
            return None;
        }
        self.told();
        Some(encode_ack(self.received).into())
    }
}

/// Most bytes of frames that one end keeps for the other: 20 MB/s at 100 ms.
pub(crate) const MAX_KEPT: usize = 2 * 1024 * 1024;

/// Bytes that a frame counts for beside its own: an end that acknowledges nothing is sent no millions of small ones.
pub(crate) const FRAME_COST: usize = 64;

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_COST
}

/// Bytes after which the other end is told that they are here.
const ACK_BYTES: usize = 256 * 1024;

/// Frames after which it is.
const ACK_FRAMES: u64 = 32;

/// Bytes after which it is told some time later, so that a link at rest keeps next to nothing.
const ACK_SOON: usize = 1024;

/// Less than this a client may leave unacknowledged for good.
#[cfg(feature = "dht")]
pub(super) const AT_REST: usize = ACK_SOON + ACK_FRAMES as usize * FRAME_COST;

/// How much later.
const ACK_DELAY: Duration = Duration::from_secs(1);

/// Places for frames that stay when none are kept.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::resume::decode_ack;
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn frame(number: usize, len: usize) -> Bytes {
        vec![number as u8; len].into()
    }

    #[test]
    fn every_cut_is_healed_whatever_was_lost_and_acknowledged() {
        for sent in 0..=6_u64 {
            for received in 0..=sent {
                for acked in 0..=received {
                    let mut window = Window::new(true);
                    let frames: Vec<_> = (0..sent as usize).map(|number| frame(number, 10)).collect();
                    frames.iter().for_each(|frame| window.handle_sent(frame, Instant::EPOCH));
                    window.handle_ack(acked).unwrap();
                    window.resume(received).unwrap();
                    let mut again: Vec<_> = core::iter::from_fn(|| window.poll_lacking()).collect();
                    assert_eq!(again, frames[received as usize..]);
                    // It breaks once more before any of them came, and once more in the middle.
                    window.resume(received).unwrap();
                    assert_eq!(window.poll_lacking(), frames.get(received as usize).cloned());
                    window.resume(received).unwrap();
                    again = core::iter::from_fn(|| window.poll_lacking()).collect();
                    assert_eq!(again, frames[received as usize..]);
                    window.handle_ack(sent).unwrap();
                    assert_eq!((window.bytes, window.kept.len()), (0, 0));
                }
            }
        }
    }

    #[test]
    fn counts_that_cannot_be_are_told_from_those_that_can() {
        let mut window = Window::new(true);
        (0..4).for_each(|number| window.handle_sent(&frame(number, 10), Instant::EPOCH));
        window.handle_ack(2).unwrap();
        assert_eq!(window.handle_ack(5), Err(Miscounted));
        assert_eq!(window.resume(5), Err(Miscounted));
        assert_eq!(window.resume(1), Err(Miscounted), "what was acknowledged is not here any more");
        // An acknowledgement that was overtaken changes nothing.
        assert_eq!(window.handle_ack(1), Ok(()));
        assert_eq!(window.resume(2), Ok(()));
        window.forget();
        assert_eq!(window.resume(0), Err(Miscounted));
    }

    #[cfg(feature = "dht")]
    #[test]
    fn frames_are_kept_from_when_they_may_be_lost_and_no_more_of_them_than_fit() {
        let mut window = Window::new(false);
        window.handle_sent(&frame(0, 10), Instant::EPOCH);
        window.keep();
        assert_eq!(window.room(), usize::MAX);
        let len = MAX_KEPT / 32 - FRAME_COST;
        for number in 1..=32 {
            assert!(window.room() >= len);
            window.handle_sent(&frame(number, len), Instant::EPOCH);
        }
        assert_eq!((window.room(), window.bytes), (0, MAX_KEPT));
        assert!(!window.has_all_after(0), "the first one was not kept");
        window.handle_ack(2).unwrap();
        assert_eq!(window.room(), len);
    }

    #[test]
    fn small_frames_count_for_what_it_takes_to_keep_them() {
        let mut window = Window::new(true);
        let mut sent = 0;
        while window.room() > 0 {
            window.handle_sent(&frame(sent, 1), Instant::EPOCH);
            sent += 1;
        }
        assert!(sent <= MAX_KEPT / FRAME_COST);
        window.handle_ack(sent as u64).unwrap();
        assert_eq!((window.bytes, window.room()), (0, usize::MAX));
    }

    #[cfg(feature = "dht")]
    #[test]
    fn what_was_let_go_is_not_claimed_and_frames_are_kept_again_once_the_other_end_has_all() {
        let at = |seconds| Instant::EPOCH + Duration::from_secs(seconds);
        let mut window = Window::new(true);
        (0..3).for_each(|number| window.handle_sent(&frame(number, 10), at(number as u64)));
        window.handle_ack(1).unwrap();
        assert_eq!((window.kept(), window.kept_since()), (2 * (10 + FRAME_COST), Some(at(1))));
        window.lose();
        window.handle_sent(&frame(3, 10), at(3));
        assert_eq!((window.kept(), window.kept_since(), window.room()), (0, None, usize::MAX));
        window.handle_ack(3).unwrap();
        assert!(!window.has_all_after(3), "the fourth is not here");
        assert!(window.has_all_after(4), "who has all lacks nothing");
        window.handle_ack(4).unwrap();
        window.handle_sent(&frame(4, 10), at(4));
        assert_eq!((window.kept(), window.has_all_after(4)), (10 + FRAME_COST, true));
        window.handle_ack(5).unwrap();
        window.lose();
        window.handle_sent(&frame(5, 10), at(5));
        assert_eq!(window.kept(), 10 + FRAME_COST, "nothing was lost with nothing kept");
    }

    #[test]
    fn acknowledgements_come_with_bytes_frames_or_time() {
        let now = Instant::EPOCH + Duration::from_secs(1);
        let mut window = Window::new(true);
        let ack = |window: &mut Window, now| {
            window.handle_timeout(now);
            window.poll_ack().map(|ack| decode_ack(&ack).unwrap())
        };
        (1..ACK_FRAMES).for_each(|_| window.handle_received(5, now));
        assert_eq!(window.poll_timeout(), None, "a link at rest has nothing to say");
        window.handle_received(5, now);
        assert_eq!(ack(&mut window, now), Some(Some(ACK_FRAMES)));
        assert_eq!(ack(&mut window, now), None);

        window.handle_received(ACK_SOON, now);
        assert_eq!((ack(&mut window, now), window.poll_timeout()), (None, Some(now + ACK_DELAY)));
        assert_eq!(ack(&mut window, now + ACK_DELAY), Some(Some(ACK_FRAMES + 1)));

        window.handle_received(ACK_BYTES, now);
        assert_eq!(ack(&mut window, now), Some(Some(ACK_FRAMES + 2)));
        window.handle_received(ACK_BYTES, now);
        window.resume(0).unwrap();
        assert_eq!(window.poll_timeout(), None, "who goes on was told");
    }
}
