//! Requests in flight and their ids.
//!
//! Ids are shared by all peers: the most recently freed one, else the next. An answered request frees
//! its id. A cancelled one does so only when a request that was sent later, to the same peer, has been
//! answered: until then the answer to the cancelled one may still arrive.
//!
//! Source: hypercore 11.35, `lib/replicator.js`, `InflightTracker` and `RoundtripQueue`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::collections::BTreeMap;
use crate::time::Instant;

use super::types::{PeerId, WishId};

/// Names a request for as long as anything refers to it, longer than its id on the wire is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey(u64);

/// A request that was sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) peer: PeerId,
    /// Its id on the wire.
    pub(super) id: u64,
    pub(super) fork: u64,
    pub(super) block: Option<u64>,
    /// A tree index.
    pub(super) hash: Option<u64>,
    /// A byte offset.
    pub(super) seek: Option<u64>,
    pub(super) upgrade: bool,
    /// The seek that it serves.
    pub(super) seek_wish: Option<WishId>,
    /// The fork whose search it serves.
    pub(super) reorg: Option<u64>,
    pub(super) sent_at: Instant,
    /// Cancels at the peer that came before it.
    tick: u64,
    /// Whether the answer is still to come.
    is_open: bool,
}

impl Request {
    pub(super) fn new(peer: PeerId, fork: u64, now: Instant) -> Self {
        Self {
            peer,
            id: 0,
            fork,
            block: None,
            hash: None,
            seek: None,
            upgrade: false,
            seek_wish: None,
            reorg: None,
            sent_at: now,
            tick: 0,
            is_open: true,
        }
    }
}

/// All requests of one replicator.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: BTreeMap<RequestKey, Request>,
    /// By id, minus one. Bounded by the most that were in flight or cancelled at once.
    by_id: Vec<Option<RequestKey>>,
    free: Vec<u64>,
    open: usize,
    next_key: u64,
}

impl Requests {
    /// Whether no answer is awaited.
    pub(super) fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Records a request that is about to be sent and gives it an id.
    pub(super) fn start(&mut self, mut request: Request, cancelled: &Cancelled) -> RequestKey {
        let key = RequestKey(self.next_key);
        self.next_key += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.by_id.push(None);
            self.by_id.len() as u64
        });
        request.id = id;
        request.tick = cancelled.tick;
        if let Some(slot) = slot(id).and_then(|slot| self.by_id.get_mut(slot)) {
            *slot = Some(key);
        }
        self.entries.insert(key, request);
        self.open += 1;
        key
    }

    pub(super) fn get(&self, key: RequestKey) -> Option<&Request> {
        self.entries.get(&key)
    }

    /// Finds the request of a peer that an answer refers to.
    pub(super) fn find(&self, peer: PeerId, id: u64) -> Option<RequestKey> {
        let key = (*self.by_id.get(slot(id)?)?)?;
        (self.entries.get(&key)?.peer == peer).then_some(key)
    }

    /// Notes the answer to a request, or the loss of its peer: its id is free again, and so are those of
    /// requests cancelled before it was sent. Returns false when it was over already.
    pub(super) fn answered(&mut self, key: RequestKey, cancelled: &mut Cancelled) -> bool {
        let Some((id, tick)) = self.close(key) else { return false };
        self.free.push(id);
        cancelled.release(tick, &mut self.free);
        true
    }

    /// Notes that a request is taken back. Returns its id, to be sent, unless it was over already.
    pub(super) fn cancelled(&mut self, key: RequestKey, cancelled: &mut Cancelled) -> Option<u64> {
        let (id, _) = self.close(key)?;
        cancelled.tick += 1;
        cancelled.ids.push_back((cancelled.tick, id));
        Some(id)
    }

    fn close(&mut self, key: RequestKey) -> Option<(u64, u64)> {
        let request = self.entries.get_mut(&key).filter(|request| request.is_open)?;
        request.is_open = false;
        self.open -= 1;
        let (id, tick) = (request.id, request.tick);
        if let Some(slot) = slot(id).and_then(|slot| self.by_id.get_mut(slot)) {
            *slot = None;
        }
        Some((id, tick))
    }

    /// Forgets a request that is over and that nothing refers to any more.
    pub(super) fn forget(&mut self, key: RequestKey) -> Option<Request> {
        self.entries.remove(&key)
    }

    /// Frees the ids that wait for an answer of a peer that is gone, and returns its open requests.
    pub(super) fn peer_gone(&mut self, peer: PeerId, cancelled: &mut Cancelled) -> Vec<RequestKey> {
        cancelled.release(u64::MAX, &mut self.free);
        let open = self.by_id.iter().flatten();
        open.copied()
            .filter(|key| self.entries.get(key).is_some_and(|request| request.peer == peer))
            .collect()
    }
}

/// The cancelled requests of one peer whose answers may still arrive.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    tick: u64,
    /// By tick, oldest first. Bounded by requests in flight: while no answer comes, none are sent.
    ids: VecDeque<(u64, u64)>,
}

impl Cancelled {
    fn release(&mut self, tick: u64, free: &mut Vec<u64>) {
        while let Some((_, id)) = self.ids.pop_front_if(|(at, _)| *at <= tick) {
            free.push(id);
        }
    }
}

fn slot(id: u64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(1);

    #[test]
    fn an_answer_frees_the_id_for_the_next_request() {
        let (mut requests, mut cancelled) = (Requests::default(), Cancelled::default());

        let first = start(&mut requests, &cancelled);
        let second = start(&mut requests, &cancelled);
        assert_eq!((first.1, second.1), (1, 2));
        assert!(requests.answered(first.0, &mut cancelled));
        assert!(!requests.answered(first.0, &mut cancelled));

        assert_eq!(start(&mut requests, &cancelled).1, 1);
        assert_eq!(requests.find(PEER, 2), Some(second.0));
        assert_eq!(requests.find(PeerId(2), 2), None);
        assert_eq!(requests.find(PEER, 0), None);
        assert_eq!(requests.find(PEER, u64::MAX), None);
    }

    #[test]
    fn a_cancelled_id_waits_for_the_answer_to_a_later_request() {
        let (mut requests, mut cancelled) = (Requests::default(), Cancelled::default());
        let first = start(&mut requests, &cancelled);
        let second = start(&mut requests, &cancelled);

        assert_eq!(requests.cancelled(first.0, &mut cancelled), Some(1));
        assert_eq!(requests.cancelled(first.0, &mut cancelled), None);
        assert_eq!(requests.find(PEER, 1), None);
        let third = start(&mut requests, &cancelled);
        assert_eq!(third.1, 3);
        requests.answered(second.0, &mut cancelled);
        assert_eq!(start(&mut requests, &cancelled).1, 2);
        requests.answered(third.0, &mut cancelled);

        assert_eq!(start(&mut requests, &cancelled).1, 1);
        assert_eq!(start(&mut requests, &cancelled).1, 3);
    }

    #[test]
    fn losing_the_peer_frees_every_id() {
        let (mut requests, mut cancelled) = (Requests::default(), Cancelled::default());
        let first = start(&mut requests, &cancelled);
        let second = start(&mut requests, &cancelled);
        requests.cancelled(first.0, &mut cancelled);

        let open = requests.peer_gone(PEER, &mut cancelled);
        assert_eq!(open, [second.0]);
        for key in open {
            requests.answered(key, &mut cancelled);
        }

        assert!(requests.is_idle());
        let mut ids = [start(&mut requests, &cancelled).1, start(&mut requests, &cancelled).1];
        ids.sort_unstable();
        assert_eq!(ids, [1, 2]);
    }

    fn start(requests: &mut Requests, cancelled: &Cancelled) -> (RequestKey, u64) {
        let key = requests.start(Request::new(PEER, 0, Instant::EPOCH), cancelled);
        (key, requests.get(key).unwrap().id)
    }
}
