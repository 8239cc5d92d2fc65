//! The inbox of a worker. It receives the worker's handed-over batches and the replies that waited
//! for the store. A sender wakes the worker only if it sleeps. The inbox does not know what a batch
//! contains, nor which runtime puts the worker to sleep.
//!
//! The rule is the same as in [`reach`](super::reach): a sender pushes an item, then checks whether
//! the owner is asleep; an owner marks itself as asleep, then checks whether an item is in the
//! queue. Each side has a fence between its write and its check, so at least one of them sees the
//! other's write.

use super::primitives::{AtomicBool, Ordering, Queue, fence};

/// A channel to one worker. It has no bound of its own, but the senders limit what is in it: a
/// worker's credit limits its batches, and the number of waiting requests limits late replies.
#[derive(Debug)]
pub struct Inbox<T> {
    queue: Queue<T>,
    asleep: AtomicBool,
}

/// Tells a sender, after it put an item into an [`Inbox`], whether it must wake the inbox's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "if the owner was asleep, it must be woken, or it does not see the item"]
pub enum Owner {
    /// The owner is awake and will look into its inbox by itself.
    Awake,
    /// The owner was asleep: the sender must wake it. Only one sender gets this answer.
    Asleep,
}

impl<T> Inbox<T> {
    /// Creates an empty inbox.
    #[must_use]
    #[allow(clippy::new_without_default)] // an inbox always belongs to one worker
    pub fn new() -> Self {
        Self {
            queue: Queue::unbounded(),
            asleep: AtomicBool::new(false),
        }
    }

    /// Puts an item in.
    pub fn put(&self, item: T) -> Owner {
        self.put_quietly(item);
        // Orders the push before the read of `asleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            Owner::Asleep
        } else {
            Owner::Awake
        }
    }

    /// Puts an item in that does not have to wake a sleeping owner. The owner finds it when
    /// something else wakes it.
    pub fn put_quietly(&self, item: T) {
        let pushed = self.queue.push(item);
        debug_assert!(pushed.is_ok(), "the queue is unbounded");
    }

    /// Takes the first item. Only the owner calls this.
    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Returns whether no item is in the inbox.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Marks the owner as asleep. Returns false, and leaves it awake, if an item is in the inbox:
    /// the owner must look at it first.
    pub fn try_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Orders the store to `asleep` before the read of the queue.
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// Marks the owner as awake, whatever woke it.
    pub fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
