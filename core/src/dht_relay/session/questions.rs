//! Queries of any kind: what the client asks, what nodes answer, and what is written to them.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::backend::Backend;
use super::super::limits::Refusal;
use super::super::queries::{MAX_VALUE, QueryMessage, Question, Reply, SearchEnd, WriteEnd};
use super::{Session, Standing, is_permitted};
use crate::crypto;
use crate::dht::messages::{MutablePut, decode_seq};
use crate::dht::rpc::{self, Answer};
use crate::dht::{OperationId, command, signing};
use crate::time::{Duration, Instant};

/// A query of the client's, until nothing can be written any more.
#[derive(Debug)]
pub(super) struct Asked {
    query: u32,
    command: u64,
    target: [u8; 32],
    may_write: bool,
    /// A value that was found to be one that nodes take, so that the copies for the others are not looked at.
    sound: Option<Bytes>,
    /// When the client has to be done, once the search is over.
    pub(super) expires: Option<Instant>,
}

impl Session {
    pub(super) fn handle_question(
        &mut self,
        message: QueryMessage,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        match message {
            QueryMessage::Ask { query, question } => self.ask(query, question, backend, now),
            QueryMessage::Write { query, reply, command, value } => {
                let is_sent = self.write_value(query, reply, command, value, backend);
                if !is_sent {
                    self.answer(&QueryMessage::Written { query, reply, end: WriteEnd::Refused });
                }
            }
            QueryMessage::Forget { query } => {
                let found = self.asked.iter().find(|(_, asked)| asked.query == query);
                if let Some(operation) = found.map(|(operation, _)| *operation) {
                    self.asked.remove(&operation);
                    backend.cancel(operation);
                }
            }
            QueryMessage::Announce { query, topic, public_key, terms } => {
                self.announce(query, topic, public_key, terms, backend, now);
            }
            // What only a client is told.
            QueryMessage::Reply { .. }
            | QueryMessage::Done { .. }
            | QueryMessage::Written { .. }
            | QueryMessage::Closest { .. }
            | QueryMessage::Reachable { .. }
            | QueryMessage::Caller { .. } => {}
        }
    }

    fn ask(&mut self, query: u32, question: Question, backend: &mut impl Backend, now: Instant) {
        if self.asked.values().any(|other| other.query == query) {
            self.refuse(Refusal::NumberInUse);
            return;
        }
        let refuse = |end| QueryMessage::Done { query, end, closest: Vec::new() };
        if !is_carried(&question) {
            self.answer(&refuse(SearchEnd::Unknown));
            return;
        }
        let has_room = matches!(self.standing, Standing::Admitted)
            && is_permitted(self.permissions.lookup, "lookups", backend)
            && is_permitted(self.permissions.announce || !question.may_write, "announces", backend)
            && self.may_query(backend);
        if !self.allows(has_room, backend, now) || !backend.take_lookup() {
            self.answer(&refuse(SearchEnd::Refused));
            return;
        }
        let Question { command, target, may_write, .. } = question;
        let asked = Asked { query, command, target, may_write, sound: None, expires: None };
        let operation = backend.ask(question);
        self.asked.insert(operation, asked);
    }

    /// Passes a value on, and reports whether it does.
    fn write_value(
        &mut self,
        query: u32,
        reply: u32,
        command: u64,
        value: Bytes,
        backend: &mut impl Backend,
    ) -> bool {
        let found = self.asked.iter_mut().find(|(_, asked)| asked.query == query);
        let Some((operation, asked)) = found.filter(|(_, asked)| asked.may_write) else { return false };
        if asked.sound.as_ref() != Some(&value) {
            if !is_sound(asked, command, &value) {
                return false;
            }
            asked.sound = Some(value.clone());
        }
        backend.write_to_reply(*operation, reply, command, value)
    }

    pub(in super::super) fn replied(&mut self, operation: OperationId, answer: Answer) {
        let Some(query) = self.asked.get(&operation).map(|asked| asked.query) else { return };
        let reply = Reply {
            from: answer.from.into(),
            to: answer.to.into(),
            id: answer.id,
            token: answer.token,
            value: answer.value,
            closer: answer.closer.into_iter().take(MAX_CLOSER).map(Into::into).collect(),
            round_trip: answer.round_trip,
        };
        self.answer(&QueryMessage::Reply { query, reply });
    }

    pub(in super::super) fn asked(
        &mut self,
        operation: OperationId,
        closest: Vec<u32>,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let Some(asked) = self.asked.get_mut(&operation) else { return };
        let query = asked.query;
        if asked.may_write {
            asked.expires = Some(now + WRITE_TIME);
            self.check_by(now + WRITE_TIME);
        } else {
            self.asked.remove(&operation);
            backend.cancel(operation);
        }
        self.answer(&QueryMessage::Done { query, end: SearchEnd::Over, closest });
    }

    pub(in super::super) fn written(&mut self, operation: OperationId, reply: u32, error: Option<u64>) {
        let Some(query) = self.asked.get(&operation).map(|asked| asked.query) else { return };
        let end = error.map_or(WriteEnd::Silent, WriteEnd::Answered);
        self.answer(&QueryMessage::Written { query, reply, end });
    }

    pub(super) fn answer(&mut self, message: &QueryMessage) {
        if let Some(channel) = self.questions {
            self.mux.send_encoded(channel, message.message_type(), message);
            self.collect();
        }
    }
}

/// Whether a question is one that harms nobody: it changes nothing, and its argument is small.
fn is_carried(question: &Question) -> bool {
    let Question { is_internal, may_write, command, value, .. } = question;
    match (is_internal, *command) {
        (true, rpc::command::FIND_NODE) | (false, command::FIND_PEER | command::LOOKUP) => {
            value.is_none() && !may_write
        }
        (false, command::IMMUTABLE_GET) => value.is_none(),
        (false, command::MUTABLE_GET) => {
            value.as_ref().is_some_and(|value| value.len() <= MAX_SEQ_LEN && decode_seq(value).is_ok())
        }
        _ => false,
    }
}

/// Whether nodes would take a value under the target of a query.
fn is_sound(asked: &Asked, command: u64, value: &[u8]) -> bool {
    if value.len() > MAX_VALUE {
        return false;
    }
    match (asked.command, command) {
        (command::IMMUTABLE_GET, command::IMMUTABLE_PUT) => crypto::blake2b_256(&[value]) == asked.target,
        (command::MUTABLE_GET, command::MUTABLE_PUT) => MutablePut::decode(value).is_ok_and(|put| {
            crypto::blake2b_256(&[&put.public_key]) == asked.target
                && signing::verify_mutable(&put.signature, put.seq, &put.value, &put.public_key)
        }),
        _ => false,
    }
}

/// How long a client has to write, once the search is over: longer than tokens are good for.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Closer nodes of one reply that are passed on (dht-rpc `K`).
const MAX_CLOSER: usize = 20;

/// Bytes of the largest number.
const MAX_SEQ_LEN: usize = 9;
