//! The cipher of secret streams: the crate's, and four blocks at a time where a browser's module would have none of its speed.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

/// A keystream that is added to bytes piece by piece, from the start of its first block on.
pub(crate) struct Cipher {
    /// For what is left of four blocks.
    rest: ChaCha20,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    wide: wide::Cipher,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32], nonce: &[u8; 12]) -> Self {
        Self {
            rest: ChaCha20::new(key.into(), nonce.into()),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            wide: wide::Cipher::new(key, nonce),
        }
    }

    pub(crate) fn apply_keystream(&mut self, bytes: &mut [u8]) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let bytes = {
            use chacha20::cipher::StreamCipherSeek as _;

            let done = self.wide.apply(bytes);
            let bytes = &mut bytes[done..];
            if bytes.is_empty() {
                return;
            }
            self.rest.seek(self.wide.position());
            self.wide.skip(bytes.len());
            bytes
        };
        self.rest.apply_keystream(bytes);
    }
}

/// ChaCha20 of RFC 8439 in vectors of four words: each holds the same word of four blocks.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wide {
    use core::arch::wasm32::{
        i8x16_shuffle, i16x8_shuffle, i32x4_add, i32x4_shuffle, i64x2_shuffle, u32x4, u32x4_shl, u32x4_shr,
        u32x4_splat, u64x2, u64x2_extract_lane, v128, v128_or, v128_xor,
    };

    use zeroize::Zeroize;

    pub(super) struct Cipher {
        key: [u32; 8],
        nonce: [u32; 3],
        /// Bytes of the keystream that are used up.
        position: u64,
    }

    impl Cipher {
        pub(super) fn new(key: &[u8; 32], nonce: &[u8; 12]) -> Self {
            let mut this = Self { key: [0; 8], nonce: [0; 3], position: 0 };
            let word = |(to, from): (&mut u32, &[u8; 4])| *to = u32::from_le_bytes(*from);
            this.key.iter_mut().zip(key.as_chunks().0).for_each(word);
            this.nonce.iter_mut().zip(nonce.as_chunks().0).for_each(word);
            this
        }

        pub(super) fn position(&self) -> u64 {
            self.position
        }

        pub(super) fn skip(&mut self, bytes: usize) {
            self.position += bytes as u64;
        }

        /// Adds the keystream to as many bytes as are whole groups of four blocks; returns their number.
        pub(super) fn apply(&mut self, bytes: &mut [u8]) -> usize {
            if !self.position.is_multiple_of(BLOCK) {
                return 0;
            }
            let (groups, _) = bytes.as_chunks_mut::<GROUP>();
            let done = groups.len() * GROUP;
            for group in groups {
                self.apply_group(group);
                self.position += GROUP as u64;
            }
            done
        }

        fn apply_group(&self, group: &mut [u8; GROUP]) {
            let counter = (self.position / BLOCK) as u32;
            let count = |at| counter.wrapping_add(at);
            let [a, b, c, d, e, f, g, h] = self.key.map(|word| u32x4_splat(word));
            let [i, j, k] = self.nonce.map(|word| u32x4_splat(word));
            let [s, t, u, v] = CONSTANTS.map(|word| u32x4_splat(word));
            let counters = u32x4(count(0), count(1), count(2), count(3));
            let start = [s, t, u, v, a, b, c, d, e, f, g, h, counters, i, j, k];
            let mut x = start;
            for _ in 0..10 {
                quarter(&mut x, [0, 4, 8, 12]);
                quarter(&mut x, [1, 5, 9, 13]);
                quarter(&mut x, [2, 6, 10, 14]);
                quarter(&mut x, [3, 7, 11, 15]);
                quarter(&mut x, [0, 5, 10, 15]);
                quarter(&mut x, [1, 6, 11, 12]);
                quarter(&mut x, [2, 7, 8, 13]);
                quarter(&mut x, [3, 4, 9, 14]);
            }
            for row in 0..4 {
                let sum = |at: usize| i32x4_add(x[4 * row + at], start[4 * row + at]);
                let (a, b, c, d) = (sum(0), sum(1), sum(2), sum(3));
                let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
                add(group, 16 * row, i64x2_shuffle::<0, 2>(ab, cd));
                add(group, 64 + 16 * row, i64x2_shuffle::<1, 3>(ab, cd));
                let (ab, cd) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
                add(group, 128 + 16 * row, i64x2_shuffle::<0, 2>(ab, cd));
                add(group, 192 + 16 * row, i64x2_shuffle::<1, 3>(ab, cd));
            }
        }
    }

    impl Drop for Cipher {
        fn drop(&mut self) {
            self.key.zeroize();
            self.nonce.zeroize();
        }
    }

    #[inline(always)]
    fn quarter(x: &mut [v128; 16], [a, b, c, d]: [usize; 4]) {
        x[a] = i32x4_add(x[a], x[b]);
        let turned = v128_xor(x[d], x[a]);
        x[d] = i16x8_shuffle::<1, 0, 3, 2, 5, 4, 7, 6>(turned, turned);
        x[c] = i32x4_add(x[c], x[d]);
        let turned = v128_xor(x[b], x[c]);
        x[b] = v128_or(u32x4_shl(turned, 12), u32x4_shr(turned, 20));
        x[a] = i32x4_add(x[a], x[b]);
        let turned = v128_xor(x[d], x[a]);
        x[d] = i8x16_shuffle::<3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14>(turned, turned);
        x[c] = i32x4_add(x[c], x[d]);
        let turned = v128_xor(x[b], x[c]);
        x[b] = v128_or(u32x4_shl(turned, 7), u32x4_shr(turned, 25));
    }

    #[inline(always)]
    fn add(group: &mut [u8; GROUP], at: usize, stream: v128) {
        let [low, high] = [at, at + 8].map(|at| {
            let bytes = *group[at..].first_chunk().expect("sixteen bytes of a row");
            u64::from_le_bytes(bytes)
        });
        let sum = v128_xor(u64x2(low, high), stream);
        group[at..at + 8].copy_from_slice(&u64x2_extract_lane::<0>(sum).to_le_bytes());
        group[at + 8..at + 16].copy_from_slice(&u64x2_extract_lane::<1>(sum).to_le_bytes());
    }

    /// Bytes of a block.
    const BLOCK: u64 = 64;

    /// Bytes of four blocks.
    const GROUP: usize = 256;

    /// "expand 32-byte k".
    const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
}
