//! Lines on standard error. Keys, topics, contents and addresses are not in them unless an operator asks for it.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Format, Level, Log};

static LOG: OnceLock<Log> = OnceLock::new();

/// Decides once what is logged.
pub(crate) fn start(log: Log) {
    let _ = LOG.set(log);
}

/// Writes a line, if it is of a level that is logged.
pub(crate) fn line(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let Some(log) = LOG.get().filter(|log| level <= log.level) else { return };
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = render(log.format, elapsed.as_secs(), elapsed.subsec_millis(), level, message, fields);
    // Nobody reads: then nobody needs it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Returns an address as it may be logged.
pub(crate) fn address(address: IpAddr) -> String {
    match LOG.get() {
        Some(log) if log.addresses => address.to_string(),
        _ => HIDDEN.into(),
    }
}

/// Returns a public key as it may be logged.
pub(crate) fn key(key: &[u8; 32]) -> String {
    match LOG.get() {
        Some(log) if log.keys => hypertab_core::crypto::encode_hex(key),
        _ => HIDDEN.into(),
    }
}

fn render(
    format: Format,
    seconds: u64,
    millis: u32,
    level: Level,
    message: &str,
    fields: &[(&str, &dyn Display)],
) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let time = date(seconds, millis);
    let mut text = String::new();
    match format {
        Format::Text => {
            let _ = write!(text, "{time} {level:<5} {message}");
            for (name, value) in fields {
                let value = value.to_string();
                let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
                let value = if is_plain { value } else { quoted(&value) };
                let _ = write!(text, " {name}={value}");
            }
        }
        Format::Json => {
            let _ =
                write!(text, "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":{}", quoted(message));
            for (name, value) in fields {
                let _ = write!(text, ",{}:{}", quoted(name), quoted(&value.to_string()));
            }
            text.push('}');
        }
    }
    text.push('\n');
    text
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes a time as RFC 3339 has it. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(seconds: u64, millis: u32) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// In the place of what is not logged.
const HIDDEN: &str = "hidden";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_people_or_for_programs() {
        let fields: [(&str, &dyn Display); 2] = [("count", &3), ("why", &"a \"b\"\n")];

        let text = render(Format::Text, 1_709_210_096, 7, Level::Warn, "odd", &fields);
        assert_eq!(text, "2024-02-29T12:34:56.007Z warn  odd count=3 why=\"a \\\"b\\\"\\n\"\n");
        let json = render(Format::Json, 0, 0, Level::Info, "odd", &fields);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["why"], "a \"b\"\n");
        assert_eq!(json.matches('\n').count(), 1);
    }
}
