//! The deadline of this node's session, as workers see it (rule 4 of docs/cluster.md).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster::Moment;
use crate::measure::boot_time;

/// The moment until which replies may leave. One thread moves it; workers read it before they apply
/// requests, and the clock afterwards.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    /// Nanoseconds of [`boot_time`]; 0 if there is no session, or its deadline has passed.
    nanoseconds: AtomicU64,
}

/// The deadline that was known before requests were applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownBefore(u64);

impl Deadline {
    /// Moves the deadline. What was done for earlier memory has to come before this.
    pub(crate) fn set(&self, deadline: Moment) {
        let nanoseconds = deadline.since_start().as_nanos() as u64; // enough for centuries
        // Whoever reads this deadline sees the shards as they are now, not before.
        self.nanoseconds.store(nanoseconds, Ordering::Release);
    }

    /// Ends it: nothing is applied any more.
    pub(crate) fn end(&self) {
        self.nanoseconds.store(0, Ordering::Release);
    }

    /// Reads the deadline, before requests are applied. `None` if it is known to have passed: they must
    /// not be applied.
    #[inline]
    pub(crate) fn read(&self) -> Option<KnownBefore> {
        let nanoseconds = self.nanoseconds.load(Ordering::Acquire);
        (nanoseconds > 0).then_some(KnownBefore(nanoseconds))
    }

    /// Returns the time left; zero if the deadline has passed or there is none.
    pub(crate) fn left(&self) -> Duration {
        let nanoseconds = self.nanoseconds.load(Ordering::Acquire);
        Moment::new(Duration::from_nanos(nanoseconds)) - boot_time()
    }
}

impl KnownBefore {
    /// Reads the clock, after requests were applied. Returns whether the deadline has passed: then their
    /// replies must not leave.
    #[inline]
    pub(crate) fn has_passed(self) -> bool {
        boot_time().since_start() >= Duration::from_nanos(self.0)
    }
}
