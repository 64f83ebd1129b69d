//! Groups of cores: a store keeps for each which of its cores changed when.
//!
//! Source: hypercore 11.35, `lib/core.js`, `setGroup`, and `lib/session-state.js`, `updateGroupIndex`;
//! hypercore-storage 3.2, `index.js`, `_createGroup`.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::compact_encoding::{Encode, Reader, Writer};
use crate::error::StorageFailure;
use crate::id::Hash;
use crate::storage::records::GroupPointer;
use crate::storage::{Durability, Op, Store, keys};

use super::core::{Core, Step, put};
use super::error::CoreError;
use super::jobs::Value;
use super::nodes::ReadSet;

impl Core {
    /// Returns the topic of the group that the core belongs to.
    pub fn group(&self) -> Option<&Hash> {
        self.group.as_ref().map(|group| &group.key)
    }

    /// Puts the core into a group, once and for all.
    pub(super) fn set_group(&mut self, topic: &Hash, loaded: &ReadSet, store: &mut Store) -> Step {
        if self.is_cutting || !store.has_room(0) {
            return Step::Park;
        }
        if self.group.is_some_and(|group| group.key != *topic) {
            return Step::Failed(CoreError::StorageConflict("core belongs to another group"));
        }
        let wanted = RefCell::default();
        let Ok(known) = loaded.value(store, keys::group(topic), &wanted) else {
            return Step::Read(wanted.take());
        };
        let mut ops = Vec::new();
        let pointer = match (self.group, known) {
            (Some(group), _) => group.pointer,
            (None, Some(known)) => match Reader::new(&known).uint() {
                Ok(pointer) => pointer,
                Err(_) => return Step::Failed(StorageFailure::Corrupted.into()),
            },
            (None, None) => {
                let Some(head) = &mut store.head else {
                    return Step::Failed(CoreError::InvalidOperation("a group cannot be made in an atom"));
                };
                let pointer = head.groups;
                head.groups += 1;
                ops.push(put(keys::store_head(), head.to_vec()));
                ops.push(put(keys::group(topic), encode_uint(pointer)));
                pointer
            }
        };
        let group = GroupPointer { key: *topic, pointer };
        ops.push(put(keys::core_group(self.core_pointer()), group.to_vec()));
        self.group = Some(group);
        self.stage(store, ops, Durability::Strict);
        Step::Staged(Value::Done)
    }

    /// Adds what notes in the group that the head is of this moment.
    pub(super) fn note_group_update(&self, milliseconds: u64, ops: &mut Vec<Op>) {
        let Some(group) = self.group.filter(|_| !self.is_branch()) else { return };
        let at = |time| keys::group_update(group.pointer, time, self.core_pointer());
        ops.push(Op::Delete { key: at(self.head_timestamp) });
        ops.push(put(at(milliseconds), self.key().to_vec()));
    }
}

fn encode_uint(value: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.uint(value);
    writer.into_vec()
}
