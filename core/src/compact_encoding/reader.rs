//! Taking values off the front of a byte slice.

use alloc::vec::Vec;
use core::str;

use super::{DecodeError, MAX_ARRAY_LEN, MAX_UINT, Result};

/// A byte slice that is read from front to back.
///
/// Borrows instead of copying, never panics, and never allocates more than a small multiple of the bytes it
/// was given. After an error its position is unspecified.
///
/// Every method that returns a [`Result`] fails with [`DecodeError::UnexpectedEnd`] when the slice ends
/// inside the value; only other errors are listed at the methods.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns a reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Returns whether no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all bytes that are left.
    pub const fn raw(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Takes `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.unexpected_end(u64::try_from(len).unwrap_or(u64::MAX))),
        }
    }

    /// Takes `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(self.unexpected_end(u64::try_from(N).unwrap_or(u64::MAX))),
        }
    }

    /// Takes a variable-width unsigned integer.
    ///
    /// # Errors
    ///
    /// Fails above [`MAX_UINT`], which JavaScript peers refuse as well.
    pub fn uint(&mut self) -> Result<u64> {
        match self.uint_max64()? {
            found if found > MAX_UINT => Err(DecodeError::TooLarge { limit: MAX_UINT, found }),
            found => Ok(found),
        }
    }

    /// Takes a variable-width unsigned integer that may use all 64 bits.
    pub fn uint_max64(&mut self) -> Result<u64> {
        match self.u8()? {
            0xfd => self.u16().map(u64::from),
            0xfe => self.u32().map(u64::from),
            0xff => self.u64(),
            small => Ok(u64::from(small)),
        }
    }

    /// Takes a variable-width signed integer, -2^52 to 2^52 - 1.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint).
    pub fn int(&mut self) -> Result<i64> {
        let zigzag = self.uint()?;
        let half = (zigzag >> 1).cast_signed();
        Ok(if zigzag & 1 == 0 { half } else { !half })
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Takes 2 bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Takes 3 bytes, little-endian.
    pub fn u24(&mut self) -> Result<u32> {
        self.fixed().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Takes 4 bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Takes 5 bytes, little-endian.
    pub fn u40(&mut self) -> Result<u64> {
        self.fixed::<5>().map(|bytes| widen(&bytes))
    }

    /// Takes 6 bytes, little-endian.
    pub fn u48(&mut self) -> Result<u64> {
        self.fixed::<6>().map(|bytes| widen(&bytes))
    }

    /// Takes 7 bytes, little-endian.
    pub fn u56(&mut self) -> Result<u64> {
        self.fixed::<7>().map(|bytes| widen(&bytes))
    }

    /// Takes 8 bytes, little-endian, over the full range; upstream's `biguint64` as well.
    pub fn u64(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// Same as [`u64`](Self::u64), under upstream's name.
    pub fn biguint64(&mut self) -> Result<u64> {
        self.u64()
    }

    /// Takes 2 bytes, big-endian.
    pub fn u16_be(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Takes 4 bytes, big-endian.
    pub fn u32_be(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Takes 8 bytes, big-endian.
    pub fn u64_be(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// Takes an IEEE single, little-endian.
    pub fn f32(&mut self) -> Result<f32> {
        self.fixed().map(f32::from_le_bytes)
    }

    /// Takes an IEEE double, little-endian.
    pub fn f64(&mut self) -> Result<f64> {
        self.fixed().map(f64::from_le_bytes)
    }

    /// Takes one byte; any but 1 is false, as upstream has it.
    pub fn bool(&mut self) -> Result<bool> {
        self.u8().map(|byte| byte == 1)
    }

    /// Takes bytes with their length before them.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint).
    pub fn buffer(&mut self) -> Result<&'a [u8]> {
        let len = self.uint()?;
        // A length beyond `usize` is beyond the slice as well.
        let Ok(size) = usize::try_from(len) else { return Err(self.unexpected_end(len)) };
        self.bytes(size)
    }

    /// Takes bytes with their length before them; length 0 means absent.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint).
    pub fn optional_buffer(&mut self) -> Result<Option<&'a [u8]>> {
        self.buffer().map(|bytes| (!bytes.is_empty()).then_some(bytes))
    }

    /// Takes UTF-8 text with its length in bytes before it.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint), and [`DecodeError::InvalidUtf8`], where upstream would put a replacement
    /// character and no longer re-encode to the same bytes.
    pub fn string(&mut self) -> Result<&'a str> {
        str::from_utf8(self.buffer()?).map_err(|error| DecodeError::InvalidUtf8 {
            valid_up_to: u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX),
        })
    }

    /// Takes a length and returns a reader over that many bytes.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint).
    pub fn frame(&mut self) -> Result<Reader<'a>> {
        self.buffer().map(Reader::new)
    }

    /// Takes the count of an array whose items take at least `min_item_bytes` each.
    ///
    /// # Errors
    ///
    /// Fails above [`MAX_ARRAY_LEN`] and when the bytes left cannot hold that many items.
    pub fn array_len(&mut self, min_item_bytes: usize) -> Result<usize> {
        let found = self.uint()?;
        if found > MAX_ARRAY_LEN {
            return Err(DecodeError::TooLarge { limit: MAX_ARRAY_LEN, found });
        }
        let count = usize::try_from(found).expect("a million fits 32 bits");
        match count.checked_mul(min_item_bytes) {
            Some(needed) if needed <= self.rest.len() => Ok(count),
            _ => {
                let item = u64::try_from(min_item_bytes).unwrap_or(u64::MAX);
                Err(self.unexpected_end(found.saturating_mul(item)))
            }
        }
    }

    /// Takes an array whose items take at least one byte each.
    ///
    /// # Errors
    ///
    /// As [`array_len`](Self::array_len), and whatever `item` returns.
    pub fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.array_len(1)?;
        // Not `count`: that is the sender's claim, and an item in memory can be far larger than one byte.
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Takes an array of 32 bit words, little-endian, with the number of words before it.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint). There is no limit on the count but the bytes left.
    pub fn uint32array(&mut self) -> Result<Vec<u32>> {
        let count = self.uint()?;
        let needed = count.saturating_mul(4);
        let Ok(size) = usize::try_from(needed) else { return Err(self.unexpected_end(needed)) };
        let (words, _) = self.bytes(size)?.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// Takes an integer in the encoding that sorts as bytes.
    ///
    /// Inexact above 2^44, as upstream's: the low bits are not in the encoding.
    ///
    /// # Errors
    ///
    /// Fails above [`MAX_UINT`].
    pub fn lexint(&mut self) -> Result<u64> {
        let above = match self.u8()? {
            0xfb => self.u8().map(u64::from)?,
            0xfc => self.u16_be().map(u64::from)?,
            0xfd => self.fixed().map(|[a, b, c]| u64::from(u32::from_be_bytes([0, a, b, c])))?,
            0xfe => self.u32_be().map(u64::from)?,
            0xff => {
                let exponent = u32::from(self.u8()?);
                let [a, b, c, d, e, f] = self.fixed()?;
                let mantissa = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                let shift = exponent.saturating_sub(11).min(63);
                match mantissa >> 11u32.saturating_sub(exponent) {
                    // A shift that loses bits is past the limit anyway.
                    value if value.leading_zeros() < shift => u64::MAX,
                    value => value << shift,
                }
            }
            small => return Ok(u64::from(small)),
        };
        match above.saturating_add(251) {
            found if found > MAX_UINT => Err(DecodeError::TooLarge { limit: MAX_UINT, found }),
            found => Ok(found),
        }
    }

    fn unexpected_end(&self, needed: u64) -> DecodeError {
        let remaining = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        DecodeError::UnexpectedEnd { needed, remaining }
    }
}

/// Reads up to 8 bytes, little-endian.
fn widen(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uint_refuses_what_a_javascript_number_cannot_hold() {
        let bytes = [0xff, 0, 0, 0, 0, 0, 0, 0x20, 0];

        let error = Reader::new(&bytes).uint();

        assert_eq!(error, Err(DecodeError::TooLarge { limit: MAX_UINT, found: MAX_UINT + 1 }));
        assert_eq!(Reader::new(&bytes).uint_max64(), Ok(MAX_UINT + 1));
    }

    #[test]
    fn claimed_lengths_beyond_the_input_are_refused_before_allocating() {
        let claims = [[0xfe, 0, 0, 0x10, 0], [0xfe, 0xff, 0xff, 0xff, 0xff]];

        for claim in claims {
            assert!(Reader::new(&claim).array(Reader::u8).is_err());
            assert!(Reader::new(&claim).uint32array().is_err());
            assert!(Reader::new(&claim).buffer().is_err());
            assert!(Reader::new(&claim).frame().is_err());
        }
        assert!(Reader::new(&[3, 0, 0, 0]).array_len(2).is_err());
        assert_eq!(Reader::new(&[2, 0, 0, 0, 0]).array_len(2), Ok(2));
    }

    #[test]
    fn string_refuses_broken_utf8() {
        let error = Reader::new(&[3, b'a', 0xc3, b'b']).string();

        assert_eq!(error, Err(DecodeError::InvalidUtf8 { valid_up_to: 1 }));
    }

    #[test]
    fn no_short_input_panics() {
        for first in 0..=255 {
            for len in 0..12 {
                let mut bytes = [0xff; 12];
                bytes[0] = first;
                let bytes = &bytes[..len];
                let _ = (Reader::new(bytes).uint(), Reader::new(bytes).int(), Reader::new(bytes).lexint());
                let _ = (Reader::new(bytes).string(), Reader::new(bytes).array(Reader::uint));
            }
        }
    }
}
