//! Runs wasm-bindgen, at the version that the lock file pins.

fn main() {}
