//! How values are written: the same words in the file, in the environment and in flags.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use hypertab_core::crypto::{encode_hex, parse_key};
use zeroize::Zeroizing;

/// Something that a setting holds.
pub(super) trait Value: Sized {
    /// Reads one word.
    ///
    /// # Errors
    ///
    /// Says what would be right, as the end of a sentence that begins with "takes".
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it as TOML.
    fn show(&self) -> String;
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A block of addresses, as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    bits: u8,
}

impl Block {
    /// Returns whether an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// A secret that is never shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

#[cfg(test)]
impl Block {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text)
    }
}

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// A public key: 64 hexadecimal digits or 52 letters of z-base-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

/// Where pages come from, in lower case: `https://example.org`, or `https://*.example.org` for all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub String);

/// An HTTP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Host and port.
    pub authority: String,
    /// Path with query.
    pub path: String,
}

/// An address of a server with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl(pub String);

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err("true or false".into()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! number {
    ($kind:ty) => {
        impl Value for $kind {
            fn read(text: &str) -> Result<Self, String> {
                match text.replace('_', "").parse() {
                    Ok(number @ 1..) => Ok(number),
                    _ => Err(format!("a number from 1 to {}", <$kind>::MAX)),
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}

number!(u32);
number!(u64);
number!(usize);

impl Value for Size {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || "a size like 65536, 64KiB, 1MiB or 5GB, not zero".to_string();
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.trim().replace('_', "").parse().map_err(|_| wrong())?;
        number.checked_mul(unit).filter(|size| *size > 0).map(Self).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => format!("\"{}{name}\"", self.0 / unit),
            None => self.0.to_string(),
        }
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || "a time like 500ms, 10s, 5m, 2h or 30d".to_string();
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let millis: u64 = match text.get(digits.len()..).unwrap_or_default() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
        let millis = number.checked_mul(millis).filter(|millis| (1..=MAX_MILLIS).contains(millis));
        millis.map(Self::from_millis).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.into_iter().find(|(unit, _)| millis >= *unit && millis % unit == 0) {
            Some((unit, name)) => format!("\"{}{name}\"", millis / unit),
            None => format!("\"{millis}ms\""),
        }
    }
}

impl<T: Value> Value for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "none" {
            return Ok(None);
        }
        T::read(text).map(Some).map_err(|right| format!("{right}, or \"none\""))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"none\"".into(), T::show)
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path".into()) } else { Ok(text.into()) }
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("localhost:").map_or(text.into(), |port| format!("127.0.0.1:{port}"));
        text.parse().map_err(|_| "an IP address with a port".into())
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for SocketAddrV4 {
    fn read(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("localhost:").map_or(text.into(), |port| format!("127.0.0.1:{port}"));
        text.parse().map_err(|_| "an IPv4 address with a port: the DHT has no others".into())
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Block {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || "an address or a block of them, like 10.0.0.0/8 or 2001:db8::/32".to_string();
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits <= most { Ok(Self { address, bits }) } else { Err(wrong()) }
    }

    fn show(&self) -> String {
        format!("\"{}/{}\"", self.address, self.bits)
    }
}

impl Value for Secret {
    fn read(text: &str) -> Result<Self, String> {
        if text.len() < MIN_SECRET {
            return Err(format!("at least {MIN_SECRET} bytes that nobody guesses"));
        }
        Ok(Self(Zeroizing::new(text.as_bytes().to_vec())))
    }

    fn show(&self) -> String {
        "\"(set, not shown)\"".into()
    }
}

impl Value for Origin {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            "what browsers send, like https://example.org or https://*.example.org, with a port unless it is the usual one".to_string()
        };
        let text = text.to_ascii_lowercase();
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let usual = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "/",
        };
        let is_other = host.ends_with(usual) || host.contains(['/', '?', '#', '@', ' ']);
        let has_stray = host.strip_prefix("*.").unwrap_or(host).contains('*');
        if scheme.is_empty() || host.is_empty() || is_other || has_stray {
            Err(wrong())
        } else {
            Ok(Self(text))
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for Key {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = |_| "a public key: 64 hexadecimal digits, or 52 letters of z-base-32".into();
        parse_key(text).map(Self).map_err(wrong)
    }

    fn show(&self) -> String {
        quoted(&encode_hex(&self.0))
    }
}

impl Value for HttpUrl {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || "an address like http://127.0.0.1:8080/admit, without TLS".to_string();
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !is_plain(rest) {
            return Err(wrong());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.into() } else { format!("{authority}:80") };
        Ok(Self { authority, path: path.into() })
    }

    fn show(&self) -> String {
        quoted(&format!("http://{}{}", self.authority, self.path))
    }
}

impl Value for HttpsUrl {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || "an address like https://acme.example.org/directory".to_string();
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let is_plain = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && !rest.starts_with('/') { Ok(Self(text.into())) } else { Err(wrong()) }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// Writes text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// About a thousand years.
const MAX_MILLIS: u64 = 31_536_000_000_000;

/// Bytes of a secret that signs tokens.
const MIN_SECRET: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_come_back_as_they_were() {
        for text in ["65537", "64KiB", "3MiB", "1GiB"] {
            assert_eq!(Size::read(text).unwrap().show().trim_matches('"'), text);
        }
        for text in ["1500ms", "10s", "90s", "5m", "2h", "30d"] {
            assert_eq!(Duration::read(text).unwrap().show().trim_matches('"'), text);
        }
        for wrong in ["", "0", "12 parsecs", "-1", "99999999999999999999"] {
            assert!(Size::read(wrong).is_err() && Duration::read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Option::<u32>::read("none"), Ok(None));
    }

    #[test]
    fn blocks_contain_their_addresses() {
        let holds = |block: &str, ip: &str| Block::read(block).unwrap().contains(ip.parse().unwrap());

        assert!(holds("10.0.0.0/8", "10.200.3.4") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("2001:db8::/32", "2001:db8:1::9") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(Block::read("10.0.0.0/33").is_err());
    }

    #[test]
    fn keys_are_read_in_both_spellings() {
        let hex = "00".repeat(32);

        assert_eq!(Key::read(&hex), Ok(Key([0; 32])));
        assert_eq!(Key::read(&"y".repeat(52)), Ok(Key([0; 32])));
        assert!(Key::read("00").is_err());
    }
}
