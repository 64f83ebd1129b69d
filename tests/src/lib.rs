//! Helpers shared by the tests of the whole stack.

pub mod bench_drive;
pub mod bench_host;
pub mod bench_limits;
pub mod bench_million;
pub mod bench_remote;
pub mod crash_disks;
pub mod disk_file;
pub mod log_model;
