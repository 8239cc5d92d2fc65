//! The results of a comparison, row by row.

use serde::Serialize;

use super::rows::Target;
use super::servers::Installed;
use crate::observe::Environment;

/// All results of a comparison.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) environment: Environment,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) server_processor: usize,
    pub(super) load_processor: usize,
    pub(super) servers: Installed,
    pub(super) rows: Vec<RowResult>,
}

/// The results of a row.
#[derive(Debug, Serialize)]
pub(super) struct RowResult {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The entries of the row, then those of the other build.
    pub(super) entries: Vec<EntryResult>,
    pub(super) targets: Vec<TargetResult>,
}

/// The results of one server in a row. Figures are the medians of all rounds.
#[derive(Debug, Serialize)]
pub(super) struct EntryResult {
    pub(super) server: String,
    /// Whether the row's targets are for this server.
    pub(super) ours: bool,
    /// The index of the entry that `ratio` compares with.
    pub(super) base: Option<usize>,
    /// Why there are no results.
    pub(super) missing: Option<String>,
    pub(super) rounds: Vec<Round>,
    #[serde(flatten)]
    pub(super) medians: Round,
    /// CPU time per request, or memory per topic, divided by that of the base.
    pub(super) ratio: Option<f64>,
    /// CPU time per request minus that of the baseline, in nanoseconds.
    pub(super) beyond_baseline: Option<f64>,
    /// The same divided by that of the other build, for an entry that has one.
    pub(super) ratio_to_other_build: Option<f64>,
}

/// Whether `ours` reached a target.
#[derive(Debug, Serialize)]
pub(super) struct TargetResult {
    #[serde(flatten)]
    pub(super) target: Target,
    /// What the target limits. `None` if it could not be measured.
    pub(super) value: Option<f64>,
    pub(super) met: Option<bool>,
}

/// One measurement of a server. A row does not measure everything.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Round {
    /// Requests per second.
    pub(super) rate: Option<f64>,
    /// CPU time per request.
    pub(super) nanos_per_reply: Option<f64>,
    /// The part of it outside the kernel.
    pub(super) user_nanos_per_reply: Option<f64>,
    /// Latencies in microseconds.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// Seconds from the start of the process until it served.
    pub(super) start_seconds: Option<f64>,
    /// Resident memory.
    pub(super) bytes_per_topic: Option<f64>,
    /// Datagrams without a reply in time. In [`EntryResult::medians`]: of all rounds.
    pub(super) lost: u64,
}
