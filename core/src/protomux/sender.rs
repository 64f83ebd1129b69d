//! Turns messages into frames, one each or many in a batch.

use alloc::collections::VecDeque;

use super::codec::{BATCH, CONTROL, open_len, put_open};
use crate::compact_encoding::{Writer, uint_len};
use crate::secret_stream::Outgoing;

#[derive(Debug, Default)]
pub(super) struct Sender {
    corked: u32,
    /// What was collected while corked, and the channel of its last item.
    batch: Option<(Outgoing, u64)>,
    /// Frames to send. Bounded by what the owner sends before it polls.
    frames: VecDeque<Outgoing>,
    /// Bytes in `frames`.
    queued: usize,
}

impl Sender {
    pub(super) fn cork(&mut self) {
        self.corked += 1;
    }

    pub(super) fn uncork(&mut self) {
        self.corked = self.corked.saturating_sub(1);
        if self.corked == 0 {
            self.flush();
        }
    }

    pub(super) fn poll(&mut self) -> Option<Outgoing> {
        let frame = self.frames.pop_front()?;
        self.queued -= frame.len();
        Some(frame)
    }

    pub(super) fn queued(&self) -> usize {
        self.queued + self.batch.as_ref().map_or(0, |(batch, _)| batch.len())
    }

    /// Writes a control message that only names an id.
    pub(super) fn control(&mut self, message_type: u64, id: u64) {
        self.message(CONTROL, message_type, uint_len(id), |writer| writer.uint(id));
    }

    pub(super) fn open(&mut self, id: u64, protocol: &str, key: &[u8], handshake: &[u8]) {
        let len = open_len(id, protocol, key, handshake);
        self.item(CONTROL, len, |writer| put_open(writer, id, protocol, key, handshake));
    }

    pub(super) fn message(
        &mut self,
        channel: u64,
        message_type: u64,
        len: usize,
        write: impl FnOnce(&mut Writer),
    ) {
        self.item(channel, uint_len(message_type) + len, |writer| {
            writer.uint(message_type);
            write(writer);
        });
    }

    /// Writes `len` bytes, from the type on, as a frame or as an item of the batch.
    fn item(&mut self, channel: u64, len: usize, write: impl FnOnce(&mut Writer)) {
        if self.corked == 0 {
            let mut frame = Outgoing::with_capacity(uint_len(channel) + len);
            frame.writer().uint(channel);
            write_exactly(frame.writer(), len, write);
            self.push(frame);
            return;
        }
        let is_full = |batch: &Outgoing| batch.len() + len + MAX_ITEM_HEAD > MAX_BATCH;
        if self.batch.as_ref().is_some_and(|(batch, _)| is_full(batch)) {
            self.flush();
        }
        let (batch, last) = self.batch.get_or_insert_with(|| {
            let mut batch = Outgoing::with_capacity(MAX_ITEM_HEAD + len);
            let writer = batch.writer();
            writer.uint(CONTROL);
            writer.uint(BATCH);
            writer.uint(channel);
            (batch, channel)
        });
        let writer = batch.writer();
        if *last != channel {
            writer.uint(0);
            writer.uint(channel);
            *last = channel;
        }
        writer.uint(len as u64);
        write_exactly(writer, len, write);
    }

    fn flush(&mut self) {
        if let Some((batch, _)) = self.batch.take() {
            self.push(batch);
        }
    }

    fn push(&mut self, frame: Outgoing) {
        self.queued += frame.len();
        self.frames.push_back(frame);
    }
}

fn write_exactly(writer: &mut Writer, len: usize, write: impl FnOnce(&mut Writer)) {
    let start = writer.as_slice().len();
    write(writer);
    debug_assert_eq!(writer.as_slice().len() - start, len, "the length was promised");
}

/// Longest batch of several items. Upstream gathers up to 8 MiB; but what is this small is sealed, sent and opened while the next
/// is made, and stays in a near cache meanwhile.
pub(super) const MAX_BATCH: usize = 64 * 1024;

/// Most bytes that an item has in front of its type: the switch of channel and the length; also those of a batch.
const MAX_ITEM_HEAD: usize = 32;
