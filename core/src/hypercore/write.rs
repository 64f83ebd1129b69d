//! The jobs of a [`Core`] that change the log.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;

use bytes::Bytes;

use crate::compact_encoding::{Encode, Writer};
use crate::crypto::{KeyPair, Node};
use crate::flat_tree;
use crate::storage::keys::MAX_NUMBERED;
use crate::storage::run::{Packed, RUN_LEAST, Run};
use crate::storage::{Durability, Op, Store};

use super::bitfield::BitChange;
use super::core::{Core, MAX_BLOCK_SIZE, Step, put};
use super::encryption::PADDING;
use super::error::CoreError;
use super::jobs::{AppendOptions, Applied, CoreEvent, Extent, TruncateOptions, Value};
use super::manifest::Manifest;
use super::merkle_tree::{Missing, NodeSource, TreeBatch, truncated, truncated_ancestors};
use super::nodes::{MAX_NODE, ReadSet};
use super::proof::Proof;
use super::reorg::Reorged;
use super::verify::{VerifyError, verify_hashed};

impl Core {
    pub(super) fn append(
        &mut self,
        blocks: &mut Vec<Bytes>,
        options: &AppendOptions,
        store: &mut Store,
    ) -> Step {
        if self.is_cutting {
            return Step::Park;
        }
        let key_pair = self.signing_pair(options.key_pair.as_ref());
        let can_sign = self.can_sign(key_pair.as_ref(), options.signature.as_ref());
        // Blocks that the manifest fixes need nobody's signature.
        let is_fixed =
            !can_sign && self.tip.prologue.is_some_and(|prologue| self.tip.length < prologue.length);
        let length = self.tip.length;
        let count = blocks.len() as u64;
        // A peer may have brought them meanwhile.
        if options.max_length.is_some_and(|max| length.saturating_add(count) > max) {
            return self.staged_already(self.staged_head());
        }
        if self.is_frozen() || !(can_sign || is_fixed) {
            return Step::Failed(CoreError::NotWritable);
        }
        if blocks.is_empty() {
            return self.staged_already(self.staged_head());
        }
        let padding = if options.encryption.is_some() { PADDING } else { 0 };
        if let Some(block) = blocks.iter().find(|block| block.len() > MAX_BLOCK_SIZE - padding) {
            return Step::Failed(CoreError::BlockTooLarge { found: (block.len() + padding) as u64 });
        }
        let bytes: usize = blocks.iter().map(|block| block.len() + BLOCK_COST).sum();
        if !store.has_room(bytes) {
            return Step::Park;
        }
        if self.tip.prologue.is_some_and(|prologue| length.saturating_add(count) < prologue.length) {
            return Step::Failed(BREAKS_PROLOGUE);
        }
        if !is_fixed
            && let Err(error) = self.prepare_signing(key_pair.as_ref(), options.signature.is_some(), store)
        {
            return Step::Failed(error);
        }

        let mut blocks = mem::take(blocks);
        if let Some(key) = &options.encryption {
            let fork = options.encryption_fork.unwrap_or(self.tip.fork);
            let cipher = self.cipher(key);
            for (index, block) in (length..).zip(&mut blocks) {
                *block = cipher.encrypt(index, fork, block).into();
            }
        }
        let mut batch = TreeBatch::new(self.tip.clone());
        batch.append_all(&blocks);
        batch.tree.signature.clone_from(&options.signature);
        let breaks_prologue = batch.tree.prologue.is_some_and(|prologue| {
            is_fixed && (batch.tree.length != prologue.length || batch.tree.tree_hash() != prologue.hash)
        });
        if breaks_prologue {
            return Step::Failed(BREAKS_PROLOGUE);
        }
        if let Err(error) = self.check_signature(&batch.tree) {
            return Step::Failed(error);
        }

        // In the order of keys, which maps take fastest.
        let mut ops = Vec::new();
        if blocks.len() < RUN_LEAST {
            ops.extend((length..).zip(blocks).map(|(at, value)| Op::Put { key: self.keys.block(at), value }));
            self.put_nodes(&batch.nodes, &mut ops);
        } else {
            ops.extend(Run::new(self.keys.blocks(), length, blocks).map(|run| Op::PutRun(run.into())));
            self.put_new_nodes(&batch.nodes, length, &mut ops);
        }
        self.signer = key_pair.filter(|_| options.signature.is_none());
        self.tip = batch.tree;
        self.stage(store, ops, Durability::Strict);
        self.open.has_head = true;
        self.set_bits(length, length + count, true);
        match self.open.events.last_mut() {
            Some(CoreEvent::Appended { start, length: so_far, heads }) if *start + *so_far == length => {
                *so_far += count;
                heads.push(Extent::from(&self.tip));
            }
            _ => {
                let heads = alloc::vec![Extent::from(&self.tip)];
                self.open.events.push(CoreEvent::Appended { start: length, length: count, heads });
            }
        }
        Step::Staged(self.staged_head())
    }

    pub(super) fn truncate(
        &mut self,
        length: u64,
        options: &TruncateOptions,
        loaded: &ReadSet,
        store: &mut Store,
    ) -> Step {
        if !self.is_idle() {
            return Step::Park;
        }
        let key_pair = self.signing_pair(options.key_pair.as_ref());
        if self.is_frozen() || !self.can_sign(key_pair.as_ref(), options.signature.as_ref()) {
            return Step::Failed(CoreError::NotWritable);
        }
        let old_length = self.tip.length;
        let is_unseen = self.is_branch() || self.unseen_from.is_some_and(|seen| length >= seen);
        let Some(fork) = options
            .fork
            .or(self.tip.fork.checked_add(1))
            .filter(|fork| *fork > self.tip.fork || (*fork == self.tip.fork && is_unseen))
        else {
            return Step::Failed(CoreError::InvalidOperation("a truncation needs a higher fork"));
        };
        if length > old_length {
            return Step::Failed(CoreError::InvalidOperation("not a truncation"));
        }
        if self.tip.prologue.is_some_and(|prologue| length < prologue.length) {
            return Step::Failed(CoreError::InvalidOperation("truncation breaks the prologue"));
        }
        if !store.has_room(0) {
            return Step::Park;
        }
        let wanted = RefCell::default();
        let mut tree = match truncated(&self.nodes(store, loaded, &wanted), &self.tip, length, fork) {
            Ok(Ok(tree)) => tree,
            Ok(Err(_)) => {
                return Step::Failed(CoreError::InvalidOperation("the roots at that length are not stored"));
            }
            Err(Missing) => return Step::Read(wanted.take()),
        };
        if let Err(error) = self.prepare_signing(key_pair.as_ref(), options.signature.is_some(), store) {
            return Step::Failed(error);
        }
        if let Err(step) = self.retain(length, old_length, loaded, store) {
            return step;
        }
        tree.prologue = self.tip.prologue;
        tree.signature.clone_from(&options.signature);
        if let Err(error) = self.check_signature(&tree) {
            return Step::Failed(error);
        }

        let mut ops = Vec::new();
        self.delete_from(length, old_length, &mut ops);
        if length < self.layers.shared_length()
            && let Some(dependency) = self.layers.shrink(length)
        {
            ops.push(put(self.keys.dependency(), dependency.to_vec()));
        }
        self.signer = key_pair.filter(|_| options.signature.is_none());
        self.tip = tree;
        self.stage(store, ops, Durability::Strict);
        self.open.has_head = true;
        self.set_bits(length, old_length, false);
        let head = Some(Extent::from(&self.tip));
        let event = CoreEvent::Truncated { ancestors: length, old_length, fork, is_reorg: false, head };
        self.open.events.push(event);
        Step::Staged(Value::Done)
    }

    pub(super) fn clear(&mut self, start: u64, end: u64, loaded: &ReadSet, store: &mut Store) -> Step {
        if self.is_cutting || !store.has_room(0) {
            return Step::Park;
        }
        // What a branch shares is its parent's to drop.
        let (start, end) = (start.max(self.layers.shared_length()), end.min(self.tip.length));
        if start >= end {
            return self.staged_already(Value::Done);
        }
        if let Err(step) = self.retain(start, end, loaded, store) {
            return step;
        }
        let op = if end - start == 1 {
            Op::Delete { key: self.keys.block(start) }
        } else {
            Op::DeleteRange { start: self.keys.block(start), end: self.keys.block(end) }
        };
        self.stage(store, alloc::vec![op], Durability::Relaxed);
        self.set_bits(start, end, false);
        self.open.events.push(CoreEvent::Dropped { start, length: end - start });
        Step::Staged(Value::Done)
    }

    pub(super) fn put_user_data(&mut self, name: &str, value: Option<&Bytes>, store: &mut Store) -> Step {
        let key = self.keys.user_data(name);
        let bytes = key.len() + value.map_or(0, Bytes::len);
        if let Err(error) = fits(&key, value) {
            return Step::Failed(error);
        }
        if self.is_cutting || !store.has_room(bytes) {
            return Step::Park;
        }
        let op = match value {
            Some(value) => Op::Put { key, value: value.clone() },
            None => Op::Delete { key },
        };
        self.stage(store, alloc::vec![op], Durability::Strict);
        Step::Staged(Value::Done)
    }

    /// Adds to what was just staged that it was done.
    pub(super) fn record(&mut self, operation: &str, value: &Value, store: &mut Store) {
        let mut record = Vec::new();
        if let Value::Appended { length, byte_length } | Value::Committed(Some((length, byte_length))) = value
        {
            record.extend_from_slice(&length.to_le_bytes());
            record.extend_from_slice(&byte_length.to_le_bytes());
        }
        let op = put(self.keys.user_data(operation), record);
        self.stage(store, alloc::vec![op], Durability::Strict);
    }

    pub(super) fn apply(&mut self, proof: &Proof, loaded: &ReadSet, store: &mut Store) -> Step {
        let bytes = proof.block.as_ref().map_or(0, |block| block.value.len()) + PROOF_COST;
        if self.awaits_cut() || !store.has_room(bytes) {
            return Step::Park;
        }
        if self.is_frozen() {
            return Step::Done(Value::Applied(Err(VerifyError::Stale)));
        }
        let wanted = RefCell::default();
        let source = self.nodes(store, loaded, &wanted);
        let verified = match verify_hashed(&source, &self.tip, &self.identity(), proof, loaded.leaf) {
            Ok(Ok(verified)) => verified,
            Ok(Err(error)) => return Step::Done(Value::Applied(Err(error))),
            Err(Missing) => return Step::Read(wanted.take()),
        };

        if let Some(tree) = &verified.upgraded {
            match self.admits(tree) {
                Some(true) => {}
                Some(false) => return Step::Done(Value::Applied(Err(VerifyError::Refused))),
                None => return Step::Park,
            }
        }
        let applied = Applied {
            upgraded: verified.upgraded.is_some(),
            manifest: verified.manifest.is_some(),
            block: verified.block.is_some(),
        };
        let mut ops = Vec::with_capacity(verified.nodes.len() + 1);
        self.put_nodes(&verified.nodes, &mut ops);
        if let Some((index, value)) = verified.block {
            ops.push(Op::Put { key: self.keys.block(index), value });
            self.set_bits(index, index + 1, true);
        }
        if let Some(block) = &proof.block {
            // Blocks below a sibling of the way up will be verified by it. What this one was verified by is done with.
            let leaf = block.index.saturating_mul(2);
            let top = block.nodes.last().map_or(leaf, |last| flat_tree::parent(last.index));
            self.cache.expect(top, false);
            block.nodes.iter().for_each(|node| self.cache.expect(node.index, true));
        }
        self.stage(store, ops, Durability::Relaxed);
        if let Some(tree) = verified.upgraded {
            self.tip = tree;
            self.signer = None;
            self.open.has_head = true;
        }
        if let Some(manifest) = verified.manifest
            && let Err(error) = self.set_manifest(store, manifest, true)
        {
            return Step::Failed(error);
        }
        // Who signs the log is told before its length.
        if applied.upgraded {
            self.open.events.push(CoreEvent::Upgraded(Extent::from(&self.tip)));
        }
        Step::Staged(Value::Applied(Ok(applied)))
    }

    pub(super) fn restore(
        &mut self,
        blocks: &mut Vec<(u64, Bytes)>,
        loaded: &ReadSet,
        store: &mut Store,
    ) -> Step {
        let bytes: usize = blocks.iter().map(|(_, block)| block.len() + BLOCK_COST).sum();
        if self.awaits_cut() || !store.has_room(bytes) {
            return Step::Park;
        }
        let wanted = RefCell::default();
        let source = self.nodes(store, loaded, &wanted);
        let leaves = blocks.iter().map(|(index, _)| source.node(index.saturating_mul(2)));
        let leaves: Vec<Result<Option<Node>, Missing>> = leaves.collect();
        if !wanted.borrow().is_empty() {
            return Step::Read(wanted.take());
        }
        let mut ops = Vec::with_capacity(blocks.len());
        for ((index, block), leaf) in mem::take(blocks).into_iter().zip(leaves) {
            let is_known = leaf == Ok(Some(super::merkle_tree::block_node(index, &block)));
            if is_known && index < self.tip.length && !self.is_branch() {
                ops.push(Op::Put { key: self.keys.block(index), value: block });
                self.set_bits(index, index + 1, true);
            }
        }
        self.stage(store, ops, Durability::Relaxed);
        Step::Staged(Value::Done)
    }

    pub(super) fn apply_reorg(&mut self, fork: u64, loaded: &ReadSet, store: &mut Store) -> Step {
        if !self.is_idle() || !store.has_room(PROOF_COST) {
            return Step::Park;
        }
        let found = self.reorgs.get(&fork).and_then(|reorg| reorg.clone().finish());
        if let Some(reorged) = found
            && let Err(step) = self.retain(reorged.ancestors, self.tip.length, loaded, store)
        {
            return step;
        }
        let reorg = self.reorgs.remove(&fork).and_then(super::reorg::Reorg::finish);
        self.reorgs.clear();
        let (old_fork, old_length) = (self.tip.fork, self.tip.length);
        let Some(Reorged { ancestors, tree, nodes, block, manifest, .. }) =
            reorg.filter(|reorg| reorg.old == (old_fork, old_length) && !self.is_frozen())
        else {
            return Step::Done(Value::Reorged(None));
        };

        let mut ops = Vec::new();
        self.delete_from(ancestors, old_length, &mut ops);
        self.put_nodes(&nodes, &mut ops);
        self.set_bits(ancestors, old_length, false);
        if let Some((index, value)) = block {
            ops.push(Op::Put { key: self.keys.block(index), value });
            self.set_bits(index, index + 1, true);
        }
        self.tip = tree;
        self.signer = None;
        self.stage(store, ops, Durability::Relaxed);
        self.open.has_head = true;
        let event = CoreEvent::Truncated { ancestors, old_length, fork, is_reorg: true, head: None };
        self.open.events.push(event);
        if let Some(manifest) = manifest
            && let Err(error) = self.set_manifest(store, manifest, true)
        {
            return Step::Failed(error);
        }
        Step::Staged(Value::Reorged(Some((ancestors, old_length))))
    }

    fn staged_head(&self) -> Value {
        Value::Appended { length: self.tip.length, byte_length: self.tip.byte_length }
    }

    /// Returns the pair that signs: the core's own only signs the main log.
    pub(super) fn signing_pair(&self, given: Option<&KeyPair>) -> Option<KeyPair> {
        given.or(self.key_pair().filter(|_| !self.is_branch())).cloned()
    }

    fn can_sign(&self, key_pair: Option<&KeyPair>, signature: Option<&Bytes>) -> bool {
        self.is_branch() || key_pair.is_some() || signature.is_some()
    }

    /// Answers a job that changes nothing once the jobs before it are durable.
    pub(super) fn staged_already(&self, value: Value) -> Step {
        if self.is_idle() { Step::Done(value) } else { Step::Park }
    }

    /// Makes sure that a head can be signed, or a given signature be verified.
    pub(super) fn prepare_signing(
        &mut self,
        key_pair: Option<&KeyPair>,
        is_signed: bool,
        store: &mut Store,
    ) -> Result<(), CoreError> {
        if self.is_branch() && key_pair.is_none() && !is_signed {
            return Ok(());
        }
        if self.verifier().is_none() {
            let own = key_pair.filter(|pair| pair.public_key == *self.key());
            let Some(pair) = own else { return Err(CoreError::NotWritable) };
            self.set_manifest(store, Manifest::single_signer(pair.public_key), false)?;
        }
        let signers = self.manifest().map_or(&[][..], |manifest| &manifest.signers);
        let is_signer =
            key_pair.is_some_and(|pair| signers.iter().any(|signer| signer.public_key == pair.public_key));
        if is_signed || is_signer { Ok(()) } else { Err(super::verifier::NotASigner.into()) }
    }

    /// Verifies a signature that was given. Without one the head is signed when its group is sealed.
    pub(super) fn check_signature(&self, tree: &super::merkle_tree::Tree) -> Result<(), CoreError> {
        match (&tree.signature, self.verifier()) {
            (Some(signature), Some(verifier)) if !verifier.verify(tree, Some(signature)) => {
                Err(CoreError::InvalidSignature)
            }
            _ => Ok(()),
        }
    }

    /// Stores nodes. Their bytes stand in one buffer: memory for each key and value takes longer than hashing small blocks.
    pub(super) fn put_nodes(&mut self, nodes: &[Node], ops: &mut Vec<Op>) {
        let mut bytes = Vec::with_capacity(nodes.len() * (MAX_NUMBERED + MAX_NODE));
        let mut ends = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.cache.insert(*node);
            self.keys.put_node(node.index, &mut bytes);
            let key_end = bytes.len();
            let mut writer = Writer::from_vec(bytes);
            node.encode(&mut writer);
            bytes = writer.into_vec();
            ends.push((key_end, bytes.len()));
        }
        let bytes = Bytes::from(bytes);
        let mut start = 0;
        ops.extend(ends.into_iter().map(|(key_end, end)| {
            let put = Op::Put { key: bytes.slice(start..key_end), value: bytes.slice(key_end..end) };
            start = end;
            put
        }));
    }

    /// Stores the nodes that came into being when blocks were appended to the first `length`. Most of them are in a row.
    fn put_new_nodes(&mut self, nodes: &[Node], length: u64, ops: &mut Vec<Op>) {
        let first = 2 * length;
        let mut row: Vec<Option<&Node>> = Vec::with_capacity(nodes.len() + 1);
        let mut others = Vec::new();
        for node in nodes {
            match node.index.checked_sub(first).and_then(|at| usize::try_from(at).ok()) {
                Some(at) => {
                    row.resize(row.len().max(at + 1), None);
                    row[at] = Some(node);
                }
                None => others.push(*node),
            }
        }
        let mut start = 0;
        for part in row.split(Option::is_none) {
            let index = first + start as u64;
            start += part.len() + 1;
            let nodes = part.iter().copied().flatten();
            let run = if part.len() < RUN_LEAST { None } else { self.run_of_nodes(index, nodes.clone()) };
            match run {
                Some(run) => ops.push(Op::PutRun(run.into())),
                None => others.extend(nodes),
            }
        }
        self.put_nodes(&others, ops);
    }

    /// Returns the records of nodes in a row, from an index on.
    fn run_of_nodes<'a>(&self, index: u64, nodes: impl Iterator<Item = &'a Node> + Clone) -> Option<Run> {
        let count = nodes.clone().count();
        let mut writer = Writer::with_capacity(count * MAX_NODE);
        let mut ends = Vec::with_capacity(count);
        for node in nodes {
            node.encode(&mut writer);
            ends.push(u32::try_from(writer.as_slice().len()).ok()?);
        }
        Run::packed(self.keys.nodes(), index, Packed { bytes: writer.into_vec().into(), ends })
    }

    /// Deletes the blocks from `ancestors` on, and every node that does not belong to the first `ancestors` blocks.
    pub(super) fn delete_from(&mut self, ancestors: u64, old_length: u64, ops: &mut Vec<Op>) {
        let keys = self.keys;
        if ancestors < old_length {
            ops.push(Op::DeleteRange { start: keys.block(ancestors), end: keys.block(old_length) });
            ops.push(Op::DeleteRange { start: keys.node(2 * ancestors), end: keys.node(2 * old_length) });
        }
        for index in truncated_ancestors(ancestors) {
            ops.push(Op::Delete { key: keys.node(index) });
        }
        self.cut(ancestors);
    }

    pub(super) fn set_bits(&mut self, start: u64, end: u64, value: bool) {
        if start >= end || self.is_branch() {
            return;
        }
        match self.open.bits.last_mut() {
            Some(last) if last.value == value && last.end == start => last.end = end,
            _ => self.open.bits.push(BitChange { start, end, value }),
        }
    }
}

/// Reports what no store would take: it would stop for all that is in it.
pub(super) fn fits(key: &[u8], value: Option<&Bytes>) -> Result<(), CoreError> {
    if key.len() > MAX_KEY {
        return Err(CoreError::BadArgument("key is too long"));
    }
    match value.map(|value| value.len() as u64) {
        Some(found) if found > MAX_BLOCK_SIZE as u64 => Err(CoreError::BlockTooLarge { found }),
        _ => Ok(()),
    }
}

/// Longest key, in bytes: half of what the log of a file takes.
const MAX_KEY: usize = 1 << 15;

/// What a block costs a commit besides its bytes: its key, and two nodes.
const BLOCK_COST: usize = 400;

/// What a proof costs a commit besides its block.
const PROOF_COST: usize = 8192;

const BREAKS_PROLOGUE: CoreError = CoreError::InvalidOperation("append is not consistent with the prologue");
