//! What was kept, into the shards, before anybody counts.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server::config::Config;
use crate::server::exchange::Shared;
use crate::server::net::coarse_seconds;
use crate::shard::Ceilings;
use crate::store::{FjallStore, LastEnd, Skipped, Store, StoreError};

/// A store, and what was in it.
pub(crate) struct Durable {
    pub(crate) store: Box<dyn Store>,
    pub(crate) loaded: Loaded,
}

/// What a server found of topics that were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// How many topics.
    pub topics: u64,
    /// How the server ended that had them before.
    pub last_end: LastEnd,
    /// Of how many topics the last server may have had numbers left that it never handed out, since
    /// it did not end cleanly. These are skipped.
    pub skipped_topics: u64,
    /// How many numbers that are at most.
    pub skipped_numbers: u64,
    /// How long it took.
    pub took: Duration,
}

/// Opens the data directory of a server.
pub(crate) fn directory(path: &Path, config: &Config) -> Result<Box<dyn Store>, StoreError> {
    let listen = [("tcp", config.tcp), ("udp", config.udp)];
    let listen = listen
        .into_iter()
        .filter_map(|(transport, address)| Some(format!("{transport}://{}", address?)));
    let owner = format!("serving {}", listen.collect::<Vec<_>>().join(" and "));
    Ok(Box::new(FjallStore::open(path, &owner)?))
}

/// Makes the shards, with the topics that `store` has.
pub(crate) fn load(
    config: &Config,
    store: Option<Box<dyn Store>>,
) -> Result<(Arc<Shared>, Option<Durable>), StoreError> {
    let ceilings = match store {
        None => Ceilings::NONE,
        Some(_) => Ceilings {
            durability: config.durability,
            ticks: || coarse_seconds() as u32,
        },
    };
    let shared = Arc::new(Shared::new(config.shards, config.max_topics, ceilings));
    let Some(store) = store else {
        return Ok((shared, None));
    };
    let loaded = load_shards(config, &shared, &*store)?;
    Ok((shared, Some(Durable { store, loaded })))
}

/// Loads each shard's topics, on as many threads as there are processors.
fn load_shards(config: &Config, shared: &Shared, store: &dyn Store) -> Result<Loaded, StoreError> {
    let started = Instant::now();
    let ids: Vec<_> = config.shards.ids().collect();
    let next = AtomicUsize::new(0);
    let total = Mutex::new((0, Skipped::default()));
    let load_some = || -> Result<(), StoreError> {
        while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut topics, mut skipped) = (0, Skipped::default());
            shared.with_idle(id, |shard| {
                store.load(config.shards.points(id), &mut |topic, stored| {
                    shard.restore(topic, stored.sum);
                    topics += 1;
                    skipped.add(stored);
                })
            })?;
            let (all_topics, all_skipped) = &mut *total.lock();
            *all_topics += topics;
            all_skipped.merge(skipped);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let others = (1..threads.min(ids.len())).map(|_| scope.spawn(load_some));
        let others: Vec<_> = others.collect();
        let own = load_some();
        others.into_iter().fold(own, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
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
