//! The contents of a report: the machine, the load, the results.

use serde::Serialize;

use super::ramp::Ramp;
use super::summary::Summary;
use crate::observe::Environment;
use crate::plan::{Pace, Plan, Until};
use crate::verify::Verdict;
use crate::workload::Spacing;

/// The report of a run or of a ramp.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) environment: Environment,
    pub(crate) load: Load,
    /// The results of the run; of a ramp, those of the highest rate that was sustained.
    pub(crate) result: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ramp: Option<Ramp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<Verdict>,
    /// The processors that load and server could both use, which makes the results noisy. Empty if
    /// the server is not on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared_processors: Vec<usize>,
}

/// The load, as the flags describe it.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) target: &'static str,
    /// Whether requests travel over UDP, which can lose them.
    pub(crate) udp: bool,
    pub(crate) server: String,
    pub(crate) connections: usize,
    /// Requests in flight on each connection. `None` in an open loop.
    pub(crate) pipeline: Option<usize>,
    /// The target rate in requests per second. `None` in a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) arrivals: Option<&'static str>,
    pub(crate) per_datagram: usize,
    pub(crate) gso: bool,
    pub(crate) shard_aware: bool,
    /// How long a connection that ended is tried to be opened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reconnect_seconds: Option<f64>,
    pub(crate) threads: usize,
    pub(crate) topics: u32,
    pub(crate) topic_len: usize,
    pub(crate) distribution: String,
    pub(crate) mix: String,
    pub(crate) seed: u64,
    pub(crate) warm_up_seconds: f64,
    pub(crate) seconds: Option<f64>,
    pub(crate) requests: Option<u64>,
}

impl Load {
    pub(crate) fn of(plan: &Plan) -> Self {
        let (pipeline, rate, arrivals) = match plan.pace {
            Pace::Closed { pipeline } => (Some(pipeline), None, None),
            Pace::Open { rate, spacing } => {
                let arrivals = match spacing {
                    Spacing::Fixed => "fixed",
                    Spacing::Poisson => "poisson",
                };
                (None, Some(rate), Some(arrivals))
            }
        };
        let (seconds, requests) = match plan.until {
            Until::Elapsed(duration) => (Some(duration.as_secs_f64()), None),
            Until::Requests(requests) => (None, Some(requests)),
        };
        Self {
            target: plan.target.name(),
            udp: plan.target.transport().is_udp(),
            server: plan.server_names(),
            connections: plan.connections,
            pipeline,
            rate,
            arrivals,
            per_datagram: plan.per_datagram,
            gso: plan.gso,
            shard_aware: plan.shard_aware,
            reconnect_seconds: plan.reconnect.map(|patience| patience.as_secs_f64()),
            threads: plan.threads,
            topics: plan.workload.names.count(),
            topic_len: plan.workload.names.len(),
            distribution: plan.workload.distribution.to_string(),
            mix: plan.workload.mix.to_string(),
            seed: plan.workload.seed,
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            seconds,
            requests,
        }
    }
}
