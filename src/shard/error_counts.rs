//! How many requests were refused, by error code.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::ErrorCode;

/// How many requests were refused with each error. Written by one thread at a time, so without locked
/// instructions; any thread may read it.
#[derive(Debug, Default)]
pub struct ErrorCounts([AtomicU64; ErrorCode::ALL.len()]);

impl ErrorCounts {
    /// Counts a refusal. No other thread may do so at the same time.
    pub(crate) fn count(&self, error: ErrorCode) {
        let index = ErrorCode::ALL.iter().position(|&known| known == error);
        if let Some(count) = index.and_then(|index| self.0.get(index)) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Returns each error with its count, in the order of [`ErrorCode::ALL`].
    pub fn all(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        ErrorCode::ALL.into_iter().zip(counts)
    }
}
