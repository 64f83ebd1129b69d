//! Option objects of JavaScript, read field by field.

use hypertab_core::crypto::KeyPair;
use hypertab_core::time::Duration;
use js_sys::{Array, Number, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// Largest integer that JavaScript holds exactly.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// An object of options; `undefined` and `null` have none.
pub(crate) struct Options<'a>(pub(crate) &'a JsValue);

impl Options<'_> {
    /// A field that is there and not null.
    pub(crate) fn get(&self, name: &'static str) -> Option<JsValue> {
        if !self.0.is_object() {
            return None;
        }
        let value = Reflect::get(self.0, &crate::events::name(name)).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    pub(crate) fn flag(&self, name: &'static str) -> Option<bool> {
        self.get(name).map(|value| value.is_truthy())
    }

    pub(crate) fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, JsError> {
        self.get(name)
            .map(|value| match value.dyn_into::<Uint8Array>() {
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(_) => Err(JsError::new(&format!("{name} must be a Uint8Array"))),
            })
            .transpose()
    }

    pub(crate) fn key(&self, name: &'static str) -> Result<Option<[u8; 32]>, JsError> {
        self.bytes(name)?.map(|bytes| fixed(&bytes, name)).transpose()
    }

    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<u64>, JsError> {
        let number =
            |value: JsValue| value.as_f64().ok_or_else(|| JsError::new(&format!("{name} must be a number")));
        self.get(name).map(|value| number(value).and_then(|value| integer(value, name))).transpose()
    }

    pub(crate) fn milliseconds(&self, name: &'static str) -> Result<Option<Duration>, JsError> {
        Ok(self.integer(name)?.filter(|&millis| millis > 0).map(Duration::from_millis))
    }

    pub(crate) fn list(&self, name: &'static str) -> Option<Array> {
        self.get(name).map(|value| Array::from(&value))
    }

    /// A `{ publicKey, secretKey }` pair that can sign.
    pub(crate) fn key_pair(&self, name: &'static str) -> Result<Option<KeyPair>, JsError> {
        let Some(pair) = self.get(name) else { return Ok(None) };
        match Options(&pair).bytes("secretKey")? {
            Some(secret_key) => secret(&secret_key).map(Some),
            None => Ok(None),
        }
    }

    /// The public half of a `{ publicKey, secretKey }` pair.
    pub(crate) fn public_key(&self, name: &'static str) -> Result<Option<[u8; 32]>, JsError> {
        let Some(pair) = self.get(name) else { return Ok(None) };
        Options(&pair).key("publicKey")
    }
}

/// Bytes of a length that is known.
pub(crate) fn fixed<const N: usize>(bytes: &[u8], name: &'static str) -> Result<[u8; N], JsError> {
    bytes.try_into().map_err(|_| JsError::new(&format!("{name} must have {N} bytes, not {}", bytes.len())))
}

/// The key pair of a secret key of 64 bytes, or of a seed of 32.
pub(crate) fn secret(bytes: &[u8]) -> Result<KeyPair, JsError> {
    match bytes.len() {
        32 => Ok(KeyPair::from_seed(&fixed(bytes, "seed")?)),
        _ => KeyPair::from_secret_key(&fixed(bytes, "secretKey")?)
            .map_err(|error| JsError::new(&error.to_string())),
    }
}

/// A position or length.
pub(crate) fn integer(value: f64, name: &'static str) -> Result<u64, JsError> {
    if value.fract() != 0.0 || !(0.0..=MAX_SAFE_INTEGER).contains(&value) {
        // JavaScript writes the number: Rust's way to write one is 16 kB of code that nothing else needs.
        let found = String::from(Number::from(value).to_string_with_radix(10).unwrap_or_default());
        return Err(JsError::new(&format!("{name} must be an integer from 0 to 2^53 - 1, not {found}")));
    }
    Ok(value as u64)
}
