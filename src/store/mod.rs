//! Durable storage for ceilings: the [`Store`] trait and its implementations. A store knows topics
//! and their records. It must not know what a record means: that is up to [`shard`](crate::shard).

mod checkpoint;
mod completion;
mod directory;
mod disk;
mod encoding;
mod error;
#[cfg(feature = "cluster")]
mod etcd;
mod fault;
mod interface;
mod layout;
mod log;
mod log_store;
mod memory;
mod shards;
mod stored;
#[cfg(feature = "cluster")]
mod window;

pub use completion::{Changes, Completion};
pub use encoding::Rows;
pub use error::StoreError;
#[cfg(feature = "cluster")]
pub use etcd::{EtcdStore, Loads, RangeFailed, range_change};
pub use interface::{Checkpoint, Store, StoreSize};
pub use log_store::{Contents, Finding, LogStore, check};
pub use memory::MemoryStore;
pub use shards::{load_shard, write_exact_sums};
pub use stored::{LastEnd, Skipped, Stored};

/// The fuzz targets of what is on the disk.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use super::checkpoint::fuzzing::checkpoint;
    pub use super::log::fuzzing::log_record;
}
