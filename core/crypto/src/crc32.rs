//! CRC-32, the checksum of IEEE 802.3, zlib and hypercore 10's oplog.

/// Returns the CRC-32 of `bytes`.
#[cfg(any(unix, windows))]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the CRC-32 of `bytes`.
#[cfg(not(any(unix, windows)))]
pub fn crc32(bytes: &[u8]) -> u32 {
    tables::crc32(bytes)
}

/// For processors that are not known to have an instruction for it.
#[cfg(any(test, not(any(unix, windows))))]
mod tables {
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    pub(super) fn crc32(bytes: &[u8]) -> u32 {
        if !READY.load(Ordering::Acquire) {
            fill_tables();
        }
        let mut crc = u32::MAX;
        let (steps, rest) = bytes.as_chunks::<16>();
        for step in steps {
            let [a, b, c, d] = crc.to_le_bytes();
            let first = [step[0] ^ a, step[1] ^ b, step[2] ^ c, step[3] ^ d];
            crc = at(15, first[0])
                ^ at(14, first[1])
                ^ at(13, first[2])
                ^ at(12, first[3])
                ^ at(11, step[4])
                ^ at(10, step[5])
                ^ at(9, step[6])
                ^ at(8, step[7])
                ^ at(7, step[8])
                ^ at(6, step[9])
                ^ at(5, step[10])
                ^ at(4, step[11])
                ^ at(3, step[12])
                ^ at(2, step[13])
                ^ at(1, step[14])
                ^ at(0, step[15]);
        }
        for byte in rest {
            crc = at(0, crc.to_le_bytes()[0] ^ byte) ^ (crc >> 8);
        }
        !crc
    }

    #[inline(always)]
    fn at(table: usize, byte: u8) -> u32 {
        TABLES[table][usize::from(byte)].load(Ordering::Relaxed)
    }

    /// Two threads that come first fill in the same numbers.
    #[cold]
    fn fill_tables() {
        for (byte, entry) in (0u32..).zip(&TABLES[0]) {
            let crc = (0..8).fold(byte, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 });
            entry.store(crc, Ordering::Relaxed);
        }
        for pair in TABLES.windows(2) {
            for (before, entry) in pair[0].iter().zip(&pair[1]) {
                let crc = before.load(Ordering::Relaxed);
                entry.store(at(0, crc.to_le_bytes()[0]) ^ (crc >> 8), Ordering::Relaxed);
            }
        }
        READY.store(true, Ordering::Release);
    }

    /// What a byte does to the checksum when 0 to 15 others follow it.
    ///
    /// Computed at first use: 16 KiB that no compression makes smaller do not belong into a module for browsers.
    static TABLES: [[AtomicU32; 256]; 16] = [const { [const { AtomicU32::new(0) }; 256] }; 16];

    static READY: AtomicBool = AtomicBool::new(false);

    /// The polynomial, lowest power in the highest bit.
    pub(super) const POLYNOMIAL: u32 = 0xedb8_8320;
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn checksums_equal_the_published_ones() {
        for crc32 in [crc32, tables::crc32] {
            assert_eq!(crc32(b""), 0);
            assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
            assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
        }
    }

    #[test]
    fn long_steps_equal_single_bits() {
        let bytes: Vec<u8> = (0..200u32).map(|i| (i * i / 8).to_le_bytes()[0]).collect();
        for len in 0..bytes.len() {
            let mut crc = u32::MAX;
            for byte in &bytes[..len] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ if crc & 1 == 1 { tables::POLYNOMIAL } else { 0 };
                }
            }
            assert_eq!(crc32(&bytes[..len]), !crc, "{len} bytes");
            assert_eq!(tables::crc32(&bytes[..len]), !crc, "{len} bytes");
        }
    }
}
