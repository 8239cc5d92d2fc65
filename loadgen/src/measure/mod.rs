//! Carries out a plan from beginning to end: prepares topics, measures a run or a ramp, checks the
//! order of replies, and makes the report. Knows no flags.

mod cpu_sharing;
mod prepare;
mod ramp;
mod run;
mod search;

pub(crate) use prepare::{ensure_served, prepare, with_nodes};
pub(crate) use ramp::{ramp, sustains};
pub(crate) use run::{process_of, run};
