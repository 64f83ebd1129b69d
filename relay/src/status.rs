//! The page that a person sees who opens the address of a relay.

use std::fmt::Write as _;

use crate::http::Answer;
use crate::hub::Hub;

/// Writes the page.
pub(crate) fn page(hub: &Hub) -> Answer {
    let now = hub.snapshot();
    let metrics = &hub.metrics;
    let (state, word) = match (now.is_draining, now.is_bootstrapped) {
        (true, _) => ("busy", "going to stop, no new clients"),
        (false, true) => ("good", "ready"),
        (false, false) => ("busy", "looking for the DHT"),
    };
    let access = &hub.settings().access;
    let mut entry = Vec::new();
    if access.token_secret.is_some() {
        entry.push("a token");
    }
    if !access.allow_keys.is_empty() {
        entry.push("a listed key");
    }
    if !access.origins.is_empty() {
        entry.push("pages of listed origins");
    }
    if access.callback.is_some() {
        entry.push("the operator's consent");
    }
    let entry =
        if entry.is_empty() { "open to everybody".into() } else { format!("needs {}", entry.join(", ")) };
    let firewall = if now.is_firewalled { "not reachable uninvited" } else { "reachable" };
    let rows = [
        ("Clients", now.figures.links.to_string()),
        ("Streams to peers", now.figures.streams.to_string()),
        ("Keys listened on", now.figures.servers.to_string()),
        ("Topics announced", now.figures.topics.to_string()),
        ("Received from clients", size(metrics.bytes_in.get())),
        ("Sent to clients", size(metrics.bytes_out.get())),
        ("Turned away", metrics.refusals().to_string()),
        ("DHT nodes known", now.nodes.to_string()),
        ("UDP port", firewall.into()),
        ("Memory", size(now.memory)),
        ("Running for", time(metrics.started.elapsed().as_secs())),
        ("Admission", entry),
    ];
    let kept = hub.mirror.get().map_or("none, this relay keeps nothing".into(), |mirror| {
        let figures = mirror.figures();
        format!("{}, {}", figures.cores.get(), size(figures.bytes.get()))
    });
    let mut body = format!("{HEAD}<p class=\"{state}\">{word}</p>\n<dl>\n");
    for (name, value) in rows.into_iter().chain([("Copies kept", kept)]) {
        let _ = writeln!(body, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    let _ =
        write!(body, "</dl>\n{TAIL}<footer>hypertab-relay {}</footer>\n</main>\n", env!("CARGO_PKG_VERSION"));
    Answer { kind: "text/html; charset=utf-8", body, extra: POLICY, ..Answer::text("200 OK", "") }
}

fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

fn time(seconds: u64) -> String {
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= *unit).unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

const POLICY: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
    Referrer-Policy: no-referrer\r\n";

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>hypertab relay</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 }
main { max-width: 40rem; margin: 0 auto; padding: 2.5rem 1.25rem }
h1 { font-size: 1.6rem; margin: 0 0 .25rem }
p { margin: .25rem 0 1rem }
.good, .busy { font-weight: 600 }
.good::before, .busy::before { content: \"\"; display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .5em; background: #1a8f4a }
.busy::before { background: #c77700 }
dl { display: flex; flex-wrap: wrap; gap: 1px; margin: 1.5rem 0;
  border: 1px solid #8885; border-radius: .6rem; overflow: hidden; background: #8885 }
dl div { flex: 1 1 11rem; padding: .7rem .9rem; background: Canvas }
dt { font-size: .85rem; opacity: .75 }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums }
code { padding: .1em .35em; border-radius: .3em; background: #8883 }
footer { margin-top: 2rem; font-size: .85rem; opacity: .75 }
</style>
<main>
<h1>hypertab relay</h1>
<p>Gives browser tabs a node of the HyperDHT. It carries what it cannot read: keys stay in the tabs.</p>
";

const TAIL: &str = "<p>To use it, give this page's address, with <code>wss:</code> in the place of <code>https:</code>, as
<code>relay</code> to a Hyperswarm or DHT of <code>hypertab</code>, or to a client of <code>@hyperswarm/dht-relay</code>
with <code>custodial: false</code>.</p>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536 << 10), "1.5 MiB");
        assert_eq!(time(1), "1 second");
        assert_eq!(time(7300), "2 hours");
    }
}
