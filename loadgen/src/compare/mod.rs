//! Several servers beside each other: each pinned to the same processor, the load on another, the
//! same load in turn and again, so that whatever else the machine does meets all of them alike.

mod bench;
mod command;
mod results;
mod rows;
mod servers;
mod table;

pub(crate) use command::{Arguments, run};
