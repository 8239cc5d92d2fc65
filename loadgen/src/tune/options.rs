//! What a tuning is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::launch::Storage;
use crate::plan::Plan;
use crate::report::ReportFile;
use crate::workload::Spacing;

/// What a tuning is asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// The load as a closed loop, for as long as each measurement takes.
    pub(crate) load: Plan,
    /// How the requests of the open loop are spaced.
    pub(crate) spacing: Spacing,
    /// The rate of the open loop. `None` to derive it from the closed loop.
    pub(crate) rate: Option<f64>,
    /// The numbers of shards to try.
    pub(crate) shards: Vec<u16>,
    pub(crate) storage: Storage,
    pub(crate) rounds: u32,
    pub(crate) duration: Duration,
    /// The server to start. `None` for the installed one.
    pub(crate) program: Option<PathBuf>,
    /// The processors that the servers may use.
    pub(crate) server_processors: Vec<usize>,
    /// The processors that the load may use.
    pub(crate) load_processors: Vec<usize>,
}

/// The files for reports.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: Option<ReportFile>,
    pub(crate) html: Option<ReportFile>,
}
