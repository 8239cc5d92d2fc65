//! The results of a ramp.

use serde::Serialize;

use super::summary::Latency;

/// A search for the highest rate at which p99 stays low enough.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ramp {
    /// The limit on p99, in microseconds.
    pub(crate) slo: f64,
    /// The highest rate that kept it, if any did.
    pub(crate) highest: Option<f64>,
    /// In the order they were run.
    pub(crate) steps: Vec<Step>,
}

/// One rate of a ramp.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Requests a second that were asked for.
    pub(crate) asked: f64,
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
    pub(crate) kept: bool,
    /// Why there is nothing to tell of it.
    pub(crate) failed: Option<String>,
}

impl Step {
    /// One that could not be measured.
    pub(crate) fn failed(asked: f64, error: &anyhow::Error) -> Self {
        Self {
            asked,
            rate: 0.0,
            latency: Latency::default(),
            kept: false,
            failed: Some(format!("{error:#}")),
        }
    }
}
