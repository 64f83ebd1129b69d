//! Who is let in.

mod bans;
mod callback;
mod token;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypertab_core::dht_relay::{CloseCode, Full, Permissions, Scope};

pub(crate) use bans::{Bans, unix_seconds};
pub(crate) use callback::ask;
pub use token::Token;
pub(crate) use token::{TokenError, permissions};

use crate::config::{Access, Origin};
use crate::http::Head;

/// Somebody who was let in, or nearly: a callback may still decide.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) address: IpAddr,
    pub(crate) permissions: Permissions,
    /// The only key it may have.
    pub(crate) key: Option<[u8; 32]>,
    /// How long it may stay.
    pub(crate) life: Option<Duration>,
    /// Id of its token.
    pub(crate) token_id: Option<String>,
    /// What it came with, for the callback.
    pub(crate) origin: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) path: String,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    Draining,
    Banned,
    AddressDenied,
    OriginDenied,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    TokenRevoked,
    Full(Full),
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever has the token is let in.
        f.debug_struct("Guest")
            .field("address", &self.address)
            .field("permissions", &self.permissions)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// Reports whether both came with the same right to be here.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.token_id, self.key, &self.origin) == (&other.token_id, other.key, &other.origin)
    }
}

impl Denial {
    /// All there are.
    pub(crate) const ALL: [Self; 14] = [
        Self::Draining,
        Self::Banned,
        Self::AddressDenied,
        Self::OriginDenied,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::Full(Full::Links(Scope::Total)),
        Self::Full(Full::Links(Scope::Address)),
        Self::Full(Full::Rate(Scope::Total)),
        Self::Full(Full::Rate(Scope::Address)),
        Self::Full(Full::Spent(Scope::Total)),
        Self::Full(Full::Spent(Scope::Address)),
    ];

    /// Returns the HTTP status, without the version.
    pub(crate) const fn status(self) -> &'static str {
        match self {
            Self::Draining | Self::Full(Full::Links(Scope::Total) | Full::Rate(Scope::Total)) => {
                "503 Service Unavailable"
            }
            Self::Full(_) => "429 Too Many Requests",
            Self::Banned | Self::AddressDenied | Self::OriginDenied => "403 Forbidden",
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired | Self::TokenRevoked => {
                "401 Unauthorized"
            }
        }
    }

    /// Returns the WebSocket status, for pages: they see nothing of an HTTP status.
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Draining | Self::Full(_) => CloseCode::TryAgainLater.code(),
            _ => CloseCode::Policy.code(),
        }
    }

    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Draining => "this relay is about to stop, try another one",
            Self::Banned => "this address is banned for a while",
            Self::AddressDenied => "this address is not served",
            Self::OriginDenied => "pages of this origin are not served",
            Self::TokenMissing => {
                "this relay takes a token: ?token=… in its address, or Authorization: Bearer …"
            }
            Self::TokenInvalid => "this token was not made for this relay",
            Self::TokenExpired => "this token has expired",
            Self::TokenRevoked => "this token was revoked",
            Self::Full(Full::Links(Scope::Total)) => "this relay is full",
            Self::Full(Full::Links(_)) => "this address has too many connections",
            Self::Full(Full::Rate(Scope::Total)) => "too many connect at this moment",
            Self::Full(Full::Rate(_)) => "this address connects too often",
            Self::Full(Full::Spent(Scope::Total)) => "this relay has used up the traffic of today",
            Self::Full(Full::Spent(_)) => "this address has used up the traffic of today",
        }
    }

    /// Returns it as a word, for figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Banned => "banned",
            Self::AddressDenied => "address_denied",
            Self::OriginDenied => "origin_denied",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::Full(Full::Links(Scope::Total)) => "relay_full",
            Self::Full(Full::Links(_)) => "address_full",
            Self::Full(Full::Rate(Scope::Total)) => "relay_rate",
            Self::Full(Full::Rate(_)) => "address_rate",
            Self::Full(Full::Spent(Scope::Total)) => "relay_day_spent",
            Self::Full(Full::Spent(_)) => "address_day_spent",
        }
    }

    /// Reports whether it speaks of ill will, or of a mistake that keeps coming back.
    pub(crate) const fn is_offence(self) -> bool {
        matches!(self, Self::TokenInvalid | Self::Full(Full::Rate(Scope::Address)))
    }
}

/// Judges a request for a WebSocket by what it came with.
pub(crate) fn judge(access: &Access, head: &Head, address: IpAddr) -> Result<Guest, Denial> {
    if is_denied(access, address) {
        return Err(Denial::AddressDenied);
    }
    // Only pages have an origin; a program can claim any.
    let is_foreign =
        |origin: &String| !access.origins.iter().any(|Origin(allowed)| matches_origin(allowed, origin));
    if !access.origins.is_empty() && head.origin.as_ref().is_some_and(is_foreign) {
        return Err(Denial::OriginDenied);
    }
    let mut guest = Guest {
        address,
        permissions: Permissions::ALL,
        key: None,
        life: None,
        token_id: None,
        origin: head.origin.clone(),
        token: head.token.clone(),
        path: head.path.clone(),
    };
    if let Some(secret) = &access.token_secret {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = head.token.as_ref().ok_or(Denial::TokenMissing)?;
        let token = Token::verify(text, secret.bytes(), now).map_err(|error| match error {
            TokenError::Invalid => Denial::TokenInvalid,
            TokenError::Expired => Denial::TokenExpired,
        })?;
        if access.revoked_tokens.contains(&token.id) {
            return Err(Denial::TokenRevoked);
        }
        guest.permissions = token.may;
        guest.key = token.key;
        guest.life = Some(Duration::from_secs(token.expires - now));
        guest.token_id = Some(token.id);
    }
    Ok(guest)
}

/// Says why a guest that was let in would not be let in any more, if it is on a list of those who are not.
pub(crate) fn barred(access: &Access, guest: &Guest) -> Option<Denial> {
    let is_revoked = |id: &String| access.revoked_tokens.contains(id);
    if is_denied(access, guest.address) {
        return Some(Denial::AddressDenied);
    }
    guest.token_id.as_ref().is_some_and(is_revoked).then_some(Denial::TokenRevoked)
}

fn is_denied(access: &Access, address: IpAddr) -> bool {
    access.deny_addresses.iter().any(|block| block.contains(address))
}

/// Judges the key that a guest says is its own.
pub(crate) fn serves_key(access: &Access, guest: &Guest, key: &[u8; 32]) -> bool {
    let is_listed = |list: &[crate::config::Key]| list.iter().any(|listed| listed.0 == *key);
    guest.key.is_none_or(|bound| bound == *key)
        && !is_listed(&access.deny_keys)
        && (access.allow_keys.is_empty() || is_listed(&access.allow_keys))
}

/// Returns the address of the client: that of the connection, or what the proxies in front of it say.
pub(crate) fn client_address(access: &Access, peer: IpAddr, forwarded: &[String]) -> IpAddr {
    let is_proxy = |address: IpAddr| access.trusted_proxies.iter().any(|block| block.contains(address));
    let mut address = peer.to_canonical();
    // From the last proxy on: what stands before an address that is no proxy of ours may be made up.
    for hop in forwarded.iter().rev().flat_map(|header| header.rsplit(',')) {
        if !is_proxy(address) {
            break;
        }
        let hop = hop.trim();
        let bare = hop.strip_prefix('[').and_then(|rest| rest.split(']').next());
        let without_port = hop.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map(|(host, _)| host);
        match bare.or(without_port).unwrap_or(hop).parse::<IpAddr>() {
            Ok(next) => address = next.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// Returns the account of an address: an IPv6 host has a /64 to itself.
pub(crate) fn account(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

fn matches_origin(allowed: &str, origin: &str) -> bool {
    match allowed.split_once("*.") {
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|host| host.strip_suffix(domain))
            .is_some_and(|label| label.len() > 1 && label.ends_with('.') && !label.contains('/')),
        None => allowed.eq_ignore_ascii_case(origin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Settings};

    #[test]
    fn the_client_behind_proxies_is_found_and_not_made_up() {
        let mut access = Settings::default().access;
        let of = |access: &Access, peer: &str, forwarded: &[&str]| {
            let forwarded: Vec<_> = forwarded.iter().map(ToString::to_string).collect();
            client_address(access, peer.parse().unwrap(), &forwarded).to_string()
        };
        assert_eq!(of(&access, "127.0.0.1", &["9.9.9.9"]), "127.0.0.1");

        access.trusted_proxies = ["127.0.0.0/8", "10.0.0.1"].map(block_of).into();
        assert_eq!(of(&access, "127.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        assert_eq!(of(&access, "127.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.1"]), "9.9.9.9");
        assert_eq!(of(&access, "127.0.0.1", &["6.6.6.6", "9.9.9.9:1234"]), "9.9.9.9");
        assert_eq!(of(&access, "127.0.0.1", &["[2001:db8::1]:5"]), "2001:db8::1");
        assert_eq!(of(&access, "127.0.0.1", &["nonsense"]), "127.0.0.1");
        assert_eq!(of(&access, "8.8.8.8", &["9.9.9.9"]), "8.8.8.8");
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_an_account() {
        let of = |address: &str| account(address.parse().unwrap());

        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:9.9.9.9"), of("9.9.9.9"));
        assert_ne!(of("9.9.9.8"), of("9.9.9.9"));
    }

    #[test]
    fn origins_are_matched_whole_or_by_domain() {
        assert!(matches_origin("https://example.org", "https://example.org"));
        assert!(!matches_origin("https://example.org", "https://example.org.evil.com"));
        assert!(!matches_origin("https://example.org", "http://example.org"));
        assert!(matches_origin("https://*.example.org", "https://a.b.example.org"));
        assert!(!matches_origin("https://*.example.org", "https://example.org"));
        assert!(!matches_origin("https://*.example.org", "https://evilexample.org"));
        assert!(!matches_origin("https://*.example.org", "https://evil.com/.example.org"));
    }

    #[test]
    fn all_conditions_that_are_set_have_to_be_met() {
        let secret = b"a secret that nobody guesses";
        let mut access = Settings::default().access;
        let address: IpAddr = "9.9.9.9".parse().unwrap();
        let mut head = Head { origin: Some("https://a.org".into()), ..Head::default() };
        assert!(judge(&access, &head, address).is_ok());

        access.origins = vec![Origin("https://b.org".into())];
        assert_eq!(judge(&access, &head, address), Err(Denial::OriginDenied));
        head.origin = None;
        assert!(judge(&access, &head, address).is_ok());

        access.token_secret = Some(Secret::new(secret));
        assert_eq!(judge(&access, &head, address), Err(Denial::TokenMissing));
        head.token = Some("ht1.9.all..x.y".into());
        assert_eq!(judge(&access, &head, address), Err(Denial::TokenInvalid));
        let may = Permissions { dial: false, ..Permissions::ALL };
        let token = Token::new(Duration::from_secs(60), may, Some([4; 32])).unwrap();
        head.token = Some(token.sign(secret));
        let guest = judge(&access, &head, address).unwrap();
        assert_eq!(guest.permissions, may);
        assert!(serves_key(&access, &guest, &[4; 32]) && !serves_key(&access, &guest, &[5; 32]));
        access.revoked_tokens = vec![token.id];
        assert_eq!(judge(&access, &head, address), Err(Denial::TokenRevoked));

        access.deny_addresses = vec![block_of("9.0.0.0/8")];
        assert_eq!(judge(&access, &head, address), Err(Denial::AddressDenied));
    }

    fn block_of(text: &str) -> crate::config::Block {
        crate::config::Block::parse(text).unwrap()
    }
}
