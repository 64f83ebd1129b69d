//! A path between two UDP ports of loopback, with a delay and losses: `udx-path MICROS LOSSES A B`.
//!
//! Prints `{ event: "ready", a, b }`: what the peer at port A sends to port `a` arrives at B from port `b`, `MICROS` microseconds
//! later, and the other way round. `LOSSES` of a thousand datagrams do not arrive, in both directions; which ones is the same in
//! every run.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use serde_json::json;
use tokio::io::Interest;
use tokio::net::UdpSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [delay, losses, a, b] = arguments[..] else {
        return Err(io::Error::other("udx-path MICROS LOSSES A B"));
    };
    let port = |number: u64| u16::try_from(number).map_err(io::Error::other);
    let delay = Duration::from_micros(delay);
    let mut there = Side::bind(port(a)?, delay, losses, 1).await?;
    let mut back = Side::bind(port(b)?, delay, losses, 2).await?;
    let ready = json!({ "event": "ready", "a": there.port()?, "b": back.port()? });
    writeln!(io::stdout().lock(), "{ready}")?;
    loop {
        there.receive()?;
        back.receive()?;
        there.send(&back.io, &back.state, back.peer)?;
        back.send(&there.io, &there.state, there.peer)?;
        let due = [there.due(), back.due()].into_iter().flatten().min();
        let wait = due.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            ready = there.io.readable() => ready?,
            ready = back.io.readable() => ready?,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One end of the path, and what came from there and is on its way.
struct Side {
    io: UdpSocket,
    state: UdpSocketState,
    /// Who is at this end.
    peer: SocketAddr,
    delay: Duration,
    /// Of a thousand.
    losses: u64,
    random: u64,
    /// Bytes on their way, by when they are due; all of one batch but the last are as long as the first.
    on_its_way: VecDeque<Batch>,
    inbox: Vec<Vec<u8>>,
}

struct Batch {
    due: Instant,
    segment: usize,
    bytes: Vec<u8>,
}

impl Side {
    async fn bind(peer: u16, delay: Duration, losses: u64, seed: u64) -> io::Result<Self> {
        let io = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&io), BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&io), BUFFER);
        Ok(Self {
            io,
            state,
            peer: SocketAddrV4::new(Ipv4Addr::LOCALHOST, peer).into(),
            delay,
            losses,
            random: seed,
            on_its_way: VecDeque::new(),
            inbox: vec![vec![0; MAX_BATCH]; BATCH_SIZE],
        })
    }

    fn port(&self) -> io::Result<u16> {
        Ok(self.io.local_addr()?.port())
    }

    fn due(&self) -> Option<Instant> {
        self.on_its_way.front().map(|batch| batch.due)
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut slices: Vec<_> = self.inbox.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let (io, state) = (&self.io, &self.state);
            let received =
                io.try_io(Interest::READABLE, || state.recv(UdpSockRef::from(io), &mut slices, &mut metas));
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let due = Instant::now() + self.delay;
            for (meta, index) in metas.iter().take(count).zip(0..) {
                let segment = meta.stride.max(1);
                let mut batch = Batch { due, segment, bytes: Vec::with_capacity(meta.len) };
                for start in (0..meta.len).step_by(segment) {
                    if !self.loses() {
                        let end = meta.len.min(start + segment);
                        batch.bytes.extend_from_slice(&self.inbox[index][start..end]);
                    }
                }
                if !batch.bytes.is_empty() {
                    self.on_its_way.push_back(batch);
                }
            }
        }
    }

    fn loses(&mut self) -> bool {
        // xorshift64* by S. Vigna.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % 1000 < self.losses
    }

    /// Sends what is due to the other end.
    fn send(&mut self, io: &UdpSocket, state: &UdpSocketState, to: SocketAddr) -> io::Result<()> {
        while let Some(batch) = self.on_its_way.front()
            && batch.due <= Instant::now()
        {
            let transmit = Transmit {
                destination: to,
                ecn: None,
                contents: &batch.bytes,
                segment_size: (batch.bytes.len() > batch.segment).then_some(batch.segment),
                src_ip: None,
            };
            let sent = io.try_io(Interest::WRITABLE, || state.try_send(UdpSockRef::from(io), &transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // A peer that is gone; the path does not care.
                Ok(()) | Err(_) => self.on_its_way.pop_front(),
            };
        }
        Ok(())
    }
}

const BUFFER: usize = 4 << 20;

/// The largest datagram, or several that the system has joined.
const MAX_BATCH: usize = 65_536;
