//! Relays: what runs through them, and what they find.

use std::net::SocketAddrV4;

use hypertab_core::dht_relay::Signer;
use hypertab_core::dht_relay::queries::{AnnounceTerms, Question};
use hypertab_core::engine::{IncomingId, LinkId, QuestionId, RelayId, ServerId};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::events::number;
use crate::options::{fixed, secret};
use crate::runtime::{Runtime, now, with};

/// Uses the relay at the other end of a socket, which belongs to the engine from here on. `secret_key` never leaves.
#[wasm_bindgen(js_name = openRelay)]
pub fn open_relay(socket: WebSocket, public_key: &[u8], _secret_key: &[u8]) -> Result<u32, JsError> {
    let public_key = fixed(public_key, "publicKey")?;
    with(|runtime| {
        let (relay, link) = runtime.engine.open_relay(public_key, now());
        runtime.add_socket(link, socket);
        relay.0
    })
}

/// Stops using a relay.
#[wasm_bindgen(js_name = closeRelay)]
pub fn close_relay(relay: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.close_relay(RelayId(relay)))
}

/// Goes on with a relay that was interrupted, over another socket. Returns whether it was.
#[wasm_bindgen(js_name = resumeRelay)]
pub fn resume_relay(relay: u32, socket: WebSocket) -> Result<bool, JsError> {
    with(|runtime| match runtime.engine.resume_relay(RelayId(relay)) {
        Ok(link) => {
            runtime.add_socket(link, socket);
            true
        }
        Err(_) => {
            // It is of no use to anybody else.
            let _ = socket.close();
            false
        }
    })
}

/// Takes the socket of a relay for broken.
#[wasm_bindgen(js_name = interruptRelay)]
pub fn interrupt_relay(relay: u32) -> Result<(), JsError> {
    with(|runtime| {
        if let Ok(link) = runtime.engine.control_link(RelayId(relay)) {
            runtime.leave_socket(link, "no sign of life from the relay".into());
        }
    })
}

/// Runs a command that fails on a relay that is gone.
fn command<T>(
    run: impl FnOnce(&mut Runtime) -> Result<T, hypertab_core::engine::Misuse>,
) -> Result<T, JsError> {
    with(run)?.map_err(|misuse| JsError::new(&misuse.to_string()))
}

/// Asks a relay for a sign of life; an event brings how long it took.
#[wasm_bindgen(js_name = relayPing)]
pub fn relay_ping(relay: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.ping_relay(RelayId(relay), now())).map(|_| ())
}

/// Searches the records of a topic.
#[wasm_bindgen(js_name = relayLookup)]
pub fn relay_lookup(relay: u32, topic: &[u8]) -> Result<f64, JsError> {
    let topic = fixed(topic, "topic")?;
    command(|runtime| runtime.engine.lookup(RelayId(relay), topic, now())).map(|request| number(request.0))
}

/// Who signs: we, or with an empty secret whoever has it.
fn signer(public_key: &[u8], secret_key: &[u8]) -> Result<Signer, JsError> {
    if secret_key.is_empty() {
        return Ok(Signer::Elsewhere(fixed(public_key, "publicKey")?));
    }
    Ok(Signer::Here(secret(secret_key)?))
}

/// Stores our record under a topic. With an empty secret, events ask for signatures. Of the addresses each has six bytes: four of the host, two of the port, little-endian.
#[wasm_bindgen(js_name = relayAnnounce)]
pub fn relay_announce(
    relay: u32,
    topic: &[u8],
    public_key: &[u8],
    secret_key: &[u8],
    clears: bool,
    bump: f64,
    relay_addresses: &[u8],
) -> Result<f64, JsError> {
    let (topic, signer) = (fixed(topic, "topic")?, signer(public_key, secret_key)?);
    let (addresses, _) = relay_addresses.as_chunks();
    let address = |[a, b, c, d, low, high]: &[u8; 6]| {
        SocketAddrV4::new([*a, *b, *c, *d].into(), u16::from_le_bytes([*low, *high]))
    };
    // A number beyond the range becomes the end of it.
    let terms =
        AnnounceTerms { clears, bump: bump as u64, relay_addresses: addresses.iter().map(address).collect() };
    command(|runtime| runtime.engine.announce(RelayId(relay), topic, signer, terms, now()))
        .map(|request| number(request.0))
}

/// Removes our record from a topic.
#[wasm_bindgen(js_name = relayUnannounce)]
pub fn relay_unannounce(
    relay: u32,
    topic: &[u8],
    public_key: &[u8],
    secret_key: &[u8],
) -> Result<f64, JsError> {
    let (topic, signer) = (fixed(topic, "topic")?, signer(public_key, secret_key)?);
    command(|runtime| runtime.engine.unannounce(RelayId(relay), topic, signer, now()))
        .map(|request| number(request.0))
}

/// Asks the nodes of the DHT closest to a target. Returns the question, which events are about.
#[wasm_bindgen(js_name = relayAsk)]
pub fn relay_ask(
    relay: u32,
    internal: bool,
    writes: bool,
    command_number: u32,
    target: &[u8],
    value: Option<Vec<u8>>,
) -> Result<u32, JsError> {
    let question = Question {
        is_internal: internal,
        may_write: writes,
        command: command_number.into(),
        target: fixed(target, "target")?,
        value: value.map(Into::into),
    };
    command(|runtime| runtime.engine.ask(RelayId(relay), question, now())).map(|question| question.0)
}

/// Writes to a node that answered a question and is among the closest; an event says what became of it.
#[wasm_bindgen(js_name = writeToReply)]
pub fn write_to_reply(question: u32, reply: u32, command: u32, value: Vec<u8>) -> Result<(), JsError> {
    let command = command.into();
    with(|runtime| runtime.engine.write_to_reply(QuestionId(question), reply, command, value.into()))
}

/// Gives a question up.
#[wasm_bindgen(js_name = closeQuestion)]
pub fn close_question(question: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.forget_question(QuestionId(question)))
}

/// Dials a peer. Returns the link, which opens or closes later.
#[wasm_bindgen(js_name = relayConnect)]
pub fn relay_connect(
    relay: u32,
    remote_public_key: &[u8],
    _public_key: &[u8],
    secret_key: &[u8],
) -> Result<u32, JsError> {
    let (remote, pair) = (fixed(remote_public_key, "remotePublicKey")?, secret(secret_key)?);
    command(|runtime| runtime.engine.connect(RelayId(relay), remote, &pair, now())).map(|link: LinkId| link.0)
}

/// Answers an event that asks for a signature; an empty one when nobody signs.
#[wasm_bindgen(js_name = relaySigned)]
pub fn relay_signed(relay: u32, id: u32, signature: &[u8]) -> Result<(), JsError> {
    with(|runtime| runtime.engine.signed(RelayId(relay), id, signature.try_into().ok()))
}

/// Listens on a key. With `firewall`, an event asks about each peer; with `elsewhere`, about each signature.
#[wasm_bindgen(js_name = relayListen)]
pub fn relay_listen(
    relay: u32,
    _public_key: &[u8],
    secret_key: &[u8],
    firewall: Option<bool>,
    elsewhere: Option<bool>,
) -> Result<u32, JsError> {
    let pair = secret(secret_key)?;
    command(|runtime| {
        let server = runtime.engine.listen(RelayId(relay), &pair, firewall.unwrap_or(false))?;
        if elsewhere == Some(true) {
            runtime.engine.sign_elsewhere(server);
        }
        Ok(server.0)
    })
}

/// Stops to listen. Returns the request.
#[wasm_bindgen(js_name = closeServer)]
pub fn close_server(server: u32) -> Result<f64, JsError> {
    with(|runtime| number(runtime.engine.close_server(ServerId(server)).0))
}

/// Lets a peer in.
#[wasm_bindgen(js_name = acceptConnection)]
pub fn accept_connection(incoming: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.decide(IncomingId(incoming), true))
}

/// Refuses a peer.
#[wasm_bindgen(js_name = denyConnection)]
pub fn deny_connection(incoming: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.decide(IncomingId(incoming), false))
}

/// Expects a direct path of a link that runs through a relay: the peer may use it before we do.
#[wasm_bindgen(js_name = expectDirect)]
pub fn expect_direct(link: u32) -> Result<(), JsError> {
    direct(|runtime| runtime.engine.expect_direct(LinkId(link), now()))
}

/// Uses the direct path of a link from here on.
#[wasm_bindgen(js_name = openDirect)]
pub fn open_direct(link: u32) -> Result<(), JsError> {
    direct(|runtime| runtime.engine.open_direct(LinkId(link), now()))
}

/// A message arrived on the direct path of a link.
#[wasm_bindgen(js_name = directBytes)]
pub fn direct_bytes(link: u32, message: Vec<u8>) -> Result<(), JsError> {
    direct(|runtime| runtime.engine.handle_direct(LinkId(link), message.into(), now()))
}

/// The direct path of a link is gone, or will not be there.
#[wasm_bindgen(js_name = closeDirect)]
pub fn close_direct(link: u32) -> Result<(), JsError> {
    direct(|runtime| runtime.engine.close_direct(LinkId(link), now()))
}

/// A link that is over has no path, which whoever used it is told in its own event.
fn direct(
    run: impl FnOnce(&mut Runtime) -> Result<(), hypertab_core::engine::Misuse>,
) -> Result<(), JsError> {
    with(run).map(|_| ())
}
