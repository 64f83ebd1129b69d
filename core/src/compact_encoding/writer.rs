//! Putting values at the end of a byte vector.

use alloc::vec::Vec;

use super::{Encode, MAX_UINT};

/// A byte vector that grows value by value.
///
/// Methods mirror those of [`Reader`](super::Reader) and cannot fail.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Returns an empty writer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Returns an empty writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Returns a writer that goes on behind what is in `bytes`.
    pub const fn from_vec(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Returns what was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns what was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends bytes as they are; upstream's `raw` and `fixed`.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `N` bytes as they are.
    pub fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.raw(bytes);
    }

    /// Appends a variable-width unsigned integer in its shortest form.
    ///
    /// JavaScript peers refuse values above [`MAX_UINT`]; they are written all the same.
    pub fn uint(&mut self, value: u64) {
        if let Ok(byte @ ..=0xfc) = u8::try_from(value) {
            self.u8(byte);
        } else if let Ok(short) = u16::try_from(value) {
            self.u8(0xfd);
            self.u16(short);
        } else if let Ok(word) = u32::try_from(value) {
            self.u8(0xfe);
            self.u32(word);
        } else {
            self.u8(0xff);
            self.u64(value);
        }
    }

    /// Appends a variable-width signed integer; peers accept -2^52 to 2^52 - 1.
    pub fn int(&mut self, value: i64) {
        self.uint(zigzag(value));
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends 2 bytes, little-endian.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends the low 3 bytes, little-endian; the caller keeps `value` below 2^24.
    pub fn u24(&mut self, value: u32) {
        self.low_bytes::<3>(value.into());
    }

    /// Appends 4 bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends the low 5 bytes, little-endian; the caller keeps `value` below 2^40.
    pub fn u40(&mut self, value: u64) {
        self.low_bytes::<5>(value);
    }

    /// Appends the low 6 bytes, little-endian; the caller keeps `value` below 2^48.
    pub fn u48(&mut self, value: u64) {
        self.low_bytes::<6>(value);
    }

    /// Appends the low 7 bytes, little-endian; the caller keeps `value` below 2^56.
    pub fn u56(&mut self, value: u64) {
        self.low_bytes::<7>(value);
    }

    /// Appends 8 bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// Same as [`u64`](Self::u64), under upstream's name.
    pub fn biguint64(&mut self, value: u64) {
        self.u64(value);
    }

    /// Appends 2 bytes, big-endian.
    pub fn u16_be(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends 4 bytes, big-endian.
    pub fn u32_be(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends 8 bytes, big-endian.
    pub fn u64_be(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends an IEEE single, little-endian.
    pub fn f32(&mut self, value: f32) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends an IEEE double, little-endian.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// Appends bytes with their length before them.
    pub fn buffer(&mut self, bytes: &[u8]) {
        self.uint(len_u64(bytes.len()));
        self.raw(bytes);
    }

    /// Appends bytes with their length before them; absent and empty are the same.
    pub fn optional_buffer(&mut self, bytes: Option<&[u8]>) {
        self.buffer(bytes.unwrap_or_default());
    }

    /// Appends UTF-8 text with its length in bytes before it.
    pub fn string(&mut self, text: &str) {
        self.buffer(text.as_bytes());
    }

    /// Appends the count of an array; its items follow.
    pub fn array_len(&mut self, count: u64) {
        self.uint(count);
    }

    /// Appends an array, each item by `item`.
    pub fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.array_len(len_u64(items.len()));
        for each in items {
            item(self, each);
        }
    }

    /// Appends an array of 32 bit words, little-endian, with the number of words before it.
    pub fn uint32array(&mut self, words: &[u32]) {
        self.uint(len_u64(words.len()));
        for word in words {
            self.u32(*word);
        }
    }

    /// Appends a value with its length in bytes before it.
    pub fn frame(&mut self, value: &(impl Encode + ?Sized)) {
        self.uint(len_u64(value.encoded_len()));
        value.encode(self);
    }

    /// Appends an integer in the encoding that sorts as bytes.
    ///
    /// Drops low bits above 2^44, as upstream does, and caps at [`MAX_UINT`].
    pub fn lexint(&mut self, value: u64) {
        let value = value.min(MAX_UINT);
        let Some(above) = value.checked_sub(251) else { return self.low_bytes::<1>(value) };
        let [_, _, _, _, bytes @ ..] = above.to_be_bytes();
        match value {
            ..=0xff => {
                self.u8(0xfb);
                self.raw(&bytes[3..]);
            }
            0x100..=0xffff => {
                self.u8(0xfc);
                self.raw(&bytes[2..]);
            }
            0x1_0000..=0xff_ffff => {
                self.u8(0xfd);
                self.raw(&bytes[1..]);
            }
            0x100_0000..=0xffff_ffff => {
                self.u8(0xfe);
                self.raw(&bytes);
            }
            _ => {
                // Upstream computes -1 for the 251 values after 2^32 and cannot read that back.
                let exponent = above.ilog2().saturating_sub(32);
                let mantissa = (above << 11u32.saturating_sub(exponent)) >> exponent.saturating_sub(11);
                self.u8(0xff);
                self.low_bytes::<1>(exponent.into());
                self.raw(&mantissa.to_be_bytes()[2..]);
            }
        }
    }

    fn low_bytes<const N: usize>(&mut self, value: u64) {
        debug_assert!(value >> (8 * N) == 0, "{value} needs more than {N} bytes");
        self.raw(&value.to_le_bytes()[..N]);
    }
}

/// Returns how many bytes `value` takes as a `uint`.
pub const fn uint_len(value: u64) -> usize {
    match value {
        ..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Returns how many bytes a buffer takes with its length before it.
pub fn buffer_len(bytes: &[u8]) -> usize {
    uint_len(len_u64(bytes.len())) + bytes.len()
}

/// Returns how many bytes a text takes with its length before it.
pub fn string_len(text: &str) -> usize {
    buffer_len(text.as_bytes())
}

/// Maps signed to unsigned so that small absolute values stay small.
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Widens a length in memory.
pub(super) fn len_u64(len: usize) -> u64 {
    u64::try_from(len).expect("memory is smaller than 2^64 bytes")
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    #[test]
    fn uint_len_agrees_with_uint_at_every_width() {
        for value in [0, 0xfc, 0xfd, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, MAX_UINT, u64::MAX] {
            let mut writer = Writer::new();
            writer.uint(value);

            assert_eq!(writer.as_slice().len(), uint_len(value));
            assert_eq!(Reader::new(writer.as_slice()).uint_max64(), Ok(value));
        }
    }

    #[test]
    fn lexint_sorts_as_bytes_and_reads_back() {
        let values = [0, 250, 251, 255, 256, 65535, 65536, 1 << 24, (1 << 32) - 1, 1 << 32, (1 << 32) + 251];
        let exact = values.into_iter().chain([(1 << 40) + 12345, (1 << 44) + 250]);
        let mut previous = Vec::new();

        for value in exact {
            let mut writer = Writer::new();
            writer.lexint(value);

            assert_eq!(Reader::new(writer.as_slice()).lexint(), Ok(value));
            assert!(previous < writer.bytes, "{value} sorts first");
            previous = writer.into_vec();
        }
    }

    #[test]
    fn lexint_loses_low_bits_of_large_values_only() {
        let mut writer = Writer::new();
        writer.lexint(u64::MAX);

        let read = Reader::new(writer.as_slice()).lexint().unwrap();

        assert!(MAX_UINT - read < 1 << 10, "{read}");
    }
}
