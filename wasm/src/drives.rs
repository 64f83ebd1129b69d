//! Blobs and drives, for the TypeScript side: what their records look like, and how content is cut into chunks.

use hypertab_core::compact_encoding::Encode as _;
use hypertab_core::hyperblobs::block_map::{self, MappedBlock};
use hypertab_core::hyperblobs::rabin::Rabin;
use hypertab_core::hyperdrive::content_manifest;
use js_sys::{Array, Float64Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::crypto::decode_manifest;
use crate::events::{bytes, number};
use crate::options::{fixed, integer};

/// The encoded manifest of the blobs of the drive with this manifest and key; undefined before version 1.
#[wasm_bindgen(js_name = contentManifest)]
pub fn drive_content_manifest(manifest: &[u8], key: &[u8]) -> Result<Option<Uint8Array>, JsError> {
    let content = content_manifest(&decode_manifest(manifest)?, &fixed(key, "key")?);
    Ok(content.map(|manifest| bytes(&manifest.to_vec())))
}

/// The blocks of a block map, from the index and the bytes of each entry.
#[wasm_bindgen(js_name = encodeBlockMap)]
pub fn encode_block_map(numbers: &[f64]) -> Result<Array, JsError> {
    let mut map = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks_exact(2) {
        map.push(MappedBlock {
            index: integer(pair[0], "index")?,
            byte_length: integer(pair[1], "byteLength")?,
        });
    }
    Ok(block_map::encode(&map).iter().map(|block| bytes(block)).collect())
}

/// The index and the bytes of each entry of a block map.
#[wasm_bindgen(js_name = decodeBlockMap)]
pub fn decode_block_map(blocks: Array) -> Result<Float64Array, JsError> {
    let blocks: Vec<Vec<u8>> = blocks.iter().map(|block| Uint8Array::from(block).to_vec()).collect();
    let map = block_map::decode(blocks.iter().map(Vec::as_slice));
    let map = map.map_err(|error| JsError::new(&error.to_string()))?;
    let numbers: Vec<f64> =
        map.iter().flat_map(|block| [number(block.index), number(block.byte_length)]).collect();
    Ok(Float64Array::from(numbers.as_slice()))
}

/// Cuts a stream of bytes where its content says.
#[wasm_bindgen]
pub struct Chunker(Rabin);

#[wasm_bindgen]
impl Chunker {
    /// Starts a stream whose chunks have from `min` to `max` bytes.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "takes arguments")]
    pub fn new(min: u32, max: u32) -> Chunker {
        Chunker(Rabin::new(min as usize, max as usize))
    }

    /// Takes the bytes that come next, and returns where in them chunks end.
    pub fn push(&mut self, data: &[u8]) -> Vec<u32> {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some(taken) = self.0.push(&data[at..]) {
            at += taken;
            ends.push(at as u32);
        }
        ends
    }
}
