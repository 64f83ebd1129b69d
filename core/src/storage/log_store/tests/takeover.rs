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
    /// Who owned the file when this process was stopped between looking for that and claiming the file.
    seen: Option<Vec<u8>>,
}

impl Shared {
    fn new(file: &SharedFile, has_company: bool, stop: Option<Stop>) -> Self {
        let process = Process { has_company, stop, ..Process::default() };
        Self { file: file.clone(), process: Rc::new(RefCell::new(process)) }
    }

    /// Goes on: the write happens that it was stopped in. Whatever comes after it looks for the owner first.
    fn wake(&mut self) {
        let Some((offset, bytes)) = self.process.borrow_mut().late.take() else { return };
        self.file.write_at(offset, &bytes).unwrap();
    }

    /// A process that began to claim the file when that was what it said of its owner.
    fn claiming(file: &SharedFile, seen: Vec<u8>, stop: Option<Stop>) -> Self {
        let shared = Self::new(file, true, stop);
        shared.process.borrow_mut().seen = Some(seen);
        shared
    }

    fn is_stopped(&self) -> bool {
        self.process.borrow().late.is_some()
    }
}

impl SyncFile for Shared {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageFailure> {
        let seen = self.process.borrow_mut().seen.take_if(|_| offset == OWNER_AT);
        if let Some(seen) = seen {
            let count = buffer.len().min(seen.len());
            buffer[..count].copy_from_slice(&seen[..count]);
            return Ok(count);
        }
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
        if self.is_stopped() {
            return Some(Err(StorageFailure::WriteFailed));
        }
        // The file knows one sync at once, and another process may have asked for that one.
        self.file.end_sync(wait).or_else(|| wait.then(|| self.file.sync()))
    }

    fn len_if_shared(&mut self) -> Result<Option<u64>, StorageFailure> {
        let len = self.file.0.borrow().current.len() as u64;
        Ok(self.process.borrow().has_company.then_some(len))
    }
}

/// Where a file says whose it is.
const OWNER_AT: u64 = file::PAGE / 4;

/// As many processes as may have a file while one of them owns it.
const MOST_OTHERS: usize = 31;

/// What a process reads before it claims the file.
fn look(file: &SharedFile) -> Vec<u8> {
    let mut seen = alloc::vec![0; 32];
    let count = file.clone().read_at(OWNER_AT, &mut seen).unwrap();
    seen.truncate(count);
    seen
}

fn owner(number: u32) -> Owner {
    let mut bytes = [0xee; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Owner(bytes)
}

/// Owners that follow one another, most of them because the one before was stopped, in a write or before its claim. Each has to find
/// what was answered before it, and of what was not answered all of a commit or nothing.
fn run_of_owners(seed: u64, rounds: u32) {
    let mut rng = Rng(seed);
    let file = SharedFile::default();
    file.0.borrow_mut().delay = [None, Some(0), Some(3)][rng.below(3) as usize];
    let space = [20, 500][rng.below(2) as usize];
    // What the next owner may find; one state once something was answered.
    let mut states = alloc::vec![Model::new()];
    let mut stopped: Vec<Shared> = Vec::new();
    // What others had seen of the owner before they were stopped.
    let mut claiming: Vec<Vec<u8>> = Vec::new();
    // One that owned the file, and does not know yet that it has lost it.
    let mut awake: Option<(FileStore<Shared>, Owner)> = None;
    for round in 0..rounds {
        let is_all_over = rng.below(12.max(u64::from(rounds) / 2));
        if is_all_over < 2 {
            (stopped, claiming, awake) = (Vec::new(), Vec::new(), None);
        }
        if is_all_over == 0 {
            // Not only are all tabs closed: the power goes.
            let left = file.0.borrow().crash(&mut |limit| rng.below(limit));
            *file.0.borrow_mut() = left;
        }
        if rng.below(3) == 0 {
            claiming.push(look(&file));
        }
        while stopped.len() + claiming.len() >= MOST_OTHERS {
            // Its tab is closed.
            if claiming.is_empty() || rng.below(2) == 0 {
                stopped.swap_remove(rng.below(stopped.len() as u64) as usize);
            } else {
                claiming.swap_remove(rng.below(claiming.len() as u64) as usize);
            }
        }
        let most = [4, 40, 200][rng.below(3) as usize];
        let stop = match rng.below(5) {
            0 => None,
            1 => Some(Stop::OfHeaders(rng.below(5))),
            2 => Some(Stop::OfHeaders(rng.below(140))),
            _ => Some(Stop::Any(rng.below(most))),
        };
        let process = if !claiming.is_empty() && rng.below(2) == 0 {
            let seen = claiming.swap_remove(rng.below(claiming.len() as u64) as usize);
            Shared::claiming(&file, seen, stop)
        } else {
            let has_company = !stopped.is_empty() || !claiming.is_empty() || awake.is_some();
            Shared::new(&file, has_company, stop)
        };
        let owner = owner(round);
        let mut store = FileStore::open(process.clone());
        let limit = [1, 2_000, 20_000, 200_000][rng.below(4) as usize];
        store.set_memtable_limit(limit);
        store.set_branch_limit([100, usize::MAX][rng.below(2) as usize]);
        store.handle_intent(Intent::Claim { id: CommitId(0), owner });
        if store.poll_outcome() != Some(Outcome::Committed(CommitId(0))) {
            assert!(process.is_stopped(), "seed {seed} round {round}: claim");
            continue;
        }
        if let Some((mut former, owner)) = awake.take() {
            let batch = random_batch(&mut rng, space);
            former.handle_intent(Intent::Commit {
                id: CommitId(1),
                owner,
                batch,
                durability: Durability::Relaxed,
            });
            let fenced = Outcome::CommitFailed { id: CommitId(1), failure: StorageFailure::Fenced };
            assert_eq!(former.poll_outcome(), Some(fenced), "seed {seed} round {round}");
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
            if rng.below(20) == 0 && rounds < 20 {
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
        if !process.is_stopped() && rng.below(4) == 0 {
            awake = Some((store, owner));
        } else if !process.is_stopped() {
            store.close();
        }
        // Closing writes, too.
        if process.is_stopped() {
            stopped.push(process);
        }
        if rng.below(8) == 0 {
            // All at once.
            stopped.drain(..).for_each(|mut process| process.wake());
        }
    }
}

#[test]
fn a_write_that_is_late_changes_nothing_that_its_followers_wrote() {
    for seed in 0..100 {
        run_of_owners(seed, 14);
    }
    // So long that there are more claims than copies of a header; in the last two, the power goes in the first header of all.
    for seed in (0..20).chain([995, 1066]) {
        run_of_owners(seed, 50);
    }
}

/// An owner that is stopped in a write of a header, or else closes.
fn stop_in_header(file: &SharedFile, number: u32, headers: u64) -> Shared {
    let process = Shared::new(file, true, Some(Stop::OfHeaders(headers)));
    let mut store = FileStore::open(process.clone());
    store.set_memtable_limit(1);
    store.handle_intent(Intent::Claim { id: CommitId(0), owner: owner(number) });
    let batch = Batch { ops: [Op::Put { key: Bytes::from("late"), value: Bytes::new() }].into() };
    for _ in 0..3 {
        let (owner, batch) = (owner(number), batch.clone());
        store.handle_intent(Intent::Commit { id: CommitId(1), owner, batch, durability: Durability::Strict });
    }
    store.close();
    process
}

/// Of all headers in a file, copies included.
fn generations(file: &SharedFile) -> Vec<u64> {
    let page = &file.0.borrow().current[..file::PAGE as usize];
    page.chunks(64).filter_map(|bytes| Some(Header::decode(bytes)?.generation)).collect()
}

fn has(file: &SharedFile, number: u32, key: &str) -> bool {
    let mut store = claim(Shared::new(file, true, None), owner(number));
    scan_all(&mut store).is_some_and(|all| all.contains_key(key.as_bytes()))
}

#[test]
fn an_owner_that_was_stopped_before_its_claim_writes_newer_headers_than_one_that_is_stopped_then() {
    for (between, headers) in (0..3).flat_map(|between| (0..100).map(move |headers| (between, headers))) {
        let file = SharedFile::default();
        let mut first = claim(Shared::new(&file, false, None), owner(1));
        put(&mut first, owner(1), 1, 10);
        first.close();

        let seen = look(&file);
        (0..between).for_each(|number| assert!(has(&file, 10 + number, "001")));
        let mut stopped = stop_in_header(&file, 2, headers);
        let mut late = claim(Shared::claiming(&file, seen, None), owner(3));
        put(&mut late, owner(3), 7, 10);
        let newest = generations(&file).into_iter().max();
        let late_header = stopped.process.borrow().late.as_ref().and_then(|(_, bytes)| Header::decode(bytes));
        assert!(late_header.map(|header| header.generation) < newest);
        stopped.wake();

        assert!(has(&file, 4, "007"), "{between} claims between, stopped at header {headers}");
    }
}

#[test]
fn writes_that_are_late_by_any_number_of_claims_leave_the_newest_header() {
    for (claims, headers) in (24..40).flat_map(|claims| (0..6).map(move |headers| (claims, headers))) {
        let file = SharedFile::default();
        let mut stopped =
            [headers, headers + 1, 0, 1].map(|headers| stop_in_header(&file, headers as u32, headers));
        (0..claims).for_each(|number| drop(claim(Shared::new(&file, true, None), owner(10 + number))));
        let mut store = claim(Shared::new(&file, true, None), owner(5));
        put(&mut store, owner(5), 7, 10);
        stopped.iter_mut().for_each(Shared::wake);

        assert!(has(&file, 6, "007"), "late by {claims} claims, stopped at header {headers}");
    }
}

#[test]
fn the_newest_header_outlives_late_writes_of_all_others_that_may_have_the_file() {
    let copies = file::HEADER_COPIES;
    let mut fewest = copies;
    for headers in 1..3 {
        let file = SharedFile::default();
        put(&mut claim(Shared::new(&file, false, None), owner(1)), owner(1), 1, 10);
        // Each of them is stopped before another copy in the same half of the page, and none of them is gone.
        let mut stopped: Vec<Shared> = Vec::new();
        for number in 0..MOST_OTHERS as u32 {
            put(&mut claim(Shared::new(&file, true, None), owner(100 + number)), owner(100 + number), 1, 10);
            stopped.push(stop_in_header(&file, 10 + number, copies + u64::from(number) + 1));
        }

        let mut store = claim(Shared::new(&file, true, None), owner(2));
        store.set_memtable_limit(if headers == 1 { usize::MAX } else { 1 });
        put(&mut store, owner(2), 7, 10);
        stopped.iter_mut().for_each(Shared::wake);

        assert!(has(&file, 3, "007"));
        let generations = generations(&file);
        let newest = generations.iter().filter(|&one| Some(one) == generations.iter().max()).count();
        fewest = fewest.min(newest as u64);
    }
    assert_eq!(fewest, copies - MOST_OTHERS as u64);
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
