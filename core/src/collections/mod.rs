//! Ordered maps and sets with the names of `alloc`'s, in a fraction of their code.
//!
//! The engine keeps about a hundred kinds of maps. Each kind of `alloc::collections::BTreeMap` costs a module for the browser
//! up to 10 kB, a third of everything; here keys and values lie in vectors of their own, so that kinds share most code.

pub use map::{BTreeMap, Chunk, Entry, Iter, Keys, Last, Values};
pub use set::BTreeSet;

mod map;
mod set;
