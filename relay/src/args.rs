//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;

use lexopt::prelude::{Long, Short, Value};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Relay.
    Serve(Args),
    /// Print [`USAGE`].
    Help,
    /// Print the version.
    Version,
}

/// How to relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// Where WebSockets are accepted.
    pub listen: SocketAddr,
    /// Where the DHT node listens; any port of all interfaces if absent.
    pub udp: Option<SocketAddr>,
    /// Nodes to start from, as `host:port`; those of the public DHT if empty.
    pub bootstrap: Vec<String>,
    /// Start a DHT of its own on loopback.
    pub testnet: bool,
    /// Send to private and loopback addresses as well.
    pub allow_private: bool,
    /// Most links at once.
    pub max_links: usize,
    /// Most links at once from one address.
    pub max_links_per_address: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 49443)),
            udp: None,
            bootstrap: Vec::new(),
            testnet: false,
            allow_private: false,
            max_links: 10_000,
            max_links_per_address: 256,
        }
    }
}

/// Reads a command line, without the program's name.
///
/// # Errors
///
/// Returns a sentence about the first thing that is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut parsed = Args::default();
    while let Some(arg) = parser.next().map_err(|error| format!("{error}."))? {
        match arg {
            Long("listen") => parsed.listen = address("--listen", &mut parser)?,
            Long("udp") => parsed.udp = Some(address("--udp", &mut parser)?),
            Long("bootstrap") => {
                let node = text("--bootstrap", &mut parser)?;
                let port = node.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                if port.is_none_or(|port| port == 0) {
                    return Err(format!("--bootstrap takes HOST:PORT, not \"{node}\"."));
                }
                parsed.bootstrap.push(node);
            }
            Long("testnet") => parsed.testnet = true,
            Long("allow-private") => parsed.allow_private = true,
            Long("max-links") => parsed.max_links = number("--max-links", &mut parser)?,
            Long("max-links-per-address") => {
                parsed.max_links_per_address = number("--max-links-per-address", &mut parser)?;
            }
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            Long(name) => return Err(format!("There is no option --{name}; --help lists all.")),
            Short(name) => return Err(format!("There is no option -{name}; --help lists all.")),
            Value(value) => {
                return Err(format!("\"{}\" is no option; --help lists all.", value.to_string_lossy()));
            }
        }
    }
    if parsed.testnet && !parsed.bootstrap.is_empty() {
        return Err("--testnet is a network of its own and takes no --bootstrap.".into());
    }
    if parsed.testnet && parsed.udp.is_some() {
        return Err("--testnet stays on loopback and takes no --udp.".into());
    }
    parsed.allow_private |= parsed.testnet;
    Ok(Command::Serve(parsed))
}

fn text(name: &str, parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|_| format!("{name} needs a value."))?;
    value.into_string().map_err(|value| format!("{name} takes text, not \"{}\".", value.to_string_lossy()))
}

fn address(name: &str, parser: &mut lexopt::Parser) -> Result<SocketAddr, String> {
    let value = text(name, parser)?;
    let value = value.strip_prefix("localhost:").map_or(value.clone(), |port| format!("127.0.0.1:{port}"));
    value.parse().map_err(|_| format!("{name} takes an IP address with a port, not \"{value}\"."))
}

fn number(name: &str, parser: &mut lexopt::Parser) -> Result<usize, String> {
    let value = text(name, parser)?;
    match value.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{name} takes a number from 1 on, not \"{value}\".")),
    }
}

/// What `--help` prints.
pub const USAGE: &str = "\
Gives browser tabs a HyperDHT node to use, over WebSockets. Secret keys stay in the tabs.

Usage: hypertab-relay [options]

  --listen HOST:PORT           where WebSockets are accepted [127.0.0.1:49443]; port 0 takes a free one
  --udp HOST:PORT              where the DHT node listens [0.0.0.0 and a free port]
  --bootstrap HOST:PORT        a DHT node to start from, any number of times [those of the public DHT]
  --testnet                    start an isolated DHT on loopback and use it
  --allow-private              send to private and loopback addresses too; implied by --testnet
  --max-links N                most tabs at once [10000]
  --max-links-per-address N    most tabs at once from one address [256]
  --help, --version

Prints one JSON object per event on standard output: {\"event\":\"listening\",\"url\":\"ws://…\"} once it accepts
links, {\"event\":\"testnet\",\"bootstrap\":[\"…\"]} with --testnet. GET /healthz answers 200 meanwhile.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = read(&["--listen", "localhost:0", "--bootstrap", "a:1", "--bootstrap=b.org:2"]);

        let Ok(Command::Serve(args)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(args.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(args.bootstrap, ["a:1", "b.org:2"]);
        assert!(!args.allow_private);
        assert_eq!(read(&["--help"]), Ok(Command::Help));
        assert_eq!(read(&["--testnet", "-V"]), Ok(Command::Version));
    }

    #[test]
    fn testnet_implies_private_addresses() {
        let Ok(Command::Serve(args)) = read(&["--testnet"]) else { panic!() };

        assert!(args.testnet && args.allow_private);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        for wrong in [
            &["--lisen", "x"][..],
            &["-x"],
            &["serve"],
            &["--listen"],
            &["--listen", "nowhere"],
            &["--bootstrap", "host"],
            &["--bootstrap", "host:0"],
            &["--max-links", "0"],
            &["--testnet", "--bootstrap", "a:1"],
            &["--testnet=yes"],
        ] {
            let error = read(wrong).expect_err("it is wrong");
            assert!(error.ends_with('.') && error.contains(' '), "{error}");
        }
    }

    fn read(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }
}
