//! Datagrams: receiving them in batches, packing and sending their replies, and having the kernel give
//! each to the worker that owns its topic. One task and one socket a worker; all workers' sockets
//! share the address.

mod pack;
mod port;
mod receive;
mod steering;

pub(crate) use port::UdpPort;
pub(crate) use receive::serve_datagrams;
pub(crate) use steering::steer;
