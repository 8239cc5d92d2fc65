//! The store in a data directory on this machine: a log of changes, and checkpoints of all topics.
//! docs/durability.md describes the layout and why it holds. Knows nothing of shards: it is given
//! the topics of a checkpoint.

mod check;
mod checkpoint;
mod contents;
mod options;
mod store;
#[cfg(test)]
mod tests;

pub use check::{Finding, check};
pub use contents::Contents;
pub use store::LogStore;
