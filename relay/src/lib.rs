//! A relay: gives browser tabs a HyperDHT node to use, over WebSockets.
//!
//! The decisions of the protocol are in `hypertab_core::dht_relay`; this crate carries bytes between its machine and
//! sockets, and decides who is let in. Everything runs on one thread: [`serve`] is to be awaited inside a
//! [`tokio::task::LocalSet`].
#![forbid(unsafe_code)]

mod access;
mod acme;
pub mod command;
pub mod config;
mod health;
mod http;
mod hub;
mod link;
mod log;
mod metrics;
mod mirror;
#[cfg(test)]
mod mutations;
mod private;
mod redb_store;
mod server;
mod socket;
mod state;
mod status;
mod stun;
mod testnet;
mod tls;
pub mod udp;

pub use access::Token;
pub use health::ask_health;
pub use redb_store::RedbStore;
pub use server::{Event, Signal, serve};
