//! Packets of one stream that leave together.

use alloc::vec::Vec;

use super::stream::Stream;
use crate::time::Instant;

/// What one turn of a stream yielded.
pub(super) struct Batch {
    /// Bytes of every datagram but the last; 0 when there is none.
    pub(super) segment: usize,
    /// A packet longer than the others, which cannot share their batch.
    pub(super) carried: Option<Vec<u8>>,
    /// The stream was asked and had nothing more.
    pub(super) is_drained: bool,
}

/// Takes packets of one length out of a stream, the last one perhaps shorter.
pub(super) fn fill(stream: &mut Stream, max_segments: usize, out: &mut Vec<u8>, now: Instant) -> Batch {
    let mut batch = Batch { segment: 0, carried: None, is_drained: false };
    for _ in 0..max_segments.max(1) {
        let start = out.len();
        if !stream.poll_transmit(now, out) {
            batch.is_drained = true;
            break;
        }
        let len = out.len() - start;
        if start == 0 {
            batch.segment = len;
        } else if len > batch.segment {
            batch.carried = Some(out.split_off(start));
            break;
        }
        if len < batch.segment || out.len() + batch.segment > MAX_BATCH {
            break;
        }
    }
    batch
}

/// Most bytes of one batch: what an IPv4 datagram, and so the kernel's segmentation, can hold.
pub(super) const MAX_BATCH: usize = 65_507;
