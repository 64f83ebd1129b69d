//! Signs heads and verifies their signatures, for every kind of manifest.
//!
//! Source: hypercore 11.35, `lib/verifier.js` and `lib/caps.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::{BTreeMap, BTreeSet};
use crate::crypto::namespaces::TREE;
use crate::crypto::{self, KeyPair, Node};

use super::manifest::{BadManifest, Manifest, Prologue, Signer};
use super::merkle_tree::{Tree, TreeBatch};
use super::multisig::{self, MultiSignature, PartialSignature};
use super::proof::UpgradeProof;
use super::prove::upgrade_nodes;
use super::verify::apply_upgrade;

/// Knows who may sign one core, and what.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: [u8; 32],
    version: u64,
    compat: bool,
    legacy: bool,
    allow_patch: bool,
    quorum: u64,
    signers: Vec<Signer>,
    prologue: Option<Prologue>,
}

/// The pair is not that of a declared signer. Upstream's `BAD_ARGUMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASigner;

impl Verifier {
    /// Prepares to sign and verify for the core with this key.
    ///
    /// # Errors
    ///
    /// [`BadManifest`] when the manifest contradicts itself.
    pub fn new(key: [u8; 32], manifest: &Manifest) -> Result<Self, BadManifest> {
        manifest.validate()?;
        let compat = manifest.is_compat(&key);
        Ok(Self {
            key,
            version: if compat { 0 } else { manifest.version },
            compat,
            legacy: false,
            allow_patch: !compat && manifest.allow_patch,
            quorum: if compat { 1 } else { manifest.quorum },
            signers: manifest.signers.clone(),
            prologue: manifest.prologue.filter(|_| !compat),
        })
    }

    /// Uses the signable of very old compat cores, which has no namespace in front.
    pub fn legacy(mut self) -> Self {
        self.legacy = self.compat;
        self
    }

    /// Returns whether the key itself signs.
    pub fn is_compat(&self) -> bool {
        self.compat
    }

    /// Returns the bytes that a signer signs for a head: 112, 80 or 48.
    pub fn signable(&self, signer: &Signer, tree: &Tree) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        if !self.legacy {
            out.extend_from_slice(&TREE);
        }
        if !self.compat {
            out.extend_from_slice(if self.version == 0 { &signer.namespace } else { &self.key });
        }
        out.extend_from_slice(&tree.tree_hash());
        out.extend_from_slice(&tree.length.to_le_bytes());
        out.extend_from_slice(&tree.fork.to_le_bytes());
        out
    }

    /// Signs a head with one key pair. The result is complete when there is one signer; otherwise it
    /// is the raw signature of that signer, for [`multisig::assemble`].
    ///
    /// # Errors
    ///
    /// [`NotASigner`].
    pub fn sign(&self, tree: &Tree, key_pair: &KeyPair) -> Result<Bytes, NotASigner> {
        let signer = self.signers.iter().find(|signer| signer.public_key == key_pair.public_key);
        let Some(signer) = signer else {
            return Err(NotASigner);
        };
        let signature = key_pair.sign(&self.signable(signer, tree));
        if self.signers.len() != 1 || self.version == 0 {
            return Ok(Bytes::copy_from_slice(&signature));
        }
        let partial = PartialSignature { signer: 0, signature, patch: 0, nodes: Vec::new() };
        Ok(multisig::assemble(&[partial]))
    }

    /// Puts the signatures of several signers together, in the layout of this manifest.
    pub fn assemble(&self, inputs: &[PartialSignature]) -> Bytes {
        if self.version == 0 { multisig::assemble_v0(inputs) } else { multisig::assemble(inputs) }
    }

    /// Returns whether a signature is valid for a head.
    pub fn verify(&self, tree: &Tree, signature: Option<&[u8]>) -> bool {
        if self.version == 0 {
            return match (signature, self.signers.as_slice()) {
                (Some(signature), [signer]) if !self.allow_patch => self.verify_one(signer, tree, signature),
                (signature, _) => self.verify_multi(tree, signature),
            };
        }
        if let Some(prologue) = self.prologue.filter(|prologue| tree.length <= prologue.length) {
            return tree.length == prologue.length && tree.tree_hash() == prologue.hash;
        }
        self.verify_multi(tree, signature)
    }

    fn verify_one(&self, signer: &Signer, tree: &Tree, signature: &[u8]) -> bool {
        let Ok(signature) = signature.try_into() else {
            return false;
        };
        crypto::verify(&self.signable(signer, tree), signature, &signer.public_key)
    }

    fn verify_multi(&self, tree: &Tree, signature: Option<&[u8]>) -> bool {
        let decoded = match signature {
            Some(bytes) if bytes.len() > MAX_SIGNATURE => return false,
            Some(bytes) if self.version == 0 => MultiSignature::decode_v0(bytes),
            Some(bytes) => MultiSignature::decode(bytes),
            None => return false,
        };
        let Ok(MultiSignature { proofs, patch }) = decoded else {
            return false;
        };
        let Ok(quorum) = usize::try_from(self.quorum) else {
            return false;
        };
        if quorum == 0 || proofs.len() < quorum {
            return false;
        }
        let nodes: BTreeMap<u64, Node> = patch.iter().map(|node| (node.index, *node)).collect();
        let mut used = BTreeSet::new();
        proofs.iter().take(quorum).all(|proof| {
            let signer = usize::try_from(proof.signer).ok().and_then(|index| self.signers.get(index));
            let Some(signer) = signer.filter(|_| used.insert(proof.signer)) else {
                return false;
            };
            if proof.patch == 0 || !self.allow_patch {
                return self.verify_one(signer, tree, &proof.signature);
            }
            patched(tree, &nodes, proof.patch)
                .is_some_and(|tree| self.verify_one(signer, &tree, &proof.signature))
        })
    }
}

/// Grows a tree by `length` blocks with nodes of the patch table.
fn patched(tree: &Tree, patch: &BTreeMap<u64, Node>, length: u64) -> Option<Tree> {
    let end = tree.length.checked_add(length).filter(|&end| end < 1 << 52)?;
    let nodes = upgrade_nodes(tree.length, end);
    let nodes = nodes.iter().map(|index| patch.get(index).copied()).collect::<Option<_>>()?;
    let upgrade =
        UpgradeProof { start: tree.length, length, nodes, additional_nodes: Vec::new(), signature: None };
    let mut batch = TreeBatch::new(tree.clone());
    apply_upgrade(&mut batch, &upgrade, None).ok()?;
    Some(batch.tree)
}

/// Largest signature looked at, in bytes. A signer with a patch takes up to 5 KiB.
const MAX_SIGNATURE: usize = 1 << 20;
