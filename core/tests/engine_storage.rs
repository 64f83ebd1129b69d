//! A store written by our engine against the same store written by upstream.

mod common;
mod sim;

use std::collections::BTreeMap;

use hypertab_core::compact_encoding::Decode;
use hypertab_core::engine::{OpenCore, OpenOptions};
use hypertab_core::storage::MemoryStore;
use hypertab_core::storage::keys::{self, DataKeys};
use hypertab_core::storage::records::{Alias, Auth};
use sim::Host;

#[test]
fn our_store_has_upstreams_keys_and_values() {
    let vectors = common::load("corestore-storage.json");
    let upstream: BTreeMap<Vec<u8>, Vec<u8>> = common::entries(&vectors, "entries")
        .iter()
        .map(|entry| {
            let mut value = common::hex(&entry["value"]);
            value.resize(value.len() + entry["trailingZeros"].as_u64().unwrap_or(0) as usize, 0);
            (common::hex(&entry["key"]), value)
        })
        .collect();
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let mut cores = Vec::new();
    for (pointer, name) in [(0, "main"), (1, "db")] {
        let auth = Auth::from_slice(&upstream[&keys::auth(pointer).to_vec()]).unwrap();
        let namespaces = upstream.keys().filter(|key| key[0] == 2);
        let namespaces: Vec<[u8; 32]> = namespaces.map(|key| key[1..33].try_into().unwrap()).collect();
        let namespace = namespaces[pointer as usize];
        let core = OpenOptions {
            key: Some(auth.key),
            key_pair: auth.key_pair.unwrap().key_pair,
            manifest: auth.manifest,
            alias: Some(Alias { name: name.into(), namespace }),
            ..OpenOptions::default()
        };
        cores.push(host.open(store, OpenCore { core, ..OpenCore::default() }));
    }

    host.append(cores[0], &[b"a", b"b"]);

    let head = DataKeys { data: 0 }.head().to_vec();
    let ours = host.disks[&store].data.entries();
    let ours: BTreeMap<Vec<u8>, Vec<u8>> = ours.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert!(ours.keys().eq(upstream.keys()));
    for (key, value) in &ours {
        if *key == head {
            // Upstream adds when it was stored, which is nobody's business.
            assert_eq!(value[..value.len() - 1], upstream[key][..value.len() - 1]);
        } else if *key != keys::store_head().to_vec() {
            assert_eq!(value, &upstream[key], "{key:?}");
        }
    }
}

#[test]
fn an_upstream_store_opens_and_goes_on() {
    let vectors = common::load("corestore-storage.json");
    let mut data = MemoryStore::new();
    let ops = common::entries(&vectors, "entries").iter().map(|entry| {
        let mut value = common::hex(&entry["value"]);
        value.resize(value.len() + entry["trailingZeros"].as_u64().unwrap_or(0) as usize, 0);
        hypertab_core::storage::Op::Put { key: common::hex(&entry["key"]).into(), value: value.into() }
    });
    data.apply(hypertab_core::storage::Batch { ops: ops.collect() });
    let mut host = Host::new(1);
    let store = host.store(data);

    let core = host.open(store, OpenCore::default());

    assert_eq!(host.engine.core(core).unwrap().length(), 2);
    assert_eq!(host.get_now(core, 1).unwrap(), "b");
    assert_eq!(host.append(core, &[b"c"]), 3);
}
