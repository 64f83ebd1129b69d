//! The jobs of a [`Core`] that only look.

use alloc::boxed::Box;
use core::cell::RefCell;

use crate::error::StorageFailure;
use crate::storage::Store;

use super::conflict::{Verdict, check_conflict};
use super::core::{Core, LOST, Step};
use super::error::CoreError;
use super::jobs::{Value, Work};
use super::merkle_tree::{self, Missing};
use super::nodes::ReadSet;
use super::proof::{Proof, ProofRequest};
use super::prove::{Refused, prove};
use super::reorg::Reorg;
use super::verify::VerifyError;

impl Core {
    pub(super) fn carry_out(&mut self, work: &mut Work, loaded: &ReadSet, store: &mut Store) -> Step {
        if self.is_lost() {
            match work {
                Work::Append { .. }
                | Work::Truncate { .. }
                | Work::Clear { .. }
                | Work::ApplyReorg { .. }
                | Work::Commit(_)
                | Work::CatchUp { .. }
                | Work::CopyPrologue(_)
                | Work::Restore(_)
                | Work::CheckReorg(_) => return Step::Failed(LOST),
                Work::Apply(_) => return Step::Done(Value::Applied(Err(VerifyError::Stale))),
                _ => {}
            }
        }
        match work {
            Work::Append { blocks, options } => self.append(blocks, options, store),
            Work::Truncate { length, options } => self.truncate(*length, options, loaded, store),
            Work::Clear { start, end } => self.clear(*start, *end, loaded, store),
            Work::PutUserData { name, value } => self.put_user_data(name, value.as_ref(), store),
            Work::Recorded { work, operation } => match self.carry_out(work, loaded, store) {
                Step::Staged(value) => {
                    self.record(operation, &value, store);
                    Step::Staged(value)
                }
                step => step,
            },
            Work::ApplyReorg { fork } => self.apply_reorg(*fork, loaded, store),
            Work::Commit(commit) => self.commit_branch(commit, loaded, store),
            Work::CatchUp { source, length, starts_over } => {
                self.catch_up(source, *length, *starts_over, loaded, store)
            }
            Work::Repair(proof) => self.repair(proof, loaded, store),
            Work::SetManifest(manifest) => self.learn_manifest(manifest, store),
            Work::SetGroup { topic } => self.set_group(topic, loaded, store),
            Work::CopyPrologue(source) => self.copy_prologue(source, loaded, store),
            Work::Hold => self.hold(),
            Work::Settle if self.is_idle() => Step::Done(Value::Done),
            Work::Settle => Step::Park,
            Work::Retain { start } => match self.retain(*start, self.tree.length, loaded, store) {
                Ok(()) => Step::Done(Value::Done),
                Err(step) => step,
            },
            Work::Rebase { start, length } => self.rebase(*start, *length, store),
            // Marks and audits are for the log as it is.
            Work::Mark { .. } | Work::ClearMarks | Work::Audit(_) if self.is_cutting => Step::Park,
            Work::Mark { start, end } => self.mark(*start, *end, loaded, store),
            Work::ClearMarks => self.clear_marks(store),
            Work::Audit(options) => self.audit(options, loaded, store),
            Work::Restore(blocks) => self.restore(blocks, loaded, store),
            Work::Apply(proof) => self.apply(proof, loaded, store),
            Work::CheckReorg(proof) => self.check_reorg(proof, loaded, store),
            Work::WriteRecords(changes) => self.write_records(changes, store),
            // What is staged to be cut is not the log that peers know.
            _ if self.is_cutting => Step::Park,
            Work::CheckConflict(proof) => self.check_conflict(proof, loaded, store),
            Work::Prove(request) => self.prove(request, loaded, store),
            Work::Unmarked { from } => self.unmarked(*from, loaded, store),
            Work::Has { start, end } => self.has_blocks(*start, *end, loaded, store),
            Work::Get { index } => self.get(*index, loaded, store),
            Work::ReadRecords(records) => self.read_records(records, loaded, store),
            Work::UserData { name } => self.user_data(name, loaded, store),
            Work::Seek { bytes, padding } => self.seek(*bytes, *padding, loaded, store),
            Work::TreeHash { length } => self.tree_hash(*length, loaded, store),
            Work::MissingNodes { index } => self.count_missing_nodes(*index, loaded, store),
            Work::CanUpgrade { length } => self.can_upgrade(*length, loaded, store),
        }
    }

    fn get(&self, index: u64, loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        match loaded.value(store, self.layers.block(index), &wanted) {
            // It is being dropped, or storage lost it.
            Ok(None) if self.bitfield.get(index) && !self.is_idle() => Step::Park,
            Ok(None) if self.bitfield.get(index) => Step::Failed(StorageFailure::Missing.into()),
            Ok(value) => Step::Done(Value::Block(value)),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn user_data(&self, name: &str, loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        match loaded.value(store, self.keys.user_data(name), &wanted) {
            Ok(value) => Step::Done(Value::UserData(value)),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn prove(&self, request: &ProofRequest, loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        let value = match request.block {
            Some(block) if !self.may_have(block.index) => {
                let index = block.index.saturating_mul(2);
                return Step::Done(Value::Proof(Err(Refused::NotStored { index })));
            }
            Some(block) => loaded.value(store, self.layers.block(block.index), &wanted).map(Some),
            None => Ok(None),
        };
        let proof = prove(&self.nodes(store, loaded, &wanted), &self.tree, request);
        let (Ok(value), Ok(proof)) = (value, proof) else {
            return Step::Read(wanted.take());
        };
        let mut proof = match proof {
            Ok(proof) => proof,
            Err(refused) => return Step::Done(Value::Proof(Err(refused))),
        };
        if let Some(block) = &mut proof.block {
            match value.flatten() {
                Some(value) => block.value = value,
                None => {
                    let index = block.index.saturating_mul(2);
                    return Step::Done(Value::Proof(Err(Refused::NotStored { index })));
                }
            }
        }
        if request.manifest && !self.is_compat() {
            proof.manifest = self.manifest().cloned();
        }
        Step::Done(Value::Proof(Ok(Box::new(proof))))
    }

    fn seek(&self, bytes: u64, padding: u64, loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        match merkle_tree::seek(&self.nodes(store, loaded, &wanted), &self.tree, bytes, padding) {
            Ok(seek) => Step::Done(Value::Seek(seek)),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn tree_hash(&self, length: u64, loaded: &ReadSet, store: &Store) -> Step {
        if length == self.tree.length {
            return Step::Done(Value::TreeHash(Some(self.tree.tree_hash())));
        }
        if length > self.tree.length {
            return Step::Failed(CoreError::InvalidOperation("length is beyond the log"));
        }
        let wanted = RefCell::default();
        match merkle_tree::roots_at(&self.nodes(store, loaded, &wanted), length) {
            Ok(roots) => {
                Step::Done(Value::TreeHash(roots.ok().map(|roots| crate::crypto::tree_hash(&roots))))
            }
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn count_missing_nodes(&self, index: u64, loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        let source = self.nodes(store, loaded, &wanted);
        match merkle_tree::missing_nodes(&source, index.saturating_mul(2), self.tree.length) {
            Ok(count) => Step::Done(Value::MissingNodes(count)),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn can_upgrade(&self, length: u64, loaded: &ReadSet, store: &Store) -> Step {
        if length > self.tree.length {
            return Step::Done(Value::CanUpgrade(false));
        }
        let wanted = RefCell::default();
        match merkle_tree::can_upgrade(&self.nodes(store, loaded, &wanted), length) {
            Ok(can) => Step::Done(Value::CanUpgrade(can)),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn check_conflict(&self, proof: &Proof, loaded: &ReadSet, store: &Store) -> Step {
        if self.manifest().is_none() {
            return Step::Done(Value::Conflict(Box::new(Verdict::Incomparable)));
        }
        let wanted = RefCell::default();
        let source = self.nodes(store, loaded, &wanted);
        match check_conflict(&source, &self.tree, &self.identity(), proof) {
            Ok(verdict) => Step::Done(Value::Conflict(Box::new(verdict))),
            Err(Missing) => Step::Read(wanted.take()),
        }
    }

    fn check_reorg(&mut self, proof: &Proof, loaded: &ReadSet, store: &Store) -> Step {
        if self.awaits_cut() {
            return Step::Park;
        }
        let wanted = RefCell::default();
        let source = self.nodes(store, loaded, &wanted);
        // A second proof of the fork, when two were asked for, begins the search again.
        let known = self.reorgs.get(&proof.fork);
        let mut reorg = known.filter(|_| proof.upgrade.is_none()).cloned();
        let step = match &mut reorg {
            Some(reorg) => reorg.update(&source, proof),
            None if known.is_none() && self.reorgs.len() >= MAX_REORGS => Ok(Err(VerifyError::Stale)),
            None => match Reorg::start(&source, &self.tip, &self.identity(), proof) {
                Ok(Ok(started)) => {
                    reorg = Some(started);
                    Ok(Ok(()))
                }
                Ok(Err(error)) => Ok(Err(error)),
                Err(Missing) => Err(Missing),
            },
        };
        match (step, reorg) {
            (Err(Missing), _) => Step::Read(wanted.take()),
            (Ok(Ok(())), Some(reorg)) => {
                let want = reorg.want();
                self.reorgs.insert(proof.fork, reorg);
                Step::Done(Value::ReorgStep(Ok(want)))
            }
            (Ok(Err(error)), _) => Step::Done(Value::ReorgStep(Err(error))),
            (Ok(Ok(())), None) => Step::Done(Value::ReorgStep(Err(VerifyError::Stale))),
        }
    }

    /// Forgets the search of a fork.
    pub fn forget_reorg(&mut self, fork: u64) {
        self.reorgs.remove(&fork);
    }
}

/// Searches at once: peers on one newer fork share one.
const MAX_REORGS: usize = 16;
