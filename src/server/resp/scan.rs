//! A SCAN on its way from shard to shard: what it looks for, what it found. Cursors are stable: a
//! topic's place is its hash, whatever comes, goes and grows meanwhile.

use crate::protocol::resp::{self, Writer};
use crate::shard::{Position, Shard};
use crate::topic::{ShardId, Shards};

/// The most bytes of names that one shard is asked for in one go.
const BYTES_LIMIT: usize = 64 * 1024;

/// The most topics that one SCAN looks at: what COUNT can ask for.
const COUNT_LIMIT: usize = 4 * 1024;

/// The most steps of comparing names with a pattern, but for the first name: some 10 ms in the worst
/// of cases, which takes names and a pattern that are made for it.
const COMPARE_LIMIT: usize = 4 * 1024 * 1024;

/// One SCAN.
#[derive(Debug)]
pub(in crate::server) struct Scan {
    /// Where to go on; `None`: all shards are through.
    place: Option<(ShardId, Position)>,
    pattern: Option<Box<[u8]>>,
    shards: Shards,
    /// Whether topics are of the kind that it looks for.
    strings: bool,
    /// How many topics it may still look at, and how many bytes of names.
    count: usize,
    bytes: usize,
    /// The names, one after another, and where each ends.
    names: Vec<u8>,
    ends: Vec<usize>,
}

/// A cursor is a place in the order of hashes, and the shard above it: below 2^53, since some clients
/// keep it in a double.
fn place(cursor: u64, shards: Shards) -> Option<(ShardId, Position)> {
    let shard = u16::try_from(cursor >> Position::BITS).ok()?;
    let position = Position::new(cursor & ((1 << Position::BITS) - 1))?;
    Some((shards.shard(shard)?, position))
}

impl Scan {
    /// A SCAN that was asked for.
    pub(super) fn new(asked: resp::Scan<'_>, shards: Shards) -> Self {
        let bytes = match asked.pattern {
            Some(pattern) => COMPARE_LIMIT / pattern.len().max(1),
            None => BYTES_LIMIT,
        };
        Self {
            place: place(asked.cursor, shards),
            shards,
            pattern: asked.pattern.map(Box::from),
            strings: asked.strings,
            count: asked.count.min(COUNT_LIMIT),
            bytes: bytes.clamp(1, BYTES_LIMIT),
            names: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The shard that it has to look at next; `None`: it is done.
    pub(super) fn next(&self) -> Option<ShardId> {
        let (shard, _) = self.place?;
        (self.count > 0 && self.bytes > 0).then_some(shard)
    }

    /// Looks at the shard that [`next`](Self::next) named.
    pub(in crate::server) fn step<W>(&mut self, shard: &Shard<W>) {
        let Some((id, from)) = self.place else { return };
        let Self {
            count,
            bytes,
            names,
            ends,
            ..
        } = self;
        let mut found = 0;
        let before = names.len();
        let next = shard.scan(from, *count, *bytes, |topic| {
            found += 1;
            names.extend_from_slice(topic.as_bytes());
            ends.push(names.len());
        });
        *count = count.saturating_sub(found);
        *bytes = bytes.saturating_sub(names.len() - before);
        self.place = match next {
            Some(position) => {
                self.count = 0; // it has held this shard for long enough
                Some((id, position))
            }
            None => Some(id.number() + 1)
                .and_then(|next| self.shards.shard(next))
                .map(|next| (next, Position::START)),
        };
    }

    /// Says where to go on, and which topics were found.
    pub(super) fn say(&self, writer: &mut Writer<'_>) {
        let cursor = self.place.map_or(0, |(shard, position)| {
            u64::from(shard.number()) << Position::BITS | position.number()
        });
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let names: Vec<&[u8]> = starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.names[start..end])
            .filter(|name| self.is_wanted(name))
            .collect();
        writer.array(2);
        writer.number(cursor);
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
