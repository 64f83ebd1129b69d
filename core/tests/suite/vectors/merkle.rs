//! Trees, signatures, offsets and truncations against upstream's.

use hypertab_core::crypto::KeyPair;
use hypertab_core::crypto::namespaces::DEFAULT_NAMESPACE;
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hypercore::merkle_tree::{
    Seek, byte_offset, byte_range, can_upgrade, max_missing_nodes, missing_nodes, roots_at, seek, truncated,
    truncated_ancestors,
};
use hypertab_core::hypercore::verifier::Verifier;
use serde_json::Value;

use crate::support::log::{Log, hex, key, list, nodes, number, text, unhex, vectors};

#[test]
fn nodes_roots_and_signatures_are_upstreams_in_every_mode() {
    let file = vectors("core-merkle.json");
    let blocks: Vec<_> = list(&file["blocks"]).iter().map(hex).collect();
    let pair = KeyPair::from_seed(&key(&file["seed"]));
    assert_eq!(pair.public_key, key(&file["publicKey"]));
    let v1 = Manifest::single_signer(pair.public_key);
    let v0 = Manifest { version: 0, ..v1.clone() };
    assert_eq!(v0.signers[0].namespace, DEFAULT_NAMESPACE);

    for (name, manifest) in
        [("manifestV1", &v1), ("compat", &v1), ("manifestV0", &v0), ("legacyNoHeader", &v1)]
    {
        let core_key = key(&file[name]["key"]);
        let mut verifier = Verifier::new(core_key, manifest).unwrap();
        if name == "legacyNoHeader" {
            verifier = verifier.legacy();
        }
        assert_eq!(verifier.is_compat(), core_key == pair.public_key);
        assert!(manifest.belongs_to(&core_key));
        let mut log = Log::new(None);
        for (block, step) in blocks.iter().zip(list(&file[name]["steps"])) {
            log.append(&[block]);
            log.sign(&verifier, &pair);
            assert_eq!(log.tree.length, number(&step["length"]));
            assert_eq!(log.tree.tree_hash(), key(&step["treeHash"]), "{name}");
            let signature = log.tree.signature.clone().unwrap();
            assert_eq!(signature, hex(&step["signature"]), "{name}");
            assert!(verifier.verify(&log.tree, Some(&signature)), "{name}");
            assert!(!verifier.verify(&log.tree, Some(&signature[1..])), "{name}");
            assert!(!verifier.verify(&log.tree, Some(&[])), "{name}");
            if let Some(signable) = step["signable"].as_str() {
                let found = verifier.signable(&manifest.signers[0], &log.tree);
                assert_eq!(found, unhex(signable), "{name}");
                assert_eq!(log.tree.byte_length, number(&step["byteLength"]));
                assert_eq!(indexes(&log), list(&step["roots"]).iter().map(number).collect::<Vec<_>>());
            }
            log.tree.fork += 1;
            assert!(!verifier.verify(&log.tree, Some(&signature)), "{name}");
            log.tree.fork -= 1;
        }
        if name == "manifestV1" {
            assert_eq!(log.store.list(), nodes(&file["nodes"]));
        }
    }
    let other = KeyPair::from_seed(&[9; 32]);
    assert!(Verifier::new(v1.key(), &v1).unwrap().sign(&Log::new(None).tree, &other).is_err());
}

#[test]
fn offsets_and_seeks_are_upstreams() {
    let file = vectors("core-merkle.json");
    let log = grown(&file);
    for entry in list(&file["offsets"]) {
        let index = number(&entry["index"]);
        let range = log.store.run(|source| byte_range(source, &log.tree, index)).unwrap();
        // Upstream computes NaN for what lies behind the first root.
        let offset = entry["offset"].as_u64().unwrap_or(log.tree.roots[0].size);
        assert_eq!(range, (offset, number(&entry["size"])));
    }
    let end = log.store.run(|source| byte_offset(source, &log.tree, 2 * log.tree.length)).unwrap();
    assert_eq!(end, number(&file["byteLength"]));
    assert!(log.store.run(|source| byte_range(source, &log.tree, 34)).is_err());
    assert!(log.store.run(|source| byte_range(source, &log.tree, 31)).is_err());
    for entry in list(&file["seeks"]) {
        let found = log.store.run(|source| seek(source, &log.tree, number(&entry["bytes"]), 0));
        assert_eq!(found, expected_seek(&entry["result"]), "{entry}");
    }

    let padded = &file["padded"];
    let mut log = Log::new(None);
    let sizes = list(&padded["sizes"]).iter().map(|size| vec![0u8; number(size) as usize]);
    log.append(&sizes.collect::<Vec<_>>());
    for entry in list(&padded["seeks"]) {
        let (bytes, padding) = (number(&entry["bytes"]), number(&padded["padding"]));
        let found = log.store.run(|source| seek(source, &log.tree, bytes, padding));
        assert_eq!(found, expected_seek(&entry["result"]), "{entry}");
    }
}

#[test]
fn a_seek_stops_where_nodes_are_missing() {
    let file = vectors("core-merkle.json");
    let mut log = grown(&file);
    log.store.nodes.remove(&9);
    log.store.nodes.remove(&11);

    let found = log.store.run(|source| seek(source, &log.tree, 20, 0));

    assert_eq!(found, Seek::Inside { start: 4, end: 8 });
    assert!(log.store.run(|source| can_upgrade(source, 16)));
    assert!(!log.store.run(|source| can_upgrade(source, 6)));
    assert_eq!(log.store.run(|source| missing_nodes(source, 9, 17)), 2);
    assert_eq!(log.store.run(|source| missing_nodes(source, 8, 17)), 0);
    assert_eq!(log.store.run(|source| missing_nodes(source, 34, 17)), 0);
    assert_eq!(max_missing_nodes(8, 17), 4);
    assert_eq!(max_missing_nodes(32, 17), 0);
}

#[test]
fn truncations_keep_and_drop_what_upstream_does() {
    let file = vectors("core-merkle.json");
    let mut log = grown(&file);
    let pair = KeyPair::from_seed(&key(&file["seed"]));
    let manifest = Manifest::single_signer(pair.public_key);
    let verifier = Verifier::new(manifest.key(), &manifest).unwrap();

    for step in list(&file["forks"]) {
        let (length, fork) = (number(&step["length"]), number(&step["fork"]));
        if text(&step["op"]) == "truncate" {
            log.tree = log.store.run(|source| truncated(source, &log.tree, length, fork)).unwrap();
            log.store.nodes.retain(|&index, _| index < 2 * length);
            for index in truncated_ancestors(length) {
                log.store.nodes.remove(&index);
            }
            let stored: Vec<u64> = log.store.nodes.keys().copied().collect();
            assert_eq!(stored, list(&step["nodesInStorage"]).iter().map(number).collect::<Vec<_>>());
        } else {
            log.append(&[unhex(&text(&step["op"])["append ".len()..])]);
        }
        log.sign(&verifier, &pair);
        assert_eq!((log.tree.length, log.tree.fork), (length, fork));
        assert_eq!(log.tree.byte_length, number(&step["byteLength"]));
        assert_eq!(log.tree.roots, nodes(&step["roots"]));
        assert_eq!(log.tree.tree_hash(), key(&step["treeHash"]));
        assert_eq!(log.tree.signature.clone().unwrap(), hex(&step["signature"]));
        let roots = log.store.run(|source| roots_at(source, length)).unwrap();
        assert_eq!(roots, log.tree.roots);
    }
}

fn grown(file: &Value) -> Log {
    let mut log = Log::new(None);
    log.append(&list(&file["blocks"]).iter().map(hex).collect::<Vec<_>>());
    log
}

fn indexes(log: &Log) -> Vec<u64> {
    log.tree.roots.iter().map(|root| root.index).collect()
}

fn expected_seek(result: &Value) -> Seek {
    if result.is_null() {
        return Seek::Beyond;
    }
    Seek::Found { block: number(&result[0]), offset: number(&result[1]) }
}
