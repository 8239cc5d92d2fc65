//! Connections that speak the Redis protocol: commands in, replies out in the same order, over any
//! number of shards. [`Session`] interprets commands, answers what needs no shard, and queues the
//! rest as requests. It knows neither the socket nor how a shard is reached; the connection moves
//! the bytes, the router the requests, as for any other dialect.

mod answer;
mod clients;
mod cluster;
mod command_info;
mod info;
mod invocation;
mod permission;
mod search;
mod session;
mod transaction;

pub(crate) use permission::Limited;
pub(crate) use session::{Rest, Session};
