//! The results of a run, from all its threads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::reconnects::Reconnects;
use super::server_counts::ServerCounts;
use super::tick::TickSummary;
use crate::observe::Usage;
use crate::verify::History;

/// The results of a run. "Measured" requests are those after the warm-up.
#[derive(Debug)]
pub(crate) struct Measured {
    /// How long the measurement took.
    pub(crate) elapsed: Duration,
    /// Replies that arrived during the measurement; the rate and the cost per reply count these.
    pub(crate) replies: u64,
    /// Latencies in nanoseconds: one value for each measured request that was answered and not
    /// refused.
    pub(crate) latency: Histogram<u64>,
    /// The refusals among `replies`, by their code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The first refusal in the server's own words, also one of the warm-up.
    pub(crate) first_refusal: Option<String>,
    /// Measured requests over UDP that were never answered.
    pub(crate) lost: u64,
    /// Measured requests over UDP that were answered after the timeout.
    pub(crate) late: u64,
    /// Requests of an open loop that were due and could not be made: the server was too slow.
    /// `latency` has them with the time they had waited by the end.
    pub(crate) never_sent: u64,
    /// The topics that got no reply, in a run that requests each topic once.
    pub(super) unanswered_topics: Vec<u32>,
    /// Whether the run ended early because no more replies could be kept.
    pub(crate) full: bool,
    /// Datagrams that match no request.
    pub(crate) unmatched: u64,
    /// Requests that were refused, were not applied and were sent again, by the code of the refusal;
    /// also in the warm-up.
    pub(crate) sent_again: BTreeMap<String, u64>,
    /// Those of them that could not be sent again before the end.
    pub(crate) not_sent_again: u64,
    /// What became of the requests to each server, in the order of the plan.
    pub(crate) by_server: Vec<(SocketAddr, ServerCounts)>,
    /// The results over time.
    pub(crate) ticks: Vec<TickSummary>,
    /// What the server's process used during the measurement, if it is on this machine.
    pub(crate) usage: Option<Usage>,
    /// Every reply, if the run is verified.
    pub(crate) history: History,
}

impl Measured {
    /// Returns the replies per second.
    pub(crate) fn rate(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns what became of the connections to all servers.
    pub(crate) fn reconnects(&self) -> Reconnects {
        let mut all = Reconnects::default();
        for (_, counts) in &self.by_server {
            all.add(counts.reconnects);
        }
        all
    }

    /// Returns the server's CPU time per reply, in nanoseconds.
    pub(crate) fn processor_nanos(&self) -> Option<f64> {
        let usage = self.usage.as_ref()?;
        (self.replies > 0).then(|| usage.processor.as_nanos() as f64 / self.replies as f64)
    }

    /// Returns the part of [`processor_nanos`](Self::processor_nanos) outside the kernel.
    pub(crate) fn user_nanos(&self) -> Option<f64> {
        let usage = self.usage.as_ref()?;
        (self.replies > 0).then(|| usage.user.as_nanos() as f64 / self.replies as f64)
    }
}
