//! A native file for the log store.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use hypertab_core::error::StorageFailure;
use hypertab_core::storage::log_store::SyncFile;

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    file: Arc<File>,
    /// Waits for the disk.
    syncing: Option<JoinHandle<Result<(), StorageFailure>>>,
}

impl DiskFile {
    /// Opens a file, or makes an empty one.
    ///
    /// # Errors
    ///
    /// As the system's.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file: Arc::new(file), syncing: None })
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
        sync(&self.file)
    }

    fn begin_sync(&mut self) -> bool {
        let file = Arc::clone(&self.file);
        self.syncing = std::thread::Builder::new().spawn(move || sync(&file)).ok();
        self.syncing.is_some()
    }

    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        let syncing = self.syncing.take_if(|syncing| wait || syncing.is_finished())?;
        Some(syncing.join().unwrap_or(Err(StorageFailure::WriteFailed)))
    }
}

fn sync(file: &File) -> Result<(), StorageFailure> {
    file.sync_data().map_err(|_| StorageFailure::WriteFailed)
}
