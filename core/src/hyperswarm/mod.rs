//! Which peers to look for, dial, keep and try again.
//!
//! Source: hyperswarm 4.17.
//!
//! [`Swarm`] decides and moves no byte: it asks for lookups, announces and dials by [`Command`], whatever carries them, a
//! relay or a DHT node of our own, and is told what became of them.

mod discovery;
mod peer;
mod queue;
mod swarm;

pub use discovery::{JoinOptions, SessionId, TopicStatus};
pub use peer::{PeerInfo, Priority, RetryTier};
pub use swarm::{
    Admission, Command, ConnectionId, DestroyReason, Established, FlushId, QueryId, Swarm, SwarmEvent,
    SwarmOptions,
};

/// Random numbers for choices that no peer gains from knowing.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: &[u8; 32]) -> Self {
        let hash = crate::crypto::blake2b_256_keyed(seed, &[b"hypertab/hyperswarm"]);
        let bytes = *hash.first_chunk().expect("a hash has 32 bytes");
        Self(u64::from_le_bytes(bytes))
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, or 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// Returns a time of up to `most`.
    fn up_to(&mut self, most: crate::time::Duration) -> crate::time::Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        crate::time::Duration::from_micros(self.below(micros.saturating_add(1)))
    }
}
