//! Signatures of several signers, put together.
//!
//! Source: hypercore 11.35, `lib/multisig.js`, and `multiSignature` in `lib/messages.js`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{DecodeError, Reader, Writer};
use crate::crypto::Node;
use crate::flat_tree;

use super::merkle_tree::{Missing, NodeSource, Tree};
use super::proof::{ProofRequest, UpgradeRequest, decode_nodes, encode_nodes};
use super::prove::{Refused, prove};

/// What one signer contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSignature {
    /// Index in the manifest.
    pub signer: u64,
    /// Over the signer's own tree.
    pub signature: [u8; 64],
    /// How many blocks longer the signer's tree is than the one to be signed.
    pub patch: u64,
    /// The nodes that grow the one into the other.
    pub nodes: Vec<Node>,
}

/// A decoded signature of several signers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSignature {
    /// One proof per signer.
    pub proofs: Vec<SignerProof>,
    /// Nodes that the proofs share.
    pub patch: Vec<Node>,
}

/// The proof that one signer signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerProof {
    /// Index in the manifest.
    pub signer: u64,
    /// Over a tree that is `patch` blocks longer.
    pub signature: [u8; 64],
    /// Blocks.
    pub patch: u64,
}

/// Makes one signer's contribution for the target length `from`, out of the signer's own core, whose
/// head is `tree`. `None` when that core is shorter than the target.
///
/// # Errors
///
/// [`Missing`], or inside [`Refused`].
pub fn partial_signature(
    source: &dyn NodeSource,
    tree: &Tree,
    signer: u64,
    from: u64,
    signature: [u8; 64],
) -> Result<Result<Option<PartialSignature>, Refused>, Missing> {
    let Some(patch) = tree.length.checked_sub(from) else {
        return Ok(Ok(None));
    };
    let mut partial = PartialSignature { signer, signature, patch, nodes: Vec::new() };
    if patch > 0 {
        let upgrade = Some(UpgradeRequest { start: from, length: patch });
        match prove(source, tree, &ProofRequest { upgrade, ..ProofRequest::default() })? {
            Ok(proof) => partial.nodes = proof.upgrade.map_or_else(Vec::new, |upgrade| upgrade.nodes),
            Err(refused) => return Ok(Err(refused)),
        }
    }
    Ok(Ok(Some(partial)))
}

/// Returns the raw signature of a stored one: 64 bytes as they are, else that of its first signer.
pub fn raw_signature(signature: &[u8]) -> Option<[u8; 64]> {
    if let Ok(raw) = signature.try_into() {
        return Some(raw);
    }
    Some(MultiSignature::decode(signature).ok()?.proofs.first()?.signature)
}

/// Returns the length that a quorum can sign: the `quorum`-th largest.
pub fn signable_length(lengths: &[u64], quorum: u64) -> u64 {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let index = usize::try_from(quorum.max(1) - 1).ok();
    index.and_then(|index| lengths.get(index)).copied().unwrap_or(0)
}

/// Encodes the signature for manifests of version 1 and 2.
pub fn assemble(inputs: &[PartialSignature]) -> Bytes {
    let mut patch: Vec<Node> = Vec::new();
    for node in inputs.iter().flat_map(|input| &input.nodes) {
        if patch.iter().all(|known| known.index != node.index) {
            patch.push(*node);
        }
    }
    let mut out = Writer::new();
    out.uint(inputs.len() as u64);
    for input in inputs {
        out.uint(input.signer);
        out.fixed(&input.signature);
        out.uint(input.patch);
    }
    encode_nodes(&patch, &mut out);
    Bytes::from(out.into_vec())
}

/// Encodes the signature for manifests of version 0 with several signers.
pub fn assemble_v0(inputs: &[PartialSignature]) -> Bytes {
    let mut patch: Vec<Node> = Vec::new();
    let mut out = Writer::new();
    out.uint(inputs.len() as u64);
    for input in inputs {
        let last = input.nodes.last().filter(|_| input.patch > 0);
        out.uint(u64::from(last.is_some()));
        out.uint(input.signer);
        out.fixed(&input.signature);
        if let Some(last) = last {
            out.uint(flat_tree::right_span(last.index) / 2 + 1);
            out.uint(input.patch);
            out.uint(input.nodes.len() as u64);
            for node in &input.nodes {
                let position = patch.iter().position(|known| known == node).unwrap_or_else(|| {
                    patch.push(*node);
                    patch.len() - 1
                });
                out.uint(position as u64);
            }
        }
    }
    encode_nodes(&patch, &mut out);
    Bytes::from(out.into_vec())
}

impl MultiSignature {
    /// Decodes the layout of versions 1 and 2.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, |reader| {
            let (signer, signature) = (reader.uint()?, reader.fixed()?);
            Ok(SignerProof { signer, signature, patch: reader.uint()? })
        })
    }

    /// Decodes the layout of version 0. Its node references say nothing that verifying needs.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode_v0(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, |reader| {
            let flags = reader.uint()?;
            let (signer, signature) = (reader.uint()?, reader.fixed()?);
            let mut patch = 0;
            if flags & 1 != 0 {
                reader.uint()?;
                patch = reader.uint()?;
                for _ in 0..reader.array_len(1)? {
                    reader.uint()?;
                }
            }
            Ok(SignerProof { signer, signature, patch })
        })
    }

    fn decode_with(
        bytes: &[u8],
        decode_proof: impl Fn(&mut Reader<'_>) -> Result<SignerProof, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.array_len(MIN_PROOF_LEN)?;
        let mut proofs = Vec::new();
        for _ in 0..count {
            proofs.push(decode_proof(&mut reader)?);
        }
        Ok(Self { proofs, patch: decode_nodes(&mut reader)? })
    }
}

/// Fewest bytes that the proof of one signer takes.
const MIN_PROOF_LEN: usize = 66;
