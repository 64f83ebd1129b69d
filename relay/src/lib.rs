//! A relay: gives browser tabs a HyperDHT node to use, over WebSockets.
//!
//! The decisions are in `hypertab_core::dht_relay`; this crate carries bytes between its machine and sockets. Everything
//! runs on one thread: [`serve`] is to be awaited inside a [`tokio::task::LocalSet`].
#![forbid(unsafe_code)]

mod args;
mod http;
mod link;
mod server;
mod testnet;
mod udp;

pub use args::{Args, Command, USAGE, parse};
pub use server::{Event, serve};
