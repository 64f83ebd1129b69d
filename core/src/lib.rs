//! Hypercore 11 as I/O-free state machines.
//!
//! Nothing in this crate reads a clock, a socket, a disk or a random number generator: whoever drives a
//! machine hands those in as arguments and carries its outputs away. Modules are named after the upstream
//! package they match; their first lines say which one.
//!
//! - [`compact_encoding`], [`flat_tree`] and [`crypto`] are the bytes, positions and keys all others use.
//! - [`noise`], [`secret_stream`] and [`protomux`] make an encrypted path with channels out of an ordered byte path;
//!   [`engine::link`] puts them together.
//! - [`hypercore`] is the log: its tree, proofs, signatures and encryption.
//! - [`dht_relay`] reaches the HyperDHT through somebody else's node.
//! - [`collections`] are ordered maps that cost a browser little code.
//! - [`time`], [`id`] and [`error`] are the words all others share.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod collections;
pub mod compact_encoding;
pub mod corestore;
pub mod crypto;
#[cfg(feature = "dht")]
pub mod dht;
pub mod dht_relay;
pub mod engine;
pub mod error;
pub mod flat_tree;
#[cfg(feature = "bee")]
pub mod hyperbee;
#[cfg(feature = "drive")]
pub mod hyperblobs;
pub mod hypercore;
#[cfg(feature = "drive")]
pub mod hyperdrive;
pub mod id;
pub mod noise;
pub mod protomux;
pub mod replicator;
pub mod secret_stream;
pub mod storage;
pub mod time;
#[cfg(feature = "dht")]
pub mod udx;
