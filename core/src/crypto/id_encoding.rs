//! Keys as text.
//!
//! Source: hypercore-id-encoding 1.3.0, `index.js`; z32, `index.js`.

use alloc::string::String;
use core::fmt;

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
    write(key, Z32, 5)
}

/// Returns bytes as lowercase hexadecimal.
pub fn encode_hex(bytes: &[u8]) -> String {
    write(bytes, HEX, 4)
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

    let (alphabet, bits) = match id.len() {
        Z32_LEN => (Z32, 5),
        HEX_LEN => (HEX, 4),
        found => return Err(IdError::InvalidLength { found }),
    };
    read(id.as_bytes(), alphabet, bits).map_err(|position| IdError::InvalidCharacter { position })
}

/// Writes `bits` bits a character, high bits first; the last character is filled up with zeros.
fn write(bytes: &[u8], alphabet: &[u8], bits: u32) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(bits as usize));
    let (mut held, mut len) = (0u32, 0);
    let mut put = |value: u32| text.push(char::from(alphabet[value as usize & (alphabet.len() - 1)]));
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        len += 8;
        while len >= bits {
            len -= bits;
            put(held >> len);
        }
    }
    if len > 0 {
        put(held << (bits - len));
    }
    text
}

/// Reads 256 bits and drops those beyond, or returns the position of the first character that is wrong.
fn read(text: &[u8], alphabet: &[u8], bits: u32) -> Result<PublicKey, usize> {
    let mut key = [0; 32];
    let mut bytes = key.iter_mut();
    let (mut held, mut len) = (0, 0);
    for (position, &character) in text.iter().enumerate() {
        let lower = if alphabet == HEX { character.to_ascii_lowercase() } else { character };
        let value = alphabet.iter().position(|&other| other == lower).ok_or(position)?;
        held = held << bits | value & ((1 << bits) - 1);
        len += bits;
        if len >= 8 {
            len -= 8;
            *bytes.next().ok_or(position)? = (held >> len & 0xff) as u8;
        }
        held &= (1 << len) - 1;
    }
    Ok(key)
}

/// The alphabet of z-base-32, by value.
const Z32: &[u8] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The digits of hexadecimal, by value.
const HEX: &[u8] = b"0123456789abcdef";

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
