//! Jobs: taken, run as far as they come, answered.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use crate::compact_encoding::Decode;
use crate::crypto::{Node, leaf_hashes};
use crate::error::StorageFailure;
use crate::storage::{Durability, ReadTicket, Store};

use super::super::error::CoreError;
use super::super::jobs::{CoreEvent, JobId, Work};
use super::super::nodes::{MAX_NODE, ReadSet};
use super::super::proof::Proof;
use super::{Core, Step};

/// Work under way, and what was read for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    loaded: ReadSet,
    epoch: u64,
    /// Keys that storage was asked for.
    asked: Vec<Bytes>,
}

impl Core {
    /// Takes a job and returns its name.
    pub fn submit(&mut self, work: Work) -> JobId {
        let id = JobId(self.next_job);
        self.next_job += 1;
        if self.is_closing {
            let error = self.stopped.map_or(CoreError::Closed, CoreError::Storage);
            self.events.push_back(CoreEvent::Done { job: id, result: Err(error) });
            return id;
        }
        if work.is_ordered() {
            self.ordered.push_back(id);
        } else {
            self.ready.push_back(id);
        }
        let loaded = ReadSet::with(work.unflushed().cloned());
        self.jobs.insert(id, Job { work, loaded, epoch: self.epoch, asked: Vec::new() });
        id
    }

    /// Forgets a job that only reads; one that writes goes on.
    pub fn cancel(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| job.work.is_read()) {
            self.jobs.remove(&id);
        }
    }

    /// Refuses jobs from now on. What is staged is still committed; see [`is_idle`](Self::is_idle).
    pub fn close(&mut self) {
        self.is_closing = true;
        self.fail_jobs(CoreError::Closed);
    }

    /// Returns whether nothing is staged.
    pub fn is_idle(&self) -> bool {
        self.open.commit.is_none() && self.in_flight.is_none()
    }

    /// Notes that the store stopped: every job fails.
    pub fn stop(&mut self, failure: StorageFailure) {
        self.is_closing = true;
        self.stopped = Some(failure);
        let staged = mem::take(&mut self.open).results.into_iter();
        for (job, _) in staged.chain(self.in_flight.take().into_iter().flat_map(|staged| staged.results)) {
            self.events.push_back(CoreEvent::Done { job, result: Err(failure.into()) });
        }
        self.fail_jobs(failure.into());
    }

    fn fail_jobs(&mut self, error: CoreError) {
        self.ordered.clear();
        self.ready.clear();
        self.parked.clear();
        self.reads.clear();
        for (job, _) in mem::take(&mut self.jobs) {
            self.events.push_back(CoreEvent::Done { job, result: Err(error) });
        }
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// Takes the values of a read of this core.
    pub fn handle_values(&mut self, ticket: ReadTicket, values: Vec<Option<Bytes>>) {
        let Some(id) = self.reads.remove(&ticket) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let asked = mem::take(&mut job.asked);
        if job.epoch == self.epoch {
            for (key, value) in asked.into_iter().zip(values) {
                let node = value.as_ref().filter(|value| value.len() <= MAX_NODE);
                if let Some(node) = node.and_then(|value| Node::from_slice(value).ok())
                    && key == self.layers.node(node.index)
                {
                    self.cache.insert(node);
                }
                job.loaded.insert(key, value);
            }
        }
        if !job.work.is_ordered() {
            self.ready.push_back(id);
        }
    }

    /// Takes the failure of a read of this core.
    pub fn handle_read_failure(&mut self, ticket: ReadTicket, failure: StorageFailure) {
        let Some(job) = self.reads.remove(&ticket) else { return };
        if self.jobs.remove(&job).is_some() {
            self.ordered.retain(|id| *id != job);
            self.events.push_back(CoreEvent::Done { job, result: Err(failure.into()) });
        }
    }

    /// Runs every job as far as it comes. Returns the reads that belong to this core now.
    pub fn run(&mut self, store: &mut Store) -> Vec<ReadTicket> {
        let mut tickets = Vec::new();
        while let Some(&id) = self.ordered.front() {
            if !self.step(id, store, &mut tickets) {
                break;
            }
            self.ordered.pop_front();
        }
        self.hash_waiting();
        while let Some(id) = self.ready.pop_front() {
            self.step(id, store, &mut tickets);
        }
        if self.has_new_hints && self.is_idle() && store.has_room(0) {
            self.stage(store, Vec::new(), Durability::Relaxed);
        }
        tickets
    }

    /// Hashes the blocks of all proofs that wait: side by side they take less time than one after the other.
    fn hash_waiting(&mut self) {
        if self.ready.len() < 2 {
            return;
        }
        let block = |job: &Job| match &job.work {
            Work::Apply(Proof { block: Some(block), .. }) if job.loaded.leaf.is_none() => {
                Some(block.value.clone())
            }
            _ => None,
        };
        let waiting = self.ready.iter().filter_map(|id| Some((*id, block(self.jobs.get(id)?)?)));
        let (jobs, blocks): (Vec<JobId>, Vec<Bytes>) = waiting.unzip();
        let blocks: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
        for (id, leaf) in jobs.into_iter().zip(leaf_hashes(&blocks)) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.loaded.leaf = Some(leaf);
            }
        }
    }

    /// Returns whether the job is through.
    fn step(&mut self, id: JobId, store: &mut Store, tickets: &mut Vec<ReadTicket>) -> bool {
        let Some(mut job) = self.jobs.remove(&id) else { return true };
        if !job.asked.is_empty() {
            self.jobs.insert(id, job);
            return false;
        }
        if job.epoch != self.epoch {
            job.epoch = self.epoch;
            job.loaded.clear();
        }
        let step = if self.is_held && job.work.waits_while_held() {
            Step::Park
        } else {
            self.carry_out(&mut job.work, &job.loaded, store)
        };
        let result = match step {
            Step::Done(value) => Ok(value),
            Step::Failed(error) => Err(error),
            Step::Staged(value) => {
                self.open.results.push((id, value));
                return true;
            }
            Step::Read(keys) => {
                job.asked.clone_from(&keys);
                let ticket = store.read(keys);
                self.reads.insert(ticket, id);
                tickets.push(ticket);
                self.jobs.insert(id, job);
                return false;
            }
            Step::Park => {
                if let Work::Get { .. } = job.work {
                    job.loaded.clear();
                }
                if !job.work.is_ordered() {
                    self.parked.push(id);
                }
                self.jobs.insert(id, job);
                return false;
            }
        };
        self.events.push_back(CoreEvent::Done { job: id, result });
        true
    }

    /// Whether a cut is staged, or waits for what is staged before it.
    pub(in super::super) fn awaits_cut(&self) -> bool {
        let next = self.ordered.front().and_then(|id| self.jobs.get(id));
        self.is_cutting || next.is_some_and(|job| job.work.is_cut())
    }

    /// Whether [`run`](Self::run) or [`poll_event`](Self::poll_event) may have something to do.
    pub fn is_restless(&self) -> bool {
        !(self.ready.is_empty() && self.ordered.is_empty() && self.events.is_empty() && !self.has_new_hints)
    }
}
