//! Durability: at the start the stored topics are loaded into the shards, then a thread makes the
//! shards' changes durable, and at the end it stores the exact sums. The folder knows the promises
//! of a store, but not how a store keeps them, and it knows no worker.

mod checkpoint;
mod each_shard;
mod load;
#[cfg(feature = "cluster")]
mod node;
mod thread;

pub use load::Loaded;
pub(crate) use load::{Durable, directory, load};
#[cfg(feature = "cluster")]
pub(crate) use node::join;
pub(crate) use thread::spawn;
