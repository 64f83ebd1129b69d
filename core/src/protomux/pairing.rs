//! Which opens of one end wait for which of the other.

use crate::collections::BTreeMap;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A protocol name with a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    protocol: String,
    key: Vec<u8>,
}

impl Name {
    pub(super) fn new(protocol: &str, key: &[u8]) -> Self {
        Self { protocol: protocol.to_string(), key: key.to_vec() }
    }
}

/// Names a set of channels that pair with each other, in the order in which they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(u64);

#[derive(Debug, Default)]
pub(super) struct Pairing {
    names: BTreeMap<Name, GroupId>,
    groups: BTreeMap<GroupId, Group>,
    /// The group of each of our ids that waits for an answer.
    waiting: BTreeMap<u64, GroupId>,
    next: u64,
}

#[derive(Debug, Default)]
struct Group {
    names: Vec<Name>,
    /// Channels that we have open, answered or not.
    open: usize,
    /// Our ids that wait for an answer.
    outgoing: VecDeque<u64>,
    /// The remote end's ids that wait for ours.
    incoming: VecDeque<u64>,
}

impl Pairing {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.groups.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn find(&self, name: &Name) -> Option<GroupId> {
        self.names.get(name).copied()
    }

    /// Returns the group that answers to `protocol`, and makes it answer to the aliases as well.
    pub(super) fn group(&mut self, protocol: &str, aliases: &[&str], key: &[u8]) -> GroupId {
        let name = Name::new(protocol, key);
        let group = self.find(&name).unwrap_or_else(|| {
            let group = GroupId(self.next);
            self.next += 1;
            self.groups.insert(group, Group::default());
            self.add_name(group, name);
            group
        });
        for alias in aliases {
            let alias = Name::new(alias, key);
            match self.find(&alias) {
                Some(other) if other != group => self.merge(other, group),
                Some(_) => {}
                None => self.add_name(group, alias),
            }
        }
        group
    }

    pub(super) fn is_open(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|group| group.open > 0)
    }

    /// Notes that we opened `local_id`; returns the remote id that it pairs with, or 0.
    pub(super) fn opened(&mut self, id: GroupId, local_id: u64) -> u64 {
        let Some(group) = self.groups.get_mut(&id) else { return 0 };
        group.open += 1;
        if let Some(remote_id) = group.incoming.pop_front() {
            return remote_id;
        }
        group.outgoing.push_back(local_id);
        self.waiting.insert(local_id, id);
        0
    }

    /// Returns our id that an open of the remote end answers.
    pub(super) fn answered(&mut self, group: GroupId) -> Option<u64> {
        let local_id = self.groups.get_mut(&group)?.outgoing.pop_front()?;
        self.waiting.remove(&local_id);
        Some(local_id)
    }

    pub(super) fn remote_opened(&mut self, group: GroupId, remote_id: u64) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.incoming.push_back(remote_id);
        }
    }

    /// Notes that we refused `remote_id`.
    pub(super) fn rejected(&mut self, id: GroupId, remote_id: u64) {
        // A group may have been merged into another since the open arrived.
        let found = match self.groups.get(&id) {
            Some(_) => Some(id),
            None => {
                self.groups.iter().find(|(_, group)| group.incoming.contains(&remote_id)).map(|(id, _)| *id)
            }
        };
        let Some(id) = found else { return };
        if let Some(group) = self.groups.get_mut(&id) {
            group.incoming.retain(|id| *id != remote_id);
        }
        self.collect(id);
    }

    /// Notes that the remote end refused `local_id`.
    pub(super) fn remote_rejected(&mut self, local_id: u64) {
        let Some(id) = self.waiting.remove(&local_id) else { return };
        if let Some(group) = self.groups.get_mut(&id) {
            group.outgoing.retain(|id| *id != local_id);
        }
        self.collect(id);
    }

    /// Notes that one of our channels is gone.
    pub(super) fn closed(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.open = group.open.saturating_sub(1);
        }
        self.collect(id);
    }

    /// Drops a group that nobody needs.
    pub(super) fn collect(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        if group.open == 0 && group.outgoing.is_empty() && group.incoming.is_empty() {
            for name in self.groups.remove(&id).unwrap_or_default().names {
                self.names.remove(&name);
            }
        }
    }

    fn add_name(&mut self, group: GroupId, name: Name) {
        self.names.insert(name.clone(), group);
        if let Some(group) = self.groups.get_mut(&group) {
            group.names.push(name);
        }
    }

    /// Moves what waits under an alias, where none of ours is open, to the group that has it as one.
    fn merge(&mut self, from: GroupId, to: GroupId) {
        if self.groups.get(&from).is_none_or(|group| group.open > 0 || !group.outgoing.is_empty()) {
            return;
        }
        let Some(group) = self.groups.remove(&from) else { return };
        for name in group.names {
            self.add_name(to, name);
        }
        if let Some(to) = self.groups.get_mut(&to) {
            to.incoming.extend(group.incoming);
        }
    }
}
