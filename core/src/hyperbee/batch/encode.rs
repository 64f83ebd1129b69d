//! The blocks of a batch as bytes.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::{BatchWriter, ChildId, NodeId, PendingBlock};
use crate::hyperbee::messages::{Level, Node};

impl BatchWriter {
    /// Returns the blocks to append, in one append.
    ///
    /// Only the last block is a version. From the others, nodes that were changed again are left out: they
    /// never will be read.
    pub fn finish(mut self) -> Vec<Bytes> {
        let blocks = core::mem::take(&mut self.blocks);
        let last = blocks.len().saturating_sub(1);
        let mut encoded = Vec::with_capacity(blocks.len());
        let mut level = Level::default();
        for (place, block) in blocks.into_iter().enumerate() {
            let PendingBlock { root, mut index, key, value } = block;
            let seq = self.length.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
            let root = if place == last { Some(root) } else { None };
            if root.is_none() {
                self.compact(&mut index, seq);
            }
            let nodes = index.iter().filter_map(|id| self.children[id.0].node);
            let mut index = Vec::with_capacity(LIKELY_INDEX_LEN);
            for node in root.into_iter().chain(nodes) {
                self.fill(&mut level, node);
                // Level by level, what `YoloIndex` encodes to.
                prost::encoding::message::encode(1, &level, &mut index);
            }
            encoded.push(Node { index: Some(index.into()), key: Some(key), value }.encode_to_vec().into());
        }
        encoded
    }

    /// Drops the root and all pointers that name another block, filling the gaps from the end.
    fn compact(&mut self, index: &mut Vec<ChildId>, seq: u64) {
        // The gap that the root leaves is filled like any other.
        if let Some(last) = index.pop() {
            index.insert(0, last);
        }
        let mut place = 0;
        while place < index.len() {
            let child = &mut self.children[index[place].0];
            if child.seq == seq {
                child.offset = u64::try_from(place).unwrap_or(u64::MAX);
                place += 1;
            } else {
                index.swap_remove(place);
            }
        }
    }

    fn fill(&self, level: &mut Level, node: NodeId) {
        let node = &self.nodes[node.0];
        level.keys.clear();
        level.keys.extend(node.keys.iter().map(|key| key.seq));
        level.children.clear();
        for id in &node.children {
            let child = &self.children[id.0];
            level.children.extend([child.seq, child.offset]);
        }
    }
}

/// Bytes of the index of most blocks, at most.
const LIKELY_INDEX_LEN: usize = 256;
