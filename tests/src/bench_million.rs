//! A drive of very many files, for measurements and for the test that counts what one folder of it costs.

use std::path::Path;
use std::process::Command;
use std::time::Instant as Clock;

use bytes::Bytes;

use crate::bench_drive::DriveHost;
use crate::bench_host::Host;

/// Files of a folder.
pub const FOLDER: u32 = 20;

/// What reading one folder costs.
#[derive(Clone, Copy, Debug)]
pub struct FolderCost {
    /// Milliseconds until the drive is open.
    pub open: f64,
    /// Milliseconds until the folder is listed.
    pub list: f64,
    /// KiB of memory at the most, above what the process had before.
    pub memory: u64,
    /// Blocks of the entries' core that were read.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes a drive of small files in folders of [`FOLDER`], a folder of many after the other in the order of a shuffle.
pub fn build(path: &Path, files: u32) {
    let mut drive = DriveHost::open(Host::new(1, true), path);
    let folders = files / FOLDER;
    for start in (0..folders).step_by(500) {
        let names = (start..folders.min(start + 500)).map(|i| i.wrapping_mul(7919) % folders);
        let batch: Vec<_> = names.flat_map(|name| (0..FOLDER).map(move |i| file(name, i))).collect();
        drive.put_all(&batch);
    }
    drive.host.close();
}

fn file(folder: u32, i: u32) -> (String, Bytes) {
    (format!("/dir{folder}/file{i}"), Bytes::from(format!("{folder} {i}")))
}

/// Opens a drive and lists one of its folders.
///
/// # Panics
///
/// Panics when the folder is not as it was [built](build).
pub fn read(path: &Path, files: u32) -> FolderCost {
    let before = resident("VmRSS:");
    let begun = Clock::now();
    let mut drive = DriveHost::open(Host::new(2, true), path);
    let open = begun.elapsed();
    let folder = files / FOLDER / 2;
    let found = drive.list(&format!("/dir{folder}"));
    let list = begun.elapsed() - open;
    assert_eq!(found, FOLDER);
    let memory = resident("VmHWM:").saturating_sub(before);
    let (name, content) = file(folder, 7);
    assert_eq!(drive.get(&name), Some(content));
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    FolderCost {
        open: milliseconds(open),
        list: milliseconds(list),
        memory,
        blocks: drive.entry_blocks,
        bytes: drive.entry_bytes,
    }
}

/// Has a process of its own [`read`], whose memory nothing else has used: this program, with arguments and variables.
/// Returns the words that it prints.
///
/// # Panics
///
/// Panics when it fails.
pub fn read_apart(arguments: &[&str], variables: &[(&str, String)]) -> Vec<String> {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(String::from).collect()
}

/// Returns a figure of the process's memory in KiB; 0 where the system does not tell.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
