//! Cores: opening, reading, writing.

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode as _;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    AppendOptions, CoreHandle, CoreId, Detours, EncryptionKey, Error, GetOptions, OpenCore, PeerId,
    RangeWish, RequestId, SeekOptions, SnapshotId, TruncateOptions, UpdateOptions,
};
use hypertab_core::hypercore::bitfield::Bitfield;
use hypertab_core::hypercore::opening::OpenOptions;
use hypertab_core::storage::StoreId;
use hypertab_core::storage::records::Alias;
use hypertab_core::time::Duration;
use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::crypto::decode_manifest;
use crate::events::{bytes, done, failure, number, object};
use crate::options::{Options, integer};
use crate::runtime::{Runtime, look, now, with};

/// Opens a core of a store. Returns the core and the request.
#[wasm_bindgen(js_name = openCore)]
pub fn open_core(store: u32, options: JsValue) -> Result<Array, JsError> {
    let options = open_options(&Options(&options))?;
    with(|runtime| {
        let (core, request) = runtime.engine.open_core(StoreId(store), options, now());
        Array::of2(&core.0.into(), &number(request.0).into())
    })
}

pub(crate) fn open_options(options: &Options<'_>) -> Result<OpenCore, JsError> {
    let mut open = OpenCore::default();
    let manifest = options.bytes("manifest")?.map(|manifest| decode_manifest(&manifest)).transpose()?;
    open.core = OpenOptions {
        key: options.key("key")?,
        discovery_key: options.key("discoveryKey")?,
        key_pair: options.key_pair("keyPair")?,
        public_key: options.public_key("keyPair")?,
        is_compat: options.flag("compat").unwrap_or(false),
        manifest,
        is_legacy: options.flag("legacy").unwrap_or(false),
        create_if_missing: options.flag("createIfMissing").unwrap_or(true),
        overwrite: options.flag("overwrite").unwrap_or(false),
        force: options.flag("force").unwrap_or(false),
        alias: alias(options)?,
        user_data: user_data(options)?,
        incoming: options.integer("incoming")?,
        ..OpenOptions::default()
    };
    let replication = &mut open.replication;
    replication.eager_upgrade = options.flag("eagerUpgrade").unwrap_or(true);
    replication.allow_fork = options.flag("allowFork").unwrap_or(true);
    replication.allow_push = options.flag("allowPush").unwrap_or(false);
    replication.allow_latest_block = options.flag("allowLatestBlock").unwrap_or(false);
    replication.small_wants = options.flag("smallWants").unwrap_or(false);
    replication.linger = options.integer("notDownloadingLinger")?.map(Duration::from_millis);
    if let Some(range) = options.list("inflightRange") {
        let bound = |at: u32, default: u32| range.get(at).as_f64().map_or(default, |value| value as u32);
        replication.in_flight = (bound(0, replication.in_flight.0), bound(1, replication.in_flight.1));
    }
    open.is_active = options.flag("active").unwrap_or(true);
    Ok(open)
}

fn alias(options: &Options<'_>) -> Result<Option<Alias>, JsError> {
    let Some(alias) = options.get("alias") else { return Ok(None) };
    let alias = Options(&alias);
    let (Some(name), Some(namespace)) =
        (alias.get("name").and_then(|name| name.as_string()), alias.key("namespace")?)
    else {
        return Err(JsError::new("an alias has a name and a namespace"));
    };
    Ok(Some(Alias { name, namespace }))
}

fn user_data(options: &Options<'_>) -> Result<Vec<(String, Bytes)>, JsError> {
    let Some(list) = options.list("userData") else { return Ok(Vec::new()) };
    list.iter()
        .map(|entry| {
            let entry = Array::from(&entry);
            let name = entry.get(0).as_string().ok_or_else(|| JsError::new("user data has a name"))?;
            Ok((name, Bytes::from(Uint8Array::new(&entry.get(1)).to_vec())))
        })
        .collect()
}

/// Closes a core that was opened once more often than closed. Returns the request.
#[wasm_bindgen(js_name = closeCore)]
pub fn close_core(core: u32) -> Result<f64, JsError> {
    with(|runtime| number(runtime.engine.close_core(CoreId(core), now()).0))
}

/// Asks an open core for something resident.
pub(crate) fn ask<R>(core: u32, question: impl FnOnce(&mut CoreHandle<'_>) -> R) -> Result<R, JsError> {
    look(|runtime| runtime.engine.core(CoreId(core)).map(|mut core| question(&mut core)))?
        .map_err(|misuse| JsError::new(&misuse.to_string()))
}

/// Gives an open core something to do; on a core that is gone the request fails as any other would.
pub(crate) fn command(
    core: u32,
    command: impl FnOnce(&mut CoreHandle<'_>) -> RequestId,
) -> Result<f64, JsError> {
    with(|runtime| match runtime.engine.core(CoreId(core)) {
        Ok(mut core) => number(command(&mut core).0),
        Err(_) => refuse(runtime),
    })
}

fn refuse(runtime: &mut Runtime) -> f64 {
    let request = runtime.own_request();
    let closed = Error::Closed;
    runtime.push_event(done(request, Err(failure(closed.code(), &closed.to_string()))));
    request
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident $js_name:ident -> $type:ty: $get:expr;)*) => {
        $(
            $(#[$doc])*
            #[wasm_bindgen(js_name = $js_name)]
            pub fn $name(core: u32) -> Result<$type, JsError> {
                ask(core, $get)
            }
        )*
    };
}

getters! {
    /// The core's key.
    core_key coreKey -> Uint8Array: |core| bytes(&core.key());
    /// The core's discovery key.
    core_discovery_key coreDiscoveryKey -> Uint8Array: |core| bytes(&core.discovery_key());
    /// The encoded manifest, once known.
    core_manifest coreManifest -> Option<Uint8Array>: |core| core.manifest().map(|manifest| bytes(&manifest.to_vec()));
    /// Whether the key itself signs.
    core_is_compat coreIsCompat -> bool: |core| core.is_compat();
    /// Whether blocks can be appended with the stored pair.
    core_has_secret_key coreHasSecretKey -> bool: |core| core.key_pair().is_some();
    /// The public half of the stored pair.
    core_public_key corePublicKey -> Option<Uint8Array>: |core| core.stored_key_pair().map(|pair| bytes(&pair.public_key));
    /// The stored pair, whose secret may be null.
    core_key_pair coreKeyPair -> Option<Object>: |core| core.stored_key_pair().map(|pair| {
        let secret = |pair: &KeyPair| bytes(&pair.secret_key.to_bytes()[..]).into();
        object(&[
            ("publicKey", bytes(&pair.public_key).into()),
            ("secretKey", pair.key_pair.as_ref().map_or(JsValue::NULL, secret)),
        ])
    });
    /// Blocks in the log.
    core_length coreLength -> f64: |core| number(core.length());
    /// Its length once what has begun is stored.
    core_staged_length coreStagedLength -> f64: |core| number(core.staged_length());
    /// How often the log was cut.
    core_fork coreFork -> f64: |core| number(core.fork());
    /// Stored bytes of the log.
    core_byte_length coreByteLength -> f64: |core| number(core.byte_length());
    /// Blocks stored here without a gap from the start.
    core_contiguous_length coreContiguousLength -> f64: |core| number(core.contiguous_length());
    /// Blocks that a peer had without a gap from the start.
    core_remote_contiguous_length coreRemoteContiguousLength -> f64: |core| number(core.remote_contiguous_length());
}

/// Who replicates the core.
#[wasm_bindgen(js_name = corePeers)]
pub fn core_peers(core: u32) -> Result<Array, JsError> {
    ask(core, |core| {
        core.peers()
            .into_iter()
            .map(|(link, peer)| {
                JsValue::from(object(&[
                    ("peer", number(peer.peer.0).into()),
                    ("link", link.0.into()),
                    ("remoteFork", number(peer.remote_fork).into()),
                    ("remoteLength", number(peer.remote_length).into()),
                    ("remoteContiguousLength", number(peer.remote_contiguous_length).into()),
                    ("remoteCanUpgrade", peer.remote_can_upgrade.into()),
                    ("remoteUploading", peer.remote_uploading.into()),
                    ("remoteDownloading", peer.remote_downloading.into()),
                    ("remoteHasManifest", peer.remote_has_manifest.into()),
                    ("remoteAllowPush", peer.remote_allow_push.into()),
                    ("remoteSynced", peer.remote_synced.into()),
                    ("canUpgrade", peer.can_upgrade.into()),
                    ("lengthAcked", number(peer.length_acked).into()),
                    ("detours", detours(&peer.detours).into()),
                    ("inflight", peer.in_flight.into()),
                    ("paused", peer.is_paused.into()),
                    ("invalidData", peer.invalid_data.into()),
                    ("invalidRequests", peer.invalid_requests.into()),
                ]))
            })
            .collect()
    })
}

/// Detours of all requests to peers so far.
#[wasm_bindgen(js_name = coreDetours)]
pub fn core_detours(core: u32) -> Result<Array, JsError> {
    ask(core, |core| detours(&core.detours()))
}

fn detours(of: &Detours) -> Array {
    Array::of3(&number(of.hotswaps).into(), &number(of.refused).into(), &number(of.not_available).into())
}

/// The first block from a place on, or the last one up to there, that is in a list or not; -1 for none. The list is of
/// the blocks that are here, or of those that a peer announced beside its prefix.
#[wasm_bindgen(js_name = coreFindBlock)]
pub fn core_find_block(
    core: u32,
    peer: Option<f64>,
    is_set: bool,
    from: f64,
    backwards: bool,
) -> Result<f64, JsError> {
    let from = integer(from, "from")?;
    let found = bits(core, peer, |blocks| match (is_set, backwards) {
        (true, false) => blocks.first_set(from),
        (false, false) => Some(blocks.first_unset(from)),
        (true, true) => blocks.last_set(from),
        (false, true) => blocks.last_unset(from),
    })?;
    Ok(found.flatten().map_or(-1.0, number))
}

/// How many blocks of a range are in such a list.
#[wasm_bindgen(js_name = coreCountBlocks)]
pub fn core_count_blocks(core: u32, peer: Option<f64>, start: f64, end: f64) -> Result<f64, JsError> {
    let (start, end) = (integer(start, "start")?, integer(end, "end")?);
    Ok(number(bits(core, peer, |blocks| blocks.count(start, end))?.unwrap_or(0)))
}

/// A page of such a list: a bit for each of 32768 blocks.
#[wasm_bindgen(js_name = coreBlocksPage)]
pub fn core_blocks_page(core: u32, peer: Option<f64>, page: f64) -> Result<Option<Uint8Array>, JsError> {
    let page = integer(page, "page")?;
    Ok(bits(core, peer, |blocks| blocks.page(page))?.map(|page| Uint8Array::from(&page[..])))
}

/// Which pages of such a list, from one on, have changed after a revision: the revision now, then the pages.
#[wasm_bindgen(js_name = coreChangedPages)]
pub fn core_changed_pages(
    core: u32,
    peer: Option<f64>,
    revision: f64,
    first: f64,
) -> Result<Option<Array>, JsError> {
    let (revision, first) = (integer(revision, "revision")?, integer(first, "first")?);
    bits(core, peer, |blocks| {
        let pages = core::iter::once(blocks.revision()).chain(blocks.changed_after(revision, first));
        pages.map(|page| JsValue::from(number(page))).collect()
    })
}

fn bits<T>(core: u32, peer: Option<f64>, look: impl FnOnce(&Bitfield) -> T) -> Result<Option<T>, JsError> {
    let peer = peer.map(|peer| integer(peer, "peer")).transpose()?.map(PeerId);
    ask(core, |core| core.blocks(peer).map(look))
}

/// Sends a block to every peer that takes pushes and lacks it.
#[wasm_bindgen(js_name = corePush)]
pub fn core_push(core: u32, index: f64) -> Result<(), JsError> {
    let index = integer(index, "index")?;
    act(core, |core| core.push(index))
}

/// Messages of a peer, or of all there ever were: those sent by type, then those received.
#[wasm_bindgen(js_name = coreTraffic)]
pub fn core_traffic(core: u32, peer: Option<f64>) -> Result<Array, JsError> {
    let peer = peer.map(|peer| integer(peer, "peer")).transpose()?.map(PeerId);
    let traffic = ask(core, |core| core.traffic(peer))?;
    let list = |counts: [u64; 10]| {
        JsValue::from(counts.into_iter().map(number).map(JsValue::from).collect::<Array>())
    };
    Ok(Array::of2(&list(traffic.sent), &list(traffic.received)))
}

/// Appends blocks. The request ends with the new length.
#[wasm_bindgen(js_name = coreAppend)]
pub fn core_append(core: u32, blocks: Array, options: JsValue) -> Result<f64, JsError> {
    let options = Options(&options);
    let operation = operation(&options);
    let options = AppendOptions {
        key_pair: options.key_pair("keyPair")?,
        signature: options.bytes("signature")?.map(Bytes::from),
        max_length: options.integer("maxLength")?,
        encryption: encryption(&options)?,
        encryption_fork: None,
    };
    let blocks = blocks
        .iter()
        .map(|block| block.dyn_into::<Uint8Array>().map(|block| Bytes::from(block.to_vec())))
        .collect::<Result<_, _>>()
        .map_err(|_| JsError::new("blocks must be Uint8Arrays"))?;
    command(core, |core| recorded(core, operation).append(blocks, options))
}

pub(crate) fn operation(options: &Options<'_>) -> Option<String> {
    options.get("operation").and_then(|operation| operation.as_string())
}

/// The handle, told how to record what it is to write.
fn recorded<'a, 'b>(core: &'a mut CoreHandle<'b>, operation: Option<String>) -> &'a mut CoreHandle<'b> {
    match operation {
        Some(operation) => core.recorded_as(operation),
        None => core,
    }
}

fn encryption(options: &Options<'_>) -> Result<Option<EncryptionKey>, JsError> {
    let Some(value) = options.get("encryption") else { return Ok(None) };
    let options = Options(&value);
    let Some(key) = options.key("key")? else { return Ok(None) };
    Ok(Some(EncryptionKey { key: key.into(), is_block_key: options.flag("isBlockKey").unwrap_or(false) }))
}

/// Gets a block. The request ends with its bytes, or null when it is not here and was not to be waited for.
#[wasm_bindgen(js_name = coreGet)]
pub fn core_get(core: u32, index: f64, options: JsValue) -> Result<f64, JsError> {
    let index = integer(index, "index")?;
    let options = Options(&options);
    let get = GetOptions {
        wait: options.flag("wait").unwrap_or(true),
        force: options.flag("force").unwrap_or(false),
        snapshot: options.integer("snapshot")?.and_then(|id| u32::try_from(id).ok()).map(SnapshotId),
        encryption: encryption(&options)?,
        ..GetOptions::default()
    };
    command(core, |core| core.get(index, get, now()))
}

/// Asks peers for a longer log. The request ends with whether there was one.
#[wasm_bindgen(js_name = coreUpdate)]
pub fn core_update(core: u32, options: JsValue) -> Result<f64, JsError> {
    let options = Options(&options);
    let update = UpdateOptions {
        wait: options.flag("wait").unwrap_or(true),
        force: options.flag("force").unwrap_or(false),
    };
    command(core, |core| core.update(update, now()))
}

/// Finds the block that holds a byte. The request ends with `[block, offset]` or null.
#[wasm_bindgen(js_name = coreSeek)]
pub fn core_seek(core: u32, position: f64, options: JsValue) -> Result<f64, JsError> {
    let position = integer(position, "bytes")?;
    let options = Options(&options);
    let seek = SeekOptions {
        wait: options.flag("wait").unwrap_or(true),
        timeout: None,
        padding: options.integer("padding")?.unwrap_or(0),
    };
    command(core, |core| core.seek(position, seek, now()))
}

/// Cuts the log.
#[wasm_bindgen(js_name = coreTruncate)]
pub fn core_truncate(core: u32, length: f64, options: JsValue) -> Result<f64, JsError> {
    let length = integer(length, "length")?;
    let options = Options(&options);
    let operation = operation(&options);
    let truncate = TruncateOptions {
        fork: options.integer("fork")?,
        key_pair: options.key_pair("keyPair")?,
        signature: options.bytes("signature")?.map(Bytes::from),
    };
    command(core, |core| recorded(core, operation).truncate(length, truncate))
}

/// Drops blocks from storage.
#[wasm_bindgen(js_name = coreClear)]
pub fn core_clear(core: u32, start: f64, end: f64) -> Result<f64, JsError> {
    let (start, end) = (integer(start, "start")?, integer(end, "end")?);
    command(core, |core| core.clear(start, end))
}

/// Downloads blocks: a range, or those listed. The request ends once all are stored; with an end of -1 never.
#[wasm_bindgen(js_name = coreDownload)]
pub fn core_download(core: u32, range: JsValue) -> Result<f64, JsError> {
    let options = Options(&range);
    let end = options.get("end").and_then(|end| end.as_f64()).filter(|&end| end >= 0.0);
    let blocks = options
        .list("blocks")
        .map(|list| list.iter().map(|block| integer(block.as_f64().unwrap_or(-1.0), "block")).collect())
        .transpose()?;
    let wish = RangeWish {
        start: options.integer("start")?.unwrap_or(0),
        end: end.map(|end| integer(end, "end")).transpose()?,
        blocks,
        linear: options.flag("linear").unwrap_or(false),
    };
    command(core, |core| core.download(wish, now()))
}

/// Computes the hash of the tree, of the whole log or up to a length.
#[wasm_bindgen(js_name = coreTreeHash)]
pub fn core_tree_hash(core: u32, length: Option<f64>) -> Result<f64, JsError> {
    let length = length.map(|length| integer(length, "length")).transpose()?;
    command(core, |core| {
        let length = length.unwrap_or_else(|| core.length());
        core.tree_hash(length, now())
    })
}

/// Makes the bytes that a signer signs.
#[wasm_bindgen(js_name = coreSignable)]
pub fn core_signable(core: u32, length: Option<f64>, fork: Option<f64>) -> Result<f64, JsError> {
    let length = length.map(|length| integer(length, "length")).transpose()?;
    let fork = fork.map(|fork| integer(fork, "fork")).transpose()?;
    command(core, |core| {
        let (length, fork) = (length.unwrap_or_else(|| core.length()), fork.unwrap_or_else(|| core.fork()));
        core.signable(length, fork, now())
    })
}

/// Stores a piece of user data, or removes it.
#[wasm_bindgen(js_name = coreSetUserData)]
pub fn core_set_user_data(
    core: u32,
    key: String,
    value: Option<Vec<u8>>,
    operation: Option<String>,
) -> Result<f64, JsError> {
    command(core, |core| recorded(core, operation).set_user_data(key, value.map(Bytes::from)))
}

/// Reads a piece of user data.
#[wasm_bindgen(js_name = coreUserData)]
pub fn core_user_data(core: u32, key: String) -> Result<f64, JsError> {
    command(core, |core| core.user_data(key))
}

/// Counts the parents to climb from a block's leaf to a stored node.
#[wasm_bindgen(js_name = coreMissingNodes)]
pub fn core_missing_nodes(core: u32, index: f64) -> Result<f64, JsError> {
    let index = integer(index, "index")?;
    command(core, |core| core.missing_nodes(index))
}

/// Takes a picture of the log.
#[wasm_bindgen(js_name = coreSnapshot)]
pub fn core_snapshot(core: u32) -> Result<Object, JsError> {
    ask(core, |core| {
        let id = core.snapshot();
        let (length, fork, byte_length) =
            core.snapshot_at(id).map_or((0, 0, 0), |at| (at.length, at.fork, at.byte_length));
        let hash = core.snapshot_at(id).map_or(JsValue::NULL, |at| bytes(&at.tree_hash).into());
        object(&[
            ("snapshot", id.0.into()),
            ("length", number(length).into()),
            ("fork", number(fork).into()),
            ("byteLength", number(byte_length).into()),
            ("hash", hash),
        ])
    })
}

/// Forgets a picture of the log.
#[wasm_bindgen(js_name = coreCloseSnapshot)]
pub fn core_close_snapshot(core: u32, snapshot: u32) -> Result<(), JsError> {
    act(core, |core| core.release_snapshot(SnapshotId(snapshot)))
}

/// Does something to a core that may be gone by now.
pub(crate) fn act(core: u32, action: impl FnOnce(&mut CoreHandle<'_>)) -> Result<(), JsError> {
    with(|runtime| {
        if let Ok(mut core) = runtime.engine.core(CoreId(core)) {
            action(&mut core);
        }
    })
}

/// Tells whether any session of the core is active.
#[wasm_bindgen(js_name = coreSetActive)]
pub fn core_set_active(core: u32, active: bool) -> Result<(), JsError> {
    act(core, |core| core.set_active(active, now()))
}

/// Whether the core still downloads: also a while after its last active session has left.
#[wasm_bindgen(js_name = coreDownloads)]
pub fn core_downloads(core: u32) -> Result<bool, JsError> {
    ask(core, |core| core.downloads())
}

/// Tells how many are looking for the first peers.
#[wasm_bindgen(js_name = coreSetFindingPeers)]
pub fn core_set_finding_peers(core: u32, count: u32) -> Result<(), JsError> {
    act(core, |core| core.set_finding_peers(count > 0, now()))
}

/// Turns one of the ways in which a core replicates on or off.
///
/// | switch | when it is on |
/// | --- | --- |
/// | 0 | takes data that nobody asked for |
/// | 1 | requests nothing |
/// | 2 | fetches the last block along with every upgrade |
/// | else | has peers that come from then on report few blocks at once |
#[wasm_bindgen(js_name = coreSwitch)]
pub fn core_switch(core: u32, switch: u32, on: bool) -> Result<(), JsError> {
    act(core, |core| match switch {
        0 => core.set_allow_push(on),
        1 => core.set_push_only(on, now()),
        2 => core.set_latest_block(on),
        _ => core.set_small_wants(on),
    })
}

/// Sends a message of an extension to one peer.
#[wasm_bindgen(js_name = coreSendExtension)]
pub fn core_send_extension(core: u32, peer: f64, name: String, payload: Vec<u8>) -> Result<(), JsError> {
    let peer = PeerId(integer(peer, "peer")?);
    act(core, |core| core.send_extension(peer, &name, Bytes::from(payload)))
}

/// Takes a request back: it ends with `code`, `REQUEST_CANCELLED` by default. One that writes goes on.
#[wasm_bindgen]
pub fn cancel(request: f64, code: Option<String>) -> Result<(), JsError> {
    let request = RequestId(integer(request, "request")?);
    with(|runtime| runtime.cancel(request, code))
}
