//! Helpers of the vector tests.
#![allow(dead_code, reason = "each test file uses some of them")]

use std::fs;
use std::path::Path;

use hypertab_core::engine::{LinkOptions, Role, Security, Transport};
use serde_json::Value;

/// Returns the parsed file `tests/vectors/<name>.json`.
pub(crate) fn load(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name).with_extension("json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns what a link is opened with that goes on from the handshake of a recorded connection: as the side that opened it, or not.
pub(crate) fn recorded_link(connection: &Value, role: Role) -> LinkOptions {
    let key = |side: &str| hex_fixed(&connection[side]["static"]["publicKey"]);
    let (public_key, remote_public_key) =
        if role == Role::Initiator { (key("a"), key("b")) } else { (key("b"), key("a")) };
    let handshake_hash = hex_fixed(&connection["handshakeHash"]);
    let security = Security::External { handshake_hash, remote_public_key, public_key };
    LinkOptions { role, transport: Transport::Framed, security, keep_alive: None, timeout: None }
}

/// Returns the items of the array `value[key]`, which must not be empty.
pub(crate) fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let items = value[key].as_array().unwrap_or_else(|| panic!("no array {key}"));
    assert!(!items.is_empty(), "{key}");
    items
}

/// Returns every key and value of the store that upstream wrote.
pub(crate) fn upstreams_store() -> Vec<(Vec<u8>, Vec<u8>)> {
    let vectors = load("corestore-storage.json");
    let entries = entries(&vectors, "entries").iter().map(|entry| {
        let mut value = hex(&entry["value"]);
        value.resize(value.len() + entry["trailingZeros"].as_u64().unwrap_or(0) as usize, 0);
        (hex(&entry["key"]), value)
    });
    entries.collect()
}

/// Returns the bytes a hexadecimal string stands for.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no hex string"));
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// Returns the `N` bytes a hexadecimal string stands for.
pub(crate) fn hex_fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}
