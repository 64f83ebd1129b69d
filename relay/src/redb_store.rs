//! A store in a redb file: one table of keys and values.

use std::path::Path;

use bytes::Bytes;
use hypertab_core::storage::{Batch, Durability, Intent, Op, Outcome, Owner, StorageFailure};
use redb::{Database, ReadableDatabase, ReadableTable as _, TableDefinition};

/// A store in a file of its own. Blocks while it works: give it a thread.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    /// Bytes of relaxed commits since the last strict one.
    relaxed: usize,
}

impl RedbStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// What redb reports.
    pub fn open(path: &Path) -> Result<Self, redb::Error> {
        Self::start(Database::builder().set_cache_size(CACHE).create(path)?)
    }

    /// Opens what is on a device, or makes a store on an empty one.
    ///
    /// # Errors
    ///
    /// What redb reports.
    pub fn open_on(device: impl redb::StorageBackend) -> Result<Self, redb::Error> {
        Self::start(Database::builder().set_cache_size(CACHE).create_with_backend(device)?)
    }

    fn start(database: Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(ENTRIES)?;
        transaction.commit()?;
        Ok(Self { database, relaxed: 0 })
    }

    /// Carries out an intent.
    pub fn handle_intent(&mut self, intent: Intent) -> Outcome {
        match intent {
            Intent::Read { id, keys } => match self.read(&keys) {
                Ok(values) => Outcome::Read { id, values },
                Err(_) => Outcome::ReadFailed { id, failure: StorageFailure::ReadFailed },
            },
            Intent::Scan { id, start, end, reverse, limit } => {
                match self.scan(&start, &end, reverse, limit) {
                    Ok((entries, more)) => Outcome::Scan { id, entries, more },
                    Err(_) => Outcome::ReadFailed { id, failure: StorageFailure::ReadFailed },
                }
            }
            Intent::Claim { id, owner } => match self.claim(owner) {
                Ok(()) => Outcome::Committed(id),
                Err(_) => Outcome::CommitFailed { id, failure: StorageFailure::WriteFailed },
            },
            Intent::Commit { id, owner, batch, durability } => match self.commit(owner, batch, durability) {
                Ok(true) => Outcome::Committed(id),
                Ok(false) => Outcome::CommitFailed { id, failure: StorageFailure::Fenced },
                Err(_) => Outcome::CommitFailed { id, failure: StorageFailure::WriteFailed },
            },
        }
    }

    /// Makes durable what is not: it is lost otherwise, also when the store is dropped.
    ///
    /// # Errors
    ///
    /// What redb reports.
    pub fn flush(&mut self) -> Result<(), redb::Error> {
        if self.relaxed > 0 {
            self.database.begin_write()?.commit()?;
            self.relaxed = 0;
        }
        Ok(())
    }

    fn read(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, redb::Error> {
        let table = self.database.begin_read()?.open_table(ENTRIES)?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = table.get(key.as_ref())?;
            values.push(value.map(|value| Bytes::copy_from_slice(value.value())));
        }
        Ok(values)
    }

    fn scan(
        &self,
        start: &Bytes,
        end: &Bytes,
        reverse: bool,
        limit: u32,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), redb::Error> {
        if start >= end {
            return Ok((Vec::new(), false));
        }
        let table = self.database.begin_read()?.open_table(ENTRIES)?;
        let mut range = table.range(start.as_ref()..end.as_ref())?;
        let mut entries = Vec::new();
        while let Some(entry) = if reverse { range.next_back() } else { range.next() } {
            if entries.len() == limit as usize {
                return Ok((entries, true));
            }
            let (key, value) = entry?;
            entries.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())));
        }
        Ok((entries, false))
    }

    fn claim(&mut self, owner: Owner) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(OWNERS)?.insert((), owner.0)?;
        transaction.commit()?;
        Ok(())
    }

    /// Returns false, and does nothing, when the store is another's.
    fn commit(&mut self, owner: Owner, batch: Batch, durability: Durability) -> Result<bool, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        let owners = transaction.open_table(OWNERS)?;
        let found = owners.get(())?.map(|found| found.value());
        drop(owners);
        if found != Some(owner.0) {
            transaction.abort()?;
            return Ok(false);
        }
        let bytes = |op: &Op| match op {
            Op::Put { value, .. } => value.len(),
            Op::PutRun(run) => run.len(),
            Op::Delete { .. } | Op::DeleteRange { .. } => 0,
        };
        self.relaxed += batch.ops.iter().map(bytes).sum::<usize>();
        // What is not durable stays in memory.
        let is_durable = durability == Durability::Strict || self.relaxed > MAX_RELAXED;
        if is_durable {
            self.relaxed = 0;
        } else {
            // One of nothing but removals waits as well.
            self.relaxed = self.relaxed.max(1);
        }
        transaction.set_durability(if is_durable {
            redb::Durability::Immediate
        } else {
            redb::Durability::None
        })?;
        {
            let mut table = transaction.open_table(ENTRIES)?;
            for op in batch.ops {
                match op {
                    Op::Put { key, value } => {
                        table.insert(key.as_ref(), value.as_ref())?;
                    }
                    Op::PutRun(run) => {
                        for (key, value) in run.iter() {
                            table.insert(&key[..], &value[..])?;
                        }
                    }
                    Op::Delete { key } => {
                        table.remove(key.as_ref())?;
                    }
                    Op::DeleteRange { start, end } if start < end => {
                        table.retain_in(start.as_ref()..end.as_ref(), |_, _| false)?;
                    }
                    Op::DeleteRange { .. } => {}
                }
            }
        }
        transaction.commit()?;
        Ok(true)
    }
}

/// Bytes of relaxed commits that may wait to be durable.
const MAX_RELAXED: usize = 16 << 20;

/// Pages that the database keeps in memory, bytes; it would take a GiB.
const CACHE: usize = 32 << 20;

const OWNERS: TableDefinition<'static, (), [u8; 16]> = TableDefinition::new("owners");
const ENTRIES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries");

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hypertab_core::storage::conformance::{Backend, block_on, run, run_cases, run_fence};
    use hypertab_core::storage::{CommitId, Run};

    use super::*;

    /// Crashing closes and opens the file. What redb itself loses without power is redb's own business.
    struct Reopened {
        path: PathBuf,
        store: Option<RedbStore>,
    }

    impl Backend for Reopened {
        async fn handle_intents(&mut self, intents: Vec<Intent>) -> Vec<Outcome> {
            let store = self.store.as_mut().unwrap();
            intents.into_iter().map(|intent| store.handle_intent(intent)).collect()
        }

        async fn crash(&mut self, during: Option<Intent>) -> bool {
            if let Some(intent) = during {
                self.store.as_mut().unwrap().handle_intent(intent);
            }
            self.store = None;
            self.store = Some(RedbStore::open(&self.path).unwrap());
            true
        }

        async fn open_again(&mut self) -> Option<Self> {
            None
        }

        async fn set_full(&mut self, _is_full: bool) -> bool {
            false
        }
    }

    #[test]
    fn what_waits_to_be_durable_is_bounded() {
        let mut store = RedbStore::open_on(redb::backends::InMemoryBackend::new()).unwrap();
        let owner = Owner([1; 16]);
        store.handle_intent(Intent::Claim { id: CommitId(0), owner });
        let mut waits = |op| {
            let batch = Batch { ops: vec![op] };
            let intent = Intent::Commit { id: CommitId(1), owner, batch, durability: Durability::Relaxed };
            assert_eq!(store.handle_intent(intent), Outcome::Committed(CommitId(1)));
            store.relaxed
        };
        let value = Bytes::from(vec![1; MAX_RELAXED / 2]);
        let run = Run::new(Bytes::from_static(b"r"), 0, vec![value.clone()]).unwrap();

        assert_eq!(waits(Op::Delete { key: Bytes::from_static(b"k") }), 1);
        assert_eq!(waits(Op::Put { key: Bytes::from_static(b"k"), value }), MAX_RELAXED / 2 + 1);
        assert_eq!(waits(Op::PutRun(run.into())), 0);
    }

    #[test]
    fn redb_behaves_like_an_ordered_map() {
        for seed in 1..4 {
            let within = |what: &str, test: &dyn Fn(&mut Reopened)| {
                let name = format!("hypertab-redb-{}-{seed}-{what}", std::process::id());
                let path = std::env::temp_dir().join(name);
                let store = Some(RedbStore::open(&path).unwrap());
                test(&mut Reopened { path: path.clone(), store });
                std::fs::remove_file(path).unwrap();
            };
            within("random", &|backend| block_on(run(backend, seed, 300)).unwrap());
            within("cases", &|backend| block_on(run_cases(backend)).unwrap());
            within("fence", &|backend| block_on(run_fence(backend)).unwrap());
        }
    }
}
