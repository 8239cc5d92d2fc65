//! What was measured of the servers, row by row.

use serde::Serialize;

use super::servers::Installed;
use crate::observe::Environment;

/// Everything that was measured.
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

/// What a row came to.
#[derive(Debug, Serialize)]
pub(super) struct RowResult {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The ratio that globalcounter should stay under.
    pub(super) to_reach: Option<f64>,
    pub(super) entries: Vec<EntryResult>,
}

/// What a server came to in a row.
#[derive(Debug, Serialize)]
pub(super) struct EntryResult {
    pub(super) server: String,
    /// Whether it is the one that the row's goal is for.
    pub(super) ours: bool,
    /// What its ratio is to: the entry of that number.
    pub(super) base: Option<usize>,
    /// Why there is nothing here.
    pub(super) missing: Option<String>,
    pub(super) rounds: Vec<Round>,
    /// Medians.
    pub(super) rate: Option<f64>,
    pub(super) nanos_per_reply: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) bytes_per_topic: Option<f64>,
    /// Datagrams without a reply, in all rounds.
    pub(super) lost: u64,
    /// Of processor time a request, or of memory a topic, to that of the base.
    pub(super) ratio: Option<f64>,
}

/// One measurement. Latencies are microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    pub(super) rate: f64,
    pub(super) nanos_per_reply: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Datagrams without a reply in time.
    pub(super) lost: u64,
}

/// The middle one, or the mean of the two in the middle.
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
