//! What a store says, for the cores in it; and what it is to do.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::corestore::query::Found;
use crate::storage::{CommitId, Party, StorageFailure, StoreEvent, StoreId};
use crate::time::Instant;

use super::super::types::{CoreId, Event, Response};
use super::super::{Engine, Output};
use super::{CoreState, Reader};

impl Engine {
    /// Hands the answers of a store to the cores they belong to.
    pub(in super::super) fn handle_store_events(&mut self, id: StoreId, now: Instant) {
        self.dirty_stores.insert(id);
        while let Some(store) = self.stores.get_mut(&id)
            && let Some(event) = store.machine.poll_event()
        {
            match event {
                StoreEvent::Values { ticket, values } => {
                    let core = match store.reads.remove(&ticket) {
                        Some(Reader::Core(core)) => core,
                        Some(Reader::Block { core, request, cuts }) => {
                            let block = values.into_iter().next().flatten();
                            self.block_read(core, request, cuts, Ok(block));
                            continue;
                        }
                        Some(Reader::Atom(atom)) => {
                            self.handle_atom_values(atom, ticket, Ok(values));
                            continue;
                        }
                        Some(Reader::Query(request)) => {
                            self.run_query(id, request, Some(Found::Values(values)));
                            continue;
                        }
                        Some(Reader::UserData(..) | Reader::Locals(..)) | None => continue,
                    };
                    self.dirty_cores.insert(core);
                    match self.cores.get_mut(&core).map(|entry| &mut entry.state) {
                        Some(CoreState::Open(core)) => core.handle_values(ticket, values),
                        Some(CoreState::Opening(opening)) => opening.handle_values(values),
                        None => {}
                    }
                }
                StoreEvent::Entries { ticket, entries, more } => {
                    let core = match store.reads.remove(&ticket) {
                        Some(Reader::Core(core)) => core,
                        Some(Reader::Atom(atom)) => {
                            self.handle_atom_entries(atom, ticket, entries, more);
                            continue;
                        }
                        Some(Reader::Query(request)) => {
                            self.run_query(id, request, Some(Found::Entries(entries, more)));
                            continue;
                        }
                        Some(Reader::UserData(request, keys)) => {
                            let named =
                                |(key, value): (Bytes, Bytes)| Some((keys.user_data_name(&key)?, value));
                            let entries = entries.into_iter().filter_map(named).collect();
                            self.answer(request, Ok(Response::UserDataList { entries, more }));
                            continue;
                        }
                        Some(Reader::Locals(request, keys)) => {
                            let named = |(key, value): (Bytes, Bytes)| Some((keys.local_name(&key)?, value));
                            let entries = entries.into_iter().filter_map(named).collect();
                            self.answer(request, Ok(Response::Locals { entries, more }));
                            continue;
                        }
                        _ => continue,
                    };
                    self.dirty_cores.insert(core);
                    if let Some(CoreState::Opening(opening)) =
                        self.cores.get_mut(&core).map(|entry| &mut entry.state)
                    {
                        opening.handle_entries(entries, more);
                    }
                }
                StoreEvent::ReadFailed { ticket, failure } => {
                    let core = match store.reads.remove(&ticket) {
                        Some(Reader::Core(core)) => core,
                        Some(Reader::Block { core, request, cuts }) => {
                            self.block_read(core, request, cuts, Err(failure));
                            continue;
                        }
                        Some(Reader::Atom(atom)) => {
                            self.handle_atom_values(atom, ticket, Err(failure));
                            continue;
                        }
                        Some(Reader::Query(request)) => {
                            self.fail_query(id, request, failure);
                            continue;
                        }
                        Some(Reader::UserData(request, _) | Reader::Locals(request, _)) => {
                            self.answer(request, Err(failure.into()));
                            continue;
                        }
                        None => continue,
                    };
                    self.dirty_cores.insert(core);
                    match self.cores.get_mut(&core).map(|entry| &mut entry.state) {
                        Some(CoreState::Open(core)) => core.handle_read_failure(ticket, failure),
                        Some(CoreState::Opening(_)) => self.abandon_core(core, failure.into(), now),
                        None => {}
                    }
                }
                StoreEvent::Committed(commit) => self.store_committed(id, commit, now),
                StoreEvent::Stopped(failure) => self.store_stopped(id, failure, now),
            }
        }
    }

    fn store_committed(&mut self, id: StoreId, commit: CommitId, now: Instant) {
        let Some(store) = self.stores.get_mut(&id) else { return };
        for Party(party) in core::mem::take(&mut store.sealed) {
            let core = CoreId(party);
            self.dirty_cores.insert(core);
            let opened = match self.cores.get_mut(&core).map(|entry| &mut entry.state) {
                Some(CoreState::Open(core)) => {
                    core.committed(commit);
                    None
                }
                Some(CoreState::Opening(opening)) => opening.committed(commit),
                None => None,
            };
            match opened {
                Some(Ok(opened)) => self.core_opened(core, Box::new(opened), now),
                Some(Err(error)) => self.abandon_core(core, error, now),
                None => {}
            }
        }
        self.queries_committed(id, commit);
        if self.stores.get_mut(&id).is_some_and(|store| store.machine.take_refusal()) {
            // Those who found no room have some again.
            let waiting = self.cores.iter().filter(|(_, entry)| entry.store == id && !entry.jobs.is_empty());
            self.dirty_cores.extend(waiting.map(|(core, _)| *core));
        }
    }

    fn store_stopped(&mut self, id: StoreId, failure: StorageFailure, now: Instant) {
        self.emit(Event::StoreFailed { store: id, failure });
        self.fail_queries(id, failure);
        let cores: Vec<CoreId> =
            self.cores.iter().filter(|(_, entry)| entry.store == id).map(|(core, _)| *core).collect();
        for core in cores {
            self.dirty_cores.insert(core);
            match self.cores.get_mut(&core).map(|entry| &mut entry.state) {
                Some(CoreState::Open(open)) => open.stop(failure),
                Some(CoreState::Opening(_)) => self.abandon_core(core, failure.into(), now),
                None => {}
            }
        }
    }

    /// Starts a commit if one can start, and asks the host for everything that is wanted.
    pub(in super::super) fn drive_store(&mut self, id: StoreId, now: Instant) {
        let timestamp = self.unix_millis(now);
        let Some(store) = self.stores.get_mut(&id) else { return };
        if !self.holds_commits
            && let Some(parties) = store.machine.to_seal()
        {
            for Party(party) in &parties {
                if let Some(CoreState::Open(core)) =
                    self.cores.get_mut(&CoreId(*party)).map(|entry| &mut entry.state)
                {
                    core.seal(&mut store.machine, timestamp);
                }
            }
            store.sealed = parties;
            store.machine.seal();
        }
        while let Some(store) = self.stores.get_mut(&id)
            && let Some(intent) = store.machine.poll_intent()
        {
            match store.atom {
                Some(_) => self.handle_atom_intent(id, intent),
                None => self.outputs.push_back(Output::Storage { store: id, intent }),
            }
        }
        self.handle_store_events(id, now);
        if self.dirty_cores.is_empty() {
            // Nothing was answered at once, so nothing new can be wanted.
            self.dirty_stores.remove(&id);
        }
    }
}
