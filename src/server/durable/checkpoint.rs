//! Copies the topics of all shards to a checkpoint, on a thread of its own: while they are served,
//! in steps that run between other batches; and at the end, when nobody else uses them.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use tracing::{debug, warn};

use super::each_shard::for_each_shard;
use crate::server::exchange::{CopyStep, ShardMessage, Shared};
use crate::server::net::LogLimit;
use crate::shard::Position;
use crate::store::{Checkpoint, Rows, Store, StoreError, write_exact_sums};

/// Checkpoints that failed: with a full disk, peers provoke one after the other.
static FAILED: LogLimit = LogLimit::new();

/// A checkpoint that is being written while the shards are served.
#[derive(Debug)]
pub(super) struct Copying {
    /// Dropped to end the copying early.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Copying {
    /// Begins a checkpoint if one is due and none is being written. A failure is only logged: the
    /// store goes on without a checkpoint.
    pub(super) fn start_if_due(shared: &Arc<Shared>, store: &mut dyn Store) -> Option<Self> {
        if !store.checkpoint_due() {
            return None;
        }
        let checkpoint = match begin(shared, store) {
            Ok(checkpoint) => checkpoint?,
            Err(error) => {
                report_failure(shared, &error);
                return None;
            }
        };
        let (stop, stopped) = bounded(0);
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new().name("checkpoint".to_owned());
        let thread = thread.spawn(move || copy_served(&shared, checkpoint, &stopped));
        match thread {
            Ok(thread) => Some(Self {
                stop: Some(stop),
                thread: Some(thread),
            }),
            Err(error) => {
                warn!(%error, "cannot start a thread that writes a checkpoint");
                None
            }
        }
    }
}

impl Drop for Copying {
    /// Gives the checkpoint up, unless it is finished, and waits for the thread.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that writes checkpoints panicked");
        }
    }
}

/// Begins a checkpoint with one part for each shard; `None` if the store needs none.
fn begin(
    shared: &Shared,
    store: &mut dyn Store,
) -> Result<Option<Box<dyn Checkpoint>>, StoreError> {
    let shards = shared.shards();
    store.begin_checkpoint(shards.ids().map(|id| shards.points(id)).collect())
}

/// Counts and logs a checkpoint that could not be written.
fn report_failure(shared: &Shared, error: &StoreError) {
    shared.commit_counts().checkpoint_failed();
    if let Some(failed) = FAILED.count() {
        warn!(
            failed,
            error = %error.with_causes(),
            "cannot write checkpoints: the log goes on, and takes more room until one succeeds"
        );
    }
}

/// Copies the topics of all shards while they are served, until `stopped` is closed.
fn copy_served(shared: &Shared, checkpoint: Box<dyn Checkpoint>, stopped: &Receiver<()>) {
    let (done, steps) = bounded(1);
    let mut copied: u64 = 0;
    for shard in shared.shards().ids() {
        let mut step = CopyStep {
            shard,
            next: Some(Position::START),
            topics: Rows::new(),
            done: done.clone(),
        };
        while step.next.is_some() {
            shared.deliver(ShardMessage::Copy(step));
            step = select! {
                recv(steps) -> step => match step {
                    Ok(step) => step,
                    Err(_) => return,
                },
                recv(stopped) -> _ => return,
            };
            if shared.store_failure().is_some() {
                return;
            }
            copied += u64::from(step.topics.count());
            if let Err(error) = checkpoint.write(shard.index(), &step.topics) {
                return report_failure(shared, &error);
            }
            step.topics.clear();
        }
    }
    match checkpoint.finish() {
        Ok(()) => {
            shared.commit_counts().checkpoint_written();
            debug!(topics = copied, "wrote a checkpoint");
        }
        Err(error) => report_failure(shared, &error),
    }
}

/// Writes a checkpoint with the exact sums of all shards, which nobody else uses any more and whose
/// changes all have results. Returns false if the store has no checkpoints, or if it fails: then the
/// store is as before.
pub(super) fn copy_exactly(shared: &Shared, store: &mut dyn Store) -> bool {
    let copied = begin(shared, store).and_then(|checkpoint| {
        let Some(checkpoint) = checkpoint else {
            return Ok(false);
        };
        for_each_shard(shared.shards(), |id| {
            shared.with_idle(id, |shard| {
                write_exact_sums(shard, &*checkpoint, id.index())
            })
        })?;
        checkpoint.finish()?;
        Ok(true)
    });
    copied.unwrap_or_else(|error| {
        report_failure(shared, &error);
        false
    })
}
