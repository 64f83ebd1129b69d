//! What the files of a hypercore 10 say together: a head, its nodes, and which blocks are where in `data`.
//!
//! Nothing is believed that does not verify: the head against its signature, each block against its leaf.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::compact_encoding::{Decode, Reader};
use crate::crypto::{Node, discovery_key};
use crate::flat_tree;
use crate::hypercore::bitfield::{BITS_PER_PAGE, Bitfield};
use crate::hypercore::manifest::Manifest;
use crate::hypercore::merkle_tree::{Missing, NodeSource, Tree, byte_range, roots_at};
use crate::hypercore::verifier::Verifier;
use crate::storage::records::{Alias, Auth};

use super::oplog::{Header, Oplog};

/// A core of hypercore 10, ready to be stored anew. Its blocks are read piece by piece:
/// [`poll_range`](Self::poll_range) names bytes of `data`, [`handle_bytes`](Self::handle_bytes) takes them.
#[derive(Clone, Debug)]
pub struct Import {
    pub(in crate::hypercore) auth: Auth,
    pub(in crate::hypercore) user_data: Vec<(String, Bytes)>,
    pub(in crate::hypercore) tree: Tree,
    nodes: Nodes,
    bits: Bitfield,
    /// Blocks before it were asked for.
    next: u64,
    /// What was asked for last: the first block, and the bytes of each from there on.
    asked: Vec<(u64, usize)>,
}

/// Why files cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportError {
    /// There is no core in them.
    Empty,
    /// The oplog, or the header that it names, cannot be read.
    OplogCorrupt,
    /// A root of the tree is missing.
    TreeCorrupt,
    /// The head is not signed.
    InvalidSignature,
}

impl ImportError {
    /// Returns upstream's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "STORAGE_EMPTY",
            Self::OplogCorrupt => "OPLOG_CORRUPT",
            Self::TreeCorrupt => "INVALID_CHECKSUM",
            Self::InvalidSignature => "INVALID_SIGNATURE",
        }
    }
}

impl core::fmt::Display for ImportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Empty => "no hypercore is stored here",
            Self::OplogCorrupt => "oplog cannot be read",
            Self::TreeCorrupt => "a root of the tree is missing",
            Self::InvalidSignature => "head is not signed by the core's key",
        })
    }
}

impl core::error::Error for ImportError {}

#[derive(Clone, Debug, Default)]
struct Nodes(BTreeMap<u64, Node>);

impl NodeSource for Nodes {
    fn node(&self, index: u64) -> Result<Option<Node>, Missing> {
        Ok(self.0.get(&index).copied())
    }
}

impl Import {
    /// Reads the files; `header` is only there when it did not fit the oplog.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    pub fn open(
        oplog: &[u8],
        header: Option<&[u8]>,
        tree: &[u8],
        bitfield: &[u8],
    ) -> Result<Self, ImportError> {
        let oplog = Oplog::read(oplog).map_err(|_| ImportError::OplogCorrupt)?;
        let mut head = oplog.header.ok_or(ImportError::Empty)?;
        if let Some((start, len)) = head.external {
            head = external(header.unwrap_or_default(), start, len).ok_or(ImportError::OplogCorrupt)?;
        }
        let mut bits = Bitfield::new();
        for (index, page) in (0..).zip(bitfield.chunks(PAGE)) {
            bits.load_page(index, page);
        }
        let mut nodes = read_tree(tree);
        let mut user_data: BTreeMap<String, Bytes> = head.user_data.drain(..).collect();
        for entry in oplog.entries {
            if let Some((name, value)) = entry.user_data {
                if value.is_empty() {
                    user_data.remove(&name);
                } else {
                    user_data.insert(name, value);
                }
            }
            if let Some(upgrade) = entry.upgrade {
                if upgrade.ancestors < head.length {
                    let end = upgrade.ancestors.saturating_mul(2);
                    nodes.0.retain(|index, _| flat_tree::right_span(*index) < end);
                    bits.set_range(upgrade.ancestors, head.length, false);
                }
                (head.fork, head.length) = (upgrade.fork, upgrade.length);
                head.signature = Some(upgrade.signature);
            }
            nodes.0.extend(entry.nodes.into_iter().map(|node| (node.index, node)));
            if let Some(update) = entry.bitfield {
                let end = update.start.saturating_add(update.length).min(head.length.max(update.start));
                if update.drop {
                    bits.set_range(update.start, end, false);
                } else {
                    // A block without its leaf is lost, and the file may say any length.
                    let leaves = nodes.0.range(update.start.saturating_mul(2)..end.saturating_mul(2));
                    leaves
                        .filter(|(index, _)| *index % 2 == 0)
                        .for_each(|(index, _)| bits.set(index / 2, true));
                }
            }
        }
        nodes.0.retain(|index, _| flat_tree::right_span(*index) < head.length.saturating_mul(2));
        Self::verified(head, nodes, bits, user_data)
    }

    fn verified(
        head: Header,
        nodes: Nodes,
        bits: Bitfield,
        user_data: BTreeMap<String, Bytes>,
    ) -> Result<Self, ImportError> {
        let manifest = head.manifest;
        if manifest
            .as_ref()
            .is_some_and(|manifest| !manifest.belongs_to(&head.key) || manifest.validate().is_err())
        {
            return Err(ImportError::InvalidSignature);
        }
        let roots = match roots_at(&nodes, head.length) {
            Ok(Ok(roots)) => roots,
            _ => return Err(ImportError::TreeCorrupt),
        };
        let prologue = manifest.as_ref().and_then(|manifest| manifest.prologue);
        let mut tree = Tree::from_roots(head.fork, head.length, roots, prologue);
        tree.signature = head.signature;
        if tree.length > 0 || tree.fork > 0 {
            let manifest = manifest.clone().unwrap_or_else(|| Manifest::single_signer(head.key));
            let verifier = Verifier::new(head.key, &manifest).map_err(|_| ImportError::InvalidSignature)?;
            if !verifier.verify(&tree, tree.signature.as_deref()) {
                return Err(ImportError::InvalidSignature);
            }
        }
        let auth = Auth {
            key: head.key,
            discovery_key: discovery_key(&head.key),
            manifest,
            key_pair: head.key_pair,
            encryption_key: None,
        };
        let user_data = user_data.into_iter().collect();
        Ok(Self { auth, user_data, tree, nodes, bits, next: 0, asked: Vec::new() })
    }

    /// Returns the core's key.
    pub fn key(&self) -> &[u8; 32] {
        &self.auth.key
    }

    /// Returns the head.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the user data.
    pub fn user_data(&self) -> &[(String, Bytes)] {
        &self.user_data
    }

    /// Returns the name that a corestore 6 gave the core.
    pub fn alias(&self) -> Option<Alias> {
        let part = |wanted| self.user_data.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let (name, namespace) = (part(NAME)?, part(NAMESPACE)?);
        let name = core::str::from_utf8(name).ok()?.into();
        Some(Alias { name, namespace: namespace.as_ref().try_into().ok()? })
    }

    /// Returns whether a piece of user data is in [`alias`](Self::alias).
    pub fn is_alias(&self, name: &str) -> bool {
        [NAME, NAMESPACE].contains(&name) && self.alias().is_some()
    }

    /// Returns which blocks `data` holds.
    pub fn bitfield(&self) -> &Bitfield {
        &self.bits
    }

    /// Returns all nodes of the tree.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.0.values()
    }

    /// Returns which bytes of `data` to read next: offset and length, at most `limit` unless one block is larger.
    /// `None` when all blocks were asked for.
    pub fn poll_range(&mut self, limit: usize) -> Option<(u64, u64)> {
        self.asked.clear();
        let (mut start, mut bytes) = (0u64, 0u64);
        while let Some(index) = self.bits.first_set(self.next).filter(|index| *index < self.tree.length) {
            let Ok(Ok((offset, size))) = byte_range(&self.nodes, &self.tree, index.saturating_mul(2)) else {
                // Its leaf is lost, so nobody can tell what belongs there.
                self.next = index + 1;
                continue;
            };
            let is_first = self.asked.is_empty();
            let follows = is_first || offset == start.saturating_add(bytes);
            let fits = is_first || bytes.saturating_add(size) <= limit as u64;
            if !(follows && fits) {
                break;
            }
            let Ok(size) = usize::try_from(size) else {
                // No memory holds it.
                self.next = index + 1;
                continue;
            };
            if is_first {
                start = offset;
            }
            bytes += size as u64;
            self.asked.push((index, size));
            self.next = index + 1;
        }
        (!self.asked.is_empty()).then_some((start, bytes))
    }

    /// Takes the bytes that [`poll_range`](Self::poll_range) asked for, and returns the blocks in them that are what
    /// their leaves say.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Vec<(u64, Bytes)> {
        let mut rest = bytes;
        let mut blocks = Vec::new();
        for (index, size) in core::mem::take(&mut self.asked) {
            let Some((block, after)) = rest.split_at_checked(size) else { break };
            rest = after;
            let leaf = index.saturating_mul(2);
            if self.nodes.0.get(&leaf) == Some(&Node::leaf(leaf, block)) {
                blocks.push((index, Bytes::copy_from_slice(block)));
            }
        }
        blocks
    }
}

fn external(file: &[u8], start: u64, len: u64) -> Option<Header> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    Header::from_slice(file.get(start..end)?).ok().filter(|header| header.external.is_none())
}

/// Reads the file `tree`: node `i` at `40 * i`, all zero when it is absent.
fn read_tree(file: &[u8]) -> Nodes {
    let mut nodes = Nodes::default();
    for (index, bytes) in (0..).zip(file.chunks_exact(NODE)) {
        let mut reader = Reader::new(bytes);
        if bytes.iter().any(|byte| *byte != 0)
            && let (Ok(size), Ok(hash)) = (reader.u64(), reader.fixed())
        {
            nodes.0.insert(index, Node { index, size, hash });
        }
    }
    nodes
}

/// Bytes of a node in the file `tree`.
const NODE: usize = 40;

/// Bytes of a page in the file `bitfield`.
const PAGE: usize = (BITS_PER_PAGE / 8) as usize;

/// Where a corestore 6 kept the name of a core, and the namespace of the name.
const NAME: &str = "corestore/name";
const NAMESPACE: &str = "corestore/namespace";
