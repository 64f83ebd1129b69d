//! What a replicator tells its peers and answers them, message by message.

use bytes::Bytes;
use hypertab_core::hypercore::proof::ProofRequest;
use hypertab_core::replicator::wire::{BitfieldWords, Message, Range, Request, Sync, Want};
use hypertab_core::replicator::{Local, PeerId, PeerMisbehaved};
use hypertab_core::time::{Duration, Instant};

use crate::support::replicator::situations::{
    block, block_requests, data_ids, full_peer, peer_of_writer, reader_at, refusal, requests, upgrade, writer,
};
use crate::support::replicator::{Node, block_request, content, sync};

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
