//! How long a call may go on.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The pause of a call before it is sent again to a cluster that could not serve it, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// The time of one call.
#[derive(Debug)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
    /// The next pause.
    pause: Duration,
}

impl Deadline {
    /// Begins to measure.
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            start: Instant::now(),
            limit,
            pause: FIRST_PAUSE,
        }
    }

    /// Returns how much time is left.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Returns whether no time is left.
    pub(super) fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Pauses, each time for longer. Returns false, at once, if there is no time for it and for an attempt
    /// that takes as long: an attempt without time would end as one that may have been applied.
    pub(super) async fn pause(&mut self) -> bool {
        if self.left() <= self.pause * 2 {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
