//! The routing table: nodes by the number of leading bits they share with us, and by last contact.
//!
//! Source: kademlia-routing-table 1.0.6 and time-ordered-set 2.0.

use alloc::vec::Vec;

use crate::collections::BTreeMap;
use crate::dht::rng::Rng;
use crate::udx::Address;

/// Hash of a node's public address.
pub type NodeId = [u8; 32];

/// What a node knows about another one. Times are ticks of 5 s.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Id, the hash of `address`.
    pub id: NodeId,
    /// Where it answers.
    pub address: Address,
    /// Tick of its last observation of our address that we counted; 0 for none.
    pub sampled: u64,
    /// Tick it came into the table.
    pub added: u64,
    /// Tick of the last time we asked it or heard from it.
    pub pinged: u64,
    /// Tick of the last time we heard from it.
    pub seen: u64,
    /// How often others called it down.
    pub down_hints: u32,
    /// Position in the order of contact.
    order: u64,
}

impl Entry {
    /// Describes a node met at `tick`.
    pub fn new(id: NodeId, address: Address, tick: u64) -> Self {
        Self { id, address, sampled: 0, added: tick, pinged: tick, seen: tick, down_hints: 0, order: 0 }
    }
}

/// What became of an entry that was offered to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in.
    Yes,
    /// A node with this id is in already.
    Known,
    /// Its row is full: see [`Table::row`].
    RowFull(usize),
}

/// Nodes sorted into rows of at most `k`.
#[derive(Debug)]
pub struct Table {
    id: NodeId,
    k: usize,
    rows: BTreeMap<usize, Vec<NodeId>>,
    nodes: BTreeMap<NodeId, Entry>,
    by_contact: BTreeMap<u64, NodeId>,
    next_order: u64,
}

impl Table {
    /// Creates an empty table around the own `id`.
    pub fn new(id: NodeId, k: usize) -> Self {
        Self {
            id,
            k,
            rows: BTreeMap::new(),
            nodes: BTreeMap::new(),
            by_contact: BTreeMap::new(),
            next_order: 0,
        }
    }

    /// Returns the id the rows are built around.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Reports whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the entry of `id`.
    pub fn get(&self, id: &NodeId) -> Option<&Entry> {
        self.nodes.get(id)
    }

    /// Returns the entry of `id` for changes.
    pub fn get_mut(&mut self, id: &NodeId) -> Option<&mut Entry> {
        self.nodes.get_mut(id)
    }

    /// Offers a node; it becomes the latest contact when it is taken.
    pub fn add(&mut self, mut entry: Entry) -> Added {
        if self.nodes.contains_key(&entry.id) {
            return Added::Known;
        }
        let index = self.shared_bits(&entry.id);
        let row = self.rows.entry(index).or_default();
        let Err(place) = row.binary_search(&entry.id) else { return Added::Known };
        if row.len() >= self.k {
            return Added::RowFull(index);
        }
        row.insert(place, entry.id);
        entry.order = self.next_order;
        self.by_contact.insert(entry.order, entry.id);
        self.next_order += 1;
        self.nodes.insert(entry.id, entry);
        Added::Yes
    }

    /// Makes a node the latest contact.
    pub fn touch(&mut self, id: &NodeId) {
        if let Some(entry) = self.nodes.get_mut(id) {
            self.by_contact.remove(&entry.order);
            entry.order = self.next_order;
            self.by_contact.insert(entry.order, *id);
            self.next_order += 1;
        }
    }

    /// Removes a node and reports whether it was there.
    pub fn remove(&mut self, id: &NodeId) -> bool {
        let Some(entry) = self.nodes.remove(id) else { return false };
        self.by_contact.remove(&entry.order);
        let index = self.shared_bits(id);
        if let Some(row) = self.rows.get_mut(&index)
            && let Ok(place) = row.binary_search(id)
        {
            row.remove(place);
        }
        true
    }

    /// Returns the nodes of one row in id order.
    pub fn row(&self, index: usize) -> impl Iterator<Item = &Entry> {
        self.rows.get(&index).into_iter().flatten().filter_map(|id| self.nodes.get(id))
    }

    /// Returns up to `count` nodes near `target`: its row, the rows before, then the rows after it.
    pub fn closest(&self, target: &NodeId, count: usize) -> Vec<&Entry> {
        let split = self.shared_bits(target);
        let near = self.rows.range(..=split).rev();
        let far = self.rows.range(split + 1..);
        near.chain(far).flat_map(|(_, row)| row).filter_map(|id| self.nodes.get(id)).take(count).collect()
    }

    /// Returns any node.
    pub fn random(&self, rng: &mut Rng) -> Option<&Entry> {
        self.nodes.values().nth(rng.index(self.nodes.len()))
    }

    /// Returns the nodes, least recently contacted first.
    pub fn oldest(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_contact.values().filter_map(|id| self.nodes.get(id))
    }

    /// Moves every node that fits into a table around another id.
    pub fn rebuilt(&self, id: NodeId) -> Self {
        let mut table = Self::new(id, self.k);
        for entry in self.oldest().filter(|entry| entry.id != id) {
            table.add(entry.clone());
        }
        table
    }

    fn shared_bits(&self, id: &NodeId) -> usize {
        shared_bits(&self.id, id)
    }
}

/// Counts the leading bits that two ids share; 255 for equal ids, which share the last row.
fn shared_bits(a: &NodeId, b: &NodeId) -> usize {
    let mut bits = 0;
    for (a, b) in a.iter().zip(b) {
        match (a ^ b).leading_zeros() {
            8 => bits += 8,
            zeros => return bits + usize::try_from(zeros).unwrap_or(0),
        }
    }
    255
}
