//! Load for a relay that costs little beside it: raw bytes through streams, and dials, for the bench of the relays.
//!
//! `relay-load peer HOST:PORT…` is a peer on the network of these nodes that listens on several keys, since a server remembers
//! dials for ten seconds and takes a thousand in that time. `relay-load tab URL KEY…` is a tab that dials those keys in turn
//! through a relay, and is told what to do in JSON lines: `{ id, do, .. }` in, `{ id, result }` out.
//!
//! The Noise handshakes are real, so a relay cannot tell this from a page. What follows is not encrypted, because neither
//! end should be what limits a relay, to which ciphertext is as good as anything.

mod peer;
mod tab;

use std::io::Write;

use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let local = tokio::task::LocalSet::new();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["peer", ref nodes @ ..] => local.run_until(peer::run(nodes)).await,
        ["tab", url, ref keys @ ..] if !keys.is_empty() => local.run_until(tab::run(url, keys)).await,
        _ => Err(std::io::Error::other("relay-load peer HOST:PORT…, or relay-load tab URL KEY…")),
    }
}

/// What a stream asks of the peer first: a letter, and how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Take so many bytes, and say one once they are there.
    Take(u64),
    /// Give so many bytes.
    Give(u64),
}

impl Wish {
    const LEN: usize = 9;

    fn encode(self) -> [u8; Self::LEN] {
        let (letter, count) = match self {
            Self::Take(count) => (b't', count),
            Self::Give(count) => (b'g', count),
        };
        let mut bytes = [letter; Self::LEN];
        bytes[1..].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; Self::LEN]) -> Option<Self> {
        let [letter, count @ ..] = bytes;
        let count = u64::from_le_bytes(count);
        match letter {
            b't' => Some(Self::Take(count)),
            b'g' => Some(Self::Give(count)),
            _ => None,
        }
    }
}

fn say(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Bytes of one write.
const CHUNK: usize = 65_536;

static ZEROS: [u8; CHUNK] = [0; CHUNK];
