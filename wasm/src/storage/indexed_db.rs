//! A log whose records are rows of an IndexedDB database.
//!
//! Two object stores: `log`, records by address, and `meta`, the two headers by place and the owner after them. Neither will ever need an
//! index, so the schema needs no migration.
//!
//! No transaction waits for this realm between its first request and its commit: a tab that is frozen in the middle would keep
//! whoever takes the store over from it. So an owner is not read and compared by each write. Writes and claims are numbered instead,
//! in one row, and each adds its number to `log`, below the addresses: the number that an owner would take next is the one of whoever
//! claimed the store after it, and adding what is there fails. Such rows stand in `log` because a transaction of one object store
//! takes half the time of one of two, and are taken away many at a time because taking one away takes longer than adding it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::ops::{Range, RangeInclusive};
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
use super::rows::{Blob, Fetch, RecentRows, Row, bytes_of_rows, is_large, make_rows, takes_blobs};

const LOG: &str = "log";
const META: &str = "meta";
/// The keys in `meta` of the owner, of the number of its claim, and of what is written only to force to the disk what was before.
const OWNER: u8 = 2;
const CLAIM: u8 = 3;
const SYNC: u8 = 4;
/// Numbers of writes that may stand in `log` before they are taken away.
const NUMBERS: f64 = 256.0;
/// Writes for which the number of a claim is kept: an owner that has been asleep for longer than that is no longer refused.
const KEPT: f64 = 4_294_967_296.0;
/// How often an opening tries to become the owner while others write.
const CLAIMS: usize = 64;

/// The rows of one store.
pub(crate) struct IndexedDb {
    database: RefCell<Option<Database>>,
    recent: RefCell<RecentRows>,
    /// What the next transaction that reads will fetch, while it gathers addresses.
    gathering: RefCell<Option<Rc<Fetch>>>,
    /// Transactions that read, while they are under way.
    fetching: RefCell<Vec<Rc<Fetch>>>,
    /// What this is as the owner, once it is.
    fence: Cell<Option<Fence>>,
    /// Whether this browser takes blobs, as far as is known.
    takes_blobs: Cell<bool>,
}

/// The numbers of one owner.
#[derive(Clone, Copy)]
struct Fence {
    owner: Owner,
    /// That of its last write.
    last: f64,
    /// The last one that was taken away, or that of its claim, which stays.
    removed: f64,
}

impl Fence {
    /// The key of a number.
    fn key(number: f64) -> f64 {
        -number
    }

    /// The keys of the numbers after one and up to another.
    fn keys(after: f64, to: f64) -> RangeInclusive<f64> {
        Fence::key(to)..=Fence::key(after + 1.0)
    }
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
            fence: Cell::default(),
            takes_blobs: Cell::new(takes_blobs()),
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
                self.fence.set(Some(claim(&database, owner).await.map_err(write_failure)?));
                Ok(DeviceReply::Written)
            }
            DeviceOp::ReadHeaders { .. } => self.read_headers(&database).await.map_err(read_failure),
            DeviceOp::Read { parts, .. } => self.read(&database, parts).await,
            DeviceOp::Replay { from, len, .. } => {
                let values = replay(&database, from, len).await.map_err(read_failure)?;
                Ok(DeviceReply::Bytes(vec![join(bytes_of_rows(values).await?)]))
            }
            DeviceOp::Write { records, durable, header, free, .. } => {
                self.write(&database, Write { records, durable, header, free, passed: None }).await
            }
        }
    }

    async fn write(&self, database: &Database, mut write: Write) -> Result<DeviceReply, StorageFailure> {
        let Some(mut fence) = self.fence.get() else { return Err(StorageFailure::Fenced) };
        fence.last += 1.0;
        if fence.last - fence.removed > NUMBERS {
            let last = fence.last - 1.0;
            write.passed = Some(Fence::keys(core::mem::replace(&mut fence.removed, last), last));
        }
        self.fence.set(Some(fence));
        // Transactions reach the disk in their order, so a header needs not be there sooner than what it is about. But what browsers
        // make files of stands outside that order, and only its own transaction takes it to the disk.
        write.durable =
            write.records.iter().any(|(_, bytes)| is_large(bytes)) || write.durable && write.header.is_none();
        loop {
            let rows = make_rows(&write.records, self.takes_blobs.get());
            self.recent.borrow_mut().update(&rows, &write.free);
            let has_blobs = rows.iter().any(|(_, row)| row.has_type::<Blob>());
            match write.carry_out(database, fence.last, rows).await {
                Ok(()) => return Ok(DeviceReply::Written),
                Err(_) if is_taken(database, fence).await => return Err(StorageFailure::Fenced),
                Err(error) => match write_failure(error) {
                    // Private windows of some browsers keep no blobs.
                    StorageFailure::WriteFailed if has_blobs => self.takes_blobs.set(false),
                    failure => {
                        self.takes_blobs.set(takes_blobs());
                        return Err(failure);
                    }
                },
            }
        }
    }

    /// Returns once everything that was answered before is on the disk.
    pub(crate) async fn sync(&self) -> Result<(), StorageFailure> {
        let database = self.database.borrow().clone().ok_or(StorageFailure::Closed)?;
        sync(&database).await.map_err(write_failure)
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
        let found = match rows(database, &addresses).await {
            Ok(values) => bytes_of_rows(values).await,
            Err(error) => Err(read_failure(error)),
        };
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
async fn rows(database: &Database, addresses: &[u64]) -> Result<Vec<Option<JsValue>>, Error> {
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let mut requests = Vec::with_capacity(addresses.len());
    {
        let store = transaction.object_store(LOG)?;
        for &address in addresses {
            requests.push(store.get::<JsValue, _, _>(address as f64).primitive()?);
        }
    }
    let _end = end(transaction).await;
    let mut values = Vec::with_capacity(requests.len());
    for request in requests {
        values.push(request.await?);
    }
    Ok(values)
}

async fn replay(database: &Database, from: u64, len: u64) -> Result<Vec<Option<JsValue>>, Error> {
    let transaction = database.transaction(LOG).with_mode(TransactionMode::Readonly).build()?;
    let range = from as f64..(from + len) as f64;
    let request =
        transaction.object_store(LOG)?.get_all::<JsValue>().with_query::<f64, _>(range).primitive()?;
    let _end = end(transaction).await;
    request.await?.map(|value| value.map(Some)).collect()
}

fn join(rows: Vec<Option<Row>>) -> Bytes {
    let mut joined = Vec::new();
    for row in rows.into_iter().flatten() {
        let at = joined.len();
        joined.resize(at + row.length() as usize, 0);
        row.copy_to(&mut joined[at..]);
    }
    Bytes::from(joined)
}

/// Makes this owner the last one.
async fn claim(database: &Database, owner: Owner) -> Result<Fence, Error> {
    let mut failed: Option<(f64, Error)> = None;
    for _ in 0..CLAIMS {
        let (found, claim, last) = read_owner(database).await?;
        // Only when it has to be: a store that is full opens for reading.
        if found.as_deref() == Some(&owner.0) {
            return Ok(Fence { owner, last, removed: claim });
        }
        match failed {
            Some((before, error)) if before == last => return Err(error),
            // Somebody else was faster.
            _ => {}
        }
        let next = last + 1.0;
        match become_owner(database, owner, claim, last).await {
            Ok(()) => return Ok(Fence { owner, last: next, removed: next }),
            Err(error) => failed = Some((last, error)),
        }
    }
    Err(failed.map_or(UnexpectedDataError::TransactionAborted.into(), |(_, error)| error))
}

/// Fails, and writes nothing, when there was a number after `last`.
async fn become_owner(database: &Database, owner: Owner, claim: f64, last: f64) -> Result<(), Error> {
    let transaction = database.transaction([LOG, META]).with_mode(TransactionMode::Readwrite).build()?;
    let (log, meta) = (transaction.object_store(LOG)?, transaction.object_store(META)?);
    let next = last + 1.0;
    log.add(JsValue::TRUE).with_key(Fence::key(next)).primitive()?;
    if last > claim {
        log.delete(Fence::keys(claim, last)).primitive()?;
    }
    if next > KEPT {
        log.delete(Fence::keys(0.0, next - KEPT)).primitive()?;
    }
    meta.put(JsValue::from(Uint8Array::from(&owner.0[..]))).with_key(OWNER).primitive()?;
    meta.put(JsValue::from_f64(next)).with_key(CLAIM).primitive()?;
    transaction.commit().await
}

/// Whether the store is another's by now.
async fn is_taken(database: &Database, fence: Fence) -> bool {
    read_owner(database).await.is_ok_and(|(owner, ..)| owner.as_deref() != Some(&fence.owner.0))
}

/// Reads, at one moment, who the owner is, the number of its claim, and the last number.
async fn read_owner(database: &Database) -> Result<(Option<Bytes>, f64, f64), Error> {
    let transaction = database.transaction([LOG, META]).with_mode(TransactionMode::Readonly).build()?;
    let (log, meta) = (transaction.object_store(LOG)?, transaction.object_store(META)?);
    let owner = meta.get::<JsValue, _, _>(OWNER).primitive()?;
    let claim = meta.get::<JsValue, _, _>(CLAIM).primitive()?;
    let lowest = log.get_all_keys::<JsValue>().with_query::<f64, _>(..0.0).with_limit(1).primitive()?;
    drop((log, meta));
    let _end = end(transaction).await;
    let number = |value: Option<JsValue>| value.and_then(|value| value.as_f64());
    let claim = number(claim.await?).unwrap_or(0.0);
    let last = number(lowest.await?.next().transpose()?).map_or(claim, |key| claim.max(-key));
    Ok((bytes_of(owner.await?), claim, last))
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

/// What one transaction writes.
struct Write {
    records: Vec<(u64, Bytes)>,
    durable: bool,
    header: Option<(u8, Bytes)>,
    free: Vec<Range<u64>>,
    /// Keys of numbers that are to go.
    passed: Option<RangeInclusive<f64>>,
}

impl Write {
    /// Fails, and writes nothing, when the number was taken by another owner.
    async fn carry_out(
        &self,
        database: &Database,
        number: f64,
        rows: Vec<(u64, JsValue)>,
    ) -> Result<(), Error> {
        let stores: &[&str] = if self.header.is_some() { &[LOG, META] } else { &[LOG] };
        let transaction = begin_write(database, stores, self.durable)?;
        let log = transaction.object_store(LOG)?;
        log.add(JsValue::TRUE).with_key(Fence::key(number)).primitive()?;
        for (address, row) in rows {
            log.put(row).with_key(address as f64).primitive()?;
        }
        if let Some((place, bytes)) = &self.header {
            let meta = transaction.object_store(META)?;
            meta.put(JsValue::from(Uint8Array::from(&bytes[..]))).with_key(*place).primitive()?;
        }
        for range in &self.free {
            log.delete(range.start as f64..range.end as f64).primitive()?;
        }
        if let Some(passed) = &self.passed {
            log.delete(passed.clone()).primitive()?;
        }
        transaction.commit().await
    }
}

/// What is on the disk once a transaction is, browsers leave to the log of their database: everything before but the files of large
/// rows, which are there already.
async fn sync(database: &Database) -> Result<(), Error> {
    let transaction = begin_write(database, &[META], true)?;
    transaction.object_store(META)?.put(JsValue::TRUE).with_key(SYNC).primitive()?;
    transaction.commit().await
}

fn begin_write<'a>(database: &'a Database, stores: &[&str], durable: bool) -> Result<Transaction<'a>, Error> {
    let mut options = TransactionOptions::new();
    options.set_durability(if durable {
        TransactionDurability::Strict
    } else {
        TransactionDurability::Relaxed
    });
    database.transaction(stores).with_mode(TransactionMode::Readwrite).with_options(options).build()
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
