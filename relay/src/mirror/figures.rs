//! What a mirror has and has done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::book::Refusal;

/// Figures, for Prometheus and for people.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) cores: Cell<u64>,
    pub(crate) bytes: Cell<u64>,
    pub(crate) peers: Cell<usize>,
    pub(crate) open: Cell<usize>,
    pub(crate) stored: Cell<u64>,
    pub(crate) served: Cell<u64>,
    /// Requests to keep a core, by what became of them.
    pub(crate) asks: RefCell<BTreeMap<&'static str, u64>>,
    /// Copies that are gone, by reason.
    pub(crate) dropped: RefCell<BTreeMap<&'static str, u64>>,
}

impl Default for Figures {
    fn default() -> Self {
        // All reasons from the start: a rate of something that was never there is no rate.
        let asks = ["new", "again"].into_iter().chain(Refusal::ALL.map(Refusal::name));
        Self {
            cores: Cell::new(0),
            bytes: Cell::new(0),
            peers: Cell::new(0),
            open: Cell::new(0),
            stored: Cell::new(0),
            served: Cell::new(0),
            asks: RefCell::new(asks.map(|reason| (reason, 0)).collect()),
            dropped: RefCell::new([("expired", 0), ("taken_back", 0)].into()),
        }
    }
}

impl Figures {
    pub(super) fn set(&self, cores: u64, bytes: u64, peers: usize, open: usize) {
        self.cores.set(cores);
        self.bytes.set(bytes);
        self.peers.set(peers);
        self.open.set(open);
    }

    pub(super) fn asked(&self, is_new: bool) {
        *self.asks.borrow_mut().entry(if is_new { "new" } else { "again" }).or_default() += 1;
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        *self.asks.borrow_mut().entry(refusal.name()).or_default() += 1;
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        *self.dropped.borrow_mut().entry(reason).or_default() += 1;
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.stored.set(self.stored.get().saturating_add(bytes));
    }

    pub(super) fn served(&self, bytes: u64) {
        self.served.set(self.served.get().saturating_add(bytes));
    }
}
