//! What jobs staged becomes one commit, and what a commit changes once it is durable.

use alloc::vec::Vec;
use core::mem;

use crate::compact_encoding::Encode;
use crate::flat_tree;
use crate::storage::records::Head;
use crate::storage::{CommitId, Durability, Op, Store};

use super::super::jobs::{CoreEvent, Value};
use super::{Core, LOST, Step, put};

impl Core {
    /// Adds ops to the open group.
    pub(in super::super) fn stage(&mut self, store: &mut Store, ops: Vec<Op>, durability: Durability) {
        self.open.commit = Some(store.stage(self.party, ops, durability));
    }

    /// Adds what is written once for all jobs of the open group: head, hints and bitfield pages.
    ///
    /// `timestamp` is the time of the head, in milliseconds of Unix time; 0 for unknown.
    pub fn seal(&mut self, store: &mut Store, timestamp: u64) {
        if self.open.commit.is_none() || self.in_flight.is_some() {
            return;
        }
        let mut ops = Vec::new();
        if let Some(signer) = self.signer.take()
            && let Some(verifier) = &self.verifier
        {
            // The pair was compared with the manifest when its job ran.
            self.tip.signature = verifier.sign(&self.tip, &signer).ok();
        }
        if self.open.has_head {
            let head = Head {
                fork: self.tip.fork,
                length: self.tip.length,
                root_hash: self.tip.tree_hash(),
                signature: self.tip.signature.clone(),
                timestamp,
            };
            ops.push(put(self.keys.head(), head.to_vec()));
            self.note_group_update(timestamp, &mut ops);
            self.head_timestamp = timestamp;
            self.open.tree = Some(self.tip.clone());
        }
        for (index, page) in self.bitfield.pages_after(&self.open.bits) {
            ops.push(Op::Put { key: self.keys.page(index), value: page });
        }
        let mut hints = self.hints;
        for change in &self.open.bits {
            if change.value && change.start <= hints.contiguous_length {
                hints.contiguous_length = hints.contiguous_length.max(change.end);
            } else if !change.value {
                hints.contiguous_length = hints.contiguous_length.min(change.start);
            }
        }
        if !self.open.bits.is_empty() || mem::take(&mut self.has_new_hints) {
            if self.is_cutting {
                hints.remote_contiguous_length = hints.remote_contiguous_length.min(self.tip.length);
            }
            ops.push(put(self.keys.hints(), hints.to_vec()));
            self.open.hints = Some(hints);
        }
        store.stage(self.party, ops, Durability::Relaxed);
        self.in_flight = Some(mem::take(&mut self.open));
    }

    /// Notes that a commit is durable: shows what it changed.
    pub fn committed(&mut self, id: CommitId) {
        let Some(staged) = self.in_flight.take_if(|staged| staged.commit <= Some(id)) else { return };
        if let Some(tree) = staged.tree {
            self.tree = tree;
        }
        for change in &staged.bits {
            self.bitfield.set_range(change.start, change.end, change.value);
        }
        if let Some(hints) = staged.hints {
            self.hints.contiguous_length = self.bitfield.contiguous_length(hints.contiguous_length);
            if self.is_cutting {
                self.hints.remote_contiguous_length =
                    self.hints.remote_contiguous_length.min(self.tree.length);
            }
        }
        self.events.extend(staged.events);
        for (job, value) in staged.results {
            self.events.push_back(CoreEvent::Done { job, result: Ok(value) });
        }
        if mem::take(&mut self.is_cutting) {
            self.epoch += 1;
        }
        self.ready.extend(self.parked.drain(..));
    }

    /// Notes that a cut is staged: what lies beyond `ancestors` is gone, and nothing else runs until it is durable.
    pub(in super::super) fn cut(&mut self, ancestors: u64) {
        self.is_cutting = true;
        self.epoch += 1;
        self.cuts += 1;
        let head = 2 * ancestors;
        self.cache.retain(|index| flat_tree::right_span(index) < head);
        for snapshot in self.snapshots.values_mut() {
            snapshot.compat_length = snapshot.compat_length.min(ancestors);
        }
    }

    /// Holds jobs that write from here on, once nothing is staged.
    pub(in super::super) fn hold(&mut self) -> Step {
        if !self.is_idle() {
            return Step::Park;
        }
        if self.is_lost() {
            return Step::Failed(LOST);
        }
        self.is_held = true;
        Step::Done(Value::Done)
    }
}
