//! globalcounter gives a distributed system one complete order: a server holds topic → sum, COUNT
//! adds one to a topic and returns the sum, and so every event that anyone counts has its place.
//!
pub mod protocol;
pub mod topic;
