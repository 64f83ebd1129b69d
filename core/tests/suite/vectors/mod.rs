//! Against bytes that upstream produced.

mod bitfield;
mod branches;
mod corestore_keys;
mod crypto;
mod dht;
mod dht_relay;
mod encoding;
mod encryption;
mod flat_tree;
mod hyperbee;
mod hyperdrive;
mod hypertrie;
mod manifest;
mod merkle;
mod proofs;
mod replicator;
mod storage;
mod streams;
mod udx;
mod v10;
