//! Events as JavaScript gets them: an array each, its kind first.

use std::cell::RefCell;

use hypertab_core::collections::BTreeMap;
use hypertab_core::dht_relay::messages::{LookupResult, Node, SignRequest};
use hypertab_core::dht_relay::queries::{Reply, WriteEnd};
use hypertab_core::engine::{
    ApplyError, CloseReason, CoreId, Error, Event, LinkId, LinkPath, RelayEvent, RepairStage, Response,
    Return,
};
use hypertab_core::error::StorageFailure;
use hypertab_core::hypercore::jobs::Extent;
use hypertab_core::storage::StoreId;
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::proofs::proof_object;
use crate::{records, stores, upkeep};

macro_rules! event {
    ($kind:literal $(, $value:expr)*) => {{
        let event = Array::of1(&$crate::events::name($kind));
        $( event.push(&JsValue::from($value)); )*
        JsValue::from(event)
    }};
}

thread_local! {
    /// Strings of JavaScript, each made once: making one takes longer than the rest of an event.
    static NAMES: RefCell<BTreeMap<&'static str, JsValue>> = const { RefCell::new(BTreeMap::new()) };
}

/// A name as JavaScript's own.
pub(crate) fn name(name: &'static str) -> JsValue {
    NAMES.with_borrow_mut(|names| names.entry(name).or_insert_with(|| JsValue::from_str(name)).clone())
}

/// Bytes as JavaScript's own.
pub(crate) fn bytes(bytes: &[u8]) -> Uint8Array {
    Uint8Array::from(bytes)
}

/// A number that JavaScript can hold exactly. The engine refuses larger positions at the border.
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

fn core_number(core: CoreId) -> u32 {
    core.0
}

/// An object of named values.
pub(crate) fn object(entries: &[(&'static str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Setting a property of a fresh plain object cannot fail.
        let _ = Reflect::set(&object, &name(key), value);
    }
    object
}

/// A failure with upstream's code.
pub(crate) fn failure(code: &str, message: &str) -> JsValue {
    object(&[("code", code.into()), ("message", message.into())]).into()
}

pub(crate) fn transmit(link: LinkId, message: &[u8]) -> JsValue {
    event!("transmit", link.0, bytes(message))
}

pub(crate) fn finish_link(link: LinkId) -> JsValue {
    event!("link-finish", link.0)
}

pub(crate) fn close_link(link: LinkId, reason: &CloseReason) -> JsValue {
    event!("link-close", link.0, close_reason(reason))
}

/// Something waits to be written in the next turn.
pub(crate) fn commit() -> JsValue {
    event!("commit")
}

/// A store waits for a quiet moment.
pub(crate) fn restless(store: StoreId) -> JsValue {
    event!("restless", store.0)
}

pub(crate) fn done(request: f64, result: Result<JsValue, JsValue>) -> JsValue {
    match result {
        Ok(value) => event!("done", request, JsValue::NULL, value),
        Err(error) => event!("done", request, error),
    }
}

/// Null for a link that ended as it should.
fn close_reason(reason: &CloseReason) -> JsValue {
    match reason {
        CloseReason::Local | CloseReason::Broken | CloseReason::Remote(None) => JsValue::NULL,
        other => failure("STREAM_CLOSED", &other.to_string()),
    }
}

fn core_error(error: &Error) -> JsValue {
    match error {
        Error::Storage(failure) => storage_failure(*failure),
        _ => failure(error.code(), &error.to_string()),
    }
}

/// A failure of storage: that writing failed is upstream's code, and why is in the cause.
pub(crate) fn storage_failure(failure: StorageFailure) -> JsValue {
    let message = failure.to_string();
    let cause = object(&[("code", failure.code().into()), ("message", message.as_str().into())]);
    object(&[("code", "WRITE_FAILED".into()), ("message", message.into()), ("cause", cause.into())]).into()
}

fn response(response: Response) -> JsValue {
    match response {
        Response::Appended { length, byte_length } => {
            object(&[("length", number(length).into()), ("byteLength", number(byte_length).into())]).into()
        }
        Response::Applied(applied) => applied.into(),
        Response::Block(block) => block.map_or(JsValue::NULL, |block| bytes(&block).into()),
        Response::Committed(committed) => committed.map_or(JsValue::NULL, |(length, byte_length)| {
            object(&[("length", number(length).into()), ("byteLength", number(byte_length).into())]).into()
        }),
        Response::Audited(found) => upkeep::audited(&found),
        Response::Unmarked { ranges, next } => upkeep::unmarked(&ranges, next),
        Response::Has(has) => has.into(),
        Response::Locals { entries, more } => {
            list(entries.iter().map(|(key, value)| (bytes(key).into(), value)), more)
        }
        Response::MissingNodes(count) => number(count).into(),
        Response::Proof(proof) => proof_object(&proof),
        Response::Records(values) => records::values(&values),
        Response::Seek(found) => found.map_or(JsValue::NULL, |(block, offset)| {
            Array::of2(&number(block).into(), &number(offset).into()).into()
        }),
        Response::Signable(signable) => bytes(&signable).into(),
        Response::Store(answer) => stores::answer(*answer),
        Response::TreeHash(hash) => bytes(&hash).into(),
        Response::Updated(changed) => changed.into(),
        Response::UserDataList { entries, more } => {
            list(entries.iter().map(|(name, value)| (name.as_str().into(), value)), more)
        }
        Response::UserData(value) => value.map_or(JsValue::NULL, |value| bytes(&value).into()),
        _ => JsValue::UNDEFINED,
    }
}

fn list<'a>(entries: impl Iterator<Item = (JsValue, &'a bytes::Bytes)>, more: bool) -> JsValue {
    let entries: Array =
        entries.map(|(name, value)| JsValue::from(Array::of2(&name, &bytes(value).into()))).collect();
    object(&[("entries", entries.into()), ("more", more.into())]).into()
}

fn address(address: std::net::SocketAddrV4) -> JsValue {
    object(&[("host", address.ip().to_string().into()), ("port", address.port().into())]).into()
}

fn lookup_result(result: &LookupResult) -> JsValue {
    let node = |node: &Node| address(node.address);
    let peers: Array = result
        .peers
        .iter()
        .map(|peer| {
            let relays: Array = peer.relay_addresses.iter().copied().map(address).collect();
            JsValue::from(object(&[
                ("publicKey", bytes(&peer.public_key).into()),
                ("relayAddresses", relays.into()),
            ]))
        })
        .collect();
    object(&[
        ("from", node(&result.from)),
        ("id", result.from.id.map_or(JsValue::NULL, |id| bytes(&id).into())),
        ("to", node(&result.to)),
        ("token", bytes(&result.token).into()),
        ("peers", peers.into()),
    ])
    .into()
}

fn reply(reply: &Reply) -> JsValue {
    let optional = |value: Option<&[u8]>| value.map_or(JsValue::NULL, |value| bytes(value).into());
    let closer: Array = reply.closer.iter().copied().map(address).collect();
    object(&[
        ("from", address(reply.from)),
        ("to", address(reply.to)),
        ("id", optional(reply.id.as_ref().map(AsRef::as_ref))),
        ("token", optional(reply.token.as_ref().map(AsRef::as_ref))),
        ("value", optional(reply.value.as_deref())),
        ("closerNodes", closer.into()),
        ("rtt", (reply.round_trip.as_secs_f64() * 1000.0).into()),
    ])
    .into()
}

fn relay_event(event: RelayEvent) -> Option<JsValue> {
    Some(match event {
        RelayEvent::Opened { relay, address: at } => {
            event!("relay-opened", relay.0, at.map_or(JsValue::NULL, address))
        }
        RelayEvent::RoundTrip { relay, elapsed } => {
            event!("relay-round-trip", relay.0, elapsed.as_secs_f64() * 1000.0)
        }
        RelayEvent::Interrupted { relay, reason, grace } => event!(
            "relay-interrupted",
            relay.0,
            grace.as_secs_f64() * 1000.0,
            reason.map_or(JsValue::NULL, JsValue::from)
        ),
        RelayEvent::Resumed { relay } => event!("relay-resumed", relay.0),
        RelayEvent::Closed { relay, reason } => event!(
            "relay-closed",
            relay.0,
            reason.map_or(JsValue::NULL, |reason| failure("RELAY_CLOSED", &reason))
        ),
        RelayEvent::Result { request, result } => {
            event!("query-result", number(request.0), lookup_result(&result))
        }
        RelayEvent::ClosestNodes { request, nodes } => {
            let nodes: Array = nodes.into_iter().map(address).collect();
            event!("query-closest", number(request.0), nodes)
        }
        RelayEvent::SignQuery { request, record, is_unannounce } => {
            let [token, node, nodes] = signed_parts(&record);
            event!("query-sign", number(request.0), record.id, is_unannounce, token, node, nodes)
        }
        RelayEvent::SignServer { server, record, is_unannounce } => {
            let [token, node, nodes] = signed_parts(&record);
            event!("server-sign", server.0, record.id, is_unannounce, token, node, nodes)
        }
        RelayEvent::Reply { question, reply: answer } => {
            event!("question-reply", question.0, reply(&answer))
        }
        RelayEvent::Closest { question, closest } => {
            let numbers: Array = closest.into_iter().map(JsValue::from).collect();
            event!("question-closest", question.0, numbers)
        }
        RelayEvent::Written { question, reply, end } => {
            let (status, error) = match end {
                WriteEnd::Answered(error) => ("answered", error),
                WriteEnd::Silent => ("silent", 0),
                WriteEnd::Refused => ("refused", 0),
            };
            event!("question-written", question.0, reply, status, number(error))
        }
        RelayEvent::QuestionFailed { question, error } => {
            event!("question-failed", question.0, failure(error.code(), &error.to_string()))
        }
        RelayEvent::Listening { server, address: at, nodes } => {
            let nodes: Array = nodes.into_iter().map(address).collect();
            event!("listening", server.0, address(at), nodes)
        }
        RelayEvent::Incoming { incoming, server, remote_public_key, payload, address: at } => {
            let at = at.map_or(JsValue::NULL, address);
            event!("firewall", incoming.0, server.0, bytes(&remote_public_key), bytes(&payload), at)
        }
        RelayEvent::Connection { server, link, remote_public_key } => {
            event!("connection", server.0, link.0, bytes(&remote_public_key))
        }
        RelayEvent::ServerClosed { server } => event!("server-closed", server.0, JsValue::NULL),
        _ => return None,
    })
}

/// The token and id of the node that a record is for, and the addresses in it.
fn signed_parts(record: &SignRequest) -> [JsValue; 3] {
    let nodes: Array = record.relay_addresses.iter().copied().map(address).collect();
    [bytes(&record.token).into(), bytes(&record.node_id).into(), nodes.into()]
}

/// What upstream calls it: wrong bytes are told from wrong signatures by what was sent.
fn verification_failure(error: ApplyError, block: Option<u64>) -> JsValue {
    match (error, block) {
        (ApplyError::Invalid, Some(_)) => failure("INVALID_CHECKSUM", "a block is not what its hash says"),
        (ApplyError::Invalid, None) => failure("INVALID_SIGNATURE", "a head is not what its signature says"),
        _ => failure("INVALID_PROOF", "a proof does not prove what it contains"),
    }
}

/// One event of the engine; `None` for what JavaScript has no use for.
pub(crate) fn to_js(event: Event) -> Option<JsValue> {
    Some(match event {
        Event::Done { request, result } => {
            done(number(request.0), result.map(response).map_err(|error| core_error(&error)))
        }
        // In one call: every append has one.
        Event::CoreAppend { core, head: Extent { length, byte_length, fork } } => Array::of5(
            &name("append"),
            &core_number(core).into(),
            &number(length).into(),
            &number(byte_length).into(),
            &number(fork).into(),
        )
        .into(),
        Event::CoreTruncate { core, ancestors, fork, head } => event!(
            "truncate",
            core_number(core),
            number(ancestors),
            number(fork),
            head.map_or(JsValue::NULL, |head| number(head.byte_length).into())
        ),
        Event::CoreGrowing { core, tree } => event!("growing", core_number(core), upkeep::head_of(&tree)),
        Event::Manifest { core } => event!("manifest", core_number(core)),
        Event::Download { core, peer, index, byte_length, elapsed } => event!(
            "download",
            core_number(core),
            number(index),
            number(byte_length),
            number(peer.0),
            elapsed.map_or(JsValue::NULL, |elapsed| (elapsed.as_secs_f64() * 1000.0).into())
        ),
        Event::Upload { core, peer, index, byte_length } => {
            event!("upload", core_number(core), number(index), number(byte_length), number(peer.0))
        }
        Event::PeerAdd { core, peer, link } => event!("peer-add", core_number(core), number(peer.0), link.0),
        Event::PeerRemove { core, peer, link } => {
            event!("peer-remove", core_number(core), number(peer.0), link.0)
        }
        Event::VerificationError { core, peer, error, block } => event!(
            "verification-error",
            core_number(core),
            verification_failure(error, block),
            number(peer.0),
            block.map_or(JsValue::NULL, |block| number(block).into())
        ),
        Event::InvalidRequest { core, peer } => event!(
            "invalid-request",
            core_number(core),
            failure("INVALID_OPERATION", "peer asked for something impossible"),
            number(peer.0)
        ),
        Event::Conflict { core, length, fork, proof } => {
            event!("conflict", core_number(core), number(length), number(fork), proof_object(&proof))
        }
        Event::Repair { core, stage, proof } => {
            let stage = match stage {
                RepairStage::Begun => "repairing",
                RepairStage::Done => "repaired",
                RepairStage::Failed => "repair-failed",
            };
            event!("repair", core_number(core), stage, proof_object(&proof))
        }
        Event::RemoteContiguousLength { core, length } => {
            event!("remote-contiguous-length", core_number(core), number(length))
        }
        Event::Extension { core, peer, name, payload } => {
            event!("extension", core_number(core), number(peer.0), name, bytes(&payload))
        }
        Event::StoreFailed { store, failure } => {
            event!("store-failed", store.0, storage_failure(failure))
        }
        Event::DiscoveryKey { link, discovery_key } => event!("discovery-key", link.0, bytes(&discovery_key)),
        Event::LinkOpened { link, public_key, remote_public_key, handshake_hash } => event!(
            "link-opened",
            link.0,
            bytes(&public_key),
            bytes(&remote_public_key),
            bytes(&handshake_hash)
        ),
        Event::LinkMessage { link, bytes: message } => event!("link-message", link.0, bytes(&message)),
        Event::RemoteChannel { link, open, protocol, key } => {
            event!("remote-channel", link.0, number(open.0), protocol, bytes(&key))
        }
        Event::ChannelOpened { link, channel, handshake } => {
            event!("channel-opened", link.0, number(channel.0), bytes(&handshake))
        }
        Event::ChannelMessage { link, channel, message_type, payload } => {
            event!("channel-message", link.0, number(channel.0), number(message_type), bytes(&payload))
        }
        Event::ChannelClosed { link, channel } => event!("channel-closed", link.0, number(channel.0)),
        Event::DirectBytes { link, bytes: message } => event!("direct-transmit", link.0, bytes(&message)),
        Event::Path { link, path: LinkPath::Direct } => event!("path", link.0, "direct"),
        Event::Path { link, path: LinkPath::Relayed(why) } => {
            let why = match why {
                Return::Local => "LOCAL",
                Return::Remote => "REMOTE",
                Return::Silent => "SILENT",
            };
            event!("path", link.0, "relay", why)
        }
        Event::LinkDrain { link } => event!("link-drain", link.0),
        Event::LinkEnded { link } => event!("link-ended", link.0),
        Event::LinkClosed { link, reason } => event!("link-closed", link.0, close_reason(&reason)),
        Event::Relay(event) => return relay_event(event),
        _ => return None,
    })
}
