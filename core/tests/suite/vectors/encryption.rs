//! Block encryption against upstream's keys and stored blocks.

use hypertab_core::hypercore::encryption::{BlockEncryption, KeyMode, PADDING};
use hypertab_core::hypercore::merkle_tree::{Seek, seek};

use crate::support::log::{Log, hex, key, list, number, text, vectors};

#[test]
fn keys_are_derived_as_upstream_does() {
    for entry in list(&vectors("core-encryption.json")["derivations"]) {
        let keys = BlockEncryption::new(
            &key(&entry["encryptionKey"]),
            &key(&entry["hypercoreKey"]),
            mode(text(&entry["name"])),
        );
        assert_eq!(*keys.block_key(), key(&entry["blockKey"]), "{}", entry["name"]);
    }
}

#[test]
fn blocks_are_encrypted_as_upstream_does() {
    let blocks = &vectors("core-encryption.json")["blocks"];
    let keys = BlockEncryption::new(&key(&blocks["blockKey"]), &[0; 32], KeyMode::BlockKey);
    assert_eq!(number(&blocks["padding"]), PADDING as u64);
    for entry in list(&blocks["entries"]) {
        let (index, fork) = (number(&entry["index"]), number(&entry["fork"]));
        let (plain, stored) = (hex(&entry["plaintext"]), hex(&entry["stored"]));
        assert_eq!(keys.encrypt(index, fork, &plain), stored);
        assert_eq!(keys.decrypt(index, &stored).unwrap(), plain);
    }
    assert_eq!(keys.decrypt(0, &[0; 7]), None);
}

#[test]
fn encrypted_logs_are_upstreams() {
    for entry in list(&vectors("core-encryption.json")["logs"]) {
        let name = text(&entry["name"]);
        let mode = match name {
            "compat core" => KeyMode::Compat,
            name if name.contains("block key") => KeyMode::BlockKey,
            _ => KeyMode::Normal,
        };
        let keys = BlockEncryption::new(&key(&entry["encryptionKey"]), &key(&entry["key"]), mode);
        let forks = [0, number(&entry["fork"])];
        let stored: Vec<_> = (0..2u64)
            .map(|index| {
                let plain = hex(&entry["plaintext"][index as usize]);
                keys.encrypt(index, forks[index as usize], &plain)
            })
            .collect();
        assert_eq!(stored, list(&entry["stored"]).iter().map(hex).collect::<Vec<_>>(), "{name}");

        let mut log = Log::new(None);
        log.append(&stored);
        assert_eq!(log.tree.byte_length, number(&entry["paddedByteLength"]), "{name}");
        assert_eq!(log.tree.tree_hash(), key(&entry["treeHash"]), "{name}");
        for probe in list(&entry["seeks"]) {
            let found = log.store.run(|source| seek(source, &log.tree, number(&probe[0]), 8));
            let expected = Seek::Found { block: number(&probe[1][0]), offset: number(&probe[1][1]) };
            assert_eq!(found, expected, "{name}");
        }
    }
}

fn mode(name: &str) -> KeyMode {
    match name {
        "default" => KeyMode::Normal,
        "compat" => KeyMode::Compat,
        "block key given" => KeyMode::BlockKey,
        _ => panic!("unknown derivation {name}"),
    }
}
