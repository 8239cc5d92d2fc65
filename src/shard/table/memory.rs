//! The memory of the segments: chunks that are never moved, so a growing table copies no rows and
//! the number of a segment tells its addresses. The system fills a chunk with zeros when it is first
//! touched, a page at a time, so a small table takes little.
//!
//! Tags and rows are in chunks of their own. A look-up misses the caches twice, and where there are
//! many topics it also waits for the tables that map the pages. The tags of 10 million topics are on 6
//! huge pages, so only the page of the row has to be looked up. With the tags beside the rows it
//! was both, and a request took 74 ns instead of 49.

use std::alloc::{Layout, handle_alloc_error};

use memmap2::{Advice, MmapMut};

use super::segment::{
    GROUP_BYTES, GROUPS, PLACES, ROW_BYTES, Row, Rows, Segment, SegmentMut, Tags,
};

/// The size of a chunk: a huge page.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// The segments whose rows are in one chunk.
const SEGMENTS_OF_ROWS: usize = CHUNK_BYTES / size_of::<Rows>();

/// The segments whose tags are in one chunk.
const SEGMENTS_OF_TAGS: usize = CHUNK_BYTES / size_of::<Tags>();

const _: () = assert!(SEGMENTS_OF_ROWS == 64 && SEGMENTS_OF_TAGS == 2_048);

/// Identifies a segment by how many were added before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentId(u32);

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Place {
    /// The number of the chunk.
    chunk: u32,
    /// The number of the row in the chunk.
    row: u16,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Memory {
    tags: Vec<MmapMut>,
    rows: Vec<MmapMut>,
    segments: usize,
}

impl SegmentId {
    pub(super) const FIRST: Self = Self(0);

    /// Returns the id of the segment that was added after `index` others.
    pub(super) fn of_index(index: usize) -> Self {
        // There are far fewer than 2^32, whose rows would take 128 TiB.
        Self(index as u32)
    }

    /// Returns how many segments were added before this one.
    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns where a row of this segment is.
    #[inline]
    pub(super) fn place(self, place: usize) -> Place {
        let row = self.index() % SEGMENTS_OF_ROWS * PLACES + place;
        Place {
            chunk: self.0 / SEGMENTS_OF_ROWS as u32,
            row: row as u16,
        }
    }
}

impl Place {
    /// Returns the place `n` places further on, in the same group.
    #[inline]
    pub(super) fn in_group(self, n: usize) -> Self {
        Self {
            row: self.row | n as u16,
            ..self
        }
    }

    /// The place of no row.
    pub(super) const NONE: Self = Self {
        chunk: u32::MAX,
        row: 0,
    };

    /// Returns the segment, and the place in it.
    pub(super) fn in_segment(self) -> (SegmentId, usize) {
        let row = usize::from(self.row);
        let index = self.chunk as usize * SEGMENTS_OF_ROWS + row / PLACES;
        (SegmentId::of_index(index), row % PLACES)
    }
}

impl Memory {
    /// Adds a segment without rows.
    pub(super) fn add(&mut self) -> SegmentId {
        add_chunk_if_full(&mut self.tags, self.segments / SEGMENTS_OF_TAGS);
        add_chunk_if_full(&mut self.rows, self.segments / SEGMENTS_OF_ROWS);
        self.segments += 1;
        SegmentId::of_index(self.segments - 1)
    }

    /// Returns how many segments were added.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Returns a segment, if it was added: a table without rows has no segment.
    #[inline]
    pub(super) fn segment(&self, id: SegmentId) -> Option<Segment<'_>> {
        (id.index() < self.segments).then(|| {
            let tags = &self.tags[id.index() / SEGMENTS_OF_TAGS];
            let rows = &self.rows[id.index() / SEGMENTS_OF_ROWS];
            let (rows, _) = rows.as_chunks::<ROW_BYTES>();
            Segment {
                tags: &tags.as_chunks().0[id.index() % SEGMENTS_OF_TAGS],
                rows: &rows.as_chunks().0[id.index() % SEGMENTS_OF_ROWS],
            }
        })
    }

    /// Returns a segment that was added.
    #[inline]
    pub(super) fn segment_mut(&mut self, id: SegmentId) -> SegmentMut<'_> {
        let rows = &mut self.rows[id.index() / SEGMENTS_OF_ROWS];
        let (rows, _) = rows.as_chunks_mut::<ROW_BYTES>();
        let rows = &mut rows.as_chunks_mut().0[id.index() % SEGMENTS_OF_ROWS];
        let tags = &mut self.tags[id.index() / SEGMENTS_OF_TAGS];
        let tags = &mut tags.as_chunks_mut().0[id.index() % SEGMENTS_OF_TAGS];
        SegmentMut { tags, rows }
    }

    /// Returns the tags of the group that a place belongs to.
    #[inline]
    pub(super) fn group(&self, place: Place) -> &[u8; GROUP_BYTES] {
        let chunk = place.chunk as usize;
        let (groups, _) =
            whole(&self.tags[chunk / (SEGMENTS_OF_TAGS / SEGMENTS_OF_ROWS)]).as_chunks();
        let first = chunk % (SEGMENTS_OF_TAGS / SEGMENTS_OF_ROWS) * SEGMENTS_OF_ROWS * GROUPS;
        &groups[first + usize::from(place.row) / GROUP_BYTES]
    }

    #[inline]
    pub(super) fn row(&self, place: Place) -> &Row {
        let (rows, _) = whole(&self.rows[place.chunk as usize]).as_chunks();
        &rows[usize::from(place.row)]
    }

    #[inline]
    pub(super) fn row_mut(&mut self, place: Place) -> &mut Row {
        let chunk = &mut self.rows[place.chunk as usize];
        let chunk: &mut [u8; CHUNK_BYTES] = chunk.first_chunk_mut().expect(WHOLE);
        &mut chunk.as_chunks_mut().0[usize::from(place.row)]
    }
}

const WHOLE: &str = "a chunk has this size";

/// Returns the bytes of a chunk. Indices in an array of a known length need fewer checks.
#[inline]
fn whole(chunk: &MmapMut) -> &[u8; CHUNK_BYTES] {
    chunk.first_chunk().expect(WHOLE)
}

/// Adds a chunk of zeros if there is none of this number. The one before is full then.
fn add_chunk_if_full(chunks: &mut Vec<MmapMut>, number: usize) {
    if number < chunks.len() {
        return;
    }
    if let Some(full) = chunks.last() {
        ask_for_huge_page(full);
    }
    let chunk = MmapMut::map_anon(CHUNK_BYTES)
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[u8; CHUNK_BYTES]>()));
    chunks.push(chunk);
}

/// Lets the kernel replace the pages of a full chunk by a huge page, which it does in the
/// background. With them, a request in a batch to 10 million topics takes 44 ns instead of 71.
///
/// Not sooner: the insert that touched a new chunk first would wait until 2 MiB are filled with
/// zeros (up to 16 ms on a virtual machine), and a table of few topics would take a whole huge page.
fn ask_for_huge_page(chunk: &MmapMut) {
    // A kernel without huge pages refuses. Then the small pages stay.
    let _ = chunk.advise(Advice::HugePage);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More segments than one chunk has tags of.
    const MANY: usize = SEGMENTS_OF_TAGS + SEGMENTS_OF_ROWS + 1;

    fn with_segments(count: usize) -> Memory {
        let mut memory = Memory::default();
        for index in 0..count {
            assert!(memory.segment(SegmentId::of_index(index)).is_none());
            assert_eq!(memory.add(), SegmentId::of_index(index));
        }
        memory
    }

    #[test]
    fn a_row_lies_in_one_cache_line_of_its_own_segment() {
        let memory = with_segments(MANY);
        for id in (0..MANY).map(SegmentId::of_index) {
            let segment = memory.segment(id).expect("added");
            assert_eq!(segment.tags.as_ptr().addr() % 64, 0);
            for number in [0, 1, PLACES - 1] {
                let place = id.place(number);
                assert_eq!(place.in_segment(), (id, number));
                let row = memory.row(place);
                assert!(std::ptr::eq(row, &raw const segment.rows[number]));
                assert_eq!(row.as_ptr().addr() % ROW_BYTES, 0);
            }
            for group in 0..GROUPS {
                let tags = &segment.tags[group * GROUP_BYTES..];
                assert!(std::ptr::eq(
                    memory.group(id.place(group * GROUP_BYTES)).as_ptr(),
                    tags.as_ptr()
                ));
            }
        }
        assert_eq!((memory.tags.len(), memory.rows.len()), (2, 34));
    }

    #[test]
    fn segments_do_not_overlap() {
        let mut memory = with_segments(MANY);
        for index in 0..MANY {
            let number = (index as u32).to_le_bytes();
            let segment = memory.segment_mut(SegmentId::of_index(index));
            for bytes in segment.tags.as_chunks_mut().0 {
                *bytes = number;
            }
            segment.rows[0][..4].copy_from_slice(&number);
            segment.rows[PLACES - 1][..4].copy_from_slice(&number);
        }
        for index in 0..MANY {
            let number = (index as u32).to_le_bytes();
            let segment = memory.segment(SegmentId::of_index(index)).expect("added");
            assert!(
                segment
                    .tags
                    .as_chunks()
                    .0
                    .iter()
                    .all(|&bytes| bytes == number)
            );
            assert_eq!(segment.rows[0][..4], number);
            assert_eq!(segment.rows[PLACES - 1][..4], number);
        }
    }

    #[test]
    fn memory_without_segments_allocates_nothing() {
        let memory = Memory::default();
        assert_eq!(memory.tags.capacity() + memory.rows.capacity(), 0);
        assert!(memory.segment(SegmentId::FIRST).is_none());
    }
}
