//! Values that carry their own type.
//!
//! Source: compact-encoding 3.3.2, `index.js`, `any`.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::writer::{len_u64, zigzag};
use super::{
    Decode, DecodeError, Encode, MAX_ARRAY_LEN, Reader, Result, Writer, buffer_len, string_len, uint_len,
};

/// A JSON-like value.
///
/// # Wire
///
/// `uint` tag, then the value; the tags are the order of the variants, from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Any {
    /// Null or undefined; no bytes.
    #[default]
    None,
    /// A boolean.
    Bool(bool),
    /// Text.
    String(String),
    /// Bytes.
    Buffer(Vec<u8>),
    /// A whole number from 0 to 2^53 - 1.
    Uint(u64),
    /// A whole number from -2^52 to 2^52 - 1; upstream writes only negative ones this way.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A list.
    Array(Vec<Any>),
    /// Keys and values in written order. JavaScript keeps the last of equal keys.
    Object(Vec<(String, Any)>),
    /// Milliseconds since 1970-01-01 UTC.
    Date(i64),
}

/// The deepest nesting of arrays and objects, so that a value can be dropped and encoded by recursion.
/// Upstream has no limit but its stack.
pub const MAX_DEPTH: usize = 64;

/// An array or object whose items are still being read.
enum Open {
    Array(Vec<Any>),
    Object(Vec<(String, Any)>, String),
}

impl<'a> Decode<'a> for Any {
    /// # Errors
    ///
    /// Fails on nesting beyond [`MAX_DEPTH`], on more than [`MAX_ARRAY_LEN`] values in total, and on an
    /// unknown tag.
    fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        let mut parents: Vec<(Open, usize)> = Vec::new();
        let mut total = 0;
        loop {
            total += 1;
            if total > MAX_ARRAY_LEN {
                return Err(DecodeError::TooLarge { limit: MAX_ARRAY_LEN, found: total });
            }

            let mut value = match reader.uint()? {
                0 => Self::None,
                1 => Self::Bool(reader.bool()?),
                2 => Self::String(reader.string()?.into()),
                3 => Self::Buffer(reader.buffer()?.into()),
                4 => Self::Uint(reader.uint()?),
                5 => Self::Int(reader.int()?),
                6 => Self::Float(reader.f64()?),
                tag @ (7 | 8) => {
                    let is_array = tag == 7;
                    // A key takes at least its length byte, a value at least its tag.
                    let count = reader.array_len(if is_array { 1 } else { 2 })?;
                    if parents.len() == MAX_DEPTH {
                        return Err(DecodeError::TooDeep { limit: len_u64(MAX_DEPTH) });
                    }
                    if count > 0 {
                        parents.push(if is_array {
                            (Open::Array(Vec::new()), count)
                        } else {
                            (Open::Object(Vec::new(), reader.string()?.into()), count)
                        });
                        continue;
                    }
                    if is_array { Self::Array(Vec::new()) } else { Self::Object(Vec::new()) }
                }
                9 => Self::Date(reader.int()?),
                found => return Err(DecodeError::UnknownTag { found }),
            };

            loop {
                let Some((open, left)) = parents.last_mut() else { return Ok(value) };
                *left -= 1;
                let is_complete = *left == 0;
                match open {
                    Open::Array(items) => items.push(value),
                    Open::Object(items, key) => {
                        items.push((mem::take(key), value));
                        if !is_complete {
                            *key = reader.string()?.into();
                        }
                    }
                }
                if !is_complete {
                    break;
                }
                value = match parents.pop().expect("borrowed as the last above").0 {
                    Open::Array(items) => Self::Array(items),
                    Open::Object(items, _) => Self::Object(items),
                };
            }
        }
    }
}

/// Recurses, so the caller keeps what it builds itself within [`MAX_DEPTH`].
impl Encode for Any {
    fn encoded_len(&self) -> usize {
        1 + match self {
            Self::None => 0,
            Self::Bool(_) => 1,
            Self::String(text) => string_len(text),
            Self::Buffer(bytes) => buffer_len(bytes),
            Self::Uint(value) => uint_len(*value),
            Self::Int(value) | Self::Date(value) => uint_len(zigzag(*value)),
            Self::Float(_) => 8,
            Self::Array(items) => {
                uint_len(len_u64(items.len())) + items.iter().map(Self::encoded_len).sum::<usize>()
            }
            Self::Object(items) => {
                let each = items.iter().map(|(key, value)| string_len(key) + value.encoded_len());
                uint_len(len_u64(items.len())) + each.sum::<usize>()
            }
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::None => writer.u8(0),
            Self::Bool(value) => {
                writer.u8(1);
                writer.bool(*value);
            }
            Self::String(text) => {
                writer.u8(2);
                writer.string(text);
            }
            Self::Buffer(bytes) => {
                writer.u8(3);
                writer.buffer(bytes);
            }
            Self::Uint(value) => {
                writer.u8(4);
                writer.uint(*value);
            }
            Self::Int(value) => {
                writer.u8(5);
                writer.int(*value);
            }
            Self::Float(value) => {
                writer.u8(6);
                writer.f64(*value);
            }
            Self::Array(items) => {
                writer.u8(7);
                writer.array(items, |writer, item| item.encode(writer));
            }
            Self::Object(items) => {
                writer.u8(8);
                writer.array(items, |writer, (key, value)| {
                    writer.string(key);
                    value.encode(writer);
                });
            }
            Self::Date(value) => {
                writer.u8(9);
                writer.int(*value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn every_variant_reads_back() {
        let value = Any::Object(vec![
            ("a".into(), Any::Array(vec![Any::None, Any::Bool(true), Any::Array(vec![]), Any::Uint(300)])),
            ("b".into(), Any::Object(vec![("c".into(), Any::Date(-1)), ("d".into(), Any::Float(0.5))])),
            ("e".into(), Any::Buffer(vec![1, 2])),
            ("f".into(), Any::Object(vec![])),
            ("g".into(), Any::Int(-7)),
        ]);

        assert_eq!(Any::from_slice(&value.to_vec()), Ok(value));
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_exhausting_the_stack() {
        let bytes = [7, 1].repeat(100_000);
        let deepest = [[7, 1].repeat(MAX_DEPTH), vec![0]].concat();

        assert_eq!(Any::from_slice(&bytes), Err(DecodeError::TooDeep { limit: 64 }));
        assert!(Any::from_slice(&deepest).is_ok());
    }

    #[test]
    fn many_values_are_refused_before_they_fill_memory() {
        let mut writer = Writer::new();
        writer.u8(7);
        writer.uint(MAX_ARRAY_LEN);
        writer.raw(&vec![0; 0x10_0000]);

        let error = Any::from_slice(writer.as_slice());

        assert!(matches!(error, Err(DecodeError::TooLarge { .. })));
    }
}
