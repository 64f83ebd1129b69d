//! An engine on files and sockets, driven by one thread, for measurements.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant as Clock;

use bytes::{Buf as _, Bytes};
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    Config, CoreId, Engine, Event, Input, LinkId, LinkOptions, OpenCore, OpenOptions, Output, RequestId,
    Response, Role, Security, Transport,
};
use hypertab_core::storage::log_store::FileStore;
use hypertab_core::storage::{Durability, Intent, StoreId};
use hypertab_core::time::{Duration, Instant};
use mio::{Events, Interest, Poll, Token};

use crate::disk_file::DiskFile;

/// One engine and what it needs.
pub struct Host {
    /// The engine; call [`drain`](Self::drain) after a command.
    pub engine: Engine,
    start: Clock,
    /// Hands commits to the system without waiting for the disk, as upstream does.
    is_relaxed: bool,
    stores: BTreeMap<StoreId, FileStore<DiskFile>>,
    poll: Poll,
    sockets: BTreeMap<Token, Socket>,
    last_socket: usize,
    done: BTreeMap<RequestId, Response>,
    wake_at: Option<Instant>,
    /// Blocks that came from peers.
    pub downloads: u64,
}

impl Host {
    /// Starts an engine. With `is_relaxed`, no commit waits for the disk.
    pub fn new(seed: u8, is_relaxed: bool) -> Self {
        Host {
            engine: Engine::new(Config::default(), [seed; 32], Instant::EPOCH),
            start: Clock::now(),
            is_relaxed,
            stores: BTreeMap::new(),
            sockets: BTreeMap::new(),
            poll: Poll::new().expect("room for a poll"),
            last_socket: 0,
            done: BTreeMap::new(),
            wake_at: None,
            downloads: 0,
        }
    }

    /// The engine's time.
    pub fn now(&self) -> Instant {
        Instant::EPOCH + self.start.elapsed()
    }

    /// Opens a core whose store is a file.
    pub fn open(&mut self, path: &Path, core: OpenOptions) -> CoreId {
        let store = self.store(path);
        self.open_in(store, core)
    }

    /// Opens a store that is a file.
    pub fn store(&mut self, path: &Path) -> StoreId {
        let store = self.engine.create_store();
        self.stores.insert(store, FileStore::open(DiskFile::open(path).expect("a file")));
        store
    }

    /// Opens a core in a store.
    pub fn open_in(&mut self, store: StoreId, core: OpenOptions) -> CoreId {
        let now = self.now();
        let (core, request) = self.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, now);
        self.wait(request);
        core
    }

    /// Closes every store, so that the next opening finds a checkpoint.
    pub fn close(mut self) {
        self.stores.values_mut().for_each(FileStore::close);
    }

    /// Replicates cores over a socket.
    pub fn attach(&mut self, cores: &[CoreId], socket: TcpStream, role: Role) -> LinkId {
        let key_pair = KeyPair::from_seed(&[if role == Role::Initiator { 3 } else { 4 }; 32]);
        let security = Security::Noise { key_pair };
        let options =
            LinkOptions { role, transport: Transport::Stream, security, keep_alive: None, timeout: None };
        let now = self.now();
        let link = self.engine.open_link(options, now);
        for core in cores {
            self.engine.attach(*core, link, now).expect("both are there");
        }
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_nonblocking(true).expect("a TCP socket");
        self.last_socket += 1;
        let mut socket = Socket::new(link, mio::net::TcpStream::from_std(socket));
        let (token, interest) = (Token(self.last_socket), Interest::READABLE | Interest::WRITABLE);
        self.poll.registry().register(&mut socket.stream, token, interest).expect("room for a socket");
        self.sockets.insert(token, socket);
        self.drain();
        link
    }

    /// Replicates one more core over all sockets.
    pub fn attach_more(&mut self, core: CoreId) {
        let now = self.now();
        for socket in self.sockets.values() {
            self.engine.attach(core, socket.link, now).expect("both are there");
        }
        self.drain();
    }

    /// Carries on until a request is answered.
    ///
    /// # Panics
    ///
    /// Panics when it fails: nothing that is measured may.
    pub fn wait(&mut self, request: RequestId) -> Response {
        self.drain();
        loop {
            if let Some(response) = self.done.remove(&request) {
                return response;
            }
            self.step();
        }
    }

    /// Waits for something to arrive, at most a little while, and carries on. Returns false when a peer is gone.
    pub fn step(&mut self) -> bool {
        let now = self.now();
        let sleep = self.wake_at.map_or(MAX_SLEEP, |at| at.duration_since(now).min(MAX_SLEEP));
        let has_more = self.sockets.values().any(|socket| socket.is_readable);
        let sleep = if has_more { Duration::ZERO } else { sleep };
        let mut events = Events::with_capacity(16);
        match self.poll.poll(&mut events, Some(sleep)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("waiting for sockets: {error}"),
            _ => {}
        }
        for event in &events {
            if let Some(socket) = self.sockets.get_mut(&event.token()) {
                socket.is_readable |= event.is_readable();
                socket.is_writable |= event.is_writable();
            }
        }
        let now = self.now();
        let mut gone = Vec::new();
        for (token, socket) in &mut self.sockets {
            let link = socket.link;
            if let Some(bytes) = socket.flush().filter(|bytes| *bytes > 0) {
                self.engine.handle_input(Input::Credit { link, bytes }, now);
            }
            let bytes = socket.read();
            if !bytes.is_empty() {
                self.engine.handle_input(Input::Bytes { link, bytes }, now);
            }
            if socket.is_ended {
                self.engine.handle_input(Input::LinkClosed { link, reason: None }, now);
                gone.push(*token);
            }
        }
        gone.iter().for_each(|token| drop(self.sockets.remove(token)));
        self.engine.handle_input(Input::Timeout, now);
        self.drain();
        gone.is_empty()
    }

    /// Carries out all that the engine wants.
    pub fn drain(&mut self) {
        let now = self.now();
        loop {
            match self.engine.poll_output(now) {
                Output::Transmit { link, bytes } => {
                    let socket = self.sockets.values_mut().find(|socket| socket.link == link);
                    if let Some(bytes) = socket.and_then(|socket| socket.write(bytes)) {
                        self.engine.handle_input(Input::Credit { link, bytes }, now);
                    }
                }
                Output::Storage { store, mut intent } => {
                    if let Intent::Commit { durability, .. } = &mut intent
                        && self.is_relaxed
                    {
                        *durability = Durability::Relaxed;
                    }
                    let disk = self.stores.get_mut(&store).expect("made with the store");
                    disk.handle_intent(intent);
                    while let Some(outcome) = disk.poll_outcome() {
                        self.engine.handle_input(Input::Storage { store, outcome }, now);
                    }
                }
                Output::Event(Event::Done { request, result }) => {
                    self.done.insert(request, result.expect("nothing that is measured fails"));
                }
                Output::Event(Event::Download { .. }) => self.downloads += 1,
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                _ => {}
            }
        }
    }
}

/// A connection that never blocks.
struct Socket {
    link: LinkId,
    stream: mio::net::TcpStream,
    /// What the system has not taken yet.
    unsent: VecDeque<Bytes>,
    /// The system may have more; it does not say so again before everything was read.
    is_readable: bool,
    is_writable: bool,
    is_ended: bool,
}

impl Socket {
    fn new(link: LinkId, stream: mio::net::TcpStream) -> Self {
        let unsent = VecDeque::new();
        Socket { link, stream, unsent, is_readable: true, is_writable: true, is_ended: false }
    }

    /// Sends bytes behind those that wait, and returns how many the system took.
    fn write(&mut self, bytes: Bytes) -> Option<u64> {
        self.unsent.push_back(bytes);
        self.flush()
    }

    fn flush(&mut self) -> Option<u64> {
        let mut sent = 0;
        while self.is_writable
            && let Some(first) = self.unsent.front_mut()
        {
            match self.stream.write(first) {
                Ok(count) => {
                    sent += count as u64;
                    first.advance(count);
                    if first.is_empty() {
                        self.unsent.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end is noticed when reading.
                Err(_) => return None,
            }
        }
        Some(sent)
    }

    /// Reads what is there, up to [`MAX_READ`].
    fn read(&mut self) -> Bytes {
        let mut bytes = Vec::new();
        if self.is_readable {
            bytes.reserve_exact(MAX_READ);
            // Into memory as it comes: `read` would want it cleared first.
            match (&self.stream).take(MAX_READ as u64).read_to_end(&mut bytes) {
                Ok(MAX_READ) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Ok(_) | Err(_) => (self.is_readable, self.is_ended) = (false, true),
            }
            // Blocks in memory are parts of what they came in.
            if bytes.len() < MAX_READ / 2 {
                bytes.shrink_to_fit();
            }
        }
        Bytes::from(bytes)
    }
}

/// Bytes that are read at once.
const MAX_READ: usize = 256 << 10;

/// Longest that is waited for something to arrive.
const MAX_SLEEP: Duration = Duration::from_millis(20);
