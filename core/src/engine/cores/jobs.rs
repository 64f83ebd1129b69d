//! What a core says: what changed, and what became of its jobs.

use alloc::boxed::Box;

use crate::hypercore::conflict::Verdict;
use crate::hypercore::core::Core;
use crate::hypercore::jobs::{CoreEvent, JobId, Value, Work};
use crate::hypercore::merkle_tree::Seek;
use crate::hypercore::proof::Proof;
use crate::hypercore::prove::Refused;
use crate::hypercore::verify::VerifyError;
use crate::replicator::{Applied, ConflictFinding, LocalChange, ProveError, ReorgStep, Reorged, SeekStep};
use crate::time::Instant;

use super::super::types::{ApplyError, CoreId, Error, Event, RepairStage, RequestId, Response};
use super::super::{Engine, Output};
use super::{CoreEntry, CoreState, Purpose};

impl Engine {
    pub(super) fn next_core_event(&mut self, id: CoreId) -> Option<CoreEvent> {
        self.cores.get_mut(&id)?.parts()?.0.poll_event()
    }

    pub(super) fn handle_core_event(&mut self, id: CoreId, event: CoreEvent, now: Instant) {
        if let Some(twin) = self.cores.get_mut(&id).and_then(|entry| entry.twin.as_mut()) {
            twin.note(&event);
        }
        let change = match event {
            CoreEvent::Appended { start, length, heads } => {
                for head in heads {
                    self.emit(Event::CoreAppend { core: id, head });
                }
                LocalChange::Appended { start, length }
            }
            CoreEvent::Growing(tree) => return self.emit(Event::CoreGrowing { core: id, tree }),
            CoreEvent::Upgraded(head) => return self.emit(Event::CoreAppend { core: id, head }),
            CoreEvent::Truncated { ancestors, old_length, fork, is_reorg, head } => {
                self.emit(Event::CoreTruncate { core: id, ancestors, fork, head });
                #[cfg(feature = "bee")]
                self.bees_truncated(id, ancestors);
                if is_reorg {
                    return;
                }
                LocalChange::Truncated { length: ancestors, old_length }
            }
            CoreEvent::Gained { start, length } => LocalChange::Gained { start, length },
            CoreEvent::Dropped { start, length } => LocalChange::Dropped { start, length },
            CoreEvent::Manifest { is_remote } => {
                self.emit(Event::Manifest { core: id });
                if is_remote {
                    return;
                }
                LocalChange::Manifest
            }
            CoreEvent::Done { job, result } => return self.job_done(id, job, result, now),
        };
        if let Some((core, replicator)) = self.cores.get_mut(&id).and_then(CoreEntry::parts) {
            replicator.local_changed(change, core, now);
        }
    }

    fn job_done(&mut self, id: CoreId, job: JobId, result: Result<Value, Error>, now: Instant) {
        let Some(entry) = self.cores.get_mut(&id) else { return };
        let Some(purpose) = entry.jobs.remove(&job) else { return };
        if let Purpose::Request(request) = purpose {
            return self.request_done(id, request, result, now);
        }
        if let Purpose::Flow = purpose {
            return self.flow_job_done(result, now);
        }
        if let Purpose::Prove(ticket) = purpose {
            entry.proofs.remove(&ticket);
        }
        if let (Purpose::CheckConflict(_, proof), Ok(Value::Conflict(verdict))) = (&purpose, &result)
            && let Verdict::Conflict { length, fork, .. } = verdict.as_ref()
        {
            let event = Event::Conflict { core: id, length: *length, fork: *fork, proof: proof.clone() };
            self.outputs.push_back(Output::Event(event));
            if let CoreState::Open(core) = &mut entry.state {
                core.freeze();
            }
        }
        if let Purpose::Repair(request, proof) = purpose {
            return self.repaired(id, request, proof, result, now);
        }
        if let (Purpose::CheckConflict(_, proof), Ok(Value::Conflict(verdict))) = (&purpose, &result)
            && let Verdict::Repair(_) = verdict.as_ref()
        {
            let proof = proof.clone();
            self.repair(id, None, proof);
        }
        let Some((core, replicator)) = self.cores.get_mut(&id).and_then(CoreEntry::parts) else { return };
        match purpose {
            Purpose::Flow | Purpose::Request(_) | Purpose::Repair(..) => {}
            Purpose::Prove(ticket) => replicator.proved(ticket, proved(result), core, now),
            Purpose::Apply(ticket) => replicator.applied(ticket, applied(result), core, now),
            Purpose::CheckReorg(ticket) => {
                let step = match result {
                    Ok(Value::ReorgStep(Ok(Some(want)))) => {
                        Ok(ReorgStep::Want { start: want.start, end: want.end, nodes: want.nodes })
                    }
                    Ok(Value::ReorgStep(Ok(None))) => Ok(ReorgStep::Finished),
                    Ok(Value::ReorgStep(Err(error))) => Err(blame(error)),
                    Ok(_) => Ok(ReorgStep::Ignored),
                    Err(error) => Err(excuse(error)),
                };
                replicator.reorg_checked(ticket, step, core, now);
            }
            Purpose::ApplyReorg => {
                let reorged = match result {
                    Ok(Value::Reorged(Some((ancestors, old_length)))) => {
                        Ok(Reorged { ancestors, old_length })
                    }
                    Ok(_) => Err(ApplyError::Stale),
                    Err(error) => Err(excuse(error)),
                };
                replicator.reorged(reorged, core, now);
            }
            Purpose::CheckConflict(ticket, _) => {
                let finding = match result {
                    Ok(Value::Conflict(verdict)) => match *verdict {
                        Verdict::Conflict { .. } => ConflictFinding::Proven,
                        Verdict::Invalid(_) => ConflictFinding::Bogus,
                        _ => ConflictFinding::None,
                    },
                    _ => ConflictFinding::None,
                };
                replicator.conflict_checked(ticket, finding, core, now);
            }
            Purpose::CanUpgrade(peer, length) => {
                let can = matches!(result, Ok(Value::CanUpgrade(true)));
                replicator.can_upgrade(peer, length, can, core, now);
            }
            Purpose::Seek(wish) => {
                let length = core.tree().length;
                let step = match result {
                    Ok(Value::Seek(Seek::Found { block, offset })) => SeekStep::Found { block, offset },
                    Ok(Value::Seek(Seek::Inside { start, end })) => SeekStep::Narrowed { start, end },
                    _ => SeekStep::Narrowed { start: length, end: length },
                };
                replicator.sought(wish, step, core, now);
            }
        }
    }

    /// Lets a core that has lost roots take them from a peer's proof.
    pub(in super::super) fn repair(&mut self, id: CoreId, request: Option<RequestId>, proof: Box<Proof>) {
        let Some(entry) = self.cores.get_mut(&id) else { return };
        if !entry.open().is_some_and(Core::is_lost) {
            if let Some(request) = request {
                self.answer(request, Ok(Response::Applied(false)));
            }
            return;
        }
        entry.submit(Work::Repair(proof.clone()), Purpose::Repair(request, proof.clone()));
        self.dirty_cores.insert(id);
        self.emit(Event::Repair { core: id, stage: RepairStage::Begun, proof });
    }

    fn repaired(
        &mut self,
        id: CoreId,
        request: Option<RequestId>,
        proof: Box<Proof>,
        result: Result<Value, Error>,
        now: Instant,
    ) {
        let is_done = matches!(result, Ok(Value::Repaired(true)));
        if let Some((core, replicator)) = self.cores.get_mut(&id).and_then(CoreEntry::parts)
            && is_done
        {
            replicator.set_push_only(false, core, now);
        }
        let stage = if is_done { RepairStage::Done } else { RepairStage::Failed };
        self.emit(Event::Repair { core: id, stage, proof });
        if let Some(request) = request {
            self.answer(request, result.map(|_| Response::Applied(is_done)));
        }
    }
}

fn proved(result: Result<Value, Error>) -> Result<Proof, ProveError> {
    match result {
        Ok(Value::Proof(Ok(proof))) => Ok(*proof),
        Ok(Value::Proof(Err(Refused::NotStored { .. }))) => Err(ProveError::NotAvailable),
        Ok(Value::Proof(Err(_))) => Err(ProveError::Invalid),
        Ok(_) | Err(_) => Err(ProveError::NotAvailable),
    }
}

fn applied(result: Result<Value, Error>) -> Result<Applied, ApplyError> {
    match result {
        Ok(Value::Applied(Ok(applied))) => {
            Ok(Applied { upgraded: applied.upgraded, manifest: applied.manifest, block: applied.block })
        }
        Ok(Value::Applied(Err(error))) => Err(blame(error)),
        Ok(_) => Err(ApplyError::Stale),
        Err(error) => Err(excuse(error)),
    }
}

/// Who is to blame for data that does not verify.
fn blame(error: VerifyError) -> ApplyError {
    match error {
        VerifyError::Stale | VerifyError::WrongFork { .. } => ApplyError::Stale,
        VerifyError::InvalidOperation { .. } => ApplyError::Malformed,
        _ => ApplyError::Invalid,
    }
}

fn excuse(error: Error) -> ApplyError {
    match error {
        Error::Storage(_) => ApplyError::Storage,
        _ => ApplyError::Closed,
    }
}
