//! Compares encoded values with the bytes upstream's compact-encoding wrote.

use std::net::{Ipv4Addr, Ipv6Addr};

use hypertab_core::compact_encoding::{
    Any, Decode, DecodeError, Encode, Reader, Result, Writer, buffer_len, string_len,
};
use serde_json::{Map, Value, json};

use crate::support::common::{entries, hex, hex_fixed, load};

#[test]
fn values_encode_to_upstream_bytes() {
    for case in entries(&load("core-encoding"), "cases") {
        let mut writer = Writer::new();

        encode(case["type"].as_str().unwrap(), &case["value"], &mut writer);

        assert_eq!(writer.into_vec(), hex(&case["hex"]), "{case}");
    }
}

#[test]
fn upstream_bytes_decode_to_their_values() {
    for case in entries(&load("core-encoding"), "cases") {
        let bytes = hex(&case["hex"]);
        let mut reader = Reader::new(&bytes);
        let kind = case["type"].as_str().unwrap();
        // Absent and empty are one on the wire; reading gives absent.
        let is_empty_option = kind == "optionalBuffer" && case["value"] == "";
        let expected = if is_empty_option { &Value::Null } else { &case["value"] };

        let value = decode(kind, &mut reader).unwrap_or_else(|error| panic!("{case}: {error}"));

        assert!(same(&value, expected), "{value} instead of {case}");
        assert!(reader.is_empty(), "{case}");
    }
}

#[test]
fn no_prefix_of_upstream_bytes_panics() {
    for case in entries(&load("core-encoding"), "cases") {
        let (bytes, kind) = (hex(&case["hex"]), case["type"].as_str().unwrap());
        let may_be_short = kind == "raw";

        for len in 0..bytes.len() {
            assert!(may_be_short || decode(kind, &mut Reader::new(&bytes[..len])).is_err(), "{len}: {case}");
        }
    }
}

#[test]
fn unusual_bytes_decode_or_fail_as_upstream() {
    for case in entries(&load("core-encoding"), "decode") {
        let bytes = hex(&case["hex"]);

        let result = decode(case["type"].as_str().unwrap(), &mut Reader::new(&bytes));

        let Some(reason) = case.get("reason") else {
            assert!(same(&result.unwrap(), &case["value"]), "{case}");
            continue;
        };
        let reason = reason.as_str().unwrap();
        let fits = match result.expect_err(reason) {
            DecodeError::UnexpectedEnd { .. } => reason == "Out of bounds",
            DecodeError::TooLarge { .. } => reason.starts_with("uint must") || reason.contains("too big"),
            DecodeError::UnknownTag { .. } => reason.starts_with("Unknown type"),
            _ => false,
        };
        assert!(fits, "{case}");
    }
}

/// Writes `value` as upstream's codec `kind`; codecs without a method of their own are put together.
fn encode(kind: &str, value: &Value, w: &mut Writer) {
    let number = || value.as_u64().unwrap();
    let text = || value.as_str().unwrap();
    match kind {
        "uint" => w.uint(number()),
        "uint8" => w.u8(number().try_into().unwrap()),
        "uint16" => w.u16(number().try_into().unwrap()),
        "uint24" => w.u24(number().try_into().unwrap()),
        "uint32" => w.u32(number().try_into().unwrap()),
        "uint40" => w.u40(number()),
        "uint48" => w.u48(number()),
        "uint56" => w.u56(number()),
        "uint64" => w.u64(number()),
        "uint32be" => w.u32_be(number().try_into().unwrap()),
        "uint64be" => w.u64_be(number()),
        "int" => w.int(value.as_i64().unwrap()),
        "int8" => {
            let signed = i8::try_from(value.as_i64().unwrap()).unwrap();
            w.u8(((signed << 1) ^ (signed >> 7)).cast_unsigned());
        }
        "biguint64" => w.biguint64(text().parse().unwrap()),
        "biguint" => {
            let number: u128 = text().parse().unwrap();
            let words = [number as u64, (number >> 64) as u64];
            let count = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
            w.array(&words[..count], |w, word| w.u64(*word));
        }
        "float32" => w.f32(value.as_f64().unwrap() as f32),
        "float64" => w.f64(value.as_f64().unwrap()),
        "buffer" => {
            let start = w.as_slice().len();
            w.buffer(&hex(value));
            assert_eq!(w.as_slice().len() - start, buffer_len(&hex(value)));
        }
        "optionalBuffer" if value.is_null() => w.optional_buffer(None),
        "optionalBuffer" => w.optional_buffer(Some(&hex(value))),
        "string" => {
            let start = w.as_slice().len();
            w.string(text());
            assert_eq!(w.as_slice().len() - start, string_len(text()));
        }
        "bool" => w.bool(value.as_bool().unwrap()),
        "fixed32" => w.fixed(&hex_fixed::<32>(value)),
        "raw" => w.raw(&hex(value)),
        "array(uint)" => w.array(value.as_array().unwrap(), |w, item| encode("uint", item, w)),
        "array(string)" => w.array(value.as_array().unwrap(), |w, item| encode("string", item, w)),
        "uint32array" => {
            let words: Vec<u32> = serde_json::from_value(value.clone()).unwrap();
            w.uint32array(&words);
        }
        "frame(string)" => w.frame(&Text(text().into())),
        "lexint" => w.lexint(number()),
        "any" => {
            let any = any_from(value);
            assert_eq!(any.to_vec().len(), any.encoded_len());
            any.encode(w);
        }
        "json" => w.string(&value.to_string()),
        "ipv4" => w.raw(&text().parse::<Ipv4Addr>().unwrap().octets()),
        "ipv6" => w.raw(&text().parse::<Ipv6Addr>().unwrap().octets()),
        "ipv4Address" | "ipv6Address" => {
            encode(&kind[..4], &value["host"], w);
            encode("uint16", &value["port"], w);
        }
        "ipAddress" => {
            let is_v4 = value["host"].as_str().unwrap().parse::<Ipv4Addr>().is_ok();
            w.u8(if is_v4 { 4 } else { 6 });
            encode(if is_v4 { "ipv4Address" } else { "ipv6Address" }, value, w);
        }
        "stringRecord" => {
            let record = value.as_object().unwrap();
            w.array_len(record.len() as u64);
            // The recorded order, which `serde_json` does not keep.
            for key in ["k", "foo"] {
                w.string(key);
                encode("string", &record[key], w);
            }
        }
        other => panic!("unknown codec {other}"),
    }
}

/// Reads a value of upstream's codec `kind` into the form the vectors give it.
fn decode(kind: &str, r: &mut Reader<'_>) -> Result<Value> {
    Ok(match kind {
        "uint" => json!(r.uint()?),
        "uint8" => json!(r.u8()?),
        "uint16" => json!(r.u16()?),
        "uint24" => json!(r.u24()?),
        "uint32" => json!(r.u32()?),
        "uint40" => json!(r.u40()?),
        "uint48" => json!(r.u48()?),
        "uint56" => json!(r.u56()?),
        "uint64" => json!(r.u64()?),
        "uint32be" => json!(r.u32_be()?),
        "uint64be" => json!(r.u64_be()?),
        "int" => json!(r.int()?),
        "int8" => {
            let zigzag = r.u8()?;
            json!((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
        }
        "biguint64" => json!(r.biguint64()?.to_string()),
        "biguint" => {
            let words = r.array(Reader::u64)?;
            let number = words.iter().rev().fold(0_u128, |sum, word| (sum << 64) | u128::from(*word));
            json!(number.to_string())
        }
        "float32" => json!(r.f32()?),
        "float64" => json!(r.f64()?),
        "buffer" => to_hex(r.buffer()?),
        "optionalBuffer" => r.optional_buffer()?.map_or(Value::Null, to_hex),
        "string" => json!(r.string()?),
        "bool" => json!(r.bool()?),
        "fixed32" => to_hex(&r.fixed::<32>()?),
        "raw" => to_hex(r.raw()),
        "array(uint)" => json!(r.array(Reader::uint)?),
        "array(string)" => json!(r.array(|r| r.string())?),
        "uint32array" => json!(r.uint32array()?),
        "frame(string)" => json!(r.frame()?.string()?),
        "lexint" => json!(r.lexint()?),
        "any" => any_into(Any::decode(r)?),
        "json" => serde_json::from_str(r.string()?).unwrap(),
        "ipv4" => json!(Ipv4Addr::from(r.fixed::<4>()?).to_string()),
        "ipv6" => json!(Ipv6Addr::from(r.fixed::<16>()?).to_string()),
        "ipv4Address" | "ipv6Address" => json!({"host": decode(&kind[..4], r)?, "port": r.u16()?}),
        "ipAddress" => {
            let family = r.u8()?;
            decode(if family == 4 { "ipv4Address" } else { "ipv6Address" }, r)?
        }
        "stringRecord" => {
            let pairs = r.array(|r| Ok((r.string()?.to_owned(), json!(r.string()?))))?;
            Value::Object(Map::from_iter(pairs))
        }
        other => panic!("unknown codec {other}"),
    })
}

/// A string as a value that can be framed.
struct Text(String);

impl Encode for Text {
    fn encoded_len(&self) -> usize {
        string_len(&self.0)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.string(&self.0);
    }
}

fn any_from(value: &Value) -> Any {
    match value {
        Value::Null => Any::None,
        Value::Bool(value) => Any::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Any::Uint(value),
            (None, Some(value)) => Any::Int(value),
            (None, None) => Any::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => Any::String(text.clone()),
        Value::Array(items) => Any::Array(items.iter().map(any_from).collect()),
        Value::Object(items) => match items.get("buffer") {
            Some(bytes) => Any::Buffer(hex(bytes)),
            None => Any::Object(items.iter().map(|(key, value)| (key.clone(), any_from(value))).collect()),
        },
    }
}

fn any_into(any: Any) -> Value {
    match any {
        Any::None => Value::Null,
        Any::Bool(value) => json!(value),
        Any::String(text) => json!(text),
        Any::Buffer(bytes) => json!({"buffer": to_hex(&bytes)}),
        Any::Uint(value) => json!(value),
        Any::Int(value) | Any::Date(value) => json!(value),
        Any::Float(value) => json!(value),
        Any::Array(items) => items.into_iter().map(any_into).collect(),
        Any::Object(items) => items.into_iter().map(|(key, value)| (key, any_into(value))).collect(),
    }
}

/// Compares as JavaScript does: 0 and 0.0 are one number.
fn same(left: &Value, right: &Value) -> bool {
    left == right || (left.is_number() && left.as_f64() == right.as_f64())
}

fn to_hex(bytes: &[u8]) -> Value {
    json!(data_encoding::HEXLOWER.encode(bytes))
}
