//! The messages of replication against upstream's bytes, and its recorded sessions played again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode, Encode};
use hypertab_core::hypercore::proof::{BlockRequest, HashRequest, ProofRequest, SeekRequest, UpgradeRequest};
use hypertab_core::replicator::wire::{Handshake, Message, Request};
use hypertab_core::replicator::{
    LocalChange, PeerId, ReplicatorOptions, Resolution, WishId, capability, is_capable, wire,
};
use hypertab_core::time::Duration;
use serde_json::Value;

use crate::support::replicator::{Frame, Log, Node, content, decode_frame, unhex, vectors};

#[test]
fn every_message_has_upstreams_bytes() {
    for entry in vectors("wire-messages.json")["messages"].as_array().unwrap() {
        let bytes = Bytes::from(unhex(entry["encoded"].as_str().unwrap()));
        let value = &entry["value"];
        if entry["message"] == "handshake" {
            let handshake = Handshake::from_slice(&bytes).unwrap();
            assert_eq!(handshake.seeks, value["seeks"].as_bool().unwrap());
            assert_eq!(handshake.capability.to_vec(), unhex(value["capability"].as_str().unwrap()));
            if handshake.seeks {
                assert_eq!(handshake.to_vec(), bytes);
            }
            continue;
        }
        let message = Message::decode(entry["type"].as_u64().unwrap(), &bytes).unwrap().unwrap();
        assert_eq!(message.message_type(), entry["type"].as_u64().unwrap());
        assert_eq!(message.encoded_len(), bytes.len(), "{entry}");
        assert_eq!(message.to_vec(), bytes, "{entry}");
        assert_fields(&message, value);
    }
}

#[test]
fn what_only_decodes_is_understood() {
    for entry in vectors("wire-messages.json")["decodeOnly"].as_array().unwrap() {
        let bytes = Bytes::from(unhex(entry["encoded"].as_str().unwrap()));
        let types = [
            "sync",
            "request",
            "cancel",
            "data",
            "noData",
            "want",
            "unwant",
            "bitfield",
            "range",
            "extension",
        ];
        let message_type = types.iter().position(|name| entry["message"] == *name).unwrap();
        let message = Message::decode(message_type as u64, &bytes);
        if entry["error"] == true {
            assert!(message.is_err(), "{entry}");
            continue;
        }
        let mut value = entry["decoded"].clone();
        if entry["message"] == "sync" {
            value["allowPush"] = Value::Bool(false);
        }
        assert_fields(&message.unwrap().unwrap(), &value);
    }
}

#[test]
fn a_message_cut_anywhere_is_an_error_or_lacks_only_its_optional_tail() {
    for entry in vectors("wire-messages.json")["messages"].as_array().unwrap() {
        let Some(message_type) = entry["type"].as_u64() else { continue };
        let bytes = Bytes::from(unhex(entry["encoded"].as_str().unwrap()));
        for end in 0..bytes.len() {
            if let Ok(message) = Message::decode(message_type, &bytes.slice(..end)) {
                let message = message.unwrap();
                let is_tail = matches!(message, Message::NoData(_) | Message::Want(_) | Message::Unwant(_));
                assert!(is_tail || message_type == 9, "{entry} cut at {end}");
            }
        }
    }
}

#[test]
fn hostile_counts_do_not_allocate() {
    for (message_type, hex) in [
        (7, "00fe00ffffff"),
        (7, "00ffffffffffffff1f00"),
        (3, "0201000efe00001000"),
        (3, "010100030568656c6c6ffeffff0f00"),
        (3, "01010003ffffffffffffff1f00"),
    ] {
        assert!(Message::decode(message_type, &Bytes::from(unhex(hex))).is_err(), "{hex}");
    }
    assert_eq!(Message::decode(10, &Bytes::new()), Ok(None));
}

#[test]
fn capabilities_are_upstreams_and_bound_to_role_key_and_stream() {
    let session = vectors("wire-session-download.json");
    let key: [u8; 32] = unhex(session["core"]["key"].as_str().unwrap()).try_into().unwrap();
    let hash = unhex(session["connection"]["handshakeHash"].as_str().unwrap());
    let hash: [u8; 64] = hash.try_into().unwrap();
    for frame in &session["frames"].as_array().unwrap()[..2] {
        let expected = unhex(frame["decoded"][0]["handshake"]["capability"].as_str().unwrap());
        let is_initiator = frame["from"] == "a";

        let ours = capability(is_initiator, &key, &hash);

        assert_eq!(ours.to_vec(), expected);
        let handshake = Handshake { seeks: true, capability: ours };
        assert!(is_capable(&handshake, !is_initiator, &key, &hash));
        assert!(!is_capable(&handshake, is_initiator, &key, &hash));
        assert!(!is_capable(&handshake, !is_initiator, &[7; 32], &hash));
    }
}

#[test]
fn download() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("download", role);
        replay.node.log = if role == "a" {
            writer(&[5, 0, 20, 300, 8].iter().zip(0..).map(|(&s, i)| content(i, s)).collect::<Vec<_>>())
        } else {
            replay.reader()
        };
        replay.run(|node, note| match (role, note) {
            ("b", "b is connected and idle; now b.get(3)") => node.get(3, 3),
            ("b", "b.download({ start: 0, end: 5 })") => node.range(5, 0, Some(5)),
            ("a", "a.append(one block)") => node.append(&[content(5, 9)]),
            ("b", "b.get(5)") => node.get(6, 5),
            _ => {}
        });
        if role == "b" {
            assert_eq!(replay.node.log.contiguous, 6);
            let block = replay.result("block3");
            assert_eq!(replay.node.resolved[&WishId(3)], Resolution::Block(block.into()));
            assert_eq!(replay.node.resolved[&WishId(5)], Resolution::Range);
        }
    }
}

#[test]
fn compat() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("compat", role);
        let mut log = Log::writer(1, true);
        log.append(&[content(0, 4), content(1, 5), content(2, 6)]);
        replay.node.log = if role == "a" { log } else { replay.reader() };
        replay.run(|node, note| {
            if (role, note) == ("b", "b.get(1)") {
                node.get(1, 1);
            }
        });
    }
}

#[test]
fn manifest() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("manifest", role);
        replay.node.log = if role == "a" { writer(&[]) } else { replay.reader() };
        replay.run(|node, note| {
            if (role, note) == ("a", "a.append(first block)") {
                node.append(&[content(0, 4)]);
            }
        });
        assert!(replay.node.log.manifest.is_some());
        assert_eq!(replay.node.log.tree.length, 1);
    }
}

#[test]
fn reorg() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("reorg", role);
        let blocks: Vec<_> = (0..8).map(|i| content(i, 5 + i as usize)).collect();
        let mut log = writer(&blocks);
        if role == "a" {
            log.truncate(5);
            log.append(&[content(20, 3), content(21, 4)]);
        } else {
            log.pair = None;
        }
        replay.node.log = log;
        replay.run(|_, _| {});
        let log = &replay.node.log;
        assert_eq!((log.tree.fork, log.tree.length), (1, 7));
        if role == "b" {
            assert_eq!(log.blocks.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        }
    }
}

#[test]
fn truncate_live() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("truncate-live", role);
        let blocks: Vec<_> = (0..4).map(|i| content(i, 5 + i as usize)).collect();
        replay.node.log = if role == "a" { writer(&blocks) } else { replay.reader() };
        if role == "b" {
            replay.gets = (0..4).collect();
        }
        replay.run(|node, note| {
            if (role, note) == ("a", "a.truncate(2)") {
                node.truncate(2);
            }
        });
        let log = &replay.node.log;
        assert_eq!((log.tree.fork, log.tree.length, log.contiguous), (1, 2, 2));
    }
}

#[test]
fn seek() {
    let blocks: Vec<_> =
        [10, 20, 30, 40, 50, 60, 70, 80].iter().zip(0..).map(|(&s, i)| content(i, s)).collect();
    let mut replay = Replay::new("seek", "a");
    replay.node.log = writer(&blocks);
    replay.run(|_, _| {});

    // Which of the eight blocks the way is asked for is a matter of chance; the recording has block 7.
    let is_lucky = |seed: &u8| {
        let mut replay = Replay::new("seek", "b");
        replay.node = Node::active(replay.reader(), *seed);
        replay.only_hash = Some(14);
        let is_over = replay.run(|node, note| {
            if note == "b.seek(150)" {
                node.seek(1, 150);
            }
        });
        if is_over {
            assert_eq!(replay.node.resolved[&WishId(1)], Resolution::Seek { block: 5, offset: 0 });
        }
        is_over
    };
    assert!((0..100).any(|seed| is_lucky(&seed)));
}

#[test]
fn sparse() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("sparse", role);
        let full = writer(&(0..600).map(|i| content(i, 4)).collect::<Vec<_>>());
        let sparse = sparse_copy(&full, &[3, 4, 64, 300, 599]);
        replay.node.log = if role == "a" { sparse } else { replay.reader() };
        replay.after_frame = Some(Box::new(move |node, at| {
            // The other channel of the sparse peer, which the recording does not show.
            if role == "a" && at == "bitfield" {
                let proof = full.prove(&block(65, node)).unwrap();
                node.log.apply(&proof).unwrap();
                node.changed(LocalChange::Gained { start: 65, length: 1 });
            }
        }));
        replay.run(|node, note| match (role, note.split(' ').next().unwrap()) {
            ("b", "d.get(64)") => node.get(64, 64),
            ("b", "d.get(65)") => node.get(65, 65),
            ("a", "the") if note.contains("fetches") => node.get(65, 65),
            ("a", "the") => {
                let change = node.log.clear(64, 1);
                node.changed(change);
            }
            _ => {}
        });
        if role == "b" {
            assert_eq!(replay.node.resolved[&WishId(65)], Resolution::Block(content(65, 4).into()));
        }
    }
}

#[test]
fn small_wants() {
    for role in ["a", "b"] {
        let options = ReplicatorOptions { small_wants: true, ..ReplicatorOptions::default() };
        let mut replay = Replay::with("small-wants", role, options);
        let full = writer(&(0..6000).map(|i| content(i, 2)).collect::<Vec<_>>());
        let sparse = sparse_copy(&full, &[3, 64, 5000]);
        replay.node.log = if role == "a" { sparse } else { replay.reader() };
        replay.run(|node, note| match (role, note.split(' ').next().unwrap()) {
            ("b", "d.get(5000)") => node.get(1, 5000),
            ("b", "d.seek(7)") => node.seek(2, 7),
            _ => {}
        });
        if role == "b" {
            assert_eq!(replay.node.resolved[&WishId(2)], Resolution::Seek { block: 3, offset: 1 });
        }
    }
}

#[test]
fn push() {
    for role in ["a", "b"] {
        let options = ReplicatorOptions { allow_push: role == "b", ..ReplicatorOptions::default() };
        let mut replay = Replay::with("push", role, options);
        replay.node.log = if role == "a" { writer(&[]) } else { replay.reader() };
        replay.node.replicator.set_push_only(role == "b", &replay.node.log, replay.node.now);
        replay.run(|node, note| {
            if role == "b" {
                return;
            }
            let pushes = if note.starts_with("a.append(two") {
                node.append(&[content(0, 6), content(1, 7)]);
                0..2
            } else {
                node.append(&[content(2, 8)]);
                2..3
            };
            for index in pushes {
                node.replicator.push(index, &node.log);
                node.pump();
            }
        });
        assert_eq!((replay.node.log.tree.length, replay.node.log.contiguous), (3, 3));
    }
}

#[test]
fn extension() {
    use hypertab_core::replicator::ReplicatorEvent::Extension;
    for role in ["a", "b"] {
        let mut replay = Replay::new("extension", role);
        replay.node.log = if role == "a" { writer(&[]) } else { replay.reader() };
        replay.after_frame = Some(Box::new(move |node, at| {
            if role == "a" && at == "request" {
                node.settle();
                for (name, payload) in
                    [("ext-one", "first"), ("ext-one", "second"), ("ext-two", "\x03\x01\x02\x03")]
                {
                    node.replicator.extension(PeerId(1), name, Bytes::from(payload));
                }
                node.pump();
            } else if role == "b" && node.events.iter().filter(|e| matches!(e, Extension { .. })).count() == 3
            {
                node.replicator.extension(PeerId(1), "ext-one", Bytes::from("back"));
                node.pump();
            }
        }));
        replay.node.events.clear();
        replay.run(|_, _| {});
        let received = replay.node.events.iter().filter_map(|event| match event {
            Extension { name, payload, .. } => Some((name.as_str(), &payload[..])),
            _ => None,
        });
        let expected: &[(&str, &[u8])] = if role == "a" {
            &[("ext-one", b"back")]
        } else {
            &[("ext-one", b"first"), ("ext-one", b"second"), ("ext-two", b"\x03\x01\x02\x03")]
        };
        assert_eq!(received.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn idle() {
    for role in ["a", "b"] {
        let options = ReplicatorOptions { linger: Some(Duration::ZERO), ..ReplicatorOptions::default() };
        let mut replay = Replay::with("idle", role, options);
        replay.node.log = if role == "a" { writer(&[content(0, 3)]) } else { replay.reader() };
        replay.node.replicator.set_active(false, &replay.node.log, replay.node.now);
        replay.run(|node, _| {
            if role == "b" {
                node.replicator.set_active(true, &node.log, node.now);
                node.pump();
            }
        });
        assert_eq!(replay.node.log.tree.length, 1);
    }
}

#[test]
fn conflict() {
    for role in ["a", "b"] {
        let mut replay = Replay::new("conflict", role);
        replay.node.log = if role == "a" {
            writer(&[content(0, 3), content(1, 4)])
        } else {
            writer(&[content(0, 3), content(2, 4), content(3, 5)])
        };
        replay.run(|_, _| {});
        assert_eq!(replay.node.closed, if role == "a" { vec![(PeerId(1), None)] } else { vec![] });
    }
}

/// One recorded session, of which the node plays one side.
struct Replay {
    name: &'static str,
    session: Value,
    role: &'static str,
    node: Node,
    /// Blocks to get one after the other, as soon as the log is known.
    gets: VecDeque<u64>,
    /// Gives up when the hash of another node is asked for.
    only_hash: Option<u64>,
    after_frame: Option<AfterFrame>,
}

type AfterFrame = Box<dyn FnMut(&mut Node, &str)>;

impl Replay {
    fn new(name: &'static str, role: &'static str) -> Self {
        Self::with(name, role, ReplicatorOptions::default())
    }

    fn with(name: &'static str, role: &'static str, options: ReplicatorOptions) -> Self {
        let session = vectors(&format!("wire-session-{name}.json"));
        let mut node = Node::new(Log::reader([0; 32]), options, 1);
        node.replicator.set_active(true, &node.log, node.now);
        node.pump();
        let (gets, only_hash, after_frame) = (VecDeque::new(), None, None);
        Self { name, session, role, node, gets, only_hash, after_frame }
    }

    fn key(&self) -> [u8; 32] {
        unhex(self.session["core"]["key"].as_str().unwrap()).try_into().unwrap()
    }

    fn reader(&self) -> Log {
        Log::reader(self.key())
    }

    fn result(&self, name: &str) -> Vec<u8> {
        unhex(self.session["result"][name].as_str().unwrap())
    }

    /// Plays the session. Returns false when chance made it another one.
    fn run(&mut self, mut on_note: impl FnMut(&mut Node, &str)) -> bool {
        assert_eq!(self.node.log.key, self.key(), "the log is the recorded one");
        let at = format!("{} as {}", self.name, self.role);
        let frames = self.session["frames"].as_array().unwrap().clone();
        let mut expected: Vec<Message> = Vec::new();
        let mut ids: BTreeMap<u64, Request> = BTreeMap::new();
        let mut actual: Vec<Message> = Vec::new();
        let mut peer = 0;
        let mut closes = 0;
        for frame in &frames {
            if let Some(note) = frame["note"].as_str() {
                self.compare(&mut expected, &mut actual, &at, note);
                on_note(&mut self.node, note);
                actual.extend(self.settle());
                let is_other = |message: &Message| {
                    matches!(message, Message::Request(request)
                        if request.what.hash.is_some_and(|hash| Some(hash.index) != self.only_hash))
                };
                if self.only_hash.is_some() && actual.iter().any(is_other) {
                    return false;
                }
                continue;
            }
            let is_ours = frame["from"] == self.role;
            for item in decode_frame(&Bytes::from(unhex(frame["frame"].as_str().unwrap()))) {
                match (item, is_ours) {
                    (Frame::Control(1), true) => {}
                    (Frame::Control(1), false) => {
                        peer += 1;
                        self.node.add_peer(peer);
                    }
                    (Frame::Control(3), true) => closes += 1,
                    (Frame::Control(3), false) => {
                        let _ = self.node.replicator.remove_peer(
                            PeerId(peer),
                            true,
                            &self.node.log,
                            self.node.now,
                        );
                        self.node.pump();
                    }
                    (Frame::Control(other), _) => panic!("unexpected control message {other}"),
                    (Frame::Message(message), true) => {
                        if let Message::Request(request) = &message {
                            ids.insert(request.id, request.clone());
                        }
                        expected.push(message);
                    }
                    (Frame::Message(message), false) => {
                        let name = frame["decoded"][0]["name"].as_str().map(|_| "extension");
                        let name = name.or(frame["decoded"][0]["message"].as_str());
                        let message = translate(message, &ids, &actual);
                        self.node.receive(peer, message);
                        if let Some(after) = &mut self.after_frame {
                            after(&mut self.node, name.unwrap());
                        }
                    }
                }
            }
            actual.extend(self.settle());
        }
        self.compare(&mut expected, &mut actual, &at, "the end");
        assert!(self.node.closed.len() <= closes.max(1), "{at}: {:?}", self.node.closed);
        true
    }

    fn settle(&mut self) -> Vec<Message> {
        self.node.settle();
        let mut sent = self.node.take_sent();
        let waits = self.node.resolved.len();
        let is_idle = self.node.replicator.peer(PeerId(1)).is_some_and(|peer| peer.in_flight == 0);
        if is_idle && self.node.log.tree.length > 0 && waits < 4 && self.gets.len() == 4 - waits {
            let block = self.gets.pop_front().unwrap();
            self.node.get(100 + block, block);
            sent.extend(self.settle());
        }
        sent
    }

    /// Compares what was sent since the last note. Not normative, and so not compared: the order of what
    /// was sent together, syncs overtaken by a later one, and the ids of parallel requests.
    fn compare(&self, expected: &mut Vec<Message>, actual: &mut Vec<Message>, at: &str, note: &str) {
        let (expected, actual) = (std::mem::take(expected), std::mem::take(actual));
        let at = format!("{at}, before {note}:\nexpected {expected:#?}\nsent {actual:#?}");
        let last_sync = |messages: &[Message]| {
            messages.iter().rev().find(|message| matches!(message, Message::Sync(_))).cloned()
        };
        assert_eq!(last_sync(&actual), last_sync(&expected), "{at}");
        let rest = |messages: &[Message]| {
            let rest = messages.iter().filter(|message| !matches!(message, Message::Sync(_)));
            let mut rest: Vec<Message> = rest.cloned().collect();
            let blocks = rest.iter().filter(|message| is_block_request(message)).count();
            for message in &mut rest {
                if let Message::Request(request) = message {
                    request.id = u64::from(request.id > 0);
                    if blocks > 1
                        && let Some(block) = &mut request.what.block
                    {
                        // Requests in parallel cannot count on each other's nodes.
                        block.nodes = 0;
                    }
                }
            }
            rest.sort_by_key(|message| format!("{message:?}"));
            rest
        };
        assert_eq!(rest(&actual), rest(&expected), "{at}");
    }
}

fn is_block_request(message: &Message) -> bool {
    matches!(message, Message::Request(request) if request.what.block.is_some())
}

/// Gives a recorded answer the id under which the node asked for the same.
fn translate(message: Message, ids: &BTreeMap<u64, Request>, sent: &[Message]) -> Message {
    let ours = |id: u64| {
        let Some(theirs) = ids.get(&id).filter(|_| id > 0) else { return id };
        let same = |what: &ProofRequest| {
            what.block.map(|block| block.index) == theirs.what.block.map(|block| block.index)
                && what.hash.map(|hash| hash.index) == theirs.what.hash.map(|hash| hash.index)
                && what.upgrade == theirs.what.upgrade
        };
        let found = sent.iter().rev().find_map(|message| match message {
            Message::Request(request) if same(&request.what) => Some(request),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("never asked for {theirs:?}, only {sent:#?}")).id
    };
    match message {
        Message::Data(mut data) => {
            data.request = ours(data.request);
            Message::Data(data)
        }
        Message::NoData(mut refusal) => {
            refusal.request = ours(refusal.request);
            Message::NoData(refusal)
        }
        other => other,
    }
}

fn writer(blocks: &[Vec<u8>]) -> Log {
    let mut log = Log::writer(1, false);
    if !blocks.is_empty() {
        log.append(blocks);
    }
    log
}

fn block(index: u64, node: &Node) -> ProofRequest {
    use hypertab_core::replicator::Local;
    let nodes = node.log.missing_nodes(2 * index);
    ProofRequest { block: Some(BlockRequest { index, nodes }), ..ProofRequest::default() }
}

/// Copies a head and a few blocks, with the nodes that their proofs bring.
fn sparse_copy(full: &Log, blocks: &[u64]) -> Log {
    let mut node = Node::new(Log::reader(full.key), ReplicatorOptions::default(), 0);
    let upgrade = Some(UpgradeRequest { start: 0, length: full.tree.length });
    let request = ProofRequest { upgrade, manifest: true, ..ProofRequest::default() };
    node.log.apply(&full.prove(&request).unwrap()).unwrap();
    for &index in blocks {
        let request = block(index, &node);
        node.log.apply(&full.prove(&request).unwrap()).unwrap();
    }
    node.log
}

/// Compares the fields of a decoded message with the recorded ones; bytes are compared elsewhere.
fn assert_fields(message: &Message, value: &Value) {
    let number = |name: &str| value[name].as_u64().unwrap();
    match message {
        Message::Sync(sync) => {
            let flag = |name: &str| value[name].as_bool().unwrap();
            let expected = wire::Sync {
                fork: number("fork"),
                length: number("length"),
                remote_length: number("remoteLength"),
                can_upgrade: flag("canUpgrade"),
                uploading: flag("uploading"),
                downloading: flag("downloading"),
                has_manifest: flag("hasManifest"),
                allow_push: flag("allowPush"),
            };
            assert_eq!(*sync, expected);
        }
        Message::Request(request) => {
            let pair = |name: &str, a: &str, b: &str| {
                let value = value.get(name).filter(|value| value.is_object())?;
                Some((value[a].as_u64().unwrap(), value[b].as_u64().unwrap()))
            };
            let what = ProofRequest {
                block: pair("block", "index", "nodes").map(|(index, nodes)| BlockRequest { index, nodes }),
                hash: pair("hash", "index", "nodes").map(|(index, nodes)| HashRequest { index, nodes }),
                seek: pair("seek", "bytes", "padding").map(|(bytes, padding)| SeekRequest { bytes, padding }),
                upgrade: pair("upgrade", "start", "length")
                    .map(|(start, length)| UpgradeRequest { start, length }),
                manifest: value["manifest"].as_bool().unwrap(),
            };
            let (id, fork, priority) = (number("id"), number("fork"), number("priority"));
            assert_eq!(*request, Request { id, fork, what, priority });
        }
        Message::Cancel { request } => assert_eq!(*request, number("request")),
        Message::Data(data) => {
            assert_eq!((data.request, data.proof.fork), (number("request"), number("fork")));
            let block = data.proof.block.as_ref().map(|block| (block.index, block.value.to_vec()));
            let expected = value["block"].as_object();
            let expected = expected
                .map(|block| (block["index"].as_u64().unwrap(), unhex(block["value"].as_str().unwrap())));
            assert_eq!(block, expected);
        }
        Message::NoData(refusal) => {
            assert_eq!((refusal.request, refusal.reason), (number("request"), number("reason")));
        }
        Message::Want(want) | Message::Unwant(want) => {
            assert_eq!((want.start, want.length), (number("start"), number("length")));
            assert_eq!(want.any, value["any"].as_bool().unwrap());
        }
        Message::Bitfield(bitfield) => {
            let words = value["bitfield"].as_array().unwrap().iter();
            let words: Vec<u8> =
                words.flat_map(|word| (word.as_u64().unwrap() as u32).to_le_bytes()).collect();
            assert_eq!((bitfield.start, &bitfield.words[..]), (number("start"), &words[..]));
        }
        Message::Range(range) => {
            assert_eq!((range.start, range.length), (number("start"), number("length")));
            assert_eq!(range.drop, value["drop"].as_bool().unwrap());
        }
        Message::Extension(extension) => {
            assert_eq!(extension.name, value["name"].as_str().unwrap());
            assert_eq!(extension.payload.to_vec(), unhex(value["message"].as_str().unwrap()));
        }
    }
}
