//! Branches, commits of branches, and atoms.

use bytes::Bytes;
use hypertab_core::engine::{BranchOptions, CommitOptions, CoreId, RequestId};
use hypertab_core::storage::StoreId;
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::cores::{ask, command, operation};
use crate::events::number;
use crate::options::{Options, integer};
use crate::runtime::{now, with};

fn opened((core, request): (CoreId, RequestId)) -> Array {
    Array::of2(&core.0.into(), &number(request.0).into())
}

/// Opens a branch of a core; `moved` when the store has moved meanwhile. One that starts over (`overwrite`) has the first `checkout`
/// blocks of that core, or all. Returns the core of the branch and the request.
#[wasm_bindgen(js_name = openBranch)]
pub fn open_branch(
    parent: u32,
    name: String,
    overwrite: bool,
    moved: bool,
    checkout: Option<f64>,
) -> Result<Array, JsError> {
    let checkout = checkout.map(|checkout| integer(checkout, "checkout")).transpose()?;
    let options = BranchOptions { name, overwrite, checkout, moved };
    with(|runtime| opened(runtime.engine.open_branch(CoreId(parent), options)))
}

/// Adds an atom over a store.
#[wasm_bindgen(js_name = createAtom)]
pub fn create_atom(store: u32) -> Result<u32, JsError> {
    with(|runtime| runtime.engine.create_atom(StoreId(store)).0)
}

/// Opens a second core over the log of a core, in an atom. Returns it and the request.
#[wasm_bindgen(js_name = openAtomic)]
pub fn open_atomic(parent: u32, atom: u32) -> Result<Array, JsError> {
    with(|runtime| opened(runtime.engine.open_atomic(CoreId(parent), StoreId(atom))))
}

/// Writes all that an atom holds.
#[wasm_bindgen(js_name = flushAtom)]
pub fn flush_atom(atom: u32) -> Result<f64, JsError> {
    with(|runtime| number(runtime.engine.flush_atom(StoreId(atom)).0))
}

/// Drops an atom and what it holds. Its cores must be closed.
#[wasm_bindgen(js_name = closeAtom)]
pub fn close_atom(atom: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.close_store(StoreId(atom), now()))
}

/// Takes the blocks of a branch in. The request ends with the new length, or null when the branch does not fit.
#[wasm_bindgen(js_name = coreCommit)]
pub fn core_commit(core: u32, source: u32, options: JsValue) -> Result<f64, JsError> {
    let options = Options(&options);
    let options = CommitOptions {
        length: options.integer("length")?,
        tree_length: options.integer("treeLength")?,
        key_pair: options.key_pair("keyPair")?,
        signature: options.bytes("signature")?.map(Bytes::from),
        operation: operation(&options),
    };
    with(|runtime| number(runtime.engine.commit(CoreId(core), CoreId(source), options).0))
}

/// Takes the blocks that the manifest of a core fixes from another core of its store.
#[wasm_bindgen(js_name = coreCopyPrologue)]
pub fn core_copy_prologue(core: u32, source: u32) -> Result<f64, JsError> {
    with(|runtime| number(runtime.engine.copy_prologue(CoreId(core), CoreId(source)).0))
}

/// Lets a branch start over from the log that it branched off.
#[wasm_bindgen(js_name = coreCatchUp)]
pub fn core_catch_up(branch: u32, source: u32, length: f64) -> Result<f64, JsError> {
    let length = integer(length, "length")?;
    with(|runtime| number(runtime.engine.catch_up(CoreId(branch), CoreId(source), length).0))
}

/// Where a log is read: the pointer of its core and of its own records, then those below, oldest first, each with the blocks up to
/// which it is read there.
#[wasm_bindgen(js_name = coreLayers)]
pub fn core_layers(core: u32) -> Result<Vec<f64>, JsError> {
    ask(core, |core| {
        let (pointer, layers) = core.layers();
        let below = layers.below().iter().flat_map(|dependency| [dependency.data, dependency.length]);
        [pointer, layers.own().data].into_iter().chain(below).map(number).collect()
    })
}

/// Looks whether blocks of a branch are stored.
#[wasm_bindgen(js_name = coreHasStored)]
pub fn core_has_stored(core: u32, start: f64, end: f64) -> Result<f64, JsError> {
    let (start, end) = (integer(start, "start")?, integer(end, "end")?);
    command(core, |core| core.has_stored(start, end))
}
