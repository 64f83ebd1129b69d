//! What a persistent node stores for others, and its answers.
//!
//! Source: hyperdht 6.33, `lib/persistent.js`.

use bytes::Bytes;

use super::cache::{Cache, RecordCache};
use super::messages::{self, Announce, MutableGet, MutablePut, Peer};
use super::rng::Rng;
use super::rpc::{Incoming, NodeId};
use super::signing;
use super::{command, error};
use crate::crypto;
use crate::time::{Duration, Instant};
use crate::udx::Address;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Nothing at all.
    Silent,
    /// A value with token and closer nodes.
    Full(Option<Bytes>),
    /// An empty reply without either.
    Bare,
    /// An error with closer nodes.
    Error(u64),
}

/// Records, forwarding entries, mutable and immutable values, all of limited number and age.
#[derive(Debug)]
pub struct Persistent {
    records: RecordCache,
    forwards: Cache<[u8; 32], Forward>,
    refreshes: Cache<[u8; 32], Refresh>,
    bumps: Cache<[u8; 32], u64>,
    mutables: Cache<[u8; 32], Bytes>,
    immutables: Cache<[u8; 32], Bytes>,
}

/// A server that announced itself here.
#[derive(Clone, Debug)]
struct Forward {
    /// Where it did so from: handshakes for it go there.
    relay: Address,
    record: Bytes,
}

/// What an announce without signature renews.
#[derive(Clone, Debug)]
struct Refresh {
    target: [u8; 32],
    public_key: [u8; 32],
    record: Bytes,
    is_self: bool,
}

impl Persistent {
    /// Creates an empty store.
    pub fn new(now: Instant) -> Self {
        Self {
            records: RecordCache::new(MAX_RECORDS, RECORD_AGE, now),
            forwards: Cache::new(MAX_RECORDS, RECORD_AGE, now),
            refreshes: Cache::new(MAX_RECORDS, RECORD_AGE, now),
            bumps: Cache::new(MAX_RECORDS, RECORD_AGE, now),
            mutables: Cache::new(MAX_VALUES, VALUE_AGE, now),
            immutables: Cache::new(MAX_VALUES, VALUE_AGE, now),
        }
    }

    /// Drops what is too old.
    pub fn advance(&mut self, now: Instant) {
        self.records.advance(now);
        self.forwards.advance(now);
        self.refreshes.advance(now);
        self.bumps.advance(now);
        self.mutables.advance(now);
        self.immutables.advance(now);
    }

    /// Returns where a server that announced itself as `target` can be reached.
    pub fn forward(&mut self, target: &[u8; 32]) -> Option<Address> {
        self.forwards.get(target).map(|forward| forward.relay)
    }

    /// Returns the numbers of topic records, forwarding entries, mutable and immutable values, and of what renews an announce.
    pub fn sizes(&self) -> [usize; 5] {
        let [records, forwards] = [self.records.len(), self.forwards.len()];
        [records, forwards, self.mutables.len(), self.immutables.len(), self.refreshes.len()]
    }

    /// Answers a request. `own_record` is the record of a server of this node under the target; `clock` is Unix
    /// time in milliseconds.
    pub fn handle(
        &mut self,
        request: &Incoming,
        own_id: &NodeId,
        own_record: Option<Bytes>,
        clock: u64,
        rng: &mut Rng,
    ) -> Response {
        let Some(target) = request.target else { return Response::Silent };
        match request.command {
            command::FIND_PEER => {
                let stored = self.forwards.get(&target).map(|forward| forward.record.clone());
                Response::Full(own_record.or(stored))
            }
            command::LOOKUP => self.lookup(target, own_record, rng),
            command::ANNOUNCE => self.announce(target, request, own_id, clock),
            command::UNANNOUNCE => self.unannounce(target, request, own_id),
            command::MUTABLE_PUT => self.mutable_put(target, request),
            command::MUTABLE_GET => self.mutable_get(target, request),
            command::IMMUTABLE_PUT => self.immutable_put(target, request),
            command::IMMUTABLE_GET => Response::Full(self.immutables.get(&target).cloned()),
            _ => Response::Silent,
        }
    }

    /// Forgets a record of this node itself.
    pub fn forget(&mut self, target: [u8; 32], public_key: [u8; 32]) {
        if crypto::blake2b_256(&[&public_key]) == target {
            self.forwards.remove(&target);
        }
        self.records.remove(target, public_key);
    }

    fn lookup(&mut self, target: [u8; 32], own_record: Option<Bytes>, rng: &mut Rng) -> Response {
        let mut records = self.records.pick(target, MAX_PICKED, rng);
        let forward = self.forwards.get(&target).map(|forward| forward.record.clone());
        if let Some(record) = own_record.or(forward)
            && records.len() < MAX_PICKED
        {
            records.push(record);
        }
        if records.is_empty() {
            return Response::Full(None);
        }
        let bump = self.bumps.get(&target).copied().unwrap_or(0);
        Response::Full(Some(messages::encode_lookup(&records, bump)))
    }

    fn announce(&mut self, target: [u8; 32], request: &Incoming, own_id: &NodeId, clock: u64) -> Response {
        let Some((token, value)) = token_and_value(request) else { return Response::Silent };
        let Ok(announce) = Announce::decode(value) else { return Response::Silent };
        let Some(mut peer) = announce.peer.clone() else {
            return match announce.refresh {
                Some(refresh) => self.refresh(refresh, request.from),
                None => Response::Silent,
            };
        };
        let signable = signing::announce_signable(
            command::ANNOUNCE,
            &target,
            own_id,
            token,
            &peer,
            announce.refresh.as_ref(),
        );
        if !is_signed(&announce, &signable, &peer) {
            return Response::Silent;
        }
        peer.relay_addresses.truncate(MAX_RELAY_ADDRESSES);
        let record = peer.encode();
        let is_self = crypto::blake2b_256(&[&peer.public_key]) == target;
        self.store(target, peer.public_key, record.clone(), is_self, request.from);
        if !is_self
            && announce.bump > self.bumps.get(&target).copied().unwrap_or(0)
            && announce.bump <= clock.saturating_add(MAX_BUMP_DRIFT)
        {
            self.bumps.set(target, announce.bump);
        }
        if let Some(refresh) = announce.refresh {
            self.refreshes.set(refresh, Refresh { target, public_key: peer.public_key, record, is_self });
        }
        Response::Bare
    }

    fn refresh(&mut self, token: [u8; 32], from: Address) -> Response {
        let active = crypto::blake2b_256(&[&token]);
        let Some(refresh) = self.refreshes.get(&active).cloned() else { return Response::Silent };
        self.store(refresh.target, refresh.public_key, refresh.record.clone(), refresh.is_self, from);
        self.refreshes.remove(&active);
        self.refreshes.set(token, refresh);
        Response::Bare
    }

    fn store(&mut self, target: [u8; 32], key: [u8; 32], record: Bytes, is_self: bool, from: Address) {
        if is_self {
            self.forwards.set(target, Forward { relay: from, record });
            self.records.remove(target, key);
        } else {
            self.records.add(target, key, record);
        }
    }

    fn unannounce(&mut self, target: [u8; 32], request: &Incoming, own_id: &NodeId) -> Response {
        let Some((token, value)) = token_and_value(request) else { return Response::Silent };
        let Ok(announce) = Announce::decode(value) else { return Response::Silent };
        let Some(peer) = announce.peer.clone() else { return Response::Silent };
        let signable = signing::announce_signable(
            command::UNANNOUNCE,
            &target,
            own_id,
            token,
            &peer,
            announce.refresh.as_ref(),
        );
        if !is_signed(&announce, &signable, &peer) {
            return Response::Silent;
        }
        self.forget(target, peer.public_key);
        Response::Bare
    }

    fn mutable_put(&mut self, target: [u8; 32], request: &Incoming) -> Response {
        let Some((_, value)) = token_and_value(request) else { return Response::Silent };
        let Ok(put) = MutablePut::decode(value) else { return Response::Silent };
        if crypto::blake2b_256(&[&put.public_key]) != target
            || !signing::verify_mutable(&put.signature, put.seq, &put.value, &put.public_key)
        {
            return Response::Silent;
        }
        let stored = self.mutables.get(&target).and_then(|stored| MutableGet::decode(stored).ok());
        if let Some(stored) = stored {
            if stored.seq == put.seq && stored.value != put.value {
                return Response::Error(error::SEQ_REUSED);
            }
            if put.seq < stored.seq {
                return Response::Error(error::SEQ_TOO_LOW);
            }
        }
        let record = MutableGet { seq: put.seq, value: put.value, signature: put.signature };
        self.mutables.set(target, record.encode());
        Response::Full(None)
    }

    fn mutable_get(&mut self, target: [u8; 32], request: &Incoming) -> Response {
        let Some(seq) = request.value.as_ref().and_then(|value| messages::decode_seq(value).ok()) else {
            return Response::Silent;
        };
        let stored = self.mutables.get(&target);
        let is_new =
            stored.and_then(|stored| messages::decode_seq(stored).ok()).is_some_and(|own| own >= seq);
        Response::Full(stored.filter(|_| is_new).cloned())
    }

    fn immutable_put(&mut self, target: [u8; 32], request: &Incoming) -> Response {
        let Some((_, value)) = token_and_value(request) else { return Response::Silent };
        if crypto::blake2b_256(&[value]) != target {
            return Response::Silent;
        }
        self.immutables.set(target, value.clone());
        Response::Full(None)
    }
}

fn token_and_value(request: &Incoming) -> Option<(&[u8; 32], &Bytes)> {
    Some((request.token.as_ref()?, request.value.as_ref()?))
}

fn is_signed(announce: &Announce, signable: &[u8; 64], peer: &Peer) -> bool {
    announce.signature.as_ref().is_some_and(|signature| crypto::verify(signable, signature, &peer.public_key))
}

/// Records in a lookup reply.
const MAX_PICKED: usize = 20;

/// Relay addresses kept of an announce.
const MAX_RELAY_ADDRESSES: usize = 3;

/// Milliseconds that a bump may lie in the future.
const MAX_BUMP_DRIFT: u64 = 60_000;

/// Records, forwarding entries and refreshes per generation (hyperdht `defaultMaxSize`).
const MAX_RECORDS: usize = 65_536;

/// Their age.
pub(crate) const RECORD_AGE: Duration = Duration::from_secs(20 * 60);

/// Mutable and immutable values per generation.
const MAX_VALUES: usize = 32_768;

/// Their age.
const VALUE_AGE: Duration = Duration::from_secs(48 * 60 * 60);
