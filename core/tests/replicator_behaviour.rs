//! What a replicator does in single situations, message by message, and what hostile peers cannot do.

mod replicator_support;

use bytes::Bytes;
use hypertab_core::hypercore::proof::{HashRequest, Proof, ProofRequest, SeekRequest, UpgradeRequest};
use hypertab_core::replicator::wire::{BitfieldWords, Data, Message, NoData, Range, Request, Sync, Want};
use hypertab_core::replicator::{
    GetWish, Local, PeerId, PeerMisbehaved, RangeWish, ReplicatorEvent, ReplicatorOptions, Resolution,
    WishError, WishId,
};
use hypertab_core::time::{Duration, Instant};
use replicator_support::{Log, Node, block_request, connect, content, exchange, sync};

#[test]
fn a_request_queue_is_served_in_order_urgent_first_and_only_while_the_link_takes_more() {
    let mut node = peer_of_writer(10);
    node.replicator.set_drained(PeerId(1), false, &node.log);
    for (id, block, priority) in [(1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 0)] {
        let Message::Request(mut request) = block_request(id, 0, block, 0) else { unreachable!() };
        request.priority = priority;
        node.receive(1, Message::Request(request));
    }
    node.receive(1, Message::Cancel { request: 2 });
    node.settle();
    assert_eq!(node.take_sent(), []);

    node.replicator.set_drained(PeerId(1), true, &node.log);
    node.pump();
    node.settle();

    assert_eq!(data_ids(&node.take_sent()), [3, 1, 4]);
}

#[test]
fn a_second_request_with_an_open_id_replaces_the_first() {
    let mut node = peer_of_writer(10);

    node.receive(1, block_request(5, 0, 1, 0));
    node.receive(1, block_request(5, 0, 2, 0));
    node.settle();

    let sent = node.take_sent();
    let [Message::Data(data)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(data.proof.block.as_ref().unwrap().index, 2);
}

#[test]
fn a_truncation_refuses_what_was_being_proven() {
    let mut node = peer_of_writer(10);
    node.receive(1, block_request(1, 0, 3, 0));
    assert_eq!(node.jobs.len(), 1);

    node.truncate(5);
    node.settle();

    let sent = node.take_sent();
    assert!(sent.contains(&refusal(1, 1)), "{sent:?}");
    assert!(data_ids(&sent).is_empty());
}

#[test]
fn blocks_stored_together_are_announced_once_when_they_complete_the_log() {
    let mut node = Node::active(reader_at(10), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 10, 10)));
    node.take_sent();
    let source = writer(10);
    for index in 0..10 {
        let what = ProofRequest {
            block: Some(block(index, node.log.missing_nodes(2 * index))),
            ..ProofRequest::default()
        };
        node.log.apply(&source.prove(&what).unwrap()).unwrap();
    }

    for index in 0..10 {
        node.changed(hypertab_core::replicator::LocalChange::Gained { start: index, length: 1 });
    }

    let everything = Message::Range(Range { drop: false, start: 0, length: 10 });
    assert_eq!(node.take_sent(), std::slice::from_ref(&everything));
    let change = node.log.clear(4, 1);
    node.changed(change);
    node.log.store_block(4, content(4, 5).into());
    node.changed(hypertab_core::replicator::LocalChange::Gained { start: 4, length: 1 });
    let dropped = Message::Range(Range { drop: true, start: 4, length: 1 });
    assert_eq!(node.take_sent(), [dropped, everything]);
}

#[test]
fn what_is_not_there_is_refused_but_a_manifest_is_not() {
    let mut node = peer_of_writer(10);
    let change = node.log.clear(4, 1);
    node.changed(change);
    node.take_sent();

    node.receive(1, block_request(1, 0, 4, 0));
    node.receive(1, block_request(2, 3, 5, 0));
    let what = ProofRequest { manifest: true, ..upgrade(0, 5) };
    node.receive(1, Message::Request(Request { id: 3, fork: 3, what, priority: 0 }));
    node.settle();

    let sent = node.take_sent();
    assert_eq!(sent[..2], [refusal(1, 1), refusal(2, 1)]);
    let Message::Data(data) = &sent[2] else { panic!("{sent:?}") };
    assert_eq!((data.request, data.proof.fork), (3, 0));
    assert!(data.proof.manifest.is_some() && data.proof.upgrade.is_none());
}

#[test]
fn impossible_requests_are_refused_later_and_later_and_then_end_the_link() {
    let mut node = peer_of_writer(10);

    node.receive(1, Message::Request(Request { id: 1, fork: 0, what: upgrade(3, 100), priority: 0 }));
    node.settle();
    assert_eq!(node.take_sent(), []);
    assert_eq!(node.replicator.poll_timeout(), Some(Instant::EPOCH + Duration::from_millis(200)));
    node.now = Instant::EPOCH + Duration::from_millis(200);
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();
    assert_eq!(node.take_sent(), [refusal(1, 2)]);

    for id in 2..=64 {
        assert!(node.closed.is_empty());
        node.receive(1, Message::Request(Request { id, fork: 0, what: upgrade(3, 100), priority: 0 }));
        node.settle();
    }
    assert_eq!(node.closed, [(PeerId(1), Some(PeerMisbehaved::InvalidRequests))]);
}

#[test]
fn a_linear_range_is_asked_for_in_order_and_again_where_it_was_refused() {
    let mut node = Node::active(reader_at(300), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 300);
    let range = RangeWish { start: 10, end: Some(300), linear: true, blocks: None };
    node.replicator.range(WishId(1), range, &node.log, node.now);
    node.pump();

    let requests = block_requests(&node.take_sent());
    let blocks: Vec<u64> = requests.iter().map(|(_, block)| *block).collect();
    assert_eq!(blocks, (10..58).collect::<Vec<_>>());
    node.receive(1, refusal(requests[3].0, 1));

    assert_eq!(block_requests(&node.take_sent()), [(requests[3].0, 13)]);
}

#[test]
fn a_block_in_flight_is_not_asked_for_twice_unless_another_peer_is_idle() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.get(1, 7);
    assert_eq!(block_requests(&node.take_sent()).len(), 1);

    node.add_peer(2);
    full_peer(&mut node, 2, 100);
    let sent: Vec<_> = std::mem::take(&mut node.sent);
    let second = sent.iter().find_map(|(peer, message)| match message {
        Message::Request(request) => Some((*peer, request.id, request.what.block.unwrap().index)),
        _ => None,
    });
    assert_eq!(second, Some((PeerId(2), 2, 7)));

    let writer = writer(100);
    let nodes = node.log.missing_nodes(14);
    let proof =
        writer.prove(&ProofRequest { block: Some(block(7, nodes)), ..ProofRequest::default() }).unwrap();
    node.receive(2, Message::Data(Data { request: 2, proof }));
    node.settle();

    assert!(node.sent.contains(&(PeerId(1), Message::Cancel { request: 1 })));
    assert_eq!(node.resolved[&WishId(1)], Resolution::Block(content(7, 5).into()));
}

#[test]
fn cancelling_the_last_wish_for_a_block_takes_the_request_back() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.get(1, 7);
    node.get(2, 7);
    let requests = block_requests(&node.take_sent());

    node.replicator.cancel(WishId(1), &node.log, node.now);
    node.pump();
    assert_eq!(node.take_sent(), []);
    node.replicator.cancel(WishId(2), &node.log, node.now);
    node.pump();

    assert_eq!(node.take_sent(), [Message::Cancel { request: requests[0].0 }]);
    assert_eq!(node.replicator.peer(PeerId(1)).unwrap().in_flight, 0);
    node.get(3, 8);
    assert_eq!(block_requests(&node.take_sent()), [(2, 8)], "id 1 may still be answered");
}

#[test]
fn a_request_that_comes_back_after_its_cancel_is_ignored() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.get(1, 7);
    node.replicator.cancel(WishId(1), &node.log, node.now);
    node.pump();

    let proof =
        writer(100).prove(&ProofRequest { block: Some(block(7, 6)), ..ProofRequest::default() }).unwrap();
    node.receive(1, Message::Data(Data { request: 1, proof }));
    node.settle();

    assert!(!node.log.has(7));
}

#[test]
fn an_upgrade_waits_until_the_peer_has_seen_our_length() {
    let mut node = Node::active(reader_at(5), 1);
    node.add_peer(1);
    node.take_sent();

    node.receive(1, Message::Sync(sync(0, 9, 3)));
    assert_eq!(requests(&node.take_sent()), []);
    node.receive(1, Message::Sync(Sync { can_upgrade: false, ..sync(0, 9, 5) }));
    assert_eq!(requests(&node.take_sent()), []);
    node.receive(1, Message::Sync(sync(0, 9, 5)));

    let what = upgrade(5, 4);
    assert_eq!(requests(&node.take_sent()), [Request { id: 1, fork: 0, what, priority: 0 }]);
}

#[test]
fn a_peer_that_cannot_prove_what_it_has_hears_of_our_length_again() {
    let mut node = Node::active(reader_at(5), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(Sync { can_upgrade: false, ..sync(0, 9, 5) }));
    node.take_sent();

    for pause in [1, 2, 4] {
        node.now += Duration::from_secs(pause);
        assert_eq!(node.replicator.poll_timeout(), Some(node.now));
        node.replicator.handle_timeout(&node.log, node.now);
        node.pump();
        let sent = node.take_sent();
        assert!(matches!(sent[..], [Message::Sync(Sync { length: 5, remote_length: 9, .. })]), "{sent:?}");
    }
    // What it gets may be what was missing.
    node.receive(1, Message::Range(Range { drop: false, start: 0, length: 9 }));
    node.take_sent();
    node.now += Duration::from_secs(1);
    assert_eq!(node.replicator.poll_timeout(), Some(node.now));
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();
    node.receive(1, Message::Sync(sync(0, 9, 5)));

    assert_eq!(requests(&node.take_sent())[0].what, upgrade(5, 4));
    node.now += Duration::from_secs(2);
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();
    assert_eq!(node.take_sent(), []);
}

#[test]
fn a_peer_that_announces_blocks_beyond_its_length_hears_of_ours_again() {
    let mut node = Node::active(reader_at(5), 1);
    node.add_peer(1);
    // Upstream does not tell of a head that it cannot prove.
    node.receive(1, Message::Sync(sync(0, 5, 5)));
    node.receive(1, Message::Range(Range { drop: false, start: 0, length: 5 }));
    assert_eq!(node.replicator.poll_timeout(), None);
    node.receive(1, Message::Range(Range { drop: false, start: 8, length: 1 }));
    node.take_sent();

    node.now += Duration::from_secs(1);
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();
    assert!(matches!(node.take_sent()[..], [Message::Sync(Sync { length: 5, .. })]));
    node.receive(1, Message::Sync(sync(0, 9, 5)));

    assert_eq!(requests(&node.take_sent())[0].what, upgrade(5, 4));
}

#[test]
fn whoever_has_got_the_whole_log_tells_the_peers_that_are_behind() {
    let mut node = Node::active(reader_at(8), 1);
    node.add_peer(1);
    node.take_sent();
    node.receive(1, Message::Sync(sync(0, 3, 8)));
    node.settle();
    let told = |sent: &[Message]| {
        sent.iter().any(|message| matches!(message, Message::Sync(Sync { can_upgrade: true, .. })))
    };
    assert!(!told(&node.take_sent()), "the nodes of three blocks are not there");

    let source = writer(8);
    for index in 0..8 {
        let what = ProofRequest {
            block: Some(block(index, node.log.missing_nodes(2 * index))),
            ..ProofRequest::default()
        };
        node.log.apply(&source.prove(&what).unwrap()).unwrap();
        node.changed(hypertab_core::replicator::LocalChange::Gained { start: index, length: 1 });
        node.settle();
    }

    assert!(told(&node.take_sent()));
}

#[test]
fn without_eagerness_nothing_is_asked_until_somebody_waits() {
    let options = ReplicatorOptions { eager_upgrade: false, ..ReplicatorOptions::default() };
    let mut node = Node::new(reader_at(5), options, 1);
    node.replicator.set_active(true, &node.log, node.now);
    node.pump();
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 9, 5)));
    assert_eq!(requests(&node.take_sent()), []);

    node.update(1);

    assert_eq!(requests(&node.take_sent()).len(), 1);
    let proof = writer(9).prove(&upgrade(5, 4)).unwrap();
    node.receive(1, Message::Data(Data { request: 1, proof }));
    node.settle();
    assert_eq!(node.resolved[&WishId(1)], Resolution::Update(true));
}

#[test]
fn update_says_no_once_the_peers_that_are_opening_have_nothing_new() {
    let mut node = Node::active(reader_at(5), 1);
    node.replicator.set_finding_peers(true, &node.log, node.now);
    node.update(1);
    assert!(node.resolved.is_empty(), "peers are being looked for");
    node.replicator.set_pending_opens(1, &node.log);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 5, 5)));
    node.update(2);
    assert!(node.resolved.is_empty(), "a channel is opening");

    node.replicator.set_pending_opens(0, &node.log);
    node.pump();

    assert_eq!(node.resolved[&WishId(1)], Resolution::Update(false));
    assert_eq!(node.resolved[&WishId(2)], Resolution::Update(false));
    let mut writer = Node::active(writer(3), 1);
    writer.update(1);
    assert_eq!(writer.resolved[&WishId(1)], Resolution::Update(false));
}

#[test]
fn a_block_beyond_the_length_comes_with_an_upgrade() {
    let options = ReplicatorOptions { eager_upgrade: false, ..ReplicatorOptions::default() };
    let mut node = Node::new(reader_at(5), options, 1);
    node.replicator.set_active(true, &node.log, node.now);
    node.pump();
    node.add_peer(1);
    full_peer(&mut node, 1, 9);
    node.take_sent();

    node.get(1, 8);

    let sent = requests(&node.take_sent());
    assert_eq!(sent[0].what.upgrade, Some(UpgradeRequest { start: 5, length: 4 }));
    assert_eq!(sent[0].what.block.unwrap().index, 8);
}

#[test]
fn an_inactive_core_lingers_then_says_so_and_closes_what_is_idle_on_both_sides() {
    let mut node = peer_of_writer(3);
    node.receive(1, Message::Sync(Sync { downloading: false, ..sync(0, 3, 3) }));
    node.take_sent();

    node.replicator.set_active(false, &node.log, node.now);
    node.pump();
    assert_eq!(node.take_sent(), []);
    let at = node.replicator.poll_timeout().unwrap();
    let linger = at.duration_since(node.now);
    assert!((Duration::from_secs(20)..Duration::from_secs(40)).contains(&linger), "{linger:?}");
    node.now = at;
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();

    let Some(Message::Sync(last)) = node.take_sent().pop() else { panic!() };
    assert!(!last.downloading);
    assert_eq!(node.closed, [(PeerId(1), None)]);
    assert_eq!(node.opens, 1);
    node.replicator.set_active(true, &node.log, node.now);
    node.pump();
    assert_eq!(node.opens, 2);
}

#[test]
fn a_channel_closed_by_an_idle_peer_is_opened_again_by_one_that_is_not() {
    for (uploading, expected) in [(true, true), (false, false)] {
        let mut node = peer_of_writer(3);
        node.receive(1, Message::Sync(Sync { downloading: false, uploading, ..sync(0, 3, 3) }));

        let reopen = node.replicator.remove_peer(PeerId(1), true, &node.log, node.now);

        assert_eq!(reopen, expected);
    }
}

#[test]
fn losing_a_peer_moves_its_requests_to_another() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.range(1, 0, Some(100));
    let first = block_requests(&node.take_sent());
    node.add_peer(2);
    full_peer(&mut node, 2, 100);
    node.take_sent();

    node.replicator.remove_peer(PeerId(1), false, &node.log, node.now);
    node.pump();

    assert_eq!(first.len(), 48);
    let status = node.replicator.peer(PeerId(2)).unwrap();
    assert_eq!(status.in_flight, 48);
    assert_eq!(node.replicator.peers().count(), 1);
}

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
fn a_truncation_ends_the_wishes_of_snapshots_only() {
    let mut node = Node::active(writer(10), 1);
    let change = node.log.clear(0, 10);
    node.changed(change);
    let live = GetWish { snapshot: false, ..GetWish::default() };
    node.get(1, 8);
    node.get(2, 2);
    node.replicator.get(WishId(3), 8, live, &node.log, node.now);
    node.pump();

    node.truncate(5);

    assert_eq!(node.rejected.into_iter().collect::<Vec<_>>(), [(WishId(1), WishError::SnapshotNotAvailable)]);
    assert!(node.resolved.is_empty());
}

#[test]
fn a_sparse_log_tells_of_its_tail_and_of_what_is_wanted() {
    let mut node = Node::active(reader_at(1000), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 1000, 1000)));
    node.take_sent();
    let source = writer(1000);
    let gain = |node: &mut Node, index: u64| {
        let nodes = node.log.missing_nodes(2 * index);
        let what = ProofRequest { block: Some(block(index, nodes)), ..ProofRequest::default() };
        node.log.apply(&source.prove(&what).unwrap()).unwrap();
        node.changed(hypertab_core::replicator::LocalChange::Gained { start: index, length: 1 });
    };
    let have = |start, length| Message::Range(Range { drop: false, start, length });

    gain(&mut node, 500);
    assert_eq!(node.take_sent(), []);
    gain(&mut node, 744);
    assert_eq!(node.take_sent(), [have(744, 1)]);
    node.receive(1, Message::Want(Want { start: 480, length: 32, any: false }));
    let words = Bytes::from_static(&[0, 0, 16, 0]);
    assert_eq!(node.take_sent(), [Message::Bitfield(BitfieldWords { start: 480, words })]);
    gain(&mut node, 501);
    assert_eq!(node.take_sent(), [have(501, 1)]);
    node.receive(1, have(502, 1));
    gain(&mut node, 502);
    assert_eq!(node.take_sent(), [], "the peer has it");
    node.receive(1, Message::Unwant(Want { start: 480, length: 32, any: false }));
    gain(&mut node, 503);
    assert_eq!(node.take_sent(), []);
    let change = node.log.clear(503, 1);
    node.changed(change);
    assert_eq!(node.take_sent(), [Message::Range(Range { drop: true, start: 503, length: 1 })]);
}

#[test]
fn a_dropped_prefix_keeps_what_lies_behind_it() {
    let mut node = Node::active(reader_at(100), 1);
    node.add_peer(1);
    full_peer(&mut node, 1, 100);
    node.receive(1, Message::Range(Range { drop: true, start: 10, length: 5 }));
    node.take_sent();

    for block in [9, 12, 15] {
        node.get(block, block);
    }

    let blocks: Vec<u64> = block_requests(&node.take_sent()).iter().map(|(_, block)| *block).collect();
    assert_eq!(blocks, [9, 15]);
}

#[test]
fn many_peers_are_served_in_two_steps() {
    let mut node = Node::active(reader_at(2000), 1);
    for id in 1..=60 {
        node.add_peer(id);
        full_peer(&mut node, id, 2000);
    }
    node.take_sent();

    node.range(1, 0, Some(2000));

    let at = node.replicator.poll_timeout().unwrap();
    assert_eq!(at, node.now + Duration::from_millis(100));
    let first = block_requests(&node.take_sent()).len();
    assert!(first >= 40 * 47, "{first}");
    node.now = at;
    node.replicator.handle_timeout(&node.log, node.now);
    node.pump();
    assert_eq!(first + block_requests(&node.take_sent()).len(), 2000);
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
fn ten_thousand_gets_from_a_peer_that_lacks_them_cost_little_each() {
    let mut node = Node::active(reader_at(100_000), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 100_000, 100_000)));
    for block in 0..10_000 {
        node.get(block, block * 7);
    }
    node.take_sent();
    let start = std::time::Instant::now();

    for at in 0..2000u64 {
        node.receive(1, Message::Range(Range { drop: true, start: at, length: 1 }));
        node.get(20_000 + at, 99_000 + at % 500);
    }

    assert!(start.elapsed().as_millis() < 2000, "{:?}", start.elapsed());
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

fn writer(length: u64) -> Log {
    let mut log = Log::writer(1, false);
    log.append(&(0..length).map(|index| content(index, 5)).collect::<Vec<_>>());
    log
}

/// A log that knows the head but has no blocks.
fn reader_at(length: u64) -> Log {
    let source = writer(length);
    let mut log = Log::reader(source.key);
    let what = ProofRequest { manifest: true, ..upgrade(0, length) };
    log.apply(&source.prove(&what).unwrap()).unwrap();
    log
}

#[test]
fn a_slow_disk_keeps_no_link_waiting_and_fills_no_memory() {
    const SIZE: usize = 256 << 10;
    let mut log = Log::writer(1, false);
    log.append(&vec![vec![7; SIZE]; 200]);
    let key = log.key;
    let (mut source, mut node) = (Node::active(log, 1), Node::active(Log::reader(key), 2));
    connect(&mut source, &mut node);
    assert_eq!(node.log.length(), 200);
    node.range(1, 0, Some(200));

    // Nothing of what arrives is stored meanwhile.
    let (mut asked, mut messages) = (0, 0);
    loop {
        let sent = node.take_sent();
        asked += requests(&sent).len();
        if sent.is_empty() {
            break;
        }
        sent.into_iter().for_each(|message| source.receive(1, message));
        source.settle();
        messages += 1;
        source.take_sent().into_iter().for_each(|message| node.receive(1, message));
    }

    let memory = (32 << 20) / SIZE;
    assert!(asked >= memory && asked <= memory + 48, "{asked}");
    assert!(messages < asked / 2, "{messages} messages for {asked} requests");

    node.settle();
    exchange(&mut source, &mut node);
    assert_eq!(node.log.contiguous_length(), 200);
}

fn peer_of_writer(length: u64) -> Node {
    let mut node = Node::active(writer(length), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 0, length)));
    node.take_sent();
    node
}

/// Lets a peer announce that it has everything and has seen our length.
fn full_peer(node: &mut Node, id: u64, length: u64) {
    let acked = node.log.length();
    node.receive(id, Message::Sync(sync(0, length, acked)));
    node.receive(id, Message::Range(Range { drop: false, start: 0, length }));
}

fn upgrade(start: u64, length: u64) -> ProofRequest {
    ProofRequest { upgrade: Some(UpgradeRequest { start, length }), ..ProofRequest::default() }
}

fn hash_seek(index: u64, bytes: u64) -> ProofRequest {
    let hash = Some(HashRequest { index, nodes: bytes });
    ProofRequest { hash, seek: Some(SeekRequest { bytes, padding: 0 }), ..ProofRequest::default() }
}

fn block(index: u64, nodes: u64) -> hypertab_core::hypercore::proof::BlockRequest {
    hypertab_core::hypercore::proof::BlockRequest { index, nodes }
}

fn refusal(request: u64, reason: u64) -> Message {
    Message::NoData(NoData { request, reason })
}

fn requests(messages: &[Message]) -> Vec<Request> {
    let requests = messages.iter().filter_map(|message| match message {
        Message::Request(request) => Some(request.clone()),
        _ => None,
    });
    requests.collect()
}

/// Ids and blocks.
fn block_requests(messages: &[Message]) -> Vec<(u64, u64)> {
    let requests = requests(messages).into_iter();
    requests.filter_map(|request| Some((request.id, request.what.block?.index))).collect()
}

fn data_ids(messages: &[Message]) -> Vec<u64> {
    let ids = messages.iter().filter_map(|message| match message {
        Message::Data(data) => Some(data.request),
        _ => None,
    });
    ids.collect()
}
