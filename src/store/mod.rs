//! Where ceilings are durable: the trait, and what implements it. A store knows topics and their
//! records; what a record means is [`shard`](crate::shard)'s business.

mod answer;
mod directory;
mod error;
mod fjall;
mod guard;
mod interface;
mod journal;
mod layout;
mod lock;
mod memory;

pub use answer::{Answer, Changes};
pub use error::StoreError;
pub use fjall::FjallStore;
pub use interface::{LastEnd, Store, Stored};
pub use memory::MemoryStore;
