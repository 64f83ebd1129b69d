//! Random changes of bytes: what comes from the network may be anything.

/// Shows `read` what becomes of `seeds` with a few changes each, the same every time.
pub(crate) fn each(seeds: &[&[u8]], mut read: impl FnMut(&[u8])) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len() + 1);
            match random.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random.byte()),
                2 => bytes.extend_from_within(at..),
                3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                _ if at < bytes.len() => bytes[at] = random.byte(),
                _ => {}
            }
            bytes.truncate(MAX_LEN);
        }
        read(&bytes);
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Often one of those that mean something.
    fn byte(&mut self) -> u8 {
        const MEANING: &[u8] = b"\0\xff\xfe\xfd\r\n\t :;,.?=%[]\"\x7f\x80";
        match self.below(2) {
            0 => MEANING[self.below(MEANING.len())],
            _ => self.below(256) as u8,
        }
    }
}

const ROUNDS: usize = 100_000;
const MAX_LEN: usize = 8192;
