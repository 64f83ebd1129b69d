//! The Noise handshakes that a client runs for its relay, which carries them to the peers.

use alloc::boxed::Box;

use bytes::Bytes;

use super::messages::{Message, NoiseStage};
use super::signing;
use crate::collections::BTreeMap;
use crate::crypto::KeyPair;
use crate::noise::{Handshake, Keys, Pattern, Role, Session};
use crate::secret_stream::stream_id;
use crate::time::{Duration, Instant};

/// Handshakes by the relay's ids.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    pending: BTreeMap<u32, Pending>,
}

/// Whose handshake it is, by the client's aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A stream that the client dials.
    Stream(u32),
    /// A server of the client's.
    Server(u32),
}

#[derive(Debug)]
struct Pending {
    owner: Owner,
    stage: Stage,
    expires: Instant,
}

#[derive(Debug)]
enum Stage {
    /// The relay has the last message that we wrote, and brings the next one or its payload.
    Running(Box<Handshake>),
    /// Somebody decides about the peer, whose payload waits.
    Deciding(Box<Handshake>, Bytes),
    /// Both messages are through.
    Finished(Box<Session>),
}

/// A peer that wants to connect to a server.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) remote_public_key: [u8; 32],
    pub(super) payload: Bytes,
}

impl Handshakes {
    /// Writes message 1 around the relay's payload, for a stream that is being dialled.
    pub(super) fn initiate(
        &mut self,
        id: u32,
        stream: u32,
        keys: (&KeyPair, [u8; 32]),
        payload: &[u8],
        ephemeral: [u8; 32],
        now: Instant,
    ) -> Option<Message> {
        self.make_room(id)?;
        let (key_pair, remote) = keys;
        let keys = Keys { key_pair, remote_public_key: Some(remote), psk: None };
        let prologue = signing::handshake_prologue();
        let mut handshake = Handshake::new(Pattern::Ik, Role::Initiator, keys, &prologue, ephemeral).ok()?;
        let message = handshake.write(payload).ok()?;
        // The relay starts again when an attempt failed; the new handshake takes the place of the old one.
        self.forget(Owner::Stream(stream));
        self.insert(id, Owner::Stream(stream), Stage::Running(Box::new(handshake)), now);
        Some(Message::NoiseReply { id, payload: message.into(), stage: NoiseStage::Initiated })
    }

    /// Reads message 2 of a stream that is being dialled. Copies of a message that was read say nothing new. One that is wrong
    /// may be of a node on the way: the relay is told, and brings what another node says.
    pub(super) fn complete_initiator(&mut self, id: u32, message: &[u8]) -> Option<Message> {
        let pending = self.pending.get_mut(&id)?;
        let (Owner::Stream(_), Stage::Running(handshake)) = (pending.owner, &mut pending.stage) else {
            return None;
        };
        let Ok(payload) = handshake.try_read(message) else {
            return Some(Message::NoiseReply { id, payload: Bytes::new(), stage: NoiseStage::Initiated });
        };
        self.finish(id, payload.into(), true)
    }

    /// Reads message 1 of a peer that connects to a server; nothing for a copy of a message that was read.
    pub(super) fn respond(
        &mut self,
        id: u32,
        server: u32,
        key_pair: &KeyPair,
        message: &[u8],
        ephemeral: [u8; 32],
        now: Instant,
    ) -> Option<Incoming> {
        self.make_room(id)?;
        let keys = Keys { key_pair, remote_public_key: None, psk: None };
        let prologue = signing::handshake_prologue();
        let mut handshake = Handshake::new(Pattern::Ik, Role::Responder, keys, &prologue, ephemeral).ok()?;
        let payload = Bytes::from(handshake.read(message).ok()?);
        let remote_public_key = handshake.remote_public_key()?;
        let stage = Stage::Deciding(Box::new(handshake), payload.clone());
        self.insert(id, Owner::Server(server), stage, now);
        Some(Incoming { remote_public_key, payload })
    }

    /// Lets a peer in, or not. Nothing when nobody waits.
    pub(super) fn decide(&mut self, id: u32, is_accepted: bool) -> Option<Message> {
        let pending = self.pending.remove(&id)?;
        let Stage::Deciding(handshake, payload) = pending.stage else {
            self.pending.insert(id, pending);
            return None;
        };
        let remote_public_key = handshake.remote_public_key()?;
        let stage = NoiseStage::Received { remote_public_key };
        if !is_accepted {
            return Some(Message::NoiseReply { id, payload: Bytes::new(), stage });
        }
        self.pending.insert(id, Pending { stage: Stage::Running(handshake), ..pending });
        Some(Message::NoiseReply { id, payload, stage })
    }

    /// Writes message 2 around the relay's payload, for a peer that was let in.
    pub(super) fn complete_responder(&mut self, id: u32, payload: &[u8]) -> Option<Message> {
        let pending = self.pending.get_mut(&id)?;
        let (Owner::Server(_), Stage::Running(handshake)) = (pending.owner, &mut pending.stage) else {
            return None;
        };
        let Ok(message) = handshake.write(payload) else {
            self.pending.remove(&id);
            return None;
        };
        self.finish(id, message.into(), false)
    }

    /// Takes the keys of a finished handshake of this owner.
    pub(super) fn take(&mut self, id: u32, owner: Owner) -> Option<Session> {
        let pending = self.pending.get(&id)?;
        if pending.owner != owner || !matches!(pending.stage, Stage::Finished(_)) {
            return None;
        }
        match self.pending.remove(&id)?.stage {
            Stage::Finished(session) => Some(*session),
            _ => None,
        }
    }

    /// Returns the server that the handshake is for.
    pub(super) fn server(&self, id: u32) -> Option<u32> {
        match self.pending.get(&id)?.owner {
            Owner::Server(alias) => Some(alias),
            Owner::Stream(_) => None,
        }
    }

    /// Returns whether the first message for a stream has left.
    pub(super) fn has_begun(&self, stream: u32) -> bool {
        self.pending.values().any(|pending| pending.owner == Owner::Stream(stream))
    }

    /// Drops what belongs to an owner that is gone.
    pub(super) fn forget(&mut self, owner: Owner) {
        self.pending.retain(|_, pending| pending.owner != owner);
    }

    /// Drops what took too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.pending.retain(|_, pending| pending.expires > now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.expires).min()
    }

    fn finish(&mut self, id: u32, payload: Bytes, is_initiator: bool) -> Option<Message> {
        let Pending { owner, stage, expires } = self.pending.remove(&id)?;
        let Stage::Running(handshake) = stage else { return None };
        let session = handshake.finish().ok()?;
        let stage = NoiseStage::Complete {
            is_initiator,
            // Upstream fills in the initiator's in both directions; nobody uses it.
            remote_id: stream_id(&session.handshake_hash, Role::Initiator),
            holepunch_secret: signing::holepunch_secret(&session.handshake_hash).into(),
        };
        self.pending.insert(id, Pending { owner, stage: Stage::Finished(Box::new(session)), expires });
        Some(Message::NoiseReply { id, payload, stage })
    }

    /// Returns nothing when the id is taken or there are too many.
    fn make_room(&self, id: u32) -> Option<()> {
        (!self.pending.contains_key(&id) && self.pending.len() < MAX_PENDING).then_some(())
    }

    fn insert(&mut self, id: u32, owner: Owner, stage: Stage, now: Instant) {
        self.pending.insert(id, Pending { owner, stage, expires: now + TIMEOUT });
    }
}

/// Most handshakes at once. A relay of ours asks for fewer.
const MAX_PENDING: usize = 256;

/// How long a handshake may take in all: the relay gives each half 10 s, then looks for a path.
const TIMEOUT: Duration = Duration::from_secs(40);
