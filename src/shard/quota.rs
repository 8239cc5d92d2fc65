//! How many topics all shards of a server may have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A share in the limit on topics; clones share it. Only a new or a deleted topic touches it.
#[derive(Debug, Clone)]
pub struct TopicQuota {
    left: Arc<AtomicUsize>,
    max: usize,
}

impl TopicQuota {
    /// Room for `max` topics.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(max)),
            max,
        }
    }

    /// How many topics there are, of all who share it.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.max.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// Takes room for one topic; false where there is none.
    pub(super) fn take(&self) -> bool {
        // A number alone is shared, no data is published through it: relaxed is enough.
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    /// Returns the room of that many topics.
    pub(super) fn give_back(&self, topics: usize) {
        self.left.fetch_add(topics, Ordering::Relaxed);
    }
}
