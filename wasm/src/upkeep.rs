//! Marks and sweeps, and the audit of what is stored.

use hypertab_core::engine::{AuditOptions, Audited};
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::cores::command;
use crate::events::{number, object};
use crate::options::{Options, integer};

/// Notes that blocks are to stay when the others are dropped.
#[wasm_bindgen(js_name = coreMark)]
pub fn core_mark(core: u32, start: f64, end: f64) -> Result<f64, JsError> {
    let (start, end) = (integer(start, "start")?, integer(end, "end")?);
    command(core, |core| core.mark(start, end))
}

/// Forgets all marks.
#[wasm_bindgen(js_name = coreClearMarks)]
pub fn core_clear_marks(core: u32) -> Result<f64, JsError> {
    command(core, |core| core.clear_marks())
}

/// Looks for stored blocks without marks. The request ends with their ranges and where to go on.
#[wasm_bindgen(js_name = coreUnmarked)]
pub fn core_unmarked(core: u32, from: f64) -> Result<f64, JsError> {
    let from = integer(from, "from")?;
    command(core, |core| core.unmarked(from))
}

/// Looks whether a part of the log fits together, and drops what does not.
#[wasm_bindgen(js_name = coreAudit)]
pub fn core_audit(core: u32, start: f64, options: JsValue) -> Result<f64, JsError> {
    let flags = Options(&options);
    let options = AuditOptions {
        start: integer(start, "start")?,
        tree: flags.flag("tree").unwrap_or(true),
        blocks: flags.flag("blocks").unwrap_or(true),
        bitfield: flags.flag("bitfield").unwrap_or(true),
        dry_run: flags.flag("dryRun").unwrap_or(false),
    };
    command(core, |core| core.audit(options))
}

pub(crate) fn unmarked(ranges: &[(u64, u64)], next: Option<u64>) -> JsValue {
    let range =
        |(start, end): &(u64, u64)| JsValue::from(Array::of2(&number(*start).into(), &number(*end).into()));
    let ranges: Array = ranges.iter().map(range).collect();
    object(&[("ranges", ranges.into()), ("next", next.map_or(JsValue::NULL, |next| number(next).into()))])
        .into()
}

pub(crate) fn audited(found: &Audited) -> JsValue {
    object(&[
        ("next", found.next.map_or(JsValue::NULL, |next| number(next).into())),
        ("treeNodes", number(found.nodes).into()),
        ("blocks", number(found.blocks).into()),
        ("bits", number(found.bits).into()),
        ("droppedTreeNodes", number(found.dropped_nodes).into()),
        ("droppedBlocks", number(found.dropped_blocks).into()),
        ("droppedBits", number(found.dropped_bits).into()),
    ])
    .into()
}
