//! The store of a core with branches, record by record, against the one that upstream wrote.

use std::collections::BTreeMap;

use bytes::Bytes;
use hypertab_core::compact_encoding::Decode;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::*;
use hypertab_core::storage::MemoryStore;
use hypertab_core::storage::keys::DataKeys;
use hypertab_core::storage::records::Head;
use serde_json::Value;

use crate::support::common::{entries, hex, hex_fixed, load};
use crate::support::sim::Host;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

#[test]
fn branches_are_stored_as_upstream_stores_them() {
    play_all(false);
}

#[test]
fn branches_that_start_over_while_they_are_open_are_stored_as_upstream_stores_them() {
    play_all(true);
}

fn play_all(stays_open: bool) {
    let vectors = load("core-branches.json");
    let key_pair = KeyPair::from_seed(&hex_fixed(&vectors["seed"]));
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = OpenOptions { key_pair: Some(key_pair), ..OpenOptions::default() };
    let log = host.open(store, OpenCore { core, ..OpenCore::default() });
    let mut cores = BTreeMap::from([("log".to_owned(), log)]);

    for (at, step) in entries(&vectors, "steps").iter().enumerate() {
        play(&mut host, &mut cores, step, stays_open);

        let ours = host.disks[&store].data.entries();
        let ours = ours.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        compare(&format!("step {at}, {} on {}", step["does"], step["on"]), &ours, &upstreams(step));
    }
}

fn play(host: &mut Host, cores: &mut BTreeMap<String, CoreId>, step: &Value, stays_open: bool) {
    let text = |name: &str| step[name].as_str().unwrap().to_owned();
    let on = text("on");
    match step["does"].as_str().unwrap() {
        "append" => {
            let blocks: Vec<&[u8]> =
                entries(step, "blocks").iter().map(|block| block.as_str().unwrap().as_bytes()).collect();
            host.append(cores[&on], &blocks);
        }
        "truncate" => {
            let options = TruncateOptions { fork: step["fork"].as_u64(), ..TruncateOptions::default() };
            let length = step["length"].as_u64().unwrap();
            let cut = host.engine.core(cores[&on]).unwrap().truncate(length, options);
            host.settled(cut).unwrap();
        }
        "userData" => {
            let value = Some(Bytes::from(text("value")));
            let stored = host.engine.core(cores[&on]).unwrap().set_user_data(text("key"), value);
            host.settled(stored).unwrap();
        }
        "commit" => {
            let committed = host.engine.commit(cores[&on], cores[&text("source")], CommitOptions::default());
            host.settled(committed).unwrap();
        }
        _ => {
            if let Some(old) = cores.remove(&on).filter(|_| !stays_open) {
                let closed = host.engine.close_core(old, host.now);
                host.settled(closed).unwrap();
            }
            let overwrite = step["overwrite"].as_bool().unwrap_or(false);
            let checkout = step["checkout"].as_u64();
            let options = BranchOptions { name: on.clone(), overwrite, checkout, ..BranchOptions::default() };
            let (branch, opened) = host.engine.open_branch(cores[&text("from")], options);
            host.settled(opened).unwrap();
            if let Some(length) = checkout.filter(|_| !overwrite) {
                let fork = host.engine.core(branch).unwrap().fork();
                let options = TruncateOptions { fork: Some(fork), ..TruncateOptions::default() };
                let cut = host.engine.core(branch).unwrap().truncate(length, options);
                host.settled(cut).unwrap();
            }
            cores.insert(on, branch);
        }
    }
}

fn upstreams(step: &Value) -> Records {
    let record = |entry: &Value| {
        let mut value = hex(&entry["value"]);
        value.resize(value.len() + entry["trailingZeros"].as_u64().unwrap_or(0) as usize, 0);
        (hex(&entry["key"]), value)
    };
    entries(step, "records").iter().map(record).collect()
}

fn compare(what: &str, ours: &Records, upstreams: &Records) {
    let heads: Vec<Vec<u8>> = (0..4).map(|data| DataKeys { data }.head().to_vec()).collect();
    let hints = DataKeys { data: 0 }.hints().to_vec();
    for key in ours.keys().chain(upstreams.keys()) {
        let (ours, upstreams) = (ours.get(key), upstreams.get(key));
        if *key == hints {
            // They may be behind, and each side has its own time to write them.
            continue;
        }
        if heads.contains(key) {
            let head = |record: Option<&Vec<u8>>| Head::from_slice(record.expect(what)).unwrap();
            let (mut ours, mut upstreams) = (head(ours), head(upstreams));
            // When it was stored is nobody's business.
            upstreams.timestamp = 0;
            if *key != heads[0] {
                // Upstream leaves the signature of the log in heads of branches that it is not over any more.
                upstreams.signature = None;
                ours.signature = None;
            }
            assert_eq!(ours, upstreams, "{what}: head {key:02x?}");
        } else {
            let whole = ours.map(|ours| with_zeros(ours, upstreams));
            assert_eq!(whole.as_ref(), upstreams, "{what}: record {key:02x?}");
        }
    }
}

/// A record as upstream stores it: pages of the bitfield, which are the only ones of their size, have zeros to their end there.
fn with_zeros(ours: &[u8], upstreams: Option<&Vec<u8>>) -> Vec<u8> {
    let mut whole = ours.to_vec();
    if upstreams.is_some_and(|record| record.len() == PAGE) && ours.len() < PAGE {
        whole.resize(PAGE, 0);
    }
    whole
}

/// Bytes of a page of the bitfield.
const PAGE: usize = 4096;
