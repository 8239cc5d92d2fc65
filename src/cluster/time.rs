//! Moments of the clock that measures deadlines.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment of `CLOCK_BOOTTIME`, as the time since the machine was started. This clock never jumps,
/// and it runs while the machine is suspended. Moments of different machines cannot be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The start of the machine, before every other moment.
    pub const START: Self = Self(Duration::ZERO);

    /// Returns the moment `since_start` after the start of the machine.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Returns the time since the start of the machine.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
