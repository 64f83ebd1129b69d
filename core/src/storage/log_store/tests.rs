//! The store against a map, on a file that forgets what was not synced.

mod takeover;

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use super::index::LeafCache;
use super::{FileStore, MAX_KEY, SyncFile, file, record, segments};
use crate::error::StorageFailure;
use crate::storage::conformance::{self, Backend, CrashFile, block_on};
use crate::storage::run::{Numbers, Run};
use crate::storage::{Batch, CommitId, Durability, Intent, Op, Outcome, Owner, ReadId};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33 ^ self.0 >> 7
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Opens the store in a file for the one owner of these tests.
fn open<F: SyncFile>(file: F) -> FileStore<F> {
    claim(file, OWNER)
}

fn claim<F: SyncFile>(file: F, owner: Owner) -> FileStore<F> {
    let mut store = FileStore::open(file);
    store.handle_intent(Intent::Claim { id: CommitId(0), owner });
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(0))));
    store
}

const OWNER: Owner = Owner([1; 16]);

type Model = BTreeMap<Bytes, Bytes>;

fn key(rng: &mut Rng, space: u64) -> Bytes {
    if rng.below(4) == 0 {
        return Numbers::new(NUMBERED, rng.below(NUMBERS), 1).expect("one key").key(0);
    }
    let number = rng.below(space);
    // So long that a list of leaves is longer than a segment.
    let padding = if space == LONG { 60_000 } else { 0 };
    Bytes::from(alloc::format!("key/{number:06}{:padding$}", ""))
}

/// Keys of runs lie before, among and behind the others.
const NUMBERED: Bytes = Bytes::from_static(b"key/");

/// Numbers that runs begin with.
const NUMBERS: u64 = 300;

/// The space of few keys, which are long.
const LONG: u64 = 40;

fn value(rng: &mut Rng) -> Bytes {
    let len = match rng.below(20) {
        0 => rng.below(300_000),
        1..=4 => rng.below(5_000),
        _ => rng.below(200),
    };
    filled(rng, len)
}

fn value_of(rng: &mut Rng, most: u64) -> Bytes {
    let len = rng.below(most);
    filled(rng, len)
}

fn filled(rng: &mut Rng, len: u64) -> Bytes {
    let fill = rng.next() as u8;
    Bytes::from((0..len).map(|i| (i as u8).wrapping_mul(31) ^ fill).collect::<Vec<u8>>())
}

fn random_batch(rng: &mut Rng, space: u64) -> Batch {
    let ops = (0..1 + rng.below(20))
        .map(|_| match rng.below(13) {
            12 => {
                let most = [100, 3_000, 100_000][rng.below(3) as usize];
                let values = (0..1 + rng.below(60)).map(|_| value_of(rng, most)).collect();
                let first = rng.below(NUMBERS);
                Op::PutRun(Run::new(NUMBERED, first, values).expect("a few values").into())
            }
            0 => Op::Delete { key: key(rng, space) },
            1 => {
                let (a, b) = (key(rng, space), key(rng, space));
                // Short ranges mostly, or the model stays empty.
                let b = if rng.below(8) == 0 { b } else { [&a[..], b"~"].concat().into() };
                Op::DeleteRange { start: a.clone().min(b.clone()), end: a.max(b) }
            }
            _ => Op::Put { key: key(rng, space), value: value(rng) },
        })
        .collect();
    Batch { ops }
}

fn apply(model: &mut Model, batch: &Batch) {
    for op in &batch.ops {
        match op {
            Op::Put { key, value } => drop(model.insert(key.clone(), value.clone())),
            Op::PutRun(run) => model.extend(run.iter()),
            Op::Delete { key } => drop(model.remove(key)),
            Op::DeleteRange { start, end } => model.retain(|key, _| key < start || key >= end),
        }
    }
}

fn scan_all<F: SyncFile>(store: &mut FileStore<F>) -> Option<Model> {
    let (mut all, mut start) = (Model::new(), Bytes::new());
    loop {
        let end = Bytes::from_static(b"\xff");
        store.handle_intent(Intent::Scan { id: ReadId(0), start, end, reverse: false, limit: 100 });
        let Some(Outcome::Scan { entries, more, .. }) = store.poll_outcome() else { return None };
        let last = entries.last().map(|(key, _)| [key, &b"\0"[..]].concat());
        all.extend(entries);
        match last.filter(|_| more) {
            Some(last) => start = last.into(),
            None => return Some(all),
        }
    }
}

/// Runs random batches, crashes at a random write, and expects a state that some commit left behind, none of the
/// strict ones being lost.
fn crash_run(seed: u64) {
    let mut rng = Rng(seed);
    let space = [20, 500, 20_000, LONG][rng.below(if seed.is_multiple_of(8) { 4 } else { 3 }) as usize];
    let mut file = CrashFile::default();
    let mut model = Model::new();
    for round in 0..6 {
        file.budget = Some(5 + rng.below(120) as u32);
        file.delay = [None, Some(0), Some(3), Some(40)][rng.below(4) as usize];
        // Each opening makes branches of another length, or none, as versions did that know none.
        let limits = [100, 1_000, usize::MAX];
        let limit = limits[rng.below(3) as usize];
        let mut store = open(file.clone());
        store.set_branch_limit(limit);
        let mut found = scan_all(&mut store);
        if found.is_none() && store.file.budget == Some(0) {
            // Opening tidies up, and got no further than that.
            file = store.into_file().crash(&mut |limit| rng.below(limit));
            store = open(file.clone());
            store.set_branch_limit(limit);
            found = scan_all(&mut store);
        }
        assert!(found.as_ref() == Some(&model), "seed {seed} round {round}: state after opening");
        store.file.budget.get_or_insert(100);
        let mut states = alloc::vec![model.clone()];
        let mut safe = 0;
        loop {
            let batch = random_batch(&mut rng, space);
            let durability = if rng.below(3) == 0 { Durability::Strict } else { Durability::Relaxed };
            let mut next = states.last().unwrap().clone();
            apply(&mut next, &batch);
            states.push(next);
            store.handle_intent(Intent::Commit { id: CommitId(1), owner: OWNER, batch, durability });
            match store.poll_outcome() {
                Some(Outcome::Committed(_)) if durability == Durability::Strict => safe = states.len() - 1,
                Some(Outcome::Committed(_)) => {}
                Some(Outcome::CommitFailed { .. }) => break,
                other => panic!("seed {seed} round {round}: {other:?}"),
            }
            if rng.below(30) == 0 {
                store.set_memtable_limit(1);
            } else {
                store.set_memtable_limit(20_000);
            }
        }
        file = store.into_file().crash(&mut |limit| rng.below(limit));
        let mut store = open(file.clone());
        let found =
            scan_all(&mut store).unwrap_or_else(|| panic!("seed {seed} round {round}: store does not open"));
        let at = (safe..states.len()).find(|&at| states[at] == found);
        assert!(
            at.is_some(),
            "seed {seed} round {round}: no commit from {safe} to {} left this",
            states.len() - 1
        );
        model = found;
    }
}

#[test]
fn a_crash_leaves_the_state_of_a_commit_and_loses_no_strict_one() {
    for seed in 0..60 {
        crash_run(seed);
    }
}

#[test]
fn reads_and_scans_agree_with_a_map() {
    let mut rng = Rng(3);
    let mut store = open(CrashFile::default());
    store.set_memtable_limit(30_000);
    store.set_branch_limit(300);
    let mut model = Model::new();
    for step in 0..1500 {
        let batch = random_batch(&mut rng, 3000);
        apply(&mut model, &batch);
        store.handle_intent(Intent::Commit {
            id: CommitId(step),
            owner: OWNER,
            batch,
            durability: Durability::Relaxed,
        });
        assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(step))));

        let keys: Vec<Bytes> = (0..8).map(|_| key(&mut rng, 3000)).collect();
        let values = keys.iter().map(|key| model.get(key).cloned()).collect();
        store.handle_intent(Intent::Read { id: ReadId(step), keys });
        assert_eq!(store.poll_outcome(), Some(Outcome::Read { id: ReadId(step), values }), "step {step}");

        let (a, b) = (key(&mut rng, 3000), key(&mut rng, 3000));
        let (start, end, reverse) = (a.clone().min(b.clone()), a.max(b), rng.below(2) == 0);
        let range = model.range(start.clone()..end.clone()).map(|(key, value)| (key.clone(), value.clone()));
        let entries: Vec<_> = if reverse { range.rev().take(7).collect() } else { range.take(7).collect() };
        store.handle_intent(Intent::Scan { id: ReadId(step), start, end, reverse, limit: 7 });
        let Some(Outcome::Scan { entries: found, .. }) = store.poll_outcome() else { panic!("no scan") };
        assert_eq!(found, entries, "step {step}");

        if step % 200 == 199 {
            store.close();
            store = open(store.into_file());
            store.set_memtable_limit(30_000);
            store.set_branch_limit([300, 3_000, usize::MAX][step as usize / 200 % 3]);
            // Few leaves fit, so that those of a range are read again and again.
            store.store.cache = LeafCache::new(4);
            assert_eq!(scan_all(&mut store), Some(model.clone()), "step {step}");
        }
    }
}

#[test]
fn space_of_overwritten_values_is_used_again() {
    space_is_used_again(usize::MAX);
}

#[test]
fn space_of_overwritten_values_and_branches_is_used_again() {
    space_is_used_again(1);
}

fn space_is_used_again(branch_limit: usize) {
    let mut store = open(CrashFile::default());
    store.set_memtable_limit(200_000);
    store.set_branch_limit(branch_limit);
    let mut rng = Rng(9);
    let mut model = Model::new();
    for step in 0..4000 {
        // 100 keys of 50 KiB, one in ten of them never written again: dead bytes lie among live ones.
        let number = if step < 100 { step } else { rng.below(90) };
        let (key, fill) = (Bytes::from(alloc::format!("{number:03}")), step as u8);
        let value = Bytes::from(alloc::vec![fill; 50 << 10]);
        model.insert(key.clone(), value.clone());
        let batch = Batch { ops: [Op::Put { key, value }].into() };
        store.handle_intent(Intent::Commit {
            id: CommitId(step),
            owner: OWNER,
            batch,
            durability: Durability::Relaxed,
        });
        assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(step))));
    }
    assert!(scan_all(&mut store) == Some(model.clone()));

    store.close();
    let file = store.into_file();
    assert!(file.current.len() < 30 << 20, "{} bytes for 5 MiB of values", file.current.len());
    assert!(scan_all(&mut open(file)) == Some(model));
}

#[test]
fn a_value_larger_than_a_segment_comes_back() {
    let mut store = open(CrashFile::default());
    let values: Vec<Bytes> =
        (0..5_u8).map(|i| Bytes::from(alloc::vec![i; (3 << 20) + usize::from(i)])).collect();
    for (i, value) in values.iter().enumerate() {
        let put = Op::Put { key: Bytes::from(alloc::vec![i as u8]), value: value.clone() };
        let batch = Batch { ops: [put].into() };
        store.handle_intent(Intent::Commit {
            id: CommitId(0),
            owner: OWNER,
            batch,
            durability: Durability::Relaxed,
        });
        assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(0))));
    }

    let mut unclean = open(store.file.clone());
    store.close();
    let mut clean = open(store.into_file());

    for store in [&mut unclean, &mut clean] {
        for (i, value) in values.iter().enumerate() {
            store.handle_intent(Intent::Read {
                id: ReadId(0),
                keys: [Bytes::from(alloc::vec![i as u8])].into(),
            });
            let values = [Some(value.clone())].into();
            assert_eq!(store.poll_outcome(), Some(Outcome::Read { id: ReadId(0), values }));
        }
    }
}

#[test]
fn a_key_that_no_index_holds_is_damage() {
    let mut bytes = record::begin(0);
    let op = Op::Put { key: alloc::vec![7; MAX_KEY + 1].into(), value: Bytes::new() };
    record::push_op(&mut bytes, &op, &(0..0));
    record::seal(&mut bytes, record::Kind::Commit, 0, 0, 0);
    let mut file = CrashFile::default();
    file.write_at(file::PAGE, &bytes).unwrap();

    let mut store = open(file);

    store.handle_intent(commit(1, put_key()));
    let failed = Outcome::CommitFailed { id: CommitId(1), failure: StorageFailure::Corrupted };
    assert_eq!(store.poll_outcome(), Some(failed));
}

#[test]
fn a_part_of_a_run_stays_within_a_segment() {
    let mut store = open(CrashFile::default());
    // As many bytes as there is room for besides what frames them, estimated without the record's own header.
    let values = [0, 1].map(|odd| Bytes::from(alloc::vec![7; (segments::SEGMENT as usize - 47) / 2 + odd]));
    let run = Run::new(Bytes::from_static(b"p"), 1 << 40, values.to_vec()).unwrap();

    store.handle_intent(commit(1, Batch { ops: [Op::PutRun(run.into())].into() }));

    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
    let spans: Vec<u32> = store.store.segments.iter().map(|(_, segment)| segment.span).collect();
    assert_eq!(spans, [1, 1]);
}

/// A store with a checkpoint whose header is on its way to the disk.
fn publishing(list: u64) -> FileStore<CrashFile> {
    let mut file = CrashFile::default();
    file.delay = Some(1000);
    let mut store = open(file);
    // Keys so long that the list of leaves is as long as wanted.
    let put = |number| Op::Put {
        key: alloc::format!("{number:060000}").into(),
        value: Bytes::from_static(b"value"),
    };
    let batch = Batch { ops: (0..=list / 60_000).map(put).collect() };
    store.set_memtable_limit(1);
    store.handle_intent(commit(1, batch));
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
    store
}

fn commit(id: u64, batch: Batch) -> Intent {
    Intent::Commit { id: CommitId(id), owner: OWNER, batch, durability: Durability::Strict }
}

fn put_key() -> Batch {
    Batch { ops: [Op::Put { key: Bytes::from("key"), value: Bytes::from("value") }].into() }
}

#[test]
fn a_commit_and_closing_wait_for_a_list_of_leaves_that_is_longer_than_a_segment() {
    let mut store = publishing(2 << 20);

    store.handle_intent(commit(2, put_key()));

    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(2))));
    let mut store = publishing(2 << 20);
    store.close();
    assert!(!store.is_syncing() && store.store.is_closed());
    assert_eq!(scan_all(&mut open(store.into_file())).map(|all| all.len()), Some(35));
}

#[test]
fn a_crash_that_cuts_the_first_header_short_loses_nothing() {
    let value = Bytes::from(alloc::vec![7; segments::SEGMENT as usize / 2]);
    let put = |id: u64| {
        let (key, value) = (Bytes::from(alloc::vec![id as u8 % 3]), value.clone());
        commit(id, Batch { ops: [Op::Put { key, value }].into() })
    };
    let mut store = open(CrashFile::default());
    let write = |store: &mut FileStore<CrashFile>, ids: core::ops::Range<u64>| {
        for id in ids {
            store.handle_intent(put(id));
            assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(id))));
        }
    };
    write(&mut store, 1..8);
    store.set_memtable_limit(1);
    assert_eq!(scan_all(&mut store).map(|all| all.len()), Some(3));
    store.set_memtable_limit(8 << 20);
    // What died before the first checkpoint is not written over before there is a second header.
    write(&mut store, 8..24);
    let mut file = store.into_file();
    let first = 4096;
    assert_eq!((&file.current[..8], &file.current[first..first + 8]), (&[0; 8][..], &b"hypertab"[..]));
    file.current[first + 40] ^= 1;

    let mut store = open(file);

    assert_eq!(scan_all(&mut store).map(|all| all.len()), Some(3));
    store.set_memtable_limit(1);
    write(&mut store, 24..60);
    store.close();
    assert_eq!(scan_all(&mut open(store.into_file())).map(|all| all.len()), Some(3));

    // A log that does not begin is no new store.
    let mut file = CrashFile::default();
    file.current = alloc::vec![0; 8192];
    file.current[first] = 1;
    let mut store = open(file);
    assert_eq!(scan_all(&mut store), None);
}

#[test]
fn no_header_is_written_once_a_commit_has_failed() {
    let mut store = publishing(0);
    store.handle_intent(commit(2, put_key()));
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(2))));
    assert!(store.is_syncing());
    let headers = |store: &FileStore<CrashFile>| store.file.current[..8192].to_vec();
    let before = headers(&store);

    store.file.budget = Some(0);
    store.handle_intent(commit(3, put_key()));
    store.file.budget = None;
    store.finish_sync();

    let failed = Outcome::CommitFailed { id: CommitId(3), failure: StorageFailure::WriteFailed };
    assert_eq!(store.poll_outcome(), Some(failed));
    assert!(!store.is_syncing() && headers(&store) == before);
}

#[test]
fn a_store_that_lost_its_file_during_a_checkpoint_can_be_closed() {
    let commit = |id| Intent::Commit {
        id: CommitId(id),
        owner: OWNER,
        batch: Batch { ops: [Op::Put { key: Bytes::from("key"), value: Bytes::from("value") }].into() },
        durability: Durability::Relaxed,
    };
    let mut file = CrashFile::default();
    file.delay = Some(1000);
    let mut store = open(file);
    store.set_memtable_limit(1);
    store.handle_intent(commit(1));
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
    store.handle_intent(commit(2));
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(2))));
    assert!(store.is_syncing());

    // Another owner claims the file.
    store.file.current[2048..2064].copy_from_slice(&[2; 16]);
    store.handle_intent(commit(3));
    store.close();

    let failed = Outcome::CommitFailed { id: CommitId(3), failure: StorageFailure::Fenced };
    assert_eq!(store.poll_outcome(), Some(failed));
}

/// A file that two processes have open.
#[derive(Clone, Default)]
struct SharedFile(Rc<RefCell<CrashFile>>);

impl SyncFile for SharedFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        self.0.borrow_mut().read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        self.0.borrow_mut().write_at(offset, bytes)
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        self.0.borrow_mut().sync()
    }

    fn begin_sync(&mut self) -> bool {
        self.0.borrow_mut().begin_sync()
    }

    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        self.0.borrow_mut().end_sync(wait)
    }
}

/// A store whose file forgets what was not synced, as the suite of all backends wants it.
struct Crashing {
    file: SharedFile,
    store: FileStore<SharedFile>,
    rng: Rng,
}

impl Crashing {
    fn open(file: SharedFile, seed: u64) -> Self {
        let mut store = FileStore::open(file.clone());
        store.set_memtable_limit(20_000);
        store.set_branch_limit(if seed.is_multiple_of(2) { 100 } else { 5_000 });
        Self { file, store, rng: Rng(seed) }
    }
}

impl Backend for Crashing {
    async fn handle_intents(&mut self, intents: Vec<Intent>) -> Vec<Outcome> {
        intents.into_iter().for_each(|intent| self.store.handle_intent(intent));
        core::iter::from_fn(|| self.store.poll_outcome()).collect()
    }

    async fn crash(&mut self, during: Option<Intent>) -> bool {
        if let Some(intent) = during {
            self.file.0.borrow_mut().budget = Some(self.rng.below(4) as u32);
            self.store.handle_intent(intent);
        }
        let left = self.file.0.borrow().crash(&mut |limit| self.rng.below(limit));
        *self = Self::open(SharedFile(Rc::new(RefCell::new(left))), self.rng.next());
        true
    }

    async fn open_again(&mut self) -> Option<Self> {
        Some(Self::open(self.file.clone(), 0))
    }

    async fn set_full(&mut self, is_full: bool) -> bool {
        self.file.0.borrow_mut().is_full = is_full;
        true
    }
}

#[test]
fn a_log_store_in_a_file_passes_the_suite_of_all_backends() {
    for seed in 1..5 {
        let new = || Crashing::open(SharedFile::default(), seed);
        block_on(conformance::run(&mut new(), seed, 400)).unwrap();
        block_on(conformance::run_cases(&mut new())).unwrap();
        block_on(conformance::run_fence(&mut new())).unwrap();
        assert_eq!(block_on(conformance::run_full(&mut new())), Ok(true));
        block_on(conformance::write_sequence(&mut new(), seed, |answered| answered < 20)).unwrap();
    }
}

#[test]
fn a_file_that_another_process_claimed_is_written_by_that_one_only() {
    let put = |value: &'static str| {
        let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(value.as_bytes()));
        Batch { ops: [Op::Put { key, value }].into() }
    };
    let commit = |owner, value| Intent::Commit {
        id: CommitId(1),
        owner,
        batch: put(value),
        durability: Durability::Strict,
    };
    let file = SharedFile::default();
    let mut first = claim(file.clone(), OWNER);
    first.handle_intent(commit(OWNER, "first"));
    assert_eq!(first.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
    let other = Owner([2; 16]);

    let mut second = claim(file.clone(), other);
    let before = file.0.borrow().current.clone();
    let failure = StorageFailure::Fenced;
    for _ in 0..2 {
        first.handle_intent(commit(OWNER, "lost"));
        assert_eq!(first.poll_outcome(), Some(Outcome::CommitFailed { id: CommitId(1), failure }));
    }
    first.close();
    assert_eq!(file.0.borrow().current, before);

    let found: Vec<Bytes> = scan_all(&mut second).unwrap().into_values().collect();
    assert_eq!(found, ["first"]);
    second.handle_intent(commit(other, "second"));
    assert_eq!(second.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
    let found: Vec<Bytes> = scan_all(&mut claim(file, OWNER)).unwrap().into_values().collect();
    assert_eq!(found, ["second"]);
}

#[test]
fn a_read_under_way_is_answered_before_a_checkpoint_gives_up_its_segment() {
    let name = |number: u32| Bytes::from(alloc::format!("key/{number:04}"));
    let fill = |host: &mut FileStore<CrashFile>, keys: core::ops::Range<u32>, byte: u8| {
        let value = Bytes::from(alloc::vec![byte; 2000]);
        let ops = keys.map(|number| Op::Put { key: name(number), value: value.clone() }).collect();
        let (id, owner, batch) = (CommitId(byte.into()), OWNER, Batch { ops });
        host.handle_intent(Intent::Commit { id, owner, batch, durability: Durability::Relaxed });
        assert_eq!(host.poll_outcome(), Some(Outcome::Committed(id)));
    };
    let mut host = claim(CrashFile::default(), OWNER);
    fill(&mut host, 0..600, 1);
    host.close();
    let mut host = claim(host.into_file(), OWNER);
    fill(&mut host, 1..600, 2);
    fill(&mut host, 1..600, 3);
    host.store.cache = LeafCache::new(4);

    // The checkpoint asks for the old leaves first, and is done with their segment before the read has one of them.
    host.store.begin_checkpoint();
    host.handle_intent(Intent::Read { id: ReadId(0), keys: alloc::vec![name(0)] });

    let values = alloc::vec![Some(Bytes::from(alloc::vec![1; 2000]))];
    assert_eq!(host.poll_outcome(), Some(Outcome::Read { id: ReadId(0), values }));
}
