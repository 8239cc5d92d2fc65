//! A walk through the topics of all shards, shard by shard, a bounded step at a time. Cursors are
//! stable: a topic's place is its hash, whatever comes, goes and grows meanwhile.

use crate::shard::{Position, Shard};
use crate::topic::{ShardId, Shards};

/// One stretch of a walk: how far it may still go, and which topics it found.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Where to go on; `None`: all shards are through.
    place: Option<(ShardId, Position)>,
    shards: Shards,
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

impl Walk {
    /// A walk from `cursor` on (0: from the start) that looks at `count` topics, or `bytes` bytes of
    /// names, whichever comes first, and then ends at the next place where it can.
    pub(crate) fn new(cursor: u64, shards: Shards, count: usize, bytes: usize) -> Self {
        Self {
            place: place(cursor, shards),
            shards,
            count,
            bytes,
            names: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The shard that it has to look at next; `None`: it has gone as far as it may.
    pub(crate) fn next(&self) -> Option<ShardId> {
        let (shard, _) = self.place?;
        (self.count > 0 && self.bytes > 0).then_some(shard)
    }

    /// Looks at the shard that [`next`](Self::next) named.
    pub(crate) fn step<W>(&mut self, shard: &Shard<W>) {
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

    /// Where to go on; 0: all topics were looked at.
    pub(crate) fn cursor(&self) -> u64 {
        self.place.map_or(0, |(shard, position)| {
            u64::from(shard.number()) << Position::BITS | position.number()
        })
    }

    /// The topics that were found.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.names[start..end])
    }
}
