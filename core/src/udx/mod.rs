//! UDX: reliable streams over UDP, with selective acknowledgements, RACK and BBR.
//!
//! Source: udx-native 1.21, recorded behaviour.

mod address;
pub mod packet;

pub use address::{Address, SocketId};
