//! A native file for the log store.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hypertab_core::error::StorageFailure;
use hypertab_core::storage::log_store::SyncFile;

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
}

impl DiskFile {
    /// Opens a file, or makes an empty one.
    ///
    /// # Errors
    ///
    /// As the system's.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file })
    }
}

impl SyncFile for DiskFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(StorageFailure::ReadFailed),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        self.file.write_all_at(bytes, offset).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageFailure::Full,
            _ => StorageFailure::WriteFailed,
        })
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        self.file.sync_data().map_err(|_| StorageFailure::WriteFailed)
    }
}
