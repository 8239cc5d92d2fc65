//! Observes this machine: the server's process with its CPU time and memory, processors and who may
//! use them, and the environment of a measurement. Knows no plans and no reports.

mod environment;
mod others;
mod process;
mod processors;
mod threads;

pub(crate) use environment::Environment;
pub(crate) use others::Others;
pub(crate) use process::{Process, Usage};
pub(crate) use processors::{pin, pin_to};
pub(crate) use threads::Threads;
