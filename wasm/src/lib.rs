//! The engine in a browser or in Node: small synchronous exports over one engine, for the TypeScript API.
//!
//! Every export returns before anything of the user's runs. What a call started ends with an event that repeats its
//! request id; [`poll_events`] hands events over.

mod barrier;
pub mod bees;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod cores;
pub mod crypto;
pub mod drives;
mod events;
pub mod imports;
pub mod links;
mod memory;
mod options;
pub mod proofs;
pub mod records;
pub mod relays;
mod runtime;
pub mod sessions;
mod socket;
mod storage;
pub mod stores;
pub mod tries;
pub mod upkeep;

use hypertab_core::storage::StoreId;
use js_sys::{Array, Float64Array, Function};
use wasm_bindgen::prelude::*;

use crate::runtime::with;
use crate::storage::{Backend, JsFile};

/// Starts the engine. `wake` is called when events wait that no call caused; it must only schedule a fetch.
/// `set_timer` is given milliseconds, or -1 to forget the timer; [`handle_timeout`] answers it.
#[wasm_bindgen]
pub fn start(wake: Function, set_timer: Function) -> Result<(), JsError> {
    runtime::start(wake, set_timer)
}

/// The time that was asked for last has come.
#[wasm_bindgen(js_name = handleTimeout)]
pub fn handle_timeout() -> Result<(), JsError> {
    with(runtime::Runtime::handle_timeout)
}

/// Hands over every event since the last time, each an array with its kind first.
#[wasm_bindgen(js_name = pollEvents)]
pub fn poll_events() -> Result<Array, JsError> {
    runtime::look(runtime::Runtime::take_events)
}

/// A number that stays the same until something enters the engine that may change it, in an array that is empty once memory has grown.
#[wasm_bindgen]
pub fn revision() -> Float64Array {
    runtime::revision()
}

/// Writes what waits for it, in the turn after the event `commit`.
#[wasm_bindgen(js_name = writeCommits)]
pub fn write_commits() -> Result<(), JsError> {
    with(runtime::Runtime::write_commits)
}

/// Stores together whatever is asked for in this turn.
#[wasm_bindgen(js_name = gatherCommits)]
pub fn gather_commits() -> Result<(), JsError> {
    with(runtime::Runtime::gather_commits)
}

/// Some time has passed since the event `restless`.
#[wasm_bindgen(js_name = settleStore)]
pub fn settle_store(store: u32) -> Result<(), JsError> {
    with(|runtime| runtime.settle_store(StoreId(store)))
}

/// Opens a store that is gone with the page.
#[wasm_bindgen(js_name = openMemoryStore)]
pub fn open_memory_store() -> Result<u32, JsError> {
    with(|runtime| runtime.add_store(Backend::memory()).0)
}

/// Opens the store in a file, or starts one in an empty file.
#[wasm_bindgen(js_name = openFileStore)]
pub fn open_file_store(file: JsFile) -> Result<u32, JsError> {
    with(|runtime| runtime.add_store(Backend::file(file)).0)
}

/// Opens the store in a database, or creates it.
#[wasm_bindgen(js_name = openIndexedDbStore)]
pub async fn open_indexed_db_store(name: String) -> Result<u32, JsError> {
    let backend = Backend::indexed_db(&name).await?;
    with(|runtime| runtime.add_store(backend).0)
}

/// Closes a store once everything is written, and lets go of its device. Returns the request.
#[wasm_bindgen(js_name = closeStore)]
pub fn close_store(store: u32) -> Result<f64, JsError> {
    with(|runtime| runtime.close_store(StoreId(store)))
}
