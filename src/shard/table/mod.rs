//! A hash table from topics to values, which waits for memory once for a tag and once for a row. It
//! owns the names of the topics, and must not know what a value means.

mod intrinsics;
mod long_names;
mod map;
mod memory;
mod names;
mod scan;
mod segment;

#[cfg(test)]
pub(super) use map::FAR_TOPICS;
pub(super) use map::{Key, Table};
pub(super) use memory::Place;
