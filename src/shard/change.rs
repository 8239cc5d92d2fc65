//! What a shard asks of a store, and what it hears back.

use compact_str::CompactString;

use crate::topic::Topic;

/// What has to become durable of one topic. There is never more than one under way for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    topic: CompactString,
    before: Option<u64>,
    after: Option<Record>,
}

/// What a store keeps of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// No sum above it was ever handed out, so the topic goes on above it after a crash.
    pub ceiling: u64,
    /// The topic's sum when this ceiling was asked for, with what the requests take that waited for
    /// it: at most `ceiling`. What lies between is what a crash may skip.
    pub sum: u64,
}

impl Record {
    /// That of a topic which skips nothing.
    #[must_use]
    pub fn exact(sum: u64) -> Self {
        Self { ceiling: sum, sum }
    }
}

impl Change {
    /// `topic`, of which the store has `before` as its ceiling (`None`: nothing), is to be `after`
    /// (`None`: nothing any more).
    #[must_use]
    pub fn new(topic: Topic<'_>, before: Option<u64>, after: Option<Record>) -> Self {
        Self {
            topic: CompactString::from_utf8(topic.as_bytes()).expect("a topic is UTF-8"),
            before,
            after,
        }
    }

    /// Which topic.
    #[must_use]
    pub fn topic(&self) -> Topic<'_> {
        Topic::checked_before(self.topic.as_bytes())
    }

    /// The ceiling that the store has, if any.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        self.before
    }

    /// What it is to have.
    #[must_use]
    pub fn after(&self) -> Option<Record> {
        self.after
    }
}
