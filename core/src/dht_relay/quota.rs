//! How much a link, an address, a key and everybody together may have of a relay. The [`ledger`](super::ledger) counts it.

use super::bucket::Rate;
use crate::time::Duration;

/// Bounds of one account; `None` leaves something unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Links at once.
    pub links: Option<u64>,
    /// New links per second.
    pub links_per_second: Option<u64>,
    /// New links at once; as many as per second if absent.
    pub links_burst: Option<u64>,
    /// Streams at once, from the first message of a handshake to the end.
    pub streams: Option<u64>,
    /// Streams among them that are not open: handshakes and dials in flight.
    pub handshakes: Option<u64>,
    /// Keys listened on at once.
    pub listens: Option<u64>,
    /// Topics announced in the last 20 minutes.
    pub topics: Option<u64>,
    /// Lookups, announces, unannounces and other queries per minute.
    pub lookups_per_minute: Option<u64>,
    /// Bytes per second, each way.
    pub bytes_per_second: Option<u64>,
    /// Bytes at once, each way; as many as per second if absent.
    pub bytes_burst: Option<u64>,
    /// Bytes per day, both ways together.
    pub bytes_per_day: Option<u64>,
}

/// The bounds of all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Of each link; `links` and their rate mean nothing here.
    pub link: Quota,
    /// Of all links from one address.
    pub address: Quota,
    /// Of all links with one key.
    pub key: Quota,
    /// Of all links.
    pub total: Quota,
}

impl Default for Quotas {
    fn default() -> Self {
        let link = Quota {
            streams: Some(512),
            handshakes: Some(64),
            listens: Some(32),
            topics: Some(256),
            lookups_per_minute: Some(600),
            ..Quota::default()
        };
        let address = Quota {
            links: Some(256),
            links_per_second: Some(20),
            links_burst: Some(200),
            streams: Some(4096),
            handshakes: Some(256),
            listens: Some(512),
            topics: Some(4096),
            lookups_per_minute: Some(6_000),
            ..Quota::default()
        };
        let total = Quota { links: Some(10_000), handshakes: Some(4096), ..Quota::default() };
        Self { link, address, key: address, total }
    }
}

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One link's.
    Link,
    /// An address's.
    Address,
    /// A key's.
    Key,
    /// Everybody's.
    Total,
}

impl Scope {
    /// Returns it as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Address => "address",
            Self::Key => "key",
            Self::Total => "total",
        }
    }
}

/// What a link holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// See [`Quota::streams`].
    Streams,
    /// See [`Quota::handshakes`].
    Handshakes,
    /// See [`Quota::listens`].
    Listens,
    /// See [`Quota::topics`].
    Topics,
}

impl Resource {
    /// Returns it as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Handshakes => "handshakes",
            Self::Listens => "listens",
            Self::Topics => "topics",
        }
    }
}

/// How much a link or an account holds of each [`Resource`].
pub(super) type Usage = [u64; 4];

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// What may become of bytes that were charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The next ones may follow after this time.
    Wait(Duration),
    /// An account has used what it may use in a day.
    Spent(Scope),
}

/// Why a link cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are too many links in this account.
    Links(Scope),
    /// They come too fast.
    Rate(Scope),
    /// The account has used what it may use in a day.
    Spent(Scope),
}

impl Quotas {
    pub(super) const fn of(&self, scope: Scope) -> &Quota {
        match scope {
            Scope::Link => &self.link,
            Scope::Address => &self.address,
            Scope::Key => &self.key,
            Scope::Total => &self.total,
        }
    }
}

impl Quota {
    pub(super) fn link_rate(&self) -> Option<Rate> {
        let per_second = self.links_per_second?;
        Some(Rate { burst: self.links_burst.unwrap_or(per_second), per_second, seconds: 1 })
    }

    pub(super) fn lookup_rate(&self) -> Option<Rate> {
        let per_minute = self.lookups_per_minute?;
        Some(Rate { burst: per_minute, per_second: per_minute, seconds: 60 })
    }

    pub(super) fn bounds_bytes(&self) -> bool {
        self.bytes_per_second.is_some() || self.bytes_per_day.is_some()
    }

    pub(super) fn byte_rate(&self) -> Option<Rate> {
        let per_second = self.bytes_per_second?;
        Some(Rate { burst: self.bytes_burst.unwrap_or(per_second), per_second, seconds: 1 })
    }
}
