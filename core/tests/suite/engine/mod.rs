//! The whole engine, with a simulated disk and peers.

mod atoms;
mod bee_remote;
mod bees;
mod branches;
mod capability;
mod channels;
mod local;
mod network;
mod records;
mod replication;
mod sessions;
mod storage;
mod upkeep;
