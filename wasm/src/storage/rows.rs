//! Rows of the log in JavaScript's memory: those used lately, and those on their way.
//!
//! They stay outside this module's memory: fetching one costs no copy, only what is asked for of it does, and what they
//! take is given back.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::collections::BTreeMap;
use hypertab_core::error::StorageFailure;
use js_sys::{Array, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

/// One record of the log.
pub(super) type Row = Uint8Array;

#[wasm_bindgen]
extern "C" {
    /// Bytes that the browser keeps outside the page.
    pub(super) type Blob;

    #[wasm_bindgen(constructor)]
    fn new(parts: &Array) -> Blob;

    #[wasm_bindgen(method, getter)]
    fn size(this: &Blob) -> f64;

    #[wasm_bindgen(method, js_name = arrayBuffer)]
    fn array_buffer(this: &Blob) -> Promise;

    /// A list of bytes where they stand in this module's memory, good until it grows.
    #[wasm_bindgen(js_namespace = Array, js_name = of)]
    fn list_of(bytes: &[u8]) -> Array;
}

/// Rows from this size on are handed over as blobs. Browsers make files of large values anyway, Chromium of those that have 64 KiB with what it
/// adds, but copy and compress what comes as an array first, in this realm; it takes twice as long.
const LARGE: usize = 60 << 10;

/// Whether this browser may be given blobs: on a disk that is full, WebKit stores the beginning of one and says that it is stored.
pub(super) fn takes_blobs() -> bool {
    let [is_webkit, is_chrome] = agent_says([b"AppleWebKit/", b"Chrome/"]);
    !is_webkit || is_chrome
}

/// Whether the browser has these names.
pub(super) fn agent_says<const N: usize>(names: [&[u8]; N]) -> [bool; N] {
    let get =
        |object: &JsValue, name: &str| Reflect::get(object, &JsValue::from_str(name)).unwrap_or_default();
    let agent = get(&get(&js_sys::global(), "navigator"), "userAgent").as_string().unwrap_or_default();
    // Not by `contains`, whose search is 4 kB of what a page loads.
    names.map(|name| agent.as_bytes().windows(name.len()).any(|part| part == name))
}

/// Whether a browser makes a file of a row.
pub(super) fn is_large(bytes: &Bytes) -> bool {
    bytes.len() >= LARGE
}

/// Makes rows of records.
pub(super) fn make_rows(records: &[(u64, Bytes)], takes_blobs: bool) -> Vec<(u64, JsValue)> {
    let value = |bytes: &Bytes| {
        if takes_blobs && is_large(bytes) {
            Blob::new(&list_of(bytes)).into()
        } else {
            Uint8Array::from(&bytes[..]).into()
        }
    };
    records.iter().map(|(address, bytes)| (*address, value(bytes))).collect()
}

/// How many bytes a row has, as it comes from the database; `None` for one without bytes.
pub(super) fn len_of_row(value: &JsValue) -> Option<f64> {
    let row = value.dyn_ref::<Row>().map(|row| f64::from(row.length()));
    row.or_else(|| value.dyn_ref::<Blob>().map(Blob::size))
}

/// Reads rows as they come from the database. A row without bytes is none.
///
/// # Errors
///
/// Fails when bytes that are there are not given: whoever took the row for none would write over it.
pub(super) async fn bytes_of_rows(values: Vec<JsValue>) -> Result<Vec<Option<Row>>, StorageFailure> {
    enum Found {
        Row(Option<Row>),
        Blob(Promise),
    }
    // All are on their way before the first is waited for.
    let begin = |value: JsValue| match value.dyn_into::<Blob>() {
        Ok(blob) => Found::Blob(blob.array_buffer()),
        Err(value) => Found::Row(value.dyn_into().ok()),
    };
    let found: Vec<Found> = values.into_iter().map(begin).collect();
    let mut rows = Vec::with_capacity(found.len());
    let mut is_lacking = false;
    for found in found {
        rows.push(match found {
            Found::Row(row) => row,
            Found::Blob(buffer) => match JsFuture::from(buffer).await {
                Ok(buffer) => Some(Uint8Array::new(&buffer)),
                // The others are waited for all the same: a failure that nobody takes is an error of the page.
                Err(error) => {
                    is_lacking |= !is_gone(&error);
                    None
                }
            },
        });
    }
    if is_lacking { Err(StorageFailure::ReadFailed) } else { Ok(rows) }
}

/// Whether the file of a blob is lost.
fn is_gone(error: &JsValue) -> bool {
    error.dyn_ref::<web_sys::DomException>().is_some_and(|exception| exception.name() == "NotFoundError")
}

/// Bytes of rows kept in memory.
const RECENT_LIMIT: u64 = 32 << 20;

/// Rows used lately: many small values stand in one, and getting one out of a database takes far longer than reading it.
#[derive(Default)]
pub(super) struct RecentRows {
    rows: BTreeMap<u64, (Row, u64)>,
    /// Addresses by when they were used.
    order: BTreeMap<u64, u64>,
    clock: u64,
    size: u64,
}

impl RecentRows {
    pub(super) fn get(&mut self, address: u64) -> Option<Row> {
        let (row, used) = self.rows.get_mut(&address)?;
        // A walk uses one row many times in turn.
        if *used != self.clock {
            self.clock += 1;
            self.order.remove(used);
            *used = self.clock;
            self.order.insert(self.clock, address);
        }
        Some(row.clone())
    }

    pub(super) fn insert(&mut self, address: u64, row: Row) {
        self.remove(address);
        let size = u64::from(row.length());
        if size > RECENT_LIMIT / 2 {
            return;
        }
        self.clock += 1;
        self.size += size;
        self.rows.insert(address, (row, self.clock));
        self.order.insert(self.clock, address);
        while self.size > RECENT_LIMIT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, address: u64) {
        if let Some((row, used)) = self.rows.remove(&address) {
            self.order.remove(&used);
            self.size -= u64::from(row.length());
        }
    }

    /// Follows a write: what was just written is read soon, and freed addresses may be written anew.
    pub(super) fn update(&mut self, written: &[(u64, JsValue)], free: &[Range<u64>]) {
        for range in free {
            let addresses: Vec<u64> = self.rows.range(range.clone()).map(|(&address, _)| address).collect();
            addresses.into_iter().for_each(|address| self.remove(address));
        }
        for (address, value) in written {
            match value.dyn_ref::<Row>() {
                Some(row) => self.insert(*address, row.clone()),
                // The browser has it; whoever reads it gets it from there.
                None => self.remove(*address),
            }
        }
    }
}

/// Rows that one transaction fetches, for everyone who asked.
pub(super) struct Fetch {
    rows: RefCell<BTreeMap<u64, Option<Row>>>,
    failure: Cell<Option<StorageFailure>>,
    done: Promise,
}

impl Fetch {
    /// Runs `fetch` once the current turn is over; it ends with [`finish`](Self::finish).
    pub(super) fn begin<F: Future<Output = ()> + 'static>(fetch: impl FnOnce() -> F + 'static) -> Rc<Self> {
        let done = future_to_promise(async move {
            // The tasks that were spawned in this turn come first, with what they want.
            let _ = JsFuture::from(Promise::resolve(&JsValue::UNDEFINED)).await;
            fetch().await;
            Ok(JsValue::UNDEFINED)
        });
        Rc::new(Fetch { rows: RefCell::default(), failure: Cell::default(), done })
    }

    pub(super) fn add(&self, address: u64) {
        self.rows.borrow_mut().insert(address, None);
    }

    pub(super) fn has(&self, address: u64) -> bool {
        self.rows.borrow().contains_key(&address)
    }

    /// Returns what to fetch, in order.
    pub(super) fn addresses(&self) -> Vec<u64> {
        self.rows.borrow().keys().copied().collect()
    }

    /// Takes the rows in the order of [`addresses`](Self::addresses).
    pub(super) fn finish(&self, found: Result<Vec<Option<Row>>, StorageFailure>) {
        match found {
            Ok(found) => self.rows.borrow_mut().values_mut().zip(found).for_each(|(row, found)| *row = found),
            Err(failure) => self.failure.set(Some(failure)),
        }
    }

    /// Waits for a row.
    pub(super) async fn row(&self, address: u64) -> Result<Row, StorageFailure> {
        // It does not reject: failures are in their place.
        let _ = JsFuture::from(self.done.clone()).await;
        match self.failure.get() {
            Some(failure) => Err(failure),
            None => self.rows.borrow().get(&address).cloned().flatten().ok_or(StorageFailure::Missing),
        }
    }
}
