//! Accepts links and keeps the node behind them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{EndpointOptions, Mode};
use hypertab_core::dht_relay::{Bridge, BridgeEvent, BridgeOptions, Limits, LinkId};
use hypertab_core::time::Instant;
use hypertab_core::udx::Address;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::args::Args;
use crate::udp::{Clock, Driver, Machine, SocketChange, Sockets};
use crate::{http, link, testnet};

/// Something that whoever started the relay may wait for. Displays as one JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Links are accepted.
    Listening {
        /// Where.
        url: String,
    },
    /// The isolated DHT runs.
    Testnet {
        /// Nodes to start from.
        bootstrap: Vec<SocketAddrV4>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { url } => write!(f, "{{\"event\":\"listening\",\"url\":\"{url}\"}}"),
            Self::Testnet { bootstrap } => {
                let quoted: Vec<_> = bootstrap.iter().map(|address| format!("\"{address}\"")).collect();
                write!(f, "{{\"event\":\"testnet\",\"bootstrap\":[{}]}}", quoted.join(","))
            }
        }
    }
}

/// Relays until `stop` is ready, then closes all links.
///
/// # Errors
///
/// When an address cannot be bound or no bootstrap node has an address.
pub async fn serve(
    args: Args,
    mut report: impl FnMut(&Event),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| told(&error, &format!("{} cannot be listened on", args.listen)))?;
    let url = format!("ws://{}", listener.local_addr()?);
    let clock = Clock::start();
    let testnet = if args.testnet { Some(testnet::start(clock, unix_time()).await?) } else { None };
    let hub = Hub::start(&args, testnet, clock).await?;
    report(&Event::Listening { url });
    if let Some(address) = testnet {
        report(&Event::Testnet { bootstrap: vec![address] });
    }
    let (stopping, stopped) = watch::channel(false);
    tokio::select! {
        () = accept(&listener, &hub, &stopped) => {}
        () = stop => {}
    }
    drop(listener);
    let _ = stopping.send(true);
    drop(stopped);
    // Each link holds a receiver until it is closed.
    let _ = timeout(STOP_TIMEOUT, stopping.closed()).await;
    Ok(())
}

/// What all links share.
pub(crate) struct Hub {
    pub(crate) driver: Rc<Driver<Relay>>,
    addresses: RefCell<BTreeMap<IpAddr, usize>>,
    max_links: usize,
    max_links_per_address: usize,
}

/// The machine with those who wait for its links.
pub(crate) struct Relay {
    pub(crate) bridge: Bridge,
    wakers: BTreeMap<LinkId, Rc<Notify>>,
}

impl Hub {
    async fn start(args: &Args, testnet: Option<SocketAddrV4>, clock: Clock) -> io::Result<Rc<Self>> {
        let udp = match (args.udp, testnet) {
            (_, Some(_)) => SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            (Some(SocketAddr::V4(address)), None) => address,
            (Some(SocketAddr::V6(_)), None) => {
                return Err(io::Error::other("The DHT has IPv4 addresses only; --udp takes one."));
            }
            (None, None) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        };
        let sockets =
            Sockets::bind(udp).await.map_err(|error| told(&error, "The UDP socket does not open"))?;
        let address = Address::from(sockets.address()?);
        let bootstrap = match testnet {
            Some(address) => vec![address.into()],
            None => resolve(&args.bootstrap).await?,
        };
        let endpoint = EndpointOptions {
            mode: if args.testnet { Mode::Persistent } else { Mode::Adaptive },
            is_firewalled: !args.testnet,
            public_address: args.testnet.then_some(address),
            allows_bogons: args.allow_private,
            ..EndpointOptions::new(bootstrap, address.port(), unix_time())
        };
        let options = BridgeOptions { endpoint, limits: Limits::default(), allows_lan: args.allow_private };
        let bridge = Bridge::new(options, random_seed()?, clock.now());
        let relay = Relay { bridge, wakers: BTreeMap::new() };
        Ok(Rc::new(Self {
            driver: Driver::start(relay, sockets, clock)?,
            addresses: RefCell::new(BTreeMap::new()),
            max_links: args.max_links,
            max_links_per_address: args.max_links_per_address,
        }))
    }

    /// Counts a connection from an address; `None` when there are too many.
    fn admit(self: &Rc<Self>, address: IpAddr) -> Option<Admission> {
        let mut addresses = self.addresses.borrow_mut();
        let total: usize = addresses.values().sum();
        let count = addresses.entry(address).or_default();
        if *count >= self.max_links_per_address || total >= self.max_links {
            return None;
        }
        *count += 1;
        Some(Admission { hub: Rc::clone(self), address })
    }
}

/// The place of one connection among those of its address.
struct Admission {
    hub: Rc<Hub>,
    address: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut addresses = self.hub.addresses.borrow_mut();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

impl Relay {
    /// Starts a link, and says how its task is woken.
    pub(crate) fn open_link(&mut self, now: Instant) -> (LinkId, Rc<Notify>) {
        let id = self.bridge.open_link(now);
        let waker = Rc::new(Notify::new());
        self.wakers.insert(id, Rc::clone(&waker));
        (id, waker)
    }

    /// Ends a link.
    pub(crate) fn close_link(&mut self, id: LinkId, now: Instant) {
        self.bridge.close_link(id, now);
        self.wakers.remove(&id);
    }
}

impl Machine for Relay {
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        self.bridge.handle_datagram(socket, from, bytes, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.bridge.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.bridge.poll_timeout()
    }

    fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        self.bridge.poll_transmit(max_segments, now)
    }

    fn poll_socket(&mut self, _now: Instant) -> Option<SocketChange> {
        while let Some(event) = self.bridge.poll_event() {
            match event {
                BridgeEvent::OpenSocket(id) => return Some(SocketChange::Open(id)),
                BridgeEvent::CloseSocket(id) => return Some(SocketChange::Close(id)),
                BridgeEvent::Wake(link) => {
                    if let Some(waker) = self.wakers.get(&link) {
                        waker.notify_one();
                    }
                }
                BridgeEvent::Bootstrapped => eprintln!("the DHT node is ready"),
                _ => {}
            }
        }
        None
    }
}

async fn accept(listener: &TcpListener, hub: &Rc<Hub>, stopped: &watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let admission = hub.admit(from.ip());
                let (hub, stopped) = (Rc::clone(hub), stopped.clone());
                spawn_local(async move { welcome(stream, admission, &hub, stopped).await });
            }
            Err(error) => {
                // Out of descriptors, most likely; some are free again soon.
                eprintln!("a connection is not accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the request of a new connection and runs the link, if it is one.
async fn welcome(
    mut stream: TcpStream,
    admission: Option<Admission>,
    hub: &Rc<Hub>,
    stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(Some(request))) = timeout(REQUEST_TIMEOUT, http::read_request(&mut stream)).await else {
        return;
    };
    let answered = match (&request, &admission) {
        (http::Request::Upgrade { .. }, None) => {
            let (status, body) = ("503 Service Unavailable", "this relay is full\n");
            http::write_answer(&mut stream, status, body).await
        }
        (http::Request::Upgrade { accept }, Some(_)) => http::write_upgrade(&mut stream, accept).await,
        (http::Request::Answer { status, body }, _) => http::write_answer(&mut stream, status, body).await,
    };
    if answered.is_ok() && admission.is_some() && matches!(request, http::Request::Upgrade { .. }) {
        link::run(stream, hub, stopped).await;
    }
    drop(admission);
}

/// Returns the addresses of the nodes to start from.
async fn resolve(names: &[String]) -> io::Result<Vec<Address>> {
    let is_public = names.is_empty();
    let names: Vec<&str> =
        if is_public { PUBLIC_NODES.to_vec() } else { names.iter().map(String::as_str).collect() };
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
            Err(error) => eprintln!("{name} has no address: {error}"),
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::other("No bootstrap node has an address."));
    }
    Ok(addresses)
}

pub(crate) fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}

fn unix_time() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}."))
}

/// Where the public DHT starts, as `ip@host:port`.
const PUBLIC_NODES: [&str; 3] = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
];

/// How long a connection may take to ask for something.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long links get to close when the relay stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
