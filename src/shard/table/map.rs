//! A hash table from topics to values. The hash has a new random key at each start, so that nobody
//! can choose topics that collide.
//!
//! The table uses extendible hashing: the order of [`Position`]s is cut into ranges, and each range
//! has a segment with places for 1,024 rows ([`segment`](super::segment)). A full segment is split in two, so an
//! insert never moves more than the rows of one segment. All topics of a range are in one segment,
//! so a scan can follow the order of positions ([`scan`](super::scan)).
//!
//! The directory's entry tells the address of a segment ([`memory`](super::memory)), so a look-up waits for two
//! loads from far memory, one after the other: a group of tags, and the row ([`names`](super::names)). Look-ups of
//! several topics wait together ([`Table::find_all`]).

use std::hash::{BuildHasher, Hasher};
use std::hint::select_unpredictable;
use std::marker::PhantomData;

use ahash::RandomState;

use super::intrinsics::prefetch;
use super::long_names::LongNames;
use super::memory::{Memory, Place, SegmentId};
use super::names::{self, NameWords};
use super::segment::{self, Fingerprint, GROUP, Group, GroupCount, Row};
use crate::shard::position::Position;
use crate::topic::Topic;

/// The most bits of a position that the directory uses. 2^22 segments suffice for over 2 billion
/// topics. The directory takes 16 MiB then, and doubling it for the last time takes some
/// milliseconds, the longest that an insert may take. Segments at this depth are not split: further
/// segments continue them.
const MAX_DEPTH: u32 = 22;

/// From this many topics on, the rows of several topics are found together. Those of fewer topics are
/// in a nearby cache anyway.
pub(in crate::shard) const FAR_TOPICS: usize = 4 * 1024;

/// A map from topics to values of 8 bytes; it owns the names.
#[derive(Debug)]
pub(in crate::shard) struct Table<V, S = RandomState> {
    /// For each value of the first `depth` bits of a position, in order, the segment. Neighbouring
    /// entries share a segment whose own depth is less.
    directory: Vec<SegmentId>,
    depth: u32,
    /// The groups of each segment that are in use: all, unless there is only one segment.
    groups: GroupCount,
    memory: Memory,
    /// What is known of each segment, by its index.
    segments: Vec<SegmentInfo>,
    long_names: LongNames,
    len: usize,
    /// Counts the times at which rows moved or were removed, so that a place that was found before
    /// may no longer be right.
    moves: u32,
    hasher: S,
    values: PhantomData<V>,
}

/// The topics whose positions have the same first `depth` bits.
#[derive(Debug, Clone, Copy)]
struct SegmentInfo {
    depth: u32,
    rows: u16,
    /// Places that are not empty: those of rows, and those marked as deleted.
    used: u16,
    /// The segment that continues this one, which is full and cannot be split.
    next: Option<SegmentId>,
}

/// A topic's keyed hash, and where [`Table::find_all`] found a row that is probably the topic's.
#[derive(Debug, Clone, Copy)]
pub(in crate::shard) struct Key {
    hash: u64,
    /// The table's `moves` when the place was found, or [`NEVER`].
    moves: u32,
    place: Place,
}

/// No table has moved rows this many times.
const NEVER: u32 = 0;

impl Key {
    /// The key of no topic, to be replaced.
    pub(in crate::shard) const NONE: Self = Self {
        hash: 0,
        moves: NEVER,
        place: Place::NONE,
    };
}

/// A value in its row.
pub(in crate::shard) struct Slot<'a, V> {
    bytes: &'a mut [u8; 8],
    values: PhantomData<V>,
}

impl<V: From<u64> + Into<u64>> Slot<'_, V> {
    #[inline]
    pub(in crate::shard) fn get(&self) -> V {
        u64::from_le_bytes(*self.bytes).into()
    }

    #[inline]
    pub(in crate::shard) fn set(&mut self, value: V) {
        *self.bytes = value.into().to_le_bytes();
    }
}

impl<V: From<u64> + Into<u64>> Table<V> {
    pub(in crate::shard) fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl<V: From<u64> + Into<u64>, S: BuildHasher> Table<V, S> {
    fn with_hasher(hasher: S) -> Self {
        Self {
            directory: vec![SegmentId::FIRST],
            depth: 0,
            groups: GroupCount::ONE,
            memory: Memory::default(),
            segments: Vec::new(),
            long_names: LongNames::default(),
            len: 0,
            moves: NEVER + 1,
            hasher,
            values: PhantomData,
        }
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many bytes the table takes: rows, tags, the directory and long names. Memory of
    /// removed topics stays the table's.
    pub(in crate::shard) fn bytes(&self) -> usize {
        self.memory.segments() * segment::BYTES
            + self.segments.capacity() * size_of::<SegmentInfo>()
            + self.directory.capacity() * size_of::<SegmentId>()
            + self.long_names.bytes()
    }

    /// Returns whether there are so many topics that a nearby cache does not hold them.
    #[inline]
    pub(in crate::shard) fn is_far(&self) -> bool {
        self.len >= FAR_TOPICS
    }

    /// Returns the topic's key, which the other methods take.
    #[inline]
    pub(in crate::shard) fn key(&self, topic: Topic<'_>) -> Key {
        Key {
            hash: hash(&self.hasher, topic.as_bytes()),
            ..Key::NONE
        }
    }

    /// Returns the position of the topic with this name.
    pub(in crate::shard) fn position(&self, name: &[u8]) -> Position {
        Position::of(hash(&self.hasher, name))
    }

    /// Fills `keys` with those of the topics, in order, until one of both ends. If there are many topics
    /// in the table, it finds the rows together, so that the calls that take the keys do not wait for
    /// memory: it has the processor load all tags first, and then the rows that they point to.
    ///
    /// It only looks at the first row with the right tag, and only in the group where a search
    /// begins. That is the right row in all but a few percent of cases.
    pub(in crate::shard) fn find_all<'a, const N: usize>(
        &self,
        keys: &mut [Key; N],
        topics: impl Iterator<Item = Topic<'a>>,
    ) {
        if !self.is_far() {
            for (key, topic) in keys.iter_mut().zip(topics) {
                *key = self.key(topic);
            }
            return;
        }
        let mut count = 0;
        let mut long = false;
        for (key, topic) in keys.iter_mut().zip(topics) {
            let name = topic.as_bytes();
            key.hash = hash(&self.hasher, name);
            key.place = self.home(key.hash);
            prefetch(self.memory.group(key.place));
            long |= names::is_long(name);
            count += 1;
        }
        let keys = &mut keys[..count];
        for key in &mut *keys {
            let group = Group::new(self.memory.group(key.place));
            let matches = group.matches(Fingerprint::of(key.hash));
            let found = matches.exist();
            // If the topic is new, load the row that an insert takes.
            let places = if found { matches } else { group.free() };
            key.place = key.place.in_group(places.lowest());
            key.moves = if found { self.moves } else { NEVER };
            prefetch(self.memory.row(key.place));
        }
        if long {
            self.prefetch_long_names(keys);
        }
    }

    #[cold]
    fn prefetch_long_names(&self, keys: &[Key]) {
        for key in keys.iter().filter(|key| key.moves != NEVER) {
            let number = names::long_name(self.memory.row(key.place));
            let name = number.map(|number| self.long_names.name(number));
            if let Some(first) = name.and_then(<[u8]>::first) {
                prefetch(first);
            }
        }
    }

    /// Returns the first place of the group where a search begins.
    #[inline]
    fn home(&self, hash: u64) -> Place {
        let group = Fingerprint::of(hash).home(self.groups);
        self.segment(Position::of(hash)).place(group * GROUP)
    }

    /// Returns the topic's value if its row is the first with the right tag in the group where a
    /// search begins, and its name is in the row. That is so in all but a few percent of cases.
    #[inline(always)]
    pub(in crate::shard) fn first_match(
        &mut self,
        topic: Topic<'_>,
        key: &Key,
    ) -> Option<Slot<'_, V>> {
        let words = NameWords::new(topic.as_bytes(), key.hash);
        let place = if key.moves == self.moves {
            key.place
        } else if self.len == 0 {
            return None;
        } else {
            let home = self.home(key.hash);
            let group = Group::new(self.memory.group(home));
            let mut matches = group.matches(Fingerprint::of(key.hash));
            home.in_group(matches.next()?)
        };
        let row = self.memory.row_mut(place);
        words.are_in(row).then(|| Slot {
            bytes: names::value_mut(row),
            values: PhantomData,
        })
    }

    /// Returns where the topic's row is.
    pub(in crate::shard) fn find(&self, topic: Topic<'_>, key: &Key) -> Option<Place> {
        let name = topic.as_bytes();
        let words = NameWords::new(name, key.hash);
        if key.moves == self.moves && words.are_in(self.memory.row(key.place)) {
            return Some(key.place);
        }
        self.search(name, words, key.hash)
    }

    /// Searches all places where the topic's row can be.
    fn search(&self, name: &[u8], words: NameWords, hash: u64) -> Option<Place> {
        let mut id = self.segment(Position::of(hash));
        loop {
            let place = segment::find(
                self.memory.segment(id)?,
                Fingerprint::of(hash),
                self.groups,
                |row| words.is_name_of(row, name, &self.long_names),
            );
            if let Some(place) = place {
                return Some(id.place(place));
            }
            if self.depth < MAX_DEPTH {
                return None;
            }
            id = self.segments[id.index()].next?;
        }
    }

    /// Returns the value at a place that the last call returned.
    #[inline]
    pub(in crate::shard) fn value(&mut self, place: Place) -> Slot<'_, V> {
        Slot {
            bytes: names::value_mut(self.memory.row_mut(place)),
            values: PhantomData,
        }
    }

    /// Returns a copy of the value at a place that the last call returned.
    pub(in crate::shard) fn value_at(&self, place: Place) -> V {
        names::value(self.memory.row(place)).into()
    }

    /// Returns all topics with their values, unordered.
    pub(in crate::shard) fn iter(&self) -> impl Iterator<Item = (Topic<'_>, V)> {
        let segments = (0..self.memory.segments()).map(SegmentId::of_index);
        let rows =
            segments.flat_map(|id| self.memory.segment(id).into_iter().flat_map(segment::rows));
        rows.map(|row| (self.topic(row), names::value(row).into()))
    }

    /// Inserts a topic that is not in the table. Returns where its row is.
    pub(in crate::shard) fn insert_new(&mut self, topic: Topic<'_>, key: &Key, value: V) -> Place {
        let id = self.room(Position::of(key.hash));
        let name = topic.as_bytes();
        let row = NameWords::new(name, key.hash).row(name, value.into(), &mut self.long_names);
        self.len += 1;
        self.insert_row(id, key.hash, &row)
    }

    pub(in crate::shard) fn remove(&mut self, topic: Topic<'_>, key: &Key) -> Option<V> {
        let found = self.find(topic, key)?;
        let row = self.memory.row(found);
        let value = names::value(row);
        if let Some(number) = names::long_name(row) {
            self.long_names.remove(number);
        }
        let (id, place) = found.in_segment();
        let empty = segment::remove(self.memory.segment_mut(id).tags, place);
        let info = &mut self.segments[id.index()];
        info.rows -= 1;
        info.used -= u16::from(empty);
        self.len -= 1;
        self.note_move();
        Some(value.into())
    }

    /// Returns the position's segment.
    #[inline]
    pub(super) fn segment(&self, position: Position) -> SegmentId {
        self.directory[position.prefix(self.depth)]
    }

    /// Returns the rows of a segment and of those that continue it, unordered.
    pub(super) fn rows(&self, id: SegmentId) -> impl Iterator<Item = &Row> {
        let first = (id.index() < self.segments.len()).then_some(id);
        std::iter::successors(first, |id| self.segments[id.index()].next)
            .filter_map(|id| self.memory.segment(id))
            .flat_map(segment::rows)
    }

    /// Returns how many bits the positions of a segment's topics have in common.
    pub(super) fn depth_of(&self, id: SegmentId) -> u32 {
        self.segments.get(id.index()).map_or(0, |info| info.depth)
    }

    pub(super) fn topic<'a>(&'a self, row: &'a Row) -> Topic<'a> {
        names::topic(row, &self.long_names)
    }

    pub(super) fn hash_of(&self, row: &Row) -> u64 {
        names::hash(row, |name| hash(&self.hasher, name))
    }

    /// Inserts a row into a segment that has room.
    fn insert_row(&mut self, id: SegmentId, hash: u64, row: &Row) -> Place {
        let mut segment = self.memory.segment_mut(id);
        let (place, was_empty) =
            segment::insert(&mut segment, Fingerprint::of(hash), self.groups, row);
        let info = &mut self.segments[id.index()];
        info.rows += 1;
        info.used += u16::from(was_empty);
        id.place(place)
    }

    /// Returns a segment for a row of this position that has room for it.
    #[inline]
    fn room(&mut self, position: Position) -> SegmentId {
        let id = self.segment(position);
        match self.segments.get(id.index()) {
            Some(info) if usize::from(info.used) < self.groups.limit() => id,
            _ => self.make_room(position),
        }
    }

    /// Makes room in the position's segment, and returns it. This is rare, and out of line so that
    /// it does not slow down the common case.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, position: Position) -> SegmentId {
        if self.segments.is_empty() {
            return self.add_segment(0);
        }
        loop {
            let id = self.segment(position);
            let info = self.segments[id.index()];
            if usize::from(info.used) < self.groups.limit() {
                return id;
            }
            if self.drop_marks(id) {
                return id;
            }
            if self.segments.len() == 1
                && let Some(groups) = self.groups.doubled()
            {
                self.rebuild(id, groups);
                return id;
            }
            if info.depth == MAX_DEPTH {
                return self.continuation(id);
            }
            // All rows may fall to one side. Then the next round splits that side.
            self.split(id, position.prefix(info.depth));
        }
    }

    /// Makes room in a full segment if at least an eighth of the places in use are only marked as
    /// deleted. So for each eighth that becomes free, at most seven eighths of rows are moved.
    fn drop_marks(&mut self, id: SegmentId) -> bool {
        let limit = self.groups.limit();
        let many = usize::from(self.segments[id.index()].rows) <= limit - limit / 8;
        if many {
            self.rebuild(id, self.groups);
        }
        many
    }

    /// Inserts a segment's rows again, without the marks of deleted rows, and with this number of
    /// groups.
    fn rebuild(&mut self, id: SegmentId, groups: GroupCount) {
        let rows = self.take_rows(id);
        self.groups = groups;
        for (hash, row) in rows {
            self.insert_row(id, hash, &row);
        }
    }

    /// Splits the segment `lower` by the next bit of its topics' positions, which all begin with
    /// `prefix`.
    fn split(&mut self, lower: SegmentId, prefix: usize) {
        let depth = self.segments[lower.index()].depth + 1;
        let upper = self.add_segment(depth);
        if depth > self.depth {
            self.directory = doubled(&self.directory);
            self.depth = depth;
        }
        // The directory has a run of entries for each prefix. The upper half of this run moves to
        // the new segment.
        let run = 1 << (self.depth - depth);
        let first = (2 * prefix + 1) * run;
        self.directory[first..first + run].fill(upper);

        let rows = self.take_rows(lower);
        self.segments[lower.index()].depth = depth;
        for (hash, row) in rows {
            let is_upper = Position::of(hash).bit(depth - 1);
            let side = select_unpredictable(is_upper, upper, lower);
            self.insert_row(side, hash, &row);
        }
    }

    /// Returns the first segment with room of those that continue `id`, or a new one.
    fn continuation(&mut self, mut id: SegmentId) -> SegmentId {
        while let Some(next) = self.segments[id.index()].next {
            id = next;
            let used = self.segments[id.index()].used;
            if usize::from(used) < self.groups.limit() || self.drop_marks(id) {
                return id;
            }
        }
        let next = self.add_segment(MAX_DEPTH);
        self.segments[id.index()].next = Some(next);
        next
    }

    fn add_segment(&mut self, depth: u32) -> SegmentId {
        self.segments.push(SegmentInfo {
            depth,
            rows: 0,
            used: 0,
            next: None,
        });
        self.memory.add()
    }

    /// Removes the rows of a segment, without those of other segments that continue it, and returns
    /// them with their hashes.
    fn take_rows(&mut self, id: SegmentId) -> Vec<(u64, Row)> {
        let mut rows = Vec::with_capacity(self.segments[id.index()].rows.into());
        if let Some(segment) = self.memory.segment(id) {
            rows.extend(segment::rows(segment).map(|row| (self.hash_of(row), *row)));
        }
        segment::clear(self.memory.segment_mut(id).tags, self.groups);
        let info = &mut self.segments[id.index()];
        (info.rows, info.used) = (0, 0);
        self.note_move();
        rows
    }

    /// Makes the places invalid that [`find_all`](Self::find_all) found before.
    fn note_move(&mut self) {
        self.moves = self.moves.checked_add(1).unwrap_or(NEVER + 1);
    }
}

#[inline]
fn hash(hasher: &impl BuildHasher, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    // Without the length, which `Hash` for slices adds: there is only this one value.
    hasher.write(name);
    hasher.finish()
}

/// Returns the directory for one more bit.
fn doubled(directory: &[SegmentId]) -> Vec<SegmentId> {
    let mut doubled = Vec::with_capacity(2 * directory.len());
    for &segment in directory {
        doubled.extend([segment; 2]);
    }
    doubled
}

#[cfg(test)]
mod tests;
