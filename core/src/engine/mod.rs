//! The machine that owns all others, and the only one a host talks to.

pub mod link;
pub mod types;
