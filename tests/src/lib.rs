//! Helpers shared by the tests of the whole stack.

pub mod bench_drive;
pub mod bench_host;
pub mod disk_file;
pub mod redb_store;
