//! The clock of a run: when measuring begins and ends, and how long a tick is.

use std::time::{Duration, Instant};

use crate::plan::{Plan, Until};

/// Points in time on the plots of a run, about.
const TICKS: u32 = 100;
/// A tick is at least that long, so that the histograms that each hands over cost nothing.
const SHORTEST_TICK: Duration = Duration::from_millis(100);
/// And at most, so that the progress bar moves.
pub(super) const LONGEST_TICK: Duration = Duration::from_secs(1);

/// What the threads go by; times are nanoseconds since `epoch`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    epoch: Instant,
    /// When measuring begins.
    pub(super) start: u64,
    /// When it ends; never, where the requests run out instead.
    pub(super) end: u64,
    pub(super) tick: u64,
}

impl Schedule {
    pub(super) fn of(plan: &Plan) -> Self {
        let start = plan.warm_up.as_nanos() as u64;
        let (end, tick) = match plan.until {
            Until::Elapsed(duration) => (
                start + duration.as_nanos() as u64,
                (duration / TICKS).clamp(SHORTEST_TICK, LONGEST_TICK),
            ),
            Until::Requests(_) => (u64::MAX, SHORTEST_TICK),
        };
        Self {
            epoch: Instant::now(),
            start,
            end,
            tick: tick.as_nanos() as u64,
        }
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}
