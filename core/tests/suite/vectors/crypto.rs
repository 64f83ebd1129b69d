//! Compares hashes, keys, signatures, shared secrets and ids with upstream's.

use curve25519_dalek::EdwardsPoint;
use hypertab_core::compact_encoding::Writer;
use hypertab_core::crypto::{
    KeyPair, Node, blake2b_256, blake2b_256_keyed, blake2b_512, blake2b_512_keyed, dh, discovery_key,
    encode_key, leaf_hash, namespace, namespaces, parent_hash, parse_key, secretbox_open, secretbox_seal,
    tree_hash, verify, xsalsa20_xor,
};
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::support::common::{entries, hex, hex_fixed, load};

#[test]
fn blake2b_digests() {
    for case in entries(&load("core-crypto"), "blake2b") {
        let input = hex(&case["input"]);
        let key = if case["key"].is_null() { Vec::new() } else { hex(&case["key"]) };

        let (plain, keyed) = match case["bytes"].as_u64() {
            Some(32) => (blake2b_256(&[&input]).to_vec(), blake2b_256_keyed(&key, &[&input]).to_vec()),
            Some(64) => (blake2b_512(&[&input]).to_vec(), blake2b_512_keyed(&key, &[&input]).to_vec()),
            _ => panic!("{case}"),
        };

        assert_eq!(keyed, hex(&case["hash"]), "{case}");
        assert_eq!(plain == keyed, key.is_empty(), "{case}");
    }
}

#[test]
fn protocol_namespaces() {
    let vectors = load("core-crypto");
    let protocols = vectors["namespaces"].as_object().unwrap();
    assert!(!protocols.is_empty());

    for (name, values) in protocols {
        for (index, value) in (0..).zip(values.as_array().unwrap()) {
            assert_eq!(namespace(name, index), hex_fixed(value), "{name} {index}");
        }
    }
}

#[test]
fn key_pairs_sign_and_verify() {
    for case in entries(&load("core-crypto"), "keyPairs") {
        let pair = KeyPair::from_seed(&hex_fixed(&case["seed"]));
        let (message, signature) = (hex(&case["message"]), hex_fixed(&case["signature"]));

        assert_eq!(pair.public_key, hex_fixed(&case["publicKey"]), "{case}");
        assert_eq!(*pair.secret_key.to_bytes(), hex_fixed(&case["secretKey"]), "{case}");
        assert_eq!(KeyPair::from_secret_key(&hex_fixed(&case["secretKey"])).as_ref(), Ok(&pair), "{case}");
        assert_eq!(discovery_key(&pair.public_key), hex_fixed(&case["discoveryKey"]), "{case}");
        assert_eq!(encode_key(&pair.public_key), case["id"].as_str().unwrap(), "{case}");
        assert_eq!(parse_key(case["id"].as_str().unwrap()), Ok(pair.public_key), "{case}");
        assert_eq!(pair.sign(&message), signature, "{case}");
        assert!(verify(&message, &signature, &pair.public_key), "{case}");
    }
}

#[test]
fn text_ids() {
    let vectors = load("core-crypto");

    for case in entries(&vectors, "ids") {
        assert_eq!(parse_key(case["text"].as_str().unwrap()), Ok(hex_fixed(&case["key"])), "{case}");
    }
    for case in entries(&vectors, "badIds") {
        assert_eq!(case["valid"], false);
        assert!(parse_key(case["text"].as_str().unwrap()).is_err(), "{case}");
    }
}

#[test]
fn leaf_parent_and_tree_hashes() {
    let vectors = load("core-crypto");

    for case in entries(&vectors, "leaves") {
        let block = hex(&case["block"]);
        let leaf = Node::leaf(0, &block);
        assert_eq!(leaf.size, case["size"].as_u64().unwrap(), "{case}");
        assert_eq!(leaf.hash, hex_fixed(&case["hash"]), "{case}");
        assert_eq!(leaf_hash(&block), leaf.hash, "{case}");
    }
    for case in entries(&vectors, "parents") {
        let (left, right) = (node(&case["left"]), node(&case["right"]));
        let parent = Node::parent(1, &left, &right);
        assert_eq!(parent.size, case["size"].as_u64().unwrap(), "{case}");
        assert_eq!(parent.hash, hex_fixed(&case["hash"]), "{case}");
        assert_eq!(parent_hash(&right, &left), hex_fixed(&case["hashWithArgumentsSwapped"]), "{case}");
    }
    for case in entries(&vectors, "trees") {
        let roots: Vec<_> = case["roots"].as_array().unwrap().iter().map(node).collect();
        assert_eq!(tree_hash(&roots), hex_fixed(&case["hash"]), "{case}");
    }
}

#[test]
fn signables_start_with_the_tree_namespace() {
    for case in entries(&load("core-crypto"), "signables") {
        let mut head = Writer::new();
        head.raw(&hex(&case["treeHash"]));
        head.u64(case["length"].as_u64().unwrap());
        head.u64(case["fork"].as_u64().unwrap());
        let head = head.into_vec();

        assert_eq!(
            [&namespaces::TREE[..], &hex(&case["manifestHash"]), &head].concat(),
            hex(&case["signable"]),
            "{case}"
        );
        assert_eq!([&namespaces::TREE[..], &head].concat(), hex(&case["compat"]), "{case}");
        assert_eq!(head, hex(&case["compatNoHeader"]), "{case}");
    }
}

#[test]
fn capabilities_and_stream_ids_are_keyed_by_the_handshake() {
    let vectors = load("core-crypto");
    let (replicate, stream) = (&vectors["replicate"], &vectors["streamIds"]);
    let (handshake, key) = (hex(&replicate["handshakeHash"]), hex(&replicate["key"]));

    let sides =
        [("initiator", namespaces::REPLICATE_INITIATOR), ("responder", namespaces::REPLICATE_RESPONDER)];
    for (index, (side, capability)) in (0..).zip(sides) {
        let id = namespace("hyperswarm/secret-stream", index);

        assert_eq!(blake2b_256_keyed(&handshake, &[&capability, &key]), hex_fixed(&replicate[side]));
        assert_eq!(blake2b_256_keyed(&hex(&stream["handshakeHash"]), &[&id]), hex_fixed(&stream[side]));
    }
}

/// No layer of this crate uses X25519 pairs yet; this records how upstream derives one.
#[test]
fn encryption_key_pair_is_x25519_of_the_hashed_seed() {
    let case = &load("core-crypto")["encryptionKeyPair"];

    let digest: [u8; 64] = Sha512::digest(hex(&case["seed"])).into();
    let secret: [u8; 32] = digest[..32].try_into().unwrap();

    assert_eq!(secret, hex_fixed(&case["secretKey"]));
    assert_eq!(
        EdwardsPoint::mul_base_clamped(secret).to_montgomery().to_bytes(),
        hex_fixed(&case["publicKey"])
    );
}

#[test]
fn shared_secrets() {
    for case in entries(&load("wire-noise"), "dh") {
        let pair = KeyPair::from_seed(&hex_fixed(&case["secretSeed"]));

        let shared = dh(&pair.scalar(), &hex_fixed(&case["publicKey"])).unwrap();

        assert_eq!(*shared, hex_fixed(&case["shared"]), "{case}");
    }
}

#[test]
fn stream_cipher_pads_and_encrypts_blocks() {
    let blocks = &load("core-encryption")["blocks"];
    let (block_key, blinding_key) = (hex_fixed(&blocks["blockKey"]), hex_fixed(&blocks["blindingKey"]));

    for case in entries(blocks, "entries") {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&case["index"].as_u64().unwrap().to_le_bytes());
        let mut padding = case["fork"].as_u64().unwrap().to_le_bytes();
        xsalsa20_xor(&blinding_key, &nonce, &mut padding);
        nonce[8..16].copy_from_slice(&padding);
        let mut block = hex(&case["plaintext"]);
        xsalsa20_xor(&block_key, &nonce, &mut block);

        assert_eq!([&padding[..], &block].concat(), hex(&case["stored"]), "{case}");
    }
}

#[test]
fn sealed_payloads() {
    for case in entries(&load("dht-crypto"), "sealed") {
        // The last entry records a token, not a box.
        if case["sealed"].is_null() {
            continue;
        }
        let (key, sealed) = (hex_fixed(&case["secret"]), hex(&case["sealed"]));
        let (nonce, sealed) = sealed.split_first_chunk().unwrap();

        let opened = secretbox_open(&key, nonce, sealed);

        if case["opened"].is_null() {
            assert_eq!(opened, None, "{case}");
        } else {
            let payload = hex(&case["payload"]);
            assert_eq!(secretbox_seal(&key, nonce, &payload), sealed, "{case}");
            assert_eq!(opened, Some(payload), "{case}");
        }
    }
}

fn node(value: &Value) -> Node {
    let number = |key: &str| value[key].as_u64().unwrap();
    Node { index: number("index"), size: number("size"), hash: hex_fixed(&value["hash"]) }
}
