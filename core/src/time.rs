//! Time as the caller tells it: microseconds since an epoch of the caller's choice.

use core::fmt;
use core::ops::{Add, AddAssign};

pub use core::time::Duration;

/// A moment, in whole microseconds since an arbitrary [`EPOCH`](Self::EPOCH).
///
/// Only differences mean anything. The range is over 500 000 years, so additions saturate rather than
/// wrap: a timer that would lie beyond the end never fires, which is what its owner wants.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The earliest instant.
    pub const EPOCH: Self = Self(0);

    /// Returns the instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`, or zero when `earlier` is later.
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns `self + duration`, or `None` when that lies beyond the last instant.
    ///
    /// A fraction of a microsecond is dropped.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let micros = u64::try_from(duration.as_micros()).ok()?;
        Some(Self(self.0.checked_add(micros)?))
    }

    /// Returns `self + duration`, or the last instant when that lies beyond it.
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self(u64::MAX))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Same as [`Instant::saturating_add`].
    fn add(self, duration: Duration) -> Self {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_saturates_and_difference_never_goes_below_zero() {
        let late = Instant::from_micros(u64::MAX - 1);
        let early = Instant::EPOCH + Duration::from_millis(2);

        assert_eq!(early.as_micros(), 2000);
        assert_eq!(late.checked_add(Duration::from_micros(2)), None);
        assert_eq!(late + Duration::MAX, Instant::from_micros(u64::MAX));
        assert_eq!(early.duration_since(late), Duration::ZERO);
        assert_eq!(early.duration_since(Instant::EPOCH), Duration::from_millis(2));
    }
}
