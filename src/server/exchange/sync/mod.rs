//! Data structures that threads share without blocking one another: [`reach`] is the way to a
//! shard, [`inbox`] is the way back to a worker. They know neither counters nor sockets;
//! `tests/model` tries every interleaving.

pub mod inbox;
mod primitives;
pub mod reach;
