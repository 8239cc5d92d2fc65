//! The changes of a commit, and the callback for its result.

use std::fmt;
use std::sync::Arc;

use super::error::StoreError;
use crate::shard::Change;

/// The changes of one commit. The caller keeps a reference to them.
pub type Changes = Arc<[Change]>;

/// The callback for the result of a commit. Dropping it without a result reports
/// [`StoreError::Unanswered`], so that nobody waits for ever.
pub struct Answer(Option<Box<Callback>>);

type Callback = dyn FnOnce(Result<(), StoreError>) + Send;

impl Answer {
    /// Creates an answer that calls `callback` once with the result.
    #[must_use]
    pub fn new(callback: impl FnOnce(Result<(), StoreError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    /// Reports the result of the commit.
    pub fn give(mut self, result: Result<(), StoreError>) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(StoreError::Unanswered));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
