//! A drive for a host that has its two cores open.
//!
//! Every call runs as far as the blocks that it was given let it. [`Step::Read`] names blocks of the entries' core:
//! [`give`](Drive::give) them and call again with the same arguments.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::entry::{BadEntry, Entry};
use super::folder::{Children, Listing, entry_key, path_of};
use super::path::{self, BadPath};
use crate::hyperbee::{
    BadBlock, BatchWriter, BlockCache, LoadedBlocks, Metadata, ReadError, View, header_block,
};

/// Reads and writes the entries of one drive.
#[derive(Debug, Default)]
pub struct Drive {
    cache: BlockCache,
    loaded: LoadedBlocks,
}

/// How far a call came.
#[derive(Debug)]
pub enum Step<T> {
    /// To its end.
    Done(T),
    /// To where these blocks are needed; none when it only took long.
    Read(Vec<u64>),
}

/// A file of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, with a slash in front.
    pub path: String,
    /// The block that put it.
    pub seq: u64,
    /// What is kept of it.
    pub entry: Entry,
}

/// Why a drive cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriveError {
    /// A block that no correct writer appends.
    Block(BadBlock),
    /// A value that is no entry.
    Entry(BadEntry),
    /// A path that means no file.
    Path(BadPath),
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(error) => error.fmt(f),
            Self::Entry(error) => error.fmt(f),
            Self::Path(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DriveError {}

impl From<BadEntry> for DriveError {
    fn from(error: BadEntry) -> Self {
        Self::Entry(error)
    }
}

impl From<BadPath> for DriveError {
    fn from(error: BadPath) -> Self {
        Self::Path(error)
    }
}

impl Drive {
    /// Takes a block of the entries' core, decrypted.
    pub fn give(&mut self, seq: u64, block: Bytes) {
        self.loaded.give(seq, block);
    }

    /// Takes blocks that were appended to the entries' core from `start` on: the next change reads them first of all.
    pub fn keep(&mut self, start: u64, blocks: impl IntoIterator<Item = Bytes>) {
        for (seq, block) in (start..).zip(blocks) {
            self.cache.keep(seq, block);
        }
    }

    /// Forgets blocks: the entries' core was cut back to `length`.
    pub fn truncate(&mut self, length: u64) {
        self.cache.truncate(length);
        self.loaded.clear();
    }

    /// Returns a file of a version, or `None`.
    ///
    /// # Errors
    ///
    /// [`DriveError`] when the path or what is stored is wrong.
    pub fn file(&mut self, version: u64, path: &str) -> Result<Step<Option<File>>, DriveError> {
        let path = path::file(path)?;
        let step = self.run(|loaded, cache| View::new(loaded, cache, version).get(&entry_key(&path)))?;
        Ok(match step {
            Step::Done(Some(found)) => Step::Done(Some(file(&found)?)),
            Step::Done(None) => Step::Done(None),
            Step::Read(blocks) => Step::Read(blocks),
        })
    }

    /// Returns the next file of a walk, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`DriveError`] when what is stored is wrong.
    pub fn next(&mut self, version: u64, listing: &mut Listing) -> Result<Step<Option<File>>, DriveError> {
        let step = self.run(|loaded, cache| listing.next(&mut View::new(loaded, cache, version)))?;
        Ok(match step {
            Step::Done(Some(found)) => Step::Done(Some(file(&found)?)),
            Step::Done(None) => Step::Done(None),
            Step::Read(blocks) => Step::Read(blocks),
        })
    }

    /// Returns the name of the next child of a folder, or `None` after the last.
    ///
    /// # Errors
    ///
    /// [`DriveError`] when what is stored is wrong.
    pub fn next_child(
        &mut self,
        version: u64,
        children: &mut Children,
    ) -> Result<Step<Option<String>>, DriveError> {
        let step = self.run(|loaded, cache| children.next(&mut View::new(loaded, cache, version)))?;
        Ok(match step {
            Step::Done(child) => Step::Done(child.map(|(name, _)| name)),
            Step::Read(blocks) => Step::Read(blocks),
        })
    }

    /// Returns the blocks to append to the entries' core, which has `length` of them, for a file to be there.
    ///
    /// # Errors
    ///
    /// [`DriveError`] when the path or what is stored is wrong.
    pub fn put(&mut self, length: u64, path: &str, entry: &Entry) -> Result<Step<Vec<Bytes>>, DriveError> {
        let path = path::file(path)?;
        let value = Bytes::from(entry.to_json());
        self.change(length, |batch, loaded, cache| {
            batch.put(loaded, cache, entry_key(&path), Some(value)).map(|_| ())
        })
    }

    /// Returns the blocks to append to the entries' core, which has `length` of them, for a file to be gone.
    ///
    /// # Errors
    ///
    /// [`DriveError`] when the path or what is stored is wrong.
    pub fn delete(&mut self, length: u64, path: &str) -> Result<Step<Vec<Bytes>>, DriveError> {
        let path = path::file(path)?;
        self.change(length, |batch, loaded, cache| batch.delete(loaded, cache, entry_key(&path)).map(|_| ()))
    }

    fn change(
        &mut self,
        length: u64,
        change: impl FnOnce(&mut BatchWriter, &LoadedBlocks, &mut BlockCache) -> Result<(), ReadError>,
    ) -> Result<Step<Vec<Bytes>>, DriveError> {
        let header = (length == 0).then(|| header_block(Some(Metadata::default())));
        self.run(|loaded, cache| {
            let mut batch = BatchWriter::new(length.max(1), true);
            change(&mut batch, loaded, cache)?;
            Ok(header.into_iter().chain(batch.finish()).collect())
        })
    }

    fn run<T>(
        &mut self,
        read: impl FnOnce(&LoadedBlocks, &mut BlockCache) -> Result<T, ReadError>,
    ) -> Result<Step<T>, DriveError> {
        match read(&self.loaded, &mut self.cache) {
            Ok(found) => {
                self.loaded.clear();
                Ok(Step::Done(found))
            }
            Err(ReadError::Missing | ReadError::Paused) => Ok(Step::Read(self.loaded.take_needed())),
            Err(ReadError::Invalid(bad)) => {
                self.loaded.clear();
                Err(DriveError::Block(bad))
            }
        }
    }
}

fn file(found: &crate::hyperbee::Entry) -> Result<File, DriveError> {
    let path = path_of(&found.key).ok_or(BadEntry)?;
    let value = found.value.as_deref().ok_or(BadEntry)?;
    Ok(File { path: String::from(path), seq: found.seq, entry: Entry::from_json(value)? })
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;

    use super::*;
    use crate::hyperblobs::BlobId;

    /// Runs calls against blocks in memory, one block at a time.
    struct Host {
        drive: Drive,
        blocks: Vec<Bytes>,
    }

    impl Host {
        fn run<T>(&mut self, mut call: impl FnMut(&mut Drive, u64) -> Result<Step<T>, DriveError>) -> T {
            loop {
                match call(&mut self.drive, self.blocks.len() as u64).unwrap() {
                    Step::Done(found) => return found,
                    Step::Read(blocks) => {
                        for seq in blocks {
                            self.drive.give(seq, self.blocks[seq as usize].clone());
                        }
                    }
                }
            }
        }

        fn files(&mut self, folder: &str) -> Vec<File> {
            let mut listing = Listing::new(folder).unwrap();
            let mut all = Vec::new();
            while let Some(file) = self.run(|drive, version| drive.next(version, &mut listing)) {
                all.push(file);
            }
            all
        }
    }

    #[test]
    fn a_drive_and_a_map_say_the_same() {
        let mut host = Host { drive: Drive::default(), blocks: Vec::new() };
        let mut model = BTreeMap::new();
        let mut state = 7u32;
        let mut below = |limit: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % limit
        };

        for step in 0..600u64 {
            let path = format!("/dir-{}/{}", below(5), below(30));
            let blocks = if below(4) == 0 {
                model.remove(&path);
                host.run(|drive, length| drive.delete(length, &path))
            } else {
                let blob = Some(BlobId { block_offset: step, ..BlobId::default() });
                let entry = Entry { blob, executable: below(2) == 0, ..Entry::default() };
                model.insert(path.clone(), entry.clone());
                host.run(|drive, length| drive.put(length, &path, &entry))
            };
            if below(3) == 0 {
                host.drive.keep(host.blocks.len() as u64, blocks.clone());
            }
            host.blocks.extend(blocks);
            let found = host.run(|drive, version| drive.file(version, &path));
            assert_eq!(found.map(|file| file.entry), model.get(&path).cloned());
        }

        let found: Vec<_> = host.files("/").into_iter().map(|file| (file.path, file.entry)).collect();
        let mut expected: Vec<_> = model.into_iter().collect();
        expected.sort();
        assert_eq!(found, expected);
        let mut children = Children::new("/").unwrap();
        let mut names = Vec::new();
        while let Some(name) = host.run(|drive, version| drive.next_child(version, &mut children)) {
            names.push(name);
        }
        assert_eq!(names, ["dir-0", "dir-1", "dir-2", "dir-3", "dir-4"]);
    }

    #[test]
    fn what_is_no_drive_is_refused() {
        let mut drive = Drive::default();

        assert_eq!(drive.file(5, "/").unwrap_err(), DriveError::Path(BadPath::Root));
        let Step::Read(blocks) = drive.file(5, "/a").unwrap() else { panic!() };
        assert_eq!(blocks, [4]);
        drive.give(4, Bytes::from_static(b"no block of a bee"));
        assert!(matches!(drive.file(5, "/a"), Err(DriveError::Block(_))));
    }
}
