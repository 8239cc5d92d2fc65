//! The layout of one segment: a tag of one byte for each place, then the rows. A look-up reads one
//! group of tags, and then the one row that a tag points to. It must not know names.

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

/// The size of a segment, 33 KiB.
pub(super) const SEGMENT_BYTES: usize = PLACES + PLACES * ROW_BYTES;

/// The bytes of a segment.
pub(super) type Segment = [u8; SEGMENT_BYTES];

/// A row; see `names`.
pub(super) type Row = [u8; ROW_BYTES];

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
    fn load(segment: &Segment, number: usize) -> Self {
        let (groups, _) = segment.as_chunks();
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

/// Returns the row at a place.
#[inline]
fn row(segment: &Segment, place: usize) -> &Row {
    let (rows, _) = segment[PLACES..].as_chunks::<ROW_BYTES>();
    &rows[place]
}

/// Searches for the row that `is_it` accepts, and returns its place.
#[inline]
pub(super) fn find(
    segment: &Segment,
    fingerprint: Fingerprint,
    groups: GroupCount,
    is_it: impl Fn(&Row) -> bool,
) -> Option<usize> {
    let mut number = fingerprint.home(groups);
    loop {
        let group = Group::load(segment, number);
        for place in group.matches(fingerprint) {
            let place = number * GROUP + place;
            if is_it(row(segment, place)) {
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
    segment: &mut Segment,
    fingerprint: Fingerprint,
    groups: GroupCount,
    row: &Row,
) -> (usize, bool) {
    let mut number = fingerprint.home(groups);
    let place = loop {
        let free = Group::load(segment, number).free();
        if free.exist() {
            break number * GROUP + free.lowest();
        }
        number = (number + 1) & groups.mask;
    };
    let (tags, rows) = segment.split_at_mut(PLACES);
    let was_empty = tags[place] == EMPTY;
    tags[place] = fingerprint.tag;
    rows.as_chunks_mut::<ROW_BYTES>().0[place] = *row;
    (place, was_empty)
}

/// Removes the row at a place. Returns whether the place is empty now, not marked as deleted.
pub(super) fn remove(segment: &mut Segment, place: usize) -> bool {
    // If the group has an empty place, no search went on behind it since the place was taken.
    let empty = Group::load(segment, place / GROUP).has_empty();
    segment[place] = if empty { EMPTY } else { DELETED };
    empty
}

/// Removes all rows.
pub(super) fn clear(segment: &mut Segment, groups: GroupCount) {
    segment[..groups.get() * GROUP].fill(EMPTY);
}

/// Returns all rows, unordered.
pub(super) fn rows(segment: &Segment) -> impl Iterator<Item = &Row> {
    let (tags, rows) = segment.split_at(PLACES);
    let (rows, _) = rows.as_chunks::<ROW_BYTES>();
    let taken = tags.iter().zip(rows);
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
        let mut segment = [0; SEGMENT_BYTES];
        for (place, tag) in segment[..GROUP].iter_mut().enumerate() {
            *tag = if place % 5 == 2 { 77 } else { 200 };
        }
        let group = Group::load(&segment, 0);
        let mut places: Vec<usize> = group.matches(print(77, 0)).collect();
        places.sort_unstable();
        assert_eq!(places, [2, 7, 12]);
        assert!(!group.matches(print(78, 0)).exist());
        assert!(!group.free().exist() && !group.has_empty());
        for (place, tag) in (0..GROUP).flat_map(|place| [(place, EMPTY), (place, DELETED)]) {
            let before = std::mem::replace(&mut segment[place], tag);
            let group = Group::load(&segment, 0);
            assert_eq!(group.free().lowest(), place);
            assert_eq!(group.has_empty(), tag == EMPTY);
            segment[place] = before;
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
        let mut segment = [0; SEGMENT_BYTES];
        let row_of = |n: usize| [n as u8; ROW_BYTES];
        let find_in =
            |segment: &Segment, n| find(segment, print(9, 7), groups, |row| *row == row_of(n));
        let places: Vec<usize> = (0..groups.limit())
            .map(|n| {
                let (place, was_empty) = insert(&mut segment, print(9, 7), groups, &row_of(n));
                assert!(was_empty);
                place
            })
            .collect();
        assert!(places[..GROUP].iter().all(|place| place / GROUP == 3));
        assert!(
            places[GROUP..2 * GROUP]
                .iter()
                .all(|place| place / GROUP == 0)
        );
        assert_eq!(rows(&segment).count(), groups.limit());
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(find_in(&segment, n), Some(place));
        }
        assert_eq!(find_in(&segment, 99), None);

        // A removal in a full group must not end the searches of those behind it.
        assert!(!remove(&mut segment, places[0]));
        assert_eq!(find_in(&segment, 0), None);
        assert_eq!(find_in(&segment, 55), Some(places[55]));
        assert!(remove(&mut segment, places[55]));
        let (place, was_empty) = insert(&mut segment, print(8, 7), groups, &row_of(100));
        assert_eq!((place, was_empty), (places[0], false));
        clear(&mut segment, groups);
        assert_eq!(rows(&segment).count(), 0);
    }
}
