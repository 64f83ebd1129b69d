//! Replication of one core with any number of peers.
//!
//! A [`Replicator`] owns what is known about each peer of one core and decides what to ask of whom, what
//! to answer and what to announce. It performs no I/O: messages come in decoded, everything it must know
//! about the log is resident behind [`Local`], and whatever needs storage or verification goes out as an
//! [`Action`] whose answer comes back through the method that the action names.
//!
//! After any `&mut self` call, drain [`poll_action`](Replicator::poll_action), then arm a timer from
//! [`poll_timeout`](Replicator::poll_timeout). `now` never decreases. Messages to one peer leave in the
//! order of their actions; those of one drain belong into one batch.
//!
//! Source: hypercore 11.35, `lib/replicator.js`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::hypercore::bitfield::Bitfield;
use crate::hypercore::proof::Proof;
use crate::time::{Duration, Instant};

use blocks::Blocks;
use peer::Peer;
use random::Random;
use ranges::Ranges;
use receive::Applying;
use reminder::Reminder;
use reorg::Search;
use requests::{RequestKey, Requests};
use seeks::Seek;
use serve::Proving;
use upgrade::Upgrade;

pub use capability::{capability, is_capable};
pub use types::{
    Action, Applied, ApplyError, ApplyTicket, ConflictFinding, Detours, GetWish, Local, LocalChange, PeerId,
    PeerMisbehaved, PeerStatus, ProveError, ProveTicket, RangeWish, ReorgStep, Reorged, ReplicatorEvent,
    ReplicatorOptions, Resolution, SeekStep, SeekWish, WishError, WishId,
};

mod announce;
mod blocks;
mod capability;
mod pace;
mod peer;
mod random;
mod ranges;
mod receive;
mod reminder;
mod reorg;
mod requests;
mod schedule;
mod seeks;
mod serve;
mod types;
mod upgrade;
mod wants;
pub mod wire;

/// The replication of one core.
#[derive(Debug)]
pub struct Replicator {
    options: ReplicatorOptions,
    random: Random,
    peers: BTreeMap<PeerId, Peer>,
    /// Peers in the order they came.
    order: Vec<PeerId>,
    /// Channels of ours that no peer has answered yet, and links that are still opening.
    pending_opens: u32,
    finding_peers: bool,
    had_peers: bool,
    is_frozen: bool,
    /// Those of all peers there ever were.
    detours: Detours,
    push_only: bool,

    downloading: bool,
    /// When to stop downloading, after the last session left.
    linger_until: Option<Instant>,
    /// When to try all peers again, with too many of them to do so at once.
    update_all_at: Option<Instant>,

    wishes: BTreeMap<WishId, Wish>,
    requests: Requests,
    blocks: Blocks,
    /// Requests for the leaf nodes of these blocks.
    hashes: BTreeMap<u64, RequestKey>,
    ranges: Ranges,
    seeks: BTreeMap<WishId, Seek>,
    upgrade: Option<Upgrade>,
    reminder: Reminder,
    /// Searches for the fork point, by fork.
    searches: BTreeMap<u64, Search>,
    applying_reorg: Option<u64>,
    /// The peer that was asked for the manifest alone.
    manifest_peer: Option<PeerId>,
    /// Blocks that need not be asked for: stored, or asked for already. Made when first needed.
    skip: Option<Bitfield>,

    next_ticket: u64,
    /// Data that the owner verifies and stores. Bounded by [`MAX_APPLYING`] and requests in flight.
    applying: BTreeMap<ApplyTicket, Applying>,
    applying_bytes: usize,
    /// Data with an upgrade waits its turn. Bounded by [`receive::MAX_QUEUED`].
    exclusive: VecDeque<(PeerId, wire::Data)>,
    exclusive_busy: Option<ApplyTicket>,
    /// Proofs that the owner makes. Bounded per peer.
    proving: BTreeMap<ProveTicket, Proving>,

    /// Drained by the owner after every call.
    actions: VecDeque<Action>,
    /// What the bitfields among them weigh.
    sending_bytes: usize,
}

/// What a wish waits for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Block(u64),
    Range,
    Seek,
    Update,
}

impl Replicator {
    /// Returns a replicator without peers.
    pub fn new(options: ReplicatorOptions, seed: [u8; 32]) -> Self {
        Self {
            options,
            random: Random::new(seed),
            peers: BTreeMap::new(),
            order: Vec::new(),
            pending_opens: 0,
            finding_peers: false,
            had_peers: false,
            is_frozen: false,
            detours: Detours::default(),
            push_only: false,
            downloading: false,
            linger_until: None,
            update_all_at: None,
            wishes: BTreeMap::new(),
            requests: Requests::default(),
            blocks: Blocks::default(),
            hashes: BTreeMap::new(),
            ranges: Ranges::default(),
            seeks: BTreeMap::new(),
            upgrade: None,
            reminder: Reminder::default(),
            searches: BTreeMap::new(),
            applying_reorg: None,
            manifest_peer: None,
            skip: None,
            next_ticket: 0,
            applying: BTreeMap::new(),
            applying_bytes: 0,
            exclusive: VecDeque::new(),
            exclusive_busy: None,
            proving: BTreeMap::new(),
            actions: VecDeque::new(),
            sending_bytes: 0,
        }
    }

    /// Adds a channel that both sides opened and whose capability was checked.
    pub fn add_peer(&mut self, id: PeerId, remote_seeks: bool, local: &dyn Local, now: Instant) {
        if self.is_frozen {
            self.actions.push_back(Action::ClosePeer { peer: id, reason: None });
            return;
        }
        let peer = Peer::new(remote_seeks, &self.options, local);
        if self.peers.insert(id, peer).is_some() {
            return;
        }
        self.order.push(id);
        self.had_peers = true;
        self.send_sync(id, local);
        let contiguous = local.contiguous_length().min(local.length());
        if contiguous > 0 {
            self.announce(id, 0, contiguous, false, local);
        }
        self.update_peer(id, local, now);
    }

    /// Removes a channel that closed. Returns whether to open it again at once: the peer closed it
    /// because it wants nothing, but we do.
    pub fn remove_peer(&mut self, id: PeerId, is_remote: bool, local: &dyn Local, now: Instant) -> bool {
        let reopen = self.peers.get(&id).is_some_and(|peer| {
            is_remote && !peer.remote_downloading && peer.remote_uploading && self.downloading
        });
        self.drop_peer(id, local, now);
        reopen
    }

    fn drop_peer(&mut self, id: PeerId, local: &dyn Local, now: Instant) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        self.order.retain(|other| *other != id);
        self.proving.retain(|_, proving| proving.peer != id);
        self.exclusive.retain(|(from, _)| *from != id);
        if self.manifest_peer == Some(id) {
            self.manifest_peer = None;
        }
        let open = self.requests.peer_gone(id, &mut peer.cancelled);
        let had_requests = !open.is_empty();
        for key in open {
            self.requests.answered(key, &mut peer.cancelled);
            self.clear_request(key, local);
        }
        if had_requests {
            self.update_all(local, now);
        } else {
            self.check_upgrade(local);
        }
    }

    /// Changes how many requests may be in flight at one peer: least and most.
    pub fn set_in_flight(&mut self, range: (u32, u32)) {
        self.options.in_flight = range;
    }

    /// Wants 4096 blocks at a time of peers that come from now on, or as many as every peer understands.
    pub fn set_small_wants(&mut self, small_wants: bool) {
        self.options.small_wants = small_wants;
    }

    /// Tells how many channels are opening: opened by us but not answered, or on links that are not open.
    pub fn set_pending_opens(&mut self, count: u32, local: &dyn Local) {
        self.pending_opens = count;
        self.check_upgrade(local);
    }

    /// Tells whether somebody is looking for the first peers, so that `update` waits for them.
    pub fn set_finding_peers(&mut self, finding: bool, local: &dyn Local, now: Instant) {
        let stopped = self.finding_peers && !finding;
        self.finding_peers = finding;
        if stopped {
            self.update_all(local, now);
        }
    }

    /// Tells whether any session of the core is active.
    pub fn set_active(&mut self, active: bool, local: &dyn Local, now: Instant) {
        let allowed_push = self.allows_push();
        self.linger_until = None;
        let linger = match self.options.linger {
            Some(linger) => linger,
            None if active => Duration::ZERO,
            None => self.random.between(LINGER_MIN, LINGER_MAX),
        };
        if active || linger.is_zero() {
            if self.set_downloading(active, local, now) {
                return;
            }
        } else {
            self.linger_until = Some(now + linger);
        }
        if self.allows_push() != allowed_push {
            self.signal_all(local);
        }
    }

    /// Takes unsolicited data from now on, or no longer.
    pub fn set_allow_push(&mut self, allow: bool, local: &dyn Local) {
        if self.options.allow_push != allow {
            self.options.allow_push = allow;
            for id in self.order.clone() {
                self.send_sync(id, local);
            }
        }
    }

    /// Fetches the last block along with every upgrade from now on, or no longer.
    pub fn set_latest_block(&mut self, allow: bool) {
        self.options.allow_latest_block = allow;
    }

    /// Stops requesting anything but forced blocks and manifests, or starts again.
    pub fn set_push_only(&mut self, push_only: bool, local: &dyn Local, now: Instant) {
        if self.push_only != push_only {
            self.push_only = push_only;
            self.retry_all();
            self.update_all(local, now);
        }
    }

    /// Whether peers are told that we want something.
    pub fn is_downloading(&self) -> bool {
        self.downloading || !self.requests.is_idle()
    }

    /// Whether sessions want blocks, or did until a while ago.
    pub fn downloads(&self) -> bool {
        self.downloading
    }

    fn allows_push(&self) -> bool {
        self.options.allow_push && self.linger_until.is_none() && self.downloading
    }

    /// Returns whether that changed what peers were told.
    fn set_downloading(&mut self, downloading: bool, local: &dyn Local, now: Instant) -> bool {
        if self.downloading == downloading {
            return false;
        }
        self.downloading = downloading;
        if !downloading && self.is_downloading() {
            return false;
        }
        self.signal_all(local);
        if downloading {
            self.actions.push_back(Action::OpenChannels);
        } else {
            for id in self.order.clone() {
                self.close_if_idle(id, local, now);
            }
        }
        self.actions.push_back(Action::Event(ReplicatorEvent::Downloading(downloading)));
        true
    }

    fn close_if_idle(&mut self, id: PeerId, local: &dyn Local, now: Instant) -> bool {
        let idle = self.peers.get(&id).is_some_and(|peer| peer.remote_synced && !peer.remote_downloading);
        if idle && !self.is_downloading() {
            self.close_peer(id, None, local, now);
            return true;
        }
        false
    }

    fn close_peer(&mut self, peer: PeerId, reason: Option<PeerMisbehaved>, local: &dyn Local, now: Instant) {
        self.actions.push_back(Action::ClosePeer { peer, reason });
        self.drop_peer(peer, local, now);
    }

    /// Takes a message of a peer.
    pub fn handle_message(&mut self, id: PeerId, message: wire::Message, local: &dyn Local, now: Instant) {
        if !self.peers.contains_key(&id) {
            return;
        }
        match message {
            wire::Message::Sync(sync) => self.on_sync(id, sync, local, now),
            wire::Message::Request(request) => self.on_request(id, request, local, now),
            wire::Message::Cancel { request } => self.on_cancel(id, request, local),
            wire::Message::Data(data) => self.on_data(id, data, local, now),
            wire::Message::NoData(refusal) => self.on_no_data(id, refusal, local, now),
            wire::Message::Want(want) => self.on_want(id, want, local),
            wire::Message::Unwant(want) => self.on_unwant(id, want),
            wire::Message::Bitfield(bitfield) => self.on_bitfield(id, &bitfield, local, now),
            wire::Message::Range(range) => self.on_range(id, range, local, now),
            wire::Message::Extension(extension) => self.on_extension(id, extension),
        }
    }

    /// Sends an extension message.
    pub fn extension(&mut self, id: PeerId, name: &str, payload: Bytes) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_same = peer.last_extension_sent == name;
        if !is_same {
            peer.last_extension_sent = name.into();
        }
        let name = if is_same { String::new() } else { name.into() };
        self.send(id, wire::Message::Extension(wire::Extension { name, payload }));
    }

    fn on_extension(&mut self, id: PeerId, message: wire::Extension) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if message.name.len() > MAX_EXTENSION_NAME {
            peer.last_extension_received.clear();
            return;
        }
        if !message.name.is_empty() {
            peer.last_extension_received = message.name;
        }
        let (name, payload) = (peer.last_extension_received.clone(), message.payload);
        self.actions.push_back(Action::Event(ReplicatorEvent::Extension { peer: id, name, payload }));
    }

    /// Returns the next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if self.actions.is_empty() {
            self.sending_bytes = 0;
        }
        action
    }

    /// Returns whether the actions are to be taken before the next message: one frame may bring a million,
    /// each of which asks for more than it weighs.
    pub fn is_busy(&self) -> bool {
        self.actions.len() >= MAX_ACTIONS || self.sending_bytes >= MAX_SENDING_BYTES
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let refusals = self.peers.values().filter_map(|peer| peer.serving.next_refusal());
        let upgrades =
            self.upgrade_timeout().into_iter().chain(self.reminder_timeout()).chain(self.search_timeout());
        let wants = self.peers.values().any(|peer| peer.serving.owes_wants()).then_some(Instant::EPOCH);
        refusals.chain(self.linger_until).chain(self.update_all_at).chain(upgrades).chain(wants).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, local: &dyn Local, now: Instant) {
        if self.linger_until.is_some_and(|at| at <= now) {
            self.linger_until = None;
            self.set_downloading(false, local, now);
        }
        for id in self.order.clone() {
            self.send_due_refusals(id, now);
            self.answer_deferred(id, local);
        }
        if self.update_all_at.is_some_and(|at| at <= now) {
            self.update_all_at = None;
            self.update_every_peer(usize::MAX, local, now);
        }
        self.handle_upgrade_timeout(local, now);
        self.handle_search_timeout(local, now);
        self.handle_reminder_timeout(local, now);
    }

    /// Wants a block.
    pub fn get(&mut self, id: WishId, block: u64, wish: GetWish, local: &dyn Local, now: Instant) {
        if local.has(block) {
            self.resolve(id, Resolution::Local);
            return;
        }
        let entry = self.blocks.add(block, wish.priority, wish.force);
        entry.priority = entry.priority.max(wish.priority);
        entry.force |= wish.force;
        entry.waiting.push(blocks::Waiting { id, snapshot: wish.snapshot });
        self.wishes.insert(id, Wish::Block(block));
        self.blocks.enqueue(block);
        self.update_all(local, now);
    }

    /// Wants to know whether any peer has a longer log, and to have it then.
    pub fn update(&mut self, id: WishId, force: bool, local: &dyn Local, now: Instant) {
        if local.is_writable() && !force {
            self.resolve(id, Resolution::Update(false));
            return;
        }
        self.wishes.insert(id, Wish::Update);
        self.upgrade(local).waiting.push(id);
        if let Some(fork) = self.finished_search() {
            self.apply_reorg(fork);
        }
        self.update_all(local, now);
        self.check_upgrade(local);
    }

    /// Wants to know which block a byte is in. The owner searched locally first and found only
    /// between which blocks it is.
    pub fn seek(&mut self, id: WishId, wish: SeekWish, local: &dyn Local, now: Instant) {
        self.wishes.insert(id, Wish::Seek);
        self.seeks.insert(id, Seek::new(wish));
        self.update_all(local, now);
    }

    /// Wants many blocks.
    pub fn range(&mut self, id: WishId, wish: RangeWish, local: &dyn Local, now: Instant) {
        if self.ranges.add(id, wish, local) {
            self.resolve(id, Resolution::Range);
            return;
        }
        self.wishes.insert(id, Wish::Range);
        self.update_all(local, now);
    }

    /// Takes a wish back; nothing more is said about it.
    pub fn cancel(&mut self, id: WishId, local: &dyn Local, now: Instant) {
        match self.wishes.remove(&id) {
            Some(Wish::Block(index)) => {
                let Some(block) = self.blocks.get_mut(index) else { return };
                block.waiting.retain(|waiting| waiting.id != id);
                if block.waiting.is_empty() && block.processing == 0 {
                    self.drop_block(index, local);
                }
            }
            Some(Wish::Range) => self.drop_range(id),
            Some(Wish::Seek) => self.drop_seek(id),
            Some(Wish::Update) => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.waiting.retain(|waiting| *waiting != id);
                }
                self.drop_unneeded_upgrade();
            }
            None => return,
        }
        self.update_all(local, now);
    }

    /// Tells of a durable change that no peer caused; [`Local`] shows it already.
    pub fn local_changed(&mut self, change: LocalChange, local: &dyn Local, now: Instant) {
        match change {
            LocalChange::Appended { start, length } => {
                self.gained(start, start.saturating_add(length), local);
                // Before the head: a peer may ask for the last block along with the upgrade, once it knows that it is here.
                self.announce_all(start, length, false, local);
                self.head_changed(local);
            }
            LocalChange::Upgraded | LocalChange::Manifest => self.head_changed(local),
            LocalChange::Truncated { length, old_length } => {
                self.truncated(length, old_length, local);
                self.head_changed(local);
            }
            LocalChange::Gained { start, length } => {
                self.gained(start, start.saturating_add(length), local);
                self.announce_all(start, length, false, local);
                self.evaluate_whole(local);
            }
            LocalChange::Dropped { start, length } => {
                self.lost(start, start.saturating_add(length));
                self.announce_all(start, length, true, local);
            }
        }
        self.update_all(local, now);
    }

    /// Returns what is known about every peer, in the order they came.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        self.order.iter().filter_map(|id| self.peer(*id))
    }

    /// Returns the detours of all requests so far.
    pub fn detours(&self) -> Detours {
        self.detours
    }

    fn count_detour(&mut self, id: PeerId, count: impl Fn(&mut Detours)) {
        count(&mut self.detours);
        if let Some(peer) = self.peers.get_mut(&id) {
            count(&mut peer.detours);
        }
    }

    /// Returns the blocks that a peer announced, without those of the prefix that it has.
    pub fn peer_blocks(&self, id: PeerId) -> Option<&Bitfield> {
        self.peers.get(&id).map(|peer| peer.blocks.announced())
    }

    /// Returns what is known about a peer.
    pub fn peer(&self, id: PeerId) -> Option<PeerStatus> {
        self.peers.get(&id).map(|peer| peer.status(id))
    }

    fn send(&mut self, peer: PeerId, message: wire::Message) {
        if let wire::Message::Bitfield(bitfield) = &message {
            self.sending_bytes += bitfield.words.len();
        }
        self.actions.push_back(Action::Send { peer, message });
    }

    fn resolve(&mut self, id: WishId, value: Resolution) {
        self.wishes.remove(&id);
        self.actions.push_back(Action::Resolved { id, value });
    }

    fn reject(&mut self, id: WishId, error: WishError) {
        self.wishes.remove(&id);
        self.actions.push_back(Action::Rejected { id, error });
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn is_active(&self, id: PeerId) -> bool {
        !self.is_frozen && self.peers.get(&id).is_some_and(|peer| !peer.is_paused)
    }

    /// The manifest may be asked for along with anything else.
    fn wants_manifest(&self, peer: &Peer, local: &dyn Local) -> bool {
        !local.has_manifest() && peer.remote_has_manifest
    }
}

fn stored_len(proof: &Proof) -> usize {
    proof.block.as_ref().map_or(0, |block| block.value.len())
}

/// Data being verified or stored beyond which nothing more is requested.
const MAX_APPLYING: usize = 4096;

/// The same in bytes: what a slow disk may make us hold, next to what is in flight.
const MAX_APPLYING_BYTES: usize = 32 << 20;

/// Actions that may wait before they are taken, and what bitfields among them may weigh.
const MAX_ACTIONS: usize = 256;
const MAX_SENDING_BYTES: usize = 1 << 16;

/// Longest name of an extension: a peer gives it once, and every message after that costs us as much.
const MAX_EXTENSION_NAME: usize = 1024;

/// Source: `lib/replicator.js`, `NOT_DOWNLOADING_SLACK`.
const LINGER_MIN: Duration = Duration::from_secs(20);
const LINGER_MAX: Duration = Duration::from_secs(40);
