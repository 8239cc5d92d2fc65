//! The TCP transport of a client: connections, calls in flight on them, and what to do when one is
//! lost. Knows no other transport, and no method of the client.

mod coalesce;
mod connect;
mod connection;
mod job;
mod owners;
mod sharded;
mod single;

pub(super) use sharded::Sharded;
pub(super) use single::Tcp;
