//! The keys of newer entries.

use alloc::boxed::Box;
use core::borrow::Borrow;
use core::cmp::Ordering;

/// A key in the index. Most keys are short and stand in the map itself: a search that has to look at each of them elsewhere waits for
/// memory a dozen times.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// The key and zeros.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Box<[u8]>),
}

/// Longest key that stands in the map: with what tells them apart, three words.
const SHORT: usize = 22;

impl Key {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Key::Short { len, bytes } => &bytes[..usize::from(*len).min(SHORT)],
            Key::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        match u8::try_from(key.len()) {
            Ok(len) if key.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..key.len()].copy_from_slice(key);
                Key::Short { len, bytes }
            }
            _ => Key::Long(key.into()),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn keys_of_all_lengths_are_in_the_order_of_their_bytes() {
        let mut slices: Vec<Vec<u8>> = (0..2 * SHORT).map(|len| alloc::vec![0; len]).collect();
        slices.extend((0..2 * SHORT).map(|len| alloc::vec![7; len]));
        slices.extend([SHORT - 1, SHORT, SHORT + 1].map(|len| [&alloc::vec![7; len][..], &[0]].concat()));

        for one in &slices {
            assert_eq!(Key::from(&one[..]).as_slice(), one);
            for other in &slices {
                assert_eq!(Key::from(&one[..]).cmp(&Key::from(&other[..])), one.cmp(other));
            }
        }
        assert_eq!(size_of::<Key>(), 24);
    }
}
