//! What a store returns when it is loaded, and the count of skipped numbers.

use crate::shard::Record;

/// How the previous server on a store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEnd {
    /// There was no previous server.
    New,
    /// With a clean shutdown: every sum is exact.
    Clean,
    /// In any other way.
    Crash,
}

/// A topic as it is loaded from a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The topic continues above this sum.
    pub sum: u64,
    /// How many numbers up to `sum` may never have been handed out, because the previous server did
    /// not end cleanly.
    pub skipped: u64,
}

impl Stored {
    /// Creates a topic that skips nothing.
    #[must_use]
    pub fn exact(sum: u64) -> Self {
        Self { sum, skipped: 0 }
    }

    /// Creates a topic that skips the numbers between the sum and the ceiling of its record, since
    /// the server that wrote it did not end cleanly.
    #[must_use]
    pub fn after_crash(record: Record) -> Self {
        Self {
            sum: record.ceiling,
            skipped: record.ceiling - record.sum,
        }
    }
}

/// How much is skipped because the previous server did not end cleanly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// How many topics may skip numbers.
    pub topics: u64,
    /// How many numbers they skip together at most.
    pub numbers: u64,
}

impl Skipped {
    /// Adds a topic that was loaded.
    pub fn add(&mut self, stored: Stored) {
        self.topics += u64::from(stored.skipped > 0);
        self.numbers = self.numbers.saturating_add(stored.skipped);
    }

    /// Adds the topics of `other`, which has none in common with `self`.
    pub fn merge(&mut self, other: Self) {
        self.topics += other.topics;
        self.numbers = self.numbers.saturating_add(other.numbers);
    }
}
