//! The machine that owns all others, and the only one a host talks to.
//!
//! One engine holds any number of stores, cores and links, so that every core can be attached to every link.
//!
//! ```text
//! command or input  →  poll_output until Idle: carry out each output  →  wait for an input or Idle's time
//! ```
//!
//! A command returns at once; the [`RequestId`] it returns is repeated by one [`Event::Done`]. User code runs between
//! drains, never during one.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::collections::{BTreeMap, BTreeSet};
use crate::crypto::{Secret, blake2b_256_keyed};
use crate::id::DiscoveryKey;
use crate::storage::{OWNER_LEN, Owner, StorageFailure, StoreId};
use crate::time::Instant;

use cores::{CoreEntry, StoreEntry};
use link::Link;
use relay::{Dialling, RelayEntry};
use replication::LinkEntry;

#[cfg(feature = "bee")]
pub use bees::{BeeChange, BeeId, BeeOptions, BeeRead, BeeResponse, Expected};
pub use channels::{LinkStats, Traffic};
pub use handle::CoreHandle;
pub use relay::{IncomingId, QuestionId, RelayEvent, RelayId, ServerId};
pub use types::*;

mod atoms;
#[cfg(feature = "bee")]
mod bee_hints;
#[cfg(feature = "bee")]
mod bees;
mod channels;
mod cores;
mod detours;
mod handle;
pub mod link;
mod local;
mod relay;
mod replication;
mod requests;
mod resume;
mod sessions;
mod stores;
pub mod types;

/// Everything: stores, cores, links, and what replicates between them.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    seed: Secret,
    /// The owner of its stores.
    owner: Owner,
    stores: BTreeMap<StoreId, StoreEntry>,
    cores: BTreeMap<CoreId, CoreEntry>,
    /// Cores by discovery key, as soon as it is known.
    discovery_keys: BTreeSet<(DiscoveryKey, CoreId)>,
    links: BTreeMap<LinkId, LinkEntry>,
    relays: BTreeMap<RelayId, RelayEntry>,
    /// Where each key that is listened on is known.
    servers: BTreeMap<ServerId, (RelayId, crate::dht_relay::ServerId)>,
    /// Links that a relay has not opened yet.
    dialling: BTreeMap<LinkId, Dialling>,
    /// Who asked, by request.
    requests: BTreeMap<RequestId, CoreId>,
    outputs: VecDeque<Output>,
    flows: VecDeque<sessions::Flow>,
    running: Option<sessions::Running>,
    #[cfg(feature = "bee")]
    bees: bees::Bees,
    /// The flow that runs may be able to go on.
    dirty_flow: bool,

    dirty_cores: BTreeSet<CoreId>,
    dirty_links: BTreeSet<LinkId>,
    dirty_relays: BTreeSet<RelayId>,
    dirty_stores: BTreeSet<StoreId>,
    wakes: Wakes,
    /// The host has channels of its own on links.
    exposes_channels: bool,
    /// Commits are not begun for now.
    holds_commits: bool,

    /// Names handed out so far, of every kind: none is ever used twice.
    last_id: u32,
    last_request: u64,
    last_peer: u64,
    last_seed: u64,
}

/// Who wants to be woken when.
#[derive(Debug, Default)]
struct Wakes {
    by_time: BTreeSet<(Instant, Sleeper)>,
    by_sleeper: BTreeMap<Sleeper, Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sleeper {
    Core(CoreId),
    Link(LinkId),
    Relay(RelayId),
    Request(RequestId),
    #[cfg(feature = "bee")]
    Bee(RequestId),
}

impl Wakes {
    fn set(&mut self, sleeper: Sleeper, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_sleeper.insert(sleeper, at),
            None => self.by_sleeper.remove(&sleeper),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, sleeper));
        }
        if let Some(at) = at {
            self.by_time.insert((at, sleeper));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Sleeper> {
        let (at, sleeper) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, sleeper));
        self.by_sleeper.remove(&sleeper);
        Some(sleeper)
    }
}

impl Engine {
    /// Returns an engine without stores. Whoever knows `seed` knows every key it makes.
    pub fn new(config: Config, seed: [u8; 32], _now: Instant) -> Self {
        let mut owner = [0; OWNER_LEN];
        let hash = blake2b_256_keyed(&seed, &[b"hypertab/owner"]);
        owner.copy_from_slice(&hash[..OWNER_LEN]);
        Self {
            config,
            seed: seed.into(),
            owner: Owner(owner),
            stores: BTreeMap::new(),
            cores: BTreeMap::new(),
            discovery_keys: BTreeSet::new(),
            links: BTreeMap::new(),
            relays: BTreeMap::new(),
            servers: BTreeMap::new(),
            dialling: BTreeMap::new(),
            requests: BTreeMap::new(),
            outputs: VecDeque::new(),
            flows: VecDeque::new(),
            running: None,
            #[cfg(feature = "bee")]
            bees: bees::Bees::default(),
            dirty_flow: false,
            dirty_cores: BTreeSet::new(),
            dirty_links: BTreeSet::new(),
            dirty_relays: BTreeSet::new(),
            dirty_stores: BTreeSet::new(),
            wakes: Wakes::default(),
            exposes_channels: false,
            holds_commits: false,
            last_id: 0,
            last_request: 0,
            last_peer: 0,
            last_seed: 0,
        }
    }

    /// Takes what happened outside. `now` never decreases.
    pub fn handle_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Bytes { link, bytes } => {
                let relay = self.links.get(&link).and_then(|entry| entry.relay);
                let bytes = match relay {
                    Some(relay) => self.control_bytes(relay, bytes, now),
                    None => Some(bytes),
                };
                let Some(bytes) = bytes else { return };
                self.with_link(link, |entry| entry.link.handle_bytes(bytes, now));
            }
            Input::Credit { link, bytes } => {
                self.with_link(link, |entry| entry.link.handle_credit(bytes));
            }
            Input::LinkEnded { link } => {
                self.with_link(link, |entry| entry.link.handle_end());
            }
            Input::LinkClosed { link, reason } => {
                self.with_link(link, |entry| {
                    entry.is_gone = true;
                    entry.link.handle_closed(reason);
                });
            }
            Input::LinkLost { link, reason } => self.link_lost(link, reason, now),
            Input::Storage { store, outcome } => {
                if let Some(entry) = self.stores.get_mut(&store) {
                    entry.machine.handle_outcome(outcome);
                    self.handle_store_events(store, now);
                }
            }
            Input::Timeout => {}
        }
    }

    /// Begins no commit until [`let_commits_go`](Self::let_commits_go): what is asked for meanwhile is stored together.
    pub fn hold_commits(&mut self) {
        self.holds_commits = true;
    }

    /// Begins commits again.
    pub fn let_commits_go(&mut self) {
        if core::mem::take(&mut self.holds_commits) {
            self.dirty_stores.extend(self.stores.keys());
        }
    }

    /// Returns what to do next; [`Output::Idle`] ends the drain.
    pub fn poll_output(&mut self, now: Instant) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if !self.advance(now) {
                return Output::Idle { wake_at: self.wakes.next() };
            }
        }
    }

    /// Does a piece of work, and returns whether there was any. Commits come last, so that they gather the most.
    fn advance(&mut self, now: Instant) -> bool {
        if let Some(sleeper) = self.wakes.pop_due(now) {
            match sleeper {
                Sleeper::Core(core) => self.wake_core(core, now),
                Sleeper::Link(link) => {
                    self.with_link(link, |entry| entry.link.handle_timeout(now));
                }
                Sleeper::Relay(relay) => self.wake_relay(relay, now),
                Sleeper::Request(request) => self.give_up(request, Error::RequestTimeout, now),
                #[cfg(feature = "bee")]
                Sleeper::Bee(request) => self.wake_bee(request),
            }
        } else if core::mem::take(&mut self.dirty_flow) {
            self.drive_flow(now);
        } else if let Some(core) = self.dirty_cores.pop_first() {
            self.drive_core(core, now);
        } else if let Some(link) = self.dirty_links.pop_first() {
            self.drive_link(link, now);
        } else if let Some(relay) = self.dirty_relays.pop_first() {
            self.drive_relay(relay, now);
        } else if self.advance_bees(now) {
        } else if let Some(store) = self.dirty_stores.pop_first() {
            self.drive_store(store, now);
        } else {
            return false;
        }
        true
    }

    #[cfg(not(feature = "bee"))]
    fn advance_bees(&mut self, _now: Instant) -> bool {
        false
    }

    #[cfg(not(feature = "bee"))]
    fn bee_message(&mut self, _: CoreId, _: PeerId, _: &str, _: &bytes::Bytes, _now: Instant) -> bool {
        false
    }

    /// Adds a store about which nothing is known yet.
    pub fn create_store(&mut self) -> StoreId {
        let id = StoreId(self.next_id());
        self.stores.insert(id, StoreEntry::new(self.owner));
        id
    }

    /// Forgets a store; cores of it that are still open fail. Close them first, and wait.
    pub fn close_store(&mut self, store: StoreId, now: Instant) {
        let cores: alloc::vec::Vec<CoreId> =
            self.cores.iter().filter(|(_, entry)| entry.store == store).map(|(id, _)| *id).collect();
        for core in cores {
            self.abandon_core(core, Error::Closed, now);
        }
        self.fail_queries(store, StorageFailure::Closed);
        self.stores.remove(&store);
        self.dirty_stores.remove(&store);
    }

    /// Returns a core's getters and commands.
    ///
    /// # Errors
    ///
    /// [`Misuse`] when it is not open.
    pub fn core(&mut self, core: CoreId) -> Result<CoreHandle<'_>, Misuse> {
        CoreHandle::new(self, core)
    }

    /// Adds a link over a transport that is connected.
    pub fn open_link(&mut self, options: LinkOptions, now: Instant) -> LinkId {
        let id = LinkId(self.next_id());
        let seed = self.next_seed();
        self.links.insert(id, LinkEntry::new(Link::new(options, seed, now)));
        self.dirty_links.insert(id);
        id
    }

    /// Hands the messages of a link out as they are, from here on: it has no channels.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`].
    pub fn read_messages(&mut self, link: LinkId) -> Result<(), Misuse> {
        self.with_link(link, |entry| entry.link.read_messages()).ok_or(Misuse::UnknownLink)?;
        self.reads_again(link);
        Ok(())
    }

    /// Stops to hand out the messages of a link without channels, or goes on. What comes meanwhile waits, and the peer is
    /// slowed down where the transport can do that.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`].
    pub fn stop_messages(&mut self, link: LinkId, is_stopped: bool) -> Result<(), Misuse> {
        self.with_link(link, |entry| entry.link.stop_messages(is_stopped)).ok_or(Misuse::UnknownLink)?;
        self.reads_again(link);
        Ok(())
    }

    /// Starts channels on a link before any core is attached, to be told what the peer wants.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`].
    pub fn start_channels(&mut self, link: LinkId) -> Result<(), Misuse> {
        self.with_link(link, |entry| {
            entry.link.mux_mut();
        })
        .ok_or(Misuse::UnknownLink)?;
        self.reads_again(link);
        Ok(())
    }

    /// Sends a message on a link without channels. Returns whether the link takes more at once; otherwise wait for
    /// [`Event::LinkDrain`].
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`], also when the link is closing or has channels.
    pub fn link_send(&mut self, link: LinkId, message: &[u8], now: Instant) -> Result<bool, Misuse> {
        self.with_link(link, |entry| entry.link.send(message, now).then(|| entry.link.is_writable()))
            .flatten()
            .ok_or(Misuse::UnknownLink)
    }

    /// Returns whether a link has stopped reading; a transport that can pause should.
    pub fn is_paused(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|entry| entry.link.is_paused())
    }

    /// Closes a link once all that was sent is on its way.
    pub fn close_link(&mut self, link: LinkId) {
        if self.close_dialling(link) {
            return;
        }
        self.with_link(link, |entry| entry.link.close());
    }

    /// Sends nothing more on a link that is read message by message, and goes on reading: [`Output::FinishLink`] follows
    /// where the transport is the host's. The link is over once the remote end does the same. Any other link is closed.
    pub fn finish_link(&mut self, link: LinkId, now: Instant) {
        if self.close_dialling(link) {
            return;
        }
        self.with_link(link, |entry| entry.link.finish(now));
    }

    /// Breaks a link off: what was sent and is not on its way is dropped.
    pub fn break_link(&mut self, link: LinkId) {
        if self.close_dialling(link) {
            return;
        }
        self.with_link(link, |entry| entry.link.destroy(CloseReason::Broken));
    }

    /// Refuses what a peer wants; see [`Event::DiscoveryKey`].
    pub fn reject(&mut self, link: LinkId, discovery_key: &DiscoveryKey) {
        self.with_link(link, |entry| {
            if let Some(open) = entry.undecided.remove(discovery_key) {
                entry.link.mux_mut().reject(open);
            }
        });
    }

    fn with_link<T>(&mut self, link: LinkId, act: impl FnOnce(&mut LinkEntry) -> T) -> Option<T> {
        let entry = self.links.get_mut(&link)?;
        self.dirty_links.insert(link);
        Some(act(entry))
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Sets what time it was at [`Instant::EPOCH`], in milliseconds of Unix time: what is stored from now on counts from there. 0 for unknown.
    pub fn set_unix_millis(&mut self, unix_millis: u64) {
        self.config.unix_millis = unix_millis;
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn next_peer(&mut self) -> PeerId {
        self.last_peer += 1;
        PeerId(self.last_peer)
    }

    /// Returns the milliseconds of Unix time; 0 for unknown.
    fn unix_millis(&self, now: Instant) -> u64 {
        match self.config.unix_millis {
            0 => 0,
            epoch => epoch.saturating_add(now.as_micros() / 1000),
        }
    }

    /// Returns 32 bytes that nobody else gets.
    fn next_seed(&mut self) -> [u8; 32] {
        self.last_seed += 1;
        blake2b_256_keyed(&*self.seed, &[b"hypertab/engine", &self.last_seed.to_le_bytes()])
    }

    /// Emits a message of a link without channels.
    fn emit_message(&mut self, link: LinkId, bytes: Bytes) {
        self.emit(Event::LinkMessage { link, bytes });
    }
}
