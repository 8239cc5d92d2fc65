//! SCAN: one part of a search through the topics, and a filter on the names that it finds.

use std::sync::Arc;

use crate::access::{Grant, Right};
use crate::protocol::resp::{self, Writer};
use crate::server::exchange::SearchPart;
use crate::topic::Shards;

/// The most bytes of names that a part looks at.
pub(super) const BYTES_LIMIT: usize = 64 * 1024;

/// The most topics that one SCAN looks at, whatever COUNT says.
const COUNT_LIMIT: usize = 4 * 1024;

/// The most steps of comparing names with the pattern, not counting the first name: some 10 ms in
/// the worst case, which takes names and a pattern that are made for it.
const COMPARE_LIMIT: usize = 4 * 1024 * 1024;

/// A SCAN.
#[derive(Debug)]
pub(crate) struct Scan {
    cursor: u64,
    /// How many topics to look at, and how many bytes of names.
    count: usize,
    bytes: usize,
    pattern: Option<Box<[u8]>>,
    /// Whether the requested type is that of topics.
    strings: bool,
    /// What the client may read; `None` for all topics.
    readable: Option<Arc<Grant>>,
}

impl Scan {
    pub(crate) fn new(scan: resp::Scan<'_>, readable: Option<Arc<Grant>>) -> Self {
        Self {
            cursor: scan.cursor,
            count: scan.count.min(COUNT_LIMIT),
            bytes: names_limit(scan.pattern, COMPARE_LIMIT),
            pattern: scan.pattern.map(Box::from),
            strings: scan.strings,
            readable,
        }
    }

    /// Returns the part to search.
    pub(super) fn part(&self, shards: Shards) -> SearchPart {
        SearchPart::new(self.cursor, shards, self.count, self.bytes)
    }

    /// Appends the reply: where to continue, and the topics that were found.
    pub(super) fn encode_reply(&self, part: &SearchPart, writer: &mut Writer<'_>) {
        let names: Vec<&[u8]> = part.names().filter(|name| self.matches(name)).collect();
        writer.array(2);
        writer.number(part.cursor());
        writer.array(names.len());
        for name in names {
            writer.bulk(name);
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        let matches = |pattern: &[u8]| resp::glob(pattern, name);
        self.strings
            && may_read(self.readable.as_deref(), name)
            && self.pattern.as_deref().is_none_or(matches)
    }
}

/// Returns whether a client may see a topic; `None` may see all.
pub(super) fn may_read(readable: Option<&Grant>, name: &[u8]) -> bool {
    readable.is_none_or(|grant| grant.allows(Right::Read, name))
}

/// Returns how many bytes of names a part may look at, so that comparing them with `pattern` takes
/// at most `steps` steps, not counting the first name.
pub(super) fn names_limit(pattern: Option<&[u8]>, steps: usize) -> usize {
    match pattern {
        Some(pattern) => (steps / pattern.len().max(1)).clamp(1, BYTES_LIMIT),
        None => BYTES_LIMIT,
    }
}
