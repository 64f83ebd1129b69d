//! What an operator decides.
//!
//! One set of settings, from defaults, a TOML file, the environment and flags; each of them beats those before it. All
//! of them go through one table, so that a setting has one name and one spelling everywhere.

mod help;
mod sources;
mod table;
mod values;

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use table::SETTINGS;

use hypertab_core::dht::is_private;
use hypertab_core::dht_relay::{Limits, MAX_FRAME, Quota, Quotas};

pub use help::usage;
pub use sources::{Mistake, Sources};
pub use values::{Block, HttpUrl, HttpsUrl, Key, Origin, Secret, Size};

/// How to relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where WebSockets are accepted.
    pub listen: SocketAddr,
    /// Where the DHT node listens; any port of all interfaces if absent, the same one again with `state`.
    pub udp: Option<SocketAddrV4>,
    /// Where the DHT node is reached from outside, if that is known and nothing is in the way.
    pub public_address: Option<SocketAddrV4>,
    /// Nodes to start from, as `host:port`; those of the public DHT if empty.
    pub bootstrap: Vec<String>,
    /// Start a DHT of its own on loopback.
    pub testnet: bool,
    /// Send to private and loopback addresses as well.
    pub allow_private: bool,
    /// Store records of others and pass their handshakes on.
    pub serve_others: bool,
    /// Answer STUN on the UDP port.
    pub stun: bool,
    /// Serve clients that give their secret keys away.
    pub allow_custodial: bool,
    /// Be a blind relay for native peers that cannot reach each other.
    pub blind_relay: bool,
    /// How many of them at once.
    pub blind_relay_sessions: usize,
    /// Blind relays to go through where a peer is not reached otherwise.
    pub relay_through: Vec<Key>,
    /// Where to keep what survives a restart.
    pub state: Option<PathBuf>,
    /// How long links with streams get to end when the relay stops.
    pub drain: Duration,
    /// Who may read `/metrics`.
    pub metrics: Readers,
    /// What is written to standard error.
    pub log: Log,
    /// Encryption.
    pub tls: Tls,
    /// Certificates that are fetched.
    pub acme: Acme,
    /// Who is let in.
    pub access: Access,
    /// When addresses are banned.
    pub ban: Ban,
    /// Bounds of the protocol on each link.
    pub limits: Limits,
    /// Largest WebSocket message.
    pub message_size: Size,
    /// How long a request may take to come.
    pub request_timeout: Duration,
    /// How long a client may take no byte.
    pub write_timeout: Duration,
    /// How long a link may live.
    pub max_life: Option<Duration>,
    /// Connections without a link, at once: requests that are being read or answered.
    pub max_requests: usize,
    /// Bounds of what links, addresses, keys and everybody together may have.
    pub quotas: Quotas,
    /// Copies of cores.
    pub mirror: Mirror,
}

/// Copies of cores that are kept for those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where; without it, nothing is kept.
    pub directory: Option<PathBuf>,
    /// Who may ask.
    pub who: Askers,
    /// Keys that may ask, if only those may.
    pub keys: Vec<Key>,
    /// Whether copies can be found on the DHT.
    pub announce: bool,
    /// How long a copy is kept after it was asked for last.
    pub retention: Duration,
    /// Bytes of all copies.
    pub bytes: Size,
    /// Bytes of one copy.
    pub core_bytes: Size,
    /// Copies.
    pub cores: u64,
    /// Bytes for one key, and for one address.
    pub client_bytes: Size,
    /// Copies for one key, and for one address.
    pub client_cores: u64,
}

/// Who may ask for copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Askers {
    /// Whoever is a client of the relay at that moment.
    Clients,
    /// Those whose key is listed.
    Listed,
    /// Everybody who finds the mirror.
    All,
}

/// Who may read something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Off,
    /// Whoever comes from a private or loopback address.
    Private,
    /// Everybody.
    All,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What keeps the relay from working.
    Error,
    /// What an operator may want to change.
    Warn,
    /// What happens to the relay.
    Info,
    /// What happens to each link.
    Debug,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// In which form.
    pub format: Format,
    /// Whether with addresses of clients.
    pub addresses: bool,
    /// Whether with public keys of clients.
    pub keys: bool,
}

/// Encryption of the WebSockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM; without it, WebSockets are not encrypted.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload: Duration,
}

/// Certificates that are fetched from an authority, by the `tls-alpn-01` challenge of ACME (RFC 8737).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Names in the certificate; nothing is fetched if empty.
    pub domains: Vec<String>,
    /// Mail addresses of the operator.
    pub contact: Vec<String>,
    /// Where the authority is.
    pub directory: HttpsUrl,
    /// What its own certificate is judged by; what browsers trust if absent.
    pub root: Option<PathBuf>,
    /// Folder of account and certificate.
    pub cache: Option<PathBuf>,
}

/// Who is let in. All conditions that are set have to be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Signs tokens; with it, only clients with a token are let in.
    pub token_secret: Option<Secret>,
    /// Ids of tokens that are not taken any more.
    pub revoked_tokens: Vec<String>,
    /// Keys that are served; all if empty.
    pub allow_keys: Vec<Key>,
    /// Keys that are not.
    pub deny_keys: Vec<Key>,
    /// Addresses that are not served.
    pub deny_addresses: Vec<Block>,
    /// Origins of pages that are let in; all if empty.
    pub origins: Vec<Origin>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Block>,
    /// Decides about each client.
    pub callback: Option<HttpUrl>,
    /// How long it may take.
    pub callback_timeout: Duration,
}

/// When addresses are banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Offences within `window`; never if absent.
    pub after: Option<u32>,
    /// Time in which they are counted.
    pub window: Duration,
    /// How long.
    pub time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 49443)),
            udp: None,
            public_address: None,
            bootstrap: Vec::new(),
            testnet: false,
            allow_private: false,
            serve_others: true,
            stun: true,
            allow_custodial: false,
            blind_relay: false,
            blind_relay_sessions: 1024,
            relay_through: Vec::new(),
            state: None,
            drain: Duration::from_secs(10),
            metrics: Readers::Private,
            log: Log { level: Level::Info, format: Format::Text, addresses: false, keys: false },
            tls: Tls { certificate: None, key: None, reload: Duration::from_secs(60) },
            acme: Acme {
                domains: Vec::new(),
                contact: Vec::new(),
                directory: HttpsUrl(LETS_ENCRYPT.into()),
                root: None,
                cache: None,
            },
            access: Access {
                token_secret: None,
                revoked_tokens: Vec::new(),
                allow_keys: Vec::new(),
                deny_keys: Vec::new(),
                deny_addresses: Vec::new(),
                origins: Vec::new(),
                trusted_proxies: Vec::new(),
                callback: None,
                callback_timeout: Duration::from_secs(3),
            },
            ban: Ban {
                after: Some(100),
                window: Duration::from_secs(10 * 60),
                time: Duration::from_secs(60 * 60),
            },
            limits: Limits::default(),
            message_size: Size(MAX_FRAME as u64),
            request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_life: None,
            max_requests: 1024,
            quotas: Quotas::default(),
            mirror: Mirror {
                directory: None,
                who: Askers::Clients,
                keys: Vec::new(),
                announce: true,
                retention: Duration::from_secs(30 * 24 * 60 * 60),
                bytes: Size(10 << 30),
                core_bytes: Size(1 << 30),
                cores: 10_000,
                client_bytes: Size(2 << 30),
                client_cores: 256,
            },
        }
    }
}

impl Settings {
    /// Returns what does not go together, as setting and sentence, and completes what follows from others.
    fn settle(&mut self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut say = |name, sentence: &str| wrong.push((name, sentence.to_string()));
        if self.testnet && !self.bootstrap.is_empty() {
            say("bootstrap", "makes no sense with testnet, which is a network of its own");
        }
        for node in &self.bootstrap {
            let parts = node.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(parts, Some((host, Ok(1..))) if !host.is_empty()) {
                say("bootstrap", &format!("takes a host with a port, not \"{node}\""));
            }
        }
        if self.testnet && self.udp.is_some() {
            say("udp", "makes no sense with testnet, which stays on loopback");
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let missing = if self.tls.key.is_none() { "tls.key" } else { "tls.certificate" };
            say(missing, "is missing: encryption takes both a certificate and its key");
        }
        let acme = &self.acme;
        if acme.domains.is_empty() {
            for (name, is_set) in [
                ("acme.contact", !acme.contact.is_empty()),
                ("acme.root", acme.root.is_some()),
                ("acme.cache", acme.cache.is_some()),
            ] {
                if is_set {
                    say(name, "has no effect without acme.domains");
                }
            }
        } else if self.tls.certificate.is_some() || self.tls.key.is_some() {
            say("acme.domains", "makes no sense with tls.certificate, which is a certificate already");
        } else if acme.cache.is_none() {
            say("acme.cache", "is missing: authorities refuse who asks again with every start");
        }
        if self.message_size.0 > MAX_FRAME as u64 {
            say("per-link.message-size", "is more than 1MiB, the most that clients of this protocol send");
        }
        if self.message_size.0 < MIN_MESSAGE {
            say("per-link.message-size", "is less than 4KiB, which some messages need");
        }
        if !self.access.revoked_tokens.is_empty() && self.access.token_secret.is_none() {
            say("access.revoked-tokens", "makes no sense without access.token-secret");
        }
        if let Some(public) = self.public_address {
            let port = public.port();
            if port == 0 || public.ip().is_unspecified() || public.ip().is_multicast() {
                say("public-address", &format!("takes the address of one host with a port, not {public}"));
            } else if is_private(public.ip().octets()) && !self.allow_private && !self.testnet {
                let sentence = format!("is in a private network ({public}), which takes allow-private");
                say("public-address", &sentence);
            }
            if self.udp.is_none_or(|udp| udp.port() == 0) {
                say("public-address", &format!("needs udp with a fixed port, most likely 0.0.0.0:{port}"));
            }
        }
        for (scope, quota) in [
            ("per-link", &self.quotas.link),
            ("per-address", &self.quotas.address),
            ("per-key", &self.quotas.key),
            ("total", &self.quotas.total),
        ] {
            if let Some(name) = burst_without_rate(scope, quota) {
                say(name, "has no effect without the rate it belongs to");
            }
        }
        let Mirror { directory, who, keys, .. } = &self.mirror;
        if directory.is_some() && (*who == Askers::Listed) == keys.is_empty() {
            let sentence = if keys.is_empty() {
                "is empty: with mirror.who = \"listed\" nobody could ask for a copy"
            } else {
                "has no effect unless mirror.who is \"listed\""
            };
            say("mirror.keys", sentence);
        }
        self.allow_private |= self.testnet;
        wrong
    }
}

impl Settings {
    /// Takes over what a running relay cannot change from the settings in force, and returns the names of the settings
    /// that have changed and of those that would have: those take a restart.
    pub fn keep_fixed(&mut self, old: &Self) -> (Vec<&'static str>, Vec<&'static str>) {
        let changed: Vec<_> = SETTINGS.iter().filter(|setting| !(setting.is_same)(old, self)).collect();
        self.listen = old.listen;
        self.udp = old.udp;
        self.public_address = old.public_address;
        self.bootstrap.clone_from(&old.bootstrap);
        self.testnet = old.testnet;
        self.allow_private = old.allow_private;
        self.serve_others = old.serve_others;
        self.stun = old.stun;
        self.allow_custodial = old.allow_custodial;
        self.blind_relay = old.blind_relay;
        self.blind_relay_sessions = old.blind_relay_sessions;
        self.relay_through.clone_from(&old.relay_through);
        self.state.clone_from(&old.state);
        self.log.clone_from(&old.log);
        self.acme.clone_from(&old.acme);
        self.mirror.directory.clone_from(&old.mirror.directory);
        self.mirror.announce = old.mirror.announce;
        if self.tls.certificate.is_some() != old.tls.certificate.is_some() {
            self.tls.clone_from(&old.tls);
        }
        self.tls.reload = old.tls.reload;
        let (fixed, applied) =
            changed.into_iter().partition::<Vec<_>, _>(|setting| (setting.is_same)(old, self));
        let names = |settings: Vec<&table::Setting>| settings.iter().map(|setting| setting.name).collect();
        (names(applied), names(fixed))
    }
}

/// Reads a time as settings have it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    values::Value::read(text)
}

/// Reads a public key as settings have it.
pub(crate) fn key(text: &str) -> Result<[u8; 32], String> {
    let Key(key) = values::Value::read(text)?;
    Ok(key)
}

fn burst_without_rate(scope: &str, quota: &Quota) -> Option<&'static str> {
    let links = quota.links_burst.is_some() && quota.links_per_second.is_none();
    let bytes = quota.bytes_burst.is_some() && quota.bytes_per_second.is_none();
    let suffix = if links {
        "links-burst"
    } else if bytes {
        "bytes-burst"
    } else {
        return None;
    };
    table::find(&format!("{scope}.{suffix}")).map(|setting| setting.name)
}

/// The authority that most servers use.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Room for the largest message that is not data: a handshake with addresses.
const MIN_MESSAGE: u64 = 4096;
