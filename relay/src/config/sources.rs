//! Where settings come from, and what is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lexopt::prelude::{Long, Short, Value as Word};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::table::{self, Kind, PREFIX, SETTINGS, Setting};

/// Something that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a line of the file, a variable or a flag.
    pub place: String,
    /// What, without a full stop.
    pub sentence: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.place, self.sentence)
    }
}

/// Settings as they were put together.
#[derive(Debug, Default)]
pub struct Sources {
    settings: Settings,
    /// Where each setting that is not a default comes from.
    places: BTreeMap<&'static str, String>,
    mistakes: Vec<Mistake>,
    file: Option<PathBuf>,
}

impl Sources {
    /// Reads all sources: flags first, because they name the file, and then in the order in which they give way.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the form of the command line: with it, nothing else can be judged.
    pub fn read(
        flags: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, String> {
        let flags = Flags::parse(flags)?;
        let variables: BTreeMap<_, _> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let config = variables.get(&format!("{PREFIX}CONFIG")).map(PathBuf::from);
        let mut sources = Self { file: flags.config.or(config), ..Self::default() };
        if let Some(file) = sources.file.clone() {
            sources.read_file(&file);
        }
        sources.read_variables(&variables);
        for (setting, words) in flags.settings {
            sources.assign(setting, &words, || setting.flag());
        }
        for (name, sentence) in sources.settings.settle() {
            let place = sources.places.get(name).cloned().unwrap_or_else(|| name.into());
            sources.mistakes.push(Mistake { place, sentence });
        }
        Ok(sources)
    }

    /// Returns the settings, or everything that is wrong with them.
    pub fn finish(self) -> Result<Settings, Vec<Mistake>> {
        if self.mistakes.is_empty() { Ok(self.settings) } else { Err(self.mistakes) }
    }

    /// Returns what is wrong.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Writes what is in force, as a file that says the same, with where each setting comes from.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.file {
            text.push_str(&format!("# Read from {}.\n", file.display()));
        }
        let mut section = "";
        for setting in SETTINGS.iter() {
            let (of, name) = setting.name.rsplit_once('.').unwrap_or(("", setting.name));
            if of != section {
                section = of;
                text.push_str(&format!("\n[{section}]\n"));
            }
            let place = self.places.get(setting.name).map_or("default", String::as_str);
            text.push_str(&format!("{name} = {} # {place}\n", setting.show(&self.settings)));
        }
        text
    }

    fn read_file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(sentence) => {
                self.mistakes.push(Mistake { place: shown, sentence });
                return;
            }
        };
        let ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
        let (root, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let at = error.span().map_or(1, |span| line(span.start));
            let sentence = error.message().to_string();
            self.mistakes.push(Mistake { place: format!("{shown}:{at}"), sentence });
        }
        if !self.mistakes.is_empty() {
            return;
        }
        let mut entries = Vec::new();
        flatten("", root.get_ref(), &mut entries);
        entries.sort_by_key(|(_, value)| value.span().start);
        for (name, value) in entries {
            let place = format!("{shown}:{}", line(value.span().start));
            let Some(setting) = table::find(&name) else {
                let sentence = format!("there is no setting {name}{}", nearest(&name));
                self.mistakes.push(Mistake { place, sentence });
                continue;
            };
            let words = match (value.get_ref(), &setting.kind) {
                (DeValue::Array(values), Kind::Many { .. }) => {
                    values.iter().map(|value| word(value.get_ref())).collect::<Option<Vec<_>>>()
                }
                (_, Kind::Many { .. }) => None,
                (value, _) => word(value).map(|word| vec![word]),
            };
            match words {
                Some(words) => self.assign(setting, &words, || place),
                None => {
                    let shape =
                        if matches!(setting.kind, Kind::Many { .. }) { "a list" } else { "one value" };
                    self.mistakes.push(Mistake { place, sentence: format!("{name} takes {shape}") });
                }
            }
        }
    }

    fn read_variables(&mut self, variables: &BTreeMap<String, OsString>) {
        for (name, value) in variables {
            let name = name.as_str();
            if name == format!("{PREFIX}CONFIG") {
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                let sentence = "there is no such setting".into();
                self.mistakes.push(Mistake { place: name.into(), sentence });
                continue;
            };
            let Some(value) = value.to_str() else {
                self.mistakes.push(Mistake { place: name.into(), sentence: "is no text".into() });
                continue;
            };
            let words: Vec<String> = match setting.kind {
                Kind::Many { .. } => {
                    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Into::into).collect()
                }
                _ => vec![value.into()],
            };
            self.assign(setting, &words, || name.into());
        }
    }

    fn assign(&mut self, setting: &'static Setting, words: &[String], place: impl FnOnce() -> String) {
        let place = place();
        let mut is_taken = true;
        let set = match setting.kind {
            Kind::One { set, .. } | Kind::Switch { set, .. } => set,
            Kind::Many { clear, push, .. } => {
                clear(&mut self.settings);
                push
            }
        };
        for word in words {
            if let Err(right) = set(&mut self.settings, word) {
                // What looks like a secret is not repeated.
                let shown = if setting.name.ends_with("secret") {
                    String::new()
                } else {
                    format!(", not \"{word}\"")
                };
                let sentence = format!("{} takes {right}{shown}", setting.name);
                self.mistakes.push(Mistake { place: place.clone(), sentence });
                is_taken = false;
            }
        }
        if is_taken {
            self.places.insert(setting.name, place);
        }
    }
}

/// What a command line says.
struct Flags {
    config: Option<PathBuf>,
    settings: Vec<(&'static Setting, Vec<String>)>,
}

impl Flags {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parser = lexopt::Parser::from_args(args);
        let mut flags = Self { config: None, settings: Vec::new() };
        while let Some(arg) = parser.next().map_err(|error| format!("{error}."))? {
            let name = match arg {
                Long(name) => name.to_string(),
                Short(name) => return Err(format!("There is no option -{name}; --help lists all.")),
                Word(value) => {
                    return Err(format!("\"{}\" is no option; --help lists all.", value.to_string_lossy()));
                }
            };
            if name == "config" {
                flags.config =
                    Some(parser.value().map_err(|_| "--config needs a value.".to_string())?.into());
                continue;
            }
            let flag = format!("--{name}");
            let Some(setting) = SETTINGS.iter().find(|setting| setting.flag() == flag) else {
                return Err(format!("There is no option {flag}; --help lists all."));
            };
            let word = match setting.kind {
                Kind::Switch { .. } => parser.optional_value().unwrap_or_else(|| "true".into()),
                _ => parser.value().map_err(|_| format!("{flag} needs a value."))?,
            };
            let word = word.into_string().map_err(|_| format!("{flag} takes text."))?;
            match flags.settings.iter_mut().find(|(known, _)| known.name == setting.name) {
                Some((_, words)) if matches!(setting.kind, Kind::Many { .. }) => words.push(word),
                Some((_, words)) => *words = vec![word],
                None => flags.settings.push((setting, vec![word])),
            }
        }
        Ok(flags)
    }
}

/// Reads a file that is not too large, or says what is wrong with it.
fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("the file is larger than 1MiB, the most that settings may take".into());
    }
    String::from_utf8(bytes).map_err(|_| "the file is no text (UTF-8)".into())
}

fn flatten<'a>(
    section: &str,
    values: &'a DeTable<'_>,
    entries: &mut Vec<(String, &'a Spanned<DeValue<'a>>)>,
) {
    for (key, value) in values {
        let name = if section.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{section}.{}", key.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&name, inner, entries),
            _ => entries.push((name, value)),
        }
    }
}

/// Returns a value as the word that a flag would have.
fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Names the setting that was meant, if one has the same last word.
fn nearest(name: &str) -> String {
    let last = |name| str::rsplit(name, '.').next().unwrap_or_default();
    let wanted = last(name).replace('_', "-");
    let meant = SETTINGS.iter().find(|setting| last(setting.name) == wanted);
    meant.map(|setting| format!("; is it {}?", setting.name)).unwrap_or_default()
}

/// Bytes of a file. Lists of many thousand keys fit; whoever names a wrong file is told at once.
const MAX_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    #[test]
    fn each_source_beats_those_before_it() {
        let file = file(
            "listen = \"127.0.0.1:1\"\nbootstrap = [\"a:1\", \"b:2\"]\n[per-link]\nstreams = 7\nlistens = 3\n",
        );
        let sources = read(
            &["--config", &file, "--per-link-listens", "5", "--testnet=false"],
            &[
                ("HYPERTAB_RELAY_PER_LINK_STREAMS", "8"),
                ("HYPERTAB_RELAY_PER_LINK_LISTENS", "4"),
                ("HYPERTAB_RELAY_ACCESS_ORIGINS", "https://A.org, https://*.b.org:8443"),
                ("OTHER", "x"),
            ],
        );

        assert_eq!(sources.mistakes(), []);
        let text = sources.effective();
        assert!(text.contains(&format!("listen = \"127.0.0.1:1\" # {file}:1\n")), "{text}");
        assert!(text.contains("streams = 8 # HYPERTAB_RELAY_PER_LINK_STREAMS\n"));
        assert!(text.contains("listens = 5 # --per-link-listens\n"));
        let settings = sources.finish().unwrap();
        assert_eq!(settings.bootstrap, ["a:1", "b:2"]);
        assert_eq!(
            settings.access.origins,
            ["https://a.org", "https://*.b.org:8443"].map(|site| Origin(site.into()))
        );
        assert!(!settings.testnet);
    }

    #[test]
    fn every_mistake_has_its_place() {
        let file = file(
            "lisen = 1\n[per-link]\nstreams = \"many\"\nbootstrap = \"a:1\"\nlistens = [1]\n[total]\nlinks = 0\n",
        );
        let sources = read(&["--config", &file, "--drain", "soon"], &[("HYPERTAB_RELAY_NOPE", "1")]);

        let places: Vec<_> = sources.mistakes().iter().map(|mistake| mistake.place.clone()).collect();
        for place in [
            &format!("{file}:1")[..],
            &format!("{file}:3"),
            &format!("{file}:4"),
            &format!("{file}:5"),
            &format!("{file}:7"),
            "--drain",
            "HYPERTAB_RELAY_NOPE",
        ] {
            assert!(places.iter().any(|other| other == place), "{place} in {:?}", sources.mistakes());
        }
        assert_eq!(places.len(), 7);
        assert!(places[..5].is_sorted(), "in the order of the lines: {places:?}");
        let text = sources.effective();
        assert!(
            text.contains("streams = 512 # default\n") && text.contains("drain = \"10s\" # default\n"),
            "{text}"
        );
        let said: Vec<_> = sources.mistakes().iter().map(ToString::to_string).collect();
        assert!(
            said.iter()
                .any(|text| text.ends_with("there is no setting per-link.bootstrap; is it bootstrap?.")),
            "{said:?}"
        );
    }

    #[test]
    fn what_is_in_force_can_be_read_back() {
        let first =
            read(&["--per-address-bytes-per-second", "1MiB", "--access-allow-keys", &"ab".repeat(32)], &[]);
        let text = first.effective();

        let second = read(&["--config", &file(&text)], &[]);

        assert_eq!(second.mistakes(), []);
        assert_eq!(second.finish().unwrap(), first.finish().unwrap());
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for wrong in [
            &["--testnet", "--bootstrap", "a:1"][..],
            &["--testnet", "--udp", "127.0.0.1:1"],
            &["--tls-key", "x"],
            &["--public-address", "9.9.9.9:1"],
            &["--public-address", "192.168.1.2:1", "--udp", "0.0.0.0:1"],
            &["--public-address", "127.0.0.1:1", "--udp", "0.0.0.0:1"],
            &["--public-address", "0.0.0.0:1", "--udp", "0.0.0.0:1"],
            &["--public-address", "224.0.0.1:1", "--udp", "0.0.0.0:1"],
            &["--public-address", "9.9.9.9:0", "--udp", "0.0.0.0:1"],
            &["--public-address", "0.0.0.0:1", "--udp", "0.0.0.0:1", "--allow-private"],
            &["--access-revoked-tokens", "x"],
            &["--total-bytes-burst", "1MiB"],
            &["--per-link-message-size", "2MiB"],
            &["--access-token-secret", "short"],
            &["--bootstrap", "example.org"],
            &["--bootstrap", "example.org:0"],
            &["--access-origins", "example.org"],
            &["--access-origins", "https://example.org/"],
            &["--access-origins", "https://example.org:443"],
            &["--access-origins", "https://a.*.org"],
            &["--access-origins", "*"],
            &["--config", "/nowhere/at/all.toml"],
        ] {
            let sources = read(wrong, &[]);
            assert_eq!(sources.mistakes().len(), 1, "{wrong:?}: {:?}", sources.mistakes());
        }
        assert!(read(&["--testnet"], &[]).finish().unwrap().allow_private);
        let lan = read(&["--public-address", "192.168.1.2:1", "--udp", "0.0.0.0:1", "--allow-private"], &[]);
        assert_eq!(lan.mistakes(), []);
        let documented = read(&["--public-address", "203.0.113.7:1", "--udp", "0.0.0.0:1"], &[]);
        assert_eq!(documented.mistakes(), [], "the guide's address");
    }

    #[test]
    fn a_file_has_a_bound_and_is_text() {
        let most = format!("drain = \"5s\"\n#{}", "x".repeat((1 << 20) - 14));
        assert_eq!(most.len(), 1 << 20);
        assert_eq!(read(&["--config", &file(&most)], &[]).mistakes(), []);
        let said = |flags: &[&str]| match read(flags, &[]).mistakes() {
            [mistake] => mistake.sentence.clone(),
            mistakes => panic!("{mistakes:?}"),
        };
        assert!(said(&["--config", &file(&(most + "x"))]).contains("larger than 1MiB"));
        // Without an end, too.
        assert!(said(&["--config", "/dev/zero"]).contains("larger than 1MiB"));
        let path = file("");
        std::fs::write(&path, [b'#', 0xff]).unwrap();
        assert!(said(&["--config", &path]).contains("no text"));
    }

    #[test]
    fn each_mistake_of_a_file_of_nothing_else_is_told_with_its_line() {
        let text: String = (0..90_000).map(|at| format!("x{at} = 1\n")).collect();
        assert!(text.len() < 1 << 20);

        // Who counts the lines for each of them anew takes half a minute.
        let sources = read(&["--config", &file(&text)], &[]);

        assert_eq!(sources.mistakes().len(), 90_000);
        assert!(sources.mistakes()[89_999].place.ends_with(":90000"));
    }

    #[test]
    fn a_command_line_that_is_none_is_refused() {
        for wrong in [&["--lisen", "x"][..], &["-x"], &["serve"], &["--listen"]] {
            let args = wrong.iter().map(OsString::from);
            let error = Sources::read(args, []).expect_err("it is wrong");
            assert!(error.ends_with('.') && error.contains(' '), "{error}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let sources = read(&["--access-token-secret", "a secret that is long enough"], &[]);

        assert!(!sources.effective().contains("long enough"));
        assert!(!format!("{sources:?}").contains("long enough"));
        let short = read(&["--access-token-secret", "tiny"], &[]);
        assert!(!short.mistakes()[0].to_string().contains("tiny"));
    }

    fn read(flags: &[&str], variables: &[(&str, &str)]) -> Sources {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Sources::read(flags.iter().map(OsString::from), variables).expect("well formed")
    }

    fn file(text: &str) -> String {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let name = data_encoding::HEXLOWER.encode(&name);
        let path = std::env::temp_dir().join(format!("hypertab-relay-{name}.toml"));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }
}
