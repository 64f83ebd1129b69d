//! The replicator alone, without an engine.

mod asking;
mod hostile;
mod serving;
mod simulation;
