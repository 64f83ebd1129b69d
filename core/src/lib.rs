//! Hypercore 11 as I/O-free state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod compact_encoding;
pub mod error;
pub mod flat_tree;
pub mod id;
pub mod time;
#[cfg(feature = "dht")]
pub mod udx;
