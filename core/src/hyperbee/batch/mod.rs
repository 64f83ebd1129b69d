//! Writing: puts and deletes become the blocks to append.
//!
//! A batch changes the tree in memory, loading nodes as it meets them. Each change yields a block with the
//! nodes it rewrote; the blocks of one batch are appended at once, and only the last is a version.
//!
//! Source: hyperbee 2.27, `index.js` (`Batch`, `rebalance`).

mod delete;
mod encode;

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::cache::BlockCache;
use super::error::{BadBlock, Problem, ReadError};
use super::tree::{BlockSource, Entry, PendingChild, Reader};
use super::{MAX_DEPTH, MAX_KEYS};

/// A batch of puts and deletes, or a single one.
///
/// The core must have its header, see [`header_block`](super::header_block). Blocks are appended to it in one
/// go, at the length that was given, as [`finish`](Self::finish) returns them; a batch of one is a plain put
/// or delete. Every method that reads can be called again after [`ReadError::Missing`].
#[derive(Clone, Debug)]
pub struct BatchWriter {
    /// Blocks in the core: the index of the first block of this batch.
    length: u64,
    /// The version that is changed.
    base: u64,
    always_duplicate: bool,
    root: Option<NodeId>,
    nodes: Vec<TreeNode>,
    children: Vec<Child>,
    blocks: Vec<PendingBlock>,
}

impl BatchWriter {
    /// Makes a batch for a core of `length` blocks, at least 1.
    ///
    /// Without `always_duplicate`, a put of the value that is there does nothing. Upstream has it on unless
    /// told otherwise.
    pub fn new(length: u64, always_duplicate: bool) -> Self {
        Self {
            length,
            base: length,
            always_duplicate,
            root: None,
            nodes: Vec::new(),
            children: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Changes another version than the newest.
    pub fn based_on(mut self, version: u64) -> Self {
        self.base = version;
        self
    }

    /// Returns the version that reads of this batch see.
    pub fn version(&self) -> u64 {
        if self.blocks.is_empty() { self.base } else { self.next_seq() }
    }

    /// Returns how many blocks will be appended.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether nothing will be appended.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns the block of the next put or delete: what a caller's compare-and-swap sees as the new entry's.
    pub fn next_seq(&self) -> u64 {
        self.length.saturating_add(u64::try_from(self.blocks.len()).unwrap_or(u64::MAX))
    }

    /// Returns the entry that a put or delete of `key` would replace, for the caller to decide.
    ///
    /// If it decides against a put, it must say so with [`refuse_put`](Self::refuse_put).
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn current(
        &mut self,
        source: &dyn BlockSource,
        cache: &mut BlockCache,
        key: &[u8],
    ) -> Result<Option<Entry>, ReadError> {
        let mut reader = Reader::new(source, cache);
        match self.find(&mut reader, key)? {
            Some(Path { node, place: Place::Key(i), .. }) => self.entry(&mut reader, node, i).map(Some),
            _ => Ok(None),
        }
    }

    /// Puts a key. Returns whether that will append a block.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The batch has not changed.
    pub fn put(
        &mut self,
        source: &dyn BlockSource,
        cache: &mut BlockCache,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<bool, ReadError> {
        let mut reader = Reader::new(source, cache);
        let new = Key { seq: self.next_seq(), bytes: Some(key.clone()) };
        let Some(path) = self.find(&mut reader, &key)? else {
            let root =
                self.add_node(TreeNode { keys: alloc::vec![new], children: Vec::new(), changed: true });
            self.append(root, key, value);
            return Ok(true);
        };
        let root = path.steps.first().map_or(path.node, |(node, _)| *node);
        match path.place {
            Place::Key(i) => {
                if !self.always_duplicate && self.entry(&mut reader, path.node, i)?.value == value {
                    self.mark_inner(&path);
                    return Ok(false);
                }
                self.mark(&path);
                self.node_mut(path.node).keys[i] = new;
                self.append(root, key, value);
            }
            Place::Gap(i) => {
                self.mark(&path);
                self.node_mut(path.node).keys.insert(i, new);
                let root = self.split(path).unwrap_or(root);
                self.append(root, key, value);
            }
        }
        Ok(true)
    }

    /// Leaves a key that is there as it is.
    ///
    /// Upstream marks the inner nodes on the way as changed before it asks, and so they are in the next block
    /// of the batch.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong.
    pub fn refuse_put(
        &mut self,
        source: &dyn BlockSource,
        cache: &mut BlockCache,
        key: &[u8],
    ) -> Result<(), ReadError> {
        if let Some(path) = self.find(&mut Reader::new(source, cache), key)? {
            self.mark_inner(&path);
        }
        Ok(())
    }

    pub(super) fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// Returns block and, if it is in memory, the bytes of a key.
    pub(super) fn key(&self, node: NodeId, i: usize) -> (u64, Option<&Bytes>) {
        let key = self.nodes.get(node.0).and_then(|node| node.keys.get(i));
        key.map_or((0, None), |key| (key.seq, key.bytes.as_ref()))
    }

    pub(super) fn child(&self, node: NodeId, i: usize) -> PendingChild {
        let id = self.nodes.get(node.0).and_then(|node| node.children.get(i));
        match id.and_then(|id| self.children.get(id.0)) {
            Some(Child { node: Some(node), .. }) => PendingChild::Loaded(*node),
            Some(Child { seq, offset, .. }) => PendingChild::Stored { seq: *seq, offset: *offset },
            None => PendingChild::Stored { seq: 0, offset: 0 },
        }
    }

    pub(super) fn key_count(&self, node: NodeId) -> usize {
        self.nodes.get(node.0).map_or(0, |node| node.keys.len())
    }

    pub(super) fn child_count(&self, node: NodeId) -> usize {
        self.nodes.get(node.0).map_or(0, |node| node.children.len())
    }

    pub(super) fn pending_entry(&self, seq: u64) -> Option<Entry> {
        let place = usize::try_from(seq.checked_sub(self.length)?).ok()?;
        let block = self.blocks.get(place)?;
        Some(Entry { seq, key: block.key.clone(), value: block.value.clone() })
    }

    fn entry(&mut self, reader: &mut Reader<'_>, node: NodeId, i: usize) -> Result<Entry, ReadError> {
        let (seq, _) = self.key(node, i);
        match self.pending_entry(seq) {
            Some(entry) => Ok(entry),
            None => reader.entry(seq),
        }
    }

    /// Goes down to a key, or to the leaf where it would be. `None` when there is no tree.
    fn find(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Result<Option<Path>, ReadError> {
        let Some(mut node) = self.load_root(reader)? else { return Ok(None) };
        let mut steps = Vec::new();
        while steps.len() < MAX_DEPTH {
            let place = self.search(reader, node, key)?;
            match place {
                Place::Gap(i) if self.child_count(node) > 0 => {
                    let child = self.load_child(reader, node, i)?;
                    steps.push((node, i));
                    node = child;
                }
                _ => return Ok(Some(Path { steps, node, place })),
            }
        }
        Err(BadBlock { seq: self.length.saturating_sub(1), problem: Problem::TooDeep }.into())
    }

    fn search(&mut self, reader: &mut Reader<'_>, node: NodeId, key: &[u8]) -> Result<Place, ReadError> {
        let keys = &mut self.nodes[node.0].keys;
        let (mut low, mut high) = (0, keys.len());
        while low < high {
            let middle = (low + high) / 2;
            match key.cmp(keys[middle].load(reader)?) {
                Ordering::Equal => return Ok(Place::Key(middle)),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        Ok(Place::Gap(low))
    }

    fn load_root(&mut self, reader: &mut Reader<'_>) -> Result<Option<NodeId>, ReadError> {
        if self.root.is_none()
            && let Some(seq) = self.base.checked_sub(1).filter(|seq| *seq > 0)
        {
            self.root = Some(self.adopt(reader, seq, 0)?);
        }
        Ok(self.root)
    }

    fn load_child(&mut self, reader: &mut Reader<'_>, node: NodeId, i: usize) -> Result<NodeId, ReadError> {
        let id = self.nodes[node.0].children[i];
        match self.children[id.0] {
            Child { node: Some(node), .. } => Ok(node),
            Child { seq, offset, .. } => {
                let node = self.adopt(reader, seq, offset)?;
                self.children[id.0].node = Some(node);
                Ok(node)
            }
        }
    }

    /// Takes a node of a block into memory.
    fn adopt(&mut self, reader: &mut Reader<'_>, seq: u64, offset: u64) -> Result<NodeId, ReadError> {
        let node = reader.node(seq, offset)?;
        let (keys, children) = (node.keys()?, node.children()?);
        let keys = keys.into_iter().map(|seq| Key { seq, bytes: None }).collect();
        let children =
            children.into_iter().map(|(seq, offset)| self.add_child(Child { seq, offset, node: None }));
        let children = children.collect();
        Ok(self.add_node(TreeNode { keys, children, changed: false }))
    }

    fn mark(&mut self, path: &Path) {
        self.mark_steps(path);
        self.node_mut(path.node).changed = true;
    }

    /// Marks what upstream marks on its way down: every node but a leaf.
    fn mark_inner(&mut self, path: &Path) {
        self.mark_steps(path);
        if self.child_count(path.node) > 0 {
            self.node_mut(path.node).changed = true;
        }
    }

    fn mark_steps(&mut self, path: &Path) {
        for (node, _) in &path.steps {
            self.node_mut(*node).changed = true;
        }
    }

    /// Splits nodes that are too large, from the end of the path up. Returns the root if it is a new one.
    fn split(&mut self, path: Path) -> Option<NodeId> {
        let Path { mut steps, mut node, .. } = path;
        while self.key_count(node) > MAX_KEYS {
            let left = self.node_mut(node);
            let keys = left.keys.split_off(MAX_KEYS / 2 + 1);
            let median = left.keys.pop().expect("half of the keys are left");
            let children = if left.children.is_empty() {
                Vec::new()
            } else {
                left.children.split_off(left.children.len() - keys.len() - 1)
            };
            let right = self.add_node(TreeNode { keys, children, changed: true });
            let right = self.add_child(Child { seq: 0, offset: 0, node: Some(right) });

            let Some((parent, i)) = steps.pop() else {
                let left = self.add_child(Child { seq: 0, offset: 0, node: Some(node) });
                let (keys, children) = (alloc::vec![median], alloc::vec![left, right]);
                return Some(self.add_node(TreeNode { keys, children, changed: true }));
            };
            let parent_node = self.node_mut(parent);
            parent_node.keys.insert(i, median);
            parent_node.children.insert(i + 1, right);
            node = parent;
        }
        None
    }

    /// Makes the block of a change: everything marked as changed gets its place in the index.
    fn append(&mut self, root: NodeId, key: Bytes, value: Option<Bytes>) {
        let mut index = Vec::with_capacity(LIKELY_LEVELS);
        self.index_changes(root, self.next_seq(), &mut index);
        self.root = Some(root);
        self.blocks.push(PendingBlock { root, index, key, value });
    }

    /// Numbers the changed nodes below `node`, each before its children. No deeper than a path.
    fn index_changes(&mut self, node: NodeId, seq: u64, index: &mut Vec<ChildId>) {
        self.node_mut(node).changed = false;
        for i in 0..self.child_count(node) {
            let id = self.nodes[node.0].children[i];
            let Some(child) = self.children[id.0].node.filter(|child| self.nodes[child.0].changed) else {
                continue;
            };
            index.push(id);
            // The root is number 0 and not in the list.
            let offset = u64::try_from(index.len()).unwrap_or(u64::MAX);
            self.children[id.0] = Child { seq, offset, node: Some(child) };
            self.index_changes(child, seq, index);
        }
    }

    fn add_node(&mut self, node: TreeNode) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn add_child(&mut self, child: Child) -> ChildId {
        self.children.push(child);
        ChildId(self.children.len() - 1)
    }

    fn node_mut(&mut self, node: NodeId) -> &mut TreeNode {
        &mut self.nodes[node.0]
    }
}

/// A node in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// A pointer to a node. It keeps its identity when it moves from node to node: an index lists pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChildId(usize);

#[derive(Clone, Debug)]
struct TreeNode {
    keys: Vec<Key>,
    children: Vec<ChildId>,
    /// Whether the next block has to contain it.
    changed: bool,
}

#[derive(Clone, Debug)]
struct Key {
    seq: u64,
    /// Loaded when it is first compared with.
    bytes: Option<Bytes>,
}

impl Key {
    fn load(&mut self, reader: &mut Reader<'_>) -> Result<&Bytes, ReadError> {
        if self.bytes.is_none() {
            self.bytes = Some(reader.key(self.seq)?.key.clone());
        }
        Ok(self.bytes.as_ref().expect("loaded above"))
    }
}

#[derive(Clone, Copy, Debug)]
struct Child {
    /// The block with the node; 0 when the node was merged into another.
    seq: u64,
    offset: u64,
    /// The node, once loaded.
    node: Option<NodeId>,
}

#[derive(Clone, Debug)]
struct PendingBlock {
    root: NodeId,
    /// The changed nodes below the root.
    index: Vec<ChildId>,
    key: Bytes,
    value: Option<Bytes>,
}

/// The way to a key: nodes with the child that was taken, then the last node.
struct Path {
    steps: Vec<(NodeId, usize)>,
    node: NodeId,
    place: Place,
}

/// Where a key is in a node.
#[derive(Clone, Copy)]
enum Place {
    /// It is the key here.
    Key(usize),
    /// It would be before the key here.
    Gap(usize),
}

/// Nodes below the root that a change rewrites, in most trees.
const LIKELY_LEVELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hyperbee::error::Missing;

    struct NoBlocks;

    impl BlockSource for NoBlocks {
        fn block(&self, _: u64) -> Result<Bytes, Missing> {
            Err(Missing)
        }
    }

    #[test]
    fn missing_block_changes_nothing() {
        let (mut batch, mut cache) = (BatchWriter::new(7, true), BlockCache::default());
        let key = Bytes::from_static(b"key");

        assert_eq!(batch.put(&NoBlocks, &mut cache, key.clone(), None), Err(ReadError::Missing));
        assert_eq!(batch.delete(&NoBlocks, &mut cache, key), Err(ReadError::Missing));

        assert!(batch.is_empty());
        assert_eq!(batch.version(), 7);
        assert!(batch.finish().is_empty());
    }

    #[test]
    fn empty_core_needs_nothing() {
        let (mut batch, mut cache) = (BatchWriter::new(1, true), BlockCache::default());
        let key = Bytes::from_static(b"key");

        assert_eq!(batch.delete(&NoBlocks, &mut cache, key.clone()), Ok(false));
        assert_eq!(batch.put(&NoBlocks, &mut cache, key.clone(), Some(key.clone())), Ok(true));
        let current = batch.current(&NoBlocks, &mut cache, &key).unwrap();

        assert_eq!(current, Some(Entry { seq: 1, key: key.clone(), value: Some(key) }));
        assert_eq!((batch.len(), batch.version(), batch.next_seq()), (1, 2, 2));
    }
}
