//! Reaching a shard: whoever has work for a shard that nobody runs now, runs it; whoever finds it
//! taken leaves the work in its channel and goes on. Nobody waits for a lock and no thread is woken
//! to count. Owns the lock and the channel; knows nothing of counters, sockets or runtimes.
//!
//! The rule that strands no batch: after *unlocking*, look at the channel again; after *pushing*,
//! try the lock again. One of the two always sees the other's write, because each side puts a
//! sequentially consistent fence between its write and its look. Without the fences both may look
//! too early (on x86 too: a push is a plain store, which a failed try-lock's load can overtake);
//! `tests/model` shows both halves.

use super::primitives::{Mutex, Ordering, Queue, fence};

/// The most batches that one visit runs for others after its own, so that a worker gets back to its
/// sockets: with more to do it leaves a [`Backlog::Left`].
const VISIT_LIMIT: usize = 64;

/// A shard, the lock that says who runs it now, and the channel of batches for whoever that is.
///
/// `S` is what is run, `B` a batch of work for it. Every method takes `run`, which runs one batch
/// out of the channel; it must not call back into this `Reach`.
#[derive(Debug)]
pub struct Reach<S, B> {
    shard: Mutex<S>,
    queue: Queue<B>,
}

/// Whether a visit left batches in the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a backlog that nobody visits is a batch that nobody runs"]
pub enum Backlog {
    /// Nothing that this caller must care for.
    None,
    /// The visit ended at its limit: the caller must [`visit`](Reach::visit) the shard again.
    Left,
}

impl<S, B> Reach<S, B> {
    /// A shard whose channel has room for `capacity` batches.
    pub fn new(shard: S, capacity: usize) -> Self {
        Self {
            shard: Mutex::new(shard),
            queue: Queue::new(capacity),
        }
    }

    /// Where nobody runs the shard now: runs what waits in the channel, then `own`, then what has
    /// come meanwhile. `None`, and nothing run, where somebody does.
    pub fn try_run<R>(
        &self,
        mut run: impl FnMut(&mut S, B),
        own: impl FnOnce(&mut S) -> R,
    ) -> Option<(R, Backlog)> {
        let mut shard = self.shard.try_lock()?;
        // All that the caller ever pushed is among these, so its own requests keep their order.
        for _ in 0..self.queue.len() {
            let Some(batch) = self.queue.pop() else { break };
            run(&mut shard, batch);
        }
        let result = own(&mut shard);
        drop(shard);
        Some((result, self.visit(run)))
    }

    /// Leaves `batch` to whoever runs the shard, or runs it where that has just ended.
    ///
    /// # Panics
    ///
    /// Where the channel is full: callers limit what they have in it.
    pub fn hand_over(&self, batch: B, run: impl FnMut(&mut S, B)) -> Backlog {
        assert!(
            self.queue.push(batch).is_ok(),
            "callers hold no more than their share of the channel"
        );
        self.visit(run)
    }

    /// Runs what waits in the channel, unless somebody is at it: they look again after they let
    /// go.
    pub fn visit(&self, mut run: impl FnMut(&mut S, B)) -> Backlog {
        let mut left = VISIT_LIMIT;
        loop {
            // Orders the write before (unlocking, or pushing) with the looks after it.
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
