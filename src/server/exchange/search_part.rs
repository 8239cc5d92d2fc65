//! A search through the topics of all shards, one shard after another, in bounded steps. Cursors are
//! stable: the position of a topic depends only on its hash, however topics are inserted and
//! removed and tables grow meanwhile.

use crate::shard::{Position, Shard};
use crate::topic::{ShardId, Shards};

/// One part of a search, from one cursor to the next: how far it may still go, and the topics that
/// it found. A SCAN is one part; KEYS and RANDOMKEY take as many as they need.
#[derive(Debug)]
pub(crate) struct SearchPart {
    /// Where the search continues; `None` if it has visited all shards.
    place: Option<(ShardId, Position)>,
    shards: Shards,
    /// How many topics it may still report, and how many bytes of names.
    topics_left: usize,
    bytes_left: usize,
    /// The names of the topics that it found, one after another, and the end of each.
    names: Vec<u8>,
    ends: Vec<usize>,
}

/// Decodes a cursor; `None` if it is not valid. The lower bits of a cursor are a position in the
/// order of hashes, the bits above are the shard. A cursor is below 2^53, because some clients keep
/// it in a double.
pub(crate) fn decode_cursor(cursor: u64, shards: Shards) -> Option<(ShardId, Position)> {
    let shard = u16::try_from(cursor >> Position::BITS).ok()?;
    let position = Position::new(cursor & ((1 << Position::BITS) - 1))?;
    Some((shards.shard(shard)?, position))
}

/// Returns the cursor of the place where a search continues; 0 if it has ended.
pub(crate) fn cursor_of(place: Option<(ShardId, Position)>) -> u64 {
    place.map_or(0, |(shard, position)| {
        u64::from(shard.number()) << Position::BITS | position.number()
    })
}

impl SearchPart {
    /// Creates a part that searches from `cursor` on; cursor 0 is the start. It ends at the first
    /// possible place after it has found `topics` topics or `bytes` bytes of names, whichever comes
    /// first.
    pub(crate) fn new(cursor: u64, shards: Shards, topics: usize, bytes: usize) -> Self {
        Self {
            place: decode_cursor(cursor, shards),
            shards,
            topics_left: topics,
            bytes_left: bytes,
            names: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Returns the shard that the part has to visit next; `None` if the part has ended.
    pub(crate) fn next(&self) -> Option<ShardId> {
        let (shard, _) = self.place?;
        (self.topics_left > 0 && self.bytes_left > 0).then_some(shard)
    }

    /// Makes one step through `shard`, which [`next`](Self::next) returned.
    pub(crate) fn step<W>(&mut self, shard: &Shard<W>) {
        let Some((id, from)) = self.place else { return };
        let Self { names, ends, .. } = self;
        let (topics_before, bytes_before) = (ends.len(), names.len());
        let next = shard.scan(from, self.topics_left, self.bytes_left, |topic| {
            names.extend_from_slice(topic.as_bytes());
            ends.push(names.len());
        });
        let (topics, bytes) = (ends.len() - topics_before, names.len() - bytes_before);
        self.topics_left = self.topics_left.saturating_sub(topics);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.place = match next {
            Some(position) => {
                self.topics_left = 0; // the part has used this shard for long enough
                Some((id, position))
            }
            None => Some(id.number() + 1)
                .and_then(|next| self.shards.shard(next))
                .map(|next| (next, Position::START)),
        };
    }

    /// Returns the cursor of the next part of the search; 0 if all topics were visited.
    pub(crate) fn cursor(&self) -> u64 {
        cursor_of(self.place)
    }

    /// Returns the names of the topics that the part found.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.names[start..end])
    }
}
