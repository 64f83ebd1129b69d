//! Random changes of bytes, for where there is no libFuzzer.

/// xorshift64*.
pub struct Random(u64);

impl Random {
    /// Returns the numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Draws a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Makes an input out of seeds: one of them, or two halves, with a few changes.
pub fn input(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = match seeds.len() {
        // Long enough for a script.
        0 => (0..random.below(1200)).map(|_| random.below(256) as u8).collect(),
        count => seeds[random.below(count)].clone(),
    };
    if random.below(8) == 0 && !seeds.is_empty() {
        let other = &seeds[random.below(seeds.len())];
        bytes.truncate(random.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
    }
    for _ in 0..=random.below(6) {
        change(&mut bytes, random);
    }
    bytes.truncate(MAX_LEN);
    bytes
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        // Where numbers of several bytes begin, and where they are as large as they can be.
        2 if at < bytes.len() => bytes[at] = EDGES[random.below(EDGES.len())],
        3 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            let prefix = [0xfc_u8, 0xfd, 0xfe, 0xff][random.below(4)];
            let tail = bytes.split_off(at);
            bytes.push(prefix);
            bytes.extend_from_slice(&number[..width]);
            bytes.extend(tail);
        }
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + random.below(8)).min(bytes.len());
            drop(bytes.drain(at.min(end)..end));
        }
        6 => {
            let end = (at + 1 + random.below(32)).min(bytes.len());
            let piece = bytes[at.min(end)..end].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, piece));
        }
        7 => bytes.extend((0..random.below(40)).map(|_| random.below(256) as u8).collect::<Vec<u8>>()),
        _ => bytes.insert(at, random.below(256) as u8),
    }
}

const EDGES: [u8; 10] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 32];

const NUMBERS: [u64; 10] =
    [0, 1, 255, 65_535, 1 << 31, (1 << 53) - 1, 1 << 53, (1 << 63) - 1, 1 << 63, u64::MAX];

/// Longest input, bytes.
const MAX_LEN: usize = 64 << 10;
