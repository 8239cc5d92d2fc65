//! Where a worker is found by the others: what is for it, and how it is woken.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;

use super::batch::Batch;
use super::commit_result::CommitResult;
use super::sync::inbox::Inbox;

/// Where a worker is found by the others.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) inbox: Inbox<Box<Batch>>,
    /// What the store says to the worker's shard.
    pub(crate) commit_results: Mutex<VecDeque<CommitResult>>,
    /// Whom to wake; taken back when the worker ends, since it keeps the worker's runtime alive.
    waker: Mutex<Option<Waker>>,
}

impl Mailbox {
    /// Empty, and nobody to wake.
    pub(crate) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            commit_results: Mutex::default(),
            waker: Mutex::new(None),
        }
    }

    /// Says whom to wake when something comes in; `None`: nobody any more.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        *self.waker.lock() = waker;
    }

    /// Has the worker look into its inbox.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// The worker's thread is about to sleep: it looks once more, or may be woken from now on.
    pub(crate) fn before_sleep(&self) {
        if !self.inbox.try_sleep() {
            self.wake();
        }
    }

    /// The worker's thread woke up.
    pub(crate) fn after_sleep(&self) {
        self.inbox.woke();
    }
}
