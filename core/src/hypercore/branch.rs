//! What branches and atoms give back to the log: a commit signs a branch's blocks, an atom hands its state over.
//!
//! Source: hypercore 11.35, `lib/session-state.js`, `commit`, `_overwrite` and `_oncommit`; `lib/core.js`,
//! `_validateCommit`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::compact_encoding::Encode;
use crate::crypto::{KeyPair, Node};
use crate::flat_tree;
use crate::storage::{Durability, Op, Party, Store, View};

use super::bitfield::BitChange;
use super::core::{Core, Step, put};
use super::error::CoreError;
use super::jobs::{Committing, CoreEvent, Extent, Value};
use super::layers::Layers;
use super::manifest::Manifest;
use super::merkle_tree::{Missing, NodeSource, Tree, parent_node, roots_at};
use super::nodes::{NodeCache, Nodes, ReadSet};

impl Core {
    /// Takes the blocks of a branch in and signs the head, if the branch continues this log.
    pub(super) fn commit_branch(&mut self, commit: &Committing, loaded: &ReadSet, store: &mut Store) -> Step {
        if !self.is_idle() || !store.has_room(0) {
            return Step::Park;
        }
        let Committing { source: State { tree: source, layers, .. }, options } = commit;
        let length = options.length.unwrap_or(source.length);
        let start = options.tree_length.unwrap_or(layers.shared_length()).min(length);
        if length > source.length {
            return Step::Failed(CoreError::InvalidOperation("length is beyond the branch"));
        }
        if layers.dependency().is_none_or(|dependency| dependency.data != self.keys.data) {
            return Step::Failed(CoreError::InvalidOperation("the branch is not one of this log"));
        }
        if self.is_frozen() {
            return Step::Failed(CoreError::NotWritable);
        }
        let no_fit = self.tip.length > source.length || self.tip.length > length;
        if no_fit || self.verifier().is_none() {
            return Step::Done(Value::Committed(None));
        }
        let key_pair = self.signing_pair(options.key_pair.as_ref());
        let is_longer = self.tip.length < length;
        if is_longer && options.signature.is_none() && key_pair.is_none() {
            return Step::Failed(CoreError::NotWritable);
        }

        let wanted = RefCell::default();
        let cache = NodeCache::default();
        let nodes = Nodes { roots: &source.roots, cache: &cache, store, layers, loaded, wanted: &wanted };
        let read = read_branch(&nodes, &self.tip, start, length);
        let blocks: Vec<Result<Option<Bytes>, Missing>> =
            (start..length).map(|index| loaded.value(store, layers.block(index), &wanted)).collect();
        let (Ok(read), true) = (read, wanted.borrow().is_empty()) else { return Step::Read(wanted.take()) };
        let Some(Branch { roots, nodes }) = read else { return Step::Done(Value::Committed(None)) };
        let mut ops = Vec::with_capacity(nodes.len() + blocks.len());
        for (index, block) in (start..length).zip(blocks) {
            let Ok(Some(value)) = block else {
                return Step::Failed(CoreError::InvalidOperation("the branch lacks a block"));
            };
            ops.push(Op::Put { key: self.keys.block(index), value });
        }

        // A branch that went its own way is of another history: what it would be signed as is not what is committed. So is one whose
        // log was cut below what they share, also where both are of one fork: what is between is gone.
        let is_cut = options.tree_length.is_none() && self.tip.length < start;
        if is_cut || (is_longer && options.signature.is_none() && source.fork != self.tip.fork) {
            return Step::Failed(CoreError::InvalidSignature);
        }

        let mut tree = Tree::from_roots(self.tip.fork, length, roots, self.tip.prologue);
        if is_longer || options.signature.is_some() {
            if tree.prologue.is_some_and(|prologue| length < prologue.length) {
                return Step::Failed(CoreError::InvalidOperation(
                    "commit is not consistent with the prologue",
                ));
            }
            if let Err(error) = self.prepare_signing(key_pair.as_ref(), options.signature.is_some(), store) {
                return Step::Failed(error);
            }
            tree.signature.clone_from(&options.signature);
            if let Err(error) = self.check_signature(&tree) {
                return Step::Failed(error);
            }
            self.signer = key_pair.filter(|_| options.signature.is_none());
        } else {
            tree.signature.clone_from(&self.tip.signature);
        }
        self.put_nodes(&nodes, &mut ops);
        self.tip = tree;
        self.stage(store, ops, Durability::Strict);
        self.open.has_head = true;
        self.set_bits(start, length, true);
        let heads = alloc::vec![Extent::from(&self.tip)];
        self.open.events.push(CoreEvent::Appended { start, length: length - start, heads });
        Step::Staged(Value::Committed(Some((self.tip.length, self.tip.byte_length))))
    }

    /// Takes the blocks that the manifest fixes from another log that has them: their tree, and those that are there.
    ///
    /// Source: hypercore 11.35, `lib/copy-prologue.js`.
    pub(super) fn copy_prologue(&mut self, source: &State, loaded: &ReadSet, store: &mut Store) -> Step {
        if !self.is_idle() || !store.has_room(0) {
            return Step::Park;
        }
        let Some(prologue) = self.tip.prologue.filter(|_| !self.is_branch()) else {
            return Step::Failed(CoreError::InvalidOperation("the manifest has no prologue"));
        };
        let length = prologue.length;
        let is_grown = self.tip.length >= length;
        if source.tree.length < length || (is_grown && !self.bitfield.has_unset(0, length)) {
            return Step::Done(Value::Done);
        }
        let wanted = RefCell::default();
        let cache = NodeCache::default();
        let layers = &source.layers;
        let nodes =
            Nodes { roots: &source.tree.roots, cache: &cache, store, layers, loaded, wanted: &wanted };
        let roots = roots_at(&nodes, length);
        let inner = flat_tree::full_roots(length).flat_map(|root| below(root, 0));
        let found: Vec<Node> = inner.filter_map(|index| nodes.node(index).ok().flatten()).collect();
        let lacking = (0..length).filter(|&index| self.bitfield.has_unset(index, index.saturating_add(1)));
        let blocks = lacking.filter_map(|index| {
            let block = loaded.value(store, layers.block(index), &wanted).ok()??;
            Some((index, block))
        });
        let blocks: Vec<(u64, Bytes)> = blocks.collect();
        if !wanted.borrow().is_empty() {
            return Step::Read(wanted.take());
        }
        let Ok(Ok(roots)) = roots else {
            return Step::Failed(CoreError::InvalidOperation("the other log lacks roots of the prologue"));
        };
        let tree = Tree::from_roots(self.tip.fork, length, roots, Some(prologue));
        if tree.tree_hash() != prologue.hash {
            return Step::Failed(CoreError::InvalidOperation("prologue does not match the other log"));
        }

        let whole = (0..).zip(&blocks).take_while(|(at, (index, _))| at == index).count() as u64;
        let mut ops = Vec::new();
        self.put_nodes(&found, &mut ops);
        for (index, value) in blocks {
            ops.push(Op::Put { key: self.keys.block(index), value });
            self.set_bits(index, index + 1, true);
            // A log that peers have proved to be longer only lacks blocks.
            if is_grown {
                self.open.events.push(CoreEvent::Gained { start: index, length: 1 });
            }
        }
        if !is_grown {
            self.tip = tree;
            self.signer = None;
            self.open.has_head = true;
            let heads = alloc::vec![Extent::from(&self.tip)];
            self.open.events.push(CoreEvent::Appended { start: 0, length: whole, heads });
        }
        self.stage(store, ops, Durability::Strict);
        Step::Staged(Value::Done)
    }

    /// Drops what the parent of a branch has now.
    pub(super) fn rebase(&mut self, start: u64, length: u64, store: &mut Store) -> Step {
        if !self.is_idle() || !store.has_room(0) {
            return Step::Park;
        }
        let Some(dependency) = self.layers.advance(length).filter(|_| start < length) else {
            return Step::Done(Value::Done);
        };
        let ops = alloc::vec![
            Op::DeleteRange { start: self.keys.block(start), end: self.keys.block(length) },
            put(self.keys.dependency(), dependency.to_vec()),
        ];
        self.stage(store, ops, Durability::Relaxed);
        Step::Staged(Value::Done)
    }

    pub(super) fn has_blocks(&self, start: u64, end: u64, loaded: &ReadSet, store: &Store) -> Step {
        if start < end && end > self.tree.length {
            return Step::Done(Value::Has(false));
        }
        let wanted = RefCell::default();
        for index in start..end {
            match loaded.value(store, self.layers.block(index), &wanted) {
                Ok(None) => return Step::Done(Value::Has(false)),
                Ok(Some(_)) => {}
                Err(Missing) if wanted.borrow().len() >= MAX_LOOKS => break,
                Err(Missing) => {}
            }
        }
        if wanted.borrow().is_empty() { Step::Done(Value::Has(true)) } else { Step::Read(wanted.take()) }
    }

    /// Returns a second core over this log, whose writes go elsewhere. Only while nothing is staged.
    ///
    /// # Errors
    ///
    /// [`CoreError`] when the manifest contradicts itself.
    pub fn atomic(&self, party: Party) -> Result<Core, CoreError> {
        let mut core = Core::new(self.parts(party))?;
        core.seen_up_to(self.tip.length);
        Ok(core)
    }

    /// Returns what a second core starts from.
    pub fn base(&self) -> Base {
        Base { tree: self.tip.clone(), cuts: self.cuts }
    }

    /// Returns whether the head is the one that a second core started from.
    pub fn is_at(&self, base: &Base) -> bool {
        self.tip.fork == base.tree.fork && self.tip.roots == base.tree.roots
    }

    /// Returns whether the log has only grown since a second core started from a head, so that it can be cut again to what
    /// both share. The fork alone does not tell: a branch keeps it when it is cut.
    pub fn has_grown_from(&self, base: &Base) -> bool {
        let can_sign = self.is_branch() || (self.key_pair().is_some() && self.verifier().is_some());
        let is_uncut = self.tip.fork == base.tree.fork && self.cuts == base.cuts;
        is_uncut && self.tip.length > base.tree.length && can_sign
    }

    /// Takes back what was written since a second core started from a head, for [`adopt`](Self::adopt) to put that core's
    /// blocks in its place, as a new fork: nothing is signed twice. Only while held and nothing is staged.
    pub fn give_way(&mut self, base: &Tree, change: &mut Change, store: &mut Store) {
        let old_length = self.tip.length;
        let mut ops = Vec::new();
        self.delete_from(base.length, old_length, &mut ops);
        self.stage(store, ops, Durability::Strict);
        change.bits.insert(0, BitChange { start: base.length, end: old_length, value: false });
        change.cut = Some(change.cut.map_or(base.length, |cut| cut.min(base.length)));
        change.state.tree.fork = self.tip.fork.saturating_add(u64::from(!self.is_branch()));
        change.state.tree.signature = None;
        change.signer = self.key_pair().cloned();
    }

    /// Goes by a fork that the log got when it took this second core's state over.
    pub fn follow(&mut self, fork: u64) {
        for tree in [&mut self.tip, &mut self.tree] {
            if tree.fork != fork {
                tree.fork = fork;
                tree.signature = None;
            }
        }
    }

    /// Returns what another core over this log can take over.
    pub fn state(&self) -> State {
        let manifest = self.manifest().cloned();
        State { tree: self.tip.clone(), layers: self.layers.clone(), manifest, unflushed: None }
    }

    /// Takes over what a second core over this log made of it. Only while held and nothing is staged. What it wrote is staged by
    /// [`stage_ops`](Self::stage_ops).
    pub fn adopt(&mut self, change: Change, store: &mut Store) {
        let Change { state: State { tree, layers, manifest, .. }, bits, cut, tally, signer } = change;
        let old_length = self.tip.length;
        let kept = cut.map_or(old_length, |cut| cut.min(old_length));
        if kept < old_length {
            self.cut(kept);
        }
        let grown = tree.length.saturating_sub(kept);
        let (told_cut, is_growth_told) = if self.is_branch() {
            let cut = tally.filter(|tally| tally.is_cut && tally.start < old_length);
            (cut.map(|tally| tally.start), cut.is_none_or(|tally| tally.appends > 0))
        } else {
            (Some(kept).filter(|kept| *kept < old_length), grown > 0)
        };
        if let Some(ancestors) = told_cut {
            let fork = tree.fork;
            let event = CoreEvent::Truncated { ancestors, old_length, fork, is_reorg: false, head: None };
            self.open.events.push(event);
        }
        if is_growth_told {
            let heads = alloc::vec![Extent::from(&tree)];
            self.open.events.push(CoreEvent::Appended { start: kept, length: grown, heads });
        }
        if self.manifest().is_none()
            && let Some(manifest) = manifest
        {
            // It was verified when the other core learned it.
            let _ = self.set_manifest(store, manifest, false);
        }
        self.layers = layers;
        self.tip = tree;
        self.signer = signer;
        for change in bits {
            self.set_bits(change.start, change.end, change.value);
        }
        self.stage_ops(Vec::new(), store);
        self.open.has_head = true;
    }

    /// Stages what a second core over a log wrote.
    pub fn stage_ops(&mut self, ops: Vec<Op>, store: &mut Store) {
        self.stage(store, ops, Durability::Strict);
    }

    /// Returns whether a key holds what is written anew whenever a commit is sealed: head, hints or a bitfield page.
    pub fn is_sealed_key(&self, key: &[u8]) -> bool {
        key == self.keys.head() || key == self.keys.hints() || self.keys.page_index(key).is_some()
    }
}

/// What a second core over a log starts from.
#[derive(Clone, Debug)]
pub struct Base {
    /// The head.
    pub tree: Tree,
    /// How often the log had been cut.
    cuts: u64,
}

/// What sessions of a branch are told of an atom that is flushed. It counts as upstream does, which forgets a cut when all that was
/// appended after it is cut again, and leaves out what a branch gets by catching up.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    is_cut: bool,
    start: u64,
    appends: u64,
}

impl Tally {
    /// Counts blocks that were appended.
    pub fn count_appends(tally: &mut Option<Self>, start: u64, length: u64) {
        match tally {
            Some(tally) => tally.appends = tally.appends.saturating_add(length),
            None => *tally = Some(Self { is_cut: false, start, appends: length }),
        }
    }

    /// Counts a cut to a length.
    pub fn count_cut(tally: &mut Option<Self>, length: u64) {
        *tally = match *tally {
            Some(Self { is_cut, start, .. }) if length > start => {
                Some(Self { is_cut, start, appends: length - start })
            }
            Some(Self { start, .. }) if length == start => None,
            _ => Some(Self { is_cut: true, start: length, appends: 0 }),
        };
    }
}

/// What a second core over a log made of it.
#[derive(Debug)]
pub struct Change {
    /// What it is now.
    pub state: State,
    /// Blocks gained and dropped, in order.
    pub bits: Vec<BitChange>,
    /// The shortest that it was cut to.
    pub cut: Option<u64>,
    /// What sessions of a branch are told.
    pub tally: Option<Tally>,
    /// Signs the head anew.
    pub signer: Option<KeyPair>,
}

/// What one core over a log takes over from another.
#[derive(Clone, Debug)]
pub struct State {
    /// The head.
    pub tree: Tree,
    layers: Layers,
    manifest: Option<Manifest>,
    /// What an atom holds, of which the store does not know.
    unflushed: Option<Arc<View>>,
}

impl State {
    /// Returns the state with what the atom holds that it is in.
    #[must_use]
    pub fn within(self, atom: View) -> Self {
        Self { unflushed: Some(Arc::new(atom)), ..self }
    }

    pub(super) fn unflushed(&self) -> Option<&Arc<View>> {
        self.unflushed.as_ref()
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }
}

/// What a commit takes from a branch.
struct Branch {
    roots: Vec<Node>,
    nodes: Vec<Node>,
}

/// Reads the roots of a branch and the nodes from `start` on; `None` when it does not continue `tip`.
fn read_branch(source: &Nodes<'_>, tip: &Tree, start: u64, length: u64) -> Result<Option<Branch>, Missing> {
    let mut is_missing = false;
    for root in &tip.roots {
        match source.node(root.index) {
            Ok(Some(node)) if node == *root => {}
            Ok(_) => return Ok(None),
            Err(Missing) => is_missing = true,
        }
    }
    let roots = roots_at(source, length);
    let mut nodes = BTreeMap::new();
    let inner = flat_tree::full_roots(length).flat_map(|root| below(root, start));
    for index in inner {
        match source.node(index) {
            Ok(node) => nodes.extend(node.map(|node| (index, node))),
            Err(Missing) => is_missing = true,
        }
    }
    let roots = roots?;
    if is_missing {
        return Err(Missing);
    }
    // What is shared is read from the log as it is: it may be another history than the one that the branch continues.
    let fits = |(index, node): (&u64, &Node)| {
        let children = flat_tree::children(*index);
        let children = children.and_then(|(left, right)| nodes.get(&left).zip(nodes.get(&right)));
        children.is_none_or(|(left, right)| parent_node(left, right) == *node)
    };
    if !nodes.iter().all(fits) {
        return Ok(None);
    }
    Ok(roots.ok().map(|roots| Branch { roots, nodes: nodes.into_values().collect() }))
}

/// Returns a node and those below it, as far as their span reaches `start` or beyond, without what lies before it
/// but for the siblings that were needed to get there.
fn below(root: u64, start: u64) -> impl Iterator<Item = u64> {
    let mut stack = alloc::vec![root];
    core::iter::from_fn(move || {
        let index = stack.pop()?;
        let reaches = flat_tree::right_span(index) >= start.saturating_mul(2);
        if reaches && let Some((left, right)) = flat_tree::children(index) {
            stack.push(right);
            stack.push(left);
        }
        Some(index)
    })
}

/// Blocks that one look reads at once.
const MAX_LOOKS: usize = 64;
