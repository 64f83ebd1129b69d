//! What waits for a client: frames, and bytes of streams, which are put into messages when they leave.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::window::FRAME_COST;
use crate::collections::BTreeMap;
use crate::dht::ConnectionId;

/// What waits for a client, in the order in which it leaves. Bytes of a stream join those of it that wait already, wherever
/// they stand: a peer that sends by the byte, on many streams in turn, would otherwise fill memory with what holds them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: VecDeque<Outbound>,
    /// Items that have left.
    left: u64,
    /// The last item of each stream that has one, counted from the first that ever was.
    last: BTreeMap<ConnectionId, u64>,
    /// What the frames take: a pong is a small part of what it is kept in.
    frames: usize,
}

#[derive(Debug)]
pub(super) enum Outbound {
    Frame(Bytes),
    Data(Box<Data>),
}

/// Bytes of a stream that go into one message.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) connection: ConnectionId,
    /// The stream's, for the client.
    pub(super) alias: u32,
    /// In order.
    pub(super) chunks: Vec<Bytes>,
    /// Small pieces after those, joined.
    pub(super) tail: Vec<u8>,
    /// All bytes.
    pub(super) len: usize,
    /// Bytes that the peer may send more once this has left.
    pub(super) credit: usize,
    /// Each chunk is a message of its own.
    pub(super) is_whole: bool,
}

impl Outbox {
    /// Adds a frame.
    pub(super) fn push_frame(&mut self, frame: Bytes) {
        self.frames += frame.len() + FRAME_COST;
        self.items.push_back(Outbound::Frame(frame));
    }

    /// Adds bytes of a stream; whole messages keep their bounds.
    pub(super) fn push_data(
        &mut self,
        connection: ConnectionId,
        alias: u32,
        bytes: Bytes,
        credit: usize,
        is_whole: bool,
    ) {
        let place = self.last.get(&connection).and_then(|at| usize::try_from(at - self.left).ok());
        if let Some(Outbound::Data(data)) = place.and_then(|at| self.items.get_mut(at))
            && data.is_whole == is_whole
            && data.len + bytes.len() <= MAX_DATA
        {
            data.credit += credit;
            data.push(bytes);
            return;
        }
        let mut data =
            Data { connection, alias, chunks: Vec::new(), tail: Vec::new(), len: 0, credit, is_whole };
        data.push(bytes);
        self.last.insert(connection, self.left + self.items.len() as u64);
        self.items.push_back(Outbound::Data(Box::new(data)));
    }

    /// Takes what leaves next.
    pub(super) fn pop(&mut self) -> Option<Outbound> {
        let item = self.items.pop_front()?;
        match &item {
            Outbound::Frame(frame) => self.frames -= frame.len() + FRAME_COST,
            Outbound::Data(data) => {
                if self.last.get(&data.connection) == Some(&self.left) {
                    self.last.remove(&data.connection);
                }
            }
        }
        self.left += 1;
        if self.items.is_empty() && self.items.capacity() > FEW {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Takes the frame that was added last, if that came last.
    pub(super) fn pop_last_frame(&mut self) -> Option<Bytes> {
        let Some(Outbound::Frame(frame)) = self.items.pop_back_if(|item| matches!(item, Outbound::Frame(_)))
        else {
            return None;
        };
        self.frames -= frame.len() + FRAME_COST;
        Some(frame)
    }

    /// Drops the bytes of a stream.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        if self.last.remove(&connection).is_none() {
            return;
        }
        self.items.retain(|item| !matches!(item, Outbound::Data(data) if data.connection == connection));
        for (at, item) in (self.left..).zip(&self.items) {
            if let Outbound::Data(data) = item {
                self.last.insert(data.connection, at);
            }
        }
    }

    /// Returns the length of what leaves next, about.
    pub(super) fn next_len(&self) -> Option<usize> {
        Some(match self.items.front()? {
            Outbound::Frame(bytes) => bytes.len(),
            Outbound::Data(data) => data.len + (2 + data.chunks.len()) * MAX_HEAD,
        })
    }

    /// Returns what the frames take that are no stream's.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Returns what frames take, and the bytes of all streams.
    pub(super) fn queued(&self) -> usize {
        let data = self.items.iter().map(|item| match item {
            Outbound::Frame(_) => 0,
            Outbound::Data(data) => data.len,
        });
        self.frames + data.sum::<usize>()
    }
}

impl Data {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < SMALL && !self.is_whole {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.chunks.push(core::mem::take(&mut self.tail).into());
        }
        self.chunks.push(bytes);
    }
}

/// Most bytes of one data message, so that streams take turns.
const MAX_DATA: usize = 64 * 1024;

/// Most bytes before each chunk of a data message, and before all of them.
const MAX_HEAD: usize = 16;

/// Pieces of fewer bytes are joined.
const SMALL: usize = 512;

/// Items for which room is kept while there are none.
const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_many_streams_in_turn_take_little_more_than_their_number() {
        let mut outbox = Outbox::default();

        for at in 0..300_000_u32 {
            outbox.push_data(
                ConnectionId((at % 3).into()),
                at % 3,
                alloc::vec![at.to_le_bytes()[1]].into(),
                1,
                false,
            );
        }

        assert_eq!(outbox.items.len(), 6);
        let pieces = outbox.items.iter().map(|item| match item {
            Outbound::Data(data) => data.chunks.len(),
            Outbound::Frame(_) => 0,
        });
        assert_eq!(pieces.sum::<usize>(), 0);
        assert_eq!(outbox.queued(), 300_000);
        let mut received = [const { Vec::new() }; 3];
        while let Some(Outbound::Data(data)) = outbox.pop() {
            assert_eq!((data.len, data.credit), (data.tail.len(), data.tail.len()));
            received[data.alias as usize].extend(data.tail);
        }
        let sent = |stream: u32| (0..300_000_u32).filter(move |at| at % 3 == stream);
        for (stream, bytes) in (0..3).zip(received) {
            assert!(bytes.into_iter().eq(sent(stream).map(|at| at.to_le_bytes()[1])));
        }
        assert!(outbox.last.is_empty());
    }

    #[test]
    fn pieces_keep_their_order_and_frames_their_place() {
        let mut outbox = Outbox::default();
        let [one, other] = [ConnectionId(1), ConnectionId(2)];
        let large = Bytes::from(alloc::vec![7; SMALL]);

        outbox.push_data(one, 1, "a".into(), 1, false);
        outbox.push_frame("frame".into());
        outbox.push_data(other, 2, "x".into(), 1, false);
        outbox.push_data(one, 1, large.clone(), SMALL, false);
        outbox.push_data(one, 1, "b".into(), 1, false);
        assert_eq!(outbox.frames(), 5 + FRAME_COST);

        let Some(Outbound::Data(data)) = outbox.pop() else { panic!() };
        assert_eq!((&data.chunks[..], &data.tail[..]), (&["a".into(), large][..], &b"b"[..]));
        assert_eq!((data.len, data.credit), (SMALL + 2, SMALL + 2));
        outbox.push_data(one, 1, "c".into(), 1, false);
        outbox.push_data(other, 2, "y".into(), 1, true);
        assert!(matches!(outbox.pop(), Some(Outbound::Frame(frame)) if frame == "frame"));
        assert_eq!(outbox.frames(), 0);
        outbox.forget(other);
        outbox.push_data(one, 1, "d".into(), 1, false);

        assert!(matches!(outbox.pop(), Some(Outbound::Data(data)) if data.tail == b"cd"));
        assert!(outbox.pop().is_none() && outbox.last.is_empty() && outbox.queued() == 0);
    }
}
