//! What a path means: `/`-separated names from the root, without `.`, `..` and empty ones.
//!
//! Source: unix-path-resolve 1.0, `index.js`; hyperdrive 13.3, `std`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A path that names no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadPath {
    /// The root, where a file is meant.
    Root,
    /// `..` above the root.
    TooManyParents,
    /// Neither of two paths starts at the root.
    Relative,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Upstream's words.
        f.write_str(match self {
            Self::Root => "Invalid filename: /",
            Self::TooManyParents => "Path cannot be resolved, too many '..'",
            Self::Relative => "One of the two paths must be absolute",
        })
    }
}

impl core::error::Error for BadPath {}

/// Returns the path of a file.
///
/// # Errors
///
/// [`BadPath`] when it names the root, or leaves it.
pub fn file(path: &str) -> Result<String, BadPath> {
    match resolve("/", path)? {
        path if path == "/" => Err(BadPath::Root),
        path => Ok(path),
    }
}

/// Returns the path of a folder, without a slash at its end: empty for the root.
///
/// # Errors
///
/// [`BadPath`] when it leaves the root.
pub fn folder(path: &str) -> Result<String, BadPath> {
    match resolve("/", path)? {
        path if path == "/" => Ok(String::new()),
        path => Ok(path),
    }
}

/// Returns where a path leads from another, which counts as a folder.
///
/// # Errors
///
/// [`BadPath`] when it leaves the root.
pub fn resolve(base: &str, path: &str) -> Result<String, BadPath> {
    let (base, path) = (Parsed::new(base), Parsed::new(path));
    if !path.is_absolute && !base.is_absolute {
        return Err(BadPath::Relative);
    }
    let mut names = Vec::new();
    if !path.is_absolute {
        walk(&mut names, &base)?;
    }
    walk(&mut names, &path)?;
    Ok(if names.is_empty() { String::from("/") } else { names.iter().flat_map(|name| ["/", name]).collect() })
}

struct Parsed<'a> {
    is_absolute: bool,
    names: Vec<&'a str>,
}

impl<'a> Parsed<'a> {
    fn new(path: &'a str) -> Self {
        let mut names: Vec<&str> = path.split(['/', '\\']).collect();
        let scheme = names.first().copied().filter(|first| names.len() > 1 && first.ends_with(':'));
        let Some(scheme) = scheme else {
            return Self { is_absolute: path.starts_with(['/', '\\']), names };
        };
        // A drive letter, which JavaScript counts in units of UTF-16; anything else has a host after it.
        let is_local = scheme.encode_utf16().count() == 2 || scheme == "file:";
        names.drain(..if is_local { 1 } else { names.len().min(3) });
        Self { is_absolute: true, names }
    }
}

fn walk<'a>(names: &mut Vec<&'a str>, path: &Parsed<'a>) -> Result<(), BadPath> {
    for name in &path.names {
        match *name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or(BadPath::TooManyParents)?;
            }
            name => names.push(name),
        }
    }
    Ok(())
}
