//! One core of ours, replicated over TCP, that tests drive with JSON lines: `{ id, do, .. }` in, `{ id, result }` or
//! `{ id, error, code }` and events out.
//!
//! | command | fields | result |
//! | --- | --- | --- |
//! | `open` | `key`, `path` of a redb file (else memory), `compat`, `encryption` | summary |
//! | `seed` | `count`, `size` | appends known blocks; summary |
//! | `append` | `blocks`, texts | summary |
//! | `truncate` | `length` | summary |
//! | `clear` | `start`, `end` | summary |
//! | `listen` | | `{ port }` |
//! | `connect` | `port` | |
//! | `download` | `start`, `end` | summary, once every block is here |
//! | `get` | `index` | `{ hex }` |
//! | `seek` | `bytes` | `{ block, offset }` |
//! | `update` | | summary |
//! | `bee` | `keys` | a new bee over the core, and `key-0000000` on put into it in the order of a shuffle; summary |
//! | `lookup` | `key` | `{ seq, value }` or null |
//! | `downloads` | | `{ count }` of blocks that came from peers |
//! | `info` | | summary: `key`, `length`, `byteLength`, `fork`, `contiguousLength`, `treeHash` |
//! | `close` | | closes the core |
//!
//! Events: `append`, `truncate`, `peer` with the number of peers, `verification-error`, `link-closed` with the reason.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant as Clock;

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    AppendOptions, BeeChange, BeeId, BeeOptions, BeeRead, BeeResponse, Config, CoreId, EncryptionKey, Engine,
    Event, GetOptions, Input, LinkId, LinkOptions, OpenCore, OpenOptions, Output, RangeWish, RequestId,
    Response, Role, Security, SeekOptions, Transport, TruncateOptions, UpdateOptions,
};
use hypertab_core::storage::{Intent, MemoryStore, Outcome, StoreId};
use hypertab_core::time::Instant;
use hypertab_relay::RedbStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (news, mut incoming) = mpsc::channel(64);
    let (urgent, mut answers) = mpsc::unbounded_channel();
    let lines = urgent.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(command) = serde_json::from_str::<Value>(&line.unwrap_or_default()) else { break };
            if lines.send(News::Command(command)).is_err() {
                return;
            }
        }
        let _ = lines.send(News::End);
    });
    let mut peer = Peer::new(news, urgent);
    loop {
        let wake = peer.drain();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep(at.duration_since(peer.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(news) = answers.recv() => {
                if !peer.handle(news) { return }
            }
            Some(news) = incoming.recv() => {
                if !peer.handle(news) { return }
            }
            () = sleep => peer.engine.handle_input(Input::Timeout, peer.now()),
        }
        while let Ok(news) = answers.try_recv() {
            if !peer.handle(news) {
                return;
            }
        }
        for _ in 0..16 {
            let Ok(news) = incoming.try_recv() else { break };
            if !peer.handle(news) {
                return;
            }
        }
    }
}

enum News {
    Command(Value),
    Input(Input),
    Socket(TcpStream, Role),
    Failed(Value, String),
    Port(Value, u16),
    Connected(Value, TcpStream),
    End,
}

struct Peer {
    engine: Engine,
    start: Clock,
    news: mpsc::Sender<News>,
    urgent: mpsc::UnboundedSender<News>,
    stores: BTreeMap<StoreId, std::sync::mpsc::Sender<Intent>>,
    links: BTreeMap<LinkId, mpsc::UnboundedSender<Bytes>>,
    core: Option<CoreId>,
    bee: Option<BeeId>,
    downloads: u64,
    encryption: Option<EncryptionKey>,
    waiting: BTreeMap<RequestId, Waiting>,
}

/// Who gets the answer to a request, and in which form.
enum Waiting {
    /// When it is done, the summary.
    Then(Value),
    Summary(Value),
    Get(Value),
    Seek(Value),
    Entry(Value),
    /// Keys of the shuffle are put, from the first number on to before the second.
    Fill(Value, u64, u64),
    Nothing,
}

impl Peer {
    fn new(news: mpsc::Sender<News>, urgent: mpsc::UnboundedSender<News>) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has randomness");
        let start = Clock::now();
        Self {
            engine: Engine::new(Config::default(), seed, Instant::EPOCH),
            start,
            news,
            urgent,
            stores: BTreeMap::new(),
            links: BTreeMap::new(),
            core: None,
            bee: None,
            downloads: 0,
            encryption: None,
            waiting: BTreeMap::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.start.elapsed()
    }

    /// Returns whether to go on.
    fn handle(&mut self, news: News) -> bool {
        let now = self.now();
        match news {
            News::Command(command) => {
                let id = command["id"].clone();
                if let Err(error) = self.command(&command) {
                    say(&json!({ "id": id, "error": error }));
                }
            }
            News::Input(input) => self.engine.handle_input(input, now),
            News::Socket(socket, role) => self.add_link(socket, role),
            News::Failed(id, error) => say(&json!({ "id": id, "error": error })),
            News::Port(id, port) => say(&json!({ "id": id, "result": { "port": port } })),
            News::Connected(id, socket) => {
                self.add_link(socket, Role::Initiator);
                say(&json!({ "id": id, "result": null }));
            }
            News::End => return false,
        }
        true
    }

    fn command(&mut self, command: &Value) -> Result<(), String> {
        let now = self.now();
        let id = command["id"].clone();
        let number = |field: &str| command[field].as_u64();
        let what = command["do"].as_str().unwrap_or_default();
        if what == "open" {
            return self.open(command);
        }
        let core = self.core.ok_or("no core is open")?;
        let encryption = self.encryption.clone();
        match what {
            "listen" => {
                let (urgent, news) = (self.urgent.clone(), self.news.clone());
                tokio::spawn(async move {
                    let listener = match TcpListener::bind(("127.0.0.1", 0)).await {
                        Ok(listener) => listener,
                        Err(error) => return drop(urgent.send(News::Failed(id, error.to_string()))),
                    };
                    let port = listener.local_addr().map_or(0, |address| address.port());
                    let _ = urgent.send(News::Port(id, port));
                    while let Ok((socket, _)) = listener.accept().await {
                        let _ = news.send(News::Socket(socket, Role::Responder)).await;
                    }
                });
                return Ok(());
            }
            "connect" => {
                let port =
                    u16::try_from(number("port").ok_or("no port")?).map_err(|error| error.to_string())?;
                let urgent = self.urgent.clone();
                tokio::spawn(async move {
                    let _ = urgent.send(match TcpStream::connect(("127.0.0.1", port)).await {
                        Ok(socket) => News::Connected(id, socket),
                        Err(error) => News::Failed(id, error.to_string()),
                    });
                });
                return Ok(());
            }
            "bee" => {
                if let Some(bee) = self.bee.take() {
                    self.engine.close_bee(bee, now);
                }
                let options = BeeOptions { encryption, ..BeeOptions::default() };
                self.bee = self.engine.open_bee(core, options).ok();
                self.fill(id, 0, number("keys").unwrap_or(0));
                return Ok(());
            }
            "lookup" => {
                let bee = self.bee.ok_or("no bee is open")?;
                let key = Bytes::from(command["key"].as_str().ok_or("no key")?.to_owned());
                let request = self.engine.bee_get(bee, key, BeeRead::default(), now);
                self.waiting.insert(request, Waiting::Entry(id));
                return Ok(());
            }
            "downloads" => {
                say(&json!({ "id": id, "result": { "count": self.downloads } }));
                return Ok(());
            }
            "info" => {
                self.summarize(id);
                return Ok(());
            }
            "close" => {
                let request = self.engine.close_core(core, now);
                self.waiting.insert(request, Waiting::Nothing);
                say(&json!({ "id": id, "result": null }));
                return Ok(());
            }
            _ => {}
        }
        let mut handle = self.engine.core(core).map_err(|error| error.to_string())?;
        let options = AppendOptions { encryption: encryption.clone(), ..AppendOptions::default() };
        let (request, waiting) = match what {
            "seed" => {
                let (start, count) = (handle.staged_length(), number("count").ok_or("no count")?);
                let size =
                    usize::try_from(number("size").ok_or("no size")?).map_err(|error| error.to_string())?;
                let mut last = None;
                for index in (start..start + count).step_by(500) {
                    let end = (index + 500).min(start + count);
                    let blocks = (index..end).map(|index| block(index, size)).collect();
                    let request = handle.append(blocks, options.clone());
                    last.replace(request);
                }
                (last.ok_or("nothing to append")?, Waiting::Then(id))
            }
            "append" => {
                let blocks = command["blocks"].as_array().ok_or("no blocks")?;
                let texts = blocks.iter().map(|text| text.as_str().unwrap_or_default().as_bytes());
                let blocks = texts.map(Bytes::copy_from_slice).collect();
                (handle.append(blocks, options), Waiting::Then(id))
            }
            "truncate" => {
                let length = number("length").unwrap_or(0);
                (handle.truncate(length, TruncateOptions::default()), Waiting::Then(id))
            }
            "clear" => {
                let start = number("start").unwrap_or(0);
                (handle.clear(start, number("end").unwrap_or(start + 1)), Waiting::Then(id))
            }
            "download" => {
                let start = number("start").unwrap_or(0);
                let wish = RangeWish { start, end: number("end"), ..RangeWish::default() };
                (handle.download(wish, now), Waiting::Then(id))
            }
            "get" => {
                let options = GetOptions { encryption, ..GetOptions::default() };
                (handle.get(number("index").ok_or("no index")?, options, now), Waiting::Get(id))
            }
            "seek" => {
                let padding = if encryption.is_some() { 8 } else { 0 };
                let options = SeekOptions { padding, ..SeekOptions::default() };
                (handle.seek(number("bytes").ok_or("no bytes")?, options, now), Waiting::Seek(id))
            }
            "update" => (handle.update(UpdateOptions::default(), now), Waiting::Then(id)),
            _ => return Err(format!("no command {what}")),
        };
        self.waiting.insert(request, waiting);
        Ok(())
    }

    fn open(&mut self, command: &Value) -> Result<(), String> {
        let bytes = |field: &str| -> Result<Option<[u8; 32]>, String> {
            let Some(text) = command[field].as_str() else { return Ok(None) };
            let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|error| error.to_string())?;
            Ok(Some(bytes.try_into().map_err(|_| format!("{field} is not 32 bytes"))?))
        };
        let store = self.engine.create_store();
        let (intents, work) = std::sync::mpsc::channel();
        let urgent = self.urgent.clone();
        let mut backend: Box<dyn FnMut(Intent) -> Outcome + Send> = match command["path"].as_str() {
            None => {
                let mut memory = MemoryStore::new();
                Box::new(move |intent| memory.handle_intent(intent))
            }
            Some(path) => {
                let mut file = RedbStore::open(Path::new(path)).map_err(|error| error.to_string())?;
                Box::new(move |intent| file.handle_intent(intent))
            }
        };
        std::thread::spawn(move || {
            while let Ok(intent) = work.recv() {
                let outcome = backend(intent);
                if urgent.send(News::Input(Input::Storage { store, outcome })).is_err() {
                    return;
                }
            }
        });
        self.stores.insert(store, intents);
        let key = bytes("encryption")?;
        self.encryption = key.map(|key| EncryptionKey { key: key.into(), is_block_key: false });
        let is_compat = command["compat"].as_bool().unwrap_or(false);
        let core = OpenOptions { key: bytes("key")?, is_compat, ..OpenOptions::default() };
        let (core, request) =
            self.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, self.now());
        self.core = Some(core);
        self.waiting.insert(request, Waiting::Then(command["id"].clone()));
        Ok(())
    }

    /// Puts the next keys, all together in one go after the other.
    fn fill(&mut self, id: Value, start: u64, count: u64) {
        let Some(bee) = self.bee.filter(|_| start < count) else { return self.summarize(id) };
        let put = |i: u64| {
            // In the order of a shuffle: 7,919 is a prime.
            let number = i * 7919 % count;
            BeeChange::Put(format!("key-{number:07}").into(), Some(format!("value {number}").into()))
        };
        let end = count.min(start + BATCH);
        let now = self.now();
        let request = self.engine.bee_write(bee, (start..end).map(put).collect(), now);
        self.waiting.insert(request, Waiting::Fill(id, end, count));
    }

    fn add_link(&mut self, socket: TcpStream, role: Role) {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has randomness");
        let options = LinkOptions {
            role,
            transport: Transport::Stream,
            security: Security::Noise { key_pair: KeyPair::from_seed(&seed) },
            keep_alive: None,
            timeout: None,
        };
        let now = self.now();
        let link = self.engine.open_link(options, now);
        if let Some(core) = self.core {
            let _ = self.engine.attach(core, link, now);
        }
        let _ = socket.set_nodelay(true);
        let (mut reader, mut writer) = socket.into_split();
        let (outgoing, mut bytes) = mpsc::unbounded_channel::<Bytes>();
        self.links.insert(link, outgoing);
        let (news, urgent) = (self.news.clone(), self.urgent.clone());
        tokio::spawn(async move {
            loop {
                let mut buffer = BytesMut::with_capacity(65536);
                let input = match reader.read_buf(&mut buffer).await {
                    Ok(0) => Input::LinkClosed { link, reason: None },
                    Ok(_) => Input::Bytes { link, bytes: buffer.freeze() },
                    Err(error) => Input::LinkClosed { link, reason: Some(error.to_string()) },
                };
                let is_over = matches!(input, Input::LinkClosed { .. });
                if news.send(News::Input(input)).await.is_err() || is_over {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(bytes) = bytes.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
                let bytes = bytes.len() as u64;
                let _ = urgent.send(News::Input(Input::Credit { link, bytes }));
            }
            let _ = writer.shutdown().await;
        });
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.engine.poll_output(self.now()) {
                Output::Transmit { link, bytes } => {
                    if let Some(wire) = self.links.get(&link) {
                        let _ = wire.send(bytes);
                    }
                }
                Output::Storage { store, intent } => {
                    if let Some(disk) = self.stores.get(&store) {
                        let _ = disk.send(intent);
                    }
                }
                Output::FinishLink { .. } => {}
                Output::CloseLink { link, .. } => {
                    self.links.remove(&link);
                }
                Output::Event(event) => self.handle_event(event),
                Output::Idle { wake_at } => return wake_at,
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        let peers = |engine: &mut Engine, core| engine.core(core).map_or(0, |handle| handle.peers().len());
        match event {
            Event::Done { request, result } => self.answer(request, result),
            Event::CoreAppend { core, .. } => {
                let length = self.engine.core(core).map_or(0, |handle| handle.length());
                say(&json!({ "event": "append", "length": length }));
            }
            Event::CoreTruncate { ancestors, fork, .. } => {
                say(&json!({ "event": "truncate", "ancestors": ancestors, "fork": fork }));
            }
            Event::PeerAdd { core, .. } | Event::PeerRemove { core, .. } => {
                let count = peers(&mut self.engine, core);
                say(&json!({ "event": "peer", "count": count }));
            }
            Event::Download { .. } => self.downloads += 1,
            Event::VerificationError { error, block, .. } => {
                say(&json!({ "event": "verification-error", "error": format!("{error:?}"), "block": block }));
            }
            Event::LinkClosed { link, reason } => {
                self.links.remove(&link);
                say(&json!({ "event": "link-closed", "reason": reason.to_string() }));
            }
            _ => {}
        }
    }

    fn answer(&mut self, request: RequestId, result: Result<Response, hypertab_core::engine::Error>) {
        let Some(waiting) = self.waiting.remove(&request) else { return };
        let id = match &waiting {
            Waiting::Then(id)
            | Waiting::Summary(id)
            | Waiting::Get(id)
            | Waiting::Seek(id)
            | Waiting::Entry(id)
            | Waiting::Fill(id, ..) => id.clone(),
            Waiting::Nothing => return,
        };
        let result = match (waiting, result) {
            (_, Err(error)) => {
                return say(&json!({ "id": id, "error": error.to_string(), "code": error.code() }));
            }
            (Waiting::Then(id), Ok(_)) => return self.summarize(id),
            (Waiting::Fill(id, next, count), Ok(_)) => return self.fill(id, next, count),
            (Waiting::Entry(_), Ok(Response::Bee(BeeResponse::Entry(Some(entry))))) => {
                let value = entry.value.as_deref().map(String::from_utf8_lossy);
                json!({ "seq": entry.seq, "value": value })
            }
            (Waiting::Summary(_), Ok(Response::TreeHash(hash))) => self.summary(hash),
            (Waiting::Get(_), Ok(Response::Block(Some(block)))) => json!({ "hex": HEXLOWER.encode(&block) }),
            (Waiting::Seek(_), Ok(Response::Seek(Some((block, offset))))) => {
                json!({ "block": block, "offset": offset })
            }
            _ => Value::Null,
        };
        say(&json!({ "id": id, "result": result }));
    }

    fn summarize(&mut self, id: Value) {
        let now = self.now();
        let handle = self.core.and_then(|core| self.engine.core(core).ok());
        let Some(mut handle) = handle else { return say(&json!({ "id": id, "result": null })) };
        let length = handle.length();
        let request = handle.tree_hash(length, now);
        self.waiting.insert(request, Waiting::Summary(id));
    }

    fn summary(&mut self, hash: [u8; 32]) -> Value {
        let padding = if self.encryption.is_some() { 8 } else { 0 };
        let handle = self.core.and_then(|core| self.engine.core(core).ok());
        let Some(handle) = handle else { return Value::Null };
        json!({
            "key": HEXLOWER.encode(&handle.key()),
            "length": handle.length(),
            "byteLength": handle.byte_length() - padding * handle.length(),
            "fork": handle.fork(),
            "contiguousLength": handle.contiguous_length(),
            "treeHash": (handle.length() > 0).then(|| HEXLOWER.encode(&hash)),
        })
    }
}

/// Returns what `block` of `tests/interop/support/upstream.mjs` returns.
fn block(index: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    let mut x = (index as u32).wrapping_add(1).wrapping_mul(2_654_435_761);
    for word in bytes.chunks_exact_mut(4) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        word.copy_from_slice(&x.to_le_bytes());
    }
    bytes.into()
}

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: the end of stdin is next.
    let _ = writeln!(out, "{message}");
}

/// Keys that are put together.
const BATCH: u64 = 200_000;
