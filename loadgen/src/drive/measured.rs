//! The results of a run, from all its threads.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::Moment;
use crate::observe::Usage;
use crate::verify::History;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Measured {
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// Replies that came while it was measured: what rate and cost are counted in.
    pub(crate) replies: u64,
    /// One value for each request due while it was measured that was answered and not refused, in
    /// nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Those of them that refused, by their code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The first refusal, also of a warm-up, in the server's own words.
    pub(crate) first_refusal: Option<String>,
    /// Datagrams' requests, due while it was measured, that no reply came for, in time or late.
    pub(crate) lost: u64,
    /// The same whose reply came after the timeout.
    pub(crate) late: u64,
    /// Requests of an open loop that were due and could not be made: the server was too slow. They
    /// are in the latencies, with how long they had waited at the end.
    pub(crate) never_sent: u64,
    /// The topics that no reply came for, where each was asked for once.
    pub(super) silent: Vec<u32>,
    /// Whether it ended early, because no more replies could be kept.
    pub(crate) full: bool,
    /// Datagrams that answered nothing that was asked.
    pub(crate) unasked: u64,
    /// What was seen over time.
    pub(crate) moments: Vec<Moment>,
    /// What the server's process used while it was measured, where it is on this machine.
    pub(crate) usage: Option<Usage>,
    /// What every reply said, where that was asked for.
    pub(crate) history: History,
}

impl Measured {
    /// Replies a second.
    pub(crate) fn rate(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server for each reply, in nanoseconds.
    pub(crate) fn processor_nanos(&self) -> Option<f64> {
        let usage = self.usage.as_ref()?;
        (self.replies > 0).then(|| usage.processor.as_nanos() as f64 / self.replies as f64)
    }
}
