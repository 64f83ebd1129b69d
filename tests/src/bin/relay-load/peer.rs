//! The far end of the load: a peer that takes and gives bytes.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{ConnectionId, Endpoint, EndpointOptions, Event, Identity, Listen, Mode};
use hypertab_core::time::Instant;
use hypertab_core::udx::Address;
use hypertab_relay::udp::{Clock, Driver, Machine, SocketChange, Sockets};
use serde_json::json;

use crate::{CHUNK, Wish, ZEROS, random, say};

/// Runs until it is killed.
pub(crate) async fn run(nodes: &[&str]) -> io::Result<()> {
    let nodes = nodes.iter().map(|node| node.parse::<SocketAddrV4>().map(Address::from));
    let nodes = nodes.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let clock = Clock::start();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let sockets = Sockets::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await?;
    let address = sockets.address()?.into();
    let options = EndpointOptions {
        mode: Mode::Ephemeral,
        is_firewalled: false,
        public_address: Some(address),
        allows_bogons: true,
        ..EndpointOptions::new(nodes, address.port(), time)
    };
    let endpoint = Endpoint::new(options, random(), clock.now());
    let keys = (0..KEYS).map(|_| KeyPair::from_seed(&random())).collect();
    Driver::start(Peer { endpoint, keys, listening: 0, streams: BTreeMap::new() }, sockets, clock)?;
    std::future::pending().await
}

struct Peer {
    endpoint: Endpoint,
    keys: Vec<KeyPair>,
    listening: usize,
    streams: BTreeMap<ConnectionId, Stream>,
}

#[derive(Default)]
struct Stream {
    wish: Vec<u8>,
    to_take: u64,
    to_give: u64,
    is_full: bool,
}

impl Peer {
    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Bootstrapped => {
                for key_pair in self.keys.clone() {
                    let listen = Listen::new(Identity::Local(key_pair));
                    self.endpoint.listen(listen, now).expect("nobody else listens here");
                }
            }
            Event::Listening { .. } => {
                self.listening += 1;
                if self.listening == self.keys.len() {
                    let keys = self.keys.iter().map(|key_pair| HEXLOWER.encode(&key_pair.public_key));
                    say(&json!({ "event": "listening", "keys": keys.collect::<Vec<_>>() }));
                }
            }
            Event::Connected { connection, .. } => {
                let _ = self.endpoint.set_receive_limit(connection, WINDOW);
                self.streams.insert(connection, Stream::default());
            }
            Event::Data { connection, bytes } => {
                let _ = self.endpoint.consumed(connection, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                if let Some(stream) = self.streams.get_mut(&connection)
                    && stream.take(&bytes)
                {
                    let _ = self.endpoint.write(connection, Bytes::from_static(b"."), now);
                }
                self.give(connection, now);
            }
            Event::Drain { connection } => {
                if let Some(stream) = self.streams.get_mut(&connection) {
                    stream.is_full = false;
                }
                self.give(connection, now);
            }
            Event::End { connection } => {
                let _ = self.endpoint.end(connection, now);
            }
            Event::Closed { connection, .. } | Event::Failed { connection, .. } => {
                self.streams.remove(&connection);
            }
            _ => {}
        }
    }

    fn give(&mut self, connection: ConnectionId, now: Instant) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        while stream.to_give > 0 && !stream.is_full {
            let len = usize::try_from(stream.to_give).unwrap_or(CHUNK).min(CHUNK);
            stream.to_give -= u64::try_from(len).unwrap_or(0);
            let has_room = self.endpoint.write(connection, Bytes::from_static(&ZEROS[..len]), now);
            stream.is_full = !has_room.unwrap_or(false);
        }
    }
}

impl Stream {
    /// Takes bytes, and reports whether they complete what was to be taken.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while self.to_take == 0 && !bytes.is_empty() {
            let missing = (Wish::LEN - self.wish.len()).min(bytes.len());
            let (wish, rest) = bytes.split_at(missing);
            self.wish.extend_from_slice(wish);
            bytes = rest;
            if let Ok(wish) = <[u8; Wish::LEN]>::try_from(&self.wish[..]) {
                self.wish.clear();
                match Wish::decode(wish) {
                    Some(Wish::Take(count)) => self.to_take = count,
                    Some(Wish::Give(count)) => self.to_give += count,
                    None => {}
                }
            }
        }
        let before = self.to_take;
        self.to_take = before.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        before > 0 && self.to_take == 0
    }
}

impl Machine for Peer {
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        self.endpoint.handle_datagram(socket, from, bytes, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        self.endpoint.poll_transmit(max_segments, now)
    }

    fn poll_socket(&mut self, now: Instant) -> Option<SocketChange> {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::OpenSocket(id) => return Some(SocketChange::Open(id)),
                Event::CloseSocket(id) => return Some(SocketChange::Close(id)),
                event => self.handle_event(event, now),
            }
        }
        None
    }
}

const KEYS: usize = 16;

/// As upstream's streams have it.
const WINDOW: u32 = 4 << 20;
