//! One segment: a tag of one byte and a row for each place. A look-up reads one group of tags, and
//! then the one row that a tag points to. It must not know names, nor where segments are stored.

use super::intrinsics::positions_of;

/// Places whose tags are compared together. A group never spans two cache lines.
pub(super) const GROUP: usize = 16;

/// The size of a group: a tag is a byte.
pub(super) const GROUP_BYTES: usize = GROUP;

/// The most groups of a segment.
pub(super) const GROUPS: usize = 64;

/// The most places of a segment. Larger segments make splits longer. Smaller segments make the
/// directory larger, and it is read for each request.
pub(super) const PLACES: usize = GROUPS * GROUP;

/// The size of a row: 24 bytes for the name, 8 for the value. Rows are aligned to their size, so a
/// row never spans two cache lines.
pub(super) const ROW_BYTES: usize = 32;

/// The size of a segment's tags and rows, 33 KiB.
pub(super) const BYTES: usize = size_of::<Tags>() + size_of::<Rows>();

/// A row; see `names`.
pub(super) type Row = [u8; ROW_BYTES];

/// The tags of a segment.
pub(super) type Tags = [u8; PLACES];

/// The rows of a segment; those in free places are undefined.
pub(super) type Rows = [Row; PLACES];

/// A segment to read.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) tags: &'a Tags,
    pub(super) rows: &'a Rows,
}

/// A segment to change.
pub(super) struct SegmentMut<'a> {
    pub(super) tags: &'a mut Tags,
    pub(super) rows: &'a mut Rows,
}

/// No row was at the place since the segment was last built: a search ends here.
const EMPTY: u8 = 0;

/// A row was removed here while its group was full: a search continues in the next group.
const DELETED: u8 = 1;

/// The lowest tag of a row.
const LOWEST_TAG: u8 = 2;

/// The number of groups of a segment: a power of two, up to [`GROUPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupCount {
    mask: usize,
}

/// What a segment sees of a hash: the bits that no position contains, since those of the position
/// hardly differ between the rows of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint {
    tag: u8,
    /// The number of the group where a search begins, modulo the number of groups.
    home: usize,
}

/// The tags of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group([u8; GROUP_BYTES]);

/// A set of places in a group: bit n stands for place n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places(u32);

impl GroupCount {
    pub(super) const ONE: Self = Self { mask: 0 };

    pub(super) const fn get(self) -> usize {
        self.mask + 1
    }

    /// Returns twice the number, or `None` for the greatest.
    pub(super) fn doubled(self) -> Option<Self> {
        let mask = 2 * self.mask + 1;
        (mask < GROUPS).then_some(Self { mask })
    }

    /// Returns how many places may be in use, those of deleted rows included: seven of eight. A
    /// search always finds an empty place.
    pub(super) const fn limit(self) -> usize {
        self.get() * (GROUP - GROUP / 8)
    }
}

impl Fingerprint {
    /// Takes the tag from the top 7 bits and the lowest, and the group from the 6 bits above that.
    pub(super) const fn of(hash: u64) -> Self {
        let bits = hash.rotate_left(7);
        let tag = bits as u8;
        Self {
            // The lowest tag is the most frequent one, which is cheaper than to spread it.
            tag: if tag < LOWEST_TAG { LOWEST_TAG } else { tag },
            home: (bits >> 8) as usize,
        }
    }

    pub(super) const fn home(self, groups: GroupCount) -> usize {
        self.home & groups.mask & (GROUPS - 1)
    }
}

impl Group {
    #[inline]
    pub(super) fn new(tags: &[u8; GROUP_BYTES]) -> Self {
        Self(*tags)
    }

    #[inline]
    fn load(tags: &Tags, number: usize) -> Self {
        let (groups, _) = tags.as_chunks();
        Self::new(&groups[number])
    }

    /// Returns the places with this tag.
    #[inline]
    pub(super) fn matches(self, fingerprint: Fingerprint) -> Places {
        self.places_of(fingerprint.tag)
    }

    /// Returns the places without a row.
    #[inline]
    pub(super) fn free(self) -> Places {
        const { assert!(EMPTY | DELETED == 1 && LOWEST_TAG == 2) };
        Self(self.0.map(|tag| tag & !1)).places_of(0)
    }

    #[inline]
    fn has_empty(self) -> bool {
        self.places_of(EMPTY).exist()
    }

    #[inline]
    fn places_of(self, tag: u8) -> Places {
        Places(positions_of(tag, self.0))
    }
}

impl Places {
    #[inline]
    pub(super) fn exist(self) -> bool {
        self.0 != 0
    }

    /// Returns the first place; if there is none, any place.
    #[inline]
    pub(super) fn lowest(self) -> usize {
        self.0.trailing_zeros() as usize % GROUP
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let first = self.exist().then(|| self.lowest());
        self.0 &= self.0.wrapping_sub(1);
        first
    }
}

/// Searches for the row that `is_it` accepts, and returns its place.
#[inline]
pub(super) fn find(
    segment: Segment<'_>,
    fingerprint: Fingerprint,
    groups: GroupCount,
    is_it: impl Fn(&Row) -> bool,
) -> Option<usize> {
    let mut number = fingerprint.home(groups);
    loop {
        let group = Group::load(segment.tags, number);
        for place in group.matches(fingerprint) {
            let place = number * GROUP + place;
            if is_it(&segment.rows[place]) {
                return Some(place);
            }
        }
        if group.has_empty() {
            return None;
        }
        number = (number + 1) & groups.mask;
    }
}

/// Inserts a row, for which there is room. Returns its place, and whether the place was empty, not
/// that of a deleted row.
#[inline]
pub(super) fn insert(
    segment: &mut SegmentMut<'_>,
    fingerprint: Fingerprint,
    groups: GroupCount,
    row: &Row,
) -> (usize, bool) {
    let mut number = fingerprint.home(groups);
    let place = loop {
        let free = Group::load(segment.tags, number).free();
        if free.exist() {
            break number * GROUP + free.lowest();
        }
        number = (number + 1) & groups.mask;
    };
    let was_empty = segment.tags[place] == EMPTY;
    segment.tags[place] = fingerprint.tag;
    segment.rows[place] = *row;
    (place, was_empty)
}

/// Removes the row at a place. Returns whether the place is empty now, not marked as deleted.
pub(super) fn remove(tags: &mut Tags, place: usize) -> bool {
    // If the group has an empty place, no search went on behind it since the place was taken.
    let empty = Group::load(tags, place / GROUP).has_empty();
    tags[place] = if empty { EMPTY } else { DELETED };
    empty
}

/// Removes all rows.
pub(super) fn clear(tags: &mut Tags, groups: GroupCount) {
    tags[..groups.get() * GROUP].fill(EMPTY);
}

/// Returns all rows, unordered.
pub(super) fn rows(segment: Segment<'_>) -> impl Iterator<Item = &Row> {
    let taken = segment.tags.iter().zip(segment.rows);
    taken.filter_map(|(&tag, row)| (tag >= LOWEST_TAG).then_some(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(tag: u8, home: usize) -> Fingerprint {
        Fingerprint { tag, home }
    }

    #[test]
    fn a_group_finds_the_places_of_a_tag() {
        let mut tags = [EMPTY; PLACES];
        for (place, tag) in tags[..GROUP].iter_mut().enumerate() {
            *tag = if place % 5 == 2 { 77 } else { 200 };
        }
        let group = Group::load(&tags, 0);
        let mut places: Vec<usize> = group.matches(print(77, 0)).collect();
        places.sort_unstable();
        assert_eq!(places, [2, 7, 12]);
        assert!(!group.matches(print(78, 0)).exist());
        assert!(!group.free().exist() && !group.has_empty());
        for (place, tag) in (0..GROUP).flat_map(|place| [(place, EMPTY), (place, DELETED)]) {
            let before = std::mem::replace(&mut tags[place], tag);
            let group = Group::load(&tags, 0);
            assert_eq!(group.free().lowest(), place);
            assert_eq!(group.has_empty(), tag == EMPTY);
            tags[place] = before;
        }
    }

    #[test]
    fn a_tag_is_never_one_of_a_free_place() {
        for byte in 0..=u8::MAX {
            let hash = u64::from(byte).rotate_right(7);
            assert!(Fingerprint::of(hash).tag >= LOWEST_TAG);
        }
        assert_eq!(Fingerprint::of(0b110 | 0x7f << 57).home, 3);
    }

    /// Rows with the same tag whose search begins in the last group go on in the first groups.
    #[test]
    fn a_search_goes_on_after_full_groups_and_from_the_last_to_the_first() {
        let groups = GroupCount { mask: 3 };
        let (mut tags, mut rows) = ([EMPTY; PLACES], [[0; ROW_BYTES]; PLACES]);
        let row_of = |n: usize| [n as u8; ROW_BYTES];
        let find_in = |tags: &Tags, rows: &Rows, n| {
            let segment = Segment { tags, rows };
            find(segment, print(9, 7), groups, |row| *row == row_of(n))
        };
        let insert_into = |tags: &mut Tags, rows: &mut Rows, tag, n| {
            let mut segment = SegmentMut { tags, rows };
            insert(&mut segment, print(tag, 7), groups, &row_of(n))
        };
        let mut places = Vec::new();
        for n in 0..groups.limit() {
            let (place, was_empty) = insert_into(&mut tags, &mut rows, 9, n);
            assert!(was_empty);
            places.push(place);
        }
        let (first, others) = places.split_at(GROUP);
        assert!(first.iter().all(|place| place / GROUP == 3));
        assert!(others[..GROUP].iter().all(|place| place / GROUP == 0));
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(find_in(&tags, &rows, n), Some(place));
        }
        assert_eq!(find_in(&tags, &rows, 99), None);

        // A removal in a full group must not end the searches of those behind it.
        assert!(!remove(&mut tags, places[0]));
        assert_eq!(find_in(&tags, &rows, 0), None);
        assert_eq!(find_in(&tags, &rows, 55), Some(places[55]));
        assert!(remove(&mut tags, places[55]));
        let (place, was_empty) = insert_into(&mut tags, &mut rows, 8, 100);
        assert_eq!((place, was_empty), (places[0], false));

        let count = |tags: &Tags, rows: &Rows| super::rows(Segment { tags, rows }).count();
        assert_eq!(count(&tags, &rows), groups.limit() - 1);
        clear(&mut tags, groups);
        assert_eq!(count(&tags, &rows), 0);
    }
}
