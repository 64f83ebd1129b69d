//! Round trip tokens: proof that a requester receives at the host it claims.
//!
//! Source: dht-rpc 6.27, `lib/io.js`, `token` and `_drain`.

use alloc::string::ToString;

use crate::crypto;
use crate::dht::rng::Rng;
use crate::time::{Duration, Instant};

/// A token of one host, 32 bytes.
pub type Token = [u8; 32];

/// The two secrets that tokens are made from, replaced every [`ROTATION`].
pub struct Tokens {
    previous: [u8; 32],
    current: [u8; 32],
    next_rotation: Instant,
}

impl Tokens {
    /// Draws two secrets.
    pub fn new(rng: &mut Rng, now: Instant) -> Self {
        Self::from_secrets(rng.bytes(), rng.bytes(), now)
    }

    /// Uses the given secrets.
    pub fn from_secrets(previous: [u8; 32], current: [u8; 32], now: Instant) -> Self {
        Self { previous, current, next_rotation: now + ROTATION }
    }

    /// Replaces the secrets as often as was due until `now`.
    pub fn advance(&mut self, now: Instant) {
        for _ in 0..2 {
            if self.next_rotation > now {
                return;
            }
            self.rotate();
            self.next_rotation += ROTATION;
        }
        if self.next_rotation <= now {
            self.rotate();
            self.next_rotation = now + ROTATION;
        }
    }

    /// Makes the current secret the previous one.
    pub fn rotate(&mut self) {
        let fresh = crypto::blake2b_256(&[&self.previous]);
        self.previous = core::mem::replace(&mut self.current, fresh);
    }

    /// Returns the token of `host` that replies carry.
    pub fn token(&self, host: [u8; 4]) -> Token {
        token_of(&self.current, host)
    }

    /// Reports whether `token` was given to `host` within the last two rotations.
    pub fn accepts(&self, host: [u8; 4], token: &Token) -> bool {
        *token == token_of(&self.current, host) || *token == token_of(&self.previous, host)
    }
}

impl core::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// Hashes the dotted text of `host` under `secret`.
pub(crate) fn token_of(secret: &[u8; 32], host: [u8; 4]) -> Token {
    let text = core::net::Ipv4Addr::from(host).to_string();
    crypto::blake2b_256_keyed(secret, &[text.as_bytes()])
}

/// Ten drain intervals of 750 ms.
const ROTATION: Duration = Duration::from_millis(7500);
