//! The store's thread. It commits the changes of all shards, several in one commit, and at the end
//! it stores the exact sums.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use tokio::sync::mpsc;

use super::checkpoint::{Copying, copy_exactly};
use super::load::Durable;
use crate::server::config::ServeError;
use crate::server::exchange::{CommitResult, NextCommit, ShardMessage, Shared, TakenChanges};
use crate::store::{Changes, Completion, Store, StoreError};
use crate::topic::ShardId;

/// How long nothing has to be committed before the store may use the time.
const IDLE_AFTER: Duration = Duration::from_millis(50);

/// The maximum number of changes in a commit of exact sums, at the end.
const SETTLE_CHANGES: usize = 64 * 1024;

/// Starts the thread that has the store. The thread ends after the last worker, and reports the
/// result to `ended`.
pub(crate) fn spawn(
    durable: Durable,
    shared: Arc<Shared>,
    ended: mpsc::UnboundedSender<Result<(), ServeError>>,
) {
    let name = "store".to_owned();
    let failed = ended.clone();
    let spawned = thread::Builder::new().name(name).spawn(move || {
        let mut store = durable.store;
        // Dropped at the end: until then, ceilings are committed by it.
        #[cfg(feature = "cluster")]
        let _driver = durable.driver;
        commit_all(&shared, &mut *store);
        let settled = match shared.change_queue().is_poisoned() || !store.settles() {
            true => Ok(()),
            false => settle(&shared, &mut *store),
        };
        // The store must be released before anybody learns that the server has ended.
        drop(store);
        let _ = ended.send(settled.map_err(ServeError::Store));
    });
    if let Err(source) = spawned {
        let _ = failed.send(Err(ServeError::StoreThread { source }));
    }
}

/// Commits the changes of the shards until no more come. After the store has failed it gets no
/// further changes: they are refused here until every shard knows of the failure and sends none.
fn commit_all(shared: &Arc<Shared>, store: &mut dyn Store) {
    // Dropped at the end: a checkpoint that is not finished then is given up.
    let mut _copying = None;
    let mut idle_after = None;
    let mut taken = TakenChanges::default();
    loop {
        let (mut changes, mut shards) = (Vec::new(), Vec::new());
        let queue = shared.change_queue();
        match queue.next_commit(
            &mut taken,
            store.commit_limit(),
            &mut changes,
            &mut shards,
            idle_after,
        ) {
            NextCommit::Due => idle_after = Some(IDLE_AFTER),
            NextCommit::Idle => {
                idle_after = None;
                if shared.store_failure().is_none() {
                    store.idle();
                }
                continue;
            }
            NextCommit::Closed => return,
        }
        let changes: Changes = changes.into();
        let completion = completion_for_shards(shared, &changes, shards);
        if shared.store_failure().is_some() {
            completion.report(Err(StoreError::Failed));
            continue;
        }
        // If the commit panics, the completion is dropped, which reports to the shards that it
        // failed. The store gets no further changes.
        let committed = panic::catch_unwind(AssertUnwindSafe(|| store.commit(changes, completion)));
        if committed.is_err() {
            shared.store_failed(&StoreError::NoResult);
            continue;
        }
        if let Some(size) = store.size() {
            shared.commit_counts().set_size(size);
        }
        if let Some(started) = Copying::start_if_due(shared, store) {
            _copying = Some(started);
        }
    }
}

/// Returns a completion that delivers the result of a commit to the workers of its shards. `shards`
/// names each shard with its number of changes, in the order of `changes`.
fn completion_for_shards(
    shared: &Arc<Shared>,
    changes: &Changes,
    shards: Vec<(ShardId, usize)>,
) -> Completion {
    let (shared, changes) = (Arc::clone(shared), Arc::clone(changes));
    let started = Instant::now();
    Completion::new(move |result| {
        match &result {
            Ok(()) => shared
                .commit_counts()
                .committed(changes.len(), started.elapsed()),
            Err(error) => shared.store_failed(error),
        }
        let mut first = 0;
        for (shard, count) in shards {
            shared.deliver(ShardMessage::Result(CommitResult {
                shard,
                changes: Arc::clone(&changes),
                range: first..first + count,
                durable: result.is_ok(),
            }));
            first += count;
        }
    })
}

/// Stores the exact sums of all shards and the mark of a clean shutdown, after the last worker has
/// ended.
fn settle(shared: &Shared, store: &mut dyn Store) -> Result<(), StoreError> {
    if shared.store_failure().is_some() {
        return Err(StoreError::Failed);
    }
    // If a change has no result yet, nobody knows what the store has.
    let settled = |id| shared.with_idle(id, |shard| shard.is_settled());
    if !shared.shards().ids().all(settled) {
        return Err(StoreError::NoResult);
    }
    if !copy_exactly(shared, store) {
        commit_exact_sums(shared, store)?;
    }
    store.finish()
}

/// Commits the exact sums of all shards.
fn commit_exact_sums(shared: &Shared, store: &mut dyn Store) -> Result<(), StoreError> {
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
                // The store still owes the result of a change, so nobody knows what the store has.
                (false, _) => Err(StoreError::NoResult),
                (true, true) => result,
                (true, false) => result.and_then(|()| store.commit_and_wait(changes)),
            }
        })?;
    }
    Ok(())
}
