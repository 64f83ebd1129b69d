//! A log whose records are rows of an IndexedDB database.
//!
//! Two object stores: `log`, records by address, and `meta`, the two headers by place and the owner after them. Neither will ever need an
//! index, so the schema needs no migration.
//!
//! No transaction waits for this realm between its first request and its commit: a tab that is frozen in the middle would keep
//! whoever takes the store over from it. So an owner is not read and compared by each write. Owners are numbered, each leaves its
//! number in `meta`, and a write adds the number after its owner's, which fails when it is there, and takes it back.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use hypertab_core::error::StorageFailure;
use hypertab_core::storage::Owner;
use hypertab_core::storage::log_store::{DeviceOp, DeviceReply, Part};
use indexed_db_futures::database::Database;
use indexed_db_futures::error::{Error, UnexpectedDataError};
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::{
    Transaction, TransactionDurability, TransactionMode, TransactionOptions,
};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::failure_of;
use super::rows::{Fetch, RecentRows, Row};

const LOG: &str = "log";
const META: &str = "meta";
/// The key of the owner in `meta`, and of its number.
const OWNER: u8 = 2;
const NUMBER: u8 = 3;
/// The key of the owner with number 0 in `meta`, were there one.
const FIRST_OWNER: f64 = 1000.0;
/// Owners whose numbers are kept: one that has been asleep for longer than that many others is no longer refused.
const KEPT_OWNERS: f64 = 65536.0;
/// How often an opening tries to become the owner while others do.
const CLAIMS: usize = 16;

/// The rows of one store.
pub(crate) struct IndexedDb {
    database: RefCell<Option<Database>>,
    recent: RefCell<RecentRows>,
    /// What the next transaction that reads will fetch, while it gathers addresses.
    gathering: RefCell<Option<Rc<Fetch>>>,
    /// Transactions that read, while they are under way.
    fetching: RefCell<Vec<Rc<Fetch>>>,
    /// The number of the owner that this is.
    owner: Cell<Option<f64>>,
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
                self.owner.set(Some(claim(&database, owner).await.map_err(write_failure)?));
                Ok(DeviceReply::Written)
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
                    Ok(()) => Ok(DeviceReply::Written),
                    Err(_) if is_taken(&database, owner).await => Err(StorageFailure::Fenced),
                    Err(error) => Err(write_failure(error)),
                }
            }
        }
    }

    async fn read_headers(&self, database: &Database) -> Result<DeviceReply, Error> {
        let [first, second] = read_meta(database, [0.0, 1.0]).await?;
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
    let mut requests = Vec::with_capacity(addresses.len());
    {
        let store = transaction.object_store(LOG)?;
        for &address in addresses {
            requests.push(store.get::<JsValue, _, _>(address as f64).primitive()?);
        }
    }
    let _end = end(transaction).await;
    let mut rows = Vec::with_capacity(requests.len());
    for request in requests {
        rows.push(request.await?.and_then(|row| row.dyn_into().ok()));
    }
    Ok(rows)
}

async fn replay(database: &Database, from: u64, len: u64) -> Result<DeviceReply, Error> {
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let range = from as f64..(from + len) as f64;
    let request =
        transaction.object_store(LOG)?.get_all::<JsValue>().with_query::<f64, _>(range).primitive()?;
    let _end = end(transaction).await;
    let rows = request.await?;
    let mut joined = Vec::new();
    for row in rows {
        joined.extend_from_slice(&bytes_of(Some(row?)).unwrap_or_default());
    }
    Ok(DeviceReply::Bytes(vec![Bytes::from(joined)]))
}

/// Makes this owner the last one, and returns its number.
async fn claim(database: &Database, owner: Owner) -> Result<f64, Error> {
    let mut attempts = 0;
    loop {
        let [found, number] = read_meta(database, [OWNER.into(), NUMBER.into()]).await?;
        let number = number.and_then(|number| number.as_f64()).unwrap_or(0.0);
        // Only when it has to be: a store that is full opens for reading.
        if bytes_of(found).as_deref() == Some(&owner.0) {
            return Ok(number);
        }
        let next = number + 1.0;
        attempts += 1;
        match become_owner(database, owner, next).await {
            Ok(()) => return Ok(next),
            // Another one was faster.
            Err(_) if attempts < CLAIMS && is_taken(database, Some(number)).await => {}
            Err(error) => return Err(error),
        }
    }
}

async fn become_owner(database: &Database, owner: Owner, number: f64) -> Result<(), Error> {
    let transaction = database.transaction(META).with_mode(TransactionMode::Readwrite).build()?;
    let meta = transaction.object_store(META)?;
    meta.add(JsValue::TRUE).with_key(FIRST_OWNER + number).primitive()?;
    meta.put(JsValue::from(Uint8Array::from(&owner.0[..]))).with_key(OWNER).primitive()?;
    meta.put(JsValue::from_f64(number)).with_key(NUMBER).primitive()?;
    if number > KEPT_OWNERS {
        meta.delete(FIRST_OWNER + number - KEPT_OWNERS).primitive()?;
    }
    transaction.commit().await
}

/// Whether there was an owner after this one.
async fn is_taken(database: &Database, owner: Option<f64>) -> bool {
    let next = FIRST_OWNER + owner.unwrap_or(0.0) + 1.0;
    read_meta(database, [next]).await.is_ok_and(|[found]| found.is_some())
}

async fn read_meta<const N: usize>(
    database: &Database,
    keys: [f64; N],
) -> Result<[Option<JsValue>; N], Error> {
    let transaction = database.transaction(META).with_mode(TransactionMode::Readonly).build()?;
    let mut requests = Vec::with_capacity(N);
    {
        let meta = transaction.object_store(META)?;
        for key in keys {
            requests.push(meta.get::<JsValue, _, _>(key).primitive()?);
        }
    }
    let _end = end(transaction).await;
    let mut found = [const { None }; N];
    for (found, request) in found.iter_mut().zip(requests) {
        *found = request.await?;
    }
    Ok(found)
}

/// Says that a transaction will be asked for no more than it was, so that its end needs nobody here. What this returns is kept until
/// the answers are there: a transaction that is dropped takes its listeners along.
async fn end<'a>(transaction: Transaction<'a>) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>> {
    let mut commit: Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>> = Box::pin(transaction.commit());
    poll_fn(|context| {
        // Only begins: nobody waits for the end of what reads.
        let _ = commit.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    commit
}

/// Fails, and writes nothing, when the store is another's.
async fn write(
    database: &Database,
    owner: Option<f64>,
    records: Vec<(u64, Row)>,
    durable: bool,
    header: Option<(u8, Bytes)>,
    free: Vec<std::ops::Range<u64>>,
) -> Result<(), Error> {
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
    let next = FIRST_OWNER + owner.unwrap_or(0.0) + 1.0;
    meta.add(JsValue::TRUE).with_key(next).primitive()?;
    for (address, row) in records {
        log.put(JsValue::from(row)).with_key(address as f64).primitive()?;
    }
    if let Some((place, bytes)) = header {
        meta.put(JsValue::from(Uint8Array::from(&bytes[..]))).with_key(place).primitive()?;
    }
    for range in free {
        log.delete(range.start as f64..range.end as f64).primitive()?;
    }
    meta.delete(next).primitive()?;
    transaction.commit().await
}

fn bytes_of(value: Option<JsValue>) -> Option<Bytes> {
    value?.dyn_into::<Uint8Array>().ok().map(|array| Bytes::from(array.to_vec()))
}

fn read_failure(error: Error) -> StorageFailure {
    failure_of(exception_name(&error).as_deref(), StorageFailure::ReadFailed)
}

fn write_failure(error: Error) -> StorageFailure {
    // Browsers find at the commit that there is no room, when all requests have succeeded.
    if matches!(error, Error::MissingData(UnexpectedDataError::TransactionAborted)) {
        return StorageFailure::Full;
    }
    failure_of(exception_name(&error).as_deref(), StorageFailure::WriteFailed)
}

fn exception_name(error: &Error) -> Option<String> {
    let Error::DomException(exception) = error else { return None };
    let value: &JsValue = exception.as_ref();
    value.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::name)
}
