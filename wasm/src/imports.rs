//! Importing the files of a hypercore 10.

use hypertab_core::engine::CoreId;
use hypertab_core::hypercore::v10::Import;
use hypertab_core::storage::StoreId;
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::cores::open_options;
use crate::events::{failure, number};
use crate::options::Options;
use crate::runtime::{now, with};

/// Opens the core that files of a hypercore 10 hold. Returns the core and the request, or a failure alone.
#[wasm_bindgen(js_name = openImportedCore)]
pub fn open_imported_core(
    store: u32,
    options: JsValue,
    oplog: &[u8],
    header: Option<Vec<u8>>,
    tree: &[u8],
    bitfield: &[u8],
) -> Result<Array, JsError> {
    let mut options = open_options(&Options(&options))?;
    let import = match Import::open(oplog, header.as_deref(), tree, bitfield) {
        Ok(import) => import,
        Err(error) => return Ok(Array::of1(&failure(error.code(), &error.to_string()))),
    };
    options.core.import = Some(Box::new(import.clone()));
    with(|runtime| {
        let (core, request) = runtime.engine.open_core(StoreId(store), options, now());
        runtime.imports.insert(core, import);
        Array::of2(&core.0.into(), &number(request.0).into())
    })
}

/// Which bytes of `data` to read next: `[offset, length]`. Undefined, and forgotten, when there are no more.
#[wasm_bindgen(js_name = coreImportRange)]
pub fn core_import_range(core: u32, limit: u32) -> Result<Option<Array>, JsError> {
    with(|runtime| {
        let core = CoreId(core);
        let range = runtime.imports.get_mut(&core).and_then(|import| import.poll_range(limit as usize));
        if range.is_none() {
            runtime.imports.remove(&core);
        }
        range.map(|(offset, len)| Array::of2(&number(offset).into(), &number(len).into()))
    })
}

/// Takes the bytes that were asked for, and stores the blocks in them. Returns the request.
#[wasm_bindgen(js_name = coreImportBytes)]
pub fn core_import_bytes(core: u32, bytes: &[u8]) -> Result<f64, JsError> {
    let blocks = with(|runtime| {
        runtime.imports.get_mut(&CoreId(core)).map_or(Vec::new(), |import| import.handle_bytes(bytes))
    })?;
    crate::cores::command(core, |core| core.restore(blocks))
}
