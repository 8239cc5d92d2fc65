//! The changes that a shard wants a store to make durable.

use std::fmt;

use super::ranges::LoadId;
use crate::topic::Topic;

/// A change of one topic's record in the store. At most one change of a topic is in flight.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    topic: Name,
    // The fields of two options, so that a change takes one cache line.
    has_before: bool,
    has_after: bool,
    /// The memory of a range, in a cluster, that the change was made in.
    load: LoadId,
    /// The ceiling before the change; 0 without `has_before`.
    before: u64,
    /// The record after the change; zeros without `has_after`.
    after: Record,
}

// There is one for each topic of which a request waits.
const _: () = assert!(size_of::<Change>() <= 64);

/// How many bytes of a name are stored without an allocation of their own.
const INLINE_LEN: usize = 30;

/// The name of the topic. Unlike the names in the table, it may be long without an allocation: a
/// change lives only until its result.
#[derive(Clone, PartialEq, Eq)]
enum Name {
    Inline { len: u8, bytes: [u8; INLINE_LEN] },
    Heap(Box<[u8]>),
}

impl Name {
    fn new(topic: Topic<'_>) -> Self {
        let name = topic.as_bytes();
        if name.len() > INLINE_LEN {
            return Self::Heap(name.into());
        }
        let mut bytes = [0; INLINE_LEN];
        bytes[..name.len()].copy_from_slice(name);
        let len = name.len() as u8;
        Self::Inline { len, bytes }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
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
            topic: Name::new(topic),
            has_before: before.is_some(),
            has_after: after.is_some(),
            load: LoadId::NONE,
            before: before.unwrap_or_default(),
            after: after.unwrap_or(Record { ceiling: 0, sum: 0 }),
        }
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> Topic<'_> {
        Topic::checked_before(self.topic.as_bytes())
    }

    /// Returns the ceiling that the store has before the change, or `None` if it has no record.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        self.has_before.then_some(self.before)
    }

    /// Returns the record that the store has after the change, or `None` if the change removes it.
    #[must_use]
    pub fn after(&self) -> Option<Record> {
        self.has_after.then_some(self.after)
    }

    /// Returns the memory of a range that the change was made in; [`LoadId::NONE`] without a cluster.
    #[must_use]
    pub fn load(&self) -> LoadId {
        self.load
    }

    pub(super) fn set_load(&mut self, load: LoadId) {
        self.load = load;
    }

    /// Passes the record after the change to `raise`, unless the change removes it.
    pub(super) fn raise(&mut self, raise: impl FnOnce(&mut Record)) {
        if self.has_after {
            raise(&mut self.after);
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("topic", &self.topic())
            .field("before", &self.before())
            .field("after", &self.after())
            .finish()
    }
}
