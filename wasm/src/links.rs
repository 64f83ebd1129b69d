//! Links: byte paths of JavaScript's, and what replicates over them.

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{CoreId, Input, LinkId, LinkOptions, Misuse, Role, Security, Transport};
use hypertab_core::noise::Session;
use hypertab_core::protomux::{ChannelId, OpenChannel, RemoteOpenId};
use hypertab_core::time::Duration;
use js_sys::Object;
use wasm_bindgen::prelude::*;

use crate::events::{number, object};
use crate::options::{Options, fixed, integer, secret};
use crate::runtime::{look, now, with};

/// Longest delay in milliseconds: a day.
const MAX_DELAY: f64 = 86_400_000.0;

/// Adds a link over a transport that JavaScript has. Its first credit comes from JavaScript too.
#[wasm_bindgen(js_name = openLink)]
pub fn open_link(options: JsValue) -> Result<u32, JsError> {
    let options = Options(&options);
    let role = if options.flag("isInitiator").unwrap_or(false) { Role::Initiator } else { Role::Responder };
    let text = |name: &'static str| options.get(name).and_then(|value| value.as_string()).unwrap_or_default();
    let transport = match text("transport").as_str() {
        "framed" => Transport::Framed,
        _ => Transport::Stream,
    };
    let security = match text("security").as_str() {
        "external" => Security::External {
            handshake_hash: fixed(&options.bytes("handshakeHash")?.unwrap_or_default(), "handshakeHash")?,
            remote_public_key: options.key("remotePublicKey")?.unwrap_or_default(),
            public_key: options.key("publicKey")?.unwrap_or_default(),
        },
        "established" => {
            let key = |name| fixed(&options.bytes(name)?.unwrap_or_default(), name);
            let session = Session {
                tx: key("sendKey")?,
                rx: key("receiveKey")?,
                handshake_hash: fixed(&options.bytes("handshakeHash")?.unwrap_or_default(), "handshakeHash")?,
                remote_public_key: Some(key("remotePublicKey")?),
            };
            Security::Established { session, public_key: key("publicKey")? }
        }
        _ => Security::Noise { key_pair: link_key_pair(&options)? },
    };
    let keep_alive = options.milliseconds("keepAlive")?;
    let timeout = options.milliseconds("timeout")?;
    let options = LinkOptions { role, transport, security, keep_alive, timeout };
    with(|runtime| runtime.engine.open_link(options, now()).0)
}

fn link_key_pair(options: &Options<'_>) -> Result<KeyPair, JsError> {
    if let Some(secret_key) = options.bytes("secretKey")? {
        return secret(&secret_key);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| JsError::new("this environment has no source of randomness"))?;
    Ok(KeyPair::from_seed(&seed))
}

/// What went over a link: bytes received and sent. Nothing for one that is gone.
#[wasm_bindgen(js_name = linkStats)]
pub fn link_stats(link: u32) -> Result<Option<Object>, JsError> {
    let stats = look(|runtime| runtime.engine.link_stats(LinkId(link)))?;
    Ok(stats.map(|stats| {
        object(&[("bytesIn", number(stats.bytes_in).into()), ("bytesOut", number(stats.bytes_out).into())])
    }))
}

/// Sends an empty message whenever nothing was sent for that many milliseconds; 0 for never.
#[wasm_bindgen(js_name = linkSetKeepAlive)]
pub fn link_set_keep_alive(link: u32, milliseconds: f64) -> Result<(), JsError> {
    let delay = (milliseconds > 0.0).then(|| Duration::from_secs_f64(milliseconds.min(MAX_DELAY) / 1000.0));
    with(|runtime| runtime.engine.set_keep_alive(LinkId(link), delay, now()))
}

/// Sends an empty message.
#[wasm_bindgen(js_name = linkSendKeepAlive)]
pub fn link_send_keep_alive(link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.send_keep_alive(LinkId(link), now()))
}

/// Opens a channel of JavaScript's own on a link. Nothing is returned when one of this name is open and not shared.
#[wasm_bindgen(js_name = openChannel)]
pub fn open_channel(link: u32, options: JsValue) -> Result<Option<f64>, JsError> {
    let options = Options(&options);
    let protocol = options.get("protocol").and_then(|value| value.as_string()).unwrap_or_default();
    let aliases: Vec<String> = options
        .list("aliases")
        .iter()
        .flat_map(|list| list.iter())
        .filter_map(|alias| alias.as_string())
        .collect();
    let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
    let open = OpenChannel {
        protocol: &protocol,
        aliases: &aliases,
        key: &options.bytes("id")?.unwrap_or_default(),
        handshake: &options.bytes("handshake")?.unwrap_or_default(),
        shared: options.flag("shared").unwrap_or(false),
    };
    with(|runtime| runtime.engine.open_channel_on(LinkId(link), &open))?
        .map(|channel| channel.map(|channel| number(channel.0)))
        .map_err(|misuse| JsError::new(&misuse.to_string()))
}

/// Sends on a channel of JavaScript's own. Returns false when the link takes no more until it drains.
#[wasm_bindgen(js_name = channelSend)]
pub fn channel_send(link: u32, channel: f64, message_type: f64, payload: &[u8]) -> Result<bool, JsError> {
    let channel = ChannelId(integer(channel, "channel")?);
    let message_type = integer(message_type, "type")?;
    with(|runtime| runtime.engine.channel_send(LinkId(link), channel, message_type, payload))
}

/// Closes a channel of JavaScript's own.
#[wasm_bindgen(js_name = closeChannel)]
pub fn close_channel(link: u32, channel: f64) -> Result<(), JsError> {
    let channel = ChannelId(integer(channel, "channel")?);
    with(|runtime| runtime.engine.close_channel(LinkId(link), channel))
}

/// Refuses a channel that a peer wants.
#[wasm_bindgen(js_name = rejectChannel)]
pub fn reject_channel(link: u32, open: f64) -> Result<(), JsError> {
    let open = RemoteOpenId(integer(open, "open")?);
    with(|runtime| runtime.engine.reject_channel(LinkId(link), open))
}

/// Gathers what is sent on a link's channels, or sends it as one.
#[wasm_bindgen(js_name = corkLink)]
pub fn cork_link(link: u32, corked: bool) -> Result<(), JsError> {
    with(|runtime| runtime.engine.cork(LinkId(link), corked))
}

/// Bytes arrived on a link's transport.
#[wasm_bindgen(js_name = linkBytes)]
pub fn link_bytes(link: u32, bytes: Vec<u8>) -> Result<(), JsError> {
    with(|runtime| runtime.input(Input::Bytes { link: LinkId(link), bytes: Bytes::from(bytes) }))
}

/// A link's transport takes that many bytes more.
#[wasm_bindgen(js_name = linkCredit)]
pub fn link_credit(link: u32, bytes: f64) -> Result<(), JsError> {
    let bytes = integer(bytes, "bytes")?;
    with(|runtime| runtime.input(Input::Credit { link: LinkId(link), bytes }))
}

/// A link's transport brings nothing more, and still takes bytes.
#[wasm_bindgen(js_name = linkHalfEnded)]
pub fn link_half_ended(link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.input(Input::LinkEnded { link: LinkId(link) }))
}

/// A link's transport is gone.
#[wasm_bindgen(js_name = linkEnded)]
pub fn link_ended(link: u32, reason: Option<String>) -> Result<(), JsError> {
    with(|runtime| runtime.input(Input::LinkClosed { link: LinkId(link), reason }))
}

/// Sends a message on a link without channels. Returns false when the link takes no more until it drains.
#[wasm_bindgen(js_name = linkSend)]
pub fn link_send(link: u32, message: &[u8]) -> Result<bool, JsError> {
    with(|runtime| runtime.engine.link_send(LinkId(link), message, now()))?
        .map_err(|misuse| JsError::new(&misuse.to_string()))
}

/// Hands the messages of a link out as they are, from here on.
#[wasm_bindgen(js_name = linkReadMessages)]
pub fn link_read_messages(link: u32) -> Result<(), JsError> {
    with(|runtime| {
        // A link that is gone has no messages.
        let _ = runtime.engine.read_messages(LinkId(link));
    })
}

/// Stops to hand out the messages of a link, or goes on.
#[wasm_bindgen(js_name = linkStopMessages)]
pub fn link_stop_messages(link: u32, stopped: bool) -> Result<(), JsError> {
    with(|runtime| {
        // A link that is gone has no messages.
        let _ = runtime.engine.stop_messages(LinkId(link), stopped);
    })
}

/// Starts channels on a link before any core is attached, to be told what the peer wants.
#[wasm_bindgen(js_name = linkStartChannels)]
pub fn link_start_channels(link: u32) -> Result<(), JsError> {
    with(|runtime| {
        // A link that is gone has no channels.
        let _ = runtime.engine.start_channels(LinkId(link));
    })
}

/// Whether a transport that can pause should.
#[wasm_bindgen(js_name = linkIsPaused)]
pub fn link_is_paused(link: u32) -> Result<bool, JsError> {
    with(|runtime| runtime.engine.is_paused(LinkId(link)))
}

/// Closes a link once all that was sent is on its way.
#[wasm_bindgen(js_name = closeLink)]
pub fn close_link(link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.close_link(LinkId(link)))
}

/// Sends nothing more on a link, and goes on reading.
#[wasm_bindgen(js_name = finishLink)]
pub fn finish_link(link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.finish_link(LinkId(link), now()))
}

/// Breaks a link off, with what is not on its way.
#[wasm_bindgen(js_name = breakLink)]
pub fn break_link(link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.break_link(LinkId(link)))
}

/// Replicates a core over a link. One that has closed is told of by an event, which may be on its way.
#[wasm_bindgen]
pub fn attach(core: u32, link: u32) -> Result<(), JsError> {
    match with(|runtime| runtime.engine.attach(CoreId(core), LinkId(link), now()))? {
        Ok(()) | Err(Misuse::UnknownLink) => Ok(()),
        Err(misuse) => Err(JsError::new(&misuse.to_string())),
    }
}

/// Stops replicating a core over a link.
#[wasm_bindgen]
pub fn detach(core: u32, link: u32) -> Result<(), JsError> {
    with(|runtime| runtime.engine.detach(CoreId(core), LinkId(link), now()))
}

/// Refuses the core that a peer asked for.
#[wasm_bindgen(js_name = rejectDiscoveryKey)]
pub fn reject_discovery_key(link: u32, discovery_key: &[u8]) -> Result<(), JsError> {
    let discovery_key = fixed(discovery_key, "discoveryKey")?;
    with(|runtime| runtime.engine.reject(LinkId(link), &discovery_key))
}
