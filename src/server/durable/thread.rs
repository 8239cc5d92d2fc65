//! The thread that has the store: it makes durable what the shards want, one commit for all that wait,
//! and at the end leaves their exact sums behind.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::{mem, thread};

use tokio::sync::mpsc;

use crate::server::error::ServeError;
use crate::server::exchange::{CommitResult, Shared};
use crate::store::{Answer, Changes, Store, StoreError};

/// The most changes of a commit at the end.
const SETTLE_CHANGES: usize = 64 * 1024;

/// Starts the thread that has the store. It ends after the last worker, and says how.
pub(crate) fn spawn(
    mut store: Box<dyn Store>,
    shared: Arc<Shared>,
    ended: mpsc::UnboundedSender<Result<(), ServeError>>,
) {
    let name = "store".to_owned();
    let failed = ended.clone();
    let spawned = thread::Builder::new().name(name).spawn(move || {
        commit_all(&shared, &mut *store);
        let settled = match shared.change_queue().is_poisoned() {
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
        if !shared.change_queue().next_commit(&mut changes, &mut shards) {
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
                to.deliver(CommitResult {
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
