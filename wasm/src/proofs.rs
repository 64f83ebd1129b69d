//! Proofs as plain objects, in the shape of upstream's.

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode as _;
use hypertab_core::crypto::Node;
use hypertab_core::engine::CoreId;
use hypertab_core::hypercore::conflict::FromEmpty;
use hypertab_core::hypercore::proof::{
    BlockProof, BlockRequest, HashProof, HashRequest, Proof, ProofRequest, SeekProof, SeekRequest,
    UpgradeProof, UpgradeRequest,
};
use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use crate::cores::command;
use crate::crypto::decode_manifest;
use crate::events::{bytes, done, failure, number, object};
use crate::options::{Options, fixed, integer};
use crate::runtime::with;

/// Makes a proof, block included.
#[wasm_bindgen(js_name = coreProof)]
pub fn core_proof(core: u32, request: JsValue) -> Result<f64, JsError> {
    let request = request_of(&Options(&request))?;
    command(core, |core| core.proof(request))
}

/// Verifies and stores a proof. The request ends with whether it changed anything.
#[wasm_bindgen(js_name = coreApplyProof)]
pub fn core_apply_proof(core: u32, proof: JsValue) -> Result<f64, JsError> {
    let proof = proof_of(&Options(&proof))?;
    command(core, |core| core.apply_proof(proof))
}

/// Verifies a part of another history. The request ends with whether it is known where the histories part.
#[wasm_bindgen(js_name = coreCheckReorg)]
pub fn core_check_reorg(core: u32, proof: JsValue) -> Result<f64, JsError> {
    let proof = proof_of(&Options(&proof))?;
    command(core, |core| core.check_reorg(proof))
}

/// Follows another history that was checked. The request ends with whether the log was still the same.
#[wasm_bindgen(js_name = coreApplyReorg)]
pub fn core_apply_reorg(core: u32, fork: f64) -> Result<f64, JsError> {
    let fork = integer(fork, "fork")?;
    command(core, |core| core.apply_reorg(fork))
}

/// Verifies a proof from an empty log. The request ends with the head.
#[wasm_bindgen(js_name = coreVerifyFullyRemote)]
pub fn core_verify_fully_remote(core: u32, proof: JsValue) -> Result<f64, JsError> {
    let proof = proof_of(&Options(&proof))?;
    with(|runtime| {
        let verified = match runtime.engine.core(CoreId(core)) {
            Ok(core) => core.verify_fully_remote(&proof),
            Err(_) => Err(hypertab_core::engine::Error::Closed),
        };
        let request = runtime.own_request();
        let verified = verified
            .map(|head| head_object(&head))
            .map_err(|error| failure(error.code(), &error.to_string()));
        runtime.push_event(done(request, verified));
        request
    })
}

fn request_of(options: &Options<'_>) -> Result<ProofRequest, JsError> {
    let pair = |name: &'static str,
                first: &'static str,
                second: &'static str|
     -> Result<Option<(u64, u64)>, JsError> {
        let Some(value) = options.get(name) else { return Ok(None) };
        let options = Options(&value);
        Ok(Some((options.integer(first)?.unwrap_or(0), options.integer(second)?.unwrap_or(0))))
    };
    Ok(ProofRequest {
        block: pair("block", "index", "nodes")?.map(|(index, nodes)| BlockRequest { index, nodes }),
        hash: pair("hash", "index", "nodes")?.map(|(index, nodes)| HashRequest { index, nodes }),
        seek: pair("seek", "bytes", "padding")?.map(|(bytes, padding)| SeekRequest { bytes, padding }),
        upgrade: pair("upgrade", "start", "length")?.map(|(start, length)| UpgradeRequest { start, length }),
        manifest: options.flag("manifest").unwrap_or(false),
    })
}

pub(crate) fn proof_of(options: &Options<'_>) -> Result<Proof, JsError> {
    let number =
        |options: &Options<'_>, name: &'static str| Ok::<_, JsError>(options.integer(name)?.unwrap_or(0));
    let mut proof = Proof { fork: number(options, "fork")?, ..Proof::default() };
    if let Some(value) = options.get("block") {
        let block = Options(&value);
        let value = block.bytes("value")?.unwrap_or_default().into();
        proof.block =
            Some(BlockProof { index: number(&block, "index")?, value, nodes: nodes(&block, "nodes")? });
    }
    if let Some(value) = options.get("hash") {
        let hash = Options(&value);
        proof.hash = Some(HashProof { index: number(&hash, "index")?, nodes: nodes(&hash, "nodes")? });
    }
    if let Some(value) = options.get("seek") {
        let seek = Options(&value);
        proof.seek = Some(SeekProof { bytes: number(&seek, "bytes")?, nodes: nodes(&seek, "nodes")? });
    }
    if let Some(value) = options.get("upgrade") {
        let upgrade = Options(&value);
        proof.upgrade = Some(UpgradeProof {
            start: number(&upgrade, "start")?,
            length: number(&upgrade, "length")?,
            nodes: nodes(&upgrade, "nodes")?,
            additional_nodes: nodes(&upgrade, "additionalNodes")?,
            signature: upgrade.bytes("signature")?.map(Bytes::from),
        });
    }
    proof.manifest = options.bytes("manifest")?.map(|manifest| decode_manifest(&manifest)).transpose()?;
    Ok(proof)
}

fn nodes(options: &Options<'_>, name: &'static str) -> Result<Vec<Node>, JsError> {
    let Some(list) = options.list(name) else { return Ok(Vec::new()) };
    list.iter()
        .map(|node| {
            let node = Options(&node);
            Ok(Node {
                index: node.integer("index")?.unwrap_or(0),
                size: node.integer("size")?.unwrap_or(0),
                hash: fixed(&node.bytes("hash")?.unwrap_or_default(), "hash")?,
            })
        })
        .collect()
}

/// The object of a proof; its manifest is encoded.
pub(crate) fn proof_object(proof: &Proof) -> JsValue {
    let optional = |value: Option<Object>| value.map_or(JsValue::NULL, JsValue::from);
    let block = proof.block.as_ref().map(|block| {
        object(&[
            ("index", number(block.index).into()),
            ("value", bytes(&block.value).into()),
            ("nodes", node_objects(&block.nodes)),
        ])
    });
    let hash = proof
        .hash
        .as_ref()
        .map(|hash| object(&[("index", number(hash.index).into()), ("nodes", node_objects(&hash.nodes))]));
    let seek = proof
        .seek
        .as_ref()
        .map(|seek| object(&[("bytes", number(seek.bytes).into()), ("nodes", node_objects(&seek.nodes))]));
    let upgrade = proof.upgrade.as_ref().map(|upgrade| {
        object(&[
            ("start", number(upgrade.start).into()),
            ("length", number(upgrade.length).into()),
            ("nodes", node_objects(&upgrade.nodes)),
            ("additionalNodes", node_objects(&upgrade.additional_nodes)),
            ("signature", upgrade.signature.as_ref().map_or(JsValue::NULL, |bits| bytes(bits).into())),
        ])
    });
    let manifest = proof.manifest.as_ref().map_or(JsValue::NULL, |manifest| bytes(&manifest.to_vec()).into());
    object(&[
        ("fork", number(proof.fork).into()),
        ("block", optional(block)),
        ("hash", optional(hash)),
        ("seek", optional(seek)),
        ("upgrade", optional(upgrade)),
        ("manifest", manifest),
    ])
    .into()
}

fn head_object(head: &FromEmpty) -> JsValue {
    let tree = &head.tree;
    object(&[
        ("fork", number(tree.fork).into()),
        ("length", number(tree.length).into()),
        ("byteLength", number(tree.byte_length).into()),
        ("roots", node_objects(&tree.roots)),
        ("hash", bytes(&tree.tree_hash()).into()),
        ("signature", tree.signature.as_ref().map_or(JsValue::NULL, |bits| bytes(bits).into())),
        ("nodes", node_objects(&head.nodes)),
    ])
    .into()
}

pub(crate) fn node_objects(nodes: &[Node]) -> JsValue {
    nodes.iter().map(node_object).collect::<Array>().into()
}

pub(crate) fn node_object(node: &Node) -> JsValue {
    object(&[
        ("index", number(node.index).into()),
        ("size", number(node.size).into()),
        ("hash", bytes(&node.hash).into()),
    ])
    .into()
}
