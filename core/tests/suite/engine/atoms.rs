//! Atoms over logs that change while they are open, and a host that is asked before a log grows.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::{MemoryStore, StoreId};

use crate::support::sim::{Host, Pair, block};

fn opened(host: &mut Host, (core, request): (CoreId, RequestId)) -> CoreId {
    assert_eq!(host.settled(request), Ok(Response::Opened));
    core
}

/// A log of two blocks, and an atom with a core over it.
fn log_with_atom() -> (Host, StoreId, CoreId, StoreId, CoreId) {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a", b"b"]);
    let atom = host.engine.create_atom(store);
    let opening = host.engine.open_atomic(core, atom);
    let twin = opened(&mut host, opening);
    (host, store, core, atom, twin)
}

fn flush(host: &mut Host, atom: StoreId) -> Result<Response, Error> {
    let request = host.engine.flush_atom(atom);
    host.settled(request)
}

fn contents(host: &mut Host, core: CoreId) -> Vec<Bytes> {
    let length = host.engine.core(core).unwrap().length();
    (0..length).map(|index| host.get_now(core, index).expect("every block is there")).collect()
}

#[test]
fn log_that_grew_gives_way_to_an_atom() {
    let (mut host, store, core, atom, twin) = log_with_atom();
    host.append(twin, &[b"x"]);
    host.append(core, &[b"c", b"d"]);
    host.events.clear();

    assert_eq!(flush(&mut host, atom), Ok(Response::Done));

    let [expected, after] = [&["a", "b", "x"][..], &["a", "b", "x", "y"]];
    assert_eq!(contents(&mut host, core), expected);
    assert_eq!(contents(&mut host, twin), expected);
    let events: Vec<Event> = host.events.drain(..).collect();
    let cut = |event: &Event| matches!(event, Event::CoreTruncate { core: of, ancestors: 2, fork: 1, .. } if *of == core);
    let grown = |event: &Event| matches!(event, Event::CoreAppend { core: of, .. } if *of == core);
    let cut = events.iter().position(cut).expect("what was written meanwhile is gone");
    assert!(events[cut..].iter().any(grown));

    // The atom goes on from there, as the same fork.
    host.append(twin, &[b"y"]);
    assert_eq!(flush(&mut host, atom), Ok(Response::Done));
    assert_eq!(host.engine.core(core).unwrap().fork(), 1);
    assert_eq!(contents(&mut host, core), after);

    // What is on the disk is that log, with a signature that a reader accepts, and nothing besides.
    let key = host.engine.core(core).unwrap().key();
    let mut reader = Host::new(2);
    let copies = reader.store(MemoryStore::new());
    let options = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let copy = reader.open(copies, OpenCore { core: options.clone(), ..OpenCore::default() });
    let mut again = Host::new(3);
    let disk = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(disk, OpenCore { core: options, ..OpenCore::default() });
    assert_eq!(contents(&mut again, core), after);
    assert_eq!(again.engine.core(core).unwrap().fork(), 1);
    let mut pair = Pair::new(again, reader, 1);
    pair.attach(core, copy);
    let now = pair.a.now;
    pair.b.engine.core(copy).unwrap().download(RangeWish { end: Some(4), ..RangeWish::default() }, now);
    pair.run_until("download", |pair| pair.b.engine.core(copy).unwrap().contiguous_length() == 4);
    assert_eq!(contents(&mut pair.b, copy), after);
}

#[test]
fn log_gives_way_to_an_atom_that_cut_it_as_well() {
    let (mut host, _, core, atom, twin) = log_with_atom();
    let request = host.engine.core(twin).unwrap().truncate(1, TruncateOptions::default());
    assert!(host.settled(request).is_ok());
    host.append(twin, &[b"x"]);
    host.append(core, &[b"c", b"d"]);

    assert_eq!(flush(&mut host, atom), Ok(Response::Done));

    assert_eq!(contents(&mut host, core), ["a", "x"]);
    assert_eq!(host.get_now(core, 3), None);
}

#[test]
fn atom_over_a_log_that_was_cut_meanwhile_is_refused_and_changes_nothing() {
    let (mut host, _, core, _, _) = log_with_atom();
    let branch = BranchOptions { name: "branch".into(), ..BranchOptions::default() };
    let opening = host.engine.open_branch(core, branch);
    let branch = opened(&mut host, opening);
    host.append(branch, &[b"c", b"d"]);
    let store = *host.disks.keys().next().unwrap();
    let atom = host.engine.create_atom(store);
    let opening = host.engine.open_atomic(branch, atom);
    let twin = opened(&mut host, opening);
    host.append(twin, &[b"x"]);

    // Of a branch nobody knows, so that it may keep its fork.
    let fork = host.engine.core(branch).unwrap().fork();
    let options = TruncateOptions { fork: Some(fork), ..TruncateOptions::default() };
    let request = host.engine.core(branch).unwrap().truncate(3, options);
    assert!(host.settled(request).is_ok());
    host.append(branch, &[b"e", b"f", b"g"]);

    let changed = Error::InvalidOperation("the log changed while the atom was open");
    assert_eq!(flush(&mut host, atom), Err(changed));
    assert_eq!(contents(&mut host, branch), ["a", "b", "c", "e", "f", "g"]);
}

/// A writer of ten blocks, and a reader that wants to be asked.
fn guarded() -> (Pair, CoreId, CoreId) {
    let blocks = (0..10).map(|index| block(index, 30)).collect();
    let (mut pair, core, copy) = Pair::of_log(blocks, 1);
    pair.b.engine.core(copy).unwrap().guard(true);
    pair.attach(core, copy);
    (pair, core, copy)
}

/// Waits until the reader is asked about a head; returns its length.
fn asked(pair: &mut Pair) -> u64 {
    let is_question = |event: &Event| matches!(event, Event::CoreGrowing { .. });
    pair.run_until("question", |pair| pair.b.events.iter().any(is_question));
    let at = pair.b.events.iter().position(is_question).unwrap();
    match pair.b.events.remove(at) {
        Some(Event::CoreGrowing { tree, .. }) => tree.length,
        other => panic!("{other:?}"),
    }
}

#[test]
fn log_grows_once_the_host_admits_it() {
    let (mut pair, core, copy) = guarded();
    let request = pair.b.get(copy, 3);

    assert_eq!(asked(&mut pair), 10);
    pair.settle();
    assert_eq!(pair.b.engine.core(copy).unwrap().length(), 0);
    assert!(!pair.b.done.contains_key(&request));

    pair.b.engine.core(copy).unwrap().admit(true);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    assert_eq!(pair.b.done.remove(&request), Some(Ok(Response::Block(Some(block(3, 30))))));
    assert_eq!(pair.b.engine.core(copy).unwrap().length(), 10);

    // Blocks of a head that it has are nobody's question, the next head is one.
    let request = pair.b.get(copy, 4);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    assert!(!pair.b.events.iter().any(|event| matches!(event, Event::CoreGrowing { .. })));
    pair.a.append(core, &[b"more"]);
    let request = pair.b.get(copy, 10);
    assert_eq!(asked(&mut pair), 11);
    pair.b.engine.core(copy).unwrap().admit(true);
    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
}

#[test]
fn log_does_not_grow_when_the_host_refuses_it() {
    let (mut pair, _, copy) = guarded();
    pair.b.get(copy, 3);

    assert_eq!(asked(&mut pair), 10);
    pair.b.engine.core(copy).unwrap().admit(false);
    pair.settle();

    assert_eq!(pair.b.engine.core(copy).unwrap().length(), 0);
    assert_eq!(pair.b.get_now(copy, 3), None);
    // An answer to a question that nobody asked is no answer to the next one.
    pair.b.engine.core(copy).unwrap().admit(true);
    pair.settle();
    assert_eq!(pair.b.engine.core(copy).unwrap().length(), 0);
}

#[test]
fn what_waits_for_an_answer_goes_on_when_nobody_is_asked_any_more() {
    let (mut pair, _, copy) = guarded();
    let request = pair.b.get(copy, 3);
    assert_eq!(asked(&mut pair), 10);
    pair.settle();

    pair.b.engine.core(copy).unwrap().guard(false);

    pair.run_until("get", |pair| pair.b.done.contains_key(&request));
    assert_eq!(pair.b.done.remove(&request), Some(Ok(Response::Block(Some(block(3, 30))))));
}
