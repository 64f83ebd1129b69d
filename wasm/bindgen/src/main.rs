//! Turns the cargo-built engine into an ES module, at the wasm-bindgen version that `Cargo.lock` pins.
//!
//! A command-line wasm-bindgen of another version than the crate's refuses to work, and would have to be
//! installed by hand; this one cannot drift.

use std::path::PathBuf;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, out_dir] = args.as_slice() else {
        eprintln!("usage: hypertab-bindgen INPUT.wasm OUT_DIR");
        return ExitCode::from(2);
    };
    let result = Bindgen::new().input_path(input).out_name("hypertab").web(true).and_then(|bindgen| {
        bindgen
            .typescript(true)
            .keep_debug(false)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(out_dir)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypertab-bindgen: {}: {error:#}", input.display());
            ExitCode::FAILURE
        }
    }
}
