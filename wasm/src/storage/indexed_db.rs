//! A log whose records are rows of an IndexedDB database.
//!
//! Two object stores: `log`, records by address, and `meta`, the two headers by place and the owner after them. Neither will ever need an
//! index, so the schema needs no migration.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use hypertab_core::collections::{BTreeMap, BTreeSet};
use hypertab_core::error::StorageFailure;
use hypertab_core::storage::Owner;
use hypertab_core::storage::log_store::{DeviceOp, DeviceReply, Part};
use indexed_db_futures::database::Database;
use indexed_db_futures::error::Error;
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::{TransactionDurability, TransactionMode, TransactionOptions};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::failure_of;

const LOG: &str = "log";
const META: &str = "meta";
/// The key of the owner in `meta`.
const OWNER: u8 = 2;

/// The rows of one store.
pub(crate) struct IndexedDb {
    database: RefCell<Option<Database>>,
    recent: RefCell<RecentRecords>,
    owner: Cell<Option<Owner>>,
}

impl IndexedDb {
    pub(crate) async fn open(name: &str) -> Result<Self, JsError> {
        let database = Database::open(name)
            .with_version(1_u8)
            .with_on_upgrade_needed(|_, database| {
                database.create_object_store(LOG).build()?;
                database.create_object_store(META).build()?;
                Ok(())
            })
            .await
            .map_err(|error| {
                JsError::new(&format!("this browser does not let us open IndexedDB: {error}"))
            })?;
        Ok(IndexedDb {
            database: RefCell::new(Some(database)),
            recent: RefCell::default(),
            owner: Cell::default(),
        })
    }

    pub(crate) fn release(&self) {
        if let Some(database) = self.database.borrow_mut().take() {
            database.close();
        }
    }

    /// Carries out one op. The transaction is begun before the first wait.
    pub(crate) async fn carry_out(&self, op: DeviceOp) -> Result<DeviceReply, StorageFailure> {
        let database = self.database.borrow().clone().ok_or(StorageFailure::Closed)?;
        match op {
            DeviceOp::Claim { owner, .. } => {
                self.owner.set(Some(owner));
                claim(&database, owner).await.map_err(write_failure)
            }
            DeviceOp::ReadHeaders { .. } => self.read_headers(&database).await.map_err(read_failure),
            DeviceOp::Read { parts, .. } => self.read(&database, parts).await,
            DeviceOp::Replay { from, len, .. } => replay(&database, from, len).await.map_err(read_failure),
            DeviceOp::Write { records, durable, header, free, .. } => {
                self.recent.borrow_mut().update(&records, &free);
                let durable = durable || header.is_some();
                let owner = self.owner.get();
                match write(&database, owner, records, durable, header, free).await {
                    Ok(true) => Ok(DeviceReply::Written),
                    Ok(false) => Err(StorageFailure::Fenced),
                    Err(error) => Err(write_failure(error)),
                }
            }
        }
    }

    async fn read_headers(&self, database: &Database) -> Result<DeviceReply, Error> {
        let transaction = database.transaction(META).with_mode(TransactionMode::Readonly).build()?;
        let store = transaction.object_store(META)?;
        let first = store.get::<JsValue, _, _>(0_u8).primitive()?;
        let second = store.get::<JsValue, _, _>(1_u8).primitive()?;
        let (first, second) = (first.await?, second.await?);
        Ok(DeviceReply::Headers([bytes_of(first).unwrap_or_default(), bytes_of(second).unwrap_or_default()]))
    }

    async fn read(&self, database: &Database, parts: Vec<Part>) -> Result<DeviceReply, StorageFailure> {
        let wanted: BTreeSet<u64> = parts.iter().map(|part| part.record).collect();
        let mut rows: BTreeMap<u64, Bytes> = BTreeMap::new();
        let mut missing = Vec::new();
        for address in wanted {
            match self.recent.borrow_mut().get(address) {
                Some(row) => drop(rows.insert(address, row)),
                None => missing.push(address),
            }
        }
        let fetched = fetch(database, &missing).await.map_err(read_failure)?;
        for (address, row) in missing.into_iter().zip(fetched) {
            let row = row.ok_or(StorageFailure::Missing)?;
            self.recent.borrow_mut().insert(address, row.clone());
            rows.insert(address, row);
        }
        let cut = |part: Part| {
            let row = rows.get(&part.record)?;
            let start = usize::try_from(part.offset).ok()?;
            let end = start.checked_add(usize::try_from(part.len).ok()?)?;
            (end <= row.len()).then(|| row.slice(start..end))
        };
        let bytes = parts.into_iter().map(|part| cut(part).ok_or(StorageFailure::Corrupted));
        Ok(DeviceReply::Bytes(bytes.collect::<Result<_, _>>()?))
    }
}

/// Fetches rows, all in flight at once.
async fn fetch(database: &Database, addresses: &[u64]) -> Result<Vec<Option<Bytes>>, Error> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let store = transaction.object_store(LOG)?;
    let mut requests = Vec::with_capacity(addresses.len());
    for &address in addresses {
        requests.push(store.get::<JsValue, _, _>(address as f64).primitive()?);
    }
    let mut rows = Vec::with_capacity(requests.len());
    for request in requests {
        rows.push(bytes_of(request.await?));
    }
    Ok(rows)
}

async fn replay(database: &Database, from: u64, len: u64) -> Result<DeviceReply, Error> {
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let store = transaction.object_store(LOG)?;
    let range = from as f64..(from + len) as f64;
    let rows = store.get_all::<JsValue>().with_query::<f64, _>(range).primitive()?.await?;
    let mut joined = Vec::new();
    for row in rows {
        joined.extend_from_slice(&bytes_of(Some(row?)).unwrap_or_default());
    }
    Ok(DeviceReply::Bytes(vec![Bytes::from(joined)]))
}

async fn claim(database: &Database, owner: Owner) -> Result<DeviceReply, Error> {
    let transaction = database.transaction(META).with_mode(TransactionMode::Readwrite).build()?;
    let meta = transaction.object_store(META)?;
    // Only when it has to be: a store that is full opens for reading.
    if bytes_of(meta.get::<JsValue, _, _>(OWNER).primitive()?.await?).as_deref() != Some(&owner.0) {
        meta.put(JsValue::from(Uint8Array::from(&owner.0[..]))).with_key(OWNER).primitive()?;
    }
    transaction.commit().await?;
    Ok(DeviceReply::Written)
}

/// Returns false, and writes nothing, when the store is another's.
async fn write(
    database: &Database,
    owner: Option<Owner>,
    records: Vec<(u64, Bytes)>,
    durable: bool,
    header: Option<(u8, Bytes)>,
    free: Vec<std::ops::Range<u64>>,
) -> Result<bool, Error> {
    let mut options = TransactionOptions::new();
    options.set_durability(if durable {
        TransactionDurability::Strict
    } else {
        TransactionDurability::Relaxed
    });
    let transaction = database
        .transaction([LOG, META])
        .with_mode(TransactionMode::Readwrite)
        .with_options(options)
        .build()?;
    let log = transaction.object_store(LOG)?;
    let meta = transaction.object_store(META)?;
    // Asked first and looked at last, so that nothing waits for it.
    let found = meta.get::<JsValue, _, _>(OWNER).primitive()?;
    for (address, bytes) in records {
        log.put(JsValue::from(Uint8Array::from(&bytes[..]))).with_key(address as f64).primitive()?;
    }
    if let Some((place, bytes)) = header {
        meta.put(JsValue::from(Uint8Array::from(&bytes[..]))).with_key(place).primitive()?;
    }
    for range in free {
        log.delete(range.start as f64..range.end as f64).primitive()?;
    }
    if bytes_of(found.await?).as_deref() != owner.as_ref().map(|owner| &owner.0[..]) {
        transaction.abort().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

fn bytes_of(value: Option<JsValue>) -> Option<Bytes> {
    value?.dyn_into::<Uint8Array>().ok().map(|array| Bytes::from(array.to_vec()))
}

fn read_failure(error: Error) -> StorageFailure {
    failure_of(exception_name(&error).as_deref(), StorageFailure::ReadFailed)
}

fn write_failure(error: Error) -> StorageFailure {
    failure_of(exception_name(&error).as_deref(), StorageFailure::WriteFailed)
}

fn exception_name(error: &Error) -> Option<String> {
    let Error::DomException(exception) = error else { return None };
    let value: &JsValue = exception.as_ref();
    value.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::name)
}

/// Rows used lately: many small values stand in one row, and fetching a row costs a copy of it.
#[derive(Default)]
struct RecentRecords {
    rows: BTreeMap<u64, (Bytes, u64)>,
    order: BTreeMap<u64, u64>,
    clock: u64,
    size: usize,
}

/// Bytes of rows kept in memory.
const RECENT_LIMIT: usize = 8 << 20;

impl RecentRecords {
    fn get(&mut self, address: u64) -> Option<Bytes> {
        let (row, used) = self.rows.get_mut(&address)?;
        self.clock += 1;
        self.order.remove(used);
        *used = self.clock;
        self.order.insert(self.clock, address);
        Some(row.clone())
    }

    fn insert(&mut self, address: u64, row: Bytes) {
        if row.len() > RECENT_LIMIT / 8 {
            return;
        }
        self.remove(address);
        self.clock += 1;
        self.size += row.len();
        self.rows.insert(address, (row, self.clock));
        self.order.insert(self.clock, address);
        while self.size > RECENT_LIMIT {
            let Some((_, oldest)) = self.order.first_key_value().map(|(&clock, &address)| (clock, address))
            else {
                return;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, address: u64) {
        if let Some((row, used)) = self.rows.remove(&address) {
            self.order.remove(&used);
            self.size -= row.len();
        }
    }

    /// Follows a write: what was just written is read soon, and freed addresses may be written anew.
    fn update(&mut self, records: &[(u64, Bytes)], free: &[std::ops::Range<u64>]) {
        for range in free {
            let addresses: Vec<u64> = self.rows.range(range.clone()).map(|(&address, _)| address).collect();
            addresses.into_iter().for_each(|address| self.remove(address));
        }
        for (address, bytes) in records {
            self.insert(*address, bytes.clone());
        }
    }
}
