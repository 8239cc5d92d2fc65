//! The changes that a shard wants a store to make durable.

use super::topic_name::TopicName;
use crate::topic::Topic;

/// A change of one topic's record in the store. At most one change of a topic is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    topic: TopicName,
    before: Option<u64>,
    after: Option<Record>,
}

/// What a store keeps for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// No sum above it was ever handed out, so the topic continues above it after a crash.
    pub ceiling: u64,
    /// The topic's sum when this ceiling was requested, plus the numbers for the requests that
    /// waited for it: at most `ceiling`. A crash may skip the numbers between the two.
    pub sum: u64,
}

impl Record {
    /// Creates the record of a topic that skips nothing after a crash.
    #[must_use]
    pub fn exact(sum: u64) -> Self {
        Self { ceiling: sum, sum }
    }
}

impl Change {
    /// Creates a change of `topic`. `before` is the ceiling that the store has now (`None` if it
    /// has no record), `after` the record that replaces it (`None` to remove the record).
    #[must_use]
    pub fn new(topic: Topic<'_>, before: Option<u64>, after: Option<Record>) -> Self {
        Self {
            topic: TopicName::new(topic),
            before,
            after,
        }
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> Topic<'_> {
        self.topic.as_topic()
    }

    /// Returns the ceiling that the store has before the change, or `None` if it has no record.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        self.before
    }

    /// Returns the record that the store has after the change, or `None` if the change removes it.
    #[must_use]
    pub fn after(&self) -> Option<Record> {
        self.after
    }
}
