//! Tokens: who holds one is let in until it expires, for what it says.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use hypertab_core::crypto::{encode_hex, parse_key};
use hypertab_core::dht_relay::Permissions;
use sha2::Sha256;

/// What a token says. Signed with HMAC-SHA256, as `ht1.EXPIRY.MAY.KEY.ID.MAC`: characters that stand unchanged in
/// addresses and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Until when it is good, in seconds of Unix time.
    pub expires: u64,
    /// What it lets its holder do.
    pub may: Permissions,
    /// The only key that may come with it.
    pub key: Option<[u8; 32]>,
    /// Names it, for whoever wants to revoke it.
    pub id: String,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// It was not made with this secret.
    Invalid,
    /// Its time is over.
    Expired,
}

impl Token {
    /// Makes a token with an id of its own.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub fn new(life: Duration, may: Permissions, key: Option<[u8; 32]>) -> Result<Self, getrandom::Error> {
        let mut id = [0; ID_LEN];
        getrandom::fill(&mut id)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = now.as_secs().saturating_add(life.as_secs());
        Ok(Self { expires, may, key, id: BASE64URL_NOPAD.encode(&id) })
    }

    /// Writes and signs it.
    pub fn sign(&self, secret: &[u8]) -> String {
        let text = self.to_string();
        let mac = mac(secret, &text).finalize().into_bytes();
        format!("{text}.{}", BASE64URL_NOPAD.encode(&mac))
    }

    /// Reads a token and checks it at a time, in seconds of Unix time.
    pub(crate) fn verify(text: &str, secret: &[u8], now: u64) -> Result<Self, TokenError> {
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenError::Invalid)?;
        mac(secret, signed).verify_slice(&signature).map_err(|_| TokenError::Invalid)?;
        let token = Self::parse(signed).ok_or(TokenError::Invalid)?;
        if token.expires <= now { Err(TokenError::Expired) } else { Ok(token) }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (version, expires, may) = (parts.next()?, parts.next()?, parts.next()?);
        let (key, id) = (parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let key = if key.is_empty() { None } else { Some(parse_key(key).ok()?) };
        Some(Self { expires: expires.parse().ok()?, may: permissions(may, '-').ok()?, key, id: id.into() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permissions { dial, listen, lookup, announce } = self.may;
        let words = [(dial, "dial"), (listen, "listen"), (lookup, "lookup"), (announce, "announce")];
        let may: Vec<_> = words.into_iter().filter(|(may, _)| *may).map(|(_, word)| word).collect();
        let key = self.key.as_ref().map(|key| encode_hex(key)).unwrap_or_default();
        write!(f, "{VERSION}.{}.{}.{key}.{}", self.expires, may.join("-"), self.id)
    }
}

/// Reads what a token lets its holder do.
///
/// # Errors
///
/// Names the first word that means nothing.
pub(crate) fn permissions(text: &str, separator: char) -> Result<Permissions, String> {
    let mut may = Permissions { dial: false, listen: false, lookup: false, announce: false };
    for word in text.split(separator) {
        match word.trim() {
            "dial" => may.dial = true,
            "listen" => may.listen = true,
            "lookup" => may.lookup = true,
            "announce" => may.announce = true,
            "all" => may = Permissions::ALL,
            other => return Err(format!("dial, listen, lookup, announce or all, not \"{other}\"")),
        }
    }
    Ok(may)
}

fn mac(secret: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    // What the same secret may sign elsewhere is no token.
    mac.update(b"hypertab-relay/token\0");
    mac.update(text.as_bytes());
    mac
}

/// Begins each token.
const VERSION: &str = "ht1";

/// Random bytes of an id.
const ID_LEN: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret that nobody guesses";

    #[test]
    fn token_is_taken_until_it_expires() {
        let may = Permissions { listen: false, ..Permissions::ALL };
        for key in [None, Some([7; 32])] {
            let token = Token { expires: 1000, may, key, id: "x".into() };
            let text = token.sign(SECRET);

            assert_eq!(Token::verify(&text, SECRET, 999), Ok(token));
            assert_eq!(Token::verify(&text, SECRET, 1000), Err(TokenError::Expired));
            assert_eq!(Token::verify(&text, b"another secret", 0), Err(TokenError::Invalid));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
        }
    }

    #[test]
    fn token_with_any_change_is_refused() {
        let text = Token::new(Duration::from_secs(60), Permissions::ALL, None).unwrap().sign(SECRET);

        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert_eq!(Token::verify(&changed, SECRET, 0), Err(TokenError::Invalid), "{changed}");
        }
        crate::mutations::each(&[text.as_bytes(), b"ht1.9.dial-listen..x.AAAA"], |bytes| {
            let changed = String::from_utf8_lossy(bytes);
            assert!(
                changed == text || Token::verify(&changed, SECRET, 0) == Err(TokenError::Invalid),
                "{changed}"
            );
            // Also where the signature is right, in the hands of whoever has the secret.
            let _ = Token::parse(&changed);
        });
        for text in ["", ".", "ht1", "ht1.....", "ht1.9.all..x."] {
            assert_eq!(Token::verify(text, SECRET, 0), Err(TokenError::Invalid));
        }
    }
}
