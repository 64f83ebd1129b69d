//! The keys of a store, in the order of hypercore-storage.
//!
//! A key is a sequence of integers that sort as numbers, fixed bytes, and texts that sort before their extensions.
//!
//! | key | record |
//! | --- | --- |
//! | `0` | [`StoreHead`](super::records::StoreHead) |
//! | `1 ‖ discovery key` | [`CorePointers`](super::records::CorePointers) |
//! | `2 ‖ namespace ‖ name` | discovery key |
//! | `3 ‖ core ‖ 0` | [`Auth`](super::records::Auth) |
//! | `3 ‖ core ‖ 1` | [`Sessions`](super::records::Sessions) |
//! | `3 ‖ core ‖ 2` | [`GroupPointer`](super::records::GroupPointer) |
//! | `4 ‖ data ‖ 0` | [`Head`](super::records::Head) |
//! | `4 ‖ data ‖ 1` | [`Dependency`](super::records::Dependency) |
//! | `4 ‖ data ‖ 2` | [`Hints`](super::records::Hints) |
//! | `4 ‖ data ‖ 3 ‖ block` | block, padding included |
//! | `4 ‖ data ‖ 4 ‖ tree index` | [`Node`](crate::crypto::Node) |
//! | `4 ‖ data ‖ 5 ‖ page ‖ 0` | bitfield page, [packed](crate::hypercore::bitfield::pack_page) |
//! | `4 ‖ data ‖ 6 ‖ name` | user data |
//! | `4 ‖ data ‖ 8 ‖ page` | blocks marked to stay, 4096 bytes |
//! | `5 ‖ topic` | group pointer, `uint` |
//! | `6 ‖ group ‖ u64be milliseconds ‖ core` | key of a core of the group that changed then |
//! | `64 ‖ discovery key` | [`CorePointers`](super::records::CorePointers) of a core that is not in the store yet; ours |
//!
//! Source: hypercore-storage 3.2, `lib/keys.js`; index-encoder 3.4, `lib/codecs`.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{DiscoveryKey, Hash};

/// Where the parts of one core are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeys {
    /// The core's data pointer.
    pub data: u64,
}

/// Returns the key of the store head.
pub fn store_head() -> Bytes {
    Bytes::from_static(&[STORE_HEAD])
}

/// Returns the key of a core's pointers.
pub fn core(discovery_key: &DiscoveryKey) -> Bytes {
    let mut key = Vec::with_capacity(33);
    key.push(CORE);
    key.extend_from_slice(discovery_key);
    key.into()
}

/// Returns the keys of all cores: first and end, exclusive.
pub fn cores() -> (Bytes, Bytes) {
    (Bytes::from_static(&[CORE]), Bytes::from_static(&[CORE + 1]))
}

/// Returns the key of the pointers of a core that is being brought in: nobody finds it under its own.
pub fn incoming(discovery_key: &DiscoveryKey) -> Bytes {
    let mut key = Vec::with_capacity(33);
    key.push(INCOMING);
    key.extend_from_slice(discovery_key);
    key.into()
}

/// Returns the keys of all cores that are being brought in: first and end, exclusive.
pub fn all_incoming() -> (Bytes, Bytes) {
    (Bytes::from_static(&[INCOMING]), Bytes::from_static(&[INCOMING + 1]))
}

/// Returns the discovery key inside a key of [`all_incoming`].
pub fn incoming_discovery_key(key: &[u8]) -> Option<DiscoveryKey> {
    key.strip_prefix(&[INCOMING])?.try_into().ok()
}

/// Returns the discovery key inside a key of [`cores`].
pub fn discovery_key(key: &[u8]) -> Option<DiscoveryKey> {
    key.strip_prefix(&[CORE])?.try_into().ok()
}

/// Returns the key of an alias.
pub fn alias(namespace: &Hash, name: &str) -> Bytes {
    let mut key = Vec::with_capacity(36 + name.len());
    key.push(ALIAS);
    key.extend_from_slice(namespace);
    put_text(&mut key, name);
    key.into()
}

/// Returns the keys of all aliases of a namespace, or of all: first and end, exclusive.
pub fn aliases(namespace: Option<&Hash>) -> (Bytes, Bytes) {
    let Some(namespace) = namespace else {
        return (Bytes::from_static(&[ALIAS]), Bytes::from_static(&[ALIAS + 1]));
    };
    let mut start = Vec::with_capacity(34);
    start.push(ALIAS);
    start.extend_from_slice(namespace);
    let mut end = start.clone();
    end.push(0xff);
    (start.into(), end.into())
}

/// Returns the namespace and name inside a key of [`aliases`].
pub fn alias_parts(key: &[u8]) -> Option<(Hash, String)> {
    let (namespace, rest) = key.strip_prefix(&[ALIAS])?.split_first_chunk::<32>()?;
    let mut text = rest.strip_prefix(&[0])?.strip_suffix(&[0, 1])?.iter().copied();
    let mut name = Vec::with_capacity(text.len());
    while let Some(byte) = text.next() {
        name.push(byte);
        if byte == 0 && text.next() != Some(2) {
            return None;
        }
    }
    Some((*namespace, String::from_utf8(name).ok()?))
}

/// Returns the key of a core's [`Auth`](super::records::Auth).
pub fn auth(core: u64) -> Bytes {
    core_part(core, AUTH)
}

/// Returns the key of a core's [`Sessions`](super::records::Sessions).
pub fn sessions(core: u64) -> Bytes {
    core_part(core, SESSIONS)
}

/// Returns the keys of all records about a core: first and end, exclusive. Its log is elsewhere.
pub fn core_parts(core: u64) -> (Bytes, Bytes) {
    (core_part(core, 0), core_part(core, u8::MAX))
}

/// Returns the key of what a core belongs to.
pub fn core_group(core: u64) -> Bytes {
    core_part(core, GROUP)
}

/// Returns the key of a group's pointer.
pub fn group(topic: &Hash) -> Bytes {
    let mut key = Vec::with_capacity(33);
    key.push(GROUPS);
    key.extend_from_slice(topic);
    key.into()
}

/// Returns the key of the last change of a core of a group.
pub fn group_update(group: u64, milliseconds: u64, core: u64) -> Bytes {
    let mut key = Vec::with_capacity(27);
    key.push(GROUP_UPDATES);
    put_uint(&mut key, group);
    key.extend_from_slice(&milliseconds.to_be_bytes());
    put_uint(&mut key, core);
    key.into()
}

/// Returns the keys of the changes of a group from a time on: first and end, exclusive.
pub fn group_updates(group: u64, since: u64) -> (Bytes, Bytes) {
    (group_update(group, since, 0), group_update(group.saturating_add(1), 0, 0))
}

fn core_part(core: u64, part: u8) -> Bytes {
    let mut key = Vec::with_capacity(11);
    key.push(CORE_PARTS);
    put_uint(&mut key, core);
    key.push(part);
    key.into()
}

impl DataKeys {
    /// Returns the key of the head.
    pub fn head(&self) -> Bytes {
        self.part(HEAD, 0).into()
    }

    /// Returns the key of what a branch shares with its parent.
    pub fn dependency(&self) -> Bytes {
        self.part(DEPENDENCY, 0).into()
    }

    /// Returns the key of the hints.
    pub fn hints(&self) -> Bytes {
        self.part(HINTS, 0).into()
    }

    /// Returns the key of a block.
    pub fn block(&self, index: u64) -> Bytes {
        self.numbered(BLOCK, index)
    }

    /// Returns the key of a tree node.
    pub fn node(&self, index: u64) -> Bytes {
        self.numbered(NODE, index)
    }

    /// Returns what the keys of all blocks begin with; the index follows.
    pub fn blocks(&self) -> Bytes {
        self.part(BLOCK, 0).into()
    }

    /// Returns what the keys of all tree nodes begin with; the index follows.
    pub fn nodes(&self) -> Bytes {
        self.part(NODE, 0).into()
    }

    /// Appends the key of a tree node to `out`.
    pub fn put_node(&self, index: u64, out: &mut Vec<u8>) {
        self.put_numbered(NODE, index, out);
    }

    /// Returns the key of a bitfield page.
    pub fn page(&self, index: u64) -> Bytes {
        let mut key = self.part(PAGE, 10);
        put_uint(&mut key, index);
        key.push(0);
        key.into()
    }

    /// Returns the key after those of all bitfield pages.
    pub fn pages_end(&self) -> Bytes {
        self.part(PAGE + 1, 0).into()
    }

    /// Returns the key after those of all blocks.
    pub fn blocks_end(&self) -> Bytes {
        self.part(BLOCK + 1, 0).into()
    }

    /// Returns the key after those of all tree nodes.
    pub fn nodes_end(&self) -> Bytes {
        self.part(NODE + 1, 0).into()
    }

    /// Returns the key of what a program keeps for itself.
    pub fn local(&self, name: &[u8]) -> Bytes {
        let mut key = self.part(LOCAL, name.len());
        key.extend_from_slice(name);
        key.into()
    }

    /// Returns the keys of what programs keep for themselves from a name on, up to another: first and end, exclusive.
    pub fn local_range(&self, from: &[u8], to: Option<&[u8]>) -> (Bytes, Bytes) {
        (self.local(from), to.map_or_else(|| self.locals_end(), |to| self.local(to)))
    }

    /// Returns the name inside a key of [`local`](Self::local).
    pub fn local_name(&self, key: &[u8]) -> Option<Bytes> {
        key.strip_prefix(self.part(LOCAL, 0).as_slice()).map(Bytes::copy_from_slice)
    }

    /// Returns the key after those of all that programs keep for themselves.
    pub fn locals_end(&self) -> Bytes {
        self.part(LOCAL + 1, 0).into()
    }

    /// Returns the key of a page of marks.
    pub fn mark(&self, page: u64) -> Bytes {
        self.numbered(MARK, page)
    }

    /// Returns the key after those of all pages of marks.
    pub fn marks_end(&self) -> Bytes {
        self.part(MARK + 1, 0).into()
    }

    /// Returns the index inside a key of [`block`](Self::block).
    pub fn block_index(&self, key: &[u8]) -> Option<u64> {
        self.number(BLOCK, key)
    }

    /// Returns the index inside a key of [`node`](Self::node).
    pub fn node_index(&self, key: &[u8]) -> Option<u64> {
        self.number(NODE, key)
    }

    /// Returns the page index inside a key of [`page`](Self::page).
    pub fn page_index(&self, key: &[u8]) -> Option<u64> {
        let mut rest = key.strip_prefix(self.part(PAGE, 0).as_slice())?;
        let index = take_uint(&mut rest)?;
        (rest == [0]).then_some(index)
    }

    /// Returns the key of a piece of user data.
    pub fn user_data(&self, name: &str) -> Bytes {
        let mut key = self.part(USER_DATA, name.len() + 4);
        put_text(&mut key, name);
        key.into()
    }

    /// Returns the keys of everything: first and end, exclusive.
    pub fn all(&self) -> (Bytes, Bytes) {
        (self.part(0, 0).into(), self.part(u8::MAX, 0).into())
    }

    /// Returns the keys of the user data from a name on, up to another: first and end, exclusive.
    pub fn user_data_range(&self, from: &str, to: Option<&str>) -> (Bytes, Bytes) {
        let end = to.map_or_else(|| self.part(USER_DATA + 1, 0).into(), |to| self.user_data(to));
        (self.user_data(from), end)
    }

    /// Returns the name inside a key of [`user_data`](Self::user_data).
    pub fn user_data_name(&self, key: &[u8]) -> Option<String> {
        let text = key.strip_prefix(self.part(USER_DATA, 0).as_slice())?.strip_prefix(&[0])?;
        let text = text.strip_suffix(&[0, 1])?;
        let mut name = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(&byte) = bytes.next() {
            name.push(byte);
            if byte == 0 {
                bytes.next().filter(|&&escape| escape == 2)?;
            }
        }
        String::from_utf8(name).ok()
    }

    fn numbered(&self, part: u8, index: u64) -> Bytes {
        // No room to spare: bytes that fill their memory need no second piece of it.
        let mut key = Vec::with_capacity(2 + uint_len(self.data) + uint_len(index));
        self.put_numbered(part, index, &mut key);
        key.into()
    }

    fn number(&self, part: u8, key: &[u8]) -> Option<u64> {
        let mut rest = key.strip_prefix(self.part(part, 0).as_slice())?;
        let index = take_uint(&mut rest)?;
        rest.is_empty().then_some(index)
    }

    fn put_numbered(&self, part: u8, index: u64, out: &mut Vec<u8>) {
        self.put_part(part, out);
        put_uint(out, index);
    }

    fn part(&self, part: u8, room: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(11 + room);
        self.put_part(part, &mut key);
        key
    }

    fn put_part(&self, part: u8, out: &mut Vec<u8>) {
        out.push(DATA_PARTS);
        put_uint(out, self.data);
        out.push(part);
    }
}

/// Longest key of a block or node.
pub const MAX_NUMBERED: usize = 20;

/// Appends an integer so that keys sort as numbers.
pub(super) fn put_uint(key: &mut Vec<u8>, value: u64) {
    if let Ok(byte @ ..=0xfb) = u8::try_from(value) {
        key.push(byte);
    } else if let Ok(short) = u16::try_from(value) {
        key.push(0xfc);
        key.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(value) {
        key.push(0xfd);
        key.extend_from_slice(&word.to_be_bytes());
    } else {
        key.push(0xfe);
        key.extend_from_slice(&value.to_be_bytes());
    }
}

/// Bytes of an integer.
pub(super) fn uint_len(value: u64) -> usize {
    match value {
        0..=0xfb => 1,
        0xfc..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Takes an integer off the front of a key.
pub(super) fn take_uint(key: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = key.split_first()?;
    let width = match first {
        0xfc => 2,
        0xfd => 4,
        0xfe => 8,
        0xff => return None,
        small => {
            *key = rest;
            return Some(u64::from(small));
        }
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    *key = rest;
    Some(digits.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// Appends a text so that it sorts before all its extensions.
fn put_text(key: &mut Vec<u8>, text: &str) {
    key.push(0);
    for &byte in text.as_bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(2);
        }
    }
    key.extend_from_slice(&[0, 1]);
}

const STORE_HEAD: u8 = 0;
const CORE: u8 = 1;
const ALIAS: u8 = 2;
const CORE_PARTS: u8 = 3;
const DATA_PARTS: u8 = 4;
const GROUPS: u8 = 5;
const GROUP_UPDATES: u8 = 6;
/// Far from those of upstream, which may come to have more.
const INCOMING: u8 = 64;

const AUTH: u8 = 0;
const SESSIONS: u8 = 1;
const GROUP: u8 = 2;

const HEAD: u8 = 0;
const DEPENDENCY: u8 = 1;
const HINTS: u8 = 2;
const BLOCK: u8 = 3;
const NODE: u8 = 4;
const PAGE: u8 = 5;
const USER_DATA: u8 = 6;
const LOCAL: u8 = 7;
const MARK: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_keys_sort_as_numbers_across_widths() {
        let keys = DataKeys { data: 300 };
        let numbers = [0, 1, 0xfb, 0xfc, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 1 << 32, u64::MAX];

        for pair in numbers.windows(2) {
            assert!(keys.block(pair[0]) < keys.block(pair[1]), "{pair:?}");
            assert!(keys.page(pair[0]) < keys.page(pair[1]), "{pair:?}");
        }
        assert!(keys.block(u64::MAX) < keys.blocks_end());
        assert!(keys.blocks_end() <= keys.node(0));
    }

    #[test]
    fn page_index_reads_back() {
        let keys = DataKeys { data: 7 };

        for index in [0, 0xfb, 0xfc, 0x1_0000, 1 << 40] {
            assert_eq!(keys.page_index(&keys.page(index)), Some(index));
        }
        assert_eq!(keys.page_index(&keys.node(0)), None);
        assert_eq!(DataKeys { data: 8 }.page_index(&keys.page(0)), None);
    }

    #[test]
    fn alias_reads_back() {
        for name in ["", "main", "a\0b", "\0", "é"] {
            assert_eq!(alias_parts(&alias(&[7; 32], name)), Some(([7; 32], name.into())));
        }
        assert_eq!(alias_parts(&store_head()), None);
        assert_eq!(alias_parts(&alias(&[7; 32], "a")[..35]), None);
    }

    #[test]
    fn texts_sort_before_their_extensions_even_with_zero_bytes() {
        let keys = DataKeys { data: 0 };
        let texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "ab", "b"];

        for pair in texts.windows(2) {
            assert!(keys.user_data(pair[0]) < keys.user_data(pair[1]), "{pair:?}");
        }
        for text in texts {
            assert_eq!(keys.user_data_name(&keys.user_data(text)).as_deref(), Some(text));
        }
        assert_eq!(keys.user_data_name(&keys.block(1)), None);
    }
}
