//! A hash table from topics to values, which waits for memory once for a tag and once for a row. It
//! owns the names of the topics, and must not know what a value means.

mod long_names;
mod map;
mod memory;
mod names;
mod prefetch;
mod scan;
mod segment;

pub(super) use map::{Key, Table};
pub(super) use memory::Place;
