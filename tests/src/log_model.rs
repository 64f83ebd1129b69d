//! A log against a `Vec`: random operations of a writer and a sparse reader, each on a disk whose power is cut at any
//! commit and any outcome, with a wire between them.
//!
//! What must hold, whatever happens:
//!
//! - the log after a crash is one that some operation left, and none that was answered as durable is missing;
//! - no reader ever knows of a head or a block that its writer forgot, and what it has is what was appended;
//! - a block that a reader says it has can be read.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::engine::{
    AppendOptions, ApplyError, BranchOptions, CommitOptions, Config, CoreId, Engine, Error, Event,
    GetOptions, Input, LinkId, LinkOptions, OpenCore, OpenOptions, Output, RangeWish, RequestId, Response,
    Role, Security, SnapshotId, Transport, TruncateOptions,
};
use hypertab_core::storage::{CommitId, Intent, Outcome, StorageFailure, StoreId};
use hypertab_core::time::{Duration, Instant};

use crate::crash_disks::{Disk, Random, disk};

/// Runs `operations` random operations on the named disk.
///
/// # Panics
///
/// When the log differs from the model; the message has the seed and the command that replays it.
pub fn run(disk_name: &str, seed: u64, operations: u64) {
    let mut world = World::new(disk_name, seed, operations);
    for operation in 0..operations {
        world.at = operation;
        world.operate();
        for _ in 0..world.random.below(12) {
            world.step();
        }
    }
    world.settle();
    world.check_writer();
    world.check_reader();
}

/// The log after an operation.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    fork: u64,
    /// `None` where the block was cleared.
    blocks: Vec<Option<Bytes>>,
    user_data: Option<Bytes>,
}

/// An operation that a crash may take back.
struct Step {
    /// `None` once it is answered.
    request: Option<RequestId>,
    /// Its answer says that it is durable, and everything before.
    is_strict: bool,
    after: State,
}

struct World {
    disk_name: String,
    seed: u64,
    operations: u64,
    at: u64,
    random: Random,
    now: Instant,
    engines: u64,
    writer: Node,
    reader: Node,
    wire: Option<(LinkId, LinkId)>,
    key: [u8; 32],
    /// The last state that no crash takes back.
    durable: State,
    steps: VecDeque<Step>,
    /// All that was ever appended and is not lost, by fork.
    history: BTreeMap<u64, Vec<Bytes>>,
    snapshots: Vec<(SnapshotId, State)>,
    next_block: u64,
    crashes: u64,
}

struct Node {
    engine: Engine,
    disk: Box<dyn Disk>,
    waiting: VecDeque<Intent>,
    store: StoreId,
    core: CoreId,
    done: BTreeMap<RequestId, Result<Response, Error>>,
    wires: BTreeMap<LinkId, VecDeque<Bytes>>,
    closed: Vec<LinkId>,
    wake_at: Option<Instant>,
}

/// What becomes of an intent.
enum Fate {
    /// The process is gone before it happens.
    CrashBefore,
    /// It happens, and nobody is told.
    CrashAfter,
    /// It fails, having happened or not.
    Fails(bool),
}

impl Node {
    fn new(disk: Box<dyn Disk>, engine: u64, now: Instant) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&engine.to_le_bytes());
        let mut engine = Engine::new(Config::default(), seed, now);
        let store = engine.create_store();
        Self {
            engine,
            disk,
            waiting: VecDeque::new(),
            store,
            core: CoreId(0),
            done: BTreeMap::new(),
            wires: BTreeMap::new(),
            closed: Vec::new(),
            wake_at: None,
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.engine.poll_output(now) {
                Output::Transmit { link, bytes } => self.wires.entry(link).or_default().push_back(bytes),
                Output::Storage { intent, .. } => self.waiting.push_back(intent),
                Output::FinishLink { .. } => {}
                Output::CloseLink { link, .. } => self.closed.push(link),
                Output::Event(Event::Done { request, result }) => drop(self.done.insert(request, result)),
                Output::Event(Event::VerificationError {
                    error: error @ ApplyError::Invalid, block, ..
                }) => {
                    panic!("an honest peer was blamed: {error:?}, {block:?}");
                }
                Output::Event(_) => {}
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, intent: Intent, now: Instant) {
        let outcome = self.disk.handle_intent(intent);
        self.engine.handle_input(Input::Storage { store: self.store, outcome }, now);
        self.drain(now);
    }

    /// Runs its disk until nothing waits for it.
    fn settle(&mut self, now: Instant) {
        self.drain(now);
        while let Some(intent) = self.waiting.pop_front() {
            self.carry_out(intent, now);
        }
    }

    fn ask(&mut self, request: RequestId, now: Instant) -> Result<Response, Error> {
        self.settle(now);
        self.done.remove(&request).unwrap_or_else(|| panic!("{request:?} is not answered"))
    }

    fn block(
        &mut self,
        index: u64,
        snapshot: Option<SnapshotId>,
        now: Instant,
    ) -> Result<Option<Bytes>, Error> {
        let options = GetOptions { wait: false, snapshot, ..GetOptions::default() };
        let request = self.engine.core(self.core).expect("open").get(index, options, now);
        match self.ask(request, now)? {
            Response::Block(block) => Ok(block),
            other => panic!("{other:?}"),
        }
    }

    fn user_data(&mut self, now: Instant) -> Option<Bytes> {
        let request = self.engine.core(self.core).expect("open").user_data("name".into());
        match self.ask(request, now) {
            Ok(Response::UserData(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    fn head(&mut self) -> (u64, u64) {
        let handle = self.engine.core(self.core).expect("open");
        (handle.fork(), handle.length())
    }

    fn has(&mut self, index: u64) -> bool {
        self.engine.core(self.core).expect("open").has(index, index + 1)
    }
}

impl World {
    fn new(disk_name: &str, seed: u64, operations: u64) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut writer = Node::new(disk(disk_name), 1, now);
        let core = OpenOptions { key_pair: Some(pair()), ..OpenOptions::default() };
        let (core, request) =
            writer.engine.open_core(writer.store, OpenCore { core, ..OpenCore::default() }, now);
        writer.core = core;
        assert_eq!(writer.ask(request, now), Ok(Response::Opened));
        let key = writer.engine.core(core).expect("open").key();
        let mut reader = Node::new(disk(disk_name), 2, now);
        open_reader(&mut reader, key, now);
        Self {
            disk_name: disk_name.into(),
            seed,
            operations,
            at: 0,
            random: Random::new(seed),
            now,
            engines: 2,
            writer,
            reader,
            wire: None,
            key,
            durable: State::default(),
            steps: VecDeque::new(),
            history: BTreeMap::from([(0, Vec::new())]),
            snapshots: Vec::new(),
            next_block: 0,
            crashes: 0,
        }
    }

    fn label(&self) -> String {
        format!(
            "operation {} on {}; again: HYPERTAB_SOAK={} HYPERTAB_DISK={} HYPERTAB_SEED={} cargo test -p hypertab-tests \
             --test log_model\n",
            self.at, self.disk_name, self.operations, self.disk_name, self.seed
        )
    }

    /// The log once everything that was asked for is done.
    fn state(&self) -> State {
        self.steps.back().map_or_else(|| self.durable.clone(), |step| step.after.clone())
    }

    fn operate(&mut self) {
        match self.random.below(40) {
            0..=8 => self.append(1),
            9..=13 => {
                let count = self.random.within(2..9);
                self.append(count);
            }
            14..=16 => self.truncate(),
            17..=19 => self.clear(),
            20..=21 => self.set_user_data(),
            22..=25 => {
                self.settle_writer();
                self.check_random_block();
            }
            26 | 27 => self.take_or_check_snapshot(),
            28 => self.branch(),
            29..=33 => self.read_remotely(),
            34 | 35 => self.toggle_wire(),
            36 => self.check_reader(),
            37 if self.random.below(8) == 0 => self.reopen_writer(),
            38 if self.random.below(8) == 0 => self.crash_reader(),
            39 => {
                let pause = Duration::from_millis(self.random.below(2000));
                self.wait(pause);
            }
            _ => {}
        }
    }

    fn push(&mut self, request: RequestId, is_strict: bool, after: State) {
        self.steps.push_back(Step { request: Some(request), is_strict, after });
        self.writer.drain(self.now);
    }

    fn append(&mut self, count: u64) {
        let mut state = self.state();
        if state.blocks.len() > MAX_LENGTH {
            return self.truncate();
        }
        let mut blocks = Vec::new();
        for _ in 0..count {
            blocks.push(self.new_block());
        }
        state.blocks.extend(blocks.iter().cloned().map(Some));
        self.history.entry(state.fork).or_default().extend(blocks.iter().cloned());
        let request =
            self.writer.engine.core(self.writer.core).expect("open").append(blocks, AppendOptions::default());
        self.push(request, true, state);
    }

    fn new_block(&mut self) -> Bytes {
        self.next_block += 1;
        let size = match self.random.below(30) {
            0 => 0,
            1 => self.random.below(20_000),
            _ => self.random.below(200),
        };
        let mut block = vec![self.next_block as u8; size as usize];
        let number = self.next_block.to_le_bytes();
        let len = block.len().min(8);
        block[..len].copy_from_slice(&number[..len]);
        block.into()
    }

    fn truncate(&mut self) {
        let mut state = self.state();
        let length = match self.random.below(4) {
            0 => self.random.below(state.blocks.len() as u64 + 1),
            _ => (state.blocks.len() as u64).saturating_sub(self.random.below(6)),
        };
        state.fork += 1;
        state.blocks.truncate(length as usize);
        let shared = self.history[&(state.fork - 1)][..length as usize].to_vec();
        self.history.insert(state.fork, shared);
        let mut handle = self.writer.engine.core(self.writer.core).expect("open");
        let request = handle.truncate(length, TruncateOptions::default());
        self.push(request, true, state);
    }

    fn clear(&mut self) {
        let mut state = self.state();
        let start = self.random.below(state.blocks.len() as u64 + 1);
        let end = start + self.random.below(6);
        for block in state.blocks.iter_mut().take(end as usize).skip(start as usize) {
            *block = None;
        }
        let request = self.writer.engine.core(self.writer.core).expect("open").clear(start, end);
        self.push(request, false, state);
    }

    fn set_user_data(&mut self) {
        let mut state = self.state();
        let len = self.random.below(300) as usize;
        state.user_data = (self.random.below(4) > 0).then(|| vec![self.at as u8; len].into());
        let value = state.user_data.clone();
        let mut handle = self.writer.engine.core(self.writer.core).expect("open");
        let request = handle.set_user_data("name".into(), value);
        self.push(request, true, state);
    }

    fn take_or_check_snapshot(&mut self) {
        self.settle_writer();
        let now = self.now;
        if self.snapshots.len() < 3 && self.random.below(2) == 0 {
            let snapshot = self.writer.engine.core(self.writer.core).expect("open").snapshot();
            let state = self.state();
            return self.snapshots.push((snapshot, state));
        }
        if self.snapshots.is_empty() {
            return;
        }
        let place = self.random.below(self.snapshots.len() as u64) as usize;
        let (snapshot, state) = self.snapshots.swap_remove(place);
        for (index, block) in state.blocks.iter().enumerate() {
            let found = self.writer.block(index as u64, Some(snapshot), now);
            // One that was cleared before and cut since is neither here nor can it ever come.
            let is_gone = block.is_none() && matches!(found, Err(Error::SnapshotNotAvailable { .. }));
            assert!(
                is_gone || found.as_ref() == Ok(block),
                "{}block {index} of a snapshot: {found:?}",
                self.label()
            );
        }
        self.writer.engine.core(self.writer.core).expect("open").release_snapshot(snapshot);
    }

    /// Writes beside the log, and commits it or not.
    fn branch(&mut self) {
        self.settle_writer();
        let (now, mut state) = (self.now, self.state());
        let options = BranchOptions { name: "beside".into(), overwrite: true, ..BranchOptions::default() };
        let (branch, request) = self.writer.engine.open_branch(self.writer.core, options);
        assert_eq!(self.writer.ask(request, now), Ok(Response::Opened), "{}", self.label());
        let mut beside = state.blocks.clone();
        // Even to its own length: that makes a branch another history, which is not committed without a signature.
        let is_cut = self.random.below(3) == 0;
        if is_cut {
            let length = beside.len().saturating_sub(self.random.below(3) as usize);
            let request = self
                .writer
                .engine
                .core(branch)
                .expect("open")
                .truncate(length as u64, TruncateOptions::default());
            assert_eq!(self.writer.ask(request, now), Ok(Response::Done), "{}", self.label());
            beside.truncate(length);
        }
        let shared = beside.len();
        let count = self.random.within(1..6);
        let blocks: Vec<Bytes> = (0..count).map(|_| self.new_block()).collect();
        beside.extend(blocks.iter().cloned().map(Some));
        let request =
            self.writer.engine.core(branch).expect("open").append(blocks.clone(), AppendOptions::default());
        if self.random.below(8) == 0 {
            // The power goes while the branch is written: the log knows nothing of it.
            self.writer.drain(now);
            for intent in std::mem::take(&mut self.writer.waiting) {
                if self.random.below(2) == 0 {
                    self.writer.disk.handle_intent(intent);
                }
            }
            return self.restart_writer(true);
        }
        assert!(self.writer.ask(request, now).is_ok(), "{}", self.label());
        let main = std::mem::replace(&mut self.writer.core, branch);
        for (index, block) in beside.iter().enumerate().skip(shared.saturating_sub(3)) {
            let found = self.writer.block(index as u64, None, now);
            assert_eq!(found.as_ref(), Ok(block), "{}block {index} of a branch", self.label());
        }
        self.writer.core = main;
        if !is_cut && shared == state.blocks.len() && self.random.below(2) == 0 {
            let request = self.writer.engine.commit(main, branch, CommitOptions::default());
            self.history.entry(state.fork).or_default().extend(blocks);
            state.blocks = beside;
            self.push(request, true, state);
            self.settle_writer();
        }
        let request = self.writer.engine.close_core(branch, now);
        assert_eq!(self.writer.ask(request, now), Ok(Response::Done), "{}", self.label());
    }

    fn read_remotely(&mut self) {
        let (_, length) = self.reader.head();
        let now = self.now;
        let mut handle = self.reader.engine.core(self.reader.core).expect("open");
        match self.random.below(6) {
            0 => {
                let start = self.random.below(length + 1);
                let range =
                    RangeWish { start, end: Some(start + self.random.below(10)), ..RangeWish::default() };
                handle.download(range, now);
            }
            1 => {
                handle.clear(self.random.below(length + 1), length);
            }
            _ => {
                let options = GetOptions { timeout: Some(Duration::from_secs(3)), ..GetOptions::default() };
                handle.get(self.random.below(length + 2), options, now);
            }
        }
        self.reader.drain(now);
        self.reader.done.clear();
    }

    fn toggle_wire(&mut self) {
        let now = self.now;
        if let Some((a, b)) = self.wire.take() {
            self.writer.engine.handle_input(Input::LinkClosed { link: a, reason: None }, now);
            self.reader.engine.handle_input(Input::LinkClosed { link: b, reason: None }, now);
            return;
        }
        let (ours, theirs) = ([1; 32], [2; 32]);
        let handshake_hash = [3; 64];
        let open = |node: &mut Node, role, public_key, remote_public_key| {
            let security = Security::External { handshake_hash, remote_public_key, public_key };
            let options =
                LinkOptions { role, transport: Transport::Framed, security, keep_alive: None, timeout: None };
            let link = node.engine.open_link(options, now);
            node.engine.attach(node.core, link, now).expect("both are open");
            link
        };
        let a = open(&mut self.writer, Role::Initiator, ours, theirs);
        let b = open(&mut self.reader, Role::Responder, theirs, ours);
        self.wire = Some((a, b));
    }

    /// Lets one thing happen. Returns whether anything could.
    fn step(&mut self) -> bool {
        let now = self.now;
        self.writer.drain(now);
        self.reader.drain(now);
        self.take_answers();
        assert!(
            self.writer.closed.is_empty() && self.reader.closed.is_empty(),
            "{}a link was closed",
            self.label()
        );
        let start = self.random.below(4);
        (0..4).any(|turn| match (start + turn) % 4 {
            0 => self.carry(true),
            1 => self.carry(false),
            2 => {
                let place = self.random.below(self.reader.waiting.len().max(1) as u64) as usize;
                let Some(intent) = self.reader.waiting.remove(place) else { return false };
                self.reader.carry_out(intent, now);
                true
            }
            _ => {
                let place = self.random.below(self.writer.waiting.len().max(1) as u64) as usize;
                let Some(intent) = self.writer.waiting.remove(place) else { return false };
                let is_commit = matches!(intent, Intent::Commit { .. });
                match self.random.below(if is_commit { 300 } else { 900 }) {
                    0 => self.end_writer(intent, Fate::CrashBefore),
                    1 => self.end_writer(intent, Fate::CrashAfter),
                    2 if is_commit => {
                        let has_happened = self.random.below(2) == 0;
                        self.end_writer(intent, Fate::Fails(has_happened));
                    }
                    _ => self.writer.carry_out(intent, now),
                }
                true
            }
        })
    }

    fn carry(&mut self, from_writer: bool) -> bool {
        let Some((a, b)) = self.wire else { return false };
        let (from, out, to, into) = if from_writer {
            (&mut self.writer, a, &mut self.reader, b)
        } else {
            (&mut self.reader, b, &mut self.writer, a)
        };
        let Some(bytes) = from.wires.entry(out).or_default().pop_front() else { return false };
        from.engine.handle_input(Input::Credit { link: out, bytes: bytes.len() as u64 }, self.now);
        to.engine.handle_input(Input::Bytes { link: into, bytes }, self.now);
        true
    }

    /// Notes what the writer was told.
    fn take_answers(&mut self) {
        while let Some(place) = self.steps.iter().position(|step| step.request.is_some())
            && let Some(request) = self.steps[place].request
            && let Some(result) = self.writer.done.remove(&request)
        {
            assert!(
                matches!(
                    result,
                    Ok(Response::Appended { .. } | Response::Done | Response::Committed(Some(_)))
                ),
                "{}{result:?}",
                self.label()
            );
            self.steps[place].request = None;
            if self.steps[place].is_strict {
                self.durable = self.steps.drain(..=place).next_back().expect("it is there").after;
            }
        }
    }

    fn settle_writer(&mut self) {
        while self.writer_waits() {
            self.step();
        }
        self.take_answers();
        let waiting = self.steps.iter().filter(|step| step.request.is_some()).count();
        assert_eq!(waiting, 0, "{}operations were never answered", self.label());
    }

    fn writer_waits(&mut self) -> bool {
        self.writer.drain(self.now);
        !self.writer.waiting.is_empty()
    }

    /// Runs until nothing moves at this moment.
    fn settle(&mut self) {
        while self.step() {}
        self.settle_writer();
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        for node in [&mut self.writer, &mut self.reader] {
            node.engine.handle_input(Input::Timeout, self.now);
            node.drain(self.now);
        }
    }

    fn end_writer(&mut self, intent: Intent, fate: Fate) {
        let now = self.now;
        match fate {
            Fate::CrashBefore => {}
            Fate::CrashAfter => drop(self.writer.disk.handle_intent(intent)),
            Fate::Fails(has_happened) => {
                let Intent::Commit { id, .. } = intent else { unreachable!("only commits fail") };
                if has_happened {
                    self.writer.disk.handle_intent(intent);
                }
                self.fail_commit(id);
                return self.restart_writer(false);
            }
        }
        self.writer.drain(now);
        self.restart_writer(true);
    }

    /// Nothing is answered well, nothing more is written, and whoever asks is told why.
    fn fail_commit(&mut self, id: CommitId) {
        let (now, failure) = (self.now, StorageFailure::WriteFailed);
        let store = self.writer.store;
        let outcome = Outcome::CommitFailed { id, failure };
        self.writer.waiting.clear();
        self.writer.engine.handle_input(Input::Storage { store, outcome }, now);
        self.writer.drain(now);
        let requests: Vec<RequestId> = self.steps.iter().filter_map(|step| step.request).collect();
        for request in requests {
            let result = self.writer.done.remove(&request);
            assert_eq!(result, Some(Err(Error::Storage(failure))), "{}", self.label());
        }
        let mut handle = self.writer.engine.core(self.writer.core).expect("open");
        let request = handle.append(vec!["never".into()], AppendOptions::default());
        self.writer.drain(now);
        assert_eq!(self.writer.done.remove(&request), Some(Err(Error::Storage(failure))), "{}", self.label());
        assert!(self.writer.waiting.is_empty(), "{}a stopped store goes on", self.label());
    }

    /// Starts the writer again on what its disk holds, and compares.
    fn restart_writer(&mut self, is_power_cut: bool) {
        self.crashes += 1;
        if let Some((_, link)) = self.wire.take() {
            self.reader.engine.handle_input(Input::LinkClosed { link, reason: None }, self.now);
        }
        self.take_answers();
        let mut disk = std::mem::replace(&mut self.writer.disk, disk("memory"));
        if is_power_cut {
            disk.crash(&mut self.random);
        } else {
            disk.reopen();
        }
        self.engines += 1;
        self.writer = Node::new(disk, self.engines, self.now);
        let core = OpenOptions { create_if_missing: false, ..OpenOptions::default() };
        let options = OpenCore { core, ..OpenCore::default() };
        let (core, request) = self.writer.engine.open_core(self.writer.store, options, self.now);
        self.writer.core = core;
        assert_eq!(self.writer.ask(request, self.now), Ok(Response::Opened), "{}", self.label());

        let found = self.read_state();
        let is_possible = self.durable == found || self.steps.iter().any(|step| step.after == found);
        assert!(
            is_possible,
            "{}a restart left fork {} and {} blocks; the last durable state had fork {} and {} blocks, then came {:?}",
            self.label(),
            found.fork,
            found.blocks.len(),
            self.durable.fork,
            self.durable.blocks.len(),
            self.steps.iter().map(|step| (step.after.fork, step.after.blocks.len())).collect::<Vec<_>>()
        );
        self.history.retain(|fork, _| *fork <= found.fork);
        self.history.entry(found.fork).or_default().truncate(found.blocks.len());
        let head = self.reader.head();
        let ours = (found.fork, found.blocks.len() as u64);
        assert!(head <= ours, "{}the reader knows of {head:?}, its writer of {ours:?}", self.label());
        self.durable = found;
        self.steps.clear();
        self.snapshots.clear();
    }

    fn crash_reader(&mut self) {
        let now = self.now;
        if let Some((link, _)) = self.wire.take() {
            self.writer.engine.handle_input(Input::LinkClosed { link, reason: None }, now);
        }
        self.reader.drain(now);
        if self.random.below(2) == 0 {
            for intent in std::mem::take(&mut self.reader.waiting) {
                self.reader.disk.handle_intent(intent);
            }
        }
        let mut disk = std::mem::replace(&mut self.reader.disk, disk("memory"));
        disk.crash(&mut self.random);
        self.engines += 1;
        self.reader = Node::new(disk, self.engines, now);
        open_reader(&mut self.reader, self.key, now);
        self.check_reader();
    }

    /// Closes and opens the writer as a program does.
    fn reopen_writer(&mut self) {
        self.settle_writer();
        let state = self.state();
        self.restart_writer(false);
        assert_eq!(self.durable, state, "{}", self.label());
    }

    fn read_state(&mut self) -> State {
        let now = self.now;
        let (fork, length) = self.writer.head();
        let mut blocks = Vec::new();
        for index in 0..length {
            let found = self.writer.block(index, None, now);
            let has = self.writer.has(index);
            assert!(
                matches!(&found, Ok(block) if block.is_some() == has),
                "{}block {index} is {found:?}, and the bitfield says {has}",
                self.label()
            );
            blocks.push(found.expect("looked at"));
        }
        State { fork, blocks, user_data: self.writer.user_data(now) }
    }

    fn check_writer(&mut self) {
        self.settle_writer();
        let (found, state) = (self.read_state(), self.state());
        assert_eq!(found, state, "{}", self.label());
    }

    fn check_random_block(&mut self) {
        let (state, now) = (self.state(), self.now);
        assert_eq!(self.writer.head(), (state.fork, state.blocks.len() as u64), "{}", self.label());
        let index = self.random.below(state.blocks.len() as u64 + 1);
        let expected = state.blocks.get(index as usize).cloned().flatten();
        assert_eq!(self.writer.block(index, None, now), Ok(expected), "{}block {index}", self.label());
    }

    /// What the reader has is what the writer appended.
    fn check_reader(&mut self) {
        let now = self.now;
        self.reader.settle(now);
        let (fork, length) = self.reader.head();
        let written = self.history.get(&fork).cloned().unwrap_or_default();
        assert!(
            length <= written.len() as u64,
            "{}the reader has a head that was never written",
            self.label()
        );
        for index in 0..length {
            let found = self.reader.block(index, None, now);
            let expected = self.reader.has(index).then(|| written[index as usize].clone());
            assert_eq!(found, Ok(expected), "{}block {index} of the reader at fork {fork}", self.label());
        }
    }
}

fn open_reader(reader: &mut Node, key: [u8; 32], now: Instant) {
    let core = OpenOptions { key: Some(key), ..OpenOptions::default() };
    let (core, request) =
        reader.engine.open_core(reader.store, OpenCore { core, ..OpenCore::default() }, now);
    reader.core = core;
    assert_eq!(reader.ask(request, now), Ok(Response::Opened));
}

const MAX_LENGTH: usize = 300;

fn pair() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}
