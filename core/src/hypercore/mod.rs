
pub mod bitfield;
pub mod conflict;
pub mod manifest;
pub mod merkle_tree;
pub mod multisig;
pub mod proof;
pub mod prove;
pub mod reorg;
pub mod standalone;
pub mod verifier;
pub mod verify;
