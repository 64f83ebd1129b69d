//! A log whose records are rows of an IndexedDB database.
//!
//! Two object stores: `log`, records by address, and `meta`, the two headers by place and the owner after them. Neither will ever need an
//! index, so the schema needs no migration.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
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
use super::rows::{Fetch, RecentRows, Row};

const LOG: &str = "log";
const META: &str = "meta";
/// The key of the owner in `meta`.
const OWNER: u8 = 2;

/// The rows of one store.
pub(crate) struct IndexedDb {
    database: RefCell<Option<Database>>,
    recent: RefCell<RecentRows>,
    /// What the next transaction that reads will fetch, while it gathers addresses.
    gathering: RefCell<Option<Rc<Fetch>>>,
    /// Transactions that read, while they are under way.
    fetching: RefCell<Vec<Rc<Fetch>>>,
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
            gathering: RefCell::default(),
            fetching: RefCell::default(),
            owner: Cell::default(),
        })
    }

    pub(crate) fn release(&self) {
        if let Some(database) = self.database.borrow_mut().take() {
            database.close();
        }
    }

    /// Carries out one op. The transaction of a write is begun before the first wait, that of a read soon after: no write
    /// changes what a read that was asked for before it is about.
    pub(crate) async fn carry_out(self: &Rc<Self>, op: DeviceOp) -> Result<DeviceReply, StorageFailure> {
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
                let record = |(address, bytes): (u64, Bytes)| (address, Uint8Array::from(&bytes[..]));
                let records: Vec<(u64, Row)> = records.into_iter().map(record).collect();
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

    async fn read(
        self: &Rc<Self>,
        database: &Database,
        parts: Vec<Part>,
    ) -> Result<DeviceReply, StorageFailure> {
        let mut pieces = vec![Bytes::new(); parts.len()];
        let mut waiting = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            match self.recent.borrow_mut().get(part.record) {
                Some(row) => pieces[at] = cut(&row, part)?,
                None => waiting.push((at, part, self.fetch(database, part.record))),
            }
        }
        for (at, part, fetch) in waiting {
            pieces[at] = cut(&fetch.row(part.record).await?, part)?;
        }
        Ok(DeviceReply::Bytes(pieces))
    }

    /// Joins the transaction that fetches a row, or begins one that takes whatever else is asked for in this turn.
    fn fetch(self: &Rc<Self>, database: &Database, address: u64) -> Rc<Fetch> {
        if let Some(fetch) = self.fetching.borrow().iter().find(|fetch| fetch.has(address)) {
            return Rc::clone(fetch);
        }
        let mut gathering = self.gathering.borrow_mut();
        let fetch = gathering.get_or_insert_with(|| {
            let (this, database) = (Rc::clone(self), database.clone());
            Fetch::begin(move || async move { this.fetch_gathered(&database).await })
        });
        fetch.add(address);
        Rc::clone(fetch)
    }

    async fn fetch_gathered(&self, database: &Database) {
        let Some(fetch) = self.gathering.borrow_mut().take() else { return };
        self.fetching.borrow_mut().push(Rc::clone(&fetch));
        let addresses = fetch.addresses();
        let found = rows(database, &addresses).await.map_err(read_failure);
        self.fetching.borrow_mut().retain(|other| !Rc::ptr_eq(other, &fetch));
        if let Ok(found) = &found {
            let mut recent = self.recent.borrow_mut();
            for (address, row) in addresses.iter().zip(found) {
                if let Some(row) = row {
                    recent.insert(*address, row.clone());
                }
            }
        }
        fetch.finish(found);
    }
}

/// Copies a part out of its row.
fn cut(row: &Row, part: Part) -> Result<Bytes, StorageFailure> {
    let end = part.offset.checked_add(part.len).filter(|end| *end <= row.length());
    let end = end.ok_or(StorageFailure::Corrupted)?;
    Ok(Bytes::from(row.subarray(part.offset, end).to_vec()))
}

/// Gets rows, all in flight at once.
async fn rows(database: &Database, addresses: &[u64]) -> Result<Vec<Option<Row>>, Error> {
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let store = transaction.object_store(LOG)?;
    let mut requests = Vec::with_capacity(addresses.len());
    for &address in addresses {
        requests.push(store.get::<JsValue, _, _>(address as f64).primitive()?);
    }
    let mut rows = Vec::with_capacity(requests.len());
    for request in requests {
        rows.push(request.await?.and_then(|row| row.dyn_into().ok()));
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
    records: Vec<(u64, Row)>,
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
    for (address, row) in records {
        log.put(JsValue::from(row)).with_key(address as f64).primitive()?;
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
