//! What several tests share.

#[cfg(feature = "bee")]
pub(crate) mod bee;
pub(crate) mod common;
pub(crate) mod hostile;
pub(crate) mod log;
#[cfg(feature = "dht")]
pub(crate) mod relay;
pub(crate) mod replicator;
pub(crate) mod sim;
