//! Owners that are stopped in the middle of a write, which happens when somebody else owns the file.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::*;
use crate::storage::log_store::manifest::{HEADER_LEN, Header};

/// A file as one process has it, which others have, too.
#[derive(Clone)]
struct Shared {
    file: SharedFile,
    process: Rc<RefCell<Process>>,
}

/// How many writes it does before.
#[derive(Clone, Copy)]
enum Stop {
    Any(u64),
    OfHeaders(u64),
}

#[derive(Default)]
struct Process {
    /// Where it is stopped in the middle of a write.
    stop: Option<Stop>,
    /// That write.
    late: Option<(u64, Vec<u8>)>,
    has_company: bool,
}

impl Shared {
    fn new(file: &SharedFile, has_company: bool, stop: Option<Stop>) -> Self {
        let process = Process { has_company, stop, late: None };
        Self { file: file.clone(), process: Rc::new(RefCell::new(process)) }
    }

    /// Goes on: the write happens that it was stopped in. Whatever comes after it looks for the owner first.
    fn wake(&mut self) {
        let Some((offset, bytes)) = self.process.borrow_mut().late.take() else { return };
        self.file.write_at(offset, &bytes).unwrap();
    }

    fn is_stopped(&self) -> bool {
        self.process.borrow().late.is_some()
    }
}

impl SyncFile for Shared {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageFailure> {
        let mut process = self.process.borrow_mut();
        let is_header = offset < file::PAGE && bytes.len() == HEADER_LEN;
        match &mut process.stop {
            Some(Stop::Any(0)) => {
                process.late.get_or_insert_with(|| (offset, bytes.to_vec()));
                return Err(StorageFailure::WriteFailed);
            }
            Some(Stop::OfHeaders(0)) if is_header => {
                process.late = Some((offset, bytes.to_vec()));
                process.stop = Some(Stop::Any(0));
                return Err(StorageFailure::WriteFailed);
            }
            Some(Stop::OfHeaders(left)) if is_header => *left -= 1,
            Some(Stop::Any(left)) => *left -= 1,
            _ => {}
        }
        drop(process);
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> Result<(), StorageFailure> {
        if self.is_stopped() { Err(StorageFailure::WriteFailed) } else { self.file.sync() }
    }

    fn begin_sync(&mut self) -> bool {
        self.file.begin_sync()
    }

    fn end_sync(&mut self, wait: bool) -> Option<Result<(), StorageFailure>> {
        if self.is_stopped() { Some(Err(StorageFailure::WriteFailed)) } else { self.file.end_sync(wait) }
    }

    fn len_if_shared(&mut self) -> Result<Option<u64>, StorageFailure> {
        let len = self.file.0.borrow().current.len() as u64;
        Ok(self.process.borrow().has_company.then_some(len))
    }
}

fn owner(number: u32) -> Owner {
    let mut bytes = [0xee; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Owner(bytes)
}

/// Owners that follow one another, most of them because the one before was stopped. Each has to find what was answered before it, and
/// of what was not answered all of a commit or nothing.
fn run_of_owners(seed: u64) {
    let mut rng = Rng(seed);
    let file = SharedFile::default();
    file.0.borrow_mut().delay = [None, Some(0), Some(3)][rng.below(3) as usize];
    let space = [20, 500][rng.below(2) as usize];
    // What the next owner may find; one state once something was answered.
    let mut states = alloc::vec![Model::new()];
    let mut stopped: Vec<Shared> = Vec::new();
    for round in 0..14 {
        match rng.below(12) {
            // All tabs are closed.
            0 => stopped.clear(),
            // The power goes.
            1 => {
                stopped.clear();
                let left = file.0.borrow().crash(&mut |limit| rng.below(limit));
                *file.0.borrow_mut() = left;
            }
            _ => {}
        }
        let most = [4, 40, 200][rng.below(3) as usize];
        let stop = match rng.below(5) {
            0 => None,
            1 | 2 => Some(Stop::OfHeaders(rng.below(5))),
            _ => Some(Stop::Any(rng.below(most))),
        };
        let process = Shared::new(&file, !stopped.is_empty(), stop);
        let owner = owner(round);
        let mut store = FileStore::open(process.clone());
        let limit = [2_000, 20_000, 200_000][rng.below(3) as usize];
        store.set_memtable_limit(limit);
        store.set_branch_limit([100, usize::MAX][rng.below(2) as usize]);
        store.handle_intent(Intent::Claim { id: CommitId(0), owner });
        if store.poll_outcome() != Some(Outcome::Committed(CommitId(0))) {
            // When this one goes on, it takes the file, as with any other claim.
            assert!(process.is_stopped(), "seed {seed} round {round}: claim");
            continue;
        }
        let found = scan_all(&mut store);
        let Some(mut model) = found.filter(|found| states.contains(found)) else {
            assert!(process.is_stopped(), "seed {seed} round {round}: not what was answered");
            stopped.push(process);
            continue;
        };
        let most = [4, 12, 40][rng.below(3) as usize];
        for _ in 0..rng.below(most) {
            if !stopped.is_empty() && rng.below(6) == 0 {
                let at = rng.below(stopped.len() as u64) as usize;
                stopped.swap_remove(at).wake();
            }
            let mut batch = random_batch(&mut rng, space);
            batch.ops.truncate(3);
            if rng.below(20) == 0 {
                // Longer than a segment.
                batch.ops.push(Op::Put { key: key(&mut rng, space), value: filled(&mut rng, 3 << 20) });
            }
            let mut next = model.clone();
            apply(&mut next, &batch);
            let durability = Durability::Strict;
            store.handle_intent(Intent::Commit { id: CommitId(1), owner, batch, durability });
            let outcome = store.poll_outcome();
            if outcome != Some(Outcome::Committed(CommitId(1))) {
                assert!(process.is_stopped(), "seed {seed} round {round}: {outcome:?}");
                states.push(next);
                break;
            }
            states = alloc::vec![next.clone()];
            model = next;
        }
        if !process.is_stopped() {
            store.close();
        }
        // Closing writes, too.
        if process.is_stopped() {
            stopped.push(process);
        }
    }
}

#[test]
fn a_write_that_is_late_changes_nothing_that_its_followers_wrote() {
    for seed in 0..100 {
        run_of_owners(seed);
    }
}

/// Writes a value under the number of a key.
fn put(store: &mut FileStore<Shared>, owner: Owner, number: u64, len: usize) {
    let (key, value) =
        (Bytes::from(alloc::format!("{number:03}")), Bytes::from(alloc::vec![number as u8; len]));
    let batch = Batch { ops: [Op::Put { key, value }].into() };
    store.handle_intent(Intent::Commit { id: CommitId(1), owner, batch, durability: Durability::Relaxed });
    assert_eq!(store.poll_outcome(), Some(Outcome::Committed(CommitId(1))));
}

#[test]
fn space_left_to_late_writes_is_used_again_once_nobody_else_has_the_file() {
    let file = SharedFile::default();
    let fill = |has_company, number: u32, count: u64| {
        let mut store = claim(Shared::new(&file, has_company, None), owner(number));
        store.set_memtable_limit(200_000);
        (0..count).for_each(|i| put(&mut store, owner(number), i % 90, 50 << 10));
        store.close();
        file.0.borrow().current.len()
    };
    let before = fill(false, 1, 2000);
    for number in 2..8 {
        fill(true, number, 50);
    }
    let most = file.0.borrow().current.len();
    // It takes a checkpoint, and 16 MiB until then.
    let after = [fill(false, 8, 2000), fill(false, 9, 2000)];
    assert!(
        before < most && after.iter().all(|after| after.saturating_sub(most) < 17 << 20),
        "{before} {most} {after:?}"
    );
}

/// The version of the newest list of leaves, to whoever knows the first header of each half of the page only.
fn version_at_first_place(file: &SharedFile) -> u8 {
    let bytes = &file.0.borrow().current;
    let headers = [0, file::PAGE as usize / 2].map(|at| Header::decode(&bytes[at..]));
    let newest = headers.into_iter().flatten().max_by_key(|header| header.generation).unwrap();
    let at = file::PAGE + newest.manifest_slot * segments::SEGMENT + newest.manifest % segments::SEGMENT;
    bytes[at as usize + record::HEADER]
}

#[test]
fn a_version_that_knows_one_place_for_headers_finds_a_list_that_it_refuses() {
    let file = SharedFile::default();
    let mut store = claim(Shared::new(&file, true, None), owner(1));
    put(&mut store, owner(1), 1, 10);
    store.close();
    assert_eq!(version_at_first_place(&file), 3);

    // Its list is an older version's once more when nobody can be late.
    let mut store = claim(Shared::new(&file, false, None), owner(2));
    put(&mut store, owner(2), 2, 10);
    store.close();
    assert_eq!(version_at_first_place(&file), 2);
}
