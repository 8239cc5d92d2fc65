//! What a run came to, as people and programs read it: a table, JSON, a page. Everything is derived
//! here once, from what [`crate::drive`] measured.

mod contents;
mod file;
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
pub(crate) use html::page;
pub(crate) use json::json;
pub(crate) use progress::{Progress, Rounds};
pub(crate) use ramp::{Ramp, Step};
pub(crate) use summary::{Latency, Summary};
pub(crate) use table::table;
pub(crate) use units::{duration, grouped};
