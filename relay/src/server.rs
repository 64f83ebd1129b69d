//! Accepts connections, answers requests, and stops in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use futures_util::SinkExt;
use hypertab_core::crypto::encode_hex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_websockets::{CloseCode, Message, ServerBuilder};

use crate::access::{Denial, account, client_address};
use crate::config::{Level, Readers, Settings};
use crate::http::{self, Answer, Head, Request};
use crate::hub::{Hub, unix_time};
use crate::metrics::add;
use crate::mirror::{self, Mirror};
use crate::socket::Socket;
use crate::tls::Tls;
use crate::udp::Clock;
use crate::{acme, link, log, status, testnet};

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
    /// The blind relay for native peers runs.
    BlindRelay {
        /// Its public key, which stays the same where there is a state.
        key: [u8; 32],
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { url } => write!(f, "{{\"event\":\"listening\",\"url\":\"{url}\"}}"),
            Self::BlindRelay { key } => {
                write!(f, "{{\"event\":\"blind-relay\",\"key\":\"{}\"}}", encode_hex(key))
            }
            Self::Testnet { bootstrap } => {
                let quoted: Vec<_> = bootstrap.iter().map(|address| format!("\"{address}\"")).collect();
                write!(f, "{{\"event\":\"testnet\",\"bootstrap\":[{}]}}", quoted.join(","))
            }
        }
    }
}

/// What whoever started the relay wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Read the settings and the certificate again.
    Reload,
    /// Let links end, then stop; the second time, stop at once.
    Stop,
}

/// Relays until it is told to stop. [`Signal::Reload`] puts the settings that `reread` returns in force, as far as a
/// running relay can change; those in force stay so while what it reads is wrong.
///
/// # Errors
///
/// When an address cannot be bound, a file cannot be used, or no bootstrap node has an address.
pub async fn serve(
    settings: Settings,
    reread: impl Fn() -> Result<Settings, String>,
    mut report: impl FnMut(&Event),
    mut signals: mpsc::Receiver<Signal>,
) -> io::Result<()> {
    log::start(settings.log.clone());
    let tls = Tls::start(&settings)?.map(Rc::new);
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot be listened on: {error}.", settings.listen))
    })?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let clock = Clock::start();
    let testnet = if settings.testnet { Some(testnet::start(clock, unix_time()).await?) } else { None };
    let hub = Hub::start(settings, testnet, clock).await?;
    if let Some(mirror) = Mirror::start(&hub)? {
        let _ = hub.mirror.set(mirror);
    }
    log::line(Level::Info, "listening", &[("url", &url)]);
    report(&Event::Listening { url });
    if let Some(address) = testnet {
        report(&Event::Testnet { bootstrap: vec![address] });
    }
    if let Some(key) = hub.blind_relay {
        report(&Event::BlindRelay { key });
    }
    let (stopping, stopped) = watch::channel(false);
    let front = Rc::new(Front {
        hub: Rc::clone(&hub),
        tls,
        stopped,
        requests: Cell::new(0),
        by_address: RefCell::default(),
    });
    {
        let accepting = accept(&listener, &front);
        tokio::pin!(accepting);
        let mut upkeep = interval(UPKEEP);
        let mut reload = interval(hub.settings().tls.reload);
        loop {
            tokio::select! {
                () = &mut accepting => {}
                _ = upkeep.tick() => hub.keep(),
                _ = reload.tick() => front.reload_tls(),
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) => {
                        match reread() {
                            Ok(settings) => hub.revise(settings),
                            Err(why) => log::line(Level::Error, "the settings are left as they were", &[("why", &why)]),
                        }
                        front.reload_tls();
                    }
                    Some(Signal::Stop) | None => break,
                },
            }
        }
        // Whoever asks meanwhile is told to go elsewhere, and /readyz says so to balancers.
        hub.start_draining();
        log::line(Level::Info, "draining", &[("links", &hub.snapshot().figures.links)]);
        let deadline = Instant::now() + hub.settings().drain;
        loop {
            hub.close_idle();
            if hub.snapshot().figures.links == 0 {
                break;
            }
            tokio::select! {
                () = &mut accepting => {}
                () = sleep(DRAIN_PAUSE) => {}
                () = tokio::time::sleep_until(deadline) => break,
                signal = signals.recv() => if signal != Some(Signal::Reload) { break },
            }
        }
    }
    drop(listener);
    drop(front);
    hub.keep();
    if let Some(mirror) = hub.mirror.get() {
        mirror.stop().await;
    }
    let _ = stopping.send(true);
    // Each connection holds a receiver until it is closed.
    let _ = timeout(STOP_TIMEOUT, stopping.closed()).await;
    log::line(Level::Info, "stopped", &[]);
    Ok(())
}

/// What all connections share before they are links.
struct Front {
    hub: Rc<Hub>,
    tls: Option<Rc<Tls>>,
    stopped: watch::Receiver<bool>,
    /// Connections whose request is not answered yet.
    requests: Cell<usize>,
    by_address: RefCell<BTreeMap<[u8; 16], usize>>,
}

/// The place of a connection among those whose request is not answered.
struct Place {
    front: Rc<Front>,
    account: [u8; 16],
}

impl Front {
    fn reload_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.reload(&self.hub.settings().tls);
        }
    }

    /// Takes a place, if there is one.
    fn enter(self: &Rc<Self>, address: IpAddr) -> Option<Place> {
        let account = account(address);
        let max = self.hub.settings().max_requests;
        let is_proxy = client_address(&self.hub.settings().access, address, &["0.0.0.0".into()])
            != address.to_canonical();
        let share = if is_proxy { max } else { max.div_ceil(SHARE) };
        let mut by_address = self.by_address.borrow_mut();
        let own = by_address.get(&account).copied().unwrap_or_default();
        if self.requests.get() >= max || own >= share {
            return None;
        }
        by_address.insert(account, own + 1);
        self.requests.set(self.requests.get() + 1);
        Some(Place { front: Rc::clone(self), account })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.front.requests.set(self.front.requests.get() - 1);
        let mut by_address = self.front.by_address.borrow_mut();
        if let Some(count) = by_address.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.account);
            }
        }
    }
}

async fn accept(listener: &TcpListener, front: &Rc<Front>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                add(&front.hub.metrics.connections, 1);
                // Nothing is said to who opens too many: an answer would cost more than the question.
                let Some(place) = front.enter(from.ip()) else {
                    front.hub.metrics.refused("too_many_requests_open");
                    continue;
                };
                let stopped = front.stopped.clone();
                spawn_local(async move { welcome(stream, from.ip(), place, stopped).await });
            }
            Err(error) => {
                // Out of descriptors, most likely; some are free again soon.
                log::line(Level::Warn, "a connection is not accepted", &[("why", &error)]);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the request of a new connection and runs the link, if it is one.
async fn welcome(stream: TcpStream, peer: IpAddr, place: Place, stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let hub = Rc::clone(&place.front.hub);
    let deadline = Instant::now() + hub.settings().request_timeout;
    let mut socket = match &place.front.tls {
        None => Socket::Plain(stream),
        Some(tls) => match timeout_at(deadline, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(acme::CHALLENGE) => return,
            Ok(Ok(stream)) => Socket::Tls(Box::new(stream)),
            Ok(Err(_)) => return hub.metrics.refused("tls"),
            Err(_) => return hub.metrics.refused("request_timeout"),
        },
    };
    let request = match timeout_at(deadline, http::read_request(&mut socket)).await {
        Ok(Ok(Some(request))) => request,
        Ok(_) => return,
        Err(_) => {
            hub.metrics.refused("request_timeout");
            let answer = Answer::text("408 Request Timeout", "the request took too long");
            let _ = timeout(ANSWER_TIMEOUT, http::write_answer(&mut socket, &answer)).await;
            return;
        }
    };
    let head = match request {
        Request::Head(head) if head.accept.is_some() => head,
        Request::Head(head) => {
            let address = client_address(&hub.settings().access, peer, &head.forwarded);
            let answer = page(&hub, &head, address);
            let _ = timeout(ANSWER_TIMEOUT, http::write_answer(&mut socket, &answer)).await;
            return;
        }
        Request::Refused(answer) => {
            hub.metrics.refused("bad_request");
            let _ = timeout(ANSWER_TIMEOUT, http::write_answer(&mut socket, &answer)).await;
            return;
        }
    };
    let address = client_address(&hub.settings().access, peer, &head.forwarded);
    match hub.admit(&head, address) {
        Ok((guest, id, slot)) => {
            let is_open = timeout(ANSWER_TIMEOUT, http::write_upgrade(&mut socket, &head)).await;
            drop(place);
            match is_open {
                Ok(Ok(())) => link::run(socket, &hub, guest, (id, slot), stopped).await,
                _ => hub.close_link(id),
            }
        }
        Err(denial) => {
            hub.denied(denial, address);
            let _ = timeout(ANSWER_TIMEOUT, turn_away(socket, &head, denial)).await;
        }
    }
}

/// Tells a client why it is not let in: a program by HTTP, a page by the WebSocket, the only thing that it sees.
async fn turn_away(mut socket: Socket, head: &Head, denial: Denial) -> io::Result<()> {
    if head.origin.is_none() {
        return http::write_answer(&mut socket, &Answer::text(denial.status(), denial.sentence())).await;
    }
    http::write_upgrade(&mut socket, head).await?;
    let mut socket = ServerBuilder::new().serve(socket);
    let close = Message::close(CloseCode::try_from(denial.close_code()).ok(), denial.sentence());
    let _ = socket.send(close).await;
    let _ = socket.close().await;
    Ok(())
}

/// Answers a request that wants no WebSocket.
fn page(hub: &Hub, head: &Head, address: IpAddr) -> Answer {
    match head.path.as_str() {
        "/healthz" => Answer::text("200 OK", "ok"),
        "/readyz" => {
            // Balancers ask often: what it takes may not grow with the links.
            if hub.is_draining.get() {
                Answer::text("503 Service Unavailable", "draining")
            } else if hub.is_bootstrapped() {
                Answer::text("200 OK", "ready")
            } else {
                Answer::text("503 Service Unavailable", "the DHT node has not found its way yet")
            }
        }
        "/metrics" => {
            let is_allowed = match hub.settings().metrics {
                Readers::Off => false,
                Readers::Private => is_private(address),
                Readers::All => true,
            };
            if !is_allowed {
                return Answer::text("404 Not Found", "nothing here");
            }
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            Answer {
                kind,
                body: hub.metrics.render(&hub.snapshot(), hub.mirror.get().map(Mirror::figures)),
                ..Answer::text("200 OK", "")
            }
        }
        "/mirror" => mirror::page(hub.mirror.get(), &hub.settings().mirror),
        "/" => status::page(hub),
        _ => Answer::text("404 Not Found", "nothing here"),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Part of all requests that one address may have open: one in so many.
const SHARE: usize = 4;

/// How long a client may take to read an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often what survives a restart is written.
const UPKEEP: Duration = Duration::from_secs(60);

/// How often links are looked at while the relay drains.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);

/// How long links get to close when the relay stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
