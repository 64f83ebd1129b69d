//! XSalsa20, bare and with Poly1305.
//!
//! Source: libsodium, `crypto_stream_xor` and `crypto_secretbox_easy`.

use alloc::vec::Vec;

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The bytes [`secretbox_seal`] adds in front of the ciphertext.
pub const SECRETBOX_MAC_LEN: usize = 16;

/// Encrypts or decrypts `data` in place. It stays unauthenticated.
pub fn xsalsa20_xor(key: &[u8; 32], nonce: &[u8; 24], data: &mut [u8]) {
    XSalsa20::new(key.into(), nonce.into()).apply_keystream(data);
}

/// Returns `message` encrypted and authenticated: 16 bytes of mac, then the ciphertext.
///
/// A nonce serves one message per key.
pub fn secretbox_seal(key: &[u8; 32], nonce: &[u8; 24], message: &[u8]) -> Vec<u8> {
    let (mut cipher, mac_key) = start(key, nonce);
    let mut sealed = Vec::with_capacity(SECRETBOX_MAC_LEN + message.len());
    sealed.extend_from_slice(&[0; SECRETBOX_MAC_LEN]);
    sealed.extend_from_slice(message);
    let (mac, ciphertext) = sealed.split_at_mut(SECRETBOX_MAC_LEN);
    cipher.apply_keystream(ciphertext);
    mac.copy_from_slice(&authenticate(&mac_key, ciphertext));
    sealed
}

/// Returns the message that [`secretbox_seal`] sealed, or `None` when `sealed` is not authentic.
pub fn secretbox_open(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    let (mac, ciphertext) = sealed.split_at_checked(SECRETBOX_MAC_LEN)?;
    let (mut cipher, mac_key) = start(key, nonce);
    if !bool::from(authenticate(&mac_key, ciphertext).ct_eq(mac)) {
        return None;
    }
    let mut message = ciphertext.to_vec();
    cipher.apply_keystream(&mut message);
    Some(message)
}

/// Returns the cipher past its first 32 bytes, and those bytes, which key the mac.
fn start(key: &[u8; 32], nonce: &[u8; 24]) -> (XSalsa20, Zeroizing<[u8; 32]>) {
    let mut cipher = XSalsa20::new(key.into(), nonce.into());
    let mut mac_key = Zeroizing::new([0; 32]);
    cipher.apply_keystream(mac_key.as_mut_slice());
    (cipher, mac_key)
}

fn authenticate(mac_key: &[u8; 32], ciphertext: &[u8]) -> [u8; SECRETBOX_MAC_LEN] {
    Poly1305::new(mac_key.into()).compute_unpadded(ciphertext).into()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// The test of NaCl's `crypto_secretbox`.
    #[test]
    fn nacl_message_seals_to_its_known_bytes() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let message = hex(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129",
            "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde",
            "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
        ));
        let expected = hex(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a",
            "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae",
            "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74",
            "e355a5"
        ));
        let (key, nonce) = (key.try_into().unwrap(), nonce.try_into().unwrap());

        let sealed = secretbox_seal(&key, &nonce, &message);

        assert_eq!(sealed, expected);
        assert_eq!(secretbox_open(&key, &nonce, &sealed), Some(message));
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let (key, nonce) = ([1; 32], [2; 24]);
        let sealed = secretbox_seal(&key, &nonce, b"hello");

        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 0x80;
            assert_eq!(secretbox_open(&key, &nonce, &changed), None);
        }
        assert_eq!(secretbox_open(&key, &nonce, &sealed[..15]), None);
        assert_eq!(secretbox_open(&key, &nonce, &secretbox_seal(&key, &nonce, b"")), Some(Vec::new()));
    }

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }
}
