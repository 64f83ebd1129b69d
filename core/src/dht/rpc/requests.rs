//! Requests of ours that wait for an answer: sending, repeating, matching, giving up.
//!
//! Source: dht-rpc 6.27, `lib/io.js`. Unlike there a reply must also come from the address that was asked,
//! since a transaction number of 16 bits can be guessed; and what waits for room leaves with the answer that makes it, not
//! with the next slot of the window, which is up to 750 ms later.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{NodeId, Request, SendWindow, SocketId, Token, Transmit};
use crate::collections::{BTreeMap, BTreeSet};
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// Names one request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Who is asked.
    pub to: Address,
    /// Socket to ask from.
    pub socket: SocketId,
    /// Whether `command` is one of dht-rpc itself.
    pub internal: bool,
    /// What to do.
    pub command: u64,
    /// What it is about.
    pub target: Option<[u8; 32]>,
    /// Token that `to` gave us.
    pub token: Option<Token>,
    /// Argument of the command.
    pub value: Option<Bytes>,
    /// How often the request is repeated without an answer.
    pub retries: u32,
    /// Time for one try.
    pub timeout: Duration,
}

impl Outgoing {
    /// Describes a request with the usual three repetitions of one second.
    pub fn new(socket: SocketId, to: Address, internal: bool, command: u64) -> Self {
        Self {
            to,
            socket,
            internal,
            command,
            target: None,
            token: None,
            value: None,
            retries: RETRIES,
            timeout: TRY_TIMEOUT,
        }
    }
}

/// What time did to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// The first try is late; the request goes on.
    Slow(RequestId),
    /// It is over without an answer.
    TimedOut(RequestId, Address),
}

/// The request that an arriving reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Our request.
    pub id: RequestId,
    /// Time since its last sending.
    pub round_trip: Duration,
}

/// Every request in flight of one node.
#[derive(Debug)]
pub struct Requests {
    in_flight: BTreeMap<RequestId, InFlight>,
    by_number: BTreeMap<(u16, Address), RequestId>,
    /// Requests that wait for room in the window, oldest first.
    waiting: VecDeque<RequestId>,
    timers: BTreeSet<(Instant, RequestId)>,
    window: SendWindow,
    next_id: u64,
    next_number: u16,
}

#[derive(Debug)]
struct InFlight {
    number: u16,
    to: Address,
    socket: SocketId,
    bytes: Bytes,
    tries: u32,
    retries: u32,
    timeout: Duration,
    sent_at: Instant,
    due: Option<Instant>,
}

impl Requests {
    /// Creates an empty set whose first request is numbered `first_number`.
    pub fn new(first_number: u16, now: Instant) -> Self {
        Self {
            in_flight: BTreeMap::new(),
            by_number: BTreeMap::new(),
            waiting: VecDeque::new(),
            timers: BTreeSet::new(),
            window: SendWindow::new(now),
            next_id: 0,
            next_number: first_number,
        }
    }

    /// Returns the number of unanswered requests.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Reports whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Sends a request, now or when the window has room. One too many times out without being sent.
    pub fn start(
        &mut self,
        outgoing: Outgoing,
        own_id: Option<NodeId>,
        now: Instant,
        out: &mut VecDeque<Transmit>,
    ) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let number = self.free_number(outgoing.to);
        let request = Request {
            tid: number,
            to: outgoing.to,
            id: own_id,
            token: outgoing.token,
            internal: outgoing.internal,
            command: outgoing.command,
            target: outgoing.target,
            value: outgoing.value,
        };
        let is_refused = self.in_flight.len() >= MAX_IN_FLIGHT;
        self.in_flight.insert(
            id,
            InFlight {
                number,
                to: outgoing.to,
                socket: outgoing.socket,
                bytes: request.encode(),
                tries: if is_refused { u32::MAX } else { 0 },
                retries: outgoing.retries,
                timeout: outgoing.timeout,
                sent_at: now,
                due: None,
            },
        );
        self.by_number.insert((number, outgoing.to), id);
        if is_refused {
            self.arm(id, now);
        } else {
            self.window.advance(now);
            self.send_or_wait(id, now, out);
        }
        id
    }

    /// Takes the request out that a reply with this number from this address answers, and sends what waited for that.
    pub fn answer(
        &mut self,
        number: u16,
        from: Address,
        now: Instant,
        out: &mut VecDeque<Transmit>,
    ) -> Option<Answered> {
        let id = *self.by_number.get(&(number, from))?;
        let request = self.take(id)?;
        self.send_waiting(now, out);
        Some(Answered { id, round_trip: now.duration_since(request.sent_at) })
    }

    /// Forgets a request.
    pub fn cancel(&mut self, id: RequestId) {
        self.take(id);
    }

    /// Repeats what is late, sends what waited, and returns what is slow or over.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<Lapse> {
        let mut lapses = Vec::new();
        self.window.advance(now);
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, id));
            let Some(request) = self.in_flight.get_mut(&id) else { continue };
            request.due = None;
            if request.tries > request.retries {
                let to = request.to;
                self.take(id);
                lapses.push(Lapse::TimedOut(id, to));
            } else {
                if request.tries == 1 {
                    lapses.push(Lapse::Slow(id));
                }
                self.send_or_wait(id, now, out);
            }
        }
        self.send_waiting(now, out);
        lapses
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let slot = (!self.waiting.is_empty()).then(|| self.window.next_slot());
        timer.into_iter().chain(slot).min()
    }

    fn send_waiting(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        while !self.window.is_full()
            && let Some(id) = self.waiting.pop_front()
        {
            self.send_now(id, now, out);
        }
    }

    fn send_or_wait(&mut self, id: RequestId, now: Instant, out: &mut VecDeque<Transmit>) {
        if self.window.is_full() {
            self.waiting.push_back(id);
        } else {
            self.send_now(id, now, out);
        }
    }

    fn send_now(&mut self, id: RequestId, now: Instant, out: &mut VecDeque<Transmit>) {
        let Some(request) = self.in_flight.get_mut(&id) else { return };
        request.tries = request.tries.saturating_add(1);
        request.sent_at = now;
        let (socket, to, bytes, due) =
            (request.socket, request.to, request.bytes.clone(), now + request.timeout);
        self.window.sent();
        out.push_back(Transmit::single(socket, to, bytes));
        self.arm(id, due);
    }

    fn arm(&mut self, id: RequestId, at: Instant) {
        if let Some(request) = self.in_flight.get_mut(&id) {
            if let Some(old) = request.due.replace(at) {
                self.timers.remove(&(old, id));
            }
            self.timers.insert((at, id));
        }
    }

    fn take(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.in_flight.remove(&id)?;
        if let Some(at) = request.due {
            self.timers.remove(&(at, id));
        }
        self.by_number.remove(&(request.number, request.to));
        if (1..u32::MAX).contains(&request.tries) {
            self.window.answered();
        }
        Some(request)
    }

    /// Counts up to a number that is not in use towards `to`.
    fn free_number(&mut self, to: Address) -> u16 {
        for _ in 0..=u16::MAX {
            let number = self.next_number;
            self.next_number = self.next_number.wrapping_add(1);
            if !self.by_number.contains_key(&(number, to)) {
                return number;
            }
        }
        self.next_number
    }
}

/// Repetitions of a request (dht-rpc `Request`): four sendings in all.
pub const RETRIES: u32 = 3;

/// Time for one try without adaptive timeouts (dht-rpc `_sendNow`).
pub const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// Most requests in flight; with one per second and peer far more than a node ever has.
const MAX_IN_FLIGHT: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_repeated_with_equal_bytes_and_then_given_up() {
        let (mut requests, mut out) = (Requests::new(7, Instant::EPOCH), VecDeque::new());

        let id = requests.start(ping(1), None, Instant::EPOCH, &mut out);
        let mut lapses = Vec::new();
        while let Some(at) = requests.poll_timeout() {
            lapses.extend(requests.handle_timeout(at, &mut out));
        }

        assert_eq!(lapses, [Lapse::Slow(id), Lapse::TimedOut(id, peer(1))]);
        assert_eq!(out.len(), 4);
        assert!(out.iter().all(|sent| sent.bytes == out[0].bytes));
    }

    #[test]
    fn reply_from_another_address_answers_nothing() {
        let (mut requests, mut out) = (Requests::new(7, Instant::EPOCH), VecDeque::new());

        let id = requests.start(ping(1), None, Instant::EPOCH, &mut out);

        assert_eq!(requests.answer(7, peer(2), Instant::EPOCH, &mut out), None);
        assert_eq!(requests.answer(8, peer(1), Instant::EPOCH, &mut out), None);
        assert_eq!(
            requests.answer(7, peer(1), Instant::EPOCH, &mut out).map(|answered| answered.id),
            Some(id)
        );
        assert_eq!(requests.answer(7, peer(1), Instant::EPOCH, &mut out), None);
    }

    #[test]
    fn request_waits_for_room_in_the_window() {
        let (mut requests, mut out) = (Requests::new(7, Instant::EPOCH), VecDeque::new());

        for port in 1..=81 {
            requests.start(ping(port), None, Instant::EPOCH, &mut out);
        }
        let at_once = out.len();
        let at = requests.poll_timeout().unwrap();
        requests.handle_timeout(at, &mut out);

        assert_eq!((at_once, out.len()), (80, 81));
    }

    #[test]
    fn an_answer_makes_room_for_who_waits() {
        let (mut requests, mut out) = (Requests::new(7, Instant::EPOCH), VecDeque::new());
        for port in 1..=82 {
            requests.start(ping(port), None, Instant::EPOCH, &mut out);
        }

        requests.answer(7, peer(1), Instant::EPOCH, &mut out);

        assert_eq!((out.len(), out.back().map(|sent| sent.to)), (81, Some(peer(81))));
    }

    fn peer(port: u16) -> Address {
        Address::new([127, 0, 0, 1], port)
    }

    fn ping(port: u16) -> Outgoing {
        Outgoing::new(SocketId::CLIENT, peer(port), true, 0)
    }
}
