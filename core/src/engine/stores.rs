//! Questions about stores, from command to answer.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::corestore::query::{Answer, Found, Query, Question, Step};
use crate::storage::{CommitId, Party, StorageFailure, StoreId};

use super::Engine;
use super::cores::Reader;
use super::types::{Error, RequestId, Response};

impl Engine {
    /// Asks something about a store. Answered with [`Response::Store`].
    pub fn ask_store(&mut self, store: StoreId, question: Question) -> RequestId {
        let request = self.next_request();
        if let Question::Forget(discovery_key) = &question
            && self.has_core(store, discovery_key)
        {
            self.answer(request, Err(Error::InvalidOperation("the core is open")));
            return request;
        }
        match self.stores.get_mut(&store) {
            Some(entry) => {
                entry.queries.insert(request, Query::new(question));
                self.run_query(store, request, None);
            }
            None => self.answer(request, Err(Error::Closed)),
        }
        request
    }

    /// Lets a query go on with what was read for it.
    pub(super) fn run_query(&mut self, store: StoreId, request: RequestId, found: Option<Found>) {
        let Some(entry) = self.stores.get_mut(&store) else { return };
        let Some(query) = entry.queries.get_mut(&request) else { return };
        // Names of stores and of cores are never the same.
        match query.run(found, Party(store.0), &mut entry.machine) {
            Ok(Step::Reading(ticket)) => {
                entry.reads.insert(ticket, Reader::Query(request));
            }
            Ok(Step::Committing) => {}
            Ok(Step::Done(answer)) => {
                entry.queries.remove(&request);
                self.answer_store(request, answer);
            }
            Err(failure) => self.fail_query(store, request, failure),
        }
        self.dirty_stores.insert(store);
    }

    /// Answers the queries that waited for a commit.
    pub(super) fn queries_committed(&mut self, store: StoreId, commit: CommitId) {
        let Some(entry) = self.stores.get_mut(&store) else { return };
        let answered = |(request, query): (&RequestId, &Query)| {
            query.committed(commit).map(|answer| (*request, answer.clone()))
        };
        let answers: Vec<(RequestId, Answer)> = entry.queries.iter().filter_map(answered).collect();
        entry.queries.retain(|_, query| query.committed(commit).is_none());
        for (request, answer) in answers {
            self.answer_store(request, answer);
        }
    }

    pub(super) fn fail_query(&mut self, store: StoreId, request: RequestId, failure: StorageFailure) {
        if self.stores.get_mut(&store).and_then(|entry| entry.queries.remove(&request)).is_some() {
            self.answer(request, Err(failure.into()));
        }
    }

    /// Fails every query about a store that stopped or is gone.
    pub(super) fn fail_queries(&mut self, store: StoreId, failure: StorageFailure) {
        let Some(entry) = self.stores.get_mut(&store) else { return };
        for (request, _) in core::mem::take(&mut entry.queries) {
            self.answer(request, Err(failure.into()));
        }
    }

    fn answer_store(&mut self, request: RequestId, answer: Answer) {
        self.answer(request, Ok(Response::Store(Box::new(answer))));
    }
}
