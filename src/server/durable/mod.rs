//! A durable server: what was kept is loaded into the shards, a thread of its own makes durable what
//! they want, and at the end they leave the exact sums behind. Knows what a store promises, not how it
//! keeps it, and no worker.

mod load;
mod thread;

pub use load::Loaded;
pub(crate) use load::{Durable, directory, load};
pub(crate) use thread::spawn;
