//! Corestore: many cores from one key.
//!
//! Source: corestore 7.12.

pub mod keys;
pub mod query;
