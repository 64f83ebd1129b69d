//! IndexedDB as far as a store needs it.
//!
//! A transaction is asked for everything at once, and told that nothing more will come. Only its end is waited for; what its requests
//! found is looked at then. So no request has a listener, and no transaction waits for this realm. `indexed_db_futures`, which has
//! futures and listeners for each request, was 17 kB of what a page loads.

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::DomException;

use super::rows::agent_says;

#[wasm_bindgen]
extern "C" {
    type Factory;

    #[wasm_bindgen(method, catch)]
    fn open(this: &Factory, name: &str, version: u32) -> Result<Request, JsValue>;

    /// A request, to be looked at once its transaction has ended.
    #[derive(Clone)]
    pub(super) type Request;

    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn result(this: &Request) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    fn error(this: &Request) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, setter)]
    fn set_onsuccess(this: &Request, handler: &Function);

    #[wasm_bindgen(method, setter)]
    fn set_onerror(this: &Request, handler: &Function);

    #[wasm_bindgen(method, setter)]
    fn set_onupgradeneeded(this: &Request, handler: &JsValue);

    type Connection;

    #[wasm_bindgen(method)]
    fn close(this: &Connection);

    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &Connection,
        stores: &JsValue,
        mode: &JsValue,
        options: &JsValue,
    ) -> Result<RawTransaction, JsValue>;

    #[wasm_bindgen(method, catch, js_name = createObjectStore)]
    fn create_object_store(this: &Connection, name: &JsValue) -> Result<JsValue, JsValue>;

    type RawTransaction;

    #[wasm_bindgen(method, setter)]
    fn set_oncomplete(this: &RawTransaction, handler: &Function);

    #[wasm_bindgen(method, setter)]
    fn set_onabort(this: &RawTransaction, handler: &Function);

    #[wasm_bindgen(method, catch, js_name = objectStore)]
    fn object_store(this: &RawTransaction, name: &JsValue) -> Result<Rows, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn commit(this: &RawTransaction) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn abort(this: &RawTransaction) -> Result<(), JsValue>;

    /// An object store within a transaction.
    pub(super) type Rows;

    #[wasm_bindgen(method, catch)]
    pub(super) fn get(this: &Rows, key: f64) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getAll)]
    pub(super) fn get_all(this: &Rows, range: &KeyRange) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getAllKeys)]
    pub(super) fn get_keys(this: &Rows, range: &KeyRange, limit: u32) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch, js_name = openCursor)]
    fn open_cursor(this: &Rows, range: &JsValue, direction: &str) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn add(this: &Rows, value: &JsValue, key: f64) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn put(this: &Rows, value: &JsValue, key: f64) -> Result<Request, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn delete(this: &Rows, range: &KeyRange) -> Result<Request, JsValue>;

    /// Where a row stands.
    pub(super) type Cursor;

    #[wasm_bindgen(method, getter)]
    pub(super) fn key(this: &Cursor) -> JsValue;

    #[wasm_bindgen(method, getter)]
    pub(super) fn value(this: &Cursor) -> JsValue;

    #[wasm_bindgen(js_name = IDBKeyRange)]
    pub(super) type KeyRange;

    #[wasm_bindgen(static_method_of = KeyRange, js_class = IDBKeyRange, js_name = bound)]
    fn bound(lower: f64, upper: f64, is_lower_open: bool, is_upper_open: bool) -> KeyRange;
}

/// The object stores: records by address, and what is said of all of them.
const LOG: &str = "log";
const META: &str = "meta";

/// What a transaction is about.
#[derive(Clone, Copy)]
pub(super) enum Stores {
    /// Half the time of both.
    Log,
    Meta,
    Both,
}

/// What a transaction does.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Read,
    /// Writes; the end does not wait for the disk.
    Relaxed,
    /// Writes, and what was written before is on the disk at the end.
    Strict,
}

/// An open database, and what each transaction is begun with: strings and objects that are not made anew for each.
pub(super) struct Database {
    connection: Connection,
    log: JsValue,
    meta: JsValue,
    both: JsValue,
    read: JsValue,
    write: JsValue,
    relaxed: JsValue,
    strict: JsValue,
    /// Told early that there is no more to do, Firefox stores the rest of a transaction when a request of it fails that is not the last.
    stores_rest: bool,
}

impl Database {
    /// Opens or creates the database of that name.
    pub(super) async fn open(name: &str) -> Result<Self, JsValue> {
        let (log, meta) = (JsValue::from_str(LOG), JsValue::from_str(META));
        let factory = Reflect::get(&js_sys::global(), &JsValue::from_str("indexedDB"))?;
        if factory.is_undefined() {
            return Err(factory);
        }
        let request = factory.unchecked_into::<Factory>().open(name, 1)?;
        let upgraded = request.clone();
        let names = [log.clone(), meta.clone()];
        let upgrade = Closure::once(move || {
            let connection = upgraded.result()?.unchecked_into::<Connection>();
            names.iter().try_for_each(|name| connection.create_object_store(name).map(drop))
        });
        request.set_onupgradeneeded(upgrade.as_ref());
        let opened = Promise::new(&mut |resolve, reject| {
            request.set_onsuccess(&resolve);
            request.set_onerror(&reject);
        });
        let opened = JsFuture::from(opened).await;
        drop(upgrade);
        if opened.is_err() {
            return Err(request.error().unwrap_or_default());
        }
        let options = |durability: &str| {
            let options = Object::new();
            Reflect::set(&options, &JsValue::from_str("durability"), &JsValue::from_str(durability))?;
            Ok::<_, JsValue>(JsValue::from(options))
        };
        Ok(Database {
            connection: request.result()?.unchecked_into(),
            both: Array::of2(&log, &meta).into(),
            log,
            meta,
            read: JsValue::from_str("readonly"),
            write: JsValue::from_str("readwrite"),
            relaxed: options("relaxed")?,
            strict: options("strict")?,
            stores_rest: agent_says([b"Firefox/"]) == [true],
        })
    }

    /// Takes no more transactions; those that were begun end.
    pub(super) fn close(&self) {
        self.connection.close();
    }

    /// Begins a transaction. It has to be asked for everything, and for its end, before this realm does anything else.
    pub(super) fn begin(&self, stores: Stores, mode: Mode) -> Result<Transaction<'_>, JsValue> {
        let stores = match stores {
            Stores::Log => &self.log,
            Stores::Meta => &self.meta,
            Stores::Both => &self.both,
        };
        let (name, options) = match mode {
            Mode::Read => (&self.read, &JsValue::UNDEFINED),
            Mode::Relaxed => (&self.write, &self.relaxed),
            Mode::Strict => (&self.write, &self.strict),
        };
        Ok(Transaction { database: self, mode, raw: self.connection.transaction(stores, name, options)? })
    }
}

/// A transaction under way.
pub(super) struct Transaction<'a> {
    database: &'a Database,
    mode: Mode,
    raw: RawTransaction,
}

impl Transaction<'_> {
    pub(super) fn log(&self) -> Result<Rows, JsValue> {
        self.raw.object_store(&self.database.log)
    }

    pub(super) fn meta(&self) -> Result<Rows, JsValue> {
        self.raw.object_store(&self.database.meta)
    }

    /// Takes back what was asked for.
    pub(super) fn abort(self) {
        // It fails when the transaction is over, which is all that is wanted.
        let _ = self.raw.abort();
    }

    /// Says that there is no more to do than these requests, and waits until all of it is done.
    ///
    /// # Errors
    ///
    /// Fails when nothing is written, with what the first request that failed says; with nothing when none did.
    pub(super) async fn end(self, requests: &[&Request]) -> Result<(), Option<JsValue>> {
        // First of all: whatever stops this realm in between makes the next owner wait.
        if self.mode == Mode::Read || requests.len() == 1 || !self.database.stores_rest {
            self.raw.commit().map_err(Some)?;
        }
        let ended = Promise::new(&mut |resolve, reject| {
            self.raw.set_oncomplete(&resolve);
            self.raw.set_onabort(&reject);
        });
        let is_done = JsFuture::from(ended).await.is_ok();
        match requests.iter().find_map(|request| failure(request)) {
            Some(error) => Err(Some(error)),
            None if is_done => Ok(()),
            None => Err(None),
        }
    }
}

impl Rows {
    /// Looks for the row with the highest key; the result is a [`Cursor`], or null.
    pub(super) fn highest(&self) -> Result<Request, JsValue> {
        self.open_cursor(&JsValue::NULL, "prev")
    }
}

/// What a request failed with, unless it was because its transaction did.
fn failure(request: &Request) -> Option<JsValue> {
    let error = request.error().unwrap_or_default();
    let is_own = error.dyn_ref::<DomException>().is_some_and(|error| error.name() != "AbortError");
    is_own.then_some(error)
}

/// Keys from one to before another.
pub(super) fn keys(from: f64, to: f64) -> KeyRange {
    KeyRange::bound(from, to, false, true)
}
