//! A peer that lies in every way it can. The lie is named, nothing false is stored, and an honest peer beside it still
//! brings everything.

use bytes::Bytes;
use hypertab_core::crypto::Node;
use hypertab_core::engine::{CloseReason, Event, Input, LinkId, Role};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hypercore::proof::{
    BlockProof, BlockRequest, HashProof, HashRequest, Proof, ProofRequest, SeekProof, SeekRequest,
    UpgradeProof, UpgradeRequest,
};
use hypertab_core::replicator::wire::{
    BitfieldWords, Data, Extension, Message, NoData, Range, Request, Sync, Want,
};
use hypertab_core::time::Duration;

/// The largest number that the encoding has.
const TOP: u64 = (1 << 53) - 1;

/// What must become of a lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The peer is named in an event.
    Blamed,
    /// The link is ended, with the reason.
    Closed,
    /// It is not worth a word: it changes nothing.
    Ignored,
}

use Fate::{Blamed, Closed, Ignored};

use crate::support::hostile::{LENGTH, Stage, Tamper, content, data, nothing, raw};
use crate::support::sim::Host;

#[test]
fn false_data_is_blamed_on_who_sent_it_and_never_stored() {
    let another = Stage::proof_of_another_log(ProofRequest {
        block: Some(BlockRequest { index: 3, nodes: 0 }),
        upgrade: Some(UpgradeRequest { start: 0, length: LENGTH }),
        manifest: true,
        ..ProofRequest::default()
    });
    let (foreign_block, foreign_upgrade) = (another.proof.block.unwrap(), another.proof.upgrade.unwrap());
    let foreign_manifest = another.proof.manifest.unwrap();
    let foreign_hash = foreign_block.nodes[0].hash;
    let signature = foreign_upgrade.signature.clone();
    let mut first: Option<Proof> = None;
    let lies: Vec<(&str, Fate, Tamper)> = vec![
        ("a bit of a block is flipped", Blamed, block(|block| block.value = flip(&block.value))),
        (
            "another block of the same log",
            Blamed,
            block(|block| block.value = content((block.index + 1) % LENGTH)),
        ),
        ("the block of another log", Blamed, block(move |block| block.value = foreign_block.value.clone())),
        ("an empty block", Blamed, block(|block| block.value = Bytes::new())),
        ("a block of 2 MiB", Blamed, block(|block| block.value = vec![7; 2 << 20].into())),
        ("a longer block", Blamed, block(|block| block.value = [&block.value[..], b"!"].concat().into())),
        ("another index", Blamed, block(|block| block.index = (block.index + 1) % LENGTH)),
        ("an index beyond everything", Closed, block(|block| block.index = u64::MAX)),
        ("no nodes", Blamed, block(|block| block.nodes.truncate(block.nodes.len().saturating_sub(1)))),
        ("too many nodes", Blamed, block(|block| block.nodes.extend(fake_nodes(1, 100)))),
        ("thousands of nodes", Blamed, block(|block| block.nodes = fake_nodes(block.index * 2, 5000))),
        ("a node with another hash", Blamed, nodes(|node| node.hash[3] ^= 1)),
        ("a node of another log", Blamed, nodes(move |node| node.hash = foreign_hash)),
        ("a node of another size", Blamed, nodes(|node| node.size += 1)),
        ("a node of no bytes", Blamed, nodes(|node| node.size = 0)),
        ("a node of 2^53 bytes", Closed, nodes(|node| node.size = 1 << 53)),
        ("a node of more bytes than there are numbers", Closed, nodes(|node| node.size = u64::MAX)),
        ("a node elsewhere", Blamed, nodes(|node| node.index += 2)),
        ("a node at the end of numbers", Closed, nodes(|node| node.index = u64::MAX)),
        (
            "a signature with a flipped bit",
            Blamed,
            upgrade(|upgrade| upgrade.signature = upgrade.signature.as_ref().map(flip)),
        ),
        ("no signature", Blamed, upgrade(|upgrade| upgrade.signature = None)),
        (
            "half a signature",
            Blamed,
            upgrade(|upgrade| {
                upgrade.signature = upgrade.signature.as_ref().map(|bytes| bytes.slice(..bytes.len() / 2))
            }),
        ),
        (
            "a signature of 60 KiB",
            Blamed,
            upgrade(|upgrade| upgrade.signature = Some(vec![1; 60 << 10].into())),
        ),
        ("somebody else's signature", Blamed, upgrade(move |upgrade| upgrade.signature = signature.clone())),
        ("a head that is longer than signed", Blamed, upgrade(|upgrade| upgrade.length += 1)),
        ("a head of 2^53 blocks", Closed, upgrade(|upgrade| upgrade.length = 1 << 53)),
        ("a head that starts elsewhere", Blamed, upgrade(|upgrade| upgrade.start = 1)),
        ("a head that starts at the end of numbers", Closed, upgrade(|upgrade| upgrade.start = u64::MAX)),
        ("a head without nodes", Blamed, upgrade(|upgrade| upgrade.nodes.clear())),
        (
            "a head with additional nodes",
            Blamed,
            upgrade(|upgrade| upgrade.additional_nodes.extend(fake_nodes(2 * LENGTH, 50))),
        ),
        ("the head of another log", Blamed, upgrade(move |upgrade| *upgrade = foreign_upgrade.clone())),
        (
            "a manifest of another log",
            Blamed,
            data(move |data| {
                if data.proof.manifest.is_some() {
                    data.proof.manifest = Some(foreign_manifest.clone())
                }
            }),
        ),
        ("a manifest that nobody has to sign", Blamed, manifest(|manifest| manifest.quorum = 0)),
        ("a manifest without signers", Blamed, manifest(|manifest| manifest.signers.clear())),
        (
            "a manifest with a quorum beyond its signers",
            Closed,
            manifest(|manifest| manifest.quorum = u64::MAX),
        ),
        ("a fork nobody made", Blamed, data(|data| data.proof.fork += 1)),
        (
            "the first answer again and again",
            Blamed,
            data(move |data| match &first {
                Some(proof) => data.proof = proof.clone(),
                None => first = Some(data.proof.clone()),
            }),
        ),
        ("answers to requests of others", Ignored, data(|data| data.request ^= 5)),
        (
            "a hash in place of a block",
            Blamed,
            data(|data| {
                if let Some(block) = data.proof.block.take() {
                    data.proof.hash =
                        Some(HashProof { index: block.index * 2, nodes: fake_nodes(block.index * 2, 3) });
                }
            }),
        ),
        (
            "a seek in place of a block",
            Blamed,
            data(|data| {
                if data.proof.block.take().is_some() {
                    data.proof.seek = Some(SeekProof { bytes: 777, nodes: fake_nodes(1, 4) });
                }
            }),
        ),
        (
            "a false way to a byte",
            Blamed,
            data(|data| {
                if let Some(seek) = &mut data.proof.seek {
                    seek.nodes.iter_mut().for_each(|node| node.size /= 2);
                }
                if let Some(block) = &mut data.proof.block {
                    block.value = flip(&block.value);
                }
            }),
        ),
        (
            "an answer with nothing in it",
            Ignored,
            data(|data| data.proof = Proof { fork: data.proof.fork, ..Proof::default() }),
        ),
    ];

    let wrong =
        lies.into_iter().filter_map(|(name, fate, tamper)| check(name, fate, Stage::new(tamper), |_| {}));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn false_claims_and_broken_messages_do_no_harm() {
    let lies: Vec<(&str, Fate, Tamper)> = vec![
        (
            "everything is refused",
            Ignored,
            Box::new(|message| match message {
                Message::Data(data) => vec![Message::NoData(NoData { request: data.request, reason: 1 })],
                other => vec![other],
            }),
        ),
        (
            "everything is refused as impossible",
            Ignored,
            Box::new(|message| match message {
                Message::Data(data) => vec![Message::NoData(NoData { request: data.request, reason: 2 })],
                other => vec![other],
            }),
        ),
        ("a length at the end of numbers", Closed, sync(|sync| sync.length = u64::MAX)),
        ("a fork at the end of numbers", Closed, sync(|sync| sync.fork = u64::MAX)),
        ("a fork that never comes", Blamed, sync(|sync| sync.fork += 7)),
        (
            "an acknowledgement of what was never announced",
            Closed,
            sync(|sync| sync.remote_length = u64::MAX),
        ),
        (
            "ranges that overflow",
            Closed,
            Box::new(|message| match message {
                Message::Range(range) => vec![
                    Message::Range(Range { drop: false, start: u64::MAX, length: u64::MAX }),
                    Message::Range(Range { drop: true, start: 1 << 53, length: u64::MAX }),
                    Message::Range(range),
                ],
                other => vec![other],
            }),
        ),
        (
            "blocks it does not have",
            Ignored,
            Box::new(|message| match message {
                Message::Data(data) => vec![
                    Message::Range(Range { drop: false, start: 0, length: 1 << 52 }),
                    Message::NoData(NoData { request: data.request, reason: 1 }),
                ],
                other => vec![other],
            }),
        ),
    ];
    let mut wrong: Vec<String> = Vec::new();
    for (name, fate, tamper) in lies {
        wrong.extend(check(name, fate, Stage::new(tamper), |_| {}));
    }

    let impossible = |what| Message::Request(Request { id: 9, fork: 0, what, priority: 0 });
    let messages: Vec<(&str, Fate, Message)> = vec![
        (
            "a bitfield of a huge page",
            Ignored,
            Message::Bitfield(BitfieldWords { start: (1 << 53) - 32, words: vec![255; 4096].into() }),
        ),
        (
            "a bitfield at the end of numbers",
            Ignored,
            Message::Bitfield(BitfieldWords { start: TOP - 30, words: vec![255; 4096].into() }),
        ),
        (
            "a bitfield in the middle of a word",
            Ignored,
            Message::Bitfield(BitfieldWords { start: 7, words: vec![255; 64].into() }),
        ),
        (
            "a want at the end of numbers",
            Ignored,
            Message::Want(Want { start: TOP, length: TOP, any: false }),
        ),
        ("a want of any block at all", Ignored, Message::Want(Want { start: 0, length: TOP, any: true })),
        (
            "an unwant of what was never wanted",
            Closed,
            Message::Unwant(Want { start: 5, length: 1 << 53, any: false }),
        ),
        ("a cancel of what was never asked", Ignored, Message::Cancel { request: TOP }),
        (
            "an extension without a name",
            Ignored,
            Message::Extension(Extension { name: String::new(), payload: Bytes::new() }),
        ),
        (
            "an extension of a megabyte",
            Ignored,
            Message::Extension(Extension { name: "x".into(), payload: vec![0; 1 << 20].into() }),
        ),
        (
            "a block beyond the length",
            Ignored,
            impossible(ProofRequest {
                block: Some(BlockRequest { index: TOP, nodes: 0 }),
                ..ProofRequest::default()
            }),
        ),
        (
            "a block with the nodes of a universe",
            Ignored,
            impossible(ProofRequest {
                block: Some(BlockRequest { index: 0, nodes: TOP }),
                ..ProofRequest::default()
            }),
        ),
        (
            "a hash beyond everything",
            Ignored,
            impossible(ProofRequest {
                hash: Some(HashRequest { index: TOP, nodes: TOP }),
                ..ProofRequest::default()
            }),
        ),
        (
            "a seek beyond everything",
            Ignored,
            impossible(ProofRequest {
                seek: Some(SeekRequest { bytes: TOP, padding: TOP }),
                ..ProofRequest::default()
            }),
        ),
        (
            "an upgrade beyond everything",
            Ignored,
            impossible(ProofRequest {
                upgrade: Some(UpgradeRequest { start: TOP, length: TOP }),
                ..ProofRequest::default()
            }),
        ),
        ("a conflict without a signature", Ignored, conflict(None)),
        ("a conflict with a false signature", Ignored, conflict(Some(vec![3; 66].into()))),
        ("a higher fork with a false signature", Blamed, fork(Some(vec![3; 66].into()))),
        (
            "a head from nowhere",
            Ignored,
            Message::Sync(Sync {
                fork: 0,
                length: 3,
                remote_length: 99,
                can_upgrade: true,
                uploading: true,
                downloading: true,
                has_manifest: true,
                allow_push: true,
            }),
        ),
    ];
    for (name, fate, message) in messages {
        wrong.extend(check(name, fate, Stage::new(nothing()), |stage| {
            let frame = stage.frame(&message);
            for _ in 0..3 {
                stage.inject(frame.clone());
            }
        }));
    }

    let data_of = |payload: &[u8]| raw(1, 3, payload);
    let frames: Vec<(&str, Fate, Bytes)> = vec![
        ("a type nobody knows", Ignored, raw(1, 77, b"?")),
        ("a type at the end of numbers", Closed, raw(1, u64::MAX, b"?")),
        ("half a message", Closed, raw(1, 0, &[1])),
        ("data of 2^53 bytes", Closed, data_of(&[1, 1, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 32, 0])),
        (
            "data of more bytes than there are numbers",
            Closed,
            data_of(&[1, 1, 0, 0, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]),
        ),
        ("data with more nodes than bytes", Closed, data_of(&[1, 1, 0, 0, 1, 7, 0xfe, 255, 255, 255, 255])),
        ("data with a manifest of rubbish", Closed, data_of(&[16, 1, 0, 99, 99, 99])),
        ("an extension whose name is no text", Closed, raw(1, 9, &[2, 0xff, 0xfe, 0])),
        ("a channel nobody opened", Ignored, raw(900, 1, b"hello")),
        ("a channel at the end of numbers", Closed, raw(u64::MAX, 1, b"hello")),
        ("a frame that ends in a number", Closed, Bytes::from_static(&[0xfe, 1])),
        ("an open that is cut", Closed, raw(0, 1, &[2, 200])),
        ("an open of a channel that is open", Closed, raw(0, 1, &[1, 1, b'x', 0])),
        ("an open that skips numbers", Closed, raw(0, 1, &[77, 1, b'x', 0])),
        ("an open of channel 0", Closed, raw(0, 1, &[0, 1, b'x', 0])),
        (
            "an open with a name of 2 KiB",
            Closed,
            raw(0, 1, &[&[2, 0xfd, 0, 8][..], &[b'x'; 2048], &[0]].concat()),
        ),
        ("a reject of nothing", Closed, raw(0, 2, &[200])),
        ("a close of nothing", Ignored, raw(0, 3, &[200])),
        ("a control message nobody knows", Ignored, raw(0, 99, b"?")),
        ("a batch in a batch", Closed, raw(0, 0, &[0, 3, 0, 0, 1])),
        ("a batch that is cut", Closed, raw(0, 0, &[1, 200, 1])),
        ("a batch of switches", Ignored, raw(0, 0, &[&[1][..], &[0, 1].repeat(5000)].concat())),
        ("nothing", Ignored, Bytes::new()),
    ];
    for (name, fate, frame) in frames {
        wrong.extend(check(name, fate, Stage::new(nothing()), |stage| {
            for _ in 0..3 {
                stage.inject(frame.clone());
            }
        }));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_second_channel_without_the_key_ends_the_link() {
    let wrong = check("a bad capability", Closed, Stage::new(nothing()), |stage| {
        let discovery_key = stage.reader.engine.core(stage.copy).unwrap().discovery_key();
        for protocol in ["hypercore", "hypercore/alpha"] {
            let mut open = vec![2, protocol.len() as u8];
            open.extend_from_slice(protocol.as_bytes());
            open.push(32);
            open.extend_from_slice(&discovery_key);
            open.push(1);
            open.extend_from_slice(&[5; 32]);
            stage.inject(raw(0, 3, &[1]));
            stage.inject(raw(0, 1, &open));
        }
    });
    assert_eq!(wrong, None);
}

#[test]
fn rubbish_below_the_channels_ends_the_link_with_the_reason() {
    let mut pieces: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("a handshake of zeros", vec![frame(&[0; 32])]),
        ("a handshake of ones", vec![frame(&[255; 32])]),
        ("a handshake that is too long", vec![frame(&[9; 3000])]),
        ("a handshake that is empty", vec![frame(&[])]),
        ("a point of small order", vec![frame(&[&[1][..], &[0; 31]].concat())]),
        ("a frame of 16 MiB that never comes", vec![vec![0xff, 0xff, 0xff], vec![0; 1 << 20]]),
    ];
    // Frames that only look like a handshake's second message.
    for len in [1, 47, 48, 95, 96, 97, 200] {
        pieces.push(("rubbish of some length", vec![frame(&vec![7; len])]));
    }
    for (name, pieces) in pieces {
        for role in [Role::Initiator, Role::Responder] {
            let mut host = Host::new(1);
            let link = host.link(role, 5);
            host.drain();
            for piece in &pieces {
                host.engine.handle_input(Input::Bytes { link, bytes: piece.clone().into() }, host.now);
                host.drain();
            }
            let reason = host.events.iter().find_map(|event| match event {
                Event::LinkClosed { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            assert!(matches!(reason, Some(CloseReason::SecretStream(_))), "{name}, {role:?}: {reason:?}");
            assert!(!host.events.iter().any(|event| matches!(event, Event::LinkOpened { .. })), "{name}");
        }
    }
}

#[test]
fn a_frame_that_was_changed_under_way_ends_the_link() {
    for at in [3_usize, 4, 20, 30] {
        for change in [1_u8, 0x80] {
            let (mut a, mut b) = (Host::new(1), Host::new(2));
            let (link_a, link_b) = (a.link(Role::Initiator, 5), b.link(Role::Responder, 6));
            a.engine.read_messages(link_a).unwrap();
            b.engine.read_messages(link_b).unwrap();
            for _ in 0..4 {
                exchange(&mut a, link_a, &mut b, link_b);
                exchange(&mut b, link_b, &mut a, link_a);
            }
            let now = a.now;
            a.engine.link_send(link_a, b"a message of some length, long enough", now).unwrap();
            a.drain();
            let mut bytes = a.wires.get_mut(&link_a).unwrap().drain(..).flatten().collect::<Vec<u8>>();
            bytes[at] ^= change;
            b.engine.handle_input(Input::Bytes { link: link_b, bytes: bytes.into() }, now);
            b.drain();

            let closed = b
                .events
                .iter()
                .any(|event| matches!(event, Event::LinkClosed { reason: CloseReason::SecretStream(_), .. }));
            assert!(closed, "byte {at}");
            assert!(!b.events.iter().any(|event| matches!(event, Event::LinkMessage { .. })), "byte {at}");
        }
    }
}

fn exchange(from: &mut Host, out: LinkId, to: &mut Host, into: LinkId) {
    from.drain();
    for bytes in from.wires.remove(&out).unwrap_or_default() {
        from.engine.handle_input(Input::Credit { link: out, bytes: bytes.len() as u64 }, from.now);
        to.engine.handle_input(Input::Bytes { link: into, bytes }, to.now);
        to.drain();
    }
}

/// Lets the lie happen, looks at what became of it, and lets an honest peer finish.
fn check(name: &str, fate: Fate, mut stage: Stage, act: impl FnOnce(&mut Stage)) -> Option<String> {
    let start = std::time::Instant::now();
    stage.want();
    // The channel is open once the reader knows the peer.
    stage.run(Duration::from_secs(1), |stage| {
        stage.reader.events.iter().any(|event| matches!(event, Event::PeerAdd { .. }))
    });
    act(&mut stage);
    stage.run(Duration::from_secs(10), |stage| stage.is_blamed() || stage.is_closed());
    let found = match (stage.is_closed(), stage.is_blamed()) {
        (true, _) => Closed,
        (_, true) => Blamed,
        _ => Ignored,
    };
    stage.check_stored(name);
    stage.finish(name);
    println!("{name}: {found:?}, {} ms", start.elapsed().as_millis());
    (found != fate).then(|| format!("{name}: {found:?}, not {fate:?}"))
}

fn block(mut change: impl FnMut(&mut BlockProof) + 'static) -> Tamper {
    data(move |data| {
        if let Some(block) = &mut data.proof.block {
            change(block);
        }
    })
}

/// Changes one node of every proof.
fn nodes(mut change: impl FnMut(&mut Node) + 'static) -> Tamper {
    data(move |data: &mut Data| {
        let proof = &mut data.proof;
        let lists = [
            proof.block.as_mut().map(|block| &mut block.nodes),
            proof.upgrade.as_mut().map(|upgrade| &mut upgrade.nodes),
        ];
        if let Some(node) = lists.into_iter().flatten().find_map(|nodes| nodes.first_mut()) {
            change(node);
        }
    })
}

fn upgrade(mut change: impl FnMut(&mut UpgradeProof) + 'static) -> Tamper {
    data(move |data| {
        if let Some(upgrade) = &mut data.proof.upgrade {
            change(upgrade);
        }
    })
}

fn manifest(mut change: impl FnMut(&mut Manifest) + 'static) -> Tamper {
    data(move |data| {
        if let Some(manifest) = &mut data.proof.manifest {
            change(manifest);
        }
    })
}

fn sync(mut change: impl FnMut(&mut Sync) + 'static) -> Tamper {
    Box::new(move |message| match message {
        Message::Sync(mut sync) => {
            change(&mut sync);
            vec![Message::Sync(sync)]
        }
        other => vec![other],
    })
}

/// The signed head of another history, says the liar.
fn conflict(signature: Option<Bytes>) -> Message {
    let upgrade = UpgradeProof {
        start: 0,
        length: 8,
        nodes: fake_nodes(7, 1),
        additional_nodes: Vec::new(),
        signature,
    };
    Message::Data(Data { request: 0, proof: Proof { upgrade: Some(upgrade), ..Proof::default() } })
}

fn fork(signature: Option<Bytes>) -> Message {
    let Message::Data(mut data) = conflict(signature) else { unreachable!() };
    data.proof.fork = 1;
    Message::Data(data)
}

fn fake_nodes(first: u64, count: u64) -> Vec<Node> {
    (0..count).map(|at| Node { index: first + 2 * at, size: 50, hash: [at as u8; 32] }).collect()
}

fn flip(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.into()
}

/// A frame of a secret stream: its length in 3 bytes, then the bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = body.len() as u32;
    [&len.to_le_bytes()[..3], body].concat()
}
