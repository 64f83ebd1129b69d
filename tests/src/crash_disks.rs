//! Every backend on a disk that a test can cut the power of.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypertab_core::storage::conformance::CrashFile;
use hypertab_core::storage::log_store::{FileStore, SyncFile as _};
use hypertab_core::storage::{Batch, Durability, Intent, MemoryStore, Outcome};
use hypertab_relay::RedbStore;

/// xorshift64*, for what has to happen again by its seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Draws a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound
    }

    /// Draws a number of a range.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }
}

/// A store and its disk.
pub trait Disk {
    /// Carries out one intent.
    fn handle_intent(&mut self, intent: Intent) -> Outcome;

    /// Opens what is there, as the next process does.
    fn reopen(&mut self);

    /// Cuts the power and opens what is left: any number of the last [`Durability::Relaxed`] commits may be gone.
    fn crash(&mut self, random: &mut Random);
}

/// Makes the disk of that name: `memory`, `log` or `redb`.
pub fn disk(name: &str) -> Box<dyn Disk> {
    match name {
        "memory" => Box::new(MemoryDisk::default()),
        "log" => Box::new(LogDisk::new(CrashFile::default())),
        "redb" => Box::new(RedbDisk::new(Image::default())),
        other => panic!("there is no disk {other}; there are memory, log and redb"),
    }
}

/// An ordered map, and the one that a loss of power leaves.
#[derive(Default)]
struct MemoryDisk {
    durable: MemoryStore,
    pending: Vec<Batch>,
    current: MemoryStore,
}

impl Disk for MemoryDisk {
    fn handle_intent(&mut self, intent: Intent) -> Outcome {
        let commit = match &intent {
            Intent::Commit { batch, durability, .. } => Some((batch.clone(), *durability)),
            _ => None,
        };
        let outcome = self.current.handle_intent(intent);
        if let (Some((batch, durability)), Outcome::Committed(_)) = (commit, &outcome) {
            self.pending.push(batch);
            if durability == Durability::Strict {
                self.pending.drain(..).for_each(|batch| self.durable.apply(batch));
            }
        }
        outcome
    }

    fn reopen(&mut self) {}

    fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.pending.len() as u64 + 1) as usize;
        self.pending.drain(..).take(kept).for_each(|batch| self.durable.apply(batch));
        self.current = self.durable.clone();
    }
}

/// The log store in a file that forgets.
struct LogDisk {
    store: FileStore<CrashFile>,
}

impl LogDisk {
    fn new(mut file: CrashFile) -> Self {
        file.delay = Some(3);
        let mut store = FileStore::open(file);
        // Often enough that a crash finds every part of a checkpoint.
        store.set_memtable_limit(60_000);
        // So short that most checkpoints leave some of them alone.
        store.set_branch_limit(500);
        Self { store }
    }
}

impl Disk for LogDisk {
    fn handle_intent(&mut self, intent: Intent) -> Outcome {
        self.store.handle_intent(intent);
        self.store.poll_outcome().expect("a file answers at once")
    }

    fn reopen(&mut self) {
        let store = std::mem::replace(&mut self.store, FileStore::open(CrashFile::default()));
        *self = Self::new(store.into_file());
    }

    fn crash(&mut self, random: &mut Random) {
        let store = std::mem::replace(&mut self.store, FileStore::open(CrashFile::default()));
        *self = Self::new(store.into_file().crash(&mut |bound| random.below(bound)));
    }
}

/// redb on a device that forgets.
struct RedbDisk {
    image: Image,
    store: Option<RedbStore>,
}

impl RedbDisk {
    fn new(image: Image) -> Self {
        let store = RedbStore::open_on(image.clone()).expect("redb opens what it left");
        Self { image, store: Some(store) }
    }
}

impl Disk for RedbDisk {
    fn handle_intent(&mut self, intent: Intent) -> Outcome {
        self.store.as_mut().expect("open").handle_intent(intent)
    }

    fn reopen(&mut self) {
        self.store = None;
        *self = Self::new(self.image.clone());
    }

    fn crash(&mut self, random: &mut Random) {
        // Before redb can tidy up.
        let image = self.image.crash(random);
        self.store = None;
        *self = Self::new(image);
    }
}

/// A device in memory, shared with the redb that has it open. Its length is durable at once.
#[derive(Clone, Debug, Default)]
struct Image(Arc<Mutex<CrashFile>>);

impl Image {
    fn file(&self) -> MutexGuard<'_, CrashFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn crash(&self, random: &mut Random) -> Self {
        Self(Arc::new(Mutex::new(self.file().crash(&mut |bound| random.below(bound)))))
    }
}

impl redb::StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let count = self.file().read_at(offset, out).map_err(io::Error::other)?;
        if count < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file().set_len(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file().sync().map_err(io::Error::other)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file().write_at(offset, data).map_err(io::Error::other)
    }
}
