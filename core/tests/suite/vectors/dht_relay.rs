//! The relay protocol against messages and sessions of upstream's relay and client.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode, Encode};
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht_relay::messages::{HandshakeRef, LookupResult, Message, NoiseStage, StreamAlias};
use hypertab_core::dht_relay::signing::announce_signable;
use serde_json::Value;

use crate::support::common::load;

#[test]
fn messages_are_those_of_upstream() {
    let vectors = read("dht-relay");
    for vector in vectors["messages"].as_array().unwrap() {
        let name = format!("{} {}", vector["name"], vector["label"]);
        let bytes = Bytes::from(hex(vector["bytes"].as_str().unwrap()));
        let message_type = vector["type"].as_u64().unwrap();

        let message = Message::decode(message_type, &bytes).unwrap().unwrap();

        assert_eq!(message.message_type(), message_type, "{name}");
        assert_eq!(message.encoded_len(), message.to_vec().len(), "{name}");
        // Old relays write the count of an empty list in nine bytes.
        if vector["label"] != "empty list in the nine byte form" {
            assert_eq!(message.to_vec(), bytes, "{name}");
        }
        check(&message, &vector["decoded"], &name);
    }
}

#[test]
fn recorded_sessions_decode_to_the_same_messages() {
    for file in ["dht-relay-noncustodial", "dht-relay-custodial"] {
        let recording = read(file);
        let mut count = 0;
        for step in recording["steps"].as_array().unwrap() {
            for frame in step["frames"].as_array().unwrap() {
                let decoded = &frame["decoded"];
                let Some(message_type) = decoded["type"].as_u64() else { continue };
                let bytes = Bytes::from(hex(frame["bytes"].as_str().unwrap()));
                let message = Message::decode(message_type, &bytes.slice(2..)).unwrap().unwrap();

                let name = format!("{file}: {}", decoded["name"]);
                assert_eq!(message.to_vec(), bytes[2..], "{name}");
                check(&message, &decoded["value"], &name);
                if let Message::Result { data, .. } = &message {
                    let result = LookupResult::from_slice(data).unwrap();
                    assert_eq!(result.to_vec(), data[..]);
                    let expected = &decoded["result"];
                    assert_eq!(result.token[..], hex(expected["token"].as_str().unwrap()));
                    assert_eq!(result.from.id.unwrap()[..], hex(expected["from"]["id"].as_str().unwrap()));
                    assert_eq!(u64::from(result.to.address.port()), expected["to"]["port"]);
                    assert_eq!(result.to.id, None);
                    assert_eq!(result.peers.len(), expected["peers"].as_array().unwrap().len());
                }
                count += 1;
            }
        }
        assert!(count > 30);
    }
}

#[test]
fn recorded_signatures_are_made_again() {
    let recording = read("dht-relay-noncustodial");
    let client = KeyPair::from_seed(&[1; 32]);
    let target = hypertab_core::crypto::blake2b_256(&[&client.public_key]);
    let mut requests = std::collections::BTreeMap::new();
    let mut topics = std::collections::BTreeMap::new();
    let mut checked = 0;
    let steps = recording["steps"].as_array().unwrap();
    for frame in steps.iter().flat_map(|step| step["frames"].as_array().unwrap()) {
        let Some(message_type) = frame["decoded"]["type"].as_u64() else { continue };
        let bytes = Bytes::from(hex(frame["bytes"].as_str().unwrap()));
        match Message::decode(message_type, &bytes.slice(2..)).unwrap().unwrap() {
            Message::Announce { query, topic, .. } | Message::Unannounce { query, topic, .. } => {
                topics.insert(query, topic);
            }
            Message::Listen { alias, .. } => {
                topics.insert(alias, target);
            }
            Message::SignAnnounce(request) => {
                requests.insert(request.id, (false, request));
            }
            Message::SignUnannounce(request) => {
                requests.insert(request.id, (true, request));
            }
            Message::Signature { id, signature } => {
                let (is_unannounce, request) = &requests[&id];
                let signable = announce_signable(
                    *is_unannounce,
                    &topics[&request.signee],
                    &request.node_id,
                    &request.token,
                    &client.public_key,
                    &request.relay_addresses,
                );
                assert_eq!(signature[..], client.sign(&signable));
                checked += 1;
            }
            _ => {}
        }
    }
    assert_eq!(checked, 12);
}

#[test]
fn signatures_are_those_of_upstream() {
    let vectors = read("dht-relay");
    let vector = &vectors["signature"];
    let field = |name: &str| -> [u8; 32] { hex(vector[name].as_str().unwrap()).try_into().unwrap() };
    let pair = KeyPair::from_seed(&field("seed"));
    let sign = |is_unannounce, target: [u8; 32]| {
        let (id, token) = (field("peerId"), field("token"));
        pair.sign(&announce_signable(is_unannounce, &target, &id, &token, &pair.public_key, &[]))
    };

    assert_eq!(sign(false, field("topic"))[..], hex(vector["announce"].as_str().unwrap()));
    assert_eq!(sign(true, field("topic"))[..], hex(vector["unannounce"].as_str().unwrap()));
    assert_eq!(sign(false, field("selfAnnounceTarget"))[..], hex(vector["selfAnnounce"].as_str().unwrap()));
}

/// Compares a message with what upstream's decoder made of it.
fn check(message: &Message, expected: &Value, name: &str) {
    let same = |field: &str, found: &[u8]| {
        let expected = expected[field].as_str().unwrap_or_default();
        assert_eq!(found, hex(expected), "{name}: {field}");
    };
    let number = |field: &str, found: u32| assert_eq!(expected[field], found, "{name}: {field}");
    let secret = |key: &Option<hypertab_core::dht_relay::messages::SecretKey>| {
        assert_eq!(expected["custodial"], key.is_some(), "{name}");
        same("secretKey", key.as_ref().map_or(&[][..], |key| &key.0[..]));
    };
    let handshake = |by: &HandshakeRef| match by {
        HandshakeRef::Hash(hash) => same("handshakeHash", hash),
        HandshakeRef::Id(id) => number("handshakeId", *id),
    };
    match message {
        Message::Handshake { public_key, secret_key } => {
            same("publicKey", public_key);
            secret(secret_key);
        }
        Message::Ping | Message::Pong => assert!(expected.is_null()),
        Message::Connect { alias, public_key, secret_key, remote_public_key } => {
            number("alias", *alias);
            same("publicKey", public_key);
            secret(secret_key);
            same("remotePublicKey", remote_public_key);
        }
        Message::Connection { alias, server_alias, remote_public_key, handshake: by } => {
            number("alias", *alias);
            number("serverAlias", *server_alias);
            same("remotePublicKey", remote_public_key);
            handshake(by);
        }
        Message::Connected { alias, remote_alias } => {
            number("alias", *alias);
            number("remoteAlias", *remote_alias);
        }
        Message::Incoming { id, server_alias, remote_public_key, payload } => {
            number("id", *id);
            number("serverAlias", *server_alias);
            same("remotePublicKey", remote_public_key);
            same("payload", payload);
        }
        Message::Deny { id } | Message::Accept { id } | Message::Finished { query: id } => number("id", *id),
        Message::Destroy { alias, error } => {
            match alias {
                StreamAlias::Own(alias) => number("alias", *alias),
                StreamAlias::Remote(alias) => number("remoteAlias", *alias),
            }
            assert_eq!(expected["paired"], matches!(alias, StreamAlias::Own(_)), "{name}");
            assert_eq!(expected["error"].as_str(), error.as_deref(), "{name}");
        }
        Message::Listen { alias, public_key, secret_key } => {
            number("alias", *alias);
            same("publicKey", public_key);
            secret(secret_key);
        }
        Message::Listening { alias, remote_alias, address } => {
            number("alias", *alias);
            number("remoteAlias", *remote_alias);
            assert_eq!(expected["host"], address.ip().to_string(), "{name}");
            assert_eq!(expected["port"], address.port(), "{name}");
        }
        Message::Close { alias } | Message::Closed { alias } | Message::End { alias } => {
            number("alias", *alias);
        }
        Message::Open { alias, remote_alias, handshake: by } => {
            number("alias", *alias);
            number("remoteAlias", *remote_alias);
            handshake(by);
        }
        Message::Data { alias, chunks } => {
            number("alias", *alias);
            let expected: Vec<_> = expected["data"].as_array().unwrap().iter().collect();
            assert_eq!(chunks.len(), expected.len(), "{name}");
            for (chunk, expected) in chunks.iter().zip(expected) {
                assert_eq!(chunk[..], hex(expected.as_str().unwrap()), "{name}");
            }
        }
        Message::Result { query, data } => {
            number("id", *query);
            same("data", data);
        }
        Message::Lookup { query, topic } => {
            number("id", *query);
            same("topic", topic);
        }
        Message::Announce { query, topic, public_key, secret_key }
        | Message::Unannounce { query, topic, public_key, secret_key } => {
            number("id", *query);
            same("topic", topic);
            same("publicKey", public_key);
            secret(secret_key);
        }
        Message::SignAnnounce(request) | Message::SignUnannounce(request) => {
            number("id", request.id);
            number("signee", request.signee);
            same("token", &request.token);
            same("peerId", &request.node_id);
            let expected = expected["relayAddresses"].as_array().unwrap();
            assert_eq!(request.relay_addresses.len(), expected.len(), "{name}");
            for (address, expected) in request.relay_addresses.iter().zip(expected) {
                assert_eq!(expected["host"], address.ip().to_string(), "{name}");
                assert_eq!(expected["port"], address.port(), "{name}");
            }
        }
        Message::Signature { id, signature } => {
            number("id", *id);
            same("signature", signature);
        }
        Message::NoiseSend { id, initiator, payload } => {
            number("id", *id);
            assert_eq!(expected["isInitiator"], initiator.is_some(), "{name}");
            assert_eq!(expected["remoteStreamAlias"].as_u64(), initiator.map(u64::from), "{name}");
            same("payload", payload);
        }
        Message::NoiseReceive { id, server_alias, message } => {
            number("id", *id);
            assert_eq!(expected["isInitiator"], server_alias.is_none(), "{name}");
            assert_eq!(expected["serverAlias"].as_u64(), server_alias.map(u64::from), "{name}");
            same("payload", message);
        }
        Message::NoiseReply { id, payload, stage } => {
            number("id", *id);
            same("payload", payload);
            let (initiator, complete) = match stage {
                NoiseStage::Initiated => (true, false),
                NoiseStage::Received { remote_public_key } => {
                    same("remotePublicKey", remote_public_key);
                    (false, false)
                }
                NoiseStage::Complete { is_initiator, remote_id, holepunch_secret } => {
                    same("remoteId", remote_id);
                    same("holepunchSecret", &**holepunch_secret);
                    (*is_initiator, true)
                }
            };
            assert_eq!(expected["isInitiator"], initiator, "{name}");
            assert_eq!(expected["complete"], complete, "{name}");
        }
    }
}

fn read(name: &str) -> Value {
    load(name)
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}
