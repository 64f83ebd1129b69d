//! The tests of the core, one program: each file under its subject, and what they share in `support`.

mod dht_network;
mod engine;
mod hostile_peer;
mod hyperbee;
mod relay;
mod replicator;
mod support;
mod udx;
mod vectors;
