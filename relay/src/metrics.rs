//! Figures, for Prometheus and for people.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use hypertab_core::dht::{Persistent, blind_relay};
use hypertab_core::dht_relay::{Bridge, Counters, Figures, Refusal};
use hypertab_core::udx::Totals;

use crate::access::Denial;
use crate::mirror;

/// What was counted since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) started: Instant,
    pub(crate) links: Cell<u64>,
    pub(crate) connections: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    pub(crate) messages_in: Cell<u64>,
    pub(crate) messages_out: Cell<u64>,
    pub(crate) throttled: Cell<u64>,
    pub(crate) stun_answered: Cell<u64>,
    pub(crate) stun_ignored: Cell<u64>,
    pub(crate) offences: Cell<u64>,
    /// Requests and links that were turned away, by reason.
    refusals: RefCell<BTreeMap<&'static str, u64>>,
}

/// What there is at one moment.
pub(crate) struct Snapshot {
    pub(crate) figures: Figures,
    pub(crate) blind_relay: blind_relay::Figures,
    /// What is stored for others: topic records, servers, mutable and immutable values, and what renews a record.
    pub(crate) records: [usize; 5],
    pub(crate) counters: Counters,
    pub(crate) udx: Totals,
    pub(crate) nodes: usize,
    pub(crate) is_bootstrapped: bool,
    pub(crate) is_firewalled: bool,
    pub(crate) is_persistent: bool,
    pub(crate) memory: u64,
    pub(crate) bans: usize,
    pub(crate) is_draining: bool,
}

impl Snapshot {
    pub(crate) fn take(bridge: &Bridge, bans: usize, is_draining: bool) -> Self {
        let node = bridge.endpoint().node();
        Self {
            figures: bridge.figures(),
            blind_relay: bridge.endpoint().blind_relay_figures(),
            records: bridge.endpoint().store().map(Persistent::sizes).unwrap_or_default(),
            counters: bridge.counters().clone(),
            udx: bridge.endpoint().stream_totals(),
            nodes: node.known(),
            is_bootstrapped: node.is_bootstrapped(),
            is_firewalled: node.is_firewalled(),
            is_persistent: !node.is_ephemeral(),
            memory: resident_memory().unwrap_or_default(),
            bans,
            is_draining,
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let zero = || Cell::new(0);
        // All reasons from the start: a rate of something that was never there is no rate.
        let links = Refusal::ALL.iter().map(|refusal| refusal.name());
        let requests = Denial::ALL.iter().map(|denial| denial.name());
        let refusals = links.chain(requests).chain(UNHEARD).map(|reason| (reason, 0)).collect();
        Self {
            started: Instant::now(),
            links: zero(),
            connections: zero(),
            bytes_in: zero(),
            bytes_out: zero(),
            messages_in: zero(),
            messages_out: zero(),
            throttled: zero(),
            stun_answered: zero(),
            stun_ignored: zero(),
            offences: zero(),
            refusals: RefCell::new(refusals),
        }
    }

    /// Counts somebody who was turned away.
    pub(crate) fn refused(&self, reason: &'static str) {
        *self.refusals.borrow_mut().entry(reason).or_default() += 1;
    }

    /// Returns how many were.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.borrow().values().sum()
    }

    /// Writes all figures as Prometheus reads them.
    pub(crate) fn render(&self, now: &Snapshot, mirror: Option<&mirror::Figures>) -> String {
        let mut page = Page(String::new());
        let Snapshot { figures, counters, udx, .. } = now;
        let info = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        page.family("build_info", "gauge", "Version that runs", &[(&info, 1.0)]);
        page.one("uptime_seconds", "gauge", "Time since the start", self.started.elapsed().as_secs_f64());
        page.one("resident_memory_bytes", "gauge", "Memory of the process", as_f64(now.memory));
        page.one(
            "ready",
            "gauge",
            "1 while new clients are welcome",
            flag(now.is_bootstrapped && !now.is_draining),
        );
        page.one("connections_total", "counter", "TCP connections accepted", as_f64(self.connections.get()));
        page.one("links", "gauge", "Links, those that are held included", figures.links as f64);
        page.one(
            "links_held",
            "gauge",
            "Links whose WebSocket broke and whose client may come back",
            figures.held as f64,
        );
        page.one(
            "resumed_total",
            "counter",
            "Links that went on over another WebSocket",
            as_f64(counters.resumed),
        );
        page.one(
            "resume_expired_total",
            "counter",
            "Links whose client did not come back in time",
            as_f64(counters.resume_expired),
        );
        page.one(
            "resume_bytes",
            "gauge",
            "Bytes that are kept for clients that come back",
            figures.kept as f64,
        );
        page.one(
            "resume_lost_total",
            "counter",
            "Links that could not be gone on with for a while, because too much was kept",
            as_f64(counters.resume_lost),
        );
        page.one("links_total", "counter", "WebSockets opened", as_f64(self.links.get()));
        page.one("streams", "gauge", "Streams between clients and peers", as_f64(figures.streams));
        page.one("streams_half_open", "gauge", "Streams that are not open yet", as_f64(figures.half_open));
        page.one("listens", "gauge", "Keys listened on", as_f64(figures.servers));
        let blind_relay::Figures { sessions, pairs, refused } = now.blind_relay;
        page.one("blind_relay_sessions", "gauge", "Native peers at the blind relay", sessions as f64);
        page.one("blind_relay_pairs", "gauge", "Pairs of them whose packets it forwards", pairs as f64);
        page.one(
            "blind_relay_refused_total",
            "counter",
            "Native peers for whom there was no room",
            as_f64(refused),
        );
        page.one("blind_relay_bytes_total", "counter", "Bytes that it forwarded", as_f64(counters.forwarded));
        page.one("topics", "gauge", "Topics announced in the last 20 minutes", as_f64(figures.topics));
        page.one("queries", "gauge", "DHT searches that run", figures.queries as f64);
        page.one(
            "accounts",
            "gauge",
            "Links, addresses and keys whose use of the relay is remembered",
            figures.accounts as f64,
        );
        page.one("queued_bytes", "gauge", "Bytes that wait for clients", figures.queued as f64);
        page.family(
            "bytes_total",
            "counter",
            "Bytes of WebSocket messages",
            &[
                ("{direction=\"in\"}", as_f64(self.bytes_in.get())),
                ("{direction=\"out\"}", as_f64(self.bytes_out.get())),
            ],
        );
        page.family(
            "messages_total",
            "counter",
            "WebSocket messages",
            &[
                ("{direction=\"in\"}", as_f64(self.messages_in.get())),
                ("{direction=\"out\"}", as_f64(self.messages_out.get())),
            ],
        );
        page.one(
            "throttled_total",
            "counter",
            "Times a link had to wait for its bytes per second",
            as_f64(self.throttled.get()),
        );
        page.family(
            "handshakes_total",
            "counter",
            "Handshakes by side and outcome",
            &[
                ("{side=\"dial\",outcome=\"started\"}", as_f64(counters.dials)),
                ("{side=\"dial\",outcome=\"connected\"}", as_f64(counters.dials_connected)),
                ("{side=\"dial\",outcome=\"failed\"}", as_f64(counters.dials_failed)),
                ("{side=\"listen\",outcome=\"started\"}", as_f64(counters.accepts)),
                ("{side=\"listen\",outcome=\"connected\"}", as_f64(counters.accepts_connected)),
                ("{side=\"listen\",outcome=\"failed\"}", as_f64(counters.accepts_failed)),
            ],
        );
        page.family(
            "dht_queries_total",
            "counter",
            "DHT operations asked for by clients",
            &[
                ("{kind=\"lookup\"}", as_f64(counters.lookups)),
                ("{kind=\"announce\"}", as_f64(counters.announces)),
                ("{kind=\"unannounce\"}", as_f64(counters.unannounces)),
                ("{kind=\"query\"}", as_f64(counters.queries)),
                ("{kind=\"write\"}", as_f64(counters.writes)),
            ],
        );
        page.one("dht_nodes", "gauge", "DHT nodes known", now.nodes as f64);
        page.one(
            "dht_firewalled",
            "gauge",
            "1 while nobody reaches the UDP port uninvited",
            flag(now.is_firewalled),
        );
        page.one("dht_persistent", "gauge", "1 while records of others are stored", flag(now.is_persistent));
        let kinds = ["topic", "server", "mutable", "immutable", "refresh"];
        let records = kinds.iter().zip(now.records);
        page.family(
            "dht_records",
            "gauge",
            "What is stored for others",
            &records.map(|(kind, count)| (format!("{{kind=\"{kind}\"}}"), count as f64)).collect::<Vec<_>>(),
        );
        page.one("udx_streams", "gauge", "UDX streams", udx.streams as f64);
        page.one("udx_retransmissions_total", "counter", "UDX packets sent again", as_f64(udx.retransmits));
        page.one("udx_queued_bytes", "gauge", "Bytes that wait for peers", udx.queued as f64);
        page.one(
            "udx_rtt_seconds",
            "gauge",
            "Mean round trip to peers",
            udx.rtt.map_or(0.0, |rtt| rtt.as_secs_f64()),
        );
        page.family(
            "udp_dropped_total",
            "counter",
            "Datagrams dropped for the safety of others",
            &[
                ("{reason=\"private_in\"}", as_f64(counters.private_in)),
                ("{reason=\"private_out\"}", as_f64(counters.private_out)),
                ("{reason=\"flood_in\"}", as_f64(counters.excess_in)),
                ("{reason=\"unanswered_out\"}", as_f64(counters.excess_out)),
            ],
        );
        page.family(
            "stun_total",
            "counter",
            "STUN requests",
            &[
                ("{outcome=\"answered\"}", as_f64(self.stun_answered.get())),
                ("{outcome=\"ignored\"}", as_f64(self.stun_ignored.get())),
            ],
        );
        page.one(
            "offences_total",
            "counter",
            "Offences that count towards a ban",
            as_f64(self.offences.get()),
        );
        page.one("bans", "gauge", "Addresses banned", now.bans as f64);
        let refusals = self.refusals.borrow();
        let refusals =
            refusals.iter().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), as_f64(*count)));
        page.family(
            "refusals_total",
            "counter",
            "Connections turned away or closed, by reason",
            &refusals.collect::<Vec<_>>(),
        );
        let pairs = Counters::TURNED_DOWN
            .iter()
            .flat_map(|(resource, scopes)| scopes.iter().map(move |scope| (*resource, *scope)));
        let turned_down = pairs.map(|(resource, scope)| {
            let count = counters.turned_down.get(&(resource, scope)).copied().unwrap_or_default();
            (format!("{{resource=\"{resource}\",scope=\"{scope}\"}}"), as_f64(count))
        });
        page.family(
            "turned_down_total",
            "counter",
            "Requests and forwarded packets over a quota",
            &turned_down.collect::<Vec<_>>(),
        );
        if let Some(mirror) = mirror {
            page.mirror(mirror);
        }
        page.0
    }
}

/// Counts one more, or several.
pub(crate) fn add(cell: &Cell<u64>, count: usize) {
    cell.set(cell.get().saturating_add(count as u64));
}

struct Page(String);

impl Page {
    fn mirror(&mut self, figures: &mirror::Figures) {
        self.one("mirror_cores", "gauge", "Copies of cores kept", as_f64(figures.cores.get()));
        self.one("mirror_bytes", "gauge", "What copies count for", as_f64(figures.bytes.get()));
        self.one("mirror_peers", "gauge", "Connections to the mirror", figures.peers.get() as f64);
        self.one("mirror_open_cores", "gauge", "Copies that are in use", figures.open.get() as f64);
        self.family(
            "mirror_bytes_total",
            "counter",
            "Bytes of blocks",
            &[
                ("{direction=\"in\"}", as_f64(figures.stored.get())),
                ("{direction=\"out\"}", as_f64(figures.served.get())),
            ],
        );
        let counts = |counts: &BTreeMap<&str, u64>, label: &str| {
            let shown = counts.iter().map(|(word, n)| (format!("{{{label}=\"{word}\"}}"), as_f64(*n)));
            shown.collect::<Vec<_>>()
        };
        let asks = counts(&figures.asks.borrow(), "outcome");
        self.family("mirror_requests_total", "counter", "Requests for copies, by what became of them", &asks);
        let dropped = counts(&figures.dropped.borrow(), "reason");
        self.family("mirror_dropped_total", "counter", "Copies that are gone", &dropped);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help, &[("", value)]);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, values: &[(impl AsRef<str>, f64)]) {
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}.\n# TYPE {PREFIX}{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{PREFIX}{name}{} {value}", labels.as_ref());
        }
    }
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// Returns the memory of the process in bytes, where the system tells.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Reasons of what ends before anybody has asked for a link, or because nobody listens.
const UNHEARD: [&str; 5] =
    ["bad_request", "request_timeout", "tls", "too_many_requests_open", "write_timeout"];

const PREFIX: &str = "hypertab_relay_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_that_prometheus_reads() {
        let metrics = Metrics::new();
        metrics.refused("custodial");
        let mut counters = Counters::default();
        counters.turned_down.insert(("streams", "link"), 3);
        let now = Snapshot {
            figures: Figures::default(),
            blind_relay: blind_relay::Figures::default(),
            records: [0; 5],
            counters,
            udx: Totals::default(),
            nodes: 5,
            is_bootstrapped: true,
            is_firewalled: false,
            is_persistent: true,
            memory: 1,
            bans: 0,
            is_draining: false,
        };

        let text = metrics.render(&now, Some(&mirror::Figures::default()));

        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(PREFIX), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        assert!(text.contains("\nhypertab_relay_refusals_total{reason=\"custodial\"} 1\n"));
        assert!(text.contains("\nhypertab_relay_turned_down_total{resource=\"streams\",scope=\"link\"} 3\n"));
        assert!(text.contains("\nhypertab_relay_ready 1\n"));
        assert!(text.contains("\nhypertab_relay_mirror_requests_total{outcome=\"full\"} 0\n"));
    }
}
