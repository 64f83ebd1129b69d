//! Files and folders with secrets, for nobody but who runs the relay.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder, unless it is there: then its rights are its owner's business.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Makes an empty file, unless it is there.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().mode(0o600).write(true).create(true).truncate(false).open(path).map(drop)
}
