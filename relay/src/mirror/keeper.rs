//! Keeps cores: which of them are open, on which links, and how much of each is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::corestore::query::{Answer, Question};
use hypertab_core::crypto::{KeyPair, discovery_key};
use hypertab_core::dht_relay::messages::LookupResult;
use hypertab_core::dht_relay::queries::AnnounceTerms;
use hypertab_core::engine::{
    CoreId, Engine, Error, Event, LinkId, OpenCore, OpenOptions, RangeWish, RelayEvent, RelayId, RequestId,
    Response,
};
use hypertab_core::id::{DiscoveryKey, PublicKey};
use hypertab_core::protomux::{ChannelId, OpenChannel, RemoteOpenId};
use hypertab_core::storage::StoreId;
use hypertab_core::time::{Duration, Instant};

use super::book::{Asker, Book, Bounds, Copy, Refusal};
use super::figures::Figures;
use super::rounds::Rounds;
use super::wire::{
    AddCore, AddCores, CORES_PROTOCOL, CopyStatus, CoreRecord, Failed, RPC_PROTOCOL, Request, decode_key,
    encode_response,
};
use crate::config::Level;
use crate::log;

/// Decides who may ask, and tells the account of their address where that is known.
pub(super) type Permit = Box<dyn Fn(&PublicKey) -> Result<Option<[u8; 16]>, Refusal>>;

/// The engine of a mirror, and what it is used for.
pub(super) struct Keeper {
    pub(super) engine: Engine,
    store: StoreId,
    key_pair: KeyPair,
    relay: Option<RelayId>,
    book: Book,
    permit: Permit,
    announces: bool,
    figures: Rc<Figures>,
    cores: BTreeMap<PublicKey, Kept>,
    by_id: BTreeMap<CoreId, PublicKey>,
    peers: BTreeMap<LinkId, Peer>,
    waiting: BTreeMap<RequestId, Waiting>,
    /// Copies whose logs are being deleted.
    leaving: BTreeSet<DiscoveryKey>,
    /// Copies that had all of their log at some time since the start.
    complete: BTreeSet<PublicKey>,
    rounds: Rounds,
    /// Copies whose record is to be stored at once, and those that can wait.
    urgent: BTreeSet<PublicKey>,
    dirty: BTreeSet<PublicKey>,
    has_failed: bool,
}

/// A core that is open.
struct Kept {
    core: CoreId,
    wanted: Wanted,
    /// Why the rest is not.
    stopped: Option<Refusal>,
    peers: usize,
    /// Since when nobody replicates it.
    idle_since: Instant,
    /// Milliseconds of Unix time.
    active: u64,
}

/// What is stored of a core, or asked for.
#[derive(Default)]
struct Wanted {
    /// Blocks before this one are.
    end: u64,
    /// Those that are asked for: the first one, and the end.
    asked: BTreeMap<RequestId, (u64, u64)>,
}

/// Somebody on a link.
struct Peer {
    public_key: PublicKey,
    rpc: Option<ChannelId>,
    cores: Option<ChannelId>,
    /// Requests since a moment.
    asked: (Instant, u32),
    attached: BTreeSet<PublicKey>,
    /// The copy for whose sake the mirror dialled, and when.
    dialled: Option<(PublicKey, Instant)>,
}

/// What an answer of the engine is waited for.
enum Waiting {
    Opened(CoreId),
    Closed(DiscoveryKey),
    Forgotten(DiscoveryKey),
    Announced(PublicKey),
    Swept,
    Downloaded(PublicKey),
}

impl Keeper {
    pub(super) fn new(
        mut engine: Engine,
        key_pair: KeyPair,
        book: Book,
        (permit, announces): (Permit, bool),
        figures: Rc<Figures>,
    ) -> Self {
        engine.expose_channels();
        let store = engine.create_store();
        let mut keeper = Self {
            engine,
            store,
            key_pair,
            relay: None,
            book,
            permit,
            announces,
            figures,
            cores: BTreeMap::new(),
            by_id: BTreeMap::new(),
            peers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            leaving: BTreeSet::new(),
            complete: BTreeSet::new(),
            rounds: Rounds::default(),
            urgent: BTreeSet::new(),
            dirty: BTreeSet::new(),
            has_failed: false,
        };
        keeper.sweep(None);
        keeper.count();
        keeper
    }

    /// Replaces the bounds. What is beyond them already stays.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.book.set_bounds(bounds);
    }

    /// Takes the relay that listens and announces for the mirror; `None` while there is none.
    pub(super) fn set_relay(&mut self, relay: Option<RelayId>) {
        self.relay = relay;
        self.rounds.interrupt();
    }

    /// Returns what is to be stored, with the value of each copy that is still there. Without `all`, only what is urgent.
    pub(super) fn take_changes(&mut self, all: bool) -> Vec<(PublicKey, Option<Vec<u8>>)> {
        let mut keys = std::mem::take(&mut self.urgent);
        if all {
            keys.append(&mut self.dirty);
        }
        keys.into_iter().map(|key| (key, self.book.get(&key).map(Copy::encode))).collect()
    }

    /// The disk does not work: nothing new is kept.
    pub(super) fn fail(&mut self) {
        if !std::mem::replace(&mut self.has_failed, true) {
            log::line(Level::Error, "the disk of the mirror fails, nothing new is kept", &[]);
        }
    }

    /// Closes all cores: what is staged becomes durable.
    pub(super) fn close(&mut self, now: Instant) {
        for kept in std::mem::take(&mut self.cores).into_values() {
            self.engine.close_core(kept.core, now);
        }
    }

    /// Does what is due every now and then.
    pub(super) fn upkeep(&mut self, now: Instant, unix: u64) {
        for key in self.book.expire(unix) {
            self.urgent.insert(key);
            if self.book.is_orphan(&key) {
                self.figures.dropped("expired");
                self.drop_copy(key, now);
            }
        }
        let stopped: Vec<_> =
            self.cores.iter().filter(|(_, kept)| kept.stopped.is_some()).map(|(key, _)| *key).collect();
        for key in stopped {
            self.measure(key, now);
        }
        let is_idle = |kept: &Kept| kept.peers == 0 && kept.idle_since + IDLE <= now;
        let idle: Vec<_> = self.cores.iter().filter(|(_, kept)| is_idle(kept)).map(|(key, _)| *key).collect();
        for key in idle {
            self.close_core(&key, now);
        }
        let done = |peer: &Peer| {
            peer.dialled.is_some_and(|(key, since)| since + IDLE <= now && self.complete.contains(&key))
        };
        let done: Vec<_> = self.peers.iter().filter(|(_, peer)| done(peer)).map(|(link, _)| *link).collect();
        for link in done {
            self.engine.close_link(link);
        }
        self.count();
    }

    /// Announces what is due, and returns when to call again.
    pub(super) fn announce(&mut self, now: Instant) -> Option<Instant> {
        let relay = self.relay?;
        while let Some(key) = self.rounds.next(now) {
            if !self.complete.contains(&key) {
                self.open(key, now);
            }
            match self.engine.announce(
                relay,
                discovery_key(&key),
                &self.key_pair,
                AnnounceTerms::default(),
                now,
            ) {
                Ok(request) => drop(self.waiting.insert(request, Waiting::Announced(key))),
                Err(_) => self.rounds.finished(&key, now),
            }
        }
        self.rounds.poll_timeout()
    }

    pub(super) fn handle_event(&mut self, event: Event, now: Instant, unix: u64) {
        match event {
            Event::Done { request, result } => self.answered(request, result, now),
            Event::Relay(event) => self.handle_relay(event, now),
            Event::LinkOpened { link, remote_public_key, .. } if self.peers.contains_key(&link) => {
                let _ = self.engine.start_channels(link);
                log::line(Level::Debug, "mirror: a peer", &[("key", &log::key(&remote_public_key))]);
            }
            Event::LinkEnded { link } => self.engine.close_link(link),
            Event::LinkClosed { link, .. } => drop(self.peers.remove(&link)),
            Event::DiscoveryKey { link, discovery_key } => self.wanted_by(link, &discovery_key, now),
            Event::RemoteChannel { link, open, protocol, key } => {
                self.remote_channel(link, open, &protocol, &key)
            }
            Event::ChannelMessage { link, channel, message_type, payload } => {
                self.message((link, channel), message_type, &payload, now, unix);
            }
            Event::ChannelClosed { link, channel } => {
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.rpc.take_if(|rpc| *rpc == channel);
                    peer.cores.take_if(|cores| *cores == channel);
                }
            }
            Event::CoreAppend { core, .. } => self.changed(core, None, now),
            Event::CoreTruncate { core, ancestors, .. } => self.changed(core, Some(ancestors), now),
            Event::PeerAdd { core, .. } => self.with_core(core, |kept| kept.peers += 1),
            Event::PeerRemove { core, .. } => self.with_core(core, |kept| {
                kept.peers = kept.peers.saturating_sub(1);
                kept.idle_since = now;
            }),
            Event::Upload { core, byte_length, .. } => {
                self.figures.served(byte_length);
                self.with_core(core, |kept| kept.active = unix);
            }
            Event::Download { core, byte_length, .. } => {
                self.figures.stored(byte_length);
                self.with_core(core, |kept| kept.active = unix);
            }
            Event::StoreFailed { .. } => self.fail(),
            _ => {}
        }
    }

    fn handle_relay(&mut self, event: RelayEvent, now: Instant) {
        match event {
            RelayEvent::Opened { relay, .. } => {
                let _ = self.engine.listen(relay, &self.key_pair, true);
                self.relay = Some(relay);
                let keys: Vec<_> = self
                    .book
                    .iter()
                    .filter(|(_, copy)| copy.announce && self.announces)
                    .map(|(key, _)| *key)
                    .collect();
                for key in keys {
                    self.rounds.add(key, now);
                }
            }
            RelayEvent::Incoming { incoming, .. } => {
                let has_room = self.peers.len() < MAX_PEERS;
                if !has_room {
                    self.figures.refused(Refusal::TooMany);
                }
                self.engine.decide(incoming, has_room);
            }
            RelayEvent::Connection { link, remote_public_key, .. } => {
                self.peers.insert(link, Peer::new(remote_public_key, now));
            }
            RelayEvent::Result { request, result } => {
                if let Some(Waiting::Announced(key)) = self.waiting.get(&request) {
                    self.found(*key, &result, now);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, request: RequestId, result: Result<Response, Error>, now: Instant) {
        match (self.waiting.remove(&request), result) {
            (Some(Waiting::Opened(core)), result) => {
                // A core that is closed by now may have been opened again under another id.
                let Some(key) = self.by_id.get(&core).copied() else { return };
                if result.is_err() {
                    self.take_core(&key);
                    return;
                }
                let held = self.engine.core(core).map(|core| core.contiguous_length());
                if let (Some(kept), Ok(held)) = (self.cores.get_mut(&key), held) {
                    kept.wanted.end = held;
                }
                self.measure(key, now);
            }
            (Some(Waiting::Closed(name)), _) => self.forget(name),
            (Some(Waiting::Forgotten(name)), _) => drop(self.leaving.remove(&name)),
            (Some(Waiting::Announced(key)), _) => self.rounds.finished(&key, now),
            (Some(Waiting::Downloaded(key)), _) => {
                if let Some(kept) = self.cores.get_mut(&key) {
                    kept.wanted.asked.remove(&request);
                }
            }
            (Some(Waiting::Swept), Ok(Response::Store(answer))) => {
                let Answer::Cores(found, next) = *answer else { return };
                for (name, _) in found {
                    // A crash between the two files leaves a log without a record.
                    if self.book.named(&name).is_none() && self.leaving.insert(name) {
                        self.forget(name);
                    }
                }
                if next.is_some() {
                    self.sweep(next);
                }
            }
            _ => {}
        }
    }

    fn sweep(&mut self, from: Option<Bytes>) {
        let request = self.engine.ask_store(self.store, Question::Cores { from, limit: PAGE });
        self.waiting.insert(request, Waiting::Swept);
    }

    fn forget(&mut self, name: DiscoveryKey) {
        let request = self.engine.ask_store(self.store, Question::Forget(name));
        self.waiting.insert(request, Waiting::Forgotten(name));
    }

    // Channels.

    fn remote_channel(&mut self, link: LinkId, open: RemoteOpenId, protocol: &str, key: &[u8]) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let place = match protocol {
            RPC_PROTOCOL if *key == self.key_pair.public_key => &mut peer.rpc,
            CORES_PROTOCOL if key.is_empty() => &mut peer.cores,
            _ => return self.engine.reject_channel(link, open),
        };
        let options = OpenChannel { protocol, key, ..OpenChannel::default() };
        match self.engine.open_channel_on(link, &options) {
            Ok(Some(channel)) => *place = Some(channel),
            _ => self.engine.reject_channel(link, open),
        }
    }

    fn message(
        &mut self,
        (link, channel): (LinkId, ChannelId),
        message_type: u64,
        payload: &Bytes,
        now: Instant,
        unix: u64,
    ) {
        let Some(peer) = self.peers.get(&link) else { return };
        if message_type != 0 {
            return;
        }
        if peer.rpc == Some(channel) {
            let Ok(request) = Request::decode(payload) else { return self.misbehaved(link) };
            let answer = self.call(link, &request, now, unix);
            if request.id != 0 {
                self.engine.channel_send(link, channel, 1, &encode_response(request.id, &answer));
            }
        } else if peer.cores == Some(channel) {
            let Ok(request) = AddCores::decode(payload) else { return self.misbehaved(link) };
            for (at, (key, _)) in request.cores.iter().enumerate() {
                if at >= MAX_CORES_AT_ONCE {
                    self.figures.refused(Refusal::TooMany);
                    return;
                }
                // The channel has no answers.
                let _ = self.ask(link, *key, request.announce, now, unix);
            }
        }
    }

    fn misbehaved(&mut self, link: LinkId) {
        self.figures.refused(Refusal::TooMany);
        self.engine.close_link(link);
    }

    fn call(&mut self, link: LinkId, request: &Request, now: Instant, unix: u64) -> Result<Vec<u8>, Failed> {
        let undecodable = |_| Failed::UNDECODABLE;
        let because = |refusal: Refusal| Failed::because(refusal.sentence(), refusal.code());
        match request.method.as_str() {
            "add-core" => {
                let wish = AddCore::decode(&request.value).map_err(undecodable)?;
                self.ask(link, wish.key, wish.announce, now, unix).map_err(because)?;
                Ok(self.record(&wish).encode())
            }
            "delete-core" => {
                let key = decode_key(&request.value).map_err(undecodable)?;
                self.let_go(link, &key, now).map(|found| vec![found.into()]).map_err(because)
            }
            "hypertab/copy" => {
                let key = decode_key(&request.value).map_err(undecodable)?;
                self.may_ask(link, now).map_err(because)?;
                Ok(self.status(link, key, now).encode())
            }
            _ => Err(Failed::UNKNOWN_METHOD),
        }
    }

    /// Counts a request of a link, and says whether there were too many.
    fn may_ask(&mut self, link: LinkId, now: Instant) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get_mut(&link) else { return Err(Refusal::Busy) };
        if peer.asked.0 + RATE_WINDOW <= now {
            peer.asked = (now, 0);
        }
        peer.asked.1 = peer.asked.1.saturating_add(1);
        let asked = peer.asked.1;
        if asked > MAX_ASKS * PATIENCE {
            self.engine.close_link(link);
        }
        if asked <= MAX_ASKS { Ok(()) } else { Err(self.refuse(Refusal::TooMany)) }
    }

    fn refuse(&self, refusal: Refusal) -> Refusal {
        self.figures.refused(refusal);
        refusal
    }

    fn asker(&self, link: LinkId) -> Result<Asker, Refusal> {
        let peer = self.peers.get(&link).ok_or(Refusal::Busy)?;
        let account = (self.permit)(&peer.public_key)?;
        Ok(Asker::new(peer.public_key, account))
    }

    fn ask(
        &mut self,
        link: LinkId,
        key: PublicKey,
        announce: bool,
        now: Instant,
        unix: u64,
    ) -> Result<(), Refusal> {
        self.may_ask(link, now)?;
        let asker = self.asker(link).map_err(|refusal| self.refuse(refusal))?;
        if self.has_failed {
            return Err(self.refuse(Refusal::Failed));
        }
        if self.leaving.contains(&discovery_key(&key)) {
            return Err(self.refuse(Refusal::Busy));
        }
        let is_new = self.book.get(&key).is_none();
        self.book
            .ask(key, asker, announce && self.announces, unix)
            .map_err(|refusal| self.refuse(refusal))?;
        self.figures.asked(is_new);
        self.urgent.insert(key);
        if announce && self.announces {
            self.rounds.add(key, now);
        }
        self.attach(link, key, now);
        self.count();
        log::line(Level::Debug, "mirror: a core is kept", &[("key", &log::key(&key)), ("new", &is_new)]);
        Ok(())
    }

    fn let_go(&mut self, link: LinkId, key: &PublicKey, now: Instant) -> Result<bool, Refusal> {
        self.may_ask(link, now)?;
        let Some(peer) = self.peers.get(&link) else { return Ok(false) };
        if self.book.get(key).is_none() {
            return Ok(false);
        }
        let is_last = self.book.let_go(key, &peer.public_key).map_err(|refusal| self.refuse(refusal))?;
        self.urgent.insert(*key);
        if is_last {
            self.figures.dropped("taken_back");
            self.drop_copy(*key, now);
            self.count();
        }
        Ok(true)
    }

    fn record(&self, wish: &AddCore) -> CoreRecord {
        let copy = self.book.get(&wish.key);
        CoreRecord {
            key: wish.key,
            length: copy.map_or(0, |copy| copy.length),
            bytes: copy.map_or(0, |copy| copy.bytes),
            updated: copy.map_or(0, |copy| copy.updated),
            active: self.cores.get(&wish.key).map_or(0, |kept| kept.active),
            priority: wish.priority,
            announce: copy.is_some_and(|copy| copy.announce),
        }
    }

    fn status(&mut self, link: LinkId, key: PublicKey, now: Instant) -> CopyStatus {
        self.attach(link, key, now);
        let copy = self.book.get(&key);
        let kept = self.cores.get(&key);
        let stopped = kept.and_then(|kept| kept.stopped).map(Refusal::code);
        let core = kept.map(|kept| kept.core).and_then(|core| self.engine.core(core).ok());
        let (length, held) = core.map_or((0, 0), |core| (core.length(), core.contiguous_length()));
        CopyStatus {
            is_kept: copy.is_some(),
            is_announced: copy.is_some_and(|copy| copy.announce),
            length: length.max(copy.map_or(0, |copy| copy.length)),
            held,
            bytes: copy.map_or(0, |copy| copy.bytes),
            limit: self.book.bounds().core_bytes,
            until: copy.map_or(0, Copy::until),
            stopped,
        }
    }

    // Cores.

    fn wanted_by(&mut self, link: LinkId, name: &DiscoveryKey, now: Instant) {
        let attached = self.book.named(name).is_some_and(|key| self.attach(link, key, now));
        if !attached {
            self.engine.reject(link, name);
        }
    }

    /// Replicates a copy on a link, and reports whether it does.
    fn attach(&mut self, link: LinkId, key: PublicKey, now: Instant) -> bool {
        if self.book.get(&key).is_none() {
            return false;
        }
        let Some(core) = self.open(key, now) else { return false };
        let Some(peer) = self.peers.get_mut(&link) else { return false };
        if peer.attached.len() >= MAX_CORES_PER_LINK && !peer.attached.contains(&key) {
            return false;
        }
        peer.attached.insert(key);
        self.engine.attach(core, link, now).is_ok()
    }

    /// Returns a core of a copy, open or being opened; `None` when too many are in use.
    fn open(&mut self, key: PublicKey, now: Instant) -> Option<CoreId> {
        if let Some(kept) = self.cores.get(&key) {
            return Some(kept.core);
        }
        if self.cores.len() >= MAX_OPEN {
            let idle = self.cores.iter().filter(|(_, kept)| kept.peers == 0);
            let oldest = idle.min_by_key(|(_, kept)| kept.idle_since).map(|(key, _)| *key)?;
            self.close_core(&oldest, now);
        }
        let options = OpenCore {
            core: OpenOptions { key: Some(key), ..OpenOptions::default() },
            ..OpenCore::default()
        };
        let (core, request) = self.engine.open_core(self.store, options, now);
        self.waiting.insert(request, Waiting::Opened(core));
        let kept =
            Kept { core, wanted: Wanted::default(), stopped: None, peers: 0, idle_since: now, active: 0 };
        self.cores.insert(key, kept);
        self.by_id.insert(core, key);
        Some(core)
    }

    fn close_core(&mut self, key: &PublicKey, now: Instant) -> Option<RequestId> {
        let core = self.take_core(key)?;
        Some(self.engine.close_core(core, now))
    }

    /// Forgets a core that is not open any more.
    fn take_core(&mut self, key: &PublicKey) -> Option<CoreId> {
        let kept = self.cores.remove(key)?;
        self.by_id.remove(&kept.core);
        for peer in self.peers.values_mut() {
            peer.attached.remove(key);
        }
        Some(kept.core)
    }

    /// Deletes a copy that nobody wants.
    fn drop_copy(&mut self, key: PublicKey, now: Instant) {
        self.book.remove(&key);
        self.complete.remove(&key);
        let name = discovery_key(&key);
        if self.rounds.remove(&key)
            && let Some(relay) = self.relay
        {
            let _ = self.engine.unannounce(relay, name, &self.key_pair, now);
        }
        self.leaving.insert(name);
        match self.close_core(&key, now) {
            Some(request) => drop(self.waiting.insert(request, Waiting::Closed(name))),
            None => self.forget(name),
        }
    }

    fn with_core(&mut self, core: CoreId, act: impl FnOnce(&mut Kept)) {
        let key = self.by_id.get(&core);
        if let Some(kept) = key.and_then(|key| self.cores.get_mut(key)) {
            act(kept);
        }
    }

    fn changed(&mut self, core: CoreId, ancestors: Option<u64>, now: Instant) {
        let mut outdated = Vec::new();
        self.with_core(core, |kept| outdated = kept.wanted.cut(ancestors.unwrap_or(u64::MAX)));
        for request in outdated {
            self.engine.cancel(request, now);
        }
        if let Some(key) = self.by_id.get(&core).copied() {
            self.measure(key, now);
        }
    }

    /// Looks how long a log is, and wants the rest of it if there is room.
    fn measure(&mut self, key: PublicKey, now: Instant) {
        let Some(kept) = self.cores.get_mut(&key) else { return };
        let Ok(mut core) = self.engine.core(kept.core) else { return };
        let (length, held) = (core.length(), core.contiguous_length());
        if length > 0 && held == length {
            self.complete.insert(key);
        } else {
            self.complete.remove(&key);
        }
        let before = self.book.get(&key).map(|copy| (copy.length, copy.bytes));
        match self.book.resize(&key, length, core.byte_length()) {
            Ok(()) => {
                kept.stopped = None;
                let start = kept.wanted.end;
                if length > start {
                    let range = RangeWish { start, end: Some(length), ..RangeWish::default() };
                    let request = core.download(range, now);
                    kept.wanted.ask(request, start, length);
                    self.waiting.insert(request, Waiting::Downloaded(key));
                }
            }
            Err(refusal) => {
                if kept.stopped.replace(refusal) != Some(refusal) {
                    self.figures.refused(refusal);
                }
            }
        }
        if self.book.get(&key).map(|copy| (copy.length, copy.bytes)) != before {
            self.dirty.insert(key);
        }
    }

    /// Dials somebody who has a core that is not all here.
    fn found(&mut self, key: PublicKey, result: &LookupResult, now: Instant) {
        let Some(relay) = self.relay else { return };
        let Some(core) = self.cores.get(&key).map(|kept| kept.core) else { return };
        let is_complete = |keeper: &mut Self| {
            keeper
                .engine
                .core(core)
                .is_ok_and(|core| core.length() > 0 && core.contiguous_length() == core.length())
        };
        if is_complete(self) {
            self.complete.insert(key);
            return;
        }
        for peer in &result.peers {
            let is_known = peer.public_key == self.key_pair.public_key
                || self.peers.values().any(|other| other.public_key == peer.public_key);
            let dialled = self.peers.values().filter(|peer| peer.dialled.is_some()).count();
            if is_known || dialled >= MAX_DIALS {
                continue;
            }
            let Ok(link) = self.engine.connect(relay, peer.public_key, &self.key_pair, now) else { continue };
            let own = Peer { dialled: Some((key, now)), ..Peer::new(peer.public_key, now) };
            self.peers.insert(link, own);
            self.attach(link, key, now);
        }
    }

    fn count(&self) {
        self.figures.set(self.book.cores(), self.book.bytes(), self.peers.len(), self.cores.len());
    }
}

impl Wanted {
    fn ask(&mut self, request: RequestId, start: u64, end: u64) {
        self.asked.insert(request, (start, end));
        self.end = end;
    }

    /// The log was cut to a length. Returns what was asked for beyond: the blocks there are others, if there ever are any.
    fn cut(&mut self, length: u64) -> Vec<RequestId> {
        let outdated: Vec<_> =
            self.asked.iter().filter(|(_, range)| range.1 > length).map(|(id, _)| *id).collect();
        self.end = self.end.min(length);
        for request in &outdated {
            if let Some((start, _)) = self.asked.remove(request) {
                self.end = self.end.min(start);
            }
        }
        outdated
    }
}

impl Peer {
    fn new(public_key: PublicKey, now: Instant) -> Self {
        Self { public_key, rpc: None, cores: None, asked: (now, 0), attached: BTreeSet::new(), dialled: None }
    }
}

/// Links at once.
const MAX_PEERS: usize = 2048;

/// Links among them that the mirror dialled.
const MAX_DIALS: usize = 16;

/// Cores open at once; some tens of KiB each.
const MAX_OPEN: usize = 1024;

/// Cores on one link.
const MAX_CORES_PER_LINK: usize = 512;

/// Cores in one message without an answer. Upstream's clients name twelve.
const MAX_CORES_AT_ONCE: usize = 64;

/// Requests of one link in [`RATE_WINDOW`], and how many times as many end it.
const MAX_ASKS: u32 = 240;
const PATIENCE: u32 = 4;
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// How long a core stays open, and a dialled link, that nobody needs.
const IDLE: Duration = Duration::from_secs(60);

/// Cores of one answer when the store is looked through.
const PAGE: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_beyond_a_cut_is_given_up_and_wanted_again() {
        let mut wanted = Wanted { end: 3, ..Wanted::default() };
        wanted.ask(RequestId(1), 3, 10);
        wanted.ask(RequestId(2), 10, 20);
        wanted.ask(RequestId(3), 20, 30);

        assert_eq!(wanted.cut(15), [RequestId(2), RequestId(3)]);
        assert_eq!(wanted.end, 10);
        assert_eq!(wanted.asked.len(), 1);

        assert_eq!(wanted.cut(u64::MAX), []);
        assert_eq!(wanted.cut(0), [RequestId(1)]);
        assert_eq!(wanted.end, 0);
        assert!(wanted.asked.is_empty());
    }
}
