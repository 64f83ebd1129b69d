//! One target under libFuzzer, the one that `HYPERTAB_TARGET` names:
//!
//! ```sh
//! HYPERTAB_TARGET=engine cargo +nightly fuzz run any -- -rss_limit_mb=1024
//! ```
//!
//! Takes `cargo install cargo-fuzz` and a compiler of C++. Without cargo-fuzz, in `tests/fuzz`:
//!
//! ```sh
//! RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cpasses=sancov-module \
//!   -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
//!   -Cllvm-args=-sanitizer-coverage-pc-table" \
//!   cargo +nightly build --release --locked --target x86_64-unknown-linux-gnu
//! HYPERTAB_TARGET=engine target/x86_64-unknown-linux-gnu/release/any -rss_limit_mb=1024
//! ```
#![no_main]

use std::sync::OnceLock;

use hypertab_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("HYPERTAB_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| {
            panic!(
                "HYPERTAB_TARGET is none of {:?}",
                TARGETS.iter().map(|target| target.name).collect::<Vec<_>>()
            )
        })
    });
    (target.run)(data);
});
