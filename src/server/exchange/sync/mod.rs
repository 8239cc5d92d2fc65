//! What threads share without waiting for one another: [`reach`], the way to a shard, and [`inbox`], the
//! way back to a worker. Knows neither counters nor sockets; `tests/model` tries every interleaving.

pub mod inbox;
mod primitives;
pub mod reach;
