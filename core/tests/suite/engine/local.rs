//! One engine and its disk: what is written reads back, also after the process is gone.

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::*;
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hypercore::proof::Proof;
use hypertab_core::storage::{Intent, MemoryStore};

use crate::support::sim::{Host, Random, block};

#[test]
fn appended_blocks_read_back_before_and_after_a_restart() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    assert_eq!(host.append(core, &[b"a", b"bb", b"ccc"]), 3);
    assert_eq!(host.append(core, &[b"dddd"]), 4);
    assert_eq!(host.get_now(core, 2).unwrap(), "ccc");
    assert_eq!(host.get_now(core, 4), None);
    let hash = host.tree_hash(core);
    let key = host.engine.core(core).unwrap().key();

    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());

    let handle = again.engine.core(core).unwrap();
    assert_eq!((handle.key(), handle.length(), handle.byte_length()), (key, 4, 10));
    assert_eq!(handle.contiguous_length(), 4);
    assert!(handle.is_writable() && handle.has(0, 4) && !handle.has(3, 5));
    assert_eq!(again.tree_hash(core), hash);
    assert_eq!(again.get_now(core, 3).unwrap(), "dddd");
    assert_eq!(again.append(core, &[b"e"]), 5);
}

#[test]
fn appends_of_one_drain_share_a_commit() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let before = host.commits;

    let requests: Vec<RequestId> = (0..1000)
        .map(|index| {
            let mut handle = host.engine.core(core).unwrap();
            handle.append(vec![block(index, 100)], AppendOptions::default())
        })
        .collect();
    host.settle();

    assert_eq!(host.commits - before, 1);
    for (index, request) in requests.iter().enumerate() {
        let appended = host.done.remove(request).unwrap().unwrap();
        let byte_length = 100 * (index as u64 + 1);
        assert_eq!(appended, Response::Appended { length: index as u64 + 1, byte_length });
    }
    assert_eq!(host.engine.core(core).unwrap().length(), 1000);
    let heads = host.events.iter().filter_map(|event| match event {
        Event::CoreAppend { head, .. } => Some((head.length, head.byte_length, head.fork)),
        _ => None,
    });
    assert!(heads.eq((1..=1000).map(|length| (length, 100 * length, 0))), "each says what it came to");
}

#[test]
fn nothing_is_shown_before_it_is_durable() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());

    let blocks = vec![Bytes::from_static(b"x")];
    let request = host.engine.core(core).unwrap().append(blocks, AppendOptions::default());
    host.drain();

    assert!(!host.done.contains_key(&request));
    assert_eq!(host.engine.core(core).unwrap().length(), 0);
    assert!(!host.engine.core(core).unwrap().has(0, 1));
    assert!(matches!(host.disks[&store].waiting.front(), Some(Intent::Commit { .. })));
    host.settle();
    assert_eq!(host.engine.core(core).unwrap().length(), 1);
}

#[test]
fn truncated_log_grows_again_on_a_higher_fork() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let mut model: Vec<Bytes> = Vec::new();
    let mut random = Random(99);

    for round in 0..40 {
        let count = random.below(9);
        let blocks: Vec<Bytes> = (0..count).map(|at| block(round * 1000 + at, 10 + at as usize)).collect();
        model.extend(blocks.iter().cloned());
        host.engine.core(core).unwrap().append(blocks, AppendOptions::default());
        if random.below(2) == 0 {
            let length = random.below(model.len() as u64 + 1);
            model.truncate(length as usize);
            host.engine.core(core).unwrap().truncate(length, TruncateOptions::default());
        }
        if random.below(3) == 0 {
            host.settle();
        }
    }
    host.settle();

    assert!(host.done.values().all(Result::is_ok), "{:?}", host.done);
    let check = |host: &mut Host, core| {
        assert_eq!(host.engine.core(core).unwrap().length(), model.len() as u64);
        for (index, block) in model.iter().enumerate() {
            assert_eq!(host.get_now(core, index as u64).as_ref(), Some(block), "{index}");
        }
        assert_eq!(host.get_now(core, model.len() as u64), None);
        host.tree_hash(core)
    };
    let hash = check(&mut host, core);
    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    assert_eq!(check(&mut again, core), hash);

    let mut fresh = Host::new(3);
    let store = fresh.store(MemoryStore::new());
    let copy = fresh.open(store, OpenCore::default());
    let blocks: Vec<&[u8]> = model.iter().map(Bytes::as_ref).collect();
    fresh.append(copy, &blocks);
    assert_eq!(fresh.tree_hash(copy), hash);
}

#[test]
fn encrypted_blocks_read_back_only_with_the_key() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let key = EncryptionKey { key: [5; 32].into(), is_block_key: false };

    let options = AppendOptions { encryption: Some(key.clone()), ..AppendOptions::default() };
    host.engine.core(core).unwrap().append(vec![Bytes::from_static(b"secret")], options);
    host.settle();

    assert_eq!(host.engine.core(core).unwrap().byte_length(), 14);
    let now = host.now;
    let options = GetOptions { encryption: Some(key), ..GetOptions::default() };
    let request = host.engine.core(core).unwrap().get(0, options, now);
    assert_eq!(host.settled(request), Ok(Response::Block(Some("secret".into()))));
    assert_ne!(host.get_now(core, 0).unwrap().slice(8..), "secret");
}

#[test]
fn a_manifest_that_no_core_may_have_changes_nothing() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let manifest = Manifest { quorum: 2, ..Manifest::single_signer([7; 32]) };
    let core = OpenOptions { manifest: Some(manifest.clone()), ..OpenOptions::default() };
    let (_, open) = host.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, host.now);
    assert!(host.settled(open).is_err());
    let core = OpenOptions { key: Some(manifest.key()), create_if_missing: false, ..OpenOptions::default() };
    let (_, open) = host.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, host.now);
    assert_eq!(host.settled(open).map_err(|error| error.code()), Err("STORAGE_EMPTY"));

    let core = OpenOptions { key: Some(manifest.key()), ..OpenOptions::default() };
    let core = host.open(store, OpenCore { core, ..OpenCore::default() });

    let set = host.engine.core(core).unwrap().set_manifest(manifest.clone());
    assert!(host.settled(set).is_err());
    assert_eq!(host.engine.core(core).unwrap().manifest(), None);
    let proof = Proof { manifest: Some(manifest), ..Proof::default() };
    let apply = host.engine.core(core).unwrap().apply_proof(proof);
    assert!(host.settled(apply).is_err());
    assert_eq!(host.engine.core(core).unwrap().manifest(), None);
}

#[test]
fn many_cores_share_a_store_and_keep_apart() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let cores: Vec<CoreId> = (0..20)
        .map(|index| {
            let pair = KeyPair::from_seed(&[index; 32]);
            let key = Manifest::single_signer(pair.public_key).key();
            let core = OpenOptions { key: Some(key), key_pair: Some(pair), ..OpenOptions::default() };
            let manifest = Some(Manifest::single_signer(core.key_pair.as_ref().unwrap().public_key));
            host.open(store, OpenCore { core: OpenOptions { manifest, ..core }, ..OpenCore::default() })
        })
        .collect();
    for (index, core) in cores.iter().enumerate() {
        for at in 0..=index {
            host.append(*core, &[&block(at as u64, index + 8)]);
        }
    }
    for (index, core) in cores.iter().enumerate() {
        assert_eq!(host.engine.core(*core).unwrap().length(), index as u64 + 1);
        assert_eq!(host.get_now(*core, index as u64), Some(block(index as u64, index + 8)));
    }

    let key = host.engine.core(cores[7]).unwrap().key();
    let close = host.engine.close_core(cores[7], host.now);
    assert_eq!(host.settled(close), Ok(Response::Done));
    assert!(host.engine.core(cores[7]).is_err());
    let core = OpenOptions { key: Some(key), create_if_missing: false, ..OpenOptions::default() };
    let core = host.open(store, OpenCore { core, ..OpenCore::default() });
    assert_eq!(host.get_now(core, 7), Some(block(7, 15)));
}

#[test]
fn opening_fails_with_upstreams_codes() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let code = |host: &mut Host, core: OpenOptions| {
        let (_, request) = host.engine.open_core(store, OpenCore { core, ..OpenCore::default() }, host.now);
        host.settled(request).map_err(|error| error.code())
    };

    let missing = OpenOptions { create_if_missing: false, ..OpenOptions::default() };
    assert_eq!(code(&mut host, missing), Err("STORAGE_EMPTY"));
    let missing = OpenOptions { discovery_key: Some([1; 32]), ..OpenOptions::default() };
    assert_eq!(code(&mut host, missing), Err("STORAGE_EMPTY"));
    host.open(store, OpenCore::default());
    let other = Manifest::single_signer([9; 32]);
    let conflict = OpenOptions { manifest: Some(other), ..OpenOptions::default() };
    assert_eq!(code(&mut host, conflict), Err("STORAGE_CONFLICT"));
    let compat = OpenOptions {
        key: Some([3; 32]),
        key_pair: Some(KeyPair::from_seed(&[1; 32])),
        is_compat: true,
        ..OpenOptions::default()
    };
    assert_eq!(code(&mut host, compat), Err("BAD_ARGUMENT"));
}

#[test]
fn cleared_blocks_are_gone_and_the_rest_stays() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let blocks: Vec<Bytes> = (0..100).map(|index| block(index, 20)).collect();
    let blocks: Vec<&[u8]> = blocks.iter().map(Bytes::as_ref).collect();
    host.append(core, &blocks);
    let hash = host.tree_hash(core);

    let request = host.engine.core(core).unwrap().clear(10, 20);
    assert_eq!(host.settled(request), Ok(Response::Done));

    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    let handle = again.engine.core(core).unwrap();
    assert!(handle.has(0, 10) && handle.has(20, 100) && !handle.has(10, 11) && !handle.has(19, 20));
    assert_eq!((handle.length(), handle.contiguous_length()), (100, 10));
    assert_eq!(again.get_now(core, 15), None);
    assert_eq!(again.get_now(core, 20), Some(block(20, 20)));
    assert_eq!(again.tree_hash(core), hash);
}

#[test]
fn block_is_not_found_while_it_is_being_dropped() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a", b"b"]);
    let now = host.now;

    host.engine.core(core).unwrap().clear(0, 1);
    let gone = host.get(core, 0);
    let options = GetOptions { wait: false, ..GetOptions::default() };
    let gone_now = host.engine.core(core).unwrap().get(0, options, now);
    let kept = host.get(core, 1);
    host.settle();

    assert!(!host.done.contains_key(&gone));
    assert_eq!(host.done.remove(&gone_now), Some(Ok(Response::Block(None))));
    assert_eq!(host.done.remove(&kept), Some(Ok(Response::Block(Some("b".into())))));
}

#[test]
fn snapshot_keeps_its_length_and_what_was_cut() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a", b"b", b"c"]);
    let snapshot = host.engine.core(core).unwrap().snapshot();
    host.engine.core(core).unwrap().truncate(1, TruncateOptions::default());
    host.append(core, &[b"d", b"e"]);

    let view = host.engine.core(core).unwrap().snapshot_at(snapshot).unwrap();
    assert_eq!((view.length, view.fork, view.compat_length), (3, 0, 1));
    let now = host.now;
    let options = GetOptions { snapshot: Some(snapshot), ..GetOptions::default() };
    let kept = host.engine.core(core).unwrap().get(0, options.clone(), now);
    let cut = host.engine.core(core).unwrap().get(1, options, now);
    assert_eq!(host.settled(kept), Ok(Response::Block(Some("a".into()))));
    assert_eq!(host.settled(cut), Ok(Response::Block(Some("b".into()))));
    let options = GetOptions { snapshot: Some(snapshot), ..GetOptions::default() };
    let beyond = host.engine.core(core).unwrap().get(3, options, now);
    assert_eq!(host.settled(beyond).unwrap_err().code(), "SNAPSHOT_NOT_AVAILABLE");
}

#[test]
fn a_recorded_write_and_its_record_are_stored_by_the_same_commit() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let block = |text: &'static str| vec![Bytes::from(text)];
    let read = |host: &mut Host, name: &str| {
        let request = host.engine.core(core).unwrap().user_data(name.into());
        host.settled(request)
    };

    let mut handle = host.engine.core(core).unwrap();
    let first = handle.recorded_as("one".into()).append(block("a"), AppendOptions::default());
    let second = handle.recorded_as("two".into()).append(block("bb"), AppendOptions::default());
    let other = handle.append(block("c"), AppendOptions::default());
    assert!(host.settled(first).is_ok() && host.settled(second).is_ok() && host.settled(other).is_ok());
    let record = [2_u64.to_le_bytes(), 3_u64.to_le_bytes()].concat();
    assert_eq!(read(&mut host, "two"), Ok(Response::UserData(Some(record.into()))));
    assert!(matches!(read(&mut host, "one"), Ok(Response::UserData(Some(_)))));

    let refused = AppendOptions { max_length: Some(3), ..AppendOptions::default() };
    let refused = host.engine.core(core).unwrap().recorded_as("three".into()).append(block("d"), refused);
    assert!(host.settled(refused).is_ok());
    assert_eq!(read(&mut host, "three"), Ok(Response::UserData(None)));

    let options = TruncateOptions::default();
    let cut = host.engine.core(core).unwrap().recorded_as("four".into()).truncate(1, options);
    assert_eq!(host.settled(cut), Ok(Response::Done));
    assert_eq!(read(&mut host, "four"), Ok(Response::UserData(Some(Bytes::new()))));

    let options = BranchOptions { name: "branch".into(), ..BranchOptions::default() };
    let (branch, opened) = host.engine.open_branch(core, options);
    host.settled(opened).unwrap();
    host.append(branch, &[b"ee", b"f"]);
    let options =
        CommitOptions { length: Some(2), operation: Some("five".into()), ..CommitOptions::default() };
    let part = host.engine.commit(core, branch, options.clone());
    assert_eq!(host.settled(part), Ok(Response::Committed(Some((2, 3)))));
    let record = [2_u64.to_le_bytes(), 3_u64.to_le_bytes()].concat();
    assert_eq!(read(&mut host, "five"), Ok(Response::UserData(Some(record.into()))));
    host.append(core, &[b"a history of its own"]);
    let no_fit = CommitOptions { operation: Some("six".into()), ..options };
    let no_fit = host.engine.commit(core, branch, no_fit);
    assert_eq!(host.settled(no_fit), Ok(Response::Committed(None)));
    assert_eq!(read(&mut host, "six"), Ok(Response::UserData(None)));
}

#[test]
fn what_no_store_takes_is_refused_and_the_store_goes_on() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let large = Bytes::from(vec![0; MAX_BLOCK_SIZE + 1]);

    for (name, value) in [("name".into(), large), ("n".repeat(40_000), "value".into())] {
        let put = host.engine.core(core).unwrap().set_user_data(name, Some(value));
        assert_eq!(host.settled(put).map_err(|error| error.code()), Err("BAD_ARGUMENT"));
    }

    assert_eq!(host.append(core, &[b"a"]), 1);
}

#[test]
fn user_data_seeks_and_timeouts_work() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"aaa", b"bb", b"cccc"]);
    let now = host.now;

    let put = host.engine.core(core).unwrap().set_user_data("name".into(), Some("value".into()));
    let read = host.engine.core(core).unwrap().user_data("name".into());
    let missing = host.engine.core(core).unwrap().user_data("other".into());
    assert_eq!(host.settled(put), Ok(Response::Done));
    assert_eq!(host.settled(missing), Ok(Response::UserData(None)));
    let _ = read;
    let read = host.engine.core(core).unwrap().user_data("name".into());
    assert_eq!(host.settled(read), Ok(Response::UserData(Some("value".into()))));

    for (bytes, found) in
        [(0, Some((0, 0))), (3, Some((1, 0))), (4, Some((1, 1))), (9, Some((3, 0))), (10, None)]
    {
        let options = SeekOptions { wait: false, ..SeekOptions::default() };
        let request = host.engine.core(core).unwrap().seek(bytes, options, now);
        assert_eq!(host.settled(request), Ok(Response::Seek(found)), "{bytes}");
    }

    let timeout = Some(hypertab_core::time::Duration::from_secs(1));
    let options = GetOptions { timeout, ..GetOptions::default() };
    let request = host.engine.core(core).unwrap().get(9, options, now);
    host.settle();
    assert!(!host.done.contains_key(&request));
    host.now = host.wake_at.unwrap();
    host.engine.handle_input(Input::Timeout, host.now);
    assert_eq!(host.settled(request).unwrap_err().code(), "REQUEST_TIMEOUT");

    let request = host.get(core, 9);
    host.engine.cancel(request, host.now);
    assert_eq!(host.settled(request).unwrap_err().code(), "REQUEST_CANCELLED");
}

/// Runs a script of writes and crashes after `outcomes` storage outcomes; the commit in flight is lost, or stored
/// without an answer. Whatever was answered must be there afterwards.
#[test]
fn what_was_answered_survives_a_crash_at_every_outcome() {
    for is_stored in [false, true] {
        for outcomes in 0.. {
            let mut host = Host::new(1);
            let store = host.store(MemoryStore::new());
            let (core, open) = host.engine.open_core(store, OpenCore::default(), host.now);
            let mut random = Random(3);
            let mut steps = 0;
            let mut script = Script::default();
            let mut is_over = false;
            while steps < outcomes {
                host.drain();
                if host.done.contains_key(&open) && !script.is_started {
                    script.start(&mut host, core);
                    host.drain();
                }
                script.note(&mut host);
                if !host.step_disk(&mut random) {
                    is_over = true;
                    break;
                }
                steps += 1;
            }
            host.drain();
            script.note(&mut host);
            let was_open = host.done.contains_key(&open);
            let disk = host.disks.remove(&store).unwrap();
            let mut data = disk.data;
            if is_stored {
                for intent in disk.waiting {
                    if let Intent::Commit { batch, .. } = intent {
                        data.apply(batch);
                    }
                }
            }

            let mut again = Host::new(2);
            let store = again.store(data);
            let options = OpenOptions { create_if_missing: false, ..OpenOptions::default() };
            let options = OpenCore { core: options, ..OpenCore::default() };
            let (core, request) = again.engine.open_core(store, options, again.now);
            let result = again.settled(request);
            if !was_open && result == Err(Error::StorageEmpty) {
                continue;
            }
            assert_eq!(result, Ok(Response::Opened), "outcome {outcomes}");
            script.check(&mut again, core, outcomes);
            if is_over {
                break;
            }
        }
    }
}

#[derive(Default)]
struct Script {
    is_started: bool,
    requests: Vec<RequestId>,
    /// The log after each request.
    states: Vec<Vec<Bytes>>,
    answered: usize,
}

impl Script {
    fn start(&mut self, host: &mut Host, core: CoreId) {
        self.is_started = true;
        let mut log: Vec<Bytes> = Vec::new();
        for round in 0..12u64 {
            let mut handle = host.engine.core(core).unwrap();
            let request = if round % 4 == 3 {
                let length = log.len() as u64 / 2;
                log.truncate(length as usize);
                handle.truncate(length, TruncateOptions::default())
            } else {
                let blocks: Vec<Bytes> = (0..3).map(|at| block(round * 10 + at, 30)).collect();
                log.extend(blocks.iter().cloned());
                handle.append(blocks, AppendOptions::default())
            };
            self.requests.push(request);
            self.states.push(log.clone());
        }
    }

    fn note(&mut self, host: &mut Host) {
        while let Some(request) = self.requests.get(self.answered)
            && let Some(result) = host.done.get(request)
        {
            assert!(result.is_ok(), "{result:?}");
            self.answered += 1;
        }
    }

    fn check(&self, host: &mut Host, core: CoreId, outcomes: u64) {
        let length = host.engine.core(core).unwrap().length();
        let log: Vec<Bytes> = (0..length).map(|index| host.get_now(core, index).unwrap()).collect();
        let possible = &self.states[self.answered.saturating_sub(1).min(self.states.len())..];
        let is_known = possible.contains(&log) || (self.answered == 0 && log.is_empty());
        assert!(is_known, "outcome {outcomes}: {} answered, log of {length}", self.answered);
        host.append(core, &[b"and it goes on"]);
    }
}

#[test]
fn failed_commit_fails_everything_that_waits() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let request = host.engine.core(core).unwrap().append(vec!["x".into()], AppendOptions::default());
    host.drain();
    let Some(Intent::Commit { id, .. }) = host.disks.get_mut(&store).unwrap().waiting.pop_front() else {
        panic!()
    };
    let failure = hypertab_core::storage::StorageFailure::Full;

    let outcome = hypertab_core::storage::Outcome::CommitFailed { id, failure };
    host.engine.handle_input(Input::Storage { store, outcome }, host.now);
    host.drain();

    assert_eq!(host.done.remove(&request), Some(Err(Error::Storage(failure))));
    assert!(host.events.iter().any(|event| matches!(event, Event::StoreFailed { .. })));
    let request = host.engine.core(core).unwrap().append(vec!["y".into()], AppendOptions::default());
    assert!(host.settled(request).is_err());
    assert_eq!(host.engine.core(core).unwrap().length(), 0);
}
