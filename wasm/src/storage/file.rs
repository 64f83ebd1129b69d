//! Files that JavaScript opened: a descriptor of Node, or a sync access handle of the origin private file system.

use hypertab_core::error::StorageFailure;
use hypertab_core::storage::log_store::SyncFile;
use wasm_bindgen::prelude::*;

use super::failure_of;

#[wasm_bindgen]
extern "C" {
    /// The file as JavaScript gives it; `wasm/js/storage` has both kinds.
    #[wasm_bindgen(typescript_type = "SyncFile")]
    pub type JsFile;

    /// Fills the buffer from an offset; returns how many bytes there were.
    #[wasm_bindgen(method, catch)]
    fn read(this: &JsFile, buffer: &mut [u8], offset: f64) -> Result<f64, JsValue>;

    /// Writes all bytes at an offset.
    #[wasm_bindgen(method, catch)]
    fn write(this: &JsFile, bytes: &[u8], offset: f64) -> Result<(), JsValue>;

    /// Returns once everything written is on the disk.
    #[wasm_bindgen(method, catch)]
    fn sync(this: &JsFile) -> Result<(), JsValue>;

    /// The length of the file if another realm may still write to it; absent otherwise.
    #[wasm_bindgen(method, getter, catch, js_name = lengthIfShared)]
    fn length_if_shared(this: &JsFile) -> Result<Option<f64>, JsValue>;

    /// Gives the file up.
    #[wasm_bindgen(method, catch)]
    fn close(this: &JsFile) -> Result<(), JsValue>;
}

/// A file of JavaScript as the store wants it.
///
/// A sync keeps this realm from everything else, so one that may go on beside other calls waits for a quiet moment.
pub(crate) struct SyncHandle {
    file: JsFile,
}

/// Checkpoints' worth of log that may be written before that moment: some hundred megabytes, which take as many milliseconds to sync, or to read
/// again after a crash.
const MAX_BEHIND: u64 = 6;

impl SyncHandle {
    pub(crate) fn new(file: JsFile) -> Self {
        SyncHandle { file }
    }

    /// Closes the file. A failure leaves nothing to do: everything durable was synced before.
    pub(crate) fn release(self) {
        let _ = self.file.close();
    }
}

impl SyncFile for SyncHandle {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        let wanted = buffer.len();
        let count = self
            .file
            .read(buffer, offset as f64)
            .map_err(|error| failure_of(name_of(&error).as_deref(), StorageFailure::ReadFailed))?;
        // A count beyond the buffer would be the host's bug; it must not become ours.
        Ok((count.max(0.0) as usize).min(wanted))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        self.file
            .write(bytes, offset as f64)
            .map_err(|error| failure_of(name_of(&error).as_deref(), StorageFailure::WriteFailed))
    }

    fn begin_sync(&mut self) -> bool {
        true
    }

    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        wait.then(|| self.sync())
    }

    fn max_behind(&self) -> u64 {
        MAX_BEHIND
    }

    fn len_if_shared(&mut self) -> Result<Option<u64>, StorageFailure> {
        let length = self.file.length_if_shared();
        let length =
            length.map_err(|error| failure_of(name_of(&error).as_deref(), StorageFailure::ReadFailed))?;
        Ok(length.map(|length| length.max(0.0) as u64))
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        self.file.sync().map_err(|error| failure_of(name_of(&error).as_deref(), StorageFailure::WriteFailed))
    }
}

/// The code of a Node error, or the name of a DOM exception.
fn name_of(error: &JsValue) -> Option<String> {
    let property = |name: &str| js_sys::Reflect::get(error, &name.into()).ok()?.as_string();
    property("code").or_else(|| property("name"))
}
