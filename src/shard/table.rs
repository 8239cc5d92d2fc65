//! A hash table from topics to what is kept of each. The hash is keyed anew at each start, so that
//! nobody can choose topics that collide.
//!
//! Extendible hashing: the order of [`Position`]s is cut into ranges, each with a segment, a
//! hashbrown table of its own. A segment that is full is split in two, so an insert never moves
//! more than one segment's rows; and a range of positions is found in one place, whatever its size,
//! so a scan can follow their order ([`scan`]).

mod scan;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::mem;

use ahash::RandomState;
use compact_str::CompactString;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::position::Position;
use crate::topic::Topic;

/// How many rows a segment has at most: what hashbrown keeps in 1,024 buckets, of which it leaves
/// an eighth empty. Larger segments make longer waits (a split takes some 75 µs in a shard of a million
/// topics, mostly for names that are in no cache), smaller ones a larger directory, and that is read
/// for each request.
const SEGMENT_ROWS: usize = 896;

/// How many bits of a position the directory takes in at most. 2^22 segments are good for 2 billion
/// topics and more; the directory is 16 MiB then, and doubling it the last time takes some
/// milliseconds, the longest that an insert may wait. Beyond it a segment grows as hashbrown does.
const MAX_DEPTH: u32 = 22;

/// Topics and their values; the table owns the names.
#[derive(Debug)]
pub(super) struct Table<V, S = RandomState> {
    /// For each value of a position's first `depth` bits, in order, the segment of the topics there.
    /// Neighbours share one whose depth is less.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment<V>>,
    len: usize,
    hasher: S,
}

/// The topics whose positions have the same first `depth` bits.
#[derive(Debug)]
struct Segment<V> {
    rows: HashTable<Row<V>>,
    depth: u32,
}

/// A topic's hash, keyed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hash(u64);

#[derive(Debug)]
struct Row<V> {
    /// Up to 24 bytes are kept in the row itself: no second load from far memory.
    topic: CompactString,
    value: V,
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl<V, S: BuildHasher> Table<V, S> {
    fn with_hasher(hasher: S) -> Self {
        let first = Segment {
            rows: HashTable::new(),
            depth: 0,
        };
        Self {
            directory: vec![0],
            depth: 0,
            segments: vec![first],
            len: 0,
            hasher,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The topic's hash, by which it is found.
    pub(super) fn hash(&self, topic: Topic<'_>) -> Hash {
        Hash(hash(&self.hasher, topic.as_bytes()))
    }

    /// Looks at the rows of the topics of these hashes, so that finding them later waits for no
    /// memory: the processor has many loads under way together, as long as few instructions stand
    /// between them and none waits for another. So all tags come first, and only then the rows that
    /// they point at.
    pub(super) fn prefetch(&self, hashes: &[Hash]) {
        let mut taken = 0;
        for &Hash(hash) in hashes {
            let rows = self.rows(hash);
            // Where hashbrown looks for a row first; what it says is of no use to anybody.
            let bucket = hash as usize & (rows.num_buckets() - 1);
            taken += usize::from(rows.get_bucket(bucket).is_some());
        }
        black_box(taken);
        for &Hash(hash) in hashes {
            // The first row with the hash's tag; in a few of a hundred cases it is another's.
            if let Some(row) = self.rows(hash).find(hash, |_| true) {
                // A row may lie across two cache lines: its last byte tells how long the name is,
                // and this is the name's first, here or where a long one is.
                black_box(row.topic.as_bytes().first());
            }
        }
    }

    pub(super) fn find_mut(&mut self, topic: Topic<'_>, Hash(hash): Hash) -> Option<&mut V> {
        let topic = topic.as_bytes();
        let segment = self.segment(Position::of(hash));
        self.segments[segment]
            .rows
            .find_mut(hash, |row| row.topic.as_bytes() == topic)
            .map(|row| &mut row.value)
    }

    /// All topics, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Topic<'_>, &V)> {
        let rows = self.segments.iter().flat_map(|segment| &segment.rows);
        rows.map(|row| (Topic::checked_before(row.topic.as_bytes()), &row.value))
    }

    /// The topic's value, or the one that `new` makes for it.
    ///
    /// # Errors
    ///
    /// What `new` fails with; nothing is inserted then.
    pub(super) fn find_or_insert<E>(
        &mut self,
        topic: Topic<'_>,
        Hash(hash): Hash,
        new: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let topic = topic.as_bytes();
        let segment = self.segment(Position::of(hash));
        if self.segments[segment].is_full() {
            return self.find_or_insert_in_full(topic, hash, new);
        }
        let Self { hasher, .. } = self;
        let entry = self.segments[segment].rows.entry(
            hash,
            |row| row.topic.as_bytes() == topic,
            |row| row.hash(hasher),
        );
        let row = match entry {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                let value = new()?;
                let topic = owned(topic);
                self.len += 1;
                place.insert(Row { topic, value }).into_mut()
            }
        };
        Ok(&mut row.value)
    }

    /// The same for a segment that has to be split before it can take a row: rare, and apart from
    /// the rest so that it costs the rest nothing.
    #[cold]
    #[inline(never)]
    fn find_or_insert_in_full<E>(
        &mut self,
        topic: &[u8],
        hash: u64,
        new: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let position = Position::of(hash);
        let segment = self.segment(position);
        let rows = &mut self.segments[segment].rows;
        // The bucket, since a borrow that is returned from here would last until the end.
        if let Some(bucket) = rows.find_bucket_index(hash, |row| row.topic.as_bytes() == topic) {
            let row = self.segments[segment].rows.get_bucket_mut(bucket);
            return Ok(&mut row.expect("a bucket that was just found").value);
        }
        let value = new()?;
        let segment = self.make_room(position);
        let topic = owned(topic);
        self.len += 1;
        let Self { hasher, .. } = self;
        let row = self.segments[segment]
            .rows
            .insert_unique(hash, Row { topic, value }, |row| row.hash(hasher))
            .into_mut();
        Ok(&mut row.value)
    }

    pub(super) fn remove(&mut self, topic: Topic<'_>, Hash(hash): Hash) -> Option<V> {
        let topic = topic.as_bytes();
        let segment = self.segment(Position::of(hash));
        let row = self.segments[segment]
            .rows
            .find_entry(hash, |row| row.topic.as_bytes() == topic)
            .ok()?;
        self.len -= 1;
        Some(row.remove().0.value)
    }

    /// The rows of a hash's segment.
    fn rows(&self, hash: u64) -> &HashTable<Row<V>> {
        &self.segments[self.segment(Position::of(hash))].rows
    }

    /// The number of the segment that a position is in.
    fn segment(&self, position: Position) -> usize {
        self.directory[position.prefix(self.depth)] as usize
    }

    /// Splits the position's segment until it can take a row, and says which it is then.
    fn make_room(&mut self, position: Position) -> usize {
        loop {
            let segment = self.segment(position);
            let Segment { depth, .. } = self.segments[segment];
            if depth == MAX_DEPTH || !self.segments[segment].is_full() {
                return segment;
            }
            // All rows may fall to one side: then it is split again.
            self.split(segment, position.prefix(depth));
        }
    }

    /// Splits a segment, whose topics' positions begin with `prefix`, by their next bit.
    fn split(&mut self, lower: usize, prefix: usize) {
        let upper = self.segments.len();
        let depth = self.segments[lower].depth + 1;
        if depth > self.depth {
            self.directory = doubled(&self.directory);
            self.depth = depth;
        }
        // The directory has a run of entries for each prefix; the upper half of this one moves.
        let run = 1 << (self.depth - depth);
        let first = (2 * prefix + 1) * run;
        // No more than MAX_DEPTH bits' worth.
        self.directory[first..first + run].fill(upper as u32);

        // All hashes before all moves: names come from memory many at once then. A branch on each
        // hash, wrong half of the time, would wait for each name.
        let rows: Vec<(u64, Row<V>)> = mem::take(&mut self.segments[lower].rows)
            .into_iter()
            .map(|row| (row.hash(&self.hasher), row))
            .collect();
        // Halves differ from a half, by the square root of the rows; a sixteenth is four times what
        // is usual. One that grew while it is filled would be moved twice.
        let room = rows.len() / 2 + rows.len() / 16;
        let [mut zeros, mut ones] = [(); 2].map(|()| HashTable::with_capacity(room));
        for (hash, row) in rows {
            let side = if Position::of(hash).bit(depth - 1) {
                &mut ones
            } else {
                &mut zeros
            };
            side.insert_unique(hash, row, |row| row.hash(&self.hasher));
        }
        self.segments[lower] = Segment { rows: zeros, depth };
        self.segments.push(Segment { rows: ones, depth });
    }
}

impl<V> Segment<V> {
    /// Whether another row would make it grow beyond [`SEGMENT_ROWS`]: no bucket is left (deleted
    /// rows may hold some), and there are so many rows that hashbrown would not just clean it.
    fn is_full(&self) -> bool {
        let rows = self.rows.len();
        rows == self.rows.capacity() && rows > SEGMENT_ROWS / 2
    }
}

impl<V> Row<V> {
    fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        hash(hasher, self.topic.as_bytes())
    }
}

fn owned(topic: &[u8]) -> CompactString {
    CompactString::from_utf8(topic).expect("a topic is UTF-8")
}

fn hash(hasher: &impl BuildHasher, topic: &[u8]) -> u64 {
    hasher.hash_one(topic)
}

/// A directory that takes in one bit more.
fn doubled(directory: &[u32]) -> Vec<u32> {
    let mut doubled = Vec::with_capacity(2 * directory.len());
    for &segment in directory {
        doubled.extend([segment; 2]);
    }
    doubled
}

#[cfg(test)]
mod tests;
