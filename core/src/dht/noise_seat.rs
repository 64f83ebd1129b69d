//! The Noise handshake of one connection, run here or by whoever holds the key.
//!
//! Source: hyperdht 6.33, `lib/noise-wrap.js`.

use alloc::boxed::Box;

use bytes::Bytes;

use super::rng::Rng;
use super::{command, signing};
use crate::crypto::{self, KeyPair, Secret};
use crate::noise::{Handshake, Keys, Pattern, Role, Session};

/// Who signs and shakes hands.
#[derive(Clone, Debug)]
pub enum Identity {
    /// This node, with this key pair.
    Local(KeyPair),
    /// Somebody else, who holds the secret of this public key. Everything that needs it is asked for by events.
    External([u8; 32]),
}

impl Identity {
    /// Returns the public key.
    pub fn public_key(&self) -> [u8; 32] {
        match self {
            Self::Local(key_pair) => key_pair.public_key,
            Self::External(public_key) => *public_key,
        }
    }
}

/// What a finished handshake yields.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Seals holepunch messages.
    pub(crate) holepunch_secret: Secret,
    /// Keys of the secret stream; `None` when they are known elsewhere only.
    pub(crate) session: Option<Session>,
}

/// A handshake that is run here.
#[derive(Debug)]
pub(crate) struct LocalHandshake {
    handshake: Box<Handshake>,
}

impl LocalHandshake {
    /// Starts as client of `remote` or, without one, as server.
    pub(crate) fn new(key_pair: &KeyPair, remote: Option<[u8; 32]>, rng: &mut Rng) -> Option<Self> {
        let role = if remote.is_some() { Role::Initiator } else { Role::Responder };
        let keys = Keys { key_pair, remote_public_key: remote, psk: None };
        let prologue = signing::namespace(command::PEER_HANDSHAKE);
        let handshake = Handshake::new(Pattern::Ik, role, keys, &prologue, rng.bytes()).ok()?;
        Some(Self { handshake: Box::new(handshake) })
    }

    /// Returns the next message around `payload`.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Option<Bytes> {
        self.handshake.write(payload).ok().map(Bytes::from)
    }

    /// Returns the payload of the next message and the key of its sender. Another one can follow that was refused: whoever
    /// carries messages may have made it up.
    pub(crate) fn read(&mut self, message: &[u8]) -> Option<(Bytes, [u8; 32])> {
        let payload = self.handshake.try_read(message).ok()?;
        Some((Bytes::from(payload), self.handshake.remote_public_key()?))
    }

    /// Ends the handshake.
    pub(crate) fn finish(self) -> Option<Outcome> {
        let session = self.handshake.finish().ok()?;
        let holepunch_secret = holepunch_secret(&session.handshake_hash).into();
        Some(Outcome { holepunch_secret, session: Some(session) })
    }
}

/// Derives the key of holepunch messages from the hash of a handshake.
pub fn holepunch_secret(handshake_hash: &[u8; 64]) -> [u8; 32] {
    crypto::blake2b_256_keyed(handshake_hash, &[&signing::namespace(command::PEER_HOLEPUNCH)])
}
