//! The changes of a commit, and the callback for its result.

use std::fmt;
use std::sync::Arc;

use super::error::StoreError;
use crate::shard::Change;

/// The changes of one commit. The caller keeps a reference to them.
pub type Changes = Arc<[Change]>;

/// The callback for the result of a commit. Dropping it without a result reports
/// [`StoreError::NoResult`], so that nobody waits for ever.
pub struct Completion(Option<Box<Callback>>);

type Callback = dyn FnOnce(Result<(), StoreError>) + Send;

impl Completion {
    /// Creates a completion that calls `callback` once with the result.
    #[must_use]
    pub fn new(callback: impl FnOnce(Result<(), StoreError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    /// Reports the result of the commit.
    pub fn report(mut self, result: Result<(), StoreError>) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(StoreError::NoResult));
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").finish_non_exhaustive()
    }
}
