//! Channels of a host's own beside those of cores, over an encrypted wire.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::protomux::{ChannelId, OpenChannel, RemoteOpenId};

use crate::support::sim::{Host, Pair, block};

const CHAT: OpenChannel<'_> =
    OpenChannel { protocol: "chat", aliases: &[], key: b"room", handshake: b"hello", shared: false };

fn wanted(host: &Host) -> Option<(RemoteOpenId, String, Bytes)> {
    host.events.iter().find_map(|event| match event {
        Event::RemoteChannel { open, protocol, key, .. } => Some((*open, protocol.clone(), key.clone())),
        _ => None,
    })
}

fn heard(host: &Host) -> Vec<(ChannelId, u64, Bytes)> {
    let message = |event: &Event| match event {
        Event::ChannelMessage { channel, message_type, payload, .. } => {
            Some((*channel, *message_type, payload.clone()))
        }
        _ => None,
    };
    host.events.iter().filter_map(message).collect()
}

fn is_closed(host: &Host) -> bool {
    host.events.iter().any(|event| matches!(event, Event::ChannelClosed { .. }))
}

#[test]
fn protocol_runs_beside_a_core_that_replicates() {
    let (mut pair, core, copy) = Pair::of_log(vec![block(0, 100)], 3);
    pair.a.engine.expose_channels();
    pair.b.engine.expose_channels();
    pair.attach(core, copy);

    let one = pair.a.engine.open_channel_on(pair.link_a, &CHAT).unwrap().unwrap();
    assert_eq!(pair.a.engine.open_channel_on(pair.link_a, &CHAT), Ok(None));
    pair.a.engine.channel_send(pair.link_a, one, 1, b"early");
    pair.run_until("open", |pair| wanted(&pair.b).is_some());
    let (_, protocol, room) = wanted(&pair.b).unwrap();
    assert_eq!((protocol.as_str(), &room[..]), ("chat", &b"room"[..]));
    let other = pair.b.engine.open_channel_on(pair.link_b, &CHAT).unwrap().unwrap();
    pair.run_until("message", |pair| !heard(&pair.b).is_empty());
    assert_eq!(heard(&pair.b), [(other, 1, Bytes::from_static(b"early"))]);

    let request = pair.b.get(copy, 0);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    assert_eq!(pair.b.done.remove(&request).unwrap(), Ok(Response::Block(Some(block(0, 100)))));
    let stats = pair.a.engine.link_stats(pair.link_a).unwrap();
    assert!(stats.bytes_in > 100 && stats.bytes_out > 200);
    let traffic = pair.a.engine.core(core).unwrap().traffic(None);
    assert!(traffic.sent[3] >= 1 && traffic.received[1] >= 1);

    pair.b.engine.close_channel(pair.link_b, other);
    pair.run_until("close", |pair| is_closed(&pair.a));
    assert!(!pair.a.engine.channel_send(pair.link_a, one, 0, b"late"));
}

#[test]
fn channel_that_nobody_wants_is_refused() {
    let mut pair = Pair::new(Host::new(1), Host::new(2), 4);
    pair.a.engine.expose_channels();
    pair.b.engine.expose_channels();
    let now = pair.b.now;
    pair.b.engine.start_channels(pair.link_b).unwrap();
    pair.a.engine.open_channel_on(pair.link_a, &CHAT).unwrap().unwrap();
    pair.run_until("open", |pair| wanted(&pair.b).is_some());

    let (open, ..) = wanted(&pair.b).unwrap();
    pair.b.engine.reject_channel(pair.link_b, open);
    pair.b.engine.send_keep_alive(pair.link_b, now);
    pair.run_until("refusal", |pair| is_closed(&pair.a));
}
