//! An isolated DHT on loopback, in this process.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use hypertab_core::dht::rpc::{SocketId, Transmit};
use hypertab_core::dht::{Endpoint, EndpointOptions, Event};
use hypertab_core::time::Instant;
use hypertab_core::udx::Address;

use crate::udp::{Clock, Driver, Machine, SocketChange, Sockets};

/// Starts the nodes and returns the address to start others from. They run until the runtime ends.
pub(crate) async fn start(clock: Clock, unix_time: u64) -> io::Result<SocketAddrV4> {
    let mut first: Option<SocketAddrV4> = None;
    for _ in 0..NODES {
        let sockets = Sockets::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await?;
        let address = sockets.address()?;
        let bootstrap = first.into_iter().map(Address::from).collect();
        let options = EndpointOptions::bootstrapper(address.into(), bootstrap, unix_time);
        let endpoint = Endpoint::new(options, crate::hub::random_seed()?, clock.now());
        Driver::start(Node(endpoint), sockets, clock)?;
        first.get_or_insert(address);
    }
    first.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A node that nobody uses.
struct Node(Endpoint);

impl Machine for Node {
    fn handle_datagram(&mut self, socket: SocketId, from: Address, bytes: Bytes, now: Instant) {
        self.0.handle_datagram(socket, from, bytes, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn poll_transmit(&mut self, max_segments: usize, now: Instant) -> Option<Transmit> {
        self.0.poll_transmit(max_segments, now)
    }

    fn poll_socket(&mut self, _now: Instant) -> Option<SocketChange> {
        while let Some(event) = self.0.poll_event() {
            match event {
                Event::OpenSocket(id) => return Some(SocketChange::Open(id)),
                Event::CloseSocket(id) => return Some(SocketChange::Close(id)),
                _ => {}
            }
        }
        None
    }
}

/// Nodes besides the relay's own: enough for records to be stored several times.
const NODES: usize = 4;
