//! Guesses the public address of this node from the addresses that others saw it at.
//!
//! Source: nat-sampler 1.0, `index.js`.

use alloc::vec::Vec;

use crate::collections::BTreeMap;
use crate::udx::Address;

/// The last 16 observations and what they agree on.
#[derive(Debug, Default)]
pub struct NatSampler {
    samples: BTreeMap<u32, Sample>,
    next: u32,
    /// Observations in a ring; each takes two places, one for (host, port) and one for the host alone.
    ring: Vec<u32>,
    top: usize,
    size: usize,
    threshold: usize,
    best_full: Option<u32>,
    best_host: Option<u32>,
    host: Option<[u8; 4]>,
    port: u16,
}

#[derive(Debug)]
struct Sample {
    host: [u8; 4],
    port: u16,
    hits: usize,
}

impl NatSampler {
    /// Counts one more observation.
    pub fn add(&mut self, seen: Address) {
        let full = self.bump(seen.ip(), seen.port(), 2);
        let host = self.bump(seen.ip(), 0, 1);
        if self.ring.len() < RING {
            self.size += 1;
            self.threshold = self.size - tolerated(self.size);
            self.ring.push(full);
            self.ring.push(host);
            self.top += 2;
        } else {
            if self.top >= RING {
                self.top = 0;
            }
            for id in [full, host] {
                if let Some(slot) = self.ring.get_mut(self.top) {
                    let old = core::mem::replace(slot, id);
                    if let Some(sample) = self.samples.get_mut(&old) {
                        sample.hits = sample.hits.saturating_sub(1);
                    }
                }
                self.top += 1;
            }
        }
        self.best_full = self.better(self.best_full, full);
        self.best_host = self.better(self.best_host, host);
        let (best_full, best_host) = (self.best_full, self.best_host);
        self.samples.retain(|id, sample| sample.hits > 0 || Some(*id) == best_full || Some(*id) == best_host);
        let winner = [best_full, best_host]
            .into_iter()
            .find(|id| self.hits(*id) >= self.threshold)
            .flatten()
            .and_then(|id| self.samples.get(&id));
        (self.host, self.port) = winner.map_or((None, 0), |sample| (Some(sample.host), sample.port));
    }

    /// Returns the host that the observations agree on.
    pub fn host(&self) -> Option<[u8; 4]> {
        self.host
    }

    /// Returns the port that they agree on; 0 when it differs or is unknown.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port when both are known.
    pub fn address(&self) -> Option<Address> {
        (self.port != 0).then_some(())?;
        Some(Address::new(self.host?, self.port))
    }

    fn bump(&mut self, host: [u8; 4], port: u16, offset: usize) -> u32 {
        for step in 0..4 {
            let place = self.top.wrapping_sub(offset + 2 * step) & (RING - 1);
            let Some(id) = self.ring.get(place).copied() else { break };
            if let Some(sample) = self.samples.get_mut(&id)
                && sample.host == host
                && sample.port == port
            {
                sample.hits += 1;
                return id;
            }
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.samples.insert(id, Sample { host, port, hits: 1 });
        id
    }

    fn hits(&self, id: Option<u32>) -> usize {
        id.and_then(|id| self.samples.get(&id)).map_or(0, |sample| sample.hits)
    }

    fn better(&self, best: Option<u32>, new: u32) -> Option<u32> {
        if best.is_none() || self.hits(best) < self.hits(Some(new)) { Some(new) } else { best }
    }
}

/// How many of `size` observations may disagree.
fn tolerated(size: usize) -> usize {
    match size {
        0..4 => 0,
        4..8 => 1,
        8..12 => 2,
        _ => 3,
    }
}

/// Places in the ring: 16 observations.
const RING: usize = 32;
