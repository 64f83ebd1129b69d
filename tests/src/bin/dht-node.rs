//! A DHT peer for tests against upstream: JSON lines on stdin and stdout, UDP sockets on loopback or
//! on the `host` of the start.
//!
//! `{"id": 1, "do": "lookup", …}` is answered by `{"id": 1, "result": …}` or `{"id": 1, "error": "…"}`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Instant as Clock, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{
    Announce, Connect, ConnectionId, Endpoint, EndpointOptions, Event, Finished, Identity, Listen, Mode,
    OperationId, ServerId, holepunch_secret, signing,
};
use hypertab_core::noise::{Handshake, Keys, Pattern, Role, Session};
use hypertab_core::secret_stream::{self, Entropy, Outgoing, SecretStream};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;
use serde_json::{Value, json};

fn main() {
    let (inputs, receiver) = channel();
    let lines = inputs.clone();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(Input::Line(line)).is_err() {
                return;
            }
        }
        let _ = lines.send(Input::Closed);
    });
    let Ok(Input::Line(line)) = receiver.recv() else { return };
    let start: Value = serde_json::from_str(&line).expect("first line is JSON");
    assert_eq!(start["do"], "start", "the first command starts the node");
    let mut peer = Peer::start(&start, inputs);
    let info = peer.info();
    peer.reply(&start["id"], Ok(info));
    peer.print();
    peer.run(&receiver);
}

enum Input {
    Line(String),
    Datagram(SocketId, Address, Bytes),
    Closed,
}

struct Peer {
    endpoint: Endpoint,
    host: Ipv4Addr,
    clock: Clock,
    inputs: Sender<Input>,
    sockets: BTreeMap<SocketId, (Arc<UdpSocket>, Arc<AtomicBool>)>,
    /// Commands that wait for an operation, and what it found so far.
    operations: BTreeMap<OperationId, (Value, Vec<Value>)>,
    listening: BTreeMap<ServerId, (Value, KeyPair)>,
    closing: BTreeMap<ServerId, Value>,
    keys: BTreeMap<[u8; 32], KeyPair>,
    dials: BTreeMap<ConnectionId, Dial>,
    handshakes: BTreeMap<ConnectionId, (Role, Handshake)>,
    sessions: BTreeMap<ConnectionId, (Role, Session)>,
    streams: BTreeMap<ConnectionId, Stream>,
    loses_every: Option<u64>,
    sent: u64,
    /// Lines that are printed once every datagram is sent: who reads them may end this process.
    output: Vec<Value>,
}

struct Dial {
    command: Value,
    own: [u8; 32],
    remote: [u8; 32],
    started: Clock,
}

struct Stream {
    secret: SecretStream,
    /// Bytes to send and to get back, on the dialling side.
    wanted: Option<usize>,
    to_send: usize,
    received: usize,
    is_intact: bool,
    is_blocked: bool,
}

impl Peer {
    fn start(options: &Value, inputs: Sender<Input>) -> Self {
        let port = options["port"].as_u64().map_or(0, |port| u16::try_from(port).expect("port"));
        let host =
            options["host"].as_str().map_or(Ipv4Addr::LOCALHOST, |host| host.parse().expect("an address"));
        let server = bind(host, port);
        let client = bind(host, 0);
        let local = address_of(&server);
        let bootstrap = list(&options["bootstrap"]);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let clock = u64::try_from(clock).expect("before the year 500 million");
        let mut endpoint_options = if options["bootstrapper"] == true {
            EndpointOptions::bootstrapper(local, bootstrap, clock)
        } else {
            EndpointOptions::new(bootstrap, local.port(), clock)
        };
        if options["persistent"] == true {
            endpoint_options.mode = Mode::Persistent;
            endpoint_options.is_firewalled = false;
        }
        if options["firewalled"] == true {
            endpoint_options.quick_firewall = false;
        }
        endpoint_options.local_addresses = vec![local];
        endpoint_options.allows_bogons = true;
        let endpoint = Endpoint::new(endpoint_options, random(), Instant::EPOCH);
        let mut peer = Self {
            endpoint,
            host,
            clock: Clock::now(),
            inputs,
            sockets: BTreeMap::new(),
            operations: BTreeMap::new(),
            listening: BTreeMap::new(),
            closing: BTreeMap::new(),
            keys: BTreeMap::new(),
            dials: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            streams: BTreeMap::new(),
            loses_every: options["losesEvery"].as_u64(),
            sent: 0,
            output: Vec::new(),
        };
        peer.add_socket(SocketId::SERVER, server);
        peer.add_socket(SocketId::CLIENT, client);
        peer.drain();
        peer
    }

    fn run(&mut self, receiver: &Receiver<Input>) {
        loop {
            let timer = self.streams.values().filter_map(|stream| stream.secret.poll_timeout());
            let due = self.endpoint.poll_timeout().into_iter().chain(timer).min();
            let wait = due.map_or(Duration::from_secs(60), |at| at.duration_since(self.now()));
            match receiver.recv_timeout(wait) {
                Ok(Input::Line(line)) => self.command(&line),
                Ok(Input::Datagram(socket, from, bytes)) => {
                    self.endpoint.handle_datagram(socket, from, bytes, self.now());
                }
                Ok(Input::Closed) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.now();
                    self.endpoint.handle_timeout(now);
                    for stream in self.streams.values_mut() {
                        stream.secret.handle_timeout(now);
                    }
                }
            }
            self.drain();
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.clock.elapsed()
    }

    fn command(&mut self, line: &str) {
        let command: Value = match serde_json::from_str(line) {
            Ok(command) => command,
            Err(error) => return self.emit(json!({ "event": "error", "error": error.to_string() })),
        };
        let (id, now) = (command["id"].clone(), self.now());
        let endpoint = &mut self.endpoint;
        let operation = match command["do"].as_str().unwrap_or_default() {
            "info" => {
                let info = self.info();
                return self.reply(&id, Ok(info));
            }
            "lookup" => endpoint.lookup(key(&command["topic"]), now),
            "announce" => {
                let identity = identity(&command, &mut self.keys);
                let record = Announce { relay_addresses: list(&command["relays"]), ..Announce::default() };
                endpoint.announce(key(&command["topic"]), identity, record, now)
            }
            "unannounce" => {
                let identity = identity(&command, &mut self.keys);
                endpoint.unannounce(key(&command["topic"]), identity, now)
            }
            "findPeer" => endpoint.find_peer(key(&command["key"]), now),
            "immutablePut" => endpoint.immutable_put(blob(&command["value"]), now),
            "immutableGet" => endpoint.immutable_get(key(&command["target"]), now),
            "mutablePut" => {
                let seq = command["seq"].as_u64().unwrap_or(0);
                endpoint.mutable_put(&key_pair(&command), seq, blob(&command["value"]), now)
            }
            "mutableGet" => endpoint.mutable_get(key(&command["key"]), 0, true, now),
            "listen" => {
                let key_pair = key_pair(&command);
                let listen = Listen {
                    relay_through: keys(&command["relayThrough"]),
                    ..Listen::new(identity(&command, &mut self.keys))
                };
                match endpoint.listen(listen, now) {
                    Ok(server) => {
                        self.listening.insert(server, (id, key_pair));
                    }
                    Err(error) => self.reply(&id, Err(error.to_string())),
                }
                return;
            }
            "serveBlindRelay" => {
                let key_pair = key_pair(&command);
                match endpoint.serve_blind_relay(key_pair.clone(), 64, now) {
                    Ok(server) => {
                        self.listening.insert(server, (id, key_pair));
                    }
                    Err(error) => self.reply(&id, Err(error.to_string())),
                }
                return;
            }
            "close" => {
                let own = key_pair(&command).public_key;
                let server = self.listening.iter().find(|(_, (_, key_pair))| key_pair.public_key == own);
                if let Some(server) = server.map(|(server, _)| *server) {
                    endpoint.close_server(server, true, now);
                    self.closing.insert(server, id);
                }
                return;
            }
            "connect" => {
                let remote = key(&command["key"]);
                let options = Connect {
                    identity: identity(&command, &mut self.keys),
                    remote_public_key: remote,
                    relay_addresses: list(&command["relays"]),
                    allows_lan: command["lan"] != false,
                    relay_through: keys(&command["relayThrough"]).first().copied(),
                };
                let connection = endpoint.connect(options, now);
                let own = key_pair(&command).public_key;
                self.dials.insert(connection, Dial { command, own, remote, started: Clock::now() });
                return;
            }
            other => return self.reply(&id, Err(format!("no command {other}"))),
        };
        self.operations.insert(operation, (id, Vec::new()));
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.handle_event(event);
            }
            self.drain_streams();
            let mut has_sent = false;
            while let Some(transmit) = self.endpoint.poll_transmit(1, self.now()) {
                self.transmit(&transmit);
                has_sent = true;
            }
            if !has_sent {
                return self.print();
            }
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let Some((socket, _)) = self.sockets.get(&transmit.socket) else { return };
        self.sent += 1;
        if self.loses_every.is_some_and(|every| self.sent.is_multiple_of(every)) {
            return;
        }
        if let Some(ttl) = transmit.ttl {
            let _ = socket.set_ttl(ttl.into());
        }
        let _ = socket.send_to(&transmit.bytes, SocketAddrV4::from(transmit.to));
        if transmit.ttl.is_some() {
            let _ = socket.set_ttl(64);
        }
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Bootstrapped => {
                let info = self.info();
                self.emit(json!({ "event": "bootstrapped", "info": info }));
            }
            Event::Persistent => {
                let info = self.info();
                self.emit(json!({ "event": "persistent", "info": info }));
            }
            Event::NetworkChanged if !self.endpoint.node().is_firewalled() => {
                self.emit(json!({ "event": "reachable" }));
            }
            Event::OpenSocket(socket) => self.add_socket(socket, bind(self.host, 0)),
            Event::CloseSocket(socket) => {
                if let Some((_, is_closed)) = self.sockets.remove(&socket) {
                    is_closed.store(true, Ordering::Relaxed);
                }
            }
            Event::Found { operation, reply } => {
                if let Some((_, found)) = self.operations.get_mut(&operation) {
                    found.extend(reply.peers.iter().map(|peer| {
                        let relays: Vec<_> = peer.relay_addresses.iter().map(ToString::to_string).collect();
                        json!({ "publicKey": hex(&peer.public_key), "relays": relays, "from": reply.from.to_string() })
                    }));
                }
            }
            Event::FoundPeer { operation, from, .. } => {
                if let Some((_, found)) = self.operations.get_mut(&operation) {
                    found.push(json!({ "from": from.to_string() }));
                }
            }
            Event::Finished { operation, result } => {
                let Some((id, found)) = self.operations.remove(&operation) else { return };
                let result = match result {
                    Ok(Finished::Done { closest }) => Ok(json!({ "found": found, "closest": closest.len() })),
                    Ok(Finished::Stored { target, nodes }) => {
                        Ok(json!({ "target": hex(&target), "nodes": nodes }))
                    }
                    Ok(Finished::Immutable(value)) => Ok(json!({ "value": value.map(|value| hex(&value)) })),
                    Ok(Finished::Mutable(value)) => Ok(value.map_or(
                        Value::Null,
                        |found| json!({ "seq": found.seq, "value": hex(&found.value) }),
                    )),
                    Ok(_) => Ok(Value::Null),
                    Err(error) => Err(format!("{error:?}")),
                };
                self.reply(&id, result);
            }
            Event::Sign(request) => {
                let peer = hypertab_core::dht::messages::Peer {
                    public_key: request.public_key,
                    relay_addresses: request.relay_addresses,
                };
                let number = if request.is_unannounce { 5 } else { 4 };
                let signable = signing::announce_signable(
                    number,
                    &request.target,
                    &request.node_id,
                    &request.token,
                    &peer,
                    None,
                );
                let signature = self.keys.get(&request.public_key).map(|key_pair| key_pair.sign(&signable));
                self.endpoint.signed(request.id, signature, now);
            }
            Event::NoiseSend { connection, server, payload } => self.noise_send(connection, server, &payload),
            Event::NoiseReceive { connection, server, message, .. } => {
                self.noise_receive(connection, server, &message);
            }
            Event::Listening { server } => {
                if let Some((id, key_pair)) = self.listening.get(&server) {
                    let relays: Vec<_> =
                        self.endpoint.relay_addresses(server).iter().map(ToString::to_string).collect();
                    let result = json!({ "publicKey": hex(&key_pair.public_key), "relays": relays });
                    self.reply(&id.clone(), Ok(result));
                }
            }
            Event::ServerClosed { server } => {
                self.listening.remove(&server);
                if let Some(id) = self.closing.remove(&server) {
                    self.reply(&id, Ok(Value::Null));
                }
            }
            Event::Connected { connection, server, session, remote, remote_public_key, .. } => {
                let role = if server.is_some() { Role::Responder } else { Role::Initiator };
                let kept = self.sessions.remove(&connection);
                let Some(session) = session.or(kept.map(|(_, session)| session)) else { return };
                self.emit(json!({
                    "event": "connected",
                    "remote": remote.to_string(),
                    "key": hex(&remote_public_key),
                    "server": server.is_some(),
                }));
                let options =
                    secret_stream::Options { keep_alive: Some(Duration::from_secs(5)), timeout: None };
                let wanted = self.dials.get(&connection).map(|dial| {
                    dial.command["bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
                });
                let secret =
                    SecretStream::established(role, session, options, Entropy::from_seed(&random()), now);
                self.streams.insert(
                    connection,
                    Stream {
                        secret,
                        wanted,
                        to_send: wanted.unwrap_or(0),
                        received: 0,
                        is_intact: true,
                        is_blocked: false,
                    },
                );
            }
            Event::Upgraded { remote, .. } => {
                self.emit(json!({ "event": "upgraded", "remote": remote.to_string() }));
            }
            Event::Failed { connection, error, .. } => {
                if let Some(dial) = self.dials.remove(&connection) {
                    self.reply(&dial.command["id"], Err(error.to_string()));
                }
            }
            Event::Data { connection, bytes } => {
                let len = u64::try_from(bytes.len()).unwrap_or(0);
                if let Some(stream) = self.streams.get_mut(&connection) {
                    stream.secret.handle_bytes(bytes, now);
                }
                let _ = self.endpoint.consumed(connection, len);
            }
            Event::Drain { connection } => {
                if let Some(stream) = self.streams.get_mut(&connection) {
                    stream.is_blocked = false;
                }
            }
            Event::End { connection } => {
                let _ = self.endpoint.end(connection, now);
            }
            Event::Closed { connection, error } => {
                self.streams.remove(&connection);
                self.emit(json!({ "event": "closed", "error": error.map(|error| format!("{error:?}")) }));
                if let Some(dial) = self.dials.remove(&connection) {
                    self.reply(&dial.command["id"], Err(format!("closed: {error:?}")));
                }
            }
            _ => {}
        }
    }

    fn noise_send(&mut self, connection: ConnectionId, server: Option<ServerId>, payload: &[u8]) {
        let now = self.now();
        if server.is_none() {
            let Some(dial) = self.dials.get(&connection) else { return };
            let mut handshake = handshake(&self.keys[&dial.own], Some(dial.remote));
            let Ok(message) = handshake.write(payload) else { return };
            self.handshakes.insert(connection, (Role::Initiator, handshake));
            self.endpoint.noise_sent(connection, message.into(), None, now);
        } else if let Some((role, mut handshake)) = self.handshakes.remove(&connection) {
            let Ok(message) = handshake.write(payload) else { return };
            let Ok(session) = handshake.finish() else { return };
            let secret = holepunch_secret(&session.handshake_hash);
            self.sessions.insert(connection, (role, session));
            self.endpoint.noise_sent(connection, message.into(), Some(secret), now);
        }
    }

    fn noise_receive(&mut self, connection: ConnectionId, server: Option<ServerId>, message: &[u8]) {
        let now = self.now();
        if let Some(server) = server {
            let Some((_, key_pair)) = self.listening.get(&server) else { return };
            let mut handshake = handshake(key_pair, None);
            let Ok(payload) = handshake.read(message) else { return self.endpoint.deny(connection, now) };
            let remote = handshake.remote_public_key();
            self.handshakes.insert(connection, (Role::Responder, handshake));
            self.endpoint.noise_received(connection, payload.into(), remote, None, now);
        } else if let Some((role, mut handshake)) = self.handshakes.remove(&connection) {
            let Ok(payload) = handshake.read(message) else { return self.endpoint.deny(connection, now) };
            let Ok(session) = handshake.finish() else { return };
            let secret = holepunch_secret(&session.handshake_hash);
            self.sessions.insert(connection, (role, session));
            self.endpoint.noise_received(connection, payload.into(), None, Some(secret), now);
        }
    }

    /// Moves messages between secret streams and UDX.
    fn drain_streams(&mut self) {
        let now = self.now();
        let mut done = Vec::new();
        for (connection, stream) in &mut self.streams {
            loop {
                match stream.secret.poll_event() {
                    Ok(Some(secret_stream::Event::Message(message))) => match stream.wanted {
                        Some(wanted) => {
                            let start = stream.received;
                            stream.is_intact &= message
                                .iter()
                                .enumerate()
                                .all(|(index, byte)| *byte == pattern(start + index));
                            stream.received += message.len();
                            if stream.received >= wanted {
                                done.push(*connection);
                            }
                        }
                        None => {
                            stream.secret.send(message_of(&message), now);
                        }
                    },
                    Ok(Some(secret_stream::Event::Opened { .. })) => {
                        if stream.wanted == Some(0) {
                            done.push(*connection);
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {
                        stream.is_intact = false;
                        self.endpoint.destroy(*connection, now);
                        break;
                    }
                }
            }
            while stream.to_send > 0 && !stream.is_blocked {
                let wanted = stream.wanted.unwrap_or(0);
                let start = wanted - stream.to_send;
                let len = stream.to_send.min(CHUNK);
                let chunk: Vec<u8> = (start..start + len).map(pattern).collect();
                stream.secret.send(message_of(&chunk), now);
                stream.to_send -= len;
                while let Some(bytes) = stream.secret.poll_transmit() {
                    stream.is_blocked |= !self.endpoint.write(*connection, bytes, now).unwrap_or(false);
                }
            }
            while let Some(bytes) = stream.secret.poll_transmit() {
                stream.is_blocked |= !self.endpoint.write(*connection, bytes, now).unwrap_or(false);
            }
        }
        for connection in done {
            let Some(dial) = self.dials.remove(&connection) else { continue };
            let stream = &self.streams[&connection];
            let result = json!({
                "received": stream.received,
                "intact": stream.is_intact,
                "ms": u64::try_from(dial.started.elapsed().as_millis()).unwrap_or(0),
            });
            self.reply(&dial.command["id"], Ok(result));
            if dial.command["stay"] != true {
                let _ = self.endpoint.end(connection, now);
            }
        }
    }

    fn add_socket(&mut self, id: SocketId, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let is_closed = Arc::new(AtomicBool::new(false));
        let (reader, closed, inputs) = (Arc::clone(&socket), Arc::clone(&is_closed), self.inputs.clone());
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !closed.load(Ordering::Relaxed) {
                let Ok((len, from)) = reader.recv_from(&mut buffer) else { continue };
                let std::net::SocketAddr::V4(from) = from else { continue };
                let bytes = Bytes::copy_from_slice(&buffer[..len]);
                if inputs.send(Input::Datagram(id, from.into(), bytes)).is_err() {
                    return;
                }
            }
        });
        self.sockets.insert(id, (socket, is_closed));
    }

    fn info(&self) -> Value {
        let node = self.endpoint.node();
        let address = self.sockets.get(&SocketId::SERVER).map(|(socket, _)| address_of(socket).to_string());
        json!({
            "address": address,
            "id": node.id().map(|id| hex(&id)),
            "known": node.known(),
            "firewalled": node.is_firewalled(),
            "bootstrapped": node.is_bootstrapped(),
            "stored": self.endpoint.store().map(|store| store.sizes()),
        })
    }

    fn reply(&mut self, id: &Value, result: Result<Value, String>) {
        match result {
            Ok(result) => self.emit(json!({ "id": id, "result": result })),
            Err(error) => self.emit(json!({ "id": id, "error": error })),
        }
    }

    fn emit(&mut self, message: Value) {
        self.output.push(message);
    }

    fn print(&mut self) {
        let mut stdout = std::io::stdout().lock();
        for message in self.output.drain(..) {
            let _ = writeln!(stdout, "{message}");
        }
        let _ = stdout.flush();
    }
}

fn bind(host: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((host, port)).expect("a port of this machine");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a read timeout");
    socket
}

fn address_of(socket: &UdpSocket) -> Address {
    let std::net::SocketAddr::V4(address) = socket.local_addr().expect("bound") else { panic!("not IPv4") };
    address.into()
}

fn handshake(key_pair: &KeyPair, remote: Option<[u8; 32]>) -> Handshake {
    let role = if remote.is_some() { Role::Initiator } else { Role::Responder };
    let keys = Keys { key_pair, remote_public_key: remote, psk: None };
    Handshake::new(Pattern::Ik, role, keys, &signing::namespace(0), random()).expect("keys fit the pattern")
}

/// Returns the key pair of a command, or only its public key when the command wants to be asked.
fn identity(command: &Value, keys: &mut BTreeMap<[u8; 32], KeyPair>) -> Identity {
    let key_pair = key_pair(command);
    keys.insert(key_pair.public_key, key_pair.clone());
    if command["external"] == true {
        Identity::External(key_pair.public_key)
    } else {
        Identity::Local(key_pair)
    }
}

fn key_pair(command: &Value) -> KeyPair {
    KeyPair::from_seed(&key(&command["seed"]))
}

fn message_of(bytes: &[u8]) -> Outgoing {
    let mut message = Outgoing::with_capacity(bytes.len());
    message.writer().raw(bytes);
    message
}

fn pattern(index: usize) -> u8 {
    u8::try_from(index % 251).unwrap_or(0)
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn blob(value: &Value) -> Bytes {
    HEXLOWER.decode(value.as_str().unwrap_or_default().as_bytes()).expect("hex").into()
}

fn key(value: &Value) -> [u8; 32] {
    blob(value).as_ref().try_into().expect("32 bytes in hex")
}

/// Returns one key or several, or none.
fn keys(value: &Value) -> Vec<[u8; 32]> {
    match value {
        Value::Array(values) => values.iter().map(key).collect(),
        Value::String(_) => vec![key(value)],
        _ => Vec::new(),
    }
}

fn list(value: &Value) -> Vec<Address> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(|text| text.parse::<SocketAddrV4>().expect("HOST:PORT").into()).collect()
}

/// Bytes in a message of the dialling side.
const CHUNK: usize = 16 * 1024;
