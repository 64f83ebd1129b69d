//! `crypto_secretstream_xchacha20poly1305`: a stream of sealed messages that cannot be reordered, dropped or cut unnoticed.
//!
//! Source: libsodium 1.0.20, `crypto_secretstream/xchacha20poly1305/secretstream_xchacha20poly1305.c`.
//!
//! A sealed message is `1 encrypted tag byte ‖ ciphertext ‖ 16 byte mac`. Both directions work in place, in steps small enough
//! that the authenticator reads what the cipher just wrote from the nearest cache.

use core::fmt;

use chacha20::{R20, hchacha};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::chacha::Cipher;

/// Bytes that sealing adds: the tag in front, the mac behind.
pub const OVERHEAD: usize = 1 + MAC_LEN;

/// Length of the random header that starts a direction.
pub const HEADER_LEN: usize = 24;

/// What a message means to the stream; secret streams send [`MESSAGE`](Tag::MESSAGE) only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u8);

impl Tag {
    /// An ordinary message.
    pub const MESSAGE: Self = Self(0);
    /// The end of a set of messages.
    pub const PUSH: Self = Self(1);
    /// The key changes after this message.
    pub const REKEY: Self = Self(2);
    /// The last message; changes the key as well.
    pub const FINAL: Self = Self(3);

    fn rekeys(self) -> bool {
        self.0 & Self::REKEY.0 != 0
    }
}

/// A message that was not sealed by the other end, or not at this place of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message does not authenticate")
    }
}

impl core::error::Error for Forged {}

/// Seals the messages of one direction.
#[derive(Debug)]
pub struct Push(State);

impl Push {
    /// Starts a direction; `header` must be random and travels in clear.
    pub fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        Self(State::new(key, header))
    }

    /// Seals `buffer` in place: the plaintext lies at `[1, len - 16)` and both ends are overwritten.
    ///
    /// # Panics
    ///
    /// When `buffer` is shorter than [`OVERHEAD`].
    pub fn seal(&mut self, tag: Tag, buffer: &mut [u8]) {
        let (tag_byte, rest) = buffer.split_first_mut().expect("the caller reserves the overhead");
        let (message, mac) = rest.split_at_mut(rest.len() - MAC_LEN);
        let (mut cipher, mut poly, block) = self.0.begin(tag.0);
        *tag_byte = block[0];
        poly.update(as_blocks(&block));
        let len = message.len();
        let split = len - len % BLOCK_LEN;
        for step in message[..split].chunks_mut(STEP) {
            cipher.apply_keystream(step);
            poly.update(as_blocks(step));
        }
        cipher.apply_keystream(&mut message[split..]);
        let computed = finish(poly, &message[split..], len);
        mac.copy_from_slice(&computed);
        self.0.advance(&computed, tag);
    }
}

/// Opens the messages of one direction.
#[derive(Debug)]
pub struct Pull(State);

impl Pull {
    /// Starts a direction with the header that the sender chose.
    pub fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        Self(State::new(key, header))
    }

    /// Opens `buffer` in place; the plaintext then lies at `[1, len - 16)`.
    ///
    /// # Errors
    ///
    /// When the message is too short or does not authenticate. The direction has not moved, and the contents of
    /// `buffer` mean nothing.
    pub fn open(&mut self, buffer: &mut [u8]) -> Result<Tag, Forged> {
        if buffer.len() < OVERHEAD {
            return Err(Forged);
        }
        let (tag_byte, rest) = buffer.split_first_mut().ok_or(Forged)?;
        let (message, mac) = rest.split_at_mut(rest.len() - MAC_LEN);
        let (mut cipher, mut poly, mut block) = self.0.begin(*tag_byte);
        let tag = Tag(block[0]);
        block[0] = *tag_byte;
        poly.update(as_blocks(&block));
        let len = message.len();
        let split = len - len % BLOCK_LEN;
        for step in message[..split].chunks_mut(STEP) {
            poly.update(as_blocks(step));
            cipher.apply_keystream(step);
        }
        let computed = finish(poly, &message[split..], len);
        if !bool::from(computed.ct_eq(mac)) {
            message.zeroize();
            return Err(Forged);
        }
        cipher.apply_keystream(&mut message[split..]);
        self.0.advance(&computed, tag);
        Ok(tag)
    }
}

/// Key and nonce of the next message. The nonce is `u32 counter ‖ 8 bytes that chain the macs`.
struct State {
    key: [u8; 32],
    nonce: [u8; 12],
}

impl State {
    fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        let mut input = [0; 16];
        input.copy_from_slice(&header[..16]);
        let mut nonce = [0; 12];
        nonce[0] = 1;
        nonce[4..].copy_from_slice(&header[16..]);
        Self { key: hchacha::<R20>(key.into(), &input.into()).into(), nonce }
    }

    /// Returns the cipher at the start of the message, the authenticator, and the enciphered block that starts with `first`.
    fn begin(&self, first: u8) -> (Cipher, Poly1305, [u8; 64]) {
        let mut cipher = Cipher::new(&self.key, &self.nonce);
        let mut blocks = [0; 128];
        blocks[64] = first;
        cipher.apply_keystream(&mut blocks);
        let mut key = [0; 32];
        key.copy_from_slice(&blocks[..32]);
        let poly = Poly1305::new((&key).into());
        let mut block = [0; 64];
        block.copy_from_slice(&blocks[64..]);
        key.zeroize();
        blocks.zeroize();
        (cipher, poly, block)
    }

    fn advance(&mut self, mac: &[u8; MAC_LEN], tag: Tag) {
        for (nonce, mac) in self.nonce[4..].iter_mut().zip(mac) {
            *nonce ^= mac;
        }
        let [a, b, c, d, ..] = self.nonce;
        let counter = u32::from_le_bytes([a, b, c, d]).wrapping_add(1);
        self.nonce[..4].copy_from_slice(&counter.to_le_bytes());
        if tag.rekeys() || counter == 0 {
            self.rekey();
        }
    }

    fn rekey(&mut self) {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.key);
        bytes[32..].copy_from_slice(&self.nonce[4..]);
        Cipher::new(&self.key, &self.nonce).apply_keystream(&mut bytes);
        self.key.copy_from_slice(&bytes[..32]);
        self.nonce[..4].copy_from_slice(&1u32.to_le_bytes());
        self.nonce[4..].copy_from_slice(&bytes[32..]);
        bytes.zeroize();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.key.zeroize();
        self.nonce.zeroize();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Authenticates the last, incomplete block of the ciphertext and the lengths.
///
/// libsodium pads with `len % 16` zero bytes instead of up to the next block, so the lengths need not be aligned.
fn finish(poly: Poly1305, tail: &[u8], len: usize) -> [u8; MAC_LEN] {
    let mut last = [0; 2 * BLOCK_LEN + 16];
    last[..tail.len()].copy_from_slice(tail);
    let end = 2 * tail.len() + 16;
    last[end - 8..end].copy_from_slice(&(64 + len as u64).to_le_bytes());
    poly.compute_unpadded(&last[..end]).into()
}

fn as_blocks(bytes: &[u8]) -> &[poly1305::Block] {
    poly1305::Block::slice_as_chunks(bytes).0
}

const MAC_LEN: usize = 16;

/// The authenticator's block.
const BLOCK_LEN: usize = 16;

/// Bytes enciphered between two visits of the authenticator: a multiple of both block sizes, well inside a first level cache.
const STEP: usize = 8192;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn sealing_and_opening_agree_for_every_length_around_the_block_sizes() {
        for len in (0..200).chain([STEP - 1, STEP, STEP + 1, 3 * STEP + 77]) {
            let (mut push, mut pull) = pair();
            for round in 0..3u8 {
                let mut buffer = vec![round; len + OVERHEAD];
                push.seal(Tag::MESSAGE, &mut buffer);

                assert_eq!(pull.open(&mut buffer), Ok(Tag::MESSAGE));
                assert!(buffer[1..=len].iter().all(|&byte| byte == round));
            }
        }
    }

    #[test]
    fn key_changes_when_the_counter_wraps() {
        let (mut push, mut pull) = pair();
        push.0.nonce[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        pull.0.nonce[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let before = push.0.key;

        let mut buffer = [7; 4 + OVERHEAD];
        push.seal(Tag::MESSAGE, &mut buffer);

        assert_ne!(push.0.key, before);
        assert_eq!(push.0.nonce[..4], [1, 0, 0, 0]);
        assert_eq!(pull.open(&mut buffer), Ok(Tag::MESSAGE));
        let mut buffer = [8; 4 + OVERHEAD];
        push.seal(Tag::MESSAGE, &mut buffer);
        assert_eq!(pull.open(&mut buffer), Ok(Tag::MESSAGE));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_leaves_the_stream_where_it_was() {
        let (mut push, mut pull) = pair();
        let mut sealed = [9; 21 + OVERHEAD];
        push.seal(Tag::MESSAGE, &mut sealed);

        for at in 0..sealed.len() {
            let mut buffer = sealed;
            buffer[at] ^= 1;
            assert_eq!(pull.open(&mut buffer), Err(Forged));
        }
        for len in 0..sealed.len() {
            let mut buffer = sealed;
            assert_eq!(pull.open(&mut buffer[..len]), Err(Forged));
        }

        assert_eq!(pull.open(&mut sealed), Ok(Tag::MESSAGE));
    }

    fn pair() -> (Push, Pull) {
        let header = core::array::from_fn(|i| i as u8);
        (Push::new(&[3; 32], &header), Pull::new(&[3; 32], &header))
    }
}
