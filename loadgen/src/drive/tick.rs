//! The results of one short interval of a run, so that they can be plotted over time.

use anyhow::Result;
use hdrhistogram::Histogram;

use super::schedule::Schedule;

/// The longest latency that is recorded exactly, in nanoseconds: a minute. Longer ones count as this.
const LONGEST_LATENCY: u64 = 60_000_000_000;

/// The results of a short interval.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    /// The number of the tick, from the beginning of the measurement.
    pub(crate) at: u64,
    /// The length of a tick, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that arrived.
    pub(crate) replies: u64,
    /// Latencies of the requests that were due since measuring began, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

/// A tick without its histogram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickSummary {
    /// When the tick began, in nanoseconds since measuring began.
    pub(crate) from: u64,
    /// The length of the tick, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that arrived.
    pub(crate) replies: u64,
    /// Latencies, in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// Returns an empty histogram of latencies.
///
/// # Errors
///
/// Never: the bounds are valid constants.
pub(super) fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_LATENCY, 3)?)
}

impl Tick {
    /// Returns an empty tick.
    pub(super) fn new(at: u64, schedule: &Schedule) -> Result<Self> {
        Ok(Self {
            at,
            length: schedule.tick,
            replies: 0,
            latency: new_histogram()?,
        })
    }

    /// Returns the tick without its histogram, which takes 200 KiB: a run can have many ticks.
    pub(super) fn summary(&self) -> TickSummary {
        TickSummary {
            from: self.at * self.length,
            length: self.length,
            replies: self.replies,
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            max: self.latency.max(),
        }
    }

    /// Adds the results of another thread in the same tick.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.replies += other.replies;
        Ok(self.latency.add(&other.latency)?)
    }
}

impl TickSummary {
    /// Adds the tick of a thread that is far behind the others. Each percentile becomes the greater
    /// of the two.
    pub(super) fn add_late(&mut self, tick: &Tick) {
        let late = tick.summary();
        self.replies += late.replies;
        self.p50 = self.p50.max(late.p50);
        self.p99 = self.p99.max(late.p99);
        self.max = self.max.max(late.max);
    }
}
