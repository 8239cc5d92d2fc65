//! A hash table from topics to values. The hash has a new random key at each start, so that nobody
//! can choose topics that collide.
//!
//! The table uses extendible hashing: the order of [`Position`]s is cut into ranges, and each range
//! has a segment, which is a hashbrown table. A full segment is split in two, so an insert never
//! moves more than the rows of one segment. All topics of a range are in one segment, so a scan can
//! follow the order of positions ([`scan`]).

mod scan;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::mem;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::position::Position;
use super::topic_name::TopicName;
use crate::topic::Topic;

/// The most rows of a segment: those that hashbrown stores in 1,024 buckets, an eighth of which
/// stays empty. Larger segments make splits longer (a split takes some 75 µs in a shard of a
/// million topics, mostly for names that are in no cache). Smaller segments make the directory
/// larger, and it is read for each request.
const SEGMENT_ROWS: usize = 896;

/// The most bits of a position that the directory uses. 2^22 segments suffice for over 2 billion
/// topics. The directory takes 16 MiB then, and doubling it for the last time takes some
/// milliseconds, the longest that an insert may take. Segments at this depth are not split: they
/// grow as hashbrown tables do.
const MAX_DEPTH: u32 = 22;

/// A map from topics to values; it owns the names.
#[derive(Debug)]
pub(super) struct Table<V, S = RandomState> {
    /// For each value of the first `depth` bits of a position, in order, the index of the segment.
    /// Neighbouring entries share a segment whose own depth is less.
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

/// The keyed hash of a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hash(u64);

#[derive(Debug)]
struct Row<V> {
    /// A short name is in the row itself, which saves a second load from far memory.
    topic: TopicName,
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

    /// Returns the topic's hash, which the other methods take.
    pub(super) fn hash(&self, topic: Topic<'_>) -> Hash {
        Hash(hash(&self.hasher, topic.as_bytes()))
    }

    /// Loads the rows of the topics with these hashes into the cache, so that finding them later
    /// does not wait for memory. It uses plain loads: the processor has many of them in flight
    /// together if few instructions are between them and none depends on another. So it loads all
    /// tags first, and then the rows that they point to.
    pub(super) fn prefetch(&self, hashes: &[Hash]) {
        let mut taken = 0;
        for &Hash(hash) in hashes {
            let rows = self.rows(hash);
            // The bucket where hashbrown looks first. Whether it is taken does not matter.
            let bucket = hash as usize & (rows.num_buckets() - 1);
            taken += usize::from(rows.get_bucket(bucket).is_some());
        }
        black_box(taken);
        for &Hash(hash) in hashes {
            // The first row with the hash's tag. In a few percent of cases it is another topic's
            // row.
            if let Some(row) = self.rows(hash).find(hash, |_| true) {
                // A row may span two cache lines. The row's last byte tells the length of the name;
                // this loads the name's first byte, in the row or on the heap.
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

    /// Returns all topics with their values, unordered.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Topic<'_>, &V)> {
        let rows = self.segments.iter().flat_map(|segment| &segment.rows);
        rows.map(|row| (row.topic.as_topic(), &row.value))
    }

    /// Returns the topic's value. Inserts the value that `new` returns if the topic is not in the
    /// table.
    ///
    /// # Errors
    ///
    /// The error of `new`; then nothing is inserted.
    pub(super) fn find_or_insert<E>(
        &mut self,
        topic: Topic<'_>,
        Hash(hash): Hash,
        new: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let segment = self.segment(Position::of(hash));
        if self.segments[segment].is_full() {
            return self.find_or_insert_in_full(topic, hash, new);
        }
        let Self { hasher, .. } = self;
        let name = topic.as_bytes();
        let entry = self.segments[segment].rows.entry(
            hash,
            |row| row.topic.as_bytes() == name,
            |row| row.hash(hasher),
        );
        let row = match entry {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                let value = new()?;
                let topic = TopicName::new(topic);
                self.len += 1;
                place.insert(Row { topic, value }).into_mut()
            }
        };
        Ok(&mut row.value)
    }

    /// Does the same in a segment that has to be split before it can take a row. This is rare, and
    /// out of line so that it does not slow down the common case.
    #[cold]
    #[inline(never)]
    fn find_or_insert_in_full<E>(
        &mut self,
        topic: Topic<'_>,
        hash: u64,
        new: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let position = Position::of(hash);
        let segment = self.segment(position);
        let name = topic.as_bytes();
        let rows = &mut self.segments[segment].rows;
        // Look for the bucket, not the row: a borrow that is returned here would last until the end
        // of the function.
        if let Some(bucket) = rows.find_bucket_index(hash, |row| row.topic.as_bytes() == name) {
            let row = self.segments[segment].rows.get_bucket_mut(bucket);
            return Ok(&mut row.expect("the bucket was just found").value);
        }
        let value = new()?;
        let segment = self.make_room(position);
        let topic = TopicName::new(topic);
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

    /// Returns the rows of the segment that the hash belongs to.
    fn rows(&self, hash: u64) -> &HashTable<Row<V>> {
        &self.segments[self.segment(Position::of(hash))].rows
    }

    /// Returns the index of the position's segment.
    fn segment(&self, position: Position) -> usize {
        self.directory[position.prefix(self.depth)] as usize
    }

    /// Splits the position's segment until it can take a row. Returns its index then.
    fn make_room(&mut self, position: Position) -> usize {
        loop {
            let segment = self.segment(position);
            let Segment { depth, .. } = self.segments[segment];
            if depth == MAX_DEPTH || !self.segments[segment].is_full() {
                return segment;
            }
            // All rows may fall to one side. Then the next round splits that side.
            self.split(segment, position.prefix(depth));
        }
    }

    /// Splits the segment `lower` by the next bit of its topics' positions, which all begin with
    /// `prefix`.
    fn split(&mut self, lower: usize, prefix: usize) {
        let upper = self.segments.len();
        let depth = self.segments[lower].depth + 1;
        if depth > self.depth {
            self.directory = doubled(&self.directory);
            self.depth = depth;
        }
        // The directory has a run of entries for each prefix. The upper half of this run moves to
        // the new segment.
        let run = 1 << (self.depth - depth);
        let first = (2 * prefix + 1) * run;
        // The cast loses nothing: there are at most 2^MAX_DEPTH segments.
        self.directory[first..first + run].fill(upper as u32);

        // Compute all hashes before moving rows, so that many names are loaded from memory at once.
        // A branch on each hash is mispredicted half of the time and would wait for each name.
        let rows: Vec<(u64, Row<V>)> = mem::take(&mut self.segments[lower].rows)
            .into_iter()
            .map(|row| (row.hash(&self.hasher), row))
            .collect();
        // The two sides differ from a half by about the square root of the number of rows; a
        // sixteenth more is four times that. A side that had to grow while it is filled would be
        // moved twice.
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
    /// Returns whether another row would make the segment grow beyond [`SEGMENT_ROWS`]: no bucket
    /// is free (deleted rows may occupy some), and there are more than half of [`SEGMENT_ROWS`]
    /// rows, so hashbrown would grow the table instead of cleaning it up.
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

fn hash(hasher: &impl BuildHasher, topic: &[u8]) -> u64 {
    hasher.hash_one(topic)
}

/// Returns the directory for one more bit.
fn doubled(directory: &[u32]) -> Vec<u32> {
    let mut doubled = Vec::with_capacity(2 * directory.len());
    for &segment in directory {
        doubled.extend([segment; 2]);
    }
    doubled
}

#[cfg(test)]
mod tests;
