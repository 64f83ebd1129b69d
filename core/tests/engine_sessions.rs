//! Branches, commits of branches, and atoms.

mod sim;

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::storage::{MemoryStore, StoreId};
use sim::{Host, Random};

#[test]
fn branch_shares_what_lies_below_it_and_is_found_again_by_its_name() {
    let (mut host, store, core) = log(&["a", "b", "c"]);
    let branch = open_branch(&mut host, core, "draft", false);
    host.append(branch, &[b"d", b"e"]);
    host.append(core, &[b"other"]);

    assert_eq!(contents(&mut host, branch), ["a", "b", "c", "d", "e"]);
    assert_eq!(contents(&mut host, core), ["a", "b", "c", "other"]);
    let handle = host.engine.core(branch).unwrap();
    assert!(handle.is_branch() && handle.is_writable() && handle.signature().is_none());
    assert_eq!((handle.shared_length(), handle.length()), (3, 5));
    let hash = host.tree_hash(branch);

    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    let branch = open_branch(&mut again, core, "draft", false);
    assert_eq!(contents(&mut again, branch), ["a", "b", "c", "d", "e"]);
    assert_eq!(again.tree_hash(branch), hash);
    let nested = open_branch(&mut again, branch, "nested", false);
    again.append(nested, &[b"f"]);
    assert_eq!(contents(&mut again, nested), ["a", "b", "c", "d", "e", "f"]);

    let over = open_branch(&mut again, core, "draft", true);
    assert_ne!(over, branch);
    assert_eq!(contents(&mut again, over), ["a", "b", "c", "other"]);
}

#[test]
fn sessions_of_one_name_share_a_branch_until_the_last_one_closes() {
    let (mut host, _, core) = log(&["a"]);
    let branch = open_branch(&mut host, core, "draft", false);
    assert_eq!(open_branch(&mut host, core, "draft", false), branch);

    let close = host.engine.close_core(branch, host.now);
    assert_eq!(host.settled(close), Ok(Response::Done));
    assert_eq!(host.append(branch, &[b"b"]), 2);
    let close = host.engine.close_core(branch, host.now);
    assert_eq!(host.settled(close), Ok(Response::Done));
    assert!(host.engine.core(branch).is_err());
    let branch = open_branch(&mut host, core, "draft", false);
    assert_eq!(contents(&mut host, branch), ["a", "b"]);
}

#[test]
fn truncated_branch_shares_less_and_grows_its_own_way() {
    let (mut host, store, core) = log(&["a", "b", "c", "d", "e"]);
    let branch = open_branch(&mut host, core, "draft", false);
    host.append(branch, &[b"x", b"y"]);
    let cut = host.engine.core(branch).unwrap().truncate(3, TruncateOptions::default());
    assert_eq!(host.settled(cut), Ok(Response::Done));
    host.append(branch, &[b"z"]);

    assert_eq!(contents(&mut host, branch), ["a", "b", "c", "z"]);
    assert_eq!(contents(&mut host, core), ["a", "b", "c", "d", "e"]);
    assert_eq!(host.engine.core(branch).unwrap().fork(), 1);
    let has = host.engine.core(branch).unwrap().has_stored(0, 4);
    assert_eq!(host.settled(has), Ok(Response::Has(true)));
    let has = host.engine.core(branch).unwrap().has_stored(0, 5);
    assert_eq!(host.settled(has), Ok(Response::Has(false)));
    let hash = host.tree_hash(branch);

    let (mut fresh, _, plain) = log(&["a", "b", "c", "z"]);
    assert_eq!(fresh.tree_hash(plain), hash);
    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    let branch = open_branch(&mut again, core, "draft", false);
    assert_eq!(contents(&mut again, branch), ["a", "b", "c", "z"]);
}

#[test]
fn committed_branch_is_signed_into_the_log() {
    let (mut host, store, core) = log(&["a", "b"]);
    let branch = open_branch(&mut host, core, "draft", false);
    host.append(branch, &[b"c", b"d", b"e"]);

    let options = CommitOptions { length: Some(4), ..CommitOptions::default() };
    assert_eq!(commit(&mut host, core, branch, options), Ok(Some((4, 4))));
    assert_eq!(contents(&mut host, core), ["a", "b", "c", "d"]);
    assert_eq!(commit(&mut host, core, branch, CommitOptions::default()), Ok(Some((5, 5))));
    host.append(branch, &[b"f"]);
    assert_eq!(commit(&mut host, core, branch, CommitOptions::default()), Ok(Some((6, 6))));

    let handle = host.engine.core(core).unwrap();
    assert_eq!((handle.length(), handle.contiguous_length(), handle.fork()), (6, 6, 0));
    assert!(handle.signature().is_some() && handle.has(0, 6));
    assert_eq!(host.engine.core(branch).unwrap().shared_length(), 6);
    assert_eq!(contents(&mut host, branch), ["a", "b", "c", "d", "e", "f"]);
    let hash = host.tree_hash(core);
    let (mut fresh, _, plain) = log(&["a", "b", "c", "d", "e", "f"]);
    assert_eq!(fresh.tree_hash(plain), hash);

    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    let branch = open_branch(&mut again, core, "draft", false);
    assert_eq!(contents(&mut again, core), contents(&mut again, branch));
}

#[test]
fn branch_that_does_not_continue_the_log_is_refused() {
    let (mut host, _, core) = log(&["a", "b"]);
    let branch = open_branch(&mut host, core, "draft", false);
    host.append(branch, &[b"c"]);
    host.append(core, &[b"other"]);

    assert_eq!(commit(&mut host, core, branch, CommitOptions::default()), Ok(None));
    host.append(core, &[b"longer"]);
    assert_eq!(commit(&mut host, core, branch, CommitOptions::default()), Ok(None));
    assert_eq!(contents(&mut host, core), ["a", "b", "other", "longer"]);
    assert_eq!(contents(&mut host, branch), ["a", "b", "c"]);
    host.append(core, &[b"goes on"]);
    host.append(branch, &[b"goes on"]);
    assert_eq!(
        commit(&mut host, core, core, CommitOptions::default()).unwrap_err().code(),
        "INVALID_OPERATION"
    );
    let bad = CommitOptions { signature: Some(Bytes::from_static(&[1; 68])), ..CommitOptions::default() };
    let next = open_branch(&mut host, core, "next", false);
    host.append(next, &[b"x"]);
    assert_eq!(commit(&mut host, core, next, bad).unwrap_err().code(), "INVALID_SIGNATURE");
    assert_eq!(commit(&mut host, core, next, CommitOptions::default()), Ok(Some((6, 21))));
}

#[test]
fn branch_of_a_history_that_is_gone_is_refused() {
    let (mut host, _, core) = log(&["a", "b"]);
    let branch = open_branch(&mut host, core, "draft", false);
    host.append(branch, &[b"c", b"d"]);
    let cut = host.engine.core(core).unwrap().truncate(1, TruncateOptions::default());
    assert_eq!(host.settled(cut), Ok(Response::Done));
    host.append(core, &[b"B"]);

    assert_eq!(commit(&mut host, core, branch, CommitOptions::default()), Ok(None));
    assert_eq!(contents(&mut host, core), ["a", "B"]);
}

#[test]
fn atom_shows_its_writes_to_itself_and_flushes_them_together() {
    let (mut host, store, first) = log(&["a"]);
    let second = second_core(&mut host, store);
    let draft = open_branch(&mut host, first, "draft", false);
    let atom = host.engine.create_atom(store);
    let twins = [first, second, draft].map(|core| open_atomic(&mut host, core, atom));
    let before = host.commits;

    host.append(twins[0], &[b"b", b"c"]);
    host.append(twins[1], &[b"x"]);
    host.append(twins[2], &[b"d"]);
    let cut = host.engine.core(twins[0]).unwrap().truncate(2, TruncateOptions::default());
    assert_eq!(host.settled(cut), Ok(Response::Done));

    assert_eq!(host.commits, before);
    assert_eq!(contents(&mut host, twins[0]), ["a", "b"]);
    assert_eq!(contents(&mut host, first), ["a"]);
    assert_eq!(host.engine.core(second).unwrap().length(), 0);

    host.events.clear();
    let flush = host.engine.flush_atom(atom);
    assert_eq!(host.settled(flush), Ok(Response::Done));
    assert_eq!(host.commits, before + 1);
    assert_eq!(contents(&mut host, first), ["a", "b"]);
    assert_eq!(contents(&mut host, second), ["x"]);
    assert_eq!(contents(&mut host, draft), ["a", "d"]);
    let grown: Vec<CoreId> = host
        .events
        .iter()
        .filter_map(|event| match event {
            Event::CoreAppend { core } => Some(*core),
            _ => None,
        })
        .collect();
    assert_eq!(grown.len(), 3, "{grown:?}");

    host.append(twins[1], &[b"y"]);
    let flush = host.engine.flush_atom(atom);
    assert_eq!(host.settled(flush), Ok(Response::Done));
    assert_eq!(contents(&mut host, second), ["x", "y"]);
    host.append(second, &[b"z"]);
    assert_eq!(contents(&mut host, second), ["x", "y", "z"]);
}

#[test]
fn atom_is_refused_when_the_log_went_another_way() {
    let (mut host, store, core) = log(&["a"]);
    let atom = host.engine.create_atom(store);
    let twin = open_atomic(&mut host, core, atom);
    host.append(twin, &[b"b"]);
    host.append(core, &[b"c"]);

    let flush = host.engine.flush_atom(atom);

    assert_eq!(host.settled(flush).unwrap_err().code(), "INVALID_OPERATION");
    assert_eq!(contents(&mut host, core), ["a", "c"]);
    assert_eq!(host.append(core, &[b"d"]), 3);
}

#[test]
fn prologue_is_copied_from_a_log_that_has_it() {
    let (mut host, store, source) = log(&["a", "b", "c", "d"]);
    let now = host.now;
    let request = host.engine.core(source).unwrap().tree_hash(3, now);
    let Ok(Response::TreeHash(hash)) = host.settled(request) else { panic!("no hash") };
    let clear = host.engine.core(source).unwrap().clear(1, 2);
    assert_eq!(host.settled(clear), Ok(Response::Done));
    let pair = hypertab_core::crypto::KeyPair::from_seed(&[9; 32]);
    let open = |host: &mut Host, hash| {
        let single = hypertab_core::hypercore::manifest::Manifest::single_signer(pair.public_key);
        let prologue = Some(hypertab_core::hypercore::manifest::Prologue { hash, length: 3 });
        let manifest = hypertab_core::hypercore::manifest::Manifest { prologue, ..single };
        let core = OpenOptions {
            key: Some(manifest.key()),
            manifest: Some(manifest),
            key_pair: Some(pair.clone()),
            ..OpenOptions::default()
        };
        host.open(store, OpenCore { core, ..OpenCore::default() })
    };

    let core = open(&mut host, hash);
    let copied = host.engine.copy_prologue(core, source);
    assert_eq!(host.settled(copied), Ok(Response::Done));
    assert_eq!(contents(&mut host, core), ["a", "", "c"]);
    let handle = host.engine.core(core).unwrap();
    assert!(handle.has(0, 1) && !handle.has(1, 2) && handle.has(2, 3) && handle.signature().is_none());
    assert_eq!(host.append(core, &[b"x"]), 4);
    assert!(host.engine.core(core).unwrap().signature().is_some());

    let other = open(&mut host, [7; 32]);
    let refused = host.engine.copy_prologue(other, source);
    assert_eq!(host.settled(refused).unwrap_err().code(), "INVALID_OPERATION");
    assert_eq!(host.engine.core(other).unwrap().length(), 0);
}

#[test]
fn snapshot_still_shows_what_is_cut_and_cleared() {
    let (mut host, store, core) = log(&["a", "b", "c", "d"]);
    let snapshot = host.engine.core(core).unwrap().snapshot();
    let draft = open_branch(&mut host, core, "draft", false);
    host.append(draft, &[b"e"]);
    let of_draft = host.engine.core(draft).unwrap().snapshot();
    let get = |host: &mut Host, core, snapshot, index| {
        let options = GetOptions { wait: false, snapshot: Some(snapshot), ..GetOptions::default() };
        let now = host.now;
        let request = host.engine.core(core).unwrap().get(index, options, now);
        host.settled(request)
    };
    let block = |text: &'static str| Ok(Response::Block(Some(text.into())));

    host.engine.core(core).unwrap().clear(1, 2);
    host.engine.core(core).unwrap().truncate(3, TruncateOptions::default());
    host.engine.core(draft).unwrap().truncate(2, TruncateOptions::default());
    host.settle();
    host.append(core, &[b"x"]);
    let atom = host.engine.create_atom(store);
    let twin = open_atomic(&mut host, core, atom);
    let cut = host.engine.core(twin).unwrap().truncate(2, TruncateOptions::default());
    assert_eq!(host.settled(cut), Ok(Response::Done));
    let flush = host.engine.flush_atom(atom);
    assert_eq!(host.settled(flush), Ok(Response::Done));

    for (index, text) in (0..).zip(["a", "b", "c", "d"]) {
        assert_eq!(get(&mut host, core, snapshot, index), block(text), "{index}");
    }
    for (index, text) in [(0, "a"), (2, "c"), (4, "e")] {
        assert_eq!(get(&mut host, draft, of_draft, index), block(text), "{index}");
    }
    assert_eq!(get(&mut host, core, snapshot, 4).unwrap_err().code(), "SNAPSHOT_NOT_AVAILABLE");
    host.engine.core(core).unwrap().release_snapshot(snapshot);
    assert_eq!(get(&mut host, core, snapshot, 3).unwrap_err().code(), "SNAPSHOT_NOT_AVAILABLE");
}

/// Commits a branch and flushes an atom, and crashes after every storage outcome: each of both happened, or not.
#[test]
fn commits_and_flushes_happen_or_do_not_at_every_crash() {
    for is_stored in [false, true] {
        for outcomes in 0.. {
            let (mut host, store, first) = log(&["a"]);
            let second = second_core(&mut host, store);
            let draft = open_branch(&mut host, first, "draft", false);
            host.append(draft, &[b"b"]);
            let atom = host.engine.create_atom(store);
            let twins = [first, second].map(|core| open_atomic(&mut host, core, atom));
            host.append(twins[0], &[b"x"]);
            host.append(twins[1], &[b"y"]);
            let flush = host.engine.flush_atom(atom);
            host.engine.commit(second, draft, CommitOptions::default());
            host.drain();
            let mut random = Random(3);
            let is_over = !(0..outcomes).all(|_| host.step_disk(&mut random));
            let answered = host.done.contains_key(&flush);
            let data = crash(&mut host, store, is_stored);

            let mut again = Host::new(2);
            let store = again.store(data);
            let first = again.open(store, OpenCore::default());
            let second = second_core(&mut again, store);
            let lengths = [first, second].map(|core| again.engine.core(core).unwrap().length());
            assert!(lengths == [2, 1] || (lengths == [1, 0] && !answered), "{outcomes}: {lengths:?}");
            if lengths == [2, 1] {
                assert_eq!(contents(&mut again, first), ["a", "x"]);
                assert_eq!(contents(&mut again, second), ["y"]);
            }
            let draft = open_branch(&mut again, first, "draft", false);
            assert_eq!(contents(&mut again, draft), ["a", "b"]);
            if is_over {
                break;
            }
        }
    }
}

/// As above, for commits of a branch alone.
#[test]
fn branch_keeps_its_blocks_at_every_crash_of_a_commit() {
    for is_stored in [false, true] {
        for outcomes in 0.. {
            let (mut host, store, core) = log(&["a"]);
            let draft = open_branch(&mut host, core, "draft", false);
            host.append(draft, &[b"b", b"c"]);
            let request = host.engine.commit(core, draft, CommitOptions::default());
            host.drain();
            let mut random = Random(3);
            let is_over = !(0..outcomes).all(|_| host.step_disk(&mut random));
            let answered = host.done.contains_key(&request);
            let data = crash(&mut host, store, is_stored);

            let mut again = Host::new(2);
            let store = again.store(data);
            let core = again.open(store, OpenCore::default());
            let draft = open_branch(&mut again, core, "draft", false);
            assert_eq!(contents(&mut again, draft), ["a", "b", "c"], "{outcomes}");
            let length = again.engine.core(core).unwrap().length();
            assert!(length == 3 || (length == 1 && !answered), "{outcomes}: {length}");
            assert_eq!(commit(&mut again, core, draft, CommitOptions::default()), Ok(Some((3, 3))));
            assert_eq!(contents(&mut again, core), ["a", "b", "c"]);
            if is_over {
                break;
            }
        }
    }
}

fn log(blocks: &[&str]) -> (Host, StoreId, CoreId) {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let blocks: Vec<&[u8]> = blocks.iter().map(|block| block.as_bytes()).collect();
    host.append(core, &blocks);
    (host, store, core)
}

fn second_core(host: &mut Host, store: StoreId) -> CoreId {
    let pair = hypertab_core::crypto::KeyPair::from_seed(&[9; 32]);
    let manifest = hypertab_core::hypercore::manifest::Manifest::single_signer(pair.public_key);
    let key = Some(manifest.key());
    let core = OpenOptions { key, manifest: Some(manifest), key_pair: Some(pair), ..OpenOptions::default() };
    host.open(store, OpenCore { core, ..OpenCore::default() })
}

fn open_branch(host: &mut Host, parent: CoreId, name: &str, overwrite: bool) -> CoreId {
    let (core, request) = host.engine.open_branch(parent, BranchOptions { name: name.into(), overwrite });
    assert_eq!(host.settled(request), Ok(Response::Opened));
    core
}

fn open_atomic(host: &mut Host, parent: CoreId, atom: StoreId) -> CoreId {
    let (core, request) = host.engine.open_atomic(parent, atom);
    assert_eq!(host.settled(request), Ok(Response::Opened));
    core
}

fn commit(
    host: &mut Host,
    target: CoreId,
    source: CoreId,
    options: CommitOptions,
) -> Result<Option<(u64, u64)>, Error> {
    let request = host.engine.commit(target, source, options);
    match host.settled(request)? {
        Response::Committed(committed) => Ok(committed),
        other => panic!("{other:?}"),
    }
}

fn contents(host: &mut Host, core: CoreId) -> Vec<String> {
    let length = host.engine.core(core).unwrap().length();
    let blocks = (0..length).map(|index| host.get_now(core, index));
    blocks.map(|block| String::from_utf8(block.unwrap_or_default().to_vec()).unwrap()).collect()
}

/// Loses the commit in flight, or its answer.
fn crash(host: &mut Host, store: StoreId, is_stored: bool) -> MemoryStore {
    let mut disk = host.disks.remove(&store).unwrap();
    let commit = disk
        .waiting
        .into_iter()
        .find(|intent| matches!(intent, hypertab_core::storage::Intent::Commit { .. }));
    if let Some(commit) = commit.filter(|_| is_stored) {
        disk.data.handle_intent(commit);
    }
    disk.data
}
