//! Opening: headers, manifest, then the commits since the last checkpoint.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::commit::{Placed, op_key_len};
use super::manifest::{self, Header};
use super::record::{self, Kind};
use super::segments::{SEGMENT, Segments};
use super::{DeviceOp, DeviceReply, Job, LogStore, MAX_KEY, Part, Phase};
use crate::error::StorageFailure;
use crate::storage::Op;

/// How far opening has come.
#[derive(Debug, Default)]
pub(super) enum Recovery {
    #[default]
    Headers,
    Manifest(Header),
    /// Reading the log; records of a commit whose last record was not seen yet.
    Replay(Replay),
}

#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Where the next record starts, if there is one.
    at: u64,
    /// Bytes from `at` on that were read and not used.
    rest: Bytes,
    /// Checksum of the last record read.
    previous: u32,
    /// Whether there has to be a record.
    must_begin: bool,
    /// Records of the commit that is being read: address, bytes, operations.
    open: Vec<(u64, u64, PlacedOps)>,
}

/// Operations of a record.
type PlacedOps = Vec<Placed>;

impl LogStore {
    /// Goes on with opening after an answer of the device.
    pub(super) fn recover(&mut self, reply: DeviceReply) {
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        match (core::mem::take(recovery), reply) {
            (Recovery::Headers, DeviceReply::Headers(headers)) => self.recover_headers(&headers),
            (Recovery::Manifest(header), DeviceReply::Bytes(bytes)) => self.recover_manifest(header, &bytes),
            (Recovery::Replay(replay), DeviceReply::Bytes(bytes)) => {
                self.replay(replay, bytes.into_iter().next().unwrap_or_default());
            }
            _ => self.phase = Phase::Failed(StorageFailure::Corrupted),
        }
    }

    fn recover_headers(&mut self, headers: &[Bytes; 2]) {
        let current =
            headers.iter().filter_map(|bytes| Header::decode(bytes)).max_by_key(|header| header.generation);
        self.headers = headers.iter().filter(|bytes| Header::decode(bytes).is_some()).count();
        let Some(header) = current else {
            // Two damaged headers are a damaged store; none at all is a new one. A single one was cut short by a crash: all of the log
            // is still there.
            let absent = headers.iter().filter(|bytes| bytes.iter().all(|&byte| byte == 0)).count();
            if absent > 0 {
                return self.request_log(Replay { must_begin: absent == 1, ..Replay::default() });
            }
            self.phase = Phase::Failed(StorageFailure::Corrupted);
            return;
        };
        let len = header.manifest_len.saturating_add(record::HEADER as u32);
        self.lookahead = Some(Segments::of_record(header.manifest, u64::from(len), header.manifest_slot));
        self.phase = Phase::Recovering(Recovery::Manifest(header));
        let id = self.start(Job::Recover);
        self.ops
            .push_back(DeviceOp::Read { id, parts: vec![Part { record: header.manifest, offset: 0, len }] });
    }

    fn recover_manifest(&mut self, header: Header, bytes: &[Bytes]) {
        let parsed = bytes
            .first()
            .and_then(|bytes| record::parse(bytes, header.manifest))
            .filter(|record| record.kind == Kind::Manifest)
            .ok_or(StorageFailure::Corrupted)
            .and_then(|record| Ok((record.epoch, record.checksum, manifest::decode(&record.payload)?)));
        let (epoch, previous, (fences, segments)) = match parsed {
            Ok(parsed) => parsed,
            Err(failure) => {
                self.phase = Phase::Failed(failure);
                return;
            }
        };
        self.epoch = epoch;
        self.generation = header.generation;
        self.manifest = Some((header.manifest, header.manifest_len));
        self.fences = fences;
        self.segments = segments;
        self.segments.condemn(header.replay_from);
        self.tail = header.replay_from;
        self.checkpoint_at = header.replay_from;
        self.previous = previous;
        self.request_log(Replay { at: header.replay_from, previous, ..Replay::default() });
    }

    /// Asks for the log up to the end of the segment that comes next.
    fn request_log(&mut self, replay: Replay) {
        let from = replay.at + replay.rest.len() as u64;
        // Segments are taken in order, so the places of those ahead are known before anything in them is.
        let mut ahead = self.segments.clone();
        for number in self.tail / SEGMENT..=from / SEGMENT {
            ahead.place(number * SEGMENT, 1);
        }
        self.lookahead = Some(ahead);
        let id = self.start(Job::Recover);
        self.phase = Phase::Recovering(Recovery::Replay(replay));
        self.ops.push_back(DeviceOp::Replay { id, from, len: SEGMENT - from % SEGMENT });
    }

    fn replay(&mut self, mut replay: Replay, bytes: Bytes) {
        let mut ended = bytes.is_empty();
        replay.rest = join(&replay.rest, bytes);
        loop {
            let follows =
                |record: &record::Record| record.epoch >= self.epoch && record.previous == replay.previous;
            if let Some(record) = record::parse(&replay.rest, replay.at).filter(follows) {
                self.epoch = record.epoch;
                if !self.replay_record(&mut replay, record) {
                    self.phase = Phase::Failed(StorageFailure::Corrupted);
                    return;
                }
                continue;
            }
            let claimed = record::claimed_len(&replay.rest, replay.at).filter(|&len| len <= MAX_RECORD);
            let is_cut = claimed.is_some_and(|len| len > replay.rest.len() as u64) || replay.rest.is_empty();
            if is_cut && !ended {
                return self.request_log(replay);
            }
            if replay.at.is_multiple_of(SEGMENT) {
                break;
            }
            // A record that did not fit here went to the next segment.
            let boundary = replay.at.next_multiple_of(SEGMENT);
            replay.skip(boundary);
            ended = false;
        }
        if replay.must_begin {
            self.phase = Phase::Failed(StorageFailure::Corrupted);
            return;
        }
        self.lookahead = None;
        if self.takeover.is_none() {
            self.segments.lift_quarantine();
        }
        // What a lost commit left behind carries an older epoch than whatever is written over it.
        self.epoch = self.epoch.saturating_add(1);
        self.phase = Phase::Open { writing: false };
        self.review_evacuation();
    }

    fn replay_record(&mut self, replay: &mut Replay, record: record::Record) -> bool {
        let address = replay.at;
        let len = (record::HEADER + record.payload.len()) as u64;
        let ops = match record.kind {
            Kind::Part | Kind::Commit => match record::parse_ops(&record.payload) {
                Ok(ops) if ops.iter().all(|(op, _)| op_key_len(op) <= MAX_KEY) => {
                    ops.into_iter().map(whole).collect()
                }
                _ => return false,
            },
            // Of a checkpoint whose header was not written: dead bytes.
            Kind::Leaf | Kind::Manifest => Vec::new(),
            Kind::GivenUp => Vec::new(),
        };
        replay.open.push((address, len, ops));
        replay.previous = record.checksum;
        replay.must_begin = false;
        replay.skip(Segments::after(address, len));
        if record.kind != Kind::Part {
            for (address, len, ops) in core::mem::take(&mut replay.open) {
                self.segments.place(address, len);
                self.apply(ops, address);
            }
            if record.kind == Kind::GivenUp {
                self.segments.release();
            }
            self.tail = replay.at;
            self.previous = replay.previous;
        }
        true
    }
}

impl Replay {
    fn skip(&mut self, to: u64) {
        let count = usize::try_from(to - self.at).unwrap_or(usize::MAX);
        self.rest = if count < self.rest.len() { self.rest.slice(count..) } else { Bytes::new() };
        self.at = to;
    }
}

fn whole((op, value_at): (Op, usize)) -> Placed {
    let part = if let Op::PutRun(run) = &op { 0..run.keys().count() } else { 0..0 };
    Placed { op, part, value_at }
}

/// Most bytes of one record: the largest block with room for its framing.
const MAX_RECORD: u64 = 64 << 20;

fn join(first: &Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut joined = BytesMut::with_capacity(first.len() + second.len());
    joined.extend_from_slice(first);
    joined.extend_from_slice(&second);
    joined.freeze()
}
