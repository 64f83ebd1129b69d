//! The machine that owns all others.

pub mod link;
