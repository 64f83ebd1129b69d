//! Runs a machine without I/O over UDP sockets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::time::Instant;
use hypertab_core::udx::Address;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What a driver drives.
pub(crate) trait Machine: 'static {
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_transmit(&mut self, now: Instant) -> Option<Transmit>;
    /// Returns what sockets to open and close next. Acts on all other events itself.
    fn poll_socket(&mut self, now: Instant) -> Option<SocketChange>;
}

/// What a machine wants of its sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SocketChange {
    Open(SocketId),
    Close(SocketId),
}

/// The sockets, timer and machine of one DHT node.
pub(crate) struct Driver<M> {
    pub(crate) machine: RefCell<M>,
    clock: Clock,
    host: Ipv4Addr,
    sockets: RefCell<BTreeMap<SocketId, Open>>,
    /// A datagram that its socket had no room for.
    stuck: RefCell<Option<Transmit>>,
    timer: Notify,
}

struct Open {
    socket: Rc<UdpSocket>,
    reader: JoinHandle<()>,
}

/// The time as machines take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}

/// The two sockets that a node starts with.
pub(crate) struct Sockets {
    server: UdpSocket,
    client: UdpSocket,
    host: Ipv4Addr,
}

impl Sockets {
    /// Binds them; the client's to any port.
    pub(crate) async fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let server = UdpSocket::bind(address).await?;
        let client = UdpSocket::bind((*address.ip(), 0)).await?;
        Ok(Self { server, client, host: *address.ip() })
    }

    /// Returns where the server's is bound.
    pub(crate) fn address(&self) -> io::Result<SocketAddrV4> {
        match self.server.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl<M: Machine> Driver<M> {
    /// Starts to drive.
    pub(crate) fn start(machine: M, sockets: Sockets, clock: Clock) -> Rc<Self> {
        let driver = Rc::new(Self {
            machine: RefCell::new(machine),
            clock,
            host: sockets.host,
            sockets: RefCell::new(BTreeMap::new()),
            stuck: RefCell::new(None),
            timer: Notify::new(),
        });
        driver.add(SocketId::SERVER, sockets.server);
        driver.add(SocketId::CLIENT, sockets.client);
        let timed = Rc::clone(&driver);
        tokio::task::spawn_local(async move { timed.run_timer().await });
        driver.pump();
        driver
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Carries away what the machine wants sent. Call after each change of it.
    pub(crate) fn pump(self: &Rc<Self>) {
        loop {
            let change = self.machine.borrow_mut().poll_socket(self.clock.now());
            match change {
                Some(SocketChange::Open(id)) => self.open(id),
                Some(SocketChange::Close(id)) => self.close(id),
                None => break,
            }
        }
        if self.stuck.borrow().is_some() {
            return;
        }
        loop {
            let transmit = self.machine.borrow_mut().poll_transmit(self.clock.now());
            let Some(transmit) = transmit else { break };
            if !self.send(&transmit) {
                *self.stuck.borrow_mut() = Some(transmit);
                let waiting = Rc::clone(self);
                tokio::task::spawn_local(async move { waiting.unstick().await });
                break;
            }
        }
        self.timer.notify_one();
    }

    /// Sends a datagram, and reports whether there was room for it.
    fn send(&self, transmit: &Transmit) -> bool {
        let Some(socket) = self.socket(transmit.socket) else { return true };
        let to = SocketAddr::V4(transmit.to.into());
        if let Some(ttl) = transmit.ttl {
            let _ = socket.set_ttl(ttl.into());
        }
        let sent = socket.try_send_to(&transmit.bytes, to);
        if transmit.ttl.is_some() {
            let _ = socket.set_ttl(DEFAULT_TTL);
        }
        // Whatever else is wrong with a destination is the same as a loss on the way to it.
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn unstick(self: Rc<Self>) {
        loop {
            let id = self.stuck.borrow().as_ref().map(|transmit| transmit.socket);
            let Some(socket) = id.and_then(|id| self.socket(id)) else { break };
            if socket.writable().await.is_err() {
                break;
            }
            let is_sent = self.stuck.borrow().as_ref().is_none_or(|transmit| self.send(transmit));
            if is_sent {
                break;
            }
        }
        self.stuck.borrow_mut().take();
        self.pump();
    }

    async fn run_timer(self: Rc<Self>) {
        loop {
            let at = self.machine.borrow().poll_timeout();
            let now = self.clock.now();
            let Some(at) = at else {
                self.timer.notified().await;
                continue;
            };
            if at > now {
                tokio::select! {
                    () = tokio::time::sleep(at.duration_since(now)) => {}
                    () = self.timer.notified() => continue,
                }
            }
            self.machine.borrow_mut().handle_timeout(self.clock.now());
            self.pump();
            // A machine that is always late leaves the others their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn read(self: Rc<Self>, id: SocketId, socket: Rc<UdpSocket>) {
        let mut buffer = BytesMut::new();
        loop {
            if socket.readable().await.is_err() {
                return;
            }
            for _ in 0..BATCH {
                buffer.reserve(MAX_DATAGRAM);
                match socket.try_recv_buf_from(&mut buffer) {
                    Ok((_, SocketAddr::V4(from))) => {
                        let bytes = buffer.split().freeze();
                        let now = self.clock.now();
                        self.machine.borrow_mut().handle_datagram(id, from.into(), bytes, now);
                    }
                    Ok((_, SocketAddr::V6(_))) => buffer.clear(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What a datagram of ours came back with.
                    Err(_) => {}
                }
            }
            self.pump();
            tokio::task::yield_now().await;
        }
    }

    fn add(self: &Rc<Self>, id: SocketId, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let reader = tokio::task::spawn_local(Rc::clone(self).read(id, Rc::clone(&socket)));
        self.sockets.borrow_mut().insert(id, Open { socket, reader });
    }

    fn open(self: &Rc<Self>, id: SocketId) {
        let socket = std::net::UdpSocket::bind((self.host, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        });
        match socket {
            Ok(socket) => self.add(id, socket),
            // Its datagrams are lost, and the machine gives up in time.
            Err(error) => eprintln!("a UDP socket does not open: {error}"),
        }
    }

    fn close(&self, id: SocketId) {
        if let Some(open) = self.sockets.borrow_mut().remove(&id) {
            open.reader.abort();
        }
    }

    fn socket(&self, id: SocketId) -> Option<Rc<UdpSocket>> {
        self.sockets.borrow().get(&id).map(|open| Rc::clone(&open.socket))
    }
}

/// Datagrams read before others get their turn.
const BATCH: usize = 64;

/// Room for a datagram; nothing larger is of use to anybody.
const MAX_DATAGRAM: usize = 2048;

/// Hops of a datagram that is not meant to die on its way.
const DEFAULT_TTL: u32 = 64;
