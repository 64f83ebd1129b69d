//! What bees of an engine and their peers tell each other about the blocks that a read will need.
//!
//! A read that has to wait for a block of a peer asks all peers, once, and asks for the block itself at the same time.
//! Its first block comes from whoever has it; then it waits as long again for hints, unless peers are known to give none.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{Reader, Writer};
use crate::hyperbee::RangeCursor;
use crate::hyperbee::extension::{
    Answering, EXTENSION, ask_evidence, ask_range, decode_extension, hints as cache_of,
};
use crate::hyperbee::messages::CacheMessage;
use crate::replicator::RangeWish;
use crate::time::{Duration, Instant};

use super::Engine;
use super::bees::{BeeId, BeeRead, Work};
use super::cores::CoreEntry;
use super::types::{CoreId, Error, PeerId, RequestId};

/// What a bee knows about its peers.
#[derive(Debug, Default)]
pub(super) struct Hinting {
    /// The last time that was waited for hints, none came.
    is_silent: bool,
    /// Blocks that peers named for walks, on their way.
    ahead: Vec<RequestId>,
}

/// What a read asked its peers.
#[derive(Debug, Default)]
pub(super) struct Question {
    asked: Option<Instant>,
    /// Until when it waits for an answer, from the first block on.
    until: Option<Instant>,
    is_lookup: bool,
    /// What a peer said.
    pub(super) hints: Option<CacheMessage>,
}

impl Question {
    /// Returns until when a lookup is to wait before it goes on without hints.
    pub(super) fn patience(&mut self, hinting: &Hinting, now: Instant) -> Option<Instant> {
        let asked = self.asked.filter(|_| self.is_lookup && self.hints.is_none() && !hinting.is_silent)?;
        let until = *self.until.get_or_insert(now + now.duration_since(asked).max(MIN_PATIENCE));
        (now < until).then_some(until)
    }
}

impl Engine {
    /// Asks all peers what a read will need, at the first block that is not here.
    pub(super) fn ask_peers(&mut self, request: RequestId, core: CoreId, now: Instant) {
        let Some(task) = self.bees.tasks.get_mut(&request) else { return };
        let Some(bee) = self.bees.bees.get(&task.bee).filter(|bee| bee.options.extension) else { return };
        let Some(open) = self.cores.get(&core).and_then(CoreEntry::open) else { return };
        if !task.options.wait || task.question.asked.is_some() || task.lacks_nothing(|seq| open.may_have(seq))
        {
            return;
        }
        let version = task.options.version.unwrap_or(open.tree().length).max(1);
        let question = match &task.work {
            Work::Get(key) => Some(ask_evidence(version, key)),
            Work::Range { range, cursor, .. } => match cursor {
                Some(cursor) => ask_range(version, cursor),
                None => ask_range(version, &RangeCursor::new(range.clone())),
            },
            _ => None,
        };
        let Some(question) = question else { return };
        let peers: Vec<PeerId> = self.cores.get(&core).map_or_else(Vec::new, |entry| {
            entry.replicator.peers().map(|status| status.peer).take(MAX_ASKED).collect()
        });
        if peers.is_empty() {
            return;
        }
        task.question.asked = Some(now);
        task.question.is_lookup = matches!(task.work, Work::Get(_)) && !bee.hinting.is_silent;
        self.send_to_bees(core, &peers, &[question]);
    }

    /// Takes a message of a peer; `false` when no bee is over the core.
    pub(super) fn bee_message(
        &mut self,
        core: CoreId,
        peer: PeerId,
        name: &str,
        payload: &Bytes,
        now: Instant,
    ) -> bool {
        if name != EXTENSION {
            return false;
        }
        let mut bees = self.bees.bees.iter().filter(|(_, bee)| bee.core == core && bee.options.extension);
        let Some(bee) = bees.next().map(|(id, _)| *id) else { return false };
        let Some(message) = unframed(payload).and_then(decode_extension) else { return true };
        let version = self.cores.get(&core).and_then(CoreEntry::open).map_or(0, |open| open.tree().length);
        let answering = Answering::new(&message, version);
        if answering.is_question() && self.answers_under_way() < MAX_ANSWERS {
            let work = Work::Answer { peer, answering: Some(Box::new(answering)) };
            self.begin_bee(bee, BeeRead { wait: false, ..BeeRead::default() }, work, now);
        }
        let hints = cache_of(message);
        if !hints.blocks.is_empty() {
            self.take_hints(core, bee, hints, now);
        }
        true
    }

    /// Gives hints to the lookup that they are for, or downloads what they name.
    fn take_hints(&mut self, core: CoreId, bee: BeeId, hints: CacheMessage, now: Instant) {
        let bees = &mut self.bees;
        for bee in bees.bees.values_mut().filter(|bee| bee.core == core) {
            bee.hinting.is_silent = false;
        }
        let mut meant = bees.tasks.iter_mut().filter(|(_, task)| {
            let is_here = bees.bees.get(&task.bee).is_some_and(|bee| bee.core == core);
            let key = match &task.work {
                Work::Get(key) => key,
                _ => return false,
            };
            is_here
                && task.question.asked.is_some()
                && task.question.hints.is_none()
                && hints.key.as_ref().is_none_or(|hinted| hinted == key)
        });
        match (meant.next(), meant.next()) {
            (Some((request, task)), None) => {
                task.question.hints = Some(hints);
                bees.dirty.insert(*request);
                return;
            }
            // An answer to several lookups of one key.
            (Some(_), Some(_)) if hints.key.is_some() => return,
            (None, _) if hints.key.is_some() => return,
            _ => {}
        }
        let length = self.cores.get(&core).and_then(CoreEntry::open).map_or(0, |open| open.tree().length);
        let blocks: Vec<u64> = hints.blocks.into_iter().take(MAX_NAMED).filter(|seq| *seq < length).collect();
        if blocks.is_empty() {
            return;
        }
        let wish = RangeWish { blocks: Some(blocks), ..RangeWish::default() };
        let download = self.request_range(core, wish, now);
        self.bees.expect_download(download, bee);
        let Some(bee) = self.bees.bees.get_mut(&bee) else { return };
        bee.hinting.ahead.push(download);
        if bee.hinting.ahead.len() > MAX_DOWNLOADS {
            let oldest = bee.hinting.ahead.remove(0);
            self.give_up(oldest, Error::RequestCancelled, now);
        }
    }

    /// Forgets a download that a bee began.
    pub(super) fn download_done(&mut self, bee: BeeId, download: RequestId) {
        if let Some(bee) = self.bees.bees.get_mut(&bee) {
            bee.hinting.ahead.retain(|known| *known != download);
        }
    }

    /// Stops the downloads of a bee.
    pub(super) fn end_hinting(&mut self, bee: BeeId, now: Instant) {
        let Some(entry) = self.bees.bees.get_mut(&bee) else { return };
        for download in core::mem::take(&mut entry.hinting.ahead) {
            self.give_up(download, Error::RequestCancelled, now);
        }
    }

    /// Lets a lookup that waited long enough go on without hints.
    pub(super) fn wake_bee(&mut self, request: RequestId) {
        let Some(task) = self.bees.tasks.get(&request) else { return };
        if task.question.hints.is_none()
            && let Some(bee) = self.bees.bees.get_mut(&task.bee)
        {
            bee.hinting.is_silent = true;
        }
        self.bees.dirty.insert(request);
    }

    /// Tells a peer what was found of an answer to its question.
    pub(super) fn send_answer(&mut self, bee: BeeId, peer: PeerId, answering: Option<Box<Answering>>) {
        let Some(core) = self.bees.bees.get(&bee).map(|bee| bee.core) else { return };
        let answers = answering.map_or_else(Vec::new, |answering| answering.finish());
        self.send_to_bees(core, &[peer], &answers);
    }

    fn send_to_bees(&mut self, core: CoreId, peers: &[PeerId], payloads: &[Bytes]) {
        let Some((_, replicator)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) else { return };
        for peer in peers {
            for payload in payloads {
                replicator.extension(*peer, EXTENSION, framed(payload));
            }
        }
        self.dirty_cores.insert(core);
    }

    fn answers_under_way(&self) -> usize {
        self.bees.tasks.values().filter(|task| matches!(task.work, Work::Answer { .. })).count()
    }
}

/// A message as extensions of upstream's cores carry one that says nothing of its encoding: as a buffer, with its length
/// before it (`registerExtension` in hypercore's index.js).
fn framed(message: &[u8]) -> Bytes {
    let mut writer = Writer::with_capacity(message.len() + 5);
    writer.buffer(message);
    writer.into_vec().into()
}

fn unframed(payload: &Bytes) -> Option<Bytes> {
    Reader::new(payload).buffer().ok().map(|message| payload.slice_ref(message))
}

/// How long a lookup waits for hints at least, once its first block came.
const MIN_PATIENCE: Duration = Duration::from_millis(30);

/// Questions that are answered at once; more are left unanswered, as a hint may be.
const MAX_ANSWERS: usize = 32;

/// Peers that are asked.
const MAX_ASKED: usize = 32;

/// Blocks of one message that are downloaded; upstream names 128 in each.
const MAX_NAMED: usize = 256;

/// Messages whose blocks are downloaded at once: a walk's question has 17 answers.
const MAX_DOWNLOADS: usize = 64;
