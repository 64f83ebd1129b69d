//! Where the parts of a log are read: in its own records or, below the point where it branched off, in another's.
//!
//! Source: hypercore-storage 3.2, `index.js`, `_addDependency` and `findDependencyIndex`; `lib/tx.js`,
//! `findBlockDependency` and `findTreeDependency`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::flat_tree;
use crate::storage::keys::DataKeys;
use crate::storage::records::Dependency;

/// The data pointers that one log is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    own: u64,
    /// Oldest first; each covers the blocks from the length of the one before to its own length.
    below: Vec<Dependency>,
}

impl Layers {
    /// Returns the layers of a log that shares nothing.
    pub fn new(own: u64) -> Self {
        Self { own, below: Vec::new() }
    }

    /// Returns the layers of a branch that shares the first `length` blocks of this log.
    pub fn branch(&self, own: u64, length: u64) -> Self {
        let covered = self.below.iter().position(|dependency| dependency.length > length);
        let mut below = self.below.get(..covered.unwrap_or(self.below.len())).unwrap_or_default().to_vec();
        let data = covered.and_then(|at| self.below.get(at)).map_or(self.own, |dependency| dependency.data);
        below.push(Dependency { data, length });
        Self { own, below }
    }

    /// Returns the keys that are written.
    pub fn own(&self) -> DataKeys {
        DataKeys { data: self.own }
    }

    /// Returns what is read elsewhere, oldest first: each covers the blocks from the length of the one before to its own length.
    pub fn below(&self) -> &[Dependency] {
        &self.below
    }

    /// Returns what is shared with the parent, if anything is.
    pub fn dependency(&self) -> Option<Dependency> {
        self.below.last().copied()
    }

    /// Returns whether what is below is read in the keys that are written: a branch of a branch of itself.
    pub fn is_circular(&self) -> bool {
        self.below.iter().any(|dependency| dependency.data == self.own)
    }

    /// Returns how many blocks are read elsewhere.
    pub fn shared_length(&self) -> u64 {
        self.dependency().map_or(0, |dependency| dependency.length)
    }

    /// Returns how many blocks are read in the log of that data pointer; `None` when this is that log.
    pub fn shared_with(&self, data: u64) -> Option<u64> {
        let dependency = self.below.iter().rfind(|dependency| dependency.data == data);
        (self.own != data).then(|| dependency.map_or(0, |dependency| dependency.length))
    }

    /// Returns the key under which a block is read.
    pub fn block(&self, index: u64) -> Bytes {
        self.holding(|dependency| index < dependency.length).block(index)
    }

    /// Returns the key under which a tree node is read.
    pub fn node(&self, index: u64) -> Bytes {
        let end = flat_tree::right_span(index);
        self.holding(|dependency| end < dependency.length.saturating_mul(2)).node(index)
    }

    /// Shares `length` blocks at most. Returns what is shared then, if that changed.
    pub fn shrink(&mut self, length: u64) -> Option<Dependency> {
        let at = self.below.iter().position(|dependency| dependency.length >= length)?;
        self.share(at, length)
    }

    /// Shares the first `length` blocks with the parent, who got them. Returns what is shared then.
    pub fn advance(&mut self, length: u64) -> Option<Dependency> {
        let at = self.below.iter().rposition(|dependency| dependency.length <= length)?;
        self.share(at, length)
    }

    fn share(&mut self, at: usize, length: u64) -> Option<Dependency> {
        self.below.truncate(at.saturating_add(1));
        let last = self.below.last_mut()?;
        last.length = length;
        Some(*last)
    }

    fn holding(&self, holds: impl Fn(&Dependency) -> bool) -> DataKeys {
        let data = self.below.iter().find(|dependency| holds(dependency)).map(|dependency| dependency.data);
        DataKeys { data: data.unwrap_or(self.own) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_of_a_branch_reads_each_part_where_it_was_written() {
        let main = Layers::new(0);
        let first = main.branch(1, 4);
        let second = first.branch(2, 6);

        let data = |index| DataKeys { data: index };
        assert!(!second.is_circular());
        assert!(second.branch(1, 7).is_circular());
        assert!(!second.branch(1, 3).is_circular());
        assert_eq!(second.block(3), data(0).block(3));
        assert_eq!(second.block(5), data(1).block(5));
        assert_eq!(second.block(6), data(2).block(6));
        assert_eq!(second.node(3), data(0).node(3));
        assert_eq!(second.node(7), data(2).node(7));
        assert_eq!(
            first.branch(3, 2),
            Layers { own: 3, below: alloc::vec![Dependency { data: 0, length: 2 }] }
        );
    }

    #[test]
    fn what_is_shared_shrinks_and_advances() {
        let mut branch = Layers::new(0).branch(1, 4).branch(2, 6);

        assert_eq!(branch.shrink(5), Some(Dependency { data: 1, length: 5 }));
        assert_eq!(branch.shrink(3), Some(Dependency { data: 0, length: 3 }));
        assert_eq!(branch.shared_length(), 3);
        assert_eq!(branch.advance(9), Some(Dependency { data: 0, length: 9 }));
        assert_eq!(Layers::new(0).shrink(0), None);
    }
}
