//! All settings, each with its name, its shape and what it means.

use std::sync::LazyLock;

use super::values::{Size, Value, quoted};
use super::{Askers, Format, Level, Readers, Settings};

/// One setting.
pub(super) struct Setting {
    /// Where it is in the file, as `section.name`.
    pub name: &'static str,
    /// What it takes.
    pub shape: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Tells whether two sets of settings agree on it.
    pub is_same: fn(&Settings, &Settings) -> bool,
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
    ($name:expr, $shape:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: $shape,
            help: $help,
            is_same: |one, other| one.$($field)+ == other.$($field)+,
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
    ($name:expr, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "",
            help: $help,
            is_same: |one, other| one.$($field)+ == other.$($field)+,
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
    ($name:expr, $shape:literal, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: $shape,
            help: $help,
            is_same: |one, other| one.$($field)+ == other.$($field)+,
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
    ($name:expr, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "SIZE",
            help: $help,
            is_same: |one, other| one.$($field)+ == other.$($field)+,
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
    ($name:expr, $help:literal, $($field:tt)+) => {
        Setting {
            name: $name,
            shape: "SIZE",
            help: $help,
            is_same: |one, other| one.$($field)+ == other.$($field)+,
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

/// New links of an account.
macro_rules! links {
    ($scope:literal, $($field:tt)+) => {
        [
            one!(concat!($scope, ".links"), "N", "clients", $($field)+.links),
            one!(concat!($scope, ".links-per-second"), "N", "new clients", $($field)+.links_per_second),
            one!(concat!($scope, ".links-burst"), "N", "more than that, for a moment", $($field)+.links_burst),
        ]
    };
}

/// What an account may hold and use up.
macro_rules! quota {
    ($scope:literal, $($field:tt)+) => {
        [
            one!(concat!($scope, ".streams"), "N", "streams", $($field)+.streams),
            one!(
                concat!($scope, ".handshakes"), "N", "those among them that are not open yet", $($field)+.handshakes
            ),
            one!(concat!($scope, ".listens"), "N", "keys listened on", $($field)+.listens),
            one!(concat!($scope, ".topics"), "N", "topics announced", $($field)+.topics),
            one!(
                concat!($scope, ".lookups-per-minute"), "N", "lookups, announces and other queries", $($field)+.lookups_per_minute
            ),
            quota_bytes!(concat!($scope, ".bytes-per-second"), "traffic, each way", $($field)+.bytes_per_second),
            quota_bytes!(concat!($scope, ".bytes-burst"), "more than that, for a moment", $($field)+.bytes_burst),
            quota_bytes!(concat!($scope, ".bytes-per-day"), "traffic, both ways", $($field)+.bytes_per_day),
        ]
    };
}

/// All settings, section by section.
pub(super) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut settings = general();
    settings.extend(quota!("per-link", quotas.link));
    settings.extend(per_link());
    settings.extend(links!("per-address", quotas.address));
    settings.extend(quota!("per-address", quotas.address));
    settings.extend(links!("per-key", quotas.key));
    settings.extend(quota!("per-key", quotas.key));
    settings.push(one!(
        "total.requests",
        "N",
        "connections without a link: requests that are being read or answered",
        max_requests
    ));
    settings.push(bytes!(
        "total.resume-bytes",
        "bytes that are kept for clients that come back; who has them unanswered for longest may not",
        limits.resume_bytes
    ));
    settings.extend(links!("total", quotas.total));
    settings.extend(quota!("total", quotas.total));
    settings.extend(mirror());
    settings
});

fn general() -> Vec<Setting> {
    vec![
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
        switch!(
            "allow-private",
            "send to private and loopback addresses too; implied by testnet",
            allow_private
        ),
        switch!("serve-others", "store DHT records of others and pass their handshakes on", serve_others),
        switch!("stun", "answer STUN binding requests on the UDP port", stun),
        switch!(
            "allow-custodial",
            "serve clients that give their secret keys away, as upstream's do by default; the relay sees all they say",
            allow_custodial
        ),
        switch!("blind-relay", "be a blind relay for native peers that cannot reach each other", blind_relay),
        one!("blind-relay-sessions", "N", "how many of them at once", blind_relay_sessions),
        many!(
            "relay-through",
            "KEY",
            "a blind relay to go through while a peer is not reached directly",
            relay_through
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
        many!(
            "acme.domains",
            "NAME",
            "a name of this relay that a certificate is fetched for (ACME, by TLS on the port of the WebSockets)",
            acme.domains
        ),
        many!(
            "acme.contact",
            "ADDRESS",
            "where the authority may write to, as you@example.org",
            acme.contact
        ),
        one!("acme.directory", "URL", "the authority; by default Let's Encrypt", acme.directory),
        one!("acme.root", "FILE", "certificate (PEM) of an authority that is not public", acme.root),
        one!("acme.cache", "DIR", "where account and certificate survive a restart", acme.cache),
        one!(
            "access.token-secret",
            "TEXT",
            "let in only clients with a token made with this secret",
            access.token_secret
        ),
        many!("access.revoked-tokens", "ID", "a token that is not taken any more", access.revoked_tokens),
        many!(
            "access.allow-keys",
            "KEY",
            "a public key that is served; by default all are",
            access.allow_keys
        ),
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
    ]
}

fn per_link() -> Vec<Setting> {
    vec![
        one!("per-link.queries", "N", "searches of one client at once", limits.queries),
        one!("per-link.signatures", "N", "signatures that one client owes", limits.signatures),
        one!(
            "per-link.requests-per-second",
            "N",
            "dials, listens and searches of one client",
            limits.per_second
        ),
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
        one!(
            "per-link.resume-grace",
            "TIME",
            "for which the streams of a client whose WebSocket broke wait for it",
            limits.resume_grace
        ),
        one!("per-link.max-life", "TIME", "after which a client has to connect again", max_life),
    ]
}

fn mirror() -> Vec<Setting> {
    vec![
        one!(
            "mirror.directory",
            "FOLDER",
            "where copies of cores are kept; nothing is kept without it",
            mirror.directory
        ),
        one!(
            "mirror.who",
            "WHO",
            "who may ask for a copy: clients of this relay, listed keys, or all who find it",
            mirror.who
        ),
        many!("mirror.keys", "KEY", "a key that may ask, with mirror.who listed", mirror.keys),
        switch!("mirror.announce", "let copies be found on the DHT, if who asks wants it", mirror.announce),
        one!(
            "mirror.retention",
            "TIME",
            "how long a copy is kept after it was asked for last",
            mirror.retention
        ),
        one!("mirror.bytes", "SIZE", "all copies; a block counts 128 bytes more than it has", mirror.bytes),
        one!("mirror.core-bytes", "SIZE", "one copy", mirror.core_bytes),
        one!("mirror.cores", "N", "copies", mirror.cores),
        one!("mirror.client-bytes", "SIZE", "copies for one key, and for one address", mirror.client_bytes),
        one!("mirror.client-cores", "N", "copies for one key, and for one address", mirror.client_cores),
    ]
}

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
words!(Askers, "clients, listed or all",
    "clients" => Askers::Clients, "listed" => Askers::Listed, "all" => Askers::All);
words!(Format, "text or json", "text" => Format::Text, "json" => Format::Json);
