//! Hyperdrive: files as entries of a bee, and their content as blobs of a second core.
//!
//! One key names both cores: that of the blobs is derived from the bee's [manifest](content_manifest), unless the bee's
//! header names another.
//!
//! - [`path`] says what a file name means.
//! - [`Entry`] is what the bee keeps of a file.
//! - [`Drive`] puts, finds and lists files for a host.
//! - [`Listing`] and [`Children`] walk folders.
//!
//! Source: hyperdrive 13.3.

pub use drive::{Drive, DriveError, File, Step};
pub use entry::{BadEntry, Entry};
pub use folder::{Children, Listing, entry_key, files_below, path_of};
pub use keys::{content_key, content_manifest};
pub use path::{BadPath, resolve};

mod drive;
pub mod entry;
mod folder;
mod json;
mod keys;
pub mod path;

/// Most links that are followed from one to the next.
pub const MAX_LINKS: usize = 16;
