//! The whole engine, fed by a peer that has the key and says what it likes.

use std::sync::OnceLock;

use bytes::Bytes;
use hypertab_core::compact_encoding::{Encode, Writer};
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    AppendOptions, Config, CoreId, Engine, Event, GetOptions, Input, LinkId, LinkOptions, OpenCore,
    OpenOptions, Output, RangeWish, RequestId, Response, Role, Security, SeekOptions, Transport,
    TruncateOptions, UpdateOptions,
};
use hypertab_core::hypercore::proof::{BlockRequest, Proof, ProofRequest, SeekRequest, UpgradeRequest};
use hypertab_core::replicator::capability;
use hypertab_core::replicator::wire::{Data, Handshake, Message, PROTOCOL};
use hypertab_core::storage::{MemoryStore, StoreId};
use hypertab_core::time::{Duration, Instant};

use super::{pieces, take};

/// An engine with one store in memory, whose disk answers at once.
pub struct Host {
    engine: Engine,
    store: StoreId,
    now: Instant,
    /// What is stored.
    pub disk: MemoryStore,
    answers: Vec<(RequestId, Option<Response>)>,
}

impl Host {
    /// Starts an engine on what is stored.
    pub fn new(disk: MemoryStore) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut engine = Engine::new(Config::default(), [8; 32], now);
        let store = engine.create_store();
        Self { engine, store, now, disk, answers: Vec::new() }
    }

    /// Runs until there is nothing to do at this moment.
    ///
    /// # Panics
    ///
    /// When that moment never comes.
    pub fn drain(&mut self) {
        for _ in 0..200_000 {
            match self.engine.poll_output(self.now) {
                Output::Storage { store, intent } => {
                    let outcome = self.disk.handle_intent(intent);
                    self.engine.handle_input(Input::Storage { store, outcome }, self.now);
                }
                Output::Transmit { link, bytes } => {
                    self.engine.handle_input(Input::Credit { link, bytes: bytes.len() as u64 }, self.now);
                }
                Output::Event(Event::Done { request, result }) => self.answers.push((request, result.ok())),
                Output::Event(_) | Output::FinishLink { .. } | Output::CloseLink { .. } => {}
                Output::Idle { .. } => return,
            }
        }
        panic!("the engine is busy for ever");
    }

    /// Lets time pass.
    pub fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.engine.handle_input(Input::Timeout, self.now);
        self.drain();
    }

    /// Opens a core; `None` when it does not open.
    pub fn open(&mut self, core: OpenOptions) -> Option<CoreId> {
        let (core, _) = self.engine.open_core(self.store, OpenCore { core, ..OpenCore::default() }, self.now);
        self.drain();
        self.engine.core(core).is_ok().then_some(core)
    }

    /// Appends that many blocks.
    ///
    /// # Panics
    ///
    /// When the core is not open.
    pub fn append(&mut self, core: CoreId, count: u64) {
        let blocks = (0..count).map(content).collect();
        self.engine.core(core).expect("open").append(blocks, AppendOptions::default());
        self.drain();
    }

    /// Reads and writes, whatever comes of it.
    pub fn use_core(&mut self, core: CoreId) {
        let now = self.now;
        let Ok(mut handle) = self.engine.core(core) else { return };
        let length = handle.length();
        for index in (0..length.min(20)).chain([length / 2]) {
            handle.get(index, GetOptions { wait: false, ..GetOptions::default() }, now);
        }
        handle.seek(20, SeekOptions { wait: false, ..SeekOptions::default() }, now);
        handle.tree_hash(length, now);
        handle.set_user_data("name".into(), Some("value".into()));
        handle.proof(everything(length));
        handle.clear(1, 3);
        handle.append(vec!["more".into()], AppendOptions::default());
        handle.truncate(length / 2, TruncateOptions::default());
        self.drain();
    }

    /// Whatever is there is what was written.
    fn check(&mut self, core: CoreId) {
        let Ok(handle) = self.engine.core(core) else { return };
        let (fork, length) = (handle.fork(), handle.length());
        assert!((fork, length) == (0, 0) || (fork, length) == (0, LENGTH), "fork {fork}, length {length}");
        for index in 0..length {
            self.answers.clear();
            let now = self.now;
            let options = GetOptions { wait: false, ..GetOptions::default() };
            let request = self.engine.core(core).expect("open").get(index, options, now);
            self.drain();
            let found = self.answers.iter().find(|(id, _)| *id == request);
            match found {
                Some((_, Some(Response::Block(Some(block))))) => {
                    assert_eq!(*block, content(index), "block {index}")
                }
                Some((_, Some(Response::Block(None)))) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Messages of a peer, each with its type before it, to one that wants the log or to one that has it.
pub fn engine(mut data: &[u8]) {
    let flags = take(&mut data);
    let is_writer = flags & 1 == 0;
    let (disk, key) = writer();
    let mut host = Host::new(if is_writer { disk.clone() } else { MemoryStore::new() });
    let core = OpenOptions { key: Some(*key), ..OpenOptions::default() };
    let core = host.open(core).expect("a good store");
    let link = link(&mut host, core, key);
    if !is_writer {
        let now = host.now;
        let mut handle = host.engine.core(core).expect("open");
        handle.update(UpdateOptions::default(), now);
        handle.download(RangeWish::default(), now);
        handle.seek(30, SeekOptions::default(), now);
        host.drain();
        if flags & 2 == 0 {
            // Something true first, so that what follows meets a log.
            for data in truths() {
                host.engine.core(core).expect("open").apply_proof(data.proof.clone());
                host.drain();
            }
        }
    }
    for mut piece in pieces(data) {
        let message_type = u64::from(take(&mut piece) % 12);
        let bytes =
            if message_type == 11 { Bytes::copy_from_slice(piece) } else { frame(1, message_type, piece) };
        host.engine.handle_input(Input::Bytes { link, bytes }, host.now);
        host.drain();
    }
    host.wait(Duration::from_secs(3));
    host.check(core);
}

/// True answers in which bytes were changed.
pub fn proofs(mut data: &[u8]) {
    let (_, key) = writer();
    let mut host = Host::new(MemoryStore::new());
    let core = host.open(OpenOptions { key: Some(*key), ..OpenOptions::default() }).expect("an empty store");
    for truth in truths() {
        let mut bytes = truth.to_vec();
        for _ in 0..take(&mut data) % 4 {
            let at = usize::from(take(&mut data)) | usize::from(take(&mut data)) << 8;
            let at = at % bytes.len();
            bytes[at] = take(&mut data);
        }
        if take(&mut data) & 15 == 1 {
            bytes.truncate(usize::from(take(&mut data)) % (bytes.len() + 1));
        }
        if let Ok(Some(Message::Data(data))) = Message::decode(3, &bytes.into()) {
            host.engine.core(core).expect("open").apply_proof(data.proof);
            host.drain();
        }
    }
    if let Ok(Some(Message::Data(data))) = Message::decode(3, &Bytes::copy_from_slice(data)) {
        host.engine.core(core).expect("open").apply_proof(data.proof);
        host.drain();
    }
    host.check(core);
}

/// How the core of these targets is opened.
pub fn open_options(key_pair: Option<KeyPair>) -> OpenOptions {
    OpenOptions { key_pair, ..OpenOptions::default() }
}

fn writer() -> &'static (MemoryStore, [u8; 32]) {
    static WRITER: OnceLock<(MemoryStore, [u8; 32])> = OnceLock::new();
    WRITER.get_or_init(|| {
        let mut host = Host::new(MemoryStore::new());
        let core = host.open(open_options(Some(KeyPair::from_seed(&[4; 32])))).expect("an empty store");
        host.append(core, LENGTH);
        let key = host.engine.core(core).expect("open").key();
        (host.disk, key)
    })
}

fn truths() -> &'static [Data] {
    static TRUTHS: OnceLock<Vec<Data>> = OnceLock::new();
    TRUTHS.get_or_init(|| {
        let (disk, _) = writer();
        let mut host = Host::new(disk.clone());
        let core = host.open(open_options(None)).expect("a good store");
        let nodes = 0;
        let block = |index| Some(BlockRequest { index, nodes });
        let requests = [
            ProofRequest {
                upgrade: Some(UpgradeRequest { start: 0, length: LENGTH }),
                manifest: true,
                block: block(5),
                ..ProofRequest::default()
            },
            ProofRequest { block: block(0), ..ProofRequest::default() },
            ProofRequest { seek: Some(SeekRequest { bytes: 100, padding: 0 }), ..ProofRequest::default() },
            everything(LENGTH),
        ];
        let mut found = Vec::new();
        for request in requests {
            host.answers.clear();
            host.engine.core(core).expect("open").proof(request);
            host.drain();
            if let Some((_, Some(Response::Proof(proof)))) = host.answers.pop() {
                let proof: Proof = *proof;
                found.push(Data { request: 1, proof });
            }
        }
        assert!(found.len() >= 3, "true answers");
        found
    })
}

fn everything(length: u64) -> ProofRequest {
    ProofRequest {
        block: Some(BlockRequest { index: 2, nodes: 0 }),
        upgrade: Some(UpgradeRequest { start: 0, length }),
        manifest: true,
        ..ProofRequest::default()
    }
}

/// Connects a peer that proves that it knows the key, and opens its channel.
fn link(host: &mut Host, core: CoreId, key: &[u8; 32]) -> LinkId {
    let handshake_hash = [6; 64];
    let security = Security::External { handshake_hash, remote_public_key: [2; 32], public_key: [1; 32] };
    let options = LinkOptions {
        role: Role::Initiator,
        transport: Transport::Framed,
        security,
        keep_alive: None,
        timeout: None,
    };
    let link = host.engine.open_link(options, host.now);
    host.engine.attach(core, link, host.now).expect("both are there");
    host.drain();
    let capability = capability(false, key, &handshake_hash);
    let mut open = Writer::from_vec(Vec::new());
    open.uint(1);
    open.string(PROTOCOL);
    open.buffer(&host.engine.core(core).expect("open").discovery_key());
    open.raw(&Handshake { seeks: true, capability }.to_vec());
    let bytes = frame(0, 1, &open.into_vec());
    host.engine.handle_input(Input::Bytes { link, bytes }, host.now);
    host.drain();
    link
}

fn frame(channel: u64, message_type: u64, payload: &[u8]) -> Bytes {
    let mut writer = Writer::from_vec(Vec::new());
    writer.uint(channel);
    writer.uint(message_type);
    writer.raw(payload);
    writer.into_vec().into()
}

fn content(index: u64) -> Bytes {
    vec![index as u8; 10 + index as usize].into()
}

const LENGTH: u64 = 9;
