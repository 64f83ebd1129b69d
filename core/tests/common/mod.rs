//! Helpers of the vector tests.
#![allow(dead_code, reason = "each test file uses some of them")]

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Returns the parsed file `tests/vectors/<name>.json`.
pub(crate) fn load(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name).with_extension("json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns the items of the array `value[key]`, which must not be empty.
pub(crate) fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let items = value[key].as_array().unwrap_or_else(|| panic!("no array {key}"));
    assert!(!items.is_empty(), "{key}");
    items
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
