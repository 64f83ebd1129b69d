//! Operations on the DHT: a query, and for writes a commit to each of its closest replies.
//!
//! Source: hyperdht 6.33, `index.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use super::context::{Context, Purpose, QueryOwner, Write};
use super::events::{Event, Finished, LookupReply, OperationError, OperationId, Signee};
use super::messages::{self, MutableGet, MutablePut, Peer};
use super::noise_seat::Identity;
use super::query::{QueryId, QueryOptions};
use super::rpc::Answer;
use super::{command, signing};
use crate::crypto;
use crate::time::Instant;
use crate::udx::Address;

/// What an operation does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Searches the records of a server.
    FindPeer { public_key: [u8; 32] },
    /// Searches the records of a topic.
    Lookup,
    /// Stores a record; with `is_clearing`, older ones of the same key are removed first.
    Announce { identity: Identity, relay_addresses: Vec<Address>, bump: u64, is_clearing: bool },
    /// Removes the records of a key.
    Unannounce { identity: Identity },
    /// Searches the value with the target as hash.
    ImmutableGet,
    /// Stores it.
    ImmutablePut { value: Bytes },
    /// Searches the value of a key; the newest of all replies, or the first that is new enough.
    MutableGet { public_key: [u8; 32], seq: u64, is_latest: bool },
    /// Stores it.
    MutablePut { value: Bytes },
    /// Asks what the owner says, and lasts until the owner cancels it.
    Ask { is_internal: bool, command: u64, value: Option<Bytes> },
}

/// One running operation.
#[derive(Debug)]
pub(crate) struct Operation {
    id: OperationId,
    target: [u8; 32],
    kind: Kind,
    query: Option<QueryId>,
    /// Replies to commit to, once the unannounces before them are over.
    closest: Option<Vec<Answer>>,
    is_committing: bool,
    unannounces: usize,
    commits: usize,
    successes: usize,
    refusal: Option<u64>,
    best: Option<MutableGet>,
    /// Who replied, in turn, where the owner names replies by their numbers.
    replied: Vec<Address>,
}

impl Operation {
    /// Starts the query.
    pub(crate) fn new(
        id: OperationId,
        target: [u8; 32],
        kind: Kind,
        context: &mut Context,
        now: Instant,
    ) -> Self {
        let (command, value) = match &kind {
            Kind::FindPeer { .. } => (command::FIND_PEER, None),
            Kind::Lookup | Kind::Announce { .. } | Kind::Unannounce { .. } => (command::LOOKUP, None),
            Kind::ImmutableGet | Kind::ImmutablePut { .. } => (command::IMMUTABLE_GET, None),
            Kind::MutableGet { seq, .. } => (command::MUTABLE_GET, Some(messages::encode_seq(*seq))),
            Kind::MutablePut { .. } => (command::MUTABLE_GET, Some(messages::encode_seq(0))),
            Kind::Ask { command, value, .. } => (*command, value.clone()),
        };
        let internal = matches!(kind, Kind::Ask { is_internal: true, .. });
        let options = QueryOptions { value, internal, ..QueryOptions::new(target, command) };
        let query = context.query(options, QueryOwner::Operation(id), now);
        Self {
            id,
            target,
            kind,
            query: Some(query),
            closest: None,
            is_committing: false,
            unannounces: 0,
            commits: 0,
            successes: 0,
            refusal: None,
            best: None,
            replied: Vec::new(),
        }
    }

    /// Returns topic and key of an unannounce, which hold for this node's own store as well.
    pub(crate) fn forgets(&self) -> Option<([u8; 32], [u8; 32])> {
        match &self.kind {
            Kind::Unannounce { identity } | Kind::Announce { identity, is_clearing: true, .. } => {
                Some((self.target, identity.public_key()))
            }
            _ => None,
        }
    }

    /// Takes a reply of the query; returns whether the operation is over.
    pub(crate) fn reply(&mut self, answer: &Answer, context: &mut Context, now: Instant) -> bool {
        if let Kind::Ask { .. } = self.kind {
            self.replied.push(answer.from);
            context.events.push_back(Event::Reply { operation: self.id, answer: answer.clone() });
            return false;
        }
        let Some(value) = &answer.value else { return false };
        match &self.kind {
            Kind::FindPeer { public_key } => {
                if let Ok(peer) = Peer::decode(value)
                    && peer.public_key == *public_key
                {
                    context.events.push_back(Event::FoundPeer {
                        operation: self.id,
                        from: answer.from,
                        peer,
                    });
                }
                false
            }
            Kind::Lookup | Kind::Announce { .. } | Kind::Unannounce { .. } => {
                self.found(answer, value, context, now);
                false
            }
            Kind::ImmutableGet => {
                let is_it = crypto::blake2b_256(&[value]) == self.target;
                is_it && self.finish(Ok(Finished::Immutable(Some(value.clone()))), context)
            }
            Kind::MutableGet { public_key, seq, is_latest } => {
                let Ok(found) = MutableGet::decode(value) else { return false };
                let is_newer = self.best.as_ref().is_none_or(|best| found.seq > best.seq);
                if found.seq < *seq
                    || !is_newer
                    || !signing::verify_mutable(&found.signature, found.seq, &found.value, public_key)
                {
                    return false;
                }
                if !is_latest {
                    return self.finish(Ok(Finished::Mutable(Some(found))), context);
                }
                self.best = Some(found);
                false
            }
            Kind::ImmutablePut { .. } | Kind::MutablePut { .. } | Kind::Ask { .. } => false,
        }
    }

    /// Writes to a node whose reply is among the closest, once; returns whether it does.
    pub(crate) fn write(
        &mut self,
        reply: u32,
        command: u64,
        value: Bytes,
        context: &mut Context,
        now: Instant,
    ) -> bool {
        let to = usize::try_from(reply).ok().and_then(|at| self.replied.get(at)).copied();
        let closest = self.closest.as_mut().filter(|_| self.is_committing);
        let answer = closest.and_then(|closest| closest.iter_mut().find(|answer| Some(answer.from) == to));
        let Some((answer, token)) =
            answer.and_then(|answer| answer.token.take().map(|token| (answer, token)))
        else {
            return false;
        };
        let mut outgoing = context.node.outgoing(answer.from, false, command);
        outgoing.target = Some(self.target);
        outgoing.token = Some(token);
        outgoing.value = Some(value);
        context.request(outgoing, Purpose::Write(self.id, reply), now);
        true
    }

    /// Takes the end of the query; returns whether the operation is over.
    pub(crate) fn query_finished(
        &mut self,
        closest: Vec<Answer>,
        context: &mut Context,
        now: Instant,
    ) -> bool {
        self.query = None;
        self.closest = Some(closest);
        self.commit(context, now)
    }

    /// Takes the answer to a write of the commit, or its absence; returns whether the operation is over.
    pub(crate) fn committed(&mut self, answer: Option<&Answer>, context: &mut Context) -> bool {
        self.commits = self.commits.saturating_sub(1);
        match answer {
            Some(answer) if answer.error == 0 => self.successes += 1,
            Some(answer) => self.refusal = Some(answer.error),
            None => {}
        }
        self.commits == 0 && self.commits_finished(context)
    }

    /// Takes the end of an unannounce on the way; returns whether the operation is over.
    pub(crate) fn unannounced(&mut self, context: &mut Context, now: Instant) -> bool {
        self.unannounces = self.unannounces.saturating_sub(1);
        self.commit(context, now)
    }

    /// Ends the operation without a result.
    pub(crate) fn cancel(self, context: &mut Context) {
        if let Some(query) = self.query {
            context.cancel_query(query);
        }
    }

    fn found(&mut self, answer: &Answer, value: &[u8], context: &mut Context, now: Instant) {
        let Ok((peers, bump)) = messages::decode_lookup(value) else { return };
        let identity = match &self.kind {
            Kind::Unannounce { identity } | Kind::Announce { identity, is_clearing: true, .. } => {
                Some(identity)
            }
            _ => None,
        };
        // A node that returned as many records as fit may hold ours without showing it.
        if let (Some(identity), Some(token), Some(node_id)) = (identity, answer.token, answer.id)
            && (peers.len() >= FULL_REPLY
                || peers.iter().any(|peer| peer.public_key == identity.public_key()))
        {
            let write = Write {
                command: command::UNANNOUNCE,
                to: answer.from,
                node_id,
                token,
                target: self.target,
                relay_addresses: Vec::new(),
                bump: 0,
                purpose: Purpose::Unannounce(self.id),
            };
            context.write(identity, Signee::Operation(self.id), write, now);
            self.unannounces += 1;
        }
        let reply = LookupReply {
            token: answer.token,
            from: answer.from,
            from_id: answer.id,
            to: answer.to,
            peers,
            bump,
        };
        context.events.push_back(Event::Found { operation: self.id, reply });
    }

    /// Writes to the closest replies once the query and the unannounces are over.
    fn commit(&mut self, context: &mut Context, now: Instant) -> bool {
        if self.is_committing || self.unannounces > 0 {
            return false;
        }
        let Some(closest) = self.closest.clone() else { return false };
        self.is_committing = true;
        match self.kind.clone() {
            Kind::FindPeer { .. } | Kind::Lookup | Kind::Unannounce { .. } => {
                let closest = closest.iter().map(|answer| answer.from).collect();
                self.finish(Ok(Finished::Done { closest }), context)
            }
            Kind::Ask { .. } => {
                let place = |answer: &Answer| self.replied.iter().position(|from| *from == answer.from);
                let closest = closest.iter().filter_map(place).filter_map(|at| u32::try_from(at).ok());
                let event = Event::Asked { operation: self.id, closest: closest.collect() };
                context.events.push_back(event);
                false
            }
            Kind::ImmutableGet => self.finish(Ok(Finished::Immutable(None)), context),
            Kind::MutableGet { .. } => {
                let best = self.best.take();
                self.finish(Ok(Finished::Mutable(best)), context)
            }
            Kind::Announce { identity, relay_addresses, bump, .. } => {
                for answer in &closest {
                    let (Some(token), Some(node_id)) = (answer.token, answer.id) else { continue };
                    let write = Write {
                        command: command::ANNOUNCE,
                        to: answer.from,
                        node_id,
                        token,
                        target: self.target,
                        relay_addresses: relay_addresses.clone(),
                        bump,
                        purpose: Purpose::Commit(self.id),
                    };
                    self.commits += 1;
                    context.write(&identity, Signee::Operation(self.id), write, now);
                }
                self.commits == 0 && self.commits_finished(context)
            }
            Kind::ImmutablePut { value } => self.put(command::IMMUTABLE_PUT, &value, &closest, context, now),
            Kind::MutablePut { value } => self.put(command::MUTABLE_PUT, &value, &closest, context, now),
        }
    }

    fn put(
        &mut self,
        command: u64,
        value: &Bytes,
        closest: &[Answer],
        context: &mut Context,
        now: Instant,
    ) -> bool {
        for answer in closest.iter().filter(|answer| answer.token.is_some()) {
            let mut outgoing = context.node.outgoing(answer.from, false, command);
            outgoing.target = Some(self.target);
            outgoing.token = answer.token;
            outgoing.value = Some(value.clone());
            context.request(outgoing, Purpose::Commit(self.id), now);
            self.commits += 1;
        }
        self.commits == 0 && self.commits_finished(context)
    }

    fn commits_finished(&mut self, context: &mut Context) -> bool {
        let result = match (self.successes, self.refusal) {
            (0, None) if self.closest.as_ref().is_none_or(Vec::is_empty) => Err(OperationError::TooFewNodes),
            (0, Some(error)) => Err(OperationError::Outdated(error)),
            (0, None) => Err(OperationError::Refused),
            (nodes, _) => match &self.kind {
                Kind::Announce { .. } => {
                    let closest = self.closest.iter().flatten().map(|answer| answer.from).collect();
                    Ok(Finished::Done { closest })
                }
                _ => Ok(Finished::Stored { target: self.target, nodes }),
            },
        };
        self.finish(result, context)
    }

    fn finish(&mut self, result: Result<Finished, OperationError>, context: &mut Context) -> bool {
        if let Some(query) = self.query.take() {
            context.cancel_query(query);
        }
        context.events.push_back(Event::Finished { operation: self.id, result });
        true
    }
}

/// Encodes a mutable value to store, and returns it with what to look for.
pub(crate) fn mutable_put(
    public_key: [u8; 32],
    seq: u64,
    value: Bytes,
    signature: [u8; 64],
) -> ([u8; 32], Bytes) {
    let put = MutablePut { public_key, seq, value, signature };
    (crypto::blake2b_256(&[&public_key]), put.encode())
}

/// Records in a reply that is full.
const FULL_REPLY: usize = 20;
