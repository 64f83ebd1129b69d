//! Runs a machine without I/O over UDP sockets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use bytes::Bytes;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::Address;
use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Level;
use crate::log;

/// What a driver drives.
pub trait Machine: 'static {
    /// Takes a datagram.
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant);
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the next datagrams to send, up to `max_segments` of one length back to back.
    fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit>;
    /// Returns what sockets to open and close next. Acts on all other events itself.
    fn poll_socket(&mut self, now: Instant) -> Option<SocketChange>;
}

/// What a machine wants of its sockets.
#[derive(Clone, Copy, Debug)]
pub enum SocketChange {
    /// Bind this one to any port.
    Open(SocketId),
    /// Close this one.
    Close(SocketId),
}

/// The sockets, timer and machine of one DHT node.
pub struct Driver<M> {
    /// The machine. Call [`pump`](Self::pump) after each change of it.
    pub machine: RefCell<M>,
    clock: Clock,
    host: Ipv4Addr,
    sockets: RefCell<BTreeMap<SocketId, Open>>,
    /// What a socket had no room for.
    stuck: RefCell<Option<Transmit>>,
    /// Where sockets read into, one at a time.
    scratch: RefCell<Vec<u8>>,
    timer: Notify,
    /// When the timer fires.
    armed: Cell<Option<Instant>>,
}

struct Open {
    socket: Rc<Socket>,
    reader: JoinHandle<()>,
}

/// A socket that sends and receives many datagrams at a time where the system can.
struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    fn new(io: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&io).into())?;
        // The system gives as much of it as it allows; what it gives by default holds a tenth of a second of one stream.
        let _ = state.set_recv_buffer_size((&io).into(), BUFFER);
        let _ = state.set_send_buffer_size((&io).into(), BUFFER);
        Ok(Self { io, state })
    }

    fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let message = quinn_udp::Transmit {
            destination: SocketAddr::V4(transmit.to.into()),
            ecn: None,
            contents: &transmit.bytes,
            segment_size: (transmit.segment < transmit.bytes.len()).then_some(transmit.segment),
            src_ip: None,
        };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &message))
    }

    fn receive(&self, scratch: &mut [u8], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut buffers = scratch.chunks_exact_mut(MAX_BATCH).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut slices, metas))
    }
}

/// The time as machines take it.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// Starts to count.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Returns the time since the start.
    pub fn now(self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}

/// The two sockets that a node starts with.
pub struct Sockets {
    server: UdpSocket,
    client: UdpSocket,
    host: Ipv4Addr,
}

impl Sockets {
    /// Binds them; the client's to any port.
    pub async fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let server = UdpSocket::bind(address).await?;
        let client = UdpSocket::bind((*address.ip(), 0)).await?;
        Ok(Self { server, client, host: *address.ip() })
    }

    /// Returns where the server's is bound.
    pub fn address(&self) -> io::Result<SocketAddrV4> {
        match self.server.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl<M: Machine> Driver<M> {
    /// Starts to drive.
    pub fn start(machine: M, sockets: Sockets, clock: Clock) -> io::Result<Rc<Self>> {
        let driver = Rc::new(Self {
            machine: RefCell::new(machine),
            clock,
            host: sockets.host,
            sockets: RefCell::new(BTreeMap::new()),
            stuck: RefCell::new(None),
            scratch: RefCell::new(vec![0; MESSAGES * MAX_BATCH]),
            timer: Notify::new(),
            armed: Cell::new(None),
        });
        driver.add(SocketId::SERVER, sockets.server)?;
        driver.add(SocketId::CLIENT, sockets.client)?;
        let timed = Rc::clone(&driver);
        tokio::task::spawn_local(async move { timed.run_timer().await });
        driver.pump();
        Ok(driver)
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Carries away what the machine wants sent. Call after each change of it.
    pub fn pump(self: &Rc<Self>) {
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
            let transmit = self.machine.borrow_mut().poll_transmit(self.max_segments(), self.clock.now());
            let Some(transmit) = transmit else { break };
            if !self.send(&transmit) {
                *self.stuck.borrow_mut() = Some(transmit);
                let waiting = Rc::clone(self);
                tokio::task::spawn_local(async move { waiting.unstick().await });
                break;
            }
        }
        // A timer that fires early finds nothing to do, which is cheaper than to move it each time.
        let is_earlier = match (self.machine.borrow().poll_timeout(), self.armed.get()) {
            (Some(at), Some(armed)) => at < armed,
            (at, None) => at.is_some(),
            (None, Some(_)) => false,
        };
        if is_earlier {
            self.timer.notify_one();
        }
    }

    /// Sends datagrams, and reports whether there was room for them.
    fn send(&self, transmit: &Transmit) -> bool {
        let Some(socket) = self.socket(transmit.socket) else { return true };
        if let Some(ttl) = transmit.ttl {
            let _ = socket.io.set_ttl(ttl.into());
        }
        let sent = socket.send(transmit);
        if transmit.ttl.is_some() {
            let _ = socket.io.set_ttl(DEFAULT_TTL);
        }
        // Whatever else is wrong with a destination is the same as a loss on the way to it.
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn max_segments(&self) -> usize {
        let sockets = self.sockets.borrow();
        sockets.get(&SocketId::SERVER).map_or(1, |open| open.socket.state.max_gso_segments())
    }

    async fn unstick(self: Rc<Self>) {
        loop {
            let id = self.stuck.borrow().as_ref().map(|transmit| transmit.socket);
            let Some(socket) = id.and_then(|id| self.socket(id)) else { break };
            if socket.io.writable().await.is_err() {
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
            self.armed.set(at);
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

    async fn read(self: Rc<Self>, id: SocketId, socket: Rc<Socket>) {
        while socket.io.readable().await.is_ok() {
            for _ in 0..ROUNDS {
                match self.receive(id, &socket) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What a datagram of ours came back with.
                    Err(_) => {}
                }
            }
            self.pump();
            tokio::task::yield_now().await;
        }
    }

    fn receive(self: &Rc<Self>, id: SocketId, socket: &Socket) -> io::Result<()> {
        let mut scratch = self.scratch.borrow_mut();
        let mut metas = [RecvMeta::default(); MESSAGES];
        let count = socket.receive(&mut scratch, &mut metas)?;
        let mut pumped = self.clock.now();
        for (meta, buffer) in metas.iter().take(count).zip(scratch.chunks_exact(MAX_BATCH)) {
            let SocketAddr::V4(from) = meta.addr else { continue };
            let Some(batch) = buffer.get(..meta.len).filter(|_| meta.stride > 0) else { continue };
            let now = self.clock.now();
            // Handshakes that came together take long: their answers leave as they are made, or both ends of many dials would
            // wait for each other in turn.
            if now.duration_since(pumped) > TURN {
                self.pump();
                pumped = now;
            }
            let mut machine = self.machine.borrow_mut();
            for datagram in batch.chunks(meta.stride) {
                // A copy of its own: what is kept of one datagram shall not hold all the others.
                machine.handle_datagram(id, from.into(), Bytes::copy_from_slice(datagram), now);
            }
        }
        Ok(())
    }

    fn add(self: &Rc<Self>, id: SocketId, socket: UdpSocket) -> io::Result<()> {
        let socket = Rc::new(Socket::new(socket)?);
        let reader = tokio::task::spawn_local(Rc::clone(self).read(id, Rc::clone(&socket)));
        self.sockets.borrow_mut().insert(id, Open { socket, reader });
        Ok(())
    }

    fn open(self: &Rc<Self>, id: SocketId) {
        let socket = std::net::UdpSocket::bind((self.host, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        });
        // Without it, its datagrams are lost, and the machine gives up in time.
        if let Err(error) = socket.and_then(|socket| self.add(id, socket)) {
            log::line(Level::Warn, "a UDP socket does not open", &[("why", &error)]);
        }
    }

    fn close(&self, id: SocketId) {
        if let Some(open) = self.sockets.borrow_mut().remove(&id) {
            open.reader.abort();
        }
    }

    fn socket(&self, id: SocketId) -> Option<Rc<Socket>> {
        self.sockets.borrow().get(&id).map(|open| Rc::clone(&open.socket))
    }
}

/// How long what came together is taken in before something is sent.
const TURN: Duration = Duration::from_micros(200);

/// Reads before others get their turn.
const ROUNDS: usize = 4;

/// Messages of one read, each of several datagrams where the system joins them.
const MESSAGES: usize = 32;

/// Room for a message: the largest that there is.
const MAX_BATCH: usize = 65536;

/// Bytes that a socket holds for either side. Streams of many links share it, and what finds no room is lost.
const BUFFER: usize = 4 << 20;

/// Hops of a datagram that is not meant to die on its way.
const DEFAULT_TTL: u32 = 64;
