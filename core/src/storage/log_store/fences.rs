//! The fences: which leaf each key belongs into. A long list of them is cut into branches, records that are read when
//! something in them is first asked for: the manifest, which opening reads, names the branches only.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::manifest;
use super::record::Kind;

/// A record of the index: its address, and the bytes of its payload.
pub(super) type IndexRecord = (u64, u32);

/// What has to be read before something is known: a leaf, or a branch, which has the kind of a manifest.
pub(super) type Missing = (Kind, IndexRecord);

/// One leaf of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    /// The lowest key that belongs into the leaf. Empty for the first leaf.
    pub(super) first: Bytes,
    pub(super) record: IndexRecord,
}

/// Leaves in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    /// The lowest key that belongs into one of its leaves. Empty for the first branch.
    pub(super) first: Bytes,
    /// Where it stands; `None` for the only one, whose leaves stand in the manifest.
    pub(super) record: Option<IndexRecord>,
    /// `None` until it is read. The first of them begins where the branch does.
    pub(super) leaves: Option<Arc<Vec<Fence>>>,
}

/// A leaf, and the keys that belong into it: from its own first to before the next one's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) fence: &'a Fence,
    pub(super) next: Option<&'a Bytes>,
}

/// The leaves of the index, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Fences {
    branches: Vec<Branch>,
    /// The branch and the leaf in it that were asked last: keys are often asked for in order.
    near: (usize, usize),
}

impl Branch {
    fn leaves(&self) -> &[Fence] {
        self.leaves.as_ref().map_or(&[], |leaves| leaves)
    }

    /// What has to be read before its leaves are known.
    pub(super) fn missing(&self) -> Option<Missing> {
        if self.leaves.is_none() { self.record.map(|record| (Kind::Manifest, record)) } else { None }
    }

    /// Moves its lower end down to the lowest key.
    pub(super) fn begin_with_everything(&mut self) {
        self.first = Bytes::new();
        if let Some(leaves) = &mut self.leaves {
            Arc::make_mut(leaves)[0].first = Bytes::new();
        }
    }
}

impl Fences {
    pub(super) fn new(branches: Vec<Branch>) -> Self {
        Fences { branches, near: (0, 0) }
    }

    /// Fences whose leaves are all known, and stand in the manifest.
    pub(super) fn of_leaves(leaves: Vec<Fence>) -> Self {
        let whole = |leaves| Branch { first: Bytes::new(), record: None, leaves: Some(Arc::new(leaves)) };
        Fences::new(Some(leaves).filter(|leaves| !leaves.is_empty()).map(whole).into_iter().collect())
    }

    pub(super) fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// The first key beyond a branch.
    pub(super) fn end(&self, branch: usize) -> Option<&Bytes> {
        self.branches.get(branch + 1).map(|next| &next.first)
    }

    /// A leaf by its branch and its place in it; `None` when the branch has no more, or is not read.
    pub(super) fn span(&self, branch: usize, leaf: usize) -> Option<Span<'_>> {
        let leaves = self.branches.get(branch)?.leaves();
        let next = leaves.get(leaf + 1).map(|next| &next.first).or_else(|| self.end(branch));
        Some(Span { fence: leaves.get(leaf)?, next })
    }

    /// Returns the leaf that a key belongs into, `None` when there are no leaves; `Err` with the branch to be read first.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<IndexRecord>, Missing> {
        let near = self.span(self.near.0, self.near.1).filter(|span| span.holds(key));
        if let Some(span) = near {
            return Ok(Some(span.fence.record));
        }
        let Some(at) = self.branches.partition_point(|branch| &branch.first[..] <= key).checked_sub(1) else {
            return Ok(None);
        };
        let branch = &self.branches[at];
        if let Some(missing) = branch.missing() {
            return Err(missing);
        }
        let leaf = place(branch.leaves(), key);
        self.near = (at, leaf);
        Ok(branch.leaves().get(leaf).map(|fence| fence.record))
    }

    /// Leaves with keys from `start` to before `end`; `Err` in place of those of a branch that is not read.
    pub(super) fn range<'a>(
        &'a self,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = Result<Span<'a>, Missing>> {
        let low = self.branches.partition_point(|branch| &branch.first[..] <= start).saturating_sub(1);
        let high = self.branches.partition_point(|branch| &branch.first[..] < end);
        (low..high).flat_map(move |at| {
            let branch = &self.branches[at];
            let last = branch.leaves().partition_point(|fence| &fence.first[..] < end);
            let leaves = (place(branch.leaves(), start)..last).filter_map(move |leaf| self.span(at, leaf));
            branch.missing().map(Err).into_iter().chain(leaves.map(Ok))
        })
    }

    /// Takes the payload of a branch that was read; false when it is damaged.
    pub(super) fn load(&mut self, address: u64, payload: &Bytes) -> bool {
        let is_there = |branch: &Branch| branch.missing().is_some_and(|(_, (record, _))| record == address);
        // A checkpoint may have replaced it meanwhile.
        let Some(at) = self.branches.iter().position(is_there) else { return true };
        let Some(mut leaves) = manifest::decode_branch(payload) else { return false };
        let first = &self.branches[at].first;
        let is_below_next = |key: &Bytes| self.end(at).is_none_or(|end| key < end);
        match &mut leaves[..] {
            [leaf, ..] if leaf.first >= *first => leaf.first = first.clone(),
            _ => return false,
        }
        if !leaves.last().is_some_and(|last| is_below_next(&last.first)) {
            return false;
        }
        self.branches[at].leaves = Some(Arc::new(leaves));
        true
    }
}

impl Span<'_> {
    fn holds(&self, key: &[u8]) -> bool {
        &self.fence.first[..] <= key && self.next.is_none_or(|next| key < &next[..])
    }
}

/// Position of the leaf that a key belongs into, of those of a branch that it belongs into or lies before.
fn place(leaves: &[Fence], key: &[u8]) -> usize {
    leaves.partition_point(|fence| &fence.first[..] <= key).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(first: &'static str, address: u64) -> Fence {
        Fence { first: Bytes::from_static(first.as_bytes()), record: (address, 1) }
    }

    fn branch(first: &'static str, address: u64) -> Branch {
        Branch { first: Bytes::from_static(first.as_bytes()), record: Some((address, 9)), leaves: None }
    }

    fn payload(leaves: &[Fence]) -> Bytes {
        let mut bytes = Vec::new();
        manifest::encode_branch(&mut bytes, leaves);
        bytes.into()
    }

    fn addresses(fences: &Fences, start: &str, end: &str) -> Vec<Result<u64, u64>> {
        let all = fences.range(start.as_bytes(), end.as_bytes());
        all.map(|span| span.map(|span| span.fence.record.0).map_err(|(_, (address, _))| address)).collect()
    }

    #[test]
    fn a_branch_is_asked_for_when_a_key_needs_it() {
        let mut fences = Fences::new([branch("", 100), branch("m", 200), branch("t", 300)].into());

        assert_eq!(fences.find(b"n"), Err((Kind::Manifest, (200, 9))));
        assert_eq!(addresses(&fences, "a", "z"), [Err(100), Err(200), Err(300)]);
        // What is lost in front of a branch is the branch's: its first leaf begins where it does.
        assert!(fences.load(200, &payload(&[fence("mm", 7), fence("p", 8)])));
        assert!(fences.load(400, &Bytes::new()));

        assert_eq!(fences.find(b"m"), Ok(Some((7, 1))));
        assert_eq!(fences.find(b"s"), Ok(Some((8, 1))));
        assert_eq!(fences.find(b"t"), Err((Kind::Manifest, (300, 9))));
        assert_eq!(addresses(&fences, "a", "z"), [Err(100), Ok(7), Ok(8), Err(300)]);
        assert_eq!(addresses(&fences, "n", "p"), [Ok(7)]);
        assert_eq!(addresses(&fences, "q", "t"), [Ok(8)]);
        assert_eq!(addresses(&fences, "q", "q"), [Ok(8)]);
        let backwards: Vec<bool> = fences.range(b"a", b"z").rev().map(|span| span.is_ok()).collect();
        assert_eq!(backwards, [false, true, true, false]);
    }

    #[test]
    fn a_branch_with_keys_of_others_is_damage() {
        let mut fences = Fences::new([branch("", 100), branch("m", 200), branch("t", 300)].into());

        for leaves in
            [&[][..], &[fence("a", 7)], &[fence("n", 7), fence("t", 8)], &[fence("p", 7), fence("n", 8)]]
        {
            assert!(!fences.load(200, &payload(leaves)), "{leaves:?}");
        }
        assert!(!fences.load(200, &Bytes::from_static(b"\x02\x00")));
        assert_eq!(fences.find(b"n"), Err((Kind::Manifest, (200, 9))));
    }
}
