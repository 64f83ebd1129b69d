//! Nothing leaves this page before what it may be about is on the disk.
//!
//! A commit is answered once the system has it: it outlives the tab, the browser and its crash, and costs no wait for the disk. Only a
//! loss of power can take it. A head that peers have seen must not be lost even then, or the writer signs another history over it. So
//! what goes out waits, in order, until the stores are synced; while no peer listens, nothing does.

use std::collections::VecDeque;

use hypertab_core::collections::{BTreeMap, BTreeSet};
use hypertab_core::engine::{LinkId, Output};
use hypertab_core::error::StorageFailure;
use hypertab_core::storage::{CommitId, Durability, Intent, Outcome, StoreId};

/// What of each store may not be on the disk, and what waits for it.
#[derive(Default)]
pub(crate) struct Barrier {
    /// Commits that have to outlive a loss of power, once they are answered.
    under_way: BTreeMap<StoreId, CommitId>,
    /// How many of them were answered, in all stores.
    answered: u64,
    /// The numbers of the first and the last one of each store that may not be on the disk.
    unsynced: BTreeMap<StoreId, (u64, u64)>,
    /// The last number that a sync under way is about.
    syncing: BTreeMap<StoreId, u64>,
    /// Stores that wait for nothing but the disk.
    closing: BTreeSet<StoreId>,
    /// What goes out once all numbers up to its own are on the disk. Bounded by the credit of the links.
    held: VecDeque<(u64, Output)>,
}

impl Barrier {
    /// Lets a commit be answered before it is on the disk.
    pub(crate) fn relax(&mut self, store: StoreId, intent: &mut Intent) {
        if let Intent::Commit { id, durability, .. } = intent
            && *durability == Durability::Strict
        {
            *durability = Durability::Relaxed;
            self.under_way.insert(store, *id);
        }
    }

    /// Notes what was answered.
    pub(crate) fn note(&mut self, store: StoreId, outcome: &Outcome) {
        let Outcome::Committed(id) = outcome else { return };
        if self.under_way.get(&store) == Some(id) {
            self.under_way.remove(&store);
            self.answered += 1;
            let number = self.answered;
            self.unsynced.entry(store).or_insert((number, number)).1 = number;
        }
    }

    /// Takes something that goes out; returns it when it may.
    pub(crate) fn pass(&mut self, output: Output) -> Option<Output> {
        if self.held.is_empty() && self.unsynced.is_empty() {
            return Some(output);
        }
        self.held.push_back((self.answered, output));
        None
    }

    /// Returns the next thing that may go out by now.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let first = self.unsynced.values().map(|(first, _)| *first).min();
        let (number, _) = self.held.front()?;
        if first.is_some_and(|first| first <= *number) {
            return None;
        }
        self.held.pop_front().map(|(_, output)| output)
    }

    /// Returns the next store to sync, while something waits for it. It ends with [`handle_synced`](Self::handle_synced) or
    /// [`handle_failure`](Self::handle_failure).
    pub(crate) fn poll_sync(&mut self) -> Option<StoreId> {
        let wanted = self.held.back().map(|(number, _)| *number);
        let is_due = |(store, (first, _)): &(&StoreId, &(u64, u64))| {
            let is_wanted = wanted.is_some_and(|wanted| *first <= wanted) || self.closing.contains(store);
            is_wanted && !self.syncing.contains_key(store)
        };
        let store = self.unsynced.iter().find(is_due).map(|(store, _)| *store)?;
        self.syncing.insert(store, self.answered);
        Some(store)
    }

    /// A store closes, with nothing more to be answered. Returns whether it is on the disk; otherwise it is to be synced.
    pub(crate) fn close(&mut self, store: StoreId) -> bool {
        let is_synced = !self.unsynced.contains_key(&store);
        if is_synced {
            self.forget(store);
        } else {
            self.closing.insert(store);
        }
        is_synced
    }

    /// A store is synced.
    pub(crate) fn handle_synced(&mut self, store: StoreId) {
        let Some(number) = self.syncing.remove(&store) else { return };
        if let Some((first, last)) = self.unsynced.get_mut(&store) {
            if *last <= number {
                self.unsynced.remove(&store);
            } else {
                *first = number + 1;
            }
        }
    }

    /// A store cannot be synced: no bytes that wait may ever go out. Returns the links that lack them, and what else waited.
    pub(crate) fn handle_failure(&mut self, store: StoreId) -> (BTreeSet<LinkId>, Vec<Output>) {
        self.forget(store);
        let mut lacking = BTreeSet::new();
        let mut rest = Vec::new();
        for (_, output) in self.held.drain(..) {
            match output {
                Output::Transmit { link, .. }
                | Output::FinishLink { link }
                | Output::CloseLink { link, .. } => {
                    lacking.insert(link);
                }
                other => rest.push(other),
            }
        }
        (lacking, rest)
    }

    fn forget(&mut self, store: StoreId) {
        self.under_way.remove(&store);
        self.unsynced.remove(&store);
        self.syncing.remove(&store);
        self.closing.remove(&store);
    }

    /// A link is gone, and whatever was to go out on it.
    pub(crate) fn forget_link(&mut self, gone: LinkId) {
        self.held.retain(|(_, output)| !matches!(output, Output::Transmit { link, .. } if *link == gone));
    }
}

/// What stops a store.
pub(crate) fn stop(failure: StorageFailure) -> Outcome {
    // The id of its claim, which stands for the whole store.
    Outcome::CommitFailed { id: CommitId(0), failure }
}
