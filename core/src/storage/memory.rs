//! A store that lives as long as its process.

use crate::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Batch, Intent, Op, Outcome, Owner, StorageFailure};

/// An ordered map that carries out intents at once.
///
/// Cloning one takes a picture of it, which is how tests crash a process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    entries: BTreeMap<Bytes, Bytes>,
    owner: Option<Owner>,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out an intent and returns its outcome. Fails only commits of those who do not own it.
    pub fn handle_intent(&mut self, intent: Intent) -> Outcome {
        match intent {
            Intent::Read { id, keys } => {
                Outcome::Read { id, values: keys.iter().map(|key| self.entries.get(key).cloned()).collect() }
            }
            Intent::Scan { id, start, end, reverse, limit } => {
                let (entries, more) = self.scan(&start, &end, reverse, limit);
                Outcome::Scan { id, entries, more }
            }
            Intent::Claim { id, owner } => {
                self.owner = Some(owner);
                Outcome::Committed(id)
            }
            Intent::Commit { id, owner, .. } if self.owner != Some(owner) => {
                Outcome::CommitFailed { id, failure: StorageFailure::Fenced }
            }
            Intent::Commit { id, batch, .. } => {
                self.apply(batch);
                Outcome::Committed(id)
            }
        }
    }

    /// Returns all entries in order.
    pub fn entries(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.entries.iter()
    }

    /// Applies a batch.
    pub fn apply(&mut self, batch: Batch) {
        for op in batch.ops {
            match op {
                Op::Put { key, value } => {
                    self.entries.insert(key, value);
                }
                Op::PutRun(run) => {
                    let mut near = 0;
                    for (key, value) in run.iter() {
                        self.entries.insert_near(&mut near, key, value);
                    }
                }
                Op::Delete { key } => {
                    self.entries.remove(&key);
                }
                Op::DeleteRange { start, end } if start < end => {
                    let mut tail = self.entries.split_off(&start);
                    let mut after = tail.split_off(&end);
                    self.entries.append(&mut after);
                }
                Op::DeleteRange { .. } => {}
            }
        }
    }

    fn scan(&self, start: &Bytes, end: &Bytes, reverse: bool, limit: u32) -> (Vec<(Bytes, Bytes)>, bool) {
        if start >= end {
            return (Vec::new(), false);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let range = self.entries.range(start.clone()..end.clone());
        let copy = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        let take = limit.saturating_add(1);
        let mut entries: Vec<_> = if reverse {
            range.rev().take(take).map(copy).collect()
        } else {
            range.take(take).map(copy).collect()
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        (entries, more)
    }
}
