//! The limit on handshakes in progress.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many handshakes may be in progress at a time. Further connections wait in the listener's queue.
/// Each takes some 10 KiB (measured), and the peer decides how long it lasts, up to a time limit.
const HANDSHAKES_AT_A_TIME: usize = 1024;

/// The handshakes that may be in progress.
#[derive(Debug)]
pub(super) struct Slots(Arc<Semaphore>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct HandshakeSlot(#[allow(dead_code, reason = "freed on drop")] OwnedSemaphorePermit);

impl Slots {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(HANDSHAKES_AT_A_TIME)))
    }

    /// Waits until a handshake may begin.
    pub(super) async fn next(&self) -> HandshakeSlot {
        let slot = Arc::clone(&self.0).acquire_owned().await;
        HandshakeSlot(slot.expect("the semaphore is never closed"))
    }
}
