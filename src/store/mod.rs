//! Durable storage for ceilings: the [`Store`] trait and its implementations. A store knows topics
//! and their records. It must not know what a record means: that is up to [`shard`](crate::shard).

mod completion;
mod directory;
mod error;
mod fjall;
mod guard;
mod interface;
mod journal;
mod layout;
mod lock;
mod memory;
mod stored;

pub use completion::{Changes, Completion};
pub use error::StoreError;
pub use fjall::FjallStore;
pub use interface::Store;
pub use memory::MemoryStore;
pub use stored::{LastEnd, Skipped, Stored};
