//! UDX: reliable streams over UDP, with selective acknowledgements, RACK and BBR.
//!
//! [`Udx`] holds all streams of a node and is what a driver talks to; [`Stream`] is one of them without
//! its addresses. Neither performs I/O.
//!
//! Source: udx-native 1.21, recorded behaviour.

mod address;
mod batch;
mod ceiling;
mod congestion;
mod entry;
mod filter;
mod mux;
mod pacing;
pub mod packet;
mod rack;
mod ranges;
mod receive;
mod rtt;
mod send;
mod stream;

pub use address::{Address, SocketId};
pub use mux::{Event, Misuse, Options, Remote, StreamId, Totals, Transmit, Udx};
pub use packet::Datagram;
pub use stream::{Close, Stats, Stream, StreamEvent, StreamOptions};

use crate::time::Duration;

/// How the sender stands towards losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// None known.
    Open,
    /// Some packets were found lost and are being sent again.
    Recovery,
    /// Everything in flight timed out.
    Loss,
}

/// Returns whole microseconds.
const fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros() as u64)
}

/// Returns the microseconds from `earlier` to `later`.
const fn micros_between(earlier: crate::time::Instant, later: crate::time::Instant) -> u64 {
    later.as_micros().saturating_sub(earlier.as_micros())
}

/// Turns a first packet number into the 64 bit number used inside; there is room for older ones below.
const fn widen(seq: u32) -> u64 {
    (1 << 32) | seq as u64
}

/// Returns the 64 bit number that is nearest to `near` and ends in `seq`.
fn expand(seq: u32, near: u64) -> u64 {
    let [a, b, c, d, ..] = near.to_le_bytes();
    let distance = seq.wrapping_sub(u32::from_le_bytes([a, b, c, d])).cast_signed();
    near.saturating_add_signed(distance.into())
}

/// Cuts a packet number to what travels.
const fn narrow(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_wire_across_the_wrap() {
        let near = widen(u32::MAX - 1);

        for distance in [-5i64, -1, 0, 1, 2, 100] {
            let number = near.saturating_add_signed(distance);
            assert_eq!(expand(narrow(number), near), number);
        }
        assert_eq!(narrow(near + 2), 0);
    }
}
