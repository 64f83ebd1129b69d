//! Reading the files of a hypercore 10: `oplog`, `tree`, `bitfield`, `data`, and `header` when the oplog says so.
//!
//! Source: hypercore 10.38, `lib/oplog.js`, `lib/messages.js`, `lib/core.js`; random-access-file layouts of
//! `lib/merkle-tree.js`, `lib/bitfield.js` and `lib/block-store.js`.

pub use import::{Import, ImportError};
pub use oplog::{BitfieldUpdate, Entry, Header, Oplog, OplogError, TreeUpgrade};

mod import;
mod oplog;
