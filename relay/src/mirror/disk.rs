//! Where copies are: one redb file with the logs, on a thread of its own, and one with who asked for what.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hypertab_core::id::PublicKey;
use hypertab_core::storage::{Intent, Outcome};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use super::book::Copy;
use crate::private;
use crate::redb_store::RedbStore;

/// The logs. Answers what it is asked in order.
pub(super) struct Logs {
    intents: Option<Sender<Intent>>,
    thread: Option<JoinHandle<()>>,
}

impl Logs {
    /// Opens the file, or makes it. Every intent gets one outcome.
    pub(super) fn open(path: &Path, outcomes: UnboundedSender<Outcome>) -> io::Result<Self> {
        let store = RedbStore::open(path).map_err(|error| told(path, &error))?;
        let (intents, incoming) = channel();
        let thread = std::thread::Builder::new()
            .name("hypertab-mirror".into())
            .spawn(move || work(store, &incoming, &outcomes))?;
        Ok(Self { intents: Some(intents), thread: Some(thread) })
    }

    pub(super) fn handle(&self, intent: Intent) {
        if let Some(intents) = &self.intents {
            let _ = intents.send(intent);
        }
    }

    /// Waits until everything is on the disk.
    pub(super) fn close(&mut self) {
        self.intents = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(mut store: RedbStore, intents: &Receiver<Intent>, outcomes: &UnboundedSender<Outcome>) {
    loop {
        let intent = match intents.recv_timeout(FLUSH_AFTER) {
            Ok(intent) => intent,
            // What can be fetched again is fetched again only if somebody still has it.
            Err(RecvTimeoutError::Timeout) => {
                let _ = store.flush();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if outcomes.send(store.handle_intent(intent)).is_err() {
            break;
        }
    }
    let _ = store.flush();
}

/// Who asked for what, and the key that the mirror is known by.
pub(super) struct Records {
    database: Database,
}

impl Records {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        private::make_file(path).map_err(|error| told(path, &error))?;
        let database = Database::create(path).map_err(|error| told(path, &error))?;
        let records = Self { database };
        records.save([]).map_err(|error| told(path, &error))?;
        Ok(records)
    }

    /// Returns what the mirror's key is made of; the first time, what is given.
    pub(super) fn seed(&self, fresh: [u8; 32]) -> Result<Zeroizing<[u8; 32]>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let seed = {
            let mut table = transaction.open_table(SEED)?;
            let found = table.get(())?.map(|found| Zeroizing::new(found.value()));
            match found {
                Some(seed) => seed,
                None => {
                    table.insert((), fresh)?;
                    Zeroizing::new(fresh)
                }
            }
        };
        transaction.commit()?;
        Ok(seed)
    }

    /// Returns all copies; one that cannot be read is none.
    pub(super) fn load(&self) -> Result<Vec<(PublicKey, Copy)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(COPIES)?;
        let mut copies = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            if let Ok(copy) = Copy::decode(value.value()) {
                copies.push((key.value(), copy));
            }
        }
        Ok(copies)
    }

    /// Stores copies, and removes those without a value.
    pub(super) fn save(
        &self,
        changes: impl IntoIterator<Item = (PublicKey, Option<Vec<u8>>)>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            transaction.open_table(SEED)?;
            let mut table = transaction.open_table(COPIES)?;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(table.insert(key, &value[..])?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn told(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("The mirror's file {} cannot be used: {error}.", path.display()))
}

const COPIES: TableDefinition<'static, [u8; 32], &'static [u8]> = TableDefinition::new("copies");
const SEED: TableDefinition<'static, (), [u8; 32]> = TableDefinition::new("seed");

/// How long what came from peers may wait to be durable while nothing else happens.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
