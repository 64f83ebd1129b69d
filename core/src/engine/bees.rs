//! Bees over open cores: reads and writes that the engine carries through.
//!
//! A read is a plain function over the blocks that it was given; what it lacks is read from storage or fetched from
//! peers as any other block, and it runs again. A write builds its blocks here and appends them in one go.
//!
//! ```text
//! command → run over what is cached → missing blocks: get them, run again → answer
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::{BTreeMap, BTreeSet};
use crate::hyperbee::extension::Answering;
use crate::hyperbee::{
    BatchWriter, BlockCache, Change, DiffCursor, Difference, Entry, HistoryCursor, HistoryRange,
    LoadedBlocks, Metadata, Range, RangeCursor, ReadError, View, header_block,
};
use crate::hypercore::jobs::Work as Job;
use crate::time::{Duration, Instant};

use super::bee_hints::{Hinting, Question};
use super::cores::CoreEntry;
use super::types::{
    AppendOptions, CoreId, EncryptionKey, Error, GetOptions, Misuse, PeerId, RequestId, Response,
};
use super::{Engine, Sleeper};

/// One bee; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeeId(pub u32);

/// How a bee behaves.
#[derive(Clone, Debug)]
pub struct BeeOptions {
    /// Encrypts and decrypts the blocks.
    pub encryption: Option<EncryptionKey>,
    /// Puts a value also when it is there already.
    pub always_duplicate: bool,
    /// Goes into the header when that is written.
    pub metadata: Option<Metadata>,
    /// Asks peers which blocks to read, and answers their questions.
    pub extension: bool,
}

impl Default for BeeOptions {
    fn default() -> Self {
        Self { encryption: None, always_duplicate: true, metadata: None, extension: true }
    }
}

/// How a bee is read.
#[derive(Clone, Debug)]
pub struct BeeRead {
    /// The version; the newest by default.
    pub version: Option<u64>,
    /// Waits for peers when a block is not here.
    pub wait: bool,
    /// How long, for each block.
    pub timeout: Option<Duration>,
    /// Most entries in the answer of a walk, at least one.
    pub page: usize,
}

impl Default for BeeRead {
    fn default() -> Self {
        Self { version: None, wait: true, timeout: None, page: 1024 }
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeeChange {
    /// Takes a key away.
    Delete(Bytes),
    /// Takes a key away, if its entry is as expected.
    DeleteIf(Bytes, Expected),
    /// Puts a value.
    Put(Bytes, Option<Bytes>),
    /// Puts a value, if the entry of the key is as expected.
    PutIf(Bytes, Option<Bytes>, Expected),
}

/// What a key is to have when it is changed; changes before in the same batch count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// The entry that this block put.
    Seq(u64),
    /// This value.
    Value(Option<Bytes>),
}

impl Expected {
    fn is_met(&self, entry: Option<&Entry>) -> bool {
        match (self, entry) {
            (Self::Absent, entry) => entry.is_none(),
            (Self::Seq(seq), Some(entry)) => entry.seq == *seq,
            (Self::Value(value), Some(entry)) => entry.value == *value,
            (Self::Seq(_) | Self::Value(_), None) => false,
        }
    }
}

/// An answer of a bee.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeeResponse {
    /// The next changes of a history, and whether there may be more.
    Changes(Vec<Change>, bool),
    /// The next differences, and whether there may be more.
    Differences(Vec<Difference>, bool),
    /// The next entries of a range, and whether there may be more: go on after the last one.
    Entries(Vec<Entry>, bool),
    /// The entry of a key.
    Entry(Option<Entry>),
    /// What a write made.
    Written {
        /// The version afterwards.
        version: u64,
        /// The changes that did not find what they expected, by their place in the batch.
        refused: Vec<usize>,
    },
}

/// All bees of an engine.
#[derive(Debug, Default)]
pub(super) struct Bees {
    pub(super) bees: BTreeMap<BeeId, Bee>,
    pub(super) tasks: BTreeMap<RequestId, Task>,
    /// Blocks that are on their way, and appends: for which task, and which block.
    inner: BTreeMap<RequestId, (RequestId, Inner)>,
    /// Tasks that may be able to go on.
    pub(super) dirty: BTreeSet<RequestId>,
}

#[derive(Debug)]
pub(super) struct Bee {
    pub(super) core: CoreId,
    pub(super) options: BeeOptions,
    cache: BlockCache,
    pub(super) hinting: Hinting,
    /// Writes, one at a time.
    writes: VecDeque<RequestId>,
}

#[derive(Clone, Copy, Debug)]
enum Inner {
    Block(u64),
    /// And the length of the log afterwards.
    Append(u64),
    /// Blocks that a peer named to this bee.
    Download(BeeId),
}

impl Bees {
    pub(super) fn expect_download(&mut self, download: RequestId, bee: BeeId) {
        self.inner.insert(download, (download, Inner::Download(bee)));
    }
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) bee: BeeId,
    pub(super) options: BeeRead,
    pub(super) question: Question,
    loaded: LoadedBlocks,
    needed: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    /// Blocks that are not here and not to be waited for.
    unavailable: BTreeSet<u64>,
    failed: Option<Error>,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    /// For a peer.
    Answer {
        peer: PeerId,
        answering: Option<Box<Answering>>,
    },
    Get(Bytes),
    Range {
        range: Range,
        cursor: Option<Box<RangeCursor>>,
        found: Vec<Entry>,
    },
    History {
        range: HistoryRange,
        cursor: Option<HistoryCursor>,
        found: Vec<Change>,
    },
    Diff {
        range: Range,
        right: u64,
        cursor: Option<Box<DiffCursor>>,
        found: Vec<Difference>,
    },
    Write {
        changes: VecDeque<BeeChange>,
        made: usize,
        refused: Vec<usize>,
        stage: Stage,
    },
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Another write comes first.
    Waiting,
    /// The header is being appended.
    Header,
    Changing(Box<BatchWriter>),
    Appending {
        start: u64,
        blocks: Vec<Bytes>,
    },
    Appended {
        start: u64,
        blocks: Vec<Bytes>,
    },
}

/// What a run came to.
enum Run {
    Done(BeeResponse),
    Append(Vec<Bytes>),
    /// An append is under way, or a write that comes first.
    Blocked,
    /// A question of a peer is answered, as far as it can be.
    Answered,
    Stopped(ReadError),
}

impl Engine {
    /// Adds a bee over an open core. Several may read one core; of those that write it, only one.
    ///
    /// # Errors
    ///
    /// [`Misuse`] when the core is not open.
    pub fn open_bee(&mut self, core: CoreId, options: BeeOptions) -> Result<BeeId, Misuse> {
        self.core(core)?;
        let id = BeeId(self.next_id());
        let (cache, hinting) = (BlockCache::default(), Hinting::default());
        let bee = Bee { core, options, cache, hinting, writes: VecDeque::new() };
        self.bees.bees.insert(id, bee);
        Ok(id)
    }

    /// Forgets a bee. What is under way fails, except a write that is being appended.
    pub fn close_bee(&mut self, bee: BeeId, now: Instant) {
        let tasks = self.bees.tasks.iter().filter(|(_, task)| task.bee == bee).map(|(id, _)| *id);
        for task in tasks.collect::<Vec<_>>() {
            self.finish_bee(task, Err(Error::Closed), now);
        }
        self.end_hinting(bee, now);
        self.bees.bees.remove(&bee);
    }

    /// Looks a key up. Answered with [`BeeResponse::Entry`].
    pub fn bee_get(&mut self, bee: BeeId, key: Bytes, options: BeeRead, now: Instant) -> RequestId {
        self.begin_bee(bee, options, Work::Get(key), now)
    }

    /// Reads the first entries of a range. Answered with [`BeeResponse::Entries`].
    pub fn bee_range(&mut self, bee: BeeId, range: Range, options: BeeRead, now: Instant) -> RequestId {
        self.begin_bee(bee, options, Work::Range { range, cursor: None, found: Vec::new() }, now)
    }

    /// Reads the first changes of a history. Answered with [`BeeResponse::Changes`].
    pub fn bee_history(
        &mut self,
        bee: BeeId,
        range: HistoryRange,
        options: BeeRead,
        now: Instant,
    ) -> RequestId {
        self.begin_bee(bee, options, Work::History { range, cursor: None, found: Vec::new() }, now)
    }

    /// Reads the first differences to another version. Answered with [`BeeResponse::Differences`].
    pub fn bee_diff(
        &mut self,
        bee: BeeId,
        right: u64,
        range: Range,
        options: BeeRead,
        now: Instant,
    ) -> RequestId {
        self.begin_bee(bee, options, Work::Diff { range, right, cursor: None, found: Vec::new() }, now)
    }

    /// Appends changes together, after those asked for before. Answered with [`BeeResponse::Written`] once they are
    /// durable.
    pub fn bee_write(&mut self, bee: BeeId, changes: Vec<BeeChange>, now: Instant) -> RequestId {
        let (changes, stage) = (changes.into(), Stage::Waiting);
        let work = Work::Write { changes, made: 0, refused: Vec::new(), stage };
        self.begin_bee(bee, BeeRead::default(), work, now)
    }

    pub(super) fn begin_bee(&mut self, bee: BeeId, options: BeeRead, work: Work, now: Instant) -> RequestId {
        let request = self.next_request();
        let Some(entry) = self.bees.bees.get_mut(&bee) else {
            self.answer(request, Err(Error::Closed));
            return request;
        };
        if matches!(work, Work::Write { .. }) {
            entry.writes.push_back(request);
        }
        let task = Task {
            bee,
            options,
            question: Question::default(),
            loaded: LoadedBlocks::default(),
            needed: BTreeSet::new(),
            under_way: BTreeSet::new(),
            unavailable: BTreeSet::new(),
            failed: None,
            work,
        };
        self.bees.tasks.insert(request, task);
        self.drive_bee(request, now);
        request
    }

    /// Lets one task go on, and returns whether there was any.
    pub(super) fn advance_bees(&mut self, now: Instant) -> bool {
        match self.bees.dirty.pop_first() {
            Some(task) => self.drive_bee(task, now),
            None => return false,
        }
        true
    }

    /// Takes the answer to something that a bee asked for; `false` when no bee did.
    pub(super) fn answer_bee(&mut self, inner: RequestId, result: &Result<Response, Error>) -> bool {
        let Some((request, what)) = self.bees.inner.remove(&inner) else { return false };
        if let Inner::Download(bee) = what {
            self.download_done(bee, inner);
            return true;
        }
        let Some(task) = self.bees.tasks.get_mut(&request) else { return true };
        let is_awaited = match (what, result) {
            (Inner::Append(end), Ok(Response::Appended { length, .. })) if *length == end => {
                task.appended();
                true
            }
            (Inner::Append(_), result) => {
                let changed = Error::InvalidOperation("the log changed meanwhile");
                task.failed = Some(result.as_ref().err().copied().unwrap_or(changed));
                true
            }
            (Inner::Block(seq), result) => {
                task.under_way.remove(&seq);
                let is_needed = task.needed.contains(&seq);
                match result {
                    Ok(Response::Block(Some(block))) => task.loaded.give(seq, block.clone()),
                    Err(error) if is_needed => task.failed = Some(*error),
                    _ => drop(task.unavailable.insert(seq)),
                }
                is_needed || task.under_way.is_empty()
            }
            (Inner::Download(_), _) => false,
        };
        if is_awaited {
            self.bees.dirty.insert(request);
        }
        true
    }

    /// Takes a request of a bee back; `false` when it is none.
    pub(super) fn cancel_bee(&mut self, request: RequestId, now: Instant) -> bool {
        let Some(task) = self.bees.tasks.get(&request) else { return false };
        if !matches!(task.work, Work::Write { stage: Stage::Appending { .. }, .. }) {
            self.finish_bee(request, Err(Error::RequestCancelled), now);
        }
        true
    }

    /// Forgets what was cut from a core; reads begin anew.
    pub(super) fn bees_truncated(&mut self, core: CoreId, length: u64) {
        let Bees { bees, tasks, dirty, .. } = &mut self.bees;
        for bee in bees.values_mut().filter(|bee| bee.core == core) {
            bee.cache.truncate(length);
        }
        for (request, task) in tasks {
            if bees.get(&task.bee).is_some_and(|bee| bee.core == core) {
                task.restart();
                dirty.insert(*request);
            }
        }
    }

    fn drive_bee(&mut self, request: RequestId, now: Instant) {
        let Some(task) = self.bees.tasks.get_mut(&request) else { return };
        let Some(bee) = self.bees.bees.get_mut(&task.bee) else { return };
        if let Some(error) = task.failed {
            return self.finish_bee(request, Err(error), now);
        }
        let core = bee.core;
        if let Some(until) = task.question.patience(&bee.hinting, now) {
            self.wakes.set(Sleeper::Bee(request), Some(until));
            return;
        }
        let Some(open) = self.cores.get(&core).and_then(CoreEntry::open) else {
            return self.finish_bee(request, Err(Error::Closed), now);
        };
        let is_first = bee.writes.front() == Some(&request);
        let length = open.tree().length;
        match task.run(bee, length, is_first) {
            Run::Done(response) => self.finish_bee(request, Ok(response), now),
            Run::Append(blocks) => {
                let end = length.saturating_add(u64::try_from(blocks.len()).unwrap_or(u64::MAX));
                let encryption = bee.options.encryption.clone();
                let encryption_fork = encryption.as_ref().and_then(|_| self.main_fork(core));
                // Blocks say where in the log they are.
                let max_length = Some(end);
                let options =
                    AppendOptions { encryption, encryption_fork, max_length, ..AppendOptions::default() };
                let inner = self.request_job(core, Job::Append { blocks, options });
                self.bees.inner.insert(inner, (request, Inner::Append(end)));
            }
            Run::Blocked => {}
            Run::Answered => self.finish_bee(request, Err(Error::Closed), now),
            Run::Stopped(ReadError::Paused) => drop(self.bees.dirty.insert(request)),
            Run::Stopped(ReadError::Missing) => self.load_for_bee(request, core, now),
            Run::Stopped(_) => self.finish_bee(request, Err(Error::Decoding), now),
        }
    }

    /// Asks for the blocks that a task lacks.
    fn load_for_bee(&mut self, request: RequestId, core: CoreId, now: Instant) {
        self.ask_peers(request, core, now);
        let Some(task) = self.bees.tasks.get_mut(&request) else { return };
        let (needed, ahead) = (task.loaded.take_needed(), task.loaded.take_ahead());
        if let Some(index) = needed.iter().find(|seq| task.unavailable.contains(seq)) {
            let index = *index;
            return self.finish_bee(request, Err(Error::BlockNotAvailable { index }), now);
        }
        task.needed = needed.iter().copied().collect();
        let wanted: Vec<u64> =
            needed.into_iter().chain(ahead).filter(|seq| task.under_way.insert(*seq)).collect();
        let encryption = self.bees.bees.get(&task.bee).and_then(|bee| bee.options.encryption.clone());
        let (wait, timeout) = (task.options.wait, task.options.timeout);
        for seq in wanted {
            let options =
                GetOptions { wait, timeout, encryption: encryption.clone(), ..GetOptions::default() };
            // Known before it is asked for: the answer may come at once.
            let inner = RequestId(self.last_request + 1);
            self.bees.inner.insert(inner, (request, Inner::Block(seq)));
            let asked = self.request_get(core, seq, options, now);
            debug_assert_eq!(asked, inner);
        }
    }

    fn finish_bee(&mut self, request: RequestId, result: Result<BeeResponse, Error>, now: Instant) {
        let Some(task) = self.bees.tasks.remove(&request) else { return };
        self.bees.dirty.remove(&request);
        self.wakes.set(Sleeper::Bee(request), None);
        if !task.under_way.is_empty() {
            let inner = self.bees.inner.iter().filter(|(_, (owner, _))| *owner == request).map(|(id, _)| *id);
            for inner in inner.collect::<Vec<_>>() {
                self.give_up(inner, Error::RequestCancelled, now);
            }
        }
        if let Some(bee) = self.bees.bees.get_mut(&task.bee)
            && matches!(task.work, Work::Write { .. })
        {
            bee.writes.retain(|write| *write != request);
            self.bees.dirty.extend(bee.writes.front());
        }
        match task.work {
            Work::Answer { peer, answering } => self.send_answer(task.bee, peer, answering),
            _ => self.answer(request, result.map(Response::Bee)),
        }
    }
}

impl Task {
    fn run(&mut self, bee: &mut Bee, length: u64, is_first: bool) -> Run {
        let Self { options, question, loaded, work, .. } = self;
        let version = options.version.unwrap_or(length).max(1);
        let page = options.page.max(1);
        let result = match work {
            Work::Answer { answering, .. } => {
                let Some(answering) = answering else { return Run::Answered };
                return match answering.run(loaded, &mut bee.cache) {
                    Ok(()) => Run::Answered,
                    Err(error) => Run::Stopped(error),
                };
            }
            Work::Get(key) => {
                let mut view = View::new(loaded, &mut bee.cache, version);
                let found = match &question.hints {
                    Some(hints) => view.get_hinted(key, hints),
                    None => view.get(key),
                };
                found.map(BeeResponse::Entry)
            }
            Work::Range { range, cursor, found } => {
                let cursor = cursor.get_or_insert_with(|| Box::new(RangeCursor::new(range.clone())));
                let mut view = View::new(loaded, &mut bee.cache, version);
                fill(found, page, || cursor.next(&mut view))
                    .map(|(found, more)| BeeResponse::Entries(found, more))
            }
            Work::History { range, cursor, found } => {
                let cursor = cursor.get_or_insert_with(|| HistoryCursor::new(range, version));
                let mut view = View::new(loaded, &mut bee.cache, version);
                fill(found, page, || cursor.next(&mut view))
                    .map(|(found, more)| BeeResponse::Changes(found, more))
            }
            Work::Diff { range, right, cursor, found } => {
                let cursor = cursor.get_or_insert_with(|| Box::new(DiffCursor::new(range)));
                let mut view = View::new(loaded, &mut bee.cache, version);
                let versions = (version, *right);
                fill(found, page, || cursor.next(&mut view, versions))
                    .map(|(found, more)| BeeResponse::Differences(found, more))
            }
            Work::Write { .. } if !is_first => return Run::Blocked,
            Work::Write { changes, made, refused, stage } => {
                return write(changes, (made, refused), stage, loaded, bee, length);
            }
        };
        match result {
            Ok(response) => Run::Done(response),
            Err(error) => Run::Stopped(error),
        }
    }

    /// Returns whether all that it lacks is here.
    pub(super) fn lacks_nothing(&self, is_here: impl Fn(u64) -> bool) -> bool {
        self.loaded.needs_only(is_here)
    }

    fn appended(&mut self) {
        if let Work::Write { stage, .. } = &mut self.work {
            *stage = match core::mem::replace(stage, Stage::Waiting) {
                Stage::Appending { start, blocks } => Stage::Appended { start, blocks },
                _ => Stage::Waiting,
            };
        }
    }

    /// Begins anew, because the log is another.
    fn restart(&mut self) {
        self.loaded.clear();
        self.unavailable.clear();
        match &mut self.work {
            Work::Answer { answering, .. } => *answering = None,
            Work::Get(_) => self.question = Question::default(),
            Work::Range { cursor, found, .. } => (*cursor, *found) = (None, Vec::new()),
            Work::History { cursor, found, .. } => (*cursor, *found) = (None, Vec::new()),
            Work::Diff { cursor, found, .. } => (*cursor, *found) = (None, Vec::new()),
            Work::Write { stage: Stage::Changing(_), .. } => {
                self.failed = Some(Error::InvalidOperation("the log changed meanwhile"));
            }
            Work::Write { .. } => {}
        }
    }
}

/// Takes steps until a page is full.
fn fill<T>(
    found: &mut Vec<T>,
    page: usize,
    mut next: impl FnMut() -> Result<Option<T>, ReadError>,
) -> Result<(Vec<T>, bool), ReadError> {
    while found.len() < page {
        match next()? {
            Some(one) => found.push(one),
            None => return Ok((core::mem::take(found), false)),
        }
    }
    Ok((core::mem::take(found), true))
}

/// Makes the next part of a write: the header, the changes, or the end.
fn write(
    changes: &mut VecDeque<BeeChange>,
    (made, refused): (&mut usize, &mut Vec<usize>),
    stage: &mut Stage,
    loaded: &mut LoadedBlocks,
    bee: &mut Bee,
    length: u64,
) -> Run {
    if let Stage::Appended { start, blocks } = stage {
        let end = start.saturating_add(u64::try_from(blocks.len()).unwrap_or(u64::MAX));
        // They are read next, more likely than any others.
        for (seq, block) in (*start..).zip(blocks.drain(..)) {
            bee.cache.keep(seq, block);
        }
        return Run::Done(BeeResponse::Written { version: end, refused: core::mem::take(refused) });
    }
    if let Stage::Waiting = stage {
        if length == 0 {
            *stage = Stage::Header;
            return Run::Append(alloc::vec![header_block(bee.options.metadata.clone())]);
        }
        *stage = Stage::Changing(Box::new(BatchWriter::new(length, bee.options.always_duplicate)));
    }
    let Stage::Changing(writer) = stage else { return Run::Blocked };
    while let Some(change) = changes.front() {
        match make(change, writer, loaded, &mut bee.cache) {
            Ok(true) => {}
            Ok(false) => refused.push(*made),
            Err(error) => return Run::Stopped(error),
        }
        *made += 1;
        changes.pop_front();
    }
    loaded.clear();
    if writer.is_empty() {
        return Run::Done(BeeResponse::Written { version: length, refused: core::mem::take(refused) });
    }
    let Stage::Changing(writer) = core::mem::replace(stage, Stage::Waiting) else { return Run::Blocked };
    let blocks = writer.finish();
    *stage = Stage::Appending { start: length, blocks: blocks.clone() };
    Run::Append(blocks)
}

/// Makes one change. Returns `false` when it did not find what it expected.
fn make(
    change: &BeeChange,
    writer: &mut BatchWriter,
    loaded: &LoadedBlocks,
    cache: &mut BlockCache,
) -> Result<bool, ReadError> {
    match change {
        BeeChange::Put(key, value) => writer.put(loaded, cache, key.clone(), value.clone())?,
        BeeChange::Delete(key) => writer.delete(loaded, cache, key.clone())?,
        BeeChange::PutIf(key, value, expected) => {
            if !expected.is_met(writer.current(loaded, cache, key)?.as_ref()) {
                writer.refuse_put(loaded, cache, key)?;
                return Ok(false);
            }
            writer.put(loaded, cache, key.clone(), value.clone())?
        }
        BeeChange::DeleteIf(key, expected) => {
            if !expected.is_met(writer.current(loaded, cache, key)?.as_ref()) {
                return Ok(false);
            }
            writer.delete(loaded, cache, key.clone())?
        }
    };
    Ok(true)
}
