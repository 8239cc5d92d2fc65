//! Sends steps to all shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::server::exchange::{Done, RangeMessage, RangeStep, ShardMessage, Shared};

/// Sends a step to all shards.
pub(super) fn to_all(shared: &Shared, step: impl Fn() -> RangeStep) {
    for shard in shared.shards().ids() {
        shared.deliver(ShardMessage::Range(RangeMessage {
            shard,
            step: step(),
        }));
    }
}

/// Sends a step to all shards, and calls `done` when all have made it.
pub(super) fn to_all_then(
    shared: &Shared,
    step: impl Fn(Done) -> RangeStep,
    done: impl FnOnce() + Send + 'static,
) {
    let left = Arc::new(AtomicUsize::new(shared.shards().count().into()));
    let done = Arc::new(Mutex::new(Some(done)));
    to_all(shared, || {
        let (left, done) = (Arc::clone(&left), Arc::clone(&done));
        step(Done::new(move |_| {
            if left.fetch_sub(1, Ordering::AcqRel) == 1
                && let Some(done) = done.lock().take()
            {
                done();
            }
        }))
    });
}
