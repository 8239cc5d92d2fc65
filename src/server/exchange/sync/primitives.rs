//! The lock, the channel and the atomics on which [`reach`](super::reach) and
//! [`inbox`](super::inbox) are built. `tests/model` compiles those two files against `primitives`
//! of its own, which try every interleaving.

pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::{Receiver, Sender, TrySendError};
pub(super) use parking_lot::Mutex;

/// Both ends of a channel.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl<T> Queue<T> {
    /// Creates a queue with room for `capacity` items.
    pub(super) fn new(capacity: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        Self { sender, receiver }
    }

    /// Creates a queue with room for any number of items.
    pub(super) fn unbounded() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver }
    }

    /// Appends an item, or returns it as the error if there is no room.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        self.sender.try_send(item).map_err(TrySendError::into_inner)
    }

    /// Takes the first item.
    pub(super) fn pop(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    pub(super) fn len(&self) -> usize {
        self.receiver.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}
