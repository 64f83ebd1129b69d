//! The near end of the load: one WebSocket to a relay, with streams through it. It says what it has read and may come back, as tabs
//! of ours do, where the relay has ears for that.
//!
//! | command | fields | result |
//! | --- | --- | --- |
//! | `open` | `streams` | when so many are open |
//! | `send`, `receive` | `bytes` | `{ seconds }` until all streams together carried so many |
//! | `dial` | `dials`, `atOnce` | `{ seconds, failed }`; each stream is broken off when it is open, and dialled anew if it is not within a second |
//! | `close` | | breaks all streams off |

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead};
use std::time::Instant as Clock;

use bytes::{Buf, Bytes, BytesMut};
use data_encoding::HEXLOWER;
use hypertab_core::compact_encoding::Encode;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht_relay::resume::{RESUME_PROTOCOL, decode_ack, encode_ack};
use hypertab_core::dht_relay::{CREDIT_PROTOCOL, Client, ClientEvent, Credit, PROTOCOL, StreamId};
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use hypertab_core::time::{Duration, Instant};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::{CHUNK, Wish, ZEROS, random, say};

/// Runs until standard input ends or the relay closes the link.
pub(crate) async fn run(url: &str, keys: &[&str]) -> io::Result<()> {
    let key = |text: &&str| HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok();
    let remotes = keys.iter().map(key).collect::<Option<VecDeque<[u8; 32]>>>();
    let remotes = remotes.ok_or_else(|| io::Error::other("KEY is 64 hex digits"))?;
    let (lines, mut commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(command) = serde_json::from_str::<Value>(&line) else { return };
            if lines.send(command).is_err() {
                return;
            }
        }
    });
    let mut tab = Tab::new(remotes);
    let socket = connect(url, &mut tab.input).await?;
    loop {
        tab.drain();
        let interest = Interest::READABLE;
        let interest = if tab.output.is_empty() { interest } else { interest | Interest::WRITABLE };
        let wake = tab.client.poll_timeout().into_iter().chain(tab.opening.values().copied()).min();
        let wake = wake.map_or(PATIENCE, |at| at.duration_since(tab.now()));
        tokio::select! {
            ready = socket.ready(interest) => {
                let ready = ready?;
                if ready.is_writable() {
                    tab.write(&socket)?;
                }
                if ready.is_readable() && !tab.read(&socket)? {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(wake) => tab.handle_timeout(),
            command = commands.recv() => match command {
                Some(command) => tab.handle_command(&command),
                None => return Ok(()),
            },
        }
    }
}

/// Opens the WebSocket; what came after its head is left in `input`.
async fn connect(url: &str, input: &mut BytesMut) -> io::Result<TcpStream> {
    let host = url.trim_start_matches("ws://").trim_end_matches('/');
    let mut socket = TcpStream::connect(host).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    loop {
        if socket.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            if !input.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other("the relay refuses the tab"));
            }
            input.advance(end + 4);
            return Ok(socket);
        }
    }
}

struct Tab {
    clock: Clock,
    /// Whom to dial next, and then.
    remotes: VecDeque<[u8; 32]>,
    client: Client,
    mux: Mux,
    channel: ChannelId,
    credit: Option<ChannelId>,
    resume: Option<ChannelId>,
    acks: Acks,
    input: BytesMut,
    output: BytesMut,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that are not open, and until when that is waited for.
    opening: BTreeMap<StreamId, Instant>,
    job: Option<Job>,
}

/// Frames of the relay's, and what it was told of them.
#[derive(Default)]
struct Acks {
    /// The relay holds links.
    are_wanted: bool,
    received: u64,
    told: u64,
    untold: usize,
}

#[derive(Default)]
struct Stream {
    to_send: u64,
    to_receive: u64,
    queued: usize,
}

/// The command that is carried out.
struct Job {
    id: Value,
    started: Clock,
    /// Streams that are not done, or dials that have not come about.
    left: u64,
    /// Dials to begin.
    to_dial: u64,
    is_dialling: bool,
    failed: u64,
}

impl Tab {
    fn new(remotes: VecDeque<[u8; 32]>) -> Self {
        let key_pair = KeyPair::from_seed(&random());
        let mut mux = Mux::new();
        let channel = mux.open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() });
        let credit = mux.open(&OpenChannel { protocol: CREDIT_PROTOCOL, ..OpenChannel::default() });
        let resume = mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, ..OpenChannel::default() });
        Self {
            clock: Clock::now(),
            remotes,
            client: Client::new(key_pair.public_key, random(), Instant::EPOCH),
            mux,
            channel: channel.expect("first channel of a new mux"),
            credit,
            resume,
            acks: Acks::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            streams: BTreeMap::new(),
            opening: BTreeMap::new(),
            job: None,
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.clock.elapsed()
    }

    fn handle_command(&mut self, command: &Value) {
        let number = |name: &str| command[name].as_u64().unwrap_or(0);
        let streams = u64::try_from(self.streams.len()).unwrap_or(0);
        let mut job = Job {
            id: command["id"].clone(),
            started: Clock::now(),
            left: streams,
            to_dial: 0,
            is_dialling: false,
            failed: 0,
        };
        match command["do"].as_str().unwrap_or_default() {
            "open" => {
                job.left = number("streams");
                self.job = Some(job);
                (0..number("streams")).for_each(|_| self.dial());
            }
            "dial" => {
                (job.left, job.to_dial, job.is_dialling) = (number("dials"), number("dials"), true);
                let at_once = number("atOnce").min(job.to_dial);
                job.to_dial -= at_once;
                self.job = Some(job);
                (0..at_once).for_each(|_| self.dial());
            }
            what @ ("send" | "receive") if streams > 0 => {
                let bytes = number("bytes") / streams;
                self.job = Some(job);
                for (id, stream) in &mut self.streams {
                    let wish = if what == "send" { Wish::Take(bytes) } else { Wish::Give(bytes) };
                    let _ = self.client.write(*id, Bytes::copy_from_slice(&wish.encode()));
                    (stream.to_send, stream.to_receive) =
                        if what == "send" { (bytes, 1) } else { (0, bytes) };
                    stream.queued += Wish::LEN;
                }
            }
            "close" => {
                for id in std::mem::take(&mut self.streams).into_keys() {
                    self.client.destroy(id, None);
                }
                say(&json!({ "id": job.id, "result": null }));
            }
            other => say(&json!({ "id": job.id, "error": format!("cannot {other} here") })),
        }
    }

    fn dial(&mut self) {
        let now = self.now();
        self.remotes.rotate_left(1);
        let stream = self.client.connect(self.remotes[0], &KeyPair::from_seed(&random()), now);
        self.opening.insert(stream, now + PATIENCE);
    }

    fn dial_again(&mut self) {
        if let Some(job) = &mut self.job {
            job.failed += 1;
        }
        self.dial();
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.client.handle_timeout(now);
        let late: Vec<_> = self.opening.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for stream in late {
            self.opening.remove(&stream);
            self.client.destroy(stream, None);
            self.dial_again();
        }
    }

    /// One stream has done what the command wants of it, or one dial has come about.
    fn step(&mut self) {
        let Some(job) = &mut self.job else { return };
        job.left -= 1;
        if job.left == 0 {
            let seconds = job.started.elapsed().as_secs_f64();
            say(&json!({ "id": job.id, "result": { "seconds": seconds, "failed": job.failed } }));
            self.job = None;
        } else if job.to_dial > 0 {
            job.to_dial -= 1;
            self.dial();
        }
    }

    fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Opened { stream, .. } => {
                self.opening.remove(&stream);
                if self.job.as_ref().is_some_and(|job| job.is_dialling) {
                    self.client.destroy(stream, None);
                } else {
                    self.streams.insert(stream, Stream::default());
                }
                self.step();
            }
            ClientEvent::Closed { stream, .. } => {
                let was_open = self.streams.remove(&stream).is_some();
                if !was_open && self.opening.remove(&stream).is_some() {
                    self.dial_again();
                }
            }
            ClientEvent::Sent { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.queued = stream.queued.saturating_sub(bytes);
                }
            }
            ClientEvent::Data { stream, bytes } => {
                self.client.consumed(stream, bytes.len());
                let Some(stream) = self.streams.get_mut(&stream) else { return };
                let before = stream.to_receive;
                stream.to_receive = before.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                if before > 0 && stream.to_receive == 0 {
                    self.step();
                }
            }
            ClientEvent::Failed(failure) => say(&json!({ "event": "failed", "why": failure.to_string() })),
            _ => {}
        }
    }

    fn handle_frame(&mut self, frame: Bytes) {
        let now = self.now();
        if self.acks.are_wanted && matches!(decode_ack(&frame), Ok(Some(_))) {
            return self.client.handle_alive(now);
        }
        self.acks.received += 1;
        self.acks.untold += frame.len();
        self.mux.handle_message(frame);
        loop {
            match self.mux.poll_event() {
                Ok(Some(MuxEvent::Opened { channel, .. })) if Some(channel) == self.resume => {
                    self.acks.are_wanted = true;
                }
                Ok(Some(MuxEvent::Opened { channel, .. })) if channel == self.channel => {
                    self.client.handle_open(now);
                }
                Ok(Some(MuxEvent::Message { message_type, payload, .. })) => {
                    self.client.handle_message(message_type, &payload, now);
                }
                Ok(Some(MuxEvent::RemoteOpen { open, .. })) => self.mux.reject(open),
                Ok(Some(MuxEvent::Closed { channel })) if channel == self.channel => {
                    self.client.handle_closed();
                }
                Ok(Some(MuxEvent::Closed { channel })) if Some(channel) == self.credit => self.credit = None,
                Ok(Some(MuxEvent::Opened { .. } | MuxEvent::Closed { .. })) => {}
                Ok(None) => return self.acknowledge(),
                Err(error) => return say(&json!({ "event": "failed", "why": format!("{error:?}") })),
            }
        }
    }

    fn acknowledge(&mut self) {
        let Acks { are_wanted, received, told, untold } = self.acks;
        if are_wanted && (untold >= ACK_BYTES || received - told >= ACK_FRAMES) {
            (self.acks.told, self.acks.untold) = (received, 0);
            self.put(&encode_ack(received));
        }
    }

    /// Lets everything happen that can, and fills `output`.
    fn drain(&mut self) {
        loop {
            while let Some(event) = self.client.poll_event() {
                self.handle_event(event);
            }
            for (id, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.to_send > 0) {
                while stream.to_send > 0 && stream.queued < QUEUE {
                    let len = usize::try_from(stream.to_send).unwrap_or(CHUNK).min(CHUNK);
                    if self.client.write(*id, Bytes::from_static(&ZEROS[..len])).is_err() {
                        break;
                    }
                    stream.queued += len;
                    stream.to_send -= u64::try_from(len).unwrap_or(0);
                }
            }
            while let Some(read) = self.client.poll_credit() {
                if let Some(channel) = self.credit {
                    self.mux.send(channel, Credit::TYPE, &read.to_vec());
                }
            }
            let Some(message) = self.client.poll_transmit(self.output.len() < OUTPUT) else { break };
            self.mux.send_encoded(self.channel, message.message_type(), &message);
            self.frame();
        }
        self.frame();
    }

    fn frame(&mut self) {
        while let Some(frame) = self.mux.poll_transmit() {
            self.put(&frame.into_plain());
        }
    }

    /// Puts a frame into a binary message, masked with zeros.
    fn put(&mut self, payload: &[u8]) {
        self.output.extend_from_slice(&[0x82]);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(len @ 0..126), _) => self.output.extend_from_slice(&[0x80 | len]),
            (_, Ok(len)) => {
                self.output.extend_from_slice(&[0x80 | 126]);
                self.output.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                self.output.extend_from_slice(&[0x80 | 127]);
                self.output.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        self.output.extend_from_slice(&[0; 4]);
        self.output.extend_from_slice(payload);
    }

    fn write(&mut self, socket: &TcpStream) -> io::Result<()> {
        match socket.try_write(&self.output) {
            Ok(len) => self.output.advance(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads what is there, and reports whether the link goes on.
    fn read(&mut self, socket: &TcpStream) -> io::Result<bool> {
        self.input.reserve(READ);
        match socket.try_read_buf(&mut self.input) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
        let mut wrote = Clock::now();
        while let Some((kind, payload)) = self.next_frame() {
            match kind & 0x0f {
                2 => self.handle_frame(payload),
                8 => return Ok(false),
                _ => {}
            }
            // As a page, which takes one message at a time: handshakes that came together would hold each other up.
            if wrote.elapsed() > TURN {
                self.drain();
                self.write(socket)?;
                wrote = Clock::now();
            }
        }
        Ok(true)
    }

    /// Takes one whole frame out of `input`.
    fn next_frame(&mut self) -> Option<(u8, Bytes)> {
        let (kind, short) = (*self.input.first()?, self.input.get(1)? & 0x7f);
        let (head, len) = match short {
            126 => (4, u64::from(u16::from_be_bytes(self.input.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.input.get(2..10)?.try_into().ok()?)),
            len => (2, u64::from(len)),
        };
        let len = usize::try_from(len).ok()?;
        if self.input.len() < head + len {
            return None;
        }
        self.input.advance(head);
        Some((kind, self.input.split_to(len).freeze()))
    }
}

/// How long a dial may take. Upstream's relay leaves some of them without an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes and frames after which the relay is told that they are here, as a tab of ours tells it.
const ACK_BYTES: usize = 256 * 1024;
const ACK_FRAMES: u64 = 32;

/// How long what came together is taken in before something is sent.
const TURN: Duration = Duration::from_micros(200);

/// Bytes of one stream that wait in the client.
const QUEUE: usize = 4 * CHUNK;

/// Bytes that wait for the socket before streams have to.
const OUTPUT: usize = 4 * CHUNK;

/// Room for one read.
const READ: usize = 4 * CHUNK;
