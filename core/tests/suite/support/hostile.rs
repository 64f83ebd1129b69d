//! A peer that speaks the protocol and lies: an honest engine whose messages are changed on their way out.
#![allow(dead_code, reason = "each test file uses some of it")]

use bytes::Bytes;
use hypertab_core::compact_encoding::{Encode, Reader, Writer};
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::*;
use hypertab_core::replicator::wire::{Data, Message};
use hypertab_core::storage::MemoryStore;
use hypertab_core::time::{Duration, Instant};

use super::sim::{Host, Random, block};

/// Blocks of the log that is downloaded.
pub(crate) const LENGTH: u64 = 40;

/// What the liar does with a message of its engine.
pub(crate) type Tamper = Box<dyn FnMut(Message) -> Vec<Message>>;

/// A reader, a liar, and an honest peer that comes later.
pub(crate) struct Stage {
    pub(crate) reader: Host,
    pub(crate) copy: CoreId,
    pub(crate) liar: Host,
    pub(crate) honest: Host,
    core: CoreId,
    liar_core: CoreId,
    /// The reader's end and the liar's.
    pub(crate) lies: (LinkId, LinkId),
    truth: Option<(LinkId, LinkId)>,
    tamper: Tamper,
    /// The liar's number of its channel.
    channel: u64,
    random: Random,
}

impl Stage {
    pub(crate) fn new(tamper: Tamper) -> Self {
        let mut honest = Host::new(1);
        let store = honest.store(MemoryStore::new());
        let core = OpenOptions { key_pair: Some(KeyPair::from_seed(&[9; 32])), ..OpenOptions::default() };
        let core = honest.open(store, OpenCore { core, ..OpenCore::default() });
        let blocks: Vec<Bytes> = (0..LENGTH).map(content).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Bytes::as_ref).collect();
        honest.append(core, &blocks);
        let key = honest.engine.core(core).unwrap().key();
        let mut liar = Host::new(2);
        let store = liar.store(honest.disks.values().next().unwrap().data.clone());
        let liar_core = liar.open(store, OpenCore::default());
        let mut reader = Host::new(3);
        let store = reader.store(MemoryStore::new());
        let core_options = OpenOptions { key: Some(key), ..OpenOptions::default() };
        let copy = reader.open(store, OpenCore { core: core_options, ..OpenCore::default() });
        let lies = join(&mut reader, copy, &mut liar, liar_core, 7);
        Self {
            reader,
            copy,
            liar,
            honest,
            core,
            liar_core,
            lies,
            truth: None,
            tamper,
            channel: 1,
            random: Random(11),
        }
    }

    /// Wants everything there is to want.
    pub(crate) fn want(&mut self) {
        let now = self.reader.now;
        let mut handle = self.reader.engine.core(self.copy).unwrap();
        handle.update(UpdateOptions::default(), now);
        handle.download(RangeWish::default(), now);
        handle.seek(777, SeekOptions::default(), now);
        handle.get(LENGTH - 1, GetOptions::default(), now);
        self.reader.drain();
    }

    /// Meets the honest peer.
    pub(crate) fn meet(&mut self) {
        self.honest.now = self.reader.now;
        let truth = join(&mut self.reader, self.copy, &mut self.honest, self.core, 8);
        self.truth = Some(truth);
    }

    /// Hands the reader a frame of the liar's.
    pub(crate) fn inject(&mut self, bytes: Bytes) {
        let (link, now) = (self.lies.0, self.reader.now);
        self.reader.engine.handle_input(Input::Bytes { link, bytes }, now);
        self.reader.drain();
    }

    /// Runs until `is_done` or for that long of virtual time. Returns whether it was done.
    pub(crate) fn run(&mut self, patience: Duration, mut is_done: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = self.reader.now + patience;
        for steps in 0.. {
            assert!(steps < 300_000, "everybody is busy and nothing gets done");
            if is_done(self) {
                return true;
            }
            if self.step() {
                continue;
            }
            let wakes =
                [&self.reader, &self.liar, &self.honest].into_iter().filter_map(|host| host.wake_at).min();
            let Some(now) = wakes.filter(|at| *at < deadline) else { return false };
            let now = now.max(self.reader.now + Duration::from_micros(1));
            self.wait(now);
        }
        false
    }

    fn wait(&mut self, now: Instant) {
        for host in [&mut self.reader, &mut self.liar, &mut self.honest] {
            host.now = now;
            host.engine.handle_input(Input::Timeout, now);
            host.drain();
        }
    }

    fn step(&mut self) -> bool {
        for host in [&mut self.reader, &mut self.liar, &mut self.honest] {
            host.drain();
        }
        let mut random = self.random.clone();
        let moved = self.reader.step_disk(&mut random)
            || self.liar.step_disk(&mut random)
            || self.honest.step_disk(&mut random);
        self.random = random;
        moved || self.carry()
    }

    fn carry(&mut self) -> bool {
        let (ours, theirs) = self.lies;
        if let Some(frame) = self.liar.wires.get_mut(&theirs).and_then(|wire| wire.pop_front()) {
            let credit = Input::Credit { link: theirs, bytes: frame.len() as u64 };
            self.liar.engine.handle_input(credit, self.liar.now);
            for frame in self.change(&frame) {
                self.inject(frame);
            }
            return true;
        }
        if let Some(frame) = self.reader.wires.get_mut(&ours).and_then(|wire| wire.pop_front()) {
            pass(&mut self.reader, ours, &mut self.liar, theirs, frame);
            return true;
        }
        let Some((ours, theirs)) = self.truth else { return false };
        if let Some(frame) = self.honest.wires.get_mut(&theirs).and_then(|wire| wire.pop_front()) {
            pass(&mut self.honest, theirs, &mut self.reader, ours, frame);
            return true;
        }
        if let Some(frame) = self.reader.wires.get_mut(&ours).and_then(|wire| wire.pop_front()) {
            pass(&mut self.reader, ours, &mut self.honest, theirs, frame);
            return true;
        }
        false
    }

    fn change(&mut self, frame: &Bytes) -> Vec<Bytes> {
        let mut frames = Vec::new();
        for (channel, message_type, payload) in messages(frame) {
            if channel == 0 {
                frames.push(raw(channel, message_type, &payload));
                continue;
            }
            let message = Message::decode(message_type, &payload).unwrap().unwrap();
            frames.extend((self.tamper)(message).iter().map(|message| encode(self.channel, message)));
        }
        frames
    }

    /// A frame of the liar's channel with one message.
    pub(crate) fn frame(&self, message: &Message) -> Bytes {
        encode(self.channel, message)
    }

    /// Whether the reader named the liar as the one who sent what is wrong.
    pub(crate) fn is_blamed(&self) -> bool {
        let peer = self.peer_on(self.lies.0);
        self.reader.events.iter().any(|event| match event {
            Event::VerificationError { peer: found, .. } | Event::InvalidRequest { peer: found, .. } => {
                Some(*found) == peer
            }
            _ => false,
        })
    }

    /// Whether the reader ended the link, and says that it was the liar's doing.
    pub(crate) fn is_closed(&self) -> bool {
        self.reader.events.iter().any(|event| {
            matches!(event, Event::LinkClosed { link, reason }
                if *link == self.lies.0
                    && matches!(reason, CloseReason::Misbehaved(_) | CloseReason::Protomux(_)
                        | CloseReason::SecretStream(_) | CloseReason::Flooded { .. }))
        })
    }

    fn peer_on(&self, link: LinkId) -> Option<PeerId> {
        self.reader.events.iter().find_map(|event| match event {
            Event::PeerAdd { peer, link: found, .. } if *found == link => Some(*peer),
            _ => None,
        })
    }

    /// Whatever the reader has is the truth.
    pub(crate) fn check_stored(&mut self, name: &str) {
        self.reader.settle();
        let handle = self.reader.engine.core(self.copy).unwrap();
        let (fork, length) = (handle.fork(), handle.length());
        assert!(
            (fork, length) == (0, 0) || (fork, length) == (0, LENGTH),
            "{name}: fork {fork}, length {length}"
        );
        for index in 0..length {
            let has = self.reader.engine.core(self.copy).unwrap().has(index, index + 1);
            let expected = has.then(|| content(index));
            assert_eq!(self.reader.get_now(self.copy, index), expected, "{name}: block {index}");
        }
    }

    /// Finishes the download with the help of the honest peer, while the liar goes on lying.
    pub(crate) fn finish(&mut self, name: &str) {
        self.meet();
        let (link, copy) = (self.truth.unwrap().0, self.copy);
        let done = self.run(Duration::from_secs(120), |stage| {
            let handle = stage.reader.engine.core(copy).unwrap();
            let is_whole = handle.length() == LENGTH && handle.contiguous_length() == LENGTH;
            is_whole && stage.peer_on(link).is_some()
        });
        let has = self.reader.engine.core(copy).unwrap().contiguous_length();
        assert!(done, "{name}: the honest peer beside it got {has} blocks across");
        self.check_stored(name);
        assert_eq!(self.reader.tree_hash(copy), self.honest.tree_hash(self.core), "{name}");
        let peer = self.peer_on(link).unwrap();
        let blamed = self
            .reader
            .events
            .iter()
            .any(|event| matches!(event, Event::VerificationError { peer: found, .. } if *found == peer));
        assert!(!blamed && !self.reader.closed.contains(&link), "{name}: the honest peer was blamed");
    }

    /// The proof that another log would give.
    pub(crate) fn proof_of_another_log(request: hypertab_core::hypercore::proof::ProofRequest) -> Data {
        let mut host = Host::new(7);
        let store = host.store(MemoryStore::new());
        let core = host.open(store, OpenCore::default());
        let blocks: Vec<Bytes> = (0..LENGTH).map(|index| block(1000 + index, 50)).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Bytes::as_ref).collect();
        host.append(core, &blocks);
        let request = host.engine.core(core).unwrap().proof(request);
        match host.settled(request) {
            Ok(Response::Proof(proof)) => Data { request: 0, proof: *proof },
            other => panic!("{other:?}"),
        }
    }
}

/// Block `index` of the log.
pub(crate) fn content(index: u64) -> Bytes {
    block(index, 20 + index as usize)
}

/// A tamper that passes everything but data, which `change` makes into something else.
pub(crate) fn data(mut change: impl FnMut(&mut Data) + 'static) -> Tamper {
    Box::new(move |message| match message {
        Message::Data(mut data) => {
            change(&mut data);
            vec![Message::Data(data)]
        }
        other => vec![other],
    })
}

pub(crate) fn nothing() -> Tamper {
    Box::new(|message| vec![message])
}

pub(crate) fn raw(channel: u64, message_type: u64, payload: &[u8]) -> Bytes {
    let mut writer = Writer::from_vec(Vec::new());
    writer.uint(channel);
    writer.uint(message_type);
    writer.raw(payload);
    writer.into_vec().into()
}

fn encode(channel: u64, message: &Message) -> Bytes {
    raw(channel, message.message_type(), &message.to_vec())
}

/// Takes a frame apart: channel, type and payload of each message.
fn messages(frame: &Bytes) -> Vec<(u64, u64, Bytes)> {
    let mut reader = Reader::new(frame);
    let (channel, message_type) = (reader.uint().unwrap(), reader.uint().unwrap());
    if (channel, message_type) != (0, 0) {
        return vec![(channel, message_type, frame.slice_ref(reader.raw()))];
    }
    let mut found = Vec::new();
    let mut channel = reader.uint().unwrap();
    while !reader.is_empty() {
        let item = frame.slice_ref(reader.buffer().unwrap());
        if item.is_empty() {
            channel = reader.uint().unwrap();
            continue;
        }
        let mut item_reader = Reader::new(&item);
        let message_type = item_reader.uint().unwrap();
        found.push((channel, message_type, item.slice_ref(item_reader.raw())));
    }
    found
}

fn pass(from: &mut Host, out: LinkId, to: &mut Host, into: LinkId, frame: Bytes) {
    from.engine.handle_input(Input::Credit { link: out, bytes: frame.len() as u64 }, from.now);
    to.engine.handle_input(Input::Bytes { link: into, bytes: frame }, to.now);
}

/// Replicates two cores over a link whose frames are in clear, so that a test can change them.
fn join(reader: &mut Host, copy: CoreId, writer: &mut Host, core: CoreId, hash: u8) -> (LinkId, LinkId) {
    let open = |host: &mut Host, core, role, public_key, remote_public_key| {
        let security = Security::External { handshake_hash: [hash; 64], remote_public_key, public_key };
        let options =
            LinkOptions { role, transport: Transport::Framed, security, keep_alive: None, timeout: None };
        let now = host.now;
        let link = host.engine.open_link(options, now);
        host.engine.attach(core, link, now).unwrap();
        link
    };
    let ours = open(reader, copy, Role::Initiator, [1; 32], [hash; 32]);
    let theirs = open(writer, core, Role::Responder, [hash; 32], [1; 32]);
    (ours, theirs)
}
