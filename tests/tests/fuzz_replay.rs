//! The fuzz targets on the stable compiler: what upstream really sent, what once went wrong, and random changes of both.
//!
//! `HYPERTAB_FUZZ` is the number of inputs for each target, `HYPERTAB_TARGET` one target, `HYPERTAB_SEED` the seed. A
//! failure leaves its input in a file and says where.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod fuzz;

use fuzz::mutate::{Random, input};
use fuzz::{TARGETS, Target};

#[test]
fn no_input_makes_a_target_panic() {
    let inputs = variable("HYPERTAB_FUZZ").unwrap_or(1500);
    let seed = variable("HYPERTAB_SEED").unwrap_or(1);
    let wanted = std::env::var("HYPERTAB_TARGET").ok();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert!(
        wanted.as_ref().is_none_or(|wanted| names.contains(&wanted.as_str())),
        "no such target; there are {names:?}"
    );
    let mut failures = Vec::new();
    for target in TARGETS.iter().filter(|target| wanted.as_ref().is_none_or(|wanted| wanted == target.name)) {
        let start = std::time::Instant::now();
        let corpus = corpus(target);
        let seeds: Vec<Vec<u8>> =
            corpus.iter().cloned().chain(target.seeds.iter().flat_map(|name| recorded(name))).collect();
        assert!(target.seeds.is_empty() || seeds.len() > 5, "{} has no recorded input", target.name);
        let mut random = Random::new(seed);
        let changed = (0..inputs).map(|_| input(&seeds, &mut random));
        for bytes in seeds.iter().cloned().chain(changed) {
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
                failures.push(keep(target, &bytes));
                break;
            }
        }
        println!("{}: {} seeds, {} ms", target.name, seeds.len(), start.elapsed().as_millis());
    }
    assert!(failures.is_empty(), "move what failed to tests/fuzz/corpus once it is mended: {failures:#?}");
}

/// `cargo fuzz` does not resolve anew: without them it would not build.
#[test]
fn the_lock_of_the_fuzzer_has_what_the_engine_needs() {
    let read = |path: &str| std::fs::read_to_string(tests().join(path)).unwrap();
    let packages = |lock: &str| -> Vec<(String, String)> {
        let entries = lock.split("[[package]]").skip(1);
        let field = |entry: &str, name: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_matches([' ', '=', '"']).to_string()
        };
        entries.map(|entry| (field(entry, "name"), field(entry, "version"))).collect()
    };
    let (all, own) = (packages(&read("../Cargo.lock")), packages(&read("fuzz/Cargo.lock")));
    for (name, version) in &own {
        let is_here = all.iter().any(|(other, _)| other == name);
        assert!(!is_here || all.contains(&(name.clone(), version.clone())), "{name} {version} is another");
    }
    for manifest in ["../core/Cargo.toml", "../core/crypto/Cargo.toml"] {
        let mut is_needed = false;
        let mut needed = 0;
        for line in read(manifest).lines() {
            if line.starts_with('[') {
                is_needed = line.ends_with("dependencies]") && !line.contains("dev-");
            } else if let Some((name, _)) = line.split_once(['.', ' ']).filter(|_| is_needed)
                && name != "#"
            {
                needed += 1;
                assert!(
                    own.iter().any(|(other, _)| other == name),
                    "{name} is missing in tests/fuzz/Cargo.lock"
                );
            }
        }
        assert!(needed > 5, "{manifest} is read");
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?.replace('_', "");
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Inputs that once went wrong.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let Ok(folder) = std::fs::read_dir(tests().join("fuzz/corpus").join(target.name)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// All bytes in a file of recorded vectors.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(tests().join("vectors").join(name).with_extension("json")).unwrap();
    let mut found = Vec::new();
    collect(&serde_json::from_str(&text).unwrap(), &mut found);
    found.sort();
    found.dedup();
    // Many, and of every length there is.
    let step = found.len() / 300 + 1;
    found.into_iter().step_by(step).collect()
}

fn collect(value: &serde_json::Value, found: &mut Vec<Vec<u8>>) {
    match value {
        serde_json::Value::String(text) if text.len() >= 2 && text.len() <= 20_000 => {
            found.extend(data_encoding::HEXLOWER.decode(text.as_bytes()));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        _ => {}
    }
}

fn keep(target: &Target, bytes: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("hypertab-fuzz-{}-{}", target.name, std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    format!("{}: {} bytes in {}", target.name, bytes.len(), path.display())
}

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
