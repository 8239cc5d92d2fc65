//! Work on all shards at once, before they are served or afterwards.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::server::config;
use crate::store::StoreError;
use crate::topic::{ShardId, Shards};

/// Runs `work` for each shard, on as many threads as there are processors; this thread is one of
/// them. Returns the first error.
pub(super) fn for_each_shard(
    shards: Shards,
    work: impl Fn(ShardId) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let ids: Vec<_> = shards.ids().collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(id)?;
        }
        Ok(())
    };
    let processors = config::processors();
    thread::scope(|scope| {
        let others = (1..processors.min(ids.len())).map(|_| scope.spawn(work));
        let others: Vec<_> = others.collect();
        let own = work();
        others.into_iter().fold(own, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    })
}
