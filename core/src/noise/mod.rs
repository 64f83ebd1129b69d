//! Noise handshakes over the Ed25519 group, as Hyperswarm's streams speak them.
//!
//! Source: noise-handshake 4.2, `noise.js`, with noise-curve-ed 2.1; the Noise protocol framework, revision 34.
//!
//! The names are `Noise_<PATTERN>_Ed25519_ChaChaPoly_BLAKE2b`: BLAKE2b-512 as hash, and shared secrets that are compressed
//! points of the group in which the static keys sign.

mod resolver;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifier, HandshakeModifierList,
    HandshakePattern, HashChoice, NoiseParams,
};
use zeroize::Zeroize;

use crate::crypto::KeyPair;

/// Which end of a handshake, and later of a stream, a party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The end that writes the first message.
    Initiator,
    /// The end that answers it.
    Responder,
}

impl Role {
    /// Returns the role of the other end.
    pub fn remote(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// The messages of a handshake and what each of them proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Two messages; the initiator knows the responder's key. HyperDHT connections.
    Ik,
    /// Two messages; nobody proves a key.
    Nn,
    /// [`Nn`](Self::Nn) between holders of a shared secret.
    NnPsk0,
    /// Three messages; the initiator knows the responder's key.
    Xk,
    /// Three messages; keys are exchanged. Secret streams over any pipe.
    Xx,
    /// [`Xx`](Self::Xx) between holders of a shared secret.
    XxPsk0,
}

impl Pattern {
    fn params(self) -> NoiseParams {
        let (name, pattern, psk) = match self {
            Self::Ik => ("IK", HandshakePattern::IK, false),
            Self::Nn => ("NN", HandshakePattern::NN, false),
            Self::NnPsk0 => ("NNpsk0", HandshakePattern::NN, true),
            Self::Xk => ("XK", HandshakePattern::XK, false),
            Self::Xx => ("XX", HandshakePattern::XX, false),
            Self::XxPsk0 => ("XXpsk0", HandshakePattern::XX, true),
        };
        let list = if psk { vec![HandshakeModifier::Psk(0)] } else { Vec::new() };
        NoiseParams::new(
            format!("Noise_{name}_Ed25519_ChaChaPoly_BLAKE2b"),
            BaseChoice::Noise,
            HandshakeChoice { pattern, modifiers: HandshakeModifierList { list } },
            // The resolver answers this choice with the Ed25519 group, for which snow has no name.
            DHChoice::Curve25519,
            CipherChoice::ChaChaPoly,
            HashChoice::Blake2b,
        )
    }
}

/// Why a handshake cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseError {
    /// The peer sent what no correct peer sends; the handshake is over.
    Refused,
    /// A message would exceed [`MAX_MESSAGE`] bytes.
    TooLong {
        /// Bytes of the message or payload.
        found: usize,
    },
    /// The call does not fit the state: out of turn, after an error, before the end, or without a key that the pattern needs.
    OutOfTurn,
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("noise handshake failed"),
            Self::TooLong { found } => {
                write!(f, "noise message of {found} bytes is longer than {MAX_MESSAGE}")
            }
            Self::OutOfTurn => f.write_str("noise handshake is in another state"),
        }
    }
}

impl core::error::Error for NoiseError {}

/// Keys for one party of a handshake.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The party's own key pair.
    pub key_pair: &'a KeyPair,
    /// The other party's public key, where the pattern demands that it is known.
    pub remote_public_key: Option<[u8; 32]>,
    /// The shared secret of the psk patterns.
    pub psk: Option<[u8; 32]>,
}

/// One end of a handshake in progress.
///
/// Alternate [`write`](Self::write) and [`read`](Self::read), starting by role, until [`is_finished`](Self::is_finished);
/// then [`finish`](Self::finish). After an error nothing but an error follows, but for [`try_read`](Self::try_read).
pub struct Handshake {
    state: snow::HandshakeState,
    role: Role,
    failed: bool,
}

impl Handshake {
    /// Starts a handshake. `ephemeral` seeds the ephemeral key and must never be used twice.
    ///
    /// # Errors
    ///
    /// [`NoiseError::OutOfTurn`] when the pattern needs a remote key or a shared secret that `keys` lacks.
    pub fn new(
        pattern: Pattern,
        role: Role,
        keys: Keys<'_>,
        prologue: &[u8],
        ephemeral: [u8; 32],
    ) -> Result<Self, NoiseError> {
        let psk_needed = matches!(pattern, Pattern::NnPsk0 | Pattern::XxPsk0);
        if psk_needed != keys.psk.is_some() {
            return Err(NoiseError::OutOfTurn);
        }
        let mut secret = resolver::static_secret(keys.key_pair);
        let build = || {
            let mut builder =
                snow::Builder::with_resolver(pattern.params(), Box::new(resolver::Resolver::new(ephemeral)))
                    .local_private_key(&secret)?
                    .prologue(prologue)?;
            if let Some(remote) = &keys.remote_public_key {
                builder = builder.remote_public_key(remote)?;
            }
            if let Some(psk) = &keys.psk {
                builder = builder.psk(0, psk)?;
            }
            match role {
                Role::Initiator => builder.build_initiator(),
                Role::Responder => builder.build_responder(),
            }
        };
        let state = build().map_err(|_| NoiseError::OutOfTurn);
        secret.zeroize();
        Ok(Self { state: state?, role, failed: false })
    }

    /// Returns the next message with `payload` in it, encrypted as far as the pattern is.
    ///
    /// # Errors
    ///
    /// When it is the other party's turn, the payload is too long, or the other party's key is not usable.
    pub fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.check(self.state.is_my_turn())?;
        let room = payload.len().saturating_add(MAX_TOKENS);
        if room > MAX_MESSAGE {
            return Err(NoiseError::TooLong { found: payload.len() });
        }
        let mut message = vec![0; room];
        let written = self.state.write_message(payload, &mut message).map_err(|_| self.fail())?;
        message.truncate(written);
        Ok(message)
    }

    /// Takes the other party's message and returns the payload in it.
    ///
    /// # Errors
    ///
    /// When it is not the other party's turn, or the message is refused.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.check(!self.state.is_my_turn())?;
        if message.len() > MAX_MESSAGE {
            self.failed = true;
            return Err(NoiseError::TooLong { found: message.len() });
        }
        let mut payload = vec![0; message.len()];
        let read = self.state.read_message(message, &mut payload).map_err(|_| self.fail())?;
        payload.truncate(read);
        Ok(payload)
    }

    /// Takes a message that may be from somebody else: one that is refused leaves the handshake as it was, so that the other
    /// party's can follow.
    ///
    /// Only for messages that bring an ephemeral key before anything encrypted: the key of each attempt is then derived anew.
    /// Such are the second ones of [`Pattern::Ik`], [`Pattern::Nn`] and [`Pattern::Xk`].
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read).
    pub fn try_read(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let was_failed = self.failed;
        let payload = self.read(message);
        self.failed = was_failed;
        payload
    }

    /// Returns whether both parties have all that they need.
    pub fn is_finished(&self) -> bool {
        !self.failed && self.state.is_handshake_finished()
    }

    /// Returns the other party's public key once it is known; proven only at the end.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        self.state.get_remote_static()?.first_chunk().copied()
    }

    /// Ends the handshake.
    ///
    /// # Errors
    ///
    /// [`NoiseError::OutOfTurn`] unless the handshake [is finished](Self::is_finished).
    pub fn finish(mut self) -> Result<Session, NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::OutOfTurn);
        }
        let handshake_hash = *self.state.get_handshake_hash().first_chunk().ok_or(NoiseError::OutOfTurn)?;
        let remote_public_key = self.remote_public_key();
        let (initiator, responder) = self.state.dangerously_get_raw_split();
        let (tx, rx) = match self.role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        Ok(Session { tx, rx, handshake_hash, remote_public_key })
    }

    fn check(&self, turn: bool) -> Result<(), NoiseError> {
        if self.failed || !turn || self.state.is_handshake_finished() {
            Err(NoiseError::OutOfTurn)
        } else {
            Ok(())
        }
    }

    fn fail(&mut self) -> NoiseError {
        self.failed = true;
        NoiseError::Refused
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("role", &self.role)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// What a finished handshake leaves behind.
#[derive(Clone)]
pub struct Session {
    /// Key for what this party sends.
    pub tx: [u8; 32],
    /// Key for what this party receives.
    pub rx: [u8; 32],
    /// Names this handshake; no two have the same.
    pub handshake_hash: [u8; 64],
    /// Key that the other party has proven; `None` where the pattern proves none.
    pub remote_public_key: Option<[u8; 32]>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tx.zeroize();
        self.rx.zeroize();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Longest message of the Noise framework.
pub const MAX_MESSAGE: usize = 65535;

/// Most bytes that a message holds beside its payload: an ephemeral key, an encrypted static key and a mac.
const MAX_TOKENS: usize = 32 + 48 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_others_leave_a_handshake_as_it_was() {
        for pattern in [Pattern::Ik, Pattern::Nn, Pattern::Xk] {
            let [client, server] = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
            let knows = matches!(pattern, Pattern::Ik | Pattern::Xk).then_some(server.public_key);
            let start = |role, key_pair, remote_public_key, ephemeral| {
                let keys = Keys { key_pair, remote_public_key, psk: None };
                Handshake::new(pattern, role, keys, b"prologue", [ephemeral; 32]).unwrap()
            };
            let mut initiator = start(Role::Initiator, &client, knows, 3);
            let mut responder = start(Role::Responder, &server, None, 4);
            responder.read(&initiator.write(b"one").unwrap()).unwrap();
            let message = responder.write(b"two").unwrap();

            for len in 0..message.len() {
                let mut forged = message.clone();
                forged[len] ^= 1;
                if initiator.try_read(&message[..len]).is_ok() || initiator.try_read(&forged).is_ok() {
                    panic!("{pattern:?}: byte {len} is not looked at");
                }
            }
            assert!(initiator.try_read(&[7; MAX_MESSAGE + 1]).is_err());

            assert_eq!(initiator.try_read(&message).unwrap(), b"two");
            if !initiator.is_finished() {
                responder.read(&initiator.write(b"three").unwrap()).unwrap();
            }
            let (ours, theirs) = (initiator.finish().unwrap(), responder.finish().unwrap());
            assert_eq!((ours.tx, ours.handshake_hash), (theirs.rx, theirs.handshake_hash));
        }
    }
}
