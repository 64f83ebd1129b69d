//! What all links share: the machine, the settings, the books.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{EndpointOptions, Mode};
use hypertab_core::dht_relay::{
    Bridge, BridgeEvent, BridgeOptions, Charge, Full, LinkId, Permissions, Refusal, Way,
};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use crate::access::{Bans, Denial, Guest, account, ask, barred, judge, serves_key};
use crate::config::{Level, Settings};
use crate::http::Head;
use crate::metrics::{Metrics, Snapshot, add};
use crate::mirror::{self, Mirror};
use crate::state::State;
use crate::udp::{Clock, Driver, Machine, SocketChange, Sockets};
use crate::{access, log, stun};

/// What all links share.
pub(crate) struct Hub {
    settings: RefCell<Rc<Settings>>,
    /// Changes with the settings, so that links are judged anew.
    pub(crate) revised: watch::Sender<()>,
    pub(crate) driver: Rc<Driver<Relay>>,
    pub(crate) metrics: Rc<Metrics>,
    pub(crate) is_draining: Cell<bool>,
    pub(crate) mirror: OnceCell<Mirror>,
    bans: RefCell<Bans>,
    state: Option<State>,
    /// Key under which this is a blind relay for native peers.
    pub(crate) blind_relay: Option<[u8; 32]>,
}

/// The machine with those who wait for its links.
pub(crate) struct Relay {
    pub(crate) bridge: Bridge,
    slots: BTreeMap<LinkId, Rc<Slot>>,
    metrics: Rc<Metrics>,
    answers_stun: bool,
    stun: BTreeMap<[u8; 4], (Instant, u32)>,
    answers: VecDeque<Transmit>,
}

/// How the task of a link is woken.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The client wants to go on with this link instead.
    claimed: Cell<Option<LinkId>>,
    /// It does.
    pub(crate) claim: Notify,
    /// How many WebSockets have carried the link: only the last one does.
    pub(crate) turn: Cell<u64>,
    /// Another one carries it.
    pub(crate) replaced: Notify,
    /// When it was opened.
    pub(crate) opened: Cell<Option<tokio::time::Instant>>,
    guest: RefCell<Option<Rc<Guest>>>,
    /// The session has frames, may be read again, or is to be closed.
    pub(crate) waker: Notify,
    /// The client has introduced itself.
    pub(crate) introduced: Notify,
    pub(crate) key: Cell<Option<[u8; 32]>>,
    is_served: Cell<bool>,
    account: Cell<[u8; 16]>,
}

impl Hub {
    pub(crate) async fn start(
        settings: Settings,
        testnet: Option<SocketAddrV4>,
        clock: Clock,
    ) -> io::Result<Rc<Self>> {
        let state = settings.state.as_deref().map(State::open).transpose()?;
        let sockets = bind(&settings, state.as_ref()).await?;
        let address = Address::from(sockets.address()?);
        if let Some(state) = &state {
            state.set_port(address.port()).map_err(io::Error::other)?;
        }
        let bootstrap = match testnet {
            Some(address) => vec![address.into()],
            None => resolve(&settings.bootstrap, state.as_ref()).await?,
        };
        let public = settings.public_address.map(Address::from).or(settings.testnet.then_some(address));
        let endpoint = EndpointOptions {
            mode: if public.is_some() { Mode::Persistent } else { Mode::Adaptive },
            is_firewalled: public.is_none(),
            public_address: public,
            allows_bogons: settings.allow_private,
            serves_others: settings.serve_others,
            ..EndpointOptions::new(bootstrap, address.port(), unix_time())
        };
        let options = BridgeOptions {
            endpoint,
            limits: settings.limits,
            quotas: settings.quotas,
            allows_lan: settings.allow_private,
            allows_custodial: settings.allow_custodial,
            relay_through: settings.relay_through.iter().map(|key| key.0).collect(),
        };
        let metrics = Rc::new(Metrics::new());
        let mut bridge = Bridge::new(options, random_seed()?, clock.now());
        let blind_relay = match settings.blind_relay {
            true => Some(serve_blind_relay(&mut bridge, &settings, state.as_ref(), clock.now())?),
            false => None,
        };
        let relay = Relay {
            bridge,
            slots: BTreeMap::new(),
            metrics: Rc::clone(&metrics),
            answers_stun: settings.stun,
            stun: BTreeMap::new(),
            answers: VecDeque::new(),
        };
        let bans = Bans::new(state.as_ref().map(State::bans).unwrap_or_default());
        Ok(Rc::new(Self {
            settings: RefCell::new(Rc::new(settings)),
            revised: watch::Sender::new(()),
            driver: Driver::start(relay, sockets, clock)?,
            metrics,
            is_draining: Cell::new(false),
            mirror: OnceCell::new(),
            bans: RefCell::new(bans),
            state,
            blind_relay,
        }))
    }

    /// Returns the settings in force.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Puts other settings in force, as far as a running relay can change.
    pub(crate) fn revise(&self, mut settings: Settings) {
        let (changed, fixed) = settings.keep_fixed(&self.settings());
        self.driver.machine.borrow_mut().bridge.set_bounds(settings.limits, settings.quotas);
        *self.settings.borrow_mut() = Rc::new(settings);
        self.revised.send_replace(());
        log::line(Level::Info, "the settings were read again", &[("changed", &changed.join(","))]);
        if !fixed.is_empty() {
            log::line(Level::Warn, "some settings take a restart", &[("settings", &fixed.join(","))]);
        }
    }

    /// Says why a client that is here would not be let in any more.
    pub(crate) fn barred(&self, guest: &Guest) -> Option<Denial> {
        barred(&self.settings().access, guest)
    }

    /// Returns whether a client that is here would still be served by its key.
    pub(crate) fn serves(&self, guest: &Guest, key: &[u8; 32]) -> bool {
        serves_key(&self.settings().access, guest, key)
    }

    /// Returns the account of the address of a client that is served by this key; an error when there is none.
    pub(crate) fn account_of(&self, key: &[u8; 32]) -> Result<[u8; 16], mirror::Refusal> {
        let machine = self.driver.machine.borrow();
        let mut slots = machine.slots.values();
        let slot = slots.find(|slot| slot.is_served.get() && slot.key.get() == Some(*key));
        slot.map(|slot| slot.account.get()).ok_or(mirror::Refusal::Denied)
    }

    /// Lets a client in, or says why not.
    pub(crate) fn admit(
        &self,
        head: &Head,
        address: std::net::IpAddr,
    ) -> Result<(Rc<Guest>, LinkId, Rc<Slot>), Denial> {
        if self.is_draining.get() {
            return Err(Denial::Draining);
        }
        if self.bans.borrow().is_banned(&account(address), access::unix_seconds()) {
            return Err(Denial::Banned);
        }
        let guest = Rc::new(judge(&self.settings().access, head, address)?);
        let now = self.driver.now();
        let opened = self.driver.machine.borrow_mut().open_link(account(address), guest.permissions, now);
        let (link, slot) = opened.map_err(Denial::Full)?;
        slot.guest.replace(Some(Rc::clone(&guest)));
        slot.opened.set(Some(tokio::time::Instant::now()));
        add(&self.metrics.links, 1);
        Ok((guest, link, slot))
    }

    /// Counts somebody who was turned away before there was a link.
    pub(crate) fn denied(&self, denial: Denial, address: std::net::IpAddr) {
        self.metrics.refused(denial.name());
        let shown = log::address(address);
        log::line(Level::Debug, "turned away", &[("reason", &denial.name()), ("address", &shown)]);
        if denial.is_offence() {
            self.offended(address);
        }
    }

    /// Counts a link that was closed for a reason.
    pub(crate) fn refused(&self, refusal: Refusal, address: std::net::IpAddr) {
        self.metrics.refused(refusal.name());
        let offence = [
            Refusal::Malformed,
            Refusal::Text,
            Refusal::TooBig,
            Refusal::NumberInUse,
            Refusal::TooManyRequests,
            Refusal::NotReading,
        ];
        if offence.contains(&refusal) {
            self.offended(address);
        }
    }

    fn offended(&self, address: std::net::IpAddr) {
        add(&self.metrics.offences, 1);
        let now = access::unix_seconds();
        let account = account(address);
        let Some(until) = self.bans.borrow_mut().offend(account, &self.settings().ban, now) else { return };
        let shown = log::address(address);
        log::line(Level::Warn, "an address is banned", &[("seconds", &(until - now)), ("address", &shown)]);
        if let Some(state) = &self.state
            && let Err(error) = state.set_ban(account, until, now)
        {
            log::line(Level::Error, "a ban is not kept", &[("why", &error)]);
        }
    }

    /// Reports whether a guest is served by its key.
    async fn is_welcome(&self, guest: &Guest, key: &[u8; 32]) -> bool {
        let access = &self.settings().access;
        if !serves_key(access, guest, key) {
            return false;
        }
        let Some(url) = &access.callback else { return true };
        ask(url, access.callback_timeout, guest, key).await.unwrap_or_else(|why| {
            log::line(Level::Error, "the callback does not decide", &[("why", &why)]);
            false
        })
    }

    /// Decides about the key of a guest.
    pub(crate) async fn introduce(&self, link: LinkId, guest: &Guest, key: [u8; 32]) {
        let is_welcome = self.is_welcome(guest, &key).await;
        let now = self.driver.now();
        {
            let machine = &mut *self.driver.machine.borrow_mut();
            if let Some(slot) = machine.slots.get(&link) {
                slot.is_served.set(is_welcome);
            }
            let bridge = &mut machine.bridge;
            if is_welcome {
                bridge.admit(link, key, now);
            } else {
                bridge.refuse(link, Refusal::KeyDenied, now);
            }
        }
        let shown = log::key(&key);
        log::line(Level::Debug, "introduced", &[("link", &link.0), ("served", &is_welcome), ("key", &shown)]);
        self.driver.pump();
    }

    /// Decides whether a guest goes on with the link that it claims; returns that link if so. The guest's own is over then.
    pub(crate) async fn resume(
        &self,
        link: LinkId,
        slot: &Slot,
        guest: &Rc<Guest>,
    ) -> Option<(LinkId, Rc<Slot>)> {
        let of = slot.claimed.take()?;
        let claimed = self.driver.machine.borrow().slots.get(&of).map(Rc::clone);
        let is_same =
            |claimed: &Rc<Slot>| claimed.guest.borrow().as_ref().is_some_and(|own| own.is_same(guest));
        let key = claimed.as_ref().filter(|claimed| is_same(claimed)).and_then(|claimed| claimed.key.get());
        let is_welcome = match key {
            Some(key) => !self.is_draining.get() && self.is_welcome(guest, &key).await,
            None => false,
        };
        let now = self.driver.now();
        let resumed = {
            let machine = &mut *self.driver.machine.borrow_mut();
            match claimed.filter(|_| is_welcome) {
                Some(claimed) => machine.bridge.resume(link, of, now).then_some(claimed),
                None => {
                    machine.bridge.deny_resume(link, now);
                    None
                }
            }
        };
        if let Some(resumed) = &resumed {
            self.driver.machine.borrow_mut().slots.remove(&link);
            resumed.guest.replace(Some(Rc::clone(guest)));
            resumed.account.set(account(guest.address));
            resumed.turn.set(resumed.turn.get() + 1);
            resumed.replaced.notify_waiters();
        }
        let is_resumed = resumed.is_some();
        log::line(
            Level::Debug,
            "link claimed",
            &[("link", &of.0), ("by", &link.0), ("resumed", &is_resumed)],
        );
        self.driver.pump();
        Some((of, resumed?))
    }

    /// Keeps a link whose WebSocket broke for its client, or ends it.
    pub(crate) fn lose_link(&self, link: LinkId) {
        let now = self.driver.now();
        {
            let machine = &mut *self.driver.machine.borrow_mut();
            if self.is_draining.get() || !machine.bridge.hold_link(link, now) {
                machine.close_link(link, now);
            }
        }
        self.driver.pump();
    }

    /// Ends a link.
    pub(crate) fn close_link(&self, link: LinkId) {
        let now = self.driver.now();
        self.driver.machine.borrow_mut().close_link(link, now);
        self.driver.pump();
    }

    /// Lets nobody in and nobody come back from here on.
    pub(crate) fn start_draining(&self) {
        self.is_draining.set(true);
        let now = self.driver.now();
        self.driver.machine.borrow_mut().bridge.drop_held(now);
        self.driver.pump();
    }

    /// Counts bytes of a message, and returns how long to wait before the next one; `None` when the day is over.
    pub(crate) fn charge(&self, link: LinkId, way: Way, bytes: usize) -> Option<Duration> {
        let (total, messages) = match way {
            Way::In => (&self.metrics.bytes_in, &self.metrics.messages_in),
            Way::Out => (&self.metrics.bytes_out, &self.metrics.messages_out),
        };
        add(total, bytes);
        add(messages, 1);
        let now = self.driver.now();
        match self.driver.machine.borrow_mut().bridge.charge(link, way, bytes, now) {
            Charge::Wait(Duration::ZERO) => Some(Duration::ZERO),
            Charge::Wait(wait) => {
                add(&self.metrics.throttled, 1);
                Some(wait)
            }
            Charge::Spent(_) => None,
        }
    }

    /// Closes all links without streams and queries.
    pub(crate) fn close_idle(&self) {
        let now = self.driver.now();
        {
            let machine = &mut *self.driver.machine.borrow_mut();
            for link in machine.slots.keys() {
                if !machine.bridge.is_own(*link) && machine.bridge.is_idle(*link) {
                    machine.bridge.refuse(*link, Refusal::Draining, now);
                }
            }
        }
        self.driver.pump();
    }

    /// Returns whether the DHT node has found its way.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.driver.machine.borrow().bridge.endpoint().node().is_bootstrapped()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let bans = self.bans.borrow().count(access::unix_seconds());
        Snapshot::take(&self.driver.machine.borrow().bridge, bans, self.is_draining.get())
    }

    /// Keeps what is worth keeping.
    pub(crate) fn keep(&self) {
        let Some(state) = &self.state else { return };
        let machine = self.driver.machine.borrow();
        if let Err(error) = state.set_nodes(machine.bridge.endpoint().node().latest()) {
            log::line(Level::Error, "the state is not kept", &[("why", &error)]);
        }
    }
}

impl Relay {
    fn open_link(
        &mut self,
        account: [u8; 16],
        permissions: Permissions,
        now: Instant,
    ) -> Result<(LinkId, Rc<Slot>), Full> {
        let id = self.bridge.open_link(account, permissions, now)?;
        let slot = Rc::new(Slot { account: Cell::new(account), ..Slot::default() });
        self.slots.insert(id, Rc::clone(&slot));
        Ok((id, slot))
    }

    /// Starts a link for a part of this process.
    pub(crate) fn open_own_link(&mut self, now: Instant) -> (LinkId, Rc<Slot>) {
        let id = self.bridge.open_own_link(now);
        let slot = Rc::new(Slot::default());
        self.slots.insert(id, Rc::clone(&slot));
        (id, slot)
    }

    /// Ends a link.
    pub(crate) fn close_link(&mut self, id: LinkId, now: Instant) {
        self.bridge.close_link(id, now);
        self.slots.remove(&id);
    }

    /// Answers a STUN request; reports whether the datagram was one.
    fn handle_stun(&mut self, socket: SocketId, from: Address, bytes: &[u8], now: Instant) -> bool {
        if !self.answers_stun || socket != SocketId::SERVER || bytes.first() != Some(&0) {
            return false;
        }
        let Some(answer) = stun::answer(bytes, from) else { return bytes.len() > 1 };
        if self.stun.len() >= MAX_STUN_HOSTS {
            self.stun.retain(|_, (since, _)| *since + STUN_WINDOW > now);
        }
        let is_full = self.stun.len() >= MAX_STUN_HOSTS && !self.stun.contains_key(&from.ip());
        let (since, count) = self.stun.entry(from.ip()).or_insert((now, 0));
        if *since + STUN_WINDOW <= now {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if is_full || *count > MAX_STUN || self.answers.len() >= MAX_ANSWERS {
            if is_full {
                self.stun.remove(&from.ip());
            }
            add(&self.metrics.stun_ignored, 1);
            return true;
        }
        add(&self.metrics.stun_answered, 1);
        self.answers.push_back(Transmit::single(socket, from, Bytes::copy_from_slice(&answer)));
        true
    }
}

impl Machine for Relay {
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        if !self.handle_stun(socket, from, &bytes, now) {
            self.bridge.handle_datagram(socket, from, bytes, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.bridge.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.bridge.poll_timeout()
    }

    fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        self.answers.pop_front().or_else(|| self.bridge.poll_transmit(max_segments, now))
    }

    fn poll_socket(&mut self, _now: Instant) -> Option<SocketChange> {
        while let Some(event) = self.bridge.poll_event() {
            match event {
                BridgeEvent::OpenSocket(id) => return Some(SocketChange::Open(id)),
                BridgeEvent::CloseSocket(id) => return Some(SocketChange::Close(id)),
                BridgeEvent::Wake(link) => {
                    if let Some(slot) = self.slots.get(&link) {
                        slot.waker.notify_one();
                    }
                }
                BridgeEvent::Introduced(link, key) => {
                    if let Some(slot) = self.slots.get(&link) {
                        slot.key.set(Some(key));
                        slot.introduced.notify_one();
                    }
                }
                BridgeEvent::Resuming(link, of) => {
                    if let Some(slot) = self.slots.get(&link) {
                        slot.claimed.set(Some(of));
                        slot.claim.notify_one();
                    }
                }
                BridgeEvent::Expired(link) => drop(self.slots.remove(&link)),
                BridgeEvent::BlindRelayAnnounced => {
                    log::line(Level::Info, "the blind relay is announced", &[])
                }
                BridgeEvent::Bootstrapped => log::line(Level::Info, "the DHT node is ready", &[]),
                _ => {}
            }
        }
        None
    }
}

async fn bind(settings: &Settings, state: Option<&State>) -> io::Result<Sockets> {
    let told =
        |error: &io::Error| io::Error::new(error.kind(), format!("The UDP socket does not open: {error}."));
    let host = if settings.testnet { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let wanted = settings.udp.unwrap_or(SocketAddrV4::new(host, 0));
    // The id of a node comes from its address, so an earlier port keeps it.
    if let Some(port) = state.and_then(State::port).filter(|_| wanted.port() == 0) {
        match Sockets::bind(SocketAddrV4::new(*wanted.ip(), port)).await {
            Ok(sockets) => return Ok(sockets),
            Err(why) => log::line(Level::Warn, "the UDP port of earlier runs is taken", &[("why", &why)]),
        }
    }
    Sockets::bind(wanted).await.map_err(|error| told(&error))
}

/// Returns the addresses of the nodes to start from.
async fn resolve(names: &[String], state: Option<&State>) -> io::Result<Vec<Address>> {
    let names: Vec<&str> =
        if names.is_empty() { PUBLIC_NODES.to_vec() } else { names.iter().map(String::as_str).collect() };
    let mut addresses = Vec::new();
    for name in names {
        let (address, name) = name.split_once('@').map_or((None, name), |(ip, name)| (Some(ip), name));
        if let Some((ip, (_, port))) = address.zip(name.rsplit_once(':'))
            && let (Ok(ip), Ok(port)) = (ip.parse::<Ipv4Addr>(), port.parse())
        {
            addresses.push(Address::new(ip.octets(), port));
            continue;
        }
        match tokio::net::lookup_host(name).await {
            Ok(found) => addresses.extend(found.filter_map(|address| match address {
                SocketAddr::V4(address) => Some(Address::from(address)),
                SocketAddr::V6(_) => None,
            })),
            Err(why) => {
                log::line(Level::Warn, "a bootstrap node has no address", &[("node", &name), ("why", &why)])
            }
        }
    }
    addresses.extend(state.map(State::nodes).unwrap_or_default());
    if addresses.is_empty() {
        return Err(io::Error::other("No bootstrap node has an address."));
    }
    Ok(addresses)
}

/// Starts a blind relay for native peers, under the key of earlier runs where there is a state to keep it in.
fn serve_blind_relay(
    bridge: &mut Bridge,
    settings: &Settings,
    state: Option<&State>,
    now: Instant,
) -> io::Result<[u8; 32]> {
    let seed = Zeroizing::new(match state.and_then(State::blind_relay_seed) {
        Some(seed) => seed,
        None => random_seed()?,
    });
    if let Some(state) = state {
        state.set_blind_relay_seed(&seed).map_err(io::Error::other)?;
    }
    let key_pair = KeyPair::from_seed(&seed);
    let key = key_pair.public_key;
    bridge.serve_blind_relay(key_pair, settings.blind_relay_sessions, now).map_err(io::Error::other)?;
    Ok(key)
}

pub(crate) fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}

pub(crate) fn unix_time() -> u64 {
    let now = std::time::SystemTime::now();
    let elapsed = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Where the public DHT starts, as `ip@host:port`.
const PUBLIC_NODES: [&str; 3] = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
];

/// STUN requests of one host in [`STUN_WINDOW`]: a page asks a few times for each connection.
const MAX_STUN: u32 = 100;
const STUN_WINDOW: Duration = Duration::from_secs(10);

/// Hosts whose STUN requests are counted.
const MAX_STUN_HOSTS: usize = 8192;

/// STUN answers that wait for room in the socket.
const MAX_ANSWERS: usize = 64;
