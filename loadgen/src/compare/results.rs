//! The results of a comparison, row by row.

use serde::Serialize;

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
    /// The row's target: the most that globalcounter's ratio should be; for memory, the most bytes per
    /// topic.
    pub(super) target_at_most: Option<f64>,
    pub(super) entries: Vec<EntryResult>,
}

/// The results of one server in a row.
#[derive(Debug, Serialize)]
pub(super) struct EntryResult {
    pub(super) server: String,
    /// Whether the row's target is for this server.
    pub(super) ours: bool,
    /// The index of the entry that `ratio` compares with.
    pub(super) base: Option<usize>,
    /// Why there are no results.
    pub(super) missing: Option<String>,
    pub(super) rounds: Vec<Round>,
    /// The median of all rounds, as are the next three.
    pub(super) rate: Option<f64>,
    pub(super) nanos_per_reply: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) bytes_per_topic: Option<f64>,
    /// Datagrams without a reply in time, in all rounds.
    pub(super) lost: u64,
    /// CPU time per request, or memory per topic, divided by that of the base.
    pub(super) ratio: Option<f64>,
}

/// One measurement. Latencies are in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    pub(super) rate: f64,
    pub(super) nanos_per_reply: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Datagrams without a reply in time.
    pub(super) lost: u64,
}

/// Returns the middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
    Some((values[lower] + values[upper]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
