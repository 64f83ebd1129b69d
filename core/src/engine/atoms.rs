//! Atoms: stores in memory over another store, whose writes reach it all at once.
//!
//! A core of an atom is a second core over the same log. It signs, reads and cuts as any other, but its store is the
//! atom, which answers every commit at once. Flushing hands the state of each such core to the first one, and all
//! that was written to one commit.
//!
//! Source: hypercore-storage 3.2, `index.js`, `Atom`; hypercore 11.35, `lib/session-state.js`, `_commit`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::hypercore::bitfield::BitChange;
use crate::hypercore::branch::{Base, Change, Tally};
use crate::hypercore::core::Core;
use crate::hypercore::jobs::{CoreEvent, Extent};
use crate::storage::{Intent, Op, Outcome, Picture, ReadId, ReadTicket, StorageFailure, StoreId, View};

use super::Engine;
use super::cores::{CoreEntry, Reader, StoreEntry};
use super::types::{CoreId, Error, Event};

/// What makes a store an atom.
#[derive(Debug)]
pub(super) struct Atom {
    pub(super) parent: StoreId,
    view: View,
    reads: BTreeMap<ReadTicket, Merging>,
    scans: BTreeMap<ReadTicket, Scanning>,
    /// A core with changes is gone, so they cannot be handed over.
    is_broken: bool,
}

/// A read that waits for the store below, and what the atom knows of it.
#[derive(Debug)]
struct Merging {
    read: ReadId,
    known: Vec<Option<Option<Bytes>>>,
}

/// A scan that waits for the store below, and what the atom knows of its keys.
#[derive(Debug)]
struct Scanning {
    scan: ReadId,
    picture: Picture,
    reverse: bool,
    limit: u32,
}

impl Atom {
    /// Returns what it holds.
    pub(super) fn contents(&self) -> View {
        self.view.snapshot()
    }
}

/// What makes a core the second one over its log.
#[derive(Debug)]
pub(super) struct Twin {
    /// The first one.
    pub(super) parent: CoreId,
    /// What it started from.
    base: Base,
    /// Blocks gained and dropped since then, in order.
    bits: Vec<BitChange>,
    /// The shortest that it was cut to since then.
    cut: Option<u64>,
    tally: Option<Tally>,
    is_changed: bool,
}

impl Twin {
    pub(super) fn new(parent: CoreId, base: Base) -> Self {
        Self { parent, base, bits: Vec::new(), cut: None, tally: None, is_changed: false }
    }

    /// Takes note that there is something to hand over.
    pub(super) fn note_change(&mut self) {
        self.is_changed = true;
    }

    /// Takes note of what the core did.
    pub(super) fn note(&mut self, event: &CoreEvent) {
        let (start, end, value) = match *event {
            CoreEvent::Appended { start, length, .. } => {
                Tally::count_appends(&mut self.tally, start, length);
                (start, start.saturating_add(length), true)
            }
            CoreEvent::Gained { start, length } => (start, start.saturating_add(length), true),
            CoreEvent::Truncated { ancestors, old_length, .. } => {
                self.cut = Some(self.cut.map_or(ancestors, |cut| cut.min(ancestors)));
                Tally::count_cut(&mut self.tally, ancestors);
                (ancestors, old_length, false)
            }
            CoreEvent::Dropped { start, length } => (start, start.saturating_add(length), false),
            CoreEvent::Manifest { .. } | CoreEvent::Upgraded(_) => return self.is_changed = true,
            _ => return,
        };
        self.is_changed = true;
        match self.bits.last_mut() {
            Some(last) if last.value == value && last.end == start => last.end = end,
            _ => self.bits.push(BitChange { start, end, value }),
        }
    }
}

impl Engine {
    /// Adds an atom over a store: a store in memory, for cores opened by [`open_atomic`](Self::open_atomic). It is
    /// closed as a store, and what was not flushed is gone.
    pub fn create_atom(&mut self, parent: StoreId) -> StoreId {
        let id = self.create_store();
        let view = View::default();
        let atom = Atom { parent, view, reads: BTreeMap::new(), scans: BTreeMap::new(), is_broken: false };
        if let Some(entry) = self.stores.get_mut(&id) {
            entry.atom = Some(atom);
        }
        id
    }

    /// Carries out what an atom's own machine wants.
    pub(super) fn handle_atom_intent(&mut self, id: StoreId, intent: Intent) {
        let Some(StoreEntry { machine, atom: Some(atom), .. }) = self.stores.get_mut(&id) else { return };
        match intent {
            Intent::Commit { id, batch, .. } => {
                atom.view.apply(batch);
                machine.handle_outcome(Outcome::Committed(id));
            }
            // Nobody else sees it.
            Intent::Claim { id, .. } => machine.handle_outcome(Outcome::Committed(id)),
            Intent::Scan { id: scan, start, end, reverse, limit } => {
                let picture = atom.view.picture(&start, &end);
                let parent = atom.parent;
                match self.stores.get_mut(&parent) {
                    Some(below) => {
                        let ticket = below.machine.scan(start, end, reverse, limit);
                        below.reads.insert(ticket, Reader::Atom(id));
                        self.dirty_stores.insert(parent);
                        if let Some(StoreEntry { atom: Some(atom), .. }) = self.stores.get_mut(&id) {
                            atom.scans.insert(ticket, Scanning { scan, picture, reverse, limit });
                        }
                    }
                    None => self.fail_atom_read(id, scan),
                }
            }
            Intent::Read { id: read, keys } => {
                let values: Vec<_> = keys.iter().map(|key| atom.view.get(key)).collect();
                let unknown = keys.iter().zip(&values).filter(|(_, value)| value.is_none());
                let unknown: Vec<Bytes> = unknown.map(|(key, _)| key.clone()).collect();
                if unknown.is_empty() {
                    let values = values.into_iter().map(Option::flatten).collect();
                    machine.handle_outcome(Outcome::Read { id: read, values });
                    return;
                }
                let parent = atom.parent;
                let Some(below) = self.stores.get_mut(&parent) else {
                    return self.fail_atom_read(id, read);
                };
                let ticket = below.machine.read(unknown);
                below.reads.insert(ticket, Reader::Atom(id));
                self.dirty_stores.insert(parent);
                if let Some(StoreEntry { atom: Some(atom), .. }) = self.stores.get_mut(&id) {
                    atom.reads.insert(ticket, Merging { read, known: values });
                }
            }
        }
    }

    fn fail_atom_read(&mut self, atom: StoreId, read: ReadId) {
        if let Some(entry) = self.stores.get_mut(&atom) {
            entry.machine.handle_outcome(Outcome::ReadFailed { id: read, failure: StorageFailure::Missing });
        }
    }

    /// Takes what the store below an atom answered to a scan.
    pub(super) fn handle_atom_entries(
        &mut self,
        id: StoreId,
        ticket: ReadTicket,
        entries: Vec<(Bytes, Bytes)>,
        more: bool,
    ) {
        self.dirty_stores.insert(id);
        let Some(StoreEntry { machine, atom: Some(atom), .. }) = self.stores.get_mut(&id) else { return };
        let Some(Scanning { scan, picture, reverse, limit }) = atom.scans.remove(&ticket) else { return };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (entries, more) = picture.merge(entries, more, reverse, limit);
        machine.handle_outcome(Outcome::Scan { id: scan, entries, more });
    }

    /// Takes what the store below an atom answered.
    pub(super) fn handle_atom_values(
        &mut self,
        id: StoreId,
        ticket: ReadTicket,
        result: Result<Vec<Option<Bytes>>, StorageFailure>,
    ) {
        self.dirty_stores.insert(id);
        let Some(StoreEntry { machine, atom: Some(atom), .. }) = self.stores.get_mut(&id) else { return };
        if let Some(Scanning { scan, .. }) = atom.scans.remove(&ticket) {
            let failure = result.err().unwrap_or(StorageFailure::Corrupted);
            return machine.handle_outcome(Outcome::ReadFailed { id: scan, failure });
        }
        let Some(Merging { read, known }) = atom.reads.remove(&ticket) else { return };
        machine.handle_outcome(match result {
            Ok(values) => {
                let mut values = values.into_iter();
                let merged = known.into_iter().map(|value| value.unwrap_or_else(|| values.next().flatten()));
                Outcome::Read { id: read, values: merged.collect() }
            }
            Err(failure) => Outcome::ReadFailed { id: read, failure },
        });
    }

    /// Notes that a core of an atom is gone.
    pub(super) fn twin_closed(&mut self, entry: &CoreEntry) {
        if entry.twin.as_ref().is_some_and(|twin| twin.is_changed)
            && let Some(StoreEntry { atom: Some(atom), .. }) = self.stores.get_mut(&entry.store)
        {
            atom.is_broken = true;
        }
    }

    /// Returns the cores of an atom, each with the one it stands for.
    pub(super) fn twins(&self, atom: StoreId) -> Vec<(CoreId, CoreId)> {
        let twins = self.cores.iter().filter(|(_, entry)| entry.store == atom);
        twins.filter_map(|(id, entry)| Some((*id, entry.twin.as_ref()?.parent))).collect()
    }

    /// Returns the logs that an atom cuts, and where; also those that have grown meanwhile.
    pub(super) fn cuts(&self, atom: StoreId) -> Vec<(CoreId, u64)> {
        let twins = self.cores.values().filter(|entry| entry.store == atom);
        let twins = twins.filter_map(|entry| entry.twin.as_ref());
        let cut = |twin: &Twin| {
            let log = self.cores.get(&twin.parent).and_then(CoreEntry::open);
            let grown = log.filter(|log| twin.is_changed && log.has_grown_from(&twin.base));
            let cut = twin.cut.into_iter().chain(grown.map(|_| twin.base.tree.length)).min()?;
            Some((twin.parent, cut))
        };
        twins.filter_map(cut).collect()
    }

    /// Hands over what an atom holds; all cores concerned are held. Returns the cores that have to commit.
    pub(super) fn hand_over(&mut self, id: StoreId) -> Result<Vec<CoreId>, Error> {
        let Some(StoreEntry { atom: Some(atom), .. }) = self.stores.get(&id) else {
            return Err(Error::Closed);
        };
        if atom.is_broken {
            return Err(Error::InvalidOperation("a session of the atom was closed before it was flushed"));
        }
        let store = atom.parent;
        let (changed, unchanged): (Vec<(CoreId, CoreId)>, Vec<_>) =
            self.twins(id).into_iter().partition(|(twin, _)| {
                self.cores.get(twin).and_then(|entry| entry.twin.as_ref()).is_some_and(|twin| twin.is_changed)
            });
        let mut silent: Vec<CoreId> = unchanged.into_iter().map(|(_, parent)| parent).collect();
        for (twin, parent) in &changed {
            let base = self.cores.get(twin).and_then(|entry| entry.twin.as_ref()).map(|twin| &twin.base);
            let parent = self.cores.get(parent).and_then(CoreEntry::open).ok_or(Error::Closed)?;
            if !base.is_some_and(|base| parent.is_at(base) || parent.has_grown_from(base)) {
                return Err(Error::InvalidOperation("the log changed while the atom was open"));
            }
        }

        let Some(StoreEntry { atom: Some(atom), .. }) = self.stores.get_mut(&id) else {
            return Err(Error::Closed);
        };
        let mut ops = atom.view.take();
        let parents: Vec<CoreId> = changed.iter().map(|(_, parent)| *parent).collect();
        for parent in &parents {
            if let Some(core) = self.cores.get(parent).and_then(CoreEntry::open) {
                ops.retain(|op| !matches!(op, Op::Put { key, .. } if core.is_sealed_key(key)));
            }
        }
        let holder = parents.first().copied().or_else(|| Some(self.twins(id).first()?.1));
        for (id_of_twin, parent) in &changed {
            let Some(entry) = self.cores.get_mut(id_of_twin) else { continue };
            let (Some(state), Some(twin)) = (entry.open().map(Core::state), entry.twin.as_mut()) else {
                continue;
            };
            let bits = core::mem::take(&mut twin.bits);
            let tally = twin.tally.take();
            let mut change = Change { state, bits, cut: twin.cut.take(), tally, signer: None };
            twin.is_changed = false;
            let base = twin.base.clone();
            let Some(below) = self.stores.get_mut(&store) else { continue };
            let Some((open, _)) = self.cores.get_mut(parent).and_then(CoreEntry::parts) else { continue };
            // What came to the log meanwhile is in nobody's way: as upstream, the atom has the last word.
            if !open.is_at(&base) {
                open.give_way(&base.tree, &mut change, &mut below.machine);
            }
            let old_length = open.tree().length;
            if !open.is_branch()
                && change.cut.is_none_or(|cut| cut >= old_length)
                && change.state.tree.length == old_length
            {
                silent.push(*parent);
            }
            open.adopt(change, &mut below.machine);
            let base = open.base();
            let Some(entry) = self.cores.get_mut(id_of_twin) else { continue };
            if let Some((open, _)) = entry.parts() {
                open.seen_up_to(base.tree.length);
                open.follow(base.tree.fork);
            }
            if let Some(twin) = &mut entry.twin {
                twin.base = base;
            }
        }
        let Some(below) = self.stores.get_mut(&store) else { return Err(Error::Closed) };
        if let Some((open, _)) = holder.and_then(|core| self.cores.get_mut(&core)).and_then(CoreEntry::parts)
        {
            open.stage_ops(ops, &mut below.machine);
        }
        // As upstream, every log of the atom tells of the flush, whether there is more of it or not.
        for core in silent {
            let Some(open) = self.cores.get(&core).and_then(CoreEntry::open) else { continue };
            let head = Extent::from(open.tree());
            self.emit(Event::CoreAppend { core, head });
        }
        self.dirty_stores.insert(store);
        self.dirty_cores.extend(holder);
        self.dirty_cores.extend(&parents);
        Ok(holder.into_iter().chain(parents).collect())
    }
}
