//! A peer that does not know the core's key: upstream's recording, played against the engine in both roles.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::MemoryStore;
use serde_json::Value;

use crate::support::common::{entries, hex, hex_fixed, load, recorded_link};
use crate::support::sim::Host;

/// Opens the recording's core on a link whose handshake is the recording's, as the side that opened the stream or not.
fn host(session: &Value, role: Role) -> (Host, LinkId) {
    // Every recording was made with the same keys; this one leaves the handshake out.
    let connection = &load("wire-session-download")["connection"];
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = OpenOptions { key: Some(hex_fixed(&session["core"]["key"])), ..OpenOptions::default() };
    let core = host.open(store, OpenCore { core, ..OpenCore::default() });
    let link = host.engine.open_link(recorded_link(connection, role), host.now);
    host.engine.attach(core, link, host.now).unwrap();
    host.settle();
    (host, link)
}

fn frame(session: &Value, from: &str) -> Bytes {
    let frames = entries(session, "frames").iter();
    let mut frames = frames.filter(|frame| frame["from"] == from);
    Bytes::from(hex(&frames.next().unwrap()["frame"]))
}

#[test]
fn proof_of_another_key_ends_the_whole_link() {
    let session = load("wire-session-wrong-capability");
    let (mut host, link) = host(&session, Role::Initiator);

    let sent = host.wires.get_mut(&link).and_then(|wire| wire.pop_front());
    assert_eq!(sent, Some(frame(&session, "a")), "our own proof is upstream's");
    host.receive(link, frame(&session, "b"));

    assert_eq!(host.closed, [link]);
    let reason = host.events.iter().find_map(|event| match event {
        Event::LinkClosed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(matches!(reason, Some(CloseReason::Misbehaved(_))), "{reason:?}");
    assert!(!host.events.iter().any(|event| matches!(event, Event::PeerAdd { .. })));
    assert!(host.wires.values().all(|wire| wire.is_empty()), "nothing was told to the peer");
}

#[test]
fn proof_of_the_right_key_is_taken_by_the_other_side() {
    let session = load("wire-session-wrong-capability");
    let (mut host, link) = host(&session, Role::Responder);

    host.receive(link, frame(&session, "a"));

    assert!(host.closed.is_empty());
    assert!(host.events.iter().any(|event| matches!(event, Event::PeerAdd { .. })));
}

#[test]
fn proof_made_for_one_side_is_worth_nothing_from_the_other() {
    let session = load("wire-session-wrong-capability");
    let (mut host, link) = host(&session, Role::Initiator);

    host.receive(link, frame(&session, "a"));

    assert_eq!(host.closed, [link]);
}
