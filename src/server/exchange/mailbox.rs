//! A worker's mailbox: how other threads hand something to the worker, and wake it.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;

use super::batch::Batch;
use super::shard_message::ShardMessage;
use super::sync::inbox::Inbox;

/// The mailbox of one worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Batches that come back, and late replies.
    pub(crate) inbox: Inbox<Box<Batch>>,
    /// Messages for the worker's shard, from threads that are no workers.
    pub(crate) messages: Mutex<VecDeque<ShardMessage>>,
    /// The worker's waker. It keeps the worker's runtime alive, so it is cleared when the worker
    /// ends.
    waker: Mutex<Option<Waker>>,
}

impl Mailbox {
    /// Creates an empty mailbox without a waker.
    pub(crate) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            messages: Mutex::default(),
            waker: Mutex::new(None),
        }
    }

    /// Sets the waker that [`wake`](Self::wake) uses, or clears it.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        *self.waker.lock() = waker;
    }

    /// Wakes the worker, so that it looks into its mailbox.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Runs in the worker's thread just before it sleeps. Keeps the thread awake if a batch is in
    /// the inbox; otherwise senders wake it from now on.
    pub(crate) fn before_sleep(&self) {
        if !self.inbox.try_sleep() {
            self.wake();
        }
    }

    /// Runs in the worker's thread just after it woke up.
    pub(crate) fn after_sleep(&self) {
        self.inbox.woke();
    }
}
