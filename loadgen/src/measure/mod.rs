//! Carries out what a plan says from beginning to end, and puts it into a [`Report`](crate::report::Report): topics made
//! beforehand, the run or the ramp, the check of its order.

mod neighbours;
mod prepare;
mod ramp;
mod run;
mod search;

pub(crate) use prepare::prepare;
pub(crate) use ramp::ramp;
pub(crate) use run::{process_of, run};
