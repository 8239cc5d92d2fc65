//! TCP connections: how they are accepted, served (one task each) and moved between workers. A
//! connection reaches shards through its [`worker`](super::worker) alone, and knows no other
//! connection. [`peers`] has the connections to other nodes of a cluster.

mod accept;
mod connection;
mod context;
mod handshake;
mod hello;
mod limited;
mod move_detector;
mod moved;
mod moving;
mod peers;
mod rate;
mod reading;
mod stream;

pub(crate) use accept::{QueueAtStop, accept, serve_arrivals};
pub(crate) use context::TcpContext;
pub(crate) use moved::Moved;
pub(crate) use peers::forward_requests;
