//! Carries out a [`Plan`]: threads that each keep some connections busy, and what they saw, put
//! together. Sockets are in `stream`, `datagrams` and `one_shot`; `thread` is the loop over them.

mod collect;
mod datagrams;
mod flight;
mod hello;
mod lane;
mod measured;
mod one_shot;
mod run;
mod schedule;
mod stream;
mod tally;
mod thread;

pub(crate) use flight::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_BY_ID16};
pub(crate) use measured::Measured;
pub(crate) use run::{each_topic, run};
pub(crate) use tally::{Moment, Tick};
