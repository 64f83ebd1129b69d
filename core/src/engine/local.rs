//! A core as its replicator sees it.

use crate::hypercore::bitfield::Bitfield;
use crate::hypercore::core::Core;
use crate::replicator::Local;

impl Local for Core {
    fn fork(&self) -> u64 {
        self.tree().fork
    }

    fn length(&self) -> u64 {
        self.tree().length
    }

    fn contiguous_length(&self) -> u64 {
        self.contiguous_length()
    }

    fn bitfield(&self) -> &Bitfield {
        self.bitfield()
    }

    fn has_manifest(&self) -> bool {
        self.manifest().is_some()
    }

    fn is_compat(&self) -> bool {
        self.is_compat()
    }

    fn is_writable(&self) -> bool {
        self.is_writable()
    }

    fn missing_nodes(&self, tree_index: u64) -> u64 {
        self.missing_nodes(tree_index)
    }

    fn can_upgrade_from(&self, length: u64) -> Option<bool> {
        self.can_upgrade_from(length)
    }
}
