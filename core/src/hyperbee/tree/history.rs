//! A walk over the blocks themselves: everything that was ever put or deleted.
//!
//! Source: hyperbee 2.27, `iterators/history.js`.

use super::{Entry, ReadError, View};

/// What one block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether it took its key away.
    pub is_deletion: bool,
    /// Block, key and value.
    pub entry: Entry,
}

/// Which blocks to walk; bounds below 0 count from the version. The default is all of them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRange {
    /// The block before the first.
    pub gt: Option<i64>,
    /// The first block; 1 when nothing is given.
    pub gte: Option<i64>,
    /// The block after the last; the version when nothing is given.
    pub lt: Option<i64>,
    /// The last block.
    pub lte: Option<i64>,
    /// Whether the newest comes first.
    pub reverse: bool,
    /// Most blocks; `None` is all.
    pub limit: Option<u64>,
}

/// A walk over history that can be stopped and gone on with.
#[derive(Clone, Debug)]
pub struct HistoryCursor {
    next: u64,
    end: u64,
    reverse: bool,
    left: Option<u64>,
}

impl HistoryCursor {
    /// Makes a cursor over the blocks below `version`.
    ///
    /// A bound of 0 counts as none, except that an upper bound of 0 leaves nothing; so does upstream.
    pub fn new(range: &HistoryRange, version: u64) -> Self {
        let absolute = |bound: i64| match u64::try_from(bound) {
            Ok(bound) => bound,
            Err(_) => version.saturating_sub(bound.unsigned_abs()),
        };
        let given = |bound: Option<i64>| bound.filter(|bound| *bound != 0);

        let next = match (given(range.gt), given(range.gte)) {
            (Some(gt), _) => absolute(gt).saturating_add(1),
            (None, Some(gte)) => absolute(gte),
            (None, None) => 1,
        };
        let end = match (range.lte, range.lt) {
            (Some(0), _) | (_, Some(0)) => 0,
            (Some(lte), _) => absolute(lte).saturating_add(1),
            (None, Some(lt)) => absolute(lt),
            (None, None) => version,
        };
        Self { next: next.max(1), end: end.min(version), reverse: range.reverse, left: range.limit }
    }

    /// Lets the cursor go on to the blocks that were appended since: a live history.
    pub fn extend(&mut self, version: u64) {
        self.end = self.end.max(version);
    }

    /// Returns the next change, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when a block is missing or wrong. The cursor has not moved.
    pub fn next(&mut self, view: &mut View<'_>) -> Result<Option<Change>, ReadError> {
        if self.left == Some(0) || self.next >= self.end {
            return Ok(None);
        }
        let seq = if self.reverse { self.end - 1 } else { self.next };
        let change = match change(view, seq) {
            Err(ReadError::Missing) => {
                self.ask_ahead(view);
                return Err(ReadError::Missing);
            }
            change => change?,
        };
        if self.reverse {
            self.end -= 1;
        } else {
            self.next += 1;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(Some(change))
    }

    fn ask_ahead(&self, view: &mut View<'_>) {
        let most = self.left.unwrap_or(MAX_AHEAD).min(MAX_AHEAD).min(self.end - self.next);
        // The first was asked for just now.
        for i in 1..most {
            view.reader.ask(if self.reverse { self.end - 1 - i } else { self.next + i });
        }
    }
}

fn change(view: &mut View<'_>, seq: u64) -> Result<Change, ReadError> {
    let slot = view.reader.block(seq)?;
    Ok(Change { is_deletion: slot.is_deletion()?, entry: slot.entry(seq) })
}

/// Blocks asked for at once.
const MAX_AHEAD: u64 = 64;
