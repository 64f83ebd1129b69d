//! An engine on files and sockets, driven by one thread, for measurements.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant as Clock;

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    Config, CoreId, Engine, Event, Input, LinkId, LinkOptions, OpenCore, OpenOptions, Output, RequestId,
    Response, Role, Security, Transport,
};
use hypertab_core::storage::log_store::FileStore;
use hypertab_core::storage::{Durability, Intent, StoreId};
use hypertab_core::time::{Duration, Instant};

use crate::disk_file::DiskFile;

/// What a socket gave; nothing at its end.
type Arrival = (LinkId, Vec<u8>);

/// One engine and what it needs.
pub struct Host {
    /// The engine; call [`drain`](Self::drain) after a command.
    pub engine: Engine,
    start: Clock,
    /// Hands commits to the system without waiting for the disk, as upstream does.
    is_relaxed: bool,
    stores: BTreeMap<StoreId, FileStore<DiskFile>>,
    sockets: BTreeMap<LinkId, TcpStream>,
    arrivals: (SyncSender<Arrival>, Receiver<Arrival>),
    /// Answers that nobody has asked for yet; few, and mostly one.
    done: Vec<(RequestId, Response)>,
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
            arrivals: sync_channel(64),
            done: Vec::new(),
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

    /// Replicates cores over a socket. A thread of its own reads it.
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
        let mut reader = socket.try_clone().expect("a second handle");
        let arrived = self.arrivals.0.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 << 10];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if arrived.send((link, buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
            // The end of the stream, as an empty piece.
            let _ = arrived.send((link, Vec::new()));
        });
        self.sockets.insert(link, socket);
        self.drain();
        link
    }

    /// Replicates one more core over all sockets.
    pub fn attach_more(&mut self, core: CoreId) {
        let now = self.now();
        for link in self.sockets.keys() {
            self.engine.attach(core, *link, now).expect("both are there");
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
            if let Some(at) = self.done.iter().rposition(|(done, _)| *done == request) {
                return self.done.swap_remove(at).1;
            }
            self.step();
        }
    }

    /// Waits for something to arrive, at most a little while, and carries on. Returns false when a peer is gone.
    pub fn step(&mut self) -> bool {
        let mut is_alive = true;
        let now = self.now();
        let sleep = self.wake_at.map_or(MAX_SLEEP, |at| at.duration_since(now).min(MAX_SLEEP));
        if let Ok(first) = self.arrivals.1.recv_timeout(sleep) {
            let mut next = Some(first);
            while let Some((link, bytes)) = next {
                let now = self.now();
                if bytes.is_empty() {
                    is_alive = false;
                    self.sockets.remove(&link);
                    self.engine.handle_input(Input::LinkClosed { link, reason: None }, now);
                } else {
                    self.engine.handle_input(Input::Bytes { link, bytes: Bytes::from(bytes) }, now);
                }
                next = self.arrivals.1.try_recv().ok();
            }
        } else {
            let now = self.now();
            self.engine.handle_input(Input::Timeout, now);
        }
        self.drain();
        is_alive
    }

    /// Carries out all that the engine wants.
    pub fn drain(&mut self) {
        let now = self.now();
        loop {
            match self.engine.poll_output(now) {
                Output::Transmit { link, bytes } => {
                    if let Some(socket) = self.sockets.get_mut(&link)
                        && socket.write_all(&bytes).is_ok()
                    {
                        let bytes = bytes.len() as u64;
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
                    self.done.push((request, result.expect("nothing that is measured fails")));
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

/// Longest that is waited for something to arrive.
const MAX_SLEEP: Duration = Duration::from_millis(20);
