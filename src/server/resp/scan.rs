//! A SCAN: what it asks for, as a [`Walk`] through the shards and a filter on what that finds.

use crate::protocol::resp::{self, Writer};
use crate::server::exchange::Walk;
use crate::topic::Shards;

/// The most bytes of names that one shard is asked for in one go.
const BYTES_LIMIT: usize = 64 * 1024;

/// The most topics that one SCAN looks at: what COUNT can ask for.
const COUNT_LIMIT: usize = 4 * 1024;

/// The most steps of comparing names with a pattern, but for the first name: some 10 ms in the worst
/// of cases, which takes names and a pattern that are made for it.
const COMPARE_LIMIT: usize = 4 * 1024 * 1024;

/// Which of the topics that a walk finds are returned.
#[derive(Debug)]
pub(super) struct Filter {
    pattern: Option<Box<[u8]>>,
    /// Whether topics are of the kind that it looks for.
    strings: bool,
}

/// The walk that a SCAN asks for, and its filter.
pub(super) fn begin(asked: resp::Scan<'_>, shards: Shards) -> (Filter, Box<Walk>) {
    let bytes = match asked.pattern {
        Some(pattern) => COMPARE_LIMIT / pattern.len().max(1),
        None => BYTES_LIMIT,
    };
    let filter = Filter {
        pattern: asked.pattern.map(Box::from),
        strings: asked.strings,
    };
    let count = asked.count.min(COUNT_LIMIT);
    let walk = Walk::new(asked.cursor, shards, count, bytes.clamp(1, BYTES_LIMIT));
    (filter, Box::new(walk))
}

impl Filter {
    /// Says where to go on, and which topics were found.
    pub(super) fn say(&self, walk: &Walk, writer: &mut Writer<'_>) {
        let names: Vec<&[u8]> = walk.names().filter(|name| self.is_wanted(name)).collect();
        writer.array(2);
        writer.number(walk.cursor());
        writer.array(names.len());
        for name in names {
            writer.bulk(name);
        }
    }

    fn is_wanted(&self, name: &[u8]) -> bool {
        let fits = |pattern: &[u8]| resp::glob(pattern, name);
        self.strings && self.pattern.as_deref().is_none_or(fits)
    }
}
