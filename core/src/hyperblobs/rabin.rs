//! Cuts bytes where their content says, so that equal parts of two files become equal chunks.
//!
//! A fingerprint of the last [`WINDOW`] bytes is kept, a polynomial over two elements modulo another one that cannot be
//! divided; a chunk ends where its low bits are zero. The numbers are those of the library behind upstream's stream, so
//! that both sides cut the same file alike.
//!
//! Source: rabin-stream 2.0, rabin-native.

use alloc::boxed::Box;

/// Bytes that the fingerprint is of.
pub const WINDOW: usize = 64;

/// Fewest bytes of a chunk, unless the stream ends.
pub const MIN_CHUNK: usize = 512 * 1024;

/// Most bytes of a chunk.
pub const MAX_CHUNK: usize = 8 * 1024 * 1024;

const POLYNOMIAL: u64 = 0x003d_a335_8b4d_c173;
const DEGREE: u32 = 53;

/// Low bits that are zero where a chunk ends: one place in a MiB.
const MASK: u64 = (1 << 20) - 1;

/// A stream of bytes that is being cut.
#[derive(Debug)]
pub struct Rabin {
    tables: Box<Tables>,
    window: [u8; WINDOW],
    at: usize,
    digest: u64,
    /// Bytes of the chunk so far.
    count: usize,
    min: usize,
    max: usize,
}

#[derive(Debug)]
struct Tables {
    /// What a byte that leaves the window adds to the fingerprint.
    leaving: [u64; 256],
    /// What the high byte of the fingerprint comes to.
    reduction: [u64; 256],
}

impl Rabin {
    /// Starts a stream whose chunks have from `min` to `max` bytes.
    pub fn new(min: usize, max: usize) -> Self {
        let tables = Box::new(Tables::new());
        let mut rabin =
            Self { tables, window: [0; WINDOW], at: 0, digest: 0, count: 0, min, max: max.max(1) };
        rabin.reset();
        rabin
    }

    /// Takes bytes until a chunk ends, and returns how many that were; `None` when all were taken and none ended.
    pub fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        for (taken, &byte) in (1..).zip(bytes) {
            self.slide(byte);
            self.count += 1;
            if (self.count >= self.min && self.digest & MASK == 0) || self.count >= self.max {
                self.reset();
                return Some(taken);
            }
        }
        None
    }

    fn reset(&mut self) {
        self.window = [0; WINDOW];
        (self.at, self.digest, self.count) = (0, 0, 0);
        self.slide(1);
    }

    fn slide(&mut self, byte: u8) {
        let leaving = core::mem::replace(&mut self.window[self.at], byte);
        self.at = (self.at + 1) % WINDOW;
        self.digest ^= self.tables.leaving[usize::from(leaving)];
        let high = (self.digest >> (DEGREE - 8)) as u8;
        self.digest = (self.digest << 8 | u64::from(byte)) ^ self.tables.reduction[usize::from(high)];
    }
}

impl Tables {
    fn new() -> Self {
        let (mut leaving, mut reduction) = ([0; 256], [0; 256]);
        for byte in 0..=u8::MAX {
            let mut hash = append(0, byte);
            for _ in 0..WINDOW - 1 {
                hash = append(hash, 0);
            }
            leaving[usize::from(byte)] = hash;
            let high = u64::from(byte) << DEGREE;
            reduction[usize::from(byte)] = reduce(high) | high;
        }
        Self { leaving, reduction }
    }
}

fn append(hash: u64, byte: u8) -> u64 {
    reduce(hash << 8 | u64::from(byte))
}

fn reduce(mut value: u64) -> u64 {
    while let Some(shift) = value.checked_ilog2().and_then(|degree| degree.checked_sub(DEGREE)) {
        value ^= POLYNOMIAL << shift;
    }
    value
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 0x9e37_79b9_u32;
        let next = |_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        };
        (0..len).map(next).collect()
    }

    fn cut(bytes: &[u8], step: usize) -> Vec<usize> {
        let mut rabin = Rabin::new(1024, 1 << 20);
        let mut ends = Vec::new();
        for (i, piece) in bytes.chunks(step).enumerate() {
            let mut at = 0;
            while let Some(taken) = rabin.push(&piece[at..]) {
                at += taken;
                ends.push(i * step + at);
            }
        }
        ends
    }

    #[test]
    fn pieces_do_not_matter() {
        let bytes = noise(8 << 20);

        let whole = cut(&bytes, bytes.len());

        assert!(whole.len() >= 8);
        assert_eq!(cut(&bytes, 1000), whole);
        assert_eq!(cut(&bytes, 1), whole);
    }

    #[test]
    fn chunks_after_an_insertion_are_the_same() {
        let bytes = noise(8 << 20);
        let mut longer = bytes.clone();
        longer.splice(100..100, [7; 10]);

        let (before, after) = (cut(&bytes, bytes.len()), cut(&longer, longer.len()));

        let moved: Vec<_> = before.iter().map(|end| end + 10).collect();
        let same = moved.iter().filter(|end| after.contains(end)).count();
        assert!(same + 3 >= before.len(), "{same} of {}", before.len());
    }
}
