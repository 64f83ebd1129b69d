//! Bees over blocks of the log.

mod hints;
mod hostile;
mod model;
