//! Turns the cargo-built engine into an ES module, at the wasm-bindgen version that `Cargo.lock` pins.
//!
//! Then it packs the module: see [`pack`].
//!
//! A command-line wasm-bindgen of another version than the crate's refuses to work, and would have to be
//! installed by hand; this one cannot drift.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

mod pack;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, out_dir] = args.as_slice() else {
        eprintln!("usage: hypertab-bindgen INPUT.wasm OUT_DIR");
        return ExitCode::from(2);
    };
    match generate(input, out_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypertab-bindgen: {}: {error:#}", input.display());
            ExitCode::FAILURE
        }
    }
}

fn generate(input: &Path, out_dir: &Path) -> Result<(), Box<dyn Error>> {
    Bindgen::new()
        .input_path(input)
        .out_name("hypertab")
        .web(true)?
        .typescript(true)
        .keep_debug(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(out_dir)?;
    let module = out_dir.join("hypertab_bg.wasm");
    fs::write(&module, pack::pack(&fs::read(&module)?)?)?;
    Ok(())
}
