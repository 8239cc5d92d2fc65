//! TCP connections: accepting them, one task each, and how they move between workers. Knows a
//! worker and what its tasks share; a request's shard is reached through that.

mod accept;
mod connection;
mod drift;
mod moved;
mod moving;
mod port;

pub(crate) use accept::{accept, take_in};
pub(crate) use moved::Moved;
pub(crate) use port::TcpPort;
