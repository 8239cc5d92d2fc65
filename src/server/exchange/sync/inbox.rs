//! Where a worker gets its handed-over batches back, and replies that waited for the store, and how
//! it is woken for them: only if it sleeps. Knows nothing of what is in a batch, nor of the runtime that sleeps.
//!
//! The same rule as in [`reach`](super::reach): who puts something in looks afterwards whether the
//! owner sleeps, who goes to sleep looks afterwards whether something is in; a fence on each side
//! lets at least one of them see it.

use super::primitives::{AtomicBool, Ordering, Queue, fence};

/// A channel to one worker. What may be in it is bounded by those who send: batches by their worker's
/// credit, late replies by the requests that wait.
#[derive(Debug)]
pub struct Inbox<T> {
    queue: Queue<T>,
    asleep: AtomicBool,
}

/// What the sender must do after putting something into an [`Inbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a sleeper that nobody wakes sleeps on"]
pub enum Owner {
    /// It is awake and will look by itself.
    Awake,
    /// It slept: the sender must wake it. Only one sender is told so.
    Asleep,
}

impl<T> Inbox<T> {
    /// An empty one.
    #[must_use]
    #[allow(clippy::new_without_default)] // nobody makes one without knowing what it is
    pub fn new() -> Self {
        Self {
            queue: Queue::unbounded(),
            asleep: AtomicBool::new(false),
        }
    }

    /// Puts an item in.
    pub fn put(&self, item: T) -> Owner {
        self.put_quietly(item);
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            Owner::Asleep
        } else {
            Owner::Awake
        }
    }

    /// Puts an item in that need not wake a sleeping owner: it is found when something else does.
    pub fn put_quietly(&self, item: T) {
        let pushed = self.queue.push(item);
        debug_assert!(pushed.is_ok(), "there is room for any number");
    }

    /// The owner takes the first item.
    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether something is in.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The owner wants to sleep. False where something is in: it must look first.
    pub fn try_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// The owner woke up, for whatever reason.
    pub fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
