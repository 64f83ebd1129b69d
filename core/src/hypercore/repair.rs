//! Roots of the tree that storage has lost, taken from a peer that has them.
//!
//! Source: hypercore 11.35, `lib/core.js`, `_repairTreeNodes`; `index.js`, `recoverFromRemoteProof`.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::compact_encoding::{Decode, Encode};
use crate::crypto::{Node, tree_hash};
use crate::flat_tree;
use crate::storage::{Durability, Op, Store};

use super::conflict::verify_from_empty;
use super::core::{Core, Step, put};
use super::jobs::Value;
use super::merkle_tree::Tree;
use super::nodes::ReadSet;
use super::proof::Proof;

impl Core {
    /// Takes the lost roots from a proof, if all of them are in it or stored. The head itself is stored, and its hash
    /// says whether they are the right ones.
    pub(super) fn repair(&mut self, proof: &Proof, loaded: &ReadSet, store: &mut Store) -> Step {
        if !self.is_idle() || !store.has_room(0) {
            return Step::Park;
        }
        let Some(head) = &self.lost else { return Step::Done(Value::Repaired(false)) };
        let Ok(theirs) = verify_from_empty(&self.identity(), proof) else {
            return Step::Done(Value::Repaired(false));
        };
        let wanted = RefCell::default();
        let mut ops: Vec<Op> = Vec::new();
        let mut roots: Vec<Node> = Vec::new();
        for index in flat_tree::full_roots(head.length) {
            let mut given = theirs.nodes.iter().chain(&theirs.roots_asked).chain(&theirs.tree.roots);
            if let Some(node) = given.find(|node| node.index == index) {
                ops.push(put(self.keys.node(index), node.to_vec()));
                roots.push(*node);
                continue;
            }
            if let Ok(value) = loaded.value(store, self.keys.node(index), &wanted) {
                roots.extend(value.and_then(|value| Node::from_slice(&value).ok()));
            }
        }
        if !wanted.borrow().is_empty() {
            return Step::Read(wanted.take());
        }
        if tree_hash(&roots) != head.root_hash {
            return Step::Done(Value::Repaired(false));
        }
        let mut tree = Tree::from_roots(head.fork, head.length, roots, self.tip.prologue);
        tree.signature.clone_from(&head.signature);
        self.tip = tree;
        self.lost = None;
        self.cache.retain(|_| false);
        self.stage(store, ops, Durability::Strict);
        self.open.has_head = true;
        Step::Staged(Value::Repaired(true))
    }
}
