//! Peers in the situations that single tests begin with, and what they say.

use hypertab_core::hypercore::proof::{HashRequest, ProofRequest, SeekRequest, UpgradeRequest};
use hypertab_core::replicator::Local;
use hypertab_core::replicator::wire::{Message, NoData, Range, Request};

use super::{Log, Node, content, sync};

pub(crate) fn writer(length: u64) -> Log {
    let mut log = Log::writer(1, false);
    log.append(&(0..length).map(|index| content(index, 5)).collect::<Vec<_>>());
    log
}

/// A log that knows the head but has no blocks.
pub(crate) fn reader_at(length: u64) -> Log {
    let source = writer(length);
    let mut log = Log::reader(source.key);
    let what = ProofRequest { manifest: true, ..upgrade(0, length) };
    log.apply(&source.prove(&what).unwrap()).unwrap();
    log
}

pub(crate) fn peer_of_writer(length: u64) -> Node {
    let mut node = Node::active(writer(length), 1);
    node.add_peer(1);
    node.receive(1, Message::Sync(sync(0, 0, length)));
    node.take_sent();
    node
}

/// Lets a peer announce that it has everything and has seen our length.
pub(crate) fn full_peer(node: &mut Node, id: u64, length: u64) {
    let acked = node.log.length();
    node.receive(id, Message::Sync(sync(0, length, acked)));
    node.receive(id, Message::Range(Range { drop: false, start: 0, length }));
}

pub(crate) fn upgrade(start: u64, length: u64) -> ProofRequest {
    ProofRequest { upgrade: Some(UpgradeRequest { start, length }), ..ProofRequest::default() }
}

pub(crate) fn hash_seek(index: u64, bytes: u64) -> ProofRequest {
    let hash = Some(HashRequest { index, nodes: bytes });
    ProofRequest { hash, seek: Some(SeekRequest { bytes, padding: 0 }), ..ProofRequest::default() }
}

pub(crate) fn block(index: u64, nodes: u64) -> hypertab_core::hypercore::proof::BlockRequest {
    hypertab_core::hypercore::proof::BlockRequest { index, nodes }
}

pub(crate) fn refusal(request: u64, reason: u64) -> Message {
    Message::NoData(NoData { request, reason })
}

pub(crate) fn requests(messages: &[Message]) -> Vec<Request> {
    let requests = messages.iter().filter_map(|message| match message {
        Message::Request(request) => Some(request.clone()),
        _ => None,
    });
    requests.collect()
}

/// Ids and blocks.
pub(crate) fn block_requests(messages: &[Message]) -> Vec<(u64, u64)> {
    let requests = requests(messages).into_iter();
    requests.filter_map(|request| Some((request.id, request.what.block?.index))).collect()
}

pub(crate) fn data_ids(messages: &[Message]) -> Vec<u64> {
    let ids = messages.iter().filter_map(|message| match message {
        Message::Data(data) => Some(data.request),
        _ => None,
    });
    ids.collect()
}
