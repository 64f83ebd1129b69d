//! Compares the DHT's datagrams, values, signatures and answers with upstream's.
#![cfg(feature = "dht")]

use bytes::Bytes;
use hypertab_core::crypto::{KeyPair, blake2b_256};
use hypertab_core::dht::messages::{
    Announce, Firewall, Handshake, Holepunch, HolepunchPayload, MutableGet, MutablePut, NoisePayload, Peer,
    PluginRequest, decode_lookup, encode_lookup, encode_peers,
};
use hypertab_core::dht::punch::{Nat, Sealer};
use hypertab_core::dht::rpc::{
    Added, Entry, Incoming, Message, NatSampler, Reply, Request, SendWindow, SocketId, Table, Tokens, node_id,
};
use hypertab_core::dht::{
    Hop, Persistent, Response, Rng, Route, answer_handshake, answer_holepunch, command, holepunch_secret,
    is_bogon, is_private, is_reserved, match_address, route_handshake, route_holepunch, signing,
};
use hypertab_core::noise;
use hypertab_core::time::Instant;
use hypertab_core::udx::Address;
use serde_json::{Value, json};

use crate::support::common::{entries, hex, hex_fixed, load};

#[test]
fn node_ids() {
    for case in entries(&load("dht-rpc"), "ids") {
        let address = Address::new(host(&case["host"]), port(&case["port"]));

        assert_eq!(address.encode().to_vec(), hex(&case["address"]));
        assert_eq!(node_id(address).to_vec(), hex(&case["id"]));
    }
}

#[test]
fn requests_and_replies() {
    let vectors = load("dht-rpc");
    for case in entries(&vectors, "requests") {
        let bytes = Bytes::from(hex(&case["bytes"]));
        let Ok(Message::Request(request)) = Message::decode(&bytes) else { panic!("{case}") };

        let mut decoded = request_json(&request);
        // Recorded by a node that saw it come from elsewhere and dropped the id.
        decoded["id"] = case["decoded"]["id"].clone();
        assert_eq!(decoded, case["decoded"], "{}", case["name"]);
        assert_eq!(request.encode(), bytes);
    }
    for case in entries(&vectors, "replies").iter().filter(|case| case["reply"].is_string()) {
        let bytes = Bytes::from(hex(&case["reply"]));
        let reply = match Message::decode(&bytes) {
            Ok(Message::Reply(reply)) => reply,
            Ok(Message::Request(request)) => {
                assert_eq!(request.encode(), bytes, "{}", case["name"]);
                continue;
            }
            Err(error) => panic!("{error} {case}"),
        };

        if !case["decoded"].is_null() {
            assert_eq!(reply_json(&reply), case["decoded"], "{}", case["name"]);
        }
        assert_eq!(reply.encode(), bytes);
    }
    for case in entries(&vectors, "refused") {
        assert!(Message::decode(&Bytes::from(hex(&case["bytes"]))).is_err(), "{case}");
    }
}

#[test]
fn id_of_another_address_is_dropped() {
    for case in entries(&load("dht-rpc"), "idChecks") {
        let Ok(Message::Request(request)) = Message::decode(&Bytes::from(hex(&case["bytes"]))) else {
            panic!("{case}")
        };

        let incoming = Incoming::new(request, address(&case["from"]), SocketId::SERVER);

        assert_eq!(incoming.from_id.map_or(Value::Null, |id| hex_json(&id)), case["id"]);
    }
}

#[test]
fn tokens_and_their_rotation() {
    let vectors = load("dht-rpc");
    let mut tokens = Tokens::from_secrets([0xa0; 32], [0xb0; 32], Instant::EPOCH);
    for case in entries(&vectors, "tokens") {
        let host = host(&case["host"]);

        assert_eq!(tokens.token(host).to_vec(), hex(&case["current"]));
        assert!(tokens.accepts(host, &hex_fixed(&case["previous"])));
        assert!(!tokens.accepts(host, &[0; 32]));
    }
    let asked = [10, 9, 9, 9];
    for (round, case) in entries(&vectors, "rotation").iter().enumerate() {
        if round > 0 {
            tokens.rotate();
        }

        assert_eq!(tokens.token(asked).to_vec(), hex(&case["token"]));
        assert!(tokens.accepts(asked, &hex_fixed(&case["alsoAccepted"])));
    }
}

#[test]
fn send_window() {
    let mut window = SendWindow::new(Instant::EPOCH);
    for case in entries(&load("dht-rpc"), "congestion") {
        for _ in 0..case["times"].as_u64().unwrap() {
            match case["op"].as_str().unwrap() {
                "send" => window.sent(),
                "recv" => window.answered(),
                "drain" => window.drain(),
                other => panic!("{other}"),
            }
        }

        let (slots, total) = window.counters();
        assert_eq!(json!(slots), case["window"]);
        assert_eq!(json!(total), case["total"]);
        assert_eq!(json!(window.is_full()), case["full"]);
    }
}

#[test]
fn nat_sampler() {
    for case in entries(&load("dht-rpc"), "nat") {
        let mut sampler = NatSampler::default();
        for sample in entries(case, "samples") {
            sampler.add(Address::new(host(&sample["host"]), port(&sample["port"])));

            let expected = (!sample["resultHost"].is_null()).then(|| host(&sample["resultHost"]));
            assert_eq!(sampler.host(), expected, "{} {sample}", case["name"]);
            assert_eq!(sampler.port(), port(&sample["resultPort"]), "{} {sample}", case["name"]);
        }
    }
}

#[test]
fn routing_table() {
    for case in entries(&load("dht-rpc"), "table") {
        let mut table = Table::new([0; 32], 4);
        let mut refused = Vec::new();
        for added in entries(case, "added") {
            let id = hex_fixed(&added["id"]);
            let result = table.add(Entry::new(id, Address::new([1, 1, 1, 1], 1), 0));

            assert_eq!(json!(result == Added::Yes), added["added"]);
            if let Added::RowFull(row) = result {
                refused.push(json!({ "rowFull": row, "refused": hex_json(&id) }));
            }
        }
        assert_eq!(json!(refused), case["events"]);
        assert_eq!(json!(table.len()), case["size"]);
        for closest in entries(case, "closest") {
            let count = closest["k"].as_u64().unwrap().try_into().unwrap();
            let found = table.closest(&hex_fixed(&closest["target"]), count);
            let ids: Vec<_> = found.iter().map(|entry| hex_json(&entry.id)).collect();
            assert_eq!(json!(ids), closest["ids"]);
        }
    }
}

#[test]
fn handshake_and_holepunch_values() {
    let vectors = load("dht-messages");
    for case in entries(&vectors, "handshake") {
        let bytes = Bytes::from(hex(&case["bytes"]));
        let value = Handshake::decode(&bytes).unwrap();
        let decoded = json!({
            "mode": value.mode,
            "noise": hex_json(&value.noise),
            "peerAddress": optional_address_json(value.peer_address),
            "relayAddress": optional_address_json(value.relay_address),
        });

        assert_eq!(decoded, case["decoded"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "holepunch") {
        let bytes = Bytes::from(hex(&case["bytes"]));
        let value = Holepunch::decode(&bytes).unwrap();
        let decoded = json!({
            "mode": value.mode,
            "id": value.id,
            "payload": hex_json(&value.payload),
            "peerAddress": optional_address_json(value.peer_address),
        });

        assert_eq!(decoded, case["decoded"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "holepunchPayload") {
        let bytes = hex(&case["bytes"]);
        let value = HolepunchPayload::decode(&bytes).unwrap();

        assert_eq!(holepunch_json(&value), case["decoded"], "{}", case["name"]);
        assert_eq!(value.encode(), bytes);
    }
}

#[test]
fn noise_payloads() {
    let vectors = load("dht-messages");
    for case in entries(&vectors, "noisePayload") {
        let bytes = hex(&case["bytes"]);
        let value = NoisePayload::decode(&bytes).unwrap();

        assert_eq!(noise_json(&value), case["decoded"], "{}", case["name"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "noisePayloadOtherVersion") {
        let value = NoisePayload::decode(&hex(&case["bytes"])).unwrap();

        assert_eq!(noise_json(&value), case["decoded"]);
    }
}

#[test]
fn records() {
    let vectors = load("dht-messages");
    for case in entries(&vectors, "peer") {
        let bytes = hex(&case["bytes"]);
        let value = Peer::decode(&bytes).unwrap();

        assert_eq!(peer_json(&value), case["decoded"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "peers") {
        let peers: Vec<_> = case["value"].as_array().unwrap().iter().map(peer_from_json).collect();

        assert_eq!(encode_peers(&peers), hex(&case["bytes"]));
    }
    for case in entries(&vectors, "lookupReply") {
        let bytes = hex(&case["bytes"]);
        let (peers, bump) = decode_lookup(&bytes).unwrap();
        let list: Vec<_> = peers.iter().map(peer_json).collect();

        assert_eq!(json!({ "peers": list, "bump": bump }), case["decoded"]);
        if case["note"].is_null() {
            let records: Vec<_> = peers.iter().map(Peer::encode).collect();
            assert_eq!(encode_lookup(&records, bump), bytes);
        }
    }
    for case in entries(&vectors, "announce") {
        let bytes = hex(&case["bytes"]);
        let value = Announce::decode(&bytes).unwrap();
        let decoded = json!({
            "peer": value.peer.as_ref().map(peer_json),
            "refresh": value.refresh.map(|refresh| hex_json(&refresh)),
            "signature": value.signature.map(|signature| hex_json(&signature)),
            "bump": value.bump,
        });

        assert_eq!(decoded, case["decoded"]);
        assert_eq!(value.encode(), bytes);
    }
}

#[test]
fn stored_values() {
    let vectors = load("dht-messages");
    for case in entries(&vectors, "mutablePutRequest") {
        let bytes = hex(&case["bytes"]);
        let value = MutablePut::decode(&bytes).unwrap();

        assert_eq!(hex_json(&value.public_key), case["decoded"]["publicKey"]);
        assert_eq!(json!(value.seq), case["decoded"]["seq"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "mutableGetResponse") {
        let bytes = hex(&case["bytes"]);
        let value = MutableGet::decode(&bytes).unwrap();

        assert_eq!(hex_json(&value.signature), case["decoded"]["signature"]);
        assert_eq!(value.encode(), bytes);
    }
    for case in entries(&vectors, "pluginRequest") {
        let bytes = hex(&case["bytes"]);
        let value = PluginRequest::decode(&bytes).unwrap();

        assert_eq!(json!(value.plugin), case["decoded"]["plugin"]);
        assert_eq!(json!(value.command), case["decoded"]["command"]);
        assert_eq!(value.encode(), bytes);
    }
}

#[test]
fn namespaces_and_targets() {
    let vectors = load("dht-crypto");
    let commands = vectors["commands"].as_object().unwrap();
    for (name, value) in vectors["namespaces"].as_object().unwrap() {
        let number = commands[name].as_u64().unwrap();

        assert_eq!(signing::namespace(number).to_vec(), hex(value), "{name}");
    }
    for case in entries(&vectors, "targets") {
        let key_pair = KeyPair::from_seed(&hex_fixed(&case["seed"]));

        assert_eq!(blake2b_256(&[&key_pair.public_key]).to_vec(), hex(&case["target"]));
    }
}

#[test]
fn announce_signatures() {
    for case in entries(&load("dht-crypto"), "announces") {
        let key_pair = KeyPair::from_seed(&hex_fixed(&case["secretSeed"]));
        let relay_addresses = case["relays"].as_array().unwrap().iter().map(address_from_json).collect();
        let peer = Peer { public_key: key_pair.public_key, relay_addresses };
        let refresh = (!case["refresh"].is_null()).then(|| hex_fixed::<32>(&case["refresh"]));
        let signable = |number| {
            signing::announce_signable(
                number,
                &hex_fixed(&case["target"]),
                &hex_fixed(&case["nodeId"]),
                &hex_fixed(&case["token"]),
                &peer,
                refresh.as_ref(),
            )
        };
        let (announce, unannounce) = (signable(command::ANNOUNCE), signable(command::UNANNOUNCE));

        assert_eq!(announce.to_vec(), hex(&case["announceSignable"]));
        assert_eq!(unannounce.to_vec(), hex(&case["unannounceSignable"]));
        assert_eq!(key_pair.sign(&announce).to_vec(), hex(&case["announceSignature"]));
        assert_eq!(key_pair.sign(&unannounce).to_vec(), hex(&case["unannounceSignature"]));
    }
}

#[test]
fn mutable_signatures() {
    for case in entries(&load("dht-crypto"), "mutables") {
        let key_pair = KeyPair::from_seed(&hex_fixed(&case["secretSeed"]));
        let (seq, value) = (case["seq"].as_u64().unwrap(), hex(&case["value"]));
        let signable = signing::mutable_signable(seq, &value);
        let signature = hex_fixed(&case["signature"]);

        assert_eq!(signable.to_vec(), hex(&case["signable"]));
        assert_eq!(key_pair.sign(&signable), signature);
        assert!(signing::verify_mutable(&signature, seq, &value, &key_pair.public_key));
        assert!(!signing::verify_mutable(&signature, seq + 1, &value, &key_pair.public_key));
    }
}

#[test]
fn connection_handshakes() {
    for case in entries(&load("dht-crypto"), "handshakes") {
        let client = KeyPair::from_seed(&hex_fixed(&case["clientSeed"]));
        let prologue = signing::namespace(command::PEER_HANDSHAKE);
        let keys = noise::Keys {
            key_pair: &client,
            remote_public_key: Some(hex_fixed(&case["serverPublicKey"])),
            psk: None,
        };
        let ephemeral = hex_fixed(&case["clientEphemeralSeed"]);
        let mut handshake =
            noise::Handshake::new(noise::Pattern::Ik, noise::Role::Initiator, keys, &prologue, ephemeral)
                .unwrap();
        let payload1 = hex(&case["payload1"]);

        assert_eq!(handshake.write(&payload1).unwrap(), hex(&case["message1"]));
        let payload2 = handshake.read(&hex(&case["message2"])).unwrap();
        let session = handshake.finish().unwrap();

        assert_eq!(noise_json(&NoisePayload::decode(&payload1).unwrap()), case["serverSaw"]);
        assert_eq!(noise_json(&NoisePayload::decode(&payload2).unwrap()), case["clientSaw"]);
        assert_eq!(session.handshake_hash.to_vec(), hex(&case["handshakeHash"]));
        assert_eq!(holepunch_secret(&session.handshake_hash).to_vec(), hex(&case["holepunchSecret"]));
    }
}

#[test]
fn sealed_payloads() {
    for case in entries(&load("dht-crypto"), "sealed") {
        if case["localSecret"].is_string() {
            let sealer = Sealer::new([1; 32], hex_fixed(&case["localSecret"]));
            assert_eq!(sealer.token(host(&case["host"])).to_vec(), hex(&case["token"]));
            continue;
        }
        let sealer = Sealer::new(hex_fixed(&case["secret"]), [1; 32]);
        let sealed = hex(&case["sealed"]);
        let opened = sealer.open(&sealed);

        assert_eq!(opened.as_ref().map_or(Value::Null, holepunch_json), case["opened"]);
        if let (Some(opened), true) = (opened, case["nonce"].is_string()) {
            assert_eq!(sealer.seal(&opened, hex_fixed(&case["nonce"])), sealed);
        }
    }
}

#[test]
fn storing_node() {
    for case in entries(&load("dht-persistent"), "store").iter().filter(|case| case["steps"].is_array()) {
        let mut store = Persistent::new(Instant::EPOCH);
        let mut rng = Rng::new([7; 32]);
        let own_id = hex_fixed(&case["nodeId"]);
        for (index, step) in entries(case, "steps").iter().enumerate() {
            let request = Incoming {
                tid: 1,
                from: address(&step["from"]),
                from_id: None,
                to: Address::new([127, 0, 0, 1], 1),
                token: (!step["token"].is_null()).then(|| hex_fixed(&step["token"])),
                internal: false,
                command: number_of(step["request"].as_str().unwrap()),
                target: (!step["target"].is_null()).then(|| hex_fixed(&step["target"])),
                value: optional_bytes(&step["value"]),
                socket: SocketId::SERVER,
            };

            let response = store.handle(&request, &own_id, None, 1_700_000_000_000, &mut rng);

            let expected = &step["result"];
            let place = format!("{} step {index} {}", case["name"], step["request"]);
            match response {
                Response::Silent => assert_eq!(expected, "silent", "{place}"),
                Response::Full(value) => {
                    if let (command::LOOKUP, Some(value)) = (request.command, &value) {
                        let sorted = |bytes: &[u8]| {
                            let (mut peers, bump) = decode_lookup(bytes).unwrap();
                            peers.sort_unstable_by_key(|peer| peer.public_key);
                            (peers, bump)
                        };
                        assert_eq!(sorted(value), sorted(&hex(&expected[0]["reply"])), "{place}");
                    } else {
                        let value = value.map_or(Value::Null, |value| hex_json(&value));
                        assert_eq!(expected[0]["reply"], value, "{place}");
                    }
                    assert_eq!(expected[0]["token"], true, "{place}");
                }
                Response::Bare => {
                    assert_eq!(expected[0]["reply"], Value::Null, "{place}");
                    assert_eq!(expected[0]["token"], false, "{place}");
                }
                Response::Error(error) => assert_eq!(expected[0]["error"], error, "{place}"),
            }
        }
    }
}

#[test]
fn lookup_returns_twenty_of_many_records() {
    let (mut store, mut rng) = (Persistent::new(Instant::EPOCH), Rng::new([7; 32]));
    let (topic, token, own_id) = ([9; 32], [8; 32], [7; 32]);
    for seed in 0..25 {
        let key_pair = KeyPair::from_seed(&[seed; 32]);
        let peer = Peer { public_key: key_pair.public_key, relay_addresses: Vec::new() };
        let signable = signing::announce_signable(command::ANNOUNCE, &topic, &own_id, &token, &peer, None);
        let announce =
            Announce { peer: Some(peer), signature: Some(key_pair.sign(&signable)), ..Announce::default() };
        let request = plain(command::ANNOUNCE, topic, Some(token), Some(announce.encode()));
        assert_eq!(store.handle(&request, &own_id, None, 0, &mut rng), Response::Bare);
    }

    let lookup = plain(command::LOOKUP, topic, None, None);
    let Response::Full(Some(value)) = store.handle(&lookup, &own_id, None, 0, &mut rng) else { panic!() };

    let mut keys: Vec<_> = decode_lookup(&value).unwrap().0.iter().map(|peer| peer.public_key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[test]
fn routed_messages() {
    for case in entries(&load("dht-persistent"), "router") {
        let from = address(&case["from"]);
        let state = case["state"].as_str().unwrap();
        let route = match state.strip_prefix("relay to ") {
            Some(relay) => Route::Forward(relay.parse::<std::net::SocketAddrV4>().unwrap().into()),
            None if state == "server" => Route::Server,
            None => Route::Unknown,
        };
        let value = Bytes::from(hex(&case["value"]));
        let is_silent = case["result"] == "silent";
        let hop = if case["message"] == "handshake" {
            let message = Handshake::decode(&value).unwrap();
            match route_handshake(&message, route, from) {
                // The silence of a server is its own decision.
                Hop::Serve if is_silent && message.mode != 4 && message.mode != 3 => Hop::Drop,
                Hop::Serve => answer_handshake(&message, Bytes::from_static(b"server noise"), from),
                hop => hop,
            }
        } else {
            let message = Holepunch::decode(&value).unwrap();
            match route_holepunch(&message, route, from) {
                Hop::Serve => answer_holepunch(&message, Bytes::from_static(b"sealed reply"), from),
                hop => hop,
            }
        };

        let result = match hop {
            Hop::Drop | Hop::Serve => json!("silent"),
            Hop::Unknown => json!({ "reply": null, "to": from.to_string(), "closerNodes": true }),
            Hop::Reply { value, to } => {
                json!({ "reply": hex_json(&value), "to": to.to_string(), "closerNodes": false })
            }
            Hop::Relay { value, to } => json!({ "relay": hex_json(&value), "to": to.to_string() }),
        };
        let expected = if is_silent { &case["result"] } else { &case["result"][0] };
        if is_silent {
            assert_eq!(&result, expected, "{}", case["name"]);
        } else {
            for (key, value) in result.as_object().unwrap() {
                assert_eq!(value, &expected[key], "{} {key}", case["name"]);
            }
        }
    }
}

#[test]
fn kinds_of_networks() {
    for case in entries(&load("dht-swarm"), "nat") {
        let mut nat = Nat::new(!case["firewalled"].as_bool().unwrap());
        for (observer, step) in (1..).zip(entries(case, "steps")) {
            nat.add(address(&step["seen"]), Address::new([3, 3, 3, 3], observer));

            let firewall = match nat.firewall() {
                Firewall::Unknown => "unknown",
                Firewall::Open => "open",
                Firewall::Consistent => "consistent",
                Firewall::Random => "random",
            };
            let addresses: Option<Vec<_>> =
                nat.addresses().map(|list| list.iter().map(ToString::to_string).collect());
            assert_eq!(firewall, step["firewall"], "{} {step}", case["name"]);
            assert_eq!(json!(addresses), step["addresses"], "{} {step}", case["name"]);
        }
    }
}

#[test]
fn kinds_and_choice_of_addresses() {
    let vectors = load("dht-swarm");
    for case in entries(&vectors, "addresses") {
        let ip = host(&case["host"]);

        assert_eq!(is_bogon(ip), case["bogon"], "{case}");
        assert_eq!(is_private(ip), case["private"], "{case}");
        assert_eq!(is_reserved(ip), case["reserved"], "{case}");
    }
    for case in entries(&vectors, "match") {
        let list = |key: &str| -> Vec<_> {
            case[key].as_array().unwrap().iter().map(|value| Address::new(host(value), 1)).collect()
        };
        let chosen = match_address(&list("mine"), &list("theirs"));
        let expected = (!case["chosen"].is_null()).then(|| host(&case["chosen"]));

        assert_eq!(chosen.map(|address| address.ip()), expected, "{case}");
    }
}

/// Every datagram of a recorded session decodes, and encodes to the same bytes.
#[test]
fn recorded_session() {
    let mut seen = 0;
    for step in entries(&load("dht-session"), "steps") {
        for datagram in step["datagrams"].as_array().unwrap() {
            let bytes = Bytes::from(hex(&datagram["bytes"]));
            let encoded = match Message::decode(&bytes).unwrap() {
                Message::Request(request) => request.encode(),
                Message::Reply(reply) => reply.encode(),
            };
            assert_eq!(encoded, bytes);
            seen += 1;
        }
    }
    assert!(seen > 50);
}

fn plain(number: u64, target: [u8; 32], token: Option<[u8; 32]>, value: Option<Bytes>) -> Incoming {
    Incoming {
        tid: 1,
        from: Address::new([10, 9, 9, 9], 6000),
        from_id: None,
        to: Address::new([127, 0, 0, 1], 1),
        token,
        internal: false,
        command: number,
        target: Some(target),
        value,
        socket: SocketId::SERVER,
    }
}

fn number_of(request: &str) -> u64 {
    match request {
        "findpeer" => command::FIND_PEER,
        "lookup" => command::LOOKUP,
        "announce" => command::ANNOUNCE,
        "unannounce" => command::UNANNOUNCE,
        "mutableput" => command::MUTABLE_PUT,
        "mutableget" => command::MUTABLE_GET,
        "immutableput" => command::IMMUTABLE_PUT,
        "immutableget" => command::IMMUTABLE_GET,
        other => panic!("{other}"),
    }
}

/// Upstream reads an empty value as none.
fn optional_bytes(value: &Value) -> Option<Bytes> {
    (!value.is_null()).then(|| Bytes::from(hex(value))).filter(|bytes| !bytes.is_empty())
}

fn host(value: &Value) -> [u8; 4] {
    value.as_str().unwrap().parse::<std::net::Ipv4Addr>().unwrap().octets()
}

fn port(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn address(value: &Value) -> Address {
    value.as_str().unwrap().parse::<std::net::SocketAddrV4>().unwrap().into()
}

fn address_from_json(value: &Value) -> Address {
    Address::new(host(&value["host"]), port(&value["port"]))
}

fn peer_from_json(value: &Value) -> Peer {
    let relay_addresses = value["relayAddresses"].as_array().unwrap().iter().map(address_from_json).collect();
    Peer { public_key: hex_fixed(&value["publicKey"]), relay_addresses }
}

fn hex_json(bytes: &[u8]) -> Value {
    json!(data_encoding::HEXLOWER.encode(bytes))
}

fn address_json(address: &Address) -> Value {
    json!({ "host": std::net::Ipv4Addr::from(address.ip()).to_string(), "port": address.port() })
}

fn optional_address_json(address: Option<Address>) -> Value {
    address.as_ref().map_or(Value::Null, address_json)
}

fn list_json(list: &[Address]) -> Value {
    json!(list.iter().map(address_json).collect::<Vec<_>>())
}

fn optional_hex(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, hex_json)
}

fn request_json(request: &Request) -> Value {
    json!({
        "tid": request.tid,
        "to": request.to.to_string(),
        "id": optional_hex(request.id.as_ref().map(|id| &id[..])),
        "token": optional_hex(request.token.as_ref().map(|token| &token[..])),
        "internal": request.internal,
        "command": request.command,
        "target": optional_hex(request.target.as_ref().map(|target| &target[..])),
        "value": optional_hex(request.value.as_deref()),
    })
}

fn reply_json(reply: &Reply) -> Value {
    let closer: Vec<_> = reply.closer.iter().map(ToString::to_string).collect();
    json!({
        "tid": reply.tid,
        "to": reply.to.to_string(),
        "id": optional_hex(reply.id.as_ref().map(|id| &id[..])),
        "token": optional_hex(reply.token.as_ref().map(|token| &token[..])),
        "closerNodes": if closer.is_empty() { Value::Null } else { json!(closer) },
        "error": reply.error,
        "value": optional_hex(reply.value.as_deref()),
    })
}

fn peer_json(peer: &Peer) -> Value {
    json!({ "publicKey": hex_json(&peer.public_key), "relayAddresses": list_json(&peer.relay_addresses) })
}

fn firewall_number(firewall: Firewall) -> u64 {
    match firewall {
        Firewall::Unknown => 0,
        Firewall::Open => 1,
        Firewall::Consistent => 2,
        Firewall::Random => 3,
    }
}

fn holepunch_json(value: &HolepunchPayload) -> Value {
    json!({
        "error": value.error,
        "firewall": firewall_number(value.firewall),
        "round": value.round,
        "connected": value.is_connected,
        "punching": value.is_punching,
        "addresses": value.addresses.as_ref().map(|list| list_json(list)),
        "remoteAddress": optional_address_json(value.remote_address),
        "token": optional_hex(value.token.as_ref().map(|token| &token[..])),
        "remoteToken": optional_hex(value.remote_token.as_ref().map(|token| &token[..])),
    })
}

fn noise_json(value: &NoisePayload) -> Value {
    let relays = |list: &[hypertab_core::dht::messages::RelayInfo]| -> Vec<_> {
        list.iter()
            .map(|relay| {
                json!({
                    "relayAddress": address_json(&relay.relay_address),
                    "peerAddress": address_json(&relay.peer_address),
                })
            })
            .collect()
    };
    json!({
        "version": value.version,
        "error": value.error,
        "firewall": firewall_number(value.firewall),
        "holepunch": value.holepunch.as_ref().map(|info| json!({ "id": info.id, "relays": relays(&info.relays) })),
        "addresses4": list_json(&value.addresses4),
        "addresses6": value.addresses6.iter().map(address6_json).collect::<Vec<_>>(),
        "udx": value.udx.map(|udx| json!({
            "version": udx.version, "reusableSocket": udx.is_reusable, "id": udx.id, "seq": udx.seq,
        })),
        "secretStream": value.secret_stream.map(|version| json!({ "version": version })),
        "relayThrough": value.relay_through.map(|relay| json!({
            "version": relay.version,
            "publicKey": hex_json(&relay.public_key),
            "token": hex_json(&relay.token),
        })),
        "relayAddresses": value.relay_addresses.as_ref().map(|list| list_json(list)),
    })
}

fn address6_json(address: &[u8; 18]) -> Value {
    let (ip, port) = address.split_at(16);
    let groups: Vec<_> =
        ip.chunks(2).map(|pair| format!("{:x}", u16::from_be_bytes([pair[0], pair[1]]))).collect();
    json!({ "host": groups.join(":"), "port": u16::from_le_bytes([port[0], port[1]]) })
}
