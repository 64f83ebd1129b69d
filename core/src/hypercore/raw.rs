//! The records of a log as they are stored, for those who look after storage themselves.
//!
//! Source: hypercore-storage 3.2, `lib/tx.js`, `CoreRX` and `CoreTX`.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use crate::storage::keys;
use crate::storage::{Durability, Op, StorageFailure, Store};

use super::bitfield::{BYTES_PER_PAGE, pack_page, unpack_page};
use super::core::{Core, Step};
use super::error::CoreError;
use super::jobs::Value;
use super::nodes::ReadSet;
use super::write::fits;

/// Names a record of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Who the core is and who signs it.
    Auth,
    /// A block.
    Block(u64),
    /// What a branch shares with its parent.
    Dependency,
    /// The group that the core belongs to.
    Group,
    /// The head.
    Head,
    /// The hints.
    Hints,
    /// Something that a program keeps for itself, by a key of at most [`MAX_LOCAL_KEY`] bytes.
    Local(Bytes),
    /// A page of marks.
    Mark(u64),
    /// A node of the tree.
    Node(u64),
    /// A page of the bitfield, 4096 bytes.
    Page(u64),
    /// The names of the branches.
    Sessions,
    /// A piece of user data.
    UserData(String),
}

/// A change of one record or of many.
#[derive(Clone, Debug)]
pub enum RecordChange {
    /// Stores a record.
    Put(Record, Bytes),
    /// Removes a record.
    Delete(Record),
    /// Removes the records of one kind from one to another, exclusive; without an end, all from there on.
    DeleteRange(Record, Option<Record>),
}

impl Core {
    /// Reads records as this log reads them, those that it shares with another included.
    pub(super) fn read_records(&self, records: &[Record], loaded: &ReadSet, store: &Store) -> Step {
        let wanted = RefCell::default();
        let mut values = Vec::with_capacity(records.len());
        for record in records {
            let key = match record {
                Record::Block(index) => self.layers.block(*index),
                Record::Node(index) => self.layers.node(*index),
                record => self.record_key(record),
            };
            let value = loaded.value(store, key, &wanted).unwrap_or_default();
            values.push(match (record, value) {
                (Record::Page(_), Some(stored)) => match unpack_page(&stored) {
                    None => return Step::Failed(StorageFailure::Corrupted.into()),
                    page => page,
                },
                (_, value) => value,
            });
        }
        if wanted.borrow().is_empty() {
            Step::Done(Value::Records(values))
        } else {
            Step::Read(wanted.take())
        }
    }

    /// Changes records behind the back of the log: what it holds in memory stays as it is, but for nodes.
    pub(super) fn write_records(&mut self, changes: &[RecordChange], store: &mut Store) -> Step {
        let bytes = changes.iter().map(|change| match change {
            RecordChange::Put(_, value) => value.len().saturating_add(RECORD_COST),
            _ => RECORD_COST,
        });
        if self.is_cutting || !self.is_idle() || !store.has_room(bytes.fold(0, usize::saturating_add)) {
            return Step::Park;
        }
        let mut ops = Vec::with_capacity(changes.len());
        for change in changes {
            ops.push(match change {
                RecordChange::Put(record, value) => {
                    let key = self.record_key(record);
                    if let Err(error) = fits(&key, Some(value)) {
                        return Step::Failed(error);
                    }
                    let value = match record {
                        Record::Page(_) if value.len() > BYTES_PER_PAGE => {
                            return Step::Failed(CoreError::BadArgument("a page has 4096 bytes"));
                        }
                        Record::Page(_) => pack_page(value),
                        _ => value.clone(),
                    };
                    Op::Put { key, value }
                }
                RecordChange::Delete(record) => Op::Delete { key: self.record_key(record) },
                RecordChange::DeleteRange(start, end) => {
                    let end = match end {
                        Some(end) if core::mem::discriminant(end) != core::mem::discriminant(start) => {
                            return Step::Failed(CoreError::BadArgument("a range is of records of one kind"));
                        }
                        Some(end) => self.record_key(end),
                        None => match start {
                            Record::Block(_) => self.keys.blocks_end(),
                            Record::Node(_) => self.keys.nodes_end(),
                            Record::Page(_) => self.keys.pages_end(),
                            Record::Mark(_) => self.keys.marks_end(),
                            Record::Local(_) => self.keys.locals_end(),
                            _ => return Step::Failed(CoreError::BadArgument("there is one such record")),
                        },
                    };
                    Op::DeleteRange { start: self.record_key(start), end }
                }
            });
        }
        if ops.is_empty() {
            return self.staged_already(Value::Done);
        }
        self.cache.retain(|_| false);
        self.stage(store, ops, Durability::Strict);
        Step::Staged(Value::Done)
    }

    fn record_key(&self, record: &Record) -> Bytes {
        match record {
            Record::Auth => keys::auth(self.core_pointer()),
            Record::Block(index) => self.keys.block(*index),
            Record::Dependency => self.keys.dependency(),
            Record::Group => keys::core_group(self.core_pointer()),
            Record::Head => self.keys.head(),
            Record::Hints => self.keys.hints(),
            Record::Local(key) => self.keys.local(key),
            Record::Mark(index) => self.keys.mark(*index),
            Record::Node(index) => self.keys.node(*index),
            Record::Page(index) => self.keys.page(*index),
            Record::Sessions => keys::sessions(self.core_pointer()),
            Record::UserData(name) => self.keys.user_data(name),
        }
    }
}

/// Bytes that a record takes beside its value.
const RECORD_COST: usize = 64;

/// Largest key of a [`Record::Local`], in bytes.
///
/// Source: hypercore-storage 3.2, `lib/keys.js`, `core.local`.
pub const MAX_LOCAL_KEY: usize = 2048;
