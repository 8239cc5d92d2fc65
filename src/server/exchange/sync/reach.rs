//! Reaching a shard without blocking. A worker that has a batch for a shard runs the shard itself
//! if no other worker runs it now; otherwise it leaves the batch in the shard's channel and goes
//! on. Nobody waits for a lock, and no thread is woken to count. [`Reach`] owns the lock and the
//! channel; it knows nothing of counters, sockets or runtimes.
//!
//! One rule makes sure that no batch is stranded in the channel: after *unlocking*, look at the
//! channel again; after *pushing*, try the lock again. Each side puts a sequentially consistent
//! fence between its write and its check, so one of the two always sees the other's write. Without
//! the fences both may check too early. That happens on x86 too: a push is a plain store, and the
//! load of a failed try-lock can overtake it. `tests/model` shows both: no batch is lost with the
//! fences, and one is lost without them.

use super::primitives::{Mutex, Ordering, Queue, fence};

/// The maximum number of batches that one visit runs for others after its own, so that the worker
/// gets back to its sockets. If more are left, the visit returns [`Backlog::Left`].
const VISIT_LIMIT: usize = 64;

/// A shard, the lock whose holder runs the shard, and the channel of batches for that holder.
///
/// `S` is the shard, `B` a batch of work for it. Every method takes a closure `run`, which runs one
/// batch from the channel. It must not call back into this `Reach`.
#[derive(Debug)]
pub struct Reach<S, B> {
    shard: Mutex<S>,
    queue: Queue<B>,
}

/// Tells whether a visit left batches in the channel that the caller must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "if batches are left, the shard must be visited again, or they are never run"]
pub enum Backlog {
    /// No batch is left for this caller: the channel is empty, or another worker runs the shard.
    None,
    /// The visit ended at its limit: the caller must [`visit`](Reach::visit) the shard again.
    Left,
}

impl<S, B> Reach<S, B> {
    /// Creates the way to `shard`, with a channel that has room for `capacity` batches.
    pub fn new(shard: S, capacity: usize) -> Self {
        Self {
            shard: Mutex::new(shard),
            queue: Queue::new(capacity),
        }
    }

    /// Returns how many batches are in the channel by now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Runs the batches in the channel, then `own`, then releases the shard and runs the batches
    /// that arrived meanwhile. Returns `None`, and runs nothing, if another worker runs the shard
    /// now.
    pub fn try_run<R>(
        &self,
        mut run: impl FnMut(&mut S, B),
        own: impl FnOnce(&mut S) -> R,
    ) -> Option<(R, Backlog)> {
        let mut shard = self.shard.try_lock()?;
        // All batches that the caller pushed earlier are among these, so they run before `own`, and
        // the caller's requests keep their order.
        for _ in 0..self.queue.len() {
            let Some(batch) = self.queue.pop() else { break };
            run(&mut shard, batch);
        }
        let result = own(&mut shard);
        drop(shard);
        Some((result, self.visit(run)))
    }

    /// Pushes `batch` into the channel, for the worker that runs the shard. Runs the batch here if
    /// that worker has released the shard meanwhile.
    ///
    /// # Panics
    ///
    /// Panics if the channel is full. Callers limit how many batches they have in it, so that this
    /// cannot happen.
    pub fn hand_over(&self, batch: B, run: impl FnMut(&mut S, B)) -> Backlog {
        assert!(
            self.queue.push(batch).is_ok(),
            "callers keep to their share of the channel's room"
        );
        self.visit(run)
    }

    /// Runs the batches in the channel, unless another worker runs the shard: that worker looks at
    /// the channel again after it has released the shard.
    pub fn visit(&self, mut run: impl FnMut(&mut S, B)) -> Backlog {
        let mut left = VISIT_LIMIT;
        loop {
            // Orders the preceding write (unlocking, or pushing) before the following reads (of the
            // channel and of the lock).
            fence(Ordering::SeqCst);
            if self.queue.is_empty() {
                return Backlog::None;
            }
            if left == 0 {
                return Backlog::Left;
            }
            let Some(mut shard) = self.shard.try_lock() else {
                return Backlog::None;
            };
            while left > 0 {
                let Some(batch) = self.queue.pop() else { break };
                run(&mut shard, batch);
                left -= 1;
            }
        }
    }
}
