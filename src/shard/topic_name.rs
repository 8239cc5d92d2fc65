//! The name of a topic, owned.

use compact_str::CompactString;

use crate::topic::Topic;

/// An owned [`Topic`]. A name of up to 24 bytes is in the value itself, not on the heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicName(CompactString);

impl TopicName {
    pub(super) fn new(topic: Topic<'_>) -> Self {
        Self(CompactString::from_utf8(topic.as_bytes()).expect("a topic is UTF-8"))
    }

    #[inline]
    pub(super) fn as_topic(&self) -> Topic<'_> {
        Topic::checked_before(self.as_bytes())
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
