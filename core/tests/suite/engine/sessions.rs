//! Upstream's recorded sessions, played against the whole engine.

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::*;
use hypertab_core::storage::MemoryStore;
use serde_json::Value;

use crate::support::common::{entries, hex, hex_fixed, load, recorded_link};
use crate::support::sim::Host;

fn open(session: &Value, role: Role, core: OpenOptions) -> (Host, CoreId, LinkId) {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore { core, ..OpenCore::default() });
    let link = host.engine.open_link(recorded_link(&session["connection"], role), host.now);
    (host, core, link)
}

#[test]
fn reader_takes_the_head_of_the_recorded_writer() {
    let session = load("wire-session-download");
    let key = hex_fixed(&session["core"]["key"]);
    let options = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let (mut host, core, link) = open(&session, Role::Responder, options);
    host.engine.attach(core, link, host.now).unwrap();
    host.settle();

    for frame in entries(&session, "frames").iter().filter(|frame| frame["from"] == "a").take(4) {
        host.receive(link, Bytes::from(hex(&frame["frame"])));
    }

    assert!(host.closed.is_empty());
    let core = host.engine.core(core).unwrap();
    assert_eq!(core.length(), entries(&session["core"], "blocks").len() as u64);
    assert!(core.manifest().is_some());
}

#[test]
fn writer_answers_the_recorded_reader_as_upstream_did() {
    let session = load("wire-session-download");
    let pair = (0..=255_u8).map(|seed| KeyPair::from_seed(&[seed; 32]));
    let signer: [u8; 32] = hex_fixed(&session["core"]["signer"]);
    let pair = pair.into_iter().find(|pair| pair.public_key == signer).expect("a signer with a plain seed");
    let options = OpenOptions { key_pair: Some(pair), ..OpenOptions::default() };
    let (mut host, core, link) = open(&session, Role::Initiator, options);
    let blocks = entries(&session["core"], "blocks").iter().map(|block| Bytes::from(hex(block))).collect();
    host.engine.core(core).unwrap().append(blocks, AppendOptions::default());
    host.settle();
    assert_eq!(host.engine.core(core).unwrap().key(), hex_fixed(&session["core"]["key"]));
    host.engine.attach(core, link, host.now).unwrap();
    host.settle();

    for frame in entries(&session, "frames").iter().filter(|frame| frame["from"] == "b") {
        host.receive(link, Bytes::from(hex(&frame["frame"])));
    }

    assert!(host.closed.is_empty());
    let sent: Vec<Bytes> = host.wires.remove(&link).unwrap().into();
    let sent = sent.concat();
    // What the reader got of the first five blocks is in our frames byte for byte, proofs and signature included.
    let block = hex(&session["result"]["block3"]);
    assert!(sent.windows(block.len()).any(|window| window == block));
    let signature = host.engine.core(core).unwrap().signature().unwrap();
    assert!(sent.windows(signature.len()).any(|window| window == signature));
    let recorded: Vec<u8> = entries(&session, "frames")
        .iter()
        .filter(|frame| frame["from"] == "a")
        .flat_map(|frame| hex(&frame["frame"]))
        .collect();
    assert!(
        recorded.windows(signature.len()).any(|window| window == signature),
        "upstream signed the same head"
    );
}
