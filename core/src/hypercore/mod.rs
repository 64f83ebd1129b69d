//! The append-only log: its tree, its proofs, its signatures, its encryption.

pub mod bitfield;
pub mod conflict;
pub mod encryption;
pub mod manifest;
pub mod merkle_tree;
pub mod multisig;
pub mod proof;
pub mod prove;
pub mod reorg;
pub mod standalone;
pub mod verifier;
pub mod verify;
