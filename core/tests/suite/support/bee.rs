//! A core in memory, and the scripts of the vectors.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::cell::RefCell;

use bytes::Bytes;
use hypertab_core::hyperbee::keys::SEPARATOR;
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, BlockSource, Entry, Missing, Prefix, Range, header_block,
};
use serde_json::Value;

use super::common::hex;

/// The blocks of a core, and which were asked for.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Bytes>,
    asked: RefCell<Vec<u64>>,
}

impl Blocks {
    pub(crate) fn of(blocks: &[Value]) -> Self {
        Self { blocks: blocks.iter().map(bytes).collect(), ..Self::default() }
    }

    pub(crate) fn append(&mut self, blocks: impl IntoIterator<Item = Bytes>) {
        self.blocks.extend(blocks);
    }

    pub(crate) fn all(&self) -> &[Bytes] {
        &self.blocks
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn version(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<u64> {
        self.asked.borrow().clone()
    }
}

impl PartialEq for Blocks {
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks
    }
}

impl BlockSource for Blocks {
    fn block(&self, seq: u64) -> Result<Bytes, Missing> {
        self.asked.borrow_mut().push(seq);
        usize::try_from(seq).ok().and_then(|seq| self.blocks.get(seq)).cloned().ok_or(Missing)
    }
}

/// Does what one step of a script says.
pub(crate) fn apply(blocks: &mut Blocks, op: &Value) {
    if blocks.len() == 0 {
        blocks.append([header_block(None)]);
    }
    let mut batch = BatchWriter::new(blocks.version(), true);
    let path = op["sub"].as_array().map(Vec::as_slice).unwrap_or_default();
    let prefix = path
        .iter()
        .fold(Prefix::default(), |prefix, name| prefix.sub(name.as_str().unwrap().as_bytes(), &SEPARATOR));
    let mut cache = BlockCache::default();
    match op["ops"].as_array() {
        Some(ops) => ops.iter().for_each(|op| apply_one(blocks, &mut cache, &mut batch, &prefix, op)),
        None => apply_one(blocks, &mut cache, &mut batch, &prefix, op),
    }
    blocks.append(batch.finish());
}

fn apply_one(blocks: &Blocks, cache: &mut BlockCache, batch: &mut BatchWriter, prefix: &Prefix, op: &Value) {
    let (key, value) = (prefix.encode(&hex(&op["key"])), optional(&op["value"]));
    if let Some(cas) = op["cas"].as_str() {
        let current = batch.current(blocks, cache, &key).unwrap();
        let is_allowed = current.is_none_or(|current| match cas {
            "never" => false,
            "always" => true,
            "differs" => current.value != value,
            _ => panic!("{op}"),
        });
        if !is_allowed {
            if op["op"] == "put" {
                batch.refuse_put(blocks, cache, &key).unwrap();
            }
            return;
        }
    }
    if op["op"] == "put" {
        batch.put(blocks, cache, key, value).unwrap();
    } else {
        batch.delete(blocks, cache, key).unwrap();
    }
}

/// Returns an entry as the vectors have it.
pub(crate) fn entry(entry: &Entry) -> Value {
    let hex = |bytes: &Bytes| Value::from(data_encoding::HEXLOWER.encode(bytes));
    Value::Array(vec![entry.seq.into(), hex(&entry.key), entry.value.as_ref().map_or(Value::Null, hex)])
}

pub(crate) fn range(options: &Value) -> Range {
    let bound = |name: &str| options[name].as_str().map(|text| Bytes::from(text.to_owned()));
    Range {
        gt: bound("gt"),
        gte: bound("gte"),
        lt: bound("lt"),
        lte: bound("lte"),
        reverse: options["reverse"] == true,
        limit: options["limit"].as_u64(),
    }
}

pub(crate) fn bytes(value: &Value) -> Bytes {
    hex(value).into()
}

pub(crate) fn optional(value: &Value) -> Option<Bytes> {
    if value.is_null() { None } else { Some(bytes(value)) }
}

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Bytes {
        (0..self.below(most)).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}
