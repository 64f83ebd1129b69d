//! Random numbers of one node, all from the seed it was made with.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// A ChaCha20 key stream: equal seeds give equal nodes, and nobody else can guess what comes next.
pub struct Rng {
    stream: ChaCha20,
}

impl Rng {
    /// Starts the stream that belongs to `seed`.
    pub fn new(mut seed: [u8; 32]) -> Self {
        let stream = ChaCha20::new(&seed.into(), &[0; 12].into());
        seed.zeroize();
        Self { stream }
    }

    /// Returns the next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.stream.apply_keystream(&mut out);
        out
    }

    /// Returns a number below `end`, or 0 when `end` is 0. The bias of the remainder does not matter here.
    pub fn below(&mut self, end: u64) -> u64 {
        u64::from_le_bytes(self.bytes()).checked_rem(end).unwrap_or(0)
    }

    /// Returns an index below `len`, or 0 when `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        let drawn = self.below(u64::try_from(len).unwrap_or(u64::MAX));
        usize::try_from(drawn).unwrap_or(0)
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_numbers() {
        let (mut a, mut b, mut c) = (Rng::new([1; 32]), Rng::new([1; 32]), Rng::new([2; 32]));

        assert_eq!(a.bytes::<16>(), b.bytes::<16>());
        assert_ne!(a.bytes::<16>(), c.bytes::<16>());
        assert_eq!(a.below(0), 0);
        assert!(b.below(7) < 7);
    }
}
