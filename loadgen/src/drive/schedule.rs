//! The clock of a run: when measuring begins and ends, and how long a tick is.

use std::time::{Duration, Instant};

use crate::plan::{Plan, Until};

/// The number of ticks in a run, about: points in time on its plots.
const TICKS: u32 = 100;
/// The shortest tick: handing over a histogram per tick then costs nothing that can be measured.
const SHORTEST_TICK: Duration = Duration::from_millis(100);
/// The longest tick, so that the progress bar moves.
pub(super) const LONGEST_TICK: Duration = Duration::from_secs(1);

/// The schedule of all threads. Times are nanoseconds since `epoch`, when the run began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    epoch: Instant,
    /// When measuring begins.
    pub(super) start: u64,
    /// When measuring ends; `u64::MAX` if the run ends after a number of requests instead.
    pub(super) end: u64,
    /// The length of a tick.
    pub(super) tick: u64,
}

impl Schedule {
    /// Returns the schedule of a run that begins now.
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

    /// Returns the nanoseconds since the run began.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}
