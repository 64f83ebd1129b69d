//! The records of a core as they are stored, for programs that look after storage themselves.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode as _, Encode as _};
use hypertab_core::crypto::Node;
use hypertab_core::hypercore::raw::{MAX_LOCAL_KEY, Record, RecordChange};
use hypertab_core::storage::records::{
    Auth, Dependency, GroupPointer, Head, Hints, SessionPointer, Sessions, StoredKeyPair,
};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::cores::command;
use crate::crypto::decode_manifest;
use crate::events::{bytes, number, object};
use crate::options::{Options, fixed, integer, secret};
use crate::proofs::node_object;
use crate::stores::{auth_object, head_object, hints_object};

/// Reads records, each `[kind, index or name]`. The request ends with their bytes, or null for what is not there.
#[wasm_bindgen(js_name = coreReadRecords)]
pub fn core_read_records(core: u32, records: Array) -> Result<f64, JsError> {
    let records =
        records.iter().map(|record| record_of(&Array::from(&record))).collect::<Result<Vec<_>, _>>()?;
    command(core, |core| core.read_records(records))
}

/// Changes records, all or none, each `[kind, index or name, value]` with null to remove it, or
/// `[kind, first, null, end]` to remove many, with null for no end.
#[wasm_bindgen(js_name = coreWriteRecords)]
pub fn core_write_records(core: u32, changes: Array) -> Result<f64, JsError> {
    let changes =
        changes.iter().map(|change| change_of(&Array::from(&change))).collect::<Result<Vec<_>, _>>()?;
    command(core, |core| core.write_records(changes))
}

fn change_of(change: &Array) -> Result<RecordChange, JsError> {
    let record = record_of(change)?;
    if let Ok(value) = change.get(2).dyn_into::<Uint8Array>() {
        return Ok(RecordChange::Put(record, value.to_vec().into()));
    }
    if change.length() < 4 {
        return Ok(RecordChange::Delete(record));
    }
    let end = change.get(3);
    let end = (!end.is_null()).then(|| record_of(&Array::of2(&change.get(0), &end))).transpose()?;
    Ok(RecordChange::DeleteRange(record, end))
}

fn record_of(record: &Array) -> Result<Record, JsError> {
    let index = || {
        let index = record.get(1).as_f64().ok_or_else(|| JsError::new("index must be a number"))?;
        integer(index, "index")
    };
    Ok(match record.get(0).as_string().unwrap_or_default().as_str() {
        "auth" => Record::Auth,
        "block" => Record::Block(index()?),
        "dependency" => Record::Dependency,
        "group" => Record::Group,
        "head" => Record::Head,
        "hints" => Record::Hints,
        "local" => {
            let key = Uint8Array::new(&record.get(1)).to_vec();
            if key.len() > MAX_LOCAL_KEY {
                return Err(JsError::new("local keys has an upper limit of 2048 bytes atm"));
            }
            Record::Local(key.into())
        }
        "mark" => Record::Mark(index()?),
        "node" => Record::Node(index()?),
        "page" => Record::Page(index()?),
        "sessions" => Record::Sessions,
        "userData" => Record::UserData(
            record.get(1).as_string().ok_or_else(|| JsError::new("a key of user data is a string"))?,
        ),
        kind => return Err(JsError::new(&format!("there are no records of kind {kind}"))),
    })
}

/// Decodes a record of a kind that has fields.
#[wasm_bindgen(js_name = decodeRecord)]
pub fn decode_record(kind: &str, record: &[u8]) -> Result<JsValue, JsError> {
    let failed = |error: hypertab_core::compact_encoding::DecodeError| JsError::new(&error.to_string());
    Ok(match kind {
        "auth" => auth_object(&Auth::from_slice(record).map_err(failed)?),
        "dependency" => {
            let Dependency { data, length } = Dependency::from_slice(record).map_err(failed)?;
            object(&[("dataPointer", number(data).into()), ("length", number(length).into())]).into()
        }
        "group" => {
            let GroupPointer { key, pointer } = GroupPointer::from_slice(record).map_err(failed)?;
            object(&[("key", bytes(&key).into()), ("pointer", number(pointer).into())]).into()
        }
        "head" => head_object(&Head::from_slice(record).map_err(failed)?),
        "hints" => hints_object(&Hints::from_slice(record).map_err(failed)?),
        "node" => node_object(&Node::from_slice(record).map_err(failed)?),
        "sessions" => {
            let Sessions(sessions) = Sessions::from_slice(record).map_err(failed)?;
            let session = |SessionPointer { name, data }: &SessionPointer| {
                JsValue::from(object(&[
                    ("name", name.as_str().into()),
                    ("dataPointer", number(*data).into()),
                ]))
            };
            sessions.iter().map(session).collect::<Array>().into()
        }
        kind => return Err(JsError::new(&format!("records of kind {kind} have no fields"))),
    })
}

/// Encodes a record of a kind that has fields.
#[wasm_bindgen(js_name = encodeRecord)]
pub fn encode_record(kind: &str, record: JsValue) -> Result<Uint8Array, JsError> {
    let fields = Options(&record);
    let count = |name: &'static str| Ok::<_, JsError>(fields.integer(name)?.unwrap_or(0));
    let hash = |name: &'static str| fixed(&fields.bytes(name)?.unwrap_or_default(), name);
    let encoded = match kind {
        "auth" => Auth {
            key: hash("key")?,
            discovery_key: hash("discoveryKey")?,
            manifest: fields.bytes("manifest")?.map(|manifest| decode_manifest(&manifest)).transpose()?,
            key_pair: stored_key_pair(&fields)?,
            encryption_key: fields.bytes("encryptionKey")?.map(Bytes::from),
        }
        .to_vec(),
        "dependency" => Dependency { data: count("dataPointer")?, length: count("length")? }.to_vec(),
        "group" => GroupPointer { key: hash("key")?, pointer: count("pointer")? }.to_vec(),
        "head" => Head {
            fork: count("fork")?,
            length: count("length")?,
            root_hash: hash("rootHash")?,
            signature: fields.bytes("signature")?.map(Bytes::from),
            timestamp: count("timestamp")?,
        }
        .to_vec(),
        "hints" => Hints {
            contiguous_length: count("contiguousLength")?,
            remote_contiguous_length: count("remoteContiguousLength")?,
            recovering: count("recovering")?,
        }
        .to_vec(),
        "node" => Node { index: count("index")?, size: count("size")?, hash: hash("hash")? }.to_vec(),
        "sessions" => {
            let session = |session: JsValue| {
                let session = Options(&session);
                let name = session.get("name").and_then(|name| name.as_string());
                let name = name.ok_or_else(|| JsError::new("a session has a name"))?;
                Ok::<_, JsError>(SessionPointer { name, data: session.integer("dataPointer")?.unwrap_or(0) })
            };
            Sessions(Array::from(&record).iter().map(session).collect::<Result<_, _>>()?).to_vec()
        }
        kind => return Err(JsError::new(&format!("records of kind {kind} have no fields"))),
    };
    Ok(bytes(&encoded))
}

fn stored_key_pair(fields: &Options<'_>) -> Result<Option<StoredKeyPair>, JsError> {
    let Some(pair) = fields.get("keyPair") else { return Ok(None) };
    let pair = Options(&pair);
    let public_key = fixed(&pair.bytes("publicKey")?.unwrap_or_default(), "publicKey")?;
    let key_pair = pair.bytes("secretKey")?.map(|secret_key| secret(&secret_key)).transpose()?;
    Ok(Some(StoredKeyPair { public_key, key_pair }))
}

/// What was read, as JavaScript gets it.
pub(crate) fn values(values: &[Option<Bytes>]) -> JsValue {
    let value = |value: &Option<Bytes>| value.as_ref().map_or(JsValue::NULL, |value| bytes(value).into());
    values.iter().map(value).collect::<Array>().into()
}
