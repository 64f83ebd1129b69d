//! Which keys are meant: prefixes, ranges, and numbers as keys.
//!
//! A bee orders keys by their bytes; a shorter key goes before those it starts.
//!
//! Source: hyperbee 2.27, `index.js` (`sub`, `encRange`); sub-encoder 2.1; lexicographic-integer 1.1.

use alloc::vec::Vec;

use bytes::Bytes;

/// The keys from one bound to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The lower bound, exclusive; counts before [`gte`](Self::gte).
    pub gt: Option<Bytes>,
    /// The lower bound, inclusive.
    pub gte: Option<Bytes>,
    /// The upper bound, exclusive; counts before [`lte`](Self::lte).
    pub lt: Option<Bytes>,
    /// The upper bound, inclusive.
    pub lte: Option<Bytes>,
    /// Whether the last key comes first.
    pub reverse: bool,
    /// Most entries; `None` is all.
    pub limit: Option<u64>,
}

impl Range {
    /// Returns the bound where a walk begins, and whether it is inclusive.
    pub fn start(&self) -> Option<(&Bytes, bool)> {
        if self.reverse { self.upper() } else { self.lower() }
    }

    /// Returns the bound where a walk ends, and whether it is inclusive.
    pub fn end(&self) -> Option<(&Bytes, bool)> {
        if self.reverse { self.lower() } else { self.upper() }
    }

    fn lower(&self) -> Option<(&Bytes, bool)> {
        self.gt.as_ref().map(|key| (key, false)).or(self.gte.as_ref().map(|key| (key, true)))
    }

    fn upper(&self) -> Option<(&Bytes, bool)> {
        self.lt.as_ref().map(|key| (key, false)).or(self.lte.as_ref().map(|key| (key, true)))
    }
}

/// What the keys of a part of a bee start with, separator included. Empty is the whole bee.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(Bytes);

impl Prefix {
    /// Returns the part `name` of this part.
    ///
    /// A separator other than [`SEPARATOR`] holds for this level only.
    pub fn sub(&self, name: &[u8], separator: &[u8]) -> Self {
        Self([&self.0, name, separator].concat().into())
    }

    /// Returns the prefix.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the key in the bee of a key in this part.
    pub fn encode(&self, key: &[u8]) -> Bytes {
        [&self.0, key].concat().into()
    }

    /// Returns the key in this part of a key in the bee, or `None` when it is elsewhere.
    pub fn decode(&self, key: &Bytes) -> Option<Bytes> {
        key.starts_with(&self.0).then(|| key.slice(self.0.len()..))
    }

    /// Returns the range in the bee of a range in this part, as `sub` has it.
    ///
    /// The keys after the prefix with a single 0 are listed: an empty key, or one that is a single 0, can be
    /// read and written but is in no list that has no lower bound.
    pub fn range(&self, range: &Range) -> Range {
        let mut range = self.bounds(range);
        if self.0.is_empty() {
            return range;
        }
        if range.lower().is_none() {
            range.gt = Some(self.encode(&SEPARATOR));
        }
        if range.upper().is_none() {
            let mut end = self.0.to_vec();
            if let Some(last) = end.last_mut() {
                *last = last.wrapping_add(1);
            }
            range.lt = Some(end.into());
        }
        range
    }

    /// Returns the range in the bee of a range in this part, as the package sub-encoder has it: with the
    /// empty key. Drives and Autobase use this one.
    pub fn sub_encoder_range(&self, range: &Range) -> Range {
        let mut range = self.bounds(range);
        let Some((_, start)) = self.0.split_last() else { return range };
        if range.lower().is_none() {
            range.gte = Some(self.0.clone());
        }
        if range.upper().is_none() {
            range.lt = Some([start, &[1]].concat().into());
        }
        range
    }

    fn bounds(&self, range: &Range) -> Range {
        let encode = |bound: &Option<Bytes>| bound.as_ref().map(|key| self.encode(key));
        Range {
            gt: encode(&range.gt),
            gte: encode(&range.gte),
            lt: encode(&range.lt),
            lte: encode(&range.lte),
            reverse: range.reverse,
            limit: range.limit,
        }
    }
}

/// Returns a number as a key that sorts as the number does.
///
/// # Wire
///
/// | number | bytes |
/// | --- | --- |
/// | below 251 | itself |
/// | 251 more than a number of up to 4 bytes | 250 and how many, the number big-endian |
/// | above | 255, exponent as such a key, 6 bytes of mantissa |
///
/// Numbers above 2^53 lose their low bits, as in JavaScript.
pub fn lexint(number: u64) -> Vec<u8> {
    let Some(rest) = number.checked_sub(LEXINT_BASE) else { return number.to_be_bytes()[7..].to_vec() };
    let bytes = rest.to_be_bytes();
    let mut key = Vec::with_capacity(9);
    match u32::try_from(rest) {
        Ok(_) => {
            let len = bytes.iter().skip_while(|byte| **byte == 0).count().max(1);
            key.push(250 + u8::try_from(len).expect("a u32 has 4 bytes"));
            key.extend_from_slice(&bytes[8 - len..]);
        }
        Err(_) => {
            let exponent = rest.ilog2() - 32;
            // 43 significant bits, in 6 bytes.
            let mantissa = if exponent >= 11 { rest >> (exponent - 11) } else { rest << (11 - exponent) };
            key.push(255);
            key.push(u8::try_from(exponent).expect("a u64 has 64 bits"));
            key.extend_from_slice(&mantissa.to_be_bytes()[2..]);
        }
    }
    key
}

/// Returns the number of a [`lexint`] key, or `None` when it is none.
pub fn decode_lexint(key: &[u8]) -> Option<u64> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    match key {
        [small] if u64::from(*small) < LEXINT_BASE => Some(u64::from(*small)),
        [tag @ 251..=254, rest @ ..] if rest.len() == usize::from(tag - 250) => {
            Some(LEXINT_BASE + number(rest))
        }
        [255, exponent @ 0..=31, mantissa @ ..] if mantissa.len() == 6 => {
            let (mantissa, exponent) = (number(mantissa), u32::from(*exponent));
            let rest = if exponent >= 11 {
                mantissa.checked_mul(1 << (exponent - 11))?
            } else {
                mantissa >> (11 - exponent)
            };
            rest.checked_add(LEXINT_BASE)
        }
        _ => None,
    }
}

/// What ends a name in a prefix, unless another separator is asked for.
pub const SEPARATOR: [u8; 1] = [0];

/// The first number that does not fit one byte of a [`lexint`] key.
const LEXINT_BASE: u64 = 251;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn part_without_bounds_is_all_of_it_but_the_empty_key() {
        let users = Prefix::default().sub(b"users", &SEPARATOR);

        let range = users.range(&Range::default());
        assert_eq!((range.gt, range.lt), (bytes("users\0\0"), bytes("users\x01")));
        let range = users.sub(b"meta", b"!").range(&Range { gte: bytes("a"), ..Range::default() });
        assert_eq!((range.gte, range.gt, range.lt), (bytes("users\0meta!a"), None, bytes("users\0meta\"")));
        assert_eq!(Prefix::default().range(&Range::default()), Range::default());
    }

    #[test]
    fn encoder_of_parts_lists_the_empty_key() {
        let users = Prefix::default().sub(b"users", &SEPARATOR);

        let range = users.sub_encoder_range(&Range::default());
        assert_eq!((range.gte, range.gt, range.lt), (bytes("users\0"), None, bytes("users\x01")));
        let range = users.sub_encoder_range(&Range { lte: bytes("b"), ..Range::default() });
        assert_eq!((range.gte, range.lte, range.lt), (bytes("users\0"), bytes("users\0b"), None));
    }

    #[test]
    fn key_of_another_part_does_not_decode() {
        let users = Prefix::default().sub(b"users", &SEPARATOR);

        assert_eq!(users.decode(&users.encode(b"alice")), bytes("alice"));
        assert_eq!(users.decode(&Bytes::from_static(b"user\0x")), None);
    }

    #[test]
    fn exclusive_bounds_win() {
        let range =
            Range { gt: bytes("a"), gte: bytes("b"), lt: bytes("c"), lte: bytes("d"), ..Range::default() };

        assert_eq!(range.start(), Some((&Bytes::from_static(b"a"), false)));
        assert_eq!(range.end(), Some((&Bytes::from_static(b"c"), false)));
        assert_eq!(Range { reverse: true, ..range }.start(), Some((&Bytes::from_static(b"c"), false)));
    }

    /// The keys are what lexicographic-integer 1.1.0 gives.
    #[test]
    fn numbers_sort_as_keys_and_read_back() {
        let known: [(u64, &[u8]); 9] = [
            (0, b"\x00"),
            (250, b"\xfa"),
            (251, b"\xfb\x00"),
            (507, b"\xfc\x01\x00"),
            (65_787, b"\xfd\x01\x00\x00"),
            (4_294_967_546, b"\xfe\xff\xff\xff\xff"),
            (4_294_967_547, b"\xff\x00\x08\x00\x00\x00\x00\x00"),
            (8_796_093_034_553, b"\xff\x0b\x08\x00\x00\x00\x2f\x3e"),
            (9_007_199_254_740_991, b"\xff\x14\x0f\xff\xff\xff\xff\xff"),
        ];
        for (number, key) in known {
            assert_eq!(lexint(number), key, "{number}");
        }

        let numbers =
            (0..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]).filter(|n| *n < 1 << 53);
        let mut numbers: Vec<u64> = numbers.chain(0..70_000).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let keys: Vec<_> = numbers.iter().map(|number| lexint(*number)).collect();
        assert!(keys.is_sorted());
        for (number, key) in numbers.iter().zip(&keys) {
            let back = decode_lexint(key).unwrap();
            assert!(
                back == *number || (*number > 1 << 43 && back.abs_diff(*number) < 1 << 10),
                "{number} {back}"
            );
        }
    }
}
