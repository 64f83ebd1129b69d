//! The getters and commands of one core.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::{KeyPair, Node};
use crate::hypercore::bitfield::Bitfield;
use crate::hypercore::conflict::{FromEmpty, verify_from_empty};
use crate::hypercore::core::Core;
use crate::hypercore::jobs::Work;
use crate::hypercore::layers::Layers;
use crate::hypercore::manifest::Manifest;
use crate::hypercore::proof::{Proof, ProofRequest};
use crate::hypercore::raw::{Record, RecordChange};
use crate::id::{DiscoveryKey, Hash, PublicKey};
use crate::storage::records::StoredKeyPair;
use crate::time::Instant;

use super::Engine;
use super::channels::Traffic;
use super::cores::CoreEntry;
use super::types::{
    AppendOptions, AuditOptions, CoreId, Detours, Error, GetOptions, LinkId, Misuse, PeerId, PeerStatus,
    RangeWish, RequestId, Response, SeekOptions, Snapshot, SnapshotId, TruncateOptions, UpdateOptions,
};

/// An open core.
///
/// Lengths are what is durable, stored bytes and padding included.
pub struct CoreHandle<'a> {
    engine: &'a mut Engine,
    id: CoreId,
    /// How the next write is recorded.
    operation: Option<String>,
}

impl<'a> CoreHandle<'a> {
    pub(super) fn new(engine: &'a mut Engine, id: CoreId) -> Result<Self, Misuse> {
        match engine.cores.get(&id).map(CoreEntry::open) {
            Some(Some(_)) => Ok(Self { engine, id, operation: None }),
            Some(None) => Err(Misuse::NotOpened),
            None => Err(Misuse::UnknownCore),
        }
    }

    fn core(&self) -> &Core {
        self.engine.cores.get(&self.id).and_then(CoreEntry::open).expect("checked at construction")
    }

    fn core_mut(&mut self) -> &mut Core {
        let entry = self.engine.cores.get_mut(&self.id);
        entry.and_then(CoreEntry::parts).map(|(core, _)| core).expect("checked at construction")
    }

    /// Returns the core, which goes on with what waits.
    fn woken(&mut self) -> &mut Core {
        self.engine.dirty_cores.insert(self.id);
        self.core_mut()
    }

    /// Returns the core's key.
    pub fn key(&self) -> PublicKey {
        *self.core().key()
    }

    /// Returns the core's discovery key.
    pub fn discovery_key(&self) -> DiscoveryKey {
        *self.core().discovery_key()
    }

    /// Returns the manifest, once known.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.core().manifest()
    }

    /// Returns who signs, as it is stored: without the secret when that is kept somewhere else.
    pub fn stored_key_pair(&self) -> Option<&StoredKeyPair> {
        self.core().stored_key_pair()
    }

    /// Returns the key pair that signs here.
    pub fn key_pair(&self) -> Option<&KeyPair> {
        self.core().key_pair()
    }

    /// Returns whether the key itself signs.
    pub fn is_compat(&self) -> bool {
        self.core().is_compat()
    }

    /// Returns whether blocks can be appended without giving a key pair or signature.
    pub fn is_writable(&self) -> bool {
        self.core().is_writable()
    }

    /// Returns the blocks in the log.
    pub fn length(&self) -> u64 {
        self.core().tree().length
    }

    /// Returns the length once everything that has begun is durable: commands that wait for others do not count.
    pub fn staged_length(&self) -> u64 {
        self.core().staged_length()
    }

    /// Returns how often the log was truncated.
    pub fn fork(&self) -> u64 {
        self.core().tree().fork
    }

    /// Returns the stored bytes of all blocks of the log.
    pub fn byte_length(&self) -> u64 {
        self.core().tree().byte_length
    }

    /// Returns the full roots of the tree.
    pub fn roots(&self) -> &[Node] {
        &self.core().tree().roots
    }

    /// Returns the signature of the head.
    pub fn signature(&self) -> Option<Bytes> {
        self.core().tree().signature.clone()
    }

    /// Replaces the signature that peers are told for the head; nothing is stored.
    pub fn tell_signature(&mut self, signature: Bytes) {
        self.core_mut().tell_signature(signature);
    }

    /// Returns the blocks stored here without a gap from the start.
    pub fn contiguous_length(&self) -> u64 {
        self.core().contiguous_length()
    }

    /// Returns the blocks that a peer had without a gap from the start.
    pub fn remote_contiguous_length(&self) -> u64 {
        self.core().remote_contiguous_length()
    }

    /// Returns whether the blocks `start..end` are stored here.
    pub fn has(&self, start: u64, end: u64) -> bool {
        !self.core().bitfield().has_unset(start, end)
    }

    /// Returns the peers that replicate the core, and on which link.
    pub fn peers(&self) -> Vec<(LinkId, PeerStatus)> {
        let Some(entry) = self.engine.cores.get(&self.id) else { return Vec::new() };
        let link = |status: &PeerStatus| entry.peers.get(&status.peer).copied();
        entry.replicator.peers().filter_map(|status| Some((link(&status)?, status))).collect()
    }

    /// Returns whether this is a branch: unsigned, and without peers.
    pub fn is_branch(&self) -> bool {
        self.core().is_branch()
    }

    /// Returns the pointer of the core in its store, and the data pointers that it is read from.
    pub fn layers(&self) -> (u64, &Layers) {
        self.core().layers()
    }

    /// Looks whether the blocks `start..end` of a branch are stored. Answered with [`Response::Has`].
    pub fn has_stored(&mut self, start: u64, end: u64) -> RequestId {
        self.engine.request_job(self.id, Work::Has { start, end })
    }

    /// Lets the append, truncation or piece of user data that follows leave a piece of user data of this name in the
    /// same commit, as [`Work::Recorded`] has it.
    pub fn recorded_as(&mut self, operation: String) -> &mut Self {
        self.operation = Some(operation);
        self
    }

    fn write(&mut self, work: Work) -> RequestId {
        let work = match self.operation.take() {
            Some(operation) => Work::Recorded { work: Box::new(work), operation },
            None => work,
        };
        self.engine.request_job(self.id, work)
    }

    /// Appends blocks. Answered with [`Response::Appended`] once they are durable.
    pub fn append(&mut self, blocks: Vec<Bytes>, mut options: AppendOptions) -> RequestId {
        if options.encryption.is_some() && options.encryption_fork.is_none() {
            options.encryption_fork = self.engine.main_fork(self.id);
        }
        self.write(Work::Append { blocks, options })
    }

    /// Gets a block. Answered with [`Response::Block`].
    pub fn get(&mut self, index: u64, options: GetOptions, now: Instant) -> RequestId {
        self.engine.request_get(self.id, index, options, now)
    }

    /// Asks peers for a longer log. Answered with [`Response::Updated`].
    pub fn update(&mut self, options: UpdateOptions, now: Instant) -> RequestId {
        if options.wait {
            return self.engine.request_update(self.id, options.force, now);
        }
        let request = self.engine.next_request();
        self.engine.answer(request, Ok(Response::Updated(false)));
        request
    }

    /// Finds the block that holds a byte of content. Answered with [`Response::Seek`].
    pub fn seek(&mut self, bytes: u64, options: SeekOptions, now: Instant) -> RequestId {
        self.engine.request_seek(self.id, bytes, options, now)
    }

    /// Downloads blocks. Answered with [`Response::Done`] once all are stored; one without an end never is.
    pub fn download(&mut self, range: RangeWish, now: Instant) -> RequestId {
        self.engine.request_range(self.id, range, now)
    }

    /// Cuts the log to `length` blocks. Answered with [`Response::Done`].
    pub fn truncate(&mut self, length: u64, options: TruncateOptions) -> RequestId {
        self.write(Work::Truncate { length, options })
    }

    /// Drops the blocks `start..end` from storage. Answered with [`Response::Done`].
    pub fn clear(&mut self, start: u64, end: u64) -> RequestId {
        self.engine.request_job(self.id, Work::Clear { start, end })
    }

    /// Computes the tree hash at a length. Answered with [`Response::TreeHash`].
    pub fn tree_hash(&mut self, length: u64, now: Instant) -> RequestId {
        self.engine.request_tree_hash(self.id, length, None, now)
    }

    /// Makes the bytes that a signer of the manifest signs. Answered with [`Response::Signable`].
    pub fn signable(&mut self, length: u64, fork: u64, now: Instant) -> RequestId {
        self.engine.request_tree_hash(self.id, length, Some(fork), now)
    }

    /// Stores a piece of user data, or removes it. Answered with [`Response::Done`].
    pub fn set_user_data(&mut self, name: String, value: Option<Bytes>) -> RequestId {
        self.write(Work::PutUserData { name, value })
    }

    /// Reads a piece of user data. Answered with [`Response::UserData`].
    pub fn user_data(&mut self, name: String) -> RequestId {
        self.engine.request_job(self.id, Work::UserData { name })
    }

    /// Lists the user data from a name on, up to another, in the order of names. Answered with
    /// [`Response::UserDataList`]; what is not durable is not listed.
    pub fn user_data_list(&mut self, from: &str, to: Option<&str>, limit: u32) -> RequestId {
        self.engine.request_user_data_list(self.id, from, to, limit)
    }

    /// Lists what programs keep for themselves, from a key on, up to another, in the order of keys. Answered with
    /// [`Response::Locals`]; what is not durable is not listed.
    pub fn local_list(&mut self, from: &[u8], to: Option<&[u8]>, limit: u32) -> RequestId {
        self.engine.request_local_list(self.id, from, to, limit)
    }

    /// Waits until nothing is staged, and keeps it so until [`release`](Self::release). Answered with [`Response::Done`].
    pub fn hold(&mut self) -> RequestId {
        self.engine.request_job(self.id, Work::Hold)
    }

    /// Lets what writes go on after [`hold`](Self::hold).
    pub fn release(&mut self) {
        self.woken().release();
    }

    /// Says whether [`Event::CoreGrowing`](super::Event::CoreGrowing) asks before a proof makes the log longer.
    pub fn guard(&mut self, is_guarded: bool) {
        self.woken().guard(is_guarded);
    }

    /// Answers [`Event::CoreGrowing`](super::Event::CoreGrowing).
    pub fn admit(&mut self, is_admitted: bool) {
        self.woken().admit(is_admitted);
    }

    /// Reads records as they are stored. Answered with [`Response::Records`].
    pub fn read_records(&mut self, records: Vec<Record>) -> RequestId {
        self.engine.request_job(self.id, Work::ReadRecords(records))
    }

    /// Changes records behind the back of the log, all or none. Answered with [`Response::Done`].
    pub fn write_records(&mut self, changes: Vec<RecordChange>) -> RequestId {
        self.engine.request_job(self.id, Work::WriteRecords(changes))
    }

    /// Returns whether roots of the tree are lost: nothing can be written before they are repaired.
    pub fn is_lost(&self) -> bool {
        self.core().is_lost()
    }

    /// Takes lost roots from a proof. Answered with [`Response::Applied`].
    pub fn repair(&mut self, proof: Proof) -> RequestId {
        let request = self.engine.next_request();
        self.engine.repair(self.id, Some(request), Box::new(proof));
        request
    }

    /// Asks every peer for its head, to take lost roots from it.
    pub fn ask_for_repair(&mut self) {
        self.replicate(|core, replicator| replicator.ask_heads(core));
    }

    /// Sets how many requests a peer gets at once: at least, and at most.
    pub fn set_in_flight(&mut self, range: (u32, u32)) {
        self.replicate(|_, replicator| replicator.set_in_flight(range));
    }

    /// Sets how much peers that come from now on are told to report at once.
    pub fn set_small_wants(&mut self, small_wants: bool) {
        self.replicate(|_, replicator| replicator.set_small_wants(small_wants));
    }

    /// Stores the manifest, unless it is known. Answered with [`Response::Done`].
    pub fn set_manifest(&mut self, manifest: Manifest) -> RequestId {
        self.engine.request_job(self.id, Work::SetManifest(Box::new(manifest)))
    }

    /// Puts the core into a group, once and for all. Answered with [`Response::Done`].
    pub fn set_group(&mut self, topic: Hash) -> RequestId {
        self.engine.request_job(self.id, Work::SetGroup { topic })
    }

    /// Returns the topic of the group that the core belongs to.
    pub fn group(&self) -> Option<&Hash> {
        self.core().group()
    }

    /// Returns when the store was repaired, in milliseconds of Unix time; 0 when the log is known to be whole.
    pub fn recovering(&self) -> u64 {
        self.core().recovering()
    }

    /// Notes when the store was repaired, in milliseconds of Unix time; 0 once the log is known to be whole.
    pub fn set_recovering(&mut self, milliseconds: u64) {
        self.core_mut().set_recovering(milliseconds);
        self.engine.dirty_cores.insert(self.id);
    }

    /// Makes a proof, block included. Answered with [`Response::Proof`].
    pub fn proof(&mut self, request: ProofRequest) -> RequestId {
        self.engine.request_job(self.id, Work::Prove(request))
    }

    /// Verifies and stores a proof. Answered with [`Response::Applied`].
    pub fn apply_proof(&mut self, proof: Proof) -> RequestId {
        self.engine.request_job(self.id, Work::Apply(proof))
    }

    /// Verifies a part of another history of the log, under a newer fork: first an upgrade from 0, then the hashes that lead to where
    /// the histories part. Answered with [`Response::Applied`]: whether that is known.
    pub fn check_reorg(&mut self, proof: Proof) -> RequestId {
        self.engine.request_job(self.id, Work::CheckReorg(proof))
    }

    /// Follows another history, once [`check_reorg`](Self::check_reorg) knows where it parts. Answered with [`Response::Applied`]:
    /// whether the log was still the one that it was checked against.
    pub fn apply_reorg(&mut self, fork: u64) -> RequestId {
        self.engine.request_job(self.id, Work::ApplyReorg { fork })
    }

    /// Stores blocks that the tree knows, as an import brings them. Answered with [`Response::Done`].
    pub fn restore(&mut self, blocks: Vec<(u64, Bytes)>) -> RequestId {
        self.engine.request_job(self.id, Work::Restore(blocks))
    }

    /// Notes that the blocks `start..end` are to stay when the others are dropped. Answered with [`Response::Done`].
    pub fn mark(&mut self, start: u64, end: u64) -> RequestId {
        self.engine.request_job(self.id, Work::Mark { start, end })
    }

    /// Forgets all marks. Answered with [`Response::Done`].
    pub fn clear_marks(&mut self) -> RequestId {
        self.engine.request_job(self.id, Work::ClearMarks)
    }

    /// Looks for stored blocks without marks, from a block on. Answered with [`Response::Unmarked`].
    pub fn unmarked(&mut self, from: u64) -> RequestId {
        self.engine.request_job(self.id, Work::Unmarked { from })
    }

    /// Looks whether a part of what is stored fits together, and drops what does not. Answered with
    /// [`Response::Audited`], which says where to go on.
    pub fn audit(&mut self, options: AuditOptions) -> RequestId {
        self.engine.request_job(self.id, Work::Audit(options))
    }

    /// Verifies a proof that starts at 0 against nothing but the manifest.
    ///
    /// # Errors
    ///
    /// What is wrong with the proof.
    pub fn verify_fully_remote(&self, proof: &Proof) -> Result<FromEmpty, Error> {
        let core = self.core();
        Ok(verify_from_empty(&core.identity(), proof)?)
    }

    /// Counts the parents to climb from a block's leaf to a stored node. Answered with [`Response::MissingNodes`].
    pub fn missing_nodes(&mut self, index: u64) -> RequestId {
        self.engine.request_job(self.id, Work::MissingNodes { index })
    }

    /// Returns which blocks are stored here, or which a peer announced beside its prefix; `None` without that peer.
    pub fn blocks(&self, peer: Option<PeerId>) -> Option<&Bitfield> {
        match peer {
            None => Some(self.core().bitfield()),
            Some(peer) => self.engine.cores.get(&self.id)?.replicator.peer_blocks(peer),
        }
    }

    /// Returns the detours of all requests to peers so far.
    pub fn detours(&self) -> Detours {
        self.engine.cores.get(&self.id).map(|entry| entry.replicator.detours()).unwrap_or_default()
    }

    /// Returns the messages of a peer, or of all there ever were.
    pub fn traffic(&self, peer: Option<PeerId>) -> Traffic {
        let Some(entry) = self.engine.cores.get(&self.id) else { return Traffic::default() };
        peer.map_or(entry.total_traffic, |peer| entry.traffic.get(&peer).copied().unwrap_or_default())
    }

    /// Takes a picture of the log.
    pub fn snapshot(&mut self) -> SnapshotId {
        let id = self.engine.next_id();
        self.core_mut().snapshot(id);
        SnapshotId(id)
    }

    /// Returns a snapshot, unless it was released.
    pub fn snapshot_at(&self, snapshot: SnapshotId) -> Option<Snapshot> {
        self.core().snapshot_at(snapshot.0)
    }

    /// Forgets a snapshot.
    pub fn release_snapshot(&mut self, snapshot: SnapshotId) {
        self.core_mut().release_snapshot(snapshot.0);
    }

    /// Tells whether any session of the core is active.
    pub fn set_active(&mut self, is_active: bool, now: Instant) {
        self.replicate(|core, replicator| replicator.set_active(is_active, core, now));
    }

    /// Returns whether the core downloads: some session is active, or the last one left a while ago.
    pub fn downloads(&self) -> bool {
        self.engine.cores.get(&self.id).is_some_and(|entry| entry.replicator.downloads())
    }

    /// Tells whether somebody is looking for the first peers, so that `update` waits for them.
    pub fn set_finding_peers(&mut self, is_finding: bool, now: Instant) {
        self.replicate(|core, replicator| replicator.set_finding_peers(is_finding, core, now));
    }

    /// Takes data that nobody asked for from now on, or no longer.
    pub fn set_allow_push(&mut self, allow: bool) {
        self.replicate(|core, replicator| replicator.set_allow_push(allow, core));
    }

    /// Fetches the last block along with every upgrade from now on, or no longer.
    pub fn set_latest_block(&mut self, allow: bool) {
        self.replicate(|_, replicator| replicator.set_latest_block(allow));
    }

    /// Stops requesting anything but forced blocks and manifests, or starts again.
    pub fn set_push_only(&mut self, push_only: bool, now: Instant) {
        self.replicate(|core, replicator| replicator.set_push_only(push_only, core, now));
    }

    /// Sends a block to every peer that takes pushes and lacks it.
    pub fn push(&mut self, index: u64) {
        self.replicate(|core, replicator| replicator.push(index, core));
    }

    /// Sends a message of an extension.
    pub fn send_extension(&mut self, peer: PeerId, name: &str, payload: Bytes) {
        self.replicate(|_, replicator| replicator.extension(peer, name, payload));
    }

    fn replicate(&mut self, act: impl FnOnce(&Core, &mut crate::replicator::Replicator)) {
        if let Some((core, replicator)) = self.engine.cores.get_mut(&self.id).and_then(CoreEntry::parts) {
            act(core, replicator);
        }
        self.engine.dirty_cores.insert(self.id);
    }
}
