//! A counter with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread at a time adds to, without locked instructions, and that any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. No other thread may do so at the same time.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Subtracts `n`, which was added before. The same holds as for [`add`](Self::add).
    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) - n, Ordering::Relaxed);
    }

    /// Replaces the number. The same holds as for [`add`](Self::add).
    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
