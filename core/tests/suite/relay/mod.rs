//! Clients and relays of the relay protocol.

mod hostile;
mod network;
mod queries;
mod resume;
