//! One stream of a node, and where its packets may come from.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::mux::{Remote, StreamId};
use super::stream::Stream;
use super::{Address, SocketId};
use crate::time::Instant;

/// A stream, and what the node knows of it.
pub(super) struct Entry {
    pub(super) stream: Stream,
    pub(super) remote: Option<Remote>,
    /// Further addresses that packets may come from, oldest first.
    pub(super) allowed: VecDeque<(SocketId, Address)>,
    pub(super) strays: VecDeque<Stray>,
    pub(super) forwards_to: Option<StreamId>,
    /// Packets to forward once it is known where to.
    pub(super) waiting: Vec<Vec<u8>>,
    /// The timer in the set; earlier than necessary at times.
    pub(super) armed: Option<Instant>,
    pub(super) is_ready: bool,
    pub(super) is_eventful: bool,
}

/// Packets from an address that the owner has to judge.
pub(super) struct Stray {
    pub(super) socket: SocketId,
    pub(super) from: Address,
    pub(super) is_refused: bool,
    pub(super) packets: Vec<Vec<u8>>,
}

impl Entry {
    pub(super) fn accepts(&self, socket: SocketId, from: Address) -> bool {
        self.remote.is_some_and(|remote| (remote.socket, remote.address) == (socket, from))
            || self.allowed.contains(&(socket, from))
    }

    pub(super) fn allow(&mut self, socket: SocketId, from: Address) {
        if self.allowed.contains(&(socket, from)) {
            return;
        }
        if self.allowed.len() >= MAX_ALLOWED {
            self.allowed.pop_front();
        }
        self.allowed.push_back((socket, from));
    }

    /// Keeps a packet until its address is judged; returns whether the address is new.
    pub(super) fn hold(&mut self, socket: SocketId, from: Address, datagram: &[u8]) -> bool {
        if let Some(stray) = self.strays.iter_mut().find(|stray| (stray.socket, stray.from) == (socket, from))
        {
            if !stray.is_refused && stray.packets.len() < MAX_STRAY_PACKETS {
                stray.packets.push(datagram.to_vec());
            }
            return false;
        }
        if self.strays.len() >= MAX_STRAYS {
            // Only judged addresses give way: otherwise a flood of forged ones would hide the peer.
            let Some(judged) = self.strays.iter().position(|stray| stray.is_refused) else {
                return false;
            };
            self.strays.remove(judged);
        }
        self.strays.push_back(Stray {
            socket,
            from,
            is_refused: false,
            packets: alloc::vec![datagram.to_vec()],
        });
        true
    }
}

/// Further addresses of one stream.
const MAX_ALLOWED: usize = 4;

/// Addresses of one stream that wait for a verdict, or were refused.
const MAX_STRAYS: usize = 4;

/// Packets kept per address that waits for a verdict: the initial congestion window and some repeats.
pub(super) const MAX_STRAY_PACKETS: usize = 16;
