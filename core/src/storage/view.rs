//! Writes that nobody has committed: what an atom holds until it is flushed.

use alloc::vec::Vec;

use bytes::Bytes;

use super::overlay::{Group, Overlay, Picture};
use super::{Batch, CommitId, Op};

/// Changes in memory, over a store that does not know of them.
#[derive(Debug)]
pub struct View {
    overlay: Overlay,
    group: Group,
}

impl Default for View {
    fn default() -> Self {
        Self { overlay: Overlay::default(), group: Group::new(CommitId(0)) }
    }
}

impl View {
    /// Adds a batch.
    pub fn apply(&mut self, batch: Batch) {
        for op in batch.ops {
            self.overlay.stage(&mut self.group, op);
        }
    }

    /// Returns the value of a key: `None` when only the store knows, `Some(None)` when it is deleted.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.overlay.get(key)
    }

    /// Returns what the store does not know about the keys `start..end`.
    pub fn picture(&self, start: &Bytes, end: &Bytes) -> Picture {
        self.overlay.picture(start, end)
    }

    /// Returns the changes as they are now, for somebody who reads.
    pub fn snapshot(&self) -> Self {
        Self { overlay: self.overlay.clone(), group: Group::new(CommitId(0)) }
    }

    /// Takes all changes out, in order.
    pub fn take(&mut self) -> Vec<Op> {
        core::mem::take(self).group.take_batch().ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_shows_what_was_applied_and_hands_it_out_once() {
        let mut view = View::default();
        let put = |key: &'static str| Op::Put { key: key.into(), value: "v".into() };

        view.apply(Batch { ops: alloc::vec![put("a"), put("b")] });
        view.apply(Batch { ops: alloc::vec![Op::Delete { key: "a".into() }] });

        assert_eq!(view.get(b"a"), Some(None));
        assert_eq!(view.get(b"b"), Some(Some("v".into())));
        assert_eq!(view.get(b"c"), None);
        assert_eq!(view.take(), alloc::vec![put("b"), Op::Delete { key: "a".into() }]);
        assert_eq!((view.get(b"b"), view.take()), (None, Vec::new()));
    }
}
