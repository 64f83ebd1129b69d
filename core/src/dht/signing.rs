//! What hyperdht signs, and under which namespaces.
//!
//! Source: hyperdht 6.33, `lib/constants.js` and `lib/persistent.js`.

use super::command;
use super::messages::Peer;
use super::rpc::{NodeId, Token};
use crate::compact_encoding::Writer;
use crate::crypto;

/// Returns the namespace of a command: what a signature or a key under it is bound to.
pub fn namespace(command: u64) -> [u8; 32] {
    crypto::namespace("hyperswarm/dht", u8::try_from(command).unwrap_or(u8::MAX))
}

/// Returns what an announce ([`command::ANNOUNCE`]) or unannounce signs. Valid at one storing node while its token
/// is, about 15 s.
pub fn announce_signable(
    command: u64,
    target: &[u8; 32],
    node_id: &NodeId,
    token: &Token,
    peer: &Peer,
    refresh: Option<&[u8; 32]>,
) -> [u8; 64] {
    let refresh = refresh.map_or(&[][..], |refresh| refresh);
    let hash = crypto::blake2b_256(&[target, node_id, token, &peer.encode(), refresh]);
    join(&namespace(command), &hash)
}

/// Returns what the owner of a mutable value signs.
pub fn mutable_signable(seq: u64, value: &[u8]) -> [u8; 64] {
    let mut writer = Writer::new();
    writer.uint(seq);
    writer.buffer(value);
    join(&namespace(command::MUTABLE_PUT), &crypto::blake2b_256(&[writer.as_slice()]))
}

/// Checks the signature of a mutable value.
pub fn verify_mutable(signature: &[u8; 64], seq: u64, value: &[u8], public_key: &[u8; 32]) -> bool {
    crypto::verify(&mutable_signable(seq, value), signature, public_key)
}

fn join(a: &[u8; 32], b: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    let (first, second) = out.split_at_mut(32);
    first.copy_from_slice(a);
    second.copy_from_slice(b);
    out
}
