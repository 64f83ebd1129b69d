//! A drive on an engine, for measurements: both cores in one file.

use std::path::Path;

use bytes::Bytes;
use hypertab_core::engine::{
    AppendOptions, BeeChange, BeeId, BeeOptions, CoreId, GetOptions, OpenOptions, RequestId, Response,
};
use hypertab_core::hyperblobs::{BLOCK_SIZE, BlobId};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hyperdrive::{Drive, DriveError, Entry, Listing, Step, content_manifest, entry_key};

use crate::bench_host::Host;

/// A drive that is written and read through one engine.
pub struct DriveHost {
    /// The engine.
    pub host: Host,
    db: CoreId,
    blobs: CoreId,
    drive: Drive,
    /// Writes many files together, and answers the questions of peers.
    bee: BeeId,
    /// Blocks of the entries' core that were read from storage.
    pub entry_blocks: u64,
    /// Their bytes.
    pub entry_bytes: u64,
}

impl DriveHost {
    /// Makes a drive in a file, or opens the one that is there.
    pub fn open(mut host: Host, path: &Path) -> Self {
        let store = host.store(path);
        let db = host.open_in(store, OpenOptions::default());
        let core = host.engine.core(db).expect("open");
        let manifest = content_manifest(core.manifest().expect("its own"), &core.key());
        let key_pair = core.key_pair().cloned();
        // Without a key it would be the core that the store has already.
        let key = manifest.as_ref().map(Manifest::key);
        let blobs = host.open_in(store, OpenOptions { key, manifest, key_pair, ..OpenOptions::default() });
        let bee = host.engine.open_bee(db, BeeOptions::default()).expect("the core is open");
        Self { host, db, blobs, drive: Drive::default(), bee, entry_blocks: 0, entry_bytes: 0 }
    }

    /// Returns the cores of the entries and of the contents.
    pub fn cores(&self) -> [CoreId; 2] {
        [self.db, self.blobs]
    }

    /// Stores a file.
    pub fn put(&mut self, path: &str, content: &Bytes) {
        let (stored, blob) = self.store([content]);
        // Commits of one store are in order: no entry is there before its content.
        let entry = Entry { blob: blob.into_iter().next(), ..Entry::default() };
        let length = self.host.engine.core(self.db).expect("open").length();
        let blocks = self.run(|drive, length| drive.put(length, path, &entry));
        let put = self.append(self.db, blocks.clone());
        self.host.wait(stored);
        self.host.wait(put);
        self.drive.keep(length, blocks);
    }

    /// Stores many files together.
    pub fn put_all(&mut self, files: &[(String, Bytes)]) {
        let (stored, blobs) = self.store(files.iter().map(|(_, content)| content));
        let change = |(path, blob): (&(String, Bytes), BlobId)| {
            let entry = Entry { blob: Some(blob), ..Entry::default() };
            BeeChange::Put(entry_key(&path.0), Some(entry.to_json().into()))
        };
        let changes = files.iter().zip(blobs).map(change).collect();
        let now = self.host.now();
        let written = self.host.engine.bee_write(self.bee, changes, now);
        self.host.wait(stored);
        self.host.wait(written);
    }

    /// Returns the content of a file.
    pub fn get(&mut self, path: &str) -> Option<Bytes> {
        let blob = self.run(|drive, version| drive.file(version, path))?.entry.blob?;
        let mut blocks: Vec<_> =
            (blob.block_offset..blob.block_end()).map(|index| self.block(self.blobs, index)).collect();
        Some(if blocks.len() == 1 { blocks.remove(0) } else { blocks.concat().into() })
    }

    /// Walks over the files of a folder, and returns how many there are.
    pub fn list(&mut self, folder: &str) -> u32 {
        let mut listing = Listing::new(folder).expect("a folder");
        let mut files = 0;
        while self.run(|drive, version| drive.next(version, &mut listing)).is_some() {
            files += 1;
        }
        files
    }

    /// Begins to append contents, and returns where they will be.
    fn store<'a>(&mut self, contents: impl IntoIterator<Item = &'a Bytes>) -> (RequestId, Vec<BlobId>) {
        let core = self.host.engine.core(self.blobs).expect("open");
        let (mut block_offset, mut byte_offset) = (core.length(), core.byte_length());
        let (mut blocks, mut blobs) = (Vec::new(), Vec::new());
        for content in contents {
            let starts = (0..content.len()).step_by(BLOCK_SIZE);
            blocks.extend(starts.map(|at| content.slice(at..content.len().min(at + BLOCK_SIZE))));
            let (block_length, byte_length) =
                (content.len().div_ceil(BLOCK_SIZE) as u64, content.len() as u64);
            blobs.push(BlobId { block_offset, byte_offset, block_length, byte_length, block_map: false });
            block_offset += block_length;
            byte_offset += byte_length;
        }
        (self.append(self.blobs, blocks), blobs)
    }

    fn run<T>(&mut self, mut call: impl FnMut(&mut Drive, u64) -> Result<Step<T>, DriveError>) -> T {
        let length = self.host.engine.core(self.db).expect("open").length();
        loop {
            match call(&mut self.drive, length).expect("a drive of ours") {
                Step::Done(found) => return found,
                Step::Read(blocks) => {
                    for seq in blocks {
                        let block = self.block(self.db, seq);
                        self.entry_blocks += 1;
                        self.entry_bytes += block.len() as u64;
                        self.drive.give(seq, block);
                    }
                }
            }
        }
    }

    fn append(&mut self, core: CoreId, blocks: Vec<Bytes>) -> RequestId {
        self.host.engine.core(core).expect("open").append(blocks, AppendOptions::default())
    }

    fn block(&mut self, core: CoreId, index: u64) -> Bytes {
        let now = self.host.now();
        let request = self.host.engine.core(core).expect("open").get(index, GetOptions::default(), now);
        match self.host.wait(request) {
            Response::Block(Some(block)) => block,
            other => panic!("{other:?}"),
        }
    }
}
