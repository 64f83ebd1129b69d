//! What peers that lie, flood or talk nonsense cannot do to a replicator.

use bytes::Bytes;
use hypertab_core::hypercore::proof::{HashRequest, Proof, ProofRequest};
use hypertab_core::replicator::wire::{BitfieldWords, Data, Message, Range, Request, Want};
use hypertab_core::replicator::{Local, PeerId, PeerMisbehaved, ReplicatorEvent, ReplicatorOptions};

use crate::support::replicator::situations::{
    block, block_requests, full_peer, hash_seek, peer_of_writer, reader_at, refusal, requests, upgrade,
    writer,
};
use crate::support::replicator::{Log, Node, block_request, connect, content, exchange, sync};

#[test]
fn bad_data_pauses_the_peer_and_asks_it_for_its_head() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.get(1, 7);
    node.take_sent();

    let nodes = node.log.missing_nodes(14);
    let mut proof =
        writer(100).prove(&ProofRequest { block: Some(block(7, nodes)), ..ProofRequest::default() }).unwrap();
    proof.block.as_mut().unwrap().value = Bytes::from_static(b"forged");
    node.receive(1, Message::Data(Data { request: 1, proof }));
    node.settle();

    let what = upgrade(0, 100);
    assert_eq!(requests(&node.take_sent()), [Request { id: 0, fork: 0, what: what.clone(), priority: 0 }]);
    assert!(node.replicator.peer(PeerId(1)).unwrap().is_paused);
    assert!(node.events.iter().any(|event| matches!(event, ReplicatorEvent::VerificationError { .. })));
    assert!(node.resolved.is_empty());

    let proof = writer(100).prove(&what).unwrap();
    node.receive(1, Message::Data(Data { request: 0, proof }));
    node.settle();
    assert!(!node.replicator.peer(PeerId(1)).unwrap().is_paused, "no conflict: the peer gets another chance");
}

#[test]
fn an_unsolicited_claim_does_not_rehabilitate_a_peer() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    for id in 0..40 {
        node.get(id, id);
    }
    let requests = block_requests(&node.take_sent());
    for (id, _) in requests.iter().take(32) {
        node.receive(1, refusal(*id, 1));
    }
    assert!(node.replicator.peer(PeerId(1)).unwrap().is_paused);

    let proof = writer(100).prove(&upgrade(0, 100)).unwrap();
    node.receive(1, Message::Data(Data { request: 0, proof }));
    node.settle();

    assert!(node.replicator.peer(PeerId(1)).unwrap().is_paused);
}

#[test]
fn answers_that_were_not_asked_for_are_dropped() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.get(1, 7);
    let id = block_requests(&node.take_sent())[0].0;
    let source = writer(100);
    let prove = |what: ProofRequest| source.prove(&what).unwrap();
    let other = prove(ProofRequest { block: Some(block(8, 6)), ..ProofRequest::default() });

    node.receive(1, Message::Data(Data { request: 9, proof: other.clone() }));
    node.receive(1, Message::Data(Data { request: 0, proof: other.clone() }));
    assert!(node.jobs.is_empty());
    node.receive(1, Message::Data(Data { request: id, proof: other }));
    assert!(node.jobs.is_empty());

    assert_eq!(block_requests(&node.take_sent()), [(id, 7)], "asked again");
    let hash = Some(HashRequest { index: 14, nodes: 2 });
    let proof = prove(ProofRequest { hash, ..ProofRequest::default() });
    node.receive(1, Message::Data(Data { request: id, proof: proof.clone() }));
    node.receive(1, Message::Data(Data { request: id, proof: Proof { fork: 0, ..Proof::default() } }));
    assert!(node.jobs.is_empty());
}

#[test]
fn pushes_are_taken_only_when_allowed_and_bounded() {
    let options = ReplicatorOptions { allow_push: true, ..ReplicatorOptions::default() };
    let mut node = Node::new(reader_at(100), options, 1);
    node.replicator.set_active(true, &node.log, node.now);
    node.pump();
    node.add_peer(1);
    let source = writer(100);

    for index in 0..100 {
        let what = ProofRequest {
            block: Some(block(index, 6.min(node.log.missing_nodes(2 * index)))),
            ..ProofRequest::default()
        };
        node.receive(1, Message::Data(Data { request: 0, proof: source.prove(&what).unwrap() }));
    }

    assert!(node.jobs.len() <= 64, "{}", node.jobs.len());
    node.settle();
    assert!(node.log.contiguous > 0);
}

#[test]
fn hostile_numbers_neither_allocate_nor_loop_nor_panic() {
    const MAX: u64 = (1 << 53) - 1;
    let numbers = [0, 1, 31, 32, 255, 4096, 2_097_151, 2_097_152, 1 << 32, MAX - 1, MAX];
    for is_reader in [true, false] {
        let mut node = if is_reader { Node::active(reader_at(100), 1) } else { Node::active(writer(100), 1) };
        node.add_peer(1);
        node.range(1, 0, None);
        node.get(2, 99_999);
        for &a in &numbers {
            for &b in &numbers {
                for flag in [false, true] {
                    let (fork, length) = (if flag { 0 } else { a }, b);
                    let words = Bytes::from(vec![0xa5; 64]);
                    for message in [
                        Message::Range(Range { drop: flag, start: a, length: b }),
                        Message::Want(Want { start: a, length: b, any: flag }),
                        Message::Unwant(Want { start: a, length: b, any: flag }),
                        Message::Bitfield(BitfieldWords { start: a, words }),
                        Message::Sync(sync(fork, length, a)),
                        Message::Cancel { request: a },
                        refusal(a, b),
                        block_request(a, 0, b, a),
                        Message::Request(Request { id: a, fork: 0, what: upgrade(a, b), priority: b }),
                        Message::Request(Request { id: a, fork: 0, what: hash_seek(a, b), priority: 0 }),
                    ] {
                        node.receive(1, message);
                        node.settle();
                        if !node.closed.is_empty() {
                            node.closed.clear();
                            node.add_peer(1);
                        }
                    }
                }
            }
            node.take_sent();
        }
    }
}

#[test]
fn open_requests_of_a_peer_are_bounded() {
    let mut node = peer_of_writer(10);
    node.replicator.set_drained(PeerId(1), false, &node.log);

    for id in 1..=8192 {
        node.receive(1, block_request(id, 0, 1, 0));
    }
    assert!(node.closed.is_empty());
    node.receive(1, block_request(9999, 0, 1, 0));

    assert_eq!(node.closed, [(PeerId(1), Some(PeerMisbehaved::TooManyRequests))]);
}

#[test]
fn random_messages_never_panic() {
    let mut state = 1u64;
    let mut random = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for round in 0..30 {
        let mut node = Node::active(if round % 2 == 0 { reader_at(50) } else { writer(50) }, round);
        node.add_peer(1);
        full_peer(&mut node, 1, 60);
        node.range(1, 0, None);
        node.seek(3, 100);
        for step in 0..400 {
            let mut bytes: Vec<u8> = (0..random(40)).map(|_| random(6) as u8 * random(40) as u8).collect();
            if let Some(first) = bytes.first_mut() {
                *first &= 63;
            }
            let message_type = random(10);
            if let Ok(Some(message)) = Message::decode(message_type, &Bytes::from(bytes)) {
                node.replicator.handle_message(PeerId(1), message, &node.log, node.now);
                node.pump();
                node.settle();
            }
            if !node.closed.is_empty() || step % 50 == 0 {
                node.closed.clear();
                node.replicator.remove_peer(PeerId(1), false, &node.log, node.now);
                node.pump();
                node.add_peer(1);
            }
        }
    }
}

#[test]
fn two_nodes_survive_a_conflict_of_their_writers() {
    let mut a = Node::active(writer(3), 1);
    let mut other = Log::writer(1, false);
    other.append(&[content(9, 5), content(8, 5), content(7, 5), content(6, 5)]);
    let mut b = Node::active(other, 2);

    connect(&mut a, &mut b);
    exchange(&mut a, &mut b);

    assert!(!a.closed.is_empty() && !b.closed.is_empty());
    assert_eq!((a.log.tree.length, b.log.tree.length), (3, 4));
}

#[test]
fn a_peer_with_many_forks_keeps_nobody_else_from_being_asked_for_one() {
    let mut node = Node::active(writer(3), 1);
    node.add_peer(1);
    for fork in 1..40 {
        node.receive(1, Message::Sync(sync(fork, 5, 0)));
    }
    node.add_peer(2);
    node.take_sent();

    node.receive(2, Message::Sync(sync(50, 5, 0)));

    assert_eq!(requests(&node.take_sent()).iter().map(|request| request.fork).collect::<Vec<_>>(), [50]);
}

#[test]
fn a_peer_that_never_answers_keeps_nobody_on_an_old_fork() {
    let source = {
        let mut log = writer(5);
        log.truncate(3);
        log
    };
    let mut node = Node::active(writer(5), 1);
    for id in [1, 2, 3] {
        node.add_peer(id);
    }
    node.take_sent();
    for id in [1, 2] {
        node.receive(id, Message::Sync(sync(1, 3, 0)));
    }
    let asked = |node: &mut Node| -> Vec<(u64, u64)> {
        let sent = std::mem::take(&mut node.sent).into_iter();
        sent.filter_map(|(peer, message)| match message {
            Message::Request(request) => Some((peer.0, request.id)),
            _ => None,
        })
        .collect()
    };
    let wait = |node: &mut Node| {
        node.now = node.replicator.poll_timeout().unwrap();
        node.replicator.handle_timeout(&node.log, node.now);
        node.pump();
        node.now
    };
    assert_eq!(asked(&mut node).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [1]);

    assert_eq!(wait(&mut node).as_micros(), 5_000_000);
    assert!(node.sent.iter().any(|(peer, message)| peer.0 == 1 && matches!(message, Message::Cancel { .. })));
    assert_eq!(asked(&mut node).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [2]);
    assert_eq!(wait(&mut node).as_micros(), 10_000_000);
    assert_eq!(asked(&mut node).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [1], "given longer");
    node.receive(3, Message::Sync(sync(1, 3, 0)));
    assert_eq!(asked(&mut node), []);
    assert_eq!(wait(&mut node).as_micros(), 20_000_000);
    let third = asked(&mut node);
    assert_eq!(third.len(), 1);

    let (peer, request) = third[0];
    let proof = source.prove(&upgrade(0, 3)).unwrap();
    node.receive(peer, Message::Data(Data { request, proof: Proof { fork: 1, ..proof } }));
    node.settle();
    assert_eq!((node.log.tree.fork, node.log.tree.length), (1, 3));
}

#[test]
fn claims_about_a_log_of_any_signed_length_cost_little() {
    let mut node = Node::active(reader_at(100), 1);
    // What an author may sign.
    node.log.tree.length = 1 << 50;
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 1 << 50, 1 << 50)));

    node.receive(1, Message::Range(Range { drop: false, start: 1, length: 1 << 50 }));
    node.receive(1, Message::Range(Range { drop: false, start: 0, length: 1 << 50 }));
    node.receive(1, Message::Range(Range { drop: true, start: 7, length: 1 }));

    assert!(node.replicator.peer_blocks(PeerId(1)).unwrap().get(8));
}

#[test]
fn wants_that_waited_for_the_link_are_not_all_answered_at_once() {
    const LENGTH: u64 = 1 << 21;
    let mut node = Node::active(reader_at(100), 1);
    node.log.tree.length = LENGTH;
    node.log.bits.set_range(1, LENGTH, true);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, LENGTH, LENGTH)));
    node.replicator.set_drained(PeerId(1), false, &node.log);
    for unit in 0..100 {
        node.receive(1, Message::Want(Want { start: unit << 12, length: LENGTH >> (unit % 2), any: false }));
    }
    node.take_sent();
    let bitfields = |node: &mut Node| {
        let sent = node.take_sent().into_iter();
        sent.filter(|message| matches!(message, Message::Bitfield(_))).count()
    };

    node.replicator.set_drained(PeerId(1), true, &node.log);
    node.pump();
    assert_eq!(bitfields(&mut node), 1, "the link may be full with that");

    let mut answers = 1;
    while let Some(at) = node.replicator.poll_timeout().filter(|at| *at <= node.now) {
        node.replicator.handle_timeout(&node.log, node.now.max(at));
        node.pump();
        answers += bitfields(&mut node);
    }
    assert!(answers > 40, "{answers}");
}
