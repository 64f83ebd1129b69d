//! What `--help` prints.

use super::Settings;
use super::table::{Kind, SETTINGS};

/// Returns the help text: the commands, and every setting with its default.
pub fn usage() -> String {
    let mut text = String::from(HEAD);
    let defaults = Settings::default();
    let mut section = None;
    for setting in SETTINGS.iter() {
        let of = setting.name.rsplit_once('.').map_or("", |(section, _)| section);
        if section != Some(of) {
            section = Some(of);
            text.push_str(&format!("\n{}\n", title(of)));
        }
        let option = format!("{} {}", setting.flag(), setting.shape);
        let shown = setting.show(&defaults).trim_matches('"').to_string();
        let default = match setting.kind {
            Kind::Many { .. } => " (repeatable)".into(),
            Kind::Switch { .. } if shown == "false" => String::new(),
            _ if shown == "none" => String::new(),
            _ => format!(" [{shown}]"),
        };
        let line = format!("{}{default}", setting.help);
        text.push_str(&format!("  {:<WIDTH$} {}\n", option.trim_end(), wrap(&line)));
    }
    text.push_str(TAIL);
    text
}

/// Breaks a line where the terminal would.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + word.len() >= COLUMNS {
            wrapped.push_str(&format!("\n{}", " ".repeat(WIDTH + 3)));
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.len();
    }
    wrapped
}

fn title(section: &str) -> &'static str {
    match section {
        "" => "Network",
        "log" => "Log",
        "tls" => "Encryption",
        "acme" => "Encryption with a certificate that is fetched and renewed by itself",
        "access" => "Who is let in: all conditions that are set have to be met",
        "ban" => "Bans",
        "per-link" => "Limits of one client",
        "per-address" => "Limits of all clients from one address",
        "per-key" => "Limits of all clients with one key",
        "mirror" => "Copies of cores, for those who ask",
        _ => "Limits of everybody together",
    }
}

const HEAD: &str = "\
Gives browser tabs a HyperDHT node to use, over WebSockets. Secret keys stay in the tabs.

Usage: hypertab-relay [options]                 relay until SIGTERM
       hypertab-relay check-config [options]    print the settings in force and what is wrong with them
       hypertab-relay health [options]          succeed if the relay with these settings answers
       hypertab-relay token [--for TIME] [--may WHAT,…] [--key KEY] [options]
                                                make a token with access.token-secret

  --config FILE   read settings from a TOML file, as in: [per-link] streams = 100
  --check-config  the same as check-config
  --help, --version

Every option can also stand in the file (--per-link-streams is streams in [per-link]) and in the environment
(HYPERTAB_RELAY_PER_LINK_STREAMS; lists with commas). Flags beat the environment, which beats the file.
SIZE is like 64KiB or 10MB, TIME like 500ms, 10s, 5m, 2h or 30d. \"none\" lifts a limit that may be lifted.
";

const TAIL: &str = "
Prints one JSON object per event on standard output: {\"event\":\"listening\",\"url\":\"ws://…\"} once it accepts
links, {\"event\":\"testnet\",\"bootstrap\":[\"…\"]} with --testnet, and
{\"event\":\"blind-relay\",\"key\":\"…\"} with --blind-relay. On the port of the WebSockets, GET / is a page for
people, /healthz and /readyz are for supervisors and balancers, /metrics is for Prometheus, /mirror says by which
key copies are asked for.
SIGHUP reads settings and TLS files again and keeps whoever may stay; SIGTERM drains, a second one stops at once.
";

/// Columns of the options.
const WIDTH: usize = 40;

/// Columns of what they mean.
const COLUMNS: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_explained_in_lines_that_fit() {
        let text = usage();

        for setting in SETTINGS.iter() {
            assert!(text.contains(&setting.flag()), "{}", setting.name);
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
