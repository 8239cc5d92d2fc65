//! The limit on the topics of all shards of a server together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit on topics; clones share one count. Only creating or deleting a topic touches it.
#[derive(Debug, Clone)]
pub struct TopicQuota {
    taken: Arc<AtomicUsize>,
    max: usize,
}

impl TopicQuota {
    /// Creates a quota of `max` topics.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    /// Returns the number of topics of all shards that share the quota.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes room for one topic. Returns false if there is none.
    pub(super) fn take(&self) -> bool {
        // Only the number is shared and it publishes no other data: relaxed is enough.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Takes room for a topic that must not be refused, even beyond the limit.
    pub(super) fn take_unchecked(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the room of `topics` topics to the quota.
    pub(super) fn give_back(&self, topics: usize) {
        self.taken.fetch_sub(topics, Ordering::Relaxed);
    }
}
