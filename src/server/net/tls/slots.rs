//! The limit on handshakes in progress.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The handshakes that may be in progress. Further connections wait in the listener's queue.
#[derive(Debug)]
pub(super) struct Slots {
    all: usize,
    free: Arc<Semaphore>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct HandshakeSlot(#[allow(dead_code, reason = "freed on drop")] OwnedSemaphorePermit);

impl Slots {
    pub(super) fn new(handshakes: usize) -> Self {
        Self {
            all: handshakes,
            free: Arc::new(Semaphore::new(handshakes)),
        }
    }

    /// Returns how many slots are taken: by handshakes, and by workers that wait for a connection.
    pub(super) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Waits until a handshake may begin.
    pub(super) async fn next(&self) -> HandshakeSlot {
        let slot = Arc::clone(&self.free).acquire_owned().await;
        HandshakeSlot(slot.expect("the semaphore is never closed"))
    }
}
