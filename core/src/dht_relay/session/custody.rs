//! What a relay does for clients that give their secret keys away: it signs and shakes hands in their place, and passes
//! their messages on in clear.
//!
//! Inside, it is to the session what the client's own machine would be at the other end of the link: it answers the
//! same requests with the same messages. Upstream's clients want this unless they are told otherwise.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use zeroize::Zeroize;

use super::super::backend::Backend;
use super::super::handshakes::{Handshakes, Owner};
use super::super::limits::Refusal;
use super::super::messages::{Message, SecretKey};
use super::super::signing;
use super::{MIN_RECEIVE_LIMIT, RESET, Session};
use crate::collections::BTreeMap;
use crate::crypto::{self, KeyPair};
use crate::dht::{ConnectionId, SignatureRequest};
use crate::noise::{self, Role};
use crate::secret_stream::{Entropy, Event, Options, Outgoing, SecretStream};
use crate::time::{Duration, Instant};

/// The keys of one client, and what they are used for.
pub(super) struct Custody {
    seed: [u8; 32],
    /// Seeds made so far.
    seeds: u64,
    handshakes: Handshakes,
    /// By the client's number of the query or server.
    signers: BTreeMap<u32, Signer>,
    dials: BTreeMap<ConnectionId, Dial>,
}

struct Signer {
    key_pair: KeyPair,
    target: [u8; 32],
}

struct Dial {
    key_pair: Box<KeyPair>,
    remote_public_key: [u8; 32],
}

/// A stream whose encryption ends here.
#[derive(Debug)]
pub(super) struct Clear {
    stream: Box<SecretStream>,
    /// Bytes that the peer is not told are taken.
    uncredited: usize,
}

impl Custody {
    /// Keeps nothing yet. `seed` serves no other purpose and is never used twice.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            seeds: 0,
            handshakes: Handshakes::default(),
            signers: BTreeMap::new(),
            dials: BTreeMap::new(),
        }
    }

    /// Keeps the key of a query or server.
    pub(super) fn sign_for(&mut self, number: u32, key_pair: KeyPair, target: [u8; 32]) {
        self.signers.insert(number, Signer { key_pair, target });
    }

    /// Keeps the key of a stream that is being dialled.
    pub(super) fn dial(&mut self, connection: ConnectionId, key_pair: KeyPair, remote_public_key: [u8; 32]) {
        self.dials.insert(connection, Dial { key_pair: Box::new(key_pair), remote_public_key });
    }

    pub(super) fn signs_for(&self, number: u32) -> bool {
        self.signers.contains_key(&number)
    }

    pub(super) fn forget_signer(&mut self, number: u32) {
        if self.signers.remove(&number).is_some() {
            self.handshakes.forget(Owner::Server(number));
        }
    }

    pub(super) fn forget_stream(&mut self, connection: ConnectionId, client_alias: Option<u32>) {
        if self.dials.remove(&connection).is_some()
            && let Some(alias) = client_alias
        {
            self.handshakes.forget(Owner::Stream(alias));
        }
    }

    /// Drops what took too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.handshakes.handle_timeout(now);
    }

    /// Signs for a query or server, if its key is here.
    pub(super) fn sign(&self, number: u32, request: &SignatureRequest) -> Option<[u8; 64]> {
        let Signer { key_pair, target } = self.signers.get(&number)?;
        let addresses: Vec<_> = request.relay_addresses.iter().copied().map(Into::into).collect();
        let signable = signing::announce_signable(
            request.is_unannounce,
            target,
            &request.node_id,
            &request.token,
            &key_pair.public_key,
            &addresses,
        );
        Some(key_pair.sign(&signable))
    }

    /// Makes the next Noise message of a stream, if its keys are here.
    pub(super) fn noise_send(
        &mut self,
        id: u32,
        connection: ConnectionId,
        (client_alias, server_alias): (Option<u32>, Option<u32>),
        payload: &[u8],
        now: Instant,
    ) -> Option<Message> {
        if server_alias.is_some() {
            return self.handshakes.complete_responder(id, payload);
        }
        let ephemeral = self.next_seed();
        let Dial { key_pair, remote_public_key } = self.dials.get(&connection)?;
        let keys = (&**key_pair, *remote_public_key);
        self.handshakes.initiate(id, client_alias?, keys, payload, ephemeral, now)
    }

    /// Reads the answer to a dial, if its keys are here.
    pub(super) fn complete(&mut self, id: u32, message: &[u8]) -> Option<Message> {
        self.handshakes.complete_initiator(id, message)
    }

    /// Reads the handshake of a peer; returns its key and payload, which the client decides about.
    pub(super) fn respond(
        &mut self,
        id: u32,
        server: u32,
        message: &[u8],
        now: Instant,
    ) -> Option<([u8; 32], Bytes)> {
        let ephemeral = self.next_seed();
        let key_pair = &self.signers.get(&server)?.key_pair;
        let incoming = self.handshakes.respond(id, server, key_pair, message, ephemeral, now)?;
        Some((incoming.remote_public_key, incoming.payload))
    }

    pub(super) fn decide(&mut self, id: u32, is_accepted: bool) -> Option<Message> {
        self.handshakes.decide(id, is_accepted)
    }

    /// Starts the encryption of a stream whose handshake happened here, and returns what names it.
    pub(super) fn open(&mut self, id: u32, owner: Owner, now: Instant) -> Option<(Clear, [u8; 64])> {
        let session: noise::Session = self.handshakes.take(id, owner)?;
        let hash = session.handshake_hash;
        let role = if matches!(owner, Owner::Stream(_)) { Role::Initiator } else { Role::Responder };
        let options = Options { keep_alive: Some(KEEP_ALIVE), timeout: None };
        let entropy = Entropy::from_seed(&self.next_seed());
        let stream = Box::new(SecretStream::established(role, session, options, entropy, now));
        Some((Clear { stream, uncredited: 0 }, hash))
    }

    fn next_seed(&mut self) -> [u8; 32] {
        self.seeds += 1;
        crypto::blake2b_256_keyed(&self.seed, &[b"hypertab/dht-relay/custody", &self.seeds.to_le_bytes()])
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody")
            .field("signers", &self.signers.len())
            .field("dials", &self.dials.len())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Returns the pair of a key that may have come with its secret half; `None` when the client is refused for it.
    pub(super) fn pair_of(
        &mut self,
        public_key: [u8; 32],
        secret_key: Option<&SecretKey>,
    ) -> Option<Option<KeyPair>> {
        let Some(SecretKey(secret_key)) = secret_key else { return Some(None) };
        match KeyPair::from_secret_key(secret_key) {
            Ok(pair) if pair.public_key == public_key => Some(Some(pair)),
            _ => {
                self.refuse(Refusal::Malformed);
                None
            }
        }
    }

    /// Takes a message of the handshakes that happen here, as if the client had sent it.
    pub(super) fn reply(&mut self, reply: Option<Message>, backend: &mut impl Backend) {
        if let Some(Message::NoiseReply { id, payload, stage }) = reply {
            self.noise_reply(id, payload, stage, backend);
        }
    }

    /// Decrypts what a peer sent, for the client.
    pub(super) fn clear_data(
        &mut self,
        connection: ConnectionId,
        bytes: Bytes,
        backend: &mut impl Backend,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        let (alias, Some(clear)) = (stream.alias, &mut stream.clear) else { return };
        clear.uncredited += bytes.len();
        clear.stream.handle_bytes(bytes, now);
        let mut messages = Vec::new();
        let is_broken = loop {
            match clear.stream.poll_event() {
                Ok(Some(Event::Message(message))) => messages.push(message),
                Ok(Some(Event::Opened { .. })) => {}
                Ok(None) => break clear.stream.buffered() > MAX_WHOLE,
                Err(_) => break true,
            }
        };
        if is_broken {
            backend.destroy(connection);
            self.stream_over(connection, Some(RESET.to_string()));
            return;
        }
        // What is kept for the rest of its message must not hold the rest up.
        if messages.is_empty() && clear.uncredited >= MIN_RECEIVE_LIMIT / 2 {
            backend.consumed(connection, core::mem::take(&mut clear.uncredited));
        }
        let last = messages.len();
        for (at, message) in (1..).zip(messages) {
            let credit = match self.streams.get_mut(&connection).and_then(|stream| stream.clear.as_mut()) {
                Some(clear) if at == last => core::mem::take(&mut clear.uncredited),
                _ => 0,
            };
            self.outbox.push_data(connection, alias, message, credit, true);
        }
    }

    /// Encrypts what the client sent, for a peer. Returns false when the stream's encryption does not end here.
    pub(super) fn clear_write(
        &mut self,
        connection: ConnectionId,
        message: &[u8],
        backend: &mut impl Backend,
        now: Instant,
    ) -> bool {
        let Some(clear) = self.streams.get_mut(&connection).and_then(|stream| stream.clear.as_mut()) else {
            return false;
        };
        clear.stream.send(Outgoing::from(message), now);
        self.flush_clear(connection, backend, now);
        true
    }

    /// Passes on what the encryption of a stream has to say.
    pub(super) fn flush_clear(&mut self, connection: ConnectionId, backend: &mut impl Backend, now: Instant) {
        let mut next = None;
        while let Some(clear) = self.streams.get_mut(&connection).and_then(|stream| stream.clear.as_mut()) {
            next = clear.stream.poll_timeout();
            let Some(frame) = clear.stream.poll_transmit() else { break };
            self.put(connection, frame, backend, now);
        }
        if let Some(at) = next {
            self.check_by(at);
        }
    }

    /// Keeps the streams alive whose encryption ends here.
    pub(super) fn check_custody(&mut self, backend: &mut impl Backend, now: Instant) {
        let Some(custody) = &mut self.custody else { return };
        custody.handle_timeout(now);
        let clear: Vec<_> =
            self.streams.iter().filter(|(_, stream)| stream.clear.is_some()).map(|(id, _)| *id).collect();
        for connection in clear {
            if let Some(clear) = self.streams.get_mut(&connection).and_then(|stream| stream.clear.as_mut())
                && clear.stream.poll_timeout().is_some_and(|at| at <= now)
            {
                clear.stream.handle_timeout(now);
            }
            self.flush_clear(connection, backend, now);
        }
    }
}

/// Longest message of a peer that is passed on as one, below what a frame to the client may have.
const MAX_WHOLE: usize = 1024 * 1024 - 1024;

/// How often upstream's relay sends an empty message on a stream that has nothing else to say.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
