//! Branches that start over while others have them open.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::{MemoryStore, StoreId};

use crate::support::sim::{Host, Random};

fn start_over(name: &str, checkout: Option<u64>) -> BranchOptions {
    BranchOptions { name: name.into(), overwrite: true, checkout, ..BranchOptions::default() }
}

fn branch(host: &mut Host, parent: CoreId, options: BranchOptions) -> CoreId {
    let (core, request) = host.engine.open_branch(parent, options);
    assert_eq!(host.settled(request), Ok(Response::Opened));
    core
}

fn named(name: &str) -> BranchOptions {
    BranchOptions { name: name.into(), ..BranchOptions::default() }
}

/// A log of three blocks, and a branch of it with one more.
fn log_with_branch() -> (Host, StoreId, CoreId, CoreId) {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let log = host.open(store, OpenCore::default());
    host.append(log, &[b"a", b"b", b"c"]);
    let old = branch(&mut host, log, named("x"));
    host.append(old, &[b"d"]);
    host.events.clear();
    (host, store, log, old)
}

fn contents(host: &mut Host, core: CoreId) -> Vec<Bytes> {
    let length = host.engine.core(core).unwrap().length();
    (0..length).map(|index| host.get_now(core, index).expect("every block is there")).collect()
}

/// What the branch is where the store is opened again.
fn stored(mut host: Host, store: StoreId, log: CoreId, name: &str) -> Vec<Bytes> {
    let key = host.engine.core(log).unwrap().key();
    let mut again = Host::new(2);
    let disk = again.store(host.disks.remove(&store).unwrap().data);
    let core = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let log = again.open(disk, OpenCore { core, ..OpenCore::default() });
    let found = branch(&mut again, log, named(name));
    contents(&mut again, found)
}

#[test]
fn branch_starts_over_for_all_who_have_it_open() {
    let (mut host, store, log, old) = log_with_branch();

    let new = branch(&mut host, log, start_over("x", None));

    assert_eq!(contents(&mut host, old), ["a", "b", "c"]);
    let cut = |event: &Event| matches!(event, Event::CoreTruncate { core, ancestors: 3, fork: 0, .. } if *core == old);
    assert!(host.events.iter().any(cut), "{:?}", host.events);
    host.append(old, &[b"e"]);
    host.append(new, &[b"f"]);
    assert_eq!(contents(&mut host, new), ["a", "b", "c", "e", "f"]);

    // One who leaves takes it from nobody.
    let closed = host.engine.close_core(old, host.now);
    host.settled(closed).unwrap();
    host.append(new, &[b"g"]);
    let committed = host.engine.commit(log, new, CommitOptions::default());
    assert_eq!(host.settled(committed), Ok(Response::Committed(Some((6, 6)))));
    assert_eq!(stored(host, store, log, "x"), ["a", "b", "c", "e", "f", "g"]);
}

#[test]
fn branch_that_is_as_its_log_is_starts_over_unnoticed() {
    let (mut host, _, log, _) = log_with_branch();
    let old = branch(&mut host, log, named("y"));
    let atom = host.engine.create_atom(*host.disks.keys().next().unwrap());
    let (twin, opened) = host.engine.open_atomic(old, atom);
    host.settled(opened).unwrap();
    host.append(twin, &[b"w"]);
    host.events.clear();

    branch(&mut host, log, start_over("y", None));

    assert!(host.events.is_empty(), "{:?}", host.events);
    let flushed = host.engine.flush_atom(atom);
    assert_eq!(host.settled(flushed), Ok(Response::Done));
    assert_eq!(contents(&mut host, old), ["a", "b", "c", "w"]);
}

#[test]
fn snapshot_shows_what_was_in_a_branch_before_it_started_over() {
    let (mut host, _, log, old) = log_with_branch();
    let snapshot = host.engine.core(old).unwrap().snapshot();

    let new = branch(&mut host, log, start_over("x", Some(1)));
    host.append(new, &[b"e", b"f", b"g"]);

    for (index, block) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let options = GetOptions { wait: false, snapshot: Some(snapshot), ..GetOptions::default() };
        let now = host.now;
        let read = host.engine.core(old).unwrap().get(index as u64, options, now);
        assert_eq!(host.settled(read), Ok(Response::Block(Some(block.into()))), "block {index}");
    }
}

/// Whatever the disk does first: who opens a branch that starts over has what it asked for, and nothing that was written to it
/// afterwards is gone.
#[test]
fn branch_that_two_let_start_over_at_once_is_first_that_of_one_and_then_of_the_other() {
    for seed in 1..200 {
        for is_open in [false, true] {
            let (mut host, store, log, old) = log_with_branch();
            let mut random = Random(seed);
            let name = if is_open { "x" } else { "fresh" };
            let asked = [Some(2), Some(1)].map(|checkout| {
                let opening = host.engine.open_branch(log, start_over(name, checkout));
                for _ in 0..random.below(6) {
                    host.drain();
                    host.step_disk(&mut random);
                }
                opening
            });
            let mut found = Vec::new();
            while found.len() < 2 {
                host.drain();
                for (core, request) in asked {
                    let Some(result) = host.done.remove(&request) else { continue };
                    assert_eq!(result, Ok(Response::Opened), "seed {seed}");
                    found.push((request, host.engine.core(core).unwrap().length()));
                }
                host.step_disk(&mut random);
            }
            assert_eq!(asked[0].0, asked[1].0, "seed {seed}: they share it");
            assert_eq!(found[1], (asked[1].1, 1), "seed {seed}: each in its turn");
            host.append(asked[0].0, &[b"e"]);
            host.append(asked[1].0, &[b"f"]);
            if is_open {
                assert_eq!(contents(&mut host, old), ["a", "e", "f"], "seed {seed}");
            }
            assert_eq!(stored(host, store, log, name), ["a", "e", "f"], "seed {seed}");
        }
    }
}

#[test]
fn branch_is_found_by_its_name_from_every_branch_of_its_log() {
    let (mut host, store, log, old) = log_with_branch();
    let other = branch(&mut host, log, named("y"));
    host.append(other, &[b"u", b"v"]);

    assert_eq!(branch(&mut host, other, named("x")), old);
    assert_eq!(branch(&mut host, old, named("x")), old);
    assert_eq!(branch(&mut host, other, start_over("x", Some(4))), old);

    assert_eq!(contents(&mut host, old), ["a", "b", "c", "u"]);
    host.append(old, &[b"e"]);
    assert_eq!(stored(host, store, log, "x"), ["a", "b", "c", "u", "e"]);
}

#[test]
fn branch_that_would_start_over_from_itself_stays_as_it_is() {
    let (mut host, store, log, old) = log_with_branch();
    let above = branch(&mut host, old, named("above"));
    host.append(above, &[b"e"]);
    let refused = Err(Error::InvalidOperation("a branch cannot start over from itself"));

    for parent in [old, above] {
        let (core, request) = host.engine.open_branch(parent, start_over("x", None));
        assert_eq!(host.settled(request), refused);
        let closed = host.engine.close_core(core, host.now);
        host.settled(closed).unwrap();
        assert_eq!(contents(&mut host, old), ["a", "b", "c", "d"]);
    }
    let closed = host.engine.close_core(old, host.now);
    host.settled(closed).unwrap();
    let (_, request) = host.engine.open_branch(above, start_over("x", None));
    assert_eq!(host.settled(request), refused);

    assert_eq!(contents(&mut host, above), ["a", "b", "c", "d", "e"]);
    assert_eq!(stored(host, store, log, "x"), ["a", "b", "c", "d"]);
}

#[test]
fn checkout_beyond_the_log_is_refused() {
    let (mut host, _, log, old) = log_with_branch();

    for name in ["x", "fresh"] {
        let (core, request) = host.engine.open_branch(log, start_over(name, Some(4)));
        assert!(matches!(host.settled(request), Err(Error::InvalidOperation(_))), "{name}");
        let closed = host.engine.close_core(core, host.now);
        host.settled(closed).unwrap();
    }

    assert_eq!(contents(&mut host, old), ["a", "b", "c", "d"]);
}
