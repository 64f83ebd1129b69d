//! A log whose records are rows of an IndexedDB database.
//!
//! Two object stores: `log`, records by address, and `meta`, the two headers by place and the owner after them. Neither will ever need an
//! index, so the schema needs no migration.
//!
//! No transaction waits for this realm between its first request and its commit: a tab that is frozen in the middle would keep
//! whoever takes the store over from it. So an owner is not read and compared by each write. Instead, whoever claims the store puts
//! rows where the owner before would write next, and what an owner writes is added: adding what is there fails.
//!
//! - A write that goes on where the log ended adds its first record, at an address that nothing but a mark of a claim was ever at: the
//!   log does not use an address again. A claim marks the end of the log, and marks outlive what is freed around them.
//! - Any other write, as the first of an owner, adds a number to `log`, below the addresses; a claim takes the next number. These
//!   rows stand in `log` because a transaction of one object store takes half the time of one of two, and are taken away many at a time
//!   because taking one away takes longer than adding it.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::error::StorageFailure;
use hypertab_core::storage::Owner;
use hypertab_core::storage::log_store::{DeviceOp, DeviceReply, Part};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::database::{Cursor, Database, KeyRange, Mode, Request, Stores, Transaction, keys};
use super::failure_of;
use super::rows::{
    Blob, Fetch, RecentRows, Row, bytes_of_rows, is_large, len_of_row, make_rows, takes_blobs,
};

/// The keys in `meta` of the owner, of the number of its claim, of what is written only to force to the disk what was before, and of the
/// addresses that claims have marked.
const OWNER: f64 = 2.0;
const CLAIM: f64 = 3.0;
const SYNC: f64 = 4.0;
const MARKS: f64 = 5.0;
/// Numbers of writes that may stand in `log` before they are taken away.
const NUMBERS: f64 = 256.0;
/// Numbers for which that of a claim is kept, and claims for which a mark is: an owner that has been asleep for longer than that is no
/// longer refused.
const KEPT: f64 = 4_294_967_296.0;
const MARKS_KEPT: usize = 1024;
/// How often an opening tries to become the owner while others write.
const CLAIMS: usize = 64;

/// The rows of one store.
pub(crate) struct IndexedDb {
    database: RefCell<Option<Rc<Database>>>,
    recent: RefCell<RecentRows>,
    /// What the next transaction that reads will fetch, while it gathers addresses.
    gathering: RefCell<Option<Rc<Fetch>>>,
    /// Transactions that read, while they are under way.
    fetching: RefCell<Vec<Rc<Fetch>>>,
    /// What this is as the owner, once it is.
    fence: Cell<Option<Fence>>,
    /// Addresses that claims have marked.
    marks: RefCell<Vec<f64>>,
    /// Whether this browser takes blobs, as far as is known.
    takes_blobs: Cell<bool>,
}

/// What keeps one owner from writing once there is another.
#[derive(Clone, Copy)]
struct Fence {
    owner: Owner,
    /// Where the log ended at its claim. Rows that it does not know of may stand up to there.
    floor: f64,
    /// Where its last write ended, if it has written.
    end: f64,
    /// The last number that it added.
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
    fn keys(after: f64, to: f64) -> KeyRange {
        keys(Fence::key(to), Fence::key(after))
    }
}

impl IndexedDb {
    pub(crate) async fn open(name: &str) -> Result<Self, JsError> {
        let database = Database::open(name).await.map_err(|error| {
            let said = error.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::message);
            JsError::new(&format!(
                "this browser does not let us open IndexedDB: {}",
                said.as_deref().unwrap_or("it has none")
            ))
        })?;
        Ok(IndexedDb {
            database: RefCell::new(Some(Rc::new(database))),
            recent: RefCell::default(),
            gathering: RefCell::default(),
            fetching: RefCell::default(),
            fence: Cell::default(),
            marks: RefCell::default(),
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
                let (fence, marks) = claim(&database, owner).await?;
                self.fence.set(Some(fence));
                *self.marks.borrow_mut() = marks;
                Ok(DeviceReply::Written)
            }
            DeviceOp::ReadHeaders { .. } => {
                self.read_headers(&database).await.map_err(|error| read_failure(&error))
            }
            DeviceOp::Read { parts, .. } => self.read(&database, parts).await,
            DeviceOp::Replay { from, len, .. } => {
                let values = replay(&database, from, len).await.map_err(|error| read_failure(&error))?;
                Ok(DeviceReply::Bytes(vec![join(bytes_of_rows(values).await?)]))
            }
            DeviceOp::Write { records, durable, header, free, .. } => {
                self.write(&database, Write { records, durable, header, free, ..Write::default() }).await
            }
        }
    }

    async fn write(&self, database: &Database, mut write: Write) -> Result<DeviceReply, StorageFailure> {
        let Some(mut fence) = self.fence.get() else { return Err(StorageFailure::Fenced) };
        let is_next = |(address, _): &(u64, Bytes)| {
            let address = *address as f64;
            address == fence.end && address > fence.floor
        };
        if !write.records.first().is_some_and(is_next) {
            fence.last += 1.0;
            write.number = Some(fence.last);
        }
        if fence.last - fence.removed > NUMBERS {
            let last = fence.last - 1.0;
            write.passed = Some(Fence::keys(core::mem::replace(&mut fence.removed, last), last));
        }
        let end = write.records.last().map(|(address, bytes)| (*address + bytes.len() as u64) as f64);
        // Until it is known to be there, nothing goes on from it.
        fence.end = 0.0;
        self.fence.set(Some(fence));
        let is_freed = |mark: &f64| write.free.iter().any(|range| range.contains(&(*mark as u64)));
        write.marks = self.marks.borrow().iter().copied().filter(is_freed).collect();
        // Transactions reach the disk in their order, so a header needs not be there sooner than what it is about. But what browsers
        // make files of stands outside that order, and only its own transaction takes it to the disk.
        write.durable =
            write.records.iter().any(|(_, bytes)| is_large(bytes)) || write.durable && write.header.is_none();
        loop {
            let rows = make_rows(&write.records, self.takes_blobs.get());
            self.recent.borrow_mut().update(&rows, &write.free);
            let has_blobs = rows.iter().any(|(_, row)| row.has_type::<Blob>());
            match write.carry_out(database, rows).await {
                Ok(()) => {
                    // Whoever wrote or claimed meanwhile has a number, and the log may end elsewhere.
                    if let Some(now) = self.fence.get().filter(|now| now.last == fence.last) {
                        self.fence.set(Some(Fence { end: end.unwrap_or_default(), ..now }));
                    }
                    return Ok(DeviceReply::Written);
                }
                Err(_) if is_taken(database, fence).await => return Err(StorageFailure::Fenced),
                // Private windows of some browsers keep no blobs.
                Err(StorageFailure::WriteFailed) if has_blobs => self.takes_blobs.set(false),
                Err(failure) => {
                    self.takes_blobs.set(takes_blobs());
                    return Err(failure);
                }
            }
        }
    }

    /// Returns once everything that was answered before is on the disk.
    pub(crate) async fn sync(&self) -> Result<(), StorageFailure> {
        let database = self.database.borrow().clone().ok_or(StorageFailure::Closed)?;
        sync(&database).await
    }

    async fn read_headers(&self, database: &Database) -> Result<DeviceReply, JsValue> {
        let transaction = database.begin(Stores::Meta, Mode::Read)?;
        let meta = transaction.meta()?;
        let (first, second) = (meta.get(0.0)?, meta.get(1.0)?);
        read(transaction, &[&first, &second]).await?;
        let [first, second] = [first, second].map(|header| header.result().map(bytes_of));
        Ok(DeviceReply::Headers([first?.unwrap_or_default(), second?.unwrap_or_default()]))
    }

    async fn read(
        self: &Rc<Self>,
        database: &Rc<Database>,
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
    fn fetch(self: &Rc<Self>, database: &Rc<Database>, address: u64) -> Rc<Fetch> {
        if let Some(fetch) = self.fetching.borrow().iter().find(|fetch| fetch.has(address)) {
            return Rc::clone(fetch);
        }
        let mut gathering = self.gathering.borrow_mut();
        let fetch = gathering.get_or_insert_with(|| {
            let (this, database) = (Rc::clone(self), Rc::clone(database));
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
            Err(error) => Err(read_failure(&error)),
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

/// Waits for what a transaction reads.
async fn read(transaction: Transaction<'_>, requests: &[&Request]) -> Result<(), JsValue> {
    transaction.end(requests).await.map_err(Option::unwrap_or_default)
}

/// Gets rows, all in flight at once.
async fn rows(database: &Database, addresses: &[u64]) -> Result<Vec<JsValue>, JsValue> {
    let transaction = database.begin(Stores::Log, Mode::Read)?;
    let log = transaction.log()?;
    let requests = addresses.iter().map(|&address| log.get(address as f64));
    let requests: Vec<Request> = requests.collect::<Result<_, _>>()?;
    read(transaction, &requests.iter().collect::<Vec<_>>()).await?;
    requests.iter().map(Request::result).collect()
}

async fn replay(database: &Database, from: u64, len: u64) -> Result<Vec<JsValue>, JsValue> {
    let transaction = database.begin(Stores::Log, Mode::Read)?;
    let request = transaction.log()?.get_all(&keys(from as f64, (from + len) as f64))?;
    read(transaction, &[&request]).await?;
    Ok(Array::from(&request.result()?).iter().collect())
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

/// Makes this owner the last one. Returns which addresses are marked, too.
async fn claim(database: &Database, owner: Owner) -> Result<(Fence, Vec<f64>), StorageFailure> {
    let mut failed: Option<((f64, f64), StorageFailure)> = None;
    for _ in 0..CLAIMS {
        let mut found = look(database).await.map_err(|error| read_failure(&error))?;
        let at = (found.last, found.end);
        let fence = |last, removed| Fence { owner, floor: found.end, end: 0.0, last, removed };
        // Only when it has to be: a store that is full opens for reading.
        if found.owner.as_deref() == Some(&owner.0) {
            return Ok((fence(found.last, found.claim), found.marks));
        }
        match failed {
            Some((before, failure)) if before == at => return Err(failure),
            // Somebody else was faster.
            _ => {}
        }
        let next = found.last + 1.0;
        let fence = fence(next, next);
        if found.has_rows {
            found.marks.drain(..(found.marks.len() + 1).saturating_sub(MARKS_KEPT));
            found.marks.push(found.end);
        }
        match become_owner(database, owner, &found).await {
            Ok(()) => return Ok((fence, found.marks)),
            Err(failure) => failed = Some((at, failure)),
        }
    }
    Err(failed.map_or(StorageFailure::WriteFailed, |(_, failure)| failure))
}

/// Fails, and writes nothing, when somebody wrote since.
async fn become_owner(database: &Database, owner: Owner, found: &Found) -> Result<(), StorageFailure> {
    write(database, Stores::Both, Mode::Relaxed, |transaction| {
        let (log, meta) = (transaction.log()?, transaction.meta()?);
        let next = found.last + 1.0;
        let mut requests = vec![log.add(&JsValue::TRUE, Fence::key(next))?];
        if found.has_rows {
            let marks: Array = found.marks.iter().map(|mark| JsValue::from_f64(*mark)).collect();
            requests.push(log.add(&JsValue::TRUE, found.end)?);
            requests.push(meta.put(&marks, MARKS)?);
        }
        if found.last > found.claim {
            requests.push(log.delete(&Fence::keys(found.claim, found.last))?);
        }
        if next > KEPT {
            requests.push(log.delete(&keys(Fence::key(next - KEPT), 0.0))?);
        }
        requests.push(meta.put(&Uint8Array::from(&owner.0[..]), OWNER)?);
        requests.push(meta.put(&JsValue::from_f64(next), CLAIM)?);
        Ok(requests)
    })
    .await
}

/// Whether the store is another's by now.
async fn is_taken(database: &Database, fence: Fence) -> bool {
    look(database).await.is_ok_and(|found| found.owner.as_deref() != Some(&fence.owner.0))
}

/// Whose a store is, and what was written to it, at one moment.
struct Found {
    owner: Option<Bytes>,
    /// The number of the owner's claim.
    claim: f64,
    /// The last number.
    last: f64,
    /// Addresses that claims have marked, oldest first.
    marks: Vec<f64>,
    /// Where the log ends.
    end: f64,
    /// Whether a record ends there; otherwise it is marked, or the log is empty, and nobody goes on there without a number.
    has_rows: bool,
}

async fn look(database: &Database) -> Result<Found, JsValue> {
    let transaction = database.begin(Stores::Both, Mode::Read)?;
    let (log, meta) = (transaction.log()?, transaction.meta()?);
    let (owner, claim, marks) = (meta.get(OWNER)?, meta.get(CLAIM)?, meta.get(MARKS)?);
    let (lowest, highest) = (log.get_keys(&keys(f64::NEG_INFINITY, 0.0), 1)?, log.highest()?);
    read(transaction, &[&owner, &claim, &marks, &lowest, &highest]).await?;
    let claim = claim.result()?.as_f64().unwrap_or(0.0);
    let lowest = Array::from(&lowest.result()?).get(0).as_f64();
    let marks = marks.result()?;
    let marks = if marks.is_undefined() { Array::new() } else { marks.unchecked_into() };
    let highest = highest.result()?;
    let (at, len) = if highest.is_null() {
        (0.0, None)
    } else {
        let highest = highest.unchecked_into::<Cursor>();
        // Below the addresses are numbers.
        (highest.key().as_f64().unwrap_or(0.0).max(0.0), len_of_row(&highest.value()))
    };
    Ok(Found {
        owner: bytes_of(owner.result()?),
        claim,
        last: lowest.map_or(claim, |key| claim.max(-key)),
        marks: marks.iter().filter_map(|mark| mark.as_f64()).collect(),
        end: at + len.unwrap_or(0.0),
        has_rows: len.is_some(),
    })
}

/// What one transaction writes.
#[derive(Default)]
struct Write {
    records: Vec<(u64, Bytes)>,
    durable: bool,
    header: Option<(u8, Bytes)>,
    free: Vec<Range<u64>>,
    /// The number to add; without one, there must be nothing where the first record goes.
    number: Option<f64>,
    /// Keys of numbers that are to go.
    passed: Option<KeyRange>,
    /// Marked addresses among those that are freed.
    marks: Vec<f64>,
}

impl Write {
    /// Fails, and writes nothing, when the number or the place was taken by another owner.
    async fn carry_out(&self, database: &Database, rows: Vec<(u64, JsValue)>) -> Result<(), StorageFailure> {
        let stores = if self.header.is_some() { Stores::Both } else { Stores::Log };
        let mode = if self.durable { Mode::Strict } else { Mode::Relaxed };
        write(database, stores, mode, |transaction| {
            let log = transaction.log()?;
            let mut requests = Vec::new();
            let mut rows = rows.into_iter();
            match self.number {
                Some(number) => requests.push(log.add(&JsValue::TRUE, Fence::key(number))?),
                None => {
                    if let Some((address, row)) = rows.next() {
                        requests.push(log.add(&row, address as f64)?);
                    }
                }
            }
            for (address, row) in rows {
                requests.push(log.put(&row, address as f64)?);
            }
            if let Some((place, bytes)) = &self.header {
                requests.push(transaction.meta()?.put(&Uint8Array::from(&bytes[..]), f64::from(*place))?);
            }
            for range in &self.free {
                requests.push(log.delete(&keys(range.start as f64, range.end as f64))?);
            }
            for mark in &self.marks {
                requests.push(log.put(&JsValue::TRUE, *mark)?);
            }
            if let Some(passed) = &self.passed {
                requests.push(log.delete(passed)?);
            }
            Ok(requests)
        })
        .await
    }
}

/// What is on the disk once a transaction is, browsers leave to the log of their database: everything before but the files of large
/// rows, which are there already.
async fn sync(database: &Database) -> Result<(), StorageFailure> {
    write(database, Stores::Meta, Mode::Strict, |transaction| {
        Ok(vec![transaction.meta()?.put(&JsValue::TRUE, SYNC)?])
    })
    .await
}

/// Carries out one transaction that writes.
async fn write(
    database: &Database,
    stores: Stores,
    mode: Mode,
    ask: impl FnOnce(&Transaction<'_>) -> Result<Vec<Request>, JsValue>,
) -> Result<(), StorageFailure> {
    let transaction = database.begin(stores, mode).map_err(|error| write_failure(&error))?;
    let requests = match ask(&transaction) {
        Ok(requests) => requests,
        Err(error) => {
            // What was asked for before would be stored.
            transaction.abort();
            return Err(write_failure(&error));
        }
    };
    transaction.end(&requests.iter().collect::<Vec<_>>()).await.map_err(|error| match error {
        Some(error) => write_failure(&error),
        // Browsers find at the commit that there is no room, when all requests have succeeded.
        None => StorageFailure::Full,
    })
}

fn bytes_of(value: JsValue) -> Option<Bytes> {
    value.dyn_into::<Uint8Array>().ok().map(|array| Bytes::from(array.to_vec()))
}

fn read_failure(error: &JsValue) -> StorageFailure {
    failure_of(exception_name(error).as_deref(), StorageFailure::ReadFailed)
}

fn write_failure(error: &JsValue) -> StorageFailure {
    failure_of(exception_name(error).as_deref(), StorageFailure::WriteFailed)
}

fn exception_name(error: &JsValue) -> Option<String> {
    error.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::name)
}
