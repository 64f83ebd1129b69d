//! All settings, each with its name, its shape and what it means.

use super::values::{Size, Value, quoted};
use super::{Format, Level, Readers, Settings};

/// One setting.
pub(super) struct Setting {
    /// Where it is in the file, as `section.name`.
    pub name: &'static str,
    /// What it takes.
    pub shape: &'static str,
    /// What it means.
    pub help: &'static str,
    pub kind: Kind,
}

pub(super) enum Kind {
    /// Takes one word.
    One { set: fn(&mut Settings, &str) -> Result<(), String>, show: fn(&Settings) -> String },
    /// Takes none as a flag.
    Switch { set: fn(&mut Settings, &str) -> Result<(), String>, show: fn(&Settings) -> String },
    /// Takes any number of words.
    Many {
        clear: fn(&mut Settings),
        push: fn(&mut Settings, &str) -> Result<(), String>,
        show: fn(&Settings) -> String,
    },
}

impl Setting {
    /// Returns its value as TOML.
    pub(super) fn show(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::One { show, .. } | Kind::Switch { show, .. } | Kind::Many { show, .. } => show(settings),
        }
    }

    /// Returns its name as a flag.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.name.replace('.', "-"))
    }

    /// Returns its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace(['.', '-'], "_").to_ascii_uppercase())
    }
}

/// Returns a setting by its name in the file.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Begins the names in the environment.
pub(super) const PREFIX: &str = "HYPERTAB_RELAY_";

macro_rules! one {
    ($name:literal, $shape:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: $shape,
            help: $help,
            kind: Kind::One {
                set: |settings, text| {
                    settings.$($field)+ = Value::read(text)?;
                    Ok(())
                },
                show: |settings| Value::show(&settings.$($field)+),
            },
        }
    };
}

macro_rules! switch {
    ($name:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "",
            help: $help,
            kind: Kind::Switch {
                set: |settings, text| {
                    settings.$($field)+ = Value::read(text)?;
                    Ok(())
                },
                show: |settings| Value::show(&settings.$($field)+),
            },
        }
    };
}

macro_rules! many {
    ($name:literal, $shape:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: $shape,
            help: $help,
            kind: Kind::Many {
                clear: |settings| settings.$($field)+.clear(),
                push: |settings, text| {
                    settings.$($field)+.push(Value::read(text)?);
                    Ok(())
                },
                show: |settings| {
                    let shown: Vec<_> = settings.$($field)+.iter().map(Value::show).collect();
                    format!("[{}]", shown.join(", "))
                },
            },
        }
    };
}

/// A number of bytes in core's `usize`.
macro_rules! bytes {
    ($name:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "SIZE",
            help: $help,
            kind: Kind::One {
                set: |settings, text| {
                    let Size(size) = Value::read(text)?;
                    settings.$($field)+ = usize::try_from(size).map_err(|_| "a size that fits memory")?;
                    Ok(())
                },
                show: |settings| Size(settings.$($field)+ as u64).show(),
            },
        }
    };
}

/// A number of bytes, or none, in a quota.
macro_rules! quota_bytes {
    ($name:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "SIZE",
            help: $help,
            kind: Kind::One {
                set: |settings, text| {
                    let size: Option<Size> = Value::read(text)?;
                    settings.$($field)+ = size.map(|size| size.0);
                    Ok(())
                },
                show: |settings| settings.$($field)+.map(Size).show(),
            },
        }
    };
}

pub(super) static SETTINGS: &[Setting] = &[
    one!("listen", "HOST:PORT", "where WebSockets are accepted; port 0 takes a free one", listen),
    one!("udp", "HOST:PORT", "where the DHT node listens; by default 0.0.0.0 and a free port", udp),
    one!(
        "public-address",
        "HOST:PORT",
        "where the DHT node is reached from outside, without a firewall",
        public_address
    ),
    many!(
        "bootstrap",
        "HOST:PORT",
        "a DHT node to start from; by default those of the public DHT",
        bootstrap
    ),
    switch!("testnet", "start an isolated DHT on loopback and use it", testnet),
    switch!("allow-private", "send to private and loopback addresses too; implied by testnet", allow_private),
    switch!("serve-others", "store DHT records of others and pass their handshakes on", serve_others),
    switch!("stun", "answer STUN binding requests on the UDP port", stun),
    switch!(
        "allow-custodial",
        "serve clients that give their secret keys away, as upstream's do by default; the relay sees all they say",
        allow_custodial
    ),
    one!("state", "FILE", "where UDP port, known nodes and bans survive a restart", state),
    one!("drain", "TIME", "how long links with streams get to end when the relay stops", drain),
    one!("metrics", "WHO", "who may read /metrics: off, private (addresses) or all", metrics),
    one!("log.level", "LEVEL", "error, warn, info or debug", log.level),
    one!("log.format", "FORMAT", "text or json", log.format),
    switch!("log.addresses", "log addresses of clients", log.addresses),
    switch!("log.keys", "log public keys of clients", log.keys),
    one!(
        "tls.certificate",
        "FILE",
        "certificate chain (PEM); without it, put a proxy with TLS in front",
        tls.certificate
    ),
    one!("tls.key", "FILE", "private key of the certificate (PEM)", tls.key),
    one!("tls.reload", "TIME", "how often both files are looked at for changes", tls.reload),
    one!(
        "access.token-secret",
        "TEXT",
        "let in only clients with a token made with this secret",
        access.token_secret
    ),
    many!("access.revoked-tokens", "ID", "a token that is not taken any more", access.revoked_tokens),
    many!("access.allow-keys", "KEY", "a public key that is served; by default all are", access.allow_keys),
    many!("access.deny-keys", "KEY", "a public key that is not served", access.deny_keys),
    many!(
        "access.deny-addresses",
        "BLOCK",
        "addresses that are not served, like 192.0.2.0/24",
        access.deny_addresses
    ),
    many!(
        "access.origins",
        "ORIGIN",
        "a site whose pages are let in, like https://example.org or https://*.example.org; by default all",
        access.origins
    ),
    many!(
        "access.trusted-proxies",
        "BLOCK",
        "a proxy whose X-Forwarded-For is believed",
        access.trusted_proxies
    ),
    one!(
        "access.callback",
        "URL",
        "asked by POST about each client; lets it in with status 200",
        access.callback
    ),
    one!(
        "access.callback-timeout",
        "TIME",
        "how long that may take; nobody is let in without an answer",
        access.callback_timeout
    ),
    one!("ban.after", "N", "offences after which an address is banned", ban.after),
    one!("ban.window", "TIME", "time in which offences are counted", ban.window),
    one!("ban.time", "TIME", "how long an address is banned", ban.time),
    one!("per-link.streams", "N", "streams of one client", quotas.link.streams),
    one!("per-link.handshakes", "N", "those among them that are not open yet", quotas.link.handshakes),
    one!("per-link.listens", "N", "keys that one client listens on", quotas.link.listens),
    one!("per-link.topics", "N", "topics that one client announces", quotas.link.topics),
    one!(
        "per-link.lookups-per-minute",
        "N",
        "lookups and announces of one client",
        quotas.link.lookups_per_minute
    ),
    quota_bytes!(
        "per-link.bytes-per-second",
        "traffic of one client, each way",
        quotas.link.bytes_per_second
    ),
    quota_bytes!("per-link.bytes-burst", "more than that, for a moment", quotas.link.bytes_burst),
    quota_bytes!("per-link.bytes-per-day", "traffic of one client, both ways", quotas.link.bytes_per_day),
    one!("per-link.queries", "N", "searches of one client at once", limits.queries),
    one!("per-link.signatures", "N", "signatures that one client owes", limits.signatures),
    one!("per-link.requests-per-second", "N", "dials, listens and searches of one client", limits.per_second),
    one!("per-link.requests-burst", "N", "more than that, for a moment", limits.burst),
    one!(
        "per-link.requests-refused",
        "N",
        "requests turned down before the link is closed",
        limits.turned_down
    ),
    one!("per-link.message-size", "SIZE", "largest WebSocket message", message_size),
    bytes!("per-link.receive-buffer", "bytes from peers that wait for one client", limits.receive_buffer),
    bytes!(
        "per-link.send-buffer",
        "bytes to slow peers before one client is not read any more",
        limits.send_buffer
    ),
    bytes!("per-link.control-buffer", "bytes of answers that wait for one client", limits.control_buffer),
    one!(
        "per-link.request-timeout",
        "TIME",
        "until the HTTP request and the TLS handshake are complete",
        request_timeout
    ),
    one!(
        "per-link.handshake-timeout",
        "TIME",
        "until a client has introduced itself",
        limits.handshake_timeout
    ),
    one!(
        "per-link.idle-timeout",
        "TIME",
        "silence after which a client is gone; it is pinged every 15s",
        limits.idle_timeout
    ),
    one!(
        "per-link.answer-timeout",
        "TIME",
        "until a client has signed or named a connection",
        limits.answer_timeout
    ),
    one!(
        "per-link.blocked-timeout",
        "TIME",
        "until a peer that takes nothing is given up",
        limits.blocked_timeout
    ),
    one!("per-link.write-timeout", "TIME", "until a client that takes nothing is gone", write_timeout),
    one!("per-link.max-life", "TIME", "after which a client has to connect again", max_life),
    one!("per-address.links", "N", "clients from one address (IPv6: one /64)", quotas.address.links),
    one!(
        "per-address.links-per-second",
        "N",
        "new clients from one address",
        quotas.address.links_per_second
    ),
    one!("per-address.links-burst", "N", "more than that, for a moment", quotas.address.links_burst),
    one!("per-address.streams", "N", "streams of one address", quotas.address.streams),
    one!("per-address.handshakes", "N", "those among them that are not open yet", quotas.address.handshakes),
    one!("per-address.listens", "N", "keys that one address listens on", quotas.address.listens),
    one!("per-address.topics", "N", "topics that one address announces", quotas.address.topics),
    one!(
        "per-address.lookups-per-minute",
        "N",
        "lookups and announces of one address",
        quotas.address.lookups_per_minute
    ),
    quota_bytes!(
        "per-address.bytes-per-second",
        "traffic of one address, each way",
        quotas.address.bytes_per_second
    ),
    quota_bytes!("per-address.bytes-burst", "more than that, for a moment", quotas.address.bytes_burst),
    quota_bytes!(
        "per-address.bytes-per-day",
        "traffic of one address, both ways",
        quotas.address.bytes_per_day
    ),
    one!("per-key.links", "N", "clients with one key", quotas.key.links),
    one!("per-key.links-per-second", "N", "new clients with one key", quotas.key.links_per_second),
    one!("per-key.links-burst", "N", "more than that, for a moment", quotas.key.links_burst),
    one!("per-key.streams", "N", "streams of one key", quotas.key.streams),
    one!("per-key.handshakes", "N", "those among them that are not open yet", quotas.key.handshakes),
    one!("per-key.listens", "N", "keys that clients with one key listen on", quotas.key.listens),
    one!("per-key.topics", "N", "topics that one key announces", quotas.key.topics),
    one!(
        "per-key.lookups-per-minute",
        "N",
        "lookups and announces of one key",
        quotas.key.lookups_per_minute
    ),
    quota_bytes!("per-key.bytes-per-second", "traffic of one key, each way", quotas.key.bytes_per_second),
    quota_bytes!("per-key.bytes-burst", "more than that, for a moment", quotas.key.bytes_burst),
    quota_bytes!("per-key.bytes-per-day", "traffic of one key, both ways", quotas.key.bytes_per_day),
    one!(
        "total.requests",
        "N",
        "connections without a link: requests that are being read or answered",
        max_requests
    ),
    one!("total.links", "N", "clients", quotas.total.links),
    one!("total.links-per-second", "N", "new clients", quotas.total.links_per_second),
    one!("total.links-burst", "N", "more than that, for a moment", quotas.total.links_burst),
    one!("total.streams", "N", "streams", quotas.total.streams),
    one!("total.handshakes", "N", "those among them that are not open yet", quotas.total.handshakes),
    one!("total.listens", "N", "keys listened on", quotas.total.listens),
    one!("total.topics", "N", "topics announced", quotas.total.topics),
    one!("total.lookups-per-minute", "N", "lookups and announces", quotas.total.lookups_per_minute),
    quota_bytes!("total.bytes-per-second", "traffic, each way", quotas.total.bytes_per_second),
    quota_bytes!("total.bytes-burst", "more than that, for a moment", quotas.total.bytes_burst),
    quota_bytes!("total.bytes-per-day", "traffic, both ways", quotas.total.bytes_per_day),
];

macro_rules! words {
    ($kind:ty, $list:literal, $($word:literal => $value:expr),+) => {
        impl Value for $kind {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err($list.into()),
                }
            }

            fn show(&self) -> String {
                let words = [$(($value, $word)),+];
                let word = words.iter().find(|(value, _)| value == self).map_or("", |(_, word)| word);
                quoted(word)
            }
        }
    };
}

words!(Readers, "off, private or all", "off" => Readers::Off, "private" => Readers::Private, "all" => Readers::All);
words!(Level, "error, warn, info or debug",
    "error" => Level::Error, "warn" => Level::Warn, "info" => Level::Info, "debug" => Level::Debug);
words!(Format, "text or json", "text" => Format::Text, "json" => Format::Json);
