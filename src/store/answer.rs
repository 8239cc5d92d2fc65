//! Changes that are to become durable together, and what becomes of them.

use std::fmt;
use std::sync::Arc;

use super::error::StoreError;
use crate::shard::Change;

/// What is to become durable together. Who asked keeps a share.
pub type Changes = Arc<[Change]>;

/// Hears what became of changes. One that is dropped says that they failed, so nobody waits for ever.
pub struct Answer(Option<Box<Hears>>);

type Hears = dyn FnOnce(Result<(), StoreError>) + Send;

impl Answer {
    /// `hears` is called once.
    #[must_use]
    pub fn new(hears: impl FnOnce(Result<(), StoreError>) + Send + 'static) -> Self {
        Self(Some(Box::new(hears)))
    }

    /// Says what became of the changes.
    pub fn give(mut self, result: Result<(), StoreError>) {
        if let Some(hears) = self.0.take() {
            hears(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(hears) = self.0.take() {
            hears(Err(StoreError::Unanswered));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
