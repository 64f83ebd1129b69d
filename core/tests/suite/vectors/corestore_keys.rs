//! Compares the keys of named cores with upstream's.

use hypertab_core::compact_encoding::{Decode, Encode};
use hypertab_core::corestore::keys::{Namespace, key_pair, manifest, seed};
use hypertab_core::crypto::{discovery_key, encode_key, namespace, parse_key};
use hypertab_core::hypercore::encryption::{BlockEncryption, KeyMode};
use hypertab_core::hypercore::manifest::Manifest;
use serde_json::Value;

use crate::support::common::{entries, hex, hex_fixed, load};

#[test]
fn named_cores() {
    let vectors = load("corestore-keys");
    for store in entries(&vectors, "stores") {
        let mut by_namespace = std::collections::BTreeMap::<_, Vec<_>>::new();
        for core in entries(store, "cores") {
            check_core(store, core, 1);
            let namespace: [u8; 32] = hex_fixed(&core["namespace"]);
            by_namespace.entry(namespace).or_default().push(core);
        }

        let listed = |list: &str, namespace: Namespace| {
            let Some(expected) = store[list].as_array() else { return };
            let mut cores = by_namespace.get(&namespace.0).cloned().unwrap_or_default();
            cores.sort_by_key(|core| core["name"].as_str().unwrap().as_bytes());
            let keys: Vec<_> = cores.into_iter().map(|core| core["discoveryKey"].clone()).collect();
            assert_eq!(keys, *expected, "{list}");
        };
        listed("listDefaultNamespace", Namespace::ROOT);
        listed("listNamespaceA", Namespace::ROOT.child(b"a"));
    }
    let store = &vectors["manifestVersion2Store"];
    check_core(store, &store["core"], 2);
}

#[test]
fn named_key_pairs() {
    for store in entries(&load("corestore-keys"), "stores") {
        let primary_key = hex_fixed(&store["primaryKey"]);
        for case in entries(store, "keyPairs") {
            let pair =
                key_pair(&primary_key, &Namespace(hex_fixed(&case["namespace"])), &hex(&case["nameHex"]));
            assert_eq!(pair.public_key, hex_fixed(&case["publicKey"]), "{case}");
            assert_eq!(*pair.secret_key.to_bytes(), hex_fixed(&case["secretKey"]), "{case}");
        }
    }
}

#[test]
fn session_is_back_in_the_root() {
    for store in entries(&load("corestore-keys"), "stores") {
        let quirk = &store["quirk"];
        assert_eq!(Namespace::ROOT.0, hex_fixed(&quirk["sessionNamespace"]));
        assert_eq!(Namespace::default(), Namespace::ROOT);
    }
}

#[test]
fn ids_and_protocol_namespaces() {
    let vectors = load("corestore-keys");
    for (name, values) in vectors["namespaces"].as_object().unwrap() {
        for (index, value) in (0..).zip(values.as_array().unwrap()) {
            assert_eq!(namespace(name, index), hex_fixed(value), "{name} {index}");
        }
    }
    for case in entries(&vectors, "ids") {
        assert_eq!(case["z32"], encode_key(&hex_fixed(&case["hex"])));
    }
    for case in entries(&vectors["decoding"], "accepts") {
        assert_eq!(parse_key(case["input"].as_str().unwrap()), Ok(hex_fixed(&case["key"])), "{case}");
    }
    for case in entries(&vectors["decoding"], "rejects") {
        let text = case.as_str().unwrap();
        // Links of the older scheme are accepted here.
        if !text.starts_with("hyper://") {
            assert!(parse_key(text).is_err(), "{text}");
        }
    }
}

#[test]
fn manifests_hash_to_their_keys() {
    for case in entries(&load("corestore-keys"), "manifests") {
        let manifest = Manifest::from_slice(&hex(&case["encoded"])).unwrap();

        assert_eq!(manifest.to_vec(), hex(&case["encoded"]), "{case}");
        assert_eq!(manifest.key(), hex_fixed::<32>(&case["key"]), "{case}");
        assert_eq!(discovery_key(&manifest.key()), hex_fixed(&case["discoveryKey"]), "{case}");
    }
}

#[test]
fn block_keys() {
    for case in entries(&load("corestore-keys"), "blockEncryption") {
        let (core_key, key) = (hex_fixed(&case["coreKey"]), hex_fixed(&case["encryptionKey"]));
        let cipher = BlockEncryption::new(&key, &core_key, KeyMode::Normal);

        assert_eq!(*cipher.block_key(), hex_fixed(&case["blockKey"]));
        let compat = BlockEncryption::new(&key, &core_key, KeyMode::Compat);
        assert_eq!(*compat.block_key(), hex_fixed(&case["compatBlockKey"]));
        for block in entries(case, "blocks") {
            let (index, fork) = (block["index"].as_u64().unwrap(), block["fork"].as_u64().unwrap());
            let (plain, stored) = (hex(&block["plaintext"]), hex(&block["stored"]));
            assert_eq!(cipher.encrypt(index, fork, &plain), stored, "{block}");
            assert_eq!(cipher.decrypt(index, &stored), Some(plain), "{block}");
        }
    }
}

fn check_core(store: &Value, core: &Value, version: u64) {
    let primary_key = hex_fixed(&store["primaryKey"]);
    let namespace =
        core["namespacePath"].as_array().unwrap().iter().fold(Namespace::ROOT, |namespace, name| {
            namespace.child(&name.as_str().map_or_else(|| hex(&name["hex"]), |name| name.as_bytes().to_vec()))
        });
    assert_eq!(namespace.0, hex_fixed(&core["namespace"]), "{core}");

    let name = core["name"].as_str().unwrap().as_bytes();
    assert_eq!(*seed(&primary_key, &namespace, name), hex_fixed(&core["seed"]), "{core}");
    let pair = key_pair(&primary_key, &namespace, name);
    assert_eq!(pair.public_key, hex_fixed(&core["publicKey"]), "{core}");
    assert_eq!(*pair.secret_key.to_bytes(), hex_fixed(&core["secretKey"]), "{core}");

    let manifest = manifest(pair.public_key, version);
    assert_eq!(manifest.to_vec(), hex(&core["manifest"]), "{core}");
    let key = manifest.key();
    assert_eq!(key, hex_fixed(&core["key"]), "{core}");
    assert_eq!(discovery_key(&key), hex_fixed(&core["discoveryKey"]), "{core}");
    assert_eq!(core["id"], encode_key(&key));
}
