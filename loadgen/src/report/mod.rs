//! Reports of runs: a table for terminals, JSON for programs, an HTML page with plots. All figures are
//! derived here once, from the results of [`crate::drive`]. Knows no sockets and no flags.

mod contents;
mod file;
mod frame;
mod html;
mod json;
mod notes;
mod plot;
mod progress;
mod ramp;
mod summary;
mod table;
mod units;

pub(crate) use contents::{Load, Report};
pub(crate) use file::ReportFile;
pub(crate) use frame::{escape, frame, plot};
pub(crate) use html::{page, sentence};
pub(crate) use json::json;
pub(crate) use notes::ranges;
pub(crate) use plot::{Axis, Line};
pub(crate) use progress::{Progress, Rounds};
pub(crate) use ramp::{Ramp, Step};
pub(crate) use summary::{Latency, Summary};
pub(crate) use table::table;
pub(crate) use units::{cpu_time, duration, grouped};
