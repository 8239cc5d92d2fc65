//! How many topics all shards of a server may have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A share in the limit on topics; clones share it. Only a new or a deleted topic touches it.
#[derive(Debug, Clone)]
pub struct TopicQuota {
    taken: Arc<AtomicUsize>,
    max: usize,
}

impl TopicQuota {
    /// Room for `max` topics.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    /// How many topics there are, of all who share it.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes room for one topic; false where there is none.
    pub(super) fn take(&self) -> bool {
        // A number alone is shared, no data is published through it: relaxed is enough.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Takes room for one topic that can't be refused, whether there is any or not.
    pub(super) fn take_anyway(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the room of that many topics.
    pub(super) fn give_back(&self, topics: usize) {
        self.taken.fetch_sub(topics, Ordering::Relaxed);
    }
}
