//! A file that forgets what was not synced.

use alloc::vec::Vec;

use crate::error::StorageFailure;
use crate::storage::log_store::SyncFile;

/// A file in memory. A crash keeps an arbitrary part of what was written since the last sync.
#[derive(Clone, Debug, Default)]
pub struct CrashFile {
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    /// What a reader sees.
    pub current: Vec<u8>,
    /// Writes and syncs until everything fails; `None` for never.
    pub budget: Option<u32>,
    /// Whether it cannot become longer.
    pub is_full: bool,
}

impl CrashFile {
    /// Returns what a loss of power leaves. `below` draws a number below its argument.
    pub fn crash(&self, below: &mut dyn FnMut(u64) -> u64) -> Self {
        let mut image = self.durable.clone();
        for (offset, bytes) in &self.pending {
            match below(4) {
                0 => {}
                1 => write(&mut image, *offset, &bytes[..below(bytes.len() as u64 + 1) as usize]),
                _ => write(&mut image, *offset, bytes),
            }
        }
        Self {
            durable: image.clone(),
            pending: Vec::new(),
            current: image,
            budget: None,
            is_full: self.is_full,
        }
    }

    /// Makes it that long, now and after a crash.
    pub fn set_len(&mut self, len: usize) {
        self.pending.retain(|(offset, bytes)| *offset as usize + bytes.len() <= len);
        self.durable.resize(len, 0);
        self.current.resize(len, 0);
    }

    fn spend(&mut self) -> Result<(), StorageFailure> {
        match &mut self.budget {
            Some(0) => Err(StorageFailure::WriteFailed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl SyncFile for CrashFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        let start = (offset as usize).min(self.current.len());
        let count = buffer.len().min(self.current.len() - start);
        buffer[..count].copy_from_slice(&self.current[start..start + count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        self.spend()?;
        if self.is_full && offset as usize + bytes.len() > self.current.len() {
            return Err(StorageFailure::Full);
        }
        write(&mut self.current, offset, bytes);
        self.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        self.spend()?;
        for (offset, bytes) in core::mem::take(&mut self.pending) {
            write(&mut self.durable, offset, &bytes);
        }
        Ok(())
    }
}

fn write(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset as usize..end].copy_from_slice(bytes);
}
