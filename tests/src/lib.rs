//! Helpers shared by the tests of the whole stack.

pub mod redb_store;
