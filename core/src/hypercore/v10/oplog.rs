//! The file `oplog`: two slots for the header, then entries that happened after it.
//!
//! | at | what |
//! | --- | --- |
//! | 0, 4096 | header slots |
//! | 8192 | entries, back to back |
//!
//! A record is `u32 checksum ‖ u32 (length << 2 | partial << 1 | header bit) ‖ content`; the checksum is CRC-32 over
//! what follows it. A header that is written again goes to the other slot and flips its bit, so entries of before
//! carry the wrong bit and do not count.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::compact_encoding::{Decode, DecodeError, Reader, Result};
use crate::crypto::Node;
use crate::hypercore::manifest::Manifest;
use crate::id::{Hash, PublicKey};
use crate::storage::records::{StoredKeyPair, decode_key_pair, sized};

/// What an oplog holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oplog {
    /// The newest valid header; `None` when nothing was ever written.
    pub header: Option<Header>,
    /// What happened since.
    pub entries: Vec<Entry>,
    /// Bytes of those entries.
    pub entry_bytes: u64,
    /// The bits of both slots.
    pub header_bits: [u8; 2],
}

/// What was known about a core when its files were last brought up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Where in the file `header` everything is instead: offset and bytes.
    pub external: Option<(u64, u64)>,
    /// The core's key.
    pub key: PublicKey,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// The pair that signs.
    pub key_pair: Option<StoredKeyPair>,
    /// User data.
    pub user_data: Vec<(String, Bytes)>,
    /// How often it was truncated.
    pub fork: u64,
    /// Blocks.
    pub length: u64,
    /// The tree hash; `None` when empty.
    pub root_hash: Option<Hash>,
    /// The signature of the head.
    pub signature: Option<Bytes>,
    /// Blocks stored without a gap from the start, or fewer.
    pub contiguous_length: u64,
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// User data that was set; an empty value removes it.
    pub user_data: Option<(String, Bytes)>,
    /// Tree nodes that were stored.
    pub nodes: Vec<Node>,
    /// The new head.
    pub upgrade: Option<TreeUpgrade>,
    /// Blocks that were stored or dropped.
    pub bitfield: Option<BitfieldUpdate>,
}

/// A new head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeUpgrade {
    /// Its fork.
    pub fork: u64,
    /// Blocks shared with the head before.
    pub ancestors: u64,
    /// Its length.
    pub length: u64,
    /// Its signature.
    pub signature: Bytes,
}

/// Blocks that were stored or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitfieldUpdate {
    /// Whether they were dropped.
    pub drop: bool,
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// Neither header can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OplogError;

impl Oplog {
    /// Reads the file. Damage at its end is what a crash leaves, and is skipped.
    ///
    /// # Errors
    ///
    /// [`OplogError`] when there are entries but no header.
    pub fn read(file: &[u8]) -> core::result::Result<Self, OplogError> {
        let slot = |start: usize| {
            let bytes = file.get(start..file.len().min(start.saturating_add(SLOT)))?;
            let record = Record::read(bytes)?;
            Some((record.bit, Header::from_slice(record.content).ok()?))
        };
        let (bit, header, header_bits) = match (slot(0), slot(SLOT)) {
            (Some((first, header)), Some((second, newer))) => {
                let bit = first ^ second;
                (bit, if bit == 0 { header } else { newer }, [first, second])
            }
            (Some((first, header)), None) => (0, header, [first, first]),
            (None, Some((second, header))) => (1, header, [1 - second, second]),
            (None, None) if file.len() < ENTRIES => {
                return Ok(Self { header_bits: [1, 0], ..Self::default() });
            }
            (None, None) => return Err(OplogError),
        };
        let mut rest = file.get(ENTRIES..).unwrap_or_default();
        // An unfinished batch at the end did not happen: what counts ends with the last record that is not partial.
        let (mut entries, mut whole, mut bytes, mut whole_bytes) = (Vec::new(), 0, 0, 0);
        while let Some(record) = Record::read(rest).filter(|record| record.bit == bit) {
            let Ok(entry) = Entry::from_slice(record.content) else { break };
            let len = RECORD_HEAD + record.content.len();
            rest = rest.get(len..).unwrap_or_default();
            bytes += len as u64;
            entries.push(entry);
            if !record.is_partial {
                whole = entries.len();
                whole_bytes = bytes;
            }
        }
        entries.truncate(whole);
        Ok(Self { header: Some(header), entries, entry_bytes: whole_bytes, header_bits })
    }
}

struct Record<'a> {
    bit: u8,
    is_partial: bool,
    content: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (checksum, word) = (reader.u32().ok()?, reader.u32().ok()?);
        let end = usize::try_from(word >> 2).ok()?.checked_add(RECORD_HEAD)?;
        if hypertab_crypto::crc32(bytes.get(4..end)?) != checksum {
            return None;
        }
        let content = bytes.get(RECORD_HEAD..end)?;
        Some(Self { bit: u8::from(word & 1 != 0), is_partial: word & 2 != 0, content })
    }
}

impl Decode<'_> for Header {
    /// # Wire
    ///
    /// Version 1: `uint version ‖ uint flags ‖ [1: uint offset ‖ uint bytes, and nothing else] ‖ fixed32 key ‖
    /// [2: manifest] ‖ [4: key pair] ‖ user data ‖ tree ‖ hints ‖ [uint contiguous length]`. Version 0: three names of
    /// types, then user data, tree, key pair and hints of a core whose key is its public key.
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut header = Self::default();
        match reader.uint()? {
            0 => {
                for _ in 0..3 {
                    reader.string()?;
                }
                header.user_data = decode_user_data(reader)?;
                header.decode_tree(reader)?;
                let key_pair = decode_key_pair(reader)?;
                header.key = key_pair.public_key;
                header.manifest = Some(Manifest { version: 0, ..Manifest::single_signer(header.key) });
                header.key_pair = Some(key_pair);
                header.decode_hints(reader)?;
            }
            1 => {
                let flags = reader.uint()?;
                if flags & 1 != 0 {
                    header.external = Some((reader.uint()?, reader.uint()?));
                    return Ok(header);
                }
                header.key = reader.fixed()?;
                header.manifest = if flags & 2 != 0 { Some(Manifest::decode(reader)?) } else { None };
                header.key_pair = if flags & 4 != 0 { Some(decode_key_pair(reader)?) } else { None };
                header.user_data = decode_user_data(reader)?;
                header.decode_tree(reader)?;
                header.decode_hints(reader)?;
            }
            found => return Err(DecodeError::UnknownTag { found }),
        }
        Ok(header)
    }
}

impl Header {
    fn decode_tree(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        (self.fork, self.length) = (reader.uint()?, reader.uint()?);
        self.root_hash = reader.optional_buffer()?.map(sized).transpose()?;
        self.signature = reader.optional_buffer()?.map(Bytes::copy_from_slice);
        Ok(())
    }

    fn decode_hints(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        reader.array(|reader| Ok((reader.uint()?, reader.uint()?, reader.uint()?)))?;
        self.contiguous_length = if reader.is_empty() { 0 } else { reader.uint()? };
        Ok(())
    }
}

impl Decode<'_> for Entry {
    /// # Wire
    ///
    /// `u8 flags ‖ [1: string name ‖ buffer value] ‖ [2: array(node)] ‖ [4: uint fork ‖ uint ancestors ‖ uint length ‖
    /// buffer signature] ‖ [8: u8 drop ‖ uint start ‖ uint length]`
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let flags = reader.u8()?;
        let mut entry = Self::default();
        if flags & 1 != 0 {
            entry.user_data =
                Some((String::from(reader.string()?), Bytes::copy_from_slice(reader.buffer()?)));
        }
        if flags & 2 != 0 {
            entry.nodes = reader.array(Node::decode)?;
        }
        if flags & 4 != 0 {
            let (fork, ancestors, length) = (reader.uint()?, reader.uint()?, reader.uint()?);
            let signature = Bytes::copy_from_slice(reader.buffer()?);
            entry.upgrade = Some(TreeUpgrade { fork, ancestors, length, signature });
        }
        if flags & 8 != 0 {
            let (drop, start, length) = (reader.u8()? != 0, reader.uint()?, reader.uint()?);
            entry.bitfield = Some(BitfieldUpdate { drop, start, length });
        }
        Ok(entry)
    }
}

fn decode_user_data(reader: &mut Reader<'_>) -> Result<Vec<(String, Bytes)>> {
    reader.array(|reader| Ok((String::from(reader.string()?), Bytes::copy_from_slice(reader.buffer()?))))
}

/// Bytes of a header slot.
const SLOT: usize = 4096;

/// Where entries begin.
const ENTRIES: usize = 2 * SLOT;

/// Bytes before the content of a record.
const RECORD_HEAD: usize = 8;
