//! Loads the stored topics into the shards, before the server serves.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::each_shard::for_each_shard;
#[cfg(feature = "cluster")]
use crate::etcd::Driver;
use crate::server::config::Config;
use crate::server::exchange::Shared;
use crate::server::net::coarse_seconds;
use crate::shard::Ceilings;
use crate::store::{self, LastEnd, LogStore, Skipped, Store, StoreError};
use crate::topic::ShardId;

/// How long a tick is in a cluster, in seconds, and so about how long a reserve lasts. A commit costs more
/// there than on a disk.
const NODE_TICK_SECONDS: u64 = 4;

/// An open store, and a summary of what was loaded from it.
pub(crate) struct Durable {
    pub(crate) store: Box<dyn Store>,
    /// `None` on a node of a cluster, which loads topics when it owns them.
    pub(crate) loaded: Option<Loaded>,
    /// Runs the node of a cluster, until the store's thread ends.
    #[cfg(feature = "cluster")]
    pub(crate) driver: Option<Driver>,
}

/// A summary of the topics that a server loaded from its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// The number of topics.
    pub topics: u64,
    /// How the previous server on this store ended.
    pub last_end: LastEnd,
    /// The number of topics that may skip numbers: the previous server did not end cleanly, so it
    /// is not known which numbers up to their ceilings it handed out.
    pub skipped_topics: u64,
    /// How many numbers these topics skip together at most.
    pub skipped_numbers: u64,
    /// How long loading took.
    pub took: Duration,
}

/// Opens the data directory of a server. The addresses of `config` are written to the lock file,
/// and shown to another process that finds the directory in use.
pub(crate) fn directory(path: &Path, config: &Config) -> Result<Box<dyn Store>, StoreError> {
    let listen = [("tcp", config.tcp), ("udp", config.udp)];
    let listen = listen
        .into_iter()
        .filter_map(|(transport, address)| Some(format!("{transport}://{}", address?)));
    let owner = format!("serving {}", listen.collect::<Vec<_>>().join(" and "));
    Ok(Box::new(LogStore::open_with(
        path,
        &owner,
        config.checkpoint_log,
    )?))
}

/// Creates the shards, with the topics of `store` if there is one.
pub(crate) fn load(
    config: &Config,
    store: Option<Box<dyn Store>>,
) -> Result<(Arc<Shared>, Option<Durable>), StoreError> {
    let durability = config.durability;
    let ceilings = match store {
        Some(_) => Ceilings {
            durability,
            ticks: || coarse_seconds() as u32,
        },
        None if config.is_node() => Ceilings {
            durability,
            ticks: || (coarse_seconds() / NODE_TICK_SECONDS) as u32,
        },
        None => Ceilings::NONE,
    };
    let shared = Arc::new(Shared::new(config.shards, config.max_topics, ceilings));
    let Some(store) = store else {
        return Ok((shared, None));
    };
    let loaded = load_shards(config, &shared, &*store)?;
    let durable = Durable {
        store,
        loaded: Some(loaded),
        #[cfg(feature = "cluster")]
        driver: None,
    };
    Ok((shared, Some(durable)))
}

/// Loads the topics of all shards, on as many threads as there are processors.
fn load_shards(config: &Config, shared: &Shared, store: &dyn Store) -> Result<Loaded, StoreError> {
    let started = Instant::now();
    let total = Mutex::new((0, Skipped::default()));
    for_each_shard(config.shards, |id| {
        let (topics, skipped) = load_shard(config, shared, store, id)?;
        let (all_topics, all_skipped) = &mut *total.lock();
        *all_topics += topics;
        all_skipped.merge(skipped);
        Ok(())
    })?;
    let (topics, skipped) = total.into_inner();
    Ok(Loaded {
        topics,
        last_end: store.last_end(),
        skipped_topics: skipped.topics,
        skipped_numbers: skipped.numbers,
        took: started.elapsed(),
    })
}

/// Loads the topics of one shard. Returns the number of topics, and how much they skip.
fn load_shard(
    config: &Config,
    shared: &Shared,
    store: &dyn Store,
    id: ShardId,
) -> Result<(u64, Skipped), StoreError> {
    shared.with_idle(id, |shard| {
        let points = config.shards.points(id);
        let skipped = store::load_shard(shard, |found| store.load(points, found))?;
        Ok((shard.topics() as u64, skipped))
    })
}
