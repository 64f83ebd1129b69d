//! What a replicator asks its peers for, message by message.

use hypertab_core::hypercore::proof::{ProofRequest, UpgradeRequest};
use hypertab_core::replicator::wire::{Data, Message, Range, Sync};
use hypertab_core::replicator::{
    GetWish, Local, PeerId, RangeWish, ReplicatorOptions, Resolution, WishError, WishId,
};
use hypertab_core::time::Duration;

use crate::support::replicator::situations::{
    block, block_requests, full_peer, reader_at, refusal, requests, upgrade, writer,
};
use crate::support::replicator::{Log, Node, connect, content, exchange, sync};

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
