//! Sealed messages between the two sides of a punch, and the tokens in them.
//!
//! Source: hyperdht 6.33, `lib/secure-payload.js`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::crypto;
use crate::dht::messages::HolepunchPayload;
use crate::dht::rpc::token_of;

/// The keys of one connection's holepunch messages.
pub struct Sealer {
    secret: [u8; 32],
    /// Makes our tokens; known to nobody else.
    local_secret: [u8; 32],
}

impl Sealer {
    /// Uses the holepunch secret of a handshake and a random local secret.
    pub fn new(secret: [u8; 32], local_secret: [u8; 32]) -> Self {
        Self { secret, local_secret }
    }

    /// Returns nonce, mac and ciphertext of a message.
    pub fn seal(&self, payload: &HolepunchPayload, nonce: [u8; 24]) -> Bytes {
        let boxed = crypto::secretbox_seal(&self.secret, &nonce, &payload.encode());
        let mut out = BytesMut::with_capacity(nonce.len() + boxed.len());
        out.put_slice(&nonce);
        out.put_slice(&boxed);
        out.freeze()
    }

    /// Opens what the other side sealed; `None` when it was not.
    pub fn open(&self, sealed: &[u8]) -> Option<HolepunchPayload> {
        let (nonce, boxed) = sealed.split_first_chunk()?;
        let opened = crypto::secretbox_open(&self.secret, nonce, boxed)?;
        HolepunchPayload::decode(&opened).ok()
    }

    /// Returns the token that a peer at this host has to return.
    pub fn token(&self, host: [u8; 4]) -> [u8; 32] {
        token_of(&self.local_secret, host)
    }
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sealer(..)")
    }
}
