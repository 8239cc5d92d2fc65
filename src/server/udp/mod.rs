//! Datagrams: receiving them in batches, packing and sending their replies, and steering each to the
//! worker that owns its topic. One task and one socket per worker; all sockets share the address.
//! Requests reach shards through the [`worker`](super::worker) alone.

mod errors;
mod pack;
mod program;
mod receive;
mod senders;
mod socket;
mod steering;

pub(crate) use receive::serve_datagrams;
pub(crate) use socket::DatagramSocket;
pub(crate) use steering::{do_not_steer, steer};
