//! The append-only log: its tree, its proofs, its signatures, its encryption.

pub mod bitfield;
pub mod branch;
pub mod branching;
pub mod conflict;
pub mod core;
pub mod encryption;
pub mod error;
pub mod jobs;
pub mod layers;
pub mod manifest;
pub mod merkle_tree;
pub mod multisig;
mod nodes;
pub mod opening;
pub mod proof;
pub mod prove;
mod read;
pub mod reorg;
mod retained;
pub mod standalone;
pub mod upkeep;
pub mod v10;
pub mod verifier;
pub mod verify;
mod write;
