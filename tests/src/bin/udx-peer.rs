//! A UDX peer on loopback that tests drive with JSON lines: `{ id, do, .. }` in, `{ id, result }` and events out.
//!
//! | command | fields | result |
//! | --- | --- | --- |
//! | `open` | | `{ port, stream }` |
//! | `connect` | `stream`, `port`, `remote`, `host` | |
//! | `send` | `stream`, `bytes`, `end` | writes bytes of a known pattern as fast as the stream takes them |
//! | `message` | `stream`, `text` | |
//! | `hold` | `stream`, `limit` | reads on without consuming, with a window of `limit` bytes |
//! | `release` | `stream` | consumes again |
//! | `destroy` | `stream` | |
//!
//! Events: `incoming` (accepted at once), `data` (first bytes), `message`, `end` with the bytes received and
//! whether they kept to the pattern, `close` with the reason.
//!
//! `--host=ADDRESS` is bound instead of loopback. `--plain` sends and receives one datagram per call of the kernel; `--bare` sends zeros and looks at nothing, for figures.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, IoSliceMut, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant as Clock;

use bytes::Bytes;
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::{
    Address, Event, Options, Remote, SocketId, StreamEvent, StreamId, StreamOptions, Udx,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let (lines, mut commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(command) = serde_json::from_str::<Value>(&line.unwrap_or_default()) else { return };
            if lines.send(command).is_err() {
                return;
            }
        }
    });
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    let host = std::env::args().find_map(|arg| arg.strip_prefix("--host=")?.parse().ok());
    let mut peer = Peer::bind(host.unwrap_or(Ipv4Addr::LOCALHOST), has("--plain"), has("--bare")).await?;
    loop {
        peer.drive()?;
        let wake = peer.udx.poll_timeout().map(|at| at.duration_since(peer.now()));
        let interest = if peer.unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            ready = peer.socket.ready(interest) => { ready?; }
            () = sleep(wake) => {}
            command = commands.recv() => match command {
                Some(command) => peer.handle_command(&command),
                None => return Ok(()),
            },
        }
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

struct Peer {
    started: Clock,
    socket: UdpSocket,
    state: UdpSocketState,
    segments: usize,
    port: u16,
    udx: Udx,
    streams: BTreeMap<StreamId, Transfer>,
    /// Filled by the machine, and kept while the kernel has no room.
    out: Vec<u8>,
    transmit: Option<hypertab_core::udx::Transmit>,
    unsent: bool,
    is_bare: bool,
    inbox: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Transfer {
    written: usize,
    to_write: usize,
    ends: bool,
    is_full: bool,
    received: usize,
    is_intact: bool,
    is_held: bool,
    unconsumed: u64,
    pending: VecDeque<Bytes>,
}

impl Peer {
    async fn bind(host: Ipv4Addr, is_plain: bool, is_bare: bool) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((host, 0)).await?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        let batched = 1172 * state.gro_segments().max(1);
        Ok(Self {
            started: Clock::now(),
            port: socket.local_addr()?.port(),
            segments: if is_plain { 1 } else { state.max_gso_segments().min(55) },
            socket,
            state,
            udx: Udx::new(
                Options::default(),
                std::process::id().to_le_bytes().repeat(8).try_into().unwrap_or([7; 32]),
            ),
            streams: BTreeMap::new(),
            out: Vec::new(),
            transmit: None,
            unsent: false,
            is_bare,
            inbox: vec![vec![0; batched.max(2048)]; BATCH_SIZE],
        })
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn drive(&mut self) -> std::io::Result<()> {
        for _ in 0..RECEIVES_PER_TURN {
            if !self.receive()? {
                break;
            }
            self.handle_events();
        }
        let now = self.now();
        self.udx.handle_timeout(now);
        loop {
            self.handle_events();
            self.write();
            if !self.send()? {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> std::io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let received = {
            let mut slices: Vec<_> = self.inbox.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let (state, socket) = (&self.state, &self.socket);
            socket
                .try_io(Interest::READABLE, || state.recv(UdpSockRef::from(socket), &mut slices, &mut metas))
        };
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let now = self.now();
        for (meta, buffer) in metas.iter().zip(&self.inbox).take(count) {
            let SocketAddr::V4(from) = meta.addr else { continue };
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.udx.handle_datagram(SocketId(0), from.into(), datagram, now);
            }
        }
        Ok(true)
    }

    /// Sends one batch and returns whether to go on.
    fn send(&mut self) -> std::io::Result<bool> {
        let now = self.now();
        let transmit = match self.transmit.take() {
            Some(transmit) => transmit,
            None => match self.udx.poll_transmit(self.segments, &mut self.out, now) {
                Some(transmit) => transmit,
                None => return Ok(false),
            },
        };
        let datagrams = Transmit {
            destination: SocketAddrV4::from(transmit.to).into(),
            ecn: None,
            contents: &self.out,
            segment_size: (self.out.len() > transmit.segment).then_some(transmit.segment),
            src_ip: None,
        };
        let (state, socket) = (&self.state, &self.socket);
        let sent = socket.try_io(Interest::WRITABLE, || state.try_send(UdpSockRef::from(socket), &datagrams));
        self.unsent = matches!(&sent, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        if self.unsent {
            self.transmit = Some(transmit);
        }
        Ok(!self.unsent)
    }

    fn write(&mut self) {
        for (&id, transfer) in &mut self.streams {
            while transfer.written < transfer.to_write && !transfer.is_full {
                let end = transfer.to_write.min(transfer.written + CHUNK);
                let chunk = if self.is_bare {
                    Bytes::from_static(&ZEROS[..end - transfer.written])
                } else {
                    (transfer.written..end).map(pattern).collect()
                };
                let Ok(has_room) = self.udx.write(id, chunk) else { break };
                transfer.written = end;
                transfer.is_full = !has_room;
            }
            if transfer.ends && transfer.written == transfer.to_write {
                transfer.ends = false;
                let _ = self.udx.end(id);
            }
        }
    }

    fn handle_events(&mut self) {
        let now = self.now();
        while let Some((id, event)) = self.udx.poll_event(now) {
            match event {
                Event::Incoming { socket, from } => {
                    let _ = self.udx.accept(id, socket, from, now);
                    say(&json!({ "event": "incoming", "stream": id.0, "port": from.port }));
                }
                Event::Stream(event) => self.handle_stream(id, event),
                _ => {}
            }
        }
    }

    fn handle_stream(&mut self, id: StreamId, event: StreamEvent) {
        let transfer = self.streams.entry(id).or_default();
        match event {
            StreamEvent::Data(bytes) => {
                if transfer.received == 0 {
                    say(&json!({ "event": "data", "stream": id.0 }));
                }
                if !self.is_bare {
                    let expected = (transfer.received..).map(pattern);
                    transfer.is_intact &= bytes.iter().copied().eq(expected.take(bytes.len()));
                }
                transfer.received += bytes.len();
                transfer.unconsumed += bytes.len() as u64;
                if !transfer.is_held {
                    let _ = self.udx.consumed(id, std::mem::take(&mut transfer.unconsumed));
                } else {
                    transfer.pending.push_back(bytes);
                }
            }
            StreamEvent::Message(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                say(&json!({ "event": "message", "stream": id.0, "text": text }));
            }
            StreamEvent::End => {
                let (received, intact) = (transfer.received, transfer.is_intact);
                say(&json!({ "event": "end", "stream": id.0, "received": received, "intact": intact }));
            }
            StreamEvent::Drain => transfer.is_full = false,
            StreamEvent::Closed(close) => {
                say(
                    &json!({ "event": "close", "stream": id.0, "reason": format!("{close:?}"), "received": transfer.received }),
                );
            }
            _ => {}
        }
    }

    fn handle_command(&mut self, command: &Value) {
        let number = |name: &str| command[name].as_u64().unwrap_or(0);
        let now = self.now();
        let id = StreamId(u32::try_from(number("stream")).unwrap_or(0));
        let result = match command["do"].as_str().unwrap_or_default() {
            "open" => self.udx.open(StreamOptions::default(), now).map(|id| {
                self.streams.insert(id, Transfer { is_intact: true, ..Transfer::default() });
                json!({ "port": self.port, "stream": id.0 })
            }),
            "connect" => {
                let host = command["host"].as_str().and_then(|host| host.parse().ok());
                let host: Ipv4Addr = host.unwrap_or(Ipv4Addr::LOCALHOST);
                let address = Address::new(host.octets(), u16::try_from(number("port")).unwrap_or(0));
                let remote = u32::try_from(number("remote")).unwrap_or(0);
                self.udx
                    .connect(id, Remote { socket: SocketId(0), address, id: remote }, now)
                    .map(|()| Value::Null)
            }
            "send" => {
                let transfer = self.streams.entry(id).or_default();
                transfer.to_write += usize::try_from(number("bytes")).unwrap_or(0);
                transfer.ends = command["end"].as_bool().unwrap_or(false);
                Ok(Value::Null)
            }
            "message" => {
                let text = command["text"].as_str().unwrap_or_default().as_bytes().to_vec();
                self.udx.send_message(id, text.into()).map(Value::from)
            }
            "hold" => {
                self.streams.entry(id).or_default().is_held = true;
                let limit = u32::try_from(number("limit")).unwrap_or(u32::MAX);
                self.udx.set_receive_limit(id, limit).map(|()| Value::Null)
            }
            "release" => {
                let transfer = self.streams.entry(id).or_default();
                transfer.is_held = false;
                transfer.pending.clear();
                self.udx.consumed(id, std::mem::take(&mut transfer.unconsumed)).map(|()| Value::Null)
            }
            "stats" => Ok(json!({
                "stats": format!("{:?}", self.udx.stats(id)),
                "received": self.streams.get(&id).map(|transfer| transfer.received),
            })),
            "destroy" => self.udx.destroy(id).map(|()| Value::Null),
            other => return say(&json!({ "id": command["id"], "error": format!("no command {other}") })),
        };
        match result {
            Ok(result) => say(&json!({ "id": command["id"], "result": result })),
            Err(error) => say(&json!({ "id": command["id"], "error": error.to_string() })),
        }
    }
}

fn say(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// The byte that both sides expect at a position.
fn pattern(at: usize) -> u8 {
    u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap_or(0)
}

const CHUNK: usize = 65_536;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

const SOCKET_BUFFER: usize = 4 << 20;

/// Batches read before writing gets its turn.
const RECEIVES_PER_TURN: usize = 8;
