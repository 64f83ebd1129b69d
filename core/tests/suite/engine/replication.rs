//! Two engines over an encrypted wire that cuts bytes at random, with disks that answer in any order.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::MemoryStore;

use crate::support::sim::{Host, Pair, block};

fn pair(blocks: u64, size: usize, seed: u64) -> (Pair, CoreId, CoreId) {
    let (mut pair, core, copy) = Pair::of_log((0..blocks).map(|index| block(index, size)).collect(), seed);
    pair.attach(core, copy);
    (pair, core, copy)
}

#[test]
fn reader_gets_single_blocks_of_a_writer() {
    for seed in 1..20 {
        let (mut pair, _, copy) = pair(50, 100, seed);
        for index in [49, 0, 17] {
            let request = pair.b.get(copy, index);
            pair.run_until("get", |pair| pair.b.done.contains_key(&request));
            assert_eq!(pair.b.done.remove(&request).unwrap(), Ok(Response::Block(Some(block(index, 100)))));
        }
        let handle = pair.b.engine.core(copy).unwrap();
        assert_eq!(handle.length(), 50);
        assert!(handle.manifest().is_some());
        assert!(!handle.is_writable());
    }
}

#[test]
fn reader_downloads_everything_and_agrees_on_the_tree() {
    for seed in 1..6 {
        let (mut pair, core, copy) = pair(300, 1000, seed);
        let now = pair.b.now;
        let range = RangeWish { end: Some(300), ..RangeWish::default() };
        let request = pair.b.engine.core(copy).unwrap().download(range, now);

        pair.run_until("download", |pair| pair.b.done.contains_key(&request));

        assert_eq!(pair.b.done.remove(&request), Some(Ok(Response::Done)));
        assert_eq!(pair.b.engine.core(copy).unwrap().contiguous_length(), 300);
        assert_eq!(pair.a.tree_hash(core), pair.b.tree_hash(copy));
        for index in 0..300 {
            assert_eq!(pair.b.get_now(copy, index), Some(block(index, 1000)));
        }
        assert!(!pair.b.events.iter().any(|event| matches!(event, Event::VerificationError { .. })));
    }
}

#[test]
fn live_appends_reach_a_following_reader() {
    let (mut pair, core, copy) = pair(0, 0, 5);
    let now = pair.b.now;
    pair.b.engine.core(copy).unwrap().download(RangeWish::default(), now);
    for round in 0..20u64 {
        let blocks: Vec<Bytes> = (0..round % 4 + 1).map(|at| block(round * 10 + at, 50)).collect();
        pair.a.engine.core(core).unwrap().append(blocks, AppendOptions::default());
        if round % 3 == 0 {
            pair.settle();
        }
    }

    pair.run_until("follow", |pair| {
        let length = pair.a.engine.core(core).unwrap().length();
        length == 50 && pair.b.engine.core(copy).unwrap().contiguous_length() == length
    });

    assert_eq!(pair.a.tree_hash(core), pair.b.tree_hash(copy));
    assert!(pair.b.events.iter().any(|event| matches!(event, Event::CoreAppend { .. })));
}

#[test]
fn update_and_seek_ask_the_writer() {
    let (mut pair, _, copy) = pair(64, 10, 3);
    let now = pair.b.now;
    let update = pair.b.engine.core(copy).unwrap().update(UpdateOptions::default(), now);
    pair.run_until("update", |pair| pair.b.done.contains_key(&update));
    assert_eq!(pair.b.done.remove(&update), Some(Ok(Response::Updated(true))));
    assert_eq!(pair.b.engine.core(copy).unwrap().length(), 64);

    let seek = pair.b.engine.core(copy).unwrap().seek(333, SeekOptions::default(), now);
    pair.run_until("seek", |pair| pair.b.done.contains_key(&seek));
    assert_eq!(pair.b.done.remove(&seek), Some(Ok(Response::Seek(Some((33, 3))))));
}

#[test]
fn truncation_of_the_writer_reaches_the_reader() {
    for seed in 1..10 {
        let (mut pair, core, copy) = pair(40, 20, seed);
        let now = pair.b.now;
        pair.b.engine.core(copy).unwrap().download(RangeWish::default(), now);
        pair.run_until("download", |pair| pair.b.engine.core(copy).unwrap().contiguous_length() == 40);

        pair.a.engine.core(core).unwrap().truncate(23, TruncateOptions::default());
        let blocks = (0..30).map(|index| block(1000 + index, 20)).collect();
        pair.a.engine.core(core).unwrap().append(blocks, AppendOptions::default());

        pair.run_until("reorg", |pair| {
            let handle = pair.b.engine.core(copy).unwrap();
            handle.fork() == 1 && handle.contiguous_length() == 53
        });
        assert_eq!(pair.a.tree_hash(core), pair.b.tree_hash(copy));
        assert_eq!(pair.b.get_now(copy, 22), Some(block(22, 20)));
        assert_eq!(pair.b.get_now(copy, 23), Some(block(1000, 20)));
        assert!(pair.b.events.iter().any(|event| matches!(event, Event::CoreTruncate { ancestors: 23, .. })));
    }
}

#[test]
fn peer_is_told_of_unknown_cores_and_can_attach_or_reject() {
    let mut writer = Host::new(1);
    let store = writer.store(MemoryStore::new());
    let core = writer.open(store, OpenCore::default());
    writer.append(core, &[b"hello"]);
    let (key, discovery_key) = {
        let handle = writer.engine.core(core).unwrap();
        (handle.key(), handle.discovery_key())
    };
    let mut reader = Host::new(2);
    let store = reader.store(MemoryStore::new());
    let mut pair = Pair::new(writer, reader, 1);
    let now = pair.a.now;
    pair.a.engine.attach(core, pair.link_a, now).unwrap();
    pair.b.engine.start_channels(pair.link_b).unwrap();
    pair.settle();

    let wanted = pair.b.events.iter().find_map(|event| match event {
        Event::DiscoveryKey { link, discovery_key } => Some((*link, *discovery_key)),
        _ => None,
    });
    assert_eq!(wanted, Some((pair.link_b, discovery_key)));

    let options = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let copy = pair.b.open(store, OpenCore { core: options, ..OpenCore::default() });
    pair.b.engine.attach(copy, pair.link_b, now).unwrap();
    let request = pair.b.get(copy, 0);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    assert_eq!(pair.b.done.remove(&request).unwrap(), Ok(Response::Block(Some("hello".into()))));
    assert_eq!(pair.b.engine.core(copy).unwrap().peers().len(), 1);

    pair.b.engine.close_link(pair.link_b);
    pair.b.drain();
    assert_eq!(pair.b.closed, [pair.link_b]);
    assert_eq!(pair.b.engine.core(copy).unwrap().peers().len(), 0);
    let link = pair.link_a;
    pair.a.engine.handle_input(Input::LinkClosed { link, reason: None }, now);
    pair.a.drain();
    assert!(pair.a.closed.is_empty());
    assert_eq!(pair.a.engine.core(core).unwrap().peers().len(), 0);
}

#[test]
fn many_cores_replicate_over_one_link() {
    let mut writer = Host::new(1);
    let store = writer.store(MemoryStore::new());
    let mut reader = Host::new(2);
    let copies = reader.store(MemoryStore::new());
    let mut cores = Vec::new();
    for index in 0..15u8 {
        let key_pair = Some(hypertab_core::crypto::KeyPair::from_seed(&[index; 32]));
        let public_key = key_pair.as_ref().unwrap().public_key;
        let manifest = hypertab_core::hypercore::manifest::Manifest::single_signer(public_key);
        let key = Some(manifest.key());
        let options = OpenOptions { key, key_pair, manifest: Some(manifest), ..OpenOptions::default() };
        let core = writer.open(store, OpenCore { core: options, ..OpenCore::default() });
        writer.append(core, &[&block(index.into(), 40), b"second"]);
        let options = OpenOptions { key, ..OpenOptions::default() };
        cores.push((core, reader.open(copies, OpenCore { core: options, ..OpenCore::default() })));
    }
    let mut pair = Pair::new(writer, reader, 9);
    let now = pair.a.now;
    let mut requests = Vec::new();
    for (core, copy) in &cores {
        pair.a.engine.attach(*core, pair.link_a, now).unwrap();
        pair.b.engine.attach(*copy, pair.link_b, now).unwrap();
        requests.push(pair.b.get(*copy, 0));
    }

    pair.run_until("all", |pair| requests.iter().all(|request| pair.b.done.contains_key(request)));

    for (index, request) in requests.iter().enumerate() {
        let found = pair.b.done.remove(request).unwrap();
        assert_eq!(found, Ok(Response::Block(Some(block(index as u64, 40)))));
    }
}

#[test]
fn wrong_key_ends_the_link() {
    // Same discovery key, another key: the capability cannot be made. So the peer lies about the discovery key, which
    // our own engine never does; a bit flipped on the wire is as good a test of the link.
    let (mut pair, _, copy) = pair(3, 10, 2);
    let request = pair.b.get(copy, 1);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    let link = pair.link_b;
    let bytes = Bytes::from_static(&[
        40, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    ]);
    let now = pair.b.now;
    pair.b.engine.handle_input(Input::Bytes { link, bytes }, now);
    pair.b.drain();

    assert_eq!(pair.b.closed, [link]);
    assert!(pair.b.events.iter().any(|event| matches!(event, Event::LinkClosed { .. })));
}

#[test]
fn downloaded_blocks_survive_a_restart_of_the_reader() {
    let (mut pair, _, copy) = pair(100, 200, 4);
    for index in [3, 50, 99] {
        let request = pair.b.get(copy, index);
        pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    }
    let key = pair.b.engine.core(copy).unwrap().key();
    let hash = pair.b.tree_hash(copy);
    let (_, disk) = pair.b.disks.pop_first().unwrap();

    let mut again = Host::new(5);
    let store = again.store(disk.data);
    let options = OpenOptions { key: Some(key), create_if_missing: false, ..OpenOptions::default() };
    let copy = again.open(store, OpenCore { core: options, ..OpenCore::default() });

    assert_eq!(again.engine.core(copy).unwrap().length(), 100);
    assert_eq!(again.tree_hash(copy), hash);
    assert!(again.engine.core(copy).unwrap().manifest().is_some());
    for index in 0..100 {
        let expected = [3, 50, 99].contains(&index).then(|| block(index, 200));
        assert_eq!(again.get_now(copy, index), expected);
    }
}

#[test]
fn two_histories_under_one_key_are_a_conflict() {
    let key_pair = hypertab_core::crypto::KeyPair::from_seed(&[9; 32]);
    let write = |blocks: &[&[u8]], seed: u8| {
        let mut host = Host::new(seed);
        let store = host.store(MemoryStore::new());
        let core = OpenOptions { key_pair: Some(key_pair.clone()), ..OpenOptions::default() };
        let core = host.open(store, OpenCore { core, ..OpenCore::default() });
        host.append(core, blocks);
        (host, core)
    };
    let (first, first_core) = write(&[b"a", b"b", b"c"], 1);
    let (second, second_core) = write(&[b"a", b"x", b"c"], 2);
    let mut reader = Host::new(3);
    let store = reader.store(MemoryStore::new());
    let key = hypertab_core::hypercore::manifest::Manifest::single_signer(key_pair.public_key).key();
    let core = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let copy = reader.open(store, OpenCore { core, ..OpenCore::default() });

    let mut pair = Pair::new(first, reader, 1);
    let now = pair.a.now;
    pair.a.engine.attach(first_core, pair.link_a, now).unwrap();
    pair.b.engine.attach(copy, pair.link_b, now).unwrap();
    let request = pair.b.get(copy, 0);
    pair.run_until("first", |pair| pair.b.done.contains_key(&request));
    let mut pair = Pair::new(second, pair.b, 2);
    pair.a.engine.attach(second_core, pair.link_a, now).unwrap();
    pair.b.engine.attach(copy, pair.link_b, now).unwrap();
    pair.b.get(copy, 1);

    pair.run_until("conflict", |pair| {
        pair.b.events.iter().any(|event| matches!(event, Event::Conflict { length: 3, fork: 0, .. }))
    });

    assert!(
        pair.b.events.iter().any(|event| matches!(event, Event::VerificationError { block: Some(1), .. }))
    );
    pair.run_until("the other end", |pair| {
        pair.a.events.iter().any(|event| matches!(event, Event::Conflict { .. }))
    });
    assert!(!pair.a.engine.core(second_core).unwrap().is_writable());
}

#[test]
fn what_peers_had_is_known_after_a_restart() {
    let (mut pair, core, copy) = pair(40, 10, 5);
    let request = pair.b.get(copy, 3);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    pair.run_until("hint", |pair| pair.b.engine.core(copy).unwrap().remote_contiguous_length() == 40);
    pair.settle();
    let key = pair.a.engine.core(core).unwrap().key();

    let mut again = Host::new(3);
    let data = std::mem::take(&mut pair.b.disks.first_entry().unwrap().get_mut().data);
    let store = again.store(data);
    let options = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let copy = again.open(store, OpenCore { core: options, ..OpenCore::default() });

    let handle = again.engine.core(copy).unwrap();
    assert_eq!((handle.length(), handle.remote_contiguous_length()), (40, 40));
    assert_eq!(handle.contiguous_length(), 0);
}
