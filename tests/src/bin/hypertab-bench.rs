//! Times our engine on the workloads of `tests/bench/upstream.cjs`, and the limits of this machine.
//!
//! `hypertab-bench [--forced] [name ...]` prints one line a figure: name, value, unit, with tabs between. With
//! `--forced` every append waits for the disk; without, commits are handed to the system, as upstream does.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant as Clock;

use bytes::Bytes;
use hypertab_core::engine::{
    AppendOptions, BeeChange, BeeOptions, BeeRead, BeeResponse, CoreId, GetOptions, OpenOptions, RangeWish,
    Response, Role, UpdateOptions,
};
use hypertab_core::hyperbee::Range;
use hypertab_tests::bench_drive::DriveHost;
use hypertab_tests::bench_host::Host;
use hypertab_tests::bench_limits;
use hypertab_tests::bench_million;
use hypertab_tests::bench_remote::{Cost, Reader, mean, serve};

/// Runs a workload; without waiting for the disk when told so.
type Case = fn(bool);

fn main() {
    let mut only: Vec<String> = std::env::args().skip(1).collect();
    let is_relaxed = !only.iter().any(|argument| argument == "--forced");
    only.retain(|argument| argument != "--forced");
    if let [READ_MILLION, path] = only.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return read_million(Path::new(path));
    }
    let cases: [(&str, Case); 11] = [
        ("append-single-1k", append_single),
        ("append-batch-1k", append_batch_and_get),
        ("append-batch-64k", append_large),
        ("replicate-1k", |relaxed| replicate("replicate-1k", 20_000, 1024, relaxed)),
        ("replicate-64k", |relaxed| replicate("replicate-64k", 1000, 65536, relaxed)),
        ("bee", bee),
        ("drive", drive),
        ("drive-million", |_| drive_million()),
        ("remote", |_| remote()),
        ("open", open),
        ("limits", |_| bench_limits::run(&file, &block, &out)),
    ];
    let _cleanup = Cleanup;
    for (name, run) in cases {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            run(is_relaxed);
        }
    }
}

fn out(name: &str, value: f64, unit: &str) {
    println!("{name}\t{value:.4}\t{unit}");
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Clock::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Deterministic bytes: xorshift32, seeded by the block index.
fn block(index: u32, size: usize) -> Bytes {
    let mut state = (index + 1).wrapping_mul(2_654_435_761);
    let mut bytes = Vec::with_capacity(size);
    for _ in 0..size / 4 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Bytes::from(bytes)
}

fn blocks(range: std::ops::Range<u32>, size: usize) -> Vec<Bytes> {
    range.map(|index| block(index, size)).collect()
}

/// A file in the folder of this process, which [`Cleanup`] deletes.
fn file() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string())
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("hypertab-bench-{}", std::process::id()))
}

/// Deletes the files of this process when it ends, by a panic too.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(folder());
    }
}

fn append(host: &mut Host, core: CoreId, blocks: Vec<Bytes>) {
    let request = host.engine.core(core).expect("open").append(blocks, AppendOptions::default());
    host.wait(request);
}

fn get(host: &mut Host, core: CoreId, index: u64) {
    let now = host.now();
    let request = host.engine.core(core).expect("open").get(index, GetOptions::default(), now);
    host.wait(request);
}

fn append_single(is_relaxed: bool) {
    let mut host = Host::new(1, is_relaxed);
    let core = host.open(&file(), OpenOptions::default());
    let blocks = blocks(0..5000, 1024);
    let seconds = timed(|| blocks.into_iter().for_each(|block| append(&mut host, core, vec![block])));
    out("append-single-1k", 5000.0 / seconds, "blocks/s");
}

fn append_batch_and_get(is_relaxed: bool) {
    const COUNT: u32 = 50_000;
    let mut host = Host::new(1, is_relaxed);
    let core = host.open(&file(), OpenOptions::default());
    let all: Vec<_> = (0..COUNT).step_by(1000).map(|start| blocks(start..start + 1000, 1024)).collect();
    let seconds = timed(|| all.into_iter().for_each(|batch| append(&mut host, core, batch)));
    out("append-batch-1k", f64::from(COUNT) / seconds, "blocks/s");
    let seconds = timed(|| (0..COUNT).for_each(|index| get(&mut host, core, index.into())));
    out("get-sequential-1k", f64::from(COUNT) / seconds, "blocks/s");
    let mut state = 12345_u32;
    let seconds = timed(|| {
        for _ in 0..COUNT {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
            get(&mut host, core, (state % COUNT).into());
        }
    });
    out("get-random-1k", f64::from(COUNT) / seconds, "blocks/s");
}

fn append_large(is_relaxed: bool) {
    let mut host = Host::new(1, is_relaxed);
    let core = host.open(&file(), OpenOptions::default());
    let all: Vec<_> = (0..2000).step_by(50).map(|start| blocks(start..start + 50, 65536)).collect();
    let seconds = timed(|| all.into_iter().for_each(|batch| append(&mut host, core, batch)));
    out("append-batch-64k", 2000.0 * 65536.0 / seconds / 1e6, "MB/s");
}

fn replicate(name: &str, count: u32, size: usize, is_relaxed: bool) {
    let mut writer = Host::new(1, is_relaxed);
    let core = writer.open(&file(), OpenOptions::default());
    let batch = if size > 4096 { 50 } else { 1000 };
    for start in (0..count).step_by(batch as usize) {
        append(&mut writer, core, blocks(start..start + batch, size));
    }
    let key = writer.engine.core(core).expect("open").key();
    let mut reader = Host::new(2, is_relaxed);
    let copy = reader.open(&file(), OpenOptions { key: Some(key), ..OpenOptions::default() });
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a connection");
        writer.attach(&[core], socket, Role::Responder);
        while writer.step() {}
    });
    let seconds = timed(|| {
        let socket = TcpStream::connect(address).expect("loopback");
        let handle = socket.try_clone().expect("a second handle");
        reader.attach(&[copy], socket, Role::Initiator);
        let now = reader.now();
        let mut core = reader.engine.core(copy).expect("open");
        core.set_finding_peers(false, now);
        let update = core.update(UpdateOptions::default(), now);
        let range = RangeWish { end: Some(u64::from(count)), ..RangeWish::default() };
        let download = core.download(range, now);
        reader.wait(update);
        reader.wait(download);
        handle.shutdown(std::net::Shutdown::Both).expect("connected");
    });
    serving.join().expect("the writer does not fail");
    match size {
        1024 => out(name, f64::from(count) / seconds, "blocks/s"),
        _ => out(name, f64::from(count) * size as f64 / seconds / 1e6, "MB/s"),
    }
}

/// Puts, gets and walks of a bee, every command one after the other as a program that awaits each has them.
fn bee(is_relaxed: bool) {
    const COUNT: u32 = BEE_KEYS;
    let mut host = Host::new(1, is_relaxed);
    let core = host.open(&file(), OpenOptions::default());
    let bee = host.engine.open_bee(core, BeeOptions::default()).expect("the core is open");
    let write = |host: &mut Host, changes: Vec<BeeChange>| {
        let now = host.now();
        let request = host.engine.bee_write(bee, changes, now);
        host.wait(request);
    };
    let put = |key: Bytes, value: String| BeeChange::Put(key, Some(value.into()));
    let seconds = timed(|| {
        for start in (0..COUNT).step_by(1000) {
            write(&mut host, (start..start + 1000).map(|i| put(bee_key(i), format!("value-{i}"))).collect());
        }
    });
    out("bee-put-batch", f64::from(COUNT) / seconds, "puts/s");
    let seconds = timed(|| {
        for i in 0..COUNT {
            let now = host.now();
            let request = host.engine.bee_get(bee, bee_key(i), BeeRead::default(), now);
            let found = host.wait(request);
            assert!(matches!(found, Response::Bee(BeeResponse::Entry(Some(_)))));
        }
    });
    out("bee-get", f64::from(COUNT) / seconds, "gets/s");
    let mut rows = 0_u32;
    let seconds = timed(|| {
        let mut range = Range::default();
        loop {
            let now = host.now();
            let request = host.engine.bee_range(bee, range.clone(), BeeRead::default(), now);
            let Response::Bee(BeeResponse::Entries(entries, more)) = host.wait(request) else {
                unreachable!()
            };
            rows += u32::try_from(entries.len()).expect("a page");
            range.gt = entries.last().map(|entry| entry.key.clone());
            if !more {
                break;
            }
        }
    });
    assert_eq!(rows, COUNT);
    out("bee-scan", f64::from(rows) / seconds, "entries/s");
    let seconds = timed(|| {
        (0..2000).for_each(|i| write(&mut host, vec![put(format!("single-{i}").into(), format!("v{i}"))]));
    });
    out("bee-put-single", 2000.0 / seconds, "puts/s");
}

fn drive(is_relaxed: bool) {
    const COUNT: u32 = DRIVE_FILES;
    let mut drive = DriveHost::open(Host::new(1, is_relaxed), &file());
    let contents = blocks(0..COUNT, 8192);
    let seconds = timed(|| (0..).zip(&contents).for_each(|(i, content)| drive.put(&drive_path(i), content)));
    out("drive-put-8k", f64::from(COUNT) / seconds, "files/s");
    let seconds = timed(|| {
        (0..)
            .zip(&contents)
            .for_each(|(i, content)| assert_eq!(drive.get(&drive_path(i)).as_ref(), Some(content)));
    });
    out("drive-get-8k", f64::from(COUNT) / seconds, "files/s");
    let mut files = 0;
    let seconds = timed(|| files = drive.list("/"));
    assert_eq!(files, COUNT);
    out("drive-list", f64::from(COUNT) / seconds, "entries/s");
}

/// A million files: making them, and then one folder in a process of its own.
fn drive_million() {
    let path = file();
    let seconds = timed(|| bench_million::build(&path, MILLION));
    out("drive-million-put", f64::from(MILLION) / seconds, "files/s");
    let arguments = [READ_MILLION, path.to_str().expect("a name of ours")];
    let figures = bench_million::read_apart(&arguments, &[]);
    let names = [("open", "ms"), ("list-20", "ms"), ("memory", "KiB"), ("blocks", "blocks")];
    for ((name, unit), value) in names.iter().zip(figures) {
        out(&format!("drive-million-{name}"), value.parse().expect("a number"), unit);
    }
    std::fs::remove_file(path).expect("it was made above");
}

fn read_million(path: &Path) {
    let cost = bench_million::read(path, MILLION);
    println!("{} {} {} {}", cost.open, cost.list, cost.memory, cost.blocks);
}

/// Files of the large drive.
const MILLION: u32 = 1_000_000;

/// What this program is called with to read the large drive.
const READ_MILLION: &str = "read-million";

/// Reads of a remote bee and drive, each with an empty copy, over a connection with 20 ms of round trip.
fn remote() {
    let print = |name: &str, cost: Cost| {
        out(&format!("remote-{name}-blocks"), cost.blocks, "blocks");
        out(&format!("remote-{name}-trips"), cost.trips, "trips");
    };
    let mut writer = Host::new(1, true);
    let core = writer.open(&file(), OpenOptions::default());
    let bee = writer.engine.open_bee(core, BeeOptions::default()).expect("the core is open");
    for start in (0..BEE_KEYS).step_by(1000) {
        let put = |i: u32| BeeChange::Put(bee_key(i), Some(format!("value-{i}").into()));
        let now = writer.now();
        let request = writer.engine.bee_write(bee, (start..start + 1000).map(put).collect(), now);
        writer.wait(request);
    }
    let key = writer.engine.core(core).expect("open").key();
    let address = serve(writer, vec![core]);
    let get = mean(10, |i| {
        let (value, cost) = Reader::connect(&file(), key, address).get(bee_key(i * 1999));
        assert!(value.is_some());
        cost
    });
    print("get", get);
    let scan = mean(1, |_| {
        let (rows, cost) = Reader::connect(&file(), key, address).scan(Range::default());
        assert_eq!(rows, BEE_KEYS as usize);
        cost
    });
    print("scan", scan);

    let mut drive = DriveHost::open(Host::new(1, true), &file());
    for i in 0..DRIVE_FILES {
        drive.put(&drive_path(i), &block(i, 8192));
    }
    drive.put("/large", &block(7, 64 << 20));
    let cores = drive.cores();
    let key = drive.host.engine.core(cores[0]).expect("open").key();
    let address = serve(drive.host, cores.to_vec());
    let list = mean(5, |i| {
        let (files, cost) = Reader::connect(&file(), key, address).list(&format!("/dir{i}"));
        assert_eq!(files, 100);
        cost
    });
    print("list", list);
    let range = mean(5, |i| {
        let (start, length) = (u64::from(i + 2) * (8 << 20) + 1000, 320 << 10);
        let (bytes, cost) = Reader::connect(&file(), key, address).read("/large", start, length);
        assert_eq!(bytes, 6 << 16);
        cost
    });
    print("range", range);
}

fn bee_key(i: u32) -> Bytes {
    Bytes::from(format!("key-{:010}", i.wrapping_mul(2_654_435_761) % 1_000_000_007))
}

fn drive_path(i: u32) -> String {
    format!("/dir{}/file{i}", i % 20)
}

/// Keys of the bee.
const BEE_KEYS: u32 = 20_000;

/// Files of the drive.
const DRIVE_FILES: u32 = 2000;

fn open(is_relaxed: bool) {
    const COUNT: u32 = 200_000;
    let path = file();
    let mut host = Host::new(1, is_relaxed);
    let core = host.open(&path, OpenOptions::default());
    let small = blocks(0..10_000, 16);
    for _ in 0..COUNT / 10_000 {
        append(&mut host, core, small.clone());
    }
    let key = host.engine.core(core).expect("open").key();
    host.close();
    let seconds = timed(|| {
        let mut host = Host::new(1, is_relaxed);
        let core = host.open(&path, OpenOptions { key: Some(key), ..OpenOptions::default() });
        get(&mut host, core, u64::from(COUNT) - 1);
    });
    out("open-200k", seconds * 1000.0, "ms");
}
