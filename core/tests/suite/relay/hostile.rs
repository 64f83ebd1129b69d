//! Clients and relays that break every rule, and the limits that hold them.
#![cfg(feature = "dht")]

use bytes::Bytes;
use hypertab_core::dht_relay::messages::Message;
use hypertab_core::dht_relay::queries::AnnounceTerms;
use hypertab_core::dht_relay::{
    Client, ClientEvent, Failure, Limits, PROTOCOL, Permissions, QueryError, Quota, Quotas, Refusal,
    StreamError,
};
use hypertab_core::protomux::{Mux, OpenChannel};
use hypertab_core::time::{Duration, Instant};

use crate::support::relay::{NODES, Random, World, assert_same, exchange, pair};

#[test]
fn limits_hold() {
    let limits = Limits { queries: 1, ..Limits::default() };
    let link = Quota { streams: Some(2), listens: Some(1), ..Quota::default() };
    let mut world = World::with_quotas(11, limits, Quotas { link, ..Quotas::default() });
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let now = world.now;
    let client = &mut world.tabs[tab].client;
    let streams: Vec<_> = (0..3).map(|_| client.connect(peer.public_key, &own, now)).collect();
    let queries: Vec<_> = (0..3).map(|topic| client.lookup([topic; 32], now)).collect();
    let servers: Vec<_> = (0..2).map(|key| client.listen(&pair(10 + key), false)).collect();

    world.run(Duration::from_secs(5));

    let tab = &world.tabs[tab];
    tab.opened(streams[0]);
    tab.opened(streams[1]);
    let busy = StreamError::Remote("RELAY_BUSY: Too many streams or requests on this relay".into());
    assert!(tab.closed(streams[2], Some(busy)));
    assert!(tab.is_finished(queries[0]));
    let refused = Some(QueryError::Refused);
    assert_eq!([1, 2].map(|at| tab.failed(queries[at])), [refused; 2]);
    assert!([1, 2].iter().all(|at| !tab.is_finished(queries[*at])), "as if they had found nothing");
    assert!(tab.is_listening(servers[0]));
    assert!(tab.has_lost(servers[1]));
}

#[test]
fn silent_ends_are_noticed() {
    let mut world = World::new(8, Limits::default());
    let (mute, deaf) = (world.add_tab(), world.add_tab());
    world.run(Duration::from_secs(60));
    assert_eq!(world.refusal(mute), None, "pings keep a link");

    world.tabs[mute].is_mute = true;
    world.tabs[deaf].is_deaf = true;
    world.run(Duration::from_secs(50));

    assert_eq!(world.refusal(mute), Some(Refusal::Silent));
    assert_eq!(world.tabs[deaf].client.failure(), Some(Failure::Silent));
}

#[test]
fn hostile_clients_harm_nobody_else() {
    let mut world = World::new(13, Limits::default());
    let good = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let server = world.tabs[good].client.listen(&own, false);
    let now = world.now;
    let stream = world.tabs[good].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(3));
    let mut random = Random(0x1234_5678_9abc_def1);

    for round in 0..300 {
        let link = world.bridge.open_link([7; 16], Permissions::ALL, world.now).unwrap();
        for frame in hostile_session(&mut random) {
            world.bridge.handle_frame(link, frame, world.now);
        }
        world.run(Duration::from_millis(30));
        while world.bridge.poll_frame(link, world.now).is_some() {}
        if round % 3 == 0 {
            world.bridge.close_link(link, world.now);
        }
    }
    world.run(Duration::from_secs(60));

    let (connection, ..) = world.native_connected();
    exchange(&mut world, good, stream, connection, 50_000);
    assert!(world.tabs[good].is_listening(server));
    assert_eq!(world.refusal(good), None);
}

#[test]
fn hostile_relays_harm_no_client() {
    let mut random = Random(0x0dd0_feed_beef_1357);
    for seed in 0..300u64 {
        let now = Instant::EPOCH;
        let mut client = Client::new(pair(1).public_key, [seed.to_le_bytes()[0]; 32], now);
        let stream = client.connect(pair(2).public_key, &pair(1), now);
        client.listen(&pair(1), seed % 2 == 0);
        client.announce([1; 32], &pair(1), AnnounceTerms::default(), now);
        for round in 0..200 {
            let (message_type, payload) = hostile_message(&mut random);
            client.handle_message(message_type, &payload, now + Duration::from_millis(round));
            let _ = client.write(stream, Bytes::from_static(b"bytes"));
            while client.poll_transmit(true).is_some() {}
            while let Some(event) = client.poll_event() {
                if let ClientEvent::Incoming { incoming, .. } = event {
                    client.accept(incoming);
                }
            }
        }
    }
}

#[test]
fn answers_that_nodes_made_up_do_not_end_a_dial() {
    let mut world = World::new(16, Limits::default());
    world.forgers.extend(0..NODES - 1);
    let tab = world.add_tab();
    let (own, peer) = (pair(1), pair(2));
    world.native_listen(&peer);
    let server = world.tabs[tab].client.listen(&own, false);
    world.run(Duration::from_secs(10));
    assert!(world.tabs[tab].is_listening(server));

    let now = world.now;
    let stream = world.tabs[tab].client.connect(peer.public_key, &own, now);
    world.run(Duration::from_secs(8));
    let (connection, _, session) = world.native_connected();
    assert_same(&world.tabs[tab].opened(stream), &session);
    exchange(&mut world, tab, stream, connection, 5000);
    let forged = world.forged;
    assert!(forged > 0);

    let dialled = world.native_connect(&peer, own.public_key);
    world.run(Duration::from_secs(8));
    let (connection, key, _) = world.native_connected();
    assert_eq!((connection, key), (dialled, own.public_key));
    assert!(world.forged > forged);
}

#[test]
fn small_messages_count_for_what_it_takes_to_keep_them() {
    let link = |seed| {
        let mut world = World::new(seed, Limits::default());
        let link = world.bridge.open_link([7; 16], Permissions::ALL, world.now).unwrap();
        let mut mux = Mux::new();
        let channel = mux.open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() }).unwrap();
        mux.send_encoded(channel, 0, &Message::Handshake { public_key: [1; 32], secret_key: None });
        while let Some(frame) = mux.poll_transmit() {
            world.bridge.handle_frame(link, frame.into_plain(), world.now);
        }
        (world, link)
    };

    // Whoever decides is not asked yet.
    let (mut undecided, id) = link(14);
    let pings = [&[0, 0, 1][..], &[1, 1].repeat(400_000)].concat();
    undecided.bridge.handle_frame(id, pings.into(), undecided.now);
    assert_eq!(undecided.bridge.refusal(id), Some(Refusal::TooManyRequests));

    // A client that takes no answer.
    let (mut admitted, id) = link(15);
    admitted.run(Duration::from_millis(1));
    for _ in 0..100_000 {
        admitted.bridge.handle_frame(id, Bytes::from_static(&[1, 1]), admitted.now);
    }
    assert_eq!(admitted.bridge.refusal(id), Some(Refusal::NotReading));
}

#[test]
fn a_few_bytes_that_are_kept_keep_no_large_frame() {
    let (mut world, tab, _, connection) = World::connected(16);
    world.reads = false;
    // Two messages in one frame: bytes of the first stream, and those of one that there is not, which fill the frame.
    let frame = |byte| {
        let data = |alias: u8, len: u16| {
            let [low, high] = len.to_le_bytes();
            let message = [&[16, alias, 0, 0, 0, 1, 0xfd, low, high][..], &vec![byte; len.into()]].concat();
            let [low, high] = u16::try_from(message.len()).unwrap().to_le_bytes();
            [&[0xfd, low, high][..], &message].concat()
        };
        Bytes::from([&[0, 0, 1][..], &data(1, 1000), &data(99, 60_000)].concat())
    };
    let frames: Vec<_> = (0..200).map(frame).collect();
    for frame in &frames {
        world.bridge.handle_frame(world.tabs[tab].link, frame.clone(), world.now);
    }

    let held: usize = frames.iter().filter(|frame| !frame.is_unique()).count();
    assert_eq!(held, 0, "frames of 60 KB are held for the 1000 bytes of each");
    world.reads = true;
    world.run(Duration::from_secs(5));
    let expected: Vec<_> = (0..200).flat_map(|byte| [byte; 1000]).collect();
    assert_eq!(world.received[&connection], expected);
}

/// Frames of a client that knows the protocol and does not keep to it.
fn hostile_session(random: &mut Random) -> Vec<Bytes> {
    let mut mux = Mux::new();
    let channel = mux.open(&OpenChannel { protocol: PROTOCOL, ..OpenChannel::default() }).unwrap();
    if random.below(8) != 0 {
        let handshake = Message::Handshake { public_key: [1; 32], secret_key: None };
        mux.send_encoded(channel, 0, &handshake);
    }
    for _ in 0..random.below(40) {
        let (message_type, payload) = hostile_message(random);
        // Signalling custody ends the session at once, which shows little.
        if payload.first() == Some(&1) && matches!(message_type, 0 | 3 | 4 | 10 | 14 | 20 | 21) {
            continue;
        }
        mux.send(channel, message_type, &payload);
    }
    let mut frames: Vec<_> =
        core::iter::from_fn(|| mux.poll_transmit()).map(|frame| frame.into_plain()).collect();
    if random.below(4) == 0 {
        let garbage: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
        frames.push(garbage.into());
    }
    frames
}

/// A message that decodes more often than not: small numbers, plausible flags, keys of all kinds.
fn hostile_message(random: &mut Random) -> (u64, Bytes) {
    let message_type = random.below(29);
    let mut payload = Vec::new();
    if matches!(message_type, 0 | 3 | 4 | 9 | 10 | 14 | 20 | 21 | 25 | 26 | 27) {
        payload.push(random.below(4) as u8);
    }
    for _ in 0..random.below(5) {
        match random.below(6) {
            0 | 1 => payload.extend_from_slice(&(random.below(12) as u32).to_le_bytes()),
            2 => payload.extend_from_slice(&pair(random.below(4) as u8).public_key),
            3 => payload.extend_from_slice(&[random.below(256) as u8; 32]),
            4 => {
                let len = random.below(100);
                payload.push(len as u8);
                payload.extend((0..len).map(|_| random.below(256) as u8));
            }
            _ => payload.push(random.below(256) as u8),
        }
    }
    (message_type, payload.into())
}
