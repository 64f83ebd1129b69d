//! Stores as a whole: the primary key, names, and what cores are in them.

use bytes::Bytes;
use hypertab_core::compact_encoding::Encode as _;
use hypertab_core::corestore::keys::{self, Namespace};
use hypertab_core::corestore::query::{Answer, CoreInfo, Intake, Question, RecordKind};
use hypertab_core::crypto::{KeyPair, Secret};
use hypertab_core::storage::StoreId;
use hypertab_core::storage::records::{Alias, Auth, CorePointers, Head, Hints};
use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::prelude::*;
use zeroize::Zeroizing;

use crate::events::{bytes, number, object};
use crate::options::{fixed, integer};
use crate::runtime::with;

/// The key pair of a name.
#[wasm_bindgen(js_name = namedKeyPair)]
pub fn named_key_pair(primary_key: &[u8], namespace: &[u8], name: &[u8]) -> Result<Object, JsError> {
    let primary_key = Zeroizing::new(fixed(primary_key, "primaryKey")?);
    Ok(key_pair(&keys::key_pair(&primary_key, namespace, name)))
}

/// The namespace of a name inside another.
#[wasm_bindgen(js_name = childNamespace)]
pub fn child_namespace(namespace: &[u8], name: &[u8]) -> Result<Uint8Array, JsError> {
    Ok(bytes(&Namespace(fixed(namespace, "namespace")?).child(name).0))
}

fn key_pair(pair: &KeyPair) -> Object {
    object(&[
        ("publicKey", bytes(&pair.public_key).into()),
        ("secretKey", bytes(&pair.secret_key.to_bytes()[..]).into()),
    ])
}

fn ask(store: u32, question: Question) -> Result<f64, JsError> {
    with(|runtime| number(runtime.engine.ask_store(StoreId(store), question).0))
}

/// Lets what is under way in a store end, and begins nothing more. Returns the request.
#[wasm_bindgen(js_name = suspendStore)]
pub fn suspend_store(store: u32) -> Result<f64, JsError> {
    with(|runtime| runtime.suspend_store(StoreId(store)))
}

/// Goes on with a store.
#[wasm_bindgen(js_name = resumeStore)]
pub fn resume_store(store: u32) -> Result<(), JsError> {
    with(|runtime| runtime.resume_store(StoreId(store)))
}

/// Reads the primary key, or null. A store without one gets the one that is given; with `overwrite`, any does.
#[wasm_bindgen(js_name = storeSeed)]
pub fn store_seed(store: u32, seed: Option<Vec<u8>>, overwrite: bool) -> Result<f64, JsError> {
    let seed = seed.map(Zeroizing::new);
    let seed = seed.map(|seed| fixed(&seed, "primaryKey").map(Secret::from)).transpose()?;
    match seed {
        Some(seed) if overwrite => ask(store, Question::ReplaceSeed(seed)),
        seed => ask(store, Question::Seed(seed)),
    }
}

/// Finds the core that is opened when none is named. The request ends with its discovery key or null.
#[wasm_bindgen(js_name = storeDefaultCore)]
pub fn store_default_core(store: u32) -> Result<f64, JsError> {
    ask(store, Question::DefaultCore)
}

/// Finds the core of a name. The request ends with its discovery key or null.
#[wasm_bindgen(js_name = storeAlias)]
pub fn store_alias(store: u32, namespace: &[u8], name: String) -> Result<f64, JsError> {
    ask(store, Question::Alias(Alias { name, namespace: fixed(namespace, "namespace")? }))
}

/// Tells what cores are. The request ends with an object for each, or null for one that is not here.
#[wasm_bindgen(js_name = storeInfos)]
pub fn store_infos(store: u32, discovery_keys: Array) -> Result<f64, JsError> {
    let discovery_keys =
        discovery_keys.iter().map(|key| fixed(&Uint8Array::new(&key).to_vec(), "discoveryKey"));
    ask(store, Question::Infos(discovery_keys.collect::<Result<_, _>>()?))
}

/// Deletes what is stored of a core that is not open. The request ends with its discovery key, or null when it was not here.
#[wasm_bindgen(js_name = storeForget)]
pub fn store_forget(store: u32, discovery_key: &[u8]) -> Result<f64, JsError> {
    ask(store, Question::Forget(fixed(discovery_key, "discoveryKey")?))
}

/// Makes incoming cores part of the store, with this primary key and core that is opened when none is named. The request ends
/// with `[keys, null]`: the discovery keys of those that are left, because they are in the store already.
#[wasm_bindgen(js_name = storeTakeIn)]
pub fn store_take_in(
    store: u32,
    discovery_keys: Array,
    seed: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
) -> Result<f64, JsError> {
    let cores = discovery_keys.iter().map(|key| fixed(&Uint8Array::new(&key).to_vec(), "discoveryKey"));
    let seed = seed.map(Zeroizing::new);
    ask(
        store,
        Question::TakeIn(Box::new(Intake {
            cores: cores.collect::<Result<_, _>>()?,
            seed: seed.map(|seed| fixed(&seed, "primaryKey").map(Secret::from)).transpose()?,
            default: default.map(|key| fixed(&key, "discoveryKey")).transpose()?,
        })),
    )
}

/// Deletes some incoming cores. The request ends with `[keys, null]`: which they were, none when there are no more.
#[wasm_bindgen(js_name = storeDropIncoming)]
pub fn store_drop_incoming(store: u32) -> Result<f64, JsError> {
    ask(store, Question::DropIncoming)
}

/// Lists cores. The request ends with `[cores, next]`.
#[wasm_bindgen(js_name = storeCores)]
pub fn store_cores(store: u32, from: Option<Vec<u8>>, limit: u32) -> Result<f64, JsError> {
    ask(store, Question::Cores { from: from.map(Bytes::from), limit })
}

/// Lists names, of one namespace or of all. The request ends with `[names, next]`.
#[wasm_bindgen(js_name = storeAliases)]
pub fn store_aliases(
    store: u32,
    namespace: Option<Vec<u8>>,
    from: Option<Vec<u8>>,
    limit: u32,
) -> Result<f64, JsError> {
    let namespace = namespace.map(|namespace| fixed(&namespace, "namespace")).transpose()?;
    ask(store, Question::Aliases { namespace, from: from.map(Bytes::from), limit })
}

/// Finds a group. The request ends with its number or null.
#[wasm_bindgen(js_name = storeGroup)]
pub fn store_group(store: u32, topic: &[u8]) -> Result<f64, JsError> {
    ask(store, Question::Group(fixed(topic, "topic")?))
}

/// Lists the cores of a group as they changed. The request ends with `[keys, next]`.
#[wasm_bindgen(js_name = storeGroupUpdates)]
pub fn store_group_updates(
    store: u32,
    group: f64,
    since: f64,
    reverse: bool,
    from: Option<Vec<u8>>,
    limit: u32,
) -> Result<f64, JsError> {
    let (group, since) = (integer(group, "group")?, integer(since, "since")?);
    ask(store, Question::GroupUpdates { group, since, reverse, from: from.map(Bytes::from), limit })
}

/// Finds a core and its branches. The request ends with an object or null.
#[wasm_bindgen(js_name = storeBranches)]
pub fn store_branches(store: u32, discovery_key: &[u8]) -> Result<f64, JsError> {
    ask(store, Question::Branches(fixed(discovery_key, "discoveryKey")?))
}

/// Lists blocks, nodes of the tree or pages of the bitfield of a log. The request ends with `[records, next]`.
#[wasm_bindgen(js_name = storeRecords)]
pub fn store_records(
    store: u32,
    data: f64,
    kind: &str,
    from: Option<Vec<u8>>,
    limit: u32,
) -> Result<f64, JsError> {
    let kind = match kind {
        "blocks" => RecordKind::Blocks,
        "tree" => RecordKind::Nodes,
        "bitfield" => RecordKind::Pages,
        _ => return Err(JsError::new("kind must be blocks, tree or bitfield")),
    };
    ask(store, Question::Records { data: integer(data, "data")?, kind, from: from.map(Bytes::from), limit })
}

/// What is known about a store, as JavaScript gets it.
pub(crate) fn answer(answer: Answer) -> JsValue {
    match answer {
        Answer::Seed(seed) => seed.map_or(JsValue::NULL, |seed| bytes(&*seed).into()),
        Answer::Core(core) => core.map_or(JsValue::NULL, |key| bytes(&key).into()),
        Answer::Infos(infos) => {
            infos.into_iter().map(|info| info.map_or(JsValue::NULL, info_object)).collect::<Array>().into()
        }
        Answer::Cores(cores, next) => {
            let entries = cores.into_iter().map(|(key, pointers)| {
                entry(&[("discoveryKey", bytes(&key).into()), ("core", pointers_object(&pointers))])
            });
            page(entries, next)
        }
        Answer::Aliases(aliases, next) => {
            let entries = aliases.into_iter().map(|(alias, key)| {
                entry(&[("alias", alias_object(&alias)), ("discoveryKey", bytes(&key).into())])
            });
            page(entries, next)
        }
        Answer::Group(group) => group.map_or(JsValue::NULL, |group| number(group).into()),
        Answer::Keys(keys, next) => page(keys.into_iter().map(|key| bytes(&key).into()), next),
        Answer::Branches(branches) => branches.map_or(JsValue::NULL, |(pointers, branches)| {
            let branches = branches.into_iter().map(|branch| {
                entry(&[("name", branch.name.as_str().into()), ("dataPointer", number(branch.data).into())])
            });
            entry(&[("core", pointers_object(&pointers)), ("branches", branches.collect::<Array>().into())])
        }),
        Answer::Records(records, next) => {
            let entries = records.into_iter().map(|(index, value)| {
                entry(&[("index", number(index).into()), ("value", bytes(&value).into())])
            });
            page(entries, next)
        }
    }
}

fn entry(fields: &[(&'static str, JsValue)]) -> JsValue {
    object(fields).into()
}

fn page(entries: impl Iterator<Item = JsValue>, next: Option<Bytes>) -> JsValue {
    let next = next.map_or(JsValue::NULL, |next| bytes(&next).into());
    Array::of2(&entries.collect::<Array>().into(), &next).into()
}

fn alias_object(alias: &Alias) -> JsValue {
    entry(&[("name", alias.name.as_str().into()), ("namespace", bytes(&alias.namespace).into())])
}

fn pointers_object(pointers: &CorePointers) -> JsValue {
    entry(&[
        ("version", 2.into()),
        ("corePointer", number(pointers.core).into()),
        ("dataPointer", number(pointers.data).into()),
        ("alias", pointers.alias.as_ref().map_or(JsValue::NULL, alias_object)),
    ])
}

pub(crate) fn auth_object(auth: &Auth) -> JsValue {
    let pair = auth.key_pair.as_ref().map_or(JsValue::NULL, |stored| {
        let secret_key = stored.key_pair.as_ref().map(|pair| bytes(&pair.secret_key.to_bytes()[..]).into());
        entry(&[
            ("publicKey", bytes(&stored.public_key).into()),
            ("secretKey", secret_key.unwrap_or(JsValue::NULL)),
        ])
    });
    entry(&[
        ("key", bytes(&auth.key).into()),
        ("discoveryKey", bytes(&auth.discovery_key).into()),
        (
            "manifest",
            auth.manifest.as_ref().map_or(JsValue::NULL, |manifest| bytes(&manifest.to_vec()).into()),
        ),
        ("keyPair", pair),
        ("encryptionKey", auth.encryption_key.as_ref().map_or(JsValue::NULL, |key| bytes(key).into())),
    ])
}

fn info_object(info: CoreInfo) -> JsValue {
    entry(&[
        ("discoveryKey", bytes(&info.auth.discovery_key).into()),
        ("core", pointers_object(&info.pointers)),
        ("auth", auth_object(&info.auth)),
        ("head", info.head.map_or(JsValue::NULL, |head| head_object(&head))),
        ("hints", info.hints.map_or(JsValue::NULL, |hints| hints_object(&hints))),
    ])
}

pub(crate) fn head_object(head: &Head) -> JsValue {
    entry(&[
        ("fork", number(head.fork).into()),
        ("length", number(head.length).into()),
        ("rootHash", bytes(&head.root_hash).into()),
        ("signature", head.signature.as_ref().map_or(JsValue::NULL, |signature| bytes(signature).into())),
        ("timestamp", number(head.timestamp).into()),
    ])
}

pub(crate) fn hints_object(hints: &Hints) -> JsValue {
    entry(&[
        ("contiguousLength", number(hints.contiguous_length).into()),
        ("remoteContiguousLength", number(hints.remote_contiguous_length).into()),
        ("recovering", number(hints.recovering).into()),
    ])
}
