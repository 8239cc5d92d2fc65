//! TCP connections: how they are accepted, served (one task each) and moved between workers. A
//! connection reaches shards through its [`worker`](super::worker) alone, and knows no other
//! connection.

mod accept;
mod connection;
mod drift;
mod moved;
mod moving;
mod port;
mod reading;

pub(crate) use accept::{accept, take_in};
pub(crate) use moved::Moved;
pub(crate) use port::TcpPort;
