//! A branch that starts over from the log that it branched off.
//!
//! Source: hypercore 11.35, `lib/session-state.js`, `catchup`.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::compact_encoding::Encode;
use crate::storage::{Durability, Op, Store};

use super::branch::State;
use super::branching::OF_ITSELF;
use super::core::{Core, Step, put};
use super::error::CoreError;
use super::jobs::{CoreEvent, Extent, Value};
use super::merkle_tree::{Missing, Tree, roots_at};
use super::nodes::{NodeCache, Nodes, ReadSet};

impl Core {
    /// Drops what this branch has of its own, and shares the first `length` blocks with the log. One that `starts_over` has the log's
    /// fork afterwards, as a new branch has.
    ///
    /// Blocks of its own that lay below `length` are taken to differ: sessions see them cut and appended anew.
    pub(super) fn catch_up(
        &mut self,
        source: &State,
        length: u64,
        starts_over: bool,
        loaded: &ReadSet,
        store: &mut Store,
    ) -> Step {
        if !self.is_idle() || !store.has_room(0) {
            return Step::Park;
        }
        let log = source.layers().own().data;
        let Some(shared) = self.layers.shared_with(log).filter(|_| self.is_branch()) else {
            return Step::Failed(CoreError::InvalidOperation("only a branch catches up, with its own log"));
        };
        let layers = source.layers();
        let branched = layers.branch(self.keys.data, length);
        if branched.is_circular() {
            return Step::Failed(CoreError::InvalidOperation(OF_ITSELF));
        }
        let wanted = RefCell::default();
        let cache = NodeCache::default();
        let nodes =
            Nodes { roots: &source.tree.roots, cache: &cache, store, layers, loaded, wanted: &wanted };
        let roots = match roots_at(&nodes, length) {
            Ok(Ok(roots)) if length <= source.tree.length => roots,
            Ok(_) => {
                return Step::Failed(CoreError::InvalidOperation(
                    "invalid catchup length, tree nodes not available",
                ));
            }
            Err(Missing) => return Step::Read(wanted.take()),
        };
        let (old_length, old_fork) = (self.tip.length, self.tip.fork);
        let shared = match starts_over {
            true if roots == self.tip.roots => length,
            true => shared.min(length),
            false => shared,
        };
        let cuts = shared < old_length;
        if cuts && let Err(step) = self.retain(shared, old_length, loaded, store) {
            return step;
        }

        let keys = self.keys;
        let mut ops: Vec<Op> = alloc::vec![
            Op::DeleteRange { start: keys.block(0), end: keys.blocks_end() },
            Op::DeleteRange { start: keys.node(0), end: keys.nodes_end() },
            Op::DeleteRange { start: keys.page(0), end: keys.pages_end() },
        ];
        self.layers = branched;
        ops.extend(self.layers.dependency().map(|dependency| put(keys.dependency(), dependency.to_vec())));
        let fork = if starts_over { source.tree.fork } else { old_fork.saturating_add(u64::from(cuts)) };
        self.tip = Tree::from_roots(fork, length, roots, self.tip.prologue);
        self.signer = None;
        self.cache.retain(|_| false);
        if cuts {
            self.cut(shared);
        }
        self.stage(store, ops, Durability::Strict);
        self.open.has_head = true;
        if cuts {
            let event =
                CoreEvent::Truncated { ancestors: shared, old_length, fork, is_reorg: false, head: None };
            self.open.events.push(event);
        }
        if length > shared {
            self.open.events.push(CoreEvent::Upgraded(Extent::from(&self.tip)));
        }
        Step::Staged(Value::Done)
    }
}
