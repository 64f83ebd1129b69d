//! Keeps copies of cores for those who ask, so that they outlive the tab that wrote them.
//!
//! A mirror is a client of its own relay, in the same process: it listens on a key of its own, announces what it keeps,
//! and needs no UDP. It knows cores by their public keys, verifies all it stores, and reads nothing that is encrypted.
//! Clients speak the protocols of upstream's blind peers with it; see [`wire`].

mod book;
mod disk;
mod figures;
mod keeper;
mod rounds;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hypertab_core::crypto::{KeyPair, encode_key};
use hypertab_core::dht_relay;
use hypertab_core::engine::{Config, Engine, Event, Input, LinkId, Output, RelayEvent, RelayId};
use hypertab_core::storage::{Outcome, StoreId};
use hypertab_core::time::Instant;
use tokio::sync::{Notify, mpsc};
use tokio::time::{interval, sleep, timeout};

use crate::config::{self, Askers, Level};
use crate::http::Answer;
use crate::hub::{Hub, Slot, random_seed, unix_time};
use crate::{log, private};

use book::{Book, Bounds};
use disk::{Logs, Records};
use keeper::Keeper;

pub(crate) use book::Refusal;
pub(crate) use figures::Figures;

/// A mirror that runs.
pub(crate) struct Mirror {
    figures: Rc<Figures>,
    public_key: [u8; 32],
    stopping: Rc<Notify>,
    stopped: Rc<Notify>,
}

impl Mirror {
    /// Starts the mirror of a relay, if it is to have one.
    ///
    /// # Errors
    ///
    /// Says what is wrong with its folder.
    pub(crate) fn start(hub: &Rc<Hub>) -> io::Result<Option<Self>> {
        let settings = &hub.settings().mirror;
        let Some(folder) = &settings.directory else { return Ok(None) };
        let told = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("The folder {} of the mirror cannot be used: {error}.", folder.display()),
            )
        };
        private::make_folder(folder).map_err(told)?;
        let records = Records::open(&folder.join("copies.redb"))?;
        let seed = records.seed(random_seed()?).map_err(io::Error::other)?;
        let key_pair = KeyPair::from_seed(&seed);
        let copies = records.load().map_err(io::Error::other)?;
        let (sender, outcomes) = mpsc::unbounded_channel();
        let logs = Logs::open(&folder.join("cores.redb"), sender)?;
        let figures = Rc::new(Figures::default());
        let now = hub.driver.now();
        let epoch = unix_time().saturating_sub(now.as_micros() / 1000);
        let engine = Engine::new(Config::with_unix_millis(epoch), random_seed()?, now);
        let permit = permit(hub);
        let book = Book::new(bounds(settings), copies);
        let cores = book.cores();
        let keeper =
            Keeper::new(engine, key_pair.clone(), book, (permit, settings.announce), Rc::clone(&figures));
        let public_key = key_pair.public_key;
        let (stopping, stopped) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let host = Host {
            hub: Rc::clone(hub),
            keeper,
            public_key,
            records,
            logs,
            outcomes,
            line: None,
            store: StoreId(0),
        };
        let (until, done) = (Rc::clone(&stopping), Rc::clone(&stopped));
        tokio::task::spawn_local(async move {
            host.run(&until).await;
            done.notify_one();
        });
        log::line(Level::Info, "the mirror runs", &[("copies", &cores)]);
        Ok(Some(Self { figures, public_key, stopping, stopped }))
    }

    /// Returns what it has and has done.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Stops it, once everything is on the disk.
    pub(crate) async fn stop(&self) {
        self.stopping.notify_one();
        self.stopped.notified().await;
    }
}

/// Says by which key copies are asked for, and within which bounds; null where nothing is kept, which a page is not to see as
/// a failure. Pages of any origin may read it.
pub(crate) fn page(mirror: Option<&Mirror>, settings: &config::Mirror) -> Answer {
    Answer {
        kind: "application/json",
        body: mirror.map_or("null\n".into(), |mirror| describe(settings, &mirror.public_key)),
        extra: "Access-Control-Allow-Origin: *\r\n",
        ..Answer::text("200 OK", "")
    }
}

fn describe(settings: &config::Mirror, public_key: &[u8; 32]) -> String {
    let who = match settings.who {
        Askers::Clients => "clients",
        Askers::Listed => "listed",
        Askers::All => "all",
    };
    let shown = serde_json::json!({
        "publicKey": encode_key(public_key),
        "who": who,
        "announces": settings.announce,
        "retention": settings.retention.as_secs(),
        "coreBytes": settings.core_bytes.0,
        "clientBytes": settings.client_bytes.0,
        "clientCores": settings.client_cores,
    });
    format!("{shown}\n")
}

fn bounds(settings: &config::Mirror) -> Bounds {
    Bounds {
        bytes: settings.bytes.0,
        core_bytes: settings.core_bytes.0,
        cores: settings.cores,
        client_cores: settings.client_cores,
        client_bytes: settings.client_bytes.0,
        retention: settings.retention,
    }
}

fn permit(hub: &Rc<Hub>) -> keeper::Permit {
    // The hub has the mirror, so the mirror holds on to what it needs of it only.
    let hub = Rc::downgrade(hub);
    Box::new(move |key| {
        let hub = hub.upgrade().ok_or(Refusal::Denied)?;
        let account = hub.account_of(key);
        let settings = hub.settings();
        let access = &settings.access;
        if access.deny_keys.iter().any(|denied| denied.0 == *key) {
            return Err(Refusal::Denied);
        }
        match settings.mirror.who {
            Askers::Clients => account.map(Some),
            Askers::Listed if settings.mirror.keys.iter().any(|listed| listed.0 == *key) => Ok(account.ok()),
            Askers::Listed => Err(Refusal::Denied),
            Askers::All => Ok(account.ok()),
        }
    })
}

/// Carries what the engine of a mirror wants to the relay and to the disk.
struct Host {
    hub: Rc<Hub>,
    keeper: Keeper,
    public_key: [u8; 32],
    records: Records,
    logs: Logs,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    line: Option<Line>,
    /// The one store; known from its first intent on.
    store: StoreId,
}

/// The way to the relay: a link of both.
struct Line {
    /// As the relay names it.
    link: dht_relay::LinkId,
    slot: Rc<Slot>,
    relay: RelayId,
    /// As the engine names it.
    control: LinkId,
    /// What the relay has not taken.
    outgoing: VecDeque<Bytes>,
}

impl Host {
    async fn run(mut self, stopping: &Notify) {
        let mut upkeep = interval(UPKEEP);
        let mut again = None;
        loop {
            if self.line.is_none() && again.is_none() {
                self.connect();
            }
            let (wake, is_busy) = self.turn();
            if self.line.is_none() && again.is_none() {
                log::line(Level::Warn, "the mirror has lost the relay", &[]);
                again = Some(self.hub.driver.now() + PAUSE);
            }
            if is_busy {
                tokio::task::yield_now().await;
            }
            let now = self.hub.driver.now();
            let slot = self.line.as_ref().map(|line| Rc::clone(&line.slot));
            let wake = [wake, again].into_iter().flatten().min();
            let sleeping = async {
                match wake {
                    _ if is_busy => {}
                    Some(at) => sleep(at.duration_since(now)).await,
                    None => std::future::pending().await,
                }
            };
            let woken = async {
                match &slot {
                    Some(slot) => tokio::select! {
                        () = slot.waker.notified() => false,
                        () = slot.introduced.notified() => true,
                    },
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping.notified() => break,
                Some(outcome) = self.outcomes.recv() => self.take(outcome),
                is_introduced = woken => if is_introduced { self.introduce() },
                _ = upkeep.tick() => {
                    self.keeper.set_bounds(bounds(&self.hub.settings().mirror));
                    self.keeper.upkeep(now, unix_time());
                    self.save(true);
                }
                () = sleeping => {
                    let now = self.hub.driver.now();
                    again.take_if(|at| *at <= now);
                    self.keeper.engine.handle_input(Input::Timeout, now);
                }
            }
        }
        self.keeper.close(self.hub.driver.now());
        let _ = timeout(CLOSING, self.settle()).await;
        self.save(true);
        self.logs.close();
    }

    /// Waits until the disk has nothing more to do.
    async fn settle(&mut self) {
        loop {
            self.turn();
            match timeout(QUIET, self.outcomes.recv()).await {
                Ok(Some(outcome)) => self.take(outcome),
                _ => return,
            }
        }
    }

    fn connect(&mut self) {
        let now = self.hub.driver.now();
        let (link, slot) = self.hub.driver.machine.borrow_mut().open_own_link(now);
        let (relay, control) = self.keeper.engine.open_relay(self.public_key, now);
        self.line = Some(Line { link, slot, relay, control, outgoing: VecDeque::new() });
    }

    fn introduce(&mut self) {
        let Some(line) = &self.line else { return };
        let now = self.hub.driver.now();
        self.hub.driver.machine.borrow_mut().bridge.admit(line.link, self.public_key, now);
        self.hub.driver.pump();
    }

    fn take(&mut self, outcome: Outcome) {
        let now = self.hub.driver.now();
        self.keeper.engine.handle_input(Input::Storage { store: self.store, outcome }, now);
    }

    /// Does what there is to do. Returns when to look again, and whether there is more at once.
    fn turn(&mut self) -> (Option<Instant>, bool) {
        for _ in 0..ROUNDS {
            let mut wake = self.drain();
            let has_moved = self.exchange();
            if !has_moved {
                let now = self.hub.driver.now();
                let announce = self.keeper.announce(now);
                let after = self.drain();
                wake = [announce, after.or(wake)].into_iter().flatten().min();
                if !self.exchange() {
                    self.save(false);
                    return (wake, false);
                }
            }
        }
        self.save(false);
        (None, true)
    }

    /// Takes what the engine puts out.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            let now = self.hub.driver.now();
            match self.keeper.engine.poll_output(now) {
                Output::Transmit { link, bytes } => {
                    if let Some(line) = self.line.as_mut().filter(|line| line.control == link) {
                        line.outgoing.push_back(bytes);
                    }
                }
                Output::Storage { store, intent } => {
                    self.store = store;
                    self.logs.handle(intent);
                }
                Output::FinishLink { .. } | Output::CloseLink { .. } => {}
                Output::Event(Event::Relay(RelayEvent::Closed { relay, .. })) => {
                    if self.line.as_ref().is_some_and(|line| line.relay == relay) {
                        self.hang_up();
                    }
                }
                Output::Event(event) => self.keeper.handle_event(event, now, unix_time()),
                Output::Idle { wake_at } => return wake_at,
            }
        }
    }

    fn hang_up(&mut self) {
        let Some(line) = self.line.take() else { return };
        let now = self.hub.driver.now();
        self.keeper.set_relay(None);
        self.hub.driver.machine.borrow_mut().close_link(line.link, now);
        self.hub.driver.pump();
    }

    /// Carries frames between the engine and the relay, and reports whether there were any.
    fn exchange(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        let mut has_moved = false;
        let now = self.hub.driver.now();
        {
            let bridge = &mut self.hub.driver.machine.borrow_mut().bridge;
            if bridge.refusal(line.link).is_some() {
                let reason = Some("the relay has closed the link".into());
                self.keeper.engine.handle_input(Input::LinkClosed { link: line.control, reason }, now);
                return true;
            }
            while !bridge.is_paused(line.link)
                && let Some(frame) = line.outgoing.pop_front()
            {
                let bytes = frame.len() as u64;
                bridge.handle_frame(line.link, frame, now);
                self.keeper.engine.handle_input(Input::Credit { link: line.control, bytes }, now);
                has_moved = true;
            }
            for _ in 0..FRAMES {
                if self.keeper.engine.is_paused(line.control) {
                    break;
                }
                let Some(bytes) = bridge.poll_frame(line.link, now) else { break };
                self.keeper.engine.handle_input(Input::Bytes { link: line.control, bytes }, now);
                has_moved = true;
            }
        }
        if has_moved {
            self.hub.driver.pump();
        }
        has_moved
    }

    fn save(&mut self, all: bool) {
        let changes = self.keeper.take_changes(all);
        if !changes.is_empty()
            && let Err(error) = self.records.save(changes)
        {
            log::line(Level::Error, "what the mirror keeps is not noted", &[("why", &error)]);
            self.keeper.fail();
        }
    }
}

/// How often copies are looked at whose time may be over.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long the mirror waits before it connects again.
const PAUSE: Duration = Duration::from_secs(1);

/// Frames, and rounds of them, before others have their turn.
const FRAMES: usize = 32;
const ROUNDS: usize = 16;

/// How long the disk may take when the mirror stops, and how long it is silent when it is done.
const CLOSING: Duration = Duration::from_secs(3);
const QUIET: Duration = Duration::from_millis(200);
