//! The proof, sent with every open, that a peer knows the key of the core.
//!
//! Source: hypercore 11.35, `lib/caps.js`, `replicate`.

use crate::crypto::namespaces::{REPLICATE_INITIATOR, REPLICATE_RESPONDER};
use crate::crypto::{blake2b_256_keyed, constant_time_eq};

use super::wire::Handshake;

/// Returns the capability that one side sends, bound to the stream by its Noise handshake hash.
pub fn capability(is_initiator: bool, key: &[u8; 32], handshake_hash: &[u8; 64]) -> [u8; 32] {
    let role = if is_initiator { &REPLICATE_INITIATOR } else { &REPLICATE_RESPONDER };
    blake2b_256_keyed(handshake_hash, &[role, key])
}

/// Returns whether the peer proved that it knows the key. `is_initiator` is the role of this side.
pub fn is_capable(
    handshake: &Handshake,
    is_initiator: bool,
    key: &[u8; 32],
    handshake_hash: &[u8; 64],
) -> bool {
    constant_time_eq(&handshake.capability, &capability(!is_initiator, key, handshake_hash))
}
