//! Finds a core in its store, or makes it.
//!
//! Three reads at most: where the core is, what it is, its roots and the bitfield above the contiguous length.
//!
//! Source: hypercore 11.35, `lib/core.js`, `_tryOpen`; hypercore-storage 3.2, `index.js`, `_create`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use crate::compact_encoding::{Decode, Encode};
use crate::crypto::{KeyPair, Node, Secret, discovery_key};
use crate::error::StorageFailure;
use crate::flat_tree;
use crate::id::{DiscoveryKey, PublicKey};
use crate::storage::keys::{self, DataKeys};
use crate::storage::records::{Alias, Auth, CorePointers, Head, Hints, StoreHead, StoredKeyPair};
use crate::storage::{CommitId, Durability, Op, Party, ReadTicket, Store};

use super::bitfield::{BITS_PER_PAGE, Bitfield, unpack_page};
use super::branching::{Branching, Chain};
use super::core::{Core, Parts, first_page, put};
use super::error::CoreError;
use super::layers::Layers;
use super::manifest::Manifest;
use super::merkle_tree::Tree;
use super::v10::Import;

/// Which core to open, and how to make it when it is not there.
///
/// Without key, discovery key and the like the store's first core is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Its key.
    pub key: Option<PublicKey>,
    /// Its discovery key, when the key is not at hand. Never makes a core.
    pub discovery_key: Option<DiscoveryKey>,
    /// Signs it.
    pub key_pair: Option<KeyPair>,
    /// Names who signs it, when the secret is kept somewhere else.
    pub public_key: Option<PublicKey>,
    /// Decides its key.
    pub manifest: Option<Manifest>,
    /// Without a manifest: the public key itself is the key.
    pub is_compat: bool,
    /// Signs and verifies compat cores as very old versions did.
    pub is_legacy: bool,
    /// Makes the core when it is not there.
    pub create_if_missing: bool,
    /// Starts over, dropping what is stored.
    pub overwrite: bool,
    /// Starts over even when another key is stored.
    pub force: bool,
    /// Where a corestore finds a core that is made.
    pub alias: Option<Alias>,
    /// User data of a core that is made.
    pub user_data: Vec<(String, Bytes)>,
    /// The core of a hypercore 10, which is made here unless it is here already. Its blocks come later, by
    /// [`Work::Restore`](super::jobs::Work::Restore).
    pub import: Option<Box<Import>>,
    /// The core is not in the store before [`Question::TakeIn`](crate::corestore::query::Question::TakeIn): until then nobody
    /// finds it who does not ask for it so. The number is the fork of one that is made.
    pub incoming: Option<u64>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            key: None,
            discovery_key: None,
            key_pair: None,
            public_key: None,
            manifest: None,
            is_compat: false,
            is_legacy: false,
            create_if_missing: true,
            overwrite: false,
            force: false,
            alias: None,
            user_data: Vec::new(),
            import: None,
            incoming: None,
        }
    }
}

/// A core being opened.
///
/// Call [`run`](Self::run) at first and whenever storage answered a read that it returned; then
/// [`committed`](Self::committed) for commits of the store.
#[derive(Debug)]
pub struct Opening {
    party: Party,
    options: OpenOptions,
    /// Makes a key pair in case one is needed.
    seed: Secret,
    discovery_key: Option<DiscoveryKey>,
    pub(super) state: State,
    answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) enum State {
    Start,
    /// A branch whose parent is not ready.
    Orphan,
    /// Reads the names of the branches.
    Names(Box<Branching>),
    /// Reads what a branch depends on, and its head at first.
    Chain(Box<Branching>, Chain),
    /// Reads the store head and the core's pointers.
    Pointers,
    /// Reads auth, head and hints.
    Records(CorePointers),
    /// Reads the roots.
    Roots(Parts, Head),
    /// Reads the bitfield from this page on.
    Pages(Parts),
    /// What was made has to become durable first.
    Committing(CommitId, Parts),
    Over,
}

#[derive(Debug)]
pub(super) enum Answer {
    Values(Vec<Option<Bytes>>),
    Entries(Vec<(Bytes, Bytes)>, bool),
}

/// How far opening came.
#[derive(Debug)]
pub enum Progress {
    /// Give the answer to this read or scan, then run again.
    Reading(ReadTicket),
    /// Waits for an answer or a commit.
    Waiting,
    /// The core.
    Opened(Box<Core>),
    /// It cannot be opened.
    Failed(CoreError),
}

impl Opening {
    /// Starts to open a core; `seed` makes its key pair if it needs one, and serves no other purpose.
    pub fn new(party: Party, options: OpenOptions, seed: &[u8; 32]) -> Self {
        let imported = options.import.as_ref().map(|import| import.auth.discovery_key);
        let discovery_key = options.discovery_key.or(options.key.as_ref().map(discovery_key)).or(imported);
        let seed = Secret::from(*seed);
        Self { party, options, seed, discovery_key, state: State::Start, answer: None }
    }

    /// Returns the discovery key, as soon as it is known.
    pub fn discovery_key(&self) -> Option<&DiscoveryKey> {
        self.discovery_key.as_ref()
    }

    /// Takes the values of a read.
    pub fn handle_values(&mut self, values: Vec<Option<Bytes>>) {
        self.answer = Some(Answer::Values(values));
    }

    /// Takes the entries of a scan.
    pub fn handle_entries(&mut self, entries: Vec<(Bytes, Bytes)>, more: bool) {
        self.answer = Some(Answer::Entries(entries, more));
    }

    /// Notes that a commit is durable. Returns the core when that was all it waited for.
    pub fn committed(&mut self, id: CommitId) -> Option<Result<Core, CoreError>> {
        match mem::replace(&mut self.state, State::Over) {
            State::Committing(commit, parts) if commit <= id => Some(Core::new(parts)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Goes on as far as possible.
    pub fn run(&mut self, store: &mut Store) -> Progress {
        self.try_run(store).unwrap_or_else(Progress::Failed)
    }

    fn try_run(&mut self, store: &mut Store) -> Result<Progress, CoreError> {
        let answer = self.answer.take();
        match (mem::replace(&mut self.state, State::Over), answer) {
            (State::Start, _) => {
                self.state = State::Pointers;
                Ok(self.read_pointers(store))
            }
            (State::Pointers, Some(Answer::Values(values))) => self.take_pointers(values, store),
            (State::Records(pointers), Some(Answer::Values(values))) => {
                self.take_records(pointers, &values, store)
            }
            (State::Roots(parts, head), Some(Answer::Values(values))) => {
                self.take_roots(parts, &head, &values, store)
            }
            (State::Pages(parts), Some(Answer::Entries(entries, more))) => {
                self.take_pages(parts, &entries, more, store)
            }
            (State::Names(branch), Some(Answer::Values(values))) => self.take_names(branch, values, store),
            (State::Chain(branch, chain), Some(Answer::Values(values))) => {
                self.take_chain(branch, chain, &values, store)
            }
            (State::Over, _) => Err(CoreError::Closed),
            (state, _) => {
                self.state = state;
                Ok(Progress::Waiting)
            }
        }
    }

    fn read_pointers(&mut self, store: &mut Store) -> Progress {
        let mut wanted = alloc::vec![keys::store_head()];
        wanted.extend(self.discovery_key.as_ref().map(|discovery_key| self.place(discovery_key)));
        Progress::Reading(store.read(wanted))
    }

    /// Returns the key of the pointers.
    fn place(&self, discovery_key: &DiscoveryKey) -> Bytes {
        match self.options.incoming {
            Some(_) => keys::incoming(discovery_key),
            None => keys::core(discovery_key),
        }
    }

    fn take_pointers(
        &mut self,
        values: Vec<Option<Bytes>>,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let mut values = values.into_iter();
        let head = values.next().flatten();
        if store.head.is_none() {
            let head = head.map(|value| StoreHead::from_slice(&value)).transpose();
            store.head = Some(head.map_err(|_| StorageFailure::Corrupted)?.unwrap_or_default());
        }
        if self.discovery_key.is_none() {
            self.discovery_key = store.head.as_ref().and_then(|head| head.default_discovery_key);
            if self.discovery_key.is_some() {
                self.state = State::Pointers;
                return Ok(self.read_pointers(store));
            }
        }
        let Some(record) = values.next().flatten() else { return self.create(None, store) };
        let pointers = CorePointers::from_slice(&record).map_err(|_| StorageFailure::Corrupted)?;
        let data = DataKeys { data: pointers.data };
        let wanted = alloc::vec![
            keys::auth(pointers.core),
            data.head(),
            data.hints(),
            keys::core_group(pointers.core),
        ];
        self.state = State::Records(pointers);
        Ok(Progress::Reading(store.read(wanted)))
    }

    fn take_records(
        &mut self,
        pointers: CorePointers,
        values: &[Option<Bytes>],
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let [auth, head, hints, group] = values else { return Err(StorageFailure::Corrupted.into()) };
        let auth: Auth = decode(auth)?.ok_or(StorageFailure::Missing)?;
        let is_other = self.options.key.is_some_and(|key| key != auth.key);
        if self.options.overwrite || (self.options.force && is_other) {
            return self.create(Some((pointers, auth)), store);
        }
        if is_other {
            return Err(CoreError::StorageConflict("another hypercore is stored here"));
        }
        let hints: Hints = decode(hints)?.unwrap_or_default();
        let head: Option<Head> = decode(head)?;
        let mut parts = self.parts(auth, &pointers, hints, store)?;
        parts.group = decode(group)?;
        parts.head_timestamp = head.as_ref().map_or(0, |head| head.timestamp);
        let Some(head) = head.filter(|head| head.length > 0 || head.fork > 0) else {
            return self.finish(parts);
        };
        Ok(self.read_roots(parts, head, store))
    }

    pub(super) fn read_roots(&mut self, parts: Parts, head: Head, store: &mut Store) -> Progress {
        let roots = flat_tree::full_roots(head.length);
        let wanted: Vec<Bytes> = roots.map(|root| parts.layers.node(root)).collect();
        self.state = State::Roots(parts, head);
        Progress::Reading(store.read(wanted))
    }

    fn take_roots(
        &mut self,
        mut parts: Parts,
        head: &Head,
        values: &[Option<Bytes>],
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let mut roots = Vec::with_capacity(values.len());
        for value in values {
            roots.extend(decode::<Node>(value)?);
        }
        let prologue = parts.tree.prologue;
        if roots.len() < values.len() {
            if parts.branch.is_some() {
                return Err(StorageFailure::Missing.into());
            }
            // What is there can be read; peers have the rest.
            roots.clear();
            parts.lost = Some(head.clone());
        }
        parts.tree = Tree::from_roots(head.fork, head.length, roots, prologue);
        parts.tree.signature.clone_from(&head.signature);
        let in_place = flat_tree::full_roots(head.length).eq(parts.tree.roots.iter().map(|root| root.index));
        if parts.lost.is_none() && (!in_place || parts.tree.tree_hash() != head.root_hash) {
            return Err(StorageFailure::Corrupted.into());
        }
        if parts.branch.is_some() {
            return self.finish(parts);
        }
        let contiguous = parts.hints.contiguous_length.min(head.length);
        parts.hints.contiguous_length = contiguous;
        parts.bitfield.set_range(0, contiguous, true);
        // Nothing is stored beyond a log that is whole.
        if contiguous == head.length {
            return self.finish(parts);
        }
        let page = first_page(contiguous);
        Ok(self.scan_pages(parts, page, store))
    }

    fn scan_pages(&mut self, parts: Parts, page: u64, store: &mut Store) -> Progress {
        let data = parts.layers.own();
        let ticket = store.scan(data.page(page), data.pages_end(), false, PAGES_PER_SCAN);
        self.state = State::Pages(parts);
        Progress::Reading(ticket)
    }

    fn take_pages(
        &mut self,
        mut parts: Parts,
        entries: &[(Bytes, Bytes)],
        more: bool,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let data = parts.layers.own();
        let mut next = 0;
        for (key, value) in entries {
            let index = data.page_index(key).ok_or(StorageFailure::Corrupted)?;
            if index.saturating_mul(BITS_PER_PAGE) < parts.tree.length {
                let page = unpack_page(value).ok_or(StorageFailure::Corrupted)?;
                parts.bitfield.load_page(index, &page);
            }
            next = index + 1;
        }
        if more && next > 0 {
            return Ok(self.scan_pages(parts, next, store));
        }
        self.finish(parts)
    }

    /// Makes a core, in the place of one that is overwritten or in a new one.
    fn create(
        &mut self,
        old: Option<(CorePointers, Auth)>,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let options = &self.options;
        let only_discovery_key =
            options.discovery_key.is_some() && options.key.is_none() && options.manifest.is_none();
        let import = options.import.as_deref().filter(|_| old.is_none());
        if import.is_none() && (!options.create_if_missing || (only_discovery_key && old.is_none())) {
            return Err(CoreError::StorageEmpty);
        }
        let auth = match import {
            Some(import) if self.discovery_key.is_some_and(|key| key != import.auth.discovery_key) => {
                return Err(CoreError::StorageConflict("another hypercore is stored here"));
            }
            Some(import) => import.auth.clone(),
            None => self.new_auth()?,
        };
        self.create_as(auth, old, store)
    }

    /// Decides who a new core is and who signs it.
    fn new_auth(&self) -> Result<Auth, CoreError> {
        let options = &self.options;
        let signing = |pair: KeyPair| StoredKeyPair { public_key: pair.public_key, key_pair: Some(pair) };
        let pair = match (&options.key_pair, options.public_key, options.key) {
            (Some(pair), _, _) => Some(signing(pair.clone())),
            (None, Some(public_key), _) => Some(StoredKeyPair { public_key, key_pair: None }),
            (None, None, Some(_)) => None,
            (None, None, None) => Some(signing(KeyPair::from_seed(&self.seed))),
        };
        let public_key = pair.as_ref().map(|pair| pair.public_key);
        if options.is_compat && options.key.is_some() && public_key.is_some() && options.key != public_key {
            return Err(CoreError::BadArgument("key must be the public key of a compat core"));
        }
        let signer = match (options.key, public_key) {
            (Some(key), Some(public_key)) if key == public_key || options.is_compat => Some(key),
            (Some(key), None) if options.is_compat => Some(key),
            (Some(_), _) => None,
            (None, public_key) => public_key,
        };
        let manifest = options.manifest.clone().or(signer.map(Manifest::single_signer));
        let key = match (options.key, &manifest) {
            (Some(key), _) => key,
            (None, Some(manifest)) if options.is_compat => {
                manifest.signers.first().map(|signer| signer.public_key).ok_or(NO_SIGNER)?
            }
            (None, Some(manifest)) => manifest.key(),
            (None, None) => return Err(NO_SIGNER),
        };
        if manifest.as_ref().is_some_and(|manifest| !manifest.belongs_to(&key)) {
            return Err(CoreError::StorageConflict("manifest does not hash to the key"));
        }
        manifest.as_ref().map_or(Ok(()), Manifest::validate)?;
        Ok(Auth { key, discovery_key: discovery_key(&key), manifest, key_pair: pair, encryption_key: None })
    }

    fn create_as(
        &mut self,
        auth: Auth,
        old: Option<(CorePointers, Auth)>,
        store: &mut Store,
    ) -> Result<Progress, CoreError> {
        let options = &self.options;
        let import = options.import.as_deref().filter(|_| old.is_none());
        let head = store.head.get_or_insert_default();
        let mut ops = Vec::new();
        let pointers = match old {
            Some((pointers, old)) => {
                let data = DataKeys { data: pointers.data };
                ops.push(Op::Delete { key: data.head() });
                ops.push(Op::Delete { key: data.hints() });
                ops.push(Op::DeleteRange { start: data.block(0), end: data.blocks_end() });
                ops.push(Op::DeleteRange { start: data.node(0), end: data.nodes_end() });
                ops.push(Op::DeleteRange { start: data.page(0), end: data.pages_end() });
                if old.discovery_key != auth.discovery_key {
                    ops.push(Op::Delete { key: self.place(&old.discovery_key) });
                }
                if head.default_discovery_key == Some(old.discovery_key) {
                    head.default_discovery_key = None;
                }
                pointers
            }
            None => {
                let alias = options.alias.clone().or_else(|| import.and_then(Import::alias));
                let pointers = CorePointers { core: head.cores, data: head.datas, alias };
                head.cores += 1;
                head.datas += 1;
                pointers
            }
        };
        if options.incoming.is_none() {
            head.default_discovery_key.get_or_insert(auth.discovery_key);
        }
        ops.push(put(keys::store_head(), head.to_vec()));
        ops.push(put(self.place(&auth.discovery_key), pointers.to_vec()));
        if let Some(alias) = pointers.alias.as_ref().filter(|_| options.incoming.is_none()) {
            ops.push(put(keys::alias(&alias.namespace, &alias.name), auth.discovery_key.to_vec()));
        }
        ops.push(put(keys::auth(pointers.core), auth.to_vec()));
        let data = DataKeys { data: pointers.data };
        for (name, value) in &options.user_data {
            ops.push(Op::Put { key: data.user_data(name), value: value.clone() });
        }
        let tree = import.map(|import| import.tree().clone());
        if let Some(import) = import {
            let Tree { fork, length, signature, .. } = import.tree().clone();
            let head = Head { fork, length, root_hash: import.tree().tree_hash(), signature, timestamp: 0 };
            if length > 0 || fork > 0 {
                ops.push(put(data.head(), head.to_vec()));
            }
            ops.extend(import.nodes().map(|node| put(data.node(node.index), node.to_vec())));
            let user_data = import.user_data.iter().filter(|(name, _)| !import.is_alias(name));
            ops.extend(user_data.map(|(name, value)| put(data.user_data(name), value.to_vec())));
        }
        let fork = options.incoming.unwrap_or(0);
        self.discovery_key = Some(auth.discovery_key);
        let mut parts = self.parts(auth, &pointers, Hints::default(), store)?;
        parts.tree = tree.unwrap_or(parts.tree);
        if fork > 0 {
            parts.tree = Tree::empty(fork, parts.tree.prologue);
            let root_hash = parts.tree.tree_hash();
            let head = Head { fork, length: 0, root_hash, signature: None, timestamp: 0 };
            ops.push(put(data.head(), head.to_vec()));
        }
        let commit = store.stage(self.party, ops, Durability::Strict);
        self.state = State::Committing(commit, parts);
        Ok(Progress::Waiting)
    }

    /// Puts together what is known, and checks it against what was asked for.
    fn parts(
        &mut self,
        mut auth: Auth,
        pointers: &CorePointers,
        hints: Hints,
        store: &mut Store,
    ) -> Result<Parts, CoreError> {
        if let Some(manifest) = &self.options.manifest {
            if !manifest.belongs_to(&auth.key) {
                return Err(CoreError::StorageConflict("manifest does not hash to the key"));
            }
            manifest.validate()?;
            if auth.manifest.is_none() {
                auth.manifest = Some(manifest.clone());
                let op = put(keys::auth(pointers.core), auth.to_vec());
                store.stage(self.party, [op], Durability::Relaxed);
            }
        }
        if auth.key_pair.as_ref().is_none_or(|pair| pair.key_pair.is_none())
            && let Some(pair) = &self.options.key_pair
        {
            auth.key_pair = Some(StoredKeyPair { public_key: pair.public_key, key_pair: Some(pair.clone()) });
        }
        let is_compat = match &auth.manifest {
            Some(manifest) => manifest.is_compat(&auth.key),
            None => self.options.is_compat,
        };
        let prologue = auth.manifest.as_ref().and_then(|manifest| manifest.prologue);
        Ok(Parts {
            party: self.party,
            core_pointer: pointers.core,
            layers: Layers::new(pointers.data),
            branch: None,
            group: None,
            head_timestamp: 0,
            lost: None,
            tree: Tree::empty(0, prologue),
            bitfield: Bitfield::new(),
            hints,
            is_compat,
            is_legacy: self.options.is_legacy,
            auth,
        })
    }

    pub(super) fn finish(&mut self, parts: Parts) -> Result<Progress, CoreError> {
        self.discovery_key = Some(parts.auth.discovery_key);
        Ok(Progress::Opened(Box::new(Core::new(parts)?)))
    }
}

pub(crate) fn decode<'a, T: Decode<'a>>(value: &'a Option<Bytes>) -> Result<Option<T>, StorageFailure> {
    value.as_ref().map(|value| T::from_slice(value)).transpose().map_err(|_| StorageFailure::Corrupted)
}

const NO_SIGNER: CoreError = CoreError::BadArgument("no key, key pair or manifest to sign with");

/// A page is 4 KiB, so one scan is 1 MiB and covers 8 million blocks.
const PAGES_PER_SCAN: u32 = 256;
