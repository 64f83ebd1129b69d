//! Classifies the network around one socket from what several nodes saw of it.
//!
//! Source: hyperdht 6.33, `lib/nat.js`.

use alloc::vec;
use alloc::vec::Vec;

use crate::collections::BTreeSet;
use crate::dht::messages::Firewall;
use crate::udx::Address;

/// Observations of one socket and the verdict over them.
#[derive(Debug)]
pub struct Nat {
    is_open: bool,
    hosts: Vec<Sample>,
    full: Vec<Sample>,
    observers: BTreeSet<Address>,
    sampled: usize,
    is_frozen: bool,
    firewall: Firewall,
    addresses: Option<Vec<Address>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    address: Address,
    hits: usize,
}

impl Nat {
    /// Starts without observations; the socket of a node that `is_open` needs none.
    pub fn new(is_open: bool) -> Self {
        Self {
            is_open,
            hosts: Vec::new(),
            full: Vec::new(),
            observers: BTreeSet::new(),
            sampled: 0,
            is_frozen: false,
            firewall: if is_open { Firewall::Open } else { Firewall::Unknown },
            addresses: None,
        }
    }

    /// Counts what `observer` saw; each one counts once.
    pub fn add(&mut self, seen: Address, observer: Address) {
        if !self.observers.insert(observer) {
            return;
        }
        count(&mut self.hosts, Address::new(seen.ip(), 0));
        count(&mut self.full, seen);
        self.sampled += 1;
        if (self.sampled >= MIN_SAMPLES || self.is_open) && !self.is_frozen {
            self.update();
        }
    }

    /// Reports whether `observer` was heard already.
    pub fn has_observer(&self, observer: Address) -> bool {
        self.observers.contains(&observer)
    }

    /// Returns how many observations there are.
    pub fn sampled(&self) -> usize {
        self.sampled
    }

    /// Keeps the verdict as it is: the other side was told.
    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// Reports whether no further observation is waited for.
    pub fn is_decided(&self) -> bool {
        matches!(self.firewall, Firewall::Consistent | Firewall::Open) || self.sampled >= ENOUGH_SAMPLES
    }

    /// Returns the verdict.
    pub fn firewall(&self) -> Firewall {
        self.firewall
    }

    /// Returns the addresses of the socket; port 0 when it differs from peer to peer.
    pub fn addresses(&self) -> Option<&[Address]> {
        self.addresses.as_deref()
    }

    fn update(&mut self) {
        self.firewall = self.verdict();
        match self.firewall {
            Firewall::Unknown => self.addresses = None,
            Firewall::Random => self.addresses = self.hosts.first().map(|sample| vec![sample.address]),
            Firewall::Consistent => {
                let mut addresses = Vec::new();
                for sample in &self.full {
                    if sample.hits >= 2 || addresses.len() < 2 {
                        addresses.push(sample.address);
                    }
                }
                self.addresses = Some(addresses);
            }
            Firewall::Open => {}
        }
    }

    fn verdict(&self) -> Firewall {
        if self.is_open {
            return Firewall::Open;
        }
        let hits = |index: usize| self.full.get(index).map_or(0, |sample| sample.hits);
        match hits(0) {
            _ if self.sampled < MIN_SAMPLES => self.firewall,
            3.. => Firewall::Consistent,
            1 => Firewall::Random,
            _ if self.hosts.len() == 1 && self.sampled > 3 => Firewall::Random,
            _ if self.hosts.len() > 1 && hits(1) > 1 => Firewall::Consistent,
            _ if self.sampled > 4 => Firewall::Random,
            _ => self.firewall,
        }
    }
}

/// Counts an observation and keeps the list sorted by hits.
fn count(samples: &mut Vec<Sample>, address: Address) {
    let Some(mut index) = samples.iter().position(|sample| sample.address == address) else {
        samples.push(Sample { address, hits: 1 });
        return;
    };
    samples[index].hits += 1;
    while index > 0 && samples[index - 1].hits < samples[index].hits {
        samples.swap(index - 1, index);
        index -= 1;
    }
}

/// Observations before a verdict.
const MIN_SAMPLES: usize = 3;

/// Observations that are asked for.
pub const ENOUGH_SAMPLES: usize = 4;
