//! Looking after what is stored: blocks that are marked so that the others can be dropped, and the audit.
//!
//! Source: hypercore 11.35, `lib/mark-bitfield.js`, `index.js`, `sweep`, and `lib/audit.js`.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::collections::BTreeMap;
use crate::flat_tree;
use crate::storage::{Durability, Op, Store};

use super::bitfield::BITS_PER_PAGE;
use super::core::{Core, Step, put};
use super::error::CoreError;
use super::jobs::Value;
use super::merkle_tree::{NodeSource, block_node, parent_node};
use super::nodes::ReadSet;

/// Blocks that are to stay, as far as they are in memory.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pages: BTreeMap<u64, Vec<u8>>,
    /// Storage has no others.
    is_complete: bool,
}

/// What an audit is to look at.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// First block.
    pub start: u64,
    /// Drops tree nodes whose children do not belong to them.
    pub tree: bool,
    /// Drops blocks that have no bit, or are not what their leaf says.
    pub blocks: bool,
    /// Drops bits of blocks that are not there.
    pub bitfield: bool,
    /// Only counts.
    pub dry_run: bool,
}

/// What an audit found in a part of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// The first block of the next part; `None` when this was the last.
    pub next: Option<u64>,
    /// Tree nodes that belong to their parents, roots included.
    pub nodes: u64,
    /// Blocks that are right.
    pub blocks: u64,
    /// Bits that are right.
    pub bits: u64,
    /// Tree nodes above what was dropped.
    pub dropped_nodes: u64,
    /// Blocks dropped.
    pub dropped_blocks: u64,
    /// Bits dropped.
    pub dropped_bits: u64,
}

impl Core {
    /// Notes that the blocks `start..end` are to stay when the others are dropped.
    pub(super) fn mark(&mut self, start: u64, end: u64, loaded: &ReadSet, store: &mut Store) -> Step {
        let pages = start / BITS_PER_PAGE..end.div_ceil(BITS_PER_PAGE);
        if start >= end {
            return Step::Done(Value::Done);
        }
        if pages.end - pages.start > MAX_PAGES {
            return Step::Failed(CoreError::BadArgument("too many blocks are marked at once"));
        }
        if !store.has_room(0) {
            return Step::Park;
        }
        let wanted = RefCell::default();
        for page in pages.clone() {
            if !self.marks.is_complete && !self.marks.pages.contains_key(&page) {
                let Ok(stored) = loaded.value(store, self.keys.mark(page), &wanted) else { continue };
                let mut bits = stored.map_or_else(Vec::new, |stored| stored.to_vec());
                bits.resize(PAGE_BYTES, 0);
                self.marks.pages.insert(page, bits);
            }
        }
        if !wanted.borrow().is_empty() {
            return Step::Read(wanted.take());
        }
        let mut ops = Vec::new();
        for page in pages {
            let bits = self.marks.pages.entry(page).or_insert_with(|| alloc::vec![0; PAGE_BYTES]);
            let first = page.saturating_mul(BITS_PER_PAGE);
            let end = end.min(first.saturating_add(BITS_PER_PAGE));
            let mut is_changed = false;
            for bit in start.max(first) - first..end - first {
                let byte = usize::try_from(bit / 8).ok().and_then(|at| bits.get_mut(at));
                if let Some(byte) = byte {
                    is_changed |= *byte & 1 << (bit % 8) == 0;
                    *byte |= 1 << (bit % 8);
                }
            }
            if is_changed {
                ops.push(put(self.keys.mark(page), bits.clone()));
            }
        }
        if ops.is_empty() {
            return self.staged_already(Value::Done);
        }
        self.stage(store, ops, Durability::Relaxed);
        Step::Staged(Value::Done)
    }

    /// Forgets all marks.
    pub(super) fn clear_marks(&mut self, store: &mut Store) -> Step {
        if !store.has_room(0) {
            return Step::Park;
        }
        self.marks = Marks { pages: BTreeMap::new(), is_complete: true };
        let ops = alloc::vec![Op::DeleteRange { start: self.keys.mark(0), end: self.keys.marks_end() }];
        self.stage(store, ops, Durability::Relaxed);
        Step::Staged(Value::Done)
    }

    /// Returns ranges of stored blocks without marks, from a block on, and where to go on.
    pub(super) fn unmarked(&mut self, from: u64, loaded: &ReadSet, store: &mut Store) -> Step {
        let length = self.tree.length;
        let (mut ranges, mut at): (Vec<(u64, u64)>, u64) = (Vec::new(), from);
        let end = from.saturating_add(SWEEP_BLOCKS).min(length);
        let wanted = RefCell::default();
        while let Some(index) = self.bitfield.first_set(at).filter(|index| *index < end) {
            at = index + 1;
            let (page, bit) = (index / BITS_PER_PAGE, index % BITS_PER_PAGE);
            if !self.marks.is_complete && !self.marks.pages.contains_key(&page) {
                let Ok(stored) = loaded.value(store, self.keys.mark(page), &wanted) else {
                    return Step::Read(wanted.take());
                };
                let mut bits = stored.map_or_else(Vec::new, |stored| stored.to_vec());
                bits.resize(PAGE_BYTES, 0);
                self.marks.pages.insert(page, bits);
            }
            let byte = self.marks.pages.get(&page).and_then(|bits| bits.get(usize::try_from(bit / 8).ok()?));
            if byte.is_some_and(|byte| byte & 1 << (bit % 8) != 0) {
                continue;
            }
            match ranges.last_mut() {
                Some((_, last)) if *last == index => *last = index + 1,
                _ => ranges.push((index, index + 1)),
            }
        }
        Step::Done(Value::Unmarked { ranges, next: (end < length).then_some(end) })
    }

    /// Looks at a part of the log, and drops what does not fit together.
    pub(super) fn audit(&mut self, options: &AuditOptions, loaded: &ReadSet, store: &mut Store) -> Step {
        if !self.is_idle() || self.is_branch() || !store.has_room(0) {
            return if self.is_branch() {
                Step::Done(Value::Audited(Audited::default()))
            } else {
                Step::Park
            };
        }
        let length = self.tree.length;
        let (start, end) = (options.start, options.start.saturating_add(AUDIT_BLOCKS).min(length));
        let wanted = RefCell::default();
        let nodes = self.nodes(store, loaded, &wanted);
        let node = |index| nodes.node(index).ok().flatten();
        let mut found = Audited { next: (end < length).then_some(end), ..Audited::default() };
        let mut ops = Vec::new();
        let mut cleared = Vec::new();
        if options.tree {
            let roots = self.tree.roots.iter().map(|root| root.index / 2);
            found.nodes += roots.filter(|at| (start..end).contains(at)).count() as u64;
            let fits = |index| {
                let (left, right) = flat_tree::children(index)?;
                match (node(index), node(left), node(right)) {
                    (Some(parent), Some(left), Some(right)) => Some(parent_node(&left, &right) == parent),
                    (_, None, None) | (None, ..) => None,
                    (Some(_), ..) => Some(false),
                }
            };
            for index in (start.saturating_mul(2)..end.saturating_mul(2)).filter(|index| index & 1 == 1) {
                // What is below something wrong goes with it.
                let is_root = |index| self.tree.roots.iter().any(|root| root.index == index);
                let mut above = index;
                let mut is_kept = flat_tree::right_span(index) < 2 * length;
                while is_kept && !is_root(above) {
                    above = flat_tree::parent(above);
                    is_kept = flat_tree::right_span(above) < 2 * length && fits(above) == Some(true);
                }
                if !is_kept {
                    continue;
                }
                match fits(index) {
                    Some(true) => found.nodes += 2,
                    None => {}
                    Some(false) => {
                        found.dropped_nodes += 1;
                        let [first, last] = [flat_tree::left_span(index), flat_tree::right_span(index)];
                        let end = self.keys.node(last + 1);
                        ops.push(Op::DeleteRange { start: self.keys.node(first), end });
                    }
                }
            }
        }
        for index in start..end {
            if !options.blocks && !options.bitfield {
                break;
            }
            let Ok(block) = loaded.value(store, self.keys.block(index), &wanted) else { continue };
            let has_bit = self.bitfield.get(index);
            let mut is_there = block.is_some();
            if let Some(block) = block.filter(|_| options.blocks) {
                if has_bit && node(2 * index) == Some(block_node(index, &block)) {
                    found.blocks += 1;
                } else {
                    found.dropped_blocks += 1;
                    ops.push(Op::Delete { key: self.keys.block(index) });
                    is_there = options.dry_run;
                }
            }
            if options.bitfield && has_bit {
                if is_there {
                    found.bits += 1;
                } else {
                    found.dropped_bits += 1;
                    cleared.push(index);
                }
            } else if has_bit && !is_there {
                cleared.push(index);
            }
        }
        if !wanted.borrow().is_empty() {
            return Step::Read(wanted.take());
        }
        if options.dry_run || (ops.is_empty() && cleared.is_empty()) {
            return Step::Done(Value::Audited(found));
        }
        self.cache.retain(|_| false);
        self.stage(store, ops, Durability::Relaxed);
        for index in cleared {
            self.set_bits(index, index + 1, false);
            self.open.events.push(super::jobs::CoreEvent::Dropped { start: index, length: 1 });
        }
        Step::Staged(Value::Audited(found))
    }
}

/// Bytes of a page of marks.
const PAGE_BYTES: usize = (BITS_PER_PAGE / 8) as usize;

/// Pages that one job marks: 8 million blocks.
const MAX_PAGES: u64 = 256;

/// Blocks that one job looks through for marks.
const SWEEP_BLOCKS: u64 = 16 * BITS_PER_PAGE;

/// Blocks that one job audits, all in memory at once.
const AUDIT_BLOCKS: u64 = 64;
