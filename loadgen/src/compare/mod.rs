//! `loadgen compare`: measures several servers under the same load. All servers are pinned to one
//! processor and the load to another. Servers take turns round by round, so that other work of the
//! machine affects all of them alike.

mod bench;
mod command;
mod results;
mod rows;
mod servers;
mod summary;
mod table;

pub(crate) use command::{Arguments, run};
