//! Queries of any kind and values, at a relay that carries them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddrV4;

use bytes::Bytes;

use super::super::messages::Message;
use super::super::next_number;
use super::super::queries::{AnnounceTerms, Greeting, QueryMessage, Question, SearchEnd};
use super::{Client, ClientEvent, Failure, QUERY_TIMEOUT, QueryError, QueryId};
use crate::collections::BTreeMap;
use crate::time::Instant;

/// What is asked of a relay beyond upstream's protocol.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Whether the relay takes questions; `None` while it has not said so.
    is_open: Option<bool>,
    /// The relay is of use only once it has said so.
    is_awaited: bool,
    /// What the relay said of itself; nothing from one that does not know of terms.
    greeting: Option<Greeting>,
    /// Where somebody is whose handshake comes next.
    caller: Option<(u32, SocketAddrV4)>,
    asked: BTreeMap<u32, Asked>,
    outbox: VecDeque<QueryMessage>,
}

#[derive(Debug)]
struct Asked {
    may_write: bool,
    /// `None` once the search is over.
    expires: Option<Instant>,
}

impl Questions {
    pub(super) fn expires(&self) -> impl Iterator<Item = Instant> + '_ {
        self.asked.values().filter_map(|asked| asked.expires)
    }
}

impl Client {
    /// Asks the nodes closest to a target something: [`ClientEvent::Reply`] for each answer, then
    /// [`ClientEvent::Closest`], or [`ClientEvent::QueryFailed`]. One that may write lasts until it is
    /// [forgotten](Self::forget_question).
    pub fn ask(&mut self, question: Question, now: Instant) -> QueryId {
        let query = next_number(&mut self.last_number);
        let refusal = match (self.failure, self.questions.is_open) {
            (Some(_), _) => Some(QueryError::LinkClosed),
            (None, Some(false)) => Some(QueryError::NotSupported),
            _ => None,
        };
        if let Some(error) = refusal {
            self.events.push_back(ClientEvent::QueryFailed { query: QueryId(query), error });
            return QueryId(query);
        }
        let asked = Asked { may_write: question.may_write, expires: Some(now + QUERY_TIMEOUT) };
        self.questions.asked.insert(query, asked);
        self.questions.outbox.push_back(QueryMessage::Ask { query, question });
        QueryId(query)
    }

    /// Writes to a node whose reply is among the closest: [`ClientEvent::Written`] follows, unless the question is
    /// over.
    pub fn write_to_reply(&mut self, query: QueryId, reply: u32, command: u64, value: Bytes) {
        if self.questions.asked.contains_key(&query.0) {
            let message = QueryMessage::Write { query: query.0, reply, command, value };
            self.questions.outbox.push_back(message);
        }
    }

    /// Gives a question up: no event comes for it any more.
    pub fn forget_question(&mut self, query: QueryId) {
        if self.questions.asked.remove(&query.0).is_some() {
            self.questions.outbox.push_back(QueryMessage::Forget { query: query.0 });
        }
    }

    /// Announces on terms that upstream's protocol has no words for; false where that is left to do.
    pub(super) fn announce_on(
        &mut self,
        query: u32,
        topic: [u8; 32],
        public_key: [u8; 32],
        terms: AnnounceTerms,
    ) -> bool {
        let has_no_words = self.questions.is_open.is_some() && self.questions.greeting.is_none();
        if has_no_words || terms == AnnounceTerms::default() {
            return false;
        }
        self.questions.outbox.push_back(QueryMessage::Announce { query, topic, public_key, terms });
        true
    }

    /// Waits with [`ClientEvent::Ready`] for what the relay says about questions.
    pub fn await_questions(&mut self) {
        self.questions.is_awaited = true;
    }

    /// Notes that the relay takes questions, and what it says of itself.
    pub fn handle_questions(&mut self, handshake: &[u8]) {
        match Greeting::decode(handshake) {
            Ok(greeting) => self.questions.greeting = greeting,
            Err(error) => return self.fail(Failure::Malformed(error)),
        }
        self.questions.is_open = Some(true);
        if self.questions.greeting.is_none() {
            self.announce_plainly();
        }
        self.tell_ready();
    }

    /// Notes that the relay takes no questions.
    pub fn handle_no_questions(&mut self) {
        self.questions.is_open = Some(false);
        self.questions.greeting = None;
        self.announce_plainly();
        self.end_questions(QueryError::NotSupported);
        self.tell_ready();
    }

    /// Announces without terms what waits for a relay that has no words for them.
    fn announce_plainly(&mut self) {
        for message in core::mem::take(&mut self.questions.outbox) {
            if let QueryMessage::Announce { query, topic, public_key, .. } = message {
                self.send(Message::Announce { query, topic, public_key, secret_key: None });
            } else {
                self.questions.outbox.push_back(message);
            }
        }
    }

    /// Says once that the relay is there.
    pub(super) fn tell_ready(&mut self) {
        let is_answered = !self.questions.is_awaited || self.questions.is_open.is_some();
        if self.is_open && !self.is_ready && is_answered && self.failure.is_none() {
            self.is_ready = true;
            let address = self.questions.greeting.map(|greeting| greeting.address);
            self.events.push_back(ClientEvent::Ready { address });
        }
    }

    /// Returns where somebody is who asks to connect, from a relay that has said so.
    pub(super) fn caller(&mut self, handshake: u32) -> Option<SocketAddrV4> {
        self.questions.caller.take().filter(|(id, _)| *id == handshake).map(|(_, address)| address)
    }

    /// Takes a message of the channel of [`QUERY_PROTOCOL`](super::super::queries::QUERY_PROTOCOL).
    pub fn handle_question_message(&mut self, message_type: u64, payload: &Bytes, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.heard = now;
        match QueryMessage::decode(message_type, payload) {
            Ok(Some(message)) => self.handle_answer(message),
            Ok(None) => {}
            Err(error) => self.fail(Failure::Malformed(error)),
        }
    }

    /// Returns what the relay is to be told next in that channel; nothing before it is open.
    pub fn poll_question(&mut self) -> Option<QueryMessage> {
        if self.questions.is_open == Some(true) { self.questions.outbox.pop_front() } else { None }
    }

    fn handle_answer(&mut self, message: QueryMessage) {
        let asked = &mut self.questions.asked;
        let event = match message {
            QueryMessage::Reply { query, reply } if asked.contains_key(&query) => {
                ClientEvent::Reply { query: QueryId(query), reply }
            }
            QueryMessage::Done { query, end, closest } => {
                let mut error = match end {
                    SearchEnd::Over => None,
                    SearchEnd::Refused => Some(QueryError::Refused),
                    SearchEnd::Unknown => Some(QueryError::NotSupported),
                };
                if let Some(state) = asked.get_mut(&query) {
                    state.expires = None;
                    if error.is_some() || !state.may_write {
                        asked.remove(&query);
                    }
                } else if self.queries.remove(&query).is_some() {
                    // A query in upstream's words has an end of its own, which does not say that it was turned down: this does.
                    error = Some(QueryError::Refused);
                } else {
                    return;
                }
                match error {
                    Some(error) => ClientEvent::QueryFailed { query: QueryId(query), error },
                    None => ClientEvent::Closest { query: QueryId(query), closest },
                }
            }
            QueryMessage::Written { query, reply, end } if asked.contains_key(&query) => {
                ClientEvent::Written { query: QueryId(query), reply, end }
            }
            QueryMessage::Closest { query, nodes } if self.queries.contains_key(&query) => {
                ClientEvent::ClosestNodes { query: QueryId(query), nodes }
            }
            QueryMessage::Reachable { server, nodes } => {
                if let Some(state) = self.servers.get_mut(&server) {
                    state.nodes = nodes;
                }
                return;
            }
            QueryMessage::Caller { handshake, address } => {
                self.questions.caller = Some((handshake, address));
                return;
            }
            // What is over, and what only a relay is told.
            _ => return,
        };
        self.events.push_back(event);
    }

    pub(super) fn expire_questions(&mut self, now: Instant) {
        let is_late = |asked: &Asked| asked.expires.is_some_and(|at| at <= now);
        let late = self.questions.asked.iter().filter(|(_, asked)| is_late(asked)).map(|(query, _)| *query);
        for query in late.collect::<Vec<_>>() {
            self.forget_question(QueryId(query));
            let error = QueryError::TimedOut;
            self.events.push_back(ClientEvent::QueryFailed { query: QueryId(query), error });
        }
    }

    /// Ends all questions.
    pub(super) fn end_questions(&mut self, error: QueryError) {
        self.questions.outbox.clear();
        for query in core::mem::take(&mut self.questions.asked).into_keys() {
            self.events.push_back(ClientEvent::QueryFailed { query: QueryId(query), error });
        }
    }
}
