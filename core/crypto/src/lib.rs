//! What a core spends its time in: hashes, ciphers and checksums of whole blocks.
//!
//! A crate of its own, without a generic function in its face, because a crate's optimisation level does not reach what its
//! callers instantiate: the module for browsers is built for size around these loops, which are built for speed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub use crc32::crc32;
pub use hash::{blake2b_256, blake2b_256_keyed, blake2b_512, blake2b_512_keyed};
pub use many::{PREFIX_LEN, blake2b_256_many};
pub use secretbox::{SECRETBOX_MAC_LEN, secretbox_open, secretbox_seal, xsalsa20_xor};

mod chacha;
mod crc32;
mod hash;
mod many;
mod secretbox;
pub mod secretstream;
