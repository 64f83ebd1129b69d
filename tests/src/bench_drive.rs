//! A drive on an engine, for measurements: both cores in one file.

use std::path::Path;

use bytes::Bytes;
use hypertab_core::engine::{AppendOptions, CoreId, GetOptions, OpenOptions, RequestId, Response};
use hypertab_core::hyperblobs::{BLOCK_SIZE, BlobId};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hyperdrive::{Drive, DriveError, Entry, Listing, Step, content_manifest};

use crate::bench_host::Host;

/// A drive that is written and read through one engine.
pub struct DriveHost {
    host: Host,
    db: CoreId,
    blobs: CoreId,
    drive: Drive,
}

impl DriveHost {
    /// Makes a drive in a file.
    pub fn open(mut host: Host, path: &Path) -> Self {
        let store = host.store(path);
        let db = host.open_in(store, OpenOptions::default());
        let core = host.engine.core(db).expect("open");
        let manifest = content_manifest(core.manifest().expect("just made"), &core.key());
        let key_pair = core.key_pair().cloned();
        // Without a key it would be the core that the store has already.
        let key = manifest.as_ref().map(Manifest::key);
        let blobs = host.open_in(store, OpenOptions { key, manifest, key_pair, ..OpenOptions::default() });
        Self { host, db, blobs, drive: Drive::default() }
    }

    /// Stores a file.
    pub fn put(&mut self, path: &str, content: &Bytes) {
        let core = self.host.engine.core(self.blobs).expect("open");
        let (block_offset, byte_offset) = (core.length(), core.byte_length());
        let blocks: Vec<_> = (0..content.len())
            .step_by(BLOCK_SIZE)
            .map(|start| content.slice(start..content.len().min(start + BLOCK_SIZE)))
            .collect();
        let blob = BlobId {
            block_offset,
            byte_offset,
            block_length: blocks.len() as u64,
            byte_length: content.len() as u64,
            block_map: false,
        };
        // Commits of one store are in order: no entry is there before its content.
        let stored = self.append(self.blobs, blocks);
        let entry = Entry { blob: Some(blob), ..Entry::default() };
        let length = self.host.engine.core(self.db).expect("open").length();
        let blocks = self.run(|drive, length| drive.put(length, path, &entry));
        let put = self.append(self.db, blocks.clone());
        self.host.wait(stored);
        self.host.wait(put);
        self.drive.keep(length, blocks);
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

    fn run<T>(&mut self, mut call: impl FnMut(&mut Drive, u64) -> Result<Step<T>, DriveError>) -> T {
        let length = self.host.engine.core(self.db).expect("open").length();
        loop {
            match call(&mut self.drive, length).expect("a drive of ours") {
                Step::Done(found) => return found,
                Step::Read(blocks) => {
                    for seq in blocks {
                        let block = self.block(self.db, seq);
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
