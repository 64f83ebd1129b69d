//! What a client signs for the relay, and the names that hyperdht derives its keys from.
//!
//! Source: hyperdht 6.33, `lib/constants.js` and `lib/persistent.js`.

use core::net::SocketAddrV4;

use super::messages::{Node, write_addresses};
use crate::compact_encoding::Writer;
use crate::crypto;

/// Returns what is signed to store a record at one node, valid there for about 15 s.
pub fn announce_signable(
    is_unannounce: bool,
    target: &[u8; 32],
    node_id: &[u8],
    token: &[u8; 32],
    public_key: &[u8; 32],
    relay_addresses: &[SocketAddrV4],
) -> [u8; 64] {
    let mut peer = Writer::with_capacity(33 + relay_addresses.len() * Node::ADDRESS_LEN);
    peer.fixed(public_key);
    write_addresses(&mut peer, relay_addresses);
    let hash = crypto::blake2b_256(&[target, node_id, token, peer.as_slice()]);
    let namespace = namespace(if is_unannounce { UNANNOUNCE } else { ANNOUNCE });
    let mut signable = [0; 64];
    let (first, second) = signable.split_at_mut(32);
    first.copy_from_slice(&namespace);
    second.copy_from_slice(&hash);
    signable
}

/// Returns the prologue of the Noise handshake between two peers.
pub fn handshake_prologue() -> [u8; 32] {
    namespace(PEER_HANDSHAKE)
}

/// Derives the key of holepunch messages from the hash of a handshake. The relay punches, so the relay gets it.
pub fn holepunch_secret(handshake_hash: &[u8; 64]) -> [u8; 32] {
    crypto::blake2b_256_keyed(handshake_hash, &[&namespace(PEER_HOLEPUNCH)])
}

fn namespace(command: u8) -> [u8; 32] {
    crypto::namespace("hyperswarm/dht", command)
}

const PEER_HANDSHAKE: u8 = 0;
const PEER_HOLEPUNCH: u8 = 1;
const ANNOUNCE: u8 = 4;
const UNANNOUNCE: u8 = 5;
