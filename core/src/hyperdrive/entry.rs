//! What a drive keeps of a file.
//!
//! # Wire
//!
//! JSON, in this order: `executable`, `linkname`, `blob` with `blockOffset`, `byteOffset`, `blockLength`, `byteLength`
//! and, only if it is true, `blockMap`; then `metadata`. Readers take any order, and leave out what they do not know.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::json::{Scanner, push_string};
use crate::hyperblobs::BlobId;

/// A file, or a link to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Whether it can be run.
    pub executable: bool,
    /// Where a link leads; its content is then elsewhere.
    pub linkname: Option<String>,
    /// The content.
    pub blob: Option<BlobId>,
    /// JSON of the writer's own.
    pub metadata: Option<String>,
}

/// A value of the bee that is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEntry;

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("entry is not of a drive")
    }
}

impl core::error::Error for BadEntry {}

impl Entry {
    /// Returns the value that the bee keeps.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = String::from("{\"executable\":");
        json.push_str(if self.executable { "true" } else { "false" });
        json.push_str(",\"linkname\":");
        match &self.linkname {
            Some(linkname) => push_string(&mut json, linkname),
            None => json.push_str("null"),
        }
        json.push_str(",\"blob\":");
        match &self.blob {
            Some(blob) => push_blob(&mut json, blob),
            None => json.push_str("null"),
        }
        json.push_str(",\"metadata\":");
        json.push_str(self.metadata.as_deref().unwrap_or("null"));
        json.push('}');
        json.into_bytes()
    }

    /// Reads a value of the bee.
    ///
    /// # Errors
    ///
    /// [`BadEntry`] when it is no JSON object with such members.
    pub fn from_json(json: &[u8]) -> Result<Self, BadEntry> {
        let text = core::str::from_utf8(json).map_err(|_| BadEntry)?;
        let mut scanner = Scanner::new(text);
        let mut entry = Self::default();
        let read = scanner.object(|scanner, name| {
            match name {
                "executable" => entry.executable = !scanner.null() && scanner.bool()?,
                "linkname" => entry.linkname = if scanner.null() { None } else { Some(scanner.string()?) },
                "blob" => entry.blob = if scanner.null() { None } else { Some(blob(scanner)?) },
                "metadata" => {
                    let metadata = scanner.value()?;
                    entry.metadata = (metadata != "null").then(|| String::from(metadata));
                }
                _ => {
                    scanner.value()?;
                }
            }
            Some(())
        });
        if read.is_some() && scanner.is_done() { Ok(entry) } else { Err(BadEntry) }
    }
}

fn push_blob(json: &mut String, blob: &BlobId) {
    let _ = write!(
        json,
        "{{\"blockOffset\":{},\"byteOffset\":{},\"blockLength\":{},\"byteLength\":{}{}}}",
        blob.block_offset,
        blob.byte_offset,
        blob.block_length,
        blob.byte_length,
        if blob.block_map { ",\"blockMap\":true" } else { "" }
    );
}

fn blob(scanner: &mut Scanner<'_>) -> Option<BlobId> {
    let mut blob = BlobId::default();
    scanner.object(|scanner, name| {
        match name {
            "blockOffset" => blob.block_offset = scanner.integer()?,
            "byteOffset" => blob.byte_offset = scanner.integer()?,
            "blockLength" => blob.block_length = scanner.integer()?,
            "byteLength" => blob.byte_length = scanner.integer()?,
            "blockMap" => blob.block_map = !scanner.null() && scanner.bool()?,
            _ => {
                scanner.value()?;
            }
        }
        Some(())
    })?;
    Some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_any_order_and_may_be_missing() {
        let json = br#" { "x": [1, {"y": "}"}], "metadata": {"a": [null]}, "blob": {"byteLength": 4, "blockMap": true, "new": 0}, "linkname": null } "#;

        let entry = Entry::from_json(json).unwrap();

        assert_eq!(entry.metadata.as_deref(), Some(r#"{"a": [null]}"#));
        assert_eq!(entry.blob, Some(BlobId { byte_length: 4, block_map: true, ..BlobId::default() }));
        assert_eq!((entry.executable, entry.linkname), (false, None));
        assert_eq!(Entry::from_json(b"{}"), Ok(Entry::default()));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for json in [
            "",
            "null",
            "[]",
            "{\"blob\":5}",
            "{\"blob\":{\"byteLength\":-1}}",
            "{\"blob\":{\"byteLength\":1e99}}",
            "{} {}",
            "{\"linkname\":{}}",
            "{\"executable\":1}",
        ] {
            assert_eq!(Entry::from_json(json.as_bytes()), Err(BadEntry), "{json}");
        }
        assert_eq!(Entry::from_json(b"\xff"), Err(BadEntry));
    }
}
