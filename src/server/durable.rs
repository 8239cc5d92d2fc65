//! A durable server: what was kept is loaded into the shards, a thread of its own makes durable what they
//! want, one commit for all that wait, and at the end they leave the exact sums behind.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{mem, thread};

use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::batch::Answers;
use super::shared::Shared;
use super::{Config, ServeError};
use crate::shard::Ceilings;
use crate::store::{Answer, Changes, FjallStore, LastEnd, Skipped, Store, StoreError};

/// The most changes of a commit at the end.
const SETTLE_CHANGES: usize = 64 * 1024;

/// A store, and what was in it.
pub(super) struct Durable {
    pub(super) store: Box<dyn Store>,
    pub(super) loaded: Loaded,
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
pub(super) fn directory(path: &Path, config: &Config) -> Result<Box<dyn Store>, StoreError> {
    let listen = [("tcp", config.tcp), ("udp", config.udp)];
    let listen = listen
        .into_iter()
        .filter_map(|(transport, address)| Some(format!("{transport}://{}", address?)));
    let owner = format!("serving {}", listen.collect::<Vec<_>>().join(" and "));
    Ok(Box::new(FjallStore::open(path, &owner)?))
}

/// Makes the shards, with the topics that `store` has.
pub(super) fn load(
    config: &Config,
    store: Option<Box<dyn Store>>,
) -> Result<(Arc<Shared>, Option<Durable>), StoreError> {
    let ceilings = match store {
        None => Ceilings::NONE,
        Some(_) => Ceilings {
            durability: config.durability,
            ticks,
        },
    };
    let shared = Arc::new(Shared::new(config.shards, config.max_topics, ceilings));
    let Some(store) = store else {
        return Ok((shared, None));
    };
    let loaded = load_shards(config, &shared, &*store)?;
    Ok((shared, Some(Durable { store, loaded })))
}

/// Loads each shard's topics, some shards at a time.
fn load_shards(config: &Config, shared: &Shared, store: &dyn Store) -> Result<Loaded, StoreError> {
    let started = Instant::now();
    let mut loaded = Loaded {
        topics: 0,
        last_end: store.last_end(),
        skipped_topics: 0,
        skipped_numbers: 0,
        took: Duration::ZERO,
    };
    let ids: Vec<_> = config.shards.ids().collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new((&mut loaded, Skipped::default(), None));
    let load_some = || {
        while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut topics, mut skipped) = (0, Skipped::default());
            let result = shared.with_idle(id, |shard| {
                store.load(config.shards.points(id), &mut |topic, stored| {
                    shard.restore(topic, stored.sum);
                    topics += 1;
                    skipped.add(stored);
                })
            });
            let (loaded, all_skipped, error) = &mut *all.lock();
            loaded.topics += topics;
            all_skipped.merge(skipped);
            if let Err(failure) = result {
                *error = Some(failure);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..threads.min(ids.len()) {
            scope.spawn(load_some);
        }
        load_some();
    });
    let (_, skipped, error) = all.into_inner();
    if let Some(error) = error {
        return Err(error);
    }
    loaded.skipped_topics = skipped.topics;
    loaded.skipped_numbers = skipped.numbers;
    loaded.took = started.elapsed();
    Ok(loaded)
}

/// Starts the thread that has the store. It ends after the last worker, and says how.
pub(super) fn spawn(
    mut store: Box<dyn Store>,
    shared: Arc<Shared>,
    ended: mpsc::UnboundedSender<Result<(), ServeError>>,
) {
    let name = "store".to_owned();
    let failed = ended.clone();
    let spawned = thread::Builder::new().name(name).spawn(move || {
        commit_all(&shared, &mut *store);
        let settled = match shared.commits().is_abandoned() {
            true => Ok(()),
            false => settle(&shared, &mut *store),
        };
        // Given back before anybody hears that the server has ended.
        drop(store);
        let _ = ended.send(settled.map_err(ServeError::Store));
    });
    if let Err(source) = spawned {
        let _ = failed.send(Err(ServeError::StoreThread { source }));
    }
}

/// Makes durable what the shards want, until nothing more comes. A store that failed is asked for
/// nothing more: what the shards want until each of them knows is refused here.
fn commit_all(shared: &Arc<Shared>, store: &mut dyn Store) {
    loop {
        let (mut changes, mut shards) = (Vec::new(), Vec::new());
        if !shared.commits().next(&mut changes, &mut shards) {
            return;
        }
        let changes: Changes = changes.into();
        let (to, asked) = (Arc::clone(shared), Arc::clone(&changes));
        let answer = Answer::new(move |result| {
            if let Err(error) = &result {
                to.store_failed(error);
            }
            let mut first = 0;
            for (shard, count) in shards {
                to.deliver(Answers {
                    shard,
                    changes: Arc::clone(&asked),
                    range: first..first + count,
                    durable: result.is_ok(),
                });
                first += count;
            }
        });
        if shared.store_failure().is_some() {
            answer.give(Err(StoreError::Failed));
            continue;
        }
        // A panic drops the answer, which says that they failed. The store is asked for nothing more.
        let committed = panic::catch_unwind(AssertUnwindSafe(|| store.commit(changes, answer)));
        if committed.is_err() {
            shared.store_failed(&StoreError::Unanswered);
        }
    }
}

/// Leaves the exact sums behind, and the mark of a clean end. No worker is left.
fn settle(shared: &Shared, store: &mut dyn Store) -> Result<(), StoreError> {
    if shared.store_failure().is_some() {
        return Err(StoreError::Failed);
    }
    for id in shared.shards().ids() {
        shared.with_idle(id, |shard| {
            let mut result = Ok(());
            let mut changes = Vec::new();
            let settled = shard.settle(|change| {
                changes.push(change);
                if changes.len() == SETTLE_CHANGES && result.is_ok() {
                    result = store.commit_and_wait(mem::take(&mut changes));
                }
            });
            match (settled, changes.is_empty()) {
                (false, _) => Err(StoreError::Unanswered),
                (true, true) => result,
                (true, false) => result.and_then(|()| store.commit_and_wait(changes)),
            }
        })?;
    }
    store.finish()
}

/// Seconds, by a clock that is cheap to look at.
fn ticks() -> u32 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    now.map_or(0, |now| now.tv_sec() as u32)
}
