//! Keys as text.
//!
//! Source: hypercore-id-encoding 1.3.0, `index.js`; z32, `index.js`.

use alloc::string::String;
use core::fmt;

use data_encoding::{DecodePartial, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE, Specification};

use crate::id::PublicKey;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// A character is not of the alphabet.
    InvalidCharacter {
        /// Bytes before it, counted without the prefix.
        position: usize,
    },
    /// The text is neither 52 (z-base-32) nor 64 (hexadecimal) characters long.
    InvalidLength {
        /// Its length in bytes, without prefix and tail.
        found: usize,
    },
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidCharacter { position } => write!(f, "invalid character at {position} in a key"),
            Self::InvalidLength { found } => {
                write!(f, "a key has {Z32_LEN} or {HEX_LEN} characters, not {found}")
            }
        }
    }
}

impl core::error::Error for IdError {}

/// Returns a key as 52 characters of z-base-32, the usual form.
pub fn encode_key(key: &PublicKey) -> String {
    z_base_32().encode(key)
}

/// Returns bytes as lowercase hexadecimal.
pub fn encode_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Returns the key in a text: z-base-32, hexadecimal in any case, or a `hyper://` or `pear://` link, whose
/// part after the key is ignored.
///
/// # Errors
///
/// Returns an [`IdError`] for anything else. Bits of the last character beyond the key are dropped, as upstream
/// does.
pub fn parse_key(text: &str) -> Result<PublicKey, IdError> {
    let link = PREFIXES.into_iter().find_map(|prefix| text.strip_prefix(prefix));
    let id = match link {
        Some(rest) => rest.split(TAIL_STARTS).next().unwrap_or_default(),
        None => text,
    };

    let encoding = match id.len() {
        Z32_LEN => z_base_32(),
        HEX_LEN => HEXLOWER_PERMISSIVE,
        found => return Err(IdError::InvalidLength { found }),
    };
    let mut key = [0; 32];
    match encoding.decode_mut(id.as_bytes(), &mut key) {
        Ok(_) => Ok(key),
        Err(DecodePartial { error, .. }) => Err(IdError::InvalidCharacter { position: error.position }),
    }
}

fn z_base_32() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    specification.check_trailing_bits = false;
    specification.encoding().expect("32 distinct symbols are an alphabet")
}

/// Length of 256 bits in z-base-32.
const Z32_LEN: usize = 52;

/// Length of 256 bits in hexadecimal.
const HEX_LEN: usize = 64;

/// What a link starts with.
const PREFIXES: [&str; 2] = ["hyper://", "pear://"];

/// What ends the key in a link.
const TAIL_STARTS: [char; 4] = ['/', '?', '#', '+'];

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn every_written_form_reads_back() {
        let key = core::array::from_fn(|i| u8::try_from(7 * i % 256).unwrap());
        let (short, long) = (encode_key(&key), encode_hex(&key));

        let texts = [
            short.clone(),
            long.clone(),
            long.to_uppercase(),
            format!("hyper://{short}"),
            format!("pear://{short}/a/b?c"),
            format!("pear://{long}?x=1"),
            format!("hyper://{short}+12/a"),
            format!("hyper://{short}#top"),
        ];

        for text in texts {
            assert_eq!(parse_key(&text), Ok(key), "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let mut text = encode_key(&[0; 32]);
        assert_eq!(parse_key(&text[1..]), Err(IdError::InvalidLength { found: 51 }));

        text.replace_range(10..11, "l");
        assert_eq!(parse_key(&text), Err(IdError::InvalidCharacter { position: 10 }));

        let mut dirty = encode_key(&[0; 32]);
        dirty.replace_range(51.., "b");
        assert_eq!(parse_key(&dirty), Ok([0; 32]));
        assert!(parse_key("\u{e9}\u{e9}").is_err());
        assert!(parse_key(&"\u{e9}".repeat(32)).is_err());
    }
}
