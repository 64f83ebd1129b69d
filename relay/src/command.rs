//! What a command line asks for.

use std::ffi::OsString;
use std::time::Duration;

use crate::access::{Token, permissions};
use crate::config::{Settings, Sources, duration, key};
use crate::tls;

/// What a command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Relay.
    Serve(Box<Settings>),
    /// Ask the relay with these settings whether it is there.
    Health(Box<Settings>),
    /// Print this and succeed.
    Print(String),
    /// Print both, the first one on standard output, and fail.
    Fail(String, String),
}

/// Reads a command line, without the program's name, and the environment.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Command {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let has = |args: &[OsString], flags: &[&str]| args.iter().any(|arg| flags.iter().any(|flag| arg == flag));
    if has(&args, &["--help", "-h", "help"]) {
        return Command::Print(crate::config::usage());
    }
    if has(&args, &["--version", "-V"]) {
        return Command::Print(format!("hypertab-relay {}\n", env!("CARGO_PKG_VERSION")));
    }
    let word = args.first().and_then(|arg| arg.to_str()).unwrap_or_default().to_string();
    let mut token = None;
    let is_health = word == "health";
    if is_health {
        args.remove(0);
    } else if word == "token" {
        args.remove(0);
        match Wish::take(&mut args) {
            Ok(wish) => token = Some(wish),
            Err(sentence) => return Command::Fail(String::new(), sentence),
        }
    }
    let only_checks = word == "check-config" || has(&args, &["--check-config"]);
    args.retain(|arg| arg != "check-config" && arg != "--check-config");
    let sources = match Sources::read(args, variables) {
        Ok(sources) => sources,
        Err(sentence) => return Command::Fail(String::new(), sentence),
    };
    let effective = if only_checks { sources.effective() } else { String::new() };
    match (sources.finish(), token) {
        (Err(mistakes), _) => {
            let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            Command::Fail(effective, lines.join("\n"))
        }
        (Ok(settings), _) if only_checks => match tls::check(&settings.tls) {
            Ok(()) => Command::Print(effective),
            Err(error) => Command::Fail(effective, error.to_string()),
        },
        (Ok(settings), _) if is_health => Command::Health(Box::new(settings)),
        (Ok(settings), Some(wish)) => wish.grant(&settings),
        (Ok(settings), None) => Command::Serve(Box::new(settings)),
    }
}

/// The token that somebody wants.
struct Wish {
    life: Duration,
    may: String,
    key: Option<[u8; 32]>,
}

impl Wish {
    /// Takes its options out of a command line.
    fn take(args: &mut Vec<OsString>) -> Result<Self, String> {
        let mut wish = Self { life: DEFAULT_LIFE, may: "all".into(), key: None };
        let mut rest = Vec::new();
        let mut words = std::mem::take(args).into_iter();
        while let Some(arg) = words.next() {
            let text = arg.to_string_lossy().into_owned();
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) => (name.to_string(), Some(value.to_string())),
                None => (text, None),
            };
            if !["--for", "--may", "--key"].contains(&name.as_str()) {
                rest.push(arg);
                continue;
            }
            let next = || words.next().map(|word| word.to_string_lossy().into_owned());
            let value = inline.or_else(next).ok_or_else(|| format!("{name} needs a value."))?;
            let wrong = |right: String| format!("{name} takes {right}.");
            match name.as_str() {
                "--for" => wish.life = duration(&value).map_err(wrong)?,
                "--key" => wish.key = Some(key(&value).map_err(wrong)?),
                _ => {
                    permissions(&value, ',').map_err(wrong)?;
                    wish.may = value;
                }
            }
        }
        *args = rest;
        Ok(wish)
    }

    fn grant(self, settings: &Settings) -> Command {
        let Some(secret) = &settings.access.token_secret else {
            let sentence = "A token is made with access.token-secret, which is not set.";
            return Command::Fail(String::new(), sentence.into());
        };
        let token = permissions(&self.may, ',')
            .and_then(|may| Token::new(self.life, may, self.key).map_err(|error| error.to_string()));
        match token {
            Ok(token) => Command::Print(format!("{}\n", token.sign(secret.bytes()))),
            Err(why) => Command::Fail(String::new(), format!("No token can be made: {why}.")),
        }
    }
}

/// How long a token is good for, if nobody says otherwise.
const DEFAULT_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        assert!(matches!(read(&["--testnet"]), Command::Serve(settings) if settings.testnet));
        assert!(matches!(read(&["--testnet", "-h"]), Command::Print(text) if text.contains("Usage")));
        assert!(matches!(read(&["health", "--testnet"]), Command::Health(settings) if settings.testnet));
        assert!(matches!(read(&["-V"]), Command::Print(text) if text.starts_with("hypertab-relay ")));
        assert!(
            matches!(read(&["check-config", "--testnet"]), Command::Print(text) if text.contains("testnet = true"))
        );
        let failed = read(&["--check-config", "--per-link-streams", "x"]);
        assert!(
            matches!(failed, Command::Fail(text, why) if text.contains("[per-link]") && why.contains("--per-link-streams"))
        );
        assert!(matches!(read(&["nonsense"]), Command::Fail(..)));
    }

    #[test]
    fn tokens_are_made_with_the_secret() {
        let secret = "--access-token-secret=a secret that nobody guesses";
        let Command::Print(text) = read(&["token", "--for", "1h", "--may=dial,lookup", secret]) else {
            panic!()
        };

        let token = Token::verify(text.trim(), b"a secret that nobody guesses", 0).unwrap();
        assert!(token.may.dial && token.may.lookup && !token.may.listen && token.key.is_none());
        for wrong in [
            &["token"][..],
            &["token", "--for", "x", secret],
            &["token", "--may", "fly", secret],
            &["token", secret, "--key"],
        ] {
            assert!(matches!(read(wrong), Command::Fail(..)), "{wrong:?}");
        }
    }

    fn read(args: &[&str]) -> Command {
        parse(args.iter().map(OsString::from), [])
    }
}
