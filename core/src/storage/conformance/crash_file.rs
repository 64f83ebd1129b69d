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
    /// Times that a sync which was begun is asked for before it ends; `None` when none can go on beside other calls.
    pub delay: Option<u32>,
    /// What is asked for: how many of the pending writes it is about, and how often it is yet to say that it goes on.
    syncing: Option<(usize, u32)>,
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
            delay: self.delay,
            syncing: None,
        }
    }

    /// Makes it that long, now and after a crash.
    pub fn set_len(&mut self, len: usize) {
        self.pending.retain(|(offset, bytes)| *offset as usize + bytes.len() <= len);
        self.durable.resize(len, 0);
        self.current.resize(len, 0);
    }

    /// Makes the first of the pending writes durable.
    fn keep(&mut self, count: usize) {
        for (offset, bytes) in self.pending.drain(..count.min(self.pending.len())) {
            write(&mut self.durable, offset, &bytes);
        }
        // Whatever sync goes on has that many fewer to care for.
        self.syncing = self.syncing.map(|(syncing, left)| (syncing.saturating_sub(count), left));
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
        self.keep(self.pending.len());
        Ok(())
    }

    fn begin_sync(&mut self) -> bool {
        self.syncing = self.delay.map(|delay| (self.pending.len(), delay));
        self.syncing.is_some()
    }

    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        let (count, left) = self.syncing?;
        if left > 0 && !wait {
            self.syncing = Some((count, left - 1));
            return None;
        }
        self.syncing = None;
        Some(self.spend().map(|()| self.keep(count)))
    }
}

fn write(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset as usize..end].copy_from_slice(bytes);
}
