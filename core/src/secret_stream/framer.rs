//! Finds frames of `u24 length ‖ body` in a byte stream that the transport may cut anywhere.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Length of the little-endian length in front of a body.
pub const PREFIX_LEN: usize = 3;

/// Largest body that the prefix can say.
pub const MAX_BODY: usize = 0xff_ffff;

/// A peer announced a body that is longer than what may come at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes announced.
    pub found: usize,
    /// Bytes allowed.
    pub limit: usize,
}

/// Splits a byte stream into frame bodies that may be decrypted in place.
///
/// A body that arrived in one piece, in a piece that nobody else holds, is handed out without a copy. One that
/// arrived in parts is copied once. Memory grows with the bytes received and, up to a constant, with the length announced.
#[derive(Debug)]
pub struct Framer {
    /// The start of a frame whose end has not arrived.
    partial: BytesMut,
    /// The piece being read.
    current: BytesMut,
    /// Pieces that arrived later.
    later: VecDeque<Bytes>,
    /// Bytes in `current` and `later`.
    unread: usize,
    limit: usize,
}

impl Framer {
    /// Creates a framer that refuses bodies beyond `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { partial: BytesMut::new(), current: BytesMut::new(), later: VecDeque::new(), unread: 0, limit }
    }

    /// Changes the longest body that is accepted from here on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Returns how many bytes arrived that are in no returned body, those of an incomplete frame included.
    pub fn buffered(&self) -> usize {
        self.unread + self.partial.len()
    }

    /// Takes the next piece of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unread += bytes.len();
            self.later.push_back(bytes);
        }
    }

    /// Returns the next body, or `None` until more bytes arrive.
    ///
    /// # Errors
    ///
    /// When a longer body than allowed is announced. The stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<BytesMut>, TooLong> {
        loop {
            if self.current.is_empty() {
                let Some(next) = self.later.pop_front() else { return Ok(None) };
                self.current = next.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            }
            if self.partial.is_empty()
                && let Some(end) = self.frame_end(&self.current)?
                && end <= self.current.len()
            {
                let mut frame = self.current.split_to(end);
                self.unread -= end;
                frame.advance(PREFIX_LEN);
                return Ok(Some(frame));
            }
            let wanted = self.frame_end(&self.partial)?.unwrap_or(PREFIX_LEN);
            let missing = wanted - self.partial.len();
            if self.partial.len() == self.partial.capacity() {
                self.grow(wanted);
            }
            let taken = missing.min(self.current.len()).min(self.partial.capacity() - self.partial.len());
            self.partial.extend_from_slice(&self.current[..taken]);
            self.current.advance(taken);
            self.unread -= taken;
            if self.frame_end(&self.partial)? == Some(self.partial.len()) {
                let mut frame = core::mem::take(&mut self.partial);
                frame.advance(PREFIX_LEN);
                return Ok(Some(frame));
            }
        }
    }

    /// Makes room for more of a frame, and for nothing beyond it: blocks are kept as parts of their frame until they are stored.
    fn grow(&mut self, wanted: usize) {
        let capacity = (2 * self.partial.len()).max(EAGER).min(wanted);
        let mut larger = BytesMut::with_capacity(capacity);
        larger.extend_from_slice(&self.partial);
        self.partial = larger;
    }

    /// Returns where the frame at the start of `bytes` ends, or `None` while its prefix is incomplete.
    fn frame_end(&self, bytes: &[u8]) -> Result<Option<usize>, TooLong> {
        let Some(&[a, b, c]) = bytes.first_chunk() else { return Ok(None) };
        let found = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if found > self.limit {
            return Err(TooLong { found, limit: self.limit });
        }
        Ok(Some(PREFIX_LEN + found))
    }
}

/// Bytes reserved on the word of the peer: a frame that carries a block of 64 KiB with its proof is copied once.
const EAGER: usize = 72 * 1024;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_cut_of_a_stream_gives_the_same_frames() {
        let bodies: [&[u8]; 4] = [b"hello", b"", b"x", &[7; 300]];
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();

        for step in 1..stream.len() {
            let mut framer = Framer::new(MAX_BODY);
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                framer.push(Bytes::copy_from_slice(piece));
                while let Some(body) = framer.next_frame().unwrap() {
                    found.push(body.to_vec());
                }
            }

            assert_eq!(found, bodies, "pieces of {step} bytes");
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn glued_pieces_are_read_in_order_when_nobody_drained_between() {
        let mut framer = Framer::new(MAX_BODY);
        for body in [&b"one"[..], b"two", b"three"] {
            framer.push(frame(body).into());
        }

        let found: Vec<_> =
            core::iter::from_fn(|| framer.next_frame().unwrap()).map(|body| body.to_vec()).collect();

        assert_eq!(found, [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn whole_frames_are_not_copied() {
        let bytes = Bytes::from(frame(&[1; 100]));
        let at = bytes.as_ptr();
        let mut framer = Framer::new(MAX_BODY);
        framer.push(bytes);

        let body = framer.next_frame().unwrap().unwrap();

        assert_eq!(body.as_ptr(), at.wrapping_add(PREFIX_LEN));
    }

    #[test]
    fn announced_length_beyond_the_limit_is_refused_before_any_of_it_arrives() {
        let mut framer = Framer::new(56);
        framer.push(Bytes::from_static(&[57]));
        assert_eq!(framer.next_frame(), Ok(None));

        framer.push(Bytes::from_static(&[0, 0]));

        assert_eq!(framer.next_frame(), Err(TooLong { found: 57, limit: 56 }));
    }

    #[test]
    fn announced_length_allocates_little() {
        let mut framer = Framer::new(MAX_BODY);
        framer.push(Bytes::from_static(&[255, 255, 255, 1]));

        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.partial.capacity() <= EAGER + PREFIX_LEN);
    }

    #[test]
    fn frame_that_came_in_parts_takes_no_more_than_its_length() {
        let bytes = frame(&[1; 200_000]);
        for step in [1000, 65_536, 199_999] {
            let mut framer = Framer::new(MAX_BODY);
            let mut body = None;
            for piece in bytes.chunks(step) {
                framer.push(Bytes::copy_from_slice(piece));
                body = body.or(framer.next_frame().unwrap());
            }

            assert_eq!(
                body.map(|body| (body.len(), body.capacity())),
                Some((200_000, 200_000)),
                "pieces of {step} bytes"
            );
        }
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = body.len().to_le_bytes()[..PREFIX_LEN].to_vec();
        frame.extend_from_slice(body);
        frame
    }
}
