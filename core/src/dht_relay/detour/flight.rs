//! What one end has sent on the direct path, until the other end says that it has it.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::Misled;

/// Bytes that may have to go another way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Sent and not acknowledged, then what was held back. Bounded by the writer's credit.
    bytes: VecDeque<Bytes>,
    /// How many were sent.
    sent: u64,
    /// How many of those the other end has.
    acknowledged: u64,
}

impl Flight {
    /// Keeps what is being sent.
    pub(super) fn send(&mut self, bytes: Bytes) {
        self.sent += bytes.len() as u64;
        self.bytes.push_back(bytes);
    }

    /// Keeps what is not sent on this path any more.
    pub(super) fn hold(&mut self, bytes: Bytes) {
        self.bytes.push_back(bytes);
    }

    /// Forgets what the other end has, so many bytes since the path opened. Returns how many of them are news.
    ///
    /// # Errors
    ///
    /// When it has more than was sent, or less than it had.
    pub(super) fn acknowledge(&mut self, count: u64) -> Result<u64, Misled> {
        if count > self.sent {
            return Err(Misled);
        }
        let news = count.checked_sub(self.acknowledged).ok_or(Misled)?;
        self.acknowledged = count;
        let mut left = news;
        while left > 0
            && let Some(bytes) = self.bytes.front_mut()
        {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(part);
            left -= part as u64;
            if bytes.is_empty() {
                self.bytes.pop_front();
            }
        }
        Ok(news)
    }

    /// Returns whether the other end has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives back what the other end lacks, and begins anew.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        core::mem::take(self).bytes.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_is_not_acknowledged_comes_back_in_order() {
        let mut flight = Flight::default();
        flight.send(Bytes::from_static(b"one"));
        flight.send(Bytes::from_static(b"two"));
        flight.hold(Bytes::from_static(b"three"));

        assert_eq!(flight.acknowledge(4), Ok(4));
        assert_eq!(flight.acknowledge(4), Ok(0));

        assert_eq!(flight.end().collect::<Vec<_>>(), [&b"wo"[..], b"three"]);
        assert!(flight.is_empty());
    }

    #[test]
    fn an_acknowledgement_that_cannot_be_is_refused_and_changes_nothing() {
        let mut flight = Flight::default();
        flight.send(Bytes::from_static(b"one"));
        flight.hold(Bytes::from_static(b"two"));
        flight.acknowledge(2).unwrap();

        assert_eq!(flight.acknowledge(4), Err(Misled));
        assert_eq!(flight.acknowledge(1), Err(Misled));

        assert_eq!(flight.end().collect::<Vec<_>>(), [&b"e"[..], b"two"]);
    }
}
