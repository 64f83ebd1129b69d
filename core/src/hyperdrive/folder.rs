//! Walks over folders: all files below one, or only what is directly in it.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::path::{self, BadPath};
use crate::hyperbee::{Entry, Range, RangeCursor, ReadError, View};

/// What the keys of files start with in the bee.
const FILES: &[u8] = b"files\0";

/// Returns the bee's key of a path as [`path::file`] gives it.
pub fn entry_key(path: &str) -> Bytes {
    [FILES, path.as_bytes()].concat().into()
}

/// Returns the path that a key of the bee stands for, or `None` when it is no file.
pub fn path_of(key: &[u8]) -> Option<&str> {
    core::str::from_utf8(key.strip_prefix(FILES)?).ok()
}

/// Returns the range of the bee that has the files below a folder.
///
/// # Errors
///
/// [`BadPath`] when the folder is none.
pub fn files_below(folder: &str) -> Result<Range, BadPath> {
    Ok(below(&path::folder(folder)?, b"/"))
}

/// The files below a folder, in the order of their paths.
#[derive(Debug)]
pub struct Listing {
    cursor: RangeCursor,
}

impl Listing {
    /// Starts a walk.
    ///
    /// # Errors
    ///
    /// [`BadPath`] when the folder is none.
    pub fn new(folder: &str) -> Result<Self, BadPath> {
        Ok(Self { cursor: RangeCursor::new(files_below(folder)?) })
    }

    /// Returns the next file, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The walk has not moved.
    pub fn next(&mut self, view: &mut View<'_>) -> Result<Option<Entry>, ReadError> {
        self.cursor.next(view)
    }
}

/// What is directly in a folder, in the order of paths: for each child its name and its first file.
///
/// What is below a child is skipped: each child costs one look into the bee, however much there is in it.
#[derive(Debug)]
pub struct Children {
    folder: String,
    /// What the next key comes after, from the end of the folder's path on.
    after: Vec<u8>,
    last: Option<String>,
}

impl Children {
    /// Starts a walk.
    ///
    /// # Errors
    ///
    /// [`BadPath`] when the folder is none.
    pub fn new(folder: &str) -> Result<Self, BadPath> {
        Ok(Self { folder: path::folder(folder)?, after: b"/".to_vec(), last: None })
    }

    /// Returns the next child, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when blocks are missing or wrong. The walk has not moved.
    pub fn next(&mut self, view: &mut View<'_>) -> Result<Option<(String, Entry)>, ReadError> {
        loop {
            let Some(entry) = RangeCursor::new(below(&self.folder, &self.after)).next(view)? else {
                return Ok(None);
            };
            let start = FILES.len() + self.folder.len() + 1;
            let rest = entry.key.get(start..).unwrap_or_default();
            let (name, is_folder) = match rest.iter().position(|byte| *byte == b'/') {
                Some(end) => (&rest[..end], true),
                None => (rest, false),
            };
            // '0' is the byte after '/': the first key that is not below the child.
            let end: &[u8] = if is_folder { b"0" } else { b"" };
            self.after = [b"/", name, end].concat();
            let name = String::from_utf8_lossy(name).into_owned();
            // A file and a folder of one name are one child.
            if self.last.as_ref() != Some(&name) {
                self.last = Some(name.clone());
                return Ok(Some((name, entry)));
            }
        }
    }
}

fn below(folder: &str, after: &[u8]) -> Range {
    let bound = |end: &[u8]| Some(Bytes::from([FILES, folder.as_bytes(), end].concat()));
    Range { gt: bound(after), lt: bound(b"0"), ..Range::default() }
}
