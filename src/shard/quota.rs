//! The limit on the topics of all shards of a server together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit on topics; clones share one count. Only creating or deleting a topic touches it.
#[derive(Debug, Clone)]
pub struct TopicQuota(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    taken: AtomicUsize,
    max: AtomicUsize,
}

impl TopicQuota {
    /// Creates a quota of `max` topics.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Counts {
            taken: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        }))
    }

    /// Returns the number of topics of all shards that share the quota.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Returns how many topics there is room for.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max.load(Ordering::Relaxed)
    }

    /// Changes how many topics there is room for. If there are more already, they stay, and no topic
    /// can be created until enough are deleted.
    pub fn set_max(&self, max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// Takes room for one topic. Returns false if there is none.
    pub(super) fn take(&self) -> bool {
        let max = self.max();
        // Only the number is shared and it publishes no other data: relaxed is enough.
        self.0
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < max).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Takes room for a topic that must not be refused, even beyond the limit.
    pub(super) fn take_unchecked(&self) {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the room of `topics` topics to the quota.
    pub(super) fn give_back(&self, topics: usize) {
        self.0.taken.fetch_sub(topics, Ordering::Relaxed);
    }
}
