//! Keys and hashes for the TypeScript side.

use hypertab_core::compact_encoding::Encode as _;
use hypertab_core::crypto::{self, KeyPair};
use hypertab_core::hypercore::encryption::{BlockEncryption, KeyMode, PADDING};
use hypertab_core::hypercore::manifest::Manifest;
use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::events::{bytes, object};
use crate::options::{fixed, integer, secret};

/// Makes a key pair, from a seed of 32 bytes or at random.
#[wasm_bindgen(js_name = keyPair)]
pub fn key_pair(seed: Option<Vec<u8>>) -> Result<Object, JsError> {
    let seed = match seed {
        Some(seed) => fixed(&seed, "seed")?,
        None => random()?,
    };
    let pair = KeyPair::from_seed(&seed);
    Ok(object(&[
        ("publicKey", bytes(&pair.public_key).into()),
        ("secretKey", bytes(&pair.secret_key.to_bytes()[..]).into()),
    ]))
}

fn random<const N: usize>() -> Result<[u8; N], JsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| JsError::new("this environment has no source of randomness"))?;
    Ok(bytes)
}

/// Random bytes.
#[wasm_bindgen(js_name = randomBytes)]
pub fn random_bytes(count: u32) -> Result<Uint8Array, JsError> {
    let mut buffer = vec![0; count as usize];
    getrandom::fill(&mut buffer).map_err(|_| JsError::new("this environment has no source of randomness"))?;
    Ok(bytes(&buffer))
}

/// The discovery key of a core's key.
#[wasm_bindgen(js_name = discoveryKey)]
pub fn discovery_key(key: &[u8]) -> Result<Uint8Array, JsError> {
    Ok(bytes(&crypto::discovery_key(&fixed(key, "key")?)))
}

/// BLAKE2b-256 of the parts, joined.
#[wasm_bindgen]
pub fn hash(parts: Array) -> Uint8Array {
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| Uint8Array::from(part).to_vec()).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    bytes(&crypto::blake2b_256(&parts))
}

/// Keyed BLAKE2b-256 of the parts, joined; the key has at most 64 bytes.
#[wasm_bindgen(js_name = keyedHash)]
pub fn keyed_hash(key: &[u8], parts: Array) -> Result<Uint8Array, JsError> {
    if key.len() > 64 {
        return Err(JsError::new("key must have at most 64 bytes"));
    }
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| Uint8Array::from(part).to_vec()).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(bytes(&crypto::blake2b_256_keyed(key, &parts)))
}

/// Data XORed with the stream of XSalsa20 under a key and a nonce of 24 bytes.
#[wasm_bindgen(js_name = xsalsa20)]
pub fn xsalsa20(key: &[u8], nonce: &[u8], data: &[u8]) -> Result<Uint8Array, JsError> {
    let mut data = data.to_vec();
    crypto::xsalsa20_xor(&fixed(key, "key")?, &fixed(nonce, "nonce")?, &mut data);
    Ok(bytes(&data))
}

/// A key as z-base-32.
#[wasm_bindgen(js_name = encodeKey)]
pub fn encode_key(key: &[u8]) -> Result<String, JsError> {
    Ok(crypto::encode_key(&fixed(key, "key")?))
}

/// A key from z-base-32, hexadecimal or a link.
#[wasm_bindgen(js_name = parseKey)]
pub fn parse_key(text: &str) -> Result<Uint8Array, JsError> {
    crypto::parse_key(text).map(|key| bytes(&key)).map_err(|error| JsError::new(&error.to_string()))
}

/// Signs a message with a secret key of 64 bytes.
#[wasm_bindgen]
pub fn sign(message: &[u8], secret_key: &[u8]) -> Result<Uint8Array, JsError> {
    Ok(bytes(&secret(secret_key)?.sign(message)))
}

/// Whether a signature is the key's on a message.
#[wasm_bindgen]
pub fn verify(message: &[u8], signature: &[u8], public_key: &[u8]) -> Result<bool, JsError> {
    let (Ok(signature), Ok(public_key)) = (signature.try_into(), public_key.try_into()) else {
        return Ok(false);
    };
    Ok(crypto::verify(message, signature, public_key))
}

fn cipher(
    key: &[u8],
    is_block_key: bool,
    core_key: &[u8],
    is_compat: bool,
) -> Result<BlockEncryption, JsError> {
    let mode = match (is_block_key, is_compat) {
        (true, _) => KeyMode::BlockKey,
        (_, true) => KeyMode::Compat,
        _ => KeyMode::Normal,
    };
    Ok(BlockEncryption::new(&fixed(key, "key")?, &fixed(core_key, "coreKey")?, mode))
}

/// Encrypts a block that has room for its padding in front. Returns all of it.
#[wasm_bindgen(js_name = encryptBlock)]
pub fn encrypt_block(
    key: &[u8],
    is_block_key: bool,
    core_key: &[u8],
    is_compat: bool,
    index: f64,
    fork: f64,
    block: &[u8],
) -> Result<Uint8Array, JsError> {
    let (index, fork) = (integer(index, "index")?, integer(fork, "fork")?);
    let content = block.get(PADDING..).ok_or_else(|| JsError::new("block has no room for padding"))?;
    Ok(bytes(&cipher(key, is_block_key, core_key, is_compat)?.encrypt(index, fork, content)))
}

/// Decrypts a stored block. Returns what is behind the padding.
#[wasm_bindgen(js_name = decryptBlock)]
pub fn decrypt_block(
    key: &[u8],
    is_block_key: bool,
    core_key: &[u8],
    is_compat: bool,
    index: f64,
    block: &[u8],
) -> Result<Uint8Array, JsError> {
    let content = cipher(key, is_block_key, core_key, is_compat)?.decrypt(integer(index, "index")?, block);
    content.map(|content| bytes(&content)).ok_or_else(|| JsError::new("block is shorter than its padding"))
}

/// The encoded manifest of a core that one key signs.
#[wasm_bindgen(js_name = defaultManifest)]
pub fn default_manifest(public_key: &[u8]) -> Result<Uint8Array, JsError> {
    Ok(bytes(&Manifest::single_signer(fixed(public_key, "publicKey")?).to_vec()))
}

/// The key of the core that a manifest describes.
#[wasm_bindgen(js_name = manifestKey)]
pub fn manifest_key(manifest: &[u8]) -> Result<Uint8Array, JsError> {
    let manifest = decode_manifest(manifest)?;
    manifest.validate().map_err(|error| JsError::new(&error.to_string()))?;
    Ok(bytes(&manifest.key()))
}

pub(crate) fn decode_manifest(bytes: &[u8]) -> Result<Manifest, JsError> {
    use hypertab_core::compact_encoding::Decode as _;
    Manifest::from_slice(bytes).map_err(|error| JsError::new(&format!("manifest: {error}")))
}
