//! One folder of a drive costs what is in it, whether the drive has thousands of files or very many: the blocks that are
//! read are counted, and the memory of a process that does nothing else is measured.
//!
//! `HYPERTAB_FILES` is how many files the large drive has.

use std::path::PathBuf;

use hypertab_tests::bench_million::{FOLDER, build, read, read_apart};

/// Files of the small drive.
const FEW: u32 = 2000;

/// Blocks of the entries' core for a folder: one for each file and its neighbour, and a node and some keys for each of
/// up to ten levels of the tree.
const MAX_BLOCKS: u64 = FOLDER as u64 + 1 + 10 * 4;

/// Bytes of those blocks.
const MAX_BYTES: u64 = 64 << 10;

/// KiB of memory that a folder of the large drive may cost.
const MAX_MEMORY: u64 = 16 << 10;

/// Which drive the process is to read, instead of making drives.
const READ: &str = "HYPERTAB_READ_FILES";

#[test]
fn folder_costs_what_is_in_it_and_not_what_is_in_the_drive() {
    if let Some(files) = std::env::var(READ).ok().and_then(|files| files.parse().ok()) {
        let cost = read(&path(files, std::os::unix::process::parent_id()), files);
        println!("\nCOST {} {} {}", cost.blocks, cost.bytes, cost.memory);
        return;
    }
    let many = std::env::var("HYPERTAB_FILES").map_or(100_000, |files| files.parse().unwrap());
    let [few, many] = [FEW, many].map(|files| {
        let path = path(files, std::process::id());
        build(&path, files);
        let cost = cost_of(files);
        std::fs::remove_file(&path).unwrap();
        println!("{files} files: {cost:?}");
        cost
    });

    for cost in [few, many] {
        assert!(cost.blocks >= u64::from(FOLDER), "{cost:?}: nothing was counted");
        assert!(cost.blocks <= MAX_BLOCKS, "{cost:?}");
        assert!(cost.bytes <= MAX_BYTES, "{cost:?}");
        assert!(cost.memory <= MAX_MEMORY, "{cost:?}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    blocks: u64,
    bytes: u64,
    memory: u64,
}

/// Reads a folder in a process of its own.
fn cost_of(files: u32) -> Cost {
    let test = "folder_costs_what_is_in_it_and_not_what_is_in_the_drive";
    let words = read_apart(&["--exact", test, "--nocapture"], &[(READ, files.to_string())]);
    let at = words.iter().position(|word| word == "COST").expect("the other process tells");
    let [blocks, bytes, memory] = [1, 2, 3].map(|i| words[at + i].parse().unwrap());
    Cost { blocks, bytes, memory }
}

fn path(files: u32, process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("hypertab-drive-{files}-{process}"))
}
