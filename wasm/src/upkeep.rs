//! Marks and sweeps, and the audit of what is stored.

use hypertab_core::engine::{AuditOptions, Audited};
use hypertab_core::hypercore::merkle_tree::Tree;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::cores::{act, ask, command};
use crate::crypto::decode_manifest;
use crate::events::{bytes, number, object};
use crate::options::{Options, fixed, integer};
use crate::proofs::{node_objects, proof_of};

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

/// Lists user data from a name on, up to another. The request ends with names, values, and whether there are more.
#[wasm_bindgen(js_name = coreUserDataList)]
pub fn core_user_data_list(core: u32, from: String, to: Option<String>, limit: u32) -> Result<f64, JsError> {
    command(core, |core| core.user_data_list(&from, to.as_deref(), limit))
}

/// Lists what programs keep for themselves from a key on, up to another. The request ends with keys, values, and whether there
/// are more.
#[wasm_bindgen(js_name = coreLocalList)]
pub fn core_local_list(core: u32, from: &[u8], to: Option<Vec<u8>>, limit: u32) -> Result<f64, JsError> {
    command(core, |core| core.local_list(from, to.as_deref(), limit))
}

/// Waits until nothing is being written, and keeps it so.
#[wasm_bindgen(js_name = coreHold)]
pub fn core_hold(core: u32) -> Result<f64, JsError> {
    command(core, |core| core.hold())
}

/// Lets what writes go on.
#[wasm_bindgen(js_name = coreRelease)]
pub fn core_release(core: u32) -> Result<(), JsError> {
    act(core, |core| core.release())
}

/// Whether to ask before a peer makes the log longer.
#[wasm_bindgen(js_name = coreGuard)]
pub fn core_guard(core: u32, is_guarded: bool) -> Result<(), JsError> {
    act(core, |core| core.guard(is_guarded))
}

/// Says whether the log may become as long as was asked.
#[wasm_bindgen(js_name = coreAdmit)]
pub fn core_admit(core: u32, is_admitted: bool) -> Result<(), JsError> {
    act(core, |core| core.admit(is_admitted))
}

/// Stores the manifest, unless it is known.
#[wasm_bindgen(js_name = coreSetManifest)]
pub fn core_set_manifest(core: u32, manifest: Vec<u8>) -> Result<f64, JsError> {
    let manifest = decode_manifest(&manifest)?;
    command(core, |core| core.set_manifest(manifest))
}

/// Puts the core into a group.
#[wasm_bindgen(js_name = coreSetGroup)]
pub fn core_set_group(core: u32, topic: Vec<u8>) -> Result<f64, JsError> {
    let topic = fixed(&topic, "topic")?;
    command(core, |core| core.set_group(topic))
}

/// The topic of the core's group.
#[wasm_bindgen(js_name = coreGroup)]
pub fn core_group(core: u32) -> Result<Option<Uint8Array>, JsError> {
    ask(core, |core| core.group().map(|topic| bytes(topic)))
}

/// Whether roots of the tree are lost.
#[wasm_bindgen(js_name = coreIsLost)]
pub fn core_is_lost(core: u32) -> Result<bool, JsError> {
    ask(core, |core| core.is_lost())
}

/// Takes lost roots from a proof. The request ends with whether they are there.
#[wasm_bindgen(js_name = coreRepair)]
pub fn core_repair(core: u32, proof: JsValue) -> Result<f64, JsError> {
    let proof = proof_of(&Options(&proof))?;
    command(core, |core| core.repair(proof))
}

/// Asks every peer for its head, to take lost roots from it.
#[wasm_bindgen(js_name = coreAskForRepair)]
pub fn core_ask_for_repair(core: u32) -> Result<(), JsError> {
    act(core, |core| core.ask_for_repair())
}

/// Sets how many requests a peer gets at once.
#[wasm_bindgen(js_name = coreSetInFlight)]
pub fn core_set_in_flight(core: u32, least: u32, most: u32) -> Result<(), JsError> {
    act(core, |core| core.set_in_flight((least, most)))
}

/// The full roots of the tree.
#[wasm_bindgen(js_name = coreRoots)]
pub fn core_roots(core: u32) -> Result<JsValue, JsError> {
    ask(core, |core| node_objects(core.roots()))
}

/// The signature of the head.
#[wasm_bindgen(js_name = coreSignature)]
pub fn core_signature(core: u32) -> Result<Option<Uint8Array>, JsError> {
    ask(core, |core| core.signature().map(|signature| bytes(&signature)))
}

/// Replaces the signature that peers are told for the head; nothing is stored.
#[wasm_bindgen(js_name = coreTellSignature)]
pub fn core_tell_signature(core: u32, signature: &[u8]) -> Result<(), JsError> {
    act(core, |core| core.tell_signature(::bytes::Bytes::copy_from_slice(signature)))
}

/// When the store was repaired, in milliseconds; 0 when the log is known to be whole.
#[wasm_bindgen(js_name = coreRecovering)]
pub fn core_recovering(core: u32) -> Result<f64, JsError> {
    ask(core, |core| number(core.recovering()))
}

/// Notes when the store was repaired.
#[wasm_bindgen(js_name = coreSetRecovering)]
pub fn core_set_recovering(core: u32, milliseconds: f64) -> Result<(), JsError> {
    let milliseconds = integer(milliseconds, "milliseconds")?;
    act(core, |core| core.set_recovering(milliseconds))
}

/// A head that a core may get.
pub(crate) fn head_of(tree: &Tree) -> JsValue {
    let signature = tree.signature.as_ref().map_or(JsValue::NULL, |signature| bytes(signature).into());
    object(&[
        ("fork", number(tree.fork).into()),
        ("length", number(tree.length).into()),
        ("byteLength", number(tree.byte_length).into()),
        ("roots", node_objects(&tree.roots)),
        ("signature", signature),
    ])
    .into()
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
