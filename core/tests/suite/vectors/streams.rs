//! Noise, secret streams and Protomux against bytes that upstream produced.

use bytes::Bytes;
use hypertab_core::crypto::{self, KeyPair};
use hypertab_core::noise::{Handshake, Keys, NoiseError, Pattern, Role, Session};
use hypertab_core::protomux::{ChannelId, Mux, MuxEvent, OpenChannel, RemoteOpenId};
use hypertab_core::secret_stream::cipher::{OVERHEAD, Pull, Push, Tag};
use hypertab_core::secret_stream::{Entropy, Event, Options, Outgoing, SecretStream, Unordered, stream_id};
use hypertab_core::time::Instant;
use serde_json::Value;

use crate::support::common::{hex, hex_fixed as fixed, load};

#[test]
fn shared_secrets_equal_upstreams() {
    let vectors = load("wire-noise");

    for case in list(&vectors["dh"]) {
        let key_pair = KeyPair::from_seed(&fixed(&case["secretSeed"]));
        let shared = crypto::dh(&key_pair.scalar(), &fixed(&case["publicKey"])).unwrap();
        assert_eq!(*shared, fixed(&case["shared"]));
    }
}

#[test]
fn handshakes_equal_upstreams_byte_for_byte() {
    let vectors = load("wire-noise");

    for case in list(&vectors["handshakes"]) {
        let (mut initiator, mut responder) = handshakes(case);
        for message in list(&case["messages"]) {
            let (from, to) = match text(&message["from"]) {
                "initiator" => (&mut initiator, &mut responder),
                _ => (&mut responder, &mut initiator),
            };
            let bytes = from.write(&hex(&message["payload"])).unwrap();
            assert_eq!(bytes, hex(&message["message"]), "{}", case["protocol"]);
            assert_eq!(to.read(&bytes).unwrap(), hex(&message["payload"]));
        }
        let (initiator, responder) = (initiator.finish().unwrap(), responder.finish().unwrap());

        assert_eq!(initiator.handshake_hash, fixed(&case["handshakeHash"]));
        assert_eq!(responder.handshake_hash, initiator.handshake_hash);
        assert_eq!((initiator.tx, initiator.rx), (fixed(&case["initiatorTx"]), fixed(&case["initiatorRx"])));
        assert_eq!((responder.rx, responder.tx), (initiator.tx, initiator.rx));
        if !text(&case["protocol"]).contains("_NN_") {
            assert_eq!(initiator.remote_public_key, Some(fixed(&case["responderStatic"]["publicKey"])));
            assert_eq!(responder.remote_public_key, Some(fixed(&case["initiatorStatic"]["publicKey"])));
        }
    }
}

#[test]
fn altered_handshake_messages_are_refused_for_good() {
    let vectors = load("wire-noise");

    for case in list(&vectors["handshakes"]) {
        let messages = list(&case["messages"]);
        let (_, mut responder) = handshakes(case);
        responder.read(&hex(&messages[0]["message"])).unwrap();
        responder.write(&hex(&messages[1]["payload"])).unwrap();
        let (mut template, _) = handshakes(case);
        template.write(&hex(&messages[0]["payload"])).unwrap();

        let good = hex(&messages[1]["message"]);
        for at in 0..good.len() {
            let (mut initiator, _) = handshakes(case);
            initiator.write(&hex(&messages[0]["payload"])).unwrap();
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(initiator.read(&bad), Err(NoiseError::Refused));
            assert_eq!(initiator.read(&good), Err(NoiseError::OutOfTurn));
        }
        for len in 0..good.len() {
            let (mut initiator, _) = handshakes(case);
            initiator.write(&hex(&messages[0]["payload"])).unwrap();
            assert_eq!(initiator.read(&good[..len]), Err(NoiseError::Refused));
        }
        assert_eq!(template.read(&good).unwrap(), hex(&messages[1]["payload"]));
    }
}

#[test]
fn secretstream_equals_libsodiums_for_every_tag() {
    let vectors = load("wire-secret-stream");
    let case = &vectors["secretstream"];
    let mut push = Push::new(&fixed(&case["key"]), &fixed(&case["header"]));
    let mut pull = Pull::new(&fixed(&case["key"]), &fixed(&case["header"]));

    for message in list(&case["messages"]) {
        let plaintext = hex(&message["plaintext"]);
        let tag = Tag(message["tagByte"].as_u64().unwrap() as u8);
        let mut buffer = vec![0; plaintext.len() + OVERHEAD];
        buffer[1..=plaintext.len()].copy_from_slice(&plaintext);

        push.seal(tag, &mut buffer);
        assert_eq!(buffer, hex(&message["ciphertext"]));

        assert_eq!(pull.open(&mut buffer), Ok(tag));
        assert_eq!(buffer[1..=plaintext.len()], plaintext);
    }
}

#[test]
fn unordered_messages_equal_upstreams() {
    let vectors = load("wire-secret-stream");
    let case = &vectors["unordered"];
    let hash = fixed(&case["handshakeHash"]);

    for message in list(&case["messages"]) {
        let role = role(message);
        let counter = u64::from_le_bytes(fixed(&message["counter"])).wrapping_sub(1);
        let mut sender = Unordered::new(role, &hash, counter.to_le_bytes());
        let receiver = Unordered::new(role.remote(), &hash, [0; 8]);
        let envelope = hex(&message["envelope"]);

        assert_eq!(sender.seal(&hex(&message["plaintext"])).unwrap(), envelope);
        assert_eq!(receiver.open(&envelope).unwrap(), hex(&message["plaintext"]));
        assert_eq!(sender.open(&envelope), None);
        for len in 0..envelope.len() {
            assert_eq!(receiver.open(&envelope[..len]), None);
        }
    }
}

#[test]
fn whole_stream_equals_upstreams_however_it_is_cut() {
    let vectors = load("wire-secret-stream");
    let case = &vectors["stream"];
    let hash = fixed(&case["handshakeHash"]);
    assert_eq!(stream_id(&hash, Role::Initiator), fixed(&case["initiatorStreamId"]));
    assert_eq!(stream_id(&hash, Role::Responder), fixed(&case["responderStreamId"]));
    let frames = list(&case["setup"]).iter().map(|frame| (role(frame), hex(&frame["bytes"])));
    let messages = list(&case["messages"]).iter().map(|frame| (role(frame), hex(&frame["frame"])));
    let expected: Vec<(Role, Vec<u8>)> = frames.chain(messages).collect();

    for piece in [1, 2, 3, 7, 64, 1 << 20] {
        let mut ends = [Role::Initiator, Role::Responder].map(|role| stream(case, role));
        let mut sent = [Vec::new(), Vec::new()];
        let mut received = [Vec::new(), Vec::new()];
        exchange(&mut ends, &mut sent, &mut received, piece);
        for message in list(&case["messages"]) {
            let plaintext = hex(&message["plaintext"]);
            assert!(ends[index(role(message))].send(Outgoing::from(&plaintext[..]), Instant::EPOCH));
            exchange(&mut ends, &mut sent, &mut received, piece);
        }

        for (at, end) in [Role::Initiator, Role::Responder].into_iter().enumerate() {
            let bytes = |from| {
                expected.iter().filter(move |(role, _)| *role == from).flat_map(|(_, bytes)| bytes.clone())
            };
            assert_eq!(sent[at], bytes(end).collect::<Vec<u8>>());
            let plain = list(&case["messages"]).iter().filter(|message| role(message) != end);
            let plain: Vec<_> =
                plain.map(|message| Event::Message(hex(&message["plaintext"]).into())).collect();
            assert!(
                matches!(received[at][0], Event::Opened { handshake_hash, .. } if handshake_hash == hash)
            );
            assert_eq!(received[at][1..], plain);
        }
    }
}

#[test]
fn both_ends_open_and_close() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let frames = frames("both sides open, one message, close");
    let key = [0x1d; 32];
    let options = OpenChannel { protocol: "test", key: &key, ..OpenChannel::default() };

    let channel_a = a.open(&options).unwrap();
    assert_eq!(sent(&mut a), [frames[0].1.clone()]);
    let channel_b = b.open(&options).unwrap();
    assert_eq!(sent(&mut b), [frames[1].1.clone()]);
    assert_eq!(receive(&mut b, &frames[0].1), [opened(channel_b, b"")]);
    assert_eq!(receive(&mut a, &frames[1].1), [opened(channel_a, b"")]);

    assert!(a.send(channel_a, 0, b"\x05hello"));
    assert_eq!(sent(&mut a), [frames[2].1.clone()]);
    assert_eq!(receive(&mut b, &frames[2].1), [message(channel_b, 0, b"\x05hello")]);
    assert!(b.send(channel_b, 1, &[0xfd, 0x2c, 0x01]));
    assert_eq!(sent(&mut b), [frames[3].1.clone()]);
    assert_eq!(receive(&mut a, &frames[3].1), [message(channel_a, 1, &[0xfd, 0x2c, 0x01])]);

    a.close(channel_a);
    assert_eq!(sent(&mut a), [frames[4].1.clone()]);
    assert_eq!(receive(&mut b, &frames[4].1), [MuxEvent::Closed { channel: channel_b }]);
    assert_eq!(sent(&mut b), [[0u8; 0]; 0]);
    assert!(a.is_idle() && b.is_idle());
}

#[test]
fn open_carries_a_handshake_and_no_key() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let frames = frames("open with handshake and no id");

    let channel_a = a
        .open(&OpenChannel { protocol: "proto", handshake: b"\x06from a", ..OpenChannel::default() })
        .unwrap();
    b.open(&OpenChannel { protocol: "proto", handshake: b"\x06from b", ..OpenChannel::default() }).unwrap();
    assert_eq!(sent(&mut a), [frames[0].1.clone()]);
    assert_eq!(sent(&mut b), [frames[1].1.clone()]);

    assert_eq!(receive(&mut a, &frames[1].1), [opened(channel_a, b"\x06from b")]);
}

#[test]
fn open_is_rejected() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let frames = frames("open is rejected");
    let key = [0x1d; 32];
    let channel = a.open(&OpenChannel { protocol: "test", key: &key, ..OpenChannel::default() }).unwrap();
    assert_eq!(sent(&mut a), [frames[0].1.clone()]);

    let open = remote_open(&receive(&mut b, &frames[0].1));
    b.reject(open);
    b.reject(open);

    assert_eq!(sent(&mut b), [frames[1].1.clone()]);
    assert_eq!(receive(&mut a, &frames[1].1), [MuxEvent::Closed { channel }]);
    assert!(a.is_idle() && b.is_idle());
}

#[test]
fn messages_wait_for_the_decision() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let frames = frames("paired through the notify handler, reply while corked");
    let key = [0x1d; 32];
    let options = OpenChannel { protocol: "test", key: &key, ..OpenChannel::default() };
    let pipelined = b"\x22pipelined before the remote opened";
    let channel = a.open(&options).unwrap();
    a.send(channel, 0, pipelined);
    assert_eq!(sent(&mut a), [frames[0].1.clone(), frames[1].1.clone()]);

    remote_open(&receive(&mut b, &frames[0].1));
    assert_eq!(receive(&mut b, &frames[1].1), []);
    let channel = b.open(&options).unwrap();

    assert_eq!(sent(&mut b), [frames[2].1.clone()]);
    assert_eq!(events(&mut b), [opened(channel, b""), message(channel, 0, pipelined)]);
}

#[test]
fn aliases_pair_when_both_ends_know_both_names() {
    let frames = frames("alias: both names are known to both sides, each opens under another one");
    let key = [0x1d; 32];
    let new = OpenChannel { protocol: "new-name", aliases: &["test"], key: &key, ..OpenChannel::default() };
    let old = OpenChannel { protocol: "test", aliases: &["new-name"], key: &key, ..OpenChannel::default() };

    for b_opens_first in [true, false] {
        let (mut a, mut b) = (Mux::new(), Mux::new());
        let channel_a = a.open(&new).unwrap();
        assert_eq!(sent(&mut a), [frames[0].1.clone()]);
        let channel_b = if b_opens_first {
            let channel = b.open(&old).unwrap();
            assert_eq!(receive(&mut b, &frames[0].1), [opened(channel, b"")]);
            channel
        } else {
            remote_open(&receive(&mut b, &frames[0].1));
            let channel = b.open(&old).unwrap();
            assert_eq!(events(&mut b), [opened(channel, b"")]);
            channel
        };
        assert_eq!(sent(&mut b), [frames[1].1.clone()]);
        assert_eq!(receive(&mut a, &frames[1].1), [opened(channel_a, b"")]);
        a.close(channel_a);
        let close = sent(&mut a);
        assert_eq!(receive(&mut b, &close[0]), [MuxEvent::Closed { channel: channel_b }]);
        assert!(a.is_idle() && b.is_idle());
    }
}

#[test]
fn batches_and_reused_ids_equal_upstreams() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let frames = frames("cork: one batch, two channels");
    let key = [0x1d; 32];
    let options = |protocol| OpenChannel { protocol, key: &key, ..OpenChannel::default() };
    let one_a = a.open(&options("test")).unwrap();
    let two_a = a.open(&options("other")).unwrap();
    assert_eq!(sent(&mut a), [frames[0].1.clone(), frames[1].1.clone()]);
    let one_b = b.open(&options("test")).unwrap();
    let two_b = b.open(&options("other")).unwrap();
    assert_eq!(sent(&mut b), [frames[2].1.clone(), frames[3].1.clone()]);
    for frame in &frames[..2] {
        receive(&mut b, &frame.1);
    }
    for frame in &frames[2..4] {
        receive(&mut a, &frame.1);
    }

    a.cork();
    a.send(one_a, 0, b"\x03one");
    a.send(one_a, 0, b"\x03two");
    a.send(two_a, 1, &[7]);
    a.send(one_a, 1, &[8]);
    a.uncork();
    assert_eq!(sent(&mut a), [frames[4].1.clone()]);
    let expected = [
        message(one_b, 0, b"\x03one"),
        message(one_b, 0, b"\x03two"),
        message(two_b, 1, &[7]),
        message(one_b, 1, &[8]),
    ];
    assert_eq!(receive(&mut b, &frames[4].1), expected);
    assert_eq!(sent(&mut b), [[0u8; 0]; 0]);

    a.cork();
    let three = a.open(&options("third")).unwrap();
    a.send(three, 0, b"\x01x");
    a.close(two_a);
    a.uncork();
    assert_eq!(sent(&mut a), [frames[5].1.clone()]);
    b.handle_message(Bytes::copy_from_slice(&frames[5].1));
    let mut closed = false;
    while let Some(event) = b.poll_event().unwrap() {
        match event {
            MuxEvent::RemoteOpen { open, .. } => b.reject(open),
            event => closed = event == MuxEvent::Closed { channel: two_b },
        }
    }
    assert!(closed);
    assert_eq!(sent(&mut b), [frames[6].1.clone()]);
    assert_eq!(receive(&mut a, &frames[6].1), [MuxEvent::Closed { channel: three }]);

    let four = a.open(&options("fourth")).unwrap();
    assert_eq!(sent(&mut a), [frames[7].1.clone()]);
    let open = remote_open(&receive(&mut b, &frames[7].1));
    b.reject(open);
    assert_eq!(sent(&mut b), [frames[8].1.clone()]);
    assert_eq!(receive(&mut a, &frames[8].1), [MuxEvent::Closed { channel: four }]);
}

fn handshakes(case: &Value) -> (Handshake, Handshake) {
    let protocol = text(&case["protocol"]);
    let pattern = match protocol.split('_').nth(1).unwrap() {
        "IK" => Pattern::Ik,
        "NN" => Pattern::Nn,
        "XK" => Pattern::Xk,
        "XX" => Pattern::Xx,
        other => panic!("unknown pattern {other}"),
    };
    let known = matches!(pattern, Pattern::Ik | Pattern::Xk);
    let prologue = hex(&case["prologue"]);
    let new = |role, local: &str, remote: &str, ephemeral: &str| {
        let key_pair = KeyPair::from_seed(&fixed(&case[local]["seed"]));
        let known = known && role == Role::Initiator;
        let remote_public_key = known.then(|| fixed(&case[remote]["publicKey"]));
        let keys = Keys { key_pair: &key_pair, remote_public_key, psk: None };
        Handshake::new(pattern, role, keys, &prologue, fixed(&case[ephemeral]["seed"])).unwrap()
    };
    (
        new(Role::Initiator, "initiatorStatic", "responderStatic", "initiatorEphemeral"),
        new(Role::Responder, "responderStatic", "initiatorStatic", "responderEphemeral"),
    )
}

fn stream(case: &Value, role: Role) -> SecretStream {
    let (keys, ephemeral, header) = match role {
        Role::Initiator => ("initiator", "initiatorEphemeral", "initiatorHeader"),
        Role::Responder => ("responder", "responderEphemeral", "responderHeader"),
    };
    let key_pair = KeyPair::from_seed(&fixed(&case[keys]["seed"]));
    let entropy =
        Entropy { ephemeral: fixed(&case[ephemeral]["seed"]), header: fixed(&case[header]), counter: [0; 8] };
    SecretStream::new(role, &key_pair, Options::default(), entropy, Instant::EPOCH)
}

/// Carries bytes between two streams, in pieces, until both are quiet.
fn exchange(
    ends: &mut [SecretStream; 2],
    sent: &mut [Vec<u8>; 2],
    received: &mut [Vec<Event>; 2],
    piece: usize,
) {
    loop {
        let mut moved = false;
        for at in 0..2 {
            while let Some(event) = ends[at].poll_event().unwrap() {
                received[at].push(event);
            }
            while let Some(bytes) = ends[at].poll_transmit() {
                moved = true;
                sent[at].extend_from_slice(&bytes);
                for piece in bytes.chunks(piece) {
                    ends[1 - at].handle_bytes(Bytes::copy_from_slice(piece), Instant::EPOCH);
                }
            }
        }
        if !moved {
            return;
        }
    }
}

#[test]
fn sessions_of_elsewhere_skip_the_handshake() {
    let session = |tx, rx| Session {
        tx: [tx; 32],
        rx: [rx; 32],
        handshake_hash: [9; 64],
        remote_public_key: Some([tx; 32]),
    };
    let end = |role, tx, rx| {
        let entropy = Entropy::from_seed(&[tx; 32]);
        SecretStream::established(role, session(tx, rx), Options::default(), entropy, Instant::EPOCH)
    };
    let mut ends = [end(Role::Initiator, 1, 2), end(Role::Responder, 2, 1)];
    ends[0].send(Outgoing::from(&b"early"[..]), Instant::EPOCH);
    let mut received = [Vec::new(), Vec::new()];

    exchange(&mut ends, &mut [Vec::new(), Vec::new()], &mut received, 5);

    assert!(
        matches!(received[1][0], Event::Opened { remote_public_key, .. } if remote_public_key == [2; 32])
    );
    assert_eq!(received[1][1], Event::Message(Bytes::from_static(b"early")));
}

fn sent(mux: &mut Mux) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| mux.poll_transmit()).map(|frame| frame.message().to_vec()).collect()
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event().unwrap()).collect()
}

fn receive(mux: &mut Mux, frame: &[u8]) -> Vec<MuxEvent> {
    assert!(mux.is_ready());
    mux.handle_message(Bytes::copy_from_slice(frame));
    events(mux)
}

fn opened(channel: ChannelId, handshake: &[u8]) -> MuxEvent {
    MuxEvent::Opened { channel, handshake: Bytes::copy_from_slice(handshake) }
}

fn message(channel: ChannelId, message_type: u64, payload: &[u8]) -> MuxEvent {
    MuxEvent::Message { channel, message_type, payload: Bytes::copy_from_slice(payload) }
}

fn remote_open(events: &[MuxEvent]) -> RemoteOpenId {
    let open = events.iter().find_map(|event| match event {
        MuxEvent::RemoteOpen { open, .. } => Some(*open),
        _ => None,
    });
    open.expect("the remote end opened a channel")
}

fn frames(scenario: &str) -> Vec<(String, Vec<u8>)> {
    let vectors = load("wire-protomux");
    let scenario = list(&vectors["scenarios"]).iter().find(|case| text(&case["name"]) == scenario).unwrap();
    let frames = list(&scenario["frames"]).iter().filter(|frame| frame["frame"].is_string());
    frames.map(|frame| (text(&frame["from"]).to_string(), hex(&frame["frame"]))).collect()
}

fn role(value: &Value) -> Role {
    if text(&value["from"]) == "initiator" { Role::Initiator } else { Role::Responder }
}

fn index(role: Role) -> usize {
    usize::from(role == Role::Responder)
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
