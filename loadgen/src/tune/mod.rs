//! `loadgen tune`: starts this project's server with one setting after the other under the same load,
//! and recommends a setting. Settings take turns round by round, so that other work of the machine
//! affects all of them alike. Knows no flags.

mod bench;
mod decision;
mod options;
mod page;
mod results;
mod run;
mod setting;
mod table;
mod words;

pub(crate) use options::{Options, Output};
pub(crate) use run::run;
