//! What the tests of the replicator share: a log in memory, and a node that drives a replicator with it.
#![allow(dead_code, unreachable_pub)]

pub(crate) mod situations;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hypertab_core::compact_encoding::{Encode, Reader};
use hypertab_core::crypto::{KeyPair, Node as TreeNode};
use hypertab_core::hypercore::bitfield::Bitfield;
use hypertab_core::hypercore::conflict::{Verdict, check_conflict};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hypercore::merkle_tree::{self, Missing, NodeSource, Tree, TreeBatch};
use hypertab_core::hypercore::proof::{Proof, ProofRequest};
use hypertab_core::hypercore::prove::prove;
use hypertab_core::hypercore::reorg::Reorg;
use hypertab_core::hypercore::verifier::Verifier;
use hypertab_core::hypercore::verify::{Identity, VerifyError, verify};
use hypertab_core::replicator::wire::Message;
use hypertab_core::replicator::{
    Action, Applied, ApplyError, ApplyTicket, ConflictFinding, Local, LocalChange, PeerId, PeerMisbehaved,
    ProveError, ProveTicket, ReorgStep, Reorged, Replicator, ReplicatorEvent, ReplicatorOptions, Resolution,
    SeekStep, SeekWish, WishError, WishId, wire,
};
use hypertab_core::time::Instant;
use serde_json::Value;

/// Reads a file of recorded vectors.
pub fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The block contents that the generators of the vectors use.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (seed * 31 + at * 7 + 1) as u8).collect()
}

/// A log in memory. Everything is resident.
#[derive(Clone)]
pub struct Log {
    pub key: [u8; 32],
    pub manifest: Option<Manifest>,
    pub pair: Option<KeyPair>,
    pub tree: Tree,
    pub nodes: BTreeMap<u64, TreeNode>,
    pub blocks: BTreeMap<u64, Bytes>,
    pub bits: Bitfield,
    pub contiguous: u64,
    pub reorgs: BTreeMap<u64, Reorg>,
    /// Whether the roots of shorter trees have to be looked up.
    pub is_lazy: bool,
}

impl Log {
    pub fn writer(seed: u8, compat: bool) -> Self {
        let pair = KeyPair::from_seed(&[seed; 32]);
        let manifest = Manifest::single_signer(pair.public_key);
        let key = if compat { pair.public_key } else { manifest.key() };
        Self { manifest: Some(manifest), pair: Some(pair), ..Self::reader(key) }
    }

    pub fn reader(key: [u8; 32]) -> Self {
        Self {
            key,
            manifest: None,
            pair: None,
            tree: Tree::empty(0, None),
            nodes: BTreeMap::new(),
            blocks: BTreeMap::new(),
            bits: Bitfield::new(),
            contiguous: 0,
            reorgs: BTreeMap::new(),
            is_lazy: false,
        }
    }

    fn sign(&mut self) {
        let verifier = Verifier::new(self.key, self.manifest.as_ref().unwrap()).unwrap();
        self.tree.signature = Some(verifier.sign(&self.tree, self.pair.as_ref().unwrap()).unwrap());
    }

    pub fn append(&mut self, blocks: &[Vec<u8>]) -> LocalChange {
        let start = self.tree.length;
        let mut batch = TreeBatch::new(self.tree.clone());
        for block in blocks {
            self.store_block(batch.tree.length, Bytes::from(block.clone()));
            batch.append(block);
        }
        self.put(&batch.nodes);
        self.tree = batch.tree;
        self.sign();
        LocalChange::Appended { start, length: blocks.len() as u64 }
    }

    pub fn truncate(&mut self, length: u64) -> LocalChange {
        let old_length = self.tree.length;
        let fork = self.tree.fork + 1;
        let tree = merkle_tree::truncated(self, &self.tree, length, fork).unwrap().unwrap();
        self.cut(length, old_length);
        self.tree = tree;
        self.sign();
        LocalChange::Truncated { length, old_length }
    }

    pub fn clear(&mut self, start: u64, length: u64) -> LocalChange {
        self.blocks.retain(|&index, _| index < start || index >= start + length);
        self.bits.set_range(start, start + length, false);
        self.contiguous = self.contiguous.min(start);
        LocalChange::Dropped { start, length }
    }

    fn cut(&mut self, length: u64, old_length: u64) {
        for node in merkle_tree::truncated_ancestors(length) {
            self.nodes.remove(&node);
        }
        self.nodes.retain(|&index, _| index < 2 * length);
        self.blocks.retain(|&index, _| index < length);
        self.bits.set_range(length, old_length, false);
        self.contiguous = self.contiguous.min(length);
    }

    fn put(&mut self, nodes: &[TreeNode]) {
        self.nodes.extend(nodes.iter().map(|node| (node.index, *node)));
    }

    pub fn store_block(&mut self, index: u64, value: Bytes) {
        self.blocks.insert(index, value);
        self.bits.set(index, true);
        self.contiguous = self.bits.contiguous_length(self.contiguous);
    }

    pub fn prove(&self, request: &ProofRequest) -> Result<Proof, ProveError> {
        let bare = request.block.is_none() && request.hash.is_none() && request.upgrade.is_none();
        let mut proof = if bare && request.seek.is_none() {
            Proof { fork: self.tree.fork, ..Proof::default() }
        } else {
            prove(self, &self.tree, request).unwrap().map_err(|_| ProveError::Invalid)?
        };
        if let Some(block) = &mut proof.block {
            block.value = self.blocks.get(&block.index).ok_or(ProveError::NotAvailable)?.clone();
        }
        if request.manifest && !self.is_compat() {
            proof.manifest = self.manifest.clone();
        }
        Ok(proof)
    }

    pub fn apply(&mut self, proof: &Proof) -> Result<Applied, ApplyError> {
        if let Some(manifest) = &proof.manifest
            && proof.upgrade.is_none()
            && self.manifest.is_none()
            && !manifest.belongs_to(&self.key)
        {
            return Err(ApplyError::Invalid);
        }
        let verified =
            verify(self, &self.tree, &Identity::new(&self.key, self.manifest.as_ref()), proof).unwrap();
        let verified = verified.map_err(apply_error)?;
        self.put(&verified.nodes);
        let upgraded = verified.upgraded.is_some();
        if let Some(tree) = verified.upgraded {
            self.tree = tree;
        }
        let manifest = self.manifest.is_none() && verified.manifest.is_some();
        if manifest {
            self.manifest = verified.manifest;
        }
        let block = verified.block.is_some();
        if let Some((index, value)) = verified.block {
            self.store_block(index, value);
        }
        Ok(Applied { upgraded, manifest, block })
    }

    pub fn check_reorg(&mut self, proof: &Proof) -> Result<ReorgStep, ApplyError> {
        let mut reorg = match self.reorgs.remove(&proof.fork) {
            Some(mut reorg) if proof.upgrade.is_none() => {
                if let Err(error) = reorg.update(self, proof).unwrap() {
                    self.reorgs.insert(proof.fork, reorg);
                    return Err(apply_error(error));
                }
                Some(reorg)
            }
            _ => None,
        };
        if reorg.is_none() {
            if proof.upgrade.is_none() {
                return Ok(ReorgStep::Ignored);
            }
            let identity = Identity::new(&self.key, self.manifest.as_ref());
            let started = Reorg::start(self, &self.tree, &identity, proof).unwrap();
            reorg = Some(started.map_err(apply_error)?);
        }
        let reorg = reorg.unwrap();
        let step = match reorg.want() {
            Some(want) => ReorgStep::Want { start: want.start, end: want.end, nodes: want.nodes },
            None => ReorgStep::Finished,
        };
        self.reorgs.insert(proof.fork, reorg);
        Ok(step)
    }

    pub fn apply_reorg(&mut self, fork: u64) -> Result<Reorged, ApplyError> {
        let reorg = self.reorgs.remove(&fork).unwrap().finish().unwrap();
        self.reorgs.clear();
        let old_length = self.tree.length;
        if reorg.old != (self.tree.fork, old_length) {
            return Err(ApplyError::Stale);
        }
        self.cut(reorg.ancestors, old_length);
        self.put(&reorg.nodes);
        self.tree = reorg.tree;
        if self.manifest.is_none() {
            self.manifest = reorg.manifest;
        }
        Ok(Reorged { ancestors: reorg.ancestors, old_length })
    }

    pub fn check_conflict(&self, proof: &Proof) -> ConflictFinding {
        match check_conflict(self, &self.tree, &Identity::new(&self.key, self.manifest.as_ref()), proof)
            .unwrap()
        {
            Verdict::Conflict { .. } => ConflictFinding::Proven,
            Verdict::Incomparable | Verdict::Same => ConflictFinding::None,
            Verdict::Invalid(_) | Verdict::Repair(_) => ConflictFinding::Bogus,
        }
    }

    pub fn seek(&self, bytes: u64, padding: u64) -> SeekStep {
        match merkle_tree::seek(self, &self.tree, bytes, padding).unwrap() {
            merkle_tree::Seek::Found { block, offset } => SeekStep::Found { block, offset },
            merkle_tree::Seek::Inside { start, end } => SeekStep::Narrowed { start, end },
            merkle_tree::Seek::Beyond => {
                SeekStep::Narrowed { start: self.tree.length, end: self.tree.length }
            }
        }
    }
}

fn apply_error(error: VerifyError) -> ApplyError {
    match error {
        VerifyError::Stale | VerifyError::WrongFork { .. } => ApplyError::Stale,
        VerifyError::InvalidOperation { .. } => ApplyError::Malformed,
        _ => ApplyError::Invalid,
    }
}

impl NodeSource for Log {
    fn node(&self, index: u64) -> Result<Option<TreeNode>, Missing> {
        Ok(self.nodes.get(&index).copied())
    }
}

impl Local for Log {
    fn fork(&self) -> u64 {
        self.tree.fork
    }

    fn length(&self) -> u64 {
        self.tree.length
    }

    fn contiguous_length(&self) -> u64 {
        self.contiguous
    }

    fn bitfield(&self) -> &Bitfield {
        &self.bits
    }

    fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    fn is_compat(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.is_compat(&self.key))
    }

    fn is_writable(&self) -> bool {
        self.pair.is_some()
    }

    fn missing_nodes(&self, tree_index: u64) -> u64 {
        merkle_tree::missing_nodes(self, tree_index, self.tree.length).unwrap()
    }

    fn can_upgrade_from(&self, length: u64) -> Option<bool> {
        (!self.is_lazy).then(|| merkle_tree::can_upgrade(self, length).unwrap())
    }
}

/// Work of the owner that takes a while.
pub enum Job {
    Prove(ProveTicket, ProofRequest),
    Apply(ApplyTicket, Proof),
    CheckReorg(ApplyTicket, Proof),
    CheckConflict(ApplyTicket, Proof),
    ApplyReorg(u64),
    CanUpgrade(PeerId, u64),
    Seek(WishId, u64, u64),
}

/// A log and its replicator, and what came out of it.
pub struct Node {
    pub log: Log,
    pub replicator: Replicator,
    pub now: Instant,
    pub jobs: VecDeque<Job>,
    pub sent: Vec<(PeerId, Message)>,
    pub closed: Vec<(PeerId, Option<PeerMisbehaved>)>,
    pub resolved: BTreeMap<WishId, Resolution>,
    pub rejected: BTreeMap<WishId, WishError>,
    pub events: Vec<ReplicatorEvent>,
    pub opens: usize,
}

impl Node {
    pub fn new(log: Log, options: ReplicatorOptions, seed: u8) -> Self {
        Self {
            log,
            replicator: Replicator::new(options, [seed; 32]),
            now: Instant::EPOCH,
            jobs: VecDeque::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            resolved: BTreeMap::new(),
            rejected: BTreeMap::new(),
            events: Vec::new(),
            opens: 0,
        }
    }

    pub fn active(log: Log, seed: u8) -> Self {
        let mut node = Self::new(log, ReplicatorOptions::default(), seed);
        node.replicator.set_active(true, &node.log, node.now);
        node.pump();
        node
    }

    pub fn add_peer(&mut self, id: u64) {
        self.replicator.add_peer(PeerId(id), true, &self.log, self.now);
        self.pump();
    }

    pub fn receive(&mut self, id: u64, message: Message) {
        let bytes = Bytes::from(message.to_vec());
        assert_eq!(bytes.len(), message.encoded_len());
        let decoded = Message::decode(message.message_type(), &bytes).unwrap().unwrap();
        assert_eq!(decoded, message);
        self.replicator.handle_message(PeerId(id), decoded, &self.log, self.now);
        self.pump();
    }

    pub fn changed(&mut self, change: LocalChange) {
        self.replicator.local_changed(change, &self.log, self.now);
        self.pump();
    }

    pub fn append(&mut self, blocks: &[Vec<u8>]) {
        let change = self.log.append(blocks);
        self.changed(change);
    }

    pub fn truncate(&mut self, length: u64) {
        let change = self.log.truncate(length);
        self.changed(change);
    }

    pub fn get(&mut self, wish: u64, block: u64) {
        self.replicator.get(WishId(wish), block, Default::default(), &self.log, self.now);
        self.pump();
    }

    pub fn seek(&mut self, wish: u64, bytes: u64) {
        match self.log.seek(bytes, 0) {
            SeekStep::Found { block, offset } => {
                self.resolved.insert(WishId(wish), Resolution::Seek { block, offset });
            }
            SeekStep::Narrowed { start, end } => {
                let seek = SeekWish { bytes, padding: 0, start, end };
                self.replicator.seek(WishId(wish), seek, &self.log, self.now);
            }
        }
        self.pump();
    }

    pub fn range(&mut self, wish: u64, start: u64, end: Option<u64>) {
        let range = hypertab_core::replicator::RangeWish { start, end, blocks: None, linear: false };
        self.replicator.range(WishId(wish), range, &self.log, self.now);
        self.pump();
    }

    pub fn update(&mut self, wish: u64) {
        self.replicator.update(WishId(wish), false, &self.log, self.now);
        self.pump();
    }

    /// Takes actions; work of the owner is only queued.
    pub fn pump(&mut self) {
        while let Some(action) = self.replicator.poll_action() {
            match action {
                Action::Send { peer, message } => self.sent.push((peer, message)),
                Action::ClosePeer { peer, reason } => self.closed.push((peer, reason)),
                Action::OpenChannels => self.opens += 1,
                Action::Prove { ticket, request, .. } => {
                    assert_eq!(request.fork, self.log.tree.fork);
                    self.jobs.push_back(Job::Prove(ticket, request.what));
                }
                Action::CancelProve { ticket } => {
                    self.jobs.retain(|job| !matches!(job, Job::Prove(other, _) if *other == ticket));
                }
                Action::Apply { ticket, proof, .. } => self.jobs.push_back(Job::Apply(ticket, proof)),
                Action::CheckReorg { ticket, proof, .. } => {
                    self.jobs.push_back(Job::CheckReorg(ticket, proof));
                }
                Action::CheckConflict { ticket, proof, .. } => {
                    self.jobs.push_back(Job::CheckConflict(ticket, proof));
                }
                Action::ApplyReorg { fork } => self.jobs.push_back(Job::ApplyReorg(fork)),
                Action::ForgetReorg { fork } => {
                    self.log.reorgs.remove(&fork);
                }
                Action::CanUpgrade { peer, length } => self.jobs.push_back(Job::CanUpgrade(peer, length)),
                Action::Seek { id, bytes, padding } => self.jobs.push_back(Job::Seek(id, bytes, padding)),
                Action::Resolved { id, value } => {
                    assert!(self.resolved.insert(id, value).is_none(), "{id:?} resolved twice");
                }
                Action::Rejected { id, error } => {
                    assert!(self.rejected.insert(id, error).is_none(), "{id:?} rejected twice");
                }
                Action::Event(event) => self.events.push(event),
            }
        }
    }

    /// Does one piece of queued work. Returns whether there was any.
    pub fn work(&mut self) -> bool {
        let Some(job) = self.jobs.pop_front() else { return false };
        let (log, now) = (&mut self.log, self.now);
        let replicator = &mut self.replicator;
        match job {
            Job::Prove(ticket, request) => replicator.proved(ticket, log.prove(&request), log, now),
            Job::Apply(ticket, proof) => {
                let result = log.apply(&proof);
                replicator.applied(ticket, result, log, now);
            }
            Job::CheckReorg(ticket, proof) => {
                let result = log.check_reorg(&proof);
                replicator.reorg_checked(ticket, result, log, now);
            }
            Job::CheckConflict(ticket, proof) => {
                replicator.conflict_checked(ticket, log.check_conflict(&proof), log, now);
            }
            Job::ApplyReorg(fork) => {
                let result = log.apply_reorg(fork);
                replicator.reorged(result, log, now);
            }
            Job::CanUpgrade(peer, length) => {
                let answer = merkle_tree::can_upgrade(log, length).unwrap();
                replicator.can_upgrade(peer, length, answer, log, now);
            }
            Job::Seek(id, bytes, padding) => {
                replicator.sought(id, log.seek(bytes, padding), log, now);
            }
        }
        self.pump();
        true
    }

    pub fn settle(&mut self) {
        while self.work() {}
    }

    pub fn take_sent(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, message)| message).collect()
    }
}

/// Carries messages between two nodes until nothing moves.
pub fn exchange(a: &mut Node, b: &mut Node) {
    loop {
        a.settle();
        b.settle();
        let (from_a, from_b) = (a.take_sent(), b.take_sent());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        for message in from_a {
            b.receive(1, message);
        }
        for message in from_b {
            a.receive(1, message);
        }
    }
}

/// Connects two nodes as each other's peer 1.
pub fn connect(a: &mut Node, b: &mut Node) {
    a.add_peer(1);
    b.add_peer(1);
    exchange(a, b);
}

/// Takes a Protomux frame apart: control frames as their type, messages of channels decoded.
pub fn decode_frame(bytes: &Bytes) -> Vec<Frame> {
    let mut out = Vec::new();
    let mut reader = Reader::new(bytes);
    let channel = reader.uint().unwrap();
    let one = |channel: u64, bytes: &Bytes, out: &mut Vec<Frame>| {
        let mut reader = Reader::new(bytes);
        let message_type = reader.uint().unwrap();
        let payload = bytes.slice(bytes.len() - reader.remaining()..);
        if channel == 0 {
            out.push(Frame::Control(message_type));
        } else {
            let message = Message::decode(message_type, &payload).unwrap().unwrap();
            assert_eq!(message.to_vec(), payload, "{message:?}");
            out.push(Frame::Message(message));
        }
    };
    let body = bytes.slice(bytes.len() - reader.remaining()..);
    if channel != 0 || body[0] != 0 {
        one(channel, &body, &mut out);
        return out;
    }
    reader.uint().unwrap();
    let mut channel = reader.uint().unwrap();
    while !reader.is_empty() {
        match reader.uint().unwrap() {
            0 => channel = reader.uint().unwrap(),
            len => {
                let item = reader.bytes(len as usize).unwrap();
                one(channel, &bytes.slice_ref(item), &mut out);
            }
        }
    }
    out
}

#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The type of a control message: 1 open, 3 close.
    Control(u64),
    Message(Message),
}

pub fn block_request(id: u64, fork: u64, index: u64, nodes: u64) -> Message {
    let block = Some(hypertab_core::hypercore::proof::BlockRequest { index, nodes });
    let what = ProofRequest { block, ..ProofRequest::default() };
    Message::Request(wire::Request { id, fork, what, priority: 0 })
}

pub fn sync(fork: u64, length: u64, remote_length: u64) -> wire::Sync {
    wire::Sync {
        fork,
        length,
        remote_length,
        can_upgrade: true,
        uploading: true,
        downloading: true,
        has_manifest: true,
        allow_push: false,
    }
}
