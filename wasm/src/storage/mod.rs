//! Where a store's bytes are: memory, a file with synchronous access, or IndexedDB.

mod database;
mod file;
mod indexed_db;
mod rows;

use std::rc::Rc;

use hypertab_core::error::StorageFailure;
use hypertab_core::storage::log_store::{DeviceReply, FileStore, LogStore};
use hypertab_core::storage::{Intent, MemoryStore, Outcome};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

pub(crate) use self::file::JsFile;
use self::file::SyncHandle;
use self::indexed_db::IndexedDb;

/// A place for one store.
pub(crate) enum Backend {
    /// Gone with the page.
    Memory(MemoryStore),
    /// A native file under Node, or the origin private file system in a worker.
    File(Box<FileStore<SyncHandle>>),
    /// A database of the page's origin.
    IndexedDb {
        /// What turns intents into rows.
        log: Box<LogStore>,
        /// Where the rows are.
        database: Rc<IndexedDb>,
    },
}

impl Backend {
    pub(crate) fn memory() -> Self {
        Backend::Memory(MemoryStore::default())
    }

    pub(crate) fn file(file: JsFile) -> Self {
        Backend::File(Box::new(FileStore::open(SyncHandle::new(file))))
    }

    /// Opens or creates the database of that name.
    ///
    /// # Errors
    ///
    /// Fails when the browser refuses: private windows of some, or a disabled storage.
    pub(crate) async fn indexed_db(name: &str) -> Result<Self, JsError> {
        let database = Rc::new(IndexedDb::open(name).await?);
        Ok(Backend::IndexedDb { log: Box::default(), database })
    }

    /// Whether it writes at once, and slowly.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Backend::File(_))
    }

    /// Takes an intent. What can be answered at once is pushed to `outcomes`.
    pub(crate) fn handle_intent(&mut self, intent: Intent, outcomes: &mut Vec<Outcome>) {
        match self {
            Backend::Memory(store) => outcomes.push(store.handle_intent(intent)),
            Backend::File(store) => {
                store.handle_intent(intent);
                outcomes.extend(std::iter::from_fn(|| store.poll_outcome()));
            }
            Backend::IndexedDb { log, .. } => {
                log.handle_intent(intent);
                outcomes.extend(std::iter::from_fn(|| log.poll_outcome()));
            }
        }
    }

    /// Takes the reply of a device to an op.
    pub(crate) fn handle_reply(&mut self, op: u64, reply: DeviceReply, outcomes: &mut Vec<Outcome>) {
        if let Backend::IndexedDb { log, .. } = self {
            log.handle_reply(op, reply);
            outcomes.extend(std::iter::from_fn(|| log.poll_outcome()));
        }
    }

    /// Starts every op that waits; each hands its reply to `done`, in a later task.
    pub(crate) fn start_ops(&mut self, done: impl Fn(u64, DeviceReply) + Clone + 'static) {
        let Backend::IndexedDb { log, database } = self else { return };
        while let Some(op) = log.poll_op() {
            let (database, done) = (Rc::clone(database), done.clone());
            // Transactions are ordered by the first poll of each task, which is in the order of spawning.
            spawn_local(async move {
                let id = op.id();
                let reply = database.carry_out(op).await.unwrap_or_else(DeviceReply::Failed);
                done(id, reply);
            });
        }
    }

    /// Forces what was answered to the disk: at once, or `done` is called in a later task.
    pub(crate) fn start_sync(
        &mut self,
        done: impl FnOnce(Result<(), StorageFailure>) + 'static,
    ) -> Option<Result<(), StorageFailure>> {
        match self {
            Backend::Memory(_) => Some(Ok(())),
            Backend::File(store) => Some(store.sync()),
            Backend::IndexedDb { database, .. } => {
                let database = Rc::clone(database);
                spawn_local(async move { done(database.sync().await) });
                None
            }
        }
    }

    /// Whether something waits for a quiet moment.
    pub(crate) fn is_restless(&self) -> bool {
        matches!(self, Backend::File(store) if store.is_syncing())
    }

    /// Does what waited for a quiet moment.
    pub(crate) fn settle(&mut self, outcomes: &mut Vec<Outcome>) {
        if let Backend::File(store) = self {
            store.finish_sync();
            outcomes.extend(std::iter::from_fn(|| store.poll_outcome()));
        }
    }

    /// Asks for whatever makes the next opening quick.
    pub(crate) fn close(&mut self) {
        match self {
            Backend::Memory(_) => {}
            Backend::File(store) => store.close(),
            Backend::IndexedDb { log, .. } => log.close(),
        }
    }

    /// Whether everything is written, after [`close`](Self::close).
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Backend::IndexedDb { log, .. } => log.is_closed(),
            _ => true,
        }
    }

    /// Lets go of the device.
    pub(crate) fn release(self) {
        match self {
            Backend::Memory(_) => {}
            Backend::File(store) => store.into_file().release(),
            Backend::IndexedDb { database, .. } => database.release(),
        }
    }
}

/// Sorts a failure that JavaScript reports.
fn failure_of(name: Option<&str>, otherwise: StorageFailure) -> StorageFailure {
    match name {
        Some("QuotaExceededError" | "ENOSPC" | "EDQUOT") => StorageFailure::Full,
        Some("InvalidStateError" | "EBADF") => StorageFailure::Closed,
        Some("NoModificationAllowedError") => StorageFailure::Locked,
        _ => otherwise,
    }
}
