//! Two valid signatures for different trees at the same fork.
//!
//! Source: hypercore 11.35, `lib/core.js`, `checkConflict` and `_repairTreeNodes`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::crypto::{Node, tree_hash};

use super::merkle_tree::{Missing, NodeSource, Tree, roots_at};
use super::proof::{Proof, ProofRequest, UpgradeRequest};
use super::prove::prove;
use super::verify::{Grown, Identity, VerifyError, check_signature, prologue_of};

/// A proof verified without any local tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromEmpty {
    /// The signed head.
    pub tree: Tree,
    /// Full roots at the length that was asked for.
    pub roots_asked: Vec<Node>,
    /// Every node of the proof, for repairing a log that lost them.
    pub nodes: Vec<Node>,
}

/// What a peer's proof `{upgrade: {0, length}}` says about ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both are validly signed and they differ.
    Conflict {
        /// Length at which they differ.
        length: u64,
        /// The fork of both.
        fork: u64,
        /// Our own proof, to be sent to the peer.
        own: Box<Proof>,
    },
    /// It cannot be compared: another fork, or longer than our log.
    Incomparable,
    /// The peer's proof is wrong.
    Invalid(VerifyError),
    /// Our own nodes are lost; the peer's can repair them.
    Repair(Box<FromEmpty>),
    /// Both are the same.
    Same,
}

/// Verifies a proof, which must start at 0, from an empty tree.
///
/// # Errors
///
/// [`VerifyError`].
pub fn verify_from_empty(identity: &Identity<'_>, proof: &Proof) -> Result<FromEmpty, VerifyError> {
    if let Some(upgrade) = proof.upgrade.as_ref().filter(|upgrade| upgrade.start != 0) {
        return Err(VerifyError::InvalidOperation { index: upgrade.start.saturating_mul(2) });
    }
    let prologue =
        identity.manifest.map_or_else(|| prologue_of(identity.key, proof), |manifest| manifest.prologue);
    let mut grown = Grown::from(Tree::empty(proof.fork, prologue), proof, None)?;
    if grown.unproven.is_some() {
        return Err(VerifyError::InvalidProof);
    }
    check_signature(identity, proof, &grown.batch.tree)?;
    grown.nodes.append(&mut grown.batch.nodes);
    Ok(FromEmpty { tree: grown.batch.tree, roots_asked: grown.roots_asked, nodes: grown.nodes })
}

/// Compares a peer's proof with our log.
///
/// # Errors
///
/// [`Missing`].
pub fn check_conflict(
    source: &dyn NodeSource,
    tree: &Tree,
    identity: &Identity<'_>,
    proof: &Proof,
) -> Result<Verdict, Missing> {
    let length = match &proof.upgrade {
        Some(upgrade) if proof.fork == tree.fork && upgrade.length <= tree.length => upgrade.length,
        _ => return Ok(Verdict::Incomparable),
    };
    let theirs = match verify_from_empty(identity, proof) {
        Ok(theirs) => theirs,
        Err(error) => return Ok(Verdict::Invalid(error)),
    };
    let upgrade = Some(UpgradeRequest { start: 0, length });
    let ours = prove(source, tree, &ProofRequest { upgrade, ..ProofRequest::default() })?;
    let roots = roots_at(source, length)?;
    let (Ok(own), Ok(roots)) = (ours, roots) else {
        return Ok(Verdict::Repair(Box::new(theirs)));
    };
    if tree_hash(&roots) == tree_hash(&theirs.roots_asked) {
        return Ok(Verdict::Same);
    }
    Ok(Verdict::Conflict { length, fork: tree.fork, own: Box::new(own) })
}
