//! Opening a log costs the same for a hundred blocks and for a million, or more by `HYPERTAB_OPENING`: what is asked of the
//! storage is counted, and how many bytes it hands over.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::engine::{
    AppendOptions, Config, CoreId, Engine, Event, Input, OpenCore, OpenOptions, Output, RequestId,
};
use hypertab_core::error::StorageFailure;
use hypertab_core::storage::log_store::{FileStore, SyncFile};
use hypertab_core::storage::{Intent, MemoryStore, Outcome, StoreId};
use hypertab_core::time::Instant;
use hypertab_tests::disk_file::DiskFile;

/// How many blocks a short log has, and a long one.
fn lengths() -> [u64; 2] {
    let long = std::env::var("HYPERTAB_OPENING").map(|count| count.parse().expect("a number of blocks"));
    [100, long.unwrap_or(1_000_000)]
}

/// Blocks of one append.
const BATCH: u64 = 20_000;

/// How many times the storage may be asked: the head, the names, the roots and a page of the bitfield.
const MAX_INTENTS: u64 = 16;

/// Bytes that the records of a log may have: a page of the bitfield has 4 KiB, a root 40 bytes.
const MAX_BYTES: u64 = 24 << 10;

/// Bytes of a file that may be read to find them: headers, the manifest, a branch and a leaf for each key, and what follows the
/// last checkpoint.
const MAX_FILE_BYTES: u64 = 256 << 10;

#[test]
fn opening_a_log_in_memory_costs_the_same_for_any_length() {
    let costs = lengths().map(|length| {
        let mut memory = MemoryStore::new();
        write(&mut |intent| memory.handle_intent(intent), length);
        open(&mut |intent| memory.handle_intent(intent), length)
    });

    check(costs);
}

#[test]
fn opening_a_log_in_a_file_costs_the_same_for_any_length() {
    let file_bytes = Rc::new(Cell::new(0));
    let costs = lengths().map(|length| {
        let folder = Folder::new(length);
        let path = folder.0.join("store");
        let mut store = FileStore::open(DiskFile::open(&path).unwrap());
        write(&mut |intent| answer(&mut store, intent), length);
        store.close();
        drop(store);
        file_bytes.set(0);
        let file = Counted { file: DiskFile::open(&path).unwrap(), bytes: Rc::clone(&file_bytes) };
        let started = std::time::Instant::now();
        let mut store = FileStore::open(file);
        let cost = open(&mut |intent| answer(&mut store, intent), length);
        println!("{length} blocks: {} bytes of the file, {:?}", file_bytes.get(), started.elapsed());
        assert!(file_bytes.get() < MAX_FILE_BYTES, "{} bytes read for {length} blocks", file_bytes.get());
        cost
    });

    check(costs);
}

/// What an opening asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    intents: u64,
    keys: u64,
    bytes: u64,
}

fn check([short, long]: [Cost; 2]) {
    println!("short: {short:?}, long: {long:?}");
    assert!(short.intents > 0 && short.bytes > 0, "{short:?}: nothing was counted");
    assert!(long.intents <= short.intents + 1, "{long:?}, and {short:?} for few blocks");
    assert!(
        long.intents <= MAX_INTENTS && long.keys <= short.keys + 32,
        "{long:?}, and {short:?} for few blocks"
    );
    assert!(long.bytes <= MAX_BYTES, "{long:?}, and {short:?} for few blocks");
}

type Disk<'a> = &'a mut dyn FnMut(Intent) -> Outcome;

/// Appends blocks to a new log.
fn write(disk: Disk<'_>, length: u64) {
    let mut host = Host::new();
    let core = host.open(disk);
    for start in (0..length).step_by(usize::try_from(BATCH).unwrap()) {
        let blocks =
            (start..length.min(start + BATCH)).map(|index| Bytes::from(index.to_le_bytes().to_vec()));
        let request = host.engine.core(core).unwrap().append(blocks.collect(), AppendOptions::default());
        host.finish(request, disk);
    }
}

/// Opens the log again.
fn open(disk: Disk<'_>, length: u64) -> Cost {
    let mut host = Host::new();
    let core = host.open(disk);
    assert_eq!(host.engine.core(core).unwrap().length(), length);
    assert_eq!(host.engine.core(core).unwrap().contiguous_length(), length);
    host.cost
}

/// An engine with one store.
struct Host {
    engine: Engine,
    store: StoreId,
    cost: Cost,
}

impl Host {
    fn new() -> Self {
        let mut engine = Engine::new(Config::default(), [3; 32], Instant::EPOCH);
        let store = engine.create_store();
        Self { engine, store, cost: Cost::default() }
    }

    fn open(&mut self, disk: Disk<'_>) -> CoreId {
        let core = OpenOptions::default();
        let options = OpenCore { core, ..OpenCore::default() };
        let (core, request) = self.engine.open_core(self.store, options, Instant::EPOCH);
        self.finish(request, disk);
        core
    }

    /// Runs until a request is answered.
    fn finish(&mut self, wanted: RequestId, disk: Disk<'_>) {
        loop {
            match self.engine.poll_output(Instant::EPOCH) {
                Output::Storage { store, intent } => {
                    self.cost.intents += 1;
                    if let Intent::Read { keys, .. } = &intent {
                        self.cost.keys += keys.len() as u64;
                    }
                    let outcome = disk(intent);
                    self.cost.bytes += match &outcome {
                        Outcome::Read { values, .. } => {
                            values.iter().flatten().map(|value| value.len() as u64).sum()
                        }
                        Outcome::Scan { entries, .. } => {
                            entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
                        }
                        _ => 0,
                    };
                    self.engine.handle_input(Input::Storage { store, outcome }, Instant::EPOCH);
                }
                Output::Event(Event::Done { request, result }) if request == wanted => {
                    result.expect("it is well");
                    return;
                }
                Output::Idle { .. } => panic!("the engine waits for nothing"),
                _ => {}
            }
        }
    }
}

fn answer<F: SyncFile>(store: &mut FileStore<F>, intent: Intent) -> Outcome {
    store.handle_intent(intent);
    store.poll_outcome().expect("a file answers at once")
}

/// A file whose reads are counted.
struct Counted {
    file: DiskFile,
    bytes: Rc<Cell<u64>>,
}

impl SyncFile for Counted {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        let read = self.file.read_at(offset, buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        self.file.sync()
    }
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(length: u64) -> Self {
        let path = std::env::temp_dir().join(format!("hypertab-opening-{length}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all::<&Path>(&self.0);
    }
}
