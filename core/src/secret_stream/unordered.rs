//! Messages beside the stream, for transports that can send datagrams: each stands alone and may get lost.
//!
//! Source: @hyperswarm/secret-stream 6.9, `index.js`, `_boxMessage` and `_onmessage`; libsodium `crypto_secretbox`.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use super::{NS_INITIATOR, NS_RESPONDER, NS_SEND};
use crate::crypto::{SECRETBOX_MAC_LEN, blake2b_256_keyed, secretbox_open, secretbox_seal};
use crate::noise::Role;

/// Seals and opens the unordered messages of one stream.
///
/// # Wire
///
/// | field | bytes | meaning |
/// | --- | --- | --- |
/// | counter | 8 | nonce, little-endian; starts anywhere and grows by one a message |
/// | mac | 16 | Poly1305 of the ciphertext |
/// | ciphertext | rest | XSalsa20 |
pub struct Unordered {
    tx: [u8; 32],
    rx: [u8; 32],
    counter: u64,
    initial: u64,
}

impl Unordered {
    /// Derives the keys of both directions. `initial` is random.
    pub fn new(role: Role, handshake_hash: &[u8; 64], initial: [u8; 8]) -> Self {
        let initiator = blake2b_256_keyed(handshake_hash, &[&NS_INITIATOR, &NS_SEND]);
        let responder = blake2b_256_keyed(handshake_hash, &[&NS_RESPONDER, &NS_SEND]);
        let (tx, rx) = match role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        let initial = u64::from_le_bytes(initial);
        Self { tx, rx, counter: initial, initial }
    }

    /// Returns `message` sealed, or `None` once the counters are used up and the stream must end.
    pub fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter.wrapping_add(1);
        if counter == self.initial {
            return None;
        }
        self.counter = counter;
        let counter = counter.to_le_bytes();
        let mut envelope = Vec::with_capacity(COUNTER_LEN + SECRETBOX_MAC_LEN + message.len());
        envelope.extend_from_slice(&counter);
        envelope.extend_from_slice(&secretbox_seal(&self.tx, &nonce(counter), message));
        Some(envelope)
    }

    /// Returns the message in `envelope`, or `None` when the remote end did not seal it.
    pub fn open(&self, envelope: &[u8]) -> Option<Vec<u8>> {
        let (counter, sealed) = envelope.split_first_chunk()?;
        secretbox_open(&self.rx, &nonce(*counter), sealed)
    }
}

impl Drop for Unordered {
    fn drop(&mut self) {
        self.tx.zeroize();
        self.rx.zeroize();
    }
}

impl fmt::Debug for Unordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unordered").finish_non_exhaustive()
    }
}

fn nonce(counter: [u8; COUNTER_LEN]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..COUNTER_LEN].copy_from_slice(&counter);
    nonce
}

const COUNTER_LEN: usize = 8;
