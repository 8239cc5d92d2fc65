//! globalcounter gives a distributed system one complete order: a server holds topic → sum, COUNT
//! adds one to a topic and returns the sum, and so every event that anyone counts has its place.
//!
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod shard;
pub mod topic;
