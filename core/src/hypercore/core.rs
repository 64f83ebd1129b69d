//! One log and the storage behind it.
//!
//! Two heads exist. The *tip* counts everything staged; jobs that write build on it. The durable head is what
//! getters, proofs and peers see. A commit moves the second up to the first. So many appends share one commit, one
//! signature and one bitfield page, and nothing is announced that a crash could take back.
//!
//! A cut (truncation or reorg) is alone in its commit, and jobs wait for it: no job ever sees half of two histories.
//!
//! Source: hypercore 11.35, `lib/core.js` and `lib/session-state.js`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::compact_encoding::Encode;
use crate::crypto::KeyPair;
use crate::error::StorageFailure;
use crate::flat_tree;
use crate::id::{DiscoveryKey, Hash, PublicKey};
use crate::storage::keys::{self, DataKeys};
use crate::storage::records::{Auth, GroupPointer, Head, Hints, StoredKeyPair};
use crate::storage::{CommitId, Durability, Op, Party, ReadTicket, Store};

use super::bitfield::{BITS_PER_PAGE, BitChange, Bitfield};
use super::encryption::{BlockEncryption, KeyMode};
use super::error::CoreError;
use super::guard::Guard;
use super::jobs::{CoreEvent, EncryptionKey, JobId, Value};
use super::layers::Layers;
use super::manifest::Manifest;
use super::merkle_tree::Tree;
use super::nodes::{NodeCache, Nodes, ReadSet};
use super::reorg::Reorg;
use super::retained::Retained;
use super::upkeep::Marks;
use super::verifier::Verifier;
use super::verify::Identity;

mod running;
mod sealing;

use running::Job;

/// One log.
///
/// After [`submit`](Self::submit), or when storage answered, call [`run`](Self::run), then drain
/// [`poll_event`](Self::poll_event). When the store asks its parties to seal, call [`seal`](Self::seal).
#[derive(Debug)]
pub struct Core {
    party: Party,
    auth: Auth,
    core_pointer: u64,
    /// What is written.
    pub(super) keys: DataKeys,
    /// What is read.
    pub(super) layers: Layers,
    /// The name, if this is a branch: unsigned, and written by whoever opens it.
    branch: Option<String>,
    /// Where it is noted that the log changed.
    pub(super) group: Option<GroupPointer>,
    /// When the stored head was made, in milliseconds of Unix time.
    pub(super) head_timestamp: u64,
    /// A second core over a log: what lies beyond this length nobody has seen, so no fork is needed to cut it.
    pub(super) unseen_from: Option<u64>,
    /// The stored head, when its roots are not stored: nothing can be written before they are repaired.
    pub(super) lost: Option<Head>,
    /// Somebody needs the log as it is: jobs that write wait.
    is_held: bool,
    /// Whether the host is asked before the log grows because of a peer.
    pub(super) guard: Guard,
    verifier: Option<Verifier>,
    is_legacy: bool,
    is_compat: bool,
    is_frozen: bool,
    is_closing: bool,
    /// Why the store stopped.
    stopped: Option<StorageFailure>,

    /// The durable head.
    pub(super) tree: Tree,
    /// Durable blocks.
    pub(super) bitfield: Bitfield,
    hints: Hints,
    /// The hints changed and no commit holds them.
    has_new_hints: bool,

    /// The staged head.
    pub(super) tip: Tree,
    /// Signs the tip when its group is sealed.
    pub(super) signer: Option<KeyPair>,
    pub(super) open: Staged,
    in_flight: Option<Staged>,
    /// A cut is staged and not durable.
    pub(super) is_cutting: bool,
    /// Counts cuts: what was read before one is worthless after it.
    epoch: u64,
    /// How often it was cut.
    pub(super) cuts: u64,

    pub(super) cache: NodeCache,
    pub(super) reorgs: BTreeMap<u64, Reorg>,
    snapshots: BTreeMap<u32, Snapshot>,
    pub(super) retained: Retained,
    pub(super) marks: Marks,
    encryption: Option<(EncryptionKey, BlockEncryption)>,

    next_job: u64,
    jobs: BTreeMap<JobId, Job>,
    /// Jobs that write locally, in order. The first one runs.
    ordered: VecDeque<JobId>,
    /// Other jobs that can run.
    ready: VecDeque<JobId>,
    /// Jobs that wait for a commit.
    parked: Vec<JobId>,
    reads: BTreeMap<ReadTicket, JobId>,
    events: VecDeque<CoreEvent>,
}

/// A fixed view of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Blocks.
    pub length: u64,
    /// How often the log had been truncated.
    pub fork: u64,
    /// Stored bytes.
    pub byte_length: u64,
    /// Blocks that the live log still shares with it.
    pub compat_length: u64,
    /// Hash of the tree.
    pub tree_hash: Hash,
}

/// What one commit changes.
#[derive(Debug, Default)]
pub(super) struct Staged {
    commit: Option<CommitId>,
    /// The head after it; set when it is sealed.
    tree: Option<Tree>,
    hints: Option<Hints>,
    pub(super) has_head: bool,
    pub(super) bits: Vec<BitChange>,
    pub(super) events: Vec<CoreEvent>,
    results: Vec<(JobId, Value)>,
}

/// How far a job came.
pub(super) enum Step {
    Done(Value),
    /// The value holds once the open group is durable.
    Staged(Value),
    Failed(CoreError),
    /// These have to be read first.
    Read(Vec<Bytes>),
    /// A commit has to end first.
    Park,
}

/// What opening a core found or made.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) party: Party,
    pub(super) auth: Auth,
    pub(super) core_pointer: u64,
    pub(super) layers: Layers,
    pub(super) branch: Option<String>,
    pub(super) group: Option<GroupPointer>,
    pub(super) head_timestamp: u64,
    pub(super) lost: Option<Head>,
    pub(super) tree: Tree,
    pub(super) bitfield: Bitfield,
    pub(super) hints: Hints,
    pub(super) is_compat: bool,
    pub(super) is_legacy: bool,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Result<Self, CoreError> {
        let Parts {
            party,
            auth,
            core_pointer,
            layers,
            branch,
            group,
            head_timestamp,
            lost,
            tree,
            bitfield,
            mut hints,
            is_compat,
            is_legacy,
        } = parts;
        if branch.is_none() {
            hints.contiguous_length = bitfield.contiguous_length(hints.contiguous_length);
        }
        let mut core = Self {
            party,
            auth,
            core_pointer,
            keys: layers.own(),
            layers,
            branch,
            group,
            head_timestamp,
            unseen_from: None,
            lost,
            is_held: false,
            guard: Guard::default(),
            verifier: None,
            is_legacy,
            is_compat,
            is_frozen: false,
            is_closing: false,
            stopped: None,
            tip: tree.clone(),
            tree,
            bitfield,
            hints,
            has_new_hints: false,
            signer: None,
            open: Staged::default(),
            in_flight: None,
            is_cutting: false,
            epoch: 0,
            cuts: 0,
            cache: NodeCache::default(),
            reorgs: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            retained: Retained::default(),
            marks: Marks::default(),
            encryption: None,
            next_job: 1,
            jobs: BTreeMap::new(),
            ordered: VecDeque::new(),
            ready: VecDeque::new(),
            parked: Vec::new(),
            reads: BTreeMap::new(),
            events: VecDeque::new(),
        };
        core.prepare_verifier()?;
        Ok(core)
    }

    /// Returns the core's key.
    pub fn key(&self) -> &PublicKey {
        &self.auth.key
    }

    /// Returns the core's discovery key.
    pub fn discovery_key(&self) -> &DiscoveryKey {
        &self.auth.discovery_key
    }

    /// Returns the manifest, once known.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.auth.manifest.as_ref()
    }

    /// Returns what proofs of peers are verified against.
    pub fn identity(&self) -> Identity<'_> {
        Identity { key: self.key(), manifest: self.manifest(), is_legacy: self.is_legacy }
    }

    /// Returns who signs, as it is stored: without the secret when that is kept somewhere else.
    pub fn stored_key_pair(&self) -> Option<&StoredKeyPair> {
        self.auth.key_pair.as_ref()
    }

    /// Returns the key pair that signs here, if there is one.
    pub fn key_pair(&self) -> Option<&KeyPair> {
        self.auth.key_pair.as_ref()?.key_pair.as_ref()
    }

    /// Returns whether the key itself signs.
    pub fn is_compat(&self) -> bool {
        self.is_compat
    }

    /// Returns whether the core can be appended to without giving a key pair or signature.
    pub fn is_writable(&self) -> bool {
        (self.is_branch() || self.key_pair().is_some()) && !self.is_frozen && !self.is_closing
    }

    /// Returns whether this is a branch of a log: unsigned, and written by whoever opens it.
    pub fn is_branch(&self) -> bool {
        self.branch.is_some()
    }

    /// Returns the name of a branch.
    pub fn branch_name(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// Returns the pointer of the core in its store, and the data pointers that it is read from.
    pub fn layers(&self) -> (u64, &Layers) {
        (self.core_pointer, &self.layers)
    }

    /// Returns how many blocks are read in the log that this one branched off.
    pub fn shared_length(&self) -> u64 {
        self.layers.shared_length()
    }

    /// Returns whether storage may have a block. Certain for what is no branch.
    pub fn may_have(&self, index: u64) -> bool {
        if self.is_branch() { index < self.tree.length } else { self.bitfield.get(index) }
    }

    /// Returns the key of a block in the store; `None` when that is a job's to find out: something submitted before may drop the
    /// block, or the core is being closed.
    pub fn place_of(&self, index: u64) -> Option<Bytes> {
        (!self.is_closing && self.ordered.is_empty()).then(|| self.layers.block(index))
    }

    /// Returns how often the log was cut.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// Returns what a second core over the same log starts from. Only while nothing is staged.
    pub(super) fn parts(&self, party: Party) -> Parts {
        Parts {
            party,
            auth: self.auth.clone(),
            core_pointer: self.core_pointer,
            layers: self.layers.clone(),
            branch: self.branch.clone(),
            // What another core over the log writes, this one notes.
            group: None,
            head_timestamp: 0,
            lost: None,
            tree: self.tree.clone(),
            bitfield: self.bitfield.clone(),
            hints: self.hints,
            is_compat: self.is_compat,
            is_legacy: self.is_legacy,
        }
    }

    /// Says up to where the log is known outside the atom.
    pub fn seen_up_to(&mut self, length: u64) {
        self.unseen_from = Some(length);
    }

    /// Returns whether roots of the tree are not stored: nothing can be written before they are repaired.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Lets jobs write again after [`Work::Hold`].
    pub fn release(&mut self) {
        self.is_held = false;
        self.wake_parked();
    }

    pub(super) fn wake_parked(&mut self) {
        self.ready.extend(self.parked.drain(..));
    }

    pub(super) fn tell(&mut self, event: CoreEvent) {
        self.events.push_back(event);
    }

    /// Returns where the log is stored.
    pub fn data_keys(&self) -> DataKeys {
        self.keys
    }

    /// Returns whether a conflict was proven.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Stops everything but reading: a conflict was proven.
    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// Returns the durable head.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Replaces the signature that peers are told for the head, until there is another head. Nothing is stored: whoever
    /// opens the core again has the old one.
    pub fn tell_signature(&mut self, signature: Bytes) {
        if self.tip.length == self.tree.length && self.tip.fork == self.tree.fork {
            self.tip.signature = Some(signature.clone());
        }
        self.tree.signature = Some(signature);
    }

    /// Returns the length once everything staged is durable: the index of the next block appended.
    pub fn staged_length(&self) -> u64 {
        self.tip.length
    }

    /// Returns which blocks are stored.
    pub fn bitfield(&self) -> &Bitfield {
        &self.bitfield
    }

    /// Returns the blocks stored without a gap from the start.
    pub fn contiguous_length(&self) -> u64 {
        self.hints.contiguous_length.min(self.tree.length)
    }

    /// Returns the blocks that some peer had without a gap from the start.
    pub fn remote_contiguous_length(&self) -> u64 {
        self.hints.remote_contiguous_length.min(self.tree.length)
    }

    /// Returns when the store was repaired, in milliseconds of Unix time; 0 when the log is known to be whole.
    pub fn recovering(&self) -> u64 {
        self.hints.recovering
    }

    /// Notes when the store was repaired, or 0; stored by the next [`run`](Self::run).
    pub fn set_recovering(&mut self, milliseconds: u64) {
        self.hints.recovering = milliseconds;
        self.has_new_hints = true;
    }

    /// Notes what a peer has; stored by the next [`run`](Self::run).
    pub fn set_remote_contiguous_length(&mut self, length: u64) {
        self.hints.remote_contiguous_length = length;
        self.has_new_hints = true;
    }

    /// Returns the parents to climb from a tree index until a node that is surely stored.
    ///
    /// A block was stored along with its way up and the siblings beside it, so below a stored node's parent no block
    /// means nothing is known, and one block is proof.
    pub fn missing_nodes(&self, tree_index: u64) -> u64 {
        let head = 2 * self.tree.length;
        if tree_index >= head || flat_tree::right_span(tree_index) >= head {
            return 0;
        }
        let mut count = 0;
        let mut at = tree_index;
        while !self.is_surely_stored(at) {
            at = flat_tree::parent(at);
            count += 1;
        }
        count
    }

    /// Returns whether all roots of a length are stored; `None` when storage has to be asked.
    pub fn can_upgrade_from(&self, length: u64) -> Option<bool> {
        if length > self.tree.length {
            return Some(false);
        }
        flat_tree::full_roots(length).all(|root| self.is_surely_stored(root)).then_some(true)
    }

    fn is_surely_stored(&self, index: u64) -> bool {
        if self.tree.roots.iter().any(|root| flat_tree::contains(index, root.index)) {
            return true;
        }
        let (start, end) = flat_tree::spans(flat_tree::parent(index));
        self.bitfield.has_set(start / 2, end / 2 + 1)
    }

    /// Takes a picture of the durable log.
    pub fn snapshot(&mut self, id: u32) {
        let Tree { length, fork, byte_length, .. } = self.tree;
        let (compat_length, tree_hash) = (length.min(self.tip.length), self.tree.tree_hash());
        self.snapshots.insert(id, Snapshot { length, fork, byte_length, compat_length, tree_hash });
    }

    /// Returns a snapshot.
    pub fn snapshot_at(&self, id: u32) -> Option<Snapshot> {
        self.snapshots.get(&id).copied()
    }

    /// Forgets a snapshot.
    pub fn release_snapshot(&mut self, id: u32) {
        self.snapshots.remove(&id);
        self.retained.release(id);
    }

    /// Returns a block that only a snapshot still has.
    pub fn retained(&self, id: u32, index: u64) -> Option<Bytes> {
        self.retained.get(id, index)
    }

    pub(super) fn snapshots(&self) -> impl Iterator<Item = (u32, Snapshot)> + '_ {
        self.snapshots.iter().map(|(id, snapshot)| (*id, *snapshot))
    }

    /// Decrypts a stored block.
    ///
    /// # Errors
    ///
    /// [`CoreError::Decoding`] when it is shorter than its padding.
    pub fn decrypt(&mut self, index: u64, stored: &[u8], key: &EncryptionKey) -> Result<Bytes, CoreError> {
        self.cipher(key).decrypt(index, stored).map(Bytes::from).ok_or(CoreError::Decoding)
    }

    pub(super) fn core_pointer(&self) -> u64 {
        self.core_pointer
    }

    pub(super) fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_ref()
    }

    /// Stores a manifest that somebody here knows.
    pub(super) fn learn_manifest(&mut self, manifest: &Manifest, store: &mut Store) -> Step {
        if self.is_cutting || !store.has_room(0) {
            return Step::Park;
        }
        if self.manifest().is_some() {
            return self.staged_already(Value::Done);
        }
        if !manifest.belongs_to(&self.auth.key) {
            return Step::Failed(CoreError::BadArgument("manifest does not hash to the key"));
        }
        match self.set_manifest(store, manifest.clone(), false) {
            Ok(()) => Step::Staged(Value::Done),
            Err(error) => Step::Failed(error),
        }
    }

    /// Learns the manifest and stages it.
    pub(super) fn set_manifest(
        &mut self,
        store: &mut Store,
        manifest: Manifest,
        is_remote: bool,
    ) -> Result<(), CoreError> {
        let verifier = self.verifier_of(&manifest)?;
        self.use_verifier(verifier);
        let prologue = manifest.prologue;
        self.auth.manifest = Some(manifest);
        self.tree.prologue = prologue;
        self.tip.prologue = prologue;
        self.encryption = None;
        let op = put(keys::auth(self.core_pointer), self.auth.to_vec());
        self.stage(store, alloc::vec![op], Durability::Relaxed);
        self.open.events.push(CoreEvent::Manifest { is_remote });
        Ok(())
    }

    fn prepare_verifier(&mut self) -> Result<(), CoreError> {
        let Some(manifest) = &self.auth.manifest else { return Ok(()) };
        let verifier = self.verifier_of(manifest)?;
        self.use_verifier(verifier);
        Ok(())
    }

    fn verifier_of(&self, manifest: &Manifest) -> Result<Verifier, CoreError> {
        let verifier = Verifier::new(self.auth.key, manifest)?;
        Ok(if self.is_legacy { verifier.legacy() } else { verifier })
    }

    fn use_verifier(&mut self, verifier: Verifier) {
        self.is_compat = verifier.is_compat();
        self.verifier = Some(verifier);
    }

    pub(super) fn cipher(&mut self, key: &EncryptionKey) -> &BlockEncryption {
        let stale = self.encryption.as_ref().is_none_or(|(known, _)| known != key);
        if stale {
            let mode = if key.is_block_key {
                KeyMode::BlockKey
            } else if self.is_compat {
                KeyMode::Compat
            } else {
                KeyMode::Normal
            };
            let cipher = BlockEncryption::new(&key.key, &self.auth.key, mode);
            self.encryption = Some((key.clone(), cipher));
        }
        self.encryption.as_ref().map(|(_, cipher)| cipher).expect("set above")
    }

    pub(super) fn nodes<'a>(
        &'a self,
        store: &'a Store,
        loaded: &'a ReadSet,
        wanted: &'a RefCell<Vec<Bytes>>,
    ) -> Nodes<'a> {
        Nodes { roots: &self.tip.roots, cache: &self.cache, store, layers: &self.layers, loaded, wanted }
    }
}

/// Returns the first page that has to be read when the first `contiguous` bits are known to be set.
pub(super) fn first_page(contiguous: u64) -> u64 {
    contiguous / BITS_PER_PAGE
}

pub(super) fn put(key: Bytes, value: Vec<u8>) -> Op {
    Op::Put { key, value: value.into() }
}

/// Why nothing is written to a log that has lost roots.
pub(super) const LOST: CoreError =
    CoreError::InvalidOperation("roots of the tree are lost; they have to be repaired first");

/// Largest stored block, in bytes: with its proof it must fit one message of a secret stream.
///
/// Source: hypercore 11.35, `index.js`, `MAX_SUGGESTED_BLOCK_SIZE`.
pub const MAX_BLOCK_SIZE: usize = 15 << 20;
