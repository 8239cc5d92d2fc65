//! System calls: binding groups of sockets, datagrams in batches, keeping threads on processors.
//! The only place with `unsafe` ([`sys`]). Knows no protocol, no shard and no runtime.

// These two are public for loadgen alone, which measures with the very same system calls. Nothing in
// either is promised to stay.
pub mod affinity;
mod clock;
mod listen;
pub mod sys;

pub(crate) use clock::coarse_seconds;
pub(crate) use listen::{
    UDP_BUFFER, drop_new_connections, tcp_group, udp_group, udp_receive_buffer,
};
