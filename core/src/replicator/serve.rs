//! Answering a peer's requests, and pushing blocks that it did not ask for.
//!
//! Source: hypercore 11.35, `lib/replicator.js` (`onrequest`, `_handleRequest`, `push`) and
//! `lib/receiver-queue.js`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::collections::{BTreeMap, BTreeSet};
use crate::hypercore::merkle_tree::max_missing_nodes;
use crate::hypercore::proof::{BlockRequest, Proof, ProofRequest, UpgradeRequest};
use crate::time::{Duration, Instant};

use super::types::{Action, Local, PeerId, PeerMisbehaved, ProveError, ProveTicket, ReplicatorEvent};
use super::wire::{Data, INVALID_REQUEST, Message, NOT_AVAILABLE, NoData, Request, Want};
use super::{Replicator, stored_len};

/// What one peer asked of us.
#[derive(Debug)]
pub(super) struct Serving {
    /// The link takes more.
    pub(super) is_drained: bool,
    /// Requests not begun, urgent ones apart. Together with `running` at most [`MAX_REQUESTS`].
    queue: VecDeque<Request>,
    urgent: VecDeque<Request>,
    /// The ids of both.
    queued: BTreeSet<u64>,
    /// Proofs being made, by request id.
    running: BTreeMap<u64, ProveTicket>,
    /// Refusals that are held back, in time order. At most [`MAX_INVALID`].
    refusals: VecDeque<(Instant, u64)>,
    pub(super) invalid: u32,
    /// Wants that wait for the link.
    wants: VecDeque<Want>,
    /// Blocks to push.
    pushes: VecDeque<u64>,
    is_pushing: bool,
    /// The length that pushes have brought the peer to.
    pushed_length: u64,
    /// The longest block sent lately: how much memory one more answer may take.
    block_len: usize,
}

/// A proof that the owner makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proving {
    pub(super) peer: PeerId,
    id: u64,
    fork: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Push,
    /// Our side of a proven conflict, after which the channel closes.
    Conflict,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            is_drained: true,
            queue: VecDeque::new(),
            urgent: VecDeque::new(),
            queued: BTreeSet::new(),
            running: BTreeMap::new(),
            refusals: VecDeque::new(),
            invalid: 0,
            wants: VecDeque::new(),
            pushes: VecDeque::new(),
            is_pushing: false,
            pushed_length: 0,
            block_len: 0,
        }
    }
}

impl Serving {
    pub(super) fn next_refusal(&self) -> Option<Instant> {
        self.refusals.front().map(|(at, _)| *at)
    }

    /// Whether a want waits although the link takes more.
    pub(super) fn owes_wants(&self) -> bool {
        self.is_drained && !self.wants.is_empty()
    }

    pub(super) fn defer_want(&mut self, want: Want) {
        if self.wants.len() < MAX_WANTS && !self.wants.contains(&want) {
            self.wants.push_back(want);
        }
    }

    pub(super) fn forget_want(&mut self, want: Want) {
        self.wants.retain(|other| *other != want);
    }

    /// Drops a request that is not answered yet.
    fn forget(&mut self, id: u64) -> Option<ProveTicket> {
        if self.queued.remove(&id) {
            self.queue.retain(|request| request.id != id);
            self.urgent.retain(|request| request.id != id);
        }
        self.refusals.retain(|(_, refused)| *refused != id);
        self.running.remove(&id)
    }

    fn open(&self) -> usize {
        self.queued.len() + self.running.len()
    }

    /// Whether one more proof may be made, given what the answers weigh.
    fn has_room(&self) -> bool {
        let most = MAX_PROVING_BYTES.checked_div(self.block_len).unwrap_or(MAX_PROVING);
        self.is_drained && self.running.len() < most.clamp(MIN_PROVING, MAX_PROVING)
    }

    fn push(&mut self, request: Request) {
        self.queued.insert(request.id);
        let queue = if request.priority > 0 { &mut self.urgent } else { &mut self.queue };
        queue.push_back(request);
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.urgent.pop_front().or_else(|| self.queue.pop_front())?;
        self.queued.remove(&request.id);
        Some(request)
    }
}

impl Replicator {
    pub(super) fn on_request(&mut self, id: PeerId, request: Request, local: &dyn Local, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let replaced = peer.serving.forget(request.id);
        self.cancel_proof(replaced);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let serving = &mut peer.serving;
        if serving.open() >= MAX_REQUESTS {
            self.close_peer(id, Some(PeerMisbehaved::TooManyRequests), local, now);
            return;
        }
        serving.push(request);
        self.serve(id, local);
    }

    pub(super) fn on_cancel(&mut self, id: PeerId, request: u64, local: &dyn Local) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let cancelled = peer.serving.forget(request);
        self.cancel_proof(cancelled);
        self.serve(id, local);
    }

    fn cancel_proof(&mut self, ticket: Option<ProveTicket>) {
        if let Some(ticket) = ticket
            && self.proving.remove(&ticket).is_some()
        {
            self.actions.push_back(Action::CancelProve { ticket });
        }
    }

    /// Tells whether the link to a peer takes more data. While it does not, nothing is answered.
    pub fn set_drained(&mut self, id: PeerId, is_drained: bool, local: &dyn Local) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.serving.is_drained = is_drained;
        if !is_drained {
            return;
        }
        self.answer_deferred(id, local);
        self.serve(id, local);
    }

    /// Answers wants that waited for the link, as many as go together. It may be full after that; if not, the rest
    /// comes with the next timeout.
    pub(super) fn answer_deferred(&mut self, id: PeerId, local: &dyn Local) {
        while !self.is_busy()
            && let Some(peer) = self.peers.get_mut(&id)
            && peer.serving.is_drained
            && let Some(want) = peer.serving.wants.pop_front()
        {
            self.answer_want(id, want, local);
        }
    }

    /// Begins as many answers as there is room for.
    fn serve(&mut self, id: PeerId, local: &dyn Local) {
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if !peer.serving.has_room() {
                return;
            }
            let Some(request) = peer.serving.next() else { break };
            self.serve_request(id, request, local);
        }
        self.serve_push(id, local);
    }

    fn serve_request(&mut self, id: PeerId, mut request: Request, local: &dyn Local) {
        let is_stored = request.what.block.is_none_or(|block| local.has(block.index));
        if request.fork != local.fork() || !is_stored {
            if !request.what.manifest || !local.has_manifest() {
                self.refuse(id, request.id, NOT_AVAILABLE);
                return;
            }
            request.fork = local.fork();
            request.what = ProofRequest { manifest: true, ..ProofRequest::default() };
        }
        self.prove(id, request, Kind::Request);
    }

    fn prove(&mut self, id: PeerId, request: Request, kind: Kind) {
        let ticket = ProveTicket(self.ticket());
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if kind != Kind::Push {
            peer.serving.running.insert(request.id, ticket);
        }
        let proving = Proving { peer: id, id: request.id, fork: request.fork, kind };
        self.proving.insert(ticket, proving);
        self.actions.push_back(Action::Prove { peer: id, ticket, request });
    }

    /// Refuses what is being proven about a fork that is no longer ours.
    pub(super) fn cancel_old_proofs(&mut self, local: &dyn Local) {
        let is_old = |proving: &Proving| proving.fork != local.fork();
        let old = self.proving.iter().filter(|(_, proving)| is_old(proving));
        let old: Vec<(ProveTicket, Proving)> = old.map(|(ticket, proving)| (*ticket, *proving)).collect();
        for (ticket, proving) in old {
            self.cancel_proof(Some(ticket));
            let Some(peer) = self.peers.get_mut(&proving.peer) else { continue };
            match proving.kind {
                Kind::Push => peer.serving.is_pushing = false,
                Kind::Request | Kind::Conflict => {
                    peer.serving.running.remove(&proving.id);
                    self.refuse(proving.peer, proving.id, NOT_AVAILABLE);
                }
            }
            self.serve(proving.peer, local);
        }
    }

    fn refuse(&mut self, id: PeerId, request: u64, reason: u64) {
        self.send(id, Message::NoData(NoData { request, reason }));
    }

    /// Answers [`Action::Prove`].
    pub fn proved(
        &mut self,
        ticket: ProveTicket,
        result: Result<Proof, ProveError>,
        local: &dyn Local,
        now: Instant,
    ) {
        let Some(proving) = self.proving.remove(&ticket) else { return };
        let id = proving.peer;
        let is_active = self.is_active(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match proving.kind {
            Kind::Push => peer.serving.is_pushing = false,
            Kind::Request | Kind::Conflict => {
                peer.serving.running.remove(&proving.id);
            }
        }
        match result {
            Ok(proof) => {
                let is_wanted = match proving.kind {
                    Kind::Request => is_active || proof.block.is_none(),
                    Kind::Push => is_active && peer.remote_allow_push,
                    Kind::Conflict => true,
                };
                if is_wanted {
                    self.send_proof(proving, proof);
                }
            }
            Err(ProveError::NotAvailable) if proving.kind == Kind::Request => {
                self.refuse(id, proving.id, NOT_AVAILABLE);
            }
            Err(ProveError::Invalid) if proving.kind == Kind::Request => {
                let serving = &mut peer.serving;
                serving.invalid += 1;
                let invalid = serving.invalid;
                serving.refusals.push_back((now + backoff(invalid), proving.id));
                self.actions.push_back(Action::Event(ReplicatorEvent::InvalidRequest { peer: id }));
                if invalid >= MAX_INVALID {
                    self.close_peer(id, Some(PeerMisbehaved::InvalidRequests), local, now);
                    return;
                }
            }
            Err(_) => {}
        }
        if proving.kind == Kind::Conflict {
            self.close_peer(id, None, local, now);
            return;
        }
        self.serve(id, local);
    }

    fn send_proof(&mut self, proving: Proving, mut proof: Proof) {
        proof.fork = proving.fork;
        let Some(peer) = self.peers.get_mut(&proving.peer) else { return };
        let serving = &mut peer.serving;
        if let Some(upgrade) = &proof.upgrade {
            let length = upgrade.start.saturating_add(upgrade.length);
            serving.pushed_length = serving.pushed_length.max(length);
        }
        if let Some(block) = &proof.block {
            let len = stored_len(&proof);
            serving.block_len = len.max(serving.block_len - serving.block_len / 8);
            let (peer, index, byte_length) = (proving.peer, block.index, len as u64);
            self.actions.push_back(Action::Event(ReplicatorEvent::Upload { peer, index, byte_length }));
        }
        self.send(proving.peer, Message::Data(Data { request: proving.id, proof }));
    }

    /// Sends the refusals whose time has come.
    pub(super) fn send_due_refusals(&mut self, id: PeerId, now: Instant) {
        while let Some(peer) = self.peers.get_mut(&id)
            && let Some((_, request)) = peer.serving.refusals.pop_front_if(|(at, _)| *at <= now)
        {
            self.refuse(id, request, INVALID_REQUEST);
        }
    }

    /// Sends a block to every peer that takes pushes and lacks it.
    pub fn push(&mut self, block: u64, local: &dyn Local) {
        for id in self.order.clone() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.remote_allow_push && peer.serving.pushes.len() < MAX_PUSHES {
                peer.serving.pushes.push_back(block);
                self.serve_push(id, local);
            }
        }
    }

    /// Begins the next push, one at a time so that upgrades follow each other.
    fn serve_push(&mut self, id: PeerId, local: &dyn Local) {
        while let Some(peer) = self.peers.get_mut(&id) {
            let serving = &mut peer.serving;
            if serving.is_pushing || !serving.is_drained {
                return;
            }
            let Some(index) = serving.pushes.pop_front() else { return };
            let is_due = peer.remote_allow_push
                && peer.remote_downloading
                && peer.remote_fork == local.fork()
                && !peer.blocks.has(index)
                && index < local.length()
                && local.has(index);
            if !is_due {
                continue;
            }
            serving.is_pushing = true;
            let length = peer.remote_length.max(serving.pushed_length);
            let nodes = max_missing_nodes(index.saturating_mul(2), length);
            let upgrade =
                (index >= length).then(|| UpgradeRequest { start: length, length: local.length() - length });
            let what = ProofRequest {
                block: Some(BlockRequest { index, nodes }),
                upgrade,
                manifest: peer.remote_length == 0,
                ..ProofRequest::default()
            };
            self.prove(id, Request { id: 0, fork: local.fork(), what, priority: 0 }, Kind::Push);
        }
    }

    /// Stops replicating a log with two histories: shows every peer our side, then closes.
    pub fn freeze(&mut self, local: &dyn Local, now: Instant) {
        self.is_frozen = true;
        for id in self.order.clone() {
            let Some(peer) = self.peers.get(&id) else { continue };
            let length = local.length().min(peer.remote_length);
            if length == 0 || peer.remote_fork != local.fork() {
                self.close_peer(id, None, local, now);
                continue;
            }
            let upgrade = Some(UpgradeRequest { start: 0, length });
            let what = ProofRequest { upgrade, ..ProofRequest::default() };
            self.prove(id, Request { id: 0, fork: local.fork(), what, priority: 0 }, Kind::Conflict);
        }
    }
}

/// How long a refusal of an impossible request waits. Source: `lib/replicator.js`, `backoff`.
fn backoff(invalid: u32) -> Duration {
    Duration::from_millis(match invalid {
        0..2 => 200,
        2..5 => 500,
        5..40 => 1000,
        _ => 5000,
    })
}

/// Impossible requests that end a link. Source: `lib/replicator.js`, `MAX_INVALID_REQUESTS`.
const MAX_INVALID: u32 = 64;

/// Open requests of one peer: 16 times what upstream keeps in flight.
const MAX_REQUESTS: usize = 8192;

/// Proofs being made for one peer at once; fewer when blocks are long.
const MAX_PROVING: usize = 64;
const MIN_PROVING: usize = 2;
const MAX_PROVING_BYTES: usize = 4 << 20;

/// Wants that wait for a link: every unit it may register, and every range.
const MAX_WANTS: usize = 512 + 16;

/// Blocks waiting to be pushed to one peer; what does not fit, it has to request.
const MAX_PUSHES: usize = 256;
