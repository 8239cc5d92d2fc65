//! The TCP transport of a client: its connections, the calls in flight on them, and reconnecting.
//! It knows neither the other transport nor the client's methods.

mod coalesce;
mod connect;
mod connection;
mod endpoint;
mod job;
mod owners;
mod sharded;
mod single;
mod stream;

pub(super) use endpoint::Endpoint;
pub(super) use sharded::Sharded;
pub(super) use single::Tcp;
