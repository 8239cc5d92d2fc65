//! Carries out a [`Plan`](crate::plan::Plan): threads that each keep some connections busy, and their
//! merged results. Sockets are in `stream`, `datagrams` and `one_shot`, and `reconnect` opens them
//! again; `thread` is the loop over them. Knows no flags and no reports.

mod collect;
mod connection;
mod datagrams;
mod hello;
mod in_flight;
mod measured;
mod nodes;
mod one_shot;
mod pool;
mod reconnect;
mod reconnects;
mod resends;
mod routes;
mod run;
mod schedule;
mod server_counts;
mod socket;
mod source;
mod stream;
mod tally;
mod thread;
mod tick;
mod watch;

pub(crate) use in_flight::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_BY_ID16};
pub(crate) use measured::Measured;
pub(crate) use nodes::nodes;
pub(crate) use reconnects::Reconnects;
pub(crate) use run::{each_topic, run};
pub(crate) use server_counts::ServerCounts;
pub(crate) use tick::{Tick, TickSummary};
